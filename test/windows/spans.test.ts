import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Database } from '../../src/actors/database.ts';
import type { Engine } from '../../src/actors/engine.ts';
import type { WindowQuery, WindowResult } from '../../src/actors/window-query.ts';
import { open } from '../../src/open.ts';
import { HandClock } from '../actors/hand-clock.ts';

/** Stretches of days that are asked for again are one tile: `TileSet.span`. */
const DAY_MS = 86_400_000;
const START_MS = Date.UTC(2026, 0, 3);
const DAYS = 70;

const MEASURES = {
  n: 'count(*)',
  s: 'sum(x)',
  least: 'min(x)',
  most: 'max(x)',
  p: 'approx_percentile(x, 0.9)',
  v: 'stddev(x)',
  d: 'count(DISTINCT x)',
  a: 'approx_count_distinct(x)',
};

const SUMS = { n: 'count(*)', s: 'sum(x)', lo: 'min(x)', hi: 'max(x)' };

type Operation =
  | { readonly kind: 'insert'; readonly day: number; readonly x: number; readonly region: string }
  | { readonly kind: 'delete' | 'move'; readonly id: number; readonly day: number }
  | { readonly kind: 'ask'; readonly panel: number };

const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({
    kind: fc.constant('insert' as const),
    day: fc.constantFrom(-2, 0, 7, 30, 63, 66),
    // Numbers that tiles hold: with others all is read from rows.
    x: fc.oneof(
      fc.integer({ min: -9000, max: 9000 }).map((eighths) => eighths / 8),
      fc.constantFrom(NaN, Infinity),
    ),
    region: fc.constantFrom('EU', 'US'),
  }),
  fc.record({
    kind: fc.constantFrom('delete' as const, 'move' as const),
    id: fc.nat(80),
    day: fc.nat(DAYS),
  }),
  fc.record({ kind: fc.constant('ask' as const), panel: fc.nat(6) }),
  fc.record({ kind: fc.constant('ask' as const), panel: fc.constant(0) }),
);

/** Few questions, asked often. */
const PANELS: readonly Partial<WindowQuery>[] = [
  { range: [START_MS, START_MS + 64 * DAY_MS] },
  { range: [START_MS, START_MS + 64 * DAY_MS], by: 'region' },
  { range: [START_MS + 3 * DAY_MS + 1, START_MS + 40 * DAY_MS - 1] },
  { range: [START_MS, START_MS + DAYS * DAY_MS], every: '20 days' },
  { range: ['2026-01-05', '2026-03-01'], zone: 'America/St_Johns', where: 'x > 0' },
  // Days that all begin at one quarter: what lies on either side of it is one tile each, where no keys are counted.
  { range: ['2026-01-05', '2026-03-01'], zone: 'Asia/Kathmandu', every: 'day', measures: SUMS },
  {
    range: ['2026-01-05', '2026-03-01'],
    zone: 'America/St_Johns',
    every: 'day',
    by: 'region',
    measures: SUMS,
  },
];

async function withoutTiles(db: Database, ask: () => Promise<WindowResult>): Promise<WindowResult> {
  const { tiles } = (db as unknown as { engine: Engine }).engine;
  const { openTiles } = tiles;
  tiles.openTiles = () => undefined;
  try {
    return await ask();
  } finally {
    tiles.openTiles = openTiles;
  }
}

test('a stretch of days that is asked for again has the bits of its rows, whatever comes and goes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 10, maxLength: 50 }), async (operations) => {
      await using db = await open({ workers: 0, clock: new HandClock() });
      await db.exec(
        `CREATE TABLE events (id int PRIMARY KEY, ts timestamptz, region text, x float8) WITH (time = 'ts')`,
      );
      let id = 0;
      for (const each of operations) {
        if (each.kind === 'insert') {
          const ts = START_MS + each.day * DAY_MS + (id % 5) * 3_600_000;
          await db.insert('events', [{ id, ts, region: each.region, x: each.x }]);
          id += 1;
        } else if (each.kind === 'delete') {
          await db.exec(`DELETE FROM events WHERE id = ${each.id}`);
        } else if (each.kind !== 'ask') {
          await db.exec(
            `UPDATE events SET ts = ts + interval '${each.day} days', x = x + 1 WHERE id = ${each.id}`,
          );
        } else {
          const ask = (): Promise<WindowResult> =>
            db.window('events', { measures: MEASURES, now: START_MS, ...PANELS[each.panel]! });
          const first = await ask();
          const plain = await withoutTiles(db, ask);
          for (let times = 0; times < 3; times += 1) {
            const again = await ask();
            expect(again.rows).toEqual(plain.rows);
            // What is remembered is seen in no answer, and costs what it spares.
            expect(again.meta.tiles).toBe(first.meta.tiles);
            expect(again.meta.rowsScanned).toBeLessThanOrEqual(first.meta.rowsScanned);
          }
          expect((await ask()).meta.work).toBe((await ask()).meta.work);
        }
      }
    }),
    { numRuns: 20 },
  );
});

test('a question about a year is one tile from the second time on, and follows the commits that change it', async () => {
  await using db = await open({ workers: 0, clock: new HandClock() });
  await db.exec(`CREATE TABLE events (ts timestamptz, x float8) WITH (time = 'ts')`);
  await db.insert(
    'events',
    Array.from({ length: 365 }, (_, day) => ({ ts: START_MS + day * DAY_MS, x: day })),
  );
  const measures = { n: 'count(*)', most: 'max(x)', p: 'approx_percentile(x, 0.5)' };
  const range = [START_MS, START_MS + 365 * DAY_MS] as const;
  const ask = async (): Promise<unknown> =>
    (await db.window('events', { range, measures })).rows[0]!.values;
  const first = await ask();
  const bytes = (): number => db.metrics.snapshot()['tileBytes']!;
  const before = bytes();
  expect(await ask()).toEqual(first);
  // The tile that is the sum of all.
  expect(bytes()).toBeGreaterThan(before);
  const { meta } = await db.window('events', { range, measures });
  expect(meta.tiles).toBeGreaterThan(10);
  await db.insert('events', [{ ts: START_MS + 100 * DAY_MS, x: 1000 }]);
  expect(await ask()).toMatchObject({ n: 366, most: 1000 });
  await db.exec('DELETE FROM events WHERE x = 1000');
  expect(await ask()).toEqual(first);
  expect(await ask()).toEqual(first);
});

test('a stretch of very many groups is added tile by tile, each time', async () => {
  await using db = await open({ workers: 0, clock: new HandClock() });
  await db.exec(`CREATE TABLE events (ts timestamptz, device int, x float8) WITH (time = 'ts')`);
  const devices = 6000;
  await db.insert('events', {
    ts: Float64Array.from({ length: 4 * devices }, (_, row) => START_MS + (row % 4) * 8 * DAY_MS),
    device: Int32Array.from({ length: 4 * devices }, (_, row) => Math.floor(row / 4)),
    x: Float64Array.from({ length: 4 * devices }, (_, row) => row / 8),
  });
  const ask = (): Promise<WindowResult> =>
    db.window('events', {
      range: [START_MS, START_MS + 32 * DAY_MS],
      by: 'device',
      measures: { s: 'sum(x)', least: 'min(x)' },
    });
  const first = await ask();
  expect(first.rows.length).toBe(devices);
  const bytes = db.metrics.snapshot()['tileBytes'];
  for (let time = 0; time < 2; time += 1) expect((await ask()).rows).toEqual(first.rows);
  expect(db.metrics.snapshot()['tileBytes']).toBe(bytes);
});
