import fc from 'fast-check';
import { expect, test } from 'vitest';
import { open } from '../../src/index.ts';

/** What fits a column, and what each of these is read as one row at a time. */
const number = fc.oneof(
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  fc.constantFrom(0, -0, 2 ** 31 - 1, -(2 ** 31)),
);
const text = fc.oneof(
  fc.constantFrom('', 'a', 'ab', 'north', 'süd', '東', '🛫 Oslo', 'constructor'),
  fc.string({ unit: 'grapheme', maxLength: 12 }).filter((value) => !value.includes('\0')),
);
const nullable = <Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Value | null> =>
  fc.option(value, { freq: 8, nil: null });
const row = fc.record({
  i: nullable(number),
  big: nullable(fc.oneof(number, fc.constantFrom(2 ** 53 - 1, -(2 ** 53), 2n ** 62n, '12'))),
  f: nullable(fc.oneof(fc.double(), fc.constantFrom(-0, NaN, Infinity))),
  at: nullable(
    fc.oneof(
      fc.integer({ min: -(2 ** 42), max: 2 ** 42 }),
      fc.constantFrom(0.0015, -0.0004),
      fc.date({ noInvalidDate: true, min: new Date(-1e12), max: new Date(9e12) }),
      fc.constant('2026-01-01T00:00:00Z'),
    ),
  ),
  name: nullable(text),
  constructor: nullable(text),
});

const DEFINITION =
  '(i int, big bigint, f double precision, at timestamptz, name text, "constructor" varchar(20))';

test('many objects, and the same as columns, are what they are one by one', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(row, { minLength: 64, maxLength: 120, size: 'max' }),
      // Most columns of most programs hold one kind of value: then nothing is converted one by one.
      fc.uniqueArray(fc.constantFrom('i', 'big', 'f', 'at', 'name', 'constructor'), {
        maxLength: 6,
      }),
      async (rows, plain) => {
        await using db = await open({ workers: 0, values: { int8: 'bigint' } });
        const given = rows.map((each) => ({
          ...each,
          ...(plain.includes('i') ? { i: Number(each.i) } : {}),
          ...(plain.includes('big') ? { big: Number(each.i) * 4096 } : {}),
          ...(plain.includes('f') ? { f: Number(each.f) } : {}),
          ...(plain.includes('at') ? { at: Number(each.i) } : {}),
          ...(plain.includes('name') ? { name: each.name ?? 'none' } : {}),
        }));
        for (const table of ['one', 'many', 'columns'])
          await db.exec(`CREATE TABLE ${table} ${DEFINITION}`);
        for (const each of given) await db.insert('one', each as never);
        await db.insert('many', given as never);
        const names = ['i', 'big', 'f', 'at', 'name', 'constructor'] as const;
        await db.insert(
          'columns',
          Object.fromEntries(names.map((name) => [name, given.map((each) => each[name])])) as never,
        );
        const expected = (await db.query('SELECT * FROM one')).rows;
        expect((await db.query('SELECT * FROM many')).rows).toEqual(expected);
        expect((await db.query('SELECT * FROM columns')).rows).toEqual(expected);
      },
    ),
    { numRuns: Number(process.env['RUNS'] ?? 8), endOnFailure: true },
  );
});

test('texts come back over many pieces, whether they repeat, change from piece to piece, or never repeat', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, few text, moving text, many text)');
  const rows = Array.from({ length: 10_000 }, (_, id) => ({
    id,
    few: id % 11 === 0 ? null : `few ${id % 200}`,
    moving: `moving ${Math.floor(id / 2500)} ${id % 700}`,
    many: `many ${id}`,
  }));
  await db.insert('t', rows);
  expect((await db.query('SELECT * FROM t')).rows).toEqual(rows);
});

test('objects of other makers among the rows: other orders of keys, keys that are inherited, none of their own', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (a int, b int DEFAULT 7)');
  const inherits = Object.assign(Object.create({ b: 9 }) as { a: number; b: number }, { a: 3 });
  const rows = Array.from({ length: 70 }, (_, at) => ({ a: at, b: at }));
  await db.insert('t', [...rows, { b: 1, a: 2 }, inherits, {}, { a: 4 }] as never);
  expect((await db.query('SELECT * FROM t OFFSET 70')).rows).toEqual([
    { a: 2, b: 1 },
    { a: 3, b: 9 },
    { a: null, b: 7 },
    { a: 4, b: 7 },
  ]);
  await expect(
    db.insert('t', [...rows, Object.assign(Object.create({ a: 1 }) as object, { c: 1 })] as never),
  ).rejects.toMatchObject({ code: '42703' });
});
