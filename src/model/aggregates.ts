/**
 * Aggregates of the naive interpreter: a function of all the group's rows at once, with exact sums.
 */
import type { Compiled, Env, Node } from './expressions.ts';
import {
  representative,
  compareValues,
  divideRounded,
  doubleToUnits,
  exactSum,
  keyOf,
  ModelError,
  NAN,
  numericAdd,
  numericDivide,
  numericMultiply,
  numericRoot,
  pow10,
  quotientScale,
  ratioToDouble,
} from './values.ts';
import type { Numeric, Type, Value } from './values.ts';

const AGGREGATES = new Set([
  'count',
  'sum',
  'avg',
  'min',
  'max',
  'bool_and',
  'every',
  'bool_or',
  'bit_and',
  'bit_or',
  'bit_xor',
  'string_agg',
  'var_pop',
  'var_samp',
  'variance',
  'stddev_pop',
  'stddev_samp',
  'stddev',
]);
export const isAggregate = (name: string): boolean => AGGREGATES.has(name);

export function aggregateCall(
  name: string,
  body: Node,
  args: readonly Compiled[],
): { readonly type: Type; over(rows: readonly Env[]): Value } {
  if (body.agg_within_group === true)
    throw new ModelError('0A000', 'the model does not know WITHIN GROUP');
  if (body.agg_star === true) return { type: 'int8', over: (rows) => BigInt(rows.length) };
  const [arg, second] = args;
  const type = arg!.type;
  const distinct = body.agg_distinct === true;
  const present = (rows: readonly Env[]): Value[] => {
    const values = rows.map((row) => arg!.run(row)).filter((value) => value !== null);
    return distinct
      ? [...new Set(values.map((value) => keyOf(type, value)))].map((key) =>
          representative(values.filter((value) => keyOf(type, value) === key)),
        )
      : values;
  };
  switch (name) {
    case 'count':
      return { type: 'int8', over: (rows) => BigInt(present(rows).length) };
    case 'sum':
      return { type: sumType(type), over: (rows) => sum(type, present(rows)) };
    case 'avg':
      return {
        type: type === 'float4' || type === 'float8' ? 'float8' : 'numeric',
        over: (rows) => average(type, present(rows)),
      };
    case 'min':
    case 'max':
      return { type, over: (rows) => extreme(type, present(rows), name === 'max' ? 1 : -1) };
    case 'bool_and':
    case 'every':
    case 'bool_or':
      return {
        type: 'bool',
        over: (rows) => {
          const values = present(rows);
          return values.length === 0
            ? null
            : name === 'bool_or'
              ? values.includes(true)
              : !values.includes(false);
        },
      };
    case 'bit_and':
    case 'bit_or':
    case 'bit_xor':
      return {
        type,
        over: (rows) => {
          const values = present(rows) as bigint[];
          if (values.length === 0) return null;
          return values.reduce((x, y) =>
            name === 'bit_and' ? x & y : name === 'bit_or' ? x | y : x ^ y,
          );
        },
      };
    case 'string_agg':
      return {
        type: 'text',
        over: (rows) => {
          const kept = rows.filter((row) => arg!.run(row) !== null);
          if (kept.length === 0) return null;
          return kept
            .map(
              (row, index) =>
                `${index === 0 ? '' : ((second!.run(row) ?? '') as string)}${arg!.run(row) as string}`,
            )
            .join('');
        },
      };
    default:
      return {
        type: type === 'float4' || type === 'float8' ? 'float8' : 'numeric',
        over: (rows) => spread(name, type, present(rows)),
      };
  }
}

function sumType(type: Type): Type {
  switch (type) {
    case 'int2':
    case 'int4':
      return 'int8';
    case 'int8':
    case 'numeric':
      return 'numeric';
    case 'float4':
    case 'float8':
      return type;
    default:
      throw new ModelError('42883', `function sum(${type}) does not exist`);
  }
}

const toNumeric = (value: Value): Numeric =>
  typeof value === 'bigint' ? { c: value, s: 0 } : (value as Numeric);

function sum(type: Type, values: readonly Value[]): Value {
  if (values.length === 0) return null;
  if (type === 'float8') return exactSum(values as number[]);
  if (type === 'float4') {
    const rounded = Math.fround(exactSum(values as number[]));
    if (!Number.isFinite(rounded) && (values as number[]).every(Number.isFinite))
      throw new ModelError('22003', 'value out of range: overflow');
    return rounded;
  }
  const total = values.map(toNumeric).reduce(numericAdd);
  if (type === 'numeric' || type === 'int8') return total;
  if (total.c >= 1n << 63n || total.c < -(1n << 63n))
    throw new ModelError('22003', 'bigint out of range');
  return total.c;
}

function average(type: Type, values: readonly Value[]): Value {
  if (values.length === 0) return null;
  if (type === 'float4' || type === 'float8') return exactSum(values as number[]) / values.length;
  return numericDivide(values.map(toNumeric).reduce(numericAdd), {
    c: BigInt(values.length),
    s: 0,
  });
}

function extreme(type: Type, values: readonly Value[], sign: number): Value {
  let best: Value = null;
  for (const value of values)
    if (best === null || compareValues(type, value, best) * sign > 0) best = value;
  return representative(
    values.filter((value) => best !== null && compareValues(type, value, best) === 0),
  );
}

function spread(name: string, type: Type, values: readonly Value[]): Value {
  const sample = !name.endsWith('_pop');
  const n = BigInt(values.length);
  if (n === 0n || (sample && n === 1n)) return null;
  const deviation = name.startsWith('stddev');
  const count = sample ? n - 1n : n;
  if (type === 'float4' || type === 'float8') {
    const doubles = values as number[];
    if (!doubles.every(Number.isFinite)) return NaN;
    // n·Σx² − (Σx)² over n·count, exactly, rounded once.
    const units = doubles.map(doubleToUnits);
    const total = units.reduce((x, y) => x + y, 0n);
    const squares = units.reduce((x, y) => x + y * y, 0n);
    const variance = ratioToDouble(n * squares - total * total, (n * count) << 2148n);
    return deviation ? Math.sqrt(variance) : variance;
  }
  const numbers = values.map(toNumeric);
  if (numbers.some((each) => each.nan)) return NAN;
  const total = numbers.reduce(numericAdd);
  const squares = numbers.map((each) => numericMultiply(each, each)).reduce(numericAdd);
  const top = numericAdd(
    numericMultiply(squares, { c: n, s: 0 }),
    numericMultiply(numericMultiply(total, total), { c: -1n, s: 0 }),
  );
  if (top.c <= 0n) return { c: 0n, s: 0 };
  const bottom: Numeric = { c: n * count, s: 0 };
  const scale = quotientScale(top, bottom);
  const variance: Numeric = { c: divideRounded(top.c, bottom.c * pow10(top.s), scale), s: scale };
  return deviation ? numericRoot(variance, scale) : variance;
}
