import { DbError } from '../base/errors.ts';
import type { Batch } from '../columns/batch.ts';
import { datumAt } from '../columns/build.ts';
import type { ParameterValue } from '../expressions/arrays.ts';
import type { BoundQuery, RowLocks } from '../plan/logical.ts';
import { AvailableRows } from './available-rows.ts';
import { BatchCollector } from './batch-collector.ts';
import type { ClaimKeys } from './claims.ts';
import { changed, versionsOf } from './dml.ts';
import { OVERLAY_ROW_ID_BASE } from './overlay.ts';
import type { ExecutionOptions, RowSink, Session, StatementOutcome } from './session.ts';
import { BoundTo, executePlan } from './statements.ts';
import { changedAmong } from './transaction.ts';
import { LOOKS_BY_ROW } from './write-rows.ts';

/**
 * SELECT … FOR UPDATE in a transaction, or SKIP LOCKED: the rows of the answer are claimed until it ends, and the answer is what they are once they
 * are. The query runs, its rows are claimed (others are waited for), and if the table has changed meanwhile it runs
 * again; rows that were claimed before it ran cannot have changed, so that the second time is the last, but for rows
 * that have come to match: then it gives back what it has claimed, and claims those.
 */
export async function runLocking(
  session: Session,
  bound: BoundQuery,
  locks: RowLocks,
  parameters: readonly ParameterValue[],
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
  const to = new BoundTo(session, bound.relations);
  const { transaction } = session;
  if (transaction === undefined || locks.wait === 'skip')
    return runSkipping(session, bound, locks, to, parameters, text, options, sink);
  const { owner } = transaction;
  const claim = async (relation: number, keys: ClaimKeys): Promise<void> => {
    // What this transaction has made is nobody else's.
    if (transaction.isPrivate(relation)) return;
    if (locks.wait !== 'nowait') await session.untilClaimed(owner, relation, keys, options.signal);
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

/**
 * SKIP LOCKED: the answer is of the rows that nobody else has claimed, nor a commit that is on its way changes; they are claimed. What the table holds besides is
 * no part of what the transaction has read: others take rows of it all the time. A table that somebody has whole, or waits to have, is waited for.
 */
async function runSkipping(
  session: Session,
  bound: BoundQuery,
  locks: RowLocks,
  to: BoundTo,
  parameters: readonly ParameterValue[],
  text: string,
  options: ExecutionOptions,
  sink: RowSink,
): Promise<StatementOutcome> {
  const { engine, transaction } = session;
  const { claims } = engine;
  const relation = locks.relations[0]!;
  const query = { ...bound, plan: locks.plan! };
  const owner = transaction?.owner;
  const isShared = transaction?.isPrivate(relation) !== true;
  /** Rows that commits change. */
  const changing = new Set<number>();
  /** Rows that others had when it began to read: by the time it meets them they may have been changed, which it would not see. */
  let wasHeld: ReadonlySet<number | string> = new Set();
  const isAvailable = (rowId: number): boolean =>
    rowId >= OVERLAY_ROW_ID_BASE ||
    !(
      changing.has(rowId) ||
      wasHeld.has(rowId) ||
      (isShared && claims.isHeld(owner, relation, rowId))
    );
  const collector = new BatchCollector(engine.memory);
  /** Reads what is to be had and claims it, if nobody was faster. */
  const take = async (): Promise<StatementOutcome | 'late'> => {
    if (transaction?.doomed !== undefined) throw transaction.doomed;
    const position = transaction?.position ?? engine.visiblePosition;
    const { frozen } = session;
    const all = session.snapshotOf(relation, undefined);
    if (owner !== undefined && isShared) wasHeld = claims.heldByOthers(owner, relation);
    session.frozen = new Map(frozen).set(relation, new AvailableRows(all, isAvailable));
    let outcome: StatementOutcome;
    try {
      const given = { ...options, isUnnoted: true };
      outcome = await executePlan(session, query, parameters, text, given, collector);
    } finally {
      session.frozen = frozen;
      all.release();
    }
    const rows = collector.rows();
    const ids = claimableIds(rows);
    if (owner !== undefined && isShared) {
      const changed = changedRows(session, relation, position, new Set(ids));
      if (changed.isUnknown || changed.since.length > 0 || changed.now.length > 0) {
        // All that were changed, or they would be met a few at a time.
        const every = changedRows(session, relation, position, EVERY_ROW);
        // Of a position that stays it is read once more without them; else, as they are now.
        if (transaction!.position !== undefined) for (const id of every.since) changing.add(id);
        for (const id of every.now) changing.add(id);
        return 'late';
      }
      if (!ids.every(isAvailable)) return 'late';
      if (claims.take(owner, relation, ids) !== undefined) {
        held = ids;
        return 'late';
      }
      claims.keep(owner, relation);
    }
    sink.begin(bound.plan.columns, () => undefined);
    if (rows !== undefined)
      sink.take({ rowCount: rows.rowCount, columns: rows.columns.slice(0, -1) });
    return { ...outcome, columns: bound.plan.columns };
  };
  /** What is to be waited for before it is read again. */
  let held: readonly number[] = [];
  let leave: (() => void) | undefined;
  try {
    for (let isFirst = true; ; isFirst = false) {
      if (owner !== undefined && isShared) {
        await session.untilClaimed(owner, relation, held, options.signal);
        if (held.length > 0) claims.giveBack(owner, relation);
        held = [];
      }
      if (isShared && engine.turn.steppingOn(relation) !== undefined)
        await engine.untilPublished(session.storedEntry(relation), options.signal);
      // Of many who read at once one gets on, and all others read again: they do that one after the other, and whoever comes then behind them.
      if (owner !== undefined && isShared && !(isFirst && engine.takers.isEmpty(relation)))
        leave = await engine.takers.stand(relation, options.signal);
      await to.stands(options.signal);
      const outcome = await take();
      leave?.();
      leave = undefined;
      if (outcome !== 'late') return outcome;
    }
  } catch (cause) {
    if (owner !== undefined) claims.giveBack(owner, relation);
    throw cause;
  } finally {
    leave?.();
    collector.release();
  }
}

const EVERY_ROW = { has: () => true };

/** Of some rows those that were changed since a position, and those that commits on their way change now. */
function changedRows(
  session: Session,
  relation: number,
  position: number,
  ids: Pick<ReadonlySet<number>, 'has'>,
): { readonly since: number[]; readonly now: number[]; readonly isUnknown: boolean } {
  const { turn, visiblePosition } = session.engine;
  const changes = session
    .storedEntry(relation)
    .data.changes(position, visiblePosition, 'atOnce')
    ?.map(({ delta }) => delta);
  return {
    since: changedAmong(ids, changes ?? []),
    now: turn
      .unacknowledgedDeltas()
      .flatMap((deltas) => changedAmong(ids, deltas.get(relation) ?? [])),
    isUnknown: changes === undefined || turn.steppingOn(relation) !== undefined,
  };
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
