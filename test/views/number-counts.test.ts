import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CountsScratch } from '../../src/views/counts-scratch.ts';
import { NumberCounts } from '../../src/views/number-counts.ts';

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
      const scratch = new CountsScratch();
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
  const scratch = new CountsScratch();
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
  const scratch = new CountsScratch();
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
  const scratch = new CountsScratch();
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
      const scratch = new CountsScratch();
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
  const scratch = new CountsScratch();
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
  const scratch = new CountsScratch();
  expect(() => counts.add(1, -1, scratch)).toThrow('leaves as often as it came');
});

test('some value comes often among many that come once, and any of them leaves', () => {
  for (const share of [0.02, 0.1, 0.3, 0.6]) {
    const counts = new NumberCounts();
    const scratch = new CountsScratch();
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

/** The slow and obvious multiset: how often each value is there. */
class CountsByValue {
  readonly copies = new Map<number, number>();
  count = 0;

  add(value: number, weight: number): void {
    const copies = (this.copies.get(value) ?? 0) + weight;
    if (copies < 0) throw new Error('what is not there leaves');
    if (copies === 0) this.copies.delete(value);
    else this.copies.set(value, copies);
    this.count += weight;
  }

  ends(): readonly (number | undefined)[] {
    let least: number | undefined;
    let greatest: number | undefined;
    for (const value of this.copies.keys()) {
      if (value !== value) continue;
      if (least === undefined || value < least) least = value;
      if (greatest === undefined || value > greatest) greatest = value;
    }
    return this.copies.has(NaN) ? [least ?? NaN, NaN] : [least, greatest];
  }
}

function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    const mixed = Math.imul(state ^ (state >>> 15), 0x2c1b_3c6d);
    return ((mixed ^ (mixed >>> 12)) >>> 0) / 2 ** 32;
  };
}

type ValueAt = (step: number, random: () => number) => number;

const VALUES: readonly (readonly [string, ValueAt])[] = [
  ['spread evenly', (_, random) => random()],
  ['of whole cents', (_, random) => Math.round(random() * 100_000) / 100],
  ['few, and often', (_, random) => Math.floor(random() * 9)],
  ['a thousand, and often', (_, random) => Math.floor(random() * 1000) - 500],
  ['a third of them zero', (_, random) => (random() < 0.3 ? 0 : random() - 0.5)],
  ['a third of them zero, the least', (_, random) => (random() < 0.3 ? 0 : random())],
  ['nearly all equal', (_, random) => (random() < 0.95 ? 5 : random() * 10)],
  ['all equal', () => 1.25],
  ['ever greater', (step) => 1.7e12 + step * 10],
  ['ever less', (step) => 1 - step / 8],
  ['first all different, then the same', (step, random) => (step < 12_000 ? random() : 0.5)],
  ['first the same, then all different', (step, random) => (step < 12_000 ? 0.5 : random())],
  [
    'some infinite, some NaN',
    (step, random) => [Infinity, -Infinity, NaN][step % 50] ?? random() * 1e6,
  ],
  ['of all magnitudes', (_, random) => (random() - 0.5) * 2 ** Math.floor(random() * 2000 - 1000)],
  ['near one end', (_, random) => 1 - random() ** 8],
  ['in steps of great powers of two', (_, random) => Math.floor(random() * 50_000) * 2 ** 40],
];

/** Who leaves, of those that are there in the order they came, more or less. */
const LEAVING: readonly (readonly [string, (there: number[], random: () => number) => number])[] = [
  ['any', (there, random) => Math.floor(random() * there.length)],
  ['the newest', (there) => there.length - 1],
  [
    'the least of some',
    (there, random) => {
      let least = Math.floor(random() * there.length);
      for (let other = 0; other < 16; other += 1) {
        const at = Math.floor(random() * there.length);
        if (there[at]! < there[least]!) least = at;
      }
      return least;
    },
  ],
];

describe.each(VALUES)('values that are %s', (_values, valueAt) => {
  test.each(LEAVING)('come by the ten thousand and leave, %s', (_leaving, leaver) => {
    const random = randomFrom(11);
    // The same changes, and one is asked after every few, the other hardly ever: both say the same.
    const asked = new NumberCounts();
    const unasked = new NumberCounts();
    const scratch = new CountsScratch();
    const model = new CountsByValue();
    const there: number[] = [];
    const change = (value: number, weight: 1 | -1): void => {
      asked.add(value, weight, scratch);
      unasked.add(value, weight, scratch);
      model.add(value, weight);
    };
    let step = 0;
    const rounds = 16;
    for (let round = 0; round < rounds || there.length > 0; round += 1) {
      const arriving = round < rounds ? Math.floor(random() * 4000) : 0;
      for (let each = 0; each < arriving; each += 1, step += 1) {
        const value = valueAt(step, random);
        there.push(value);
        change(value, 1);
      }
      const isGrowing = round < rounds / 2;
      const leaving = Math.floor(random() * (isGrowing ? 1500 : 6000));
      for (let each = 0; each < leaving && there.length > 0; each += 1) {
        const at = leaver(there, random);
        change(there[at]!, -1);
        there[at] = there.at(-1)!;
        there.pop();
        if (each % 97 === 0) {
          asked.least(scratch);
          asked.greatest(scratch);
        }
      }
      expect(asked.count).toBe(model.count);
      expect([asked.least(scratch), asked.greatest(scratch)]).toEqual(model.ends());
      if (round % 8 === 7)
        expect([unasked.least(scratch), unasked.greatest(scratch)]).toEqual(model.ends());
    }
    expect([unasked.count, unasked.least(scratch), unasked.greatest(scratch)]).toEqual([
      0,
      undefined,
      undefined,
    ]);
    for (const counts of [asked, unasked]) expect(counts.memoryBytes).toBeLessThan(2_000);
  });
});

test('however changes are split, and whenever somebody asks, the ends are those of what is there', () => {
  const values = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(0, 1, -1) },
    { weight: 3, arbitrary: fc.integer({ min: -300, max: 300 }) },
    { weight: 3, arbitrary: fc.double({ noNaN: true }).map((value) => (value === 0 ? 0 : value)) },
    { weight: 1, arbitrary: fc.constantFrom(NaN, Infinity, -Infinity) },
  );
  const batch = fc.record({
    arriving: fc.array(fc.tuple(values, fc.constantFrom(1, 1, 1, 2, 8, 9, 70)), { maxLength: 150 }),
    copies: fc.constantFrom(1, 1, 40),
    leavingShare: fc.constantFrom(0, 0.2, 0.5, 0.9, 1),
    asks: fc.boolean(),
    seed: fc.nat(),
  });
  fc.assert(
    fc.property(fc.array(batch, { maxLength: 30 }), (batches) => {
      const counts = new NumberCounts();
      const scratch = new CountsScratch();
      const model = new CountsByValue();
      for (const { arriving, copies, leavingShare, asks, seed } of batches) {
        const random = randomFrom(seed);
        for (let copy = 0; copy < copies; copy += 1)
          for (const [value, weight] of arriving) {
            // Some that are hardly apart from each other, too.
            const near = value + copy * (value % 2);
            counts.add(near === 0 ? 0 : near, weight, scratch);
            model.add(near === 0 ? 0 : near, weight);
          }
        for (const [value, there] of [...model.copies]) {
          if (random() >= leavingShare) continue;
          const leaving = random() < 0.5 ? there : Math.ceil(there * random());
          counts.add(value, -leaving, scratch);
          model.add(value, -leaving);
          if (random() < 0.05) {
            expect([counts.least(scratch), counts.greatest(scratch)]).toEqual(model.ends());
          }
        }
        expect(counts.count).toBe(model.count);
        if (asks) expect([counts.least(scratch), counts.greatest(scratch)]).toEqual(model.ends());
      }
      for (const [value, there] of [...model.copies]) {
        counts.add(value, -there, scratch);
        model.add(value, -there);
      }
      expect([counts.count, counts.least(scratch), counts.greatest(scratch)]).toEqual([
        0,
        undefined,
        undefined,
      ]);
    }),
    { numRuns: 60 },
  );
});

test('four hundred thousand values, a third of them zero, leave and come again one by one', () => {
  const random = randomFrom(3);
  const counts = new NumberCounts();
  const scratch = new CountsScratch();
  const length = 400_000;
  const values = Array.from({ length }, () => (random() < 0.3 ? 0 : random() * 2 - 1));
  const model = new CountsByValue();
  for (const value of values) {
    counts.add(value, 1, scratch);
    model.add(value, 1);
  }
  // All that was listed once is listed in little more than its own eight bytes.
  expect(counts.memoryBytes / length).toBeLessThan(9);
  for (let step = 0; step < (length * 3) / 4; step += 1) {
    const again = values[(step * 101) % length]!;
    counts.add(values[step]!, -1, scratch);
    model.add(values[step]!, -1);
    counts.add(again, 1, scratch);
    model.add(again, 1);
    if (step % 50_000 === 0)
      expect([counts.least(scratch), counts.greatest(scratch)]).toEqual(model.ends());
  }
  expect(counts.count).toBe(length);
  expect(counts.memoryBytes / length).toBeLessThan(11);
  for (const [value, copies] of [...model.copies]) {
    counts.add(value, -copies, scratch);
    model.add(value, -copies);
    if (model.copies.size % 20_000 === 0)
      expect([counts.least(scratch), counts.greatest(scratch)]).toEqual(model.ends());
  }
  expect([counts.count, counts.least(scratch)]).toEqual([0, undefined]);
  expect(counts.memoryBytes).toBeLessThan(2_000);
});

test('of a window of time, each of which leaves in turn, the ends are told, and little is kept besides', () => {
  const length = 300_000;
  for (const sign of [1, -1]) {
    const counts = new NumberCounts();
    const scratch = new CountsScratch();
    for (let step = 0; step < 2 * length; step += 1) {
      counts.add(sign * step, 1, scratch);
      if (step >= length) counts.add(sign * (step - length), -1, scratch);
      if (step % 1009 !== 0) continue;
      const ends = [sign * step, sign * Math.max(0, step - length + (step >= length ? 1 : 0))];
      expect(counts.least(scratch)).toBe(Math.min(...ends));
      expect(counts.greatest(scratch)).toBe(Math.max(...ends));
    }
    expect(counts.memoryBytes / counts.count).toBeLessThan(10);
  }
});

test('values that are few take the room of few, however often they come', () => {
  const random = randomFrom(5);
  for (const [distinct, bytesMax] of [
    [1, 1_000],
    [40, 10_000],
    [4_000, 120_000],
    [40_000, 1_300_000],
  ] as const) {
    const counts = new NumberCounts();
    const scratch = new CountsScratch();
    for (let step = 0; step < 500_000; step += 1)
      counts.add(Math.floor(random() * distinct), 1, scratch);
    expect(counts.memoryBytes).toBeLessThan(bytesMax + 20_000);
  }
});

// They came in one step, and left one by one: a fifth of a second for a million.
test('however many copies come at once, they leave at once', () => {
  const scratch = new CountsScratch();
  const counts = new NumberCounts();
  for (const value of [3, 1, 2]) counts.add(value, 1, scratch);
  const copies = 2_000_000_000;
  for (let round = 0; round < 100; round += 1) {
    counts.add(-5, copies, scratch);
    expect(counts.least(scratch)).toBe(-5);
    counts.add(-5, 1 - copies, scratch);
    expect(counts.least(scratch)).toBe(-5);
    counts.add(-5, -1, scratch);
    expect([counts.least(scratch), counts.greatest(scratch), counts.count]).toEqual([1, 3, 3]);
  }
  expect(() => counts.add(2, -12, scratch)).toThrow('leaves as often as it came');
});

// The table of counts of a bag was as large as it had ever been until the last of its values left: whoever asked for an end looked through it.
test('where nearly all of the values that are counted have left, little is kept of the room they took', () => {
  const random = randomFrom(7);
  for (const distinct of [1_000, 4_000, 8_000, 100_000]) {
    const counts = new NumberCounts();
    const scratch = new CountsScratch();
    const model = new CountsByValue();
    for (let step = 0; step < distinct * 8; step += 1) {
      const value = Math.floor(random() * distinct);
      counts.add(value, 1, scratch);
      model.add(value, 1);
    }
    for (const [value, copies] of [...model.copies]) {
      const leaving = value % 140 === 7 ? copies - 1 : copies;
      counts.add(value, -leaving, scratch);
      model.add(value, -leaving);
    }
    expect(counts.count).toBe(model.count);
    expect([counts.least(scratch), counts.greatest(scratch)]).toEqual(model.ends());
    // A table of a few values, a bag about it, and what may wait.
    expect(counts.memoryBytes).toBeLessThan(2_500 + 150 * counts.count);
  }
});

test('among many values, one that was not there and leaves is noticed when it is looked for', () => {
  const counts = new NumberCounts();
  const scratch = new CountsScratch();
  for (let value = 0; value < 10_000; value += 1) counts.add((value * 7919) % 10_000, 1, scratch);
  expect(() => {
    for (let value = 0; value < 9_000; value += 1) counts.add(value + 0.5, -1, scratch);
  }).toThrow('leaves as often as it came');
});
