import fc from 'fast-check';
import { expect, test } from 'vitest';
import { leaveDoubles, takeDoubles } from '../../src/operators/aggregates/doubles-pool.ts';
import { GrowingDoubles } from '../../src/operators/aggregates/growing.ts';
import { createInterner, PairInterner } from '../../src/operators/interner.ts';
import { Budget } from '../../src/operators/operator.ts';
import { GroupTable } from '../../src/operators/group-table.ts';
import type { NumberVector } from '../../src/columns/vector.ts';

const INT8 = { kind: 'int8' } as const;

function numbers(values: Float64Array): NumberVector {
  return { rep: 'number', type: INT8, values, factor: 1, base: 0, scale: 0 };
}

test('room for groups is made in steps, and costs the same however it was asked for', () => {
  const grow = (lengths: readonly number[], blank: number): { work: number; steps: number } => {
    const doubles = new GrowingDoubles(16, blank);
    const budget = new Budget(0);
    let steps = 0;
    for (const length of lengths) {
      doubles.values.fill(7, 0, Math.min(5, length));
      while (!doubles.ensure(length, budget)) {
        // One step moves 64 KB and some, whatever there is to move.
        expect(budget.remaining).toBeGreaterThanOrEqual(-10_000);
        budget.refill(1000);
        steps += 1;
      }
      expect(doubles.values.length).toBeGreaterThanOrEqual(length);
      expect([...doubles.values.subarray(0, 6)]).toEqual([7, 7, 7, 7, 7, blank]);
      expect(doubles.values.at(-1)).toBe(blank);
    }
    return { work: budget.spent, steps };
  };
  const direct = grow([1_000_000], 0);
  const doubled = grow([20_000, 70_000, 140_000, 1_000_000], 0);
  expect(doubled.work).toBe(direct.work);
  expect(doubled.steps).toBeGreaterThan(20);
  expect(grow([1_000_000], Number.NaN).steps).toBeGreaterThan(100);
});

test('arrays that others have left are as new ones, and cost the same', () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 60_000 }), { minLength: 1, maxLength: 4 });
  const state = fc.record({
    lengths,
    blank: fc.constantFrom(0, Number.NaN, 0.5),
    width: fc.constantFrom(16, 48),
  });
  const lives = fc.array(state, { minLength: 2, maxLength: 6 });
  fc.assert(
    fc.property(lives, fc.integer({ min: 100, max: 20_000 }), (states, refill) => {
      const costs = [0, 1].map(() =>
        states.map(({ lengths: wanted, blank, width }, index) => {
          const doubles = new GrowingDoubles(width, blank);
          const model = new Float64Array(200_000).fill(blank);
          const budget = new Budget(0);
          let steps = 0;
          for (const length of wanted) {
            while (!doubles.ensure(length, budget)) {
              budget.refill(refill);
              steps += 1;
            }
            for (let at = 0; at < length; at += 97) {
              model[at] = index + at;
              doubles.values[at] = index + at;
            }
            const wrong = doubles.values.findIndex((value, at) => !Object.is(value, model[at]));
            expect(wrong).toBe(-1);
          }
          // Some are only forgotten.
          if (index % 3 < 2) doubles.close();
          return { steps, work: budget.spent };
        }),
      );
      // The second time the first ones' arrays are there.
      expect(costs[1]).toEqual(costs[0]);
    }),
    { numRuns: 30 },
  );
});

test('what was left is bounded, and is nobody else’s', () => {
  const first = new GrowingDoubles(16);
  first.ensure(100_000);
  const { values } = first;
  first.close();
  first.close();
  expect(first.values.length).toBe(0);
  const second = new GrowingDoubles(16);
  const third = new GrowingDoubles(16);
  second.ensure(100_000);
  third.ensure(100_000);
  expect(second.values).toBe(values);
  expect(third.values).not.toBe(values);
  // More than the pool has room for.
  const large = new GrowingDoubles(16);
  large.ensure(3_000_000);
  const largest = large.values;
  large.close();
  expect(takeDoubles(largest.length)).toBeUndefined();
  for (let count = 0; count < 40; count += 1) leaveDoubles(new Float64Array(1 << 17));
  let taken = 0;
  while (takeDoubles(1 << 17) !== undefined) taken += 1;
  expect(taken).toBe(16);
  leaveDoubles(new Float64Array(1000));
  expect(takeDoubles(1000)).toBeUndefined();
});

test('a table of integers grows in steps, and what lies beyond it is hashed', () => {
  const interner = createInterner(INT8, undefined);
  const budget = new Budget(0);
  const codes = new Int32Array(2048);
  let steps = 0;
  let most = 0;
  const known = new Map<number, number>();
  // Down and up, on another grid, and far away.
  for (const [from, stride] of [
    [0, 2],
    [400_000, 2],
    [-700_000, 2],
    [1_500_001, 1],
    [1e12, 1],
    [2_000_000, 1],
    [-700_001, 1],
  ] as const) {
    const values = Float64Array.from({ length: 2048 }, (_, at) => from + at * stride);
    for (;;) {
      budget.refill(100);
      const isReady = interner.prepare!(numbers(values), values.length, budget);
      most = Math.max(most, 100 - budget.remaining);
      if (isReady) break;
      steps += 1;
    }
    interner.codes(numbers(values), values.length, codes, true);
    values.forEach((value, row) => {
      expect(known.get(value) ?? codes[row]).toBe(codes[row]);
      known.set(value, codes[row]!);
    });
  }
  expect(interner.size).toBe(known.size);
  expect(new Set(known.values()).size).toBe(known.size);
  expect(steps).toBeGreaterThan(10);
  expect(most).toBeLessThan(3000);
  for (const [value, code] of known) expect(interner.datum(code)).toBe(value);
});

test('tuples have the ids of one table, however their steps are cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(3000), fc.nat(40_000), fc.nat(3)), { minLength: 1, maxLength: 300 }),
      fc.nat(200),
      (rows, units) => {
        const types = [INT8, INT8, INT8];
        const whole = new GroupTable(types, undefined);
        const cut = new GroupTable(types, undefined);
        const budget = new Budget(0);
        for (let at = 0; at < rows.length; at += 50) {
          const piece = rows.slice(at, at + 50);
          const keys = [0, 1, 2].map((column) =>
            numbers(Float64Array.from(piece, (row) => row[column]! * 4000)),
          );
          let groups: Int32Array | undefined;
          while (groups === undefined) {
            budget.refill(units);
            groups = cut.internWithin(keys, piece.length, budget);
          }
          expect(groups.subarray(0, piece.length)).toEqual(
            whole.intern(keys, piece.length).subarray(0, piece.length),
          );
        }
        const tuples = new Set(rows.map((row) => row.join()));
        expect(cut.groupCount).toBe(tuples.size);
      },
    ),
    { numRuns: 40 },
  );
});

test('pairs are moved to a wider table, and to hashes, a few thousand a step', () => {
  const pairs = new PairInterner(undefined);
  const budget = new Budget(0);
  const out = new Int32Array(2048);
  let most = 0;
  let steps = 0;
  const take = (a: Int32Array, b: Int32Array): void => {
    for (;;) {
      budget.refill(100);
      const isReady = pairs.prepare(a, b, a.length, budget);
      most = Math.max(most, 100 - budget.remaining);
      if (isReady) break;
      steps += 1;
    }
    pairs.codes(a, b, a.length, out, true);
  };
  for (let round = 0; round < 40; round += 1)
    take(
      Int32Array.from({ length: 2048 }, (_, at) => at % 64),
      Int32Array.from({ length: 2048 }, (_, at) => round * 32 + (at >>> 6)),
    );
  expect(pairs.size).toBe(40 * 2048);
  take(Int32Array.of(1), Int32Array.of(1 << 22));
  take(Int32Array.of(2, 1), Int32Array.of(0, 1 << 23));
  expect(pairs.size).toBe(40 * 2048 + 2);
  expect(most).toBeLessThan(2500);
  expect(steps).toBeGreaterThan(40);
  for (let code = 0; code < pairs.size; code += 997)
    expect(pairs.codeOf(pairs.first(code), pairs.second(code), false)).toBe(code);
});
