/**
 * Values of the naive interpreter: its own types, its own numeric arithmetic on BigInt, its own text forms. Nothing here is
 * fast; everything is meant to be read in one go and believed. NULL is `null`, of any type.
 */

export type Type =
  | 'bool'
  | 'int2'
  | 'int4'
  | 'int8'
  | 'float4'
  | 'float8'
  | 'numeric'
  | 'text'
  | 'date'
  | 'timestamp'
  | 'timestamptz'
  | 'interval'
  /** A bare string literal or NULL, before its context gives it a type. */
  | 'unknown';

/**
 * bool: boolean. int2, int4, int8: bigint. float4, float8: number. numeric: Numeric. text, unknown: string. date: bigint days,
 * timestamp(tz): bigint microseconds, both since 1970. interval: Span.
 */
export type Value = null | boolean | bigint | number | string | Numeric | Span;
export type Row = readonly Value[];

/** coefficient / 10^scale, or NaN. */
export type Numeric = { readonly c: bigint; readonly s: number; readonly nan?: true };
export type Span = { readonly months: bigint; readonly days: bigint; readonly micros: bigint };

/** An error a user could have met: `code` is PostgreSQL's SQLSTATE. */
export class ModelError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(`${code}: ${message}`);
    this.name = 'ModelError';
    this.code = code;
  }
}

export const NAN: Numeric = { c: 0n, s: 0, nan: true };

// ── numeric ────────────────────────────────────────────────────────────────────────────────────────────────────

export const pow10 = (n: number): bigint => 10n ** BigInt(n);
const abs = (n: bigint): bigint => (n < 0n ? -n : n);

/** num / den to `scale` digits, rounded half away from zero. */
export function divideRounded(num: bigint, den: bigint, scale: number): bigint {
  const negative = num < 0n !== den < 0n;
  const n = abs(num) * pow10(scale);
  const d = abs(den);
  const q = (2n * n + d) / (2n * d);
  return negative ? -q : q;
}

export function rescale(a: Numeric, s: number): Numeric {
  if (a.nan) return a;
  return s >= a.s
    ? { c: a.c * pow10(s - a.s), s }
    : { c: divideRounded(a.c, pow10(a.s - s), 0), s };
}

export function numericAdd(a: Numeric, b: Numeric): Numeric {
  if (a.nan || b.nan) return NAN;
  const s = Math.max(a.s, b.s);
  return { c: rescale(a, s).c + rescale(b, s).c, s };
}
export const numericNegate = (a: Numeric): Numeric => (a.nan ? a : { c: -a.c, s: a.s });
export const numericMultiply = (a: Numeric, b: Numeric): Numeric =>
  a.nan || b.nan ? NAN : { c: a.c * b.c, s: a.s + b.s };

/** First base-10000 digit that is not zero, and its weight: what PostgreSQL chooses a quotient's scale by. */
function leading(a: Numeric): { weight: number; digit: number } {
  if (a.c === 0n) return { weight: 0, digit: 0 };
  // Digits before the point, then grouped by four from the point.
  const digits = abs(a.c).toString();
  const exponent = digits.length - a.s - 1; // power of ten of the first digit
  const weight = Math.floor(exponent / 4);
  const take = exponent - weight * 4 + 1;
  return { weight, digit: Number(digits.padEnd(take, '0').slice(0, take)) };
}

/** PostgreSQL's select_div_scale: at least 16 significant digits, never fewer than either operand shows. */
export function quotientScale(a: Numeric, b: Numeric): number {
  const x = leading(a);
  const y = leading(b);
  let weight = x.weight - y.weight;
  if (x.digit <= y.digit) weight -= 1;
  return Math.min(1000, Math.max(16 - weight * 4, a.s, b.s, 0));
}

export function numericDivide(a: Numeric, b: Numeric): Numeric {
  if (a.nan || b.nan) return NAN;
  if (b.c === 0n) throw new ModelError('22012', 'division by zero');
  const s = quotientScale(a, b);
  return { c: divideRounded(a.c * pow10(b.s), b.c * pow10(a.s), s), s };
}

export function numericRemainder(a: Numeric, b: Numeric): Numeric {
  if (a.nan || b.nan) return NAN;
  if (b.c === 0n) throw new ModelError('22012', 'division by zero');
  const s = Math.max(a.s, b.s);
  return { c: rescale(a, s).c % rescale(b, s).c, s };
}

/** The square root to `scale` digits, rounded half away from zero. */
export function numericRoot(a: Numeric, scale: number): Numeric {
  // floor(sqrt(4·a·10^(2·scale))) tells the digits and which half the rest lies in.
  const n = a.c * pow10(2 * scale) * 4n;
  const twice = root(n / pow10(a.s));
  return { c: (twice + 1n) / 2n, s: scale };
}

function root(n: bigint): bigint {
  if (n < 2n) return n;
  let x = 1n << BigInt((n.toString(2).length + 1) >> 1);
  for (;;) {
    const y = (x + n / x) >> 1n;
    if (y >= x) return x;
    x = y;
  }
}

export function numericCompare(a: Numeric, b: Numeric): number {
  if (a.nan || b.nan) return a.nan && b.nan ? 0 : a.nan ? 1 : -1;
  const s = Math.max(a.s, b.s);
  const x = rescale(a, s).c;
  const y = rescale(b, s).c;
  return x < y ? -1 : x > y ? 1 : 0;
}

export function numericText(a: Numeric): string {
  if (a.nan) return 'NaN';
  const digits = abs(a.c)
    .toString()
    .padStart(a.s + 1, '0');
  const whole = digits.slice(0, digits.length - a.s);
  return `${a.c < 0n ? '-' : ''}${whole}${a.s === 0 ? '' : `.${digits.slice(digits.length - a.s)}`}`;
}

export function parseNumeric(text: string): Numeric {
  const trimmed = text.trim();
  if (/^nan$/i.test(trimmed)) return NAN;
  const match = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(trimmed);
  if (match === null || `${match[2]}${match[3] ?? ''}` === '') {
    throw new ModelError('22P02', `invalid input syntax for type numeric: "${text}"`);
  }
  const fraction = match[3] ?? '';
  const exponent = Number(match[4] ?? '0');
  const c = BigInt(`${match[2]}${fraction}`) * (match[1] === '-' ? -1n : 1n);
  const s = fraction.length - exponent;
  return s >= 0 ? { c, s } : { c: c * pow10(-s), s: 0 };
}

// ── float8 ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** A finite double as an integer multiple of 2^-1074: every double is one. */
export function doubleToUnits(x: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, x);
  const bits = view.getBigUint64(0);
  const exponent = Number((bits >> 52n) & 0x7ffn);
  const fraction = bits & 0xfffffffffffffn;
  const magnitude =
    exponent === 0 ? fraction : (fraction | 0x10000000000000n) << BigInt(exponent - 1);
  return bits >> 63n === 1n ? -magnitude : magnitude;
}

/** num/den as a double, rounded to nearest, ties to even; ±Infinity beyond the range. */
export function ratioToDouble(num: bigint, den: bigint): number {
  if (num === 0n) return 0;
  const negative = num < 0n !== den < 0n;
  let n = abs(num);
  let d = abs(den);
  // Scale so that the quotient has 53 bits, or fewer where it is subnormal.
  let exponent = n.toString(2).length - d.toString(2).length - 53;
  if (exponent < -1074) exponent = -1074;
  for (;;) {
    const q =
      exponent >= 0 ? quotient(n, d << BigInt(exponent)) : quotient(n << BigInt(-exponent), d);
    if (q >> 53n > 0n && q !== 1n << 53n) {
      exponent += 1;
      continue;
    }
    if (q >> 52n === 0n && exponent > -1074) {
      exponent -= 1;
      continue;
    }
    const result =
      Number(q) * 2 ** Math.max(exponent, -1000) * (exponent < -1000 ? 2 ** (exponent + 1000) : 1);
    return negative ? -result : result;
  }
}

function quotient(n: bigint, d: bigint): bigint {
  const q = n / d;
  const rest = 2n * (n % d);
  return rest > d || (rest === d && q % 2n === 1n) ? q + 1n : q;
}

const UNIT = 1n << 1074n;

/** The exact sum of doubles, rounded once. */
export function exactSum(values: readonly number[]): number {
  let total = 0n;
  let plus = false;
  let minus = false;
  for (const x of values) {
    if (Number.isNaN(x)) return NaN;
    if (x === Infinity) plus = true;
    else if (x === -Infinity) minus = true;
    else total += doubleToUnits(x);
  }
  if (plus || minus) return plus && minus ? NaN : plus ? Infinity : -Infinity;
  const sum = ratioToDouble(total, UNIT);
  if (!Number.isFinite(sum)) throw new ModelError('22003', 'value out of range: overflow');
  return sum;
}

/** Unlike JavaScript, PostgreSQL shows no digits that lie exactly between two doubles: it takes more of them. */
function shortest(x: number): string {
  let text = x.toExponential();
  for (let places = 0; liesBetween(x, text); places += 1) {
    const longer = x.toExponential(places);
    if (Number(longer) === x) text = longer;
  }
  return text;
}

function liesBetween(x: number, text: string): boolean {
  // Only whole numbers beyond 2^53 have so few digits half-way to the next.
  if (Math.abs(x) <= 2 ** 53 || Math.abs(x) > 1e40) return false;
  const [, digits = '', fraction = '', exponent = ''] = /^-?(\d)\.?(\d*)e\+(\d+)$/.exec(text)!;
  const shown = BigInt((digits + fraction).padEnd(Number(exponent) + 1, '0'));
  const own = BigInt(Math.abs(x));
  const mirrored = shown * 2n - own;
  // Any double between would be nearer to what is shown, and that reads as x.
  return mirrored !== own && BigInt(Number(mirrored)) === mirrored;
}

export function doubleText(x: number): string {
  if (Number.isNaN(x)) return 'NaN';
  if (x === Infinity) return 'Infinity';
  if (x === -Infinity) return '-Infinity';
  if (Object.is(x, -0)) return '-0';
  const [mantissa = '', exponentText = '0'] = shortest(x).split('e');
  const exponent = Number(exponentText);
  if (exponent >= -4 && exponent < 15) {
    // Between 1e-4 and 1e15 JavaScript prints plainly too, but for numbers below 1e-6, which are not here.
    return String(x);
  }
  const size = String(Math.abs(exponent)).padStart(2, '0');
  return `${mantissa}e${exponent < 0 ? '-' : '+'}${size}`;
}

/** real: the shortest digits that give back the same float4. */
export function floatText(x: number): string {
  if (!Number.isFinite(x) || Object.is(x, -0) || x === 0) return doubleText(x);
  for (let digits = 1; digits <= 9; digits += 1) {
    const short = Number(x.toPrecision(digits));
    if (Math.fround(short) !== x) continue;
    const [mantissa = '', exponentText = '0'] = short.toExponential().split('e');
    const exponent = Number(exponentText);
    if (exponent >= -4 && exponent < 6) return String(short);
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  return doubleText(x);
}

// ── dates ──────────────────────────────────────────────────────────────────────────────────────────────────────

export const DAY_MICROS = 86_400_000_000n;

export function floorDivide(a: bigint, b: bigint): bigint {
  const q = a / b;
  return a % b !== 0n && a < 0n !== b < 0n ? q - 1n : q;
}
export const floorModulo = (a: bigint, b: bigint): bigint => a - floorDivide(a, b) * b;

/** Days since 1970 of a proleptic Gregorian date. */
export function daysFromCivil(year: number, month: number, day: number): bigint {
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  return BigInt(date.getTime()) / 86_400_000n;
}

export function civilFromDays(days: bigint): {
  year: number;
  month: number;
  day: number;
  weekday: number;
} {
  const date = new Date(Number(days) * 86_400_000);
  return {
    year: date.getUTCFullYear(),
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    weekday: date.getUTCDay(),
  };
}

const two = (n: number | bigint): string => String(n).padStart(2, '0');

export function dateText(days: bigint): string {
  const { year, month, day } = civilFromDays(days);
  return year > 0
    ? `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}`
    : `${String(1 - year).padStart(4, '0')}-${two(month)}-${two(day)} BC`;
}

export function timeText(micros: bigint): string {
  const seconds = micros / 1_000_000n;
  const fraction = String(micros % 1_000_000n)
    .padStart(6, '0')
    .replace(/0+$/, '');
  return `${two(seconds / 3600n)}:${two((seconds / 60n) % 60n)}:${two(seconds % 60n)}${fraction === '' ? '' : `.${fraction}`}`;
}

export function timestampText(micros: bigint): string {
  return `${dateText(floorDivide(micros, DAY_MICROS))} ${timeText(floorModulo(micros, DAY_MICROS))}`;
}

export function parseDate(text: string): bigint {
  return floorDivide(parseTimestamp(text), DAY_MICROS);
}

export function parseTimestamp(text: string): bigint {
  const match =
    /^\s*(\d{1,4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?)?(?:\s*(?:Z|([+-]\d{2})(?::?(\d{2}))?))?\s*$/.exec(
      text,
    );
  if (match === null)
    throw new ModelError('22007', `invalid input syntax for type timestamp: "${text}"`);
  const [, year, month, day, hour, minute, second, fraction, zoneHour, zoneMinute] = match;
  const days = daysFromCivil(Number(year), Number(month), Number(day));
  if (civilFromDays(days).day !== Number(day))
    throw new ModelError('22008', `date/time field value out of range: "${text}"`);
  const seconds = BigInt(hour ?? 0) * 3600n + BigInt(minute ?? 0) * 60n + BigInt(second ?? 0);
  const zone =
    zoneHour === undefined
      ? 0n
      : BigInt(zoneHour) * 3600n +
        (zoneHour.startsWith('-') ? -1n : 1n) * BigInt(zoneMinute ?? 0) * 60n;
  return (
    days * DAY_MICROS + (seconds - zone) * 1_000_000n + BigInt((fraction ?? '').padEnd(6, '0'))
  );
}

const SPAN_UNITS: Readonly<Record<string, Span>> = {
  microsecond: span(0n, 0n, 1n),
  millisecond: span(0n, 0n, 1000n),
  second: span(0n, 0n, 1_000_000n),
  sec: span(0n, 0n, 1_000_000n),
  minute: span(0n, 0n, 60_000_000n),
  min: span(0n, 0n, 60_000_000n),
  hour: span(0n, 0n, 3_600_000_000n),
  day: span(0n, 1n, 0n),
  week: span(0n, 7n, 0n),
  month: span(1n, 0n, 0n),
  mon: span(1n, 0n, 0n),
  year: span(12n, 0n, 0n),
};

export function span(months: bigint, days: bigint, micros: bigint): Span {
  return { months, days, micros };
}

export function parseSpan(text: string): Span {
  let total = span(0n, 0n, 0n);
  let rest = text.trim().toLowerCase();
  while (rest !== '') {
    const clock = /^([+-]?)(\d+):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?\s*/.exec(rest);
    const part = /^([+-]?\d+)\s*([a-z]+)\s*/.exec(rest);
    if (clock !== null) {
      const micros =
        (BigInt(clock[2]!) * 3600n + BigInt(clock[3]!) * 60n + BigInt(clock[4] ?? 0)) * 1_000_000n +
        BigInt((clock[5] ?? '').padEnd(6, '0'));
      total = span(total.months, total.days, total.micros + (clock[1] === '-' ? -micros : micros));
      rest = rest.slice(clock[0].length);
      continue;
    }
    const unit =
      part === null ? undefined : (SPAN_UNITS[part[2]!] ?? SPAN_UNITS[part[2]!.replace(/s$/, '')]);
    if (part === null || unit === undefined)
      throw new ModelError('22007', `invalid input syntax for type interval: "${text}"`);
    const n = BigInt(part[1]!);
    total = span(
      total.months + n * unit.months,
      total.days + n * unit.days,
      total.micros + n * unit.micros,
    );
    rest = rest.slice(part[0].length);
  }
  return total;
}

export function spanText(value: Span): string {
  const parts: string[] = [];
  const add = (n: bigint, one: string, many: string): void => {
    if (n !== 0n) parts.push(`${n} ${n === 1n ? one : many}`);
  };
  add(value.months / 12n, 'year', 'years');
  add(value.months % 12n, 'mon', 'mons');
  add(value.days, 'day', 'days');
  if (value.micros !== 0n || parts.length === 0)
    parts.push(`${value.micros < 0n ? '-' : ''}${timeText(abs(value.micros))}`);
  return parts.join(' ');
}

/** 30-day months, 24-hour days: how intervals compare. */
const spanMicros = (value: Span): bigint =>
  (value.months * 30n + value.days) * DAY_MICROS + value.micros;

export function timestampPlus(micros: bigint, by: Span): bigint {
  let days = floorDivide(micros, DAY_MICROS);
  const time = floorModulo(micros, DAY_MICROS);
  if (by.months !== 0n) {
    const { year, month, day } = civilFromDays(days);
    const months = year * 12 + (month - 1) + Number(by.months);
    const toYear = Math.floor(months / 12);
    const toMonth = months - toYear * 12 + 1;
    const last = Number(daysFromCivil(toYear, toMonth + 1, 1) - daysFromCivil(toYear, toMonth, 1));
    days = daysFromCivil(toYear, toMonth, Math.min(day, last));
  }
  return (days + by.days) * DAY_MICROS + time + by.micros;
}

// ── any type ───────────────────────────────────────────────────────────────────────────────────────────────────

/** Both of the same type, neither NULL. Text by its UTF-8 bytes; NaN is the greatest number. */
export function compareValues(type: Type, a: Value, b: Value): number {
  switch (type) {
    case 'bool':
    case 'int2':
    case 'int4':
    case 'int8':
    case 'date':
    case 'timestamp':
    case 'timestamptz':
      return (a as bigint) < (b as bigint) ? -1 : (a as bigint) > (b as bigint) ? 1 : 0;
    case 'float4':
    case 'float8': {
      const x = a as number;
      const y = b as number;
      if (Number.isNaN(x) || Number.isNaN(y))
        return Number.isNaN(x) && Number.isNaN(y) ? 0 : Number.isNaN(x) ? 1 : -1;
      return x < y ? -1 : x > y ? 1 : 0;
    }
    case 'numeric':
      return numericCompare(a as Numeric, b as Numeric);
    case 'text':
    case 'unknown':
      return Buffer.compare(Buffer.from(a as string), Buffer.from(b as string));
    case 'interval': {
      const x = spanMicros(a as Span);
      const y = spanMicros(b as Span);
      return x < y ? -1 : x > y ? 1 : 0;
    }
  }
}

/** Equal values (NULL equals NULL) have equal keys, others have not. */
export function keyOf(type: Type, value: Value): string {
  if (value === null) return 'null';
  switch (type) {
    case 'float4':
    case 'float8':
      return `=${(value as number) + 0 === 0 ? 0 : String(value)}`;
    case 'numeric': {
      const a = value as Numeric;
      if (a.nan) return '=NaN';
      const text = numericText(a);
      return `=${a.s === 0 ? text : text.replace(/\.?0+$/, '').replace(/^-0$/, '0')}`;
    }
    case 'interval':
      return `=${spanMicros(value as Span)}`;
    default:
      return `=${String(value)}`;
  }
}
export const rowKey = (types: readonly Type[], row: Row): string =>
  JSON.stringify(row.map((value, index) => keyOf(types[index]!, value)));

/** What stands for a set of equal values: 0 for −0, of numerics the one with the most digits behind the point. */
export function representative(values: readonly Value[]): Value {
  let best = values[0] ?? null;
  for (const value of values)
    if (isNumeric(best) && isNumeric(value) && value.s > best.s) best = value;
  return Object.is(best, -0) ? 0 : best;
}

function isNumeric(value: Value): value is Numeric {
  return typeof value === 'object' && value !== null && 's' in value;
}

/** As PostgreSQL's text protocol sends it, TimeZone UTC, DateStyle ISO. */
export function textOf(type: Type, value: Value): string | null {
  if (value === null) return null;
  switch (type) {
    case 'bool':
      return value === true ? 't' : 'f';
    case 'float8':
      return doubleText(value as number);
    case 'float4':
      return floatText(value as number);
    case 'numeric':
      return numericText(value as Numeric);
    case 'date':
      return dateText(value as bigint);
    case 'timestamp':
      return timestampText(value as bigint);
    case 'timestamptz':
      return `${timestampText(value as bigint)}+00`;
    case 'interval':
      return spanText(value as Span);
    default:
      return String(value);
  }
}

const INTEGER_RANGE: Readonly<Record<string, bigint>> = {
  int2: 1n << 15n,
  int4: 1n << 31n,
  int8: 1n << 63n,
};

export function checkInteger(type: Type, value: bigint): bigint {
  const limit = INTEGER_RANGE[type]!;
  if (value >= limit || value < -limit) {
    throw new ModelError(
      '22003',
      `${type === 'int2' ? 'smallint' : type === 'int4' ? 'integer' : 'bigint'} out of range`,
    );
  }
  return value;
}

/** As PostgreSQL reads a literal of the type. */
export function parseValue(type: Type, text: string): Value {
  switch (type) {
    case 'bool': {
      const word = text.trim().toLowerCase();
      if (['t', 'true', 'yes', 'y', 'on', '1'].includes(word)) return true;
      if (['f', 'false', 'no', 'n', 'off', '0'].includes(word)) return false;
      throw new ModelError('22P02', `invalid input syntax for type boolean: "${text}"`);
    }
    case 'int2':
    case 'int4':
    case 'int8':
      if (!/^\s*[+-]?\d+\s*$/.test(text))
        throw new ModelError('22P02', `invalid input syntax for type ${type}: "${text}"`);
      return checkInteger(type, BigInt(text.trim().replace(/^\+/, '')));
    case 'float4':
    case 'float8': {
      const word = text.trim().toLowerCase();
      const special: Record<string, number> = {
        nan: NaN,
        infinity: Infinity,
        '+infinity': Infinity,
        '-infinity': -Infinity,
        inf: Infinity,
        '-inf': -Infinity,
      };
      const value = special[word] ?? Number(word);
      if (word === '' || (special[word] === undefined && Number.isNaN(value))) {
        throw new ModelError('22P02', `invalid input syntax for type double precision: "${text}"`);
      }
      if (special[word] === undefined && !Number.isFinite(value))
        throw new ModelError('22003', `"${text}" is out of range for type double precision`);
      return type === 'float4' ? Math.fround(value) : value;
    }
    case 'numeric':
      return parseNumeric(text);
    case 'date':
      return parseDate(text);
    case 'timestamp':
    case 'timestamptz':
      return parseTimestamp(text);
    case 'interval':
      return parseSpan(text);
    case 'text':
    case 'unknown':
      return text;
  }
}
