import fc from 'fast-check';
import { expect, test } from 'vitest';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
import { compareDatums } from '../../src/columns/compare.ts';
import { Decimal } from '../../src/columns/values.ts';
import { createExtremes } from '../../src/views/extremes.ts';

const NUMERIC = { kind: 'numeric' } as const;

/** Few values, many ways to write them: equal ones of several scales, coefficients at and beyond 2^53, NaN and infinities. */
const decimals = fc.oneof(
  fc
    .tuple(fc.integer({ min: -3, max: 3 }), fc.integer({ min: 0, max: 6 }))
    .map(([value, scale]) => new Decimal(BigInt(value) * 10n ** BigInt(scale), scale)),
  fc
    .tuple(fc.bigInt({ min: -3n, max: 3n }), fc.constantFrom(-1n, 1n), fc.constantFrom(0, 2))
    .map(([more, sign, scale]) => new Decimal(sign * (2n ** 53n + more), scale)),
  fc.constantFrom(Decimal.NaN, Decimal.Infinity, Decimal.NegativeInfinity),
);

test('least and greatest of numerics are those of all that came and have not left, shown at their longest scale', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          rows: fc.array(fc.tuple(fc.nat(2), fc.option(decimals)), { maxLength: 12 }),
          /** Of what is there before: who leaves, in one batch with nothing else. */
          leaving: fc.infiniteStream(fc.boolean()),
        }),
        { maxLength: 8 },
      ),
      (steps) => {
        const extremes = createExtremes(NUMERIC)!;
        extremes.ensure(3);
        let there: (readonly [number, Decimal | null])[] = [];
        const add = (rows: typeof there, weight: 1 | -1): void =>
          extremes.add(
            Int32Array.from(rows, ([group]) => group),
            rows.length,
            vectorFromData(
              NUMERIC,
              rows.map(([, value]) => value),
            ),
            weight === 1 ? undefined : new Int32Array(rows.length).fill(weight),
          );
        for (const { rows, leaving } of steps) {
          const stays = there.map(() => !leaving.next().value);
          add(
            there.filter((_, index) => !stays[index]),
            -1,
          );
          there = [...there.filter((_, index) => stays[index]), ...rows];
          add([...rows], 1);
          for (const fn of ['min', 'max'] as const) {
            const shown = extremes.finish(Int32Array.of(0, 1, 2), 3, fn);
            for (const group of [0, 1, 2])
              expect(`${datumAt(shown, group)}`).toBe(`${extremeOf(there, group, fn)}`);
          }
        }
      },
    ),
    { numRuns: 400 },
  );
});

function extremeOf(
  there: readonly (readonly [number, Decimal | null])[],
  group: number,
  fn: 'min' | 'max',
): Decimal | null {
  const sign = fn === 'min' ? 1 : -1;
  const values = there.flatMap(([of, value]) => (of === group && value !== null ? [value] : []));
  values.sort((a, b) => compareDatums(a, b, 'numeric') * sign || b.scale - a.scale);
  return values[0] ?? null;
}
