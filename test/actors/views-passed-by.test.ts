/** A recovery reads the journal without keeping views, and fills them in the end: they are what they were, and what their queries are. */
import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import { MaintainedView } from '../../src/actors/maintained-view.ts';
import { InvariantError } from '../../src/base/errors.ts';
import { open, type Database } from '../../src/index.ts';
import { MemoryDisk } from '../journal/memory-disk.ts';
import { stateHash } from '../system/state-hash.ts';

let db: Database;
afterEach(async () => {
  vi.restoreAllMocks();
  await db.close();
});

const onDisk = (disk: MemoryDisk, more: object = {}): Promise<Database> =>
  open({ disk, journal: { kind: 'file', dir: '/d', ...more }, workers: 0, memory: '256 MB' });

const live = async (): Promise<void> => {
  while (db.describe().some(({ state }) => state !== undefined && state !== 'live'))
    await new Promise((resolve) => setImmediate(resolve));
};

const VIEWS = {
  v: 'SELECT g, count(*) AS n, sum(x) AS s, max(x) AS m FROM t GROUP BY g',
  w: 'SELECT t.id, u.y FROM t JOIN u ON t.g = u.g',
  twice: 'SELECT a.id, b.id AS other FROM t AS a JOIN t AS b ON a.x = b.x',
  top: 'SELECT n, count(*) AS m FROM v GROUP BY n',
  all: 'SELECT id, g FROM t WHERE x > 3',
  one: 'SELECT count(*) AS n, avg(x) AS a FROM t',
} as const;

const created = (view: keyof typeof VIEWS): string =>
  `CREATE MATERIALIZED VIEW ${view} AS ${VIEWS[view]}`;
const first = fc.subarray(Object.keys(VIEWS) as (keyof typeof VIEWS)[]);
const small = fc.integer({ min: 0, max: 9 });
const group = fc.constantFrom("'a'", "'b'", 'NULL');
const name = fc.constantFrom(...(Object.keys(VIEWS) as (keyof typeof VIEWS)[]));
const statements = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.oneof(
      fc
        .tuple(small, group)
        .map(
          ([id, g]) =>
            `INSERT INTO t SELECT i, ${g}, i % 4 FROM generate_series(${id}, ${id + 5}) AS s(i) ON CONFLICT (id) DO UPDATE SET g = ${g}`,
        ),
      fc.tuple(group, small).map(([g, y]) => `INSERT INTO u VALUES (${g}, ${y}), ('b', ${y})`),
      fc.tuple(small, group).map(([id, g]) => `UPDATE t SET g = ${g}, x = x + 1 WHERE id < ${id}`),
      fc.tuple(small, small).map(([a, b]) => `DELETE FROM t WHERE id BETWEEN ${a} AND ${a + b}`),
      fc.constantFrom('TRUNCATE u', 'DELETE FROM u WHERE y < 4', 'DELETE FROM t'),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.oneof(
      name.map(created),
      name.map((view) => `DROP MATERIALIZED VIEW ${view}`),
      name.map((view) => `ALTER MATERIALIZED VIEW ${view} RENAME TO ${view}2`),
      fc.constantFrom(
        'ALTER TABLE t ADD COLUMN more int DEFAULT 7',
        'CREATE INDEX ON t (g)',
        "ALTER MATERIALIZED VIEW w SET (refresh = '60min')",
        "ALTER MATERIALIZED VIEW w SET (refresh = 'commit')",
        'REFRESH MATERIALIZED VIEW w',
        'GRANT SELECT ON v TO PUBLIC',
      ),
    ),
  },
  { weight: 1, arbitrary: fc.constant('checkpoint') },
);

test(
  'whatever was defined and written: views are there again as they were, filled once',
  { timeout: 60_000 },
  async () => {
    const seen = { views: 0, snapshots: 0 };
    await fc.assert(
      fc.asyncProperty(first, fc.array(statements, { maxLength: 24 }), async (made, more) => {
        const program = [...made.map(created), ...more];
        const disk = new MemoryDisk();
        db = await onDisk(disk);
        await db.exec(
          'CREATE TABLE t (id int PRIMARY KEY, g text, x numeric); CREATE TABLE u (g text, y int)',
        );
        for (const statement of program) {
          // What cannot be done is refused, and no part of the story.
          if (statement === 'checkpoint') await db.checkpoint();
          else await db.exec(statement).catch(() => undefined);
        }
        // Those that are refreshed by time are as of now when they are made anew.
        for (const { name: each, kind } of db.describe())
          if (kind === 'materializedView') await db.exec(`REFRESH MATERIALIZED VIEW "${each}"`);
        const before = await stateHash(db, 'as bags');
        await db.close();
        const commits = vi.spyOn(MaintainedView.prototype, 'push');
        db = await onDisk(disk);
        expect(commits).not.toHaveBeenCalled();
        commits.mockRestore();
        expect(await stateHash(db, 'as bags')).toBe(before);
        // They go on from there.
        await db.exec(
          "INSERT INTO t (id, g, x) VALUES (100, 'c', 2); INSERT INTO u VALUES ('c', 1)",
        );
        for (const relation of db.describe()) {
          if (relation.kind !== 'materializedView') continue;
          seen.views += 1;
          await db.exec(`REFRESH MATERIALIZED VIEW "${relation.name}"`);
          const query = VIEWS[relation.name.replace('2', '') as keyof typeof VIEWS];
          // What it reads may have another name by now.
          const wanted = await db.query(query, { format: 'text' }).catch(() => undefined);
          const { rows } = await db.query(`SELECT * FROM "${relation.name}"`, { format: 'text' });
          if (wanted !== undefined) expect(asBag(rows)).toEqual(asBag(wanted.rows));
        }
        if (program.includes('checkpoint')) seen.snapshots += 1;
        await db.close();
      }),
      { numRuns: 24 },
    );
    expect(seen.views).toBeGreaterThan(12);
    expect(seen.snapshots).toBeGreaterThan(2);
  },
);

const asBag = (rows: readonly unknown[]): string[] => rows.map((row) => JSON.stringify(row)).sort();

test('a view whose filling breaks does not keep the database from opening: it is made anew', async () => {
  const disk = new MemoryDisk();
  db = await onDisk(disk);
  await db.exec(`CREATE TABLE t (g text); CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS n FROM t GROUP BY g;
    CREATE MATERIALIZED VIEW top AS SELECT n, count(*) AS m FROM v GROUP BY n;
    CREATE MATERIALIZED VIEW other AS SELECT count(*) AS n FROM t; INSERT INTO t VALUES ('a'), ('a'), ('b')`);
  await db.close();
  const { run } = MaintainedView.prototype;
  let failures = 1;
  vi.spyOn(MaintainedView.prototype, 'run').mockImplementation(function (
    this: MaintainedView,
    ...args
  ) {
    const done = run.apply(this, args);
    if (done && this.definition.name === 'v' && failures > 0) {
      failures -= 1;
      throw new InvariantError('the view is not what it should be');
    }
    return done;
  });
  db = await onDisk(disk);
  expect((await db.query('SELECT n FROM other')).rows).toEqual([{ n: 3 }]);
  await live();
  expect(failures).toBe(0);
  expect((await db.query('SELECT * FROM v ORDER BY g')).rows).toEqual([
    { g: 'a', n: 2 },
    { g: 'b', n: 1 },
  ]);
  expect((await db.query('SELECT * FROM top ORDER BY n')).rows).toEqual([
    { n: 1, m: 1 },
    { n: 2, m: 1 },
  ]);
});

test('a view that is refreshed by time and meets rows that its query cannot take is there, and says so', async () => {
  const disk = new MemoryDisk();
  db = await onDisk(disk);
  await db.exec(`CREATE TABLE t (a int); INSERT INTO t VALUES (1);
    CREATE MATERIALIZED VIEW v WITH (refresh = '60min') AS SELECT 1 / a AS b FROM t;
`);
  await db.exec('INSERT INTO t VALUES (0)');
  await db.close();
  db = await onDisk(disk);
  expect(db.describe().find(({ name: each }) => each === 'v')).toMatchObject({ state: 'failed' });
  await expect(db.query('SELECT * FROM v')).rejects.toMatchObject({
    code: '55000',
    detail: 'division by zero',
  });
  await db.exec('DELETE FROM t WHERE a = 0');
  await db.exec('REFRESH MATERIALIZED VIEW v');
  expect((await db.query('SELECT b FROM v')).rows).toEqual([{ b: 1 }]);
});

test('a recovery tells that it fills views', async () => {
  const disk = new MemoryDisk();
  db = await onDisk(disk);
  await db.exec(
    'CREATE TABLE t (a int); CREATE MATERIALIZED VIEW v AS SELECT a, count(*) AS n FROM t GROUP BY a',
  );
  await db.insert('t', { a: Int32Array.from({ length: 30_000 }, (_, row) => row % 9000) });
  await db.close();
  const progress: [string, number, number][] = [];
  db = await onDisk(disk, {
    onProgress: ({ phase, position, head }: { phase: string; position: number; head: number }) =>
      progress.push([phase, position, head]),
  });
  expect(progress.at(-1)).toEqual(['ready', db.position, db.position]);
});
