import type { Batch } from '../columns/batch.ts';
import type { TableDelta } from '../columns/table-contract.ts';
import { Consolidator } from './consolidate.ts';
import { identicalRows } from './identical.ts';

/**
 * Folds the changes of consecutive commits into one: the difference between the rows before the first and after the last,
 * as a multiset, with nothing in it that came and went. Undefined where nothing is left. Row ids mean nothing in it: a row that comes
 * back elsewhere has not changed.
 */
export function mergeDeltas(deltas: readonly TableDelta[]): TableDelta | undefined {
  if (deltas.length === 1 && isConsolidated(deltas[0]!)) return deltas[0];
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

/** More pairs of rows than this are not compared one by one. */
const PAIRS_MAX = 64;

/** The change of one commit in which no row both leaves and arrives: what most commits are. */
function isConsolidated({ deleted, inserted }: TableDelta): boolean {
  if (deleted === undefined || inserted === undefined)
    return deleted !== undefined || inserted !== undefined;
  if (deleted.rowCount * inserted.rowCount > PAIRS_MAX) return false;
  for (let old = 0; old < deleted.rowCount; old += 1) {
    const oldRow = deleted.selection === undefined ? old : deleted.selection[old]!;
    for (let row = 0; row < inserted.rowCount; row += 1) {
      const newRow = inserted.selection === undefined ? row : inserted.selection[row]!;
      if (identicalRows(deleted.columns, oldRow, inserted.columns, newRow)) return false;
    }
  }
  return true;
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
