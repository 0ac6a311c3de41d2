import { DbError } from '../base/errors.ts';
import { equalDatums } from '../columns/compare.ts';
import type { Datum } from '../columns/values.ts';
import { functionById } from './catalog.ts';
import { castOf } from './coercion.ts';
import type { Expression } from './expression.ts';
import type { EvaluationContext } from './function-def.ts';
import { fitToType } from './text-io.ts';

/** The row an expression is evaluated on: column index → datum. */
export type RowAccess = (column: number) => Datum;

/**
 * The meaning of expressions, one row at a time, on data in their one form. Generated kernels must agree with it bit for
 * bit; they fall back to it for whatever leaves their lanes.
 */
export function interpret(
  expression: Expression,
  row: RowAccess,
  context: EvaluationContext,
): Datum {
  switch (expression.kind) {
    case 'column':
      return row(expression.index);
    case 'constant':
      return expression.value;
    case 'parameter':
      return context.parameters[expression.index] ?? null;
    case 'call': {
      const def = functionById(expression.fn);
      const args: Datum[] = [];
      for (const arg of expression.args) {
        const datum = interpret(arg, row, context);
        if (datum === null && def.strict !== false) return null;
        args.push(datum);
      }
      return def.evaluate(
        args,
        context,
        expression.args.map(({ type }) => type),
      );
    }
    case 'and': {
      let result: boolean | null = true;
      for (const arg of expression.args) {
        const datum = interpret(arg, row, context);
        if (datum === false) return false;
        if (datum === null) result = null;
      }
      return result;
    }
    case 'or': {
      let result: boolean | null = false;
      for (const arg of expression.args) {
        const datum = interpret(arg, row, context);
        if (datum === true) return true;
        if (datum === null) result = null;
      }
      return result;
    }
    case 'not': {
      const datum = interpret(expression.arg, row, context);
      return datum === null ? null : datum !== true;
    }
    case 'isNull':
      return interpret(expression.arg, row, context) === null;
    case 'isNotNull':
      return interpret(expression.arg, row, context) !== null;
    case 'case':
      for (const { when, then } of expression.branches) {
        if (interpret(when, row, context) === true) return interpret(then, row, context);
      }
      return interpret(expression.otherwise, row, context);
    case 'coalesce':
      for (const arg of expression.args) {
        const datum = interpret(arg, row, context);
        if (datum !== null) return datum;
      }
      return null;
    case 'inList': {
      const datum = interpret(expression.arg, row, context);
      if (datum === null) return null;
      const { kind } = expression.arg.type;
      let sawNull = false;
      for (const value of expression.values) {
        if (value === null) sawNull = true;
        else if (equalDatums(datum, value, kind)) return !expression.negated;
      }
      return sawNull ? null : expression.negated;
    }
    case 'cast': {
      const datum = interpret(expression.arg, row, context);
      if (datum === null) return null;
      const from = expression.arg.type.kind;
      const { type } = expression;
      if (from === type.kind) return fitToType(datum, type, expression.explicit);
      const cast = castOf(from === 'unknown' ? 'text' : from, type.kind);
      if (cast === undefined)
        throw new DbError('42846', `cannot cast type ${from} to ${type.kind}`, {
          at: expression.at,
        });
      return cast.evaluate(datum, type, expression.explicit, context);
    }
    case 'outerColumn':
    case 'subquery':
      throw new DbError('0A000', 'a correlated subquery is not supported here', {
        hint: 'Write it as a join.',
      });
  }
}
