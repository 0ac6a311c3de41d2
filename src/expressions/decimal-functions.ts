import { DbError } from '../base/errors.ts';
import { compareDecimals } from '../columns/compare.ts';
import { Decimal } from '../columns/values.ts';
import {
  absoluteOf,
  atScale,
  decimal,
  DECIMAL_ONE,
  DECIMAL_ZERO,
  decimalExponent,
  digitCount,
  divideAtScale,
  divideRounded,
  isZero,
  leadingGroup,
  MAX_DISPLAY_SCALE,
  MIN_SIG_DIGITS,
  multiply,
  overflow,
  powerOfTen,
  round,
  signOf,
  toDouble,
} from './decimal-arithmetic.ts';

/**
 * sqrt, exp, ln, log and power of numeric. Values are computed to more digits than are shown and rounded once; how many
 * are shown follows numeric.c of PostgreSQL 15, as everything in decimal-arithmetic.ts does.
 */
const GUARD_DIGITS = 24;
const MAX_RESULT_SCALE = 2_000;
const LOG10_E = 0.434_294_481_903_252;

function shownScale(wanted: number, ...least: readonly number[]): number {
  return Math.min(Math.max(wanted, ...least, 0), MAX_DISPLAY_SCALE);
}

function weightOf(value: Decimal): number {
  return value.coefficient === 0n ? 0 : leadingGroup(value).weight;
}

// ── Square root ────────────────────────────────────────────────────────────────────────────────────────────────

export function squareRoot(value: Decimal): Decimal {
  if (value.special === '-Infinity' || (value.special === undefined && value.coefficient < 0n))
    throw new DbError('2201F', 'cannot take square root of a negative number');
  if (value.special !== undefined) return value;
  const scale = shownScale(MIN_SIG_DIGITS - Math.trunc(weightOf(value) * 2 + 1), value.scale);
  // One digit more, then half up: the root of an integer is never exactly half.
  const root = integerRoot(atExactScale(value, (scale + 1) * 2));
  return decimal(divideRounded(root, 10n), scale);
}

/** The coefficient at a scale that may be smaller than the value's: what does not fit is cut off. */
function atExactScale(value: Decimal, scale: number): bigint {
  return scale >= value.scale
    ? atScale(value, scale)
    : value.coefficient / powerOfTen(value.scale - scale);
}

function integerRoot(value: bigint): bigint {
  if (value < 2n) return value;
  let guess = 10n ** BigInt(Math.ceil(digitCount(value) / 2));
  for (;;) {
    const next = (guess + value / guess) / 2n;
    if (next >= guess) return guess;
    guess = next;
  }
}

// ── Fixed point: integers that stand for themselves over 10^places ─────────────────────────────────────────────

/** e^x of a fixed-point number. */
function fixedExp(x: bigint, places: number): bigint {
  const one = powerOfTen(places);
  const ln2 = fixedLn2(places);
  const halvings = x / ln2;
  const rest = x - halvings * ln2;
  // Small enough for few terms: divided by 2^k, then squared k times, with digits to spare.
  const k = 16n;
  const spare = 12;
  const wide = one * powerOfTen(spare);
  const small = (rest * powerOfTen(spare)) >> k;
  let term = wide;
  let sum = wide;
  for (let n = 1n; term !== 0n; n += 1n) {
    term = (term * small) / (wide * n);
    sum += term;
  }
  for (let each = 0n; each < k; each += 1n) sum = (sum * sum) / wide;
  const result = sum / powerOfTen(spare);
  return halvings >= 0n ? result << halvings : result >> -halvings;
}

/** The natural logarithm of a positive fixed-point number. */
function fixedLn(x: bigint, places: number): bigint {
  const one = powerOfTen(places);
  let value = x;
  let doublings = 0n;
  // Into 0.7 … 1.4, where the series is short.
  const bits = BigInt(value.toString(2).length - one.toString(2).length);
  if (bits > 0n) value >>= bits;
  else if (bits < 0n) value <<= -bits;
  doublings += bits;
  if (value * 10n > one * 14n) {
    value >>= 1n;
    doublings += 1n;
  } else if (value * 10n < one * 7n) {
    value <<= 1n;
    doublings -= 1n;
  }
  return lnNearOne(value, one) + doublings * fixedLn2(places);
}

/** ln x = 2 artanh((x − 1)/(x + 1)). */
function lnNearOne(value: bigint, one: bigint): bigint {
  const ratio = ((value - one) * one) / (value + one);
  const square = (ratio * ratio) / one;
  let term = ratio;
  let sum = ratio;
  for (let n = 3n; term !== 0n; n += 2n) {
    term = (term * square) / one;
    sum += term / n;
  }
  return sum * 2n;
}

function fixedLn2(places: number): bigint {
  const one = powerOfTen(places);
  return lnNearOne((one * 4n) / 3n, one) + lnNearOne((one * 3n) / 2n, one);
}

/** ln of a positive decimal, to `places` digits after the point. */
function lnToPlaces(value: Decimal, places: number): bigint {
  // Digits before the point are divided away first, so that all places serve the mantissa.
  const exponent = decimalExponent(value);
  const work = places + digitCount(BigInt(Math.abs(exponent) + 1)) + 8;
  const mantissa =
    exponent >= 0
      ? atExactScale(new Decimal(value.coefficient, value.scale + exponent), work)
      : (value.coefficient * powerOfTen(Math.max(0, work - value.scale - exponent))) /
        powerOfTen(Math.max(0, value.scale + exponent - work));
  const ln = fixedLn(mantissa, work) + BigInt(exponent) * fixedLn(10n * powerOfTen(work), work);
  return ln / powerOfTen(work - places);
}

// ── Logarithms ─────────────────────────────────────────────────────────────────────────────────────────────────

/** The decimal weight of ln(value), as estimate_ln_dweight of numeric.c finds it. */
function lnWeight(value: Decimal): number {
  if (signOf(value) <= 0) return 0;
  if (compareDecimals(value, NINE_TENTHS) >= 0 && compareDecimals(value, ELEVEN_TENTHS) <= 0) {
    const rest = new Decimal(value.coefficient - powerOfTen(value.scale), value.scale);
    if (rest.coefficient === 0n) return 0;
    const { weight, digits } = leadingGroup(rest);
    return weight * 4 + Math.trunc(Math.log10(digits));
  }
  const { weight, digits } = leadingGroup(value);
  const text = absoluteOf(value.coefficient).toString();
  const shown = digits.toString().length;
  const more = Number(text.slice(shown, shown + 4).padEnd(4, '0'));
  const ln = Math.log(digits * 10_000 + more) + (weight * 4 - 4) * Math.LN10;
  return Math.trunc(Math.log10(Math.abs(ln)));
}

const NINE_TENTHS = new Decimal(9n, 1);
const ELEVEN_TENTHS = new Decimal(11n, 1);

function checkLogarithm(value: Decimal): void {
  const sign = signOf(value);
  if (sign === 0) throw new DbError('2201E', 'cannot take logarithm of zero');
  if (sign < 0) throw new DbError('2201E', 'cannot take logarithm of a negative number');
}

export function naturalLogarithm(value: Decimal): Decimal {
  if (value.special === 'NaN') return value;
  checkLogarithm(value);
  if (value.special !== undefined) return value;
  const scale = shownScale(MIN_SIG_DIGITS - lnWeight(value), value.scale);
  const places = scale + GUARD_DIGITS;
  return decimal(divideRounded(lnToPlaces(value, places), powerOfTen(GUARD_DIGITS)), scale);
}

export function logarithm(base: Decimal, value: Decimal): Decimal {
  if (base.special === 'NaN' || value.special === 'NaN') return Decimal.NaN;
  checkLogarithm(base);
  checkLogarithm(value);
  if (base.special !== undefined) return value.special === undefined ? DECIMAL_ZERO : Decimal.NaN;
  if (value.special !== undefined) return value;
  const weight = lnWeight(value) - lnWeight(base);
  const scale = shownScale(MIN_SIG_DIGITS - weight, base.scale, value.scale);
  const places = scale + Math.abs(weight) + GUARD_DIGITS + Math.max(0, -lnWeight(base)) * 2;
  const divisor = lnToPlaces(base, places);
  if (divisor === 0n) throw new DbError('22012', 'division by zero');
  return decimal(divideRounded(lnToPlaces(value, places) * powerOfTen(scale), divisor), scale);
}

// ── Powers ─────────────────────────────────────────────────────────────────────────────────────────────────────

export function exponential(value: Decimal): Decimal {
  if (value.special === '-Infinity') return DECIMAL_ZERO;
  if (value.special !== undefined) return value;
  const weight = Math.max(-MAX_RESULT_SCALE, Math.min(MAX_RESULT_SCALE, toDouble(value) * LOG10_E));
  const scale = shownScale(MIN_SIG_DIGITS - Math.trunc(weight), value.scale);
  return expAtScale(value, scale);
}

/** PostgreSQL's bound: beyond it e^x overflows, or has no digit that is shown. */
const EXP_MAX = MAX_RESULT_SCALE * 3;

function expAtScale(value: Decimal, scale: number): Decimal {
  const approximate = toDouble(value);
  if (approximate >= EXP_MAX) throw overflow();
  if (approximate * LOG10_E < -scale - 2) return decimal(0n, scale);
  const before = Math.max(0, Math.ceil(approximate * LOG10_E)) + 1;
  const places = scale + before + GUARD_DIGITS;
  const fixed = fixedExp(
    value.scale <= places
      ? atScale(value, places)
      : divideRounded(value.coefficient, powerOfTen(value.scale - places)),
    places,
  );
  return decimal(divideRounded(fixed, powerOfTen(places - scale)), scale);
}

export function power(base: Decimal, exponent: Decimal): Decimal {
  if (base.special !== undefined || exponent.special !== undefined)
    return powerOfSpecial(base, exponent);
  if (isZero(base) && signOf(exponent) < 0)
    throw new DbError('2201F', 'zero raised to a negative power is undefined');
  const whole = integerOf(exponent);
  if (whole !== undefined && whole >= -2_147_483_648n && whole <= 2_147_483_647n)
    return integerPower(base, Number(whole), exponent.scale);
  if (isZero(base)) return decimal(0n, MIN_SIG_DIGITS);
  let negative = false;
  let magnitude = base;
  if (base.coefficient < 0n) {
    if (whole === undefined)
      throw new DbError(
        '2201F',
        'a negative number raised to a non-integer power yields a complex result',
      );
    negative = whole % 2n !== 0n;
    magnitude = new Decimal(-base.coefficient, base.scale);
  }
  const approximate = productAsDouble(magnitude, exponent);
  if (Math.abs(approximate) > MAX_RESULT_SCALE * 3.01) {
    if (approximate > 0) throw overflow();
    return decimal(0n, MAX_DISPLAY_SCALE);
  }
  const weight = Math.trunc(approximate * LOG10_E);
  const scale = shownScale(MIN_SIG_DIGITS - weight, base.scale, exponent.scale);
  // An error in ln is multiplied by the exponent and by the result.
  const places =
    scale + Math.max(0, weight) + Math.max(0, decimalExponentOr0(exponent)) + GUARD_DIGITS;
  const ln = new Decimal(lnToPlaces(magnitude, places), places);
  const result = expAtScale(roundTo(multiply(ln, exponent), places), scale);
  return negative ? new Decimal(-result.coefficient, result.scale) : result;
}

/** exponent · ln(value), to eight digits or so. */
function productAsDouble(value: Decimal, exponent: Decimal): number {
  const places = Math.max(0, 16 - lnWeight(value));
  return toDouble(multiply(new Decimal(lnToPlaces(value, places), places), exponent));
}

function decimalExponentOr0(value: Decimal): number {
  return value.coefficient === 0n ? 0 : decimalExponent(value);
}

function roundTo(value: Decimal, scale: number): Decimal {
  return value.scale <= scale
    ? value
    : new Decimal(divideRounded(value.coefficient, powerOfTen(value.scale - scale)), scale);
}

function integerOf({ coefficient, scale }: Decimal): bigint | undefined {
  const unit = powerOfTen(scale);
  return coefficient % unit === 0n ? coefficient / unit : undefined;
}

function integerPower(base: Decimal, exponent: number, exponentScale: number): Decimal {
  let weight = 0;
  if (base.coefficient !== 0n) {
    const digits = absoluteOf(base.coefficient).toString().slice(0, 16);
    weight = exponent * (Math.log10(Number(digits)) + decimalExponent(base) - (digits.length - 1));
  }
  if (weight > 131_072) throw overflow();
  if (weight + 1 < -MAX_DISPLAY_SCALE) return decimal(0n, MAX_DISPLAY_SCALE);
  const scale = shownScale(MIN_SIG_DIGITS, base.scale, exponentScale);
  if (exponent === 0) return decimal(powerOfTen(scale), scale);
  if (isZero(base)) return decimal(0n, scale);
  if (exponent === 1) return round(base, scale);
  if (exponent === -1) return divideAtScale(DECIMAL_ONE, base, scale);
  const count = Math.abs(exponent);
  // Exact while it is short; else by squaring with as many digits as the result needs.
  const digits = digitCount(base.coefficient);
  if (digits * count <= 4_000) {
    const exact = new Decimal(base.coefficient ** BigInt(count), base.scale * count);
    return exponent > 0 ? roundToScale(exact, scale) : divideAtScale(DECIMAL_ONE, exact, scale);
  }
  const keep = scale + Math.max(0, Math.trunc(weight)) + 40 + digitCount(BigInt(count)) * 2;
  const result = squared(base, count, keep);
  return exponent > 0 ? roundToScale(result, scale) : divideFloating(result, scale);
}

function roundToScale(value: Decimal, scale: number): Decimal {
  return value.scale <= scale
    ? decimal(value.coefficient * powerOfTen(scale - value.scale), scale)
    : decimal(divideRounded(value.coefficient, powerOfTen(value.scale - scale)), scale);
}

function divideFloating(value: Decimal, scale: number): Decimal {
  return value.scale >= 0
    ? divideAtScale(DECIMAL_ONE, value, scale)
    : divideAtScale(
        DECIMAL_ONE,
        new Decimal(value.coefficient * powerOfTen(-value.scale), 0),
        scale,
      );
}

/** `base`^`count` to `keep` significant digits; the scale may be negative. */
function squared(base: Decimal, count: number, keep: number): Decimal {
  const cut = (coefficient: bigint, scale: number): Decimal => {
    const spare = digitCount(coefficient) - keep;
    return spare > 0
      ? new Decimal(divideRounded(coefficient, powerOfTen(spare)), scale - spare)
      : new Decimal(coefficient, scale);
  };
  let result = new Decimal(1n, 0);
  let factor = cut(base.coefficient, base.scale);
  for (let left = count; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1)
      result = cut(result.coefficient * factor.coefficient, result.scale + factor.scale);
    if (left > 1) factor = cut(factor.coefficient * factor.coefficient, factor.scale * 2);
  }
  return result.scale >= 0
    ? result
    : new Decimal(result.coefficient * powerOfTen(-result.scale), 0);
}

/** As POSIX has pow(), which PostgreSQL follows for infinities. */
function powerOfSpecial(base: Decimal, exponent: Decimal): Decimal {
  const isOne = (value: Decimal): boolean =>
    value.special === undefined && compareDecimals(value, DECIMAL_ONE) === 0;
  if (base.special === 'NaN') return isZero(exponent) ? DECIMAL_ONE : Decimal.NaN;
  if (exponent.special === 'NaN') return isOne(base) ? DECIMAL_ONE : Decimal.NaN;
  if (isOne(base) || isZero(exponent)) return DECIMAL_ONE;
  const whole = exponent.special === undefined ? integerOf(exponent) : undefined;
  if (isZero(base)) {
    if (signOf(exponent) < 0)
      throw new DbError('2201F', 'zero raised to a negative power is undefined');
    return DECIMAL_ZERO;
  }
  if (exponent.special !== undefined) {
    const magnitude =
      base.special === undefined
        ? compareDecimals(new Decimal(absoluteOf(base.coefficient), base.scale), DECIMAL_ONE)
        : 1;
    if (magnitude === 0) return DECIMAL_ONE;
    return magnitude > 0 === signOf(exponent) > 0 ? Decimal.Infinity : DECIMAL_ZERO;
  }
  if (base.special === '-Infinity' && whole === undefined)
    throw new DbError(
      '2201F',
      'a negative number raised to a non-integer power yields a complex result',
    );
  if (signOf(exponent) < 0) return DECIMAL_ZERO;
  return base.special === '-Infinity' && whole! % 2n !== 0n
    ? Decimal.NegativeInfinity
    : Decimal.Infinity;
}
