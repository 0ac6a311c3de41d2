import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Database } from '../../src/actors/database.ts';
import { LateLog } from './late-log.ts';
import { openEngine } from './test-engine.ts';

let log: LateLog;
let db: Database;
beforeEach(async () => {
  log = new LateLog();
  ({ db } = await openEngine({ stepBudgetUnits: 2000, log: () => log }));
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, g text)');
  await db.exec('CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS c FROM t GROUP BY g');
  await db.exec("INSERT INTO t VALUES (1, 'a')");
});
afterEach(() => db.close());

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

test('nobody sees a commit before it is acknowledged; those behind it are staged on top', async () => {
  log.held = true;
  const first = db.insert('t', { id: 2, g: 'a' });
  const second = db.insert('t', { id: 3, g: 'a' });
  const taken = db.insert('t', { id: 2, g: 'b' });
  await expect(taken).rejects.toMatchObject({ code: '23505' });
  await turns(3);
  expect(log.waiting).toBe(2);
  expect((await db.query('SELECT * FROM v')).rows).toEqual([{ g: 'a', c: 1 }]);
  log.held = false;
  log.acknowledge();
  expect((await second).position).toBe((await first).position + 1);
  expect((await db.query('SELECT * FROM v')).rows).toEqual([{ g: 'a', c: 3 }]);
});

test('a failed append undoes all that was staged, newest first, and reads go on', async () => {
  await db.exec('CREATE TABLE u (i int)');
  log.held = true;
  // Holds its table until it is acknowledged: who writes to it waits, and is refused with the rest.
  const column = db.exec("ALTER TABLE u ADD COLUMN note text DEFAULT 'none'");
  const behind = db.insert('u', { i: 1 });
  await turns(3);
  const small = db.exec("INSERT INTO t VALUES (2, 'b')");
  const failures = Promise.allSettled([column, behind, small]);
  await turns(3);
  expect(log.waiting).toBe(2);
  // Larger than a step: half of it is staged when the append of what it builds upon fails.
  const large = db.exec("INSERT INTO t SELECT i, 'c' FROM generate_series(10, 60000) i");
  const refused = expect(large).rejects.toMatchObject({ code: '58030' });
  await turns(40);
  log.fail();
  for (const outcome of await failures)
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: '58030' } });
  await refused;
  expect((await db.query('SELECT * FROM t')).rows).toEqual([{ id: 1, g: 'a' }]);
  expect((await db.query('SELECT * FROM u')).columns.map(({ name }) => name)).toEqual(['i']);
  expect((await db.query('SELECT * FROM v')).rows).toEqual([{ g: 'a', c: 1 }]);
  await expect(db.insert('t', { id: 4, g: 'x' })).rejects.toMatchObject({ code: '58030' });
});

test('a table that was created and filled behind a failed append is gone', async () => {
  log.held = true;
  const create = db.exec('CREATE TABLE u AS SELECT i FROM generate_series(1, 3) i');
  const dropped = db.exec('DROP TABLE t CASCADE');
  const outcomes = Promise.allSettled([create, dropped]);
  await turns(5);
  log.fail();
  for (const { status } of await outcomes) expect(status).toBe('rejected');
  await expect(db.query('SELECT * FROM u')).rejects.toMatchObject({ code: '42P01' });
  expect((await db.query('SELECT * FROM v')).rows).toEqual([{ g: 'a', c: 1 }]);
});
