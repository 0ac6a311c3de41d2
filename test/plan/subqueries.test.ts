import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Database } from '../../src/index.ts';
import { open } from '../../src/open.ts';

let db: Database;
beforeAll(async () => {
  db = await open();
  await db.exec(`
    CREATE TABLE t (i int, g text);
    INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, 'b'), (NULL, 'b');
    CREATE TABLE u (i int, j int);
    INSERT INTO u VALUES (1, 10), (2, 20), (2, 21), (4, NULL);
  `);
});
afterAll(() => db.close());

async function rows(sql: string): Promise<unknown[][]> {
  const { columns, rows: texts } = await db.query(sql, { format: 'text' });
  expect(columns.length).toBeGreaterThan(0);
  return texts as unknown as unknown[][];
}

test('an aggregate over columns of the query around it belongs to that query', async () => {
  expect(await rows('SELECT (SELECT max(o.i)) FROM t o')).toEqual([['3']]);
  expect(
    await rows('SELECT g, (SELECT sum(u.j) + max(o.i) FROM u) FROM t o GROUP BY g ORDER BY g'),
  ).toEqual([
    ['a', '53'],
    ['b', '54'],
  ]);
  expect(
    await rows('SELECT g FROM t o GROUP BY g HAVING EXISTS (SELECT 1 FROM u WHERE u.i = max(o.i))'),
  ).toEqual([['a']]);
  // A column of its own level makes it the subquery's.
  expect(
    await rows('SELECT i, (SELECT sum(u.j + o.i) FROM u) FROM t o ORDER BY i LIMIT 1'),
  ).toEqual([['1', '54']]);
});

test('subqueries stand in arguments and keys of grouping', async () => {
  expect(await rows('SELECT sum((SELECT count(*) FROM u WHERE u.i = o.i)) FROM t o')).toEqual([
    ['3'],
  ]);
  expect(
    await rows(
      'SELECT EXISTS (SELECT 1 FROM u WHERE u.i = o.i) AS known, count(*) FROM t o GROUP BY known ORDER BY 1',
    ),
  ).toEqual([
    ['f', '2'],
    ['t', '2'],
  ]);
  expect(await rows('SELECT (SELECT max(j) FROM u), sum((SELECT max(j) FROM u)) FROM t')).toEqual([
    ['21', '84'],
  ]);
  expect(
    await rows(
      'SELECT i IN (SELECT i FROM u), count(*) FROM t GROUP BY i IN (SELECT i FROM u) ORDER BY 1',
    ),
  ).toEqual([
    ['f', '1'],
    ['t', '2'],
    [null, '1'],
  ]);
});

test('a subquery may stand left of IN', async () => {
  expect(
    await rows('SELECT i FROM t WHERE (SELECT max(j) FROM u WHERE u.i = t.i) IN (SELECT j FROM u)'),
  ).toEqual([['1'], ['2']]);
});

test('rows are compared with a subquery from the left, NULL as SQL has it', async () => {
  expect(
    await rows(`SELECT (2, 0) > ANY (SELECT 1, 5), (1, 5) > ANY (SELECT 1, 5), (1, 2) < ALL (SELECT i, j FROM u),
      (1, 2) = ALL (SELECT 1, 2), (1, 2) <> ANY (SELECT 1, 2), (4, 1) >= ANY (SELECT i, j FROM u WHERE i = 4)`),
  ).toEqual([['t', 'f', 't', 't', 'f', null]]);
});

test('a scalar subquery that nobody looks at is not computed', async () => {
  expect(
    await rows('SELECT i FROM (SELECT i, (SELECT j FROM u WHERE u.i = t.i) FROM t) s ORDER BY i'),
  ).toEqual([['1'], ['2'], ['3'], [null]]);
  await expect(rows('SELECT (SELECT j FROM u WHERE u.i = t.i) FROM t')).rejects.toMatchObject({
    code: '21000',
  });
});

test('LIMIT and OFFSET take their number from a subquery', async () => {
  expect(
    await rows('SELECT i FROM t ORDER BY i LIMIT (SELECT count(*) FROM u) - 2 OFFSET (SELECT 1)'),
  ).toEqual([['2'], ['3']]);
  expect(await rows('SELECT i FROM t ORDER BY i LIMIT (SELECT NULL::int)')).toHaveLength(4);
  await expect(rows('SELECT i FROM t LIMIT (SELECT -1)')).rejects.toMatchObject({ code: '2201W' });
});

test('the ON of an outer join may hold subqueries over one of its sides', async () => {
  expect(
    await rows(
      'SELECT t.i, u.j FROM t LEFT JOIN u ON u.i = t.i AND EXISTS (SELECT 1 FROM t x WHERE x.i = t.i + 1) ORDER BY 1, 2',
    ),
  ).toEqual([
    ['1', '10'],
    ['2', '20'],
    ['2', '21'],
    ['3', null],
    [null, null],
  ]);
  expect(
    await rows(
      'SELECT t.i, u.j FROM t RIGHT JOIN u ON u.i = t.i AND u.j = (SELECT min(j) FROM u x WHERE x.i = u.i) ORDER BY 2',
    ),
  ).toEqual([
    ['1', '10'],
    ['2', '20'],
    [null, '21'],
    [null, null],
  ]);
});

test('LATERAL speaks of what stands left of it; functions do so without the word', async () => {
  expect(await rows('SELECT t.i, s.j FROM t, LATERAL (SELECT t.i + 1 AS j) s ORDER BY 1')).toEqual([
    ['1', '2'],
    ['2', '3'],
    ['3', '4'],
    [null, null],
  ]);
  expect(
    await rows(
      'SELECT t.i, s.j FROM t LEFT JOIN LATERAL (SELECT j FROM u WHERE u.i = t.i ORDER BY j DESC LIMIT 1) s ON true ORDER BY 1',
    ),
  ).toEqual([
    ['1', '10'],
    ['2', '21'],
    ['3', null],
    [null, null],
  ]);
  expect(await rows('SELECT t.i, x FROM t, generate_series(2, t.i) AS x ORDER BY 1, 2')).toEqual([
    ['2', '2'],
    ['3', '2'],
    ['3', '3'],
  ]);
  // Two levels, and what is not lateral keeps its names to itself.
  expect(
    await rows(
      'SELECT a.i, b.i, x FROM t a, u b JOIN LATERAL (VALUES (a.i * 100 + b.i)) v (x) ON x < 200 ORDER BY 1, 2',
    ),
  ).toEqual([
    ['1', '1', '101'],
    ['1', '2', '102'],
    ['1', '2', '102'],
    ['1', '4', '104'],
  ]);
  await expect(db.query('SELECT * FROM t, (SELECT t.i) s')).rejects.toMatchObject({
    code: '42P01',
  });
  await expect(
    db.query('SELECT * FROM t RIGHT JOIN LATERAL (SELECT t.i) s ON true'),
  ).rejects.toMatchObject({ code: '42P10' });
});

test('the ON of an outer join may hold a subquery that speaks of both sides', async () => {
  const on = 'EXISTS (SELECT 1 FROM u c WHERE c.i = a.i + b.i)';
  expect(await rows(`SELECT a.i, b.i FROM t a LEFT JOIN t b ON ${on} ORDER BY 1, 2`)).toEqual([
    ['1', '1'],
    ['1', '3'],
    ['2', '2'],
    ['3', '1'],
    [null, null],
  ]);
  expect(await rows(`SELECT a.i, b.i FROM t a RIGHT JOIN t b ON ${on} ORDER BY 2, 1`)).toEqual([
    ['1', '1'],
    ['3', '1'],
    ['2', '2'],
    ['1', '3'],
    [null, null],
  ]);
});

test('aggregates of infinities of both signs are two', async () => {
  expect(await rows("SELECT sum('inf'::float8), sum('-inf'::float8), min('nan'::float8)")).toEqual([
    ['Infinity', '-Infinity', 'NaN'],
  ]);
});

test('a subquery that asks for equal keys is asked once, not row by row', async () => {
  await db.exec(`
    CREATE TABLE many (k int, v int);
    INSERT INTO many SELECT i % 1000, i FROM generate_series(1, 3000) AS i;
  `);
  const once = async (sql: string, asJoin: string): Promise<void> => {
    const { rows: answer, meta } = await db.query(sql);
    expect(answer).toEqual((await db.query(asJoin)).rows);
    // Row by row it would read 3000 × 3000 rows.
    expect(meta.work).toBeLessThan(500_000);
  };
  await once(
    'SELECT sum((SELECT count(*) FROM many i WHERE i.k = o.v)) AS s FROM many o',
    'SELECT count(*)::numeric::text AS s FROM many o JOIN many i ON i.k = o.v',
  );
  await once(
    'SELECT sum((SELECT sum(i.v) FROM many i WHERE i.k = o.v AND i.v > 10)) AS s FROM many o',
    'SELECT sum(i.v::numeric) AS s FROM many o JOIN many i ON i.k = o.v WHERE i.v > 10',
  );
  await once(
    'SELECT count(*) AS n FROM (SELECT EXISTS (SELECT 1 FROM many i WHERE i.k = o.v) AS found FROM many o) q WHERE found IS TRUE OR found IS NULL',
    'SELECT count(DISTINCT o.v) AS n FROM many o JOIN many i ON i.k = o.v',
  );
});

test('a series in a select list without FROM is made as far as LIMIT asks', async () => {
  const { rows: made, meta } = await db.query(
    "SELECT generate_series('2022-01-01'::timestamp, 'infinity'::timestamp, '1 month'::interval) AS at LIMIT 2",
  );
  expect(made).toEqual([{ at: '2022-01-01T00:00:00' }, { at: '2022-02-01T00:00:00' }]);
  expect(meta.work).toBeLessThan(5000);
});

// Such a key is a constant, and what is selected was taken apart to its columns, which are not grouped by.
test('what is NULL whatever the row may be grouped by', async () => {
  expect(await rows('SELECT i + NULL AS n, count(*) FROM t GROUP BY 1')).toEqual([[null, '4']]);
  expect(
    await rows('SELECT g, upper(g || NULL) AS n, count(*) FROM t GROUP BY g, n ORDER BY g'),
  ).toEqual([
    ['a', null, '2'],
    ['b', null, '2'],
  ]);
  await expect(db.query('SELECT i, count(*) FROM t GROUP BY i + NULL')).rejects.toMatchObject({
    code: '42803',
  });
});
