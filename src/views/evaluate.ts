import { DbError } from '../base/errors.ts';
import type { Batch } from '../columns/batch.ts';
import type { Vector } from '../columns/vector.ts';
import { compileExpression } from '../expressions/compile.ts';
import type { Expression } from '../expressions/expression.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';

/** The values of an expression for the rows of a batch without selection. */
export type Evaluator = (batch: Batch) => Vector;

/** What a view's expressions may know: its zone, and nothing that changes from commit to commit. */
export function viewContext(zone: string): EvaluationContext {
  return {
    get nowMicros(): number {
      throw new DbError('0A000', 'the present instant has no meaning in a materialized view', {
        hint: 'Words such as today and now cannot stand in rows that a view reads as dates.',
      });
    },
    zone,
    parameters: [],
    random: { unit: () => 0, uint32: () => 0 },
    setting: () => undefined,
  };
}

export function evaluators(
  expressions: readonly Expression[],
  context: EvaluationContext,
): Evaluator[] {
  return expressions.map((expression) => {
    const compiled = compileExpression(expression);
    return (batch) => compiled.evaluate(batch, context);
  });
}
