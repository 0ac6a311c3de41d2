import { DbError } from '../base/errors.ts';
import type { Calendar, Ruler } from '../calendar/calendar.ts';
import { civilFromDays, daysFromCivil, daysInMonth } from '../calendar/civil.ts';
import type { LeapWeek } from '../calendar/spec.ts';
import { oneOf, onlyKeys } from '../calendar/spec.ts';
import type { ComparedSpan, Period, PlannedWindow } from './window-spec.ts';

/** With which time windows are compared. A text stands for `{ to: text }`. */
export type CompareSpec =
  | CompareTo
  | {
      readonly to: CompareTo;
      readonly align?: Alignment | undefined;
      readonly leapWeek?: LeapWeek | undefined;
    };

export type CompareTo =
  | 'previous'
  | 'yearAgo'
  | { readonly weeksAgo: number }
  | { readonly sameBusinessDay: 'yearAgo' | 'monthAgo' };

/**
 * What stands beside what:
 *
 * - `wallClock` (default): the same date and time of day, so many days or months earlier; a date that month does not have
 *   is beside nothing;
 * - `elapsed`: what lies as long after the start of the period, to the millisecond;
 * - `dayOfWeek`: the same weekday: a year is 364 days;
 * - `businessDay`: the same business day of the month, counted from its first;
 * - `fiscalWeek`: the same week of the retail year, by `leapWeek`;
 * - `fullPeriod`: as `wallClock`, but a running period is beside the whole earlier one.
 */
export type Alignment =
  | 'wallClock'
  | 'elapsed'
  | 'dayOfWeek'
  | 'businessDay'
  | 'fiscalWeek'
  | 'fullPeriod';

export type Comparison = {
  readonly to:
    | { readonly kind: 'previous' }
    | { readonly kind: 'months'; readonly count: number }
    | { readonly kind: 'days'; readonly count: number };
  readonly align: Alignment;
  readonly leapWeek: LeapWeek;
};

const ALIGNMENTS = [
  'wallClock',
  'elapsed',
  'dayOfWeek',
  'businessDay',
  'fiscalWeek',
  'fullPeriod',
] as const;

export function compareOf(spec: CompareSpec, calendar: Calendar): Comparison {
  const whole = typeof spec === 'object' && spec !== null && 'to' in spec ? spec : { to: spec };
  onlyKeys(whole, ['to', 'align', 'leapWeek'], 'compare.');
  const { to, align, leapWeek } = whole as Extract<CompareSpec, { readonly to: CompareTo }>;
  const alignment = align === undefined ? undefined : oneOf(align, ALIGNMENTS, 'compare.align');
  const leap =
    leapWeek === undefined
      ? calendar.leapWeek
      : oneOf(leapWeek, ['restate', 'shift', 'drop'], 'compare.leapWeek');
  if (alignment === 'fiscalWeek') {
    if (calendar.retail === undefined)
      throw new DbError(
        '22023',
        'the calendar has no retail year, whose weeks "fiscalWeek" aligns',
        {
          field: 'compare.align',
          hint: "Name a calendar with one, or use align: 'dayOfWeek'.",
        },
      );
    if (to !== 'yearAgo')
      throw new DbError('22023', '"fiscalWeek" aligns years', {
        field: 'compare.align',
        hint: "Write { to: 'yearAgo', align: 'fiscalWeek' }.",
      });
  }
  if (typeof to === 'string') {
    const word = oneOf(to, ['previous', 'yearAgo'], 'compare.to');
    return {
      to: word === 'previous' ? { kind: 'previous' } : { kind: 'months', count: 12 },
      align: alignment ?? 'wallClock',
      leapWeek: leap,
    };
  }
  onlyKeys(to, ['weeksAgo', 'sameBusinessDay'], 'compare.to.');
  if ('sameBusinessDay' in to) {
    const word = oneOf(to.sameBusinessDay, ['yearAgo', 'monthAgo'], 'compare.to.sameBusinessDay');
    return {
      to: { kind: 'months', count: word === 'yearAgo' ? 12 : 1 },
      align: 'businessDay',
      leapWeek: leap,
    };
  }
  const { weeksAgo } = to;
  if (!Number.isInteger(weeksAgo) || weeksAgo < 1 || weeksAgo > WEEKS_AGO_MAX)
    throw new DbError('22023', '"compare.to.weeksAgo" is no number of weeks', {
      field: 'compare.to.weeksAgo',
      hint: `Give a whole number from 1 to ${WEEKS_AGO_MAX}.`,
    });
  return {
    to: { kind: 'days', count: 7 * weeksAgo },
    align: alignment ?? 'wallClock',
    leapWeek: leap,
  };
}

const WEEKS_AGO_MAX = 10_000;

/** Spans made between two pauses. */
const SPANS_A_STEP = 32;

/**
 * For each window the span it is compared with, in steps; undefined where there is none. `cut` is the ruler of the windows, `hops` of those that overlap,
 * or undefined of one that is the whole period.
 */
export function* comparedWindows(
  windows: readonly PlannedWindow[],
  period: Period,
  cut: Ruler | 'hops' | undefined,
  comparison: Comparison,
  calendar: Calendar,
): Generator<number, (ComparedSpan | undefined)[]> {
  const earlier = earlierPeriod(period, comparison, calendar);
  const dayOf = dayShift(period, earlier, comparison, calendar);
  if (cut === undefined)
    return windows
      .map((window) => wholePeriod(window, period, earlier, dayOf, comparison, calendar))
      .map((span) => asLong(span, period));
  const ruler = cut === 'hops' ? undefined : cut;
  const spans: (ComparedSpan | undefined)[] = [];
  for (const window of windows) {
    const span =
      comparison.align === 'elapsed' || dayOf === undefined
        ? sameElapsed(window, period, earlier)
        : notBeyond(
            sameLocalTime(window, period, ruler, dayOf, comparison, calendar),
            earlier,
            comparison,
          );
    spans.push(span !== undefined && isSpan(span) ? span : undefined);
    if (spans.length % SPANS_A_STEP === 0) yield spans.length;
  }
  return spans;
}

/** What a question that is not cut is beside: the earlier period; or, where days have others beside them than those of their date, those of its first and last day. */
function wholePeriod(
  window: PlannedWindow,
  period: Period,
  earlier: ComparedSpan,
  dayOf: DayShift | undefined,
  comparison: Comparison,
  calendar: Calendar,
): ComparedSpan | undefined {
  const { align } = comparison;
  if (align !== 'businessDay' && align !== 'fiscalWeek') return earlier;
  const { step, aligned } = period;
  const days = dayOf!;
  // A single day is beside a single day, or nothing.
  if (aligned && step.kind === 'civil' && step.amount.count === 1 && isDayUnit(step.amount.unit))
    return sameLocalTime(window, period, step.ruler, days, comparison, calendar);
  const edge =
    align === 'businessDay'
      ? businessEdge(days, businessMonths(period, comparison), calendar)
      : fiscalEdge(days, calendar);
  const startMs = edge(localOf(period.startMs, calendar), 'start');
  const endMs = edge(localOf(period.endMs, calendar), 'end');
  return startMs === undefined || endMs === undefined ? undefined : { startMs, endMs };
}

function isDayUnit(unit: string): boolean {
  return unit === 'day' || unit === 'businessDay';
}

/** Where a period's edge lies among other days; undefined: nowhere. */
type Edge = (local: Local, which: 'start' | 'end') => number | undefined;

/**
 * Months begin and end where months do. Within one an edge lies as many business days after its beginning, and one on a day without business where the last
 * business day before it ends.
 */
function businessEdge(dayOf: DayShift, months: number, calendar: Calendar): Edge {
  const { business } = calendar;
  const monthThere = (day: number, more: number): number => {
    const { year, month } = monthBack(civilFromDays(day), months - more);
    return daysFromCivil(year, month, 1);
  };
  const after = (day: number): number => {
    const { year, month } = civilFromDays(day);
    const first = daysFromCivil(year, month, 1);
    const last = business.nearest(day, -1);
    if (last < first) return monthThere(day, 0);
    const there = dayOf(last);
    return there === undefined ? monthThere(day, 1) : there + 1;
  };
  return ({ day, ms }, which) => {
    const start = (there: number): number => calendar.dayStart(there) * 1000;
    if (ms === 0 && civilFromDays(day).day === 1) return start(monthThere(day, 0));
    if (ms === 0 && which === 'end') return start(after(day - 1));
    if (!business.has(day)) return start(after(day));
    const there = dayOf(day);
    return there === undefined ? start(monthThere(day, 1)) : instantOf(there, ms, calendar);
  };
}

function fiscalEdge(dayOf: DayShift, calendar: Calendar): Edge {
  return ({ day, ms }, which) => {
    const isMidnight = ms === 0 && which === 'end';
    const there = dayOf(isMidnight ? day - 1 : day);
    if (there !== undefined)
      return isMidnight ? calendar.dayStart(there + 1) * 1000 : instantOf(there, ms, calendar);
    // A week that is dropped begins nothing, and ends where its year does.
    return which === 'start'
      ? undefined
      : calendar.dayStart(calendar.retail!.endingIn(calendar.retail!.of(day - 1).endsIn - 1).end) *
          1000;
  };
}

/** Days of a period that has other dates than the one before are beside none of this one. */
function notBeyond(
  span: ComparedSpan | undefined,
  earlier: ComparedSpan,
  { to, align }: Comparison,
): ComparedSpan | undefined {
  const isBounded = to.kind === 'previous' && (align === 'wallClock' || align === 'fullPeriod');
  if (span === undefined || !isBounded || span.endMs <= earlier.endMs) return span;
  return { startMs: span.startMs, endMs: earlier.endMs };
}

/** An empty span is beside what is empty itself, and beside nothing else. */
function asLong(
  span: ComparedSpan | undefined,
  { startMs, endMs }: Period,
): ComparedSpan | undefined {
  if (span === undefined || isSpan(span)) return span;
  return startMs === endMs ? { startMs: span.startMs, endMs: span.startMs } : undefined;
}

function isSpan({ startMs, endMs }: ComparedSpan): boolean {
  return startMs < endMs;
}

/** The whole question, that much earlier; a running one is cut where it has run as far. */
function earlierPeriod(period: Period, comparison: Comparison, calendar: Calendar): ComparedSpan {
  const { startMs, endMs, wholeEndMs } = period;
  const { to, align } = comparison;
  if (align === 'dayOfWeek' && to.kind !== 'days') {
    const day = -weekdayShift(period, comparison, calendar);
    return { startMs: calendar.add(startMs, { day }), endMs: calendar.add(endMs, { day }) };
  }
  if (to.kind === 'previous') return previousPeriod(period, align, calendar);
  const back = (ms: number): number =>
    calendar.add(ms, to.kind === 'days' ? { day: -to.count } : { month: -to.count });
  const start = back(startMs);
  if (align === 'elapsed') return { startMs: start, endMs: start + (endMs - startMs) };
  return { startMs: start, endMs: back(align === 'fullPeriod' ? wholeEndMs : endMs) };
}

function previousPeriod(period: Period, align: Alignment, calendar: Calendar): ComparedSpan {
  const { startMs, endMs, wholeEndMs, step, aligned } = period;
  const isWhole = endMs >= wholeEndMs || align === 'fullPeriod';
  if (step.kind === 'exact') {
    const start = startMs - step.ms;
    return { startMs: start, endMs: isWhole ? startMs : start + (endMs - startMs) };
  }
  const start = aligned
    ? step.ruler.shift(step.ruler.at(startMs / 1000), -step.amount.count) * 1000
    : shiftedBack(startMs, step.amount, calendar);
  return {
    startMs: start,
    endMs: isWhole ? startMs : Math.min(startMs, asFar(period, start, align, calendar)),
  };
}

/** Whole weeks, in days, nearest to how far back the comparison goes; one at least. */
function weekdayShift(period: Period, { to }: Comparison, calendar: Calendar): number {
  const earlier =
    to.kind === 'months'
      ? calendar.add(period.startMs, { month: -to.count })
      : previousPeriod(period, 'wallClock', calendar).startMs;
  const days = localOf(period.startMs, calendar).day - localOf(earlier, calendar).day;
  return Math.max(1, Math.round(days / 7)) * 7;
}

/** The instant that lies as far into the period that begins at `start` as this one has run. */
function asFar(period: Period, start: number, align: Alignment, calendar: Calendar): number {
  if (align === 'elapsed') return start + (period.endMs - period.startMs);
  const from = localOf(period.startMs, calendar);
  const to = localOf(period.endMs, calendar);
  const base = localOf(start, calendar);
  return instantOf(base.day + (to.day - from.day), to.ms, calendar);
}

function shiftedBack(
  ms: number,
  { unit, count }: Extract<Period['step'], { kind: 'civil' }>['amount'],
  calendar: Calendar,
): number {
  const months = MONTHS[unit];
  if (months !== undefined) return calendar.add(ms, { month: -months * count });
  if (unit === 'businessDay') return calendar.add(ms, { businessDay: -count });
  return calendar.add(ms, { day: -count * (unit === 'day' ? 1 : 7) });
}

const MONTHS: Readonly<Partial<Record<string, number>>> = {
  month: 1,
  quarter: 3,
  year: 12,
  fiscalQuarter: 3,
  fiscalYear: 12,
};

/** From a day to the day beside it; undefined: days play no part. */
type DayShift = (day: number) => number | undefined;

function dayShift(
  period: Period,
  earlier: ComparedSpan,
  comparison: Comparison,
  calendar: Calendar,
): DayShift | undefined {
  const { to, align, leapWeek } = comparison;
  const first = localOf(period.startMs, calendar).day;
  if (align === 'businessDay') {
    const months = businessMonths(period, comparison);
    return (day) => sameBusinessDay(day, months, calendar);
  }
  if (align === 'fiscalWeek') return (day) => sameFiscalWeek(day, leapWeek, calendar);
  if (to.kind === 'days') return (day) => day - to.count;
  if (align === 'dayOfWeek') {
    const back = weekdayShift(period, comparison, calendar);
    return (day) => day - back;
  }
  if (to.kind === 'months') return (day) => sameDayOfMonth(day, to.count);
  const { step } = period;
  if (step.kind === 'exact') return undefined;
  const { unit, count } = step.amount;
  const months = MONTHS[unit];
  if (months !== undefined) return (day) => sameDayOfMonth(day, months * count);
  if (unit === 'businessDay')
    return (day) => (calendar.business.has(day) ? calendar.business.plus(day, -count) : undefined);
  // Days and weeks, and what has an unequal number of them: as many days after the start.
  const start = localOf(earlier.startMs, calendar).day;
  return (day) => (start + day - first >= first ? undefined : start + day - first);
}

/** How many months back the business day of the same number is looked for. */
function businessMonths(period: Period, { to }: Comparison): number {
  const months = to.kind === 'months' ? to.count : to.kind === 'days' ? 0 : monthsOf(period);
  if (months > 0) return months;
  throw new DbError('22023', '"businessDay" aligns months', {
    field: 'compare.align',
    hint: "Compare with 'yearAgo', or a month with the previous one.",
  });
}

function monthsOf({ step }: Period): number {
  return step.kind === 'exact' ? 0 : (MONTHS[step.amount.unit] ?? 0) * step.amount.count;
}

/** Undefined where the month is too short. */
function sameDayOfMonth(day: number, months: number): number | undefined {
  const date = civilFromDays(day);
  const { year, month } = monthBack(date, months);
  return date.day > daysInMonth(year, month) ? undefined : daysFromCivil(year, month, date.day);
}

function monthBack(
  { year, month }: { readonly year: number; readonly month: number },
  months: number,
): { readonly year: number; readonly month: number } {
  const index = year * 12 + month - 1 - months;
  return { year: Math.floor(index / 12), month: (((index % 12) + 12) % 12) + 1 };
}

/** The business day of the same number in a month so many months back; undefined for other days, and where it has not as many. */
function sameBusinessDay(day: number, months: number, calendar: Calendar): number | undefined {
  const { business } = calendar;
  if (!business.has(day)) return undefined;
  const date = civilFromDays(day);
  const number = business.between(daysFromCivil(date.year, date.month, 1), day);
  const { year, month } = monthBack(date, months);
  const first = daysFromCivil(year, month, 1);
  const there = business.plus(business.nearest(first, 1), number);
  return there < first + daysInMonth(year, month) ? there : undefined;
}

function sameFiscalWeek(day: number, leapWeek: LeapWeek, calendar: Calendar): number | undefined {
  if (leapWeek === 'restate') return day - 364;
  const retail = calendar.retail!;
  const year = retail.of(day);
  const before = retail.endingIn(year.endsIn - 1);
  const there = before.start + (day - year.start);
  return leapWeek === 'drop' && there >= before.end ? undefined : there;
}

function sameElapsed(
  { startMs, endMs }: PlannedWindow,
  period: Period,
  earlier: ComparedSpan,
): ComparedSpan {
  const by = period.startMs - earlier.startMs;
  return { startMs: startMs - by, endMs: Math.min(endMs - by, earlier.endMs) };
}

function sameLocalTime(
  window: PlannedWindow,
  period: Period,
  ruler: Ruler | undefined,
  dayOf: DayShift,
  { align }: Comparison,
  calendar: Calendar,
): ComparedSpan | undefined {
  const from = localOf(window.startMs, calendar);
  const day = dayOf(from.day);
  if (day === undefined) return undefined;
  const startMs = instantOf(day, from.ms, calendar, window.offsetSeconds);
  const to = localOf(window.endMs, calendar);
  // Of a window that is whole, and that of a running one which is beside the whole.
  const isWhole = !window.partial || (align === 'fullPeriod' && window.endMs === period.endMs);
  const there = ruler?.at(Math.floor(startMs / 1000));
  const isAligned = there !== undefined && there.start * 1000 === startMs;
  if (isAligned && ruler!.kind === 'clock' && isSecondPass(window, from, calendar, there.start))
    return undefined;
  if (isAligned && isWhole) return { startMs, endMs: there.end * 1000 };
  const endMs = instantOf(day + (to.day - from.day), to.ms, calendar);
  return { startMs, endMs: isAligned ? Math.min(endMs, there.end * 1000) : endMs };
}

/** The second of two windows of a repeated hour, beside an hour that comes once: the first has it already. */
function isSecondPass(
  window: PlannedWindow,
  { day, ms }: Local,
  calendar: Calendar,
  there: number,
): boolean {
  const first = instantOf(day, ms, calendar);
  return first < window.startMs && calendar.offsetAt(there) === calendar.offsetAt(there - 3600);
}

type Local = { readonly day: number; readonly ms: number };

/** Day and time of day, in milliseconds: 0 where the day begins, also where that is not at midnight. */
function localOf(ms: number, calendar: Calendar): Local {
  const local = ms + calendar.offsetAt(Math.floor(ms / 1000)) * 1000;
  const day = Math.floor(local / 86_400_000);
  return { day, ms: calendar.dayStart(day) * 1000 === ms ? 0 : local - day * 86_400_000 };
}

/** A local time as an instant: midnight as days begin, other times as `compatible` reads them; of a repeated one the pass with the offset asked for. */
function instantOf(day: number, ms: number, calendar: Calendar, offset?: number): number {
  if (ms === 0) return calendar.dayStart(day) * 1000;
  const found = calendar.localInstants(day * 86_400 + Math.floor(ms / 1000));
  const seconds =
    found.kind === 'repeated' && offset !== undefined && calendar.offsetAt(found.later) === offset
      ? found.later
      : found.compatible;
  return seconds * 1000 + (ms % 1000);
}
