import { SEGMENT_ROWS } from './segment.ts';

/** Slots of a full segment that have been read when the first rounds are over: as many again as before, where somebody waits for an answer. */
const FIRST_ROUNDS = [128, 256, 512, 1024, 2048, 4096];
/**
 * Later rounds read as many again as long as that is not more than so many rows of all segments, so that looks at large tables stay near one another;
 * but at least so many slots of a segment. Many short rounds cost half as much again as a plain scan does: the runs of rows that lie side by
 * side are short.
 */
const ROUND_ROWS_MAX = 2 ** 22;
const ROUND_SLOTS_MIN = 4096;
/** Of later rounds a share is watched: the spread of the values is known well by then. */
const WATCHED_SHARE = 1 / 8;
/** All rounds end at multiples of it. */
const STEP_SLOTS = 64;

/** Draws of a segment: those of a round, the first of which are watched. */
export type RoundDraws = { readonly from: number; readonly to: number; readonly watchedTo: number };

/** How rounds divide the draws of a segment: the same share of each one, however many rows it has. */
export class SampleRounds {
  /** Draws of a full segment when each round is over. */
  readonly #ends: readonly number[];
  /** Of a full segment, the round of each STEP_SLOTS draws. */
  readonly #roundOf = new Uint8Array(SEGMENT_ROWS / STEP_SLOTS);

  /** `population`: the rows of all segments. */
  constructor(population: number) {
    const slotsMax = Math.floor((ROUND_ROWS_MAX * SEGMENT_ROWS) / Math.max(1, population));
    const strideMax = Math.max(ROUND_SLOTS_MIN, slotsMax - (slotsMax % ROUND_SLOTS_MIN));
    const ends = [...FIRST_ROUNDS];
    for (let end = ends.at(-1)!; end < SEGMENT_ROWS;) {
      end = Math.min(SEGMENT_ROWS, end + Math.min(end, strideMax));
      ends.push(end);
    }
    ends.forEach((end, round) =>
      this.#roundOf.fill(round, (ends[round - 1] ?? 0) / STEP_SLOTS, end / STEP_SLOTS),
    );
    this.#ends = ends;
  }

  get count(): number {
    return this.#ends.length;
  }

  /** Draws of a segment of so many rows in a round. */
  drawsOf(round: number, rowCount: number, watched: 'all' | 'some' | 'none'): RoundDraws {
    const from = this.#drawsUpTo(round - 1, rowCount);
    const to = this.#drawsUpTo(round, rowCount);
    return { from, to, watchedTo: from + watchedOf(round, to - from, watched) };
  }

  /** Which round draws it. */
  roundOf(draw: number, rowCount: number): number {
    if (rowCount === SEGMENT_ROWS) return this.#roundOf[Math.floor(draw / STEP_SLOTS)]!;
    let round = this.#roundOf[Math.floor((draw * SEGMENT_ROWS) / rowCount / STEP_SLOTS)]!;
    // Shares of short segments are rounded down: the guess may be off by one.
    while (round > 0 && this.#drawsUpTo(round - 1, rowCount) > draw) round -= 1;
    while (this.#drawsUpTo(round, rowCount) <= draw) round += 1;
    return round;
  }

  /** Draws when the round is over. */
  #drawsUpTo(round: number, rowCount: number): number {
    if (round < 0) return 0;
    const slots = this.#ends[round]!;
    return rowCount === SEGMENT_ROWS ? slots : Math.floor((rowCount * slots) / SEGMENT_ROWS);
  }
}

/** Of so many draws of a round. */
function watchedOf(round: number, draws: number, watched: 'all' | 'some' | 'none'): number {
  if (watched === 'none') return 0;
  const isFirst = round < FIRST_ROUNDS.length;
  return watched === 'all' || isFirst ? draws : Math.ceil(draws * WATCHED_SHARE);
}
