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
    let tiled = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            ts: fc
              .integer({ min: 0, max: 366 * 86_400 })
              .map((s) => new Date(Date.UTC(2026, 0, 1) + s * 1000 + (s % 1000))),
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
        fc.boolean(),
        fc.boolean(),
        async (rows, zone, unit, first, length, grouped, filtered) => {
          await db.insert('orders', rows);
          if (rows.length % 5 === 0)
            await db.exec(`DELETE FROM orders WHERE amount > 900000 AND region = 'EU'`);
          const from = day(first);
          const to = day(first + (unit === 'hour' ? Math.min(length, 20) : length) + 0.3);
          const bucket = unit === undefined ? undefined : `date_trunc('${unit}', ts, '${zone}')`;
          const keys = [...(bucket === undefined ? [] : [bucket]), ...(grouped ? ['region'] : [])];
          const text = (time: string): string =>
            `SELECT ${[...keys, 'count(*)', 'sum(amount)', 'avg(price)', 'min(amount)', 'max(price)', `sum(price) FILTER (WHERE region = 'US')`].map((each, index) => `${each} AS c${index}`).join(', ')}
             FROM orders WHERE ${time} >= '${from}' AND ${time} < '${to}'${filtered ? ' AND amount > 0' : ''}
             ${keys.length === 0 ? '' : `GROUP BY ${keys.map((_, index) => index + 1).join(', ')}`}`;
          const tiles = await db.query(text('ts'));
          const scan = await db.query(text(`(ts + interval '0')`));
          expect(tiles.rows).toEqual(scan.rows);
          expect(scan.meta.source).toBe('scan');
          if (tiles.meta.source === 'windows') tiled += 1;
        },
      ),
      { numRuns: 25 },
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
