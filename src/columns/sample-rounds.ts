import { SEGMENT_ROWS } from './segment.ts';

/** Slots of a full segment that the first round reads; each round after it as many as were read before. */
const FIRST_SLOTS = 128;
/** The first rounds end here. */
const FIRST_ROUNDS_END = 4096;
/**
 * A round visits every segment, and a visit costs a microsecond or two, however few rows it is for: that much as some hundred rows. Of tables larger than this
 * a first round of 128 slots, and those after it, would be over before anybody has looked, and all visits together cost a tenth of the plain scan. So
 * they begin with more slots, as many as make no more than FIRST_ROWS_MAX rows, and the first rounds read three times as many as were read before.
 */
const LARGE_ROWS = 2 ** 23;
const FIRST_ROWS_MAX = 2 ** 20;
const LARGE_FIRST_SLOTS_MAX = 1024;
/**
 * No round reads more than so many rows of all segments, so that looks at large tables stay near one another; but it may read so many slots of a segment,
 * for the sake of the visits.
 */
const ROUND_ROWS_MAX = LARGE_ROWS;
const ROUND_SLOTS_MIN = 16_384;
const ROUND_SLOTS_STEP = 4096;
/**
 * Of later rounds a share is watched: the spread of the values is known well by then. Of large tables the later ones begin when FIRST_ROWS_MAX rows were
 * drawn, and no round watches more than is wanted: a row that is watched costs as much as one that is read.
 */
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
  readonly #population: number;

  /** `population`: the rows of all segments. */
  constructor(population: number) {
    const slotsMax = Math.floor((ROUND_ROWS_MAX * SEGMENT_ROWS) / Math.max(1, population));
    const strideMax = Math.max(ROUND_SLOTS_MIN, slotsMax - (slotsMax % ROUND_SLOTS_STEP));
    const ends = [firstSlots(population)];
    const isOfLarge = isLarge(population);
    for (let end = ends[0]!; end < SEGMENT_ROWS;) {
      const stride = isOfLarge ? end * 3 : end;
      end = Math.min(SEGMENT_ROWS, end + Math.min(stride, strideMax));
      ends.push(end);
    }
    const firstEnd = isOfLarge
      ? Math.max(ends[0]!, Math.min(FIRST_ROUNDS_END, firstSlotsMax(population)))
      : FIRST_ROUNDS_END;
    this.#firstCount = ends.filter((end) => end <= firstEnd).length;
    this.#ends = ends;
    this.#population = population;
  }

  get count(): number {
    return this.#ends.length;
  }

  /** Draws of a segment of so many rows in a round, of which a share is watched. */
  drawsOf(round: number, rowCount: number, watchedShare: number): RoundDraws {
    const from = this.#drawsUpTo(round - 1, rowCount);
    const to = this.#drawsUpTo(round, rowCount);
    return { from, to, watchedTo: from + Math.ceil((to - from) * watchedShare) };
  }

  /**
   * Of the draws of a round, the share that is watched, where `wanted` rows are to be watched in all, and `watched` were. Behind the last round nobody
   * looks: its draws need not be known but for their sums.
   */
  watchedShare(
    round: number,
    { watches, wanted, watched }: { watches: 'all' | 'some'; wanted: number; watched: number },
  ): number {
    const ends = this.#ends;
    if (wanted === 0 || round === ends.length - 1) return 0;
    const share = watches === 'all' || round < this.#firstCount ? 1 : WATCHED_SHARE;
    if (!isLarge(this.#population)) return share;
    const rows = (this.#population * (ends[round]! - (ends[round - 1] ?? 0))) / SEGMENT_ROWS;
    return Math.min(share, Math.max(0, wanted - watched) / rows);
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

  /** Draws when the round is over. */
  #drawsUpTo(round: number, rowCount: number): number {
    if (round < 0) return 0;
    const slots = this.#ends[round]!;
    return rowCount === SEGMENT_ROWS ? slots : Math.floor((rowCount * slots) / SEGMENT_ROWS);
  }
}

function isLarge(population: number): boolean {
  return population > LARGE_ROWS;
}

function firstSlotsMax(population: number): number {
  return (FIRST_ROWS_MAX * SEGMENT_ROWS) / population;
}

/** A power of two, from FIRST_SLOTS on. */
function firstSlots(population: number): number {
  if (!isLarge(population)) return FIRST_SLOTS;
  const slotsMax = firstSlotsMax(population);
  let slots = LARGE_FIRST_SLOTS_MAX;
  while (slots > FIRST_SLOTS && slots > slotsMax) slots /= 2;
  return slots;
}
