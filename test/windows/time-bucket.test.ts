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

const ZONES = [
  'America/New_York',
  'America/Havana',
  'America/St_Johns',
  'America/Asuncion',
  'America/Nuuk',
  'Australia/Lord_Howe',
  'Pacific/Apia',
  'Pacific/Chatham',
  'Pacific/Kiritimati',
  'Africa/Casablanca',
  'Antarctica/Troll',
  'UTC',
];

test('time_bucket from an origin, or later by an offset, has windows that follow one another in every zone', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE times (zone text, t timestamptz)');
  for (const zone of ZONES) {
    // Around changes of the offset, and anywhere.
    const days = calendar({ zone }).windows(Date.UTC(2005, 0, 1), Date.UTC(2027, 0, 1), 'day');
    await db.insert(
      'times',
      days
        .filter(({ startMs, endMs }, index) => endMs - startMs !== 86_400_000 || index % 997 === 0)
        .flatMap(({ startMs, endMs }) => [startMs - 1, startMs, startMs + 5_400_000, endMs])
        .map((t) => ({ zone, t })),
    );
  }
  for (const [width, more] of [
    ['1 day', `interval '6 hours'`],
    ['1 day', `interval '-90 minutes 500 ms'`],
    ['1 day', `interval '0'`],
    ['1 month', `interval '0'`],
    ['1 hour', `interval '0'`],
    ['1 week', `timestamptz '2000-01-02 05:00Z'`],
    ['3 days', `timestamptz '2011-12-30 12:00Z', interval '1 day'`],
    ['1 month', `interval '14 days 2 hours 30 minutes'`],
    ['5 months', `timestamptz '2008-01-31 00:00Z'`],
    ['1 hour', `interval '30 minutes'`],
    ['7 hours', `timestamptz '2020-02-29 01:23:45.678Z'`],
  ] as const) {
    const of = (t: string): string => `time_bucket('${width}', ${t}, zone, ${more})`;
    const { rows } = await db.query<Record<'t' | 's' | 'again' | 'before' | 'plain', number>>(
      `SELECT zone, t, ${of('t')} AS s, ${of(of('t'))} AS again, ${of(`${of('t')} - interval '1 microsecond'`)} AS before,
         ${more === `interval '0'` ? `time_bucket('${width}', t, zone)` : 't'} AS plain FROM times ORDER BY zone, t`,
      { values: { timestamptz: 'ms' } },
    );
    let last = { zone: '', s: 0 };
    for (const row of rows as (typeof rows & { zone: string }[])[number][]) {
      const { zone, t, s, again, before, plain } = row as typeof row & { zone: string };
      const isRight =
        s <= t &&
        again === s &&
        before < s &&
        (zone !== last.zone || s >= last.s) &&
        (more !== `interval '0'` || s === plain);
      if (!isRight) expect([width, more, row]).toBe('windows that follow one another');
      last = { zone, s };
    }
  }
});

test('a bucket from an origin comes from tiles, and begins on its wall', async () => {
  await using db = await open({ workers: 0, zone: 'America/New_York' });
  await db.exec(
    `CREATE TABLE t (id int PRIMARY KEY, ts timestamptz, w timestamp, x int) WITH (time = 'ts')`,
  );
  await db.exec(`INSERT INTO t SELECT n, '2026-02-20Z'::timestamptz + n * interval '7 minutes', '2026-02-20'::timestamp + n * interval '7 minutes', n
    FROM generate_series(1, 8000) AS n`);
  for (const bucket of [
    `time_bucket('1 day', ts, interval '6 hours')`,
    `time_bucket('1 week', ts, timestamptz '2026-03-01 05:00Z')`,
    `time_bucket('1 month', ts, 'Australia/Lord_Howe', interval '9 days')`,
    `time_bucket('90 minutes', ts, timestamptz '2026-01-01 00:20Z')`,
    `time_bucket('2 hours', ts, interval '15 minutes')`,
    `date_bin('36 hours', ts, timestamptz '2026-01-01 12:00Z')`,
    `date_bin('10 days', ts AT TIME ZONE 'Africa/Casablanca', timestamp '2026-01-01')`,
  ]) {
    const sql = `SELECT ${bucket} AS b, count(*) AS n, sum(x) AS s FROM t WHERE ts >= '2026-02-25' AND ts < '2026-03-29' GROUP BY 1`;
    const tiled = await db.query(sql);
    const session = db.session();
    await session.exec('SET enable_window_tiles = off');
    const plain = await session.query(sql);
    await session.close();
    expect([bucket, tiled.meta.source, plain.meta.source]).toEqual([bucket, 'windows', 'scan']);
    expect(tiled.rows).toEqual(plain.rows);
  }
  const { rows } = await db.query(
    `SELECT DISTINCT time_bucket('1 day', ts, interval '6 hours') AT TIME ZONE 'America/New_York' AS b FROM t WHERE ts >= '2026-03-07 12:00' AND ts < '2026-03-10 03:00' ORDER BY 1`,
  );
  expect(rows.map(({ b }) => b)).toEqual([
    '2026-03-07T06:00:00',
    '2026-03-08T06:00:00',
    '2026-03-09T06:00:00',
  ]);
  const refused = async (call: string): Promise<string> =>
    await refusal(db.query(`SELECT ${call}`));
  expect(await refused(`time_bucket('1 hour', now(), interval '1 day')`)).toMatch(/^22023/);
  expect(await refused(`time_bucket('1 hour', now(), timestamptz 'infinity')`)).toMatch(/^22008/);
  expect(await refused(`time_bucket('1 month 1 hour', now(), timestamptz '2000-01-01')`)).toMatch(
    /^22023/,
  );
  for (const wrong of [
    `'-1 day', now(), interval '1 hour'`,
    `'-1 hour', now(), timestamptz '2000-01-01'`,
  ])
    expect(await refused(`time_bucket(${wrong})`)).toMatch(/^22023/);
  for (const wrong of [
    `'1 day', current_date, interval '1 hour'`,
    `'1 hour', current_date, date '2000-01-01'`,
  ])
    expect(await refused(`time_bucket(${wrong})`)).toMatch(/^22023/);
  const ends = await db.query(
    `SELECT time_bucket('2 days', date '2026-03-15', date '2026-03-14') AS d, time_bucket('2 days', date 'infinity', interval '1 day') AS i,
       time_bucket('1 month', timestamp '2026-03-15 01:00', interval '14 days 2 hours') AS m, time_bucket('1 day', timestamptz '-infinity', interval '1 hour') AS n,
       time_bucket('1 year', timestamp '294000-01-01', timestamp '2000-07-01') AS far, time_bucket('1 hour', timestamptz '-infinity', interval '1 hour') AS h,
       time_bucket('40000 years', timestamp '294000-01-01', timestamp '2000-07-01', interval '1 day') AS last`,
  );
  expect(ends.rows).toEqual([
    {
      d: '2026-03-14',
      i: 'infinity',
      m: '2026-02-15T02:00:00',
      n: '-infinity',
      far: '+293999-07-01T00:00:00',
      h: '-infinity',
      last: '+282000-07-02T00:00:00',
    },
  ]);
  expect(
    await refused(`time_bucket('10000 years', timestamp '4000-01-01 BC', timestamp '2000-01-01')`),
  ).toMatch(/^22008/);
});
