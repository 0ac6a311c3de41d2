import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sortWithOrder } from '../../src/columns/row-order.ts';

test('row ids are put in order, equal ones in theirs, however many there are and however far apart', () => {
  const ids = fc
    .tuple(
      fc.constantFrom(1, 50, 3_000, 2 ** 22 + 7, 2 ** 31, 2 ** 31 + 1, 2 ** 40, 2 ** 53 - 2),
      fc.nat(2 ** 30),
    )
    .chain(([range, from]) =>
      fc.array(
        fc
          .maxSafeNat()
          .map((drawn) => Math.min(Number.MAX_SAFE_INTEGER, from - 1 + (drawn % range))),
        { maxLength: 300, size: 'max' },
      ),
    );
  fc.assert(
    fc.property(ids, (given) => {
      const sorted = Float64Array.from(given);
      const order = sortWithOrder(sorted);
      const expected = given
        .map((id, index) => ({ id, index }))
        .toSorted((a, b) => a.id - b.id || a.index - b.index);
      expect(Array.from(sorted)).toEqual(expected.map(({ id }) => id));
      expect(Array.from(order)).toEqual(expected.map(({ index }) => index));
    }),
    { numRuns: 400 },
  );
});
