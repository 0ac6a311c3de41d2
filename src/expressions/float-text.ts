import { DbError } from '../base/errors.ts';

/**
 * float8 and float4 as text: the shortest digits that read back as the same value, as PostgreSQL 15 prints them
 * (extra_float_digits 1). Unlike JavaScript it never prints digits that lie exactly between two values, and it
 * changes to an exponent at 1e+15 (float4: 1e+06) and below 1e-04.
 */
export function float8ToText(value: number): string {
  const magnitude = Math.abs(value);
  // JavaScript's own text is the same where neither writes an exponent.
  if (magnitude < 1e15 && magnitude >= 1e-4) return String(value);
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  const special = specialText(value);
  if (special !== undefined) return special;
  // Only whole numbers from 2^53 on can have a midpoint of seventeen digits.
  if (magnitude > 9007199254740992 && magnitude < 1e40 && isMidpoint(magnitude)) {
    return layOut(value < 0, shortestBetween(magnitude, DOUBLE, 17), 15);
  }
  return layOut(value < 0, digitsOf(magnitude.toExponential()), 15);
}

export function float4ToText(value: number): string {
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  const special = specialText(value);
  if (special !== undefined) return special;
  return layOut(value < 0, shortestFloat4(Math.abs(value)), 6);
}

function specialText(value: number): string | undefined {
  if (Number.isNaN(value)) return 'NaN';
  if (value === Number.POSITIVE_INFINITY) return 'Infinity';
  if (value === Number.NEGATIVE_INFINITY) return '-Infinity';
  return undefined;
}

/** `digits[0].digits[1…] × 10^exponent`. */
type Digits = { readonly digits: string; readonly exponent: number };

function digitsOf(exponential: string): Digits {
  const [mantissa = '', exponent = '0'] = exponential.split('e');
  return {
    digits: mantissa.replace('.', '').replace(/0+$/, '') || '0',
    exponent: Number(exponent),
  };
}

function layOut(negative: boolean, { digits, exponent }: Digits, exponentMax: number): string {
  const sign = negative ? '-' : '';
  if (exponent < -4 || exponent >= exponentMax) {
    const mantissa = digits.length === 1 ? digits : `${digits[0]}.${digits.slice(1)}`;
    const power = Math.abs(exponent).toString().padStart(2, '0');
    return `${sign}${mantissa}e${exponent < 0 ? '-' : '+'}${power}`;
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  if (digits.length <= exponent + 1) return sign + digits.padEnd(exponent + 1, '0');
  return `${sign}${digits.slice(0, exponent + 1)}.${digits.slice(exponent + 1)}`;
}

type Format = {
  readonly next: (value: number) => number;
  readonly previous: (value: number) => number;
};

const doubleBits = new BigInt64Array(1);
const doubles = new Float64Array(doubleBits.buffer);
const DOUBLE: Format = {
  next: (value) => neighbour(value, 1n),
  previous: (value) => neighbour(value, -1n),
};

/** Of a positive finite double. */
function neighbour(value: number, step: bigint): number {
  doubles[0] = value;
  doubleBits[0] = doubleBits[0]! + step;
  return doubles[0];
}

/** Whether the digits JavaScript chose for a big whole number lie exactly half-way to a neighbour. */
function isMidpoint(magnitude: number): boolean {
  const { digits, exponent } = digitsOf(magnitude.toExponential());
  const shown = BigInt(digits) * 10n ** BigInt(exponent - digits.length + 1);
  const exact = BigInt(magnitude);
  const other = BigInt(shown > exact ? neighbour(magnitude, 1n) : neighbour(magnitude, -1n));
  return shown !== exact && shown * 2n === exact + other;
}

/** The shortest digits strictly between the midpoints to both neighbours; of these the nearest to the value. */
function shortestBetween(magnitude: number, format: Format, digitsMax: number): Digits {
  const exact = BigInt(magnitude);
  const low = exact + BigInt(format.previous(magnitude));
  const high = exact + BigInt(format.next(magnitude));
  for (let length = 1; length < digitsMax; length += 1) {
    const { digits, exponent } = digitsOf(magnitude.toExponential(length - 1));
    const unit = 10n ** BigInt(exponent - length + 1);
    const nearest = BigInt(digits.padEnd(length, '0')) * unit;
    let best: bigint | undefined;
    for (const candidate of [nearest, nearest - unit, nearest + unit]) {
      if (candidate * 2n <= low || candidate * 2n >= high) continue;
      if (best === undefined || distance(candidate, exact) < distance(best, exact))
        best = candidate;
    }
    if (best !== undefined) {
      const text = best.toString();
      return { digits: text.replace(/0+$/, ''), exponent: text.length - 1 };
    }
  }
  return digitsOf(magnitude.toExponential(digitsMax - 1));
}

function distance(a: bigint, b: bigint): bigint {
  return a < b ? b - a : a - b;
}

const floats = new Float32Array(1);
const floatBits = new Int32Array(floats.buffer);

/**
 * The midpoints to a float4's neighbours are doubles, so doubles decide what lies between them. The next shorter
 * or longer digit string may be the nearer one's neighbour where the gap below is half the gap above.
 */
function shortestFloat4(magnitude: number): Digits {
  floats[0] = magnitude;
  const bits = floatBits[0]!;
  floatBits[0] = bits + 1;
  const above =
    floats[0] === Number.POSITIVE_INFINITY
      ? magnitude + (magnitude - floatAt(bits - 1))
      : floats[0];
  const high = (magnitude + above) / 2;
  const low = (magnitude + floatAt(bits - 1)) / 2;
  for (let length = 1; length < 9; length += 1) {
    const nearest = digitsOf(magnitude.toExponential(length - 1));
    const value = Number(`${nearest.digits}e${nearest.exponent - nearest.digits.length + 1}`);
    if (value > low && value < high) return nearest;
    if (value <= low) {
      // The digits one unit up may still lie inside, since the gap above is wider.
      const up = BigInt(nearest.digits.padEnd(length, '0')) + 1n;
      const text = up.toString();
      const exponent = nearest.exponent + (text.length - length);
      const upValue = Number(`${text}e${exponent - text.length + 1}`);
      if (upValue > low && upValue < high) return { digits: text.replace(/0+$/, ''), exponent };
    }
  }
  return digitsOf(magnitude.toExponential(8));
}

function floatAt(bits: number): number {
  floatBits[0] = bits;
  return floats[0]!;
}

const NUMBER = /^[\t-\r ]*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[\t-\r ]*$/;
const SPECIAL = /^[\t-\r ]*([+-]?)(nan|inf|infinity)[\t-\r ]*$/i;

/** 22P02 for what is no number, 22003 for what a double cannot hold (also when too near to zero). */
export function float8FromText(text: string): number {
  const number = NUMBER.exec(text)?.[1];
  if (number === undefined) return specialFromText(text, 'double precision');
  const value = Number(number);
  if (!Number.isFinite(value) || (value === 0 && hasSignificantDigit(number))) {
    throw outOfRange(text, 'double precision');
  }
  return value;
}

export function float4FromText(text: string): number {
  const number = NUMBER.exec(text)?.[1];
  if (number === undefined) return specialFromText(text, 'real');
  const value = float4Of(number);
  if (!Number.isFinite(value) || (value === 0 && hasSignificantDigit(number)))
    throw outOfRange(text, 'real');
  return value;
}

function hasSignificantDigit(number: string): boolean {
  return /[1-9]/.test(number.split(/[eE]/)[0]!);
}

function specialFromText(text: string, type: string): number {
  const match = SPECIAL.exec(text);
  if (match === null) {
    throw new DbError('22P02', `invalid input syntax for type ${type}: "${text}"`);
  }
  if (match[2]!.toLowerCase() === 'nan') return Number.NaN;
  return match[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}

function outOfRange(text: string, type: string): DbError {
  return new DbError('22003', `"${text.trim()}" is out of range for type ${type}`);
}

/** Rounds once: where the double is exactly between two float4 values, the text says on which side it lies. */
function float4Of(number: string): number {
  const double = Number(number);
  const rounded = Math.fround(double);
  if (rounded === double || !Number.isFinite(rounded) || double === 0) return rounded;
  floats[0] = rounded;
  const bits = floatBits[0]!;
  const outward = Math.abs(double) > Math.abs(rounded);
  const other = floatAt(outward ? bits + 1 : bits - 1);
  if ((rounded + other) / 2 !== double) return rounded;
  const side = compareTextWithDouble(number, double);
  if (side === 0) return rounded;
  const away = side > 0 === double > 0;
  return away === outward ? other : rounded;
}

/** The sign of text − double, exactly. */
function compareTextWithDouble(number: string, double: number): number {
  const [, sign, whole = '', fraction = '', exponent = '0'] =
    /^([+-]?)(\d*)\.?(\d*)(?:[eE]([+-]?\d+))?$/.exec(number) ?? [];
  let numerator = BigInt(whole + fraction || '0');
  let denominator = 1n;
  const power = Number(exponent) - fraction.length;
  if (power >= 0) numerator *= 10n ** BigInt(power);
  else denominator = 10n ** BigInt(-power);
  if (sign === '-') numerator = -numerator;
  // A double is an integer over a power of two.
  let scaled = double;
  let shift = 0n;
  while (!Number.isInteger(scaled)) {
    scaled *= 2;
    shift += 1n;
  }
  const difference = (numerator << shift) - BigInt(scaled) * denominator;
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}
