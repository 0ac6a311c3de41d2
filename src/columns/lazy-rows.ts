import { assert } from '../base/errors.ts';
import type { Batch } from './batch.ts';
import { concatBatches } from './build.ts';
import type { TableScan, TableSnapshot } from './table-contract.ts';
import type { Vector } from './vector.ts';

/**
 * All rows of a snapshot as one batch that is made when somebody looks: a truncation of millions of rows costs nothing where
 * nobody asks which rows they were. To be read within the commit, or until the table's next upkeep.
 */
export class LazyRows implements Batch {
  readonly rowCount: number;
  #snapshot: TableSnapshot | undefined;
  #rows: Batch | undefined;
  /** Columns that readers do not know of any more, each by its place among those that were left then. */
  readonly #dropped: number[] = [];

  constructor(snapshot: TableSnapshot) {
    this.#snapshot = snapshot;
    this.rowCount = snapshot.rowCount;
  }

  get columns(): readonly Vector[] {
    return this.#read().columns;
  }

  get rowIds(): Float64Array {
    return this.#read().rowIds!;
  }

  /** The rows in batches of some columns, for who reads them once, in steps. */
  scan(columnIndexes: readonly number[], withRowIds: boolean): TableScan {
    assert(this.#snapshot !== undefined, 'the rows of a truncation are read within its commit');
    const places = columnIndexes.map((index) =>
      this.#dropped.reduceRight((place, dropped) => (place < dropped ? place : place + 1), index),
    );
    return this.#snapshot.scan({ columnIndexes: places, ordered: true, withRowIds });
  }

  /** From now on it is rows of a table that has this column no more. */
  dropColumn(index: number): void {
    this.#dropped.push(index);
    this.#rows = undefined;
  }

  close(): void {
    this.#snapshot?.release();
    this.#snapshot = undefined;
    this.#rows = undefined;
  }

  #read(): Batch {
    assert(this.#snapshot !== undefined, 'the rows of a truncation are read within its commit');
    this.#rows ??= this.#dropped.reduce<Batch>(withoutColumn, allRows(this.#snapshot));
    return this.#rows;
  }
}

/** The same rows of a table that has lost a column. */
export function withoutColumn(batch: Batch, dropped: number): Batch {
  if (batch instanceof LazyRows) {
    batch.dropColumn(dropped);
    return batch;
  }
  const { rowCount, selection, weights, rowIds } = batch;
  const columns = batch.columns.filter((_, index) => index !== dropped);
  return { rowCount, columns, selection, weights, rowIds };
}

/** All rows of a snapshot, in arrival order, with row ids. */
export function allRows(snapshot: TableSnapshot): Batch {
  const scan = snapshot.scan({
    columnIndexes: snapshot.schema.columns.map((_, index) => index),
    ordered: true,
    withRowIds: true,
  });
  const batches: Batch[] = [];
  for (let batch = scan.next(); batch !== undefined; batch = scan.next()) batches.push(batch);
  return concatBatches(batches);
}
