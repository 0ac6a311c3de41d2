import { DbError } from '../base/errors.ts';
import type { SubscribeOptions, Subscription } from './api-types.ts';
import { idOf, isStored, type StoredEntry } from './catalog.ts';
import { checkValueOptions } from './check-options.ts';
import { deadline } from './deadline.ts';
import { closedError, type Engine } from './engine.ts';
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
  return engine.subscriptions.subscribe(
    {
      open: async () =>
        typeof what === 'string'
          ? openNamed(engine, session, what)
          : openQuery(engine, session, what.text, what.params),
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

async function openNamed(engine: Engine, session: Session, name: string): Promise<OpenedSource> {
  const parts = name.split('.');
  const entry = session.requireRelation({
    name: parts.at(-1)!,
    ...(parts.length > 1 ? { schema: parts.at(-2)! } : {}),
  });
  if (entry.kind === 'view')
    return openQuery(engine, session, `SELECT * FROM ${parts.map(quotedName).join('.')}`, []);
  return opened(engine, entry, async () => undefined);
}

async function openQuery(
  engine: Engine,
  session: Session,
  text: string,
  params: readonly unknown[],
): Promise<OpenedSource> {
  const live = await engine.liveQueries.open(session, text, params);
  return opened(engine, live.entry, live.close);
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
      if (!isStored(entry)) {
        throw new DbError('42P01', `"${first.definition.name}" was dropped`, {
          table: first.definition.name,
          hint: 'Subscribe again once it is there.',
        });
      }
      if (entry.kind === 'materializedView' && !entry.view.serving) throw viewHasNoRows(entry.view);
      return entry;
    },
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
