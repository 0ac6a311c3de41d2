import { afterEach, beforeEach, expect, test } from 'vitest';
import { open, type Database } from '../../src/index.ts';
import { manualClock, type ManualClock } from '../../src/testing.ts';
import { MemoryDisk } from '../journal/memory-disk.ts';

let db: Database;
let clock: ManualClock;
let disk: MemoryDisk;
const start = (): Promise<Database> =>
  open({ clock, disk, journal: { kind: 'file', dir: '/d' }, workers: 0 });

beforeEach(async () => {
  clock = manualClock('2026-03-08T12:00:00Z');
  disk = new MemoryDisk();
  db = await start();
  await db.exec(
    `CREATE TABLE orders (id int PRIMARY KEY, ts timestamptz, n int) WITH (time = 'ts', lateness = '2h', refresh = 'hour 100ms, day 3s')`,
  );
});
afterEach(() => db.close());

const today = { range: ['2026-03-08', '2026-03-09'], measures: { n: 'count(*)' } } as const;

test('rows that come later than they may are counted in their windows, and are in them', async () => {
  await db.insert('orders', [
    { id: 1, ts: '2026-03-08T12:00:00Z', n: 1 },
    { id: 2, ts: '2026-03-08T10:00:00Z', n: 1 },
    { id: 3, ts: '2026-03-08T09:59:59Z', n: 1 },
    { id: 4, ts: '2026-03-07T12:00:00Z', n: 1 },
    { id: 5, ts: null, n: 1 },
  ]);
  // What is changed has not just arrived.
  await db.exec('UPDATE orders SET n = 2');
  const expected = { lateRows: 1, watermark: '2026-03-08T12:00:00.000Z' };
  expect((await db.window('orders', today)).meta).toMatchObject(expected);
  expect((await db.window('orders', today)).rows[0]!.values).toEqual({ n: 3 });
  expect(
    (await db.window('orders', { ...today, range: ['2026-03-01', '2026-03-09'] })).meta.lateRows,
  ).toBe(2);
  expect(
    (await db.window('orders', { ...today, range: ['2026-03-01', '2026-03-02'] })).meta.lateRows,
  ).toBe(0);
  for (const snapshot of [false, true]) {
    if (snapshot) await db.checkpoint();
    await db.close();
    db = await start();
    expect((await db.window('orders', today)).meta).toMatchObject(expected);
  }
  await db.policies.set('orders', { lateness: null });
  expect((await db.window('orders', today)).meta).toMatchObject({
    lateRows: null,
    watermark: null,
  });
});

test('live windows are told as often as the policy says, and maxRate goes before it', async () => {
  const told = async (
    every: 'hour' | 'day' | 'minute',
    waitMs: number,
    maxRate?: number,
  ): Promise<boolean> => {
    await db.exec('DELETE FROM orders');
    const live = db.subscribe(
      {
        window: {
          table: 'orders',
          current: 'day',
          every,
          measures: { n: 'count(*)' },
          zone: 'UTC',
        },
      },
      { heartbeatMs: 3_600_000, ...(maxRate === undefined ? {} : { maxRate }) },
    );
    const changes = live[Symbol.asyncIterator]();
    await changes.next();
    let isTold = false;
    const next = changes.next().then(() => (isTold = true));
    await db.insert('orders', { id: 1, ts: '2026-03-08T12:30:00Z', n: 1 });
    await clock.advance(waitMs);
    const early = isTold;
    await clock.advance('10min');
    await next;
    await live.close();
    return early;
  };
  expect(await told('hour', 90)).toBe(false);
  expect(await told('hour', 110)).toBe(true);
  expect(await told('day', 2900)).toBe(false);
  expect(await told('day', 3100)).toBe(true);
  // Windows that the policy does not speak of: a quarter of a second.
  expect(await told('minute', 240)).toBe(false);
  expect(await told('minute', 260)).toBe(true);
  expect(await told('day', 60, 20)).toBe(true);
  await db.policies.set('orders', { refresh: 'day 1s' });
  expect(await told('day', 900)).toBe(false);
  expect(await told('day', 1100)).toBe(true);
});

// Beyond 65,536 quarters each late row looked at all of them for the two oldest: a load of 100,000 quarters held the thread for 24 s.
test('late rows of more quarters than are told apart: those of the oldest are counted together, and none is lost', async () => {
  const count = 100_000;
  const newestMs = Date.UTC(2026, 2, 1);
  const at = (quarters: number): string =>
    new Date(newestMs - quarters * 15 * 60_000).toISOString();
  await db.insert('orders', {
    id: Int32Array.from({ length: count }, (_, id) => id),
    // Newest and oldest in turns.
    ts: Float64Array.from(
      { length: count },
      (_, id) => newestMs - (id % 2 === 0 ? id / 2 : count - (id + 1) / 2) * 15 * 60_000,
    ),
  });
  const late = async (from: string, to: string): Promise<unknown> =>
    (await db.window('orders', { range: [from, to], measures: { n: 'count(*)' } })).meta.lateRows;
  expect(await late(at(count), at(-1))).toBe(count);
  for (const [first, quarters] of [
    [0, 100],
    [40_000, 4000],
    [0, 57_344],
  ] as const)
    expect(await late(at(first + quarters - 1), at(first - 1))).toBe(quarters);
});
