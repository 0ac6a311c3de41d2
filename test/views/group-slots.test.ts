import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
import { Dictionary } from '../../src/columns/dictionary.ts';
import type { SqlType } from '../../src/columns/types.ts';
import type { Datum } from '../../src/columns/values.ts';
import type { Vector } from '../../src/columns/vector.ts';
import { open } from '../../src/open.ts';
import { GroupSlots } from '../../src/views/group-slots.ts';
import { nullable, TYPES } from '../columns/arbitraries.ts';

const key = ([name, nth]: readonly [Datum, Datum]): string => `${String(name)} ${String(nth)}`;

/** A text as a code, as the tables of views' sources have it, or as a datum. */
function textsOf(
  type: SqlType,
  data: readonly Datum[],
  dictionary: Dictionary | undefined,
): Vector {
  if (dictionary === undefined) return vectorFromData(type, data);
  return {
    rep: 'dictionary',
    type,
    codes: Int32Array.from(data, (text) => (text === null ? 0 : dictionary.add(text as string))),
    validity: Uint8Array.from(data, (text) => (text === null ? 0 : 1)),
    dictionary,
  };
}

test('groups keep their numbers while they are there, and those of others are given again', () => {
  const text = { kind: 'text' } as const;
  const int = { kind: 'int8' } as const;
  const row = fc.tuple(
    nullable(fc.nat(400).map((nth) => `text ${nth}`)),
    nullable(fc.oneof(fc.nat(3), fc.nat(2 ** 40))),
  );
  const step = fc.record({
    rows: fc.array(row, { maxLength: 40 }),
    frees: fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constant(1)),
    isSettled: fc.boolean(),
    dictionary: fc.constantFrom(undefined, 0, 1),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
      const memory = new MemoryAccount('test');
      const groups = new GroupSlots({ types: [text, int], memory, deadKeysMin: 8 });
      const dictionaries = [new Dictionary(), new Dictionary()];
      const living = new Map<
        string,
        { readonly slot: number; readonly row: (typeof steps)[0]['rows'][0] }
      >();
      let most = 0;
      for (const { rows, frees, isSettled, dictionary } of steps) {
        const names = textsOf(
          text,
          rows.map(([name]) => name),
          dictionary === undefined ? undefined : dictionaries[dictionary],
        );
        const nths = vectorFromData(
          int,
          rows.map(([, nth]) => nth),
        );
        const slots = groups.intern([names, nths], rows.length);
        rows.forEach((each, at) => {
          const known = living.get(key(each));
          if (known === undefined) living.set(key(each), { slot: slots[at]!, row: each });
          else expect(slots[at]).toBe(known.slot);
        });
        most = Math.max(most, living.size);
        expect(new Set(Array.from(living.values(), ({ slot }) => slot)).size).toBe(living.size);
        expect(groups.slotCount).toBe(most);
        const all = [...living.values()];
        const shown = groups.keys(
          Int32Array.from(all, ({ slot }) => slot),
          all.length,
        );
        all.forEach(({ row: [name, nth] }, at) => {
          expect(datumAt(shown[0]!, at)).toBe(name);
          expect(datumAt(shown[1]!, at)).toBe(nth);
        });
        for (const [name, { slot }] of [...living].slice(0, Math.floor(living.size * frees))) {
          groups.free(slot);
          living.delete(name);
        }
        if (isSettled) groups.settle();
        // Where none is left, numbers begin anew.
        if (living.size === 0 && groups.slotCount === 0) most = 0;
      }
      groups.close();
      expect(memory.usedBytes).toBe(0);
    }),
    { numRuns: 200 },
  );
});

test.each(TYPES)('keys that never come again are forgotten: %o', (type, datum) => {
  const memory = new MemoryAccount('test');
  const groups = new GroupSlots({ types: [type, { kind: 'int8' }], memory, deadKeysMin: 64 });
  const data = fc.sample(nullable(datum), { numRuns: 50, seed: 1 });
  let most = 0;
  // One that stays: the others cannot be forgotten all at once.
  groups.intern([vectorFromData(type, [data[0]!]), vectorFromData({ kind: 'int8' }, [-1])], 1);
  for (let round = 0; round < 400; round += 1) {
    const nths = data.map((_, nth) => round * 100 + nth);
    const slots = groups.intern(
      [vectorFromData(type, data), vectorFromData({ kind: 'int8' }, nths)],
      data.length,
    );
    const [shown] = groups.keys(slots, data.length);
    expect(Array.from(data, (_, row) => String(datumAt(shown!, row)).length)).toHaveLength(50);
    const freed = new Set(slots.subarray(0, data.length));
    for (const slot of freed) groups.free(slot);
    most = Math.max(most, groups.keyCount);
  }
  // 20,000 keys were there, fifty at a time.
  expect(groups.slotCount).toBe(51);
  expect(most).toBeLessThan(1000);
  expect(memory.usedBytes).toBeLessThan(2 ** 20);
  groups.close();
  expect(memory.usedBytes).toBe(0);
});

test('where there is no memory for another table of keys, a change goes on with the old one', () => {
  const memory = new MemoryAccount('test');
  const groups = new GroupSlots({ types: [{ kind: 'text' }], memory, deadKeysMin: 64 });
  const intern = (from: number, count: number): Int32Array => {
    const names = Array.from({ length: count }, (_, nth) => `text ${from + nth}`);
    return groups.intern([vectorFromData({ kind: 'text' }, names)], count);
  };
  const slots = Int32Array.from(intern(0, 5000));
  for (const slot of slots.subarray(0, 4000)) groups.free(slot);
  memory.limitBytes = memory.usedBytes;
  for (let round = 0; round < 20; round += 1)
    expect([...intern(4000, 1000)]).toEqual([...slots.subarray(4000)]);
  memory.limitBytes = Infinity;
  let from = 5000;
  for (; groups.keyCount > 2000 && from < 100_000; from += 100)
    for (const slot of Int32Array.from(intern(from, 100))) groups.free(slot);
  expect(groups.keyCount).toBeLessThan(2000);
  expect([...intern(4000, 1000)]).toEqual([...slots.subarray(4000)]);
  groups.close();
  expect(memory.usedBytes).toBe(0);
});

test('groups that have gone give their room back, in whatever order they go', () => {
  const text = { kind: 'text' } as const;
  const int = { kind: 'int8' } as const;
  for (const left of [0, 50]) {
    const memory = new MemoryAccount('test');
    const groups = new GroupSlots({ types: [text, int], memory });
    const nths = Array.from({ length: 50_000 }, (_, nth) => nth);
    const names = nths.map((nth) => `text ${nth % 7000}`);
    const slots = Int32Array.from(
      groups.intern([vectorFromData(text, names), vectorFromData(int, nths)], nths.length),
    );
    const full = memory.usedBytes;
    const stride = 17_389;
    for (let nth = 0; nth < nths.length - left; nth += 1) {
      groups.free(slots[(nth * stride) % nths.length]!);
      // A commit of a hundred.
      if (nth % 100 === 0) groups.settle();
    }
    for (let commit = 0; commit < 20; commit += 1) groups.settle();
    // Up to 4,096 keys of groups that have gone may stay.
    expect(memory.usedBytes).toBeLessThan(left === 0 ? 5000 : 500_000);
    expect(full).toBeGreaterThan(2_000_000);
    expect(groups.slotCount).toBe(left === 0 ? 0 : 50_000);
    expect(groups.keyCount).toBeLessThan(5000);
    if (left > 0) {
      const last = Int32Array.from({ length: left }, (_, at) => {
        const nth = ((nths.length - left + at) * stride) % nths.length;
        return slots[nth]!;
      });
      const [shown] = groups.keys(last, left);
      for (let at = 0; at < left; at += 1)
        expect(datumAt(shown!, at)).toBe(`text ${last[at]! % 7000}`);
    }
    groups.close();
    expect(memory.usedBytes).toBe(0);
  }
});

test.each(['never', 'last', 'among others'])(
  'texts alone: where the last has gone numbers begin anew, and NULL comes %s',
  (nullComes) => {
    const text = { kind: 'text' } as const;
    const memory = new MemoryAccount('test');
    const groups = new GroupSlots({ types: [text], memory });
    for (let round = 0; round < 3; round += 1) {
      const names = Array.from({ length: 5000 }, (_, nth) =>
        nullComes === 'among others' && nth === 3000 ? null : `text ${round} ${nth}`,
      );
      const slots = Int32Array.from(groups.intern([vectorFromData(text, names)], names.length));
      expect(new Set(slots).size).toBe(5000);
      for (const slot of slots.subarray(1)) groups.free(slot);
      if (nullComes === 'last') {
        const [last] = groups.intern([vectorFromData(text, [null])], 1);
        expect(datumAt(groups.keys(Int32Array.of(last!), 1)[0]!, 0)).toBe(null);
        groups.free(last!);
      }
      expect(datumAt(groups.keys(slots, 1)[0]!, 0)).toBe(names[0]);
      expect(groups.slotCount).toBeGreaterThan(0);
      groups.free(slots[0]!);
      expect(groups.slotCount).toBeLessThan(2);
      expect(memory.usedBytes).toBeLessThan(5000);
    }
    groups.close();
    expect(memory.usedBytes).toBe(0);
  },
);

test('keys of commits that are refused leave nothing', async () => {
  const db = await open();
  await db.exec(
    "CREATE TABLE r (t bigint, k int); CREATE MATERIALIZED VIEW v AS SELECT 'a key: ' || t AS name, sum(1 / k) AS s FROM r GROUP BY 1",
  );
  await db.exec('INSERT INTO r VALUES (0, 1)');
  for (let round = 0; round < 60; round += 1) {
    const refused = `INSERT INTO r SELECT ${round * 2000} + n, 1 - n / 2000 FROM generate_series(1, 2000) n`;
    await expect(db.exec(refused)).rejects.toMatchObject({ code: '22012' });
    await db.exec('UPDATE r SET k = k + 1');
  }
  // 120,000 of some 50 bytes each.
  expect(db.metrics.snapshot().memoryBytes).toBeLessThan(2 ** 20);
  await db.close();
});
