import { expect, test } from 'vitest';
import { calendar } from '../../src/calendar/calendar.ts';
import { open } from '../../src/open.ts';
import { refusal } from './refusal.ts';

test('time_bucket gives the start of the window that a time lies in, in the zone asked for or the session’s', async () => {
  await using db = await open({ workers: 0 });
  const one = async (text: string, zone = 'UTC'): Promise<unknown> =>
    (await db.query<{ t: unknown }>(`SELECT ${text} AS t`, { zone })).rows[0]!.t;
  const ts = "timestamptz '2026-11-01 06:30:20.123456Z'";
  expect([
    await one(`time_bucket('1 day', ${ts})`),
    await one(`time_bucket('1 day', ${ts})`, 'America/New_York'),
    await one(`time_bucket('1 day', ${ts}, 'America/New_York')`),
    await one(`time_bucket('1 hour', ${ts}, 'America/New_York')`),
    await one(`time_bucket('15 minutes', ${ts})`),
    await one(`time_bucket('10 seconds', ${ts})`),
    await one(`time_bucket('250 milliseconds', ${ts})`),
    await one(`time_bucket('250 milliseconds', timestamptz '1969-12-31 23:59:59.9Z')`),
    await one(`time_bucket('7 days', ${ts})`),
    await one(`time_bucket('3 days', ${ts})`),
    await one(`time_bucket('1 month', ${ts}, 'Asia/Tokyo')`),
    await one(`time_bucket('3 months', ${ts})`),
    await one(`time_bucket('1 year', ${ts})`),
    await one(`time_bucket('10 years', ${ts})`),
    await one(`time_bucket('1 day', timestamp '2026-11-01 06:30')`),
    await one(`time_bucket('1 month', date '2026-11-17')`),
    await one(`time_bucket('1 day', timestamptz 'infinity')`),
    await one(`time_bucket('1 month', date '-infinity')`),
    await one(`time_bucket('1 day', NULL::timestamptz)`),
    await one(`time_bucket('1 day', timestamptz '5000-06-01 12:00Z')`),
    await one(`time_bucket('1 day', timestamptz '0044-03-15 12:00Z BC')`),
    await one(`time_bucket('500 ms', timestamptz '5000-06-01 12:00:00.7Z')`),
  ]).toEqual([
    '2026-11-01T00:00:00Z',
    '2026-11-01T04:00:00Z',
    '2026-11-01T04:00:00Z',
    '2026-11-01T06:00:00Z',
    '2026-11-01T06:30:00Z',
    '2026-11-01T06:30:20Z',
    '2026-11-01T06:30:20Z',
    '1969-12-31T23:59:59.75Z',
    '2026-10-26T00:00:00Z',
    '2026-10-31T00:00:00Z',
    '2026-10-31T15:00:00Z',
    '2026-10-01T00:00:00Z',
    '2026-01-01T00:00:00Z',
    '2020-01-01T00:00:00Z',
    '2026-11-01T00:00:00',
    '2026-11-01',
    'infinity',
    '-infinity',
    null,
    '5000-06-01T00:00:00Z',
    await one(`timestamptz '0044-03-15 00:00Z BC'`),
    '5000-06-01T12:00:00.5Z',
  ]);
  for (const width of [
    '0 days',
    '1 month 1 day',
    '-1 day',
    '7 hours',
    '5 months',
    '1.5 seconds',
    '300 ms',
  ])
    expect([width, await refusal(one(`time_bucket('${width}', ${ts})`))]).toEqual([
      width,
      expect.stringMatching(/^22023/),
    ]);
  for (const width of ['1 hour', '0 days'])
    expect(await refusal(one(`time_bucket('${width}', date '2026-01-01')`))).toMatch(/^22023/);
  expect(await refusal(one(`time_bucket('1 day', ${ts}, 'Europe/Berln')`))).toMatch(
    /^22023: time zone/,
  );
});

test('by a named calendar weeks begin as it says, and quarters and years are fiscal', async () => {
  await using db = await open({ workers: 0 });
  await db.calendars.set('acme', {
    zone: 'America/New_York',
    weekStart: 'sunday',
    fiscalYearStart: 2,
  });
  const one = async (width: string, zone: string | null = 'America/New_York'): Promise<unknown> =>
    (
      await db.query<{ t: unknown }>(
        `SELECT time_bucket($1::interval, timestamptz '2026-11-25 06:30Z', $2, 'acme') AS t`,
        { params: [width, zone] },
      )
    ).rows[0]!.t;
  expect(
    await Promise.all(
      ['1 week', '1 month', '3 months', '6 months', '1 year', '1 day'].map((width) => one(width)),
    ),
  ).toEqual([
    '2026-11-22T05:00:00Z',
    '2026-11-01T04:00:00Z',
    '2026-11-01T04:00:00Z',
    '2026-08-01T04:00:00Z',
    '2026-02-01T05:00:00Z',
    '2026-11-25T05:00:00Z',
  ]);
  expect(await one('1 year', 'UTC')).toBe('2026-02-01T00:00:00Z');
  expect(await refusal(db.query(`SELECT time_bucket('1 day', now(), 'UTC', 'other')`))).toMatch(
    /^42704: calendar "other"/,
  );
  // A view would keep what the calendar said when a row came.
  await db.exec('CREATE TABLE t (ts timestamptz)');
  expect(
    await refusal(
      db.exec(
        `CREATE MATERIALIZED VIEW v AS SELECT time_bucket('1 day', ts, 'UTC', 'acme') AS d, count(*) AS n FROM t GROUP BY 1`,
      ),
    ),
  ).toMatch(/^0A000/);
  await db.exec(
    `CREATE MATERIALIZED VIEW w AS SELECT time_bucket('1 day', ts, 'America/New_York') AS d, count(*) AS n FROM t GROUP BY 1`,
  );
  await db.insert('t', [{ ts: '2026-11-25 04:30Z' }, { ts: '2026-11-25 05:30Z' }]);
  expect((await db.query('SELECT * FROM w ORDER BY d')).rows).toEqual([
    { d: '2026-11-24T05:00:00Z', n: 1 },
    { d: '2026-11-25T05:00:00Z', n: 1 },
  ]);
});

test('a column of times falls into the windows of the calendar, row by row, whatever changes between rows', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int, ts timestamptz, w interval, z text)');
  const zones = ['UTC', 'America/Havana', 'Australia/Lord_Howe'];
  const widths = ['1 hour', '1 day', '1 month'];
  const units = ['hour', 'day', 'month'];
  const rows = Array.from({ length: 600 }, (_, id) => ({
    id,
    ts: new Date(Date.UTC(2026, 2, 1) + id * 7_777_777),
    w: widths[id % 3]!,
    z: zones[Math.floor(id / 7) % 3]!,
  }));
  await db.insert('t', rows);
  const { rows: answer } = await db.query<{ t: string }>(
    'SELECT time_bucket(w, ts, z) AS t FROM t ORDER BY id',
  );
  expect(answer.map(({ t }) => Date.parse(t))).toEqual(
    rows.map(({ ts, z }, id) => calendar({ zone: z }).startOf(ts, units[id % 3]!)),
  );
});
