import { DbError } from '../base/errors.ts';
import { valueText } from '../base/value-text.ts';
import { nearestOf } from '../base/nearest.ts';
import { asDays, type BusinessRules, type OpenHours } from './business-days.ts';
import { civilDay } from './civil.ts';
import { parseInstantMs, type InstantInput } from './instants.ts';
import type { RetailRule } from './retail.ts';
import { monthOf, weekdayName, weekdayOf } from './units.ts';
import { overriddenZone, plainZoneOf, UTC, type Zone, type ZoneChange } from './zones.ts';

export type Weekday =
  | 'monday'
  | 'tuesday'
  | 'wednesday'
  | 'thursday'
  | 'friday'
  | 'saturday'
  | 'sunday';

export type Holiday = { readonly date: string; readonly name?: string | undefined };

/** Times of one or more openings of a day: `'09:30-16:00'`. */
export type HoursText = string | readonly string[];

/** How a 52/53-week year that follows or precedes one of the other length is compared: see docs/calendars.md. */
export type LeapWeek = 'restate' | 'shift' | 'drop';

/** What a calendar is made of. Everything has a default; plain data, but for holidays given as a function. */
export type CalendarSpec = {
  /** An IANA name; with `changes`, the rules that hold from the first of them on, whatever the tz data say. Default UTC. */
  readonly zone?:
    | string
    | {
        readonly name: string;
        readonly changes: readonly {
          readonly from: InstantInput;
          readonly offsetSeconds: number;
        }[];
      }
    | undefined;
  /** Default monday. */
  readonly weekStart?: Weekday | number | undefined;
  /** The month a fiscal year begins with, 1 … 12 or its name. Default 1. */
  readonly fiscalYearStart?: number | string | undefined;
  /** Default saturday and sunday. */
  readonly weekend?: readonly (Weekday | number)[] | undefined;
  /** Dates, with names or without; or a pure function that knows those of a year. */
  readonly holidays?: readonly (string | Holiday)[] | ((year: number) => readonly string[]);
  /** For all business days; or by weekday (`monday`), by weekdays (`monday-friday`) and by date, which goes first. */
  readonly hours?: HoursText | Readonly<Record<string, HoursText>> | undefined;
  readonly retail?:
    | {
        readonly pattern?: '4-4-5' | '4-5-4' | '5-4-4' | undefined;
        readonly ends?: 'nearest' | 'last' | undefined;
        /** The last day of every week. Default saturday. */
        readonly weekday?: Weekday | number | undefined;
        /** The month at whose end the year ends, 1 … 12 or its name. Default 1. */
        readonly month?: number | string | undefined;
        readonly leapWeek?: LeapWeek | undefined;
      }
    | undefined;
};

/** A checked spec. */
export type CalendarRules = {
  readonly zone: Zone;
  readonly weekStart: number;
  readonly fiscalYearStart: number;
  readonly business: BusinessRules;
  readonly names: ReadonlyMap<number, string>;
  readonly retail: RetailRule | undefined;
  readonly leapWeek: LeapWeek;
};

/** Throws 22023 with the field that is wrong. */
export function rulesOf(spec: CalendarSpec): CalendarRules {
  onlyKeys(spec, SPEC_KEYS, '');
  const { weekStart, fiscalYearStart, retail } = spec;
  if (retail !== undefined) onlyKeys(retail, RETAIL_KEYS, 'retail.');
  const names = new Map<number, string>();
  return {
    zone: zoneFrom(spec.zone),
    weekStart: weekStart === undefined ? 1 : weekdayOf(weekStart, 'weekStart'),
    fiscalYearStart:
      fiscalYearStart === undefined ? 1 : monthOf(fiscalYearStart, 'fiscalYearStart'),
    business: {
      weekend: weekendFrom(spec.weekend),
      holidays: holidaysFrom(spec.holidays, names),
      ...hoursFrom(spec.hours),
    },
    names,
    retail: retail === undefined ? undefined : retailFrom(retail),
    leapWeek: oneOf(retail?.leapWeek ?? 'restate', ['restate', 'shift', 'drop'], 'retail.leapWeek'),
  };
}

const SPEC_KEYS = [
  'zone',
  'weekStart',
  'fiscalYearStart',
  'weekend',
  'holidays',
  'hours',
  'retail',
] as const;
const RETAIL_KEYS = ['pattern', 'ends', 'weekday', 'month', 'leapWeek'] as const;

export function onlyKeys(value: unknown, known: readonly string[], prefix: string): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new DbError(
      '22023',
      `${prefix === '' ? 'the value' : `"${prefix.slice(0, -1)}"`} is no object`,
      {
        ...(prefix === '' ? {} : { field: prefix.slice(0, -1) }),
        hint: `Its fields are ${known.join(', ')}.`,
      },
    );
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue;
    const nearest = nearestOf(key, known);
    throw new DbError('22023', `unknown field "${prefix}${key}"`, {
      field: `${prefix}${key}`,
      hint:
        nearest === undefined
          ? `The fields are ${known.join(', ')}.`
          : `Did you mean "${nearest}"?`,
    });
  }
}

export function oneOf<Value extends string>(
  value: unknown,
  known: readonly Value[],
  field: string,
): Value {
  const found = known.find((each) => each === value);
  if (found !== undefined) return found;
  const nearest = typeof value === 'string' ? nearestOf(value, known) : undefined;
  throw new DbError('22023', `"${field}" is not one of ${known.join(', ')}`, {
    field,
    hint: nearest === undefined ? `Use one of ${known.join(', ')}.` : `Did you mean "${nearest}"?`,
  });
}

function zoneFrom(zone: CalendarSpec['zone']): Zone {
  if (zone === undefined) return UTC;
  if (typeof zone === 'string') return plainZoneOf(zone, 'zone');
  onlyKeys(zone, ['name', 'changes'], 'zone.');
  const base = plainZoneOf(valueText(zone.name), 'zone.name');
  if (!Array.isArray(zone.changes))
    throw new DbError('22023', '"zone.changes" is no list', {
      field: 'zone.changes',
      hint: "Write [{ from: '2027-03-28T01:00:00Z', offsetSeconds: 7200 }].",
    });
  refuseMany(zone.changes.length, 'zone.changes');
  const changes = (zone.changes as readonly { from: InstantInput; offsetSeconds: number }[]).map(
    ({ from, offsetSeconds }, index): ZoneChange => {
      const field = `zone.changes.${index}`;
      if (!Number.isInteger(offsetSeconds) || Math.abs(offsetSeconds) > OFFSET_SECONDS_MAX)
        throw new DbError('22023', `"${field}.offsetSeconds" is no offset from UTC`, {
          field: `${field}.offsetSeconds`,
          hint: 'Give whole seconds, east of Greenwich positive, of sixteen hours at most.',
        });
      return {
        at: Math.floor(parseInstantMs(from, base, `${field}.from`) / 1000),
        offset: offsetSeconds,
      };
    },
  );
  if (changes.some(({ at }, index) => index > 0 && at <= changes[index - 1]!.at))
    throw new DbError('22023', '"zone.changes" are not in the order of time', {
      field: 'zone.changes',
      hint: 'Sort them, and give one instant once.',
    });
  return overriddenZone(base, changes);
}

const OFFSET_SECONDS_MAX = 57_600;

function weekendFrom(weekend: CalendarSpec['weekend']): ReadonlySet<number> {
  if (weekend === undefined) return new Set([6, 7]);
  if (!Array.isArray(weekend))
    throw new DbError('22023', '"weekend" is no list of weekdays', {
      field: 'weekend',
      hint: "Write ['saturday', 'sunday'], or [] for none.",
    });
  refuseMany(weekend.length, 'weekend');
  const days = new Set(weekend.map((day) => weekdayOf(day, 'weekend')));
  if (days.size === 7)
    throw new DbError('22023', '"weekend" leaves no business day', {
      field: 'weekend',
      hint: 'Leave out the days on which there is business.',
    });
  return days;
}

/** Every day of a century, and more: whoever writes a calendar into a question waits for as many to be read. */
const ENTRIES_MAX = 40_000;

function refuseMany(count: number, field: string): void {
  if (count > ENTRIES_MAX)
    throw new DbError('54000', `"${field}" has more than ${ENTRIES_MAX} entries`, {
      field,
      limit: 'entries',
      hint: 'Leave out years that nobody asks for.',
    });
}

function holidaysFrom(
  holidays: CalendarSpec['holidays'],
  names: Map<number, string>,
): BusinessRules['holidays'] {
  if (holidays === undefined) return [];
  if (typeof holidays === 'function')
    return (year) => {
      const dates: unknown = holidays(year);
      if (!Array.isArray(dates))
        throw new DbError('22023', 'the function of holidays gives no list of dates', {
          field: 'holidays',
          hint: "Return dates such as ['2026-12-25'].",
        });
      return asDays(dates as string[], 'holidays');
    };
  if (!Array.isArray(holidays))
    throw new DbError('22023', '"holidays" is no list of dates', {
      field: 'holidays',
      hint: "Write ['2026-12-25'], or [{ date: '2026-12-25', name: 'Christmas' }].",
    });
  refuseMany(holidays.length, 'holidays');
  const dates: string[] = [];
  for (const [index, holiday] of (holidays as readonly (string | Holiday)[]).entries()) {
    if (typeof holiday === 'string') {
      dates.push(holiday);
      continue;
    }
    onlyKeys(holiday, ['date', 'name'], `holidays.${index}.`);
    dates.push(holiday.date);
    const day = civilDay(valueText(holiday.date));
    if (day !== undefined && holiday.name !== undefined) names.set(day, valueText(holiday.name));
  }
  return asDays(dates, 'holidays');
}

function hoursFrom(hours: CalendarSpec['hours']): Pick<BusinessRules, 'hours' | 'hoursOn'> {
  if (hours === undefined) return { hours: undefined, hoursOn: new Map() };
  const everyDay = new Map<number, readonly OpenHours[]>();
  const hoursOn = new Map<number, readonly OpenHours[]>();
  if (typeof hours === 'string' || Array.isArray(hours)) {
    const all = openHours(hours as HoursText, 'hours');
    for (let weekday = 1; weekday <= 7; weekday += 1) everyDay.set(weekday, all);
    return { hours: everyDay, hoursOn };
  }
  if (typeof hours !== 'object' || hours === null)
    throw new DbError('22023', '"hours" is neither a text nor an object', {
      field: 'hours',
      hint: "Write '09:30-16:00', or { 'monday-friday': '09:30-16:00' }.",
    });
  let byWeekday = false;
  refuseMany(Object.keys(hours).length, 'hours');
  for (const [key, text] of Object.entries(hours)) {
    const field = `hours.${key}`;
    const day = civilDay(key);
    if (day !== undefined) {
      hoursOn.set(day, openHours(text, field));
      continue;
    }
    byWeekday = true;
    const [first, last, more] = key.split(/[-_]/);
    if (more !== undefined)
      throw new DbError('22023', `"${field}" names no weekdays`, {
        field,
        hint: "Write 'monday', 'monday-friday' or a date.",
      });
    const from = weekdayOf(first, field);
    const to = last === undefined ? from : weekdayOf(last, field);
    const open = openHours(text, field);
    for (let weekday = from; ; weekday = (weekday % 7) + 1) {
      everyDay.set(weekday, open);
      if (weekday === to) break;
    }
  }
  // Dates alone are exceptions from whole days.
  return { hours: byWeekday ? everyDay : undefined, hoursOn };
}

function openHours(text: HoursText, field: string): readonly OpenHours[] {
  const openings = Array.isArray(text) ? text : [text];
  refuseMany(openings.length, field);
  const all = openings.map((each: unknown) => {
    const match = /^(\d{1,2}):(\d{2})\s*[-–]\s*(\d{1,2}):(\d{2})$/.exec(valueText(each).trim());
    const [from, to] =
      match === null
        ? [NaN, NaN]
        : [Number(match[1]) * 60 + Number(match[2]), Number(match[3]) * 60 + Number(match[4])];
    if (
      match === null ||
      Number(match[2]) > 59 ||
      Number(match[4]) > 59 ||
      to > 1440 ||
      !(from < to)
    )
      throw new DbError('22023', `"${field}" has "${valueText(each)}", which is no opening`, {
        field,
        hint: "Write '09:30-16:00'; 24:00 is the end of the day. What goes past midnight is two openings.",
      });
    return { from, to };
  });
  all.sort((a, b) => a.from - b.from);
  if (all.some(({ from }, index) => index > 0 && from < all[index - 1]!.to))
    throw new DbError('22023', `"${field}" has openings that overlap`, {
      field,
      hint: 'Write one from the first time to the last.',
    });
  return all;
}

function retailFrom(retail: NonNullable<CalendarSpec['retail']>): RetailRule {
  const pattern = oneOf(retail.pattern ?? '4-4-5', ['4-4-5', '4-5-4', '5-4-4'], 'retail.pattern');
  const [first, second, third] = pattern.split('-').map(Number) as [number, number, number];
  return {
    pattern: [first, second, third],
    ends: oneOf(retail.ends ?? 'nearest', ['nearest', 'last'], 'retail.ends'),
    weekday: weekdayOf(retail.weekday ?? 'saturday', 'retail.weekday'),
    month: monthOf(retail.month ?? 1, 'retail.month'),
  };
}

/** The spec as plain data, every default written out: what a journal keeps. A function of holidays is none: 22023. */
export function plainSpec(spec: CalendarSpec): CalendarSpec {
  const rules = rulesOf(spec);
  if (typeof spec.holidays === 'function')
    throw new DbError('22023', 'a function of holidays cannot be kept', {
      field: 'holidays',
      hint: 'Give the dates as a list: [2026, 2027].flatMap(holidays).',
    });
  return {
    zone:
      rules.zone.override !== undefined
        ? {
            name: rules.zone.name,
            changes: rules.zone.override.changes.map(({ at, offset }) => ({
              from: new Date(at * 1000).toISOString(),
              offsetSeconds: offset,
            })),
          }
        : rules.zone.name,
    weekStart: weekdayName(rules.weekStart) as Weekday,
    fiscalYearStart: rules.fiscalYearStart,
    weekend: [...rules.business.weekend].sort().map((day) => weekdayName(day) as Weekday),
    holidays: (spec.holidays ?? []).map((each) =>
      typeof each === 'string' || each.name !== undefined ? each : each.date,
    ),
    ...(spec.hours === undefined ? {} : { hours: structuredClone(spec.hours) }),
    ...(rules.retail === undefined
      ? {}
      : {
          retail: {
            pattern: rules.retail.pattern.join('-') as '4-4-5',
            ends: rules.retail.ends,
            weekday: weekdayName(rules.retail.weekday) as Weekday,
            month: rules.retail.month,
            leapWeek: rules.leapWeek,
          },
        }),
  };
}
