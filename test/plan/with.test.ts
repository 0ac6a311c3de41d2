import { afterAll, beforeEach, expect, test } from 'vitest';
import type { Database } from '../../src/index.ts';
import { open } from '../../src/open.ts';

let db: Database;
beforeEach(async () => {
  await db?.close();
  db = await open();
  await db.exec(`
    CREATE TABLE t (i int PRIMARY KEY, s text);
    INSERT INTO t VALUES (1, 'a'), (2, 'b');
    CREATE TABLE edges (a int, b int);
    INSERT INTO edges VALUES (1, 2), (2, 3), (3, 1), (3, 4);
  `);
});
afterAll(() => db.close());

async function rows(sql: string): Promise<unknown[][]> {
  return (await db.query(sql, { format: 'text' })).rows as unknown as unknown[][];
}

test('a recursive query goes round until a round brings nothing new', async () => {
  expect(
    await rows(
      'WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100) SELECT sum(i), count(*) FROM n',
    ),
  ).toEqual([['5050', '100']]);
  // UNION ends walks in circles.
  expect(
    await rows(
      'WITH RECURSIVE r (a, b) AS (SELECT a, b FROM edges UNION SELECT r.a, e.b FROM r JOIN edges e ON r.b = e.a) SELECT a, count(*) FROM r GROUP BY a ORDER BY a',
    ),
  ).toEqual([
    ['1', '4'],
    ['2', '4'],
    ['3', '4'],
  ]);
  // Rows leave as they are found: what nobody asks for is not computed.
  expect(
    await rows(
      'WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT i FROM n LIMIT 3',
    ),
  ).toEqual([['1'], ['2'], ['3']]);
});

test('what no recursion can be is refused as PostgreSQL refuses it', async () => {
  for (const [step, code] of [
    ['SELECT i + 1.5 FROM n', '42804'],
    ['SELECT max(i) FROM n', '42P19'],
    ['SELECT i FROM n WHERE i IN (SELECT i FROM n)', '42P19'],
    ['SELECT n.i FROM n, n m', '42P19'],
    ['SELECT n.i FROM t LEFT JOIN n ON true', '42P19'],
    ['SELECT i, 1 FROM n', '42601'],
    ['SELECT i + 1 FROM n', '54001'],
  ] as const)
    await expect(
      db.query(`WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL ${step}) SELECT count(*) FROM n`),
    ).rejects.toMatchObject({ code });
});

test('WITH changes data; its parts speak by RETURNING and see what was there before', async () => {
  expect(
    await rows(
      "WITH x AS (INSERT INTO t VALUES (3, 'c') RETURNING i) SELECT 'new', i FROM x UNION ALL SELECT 'old', i FROM t ORDER BY 1, 2",
    ),
  ).toEqual([
    ['new', '3'],
    ['old', '1'],
    ['old', '2'],
  ]);
  expect(
    await rows(
      'WITH gone AS (DELETE FROM t WHERE i <= 2 RETURNING *) INSERT INTO t SELECT i + 10, s FROM gone RETURNING i, s',
    ),
  ).toEqual([
    ['11', 'a'],
    ['12', 'b'],
  ]);
  expect(await rows('SELECT i FROM t ORDER BY i')).toEqual([['3'], ['11'], ['12']]);
  expect(
    await rows(
      'WITH none AS (DELETE FROM t WHERE false RETURNING i) SELECT count(*), max(i) FROM none',
    ),
  ).toEqual([['0', null]]);
});

test('all parts of a changing WITH are one: what fails undoes the rest', async () => {
  await expect(
    db.query(
      "WITH a AS (DELETE FROM t RETURNING i), b AS (INSERT INTO t VALUES (9, 'x') RETURNING 1 / (i - 9)) SELECT * FROM a",
    ),
  ).rejects.toMatchObject({ code: '22012' });
  expect(await rows('SELECT count(*) FROM t')).toEqual([['2']]);
  await expect(
    db.session().exec('BEGIN READ ONLY; WITH a AS (DELETE FROM t RETURNING i) SELECT * FROM a'),
  ).rejects.toMatchObject({ code: '25006' });
});
