/**
 * Between the staging of a definition and its acknowledgement the catalog shows the table it has made, which has no rows for readers yet. Whatever
 * reads waits until it has: who had looked the table up already, or did not look whether something is on its way, read nothing and said so.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Database } from '../../src/index.ts';
import { LateLog } from './late-log.ts';
import { openEngine } from './test-engine.ts';

let log: LateLog;
let db: Database;
beforeEach(async () => {
  log = new LateLog();
  ({ db } = await openEngine({ log: () => log }));
  await db.exec(`CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL, v int NOT NULL);
    CREATE TABLE u (id int PRIMARY KEY, v int NOT NULL);
    INSERT INTO t VALUES (1, '2024-01-01T10:00:00Z', 1), (2, '2024-01-01T10:00:30Z', 2);
    INSERT INTO u VALUES (1, 0), (2, 0)`);
  await db.exec(
    "CREATE MATERIALIZED VIEW by_time WITH (refresh = '60min') AS SELECT count(*)::int AS n FROM t",
  );
});
afterEach(async () => {
  log.held = false;
  log.acknowledge();
  await db.close();
});

const turns = async (count = 20): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

/** Stages a definition that makes `t` anew, and does not acknowledge it. */
async function onItsWay(
  text = 'BEGIN; ALTER TABLE t ADD CHECK (v >= 0); COMMIT',
): Promise<{ readonly acknowledge: () => Promise<void> }> {
  log.held = true;
  const session = db.session();
  const altering = session.exec(text);
  altering.catch(() => undefined);
  while (log.waiting === 0) await turns(1);
  return {
    acknowledge: async () => {
      log.held = false;
      log.acknowledge();
      await altering;
      await session.close();
    },
  };
}

const WINDOW = {
  range: ['2024-01-01T10:00:00Z', '2024-01-01T10:01:00Z'],
  time: 'at',
  measures: { n: 'count(*)' },
} as const;
const count = 'SELECT count(*)::int AS n FROM t';

const first = async <Item>(items: AsyncIterable<Item>): Promise<Item> => {
  for await (const item of items) return item;
  throw new Error('there is none');
};

const lastOf = async (
  answer: AsyncIterable<{ readonly rows: readonly unknown[] }>,
): Promise<number> => {
  let rows = 0;
  for await (const state of answer) rows = state.rows.length;
  return rows;
};

const readers: readonly (readonly [string, (db: Database) => Promise<unknown>])[] = [
  ['SELECT', async () => (await db.query(count)).rows[0]!.n],
  ['a view', async () => (await db.query(`SELECT n FROM (${count}) AS x`)).rows[0]!.n],
  [
    'EXECUTE',
    async () => {
      const session = db.session();
      await session.exec(`PREPARE p AS ${count}`);
      const { rows } = await session.query('EXECUTE p');
      await session.close();
      return rows[0]!.n;
    },
  ],
  [
    'EXPLAIN ANALYZE',
    async () => {
      const { rows } = await db.query('EXPLAIN ANALYZE SELECT * FROM t');
      return Number(/Rows: (\d+)/.exec(JSON.stringify(rows))![1]);
    },
  ],
  ['stream', async () => (await first(db.stream<{ n: number }>(count))).rows[0]!.n],
  [
    'export',
    async () => {
      const dir = mkdtempSync(join(tmpdir(), 'adb-'));
      await db.export('t', join(dir, 't.csv'), { format: 'csv' });
      const lines = readFileSync(join(dir, 't.csv'), 'utf8').trim().split('\n').length - 1;
      rmSync(dir, { recursive: true });
      return lines;
    },
  ],
  ['INSERT … SELECT', async () => (await db.exec('INSERT INTO u SELECT id + 10, v FROM t')).rows],
  ['CREATE TABLE AS', async () => (await db.exec('CREATE TABLE c AS SELECT * FROM t')).rows],
  [
    'SELECT INTO',
    async () => {
      await db.exec('SELECT * INTO c FROM t');
      return (await db.query('SELECT count(*)::int AS n FROM c')).rows[0]!.n;
    },
  ],
  [
    'CREATE MATERIALIZED VIEW',
    async () => {
      await db.exec(`CREATE MATERIALIZED VIEW m AS ${count}`);
      return (await db.query('SELECT n FROM m')).rows[0]!.n;
    },
  ],
  [
    'CREATE MATERIALIZED VIEW in a transaction',
    async () => {
      await db.exec(`BEGIN; CREATE MATERIALIZED VIEW m AS ${count}; COMMIT`);
      return (await db.query('SELECT n FROM m')).rows[0]!.n;
    },
  ],
  [
    'REFRESH MATERIALIZED VIEW',
    async () => {
      await db.exec('REFRESH MATERIALIZED VIEW by_time');
      return (await db.query('SELECT n FROM by_time')).rows[0]!.n;
    },
  ],
  [
    'WITH a change',
    async () =>
      (await db.query('WITH d AS (DELETE FROM t RETURNING id) SELECT count(*)::int AS n FROM d'))
        .rows[0]!.n,
  ],
  [
    'a change beside WITH',
    async () =>
      (
        await db.query(
          'WITH i AS (INSERT INTO u VALUES (9, 9) RETURNING id) SELECT count(*)::int AS n FROM t, i',
        )
      ).rows[0]!.n,
  ],
  [
    'what a change has left, in WITH',
    async () =>
      (
        await db.query(
          'WITH x AS (UPDATE t SET v = v + 1 RETURNING id) SELECT (SELECT count(*)::int FROM t) AS n FROM x LIMIT 1',
        )
      ).rows[0]!.n,
  ],
  ['UPDATE', async () => (await db.exec('UPDATE t SET v = v + 1')).rows],
  [
    'UPDATE FROM',
    async () => (await db.exec('UPDATE u SET v = t.v FROM t WHERE t.id = u.id')).rows,
  ],
  ['DELETE', async () => (await db.exec('DELETE FROM t')).rows],
  [
    'ON CONFLICT',
    async () => {
      await db.exec(
        'INSERT INTO t VALUES (1, now(), 7), (2, now(), 7) ON CONFLICT (id) DO UPDATE SET v = 7',
      );
      return (await db.query('SELECT count(*)::int AS n FROM t WHERE v = 7')).rows[0]!.n;
    },
  ],
  ['delete by key', async () => (await db.delete('t', { id: [1, 2] })).rows],
  [
    'delete by key in a transaction',
    async () =>
      (
        await db.transaction(async (tx) => (await tx.delete('t', { id: [1, 2] })).rows, {
          retries: 3,
        })
      ).value,
  ],
  [
    'delete by key at READ COMMITTED',
    async () => {
      const session = db.session();
      await session.exec('BEGIN');
      const { rows } = await session.delete('t', { id: [1, 2] });
      await session.exec('COMMIT');
      await session.close();
      return rows;
    },
  ],
  [
    'upsert in a transaction',
    async () => {
      await db.transaction((tx) => tx.upsert('t', { id: [1, 2], v: [7, 7] }), { retries: 3 });
      return (await db.query("SELECT count(*)::int AS n FROM t WHERE v = 7 AND at < '2025-01-01'"))
        .rows[0]!.n;
    },
  ],
  [
    'FOR UPDATE',
    async () => {
      const session = db.session();
      await session.exec('BEGIN');
      const { rows } = await session.query('SELECT id FROM t FOR UPDATE');
      await session.close();
      return rows.length;
    },
  ],
  [
    'FOR UPDATE of two tables',
    async () => {
      const session = db.session();
      await session.exec('BEGIN');
      const { rows } = await session.query('SELECT t.id FROM t JOIN u ON t.id = u.id FOR UPDATE');
      await session.close();
      return rows.length;
    },
  ],
  [
    'a transaction',
    async () =>
      (await db.transaction(async (tx) => (await tx.query(count)).rows[0]!.n, { retries: 3 }))
        .value,
  ],
  ['window', async () => (await db.window('t', WINDOW)).rows[0]!.values.n],
  [
    'window in a session',
    async () => {
      const session = db.session();
      const { rows } = await session.window('t', WINDOW);
      await session.close();
      return rows[0]!.values.n;
    },
  ],
  [
    'window that follows',
    async () => {
      const change = await first(db.subscribe({ window: { table: 't', ...WINDOW } }));
      return change.kind === 'snapshot' ? change.rows[0]!.values.n : change;
    },
  ],
  [
    'progressive',
    async () => await lastOf(db.progressive(`SELECT v, count(*) AS n FROM t GROUP BY v`)),
  ],
  [
    'subscribe by name',
    async () => {
      const change = await first(db.subscribe('t'));
      return change.kind === 'snapshot' ? change.rows.length : change;
    },
  ],
  [
    'subscribe to a query',
    async () => {
      const change = await first(db.subscribe(count));
      return change.kind === 'snapshot' ? change.rows[0]!['n'] : change;
    },
  ],
];

test.each(readers)('%s waits for a definition that is on its way', async (_, read) => {
  const definition = await onItsWay();
  let answer: unknown;
  const reading = read(db).then((read) => (answer = read));
  reading.catch(() => undefined);
  await turns();
  expect(answer).toBeUndefined();
  await definition.acknowledge();
  await reading;
  expect(answer).toEqual(2);
});

test('a view that is refreshed by hand takes in what was there before its table was made anew', async () => {
  await db.insert('t', { id: 3, at: '2024-01-01T11:00:00Z', v: 3 });
  const definition = await onItsWay();
  const refreshed = db.exec('REFRESH MATERIALIZED VIEW by_time');
  await turns();
  await definition.acknowledge();
  await refreshed;
  expect((await db.query('SELECT n FROM by_time')).rows).toEqual([{ n: 3 }]);
});

test('who has subscribed before, and begins to read meanwhile, is told of all rows', async () => {
  const subscription = db.subscribe('t');
  await subscription.columns;
  const definition = await onItsWay();
  let rows: number | undefined;
  const told = first(subscription).then((change) => {
    rows = change.kind === 'snapshot' ? change.rows.length : -1;
  });
  await turns();
  expect(rows).toBeUndefined();
  await definition.acknowledge();
  await told;
  expect(rows).toBe(2);
});

test('who waits for a definition that cannot be journaled reads what there was', async () => {
  await onItsWay();
  const subscription = db.subscribe('t');
  const answers = Promise.all([
    db.query<{ n: number }>(count).then(({ rows }) => rows[0]!.n),
    db.window('t', WINDOW).then(({ rows }) => rows[0]!.values.n),
    first(subscription).then((change) => change.kind === 'snapshot' && change.rows.length),
  ]);
  await turns();
  log.fail();
  expect(await answers).toEqual([2, 2, 2]);
});

test('who waits for a definition may give up', async () => {
  await onItsWay();
  const session = db.session();
  await session.exec("SET statement_timeout = '30ms'");
  await expect(session.query(count)).rejects.toMatchObject({ code: '57014' });
  for (const read of [
    () => db.query(count, { timeoutMs: 30 }),
    () => db.window('t', WINDOW, { timeoutMs: 30 }),
    () => first(db.subscribe('t', { timeoutMs: 30 })),
    () => lastOf(db.progressive(count, { timeoutMs: 30 })),
    () => db.exec('CREATE TABLE c AS SELECT * FROM t', { timeoutMs: 30 }),
  ])
    await expect(read()).rejects.toMatchObject({ code: '57014' });
});

/** The plan that was made of the table before named its columns by their old places. */
test.each([
  ['FOR UPDATE', 'SELECT v FROM t WHERE id = 2 FOR UPDATE'],
  ['FOR UPDATE of two tables', 'SELECT t.v FROM t JOIN u ON u.id = t.id WHERE t.id = 2 FOR UPDATE'],
  ['UPDATE', 'UPDATE t SET v = v WHERE id = 2 RETURNING v'],
  ['UPDATE FROM', 'UPDATE u SET v = t.v FROM t WHERE t.id = u.id AND u.id = 2 RETURNING u.v'],
  [
    'UPDATE with a subquery',
    'UPDATE u SET v = (SELECT v FROM t WHERE id = u.id) WHERE id = 2 RETURNING v',
  ],
  [
    'WITH',
    'WITH i AS (INSERT INTO u VALUES (7, 7)) UPDATE u SET v = t.v FROM t WHERE t.id = u.id AND u.id = 2 RETURNING u.v',
  ],
])('%s that waits while columns move reads those it has named', async (_, text) => {
  for (const isInTransaction of [true, false]) {
    const [holder, altering, waiting] = [db.session(), db.session(), db.session()];
    await holder.exec('BEGIN; UPDATE u SET v = 0 WHERE id = 2');
    await altering.exec(
      `BEGIN; ALTER TABLE t DROP COLUMN IF EXISTS at; ALTER TABLE t ADD COLUMN at timestamptz`,
    );
    if (isInTransaction) await waiting.exec('BEGIN');
    const rows = waiting.query(text);
    await turns();
    await altering.exec('COMMIT');
    await turns();
    await holder.exec('COMMIT');
    expect((await rows).rows).toEqual([{ v: 2 }]);
    if (isInTransaction) await waiting.exec('COMMIT');
    await db.exec('DELETE FROM u WHERE id = 7');
    await Promise.all([holder.close(), altering.close(), waiting.close()]);
  }
});

/** The catalog shows what the first definition has made while the next is staged step by step. */
test('who reads a table while a commit of several steps makes it anew waits for that', async () => {
  await db.close();
  ({ db } = await openEngine({ stepBudgetUnits: 500 }));
  await db.exec(`CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL, v int NOT NULL);
    CREATE TABLE wide (id int PRIMARY KEY, v int NOT NULL);
    INSERT INTO t VALUES (1, '2024-01-01T10:00:00Z', 1), (2, '2024-01-01T10:00:30Z', 2);
    INSERT INTO wide SELECT n, 0 FROM generate_series(1, 60000) s(n)`);
  await lastOf(db.progressive('SELECT 1'));
  let isDone = false;
  const altering = db
    .exec('BEGIN; ALTER TABLE t ADD CHECK (v >= 0); ALTER TABLE wide ADD CHECK (v >= 0); COMMIT')
    .then(() => (isDone = true));
  const answers: unknown[] = [];
  while (!isDone) {
    answers.push(
      db.query<{ n: number }>(count).then(({ rows }) => rows[0]!.n),
      db.window('t', WINDOW).then(({ rows }) => rows[0]!.values.n),
      first(db.subscribe('t')).then((told) => told.kind === 'snapshot' && told.rows.length),
      lastOf(db.progressive('SELECT v FROM t GROUP BY v')),
    );
    await turns(1);
  }
  await altering;
  expect(new Set(await Promise.all(answers))).toEqual(new Set([2]));
});
