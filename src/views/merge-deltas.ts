import { slabDoubles } from '../base/slab.ts';
import type { Batch } from '../columns/batch.ts';
import { denseBatch, hashRows } from '../columns/build.ts';
import { numberAt } from '../columns/cells.ts';
import type { TableDelta } from '../columns/table-contract.ts';
import { Consolidator } from './consolidate.ts';
import { identicalRows } from '../columns/identical.ts';

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

/** Up to here comparing all pairs of rows is cheaper than hashing them. */
const PAIRS_MAX = 16;

/** The change of one commit in which no row both leaves and arrives: what most commits are. */
function isConsolidated({ deleted, inserted, isMinimal }: TableDelta): boolean {
  if (isMinimal === true || deleted === undefined || inserted === undefined)
    return deleted !== undefined || inserted !== undefined;
  return deleted.rowCount * inserted.rowCount <= PAIRS_MAX
    ? !shareRow(deleted, inserted)
    : !shareRowByHash(denseBatch(deleted), denseBatch(inserted));
}

function shareRow(a: Batch, b: Batch): boolean {
  const { columns: aColumns } = a;
  const { columns: bColumns } = b;
  for (let aAt = 0; aAt < a.rowCount; aAt += 1) {
    const aRow = a.selection === undefined ? aAt : a.selection[aAt]!;
    for (let bAt = 0; bAt < b.rowCount; bAt += 1) {
      const bRow = b.selection === undefined ? bAt : b.selection[bAt]!;
      if (identicalRows(aColumns, aRow, bColumns, bRow)) return true;
    }
  }
  return false;
}

function shareRowByHash(a: Batch, b: Batch): boolean {
  if (!shareNumber(mixedNumbers(a, b), mixedNumbers(b, a))) return false;
  const { columns: aColumns } = a;
  const { columns: bColumns } = b;
  const aHashes = hashRows(aColumns, a.rowCount);
  const bHashes = hashRows(bColumns, b.rowCount);
  let slots = 32;
  while (slots < a.rowCount * 2) slots *= 2;
  /** Row + 1 by hash, with open addressing. */
  const table = new Int32Array(slots);
  for (let row = 0; row < a.rowCount; row += 1) {
    let slot = aHashes[row]! & (slots - 1);
    while (table[slot] !== 0) slot = (slot + 1) & (slots - 1);
    table[slot] = row + 1;
  }
  for (let row = 0; row < b.rowCount; row += 1) {
    const hash = bHashes[row]!;
    for (let slot = hash & (slots - 1); table[slot] !== 0; slot = (slot + 1) & (slots - 1)) {
      const aRow = table[slot]! - 1;
      if (aHashes[aRow] === hash && identicalRows(aColumns, aRow, bColumns, row)) return true;
    }
  }
  return false;
}

/**
 * A number a row, ascending: the same for rows that are identical to some of `other`, and hardly ever for others. Made of columns that are
 * numbers in both, of one scale; cheaper than hashes.
 */
function mixedNumbers({ columns, rowCount }: Batch, other: Batch): Float64Array {
  const mixed = slabDoubles(rowCount);
  for (let index = 0; index < columns.length; index += 1) {
    const column = columns[index]!;
    const counterpart = other.columns[index]!;
    if (column.rep !== 'number' || counterpart.rep !== 'number') continue;
    if (column.scale !== counterpart.scale) continue;
    const { values, validity, factor, base } = column;
    for (let row = 0; row < rowCount; row += 1) {
      if (validity !== undefined && validity[row] === 0) continue;
      const next = mixed[row]! * MIX + numberAt(values[row]!, factor, base);
      // A NaN would equal nothing.
      mixed[row] = next === next ? next : 0;
    }
  }
  return mixed.sort();
}

const MIX = 1.618_033_988_749_895;

/** Whether two ascending lists have a number in common. */
function shareNumber(a: Float64Array, b: Float64Array): boolean {
  let at = 0;
  for (let row = 0; row < b.length; row += 1) {
    while (at < a.length && a[at]! < b[row]!) at += 1;
    if (at < a.length && a[at] === b[row]) return true;
  }
  return false;
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
