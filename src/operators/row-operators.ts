import { assert, DbError } from '../base/errors.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from '../columns/batch.ts';
import { datumAt, denseBatch } from '../columns/build.ts';
import type { Datum } from '../columns/values.ts';
import {
  compileExpression,
  compileFilter,
  type CompiledExpression,
  type CompiledFilter,
} from '../expressions/compile.ts';
import type { Expression } from '../expressions/expression.ts';
import { evaluateConstant } from '../expressions/fold.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { LimitNode, OutputColumn } from '../plan/logical.ts';
import type { Budget, Operator, Step } from './operator.ts';

export const EMPTY_BATCH: Batch = { rowCount: 0, columns: [] };

/** Rows for which the condition is true. Stateless: deltas pass with their weights. */
export class FilterOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #input: Operator;
  readonly #filter: CompiledFilter;
  readonly #context: EvaluationContext;

  constructor(id: number, input: Operator, condition: Expression, context: EvaluationContext) {
    this.id = id;
    this.columns = input.columns;
    this.#input = input;
    this.#filter = compileFilter(condition);
    this.#context = context;
  }

  next(budget: Budget): Step {
    for (;;) {
      const step = this.#input.next(budget);
      if (step !== 'batch') return step;
      const { batch } = this.#input;
      budget.charge(batch.rowCount);
      const kept = this.#filter.select(batch, this.#context);
      if (kept !== undefined) {
        this.batch = kept;
        return 'batch';
      }
      if (budget.exhausted) return 'more';
    }
  }

  close(): void {
    this.#input.close();
  }
}

/** Expressions over each row. Stateless; weights and row ids stay with their rows. */
export class ProjectOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #input: Operator;
  readonly #expressions: readonly CompiledExpression[];
  readonly #context: EvaluationContext;
  readonly #onlyColumns: readonly number[] | undefined;

  constructor(
    id: number,
    columns: readonly OutputColumn[],
    input: Operator,
    expressions: readonly Expression[],
    context: EvaluationContext,
  ) {
    this.id = id;
    this.columns = columns;
    this.#input = input;
    this.#context = context;
    this.#onlyColumns = expressions.every((each) => each.kind === 'column')
      ? expressions.map((each) => (each as { index: number }).index)
      : undefined;
    this.#expressions = this.#onlyColumns === undefined ? expressions.map(compileExpression) : [];
  }

  next(budget: Budget): Step {
    const step = this.#input.next(budget);
    if (step !== 'batch') return step;
    const { batch } = this.#input;
    if (this.#onlyColumns !== undefined) {
      // Columns change places; the rows stay as they are.
      this.batch = { ...batch, columns: this.#onlyColumns.map((index) => batch.columns[index]!) };
      return 'batch';
    }
    budget.charge(batch.rowCount * this.#expressions.length);
    const columns = this.#expressions.map((expression) =>
      expression.evaluate(batch, this.#context),
    );
    this.batch = { rowCount: batch.rowCount, columns, ...denseMarks(batch) };
    return 'batch';
  }

  close(): void {
    this.#input.close();
  }
}

/** Weights and row ids by logical row. */
export function denseMarks(batch: Batch): { weights?: Int32Array; rowIds?: Float64Array } {
  if (batch.weights === undefined && batch.rowIds === undefined) return {};
  const { weights, rowIds } =
    batch.selection === undefined ? batch : denseBatch({ ...batch, columns: [] });
  return {
    ...(weights === undefined ? {} : { weights }),
    ...(rowIds === undefined ? {} : { rowIds }),
  };
}

/** LIMIT and OFFSET. Their numbers are constants and parameters, or values of the one row that `counts` gives. */
export class LimitOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #node: LimitNode;
  readonly #input: Operator;
  readonly #counts: Operator | undefined;
  readonly #context: EvaluationContext;
  #skip = 0;
  #left = Infinity;
  #begun = false;

  constructor(
    node: LimitNode,
    input: Operator,
    counts: Operator | undefined,
    context: EvaluationContext,
  ) {
    this.id = node.id;
    this.columns = input.columns;
    this.#node = node;
    this.#input = input;
    this.#counts = counts;
    this.#context = context;
    if (counts === undefined) this.#begin(undefined);
  }

  next(budget: Budget): Step {
    if (!this.#begun) {
      const step = this.#counts!.next(budget);
      if (step === 'more') return 'more';
      assert(step === 'batch', 'the numbers of LIMIT and OFFSET are one row');
      this.#begin(this.#counts!.batch);
    }
    for (;;) {
      if (this.#left <= 0) return 'done';
      const step = this.#input.next(budget);
      if (step !== 'batch') return step;
      const { batch } = this.#input;
      if (this.#skip >= batch.rowCount) {
        this.#skip -= batch.rowCount;
        if (budget.exhausted) return 'more';
        continue;
      }
      const start = this.#skip;
      const end = Math.min(batch.rowCount, start + this.#left);
      this.#skip = 0;
      this.#left -= end - start;
      this.batch = start === 0 && end === batch.rowCount ? batch : range(batch, start, end);
      return 'batch';
    }
  }

  close(): void {
    this.#input.close();
    this.#counts?.close();
  }

  #begin(row: Batch | undefined): void {
    this.#left = this.#number('LIMIT', row) ?? Infinity;
    this.#skip = this.#number('OFFSET', row) ?? 0;
    this.#begun = true;
  }

  /** NULL is none given. */
  #number(clause: 'LIMIT' | 'OFFSET', row: Batch | undefined): number | undefined {
    const expression = clause === 'LIMIT' ? this.#node.limit : this.#node.offset;
    if (expression === undefined) return undefined;
    if (row === undefined) return countOf(expression, clause, this.#context);
    return countFrom(
      datumAt(compileExpression(expression).evaluate(row, this.#context), 0),
      clause,
    );
  }
}

/** Logical rows [start, end), by a selection. */
export function range(batch: Batch, start: number, end: number): Batch {
  const selection =
    batch.selection === undefined
      ? Int32Array.from({ length: end - start }, (_, row) => start + row)
      : batch.selection.slice(start, end);
  return { ...batch, rowCount: end - start, selection };
}

/** LIMIT and OFFSET: a number of rows; NULL is none given. */
export function countOf(
  expression: Expression | undefined,
  clause: 'LIMIT' | 'OFFSET',
  context: EvaluationContext,
): number | undefined {
  if (expression === undefined) return undefined;
  return countFrom(evaluateConstant(expression, context), clause);
}

function countFrom(value: Datum, clause: 'LIMIT' | 'OFFSET'): number | undefined {
  if (value === null) return undefined;
  const count = Number(value);
  if (count < 0)
    throw new DbError(clause === 'LIMIT' ? '2201W' : '2201X', `${clause} must not be negative`);
  return count;
}

/** One input after the other. */
export class UnionAllOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #inputs: readonly Operator[];
  #at = 0;

  constructor(id: number, columns: readonly OutputColumn[], inputs: readonly Operator[]) {
    this.id = id;
    this.columns = columns;
    this.#inputs = inputs;
  }

  next(budget: Budget): Step {
    while (this.#at < this.#inputs.length) {
      const input = this.#inputs[this.#at]!;
      const step = input.next(budget);
      if (step === 'batch') {
        this.batch = input.batch;
        return 'batch';
      }
      if (step === 'more') return 'more';
      this.#at += 1;
    }
    return 'done';
  }

  close(): void {
    for (const input of this.#inputs) input.close();
  }
}

/** Batches that are there already: what sorts, joins and subqueries kept. */
export class BatchesOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #batches: readonly Batch[];
  #index = 0;
  #row = 0;

  constructor(id: number, columns: readonly OutputColumn[], batches: readonly Batch[]) {
    this.id = id;
    this.columns = columns;
    this.#batches = batches;
  }

  next(budget: Budget): Step {
    const batch = this.#batches[this.#index];
    if (batch === undefined) return 'done';
    const end = Math.min(batch.rowCount, this.#row + BATCH_ROW_COUNT_MAX);
    this.batch = this.#row === 0 && end === batch.rowCount ? batch : range(batch, this.#row, end);
    budget.charge(end - this.#row);
    this.#row = end;
    if (end === batch.rowCount) {
      this.#index += 1;
      this.#row = 0;
    }
    return this.batch.rowCount === 0 ? this.next(budget) : 'batch';
  }

  close(): void {
    this.#index = this.#batches.length;
  }
}
