/** Whatever happens at any step of a reader, its answer is that of the rows it began with; and so are those of who comes next. */
import { expect, test } from 'vitest';
import type { Batch } from '../../src/columns/batch.ts';
import { batchOf, begun, insert, rows, type Question, type TileWorld } from './tile-program.ts';

const MINUTE = 60_000_000;
const QUARTER = 15 * MINUTE;
const DAY = 96 * QUARTER;
/** A day that 8 and 64 days begin with. */
const START = 20_480 * DAY;

/** Little to read and much to make: minutes and seconds of one quarter, days and spans of days. */
const FIRST: readonly Batch[] = [
  rows(700, (each) => START + 3 * MINUTE + ((each * 7919) % 700) * (MINUTE / 700)),
  rows(20, (each) => START + 5 * MINUTE + each * DAY),
];
const QUESTION: Question = {
  grouped: true,
  filtered: false,
  // Rows, a sum, both extremes.
  measures: 0b1_1011,
  windows: [
    [START, START + 16 * DAY],
    [START + MINUTE / 2, START + 3 * MINUTE + MINUTE / 3],
    [START + MINUTE, START + 5.5 * QUARTER],
  ],
};
/** More rows than a commit applies itself, in the dense minute and after it. */
const MORE = rows(
  2100,
  (each) => START + 3 * MINUTE + each * (MINUTE / 100),
  (each) => -each,
);

function evictAll(world: TileWorld): void {
  // A page that cost much is kept longest, and a shedding takes half of what it looks at.
  for (let time = 0; time < 8; time += 1) world.run({ kind: 'shed', bytes: 1e9 });
}

function inTheMinute(world: TileWorld, value: number): void {
  insert(
    world,
    rows(
      3,
      (each) => START + 3 * MINUTE + 5 + each,
      () => value,
    ),
  );
}

const EVENTS: Readonly<Record<string, (world: TileWorld) => void>> = {
  'an extreme that comes': (world) => inTheMinute(world, -1e6),
  'what tiles cannot hold': (world) =>
    insert(
      world,
      batchOf([
        [START + DAY, 'red', 2 ** 500, null, 1],
        [null, 'red', 2 ** -500, null, 1],
      ]),
    ),
  'extremes that go': (world) =>
    world.run({ kind: 'delete', picks: [0, 95, 96, 97, 582, 679, 699, 700, 719] }),
  'all that lies dense, which goes': (world) =>
    world.run({ kind: 'delete', picks: Array.from({ length: 700 }, (_, each) => each) }),
  'more than a commit applies': (world) => insert(world, MORE),
  truncation: (world) => world.run({ kind: 'truncate' }),
  // Minutes that were being made of a day that was evicted were kept by nobody, and taken for those of the day once that was made anew. Events
  // came between few steps, and what had cost much was not evicted.
  'eviction of all, and an extreme': (world) => {
    evictAll(world);
    inTheMinute(world, -1e6);
  },
  'extremes that go, and eviction at the next reader’s steps': (world) => {
    world.run({ kind: 'delete', picks: [0, 95, 96, 97, 582, 679, 699, 700, 719] });
    world.run({ kind: 'open', query: QUESTION });
    for (let step = 0; step < 2; step += 1) world.run({ kind: 'step', pick: 1, units: 1 });
    evictAll(world);
  },
  'a table that is another': (world) => world.store.forget(1),
  'a log that does not reach back': (world) => {
    insert(world, MORE);
    world.table.expire(world.position);
  },
};

test.each(Object.entries(EVENTS))('at any step of a reader: %s', (name, event) => {
  const isDone = [false, false];
  // What was wrong was so at a single step: evictions come at each, others at every other.
  const stride = name.includes('eviction') ? 1 : 2;
  for (let turn = 0; isDone.includes(false); turn += 1) {
    const steps = turn * stride;
    const grouped = turn % 2;
    const question = { ...QUESTION, grouped: grouped === 1 };
    const world = begun(question, FIRST);
    for (let step = 0; step < steps; step += 1) world.run({ kind: 'step', pick: 0, units: 1 });
    isDone[grouped] = world.answers > 0;
    event(world);
    // Who was in the middle, and who comes next.
    world.run({ kind: 'open', query: question });
    world.finish();
    inTheMinute(world, 1e6);
    world.ask(question);
    world.end();
    expect(world.answers).toBeGreaterThan(2);
  }
});

// What was evicted while days were made was taken for made: a reader looked only at what went after that, and read the rest of its days row by row.
test('days that are evicted while a reader makes others are made again before it reads them', () => {
  // As long that their days are made in several pieces, and nearly the same days each time.
  const [count, days] = [20, 100];
  const question: Question = {
    grouped: false,
    filtered: false,
    measures: 0b11,
    windows: Array.from({ length: count }, (_, day) => [
      START + day * DAY,
      START + (day + days) * DAY,
    ]),
  };
  const tilesAfter = (steps: number): { tiles: number; isDone: boolean } => {
    const world = begun(question, [rows(days * 2, (each) => START + each * (DAY / 2))]);
    for (let step = 0; step < steps; step += 1) world.run({ kind: 'step', pick: 0, units: 1 });
    const isDone = world.answers > 0;
    if (steps > 0) world.run({ kind: 'shed', bytes: 1e9 });
    const isLeft = world.store.sets().length > 0;
    world.finish();
    world.end();
    return { tiles: isLeft ? world.tiles : Infinity, isDone };
  };
  const whole = tilesAfter(0).tiles;
  for (let steps = 1; ; steps += 2) {
    const { tiles, isDone } = tilesAfter(steps);
    // Two windows may have lost their days: that which was being prepared, and that which was being read.
    expect(tiles, `after ${steps} steps`).toBeGreaterThanOrEqual((whole * (count - 2)) / count);
    if (isDone) break;
  }
});
