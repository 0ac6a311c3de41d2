import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { open, type Database } from '../../src/index.ts';

let db: Database;
beforeEach(async () => {
  db = await open({ memory: '256 MB', workers: 0 });
});
afterEach(() => db.close());

test('a column of codes is the column of the values they stand for', async () => {
  await db.exec(
    `CREATE TABLE plain (id int PRIMARY KEY, t text, v varchar(3), n int, d numeric(6,2));
     CREATE TABLE coded (id int PRIMARY KEY, t text, v varchar(3), n int, d numeric(6,2));
     CREATE MATERIALIZED VIEW plain_by_t AS SELECT t, count(*) AS c, max(v) AS v FROM plain GROUP BY t;
     CREATE MATERIALIZED VIEW coded_by_t AS SELECT t, count(*) AS c, max(v) AS v FROM coded GROUP BY t`,
  );
  const texts = fc.array(fc.constantFrom('', 'a', 'b', 'ab', 'é', '😀'), {
    minLength: 1,
    maxLength: 6,
  });
  let id = 0;
  await fc.assert(
    fc.asyncProperty(
      texts,
      fc.array(fc.tuple(fc.nat(5), fc.boolean()), { maxLength: 40 }),
      async (dictionary, rows) => {
        const codes = Uint8Array.from(rows, ([code]) => code % dictionary.length);
        const valid = Uint8Array.from(rows, ([, present]) => (present ? 1 : 0));
        const numbers = dictionary.map((_, entry) => entry - 2);
        const valueOf = <Value>(values: readonly Value[]): (Value | null)[] =>
          rows.map((_, row) => (valid[row] === 1 ? values[codes[row]!]! : null));
        const ids = Int32Array.from(rows, () => (id += 1));
        await db.insert('plain', {
          id: ids,
          t: valueOf(dictionary),
          v: valueOf(dictionary),
          n: valueOf(numbers),
          d: valueOf(numbers),
        });
        await db.insert('coded', {
          id: ids,
          t: { codes, dictionary, valid },
          v: { codes: Uint16Array.from(codes), dictionary, valid },
          n: { codes: Int32Array.from(codes), dictionary: numbers, valid },
          d: { codes, dictionary: numbers, valid },
        });
        for (const suffix of ['', '_by_t']) {
          const of = async (name: string): Promise<unknown> =>
            (await db.query(`SELECT * FROM ${name}${suffix} ORDER BY 1`)).rows;
          expect(await of('coded')).toEqual(await of('plain'));
        }
      },
    ),
    { numRuns: 40 },
  );
});

test('a dictionary of many entries, of which some repeat, and more rows than are read at once', async () => {
  await db.exec('CREATE TABLE t (id int, a text, b varchar(9))');
  const dictionary = Array.from({ length: 400 }, (_, entry) => `entry ${entry % 300}`);
  const count = 20_000;
  const codes = Uint16Array.from({ length: count }, (_, row) => row % 400);
  const column = { codes, dictionary };
  await db.insert('t', { id: Int32Array.from(codes.keys()), a: column, b: column });
  const { rows } = await db.query(
    `SELECT count(*) AS n, count(DISTINCT a) AS d, count(*) FILTER (WHERE a = 'entry ' || id % 400 % 300 AND b = a) AS right FROM t`,
  );
  expect(rows).toEqual([{ n: count, d: 300, right: count }]);
});

test('codes that are none, and values that do not fit, are refused with their place', async () => {
  await db.exec('CREATE TABLE t (a text, v varchar(2))');
  for (const codes of [Uint8Array.of(0, 2), Int32Array.of(0, -1)])
    await expect(db.insert('t', { a: { codes, dictionary: ['x', 'y'] } })).rejects.toMatchObject({
      code: '22023',
      column: 'a',
      detail: expect.stringContaining('Row 2'),
    });
  await expect(
    db.insert('t', { v: { codes: Uint8Array.of(0), dictionary: ['long'] } }),
  ).rejects.toMatchObject({ code: '22001', column: 'v' });
  await expect(
    db.insert('t', { a: { codes: [0] as never, dictionary: ['x'] } }),
  ).rejects.toMatchObject({ code: '22023', hint: expect.stringContaining('codes') });
  await expect(
    db.insert('t', { a: { codes: Uint8Array.of(0), dictionary: ['x'] }, v: ['a', 'b'] }),
  ).rejects.toMatchObject({ code: '22023', column: 'v' });
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: 0 }]);
});
