import type { MemoryAccount } from '../base/memory.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from '../columns/batch.ts';
import { BatchBuilder, datumAt, denseBatch } from '../columns/build.ts';
import { compareDatums } from '../columns/compare.ts';
import type { Datum } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';
import { compileExpression, type CompiledExpression } from '../expressions/compile.ts';
import { evaluateConstant } from '../expressions/fold.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { OutputColumn, SortKey, SortNode } from '../plan/logical.ts';
import { CollectedRows } from './collect.ts';
import type { Budget, Operator, Step } from './operator.ts';
import { EMPTY_BATCH } from './row-operators.ts';

/** A top-k of so many rows holds them and a few more; larger ones are sorted in runs. */
const TOP_ROWS_MAX = 2048;
/** Rows of one sorted run: a step sorts one run. */
const RUN_ROWS = 16_384;

/**
 * ORDER BY: rows are numbered as they arrive, runs of them are sorted and merged in steps; ties stay in arrival order. With
 * `keep` only the best rows survive each merge, so a top-k holds little.
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
  /** By row number: the batch it lies in, and the row there. */
  #place: number[] = [];
  #columnsOfKeys: KeyColumn[];
  #runs: Int32Array[] = [];
  #open: number[] = [];
  #drained = false;
  #merged: Int32Array | undefined;
  #at = 0;
  /** The first key of the worst row that a top-k keeps, once it has enough: what is worse is not looked at. */
  #bound: number | undefined;

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
    this.#columnsOfKeys = node.keys.map((key) => new KeyColumn(key));
  }

  next(budget: Budget): Step {
    const isTopK = this.#keep <= TOP_ROWS_MAX;
    while (!this.#drained) {
      if (isTopK) {
        const step = this.#takeBest(budget);
        if (step === 'more') return 'more';
        this.#drained = step === 'done';
        if (this.#drained) this.#sortRuns(undefined);
        continue;
      }
      this.#drained = this.#rows.fill(this.#input, budget, (batch) => this.#number(batch));
      if (this.#open.length >= RUN_ROWS || this.#drained) this.#sortRuns(budget);
      if (!this.#drained && budget.exhausted) return 'more';
      if (
        !this.#drained &&
        Number.isFinite(this.#keep) &&
        this.#place.length > Math.max(8 * RUN_ROWS, this.#keep * 4)
      )
        this.#compact();
    }
    while (this.#merged === undefined) {
      if (this.#runs.length <= 1) {
        this.#merged = this.#runs[0] ?? new Int32Array(0);
        break;
      }
      // Neighbouring runs are merged, so that ties stay in arrival order.
      const next: Int32Array[] = [];
      for (let index = 0; index < this.#runs.length; index += 2) {
        const right = this.#runs[index + 1];
        next.push(
          right === undefined ? this.#runs[index]! : this.#merge(this.#runs[index]!, right),
        );
      }
      budget.charge(this.#place.length);
      this.#runs = next;
      if (budget.exhausted && this.#runs.length > 1) return 'more';
    }
    if (this.#at >= this.#merged.length) return 'done';
    const end = Math.min(this.#merged.length, this.#at + BATCH_ROW_COUNT_MAX);
    const builder = new BatchBuilder(this.columns.map(({ type }) => type));
    for (let at = this.#at; at < end; at += 1) {
      const place = this.#place[this.#merged[at]!]!;
      const row = place % PLACE_ROWS;
      builder.append(this.#rows.batches[(place - row) / PLACE_ROWS]!, row, row + 1);
    }
    budget.charge(end - this.#at);
    this.#at = end;
    this.batch = builder.take()!;
    return 'batch';
  }

  close(): void {
    this.#input.close();
    this.#rows.close();
  }

  /** Reads a batch of a top-k's input and keeps what may be among the best. Costs the same in whatever order rows come. */
  #takeBest(budget: Budget): Step {
    const step = this.#input.next(budget);
    if (step !== 'batch') return step;
    const { batch } = this.#input;
    budget.charge(batch.rowCount * (this.#keys.length + 1));
    const kept = this.#bound === undefined ? batch : this.#notWorse(batch, this.#bound);
    if (kept !== undefined) {
      const dense = denseBatch(kept);
      this.#rows.keep(dense);
      this.#number(dense);
      if (this.#place.length > Math.max(BATCH_ROW_COUNT_MAX, this.#keep * 4)) {
        this.#sortRuns(undefined);
        this.#compact();
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
    const selection = new Int32Array(batch.rowCount);
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
      : { ...batch, rowCount: count, selection: selection.subarray(0, count) };
  }

  #number(batch: Batch): void {
    const index = this.#rows.batches.length - 1;
    this.#keys.forEach(({ compiled }, key) =>
      this.#columnsOfKeys[key]!.append(compiled.evaluate(batch, this.#context), batch.rowCount),
    );
    for (let row = 0; row < batch.rowCount; row += 1) {
      const copies = batch.weights === undefined ? 1 : batch.weights[row]!;
      for (let copy = 0; copy < copies; copy += 1) {
        this.#open.push(this.#place.length);
        this.#place.push(index * PLACE_ROWS + row);
        if (copy > 0) for (const column of this.#columnsOfKeys) column.repeatLast();
      }
    }
  }

  #sortRuns(budget: Budget | undefined): void {
    while (this.#open.length > 0) {
      const piece = Int32Array.from(this.#open.splice(0, RUN_ROWS));
      piece.sort((a, b) => this.#compare(a, b) || a - b);
      budget?.charge(piece.length * 4);
      this.#runs.push(piece.length > this.#keep ? piece.slice(0, this.#keep) : piece);
    }
  }

  #merge(a: Int32Array, b: Int32Array): Int32Array {
    const length = Math.min(a.length + b.length, this.#keep);
    const out = new Int32Array(length);
    let i = 0;
    let j = 0;
    for (let at = 0; at < length; at += 1) {
      if (j >= b.length || (i < a.length && this.#compare(a[i]!, b[j]!) <= 0)) {
        out[at] = a[i]!;
        i += 1;
      } else {
        out[at] = b[j]!;
        j += 1;
      }
    }
    return out;
  }

  /** A top-k forgets the rows that can no longer be among the best. */
  #compact(): void {
    while (this.#runs.length > 1)
      this.#runs.splice(0, 2, this.#merge(this.#runs[0]!, this.#runs[1]!));
    const kept = this.#runs[0] ?? new Int32Array(0);
    const bound =
      kept.length === this.#keep && kept.length > 0
        ? this.#columnsOfKeys[0]!.numberAt(kept[kept.length - 1]!)
        : undefined;
    const all = new BatchBuilder(
      this.columns.map(({ type }) => type),
      { rowCountMax: Math.max(1, kept.length) },
    );
    for (const number of kept) {
      const place = this.#place[number]!;
      const row = place % PLACE_ROWS;
      all.append(this.#rows.batches[(place - row) / PLACE_ROWS]!, row, row + 1);
    }
    const batch = all.take();
    this.#rows.close();
    this.#rows = new CollectedRows(this.#memory);
    this.#place = [];
    this.#runs = [];
    this.#columnsOfKeys = this.#keys.map(({ key }) => new KeyColumn(key));
    if (batch === undefined) return;
    this.#bound = bound;
    this.#rows.keep(batch);
    this.#number(batch);
    this.#runs.push(Int32Array.from(this.#open.splice(0)));
  }

  #compare(a: number, b: number): number {
    for (const column of this.#columnsOfKeys) {
      const order = column.compare(a, b);
      if (order !== 0) return order;
    }
    return 0;
  }
}

/** Rows a batch is addressed by; larger batches are only made by a top-k that compacts. */
const PLACE_ROWS = 2 ** 24;

/** The values of one sort key by row number: doubles while they are numbers, else data. */
class KeyColumn {
  readonly #key: SortKey;
  #numbers: number[] | undefined = [];
  #data: Datum[] = [];
  /** 1 where NULL. */
  #nulls: number[] = [];
  readonly #sign: 1 | -1;
  readonly #nullSign: 1 | -1;

  constructor(key: SortKey) {
    this.#key = key;
    this.#sign = key.descending ? -1 : 1;
    this.#nullSign = key.nullsFirst ? -1 : 1;
  }

  append(vector: Vector, rowCount: number): void {
    for (let row = 0; row < rowCount; row += 1) this.#push(datumAt(vector, row));
  }

  repeatLast(): void {
    if (this.#nulls.at(-1) === 1) this.#push(null);
    else this.#push(this.#numbers === undefined ? this.#data.at(-1)! : this.#numbers.at(-1)!);
  }

  compare(a: number, b: number): number {
    const nullA = this.#nulls[a]!;
    const nullB = this.#nulls[b]!;
    if (nullA !== 0 || nullB !== 0)
      return nullA === nullB ? 0 : nullA === 1 ? this.#nullSign : -this.#nullSign;
    if (this.#numbers !== undefined) {
      const x = this.#numbers[a]!;
      const y = this.#numbers[b]!;
      if (x < y) return -this.#sign;
      if (x > y) return this.#sign;
      if (x === y) return 0;
      return x !== x ? (y !== y ? 0 : this.#sign) : -this.#sign;
    }
    const x = this.#data[a]!;
    const y = this.#data[b]!;
    return compareDatums(x, y, this.#key.expression.type.kind) * this.#sign;
  }

  /** Undefined: NULL, NaN, or no number. */
  numberAt(row: number): number | undefined {
    if (this.#numbers === undefined || this.#nulls[row] === 1) return undefined;
    const value = this.#numbers[row]!;
    return value === value ? value : undefined;
  }

  #push(datum: Datum): void {
    this.#nulls.push(datum === null ? 1 : 0);
    if (this.#numbers !== undefined) {
      if (datum === null || typeof datum === 'number') {
        this.#numbers.push(datum ?? 0);
        return;
      }
      this.#data = this.#numbers;
      this.#numbers = undefined;
    }
    this.#data.push(datum);
  }
}
