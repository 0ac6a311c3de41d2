import { BATCH_ROW_COUNT_MAX } from '../columns/batch.ts';
import type { Batch } from '../columns/batch.ts';
import { denseBatch, sliceBatch } from '../columns/build.ts';
import { LazyRows } from '../columns/lazy-rows.ts';
import type { TableDelta, TableScan } from '../columns/table-contract.ts';
import { columnOf } from '../columns/rows-by-column.ts';
import type { Budget, Operator, Step } from '../operators/operator.ts';
import type { OutputColumn, ScanNode } from '../plan/logical.ts';

/** Weights of a batch of departures. */
const MINUS_ONES = new Int32Array(BATCH_ROW_COUNT_MAX).fill(-1);

/**
 * The leaf of a standing plan: what a commit did to a relation, as weighted batches; while a view is being filled, the rows of a
 * snapshot. First what left, then what arrived, so that no multiset ever holds less than nothing.
 */
export class DeltaScan implements Operator {
  readonly id: number;
  readonly relation: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = { rowCount: 0, columns: [] };
  readonly #columnIndexes: readonly number[];
  readonly #withRowIds: boolean;
  /** What is to come, and the row of the first batch where the next slice begins. */
  readonly #queue: (
    | { readonly batch: Batch; readonly sign: 1 | -1 }
    /** All rows of a truncated table, read as they are needed. */
    | { readonly departures: TableScan }
  )[] = [];
  #row = 0;
  #fill: (() => Batch | undefined) | undefined;

  constructor(node: ScanNode) {
    this.id = node.id;
    this.relation = node.relation;
    this.columns = node.columns;
    this.#columnIndexes = node.columnIndexes;
    this.#withRowIds = node.withRowIds;
  }

  get columnIndexes(): readonly number[] {
    return this.#columnIndexes;
  }

  push(delta: TableDelta): void {
    if (delta.deleted instanceof LazyRows)
      this.#queue.push({ departures: delta.deleted.scan(this.#columnIndexes, this.#withRowIds) });
    else if (delta.deleted !== undefined && delta.deleted.rowCount > 0)
      this.#queue.push({ batch: this.#pruned(delta.deleted), sign: -1 });
    if (delta.inserted !== undefined && delta.inserted.rowCount > 0)
      this.#queue.push({ batch: this.#pruned(delta.inserted), sign: 1 });
  }

  /** Reads from `source`, whose batches hold this scan's columns, until it has no more. */
  fillFrom(source: () => Batch | undefined): void {
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
    if ('departures' in first) return this.#nextDeparture(first.departures, budget);
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

  #nextDeparture(scan: TableScan, budget: Budget): Step {
    const batch = scan.next();
    if (batch === undefined) {
      this.#queue.shift();
      return this.next(budget);
    }
    this.batch = leaving(denseBatch(batch));
    budget.charge(batch.rowCount);
    return 'batch';
  }

  #nextOfFill(fill: () => Batch | undefined, budget: Budget): Step {
    const batch = fill();
    if (batch === undefined) {
      this.#fill = undefined;
      return this.next(budget);
    }
    this.batch = batch;
    budget.charge(batch.rowCount);
    return 'batch';
  }

  #pruned(batch: Batch): Batch {
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
  return {
    ...rows,
    weights:
      rows.rowCount === BATCH_ROW_COUNT_MAX ? MINUS_ONES : MINUS_ONES.subarray(0, rows.rowCount),
  };
}
