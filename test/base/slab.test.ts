import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isPiece, ownDoubles, slabBytes, slabDoubles, slabInts } from '../../src/base/slab.ts';

test('arrays of slabs are zero, of the length asked for, and nobody else writes into them', () => {
  const made = fc.record({
    make: fc.constantFrom(slabDoubles, slabInts, slabBytes),
    count: fc.oneof(fc.nat(20), fc.nat(600), fc.nat(5000)),
  });
  fc.assert(
    fc.property(fc.array(made, { maxLength: 60 }), (steps) => {
      const arrays = steps.map(({ make, count }) => make(count));
      for (const [index, array] of arrays.entries()) {
        expect(array).toHaveLength(steps[index]!.count);
        expect(array.every((value) => value === 0)).toBe(true);
        array.fill(index + 1);
      }
      for (const [index, array] of arrays.entries())
        expect(array.every((value) => value === index + 1)).toBe(true);
    }),
    { numRuns: 50 },
  );
});

test('a piece is told from an array with a buffer of its own', () => {
  expect(isPiece(slabDoubles(70))).toBe(true);
  expect(isPiece(slabInts(17))).toBe(true);
  expect(isPiece(slabDoubles(70).subarray(3, 60))).toBe(true);
  // So small, or so large, that it is worth a place of its own.
  expect(isPiece(slabDoubles(8))).toBe(false);
  expect(isPiece(slabDoubles(513))).toBe(false);
  expect(isPiece(ownDoubles(70))).toBe(false);
  expect(isPiece(slabDoubles(70).slice())).toBe(false);
});
