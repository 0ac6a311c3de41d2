import { afterEach, expect, test } from 'vitest';
import { nodePorts } from '../../src/base/node-ports.ts';
import { open, type Clock, type Database } from '../../src/index.ts';
import type { Engine } from '../../src/actors/engine.ts';
import { HandClock } from './hand-clock.ts';
import { openEngine } from './test-engine.ts';

let db: Database;
afterEach(() => db.close());

test('a transaction that is forgotten gives its rows back after a minute, and cannot commit', async () => {
  const clock = new HandClock();
  db = await open({ clock, workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0)');
  const forgotten = db.session();
  await forgotten.exec('BEGIN');
  await forgotten.exec('UPDATE t SET n = 1 WHERE id = 1');
  const waiting = db.exec('UPDATE t SET n = n + 10 WHERE id = 1');
  clock.advance(59_000);
  expect((await db.query('SELECT n FROM t')).rows).toEqual([{ n: 0 }]);
  clock.advance(1_001);
  await waiting;
  expect((await db.query('SELECT n FROM t')).rows).toEqual([{ n: 10 }]);
  await expect(forgotten.exec('UPDATE t SET n = 2 WHERE id = 1')).rejects.toMatchObject({
    code: '25P03',
  });
  await forgotten.exec('ROLLBACK');
  await forgotten.exec('UPDATE t SET n = 3 WHERE id = 1');
  expect((await db.query('SELECT n FROM t')).rows).toEqual([{ n: 3 }]);
  await forgotten.close();
});

test('what a transaction waits for ends with it, and nothing is claimed for it afterwards', async () => {
  const clock = new HandClock();
  db = await open({ clock, workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)');
  const forgotten = db.session();
  await forgotten.exec('BEGIN; UPDATE t SET n = 1 WHERE id = 2');
  clock.advance(30_000);
  const holder = db.session();
  await holder.exec('BEGIN; UPDATE t SET n = 1 WHERE id = 1');
  const waits = expect(forgotten.exec('TRUNCATE t')).rejects.toMatchObject({ code: '25P03' });
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  clock.advance(30_001);
  await waits;
  await holder.exec('COMMIT');
  // Neither its rows nor its place in line hold anybody up, though nobody has rolled it back.
  await holder.exec('BEGIN; UPDATE t SET n = n + 1; COMMIT');
  expect((await db.query('SELECT sum(n) AS s FROM t')).rows).toEqual([{ s: 3 }]);
  await Promise.all([holder.close(), forgotten.close()]);
});

/** What a definition put others in the place of was forgotten by the commit, and stayed on the account: a whole table with each ALTER TABLE. */
test('a transaction gives back what it has rewritten more than once', async () => {
  let engine: Engine;
  ({ db, engine } = await openEngine());
  for (const text of [
    'UPDATE t SET n = 1; ALTER TABLE t ADD CHECK (n >= 0)',
    'ALTER TABLE t ADD CHECK (n >= 0); ALTER TABLE t ADD COLUMN m int',
    'UPDATE t SET n = 1; DROP TABLE t',
    'SAVEPOINT s; ALTER TABLE t ADD COLUMN m int; ROLLBACK TO s; DROP TABLE t',
  ]) {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0)');
    await db.exec(`BEGIN; ${text}; COMMIT`);
    await db.exec('DROP TABLE IF EXISTS t');
  }
  await db.close();
  expect(engine.memory.usedBytes).toBe(0);
});

test('up to 64 predicates a table are told apart; beyond, the whole table counts as read', async () => {
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TABLE o (id int PRIMARY KEY)');
  const reads = async (predicates: number, changed: number): Promise<string> => {
    const session = db.session();
    await session.exec('BEGIN ISOLATION LEVEL SERIALIZABLE');
    for (let id = 0; id < predicates; id += 1)
      await session.query(`SELECT n FROM t WHERE id = ${id}`);
    await session.exec(`INSERT INTO o VALUES (${predicates * 10_000 + changed})`);
    await db.insert('t', { id: changed, n: 0 });
    const outcome = await session.exec('COMMIT').then(
      () => 'committed',
      (cause: { code: string }) => cause.code,
    );
    await session.exec('ROLLBACK');
    await session.close();
    return outcome;
  };
  expect(await reads(64, 1_000)).toBe('committed');
  expect(await reads(64, 63)).toBe('40001');
  expect(await reads(65, 1_001)).toBe('40001');
});

test('a statement never reports 40001: rows that arrive while it runs are before or behind it', async () => {
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, n int)');
  await db.insert('t', {
    id: Int32Array.from({ length: 20_000 }, (_, id) => id),
    n: new Int32Array(20_000),
  });
  const updating = db.exec('UPDATE t SET n = n + 1 WHERE n >= 0');
  const arrivals: { readonly id: number; readonly position: number }[] = [];
  for (let id = 20_000; id < 20_200; id += 1)
    arrivals.push({ id, position: (await db.insert('t', { id, n: 0 })).position });
  const { position } = await updating;
  const shown = new Map(
    (await db.query('SELECT id, n FROM t WHERE id >= 20000')).rows.map(({ id, n }) => [id, n]),
  );
  for (const arrival of arrivals)
    expect(shown.get(arrival.id)).toBe(arrival.position < position ? 1 : 0);
  expect((await db.query('SELECT count(*) AS n FROM t WHERE n = 0')).rows).toEqual([
    { n: arrivals.filter((each) => each.position > position).length },
  ]);
});

test('what the version log has no room for is gone: subscribers begin anew, readers are told', async () => {
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, v bytea)');
  const rows = (round: number) =>
    Array.from({ length: 100 }, (_, id) => ({ id, v: new Uint8Array(10_000).fill(round) }));
  const first = await db.insert('t', rows(0));
  const reader = db.session();
  await reader.exec('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  expect((await reader.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: 100 }]);
  // Each round keeps the old and the new rows: two megabytes, and 64 fit.
  for (let round = 1; round <= 40; round += 1) await db.upsert('t', rows(round));
  await expect(reader.query('SELECT id, v FROM t')).rejects.toMatchObject({ code: '72000' });
  await reader.exec('ROLLBACK');
  await reader.close();
  await expect(db.query('SELECT id FROM t', { asOf: first.position })).rejects.toMatchObject({
    code: 'ADB_POSITION_GONE',
    position: first.position,
  });
  const changes = db.subscribe('t', { from: first.position })[Symbol.asyncIterator]();
  expect((await changes.next()).value).toMatchObject({ kind: 'reset' });
  expect((await changes.next()).value).toMatchObject({ kind: 'snapshot', more: false });
  await changes.return!();
});

test('a query that lets others have the thread keeps its place in its session', async () => {
  // It waited before it was in the queue: what was asked for after it came first.
  const { clock } = nodePorts();
  let readings = 0;
  const monotonicMs = (): number => clock.monotonicMs() + (readings += 1) * 10;
  db = await open({ clock: { ...bound(clock), monotonicMs }, workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0)');
  const session = db.session();
  const [, read, , after] = await Promise.all([
    session.exec('BEGIN; UPDATE t SET n = 1'),
    session.query('SELECT n FROM t'),
    session.exec('ROLLBACK'),
    session.query('SELECT n AS then FROM t'),
    session.close(),
  ]);
  expect([read.rows, after.rows]).toEqual([[{ n: 1 }], [{ then: 0 }]]);
});

function bound(clock: Clock): Clock {
  return {
    now: () => clock.now(),
    monotonicMs: () => clock.monotonicMs(),
    after: (delayMs, callback, holds) => clock.after(delayMs, callback, holds),
    soon: (callback) => clock.soon(callback),
    afterIo: (callback) => clock.afterIo(callback),
  };
}

test('SET lock_timeout and statement_timeout end what waits, or runs, for longer', async () => {
  // Both were taken and did nothing.
  const clock = new HandClock();
  db = await open({ clock, workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0)');
  const holder = db.session();
  await holder.exec('BEGIN; UPDATE t SET n = 1 WHERE id = 1');
  const session = db.session();
  const ended = async (text: string, afterMs: number): Promise<unknown> => {
    const waiting = session.exec(text).then(
      () => 'no error',
      (cause: unknown) => (cause as { code: string }).code,
    );
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    clock.advance(afterMs);
    const code = await waiting;
    if (session.status === 'failed') await session.exec('ROLLBACK');
    return code;
  };
  await session.exec("SET lock_timeout = '2s'");
  expect((await session.query('SHOW lock_timeout')).rows).toEqual([{ lock_timeout: '2s' }]);
  for (const text of [
    'UPDATE t SET n = 2 WHERE id = 1',
    'BEGIN; SELECT * FROM t WHERE id = 1 FOR UPDATE; COMMIT',
    'ALTER TABLE t ADD COLUMN m int',
    'TRUNCATE t',
  ])
    expect(await ended(text, 2000), text).toBe('55P03');
  const verb = expect(session.upsert('t', { id: 1, n: 3 })).rejects.toMatchObject({
    code: '55P03',
  });
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  clock.advance(2000);
  await verb;
  await session.exec('SET lock_timeout = 0; SET statement_timeout = 1500');
  expect((await session.query('SHOW statement_timeout')).rows).toEqual([
    { statement_timeout: '1500ms' },
  ]);
  expect(await ended('UPDATE t SET n = 2 WHERE id = 1', 1500)).toBe('57014');
  await expect(session.exec("SET statement_timeout = 'soon'")).rejects.toMatchObject({
    code: '22023',
    hint: expect.stringContaining("SET statement_timeout = '30s'") as string,
  });
  // It was told which units there are.
  for (const wrong of ['-5', "'-5 s'"])
    await expect(session.exec(`SET lock_timeout = ${wrong}`)).rejects.toMatchObject({
      code: '22023',
      hint: 'It may be 0, which is no limit, to 2147483647 ms.',
    });
  await session.exec('RESET statement_timeout');
  const last = session.exec('UPDATE t SET n = 2 WHERE id = 1');
  clock.advance(30_000);
  await holder.exec('COMMIT');
  await last;
  await Promise.all([holder.close(), session.close()]);
});

test('SET statement_timeout ends a query that runs', async () => {
  db = await open({ workers: 0 });
  const session = db.session();
  await session.exec('SET statement_timeout = 5');
  await expect(
    session.query('SELECT count(*) FROM generate_series(1, 1000000000)'),
  ).rejects.toMatchObject({ code: '57014' });
  await session.close();
});

test('a transaction whose function waits for itself by another door is told so when a time is up', async () => {
  const clock = new HandClock();
  db = await open({ clock, workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0)');
  const insideOf = async (outside: () => Promise<unknown>): Promise<unknown> =>
    db.transaction(async (tx) => {
      await tx.exec('UPDATE t SET n = 1 WHERE id = 1');
      const asked = outside();
      asked.catch(() => undefined);
      for (let waited = 0; waited < 61_000; waited += 500) {
        await new Promise((resolve) => setImmediate(resolve));
        clock.advance(500);
      }
      return asked;
    });
  const sentence = expect.stringContaining('ask with tx');
  const update = 'UPDATE t SET n = 2 WHERE id = 1';
  await expect(insideOf(() => db.exec(update, { timeoutMs: 1_000 }))).rejects.toMatchObject({
    code: '57014',
    hint: sentence,
  });
  const impatient = db.session();
  await impatient.exec("SET lock_timeout = '1s'");
  await expect(insideOf(() => impatient.exec(update))).rejects.toMatchObject({
    code: '55P03',
    hint: sentence,
  });
  await expect(insideOf(() => db.exec(update))).rejects.toMatchObject({
    code: '25P03',
    hint: sentence,
  });
  // It was given up, and what it had changed was free for the other.
  expect((await db.query('SELECT n FROM t')).rows).toEqual([{ n: 2 }]);
  await impatient.close();
});
