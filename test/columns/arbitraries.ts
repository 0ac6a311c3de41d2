import fc from 'fast-check';
import type { TextBounds } from '../../src/columns/text-renewal.ts';
import type { SqlType } from '../../src/columns/types.ts';
import { Decimal, Interval, normalInteger, type Datum } from '../../src/columns/values.ts';

const text = fc.oneof(
  fc.constantFrom('', 'a', 'b', 'north', 'süd', '東', '🛫 Oslo'),
  fc.string({ unit: 'grapheme', maxLength: 20 }).filter((value) => !value.includes('\0')),
);
const int8 = fc.oneof(
  fc.integer({ min: -5, max: 5 }),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(normalInteger),
);

/** Texts move from one dictionary to another whenever a row dies. */
export const ALWAYS_RENEWED: TextBounds = {
  bytesMin: 0,
  diedMin: 0,
  diedShare: 0,
  livingShare: Infinity,
  commits: 1,
};

/** Each type with data of it, NULLs aside. */
export const TYPES: readonly (readonly [SqlType, fc.Arbitrary<Datum>])[] = [
  [{ kind: 'boolean' }, fc.boolean()],
  [{ kind: 'int2' }, fc.integer({ min: -32768, max: 32767 })],
  [
    { kind: 'int4' },
    fc.oneof(fc.integer({ min: 0, max: 4 }), fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })),
  ],
  [{ kind: 'int8' }, int8],
  [{ kind: 'float4' }, fc.float()],
  [{ kind: 'float8' }, fc.oneof(fc.constantFrom(0, -0, NaN, Infinity, 1.5, 3), fc.double())],
  [
    { kind: 'numeric', precision: 12, scale: 2 },
    fc.integer({ min: -(10 ** 11), max: 10 ** 11 }).map((value) => new Decimal(BigInt(value), 2)),
  ],
  [
    { kind: 'numeric' },
    fc.oneof(
      fc
        .tuple(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), fc.nat(5))
        .map(([value, scale]) => new Decimal(value, scale)),
      fc
        .tuple(fc.integer({ min: -30, max: 30 }), fc.nat(2))
        .map(([value, scale]) => new Decimal(BigInt(value), scale)),
      fc.constantFrom(Decimal.NaN, Decimal.Infinity, Decimal.NegativeInfinity),
    ),
  ],
  [{ kind: 'text' }, text],
  [{ kind: 'varchar', length: 40 }, text],
  [
    { kind: 'date' },
    fc.oneof(fc.integer({ min: -100_000, max: 100_000 }), fc.constantFrom(Infinity, -Infinity)),
  ],
  [
    { kind: 'timestamptz' },
    fc.oneof(
      fc.integer({ min: 0, max: 2 ** 50 }),
      fc.bigInt({ min: 2n ** 55n, max: 2n ** 60n }),
      fc.constantFrom(Infinity, -Infinity),
    ),
  ],
  [
    { kind: 'interval' },
    fc
      .tuple(
        fc.integer({ min: -3, max: 3 }),
        fc.integer({ min: -40, max: 40 }),
        fc.integer({ min: -(10 ** 11), max: 10 ** 11 }),
      )
      .map(([months, days, micros]) => new Interval(months, days, micros)),
  ],
  [{ kind: 'uuid' }, fc.uuid()],
  [{ kind: 'bytea' }, fc.uint8Array({ maxLength: 12 })],
];

export function nullable(data: fc.Arbitrary<Datum>): fc.Arbitrary<Datum> {
  return fc.option(data, { freq: 6, nil: null });
}

/** A type and some data of it, NULLs included. */
export function typedData(maxLength = 40): fc.Arbitrary<{ type: SqlType; data: Datum[] }> {
  return fc.nat(TYPES.length - 1).chain((index) => {
    const [type, datum] = TYPES[index]!;
    return fc.array(nullable(datum), { maxLength }).map((data) => ({ type, data }));
  });
}
