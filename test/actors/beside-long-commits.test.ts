/**
 * What is decided beside a commit of several steps. What it changes was decided when it began, its claims were tested then, and only a part of
 * it is staged, or nothing yet: a transaction took what readers see for the newest and wrote upon it, and a definition that waited for what is
 * staged looked again and again without giving way to anybody: the process hung.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Engine } from '../../src/actors/engine.ts';
import type { Database } from '../../src/index.ts';
import { openEngine } from './test-engine.ts';

let db: Database;
let engine: Engine;
beforeEach(async () => {
  ({ db, engine } = await openEngine({ stepBudgetUnits: 2000 }));
  await db.exec(`CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL);
    INSERT INTO t SELECT n, 0 FROM generate_series(1, 5000) s(n)`);
});
afterEach(() => db.close());

/** An UPDATE of all rows, once it is under way. */
async function longUpdate(): Promise<{ readonly ended: Promise<unknown> }> {
  const ended = db.exec('UPDATE t SET v = v + 1');
  const { id } = engine.state.catalog
    .ofTenant('main')
    .find(({ definition }) => definition.name === 't')!.definition;
  while (!engine.turn.isBusyWith(id)) await new Promise((resolve) => setImmediate(resolve));
  return { ended };
}

const sum = async (): Promise<unknown> =>
  (await db.query('SELECT sum(v)::int AS s, count(*)::int AS n FROM t')).rows[0];

test('a transaction writes upon what a long commit leaves', async () => {
  const session = db.session();
  for (const text of [
    'UPDATE t SET v = v + 1 WHERE id = 4999',
    'INSERT INTO t VALUES (4999, 0) ON CONFLICT (id) DO UPDATE SET v = t.v + 1',
  ]) {
    await session.exec('BEGIN');
    const { ended } = await longUpdate();
    await session.exec(text);
    await session.exec('COMMIT');
    await ended;
  }
  expect(await sum()).toEqual({ s: 10_002, n: 5000 });
});

test('rows selected FOR UPDATE are what a long commit leaves', async () => {
  const session = db.session();
  await session.exec('BEGIN');
  const { ended } = await longUpdate();
  expect((await session.query('SELECT v FROM t WHERE id = 4999 FOR UPDATE')).rows).toEqual([
    { v: 1 },
  ]);
  await session.exec('COMMIT');
  await ended;
});

test('a definition waits for a long commit, and may be given up meanwhile', async () => {
  const first = await longUpdate();
  const given = db.query('CREATE INDEX a ON t (v)', { signal: AbortSignal.abort() });
  await expect(given).rejects.toMatchObject({ code: '57014' });
  const waiting = new AbortController();
  const canceled = db.query('CREATE INDEX b ON t (v)', { signal: waiting.signal });
  queueMicrotask(() => waiting.abort());
  await expect(canceled).rejects.toMatchObject({ code: '57014' });
  await db.exec('CREATE INDEX c ON t (v)');
  await first.ended;
  expect(await sum()).toEqual({ s: 5000, n: 5000 });
});
