/**
 * Means of bounded values by group, rigorously: batched empirical Bernstein for draws without replacement (Waudby-Smith & Ramdas, Estimating
 * means of bounded random variables by betting, JRSS-B 2024; batches by Maclaurin's inequality: a bet and a mean held for a batch of draws
 * can only lose), each side with a bet of its own size, cut with what is certain of the rows to come.
 *
 * One population of N draws for all groups: a draw of another group counts 0. State is 12 doubles a group.
 */
import { betLoss, betSquare, type Bounds } from './confidence.ts';

/** Places in a group's state. */
const At = {
  sum: 0,
  center: 1,
  squares: 2,
  variance: 3,
  lowGain: 4,
  lowWeight: 5,
  lowLoss: 6,
  highGain: 7,
  highWeight: 8,
  highLoss: 9,
  lower: 10,
  upper: 11,
  width: 12,
} as const;

export class MeanSequence {
  readonly #population: number;
  readonly #low: number;
  readonly #range: number;
  #drawn = 0;
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
    if (groupCount * At.width > this.#states.length) {
      const states = new Float64Array(Math.max(4, groupCount + (groupCount >>> 1)) * At.width);
      states.set(this.#states);
      this.#states = states;
    }
    for (let group = this.#groupCount; group < groupCount; group += 1)
      this.#states.set(this.#unmet, group * At.width);
    this.#groupCount = Math.max(this.#groupCount, groupCount);
  }

  /** `draws` more rows of a group: the sum of their values and of their squares. Call `close` when every group had its turn. */
  add(group: number, draws: number, sum: number, squares: number, lnRisk: number): void {
    this.#bet(this.#states, group * At.width, draws, sum, squares, lnRisk);
  }

  /** The draws of all groups are in. */
  close(draws: number, lnRisk: number): void {
    if (draws > 0) this.#bet(this.#unmet, 0, draws, 0, 0, lnRisk);
    this.#drawn += draws;
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
    draws: number,
    rawSum: number,
    rawSquares: number,
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
    const sum = (rawSum - draws * low) / range;
    const squares = (rawSquares - 2 * low * rawSum + draws * low * low) / (range * range);
    const left = N - n;
    const center = states[at + At.center]!;
    const size = Math.sqrt(betSquare(states[at + At.variance]!, lnRisk, { N, n }, draws));
    const lowScale = Math.max(center, 1e-9);
    const highScale = Math.max(1 - center, 1e-9);
    const lowBet = Math.min(0.5, lowScale * size);
    const highBet = Math.min(0.5, highScale * size);
    const spread = Math.max(0, squares - 2 * center * sum + draws * center * center);
    const before = states[at + At.sum]!;
    states[at + At.lowGain]! += (lowBet / lowScale) * (sum + (draws * before) / left);
    states[at + At.lowWeight]! += ((lowBet / lowScale) * draws * N) / left;
    states[at + At.lowLoss]! += (betLoss(lowBet) * spread) / (lowScale * lowScale);
    states[at + At.highGain]! += (highBet / highScale) * (draws - sum + (draws * (n - before)) / left);
    states[at + At.highWeight]! += ((highBet / highScale) * draws * N) / left;
    states[at + At.highLoss]! += (betLoss(highBet) * spread) / (highScale * highScale);
    const total = before + sum;
    const totalSquares = states[at + At.squares]! + squares;
    const drawn = n + draws;
    const nextCenter = (0.5 + total) / (drawn + 1);
    states[at + At.sum] = total;
    states[at + At.squares] = totalSquares;
    states[at + At.center] = nextCenter;
    states[at + At.variance] = Math.max(
      1e-12,
      (0.25 + totalSquares - 2 * nextCenter * total + drawn * nextCenter * nextCenter) / (drawn + 1),
    );
    states[at + At.lower] = Math.max(
      states[at + At.lower]!,
      total / N,
      (states[at + At.lowGain]! - lnRisk - states[at + At.lowLoss]!) / states[at + At.lowWeight]!,
    );
    states[at + At.upper] = Math.min(
      states[at + At.upper]!,
      1 - (drawn - total) / N,
      1 - (states[at + At.highGain]! - lnRisk - states[at + At.highLoss]!) / states[at + At.highWeight]!,
    );
  }
}

function fresh(): Float64Array {
  const state = new Float64Array(At.width);
  state[At.center] = 0.5;
  state[At.variance] = 0.25;
  state[At.upper] = 1;
  return state;
}
