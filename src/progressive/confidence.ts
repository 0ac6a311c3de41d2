/**
 * Confidence sequences: intervals that hold at every look, for draws without replacement from a population of known size. A user may stop
 * whenever she likes what she sees; intervals of classical statistics are then wrong in most runs, because they hold at one look only.
 *
 * Everywhere: N rows in the population, n drawn so far, `risk` the chance that the truth is ever missed (1 − confidence).
 */
import { gammaln } from 'simple-statistics';

/** How much an interval promises. */
export type Guarantee = 'exact' | 'rigorous' | 'asymptotic' | 'none';

export type Bounds = { readonly lower: number; readonly upper: number };

/**
 * Rows at which the intervals are tuned to be narrowest: the first look, where somebody waits for an answer. Far below a thousand nothing
 * is narrow, whatever the tuning.
 */
export function tunedDraws(firstRoundDraws: number): number {
  return Math.max(1000, firstRoundDraws);
}

// ── counts ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** ln Γ of what it was asked for last is at hand: of hypotheses that are tested side by side, two of ten ask for the same. */
class LastGamma {
  #at = Number.NaN;
  #value = Number.NaN;

  of(x: number): number {
    if (x !== this.#at) {
      this.#at = x;
      this.#value = gammaln(x);
    }
    return this.#value;
  }
}

const lnBeta = (a: number, b: number, lastSum: LastGamma): number =>
  gammaln(a) + gammaln(b) - lastSum.of(a + b);
/** ln (x)(x − 1) … (x − j + 1). */
const lnFalling = (x: number, j: number): number => gammaln(x + 1) - gammaln(x - j + 1);
/** Of all rows, so many of which are drawn. */
const lnDrawings = (N: number, n: number): number =>
  LAST.rows.of(N + 1) - LAST.undrawn.of(N - n + 1);

/** The same for all groups of a look: rows of the prior, with the draws, and of the population. */
const LAST = {
  prior: new LastGamma(),
  posterior: new LastGamma(),
  rows: new LastGamma(),
  undrawn: new LastGamma(),
};

/**
 * The logarithm of a martingale under the hypothesis that `marked` of the N rows match, k of n drawn rows having matched: at 1 in the mean,
 * so that by Ville's inequality it ever reaches 1/risk with a chance of `risk` at most.
 *
 * Prior-posterior ratio of Waudby-Smith & Ramdas, Confidence sequences for sampling without replacement (NeurIPS 2020), with the prior
 * tuned to the hypothesis that is tested: nearly exact, where a flat prior is half as wide again.
 */
export function lnEvidenceAgainst(
  marked: number,
  draws: { readonly N: number; readonly n: number; readonly k: number },
  strength: number,
  /** The same for all hypotheses: who tests many gives it. */
  drawings = lnDrawings(draws.N, draws.n),
): number {
  const { N, n, k } = draws;
  if (marked < k || n - k > N - marked) return Infinity;
  const share = marked / N;
  const a = Math.max(1, strength * share);
  const b = Math.max(1, strength * (1 - share));
  return (
    lnBeta(a + k, b + n - k, LAST.posterior) -
    lnBeta(a, b, LAST.prior) +
    drawings -
    lnFalling(marked, k) -
    lnFalling(N - marked, n - k)
  );
}

/** How many of the N rows match, k of n having matched: every count that the evidence does not speak against. Whole numbers; one at n = N. */
export function countBounds(
  draws: { readonly N: number; readonly n: number; readonly k: number },
  risk: number,
  tuned: number,
): Bounds {
  const { N, n, k } = draws;
  if (N === 0) return { lower: 0, upper: 0 };
  if (n === 0) return { lower: 0, upper: N };
  const limit = -Math.log(risk);
  const strength = tuned / 8;
  const most = N - n + k;
  const likely = Math.min(most, Math.max(k, Math.round((k / n) * N)));
  const drawings = lnDrawings(N, n);
  const evidence = (marked: number): number => lnEvidenceAgainst(marked, draws, strength, drawings);
  const least = evidence(likely);
  const search: Search = {
    evidence,
    slope: (marked) => evidenceSlope(marked, draws, strength),
    limit,
    least,
  };
  // On the scale where deviations of shares are alike everywhere: the arc whose sine is the root of the share.
  const middle = Math.asin(Math.sqrt(likely / N));
  const turn = Math.sqrt((Math.max(0, limit - least) * (1 - n / N)) / (2 * n));
  const at = (angle: number): number =>
    Math.round(N * Math.sin(Math.min(Math.PI / 2, Math.max(0, angle))) ** 2);
  return {
    lower: edge(search, { from: likely, to: k, guess: at(middle - turn) }),
    upper: edge(search, { from: likely, to: most, guess: at(middle + turn) }),
  };
}

/** How much more evidence there is against one more marked row, nearly: ln x stands for the derivative of ln Γ. */
function evidenceSlope(
  marked: number,
  { N, n, k }: { readonly N: number; readonly n: number; readonly k: number },
  strength: number,
): number {
  const others = N - marked;
  const a = (strength * marked) / N;
  const b = (strength * others) / N;
  const ofPrior =
    a > 1 && b > 1
      ? (strength / N) * Math.log(((a + k - 0.5) * (b - 0.5)) / ((b + n - k - 0.5) * (a - 0.5)))
      : 0;
  return (
    ofPrior +
    Math.log(((others + 0.5) * (marked - k + 0.5)) / ((others - n + k + 0.5) * (marked + 0.5)))
  );
}

type Search = {
  readonly evidence: (marked: number) => number;
  readonly slope: (marked: number) => number;
  /** What evidence does not reach where a number stands, and what it is in the middle. */
  readonly limit: number;
  readonly least: number;
};

/**
 * The last whole number that stands, on the way `from` one that does `to` the farthest there is. Evidence grows with the square of the distance, nearly,
 * so its root is followed by its slope from a guess that is near: as a rule that is the edge itself or its neighbour, which is all that is tested
 * then. Every few steps halve what is left, whatever it grows with.
 */
function edge(
  { evidence, slope, limit, least }: Search,
  { from, to, guess }: { readonly from: number; readonly to: number; readonly guess: number },
): number {
  if (from === to) return from;
  const sign = Math.sign(to - from);
  const wanted = Math.sqrt(Math.max(0, limit - least));
  let inside = from;
  let outside = to;
  /** `outside` falls: the farthest may stand. */
  let falls = false;
  let next = guess;
  for (let step = 1; !falls || Math.abs(outside - inside) > 1; step += 1) {
    if ((next - inside) * sign <= 0) next = inside + sign;
    else if ((outside - next) * sign <= 0) next = falls ? outside - sign : outside;
    const at = next;
    const found = evidence(at);
    const stands = found < limit;
    if (stands && at === to) return to;
    if (stands) inside = at;
    else {
      outside = at;
      falls = true;
    }
    const root = Math.sqrt(Math.max(0, found - least));
    const away = (sign * (wanted - root) * 2 * root) / slope(at);
    next =
      step % 5 === 0 || !Number.isFinite(away)
        ? Math.floor((inside + outside) / 2)
        : at + sign * (stands ? Math.ceil(away) : Math.floor(away));
  }
  return inside;
}

// ── means by the central limit theorem, at every look ──────────────────────────────────────────────────────────

/**
 * Half the width of the asymptotic confidence sequence of a mean (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, Time-uniform central limit
 * theory and asymptotic confidence sequences, Annals of Statistics 2024, theorem 2.2), on the clock of draws without replacement: n/(1 − n/N).
 */
export function asymptoticHalfWidth(
  deviation: number,
  draws: { readonly N: number; readonly n: number },
  risk: number,
  tuned: number,
): number {
  const { N, n } = draws;
  if (n >= N) return 0;
  const time = n / (1 - n / N);
  const width = (-2 * Math.log(risk) + Math.log(1 - 2 * Math.log(risk))) / tuned;
  const scaled = time * width + 1;
  return (
    deviation *
    Math.sqrt(((2 * scaled) / (time * time * width)) * Math.log(Math.sqrt(scaled) / risk))
  );
}

/**
 * Whether the asymptotic interval may be used: the *known* range must be small beside what the deviation explains, both among the rows
 * seen and among those to come. Looking at the sample's own skewness instead misses 40 % of the time where a rare large value was not met yet.
 */
export function asymptoticHolds(
  range: number,
  deviation: number,
  draws: { readonly N: number; readonly n: number },
): boolean {
  const { N, n } = draws;
  return n >= 100 && range <= 0.5 * deviation * Math.sqrt(n * (1 - n / N));
}

/**
 * Whether more watched draws, of which there are n, would tell nothing new: the asymptotic interval, which counts all draws, has held for so long
 * that it is the narrower one, and the deviation is known to a fiftieth or better (no fourth moment is larger than range² × variance).
 */
export function deviationIsKnown(
  range: number,
  deviation: number,
  { N, n }: { readonly N: number; readonly n: number },
): boolean {
  return n >= 1000 && range <= KNOWN_SHARE * deviation * Math.sqrt(n * (1 - n / N));
}

const KNOWN_SHARE = 1 / 32;

/** How many watched draws make it known, if the deviation stays what it is: 0 where it is known by now, Infinity where it never will be. */
export function drawsUntilKnown(
  range: number,
  deviation: number,
  { N, n }: { readonly N: number; readonly n: number },
): number {
  if (deviationIsKnown(range, deviation, { N, n })) return 0;
  // The n whose n · (1 − n/N) is so much.
  const wanted = (range / (KNOWN_SHARE * deviation)) ** 2;
  const inside = 1 - (4 * wanted) / N;
  return inside > 0 ? Math.max(1000, n + 1, (N / 2) * (1 - Math.sqrt(inside))) : Infinity;
}

/** Of the chance to miss, what the rigorous interval takes where both are intersected. */
export const RIGOROUS_SHARE = 0.2;

/** −ln(1 − λ) − λ: what a bet of λ may lose by the square of a value (Fan, Grama & Liu 2015). */
export function betLoss(bet: number): number {
  return -Math.log1p(-bet) - bet;
}

/**
 * The square of the bet that suits the next draws: it grows narrow where the look comes that matters, and wide again when few rows are left,
 * since each of them then says much about the rest.
 */
export function betSquare(
  variance: number,
  lnRisk: number,
  draws: { readonly N: number; readonly n: number },
  batch: number,
): number {
  const after = draws.n + batch;
  const fraction = Math.min(after / draws.N, 1 - (0.5 * batch) / draws.N);
  return (2 * lnRisk) / (variance * after * (1 - fraction) * Math.log(1 + after / (1 - fraction)));
}
