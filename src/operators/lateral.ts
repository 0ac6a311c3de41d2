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
/** An answer longer than this is read again instead. */
const ANSWER_ROWS_MAX = 10_000;

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
  /** The right side for the row at hand, and its rows as long as they are to be remembered. */
  #running:
    | { readonly operator: Operator; readonly key: string; rows: Datum[][] | undefined }
    | undefined;
  /** Rows found for the row at hand that are to be given out, and how far they have been; undefined: none was begun. */
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
        if (this.#found === undefined) this.#begin(batch, budget);
        this.#give(batch, leftRows, rightRows, budget);
        if (this.#foundAt < this.#found!.length) continue;
        if (this.#running !== undefined && !this.#readOn(budget)) break;
        if (this.#running === undefined && this.#foundAt >= this.#found!.length)
          this.#end(leftRows, rightRows);
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

  #begin(batch: Batch, budget: Budget): void {
    const key = this.#outer
      .map(({ index, type }) => exactText(datumAt(batch.columns[index]!, this.#row), type))
      .join('');
    budget.charge(1);
    this.#foundAt = 0;
    this.#matched = false;
    this.#found = this.#remembered.get(key) ?? [];
    if (this.#remembered.has(key)) return;
    const plan = boundToRow(this.#node.right, batch, this.#row);
    this.#running = { operator: this.#build(plan, this.#environment), key, rows: [] };
  }

  /** The next rows of the right side; false: the budget is used up, ask again. */
  #readOn(budget: Budget): boolean {
    const running = this.#running!;
    const step = running.operator.next(budget);
    if (step === 'more') return false;
    this.#foundAt = 0;
    if (step === 'done') {
      this.#found = [];
      running.operator.close();
      this.#running = undefined;
      if (running.rows !== undefined) this.#remember(running.key, running.rows);
      return true;
    }
    const { batch } = running.operator;
    const rows = Array.from({ length: batch.rowCount }, (_, at) => {
      const physical = batch.selection === undefined ? at : batch.selection[at]!;
      return batch.columns.map((vector) => datumAt(vector, physical));
    });
    budget.charge(rows.length);
    this.#found = rows;
    if (running.rows !== undefined && running.rows.length + rows.length <= ANSWER_ROWS_MAX)
      running.rows.push(...rows);
    else running.rows = undefined;
    return true;
  }

  #remember(key: string, rows: readonly Datum[][]): void {
    this.#remembered.set(key, rows);
    // An answer without rows takes its place too.
    this.#rememberedRows += rows.length + 1;
    for (const [oldest, forgotten] of this.#remembered) {
      if (this.#rememberedRows <= REMEMBERED_ROWS_MAX || oldest === key) break;
      this.#remembered.delete(oldest);
      this.#rememberedRows -= forgotten.length + 1;
    }
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
  }

  /** Nothing more is found for the row at hand. */
  #end(leftRows: number[], rightRows: (readonly Datum[] | undefined)[]): void {
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
