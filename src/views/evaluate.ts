import type { Batch } from '../columns/batch.ts';
import type { Vector } from '../columns/vector.ts';
import { compileExpression } from '../expressions/compile.ts';
import type { Expression } from '../expressions/expression.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { OutputColumn } from '../plan/logical.ts';

/** The values of an expression for the rows of a batch without selection. */
export type Evaluator = (batch: Batch) => Vector;

/** What a view's expressions may know: nothing that changes from commit to commit. */
export const VIEW_CONTEXT: EvaluationContext = {
  nowMicros: 0,
  zone: 'UTC',
  parameters: [],
  random: { unit: () => 0, uint32: () => 0 },
  setting: () => undefined,
};

export function evaluators(
  expressions: readonly Expression[],
  _columns: readonly OutputColumn[],
): Evaluator[] {
  return expressions.map((expression) => {
    const compiled = compileExpression(expression);
    return (batch) => compiled.evaluate(batch, VIEW_CONTEXT);
  });
}
