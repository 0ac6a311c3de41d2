/**
 * A reader of tiles is read in steps, and between any two of them anything may happen: its answer is that of the rows it saw when it began.
 * Each event comes after each step of a reader's life.
 */
import { expect, test } from 'vitest';
import type { Batch } from '../../src/columns/batch.ts';
import { Decimal } from '../../src/columns/values.ts';
import { batchOf, begun, insert, rows, type Question, type TileWorld } from './tile-program.ts';

const MINUTE = 60_000_000;
const QUARTER = 15 * MINUTE;
const DAY = 96 * QUARTER;
/** A day that 8 and 64 days begin with. */
const START = 20_480 * DAY;
/** Rows, a sum, both extremes, a sum of numerics, a percentile. */
const MEASURES = 0b10_0000_0101_1011;

/** A quarter of many rows, most of them in one minute, in batches of a scan; then a few on each of twenty days. */
const FIRST: readonly Batch[] = [
  rows(1000, (each) => START + 3 * MINUTE + ((each * 7919) % 1000) * (MINUTE / 1000)),
  rows(1100, (each) => START + ((each * 7919) % 1100) * ((14 * MINUTE) / 1100)),
  rows(200, (each) => START + each * (DAY / 10)),
];

const QUESTION: Question = {
  grouped: true,
  filtered: false,
  measures: MEASURES,
  windows: [
    [START, START + 16 * DAY],
    [START + MINUTE / 2, START + 3 * MINUTE + MINUTE / 3],
    [START + MINUTE, START + DAY + QUARTER / 2],
    [START + 3 * MINUTE + MINUTE / 2, START + 17 * DAY + 5 * QUARTER],
  ],
};

const NEW_EXTREMES = batchOf([
  [START + 3 * MINUTE + 5, 'red', 1e9, new Decimal(9_999_999n, 2), 2 ** 40],
  [START + 3 * MINUTE + 20_000_000, 'blue', -1e9, new Decimal(-9_999_999n, 2), -(2 ** 40)],
  [START + DAY + 5, null, NaN, null, 3],
  [START + 40 * DAY, 'red', 1, null, 3],
  [Infinity, 'red', 1, null, 3],
]);
const SPECIAL = batchOf([
  [START + 7 * MINUTE, 'red', Infinity, null, 1],
  [START + 7 * MINUTE, 'red', -Infinity, null, 1],
  [START + DAY, 'blue', 1e-30, null, 1],
]);
const MANY = rows(2300, (each) => START + ((each * 7919) % 2300) * ((2 * DAY) / 2300));

const EVENTS: Readonly<Record<string, (world: TileWorld) => void>> = {
  nothing: () => undefined,
  'new extremes': (world) => insert(world, NEW_EXTREMES),
  'values of another kind': (world) => insert(world, SPECIAL),
  'many rows': (world) => insert(world, MANY),
  'rows that go, extremes among them': (world) =>
    world.run({ kind: 'delete', picks: [0, 1, 95, 96, 97, 1000, 2101, 2200] }),
  'rows that change': (world) =>
    world.run({
      kind: 'update',
      picks: Array.from({ length: 30 }, (_, each) => each * 71),
      rows: [[START + 2 * DAY, 'red', 3, null, 4]],
    }),
  'many rows that go': (world) =>
    world.run({ kind: 'delete', picks: Array.from({ length: 2200 }, (_, each) => each) }),
  truncation: (world) => world.run({ kind: 'truncate' }),
  eviction: (world) => world.run({ kind: 'shed', bytes: 1e9 }),
  'a table that is another': (world) => world.store.forget(1),
  'another reader': (world) => world.run({ kind: 'open', query: { ...QUESTION, grouped: false } }),
};

const STEPS = [0, 1, 3, 7];

test.each(Object.entries(EVENTS))('between two steps of a reader: %s', (_, event) => {
  for (const steps of STEPS) {
    const world = begun(QUESTION, FIRST);
    for (let step = 0; step < steps; step += 1) world.run({ kind: 'step', pick: 0, units: 1 });
    event(world);
    // And for whom comes next.
    world.run({ kind: 'open', query: QUESTION });
    for (let step = 0; step < 3; step += 1) world.run({ kind: 'step', pick: 1, units: 1 });
    event(world);
    world.end();
    expect(world.answers).toBeGreaterThan(1);
  }
});
