import type { TableScan, TableSnapshot, TimeStretch, ZoneTest } from '../columns/table-contract.ts';
import type { Budget } from '../operators/operator.ts';
import { timesOf } from './window-source.ts';

/** Where finite times lie, and which rows have others: no time at all, −∞, ∞. */
export type TimesMet = TimeStretch & {
  readonly hasNulls: boolean;
  readonly hasPast: boolean;
  readonly hasFuture: boolean;
};

/** The first time of a table's rows, and just after the last, found in steps. `isBounded`: rows of no time at all do not matter. */
export type TimeEnds<Met = TimesMet> = (
  budget: () => Budget,
  isBounded: boolean,
) => Generator<void, Met>;

/** Where times lie that meet the tests of a column. */
export function stretchOf(tests: readonly ZoneTest[], column: number): TimeStretch {
  let [from, to] = [-Infinity, Infinity];
  for (const test of tests) {
    if (test.column !== column || !('value' in test)) continue;
    const value = Number(test.value);
    if (test.op === '>=' || test.op === '=') from = Math.max(from, value);
    if (test.op === '>') from = Math.max(from, value + 1);
    if (test.op === '<') to = Math.min(to, value);
    if (test.op === '<=' || test.op === '=') to = Math.min(to, value + 1);
  }
  return { from, to };
}

/** Nothing but what lies in a stretch. */
export function metBetween({ from, to }: TimeStretch): TimesMet {
  return { from, to, hasNulls: false, hasPast: false, hasFuture: false };
}

const NO_TIMES = metBetween({ from: Infinity, to: -Infinity });

/**
 * The first time of a snapshot's rows and just after the last, or a little wider, in steps: mostly told by segments. Undefined where they do
 * not tell, or some row has no finite time; rows of no time at all do not matter where a condition `isBounded`: NULL meets none.
 */
export function* rowEnds(
  snapshot: TableSnapshot,
  column: number,
  isBounded: boolean,
  budget: () => Budget,
): Generator<void, TimesMet | undefined> {
  const bounds = snapshot.timeBounds?.(column);
  if (bounds === undefined || (bounds.hasNulls && !isBounded)) return undefined;
  const { from, to, rest } = bounds;
  const hasRows = from <= to;
  if (hasRows && !(Number.isFinite(from) && Number.isFinite(to))) return undefined;
  const known = hasRows ? metBetween({ from, to: to + 1 }) : NO_TIMES;
  const met = yield* widened(known, rest, budget);
  return met.hasPast || met.hasFuture || (met.hasNulls && !isBounded) ? undefined : met;
}

/** The same, of whatever times, by a look at every row. */
export function scannedEnds(
  snapshot: TableSnapshot,
  column: number,
  budget: () => Budget,
): Generator<void, TimesMet> {
  const scan = snapshot.scan({ columnIndexes: [column], ordered: false, withRowIds: false });
  return widened(NO_TIMES, scan, budget);
}

function* widened(
  known: TimesMet,
  scan: TableScan,
  budget: () => Budget,
): Generator<void, TimesMet> {
  let { from, to, hasNulls, hasPast, hasFuture } = known;
  for (let batch = scan.next(); batch !== undefined; batch = scan.next()) {
    const { rowCount, columns, selection } = batch;
    for (const time of timesOf(columns[0]!, rowCount, selection)) {
      if (Number.isFinite(time)) {
        if (time < from) from = time;
        if (time >= to) to = time + 1;
      } else if (Number.isNaN(time)) hasNulls = true;
      else if (time < 0) hasPast = true;
      else hasFuture = true;
    }
    budget().charge(rowCount);
    if (budget().exhausted) yield;
  }
  return { from, to, hasNulls, hasPast, hasFuture };
}
