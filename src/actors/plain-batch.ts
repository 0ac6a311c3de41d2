import type { Batch } from '../columns/batch.ts';
import { denseBatch } from '../columns/build.ts';
import {
  plainColumn,
  plainType,
  revivedColumn,
  revivedType,
  type PlainColumn,
  type PlainType,
} from '../columns/plain-column.ts';
import type { Datum } from '../columns/values.ts';
import { COMPACT_ROWS_MAX, CompactRows } from './compact-rows.ts';

/**
 * Batches as the plain data that goes into bytes. A few rows are one list of data; more are columns of typed arrays, cut to the rows and
 * as narrow as their values allow. Positions in these lists are in the bytes, so they never change their meaning.
 */
export type PlainBatch =
  | readonly [rowCount: number, form: 0, types: readonly PlainType[], data: readonly Datum[]]
  | readonly [rowCount: number, form: 1, columns: readonly PlainColumn[], rowIds?: Float64Array];

export function plainBatch(batch: Batch): PlainBatch {
  const { rowCount } = batch;
  if (rowCount <= COMPACT_ROWS_MAX && batch.rowIds === undefined) {
    const { types, data } = batch instanceof CompactRows ? batch : CompactRows.of(batch);
    return [rowCount, 0, types.map(plainType), data];
  }
  const dense = denseBatch(batch);
  const columns = dense.columns.map((column) => plainColumn(column, rowCount));
  return dense.rowIds === undefined
    ? [rowCount, 1, columns]
    : [rowCount, 1, columns, dense.rowIds.subarray(0, rowCount)];
}

export function revivedBatch(plain: PlainBatch): Batch {
  if (plain[1] === 0) {
    const [rowCount, , types, data] = plain;
    return new CompactRows(rowCount, types.map(revivedType), data).expanded;
  }
  const [rowCount, , columns, rowIds] = plain;
  return {
    rowCount,
    columns: columns.map((column) => revivedColumn(column)),
    ...(rowIds === undefined ? {} : { rowIds }),
  };
}
