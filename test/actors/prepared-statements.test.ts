import { afterEach, beforeEach, expect, test } from 'vitest';
import type { DbError } from '../../src/base/errors.ts';
import type { Database, SessionHandle } from '../../src/index.ts';
import { open } from '../../src/open.ts';

let db: Database;
let session: SessionHandle;
beforeEach(async () => {
  db = await open();
  session = db.session();
  await db.exec("CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'x')");
});
afterEach(async () => {
  await session.close();
  await db.close();
});

async function rows(sql: string): Promise<unknown[][]> {
  return (await session.query(sql, { format: 'text' })).rows as unknown as unknown[][];
}

async function code(sql: string): Promise<string> {
  return session.query(sql).then(
    () => 'accepted',
    (cause: unknown) => (cause as DbError).code,
  );
}

test.each([
  ['(int)', '$1 + 1.5', '2', ['3.5', 'numeric']],
  ['(numeric)', '$1 / 4', '10', ['2.5000000000000000', 'numeric']],
  ['(bigint)', '$1 / 4', '10', ['2', 'bigint']],
  ['(unknown)', '$1 / 4', '10', ['2', 'integer']],
  ['', '$1 / 4', '10', ['2', 'integer']],
  ['(int)', '$1', '2.6', ['3', 'integer']],
  ['(date)', '$1 + 1', "'2025-01-01'", ['2025-01-02', 'date']],
  // A type's length is no part of a parameter, as in PostgreSQL.
  ['(varchar(2))', '$1', "'abc'", ['abc', 'character varying']],
  ['(numeric(4, 1))', '$1', '1.26', ['1.26', 'numeric']],
])(
  'a parameter is of the type that PREPARE gives it: %s %s',
  async (types, expression, value, shown) => {
    await session.exec(`PREPARE p${types} AS SELECT ${expression} AS v, pg_typeof(${expression})`);
    expect(await rows(`EXECUTE p(${value})`)).toEqual([shown]);
  },
);

test('changes are prepared with their types, and bound anew when the table has changed', async () => {
  await session.exec('PREPARE put(int, text) AS INSERT INTO t VALUES ($1, $2)');
  await session.exec("EXECUTE put(2, 'y')");
  await session.exec('ALTER TABLE t ADD COLUMN c int DEFAULT 7');
  await session.exec("EXECUTE put(3.4, 'z')");
  await session.exec('PREPARE say(int) AS UPDATE t SET b = $2 WHERE a = $1 RETURNING *');
  expect(await rows("EXECUTE say(3, 'zz')")).toEqual([['3', 'zz', '7']]);
  expect(await rows('SELECT * FROM t ORDER BY a')).toEqual([
    ['1', 'x', '7'],
    ['2', 'y', '7'],
    ['3', 'zz', '7'],
  ]);
});

test('what is wrong is told by PREPARE, or by the EXECUTE that gives it', async () => {
  expect(await code('PREPARE p AS SELECT nope FROM t')).toBe('42703');
  expect(await code('PREPARE p(nosuch) AS SELECT $1')).toBe('42704');
  expect(await code('EXECUTE p(1)')).toBe('26000');
  await session.exec('PREPARE p(int) AS SELECT $1');
  expect(await code('PREPARE p AS SELECT 1')).toBe('42P05');
  expect(await code('EXECUTE p')).toBe('42601');
  expect(await code("EXECUTE p('x')")).toBe('22P02');
  expect(await code('EXECUTE p(now())')).toBe('42804');
  expect(await code('EXPLAIN EXECUTE q(1)')).toBe('26000');
});

test('EXPLAIN takes EXECUTE; ANALYZE of a change is a change', async () => {
  await session.exec('PREPARE p(int) AS SELECT b FROM t WHERE a = $1');
  expect((await rows('EXPLAIN EXECUTE p(1)')).join('\n')).toContain('Scan on t');
  expect((await rows('EXPLAIN ANALYZE EXECUTE p(1)')).join('\n')).toContain('Rows: 1');
  await session.exec('PREPARE gone(int) AS DELETE FROM t WHERE a = $1');
  await session.exec('BEGIN READ ONLY');
  expect(await code('EXPLAIN ANALYZE EXECUTE gone(1)')).toBe('25006');
  await session.exec('ROLLBACK');
  await session.exec('EXPLAIN EXECUTE gone(1)');
  expect(await rows('SELECT * FROM t')).toEqual([['1', 'x']]);
  await session.exec('EXPLAIN ANALYZE EXECUTE gone(1)');
  expect(await rows('SELECT * FROM t')).toEqual([]);
});

test('EXPLAIN shows the changes of a WITH, and of RETURNING with subqueries, and does them with ANALYZE', async () => {
  const told = async (sql: string): Promise<string[]> =>
    (await rows(sql)).map(([line]) => String(line).replace(/\s+\(id=.*|\d+\.\d+ ms|\d+ units/, ''));
  const insert = "INSERT INTO t VALUES (2, 'y') RETURNING a, (SELECT count(*) FROM t) AS n";
  expect(await told(`EXPLAIN ${insert}`)).toMatchInlineSnapshot(`
    [
      "Insert on t",
      "  ->  Project",
      "        Output: column1, column2",
      "        ->  Values",
      "With",
      "  ->  Project",
      "        Output: int4, text",
      "        ->  Project",
      "              Output: NULL, NULL",
      "              ->  Result",
      "  ->  Project",
      "        Output: a, ?subquery?",
      "        ->  Subquery Apply",
      "              ->  CTE Scan on returned",
      "              ->  Aggregate",
      "                    Aggregates: count(*)",
      "                    ->  Scan on t",
    ]
  `);
  const both =
    'WITH gone AS (DELETE FROM t WHERE a = 1 RETURNING b), more AS (UPDATE t SET b = g.b FROM gone g) SELECT * FROM gone';
  expect(await told(`EXPLAIN ${both}`)).toMatchInlineSnapshot(`
    [
      "Delete on t",
      "  ->  Scan on t",
      "        Filter: (a = 1)",
      "Update on t",
      "  ->  With",
      "        ->  Project",
      "              Output: text",
      "              ->  Project",
      "                    Output: NULL",
      "                    ->  Result",
      "        ->  Project",
      "              Output: a, b, ?row id?",
      "              ->  Nested Loop Join",
      "                    ->  Scan on t",
      "                    ->  CTE Scan on gone",
      "With",
      "  ->  Project",
      "        Output: text",
      "        ->  Project",
      "              Output: NULL",
      "              ->  Result",
      "  ->  CTE Scan on gone",
    ]
  `);
  expect(JSON.parse((await rows(`EXPLAIN (FORMAT JSON) ${both}`))[0]![0] as string)).toHaveLength(
    3,
  );
  expect(await rows('SELECT * FROM t')).toEqual([['1', 'x']]);
  const done = await told(`EXPLAIN ANALYZE ${insert}`);
  expect(done.slice(-3)).toEqual(['Work: ', 'Rows: 1', 'Execution Time: ']);
  expect(await rows('SELECT * FROM t ORDER BY a')).toEqual([
    ['1', 'x'],
    ['2', 'y'],
  ]);
  await session.exec('BEGIN READ ONLY');
  expect(await code(`EXPLAIN ANALYZE ${both}`)).toBe('25006');
  await session.exec('ROLLBACK');
  expect(await code('EXPLAIN DELETE FROM t RETURNING (SELECT nope FROM t)')).toBe('42703');
});

test('a WITH that changes data is prepared; each of its parts takes a parameter for what it needs', async () => {
  const both = 'WITH n AS (INSERT INTO t VALUES ($1, $2) RETURNING a) SELECT a + $1 AS v FROM n';
  await session.exec(`PREPARE p(int, text) AS ${both}`);
  expect(await rows("EXECUTE p(4, 'q')")).toEqual([['8']]);
  expect(await rows("EXECUTE p(5.2, 'r')")).toEqual([['10']]);
  expect(await code('EXECUTE p(5)')).toBe('42601');
  await session.exec(`PREPARE open AS ${both}`);
  expect(await rows('EXECUTE open(6, 7)')).toEqual([['12']]);
  expect(await code("EXECUTE open('x', 7)")).toBe('22P02');
  expect(await rows('SELECT * FROM t ORDER BY a')).toEqual([
    ['1', 'x'],
    ['4', 'q'],
    ['5', 'r'],
    ['6', '7'],
  ]);
});
