import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { sortWithOrder } from '../../src/columns/row-order.ts';

test('row ids are put in order, equal ones in theirs, however many there are and however far apart', () => {
  const given = fc.record({
    count: fc.oneof(fc.nat(70), fc.nat(700), fc.constantFrom(64, 65, 2047, 2048, 2049, 4100)),
    range: fc.constantFrom(1, 50, 3_000, 2 ** 22 + 7, 2 ** 31, 2 ** 31 + 1, 2 ** 40, 2 ** 53 - 2),
    least: fc.integer({ min: -1, max: 1_000_000 }),
    seed: fc.nat(),
  });
  fc.assert(
    fc.property(given, ({ count, range, least, seed }) => {
      const random = new SeededRandom(seed, 'row ids');
      const ids = Array.from({ length: count }, () =>
        Math.min(Number.MAX_SAFE_INTEGER, least + Math.floor(random.unit() * range)),
      );
      const sorted = Float64Array.from(ids);
      const order = sortWithOrder(sorted);
      const expected = ids
        .map((id, index) => ({ id, index }))
        .toSorted((a, b) => a.id - b.id || a.index - b.index);
      expect(Array.from(sorted)).toEqual(expected.map(({ id }) => id));
      expect(Array.from(order)).toEqual(expected.map(({ index }) => index));
    }),
    { numRuns: 300 },
  );
});
