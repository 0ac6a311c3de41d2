/**
 * Ratios of two sums over the same draws, by group: averages of the rows that pass (u = value, v = 1), shares, sums by sums. For each θ
 * the values u − θv have a known mean if θ is the ratio, which is tested for all θ at once: the capital of a bet against θ is
 * a quadratic in θ, so five sums a group are all that is kept (empirical Bernstein as in `mean-sequence.ts`, inverted in θ).
 *
 * What is known beforehand, rows read whole, joins as sums that no draw had: `known`.
 */
import { betLoss, betSquare, type Bounds } from './confidence.ts';
import { grownStates } from './group-states.ts';
import type { DrawBatch } from './mean-sequence.ts';

/** Places in a group's state. */
const At = {
  u: 0,
  v: 1,
  uu: 2,
  uv: 3,
  vv: 4,
  gainU: 5,
  gainV: 6,
  lossUu: 7,
  lossUv: 8,
  lossVv: 9,
  variance: 10,
  width: 11,
} as const;

/** Sums of u and v over draws, and of their products. */
export type ProductTerms = {
  readonly u: number;
  readonly v: number;
  readonly uu: number;
  readonly uv: number;
  readonly vv: number;
};

export class RatioSequence {
  readonly #population: number;
  /** |u − θv| ≤ range for every θ in `thetas`. */
  readonly #range: number;
  readonly #thetas: Bounds;
  #drawn = 0;
  #watched = 0;
  #groupCount = 0;
  readonly #unmet: Float64Array;
  #states = new Float64Array(0);

  constructor(population: number, range: number, thetas: Bounds) {
    this.#population = population;
    this.#range = range;
    this.#thetas = thetas;
    this.#unmet = new Float64Array(At.width);
    this.#unmet[At.variance] = 0.25;
  }

  get memoryBytes(): number {
    return this.#states.byteLength;
  }

  ensure(groupCount: number): void {
    this.#states = grownStates(this.#states, groupCount, At.width);
    for (let group = this.#groupCount; group < groupCount; group += 1)
      this.#states.set(this.#unmet, group * At.width);
    this.#groupCount = Math.max(this.#groupCount, groupCount);
  }

  /**
   * More draws of a group: the terms of the watched ones; and u and v of all draws so far and of the rows that are not drawn. Then `close`, once
   * for all groups.
   */
  add(
    group: number,
    batch: DrawBatch,
    watched: ProductTerms,
    all: { readonly u: number; readonly v: number },
    lnRisk: number,
  ): void {
    this.#bet(this.#states, group * At.width, batch, watched, all, lnRisk);
  }

  close(batch: DrawBatch, lnRisk: number): void {
    if (batch.draws > 0) this.#bet(this.#unmet, 0, batch, NO_TERMS, NO_TERMS, lnRisk);
    this.#drawn += batch.draws;
    this.#watched += batch.watched;
  }

  /**
   * Every ratio that no bet has won against. Beyond an edge of `thetas` nothing is tested: where the ratio may lie there, an edge bounds
   * it only if the edge itself is rejected, which is as unlikely for a ratio beyond it as for one at it.
   */
  bounds(group: number, estimate: number, lnRisk: number, isWithin: boolean): Bounds {
    const at = group * At.width;
    const { lower, upper } = this.#thetas;
    const states = this.#states;
    const gain = (theta: number): number => states[at + At.gainU]! - theta * states[at + At.gainV]!;
    const loss = (theta: number): number =>
      states[at + At.lossUu]! -
      2 * theta * states[at + At.lossUv]! +
      theta * theta * states[at + At.lossVv]!;
    // Values that are huge beside their spread cancel out in both; what that costs in digits is no evidence.
    const doubt = (theta: number): number =>
      ROUNDING *
      (Math.abs(states[at + At.gainU]!) +
        Math.abs(theta * states[at + At.gainV]!) +
        states[at + At.lossUu]! +
        Math.abs(2 * theta * states[at + At.lossUv]!) +
        theta * theta * states[at + At.lossVv]!);
    const isTooSmall = (theta: number): boolean =>
      gain(theta) - loss(theta) - doubt(theta) >= lnRisk;
    const isTooLarge = (theta: number): boolean =>
      -gain(theta) - loss(theta) - doubt(theta) >= lnRisk;
    const from = Math.min(upper, Math.max(lower, estimate));
    const span = upper - lower;
    return {
      lower: isTooSmall(lower)
        ? firstRejected(from, lower, span, isTooSmall)
        : isWithin
          ? lower
          : -Infinity,
      upper: isTooLarge(upper)
        ? firstRejected(from, upper, span, isTooLarge)
        : isWithin
          ? upper
          : Infinity,
    };
  }

  /** The first batch of a group begins with what is known of it. */
  begin(group: number, known: { readonly u: number; readonly v: number }): void {
    this.#states[group * At.width + At.u] = known.u;
    this.#states[group * At.width + At.v] = known.v;
  }

  #bet(
    states: Float64Array,
    at: number,
    { draws, watched }: DrawBatch,
    terms: ProductTerms,
    all: { readonly u: number; readonly v: number },
    lnRisk: number,
  ): void {
    if (draws === 0 || this.#range === 0) return;
    const N = this.#population;
    const n = this.#drawn;
    const range = this.#range;
    if (watched > 0) {
      const left = N - n;
      const bet = Math.min(
        0.5,
        Math.sqrt(betSquare(states[at + At.variance]!, lnRisk, { N, n }, watched)),
      );
      const gain = bet / range;
      const loss = betLoss(bet) / (range * range);
      states[at + At.gainU]! += gain * (terms.u + (watched * states[at + At.u]!) / left);
      states[at + At.gainV]! += gain * (terms.v + (watched * states[at + At.v]!) / left);
      states[at + At.lossUu]! += loss * terms.uu;
      states[at + At.lossUv]! += loss * terms.uv;
      states[at + At.lossVv]! += loss * terms.vv;
      states[at + At.uu]! += terms.uu;
      states[at + At.uv]! += terms.uv;
      states[at + At.vv]! += terms.vv;
    }
    states[at + At.u] = all.u;
    states[at + At.v] = all.v;
    const theta = all.v === 0 ? 0 : all.u / all.v;
    const squares = Math.max(
      0,
      states[at + At.uu]! - 2 * theta * states[at + At.uv]! + theta * theta * states[at + At.vv]!,
    );
    states[at + At.variance] = Math.max(
      1e-12,
      (0.25 + squares / (range * range)) / (this.#watched + watched + 1),
    );
  }
}

/** Of the terms of a sum of millions of doubles, the share that may be lost. */
const ROUNDING = 1e-13;

const NO_TERMS: ProductTerms = { u: 0, v: 0, uu: 0, uv: 0, vv: 0 };

/** Walks from `from` towards `edge` in growing strides to a rejected θ, then halves: the nearest rejected one. */
function firstRejected(
  from: number,
  edge: number,
  span: number,
  isRejected: (theta: number) => boolean,
): number {
  const sign = edge < from ? -1 : 1;
  let stride = 1e-6 * span;
  let inside = from;
  let outside = edge;
  for (let step = 0; step < 64; step += 1) {
    const next = from + sign * stride;
    if ((edge - next) * sign <= 0) break;
    if (isRejected(next)) {
      outside = next;
      break;
    }
    inside = next;
    stride *= 1.6;
  }
  for (let step = 0; step < 44; step += 1) {
    const middle = (inside + outside) / 2;
    if (isRejected(middle)) outside = middle;
    else inside = middle;
  }
  return outside;
}
