import type { Decimal, Datum } from '../../columns/values.ts';
import {
  absolute,
  add,
  divide,
  divisionByZero,
  modulo,
  multiply,
  negate,
  subtract,
} from '../decimal-arithmetic.ts';
import type { FunctionDef } from '../function-def.ts';
import {
  checkedInteger,
  define,
  floatOverflow,
  floatUnderflow,
  INTEGER_KINDS,
  widerInteger,
} from './define.ts';
import type { Extra, IntegerKind } from './define.ts';

/**
 * + − * / % and the unary signs, bit operators and abs of the number types, with PostgreSQL's mixed integer
 * operators: the wider side decides the result's type and the range that is checked (22003).
 */
export const ARITHMETIC: readonly FunctionDef[] = [
  ...INTEGER_KINDS.flatMap((left) =>
    INTEGER_KINDS.flatMap((right) => mixedIntegerOperators(left, right)),
  ),
  ...INTEGER_KINDS.flatMap(integerOperators),
  ...floatOperators(),
  ...decimalOperators(),
];

/** A number or, where it is not safe, a bigint: the form of int8. */
type Integer = number | bigint;

/** `safe` leaves the fast lane for the exact way wherever a double could have rounded. */
function integerGuard(kind: IntegerKind): 'int2' | 'int4' | 'safe' {
  return kind === 'int8' ? 'safe' : kind;
}

function mixedIntegerOperators(left: IntegerKind, right: IntegerKind): FunctionDef[] {
  const kind = widerInteger(left, right);
  const guard = integerGuard(kind);
  const operator = (
    name: string,
    compute: (a: Integer, b: Integer) => Integer,
    extra: Extra,
  ): FunctionDef =>
    define(
      name,
      [left, right],
      kind,
      ([a, b]) => checkedInteger(compute(a as Integer, b as Integer), kind),
      extra,
    );
  const defs = [
    operator('+', addIntegers, { guard, inline: (a, b) => `(${a} + ${b})` }),
    operator('-', subtractIntegers, { guard, inline: (a, b) => `(${a} - ${b})` }),
    // Adding 0 turns −0, which no integer is, into 0.
    operator('*', multiplyIntegers, { guard, inline: (a, b) => `(${a} * ${b} + 0)` }),
    // Division by zero is no safe integer, nor is what overflows; then `evaluate` finds the error.
    operator('/', divideIntegers, {
      guard: 'safe',
      inline: (a, b) =>
        kind === 'int8'
          ? `(Math.trunc(${a} / ${b}) + 0)`
          : `(${b} === -1 ? ${a} === ${kind === 'int4' ? -2_147_483_648 : -32_768} ? NaN : 0 - ${a} : Math.trunc(${a} / ${b}) + 0)`,
    }),
  ];
  // PostgreSQL has % and mod for equal types only.
  if (left === right) {
    for (const name of ['%', 'mod']) {
      defs.push(
        operator(name, remainder, { guard: 'safe', inline: (a, b) => `(${a} % ${b} + 0)` }),
      );
    }
  }
  return defs;
}

function addIntegers(a: Integer, b: Integer): Integer {
  if (typeof a === 'number' && typeof b === 'number') {
    const sum = a + b;
    if (Number.isSafeInteger(sum)) return sum;
  }
  return BigInt(a) + BigInt(b);
}

function subtractIntegers(a: Integer, b: Integer): Integer {
  if (typeof a === 'number' && typeof b === 'number') {
    const difference = a - b;
    if (Number.isSafeInteger(difference)) return difference;
  }
  return BigInt(a) - BigInt(b);
}

function multiplyIntegers(a: Integer, b: Integer): Integer {
  if (typeof a === 'number' && typeof b === 'number') {
    const product = a * b;
    if (Number.isSafeInteger(product)) return product + 0;
  }
  return BigInt(a) * BigInt(b);
}

/** Truncates towards zero. The quotient of two safe integers, rounded, truncates to the right integer. */
function divideIntegers(a: Integer, b: Integer): Integer {
  if (b === 0) throw divisionByZero();
  if (typeof a === 'number' && typeof b === 'number') {
    return (a - (a % b)) / b + 0;
  }
  return BigInt(a) / BigInt(b);
}

function remainder(a: Integer, b: Integer): Integer {
  if (b === 0) throw divisionByZero();
  if (typeof a === 'number' && typeof b === 'number') return (a % b) + 0;
  return BigInt(a) % BigInt(b);
}

function integerOperators(kind: IntegerKind): FunctionDef[] {
  const guard = integerGuard(kind);
  const unary = (name: string, compute: (a: Integer) => Integer, extra: Extra = {}): FunctionDef =>
    define(name, [kind], kind, ([a]) => checkedInteger(compute(a as Integer), kind), extra);
  const bits = (
    name: string,
    compute: (a: bigint, b: bigint) => bigint,
    inline: ((a: string, b: string) => string) | undefined,
  ): FunctionDef =>
    define(
      name,
      [kind, kind],
      kind,
      ([a, b]) => checkedInteger(compute(BigInt(a as Integer), BigInt(b as Integer)), kind),
      // JavaScript's bit operators know 32 bits.
      inline === undefined || kind === 'int8' ? {} : { guard, inline },
    );
  const shift = (name: string, compute: (value: bigint, by: bigint) => bigint): FunctionDef =>
    define(name, [kind, 'int4'], kind, ([a, by]) =>
      shifted(a as Integer, by as number, kind, compute),
    );
  return [
    unary('-', (a) => subtractIntegers(0, a), { guard, inline: (a) => `(0 - ${a})` }),
    unary('+', (a) => a, { guard, inline: (a) => `(${a})` }),
    unary('abs', magnitude, { guard, inline: (a) => `Math.abs(${a})` }),
    unary('@', magnitude, { guard, inline: (a) => `Math.abs(${a})` }),
    unary('~', (a) => ~BigInt(a), kind === 'int8' ? {} : { guard, inline: (a) => `(~${a})` }),
    bits(
      '&',
      (a, b) => a & b,
      (a, b) => `(${a} & ${b})`,
    ),
    bits(
      '|',
      (a, b) => a | b,
      (a, b) => `(${a} | ${b})`,
    ),
    bits(
      '#',
      (a, b) => a ^ b,
      (a, b) => `(${a} ^ ${b})`,
    ),
    shift('<<', (value, by) => value << by),
    shift('>>', (value, by) => value >> by),
  ];
}

function magnitude(a: Integer): Integer {
  return typeof a === 'number' ? Math.abs(a) : a < 0n ? -a : a;
}

/**
 * As the x86-64 instructions behind PostgreSQL's C do it: the count is taken modulo the register's width (32 bits
 * for int2 and int4, 64 for int8), and bits that leave the type are lost without an error.
 */
function shifted(
  value: Integer,
  by: number,
  kind: IntegerKind,
  compute: (value: bigint, by: bigint) => bigint,
): Datum {
  const width = kind === 'int8' ? 64 : kind === 'int4' ? 32 : 16;
  const count = by & (kind === 'int8' ? 63 : 31);
  return checkedInteger(BigInt.asIntN(width, compute(BigInt(value), BigInt(count))), kind);
}

type FloatKind = 'float4' | 'float8';

/** float4 with float4 stays float4; any other pair is computed in float8. */
function floatOperators(): FunctionDef[] {
  const kinds: readonly FloatKind[] = ['float4', 'float8'];
  const defs: FunctionDef[] = [];
  for (const left of kinds) {
    for (const right of kinds) {
      const kind: FloatKind = left === 'float4' && right === 'float4' ? 'float4' : 'float8';
      const fit = (text: string): string => (kind === 'float4' ? `Math.fround(${text})` : text);
      const binary = (
        name: string,
        compute: (a: number, b: number) => number,
        extra: Extra = {},
      ): FunctionDef =>
        define(name, [left, right], kind, ([a, b]) => compute(a as number, b as number), extra);
      defs.push(
        binary('+', (a, b) => checkedSum(a, b, rounded(kind, a + b)), {
          guard: 'finite',
          inline: (a, b) => fit(`(${a} + ${b})`),
        }),
        binary('-', (a, b) => checkedSum(a, b, rounded(kind, a - b)), {
          guard: 'finite',
          inline: (a, b) => fit(`(${a} - ${b})`),
        }),
        // A NaN leaves the fast lane, as an infinity does: an underflow, or a division by zero, is told there.
        binary('*', (a, b) => checkedProduct(a, b, rounded(kind, a * b)), {
          guard: 'finite',
          inline: (a, b) => {
            const product = fit(`(${a} * ${b})`);
            return `(${product} !== 0 || ${a} === 0 || ${b} === 0 ? ${product} : NaN)`;
          },
        }),
        binary('/', (a, b) => quotient(a, b, kind), {
          guard: 'finite',
          inline: (a, b) => {
            const ratio = fit(`(${a} / ${b})`);
            return `(${ratio} !== 0 || ${a} === 0 ? ${ratio} : NaN)`;
          },
        }),
      );
    }
  }
  for (const kind of kinds) {
    const unary = (
      name: string,
      compute: (a: number) => number,
      inline: (a: string) => string,
    ): FunctionDef =>
      define(name, [kind], kind, ([a]) => compute(a as number), { guard: 'finite', inline });
    defs.push(
      unary(
        '-',
        (a) => -a,
        (a) => `(-${a})`,
      ),
      unary(
        '+',
        (a) => a,
        (a) => `(${a})`,
      ),
      unary('abs', Math.abs, (a) => `Math.abs(${a})`),
      unary('@', Math.abs, (a) => `Math.abs(${a})`),
    );
  }
  return defs;
}

function rounded(kind: FloatKind, value: number): number {
  return kind === 'float4' ? Math.fround(value) : value;
}

function isInfinite(value: number): boolean {
  return value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY;
}

function checkedSum(a: number, b: number, sum: number): number {
  if (isInfinite(sum) && !isInfinite(a) && !isInfinite(b)) throw floatOverflow();
  return sum;
}

export function checkedProduct(a: number, b: number, product: number): number {
  if (isInfinite(product) && !isInfinite(a) && !isInfinite(b)) throw floatOverflow();
  if (product === 0 && a !== 0 && b !== 0) throw floatUnderflow();
  return product;
}

export function quotient(a: number, b: number, kind: FloatKind): number {
  if (b === 0 && !Number.isNaN(a)) throw divisionByZero();
  const result = rounded(kind, a / b);
  if (isInfinite(result) && !isInfinite(a)) throw floatOverflow();
  if (result === 0 && a !== 0 && !isInfinite(b)) throw floatUnderflow();
  return result;
}

function decimalOperators(): FunctionDef[] {
  const binary = (name: string, compute: (a: Decimal, b: Decimal) => Decimal): FunctionDef =>
    define(name, ['numeric', 'numeric'], 'numeric', ([a, b]) =>
      compute(a as Decimal, b as Decimal),
    );
  const unary = (name: string, compute: (a: Decimal) => Decimal): FunctionDef =>
    define(name, ['numeric'], 'numeric', ([a]) => compute(a as Decimal));
  return [
    binary('+', add),
    binary('-', subtract),
    binary('*', multiply),
    binary('/', divide),
    binary('%', modulo),
    binary('mod', modulo),
    unary('-', negate),
    unary('+', (a) => a),
    unary('abs', absolute),
    unary('@', absolute),
  ];
}
