import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
import { Decimal, type Datum } from '../../src/columns/values.ts';
import { open } from '../../src/open.ts';
import { cutFor } from '../../src/windows/tile-time.ts';
import { batchOf, TileWorld, type Question, type Row } from './tile-program.ts';

/** Quarters of many rows are cut into pieces, where windows often begin or end in them: `TileSet.buildPieces`. */
const MINUTE = 60_000_000;
const QUARTER = 15 * MINUTE;
const DAY = 96 * QUARTER;
const START = 20_480 * DAY;
/** Rows, a sum, both extremes, a sum of numerics. */
const MEASURES = 0b101_1011;
/** Rows count as so many. */
const DENSITY = 3000;

function rowsOf(count: number, team: (row: number) => Datum = () => 'red') {
  return batchOf(
    Array.from({ length: count }, (_, each): Row => [
      START + Math.floor(((each * 7919) % count) * (DAY / count)),
      team(each),
      (each % 97) / 8,
      new Decimal(BigInt((each * 31) % 10_007), 2),
      each % 11,
    ]),
  );
}

function worldOf(count = 4000, memory?: MemoryAccount, density = DENSITY): TileWorld {
  const world = new TileWorld(undefined, memory, density);
  world.stage([{ kind: 'insert', rows: rowsOf(count) }]);
  world.publish();
  return world;
}

const edges = (from: number, to: number, more: Partial<Question> = {}): Question => ({
  grouped: false,
  filtered: false,
  measures: MEASURES,
  windows: [[START + from, START + to]],
  ...more,
});

/** Rows that a question reads; it is compared with the same question from rows. */
function readOf(world: TileWorld, question: Question): number {
  const before = world.rowsRead;
  world.ask(question);
  return world.rowsRead - before;
}

const ASKED = [
  edges(3 * QUARTER + 7, 5 * QUARTER + 11 * MINUTE + 1),
  edges(3 * QUARTER + 20_000_000, 3 * QUARTER + 20_000_001),
  edges(3 * QUARTER + 1, 3 * QUARTER + 2),
  edges(-5 * MINUTE, 40 * QUARTER + 19_999_999),
  edges(9 * QUARTER - 1, 9 * QUARTER + 1),
  edges(QUARTER + 40_000_000, QUARTER + 3 * MINUTE),
  edges(10 * QUARTER + 1, DAY + 3 * MINUTE),
];

function askAll(world: TileWorld, more: Partial<Question> = {}): number {
  let read = 0;
  for (const question of ASKED) read += readOf(world, { ...question, ...more });
  return read;
}

test('a quarter is cut as finely as its rows are many, and what the pieces take allows', () => {
  const pieces = (rows: number, tileBytes: number) => cutFor(rows, tileBytes)?.count;
  expect(pieces(96 * 28 * 3 - 1, 48)).toBe(undefined);
  expect(pieces(96 * 28 * 3, 48)).toBe(3);
  expect(pieces(96 * 285, 48)).toBe(9);
  expect(pieces(96 * 28 * 44, 48)).toBe(25);
  expect(pieces(96 * 2850, 48)).toBe(90);
  expect(pieces(96 * 1e6, 48)).toBe(90);
  // Few doubles a tile are no reason for tiles of few rows; many are one for none.
  expect(pieces(96 * 285, 8)).toBe(9);
  expect(pieces(96 * 285, 64 * 50)).toBe(undefined);
  expect(pieces(96 * 28_500, 64 * 50)).toBe(9);
  for (const rows of [1e5, 1e6, 1e7])
    for (const tileBytes of [8, 48, 400, 4000])
      expect((cutFor(rows, tileBytes)?.places ?? 0) * tileBytes).toBeLessThanOrEqual(2 * rows);
});

test('a day that windows end in is cut once its quarters were read for a while, and then few rows are read', () => {
  const world = worldOf();
  const asked = edges(3 * QUARTER + 7 * MINUTE + 1, 50 * QUARTER + 4 * MINUTE + 1);
  // Its tiles are made, and 42 rows of a quarter are about half of them read.
  readOf(world, asked);
  readOf(world, asked);
  const pieces = readOf(world, asked);
  expect(pieces).toBeLessThan(3);
  expect(readOf(world, edges(70 * QUARTER + 7 * MINUTE + 1, 71 * QUARTER))).toBeLessThan(3);
  // The pieces are one page more: without tiles of its day nobody keeps them.
  const set = world.store.sets()[0]!;
  expect(set.pageCount).toBe(2);
  world.store.shed(1);
  expect(set.pageCount).toBe(1);
  world.ask(asked);
  world.store.shed(1e9);
  world.store.shed(1e9);
  askAll(world);
  world.end();
});

test('pieces follow every change, and give the bits of a scan', () => {
  // The last with percentiles, whose buckets lie beside the doubles.
  for (const more of [
    {},
    { grouped: true },
    { filtered: true },
    { measures: 0b110_0000_0000_1001 },
  ]) {
    const world = worldOf();
    for (let round = 0; round < 3; round += 1) askAll(world, more);
    const change = (): void => {
      askAll(world, more);
      askAll(world, more);
    };
    // Late rows, extremes among them.
    world.run({
      kind: 'insert',
      publish: true,
      rows: [
        [START + 3 * QUARTER + 8, 'red', 1e6, null, 1],
        [START + 3 * QUARTER + 20_000_000, 'blue', -1e6, null, 2],
        [START + 5 * QUARTER + 11 * MINUTE, null, null, null, 3],
        [START + 30 * DAY, 'red', 1, null, 3],
      ],
    });
    change();
    // Rows that leave, some of which were an extreme of a piece.
    world.run({ kind: 'delete', picks: Array.from({ length: 300 }, (_, each) => each * 13) });
    change();
    world.run({ kind: 'delete', picks: [-1, -2, -3, -4].map((pick) => 3704 + pick) });
    change();
    world.run({
      kind: 'update',
      picks: Array.from({ length: 60 }, (_, each) => each * 37),
      rows: [
        [START + 3 * QUARTER + 9, 'red', 3, null, 4],
        [START + 4 * QUARTER + MINUTE, 'blue', NaN, null, 4],
      ],
    });
    change();
    world.run({ kind: 'truncate' });
    change();
    world.end();
  }
});

test('an extreme that leaves a piece, and not its quarter, is looked for by who asks next', () => {
  const world = worldOf(0);
  const at = (minute: number, amount: number): Row => [
    START + QUARTER + minute * MINUTE,
    'red',
    amount,
    null,
    1,
  ];
  const rows = [at(1, -100), at(1.5, 0), at(1.6, 7), at(13, 100)];
  for (let each = 0; each < 400; each += 1)
    rows.push([START + each * 3 * MINUTE, 'blue', 50, null, 1]);
  world.run({ kind: 'insert', publish: true, rows });
  const asked = edges(QUARTER + MINUTE + 1, 5 * QUARTER);
  for (let round = 0; round < 3; round += 1) world.ask(asked);
  const [set] = world.store.sets();
  const quarter = START / QUARTER + 1;
  expect(set!.pieces(quarter)).toBeDefined();
  // 7 is the greatest of its twenty seconds, and no extreme of its quarter.
  world.run({ kind: 'delete', picks: [2] });
  expect(set!.isRagged(quarter)).toBe(true);
  expect(set!.stale.size).toBe(0);
  world.ask(asked);
  expect(set!.isRagged(quarter)).toBe(false);
  world.ask(asked);
  // An extreme of the quarter: all of it is read anew, its pieces too, and those of its groups that have no row left.
  world.run({ kind: 'delete', picks: [0, 1, 2] });
  expect(set!.stale.size).toBe(1);
  for (let round = 0; round < 2; round += 1) askAll(world);
  world.ask(asked);
  expect(set!.pieces(quarter)).toBeDefined();
  // A ragged quarter is forgotten with its pieces.
  world.run({ kind: 'insert', publish: true, rows: [at(1.7, 60)] });
  world.run({ kind: 'delete', picks: [400] });
  world.store.shed(1);
  expect(set!.isRagged(quarter)).toBe(false);
  askAll(world);
  world.end();
});

test('pieces go where groups make them too large, and are not made where memory is short', () => {
  const world = worldOf();
  for (let round = 0; round < 3; round += 1) askAll(world, { grouped: true });
  const [set] = world.store.sets();
  expect(set!.pieces(START / QUARTER)).toBeDefined();
  const pages = set!.pageCount;
  for (const team of ['blue', 'green', null])
    world.run({
      kind: 'insert',
      publish: true,
      rows: [[START + 5 * MINUTE, team, 1, null, 1]],
    });
  expect(set!.pageCount).toBe(pages - 1);
  expect(set!.pieces(START / QUARTER)).toBeUndefined();
  for (let round = 0; round < 3; round += 1) askAll(world, { grouped: true });
  world.end();

  // There is no room for pieces; quarters take more than half of it.
  for (const bytes of [300_000, 60_000]) {
    const little = worldOf(4000, new MemoryAccount('little', undefined, bytes));
    for (let round = 0; round < 4; round += 1) askAll(little);
    expect(little.store.sets()[0]!.pieces(START / QUARTER)).toBeUndefined();
    little.end();
  }
});

test('a day that has become denser is cut anew', () => {
  const world = worldOf(200, undefined, 100);
  for (let round = 0; round < 4; round += 1) askAll(world);
  const pieces = (): number => world.store.sets()[0]!.pieces(START / QUARTER)!.cut!.count;
  expect(pieces()).toBe(5);
  world.stage([{ kind: 'insert', rows: rowsOf(3000) }]);
  world.publish();
  for (let round = 0; round < 4; round += 1) askAll(world);
  expect(pieces()).toBe(90);
  world.end();
});

// Finer tiles of a day that was evicted while they were made followed no commit, and answered once the day was known again.
test('finer tiles of a day that is evicted while they are made are not kept', () => {
  for (const density of [1, DENSITY]) {
    const world = new TileWorld(undefined, undefined, density);
    const minute = batchOf(
      Array.from({ length: 6000 }, (_, each): Row => [
        START + Math.floor(((each * 7919) % 6000) * ((10 * MINUTE) / 6000)),
        'red',
        (each % 97) / 8,
        null,
        each % 11,
      ]),
    );
    world.stage([{ kind: 'insert', rows: minute }]);
    world.publish();
    const aligned = edges(0, DAY);
    const asked = edges(7 * MINUTE + 1, DAY);
    world.ask(aligned);
    for (let steps = 0; steps < 8; steps += 1) {
      world.run({ kind: 'open', query: asked });
      for (let step = 0; step < steps; step += 1) world.run({ kind: 'step', pick: 0, units: 1 });
      for (let round = 0; round < 3; round += 1) world.store.shed(1e9);
      world.run({
        kind: 'insert',
        publish: true,
        rows: [[START + 9 * MINUTE + steps, 'red', 1000 + steps, null, 1]],
      });
      world.ask(aligned);
      world.ask(asked);
      world.ask(asked);
    }
    world.end();
  }
});

test('through db.window: what a rolling window reads does not grow with the table', async () => {
  const read: number[] = [];
  for (const size of [20_000, 120_000]) {
    const db = await open({ workers: 0 });
    try {
      await db.exec(
        `CREATE TABLE t (ts timestamptz NOT NULL, at timestamptz NOT NULL, x double precision NOT NULL) WITH (time = 'ts')`,
      );
      const days = 4;
      const startMs = Date.UTC(2026, 2, 1);
      const ts = Float64Array.from({ length: size }, (_, row) =>
        Math.floor(
          startMs + (row * days * 86_400_000) / size - (row % 100 === 3 ? 1000 * (row % 977) : 0),
        ),
      );
      await db.insert('t', { ts, at: ts, x: ts.map((_, row) => (row % 1009) / 8) });
      const measures = { n: 'count(*)', s: 'sum(x)', lo: 'min(x)', hi: 'max(x)' };
      const ask = async (minute: number, time = 'ts') =>
        db.window('t', {
          range: [startMs + minute * 60_000 + 1, startMs + (minute + 1440) * 60_000 + 1],
          measures,
          time,
        });
      for (let round = 0; round < 3; round += 1)
        for (let minute = 7; minute < 2880; minute += 197) await ask(minute);
      let most = 0;
      for (let minute = 11; minute < 2880; minute += 507) {
        const { rows, meta } = await ask(minute);
        expect(rows).toEqual((await ask(minute, 'at')).rows);
        most = Math.max(most, meta.rowsScanned);
      }
      read.push(most);
    } finally {
      await db.close();
    }
  }
  expect(read[1]!).toBeLessThan(read[0]! * 1.5);
});

test('a day may be evicted at any step of its cutting, and one that is not cut changes as ever', () => {
  const asked = edges(3 * QUARTER + 7 * MINUTE + 1, 50 * QUARTER + 4 * MINUTE + 1);
  const late = (day: number): void =>
    world.run({
      kind: 'insert',
      publish: true,
      rows: [[START + day * DAY + 3 * QUARTER + 8 * MINUTE, 'red', -1e6, null, 1]],
    });
  let world = worldOf();
  for (let steps = 0, isDone = false; !isDone; steps += 1) {
    world = worldOf();
    world.ask({ ...asked, windows: [[START, START + 2 * DAY]] });
    world.ask(asked);
    world.run({ kind: 'open', query: asked });
    const { answers } = world;
    for (let step = 0; step < steps; step += 1) world.run({ kind: 'step', pick: 0, units: 1 });
    isDone = world.answers > answers;
    if (isDone) late(1);
    else for (let time = 0; time < 8; time += 1) world.run({ kind: 'shed', bytes: 1e9 });
    late(0);
    world.run({ kind: 'open', query: asked });
    world.finish();
    world.ask(asked);
    world.ask({ ...asked, windows: [[START + DAY, START + 2 * DAY]] });
    world.end();
  }
});

test('where half of the memory of tiles is used, quarters stay whole', () => {
  const world = worldOf();
  const asked = edges(3 * QUARTER + 7 * MINUTE + 1, 50 * QUARTER + 4 * MINUTE + 1);
  const { memory } = world.store;
  const most = memory.limitBytes / 2;
  memory.reserve(most);
  for (let time = 0; time < 4; time += 1) expect(readOf(world, asked)).toBeGreaterThan(20);
  expect(world.store.sets()[0]!.pageCount).toBe(1);
  memory.release(most);
  readOf(world, asked);
  expect(readOf(world, asked)).toBeLessThan(3);
  world.end();
});
