import { afterEach, expect, test } from 'vitest';
import type { Database } from '../../src/actors/database.ts';
import type { Engine } from '../../src/actors/engine.ts';
import { JournalLog } from '../../src/actors/commit-log.ts';
import { CompactRows, InsertRecord, SharedRows } from '../../src/actors/compact-rows.ts';
import type { CommitRecord } from '../../src/actors/records.ts';
import { MemoryAccount } from '../../src/base/memory.ts';
import { position } from '../../src/base/units.ts';
import { MemoryBackend } from '../../src/journal/memory-backend.ts';
import { stateHashes } from '../../src/sim/state-hash.ts';
import { openEngine } from './test-engine.ts';

const opened: Database[] = [];
afterEach(async () => {
  for (const db of opened.splice(0)) await db.close();
});

/** A database whose journal in memory is kept from its first record on. */
async function openWith(log: JournalLog): Promise<{ db: Database; engine: Engine }> {
  const made = await openEngine({ historyMs: 3_600_000, log: () => log });
  opened.push(made.db);
  return made;
}

function newLog(backend: MemoryBackend): JournalLog {
  return new JournalLog({ backend, keepBytes: 0, keepAll: true, compacts: true });
}

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

/** Rows [from, from + count) as a program has them. */
function columns(from: number, count: number): Record<string, unknown> {
  const ids = Array.from({ length: count }, (_, index) => from + index);
  return {
    id: Float64Array.from(ids),
    name: ids.map((id) => (id % 7 === 0 ? null : `name ${id % 300}`)),
    price: ids.map((id) => `${id % 1000}.${id % 10}0`),
  };
}

test('a journal that shares the rows of its tables replays to the same state, whatever became of them', async () => {
  const backend = new MemoryBackend(new MemoryAccount('the journal'));
  const log = newLog(backend);
  const { db, engine } = await openWith(log);
  await db.exec('CREATE TABLE t (id bigint PRIMARY KEY, name text, price numeric)');
  await db.exec('CREATE MATERIALIZED VIEW v AS SELECT name, sum(price) AS s FROM t GROUP BY name');
  const inserted = await db.insert('t', columns(0, 70_000) as never);
  await db.insert('t', columns(70_000, 64_580) as never);
  await turns(200);
  const shared = (await records(log)).flatMap(({ operations }) =>
    operations.flatMap((each) =>
      each.op === 'rows'
        ? each.writes.flatMap((write) => (write.kind === 'insert' ? [write.rows] : []))
        : [],
    ),
  );
  expect(shared.length).toBeGreaterThan(1);
  expect(shared.every((rows) => rows instanceof SharedRows)).toBe(true);
  const subscribed = db.subscribe('t', { from: inserted.position });
  const change = await subscribed[Symbol.asyncIterator]().next();
  expect(change.value).toMatchObject({ kind: 'delta', deleted: [] });
  expect((change.value as { inserted: unknown[] }).inserted.slice(0, 2)).toEqual([
    { id: 70_000, name: null, price: '0.00' },
    { id: 70_001, name: 'name 101', price: '1.10' },
  ]);
  await subscribed.close();
  await db.exec("UPDATE t SET name = 'gone' WHERE id % 1000 = 1");
  await db.exec('DELETE FROM t WHERE id < 65000');
  await turns(200);
  const asOf = await db.query('SELECT count(*) AS n, sum(price) AS s FROM t', {
    asOf: inserted.position,
  });
  expect(asOf.rows).toEqual([{ n: 70_000, s: '34996500.00' }]);
  await db.exec('DROP MATERIALIZED VIEW v');
  await db.exec('ALTER TABLE t DROP COLUMN price');
  await db.exec('ALTER TABLE t ALTER COLUMN name TYPE varchar(40)');
  await db.exec('CREATE TABLE other (id int, name text, price numeric)');
  await db.insert('other', columns(0, 66_000) as never);
  await turns(100);
  await db.exec('TRUNCATE other');
  await turns(100);

  const again = newLog(backend);
  const { engine: second } = await openWith(again);
  await again.replay((record, at) => second.turn.replay(record, at));
  expect(stateHashes(second.state)).toEqual(stateHashes(engine.state));
}, 30_000);

test('dozens of rows of nothing but doubles are one array in the journal, and replay to the same state', async () => {
  const backend = new MemoryBackend(new MemoryAccount('the journal'));
  const log = newLog(backend);
  const { db, engine } = await openWith(log);
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, day date, x float8, f float4, big bigint)');
  const odd = [-0, NaN, Infinity, 0.1, 5e-324, -(2 ** 60), 1e300];
  const rows = (from: number, count: number): Record<string, unknown> => ({
    id: Int32Array.from({ length: count }, (_, index) => from + index),
    day: Array.from({ length: count }, (_, index) => `2026-11-${10 + (index % 20)}`),
    x: Float64Array.from({ length: count }, (_, index) => odd[index % odd.length]!),
    f: Float32Array.from({ length: count }, (_, index) => index / 3),
    big: Float64Array.from({ length: count }, (_, index) => index * 2 ** 40),
  });
  await db.insert('t', rows(0, 60) as never);
  // Some are there and some are not.
  await db.upsert('t', rows(40, 40) as never);
  await db.delete('t', { id: Int32Array.from({ length: 9 }, (_, index) => index * 7) } as never);
  const written = (await records(log)).flatMap(({ operations }) =>
    operations.flatMap((each) =>
      each.op === 'rows' ? each.writes.filter(({ kind }) => kind !== 'delete') : [],
    ),
  );
  expect(
    written.map(({ kind, rows: kept }: { kind: string; rows?: unknown }) => [
      kind,
      kept instanceof CompactRows && kept.rowCount,
    ]),
  ).toEqual([
    ['insert', 60],
    ['update', 20],
    ['insert', 20],
  ]);

  const again = newLog(backend);
  const { engine: second } = await openWith(again);
  await again.replay((record, at) => second.turn.replay(record, at));
  expect(stateHashes(second.state)).toEqual(stateHashes(engine.state));
}, 30_000);

test('a small insert is one object in the journal, whose operations are made when they are read, and replays to the same state', async () => {
  const backend = new MemoryBackend(new MemoryAccount('the journal'));
  const log = newLog(backend);
  const { db, engine } = await openWith(log);
  await db.exec('CREATE TABLE t (id bigint PRIMARY KEY, name text, x float8)');
  await db.exec('CREATE TABLE u (id int)');
  for (let id = 0; id < 300; id += 1) {
    const row = { id: id * 2 ** 40, name: id % 3 === 0 ? null : `name ${id}`, x: id / 7 };
    await db.insert('t', id % 5 === 0 ? row : [row, { ...row, id: row.id + 1 }]);
  }
  await db.transaction(async (tx) => {
    await tx.insert('t', { id: -1, name: 'both', x: -0 });
    await tx.insert('u', { id: 1 });
  });
  await db.upsert('t', { id: -1, name: 'again', x: Number.NaN });
  const kept = await records(log);
  const inserts = kept.filter((record) => record instanceof InsertRecord);
  expect(inserts.length).toBe(300);
  expect(kept.length).toBe(304);
  expect(inserts.map(({ rowCount }) => rowCount).slice(0, 6)).toEqual([1, 2, 2, 2, 2, 1]);
  const [first] = inserts;
  expect(first!.operations).toEqual([
    { op: 'rows', relation: first!.relation, writes: [{ kind: 'insert', rows: first }] },
  ]);
  expect(backend.heldBytes).toBeGreaterThan(300 * 100);

  const again = newLog(backend);
  const { engine: second } = await openWith(again);
  await again.replay((record, at) => second.turn.replay(record, at));
  expect(stateHashes(second.state)).toEqual(stateHashes(engine.state));
}, 30_000);

async function records({ journal }: JournalLog): Promise<readonly CommitRecord[]> {
  const found: CommitRecord[] = [];
  await journal.replay(position(journal.first), (record) => {
    found.push(record.payload as CommitRecord);
  });
  return found;
}
