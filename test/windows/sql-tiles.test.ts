import fc from 'fast-check';
import { expect, test } from 'vitest';
import { open } from '../../src/index.ts';

const ZONES = [
  'UTC',
  'America/New_York',
  'Europe/Berlin',
  'Australia/Lord_Howe',
  'Asia/Kathmandu',
  'America/Havana',
  'Pacific/Apia',
  'America/St_Johns',
  'Africa/Casablanca',
  'Asia/Kolkata',
  'Atlantic/Azores',
  'Antarctica/Troll',
];

const day = (days: number): string =>
  new Date(Date.UTC(2026, 0, 1) + days * 86_400_000).toISOString();

test('SQL over stretches of time is answered from tiles, with the bits of a scan, in any zone', async () => {
  const db = await open({ workers: 0 });
  try {
    await db.exec(
      `CREATE TABLE orders (ts timestamptz, region text, amount double precision, price numeric(12,2)) WITH (time = 'ts')`,
    );
    await db.exec(
      `CREATE TABLE walls (ts timestamp, region text, amount double precision, price numeric(12,2))`,
    );
    const untiled = db.session();
    await untiled.exec(`SET enable_window_tiles = off`);
    let tiled = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            ts: fc.option(
              fc
                .integer({ min: 0, max: 366 * 86_400 })
                .map((each) => new Date(Date.UTC(2026, 0, 1) + each * 1000 + (each % 1000))),
              { freq: 20 },
            ),
            region: fc.constantFrom('EU', 'US', null),
            amount: fc.integer({ min: -999_999_999, max: 999_999_999 }).map((each) => each / 997),
            price: fc.integer({ min: -999, max: 999 }),
          }),
          { minLength: 1, maxLength: 30 },
        ),
        fc.constantFrom(...ZONES),
        fc.constantFrom('hour', 'day', 'week', 'month', 'quarter', 'year', undefined),
        fc.integer({ min: 0, max: 300 }),
        fc.integer({ min: 1, max: 120 }),
        fc.constantFrom('none', 'before', 'after'),
        fc.boolean(),
        fc.constantFrom('both', 'from', 'to'),
        fc.constantFrom('orders', 'walls'),
        async (rows, zone, unit, first, length, grouped, filtered, sides, table) => {
          const walls = rows.map(({ ts, ...row }) => ({
            ...row,
            ts: ts?.toISOString().slice(0, -1) ?? null,
          }));
          if (table === 'orders') await db.insert('orders', rows);
          else await db.insert('walls', walls);
          if (rows.length % 5 === 0)
            await db.exec(`DELETE FROM ${table} WHERE amount > 900000 AND region = 'EU'`);
          const end = first + (unit === 'hour' ? Math.min(length, 20) : length) + 0.3;
          const bounds = [
            ...(sides === 'to' ? [] : [`ts >= '${day(first)}'`]),
            ...(sides === 'from' ? [] : [`ts < '${day(end)}'`]),
          ];
          const inZone = table === 'orders' ? `, '${zone}'` : '';
          const bucket = unit === undefined ? [] : [`date_trunc('${unit}', ts${inZone})`];
          const keys = [
            ...(grouped === 'before' ? ['region'] : []),
            ...bucket,
            ...(grouped === 'after' ? ['region', 'amount > 0'] : []),
          ];
          const text = `SELECT ${[...keys, 'count(*)', 'sum(amount)', 'avg(price)', 'min(amount)', 'max(price)', `sum(price) FILTER (WHERE region = 'US')`].map((each, index) => `${each} AS c${index}`).join(', ')}
             FROM ${table} WHERE ${bounds.join(' AND ')}${filtered ? ' AND amount > 0' : ''}
             ${keys.length === 0 ? '' : `GROUP BY ${keys.map((_, index) => index + 1).join(', ')}`}`;
          const tiles = await db.query(text);
          const scan = await untiled.query(text);
          expect(tiles.rows).toEqual(scan.rows);
          expect(scan.meta.source).not.toBe('windows');
          if (tiles.meta.source === 'windows') tiled += 1;
        },
      ),
      { numRuns: 40 },
    );
    expect(tiled).toBeGreaterThan(12);
    const plan = await db.query<{ 'QUERY PLAN': string }>(
      `EXPLAIN SELECT date_trunc('day', ts), sum(amount) FROM orders WHERE ts >= '2026-01-01' AND ts < '2026-02-01' GROUP BY 1`,
    );
    expect(plan.rows.map((row) => row['QUERY PLAN']).join('\n')).toContain('Source: window tiles');
  } finally {
    await db.close();
  }
});

// The relations that tiles had answered were counted, and beside them the scans of the plan: one table read twice had one of two.
test('an answer from several aggregates of one table is of tiles where all of them are', async () => {
  const db = await open({ workers: 0 });
  try {
    await db.exec(`CREATE TABLE t (ts timestamptz, region text, x int) WITH (time = 'ts')`);
    await db.insert(
      't',
      Array.from({ length: 5000 }, (_, x) => ({
        ts: new Date(Date.UTC(2026, 0, 1) + x * 600_000),
        region: x % 2 === 0 ? 'EU' : 'US',
        x,
      })),
    );
    const days = (more: string): string =>
      `SELECT date_trunc('day', ts) AS d, sum(x) AS s FROM t WHERE ts >= '2026-01-02' AND ts < '2026-01-20' ${more} GROUP BY 1`;
    const source = async (text: string): Promise<string> => (await db.query(text)).meta.source;
    const both = `SELECT a.d, a.s, b.s FROM (${days('')}) a JOIN (${days(`AND region = 'EU'`)}) b USING (d)`;
    expect(await source(both)).toBe('windows');
    expect(await source(`${days('')} UNION ALL ${days(`AND region = 'US'`)}`)).toBe('windows');
    expect(await source(`SELECT * FROM (${days('')}) a, (SELECT count(*) FROM t) b`)).toBe('scan');
  } finally {
    await db.close();
  }
});

test('a stretch that is open on one side ends where the rows do: none, deleted ones, and such as have no end', async () => {
  const db = await open({ workers: 0 });
  try {
    await db.exec(`CREATE TABLE t (ts timestamptz, x int) WITH (time = 'ts')`);
    const untiled = db.session();
    await untiled.exec(`SET enable_window_tiles = 'false'`);
    const text = `SELECT date_trunc('day', ts) AS d, count(*) AS n FROM t WHERE ts >= '2026-01-02' GROUP BY 1`;
    const checked = async (position?: number): Promise<string> => {
      const options = position === undefined ? {} : { asOf: position };
      const tiles = await db.query(text, options);
      expect(tiles.rows).toEqual((await untiled.query(text, options)).rows);
      return tiles.meta.source;
    };
    expect(await checked()).not.toBe('windows');
    const rows = Array.from({ length: 70_000 }, (_, x) => ({
      ts: new Date(Date.UTC(2026, 0, 1) + x * 60_000),
      x,
    }));
    const { position } = await db.insert('t', rows);
    expect(await checked()).toBe('windows');
    // Of a row that is no more the day is still looked for, and it is not there.
    await db.insert('t', { ts: '2027-01-01T00:00:00Z', x: -1 });
    await db.exec(`DELETE FROM t WHERE x = -1 OR x BETWEEN 2000 AND 9000`);
    expect(await checked()).toBe('windows');
    await checked(position);
    await db.transaction(async (tx) => {
      await tx.insert('t', { ts: '2026-05-05T00:00:00Z', x: 0 });
      const own = (await tx.query<{ n: number }>(text)).rows;
      expect(own.at(-1)).toMatchObject({ n: 1 });
    });
    expect(await checked()).toBe('windows');
    await db.insert('t', [
      { ts: 'infinity', x: 0 },
      { ts: '-infinity', x: 0 },
      { ts: null, x: 0 },
    ]);
    expect(await checked()).toBe('scan');
    expect((await db.query(text)).rows.at(-1)).toEqual({ d: 'infinity', n: 1 });
    await db.exec(`DELETE FROM t WHERE ts = 'infinity'`);
    await checked();
  } finally {
    await db.close();
  }
});

test('SET enable_window_tiles is checked, and told by EXPLAIN', async () => {
  const db = await open({ workers: 0 });
  try {
    await db.exec(`CREATE TABLE t (ts timestamptz, x int) WITH (time = 'ts')`);
    const session = db.session();
    const source = async (): Promise<boolean> => {
      const plan = await session.query(`EXPLAIN SELECT sum(x) FROM t WHERE ts >= '2026-01-01'`);
      return JSON.stringify(plan.rows).includes('Source: window tiles');
    };
    expect(await source()).toBe(true);
    await session.exec(`SET enable_window_tiles TO off`);
    expect(await source()).toBe(false);
    await session.exec(`RESET enable_window_tiles`);
    expect(await source()).toBe(true);
    await expect(session.exec(`SET enable_window_tiles = 'sometimes'`)).rejects.toMatchObject({
      code: '22023',
      hint: expect.stringContaining('off') as string,
    });
  } finally {
    await db.close();
  }
});

test('a wall’s time is bounded by an instant where the session’s clock is never put forward or back', async () => {
  const db = await open({ workers: 0 });
  try {
    await db.exec(`CREATE TABLE t (ts timestamp, x int) WITH (time = 'ts')`);
    await db.insert(
      't',
      Array.from({ length: 5000 }, (_, x) => ({
        ts: new Date(Date.UTC(2026, 2, 1) + x * 600_000).toISOString().slice(0, -1),
        x,
      })),
    );
    const sources = new Map<string, string>();
    for (const zone of ['UTC', 'Asia/Kathmandu', '+07', 'Europe/Berlin']) {
      const session = db.session();
      await session.exec(`SET timezone = '${zone}'`);
      for (const bound of ['2026-03-10T00:00:00Z', 'infinity', '-infinity']) {
        // Rows are read one by one where the time is computed.
        const text = (time: string): string =>
          `SELECT ts::date AS d, sum(x) AS s FROM t WHERE ${time} >= '${bound}'::timestamptz GROUP BY 1`;
        const { rows, meta } = await session.query(text('ts'));
        expect(rows).toEqual((await session.query(text(`(ts + interval '0')`))).rows);
        if (bound.startsWith('2')) sources.set(zone, meta.source);
      }
    }
    expect(Object.fromEntries(sources)).toEqual({
      UTC: 'windows',
      'Asia/Kathmandu': 'scan',
      '+07': 'windows',
      'Europe/Berlin': 'scan',
    });
  } finally {
    await db.close();
  }
});

// The column as origin was taken for the time that is cut: buckets that are equal at both ends of the stretch made one window of it all.
test('a time that is the origin of date_bin, and not what is cut, makes no buckets of time', async () => {
  const db = await open({ workers: 0 });
  try {
    await db.exec(`CREATE TABLE t (ts timestamptz, x int) WITH (time = 'ts')`);
    await db.insert(
      't',
      [10, 16, 34].map((hours, x) => ({ ts: new Date(Date.UTC(2026, 0, 1, hours)), x })),
    );
    const { rows, meta } = await db.query(
      `SELECT date_bin('1 day', timestamptz '2026-01-05', ts) AS b, count(*) AS n FROM t
         WHERE ts BETWEEN '2026-01-01T10:00Z' AND '2026-01-02T10:00Z' GROUP BY 1`,
    );
    expect(rows).toEqual([
      { b: '2026-01-04T10:00:00Z', n: 2 },
      { b: '2026-01-04T16:00:00Z', n: 1 },
    ]);
    expect(meta.source).toBe('scan');
  } finally {
    await db.close();
  }
});

test('who may not wait for tiles is answered from rows until they are there: distinct values and deviations, too', async () => {
  const db = await open({ workers: 0 });
  try {
    await db.exec(`CREATE TABLE t (ts timestamptz, x int) WITH (time = 'ts')`);
    await db.insert(
      't',
      Array.from({ length: 500 }, (_, row) => ({
        ts: new Date(Date.UTC(2026, 0, 1, row)),
        x: row % 7,
      })),
    );
    const text = `SELECT date_trunc('week', ts) AS week, sum(x) AS s, count(DISTINCT x) AS d, stddev(x) AS v FROM t
      WHERE ts >= '2026-01-02' AND ts < '2026-02-01' GROUP BY 1 ORDER BY 1`;
    const result = async (): Promise<readonly unknown[]> => {
      const { rows } = await db.progressive(text).result();
      return (rows as readonly Record<string, { value?: unknown }>[]).map(({ week, s, d, v }) => ({
        week,
        s: s!.value,
        d: d!.value ?? d,
        v: v!.value ?? v,
      }));
    };
    const first = await result();
    const { rows, meta } = await db.query(text);
    expect(meta.source).toBe('windows');
    expect(rows.length).toBe(4);
    expect(first).toEqual(rows);
    expect(await result()).toEqual(rows);
  } finally {
    await db.close();
  }
});
