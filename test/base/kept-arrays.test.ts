import fc from 'fast-check';
import { expect, test } from 'vitest';
import { keptArray, keptCopy, keptDoubles, keptInts } from '../../src/base/kept-arrays.ts';

const CLASSES = [
  Float64Array,
  Float32Array,
  Int32Array,
  Uint32Array,
  Int16Array,
  Uint16Array,
  Int8Array,
  Uint8Array,
  BigInt64Array,
] as const;

test('what is kept is zero, of its class and length, and nobody else’s', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom(...CLASSES), fc.nat(5000)), { maxLength: 40 }),
      (wanted) => {
        const made = wanted.map(([array, count]) =>
          keptArray<(typeof CLASSES)[number]['prototype']>(array, count),
        );
        for (const [index, array] of made.entries()) {
          expect(array.constructor).toBe(wanted[index]![0]);
          expect(array.length).toBe(wanted[index]![1]);
          expect(array.some((value: number | bigint) => Number(value) !== 0)).toBe(false);
          array.fill((array instanceof BigInt64Array ? 1n : 1) as never);
        }
        expect(new Set(made.map(({ buffer }) => buffer)).size).toBe(made.length);
      },
    ),
  );
});

test('of what is kept V8 counts an eighth, whatever sizes come, and all of what is small', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 300_000 }), { minLength: 1, maxLength: 60 }),
      (sizes) => {
        let total = 0;
        let counted = 0;
        for (const size of sizes) {
          for (const array of [
            keptDoubles(size >>> 3),
            keptInts(size >>> 2),
            keptArray(Uint8Array, size),
          ]) {
            if (array.byteLength < 1024) {
              expect(array.buffer).toBeInstanceOf(ArrayBuffer);
              continue;
            }
            total += array.byteLength;
            if (array.buffer instanceof ArrayBuffer) counted += array.byteLength;
          }
        }
        // It is made up for as soon as a buffer fits what is owed.
        const slack = 2 * 300_000;
        expect(Math.abs(total - 8 * counted)).toBeLessThanOrEqual(8 * slack);
      },
    ),
  );
});

test('a copy that is kept has the first values, whichever buffer they lie in', () => {
  const doubles = Float64Array.from({ length: 2000 }, (_, index) => index / 3);
  for (const count of [0, 1, 127, 128, 1999, 2000]) {
    const copy = keptCopy(doubles, count);
    expect(copy).toEqual(doubles.subarray(0, count));
    expect(keptCopy(copy, count)).toEqual(copy);
    expect(copy.buffer).not.toBe(doubles.buffer);
  }
});
