import { DbError } from '../../base/errors.ts';
import { calendar, type Calendar, type Ruler } from '../../calendar/calendar.ts';
import { normalInteger, type Datum, type Interval } from '../../columns/values.ts';
import { isFinite, type Instant } from '../datetime.ts';
import type { EvaluationContext, FunctionDef } from '../function-def.ts';
import { define, type Evaluate } from './define.ts';

/**
 * `time_bucket(width, time [, zone [, calendar]])`: the start of the window that a time lies in, as `db.window` has windows (docs/calendars.md):
 * contiguous in local time, cut where the offset changes below a day. A `timestamp` and a `date` are walls of their own, without a
 * zone. By a named calendar weeks begin as it says, and 3 and 12 months are its fiscal quarters and years.
 */
export const TIME_BUCKETS: readonly FunctionDef[] = [
  bucket(['interval', 'timestamptz'], 'zoned'),
  bucket(['interval', 'timestamptz', 'text'], undefined),
  bucket(['interval', 'timestamptz', 'text', 'text'], 'stable'),
  define(
    'time_bucket',
    ['interval', 'timestamp'],
    'timestamp',
    ([width, time]) =>
      plainStart(rulerOf(calendar(), width as Interval), width as Interval, time as Instant),
    { prepare: () => remembered(() => calendar()) },
  ),
  define('time_bucket', ['interval', 'date'], 'date', ([width, day]) => {
    const { months, days, micros } = width as Interval;
    if (micros !== 0 || (months === 0 && days === 0)) throw wrongWidth('a date has no hours');
    return Number.isFinite(day as number)
      ? rulerOf(calendar(), width as Interval)!.at((day as number) * 86_400).day
      : day!;
  }),
];

function bucket(
  args: readonly ('interval' | 'timestamptz' | 'text')[],
  volatility: 'zoned' | 'stable' | undefined,
): FunctionDef {
  return define(
    'time_bucket',
    args,
    'timestamptz',
    (given, context) => {
      const width = given[0] as Interval;
      return plainStart(rulerOf(calendarFor(given, context), width), width, given[1] as Instant);
    },
    {
      ...(volatility === undefined ? {} : { volatility }),
      prepare: () => remembered(calendarFor),
    },
  );
}

/** The calendar of a call: the named one, in the zone that is given or else in its own; without a name the zone alone. */
function calendarFor([, , zone, name]: readonly Datum[], context: EvaluationContext): Calendar {
  if (name === undefined) return calendar({ zone: (zone ?? context.zone) as string });
  const found = context.calendar?.(name as string, zone as string);
  if (found === undefined)
    throw new DbError('0A000', 'a named calendar cannot be used here', {
      hint: 'Views keep what they computed, and calendars change: use a zone, or ask in the query.',
    });
  return found;
}

/** The arguments beside the time are nearly always the same in all rows. */
function remembered(
  calendarOf: (given: readonly Datum[], context: EvaluationContext) => Calendar,
): Evaluate {
  let last:
    | { width: Interval; zone: Datum; name: Datum; context: string; ruler: Ruler | undefined }
    | undefined;
  return (given, context) => {
    const width = given[0] as Interval;
    const [zone, name] = [given[2] ?? null, given[3] ?? null];
    if (
      last === undefined ||
      last.zone !== zone ||
      last.name !== name ||
      last.context !== context.zone ||
      last.width.months !== width.months ||
      last.width.days !== width.days ||
      last.width.micros !== width.micros
    )
      last = {
        width,
        zone,
        name,
        context: context.zone,
        ruler: rulerOf(calendarOf(given, context), width),
      };
    return plainStart(last.ruler, width, given[1] as Instant);
  };
}

/** Undefined: a width below a second, which no zone cuts. */
export function rulerOf(c: Calendar, { months, days, micros }: Interval): Ruler | undefined {
  const parts = [months, days, micros].filter((part) => part !== 0);
  if (parts.length !== 1) throw wrongWidth('it mixes months, days and hours, or is empty');
  if (parts[0]! < 0) throw wrongWidth('it is negative');
  if (months > 0) {
    const fiscal = c.fiscalYearStart !== 1;
    if (fiscal && months % 12 === 0) return c.ruler(`${months / 12} fiscalYear`);
    if (fiscal && months % 3 === 0) return c.ruler(`${months / 3} fiscalQuarter`);
    return c.ruler(`${months} month`);
  }
  if (days > 0) return c.ruler(days % 7 === 0 ? `${days / 7} week` : `${days} day`);
  if (micros >= 1_000_000 && micros % 1_000_000 === 0) return c.ruler(`${micros / 1_000_000} s`);
  if (1_000_000 % micros !== 0) throw wrongWidth('it does not make up a second');
  return undefined;
}

export function wrongWidth(why: string): DbError {
  return new DbError('22023', `the width of time_bucket is no width: ${why}`, {
    hint: "Use months, days, or hours and less: '1 month', '7 days', '15 minutes'.",
  });
}

export function plainStart(ruler: Ruler | undefined, { micros }: Interval, time: Instant): Instant {
  if (!isFinite(time)) return time;
  if (ruler === undefined) {
    const rest = Number(BigInt(time) % BigInt(micros));
    return normalInteger(BigInt(time) - BigInt(rest < 0 ? rest + micros : rest));
  }
  const seconds =
    typeof time === 'number' ? Math.floor(time / 1_000_000) : Number(floorDiv(time, 1_000_000n));
  return fromSeconds(ruler.at(seconds).start);
}

function floorDiv(value: bigint, by: bigint): bigint {
  const quotient = value / by;
  return value < 0n && value % by !== 0n ? quotient - 1n : quotient;
}

function fromSeconds(seconds: number): Instant {
  const micros = seconds * 1_000_000;
  return Number.isSafeInteger(micros) ? micros : normalInteger(BigInt(seconds) * 1_000_000n);
}
