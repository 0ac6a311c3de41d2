/** Tiles where memory is short: what does not fit leaves nothing behind, and the answers stay the same. */
import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
import { Budget } from '../../src/operators/operator.ts';
import { open } from '../../src/index.ts';
import { tilePlanOf } from '../../src/windows/tile-plan.ts';
import { TileSet, type Tiling } from '../../src/windows/tile-set.ts';
import { CONTEXT, insert, planOf, rows, TileWorld, type Question } from './tile-program.ts';

const MINUTE = 60_000_000;
const DAY = 1440 * MINUTE;
/** A day that 8, 64 and 512 days begin with. */
const FIRST_DAY = 20_480;
const START = FIRST_DAY * DAY;
const QUESTION: Question = {
  grouped: true,
  filtered: false,
  measures: 0b1_1011,
  windows: [[START, START + 40 * DAY]],
};

function drained<Result>(steps: Tiling<Result>): Result {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

function refused(work: () => unknown): boolean {
  try {
    work();
    return false;
  } catch (cause) {
    expect(cause).toMatchObject({ code: '53200' });
    return true;
  }
}

test('a tile of many days for which there is no room leaves nothing behind, and is made once there is', () => {
  const world = new TileWorld();
  insert(
    world,
    rows(600, (each) => START + each * (DAY / 10)),
  );
  const account = new MemoryAccount('test', undefined, 2 ** 24);
  const set = new TileSet(tilePlanOf(planOf(QUESTION), CONTEXT)!, world.table, CONTEXT, account);
  const budget = new Budget(1e9);
  drained(set.buildDays(FIRST_DAY, FIRST_DAY + 600, () => budget));
  const { usedBytes } = account;
  const made: (() => unknown)[] = [
    () => set.top(0, FIRST_DAY / 8),
    () => set.top(1, FIRST_DAY / 64),
    () => set.top(2, FIRST_DAY / 512),
    // Asked for twice each, as often as it takes to get it.
    ...Array.from({ length: 7 }, (_, each) => () => {
      set.span(FIRST_DAY + 1, FIRST_DAY + 30 + each);
      return set.span(FIRST_DAY + 1, FIRST_DAY + 30 + each);
    }),
  ];
  let refusals = 0;
  for (const [index, make] of made.entries()) {
    for (const room of index < 3
      ? [0, 200, 300, 400, 600]
      : [[0, 200, 300, 400, 500, 600, 900][index - 3]!]) {
      const before = account.usedBytes;
      const taken = 2 ** 24 - before - room;
      account.reserve(taken);
      if (refused(make)) {
        refusals += 1;
        // Smaller tiles that it is made of may be there.
        if (index !== 1 && index !== 2) expect(account.usedBytes).toBe(before + taken);
      }
      account.release(taken);
    }
    make();
  }
  expect(refusals).toBeGreaterThan(12);
  expect(account.usedBytes).toBeGreaterThan(usedBytes);
  set.close();
  expect(account.usedBytes).toBe(0);
  world.end();
});

test('where there is no room for the groups of a question it is answered from rows, until there is', () => {
  const account = new MemoryAccount('little', undefined, 4 * 2 ** 20);
  const world = new TileWorld(undefined, account);
  insert(
    world,
    rows(60, (each) => START + each * DAY),
  );
  const { memory } = world.store;
  memory.reserve(memory.parent!.limitBytes / 4);
  world.ask(QUESTION);
  expect(world.tiles).toBe(0);
  memory.release(memory.parent!.limitBytes / 4);
  world.ask(QUESTION);
  expect(world.tiles).toBeGreaterThan(0);
  world.end();
  expect(account.usedBytes).toBe(0);
});

test('when the database is nearly full a commit takes the least useful days, also of many', () => {
  const account = new MemoryAccount('database', undefined, 64 * 2 ** 20);
  const world = new TileWorld(undefined, account);
  insert(
    world,
    rows(900, (each) => START + each * (DAY / 3)),
  );
  const year: Question = { ...QUESTION, windows: [[START, START + 300 * DAY]] };
  world.ask(year);
  const used = world.store.memory.usedBytes;
  const taken = account.limitBytes * 0.8 - account.usedBytes + used / 4;
  account.reserve(taken);
  insert(
    world,
    rows(1, () => START),
  );
  const left = world.store.memory.usedBytes;
  expect(left).toBeLessThan(used * 0.9);
  expect(left).toBeGreaterThan(used / 4);
  world.ask(year);
  account.release(taken);
  world.end();
  expect(account.usedBytes).toBe(0);
});

test('days of more extremes that have gone than are remembered are made anew', async () => {
  await using db = await open({ workers: 0 });
  await db.exec(
    `CREATE TABLE t (id int PRIMARY KEY, ts timestamptz, at timestamptz, x float8) WITH (time = 'ts')`,
  );
  const count = 1200;
  const times = Float64Array.from(
    { length: 3 * count },
    (_, row) => Date.UTC(2026, 0, 1) + (row % count) * 900_000,
  );
  await db.insert('t', {
    id: Int32Array.from({ length: 3 * count }, (_, row) => row),
    ts: times,
    at: times,
    x: Float64Array.from({ length: 3 * count }, (_, row) => Math.floor(row / count)),
  });
  const same = async (): Promise<void> => {
    const query = {
      range: ['2026-01-01', '2026-02-01'],
      every: 'day',
      measures: { n: 'count(*)', lo: 'min(x)', hi: 'max(x)' },
    } as const;
    const tiles = await db.window('t', query);
    expect(tiles.rows).toEqual((await db.window('t', { ...query, time: 'at' })).rows);
  };
  await same();
  const before = db.metrics.snapshot()['tileBytes']!;
  await db.exec(`DELETE FROM t WHERE id < ${count}`);
  expect(db.metrics.snapshot()['tileBytes']!).toBeLessThan(before);
  await db.exec(`UPDATE t SET x = x - 5 WHERE id % 7 = 0`);
  await same();
  await same();
});

test('a stretch whose sum is very large is added up tile by tile', async () => {
  await using db = await open({ workers: 0 });
  await db.exec(
    `CREATE TABLE t (ts timestamptz, at timestamptz, team int, x float8) WITH (time = 'ts')`,
  );
  // Ten teams, whose values lie in 1,700 buckets.
  await db.insert(
    't',
    Array.from({ length: 23 * 20 }, (_, row) => {
      const ts = Date.UTC(2026, 0, 2 + (row % 23));
      return { ts, at: ts, team: row % 10, x: row % 20 < 10 ? 1e-4 : 1e4 };
    }),
  );
  const ask = async (time: string) =>
    await db.window('t', {
      range: ['2026-01-02', '2026-01-24'],
      measures: { p: 'approx_percentile(x, 0.7)' },
      by: ['team'],
      time,
    });
  const { rows: expected } = await ask('at');
  const bytes: number[] = [];
  const tiles: number[] = [];
  for (let time = 0; time < 4; time += 1) {
    const { rows: found, meta } = await ask('ts');
    expect(found).toEqual(expected);
    tiles.push(meta.tiles);
    bytes.push(db.metrics.snapshot()['tileBytes']!);
  }
  expect(new Set(tiles).size).toBe(1);
  expect(new Set(bytes.slice(1)).size).toBe(1);
});

test('tiles of a table that was redefined go with its next change', async () => {
  await using db = await open({ workers: 0 });
  await db.exec(`CREATE TABLE t (ts timestamptz, x int) WITH (time = 'ts')`);
  const insert = (x: number) => db.insert('t', [{ ts: Date.UTC(2026, 0, 2, x), x }]);
  for (let x = 0; x < 20; x += 1) await insert(x);
  const ask = async (): Promise<unknown> =>
    (await db.window('t', { range: ['2026-01-02', '2026-01-03'], measures: { s: 'sum(x)' } }))
      .rows[0]!.values;
  const tileBytes = (): number => db.metrics.snapshot()['tileBytes']!;
  expect(await ask()).toEqual({ s: 190 });
  expect(tileBytes()).toBeGreaterThan(0);
  await db.exec('ALTER TABLE t ADD COLUMN y int');
  await insert(20);
  expect(tileBytes()).toBe(0);
  expect(await ask()).toEqual({ s: 210 });
});

test('who waits for another that builds, and whoever comes later, hears that the tiles are given up', () => {
  const world = new TileWorld();
  insert(
    world,
    rows(4000, (each) => START + each * (DAY / 400)),
  );
  const account = new MemoryAccount('test', undefined, 2 ** 24);
  const set = new TileSet(tilePlanOf(planOf(QUESTION), CONTEXT)!, world.table, CONTEXT, account);
  const ample = new Budget(1e9);
  const small = new Budget(1);
  const first = set.buildDays(FIRST_DAY, FIRST_DAY + 10, () => small);
  expect(first.next()).toEqual({ value: 'go', done: false });
  const second = set.buildDays(FIRST_DAY, FIRST_DAY + 10, () => ample);
  expect(second.next()).toEqual({ value: 'wait', done: false });
  set.close();
  const givenUp = expect.objectContaining({ always: false });
  for (const steps of [first, second, set.buildDays(FIRST_DAY, FIRST_DAY + 1, () => ample)])
    expect(() => drained(steps)).toThrow(givenUp);
  expect(account.usedBytes).toBe(0);
});
