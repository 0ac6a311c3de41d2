import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Database } from '../../src/actors/database.ts';
import type { Engine } from '../../src/actors/engine.ts';
import type { WindowQuery } from '../../src/actors/window-query.ts';
import { open } from '../../src/open.ts';
import { sql } from '../../src/actors/sql-tag.ts';
import { MemoryDisk } from '../journal/memory-disk.ts';
import { HandClock } from '../actors/hand-clock.ts';
import { refusalOfField } from './refusal.ts';

const NOW = '2026-11-05T12:00:00Z';

async function orders(): Promise<Database> {
  const db = await open({ workers: 0 });
  await db.exec(
    `CREATE TABLE orders (id int PRIMARY KEY, ts timestamptz, region text, amount numeric(12,2), price float8)
       WITH (time = 'ts')`,
  );
  await db.insert('orders', [
    { id: 1, ts: '2026-10-31T12:00:00Z', region: 'EU', amount: '1.50', price: 0.1 },
    { id: 2, ts: '2026-11-01T05:30:00Z', region: 'EU', amount: 2, price: 0.2 },
    { id: 3, ts: '2026-11-01T06:30:00Z', region: 'US', amount: 3, price: null },
    { id: 4, ts: '2026-11-03T20:00:00Z', region: 'US', amount: 4, price: 0.4 },
    { id: 5, ts: '2026-11-05T11:59:59.999999Z', region: null, amount: 5, price: 0.5 },
    { id: 6, ts: '2026-11-05T12:00:00Z', region: 'EU', amount: 6, price: 0.6 },
    { id: 7, ts: null, region: 'EU', amount: 7, price: 0.7 },
    { id: 8, ts: 'infinity', region: 'EU', amount: 8, price: 0.8 },
  ]);
  return db;
}

const N = { n: 'count(*)' };

test('a nought that stands for a sum has the places of the column', async () => {
  await using db = await orders();
  const { rows } = await db.window('orders', {
    range: ['2026-11-02', '2026-11-04'],
    every: 'day',
    measures: {
      s: 'sum(amount)',
      least: 'min(amount)',
      twice: 'sum(amount) * 2',
      a: 'avg(amount)',
      ...N,
    },
    fill: 'zero',
    compare: { to: 'previous' },
  });
  // '0' stood beside '4.00'.
  const zeros = { s: '0.00', least: '0.00', twice: '0', a: '0', n: 0 };
  expect(rows.map(({ values }) => values)).toEqual([
    zeros,
    { s: '4.00', least: '4.00', twice: '8.00', a: '4.0000000000000000', n: 1 },
  ]);
  expect(rows[0]!.previous).toMatchObject({ s: '1.50' });
  expect(rows[0]!.change).toMatchObject({ s: '-1.50' });
});

test('a window has the rows from its start until just before its end', async () => {
  await using db = await orders();
  const { rows, meta } = await db.window('orders', {
    last: '5 days',
    now: NOW,
    measures: {
      ...N,
      s: 'sum(amount)',
      p: 'sum(price)',
      avg: 'sum(amount) / count(*)',
      last: 'max(ts)',
    },
  });
  expect(rows).toEqual([
    {
      start: '2026-10-31T12:00:00Z',
      end: NOW,
      startMs: Date.parse('2026-10-31T12:00:00Z'),
      endMs: Date.parse(NOW),
      label: '2026-10-31T12:00:00+00:00',
      offsetSeconds: 0,
      partial: false,
      complete: true,
      by: {},
      values: {
        n: 5,
        s: '15.50',
        p: 1.2,
        avg: '3.1000000000000000',
        last: '2026-11-05T11:59:59.999999Z',
      },
    },
  ]);
  expect(meta).toMatchObject({
    zone: 'UTC',
    tzVersion: process.versions.tz,
    now: NOW,
    watermark: null,
    source: 'windows',
    guarantee: 'exact',
    tiles: 8,
    rowsScanned: 6,
    position: db.position,
  });
});

test('days in a zone, by group, in the order of windows and groups; other values as asked for', async () => {
  await using db = await orders();
  const { rows } = await db.window(
    'orders',
    {
      range: ['2026-10-31', '2026-11-04'],
      every: 'day',
      zone: 'America/New_York',
      by: ['region'],
      measures: { ...N, s: 'sum(amount)' },
    },
    { values: { numeric: 'number', int8: 'string' } },
  );
  expect(
    rows.map(({ label, by, values }) => [label, by['region'], values['n'], values['s']]),
  ).toEqual([
    ['2026-10-31', 'EU', '1', 1.5],
    ['2026-11-01', 'EU', '1', 2],
    ['2026-11-01', 'US', '1', 3],
    ['2026-11-03', 'US', '1', 4],
  ]);
});

test('fill: windows that no row lies in, with nought, NULL, the last value, or what lies between', async () => {
  await using db = await orders();
  const filled = async (fill: WindowQuery['fill'], by?: string): Promise<unknown[]> => {
    const { rows } = await db.window('orders', {
      range: ['2026-10-31', '2026-11-06'],
      every: 'day',
      fill,
      by,
      measures: { ...N, s: 'sum(amount)', p: 'avg(price)', t: 'min(region)' },
    });
    return rows.map(({ label, by: group, values }) => [
      label.slice(8),
      ...Object.values(group),
      ...Object.values(values),
    ]);
  };
  expect(await filled('none')).toEqual([
    ['31', 1, '1.50', 0.1, 'EU'],
    ['01', 2, '5.00', 0.2, 'EU'],
    ['03', 1, '4.00', 0.4, 'US'],
    ['05', 2, '11.00', 0.55, 'EU'],
  ]);
  expect((await filled('zero'))[2]).toEqual(['02', 0, '0.00', 0, null]);
  expect((await filled('null'))[2]).toEqual(['02', null, null, null, null]);
  expect((await filled('previous'))[2]).toEqual(['02', 2, '5.00', 0.2, 'EU']);
  expect(await refusalOfField(filled('linear'))).toMatch(/^42804 fill: measure "t" is no number/);
  const linear = await db.window('orders', {
    range: ['2026-10-30', '2026-11-07'],
    every: 'day',
    fill: 'linear',
    measures: { s: 'sum(amount)', p: 'avg(price)' },
  });
  expect(
    linear.rows.map(({ label, values }) => [label.slice(8), values['s'], values['p']]),
  ).toEqual([
    ['30', null, null],
    ['31', '1.50', 0.1],
    ['01', '5.00', 0.2],
    ['02', 4.5, 0.30000000000000004],
    ['03', '4.00', 0.4],
    ['04', 7.5, 0.47500000000000003],
    ['05', '11.00', 0.55],
    ['06', null, null],
  ]);
  expect(
    (await filled('previous', 'region')).filter((row) => (row as unknown[])[0] === '04'),
  ).toEqual([
    ['04', 'EU', 1, '2.00', 0.2, 'EU'],
    ['04', 'US', 1, '4.00', 0.4, 'US'],
    ['04', null, null, null, null, null],
  ]);
});

test('linear: gaps of several windows, of groups, and next to NULL', async () => {
  await using db = await orders();
  await db.insert('orders', [
    { id: 20, ts: '2026-11-08T00:00:00Z', region: 'EU', amount: null, price: null },
  ]);
  const { rows } = await db.window('orders', {
    range: ['2026-11-01', '2026-11-10'],
    every: 'day',
    fill: 'linear',
    by: 'region',
    measures: { s: 'sum(amount)' },
  });
  const of = (region: string | null): unknown[] =>
    rows.filter(({ by }) => by['region'] === region).map(({ values }) => values['s']);
  expect(of('EU')).toEqual(['2.00', 3, 4, 5, '6.00', null, null, null, null]);
  expect(of('US')).toEqual(['3.00', 3.5, '4.00', null, null, null, null, null, null]);
  expect(of(null)).toEqual([null, null, null, null, '5.00', null, null, null, null]);
});

test('compare: what was before, the exact difference and its share; groups that are on one side only', async () => {
  await using db = await orders();
  const { rows } = await db.window('orders', {
    lastComplete: '3 days',
    now: NOW,
    compare: 'previous',
    by: 'region',
    measures: { ...N, s: 'sum(amount)', t: 'max(region)', d: 'max(ts)' },
  });
  expect(
    rows.map(({ by, values, previous, change, changeShare, compared }) => [
      by['region'],
      values['n'],
      previous!['n'],
      change!['n'],
      changeShare!['n'],
      change!['s'],
      changeShare!['s'],
      change!['t'],
      compared!.endMs,
    ]),
  ).toEqual([
    ['EU', 0, 2, -2, -1, null, null, null, Date.parse('2026-11-02')],
    ['US', 1, 1, 0, 0, '1.00', 0.3333333333333333, null, Date.parse('2026-11-02')],
  ]);
  expect(rows[1]!.change!['d']).toBe('P2DT13H30M');
  const month = await db.window('orders', {
    range: ['2026-03-29', '2026-03-30'],
    every: 'day',
    compare: { sameBusinessDay: 'yearAgo' },
    fill: 'zero',
    measures: N,
  });
  expect(month.rows[0]).toMatchObject({
    values: { n: 0 },
    previous: null,
    change: null,
    changeShare: null,
    compared: null,
  });
  // What stands for windows without rows stands for those that are compared, too.
  const beside = async (fill: 'none' | 'zero' | 'null'): Promise<unknown> => {
    const answer = await db.window('orders', {
      range: ['2026-11-03', '2026-11-04'],
      compare: 'previous',
      fill,
      measures: { ...N, s: 'sum(amount)' },
    });
    return [answer.rows[0]!.previous, answer.rows[0]!.change];
  };
  expect(await beside('none')).toEqual([
    { n: 0, s: null },
    { n: 1, s: null },
  ]);
  expect(await beside('zero')).toEqual([
    { n: 0, s: '0.00' },
    { n: 1, s: '4.00' },
  ]);
  expect(await beside('null')).toEqual([
    { n: null, s: null },
    { n: null, s: null },
  ]);
  const lin = await db.window('orders', {
    range: ['2026-11-01', '2026-11-04'],
    every: 'day',
    compare: { weeksAgo: 1 },
    fill: 'linear',
    measures: { s: 'sum(amount)' },
  });
  expect(lin.rows[1]).toMatchObject({
    values: { s: 4.5 },
    previous: { s: null },
    change: { s: null },
  });
  const two = await db.window('orders', {
    range: ['2026-11-02', '2026-11-04'],
    every: 'day',
    hop: 'day',
    compare: 'previous',
    fill: 'linear',
    measures: N,
  });
  expect(two.rows.map(({ values, change }) => [values['n'], change!['n']])).toEqual([
    [null, null],
    [1, -1],
  ]);
});

test('sessions: rows of a group that follow each other closely', async () => {
  await using db = await orders();
  const { rows } = await db.window('orders', {
    range: ['2026-10-31', '2026-11-06'],
    gap: '20h',
    now: NOW,
    measures: { ...N, s: 'sum(amount)' },
  });
  expect(
    rows.map(({ start, end, values, complete, label }) => [
      start,
      end,
      values['n'],
      values['s'],
      complete,
      label,
    ]),
  ).toEqual([
    ['2026-10-31T12:00:00Z', '2026-11-02T02:30:00Z', 3, '6.50', true, '2026-10-31T12:00:00+00:00'],
    ['2026-11-03T20:00:00Z', '2026-11-04T16:00:00Z', 1, '4.00', true, '2026-11-03T20:00:00+00:00'],
    [
      '2026-11-05T11:59:59.999Z',
      '2026-11-06T08:00:00Z',
      2,
      '11.00',
      false,
      '2026-11-05T11:59:59+00:00',
    ],
  ]);
  const grouped = await db.window('orders', {
    range: ['2026-10-31', '2026-11-06'],
    gap: '20h',
    by: 'region',
    now: NOW,
    measures: N,
  });
  expect(
    grouped.rows.map(({ by, start, values }) => [by['region'], start.slice(5, 13), values['n']]),
  ).toEqual([
    ['EU', '10-31T12', 2],
    ['US', '11-01T06', 1],
    ['US', '11-03T20', 1],
    [null, '11-05T11', 1],
    ['EU', '11-05T12', 1],
  ]);
  const none = await db.window('orders', {
    range: ['2026-10-31', '2026-10-31'],
    gap: '20h',
    measures: N,
  });
  expect(none.rows).toEqual([]);
});

test('P8: now is one instant for the whole query: the clock, the newest row, the transaction, or what is given', async () => {
  const clock = new HandClock();
  await using db = await open({ workers: 0, clock });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, ts timestamptz)');
  expect((await db.window('t', { last: '1h', measures: N })).meta.now).toBe('2026-01-01T00:00:00Z');
  expect((await db.window('t', { last: '1h', now: 'watermark', measures: N })).meta).toMatchObject({
    now: '2026-01-01T00:00:00Z',
    watermark: null,
  });
  await db.insert('t', [
    { id: 1, ts: '2026-05-05T10:00:00.000500Z' },
    { id: 2, ts: null },
  ]);
  const first = db.position;
  const { rows, meta } = await db.window('t', { last: '1h', now: 'watermark', measures: N });
  expect([rows[0]!.values['n'], meta.now, meta.watermark]).toEqual([
    1,
    '2026-05-05T10:00:00.001Z',
    '2026-05-05T10:00:00.000Z',
  ]);
  clock.advance(3_600_000);
  await db.insert('t', [{ id: 3, ts: '2026-01-01T00:30:00Z' }]);
  expect((await db.window('t', { last: '1h', measures: N })).rows[0]!.values).toEqual({ n: 1 });
  // As of an earlier position, now is what it was then.
  const asOf = await db.window('t', { last: '1h', measures: N }, { asOf: first });
  expect([asOf.meta.now, asOf.rows[0]!.values['n'], asOf.meta.position]).toEqual([
    '2026-01-01T00:00:00Z',
    0,
    first,
  ]);
  const { value } = await db.transaction(async (tx) => {
    await tx.insert('t', [{ id: 4, ts: '2026-01-01T00:59:00Z' }]);
    const before = await (tx as Database).window('t', { last: '1h', measures: N });
    return [before.meta.now, before.rows[0]!.values['n']];
  });
  expect(value).toEqual(['2026-01-01T01:00:00Z', 2]);
});

test('A7: no data, one row, all rows in one millisecond, the future, an empty table', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, ts timestamptz)');
  const count = async (query: Partial<WindowQuery>): Promise<unknown[]> =>
    (await db.window('t', { range: ['2026-01-01', '2026-01-03'], measures: N, ...query })).rows.map(
      ({ values }) => values['n'],
    );
  expect(await count({})).toEqual([0]);
  expect(await count({ every: 'day' })).toEqual([]);
  expect(await count({ every: 'day', by: 'id' })).toEqual([]);
  await db.insert(
    't',
    Array.from({ length: 3000 }, (_, id) => ({ id, ts: '2026-01-01T10:00:00Z' })),
  );
  expect(await count({ every: 'day' })).toEqual([3000]);
  expect(await count({ every: '6h', fill: 'zero' })).toEqual([0, 3000, 0, 0, 0, 0, 0, 0]);
  expect(await count({ range: ['2126-01-01', '2126-01-02'] })).toEqual([0]);
  expect(await count({ every: '7 days', hop: '1h' })).toEqual(
    Array.from({ length: 38 }, () => 3000),
  );
});

test('at midnight the day to date is a row of nothing, beside nothing of the day before, as SQL without GROUP BY has one', async () => {
  await using db = await orders();
  const midnight = '2026-11-05T00:00:00Z';
  const ask = (query: Partial<WindowQuery>) =>
    db.window('orders', {
      toDate: 'day',
      now: midnight,
      measures: { ...N, s: 'sum(amount)', most: 'max(price)' },
      ...query,
    });
  const { rows, meta } = await ask({ compare: 'previous' });
  expect(rows).toEqual([
    {
      start: midnight,
      end: midnight,
      startMs: Date.parse(midnight),
      endMs: Date.parse(midnight),
      label: '2026-11-05',
      offsetSeconds: 0,
      partial: true,
      complete: true,
      by: {},
      values: { n: 0, s: null, most: null },
      previous: { n: 0, s: null, most: null },
      change: { n: 0, s: null, most: null },
      changeShare: { n: null, s: null, most: null },
      compared: {
        startMs: Date.parse('2026-11-04T00:00:00Z'),
        endMs: Date.parse('2026-11-04T00:00:00Z'),
      },
    },
  ]);
  expect(meta.rowsScanned).toBe(0);
  expect((await ask({ fill: 'zero' })).rows[0]!.values).toEqual({ n: 0, s: '0.00', most: 0 });
  expect(
    (await db.explainWindow('orders', { toDate: 'day', now: midnight, measures: N })).text,
  ).toContain('  2026-11-05T00:00:00+00:00 → 2026-11-05T00:00:00+00:00  0 hours  (partial)\n');
  // Groups and units are those that something lies in.
  expect((await ask({ by: 'region' })).rows).toEqual([]);
  expect((await ask({ every: 'hour' })).rows).toEqual([]);
  // The whole of yesterday is beside it where that is asked for.
  const [full] = (
    await ask({
      compare: { to: { weeksAgo: 1 }, align: 'fullPeriod' },
      now: '2026-11-07T00:00:00Z',
    })
  ).rows;
  expect(full!.values['n']).toBe(0);
  expect(full!.previous!['n']).toBe(1);
  // Of walls, of a view, and beside rows that tiles do not hold, too.
  await db.exec('CREATE VIEW seen AS SELECT * FROM orders WHERE price > 0.15');
  const answers = await Promise.all([
    db.window('seen', { toDate: 'day', now: midnight, measures: N }),
    db.window('orders', {
      toDate: 'day',
      now: midnight,
      measures: { n: 'string_agg(region, $$,$$)' },
    }),
    db.window('orders', { toDate: 'hour', now: midnight, zone: 'Asia/Kathmandu', measures: N }),
  ]);
  expect(answers.map((answer) => answer.rows.map(({ values }) => values['n']))).toEqual([
    [0],
    [null],
    [0],
  ]);
});

test('walls: timestamp and date columns are read in the zone of the query', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, wall timestamp, day date)');
  await db.insert('t', [
    { id: 1, wall: '2026-11-01T01:30:00', day: '2026-11-01' },
    { id: 2, wall: '2026-11-01T23:59:00', day: '2026-11-02' },
  ]);
  for (const time of ['wall', 'day']) {
    const { rows } = await db.window('t', {
      range: ['2026-11-01', '2026-11-02'],
      zone: 'America/New_York',
      time,
      measures: N,
    });
    expect([time, rows[0]!.values['n']]).toEqual([time, time === 'wall' ? 2 : 1]);
  }
});

test('views, plain and materialized, and subqueries in WHERE are read as well as tables', async () => {
  await using db = await orders();
  await db.exec('CREATE VIEW plain AS SELECT ts, amount * 2 AS twice FROM orders');
  await db.exec(
    'CREATE MATERIALIZED VIEW kept AS SELECT ts, region, count(*) AS n FROM orders GROUP BY ts, region',
  );
  const span = { range: ['2026-10-31', '2026-11-04'] as const };
  expect(
    (await db.window('plain', { ...span, measures: { s: 'sum(twice)' } })).rows[0]!.values,
  ).toEqual({ s: '21.00' });
  const kept = await db.window('public.kept', {
    ...span,
    measures: { s: 'sum(n)' },
    where: 'region IN (SELECT region FROM orders WHERE id = 1)',
  });
  expect(kept.rows[0]!.values).toEqual({ s: '2' });
  expect((await db.window('kept', { ...span, measures: { s: 'sum(n)' } })).meta.sources).toEqual([
    { kind: 'view', name: 'kept' },
  ]);
});

test('measures, groups and conditions are SQL expressions, and nothing else gets in', async () => {
  await using db = await orders();
  const span = { range: ['2026-10-31', '2026-11-06'] as const };
  const one = async (query: Partial<WindowQuery>, params?: unknown[]): Promise<unknown> =>
    (
      await db.window('orders', { ...span, measures: N, ...query } as WindowQuery, { params })
    ).rows.map(({ by, values }) => [...Object.values(by), ...Object.values(values)]);
  expect(await one({ where: "region = 'EU' -- of all" })).toEqual([[3]]);
  expect(await one({ where: sql`region = ${'US'}` })).toEqual([[2]]);
  expect(await one({ where: 'id > $1' }, [3])).toEqual([[3]]);
  expect(
    await one({
      measures: {
        a: { fn: 'count' },
        b: { fn: 'count', column: 'region', distinct: true },
        c: { fn: 'sum', column: 'amount', filter: "region = 'EU'" },
      },
    }),
  ).toEqual([[6, 2, '9.50']]);
  expect(await one({ by: ['amount > 3', 'region'], where: 'region IS NOT NULL' })).toEqual([
    [false, 'EU', 2],
    [false, 'US', 1],
    [true, 'EU', 1],
    [true, 'US', 1],
  ]);
  expect(await one({ measures: { __proto__x: 'count(*)', m: "max(region) || '!'" } })).toEqual([
    [6, 'US!'],
  ]);
  const cases: readonly [Partial<WindowQuery>, RegExp][] = [
    [{ measures: {} }, /^22023 measures: a window query has at least one measure/],
    [{ measures: undefined as never }, /^22023 measures: "measures" is no object/],
    [{ measures: ['count(*)'] as never }, /^22023 measures/],
    [{ measures: { a: '' } }, /^22023 measures.a: "measures.a" is no SQL expression/],
    [{ measures: { a: 'sum(amount' } }, /^42601 measures.a/],
    [{ measures: { a: 'sum(amount) AS s' } }, /^22023 measures.a/],
    [{ measures: { a: 'sum(amount) FROM orders' } }, /^22023 measures.a/],
    [{ measures: { a: 'sum(amount), 1' } }, /^22023 measures.a/],
    [{ measures: { a: 'count(*); DROP TABLE orders' } }, /^22023 measures.a/],
    [{ measures: { a: '1 UNION SELECT 2' } }, /^22023 measures.a/],
    [{ measures: { a: '*' } }, /^22023 measures.a/],
    [{ measures: { a: 7 as never } }, /^22023 measures.a/],
    [
      { measures: { a: { fn: 'sum(amount)); --' } } },
      /^22023 measures.a: "measures.a" is no measure/,
    ],
    [{ measures: { a: '1' } }, /^22023 measures.a/],
    [{ measures: { a: 'sum(amout)' } }, /^42703/],
    [{ measures: { a: 'amount' } }, /^42803/],
    [{ measures: { a: 'sum(amount) + (SELECT 1)' } }, /^0A000 measures/],
    [{ by: '1' }, /^22023 by.0/],
    [{ by: 7 as never }, /^22023 by: "by" is no list/],
    [{ by: ['region', 7 as never] }, /^22023 by/],
    [{ by: 'regoin' }, /^42703/],
    [{ where: "region = 'EU' GROUP BY 1" }, /^22023 where/],
    [{ where: "region = 'EU' ORDER BY 1" }, /^22023 where/],
    [{ where: '' }, /^42601 where/],
    [{ where: { region: 'EU' } as never }, /^22023 where/],
    [{ time: 'tss' }, /^42703 time: column "tss" does not exist \| Did you mean "ts"/],
    [{ time: 'region' }, /^42804 time/],
    [{ time: 'qqqqqqq' }, /Columns of times are ts/],
    [{ zone: 'Europe/Berln' }, /Did you mean "Europe\/Berlin"/],
    [{ zone: 7 as never }, /^22023 zone/],
    [{ calendar: 'acme' }, /^42704 calendar: calendar "acme" does not exist \| Make it with/],
    [{ calendar: { weekstart: 1 } as never }, /Did you mean "weekStart"/],
    [{ now: 'tomorrow' }, /^22007 now/],
    [{ evry: 'day' } as never, /^22023 evry: unknown field "evry" \| Did you mean "every"/],
  ];
  for (const [query, expected] of cases)
    expect(await refusalOfField(one(query)), JSON.stringify(query)).toMatch(expected);
  expect(await refusalOfField(one({ where: 'id > $1' }))).toMatch(/^08P01/);
  expect(await refusalOfField(db.window('nothing', { ...span, measures: N }))).toMatch(/^42P01/);
  expect(await refusalOfField(db.window(7 as never, { ...span, measures: N }))).toMatch(
    /^22023 table/,
  );
  expect(await refusalOfField(db.window('orders', null as never))).toMatch(/^22023/);
  await db.exec('CREATE TABLE two (a timestamptz, b timestamptz)');
  expect(await refusalOfField(db.window('two', { ...span, measures: N }))).toMatch(
    /^22023 time: "two" has several columns of times: a, b \| Say which/,
  );
  await db.exec('CREATE TABLE no (a int)');
  expect(await refusalOfField(db.window('no', { ...span, measures: N }))).toMatch(
    /^22023 time: "no" has no column of times/,
  );
  expect(await refusalOfField(db.window('no', { ...span, measures: N, time: 'x' }))).toMatch(
    /Columns of times are none/,
  );
  expect(
    await refusalOfField(db.window('orders', { ...span, measures: N }, { timeoutMs: -1 })),
  ).toMatch(/^22023 timeoutMs/);
  expect(
    await refusalOfField(db.window('orders', { ...span, measures: N }, { asOf: 10_000 })),
  ).toMatch(/^ADB_POSITION_GONE/);
  expect(
    await refusalOfField(
      db.window('orders', { ...span, measures: N }, { signal: AbortSignal.abort() }),
    ),
  ).toMatch(/^57014/);
});

test('a question that does not fit is told what it can ask, not what can be deleted', async () => {
  await using small = await open({ workers: 0, memory: '8 MB' });
  await small.exec('CREATE TABLE t (id int, ts timestamptz)');
  const ids = Array.from({ length: 30_000 }, (_, id) => id);
  await small.insert('t', {
    id: Int32Array.from(ids),
    ts: Float64Array.from(ids, (id) => Date.UTC(2026, 0, 1) + id * 60_000),
  });
  const refused = await small
    .window('t', { range: ['2026-01-01', '2026-12-31'], every: 'day', by: 'id', measures: N })
    .catch((cause: unknown) => cause);
  expect(refused).toMatchObject({
    code: '53200',
    limit: 'memory',
    hint: 'Ask for less at once: fewer groups, fewer columns, a shorter time; or raise the memory limit.',
  });
});

test('extreme questions end with an error or an answer: many windows by many groups, many sessions', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, ts timestamptz)');
  const ids = Array.from({ length: 3000 }, (_, id) => id);
  await db.insert('t', {
    id: Int32Array.from(ids),
    ts: Float64Array.from(ids, (id) => Date.UTC(2026, 0, 1) + id * 60_000),
  });
  const year = { range: ['2026-01-01', '2026-12-31'] as const, every: 'day' };
  expect(
    await refusalOfField(db.window('t', { ...year, by: 'id', fill: 'zero', measures: N })),
  ).toMatch(/^54000 : the answer has more than 500000 rows/);
  // The first days have told: of the others no tiles were made.
  const { tiles } = (db as unknown as { engine: Engine }).engine;
  const january = Date.UTC(2026, 0, 1) / 86_400_000;
  expect(
    tiles.sets().map((set) => [2, 60].map((day) => set.covers(january, january + day))),
  ).toEqual([[true, false]]);
  expect(await refusalOfField(db.window('t', { ...year, every: 'second', measures: N }))).toMatch(
    /^54000 every/,
  );
  expect((await db.window('t', { ...year, by: 'id', measures: N })).rows.length).toBe(3000);
  expect((await db.window('t', { range: year.range, gap: '30s', measures: N })).rows.length).toBe(
    3000,
  );
});

// Each measure was held against all before it, as text made anew: nine seconds for a thousand, a minute for three.
test('a thousand measures are bound in their number, and more than a table has columns are refused', async () => {
  await using db = await orders();
  const measures = (count: number) =>
    Object.fromEntries(
      Array.from({ length: count }, (_, each) => [`m${each}`, `sum(id + ${each % 500})`]),
    );
  const query = { range: ['2026-11-01', '2026-11-06'] } as const;
  const { rows } = await db.window('orders', { ...query, measures: measures(1600) });
  expect(Object.values(rows[0]!.values).slice(0, 2)).toEqual([20, 25]);
  expect(rows[0]!.values['m501']).toBe(rows[0]!.values['m1']);
  expect(
    await refusalOfField(db.window('orders', { ...query, measures: measures(1600), by: 'region' })),
  ).toMatch(/^54011 measures/);
}, 15_000);

test('a window whose sum overflows is refused as the query is', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (ts timestamptz, x float8)');
  await db.insert('t', [
    { ts: new Date(Date.UTC(2026, 9, 30, 1)), x: 1.7e308 },
    { ts: new Date(Date.UTC(2026, 9, 30, 2)), x: 1.7e308 },
  ]);
  const window = (every: string): Promise<unknown> =>
    db.window('t', { range: ['2026-10-30', '2026-10-31'], every, measures: { s: 'sum(x)' } });
  await expect(window('day')).rejects.toMatchObject({ code: '22003' });
  await expect(db.query('SELECT sum(x) FROM t')).rejects.toMatchObject({ code: '22003' });
  await expect(window('hour')).resolves.toMatchObject({ rows: { length: 2 } });
});

test('each window is what SQL says of its rows, whatever the zone, the unit and the rows', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, ts timestamptz, team text, x float8)');
  const row = fc.record({
    ts: fc.oneof(
      {
        weight: 8,
        arbitrary: fc.integer({ min: Date.UTC(2026, 9, 29), max: Date.UTC(2026, 10, 4) }),
      },
      {
        weight: 1,
        arbitrary: fc.constantFrom(
          Date.UTC(2026, 10, 1, 5),
          Date.UTC(2026, 10, 1, 6),
          Date.UTC(2026, 10, 1, 4),
          null,
        ),
      },
    ),
    team: fc.constantFrom('a', 'b', null),
    // Their sums do not overflow: that is an error of both, and another test's.
    x: fc.option(fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e300, max: 1e300 })),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(row, { maxLength: 25 }),
      fc.constantFrom('UTC', 'America/New_York', 'America/Havana', 'Australia/Lord_Howe'),
      fc.constantFrom<Partial<WindowQuery>>(
        { every: 'hour' },
        { every: '6h' },
        { every: 'day' },
        { every: 'week' },
        { every: '2 days', hop: '12h' },
        {},
      ),
      fc.boolean(),
      fc.boolean(),
      async (rows, zone, cut, grouped, compared) => {
        await db.exec('TRUNCATE t');
        await db.insert(
          't',
          rows.map((each, id) => ({
            id,
            ...each,
            ts: each.ts === null ? null : new Date(each.ts),
          })),
        );
        const { rows: answer } = await db.window('t', {
          range: ['2026-10-30', '2026-11-03'],
          zone,
          ...cut,
          ...(grouped ? { by: 'team' } : {}),
          ...(compared ? { compare: 'previous' } : {}),
          measures: { n: 'count(*)', s: 'sum(x)', m: 'max(x)' },
        });
        const ask = async (
          from: number,
          to: number,
          by: Record<string, unknown>,
        ): Promise<unknown> => {
          const {
            rows: [only],
          } = await db.query(
            `SELECT count(*) AS n, sum(x) AS s, max(x) AS m FROM t WHERE ts >= $1 AND ts < $2 AND ($3 OR team IS NOT DISTINCT FROM $4)`,
            { params: [new Date(from), new Date(to), !grouped, by['team'] ?? null] },
          );
          return only;
        };
        let total = 0;
        for (const { startMs, endMs, values, by, previous, compared: span } of answer) {
          expect(values).toEqual(await ask(startMs, endMs, by));
          if (compared)
            expect(previous).toEqual(
              span === null ? null : await ask(span!.startMs, span!.endMs, by),
            );
          total += values['n'] as number;
        }
        if (cut.hop === undefined) {
          const {
            rows: [whole],
          } = await db.query<{ n: number }>(
            'SELECT count(*) AS n FROM t WHERE ts >= $1::timestamp AT TIME ZONE $3 AND ts < $2::timestamp AT TIME ZONE $3',
            { params: ['2026-10-30', '2026-11-03', zone] },
          );
          expect(total).toBe(whole!.n);
        }
      },
    ),
    { numRuns: 40 },
  );
});

test('EXPLAIN tells the boundaries, the days that are not 24 hours long, and what was read', async () => {
  await using db = await orders();
  const told = await db.explainWindow('orders', {
    lastComplete: '3 days',
    every: 'day',
    zone: 'America/New_York',
    now: '2026-11-03T12:00:00Z',
    compare: { weeksAgo: 52 },
    measures: N,
  });
  expect(told.text.split('\n').slice(0, -1)).toEqual([
    `Windows of orders in America/New_York (tz ${process.versions.tz}), now 2026-11-03T12:00:00Z`,
    '  2026-10-31T00:00:00-04:00 → 2026-11-01T00:00:00-04:00  24 hours  beside 2025-11-01T00:00:00-04:00 → 2025-11-02T00:00:00-04:00',
    '  2026-11-01T00:00:00-04:00 → 2026-11-02T00:00:00-05:00  25 hours  beside 2025-11-02T00:00:00-04:00 → 2025-11-03T00:00:00-05:00',
    '  2026-11-02T00:00:00-05:00 → 2026-11-03T00:00:00-05:00  24 hours  beside 2025-11-03T00:00:00-05:00 → 2025-11-04T00:00:00-05:00',
    'Note: 2026-11-01 has 25 hours',
    'Source: windows, 13 tiles merged, 4 rows scanned',
    `Work: ${told.work} units`,
  ]);
  const apia = await db.explainWindow('orders', {
    range: ['2011-12-29', '2012-01-01'],
    zone: 'Pacific/Apia',
    measures: N,
  });
  expect(apia.notes).toEqual(['2011-12-30 does not exist']);
  const many = await db.explainWindow('orders', {
    range: ['2026-01-01', '2026-02-01'],
    every: 'hour',
    now: '2026-01-31T12:30:00Z',
    compare: { sameBusinessDay: 'yearAgo' },
    measures: N,
  });
  expect(many.text).toMatch(/… 644 more …/);
  expect(many.text).toMatch(/\(running\) {2}beside nothing/);
  expect(
    (await db.explainWindow('orders', { range: ['2026-01-01', '2026-01-01'], measures: N }))
      .windows,
  ).toEqual([]);
  const long = await db.explainWindow('orders', {
    range: ['1990-01-01', '2030-01-01'],
    zone: 'Europe/Berlin',
    measures: N,
  });
  expect(long.notes.length).toBe(50);
});

// ── Calendars by name ──────────────────────────────────────────────────────────────────────────────────────────

test('calendars are made, replaced, listed and dropped; windows know them by name', async () => {
  await using db = await orders();
  const { position } = await db.calendars.set('acme', {
    zone: 'America/New_York',
    fiscalYearStart: 2,
    holidays: ['2026-11-26'],
  });
  expect(position).toBe(db.position);
  expect(await db.calendars.get('acme')).toMatchObject({
    zone: 'America/New_York',
    fiscalYearStart: 2,
    weekStart: 'monday',
  });
  const query: WindowQuery = { toDate: 'fiscalQuarter', calendar: 'acme', now: NOW, measures: N };
  const { rows, meta } = await db.window('orders', query);
  expect([rows[0]!.label, rows[0]!.values['n'], meta.zone]).toEqual([
    '2026-11-01',
    4,
    'America/New_York',
  ]);
  expect((await db.window('orders', { ...query, zone: 'Asia/Tokyo' })).meta.zone).toBe(
    'Asia/Tokyo',
  );
  expect(
    (await db.window('orders', { ...query, calendar: { fiscalYearStart: 2 } })).meta.zone,
  ).toBe('UTC');
  expect(
    (await db.window('orders', { ...query, calendar: { fiscalYearStart: 2 }, zone: 'Asia/Tokyo' }))
      .meta.zone,
  ).toBe('Asia/Tokyo');
  await db.calendars.set('acme', { fiscalYearStart: 12 });
  expect((await db.window('orders', query)).rows[0]!.label).toBe('2026-09-01');
  // Another tenant sees main's, and may have its own of the same name.
  const other = db.as({ tenant: 'other' });
  expect(await other.calendars.list()).toEqual([]);
  await other.calendars.set('acme', { fiscalYearStart: 3 });
  expect((await db.calendars.list()).map(({ name }) => name)).toEqual(['acme']);
  await other.calendars.drop('acme');
  expect(await refusalOfField(other.calendars.drop('acme'))).toMatch(/^42704/);
  await db.calendars.drop('acme');
  expect(await db.calendars.get('acme')).toBeUndefined();
  await db.calendars.set('retail', { retail: {} });
  expect(await refusalOfField(db.window('orders', { ...query, calendar: 'retial' }))).toMatch(
    /Did you mean "retail"/,
  );
  expect(await refusalOfField(db.calendars.drop('retial'))).toMatch(/Did you mean "retail"/);
  expect(await refusalOfField(db.calendars.set('', {}))).toMatch(/^42602 name/);
  expect(await refusalOfField(db.calendars.set('x', { holidays: () => [] }))).toMatch(
    /^22023 holidays/,
  );
  expect(await refusalOfField(db.calendars.set('x', { zone: 'Europe/Berln' }))).toMatch(/^22023/);
  // Zones are many, and few are kept.
  for (const zone of Intl.supportedValuesOf('timeZone').slice(0, 80))
    expect(
      (await db.window('orders', { range: [0, 1], calendar: 'retail', zone, measures: N })).rows
        .length,
    ).toBe(1);
});

test('calendars survive a restart: from the journal, and from a snapshot', async () => {
  const disk = new MemoryDisk();
  const start = (): Promise<Database> =>
    open({ disk, journal: { kind: 'file', dir: '/d' }, workers: 0 });
  let db = await start();
  await db.calendars.set('acme', { fiscalYearStart: 2, holidays: ['2026-12-25'] });
  await db.calendars.set('gone', {});
  await db.calendars.drop('gone');
  const before = await db.calendars.list();
  await db.close();
  db = await start();
  expect(await db.calendars.list()).toEqual(before);
  await db.checkpoint();
  await db.calendars.set('later', { weekStart: 'sunday' });
  await db.close();
  db = await start();
  expect((await db.calendars.list()).map(({ name }) => name)).toEqual(['acme', 'later']);
  expect(await db.calendars.get('acme')).toEqual(before[0]!.spec);
  await db.close();
});

test('A9: a calendar with changes of its own has them in every text of a question, and in what is explained', async () => {
  await using db = await orders();
  const calendar = {
    zone: {
      name: 'Europe/Berlin',
      changes: [{ from: '2026-11-01T00:00:00Z', offsetSeconds: 18_000 }],
    },
  };
  const of = async (when: Record<string, unknown>): Promise<string> => {
    const { rows } = await db.window('orders', { calendar, measures: N, ...when });
    return `${rows[0]!.start} ${rows.at(-1)!.end}`;
  };
  const day = '2026-11-02T19:00:00Z 2026-11-03T19:00:00Z';
  expect(await of({ current: 'day', now: '2026-11-03T12:00' })).toBe(day);
  expect(await of({ range: ['2026-11-03', '2026-11-04'] })).toBe(day);
  expect(await of({ text: '2026-11-03 to 2026-11-04' })).toBe(day);
  const { notes } = await db.explainWindow('orders', {
    range: ['2026-10-31', '2026-11-03'],
    calendar,
    measures: N,
  });
  expect(notes).toEqual(['2026-11-01 has 20 hours']);
  await db.exec('CREATE TABLE walls (at timestamp)');
  await expect(db.window('walls', { current: 'day', calendar, measures: N })).rejects.toMatchObject(
    { code: '0A000', field: 'calendar', column: 'at' },
  );
});

test('a zone that is read in two ways is refused by name, and a session that speaks SQL keeps its own', async () => {
  await using db = await orders();
  const at = { current: 'day', now: NOW, measures: N } as const;
  await expect(db.window('orders', { ...at, zone: '+02:00' })).rejects.toMatchObject({
    code: '22023',
    field: 'zone',
  });
  await expect(db.window('orders', { ...at, calendar: { zone: 'UTC+2' } })).rejects.toMatchObject({
    field: 'zone',
  });
  await expect(db.calendars.set('acme', { zone: 'UTC+2' })).rejects.toMatchObject({
    field: 'zone',
  });
  await expect(db.window('orders', { ...at, zone: 'Mars' })).rejects.toMatchObject({
    field: 'zone',
  });
  const session = db.session();
  await session.exec("SET TimeZone = 'UTC+2'");
  const { rows, meta } = await session.window('orders', at);
  expect([rows[0]!.start, meta.zone]).toEqual(['2026-11-05T02:00:00Z', 'UTC+2']);
  await expect(session.window('orders', { ...at, zone: 'UTC+2' })).rejects.toMatchObject({
    field: 'zone',
  });
  const kolkata = await db.window('orders', { ...at, zone: 'Asia/Kolkata' });
  expect(kolkata.meta.zone).toBe('Asia/Kolkata');
  await session.close();
});
