/**
 * What is known of each aggregate while rows are drawn, by group: an estimate and an interval that holds at every look. The formulas are
 * those of `confidence.ts`; here they meet rows that are read whole, groups, and what is certain anyway.
 */
import type { Range } from '../columns/table-contract.ts';
import {
  asymptoticHalfWidth,
  asymptoticHolds,
  countBounds,
  drawsUntilKnown,
  lnEvidenceAgainst,
  RIGOROUS_SHARE,
} from './confidence.ts';
import { scaled, NOTHING, type Estimate } from './estimate.ts';
import { MeanSequence, type DrawBatch } from './mean-sequence.ts';
import { RatioSequence, type ProductTerms } from './ratio-sequence.ts';
import type { SortedRuns } from './sorted-runs.ts';
import type { ValueSums } from './value-sums.ts';

/** How far the drawing is; a draw is a row, or the rows of a cluster. */
export type Draws = {
  readonly N: number;
  readonly n: number;
  /** Of the n, those whose spread is known. */
  readonly watched: number;
  /** What intervals are tuned to. */
  readonly tuned: number;
};

export interface Track {
  /** The first four are for those that keep sums of their own; others look at what is kept for them. */
  readonly memoryBytes?: number;
  ensure?(groupCount: number): void;
  /** Draws are looked at: takes the sums of the new ones of groups [from, to). */
  settle?(from: number, to: number, batch: DrawBatch, riskOf: (group: number) => number): void;
  /** All groups are settled. */
  close?(batch: DrawBatch, risk: number): void;
  /** How many watched draws tell of a group what they can: 0 if they have by now, Infinity if there is always more. Undefined: they tell nothing. */
  drawsWanted?(group: number, draws: Draws): number;
  /** The estimate alone, which costs little. */
  point(group: number, draws: Draws): number;
  /** `risk`: that the truth is ever missed. */
  estimate(group: number, draws: Draws, risk: number): Estimate;
}

const lnRiskOf = (risk: number): number => Math.log(2 / (risk * RIGOROUS_SHARE));

/** The narrower of a rigorous and an asymptotic interval, on each side. */
function narrower(
  estimate: number,
  rigorous: { readonly lower: number; readonly upper: number },
  asymptotic: { readonly lower: number; readonly upper: number } | undefined,
): Estimate {
  const low = Math.max(rigorous.lower, asymptotic?.lower ?? -Infinity);
  const high = Math.min(rigorous.upper, asymptotic?.upper ?? Infinity);
  const lower = outward(low, -1);
  const upper = outward(high, 1);
  const guarantee =
    low > rigorous.lower || high < rigorous.upper
      ? 'asymptotic'
      : Number.isFinite(lower) || Number.isFinite(upper)
        ? 'rigorous'
        : 'none';
  return { estimate, lower, upper, guarantee };
}

/** Sums of doubles may be off by their last digits. */
function outward(bound: number, sign: -1 | 1): number {
  return Number.isFinite(bound) ? bound + sign * Math.abs(bound) * 1e-12 : bound;
}

// ── counts ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Rows of a group, or those of them that an argument or FILTER lets count. */
export class CountTrack implements Track {
  readonly #drawn: (group: number) => number;
  readonly #known: (group: number) => number;

  constructor(drawn: (group: number) => number, known: (group: number) => number) {
    this.#drawn = drawn;
    this.#known = known;
  }

  point(group: number, { N, n }: Draws): number {
    return (n === 0 ? 0 : (N * this.#drawn(group)) / n) + this.#known(group);
  }

  estimate(group: number, { N, n, tuned }: Draws, risk: number): Estimate {
    const known = this.#known(group);
    if (N === 0) return certain(known);
    if (n === 0)
      return { estimate: Number.NaN, lower: known, upper: known + N, guarantee: 'rigorous' };
    const k = this.#drawn(group);
    const { lower, upper } = countBounds({ N, n, k }, risk, tuned);
    return {
      estimate: (N * k) / n + known,
      lower: lower + known,
      upper: upper + known,
      guarantee: 'rigorous',
    };
  }
}

function certain(value: number): Estimate {
  return { estimate: value, lower: value, upper: value, guarantee: 'rigorous' };
}

/** A number that is known beforehand. */
export class CertainTrack implements Track {
  readonly #value: number;

  constructor(value: number) {
    this.#value = value;
  }

  point(): number {
    return this.#value;
  }

  estimate(): Estimate {
    return certain(this.#value);
  }
}

// ── sums ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** A sum, times `factor` (an average of a known number of rows is a sum). */
export class SumTrack implements Track {
  readonly #sums: ValueSums;
  readonly #of: 'sum' | 'count';
  readonly #factor: number;
  readonly #isClustered: boolean;
  readonly #range: Range;
  readonly #sequence: MeanSequence | undefined;

  /** `of` 'count': the rows are added up, not their values; for clusters, whose counts are sums like others. */
  constructor(
    sums: ValueSums,
    options: {
      readonly population: number;
      readonly of: 'sum' | 'count';
      readonly factor: number;
      readonly isClustered: boolean;
    },
  ) {
    this.#sums = sums;
    this.#of = options.of;
    this.#factor = options.factor;
    this.#isClustered = options.isClustered;
    const { min, max } = sums.range;
    // Draws of other groups, dead rows and NULLs add 0.
    this.#range = { min: Math.min(0, min), max: Math.max(0, max) };
    this.#sequence =
      options.isClustered || !Number.isFinite(this.#range.max - this.#range.min)
        ? undefined
        : new MeanSequence(options.population, this.#range.min, this.#range.max);
  }

  get memoryBytes(): number {
    return this.#sequence?.memoryBytes ?? 0;
  }

  ensure(groupCount: number): void {
    this.#sequence?.ensure(groupCount);
  }

  settle(from: number, to: number, batch: DrawBatch, riskOf: (group: number) => number): void {
    if (this.#sequence === undefined) return;
    for (let group = from; group < to; group += 1)
      this.#sequence.add(
        group,
        batch,
        { sum: this.#sums.newSum(group), squares: this.#sums.newSquares(group) },
        this.#sums.allSum(group),
        lnRiskOf(riskOf(group)),
      );
  }

  close(batch: DrawBatch, risk: number): void {
    this.#sequence?.close(batch, lnRiskOf(risk));
  }

  point(group: number, { N, n }: Draws): number {
    const sums = this.#sums;
    const [drawn, known] =
      this.#of === 'sum'
        ? [sums.sum(group), sums.knownSum(group)]
        : [sums.count(group), sums.knownCount(group)];
    return ((n === 0 ? 0 : (N * drawn) / n) + known) * this.#factor;
  }

  estimate(group: number, draws: Draws, risk: number): Estimate {
    const { N, n, tuned } = draws;
    const isSum = this.#of === 'sum';
    const known = isSum ? this.#sums.knownSum(group) : this.#sums.knownCount(group);
    if (N === 0) return scaled(certain(known), this.#factor);
    if (n === 0) return NOTHING;
    const sum = isSum ? this.#sums.sum(group) : this.#sums.count(group);
    const estimate = (N * sum) / n + known;
    const deviation = this.#deviation(group, draws.watched);
    const half = (): { lower: number; upper: number } => {
      const width = N * asymptoticHalfWidth(deviation, draws, risk * this.#asymptoticShare, tuned);
      return { lower: estimate - width, upper: estimate + width };
    };
    if (this.#sequence === undefined) {
      // Nothing bounds what a cluster adds up to: the central limit theorem is all there is, once there are many.
      const isUsable = this.#isClustered && n >= 100 && deviation > 0;
      return scaled(
        narrower(estimate, { lower: -Infinity, upper: Infinity }, isUsable ? half() : undefined),
        this.#factor,
      );
    }
    const bounds = this.#sequence.bounds(group);
    const range = this.#range.max - this.#range.min;
    return scaled(
      narrower(
        estimate,
        { lower: N * bounds.lower + known, upper: N * bounds.upper + known },
        asymptoticHolds(range, deviation, draws) ? half() : undefined,
      ),
      this.#factor,
    );
  }

  drawsWanted(group: number, { N, watched }: Draws): number {
    if (this.#isClustered) return Infinity;
    if (this.#sequence === undefined) return 0;
    const range = this.#range.max - this.#range.min;
    return drawsUntilKnown(range, this.#deviation(group, watched), { N, n: watched });
  }

  /** Of the watched draws. */
  #deviation(group: number, watched: number): number {
    const isSum = this.#of === 'sum';
    const squares = isSum ? this.#sums.squares(group) : this.#sums.countSquares(group);
    const sum = isSum ? this.#sums.watchedSum(group) : this.#sums.watchedCount(group);
    return Math.sqrt(Math.max(0, (squares - (sum * sum) / watched) / Math.max(1, watched - 1)));
  }

  get #asymptoticShare(): number {
    return this.#sequence === undefined ? 1 : 1 - RIGOROUS_SHARE;
  }
}

// ── ratios ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** The sums that a ratio is made of, by group. */
export interface RatioTerms {
  /** Of watched draws since the last look. */
  fresh(group: number): ProductTerms;
  /** Of all watched draws. */
  watched(group: number): ProductTerms;
  /** Of all draws up to the last look, and by now. */
  drawn(group: number): { u: number; v: number };
  drawnByNow(group: number): { u: number; v: number };
  known(group: number): { u: number; v: number };
}

export type RatioLimits = {
  /** Ratios that are tested. */
  readonly tested: Range | undefined;
  /** |u − θv| of a draw, for tested θ. */
  readonly spread: (theta: number) => number;
  readonly spreadMax: number;
  /** What the ratio lies within anyway, once the rows that are read whole are known. */
  logical(): Range;
};

/** Averages, shares, sums by sums. */
export class RatioTrack implements Track {
  readonly #terms: RatioTerms;
  readonly #limits: RatioLimits;
  readonly #isClustered: boolean;
  readonly #sequence: RatioSequence | undefined;
  #isBegun = false;

  constructor(
    terms: RatioTerms,
    limits: RatioLimits,
    options: { readonly population: number; readonly isClustered: boolean },
  ) {
    this.#terms = terms;
    this.#limits = limits;
    this.#isClustered = options.isClustered;
    const { tested, spreadMax } = limits;
    this.#sequence =
      options.isClustered || tested === undefined || !Number.isFinite(spreadMax)
        ? undefined
        : new RatioSequence(options.population, spreadMax, {
            lower: tested.min,
            upper: tested.max,
          });
  }

  get memoryBytes(): number {
    return this.#sequence?.memoryBytes ?? 0;
  }

  ensure(groupCount: number): void {
    this.#sequence?.ensure(groupCount);
  }

  settle(from: number, to: number, batch: DrawBatch, riskOf: (group: number) => number): void {
    if (this.#sequence === undefined) return;
    for (let group = from; group < to; group += 1) {
      const known = this.#terms.known(group);
      if (!this.#isBegun) this.#sequence.begin(group, known);
      const drawn = this.#terms.drawnByNow(group);
      this.#sequence.add(
        group,
        batch,
        this.#terms.fresh(group),
        { u: drawn.u + known.u, v: drawn.v + known.v },
        lnRiskOf(riskOf(group)),
      );
    }
  }

  close(batch: DrawBatch, risk: number): void {
    this.#isBegun = true;
    this.#sequence?.close(batch, lnRiskOf(risk));
  }

  point(group: number, { N, n }: Draws): number {
    const known = this.#terms.known(group);
    const total = this.#terms.drawn(group);
    const weight = n === 0 ? 0 : N / n;
    return (weight * total.u + known.u) / (weight * total.v + known.v);
  }

  estimate(group: number, draws: Draws, risk: number): Estimate {
    const { N, n, tuned } = draws;
    const known = this.#terms.known(group);
    const logical = this.#limits.logical();
    if (N === 0) return known.v === 0 ? NOTHING : certain(known.u / known.v);
    if (n === 0) return NOTHING;
    const total = this.#terms.drawn(group);
    const u = total.u / n + known.u / N;
    const v = total.v / n + known.v / N;
    if (v === 0)
      return {
        estimate: Number.NaN,
        lower: logical.min,
        upper: logical.max,
        guarantee: 'rigorous',
      };
    const estimate = u / v;
    const { tested } = this.#limits;
    const rigorous = this.#sequence?.bounds(
      group,
      estimate,
      lnRiskOf(risk),
      tested!.min <= logical.min && logical.max <= tested!.max,
    );
    return narrower(
      estimate,
      {
        lower: Math.max(logical.min, rigorous?.lower ?? -Infinity),
        upper: Math.min(logical.max, rigorous?.upper ?? Infinity),
      },
      this.#byLimit(estimate, { u, v }, this.#terms.watched(group), draws, {
        risk: this.#sequence === undefined ? risk : risk * (1 - RIGOROUS_SHARE),
        tuned,
      }),
    );
  }

  /** Fieller's interval: every θ for which the mean of u − θv may be 0, on the asymptotic sequence. Stays honest where v is near 0. */
  #byLimit(
    estimate: number,
    means: { readonly u: number; readonly v: number },
    total: ProductTerms,
    draws: Draws,
    { risk, tuned }: { readonly risk: number; readonly tuned: number },
  ): { lower: number; upper: number } | undefined {
    const moments = this.#moments(estimate, total, draws.watched);
    if (moments === undefined) return undefined;
    const { uu, uv, vv, deviation } = moments;
    if (!this.#isClustered && !asymptoticHolds(this.#limits.spread(estimate), deviation, draws))
      return undefined;
    const width = asymptoticHalfWidth(1, draws, risk, tuned) ** 2;
    const a = means.v * means.v - width * vv;
    const b = means.u * means.v - width * uv;
    const c = means.u * means.u - width * uu;
    if (a <= 0) return undefined;
    const inside = b * b - a * c;
    if (!(inside > ROUNDED * b * b)) return undefined;
    const root = Math.sqrt(inside);
    return { lower: (b - root) / a, upper: (b + root) / a };
  }

  drawsWanted(group: number, { N, n, watched }: Draws): number {
    if (this.#isClustered) return Infinity;
    const known = this.#terms.known(group);
    const total = this.#terms.drawn(group);
    const v = total.v / n + known.v / N;
    if (v === 0) return Infinity;
    const estimate = (total.u / n + known.u / N) / v;
    const spread = this.#limits.spread(estimate);
    if (spread === Infinity) return 0;
    const moments = this.#moments(estimate, this.#terms.watched(group), watched);
    return moments === undefined
      ? Infinity
      : drawsUntilKnown(spread, moments.deviation, { N, n: watched });
  }

  /** Of the watched draws, as means; the deviation is that of u − θv. Undefined where doubles do not have it, and where there are few. */
  #moments(
    theta: number,
    total: ProductTerms,
    n: number,
  ):
    | { readonly uu: number; readonly uv: number; readonly vv: number; readonly deviation: number }
    | undefined {
    if (this.#isClustered ? n < 100 : total.v < 100 && total.vv < 100) return undefined;
    const uu = Math.max(0, total.uu / n - (total.u / n) ** 2);
    const uv = total.uv / n - (total.u / n) * (total.v / n);
    const vv = Math.max(0, total.vv / n - (total.v / n) ** 2);
    const square = uu - 2 * theta * uv + theta * theta * vv;
    // Where values are huge beside their spread, doubles do not have it.
    return square > LOST_DIGITS * (total.uu / n + theta * theta * (total.vv / n))
      ? { uu, uv, vv, deviation: Math.sqrt(square) }
      : undefined;
  }
}

/** Differences that are this small beside what they are of are mostly rounding: of sums of many doubles, and of a few operations. */
const LOST_DIGITS = 1e-11;
const ROUNDED = 1e-13;

/** Only what is watched counts. */
function watchedOnly(draws: Draws): Draws {
  return { ...draws, n: draws.watched };
}

// ── variances ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Σ of (value − shift)^p of draws, and of what is known. */
export interface PowerTerms {
  readonly shift: number;
  readonly range: Range;
  /** Of values that are known beforehand. */
  readonly knownRange: Range;
  /** Count, then powers 1 to 4. */
  drawn(group: number): readonly [number, number, number, number, number];
  known(group: number): readonly [number, number, number];
}

/**
 * Variances and deviations: of the rows' squared distances, whose mean they are, by the central limit theorem (delta method); before it may be
 * used, what the range alone says (Popoviciu).
 */
export class VarianceTrack implements Track {
  readonly #terms: PowerTerms;
  readonly #isSample: boolean;
  readonly #isRoot: boolean;
  readonly #all: Range;

  constructor(
    terms: PowerTerms,
    options: { readonly isSample: boolean; readonly isRoot: boolean; readonly all: Range },
  ) {
    this.#terms = terms;
    this.#isSample = options.isSample;
    this.#isRoot = options.isRoot;
    this.#all = options.all;
  }

  point(group: number, all: Draws): number {
    const { N, n } = watchedOnly(all);
    const [count, s1, s2] = this.#terms.drawn(group);
    const [knownCount, k1, k2] = this.#terms.known(group);
    const weight = n === 0 ? 0 : N / n;
    const rows = weight * count + knownCount;
    const mean = (weight * s1 + k1) / rows;
    const variance = Math.max(0, (weight * s2 + k2) / rows - mean * mean);
    const scaledBy = this.#isSample ? rows / (rows - 1) : 1;
    return this.#isRoot ? Math.sqrt(variance * scaledBy) : variance * scaledBy;
  }

  estimate(group: number, all: Draws, risk: number): Estimate {
    const draws = watchedOnly(all);
    const { N, n, tuned } = draws;
    const [count, s1, s2, s3, s4] = this.#terms.drawn(group);
    const [knownCount, k1, k2] = this.#terms.known(group);
    const weight = n === 0 ? 0 : N / n;
    const rows = weight * count + knownCount;
    const { knownRange } = this.#terms;
    const range = Math.max(this.#all.max, knownRange.max) - Math.min(this.#all.min, knownRange.min);
    const most = Number.isFinite(range) ? (range * range) / 4 : Infinity;
    if (rows < 2)
      return this.#shown({
        estimate: Number.NaN,
        lower: 0,
        upper: 2 * most,
        guarantee: 'rigorous',
      });
    const mean = (weight * s1 + k1) / rows;
    const variance = Math.max(0, (weight * s2 + k2) / rows - mean * mean);
    const factor = this.#isSample ? rows / (rows - 1) : 1;
    // n / (n − 1) of the fewest rows that are certain.
    const fewest = count + knownCount;
    const logical = {
      lower: 0,
      upper: most * (this.#isSample ? fewest / Math.max(1, fewest - 1) : 1),
    };
    if (N === 0) return this.#shown(certain(variance * factor));
    // Squared distances less their mean: the terms that the variance is a mean of.
    const square = (p2: number, p1: number, p0: number): number =>
      p2 - 2 * mean * p1 + mean * mean * p0;
    const sum = square(s2, s1, count) - variance * count;
    const squares =
      s4 -
      4 * mean * s3 +
      6 * mean * mean * s2 -
      4 * mean ** 3 * s1 +
      mean ** 4 * count -
      2 * variance * square(s2, s1, count) +
      variance * variance * count;
    const deviation = Math.sqrt(Math.max(0, (squares - (sum * sum) / n) / Math.max(1, n - 1)));
    const { min, max } = this.#terms.range;
    const shift = this.#terms.shift;
    const spread = Math.max((min - shift - mean) ** 2, (max - shift - mean) ** 2, variance);
    const share = rows / N;
    const isUsable = count >= 100 && deviation > 0 && asymptoticHolds(spread, deviation, draws);
    const half = isUsable
      ? (asymptoticHalfWidth(deviation, draws, risk, tuned) / share) * factor
      : Infinity;
    return this.#shown(
      narrower(
        variance * factor,
        logical,
        isUsable ? { lower: variance * factor - half, upper: variance * factor + half } : undefined,
      ),
    );
  }

  /** The interval is of the watched draws alone. */
  drawsWanted(): number {
    return Infinity;
  }

  #shown(variance: Estimate): Estimate {
    if (!this.#isRoot) return variance;
    return {
      estimate: Math.sqrt(variance.estimate),
      lower: Math.sqrt(Math.max(0, variance.lower)),
      upper: Math.sqrt(variance.upper),
      guarantee: variance.guarantee,
    };
  }
}

// ── quantiles ──────────────────────────────────────────────────────────────────────────────────────────────────

/** The values of a group: drawn ones and known ones, in order. */
export interface QuantileValues {
  /** No more are kept once there are many; what there is stays a sample. */
  freezeIfMany(): boolean;
  drawn(group: number): SortedRuns;
  known(group: number): SortedRuns;
}

/**
 * Quantiles by inverting the test of a count (Howard & Ramdas, Sequential estimation of quantiles, Bernoulli 2022, with the sharper test of
 * `lnEvidenceAgainst`): a value is too small if too few rows lie at or below it.
 */
export class QuantileTrack implements Track {
  readonly #values: QuantileValues;
  readonly #share: number;
  readonly #isContinuous: boolean;
  readonly #all: Range;
  /** Draws while values were kept. */
  #watched = 0;
  #isFrozen = false;
  /** How many rows there are, if that is known. */
  readonly #rows: number | undefined;

  constructor(
    values: QuantileValues,
    options: {
      readonly share: number;
      readonly isContinuous: boolean;
      readonly all: Range;
      readonly rows: number | undefined;
    },
  ) {
    this.#values = values;
    this.#share = options.share;
    this.#isContinuous = options.isContinuous;
    this.#all = options.all;
    this.#rows = options.rows;
  }

  close(batch: DrawBatch): void {
    if (!this.#isFrozen) this.#watched += batch.watched;
    this.#isFrozen = this.#values.freezeIfMany();
  }

  drawsWanted(): number {
    return this.#isFrozen ? 0 : Infinity;
  }

  point(group: number, draws: Draws): number {
    const drawn = this.#values.drawn(group);
    const known = this.#values.known(group);
    if (drawn.size + known.size === 0) return Number.NaN;
    const scale = this.#watched === 0 ? 0 : draws.N / this.#watched;
    const total = Math.round(scale * drawn.size) + known.size;
    return weightedRank(drawn, known, scale, ranksOf(this.#share, total, this.#isContinuous));
  }

  estimate(group: number, draws: Draws, risk: number): Estimate {
    const drawn = this.#values.drawn(group);
    const known = this.#values.known(group);
    const n = drawn.size;
    const least = Math.min(this.#all.min, known.size === 0 ? Infinity : known.at(0));
    const most = Math.max(this.#all.max, known.size === 0 ? -Infinity : known.at(known.size - 1));
    if (n + known.size === 0)
      return { estimate: Number.NaN, lower: least, upper: most, guarantee: 'rigorous' };
    const isCounted = this.#rows !== undefined;
    const own = isCounted ? risk : risk / 2;
    // More rows than there are only widen the interval.
    const drawable =
      this.#rows === undefined
        ? countBounds({ N: draws.N, n: this.#watched, k: n }, risk / 2, draws.tuned).upper
        : this.#rows - known.size;
    const total = drawable + known.size;
    const ranks = ranksOf(this.#share, total, this.#isContinuous);
    const limit = -Math.log(own / 2);
    const strength = (isCounted ? draws.tuned : 1000) / 8;
    const evidence = (marked: number, k: number): number =>
      lnEvidenceAgainst(marked, { N: drawable, n, k }, strength);
    // The rank-th value is at most x, if enough rows lie at or below x.
    const mayBeAtMost = (x: number): boolean => {
      const marked = ranks.low - known.countUpTo(x);
      const k = drawn.countUpTo(x);
      if (marked <= k) return true;
      if (marked > drawable) return false;
      return k / Math.max(1, n) >= marked / drawable || evidence(marked, k) < limit;
    };
    const mayBeAbove = (x: number): boolean => {
      const marked = ranks.high - 1 - known.countUpTo(x);
      const k = drawn.countUpTo(x);
      if (marked < k) return false;
      if (marked >= drawable) return true;
      return k / Math.max(1, n) <= marked / drawable || evidence(marked, k) < limit;
    };
    const seen = n + known.size;
    const valueAt = (rank: number): number => rankedOf(drawn, known, rank);
    const lower = firstWhere(seen, (at) => mayBeAtMost(valueAt(at)));
    const upper = firstWhere(seen, (at) => !mayBeAbove(valueAt(at)));
    // The rank among the rows seen, draws standing for drawable ones.
    const scale = n === 0 ? 0 : drawable / n;
    const estimate = weightedRank(drawn, known, scale, ranks);
    return {
      estimate,
      // Before the first value that may be it nothing is certain but the bounds.
      lower: lower > 0 && lower < seen ? valueAt(lower) : least,
      upper: upper < seen ? valueAt(upper) : most,
      guarantee: 'rigorous',
    };
  }
}

/** Which of so many values in order the quantile is, from 1; a continuous one lies between two. */
function ranksOf(
  share: number,
  total: number,
  isContinuous: boolean,
): { readonly low: number; readonly high: number } {
  if (!isContinuous) {
    const rank = Math.max(1, Math.ceil(share * total));
    return { low: rank, high: rank };
  }
  const place = share * (total - 1);
  return { low: Math.floor(place) + 1, high: Math.ceil(place) + 1 };
}

/** The at-th (from 0) of both lists in order. */
function rankedOf(a: SortedRuns, b: SortedRuns, at: number): number {
  if (b.size === 0) return a.at(at);
  if (a.size === 0) return b.at(at);
  // How many of the first at + 1 are of `a`.
  let low = Math.max(0, at + 1 - b.size);
  let high = Math.min(a.size, at + 1);
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (b.at(at - middle) > a.at(middle)) low = middle + 1;
    else high = middle;
  }
  const ofA = low > 0 ? a.at(low - 1) : -Infinity;
  const ofB = at + 1 - low > 0 ? b.at(at - low) : -Infinity;
  return Math.max(ofA, ofB);
}

function weightedRank(
  drawn: SortedRuns,
  known: SortedRuns,
  scale: number,
  ranks: { readonly low: number; readonly high: number },
): number {
  const seen = drawn.size + known.size;
  const wanted = (ranks.low + ranks.high) / 2;
  const at = firstWhere(seen, (index) => {
    const value = rankedOf(drawn, known, index);
    return scale * drawn.countUpTo(value) + known.countUpTo(value) >= wanted;
  });
  return rankedOf(drawn, known, Math.min(at, seen - 1));
}

/** The first index of so many for which it is true, it being true of all that follow. */
function firstWhere(count: number, isTrue: (index: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isTrue(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
