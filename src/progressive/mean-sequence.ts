/**
 * Means of bounded values by group, rigorously: batched empirical Bernstein for draws without replacement (Waudby-Smith & Ramdas, Estimating
 * means of bounded random variables by betting, JRSS-B 2024; batches by Maclaurin's inequality: a bet and a mean held for a batch of draws
 * can only lose), each side with a bet of its own size, cut with what is certain of the rows to come.
 *
 * One population of N draws for all groups: a draw of another group counts 0. Of a batch, the *watched* draws are bet on, as if they came
 * first; of the others only the sum is known, which moves the mean of the rows to come.
 */
import { betLoss, betSquare, type Bounds } from './confidence.ts';
import { grownStates } from './group-states.ts';

/** Places in a group's state. */
const At = {
  sum: 0,
  watchedSum: 1,
  watchedSquares: 2,
  center: 3,
  variance: 4,
  lowGain: 5,
  lowWeight: 6,
  lowLoss: 7,
  highGain: 8,
  highWeight: 9,
  highLoss: 10,
  lower: 11,
  upper: 12,
  width: 13,
} as const;

/** A batch of draws: how many, and how many of them are watched. */
export type DrawBatch = { readonly draws: number; readonly watched: number };

export class MeanSequence {
  readonly #population: number;
  readonly #low: number;
  readonly #range: number;
  #drawn = 0;
  #watched = 0;
  #groupCount = 0;
  /** Groups that have not been met: all their draws were 0, so one state stands for each of them. */
  readonly #unmet: Float64Array;
  #states = new Float64Array(0);

  /** Values lie in [low, high], which holds 0 where draws may be of other groups. */
  constructor(population: number, low: number, high: number) {
    this.#population = population;
    this.#low = low;
    this.#range = high - low;
    this.#unmet = fresh();
  }

  get memoryBytes(): number {
    return this.#states.byteLength;
  }

  ensure(groupCount: number): void {
    this.#states = grownStates(this.#states, groupCount, At.width);
    for (let group = this.#groupCount; group < groupCount; group += 1) {
      const at = group * At.width;
      this.#states.set(this.#unmet, at);
      // What was bet stands; the bounds it gave were of another group's risk. Certain is what was drawn.
      this.#states[at + At.lower] = this.#unmet[At.sum]! / this.#population;
      this.#states[at + At.upper] = 1 - (this.#drawn - this.#unmet[At.sum]!) / this.#population;
    }
    this.#groupCount = Math.max(this.#groupCount, groupCount);
  }

  /** More draws of a group: of the watched ones the sum and that of squares, and the sum of all draws so far. Then `close`, once for all groups. */
  add(
    group: number,
    batch: DrawBatch,
    watched: { readonly sum: number; readonly squares: number },
    allSum: number,
    lnRisk: number,
  ): void {
    this.#bet(this.#states, group * At.width, batch, watched, allSum, lnRisk);
  }

  /** The draws of all groups are in. */
  close(batch: DrawBatch, lnRisk: number): void {
    if (batch.draws > 0) this.#bet(this.#unmet, 0, batch, NOTHING, 0, lnRisk);
    this.#drawn += batch.draws;
    this.#watched += batch.watched;
  }

  bounds(group: number): Bounds {
    const at = group * At.width;
    return {
      lower: this.#low + this.#range * this.#states[at + At.lower]!,
      upper: this.#low + this.#range * this.#states[at + At.upper]!,
    };
  }

  #bet(
    states: Float64Array,
    at: number,
    { draws, watched }: DrawBatch,
    raw: { readonly sum: number; readonly squares: number },
    rawAll: number,
    lnRisk: number,
  ): void {
    const range = this.#range;
    if (draws === 0) return;
    if (range === 0) {
      states[at + At.lower] = 0;
      states[at + At.upper] = 0;
      return;
    }
    const N = this.#population;
    const n = this.#drawn;
    const low = this.#low;
    // On the scale of 0 … 1.
    const sum = (raw.sum - watched * low) / range;
    const squares = (raw.squares - 2 * low * raw.sum + watched * low * low) / (range * range);
    const before = states[at + At.sum]!;
    const drawn = n + draws;
    const total = (rawAll - drawn * low) / range;
    const left = N - n;
    const center = states[at + At.center]!;
    if (watched > 0) {
      const size = Math.sqrt(betSquare(states[at + At.variance]!, lnRisk, { N, n }, watched));
      const lowScale = Math.max(center, 1e-9);
      const highScale = Math.max(1 - center, 1e-9);
      const lowBet = Math.min(0.5, lowScale * size);
      const highBet = Math.min(0.5, highScale * size);
      const spread = Math.max(0, squares - 2 * center * sum + watched * center * center);
      states[at + At.lowGain]! += (lowBet / lowScale) * (sum + (watched * before) / left);
      states[at + At.lowWeight]! += ((lowBet / lowScale) * watched * N) / left;
      states[at + At.lowLoss]! += (betLoss(lowBet) * spread) / (lowScale * lowScale);
      states[at + At.highGain]! +=
        (highBet / highScale) * (watched - sum + (watched * (n - before)) / left);
      states[at + At.highWeight]! += ((highBet / highScale) * watched * N) / left;
      states[at + At.highLoss]! += (betLoss(highBet) * spread) / (highScale * highScale);
      const seen = this.#watched + watched;
      const watchedSum = states[at + At.watchedSum]! + sum;
      const watchedSquares = states[at + At.watchedSquares]! + squares;
      const next = (0.5 + watchedSum) / (seen + 1);
      states[at + At.watchedSum] = watchedSum;
      states[at + At.watchedSquares] = watchedSquares;
      states[at + At.center] = next;
      states[at + At.variance] = Math.max(
        1e-12,
        (0.25 + watchedSquares - 2 * next * watchedSum + seen * next * next) / (seen + 1),
      );
    }
    states[at + At.sum] = total;
    states[at + At.lower] = Math.max(
      states[at + At.lower]!,
      total / N,
      (states[at + At.lowGain]! - lnRisk - states[at + At.lowLoss]!) / states[at + At.lowWeight]!,
    );
    states[at + At.upper] = Math.min(
      states[at + At.upper]!,
      1 - (drawn - total) / N,
      1 -
        (states[at + At.highGain]! - lnRisk - states[at + At.highLoss]!) /
          states[at + At.highWeight]!,
    );
  }
}

const NOTHING = { sum: 0, squares: 0 };

function fresh(): Float64Array {
  const state = new Float64Array(At.width);
  state[At.center] = 0.5;
  state[At.variance] = 0.25;
  state[At.upper] = 1;
  return state;
}
