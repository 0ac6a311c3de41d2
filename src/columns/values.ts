/**
 * One value of a row, outside any column: constants, parameters, keys, results. By type:
 *
 * | type | datum |
 * |---|---|
 * | boolean | boolean |
 * | int2, int4, float4, float8 | number (float4 already rounded by Math.fround) |
 * | int8 | number while it is a safe integer, else bigint: each value has exactly one form |
 * | numeric | Decimal |
 * | text, varchar, bpchar | string of well-formed UTF-16 without NUL (bpchar: trailing blanks kept as padded) |
 * | uuid | string, 36 characters in lower case |
 * | date | number: days since 1970-01-01; ±Infinity |
 * | time | number: microseconds since midnight, 0 … 86,400,000,000 |
 * | timestamp, timestamptz | microseconds since 1970-01-01T00:00 (UTC): number while safe, else bigint; ±Infinity |
 * | interval | Interval |
 * | bytea | Uint8Array, never changed |
 * | any, NULL | null |
 */
export type Datum = null | boolean | number | bigint | string | Decimal | Interval | Uint8Array;

/** An int8 or a timestamp in its one form. */
export function normalInteger(value: bigint): number | bigint {
  return value >= -9007199254740991n && value <= 9007199254740991n ? Number(value) : value;
}

/**
 * A numeric: `coefficient` / 10^`scale`, the scale being what is shown (1.0 and 1.00 are equal and differ in
 * scale). NaN and ±Infinity are the three constants below, told by identity of `special`.
 */
export class Decimal {
  readonly coefficient: bigint;
  /** Digits after the point, 0 … 16383. */
  readonly scale: number;
  readonly special: 'NaN' | 'Infinity' | '-Infinity' | undefined;

  constructor(coefficient: bigint, scale: number, special?: 'NaN' | 'Infinity' | '-Infinity') {
    this.coefficient = coefficient;
    this.scale = scale;
    this.special = special;
  }

  static readonly NaN = new Decimal(0n, 0, 'NaN');
  static readonly Infinity = new Decimal(0n, 0, 'Infinity');
  static readonly NegativeInfinity = new Decimal(0n, 0, '-Infinity');

  /** As PostgreSQL prints it: all digits of the scale. */
  toString(): string {
    if (this.special !== undefined) return this.special;
    if (this.scale === 0) return this.coefficient.toString();
    const negative = this.coefficient < 0n;
    const digits = (negative ? -this.coefficient : this.coefficient)
      .toString()
      .padStart(this.scale + 1, '0');
    const point = digits.length - this.scale;
    return `${negative ? '-' : ''}${digits.slice(0, point)}.${digits.slice(point)}`;
  }
}

/** Months, days and time are kept apart, as PostgreSQL does; compared as 30-day months and 24-hour days. */
export class Interval {
  readonly months: number;
  readonly days: number;
  /** Microseconds; a safe integer (PostgreSQL's int64 beyond 285 years of pure time is refused with 22008). */
  readonly micros: number;

  constructor(months: number, days: number, micros: number) {
    this.months = months;
    this.days = days;
    this.micros = micros;
  }
}
