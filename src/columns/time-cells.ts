import type { SealedSegment } from './segment.ts';
import type { StoredColumn } from './stored-column.ts';
import type { Vector } from './vector.ts';

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
  readonly vector: Extract<Vector, { rep: 'number' }>;
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
  return { vector, order: timeOrder, present: rowCount - zone.nullCount };
}

/** Of places [from, end) of the order, the first whose time is at least `time`; `end` where there is none. */
export function placeOfTime(
  { vector: { values, factor, base }, order }: OrderedTimes,
  from: number,
  end: number,
  time: number,
): number {
  let low = from;
  let high = end;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[order[middle]!]! * factor + base < time) low = middle + 1;
    else high = middle;
  }
  return low;
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
  readonly #column: StoredColumn;
  readonly #segments: readonly SealedSegment[];
  readonly #numbers: Int32Array;
  /** By segment, while rows are found: its place among those that were, and one. */
  readonly #found: Int32Array;
  /** By cell, its first entry; then the end of the last. */
  readonly #entries: Uint32Array;
  /** By entry: the segment, the first place, and how many rows after the first. */
  readonly #owners: Uint16Array;
  readonly #places: Uint16Array;
  readonly #more: Uint16Array;

  /** Every candidate has `orderedTimes`. Undefined where too many have rows in it. */
  static of(
    start: number,
    candidates: readonly SealedSegment[],
    column: StoredColumn,
  ): TimeCells | undefined {
    const segments: SealedSegment[] = [];
    const ranges: number[] = [];
    let rows = 0;
    for (const segment of candidates) {
      const times = orderedTimes(segment, column)!;
      const from = placeOfTime(times, 0, times.present, start);
      const to = placeOfTime(times, from, times.present, start + STRETCH);
      if (from === to) continue;
      if (segments.length === SEGMENTS_MAX) return undefined;
      segments.push(segment);
      ranges.push(from, to);
      rows += to - from;
    }
    const most = rows / QUARTERS / CELL_ROWS_MIN;
    const isFew = (cells: number): boolean =>
      Math.min(rows, QUARTERS * cells * segments.length) <= ENTRIES_MAX;
    const cells = QUARTERS * (CELLS_A_QUARTER.find((each) => each <= most && isFew(each)) ?? 1);
    return new TimeCells(start, cells, segments, ranges, column);
  }

  private constructor(
    start: number,
    cells: number,
    segments: readonly SealedSegment[],
    ranges: readonly number[],
    column: StoredColumn,
  ) {
    this.#start = start;
    this.#length = STRETCH / cells;
    this.#column = column;
    this.#segments = segments;
    this.#numbers = Int32Array.from(segments, ({ number }) => number);
    this.#found = new Int32Array(segments.length);
    // Cell, segment, first place, and how many more.
    const made: number[] = [];
    const entries = new Uint32Array(cells + 1);
    for (const [owner, segment] of segments.entries()) {
      const times = orderedTimes(segment, column)!;
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
    const count = made.length / 4;
    this.#owners = new Uint16Array(count);
    this.#places = new Uint16Array(count);
    this.#more = new Uint16Array(count);
    const next = entries.slice();
    for (let at = 0; at < made.length; at += 4) {
      const entry = next[made[at]!]!;
      next[made[at]!] = entry + 1;
      this.#owners[entry] = made[at + 1]!;
      this.#places[entry] = made[at + 2]!;
      this.#more[entry] = made[at + 3]!;
    }
  }

  /** The rows of [from, to), which lies within the stretch and is not empty. */
  find(from: number, to: number): FoundRows {
    const first = this.#cellOf(from);
    const last = Math.ceil((to - this.#start) / this.#length) - 1;
    const owners: number[] = [];
    const found: FoundRows = { numbers: [], from: [], to: [] };
    const end = this.#entries[last + 1]!;
    for (let entry = this.#entries[first]!; entry < end; entry += 1) {
      const owner = this.#owners[entry]!;
      const until = this.#places[entry]! + this.#more[entry]! + 1;
      const known = this.#found[owner]!;
      if (known > 0) found.to[known - 1] = until;
      else {
        this.#found[owner] = owners.push(owner);
        found.numbers.push(this.#numbers[owner]!);
        found.from.push(this.#places[entry]!);
        found.to.push(until);
      }
    }
    const isCutFirst = this.#start + first * this.#length < from;
    const isCutLast = this.#start + (last + 1) * this.#length > to;
    for (let at = 0; at < owners.length; at += 1) {
      const owner = owners[at]!;
      this.#found[owner] = 0;
      if (!isCutFirst && !isCutLast) continue;
      const times = orderedTimes(this.#segments[owner]!, this.#column)!;
      if (isCutFirst) found.from[at] = placeOfTime(times, found.from[at]!, found.to[at]!, from);
      if (isCutLast) found.to[at] = placeOfTime(times, found.from[at]!, found.to[at]!, to);
    }
    return found;
  }

  #cellOf(time: number): number {
    return Math.floor((time - this.#start) / this.#length);
  }
}

function timeAt({ vector: { values, factor, base }, order }: OrderedTimes, place: number): number {
  return values[order[place]!]! * factor + base;
}

/** Of places [from, end), whose first is before `time`, the first that is not: found in steps that double, since most cells have few rows. */
function endBefore(times: OrderedTimes, from: number, end: number, time: number): number {
  let step = 1;
  while (from + step < end && timeAt(times, from + step) < time) step *= 2;
  return placeOfTime(times, from + (step >> 1), Math.min(end, from + step), time);
}
