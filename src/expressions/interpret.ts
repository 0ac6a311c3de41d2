import { assert, DbError } from '../base/errors.ts';
import { compareDatums, equalDatums } from '../columns/compare.ts';
import type { Datum } from '../columns/values.ts';
import { ArrayValue } from './arrays.ts';
import { functionById } from './catalog.ts';
import { castOf } from './coercion.ts';
import type {
  AnyArrayExpression,
  ArrayParameter,
  Expression,
  InListExpression,
} from './expression.ts';
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
    case 'parameter': {
      const value = context.parameters[expression.index] ?? null;
      assert(!(value instanceof ArrayValue), 'an array is no value of a row');
      return value;
    }
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
    case 'anyArray':
      return compareWithItems(expression, interpret(expression.arg, row, context), context);
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
  if (expression.others.length === 0 && expression.array === undefined) {
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
    const items = expression.array === undefined ? [] : itemsIn(expression.array, context);
    // x = ANY (NULL) is what x IN (NULL) is.
    return listed(expression, expression.values.concat(others, items ?? [null]));
  } catch (cause) {
    if (cause instanceof DbError) return undefined;
    throw cause;
  }
}

/** What an execution gives as an array, each item as it is compared; undefined: NULL. */
export function itemsIn(
  { index, item }: ArrayParameter,
  context: EvaluationContext,
): Datum[] | undefined {
  const items = rawItems(index, context);
  return items?.map((each) => interpret(item, () => each, context));
}

function rawItems(index: number, { parameters }: EvaluationContext): readonly Datum[] | undefined {
  const value = parameters[index] ?? null;
  if (value === null) return undefined;
  assert(value instanceof ArrayValue, 'an array was bound where an array is wanted');
  return value.items;
}

/** By execution those items of an array that decide a comparison. Null: there is no array. */
const decidingItems = new WeakMap<
  EvaluationContext,
  WeakMap<AnyArrayExpression, readonly Datum[] | null>
>();

export function compareWithItems(
  expression: AnyArrayExpression,
  datum: Datum,
  context: EvaluationContext,
): boolean | null {
  let ofContext = decidingItems.get(context);
  if (ofContext === undefined) decidingItems.set(context, (ofContext = new WeakMap()));
  let items = ofContext.get(expression);
  if (items === undefined) ofContext.set(expression, (items = decidingIn(expression, context)));
  if (items === null) return null;
  const { test, all } = expression;
  let outcome: boolean | null = all;
  for (const item of items) {
    const passes = interpret(test, (index) => (index === 0 ? datum : item), context);
    if (passes === null) outcome = null;
    else if (passes !== all) return passes as boolean;
  }
  return outcome;
}

/** Of values in an order the outermost decides, of equalities that are left to be asked two that differ; and whether one is NULL. */
export function decidingIn(
  { array, test, all }: AnyArrayExpression,
  context: EvaluationContext,
): readonly Datum[] | null {
  const items = itemsIn(array, context);
  if (items === undefined) return null;
  if (test.kind !== 'call') return [];
  const operator = test.fn.slice(0, test.fn.indexOf('('));
  const present = items.filter((item) => item !== null);
  const nulls = present.length === items.length ? [] : [null];
  const { kind } = array.item.type;
  const outermost = (sign: number): Datum[] =>
    present.length === 0
      ? nulls
      : [
          present.reduce((best, item) =>
            compareDatums(item, best, kind) * sign > 0 ? item : best,
          ),
          ...nulls,
        ];
  switch (operator) {
    case '<':
    case '<=':
      return outermost(all ? -1 : 1);
    case '>':
    case '>=':
      return outermost(all ? 1 : -1);
    case '=':
    case '<>': {
      const first = present[0];
      const other = present.find((item) => !equalDatums(item, first!, kind));
      return [...present.slice(0, 1), ...(other === undefined ? [] : [other]), ...nulls];
    }
    default:
      if (items.length > TESTED_ITEMS_MAX)
        throw new DbError(
          '54000',
          `${operator} ${all ? 'ALL' : 'ANY'} of ${items.length} items: more than ${TESTED_ITEMS_MAX} are not tested one by one`,
          { limit: 'array', hint: 'Put the items into a table and join it.' },
        );
      return items;
  }
}

/** So many patterns, say, a row is held against: no less than that is asked of each row. */
const TESTED_ITEMS_MAX = 100;

function listed({ args }: InListExpression, data: readonly Datum[]): ListedValues {
  return new ListedValues(
    args.map(({ type }) => type.kind),
    data,
  );
}

/** As OR does: from the left, and no further than to the row that is equal. */
function findOneByOne(
  { args, values, others, array }: InListExpression,
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
  if (array === undefined) return found;
  const [left] = data as [Datum];
  for (const item of rawItems(array.index, context) ?? [null]) {
    const right = left === null ? null : interpret(array.item, () => item, context);
    if (left === null || right === null) found = null;
    else if (equalDatums(left, right, args[0]!.type.kind)) return true;
  }
  return found;
}
