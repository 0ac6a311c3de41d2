import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Database } from '../../src/index.ts';
import { open } from '../../src/open.ts';

/**
 * DISTINCT let the first of equal values through and, in a view, took back the last: a sum of numerics had the scale of whichever
 * came first. And a view counted '1 month' and '30 days', which are equal, as two.
 */

let db: Database;
beforeEach(async () => {
  db = await open({ workers: 0 });
});
afterEach(() => db.close());

test('a sum of distinct numerics has the longest scale that is present, in whatever order they came and went', async () => {
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, x numeric)');
  const query =
    'SELECT sum(DISTINCT x) AS s, avg(DISTINCT x) AS a, sum(DISTINCT x) FILTER (WHERE id > 1) AS f FROM t';
  await db.exec(`CREATE MATERIALIZED VIEW v AS ${query}`);
  const now = async (): Promise<string | null> => {
    const { rows } = await db.query<{ s: string | null }>('SELECT * FROM v');
    expect((await db.query(query)).rows).toEqual(rows);
    return rows[0]!.s;
  };
  expect(await now()).toBe(null);
  await db.exec('INSERT INTO t VALUES (1, 1.0)');
  expect(await now()).toBe('1.0');
  await db.exec('INSERT INTO t VALUES (2, 1.000)');
  expect(await now()).toBe('1.000');
  await db.exec('INSERT INTO t VALUES (3, 2.50), (4, NULL), (5, 100)');
  expect(await now()).toBe('103.500');
  await db.exec('DELETE FROM t WHERE id = 2');
  expect(await now()).toBe('103.50');
  await db.exec('DELETE FROM t WHERE id = 3');
  expect(await now()).toBe('101.0');
  await db.exec("INSERT INTO t VALUES (6, 'NaN')");
  expect(await now()).toBe('NaN');
  await db.exec('DELETE FROM t WHERE id > 1');
  expect(await now()).toBe('1.0');
  await db.exec('DELETE FROM t');
  expect(await now()).toBe(null);
});

test('equal values that are written differently are one value to DISTINCT, in a view as in a query', async () => {
  await db.exec('CREATE TABLE t (i interval, c char(4), d double precision)');
  const query =
    'SELECT count(DISTINCT i) AS i, count(DISTINCT c) AS c, count(DISTINCT d) AS d FROM t';
  await db.exec(`CREATE MATERIALIZED VIEW v AS ${query};
    INSERT INTO t VALUES ('1 month', 'a', 0), ('30 days', 'a ', '-0'), ('720 hours', NULL, 'NaN')`);
  expect((await db.query('SELECT * FROM v')).rows).toEqual([{ i: 1, c: 1, d: 2 }]);
  expect((await db.query(query)).rows).toEqual([{ i: 1, c: 1, d: 2 }]);
  await db.exec("DELETE FROM t WHERE i::text = '30 days'");
  expect((await db.query('SELECT * FROM v')).rows).toEqual((await db.query(query)).rows);
});
