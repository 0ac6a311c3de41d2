import { afterEach, beforeEach, expect, test } from 'vitest';
import { DbError, open, type Database } from '../../src/index.ts';

let db: Database;
beforeEach(async () => {
  db = await open({ workers: 0 });
});
afterEach(() => db.close());

async function code(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'no error',
    (error: unknown) => (error as DbError).code,
  );
}

test('a column that is renamed is renamed in checks and generated columns', async () => {
  // They are kept as texts: the table could not be read any more, and the renaming was refused.
  await db.exec(`CREATE TABLE t (i int CHECK (i < 10), j int,
    "twice i" int GENERATED ALWAYS AS (i * 2) STORED, CONSTRAINT small CHECK (t.i + j < 15))`);
  await db.exec('ALTER TABLE t RENAME COLUMN i TO k');
  await db.exec('INSERT INTO t (k, j) VALUES (1, 2)');
  expect(await code(db.exec('INSERT INTO t (k, j) VALUES (11, 2)'))).toBe('23514');
  expect(await code(db.exec('INSERT INTO t (k, j) VALUES (9, 9)'))).toBe('23514');
  await db.exec('ALTER TABLE t RENAME COLUMN j TO i');
  await db.exec('UPDATE t SET i = 5, k = 3');
  expect((await db.query('SELECT * FROM t')).rows).toEqual([{ k: 3, i: 5, 'twice i': 6 }]);
});

test('what a definition cannot mean is refused as PostgreSQL refuses it', async () => {
  await db.exec('CREATE TABLE a (x int); CREATE TABLE b (x text, y int)');
  for (const [text, expected] of [
    ['CREATE TABLE t (a int, b int GENERATED ALWAYS AS (b * 2) STORED)', '42P17'],
    [
      'CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a) STORED, c int GENERATED ALWAYS AS (b) STORED)',
      '42P17',
    ],
    ['CREATE TABLE t (LIKE a, LIKE b)', '42701'],
    ['CREATE SEQUENCE s CACHE 0', '22023'],
    ['CREATE SEQUENCE s CACHE 10', 'no error'],
    ['CREATE TABLE t (LIKE a)', 'no error'],
  ] as const)
    expect(await code(db.exec(text)), text).toBe(expected);
});

test('a schema stands before a name, never before an alias', async () => {
  await db.exec(`CREATE SCHEMA s; CREATE TABLE s.t (c int); CREATE VIEW s.v AS SELECT c FROM s.t;
    CREATE TABLE t (c int)`);
  for (const [text, expected] of [
    ['SELECT s.t.c, t.c FROM s.t', 'no error'],
    ['SELECT s.v.c FROM s.v', 'no error'],
    ['SELECT public.t.c FROM t', 'no error'],
    ['SELECT s.t.c FROM s.t AS t', '42P01'],
    ['SELECT s.x.c FROM s.v AS x', '42P01'],
    ['SELECT s.v.c FROM s.v AS v', '42P01'],
    ['SELECT 1 FROM t, s.t AS t', '42712'],
    ['SELECT s.t.c, public.t.c FROM public.t, s.t', 'no error'],
  ] as const)
    expect(await code(db.query(text)), text).toBe(expected);
});

test('the time of a table is a column that says when', async () => {
  expect(await code(db.exec(`CREATE TABLE t (k int) WITH (time = 'k')`))).toBe('42804');
  await db.exec(`CREATE TABLE t (k int, d date, w timestamp, at timestamptz) WITH (time = 'at')`);
  for (const name of ['d', 'w', 'at']) await db.exec(`ALTER TABLE t SET (time = '${name}')`);
  await expect(db.exec(`ALTER TABLE t SET (time = 'k')`)).rejects.toMatchObject({
    code: '42804',
    message: 'column "k" named in "time" is of type integer, not a time',
    column: 'k',
  });
});
