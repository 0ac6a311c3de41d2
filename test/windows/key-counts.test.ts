/** What tiles count by key, against a map: whatever is added, taken back, merged and settled. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import { KEY_COUNT, KeyCounts, KeyScratch } from '../../src/windows/key-counts.ts';

const key = fc.oneof(
  { weight: 8, arbitrary: fc.nat(12) },
  { weight: 2, arbitrary: fc.nat(KEY_COUNT - 1) },
  { weight: 1, arbitrary: fc.constantFrom(0, KEY_COUNT - 1) },
);
const SLICES = 3;
const slice = fc.nat(SLICES - 1);
const step = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(fc.constant('add'), slice, key, fc.constantFrom(1, 40)) },
  { weight: 3, arbitrary: fc.tuple(fc.constant('take'), slice, key, fc.constant(1)) },
  {
    weight: 2,
    arbitrary: fc.tuple(
      fc.constant('many'),
      slice,
      key,
      fc.oneof(
        fc.nat(5000),
        fc.constantFrom(1023, 1024, 1025, 2047, 2048, 2 ** 21, 2 ** 33 - 1025, 2 ** 42),
      ),
    ),
  },
  { weight: 2, arbitrary: fc.tuple(fc.constant('merge'), slice, slice, fc.constant(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('clear'), slice, slice, fc.constant(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('trim'), slice, slice, fc.constant(0)) },
  { weight: 3, arbitrary: fc.tuple(fc.constant('rank'), slice, fc.nat(100), fc.constant(0)) },
);

function sumOf(counts: ReadonlyMap<number, number>): number {
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}

function keyOfRank(counts: ReadonlyMap<number, number>, rank: number): number {
  let left = rank;
  const sorted = [...counts].sort(([a], [b]) => a - b);
  return sorted.find(([, count]) => (left -= count) <= 0)![0];
}

test('keys are counted as a map counts them', () => {
  fc.assert(
    fc.property(fc.boolean(), fc.array(step, { maxLength: 200 }), (isDense, steps) => {
      let bytes = 0;
      const counts = new KeyCounts(SLICES, new KeyScratch(), (more) => {
        bytes += more;
        expect(bytes).toBeGreaterThanOrEqual(0);
      });
      counts.isDense = isDense;
      const model = Array.from({ length: SLICES }, () => new Map<number, number>());
      const note = (at: number, each: number, more: number): void => {
        const sum = (model[at]!.get(each) ?? 0) + more;
        if (sum === 0) model[at]!.delete(each);
        else model[at]!.set(each, sum);
      };
      for (const [kind, at, second, count] of steps) {
        switch (kind) {
          case 'add':
            for (let time = 0; time < count; time += 1) counts.add(at, second, 1);
            note(at, second, count);
            break;
          case 'take':
            // Only what is there is taken back.
            if (!model[at]!.has(second)) break;
            counts.add(at, second, -1);
            note(at, second, -1);
            break;
          case 'many':
            counts.addMany(at, second, count);
            note(at, second, count);
            break;
          case 'merge':
            if (at === second) break;
            counts.addSlice(at, counts, second);
            for (const [each, more] of model[second]!) note(at, each, more);
            break;
          case 'clear':
            counts.clear(at);
            model[at]!.clear();
            break;
          case 'rank':
            // Twice: counts are kept from then on.
            for (let time = 0; time < 2 && model[at]!.size > 0; time += 1) {
              const rank = Math.max(1, Math.ceil((sumOf(model[at]!) * second) / 100));
              expect(counts.keyOfRank(at, rank)).toBe(keyOfRank(model[at]!, rank));
            }
            break;
          default:
            counts.trim();
        }
      }
      counts.trim();
      for (const [at, expected] of model.entries()) {
        expect(counts.size(at)).toBeLessThanOrEqual(4 * expected.size);
        const sorted = [...expected].sort(([a], [b]) => a - b);
        let rank = 0;
        for (const [each, count] of sorted) {
          expect(counts.keyOfRank(at, rank + 1)).toBe(each);
          rank += count;
          expect(counts.keyOfRank(at, rank)).toBe(each);
        }
        const found = new Set<number>();
        counts.keys(at, (each) => found.add(each));
        expect([...found].sort((a, b) => a - b)).toEqual(sorted.map(([each]) => each));
        expect(counts.distinct(at)).toBe(expected.size);
      }
    }),
    { numRuns: 300 },
  );
});

test('a slice whose room is refused is as it was', () => {
  let left = 4000;
  const counts = new KeyCounts(1, new KeyScratch(), (bytes) => {
    if (bytes > left) throw new Error('no room');
    left -= bytes;
  });
  let count = 0;
  expect(() => {
    for (; count < 10_000; count += 1) counts.add(0, count, 1);
  }).toThrow('no room');
  expect(counts.distinct(0)).toBe(count);
  expect(() => counts.add(0, count, 1)).toThrow('no room');
  expect(counts.keyOfRank(0, count)).toBe(count - 1);
});

test('counts by key are not kept where there is no room for them', () => {
  let refusal: Error | undefined;
  const counts = new KeyCounts(1, new KeyScratch(), (bytes) => {
    if (bytes > 0 && refusal !== undefined) throw refusal;
  });
  counts.isDense = true;
  counts.add(0, 3, 1);
  counts.add(0, 5, 1);
  refusal = new DbError('53200', 'no room');
  for (let time = 0; time < 3; time += 1) expect(counts.keyOfRank(0, 2)).toBe(5);
  refusal = new Error('a bug');
  expect(() => counts.keyOfRank(0, 2)).toThrow('a bug');
  refusal = undefined;
  for (let time = 0; time < 3; time += 1) expect(counts.keyOfRank(0, 1)).toBe(3);
});

test('counts of a digit that is nought, and of more taken back than added, are settled like others', () => {
  const counts = new KeyCounts(2, new KeyScratch(), () => undefined);
  for (let time = 0; time < 2048; time += 1) counts.add(0, 5, 1);
  for (let time = 0; time < 1500; time += 1) counts.add(1, 5, -1);
  counts.trim();
  expect([counts.size(0), counts.size(1)]).toEqual([1, 2]);
  counts.addSlice(0, counts, 1);
  counts.add(0, 7, 1);
  expect([counts.keyOfRank(0, 548), counts.keyOfRank(0, 549)]).toEqual([5, 7]);
});

test('a slice of few values that come and go stays small', () => {
  const counts = new KeyCounts(1, new KeyScratch(), () => undefined);
  for (let time = 0; time < 100_000; time += 1) {
    counts.add(0, time % 7, 1);
    counts.add(0, (time + 3) % 7, -1);
    expect(counts.size(0)).toBeLessThan(64);
  }
});
