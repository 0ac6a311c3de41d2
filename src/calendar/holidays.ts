import { DbError } from '../base/errors.ts';
import {
  civilDay,
  civilFromDays,
  civilText,
  daysFromCivil,
  daysInMonth,
  isoWeekday,
} from './civil.ts';
import { onlyKeys, type Holiday } from './spec.ts';

/** Which years repeating events are written out for; both ends count. */
export type YearRange = { readonly from: number; readonly to: number };

/**
 * Holidays of an iCalendar text (RFC 5545): its events of whole days, each day of those that last longer, and what repeats
 * yearly in `years`. Events at a time of day, cancelled ones and what is no event are left out. Throws 22023 with the line of
 * what cannot be read, rather than leave out a holiday.
 */
export function holidaysFromICal(text: string, options: { readonly years: YearRange }): Holiday[] {
  const { years } = options;
  checkYears(years);
  const holidays = new Map<string, Holiday>();
  for (const event of eventsOf(text)) {
    if (event.isTimed || event.isCancelled) continue;
    const start = event.start;
    if (start === undefined)
      throw wrongLine(
        event.line,
        'an event has no DTSTART',
        'Give it one, such as DTSTART;VALUE=DATE:20261225.',
      );
    const lasts = Math.max(1, event.days ?? (event.end === undefined ? 1 : event.end - start));
    if (lasts > EVENT_DAYS_MAX)
      throw wrongLine(event.line, `an event lasts ${lasts} days`, 'Look at its DTEND.');
    const starts =
      event.rule === undefined ? [start] : yearly(event.rule, start, years, event.line);
    for (const first of [...starts, ...event.more]) {
      if (event.except.has(first)) continue;
      for (let day = first; day < first + lasts; day += 1) {
        const { year } = civilFromDays(day);
        if (event.rule !== undefined && (year < years.from || year > years.to)) continue;
        add(holidays, { date: civilText(day), name: event.summary });
      }
    }
  }
  return inOrder(holidays);
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
  const holidays = new Map<string, Holiday>();
  for (const [index, each] of (entries as readonly unknown[]).entries()) {
    const { date, name, type, days } = entryOf(each, index);
    if (type !== undefined && !types.includes(type)) continue;
    const first = civilDay(date);
    if (first === undefined)
      throw new DbError('22023', `holidays.${index} has "${date}", which is no date`, {
        field: `holidays.${index}`,
        hint: "Write dates as '2026-12-25'.",
      });
    for (let day = first; day < first + days; day += 1)
      add(holidays, { date: civilText(day), name });
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

const EVENT_DAYS_MAX = 366;
const YEAR_SPAN_MAX = 1000;

function checkYears(years: YearRange): void {
  onlyKeys(years, ['from', 'to'], 'years.');
  const { from, to } = years;
  if (!Number.isInteger(from) || !Number.isInteger(to) || from > to || to - from > YEAR_SPAN_MAX)
    throw new DbError('22023', '"years" is no span of years', {
      field: 'years',
      hint: `Give { from: 2024, to: 2030 }, ${YEAR_SPAN_MAX} years at most.`,
    });
}

function add(holidays: Map<string, Holiday>, { date, name }: Holiday): void {
  const known = holidays.get(date);
  // Two on one day are both told.
  const names = [known?.name, name].filter((each) => each !== undefined && each !== '');
  const both = [...new Set(names)].join(' / ');
  holidays.set(date, both === '' ? { date } : { date, name: both });
}

function inOrder(holidays: Map<string, Holiday>): Holiday[] {
  return [...holidays.values()].sort((a, b) => civilDay(a.date)! - civilDay(b.date)!);
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
  start: number | undefined;
  /** The first day after it. */
  end: number | undefined;
  /** DURATION. */
  days: number | undefined;
  summary: string | undefined;
  rule: string | undefined;
  isTimed: boolean;
  isCancelled: boolean;
  readonly more: number[];
  readonly except: Set<number>;
};

function* eventsOf(text: string): Generator<ICalEvent> {
  if (typeof text !== 'string' || !/^\s*BEGIN:VCALENDAR/i.test(text))
    throw new DbError('22023', 'the text is no iCalendar: it does not begin with BEGIN:VCALENDAR', {
      field: 'holidays',
      hint: 'Give the content of an .ics file, not its name or address.',
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
      case 'DTSTART': {
        const day = icalDay(value, line);
        event.isTimed = day === undefined;
        event.start = day;
        break;
      }
      case 'DTEND':
        event.end = icalDay(value, line);
        break;
      case 'DURATION':
        event.days = durationDays(value, line);
        break;
      case 'SUMMARY':
        event.summary = value.replaceAll(/\\([\\;,nN])/g, (_, each: string) =>
          each === 'n' || each === 'N' ? ' ' : each,
        );
        break;
      case 'RRULE':
        event.rule = value;
        break;
      case 'STATUS':
        event.isCancelled = value.toUpperCase() === 'CANCELLED';
        break;
      case 'RDATE':
      case 'EXDATE':
        if (/PERIOD/i.test(parameters))
          throw wrongLine(line, `${name} of periods is not read`, 'Write it as dates.');
        for (const each of value.split(',')) {
          const day = icalDay(each, line);
          if (day === undefined) continue;
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
    start: undefined,
    end: undefined,
    days: undefined,
    summary: undefined,
    rule: undefined,
    isTimed: false,
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

/** Undefined for a date with a time. */
function icalDay(value: string, line: number): number | undefined {
  const match = /^(\d{4})(\d{2})(\d{2})(T\d{6}Z?)?$/.exec(value.trim());
  const day = match === null ? undefined : civilDay(`${match[1]}-${match[2]}-${match[3]}`);
  if (match === null || day === undefined)
    throw wrongLine(line, `"${value}" is no date`, 'Dates read 20261225.');
  return match[4] === undefined ? day : undefined;
}

function durationDays(value: string, line: number): number {
  const match = /^\+?P(?:(\d{1,3})W)?(?:(\d{1,4})D)?$/.exec(value);
  if (match === null)
    throw wrongLine(line, `"${value}" is no duration in days`, 'It should read P2D or P1W.');
  return Number(match[1] ?? 0) * 7 + Number(match[2] ?? 0);
}

/** The first days of a yearly event, in `years`. */
function yearly(rule: string, start: number, years: YearRange, line: number): number[] {
  const parts = new Map(
    rule.split(';').map((part): [string, string] => {
      const [name, value] = part.split('=');
      return [name!.trim().toUpperCase(), (value ?? '').trim().toUpperCase()];
    }),
  );
  const refuse = (what: string): DbError =>
    wrongLine(
      line,
      `a rule that repeats ${what} is not read`,
      'Write the dates out, or use FREQ=YEARLY with BYMONTH and BYMONTHDAY or BYDAY.',
    );
  if (parts.get('FREQ') !== 'YEARLY') throw refuse(`FREQ=${parts.get('FREQ') ?? ''}`);
  for (const name of parts.keys()) if (!RULE_PARTS.includes(name)) throw refuse(`by ${name}`);
  const whole = (name: string, otherwise: number): number => {
    const value = parts.get(name);
    if (value === undefined) return otherwise;
    if (!/^-?\d{1,4}$/.test(value) || Number(value) === 0) throw refuse(`by ${name}=${value}`);
    return Number(value);
  };
  const first = civilFromDays(start);
  const interval = whole('INTERVAL', 1);
  const count = whole('COUNT', Infinity);
  const until = parts.get('UNTIL') === undefined ? Infinity : untilDay(parts.get('UNTIL')!, line);
  const month = whole('BYMONTH', first.month);
  const byDay = parts.get('BYDAY');
  const place =
    byDay === undefined ? undefined : /^([+-]?[1-5])(MO|TU|WE|TH|FR|SA|SU)$/.exec(byDay);
  if (place === null) throw refuse(`by BYDAY=${byDay!}`);
  if (month < 1 || month > 12 || interval < 1) throw refuse(`by ${rule}`);
  const monthDay = whole('BYMONTHDAY', first.day);
  const days: number[] = [];
  let given = 0;
  for (let { year } = first; year <= years.to && given < count; year += interval) {
    const day =
      place === undefined
        ? dayOfMonth(year, month, monthDay)
        : weekdayOfMonth(year, month, Number(place[1]), WEEKDAYS.indexOf(place[2]!) + 1);
    // A year without such a day has none: 29 February.
    if (day === undefined || day < start) continue;
    if (day > until) break;
    given += 1;
    if (year >= years.from) days.push(day);
  }
  return days;
}

const RULE_PARTS = ['FREQ', 'INTERVAL', 'COUNT', 'UNTIL', 'BYMONTH', 'BYMONTHDAY', 'BYDAY', 'WKST'];
const WEEKDAYS = ['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU'];

function untilDay(value: string, line: number): number {
  // At whatever time of the day: the events are whole days.
  return icalDay(value.slice(0, 8), line)!;
}

function dayOfMonth(year: number, month: number, day: number): number | undefined {
  const length = daysInMonth(year, month);
  const from1 = day > 0 ? day : length + 1 + day;
  return from1 < 1 || from1 > length ? undefined : daysFromCivil(year, month, from1);
}

/** The `place`th such weekday of a month, counted from its end where negative. */
function weekdayOfMonth(
  year: number,
  month: number,
  place: number,
  weekday: number,
): number | undefined {
  const first = daysFromCivil(year, month, 1);
  const length = daysInMonth(year, month);
  const earliest = first + ((weekday - isoWeekday(first) + 7) % 7);
  const day =
    place > 0
      ? earliest + (place - 1) * 7
      : earliest + (Math.floor((first + length - 1 - earliest) / 7) + 1 + place) * 7;
  return day >= first && day < first + length ? day : undefined;
}

function wrongLine(line: number, what: string, hint: string): DbError {
  return new DbError('22023', `line ${line} of the iCalendar: ${what}`, {
    field: 'holidays',
    hint,
  });
}
