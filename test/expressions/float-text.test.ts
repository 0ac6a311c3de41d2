import fc from 'fast-check';
import { expect, test } from 'vitest';
import { float8ToText } from '../../src/expressions/float-text.ts';
import { doubleText } from '../../src/model/values.ts';

/** The decimal half-way between a whole double beyond 2^53 and the next one, and what it reads as. */
const halfWay = fc
  .tuple(fc.bigInt(2n ** 52n, 2n ** 53n - 1n), fc.integer({ min: 2, max: 60 }), fc.boolean())
  .map(([mantissa, exponent, negative]) => {
    const middle = (mantissa * 2n + 1n) << BigInt(exponent - 1);
    return Number(negative ? -middle : middle);
  });

test('a double is shown by the shortest digits that are nearer to it than to another, and reads back', () => {
  expect(float8ToText(-25618153264373530)).toBe('-2.5618153264373528e+16');
  expect(float8ToText(1e23)).toBe('9.999999999999999e+22');
  fc.assert(
    fc.property(fc.oneof(fc.double(), halfWay, fc.constantFrom(1e22, 1e23, 9e15, -5e-324)), (x) => {
      const text = float8ToText(x);
      expect(Number(text)).toBe(x);
      expect(doubleText(x)).toBe(text);
    }),
    { numRuns: 2_000 },
  );
});
