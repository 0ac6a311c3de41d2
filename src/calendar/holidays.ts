import { DbError } from '../base/errors.ts';
import { civilDay, civilFromDays, civilText, daysFromCivil } from './civil.ts';
import { recurrenceRule, recurrences, type DaySpan, type RecurrenceRule } from './recurrence.ts';
import { onlyKeys, type Holiday } from './spec.ts';

/** Which years repeating events are written out for; both ends count. */
export type YearRange = { readonly from: number; readonly to: number };

/**
 * Holidays of an iCalendar text (RFC 5545): its events of whole days (from midnight to midnight, too), each day of those that last longer, and what
 * repeats in `years`, less what was moved or taken out. Events at a time of day, cancelled ones and what is no event are left out. Throws 22023 with the
 * line of what cannot be read, rather than leave out a holiday.
 */
export function holidaysFromICal(text: string, options: { readonly years: YearRange }): Holiday[] {
  const reading = readingICal(text, options);
  for (;;) {
    const step = reading.next();
    if (step.done === true) return step.value;
  }
}

/** The same in steps: yields where others may have a turn. */
export function* readingICal(
  text: string,
  options: { readonly years: YearRange },
): Generator<undefined, Holiday[]> {
  const { years } = options;
  checkYears(years);
  const holidays: Found = new Map();
  const events: ICalEvent[] = [];
  for (const event of eventsOf(text)) {
    events.push(event);
    if (events.length % EVENTS_A_STEP === 0) yield;
  }
  const moved = movedDays(events);
  const span = {
    first: daysFromCivil(years.from, 1, 1) - EVENT_DAYS_MAX,
    last: daysFromCivil(years.to, 12, 31),
  };
  let looked = 0;
  for (const event of events) {
    const look = (days: number): boolean => {
      const before = looked;
      looked += days;
      if (looked > DAYS_LOOKED_MAX)
        throw new DbError(
          '54000',
          `line ${event.line} of the iCalendar: what repeats is looked for on more than ${DAYS_LOOKED_MAX} days`,
          {
            field: 'holidays',
            limit: 'days',
            hint: 'Ask for fewer years, or leave out what repeats every day.',
          },
        );
      return Math.floor(looked / DAYS_A_STEP) > Math.floor(before / DAYS_A_STEP);
    };
    const whole = wholeDays(event);
    if (whole === undefined || event.isCancelled) continue;
    const { start, days } = whole;
    if (days > EVENT_DAYS_MAX)
      throw wrongLine(event.line, `an event lasts ${days} days`, 'Look at its DTEND.');
    const isRuled = event.rules.length > 0;
    const starts = new Set(isRuled ? [] : [start]);
    yield* recurring(event.rules, starts, start, span, look);
    for (const day of event.more) starts.add(day);
    const except = new Set(event.except);
    yield* recurring(event.exceptRules, except, start, span, look);
    const elsewhere = event.replaces === undefined ? moved.get(event.uid) : undefined;
    for (const first of starts) {
      if (look(days)) yield;
      if (except.has(first) || elsewhere?.has(first) === true) continue;
      for (let day = first; day < first + days; day += 1) {
        const { year } = civilFromDays(day);
        if (isRuled && (year < years.from || year > years.to)) continue;
        add(holidays, day, event.summary);
      }
    }
  }
  return inOrder(holidays);
}

/** Adds the days of rules; yields where `look` says that a pause is due. */
function* recurring(
  rules: readonly RecurrenceRule[],
  into: Set<number>,
  start: number,
  span: DaySpan,
  look: (days: number) => boolean,
): Generator<undefined> {
  for (const rule of rules)
    for (const day of recurrences(rule, start, span, look))
      if (day === undefined) yield;
      else into.add(day);
}

/**
 * Holidays of JSON: a list of dates, of `{ date, name }`, or an object of dates and names. The `{ date: '2026-12-25 00:00:00', name, type }`
 * of the package date-holidays are taken as they are; of those only the types in `types` (default: public).
 */
export function holidaysFromJson(
  value: unknown,
  options: { readonly types?: readonly string[] } = {},
): Holiday[] {
  const types = options.types ?? ['public'];
  const entries: unknown =
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.entries(value).map(([date, name]) => ({ date, name }))
      : value;
  if (!Array.isArray(entries))
    throw new DbError('22023', 'holidays are neither a list nor an object', {
      field: 'holidays',
      hint: "Give ['2026-12-25'], [{ date, name }] or { '2026-12-25': 'Christmas' }.",
    });
  const holidays: Found = new Map();
  for (const [index, each] of (entries as readonly unknown[]).entries()) {
    const { date, name, type, days } = entryOf(each, index);
    if (type !== undefined && !types.includes(type)) continue;
    const first = civilDay(date);
    if (first === undefined)
      throw new DbError('22023', `holidays.${index} has "${date}", which is no date`, {
        field: `holidays.${index}`,
        hint: "Write dates as '2026-12-25'.",
      });
    for (let day = first; day < first + days; day += 1) add(holidays, day, name);
  }
  return inOrder(holidays);
}

/**
 * What the package date-holidays knows, for those who have installed it (its data are CC BY-SA, so it does not come with us):
 * `holidaysFromPackage(new Holidays('US'), { years: { from: 2024, to: 2030 } })`.
 */
export function holidaysFromPackage(
  source: { getHolidays(year: number): readonly unknown[] },
  options: { readonly years: YearRange; readonly types?: readonly string[] },
): Holiday[] {
  const { years, types } = options;
  checkYears(years);
  const all: unknown[] = [];
  for (let year = years.from; year <= years.to; year += 1) all.push(...source.getHolidays(year));
  return holidaysFromJson(all, types === undefined ? {} : { types });
}

/** More is no calendar of holidays, and would be cut into lines all at once. */
const TEXT_LENGTH_MAX = 4 * 2 ** 20;
const EVENTS_A_STEP = 256;
const EVENT_DAYS_MAX = 366;
/** Of a yearly event that names its month they are some forty a year: fifty years of four hundred events. Less than a second, in steps. */
const DAYS_LOOKED_MAX = 1_000_000;
const DAYS_A_STEP = 512;
const YEAR_SPAN_MAX = 1000;
/** The last year that four digits tell: days far beyond are no exact numbers, and none of them follows another. */
const YEAR_MAX = 9999;

function checkYears(years: YearRange): void {
  onlyKeys(years, ['from', 'to'], 'years.');
  const { from, to } = years;
  const isSpan = Number.isInteger(from) && Number.isInteger(to) && from <= to;
  if (!isSpan || to - from > YEAR_SPAN_MAX || from < 1 || to > YEAR_MAX)
    throw new DbError('22023', '"years" is no span of years', {
      field: 'years',
      hint: `Give { from: 2024, to: 2030 }, ${YEAR_SPAN_MAX} years at most, from 1 to ${YEAR_MAX}.`,
    });
}

/** By day the names of its holidays: several on one day are all told. */
type Found = Map<number, Set<string>>;

function add(holidays: Found, day: number, name: string | undefined): void {
  let names = holidays.get(day);
  if (names === undefined) holidays.set(day, (names = new Set()));
  if (name !== undefined && name !== '') names.add(name);
}

function inOrder(holidays: Found): Holiday[] {
  return [...holidays]
    .sort(([a], [b]) => a - b)
    .map(([day, names]) => ({
      date: civilText(day),
      ...(names.size === 0 ? {} : { name: [...names].join(' / ') }),
    }));
}

function entryOf(
  each: unknown,
  index: number,
): {
  readonly date: string;
  readonly name: string | undefined;
  readonly type: string | undefined;
  readonly days: number;
} {
  const field = `holidays.${index}`;
  if (typeof each === 'string') return { date: each, name: undefined, type: undefined, days: 1 };
  if (
    typeof each !== 'object' ||
    each === null ||
    !('date' in each) ||
    typeof each.date !== 'string'
  )
    throw new DbError('22023', `${field} is no holiday`, {
      field,
      hint: "Give a date such as '2026-12-25', or { date, name }.",
    });
  const { start, end, name, type } = each as Readonly<Record<string, unknown>>;
  // date-holidays: `date` is local, `start` and `end` say how long.
  const lasts =
    start instanceof Date && end instanceof Date
      ? Math.round((end.getTime() - start.getTime()) / 86_400_000)
      : 1;
  return {
    date: each.date.slice(0, 10),
    name: typeof name === 'string' ? name : undefined,
    type: typeof type === 'string' ? type : undefined,
    days: Math.min(Math.max(1, lasts), EVENT_DAYS_MAX),
  };
}

// ── iCalendar ──────────────────────────────────────────────────────────────────────────────────────────────────

type ICalEvent = {
  /** Where it begins in the text, from 1. */
  readonly line: number;
  uid: string;
  start: ICalTime | undefined;
  /** Just after it. */
  end: ICalTime | undefined;
  /** DURATION. */
  seconds: number | undefined;
  summary: string | undefined;
  readonly rules: RecurrenceRule[];
  readonly exceptRules: RecurrenceRule[];
  /** RECURRENCE-ID: it stands for this one of an event that repeats. */
  replaces: ICalTime | undefined;
  isCancelled: boolean;
  readonly more: number[];
  readonly except: Set<number>;
};

/** A date, or the wall's time on it; of UTC where it says so. */
type ICalTime = { readonly day: number; readonly clock: 'none' | 'midnight' | 'other' };

/** By UID the days of events that repeat which others stand for, or which are cancelled. */
function movedDays(events: readonly ICalEvent[]): Map<string, Set<number>> {
  const moved = new Map<string, Set<number>>();
  for (const { uid, replaces } of events) {
    if (replaces === undefined) continue;
    const known = moved.get(uid);
    if (known === undefined) moved.set(uid, new Set([replaces.day]));
    else known.add(replaces.day);
  }
  return moved;
}

/** Undefined for an event at a time of day. */
function wholeDays({
  line,
  start,
  end,
  seconds,
}: ICalEvent): { readonly start: number; readonly days: number } | undefined {
  if (start === undefined)
    throw wrongLine(
      line,
      'an event has no DTSTART',
      'Give it one, such as DTSTART;VALUE=DATE:20261225.',
    );
  const days =
    seconds !== undefined ? seconds / 86_400 : end === undefined ? undefined : end.day - start.day;
  if (start.clock === 'none') {
    if (days !== undefined && !Number.isInteger(days))
      throw wrongLine(line, 'an event of whole days ends within one', 'Give it DURATION:P1D.');
    return { start: start.day, days: Math.max(1, days ?? 1) };
  }
  // As some programs write whole days: from midnight to midnight, by the wall.
  const isWhole =
    start.clock === 'midnight' &&
    (end === undefined || end.clock === 'midnight') &&
    Number.isInteger(days) &&
    days! > 0;
  return isWhole ? { start: start.day, days: days! } : undefined;
}

function* eventsOf(text: string): Generator<ICalEvent> {
  if (typeof text !== 'string' || !/^\s*BEGIN:VCALENDAR/i.test(text))
    throw new DbError('22023', 'the text is no iCalendar: it does not begin with BEGIN:VCALENDAR', {
      field: 'holidays',
      hint: 'Give the content of an .ics file, not its name or address.',
    });
  if (text.length > TEXT_LENGTH_MAX)
    throw new DbError('54000', `the iCalendar has more than ${TEXT_LENGTH_MAX / 2 ** 20} MB`, {
      field: 'holidays',
      limit: 'bytes',
      hint: 'Leave out what are no holidays.',
    });
  let event: ICalEvent | undefined;
  /** Components inside an event, such as alarms, whose lines are not the event's. */
  let inside = 0;
  for (const { name, parameters, value, line } of linesOf(text)) {
    if (name === 'BEGIN') {
      if (event !== undefined) inside += 1;
      else if (value.toUpperCase() === 'VEVENT') event = newEvent(line);
      continue;
    }
    if (event === undefined) continue;
    if (name === 'END') {
      if (inside > 0) inside -= 1;
      else {
        yield event;
        event = undefined;
      }
      continue;
    }
    if (inside > 0) continue;
    switch (name) {
      case 'UID':
        event.uid = value;
        break;
      case 'DTSTART':
        event.start = icalTime(value, line);
        break;
      case 'DTEND':
        event.end = icalTime(value, line);
        break;
      case 'DURATION':
        event.seconds = durationSeconds(value, line);
        break;
      case 'RECURRENCE-ID':
        if (/RANGE/i.test(parameters))
          throw wrongLine(
            line,
            'an event that stands for all that follow is not read',
            'Write it as an event of its own, and end the one before by UNTIL.',
          );
        event.replaces = icalTime(value, line);
        break;
      case 'SUMMARY':
        event.summary = value.replaceAll(/\\([\\;,nN])/g, (_, each: string) =>
          each === 'n' || each === 'N' ? ' ' : each,
        );
        break;
      case 'RRULE':
        event.rules.push(ruleOf(value, line));
        break;
      case 'EXRULE':
        event.exceptRules.push(ruleOf(value, line));
        break;
      case 'STATUS':
        event.isCancelled = value.toUpperCase() === 'CANCELLED';
        break;
      case 'RDATE':
      case 'EXDATE':
        if (/PERIOD/i.test(parameters))
          throw wrongLine(line, `${name} of periods is not read`, 'Write it as dates.');
        for (const each of value.split(',')) {
          const { day, clock } = icalTime(each, line);
          if (clock === 'other') continue;
          if (name === 'RDATE') event.more.push(day);
          else event.except.add(day);
        }
        break;
    }
  }
  if (event !== undefined)
    throw wrongLine(
      event.line,
      'an event does not end',
      'The text is cut off: END:VEVENT is missing.',
    );
}

function newEvent(line: number): ICalEvent {
  return {
    line,
    uid: '',
    start: undefined,
    end: undefined,
    seconds: undefined,
    summary: undefined,
    rules: [],
    exceptRules: [],
    replaces: undefined,
    isCancelled: false,
    more: [],
    except: new Set(),
  };
}

/** Content lines, unfolded: a line that begins with a blank goes on from the one before. */
function* linesOf(
  text: string,
): Generator<{ name: string; parameters: string; value: string; line: number }> {
  const lines = text.split(/\r\n|\n|\r/);
  for (let at = 0; at < lines.length; at += 1) {
    const line = at + 1;
    let whole = lines[at]!;
    for (; /^[ \t]/.test(lines[at + 1] ?? ''); at += 1) whole += lines[at + 1]!.slice(1);
    if (whole.trim() === '') continue;
    const match = /^\s*([A-Za-z0-9-]+)((?:;(?:[^":;]|"[^"]*")*)*):(.*)$/.exec(whole);
    if (match === null)
      throw wrongLine(line, 'a line has no name and value', 'It should read NAME:value.');
    yield { name: match[1]!.toUpperCase(), parameters: match[2]!, value: match[3]!.trim(), line };
  }
}

function icalTime(value: string, line: number): ICalTime {
  const match = /^(\d{4})(\d{2})(\d{2})(T\d{6}Z?)?$/.exec(value.trim());
  const day = match === null ? undefined : civilDay(`${match[1]}-${match[2]}-${match[3]}`);
  if (match === null || day === undefined)
    throw wrongLine(line, `"${value}" is no date`, 'Dates read 20261225.');
  const time = match[4];
  return { day, clock: time === undefined ? 'none' : time === 'T000000' ? 'midnight' : 'other' };
}

function durationSeconds(value: string, line: number): number {
  const match =
    /^\+?P(?:(\d{1,3})W|(?:(\d{1,4})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,7})M)?(?:(\d{1,9})S)?)?)$/.exec(
      value,
    );
  if (match === null || value.endsWith('P') || value.endsWith('T'))
    throw wrongLine(line, `"${value}" is no duration`, 'It should read P2D, P1W or PT24H.');
  const [weeks, days, hours, minutes, seconds] = match
    .slice(1)
    .map((part) => Number(part ?? 0)) as [number, number, number, number, number];
  return (weeks * 7 + days) * 86_400 + hours * 3600 + minutes * 60 + seconds;
}

function ruleOf(text: string, line: number): RecurrenceRule {
  const refuse = (what: string): DbError =>
    wrongLine(
      line,
      `a rule that repeats ${what} is not read`,
      'Write the dates out, or use FREQ=YEARLY with BYMONTH and BYMONTHDAY or BYDAY.',
    );
  return recurrenceRule(text, refuse, (value) => icalTime(value, line).day);
}

function wrongLine(line: number, what: string, hint: string): DbError {
  return new DbError('22023', `line ${line} of the iCalendar: ${what}`, {
    field: 'holidays',
    hint,
  });
}
