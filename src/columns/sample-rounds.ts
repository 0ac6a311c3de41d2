import { SEGMENT_ROWS } from './segment.ts';

/** Slots of a full segment that the first round reads; each round after it as many as were read before, as long as somebody may wait for an answer. */
const FIRST_SLOTS = 128;
/** The first rounds end here. */
const FIRST_ROUNDS_END = 4096;
/**
 * A round visits every segment, and a visit costs a microsecond or two, however few rows it is for: that much as some hundred rows. Of tables larger than this
 * a first round of 128 slots, and those after it, would be over before anybody has looked, and all visits together cost a tenth of the plain scan. So
 * they begin with more slots, as many as make no more than FIRST_ROWS_MAX rows.
 */
const LARGE_ROWS = 2 ** 23;
const FIRST_ROWS_MAX = 2 ** 20;
const LARGE_FIRST_SLOTS_MAX = 1024;
/**
 * Later rounds read as many again as long as that is not more than so many rows of all segments, so that looks at large tables stay near one another;
 * but at least so many slots of a segment, for the sake of the visits.
 */
const ROUND_ROWS_MAX = LARGE_ROWS;
const ROUND_SLOTS_MIN = 16_384;
const ROUND_SLOTS_STEP = 4096;
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
  /** Of a full segment, the round of each STEP_SLOTS draws; made for whoever asks. */
  #roundOf: Uint8Array | undefined;
  /** Rounds of which every draw is watched. */
  readonly #firstCount: number;

  /** `population`: the rows of all segments. */
  constructor(population: number) {
    const slotsMax = Math.floor((ROUND_ROWS_MAX * SEGMENT_ROWS) / Math.max(1, population));
    const strideMax = Math.max(ROUND_SLOTS_MIN, slotsMax - (slotsMax % ROUND_SLOTS_STEP));
    const ends = [firstSlots(population)];
    for (let end = ends[0]!; end < SEGMENT_ROWS;) {
      end = Math.min(SEGMENT_ROWS, end + Math.min(end, strideMax));
      ends.push(end);
    }
    this.#firstCount = ends.indexOf(FIRST_ROUNDS_END) + 1;
    this.#ends = ends;
  }

  get count(): number {
    return this.#ends.length;
  }

  /** Draws of a segment of so many rows in a round. */
  drawsOf(round: number, rowCount: number, watched: 'all' | 'some' | 'none'): RoundDraws {
    const from = this.#drawsUpTo(round - 1, rowCount);
    const to = this.#drawsUpTo(round, rowCount);
    return { from, to, watchedTo: from + this.#watchedOf(round, to - from, watched) };
  }

  /** Which round draws it. */
  roundOf(draw: number, rowCount: number): number {
    const roundOf = (this.#roundOf ??= this.#roundsOfFull());
    if (rowCount === SEGMENT_ROWS) return roundOf[Math.floor(draw / STEP_SLOTS)]!;
    let round = roundOf[Math.floor((draw * SEGMENT_ROWS) / rowCount / STEP_SLOTS)]!;
    // Shares of short segments are rounded down: the guess may be off by one.
    while (round > 0 && this.#drawsUpTo(round - 1, rowCount) > draw) round -= 1;
    while (this.#drawsUpTo(round, rowCount) <= draw) round += 1;
    return round;
  }

  #roundsOfFull(): Uint8Array {
    const roundOf = new Uint8Array(SEGMENT_ROWS / STEP_SLOTS);
    const ends = this.#ends;
    ends.forEach((end, round) =>
      roundOf.fill(round, (ends[round - 1] ?? 0) / STEP_SLOTS, end / STEP_SLOTS),
    );
    return roundOf;
  }

  /** Of so many draws of a round. Behind the last one nobody looks: its draws need not be known but for their sums. */
  #watchedOf(round: number, draws: number, watched: 'all' | 'some' | 'none'): number {
    if (watched === 'none' || round === this.#ends.length - 1) return 0;
    return watched === 'all' || round < this.#firstCount ? draws : Math.ceil(draws * WATCHED_SHARE);
  }

  /** Draws when the round is over. */
  #drawsUpTo(round: number, rowCount: number): number {
    if (round < 0) return 0;
    const slots = this.#ends[round]!;
    return rowCount === SEGMENT_ROWS ? slots : Math.floor((rowCount * slots) / SEGMENT_ROWS);
  }
}

/** A power of two, from FIRST_SLOTS on. */
function firstSlots(population: number): number {
  if (population <= LARGE_ROWS) return FIRST_SLOTS;
  const slotsMax = (FIRST_ROWS_MAX * SEGMENT_ROWS) / population;
  let slots = LARGE_FIRST_SLOTS_MAX;
  while (slots > FIRST_SLOTS && slots > slotsMax) slots /= 2;
  return slots;
}
