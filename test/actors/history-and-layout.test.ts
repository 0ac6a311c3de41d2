import { afterEach, expect, test } from 'vitest';
import { open, type Database } from '../../src/index.ts';
import { HandClock } from './hand-clock.ts';
import { isStored } from '../../src/actors/catalog.ts';
import type { Engine } from '../../src/actors/engine.ts';
import type { Table } from '../../src/columns/table.ts';

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

// A segment that had been rewritten once was taken for one that still waits for it, and stayed for ever.
test('segments go when their rows have, however fast, in steps, and no list of them grows', async () => {
  db = await open({ workers: 0, memory: '1 GB' });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, s text)');
  for (let round = 0; round < 2; round += 1) {
    const from = round * 200_000;
    await db.exec(
      `INSERT INTO t SELECT i, 'text ' || i FROM generate_series(${from}, ${from + 199_999}) i`,
    );
    await turns(50);
    for (let id = from; id < from + 200_000; id += 4000)
      await db.exec(`DELETE FROM t WHERE id >= ${id} AND id < ${id + 4000}`);
    await turns(400);
    const states = (tableData('t') as Table).segmentStates();
    expect(states.map((state) => state?.segment.kind)).toEqual(['open']);
    expect((await db.query('SELECT count(*) AS c FROM t')).rows).toEqual([{ c: 0 }]);
  }
});

test('of a table that is dropped nothing is remembered by its number', async () => {
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
  const { id } = engineOf(db)
    .state.catalog.all()
    .find((each) => each.definition.name === 't')!.definition;
  await db.exec('INSERT INTO t VALUES (1), (2); DELETE FROM t WHERE id = 1');
  expect(engineOf(db).housekeeping.versionOf(id)).toBeGreaterThan(0);
  await db.exec('DROP TABLE t');
  expect(engineOf(db).housekeeping.versionOf(id)).toBe(0);
});

test('old rows of sealed segments are told of as they were, when their segments are no more, and are accounted for as long', async () => {
  db = await open({ workers: 0, memory: '1 GB' });
  await db.exec(`CREATE TABLE t (id int PRIMARY KEY, n float8, d numeric(10,2), s text, extra int);
    CREATE MATERIALIZED VIEW v AS SELECT s, count(*) AS c, sum(n) AS n, max(d) AS d FROM t GROUP BY s`);
  await db.exec(`INSERT INTO t SELECT i, CASE WHEN i % 7 = 0 THEN NULL ELSE i / 4.0 END, i / 100.0, 's' || i % 3, i % 5
    FROM generate_series(1, 70000) i`);
  await turns(50);
  // A reader holds what there was; the history has to tell the same from now on.
  const sample = `SELECT * FROM t WHERE id % 997 = 0 OR id IN (65535, 65536, 65537, 70000) ORDER BY id`;
  const whole = `SELECT count(*) AS c, sum(n) AS n, sum(d) AS d, min(s) AS s, sum(id) AS i, sum(extra) AS e FROM t`;
  const first = db.position;
  const before = [(await db.query(sample)).rows, (await db.query(whole)).rows];
  const range = (from: number, end: number, step: number) =>
    Int32Array.from({ length: Math.ceil((end - from) / step) }, (_, at) => from + at * step);
  // Across the sealed segment and the open one, by updates and by deletes.
  const ids = range(1, 70_000, 50);
  await db.upsert('t', { id: ids, n: Float64Array.from(ids, (id) => -id) });
  const second = db.position;
  const between = [(await db.query(sample)).rows, (await db.query(whole)).rows];
  expect(between).not.toEqual(before);
  const duplicate = db.insert('t', { id: [1], n: [0] });
  await expect(duplicate).rejects.toMatchObject({ code: '23505' });
  await db.delete('t', { id: range(2, 65_000, 1) });
  await db.upsert('t', { id: ids, n: Float64Array.from(ids, () => 0) });
  await turns(200);
  expect(tableData('t').segmentsToCompact()).toEqual([]);
  for (const [position, answers] of [
    [first, before],
    [second, between],
  ] as const) {
    expect((await db.query(sample, { asOf: position })).rows).toEqual(answers[0]);
    expect((await db.query(whole, { asOf: position })).rows).toEqual(answers[1]);
  }
  const recomputed =
    'SELECT s, count(*) AS c, sum(n) AS n, max(d) AS d FROM t GROUP BY s ORDER BY s';
  expect((await db.query('SELECT * FROM v ORDER BY s')).rows).toEqual(
    (await db.query(recomputed)).rows,
  );
  // What nobody may ask for any more is given back, the segments that only it held included.
  const held = tableData('t').memoryBytes;
  await db.exec('DROP MATERIALIZED VIEW v; ALTER TABLE t DROP COLUMN extra');
  await db.exec('TRUNCATE t');
  await db.insert('t', { id: 1, n: 1, d: '1', s: 'a' });
  await turns(50);
  expect(tableData('t').memoryBytes).toBeLessThan(held / 4);
});
