import {
  findZone,
  localInstants,
  nextChange,
  offsetSecondsAt,
  zoneOf,
  type Zone,
} from '../calendar/zones.ts';
import { civilFromDays } from '../calendar/civil.ts';
import { Interval, type Datum } from '../columns/values.ts';
import { functionById } from '../expressions/catalog.ts';
import type { Expression } from '../expressions/expression.ts';
import { addMonths, negateInterval } from '../expressions/datetime.ts';
import { evaluateConstant, partsOf, referencedColumns } from '../expressions/fold.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { interpret } from '../expressions/interpret.ts';
import type { Budget } from '../operators/operator.ts';
import { MINUTE, QUARTER, SECOND } from './tile-time.ts';

/**
 * Functions of a row's time that go one way while no clock is put forward or back: what tiles are cut by, and what conditions compare. Halving
 * finds where they change.
 */

/** A bucket of time: `date_trunc`, `time_bucket`, `date_bin`, `::date`, of the column or of its wall. */
export function isBucket(key: Expression, column: number): boolean {
  if (key.kind === 'cast')
    return key.type.kind === 'date' && (isWall(key.arg, column) || isDated(key.arg, column));
  return isCut(key, column) || isCutWall(key, column);
}

/** A function that cuts the time, or its wall, into buckets. */
function isCut(key: Expression, column: number): key is CallExpression {
  if (key.kind !== 'call' || !BUCKETS.has(functionById(key.fn).name)) return false;
  // Of a time as origin a bucket is no stretch: it comes again with every width.
  return key.args.every((arg, place) =>
    place === TIME_PLACE ? isWall(arg, column) : referencedColumns(arg).size === 0,
  );
}

/** The time itself, or what the clock on a wall shows then: in the session's zone, or in one that is named. */
function isWall(expression: Expression, column: number): boolean {
  if (expression.kind === 'column') return expression.index === column;
  const time = expression.kind === 'cast' ? expression.arg : atTimeZone(expression)?.time;
  return (
    expression.type.kind === 'timestamp' &&
    time?.kind === 'column' &&
    time.index === column &&
    time.type.kind === 'timestamptz'
  );
}

/** A date_trunc whose date is taken: of a wall's time, or in the session's zone, whose dates these are. */
function isDated(arg: Expression, column: number): boolean {
  return (
    isCut(arg, column) &&
    functionById(arg.fn).name === 'date_trunc' &&
    (arg.type.kind === 'timestamp' || arg.args.length === 2)
  );
}

/**
 * `date_trunc('day', ts AT TIME ZONE 'Europe/Berlin') AT TIME ZONE 'Europe/Berlin'`: the start as an instant. Of one zone alone, and of days and more, it never
 * goes back where the wall's does not: an hour may begin on a time that the clocks leave out, which is an instant after the hour's end.
 */
function isCutWall(key: Expression, column: number): boolean {
  const outer = atTimeZone(key);
  if (outer === undefined || key.type.kind !== 'timestamptz' || !isCut(outer.time, column))
    return false;
  const [unit, wall] = outer.time.args;
  const inner = atTimeZone(wall!);
  return (
    functionById(outer.time.fn).name === 'date_trunc' &&
    unit!.kind === 'constant' &&
    WHOLE_DAYS.has(String(unit!.value).toLowerCase()) &&
    inner !== undefined &&
    inner.zone.kind === 'constant' &&
    outer.zone.kind === 'constant' &&
    inner.zone.value === outer.zone.value
  );
}

const WHOLE_DAYS = new Set(['day', 'week', 'month', 'quarter', 'year']);

function atTimeZone(
  expression: Expression,
): { readonly zone: Expression; readonly time: Expression } | undefined {
  if (expression.kind !== 'call' || functionById(expression.fn).name !== 'timezone')
    return undefined;
  const [zone, time] = expression.args;
  return referencedColumns(zone!).size === 0 ? { zone: zone!, time: time! } : undefined;
}

type CallExpression = Extract<Expression, { kind: 'call' }>;

const BUCKETS = new Set(['date_trunc', 'time_bucket', 'date_bin']);
/** Of each of these, which argument is the time that is cut. */
const TIME_PLACE = 1;

/** A function of time that, between two changes of an offset, never goes back or never goes forward. */
export function isMonotone(expression: Expression, column: number): boolean {
  if (expression.kind === 'column') return expression.index === column;
  if (isWall(expression, column) || isBucket(expression, column)) return true;
  if (expression.kind !== 'call' || expression.args.length !== 2) return false;
  const [left, right] = expression.args as [Expression, Expression];
  const { name } = functionById(expression.fn);
  if (PARTS.has(name))
    return left.kind === 'constant' && GROWING.has(String(left.value).toLowerCase())
      ? isMonotone(right, column)
      : false;
  if (name !== '+' && name !== '-') return false;
  return [
    [left, right],
    [right, left],
  ].some(
    ([own, other]) =>
      isMonotone(own!, column) &&
      referencedColumns(other!).size === 0 &&
      (other!.type.kind !== 'interval' || isOrdered(own!, other!)),
  );
}

/**
 * Whether later times stay later ones with an interval added. Days of an instant go by the wall, where a time that is left out is read as a later one; months of it end
 * where a calendar says, so that an evening of the 30th may come to lie after a morning of the 31st: of the column itself `piecesOf` knows where. Dates have no hours.
 */
function isOrdered(own: Expression, added: Expression): boolean {
  if (added.kind !== 'constant' || !(added.value instanceof Interval)) return false;
  const { months, days } = added.value;
  const isInstant = own.kind === 'column' && own.type.kind === 'timestamptz';
  if (months !== 0) return own.type.kind === 'date' || (isInstant && days === 0);
  return days === 0 || own.type.kind !== 'timestamptz' || isInstant;
}

const PARTS = new Set(['extract', 'date_part']);
/** Parts of a time that come once. */
const GROWING = new Set(['year', 'isoyear', 'decade', 'century', 'millennium', 'julian', 'epoch']);

/** Work units of one look. */
const LOOK_WORK = 8;

/** What a search may take: so many looks, which it counts down, and changes found. */
export type Search = {
  readonly budget: () => Budget;
  looksLeft: number;
  readonly changesMax: number;
};

/** Stretches begin at `starts`, and have `values`: two that follow one another have different ones. */
export type Changes = { readonly starts: number[]; readonly values: number[] };

/**
 * Where a function of time changes between `from` and `to`, found in steps. Between two changes of an offset of the zones that `expression` speaks of, it goes
 * one way, so halving finds them. Undefined: it has values that are no numbers, or the search would take more than it may.
 */
export function* changesOf(
  expression: Expression,
  valueOf: (datum: Datum) => number,
  context: EvaluationContext,
  from: number,
  to: number,
  search: Search,
): Generator<void, Changes | undefined> {
  const { budget, changesMax } = search;
  const valueAt = (instant: number): number => {
    search.looksLeft -= 1;
    budget().charge(LOOK_WORK);
    return valueOf(interpret(expression, () => instant, context));
  };
  const starts: number[] = [];
  const values: number[] = [];
  for (const piece of piecesOf(expression, context, from, to)) {
    // Stretches whose value may change inside, the earliest last.
    const waiting: [number, number, number, number][] = [];
    const note = (start: number, value: number): void => {
      if (values.at(-1) === value) return;
      starts.push(start);
      values.push(value);
    };
    const first = valueAt(piece.from);
    if (!Number.isFinite(first)) return undefined;
    note(piece.from, first);
    if (piece.to - 1 > piece.from)
      waiting.push([piece.from, first, piece.to - 1, valueAt(piece.to - 1)]);
    for (;;) {
      if (search.looksLeft < 0 || values.length > changesMax) return undefined;
      if (budget().exhausted) yield;
      const next = waiting.pop();
      if (next === undefined) break;
      const [a, valueA, b, valueB] = next;
      if (valueA === valueB) continue;
      if (b - a === 1) {
        note(b, valueB);
        continue;
      }
      // Most stretches are as long as the one before.
      const again = 2 * starts.at(-1)! - (starts.at(-2) ?? -Infinity);
      const middle = again > a && again < b ? again : middleOf(a, b);
      const value = valueAt(middle);
      waiting.push([middle, value, b, valueB]);
      // What changes does so at round instants: the one before tells nearly always.
      if (value !== valueA && middle - a > 1) {
        const before = valueAt(middle - 1);
        waiting.push([middle - 1, before, middle, value]);
        waiting.push([a, valueA, middle - 1, before]);
      } else waiting.push([a, valueA, middle, value]);
    }
  }
  return { starts, values };
}

/** Between them, on a quarter of an hour, a minute or a second where there is one. */
function middleOf(a: number, b: number): number {
  const middle = Math.floor((a + b) / 2);
  for (const unit of ROUND) {
    const round = Math.round(middle / unit) * unit;
    if (round > a && round < b) return round;
  }
  return middle;
}

const ROUND = [QUARTER, MINUTE, SECOND];

/** [from, to) cut where an offset changes, of the session's zone or one that the expression names. */
function piecesOf(
  expression: Expression,
  context: EvaluationContext,
  from: number,
  to: number,
): { readonly from: number; readonly to: number }[] {
  const cuts = new Set<number>([from]);
  const cut = (seconds: number): void => {
    if (seconds * 1e6 > from && seconds * 1e6 < to) cuts.add(seconds * 1e6);
  };
  const [first, last] = [Math.floor(from / 1e6), Math.ceil(to / 1e6)];
  for (const name of [context.zone, ...textsOf(expression, context)]) {
    const zone = findZone(name);
    if (zone !== undefined) for (const { at } of changesIn(zone, first, last)) cut(at);
  }
  const zone = zoneOf(context.zone);
  const cutWall = (wall: number): void => {
    const own = localInstants(zone, wall);
    cut(own.earlier);
    cut(own.later);
  };
  for (const { months, days } of calendarSpansAdded(expression)) {
    const later = (seconds: number): number =>
      (addMonths(Math.floor(seconds / DAY_SECONDS), months) + days) * DAY_SECONDS;
    // What is added to may lie a day off: the wall's time is that of another offset.
    const [start, end] = [later(first) - 2 * DAY_SECONDS, later(last) + 3 * DAY_SECONDS];
    for (const { at, before, offset } of changesIn(zone, start, end))
      for (const wall of [at + before, at + offset]) {
        const day = Math.floor(wall / DAY_SECONDS);
        for (const own of daysBefore(day - days, months)) cutWall(wall + (own - day) * DAY_SECONDS);
      }
    if (months === 0) continue;
    const [from, to] = [first, last].map((seconds) => Math.floor(seconds / DAY_SECONDS));
    for (const day of daysFalling(from! - 1, to! + 1, months)) cutWall(day * DAY_SECONDS);
  }
  const ascending = [...cuts].sort((a, b) => a - b);
  return ascending.map((start, index) => ({ from: start, to: ascending[index + 1] ?? to }));
}

const DAY_SECONDS = 86_400;

/** Changes of a zone's offset after `from` and until `to`, in seconds since 1970, each with the offset before it. */
function* changesIn(
  zone: Zone,
  from: number,
  to: number,
): Generator<{ readonly at: number; readonly before: number; readonly offset: number }> {
  let before = offsetSecondsAt(zone, from * 1e6);
  let at = from;
  for (;;) {
    const change = nextChange(zone, at, to);
    if (change === undefined) return;
    yield { before, ...change };
    ({ at, offset: before } = change);
  }
}

/** Days that come to a day with months added: several, where its month is a short one. */
function daysBefore(day: number, months: number): number[] {
  const near = addMonths(day, -months);
  return Array.from({ length: 7 }, (_, each) => near - 3 + each).filter(
    (each) => addMonths(each, months) === day,
  );
}

/** Days of [from, to) that come to the day that the one before comes to. */
function* daysFalling(from: number, to: number, months: number): Generator<number> {
  for (let day = from; day < to; day += 1) {
    const date = civilFromDays(day);
    // No month has fewer days than 28.
    if (date.day <= 28) day += 28 - date.day;
    else if (addMonths(day, months) === addMonths(day - 1, months)) yield day;
  }
}

/** Months and days that an expression adds to an instant. */
function calendarSpansAdded(
  expression: Expression,
): { readonly months: number; readonly days: number }[] {
  const below = partsOf(expression).flatMap(calendarSpansAdded);
  if (expression.kind !== 'call' || expression.type.kind !== 'timestamptz') return below;
  const { name } = functionById(expression.fn);
  if (name !== '+' && name !== '-') return below;
  for (const arg of expression.args) {
    if (arg.kind !== 'constant' || !(arg.value instanceof Interval)) continue;
    const { months, days } = name === '+' ? arg.value : negateInterval(arg.value);
    if (months !== 0 || days !== 0) below.push({ months, days });
  }
  return below;
}

/** Texts in an expression, among them the names of zones. */
export function textsOf(expression: Expression, context: EvaluationContext): string[] {
  const own =
    referencedColumns(expression).size === 0 &&
    ['text', 'unknown', 'varchar'].includes(expression.type.kind)
      ? evaluateConstant(expression, context)
      : null;
  return [
    ...(typeof own === 'string' ? [own] : []),
    ...partsOf(expression).flatMap((part) => textsOf(part, context)),
  ];
}
