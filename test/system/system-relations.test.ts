import { afterEach, beforeEach, expect, test } from 'vitest';
import { DbError, open, type Database } from '../../src/index.ts';

let db: Database;
beforeEach(async () => {
  db = await open({ workers: 0 });
  await db.exec(`CREATE TABLE orders (id int PRIMARY KEY, region text NOT NULL, amount numeric(12,2));
    CREATE INDEX by_region ON orders (region);
    CREATE MATERIALIZED VIEW sales AS SELECT region, count(*) AS n FROM orders GROUP BY region;
    CREATE VIEW large AS SELECT id FROM orders WHERE amount > 100`);
  await db.insert('orders', [
    { id: 1, region: 'north', amount: '5.00' },
    { id: 2, region: 'south', amount: '500.00' },
  ]);
});
afterEach(() => db.close());

async function refusal(promise: Promise<unknown>): Promise<Pick<DbError, 'code' | 'message'>> {
  const cause = (await promise.then(
    () => new Error('it was not refused'),
    (error: unknown) => error,
  )) as DbError;
  return { code: cause.code, message: cause.message };
}

test('what the database says of itself is queried as any relation', async () => {
  const tables = await db.query(
    "SELECT name, rows, bytes > 0 AS weighs FROM adb.tables WHERE name LIKE 'ord%'",
  );
  expect(tables.rows).toEqual([{ name: 'orders', rows: 2, weighs: true }]);
  expect(tables.meta).toMatchObject({
    source: 'catalog',
    sources: [{ kind: 'catalog', name: 'adb.tables' }],
  });
  expect(
    (await db.query('SELECT name, materialized, state, rows FROM adb.views ORDER BY name')).rows,
  ).toEqual([
    { name: 'large', materialized: false, state: null, rows: null },
    { name: 'sales', materialized: true, state: 'live', rows: 2 },
  ]);
  expect(
    (
      await db.query(
        `SELECT i.name, i.columns, i."unique" FROM adb.indexes i JOIN adb.tables t ON t.name = i."table"
         WHERE t.rows = 2 ORDER BY i.name`,
      )
    ).rows,
  ).toEqual([
    { name: 'by_region', columns: 'region', unique: false },
    { name: 'orders_pkey', columns: 'id', unique: true },
  ]);
  expect(
    (await db.query("SELECT kind, state FROM adb.actors WHERE name IN ('journal', 'table orders')"))
      .rows,
  ).toEqual([
    { kind: 'journal', state: 'running' },
    { kind: 'table', state: 'running' },
  ]);
  expect((await db.query("SELECT setting FROM adb.settings WHERE name = 'timezone'")).rows).toEqual(
    [{ setting: 'UTC' }],
  );
});

test('calendars are those of the tenant and of main', async () => {
  await db.calendars.set('acme', { zone: 'America/New_York', fiscalYearStart: 2 });
  const other = db.as({ tenant: 'other' });
  await other.calendars.set('own', { weekStart: 'sunday' });
  expect((await other.query('SELECT * FROM adb.calendars')).rows).toEqual([
    {
      tenant: 'main',
      name: 'acme',
      zone: 'America/New_York',
      week_start: 'monday',
      fiscal_year_start: '2',
      definition: expect.stringContaining('"fiscalYearStart":2'),
    },
    {
      tenant: 'other',
      name: 'own',
      zone: 'UTC',
      week_start: 'sunday',
      fiscal_year_start: '1',
      definition: expect.stringContaining('"weekStart":"sunday"'),
    },
  ]);
  expect((await db.query('SELECT name FROM adb.calendars')).rows).toEqual([{ name: 'acme' }]);
});

test('a query finds itself in adb.queries, a transaction itself in adb.snapshots', async () => {
  const shown = await db.query(
    "SELECT label, priority, state, query LIKE '%adb.queries%' AS found FROM adb.queries",
    { label: 'me', priority: 'batch' },
  );
  // It looks before it runs.
  expect(shown.rows).toEqual([]);
  const session = db.session({ user: 'ann' });
  await session.exec('BEGIN ISOLATION LEVEL SERIALIZABLE');
  expect(
    (
      await session.query(
        'SELECT isolation, read_only, position, age_ms >= 0 AS aged FROM adb.snapshots',
      )
    ).rows,
  ).toEqual([{ isolation: 'serializable', read_only: false, position: db.position, aged: true }]);
  await session.exec('COMMIT');
  expect((await db.query('SELECT * FROM adb.snapshots')).rows).toEqual([]);
  await session.close();
});

test('information_schema knows tables, views and columns', async () => {
  expect(
    (
      await db.query(
        `SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'public'`,
      )
    ).rows,
  ).toEqual([
    { table_name: 'orders', table_type: 'BASE TABLE' },
    { table_name: 'large', table_type: 'VIEW' },
  ]);
  expect(
    (
      await db.query(
        `SELECT column_name, ordinal_position, is_nullable, data_type FROM information_schema.columns
         WHERE table_name = 'orders' ORDER BY ordinal_position`,
      )
    ).rows,
  ).toEqual([
    { column_name: 'id', ordinal_position: 1, is_nullable: 'NO', data_type: 'integer' },
    { column_name: 'region', ordinal_position: 2, is_nullable: 'NO', data_type: 'text' },
    { column_name: 'amount', ordinal_position: 3, is_nullable: 'YES', data_type: 'numeric' },
  ]);
});

test('information_schema.columns tells defaults, lengths, precisions and types as PostgreSQL does', async () => {
  await db.exec(
    `CREATE TABLE typed (a smallint, b int DEFAULT 5, c real, d numeric, e numeric(12, 2), f text DEFAULT 'x', g varchar(30), h char(4),
       i boolean, j date, k time(3), l timestamptz, m interval, n bytea, o int GENERATED ALWAYS AS (b * 2) STORED,
       p int GENERATED ALWAYS AS IDENTITY)`,
  );
  const { rows } = await db.query<Record<string, unknown>>(
    `SELECT column_name, column_default, data_type, character_maximum_length, numeric_precision, numeric_precision_radix, numeric_scale,
       datetime_precision, udt_name, is_identity, is_generated, generation_expression
     FROM information_schema.columns WHERE table_name = 'typed' ORDER BY ordinal_position`,
  );
  expect(
    rows.map((row) =>
      Object.values(row)
        .map((value) => value ?? '∅')
        .join(' '),
    ),
  ).toEqual([
    'a ∅ smallint ∅ 16 2 0 ∅ int2 NO NEVER ∅',
    'b 5 integer ∅ 32 2 0 ∅ int4 NO NEVER ∅',
    'c ∅ real ∅ 24 2 ∅ ∅ float4 NO NEVER ∅',
    'd ∅ numeric ∅ ∅ 10 ∅ ∅ numeric NO NEVER ∅',
    'e ∅ numeric ∅ 12 10 2 ∅ numeric NO NEVER ∅',
    "f 'x' text ∅ ∅ ∅ ∅ ∅ text NO NEVER ∅",
    'g ∅ character varying 30 ∅ ∅ ∅ ∅ varchar NO NEVER ∅',
    'h ∅ character 4 ∅ ∅ ∅ ∅ bpchar NO NEVER ∅',
    'i ∅ boolean ∅ ∅ ∅ ∅ ∅ bool NO NEVER ∅',
    'j ∅ date ∅ ∅ ∅ ∅ 0 date NO NEVER ∅',
    'k ∅ time without time zone ∅ ∅ ∅ ∅ 3 time NO NEVER ∅',
    'l ∅ timestamp with time zone ∅ ∅ ∅ ∅ 6 timestamptz NO NEVER ∅',
    'm ∅ interval ∅ ∅ ∅ ∅ 6 interval NO NEVER ∅',
    'n ∅ bytea ∅ ∅ ∅ ∅ ∅ bytea NO NEVER ∅',
    'o ∅ integer ∅ 32 2 0 ∅ int4 NO ALWAYS b * 2',
    'p ∅ integer ∅ 32 2 0 ∅ int4 YES NEVER ∅',
  ]);
  await db.exec('DROP TABLE typed');
});

test('another tenant sees its own', async () => {
  const acme = db.as({ tenant: 'acme' });
  await acme.exec('CREATE TABLE mine (id int)');
  expect((await acme.query('SELECT name FROM adb.tables')).rows).toEqual([{ name: 'mine' }]);
  expect((await db.query('SELECT name FROM adb.tables')).rows).toEqual([{ name: 'orders' }]);
  expect((await acme.query('SELECT DISTINCT tenant FROM adb.actors')).rows).toEqual([
    { tenant: 'acme' },
  ]);
  expect((await acme.query('SHOW QUERIES')).rows).toEqual([]);
});

test('a plain view may read them; nothing is derived from them, and nothing written', async () => {
  await db.exec('CREATE VIEW busy AS SELECT name FROM adb.tables WHERE rows > 1');
  expect((await db.query('SELECT * FROM busy')).rows).toEqual([{ name: 'orders' }]);
  for (const [text, code] of [
    ['CREATE MATERIALIZED VIEW v AS SELECT name FROM adb.tables', '0A000'],
    ['CREATE MATERIALIZED VIEW v AS SELECT name FROM busy', '0A000'],
    ["INSERT INTO adb.tables (name) VALUES ('x')", '42809'],
    ['DELETE FROM adb.queries', '42809'],
    ['SELECT * FROM adb.tables FOR UPDATE', '42809'],
    ['CREATE TABLE adb.own (id int)', '42501'],
    ['SELECT * FROM adb.table', '42P01'],
  ] as const)
    expect(await refusal(db.exec(text)), text).toMatchObject({ code });
  const subscription = db.subscribe('SELECT name FROM adb.tables')[Symbol.asyncIterator]();
  expect(await refusal(subscription.next())).toMatchObject({ code: '0A000' });
  // A transaction that reads them depends on nothing.
  await db.transaction(async (tx) => {
    await tx.query('SELECT count(*) FROM adb.tables WHERE rows > 1');
    await db.insert('orders', { id: 3, region: 'north' });
    await tx.insert('orders', { id: 4, region: 'north' });
  });
  expect((await db.query('SELECT rows FROM adb.tables')).rows).toEqual([{ rows: 4 }]);
});
