import fc from 'fast-check';
import { expect, test } from 'vitest';
import { jsonValue } from '../../src/actors/rows-out.ts';
import { jsonText } from '../../src/server/reply.ts';

const datum = fc.oneof(
  fc.string(),
  fc.double(),
  fc.constantFrom(NaN, Infinity, -Infinity, -0, null, undefined, true, false),
  fc.bigInt(),
  fc.date({ noInvalidDate: true }),
  fc.uint8Array({ maxLength: 5 }),
);

test('JSON is the same whether or not it has values of its own spelling', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.dictionary(
          fc.oneof(fc.constantFrom('a', 'b', '__proto__', 'toString'), fc.string()),
          fc.oneof(
            datum,
            fc.json().map((text): unknown => JSON.parse(text)),
            fc.array(datum),
          ),
        ),
        { maxLength: 6 },
      ),
      (rows) => {
        const slow = (value: unknown): string =>
          JSON.stringify(value, (_, each: unknown) => jsonValue(each));
        expect(jsonText(rows)).toBe(slow(rows));
        for (const row of rows)
          expect(jsonText({ row, rows: [row] })).toBe(slow({ row, rows: [row] }));
      },
    ),
    { numRuns: 2000 },
  );
});

test('as deep as JSON goes', () => {
  const nested = (depth: number): unknown => {
    let value: unknown = 1;
    for (let level = 0; level < depth; level += 1) value = [value];
    return value;
  };
  expect(jsonText(nested(1000))).toHaveLength(2001);
  expect(() => jsonText(nested(100_000))).toThrow(RangeError);
});
