#!/usr/bin/env node
/**
 * Writes the golden corpus of the present version of records: a small journal with every kind of operation, and what it gives. Run
 * once when a version is released; what was written is never written again (test/system/golden.test.ts replays all of them).
 *
 *   npm run build && node scripts/write-golden.mjs 1
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const version = process.argv[2];
const dir = join(here, '..', 'test', 'system', 'golden', `v${version}`);
if (version === undefined || existsSync(dir)) {
  console.error(
    version === undefined ? 'Give a version.' : `${dir} is there: it is never written again.`,
  );
  process.exit(1);
}
const { open } = await import('../dist/src/index.js');
const { contentOf } = await import('../test/system/golden/content.mjs');

mkdirSync(dir, { recursive: true });
const db = await open({ workers: 0, journal: { kind: 'file', dir } });
const run = async (...statements) => {
  for (const statement of statements) await db.exec(statement);
};
await run(
  'CREATE SCHEMA s',
  `CREATE TABLE types (id serial PRIMARY KEY, b boolean, i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision, n numeric, n2 numeric(12,2), t text,
    v varchar(20), c char(5), d date, h time, ts timestamp, tz timestamptz, iv interval, u uuid, y bytea) WITH (time = 'tz')`,
  `INSERT INTO types (b, i2, i4, i8, f4, f8, n, n2, t, v, c, d, h, ts, tz, iv, u, y) VALUES
    (true, -1, 2147483647, 9007199254740993, 1.5, '-0', 'NaN', 12.34, 'ü', 'v', 'c', '2024-02-29', '12:34:56.789', '2024-02-29 23:59:59.999999',
      '1969-12-31T23:59:59Z', '1 month -3 days 4 hours', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\x00ff'),
    (NULL, NULL, NULL, NULL, NULL, 'Infinity', 'Infinity', NULL, '', NULL, NULL, 'infinity', NULL, NULL, '-infinity', NULL, NULL, NULL),
    (false, 0, 0, -9223372036854775808, 'NaN', 'NaN', 1.000, -0.01, '🛫', 'w', 'longe', '0001-01-01', '24:00', 'infinity', '2024-03-10T02:30:00-05:00', '-1 year', NULL, '')`,
  'CREATE TABLE many (id int PRIMARY KEY, g text, n numeric(12,2), x double precision)',
  'CREATE INDEX ON many (g)',
  'CREATE MATERIALIZED VIEW sums AS SELECT g, count(*) AS c, sum(n) AS s, sum(x) AS x, max(n) AS m FROM many GROUP BY g',
  "CREATE MATERIALIZED VIEW slow WITH (refresh = '250ms') AS SELECT count(*) AS c FROM many",
  'CREATE VIEW over AS SELECT g, s FROM sums WHERE c > 1',
  'CREATE SEQUENCE q START 5 INCREMENT 3',
);
await db.insert(
  'many',
  Array.from({ length: 300 }, (_, id) => ({
    id,
    g: id % 13 === 0 ? null : `g${id % 7}`,
    n: id / 4,
    x: id * 0.1,
  })),
  { idempotencyKey: 'a delivery' },
);
await run(
  "SELECT nextval('q')",
  'UPDATE many SET n = n + 1 WHERE id % 5 = 0',
  'DELETE FROM many WHERE id % 11 = 3',
  "INSERT INTO many VALUES (1, 'changed', 0, 0), (1000, 'new', 1, 1) ON CONFLICT (id) DO UPDATE SET g = excluded.g",
  "BEGIN; INSERT INTO many VALUES (2000, 'tx', 5, 5); UPDATE many SET n = 0 WHERE id = 2000; COMMIT",
  "CREATE TABLE s.shape (a int, b text DEFAULT 'd', gone int)",
  "INSERT INTO s.shape VALUES (1, 'x', 1), (2, DEFAULT, 2)",
  'ALTER TABLE s.shape ADD COLUMN e int DEFAULT 7',
  'ALTER TABLE s.shape DROP COLUMN gone',
  'ALTER TABLE s.shape ALTER COLUMN a TYPE numeric USING a / 2.0',
  'ALTER TABLE s.shape RENAME COLUMN b TO text',
  'ALTER TABLE s.shape RENAME TO formed',
  "ALTER MATERIALIZED VIEW slow SET (refresh = '1s')",
  'DROP MATERIALIZED VIEW slow',
  'GRANT SELECT ON sums TO acme',
  'GRANT SELECT ON many TO PUBLIC',
  'REVOKE SELECT ON many FROM PUBLIC',
  'CREATE TABLE emptied (a int)',
  'INSERT INTO emptied SELECT * FROM generate_series(1, 100)',
  'TRUNCATE emptied',
  'INSERT INTO emptied VALUES (1)',
  'CREATE TABLE dropped (a int)',
  'DROP TABLE dropped',
  'CREATE SCHEMA other',
  'DROP SCHEMA other',
);
const content = await contentOf(db);
await db.close();
for (const name of ['lock-000001']) rmSync(join(dir, name));
writeFileSync(join(dir, 'content.json'), `${JSON.stringify(content, null, 1)}\n`);
console.log(`${dir}: position ${content.position}`);
