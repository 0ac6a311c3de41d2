import { afterEach, expect, test } from 'vitest';
import { open, type Database } from '../../src/index.ts';

let db: Database;
afterEach(() => db.close());

async function fill(): Promise<number> {
  for (let from = 0; ; from += 5000) {
    const id = Int32Array.from({ length: 5000 }, (_, index) => from + index);
    const note = Array.from(id, (each) => `note number ${each}`);
    try {
      await db.insert('t', { id, g: Array.from(id, (each) => `g${each % 100}`), note });
    } catch (cause) {
      expect(cause).toMatchObject({ code: '53200', limit: 'memory' });
      return from;
    }
  }
}

test('a database that is full refuses rows, still reads and deletes, and takes rows again afterwards', async () => {
  db = await open({ memory: '8 MB', workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, g text, note text)');
  await db.exec('CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS c FROM t GROUP BY g');
  const count = await fill();
  expect((await db.query('SELECT count(*) AS c FROM t')).rows).toEqual([{ c: count }]);
  expect((await db.query('SELECT sum(c) AS c FROM v')).rows).toEqual([{ c: String(count) }]);
  for (let from = 0; from < count; from += 2000)
    await db.exec(`DELETE FROM t WHERE id >= ${from} AND id < ${from + 2000}`);
  expect((await db.query('SELECT count(*) AS c FROM t')).rows).toEqual([{ c: 0 }]);
  expect((await db.query('SELECT * FROM v')).rows).toEqual([]);
  for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  await db.insert('t', { id: 1, g: 'again', note: 'x' });
  expect((await db.query('SELECT * FROM v')).rows).toEqual([{ g: 'again', c: 1 }]);
});

test('metrics tell what the journal in memory holds, and not what it may', async () => {
  // An empty database said that it held 67 MB.
  db = await open({ workers: 0 });
  expect(db.metrics.snapshot().memoryBytes).toBeLessThan(2 ** 20);
  await db.exec('CREATE TABLE t (a text)');
  await db.insert('t', { a: 'x'.repeat(1 << 20) });
  expect(db.metrics.snapshot().memoryBytes).toBeGreaterThan(2 ** 20);
  expect(db.metrics.snapshot().memoryBytes).toBeLessThan(2 ** 22);
});

// Deletes were refused for want of a table of all texts, and then history and dead texts were in the way of every row.
test('a database that was filled with texts of which each is a group is emptied, and takes rows again', async () => {
  db = await open({ memory: '16 MB', workers: 0, journal: { kind: 'memory', keep: '1 MB' } });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, g text)');
  await db.exec('CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS c FROM t GROUP BY g');
  const fillWith = async (what: string): Promise<number> => {
    for (let from = 0; ; from += 2000) {
      const id = Int32Array.from({ length: 2000 }, (_, index) => from + index);
      try {
        await db.insert('t', { id, g: Array.from(id, (each) => `${what} number ${each}`) });
      } catch (cause) {
        expect(cause).toMatchObject({ code: '53200' });
        return from;
      }
    }
  };
  const count = await fillWith('text');
  expect(count).toBeGreaterThan(20_000);
  for (let from = 0; from < count; from += 1000)
    await db.exec('DELETE FROM t WHERE id >= $1 AND id < $2', { params: [from, from + 1000] });
  for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect((await db.query('SELECT * FROM v')).rows).toEqual([]);
  expect(await fillWith('other')).toBeGreaterThan(count / 4);
});

test('large writes that wait for their turn hold memory of the database, and are refused where that is used up', async () => {
  db = await open({ memory: '16 MB', workers: 0, journal: { kind: 'memory', keep: '64 KB' } });
  await db.exec(
    'CREATE TABLE t (a double precision, b double precision); CREATE TABLE small (a int)',
  );
  const a = new Float64Array(10_000).fill(1);
  const settle = async (calls: readonly Promise<unknown>[]): Promise<number> => {
    let done = 0;
    for (const each of await Promise.allSettled(calls))
      if (each.status === 'fulfilled') done += 1;
      else
        expect(each.reason).toMatchObject({
          code: '53200',
          limit: 'memory',
          retryAfterMs: 1000,
          hint: expect.stringContaining('await a write') as string,
        });
    return done;
  };
  const before = db.metrics.snapshot().memoryBytes!;
  // 160 KB each: of three hundred that come at once those wait that a quarter of the memory holds. A small one is none of them.
  const settled = settle(Array.from({ length: 300 }, () => db.insert('t', { a, b: a })));
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, db.metrics.snapshot().memoryBytes! - before);
  }, 1);
  await db.insert('small', { a: 1 });
  const done = await settled;
  clearInterval(watch);
  expect(done).toBeGreaterThan(20);
  expect(done).toBeLessThan(120);
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: done * 10_000 }]);
  await db.exec('TRUNCATE t');
  const csv = Buffer.from(`a,b\n${'1,1\n'.repeat(10_000)}`);
  const load = (): Promise<unknown> => db.load('t', csv, { format: 'csv', atomic: true });
  expect(await settle(Array.from({ length: 300 }, load))).toBeLessThan(120);
  // One alone goes on, however large.
  await db.close();
  db = await open({ memory: '16 MB', workers: 0, journal: { kind: 'memory', keep: '64 KB' } });
  await db.exec('CREATE TABLE t (a double precision, b double precision)');
  const large = new Float64Array(300_000).fill(1);
  await db.insert('t', { a: large, b: large });
  expect(most).toBeLessThan(2 ** 24);
});

// What was read at once was not counted: 1,200 inserts of 2,000 rows with a text held 1.2 GB beside a limit of 64 MB.
// Their mailbox counts messages, of which each has up to 256 rows: of any length, until they were counted.
test('of small writes with long texts those wait that have room', async () => {
  db = await open({ memory: '32 MB', workers: 0, journal: { kind: 'memory', keep: '64 KB' } });
  await db.exec('CREATE TABLE t (id int, v text)');
  const insert = (id: number): Promise<unknown> =>
    db.insert('t', { id, v: `${'x'.repeat(100_000)}${id}` });
  // Two bytes a character: a quarter of the memory holds forty, and the sixteen before them are not looked at.
  const outcomes = await Promise.allSettled(Array.from({ length: 300 }, (_, id) => insert(id)));
  const refused = outcomes.filter(({ status }) => status === 'rejected');
  expect(refused.length).toBeGreaterThan(200);
  expect(refused.length).toBeLessThan(260);
  expect(refused[0]).toMatchObject({ reason: { code: '53200', limit: 'memory' } });
  await db.exec('TRUNCATE t');
  // Nobody waits any more.
  const few = await Promise.allSettled(Array.from({ length: 40 }, (_, id) => insert(id)));
  expect(few.filter(({ status }) => status === 'rejected')).toEqual([]);
  // Short ones are as many as ever.
  await Promise.all(Array.from({ length: 5_000 }, (_, id) => db.insert('t', { id, v: 'short' })));
});

test('writes of some hundred rows that wait for their turn are counted as larger ones are', async () => {
  db = await open({ memory: '16 MB', workers: 0, journal: { kind: 'memory', keep: '64 KB' } });
  await db.exec('CREATE TABLE t (a double precision, b double precision)');
  const a = new Float64Array(2_000).fill(1);
  // 32 KB each, of which a quarter of the memory holds 128.
  const calls = Array.from({ length: 600 }, () => db.insert('t', { a, b: a }));
  const outcomes = await Promise.allSettled(calls);
  const refused = outcomes.filter(({ status }) => status === 'rejected');
  expect(refused.length).toBeGreaterThan(400);
  expect(refused.length).toBeLessThan(500);
  expect(refused[0]).toMatchObject({ reason: { code: '53200', limit: 'memory' } });
  const done = outcomes.length - refused.length;
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: done * 2_000 }]);
  // Nobody waits any more.
  await db.insert('t', { a, b: a });
  await Promise.all(Array.from({ length: 50 }, () => db.insert('t', { a, b: a })));
});

test.each([
  ['SELECT i, i::text AS note FROM generate_series(1, 10000000) g(i)', 'db.stream'],
  ['SELECT a.i, b.note FROM t a, t b, t c', 'db.stream'],
  ['CREATE TABLE copy AS SELECT i FROM generate_series(1, 10000000) g(i)', 'at once'],
  [
    'INSERT INTO t SELECT a.i + 500 * g.i, 0, a.note FROM t a, generate_series(1, 100000) g(i)',
    'at once',
  ],
  ["INSERT INTO t SELECT i + 1000, 0, 'x' FROM generate_series(1, 100000) g(i) RETURNING *", ''],
])('rows that do not fit are refused before they are made, and let go: %s', async (text, hint) => {
  db = await open({ memory: '6 MB', workers: 0, journal: { kind: 'memory', keep: '64 KB' } });
  await db.exec('CREATE TABLE t (i int PRIMARY KEY, g int, note text)');
  await db.exec(`INSERT INTO t SELECT i, i, 'note ' || i FROM generate_series(1, 500) g(i)`);
  const held: (number | undefined)[] = [];
  for (let time = 0; time < 3; time += 1) {
    const refused = await db.query(text).catch((cause: unknown) => cause);
    expect(refused).toMatchObject({ code: '53200', limit: 'memory' });
    expect((refused as { hint: string }).hint).toContain(hint);
    held.push(db.metrics.snapshot().memoryBytes);
  }
  expect(held[2]).toBe(held[1]);
  expect((await db.query('SELECT count(*) AS c FROM t')).rows).toEqual([{ c: 500 }]);
  let streamed = 0;
  for await (const { rows } of db.stream('SELECT i, i::text FROM generate_series(1, 200000) g(i)'))
    streamed += rows.length;
  expect(streamed).toBe(200_000);
});
