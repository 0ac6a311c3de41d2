import { DbError } from '../../base/errors.ts';
import { civilFromDays, daysFromCivil } from '../../calendar/civil.ts';
import { zoneOf } from '../../calendar/zones.ts';
import { isFinite, MICROS_A_DAY, MICROS_A_MINUTE, MICROS_AN_HOUR } from '../datetime.ts';
import {
  age,
  checkedInstant,
  dayOf,
  instantOf,
  intervalOf,
  microsBetween,
  roundHalfEven,
  timePlusMicros,
  timestampPlusInterval,
  timestamptzPlusInterval,
  timestamptzToTimestamp,
  timestampToTimestamptz,
  type Instant,
} from '../datetime.ts';
import type { Datum, Interval } from '../../columns/values.ts';
import type { EvaluationContext, FunctionDef } from '../function-def.ts';
import { define } from './define.ts';

const instant = (value: Datum | undefined): Instant => value as Instant;
const STABLE = { volatility: 'stable' } as const;
const ZONED = { volatility: 'zoned' } as const;

/** What makes, bins and compares dates and times, beside the operators. */
export const TIMES: readonly FunctionDef[] = [
  ...(['timestamp', 'timestamptz'] as const).map((kind) =>
    define('date_bin', ['interval', kind, kind], kind, ([stride, value, origin]) =>
      binned(stride as Interval, instant(value), instant(origin)),
    ),
  ),
  define('make_date', ['int4', 'int4', 'int4'], 'date', ([year, month, day]) =>
    dayOfParts(year as number, month as number, day as number),
  ),
  define('make_time', ['int4', 'int4', 'float8'], 'time', ([hour, minute, second]) =>
    timeOfParts(hour as number, minute as number, second as number),
  ),
  define(
    'make_timestamp',
    ['int4', 'int4', 'int4', 'int4', 'int4', 'float8'],
    'timestamp',
    (args) => localOfParts(args),
  ),
  define(
    'make_timestamptz',
    ['int4', 'int4', 'int4', 'int4', 'int4', 'float8'],
    'timestamptz',
    (args, { zone }) => timestampToTimestamptz(localOfParts(args), zoneOf(zone)),
    ZONED,
  ),
  define(
    'make_timestamptz',
    ['int4', 'int4', 'int4', 'int4', 'int4', 'float8', 'text'],
    'timestamptz',
    (args) => {
      const local = localOfParts(args);
      // A bare offset counts eastwards here, as in ISO 8601.
      const offset = /^([+-])(\d{1,2})(?::?(\d{2}))?$/.exec(args[6] as string);
      if (offset === null) return timestampToTimestamptz(local, zoneOf(args[6] as string));
      const seconds = Number(offset[2]) * 3600 + Number(offset[3] ?? 0) * 60;
      return shiftedBy(local, (offset[1] === '-' ? seconds : -seconds) * 1_000_000);
    },
  ),
  ...[0, 1, 2, 3, 4, 5, 6, 7].map((count) =>
    define(
      'make_interval',
      (['int4', 'int4', 'int4', 'int4', 'int4', 'int4', 'float8'] as const).slice(0, count),
      'interval',
      (args) => {
        const part = (index: number): number => (args[index] ?? 0) as number;
        return intervalOf(
          part(0) * 12 + part(1),
          part(2) * 7 + part(3),
          part(4) * MICROS_AN_HOUR + part(5) * MICROS_A_MINUTE + roundHalfEven(part(6) * 1e6),
        );
      },
    ),
  ),
  define(
    'age',
    ['timestamptz', 'timestamptz'],
    'interval',
    ([a, b], { zone }) =>
      age(
        timestamptzToTimestamp(instant(a), zoneOf(zone)),
        timestamptzToTimestamp(instant(b), zoneOf(zone)),
      ),
    ZONED,
  ),
  define(
    'age',
    ['timestamp'],
    'interval',
    ([a], context) => age(today(context), instant(a)),
    STABLE,
  ),
  define(
    'age',
    ['timestamptz'],
    'interval',
    ([a], context) => age(today(context), timestamptzToTimestamp(instant(a), zoneOf(context.zone))),
    STABLE,
  ),
  ...(['timestamp', 'timestamptz', 'date', 'time'] as const).map((kind) =>
    define(
      'overlaps',
      [kind, kind, kind, kind],
      'boolean',
      ([a, b, c, d]) => overlap([a!, b!], [c!, d!]),
      { strict: false },
    ),
  ),
  ...(['timestamp', 'timestamptz', 'time'] as const).flatMap((kind) =>
    (
      [
        ['interval', 'interval'],
        ['interval', kind],
        [kind, 'interval'],
      ] as const
    ).map(([first, second]) =>
      define(
        'overlaps',
        [kind, first, kind, second],
        'boolean',
        ([a, b, c, d], context) =>
          overlap(
            [a!, first === 'interval' ? laterBy(kind, a!, b!, context) : b!],
            [c!, second === 'interval' ? laterBy(kind, c!, d!, context) : d!],
          ),
        kind === 'timestamptz' ? { strict: false, ...ZONED } : { strict: false },
      ),
    ),
  ),
  define('isfinite', ['interval'], 'boolean', () => true),
  define('timezone', ['interval', 'timestamptz'], 'timestamp', ([offset, value]) =>
    shiftedBy(instant(value), (offset as Interval).micros),
  ),
  define('timezone', ['interval', 'timestamp'], 'timestamptz', ([offset, value]) =>
    shiftedBy(instant(value), -(offset as Interval).micros),
  ),
];

/** Midnight of the statement's day, which age() of one argument counts from. */
function today(context: EvaluationContext): Instant {
  const local = timestamptzToTimestamp(context.nowMicros, zoneOf(context.zone));
  return instantOf(dayOf(local), 0);
}

function shiftedBy(value: Instant, micros: number): Instant {
  return isFinite(value) ? checkedInstant(BigInt(value) + BigInt(micros)) : value;
}

export function binned(stride: Interval, value: Instant, origin: Instant): Instant {
  if (!isFinite(value)) return value;
  if (!isFinite(origin)) throw new DbError('22008', 'origin out of range');
  if (stride.months !== 0)
    throw new DbError(
      '0A000',
      'timestamps cannot be binned into intervals containing months or years',
      {
        hint: "Use date_trunc('month', …).",
      },
    );
  const size = BigInt(stride.days) * BigInt(MICROS_A_DAY) + BigInt(stride.micros);
  if (size <= 0n) throw new DbError('22008', 'stride must be greater than zero');
  const distance = BigInt(microsBetween(value, origin));
  let rest = distance % size;
  if (rest < 0n) rest += size;
  return checkedInstant(BigInt(value) - rest);
}

function dayOfParts(year: number, month: number, day: number): number {
  const bad = (): DbError =>
    new DbError(
      '22008',
      `date field value out of range: ${year}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}`,
    );
  if (year === 0) throw bad();
  // Negative years count BC, which has no year 0.
  const days = daysFromCivil(year < 0 ? year + 1 : year, month, day);
  const back = civilFromDays(days);
  if (month < 1 || month > 12 || back.month !== month || back.day !== day) throw bad();
  return days;
}

function timeOfParts(hour: number, minute: number, second: number): number {
  const micros = roundHalfEven(second * 1e6);
  const sum = hour * MICROS_AN_HOUR + minute * MICROS_A_MINUTE + micros;
  if (
    hour < 0 ||
    minute < 0 ||
    minute > 59 ||
    !(second >= 0) ||
    micros > MICROS_A_MINUTE ||
    sum > MICROS_A_DAY
  )
    throw new DbError(
      '22008',
      `time field value out of range: ${hour}:${String(minute).padStart(2, '0')}:${second}`,
    );
  return sum;
}

function localOfParts([year, month, day, hour, minute, second]: readonly Datum[]): Instant {
  return instantOf(
    dayOfParts(year as number, month as number, day as number),
    timeOfParts(hour as number, minute as number, second as number),
  );
}

function laterBy(
  kind: 'timestamp' | 'timestamptz' | 'time',
  from: Datum,
  by: Datum,
  { zone }: EvaluationContext,
): Datum {
  if (from === null || by === null) return null;
  if (kind === 'timestamptz')
    return timestamptzPlusInterval(from as Instant, by as Interval, zoneOf(zone));
  return kind === 'time'
    ? timePlusMicros(from as number, (by as Interval).micros)
    : timestampPlusInterval(from as Instant, by as Interval);
}

/** The standard's OVERLAPS: half-open spans, their ends in any order; a NULL end is unknown. */
function overlap(first: readonly [Datum, Datum], second: readonly [Datum, Datum]): boolean | null {
  const a = ordered(first);
  const b = ordered(second);
  if (a === null || b === null) return null;
  const [from, to] = a;
  const [otherFrom, otherTo] = b;
  if (from === otherFrom) return to === null || otherTo === null ? null : true;
  const [early, late] = from < otherFrom ? [a, b] : [b, a];
  if (early[1] === null) return null;
  if (late[0] < early[1]) return true;
  return late[1] === null ? null : false;
}

function ordered([a, b]: readonly [Datum, Datum]): [Instant, Instant | null] | null {
  if (a === null) return b === null ? null : [b as Instant, null];
  if (b === null) return [a as Instant, null];
  return a <= b ? [a as Instant, b as Instant] : [b as Instant, a as Instant];
}
