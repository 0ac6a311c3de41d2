import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ExactSum, fromUnits, toUnits } from '../../src/operators/aggregates/exact-sum.ts';
import type { NumberBounds } from '../../src/columns/vector.ts';

const GROUPS = 3;

/** Doubles of one neighbourhood, or of any: what fits three bins, what needs the fourth, what fits none. */
const doubles = fc.oneof(
  fc.integer({ min: -100_000, max: 100_000 }).map((cents) => cents / 100),
  fc.double({ min: 1e-3, max: 1e9, noNaN: true }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(0, -0, 2 ** -1074, 2 ** 899, -(2 ** 901), 2 ** -60, 1 + 2 ** -52),
);

const batches = fc.array(
  fc.array(fc.tuple(fc.nat(GROUPS - 1), doubles, fc.constantFrom(1, 1, 1, -1, 3)), {
    maxLength: 40,
  }),
  { maxLength: 6 },
);

test('a sum is the exact sum rounded once, whatever the order, the batches and the retractions', () => {
  fc.assert(
    fc.property(batches, fc.boolean(), (given, isReversed) => {
      const exact = Array.from({ length: GROUPS }, () => 0n);
      for (const batch of given)
        for (const [group, x, weight] of batch) exact[group]! += toUnits(x) * BigInt(weight);
      const sum = new ExactSum();
      for (const batch of isReversed ? given.toReversed() : given) {
        const rows = isReversed ? batch.toReversed() : batch;
        sum.addAll(
          Int32Array.from(rows, ([group]) => group),
          Float64Array.from(rows, ([, x]) => x),
          1,
          0,
          undefined,
          rows.every(([, , weight]) => weight === 1)
            ? undefined
            : Int32Array.from(rows, ([, , weight]) => weight),
          rows.length,
        );
      }
      for (let group = 0; group < GROUPS; group += 1) {
        expect(sum.units(group)).toBe(exact[group]);
        expect(sum.value(group)).toBe(fromUnits(exact[group]!));
      }
    }),
    { numRuns: 500 },
  );
});

test('proven bounds change no bit', () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 1, maxLength: 30 }), {
        maxLength: 5,
      }),
      fc.integer({ min: -60, max: 10 }),
      (given, exponent) => {
        const proven = new ExactSum();
        const tested = new ExactSum();
        const bounds: NumberBounds = {
          min: -1000 * 2 ** exponent,
          max: 1000 * 2 ** exponent,
          bitMin: exponent,
          bitEnd: exponent + 10,
          finite: true,
        };
        for (const batch of given) {
          const groups = Int32Array.from(batch, (_, row) => row % GROUPS);
          const values = Float64Array.from(batch, (x) => x * 2 ** exponent);
          // A column without proof in between moves the grids.
          const other = Float64Array.of(batch[0]! / 3);
          proven.addAll(groups, values, 1, 0, undefined, undefined, batch.length, bounds);
          tested.addAll(groups, values, 1, 0, undefined, undefined, batch.length);
          proven.addAll(groups, other, 1, 0, undefined, undefined, 1);
          tested.addAll(groups, other, 1, 0, undefined, undefined, 1);
        }
        for (let group = 0; group < GROUPS; group += 1)
          expect(proven.units(group)).toBe(tested.units(group));
      },
    ),
  );
});

test('few values that need the fourth bin, then many, with others outside of all bins, change no bit', () => {
  const fine = fc.integer({ min: 1, max: 2 ** 20 }).map((parts) => parts / 2 ** 70);
  const value = (share: number): fc.Arbitrary<number> =>
    fc.oneof(
      { weight: 100 - share, arbitrary: fc.integer({ min: -9999, max: 9999 }) },
      { weight: share, arbitrary: fine },
      { weight: 1, arbitrary: fc.constantFrom(2 ** 40, 2 ** -120, -0) },
    );
  fc.assert(
    fc.property(
      fc.array(
        fc
          .constantFrom(2, 60)
          .chain((share) => fc.array(value(share), { minLength: 5, maxLength: 60 })),
        { minLength: 1, maxLength: 6 },
      ),
      (given) => {
        const sum = new ExactSum();
        const exact = Array.from({ length: GROUPS }, () => 0n);
        for (const values of given) {
          values.forEach((x, row) => (exact[row % GROUPS]! += toUnits(x)));
          const groups = Int32Array.from(values, (_, row) => row % GROUPS);
          const numbers = Float64Array.from(values);
          sum.addAll(groups, numbers, 1, 0, undefined, undefined, values.length);
        }
        for (let group = 0; group < GROUPS; group += 1) expect(sum.units(group)).toBe(exact[group]);
      },
    ),
  );
});
