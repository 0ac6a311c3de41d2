import { DbError } from '../base/errors.ts';
import { datumAt } from '../columns/build.ts';
import type { Datum } from '../columns/values.ts';
import type { BoundQuery, RowLocks } from '../plan/logical.ts';
import { BatchCollector } from './batch-collector.ts';
import { changed, versionsOf } from './dml.ts';
import { OVERLAY_ROW_ID_BASE } from './overlay.ts';
import type { ExecutionOptions, RowSink, Session, StatementOutcome } from './session.ts';
import { executePlan } from './statements.ts';
import type { Transaction } from './transaction.ts';

/**
 * SELECT … FOR UPDATE in a transaction: the rows of the answer are claimed until it ends, and the answer is what they are once they
 * are. The query runs, its rows are claimed (others are waited for), and if the table has changed meanwhile it runs
 * again; rows that were claimed before it ran cannot have changed, so that the second time is the last, but for rows
 * that have come to match.
 */
export async function runLocking(
  session: Session,
  transaction: Transaction,
  bound: BoundQuery,
  locks: RowLocks,
  parameters: readonly Datum[],
  text: string,
  options: ExecutionOptions,
  sink: RowSink,
): Promise<StatementOutcome> {
  const { engine } = session;
  if (options.asOf !== undefined)
    throw new DbError('0A000', 'FOR UPDATE claims rows as they are now, not "asOf" a position', {
      field: 'asOf',
      hint: 'Leave out asOf, or FOR UPDATE.',
    });
  const claim = async (relation: number, keys: readonly number[] | 'whole'): Promise<void> => {
    // What this transaction has made is nobody else's.
    if (transaction.isPrivate(relation)) return;
    for (;;) {
      // Who does not wait is not to stand in the way with half of what he wanted.
      if (locks.noWait && engine.claims.holderOf(transaction.owner, relation, keys) !== undefined)
        throw notAvailable(session, relation);
      const holder = engine.claims.take(transaction.owner, relation, keys);
      if (holder === undefined) break;
      if (locks.noWait) throw notAvailable(session, relation);
      await session.untilReleased(transaction.owner, holder, options.signal);
      if (transaction.doomed !== undefined) throw transaction.doomed;
    }
  };
  const settled = async (relation: number): Promise<void> => {
    if (transaction.position === undefined && !transaction.isPrivate(relation))
      await engine.untilPublished(session.storedEntry(relation), options.signal);
  };

  if (locks.plan === undefined) {
    for (const relation of locks.relations) await claim(relation, 'whole');
    for (const relation of locks.relations) await settled(relation);
    const outcome = await executePlan(session, bound, parameters, text, options, sink);
    if (transaction.doomed !== undefined) throw transaction.doomed;
    return outcome;
  }

  const relation = locks.relations[0]!;
  const query = { ...bound, plan: locks.plan };
  const claimed = new Set<number>();
  const collector = new BatchCollector(session.engine.memory);
  try {
    for (let attempt = 0; ; attempt += 1) {
      const last = attempt === ATTEMPTS_BY_ROW;
      if (last) await claim(relation, 'whole');
      await settled(relation);
      const versions = versionsOf(session, bound);
      const outcome = await executePlan(session, query, parameters, text, options, collector);
      const rows = collector.rows();
      const fresh: number[] = [];
      const ids = rows?.columns.at(-1);
      for (let row = 0; row < (rows?.rowCount ?? 0); row += 1) {
        const id = datumAt(ids!, row) as number;
        if (id < OVERLAY_ROW_ID_BASE && !claimed.has(id)) fresh.push(id);
      }
      if (!last) await claim(relation, fresh);
      engine.claims.keep(transaction.owner, relation);
      for (const id of fresh) claimed.add(id);
      if (transaction.doomed !== undefined) throw transaction.doomed;
      const stands =
        last ||
        fresh.length === 0 ||
        transaction.position !== undefined ||
        !changed(session, versions);
      if (!stands) continue;
      sink.begin(bound.plan.columns, () => undefined);
      if (rows !== undefined)
        sink.take({ rowCount: rows.rowCount, columns: rows.columns.slice(0, -1) });
      return { ...outcome, columns: bound.plan.columns };
    }
  } finally {
    collector.release();
  }
}

/** Times a query claims row by row while others keep making rows match; then it claims the table. */
const ATTEMPTS_BY_ROW = 8;

function notAvailable(session: Session, relation: number): DbError {
  const { name } = session.storedEntry(relation).definition;
  return new DbError('55P03', `could not obtain lock on row in relation "${name}"`, {
    table: name,
    hint: 'Try again later, or leave out NOWAIT to wait.',
  });
}
