/** Snapshots of a database: what is opened from one is what the whole journal gives. */
import { expect, test } from 'vitest';
import type { TableEntry } from '../../src/actors/catalog.ts';
import type { Engine } from '../../src/actors/engine.ts';
import { open, type Database } from '../../src/index.ts';
import { MemoryDisk } from '../journal/memory-disk.ts';
import { stateHash } from './state-hash.ts';

const onDisk = (disk: MemoryDisk, more: object = {}): Promise<Database> =>
  open({ disk, journal: { kind: 'file', dir: '/d', ...more }, workers: 0 });

const snapshotsOf = (disk: MemoryDisk): string[] =>
  [...disk.files.keys()].filter((path) => path.includes('snapshot-')).sort();

/** A table with a sealed segment, dead rows in it, rows behind it, and everything else that there is. */
async function filled(disk: MemoryDisk): Promise<Database> {
  const db = await onDisk(disk);
  await db.exec(`CREATE SCHEMA s; CREATE TABLE s.small (a serial PRIMARY KEY, t text);
    CREATE TABLE big (id int PRIMARY KEY, g text, rare text, n numeric(12,2), x double precision, ts timestamptz, u uuid, b bytea, i interval)
      WITH (time = 'ts');
    CREATE INDEX ON big (g);
    CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS c, sum(n) AS s, sum(x) AS x FROM big GROUP BY g;
    CREATE SEQUENCE q START 9`);
  await db.exec('CREATE VIEW w AS SELECT * FROM v WHERE c > 3');
  await db.exec('GRANT SELECT ON v TO PUBLIC');
  const rowCount = 66_000;
  await db.insert('big', {
    id: Int32Array.from({ length: rowCount }, (_, row) => row),
    g: Array.from({ length: rowCount }, (_, row) => `g${row % 11}`),
    rare: Array.from({ length: rowCount }, (_, row) => (row % 5 === 0 ? null : `text ${row}`)),
    n: Array.from({ length: rowCount }, (_, row) => String(row / 4)),
    x: Float64Array.from({ length: rowCount }, (_, row) => row * 0.1),
    ts: Array.from({ length: rowCount }, (_, row) => new Date(1.7e12 + (row % 1000) * 1000)),
  });
  await db.exec(`INSERT INTO s.small (t) VALUES ('a'), ('ü'), (NULL); DELETE FROM big WHERE id % 9 = 0;
    UPDATE big SET n = n + 1 WHERE id % 1000 = 1; DELETE FROM s.small WHERE a = 1; SELECT nextval('q');
    INSERT INTO big (id, u, b, i) VALUES (-1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\x00ff', '1 month')`);
  await db.insert('s.small', { t: 'once' }, { idempotencyKey: 'k' });
  return db;
}

test('a snapshot and what came after it are the whole journal', { timeout: 30_000 }, async () => {
  const disk = new MemoryDisk();
  let db = await filled(disk);
  const { position } = await db.checkpoint();
  expect(position).toBe(db.position);
  await db.exec(`INSERT INTO s.small (t) VALUES ('later'); UPDATE big SET g = 'other' WHERE id < 50; DELETE FROM big WHERE id = 65999;
    ALTER TABLE s.small ADD COLUMN c int DEFAULT 4; INSERT INTO big (id, g, n) VALUES (70000, 'g1', 5)`);
  const before = await stateHash(db, 'as bags');
  const inJournal = disk.copy();
  await db.close();

  const phases = new Set<string>();
  db = await onDisk(disk, { onProgress: ({ phase }: { phase: string }) => phases.add(phase) });
  expect(await stateHash(db, 'as bags')).toBe(before);
  expect((await db.query("SELECT nextval('q') AS n")).rows).toEqual([{ n: 10 }]);
  expect((await db.insert('s.small', { t: 'twice' }, { idempotencyKey: 'k' })).rows).toBe(1);
  expect(
    (await db.as({ tenant: 'acme' }).query('SELECT count(*) AS n FROM v')).rows[0],
  ).toBeDefined();
  await expect(db.insert('big', { id: 1 })).rejects.toMatchObject({ code: '23505' });
  // Keys of dead rows are free, and the view follows.
  await db.insert('big', { id: 0, g: 'again', n: 1 });
  expect((await db.query("SELECT c, s FROM v WHERE g = 'again'")).rows).toEqual([
    { c: 1, s: '1.00' },
  ]);
  await db.close();

  // The same without it: the journal from the beginning.
  for (const path of snapshotsOf(inJournal)) inJournal.files.delete(path);
  inJournal.kill();
  const replayed = await onDisk(inJournal);
  expect(await stateHash(replayed, 'as bags')).toBe(before);
  await replayed.close();
});

test(
  'two snapshots are kept; a damaged one is passed over; the journal reaches back to the older',
  { timeout: 30_000 },
  async () => {
    const disk = new MemoryDisk();
    let db = await onDisk(disk);
    await db.exec('CREATE TABLE t (a int PRIMARY KEY, b text)');
    for (let round = 0; round < 4; round += 1) {
      await db.insert(
        't',
        Array.from({ length: 50 }, (_, row) => ({ a: round * 50 + row, b: `b${row % 3}` })),
      );
      await db.checkpoint();
    }
    await db.insert('t', { a: 1000, b: 'tail' });
    const before = await stateHash(db, 'as bags');
    await db.close();
    expect(snapshotsOf(disk)).toHaveLength(2);

    const newest = snapshotsOf(disk).at(-1)!;
    const { length } = disk.files.get(newest)!;
    for (const at of [0, 40, length >> 1, length - 1]) {
      const damaged = disk.copy();
      damaged.files.get(newest)![at]! ^= 4;
      let told: readonly number[] = [];
      db = await onDisk(damaged, {
        onProgress: (progress: { damagedSnapshots: readonly number[] }) =>
          (told = progress.damagedSnapshots),
      });
      expect(told).toHaveLength(1);
      expect(await stateHash(db, 'as bags')).toBe(before);
      await db.close();
    }
    // Both of them, and the beginning of the journal is gone: that is no database any more.
    const hopeless = disk.copy();
    for (const path of snapshotsOf(hopeless)) hopeless.files.get(path)![9]! ^= 1;
    const journal = [...hopeless.files.keys()].filter((path) => path.includes('journal-')).sort();
    if (journal.length > 1) hopeless.files.delete(journal[0]!);
    else hopeless.files.delete(journal[0]!);
    await expect(onDisk(hopeless)).rejects.toMatchObject({ code: 'ADB_JOURNAL_CORRUPT' });
  },
);

test(
  'snapshots are taken by themselves, while writes go on, and sealed segments are written once',
  { timeout: 30_000 },
  async () => {
    const disk = new MemoryDisk();
    let db = await onDisk(disk, { snapshotEvery: 200_000 });
    let taken = 0;
    db.on('snapshot.taken', () => void (taken += 1));
    db.on('snapshot.failed', ({ cause }) => {
      throw cause;
    });
    await db.exec(
      'CREATE TABLE t (a int, b text); CREATE MATERIALIZED VIEW v AS SELECT b, count(*) AS n FROM t GROUP BY b',
    );
    for (let chunk = 0; chunk < 60; chunk += 1) {
      await db.insert('t', {
        a: Int32Array.from({ length: 3_000 }, (_, row) => chunk * 3_000 + row),
        b: Array.from({ length: 3_000 }, (_, row) => `b${row % 7}`),
      });
    }
    await db.checkpoint();
    expect(taken).toBeGreaterThan(2);
    const segments = [...disk.files.keys()].filter((path) => path.includes('segment-'));
    expect(segments).toHaveLength(2);
    expect(snapshotsOf(disk)).toHaveLength(2);
    const before = await stateHash(db, 'as bags');
    await db.close();
    for (const world of [disk.copy(), disk]) {
      // Without a file that both refer to they are nothing; the journal is still there as a whole.
      if (world !== disk) world.files.get(segments[0]!)![1_000]! ^= 1;
      db = await onDisk(world);
      expect((await stateHash(db, 'as bags')) === before).toBe(true);
      await db.close();
    }
  },
);

/** What a snapshot did not say was of which column the order is, so every segment was filtered row by row. */
test(
  'segments of a snapshot are read by time as those that were sealed here',
  { timeout: 30_000 },
  async () => {
    const disk = new MemoryDisk();
    let db = await onDisk(disk);
    await db.exec(`CREATE TABLE big (ts timestamptz NOT NULL, x int) WITH (time = 'ts')`);
    const rowCount = 66_000;
    await db.insert('big', {
      ts: Float64Array.from(
        { length: rowCount },
        (_, row) => 1.7e12 + ((row * 7919) % rowCount) * 1000,
      ),
      x: Int32Array.from({ length: rowCount }, (_, row) => row % 10),
    });
    const ask = async (): Promise<readonly [unknown, number]> => {
      const question = {
        range: [1.7e12 + 3_000_777, 1.7e12 + 33_000_444] as const,
        measures: { n: 'count(*)', s: 'sum(x)' },
      };
      await db.window('big', question);
      const { rows, meta } = await db.window('big', question);
      return [rows[0]!.values, meta.rowsScanned];
    };
    const { engine } = db as unknown as { engine: Engine };
    const { data } = engine.state.catalog.all().find((each) => each.kind === 'table') as TableEntry;
    while (data.needsUpkeep) await new Promise((resolve) => setImmediate(resolve));
    const before = await ask();
    expect(before[1]).toBeLessThan(2000);
    await db.checkpoint();
    await db.close();
    db = await onDisk(disk);
    expect(await ask()).toEqual(before);
    await db.close();
  },
);
