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

test('what is not there does not leave', () => {
  const counts = new NumberCounts();
  const scratch = new MergeScratch();
  expect(() => counts.add(1, -1, scratch)).toThrow('leaves as often as it came');
});
