import type { SealedSegment } from './segment.ts';
import type { StoredColumn } from './stored-column.ts';
import type { NumberArray } from './vector.ts';

/**
 * Where the rows of a stretch of four hours stand, by cells of a quarter hour or a whole part of one: of each cell the segments that have rows in it, and
 * which places of their order of time. Rows that came late lie far apart in many segments: to ask each of these costs more than
 * reading the rows that are asked for. A cell tells of all of them at once.
 */
const QUARTERS = 16;
export const STRETCH = QUARTERS * 900_000_000;
/** Cells of a quarter hour: all that windows begin and end on when quarters are cut into pieces begin a cell, too. */
const CELLS_A_QUARTER: readonly number[] = [90, 45, 15, 9, 3];
/** Fewer rows are searched as quickly as a cell is found. */
const CELL_ROWS_MIN = 24;
/** Entries of a stretch, so that it is made within a step: of rows in no order each may be one. */
const ENTRIES_MAX = 131_072;
/** A stretch that more segments have rows in takes too long to be made at once. */
const SEGMENTS_MAX = 4096;

/** A segment's times in their order, where they are doubles. */
export type OrderedTimes = {
  /** By slot: what a time is, times `factor` and with `base`. */
  readonly values: NumberArray;
  readonly factor: number;
  readonly base: number;
  readonly order: Uint16Array;
  /** Rows that have a time. */
  readonly present: number;
};

/** Undefined where the order is of another column, or times are no doubles. */
export function orderedTimes(
  segment: SealedSegment,
  column: StoredColumn,
): OrderedTimes | undefined {
  const { timeOrder, timeColumn, rowCount } = segment;
  const stored = segment.columns[column.id];
  if (stored === undefined || timeOrder === undefined || timeColumn !== column.id) return undefined;
  const { vector, zone } = stored;
  if (vector.rep !== 'number') return undefined;
  const { values, factor, base } = vector;
  return { values, factor, base, order: timeOrder, present: rowCount - zone.nullCount };
}

/** Times looked at together: those of neighbours lie anywhere in memory, and to wait for one after the other is what a search takes. */
const LOOKS = 8;

/** Of places [from, end) of the order, the first whose time is at least `time`; `end` where there is none. */
export function placeOfTime(times: OrderedTimes, from: number, end: number, time: number): number {
  let low = from;
  let high = end;
  while (high - low >= LOOKS) {
    const step = Math.floor((high - low) / LOOKS);
    const before = countBefore(times, low + step, step, LOOKS - 1, time);
    if (before < LOOKS - 1) high = low + step * (before + 1);
    if (before > 0) low += step * before + 1;
  }
  return low + countBefore(times, low, 1, high - low, time);
}

/** How many of `count` places, `step` apart, have a time before `time`. */
function countBefore(
  { values, factor, base, order }: OrderedTimes,
  from: number,
  step: number,
  count: number,
  time: number,
): number {
  let before = 0;
  for (let look = 0; look < count; look += 1)
    if (values[order[from + look * step]!]! * factor + base < time) before += 1;
  return before;
}

/** Rows of segments by their number: those at places [from[i], to[i]) of the order of number[i]. */
export type FoundRows = {
  readonly numbers: number[];
  readonly from: number[];
  readonly to: number[];
};

export class TimeCells {
  readonly #start: number;
  readonly #length: number;
  /** By segment. */
  readonly #times: readonly OrderedTimes[];
  readonly #numbers: Int32Array;
  /** By segment, while rows are found: its place among those that were, and one. */
  readonly #found: Int32Array;
  /** By cell, its first entry; then the end of the last. */
  readonly #entries: Uint32Array;
  /** Three numbers an entry: the segment, the first place, and how many rows after the first. */
  readonly #runs: Uint16Array;

  /** Every candidate has `orderedTimes`. Undefined where too many have rows in it. */
  static of(
    start: number,
    candidates: readonly SealedSegment[],
    column: StoredColumn,
  ): TimeCells | undefined {
    const segments: SealedSegment[] = [];
    const ordered: OrderedTimes[] = [];
    const ranges: number[] = [];
    let rows = 0;
    for (const segment of candidates) {
      const times = orderedTimes(segment, column)!;
      const from = placeOfTime(times, 0, times.present, start);
      const to = placeOfTime(times, from, times.present, start + STRETCH);
      if (from === to) continue;
      if (segments.length === SEGMENTS_MAX) return undefined;
      segments.push(segment);
      ordered.push(times);
      ranges.push(from, to);
      rows += to - from;
    }
    const most = rows / QUARTERS / CELL_ROWS_MIN;
    const isFew = (cells: number): boolean =>
      Math.min(rows, QUARTERS * cells * segments.length) <= ENTRIES_MAX;
    const cells = QUARTERS * (CELLS_A_QUARTER.find((each) => each <= most && isFew(each)) ?? 1);
    return new TimeCells(start, cells, segments, ordered, ranges);
  }

  private constructor(
    start: number,
    cells: number,
    segments: readonly SealedSegment[],
    ordered: readonly OrderedTimes[],
    ranges: readonly number[],
  ) {
    this.#start = start;
    this.#length = STRETCH / cells;
    this.#times = ordered;
    this.#numbers = Int32Array.from(segments, ({ number }) => number);
    this.#found = new Int32Array(segments.length);
    // Cell, segment, first place, and how many more.
    const made: number[] = [];
    const entries = new Uint32Array(cells + 1);
    for (const [owner, times] of ordered.entries()) {
      const end = ranges[owner * 2 + 1]!;
      for (let place = ranges[owner * 2]!; place < end;) {
        const cell = this.#cellOf(timeAt(times, place));
        const next = endBefore(times, place, end, start + (cell + 1) * this.#length);
        made.push(cell, owner, place, next - place - 1);
        entries[cell + 1] = entries[cell + 1]! + 1;
        place = next;
      }
    }
    for (let cell = 0; cell < cells; cell += 1)
      entries[cell + 1] = entries[cell + 1]! + entries[cell]!;
    this.#entries = entries;
    this.#runs = new Uint16Array((made.length / 4) * 3);
    const next = entries.slice();
    for (let at = 0; at < made.length; at += 4) {
      const entry = next[made[at]!]!;
      next[made[at]!] = entry + 1;
      for (let part = 0; part < 3; part += 1) this.#runs[entry * 3 + part] = made[at + 1 + part]!;
    }
  }

  /** The rows of [from, to), which lies within the stretch and is not empty. */
  find(from: number, to: number): FoundRows {
    const first = this.#cellOf(from);
    const last = Math.ceil((to - this.#start) / this.#length) - 1;
    const owners: number[] = [];
    const found: FoundRows = { numbers: [], from: [], to: [] };
    const runs = this.#runs;
    const end = this.#entries[last + 1]! * 3;
    for (let at = this.#entries[first]! * 3; at < end; at += 3) {
      const owner = runs[at]!;
      const place = runs[at + 1]!;
      const until = place + runs[at + 2]! + 1;
      const known = this.#found[owner]!;
      if (known > 0) found.to[known - 1] = until;
      else {
        this.#found[owner] = owners.push(owner);
        found.numbers.push(this.#numbers[owner]!);
        found.from.push(place);
        found.to.push(until);
      }
    }
    const isCutFirst = this.#start + first * this.#length < from;
    const isCutLast = this.#start + (last + 1) * this.#length > to;
    for (let at = 0; at < owners.length; at += 1) {
      const owner = owners[at]!;
      this.#found[owner] = 0;
      if (!isCutFirst && !isCutLast) continue;
      const times = this.#times[owner]!;
      if (isCutFirst) found.from[at] = placeOfTime(times, found.from[at]!, found.to[at]!, from);
      if (isCutLast) found.to[at] = placeOfTime(times, found.from[at]!, found.to[at]!, to);
    }
    return found;
  }

  #cellOf(time: number): number {
    return Math.floor((time - this.#start) / this.#length);
  }
}

function timeAt({ values, factor, base, order }: OrderedTimes, place: number): number {
  return values[order[place]!]! * factor + base;
}

/** Of places [from, end), whose first is before `time`, the first that is not: found in steps that double, since most cells have few rows. */
function endBefore(times: OrderedTimes, from: number, end: number, time: number): number {
  let step = 1;
  while (from + step < end && timeAt(times, from + step) < time) step *= 2;
  return placeOfTime(times, from + (step >> 1), Math.min(end, from + step), time);
}
