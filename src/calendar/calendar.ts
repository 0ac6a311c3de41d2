import { DbError } from '../base/errors.ts';
import { valueText } from '../base/value-text.ts';
import { nearestOf } from '../base/nearest.ts';
import { BusinessDays, type Roll } from './business-days.ts';
import {
  civilDay,
  civilFromDays,
  civilText,
  dayOfYear,
  daysFromCivil,
  daysInMonth,
  isoWeek,
  isoWeekday,
  isoYear,
  pad2,
} from './civil.ts';
import { parseInstantMs, type InstantInput } from './instants.ts';
import { RetailYears } from './retail.ts';
import {
  oneOf,
  onlyKeys,
  plainSpec,
  rulesOf,
  type CalendarRules,
  type CalendarSpec,
} from './spec.ts';
import { civilUnit, clockSeconds, parseAmount, type CivilUnit, type UnitContext } from './units.ts';
import {
  firstInstantSeconds,
  localInstants,
  offsetPieceAt,
  TZ_VERSION,
  type LocalInstants,
  type Zone,
} from './zones.ts';

/** A window of time: from `startMs` until just before `endMs`. */
export type CalendarWindow = {
  readonly startMs: number;
  readonly endMs: number;
  /** Of whole days and more the first civil day; below that local time with its offset, `2026-11-01T01:00-04:00`. */
  readonly label: string;
  /** At the start. */
  readonly offsetSeconds: number;
  /** A piece of a clock unit, cut off by a change of offset. */
  readonly partial: boolean;
};

export type Span = { readonly startMs: number; readonly endMs: number };

export type Duration = {
  readonly year?: number;
  readonly quarter?: number;
  readonly month?: number;
  readonly week?: number;
  readonly day?: number;
  readonly businessDay?: number;
  readonly hour?: number;
  readonly minute?: number;
  readonly second?: number;
  readonly millisecond?: number;
};

/** What a local time means that a change of offset repeats or skips. */
export type Disambiguation = 'compatible' | 'earlier' | 'later' | 'reject';

export type WindowOptions = {
  /** @internal What errors call the unit. */
  readonly field?: string | undefined;
  /** Clock units: the two passes of a repeated hour are one window. */
  readonly mergeRepeated?: boolean | undefined;
};

/** A calendar from its spec. Pure: the same spec under the same tz version gives the same answers, everywhere. Throws 22023. */
export function calendar(spec: CalendarSpec = {}): Calendar {
  return new Calendar(spec);
}

/**
 * Local time, and what a business makes of it.
 *
 * 1. Windows of a unit are contiguous and half-open, and hold every instant exactly once: a window begins at the first instant
 *    whose local time is at or after its local start (in a gap: at the change of offset; of a repeated time: at the first).
 * 2. Windows below a day are cut where the offset changes, so a repeated hour is two windows.
 * 3. Nothing here asks the process's own time zone, and nothing asks Intl once a zone's stretch of some 17 years is known.
 */
export class Calendar {
  readonly zone: string;
  readonly tzVersion: string = TZ_VERSION;
  /** How 52/53-week years are compared. */
  readonly leapWeek: CalendarRules['leapWeek'];
  /** 1 … 12. */
  readonly fiscalYearStart: number;
  readonly business: BusinessDays;
  readonly retail: RetailYears | undefined;
  readonly #spec: CalendarSpec;
  readonly #zone: Zone;
  readonly #names: ReadonlyMap<number, string>;
  readonly #context: UnitContext;
  readonly #rulers = new Map<string, Ruler>();

  /** @internal `zone` goes before the spec's. */
  constructor(spec: CalendarSpec, zone?: Zone) {
    const rules = rulesOf(spec);
    this.#spec = spec;
    this.#zone = zone ?? rules.zone;
    this.#names = rules.names;
    this.zone = this.#zone.name;
    this.leapWeek = rules.leapWeek;
    this.fiscalYearStart = rules.fiscalYearStart;
    this.business = new BusinessDays(rules.business);
    this.retail = rules.retail === undefined ? undefined : new RetailYears(rules.retail);
    this.#context = {
      weekStart: rules.weekStart,
      fiscalYearStart: rules.fiscalYearStart,
      business: this.business,
      retail: this.retail,
    };
  }

  /** The spec as plain data, defaults written out. Throws 22023 where holidays are a function. */
  get spec(): CalendarSpec {
    return plainSpec(this.#spec);
  }

  /** @internal The zone with its own changes, by which texts without an offset are read. */
  get timeZone(): Zone {
    return this.#zone;
  }

  // ── Windows ────────────────────────────────────────────────────────────────────────────────────────────────

  /** The window that an instant lies in: `c.window(ms, 'week')`, `'15min'`, `'fiscalQuarter'`, `'2 weeks'`. */
  window(instant: InstantInput, unit: string, options: WindowOptions = {}): CalendarWindow {
    const ruler = this.ruler(unit, options);
    return { ...ruler.describe(ruler.at(this.#seconds(instant, 'instant'))) };
  }

  /** The windows that have an instant in [from, to), whole ones, in order. More than 100,000 of them: 54000. */
  windows(
    from: InstantInput,
    to: InstantInput,
    unit: string,
    options: WindowOptions = {},
  ): CalendarWindow[] {
    const ruler = this.ruler(unit, options);
    const first = parseInstantMs(from, this.#zone, 'from');
    const last = parseInstantMs(to, this.#zone, 'to');
    const out: CalendarWindow[] = [];
    if (!(first < last)) return out;
    for (let at = ruler.at(Math.floor(first / 1000)); at.start * 1000 < last; at = ruler.next(at)) {
      if (out.length >= WINDOW_COUNT_MAX) throw tooManyWindows(unit);
      out.push({ ...ruler.describe(at) });
    }
    return out;
  }

  startOf(instant: InstantInput, unit: string): number {
    return this.ruler(unit).at(this.#seconds(instant, 'instant')).start * 1000;
  }

  /** The first instant of a local day, given as days since 1970, in seconds. */
  dayStart(day: number): number {
    return firstInstantSeconds(this.#zone, day * 86_400);
  }

  /** What instants a local time may mean, in seconds. */
  localInstants(localSeconds: number): LocalInstants {
    return localInstants(this.#zone, localSeconds);
  }

  /** The local day of an instant by contiguous windows: what `window(…, 'day')` is labelled with, as days since 1970. */
  dayAt(seconds: number): number {
    return this.ruler('day').at(seconds).day;
  }

  /** What cuts time into windows of a unit. Throws 22023 for what is no unit. */
  ruler(unit: string, options: WindowOptions = {}): Ruler {
    const merged = options.mergeRepeated === true;
    const key = merged ? `merged ${unit}` : unit;
    let ruler = this.#rulers.get(key);
    if (ruler === undefined) {
      ruler = this.#newRuler(unit, options.field ?? 'unit', merged);
      if (this.#rulers.size >= RULER_COUNT_MAX) this.#rulers.clear();
      this.#rulers.set(key, ruler);
    }
    return ruler;
  }

  #newRuler(unit: string, field: string, merged: boolean): Ruler {
    const amount = parseAmount(unit, field);
    if (amount.kind === 'civil')
      return new CivilRuler(this.#zone, civilUnit(amount, this.#context, field));
    const width = clockSeconds(amount, field);
    return merged ? new MergedClockRuler(this.#zone, width) : new ClockRuler(this.#zone, width);
  }

  // ── Facts about an instant ─────────────────────────────────────────────────────────────────────────────────

  offsetSeconds(instant: InstantInput): number {
    return this.offsetAt(this.#seconds(instant, 'instant'));
  }

  /** The same for whole seconds since 1970. */
  offsetAt(seconds: number): number {
    return offsetPieceAt(this.#zone, seconds).offset;
  }

  isoWeek(instant: InstantInput): {
    readonly isoYear: number;
    readonly isoWeek: number;
    readonly isoWeekday: number;
    readonly ordinal: number;
  } {
    const day = this.#localDay(this.#seconds(instant, 'instant'));
    return {
      isoYear: isoYear(day),
      isoWeek: isoWeek(day),
      isoWeekday: isoWeekday(day),
      ordinal: dayOfYear(day),
    };
  }

  /** What the clock on the wall shows: `2026-11-22T11:00:00.000+01:00`. */
  local(instant: InstantInput): string {
    const ms = parseInstantMs(instant, this.#zone, 'instant');
    const seconds = Math.floor(ms / 1000);
    const offset = this.offsetAt(seconds);
    const local = seconds + offset;
    const second = mod(local, 60);
    const millis = String(Math.floor(ms - seconds * 1000)).padStart(3, '0');
    return `${minuteText(local)}:${pad2(second)}.${millis}${offsetText(offset)}`;
  }

  /** The instants a local time may mean, in milliseconds: see `Disambiguation`. */
  instant(local: string, options: { readonly disambiguation?: Disambiguation } = {}): number {
    const ms = parseInstantMs(local, UTC_ZONE, 'local');
    const seconds = Math.floor(ms / 1000);
    return this.#instantOf(seconds, options.disambiguation) * 1000 + (ms - seconds * 1000);
  }

  // ── Arithmetic ─────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Years to days by the clock on the wall (31 January + 1 month is the end of February), then hours and less exactly. Where
   * the local time it comes to is repeated or skipped, `disambiguation` chooses; `reject` throws 22008.
   */
  add(
    instant: InstantInput,
    duration: Duration,
    options: { readonly disambiguation?: Disambiguation } = {},
  ): number {
    const ms = parseInstantMs(instant, this.#zone, 'instant');
    const { months, days, businessDays, exactMs } = partsOf(duration);
    const disambiguation = oneOf(
      options.disambiguation ?? 'compatible',
      DISAMBIGUATIONS,
      'disambiguation',
    );
    let at = ms;
    if (months !== 0 || days !== 0 || businessDays !== 0) {
      const seconds = Math.floor(ms / 1000);
      const local = seconds + this.offsetAt(seconds);
      let day = Math.floor(local / 86_400);
      if (months !== 0) day = plusMonths(day, months);
      day += days;
      if (businessDays !== 0)
        day = this.business.plus(this.business.roll(day, 'forward'), businessDays);
      at =
        this.#instantOf(day * 86_400 + mod(local, 86_400), disambiguation) * 1000 + mod(ms, 1000);
    }
    return parseInstantMs(at + exactMs, this.#zone, 'duration');
  }

  #instantOf(localSeconds: number, disambiguation: Disambiguation = 'compatible'): number {
    const found = localInstants(this.#zone, localSeconds);
    if (disambiguation !== 'reject') return found[disambiguation];
    if (found.kind === 'one') return found.compatible;
    throw new DbError(
      '22008',
      `${minuteText(localSeconds)} ${found.kind === 'gap' ? 'does not exist' : 'comes twice'} in ${this.zone}`,
      {
        field: 'disambiguation',
        hint: "Use 'compatible', 'earlier' or 'later'.",
      },
    );
  }

  /**
   * Spans that dashboards ask for, relative to `now`: `today`, `yesterday`, `last7Days` (whole days before today),
   * `trailing7dWallClock`, `previousMonth`, `monthToDate`, `thisQuarter`, `yearToDateLastYear`, `sameDayLastWeek`,
   * `sameDayLastYear364`; the units with `previous…`, `this…` and `…ToDate` are all that `window` knows, such as `previousFiscalYear`.
   */
  relative(
    name: string,
    now: InstantInput,
    options: { /** @internal */ readonly field?: string } = {},
  ): Span {
    const ms = parseInstantMs(now, this.#zone, 'now');
    const seconds = Math.floor(ms / 1000);
    const today = (): number => this.dayAt(seconds);
    const days = (from: number, to: number): Span => ({
      startMs: this.dayStart(from) * 1000,
      endMs: this.dayStart(to) * 1000,
    });
    switch (name) {
      case 'today':
        return days(today(), today() + 1);
      case 'yesterday':
        return days(today() - 1, today());
      case 'tomorrow':
        return days(today() + 1, today() + 2);
      case 'sameDayLastWeek':
        return days(today() - 7, today() - 6);
      case 'sameDayLastYear364':
        return days(today() - 364, today() - 363);
      case 'yearToDateLastYear':
        return {
          startMs: this.#unitStart('year', seconds, -1),
          endMs: this.add(ms, { year: -1 }),
        };
    }
    const last = /^last(\d{1,6})Days$/.exec(valueText(name));
    if (last !== null) return days(today() - Number(last[1]), today());
    const trailing = /^trailing(\d{1,6})dWallClock$/.exec(valueText(name));
    if (trailing !== null)
      return { startMs: this.add(ms, { day: -Number(trailing[1]) }), endMs: ms };
    const unit = /^(previous|this|next)([A-Z][A-Za-z]*)$/.exec(valueText(name));
    const toDate = /^([a-z][A-Za-z]*)ToDate$/.exec(valueText(name));
    const word = unit?.[2] ?? toDate?.[1];
    const known = RELATIVE_UNITS.find((each) => each.toLowerCase() === word?.toLowerCase());
    if (known === undefined) throw unknownRelative(valueText(name), options.field ?? 'name');
    if (toDate !== null) return { startMs: this.#unitStart(known, seconds, 0), endMs: ms };
    const back = unit![1] === 'previous' ? -1 : unit![1] === 'next' ? 1 : 0;
    return {
      startMs: this.#unitStart(known, seconds, back),
      endMs: this.#unitStart(known, seconds, back + 1),
    };
  }

  /** The start of the window `count` windows on from the one that an instant lies in, in milliseconds. */
  #unitStart(unit: string, seconds: number, count: number): number {
    const ruler = this.ruler(unit);
    return ruler.shift(ruler.at(seconds), count) * 1000;
  }

  // ── Business days ──────────────────────────────────────────────────────────────────────────────────────────

  isBusinessDay(date: string): boolean {
    return this.business.has(dayOf(date, 'date'));
  }

  /** The name of a holiday, `''` where it has none; undefined where it is no holiday. */
  holiday(date: string): string | undefined {
    const day = dayOf(date, 'date');
    return this.business.isHoliday(day) ? (this.#names.get(day) ?? '') : undefined;
  }

  /** `days` business days on from a date, which is moved to a business day first; a date that is none is refused unless `roll` says where to. */
  addBusinessDays(date: string, days: number, options: { readonly roll?: Roll } = {}): string {
    if (!Number.isSafeInteger(days) || Math.abs(days) > BUSINESS_DAYS_MAX)
      throw new DbError('22023', '"days" is not a number of days', {
        field: 'days',
        hint: `Give a whole number, of ${BUSINESS_DAYS_MAX} at most.`,
      });
    const roll = oneOf(options.roll ?? 'refuse', ROLLS, 'roll');
    return civilText(this.business.plus(this.business.roll(dayOf(date, 'date'), roll), days));
  }

  /** Business days in [from, to); negative where `to` comes first. */
  businessDaysBetween(from: string, to: string): number {
    return this.business.between(dayOf(from, 'from'), dayOf(to, 'to'));
  }

  /** When a date is open, in the order of time; a whole business day where the calendar has no hours. */
  openings(date: string): Span[] {
    const day = dayOf(date, 'date');
    return this.#openingsOf(day).filter(({ startMs, endMs }) => startMs < endMs);
  }

  isOpen(instant: InstantInput): boolean {
    const ms = parseInstantMs(instant, this.#zone, 'instant');
    const day = this.dayAt(Math.floor(ms / 1000));
    return this.#openingsOf(day).some(({ startMs, endMs }) => ms >= startMs && ms < endMs);
  }

  /** How long it was open between two instants, in milliseconds: ages of orders, times to answer. */
  openMsBetween(from: InstantInput, to: InstantInput): number {
    const first = parseInstantMs(from, this.#zone, 'from');
    const last = parseInstantMs(to, this.#zone, 'to');
    if (last < first) return -this.openMsBetween(last, first);
    const firstDay = this.dayAt(Math.floor(first / 1000));
    const lastDay = this.dayAt(Math.floor(last / 1000));
    if (lastDay - firstDay > WINDOW_COUNT_MAX) throw tooManyWindows('day');
    let sum = 0;
    for (let day = firstDay; day <= lastDay; day += 1)
      for (const { startMs, endMs } of this.#openingsOf(day))
        sum += Math.max(0, Math.min(endMs, last) - Math.max(startMs, first));
    return sum;
  }

  #openingsOf(day: number): Span[] {
    return this.business.hoursOf(day).map(({ from, to }) => ({
      startMs: firstInstantSeconds(this.#zone, day * 86_400 + from * 60) * 1000,
      endMs: firstInstantSeconds(this.#zone, day * 86_400 + to * 60) * 1000,
    }));
  }

  // ── 52/53-week years ───────────────────────────────────────────────────────────────────────────────────────

  /** A retail year, by the calendar year it ends in or by a date in it. Throws 22023 where the calendar has none. */
  retailYear(which: { readonly endsIn: number } | { readonly containing: string }): {
    readonly endsIn: number;
    readonly start: string;
    readonly endExclusive: string;
    readonly weeks: 52 | 53;
    readonly periodStarts: readonly string[];
  } {
    if (this.retail === undefined)
      throw new DbError('22023', 'the calendar has no retail year', {
        field: 'retail',
        hint: "Give it one: { retail: { pattern: '4-5-4', ends: 'nearest', weekday: 'saturday', month: 1 } }.",
      });
    onlyKeys(which, ['endsIn', 'containing'], '');
    const { endsIn, containing } = which as { endsIn?: number; containing?: string };
    if (containing === undefined && !(Number.isInteger(endsIn) && Math.abs(endsIn!) <= 200_000))
      throw new DbError('22023', '"endsIn" is no year', {
        field: 'endsIn',
        hint: 'Give a year such as 2026, or { containing: a date }.',
      });
    const year =
      containing === undefined
        ? this.retail.endingIn(endsIn!)
        : this.retail.of(dayOf(containing, 'containing'));
    return {
      endsIn: year.endsIn,
      start: civilText(year.start),
      endExclusive: civilText(year.end),
      weeks: year.weeks,
      periodStarts: year.periods.map(civilText),
    };
  }

  #seconds(instant: InstantInput, field: string): number {
    return Math.floor(parseInstantMs(instant, this.#zone, field) / 1000);
  }

  #localDay(seconds: number): number {
    return Math.floor((seconds + this.offsetAt(seconds)) / 86_400);
  }
}

const UTC_ZONE = rulesOf({}).zone;

/** Answers of a hundred thousand windows are no answers. */
export const WINDOW_COUNT_MAX = 100_000;
const RULER_COUNT_MAX = 256;
const BUSINESS_DAYS_MAX = 1_000_000;
const DISAMBIGUATIONS = ['compatible', 'earlier', 'later', 'reject'] as const;
const ROLLS = ['forward', 'backward', 'modifiedForward', 'modifiedBackward', 'refuse'] as const;

const RELATIVE_UNITS = [
  'minute',
  'hour',
  'day',
  'week',
  'isoWeek',
  'month',
  'quarter',
  'year',
  'fiscalQuarter',
  'fiscalYear',
  'businessDay',
  'retailWeek',
  'retailPeriod',
  'retailQuarter',
  'retailYear',
] as const;

function unknownRelative(name: string, field: string): DbError {
  const capital = (unit: string): string => unit[0]!.toUpperCase() + unit.slice(1);
  const names = [
    'today',
    'yesterday',
    'tomorrow',
    'last7Days',
    'last30Days',
    'trailing7dWallClock',
    'yearToDateLastYear',
    'sameDayLastWeek',
    'sameDayLastYear364',
    ...RELATIVE_UNITS.flatMap((unit) => [
      `previous${capital(unit)}`,
      `this${capital(unit)}`,
      `next${capital(unit)}`,
      `${unit}ToDate`,
    ]),
  ];
  const nearest = nearestOf(name, names);
  return new DbError('22023', `"${name}" is no relative window`, {
    field,
    hint:
      nearest === undefined
        ? "Use one such as 'yesterday', 'last7Days', 'previousMonth' or 'yearToDate'."
        : `Did you mean "${nearest}"?`,
  });
}

export function tooManyWindows(unit: string): DbError {
  return new DbError('54000', `more than ${WINDOW_COUNT_MAX} windows of "${unit}"`, {
    limit: 'windows',
    hint: 'Ask for a shorter time, or for longer windows.',
  });
}

function dayOf(date: string, field: string): number {
  const day = civilDay(valueText(date));
  if (day === undefined)
    throw new DbError('22007', `"${valueText(date)}" is no date`, {
      field,
      hint: "Write it as '2026-11-22'.",
    });
  return day;
}

const DURATION_KEYS = [
  'year',
  'quarter',
  'month',
  'week',
  'day',
  'businessDay',
  'hour',
  'minute',
  'second',
  'millisecond',
] as const;

function partsOf(duration: Duration): {
  readonly months: number;
  readonly days: number;
  readonly businessDays: number;
  readonly exactMs: number;
} {
  onlyKeys(duration, DURATION_KEYS, 'duration.');
  const part = (key: (typeof DURATION_KEYS)[number]): number => {
    const value = duration[key] ?? 0;
    if (!Number.isSafeInteger(value) || Math.abs(value) > AMOUNT_MAX)
      throw new DbError('22023', `"duration.${key}" is no whole number`, {
        field: `duration.${key}`,
        hint: `Give a whole number, of ${AMOUNT_MAX} at most; half a day is { hour: 12 }.`,
      });
    return value;
  };
  const businessDays = part('businessDay');
  if (Math.abs(businessDays) > BUSINESS_DAYS_MAX)
    throw new DbError('22023', '"duration.businessDay" is too large', {
      field: 'duration.businessDay',
      hint: `Give ${BUSINESS_DAYS_MAX} at most.`,
    });
  return {
    months: part('year') * 12 + part('quarter') * 3 + part('month'),
    days: part('week') * 7 + part('day'),
    businessDays,
    exactMs:
      part('hour') * 3_600_000 +
      part('minute') * 60_000 +
      part('second') * 1000 +
      part('millisecond'),
  };
}

/** Keeps sums within what doubles hold exactly; whether the result is a date is looked at there. */
const AMOUNT_MAX = 1e12;

function plusMonths(day: number, months: number): number {
  const { year, month, day: dayOfMonth } = civilFromDays(day);
  const index = year * 12 + month - 1 + months;
  const [newYear, newMonth] = [Math.floor(index / 12), mod(index, 12) + 1];
  return daysFromCivil(newYear, newMonth, Math.min(dayOfMonth, daysInMonth(newYear, newMonth)));
}

// ── Rulers ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** A window in seconds since 1970; `day` is the first civil day, or for clock units the local start in seconds. */
export type RulerWindow = {
  readonly start: number;
  readonly end: number;
  readonly day: number;
  /** What `describe` gave. */
  described: CalendarWindow | undefined;
};

/** Cuts time into the windows of one unit. */
export interface Ruler {
  readonly name: string;
  readonly kind: 'clock' | 'civil';
  at(seconds: number): RulerWindow;
  /** The next window that is not empty. */
  next(window: RulerWindow): RulerWindow;
  /** Where the window `count` windows on begins; a window that a skipped day empties is one of them. */
  shift(window: RulerWindow, count: number): number;
  /** One for all who ask: whoever gives it away copies it. */
  describe(window: RulerWindow): CalendarWindow;
}

/** A year of days, and more: dashboards ask for the same windows again and again, and a window's name costs more than what lies in it. */
const KNOWN_WINDOWS = 512;

/** Windows that a ruler has made, by their number. */
class KnownWindows {
  readonly #windows: (RulerWindow | undefined)[] = [];

  /** The window of a number, if an instant lies in it: one that is entered twice has two. */
  find(number: number, seconds: number): RulerWindow | undefined {
    const known = this.#windows[number & (KNOWN_WINDOWS - 1)];
    return known !== undefined && seconds >= known.start && seconds < known.end ? known : undefined;
  }

  put(number: number, window: RulerWindow): RulerWindow {
    this.#windows[number & (KNOWN_WINDOWS - 1)] = window;
    return window;
  }
}

class CivilRuler implements Ruler {
  readonly kind = 'civil';
  readonly name: string;
  readonly #zone: Zone;
  readonly #unit: CivilUnit;
  readonly #known = new KnownWindows();
  #last: RulerWindow = NO_WINDOW;

  constructor(zone: Zone, unit: CivilUnit) {
    this.#zone = zone;
    this.#unit = unit;
    this.name = unit.name;
  }

  at(seconds: number): RulerWindow {
    const last = this.#last;
    if (seconds >= last.start && seconds < last.end) return last;
    const local = seconds + offsetPieceAt(this.#zone, seconds).offset;
    const first = this.#unit.floor(Math.floor(local / 86_400));
    this.#last =
      this.#known.find(first, seconds) ?? this.#known.put(first, this.#made(first, seconds));
    return this.#last;
  }

  #made(first: number, seconds: number): RulerWindow {
    let day = first;
    let next = this.#unit.shift(day, 1);
    let end = this.#start(next);
    // A date that is entered again belongs to the window that has begun.
    while (end <= seconds) {
      day = next;
      next = this.#unit.shift(day, 1);
      end = this.#start(next);
    }
    return { start: this.#start(day), end, day, described: undefined };
  }

  next(window: RulerWindow): RulerWindow {
    // What begins where this one ends; windows that a skipped day empties begin and end there.
    return this.at(window.end);
  }

  shift(window: RulerWindow, count: number): number {
    return count === 0 ? window.start : this.#start(this.#unit.shift(window.day, count));
  }

  describe(window: RulerWindow): CalendarWindow {
    return (window.described ??= this.#described(window));
  }

  #described({ start, end, day }: RulerWindow): CalendarWindow {
    return {
      startMs: start * 1000,
      endMs: end * 1000,
      label: civilText(day),
      offsetSeconds: offsetPieceAt(this.#zone, start).offset,
      partial: false,
    };
  }

  #start(day: number): number {
    return firstInstantSeconds(this.#zone, day * 86_400);
  }
}

const NO_WINDOW: RulerWindow = { start: Infinity, end: -Infinity, day: 0, described: undefined };

class ClockRuler implements Ruler {
  readonly kind = 'clock';
  readonly name: string;
  readonly #zone: Zone;
  readonly #width: number;
  readonly #known = new KnownWindows();
  #last: RulerWindow = NO_WINDOW;

  constructor(zone: Zone, width: number) {
    this.#zone = zone;
    this.#width = width;
    this.name = `${width} s`;
  }

  at(seconds: number): RulerWindow {
    const last = this.#last;
    if (seconds >= last.start && seconds < last.end) return last;
    const { offset } = offsetPieceAt(this.#zone, seconds);
    const number = Math.floor((seconds + offset) / this.#width);
    this.#last =
      this.#known.find(number, seconds) ?? this.#known.put(number, this.#made(number, seconds));
    return this.#last;
  }

  #made(number: number, seconds: number): RulerWindow {
    const width = this.#width;
    let { from, to } = offsetPieceAt(this.#zone, seconds);
    const { offset } = offsetPieceAt(this.#zone, seconds);
    const local = number * width;
    const start = local - offset;
    const end = start + width;
    // A piece of a table may begin and end without a change of offset.
    while (start < from) {
      const before = offsetPieceAt(this.#zone, from - 1);
      if (before.offset !== offset) break;
      ({ from } = before);
    }
    while (end > to) {
      const after = offsetPieceAt(this.#zone, to);
      if (after.offset !== offset) break;
      ({ to } = after);
    }
    return {
      start: Math.max(start, from),
      end: Math.min(end, to),
      day: local,
      described: undefined,
    };
  }

  next(window: RulerWindow): RulerWindow {
    return this.at(window.end);
  }

  shift(window: RulerWindow, count: number): number {
    let at = window;
    for (let each = 0; each < count; each += 1) at = this.next(at);
    for (let each = 0; each > count; each -= 1) at = this.at(at.start - 1);
    return at.start;
  }

  describe(window: RulerWindow): CalendarWindow {
    return (window.described ??= this.#described(window));
  }

  #described({ start, end, day }: RulerWindow): CalendarWindow {
    const { offset } = offsetPieceAt(this.#zone, start);
    return {
      startMs: start * 1000,
      endMs: end * 1000,
      label: clockLabel(day, this.#width, offset),
      offsetSeconds: offset,
      partial: end - start < this.#width,
    };
  }
}

/** Windows of local time as whole days have them: a repeated hour is one window, twice as long. */
class MergedClockRuler implements Ruler {
  readonly kind = 'clock';
  readonly name: string;
  readonly #zone: Zone;
  readonly #width: number;

  constructor(zone: Zone, width: number) {
    this.#zone = zone;
    this.#width = width;
    this.name = `${width} s`;
  }

  at(seconds: number): RulerWindow {
    const width = this.#width;
    const local = seconds + offsetPieceAt(this.#zone, seconds).offset;
    let day = Math.floor(local / width) * width;
    let end = firstInstantSeconds(this.#zone, day + width);
    while (end <= seconds) {
      day += width;
      end = firstInstantSeconds(this.#zone, day + width);
    }
    return { start: firstInstantSeconds(this.#zone, day), end, day, described: undefined };
  }

  next(window: RulerWindow): RulerWindow {
    return this.at(window.end);
  }

  shift(window: RulerWindow, count: number): number {
    return firstInstantSeconds(this.#zone, window.day + count * this.#width);
  }

  describe({ start, end, day }: RulerWindow): CalendarWindow {
    const { offset } = offsetPieceAt(this.#zone, start);
    return {
      startMs: start * 1000,
      endMs: end * 1000,
      label: clockLabel(day, this.#width, offset),
      offsetSeconds: offset,
      partial: end - start < this.#width,
    };
  }
}

function clockLabel(local: number, width: number, offset: number): string {
  const seconds = width % 60 === 0 ? '' : `:${pad2(mod(local, 60))}`;
  return `${minuteText(local)}${seconds}${offsetText(offset)}`;
}

function minuteText(local: number): string {
  const minutes = Math.floor(mod(local, 86_400) / 60);
  return `${civilText(Math.floor(local / 86_400))}T${pad2(Math.floor(minutes / 60))}:${pad2(minutes % 60)}`;
}

/** `+01:00`; local mean times have seconds, `-04:56:02`. */
export function offsetText(offset: number): string {
  const size = Math.abs(offset);
  const seconds = size % 60 === 0 ? '' : `:${pad2(size % 60)}`;
  return `${offset < 0 ? '-' : '+'}${pad2(Math.floor(size / 3600))}:${pad2(Math.floor((size % 3600) / 60))}${seconds}`;
}

function mod(value: number, by: number): number {
  return ((value % by) + by) % by;
}
