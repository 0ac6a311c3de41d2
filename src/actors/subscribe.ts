import { DbError } from '../base/errors.ts';
import { typeName } from '../columns/types.ts';
import type { SubscribeOptions, Subscription } from './api-types.ts';
import {
  findRelation,
  idOf,
  isStored,
  type CatalogEntry,
  type StoredEntry,
  type ViewEntry,
  type WrittenName,
} from './catalog.ts';
import { checkValueOptions } from './check-options.ts';
import { closedError, deadline } from './deadline.ts';
import type { Engine } from './engine.ts';
import { viewHasNoRows } from './maintained-view.ts';
import type { Session } from './session.ts';
import type { OpenedSource } from './subscriptions.ts';

const HEARTBEAT_MS = 15_000;

/** Subscribes to a table or view by name, or to a query, which is then maintained as a view that nobody else sees. */
export function openSubscription(
  engine: Engine,
  session: Session,
  what: string | { readonly text: string; readonly params: readonly unknown[] },
  options: SubscribeOptions,
): Subscription {
  const { from, maxRate, heartbeatMs } = checkSubscribeOptions(options);
  const { signal, done } = deadline(engine.ports.clock, options);
  // A name is looked up once; opened anew, it is what it was, whatever that is called by then.
  const known: { id?: number } = {};
  return engine.subscriptions.subscribe(
    {
      open: async () => {
        if (engine.turn.definesUnacknowledged) await engine.untilDefined(signal);
        return typeof what === 'string'
          ? openNamed(engine, session, what, known)
          : openQuery(engine, session, what.text, what.params);
      },
    },
    {
      from,
      now: engine.visiblePosition,
      maxRate,
      heartbeatMs,
      values: { ...engine.options.values, ...options.values },
      signal,
      done,
      clock: engine.ports.clock,
    },
  );
}

export function checkSubscribeOptions(options: SubscribeOptions): {
  readonly from: 'snapshot' | 'now' | number;
  readonly maxRate: number | undefined;
  readonly heartbeatMs: number;
} {
  const { maxRate, heartbeatMs = HEARTBEAT_MS } = options;
  checkValueOptions(options.values);
  if (!(typeof heartbeatMs === 'number' && heartbeatMs > 0)) {
    throw new DbError('22023', '"heartbeatMs" is not a positive number', {
      field: 'heartbeatMs',
      hint: 'Milliseconds, such as 15000.',
    });
  }
  if (maxRate !== undefined && !(typeof maxRate === 'number' && maxRate > 0))
    throw new DbError('22023', '"maxRate" is not a positive number', {
      field: 'maxRate',
      hint: 'Changes a second, such as 4.',
    });
  const from = options.from ?? 'snapshot';
  const isPosition = Number.isSafeInteger(from) && (from as number) >= 0;
  if (from !== 'snapshot' && from !== 'now' && !isPosition) {
    throw new DbError('22023', '"from" is not a position', {
      field: 'from',
      hint: "Give 'snapshot', 'now' or the position of a change.",
    });
  }
  return { from, maxRate, heartbeatMs };
}

async function openNamed(
  engine: Engine,
  session: Session,
  name: string,
  known: { id?: number },
): Promise<OpenedSource> {
  const parts = name.split('.');
  const written = {
    name: parts.at(-1)!,
    ...(parts.length > 1 ? { schema: parts.at(-2)! } : {}),
  };
  const queryOf = (path: readonly string[]): Promise<OpenedSource> =>
    openQuery(engine, session, `SELECT * FROM ${path.map(quotedName).join('.')}`, []);
  const before = known.id === undefined ? undefined : engine.state.catalog.byId(known.id);
  if (
    before === undefined &&
    findRelation(session.catalog, session.scope, written) === undefined &&
    session.planCatalog().relation(written) !== undefined
  )
    // What the database says of itself; refused as in any other query.
    return queryOf(parts);
  const entry =
    before === undefined || before.kind === 'sequence' ? session.requireRelation(written) : before;
  known.id = idOf(entry);
  const source =
    entry.kind === 'view'
      ? await queryOf(entry === before ? [entry.definition.schema, entry.definition.name] : parts)
      : opened(engine, entry, async () => undefined);
  const replaced = replacedOf(engine, session, written, entry);
  return { ...source, replaced: () => replaced() ?? source.replaced() };
}

/** Whether a relation has become another since it was opened; looked at when some definition has changed. */
function replacedOf(
  engine: Engine,
  session: Session,
  written: WrittenName,
  first: StoredEntry | ViewEntry,
): () => string | undefined {
  let { epoch } = engine.state.catalog;
  return () => {
    const { catalog } = engine.state;
    if (catalog.epoch === epoch || engine.closed) return undefined;
    ({ epoch } = catalog);
    const now = catalog.byId(idOf(first));
    if (now === undefined) {
      const other = findRelation(catalog, session.scope, written);
      if (other === undefined || other.kind === 'sequence') throw wasDropped(first);
      return 'another has its name now';
    }
    if (now.kind === 'sequence' || isSameShape(now.info.columns, first.info.columns))
      return undefined;
    return 'its columns are others now';
  };
}

function isSameShape(
  columns: StoredEntry['info']['columns'],
  before: StoredEntry['info']['columns'],
): boolean {
  return (
    columns === before ||
    (columns.length === before.length &&
      columns.every(
        ({ name, type }, index) =>
          name === before[index]!.name && typeName(type) === typeName(before[index]!.type),
      ))
  );
}

function wasDropped({ definition }: CatalogEntry): DbError {
  return new DbError('42P01', `"${definition.name}" was dropped`, {
    table: definition.name,
    hint: 'Subscribe again once it is there.',
  });
}

async function openQuery(
  engine: Engine,
  session: Session,
  text: string,
  params: readonly unknown[],
): Promise<OpenedSource> {
  const live = await engine.liveQueries.open(session, text, params);
  const source = opened(engine, live.entry, live.close);
  const entry = (): StoredEntry => {
    if (!engine.closed && engine.state.catalog.byId(source.relation) === undefined)
      throw new DbError('42P01', 'what the query reads was dropped', {
        hint: 'Subscribe again once it is there.',
      });
    return source.entry();
  };
  const replaced = (): string | undefined =>
    !engine.closed && engine.state.catalog.byId(source.relation) === undefined
      ? 'what it reads has become another'
      : undefined;
  return { ...source, entry, replaced };
}

function opened(engine: Engine, first: StoredEntry, close: () => Promise<void>): OpenedSource {
  const relation = idOf(first);
  const key = first.info.indexes.find((index) => index.primary || index.unique);
  return {
    relation,
    columns: first.info.columns.map(({ name, type, nullable }) => ({ name, type, nullable })),
    key: key?.columnIndexes.map((index) => first.info.columns[index]!.name) ?? [],
    entry: () => {
      if (engine.closed) throw closedError();
      const entry = engine.state.catalog.byId(relation);
      if (!isStored(entry)) throw wasDropped(first);
      if (entry.kind === 'materializedView' && !entry.view.serving) throw viewHasNoRows(entry.view);
      return entry;
    },
    replaced: () => undefined,
    untilDefined: () =>
      engine.turn.redefines(relation) ? engine.untilRedefined(relation, undefined) : undefined,
    epoch: () => {
      const entry = engine.state.catalog.byId(relation);
      return entry?.kind === 'materializedView' ? entry.view.generation : 0;
    },
    visiblePosition: () => rowsPosition(engine, relation),
    asOf: () => engine.asOfText(rowsPosition(engine, relation)),
    close,
  };
}

function quotedName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Up to where the rows of a relation are known: not the visible position for a view that lags. */
function rowsPosition(engine: Engine, relation: number): number {
  const entry = engine.state.catalog.byId(relation);
  return entry?.kind === 'materializedView'
    ? entry.view.rowsPosition(engine.visiblePosition)
    : engine.visiblePosition;
}
