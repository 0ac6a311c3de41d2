import { DbError } from '../../base/errors.ts';
import { calendar } from '../../calendar/calendar.ts';
import { civilFromDays } from '../../calendar/civil.ts';
import { firstInstantSeconds, type Zone } from '../../calendar/zones.ts';
import type { Datum, Interval } from '../../columns/values.ts';
import {
  addMonths,
  dateToTimestamp,
  dayOf,
  instantOf,
  instantPlusMicros,
  isFinite,
  MICROS_A_DAY,
  MICROS_A_SECOND,
  microsOfDay,
  TIMESTAMP_DAY_MAX,
  TIMESTAMP_DAY_MIN,
  timestampOutOfRange,
  timestampPlusInterval,
  timestampToDate,
  timestamptzToTimestamp,
  type Instant,
} from '../datetime.ts';
import type { EvaluationContext, FunctionDef, TypePattern } from '../function-def.ts';
import { define, type Evaluate } from './define.ts';
import { binned } from './times.ts';
import { plainStart, rulerOf, wrongWidth } from './time-bucket.ts';

/**
 * `time_bucket(width, time [, zone], origin [, offset])` and `time_bucket(width, time [, zone], offset)`: windows that are counted from an
 * origin, or begin later by an offset than those without one.
 *
 * Months and days are counted on the wall from the origin's, and begin with the first instant whose local time is not before: contiguous as
 * all windows are. Hours and less are counted exactly from an origin; by an offset they are moved.
 */
export const TIME_BUCKETS_FROM: readonly FunctionDef[] = [
  bucket(['timestamptz', 'timestamptz']),
  bucket(['timestamptz', 'interval']),
  bucket(['timestamptz', 'text', 'timestamptz']),
  bucket(['timestamptz', 'text', 'interval']),
  bucket(['timestamptz', 'text', 'timestamptz', 'interval']),
  bucket(['timestamp', 'timestamp']),
  bucket(['timestamp', 'interval']),
  bucket(['timestamp', 'timestamp', 'interval']),
  bucket(['date', 'date']),
  bucket(['date', 'interval']),
];

/** What stands behind the time, by kind. */
type Places = {
  readonly zone: number;
  readonly origin: number;
  readonly offset: number;
  readonly isZoned: boolean;
  readonly isDate: boolean;
};

/** The start of the window of a time. */
type Start = (time: Instant) => Instant;

function bucket(args: readonly TypePattern[]): FunctionDef {
  const [time, ...rest] = args;
  const at = (kind: TypePattern): number => rest.indexOf(kind) + 2;
  const places: Places = {
    zone: rest.includes('text') ? at('text') : -1,
    origin: rest.includes(time!) ? at(time!) : -1,
    offset: rest.includes('interval') ? at('interval') : -1,
    isZoned: time === 'timestamptz',
    isDate: time === 'date',
  };
  const evaluate = (given: readonly Datum[], start: Start): Datum => {
    if (!places.isDate) return start(given[1] as Instant);
    const day = given[1] as number;
    return Number.isFinite(day) ? timestampToDate(start(dateToTimestamp(day))) : day;
  };
  return define(
    'time_bucket',
    ['interval', ...args],
    time as 'timestamptz',
    (given, context) => evaluate(given, startsOf(given, places, context)),
    {
      ...(places.isZoned && places.zone < 0 ? { volatility: 'zoned' } : {}),
      prepare: () => remembered(places, evaluate),
    },
  );
}

/** The arguments beside the time are nearly always the same in all rows. */
function remembered(
  places: Places,
  evaluate: (given: readonly Datum[], start: Start) => Datum,
): Evaluate {
  let last:
    | { readonly given: readonly Datum[]; readonly zone: string; readonly start: Start }
    | undefined;
  return (given, context) => {
    if (
      last === undefined ||
      last.zone !== context.zone ||
      !given.every((datum, place) => place === 1 || isSame(datum, last!.given[place]!))
    )
      last = { given: [...given], zone: context.zone, start: startsOf(given, places, context) };
    return evaluate(given, last.start);
  };
}

function isSame(a: Datum, b: Datum): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object') return false;
  const [left, right] = [a as Interval, b as Interval];
  return left.months === right.months && left.days === right.days && left.micros === right.micros;
}

function startsOf(given: readonly Datum[], places: Places, context: EvaluationContext): Start {
  const width = given[0] as Interval;
  const offset = places.offset < 0 ? undefined : (given[places.offset] as Interval);
  const named = places.zone < 0 ? context.zone : (given[places.zone] as string);
  const own = calendar(places.isZoned ? { zone: named } : {});
  const zone = places.isZoned ? own.timeZone : undefined;
  const origin =
    places.origin < 0
      ? undefined
      : places.isDate
        ? dateToTimestamp(given[places.origin] as number)
        : (given[places.origin] as Instant);
  if (origin !== undefined && !isFinite(origin))
    throw new DbError('22008', 'windows are not counted from an infinite origin', {
      hint: "Give a time: time_bucket('7 days', ts, timestamptz '2000-01-03').",
    });
  if (width.micros === 0 && (width.months === 0) !== (width.days === 0)) {
    const count = width.months + width.days;
    if (count < 0) throw wrongWidth('it is negative');
    if (places.isDate && offset !== undefined && offset.micros !== 0)
      throw wrongOffset('a date has no hours');
    // Windows without an origin begin with any of their own starts.
    const wall =
      origin === undefined
        ? instantOf(rulerOf(calendar(), width)!.at(ANY_SECONDS).day, 0)
        : zone === undefined
          ? origin
          : timestamptzToTimestamp(origin, zone);
    const first = offset === undefined ? wall : timestampPlusInterval(wall, offset);
    return civilStarts(width, first, zone);
  }
  if (places.isDate) throw wrongWidth('a date has no hours');
  if (offset !== undefined && (offset.months !== 0 || offset.days !== 0))
    throw wrongOffset('windows of hours and less are moved by hours and less');
  const by = offset?.micros ?? 0;
  if (origin !== undefined) {
    if (width.months !== 0 || width.days !== 0 || width.micros === 0)
      throw wrongWidth('it mixes months, days and hours, or is empty');
    if (width.micros < 0) throw wrongWidth('it is negative');
    const first = instantPlusMicros(origin, by);
    return (time) => binned(width, time, first);
  }
  const ruler = rulerOf(own, width);
  return (time) =>
    isFinite(time)
      ? instantPlusMicros(plainStart(ruler, width, instantPlusMicros(time, -by)), by)
      : time;
}

/** In 2000: what windows are counted from is far from no time that there is. */
const ANY_SECONDS = 946_684_800;

/** Windows of months or days on the wall, one of which begins at `first`; without a zone the wall is all there is. */
function civilStarts({ months, days }: Interval, first: Instant, zone: Zone | undefined): Start {
  const day = dayOf(first);
  const micros = microsOfDay(first, day);
  const firstMonth = monthOf(day);
  /** The beginning of the `count`th window; −∞ and ∞ beyond all times. */
  const startOf = (count: number): Instant => {
    const own = months === 0 ? day + count * days : addMonths(day, count * months);
    if (own < TIMESTAMP_DAY_MIN) return -Infinity;
    if (own > TIMESTAMP_DAY_MAX) return Infinity;
    const local = instantOf(own, micros);
    if (zone === undefined) return local;
    const seconds = (own * MICROS_A_DAY) / MICROS_A_SECOND + Math.floor(micros / MICROS_A_SECOND);
    const instant = firstInstantSeconds(zone, seconds);
    const shift = (instant - seconds) * MICROS_A_SECOND;
    const start = instantPlusMicros(local, shift);
    // What begins where the clocks leave a time out begins with the change.
    const isLeftOut = timestamptzToTimestamp(start, zone) !== local;
    return isLeftOut ? instantPlusMicros(start, -(micros % MICROS_A_SECOND)) : start;
  };
  return (time) => {
    if (!isFinite(time)) return time;
    const own = dayOf(zone === undefined ? time : timestamptzToTimestamp(time, zone));
    let count =
      months === 0
        ? Math.floor((own - day) / days)
        : Math.floor((monthOf(own) - firstMonth) / months);
    let start = startOf(count);
    for (; start > time; start = startOf(count)) count -= 1;
    for (let next = startOf(count + 1); next <= time; next = startOf(count + 1)) {
      count += 1;
      start = next;
    }
    if (start === -Infinity) throw timestampOutOfRange();
    return start;
  };
}

function monthOf(day: number): number {
  const { year, month } = civilFromDays(day);
  return year * 12 + month;
}

function wrongOffset(why: string): DbError {
  return new DbError('22023', `the offset of time_bucket is none: ${why}`, {
    hint: "Write time_bucket('1 day', ts, interval '6 hours').",
  });
}
