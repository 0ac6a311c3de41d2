import { DbError, unreachable } from '../base/errors.ts';
import { civilFromDays } from '../calendar/civil.ts';
import { offsetSecondsAt, zoneOf } from '../calendar/zones.ts';
import { typeName } from '../columns/types.ts';
import type { IntervalFields, SqlType } from '../columns/types.ts';
import { Decimal, normalInteger } from '../columns/values.ts';
import type { Datum, Interval } from '../columns/values.ts';
import {
  dateFromText,
  timeFromText,
  timestampFromText,
  timestamptzFromText,
} from './datetime-input.ts';
import { dayOf, isFinite, microsOfDay, timestamptzToTimestamp } from './datetime.ts';
import type { Instant } from './datetime.ts';
import { decimal, DSCALE_MAX, fitPrecision, overflow, powerOfTen } from './decimal-arithmetic.ts';
import { float4FromText, float4ToText, float8FromText, float8ToText } from './float-text.ts';
import {
  clockText,
  fitInterval,
  intervalFromText,
  intervalToIso,
  intervalToText,
  roundMicros,
  two,
} from './interval-text.ts';
import type { IntervalField } from './interval-text.ts';

/** What reading and writing may depend on: the session's zone (an IANA name) and the statement's instant. */
export type TextContext = { readonly zone: string; readonly nowMicros: number };

/**
 * The value a text stands for in a type, as PostgreSQL 15's input function reads it; a length or a precision of the
 * type holds as for an assignment. Errors: 22P02, 22003, 22001, 22007, 22008 with PostgreSQL's messages.
 */
export function datumFromText(text: string, type: SqlType, context: TextContext): Datum {
  switch (type.kind) {
    case 'boolean':
      return booleanFromText(text);
    case 'int2':
    case 'int4':
    case 'int8':
      return integerFromText(text, type.kind);
    case 'float4':
      return float4FromText(text);
    case 'float8':
      return float8FromText(text);
    case 'numeric':
      return fitToType(decimalFromText(text), type, false);
    case 'text':
    case 'unknown':
      return checkedText(text);
    case 'varchar':
    case 'bpchar':
      return fitToType(checkedText(text), type, false);
    case 'date':
      return dateFromText(plainYear(text), inputContext(context));
    case 'time':
      return fitToType(timeFromText(text, inputContext(context)), type, false);
    case 'timestamp':
      return fitToType(timestampFromText(plainYear(text), inputContext(context)), type, false);
    case 'timestamptz':
      return fitToType(timestamptzFromText(plainYear(text), inputContext(context)), type, false);
    case 'interval':
      return intervalFromText(text, intervalFields(type.fields), type.precision);
    case 'uuid':
      return uuidFromText(text);
    case 'bytea':
      return bytesFromText(text);
    case 'null':
      return null;
    default:
      return unreachable(type);
  }
}

function inputContext(context: TextContext): Parameters<typeof timestamptzFromText>[1] {
  return {
    zone: zoneOf(context.zone),
    // Asked for by words such as `today` alone; where there is no instant, asking throws.
    get nowMicros() {
      return context.nowMicros;
    },
  };
}

/** `datumToIso` writes years before 1 and beyond 9999 as ISO 8601 does, `-004712`: PostgreSQL's reader knows them as 4713 BC. */
function plainYear(text: string): string {
  const match = /^\s*([+-]\d{6,7})(-\d\d-\d\d)(.*)$/s.exec(text);
  if (match === null) return text;
  const year = Number(match[1]);
  const shown = String(year > 0 ? year : 1 - year).padStart(4, '0');
  return `${shown}${match[2]}${match[3]}${year > 0 ? '' : ' BC'}`;
}

/** As PostgreSQL 15 prints a value that is not NULL: DateStyle ISO, IntervalStyle postgres, bytea_output hex. */
export function datumToText(
  value: Exclude<Datum, null>,
  type: SqlType,
  context: { readonly zone: string },
): string {
  switch (type.kind) {
    case 'boolean':
      return value === true ? 't' : 'f';
    case 'float4':
      return float4ToText(value as number);
    case 'float8':
      return float8ToText(value as number);
    case 'date':
      return dateToText(value as number);
    case 'time':
      return clockText(value as number);
    case 'timestamp':
      return timestampToText(value as Instant);
    case 'timestamptz':
      return timestamptzToText(value as Instant, context.zone);
    case 'interval':
      return intervalToText(value as Interval);
    case 'bytea':
      return `\\x${Buffer.from(value as Uint8Array).toString('hex')}`;
    case 'int2':
    case 'int4':
    case 'int8':
    case 'numeric':
    case 'text':
    case 'varchar':
    case 'bpchar':
    case 'uuid':
    case 'unknown':
    case 'null':
      return String(value);
    default:
      return unreachable(type);
  }
}

/**
 * The values that applications get as ISO 8601 whatever the session's settings: timestamptz in UTC
 * (`2026-11-22T10:00:00.000123Z`), timestamp, date, time and interval (`P1DT2H`). Years before 1 and beyond 9999 have six
 * digits or more and a sign. Other types as `datumToText`. `datumFromText` reads all of it.
 */
export function datumToIso(value: Exclude<Datum, null>, type: SqlType): string {
  switch (type.kind) {
    case 'date':
      return Number.isFinite(value) ? isoDate(value as number) : infinityText(value as number);
    case 'timestamp':
      return isoTimestamp(value as Instant, '');
    case 'timestamptz':
      return isoTimestamp(value as Instant, 'Z');
    case 'interval':
      return intervalToIso(value as Interval);
    default:
      return datumToText(value, type, { zone: 'UTC' });
  }
}

function isoTimestamp(value: Instant, suffix: string): string {
  if (typeof value === 'number' && !Number.isFinite(value)) return infinityText(value);
  const day = dayOf(value);
  return `${isoDate(day)}T${clockText(microsOfDay(value, day))}${suffix}`;
}

function isoDate(day: number): string {
  const { year, month, day: dayOfMonth } = civilFromDays(day);
  const shownYear =
    year >= 1 && year <= 9999
      ? year.toString().padStart(4, '0')
      : `${year < 0 ? '-' : '+'}${Math.abs(year).toString().padStart(6, '0')}`;
  return `${shownYear}-${two(month)}-${two(dayOfMonth)}`;
}

function infinityText(value: number): string {
  return value > 0 ? 'infinity' : '-infinity';
}

function dateToText(day: number): string {
  if (!Number.isFinite(day)) return infinityText(day);
  const date = dateParts(day);
  return `${date.text}${date.era}`;
}

/** Years count from 1 BC backwards: astronomical 0 is 1 BC. */
function dateParts(day: number): { readonly text: string; readonly era: string } {
  const { year, month, day: dayOfMonth } = civilFromDays(day);
  const shownYear = year > 0 ? year : 1 - year;
  return {
    text: `${shownYear.toString().padStart(4, '0')}-${two(month)}-${two(dayOfMonth)}`,
    era: year > 0 ? '' : ' BC',
  };
}

export function timestampToText(value: Instant): string {
  if (typeof value === 'number' && !Number.isFinite(value)) return infinityText(value);
  const day = dayOf(value);
  const date = dateParts(day);
  return `${date.text} ${clockText(microsOfDay(value, day))}${date.era}`;
}

export function timestamptzToText(value: Instant, zoneName: string): string {
  if (typeof value === 'number' && !Number.isFinite(value)) return infinityText(value);
  const zone = zoneOf(zoneName);
  const local = timestamptzToTimestamp(value, zone);
  const day = dayOf(local);
  const date = dateParts(day);
  return `${date.text} ${clockText(microsOfDay(local, day))}${offsetText(offsetSecondsAt(zone, value))}${date.era}`;
}

/** `+00`, `-03:30`, `+00:53:28`. */
export function offsetText(seconds: number): string {
  const magnitude = Math.abs(seconds);
  const rest = magnitude % 60;
  const minutes = Math.floor(magnitude / 60) % 60;
  const text = `${seconds < 0 ? '-' : '+'}${two(Math.floor(magnitude / 3600))}`;
  if (rest !== 0) return `${text}:${two(minutes)}:${two(rest)}`;
  return minutes === 0 ? text : `${text}:${two(minutes)}`;
}

/** Any beginning that tells true, false, yes, no, on and off apart; 1 and 0; blanks around it. */
function booleanFromText(text: string): boolean {
  const word = text.trim().toLowerCase();
  if (word !== '') {
    if (word === '1' || word === 'on' || 'true'.startsWith(word) || 'yes'.startsWith(word))
      return true;
    if (
      word === '0' ||
      word === 'of' ||
      word === 'off' ||
      'false'.startsWith(word) ||
      'no'.startsWith(word)
    ) {
      return false;
    }
  }
  throw invalidSyntax(
    text,
    { kind: 'boolean' },
    "Write true or false, or one of 't', 'f', 'yes', 'no', 'on', 'off', '1', '0'.",
  );
}

function invalidSyntax(text: string, type: SqlType, hint?: string): DbError {
  return new DbError('22P02', `invalid input syntax for type ${typeName(type)}: "${text}"`, {
    hint,
  });
}

const INTEGER_MAX = {
  int2: 32_767,
  int4: 2_147_483_647,
  int8: 9_223_372_036_854_775_807n,
} as const;

function integerFromText(text: string, kind: 'int2' | 'int4' | 'int8'): number | bigint {
  const digits = /^[\t-\r ]*([+-]?\d+)[\t-\r ]*$/.exec(text)?.[1];
  if (digits === undefined) {
    throw invalidSyntax(
      text,
      { kind },
      /\d/.test(text) ? 'Cast through numeric to read fractions or exponents.' : undefined,
    );
  }
  if (digits.length <= 15) {
    const value = Number(digits) + 0;
    const max = INTEGER_MAX[kind];
    if (value <= max && value >= -Number(max) - 1) return value;
  } else if (kind === 'int8') {
    const value = BigInt(digits.startsWith('+') ? digits.slice(1) : digits);
    if (value <= INTEGER_MAX.int8 && value >= -INTEGER_MAX.int8 - 1n) return normalInteger(value);
  } else {
    const value = Number(digits);
    if (Math.abs(value) <= INTEGER_MAX[kind]) return value + 0;
  }
  throw new DbError('22003', `value "${text}" is out of range for type ${typeName({ kind })}`, {
    hint:
      kind === 'int8' ? 'Use numeric for such numbers.' : 'Use bigint or numeric for such numbers.',
  });
}

const NUMERIC = /^[\t-\r ]*([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?[\t-\r ]*$/;

export function decimalFromText(text: string): Decimal {
  const match = NUMERIC.exec(text);
  if (match === null) return specialDecimal(text);
  const [, sign, whole = '', fraction = '', exponentText] = match;
  const digits = whole + fraction;
  if (digits === '') return specialDecimal(text);
  const exponent = exponentText === undefined ? 0 : Number(exponentText);
  const scale = Math.max(0, fraction.length - exponent);
  if (Math.abs(exponent) > 1_000_000_000 || scale > DSCALE_MAX) throw overflow();
  const magnitude = BigInt(digits);
  // What has too many digits fails before they are made.
  const shift = scale + exponent - fraction.length;
  if (magnitude === 0n) return new Decimal(0n, scale);
  if (digits.length + shift > 300_000) {
    if (digits.replace(/^0+/, '').length + shift - scale > 131_072) throw overflow();
  }
  const coefficient = shift === 0 ? magnitude : magnitude * powerOfTen(shift);
  return decimal(sign === '-' ? -coefficient : coefficient, scale);
}

function specialDecimal(text: string): Decimal {
  switch (text.trim().toLowerCase()) {
    case 'nan':
      return Decimal.NaN;
    case 'infinity':
    case '+infinity':
    case 'inf':
    case '+inf':
      return Decimal.Infinity;
    case '-infinity':
    case '-inf':
      return Decimal.NegativeInfinity;
    default:
      throw invalidSyntax(text, { kind: 'numeric' });
  }
}

/** Text cannot hold the character 0. */
function checkedText(text: string): string {
  if (text.includes('\0')) {
    throw new DbError('22021', 'invalid byte sequence for encoding "UTF8": 0x00', {
      hint: 'Store binary data as bytea.',
    });
  }
  return text;
}

/** Braces around it and a hyphen after any four digits are optional. */
function uuidFromText(text: string): string {
  if (/^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/.test(text)) return text;
  const inner = text.startsWith('{') && text.endsWith('}') ? text.slice(1, -1) : text;
  if (!/^(?:[\da-f]{4}-?){7}[\da-f]{4}$/i.test(inner)) throw invalidSyntax(text, { kind: 'uuid' });
  const hex = inner.replaceAll('-', '').toLowerCase();
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** `\x` and pairs of hexadecimal digits, else the escape format: octal `\001` and `\\`. */
function bytesFromText(text: string): Uint8Array {
  if (text.startsWith('\\x')) return bytesFromHex(text.slice(2));
  const source = Buffer.from(text, 'utf8');
  const bytes = new Uint8Array(source.length);
  let length = 0;
  for (let index = 0; index < source.length; index += 1) {
    let byte = source[index]!;
    if (byte === 0x5c) {
      const octal = /^[0-3][0-7]{2}/.exec(source.toString('latin1', index + 1, index + 4));
      if (octal !== null) {
        byte = Number.parseInt(octal[0], 8);
        index += 3;
      } else if (source[index + 1] === 0x5c) index += 1;
      else throw invalidSyntax(text, { kind: 'bytea' }, "Write bytes in hexadecimal: '\\x0102'.");
    }
    bytes[length] = byte;
    length += 1;
  }
  return bytes.slice(0, length);
}

export function bytesFromHex(hex: string): Uint8Array {
  const wrong = /[^\da-fA-F\s]/.exec(hex);
  if (wrong !== null) throw new DbError('22023', `invalid hexadecimal digit: "${wrong[0]}"`);
  const compact = hex.replaceAll(/\s/g, '');
  if (compact.length % 2 !== 0)
    throw new DbError('22023', 'invalid hexadecimal data: odd number of digits');
  return Uint8Array.from(Buffer.from(compact, 'hex'));
}

/**
 * Fits a value of `type.kind` into the length or the precision that the type has: numeric rounds (22003 where its
 * digits do not fit), varchar(n) and char(n) refuse what is longer than n characters (22001) unless the rest is
 * blank or the cast is explicit, which cuts; char(n) fills up with blanks.
 */
export function fitToType(value: Datum, type: SqlType, explicit: boolean): Datum {
  if (value === null) return null;
  switch (type.kind) {
    case 'numeric':
      return type.precision === undefined
        ? value
        : fitPrecision(value as Decimal, type.precision, type.scale ?? 0);
    case 'varchar':
      return type.length === undefined
        ? value
        : cutToLength(value as string, type.length, type, explicit);
    case 'bpchar': {
      if (type.length === undefined) return value;
      const text = cutToLength(value as string, type.length, type, explicit);
      const missing = type.length - characterCount(text);
      return missing > 0 ? text + ' '.repeat(missing) : text;
    }
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return type.precision === undefined || !isFinite(value as Instant)
        ? value
        : type.kind === 'time'
          ? roundMicros(value as number, type.precision)
          : roundedInstant(value as Instant, type.precision);
    case 'interval':
      return type.fields === undefined && type.precision === undefined
        ? value
        : fitInterval(value as Interval, intervalFields(type.fields), type.precision);
    default:
      return value;
  }
}

function intervalFields(fields: IntervalFields | undefined): IntervalField[] {
  return fields === undefined ? [] : (fields.split(' to ') as IntervalField[]);
}

/** Half away from the year 2000, from which PostgreSQL counts what it rounds. */
function roundedInstant(value: Instant, precision: number): Instant {
  if (typeof value === 'number' && value > -ROUNDED_AS_NUMBERS)
    return roundMicros(value - MICROS_TO_2000, precision) + MICROS_TO_2000;
  const unit = 10n ** BigInt(6 - precision);
  const since2000 = BigInt(value) - BigInt(MICROS_TO_2000);
  const magnitude = (since2000 < 0n ? -since2000 : since2000) + unit / 2n;
  const rounded = magnitude - (magnitude % unit);
  return normalInteger(BigInt(MICROS_TO_2000) + (since2000 < 0n ? -rounded : rounded));
}

const MICROS_TO_2000 = 946_684_800_000_000;
/** What lies after this many microseconds before 1970 is a safe integer counted from 2000, too. */
const ROUNDED_AS_NUMBERS = 8e15;

function cutToLength(text: string, length: number, type: SqlType, explicit: boolean): string {
  if (text.length <= length) return text;
  const end = offsetOfCharacter(text, length);
  if (end >= text.length) return text;
  if (!explicit && /[^ ]/.test(text.slice(end))) {
    throw new DbError('22001', `value too long for type ${typeName(type)}`, {
      hint: `Shorten it with left(…, ${length}), or declare the column as text.`,
    });
  }
  return text.slice(0, end);
}

/** Characters are code points: two UTF-16 units where a surrogate pair stands. */
export function characterCount(text: string): number {
  let count = text.length;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit >= 0xdc00 && unit <= 0xdfff) count -= 1;
  }
  return count;
}

/** The UTF-16 offset at which character `index` (from 0) begins, at most the text's length. */
export function offsetOfCharacter(text: string, index: number): number {
  if (index <= 0) return 0;
  let offset = 0;
  for (let left = index; left > 0 && offset < text.length; left -= 1) {
    const unit = text.charCodeAt(offset);
    offset += unit >= 0xd800 && unit <= 0xdbff ? 2 : 1;
  }
  return Math.min(offset, text.length);
}
