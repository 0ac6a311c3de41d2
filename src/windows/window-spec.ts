import { DbError } from '../base/errors.ts';
import type { Calendar, Ruler } from '../calendar/calendar.ts';
import { civilText } from '../calendar/civil.ts';
import { parseInstantMs, type InstantInput } from '../calendar/instants.ts';
import { oneOf } from '../calendar/spec.ts';
import { parseAmount, type Amount } from '../calendar/units.ts';
import { comparedWindows, compareOf, type CompareSpec, type Comparison } from './compare.ts';
import { grafanaSpan, type GrafanaSpan } from './grafana.ts';

/**
 * Which windows a query asks for. Exactly one of the fields from `last` to `text` says when:
 *
 * - `last: '24h'` the exact 24 hours before now, `last: '7d'` the same time of day a week ago until now: what has hours or less goes by
 *   the clock, what has days or more by the wall;
 * - `lastComplete: '7 days'` whole units before the one that now lies in;
 * - `toDate: 'month'` from the start of the unit until now; `current: 'week'` the whole unit; `previous: 'quarter'` the one before;
 * - `range: [from, to]`; `text: 'now-7d/d'` as Grafana writes it (`'now-7d/d to now/d'`), or a name such as `'last7Days'`.
 */
export type WindowSpec = {
  readonly last?: string | undefined;
  readonly lastComplete?: string | undefined;
  readonly toDate?: string | undefined;
  readonly current?: string | undefined;
  readonly previous?: string | undefined;
  readonly range?: readonly [InstantInput, InstantInput] | undefined;
  readonly text?: string | undefined;
  /** A window for each such unit; none: one window. */
  readonly every?: string | undefined;
  /** Windows of `every` that end at each such unit: they overlap. */
  readonly hop?: string | undefined;
  /** Sessions: windows that end where nothing happens for this long. */
  readonly gap?: string | undefined;
  readonly mergeRepeated?: boolean | undefined;
  readonly fill?: FillMode | undefined;
  readonly compare?: CompareSpec | undefined;
};

export type FillMode = 'none' | 'zero' | 'null' | 'previous' | 'linear';

export const WINDOW_SPEC_KEYS = [
  'last',
  'lastComplete',
  'toDate',
  'current',
  'previous',
  'range',
  'text',
  'every',
  'hop',
  'gap',
  'mergeRepeated',
  'fill',
  'compare',
] as const;

const WHEN = ['last', 'lastComplete', 'toDate', 'current', 'previous', 'range', 'text'] as const;

/** One row's window, in milliseconds. What is asked until now may be empty: at midnight the day to date is. */
export type PlannedWindow = {
  readonly startMs: number;
  readonly endMs: number;
  readonly label: string;
  readonly offsetSeconds: number;
  /** Less than a whole unit: cut off by the span asked for, by now, or by a change of offset. */
  readonly partial: boolean;
  /** Now is not before its end: only late rows change it. */
  readonly complete: boolean;
};

/** What a spec asks for at one instant. */
export type WindowSeries = {
  readonly startMs: number;
  readonly endMs: number;
  readonly windows: readonly PlannedWindow[];
  /** By window what it is compared with; undefined where there is nothing to compare with. */
  readonly compared: readonly (ComparedSpan | undefined)[] | undefined;
  readonly fill: FillMode;
  /** Sessions: `windows` is the span alone, and rows more than this apart end a window. */
  readonly gapMs: number | undefined;
  /** The next boundary at which the answer changes by itself; undefined: never. */
  readonly nextChangeMs: number | undefined;
  /** One of its ends moves with every instant, or it has sessions that run; else nothing of it changes before `nextChangeMs`. */
  readonly moves: boolean;
  /** Which of its ends move with every instant, whatever now is. */
  readonly along: EndsAlong;
  /** Of what its windows are compared with: the end of the last one does, or all ends do, which lie as far back as a period is long that grows or shrinks. */
  readonly comparedMoves: 'none' | 'last' | 'all';
  /** The length of the shortest window, those that are cut off aside; of the span where there is none. */
  readonly shortestMs: number;
  /** It is one window, which is an answer even of no rows, as in SQL without GROUP BY. */
  readonly isOne: boolean;
};

/** Which ends of a span go along with now. */
export type EndsAlong = { readonly start: boolean; readonly end: boolean };

export type ComparedSpan = {
  readonly startMs: number;
  readonly endMs: number;
  /** Less than what stands beside the window. */
  readonly partial?: boolean;
};

/** The span of a question, and how one goes back from it by its own length. */
export type Period = {
  readonly startMs: number;
  /** Of a running period now. */
  readonly endMs: number;
  /** The end of a running period's unit. */
  readonly wholeEndMs: number;
  readonly step:
    | { readonly kind: 'exact'; readonly ms: number }
    | {
        readonly kind: 'civil';
        readonly amount: Extract<Amount, { kind: 'civil' }>;
        readonly ruler: Ruler;
      };
  /** It begins where a window of its unit does. */
  readonly aligned: boolean;
  /** It ends, or begins, with now: which of its ends do. */
  readonly moves: boolean;
  readonly along: EndsAlong;
  /** Where no unit of the question says so: until when it is the same, its moving end aside. */
  readonly nextChangeMs?: number;
};

/** As many windows as one question may have: more are no answer anybody reads, and would not be planned within a step. */
export const SERIES_WINDOW_COUNT_MAX = 20_000;

/** Within it microseconds are exact numbers. */
const SPAN_MS_MAX = 9_007_199_254_740;

/** Windows made between two pauses. */
const WINDOWS_A_STEP = 64;

/** The windows of a spec at `nowMs`, all at once. */
export function planWindows(spec: WindowSpec, calendar: Calendar, nowMs: number): WindowSeries {
  return planFewWindows(spec, calendar, nowMs, Infinity)!;
}

/** The same where they are no more than `countMax`, else undefined. */
export function planFewWindows(
  spec: WindowSpec,
  calendar: Calendar,
  nowMs: number,
  countMax: number,
): WindowSeries | undefined {
  const planning = planningWindows(spec, calendar, nowMs);
  for (;;) {
    const step = planning.next();
    if (step.done === true) return step.value.windows.length <= countMax ? step.value : undefined;
    if (step.value > countMax) return undefined;
  }
}

/**
 * The windows of a spec at `nowMs`, in steps: yields, where others may have a turn, how many there are so far. Throws 22023 for what is no spec, 54000 for too
 * many windows, 22008 out of range.
 */
export function* planningWindows(
  spec: WindowSpec,
  calendar: Calendar,
  nowMs: number,
): Generator<number, WindowSeries> {
  const period = periodOf(spec, calendar, nowMs);
  const { startMs, endMs } = period;
  if (Math.abs(startMs) > SPAN_MS_MAX || Math.abs(endMs) > SPAN_MS_MAX)
    throw new DbError('22008', 'the windows lie out of range', {
      hint: 'Ask for times between 1685 and 2255.',
    });
  const fill = oneOf(spec.fill ?? 'none', ['none', 'zero', 'null', 'previous', 'linear'], 'fill');
  const comparison = spec.compare === undefined ? undefined : compareOf(spec.compare, calendar);
  const cut = cutOf(spec, calendar);
  refuseMixes(spec, cut);
  const windows =
    cut.kind === 'whole' || cut.kind === 'sessions'
      ? startMs < endMs || (cut.kind === 'whole' && period.moves)
        ? [wholeWindow(period, calendar, nowMs)]
        : []
      : cut.kind === 'units'
        ? yield* unitWindows(period, cut.ruler, calendar, nowMs)
        : yield* hoppingWindows(period, cut, calendar, nowMs);
  return {
    startMs,
    endMs,
    windows,
    compared:
      comparison === undefined
        ? undefined
        : yield* comparedWindows(
            windows,
            period,
            cut.kind === 'units' ? cut.ruler : cut.kind === 'hopping' ? 'hops' : undefined,
            comparison as Comparison,
            calendar,
          ),
    fill,
    gapMs: cut.kind === 'sessions' ? cut.gapMs : undefined,
    nextChangeMs: nextChange(spec, period, calendar, nowMs),
    // A session is complete once nothing has come for its gap, which may end after the span.
    moves: period.moves || (cut.kind === 'sessions' && nowMs < endMs + cut.gapMs),
    along: period.along,
    comparedMoves: comparedMovesOf(period, comparison),
    shortestMs: shortestOf(windows, endMs - startMs),
    isOne: windows.length === 1,
  };
}

function comparedMovesOf(
  { startMs, endMs, wholeEndMs, step, along }: Period,
  comparison: Comparison | undefined,
): WindowSeries['comparedMoves'] {
  if (comparison === undefined) return 'none';
  const { to, align } = comparison;
  const isAsLong = step.kind === 'exact' && step.ms === endMs - startMs;
  const isShifted = to.kind === 'previous' && isAsLong && BY_LENGTH.has(align);
  if (isShifted && along.start !== along.end) return 'all';
  // A running period may be beside a whole one.
  return along.end && !(align === 'fullPeriod' && endMs < wholeEndMs) ? 'last' : 'none';
}

/** Other alignments go back by days of their own. */
const BY_LENGTH: ReadonlySet<string> = new Set(['wallClock', 'elapsed', 'fullPeriod']);

function shortestOf(windows: readonly PlannedWindow[], spanMs: number): number {
  let shortest = Infinity;
  for (const { startMs, endMs, partial } of windows)
    if (!partial && endMs - startMs < shortest) shortest = endMs - startMs;
  return shortest === Infinity ? spanMs : shortest;
}

type Cut =
  | { readonly kind: 'whole' }
  | { readonly kind: 'units'; readonly ruler: Ruler }
  | { readonly kind: 'hopping'; readonly ruler: Ruler; readonly length: Amount }
  | { readonly kind: 'sessions'; readonly gapMs: number };

function cutOf(spec: WindowSpec, calendar: Calendar): Cut {
  const { every, hop, gap } = spec;
  const options = { mergeRepeated: spec.mergeRepeated };
  if (gap !== undefined) {
    if (every !== undefined || hop !== undefined)
      throw new DbError('22023', '"gap" makes sessions, which "every" and "hop" do not cut', {
        field: 'gap',
        hint: 'Leave out "every" and "hop", or "gap".',
      });
    const amount = parseAmount(gap, 'gap');
    if (amount.kind === 'civil')
      throw new DbError('22023', '"gap" is no length of time by the clock', {
        field: 'gap',
        hint: "Use seconds, minutes or hours, such as '30min'.",
      });
    return { kind: 'sessions', gapMs: amount.count * amount.seconds * 1000 };
  }
  if (hop !== undefined) {
    if (every === undefined)
      throw new DbError('22023', '"hop" needs "every": how long a window is', {
        field: 'every',
        hint: "Write { every: '1h', hop: '5min' }.",
      });
    return {
      kind: 'hopping',
      ruler: rulerOf(calendar, hop, 'hop', options),
      length: parseAmount(every, 'every'),
    };
  }
  return every === undefined
    ? { kind: 'whole' }
    : { kind: 'units', ruler: rulerOf(calendar, every, 'every', options) };
}

function refuseMixes(spec: WindowSpec, cut: Cut): void {
  const { fill, compare } = spec;
  if (cut.kind !== 'sessions') return;
  if (fill !== undefined && fill !== 'none')
    throw new DbError('22023', '"fill" has nothing to fill between sessions', {
      field: 'fill',
      hint: 'Leave it out.',
    });
  if (compare !== undefined)
    throw new DbError('22023', 'sessions have no windows of another time to compare with', {
      field: 'compare',
      hint: 'Leave it out, or use "every" instead of "gap".',
    });
}

/** The ruler of a unit, with the field that names it in errors. */
export function rulerOf(
  calendar: Calendar,
  unit: string,
  field: string,
  options: { readonly mergeRepeated?: boolean | undefined } = {},
): Ruler {
  return calendar.ruler(unit, { ...options, field });
}

// ── The span ───────────────────────────────────────────────────────────────────────────────────────────────────

function periodOf(spec: WindowSpec, calendar: Calendar, nowMs: number): Period {
  const given = whenOf(spec);
  switch (given) {
    case 'last':
      return last(parseAmount(spec.last!, 'last'), calendar, nowMs);
    case 'lastComplete':
      return complete(spec.lastComplete!, 'lastComplete', calendar, nowMs);
    case 'previous':
      return complete(spec.previous!, 'previous', calendar, nowMs);
    case 'toDate':
    case 'current': {
      const field = given;
      const unit = spec[field]!;
      const ruler = rulerOf(calendar, unit, field);
      const { start, end } = ruler.at(Math.floor(nowMs / 1000));
      return {
        startMs: start * 1000,
        endMs: field === 'toDate' ? nowMs : end * 1000,
        wholeEndMs: end * 1000,
        step: stepOf(unit, ruler, end - start, calendar),
        aligned: true,
        moves: field === 'toDate',
        along: { start: false, end: field === 'toDate' },
      };
    }
    case 'range': {
      const { range } = spec;
      if (!Array.isArray(range) || range.length !== 2)
        throw new DbError('22023', '"range" is no pair of instants', {
          field: 'range',
          hint: "Write ['2026-11-01', '2026-12-01']: from, and until just before.",
        });
      if (range.some((end) => typeof end === 'string' && end.trimStart().startsWith('now')))
        throw new DbError('22023', '"range" is of instants, and has what is relative to now', {
          field: 'range',
          hint: `Write text: '${range.join(' to ')}'.`,
        });
      const { timeZone } = calendar;
      const startMs = parseInstantMs(range[0] as InstantInput, timeZone, 'range.0');
      const endMs = parseInstantMs(range[1] as InstantInput, timeZone, 'range.1');
      return spanPeriod({ startMs, endMs, ...STILL }, calendar, 'range');
    }
    case 'text':
      return spanPeriod(grafanaSpan(spec.text!, calendar, nowMs), calendar, 'text');
  }
}

/** The one field that says when. */
function whenOf(spec: WindowSpec): (typeof WHEN)[number] {
  let given: (typeof WHEN)[number] | undefined;
  for (let index = 0; index < WHEN.length; index += 1) {
    const field = WHEN[index]!;
    if (spec[field] === undefined) continue;
    if (given !== undefined) throw saysWhenTwice(spec);
    given = field;
  }
  if (given === undefined)
    throw new DbError('22023', 'the window query does not say when', {
      field: 'last',
      hint: `Give one of ${WHEN.join(', ')}.`,
    });
  return given;
}

function saysWhenTwice(spec: WindowSpec): DbError {
  const given = WHEN.filter((each) => spec[each] !== undefined);
  return new DbError(
    '22023',
    `the window query says when ${given.length} times: ${given.join(', ')}`,
    { field: given[1]!, hint: `Give one of ${WHEN.join(', ')}.` },
  );
}

function last(amount: Amount, calendar: Calendar, nowMs: number): Period {
  if (amount.kind === 'clock') {
    const ms = amount.count * amount.seconds * 1000;
    return {
      startMs: nowMs - ms,
      endMs: nowMs,
      wholeEndMs: nowMs,
      step: { kind: 'exact', ms },
      aligned: false,
      moves: true,
      along: BOTH_ENDS,
    };
  }
  const duration = WALL_UNITS[amount.unit];
  if (duration === undefined)
    throw new DbError('22023', `"last" cannot go back by ${amount.unit}s from the middle of one`, {
      field: 'last',
      hint: `Use lastComplete: '${amount.count} ${amount.unit}s' for whole ones.`,
    });
  const startMs = calendar.add(nowMs, { [duration.unit]: -duration.times * amount.count });
  return {
    startMs,
    endMs: nowMs,
    wholeEndMs: nowMs,
    step: { kind: 'civil', amount, ruler: calendar.ruler(amount.unit) },
    aligned: false,
    moves: true,
    along: BOTH_ENDS,
  };
}

/** Units that one can go back by from any instant. */
const WALL_UNITS: Readonly<
  Partial<
    Record<string, { readonly unit: 'day' | 'month' | 'businessDay'; readonly times: number }>
  >
> = {
  day: { unit: 'day', times: 1 },
  week: { unit: 'day', times: 7 },
  isoWeek: { unit: 'day', times: 7 },
  month: { unit: 'month', times: 1 },
  quarter: { unit: 'month', times: 3 },
  year: { unit: 'month', times: 12 },
  fiscalQuarter: { unit: 'month', times: 3 },
  fiscalYear: { unit: 'month', times: 12 },
  businessDay: { unit: 'businessDay', times: 1 },
};

/** `count` whole units before the one that now lies in. */
function complete(text: string, field: string, calendar: Calendar, nowMs: number): Period {
  const amount = parseAmount(text, field);
  const unit = amount.kind === 'civil' ? amount.unit : `${amount.seconds}s`;
  const ruler = rulerOf(calendar, unit, field);
  const current = ruler.at(Math.floor(nowMs / 1000));
  if (ruler.kind === 'clock' && amount.count > SERIES_WINDOW_COUNT_MAX) throw tooManyWindows(field);
  const startMs = ruler.shift(current, -amount.count) * 1000;
  return {
    startMs,
    endMs: current.start * 1000,
    wholeEndMs: current.start * 1000,
    step:
      amount.kind === 'civil'
        ? { kind: 'civil', amount, ruler }
        : { kind: 'exact', ms: current.start * 1000 - startMs },
    aligned: true,
    moves: false,
    along: NO_END,
  };
}

function stepOf(unit: string, ruler: Ruler, seconds: number, calendar: Calendar): Period['step'] {
  const amount = parseAmount(unit, 'unit');
  if (amount.kind === 'clock') return { kind: 'exact', ms: seconds * 1000 };
  return amount.count === 1
    ? { kind: 'civil', amount, ruler }
    : { kind: 'civil', amount, ruler: calendar.ruler(amount.unit) };
}

/** A span that names no unit goes back by whole days where it has whole days, else by its length. */
function spanPeriod(
  { startMs, endMs, along, nextChangeMs }: GrafanaSpan,
  calendar: Calendar,
  field: string,
): Period {
  if (endMs < startMs)
    throw new DbError('22023', `"${field}" ends before it begins`, {
      field,
      hint: 'The earlier instant comes first.',
    });
  const ruler = calendar.ruler('day');
  const first = ruler.at(Math.floor(startMs / 1000));
  const last = ruler.at(Math.floor(endMs / 1000));
  const isWhole = first.start * 1000 === startMs && last.start * 1000 === endMs && endMs > startMs;
  return {
    startMs,
    endMs,
    wholeEndMs: endMs,
    step: isWhole
      ? {
          kind: 'civil',
          amount: { kind: 'civil', unit: 'day', count: last.day - first.day },
          ruler,
        }
      : { kind: 'exact', ms: endMs - startMs },
    aligned: isWhole,
    moves: along.start || along.end,
    along,
    nextChangeMs,
  };
}

const NO_END = { start: false, end: false } as const;
const BOTH_ENDS = { start: true, end: true } as const;
/** Instants as they are written. */
const STILL = { along: NO_END, nextChangeMs: Infinity } as const;

// ── The windows ────────────────────────────────────────────────────────────────────────────────────────────────

function wholeWindow(period: Period, calendar: Calendar, nowMs: number): PlannedWindow {
  const { startMs, endMs, wholeEndMs, aligned, step } = period;
  const isCivil = aligned && step.kind === 'civil';
  return {
    startMs,
    endMs,
    label: isCivil ? civilText(step.ruler.at(startMs / 1000).day) : instantLabel(calendar, startMs),
    offsetSeconds: calendar.offsetAt(Math.floor(startMs / 1000)),
    partial: endMs < wholeEndMs,
    complete: endMs <= nowMs,
  };
}

function* unitWindows(
  { startMs, endMs }: Period,
  ruler: Ruler,
  calendar: Calendar,
  nowMs: number,
): Generator<number, PlannedWindow[]> {
  const windows: PlannedWindow[] = [];
  if (!(startMs < endMs)) return windows;
  const first = ruler.at(Math.floor(startMs / 1000));
  refuseTooMany(startMs, endMs, (first.end - first.start) * 1000, 'every');
  for (let at = first; at.start * 1000 < endMs; at = ruler.next(at)) {
    if (windows.length >= SERIES_WINDOW_COUNT_MAX) throw tooManyWindows('every');
    if (windows.length % WINDOWS_A_STEP === WINDOWS_A_STEP - 1) yield windows.length;
    const whole = ruler.describe(at);
    const isCut = whole.startMs < startMs || whole.endMs > endMs;
    const end = Math.min(whole.endMs, endMs);
    windows.push({
      startMs: Math.max(whole.startMs, startMs),
      endMs: end,
      label: whole.label,
      offsetSeconds:
        whole.startMs < startMs
          ? calendar.offsetAt(Math.floor(startMs / 1000))
          : whole.offsetSeconds,
      partial: isCut || whole.partial,
      complete: end <= nowMs,
    });
  }
  return windows;
}

function* hoppingWindows(
  { startMs, endMs }: Period,
  { ruler, length }: Extract<Cut, { kind: 'hopping' }>,
  calendar: Calendar,
  nowMs: number,
): Generator<number, PlannedWindow[]> {
  const windows: PlannedWindow[] = [];
  if (!(startMs < endMs)) return windows;
  const first = ruler.at(Math.floor(startMs / 1000));
  refuseTooMany(startMs, endMs, (first.end - first.start) * 1000, 'hop');
  const begin = lengthBack(length, calendar);
  for (let at = first; at.start * 1000 < endMs; at = ruler.next(at)) {
    if (windows.length >= SERIES_WINDOW_COUNT_MAX) throw tooManyWindows('hop');
    if (windows.length % WINDOWS_A_STEP === WINDOWS_A_STEP - 1) yield windows.length;
    const whole = ruler.describe(at);
    const start = begin(whole.endMs);
    if (start > whole.startMs)
      throw new DbError(
        '22023',
        '"hop" is longer than "every": rows between windows would be lost',
        {
          field: 'hop',
          hint: 'Make "every" at least as long as "hop".',
        },
      );
    const end = Math.min(whole.endMs, endMs);
    windows.push({
      startMs: start,
      endMs: end,
      label: whole.label,
      offsetSeconds: calendar.offsetAt(Math.floor(start / 1000)),
      partial: whole.endMs > endMs,
      complete: end <= nowMs,
    });
  }
  return windows;
}

/** From the end of a window to its start. */
function lengthBack(length: Amount, calendar: Calendar): (endMs: number) => number {
  if (length.kind === 'clock') {
    const ms = length.count * length.seconds * 1000;
    return (endMs) => endMs - ms;
  }
  const duration = WALL_UNITS[length.unit];
  if (duration === undefined)
    throw new DbError('22023', `hopping windows cannot be ${length.unit}s long`, {
      field: 'every',
      hint: "Use hours, days, weeks, months or years, such as '28 days'.",
    });
  return (endMs) => calendar.add(endMs, { [duration.unit]: -duration.times * length.count });
}

/** Told by the length of one window, before any other is made. */
function refuseTooMany(startMs: number, endMs: number, widthMs: number, field: string): void {
  // The first may be a piece, or the longest of its kind.
  if ((endMs - startMs) / widthMs > SERIES_WINDOW_COUNT_MAX * 2 && widthMs >= 1000)
    throw tooManyWindows(field);
}

function tooManyWindows(field: string): DbError {
  return new DbError('54000', `more than ${SERIES_WINDOW_COUNT_MAX} windows are asked for`, {
    field,
    limit: 'windows',
    hint: 'Ask for a shorter time, or for longer windows.',
  });
}

/** When the answer changes though no row does: now passes a boundary. What moves with every instant is told as often as its reader likes. */
function nextChange(
  spec: WindowSpec,
  { startMs, endMs, moves, nextChangeMs }: Period,
  calendar: Calendar,
  nowMs: number,
): number | undefined {
  const isSpan = nextChangeMs !== undefined;
  const cut = spec.every ?? spec.hop;
  let next = nextChangeMs ?? Infinity;
  if (isSpan && endMs > nowMs)
    next = Math.min(next, nowMs < startMs && cut !== undefined ? startMs : endMs);
  const seconds = Math.floor(nowMs / 1000);
  const passes = (unit: string | undefined): void => {
    if (unit !== undefined) next = Math.min(next, calendar.ruler(unit).at(seconds).end * 1000);
  };
  // No window of the past becomes complete, and none of the future before its span begins.
  if (!isSpan || moves || (startMs <= nowMs && nowMs < endMs)) {
    passes(spec.every);
    passes(spec.hop);
  }
  passes(spec.toDate);
  passes(spec.current);
  passes(unitOf(spec.lastComplete));
  passes(unitOf(spec.previous));
  return next === Infinity ? undefined : next;
}

/** The unit of an amount. */
function unitOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const amount = parseAmount(text, 'unit');
  return amount.kind === 'civil' ? amount.unit : `${amount.seconds}s`;
}

/** Local time to the second. */
export function instantLabel(calendar: Calendar, ms: number): string {
  const local = calendar.local(ms);
  return `${local.slice(0, 19)}${local.slice(local.indexOf('.') + 4)}`;
}
