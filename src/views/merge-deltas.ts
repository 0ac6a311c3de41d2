import type { Batch } from '../columns/batch.ts';
import type { TableDelta } from '../columns/table-contract.ts';
import { Consolidator } from './consolidate.ts';

/**
 * Folds the changes of consecutive commits into one: the difference between the rows before the first and after the last,
 * as a multiset, with nothing in it that came and went. Undefined where nothing is left. Row ids are not told: a row that comes back
 * elsewhere has not changed.
 */
export function mergeDeltas(deltas: readonly TableDelta[]): TableDelta | undefined {
  const rows = new Consolidator();
  for (const delta of deltas) {
    if (delta.deleted !== undefined) rows.add(delta.deleted, -1);
    if (delta.inserted !== undefined) rows.add(delta.inserted);
  }
  if (rows.count === 0) return undefined;
  return {
    deleted: copiesOf(rows.take(0, Infinity, -1).batch),
    inserted: copiesOf(rows.take(0, Infinity, 1).batch),
  };
}

/** A row of weight ±n stands there n times, as in the delta of a table. */
function copiesOf(batch: Batch | undefined): Batch | undefined {
  if (batch === undefined) return undefined;
  const weights = batch.weights!;
  let rowCount = 0;
  for (const weight of weights) rowCount += Math.abs(weight);
  if (rowCount === batch.rowCount) return { rowCount, columns: batch.columns };
  const selection = new Int32Array(rowCount);
  let at = 0;
  for (const [row, weight] of weights.entries()) {
    selection.fill(row, at, at + Math.abs(weight));
    at += Math.abs(weight);
  }
  return { rowCount, columns: batch.columns, selection };
}
