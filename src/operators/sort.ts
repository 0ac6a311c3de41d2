import { ChunkedFloat64 } from '../base/chunked.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import { assert } from '../base/errors.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from '../columns/batch.ts';
import { BatchBuilder, denseBatch } from '../columns/build.ts';
import { compileExpression, type CompiledExpression } from '../expressions/compile.ts';
import { evaluateConstant } from '../expressions/fold.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { OutputColumn, SortKey, SortNode } from '../plan/logical.ts';
import { CollectedRows } from './collect.ts';
import { KeyColumn } from './key-column.ts';
import { Budget, type Operator, type Step } from './operator.ts';
import { EMPTY_BATCH } from './row-operators.ts';
import { StepwiseSort } from './stepwise-sort.ts';

/** A top-k of so many rows holds them and a few more; larger ones are sorted in runs. */
const TOP_ROWS_MAX = 2048;
/** Rows beyond what is kept that a larger top-k gathers before it sorts and forgets. */
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
  readonly #keys: readonly { readonly compiled: CompiledExpression; readonly key: SortKey }[];
  readonly #context: EvaluationContext;
  readonly #memory: MemoryAccount;
  readonly #keep: number;
  #rows: CollectedRows;
  /** What stands beside the rows: their places and their keys. */
  #lease: MemoryLease;
  /** By row number: the batch it lies in, and the row there. */
  #places: ChunkedFloat64;
  /** By row number its row id, where the input says it: rows come as they lie then, and ties go by it. */
  #arrivals: ChunkedFloat64 | undefined;
  #columnsOfKeys: readonly KeyColumn[];
  #drained = false;
  #sort: StepwiseSort | undefined;
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
    this.#rows = new CollectedRows(memory);
    this.#lease = new MemoryLease(memory);
    this.#places = new ChunkedFloat64(this.#lease);
    this.#columnsOfKeys = this.#newKeys();
  }

  next(budget: Budget): Step {
    while (!this.#isSorted) {
      if (this.#sort !== undefined) {
        if (!this.#sortOn(this.#sort, budget)) return 'more';
        if (this.#drained) this.#isSorted = true;
        else this.#forgetRest();
        continue;
      }
      if (this.#keep <= TOP_ROWS_MAX) {
        const step = this.#takeBest(budget);
        if (step === 'more') return 'more';
        this.#drained = step === 'done';
      } else {
        this.#drained = this.#rows.fill(this.#input, budget, (batch, rowIds) =>
          this.#number(batch, rowIds),
        );
        if (!this.#drained && this.#places.length <= this.#keep + GATHERED_ROWS) return 'more';
      }
      if (this.#drained || this.#keep > TOP_ROWS_MAX) this.#sort = this.#newSort();
    }
    const { sorted } = this.#sort!;
    if (this.#at >= sorted.length) return 'done';
    const end = Math.min(sorted.length, this.#at + BATCH_ROW_COUNT_MAX);
    this.batch = this.#rowsOf(sorted.subarray(this.#at, end))!;
    budget.charge(end - this.#at);
    this.#at = end;
    return 'batch';
  }

  close(): void {
    this.#input.close();
    this.#sort?.close();
    this.#rows.close();
    this.#lease.close();
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
      this.#rows.keep(dense);
      this.#number(dense, rowIds);
      if (this.#places.length > this.#keep + BATCH_ROW_COUNT_MAX) {
        this.#sort = this.#newSort();
        if (!this.#sortOn(this.#sort, budget)) return 'more';
        this.#forgetRest();
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

  #number(batch: Batch, rowIds: Float64Array | undefined): void {
    const index = this.#rows.batches.length - 1;
    this.#keys.forEach(({ compiled }, key) =>
      this.#columnsOfKeys[key]!.append(
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

  #newSort(): StepwiseSort {
    const keys = this.#columnsOfKeys;
    const arrivals = this.#arrivals;
    const only = keys.length === 1 && arrivals === undefined ? keys[0]! : undefined;
    const compare =
      only === undefined
        ? (a: number, b: number): number => {
            for (const key of keys) {
              const order = key.compare(a, b);
              if (order !== 0) return order;
            }
            return arrivals === undefined ? 0 : arrivals.get(a) - arrivals.get(b);
          }
        : (a: number, b: number): number => only.compare(a, b);
    return new StepwiseSort(this.#places.length, compare, {
      keep: this.#keep,
      memory: this.#memory,
    });
  }

  #newKeys(): KeyColumn[] {
    return this.#keys.map(({ key }) => new KeyColumn(key.expression.type, key, this.#lease));
  }

  /** A top-k forgets the rows that can no longer be among the best. */
  #forgetRest(): void {
    const kept = this.#sort!.sorted;
    if (kept.length === this.#keep && kept.length > 0)
      this.#bound = this.#columnsOfKeys[0]!.numberAt(kept[kept.length - 1]!);
    const rows = new CollectedRows(this.#memory);
    for (let at = 0; at < kept.length; at += BATCH_ROW_COUNT_MAX)
      rows.keep(this.#rowsOf(kept.subarray(at, at + BATCH_ROW_COUNT_MAX))!);
    const arrivals = this.#arrivals;
    const rowIds = arrivals && Float64Array.from(kept, (number) => arrivals.get(number));
    this.#sort!.close();
    this.#sort = undefined;
    this.#rows.close();
    this.#lease.close();
    this.#lease = new MemoryLease(this.#memory);
    this.#places = new ChunkedFloat64(this.#lease);
    this.#arrivals = undefined;
    this.#columnsOfKeys = this.#newKeys();
    this.#rows = new CollectedRows(this.#memory);
    let at = 0;
    for (const batch of rows.batches) {
      this.#rows.keep(batch);
      this.#number(batch, rowIds?.subarray(at, at + batch.rowCount));
      at += batch.rowCount;
    }
    rows.close();
  }

  #rowsOf(numbers: Int32Array): Batch | undefined {
    const builder = new BatchBuilder(
      this.columns.map(({ type }) => type),
      { rowCountMax: Math.max(1, numbers.length) },
    );
    for (const number of numbers) {
      const place = this.#places.get(number);
      const row = place % PLACE_ROWS;
      builder.append(this.#rows.batches[(place - row) / PLACE_ROWS]!, row, row + 1);
    }
    return builder.take();
  }
}

/** Rows a batch is addressed by. */
const PLACE_ROWS = 2 ** 24;
