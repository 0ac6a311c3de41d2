import type { Engine } from './engine.ts';

/** What `SHOW ACTORS` and `adb.actors` tell of each actor, in the order of the tree. */
export const ACTOR_COLUMNS = [
  'name',
  'kind',
  'tenant',
  'parent',
  'state',
  'restarts',
  'mailbox_depth',
  'relation_state',
  'position',
  'last_error',
] as const;

/** A tenant sees its own and the root's; `main` sees all. */
export function actorRows(engine: Engine, tenant: string): (string | null)[][] {
  return engine.tree
    .infos()
    .filter((info) => tenant === 'main' || info.tenant === tenant)
    .map((info) => {
      const { state, position, error } = relationOf(engine, info.id);
      return [
        info.name,
        info.kind,
        info.tenant,
        info.parent ?? null,
        info.state,
        String(info.restarts),
        String(info.mailboxDepth),
        state ?? null,
        position === undefined ? null : String(position),
        error ?? info.lastError ?? null,
      ];
    });
}

/** Of the table or view that an actor looks after: whether it serves, and the newest position its rows are true at. */
function relationOf(
  engine: Engine,
  actorId: number,
): { readonly state?: string; readonly position?: number; readonly error?: string | undefined } {
  const relation = engine.tree.relationOf(actorId);
  const entry = relation === undefined ? undefined : engine.state.catalog.byId(relation);
  if (entry?.kind === 'materializedView') {
    const { view } = entry;
    const error = view.failure instanceof Error ? view.failure.message : undefined;
    const position = view.rowsPosition(engine.visiblePosition);
    return { state: view.status, position, error: view.status === 'live' ? undefined : error };
  }
  if (entry?.kind !== 'table') return {};
  const trouble = engine.recovery.troubleOf(entry.definition.id);
  if (trouble === undefined) return { state: 'live', position: engine.visiblePosition };
  const cause = trouble.error ?? trouble.cause;
  return {
    state: trouble.state,
    position: trouble.position,
    error: cause instanceof Error ? cause.message : String(cause),
  };
}
