/** A database whose journal is in files: what is there when it is opened again, and what it refuses meanwhile. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { open, type Database } from '../../src/index.ts';
import { MemoryDisk } from '../journal/memory-disk.ts';
import { stateHash } from './state-hash.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'adb-durable-'));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

const durable = (more: object = {}): Promise<Database> =>
  open({ journal: { kind: 'file', dir, ...more }, workers: 0 });

test('everything is there again: rows, views, definitions, sequences, grants, keys of writes, the position', async () => {
  let db = await durable();
  await db.exec(`CREATE SCHEMA s;
    CREATE TABLE orders (id bigserial PRIMARY KEY, region text, amount numeric(12,2), ts timestamptz, note text);
    CREATE TABLE s.other (a int, b double precision);
    CREATE SEQUENCE seq START 5;
    CREATE VIEW big AS SELECT * FROM orders WHERE amount > 100;
    CREATE MATERIALIZED VIEW sales AS SELECT region, sum(amount) AS s, count(*) AS n FROM orders GROUP BY region`);
  await db.insert('orders', [
    { region: 'EU', amount: '10.50', ts: '2026-01-01T00:00:00Z', note: null },
    { region: 'US', amount: 200, ts: null, note: 'ü' },
  ]);
  await db.insert(
    'orders',
    Array.from({ length: 300 }, (_, index) => ({ region: `r${index % 4}`, amount: index })),
    { idempotencyKey: 'feed 1' },
  );
  await db.exec(`UPDATE orders SET amount = amount + 1 WHERE id % 3 = 0; DELETE FROM orders WHERE id % 7 = 0;
    CREATE INDEX ON orders (region);
    ALTER TABLE s.other ADD COLUMN c int DEFAULT 3; ALTER TABLE s.other DROP COLUMN b;
    ALTER TABLE s.other RENAME COLUMN c TO b; ALTER TABLE s.other ALTER COLUMN a TYPE bigint; SELECT nextval('seq'); GRANT SELECT ON sales TO acme;
    INSERT INTO s.other VALUES (1, 1), (2, 2); TRUNCATE s.other; INSERT INTO s.other VALUES (3, 3)`);
  // Views are made anew, once, of the rows there are in the end.
  const before = await stateHash(db, 'as bags');
  await db.close();

  const progress: string[] = [];
  db = await durable({ onProgress: ({ phase }: { phase: string }) => progress.push(phase) });
  expect(await stateHash(db, 'as bags')).toBe(before);
  expect(progress.at(-1)).toBe('ready');
  const { position } = db;
  const again = await db.insert('orders', [{ region: 'twice' }], { idempotencyKey: 'feed 1' });
  expect(again.rows).toBe(300);
  expect(db.position).toBe(position);
  expect((await db.query("SELECT nextval('seq') AS n")).rows).toEqual([{ n: 6 }]);
  expect((await db.as({ tenant: 'acme' }).query('SELECT count(*) AS n FROM sales')).rows).toEqual([
    { n: 6 },
  ]);
  // It goes on as if nothing had happened: new ids, the view follows.
  await db.exec("INSERT INTO orders (region, amount) VALUES ('EU', 1)");
  expect((await db.query("SELECT s FROM sales WHERE region = 'EU'")).rows).toEqual([
    { s: '11.50' },
  ]);
  await db.close();
});

test('a directory that another database has is refused, and is free when that is closed', async () => {
  const first = await durable();
  await expect(durable()).rejects.toMatchObject({
    code: '55006',
    message: `"${dir}" is open in this process already`,
    hint: expect.stringContaining('db.close()') as string,
  });
  await first.close();
  await (await durable()).close();
});

test('temporary tables end with the process', async () => {
  const disk = new MemoryDisk();
  const options = { disk, journal: { kind: 'file', dir: '/d' }, workers: 0 } as const;
  const killed = await open(options);
  const session = killed.session();
  await session.exec('CREATE TEMPORARY TABLE gone (a int); INSERT INTO gone VALUES (1)');
  disk.kill();
  const db = await open(options);
  expect(db.describe()).toEqual([]);
  await db.close();
  await killed.close();
});

test('chunks that were written under a key before the process ended are not written twice', async () => {
  const disk = new MemoryDisk();
  const options = { disk, journal: { kind: 'file', dir: '/d' }, workers: 0 } as const;
  const killed = await open(options);
  await killed.exec('CREATE TABLE t (a int)');
  async function* chunks(count: number): AsyncGenerator<{ a: number }[]> {
    for (let chunk = 0; chunk < count; chunk += 1) yield [{ a: chunk }, { a: -chunk }];
    if (count < 5) throw new Error('the process ends here');
  }
  const cut = killed.insert('t', chunks(3), { idempotencyKey: 'k' });
  await expect(cut).rejects.toThrow('ends here');
  disk.kill();
  const db = await open(options);
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: 6 }]);
  expect(await db.insert('t', chunks(5), { idempotencyKey: 'k' })).toMatchObject({ rows: 10 });
  expect(await db.insert('t', chunks(5), { idempotencyKey: 'k' })).toMatchObject({ rows: 10 });
  expect((await db.query('SELECT count(*) AS n, sum(a) AS s FROM t')).rows).toEqual([
    { n: 10, s: 0 },
  ]);
  await db.close();
  await killed.close();
});

test('a full disk refuses writes and serves reads; when it has room again, writes go on', async () => {
  const disk = new MemoryDisk();
  const db = await open({ disk, journal: { kind: 'file', dir: '/d' }, workers: 0 });
  await db.exec('CREATE TABLE t (a int PRIMARY KEY)');
  await db.insert('t', { a: 1 });
  const told: string[] = [];
  db.on('journal.refused', () => told.push('refused'));
  const resumed = new Promise<void>((resolve) => db.on('journal.resumed', () => resolve()));
  disk.failWith = (call) => (call === 'write' || call === 'create' ? 'ENOSPC' : undefined);
  await expect(db.insert('t', { a: 2 })).rejects.toMatchObject({ code: '53100', retryable: true });
  await expect(db.insert('t', { a: 3 })).rejects.toMatchObject({ code: '53100' });
  expect((await db.query('SELECT a FROM t')).rows).toEqual([{ a: 1 }]);
  expect(told).toEqual(['refused']);
  disk.failWith = () => undefined;
  await resumed;
  await db.insert('t', { a: 2 });
  await db.close();
  const again = await open({ disk, journal: { kind: 'file', dir: '/d' }, workers: 0 });
  expect((await again.query('SELECT a FROM t ORDER BY a')).rows).toEqual([{ a: 1 }, { a: 2 }]);
  await again.close();
});

test('a disk that fails ends writing for good, and reads go on', async () => {
  const disk = new MemoryDisk();
  const db = await open({ disk, journal: { kind: 'file', dir: '/d' }, workers: 0 });
  await db.exec('CREATE TABLE t (a int PRIMARY KEY)');
  disk.failWith = (call) => (call === 'sync' ? 'EIO' : undefined);
  await expect(db.insert('t', { a: 1 })).rejects.toMatchObject({ code: '58030' });
  disk.failWith = () => undefined;
  await expect(db.insert('t', { a: 2 })).rejects.toMatchObject({ code: '58030' });
  expect((await db.query('SELECT a FROM t')).rows).toEqual([]);
  await db.close();
});

test('a journal option that makes no sense says which', async () => {
  const bad = (journal: object): Promise<Database> => open({ journal: journal as never });
  await expect(bad({ kind: 'nats' })).rejects.toMatchObject({
    code: '0A000',
    field: 'journal.kind',
  });
  await expect(bad({ kind: 'file' })).rejects.toMatchObject({ field: 'journal.dir' });
  await expect(bad({ kind: 'file', dir, fsync: 'never' })).rejects.toMatchObject({
    field: 'journal.fsync',
  });
  await expect(bad({ kind: 'file', dir, fsyncMs: -1 })).rejects.toMatchObject({
    field: 'journal.fsyncMs',
  });
  await expect(bad({ kind: 'file', dir, path: 'x' })).rejects.toMatchObject({
    field: 'journal.path',
  });
  await expect(bad({ kind: 'file', dir: '/dev/null/x' })).rejects.toMatchObject({ code: '58030' });
});

test.each([
  ['by itself', (alter: string, rows: string) => [alter, rows]],
  ['in a transaction', (alter: string, rows: string) => [`BEGIN; ${rows}; ${alter}; COMMIT`]],
])('a view that commits take over from the clock lacks nothing: %s', async (_, statements) => {
  const disk = new MemoryDisk();
  const options = { disk, journal: { kind: 'file', dir: '/d' }, workers: 0 } as const;
  const view = 'SELECT g, n FROM w ORDER BY g';
  const query = 'SELECT g, count(*) AS n FROM t GROUP BY g ORDER BY g';
  const first = await open(options);
  await first.exec(`CREATE TABLE t (id int PRIMARY KEY, g text);
    INSERT INTO t VALUES (1, 'a');
    CREATE MATERIALIZED VIEW v WITH (refresh = '60min') AS SELECT g, count(*) AS n FROM t GROUP BY g;
    CREATE MATERIALIZED VIEW above WITH (refresh = '60min') AS SELECT sum(n) AS s FROM v;
    ALTER MATERIALIZED VIEW v RENAME TO w;
    INSERT INTO t VALUES (2, 'a'), (3, 'b')`);
  for (const statement of statements(
    "ALTER MATERIALIZED VIEW w SET (refresh = 'commit'); ALTER MATERIALIZED VIEW above SET (refresh = 'commit')",
    "INSERT INTO t VALUES (4, 'b'), (5, 'c')",
  ))
    await first.exec(statement);
  const wanted = (await first.query(query)).rows;
  expect(wanted).toEqual([
    { g: 'a', n: 2 },
    { g: 'b', n: 2 },
    { g: 'c', n: 1 },
  ]);
  expect((await first.query(view)).rows).toEqual(wanted);
  expect((await first.query('SELECT s FROM above')).rows).toEqual([{ s: '5' }]);
  disk.kill();
  const again = await open(options);
  expect((await again.query(view)).rows).toEqual(wanted);
  expect((await again.query('SELECT s FROM above')).rows).toEqual([{ s: '5' }]);
  await again.exec("INSERT INTO t VALUES (6, 'c')");
  expect((await again.query(view)).rows).toEqual((await again.query(query)).rows);
  await again.close();
  await first.close();
});
