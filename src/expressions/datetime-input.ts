import { DbError } from '../base/errors.ts';
import { civilFromDays, daysFromCivil, daysInMonth, MONTH_NAMES } from '../calendar/civil.ts';
import { findZone, localOffsetSeconds, plusSeconds } from '../calendar/zones.ts';
import type { Zone } from '../calendar/zones.ts';
import {
  DATE_MAX,
  DATE_MIN,
  dayOf,
  instantOf,
  MICROS_A_DAY,
  MICROS_A_MINUTE,
  MICROS_A_SECOND,
  MICROS_AN_HOUR,
  microsOfDay,
  roundHalfEven,
  timestamptzToTimestamp,
  TIMESTAMP_DAY_MAX,
  TIMESTAMP_DAY_MIN,
  timestampOutOfRange,
} from './datetime.ts';
import type { Instant } from './datetime.ts';

/**
 * Reads date, time and timestamp as PostgreSQL 15 does with DateStyle ISO, MDY: ISO 8601 in its spellings, month
 * names, `1/8/1999`, `20260108`, Julian days, BC, AM and PM, zones as offsets, abbreviations and IANA names, and the
 * words now, today, tomorrow, yesterday, epoch, infinity. Method: its datetime.c, a list of fields that each may
 * come once. Errors: 22007 for what cannot be read, 22008 for fields out of range, 22009 for offsets.
 */
export type InputContext = { readonly zone: Zone; readonly nowMicros: number };

export function dateFromText(text: string, context: InputContext): number {
  const read = new Reader(text, 'date', context).dateTime();
  if (typeof read === 'number') return read;
  if (read.day < DATE_MIN || read.day > DATE_MAX) {
    throw new DbError('22008', `date out of range: "${text}"`);
  }
  return read.day;
}

export function timeFromText(text: string, context: InputContext): number {
  return plainTime(text) ?? new Reader(text, 'time', context).time();
}

/** A zone in the text is read and dropped. */
export function timestampFromText(text: string, context: InputContext): Instant {
  const plain = plainTimestamp(text);
  if (plain !== undefined) return plain.local;
  const read = new Reader(text, 'timestamp', context).dateTime();
  if (typeof read === 'number') return read;
  return inTimestampRange(text, () => instantOf(read.day, read.micros), read.day);
}

export function timestamptzFromText(text: string, context: InputContext): Instant {
  const plain = plainTimestamp(text);
  if (plain !== undefined) {
    const offset =
      plain.offsetSeconds ??
      localOffsetSeconds(context.zone, Math.floor(plain.local / MICROS_A_SECOND));
    return plusSeconds(plain.local, -offset);
  }
  const read = new Reader(text, 'timestamp with time zone', context).dateTime();
  if (typeof read === 'number') return read;
  return inTimestampRange(
    text,
    () => instantOf(read.day, read.micros - read.offsetSeconds * MICROS_A_SECOND),
    read.day,
  );
}

function inTimestampRange(text: string, compute: () => Instant, day: number): Instant {
  if (day < TIMESTAMP_DAY_MIN - 1 || day > TIMESTAMP_DAY_MAX + 1) throw timestampOutOfRange(text);
  try {
    return compute();
  } catch {
    throw timestampOutOfRange(text);
  }
}

/**
 * `2026-11-22[ T]10:00[:00[.000123]][Z|±hh[:mm]]` with a year of four digits: what machines write. Everything else,
 * errors included, is the general reader's. The local time is a safe integer.
 */
function plainTimestamp(
  text: string,
): { readonly local: number; readonly offsetSeconds: number | undefined } | undefined {
  const length = text.length;
  if (length < 10 || text.charCodeAt(4) !== 0x2d || text.charCodeAt(7) !== 0x2d) return undefined;
  const year = twoDigits(text, 0) * 100 + twoDigits(text, 2);
  const month = twoDigits(text, 5);
  const day = twoDigits(text, 8);
  if (!(year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= daysInMonth(year, month)))
    return undefined;
  // Before 1684 and after 2255 the product, and the sum below, may have been rounded; the instant is a bigint there.
  const midnight = daysFromCivil(year, month, day) * MICROS_A_DAY;
  if (!Number.isSafeInteger(midnight)) return undefined;
  if (length === 10) return { local: midnight, offsetSeconds: undefined };
  const separator = text.charCodeAt(10);
  if (separator !== 0x20 && separator !== 0x54) return undefined;
  const time = plainTimeAt(text, 11);
  if (time === undefined) return undefined;
  const local = midnight + time.micros;
  if (!Number.isSafeInteger(local)) return undefined;
  if (time.end === length) return { local, offsetSeconds: undefined };
  const sign = text.charCodeAt(time.end);
  if (sign === 0x5a) return time.end + 1 === length ? { local, offsetSeconds: 0 } : undefined;
  if (sign !== 0x2b && sign !== 0x2d) return undefined;
  const hours = twoDigits(text, time.end + 1);
  let minutes = 0;
  if (time.end + 6 === length && text.charCodeAt(time.end + 3) === 0x3a)
    minutes = twoDigits(text, time.end + 4);
  else if (time.end + 3 !== length) return undefined;
  if (!(hours <= 15 && minutes <= 59)) return undefined;
  const seconds = hours * 3600 + minutes * 60;
  return { local, offsetSeconds: sign === 0x2d ? -seconds : seconds };
}

function plainTime(text: string): number | undefined {
  const time = plainTimeAt(text, 0);
  return time !== undefined && time.end === text.length ? time.micros : undefined;
}

/** `hh:mm[:ss[.f…]]`, to six places. */
function plainTimeAt(
  text: string,
  start: number,
): { readonly micros: number; readonly end: number } | undefined {
  if (text.charCodeAt(start + 2) !== 0x3a) return undefined;
  const hours = twoDigits(text, start);
  const minutes = twoDigits(text, start + 3);
  if (!(hours <= 23 && minutes <= 59)) return undefined;
  let micros = hours * MICROS_AN_HOUR + minutes * MICROS_A_MINUTE;
  let end = start + 5;
  if (text.charCodeAt(end) !== 0x3a) return { micros, end };
  const seconds = twoDigits(text, end + 1);
  if (!(seconds <= 59)) return undefined;
  micros += seconds * MICROS_A_SECOND;
  end += 3;
  if (text.charCodeAt(end) !== 0x2e) return { micros, end };
  end += 1;
  for (let place = 100_000; ; place /= 10, end += 1) {
    const digit = text.charCodeAt(end) - 0x30;
    if (!(digit >= 0 && digit <= 9)) return { micros, end };
    if (place < 1) return undefined;
    micros += digit * place;
  }
}

/** NaN where there are no two digits. */
function twoDigits(text: string, index: number): number {
  const tens = text.charCodeAt(index) - 0x30;
  const ones = text.charCodeAt(index + 1) - 0x30;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : Number.NaN;
}

export type FieldKind = 'number' | 'text' | 'date' | 'time' | 'zone' | 'special';
export type TextField = { readonly kind: FieldKind; readonly text: string };

/** More fields than any date has. */
const FIELD_COUNT_MAX = 25;

/** Cuts a date, a time or an interval into fields, in lower case; undefined where a character has no place in one. */
export function fieldsOf(text: string): TextField[] | undefined {
  const fields: TextField[] = [];
  let at = 0;
  const match = (pattern: RegExp): string => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0] ?? '';
    at += found.length;
    return found;
  };
  while (at < text.length) {
    if (match(/[\s]+/y) !== '') continue;
    if (fields.length >= FIELD_COUNT_MAX) return undefined;
    const start = at;
    let kind: FieldKind;
    if (match(/\d+/y) !== '') {
      const next = text[at];
      if (next === ':') {
        kind = 'time';
        match(/:[\d:.]*/y);
      } else if (next === '-' || next === '/' || next === '.') {
        at += 1;
        if (/\d/.test(text[at] ?? '')) {
          kind = next === '.' ? 'number' : 'date';
          match(/\d+/y);
          if (text[at] === next) {
            kind = 'date';
            match(next === '-' ? /[-\d]+/y : next === '/' ? /[/\d]+/y : /[.\d]+/y);
          }
        } else if (next === '.') {
          kind = 'date';
          match(/[A-Za-z\d.]*/y);
        } else {
          kind = 'date';
          match(next === '-' ? /[A-Za-z\d-]*/y : /[A-Za-z\d/]*/y);
        }
      } else kind = 'number';
    } else if (match(/\./y) !== '') {
      match(/\d+/y);
      kind = 'number';
    } else if (match(/[A-Za-z]+/y) !== '') {
      kind = 'text';
      const next = text[at] ?? '';
      const isDate =
        next === '-' || next === '/' || next === '.'
          ? true
          : /[+\d]/.test(next) && !DATE_WORDS.has(text.slice(start, at).toLowerCase().slice(0, 10));
      if (isDate) {
        kind = 'date';
        match(/[-+/_.:A-Za-z\d]+/y);
      }
    } else if (match(/[+-]/y) !== '') {
      const sign = text[start]!;
      match(/\s*/y);
      const body = match(/\d[\d:.-]*/y);
      if (body !== '') {
        fields.push({ kind: 'zone', text: sign + body });
        continue;
      }
      const word = match(/[A-Za-z]+/y);
      if (word === '') return undefined;
      fields.push({ kind: 'special', text: (sign + word).toLowerCase() });
      continue;
    } else if (match(/[!-/:-@[-`{-~]/y) !== '') {
      continue;
    } else return undefined;
    fields.push({ kind, text: text.slice(start, at).toLowerCase() });
  }
  return fields;
}

type Word =
  | { readonly kind: 'month' | 'weekday' | 'dst'; readonly value: number }
  | { readonly kind: 'reserved'; readonly value: Reserved }
  | { readonly kind: 'era'; readonly value: 'ad' | 'bc' }
  | { readonly kind: 'half'; readonly value: 'am' | 'pm' }
  | { readonly kind: 'unit'; readonly value: Prefix }
  | { readonly kind: 'isoTime' | 'ignore' };
type Reserved =
  | 'infinity'
  | '-infinity'
  | 'epoch'
  | 'now'
  | 'today'
  | 'tomorrow'
  | 'yesterday'
  | 'allballs';
/** What the number after a label is: `y2001m02d04`, `J2451187`. */
type Prefix = 'year' | 'month' | 'day' | 'hour' | 'minute' | 'second' | 'julian' | 'time' | 'other';

const DATE_WORDS: ReadonlyMap<string, Word> = new Map<string, Word>([
  ...['infinity', '-infinity', 'epoch', 'now', 'today', 'tomorrow', 'yesterday', 'allballs'].map(
    (word): [string, Word] => [word.slice(0, 10), { kind: 'reserved', value: word as Reserved }],
  ),
  ...MONTH_NAMES.flatMap((word, index): [string, Word][] => [
    [word, { kind: 'month', value: index + 1 }],
    [word.slice(0, 3), { kind: 'month', value: index + 1 }],
  ]),
  ['sept', { kind: 'month', value: 9 }],
  ...['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'].flatMap(
    (word, index): [string, Word][] => [
      [word, { kind: 'weekday', value: index }],
      [word.slice(0, 3), { kind: 'weekday', value: index }],
    ],
  ),
  ['tues', { kind: 'weekday', value: 2 }],
  ['weds', { kind: 'weekday', value: 3 }],
  ['thur', { kind: 'weekday', value: 4 }],
  ['thurs', { kind: 'weekday', value: 4 }],
  ['ad', { kind: 'era', value: 'ad' }],
  ['bc', { kind: 'era', value: 'bc' }],
  ['am', { kind: 'half', value: 'am' }],
  ['pm', { kind: 'half', value: 'pm' }],
  ['at', { kind: 'ignore' }],
  ['on', { kind: 'ignore' }],
  ['t', { kind: 'isoTime' }],
  ['dst', { kind: 'dst', value: 3600 }],
  ['y', { kind: 'unit', value: 'year' }],
  ['m', { kind: 'unit', value: 'month' }],
  ['d', { kind: 'unit', value: 'day' }],
  ['h', { kind: 'unit', value: 'hour' }],
  ['mm', { kind: 'unit', value: 'minute' }],
  ['s', { kind: 'unit', value: 'second' }],
  ['j', { kind: 'unit', value: 'julian' }],
  ['jd', { kind: 'unit', value: 'julian' }],
  ['julian', { kind: 'unit', value: 'julian' }],
  ['dow', { kind: 'unit', value: 'other' }],
  ['doy', { kind: 'unit', value: 'other' }],
  ['isodow', { kind: 'unit', value: 'other' }],
  ['isoyear', { kind: 'unit', value: 'other' }],
]);

/** Which parts of a date or time have been given: each may be given once. */
const YEAR = 1;
const MONTH = 2;
const DAY = 4;
const DATE = YEAR | MONTH | DAY;
const HOUR = 8;
const MINUTE = 16;
const SECOND = 32;
const TIME = HOUR | MINUTE | SECOND;
const ZONE = 64;
const DST = 128;
const DAY_OF_YEAR = 256;
const WEEKDAY = 512;
const HALF = 1024;
const ERA = 2048;
const RESERVED = 4096;

/** A local moment, and the offset it is to be read with. */
type Moment = { readonly day: number; readonly micros: number; readonly offsetSeconds: number };

class Reader {
  readonly #text: string;
  readonly #typeName: string;
  readonly #context: InputContext;
  #seen = 0;
  #year = 0;
  #month = 0;
  #day = 0;
  #yearDay = 0;
  #hour = 0;
  #minute = 0;
  #second = 0;
  #micros = 0;
  #twoDigitYear = false;
  #julian = false;
  #textMonth = false;
  #era: 'ad' | 'bc' | undefined;
  #half: 'am' | 'pm' | undefined;
  #prefix: Prefix | undefined;
  #offset = 0;
  #namedZone: Zone | undefined;

  constructor(text: string, typeName: string, context: InputContext) {
    this.#text = text;
    this.#typeName = typeName;
    this.#context = context;
  }

  /** The moment, or ±Infinity. */
  dateTime(): Moment | number {
    const fields = fieldsOf(this.#text);
    if (fields === undefined) throw this.#badFormat();
    let reserved: Reserved | undefined;
    for (const [index, field] of fields.entries()) {
      const word = this.#read(field, index, fields, false);
      if (word !== undefined) reserved = word;
    }
    this.#finishDate();
    this.#finishHalf();
    if (reserved === 'infinity') return Number.POSITIVE_INFINITY;
    if (reserved === '-infinity') return Number.NEGATIVE_INFINITY;
    if (reserved === 'epoch') return { day: 0, micros: 0, offsetSeconds: 0 };
    if ((this.#seen & DATE) !== DATE) throw this.#badFormat();
    const day = daysFromCivil(this.#year, this.#month, this.#day);
    return { day, micros: this.#timeMicros(), offsetSeconds: this.#offsetOf(day) };
  }

  time(): number {
    const fields = fieldsOf(this.#text);
    if (fields === undefined) throw this.#badFormat();
    for (const [index, field] of fields.entries()) {
      const word = this.#read(field, index, fields, true);
      if (word !== undefined) throw this.#badFormat();
    }
    this.#finishDate();
    this.#finishHalf();
    if (this.#timeOverflows()) throw this.#fieldOverflow();
    if ((this.#seen & TIME) !== TIME) throw this.#badFormat();
    // A zone by name needs a date to have an offset.
    if (this.#namedZone?.fixedOffsetSeconds === undefined && this.#namedZone !== undefined) {
      if ((this.#seen & DATE) !== DATE) throw this.#badFormat();
    }
    return this.#timeMicros();
  }

  #offsetOf(day: number): number {
    const localSeconds = day * 86_400 + Math.floor(this.#timeMicros() / MICROS_A_SECOND);
    if (this.#namedZone !== undefined) {
      if ((this.#seen & DST) !== 0) throw this.#badFormat();
      return localOffsetSeconds(this.#namedZone, localSeconds);
    }
    if ((this.#seen & ZONE) !== 0) return this.#offset;
    if ((this.#seen & DST) !== 0) throw this.#badFormat();
    return localOffsetSeconds(this.#context.zone, localSeconds);
  }

  #timeMicros(): number {
    return (
      this.#hour * MICROS_AN_HOUR +
      this.#minute * MICROS_A_MINUTE +
      this.#second * MICROS_A_SECOND +
      this.#micros
    );
  }

  #read(
    field: TextField,
    index: number,
    fields: readonly TextField[],
    timeOnly: boolean,
  ): Reserved | undefined {
    switch (field.kind) {
      case 'date':
        this.#readDateField(field.text, index, fields, timeOnly);
        return undefined;
      case 'time':
        if (this.#prefix !== undefined && this.#prefix !== 'time') throw this.#badFormat();
        this.#prefix = undefined;
        this.#readTime(field.text);
        return undefined;
      case 'zone':
        this.#offset = this.#zoneOffset(field.text);
        this.#mark(ZONE);
        return undefined;
      case 'number':
        if (this.#prefix !== undefined) this.#readLabelled(field.text);
        else this.#readNumberField(field.text, timeOnly, index, fields);
        return undefined;
      default:
        return this.#readWord(field.text, index, fields, timeOnly);
    }
  }

  #mark(parts: number): void {
    if ((this.#seen & parts) !== 0) throw this.#badFormat();
    this.#seen |= parts;
  }

  #readDateField(
    text: string,
    index: number,
    fields: readonly TextField[],
    timeOnly: boolean,
  ): void {
    if (this.#prefix === 'julian') {
      const match = /^(\d+)(-.*)$/.exec(text);
      if (match === null) throw this.#badFormat();
      this.#setJulian(Number(match[1]));
      this.#offset = this.#zoneOffset(match[2]!);
      this.#prefix = undefined;
      this.#mark(DATE | TIME | ZONE);
      return;
    }
    const isZone = timeOnly
      ? !(
          index === 0 &&
          fields.length >= 2 &&
          (fields[fields.length - 1]!.kind === 'date' || fields[1]!.kind === 'time')
        )
      : this.#prefix !== undefined || (this.#seen & (MONTH | DAY)) === (MONTH | DAY);
    if (!isZone) {
      this.#readDate(text);
      return;
    }
    if (/^\d/.test(text) || this.#prefix !== undefined) {
      if (this.#prefix !== undefined && this.#prefix !== 'time') throw this.#badFormat();
      this.#prefix = undefined;
      const dash = text.indexOf('-');
      if ((this.#seen & TIME) === TIME || dash < 0) throw this.#badFormat();
      this.#offset = this.#zoneOffset(text.slice(dash));
      this.#readRunTogether(text.slice(0, dash), this.#seen | (timeOnly ? DATE : 0));
      this.#mark(ZONE);
      return;
    }
    const zone = findZone(text);
    if (zone === undefined) throw new DbError('22023', `time zone "${text}" not recognized`);
    this.#namedZone = zone;
    this.#mark(ZONE);
  }

  /** Parts divided by punctuation; a month's name settles what the numbers are. */
  #readDate(text: string): void {
    const parts = text.match(/\d+|[a-z]+/g) ?? [];
    if (parts.length === 0 || parts.length > 3 || /[^a-z\d]$/.test(text)) throw this.#badFormat();
    const before = this.#seen;
    const numbers: string[] = [];
    for (const part of parts) {
      if (/\d/.test(part)) {
        numbers.push(part);
        continue;
      }
      const word = DATE_WORDS.get(part.slice(0, 10));
      if (word?.kind === 'ignore') continue;
      if (word?.kind !== 'month') throw this.#badFormat();
      this.#month = word.value;
      this.#textMonth = true;
      this.#mark(MONTH);
    }
    for (const part of numbers) this.#readNumber(part);
    if ((this.#seen & DATE) !== DATE || (before & DATE) !== 0) throw this.#badFormat();
    this.#textMonth = false;
  }

  #readTime(text: string): void {
    const match = /^(\d+):(\d*)(?:(\.\d*)|:(\d*)(\.\d*)?)?$/.exec(text);
    if (match === null) throw this.#badFormat();
    let [hour, minute, second] = [Number(match[1]), Number(match[2]), Number(match[4] ?? 0)];
    let fraction = match[5];
    if (match[3] !== undefined) {
      // Two fields and a fraction are minutes and seconds.
      [hour, minute, second] = [0, hour, minute];
      fraction = match[3];
    }
    const micros = fraction === undefined ? 0 : microsOfFraction(fraction);
    this.#hour = hour;
    this.#minute = minute;
    this.#second = second;
    this.#micros = micros;
    if (minute > 59 || second > 60 || this.#timeOverflows()) throw this.#fieldOverflow();
    this.#mark(TIME);
  }

  #timeOverflows(): boolean {
    return (
      this.#hour > 24 || this.#minute > 59 || this.#second > 60 || this.#timeMicros() > MICROS_A_DAY
    );
  }

  #readNumberField(
    text: string,
    timeOnly: boolean,
    index: number,
    fields: readonly TextField[],
  ): void {
    const point = text.indexOf('.');
    if (timeOnly) {
      if (point >= 0) {
        if (index === 0 && fields.length >= 2 && fields[fields.length - 1]!.kind === 'date')
          this.#readDate(text);
        else if (point > 2) this.#readRunTogether(text, this.#seen | DATE);
        else throw this.#badFormat();
      } else if (text.length > 4) this.#readRunTogether(text, this.#seen | DATE);
      else this.#readNumber(text, DATE);
      return;
    }
    if (point >= 0 && (this.#seen & DATE) === 0) this.#readDate(text);
    else if (point > 2) this.#readRunTogether(text, this.#seen);
    else if (text.length >= 6 && ((this.#seen & DATE) === 0 || (this.#seen & TIME) === 0)) {
      this.#readRunTogether(text, this.#seen);
    } else this.#readNumber(text);
  }

  /** `20260108`, `040506.789`, `0405`: a date unless there is one already (or `assumed`), else a time. */
  #readRunTogether(text: string, assumed: number): void {
    const point = text.indexOf('.');
    const digits = point < 0 ? text : text.slice(0, point);
    if (point >= 0) this.#micros = microsOfFraction(text.slice(point));
    else if ((assumed & DATE) !== DATE && digits.length >= 6) {
      this.#day = Number(digits.slice(-2));
      this.#month = Number(digits.slice(-4, -2));
      this.#year = Number(digits.slice(0, -4));
      this.#twoDigitYear = digits.length === 6;
      this.#mark(DATE);
      return;
    }
    if ((assumed & TIME) === TIME || (digits.length !== 6 && digits.length !== 4))
      throw this.#badFormat();
    this.#hour = Number(digits.slice(0, 2));
    this.#minute = Number(digits.slice(2, 4));
    this.#second = Number(digits.slice(4) || 0);
    this.#mark(TIME);
  }

  /** A number that stands for itself: what it is depends on what is known already. */
  #readNumber(text: string, assumed = 0): void {
    const point = text.indexOf('.');
    if (point > 2) {
      this.#readRunTogether(text, this.#seen | DATE);
      return;
    }
    if (point >= 0) this.#micros = microsOfFraction(text.slice(point));
    const value = Number.parseInt(text, 10);
    if (value > 2_147_483_647) throw this.#fieldOverflow();
    const known = (this.#seen | assumed) & DATE;
    if (text.length === 3 && known === YEAR && value >= 1 && value <= 366) {
      this.#yearDay = value;
      this.#mark(DAY_OF_YEAR | MONTH | DAY);
      return;
    }
    const long = text.length >= 3;
    switch (known) {
      case 0:
        if (long) this.#setYear(value, text);
        else this.#setMonth(value);
        return;
      case YEAR:
        this.#setMonth(value);
        return;
      case MONTH:
        if (this.#textMonth && long) this.#setYear(value, text);
        else this.#setDay(value);
        return;
      case YEAR | MONTH:
        if (this.#textMonth && long && this.#twoDigitYear) {
          // What seemed the year was the day.
          this.#day = this.#year;
          this.#year = value;
          this.#twoDigitYear = false;
          this.#mark(DAY);
        } else this.#setDay(value);
        return;
      case DAY:
        this.#setMonth(value);
        return;
      case MONTH | DAY:
        this.#setYear(value, text);
        return;
      case DATE:
        this.#readRunTogether(text, this.#seen | assumed);
        return;
      default:
        throw this.#badFormat();
    }
  }

  #setYear(value: number, text: string): void {
    this.#year = value;
    this.#twoDigitYear = text.length <= 2;
    this.#mark(YEAR);
  }

  #setMonth(value: number): void {
    this.#month = value;
    this.#mark(MONTH);
  }

  #setDay(value: number): void {
    this.#day = value;
    this.#mark(DAY);
  }

  #setJulian(value: number): void {
    const date = civilFromDays(value - 2_440_588);
    this.#year = date.year;
    this.#month = date.month;
    this.#day = date.day;
    this.#julian = true;
  }

  #readLabelled(text: string): void {
    const prefix = this.#prefix;
    this.#prefix = undefined;
    const value = Number.parseInt(text, 10);
    const point = text.indexOf('.');
    if (value > 2_147_483_647) throw this.#fieldOverflow();
    if (point >= 0 && prefix !== 'julian' && prefix !== 'time' && prefix !== 'second')
      throw this.#badFormat();
    switch (prefix) {
      case 'year':
        this.#year = value;
        this.#mark(YEAR);
        return;
      case 'month':
        if ((this.#seen & MONTH) !== 0 && (this.#seen & HOUR) !== 0) {
          this.#minute = value;
          this.#mark(MINUTE);
        } else this.#setMonth(value);
        return;
      case 'day':
        this.#setDay(value);
        return;
      case 'hour':
        this.#hour = value;
        this.#mark(HOUR);
        return;
      case 'minute':
        this.#minute = value;
        this.#mark(MINUTE);
        return;
      case 'second':
        this.#second = value;
        if (point >= 0) this.#micros = microsOfFraction(text.slice(point));
        this.#mark(SECOND);
        return;
      case 'julian':
        this.#setJulian(value);
        this.#mark(DATE);
        if (point >= 0) {
          this.#setTime(Number(`0${text.slice(point)}`) * MICROS_A_DAY);
          this.#mark(TIME);
        }
        return;
      case 'time':
        this.#readRunTogether(text, this.#seen | DATE);
        return;
      default:
        throw this.#badFormat();
    }
  }

  #setTime(micros: number): void {
    const whole = Math.trunc(micros);
    this.#hour = Math.trunc(whole / MICROS_AN_HOUR);
    this.#minute = Math.trunc((whole % MICROS_AN_HOUR) / MICROS_A_MINUTE);
    this.#second = Math.trunc((whole % MICROS_A_MINUTE) / MICROS_A_SECOND);
    this.#micros = whole % MICROS_A_SECOND;
  }

  #readWord(
    text: string,
    index: number,
    fields: readonly TextField[],
    timeOnly: boolean,
  ): Reserved | undefined {
    const abbreviation = zoneAbbreviationSeconds(text);
    if (abbreviation !== undefined) {
      this.#offset += abbreviation;
      this.#mark(ZONE);
      return undefined;
    }
    const word = DATE_WORDS.get(text.slice(0, 10));
    if (word === undefined) {
      const zone = findZone(text);
      if (zone === undefined) throw this.#badFormat();
      this.#namedZone = zone;
      this.#mark(ZONE);
      return undefined;
    }
    switch (word.kind) {
      case 'ignore':
        return undefined;
      case 'month':
        // `08 Jan 1999`: the number that seemed a month is the day.
        if ((this.#seen & MONTH) !== 0 && !this.#textMonth && (this.#seen & DAY) === 0) {
          this.#day = this.#month;
          this.#seen |= DAY;
        } else this.#mark(MONTH);
        this.#textMonth = true;
        this.#month = word.value;
        return undefined;
      case 'weekday':
        this.#mark(WEEKDAY);
        return undefined;
      case 'half':
        this.#half = word.value;
        this.#mark(HALF);
        return undefined;
      case 'era':
        this.#era = word.value;
        this.#mark(ERA);
        return undefined;
      case 'dst':
        this.#offset += word.value;
        this.#mark(DST);
        return undefined;
      case 'unit':
        this.#prefix = word.value;
        return undefined;
      case 'isoTime': {
        const next = fields[index + 1]?.kind;
        if (!timeOnly && (this.#seen & DATE) !== DATE) throw this.#badFormat();
        if (next !== 'number' && next !== 'time' && next !== 'date') throw this.#badFormat();
        this.#prefix = 'time';
        return undefined;
      }
      case 'reserved':
        return this.#readReserved(word.value, timeOnly);
    }
  }

  #readReserved(word: Reserved, timeOnly: boolean): Reserved | undefined {
    switch (word) {
      case 'now': {
        const local = timestamptzToTimestamp(this.#context.nowMicros, this.#context.zone);
        const day = dayOf(local);
        this.#setTime(microsOfDay(local, day));
        if (timeOnly) {
          this.#mark(TIME);
          return undefined;
        }
        this.#setDate(day);
        this.#offset = localOffsetOfNow(this.#context);
        this.#mark(DATE | TIME | ZONE);
        return undefined;
      }
      case 'today':
      case 'tomorrow':
      case 'yesterday': {
        if (timeOnly) throw this.#badFormat();
        const shift = word === 'today' ? 0 : word === 'tomorrow' ? 1 : -1;
        this.#setDate(
          dayOf(timestamptzToTimestamp(this.#context.nowMicros, this.#context.zone)) + shift,
        );
        this.#mark(DATE);
        return undefined;
      }
      case 'allballs':
        this.#mark(TIME | ZONE);
        return undefined;
      default:
        if (timeOnly) throw this.#badFormat();
        this.#mark(RESERVED);
        return word;
    }
  }

  #setDate(day: number): void {
    const date = civilFromDays(day);
    this.#year = date.year;
    this.#month = date.month;
    this.#day = date.day;
    // These are astronomical years already.
    this.#julian = true;
  }

  #finishDate(): void {
    if ((this.#seen & YEAR) !== 0 && !this.#julian) {
      if (this.#era === 'bc') {
        if (this.#year <= 0) throw this.#fieldOverflow();
        this.#year = 1 - this.#year;
      } else if (this.#twoDigitYear) {
        if (this.#year < 70) this.#year += 2000;
        else if (this.#year < 100) this.#year += 1900;
      } else if (this.#year <= 0) throw this.#fieldOverflow();
    }
    if ((this.#seen & DAY_OF_YEAR) !== 0) {
      const date = civilFromDays(daysFromCivil(this.#year, 1, 1) + this.#yearDay - 1);
      this.#year = date.year;
      this.#month = date.month;
      this.#day = date.day;
    }
    if ((this.#seen & MONTH) !== 0 && !(this.#month >= 1 && this.#month <= 12))
      throw this.#fieldOverflow(true);
    if ((this.#seen & DAY) !== 0 && !(this.#day >= 1 && this.#day <= 31))
      throw this.#fieldOverflow(true);
    if ((this.#seen & DATE) === DATE && this.#day > daysInMonth(this.#year, this.#month)) {
      throw this.#fieldOverflow();
    }
  }

  #finishHalf(): void {
    if (this.#half === undefined) return;
    if (this.#hour > 12) throw this.#fieldOverflow();
    if (this.#half === 'am') this.#hour %= 12;
    else if (this.#hour !== 12) this.#hour += 12;
  }

  /** `+02`, `-0230`, `+02:30:15`: seconds east. */
  #zoneOffset(text: string): number {
    const match = /^([+-])(\d+)(?::(\d*)(?::(\d*))?)?$/.exec(text);
    if (match === null) throw this.#badFormat();
    let hours = Number(match[2]);
    let minutes = Number(match[3] ?? 0);
    const seconds = Number(match[4] ?? 0);
    if (match[3] === undefined && text.length > 3) {
      minutes = hours % 100;
      hours = Math.floor(hours / 100);
    }
    if (hours > 15 || minutes > 59 || seconds > 59) {
      throw new DbError('22009', `time zone displacement out of range: "${this.#text}"`);
    }
    const offset = hours * 3600 + minutes * 60 + seconds;
    return match[1] === '-' ? -offset : offset;
  }

  #badFormat(): DbError {
    return new DbError(
      '22007',
      `invalid input syntax for type ${this.#typeName}: "${this.#text}"`,
      {
        hint: `Write it as ${EXAMPLES[this.#typeName] ?? "'2026-11-22 10:00:00'"}.`,
      },
    );
  }

  #fieldOverflow(order = false): DbError {
    return new DbError('22008', `date/time field value out of range: "${this.#text}"`, {
      hint: order
        ? 'Write it as year, month and day, as 2026-11-22; without a year at its beginning a date is read as month, day, year.'
        : undefined,
    });
  }
}

const EXAMPLES: Readonly<Record<string, string>> = {
  date: "'2026-11-22'",
  time: "'10:00:00'",
  timestamp: "'2026-11-22 10:00:00'",
  'timestamp with time zone': "'2026-11-22 10:00:00+00'",
};

function localOffsetOfNow(context: InputContext): number {
  const local = timestamptzToTimestamp(context.nowMicros, context.zone);
  return Number(BigInt(local) - BigInt(context.nowMicros)) / MICROS_A_SECOND;
}

/** `.5` and longer, rounded to microseconds; a point alone is zero. */
export function microsOfFraction(text: string): number {
  return text === '.' ? 0 : roundHalfEven(Number(`0${text}`) * MICROS_A_SECOND);
}

/** PostgreSQL's default abbreviations, with minutes east of Greenwich. */
const ZONE_ABBREVIATIONS: ReadonlyMap<string, number> = new Map(
  `
  ACDT 630, ACSST 630, ACST 570, ACT -300, ACWST 525, ADT -180, AEDT 660, AESST 660, AEST 600, AFT
  270, AKDT -480, AKST -540, ALMST 420, ALMT 360, AMST 240, AMT -240, ANAST 720, ANAT 720, ARST
  -180, ART -180, AST -240, AWSST 540, AWST 480, AZOST 0, AZOT -60, AZST 240, AZT 240, BDST 120,
  BDT 360, BNT 480, BORT 480, BOT -240, BRA -180, BRST -120, BRT -180, BST 60, BTT 360, CADT 630,
  CAST 570, CCT 480, CDT -300, CEST 120, CET 60, CETDST 120, CHADT 825, CHAST 765, CHUT 600, CKT
  -600, CLST -180, CLT -180, COT -300, CST -360, CXT 420, DAVT 420, DDUT 600, EASST -300, EAST
  -300, EAT 180, EDT -240, EEST 180, EET 120, EETDST 180, EGST 0, EGT -60, EST -300, FET 180, FJST
  780, FJT 720, FKST -180, FKT -180, FNST -60, FNT -120, GALT -360, GAMT -540, GEST 240, GET 240,
  GFT -180, GILT 720, GMT 0, GYT -240, HKT 480, HST -600, ICT 420, IDT 180, IOT 360, IRKST 480,
  IRKT 480, IRT 210, IST 120, JAYT 540, JST 540, KDT 600, KGST 360, KGT 360, KOST 660, KRAST 420,
  KRAT 420, KST 540, LHDT 660, LHST 630, LIGT 600, LINT 840, LKT 330, MAGST 660, MAGT 660, MART
  -570, MAWT 300, MDT -360, MEST 120, MESZ 120, MET 60, METDST 120, MEZ 60, MHT 720, MMT 390, MPT
  600, MSD 240, MSK 180, MST -420, MUST 300, MUT 240, MVT 300, MYT 480, NDT -150, NFT -210, NOVST
  420, NOVT 420, NPT 345, NST -210, NUT -660, NZDT 780, NZST 720, NZT 720, OMSST 360, OMST 360,
  PDT -420, PET -300, PETST 720, PETT 720, PGT 600, PHT 480, PKST 360, PKT 300, PMDT -120, PMST
  -180, PONT 660, PST -480, PWT 540, PYST -180, PYT -180, RET 240, SADT 630, SAST 120, SCT 240,
  SGT 480, TAHT -600, TFT 300, TJT 300, TKT 780, TMT 300, TOT 780, TRUT 600, TVT 720, UCT 0, ULAST
  540, ULAT 480, UT 0, UTC 0, UYST -120, UYT -180, UZST 360, UZT 300, VET -240, VLAST 600, VLAT
  600, VOLT 180, VUT 660, WADT 480, WAKT 720, WAST 420, WAT 60, WDT 540, WET 0, WETDST 60, WFT
  720, WGST -120, WGT -180, XJT 360, YAKST 540, YAKT 540, YAPT 600, YEKST 360, YEKT 300, Z 0, ZULU
  0
`
    .trim()
    .split(/,\s*/)
    .map((entry): [string, number] => {
      const [name = '', minutes] = entry.split(' ');
      return [name.toLowerCase(), Number(minutes)];
    }),
);

/** Seconds east of Greenwich; the abbreviation is in lower case. */
export function zoneAbbreviationSeconds(abbreviation: string): number | undefined {
  const minutes = ZONE_ABBREVIATIONS.get(abbreviation);
  return minutes === undefined ? undefined : minutes * 60;
}
