import { DbError } from '../../base/errors.ts';
import type { SqlType, TypeKind } from '../../columns/types.ts';
import type { Datum } from '../../columns/values.ts';
import type { EvaluationContext, FunctionDef, TypePattern, Volatility } from '../function-def.ts';

/** What a definition may say beside name, arguments, result and meaning. */
export type Extra = {
  readonly variadic?: boolean;
  readonly strict?: boolean;
  readonly volatility?: Exclude<Volatility, 'immutable'>;
  readonly prepare?: () => Evaluate;
  readonly inline?: (...args: string[]) => string;
  readonly guard?: 'int2' | 'int4' | 'safe' | 'finite';
};

export type Evaluate = (
  args: readonly Datum[],
  context: EvaluationContext,
  types: readonly SqlType[],
) => Datum;

/** A definition under its id: `name(kind,kind)`, and `name(kind,kind...)` where the last one repeats. */
export function define(
  name: string,
  args: readonly TypePattern[],
  returns: FunctionDef['returns'],
  evaluate: Evaluate,
  extra: Extra = {},
): FunctionDef {
  const id = `${name}(${args.join(',')}${extra.variadic === true ? '...' : ''})`;
  return { id, name, args, returns, evaluate, ...extra };
}

export const INTEGER_KINDS = ['int2', 'int4', 'int8'] as const satisfies readonly TypeKind[];
export type IntegerKind = (typeof INTEGER_KINDS)[number];

/** The wider of two integer kinds: what PostgreSQL's mixed operators return. */
export function widerInteger(a: IntegerKind, b: IntegerKind): IntegerKind {
  return INTEGER_KINDS.indexOf(a) >= INTEGER_KINDS.indexOf(b) ? a : b;
}

const INTEGER_NAMES: Record<IntegerKind, 'smallint' | 'integer' | 'bigint'> = {
  int2: 'smallint',
  int4: 'integer',
  int8: 'bigint',
};

export function integerName(kind: IntegerKind): 'smallint' | 'integer' | 'bigint' {
  return INTEGER_NAMES[kind];
}

export function integerOutOfRange(kind: IntegerKind): DbError {
  return new DbError('22003', `${INTEGER_NAMES[kind]} out of range`, {
    hint:
      kind === 'int8'
        ? 'Cast an operand to numeric, which has no such limit.'
        : 'Cast an operand to a wider type, such as bigint or numeric.',
  });
}

const INT8_MAX = 9_223_372_036_854_775_807n;
const INT8_MIN = -9_223_372_036_854_775_808n;

/** The integer in its one form, or 22003. */
export function checkedInteger(value: number | bigint, kind: IntegerKind): number | bigint {
  if (typeof value === 'bigint') {
    if (value >= -9007199254740991n && value <= 9007199254740991n)
      return checkedInteger(Number(value), kind);
    if (kind !== 'int8' || value > INT8_MAX || value < INT8_MIN) throw integerOutOfRange(kind);
    return value;
  }
  if (kind === 'int4' ? value !== (value | 0) : kind === 'int2' && value !== (value << 16) >> 16) {
    throw integerOutOfRange(kind);
  }
  return value;
}

export function floatOverflow(): DbError {
  return new DbError('22003', 'value out of range: overflow');
}

export function floatUnderflow(): DbError {
  return new DbError('22003', 'value out of range: underflow');
}
