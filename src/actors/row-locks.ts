import { DbError } from '../base/errors.ts';
import type { Batch } from '../columns/batch.ts';
import { datumAt } from '../columns/build.ts';
import type { Datum } from '../columns/values.ts';
import type { BoundQuery, RowLocks } from '../plan/logical.ts';
import { BatchCollector } from './batch-collector.ts';
import type { ClaimKeys } from './claims.ts';
import { changed, versionsOf } from './dml.ts';
import { OVERLAY_ROW_ID_BASE } from './overlay.ts';
import type { ExecutionOptions, RowSink, Session, StatementOutcome } from './session.ts';
import { BoundTo, executePlan } from './statements.ts';
import type { Transaction } from './transaction.ts';
import { LOOKS_BY_ROW } from './write-rows.ts';

/**
 * SELECT … FOR UPDATE in a transaction: the rows of the answer are claimed until it ends, and the answer is what they are once they
 * are. The query runs, its rows are claimed (others are waited for), and if the table has changed meanwhile it runs
 * again; rows that were claimed before it ran cannot have changed, so that the second time is the last, but for rows
 * that have come to match: then it gives back what it has claimed, and claims those.
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
  const { owner } = transaction;
  const to = new BoundTo(session, bound.relations);
  const claim = async (relation: number, keys: ClaimKeys): Promise<void> => {
    // What this transaction has made is nobody else's.
    if (transaction.isPrivate(relation)) return;
    if (!locks.noWait) await session.untilClaimed(owner, relation, keys, options.signal);
    // Who does not wait is not to stand in the way with half of what he wanted.
    else if (
      engine.claims.holderOf(owner, relation, keys) !== undefined ||
      engine.claims.take(owner, relation, keys) !== undefined
    )
      throw notAvailable(session, relation);
    if (transaction.doomed !== undefined) throw transaction.doomed;
  };
  const settled = async (relation: number): Promise<void> => {
    if (transaction.position === undefined && !transaction.isPrivate(relation))
      await engine.untilPublished(session.storedEntry(relation), options.signal);
  };

  if (locks.plan === undefined) {
    // In one order, whichever way FROM names them.
    for (const relation of locks.relations.toSorted((a, b) => a - b))
      await claim(relation, 'whole');
    for (const relation of locks.relations) await settled(relation);
    await to.stands(options.signal);
    const outcome = await executePlan(session, bound, parameters, text, options, sink);
    if (transaction.doomed !== undefined) throw transaction.doomed;
    return outcome;
  }

  const relation = locks.relations[0]!;
  const query = { ...bound, plan: locks.plan };
  const collector = new BatchCollector(session.engine.memory);
  try {
    for (let attempt = 0; ; attempt += 1) {
      const isLast = attempt === LOOKS_BY_ROW;
      if (isLast) {
        engine.claims.giveBack(owner, relation);
        await claim(relation, 'whole');
      }
      await settled(relation);
      await to.stands(options.signal);
      const versions = versionsOf(session, bound);
      const outcome = await executePlan(session, query, parameters, text, options, collector);
      const rows = collector.rows();
      const ids = claimableIds(rows);
      // Rows that were claimed before it ran cannot have changed.
      const isHeld = engine.claims.holds(owner, relation, ids);
      if (!isHeld) engine.claims.giveBack(owner, relation);
      await claim(relation, ids);
      const stands =
        isHeld ||
        transaction.position !== undefined ||
        transaction.isPrivate(relation) ||
        !changed(session, versions);
      if (!stands) continue;
      engine.claims.keep(owner, relation);
      sink.begin(bound.plan.columns, () => undefined);
      if (rows !== undefined)
        sink.take({ rowCount: rows.rowCount, columns: rows.columns.slice(0, -1) });
      return { ...outcome, columns: bound.plan.columns };
    }
  } catch (cause) {
    engine.claims.giveBack(owner, relation);
    throw cause;
  } finally {
    collector.release();
  }
}

/** Those of rows that others see, too. */
function claimableIds(rows: Batch | undefined): number[] {
  const ids: number[] = [];
  const column = rows?.columns.at(-1);
  for (let row = 0; row < (rows?.rowCount ?? 0); row += 1) {
    const id = datumAt(column!, row) as number;
    if (id < OVERLAY_ROW_ID_BASE) ids.push(id);
  }
  return ids;
}

function notAvailable(session: Session, relation: number): DbError {
  const { name } = session.storedEntry(relation).definition;
  return new DbError('55P03', `could not obtain lock on row in relation "${name}"`, {
    table: name,
    hint: 'Try again later, or leave out NOWAIT to wait.',
  });
}
