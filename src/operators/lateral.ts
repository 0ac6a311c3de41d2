import { BATCH_ROW_COUNT_MAX, type Batch } from '../columns/batch.ts';
import { datumAt, denseBatch, vectorFromData } from '../columns/build.ts';
import type { Datum } from '../columns/values.ts';
import { compileExpression, type CompiledExpression } from '../expressions/compile.ts';
import type { LateralNode, OutputColumn } from '../plan/logical.ts';
import { boundToRow, exactText, outerColumnsOf, type BuildPlan } from './apply.ts';
import type { ExecutionEnvironment } from './environment.ts';
import type { Budget, Operator, Step } from './operator.ts';
import { EMPTY_BATCH } from './row-operators.ts';

/** Rows remembered for outer values that come again; beyond, the oldest answers are forgotten. */
const REMEMBERED_ROWS_MAX = 100_000;

/** Rows of the right side for each row of the left one; those for the same outer values are computed once. */
export class LateralOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #node: LateralNode;
  readonly #left: Operator;
  readonly #environment: ExecutionEnvironment;
  readonly #build: BuildPlan;
  readonly #outer: ReturnType<typeof outerColumnsOf>;
  readonly #condition: CompiledExpression | undefined;
  readonly #remembered = new Map<string, readonly Datum[][]>();
  #rememberedRows = 0;
  #pending: Batch | undefined;
  #row = 0;
  #running: { readonly operator: Operator; readonly key: string; rows: Datum[][] } | undefined;
  /** What is found for the row that is being served, and how far it has been given out. */
  #found: readonly Datum[][] | undefined;
  #foundAt = 0;
  #matched = false;

  constructor(
    node: LateralNode,
    left: Operator,
    environment: ExecutionEnvironment,
    build: BuildPlan,
  ) {
    this.id = node.id;
    this.columns = node.columns;
    this.#node = node;
    this.#left = left;
    this.#environment = environment;
    this.#build = build;
    this.#outer = outerColumnsOf(node.right);
    this.#condition = node.condition && compileExpression(node.condition);
  }

  next(budget: Budget): Step {
    const leftRows: number[] = [];
    const rightRows: (readonly Datum[] | undefined)[] = [];
    for (;;) {
      if (this.#pending === undefined) {
        const step = this.#left.next(budget);
        if (step !== 'batch') return step;
        this.#pending = denseBatch(this.#left.batch);
        this.#row = 0;
      }
      const batch = this.#pending;
      while (this.#row < batch.rowCount && leftRows.length < BATCH_ROW_COUNT_MAX) {
        this.#found ??= this.#rowsFor(batch, this.#row, budget);
        if (this.#found === undefined) break;
        this.#give(batch, leftRows, rightRows, budget);
      }
      const isEnd = this.#row >= batch.rowCount;
      if (isEnd) this.#pending = undefined;
      if (leftRows.length > 0) {
        this.#emit(batch, leftRows, rightRows);
        return 'batch';
      }
      if (!isEnd) return 'more';
    }
  }

  close(): void {
    this.#left.close();
    this.#running?.operator.close();
    this.#remembered.clear();
  }

  /** undefined: the budget is used up, ask again. */
  #rowsFor(batch: Batch, row: number, budget: Budget): readonly Datum[][] | undefined {
    const key = this.#outer
      .map(({ index, type }) => exactText(datumAt(batch.columns[index]!, row), type))
      .join('');
    const known = this.#remembered.get(key);
    budget.charge(1);
    this.#foundAt = 0;
    this.#matched = false;
    if (known !== undefined) return known;
    if (this.#running === undefined || this.#running.key !== key) {
      const plan = boundToRow(this.#node.right, batch, row);
      this.#running = { operator: this.#build(plan, this.#environment), key, rows: [] };
    }
    const { operator, rows } = this.#running;
    for (;;) {
      const step = operator.next(budget);
      if (step === 'more') return undefined;
      if (step === 'done') break;
      const { batch: found } = operator;
      for (let at = 0; at < found.rowCount; at += 1) {
        const physical = found.selection === undefined ? at : found.selection[at]!;
        rows.push(found.columns.map((vector) => datumAt(vector, physical)));
      }
      budget.charge(found.rowCount);
    }
    operator.close();
    this.#running = undefined;
    this.#remembered.set(key, rows);
    this.#rememberedRows += rows.length;
    for (const [oldest, forgotten] of this.#remembered) {
      if (this.#rememberedRows <= REMEMBERED_ROWS_MAX || oldest === key) break;
      this.#remembered.delete(oldest);
      this.#rememberedRows -= forgotten.length;
    }
    return rows;
  }

  /** Pairs of the row at hand, as many as the batch has room for. */
  #give(
    batch: Batch,
    leftRows: number[],
    rightRows: (readonly Datum[] | undefined)[],
    budget: Budget,
  ): void {
    const found = this.#found!;
    const end = Math.min(found.length, this.#foundAt + BATCH_ROW_COUNT_MAX - leftRows.length);
    const pairs = found.slice(this.#foundAt, end);
    const passing = this.#condition === undefined ? pairs : this.#passing(batch, pairs);
    for (const right of passing) {
      leftRows.push(this.#row);
      rightRows.push(right);
    }
    budget.charge(pairs.length);
    this.#matched ||= passing.length > 0;
    this.#foundAt = end;
    if (end < found.length) return;
    if (!this.#matched && this.#node.type === 'left') {
      leftRows.push(this.#row);
      rightRows.push(undefined);
    }
    this.#found = undefined;
    this.#row += 1;
  }

  #passing(batch: Batch, pairs: readonly Datum[][]): readonly Datum[][] {
    if (pairs.length === 0) return pairs;
    const both = this.#joined(
      batch,
      pairs.map(() => this.#row),
      pairs,
    );
    const test = this.#condition!.evaluate(both, this.#environment.context);
    return pairs.filter((_, index) => datumAt(test, index) === true);
  }

  #emit(
    batch: Batch,
    leftRows: readonly number[],
    rightRows: readonly (readonly Datum[] | undefined)[],
  ): void {
    this.batch = this.#joined(batch, leftRows, rightRows);
  }

  #joined(
    batch: Batch,
    leftRows: readonly number[],
    rightRows: readonly (readonly Datum[] | undefined)[],
  ): Batch {
    const width = batch.columns.length;
    const columns = this.columns.map(({ type }, index) =>
      vectorFromData(
        type,
        index < width
          ? leftRows.map((row) => datumAt(batch.columns[index]!, row))
          : rightRows.map((row) => (row === undefined ? null : row[index - width]!)),
      ),
    );
    return { rowCount: leftRows.length, columns };
  }
}
