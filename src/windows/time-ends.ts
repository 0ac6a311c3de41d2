import type { TableScan, TableSnapshot, ZoneTest } from '../columns/table-contract.ts';
import type { Budget } from '../operators/operator.ts';
import { timesOf } from './window-source.ts';

/** [from, to) in microseconds since 1970; empty where there are no times. */
export type TimeStretch = { readonly from: number; readonly to: number };

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

const NO_TIMES: TimeStretch = { from: Infinity, to: -Infinity };

/**
 * The first time of a snapshot's rows and just after the last, or a little wider, in steps: mostly told by segments. Undefined where they do
 * not tell, or some row has no finite time; rows of no time at all do not matter where a condition `isBounded`: NULL meets none.
 */
export function* rowEnds(
  snapshot: TableSnapshot,
  column: number,
  isBounded: boolean,
  budget: () => Budget,
): Generator<void, TimeStretch | undefined> {
  const bounds = snapshot.timeBounds?.(column);
  if (bounds === undefined || (bounds.hasNulls && !isBounded)) return undefined;
  const { from, to, rest } = bounds;
  const hasRows = from <= to;
  if (hasRows && !(Number.isFinite(from) && Number.isFinite(to))) return undefined;
  return yield* widened(hasRows ? { from, to: to + 1 } : NO_TIMES, rest, isBounded, budget);
}

/** The same by a look at every row. */
export function scannedEnds(
  snapshot: TableSnapshot,
  column: number,
  isBounded: boolean,
  budget: () => Budget,
): Generator<void, TimeStretch | undefined> {
  const scan = snapshot.scan({ columnIndexes: [column], ordered: false, withRowIds: false });
  return widened(NO_TIMES, scan, isBounded, budget);
}

function* widened(
  known: TimeStretch,
  scan: TableScan,
  isBounded: boolean,
  budget: () => Budget,
): Generator<void, TimeStretch | undefined> {
  let { from, to } = known;
  for (let batch = scan.next(); batch !== undefined; batch = scan.next()) {
    const { rowCount, columns, selection } = batch;
    for (const time of timesOf(columns[0]!, rowCount, selection)) {
      if (isBounded && Number.isNaN(time)) continue;
      if (!Number.isFinite(time)) return undefined;
      if (time < from) from = time;
      if (time >= to) to = time + 1;
    }
    budget().charge(rowCount);
    if (budget().exhausted) yield;
  }
  return { from, to };
}
