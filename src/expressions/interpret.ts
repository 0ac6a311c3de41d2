import { DbError } from '../base/errors.ts';
import { equalDatums } from '../columns/compare.ts';
import type { Datum } from '../columns/values.ts';
import { functionById } from './catalog.ts';
import { castOf } from './coercion.ts';
import type { Expression, InListExpression } from './expression.ts';
import type { EvaluationContext } from './function-def.ts';
import { ListedValues } from './listed-values.ts';
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
      const data = expression.args.map((arg) => interpret(arg, row, context));
      const listed = listedIn(expression, context);
      const found =
        listed === undefined ? findOneByOne(expression, data, context) : listed.find(data);
      return found === null ? null : found !== expression.negated;
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

/** Lists of constants, made once; and by execution those of which it settles something. Undefined: that is an error. */
const constantLists = new WeakMap<InListExpression, ListedValues>();
const settledLists = new WeakMap<
  EvaluationContext,
  WeakMap<InListExpression, ListedValues | undefined>
>();

/** What an IN list holds in an execution; undefined where something in it has no value: then the row that gets there tells. */
export function listedIn(
  expression: InListExpression,
  context: EvaluationContext,
): ListedValues | undefined {
  if (expression.others.length === 0) {
    let constants = constantLists.get(expression);
    if (constants === undefined)
      constantLists.set(expression, (constants = listed(expression, expression.values)));
    return constants;
  }
  let ofContext = settledLists.get(context);
  if (ofContext === undefined) settledLists.set(context, (ofContext = new WeakMap()));
  if (!ofContext.has(expression)) ofContext.set(expression, settledList(expression, context));
  return ofContext.get(expression);
}

function settledList(
  expression: InListExpression,
  context: EvaluationContext,
): ListedValues | undefined {
  try {
    const others = expression.others.map((other) => interpret(other, () => null, context));
    return listed(expression, [...expression.values, ...others]);
  } catch (cause) {
    if (cause instanceof DbError) return undefined;
    throw cause;
  }
}

function listed({ args }: InListExpression, data: readonly Datum[]): ListedValues {
  return new ListedValues(
    args.map(({ type }) => type.kind),
    data,
  );
}

/** As OR does: from the left, and no further than to the row that is equal. */
function findOneByOne(
  { args, values, others }: InListExpression,
  data: readonly Datum[],
  context: EvaluationContext,
): boolean | null {
  const width = args.length;
  let found: boolean | null = false;
  for (let start = 0; start < values.length + others.length; start += width) {
    let isEqual: boolean | null = true;
    for (let at = 0; at < width && isEqual !== false; at += 1) {
      const left = data[at]!;
      const place = start + at;
      const right =
        left === null
          ? null
          : place < values.length
            ? values[place]!
            : interpret(others[place - values.length]!, () => null, context);
      if (left === null || right === null) isEqual = null;
      else if (!equalDatums(left, right, args[at]!.type.kind)) isEqual = false;
    }
    if (isEqual === true) return true;
    if (isEqual === null) found = null;
  }
  return found;
}
