import { afterEach, expect, test } from 'vitest';
import { DbError, sql, type Database } from '../../src/index.ts';
import { open } from '../../src/open.ts';

let db: Database;
afterEach(() => db?.close());

async function code(action: Promise<unknown>): Promise<string> {
  try {
    await action;
    return 'no error';
  } catch (cause) {
    expect(cause).toBeInstanceOf(DbError);
    return (cause as DbError).code;
  }
}

test('rows go in as objects or columns and come out typed by their column', async () => {
  db = await open();
  await db.exec(
    `CREATE TABLE orders (id bigint PRIMARY KEY, ts timestamptz, region text, amount double precision, price numeric(12,2), paid boolean DEFAULT false)`,
  );
  expect(
    await db.insert('orders', [
      { id: 1, ts: '2026-01-01T00:00:00.000123Z', region: 'EU', amount: 1.5, price: '10.25' },
      { id: 2, ts: new Date(0), region: null, amount: 0.1, price: 3 },
    ]),
  ).toEqual({ position: 2, rows: 2 });
  await db.insert('orders', {
    id: Float64Array.of(3, 4),
    amount: Float64Array.of(1, 2),
    region: ['a', 'b'],
  });
  const { rows, columns, meta } = await db.query('SELECT * FROM orders ORDER BY id');
  expect(rows.slice(0, 2)).toEqual([
    {
      id: 1,
      ts: '2026-01-01T00:00:00.000123Z',
      region: 'EU',
      amount: 1.5,
      price: '10.25',
      paid: false,
    },
    { id: 2, ts: '1970-01-01T00:00:00Z', region: null, amount: 0.1, price: '3.00', paid: false },
  ]);
  expect(columns[4]).toEqual({ name: 'price', type: 'numeric(12,2)', nullable: true });
  expect(meta).toMatchObject({
    position: 3,
    source: 'scan',
    guarantee: 'exact',
    sources: [{ kind: 'table', name: 'orders' }],
  });
});

test('the sql tag binds values as parameters and never splices them', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (a int, b text)');
  const text = `'); DROP TABLE t; --`;
  await db.query(sql`INSERT INTO t VALUES (${1}, ${text})`);
  const only = sql`b = ${text}`;
  expect(
    (await db.query(sql`SELECT a, b FROM ${sql.id('t')} WHERE ${only} AND a = ${1}`)).rows,
  ).toEqual([{ a: 1, b: text }]);
});

test('bad input is a typed error that names the fix, and changes nothing', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL CHECK (n > 0), s varchar(3))');
  await db.insert('t', { id: 1, n: 1 });
  const before = db.position;
  expect(await code(db.insert('t', { id: 1, n: 2 }))).toBe('23505');
  expect(
    await code(
      db.insert('t', [
        { id: 2, n: 2 },
        { id: 2, n: 3 },
      ]),
    ),
  ).toBe('23505');
  expect(await code(db.insert('t', { id: 2 }))).toBe('23502');
  expect(await code(db.insert('t', { id: 2, n: -1 }))).toBe('23514');
  expect(await code(db.insert('t', { id: 2, n: 1.5 }))).toBe('22023');
  expect(await code(db.insert('t', { id: Number.NaN, n: 1 }))).toBe('22023');
  expect(await code(db.insert('t', { id: 2 ** 40, n: 1 }))).toBe('22003');
  expect(await code(db.insert('t', { id: 2, n: 1, s: 'abcd' }))).toBe('22001');
  expect(await code(db.insert('t', { id: 2, n: 1, s: 'a\0b' }))).toBe('22021');
  expect(await code(db.insert('t', { id: 2, n: 1, s: '\ud800' }))).toBe('22021');
  expect(await code(db.insert('t', { id: 2, n: 1, x: 1 }))).toBe('42703');
  expect(await code(db.insert('nope', { id: 2 }))).toBe('42P01');
  expect(await code(db.query('SELECT nope FROM t'))).toBe('42703');
  expect(await code(db.query('SELECT 1/0'))).toBe('22012');
  expect(await code(db.query(`SELECT ${'('.repeat(10_000)}1${')'.repeat(10_000)}`))).toMatch(
    /^(54001|no error|42601)$/,
  );
  expect(await code(db.delete('t', {}))).toBe('22023');
  expect(db.position).toBe(before);
  expect((await db.query('SELECT * FROM t')).rows).toEqual([{ id: 1, n: 1, s: null }]);
});

test('upsert replaces the columns given by primary key, delete takes keys', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, a int, b int DEFAULT 7)');
  await db.upsert('t', [
    { id: 1, a: 1 },
    { id: 2, a: 2 },
  ]);
  await db.upsert('t', [
    { id: 2, a: 3 },
    { id: 3, a: 4, b: 5 },
  ]);
  expect((await db.query('SELECT * FROM t ORDER BY id')).rows).toEqual([
    { id: 1, a: 1, b: 7 },
    { id: 2, a: 3, b: 7 },
    { id: 3, a: 4, b: 5 },
  ]);
  expect((await db.delete('t', { id: [1, 3, 9] })).rows).toBe(2);
  expect((await db.query('SELECT id FROM t')).rows).toEqual([{ id: 2 }]);
});

test('delete takes keys as typed arrays, too', async () => {
  db = await open();
  await db.exec(
    'CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE pairs (a int, b bigint, PRIMARY KEY (a, b)); CREATE TABLE blobs (id bytea PRIMARY KEY)',
  );
  await db.insert('t', { id: Int32Array.from({ length: 5_000 }, (_, id) => id) });
  const odd = Float64Array.from({ length: 2_500 }, (_, at) => 2 * at + 1);
  expect((await db.delete('t', { id: odd })).rows).toBe(2_500);
  expect((await db.delete('t', { id: Int32Array.of(0, 2, 2, 3, -1) })).rows).toBe(2);
  expect((await db.delete('t', { id: new Int32Array(0) })).rows).toBe(0);
  expect(await code(db.delete('t', { id: Float64Array.of(4, 4.5) }))).toBe('22023');
  expect(await code(db.delete('t', { id: Float64Array.of(4, NaN) }))).toBe('22023');
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: 2_498 }]);
  await db.insert('pairs', { a: [1, 1, 2], b: [1, 2, 2] });
  const pairs = { a: Int32Array.of(1, 2), b: [2, 2] };
  expect((await db.delete('pairs', pairs)).rows).toBe(2);
  expect(await code(db.delete('pairs', { a: Int32Array.of(1), b: 1 }))).toBe('22023');
  expect(await code(db.delete('pairs', { a: Int32Array.of(1, 2), b: [1] }))).toBe('22023');
  expect((await db.query('SELECT * FROM pairs')).rows).toEqual([{ a: 1, b: 1 }]);
  // Bytes are one key of bytea.
  await db.insert('blobs', [{ id: Uint8Array.of(1, 2) }, { id: Uint8Array.of(3) }]);
  expect((await db.delete('blobs', { id: Uint8Array.of(1, 2) })).rows).toBe(1);
});

test('a write with an idempotency key is done once', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (a int)');
  const first = await db.insert('t', { a: 1 }, { idempotencyKey: 'k' });
  expect(await db.insert('t', { a: 1 }, { idempotencyKey: 'k' })).toEqual(first);
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: 1 }]);
});

test('a query obeys its signal and its time limit', async () => {
  db = await open();
  const long = 'SELECT count(*) FROM generate_series(1, 3000000) a, generate_series(1, 1000) b';
  expect(await code(db.query(long, { timeoutMs: 20 }))).toBe('57014');
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 10);
  const failure = await db
    .query(long, { signal: abort.signal })
    .catch((cause: unknown) => cause as DbError);
  expect(failure).toMatchObject({ code: '57014', name: 'AbortError' });
});

test('a stream is pulled and ends when its reader leaves', async () => {
  db = await open();
  let rows = 0;
  for await (const batch of db.stream<{ n: number }>(
    'SELECT generate_series AS n FROM generate_series(1, 100000)',
  )) {
    rows += batch.rows.length;
    if (rows > 10_000) break;
  }
  expect(rows).toBeLessThan(20_000);
  expect(await db.queries.list()).toEqual([]);
});

test('a stream of many batches comes to its end, whatever the pace of its reader', async () => {
  // A query that had been paused stopped for good when its next step needed more than its budget.
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t AS SELECT x FROM generate_series(1, 200000) AS g(x)');
  for (const pauses of [0, 1, 3]) {
    let rows = 0;
    for await (const batch of db.stream('SELECT * FROM t')) {
      rows += batch.rowCount;
      for (let pause = 0; pause < pauses; pause += 1)
        await new Promise((resolve) => setImmediate(resolve));
    }
    expect(rows).toBe(200_000);
  }
});

test('asOf reads the rows of an earlier position', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, a int)');
  const { position } = await db.insert('t', [
    { id: 1, a: 1 },
    { id: 2, a: 2 },
  ]);
  await db.exec('UPDATE t SET a = 10 WHERE id = 1');
  await db.exec('DELETE FROM t WHERE id = 2');
  expect((await db.query('SELECT * FROM t ORDER BY id', { asOf: position })).rows).toEqual([
    { id: 1, a: 1 },
    { id: 2, a: 2 },
  ]);
  expect((await db.query('SELECT * FROM t')).rows).toEqual([{ id: 1, a: 10 }]);
});

test('several statements of one text are one transaction', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (a int NOT NULL)');
  expect(await code(db.exec('INSERT INTO t VALUES (1); INSERT INTO t VALUES (NULL)'))).toBe(
    '23502',
  );
  expect((await db.query('SELECT * FROM t')).rows).toEqual([]);
});

test('a memory limit refuses what does not fit and keeps what is there', async () => {
  db = await open({ memory: '24 MB', journal: { kind: 'memory', keep: '1 MB' } });
  await db.exec('CREATE TABLE t (id bigint PRIMARY KEY, x double precision)');
  let failure = 'no error';
  let rows = 0;
  for (let start = 0; start < 4_000_000 && failure === 'no error'; start += 50_000) {
    const id = Float64Array.from({ length: 50_000 }, (_, row) => start + row);
    failure = await code(db.insert('t', { id, x: id }));
    if (failure === 'no error') rows += 50_000;
  }
  expect(failure).toBe('53200');
  expect(rows).toBeGreaterThan(100_000);
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: rows }]);
});

test('db.queries shows what runs, to its own tenant, and ends it', async () => {
  db = await open();
  const long = 'SELECT count(*) FROM generate_series(1, 3000000) a, generate_series(1, 1000) b';
  const running = code(db.query(long, { label: 'panel 7', priority: 'batch' }));
  let shown = await db.queries.list();
  while (shown[0]?.work === undefined || shown[0].work === 0) {
    await new Promise((resolve) => setImmediate(resolve));
    shown = await db.queries.list();
  }
  expect(shown).toMatchObject([
    { text: long, label: 'panel 7', priority: 'batch', tenant: 'main', state: 'running', rows: 0 },
  ]);
  const { id } = shown[0]!;
  expect((await db.queries.get(id)).work).toBeGreaterThan(0);
  const other = db.as({ tenant: 'acme' });
  expect(await other.queries.list()).toEqual([]);
  expect(await code(other.queries.cancel(id))).toBe('42704');
  await db.queries.cancel(id);
  expect(await running).toBe('57014');
  expect(await code(db.queries.get(id))).toBe('42704');
  expect(await db.queries.list()).toEqual([]);
});
