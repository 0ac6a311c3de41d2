import type { Calendar } from '../calendar/calendar.ts';
import type { TableData } from '../columns/table-contract.ts';
import type { ExecutionEnvironment } from '../operators/environment.ts';
import { isOfTheRow } from '../windows/tile-plan.ts';
import { changedTimes, lastAtOrBefore } from '../windows/window-source.ts';
import type { ComparedSpan, PlannedWindow, WindowSeries } from '../windows/window-spec.ts';
import type { Session } from './session.ts';
import { isStored } from './catalog.ts';
import type { BoundWindows } from './window-plan.ts';

/** Changed rows, and looks at windows for them, beyond which all windows are asked again. */
const CHANGED_ROWS_MAX = 65_536;
const LOOKS_MAX = 200_000;

/** An answer as the next run of the same question finds it: what has changed since need be asked, and nothing else. */
export type AnsweredWindows = {
  readonly relation: number;
  readonly data: TableData;
  /** The table's columns: another list after each ALTER TABLE. */
  readonly columns: TableData['schema']['columns'];
  /** The column of times. */
  readonly time: number;
  readonly position: number;
  readonly calendar: Calendar;
  /** From when on everything was kept. */
  readonly keptFromMs: number;
  readonly series: WindowSeries;
  readonly spans: SpanIndex;
};

/** The windows of a series that must be asked again. */
export type ChangedWindows = {
  /** Of the whole series, ascending. */
  readonly asked: readonly number[];
  /** By window of the series the one of the answer before that it is; −1 where there is none. Undefined: all are what they were. */
  readonly same: Int32Array | undefined;
};

/** Undefined where an answer depends on more than the rows in each window. */
export function answeredWindows(
  session: Session,
  { plan, bound, keyTypes }: BoundWindows,
  series: WindowSeries,
  run: {
    readonly position: number;
    readonly calendar: Calendar;
    readonly keptFromMs: number;
  },
  environment: ExecutionEnvironment,
): AnsweredWindows | undefined {
  const { input, time, keys, calls } = plan;
  if (input.kind !== 'scan' || time.kind !== 'column' || time.type.kind !== 'timestamptz')
    return undefined;
  if (bound.relations.length !== 1 || series.gapMs !== undefined) return undefined;
  // What is filled depends on other windows, and on groups of other windows.
  const isFilled = series.fill !== 'none';
  if (isFilled && (keyTypes.length > 0 || series.fill === 'previous' || series.fill === 'linear'))
    return undefined;
  const all = [
    ...(input.filter === undefined ? [] : [input.filter]),
    ...keys,
    ...calls.flatMap(({ args, filter }) => (filter === undefined ? args : [...args, filter])),
  ];
  if (!all.every(isOfTheRow)) return undefined;
  // What a policy has demoted changes beside the table's rows.
  if (session.engine.state.keptTable(input.relation) !== undefined) return undefined;
  const entry = session.engine.state.catalog.byId(input.relation);
  if (!isStored(entry)) return undefined;
  const { data } = entry;
  return {
    relation: input.relation,
    data,
    // Those that the question was bound to, whatever the table has by now.
    columns: environment.snapshotOf(input.relation).schema.columns,
    time: input.columnIndexes[time.index]!,
    ...run,
    series,
    spans: new SpanIndex(series),
  };
}

/** Whether the windows of an answer are still those of its question. */
export function areStill(
  { series, calendar }: AnsweredWindows,
  own: Calendar,
  nowMs: number,
): boolean {
  return (
    calendar === own &&
    !series.moves &&
    (series.nextChangeMs === undefined || nowMs < series.nextChangeMs)
  );
}

/** What differs at `position`; undefined: who knows. */
export function changedWindows(
  before: AnsweredWindows,
  series: WindowSeries,
  session: Session,
  position: number,
  keptFromMs: number,
): ChangedWindows | undefined {
  // It is in what windows say of themselves.
  if (keptFromMs !== before.keptFromMs) return undefined;
  const { relation, data, spans, time, columns } = before;
  const entry = session.engine.state.catalog.byId(relation);
  if (!isStored(entry) || entry.data !== data || data.schema.columns !== columns) return undefined;
  if (session.engine.state.keptTable(relation) !== undefined) return undefined;
  // One window alone has a row where others have none.
  if (series.isOne !== before.series.isOne) return undefined;
  const touched = new Set<number>();
  if (position !== before.position) {
    const span = { from: before.position, to: position };
    const changed =
      position < before.position ? undefined : changedTimes(data, time, span, CHANGED_ROWS_MAX);
    if (changed === undefined) return undefined;
    for (const times of changed) if (!spans.touch(times, touched)) return undefined;
  }
  if (series === before.series)
    return { asked: [...touched].sort((a, b) => a - b), same: undefined };
  const same = sameWindows(before.series, series);
  const asked: number[] = [];
  for (let index = 0; index < same.length; index += 1)
    if (same[index] === -1 || touched.has(same[index]!)) asked.push(index);
  return { asked, same };
}

/** The series of some of its windows. */
export function partOf(series: WindowSeries, asked: readonly number[]): WindowSeries {
  return {
    ...series,
    windows: asked.map((index) => series.windows[index]!),
    compared: series.compared && asked.map((index) => series.compared![index]),
  };
}

/** Windows that are the same in both series, by those of the second: both go forward in time. */
function sameWindows(before: WindowSeries, after: WindowSeries): Int32Array {
  const same = new Int32Array(after.windows.length).fill(-1);
  let at = 0;
  for (let index = 0; index < same.length; index += 1) {
    const window = after.windows[index]!;
    while (at < before.windows.length && before.windows[at]!.startMs < window.startMs) at += 1;
    for (
      let each = at;
      each < before.windows.length && before.windows[each]!.startMs === window.startMs;
      each += 1
    )
      if (
        isSameWindow(before.windows[each]!, window) &&
        isSameSpan(before.compared?.[each], after.compared?.[index])
      )
        same[index] = each;
  }
  return same;
}

function isSameWindow(a: PlannedWindow, b: PlannedWindow): boolean {
  return (
    a.endMs === b.endMs &&
    a.partial === b.partial &&
    a.complete === b.complete &&
    a.label === b.label &&
    a.offsetSeconds === b.offsetSeconds
  );
}

function isSameSpan(a: ComparedSpan | undefined, b: ComparedSpan | undefined): boolean {
  return a?.startMs === b?.startMs && a?.endMs === b?.endMs;
}

/** The windows of a series, and what they are compared with, by time. */
class SpanIndex {
  readonly #from: Float64Array;
  readonly #to: Float64Array;
  /** The latest end of the spans up to each one: how far back a time may still lie in one. */
  readonly #latest: Float64Array;
  readonly #owners: Int32Array;
  readonly #windowCount: number;

  constructor({ windows, compared }: WindowSeries) {
    const spans = windows.map((span, owner) => ({ ...spanOf(span), owner }));
    compared?.forEach((span, owner) => {
      if (span !== undefined) spans.push({ ...spanOf(span), owner });
    });
    spans.sort((a, b) => a.from - b.from);
    this.#from = Float64Array.from(spans, ({ from }) => from);
    this.#to = Float64Array.from(spans, ({ to }) => to);
    this.#owners = Int32Array.from(spans, ({ owner }) => owner);
    this.#latest = new Float64Array(spans.length);
    let latest = -Infinity;
    for (let index = 0; index < spans.length; index += 1) {
      latest = Math.max(latest, this.#to[index]!);
      this.#latest[index] = latest;
    }
    this.#windowCount = windows.length;
  }

  /** Notes the windows that times, in microseconds, lie in. False: they are too many to tell apart. */
  touch(times: Float64Array, touched: Set<number>): boolean {
    let looks = 0;
    for (const time of times) {
      for (
        let span = lastAtOrBefore(this.#from, time);
        span >= 0 && this.#latest[span]! > time;
        span -= 1
      ) {
        looks += 1;
        if (time < this.#to[span]!) touched.add(this.#owners[span]!);
      }
      if (touched.size === this.#windowCount) return true;
      if (looks > LOOKS_MAX) return false;
    }
    return true;
  }
}

function spanOf({ startMs, endMs }: ComparedSpan): { readonly from: number; readonly to: number } {
  return { from: startMs * 1000, to: endMs * 1000 };
}
