import { DbError } from '../base/errors.ts';
import { civilFromDays, daysFromCivil, daysInMonth } from '../calendar/civil.ts';
import { localToUtc, offsetSecondsAt, plusSeconds } from '../calendar/zones.ts';
import type { Zone } from '../calendar/zones.ts';
import { Interval } from '../columns/values.ts';

/**
 * Arithmetic of date, time, timestamp and interval on data in their one form (values.ts), with PostgreSQL 15's
 * ranges and rules. Errors are 22008. An instant and a local time are both microseconds since 1970.
 */
export type Instant = number | bigint;

export const MICROS_A_SECOND = 1_000_000;
export const MICROS_A_MINUTE = 60_000_000;
export const MICROS_AN_HOUR = 3_600_000_000;
export const MICROS_A_DAY = 86_400_000_000;

/** 4714-11-24 BC (Julian day 0) … 5874897-12-31. */
export const DATE_MIN = -2_440_588;
export const DATE_MAX = 2_145_042_905;
/** 4714-11-24 BC … 294247-01-01, the last microsecond included: 64 bits of microseconds since 1970 end some days later (PostgreSQL counts from 2000). */
export const TIMESTAMP_DAY_MIN = -2_440_588;
export const TIMESTAMP_DAY_MAX = 106_751_982;
/** Days whose instants are safe integers, whatever the time of day. */
const SAFE_DAYS = 104_248;
const INT4_MAX = 2_147_483_647;

export function timestampOutOfRange(text?: string): DbError {
  return new DbError('22008', `timestamp out of range${text === undefined ? '' : `: "${text}"`}`, {
    hint: 'Timestamps run from 4714-11-24 BC to 294247-01-01.',
  });
}

export function dateOutOfRange(): DbError {
  return new DbError('22008', 'date out of range');
}

export function intervalOutOfRange(): DbError {
  return new DbError('22008', 'interval out of range', {
    hint: 'Pure time in an interval ends at 285 years; count days or months instead.',
  });
}

export function isFinite(value: Instant): boolean {
  return typeof value === 'bigint' || Number.isFinite(value);
}

/** The day a finite instant lies in. The quotient of doubles is never rounded up to the next day within ±2^53. */
export function dayOf(instant: Instant): number {
  if (typeof instant === 'number') return Math.floor(instant / MICROS_A_DAY);
  const days = instant / 86_400_000_000n;
  return Number(instant < 0n && instant % 86_400_000_000n !== 0n ? days - 1n : days);
}

/** Microseconds since the midnight of `day`, which is the instant's. */
export function microsOfDay(instant: Instant, day: number): number {
  if (typeof instant === 'number') return instant - day * MICROS_A_DAY;
  return Number(instant - BigInt(day) * 86_400_000_000n);
}

/** The instant, in its one form and within the range of timestamps. `micros` may leave the day. */
export function instantOf(day: number, micros: number): Instant {
  if (day >= -SAFE_DAYS && day <= SAFE_DAYS && micros >= -MICROS_A_DAY && micros <= MICROS_A_DAY) {
    return day * MICROS_A_DAY + micros;
  }
  if (!Number.isSafeInteger(day) || !Number.isSafeInteger(micros)) throw timestampOutOfRange();
  return checkedInstant(BigInt(day) * 86_400_000_000n + BigInt(micros));
}

const TIMESTAMP_MIN = BigInt(TIMESTAMP_DAY_MIN) * 86_400_000_000n;
const TIMESTAMP_END = BigInt(TIMESTAMP_DAY_MAX + 1) * 86_400_000_000n;

/** An exact sum as a timestamp. */
export function checkedInstant(micros: bigint): Instant {
  if (micros >= -9007199254740991n && micros <= 9007199254740991n) return Number(micros);
  if (micros < TIMESTAMP_MIN || micros >= TIMESTAMP_END) throw timestampOutOfRange();
  return micros;
}

export function checkedDate(day: number): number {
  if (day < DATE_MIN || day > DATE_MAX || Number.isNaN(day)) throw dateOutOfRange();
  return day;
}

/** The midnight of a date, as a timestamp. */
export function dateToTimestamp(date: number): Instant {
  if (!Number.isFinite(date)) return date;
  if (date > TIMESTAMP_DAY_MAX) throw new DbError('22008', 'date out of range for timestamp');
  return instantOf(date, 0);
}

export function dateToTimestamptz(date: number, zone: Zone): Instant {
  if (!Number.isFinite(date)) return date;
  if (date > TIMESTAMP_DAY_MAX) throw new DbError('22008', 'date out of range for timestamp');
  return timestampToTimestamptz(instantOf(date, 0), zone);
}

export function timestampToDate(timestamp: Instant): number {
  return isFinite(timestamp) ? dayOf(timestamp) : (timestamp as number);
}

export function timestamptzToTimestamp(instant: Instant, zone: Zone): Instant {
  if (!isFinite(instant)) return instant;
  const offset = offsetSecondsAt(zone, instant);
  return offset === 0 ? instant : inRange(plusSeconds(instant, offset));
}

export function timestampToTimestamptz(local: Instant, zone: Zone): Instant {
  return isFinite(local) ? inRange(localToUtc(zone, local)) : local;
}

function inRange(instant: Instant): Instant {
  return typeof instant === 'bigint' ? checkedInstant(instant) : instant;
}

export function timeOfTimestamp(local: Instant): number | null {
  return isFinite(local) ? microsOfDay(local, dayOf(local)) : null;
}

/** Adds the months (clamped to the month's end), then the days, then the time. */
export function timestampPlusInterval(local: Instant, span: Interval): Instant {
  if (!isFinite(local)) return local;
  let day = dayOf(local);
  const micros = microsOfDay(local, day);
  if (span.months !== 0) day = inTimestampRange(addMonths(day, span.months));
  if (span.days !== 0) day = inTimestampRange(day + span.days);
  return instantOf(day, micros + span.micros);
}

function inTimestampRange(day: number): number {
  if (day < TIMESTAMP_DAY_MIN || day > TIMESTAMP_DAY_MAX) throw timestampOutOfRange();
  return day;
}

/** Months and days go by the zone's wall clock; the time is added to the instant. */
export function timestamptzPlusInterval(instant: Instant, span: Interval, zone: Zone): Instant {
  if (!isFinite(instant)) return instant;
  let result = instant;
  if (span.months !== 0) {
    const local = timestamptzToTimestamp(result, zone);
    const day = dayOf(local);
    const moved = inTimestampRange(addMonths(day, span.months));
    result = timestampToTimestamptz(instantOf(moved, microsOfDay(local, day)), zone);
  }
  if (span.days !== 0) {
    const local = timestamptzToTimestamp(result, zone);
    const day = dayOf(local);
    result = timestampToTimestamptz(
      instantOf(inTimestampRange(day + span.days), microsOfDay(local, day)),
      zone,
    );
  }
  return span.micros === 0 ? result : instantPlusMicros(result, span.micros);
}

export function instantPlusMicros(instant: Instant, micros: number): Instant {
  if (typeof instant === 'number') {
    const sum = instant + micros;
    if (Number.isSafeInteger(sum)) return sum;
  }
  return checkedInstant(BigInt(instant) + BigInt(micros));
}

export function addMonths(day: number, months: number): number {
  const date = civilFromDays(day);
  const count = date.year * 12 + (date.month - 1) + months;
  const year = Math.floor(count / 12);
  const month = count - year * 12 + 1;
  return daysFromCivil(year, month, Math.min(date.day, daysInMonth(year, month)));
}

/** timestamp − timestamp: whole days and time, both of the difference's sign. */
export function timestampDifference(a: Instant, b: Instant): Interval {
  if (!isFinite(a) || !isFinite(b))
    throw new DbError('22008', 'cannot subtract infinite timestamps');
  const dayA = dayOf(a);
  const dayB = dayOf(b);
  let days = dayA - dayB;
  let micros = microsOfDay(a, dayA) - microsOfDay(b, dayB);
  if (days > 0 && micros < 0) {
    days -= 1;
    micros += MICROS_A_DAY;
  } else if (days < 0 && micros > 0) {
    days += 1;
    micros -= MICROS_A_DAY;
  }
  return new Interval(0, days, micros);
}

/** a − b of two instants as microseconds, which may leave the safe integers. */
export function microsBetween(a: Instant, b: Instant): Instant {
  if (typeof a === 'number' && typeof b === 'number') {
    const difference = a - b;
    if (Number.isSafeInteger(difference)) return difference;
  }
  return BigInt(a) - BigInt(b);
}

/** The symbolic difference in years, months, days and time of two local times. */
export function age(a: Instant, b: Instant): Interval {
  if (!isFinite(a) || !isFinite(b)) throw timestampOutOfRange();
  const negative = a < b;
  const dayA = dayOf(a);
  const dayB = dayOf(b);
  const dateA = civilFromDays(dayA);
  const dateB = civilFromDays(dayB);
  const sign = negative ? -1 : 1;
  let micros = sign * (microsOfDay(a, dayA) - microsOfDay(b, dayB));
  let days = sign * (dateA.day - dateB.day);
  let months = sign * ((dateA.year - dateB.year) * 12 + (dateA.month - dateB.month));
  if (micros < 0) {
    micros += MICROS_A_DAY;
    days -= 1;
  }
  // Days are borrowed from the month of the earlier date.
  const earlier = negative ? dateA : dateB;
  while (days < 0) {
    days += daysInMonth(earlier.year, earlier.month);
    months -= 1;
  }
  return new Interval(sign * months + 0, sign * days + 0, sign * micros + 0);
}

/** Checks that the parts fit PostgreSQL's (int32 months and days) and ours (safe microseconds). */
export function intervalOf(months: number, days: number, micros: number): Interval {
  if (
    !(Math.abs(months) <= INT4_MAX + 1) ||
    !(Math.abs(days) <= INT4_MAX + 1) ||
    months === INT4_MAX + 1 ||
    days === INT4_MAX + 1 ||
    !Number.isSafeInteger(micros)
  ) {
    throw intervalOutOfRange();
  }
  // No part may be −0: it would be told from 0 by some.
  return new Interval(months + 0, days + 0, micros + 0);
}

export function addIntervals(a: Interval, b: Interval): Interval {
  return intervalOf(a.months + b.months, a.days + b.days, a.micros + b.micros);
}

export function subtractIntervals(a: Interval, b: Interval): Interval {
  return intervalOf(a.months - b.months, a.days - b.days, a.micros - b.micros);
}

export function negateInterval(span: Interval): Interval {
  return intervalOf(-span.months, -span.days, -span.micros);
}

/** Fractions of months become days (30 a month), fractions of days time; nothing is carried upwards. */
export function multiplyInterval(span: Interval, factor: number): Interval {
  return scaleInterval(span, (part) => part * factor);
}

/** As multiplication does; PostgreSQL divides each part, which rounds otherwise than multiplying by 1/divisor. */
export function divideInterval(span: Interval, divisor: number): Interval {
  if (divisor === 0) throw new DbError('22012', 'division by zero');
  return scaleInterval(span, (part) => part / divisor);
}

function scaleInterval(span: Interval, scale: (part: number) => number): Interval {
  const exactMonths = scale(span.months);
  const exactDays = scale(span.days);
  const months = int32(exactMonths);
  let days = int32(exactDays);
  const monthRestDays = roundToMicro((exactMonths - months) * 30);
  let restSeconds = roundToMicro(
    (exactDays - days + monthRestDays - Math.trunc(monthRestDays)) * 86_400,
  );
  if (Math.abs(restSeconds) >= 86_400) {
    const whole = Math.trunc(restSeconds / 86_400);
    days += whole;
    restSeconds -= whole * 86_400;
  }
  days += Math.trunc(monthRestDays);
  return intervalOf(
    months,
    days,
    roundHalfEven(scale(span.micros) + restSeconds * MICROS_A_SECOND),
  );
}

function int32(value: number): number {
  if (!(value >= -INT4_MAX - 1 && value < INT4_MAX + 1)) throw intervalOutOfRange();
  return Math.trunc(value);
}

function roundToMicro(value: number): number {
  return roundHalfEven(value * 1e6) / 1e6;
}

/** C's rint. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest < 0.5) return floor;
  if (rest > 0.5) return floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Whole days out of the time: 27 hours become a day and 3 hours. */
export function justifyHours(span: Interval): Interval {
  const whole = Math.trunc(span.micros / MICROS_A_DAY);
  let days = span.days + whole;
  let micros = span.micros - whole * MICROS_A_DAY;
  if (days > 0 && micros < 0) {
    micros += MICROS_A_DAY;
    days -= 1;
  } else if (days < 0 && micros > 0) {
    micros -= MICROS_A_DAY;
    days += 1;
  }
  return intervalOf(span.months, days, micros);
}

/** Whole months of 30 days out of the days. */
export function justifyDays(span: Interval): Interval {
  const whole = Math.trunc(span.days / 30);
  let months = span.months + whole;
  let days = span.days - whole * 30;
  if (months > 0 && days < 0) {
    days += 30;
    months -= 1;
  } else if (months < 0 && days > 0) {
    days -= 30;
    months += 1;
  }
  return intervalOf(months, days, span.micros);
}

/** Both, and then one sign for all parts. */
export function justifyInterval(span: Interval): Interval {
  const wholeDays = Math.trunc(span.micros / MICROS_A_DAY);
  let days = span.days + wholeDays;
  let micros = span.micros - wholeDays * MICROS_A_DAY;
  const wholeMonths = Math.trunc(days / 30);
  let months = span.months + wholeMonths;
  days -= wholeMonths * 30;
  if (months > 0 && (days < 0 || (days === 0 && micros < 0))) {
    days += 30;
    months -= 1;
  } else if (months < 0 && (days > 0 || (days === 0 && micros > 0))) {
    days -= 30;
    months += 1;
  }
  if (days > 0 && micros < 0) {
    micros += MICROS_A_DAY;
    days -= 1;
  } else if (days < 0 && micros > 0) {
    micros -= MICROS_A_DAY;
    days += 1;
  }
  return intervalOf(months, days, micros);
}

/** Time of day plus an interval's time, modulo a day. */
export function timePlusMicros(time: number, micros: number): number {
  const sum = (time % MICROS_A_DAY) + (micros % MICROS_A_DAY);
  return sum - Math.floor(sum / MICROS_A_DAY) * MICROS_A_DAY;
}
