import type { Batch } from '../columns/batch.ts';
import { datumAt, denseBatch } from '../columns/build.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { Budget, Operator, Step } from '../operators/operator.ts';
import { EMPTY_BATCH } from '../operators/row-operators.ts';
import type { RepeatNode } from '../plan/logical.ts';
import { evaluators, type Evaluator } from './evaluate.ts';

/** Rows as often as their own count says: their weights are multiplied by it. */
export class DeltaRepeat implements Operator {
  readonly id: number;
  readonly columns: RepeatNode['columns'];
  batch: Batch = EMPTY_BATCH;
  readonly #input: Operator;
  readonly #times: Evaluator;

  constructor(node: RepeatNode, input: Operator, context: EvaluationContext) {
    this.id = node.id;
    this.columns = node.columns;
    this.#input = input;
    this.#times = evaluators([node.times], context)[0]!;
  }

  next(budget: Budget): Step {
    const step = this.#input.next(budget);
    if (step !== 'batch') return step;
    const batch = denseBatch(this.#input.batch);
    const times = this.#times(batch);
    const weights = Int32Array.from(
      { length: batch.rowCount },
      (_, row) => (batch.weights?.[row] ?? 1) * Number(datumAt(times, row)),
    );
    budget.charge(batch.rowCount);
    this.batch = { ...batch, weights };
    return 'batch';
  }

  close(): void {
    this.#input.close();
  }
}
