import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NumberStats } from '../../src/columns/number-stats.ts';

test('what decides how numbers are stored is what each of them says, whichever chunks they come in', () => {
  const usual = fc.oneof(
    fc.integer({ min: -300, max: 70_000 }).map((value) => value * 12),
    fc.integer({ min: 0, max: 100_000 }).map((cents) => cents / 100),
    fc.constantFrom(0, 0.5, 1, 2 ** 40, 2 ** 53, -(2 ** 60)),
  );
  const rare = fc.constantFrom(-0, NaN, Infinity, -Infinity, 5e-324, -3e-310, 2 ** -1000, 1.7e308);
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(fc.oneof({ weight: 9, arbitrary: usual }, rare), fc.boolean(), fc.boolean()),
        { maxLength: 60 },
      ),
      fc.boolean(),
      (cells, haveNulls) => {
        const stats = new NumberStats();
        let chunk: { value: number; present: number }[] = [];
        const end = (): void => {
          const values = Float64Array.from(chunk, ({ value }) => value);
          const validity = haveNulls ? Uint8Array.from(chunk, ({ present }) => present) : undefined;
          stats.addDoubles(values, validity, chunk.length);
          chunk = [];
        };
        for (const [value, isPresent, isLast] of cells) {
          chunk.push({ value, present: isPresent ? 1 : 0 });
          if (isLast) end();
        }
        end();
        const present = cells.flatMap(([value, isPresent]) =>
          isPresent || !haveNulls ? value : [],
        );
        const finite = present.filter(Number.isFinite);
        const bits = finite.flatMap(bitsOf);
        const bounds = stats.bounds(true);
        // −0 is as good a bound as 0.
        expect(bounds && { ...bounds, min: bounds.min + 0, max: bounds.max + 0 }).toEqual(
          finite.length === 0
            ? undefined
            : {
                min: Math.min(...finite) + 0,
                max: Math.max(...finite) + 0,
                bitMin: bits.length === 0 ? 0 : Math.min(...bits.map(({ lowest }) => lowest)),
                bitEnd: bits.length === 0 ? 53 : Math.max(...bits.map((each) => each.end)),
                finite: finite.length === present.length,
              },
        );
        const isWhole = present.every((value) => Number.isInteger(value) && !Object.is(value, -0));
        expect(stats.isWhole).toBe(isWhole);
        expect(stats.isFloat32).toBe(finite.every((value) => Math.fround(value) === value));
        expect(stats.hasNaN).toBe(present.some(Number.isNaN));
        const { factor } = stats.encoding(false);
        if (isWhole && factor > 1)
          for (const value of present) expect(Math.abs(value - present[0]!) % factor).toBe(0);
      },
    ),
    { numRuns: 2000 },
  );
});

/** The smallest set bit of a double, and where its 53 bits end, as powers of two; of zero there are none. */
function bitsOf(value: number): { lowest: number; end: number }[] {
  if (value === 0) return [];
  let exponent = 0;
  let rest = Math.abs(value);
  // Exact as long as what is doubled or halved is a normal number, and doubling always is.
  while (!Number.isInteger(rest)) {
    rest *= 2;
    exponent -= 1;
  }
  while (rest % 2 === 0) {
    rest /= 2;
    exponent += 1;
  }
  const lowest = exponent;
  return [{ lowest, end: Math.max(-1021, lowest + Math.floor(Math.log2(rest)) + 1) }];
}
