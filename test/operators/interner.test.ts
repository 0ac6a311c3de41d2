import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { Dictionary } from '../../src/columns/dictionary.ts';
import { MemoryAccount } from '../../src/base/memory.ts';
import { datumAt } from '../../src/columns/build.ts';
import type { Vector } from '../../src/columns/vector.ts';
import { Budget } from '../../src/operators/operator.ts';
import { createInterner, PairInterner } from '../../src/operators/interner.ts';

const texts = fc.constantFrom('', 'a', 'b', 'ä', 'abc', 'north', 'south', null);

test('texts have one code each, whichever dictionary, bytes or data they come from', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          source: fc.constantFrom('first', 'second', 'bytes', 'object'),
          rows: fc.array(texts, { minLength: 1, maxLength: 8 }),
          add: fc.boolean(),
          // Its table has another dictionary from then on.
          left: fc.constantFrom(undefined, undefined, 'first' as const, 'second' as const),
        }),
        { maxLength: 12 },
      ),
      fc.boolean(),
      (steps, hasMany) => {
        const type = { kind: 'text' } as const;
        const dictionaries = { first: new Dictionary(), second: new Dictionary() };
        const interner = createInterner(type, undefined);
        const known = new Map<string | null, number>();
        if (hasMany) {
          // More than are taken over at once.
          const many = Array.from({ length: 2500 }, (_, nth) => `text ${nth}`);
          const codes = new Int32Array(many.length);
          interner.codes(vectorOf('first', many, dictionaries), many.length, codes, true);
          many.forEach((text, row) => known.set(text, codes[row]!));
        }
        for (const { source, rows, add, left } of steps) {
          const vector = vectorOf(source, rows, dictionaries);
          const codes = new Int32Array(rows.length);
          interner.codes(vector, rows.length, codes, add);
          rows.forEach((text, row) => {
            const before = known.get(text);
            if (before !== undefined) expect(codes[row]).toBe(before);
            else if (add) known.set(text, codes[row]!);
            else expect(codes[row]).toBe(-1);
          });
          if (left === undefined) continue;
          dictionaries[left].isSuperseded = true;
          dictionaries[left] = new Dictionary();
        }
        expect(new Set(known.values()).size).toBe(known.size);
        const all = Int32Array.from(known.values());
        const shown = interner.vector(all, all.length);
        [...known.keys()].forEach((text, row) => expect(datumAt(shown, row)).toBe(text));
      },
    ),
  );
});

test('integers have one code each, whatever the encoding of their segment', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          factor: fc.constantFrom(1, 2, 6, 86_400_000_000),
          base: fc.constantFrom(0, 5, -1_000_000, 1_700_000_000_000_000),
          rows: fc.array(fc.option(fc.nat(2000)), { minLength: 1, maxLength: 8 }),
        }),
        { maxLength: 10 },
      ),
      (steps) => {
        const type = { kind: 'int8' } as const;
        const interner = createInterner(type, undefined);
        const known = new Map<number | null, number>();
        for (const { factor, base, rows } of steps) {
          const validity = rows.includes(null)
            ? Uint8Array.from(rows, (value) => (value === null ? 0 : 1))
            : undefined;
          const values = Uint16Array.from(rows, (value) => value ?? 0);
          const codes = new Int32Array(rows.length);
          interner.codes(
            { rep: 'number', type, values, validity, factor, base, scale: 0 },
            rows.length,
            codes,
            true,
          );
          rows.forEach((value, row) => {
            const datum = value === null ? null : value * factor + base;
            const before = known.get(datum);
            if (before === undefined) known.set(datum, codes[row]!);
            else expect(codes[row]).toBe(before);
          });
        }
        expect(new Set(known.values()).size).toBe(known.size);
        for (const [datum, code] of known) expect(interner.datum(code)).toBe(datum);
      },
    ),
  );
});

test('pairs have one code each, beyond what a table can hold too', () => {
  const code = fc.oneof(fc.nat(20), fc.nat(100_000), fc.constantFrom(2 ** 20, 2 ** 24, 2 ** 30));
  fc.assert(
    fc.property(fc.array(fc.tuple(code, code), { maxLength: 60 }), (given) => {
      const pairs = new PairInterner(undefined);
      const a = Int32Array.from(given, ([first]) => first);
      const b = Int32Array.from(given, ([, second]) => second);
      const codes = new Int32Array(given.length);
      pairs.codes(a, b, given.length, codes, true);
      const known = new Map<string, number>();
      given.forEach(([first, second], row) => {
        const key = `${first} ${second}`;
        if (!known.has(key)) known.set(key, known.size);
        expect(codes[row]).toBe(known.get(key));
        expect([pairs.first(codes[row]!), pairs.second(codes[row]!)]).toEqual([first, second]);
      });
      const again = new Int32Array(given.length);
      pairs.codes(a, b, given.length, again, false);
      expect(again).toEqual(codes);
    }),
    { numRuns: 200 },
  );
});

test('pairs that lie far apart take no more room than others, and have one code each', () => {
  const block = fc.record({
    first: fc.nat(3000),
    second: fc.nat(3000),
    count: fc.nat(2048),
    // Along the diagonal, along a row, along a column, all over.
    steps: fc.constantFrom([1, 1], [0, 1], [1, 0], [37, 101]),
    isStepped: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(block, { minLength: 1, maxLength: 8 }), (blocks) => {
      const memory = new MemoryAccount('test');
      const pairs = new PairInterner(memory);
      const known = new Map<string, number>();
      const budget = new Budget(0);
      for (const { first, second, count, steps, isStepped } of blocks) {
        const a = Int32Array.from({ length: count }, (_, at) => (first + at * steps[0]!) % 8000);
        const b = Int32Array.from({ length: count }, (_, at) => (second + at * steps[1]!) % 8000);
        const codes = new Int32Array(count);
        if (isStepped)
          do budget.refill(1000);
          while (!pairs.prepare(a, b, count, budget));
        pairs.codes(a, b, count, codes, true);
        for (let row = 0; row < count; row += 1) {
          const key = `${a[row]} ${b[row]}`;
          if (!known.has(key)) known.set(key, known.size);
          expect(codes[row]).toBe(known.get(key));
        }
        expect(pairs.size).toBe(known.size);
        expect(memory.usedBytes).toBeLessThan(2 ** 22 + 200_000 + known.size * 600);
      }
      pairs.close();
      expect(memory.usedBytes).toBe(0);
    }),
    { numRuns: 100 },
  );
});

test.each([
  ['few firsts and ever more seconds', 50, 100_000, { isSkewed: true, isHashed: false }],
  ['nearly all pairs', 1000, 1000, { isSkewed: false, isHashed: false }],
  ['a diagonal', 8000, 8000, { isSkewed: false, isHashed: true }],
])('%s: whether pairs index a table', (_, firsts, seconds, { isSkewed, isHashed }) => {
  const pairs = new PairInterner(undefined);
  const random = new SeededRandom(7);
  const budget = new Budget(Infinity);
  // Codes are given in the order in which values come; of skewed ones some come often, as customers do.
  const [first, second] = [firsts, seconds].map((count) => {
    const codes = new Map<number, number>();
    return (): number => {
      const nth = random.unit();
      const value = Math.floor(isSkewed ? count ** nth : count * nth);
      const code = codes.get(value) ?? codes.size;
      codes.set(value, code);
      return code;
    };
  });
  const out = new Int32Array(2048);
  for (let batch = 0; batch < 200; batch += 1) {
    const a = Int32Array.from(out, () => first!());
    const b = isHashed ? a : Int32Array.from(out, () => second!());
    pairs.prepare(a, b, out.length, budget);
    pairs.codes(a, b, out.length, out, true);
  }
  expect(pairs.isHashed).toBe(isHashed);
  pairs.close();
});

function vectorOf(
  source: 'first' | 'second' | 'bytes' | 'object',
  rows: readonly (string | null)[],
  dictionaries: { readonly first: Dictionary; readonly second: Dictionary },
): Vector {
  const type = { kind: 'text' } as const;
  const validity = Uint8Array.from(rows, (text) => (text === null ? 0 : 1));
  if (source === 'object') return { rep: 'object', type, values: rows };
  if (source === 'bytes') {
    const encoded = rows.map((text) => new TextEncoder().encode(text ?? ''));
    const offsets = new Uint32Array(rows.length + 1);
    encoded.forEach(({ length }, row) => {
      offsets[row + 1] = offsets[row]! + length;
    });
    return {
      rep: 'bytes',
      type,
      offsets,
      bytes: Uint8Array.from(encoded.flatMap((each) => [...each])),
      validity,
    };
  }
  const dictionary = dictionaries[source];
  const codes = Int32Array.from(rows, (text) => (text === null ? 0 : dictionary.add(text)));
  return { rep: 'dictionary', type, codes, validity, dictionary };
}

test('the table of integers is as large as their span, from whichever end they come', () => {
  const type = { kind: 'int4' } as const;
  const sizes = [false, true].map((isFromAbove) => {
    const memory = new MemoryAccount('the table');
    const interner = createInterner(type, memory);
    for (let from = 0; from < 65_536; from += 2048) {
      const values = Int32Array.from({ length: 2048 }, (_, row) =>
        isFromAbove ? 70_000 - from - row : 4_464 + from + row,
      );
      const vector = { rep: 'number', type, values, factor: 1, base: 0, scale: 0 } as const;
      const codes = new Int32Array(2048);
      interner.codes({ ...vector, validity: undefined }, 2048, codes, true);
      expect(codes[0]).toBe(from);
    }
    return memory.usedBytes;
  });
  // A code for each place of a table of 131,072, and a double for each value.
  for (const bytes of sizes) expect(bytes).toBeLessThan(4 * 131_072 + 8 * 65_536 + 65_536);
});
