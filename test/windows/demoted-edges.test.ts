/** Questions about demoted rows that few ask: each has the answer that all rows would give, or an error that says what can be asked. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Engine } from '../../src/actors/engine.ts';
import { open, sql, type Database, type WindowQuery } from '../../src/index.ts';
import { Budget } from '../../src/operators/operator.ts';
import { manualClock, type ManualClock } from '../../src/testing.ts';
import { MemoryDisk } from '../journal/memory-disk.ts';
import { refusalInFull } from './refusal.ts';

let db: Database;
/** The same rows, of which nothing is demoted. */
let plain: Database;
let clock: ManualClock;
let disk: MemoryDisk;
const start = (): Promise<Database> =>
  open({ clock, disk, journal: { kind: 'file', dir: '/d' }, workers: 0 });

/** An order each hour of the first week of March; by the second minute of the 8th those before the 6th are demoted. */
beforeEach(async () => {
  clock = manualClock('2026-03-08T00:00:00Z');
  disk = new MemoryDisk();
  db = await start();
  plain = await open({ clock, workers: 0 });
  for (const each of [db, plain]) {
    await each.exec(
      `CREATE TABLE orders (id int PRIMARY KEY, ts timestamptz, region text, amount numeric(12,2), n int4, note text) WITH (time = 'ts')`,
    );
    await each.insert(
      'orders',
      Array.from({ length: 168 }, (_, hour) => ({
        id: hour,
        ts: new Date(Date.UTC(2026, 2, 1, hour, 30)).toISOString(),
        // Only the first half of each day has orders of the US.
        region: hour % 24 < 12 && hour % 2 === 0 ? 'US' : 'EU',
        amount: hour,
        n: hour % 5 === 0 ? null : hour,
        note: 'a note',
      })),
    );
  }
});
afterEach(async () => {
  await db.close();
  await plain.close();
});

async function demote(policy: Record<string, unknown> = {}): Promise<void> {
  await db.policies.set('orders', {
    retention: 'raw 2d, 15m 4d, day forever',
    by: ['region'],
    ...policy,
  });
  await clock.advance('2min');
}

/** Asks both; gives what the demoted table answers. */
async function sameRows(sql: string): Promise<Record<string, unknown>[]> {
  const { rows } = await db.query(sql);
  expect(rows, sql).toEqual((await plain.query(sql)).rows);
  return rows;
}

async function sameWindows(query: WindowQuery): Promise<void> {
  const { rows } = await db.window('orders', query);
  expect(rows).toEqual((await plain.window('orders', query)).rows);
}

test('FILTERs speak of what rows are apart by', async () => {
  await demote();
  await sameRows(
    `SELECT count(*) FILTER (WHERE region = 'US') AS u, sum(amount) FILTER (WHERE region <> 'US') AS e,
       count(region) FILTER (WHERE region = 'EU') AS r, count(n) FILTER (WHERE region = 'EU') AS n FROM orders`,
  );
  expect(
    await refusalInFull(db.query(`SELECT sum(amount) FILTER (WHERE note = 'a note') FROM orders`)),
  ).toMatch(/^ADB_RESOLUTION: .*conditions of "note" are not kept/);
  const filters = (count: number): string =>
    Array.from(
      { length: count },
      (_, each) => `count(*) FILTER (WHERE region >= '${String.fromCharCode(65 + each)}')`,
    ).join(', ');
  await sameRows(`SELECT ${filters(30)} FROM orders`);
  expect(await refusalInFull(db.query(`SELECT ${filters(31)} FROM orders`))).toMatch(
    /more than 30 FILTERs are not kept/,
  );
});

test('FILTERs speak of time, where it begins and ends with what is kept', async () => {
  await demote({ measures: 'amount, approx_percentile(n)' });
  const filters = [
    `ts >= '2026-03-02'`,
    `ts < '2026-03-02' OR ts >= '2026-03-04'`,
    `ts >= '2026-03-03' AND region = 'US'`,
    `ts::date IN ('2026-03-01', '2026-03-05', '2026-03-07')`,
    `date_trunc('month', ts) = '2026-03-01'`,
    `now() - ts > interval '72 hours' AND true`,
    `NOT (ts BETWEEN '2026-03-02' AND '2026-03-05 23:59:59.999999') AND region IN ('EU', 'US')`,
    'ts IS NULL',
    'ts IS NOT NULL',
    `ts > '2027-01-01'`,
    `ts + interval '1 day' < '2026-03-04'`,
    `ts >= now() - interval '4 days 2 minutes' AND region = 'EU'`,
  ];
  for (const filter of filters) {
    const calls = [
      'count(*)',
      'count(ts)',
      'sum(amount)',
      'min(amount)',
      'stddev(amount)',
      'approx_percentile(n, 0.5)',
      'count(DISTINCT region)',
    ].map((call, index) => `${call} FILTER (WHERE ${filter}) AS f${index}`);
    await sameRows(`SELECT ${calls.join()}, count(*) AS n FROM orders`);
    await sameRows(`SELECT region, ${calls.join()} FROM orders GROUP BY 1 ORDER BY 1`);
    await sameRows(`SELECT ${calls.join()} FROM orders WHERE ts < '2026-03-05' AND region = 'EU'`);
    await sameRows(`SELECT ts::date AS d, ${calls.join()} FROM orders GROUP BY 1 ORDER BY 1`);
    for (const by of [[], ['region']])
      await sameWindows({
        range: ['2026-03-01', '2026-03-08'],
        every: 'day',
        hop: by.length === 0 ? undefined : 'day',
        by,
        measures: {
          part: `count(*) FILTER (WHERE ${filter})`,
          share: `sum(amount) FILTER (WHERE ${filter}) / sum(amount)`,
          p: `approx_percentile(n, 0.9) FILTER (WHERE ${filter})`,
          n: 'count(*)',
        },
        fill: 'zero',
      });
  }
  // Several at once; quarters of an hour are kept of the 4th and 5th.
  await sameRows(
    `SELECT count(*) AS n, ${filters.map((filter, index) => `sum(amount) FILTER (WHERE ${filter}) AS f${index}`).join()},
       count(*) FILTER (WHERE ts >= '2026-03-04 12:15' AND ts < '2026-03-05 00:45') AS q FROM orders`,
  );
  const params = ['2026-03-04 10:00', '2 days'];
  const sql = `SELECT count(*) FILTER (WHERE ts >= $1) AS a, count(*) FILTER (WHERE ts >= now() - $2::interval) AS b FROM orders`;
  expect((await db.query(sql, { params })).rows).toEqual((await plain.query(sql, { params })).rows);
  // What cuts a tile, and what time and groups tell together.
  for (const filter of [
    `ts < '2026-03-02 12:00'`,
    `ts = '2026-03-02'`,
    `ts < '2026-03-04 12:31'`,
    'extract(hour FROM ts) < 12',
    `ts < '2026-03-02' OR region = 'EU'`,
    `ts + interval '1 month' > '2026-04-02'`,
    `ts > now() - random() * interval '1 day'`,
    `ts > now() - (SELECT interval '4 days')`,
  ]) {
    const call = `count(*) FILTER (WHERE ${filter})`;
    expect(await refusalInFull(db.query(`SELECT ${call} FROM orders`)), filter).toMatch(
      /^ADB_RESOLUTION/,
    );
    expect(
      await refusalInFull(
        db.window('orders', { range: ['2026-03-01', '2026-03-08'], measures: { n: call } }),
      ),
      filter,
    ).toMatch(/^ADB_RESOLUTION/);
  }
});

test('hours and days are added to times where the clocks change', async () => {
  for (const each of [db, plain]) {
    // Where clocks go forward on the 8th at two, and where they do so at midnight.
    await each.exec(
      `CREATE TABLE ticks (id int PRIMARY KEY, ts timestamptz NOT NULL) WITH (time = 'ts');
       INSERT INTO ticks SELECT n, timestamptz '2026-03-06 00:00Z' + n * interval '15 minutes' FROM generate_series(0, 479) AS g(n);
       INSERT INTO ticks SELECT 1000 + n, timestamptz '2026-09-04 12:00Z' + n * interval '15 minutes' FROM generate_series(0, 287) AS g(n);
       INSERT INTO ticks SELECT 2000 + n, timestamptz '2026-10-31 00:00Z' + n * interval '15 minutes' FROM generate_series(0, 287) AS g(n)`,
    );
  }
  await db.policies.set('ticks', { retention: 'raw 1d, 15m forever' });
  await clock.advance('300d');
  const at: [zone: string, times: string[]][] = [
    [
      'America/New_York',
      ['2026-03-08 01:45', '2026-03-08 03:00', '2026-03-08 03:45', '2026-11-01 01:30'],
    ],
    ['America/Santiago', ['2026-09-05 23:45', '2026-09-06 01:00', '2026-09-06 01:45']],
    ['Australia/Lord_Howe', ['2026-10-04 02:30', '2026-04-05 01:45']],
    ['UTC', ['2026-03-08 02:00']],
  ];
  let asked = 0;
  for (const [zone, times] of at)
    for (const time of times)
      for (const own of [
        `ts + interval '1 day'`,
        `interval '2 days 30 minutes' + ts`,
        `ts - interval '1 day'`,
        `ts - interval '27 days'`,
        `ts + interval '90 minutes'`,
        `(ts AT TIME ZONE 'America/New_York') + interval '1 day'`,
        `date_trunc('hour', ts) - interval '45 minutes'`,
        `ts + interval '1 month'`,
        `interval '1 month 15 minutes' + ts`,
        `ts - interval '6 months'`,
      ])
        // Each statement is compiled for itself: half of them at one time, half at the next.
        for (const op of (asked += 1) % 2 === 0 ? ['<', '='] : ['>=', '<>']) {
          const sql = `SELECT count(*) AS n, count(*) FILTER (WHERE ${own} ${op} '${time}') AS f, min(ts) AS a, max(ts) AS z FROM ticks WHERE ${own} ${op} '${time}'`;
          const [mine, theirs] = await Promise.all(
            [db, plain].map(async (each) => await each.query(sql, { zone }).catch(String)),
          );
          if ((op === '=' || op === '<>') && typeof mine === 'string')
            expect(mine).toMatch(/are kept as one tile/);
          else expect(mine, sql).toMatchObject({ rows: (theirs as { rows: unknown[] }).rows });
        }
}, 120_000);

test('months are added to times: where a month is shorter than the one before, its last evening comes after mornings of the days that fall on it', async () => {
  for (const each of [db, plain])
    await each.exec(
      `CREATE TABLE ticks (id int PRIMARY KEY, ts timestamptz NOT NULL) WITH (time = 'ts');
       INSERT INTO ticks SELECT n, timestamptz '2025-01-26 00:00Z' + n * interval '3 hours' FROM generate_series(0, 79) AS g(n);
       INSERT INTO ticks SELECT 100 + n, timestamptz '2025-05-28 00:00Z' + n * interval '3 hours' FROM generate_series(0, 79) AS g(n);
       INSERT INTO ticks SELECT 200 + n, timestamptz '2025-10-24 00:00Z' + n * interval '3 hours' FROM generate_series(0, 99) AS g(n)`,
    );
  await db.policies.set('ticks', { retention: 'raw 1d, 15m forever' });
  await clock.advance('2min');
  expect((await db.query('SELECT 1 FROM ticks')).rows).toEqual([]);
  const both = async (
    own: string,
    time: string,
    zone: string,
    params: readonly unknown[] = [],
  ): Promise<number> => {
    let count = 0;
    for (const op of ['<', '>=']) {
      const where = `${own} ${op} '${time}'`;
      const counted = `SELECT count(*) AS n, count(*) FILTER (WHERE ${where}) AS f, min(ts) AS a, max(ts) AS z FROM ticks`;
      for (const text of [counted, `${counted} WHERE ${where}`]) {
        const [mine, theirs] = await Promise.all(
          [db, plain].map(
            async (each) => (await each.query(text, { zone, params: [...params] })).rows,
          ),
        );
        expect(mine, text).toEqual(theirs);
        count = Math.max(count, Number(mine![0]!['f']));
      }
    }
    return count;
  };
  // Of these days of January every morning comes before an evening, and every evening after a morning.
  for (const time of [
    '2025-02-27 12:00',
    '2025-02-28 00:00',
    '2025-02-28 09:00',
    '2025-02-28 21:00',
    '2025-03-01',
  ])
    for (const zone of ['UTC', 'America/New_York', 'Pacific/Apia'])
      expect(await both(`ts + interval '1 month'`, time, zone)).toBeGreaterThan(0);
  for (const [own, time] of [
    [`ts - interval '3 months'`, '2025-02-28 06:00'],
    [`ts + interval '6 months'`, '2025-11-30 12:00'],
    [`interval '13 months' + ts`, '2026-02-28 18:00'],
    [`ts + interval '1 month 6 hours'`, '2025-02-28 12:00'],
    [`ts::date + interval '1 month'`, '2025-02-28'],
    [`ts::date - interval '1 month 3 days'`, '2025-04-27'],
    // Clocks go back on the 26th of October.
    [`ts - interval '1 month'`, '2025-09-26 00:00'],
    [`ts + interval '10 days'`, '2025-11-05 01:00'],
    [`ts + interval '5 months'`, '2026-03-29 03:00'],
  ] as const)
    for (const zone of ['UTC', 'Europe/Berlin']) await both(own, time, zone);
  for (const span of ['1 month', '1 day', '90 minutes', '-1 month', '2 years', null])
    for (const own of ['ts + $1::interval', 'ts - $1::interval'])
      await both(own, '2025-06-30 06:00', 'UTC', [span]);
  // What mixes months and days of an instant, and months of what is no column, is refused.
  for (const own of [
    `ts + interval '1 month 1 day'`,
    `date_trunc('hour', ts) + interval '1 month'`,
    `ts + (now() - timestamptz '2026-03-01')`,
  ])
    expect(
      await refusalInFull(db.query(`SELECT count(*) FROM ticks WHERE ${own} < '2025-02-28'`)),
    ).toMatch(/^ADB_RESOLUTION/);
  // In a window's condition, too.
  for (const where of [
    sql`ts + ${'1 month'}::interval < '2025-02-28 09:00'`,
    sql`ts - ${'-1 day'}::interval < '2025-06-01'`,
  ]) {
    const query = {
      range: ['2025-01-01', '2026-01-01'],
      measures: { n: 'count(*)' },
      where,
    } as const;
    expect((await db.window('ticks', query)).rows).toEqual(
      (await plain.window('ticks', query)).rows,
    );
  }
});

test('what is measured is a column, or its value as a double', async () => {
  await demote({ measures: 'amount, approx_percentile(n)' });
  await sameRows(
    'SELECT sum(amount) AS s, approx_percentile(n, 0.5) AS p, min(ts) AS first FROM orders',
  );
  for (const sum of ['sum(n::numeric)', 'sum(amount::real)', 'approx_percentile(amount, 0.5)'])
    expect(await refusalInFull(db.query(`SELECT ${sum} FROM orders`)), sum).toMatch(
      /^ADB_RESOLUTION/,
    );
});

// A column's scale was taken for that of its values, which is never below nought. Nothing had a scale below it.
test('numbers of every scale are demoted and added up', async () => {
  for (const each of [db, plain]) {
    await each.exec(
      'ALTER TABLE orders ADD COLUMN big numeric(5, -2), ADD COLUMN small numeric(3, 5)',
    );
    await each.exec('UPDATE orders SET big = id * 100, small = id::numeric / 100000');
  }
  await demote();
  await sameRows(
    'SELECT sum(big) AS b, max(big) AS m, sum(small) AS s, min(small) AS l FROM orders',
  );
});

test('conditions on time are read in every spelling, also those that no row meets', async () => {
  await demote();
  for (const condition of [
    `ts > '2026-03-03 23:59:59.999999'`,
    `ts <= '2026-03-03 23:59:59.999999'`,
    `ts > '2026-02-28' AND ts <= '2026-03-03 23:59:59.999999' AND ts < '2026-03-07'`,
    `ts = '2026-03-07 12:30'`,
    'ts > NULL',
    `ts > '2026-03-06' AND ts < NULL`,
    `ts > '2026-03-05' AND ts < '2026-03-04'`,
    `region = 'nowhere'`,
    `region = 'nowhere' AND ts < '2026-03-04'`,
  ])
    await sameRows(`SELECT count(*) AS n, sum(amount) AS s FROM orders WHERE ${condition}`);
  await sameRows(
    `SELECT region, count(*) AS n FROM orders WHERE region = 'nowhere' GROUP BY region`,
  );
});

test('a window that cuts a tile is answered where nothing that is asked for lies in it', async () => {
  await demote({ retention: 'raw 2d, day forever' });
  const query: WindowQuery = {
    range: ['2026-03-02T12:00:00Z', '2026-03-05T12:00:00Z'],
    measures: { n: 'count(*)', s: 'sum(amount)' },
  };
  expect(await refusalInFull(db.window('orders', query))).toMatch(
    /^ADB_RESOLUTION.* one tile of day/,
  );
  await sameWindows({ ...query, where: `region = 'nowhere'` });
});

// A row without a time was in the way of a condition that it does not meet, and the error spoke of another time. Every demoted row of a test
// had one. Now such rows are a bucket of their own.
test('days are buckets beside rows that have no time, or an infinite one', async () => {
  await demote();
  const late = [
    { id: 900, ts: '2026-02-11T08:00:00Z', region: 'EU', amount: 7 },
    { id: 901, ts: '2026-03-02T08:00:00Z', region: 'US', amount: 7 },
  ];
  for (const each of [db, plain]) await each.insert('orders', late);
  const days = (where: string, by = "date_trunc('day', ts)"): string =>
    `SELECT ${by} AS day, region, count(*) AS n, sum(amount) AS s FROM orders ${where} GROUP BY 1, 2 ORDER BY 1, 2`;
  await sameRows(days(''));
  await sameRows(days(`WHERE ts < '2026-03-05'`));
  const none = { id: 902, ts: null, region: 'EU', amount: 7 };
  for (const each of [db, plain]) await each.insert('orders', none);
  for (const where of ['', `WHERE ts >= '2026-02-01'`, `WHERE ts < '2026-03-05'`])
    await sameRows(days(where));
  for (const each of [db, plain])
    await each.insert('orders', [
      { id: 903, ts: 'infinity', region: 'EU', amount: 7 },
      { id: 904, ts: '-infinity', region: 'US', amount: 8 },
    ]);
  for (const where of ['', `WHERE ts >= '2026-02-01'`, 'WHERE ts IS NOT NULL', 'WHERE ts IS NULL'])
    await sameRows(days(where));
});

// What compares time with NULL or an infinity, or asks whether there is one, was refused: only stretches with two ends were thought of.
test('whatever a condition says of time, demoted rows are counted as rows are', async () => {
  await demote();
  const rows = [
    { id: 902, ts: null, region: 'EU', amount: 7 },
    { id: 903, ts: 'infinity', region: 'EU', amount: 8 },
    { id: 904, ts: '-infinity', region: 'US', amount: 9 },
  ];
  const ask = async (where: string): Promise<void> => {
    const counted = `SELECT count(*) AS n, sum(amount) AS s, max(ts) AS t FROM orders WHERE ${where}`;
    await sameRows(counted);
    await sameRows(
      `SELECT region, ts::date AS day, avg(amount) AS a FROM orders WHERE ${where} GROUP BY 1, 2 ORDER BY 1, 2`,
    );
  };
  const conditions = [
    `ts < 'infinity'`,
    `ts <= 'infinity'`,
    `ts > '-infinity' AND region = 'US'`,
    `ts >= 'infinity'`,
    `ts < '-infinity'`,
    'ts IS NULL',
    'ts IS NOT NULL',
    'ts = NULL',
    'NOT (ts IS NULL)',
    `ts IS NULL OR ts < '2026-03-04'`,
    `ts < '2026-03-02' OR ts >= '2026-03-04'`,
    `NOT (ts >= '2026-03-02' AND ts < '2026-03-04')`,
    `ts NOT BETWEEN '2026-03-02' AND '2026-03-03 23:59:59.999999'`,
    `ts <> '2026-03-07 12:30'`,
    `ts NOT IN ('2026-03-07 12:30', '2026-03-07 13:30')`,
    `ts::date = '2026-03-03'`,
    `ts::date IN ('2026-03-03', '2026-03-05', '2026-03-30')`,
    `ts::date <> '2026-03-03'`,
    `date_trunc('day', ts) = '2026-03-03'`,
    `date_trunc('month', ts) >= '2026-03-01'`,
    `date_trunc('day', ts AT TIME ZONE 'UTC') < '2026-03-03'`,
    `ts::timestamp >= '2026-03-04'`,
    `'2026-03-04' <= ts`,
    'extract(year FROM ts) = 2026',
    `extract(year FROM ts) < 2026`,
    `now() - ts > interval '72 hours'`,
    `ts::date - '2026-03-01'::date >= 2`,
    `time_bucket('1 day', ts, 'UTC') = '2026-03-03'`,
    `true OR ts < '2026-03-03'`,
    `ts > nullif(now(), now())`,
  ];
  for (const where of conditions) await ask(where);
  for (const each of [db, plain]) await each.insert('orders', rows);
  // Nothing is subtracted from an infinite time, in rows as in tiles.
  for (const where of conditions.filter((each) => !/now\(\) -|::date -/.test(each)))
    await ask(where);
  for (const params of [[null], ['infinity'], ['-infinity'], ['2026-03-04']]) {
    const sql = 'SELECT count(*) AS n, sum(amount) AS s FROM orders WHERE ts < $1';
    expect((await db.query(sql, { params })).rows).toEqual(
      (await plain.query(sql, { params })).rows,
    );
  }
  const since = `SELECT count(*) FROM orders WHERE now() - ts > interval '72 hours'`;
  expect(await refusalInFull(db.query(since))).toBe(await refusalInFull(plain.query(since)));
  // What reads rows alone needs none that were demoted.
  await sameRows('SELECT string_agg(id::text, note) AS ids FROM orders WHERE ts IS NULL');
  await sameRows(
    `SELECT string_agg(id::text, note) AS ids FROM orders WHERE ts::date IN ('2026-03-07')`,
  );
  // What no stretch of time tells is refused, and what cuts a tile.
  for (const where of [
    'extract(hour FROM ts) < 12',
    `ts + interval '1 month' > '2026-04-01'`,
    `ts < '2026-03-02 12:00'`,
    `ts = '2026-03-02'`,
    `ts < '2026-03-02' OR region = 'EU'`,
    `date_trunc('day', ts) < '2026-03-02 00:00:01' AND extract(dow FROM ts) = 0`,
  ])
    expect(
      await refusalInFull(db.query(`SELECT count(*) FROM orders WHERE ${where}`)),
      where,
    ).toMatch(/^ADB_RESOLUTION/);
});

test('conditions and buckets of time that are seldom written are answered as of rows, or refused', async () => {
  await demote();
  const both = async (sql: string, params: unknown[]): Promise<void> => {
    expect((await db.query(sql, { params })).rows, sql).toEqual(
      (await plain.query(sql, { params })).rows,
    );
  };
  const count = 'SELECT count(*) AS n, sum(amount) AS s FROM orders WHERE';
  const days = (where: string): string =>
    `SELECT date_trunc('day', ts) AS day, count(*) AS n FROM orders WHERE ${where} GROUP BY 1 ORDER BY 1`;
  await both(`${count} $1 AND ts < '2026-03-03'`, [true]);
  await both(`${count} ($1 OR ts < '2026-03-03') AND region = 'EU'`, [null]);
  await both(`${count} 'E' < region AND ts < '2026-03-04'`, []);
  await both(`${count} starts_with(region, 'E') AND ts < '2026-03-04'`, []);
  await both(`${count} $1 < region AND '2026-03-02' <= ts`, ['E']);
  await both(`${count} $1 <= ts AND lower($2) < region`, ['2026-03-02', 'E']);
  await both(
    `${count} ts::date IN (${Array.from({ length: 300 }, (_, day) => `'${new Date(Date.UTC(1999, 0, day)).toISOString().slice(0, 10)}'`).join()})`,
    [],
  );
  await both(`${count} (region || $1) > 'A' AND ts < '2026-03-04'`, ['x']);
  // Quarters are kept of these days: a day has two stretches.
  await both(days(`ts < '2026-03-05 10:00' OR ts >= '2026-03-05 12:00'`), []);
  await both(
    `SELECT time_bucket($1::interval, ts, 'UTC') AS b, count(*) AS n FROM orders WHERE ts < now() GROUP BY 1 ORDER BY 1`,
    ['1 day'],
  );
  const dates = Array.from(
    { length: 300 },
    (_, day) => `'${new Date(Date.UTC(2026, 2, 8 - day)).toISOString().slice(0, 10)}'`,
  );
  await both(`${count} ts::date IN (${dates.join()})`, []);
  const refused = async (sql: string, params: unknown[] = []): Promise<string> =>
    await refusalInFull(db.query(sql, { params }));
  // A parameter says what the same written out says.
  await both(`${count} date_part($1, ts) = 2026`, ['year']);
  for (const where of [
    'date_part($1, ts) = 3',
    `isfinite(ts) = ($1 = 'year')`,
    `CASE WHEN region = $1 THEN ts < '2026-03-04' ELSE ts < '2026-03-05' END`,
    `ts > ts - $1::interval`,
    `ts + $1::interval > '2026-03-04'`,
    `ts < '2026-03-04' AND ts <> (SELECT max(ts) FROM orders WHERE region = $1)`,
  ])
    expect(
      await refused(`${count} ${where}`, [
        where.includes('interval') ? '1 day' : where.includes('= 3') ? 'month' : 'year',
      ]),
      where,
    ).toMatch(/^ADB_RESOLUTION/);
  // Not soon told, and told by nobody else.
  expect(
    await refusalInFull(
      db.window('orders', {
        range: ['2026-03-01', '2026-03-08'],
        measures: { n: 'count(*)' },
        where: `ts::date IN (${dates.join()})`,
      }),
    ),
  ).toMatch(/^ADB_RESOLUTION/);
  const none = `SELECT time_bucket('1 day', ts, $1::text) AS b, count(*) AS n FROM orders WHERE ts < now() GROUP BY 1`;
  expect(await refused(none, [null])).toMatch(
    /^ADB_RESOLUTION.*times that its conditions and buckets tell apart/,
  );
  // What cannot be computed is an error of the rows.
  const zeroth = `${count} ts < '2026-03-01'::timestamptz + interval '1 day' / $1::float8`;
  expect(await refused(zeroth, [0])).toBe(
    await refusalInFull(plain.query(zeroth, { params: [0] })),
  );
  // Beyond the times that tiles know.
  for (const each of [db, plain])
    await each.insert('orders', { id: 905, ts: '9999-12-31', region: 'EU', amount: 7 });
  expect(await refused(`${count} ts > '2026-03-01'`)).toMatch(/^ADB_RESOLUTION/);
  await both(`${count} ts >= '2026-03-01' AND ts < '2027-01-01'`, []);
  await both(count.replace(' WHERE', ''), []);
});

test('windows whose condition speaks of time are of the demoted rows that it lets through', async () => {
  await demote();
  for (const where of [
    `ts >= '2026-03-03'`,
    `ts >= now() - interval '4 days 2 minutes'`,
    `ts + interval '3 days' < '2026-03-06'`,
    `(ts < '2026-03-02' OR ts >= '2026-03-04') AND region = 'EU'`,
    `ts::date <> '2026-03-03'`,
    `ts IS NULL`,
    `ts > NULL`,
  ])
    for (const every of ['day', undefined])
      await sameWindows({
        range: ['2026-03-01', '2026-03-08'],
        ...(every === undefined ? {} : { every, fill: 'zero' }),
        measures: { n: 'count(*)', s: 'sum(amount)' },
        by: ['region'],
        where,
      });
  const cut: WindowQuery = { range: ['2026-03-01', '2026-03-08'], measures: { n: 'count(*)' } };
  for (const where of [`ts < '2026-03-02 12:00'`, 'extract(hour FROM ts) < 12'])
    expect(await refusalInFull(db.window('orders', { ...cut, where })), where).toMatch(
      /^ADB_RESOLUTION/,
    );
});

test('ends that go along with now lie where tiles do, and say so; what is asked to begin in a tile is refused', async () => {
  await demote();
  const measures = { n: 'count(*)', s: 'sum(amount)' };
  const now = clock.now();
  const minutesAgo = (minutes: number): number => now - minutes * 60_000;
  const NOTE =
    /^rows of "orders" before 2026-03-05T23:45:00.000Z are tiles \(retention = .*\): ends that go along with now lie where these do$/;
  // 2026-03-05 17:32, two minutes after a quarter that has an order; it is beside 2026-03-03 11:02, in the middle of a day.
  const last = { last: '3270 minutes', measures } as const;
  const quarter = Date.parse('2026-03-05T17:45:00Z');
  const range = async (from: number, to: number): Promise<unknown> =>
    (await plain.window('orders', { range: [from, to], measures })).rows[0]!.values;
  const { rows, meta } = await db.window('orders', last);
  expect(rows[0]).toMatchObject({
    startMs: quarter,
    endMs: now,
    label: '2026-03-05T17:32:00+00:00',
    partial: true,
    complete: true,
  });
  expect(rows[0]!.values).toEqual(await range(quarter, now));
  expect(meta.notes).toEqual([expect.stringMatching(NOTE)]);
  const compared = await db.window('orders', { ...last, compare: 'previous' });
  const there = [Date.parse('2026-03-04'), Date.parse('2026-03-05T17:30:00Z')] as const;
  expect(compared.rows[0]!.compared).toEqual({
    startMs: there[0],
    endMs: there[1],
    partial: true,
  });
  expect(compared.rows[0]!.previous).toEqual(await range(...there));
  expect((await db.explainWindow('orders', last)).text).toMatch(
    /2026-03-05T17:45:00\+00:00 → 2026-03-08T00:02:00\+00:00 .*\(partial\)[^]*along with now/,
  );
  // In hours: the first begins later. A quarter that nothing is left of is no window.
  const hours = await db.window('orders', {
    ...last,
    every: 'hour',
    fill: 'zero',
    compare: { weeksAgo: 1 },
  });
  expect(hours.rows[0]).toMatchObject({
    startMs: quarter,
    label: '2026-03-05T17:00+00:00',
    partial: true,
  });
  expect(hours.rows).toHaveLength(56);
  const quarters = await db.window('orders', { ...last, every: '15min', fill: 'zero' });
  expect(quarters.rows[0]).toMatchObject({ startMs: quarter, partial: false });
  // The beginning alone.
  const beginning = await db.window('orders', { text: 'now-3270m to now/d', measures });
  expect(beginning.rows[0]).toMatchObject({ startMs: quarter, endMs: Date.parse('2026-03-09') });
  // The end alone; what ends in a tile is beside less of a day, and beside nothing where it has not got so far.
  const ending = await db.window('orders', { text: 'now-4d/d to now-3270m', measures });
  expect(ending.rows[0]!.endMs).toBe(there[1]);
  expect(ending.rows[0]!.values).toEqual(await range(there[0], there[1]));
  const week = await db.window('orders', {
    toDate: 'day',
    compare: { weeksAgo: 1 },
    measures,
    now: '2026-03-12T17:37:00Z',
  });
  expect(week.rows[0]!.compared).toEqual({
    startMs: Date.parse('2026-03-05'),
    endMs: there[1],
    partial: true,
  });
  expect(
    (
      await db.window('orders', {
        toDate: 'day',
        compare: { weeksAgo: 1 },
        measures,
        now: '2026-03-10T17:37:00Z',
        fill: 'zero',
      })
    ).rows[0]!.compared,
  ).toBeNull();
  // What lies with tiles is as it was, with its flags; so is what is of other times.
  const whole = await db.window('orders', { ...last, last: '3272 minutes' });
  expect(whole.rows[0]).toMatchObject({ startMs: minutesAgo(3272), partial: false });
  expect(whole.meta.notes).toBeUndefined();
  // Who says where it begins is told that it cannot be; so is what lies in one tile altogether, and where sessions are asked for.
  for (const query of [
    { range: [minutesAgo(3270), now] },
    { toDate: 'week', zone: 'Asia/Kolkata', now: '2026-03-07T12:00:00Z' },
    { current: 'week', zone: 'Asia/Kolkata', now: '2026-03-07T12:00:00Z' },
    { text: 'now-3271m to now-3270m' },
    { ...last, gap: '2h' },
    { ...last, every: 'minute' },
    {
      toDate: 'day',
      compare: { to: { weeksAgo: 1 }, align: 'fullPeriod' },
      zone: 'Asia/Kolkata',
      now: '2026-03-09T03:00:00Z',
    },
  ] as const)
    expect(
      await refusalInFull(db.window('orders', { measures, ...query } as WindowQuery)),
      JSON.stringify(query),
    ).toMatch(/^ADB_RESOLUTION/);
});

test('what lies as far back as a span is long that grows goes along with now, too', async () => {
  await demote();
  const measures = { n: 'count(*)', s: 'sum(amount)' };
  const range = async (from: string, to: string): Promise<unknown> =>
    (await plain.window('orders', { range: [from, to], measures, fill: 'zero' })).rows[0]?.values;
  await clock.advance('26min');
  // 48 hours and 28 minutes back from the 6th: 2026-03-03 23:32.
  const growing = { text: 'now-2d/d to now', compare: 'previous', measures } as const;
  const whole = await db.window('orders', growing);
  expect(whole.rows[0]).toMatchObject({
    partial: false,
    compared: { startMs: Date.parse('2026-03-04'), endMs: Date.parse('2026-03-06'), partial: true },
    previous: await range('2026-03-04', '2026-03-06'),
  });
  expect(whole.meta.notes).toEqual([expect.stringMatching(/along with now/)]);
  const hours = await db.window('orders', { ...growing, every: 'hour', fill: 'zero' });
  expect(hours.rows[1]!.compared).toEqual({
    startMs: Date.parse('2026-03-04T00:45:00Z'),
    endMs: Date.parse('2026-03-04T01:30:00Z'),
    partial: true,
  });
  for (const { compared, previous } of hours.rows) {
    const [from, to] = [compared!.startMs, compared!.endMs].map((ms) => new Date(ms).toISOString());
    expect(previous).toEqual(await range(from!, to!));
  }
  // Its beginning moves, and with it both ends of what it is beside.
  const shrinking = await db.window('orders', {
    text: 'now-3296m to now-1h/h',
    compare: 'previous',
    measures,
  });
  const [from, to] = ['2026-03-04', '2026-03-05T17:30:00Z'] as const;
  expect(shrinking.rows[0]).toMatchObject({
    compared: { startMs: Date.parse(from), endMs: Date.parse(to), partial: true },
    previous: await range(from, to),
  });
});

test('a live window whose beginning passes through tiles goes on', async () => {
  await demote();
  const query = { last: '50h', compare: 'previous', measures: { n: 'count(*)' } } as const;
  const live = db.subscribe({ window: { table: 'orders', ...query } });
  const told: unknown[] = [];
  const reading = (async () => {
    for await (const change of live)
      if (change.kind === 'snapshot') told.push(change.rows);
      else if (change.kind === 'delta') told.push(change.inserted);
  })();
  const starts: number[] = [];
  for (let minute = 0; minute < 45; minute += 1) {
    await clock.advance('1min');
    const { rows } = await db.window('orders', query);
    expect(told.at(-1)).toEqual(rows);
    starts.push(new Date(rows[0]!.startMs).getUTCMinutes());
  }
  // Nothing lies in the other quarters.
  expect(starts).toEqual(
    Array.from({ length: 45 }, (_, each) => (each + 3 > 30 && each + 3 < 45 ? 45 : each + 3)),
  );
  await live.close();
  await reading;
});

test('a policy that keeps nothing, or is no more, says so', async () => {
  await demote({ by: null, measures: [] });
  expect(await refusalInFull(db.query('SELECT sum(amount) FROM orders'))).toMatch(
    /sum of "amount" are not kept .* \| Kept are count, sum, min and max of ts; ask/,
  );
  await sameRows('SELECT count(*) AS n, max(ts) AS t FROM orders');
  await db.policies.drop('orders');
  const hours = {
    range: ['2026-03-01', '2026-03-03'] as const,
    every: 'hour',
    measures: { n: 'count(*)' },
  };
  expect(await refusalInFull(db.window('orders', hours))).toMatch(
    /one tile of day of another zone \| They were demoted by a policy that is no more/,
  );
  const { notes } = await db.explainWindow('orders', { ...hours, every: 'day' });
  expect(notes).toEqual([
    'rows of "orders" before 2026-03-05T23:45:00.000Z are tiles (a policy that is no more)',
  ]);
});

test('a row that comes is added to tiles that have room for demoted values of every size', async () => {
  await db.exec(
    `CREATE TABLE sizes (id int PRIMARY KEY, ts timestamptz, x float8, region text) WITH (time = 'ts')`,
  );
  const sizes = [-105, -60, -20, 0, 20, 60, 105].map((power) => 10 ** power);
  const row = (id: number, day: number, x: number): Record<string, string | number> => ({
    id,
    ts: new Date(Date.UTC(2026, 2, day, 12, 20)).toISOString(),
    x,
    region: 'EU',
  });
  for (const [id, x] of sizes.entries()) await db.insert('sizes', [row(id, 1, x)]);
  await db.insert('sizes', [row(10, 6, 3)]);
  await db.policies.set('sizes', { retention: 'raw 3d, 15m forever' });
  await clock.advance('1h');
  expect((await db.query('SELECT id FROM sizes')).rows).toEqual([{ id: 10 }]);
  const ask = async (from: string): Promise<unknown> =>
    (
      await db.window('sizes', {
        range: [from, '2026-03-08'],
        measures: { s: 'sum(x)', v: 'var_pop(x)', n: 'count(x)', hi: 'max(x)' },
      })
    ).rows[0]!.values;
  for (const from of ['2026-03-01', '2026-03-06']) await ask(from);
  await db.insert('sizes', [row(11, 6, 5), row(12, 1, 0.1)]);
  expect(await ask('2026-03-06')).toEqual({ s: 8, v: 1, n: 2, hi: 5 });
  expect(await ask('2026-03-01')).toMatchObject({ s: 1e105, n: 10, hi: 1e105 });
});

test('percentiles of demoted values of every kind, and squares that a policy of before has not kept', async () => {
  await db.exec(
    `CREATE TABLE kinds (id int PRIMARY KEY, ts timestamptz, x float8, device int) WITH (time = 'ts')`,
  );
  const values = [NaN, -3, 0, -0.001, 7, Infinity, -Infinity, 7.01, null, 1e-9, -3, 12];
  await db.insert(
    'kinds',
    Array.from({ length: 60 }, (_, id) => ({
      id,
      ts: new Date(Date.UTC(2026, 2, 1 + (id % 7), 12, id)).toISOString(),
      x: values[(id * 5) % values.length]!,
      device: id % 4,
    })),
  );
  const asked = `SELECT ts::date AS day, approx_percentile(x, 0.02) AS a, approx_percentile(x, 0.3) AS b, approx_percentile(x, 0.5) AS c,
    approx_percentile(x, 0.8) AS d, approx_percentile(x, 1) FILTER (WHERE device < 2) AS e, count(DISTINCT device) AS f FROM kinds WHERE ts > '2020-01-01' GROUP BY 1 ORDER BY 1`;
  const before = (await db.query(asked)).rows;
  await db.policies.set('kinds', {
    retention: 'raw 3d, 15m forever',
    by: ['device'],
    measures: 'approx_percentile(x)',
  });
  await clock.advance('1h');
  expect((await db.query('SELECT id FROM kinds')).rows.length).toBeLessThan(30);
  expect((await db.query(asked)).rows).toEqual(before);
  expect(await refusalInFull(db.query('SELECT count(DISTINCT device::float8) FROM kinds'))).toMatch(
    /distinct values of "device" are not kept/,
  );
  const { engine } = db as unknown as { readonly engine: Engine };
  // Whatever the number of the table: what was kept before squares were.
  for (let relation = 1; relation < 100; relation += 1)
    for (const era of engine.state.keptTable(relation)?.tiles.eras ?? [])
      era.shape = {
        ...era.shape,
        terms: era.shape.terms.filter(({ isSquare }) => isSquare !== true),
      };
  expect(await refusalInFull(db.query('SELECT stddev(x) FROM kinds'))).toMatch(
    /stddev_samp of "x" are not kept.*Kept are count, sum, min and max of ts, x, by device/,
  );
});

test('columns of what is kept may go, its times too', async () => {
  await demote({ measures: 'amount' });
  await db.policies.drop('orders');
  await db.exec('ALTER TABLE orders DROP COLUMN region');
  expect(await refusalInFull(db.query('SELECT sum(n) FROM orders'))).toMatch(
    /Kept are count, sum, min, max and stddev of ts, amount; ask/,
  );
  await sameRows('SELECT count(*) AS n, sum(amount) AS s FROM orders');
  await sameWindows({
    range: ['2026-03-01', '2026-03-08'],
    every: 'day',
    measures: { s: 'sum(amount)' },
  });
  await db.exec('ALTER TABLE orders DROP COLUMN ts');
  expect(await refusalInFull(db.query('SELECT count(*) FROM orders'))).toMatch(
    /^ADB_RESOLUTION: .*Kept are count, sum, min, max and stddev of amount; ask/,
  );
  await db.exec('ALTER TABLE orders DROP COLUMN amount');
  expect(await refusalInFull(db.query('SELECT count(n) FROM orders'))).toMatch(
    /max of nothing; ask/,
  );
  expect((await db.query('SELECT id FROM orders WHERE id < 130')).rows).toHaveLength(10);
});

test('tiles of a policy before are added to those of the one that followed, and go with their time', async () => {
  await demote({ by: null });
  await demote({ by: ['region'], measures: 'n' });
  await clock.advance('1d');
  await sameRows('SELECT count(*) AS n, count(n) AS k, sum(n) AS s FROM orders');
  expect(
    await refusalInFull(db.query('SELECT region, count(*) FROM orders GROUP BY region')),
  ).toMatch(/rows apart by "region" are not kept/);
  // What the first kept ends; nobody can read it any more when history has passed.
  await db.policies.set('orders', { retention: 'raw 2d, day 3d' });
  await clock.advance('1h');
  await clock.advance('1h');
  await clock.advance('1h');
  const since = `WHERE ts >= '2026-03-06'`;
  await plain.exec(`DELETE FROM orders WHERE ts < '2026-03-06'`);
  expect(
    await sameRows('SELECT region, count(*) AS n FROM orders GROUP BY region ORDER BY 1'),
  ).toEqual([
    { region: 'EU', n: 36 },
    { region: 'US', n: 12 },
  ]);
  await sameRows(`SELECT count(*) AS n FROM orders ${since}`);
});

test('tiles of another zone stay where they would lie in two', async () => {
  await demote({ retention: 'raw 2d, day forever' });
  await db.policies.set('orders', { retention: 'raw 1d, month forever', zone: 'America/New_York' });
  await clock.advance('2min');
  const whole: WindowQuery = {
    range: ['2026-02-01', '2026-05-01'],
    zone: 'America/New_York',
    measures: { n: 'count(*)', s: 'sum(amount)' },
  };
  await sameWindows(whole);
  // The first day of UTC lies in February of New York, too.
  expect(await refusalInFull(db.window('orders', { ...whole, every: 'month' }))).toMatch(
    /from 2026-03-01T00:00:00.000Z to 2026-03-02T00:00:00.000Z/,
  );
  // March becomes one tile; of twenty days only a part of it would be left, so it is as long as its end is.
  await clock.advance('26d');
  await sameWindows(whole);
  await db.policies.set('orders', { retention: 'raw 1d, day 20d' });
  await clock.advance('2min');
  await plain.exec(`DELETE FROM orders WHERE ts < '2026-03-02'`);
  expect(await sameRows('SELECT count(*) AS n FROM orders')).toEqual([{ n: 144 }]);
  await clock.advance('20d');
  expect((await db.query('SELECT count(*) AS n FROM orders')).rows).toEqual([{ n: 0 }]);
});

test('minutes become quarters, hours and days', async () => {
  await demote({ retention: 'raw 36h, 1m 3d, 15m 4d, hour 5d, day forever' });
  const query = (from: string, to: string, every: string): WindowQuery => ({
    range: [from, to],
    every,
    by: 'region',
    measures: { n: 'count(*)', s: 'sum(amount)', k: 'count(n)' },
  });
  await sameWindows(query('2026-03-05T06:00:00Z', '2026-03-05T09:00:00Z', 'minute'));
  await sameWindows(query('2026-03-04T06:00:00Z', '2026-03-07T09:00:00Z', '15min'));
  await sameWindows(query('2026-03-03T06:00:00Z', '2026-03-07T09:00:00Z', 'hour'));
  await sameWindows(query('2026-03-01', '2026-03-08', 'day'));
  expect(
    await refusalInFull(db.window('orders', query('2026-03-04', '2026-03-05', 'minute'))),
  ).toMatch(/one tile of 15m \|/);
});

test('what is kept comes back from a snapshot, whatever it is apart by', async () => {
  for (const by of [['region'], null]) {
    await demote({ by });
    await db.checkpoint();
    await db.close();
    db = await start();
    await sameRows('SELECT count(*) AS n, sum(amount) AS s, min(ts) AS t FROM orders');
    await sameWindows({
      range: ['2026-03-01', '2026-03-08'],
      every: 'day',
      measures: { n: 'count(*)', s: 'sum(n)' },
    });
  }
});

test('sums that outgrow every value in them stay exact, late rows and coarser tiles included', async () => {
  await demote();
  let id = 1000;
  for (let round = 0; round < 8; round += 1) {
    const rows = Array.from({ length: 150 }, (_, each) => ({
      id: id + each,
      ts: new Date(Date.UTC(2026, 2, 1 + (each % 5), 7, each % 60)).toISOString(),
      region: 'EU',
      amount: '671088.63',
      n: 67_108_863,
    }));
    id += rows.length;
    for (const each of [db, plain]) await each.insert('orders', rows);
    await clock.advance('2h');
    await sameRows('SELECT count(*) AS c, sum(amount) AS s, sum(n) AS n, avg(n) AS a FROM orders');
  }
  expect((await db.query('SELECT id FROM orders WHERE id >= 1000')).rows).toEqual([]);
});

test('who reads as of a position sees the days that there were, whatever came late', async () => {
  await demote({ retention: 'raw 2d, 15m forever' });
  const whole: WindowQuery = {
    range: ['2026-03-01', '2026-03-08'],
    measures: { n: 'count(*)', s: 'sum(amount)' },
  };
  await sameWindows(whole);
  const { position } = db;
  const before = (await db.window('orders', whole)).rows;
  for (const each of [db, plain])
    await each.insert('orders', { id: 900, ts: '2026-03-02T08:10:00Z', region: 'EU', amount: 7 });
  await clock.advance('2min');
  await sameWindows(whole);
  expect((await db.window('orders', whole, { asOf: position })).rows).toEqual(before);
});

test('rows that came in no order of time are demoted each to its day, or minute', async () => {
  for (const each of [db, plain])
    await each.insert('orders', [
      { id: 900, ts: '2026-03-03T08:10:00Z', region: 'EU', amount: 7 },
      { id: 901, ts: '2026-03-01T08:10:00Z', region: 'US', amount: 8 },
      { id: 902, ts: '2026-03-03T08:20:00Z', region: 'EU', amount: 9 },
      { id: 903, ts: '2026-03-05T08:01:10Z', region: 'EU', amount: 9 },
      { id: 904, ts: '2026-03-05T08:02:10Z', region: 'US', amount: 9 },
      { id: 905, ts: '2026-03-05T08:01:20Z', region: 'EU', amount: 9 },
    ]);
  await demote({ retention: 'raw 2d, 1m 4d, day forever' });
  const query: WindowQuery = {
    range: ['2026-03-05T08:00:00Z', '2026-03-05T09:00:00Z'],
    every: 'minute',
    measures: { n: 'count(*)' },
  };
  await sameWindows(query);
  await sameWindows({
    range: ['2026-03-01', '2026-03-08'],
    every: 'day',
    by: 'region',
    measures: { n: 'count(*)', s: 'sum(amount)', hi: 'max(amount)' },
  });
});

test('rows of times that no calendar has go where they would be kept as nothing, and stay where they would be tiles', async () => {
  const times = ['0001-01-01T00:00:00Z', '-infinity', 'infinity', null, '2026-03-08T00:00:00Z'];
  const left = async (retention: string): Promise<unknown[]> => {
    await db.exec('DROP TABLE IF EXISTS odd');
    await db.exec(
      `CREATE TABLE odd (ts timestamptz) WITH (time = 'ts', retention = '${retention}')`,
    );
    await db.insert(
      'odd',
      [...times, '2020-01-01T00:00:00Z'].map((ts) => ({ ts })),
    );
    await clock.advance('2min');
    return (await db.query('SELECT ts FROM odd')).rows.map(({ ts }) => ts);
  };
  expect(await left('raw 2d')).toEqual(times.slice(1));
  expect(await left('raw 2d, day 1y')).toEqual(times.slice(1));
  expect(await left('raw 2d, day forever')).toEqual(times);
});

test('an answer says from when on there is anything, where a policy lets rows go altogether', async () => {
  const from = async (retention: string): Promise<unknown> => {
    await db.policies.set('orders', { retention });
    await clock.advance('2min');
    const question = { range: ['2026-03-01', '2026-03-08'] as const, measures: { n: 'count(*)' } };
    const { rows, meta } = await db.window('orders', question);
    const { notes } = await db.explainWindow('orders', question);
    const [{ keptFrom } = {}] = (await db.query('SELECT count(*) FROM orders')).meta.sources;
    expect(keptFrom).toBe(meta.sources[0]!.keptFrom);
    return [rows[0]!.values['n'], keptFrom, notes.filter((note) => note.includes('no more'))];
  };
  expect(await from('raw 30d')).toEqual([168, '2026-02-06T00:00:00Z', []]);
  expect(await from('raw 5d, day forever')).toEqual([168, undefined, []]);
  expect(await from('raw 2d, day 5d')).toEqual([
    120,
    '2026-03-03T00:00:00Z',
    ['rows of "orders" before 2026-03-03T00:00:00Z are no more: its policy lets them go'],
  ]);
  expect(await from('raw 1d')).toEqual([
    24,
    '2026-03-07T00:00:00Z',
    ['rows of "orders" before 2026-03-07T00:00:00Z are no more: its policy lets them go'],
  ]);
});

test('what a policy before kept may be gone altogether', async () => {
  await demote({ by: null, measures: 'n' });
  await db.policies.set('orders', { retention: 'raw 1d, day 2d', by: ['region'], measures: null });
  for (let hour = 0; hour < 3; hour += 1) await clock.advance('1h');
  await plain.exec(`DELETE FROM orders WHERE ts < '2026-03-06'`);
  // History passes with the next commit.
  for (const each of [db, plain])
    await each.insert('orders', { id: 900, ts: '2026-03-08T01:00:00Z', region: 'EU', amount: 1 });
  await clock.advance('2h');
  await sameRows(
    'SELECT region, count(*) AS n, sum(amount) AS s FROM orders GROUP BY 1 ORDER BY 1',
  );
});

// A window that begins before all that is kept had a lower count, and was as complete as any.
test('a window of which a policy has let rows go is a part, and is never complete', async () => {
  await db.policies.set('orders', { retention: 'raw 5d' });
  await clock.advance('2min');
  const question: WindowQuery = {
    range: ['2026-03-01', '2026-03-08'],
    every: 'day',
    fill: 'zero',
    compare: 'previous',
    measures: { n: 'count(*)' },
  };
  const gone = 'rows of "orders" before 2026-03-03T00:00:00Z are no more: its policy lets them go';
  const { rows, meta } = await db.window('orders', question);
  expect(
    rows.map(({ values, partial, complete, compared }) => [
      values['n'],
      partial,
      complete,
      compared?.partial,
    ]),
  ).toEqual([
    [0, true, false, true],
    [0, true, false, true],
    [24, false, true, true],
    [24, false, true, true],
    [24, false, true, true],
    [24, false, true, true],
    [24, false, true, true],
  ]);
  expect(meta.notes).toEqual([gone]);
  const told = await db.explainWindow('orders', question);
  expect(told.notes).toEqual([gone]);
  expect(told.windows.map(({ partial, complete }) => partial || !complete)).toEqual(
    rows.map(({ partial, complete }) => partial || !complete),
  );
  // What lies in all that is kept is told as ever.
  const beside = await db.window('orders', { ...question, range: ['2026-03-06', '2026-03-08'] });
  expect(beside.rows.map(({ compared }) => compared!.partial)).toEqual([undefined, undefined]);
  expect(beside.meta.notes).toBeUndefined();
  // Who reads as of a position is told what was kept then.
  await clock.advance('12min');
  const third: WindowQuery = {
    range: ['2026-03-03', '2026-03-04'],
    measures: { n: 'count(*)' },
  };
  const { position } = await db.insert('orders', { id: 998, ts: '2026-03-08T00:00:00Z' });
  await clock.advance('2min');
  await db.insert('orders', { id: 999, ts: '2026-03-08T00:00:00Z' });
  const whole = { values: { n: 24 }, partial: false, complete: true };
  expect((await db.window('orders', third, { asOf: position })).rows).toMatchObject([whole]);
  expect((await db.window('orders', third)).rows).toMatchObject([
    { ...whole, partial: true, complete: false },
  ]);
});

test('a view says from when on it has rows of what is demoted', async () => {
  await db.exec('CREATE MATERIALIZED VIEW many AS SELECT id, ts, amount FROM orders');
  await db.exec(
    `CREATE MATERIALIZED VIEW days AS SELECT date_trunc('day', ts) AS day, count(*) AS n FROM many GROUP BY 1`,
  );
  await demote();
  const question: WindowQuery = {
    range: ['2026-03-05', '2026-03-08'],
    every: 'day',
    fill: 'zero',
    measures: { n: 'count(*)' },
  };
  for (const view of ['many', 'days']) {
    const { rows, meta } = await db.window(view, question);
    expect(meta.sources).toMatchObject([
      { kind: 'view', name: view, keptFrom: '2026-03-05T23:45:00Z' },
    ]);
    expect(meta.notes).toEqual([
      `rows of "${view}" before 2026-03-05T23:45:00Z are no more: a policy of what it reads lets them go`,
    ]);
    expect(rows.map(({ partial, complete }) => [partial, complete])).toEqual([
      [true, false],
      [false, true],
      [false, true],
    ]);
  }
});

test('times of another column are those of all rows, demoted ones included: nobody knows them', async () => {
  for (const each of [db, plain]) {
    await each.exec('ALTER TABLE orders ADD COLUMN other timestamptz, ADD COLUMN wall timestamp');
    await each.exec(`UPDATE orders SET other = ts + interval '10 days', wall = ts`);
    await each.exec(
      'CREATE VIEW late AS SELECT * FROM orders WHERE id < 84 UNION ALL SELECT * FROM orders WHERE id >= 84',
    );
  }
  await demote();
  for (const time of ['other', 'wall'])
    expect(
      await refusalInFull(
        db.window('orders', {
          range: ['2026-03-17', '2026-03-18'],
          time,
          measures: { n: 'count(*)' },
        }),
      ),
    ).toMatch(/times other than the policy’s are not kept/);
  // Of a view no tile is newer than its newest row.
  const query: WindowQuery = {
    last: '12h',
    now: 'watermark',
    time: 'ts',
    measures: { n: 'count(*)' },
  };
  expect((await db.window('late', query)).rows).toEqual((await plain.window('late', query)).rows);
});

test('a query that reads itself reads no demoted row', async () => {
  await demote();
  await sameRows(
    'WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT count(*) AS n, sum(r.n) AS s FROM r',
  );
});

test('keys that no tile has are refused', async () => {
  await demote();
  expect(
    await refusalInFull(db.query('SELECT region::char(2), count(*) FROM orders GROUP BY 1')),
  ).toMatch(/^ADB_RESOLUTION/);
});

test('very many groups are looked up in steps, and more than tiles have beside demoted ones are refused', async () => {
  const regions = (count: number, from: number, ts: string) => ({
    id: Int32Array.from({ length: count }, (_, each) => from + each),
    ts: new Float64Array(count).fill(Date.parse(ts)),
    region: Array.from({ length: count }, (_, each) => `r${each}`),
  });
  for (const each of [db, plain])
    await each.insert('orders', regions(2500, 1000, '2026-03-02T10:00:00Z'));
  await demote();
  const query: WindowQuery = {
    range: ['2026-03-01', '2026-03-08'],
    by: 'region',
    measures: { n: 'count(*)', s: 'sum(amount)' },
  };
  await sameWindows(query);
  await sameRows('SELECT region, count(*) AS n FROM orders GROUP BY region ORDER BY region');
  await db.insert('orders', regions(17_000, 10_000, '2026-03-07T10:00:00Z'));
  for (let time = 0; time < 2; time += 1)
    expect(await refusalInFull(db.window('orders', query))).toMatch(
      /^54000: .*which cannot hold what lies beside them/,
    );
});

test('an error of a row that is left is told, be its group demoted or not', async () => {
  await demote();
  for (const each of [db, plain])
    await each.insert('orders', { id: 900, ts: '2026-03-07T08:10:00Z', region: 'X', amount: 7 });
  const query: WindowQuery = {
    range: ['2026-03-01', '2026-03-08'],
    by: '10 / (length(region) - 1)',
    measures: { n: 'count(*)' },
  };
  const said = await refusalInFull(db.window('orders', query));
  expect(said).toMatch(/^22012/);
  expect(said).toBe(await refusalInFull(plain.window('orders', query)));
  await sameWindows({ ...query, range: ['2026-03-01', '2026-03-07'] });
});

test('demoted rows are answered where there is no room for tiles, and where tiles go at any step', async () => {
  await demote();
  const { tiles } = (db as unknown as { readonly engine: Engine }).engine;
  const query: WindowQuery = {
    range: ['2026-03-01', '2026-03-08'],
    every: '2 days',
    by: 'region',
    measures: { n: 'count(*)', s: 'sum(amount)', hi: 'max(n)' },
  };
  tiles.memory.reserve(tiles.memory.limitBytes - tiles.memory.usedBytes);
  await sameWindows(query);
  tiles.memory.release(tiles.memory.usedBytes);
  const { open: openPlainly } = tiles;
  let isThrough = false;
  try {
    for (let step = 0; !isThrough; step += 1) {
      tiles.open = (plan, windows, environment) => {
        const operator = openPlainly.call(tiles, plan, windows, environment);
        const { next } = operator;
        let calls = 0;
        operator.next = (budget) => {
          if (calls === step) tiles.close();
          calls += 1;
          const little = new Budget(1);
          const found = next.call(operator, little);
          budget.charge(little.spent);
          isThrough = found === 'done' && calls <= step;
          return found;
        };
        return operator;
      };
      await sameWindows(query);
    }
  } finally {
    tiles.open = openPlainly;
  }
});
