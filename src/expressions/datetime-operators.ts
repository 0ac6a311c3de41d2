import { DbError } from '../base/errors.ts';
import type { Datum, Interval } from '../columns/values.ts';
import { zoneOf } from '../calendar/zones.ts';
import {
  addIntervals,
  age,
  checkedDate,
  dateToTimestamp,
  divideInterval,
  instantOf,
  intervalOf,
  justifyDays,
  justifyHours,
  justifyInterval,
  multiplyInterval,
  negateInterval,
  subtractIntervals,
  timePlusMicros,
  timestampDifference,
  timestampPlusInterval,
  timestamptzPlusInterval,
  type Instant,
} from './datetime.ts';
import type { FunctionDef } from './function-def.ts';
import { define } from './functions/define.ts';

const span = (value: Datum | undefined): Interval => value as Interval;
const instant = (value: Datum | undefined): Instant => value as Instant;

/** Whether the clocks of a zone are never put forward or back: order by the wall is the order of instants there. */
export function hasFixedOffset(zone: string): boolean {
  return zoneOf(zone).fixedOffsetSeconds !== undefined;
}

/** What never comes is no nearer a day later. */
function datePlus(date: number, days: number): number {
  return Number.isFinite(date) ? checkedDate(date + days) : date;
}

/** + and − among dates, times and intervals, and what PostgreSQL has beside them. */
export const DATETIME_OPERATORS: readonly FunctionDef[] = [
  define('+', ['date', 'int4'], 'date', ([date, days]) => datePlus(date as number, days as number)),
  define('+', ['int4', 'date'], 'date', ([days, date]) => datePlus(date as number, days as number)),
  define('-', ['date', 'int4'], 'date', ([date, days]) =>
    datePlus(date as number, -(days as number)),
  ),
  define('-', ['date', 'date'], 'int4', ([a, b]) => {
    const days = (a as number) - (b as number);
    if (!Number.isFinite(days)) throw new DbError('22008', 'cannot subtract infinite dates');
    return days;
  }),
  define('+', ['date', 'interval'], 'timestamp', ([date, by]) =>
    timestampPlusInterval(dateToTimestamp(date as number), span(by)),
  ),
  define('+', ['interval', 'date'], 'timestamp', ([by, date]) =>
    timestampPlusInterval(dateToTimestamp(date as number), span(by)),
  ),
  define('-', ['date', 'interval'], 'timestamp', ([date, by]) =>
    timestampPlusInterval(dateToTimestamp(date as number), negateInterval(span(by))),
  ),
  define('+', ['date', 'time'], 'timestamp', ([date, time]) =>
    Number.isFinite(date) ? instantOf(date as number, time as number) : (date as number),
  ),
  define('+', ['timestamp', 'interval'], 'timestamp', ([at, by]) =>
    timestampPlusInterval(instant(at), span(by)),
  ),
  define('+', ['interval', 'timestamp'], 'timestamp', ([by, at]) =>
    timestampPlusInterval(instant(at), span(by)),
  ),
  define('-', ['timestamp', 'interval'], 'timestamp', ([at, by]) =>
    timestampPlusInterval(instant(at), negateInterval(span(by))),
  ),
  define('-', ['timestamp', 'timestamp'], 'interval', ([a, b]) =>
    timestampDifference(instant(a), instant(b)),
  ),
  define(
    '+',
    ['timestamptz', 'interval'],
    'timestamptz',
    ([at, by], { zone }) => timestamptzPlusInterval(instant(at), span(by), zoneOf(zone)),
    { volatility: 'zoned' },
  ),
  define(
    '+',
    ['interval', 'timestamptz'],
    'timestamptz',
    ([by, at], { zone }) => timestamptzPlusInterval(instant(at), span(by), zoneOf(zone)),
    { volatility: 'zoned' },
  ),
  define(
    '-',
    ['timestamptz', 'interval'],
    'timestamptz',
    ([at, by], { zone }) =>
      timestamptzPlusInterval(instant(at), negateInterval(span(by)), zoneOf(zone)),
    { volatility: 'zoned' },
  ),
  define('-', ['timestamptz', 'timestamptz'], 'interval', ([a, b]) =>
    timestampDifference(instant(a), instant(b)),
  ),
  define('+', ['time', 'interval'], 'time', ([time, by]) =>
    timePlusMicros(time as number, span(by).micros),
  ),
  define('+', ['interval', 'time'], 'time', ([by, time]) =>
    timePlusMicros(time as number, span(by).micros),
  ),
  define('-', ['time', 'interval'], 'time', ([time, by]) =>
    timePlusMicros(time as number, -span(by).micros),
  ),
  define('-', ['time', 'time'], 'interval', ([a, b]) =>
    intervalOf(0, 0, (a as number) - (b as number)),
  ),
  define('+', ['interval', 'interval'], 'interval', ([a, b]) => addIntervals(span(a), span(b))),
  define('-', ['interval', 'interval'], 'interval', ([a, b]) =>
    subtractIntervals(span(a), span(b)),
  ),
  define('-', ['interval'], 'interval', ([a]) => negateInterval(span(a))),
  define('*', ['interval', 'float8'], 'interval', ([a, factor]) =>
    multiplyInterval(span(a), factor as number),
  ),
  define('*', ['float8', 'interval'], 'interval', ([factor, a]) =>
    multiplyInterval(span(a), factor as number),
  ),
  define('/', ['interval', 'float8'], 'interval', ([a, divisor]) =>
    divideInterval(span(a), divisor as number),
  ),
  define('age', ['timestamp', 'timestamp'], 'interval', ([a, b]) => age(instant(a), instant(b))),
  define('justify_hours', ['interval'], 'interval', ([a]) => justifyHours(span(a))),
  define('justify_days', ['interval'], 'interval', ([a]) => justifyDays(span(a))),
  define('justify_interval', ['interval'], 'interval', ([a]) => justifyInterval(span(a))),
];
