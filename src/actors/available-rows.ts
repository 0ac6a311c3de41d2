import type { Batch } from '../columns/batch.ts';
import type { TableScan, TableSchema, TableSnapshot } from '../columns/table-contract.ts';
import type { Datum } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';

/** A snapshot without the rows that are not to be had; what is asked of a row is asked when it is read. Its owner gives it back. */
export class AvailableRows implements TableSnapshot {
  readonly #all: TableSnapshot;
  readonly #isAvailable: (rowId: number) => boolean;

  constructor(all: TableSnapshot, isAvailable: (rowId: number) => boolean) {
    this.#all = all;
    this.#isAvailable = isAvailable;
  }

  get schema(): TableSchema {
    return this.#all.schema;
  }

  /** Those that are not available counted: for estimates. */
  get rowCount(): number {
    return this.#all.rowCount;
  }

  get isTruncated(): boolean {
    return this.#all.isTruncated === true;
  }

  scan(options: Parameters<TableSnapshot['scan']>[0]): TableScan {
    const scan = this.#all.scan({ ...options, withRowIds: true });
    return {
      next: () => {
        for (let batch = scan.next(); batch !== undefined; batch = scan.next()) {
          const left = this.#left(batch);
          if (left !== undefined) return left;
        }
        return undefined;
      },
      get rowsRead() {
        return scan.rowsRead;
      },
    };
  }

  findUnique(
    indexName: string,
    keys: readonly Vector[],
    rowCount: number,
    selection?: Int32Array,
  ): Float64Array {
    return this.#all
      .findUnique(indexName, keys, rowCount, selection)
      .map((rowId) => (rowId >= 0 && this.#isAvailable(rowId) ? rowId : -1));
  }

  lookup(indexName: string, key: readonly Datum[]): Float64Array {
    return this.#all.lookup(indexName, key).filter(this.#isAvailable);
  }

  fetch(rowIds: Float64Array, columnIndexes: readonly number[]): Batch {
    return this.#all.fetch(rowIds.filter(this.#isAvailable), columnIndexes);
  }

  release(): void {
    this.#all.release();
  }

  /** undefined where nothing is left. */
  #left(batch: Batch): Batch | undefined {
    const kept = new Int32Array(batch.rowCount);
    let count = 0;
    for (let row = 0; row < batch.rowCount; row += 1) {
      const at = batch.selection === undefined ? row : batch.selection[row]!;
      if (this.#isAvailable(batch.rowIds![at]!)) kept[count++] = at;
    }
    if (count === batch.rowCount) return batch;
    return count === 0
      ? undefined
      : { ...batch, rowCount: count, selection: kept.subarray(0, count) };
  }
}
