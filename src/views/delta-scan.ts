import { assert } from '../base/errors.ts';
import { BATCH_ROW_COUNT_MAX } from '../columns/batch.ts';
import type { Batch } from '../columns/batch.ts';
import { constantVector, denseBatch, sliceBatch } from '../columns/build.ts';
import { LazyRows } from '../columns/lazy-rows.ts';
import type { TableDelta, TableScan } from '../columns/table-contract.ts';
import { columnOf } from '../columns/rows-by-column.ts';
import type { Budget, Operator, Step } from '../operators/operator.ts';
import type { OutputColumn, ScanNode } from '../plan/logical.ts';

/** Rows that fill a view: batches of the columns that a scan reads, undefined behind the last; `later`: ask again when others have gone on. */
export type FillRows = () => Batch | 'later' | undefined;

/** Weights of a batch of departures. */
const MINUS_ONES = new Int32Array(BATCH_ROW_COUNT_MAX).fill(-1);
/** The same of a few rows, by their number. */
const MINUS_ONES_OF_FEW = Array.from({ length: 17 }, (_, count) => MINUS_ONES.subarray(0, count));

/**
 * The leaf of a standing plan: what a commit did to a relation, as weighted batches; while a view is being filled, the rows of a
 * snapshot. First what left, then what arrived, so that no multiset ever holds less than nothing.
 */
export class DeltaScan implements Operator {
  readonly id: number;
  readonly relation: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = { rowCount: 0, columns: [] };
  #columnIndexes: readonly number[];
  readonly #withRowIds: boolean;
  /** No column is read: the one that the plan gives is NULL, whatever becomes of the relation's. */
  readonly #countsOnly: boolean;
  /** What is to come, and the row of the first batch where the next slice begins. */
  readonly #queue: (
    | { readonly batch: Batch; readonly sign: 1 | -1 }
    /** All rows of a table that was truncated or written anew, read as they are needed. */
    | { readonly rows: TableScan; readonly sign: 1 | -1 }
  )[] = [];
  #row = 0;
  #fill: FillRows | undefined;

  constructor(node: ScanNode) {
    this.id = node.id;
    this.relation = node.relation;
    this.columns = node.columns;
    this.#countsOnly = node.countsOnly === true;
    this.#columnIndexes = this.#countsOnly ? [] : node.columnIndexes;
    this.#withRowIds = node.withRowIds;
  }

  get columnIndexes(): readonly number[] {
    return this.#columnIndexes;
  }

  /** The relation has lost a column that is not read here: those behind it have moved. */
  columnDropped(dropped: number): void {
    this.#columnIndexes = this.#columnIndexes.map((index) => {
      assert(index !== dropped, 'a column that a view uses is not dropped');
      return index < dropped ? index : index - 1;
    });
  }

  /** That was undone. */
  columnBack(index: number): void {
    this.#columnIndexes = this.#columnIndexes.map((each) => (each < index ? each : each + 1));
  }

  push(delta: TableDelta): void {
    this.#push(delta.deleted, -1);
    this.#push(delta.inserted, 1);
  }

  #push(batch: Batch | undefined, sign: 1 | -1): void {
    if (batch instanceof LazyRows)
      this.#queue.push({ rows: batch.scan(this.#columnIndexes, this.#withRowIds), sign });
    else if (batch !== undefined && batch.rowCount > 0)
      this.#queue.push({ batch: this.#pruned(batch), sign });
  }

  /** Reads from `source` until it has no more. */
  fillFrom(source: FillRows): void {
    this.#fill = source;
  }

  /** Forgets what was pushed and not read. */
  reset(): void {
    this.#queue.length = 0;
    this.#row = 0;
    this.#fill = undefined;
  }

  next(budget: Budget): Step {
    if (budget.exhausted)
      return this.#queue.length > 0 || this.#fill !== undefined ? 'more' : 'done';
    if (this.#fill !== undefined) return this.#nextOfFill(this.#fill, budget);
    const first = this.#queue[0];
    if (first === undefined) return 'done';
    if ('rows' in first) return this.#nextOfAll(first.rows, first.sign, budget);
    const { batch, sign } = first;
    const end = Math.min(batch.rowCount, this.#row + BATCH_ROW_COUNT_MAX);
    let slice = batch.rowCount <= BATCH_ROW_COUNT_MAX ? batch : sliceBatch(batch, this.#row, end);
    // Weights go by physical row: a selection may name rows far beyond the weights there are.
    if (slice.selection !== undefined) slice = denseBatch(slice);
    this.batch = sign === 1 ? slice : leaving(slice);
    this.#row = end;
    if (end === batch.rowCount) {
      this.#queue.shift();
      this.#row = 0;
    }
    budget.charge(slice.rowCount);
    return 'batch';
  }

  close(): void {
    this.reset();
  }

  #nextOfAll(rows: TableScan, sign: 1 | -1, budget: Budget): Step {
    const batch = rows.next();
    if (batch === undefined) {
      this.#queue.shift();
      return this.next(budget);
    }
    this.batch = sign === 1 ? this.#given(batch) : leaving(this.#given(denseBatch(batch)));
    budget.charge(batch.rowCount);
    return 'batch';
  }

  #nextOfFill(fill: FillRows, budget: Budget): Step {
    const batch = fill();
    if (batch === 'later') return 'more';
    if (batch === undefined) {
      this.#fill = undefined;
      return this.next(budget);
    }
    this.batch = this.#given(batch);
    budget.charge(batch.rowCount);
    return 'batch';
  }

  #given(batch: Batch): Batch {
    if (!this.#countsOnly) return batch;
    const { rowCount, rowIds } = batch;
    return { rowCount, columns: [constantVector(this.columns[0]!.type, null, rowCount)], rowIds };
  }

  #pruned(batch: Batch): Batch {
    if (this.#countsOnly) return this.#given(batch);
    const columns = this.#columnIndexes.map((index) => columnOf(batch, index));
    return {
      rowCount: batch.rowCount,
      columns,
      selection: batch.selection,
      rowIds: this.#withRowIds ? batch.rowIds : undefined,
    };
  }
}

function leaving(rows: Batch): Batch {
  const { rowCount } = rows;
  return {
    rowCount,
    columns: rows.columns,
    selection: rows.selection,
    rowIds: rows.rowIds,
    weights:
      rowCount === BATCH_ROW_COUNT_MAX
        ? MINUS_ONES
        : (MINUS_ONES_OF_FEW[rowCount] ?? MINUS_ONES.subarray(0, rowCount)),
  };
}
