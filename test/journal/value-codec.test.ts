import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DbError, InvariantError } from '../../src/base/errors.ts';
import { joined, registeredType, ValueCodec } from '../../src/journal/value-codec.ts';

class Money {
  readonly cents: bigint;
  constructor(cents: bigint) {
    this.cents = cents;
  }
}

const codec = new ValueCodec([
  registeredType<Money>({
    name: 'money',
    type: Money,
    toPlain: (money) => money.cents,
    fromPlain: (plain) => new Money(plain as bigint),
  }),
]);

const typedArray = fc.oneof(
  fc.uint8Array(),
  fc.int8Array(),
  fc.uint16Array(),
  fc.int16Array(),
  fc.uint32Array(),
  fc.int32Array(),
  fc.float32Array({ noNaN: true }),
  fc.float64Array({ noNaN: true }),
  fc.bigInt64Array(),
  fc.bigUint64Array(),
);

const leaf = fc.oneof(
  fc.constantFrom(
    null,
    true,
    false,
    0,
    -0,
    NaN,
    Infinity,
    -Infinity,
    2 ** 53,
    -(2 ** 53) + 1,
    5e-324,
    '\ud800',
    'é\0',
  ),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double(),
  fc.bigInt(),
  fc.string({ unit: 'binary' }),
  typedArray,
  fc.bigInt().map((cents) => new Money(cents)),
);

const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    leaf,
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(fc.string(), tie('value'), { maxKeys: 5, noNullPrototype: true }),
  ),
})).value;

test('what is encoded is decoded to the same value', () => {
  fc.assert(
    fc.property(value, (original) => {
      expect(codec.decode(codec.encode(original))).toEqual(original);
    }),
  );
});

test('equal values give equal bytes, whatever the order in which their keys were set', () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), leaf, { noNullPrototype: true }),
      fc.nat(),
      (fields, turn) => {
        const entries = Object.entries(fields);
        const turned = [
          ...entries.slice(turn % (entries.length + 1)),
          ...entries.slice(0, turn % (entries.length + 1)),
        ];
        const other = Object.fromEntries(turned);
        expect(codec.encode({ ...other, absent: undefined })).toEqual(codec.encode(fields));
      },
    ),
  );
});

test('bytes that are no value are refused, never misread into a crash', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      try {
        expect(codec.encode(codec.decode(bytes)).length).toBeGreaterThan(0);
      } catch (error) {
        expect(error).toBeInstanceOf(DbError);
      }
    }),
    { numRuns: 2_000 },
  );
});

test('a value that was cut short or goes on is refused', () => {
  fc.assert(
    fc.property(value, (original) => {
      const bytes = codec.encode(original);
      expect(() => codec.decode(bytes.subarray(0, bytes.length - 1))).toThrow(DbError);
      expect(() => codec.decode(joined([bytes, Uint8Array.of(0)]))).toThrow(DbError);
    }),
  );
});

test('big typed arrays are handed on without a copy, and come back aligned', () => {
  const big = Float64Array.from({ length: 10_000 }, (_, index) => index / 7);
  const pieces = codec.encodePieces({ a: 1, big, z: 2 });
  expect(pieces.some((piece) => piece.buffer === big.buffer)).toBe(true);
  expect(codec.decode(joined(pieces))).toEqual({ a: 1, big, z: 2 });
  const view = new Int32Array(new ArrayBuffer(64), 8, 3).fill(7);
  expect(codec.decode(codec.encode(view))).toEqual(Int32Array.of(7, 7, 7));
});

test('what cannot be journaled is our mistake', () => {
  class Unknown {}
  const circular: unknown[] = [];
  circular.push(circular);
  for (const bad of [new Unknown(), () => 1, Symbol('s'), circular, new Map()]) {
    expect(() => codec.encode(bad)).toThrow(InvariantError);
  }
});

test('a key named __proto__ stays a key', () => {
  const tricky = JSON.parse('{"__proto__": {"polluted": 1}}') as object;
  const back = codec.decode(codec.encode(tricky)) as object;
  expect(Object.getPrototypeOf(back)).toBe(Object.prototype);
  expect(Object.keys(back)).toEqual(['__proto__']);
});

test('the bytes of this version stay readable', () => {
  const golden = {
    b: [1, -2, 0.5, 12n, -300n],
    a: 'é',
    u: Uint16Array.of(1, 65_535),
    m: new Money(5n),
    n: null,
  };
  const bytes = codec.encode(golden);
  expect(Buffer.from(bytes).toString('hex')).toBe(
    '0c0509016109' +
      '02c3a9' +
      '090162' +
      '0b0504010502' +
      '06000000000000e03f' +
      '07010c' +
      '0802012c' +
      '09016d' +
      '0d056d6f6e6579' +
      '070105' +
      '09016e00' +
      '090175' +
      '0e02040100ffff',
  );
});
