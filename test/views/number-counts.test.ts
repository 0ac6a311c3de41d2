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

/** Values come and leave by the thousand; what is told of the ends is compared with all that is there. */
function churn(options: {
  readonly seed: number;
  readonly arriving: number;
  readonly leaving: (living: number[], random: () => number) => number;
  readonly value: (step: number, random: () => number) => number;
  readonly rounds: number;
}): NumberCounts {
  const { seed, arriving, leaving, value, rounds } = options;
  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    return (state >>> 0) / 2 ** 32;
  };
  const counts = new NumberCounts(seed);
  const scratch = new MergeScratch();
  const living: number[] = [];
  let step = 0;
  for (let round = 0; round < rounds; round += 1) {
    for (let each = 0; each < arriving; each += 1, step += 1) {
      const next = value(step, random);
      living.push(next);
      counts.add(next, 1, scratch);
    }
    // More leaves than comes in the second half, until there is nothing.
    const count = round < rounds / 2 ? arriving / 3 : arriving * 1.8;
    for (let each = 0; each < count && living.length > 0; each += 1) {
      const at = leaving(living, random);
      counts.add(living[at]!, -1, scratch);
      living[at] = living.at(-1)!;
      living.pop();
    }
    expect(counts.count).toBe(living.length);
    expect(counts.least(scratch)).toBe(
      living.length === 0 ? undefined : living.reduce((a, b) => Math.min(a, b)),
    );
    expect(counts.greatest(scratch)).toBe(
      living.length === 0 ? undefined : living.reduce((a, b) => Math.max(a, b)),
    );
  }
  return counts;
}

const anyOf = (living: number[], random: () => number): number =>
  Math.floor(random() * living.length);

test.each([
  ['spread evenly', (_: number, random: () => number) => random()],
  ['few, and often', (_: number, random: () => number) => Math.floor(random() * 40)],
  ['a third of them equal', (_: number, random: () => number) => Math.max(0, random() - 1 / 3)],
  [
    'nearly all equal',
    (_: number, random: () => number) =>
      Math.floor(random() * 1.0001 * 1e4) / 1e4 < 0.9 ? 5 : random() * 10,
  ],
  ['ever greater', (step: number) => step / 8],
  [
    'first all different, then the same',
    (step: number, random: () => number) => (step < 60_000 ? random() : 0.5),
  ],
  [
    'some infinite',
    (step: number, random: () => number) =>
      step % 50 > 1 ? random() : step % 50 === 0 ? Infinity : -Infinity,
  ],
  ['near one end', (_: number, random: () => number) => 1 - random() ** 8],
])('a hundred thousand values, %s, come and leave', (_name, value) => {
  churn({ seed: 7, arriving: 3_000, rounds: 50, leaving: anyOf, value });
  // The oldest, or what stands in its place, and whatever is least: the end runs empty again and again.
  churn({
    seed: 8,
    arriving: 2_000,
    rounds: 12,
    leaving: (living) => (living.length > 64 ? leastOfFew(living) : 0),
    value,
  });
});

function leastOfFew(living: number[]): number {
  let least = 0;
  for (let at = 1; at < 64; at += 1) if (living[at]! < living[least]!) least = at;
  return least;
}

test('many copies of one value come and leave amid many values', () => {
  const counts = new NumberCounts();
  const scratch = new MergeScratch();
  for (let step = 0; step < 40_000; step += 1) counts.add((step * 7919) % 40_000, 1, scratch);
  for (const value of [20_000, 3, 39_999]) {
    counts.add(value, 1_000_000, scratch);
    counts.add(value, -1_000_000, scratch);
    counts.add(value, 9, scratch);
    counts.add(value, -10, scratch);
  }
  expect(counts.count).toBe(39_997);
  for (let step = 0; step < 40_000; step += 1)
    if (step !== 20_000 && step !== 3 && step !== 39_999) counts.add(step, -1, scratch);
  expect(counts.count).toBe(0);
  expect(counts.least(scratch)).toBeUndefined();
});

test('what is at an end is still told when all between the ends has become the end', () => {
  const counts = new NumberCounts();
  const scratch = new MergeScratch();
  for (let value = 0; value < 5_000; value += 1) counts.add((value * 7919) % 5_000, 1, scratch);
  // Nobody asks while the ends leave.
  for (let value = 0; value < 1_000; value += 1) counts.add(value, -1, scratch);
  for (let value = 4_999; value >= 4_000; value -= 1) counts.add(value, -1, scratch);
  counts.add(-Infinity, 1, scratch);
  counts.add(Infinity, 1, scratch);
  for (let copy = 0; copy < 300; copy += 1)
    counts.add(copy % 2 === 0 ? -Infinity : 0.5, 1, scratch);
  expect(counts.least(scratch)).toBe(-Infinity);
  expect(counts.greatest(scratch)).toBe(Infinity);
  counts.add(Infinity, -1, scratch);
  counts.add(-Infinity, -151, scratch);
  expect(counts.least(scratch)).toBe(0.5);
  expect(counts.greatest(scratch)).toBe(3_999);
});

test('a window that ascends or descends is longer than a bag, and its ends are told', () => {
  const length = 300_000;
  for (const sign of [1, -1]) {
    const counts = new NumberCounts();
    const scratch = new MergeScratch();
    for (let step = 0; step < 2 * length; step += 1) {
      counts.add(sign * step, 1, scratch);
      if (step >= length) counts.add(sign * (step - length), -1, scratch);
      if (step % 1009 !== 0) continue;
      const ends = [sign * step, sign * Math.max(0, step - length + (step >= length ? 1 : 0))];
      expect(counts.least(scratch)).toBe(Math.min(...ends));
      expect(counts.greatest(scratch)).toBe(Math.max(...ends));
    }
    // Bags are as long as they may be: there are few of them.
    expect(counts.memoryBytes / counts.count).toBeLessThan(10);
  }
});

test('values between the ends take little more than their own eight bytes', () => {
  const counts = new NumberCounts();
  const scratch = new MergeScratch();
  for (let step = 0; step < 60_000; step += 1) counts.add((step * 7919) % 60_000, 1, scratch);
  for (let value = 1; value < 60_000; value += 3) counts.add(value, -1, scratch);
  expect(counts.least(scratch)).toBe(0);
  expect(counts.greatest(scratch)).toBe(59_999);
  expect(counts.memoryBytes / counts.count).toBeLessThan(20);
});

test('what is not there does not leave', () => {
  const counts = new NumberCounts();
  const scratch = new MergeScratch();
  expect(() => counts.add(1, -1, scratch)).toThrow('leaves as often as it came');
});
