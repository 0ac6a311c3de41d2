import { DbError } from '../base/errors.ts';
import { compareDecimals } from '../columns/compare.ts';
import { Decimal, normalInteger } from '../columns/values.ts';

/**
 * Arithmetic on numeric with PostgreSQL 15's rules: how many digits a result shows is part of the answer.
 *
 * 1. Every result is rounded half away from zero at its scale, and exact before that.
 * 2. At most 131,072 digits stand before the point and 16,383 after it; else 22003.
 * 3. NaN takes part in everything and stays; infinities follow IEEE, with errors where PostgreSQL raises them.
 *
 * Scales follow src/backend/utils/adt/numeric.c of PostgreSQL 15 (names of its constants are kept below).
 */
export const DSCALE_MAX = 16_383;
const WEIGHT_DIGITS_MAX = 131_072;
export const MIN_SIG_DIGITS = 16;
export const MAX_DISPLAY_SCALE = 1_000;

export const DECIMAL_ZERO = new Decimal(0n, 0);
export const DECIMAL_ONE = new Decimal(1n, 0);

const SMALL_POWERS_OF_TEN: readonly bigint[] = Array.from(
  { length: 64 },
  (_, exponent) => 10n ** BigInt(exponent),
);

export function powerOfTen(exponent: number): bigint {
  return SMALL_POWERS_OF_TEN[exponent] ?? 10n ** BigInt(exponent);
}

export function overflow(): DbError {
  return new DbError('22003', 'value overflows numeric format');
}

export function divisionByZero(): DbError {
  return new DbError('22012', 'division by zero');
}

/** The finite decimal, checked against the limits of the type; a scale beyond them is rounded away. */
export function decimal(coefficient: bigint, scale: number): Decimal {
  if (scale > DSCALE_MAX) {
    return decimal(divideRounded(coefficient, powerOfTen(scale - DSCALE_MAX)), DSCALE_MAX);
  }
  // Telling the digits of a big integer is slow; below 2^64 · 10^… there is nothing to tell.
  if (
    (coefficient > 18_446_744_073_709_551_615n || coefficient < -18_446_744_073_709_551_615n) &&
    digitCount(coefficient) - scale > WEIGHT_DIGITS_MAX
  ) {
    throw overflow();
  }
  return new Decimal(coefficient, scale);
}

export function decimalOf(value: number | bigint): Decimal {
  return new Decimal(BigInt(value), 0);
}

export function isZero(value: Decimal): boolean {
  return value.coefficient === 0n && value.special === undefined;
}

/** −1, 0 or 1; NaN has none. */
export function signOf(value: Decimal): number {
  if (value.special === 'Infinity') return 1;
  if (value.special === '-Infinity') return -1;
  if (value.special === 'NaN') return Number.NaN;
  return value.coefficient < 0n ? -1 : value.coefficient > 0n ? 1 : 0;
}

export function add(a: Decimal, b: Decimal): Decimal {
  if (a.special !== undefined || b.special !== undefined) {
    if (a.special === 'NaN' || b.special === 'NaN') return Decimal.NaN;
    if (a.special === undefined) return b;
    if (b.special === undefined || a.special === b.special) return a;
    return Decimal.NaN;
  }
  if (a.scale === b.scale) return decimal(a.coefficient + b.coefficient, a.scale);
  return a.scale < b.scale
    ? decimal(a.coefficient * powerOfTen(b.scale - a.scale) + b.coefficient, b.scale)
    : decimal(a.coefficient + b.coefficient * powerOfTen(a.scale - b.scale), a.scale);
}

export function subtract(a: Decimal, b: Decimal): Decimal {
  return add(a, negate(b));
}

export function negate(value: Decimal): Decimal {
  switch (value.special) {
    case 'NaN':
      return value;
    case 'Infinity':
      return Decimal.NegativeInfinity;
    case '-Infinity':
      return Decimal.Infinity;
    default:
      return new Decimal(-value.coefficient, value.scale);
  }
}

export function absolute(value: Decimal): Decimal {
  return signOf(value) < 0 ? negate(value) : value;
}

export function multiply(a: Decimal, b: Decimal): Decimal {
  if (a.special !== undefined || b.special !== undefined) {
    return infinityOfSign(signOf(a) * signOf(b));
  }
  return decimal(a.coefficient * b.coefficient, a.scale + b.scale);
}

/** By the product of two signs; Infinity times zero has no sign. */
function infinityOfSign(sign: number): Decimal {
  return sign > 0 ? Decimal.Infinity : sign < 0 ? Decimal.NegativeInfinity : Decimal.NaN;
}

export function divide(a: Decimal, b: Decimal): Decimal {
  if (a.special !== undefined || b.special !== undefined) return divideSpecial(a, b);
  if (b.coefficient === 0n) throw divisionByZero();
  return divideAtScale(a, b, divisionScale(a, b));
}

function divideSpecial(a: Decimal, b: Decimal): Decimal {
  if (a.special === 'NaN' || b.special === 'NaN') return Decimal.NaN;
  if (a.special !== undefined) {
    if (b.special !== undefined) return Decimal.NaN;
    if (b.coefficient === 0n) throw divisionByZero();
    return infinityOfSign(signOf(a) * signOf(b));
  }
  return DECIMAL_ZERO;
}

/** a / b of finite values, b not zero, rounded to `scale` digits. */
export function divideAtScale(a: Decimal, b: Decimal, scale: number): Decimal {
  const shift = scale + b.scale - a.scale;
  return shift >= 0
    ? decimal(divideRounded(a.coefficient * powerOfTen(shift), b.coefficient), scale)
    : decimal(divideRounded(a.coefficient, b.coefficient * powerOfTen(-shift)), scale);
}

/** PostgreSQL's choice: at least sixteen significant digits, and no fewer after the point than either side. */
function divisionScale(a: Decimal, b: Decimal): number {
  const left = leadingGroup(a);
  const right = leadingGroup(b);
  let weight = left.weight - right.weight;
  if (left.digits <= right.digits) weight -= 1;
  const scale = Math.max(MIN_SIG_DIGITS - weight * 4, a.scale, b.scale, 0);
  return Math.min(scale, MAX_DISPLAY_SCALE);
}

/**
 * PostgreSQL keeps numeric in groups of four decimal digits aligned at the point: the place of the first group
 * that is not zero (0 is the one before the point) and what stands in it.
 */
export function leadingGroup(value: Decimal): { readonly weight: number; readonly digits: number } {
  if (value.coefficient === 0n) return { weight: 0, digits: 0 };
  const text = absoluteOf(value.coefficient).toString();
  const exponent = text.length - 1 - value.scale;
  const weight = Math.floor(exponent / 4);
  const length = exponent - weight * 4 + 1;
  return { weight, digits: Number(text.slice(0, length).padEnd(length, '0')) };
}

/** The place of the first digit: 0 for 1 … 9.99, −1 for 0.1. The value is not zero. */
export function decimalExponent(value: Decimal): number {
  return digitCount(value.coefficient) - 1 - value.scale;
}

/** The remainder of truncated division: the dividend's sign. */
export function modulo(a: Decimal, b: Decimal): Decimal {
  if (a.special !== undefined || b.special !== undefined) {
    if (a.special === 'NaN' || b.special === 'NaN') return Decimal.NaN;
    if (a.special !== undefined) {
      if (isZero(b)) throw divisionByZero();
      return Decimal.NaN;
    }
    return a;
  }
  if (b.coefficient === 0n) throw divisionByZero();
  const scale = Math.max(a.scale, b.scale);
  return decimal(atScale(a, scale) % atScale(b, scale), scale);
}

/** div(a, b): the quotient truncated to an integer. */
export function divideTruncated(a: Decimal, b: Decimal): Decimal {
  if (a.special !== undefined || b.special !== undefined) return divideSpecial(a, b);
  if (b.coefficient === 0n) throw divisionByZero();
  const scale = Math.max(a.scale, b.scale);
  return decimal(atScale(a, scale) / atScale(b, scale), 0);
}

/** Half away from zero. A negative `places` rounds before the point; the result then shows no digits after it. */
export function round(value: Decimal, places: number): Decimal {
  if (value.special !== undefined) return value;
  const scale = clampScale(places);
  return withScale(value, scale, divideRounded);
}

export function truncate(value: Decimal, places: number): Decimal {
  if (value.special !== undefined) return value;
  const scale = clampScale(places);
  return withScale(value, scale, (dividend, divisor) => dividend / divisor);
}

/** Beyond all digits a numeric has, more places make no difference. */
function clampScale(places: number): number {
  return Math.max(-WEIGHT_DIGITS_MAX - 1, Math.min(DSCALE_MAX, places));
}

function withScale(
  value: Decimal,
  scale: number,
  divideBy: (dividend: bigint, divisor: bigint) => bigint,
): Decimal {
  if (scale >= value.scale) {
    return decimal(value.coefficient * powerOfTen(scale - value.scale), scale);
  }
  const kept = divideBy(value.coefficient, powerOfTen(value.scale - scale));
  return scale >= 0 ? decimal(kept, scale) : decimal(kept * powerOfTen(-scale), 0);
}

export function ceiling(value: Decimal): Decimal {
  if (value.special !== undefined) return value;
  const divisor = powerOfTen(value.scale);
  const whole = value.coefficient / divisor;
  return decimal(
    value.coefficient > 0n && value.coefficient % divisor !== 0n ? whole + 1n : whole,
    0,
  );
}

export function floor(value: Decimal): Decimal {
  if (value.special !== undefined) return value;
  const divisor = powerOfTen(value.scale);
  const whole = value.coefficient / divisor;
  return decimal(
    value.coefficient < 0n && value.coefficient % divisor !== 0n ? whole - 1n : whole,
    0,
  );
}

export function greatestCommonDivisor(a: Decimal, b: Decimal): Decimal {
  if (a.special !== undefined || b.special !== undefined) return Decimal.NaN;
  const scale = Math.max(a.scale, b.scale);
  return decimal(gcdOf(atScale(a, scale), atScale(b, scale)), scale);
}

export function leastCommonMultiple(a: Decimal, b: Decimal): Decimal {
  if (a.special !== undefined || b.special !== undefined) return Decimal.NaN;
  const scale = Math.max(a.scale, b.scale);
  const left = atScale(a, scale);
  const right = atScale(b, scale);
  if (left === 0n || right === 0n) return decimal(0n, scale);
  return decimal(absoluteOf((left / gcdOf(left, right)) * right), scale);
}

export function gcdOf(a: bigint, b: bigint): bigint {
  let left = absoluteOf(a);
  let right = absoluteOf(b);
  while (right !== 0n) [left, right] = [right, left % right];
  return left;
}

/** The digits after the point that are needed to show the value. */
export function minimalScale(value: Decimal): number {
  if (value.coefficient === 0n) return 0;
  let { coefficient, scale } = value;
  while (scale >= 16 && coefficient % 10_000_000_000_000_000n === 0n) {
    coefficient /= 10_000_000_000_000_000n;
    scale -= 16;
  }
  while (scale > 0 && coefficient % 10n === 0n) {
    coefficient /= 10n;
    scale -= 1;
  }
  return scale;
}

/** numeric(precision, scale): rounds, then 22003 where the digits before the point do not fit. */
export function fitPrecision(value: Decimal, precision: number, scale: number): Decimal {
  if (value.special !== undefined) {
    if (value.special === 'NaN') return value;
    throw new DbError('22003', 'numeric field overflow', {
      detail: `A field with precision ${precision}, scale ${scale} cannot hold an infinite value.`,
      hint: 'Use numeric without a precision.',
    });
  }
  const rounded = withScale(value, scale, divideRounded);
  // With a negative scale the result shows none, yet what counts are digits before the rounded ones.
  if (
    rounded.coefficient !== 0n &&
    digitCount(rounded.coefficient) - rounded.scale > precision - scale
  ) {
    const bound = precision - scale === 0 ? '1' : `10^${precision - scale}`;
    throw new DbError('22003', 'numeric field overflow', {
      detail: `A field with precision ${precision}, scale ${scale} must round to an absolute value less than ${bound}.`,
      hint: 'Round the value first, or declare the column with more digits.',
    });
  }
  return rounded;
}

/** To int2, int4 or int8: half away from zero. */
export function toInteger(
  value: Decimal,
  type: 'smallint' | 'integer' | 'bigint',
): number | bigint {
  if (value.special !== undefined) {
    const what = value.special === 'NaN' ? 'NaN' : 'infinity';
    throw new DbError('0A000', `cannot convert ${what} to ${type}`, {
      hint: `Leave it out: NULLIF(x, '${value.special === 'NaN' ? 'NaN' : 'Infinity'}').`,
    });
  }
  const rounded =
    value.scale === 0
      ? value.coefficient
      : divideRounded(value.coefficient, powerOfTen(value.scale));
  const max =
    type === 'smallint'
      ? 32_767n
      : type === 'integer'
        ? 2_147_483_647n
        : 9_223_372_036_854_775_807n;
  if (rounded > max || rounded < -max - 1n) throw new DbError('22003', `${type} out of range`);
  return normalInteger(rounded);
}

/** The nearest double: the decimal text is parsed, which rounds once. */
export function toDouble(value: Decimal): number {
  if (value.special !== undefined) return Number(value.special);
  if (
    value.coefficient >= -9007199254740991n &&
    value.coefficient <= 9007199254740991n &&
    value.scale <= 22
  ) {
    // Both operands are exact doubles, so the division rounds once as well.
    return value.scale === 0
      ? Number(value.coefficient) + 0
      : Number(value.coefficient) / Number(powerOfTen(value.scale)) + 0;
  }
  return Number(`${value.coefficient}e-${value.scale}`) + 0;
}

/** float8 → numeric keeps 15 significant digits, float4 → numeric 6, as PostgreSQL does. */
export function fromFloat(value: number, significantDigits: 6 | 15): Decimal {
  if (Number.isNaN(value)) return Decimal.NaN;
  if (value === Number.POSITIVE_INFINITY) return Decimal.Infinity;
  if (value === Number.NEGATIVE_INFINITY) return Decimal.NegativeInfinity;
  if (value === 0) return DECIMAL_ZERO;
  const [mantissa = '', exponentText = '0'] = value.toExponential(significantDigits - 1).split('e');
  const negative = mantissa.startsWith('-');
  const digits = mantissa.replace('-', '').replace('.', '').replace(/0+$/, '');
  const exponent = Number(exponentText) - (digits.length - 1);
  const coefficient = negative ? -BigInt(digits) : BigInt(digits);
  return exponent >= 0
    ? decimal(coefficient * powerOfTen(exponent), 0)
    : decimal(coefficient, -exponent);
}

/** The coefficient `value` has with `scale` digits after the point, which are at least as many as it shows. */
export function atScale(value: Decimal, scale: number): bigint {
  return scale === value.scale
    ? value.coefficient
    : value.coefficient * powerOfTen(scale - value.scale);
}

/** Half away from zero. */
export function divideRounded(dividend: bigint, divisor: bigint): bigint {
  const quotient = dividend / divisor;
  const rest = dividend % divisor;
  const twice = absoluteOf(rest) * 2n;
  if (twice < absoluteOf(divisor)) return quotient;
  return dividend < 0n === divisor < 0n ? quotient + 1n : quotient - 1n;
}

export function absoluteOf(value: bigint): bigint {
  return value < 0n ? -value : value;
}

export function digitCount(value: bigint): number {
  const magnitude = absoluteOf(value);
  if (magnitude < 9007199254740992n) {
    return magnitude < 10n ? 1 : Number(magnitude).toString().length;
  }
  return magnitude.toString().length;
}

export function greater(a: Decimal, b: Decimal): boolean {
  return compareDecimals(a, b) > 0;
}
