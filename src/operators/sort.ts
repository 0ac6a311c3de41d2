import { ChunkedFloat64 } from '../base/chunked.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import { assert } from '../base/errors.ts';
import { BATCH_ROW_COUNT_MAX, PLACE_ROWS, type Batch } from '../columns/batch.ts';
import { BatchBuilder, denseBatch } from '../columns/build.ts';
import { compileExpression, type CompiledExpression } from '../expressions/compile.ts';
import { evaluateConstant } from '../expressions/fold.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { OutputColumn, SortKey, SortNode } from '../plan/logical.ts';
import { CollectedRows } from './collect.ts';
import { KeyColumn, sortByKeys } from './key-column.ts';
import { Budget, type Operator, type Step } from './operator.ts';
import { EMPTY_BATCH } from './row-operators.ts';
import type { StepwiseSort } from './stepwise-sort.ts';

/** A top-k of so many rows holds them and a few more; larger ones are sorted in runs. */
const TOP_ROWS_MAX = 2048;
/** Rows beyond what is kept that a larger top-k gathers at least before it sorts and forgets. */
const GATHERED_ROWS = 131_072;

/**
 * ORDER BY: rows are numbered as they arrive, their numbers are sorted in steps; ties stay in arrival order. With `keep` only the best rows
 * survive, so a top-k holds little.
 */
export class SortOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #input: Operator;
  readonly #keys: readonly SortingKey[];
  readonly #context: EvaluationContext;
  readonly #memory: MemoryAccount;
  readonly #keep: number;
  #gathered: GatheredRows;
  #drained = false;
  #sort: StepwiseSort | undefined;
  /** Where the rows go that a larger top-k keeps, and how many of them are there. */
  #kept: { readonly rows: GatheredRows; count: number } | undefined;
  #isSorted = false;
  #at = 0;
  /** The first key of the worst row that a top-k keeps, once it has enough: what is worse is not looked at. */
  #bound: number | undefined;
  /** The rows of a batch that are not worse than the bound. */
  readonly #selection = new Int32Array(BATCH_ROW_COUNT_MAX);

  constructor(node: SortNode, input: Operator, context: EvaluationContext, memory: MemoryAccount) {
    this.id = node.id;
    this.columns = node.columns;
    this.#input = input;
    this.#context = context;
    this.#memory = memory;
    this.#keys = node.keys.map((key) => ({ compiled: compileExpression(key.expression), key }));
    const keep = node.keep === undefined ? null : evaluateConstant(node.keep, context);
    this.#keep = keep === null ? Infinity : Number(keep);
    this.#gathered = this.#newRows();
  }

  next(budget: Budget): Step {
    while (!this.#isSorted) {
      if (this.#sort !== undefined) {
        if (!this.#sortOn(this.#sort, budget)) return 'more';
        if (this.#drained) this.#isSorted = true;
        else if (!this.#forgetRest(this.#sort, budget)) return 'more';
        continue;
      }
      if (this.#keep <= TOP_ROWS_MAX) {
        const step = this.#takeBest(budget);
        if (step === 'more') return 'more';
        this.#drained = step === 'done';
      } else {
        // Twice as many: each row is sorted a few times at most, however many are kept.
        const enough = Math.max(2 * this.#keep, this.#keep + GATHERED_ROWS);
        this.#drained = this.#gathered.fill(this.#input, budget, enough);
        if (!this.#drained && this.#gathered.rowCount <= enough) return 'more';
      }
      if (this.#drained || this.#keep > TOP_ROWS_MAX) this.#sort = this.#newSort();
    }
    const { sorted } = this.#sort!;
    if (this.#at >= sorted.length) return 'done';
    const end = Math.min(sorted.length, this.#at + BATCH_ROW_COUNT_MAX);
    this.batch = this.#gathered.batchOf(sorted.subarray(this.#at, end));
    budget.charge(end - this.#at);
    this.#at = end;
    return 'batch';
  }

  close(): void {
    this.#input.close();
    this.#sort?.close();
    this.#gathered.close();
    this.#kept?.rows.close();
  }

  #newRows(): GatheredRows {
    return new GatheredRows(this.columns, this.#keys, this.#context, this.#memory);
  }

  #newSort(): StepwiseSort {
    return this.#gathered.newSort(this.#keep);
  }

  /** True when all is sorted. How often a top-k sorts depends on how its rows come: that takes time of the step, but is no work. */
  #sortOn(sort: StepwiseSort, budget: Budget): boolean {
    if (this.#drained || this.#keep > TOP_ROWS_MAX) return sort.step(budget);
    const pace = new Budget(budget.remaining);
    const isSorted = sort.step(pace);
    budget.remaining = pace.remaining;
    return isSorted;
  }

  /** Reads a batch of a top-k's input and keeps what may be among the best. Costs the same in whatever order rows come. */
  #takeBest(budget: Budget): Step {
    const step = this.#input.next(budget);
    if (step !== 'batch') return step;
    const { batch } = this.#input;
    budget.charge(batch.rowCount * (this.#keys.length + 1));
    const kept = this.#bound === undefined ? batch : this.#notWorse(batch, this.#bound);
    if (kept !== undefined) {
      const { rowIds, ...dense } = denseBatch(kept);
      this.#gathered.keep(dense, rowIds);
      if (this.#gathered.rowCount > this.#keep + BATCH_ROW_COUNT_MAX) {
        this.#sort = this.#newSort();
        if (!this.#sortOn(this.#sort, budget) || !this.#forgetRest(this.#sort, budget))
          return 'more';
      }
    }
    return budget.exhausted ? 'more' : 'batch';
  }

  /** The rows whose first key is not worse than `bound`; all, where that is not told by numbers. */
  #notWorse(batch: Batch, bound: number): Batch | undefined {
    const { compiled, key } = this.#keys[0]!;
    const vector = compiled.evaluate(batch, this.#context);
    if (vector.rep !== 'number' || vector.type.kind === 'numeric') return batch;
    const { values, validity, factor, base } = vector;
    const selection = this.#selection;
    const descending = key.descending;
    let count = 0;
    for (let row = 0; row < batch.rowCount; row += 1) {
      if (validity === undefined || validity[row] === 1) {
        const value = values[row]! * factor + base;
        // A NaN is neither: its place is found by the full comparison.
        if (descending ? value < bound : value > bound) continue;
      }
      selection[count] = batch.selection === undefined ? row : batch.selection[row]!;
      count += 1;
    }
    if (count === 0) return undefined;
    return count === batch.rowCount
      ? batch
      : { ...batch, rowCount: count, selection: selection.slice(0, count) };
  }

  /** A top-k forgets the rows that can no longer be among the best, in steps; true when it has. */
  #forgetRest(sort: StepwiseSort, budget: Budget): boolean {
    const { sorted } = sort;
    const kept = (this.#kept ??= { rows: this.#newRows(), count: 0 });
    while (kept.count < sorted.length) {
      if (this.#keep > TOP_ROWS_MAX && budget.exhausted) return false;
      const end = Math.min(sorted.length, kept.count + BATCH_ROW_COUNT_MAX);
      const numbers = sorted.subarray(kept.count, end);
      kept.rows.keep(this.#gathered.batchOf(numbers), this.#gathered.rowIdsOf(numbers));
      if (this.#keep > TOP_ROWS_MAX) budget.charge(end - kept.count);
      kept.count = end;
    }
    if (sorted.length === this.#keep && sorted.length > 0)
      this.#bound = this.#gathered.firstNumberOf(sorted[sorted.length - 1]!);
    sort.close();
    this.#gathered.close();
    this.#sort = undefined;
    this.#kept = undefined;
    this.#gathered = kept.rows;
    return true;
  }
}

type SortingKey = { readonly compiled: CompiledExpression; readonly key: SortKey };

/** Rows that a sort has read, told by their numbers, and what it sorts them by. */
class GatheredRows {
  readonly #columns: readonly OutputColumn[];
  readonly #keys: readonly SortingKey[];
  readonly #context: EvaluationContext;
  readonly #memory: MemoryAccount;
  readonly #rows: CollectedRows;
  /** What stands beside the rows: their places and their keys. */
  readonly #lease: MemoryLease;
  /** By row number: the batch it lies in, and the row there. */
  readonly #places: ChunkedFloat64;
  /** By row number its row id, where the input says it: rows come as they lie then, and ties go by it. */
  #arrivals: ChunkedFloat64 | undefined;
  readonly #keyColumns: readonly KeyColumn[];

  constructor(
    columns: readonly OutputColumn[],
    keys: readonly SortingKey[],
    context: EvaluationContext,
    memory: MemoryAccount,
  ) {
    this.#columns = columns;
    this.#keys = keys;
    this.#context = context;
    this.#memory = memory;
    this.#rows = new CollectedRows(memory);
    this.#lease = new MemoryLease(memory);
    this.#places = new ChunkedFloat64(this.#lease);
    this.#keyColumns = keys.map(({ key }) => new KeyColumn(key.expression.type, key, this.#lease));
  }

  get rowCount(): number {
    return this.#places.length;
  }

  /** Reads on; true when the input is drained. It ends at the batch that brings more than `rowCountMax` rows, however long steps are: what is sorted is work. */
  fill(input: Operator, budget: Budget, rowCountMax: number): boolean {
    return this.#rows.fill(
      input,
      budget,
      (batch, rowIds) => this.#number(batch, rowIds),
      () => this.rowCount > rowCountMax,
    );
  }

  /** A dense batch that belongs to nobody else. */
  keep(batch: Batch, rowIds: Float64Array | undefined): void {
    this.#rows.keep(batch);
    this.#number(batch, rowIds);
  }

  /** Sorts the numbers of all rows, as far as `keep` of them. */
  newSort(keep: number): StepwiseSort {
    return sortByKeys(this.#places.length, this.#keyColumns, {
      arrivals: this.#arrivals,
      keep,
      memory: this.#memory,
    });
  }

  batchOf(numbers: Int32Array): Batch {
    const builder = new BatchBuilder(
      this.#columns.map(({ type }) => type),
      { rowCountMax: numbers.length },
    );
    for (const number of numbers) {
      const place = this.#places.get(number);
      const row = place % PLACE_ROWS;
      builder.append(this.#rows.batches[(place - row) / PLACE_ROWS]!, row, row + 1);
    }
    return builder.take()!;
  }

  rowIdsOf(numbers: Int32Array): Float64Array | undefined {
    const arrivals = this.#arrivals;
    return arrivals && Float64Array.from(numbers, (number) => arrivals.get(number));
  }

  firstNumberOf(number: number): number | undefined {
    return this.#keyColumns[0]!.numberAt(number);
  }

  close(): void {
    this.#rows.close();
    this.#lease.close();
  }

  #number(batch: Batch, rowIds: Float64Array | undefined): void {
    const index = this.#rows.batches.length - 1;
    this.#keys.forEach(({ compiled }, key) =>
      this.#keyColumns[key]!.append(
        compiled.evaluate(batch, this.#context),
        batch.rowCount,
        batch.weights,
      ),
    );
    for (let row = 0; row < batch.rowCount; row += 1) {
      const copies = batch.weights === undefined ? 1 : batch.weights[row]!;
      for (let copy = 0; copy < copies; copy += 1) this.#places.push(index * PLACE_ROWS + row);
    }
    if (rowIds === undefined) return;
    assert(batch.weights === undefined, 'rows of a table are there once');
    this.#arrivals ??= new ChunkedFloat64(this.#lease);
    for (let row = 0; row < batch.rowCount; row += 1) this.#arrivals.push(rowIds[row]!);
  }
}
