/** Buckets of plain SQL that are found on tiles, or not: each has the bits of the same question by a column that has no tiles. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { open, type Database } from '../../src/index.ts';

let db: Database;
beforeAll(async () => {
  db = await open({ workers: 0 });
  await db.exec(
    `CREATE TABLE t (id int, ts timestamptz, at timestamptz, x int) WITH (time = 'ts')`,
  );
  // Around a night on which St Johns entered a date again, and one on which New York lost an hour.
  const nights = ['2010-11-07T00:00:00Z', '2026-03-08T00:00:00Z'].map((each) => Date.parse(each));
  await db.insert(
    't',
    Array.from({ length: 2000 }, (_, id) => {
      const ts = nights[id % 2]! + id * 45_000;
      return { id, ts, at: ts, x: id };
    }),
  );
});
afterAll(() => db.close());

async function same(
  key: string,
  condition: string,
  { zone = 'UTC', params = [] as readonly unknown[] } = {},
): Promise<string> {
  const session = db.session();
  try {
    await session.exec(`SET timezone = '${zone}'`);
    const ask = async (time: string) => {
      const text = `SELECT ${key} AS k, count(*) AS n, sum(x) AS s FROM t WHERE ${condition} GROUP BY 1 ORDER BY 1`;
      return await session.query(text.replaceAll(/\bts\b/g, time), { params });
    };
    const tiles = await ask('ts');
    expect([key, condition, tiles.rows]).toEqual([key, condition, (await ask('at')).rows]);
    return tiles.meta.source;
  } finally {
    await session.close();
  }
}

const NIGHT = `ts >= '2026-03-08T00:00:00Z' AND ts < '2026-03-09T00:00:00Z'`;

test('a date that is entered again is one bucket, and comes from rows', async () => {
  const zone = 'America/St_Johns';
  const night = `ts >= '2010-11-06T12:00:00Z' AND ts < '2010-11-08T00:00:00Z'`;
  expect(await same('ts::date', night, { zone })).toBe('scan');
  await same(`date_trunc('day', ts)`, night, { zone });
  await same(`date_trunc('day', ts, '${zone}')`, night);
  await same(`date_trunc('hour', ts)`, night, { zone });
  expect(await same('ts::date', NIGHT, { zone })).toBe('windows');
});

// A bucket of NULL was taken for 1970-01-01. No test gave NULL for a zone.
test('a bucket of NULL is NULL', async () => {
  for (const key of [
    `date_trunc('day', ts, $1)`,
    `time_bucket('1 day', ts, $1)`,
    `date_trunc($1, ts)`,
  ])
    await same(key, NIGHT, { params: [null] });
  expect(await same(`date_trunc('day', ts, $1)`, NIGHT, { params: ['America/New_York'] })).toBe(
    'windows',
  );
});

test('bounds may be as near as microseconds, where clocks change, or NULL', async () => {
  const zone = 'America/New_York';
  for (const condition of [
    `ts >= '2026-03-08T00:45:00Z' AND ts <= '2026-03-08T00:45:00Z'`,
    `ts > '2026-03-08T00:45:00Z' AND ts < '2026-03-08T00:45:00.000002Z'`,
    // The change of the clocks is the end, or the microsecond after it, or the beginning.
    `ts >= '2026-03-08T01:00:00Z' AND ts < '2026-03-08T07:00:00Z'`,
    `ts >= '2026-03-08T01:00:00Z' AND ts < '2026-03-08T06:59:59.999999Z'`,
    `ts >= '2026-03-08T07:00:00Z' AND ts < '2026-03-08T09:00:00Z'`,
  ])
    for (const key of [`date_trunc('hour', ts)`, 'ts::date', `date_trunc('day', ts, '${zone}')`])
      await same(key, condition, { zone });
  for (const params of [
    [null, '2026-03-09'],
    ['2026-03-08', null],
    ['2026-03-08', '2026-03-09'],
    ['-infinity', '2026-03-09'],
  ])
    await same(`date_trunc('hour', ts)`, 'ts >= $1 AND ts < $2', { params });
  await same(
    `date_trunc('hour', ts)`,
    `ts >= '2026-03-08' AND ts < now() - interval '1 day' * (random() * 0)`,
  );
});

// Were read from rows: the wall of another zone was no time that tiles cut.
test('buckets of a wall come from tiles, and from rows where a wall comes again', async () => {
  const zone = 'America/New_York';
  const fall = `ts >= '2010-11-07T00:00:00Z' AND ts < '2010-11-09T00:00:00Z'`;
  const wall = `ts AT TIME ZONE '${zone}'`;
  for (const key of [
    `date_trunc('day', ${wall})`,
    `date_trunc('month', ${wall})::date`,
    `(${wall})::date`,
    `date_trunc('day', ts)::date`,
    `date_trunc('day', ts::timestamp)`,
    `date_trunc('day', ${wall}) AT TIME ZONE '${zone}'`,
    `date_trunc('WEEK', ${wall}) AT TIME ZONE '${zone}'`,
    `time_bucket('6 hours', ${wall})`,
    `date_bin('2 hours', ${wall}, '2001-01-01')`,
    `date_trunc('hour', ts AT TIME ZONE INTERVAL '-05:30')`,
  ])
    for (const night of [NIGHT, fall])
      for (const sessionZone of ['UTC', 'Australia/Lord_Howe', 'America/St_Johns']) {
        const source = await same(key, night, { zone: sessionZone });
        // In Newfoundland a date was entered again that night.
        if (sessionZone !== 'America/St_Johns') expect([key, source]).toEqual([key, 'windows']);
      }
  // A quarter that comes twice is one bucket of its wall.
  expect(await same(`date_trunc('minute', ${wall})`, fall)).toBe('scan');
  // Not cut by time alone, of another zone, or of a wall that goes on where clocks do not.
  for (const key of [
    wall,
    `date_trunc('hour', ${wall}) AT TIME ZONE '${zone}'`,
    `date_trunc('da' || 'y', ${wall}) AT TIME ZONE (CASE WHEN x IS NULL THEN 'UTC' ELSE '${zone}' END)`,
    `date_trunc('day', ${wall}) AT TIME ZONE 'Asia/Tokyo'`,
    `date_trunc('day', ts, '${zone}')::date`,
    `time_bucket('1 day', ${wall}) AT TIME ZONE '${zone}'`,
    `date_trunc('day', ts AT TIME ZONE CASE WHEN x > 9 THEN 'UTC' ELSE '${zone}' END)`,
  ])
    expect([key, await same(key, fall)]).toEqual([key, 'scan']);
});

test('EXPLAIN ANALYZE tells the windows, tiles, rows, and days that are not 24 hours; and nothing of tiles that did not answer', async () => {
  const explained = async (text: string, format = 'TEXT'): Promise<string[]> => {
    const { rows } = await db.query<{ 'QUERY PLAN': string }>(
      `EXPLAIN (ANALYZE, FORMAT ${format}) ${text}`,
    );
    return rows.map((row) => row['QUERY PLAN'].trim());
  };
  const days = `SELECT date_trunc('day', ts, 'America/New_York'), count(*) FROM t
    WHERE ts >= '2026-03-07T05:00:00Z' AND ts < '2026-03-10T04:00:00Z' GROUP BY 1`;
  const lines = await explained(days);
  const at = lines.indexOf('Source: window tiles');
  expect(lines.slice(at, at + 5)).toEqual([
    'Source: window tiles',
    'Windows: 3, 2026-03-07T00:00:00-05:00 → 2026-03-10T00:00:00-04:00',
    expect.stringMatching(/^Tiles Merged: [1-9]\d*$/),
    expect.stringMatching(/^Rows Scanned: \d+$/),
    'Note: 2026-03-08 has 23 hours',
  ]);
  expect((await explained(days, 'JSON')).join('')).toContain('"Note": "2026-03-08 has 23 hours"');
  // Of the session's zone, without a bucket, and without a bound.
  expect(
    await explained(`SELECT count(*) FROM t WHERE ts >= '2026-03-08' AND ts < '2026-03-09'`),
  ).toContain('Windows: 1, 2026-03-08T00:00:00+00:00 → 2026-03-09T00:00:00+00:00');
  const scanned = await explained(
    `SELECT date_trunc('minute', ts AT TIME ZONE 'America/New_York'), count(*) FROM t
     WHERE ts >= '2010-11-07T00:00:00Z' AND ts < '2010-11-09T00:00:00Z' GROUP BY 1`,
  );
  expect(scanned.join()).not.toContain('window tiles');
});
