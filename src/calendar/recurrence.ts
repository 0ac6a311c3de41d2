import {
  type CivilDate,
  civilFromDays,
  dayOfYear,
  daysFromCivil,
  daysInMonth,
  isLeapYear,
  isoWeekday,
} from './civil.ts';

/** A rule by which whole days repeat (RFC 5545, RRULE): days that its parts let pass, period by period. */
export type RecurrenceRule = {
  readonly frequency: Frequency;
  readonly interval: number;
  readonly count: number;
  /** The last day; Infinity: none. */
  readonly until: number;
  /** Empty: the rule does not speak of them. */
  readonly months: readonly number[];
  readonly monthDays: readonly number[];
  readonly yearDays: readonly number[];
  readonly weekdays: readonly PlacedWeekday[];
  /** Which of a period's days; negative from its end. */
  readonly places: readonly number[];
  /** ISO weekday that weeks begin with. */
  readonly weekStart: number;
};

export type Frequency = 'YEARLY' | 'MONTHLY' | 'WEEKLY' | 'DAILY';

/** `4TH`: the fourth Thursday of a month, or of a year; of place 0 every one. */
export type PlacedWeekday = { readonly place: number; readonly weekday: number };

const FREQUENCIES: readonly string[] = ['YEARLY', 'MONTHLY', 'WEEKLY', 'DAILY'];
const WEEKDAYS = ['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU'];
const PARTS = [
  'FREQ',
  'INTERVAL',
  'COUNT',
  'UNTIL',
  'BYMONTH',
  'BYMONTHDAY',
  'BYYEARDAY',
  'BYDAY',
  'BYSETPOS',
  'WKST',
];

/** Reads a rule; `refuse` makes the error that tells what of it is not read, `dayOf` reads the date of its end. */
export function recurrenceRule(
  text: string,
  refuse: (what: string) => Error,
  dayOf: (value: string) => number,
): RecurrenceRule {
  const parts = new Map(
    text.split(';').map((part): [string, string] => {
      const [name, value] = part.split('=');
      return [name!.trim().toUpperCase(), (value ?? '').trim().toUpperCase()];
    }),
  );
  const frequency = parts.get('FREQ') ?? '';
  if (!FREQUENCIES.includes(frequency)) throw refuse(`FREQ=${frequency}`);
  for (const name of parts.keys()) if (!PARTS.includes(name)) throw refuse(`by ${name}`);
  const numbers = (name: string, most: number, least = -most): number[] => {
    const value = parts.get(name);
    if (value === undefined) return [];
    const found = value.split(',').map((each) => (/^[+-]?\d{1,4}$/.test(each) ? Number(each) : 0));
    if (found.some((each) => each === 0 || each > most || each < least))
      throw refuse(`by ${name}=${value}`);
    // Each day is held against them: what is written twice means the same.
    return [...new Set(found)];
  };
  const one = (name: string, otherwise: number): number => {
    const found = numbers(name, 9999, 1);
    if (found.length > 1) throw refuse(`by ${name}=${parts.get(name)!}`);
    return found[0] ?? otherwise;
  };
  const weekdays = [...new Set(parts.get('BYDAY')?.split(','))].map((each): PlacedWeekday => {
    const match = /^([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)$/.exec(each);
    const place = Number(match?.[1] ?? 0);
    const isPlaced = frequency === 'YEARLY' || frequency === 'MONTHLY';
    if (match === null || (match[1] !== undefined && (place === 0 || !isPlaced)))
      throw refuse(`by BYDAY=${each}`);
    return { place, weekday: WEEKDAYS.indexOf(match[2]!) + 1 };
  });
  const weekStart = WEEKDAYS.indexOf(parts.get('WKST') ?? 'MO') + 1;
  if (weekStart === 0) throw refuse(`by WKST=${parts.get('WKST')!}`);
  const until = parts.get('UNTIL');
  return {
    frequency: frequency as Frequency,
    interval: one('INTERVAL', 1),
    count: one('COUNT', Infinity),
    // At whatever time of the day: the events are whole days.
    until: until === undefined ? Infinity : dayOf(until.slice(0, 8)),
    months: numbers('BYMONTH', 12, 1),
    monthDays: numbers('BYMONTHDAY', 31),
    yearDays: numbers('BYYEARDAY', 366),
    weekdays,
    places: numbers('BYSETPOS', 366),
    weekStart,
  };
}

/** Which of a rule's days are asked for: both ends count. */
export type DaySpan = { readonly first: number; readonly last: number };

/**
 * The days of a rule that begins at `start`, as days since 1970 in order: those of the span, and maybe some before. `look` is told of each day that is looked at, be it
 * one or not, a period at a time; true: a pause is due, for which undefined is given.
 */
export function* recurrences(
  rule: RecurrenceRule,
  start: number,
  { first, last }: DaySpan,
  look: (days: number) => boolean,
): Generator<number | undefined> {
  const whole = withDefaults(rule, start);
  const end = Math.min(last, rule.until);
  let given = 0;
  // What is counted is counted from its start.
  const skipped = rule.count < Infinity ? 0 : periodsBefore(rule, start, first);
  for (let number = skipped - (skipped % rule.interval); ; number += rule.interval) {
    const period = periodOf(whole, start, number);
    if (period.start > end) return;
    const { days, looked } = daysIn(whole, period);
    if (look(looked)) yield undefined;
    for (const day of days) {
      if (day < start) continue;
      if (day > end || given >= rule.count) return;
      given += 1;
      yield day;
    }
  }
}

/** Whole periods between the first one and that of a day, or fewer. */
function periodsBefore({ frequency }: RecurrenceRule, start: number, day: number): number {
  const [from, to] = [civilFromDays(start), civilFromDays(day)];
  const count = {
    YEARLY: to.year - from.year,
    MONTHLY: (to.year - from.year) * 12 + to.month - from.month,
    WEEKLY: Math.floor((day - start) / 7) - 1,
    DAILY: day - start,
  }[frequency];
  return Math.max(0, count);
}

/** What a rule leaves open is as its first day has it. */
function withDefaults(rule: RecurrenceRule, start: number): RecurrenceRule {
  const { frequency, months, monthDays, yearDays, weekdays } = rule;
  if (monthDays.length > 0 || yearDays.length > 0 || weekdays.length > 0) return rule;
  const { month, day } = civilFromDays(start);
  switch (frequency) {
    case 'YEARLY':
      return { ...rule, months: months.length > 0 ? months : [month], monthDays: [day] };
    case 'MONTHLY':
      return { ...rule, monthDays: [day] };
    case 'WEEKLY':
      return { ...rule, weekdays: [{ place: 0, weekday: isoWeekday(start) }] };
    case 'DAILY':
      return rule;
  }
}

/** From `start` until just before `end`. */
type Period = { readonly start: number; readonly end: number };

/** The period so many on from the one that the first day lies in. */
function periodOf({ frequency, weekStart }: RecurrenceRule, first: number, number: number): Period {
  const { year, month } = civilFromDays(first);
  switch (frequency) {
    case 'YEARLY':
      return {
        start: daysFromCivil(year + number, 1, 1),
        end: daysFromCivil(year + number + 1, 1, 1),
      };
    case 'MONTHLY': {
      const index = year * 12 + month - 1 + number;
      const start = daysFromCivil(Math.floor(index / 12), (index % 12) + 1, 1);
      return { start, end: start + daysInMonth(Math.floor(index / 12), (index % 12) + 1) };
    }
    case 'WEEKLY': {
      const start = first - ((isoWeekday(first) - weekStart + 7) % 7) + 7 * number;
      return { start, end: start + 7 };
    }
    case 'DAILY':
      return { start: first + number, end: first + number + 1 };
  }
}

function daysIn(
  rule: RecurrenceRule,
  { start, end }: Period,
): { readonly days: readonly number[]; readonly looked: number } {
  const { months, places } = rule;
  const days: number[] = [];
  let looked = 0;
  for (let day = start; day < end; looked += 1) {
    const date = civilFromDays(day);
    // A month that the rule does not name is passed over as a whole.
    if (months.length > 0 && !months.includes(date.month))
      day += daysInMonth(date.year, date.month) - date.day + 1;
    else {
      if (passes(rule, day, date)) days.push(day);
      day += 1;
    }
  }
  if (places.length === 0) return { days, looked };
  const placed = days.filter((_, index) =>
    places.some((place) => index === (place > 0 ? place - 1 : days.length + place)),
  );
  return { days: placed, looked };
}

/** Whether a day of a month that the rule names, or of any, is one of its days. */
function passes(rule: RecurrenceRule, day: number, date: CivilDate): boolean {
  const { months, monthDays, yearDays, weekdays } = rule;
  const monthLength = daysInMonth(date.year, date.month);
  if (!isAmong(monthDays, date.day, monthLength)) return false;
  const yearLength = isLeapYear(date.year) ? 366 : 365;
  const inYear = dayOfYear(day);
  if (!isAmong(yearDays, inYear, yearLength)) return false;
  if (weekdays.length === 0) return true;
  // Weekdays are counted in the year where the rule names no month.
  const isOfYear = rule.frequency === 'YEARLY' && months.length === 0;
  const [at, length] = isOfYear ? [inYear, yearLength] : [date.day, monthLength];
  const weekday = isoWeekday(day);
  return weekdays.some(
    (each) =>
      each.weekday === weekday &&
      (each.place === 0 ||
        each.place === Math.ceil(at / 7) ||
        -each.place === Math.ceil((length - at + 1) / 7)),
  );
}

/** Of numbers that count from 1, or from the end where negative; an empty list has every one. */
function isAmong(numbers: readonly number[], at: number, length: number): boolean {
  return numbers.length === 0 || numbers.includes(at) || numbers.includes(at - length - 1);
}
