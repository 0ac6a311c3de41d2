import type { Batch } from '../columns/batch.ts';
import { datumAt, vectorFromData } from '../columns/build.ts';
import type { TableWrite } from '../columns/table-contract.ts';
import type { SqlType } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';
import type { CommitRecord, Operation } from './records.ts';

/** Writes of more rows than this are kept as they are. */
const COMPACT_ROWS_MAX = 8;

/**
 * A few rows as one array of data, where vectors would be two objects a column. The memory journal keeps a hundred thousand records of
 * one row: what it keeps is what the collector moves.
 */
export class CompactRows implements Batch {
  readonly rowCount: number;
  readonly #types: readonly SqlType[];
  /** Row after row. */
  readonly #data: readonly Datum[];

  constructor(batch: Batch) {
    const { columns, rowCount, selection } = batch;
    this.rowCount = rowCount;
    this.#types = typesOf(columns);
    const data: Datum[] = [];
    for (let row = 0; row < rowCount; row += 1) {
      const at = selection === undefined ? row : selection[row]!;
      for (let column = 0; column < columns.length; column += 1)
        data.push(datumAt(columns[column]!, at));
    }
    this.#data = data;
  }

  get columns(): readonly Vector[] {
    const width = this.#types.length;
    return this.#types.map((type, column) =>
      vectorFromData(
        type,
        Array.from({ length: this.rowCount }, (_, row) => this.#data[row * width + column]!),
      ),
    );
  }

  /** By formula: the object, its array, and a datum an entry. */
  get heapBytes(): number {
    return 96 + this.#data.length * 16 + this.#types.length * 8;
  }
}

/** The same record with small writes made compact; the very same one where there are none. */
export function compacted(record: CommitRecord): CommitRecord {
  if (!record.operations.some(isSmall)) return record;
  return { ...record, operations: record.operations.map(compactedOperation) };
}

function compactedOperation(operation: Operation): Operation {
  if (operation.op !== 'rows' || !isSmall(operation)) return operation;
  return { ...operation, writes: operation.writes.map(compactedWrite) };
}

function compactedWrite(write: TableWrite): TableWrite {
  return (write.kind === 'insert' || write.kind === 'update') &&
    write.rows.rowCount <= COMPACT_ROWS_MAX
    ? { ...write, rows: new CompactRows(write.rows) }
    : write;
}

function isSmall(operation: Operation): boolean {
  return (
    operation.op === 'rows' &&
    operation.writes.some(
      (write) =>
        (write.kind === 'insert' || write.kind === 'update') &&
        write.rows.rowCount <= COMPACT_ROWS_MAX,
    )
  );
}

function typesOf(columns: readonly Vector[]): SqlType[] {
  return columns.map(({ type }) => type);
}
