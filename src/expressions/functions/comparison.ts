import { compareDatums, compareFloats, equalDatums } from '../../columns/compare.ts';
import type { TypeKind } from '../../columns/types.ts';
import type { Datum } from '../../columns/values.ts';
import type { FunctionDef } from '../function-def.ts';
import { define, INTEGER_KINDS } from './define.ts';
import type { Extra } from './define.ts';

/** The comparison operators, `<>` being `!=` as well once parsed. */
export const COMPARISON_NAMES = ['=', '<>', '<', '<=', '>', '>='] as const;
export type ComparisonName = (typeof COMPARISON_NAMES)[number];

type Compare = (a: Datum, b: Datum) => -1 | 0 | 1;

/** Whether a comparison's outcome, −1, 0 or 1, makes the operator true. */
export function holds(name: ComparisonName, outcome: number): boolean {
  switch (name) {
    case '=':
      return outcome === 0;
    case '<>':
      return outcome !== 0;
    case '<':
      return outcome < 0;
    case '<=':
      return outcome <= 0;
    case '>':
      return outcome > 0;
    case '>=':
      return outcome >= 0;
  }
}

/** = <> < <= > >= of every type, and of the pairs of different types for which PostgreSQL has them without a cast. */
export const COMPARISON: readonly FunctionDef[] = [
  ...INTEGER_KINDS.flatMap((left) => INTEGER_KINDS.flatMap((right) => plainNumbers(left, right))),
  ...floatPairs(),
  ...(['date', 'time', 'timestamp', 'timestamptz'] as const).flatMap((kind) =>
    plainNumbers(kind, kind),
  ),
  ...(['boolean', 'numeric', 'text', 'bpchar', 'interval', 'uuid', 'bytea'] as const).flatMap(
    sameKind,
  ),
  extreme('greatest', 1),
  extreme('least', -1),
  define(
    'nullif',
    ['anyelement', 'anyelement'],
    'anyelement',
    ([value, other], _, types) =>
      value !== null && other !== null && equalDatums(value!, other!, types[0]!.kind)
        ? null
        : value!,
    { strict: false },
  ),
];

/** Of many values; NULLs are passed over. Of equal ones it is the first. */
function extreme(name: string, better: -1 | 1): FunctionDef {
  const evaluate: FunctionDef['evaluate'] = (args, _, types) => {
    let best: Datum = null;
    for (const datum of args)
      if (
        datum !== null &&
        (best === null || compareDatums(datum, best, types[0]!.kind) === better)
      )
        best = datum;
    return best;
  };
  return define(name, ['anyelement'], 'anyelement', evaluate, { variadic: true, strict: false });
}

function sameKind(kind: TypeKind): FunctionDef[] {
  return COMPARISON_NAMES.map((name) => {
    if (name === '=')
      return define(name, [kind, kind], 'boolean', ([a, b]) => equalDatums(a!, b!, kind));
    if (name === '<>')
      return define(name, [kind, kind], 'boolean', ([a, b]) => !equalDatums(a!, b!, kind));
    return define(name, [kind, kind], 'boolean', ([a, b]) =>
      holds(name, compareDatums(a!, b!, kind)),
    );
  });
}

/** Numbers, safe or bigint, that are never NaN: JavaScript compares them as they are. */
function plainNumbers(left: TypeKind, right: TypeKind): FunctionDef[] {
  return comparisons(left, right, (a, b) => compareDatums(a, b, left), {
    '=': (a, b) => `(${a} === ${b})`,
    '<>': (a, b) => `(${a} !== ${b})`,
    '<': (a, b) => `(${a} < ${b})`,
    '<=': (a, b) => `(${a} <= ${b})`,
    '>': (a, b) => `(${a} > ${b})`,
    '>=': (a, b) => `(${a} >= ${b})`,
  });
}

/** NaN equals itself and is the greatest. */
function floatPairs(): FunctionDef[] {
  const kinds = ['float4', 'float8'] as const;
  return kinds.flatMap((left) =>
    kinds.flatMap((right) =>
      comparisons(left, right, (a, b) => compareFloats(a as number, b as number), {
        '=': (a, b) => `(${a} === ${b} || (${a} !== ${a} && ${b} !== ${b}))`,
        '<>': (a, b) => `(${a} !== ${b} && (${a} === ${a} || ${b} === ${b}))`,
        '<': (a, b) => `(${a} < ${b} || (${b} !== ${b} && ${a} === ${a}))`,
        '<=': (a, b) => `(${a} <= ${b} || ${b} !== ${b})`,
        '>': (a, b) => `(${a} > ${b} || (${a} !== ${a} && ${b} === ${b}))`,
        '>=': (a, b) => `(${a} >= ${b} || ${a} !== ${a})`,
      }),
    ),
  );
}

/** The six operators of a pair of types that one comparison defines. */
export function comparisons(
  left: TypeKind,
  right: TypeKind,
  compare: Compare,
  inline?: Record<ComparisonName, (a: string, b: string) => string>,
): FunctionDef[] {
  return COMPARISON_NAMES.map((name) => {
    const text = inline?.[name];
    const extra: Extra = text === undefined ? {} : { inline: text };
    return define(name, [left, right], 'boolean', ([a, b]) => holds(name, compare(a!, b!)), extra);
  });
}
