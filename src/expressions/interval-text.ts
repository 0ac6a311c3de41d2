import { DbError } from '../base/errors.ts';
import { Interval } from '../columns/values.ts';
import { fieldsOf, microsOfFraction } from './datetime-input.ts';
import type { TextField } from './datetime-input.ts';
import {
  intervalOf,
  intervalOutOfRange,
  MICROS_A_DAY,
  MICROS_A_MINUTE,
  MICROS_A_SECOND,
  MICROS_AN_HOUR,
  roundHalfEven,
} from './datetime.ts';

/** The fields of `interval day to second`: only the last one matters to what is kept. */
export type IntervalField = 'year' | 'month' | 'day' | 'hour' | 'minute' | 'second';

/**
 * Reads an interval as PostgreSQL 15 does with IntervalStyle postgres: `1 day 02:03`, `1-2`, `@ 3 weeks ago`,
 * `P1DT2H`, `1.5 months`. `fields` are those of `interval '…' hour to minute`: the last one is the unit of a bare
 * number, and what is smaller is cut off; `precision` rounds the seconds. Errors: 22007, 22015 and 22008.
 */
export function intervalFromText(
  text: string,
  fields: readonly IntervalField[] = [],
  precision?: number,
): Interval {
  const parts = new Parts(text);
  if (!readIsoDuration(text, parts) && !readVerbose(text, fields, parts)) {
    throw new DbError('22007', `invalid input syntax for type interval: "${text}"`, {
      hint: "Write it as '1 day 02:03:04' or 'P1DT2H3M4S'.",
    });
  }
  return fitInterval(intervalOf(parts.months, parts.days, parts.micros), fields, precision);
}

/** Cuts off what is smaller than the last of `fields`, and rounds the seconds to `precision` places. */
export function fitInterval(
  span: Interval,
  fields: readonly IntervalField[],
  precision?: number,
): Interval {
  let { months, days, micros } = span;
  switch (fields[fields.length - 1]) {
    case 'year':
      months -= months % 12;
      days = 0;
      micros = 0;
      break;
    case 'month':
      days = 0;
      micros = 0;
      break;
    case 'day':
      micros = 0;
      break;
    case 'hour':
      micros -= micros % MICROS_AN_HOUR;
      break;
    case 'minute':
      micros -= micros % MICROS_A_MINUTE;
      break;
    default:
      break;
  }
  if (precision !== undefined) micros = roundMicros(micros, precision);
  return intervalOf(months, days, micros);
}

/** Half away from zero, to `precision` places of a second. */
export function roundMicros(micros: number, precision: number): number {
  const unit = 10 ** Math.max(0, 6 - precision);
  if (unit === 1) return micros;
  const half = unit / 2;
  const magnitude = Math.abs(micros) + half;
  const rounded = magnitude - (magnitude % unit);
  return (micros < 0 ? -rounded : rounded) + 0;
}

/** Collects months, days and microseconds, each within its range (22015). */
class Parts {
  readonly #text: string;
  months = 0;
  days = 0;
  micros = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** `whole` and `fraction` of a unit. Fractions of months go to days, of days to time. */
  add(unit: IntervalUnit, whole: number, fraction: number): void {
    switch (unit) {
      case 'microsecond':
        this.#addMicros(whole, fraction, 1);
        break;
      case 'millisecond':
        this.#addMicros(whole, fraction, 1000);
        break;
      case 'second':
        this.#addMicros(whole, fraction, MICROS_A_SECOND);
        break;
      case 'minute':
        this.#addMicros(whole, fraction, MICROS_A_MINUTE);
        break;
      case 'hour':
        this.#addMicros(whole, fraction, MICROS_AN_HOUR);
        break;
      case 'day':
        this.days += whole;
        this.#addMicros(0, fraction, MICROS_A_DAY);
        break;
      case 'week':
        this.days += whole * 7;
        this.#addFractionOfDays(fraction * 7);
        break;
      case 'month':
        this.months += whole;
        this.#addFractionOfDays(fraction * 30);
        break;
      default: {
        const years = YEARS[unit];
        this.months += whole * years * 12 + roundHalfEven(fraction * years * 12);
      }
    }
    if (!(Math.abs(this.months) <= 2 ** 31 * 12) || !(Math.abs(this.days) <= 2 ** 31))
      throw this.overflow();
    if (!Number.isSafeInteger(this.micros)) throw intervalOutOfRange();
  }

  overflow(): DbError {
    return new DbError('22015', `interval field value out of range: "${this.#text}"`);
  }

  negate(): void {
    this.months = -this.months;
    this.days = -this.days;
    this.micros = -this.micros;
  }

  #addMicros(whole: number, fraction: number, scale: number): void {
    const exact = fraction * scale;
    const truncated = Math.trunc(exact);
    const rest = exact - truncated;
    this.micros += whole * scale + truncated + (rest > 0.5 ? 1 : rest < -0.5 ? -1 : 0);
  }

  #addFractionOfDays(days: number): void {
    const whole = Math.trunc(days);
    this.days += whole;
    this.#addMicros(0, days - whole, MICROS_A_DAY);
  }
}

export type IntervalUnit =
  | 'microsecond'
  | 'millisecond'
  | 'second'
  | 'minute'
  | 'hour'
  | 'day'
  | 'week'
  | 'month'
  | 'year'
  | 'decade'
  | 'century'
  | 'millennium';

const YEARS = { year: 1, decade: 10, century: 100, millennium: 1000 } as const;

/** PostgreSQL's words, cut to ten letters as it compares them. */
const UNIT_WORDS: ReadonlyMap<string, IntervalUnit> = new Map(
  (
    [
      ['microsecond', 'us usec usecs useconds microsecon'],
      ['millisecond', 'ms msec msecs mseconds millisecon'],
      ['second', 's sec secs second seconds'],
      ['minute', 'm min mins minute minutes'],
      ['hour', 'h hr hrs hour hours'],
      ['day', 'd day days'],
      ['week', 'w week weeks'],
      ['month', 'mon mons month months'],
      ['year', 'y yr yrs year years'],
      ['decade', 'dec decs decade decades'],
      ['century', 'c cent century centuries'],
      ['millennium', 'mil mils millennia millennium'],
    ] as const
  ).flatMap(([unit, words]) =>
    words.split(' ').map((word): [string, IntervalUnit] => [word, unit]),
  ),
);

/** From the right to the left, since a unit follows its number. False where the text is no interval of this kind. */
function readVerbose(text: string, rangeFields: readonly IntervalField[], parts: Parts): boolean {
  const fields = fieldsOf(text);
  if (fields === undefined) return false;
  const seen = new Set<string>();
  let unit: IntervalUnit | undefined;
  let ago = false;
  for (let index = fields.length - 1; index >= 0; index -= 1) {
    const field = fields[index]!;
    if (field.kind === 'text' || field.kind === 'special') {
      const word = field.text.slice(0, 10);
      if (word === 'ago') {
        ago = true;
        continue;
      }
      unit = UNIT_WORDS.get(word);
      if (unit === undefined) return false;
      continue;
    }
    const time = timeField(field, rangeFields);
    if (time !== undefined) {
      if (time === 'overflow') throw parts.overflow();
      if (['hour', 'minute', 'second'].some((part) => seen.has(part))) return false;
      for (const part of ['hour', 'minute', 'second']) seen.add(part);
      parts.micros += time;
      unit = 'day';
      continue;
    }
    if (field.kind === 'time') return false;
    unit ??= rangeFields[rangeFields.length - 1] ?? 'second';
    const read = readNumber(field.text, unit, parts);
    if (read === undefined) return false;
    for (const part of read.parts) {
      if (seen.has(part)) return false;
      seen.add(part);
    }
    parts.add(read.unit, read.whole, read.fraction);
    // `1 02:03` and `1 5 hours`: what stands before hours are days.
    unit = read.unit === 'hour' ? 'day' : read.unit;
  }
  if (seen.size === 0) return false;
  if (ago) parts.negate();
  return true;
}

/** Microseconds of `[+-]hh:mm[:ss[.f]]`; undefined where the field is none. */
function timeField(
  field: TextField,
  rangeFields: readonly IntervalField[],
): number | 'overflow' | undefined {
  if (field.kind !== 'time' && !(field.kind === 'zone' && field.text.includes(':')))
    return undefined;
  const negative = field.text.startsWith('-');
  const match = /^[+-]?(\d+):(\d*)(?:(\.\d*)|:(\d*)(\.\d*)?)?$/.exec(field.text);
  if (match === null) return undefined;
  let [hour, minute, second] = [Number(match[1]), Number(match[2]), Number(match[4] ?? 0)];
  const fraction = match[3] ?? match[5];
  const minutesToSeconds =
    match[3] !== undefined ||
    (match[4] === undefined && rangeFields.length === 2 && rangeFields[0] === 'minute');
  if (minutesToSeconds) [hour, minute, second] = [0, hour, minute];
  if (minute > 59 || second > 60) return 'overflow';
  const micros =
    hour * MICROS_AN_HOUR +
    minute * MICROS_A_MINUTE +
    second * MICROS_A_SECOND +
    (fraction === undefined ? 0 : microsOfFraction(fraction));
  if (!Number.isSafeInteger(micros)) return 'overflow';
  return negative ? -micros : micros;
}

type ReadNumber = {
  readonly unit: IntervalUnit;
  readonly whole: number;
  readonly fraction: number;
  readonly parts: readonly string[];
};

function readNumber(text: string, unit: IntervalUnit, parts: Parts): ReadNumber | undefined {
  const yearsMonths = /^([+-]?)(\d+)-(\d+)$/.exec(text);
  if (yearsMonths !== null) {
    const sign = yearsMonths[1] === '-' ? -1 : 1;
    const months = Number(yearsMonths[3]);
    if (months > 11) throw parts.overflow();
    return {
      unit: 'month',
      whole: sign * (Number(yearsMonths[2]) * 12 + months),
      fraction: 0,
      parts: ['month'],
    };
  }
  const match = /^([+-]?)(\d*)(\.\d*)?$/.exec(text);
  if (match === null) return undefined;
  const sign = match[1] === '-' ? -1 : 1;
  const whole = Number(match[2]);
  const fraction = match[3] === undefined || match[3] === '.' ? 0 : Number(`0${match[3]}`);
  if (whole >= 2 ** 63) throw parts.overflow();
  return {
    unit,
    whole: sign * whole,
    fraction: sign * fraction,
    // Seconds with a fraction are milliseconds and microseconds as well.
    parts: unit === 'second' && fraction !== 0 ? ['second', 'millisecond', 'microsecond'] : [unit],
  };
}

/** `P1Y2M3W4DT5H6M7.5S`, `P0001-02-03T04:05:06`, `P00010203T040506`. False where the text is none. */
function readIsoDuration(text: string, parts: Parts): boolean {
  if (text.length < 2 || text[0] !== 'P') return false;
  const numbers = String.raw`([-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)`;
  const add = (unit: IntervalUnit, number: string): void => {
    const value = Number(number);
    if (Math.abs(value) > 1e15) throw parts.overflow();
    const whole = Math.trunc(value);
    parts.add(unit, whole, value - whole);
  };
  const [date = '', time, ...rest] = text.slice(1).split('T');
  if (rest.length > 0) return false;
  const alternativeDate = /^(\d+)-(\d+)(?:-(\d+))?$/.exec(date);
  const basicDate = /^\d{8}$/.test(date);
  const labelled = new RegExp(`^(?:${numbers}[YMWD])*$`);
  const labelledTime = new RegExp(`^(?:${numbers}[HMS])*$`);
  const clock = new RegExp(`^${numbers}(?::${numbers}(?::${numbers})?)?$`).exec(time ?? '');
  const basicTime = /^(\d{2})(\d{2})(\d{2}(?:\.\d*)?)$/.exec(time ?? '');
  if (
    !basicDate &&
    alternativeDate === null &&
    !labelled.test(date) &&
    !new RegExp(`^${numbers}$`).test(date)
  ) {
    return false;
  }
  if (time !== undefined && basicTime === null && clock === null && !labelledTime.test(time))
    return false;
  if (basicDate) {
    add('year', date.slice(0, 4));
    add('month', date.slice(4, 6));
    add('day', date.slice(6));
  } else if (alternativeDate !== null) {
    add('year', alternativeDate[1]!);
    add('month', alternativeDate[2]!);
    if (alternativeDate[3] !== undefined) add('day', alternativeDate[3]);
  } else if (new RegExp(`^${numbers}$`).test(date)) {
    add('year', date);
  } else {
    for (const [, number = '', letter = ''] of date.matchAll(
      new RegExp(`${numbers}([YMWD])`, 'g'),
    )) {
      add(({ Y: 'year', M: 'month', W: 'week', D: 'day' } as const)[letter as 'Y'], number);
    }
  }
  if (time === undefined || time === '') return true;
  if (basicTime !== null) {
    add('hour', basicTime[1]!);
    add('minute', basicTime[2]!);
    add('second', basicTime[3]!);
  } else if (clock !== null) {
    add('hour', clock[1]!);
    if (clock[2] !== undefined) add('minute', clock[2]);
    if (clock[3] !== undefined) add('second', clock[3]);
  } else {
    for (const [, number = '', letter = ''] of time.matchAll(
      new RegExp(`${numbers}([HMS])`, 'g'),
    )) {
      add(({ H: 'hour', M: 'minute', S: 'second' } as const)[letter as 'H'], number);
    }
  }
  return true;
}

/** IntervalStyle postgres: `1 year 2 mons -3 days +04:05:06.7`. */
export function intervalToText(span: Interval): string {
  const years = Math.trunc(span.months / 12);
  const months = span.months % 12;
  let text = '';
  // A sign is shown after a negative field, so that the next one is not taken for negative too.
  let afterNegative = false;
  const part = (value: number, name: string): void => {
    if (value === 0) return;
    text += `${text === '' ? '' : ' '}${afterNegative && value > 0 ? '+' : ''}${value} ${name}${value === 1 ? '' : 's'}`;
    afterNegative = value < 0;
  };
  part(years, 'year');
  part(months, 'mon');
  part(span.days, 'day');
  if (text !== '' && span.micros === 0) return text;
  const sign = span.micros < 0 ? '-' : afterNegative ? '+' : '';
  return `${text === '' ? '' : `${text} `}${sign}${clockText(Math.abs(span.micros))}`;
}

/** `hh:mm:ss[.ffffff]` with as many hours as there are; not negative. */
export function clockText(micros: number): string {
  const hours = Math.floor(micros / MICROS_AN_HOUR);
  const minutes = Math.floor((micros % MICROS_AN_HOUR) / MICROS_A_MINUTE);
  const seconds = Math.floor((micros % MICROS_A_MINUTE) / MICROS_A_SECOND);
  return `${two(hours)}:${two(minutes)}:${two(seconds)}${fractionText(micros % MICROS_A_SECOND)}`;
}

/** `.000123` without zeros at the end; nothing for zero. */
export function fractionText(micros: number): string {
  if (micros === 0) return '';
  let digits = micros.toString().padStart(6, '0');
  while (digits.endsWith('0')) digits = digits.slice(0, -1);
  return `.${digits}`;
}

export function two(value: number): string {
  return value < 10 ? `0${value}` : `${value}`;
}

/** ISO 8601: `P1Y2M3DT4H5M6.7S`, `PT0S`; each part has its own sign, as IntervalStyle iso_8601 writes it. */
export function intervalToIso(span: Interval): string {
  const part = (value: number, letter: string): string => (value === 0 ? '' : `${value}${letter}`);
  const date =
    part(Math.trunc(span.months / 12), 'Y') + part(span.months % 12, 'M') + part(span.days, 'D');
  const micros = Math.abs(span.micros);
  const sign = span.micros < 0 ? '-' : '';
  const signed = (value: number, letter: string): string =>
    value === 0 ? '' : `${sign}${value}${letter}`;
  const seconds = Math.floor((micros % MICROS_A_MINUTE) / MICROS_A_SECOND);
  const fraction = fractionText(micros % MICROS_A_SECOND);
  const time =
    signed(Math.floor(micros / MICROS_AN_HOUR), 'H') +
    signed(Math.floor((micros % MICROS_AN_HOUR) / MICROS_A_MINUTE), 'M') +
    (seconds === 0 && fraction === '' ? '' : `${sign}${seconds}${fraction}S`);
  return date === '' && time === '' ? 'PT0S' : `P${date}${time === '' ? '' : `T${time}`}`;
}
