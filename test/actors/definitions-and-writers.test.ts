import { afterEach, beforeEach, expect, test } from 'vitest';
import { open, type Database } from '../../src/index.ts';
import { untilSealed } from '../progressive/until-sealed.ts';

let db: Database;
beforeEach(async () => {
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, g text)');
  await db.insert('t', { id: 1, g: 'a' });
});
afterEach(() => db.close());

const rowsOf = async (text: string): Promise<unknown[]> => (await db.query(text)).rows;

test('rows written while a table is rewritten are all there afterwards', async () => {
  await db.insert('t', { id: [8, 9], g: ['x', 'x'] });
  const outcomes = await Promise.allSettled([
    db.insert('t', { id: 2, g: 'b' }),
    db.exec('ALTER TABLE t ADD COLUMN r float8 DEFAULT random()'),
    db.insert('t', { id: 3, g: 'c' }),
    db.exec("INSERT INTO t VALUES (4, 'd')"),
    db.exec("UPDATE t SET g = 'z' WHERE id = 1"),
    db.upsert('t', { id: 8, g: 'y' }),
    db.delete('t', { id: 9 }),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual(outcomes.map(() => 'fulfilled'));
  expect(await rowsOf('SELECT id, g FROM t ORDER BY id')).toEqual([
    { id: 1, g: 'z' },
    { id: 2, g: 'b' },
    { id: 3, g: 'c' },
    { id: 4, g: 'd' },
    { id: 8, g: 'y' },
  ]);
});

/** Root cause: changes of rows alone asked for upkeep, and rows that a transaction has written anew for a definition are none. */
test('full segments of a table that a transaction has defined anew are sealed', async () => {
  await db.exec('CREATE TABLE many (n int)');
  await db.insert('many', { n: Int32Array.from({ length: 70_000 }, (_, row) => row) });
  await untilSealed(db, 'many');
  await db.exec('BEGIN; CREATE INDEX ON many (n); COMMIT');
  await untilSealed(db, 'many');
});

test('changes of one definition that come together are all made', async () => {
  await Promise.all([
    db.exec('ALTER TABLE t ADD COLUMN a int'),
    db.exec('ALTER TABLE t ADD COLUMN b int DEFAULT 5, ADD COLUMN c int'),
    db.exec('CREATE INDEX by_g ON t (g)'),
    db.exec('ALTER TABLE t ADD CHECK (id > 0)'),
    db.insert('t', { id: 2, g: 'b' }),
  ]);
  const { columns, rows } = await db.query('SELECT * FROM t ORDER BY id');
  expect(columns.map(({ name }) => name).toSorted()).toEqual(['a', 'b', 'c', 'g', 'id']);
  expect(rows).toMatchObject([
    { id: 1, b: 5 },
    { id: 2, b: 5 },
  ]);
  await expect(db.insert('t', { id: -1 })).rejects.toMatchObject({ code: '23514' });
  await db.exec('DROP INDEX by_g');
});

test('a definition waits for transactions that have written to the table', async () => {
  await db.exec('CREATE TABLE plain (n int)');
  const session = db.session();
  await session.exec('BEGIN');
  await session.exec('INSERT INTO plain VALUES (1)');
  let isDone = false;
  const altered = db.exec('ALTER TABLE plain ADD COLUMN a int DEFAULT 5').then(() => {
    isDone = true;
  });
  await session.exec('INSERT INTO plain VALUES (2)');
  expect((await session.query('SELECT * FROM plain')).rows).toEqual([{ n: 1 }, { n: 2 }]);
  expect(isDone).toBe(false);
  await session.exec('COMMIT');
  await altered;
  await session.close();
  expect(await rowsOf('SELECT * FROM plain')).toEqual([
    { n: 1, a: 5 },
    { n: 2, a: 5 },
  ]);
});

test('two transactions that wait for each other by a definition are told of the deadlock', async () => {
  await db.exec('CREATE TABLE u (id int PRIMARY KEY)');
  const [left, right] = [db.session(), db.session()];
  await left.exec('BEGIN');
  await right.exec('BEGIN');
  await left.exec("INSERT INTO t VALUES (7, 'x')");
  await right.exec('INSERT INTO u VALUES (7)');
  const outcomes = await Promise.allSettled([
    left.exec('ALTER TABLE u ADD COLUMN a int').then(() => left.exec('COMMIT')),
    right
      .exec('ALTER TABLE t ADD COLUMN a int')
      .then(() => right.exec('COMMIT'))
      .catch(async (cause: unknown) => {
        await right.exec('ROLLBACK');
        throw cause;
      }),
  ]);
  expect(outcomes[0]!.status).toBe('fulfilled');
  expect(outcomes[1]).toMatchObject({ status: 'rejected', reason: { code: '40P01' } });
  await left.close();
  await right.close();
});

test('who follows a rewritten table is told to begin anew', async () => {
  const changes: string[] = [];
  const subscription = db.subscribe('t');
  const followed = (async () => {
    for await (const change of subscription) {
      changes.push(change.kind);
      if (changes.length === 3) break;
    }
  })();
  await subscription.columns;
  await db.exec('ALTER TABLE t ADD COLUMN r float8 DEFAULT random()');
  await db.insert('t', { id: 2, g: 'b' });
  await followed;
  expect(changes).toEqual(['snapshot', 'reset', 'snapshot']);
});

test('a dropped table takes no rows, and says that it is gone', async () => {
  const outcomes = await Promise.allSettled([
    db.exec('DROP TABLE t'),
    db.exec('DROP TABLE t'),
    db.insert('t', { id: 5, g: 'x' }),
  ]);
  const codes = outcomes.map((each) =>
    each.status === 'fulfilled' ? 'ok' : (each.reason as { code: string }).code,
  );
  expect(codes.filter((code) => code !== 'ok' && code !== '42P01')).toEqual([]);
  expect(codes[0]).toBe('ok');
  await expect(db.query('SELECT * FROM t')).rejects.toMatchObject({ code: '42P01' });
});

test('a transaction that finds a table rewritten under its snapshot runs again', async () => {
  // It was 72000, which nobody ran again.
  let runs = 0;
  await db.transaction(
    async (tx) => {
      runs += 1;
      await tx.query('SELECT 1');
      if (runs === 1) await db.exec('ALTER TABLE t ADD COLUMN r float8 DEFAULT random()');
      await tx.insert('t', { id: 50, g: 'x' });
    },
    { retries: 1 },
  );
  expect(runs).toBe(2);
  expect(await rowsOf('SELECT g FROM t WHERE id = 50')).toEqual([{ g: 'x' }]);
});

test('a view whose creation is called off says so as every cancel does, and leaves nothing behind', async () => {
  // The signal's own exception came out, and the snapshots that it was filled from were never given back.
  await db.exec('INSERT INTO t SELECT n, n::text FROM generate_series(100, 60000) s(n)');
  const before = db.metrics.snapshot().memoryBytes;
  const abort = new AbortController();
  const made = db.exec('CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS n FROM t GROUP BY g', {
    signal: abort.signal,
  });
  setImmediate(() => abort.abort());
  await expect(made).rejects.toMatchObject({ code: '57014', name: 'AbortError' });
  expect(db.metrics.snapshot().memoryBytes).toBe(before);
});
