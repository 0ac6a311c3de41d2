import { DbError } from '../base/errors.ts';
import { valueText } from '../base/value-text.ts';
import { nearestOf } from '../base/nearest.ts';
import type { BusinessDays } from './business-days.ts';
import { civilFromDays, daysFromCivil, MONTH_NAMES } from './civil.ts';
import type { RetailYears } from './retail.ts';

/** Whole days and more: their windows begin at midnight. */
export type CivilUnitName =
  | 'day'
  | 'week'
  | 'isoWeek'
  | 'month'
  | 'quarter'
  | 'year'
  | 'fiscalQuarter'
  | 'fiscalYear'
  | 'businessDay'
  | 'retailWeek'
  | 'retailPeriod'
  | 'retailQuarter'
  | 'retailYear';

export type UnitName = 'second' | 'minute' | '15min' | '30min' | 'hour' | CivilUnitName;

/** A number of units, as it was written: `15min`, `7 days`, `fiscalQuarter`. */
export type Amount =
  | { readonly kind: 'clock'; readonly count: number; readonly seconds: number }
  | { readonly kind: 'civil'; readonly count: number; readonly unit: CivilUnitName };

const CLOCK_SECONDS: Readonly<Record<string, number>> = {
  s: 1,
  sec: 1,
  second: 1,
  m: 60,
  min: 60,
  minute: 60,
  h: 3600,
  hour: 3600,
};

const CIVIL_WORDS: Readonly<Record<string, CivilUnitName>> = {
  d: 'day',
  day: 'day',
  w: 'week',
  week: 'week',
  isoweek: 'isoWeek',
  mo: 'month',
  month: 'month',
  q: 'quarter',
  quarter: 'quarter',
  y: 'year',
  year: 'year',
  fiscalquarter: 'fiscalQuarter',
  fiscalyear: 'fiscalYear',
  businessday: 'businessDay',
  retailweek: 'retailWeek',
  retailperiod: 'retailPeriod',
  retailquarter: 'retailQuarter',
  retailyear: 'retailYear',
};

/** Nobody writes longer ones; blanks may belong to each of several parts, and are tried in every one. */
const AMOUNT_LENGTH_MAX = 100;

/** `7 days`, `24h`, `15min`, `fiscal quarter`: a number, which may be left out, and a unit in singular or plural. */
export function parseAmount(text: string, field: string): Amount {
  const match =
    typeof text === 'string' && text.length <= AMOUNT_LENGTH_MAX
      ? /^\s*(\d{1,9})?\s*([A-Za-z][A-Za-z _]*?)\s*$/.exec(text)
      : null;
  if (match === null) throw notAnAmount(text, field);
  const count = match[1] === undefined ? 1 : Number(match[1]);
  if (count === 0)
    throw new DbError('22023', `"${text}" is no length of time: it is empty`, {
      field,
      hint: "Write a number from 1, such as '7 days'.",
    });
  // Grafana's and PostgreSQL's months and minutes differ in case alone.
  const word = match[2] === 'M' ? 'month' : match[2]!.toLowerCase().replaceAll(/[ _]/g, '');
  // Not the plural of a minute.
  if (word === 'ms' || word === 'msec' || word.startsWith('milli'))
    throw new DbError('22023', `"${text}" is in milliseconds`, {
      field,
      hint: "Write whole seconds, such as '5s'.",
    });
  for (const each of [word, word.endsWith('s') ? word.slice(0, -1) : word]) {
    if (Object.hasOwn(CLOCK_SECONDS, each))
      return { kind: 'clock', count, seconds: CLOCK_SECONDS[each]! };
    if (Object.hasOwn(CIVIL_WORDS, each)) return { kind: 'civil', count, unit: CIVIL_WORDS[each]! };
  }
  throw notAnAmount(text, field, word);
}

function notAnAmount(text: unknown, field: string, word?: string): DbError {
  const words = [...Object.keys(CLOCK_SECONDS), ...Object.values(CIVIL_WORDS)].filter(
    (each) => each.length > 2,
  );
  const nearest = word === undefined ? undefined : nearestOf(word.replace(/s$/, ''), words);
  return new DbError('22023', `"${valueText(text)}" is no unit or length of time`, {
    field,
    hint:
      nearest === undefined
        ? "Write it like '15min', 'hour', '7 days', 'month' or 'fiscalQuarter'."
        : `Did you mean "${nearest}"?`,
  });
}

/** The days a unit's windows begin with. */
export type CivilUnit = {
  readonly name: string;
  /** The first day of the window that `day` lies in. */
  floor(day: number): number;
  /** From one first day, `count` windows on, or back where it is negative. */
  shift(start: number, count: number): number;
};

export type UnitContext = {
  /** ISO weekday. */
  readonly weekStart: number;
  /** 1 … 12. */
  readonly fiscalYearStart: number;
  readonly business: BusinessDays;
  readonly retail: RetailYears | undefined;
};

/** 2000-01-03, a Monday: where multiples of days and weeks are counted from, as in TimescaleDB. */
const MULTIPLE_ORIGIN = 10_959;

export function civilUnit(
  { unit, count }: Extract<Amount, { kind: 'civil' }>,
  context: UnitContext,
  field: string,
): CivilUnit {
  const name = count === 1 ? unit : `${count} ${unit}s`;
  switch (unit) {
    case 'day':
      return everyDays(name, count, MULTIPLE_ORIGIN);
    case 'week':
      return everyDays(name, 7 * count, MULTIPLE_ORIGIN - ((8 - context.weekStart) % 7));
    case 'isoWeek':
      return everyDays(name, 7 * count, MULTIPLE_ORIGIN);
    case 'month':
      return everyMonths(name, count, 0, field);
    case 'quarter':
      return everyMonths(name, 3 * count, 0, field);
    case 'year':
      return everyMonths(name, 12 * count, 0, field);
    case 'fiscalQuarter':
      return everyMonths(name, 3 * count, context.fiscalYearStart - 1, field);
    case 'fiscalYear':
      return everyMonths(name, 12 * count, context.fiscalYearStart - 1, field);
    case 'businessDay':
      onlyOne(count, unit, field);
      return {
        name,
        floor: (day) => context.business.nearest(day, -1),
        shift: (start, by) => context.business.plus(start, by),
      };
    case 'retailWeek':
    case 'retailPeriod':
    case 'retailQuarter':
    case 'retailYear': {
      onlyOne(count, unit, field);
      const { retail } = context;
      if (retail === undefined)
        throw new DbError('22023', `the calendar has no retail year, which "${unit}" needs`, {
          field,
          hint: "Give the calendar one: { retail: { pattern: '4-5-4', ends: 'nearest', weekday: 'saturday', month: 1 } }.",
        });
      return retailUnit(name, unit, retail);
    }
  }
}

function retailUnit(
  name: string,
  unit: 'retailWeek' | 'retailPeriod' | 'retailQuarter' | 'retailYear',
  years: RetailYears,
): CivilUnit {
  if (unit === 'retailWeek')
    return { name, floor: (day) => years.week(day).start, shift: (start, by) => start + 7 * by };
  const around = (day: number): { readonly start: number; readonly end: number } =>
    unit === 'retailPeriod'
      ? years.period(day)
      : unit === 'retailQuarter'
        ? years.quarter(day)
        : years.of(day);
  const perYear = unit === 'retailPeriod' ? 12 : unit === 'retailQuarter' ? 4 : 1;
  return {
    name,
    floor: (day) => around(day).start,
    shift: (start, by) => {
      const year = years.of(start);
      const each = 12 / perYear;
      const index = year.periods.indexOf(start) / each + by;
      const there = years.endingIn(year.endsIn + Math.floor(index / perYear));
      return there.periods[(((index % perYear) + perYear) % perYear) * each]!;
    },
  };
}

function everyDays(name: string, days: number, origin: number): CivilUnit {
  return {
    name,
    floor: (day) => day - ((((day - origin) % days) + days) % days),
    shift: (start, by) => start + by * days,
  };
}

/** Windows of `months` months, of which one begins with month `first` (from 0) of the year 0. */
function everyMonths(name: string, months: number, first: number, field: string): CivilUnit {
  if (12 % months !== 0 && months % 12 !== 0)
    throw new DbError('22023', `windows of ${months} months do not make up years`, {
      field,
      hint: 'Use 1, 2, 3, 4 or 6 months, or whole years.',
    });
  const startOf = (index: number): number =>
    daysFromCivil(Math.floor(index / 12), (((index % 12) + 12) % 12) + 1, 1);
  const indexOf = (day: number): number => {
    const { year, month } = civilFromDays(day);
    return year * 12 + month - 1;
  };
  return {
    name,
    floor: (day) => {
      const index = indexOf(day);
      return startOf(index - ((((index - first) % months) + months) % months));
    },
    shift: (start, by) => startOf(indexOf(start) + by * months),
  };
}

function onlyOne(count: number, unit: string, field: string): void {
  if (count !== 1)
    throw new DbError('22023', `windows of ${count} ${unit}s have no place to begin`, {
      field,
      hint: `Use '${unit}', or days.`,
    });
}

/** The window width of a clock unit, which must divide the day: windows begin anew at midnight. */
export function clockSeconds(
  { count, seconds }: Extract<Amount, { kind: 'clock' }>,
  field: string,
): number {
  const width = count * seconds;
  if (86_400 % width !== 0)
    throw new DbError('22023', `windows of ${count * seconds} seconds do not make up a day`, {
      field,
      hint: 'Use a divisor of the day, such as 5min, 15min, 1h, 6h or 12h.',
    });
  return width;
}

const WEEKDAYS = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'];

/** ISO number of a weekday: `monday`, `mon`, or 1 … 7. */
export function weekdayOf(value: unknown, field: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 7)
    return value;
  const word = valueText(value).toLowerCase();
  const index = WEEKDAYS.findIndex((name) => name === word || name.slice(0, 3) === word);
  if (index >= 0) return index + 1;
  const nearest = nearestOf(word, WEEKDAYS);
  throw new DbError('22023', `"${valueText(value)}" is no weekday`, {
    field,
    hint:
      nearest === undefined
        ? `Use ${WEEKDAYS.join(', ')}, or 1 (Monday) to 7.`
        : `Did you mean "${nearest}"?`,
  });
}

export function weekdayName(weekday: number): string {
  return WEEKDAYS[weekday - 1]!;
}

/** 1 … 12 of a month's number or name. */
export function monthOf(value: unknown, field: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 12)
    return value;
  const word = valueText(value).toLowerCase();
  const index = MONTH_NAMES.findIndex((name) => name === word || name.slice(0, 3) === word);
  if (index >= 0) return index + 1;
  const nearest = nearestOf(word, MONTH_NAMES);
  throw new DbError('22023', `"${valueText(value)}" is no month`, {
    field,
    hint: nearest === undefined ? 'Use 1 to 12, or its name.' : `Did you mean "${nearest}"?`,
  });
}
