import { DbError, notSupported, type TextPlace } from '../base/errors.ts';
import { BOOLEAN, NULL_TYPE, UNKNOWN, type SqlType } from '../columns/types.ts';
import { arrayItemsOf, severalDimensions, type ParameterType } from '../expressions/arrays.ts';
import { resolveOperator } from '../expressions/catalog.ts';
import { coerce, commonType, withoutModifiers } from '../expressions/coercion.ts';
import type { ArrayParameter, Expression } from '../expressions/expression.ts';
import { foldConstants } from '../expressions/fold.ts';
import { typeOfName } from '../expressions/type-names.ts';
import type { SqlExpression } from '../sql/ast.ts';
import { constant, rewrite } from './nodes.ts';

/** What stands behind ANY or ALL: what is written out, or what an execution gives. NULL is an array of NULL: no comparison tells them apart. */
export type BoundArray =
  | { readonly kind: 'items'; readonly items: readonly Expression[] }
  | {
      readonly kind: 'parameter';
      readonly index: number;
      /** Undefined: items are of what they are compared with. */
      readonly element: SqlType | undefined;
      /** What the parameter is cast to, one after the other. */
      readonly casts: readonly SqlType[];
    };

/** `types` are those of the parameters as far as they are known. */
export function bindArray(
  expression: SqlExpression,
  types: (ParameterType | undefined)[],
  bind: (item: SqlExpression) => Expression,
): BoundArray {
  const { at } = expression;
  switch (expression.kind) {
    case 'null':
      return { kind: 'items', items: [constant(null, NULL_TYPE)] };
    case 'string':
      return {
        kind: 'items',
        items: placed(at, () => arrayItemsOf(expression.value)).map((item) =>
          item === null ? constant(null, NULL_TYPE) : constant(item, UNKNOWN),
        ),
      };
    case 'array':
      if (expression.items.some(({ kind }) => kind === 'array'))
        throw placed(at, severalDimensions);
      return { kind: 'items', items: expression.items.map(bind) };
    case 'parameter': {
      const type = types[expression.index];
      if (type !== undefined && type.kind !== 'array') throw noArray(at);
      types[expression.index] = type;
      return { kind: 'parameter', index: expression.index, element: type?.element, casts: [] };
    }
    case 'cast': {
      if (expression.type.arrayDimensions === 0) throw noArray(at);
      const element = typeOfName(
        { ...expression.type, arrayDimensions: 0 },
        expression.type.at ?? at,
      );
      const array = bindArray(expression.arg, types, bind);
      if (array.kind === 'items')
        return {
          kind: 'items',
          items: array.items.map((item) => foldConstants(coerce(item, element, 'explicit', at))),
        };
      const known = array.element ?? withoutModifiers(element);
      types[array.index] ??= { kind: 'array', element: known };
      return { ...array, element: known, casts: [...array.casts, element] };
    }
    case 'column':
    case 'number':
    case 'boolean':
      throw noArray(at);
    default:
      throw notSupported(
        'ANY or ALL of an array that is computed',
        'Give the items as a parameter, x = ANY ($1); or ask x = ANY (SELECT …).',
        at,
      );
  }
}

export function withoutCasts(expression: SqlExpression): SqlExpression {
  return expression.kind === 'cast' ? withoutCasts(expression.arg) : expression;
}

function placed<Made>(at: TextPlace | undefined, make: () => Made): Made {
  try {
    return make();
  } catch (cause) {
    if (!(cause instanceof DbError)) throw cause;
    throw new DbError(cause.code, cause.message, { at, detail: cause.detail, hint: cause.hint });
  }
}

function noArray(at: TextPlace | undefined): DbError {
  return new DbError('42809', 'op ANY/ALL (array) requires array on right side', {
    at,
    hint: 'Write x = ANY ($1), and give an array for $1; or list the values: x IN (1, 2, 3).',
  });
}

/** `arg operator ANY or ALL ($n)`. What the comparison takes for the items, the parameter is an array of, unless that is known. */
export function compareWithParameter(
  arg: Expression,
  operator: string,
  all: boolean,
  array: Extract<BoundArray, { kind: 'parameter' }>,
  types: (ParameterType | undefined)[],
  at: TextPlace | undefined,
): Expression {
  const { index, casts } = array;
  let { element } = array;
  const left = item(0, arg.type);
  if (element === undefined) {
    const untyped: Expression = { kind: 'parameter', index, type: UNKNOWN };
    rewrite(resolveOperator(operator, left, untyped, at), (each) => {
      if (each.kind === 'parameter') element = each.type;
      return each;
    });
    types[index] = { kind: 'array', element: element! };
  }
  const own = casts.reduce((each, type) => coerce(each, type, 'explicit', at), item(0, element!));
  const isEqualAny = operator === '=' && !all;
  if (isEqualAny || ((operator === '<>' || operator === '!=') && all)) {
    const type = comparedType('=', arg, own, at);
    return {
      kind: 'inList',
      args: [coerce(arg, type, 'implicit', at)],
      values: [],
      others: [],
      array: { index, element: element!, item: coerce(own, type, 'implicit', at) },
      negated: !isEqualAny,
      type: BOOLEAN,
    };
  }
  const test = resolveOperator(operator, left, item(1, own.type), at);
  if (test.type.kind !== 'boolean')
    throw new DbError('42809', 'op ANY/ALL (array) requires operator to yield boolean', { at });
  return {
    kind: 'anyArray',
    arg,
    array: { index, element: element!, item: own },
    test,
    all,
    type: BOOLEAN,
  };
}

/** NULL where the parameter is, else true. */
export function arrayThere({
  index,
  element,
}: Pick<ArrayParameter, 'index' | 'element'>): Expression {
  const yes = constant(true, BOOLEAN);
  return {
    kind: 'anyArray',
    arg: yes,
    array: { index, element, item: item(0, element) },
    test: yes,
    all: true,
    type: BOOLEAN,
  };
}

/** The array with its parameter of the type that it has after all; 42P08 where that is none. */
export function settleArray(
  array: ArrayParameter,
  types: (ParameterType | undefined)[],
): ArrayParameter {
  const { index, element } = array;
  const type = (types[index] ??= { kind: 'array', element });
  if (type.kind !== 'array') throw bothUses(index);
  if (type.element.kind === element.kind) return array;
  const given = coerce(item(0, type.element), element, 'explicit');
  return {
    index,
    element: type.element,
    item: rewrite(array.item, (each) => (each.kind === 'column' ? given : each)),
  };
}

export function bothUses(index: number): DbError {
  return new DbError('42P08', `parameter $${index + 1} is used as an array and as a single value`, {
    hint: 'Give the array and the value as two parameters.',
  });
}

function item(index: number, type: SqlType): Expression {
  return { kind: 'column', index, type, nullable: true, name: '' };
}

/** The type to which two sides are brought to be compared: that of the operator, which of a real and a numeric is neither's. */
export function comparedType(
  operator: string,
  left: Expression,
  right: Expression,
  at: TextPlace | undefined,
): SqlType {
  const { args } = resolveOperator(operator, left, right, at);
  return commonType(
    left.type.kind === right.type.kind
      ? [left.type, right.type]
      : args.map(({ type }) => withoutModifiers(type)),
    'IN',
    at,
  );
}
