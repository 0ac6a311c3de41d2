/** Statements that grow: what each part is held against must not grow with them. None of these ended, or in seconds, when it did. */
import { expect, test } from 'vitest';
import type { Database } from '../../src/index.ts';
import { open } from '../../src/open.ts';

const listed = (count: number, text: (at: number) => string, between = ', '): string =>
  Array.from({ length: count }, (_, at) => text(at)).join(between);

async function valuesOf(db: Database, sql: string): Promise<unknown[][]> {
  return (await db.query(sql)).rows.map((row) => Object.values(row));
}

test('greatest and least of many values are found in one look', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (a int, s varchar(3), n numeric(8, 2))');
  await db.exec("INSERT INTO t VALUES (3, 'b', 1.50), (NULL, NULL, NULL)");
  const told = (items: string): Promise<unknown[][]> => valuesOf(db, `SELECT ${items} FROM t`);
  const many = listed(60, (at) => `a - ${at}`);
  expect(await told(`greatest(${many}), least(${many})`)).toEqual([
    [3, -56],
    [null, null],
  ]);
  expect(await told(`greatest(a, 1, 2, NULL, 0), least(a, 4.5, 2, NULL)`)).toEqual([
    [3, '2'],
    [2, '2'],
  ]);
  expect(
    await told(`greatest(s, 'a', 'c', '', 'b'), pg_typeof(least(s, 'a', NULL, s, s))`),
  ).toEqual([
    ['c', 'character varying'],
    ['c', 'character varying'],
  ]);
  // The first of equal ones, as it looks.
  expect(await told(`greatest(n, 1.5, 1.500, 0), least(n, 'NaN', 1.5, 7)`)).toEqual([
    ['1.50', '1.50'],
    ['1.5', '1.5'],
  ]);
  await expect(told(`greatest(a, 1, 2, 'no')`)).rejects.toThrow('invalid input syntax');
  await expect(told(`least(a, 1, 2, DATE '2026-01-01')`)).rejects.toThrow('cannot be matched');
});

test('what stands in a choice is computed once, however deep it is nested', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (a int, s text)');
  await db.exec("INSERT INTO t VALUES (3, 'b'), (NULL, NULL), (7, 'n/a')");
  let [text, most] = ['s', 'a'];
  for (let depth = 0; depth < 60; depth += 1) {
    text = `NULLIF(${text}, '${depth === 30 ? 'n/a' : depth}')`;
    most = `greatest(${most}, least(a, ${depth % 6}))`;
  }
  expect(await valuesOf(db, `SELECT ${text}, ${most} FROM t`)).toEqual([
    ['b', 3],
    [null, 5],
    [null, 7],
  ]);
  await db.exec('CREATE SEQUENCE q');
  const once = await valuesOf(
    db,
    `SELECT count(*) FILTER (WHERE x >= 0.5) AS large, count(*) FILTER (WHERE y = 0) AS none
     FROM (SELECT greatest(random(), 0.5) AS x, NULLIF(floor(random() * 2), 0) AS y FROM generate_series(1, 500) s(n)) r`,
  );
  expect(once.map((row) => row.map(Number))).toEqual([[500, 0]]);
  // So is what is compared with another type.
  const others = await valuesOf(
    db,
    `SELECT count(*) FILTER (WHERE NULLIF((random() * 3)::bigint, 1) = 1) AS a,
            count(*) FILTER (WHERE NULLIF((random() * 3)::smallint, 1::bigint) = 1) AS b,
            count(*) FILTER (WHERE NULLIF(random()::real, 2::float8) > 1) AS c,
            count(*) FILTER (WHERE NULLIF(date '2000-01-01' + (random() * 3)::int, timestamp '2000-01-02') = '2000-01-02') AS d
     FROM generate_series(1, 500) s(n)`,
  );
  expect(others.map((row) => row.map(Number))).toEqual([[0, 0, 0, 0]]);
  const types = `SELECT pg_typeof(NULLIF((random() * 3)::smallint, 1::bigint)) AS a, pg_typeof(NULLIF(random()::real, 2::float8)) AS b`;
  expect(await valuesOf(db, types)).toEqual([['smallint', 'real']]);
});

test('a UNION of many is one', async () => {
  await using db = await open({ workers: 0 });
  const rows = listed(600, (at) => `SELECT ${at % 300}`, ' UNION ');
  const plan = await db.query(`EXPLAIN ${rows}`);
  const shown = plan.rows.map((row) => String(row['QUERY PLAN'])).join('\n');
  expect(shown.match(/Distinct/g)).toHaveLength(1);
  expect(shown.match(/Append/g)).toHaveLength(1);
  expect((await db.query(`SELECT count(*)::int AS n FROM (${rows}) u`)).rows).toEqual([{ n: 300 }]);
  // What is told apart before, and then not any more, is so still.
  const mixed = `SELECT 1 UNION SELECT 1 UNION ALL SELECT 1 UNION ALL (SELECT 2 UNION SELECT 2)`;
  expect(await valuesOf(db, mixed)).toEqual([[1], [1], [2]]);
  const typed = `SELECT 1 AS x UNION SELECT 1.0 UNION SELECT 1 UNION ALL SELECT 2.50`;
  expect(await valuesOf(db, typed)).toEqual([['1.0'], ['2.50']]);
});

test('hundreds of subqueries are told apart by a look at each', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int, a int)');
  await db.exec('INSERT INTO t VALUES (1, 10), (2, 20)');
  const scalar = listed(1200, (at) => `(SELECT max(a) + ${at % 600} FROM t) AS c${at}`);
  expect(await valuesOf(db, `SELECT ${scalar}`)).toEqual([
    Array.from({ length: 1200 }, (_, at) => 20 + (at % 600)),
  ]);
});

test('what is nested too deeply is refused, not broken', async () => {
  await using db = await open({ workers: 0 });
  const arms = listed(20_000, () => 'SELECT 1', ' EXCEPT ALL ');
  await expect(db.query(arms)).rejects.toMatchObject({ code: '54001' });
});
