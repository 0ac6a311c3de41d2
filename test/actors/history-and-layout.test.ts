import { afterEach, expect, test } from 'vitest';
import { open, type Database } from '../../src/index.ts';
import { HandClock } from './hand-clock.ts';
import { isStored } from '../../src/actors/catalog.ts';
import type { Engine } from '../../src/actors/engine.ts';

let db: Database;
afterEach(() => db.close());

const engineOf = (database: Database): Engine => (database as unknown as { engine: Engine }).engine;
const tableData = (name: string) => {
  const entry = engineOf(db)
    .state.catalog.all()
    .find((each) => each.definition.name === name);
  if (!isStored(entry)) throw new Error(`no table ${name}`);
  return entry.data;
};
const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

test('what is older than history is told no more, and its bytes are given back', async () => {
  const clock = new HandClock();
  db = await open({ clock, workers: 0, history: '1 minute' });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, n int)');
  const first = await db.insert('t', { id: 1, n: 1 });
  clock.advance(50_000);
  const second = await db.upsert('t', { id: 1, n: 2 });
  const before = await db.query('SELECT n FROM t', { asOf: first.position });
  expect(before.rows).toEqual([{ n: 1 }]);
  expect(before.meta).toMatchObject({ lagMs: 50_000, asOf: '2026-01-01T00:00:00.000Z' });
  const bytes = tableData('t').memoryBytes;

  clock.advance(70_000);
  await expect(db.query('SELECT n FROM t', { asOf: first.position })).rejects.toMatchObject({
    code: 'ADB_POSITION_GONE',
  });
  expect((await db.query('SELECT n FROM t', { asOf: second.position })).rows).toEqual([{ n: 2 }]);

  await db.upsert('t', { id: 1, n: 3 });
  clock.advance(200_000);
  await expect(db.query('SELECT n FROM t', { asOf: second.position })).rejects.toMatchObject({
    code: 'ADB_POSITION_GONE',
  });
  expect((await db.query('SELECT n FROM t')).rows).toEqual([{ n: 3 }]);
  expect(tableData('t').memoryBytes).toBeLessThan(bytes);
});

test('a segment that is mostly dead is named in the journal and rewritten; rows keep their order', async () => {
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, n int)');
  await db.exec('INSERT INTO t SELECT i, i FROM generate_series(1, 140000) i');
  await turns(50);
  await db.exec('DELETE FROM t WHERE id % 4 <> 0 AND id <= 65536');
  await turns(50);
  expect(tableData('t').segmentsToCompact()).toEqual([]);
  const { rows } = await db.query('SELECT id FROM t LIMIT 3');
  expect(rows).toEqual([{ id: 4 }, { id: 8 }, { id: 12 }]);
  expect((await db.query('SELECT count(*) AS c, sum(n) AS s FROM t')).rows).toEqual([
    { c: 90_848, s: 8_189_457_264 },
  ]);
  expect((await db.query('SELECT n FROM t WHERE id = 65536')).rows).toEqual([{ n: 65_536 }]);
});
