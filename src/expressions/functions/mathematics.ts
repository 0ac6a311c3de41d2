import { DbError } from '../../base/errors.ts';
import { compareDecimals } from '../../columns/compare.ts';
import { Decimal, type Datum } from '../../columns/values.ts';
import {
  absoluteOf,
  gcdOf,
  greatestCommonDivisor,
  leastCommonMultiple,
  minimalScale,
  multiply,
  decimalOf,
  divideTruncated,
  subtract,
} from '../decimal-arithmetic.ts';
import {
  exponential,
  logarithm,
  naturalLogarithm,
  power,
  squareRoot,
} from '../decimal-functions.ts';
import type { FunctionDef } from '../function-def.ts';
import { checkedInteger, define, type IntegerKind } from './define.ts';

const decimal = (value: Datum | undefined): Decimal => value as Decimal;
const TEN = new Decimal(10n, 0);

/** What PostgreSQL computes in numeric, angles in degrees, and the rest of its number functions. */
export const MATHEMATICS: readonly FunctionDef[] = [
  define('sqrt', ['numeric'], 'numeric', ([x]) => squareRoot(decimal(x))),
  define('exp', ['numeric'], 'numeric', ([x]) => exponential(decimal(x))),
  define('ln', ['numeric'], 'numeric', ([x]) => naturalLogarithm(decimal(x))),
  define('log', ['numeric'], 'numeric', ([x]) => logarithm(TEN, decimal(x))),
  define('log10', ['numeric'], 'numeric', ([x]) => logarithm(TEN, decimal(x))),
  define('log', ['numeric', 'numeric'], 'numeric', ([base, x]) =>
    logarithm(decimal(base), decimal(x)),
  ),
  ...['power', 'pow', '^'].map((name) =>
    define(name, ['numeric', 'numeric'], 'numeric', ([x, y]) => power(decimal(x), decimal(y))),
  ),
  define('|/', ['float8'], 'float8', ([x]) => {
    if ((x as number) < 0)
      throw new DbError('2201F', 'cannot take square root of a negative number');
    return Math.sqrt(x as number);
  }),
  define('||/', ['float8'], 'float8', ([x]) => Math.cbrt(x as number)),
  define('min_scale', ['numeric'], 'int4', ([x]) =>
    decimal(x).special === undefined ? minimalScale(decimal(x)) : null,
  ),
  define('trim_scale', ['numeric'], 'numeric', ([x]) => {
    const value = decimal(x);
    if (value.special !== undefined) return value;
    const scale = minimalScale(value);
    return new Decimal(value.coefficient / 10n ** BigInt(value.scale - scale), scale);
  }),
  define('factorial', ['int8'], 'numeric', ([n]) => factorial(Number(n))),
  ...(['int4', 'int8'] as const).flatMap(divisors),
  define('gcd', ['numeric', 'numeric'], 'numeric', ([a, b]) =>
    greatestCommonDivisor(decimal(a), decimal(b)),
  ),
  define('lcm', ['numeric', 'numeric'], 'numeric', ([a, b]) =>
    leastCommonMultiple(decimal(a), decimal(b)),
  ),
  define('sign', ['float8'], 'float8', ([x]) =>
    (x as number) > 0 ? 1 : (x as number) < 0 ? -1 : 0,
  ),
  ...degreeFunctions(),
  ...hyperbolicFunctions(),
  ...circleFunctions(),
  define(
    'width_bucket',
    ['numeric', 'numeric', 'numeric', 'int4'],
    'int4',
    ([x, low, high, count]) =>
      bucketOfDecimal(decimal(x), decimal(low), decimal(high), count as number),
  ),
  define('width_bucket', ['float8', 'float8', 'float8', 'int4'], 'int4', ([x, low, high, count]) =>
    bucketOfDouble(x as number, low as number, high as number, count as number),
  ),
];

const FACTORIAL_MAX = 32_177;

function factorial(n: number): Decimal {
  if (n < 0) throw new DbError('22003', 'factorial of a negative number is undefined');
  if (n > FACTORIAL_MAX) throw new DbError('22003', 'value overflows numeric format');
  let product = 1n;
  for (let factor = 2n; factor <= BigInt(n); factor += 1n) product *= factor;
  return new Decimal(product, 0);
}

function divisors(kind: IntegerKind): FunctionDef[] {
  return [
    define('gcd', [kind, kind], kind, ([a, b]) =>
      checkedInteger(gcdOf(BigInt(a as number | bigint), BigInt(b as number | bigint)), kind),
    ),
    define('lcm', [kind, kind], kind, ([a, b]) => {
      const [x, y] = [BigInt(a as number | bigint), BigInt(b as number | bigint)];
      if (x === 0n || y === 0n) return 0;
      return checkedInteger(absoluteOf((x / gcdOf(x, y)) * y), kind);
    }),
  ];
}

// ── Angles ─────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Exact where PostgreSQL promises it: multiples of 30 and 45 degrees give 0, ½ and 1. Method: its float.c, which divides by
 * the function's own value at 30, 45 or 60 degrees.
 */
const RADIANS = Math.PI / 180;
const SIN_30 = Math.sin(30 * RADIANS);
const ONE_MINUS_COS_60 = 1 - Math.cos(60 * RADIANS);
const ASIN_HALF = Math.asin(0.5);
const ACOS_HALF = Math.acos(0.5);
const ATAN_1 = Math.atan(1);

function sineTo30(x: number): number {
  return Math.sin(x * RADIANS) / SIN_30 / 2;
}

function cosineTo60(x: number): number {
  return 1 - (1 - Math.cos(x * RADIANS)) / ONE_MINUS_COS_60 / 2;
}

function sineTo90(x: number): number {
  return x <= 30 ? sineTo30(x) : cosineTo60(90 - x);
}

function cosineTo90(x: number): number {
  return x <= 60 ? cosineTo60(x) : sineTo30(90 - x);
}

const TAN_45 = sineTo90(45) / cosineTo90(45);
const COT_45 = cosineTo90(45) / sineTo90(45);

/** The angle in the first quadrant with the signs that sine and cosine have there. */
function quadrant(degrees: number): { x: number; sine: number; cosine: number } {
  if (!Number.isFinite(degrees)) {
    if (Number.isNaN(degrees)) return { x: Number.NaN, sine: 1, cosine: 1 };
    throw new DbError('22003', 'input is out of range');
  }
  let x = degrees % 360;
  let sine = 1;
  let cosine = 1;
  if (x < 0) {
    x = -x;
    sine = -sine;
  }
  if (x > 180) {
    x = 360 - x;
    sine = -sine;
  }
  if (x > 90) {
    x = 180 - x;
    cosine = -cosine;
  }
  return { x, sine, cosine };
}

function arcSineTo90(x: number): number {
  return x <= 0.5 ? (Math.asin(x) / ASIN_HALF) * 30 : 90 - (Math.acos(x) / ACOS_HALF) * 60;
}

function arcCosineTo90(x: number): number {
  return x <= 0.5 ? 90 - (Math.asin(x) / ASIN_HALF) * 30 : (Math.acos(x) / ACOS_HALF) * 60;
}

function degreeFunctions(): FunctionDef[] {
  const of = (name: string, compute: (x: number) => number): FunctionDef =>
    define(name, ['float8'], 'float8', ([x]) => compute(x as number));
  const unit = (name: string, compute: (x: number) => number): FunctionDef =>
    of(name, (x) => {
      if (x < -1 || x > 1) throw new DbError('22003', 'input is out of range');
      return Number.isNaN(x) ? x : compute(x);
    });
  return [
    of('sind', (degrees) => {
      const { x, sine } = quadrant(degrees);
      return sine * sineTo90(x);
    }),
    of('cosd', (degrees) => {
      const { x, cosine } = quadrant(degrees);
      return cosine * cosineTo90(x);
    }),
    of('tand', (degrees) => {
      const { x, sine, cosine } = quadrant(degrees);
      return (sine * cosine * (sineTo90(x) / cosineTo90(x))) / TAN_45 + 0;
    }),
    of('cotd', (degrees) => {
      const { x, sine, cosine } = quadrant(degrees);
      return (sine * cosine * (cosineTo90(x) / sineTo90(x))) / COT_45 + 0;
    }),
    unit('asind', (x) => (x >= 0 ? arcSineTo90(x) : -arcSineTo90(-x))),
    unit('acosd', (x) => (x >= 0 ? arcCosineTo90(x) : 90 + arcSineTo90(-x))),
    of('atand', (x) => (Math.atan(x) / ATAN_1) * 45),
    define(
      'atan2d',
      ['float8', 'float8'],
      'float8',
      ([y, x]) => (Math.atan2(y as number, x as number) / ATAN_1) * 45,
    ),
  ];
}

/** sin, cos, tan and cot of an infinity are errors, not NaN. */
function circleFunctions(): FunctionDef[] {
  const of = (name: string, compute: (x: number) => number): FunctionDef =>
    define(name, ['float8'], 'float8', ([x]) => {
      if (x === Infinity || x === -Infinity) throw new DbError('22003', 'input is out of range');
      return compute(x as number);
    });
  return [
    of('sin', Math.sin),
    of('cos', Math.cos),
    of('tan', Math.tan),
    of('cot', (x) => 1 / Math.tan(x)),
  ];
}

function hyperbolicFunctions(): FunctionDef[] {
  // Those of large numbers are infinite, which PostgreSQL shows as it is.
  return (['sinh', 'cosh'] as const).map((name) =>
    define(name, ['float8'], 'float8', ([x]) => Math[name](x as number)),
  );
}

// ── Buckets ────────────────────────────────────────────────────────────────────────────────────────────────────

function assertBuckets(count: number, bad: boolean, infinite: boolean, equal: boolean): void {
  if (count <= 0) throw new DbError('2201G', 'count must be greater than zero');
  if (bad) throw new DbError('2201G', 'operand, lower bound, and upper bound cannot be NaN');
  if (infinite) throw new DbError('2201G', 'lower and upper bounds must be finite');
  if (equal) throw new DbError('2201G', 'lower bound cannot equal upper bound');
}

/** Buckets 1 … count between the bounds, 0 and count + 1 outside; bounds that fall number from above. */
function bucketOfDouble(x: number, low: number, high: number, count: number): number {
  const infinite = (value: number): boolean => value === Infinity || value === -Infinity;
  assertBuckets(
    count,
    Number.isNaN(x) || Number.isNaN(low) || Number.isNaN(high),
    infinite(low) || infinite(high),
    low === high,
  );
  const rises = low < high;
  if (rises ? x < low : x > low) return 0;
  const place = (rises ? x >= high : x <= high)
    ? count + 1
    : Math.min(Math.floor(((x - low) / (high - low)) * count), count - 1) + 1;
  return checkedInteger(place, 'int4') as number;
}

function bucketOfDecimal(x: Decimal, low: Decimal, high: Decimal, count: number): number {
  assertBuckets(
    count,
    [x, low, high].some(({ special }) => special === 'NaN'),
    low.special !== undefined || high.special !== undefined,
    compareDecimals(low, high) === 0,
  );
  const rises = compareDecimals(low, high) < 0;
  if (compareDecimals(x, low) < 0 === rises && compareDecimals(x, low) !== 0) return 0;
  if (compareDecimals(x, high) === 0 || compareDecimals(x, high) > 0 === rises)
    return checkedInteger(count + 1, 'int4') as number;
  const place = divideTruncated(multiply(subtract(x, low), decimalOf(count)), subtract(high, low));
  return Number(place.coefficient) + 1;
}
