import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { open, type Database } from '../../src/index.ts';
import { refusalOfField } from './refusal.ts';

let db: Database;
const TABLE = `CREATE TABLE orders (id bigint PRIMARY KEY, ts timestamptz NOT NULL, region text, product text,
  amount numeric(12,2), price float8, note interval) WITH (time = 'ts')`;
beforeEach(async () => {
  db = await open({ workers: 0 });
  await db.exec(TABLE);
});
afterEach(() => db.close());

const RETENTION = 'raw 90d, 15m 5y, day forever';

test('a policy is set by SQL and as an object, and says what it was told', async () => {
  expect(await db.policies.get('orders')).toBeUndefined();
  await db.exec(
    `ALTER TABLE orders SET (retention = '${RETENTION}', lateness = '2d', refresh = 'hour 1s, day 15s')`,
  );
  const policy = {
    retention: RETENTION,
    zone: 'UTC',
    lateness: '2d',
    refresh: 'hour 1s, day 15s',
  };
  expect(await db.policies.get('orders')).toEqual(policy);
  await db.policies.set('orders', {
    retention: { raw: '30 days', day: '5 years' },
    by: ['region', 'product'],
    measures: 'amount, approx_percentile(price)',
    zone: 'America/New_York',
    refresh: null,
  });
  expect(await db.policies.list()).toEqual([
    {
      table: 'orders',
      schema: 'public',
      policy: {
        retention: 'raw 30 days, day 5 years',
        by: ['region', 'product'],
        measures: ['amount', 'approx_percentile(price)'],
        zone: 'America/New_York',
        lateness: '2d',
      },
    },
  ]);
  expect((await db.query('SELECT * FROM adb.policies')).rows).toMatchObject([
    {
      schema: 'public',
      table: 'orders',
      time: 'ts',
      zone: 'America/New_York',
      retention: 'raw 30 days, day 5 years',
      by: 'region, product',
      measures: 'amount, approx_percentile(price)',
      lateness: '2d',
      refresh: null,
    },
  ]);
  await db.policies.set('orders', { measures: 'price, amount, approx_percentile(price)' });
  expect((await db.policies.get('orders'))!.measures).toEqual([
    'approx_percentile(price)',
    'amount',
  ]);
  await db.exec('ALTER TABLE orders RESET (measures, lateness)');
  expect(Object.keys((await db.policies.get('orders'))!)).toEqual(['retention', 'by', 'zone']);
  await db.policies.drop('orders');
  expect(await db.policies.list()).toEqual([]);
  expect(await refusalOfField(db.policies.drop('orders'))).toMatch(/^42704/);
});

test('a policy stands in CREATE TABLE, in a transaction, and follows the names of its columns', async () => {
  await db.exec(
    `CREATE TABLE calls (at timestamptz, line text, ms int4) WITH (retention = 'raw 7d, hour forever', by = 'line', measures = 'ms')`,
  );
  await db.exec('ALTER TABLE calls RENAME COLUMN line TO wire');
  await db.exec('ALTER TABLE calls RENAME COLUMN at TO ts');
  expect(await db.policies.get('calls')).toEqual({
    retention: 'raw 7d, hour forever',
    by: ['wire'],
    measures: ['ms'],
    zone: 'UTC',
  });
  expect((await db.query('SELECT time FROM adb.policies')).rows).toEqual([{ time: 'ts' }]);
  for (const action of ['DROP COLUMN wire', 'DROP COLUMN ts', 'ALTER COLUMN ms TYPE int8'])
    expect(await refusalOfField(db.exec(`ALTER TABLE calls ${action}`))).toMatch(/^2BP01/);
  const session = db.session();
  await session.exec('BEGIN');
  await session.exec(`ALTER TABLE calls SET (lateness = '1h')`);
  expect((await db.policies.get('calls'))!.lateness).toBeUndefined();
  await session.exec('COMMIT');
  await session.close();
  expect((await db.policies.get('calls'))!.lateness).toBe('1h');
});

test('a policy is its table’s: another tenant neither sees nor changes it', async () => {
  await db.policies.set('orders', { lateness: '2d' });
  const acme = db.as({ tenant: 'acme' });
  expect(await acme.policies.list()).toEqual([]);
  expect(await refusalOfField(acme.policies.get('orders'))).toMatch(/^42P01/);
  await db.exec('GRANT SELECT ON orders TO acme');
  expect(await refusalOfField(acme.policies.set('orders', { lateness: '1d' }))).toMatch(/^42501/);
  expect(await db.policies.get('orders')).toEqual({ zone: 'UTC', lateness: '2d' });
});

test('policies come back from the journal and from a snapshot', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'adb-policies-'));
  try {
    const options = { workers: 0, journal: { kind: 'file', dir } } as const;
    let kept = await open(options);
    await kept.exec(TABLE);
    await kept.policies.set('orders', { retention: RETENTION, by: 'region', zone: 'Asia/Kolkata' });
    const policy = await kept.policies.get('orders');
    await kept.close();
    kept = await open(options);
    expect(await kept.policies.get('orders')).toEqual(policy);
    await kept.checkpoint();
    await kept.close();
    kept = await open(options);
    expect(await kept.policies.get('orders')).toEqual(policy);
    await kept.close();
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('a policy is read in any case', async () => {
  await db.policies.set('orders', { retention: 'RAW 90D, Day Forever', refresh: 'HOUR 5s' });
  expect(await db.policies.get('orders')).toMatchObject({
    retention: 'raw 90D, day forever',
    refresh: 'hour 5s',
  });
});

test.each([
  ['15m 5y', /^22023 retention: a retention begins with how long rows stay/],
  ['raw 90d, day 5y, 15m forever', /^22023 retention: resolutions grow coarser/],
  ['raw 90d, day 1y, day forever', /^22023 retention: resolutions grow coarser/],
  ['raw 90d, week 1y, month forever', /^22023 retention: weeks do not add up to a month/],
  ['raw 90d, 10m forever', /^22023 retention: "10m" is no resolution that tiles have/],
  ['raw 90d, days forever', /Did you mean "day"/],
  ['raw 90d, 15m 30d', /^22023 retention: ages grow/],
  ['raw 90d, 15m 90d', /^22023 retention: ages grow/],
  ['raw forever, day forever', /^22023 retention: "raw" is kept for ever/],
  ['raw 90d, raw 100d', /^22023 retention: "raw" stands first/],
  ['raw', /^22023 retention: "raw" is no part of a retention/],
  ['raw 5m', /^22023 retention: "5m" is too short an age/],
  ['raw 9999y', /^22023 retention: "9999y" is too long an age/],
  ['raw 900000ms', /^22023 retention: "900000ms" is in milliseconds/],
  ['raw 90 bananas', /^22023 retention: "90 bananas" is no unit or length of time/],
  ['raw 3 business days', /^22023 retention: "3 business days" is no length of time/],
])('retention = %j is refused', async (retention, expected) => {
  expect(await refusalOfField(db.policies.set('orders', { retention }))).toMatch(expected);
});

test.each([
  [{ by: 'regoin' }, /^42703 by: column "regoin" .* Did you mean "region"/],
  [{ by: 'note' }, /^42804 by: rows cannot be kept apart/],
  [{ by: 'region, region' }, /^42701 by/],
  [{ by: 'ts' }, /^(22023|42804) by/],
  [{ measures: 'region' }, /^42804 measures: tiles cannot hold/],
  [{ measures: 'approx_percentile(ts)' }, /^42804 measures: "ts" is no number/],
  [{ by: 'id', measures: 'id' }, /^42701 measures/],
  [{ zone: 'Mars/Phobos' }, /^22023 zone/],
  [{ lateness: '2 years' }, /^22023 lateness/],
  [{ lateness: 'soon' }, /^22023 lateness/],
  [{ retention: 'raw 1d', lateness: '2d' }, /^22023 lateness: rows may come 2d late/],
  [{ refresh: 'hour often' }, /^22023 refresh/],
  [{ refresh: 'fortnight 1s' }, /^22023 refresh/],
  [{ refresh: 'hour 1s, hour 2s' }, /^22023 refresh/],
  [{ retain: 'raw 1d' }, /^22023 retain: unknown field/],
  [{ retention: 7 }, /^22023 retention/],
  [{ by: 'region,' }, /^22023 by: "by" has an entry that is no column/],
  [{ by: 'region, "region"' }, /^42701 by: "region" stands twice/],
  [{ measures: 'approx_percentile(amount), region' }, /^42804 measures: tiles cannot hold/],
])('the policy %j is refused', async (policy, expected) => {
  expect(await refusalOfField(db.policies.set('orders', policy as never))).toMatch(expected);
});

test('a policy needs a column of instants', async () => {
  await db.exec('CREATE TABLE plain (a int)');
  expect(await refusalOfField(db.policies.set('plain', { retention: 'raw 1d' }))).toMatch(
    /has no column of times/,
  );
  await db.exec('CREATE TABLE walls (a timestamp)');
  expect(await refusalOfField(db.policies.set('walls', { retention: 'raw 1d' }))).toMatch(
    /^42804 time/,
  );
  await db.exec('CREATE TABLE two (a timestamptz, b timestamptz)');
  expect(await refusalOfField(db.policies.set('two', { retention: 'raw 1d' }))).toMatch(
    /several columns of times: a, b/,
  );
  await db.exec(`ALTER TABLE two SET (time = 'b', retention = 'raw 1d')`);
  expect(await refusalOfField(db.exec(`ALTER TABLE two SET (time = 'a')`))).toMatch(/^2BP01/);
  await db.exec(`ALTER TABLE two RESET (retention)`);
  await db.exec(`ALTER TABLE two RESET (time)`);
});

// An empty list was refused as a list of one name that is empty, and a name was cut at its commas: what `get` told could not be set again.
test('what a policy says can be said again, whatever the names of its columns; an empty list names none', async () => {
  const odd = ['a, b', '"', '"x"', ' y', 'approx_percentile(z)', 'plain'];
  const columns = odd.map((name) => `"${name.replaceAll('"', '""')}" int`);
  await db.exec(`CREATE TABLE odd (ts timestamptz, ${columns.join(', ')})`);
  for (const name of odd) {
    const written = `"${name.replaceAll('"', '""')}"`;
    for (const percentiles of [false, true]) {
      await db.policies.set('odd', {
        by: odd.filter((each) => each !== name).map((each) => `"${each.replaceAll('"', '""')}"`),
        measures: percentiles ? `approx_percentile(${written}), ${written}` : written,
      });
      const told = await db.policies.get('odd');
      const { rows } = await db.query('SELECT * FROM adb.policies');
      await db.policies.drop('odd');
      await db.policies.set('odd', told!);
      expect(await db.policies.get('odd')).toEqual(told);
      expect((await db.query('SELECT * FROM adb.policies')).rows).toEqual(rows);
    }
  }
  await db.policies.set('odd', { by: [], measures: '', lateness: '1h' });
  expect(await db.policies.get('odd')).toEqual({ measures: [], zone: 'UTC', lateness: '1h' });
});

test('a resolution has several names, an age every unit, a refresh those of a resolution', async () => {
  await db.policies.set('orders', {
    retention: 'raw 36h, 1min 1 week, 15minutes 1 month, 60m 1 quarter, 24h 2 years, 1mo forever',
    refresh: '1m 250ms, 1h 1m',
  });
  expect(await db.policies.get('orders')).toEqual({
    retention: 'raw 36h, 1m 1 week, 15m 1 month, hour 1 quarter, day 2 years, month forever',
    zone: 'UTC',
    refresh: 'minute 250ms, hour 1m',
  });
});
