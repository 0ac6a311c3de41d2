import type { Vector } from '../columns/vector.ts';
import { CompactRows, InsertRecord, SharedRows } from './compact-rows.ts';
import type { CommitRecord } from './records.ts';

/** What a record holds beside what its tables hold anyway; a formula, since measuring costs more than committing a row. */
export function recordBytes(record: CommitRecord): number {
  if (record instanceof InsertRecord) return 8 + record.heapBytes;
  let bytes = 64;
  for (const operation of record.operations) {
    bytes += 96;
    if (operation.op !== 'rows') {
      bytes += 512;
      if (operation.op === 'keepTiles' && operation.change.kind === 'add') {
        const { starts, groups, keys, data } = operation.change.cells;
        bytes += starts.byteLength * 3 + groups.byteLength + data.byteLength;
        for (const column of keys.columns) bytes += vectorBytes(column, keys.rowCount);
      }
      continue;
    }
    for (const write of operation.writes) {
      bytes += 64;
      if (write.kind === 'delete' || write.kind === 'update') bytes += write.rowIds.byteLength;
      if (write.kind !== 'insert' && write.kind !== 'update') continue;
      if (write.rows instanceof CompactRows || write.rows instanceof SharedRows)
        bytes += write.rows.heapBytes;
      else
        for (const column of write.rows.columns) bytes += vectorBytes(column, write.rows.rowCount);
    }
  }
  return bytes;
}

function vectorBytes(column: Vector, rowCount: number): number {
  const validity = column.validity === undefined ? 0 : rowCount;
  switch (column.rep) {
    case 'number':
    case 'boolean':
    case 'bigint':
      return 80 + validity + rowCount * column.values.BYTES_PER_ELEMENT;
    case 'dictionary':
      return 80 + validity + rowCount * column.codes.BYTES_PER_ELEMENT;
    case 'bytes':
      return 80 + validity + column.offsets.byteLength + column.bytes.byteLength;
    case 'object':
      return 80 + validity + rowCount * 40;
  }
}
