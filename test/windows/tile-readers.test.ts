/** Readers of tiles that few meet: at once within any budget, of very many groups, of a table that changes as a whole. */
import { expect, test } from 'vitest';
import type { Batch } from '../../src/columns/batch.ts';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
import { open } from '../../src/index.ts';
import { FLOAT8, INT8, INTERVAL, TIMESTAMPTZ } from '../../src/columns/types.ts';
import { Interval, type Datum } from '../../src/columns/values.ts';
import { resolveOperator } from '../../src/expressions/catalog.ts';
import { Budget } from '../../src/operators/operator.ts';
import { column, constant } from '../../src/plan/nodes.ts';
import type { TiledWindows } from '../../src/windows/tile-windows.ts';
import type { WindowBounds, WindowOperator, WindowPlan } from '../../src/windows/window-source.ts';
import { scannedWindows } from '../../src/windows/window-source.ts';
import {
  batchOf,
  begun,
  boundsOf,
  COLUMNS,
  CONTEXT,
  insert,
  planOf,
  rows,
  TileWorld,
  type Question,
} from './tile-program.ts';

const MINUTE = 60_000_000;
const QUARTER = 15 * MINUTE;
const DAY = 96 * QUARTER;
const START = 20_480 * DAY;

/** A count, sums and extremes of one window. */
const ofStretch = (from: number, to: number): Question => ({
  grouped: false,
  filtered: false,
  measures: 0b1_1011,
  windows: [[from, to]],
});

function allOf(operator: WindowOperator, units = 1000): Datum[][] {
  const found: Datum[][] = [];
  for (;;) {
    const step = operator.next(new Budget(units));
    if (step === 'done') return found;
    if (step === 'batch') found.push(...rowsOf(operator.batch));
  }
}

function rowsOf({ rowCount, columns, selection }: Batch): Datum[][] {
  return Array.from({ length: rowCount }, (_, row) =>
    columns.map((each) => datumAt(each, selection === undefined ? row : selection[row]!)),
  );
}

/** What was read at once, as the rows of a batch. */
function rowsAtOnce(tiles: TiledWindows, rowCount: number, { calls }: WindowPlan): Datum[][] {
  const { rowWindows, rowKeys } = tiles;
  const values = calls.map((_, call) => tiles.rowValues(call));
  return Array.from({ length: rowCount }, (_, row) => [
    rowWindows[row]!,
    ...rowKeys.map((key) => datumAt(key, row)),
    ...values.map((each) => each[row]!),
  ]);
}

/** Opens readers of a world's newest rows. */
function readers(world: TileWorld, plan: WindowPlan, windows: WindowBounds) {
  const snapshot = world.table.snapshot();
  const environment = { snapshotOf: () => snapshot, context: CONTEXT, memory: world.memory };
  return {
    tiles: () => world.store.openTiles(plan, windows, environment)!,
    rows: () => scannedWindows.open(plan, windows, environment),
    release: () => snapshot.release(),
  };
}

test('what is asked for at once is all there or not at all, whatever the budget', () => {
  const world = new TileWorld();
  insert(
    world,
    rows(700, (each) => START + 3 * MINUTE + each * (MINUTE / 700)),
  );
  insert(
    world,
    rows(60, (each) => START + 5 * MINUTE + each * (DAY / 3)),
  );
  for (const grouped of [false, true]) {
    const question: Question = {
      grouped,
      filtered: false,
      measures: 0b1_1011,
      windows: [
        [START + MINUTE / 2, START + 3 * MINUTE + MINUTE / 3],
        [START + MINUTE / 2 + 7, START + 9 * DAY + 5 * MINUTE + 1],
        [START + QUARTER, START + 16 * DAY],
      ],
    };
    const open = readers(world, planOf(question), boundsOf(question));
    const warm = open.tiles();
    const expected = allOf(warm);
    warm.close();
    const scanned = open.rows();
    expect(expected).toEqual(allOf(scanned));
    scanned.close();
    let answers = 0;
    for (let units = 0; answers < 3; units += 1) {
      const tiles = open.tiles();
      expect(tiles.isReady).toBe(true);
      const found = tiles.nextAtOnce(new Budget(units));
      if (found !== undefined) {
        answers += 1;
        expect(rowsAtOnce(tiles, found, planOf(question))).toEqual(expected);
      }
      tiles.close();
      tiles.close();
    }
    open.release();
  }
  world.end();
});

test('no windows have no rows', () => {
  const world = begun({ grouped: true, filtered: false, measures: 1, windows: [] }, [
    rows(10, (each) => START + each),
  ]);
  world.end();
  expect(world.answers).toBe(1);
});

test('of groups that fill many batches none is lost where tiles end in the middle', () => {
  const plan: WindowPlan = {
    ...planOf({ grouped: false, filtered: false, measures: 0b11, windows: [] }),
    keys: [column(4, COLUMNS[4]!)],
  };
  const windows = {
    from: Float64Array.of(START, START + DAY, START + DAY),
    to: Float64Array.of(START + DAY, START + 2 * DAY, START + 3 * DAY),
  };
  const world = new TileWorld();
  insert(
    world,
    batchOf(
      Array.from({ length: 12_000 }, (_, each) => [
        START + (each % 2 === 0 ? 0 : (each % 4) * (DAY / 2)),
        'red',
        each / 8,
        null,
        each,
      ]),
    ),
  );
  const open = readers(world, plan, windows);
  const scanned = open.rows();
  const expected = allOf(scanned).map(String);
  scanned.close();
  // More than two batches of the first window are still to be given.
  const tiles = open.tiles();
  while (tiles.next(new Budget(1)) !== 'batch');
  const found = rowsOf(tiles.batch);
  world.store.forget(1);
  found.push(...allOf(tiles));
  expect(found.map(String).join('\n')).toBe(expected.join('\n'));
  expect(tiles.isTiled).toBe(false);
  tiles.close();
  open.release();
  world.end();
});

/** Rows of one team a minute, more than a test would write down. */
function many(count: number): Batch {
  const numbers = (type: typeof INT8, value: (row: number) => number) => ({
    rep: 'number' as const,
    type,
    values: Float64Array.from({ length: count }, (_, row) => value(row)),
    factor: 1,
    base: 0,
    scale: 0,
  });
  const nothing = Array.from({ length: count }, () => null);
  return {
    rowCount: count,
    columns: [
      numbers(TIMESTAMPTZ, (row) => START + ((row * 7919) % count) * MINUTE),
      vectorFromData(COLUMNS[1]!.type, nothing),
      numbers(FLOAT8, (row) => row / 8),
      vectorFromData(COLUMNS[3]!.type, nothing),
      numbers(INT8, (row) => row),
    ],
  };
}

test('a reader of a table that changes as a whole has the rows it began with', () => {
  const question: Question = {
    grouped: false,
    filtered: false,
    measures: 0b1_1011,
    windows: [
      [START, START + 9 * DAY],
      [START + 1, START + 40 * DAY + 1],
    ],
  };
  for (const change of [
    (world: TileWorld) => world.run({ kind: 'truncate' }),
    (world: TileWorld) => insert(world, many(33_000)),
  ]) {
    const world = begun(question, [many(66_000)]);
    for (let step = 0; step < 3; step += 1) world.run({ kind: 'step', pick: 0, units: 1 });
    change(world);
    // Another reader has the tiles follow.
    world.run({ kind: 'open', query: { ...question, windows: [[START, START + DAY]] } });
    for (let step = 0; step < 9; step += 1) world.run({ kind: 'step', pick: 1, units: 9e4 });
    world.end();
    expect(world.answers).toBe(2);
  }
});

/** Tiles that are behind: extremes of several days have gone, and then came more rows, some of a new team, than a commit applies itself. */
function behind(question: Question): TileWorld {
  const first = [
    rows(700, (each) => START + 3 * MINUTE + ((each * 7919) % 700) * (MINUTE / 700)),
    rows(60, (each) => START + 5 * MINUTE + each * (DAY / 3)),
  ];
  const world = begun(question, first);
  world.finish();
  world.run({ kind: 'delete', picks: [96, 700, 705, 710, 715, 720, 725, 759] });
  insert(world, LATE);
  insert(world, batchOf([[START + DAY, 'green', 3, null, 1]]));
  return world;
}
const LATE = rows(2100, (each) => START + DAY / 2 + each * MINUTE);

test.each([
  ['a table that is another', (world: TileWorld) => world.store.forget(1)],
  ['eviction of half of the days', (world: TileWorld) => world.run({ kind: 'shed', bytes: 1e9 })],
  ['more of the same', (world: TileWorld) => insert(world, LATE)],
  ['extremes that go', (world: TileWorld) => world.run({ kind: 'delete', picks: [3, 701, 711] })],
])('at any step of a reader that has to catch up: %s', (_, event) => {
  const question: Question = {
    grouped: true,
    filtered: false,
    measures: 0b1_1011,
    windows: [[START, START + 20 * DAY]],
  };
  for (let steps = 0, isDone = false; !isDone; steps += 1) {
    const world = behind(question);
    world.run({ kind: 'open', query: question });
    for (let step = 0; step < steps; step += 1) world.run({ kind: 'step', pick: 0, units: 1 });
    isDone = world.answers > 1;
    event(world);
    world.finish();
    world.ask(question);
    world.end();
  }
});

test('many windows shorter than a minute are filled row by row, and tables without tiles go on', async () => {
  await using db = await open({ workers: 0 });
  for (const table of ['t', 'untold'])
    await db.exec(
      `CREATE TABLE ${table} (ts timestamptz, at timestamptz, x int) WITH (time = 'ts')`,
    );
  const row = (second: number) => {
    const ts = Date.UTC(2026, 2, 1) + second * 1000;
    return { ts, at: ts, x: second };
  };
  await db.insert(
    't',
    Array.from({ length: 3000 }, (_, each) => row((each * 37) % 3600)),
  );
  const query = {
    range: ['2026-03-01', '2026-03-01T01:00:00Z'],
    measures: { n: 'count(*)', s: 'sum(x)' },
  } as const;
  for (const every of ['10s', 'minute', '1s']) {
    const tiles = await db.window('t', { ...query, every });
    expect(tiles.rows).toEqual((await db.window('t', { ...query, every, time: 'at' })).rows);
  }
  await db.insert('untold', [row(1)]);
  await db.insert('t', [row(2)]);
  const { rows: whole, meta } = await db.window('t', query);
  expect([whole[0]!.values['n'], meta.source]).toEqual([3001, 'windows']);
});

test('an extreme that has gone far away keeps nobody from an answer at once', () => {
  const question = ofStretch(START, START + DAY);
  const world = new TileWorld();
  insert(
    world,
    rows(
      60,
      (each) => START + each * DAY,
      (each) => each,
    ),
  );
  for (const first of [0, 40])
    world.ask({ ...question, windows: [[START + first * DAY, START + (first + 2) * DAY]] });
  world.run({ kind: 'delete', picks: [40] });
  for (const [day, isReady] of [
    [0, true],
    [40, false],
  ] as const) {
    const windows = {
      from: Float64Array.of(START + day * DAY),
      to: Float64Array.of(START + (day + 1) * DAY),
    };
    const open = readers(world, planOf(question), windows);
    const tiles = open.tiles();
    expect(tiles.isReady).toBe(isReady);
    tiles.close();
    open.release();
  }
  world.end();
});

test('windows by a time that is computed come from rows', () => {
  const question = ofStretch(START, START + DAY);
  const world = new TileWorld();
  insert(
    world,
    rows(60, (each) => START + each * (DAY / 20)),
  );
  const later = resolveOperator(
    '+',
    column(0, COLUMNS[0]!),
    constant(new Interval(0, 0, 60 * MINUTE), INTERVAL),
  );
  const open = readers(world, { ...planOf(question), time: later }, boundsOf(question));
  expect(open.tiles()).toBeUndefined();
  const scanned = open.rows();
  expect(allOf(scanned)[0]!.slice(0, 2)).toEqual([0, 20]);
  scanned.close();
  open.release();
  world.end();
});

test('at once finer tiles are made where a window ends, as where it begins', () => {
  const dense = rows(700, (each) => START + 3 * MINUTE + each * (MINUTE / 700));
  for (const [from, to] of [
    [START, START + 3 * MINUTE + 7],
    [START + 3 * MINUTE + 7, START + DAY],
  ] as const) {
    const question = ofStretch(from, to);
    const world = new TileWorld();
    insert(world, dense);
    world.ask({ ...question, windows: [[START, START + DAY]] });
    const open = readers(world, planOf(question), boundsOf(question));
    const tiles = open.tiles();
    const scanned = open.rows();
    const found = tiles.nextAtOnce(new Budget(1e6))!;
    expect(rowsAtOnce(tiles, found, planOf(question))).toEqual(allOf(scanned));
    for (const each of [tiles, scanned]) each.close();
    open.release();
    world.end();
  }
});
