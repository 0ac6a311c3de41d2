import { countBelow, countUpTo } from '../base/search.ts';

/**
 * How time is cut into tiles: quarter hours of UTC, on which every civil day of every zone has begun and ended since October 1979,
 * with hours, four hours and days above them, then 8, 64 and 512 days. Times are microseconds since 1970.
 */
export const SECOND = 1_000_000;
export const MINUTE = 60 * SECOND;
export const QUARTER = 15 * MINUTE;
export const DAY = 96 * QUARTER;

/** Quarter hours of a day. */
export const QUARTERS = 96;
/** Places in the page of a day: its quarters, 24 hours, six times four hours, the day itself; what of it lies before a quarter, and from there on. */
export const HOURS_AT = QUARTERS;
export const FOURS_AT = HOURS_AT + 24;
export const WHOLE_AT = FOURS_AT + 6;
export const BEFORE_AT = WHOLE_AT + 1;
export const FROM_AT = BEFORE_AT + 1;
export const DAY_PLACES = FROM_AT + 1;

/** Runs of tiles that are some quarters of a day. */
const DAY_RUNS = 5;

/** Room for what `dayRuns` writes. */
export function roomForDayRuns(): Uint8Array {
  return new Uint8Array(DAY_RUNS * 2);
}

/**
 * The largest tiles of a day that together are its quarters [from, to): quarters as far as an hour, hours as far as four of them, and back. Pairs of a place
 * and how many tiles lie there one behind the other, often none.
 */
export function dayRuns(runs: Uint8Array, from: number, to: number): void {
  const hour = Math.min(to, (from + 3) & ~3);
  const hourEnd = Math.max(hour, to & ~3);
  const four = Math.min(hourEnd, (hour + 15) & ~15);
  const fourEnd = Math.max(four, hourEnd & ~15);
  runs[0] = from;
  runs[1] = hour - from;
  runs[2] = HOURS_AT + (hour >> 2);
  runs[3] = (four - hour) >> 2;
  runs[4] = FOURS_AT + (four >> 4);
  runs[5] = (fourEnd - four) >> 4;
  runs[6] = HOURS_AT + (fourEnd >> 2);
  runs[7] = (hourEnd - fourEnd) >> 2;
  runs[8] = hourEnd;
  runs[9] = to - hourEnd;
}

/** Tiles of `dayRuns`, by the quarter that they end before, or that they begin with. */
export const TILES_BEFORE = Uint8Array.from({ length: QUARTERS + 1 }, (_, to) => tilesOf(0, to));
export const TILES_FROM = Uint8Array.from({ length: QUARTERS + 1 }, (_, from) =>
  tilesOf(from, QUARTERS),
);

function tilesOf(from: number, to: number): number {
  const runs = roomForDayRuns();
  dayRuns(runs, from, to);
  let tiles = 0;
  for (let run = 0; run < DAY_RUNS; run += 1) tiles += runs[run * 2 + 1]!;
  return tiles;
}

/** How the quarters of a day are cut: into equal pieces of whole seconds, and where these are many, into runs of them, a tile each, too. */
export type Cut = {
  /** Pieces of a quarter. */
  readonly count: number;
  /** Pieces of a run; 0: there are no runs. */
  readonly run: number;
  /** Runs of a quarter. */
  readonly runs: number;
  /** How long a piece is. */
  readonly length: number;
  /** Places in the page of a day: its pieces, then its runs. */
  readonly places: number;
  /** The first run. */
  readonly runsAt: number;
};

function cutOf(count: number, run: number): Cut {
  const runs = run === 0 ? 0 : count / run;
  return {
    count,
    run,
    runs,
    length: QUARTER / count,
    places: QUARTERS * (count + runs),
    runsAt: QUARTERS * count,
  };
}

/** Runs, so that half a quarter is nine tiles at most however finely it is cut. */
const CUTS: readonly Cut[] = [
  cutOf(90, 9),
  cutOf(45, 9),
  cutOf(25, 5),
  cutOf(15, 5),
  cutOf(9, 0),
  cutOf(5, 0),
  cutOf(3, 0),
];
/** Rows of a piece at least: fewer are read as quickly as a tile is added. */
const PIECE_ROWS_MIN = 28;
/** Bytes of all pieces of a day, for each of its rows. */
const PIECE_BYTES_A_ROW = 2;

/** How the quarters of a day of so many rows are worth being cut; undefined: not at all. */
export function cutFor(rows: number, tileBytes: number): Cut | undefined {
  return CUTS.find(
    ({ count, places }) =>
      count * QUARTERS * PIECE_ROWS_MIN <= rows && places * tileBytes <= rows * PIECE_BYTES_A_ROW,
  );
}

/** Days that one tile above the days covers, by level. */
export const SPANS: readonly number[] = [8, 64, 512];

/** Whole days that are known, as half-open stretches that neither meet nor overlap. */
export class DaySet {
  /** Starts and ends in turn, ascending. */
  #bounds: number[] = [];

  get isEmpty(): boolean {
    return this.#bounds.length === 0;
  }

  has(day: number): boolean {
    return this.#place(day) % 2 === 1;
  }

  /** All of [from, to). */
  covers(from: number, to: number): boolean {
    const place = this.#place(from);
    return place % 2 === 1 && this.#bounds[place]! >= to;
  }

  add(from: number, to: number): void {
    if (from >= to) return;
    const bounds = this.#bounds;
    // Stretches that touch [from, to) become one with it.
    let first = countBelow(bounds, from);
    let last = countUpTo(bounds, to);
    const start = first % 2 === 1 ? bounds[first - 1]! : from;
    if (first % 2 === 1) first -= 1;
    const end = last % 2 === 1 ? bounds[last]! : to;
    if (last % 2 === 1) last += 1;
    bounds.splice(first, last - first, start, end);
  }

  remove(day: number): void {
    const place = this.#place(day);
    if (place % 2 === 0) return;
    const start = this.#bounds[place - 1]!;
    const end = this.#bounds[place]!;
    const left = start < day ? [start, day] : [];
    const right = day + 1 < end ? [day + 1, end] : [];
    this.#bounds.splice(place - 1, 2, ...left, ...right);
  }

  clear(): void {
    this.#bounds = [];
  }

  /** What of [from, to) is not in it. */
  gaps(from: number, to: number): { readonly from: number; readonly to: number }[] {
    const gaps: { from: number; to: number }[] = [];
    let at = from;
    for (let place = this.#place(from); at < to; place += 1) {
      if (place % 2 === 1) {
        at = this.#bounds[place]!;
        continue;
      }
      const end = Math.min(to, this.#bounds[place] ?? Infinity);
      if (at < end) gaps.push({ from: at, to: end });
      at = end;
    }
    return gaps;
  }

  /** Bounds at or before `day`: odd inside of a stretch. */
  #place(day: number): number {
    return countUpTo(this.#bounds, day);
  }
}
