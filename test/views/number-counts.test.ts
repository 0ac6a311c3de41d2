import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MergeScratch, NumberCounts } from '../../src/views/number-counts.ts';

/** The simplest multiset: a sorted list with copies. */
class SortedList {
  readonly values: number[] = [];

  add(value: number, weight: number): void {
    for (let copy = 0; copy < weight; copy += 1) this.values.push(value);
    for (let copy = 0; copy < -weight; copy += 1)
      this.values.splice(
        this.values.findIndex((each) => Object.is(each, value)),
        1,
      );
  }

  least(): number | undefined {
    const numbers = this.values.filter((value) => value === value);
    return numbers.length > 0 ? numbers.reduce((a, b) => Math.min(a, b)) : this.values[0];
  }

  greatest(): number | undefined {
    if (this.values.some((value) => value !== value)) return NaN;
    return this.values.length === 0 ? undefined : this.values.reduce((a, b) => Math.max(a, b));
  }
}

test('least and greatest are those of the multiset, whatever came and left before', () => {
  const values = fc.oneof(
    fc.integer({ min: -20, max: 20 }),
    fc.double({ noNaN: true }).map((value) => (value === 0 ? 0 : value)),
    fc.constantFrom(NaN, Infinity, -Infinity),
  );
  const steps = fc.array(
    fc.record({
      value: values,
      weight: fc.integer({ min: 1, max: 12 }),
      leaves: fc.boolean(),
      which: fc.nat(),
      look: fc.boolean(),
    }),
    { maxLength: 400 },
  );
  fc.assert(
    fc.property(steps, (changes) => {
      const counts = new NumberCounts();
      const scratch = new MergeScratch();
      const model = new SortedList();
      for (const { value, weight, leaves, which, look } of changes) {
        if (leaves && model.values.length > 0) {
          const gone = model.values[which % model.values.length]!;
          const copies = model.values.filter((each) => Object.is(each, gone)).length;
          const taken = Math.min(copies, weight);
          counts.add(gone, -taken, scratch);
          model.add(gone, -taken);
        } else {
          counts.add(value, weight, scratch);
          model.add(value, weight);
        }
        expect(counts.count).toBe(model.values.length);
        if (!look) continue;
        expect(counts.least(scratch)).toBe(model.least());
        expect(counts.greatest(scratch)).toBe(model.greatest());
      }
    }),
    { numRuns: 100 },
  );
});

test('a hundred thousand values come in any order, and leave from both ends', () => {
  const counts = new NumberCounts();
  const scratch = new MergeScratch();
  const count = 100_000;
  // 7,919 is prime to the count: each value comes once.
  for (let step = 0; step < count; step += 1) counts.add((step * 7919) % count, 1, scratch);
  for (let step = 0; step < count / 2; step += 1) {
    if (step % 997 === 0) {
      expect(counts.least(scratch)).toBe(step);
      expect(counts.greatest(scratch)).toBe(count - 1 - step);
    }
    counts.add(step, -1, scratch);
    counts.add(count - 1 - step, -1, scratch);
  }
  expect(counts.count).toBe(0);
  expect(counts.least(scratch)).toBeUndefined();
  expect(counts.greatest(scratch)).toBeUndefined();
});

test('values that lie unevenly, or infinitely far apart, are put in order all the same', () => {
  const counts = new NumberCounts();
  const scratch = new MergeScratch();
  const values: number[] = [];
  for (let exponent = -300; exponent < 300; exponent += 1)
    values.push(2 ** exponent, -(2 ** exponent));
  for (let copy = 0; copy < 100; copy += 1) values.push(7, Infinity, -Infinity, 1.5 + copy);
  for (let at = 0; at < values.length; at += 1)
    counts.add(values[(at * 1663) % values.length]!, 1, scratch);
  for (const value of values.toSorted((a, b) => a - b)) {
    expect(counts.least(scratch)).toBe(value);
    counts.add(value, -1, scratch);
  }
  expect(counts.count).toBe(0);
});

test('a small multiset stays small however often its values change', () => {
  const counts = new NumberCounts();
  const scratch = new MergeScratch();
  for (let step = 0; step < 10_000; step += 1) {
    counts.add(step, 1, scratch);
    if (step >= 5) counts.add(step - 5, -1, scratch);
  }
  expect(counts.least(scratch)).toBe(9_995);
  expect(counts.memoryBytes).toBeLessThan(2_000);
});

test('the same of large multisets, which come and leave by the hundred', () => {
  const batches = fc.array(
    fc.record({
      arriving: fc.integer({ min: 0, max: 300 }),
      first: fc.integer({ min: 0, max: 2_000 }),
      stride: fc.integer({ min: 1, max: 40 }),
      leaving: fc.integer({ min: 0, max: 200 }),
      leavesFrom: fc.constantFrom('least', 'greatest', 'between'),
    }),
    { maxLength: 30 },
  );
  fc.assert(
    fc.property(batches, (given) => {
      const counts = new NumberCounts();
      const scratch = new MergeScratch();
      const all: number[] = [];
      for (const { arriving, first, stride, leaving, leavesFrom } of given) {
        for (let each = 0; each < arriving; each += 1) {
          all.push(first + each * stride);
          counts.add(first + each * stride, 1, scratch);
        }
        all.sort((a, b) => a - b);
        const count = Math.min(leaving, all.length);
        const start = {
          least: 0,
          greatest: all.length - count,
          between: (all.length - count) >> 1,
        };
        const gone = all.splice(start[leavesFrom], count);
        for (const value of gone) counts.add(value, -1, scratch);
        expect(counts.least(scratch)).toBe(all[0]);
        expect(counts.greatest(scratch)).toBe(all.at(-1));
      }
    }),
    { numRuns: 60 },
  );
});

// A batch of ten thousand changes made a last leaf overflow while the greatest was asked for: it was split, and the greatest of its first
// half was given.
// Nothing had looked at leaves that large.
test('the greatest is found where looking for it splits its leaf', () => {
  const counts = new NumberCounts();
  const scratch = new MergeScratch();
  for (let value = 0; value < 250; value += 1) counts.add(value, 1, scratch);
  counts.add(249, -1, scratch);
  expect(counts.greatest(scratch)).toBe(248);
  for (let value = 0; value < 40; value += 1) counts.add(value + 0.5, 1, scratch);
  counts.add(248, -1, scratch);
  expect(counts.greatest(scratch)).toBe(247);
  counts.add(0, -1, scratch);
  expect(counts.least(scratch)).toBe(0.5);
});

test('what is not there does not leave', () => {
  const counts = new NumberCounts();
  const scratch = new MergeScratch();
  expect(() => counts.add(1, -1, scratch)).toThrow('leaves as often as it came');
});

test('some value comes often among many that come once, and any of them leaves', () => {
  for (const share of [0.02, 0.1, 0.3, 0.6]) {
    const counts = new NumberCounts();
    const scratch = new MergeScratch();
    const length = 60_000;
    const often = Math.round(1 / share);
    const values = Array.from({ length }, (_, step) =>
      step % often === 0 ? 0 : ((step * 7919) % length) - length / 2 + 0.5,
    );
    for (const value of values) counts.add(value, 1, scratch);
    const left = length - length / 4;
    for (let step = 0; step < left; step += 1) {
      counts.add(values[step]!, -1, scratch);
      counts.add(values[(step * 101) % length]!, 1, scratch);
    }
    const there = [
      ...values.slice(left),
      ...Array.from({ length: left }, (_, step) => values[(step * 101) % length]!),
    ];
    expect(counts.count).toBe(there.length);
    expect(counts.least(scratch)).toBe(there.reduce((a, b) => Math.min(a, b)));
    expect(counts.greatest(scratch)).toBe(there.reduce((a, b) => Math.max(a, b)));
    for (const value of there) counts.add(value, -1, scratch);
    expect(counts.count).toBe(0);
  }
});
