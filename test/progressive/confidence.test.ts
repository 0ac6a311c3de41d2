import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  countBounds,
  asymptoticHalfWidth,
  asymptoticHolds,
  deviationIsKnown,
  drawsUntilKnown,
  lnEvidenceAgainst,
  RIGOROUS_SHARE,
} from '../../src/progressive/confidence.ts';
import { MeanSequence } from '../../src/progressive/mean-sequence.ts';
import { RatioSequence } from '../../src/progressive/ratio-sequence.ts';

/** sfc32: chance of the tests' own. */
function chance(seed: number): () => number {
  let a = seed | 0;
  let b = Math.imul(seed, 0x9e3779b9) | 0;
  let c = (seed ^ 0x85ebca6b) | 0;
  let d = 1;
  const next = (): number => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + t) | 0;
    return (t >>> 0) / 4294967296;
  };
  for (let round = 0; round < 20; round += 1) next();
  return next;
}

function shuffled(values: Float64Array, random: () => number): Float64Array {
  const out = values.slice();
  for (let at = out.length - 1; at > 0; at -= 1) {
    const other = Math.floor(random() * (at + 1));
    [out[at], out[other]] = [out[other]!, out[at]!];
  }
  return out;
}

const normal = (random: () => number): number =>
  Math.sqrt(-2 * Math.log(random() + 1e-12)) * Math.cos(2 * Math.PI * random());

const POPULATIONS: Readonly<Record<string, (random: () => number) => number>> = {
  constant: () => 5,
  uniform: (random) => random(),
  lognormal: (random) => Math.exp(normal(random)),
  'one in a hundred': (random) => (random() < 0.01 ? 1 : 0),
};

/** Rounds as a query reads them: 64, 64, 128, … rows. */
function rounds(N: number): number[] {
  const sizes: number[] = [];
  for (let drawn = 0, size = 64; drawn < N;) {
    const next = Math.min(size, N - drawn);
    sizes.push(next);
    drawn += next;
    if (sizes.length > 1 && size < 512) size *= 2;
  }
  return sizes;
}

describe('confidence sequences', () => {
  test('a count is certain when all rows are drawn, and never below what was seen', () => {
    expect(countBounds({ N: 1000, n: 1000, k: 137 }, 0.05, 1000)).toEqual({
      lower: 137,
      upper: 137,
    });
    expect(countBounds({ N: 1000, n: 0, k: 0 }, 0.05, 1000)).toEqual({ lower: 0, upper: 1000 });
    const none = countBounds({ N: 1_000_000, n: 10_000, k: 0 }, 0.05, 1000);
    expect(none.lower).toBe(0);
    expect(none.upper).toBeGreaterThan(100);
    expect(none.upper).toBeLessThan(2000);
  });

  test('at p = 0.1 % and 100,000 of 10 million rows a count is known to 30 %, as researched', () => {
    const { lower, upper } = countBounds({ N: 1e7, n: 1e5, k: 100 }, 0.05, 8e4);
    expect((upper - lower) / 2 / 1e4).toBeGreaterThan(0.2);
    expect((upper - lower) / 2 / 1e4).toBeLessThan(0.36);
  });

  test('the bounds of a count are those that halving finds, number by number', () => {
    fc.assert(
      fc.property(
        fc.record({
          size: fc.double({ min: 0.7, max: 6.5, noNaN: true }),
          fraction: fc.double({ min: 0, max: 1, noNaN: true }),
          share: fc.double({ min: 0, max: 1, noNaN: true }),
          risk: fc.constantFrom(0.05, 0.001, 1e-9),
          tuned: fc.constantFrom(1000, 20_000),
        }),
        ({ size, fraction, share, risk, tuned }) => {
          const N = Math.floor(10 ** size);
          const n = Math.max(1, Math.floor(N * fraction ** 3));
          const k = Math.round(n * share ** 4);
          const stands = (marked: number): boolean =>
            lnEvidenceAgainst(marked, { N, n, k }, tuned / 8) < -Math.log(risk);
          const halved = (inside: number, outside: number): number => {
            if (stands(outside)) return outside;
            while (Math.abs(outside - inside) > 1) {
              const middle = Math.floor((inside + outside) / 2);
              if (stands(middle)) inside = middle;
              else outside = middle;
            }
            return inside;
          };
          const most = N - n + k;
          const likely = Math.min(most, Math.max(k, Math.round((k / n) * N)));
          expect(countBounds({ N, n, k }, risk, tuned)).toEqual({
            lower: halved(likely, k),
            upper: halved(likely, most),
          });
        },
      ),
      { numRuns: 300 },
    );
  });

  test('a deviation is known when so many draws are watched as were told to be wanted, and not before', () => {
    fc.assert(
      fc.property(
        fc.record({
          size: fc.double({ min: 3.1, max: 9, noNaN: true }),
          fraction: fc.double({ min: 0.001, max: 1, noNaN: true }),
          spread: fc.double({ min: 0, max: 4, noNaN: true }),
        }),
        ({ size, fraction, spread }) => {
          const N = Math.floor(10 ** size);
          const n = Math.floor(N * fraction);
          const range = 10 ** spread;
          const wanted = drawsUntilKnown(range, 1, { N, n });
          const isKnownAt = (draws: number): boolean => deviationIsKnown(range, 1, { N, n: draws });
          if (isKnownAt(n)) expect(wanted).toBe(0);
          else if (wanted === Infinity) expect(isKnownAt(N / 2)).toBe(false);
          else {
            expect(wanted).toBeGreaterThan(n);
            // Past the middle, few are left to come: that is known no more.
            if (n < N / 2)
              expect(isKnownAt(Math.min(N / 2, Math.ceil(wanted * 1.0001)))).toBe(true);
            if (wanted > Math.max(1000, n + 1)) expect(isKnownAt(wanted * 0.9999)).toBe(false);
          }
        },
      ),
      { numRuns: 300 },
    );
    expect(drawsUntilKnown(1, 0, { N: 1e6, n: 1e4 })).toBe(Infinity);
  });

  test('a mean is missed in at most 5 % of runs where the deviation is that of the first draws, once it is known', () => {
    const random = chance(11);
    const N = 120_000;
    const population = Float64Array.from({ length: N }, () => random());
    const truth = population.reduce((sum, x) => sum + x, 0) / N;
    const runs = 200;
    let missed = 0;
    for (let run = 0; run < runs; run += 1) {
      const values = shuffled(population, random);
      let known: number | undefined;
      let knownAt = 0;
      let [n, S, Q] = [0, 0, 0];
      let isMissed = false;
      for (let end = 1000; n < N; end = Math.min(N, end * 2)) {
        for (; n < end; n += 1) {
          S += values[n]!;
          Q += values[n]! ** 2;
        }
        const own = Math.sqrt(Math.max(0, (Q - (S * S) / n) / (n - 1)));
        if (known === undefined && deviationIsKnown(1, own, { N, n })) {
          known = own;
          knownAt = n;
        }
        const half = asymptoticHalfWidth(known ?? own, { N, n }, 0.05, 1000);
        if (Math.abs(S / n - truth) > half + 1e-12) isMissed = true;
      }
      expect(knownAt).toBe(16_000);
      if (isMissed) missed += 1;
    }
    expect(missed).toBeLessThan(20);
  });

  for (const [name, draw] of Object.entries(POPULATIONS))
    test(`the mean of ${name} values is missed at any look in at most 5 % of runs, and exact at the end`, () => {
      const random = chance(7);
      const N = 4000;
      const population = Float64Array.from({ length: N }, () => draw(random));
      const truth = population.reduce((sum, x) => sum + x, 0) / N;
      const low = Math.min(0, ...population);
      const high = Math.max(...population);
      const runs = 300;
      let missed = 0;
      for (let run = 0; run < runs; run += 1) {
        const values = shuffled(population, random);
        const sequence = new MeanSequence(N, low, high);
        sequence.ensure(1);
        const risk = 0.05 * RIGOROUS_SHARE;
        let at = 0;
        let [S, Q, n] = [0, 0, 0];
        let isMissed = false;
        for (const size of rounds(N)) {
          let sum = 0;
          let squares = 0;
          for (let row = at; row < at + size; row += 1) {
            sum += values[row]!;
            squares += values[row]! ** 2;
          }
          at += size;
          S += sum;
          Q += squares;
          n += size;
          const batch = { draws: size, watched: size };
          sequence.add(0, batch, { sum, squares }, S, Math.log(2 / risk));
          sequence.close(batch, Math.log(2 / risk));
          let { lower, upper } = sequence.bounds(0);
          const deviation = Math.sqrt(Math.max(0, (Q - (S * S) / n) / (n - 1)));
          if (asymptoticHolds(high - low, deviation, { N, n })) {
            const half = asymptoticHalfWidth(deviation, { N, n }, 0.04, 1000);
            lower = Math.max(lower, S / n - half);
            upper = Math.min(upper, S / n + half);
          }
          if (truth < lower - 1e-9 || truth > upper + 1e-9) isMissed = true;
        }
        if (isMissed) missed += 1;
        const end = sequence.bounds(0);
        expect(end.upper - end.lower).toBeLessThan(1e-9 * (high - low) + 1e-12);
      }
      // P(Binomial(300, 0.05) ≥ 31) is 1e-4.
      expect(missed).toBeLessThan(31);
    });

  test('the average of the rows that pass is missed in at most 5 % of runs, rows read whole included', () => {
    const random = chance(11);
    const N = 4000;
    const values = Float64Array.from({ length: N }, () => Math.exp(normal(random)));
    const passes = Float64Array.from({ length: N }, () => (random() < 0.1 ? 1 : 0));
    const limit = 5;
    let known = { u: 0, v: 0 };
    let [U, V] = [0, 0];
    for (let row = 0; row < N; row += 1) {
      if (passes[row] === 0) continue;
      U += values[row]!;
      V += 1;
      if (values[row]! > limit) known = { u: known.u + values[row]!, v: known.v + 1 };
    }
    const truth = U / V;
    const order = Float64Array.from({ length: N }, (_, row) => row);
    let missed = 0;
    let width = 0;
    for (let run = 0; run < 300; run += 1) {
      const rows = shuffled(order, random);
      const sequence = new RatioSequence(N, limit, { lower: 0, upper: limit });
      sequence.ensure(1);
      sequence.begin(0, known);
      let at = 0;
      let [u, v] = [known.u, known.v];
      let isMissed = false;
      const lnRisk = Math.log(2 / 0.05);
      for (const size of rounds(N)) {
        const terms = { u: 0, v: 0, uu: 0, uv: 0, vv: 0 };
        for (const row of rows.subarray(at, at + size)) {
          if (passes[row] === 0 || values[row]! > limit) continue;
          terms.u += values[row]!;
          terms.v += 1;
          terms.uu += values[row]! ** 2;
          terms.uv += values[row]!;
          terms.vv += 1;
        }
        at += size;
        u += terms.u;
        v += terms.v;
        const batch = { draws: size, watched: size };
        sequence.add(0, batch, terms, { u, v }, lnRisk);
        sequence.close(batch, lnRisk);
        const bounds = sequence.bounds(0, u / v, lnRisk, false);
        if (truth < bounds.lower - 1e-9 || truth > bounds.upper + 1e-9) isMissed = true;
        if (at >= N / 2 && width === 0) width = bounds.upper - bounds.lower;
      }
      if (isMissed) missed += 1;
    }
    expect(missed).toBeLessThan(31);
    expect(width / truth).toBeLessThan(0.5);
  });
});
