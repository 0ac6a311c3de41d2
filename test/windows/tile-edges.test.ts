import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Database } from '../../src/actors/database.ts';
import type { WindowQuery, WindowResult } from '../../src/actors/window-query.ts';
import { open } from '../../src/index.ts';
import { DaySet } from '../../src/windows/tile-time.ts';

/** Where tiles end: every answer is compared with the same question by a column that has none. */
const START = Date.UTC(2026, 2, 8);
const MINUTE = 60_000;
const QUARTER = 15 * MINUTE;
const DAY = 96 * QUARTER;

async function table(columns: string): Promise<Database> {
  const db = await open({ workers: 0 });
  await db.exec(
    `CREATE TABLE t (id int PRIMARY KEY, ts timestamptz, at timestamptz, ${columns}) WITH (time = 'ts')`,
  );
  return db;
}

async function same(
  db: Database,
  query: Partial<WindowQuery>,
  options: Record<string, unknown> = {},
): Promise<WindowResult> {
  const whole = { now: START + DAY, ...query } as WindowQuery;
  const tiles = await db.window('t', whole, options);
  const rows = await db.window('t', { ...whole, time: 'at' }, options);
  expect(tiles.rows).toEqual(rows.rows);
  expect(rows.meta.tiles).toBe(0);
  return tiles;
}

/** Integers beyond 2^53 are shown as texts. */
const BIG = { values: { int8: 'string' } };

const MEASURES = {
  n: 'count(*)',
  k: 'count(x)',
  s: 'sum(x)',
  lo: 'min(x)',
  hi: 'max(x)',
  mid: 'approx_percentile(x, 0.5)',
};

test('a quarter and a minute of many rows are read through minutes and seconds, which follow every change', async () => {
  const db = await table('team text, x double precision');
  try {
    let id = 0;
    const row = (ms: number, x: number) => {
      id += 1;
      return { id, ts: START + ms, at: START + ms, team: id % 3 === 0 ? 'a' : 'b', x };
    };
    // A quarter of 2,000 rows; 1,500 of them in its fourth minute; nothing in its last three.
    const rows = Array.from({ length: 500 }, (_, each) =>
      row((each * 7919) % (12 * MINUTE), each / 8),
    );
    for (let each = 0; each < 1500; each += 1)
      rows.push(row(3 * MINUTE + ((each * 104_729) % MINUTE), 100 + (each % 97) / 8));
    await db.insert('t', rows);
    const edges = [
      [3 * MINUTE + 20_000, 5 * MINUTE],
      [3 * MINUTE + 20_500, 3 * MINUTE + 40_250],
      [MINUTE, 3 * MINUTE + 30_000],
      [3 * MINUTE, 4 * MINUTE],
      [2 * MINUTE + 1, 13 * MINUTE + 30_000],
      [12 * MINUTE + 30_000, QUARTER + 1],
      [3 * MINUTE + 59_999, 3 * MINUTE + 60_001],
      [0, QUARTER],
      [-1, DAY],
    ];
    const ask = async (): Promise<number> => {
      let read = 0;
      for (const [from, to] of edges) {
        const range: [number, number] = [START + from!, START + to!];
        for (const by of [[], ['team']]) {
          const { meta } = await same(db, { range, by, measures: MEASURES });
          read += meta.rowsScanned;
        }
      }
      return read;
    };
    await ask();
    const read = await ask();
    // Of 36,000 rows between those edges.
    expect(read).toBeLessThan(6000);
    // Late rows, updates, deletes of extremes and of others, in minutes and seconds that are known.
    await db.insert('t', [row(3 * MINUTE + 20_100, 1e6), row(3 * MINUTE + 20_200, -1e6)]);
    await db.insert('t', [row(14 * MINUTE + 100, 5), row(QUARTER - 1, 6)]);
    await ask();
    await db.exec('UPDATE t SET x = x + 1 WHERE id % 50 = 7');
    await ask();
    await db.exec('DELETE FROM t WHERE x >= 1000000 OR x <= -1000000 OR id % 40 = 3');
    await ask();
    await ask();
    await db.exec(
      `UPDATE t SET ts = ts + interval '1 minute', at = at + interval '1 minute' WHERE id % 60 = 11`,
    );
    await ask();
    await db.exec('TRUNCATE t');
    await ask();
  } finally {
    await db.close();
  }
});

test('numbers of every kind, and values that tiles cannot hold, have the bits of a scan', async () => {
  const kinds = [
    'smallint',
    'integer',
    'bigint',
    'real',
    'double precision',
    'numeric(9,2)',
    'numeric',
  ];
  const values: readonly (readonly unknown[])[] = [
    [1, 2, 3, -4, null, 0],
    [5, 5, 5],
    [null, null],
    [1e3, -1e3, 32_000],
  ];
  const special: Readonly<Record<string, readonly (readonly unknown[])[]>> = {
    bigint: [['9007199254740993', '-9007199254740995', '9223372036854775807', '1']],
    real: [
      ['NaN', 1, 2],
      ['Infinity', 1],
      ['-Infinity', 1],
      ['Infinity', '-Infinity', 3],
      [1e-30, 1e30],
    ],
    'double precision': [
      [NaN, 1, 2],
      [Infinity, 1],
      [-Infinity, 1],
      [Infinity, -Infinity, 3],
      [1e-300, 1e300, 3],
      [-0, 0],
      [-0],
      [5e-324],
      [2 ** 500, 2 ** -500],
      [1e16, 1, -1e16, 2 ** -40, 2 ** 70, 3 ** 33],
    ],
    numeric: [
      ['1.5', '2.25', '3'],
      ['NaN', '1'],
      ['123456789012345678901234567890.5', '1'],
      ['Infinity', '2'],
    ],
  };
  for (const kind of kinds) {
    const db = await table(`x ${kind}`);
    try {
      let id = 0;
      for (const batch of [...values, ...(special[kind] ?? [])]) {
        const rows = batch.map((x, each) => {
          id += 1;
          const ts = START + (each * 7 + id) * MINUTE;
          return { id, ts, at: ts, x };
        });
        await db.insert('t', rows);
        const measures: Record<string, string> = {
          n: 'count(*)',
          k: 'count(x)',
          s: 'sum(x)',
          a: 'avg(x)',
          lo: 'min(x)',
          hi: 'max(x)',
          f: 'sum(x) FILTER (WHERE id % 2 = 0)',
        };
        for (const every of [undefined, 'hour'] as const)
          await same(db, { current: 'day', every, measures, now: START + 1, zone: 'UTC' }, BIG);
        await same(
          db,
          { current: 'day', now: START + 1, measures: { m: 'min(x)', k: 'count(x)' } },
          BIG,
        );
        if (kind !== 'numeric' && kind !== 'numeric(9,2)')
          await same(db, {
            current: 'day',
            now: START + 1,
            measures: {
              q: 'approx_percentile(x, 0.5)',
              r: 'approx_percentile(x, 1)',
              z: 'approx_percentile(x, 0)',
            },
          });
        // What was special leaves again.
        await db.delete('t', { id: rows.map((each) => each.id).slice(0, 1) });
        await same(db, { current: 'day', measures, now: START + 1 }, BIG);
      }
    } finally {
      await db.close();
    }
  }
});

test('conditions, keys and measures that depend on a zone, on parameters or on nothing are told apart', async () => {
  const db = await table('team text, x double precision, b boolean, d text');
  try {
    await db.insert(
      't',
      Array.from({ length: 300 }, (_, id) => {
        const ts = START + id * 11 * MINUTE;
        return {
          id,
          ts,
          at: ts,
          team: id % 3 === 0 ? null : `t${id % 2}`,
          x: id / 8,
          b: id % 5 === 0 ? null : id % 2 === 0,
          d: '2026-03-08',
        };
      }),
    );
    const base = { range: [START, START + 2 * DAY] as [number, number] };
    const questions: readonly (Partial<WindowQuery> & { readonly params?: readonly unknown[] })[] =
      [
        { measures: { n: 'count(*)' }, where: 'x > $1', params: [3] },
        { measures: { n: 'count(*)' }, where: 'x > $1', params: [null] },
        { measures: { p: 'approx_percentile(x, $1)' }, params: [0.25] },
        { measures: { p: 'approx_percentile(x, $1)' }, params: [null] },
        { measures: { n: 'count(*)' }, where: "x > '-0'" },
        { measures: { n: 'count(*)' }, where: "x < 'Infinity' AND x <> 'NaN'" },
        { measures: { n: 'count(*)' }, where: 'b' },
        { measures: { n: 'count(*) FILTER (WHERE b)', m: 'sum(x) FILTER (WHERE b AND x > 3)' } },
        { measures: { n: 'count(*) FILTER (WHERE team IS NULL)', d: 'count(DISTINCT team)' } },
        { measures: { n: 'count(*)' }, by: ['ts::date'] },
        { measures: { n: 'count(*)' }, by: ['extract(hour FROM ts)'] },
        { measures: { n: 'count(*)' }, where: "ts > 'yesterday'" },
        { measures: { n: 'count(*)' }, where: 'ts > d::timestamptz' },
        {
          measures: { n: 'count(*)' },
          where: `CASE WHEN x > 500 THEN 'no time'::timestamptz ELSE ts END > '2020-01-01'`,
        },
        { measures: { n: 'count(*)' }, where: "ts < now() + interval '100 years'" },
        { measures: { n: 'count(*)', e: "max(now()) > '2020-01-01'" } },
        { measures: { s: "string_agg(team, ',')" } },
        {
          measures: { m: 'min(team)', v: 'stddev(x)', w: 'var_pop(x + 0.5)', c: 'corr(x, x)' },
          by: ['b'],
        },
        { measures: { m: 'min(ts)', n: 'count(b)', s: 'sum(x ORDER BY id)' } },
        {
          measures: {
            d: 'count(DISTINCT x)',
            e: 'count(DISTINCT team) FILTER (WHERE b)',
            a: 'approx_count_distinct(d)',
            p: 'approx_percentile(x, 0.1)',
            q: 'sum(DISTINCT x)',
          },
        },
        {
          measures: {
            d: 'count(DISTINCT x > 7)',
            e: "count(DISTINCT coalesce(team, 'none'))",
            a: 'approx_count_distinct(x / 3)',
            v: 'variance(x) FILTER (WHERE b)',
          },
          by: ['team'],
        },
        { measures: { v: 'stddev(x::numeric(10,2))', w: 'var_pop(x::int::float8)' } },
        { measures: { v: 'var_pop(x::numeric)' } },
        { measures: { n: 'count(*)' }, by: ["'x' || team"] },
        { measures: { s: 'sum(x + 1)', n: 'count(x + 1)' } },
        { measures: { n: 'count(*)' }, where: 'id IN (SELECT id FROM t WHERE x > 5)' },
      ];
    for (const zone of ['UTC', 'America/St_Johns', 'UTC'])
      for (const { params, ...question } of questions)
        await same(db, { ...base, zone, ...question }, params === undefined ? {} : { params });
  } finally {
    await db.close();
  }
});

test('bounds of plain SQL are read in every spelling', async () => {
  const db = await table('x int');
  try {
    await db.insert(
      't',
      Array.from({ length: 400 }, (_, id) => {
        const ts = START + id * 7 * MINUTE;
        return { id, ts, at: ts, x: id };
      }),
    );
    const from = '2026-03-08T00:00:00Z';
    const to = '2026-03-09T13:00:00.000001Z';
    const conditions = [
      `ts >= '${from}' AND ts < '${to}'`,
      `ts > '${from}' AND ts <= '${to}'`,
      `'${from}' < ts AND '${to}' >= ts`,
      `ts BETWEEN '${from}' AND '${to}'`,
      `ts >= '${from}' AND ts < '${to}' AND ts > '2026-03-08T05:00:00Z' AND ts <= '2026-03-09'`,
      `ts >= '${to}' AND ts < '${from}'`,
      `ts >= '${from}' AND ts < 'infinity'`,
      `ts > '-infinity' AND ts < '${to}'`,
      `ts >= '${from}' AND ts < NULL`,
      `ts >= '${from}'`,
      `ts >= '0001-01-01' AND ts < '9999-01-01'`,
      `ts = '${from}'`,
      `ts >= '${from}' AND ts < '${to}' AND x > 50`,
    ];
    const keys = [
      undefined,
      `date_trunc('hour', ts)`,
      `date_trunc('day', ts, 'America/Havana')`,
      `time_bucket('1 hour', ts, 'Asia/Kathmandu')`,
      `date_bin('20 minutes', ts, '2026-01-01T00:07:00Z')`,
      `ts::date`,
      `ts`,
      `date_trunc('day', ts, CASE WHEN x > 3 THEN 'UTC' ELSE 'Asia/Tokyo' END)`,
      `time_bucket('1 second', ts)`,
    ];
    for (const condition of conditions)
      for (const key of keys) {
        const text = (time: string): string => {
          const own = (part: string): string => part.replaceAll(/\bts\b/g, time);
          return `SELECT ${key === undefined ? '' : `${own(key)} AS k, `}count(*) AS n, sum(x) AS s, min(x) AS lo FROM t WHERE ${own(condition)}${key === undefined ? '' : ' GROUP BY 1 ORDER BY 1'}`;
        };
        const tiles = await db.query(text('ts'));
        const rows = await db.query(text('at'));
        expect([condition, key, tiles.rows]).toEqual([condition, key, rows.rows]);
        expect(rows.meta.source).not.toBe('windows');
      }
  } finally {
    await db.close();
  }
});

// Buckets were looked for over all of the time asked for, 15 million work units for 400 rows: nothing had compared the two.
test('looking for buckets of time is given up where reading the rows is less', async () => {
  const db = await table('x int');
  try {
    await db.insert(
      't',
      Array.from({ length: 400 }, (_, id) => {
        const ts = START + id * 7 * MINUTE;
        return { id, ts, at: ts, x: id };
      }),
    );
    for (const [condition, key] of [
      [`ts >= '2026-03-08' AND ts < '2026-03-09 13:00Z'`, `time_bucket('1 second', ts)`],
      [`ts >= '1700-01-01' AND ts < '2200-01-01'`, `date_trunc('day', ts, 'America/Havana')`],
    ]) {
      const { meta } = await db.query(
        `SELECT ${key!}, count(*) FROM t WHERE ${condition!} GROUP BY 1`,
      );
      expect(meta.source).toBe('scan');
      expect(meta.work).toBeLessThan(50_000);
    }
  } finally {
    await db.close();
  }
});

test('days that are known are a set of days', () => {
  const step = fc.record({
    kind: fc.constantFrom('add' as const, 'add' as const, 'remove' as const, 'clear' as const),
    from: fc.integer({ min: 0, max: 30 }),
    length: fc.integer({ min: 0, max: 6 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const days = new DaySet();
      const model = new Set<number>();
      for (const { kind, from, length } of steps) {
        if (kind === 'add') {
          days.add(from, from + length);
          for (let day = from; day < from + length; day += 1) model.add(day);
        } else if (kind === 'remove') {
          days.remove(from);
          model.delete(from);
        } else if (length === 0) {
          days.clear();
          model.clear();
        }
        const has = (day: number): boolean => model.has(day);
        const all = Array.from({ length: 40 }, (_, day) => day);
        expect(all.filter((day) => days.has(day))).toEqual(all.filter(has));
        const asked = Array.from({ length }, (_, at) => from + at);
        if (length > 0) expect(days.covers(from, from + length)).toBe(asked.every(has));
        expect(
          days
            .gaps(from, from + length)
            .flatMap((gap) => Array.from({ length: gap.to - gap.from }, (_, at) => gap.from + at)),
        ).toEqual(asked.filter((day) => !has(day)));
        expect(days.isEmpty).toBe(model.size === 0);
      }
    }),
    { numRuns: 200, seed: 1 },
  );
});
