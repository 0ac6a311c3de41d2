import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
import { vectorFromData } from '../../src/columns/build.ts';
import { INT4 } from '../../src/columns/types.ts';
import {
  KeptTiles,
  type KeptAddition,
  type KeptChange,
  type KeptShape,
  type KeptUndo,
} from '../../src/windows/kept-tiles.ts';
import type { Resolution } from '../../src/windows/policy.ts';
import { QUARTER } from '../../src/windows/tile-time.ts';

/** More tiles by group than are added up in one step. */
const GROUPS = 5000;
const SHAPE: KeptShape = { by: [{ column: 0, type: INT4 }], terms: [] };

function done(steps: Generator<void, KeptUndo>): KeptUndo {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

// The tile that others were to become stood in the list, empty, while those were added up; `expire` took it out of it, and the sum
// went where nobody looks. No demotion of a test has had as many groups.
test('tiles that become one in several steps are there, though versions expire meanwhile', () => {
  const tiles = new KeptTiles(new MemoryAccount('tiles'));
  const numbers = Array.from({ length: GROUPS }, (_, group) => group);
  done(
    tiles.apply(
      {
        kind: 'add',
        shape: SHAPE,
        unit: '15m',
        cells: {
          starts: Float64Array.of(0, QUARTER),
          ends: Float64Array.of(QUARTER, 2 * QUARTER),
          offsets: Int32Array.of(0, GROUPS, 2 * GROUPS),
          groups: Int32Array.from([...numbers, ...numbers]),
          keys: { rowCount: GROUPS, columns: [vectorFromData(INT4, numbers)] },
          ranges: [],
          data: new Float64Array(2 * GROUPS).fill(1),
        },
      },
      true,
    ),
  ).published(1);
  const steps = tiles.apply({ kind: 'fold', unit: 'hour', start: 0, end: 4 * QUARTER }, true);
  expect(steps.next().done).toBe(false);
  tiles.expire(1);
  done(steps).published(2);
  const found = [...tiles.overlapping(2, -Infinity, Infinity)];
  expect(found.map(({ unit, start, end }) => ({ unit, start, end }))).toEqual([
    { unit: 'hour', start: 0, end: 4 * QUARTER },
  ]);
  expect(found[0]!.slab.data).toEqual(new Float64Array(GROUPS).fill(2));
});

/** Rows of each group from 0 on, in each stretch. */
function addition(
  unit: Resolution,
  stretches: readonly (readonly [start: number, end: number])[],
  groupCount: number,
): KeptAddition {
  const cellCount = stretches.length * groupCount;
  return {
    kind: 'add',
    shape: SHAPE,
    unit,
    cells: {
      starts: Float64Array.from(stretches, ([start]) => start),
      ends: Float64Array.from(stretches, ([, end]) => end),
      offsets: Int32Array.from({ length: stretches.length + 1 }, (_, at) => at * groupCount),
      groups: Int32Array.from({ length: cellCount }, (_, cell) => cell % groupCount),
      keys: {
        rowCount: groupCount,
        columns: [
          vectorFromData(
            INT4,
            Array.from({ length: groupCount }, (_, group) => group),
          ),
        ],
      },
      ranges: [],
      data: new Float64Array(cellCount).fill(1),
    },
  };
}

const quarters = (from: number, to: number): (readonly [number, number])[] =>
  Array.from({ length: to - from }, (_, at) => [(from + at) * QUARTER, (from + at + 1) * QUARTER]);

/** Every tile that a reader at a position meets, and the rows in it. */
function seen(tiles: KeptTiles, position: number, how: 'overlapping' | 'summed'): string[] {
  return [...tiles[how](position, -Infinity, Infinity)].map(
    ({ unit, start, end, slab }) =>
      `${unit} ${start / QUARTER}-${end / QUARTER}: ${slab.data.reduce((sum, rows) => sum + rows, 0)}`,
  );
}

const rowsIn = (tiles: KeptTiles, position: number, from: number, to: number): number => {
  let rows = 0;
  for (const { slab } of tiles.summed(position, from, to))
    for (const each of slab.data) rows += each;
  return rows;
};

test('a change that memory does not hold leaves tiles and bytes as they were', () => {
  const changes: readonly KeptChange[] = [
    addition('15m', quarters(2, 60), 3),
    { kind: 'fold', unit: 'hour', start: 0, end: 4 * QUARTER },
    { kind: 'drop', until: 3 * QUARTER },
  ];
  for (const change of changes) {
    // So much of what is missing is there: nothing, some, or nearly all.
    for (let left = 0; ; left += 300) {
      const account = new MemoryAccount('tiles', undefined, 1_000_000);
      const tiles = new KeptTiles(account);
      done(tiles.apply(addition('15m', quarters(0, 4), 3), true)).published(1);
      const [before, hull, bytes] = [seen(tiles, 1, 'overlapping'), tiles.hull(1), tiles.bytes];
      const taken = account.limitBytes - account.usedBytes - left;
      account.reserve(taken);
      let isDone = false;
      try {
        const undo = done(tiles.apply(change, true));
        isDone = true;
        undo.undo();
      } catch (cause) {
        expect(cause).toMatchObject({ code: '53200' });
      }
      expect(seen(tiles, 1, 'overlapping')).toEqual(before);
      expect(tiles.hull(1)).toEqual(hull);
      expect(tiles.bytes).toBe(bytes);
      account.release(taken);
      done(tiles.apply(change, true)).published(2);
      expect(seen(tiles, 2, 'overlapping')).not.toEqual(before);
      tiles.close();
      expect(account.usedBytes).toBe(0);
      if (isDone) break;
    }
  }
});

test('tiles that begin together are told apart by their ends, and the longest ends what there is', () => {
  const tiles = new KeptTiles(new MemoryAccount('tiles'));
  const stretches = [
    [0, 92 * QUARTER],
    [0, 96 * QUARTER],
    [0, 100 * QUARTER],
  ] as const;
  // Days of three zones, the last two of a later commit.
  for (const [at, each] of [stretches[1], stretches[2], stretches[0]].entries())
    done(tiles.apply(addition('day', [each], 1 + at), true)).published(1 + at);
  expect(seen(tiles, 3, 'overlapping')).toEqual(['day 0-92: 3', 'day 0-96: 1', 'day 0-100: 2']);
  expect([1, 2, 3].map((position) => tiles.hull(position)?.end)).toEqual([
    96 * QUARTER,
    100 * QUARTER,
    100 * QUARTER,
  ]);
  expect(tiles.hull(0)).toBeUndefined();
  done(tiles.apply(addition('day', [stretches[1]], 1), true)).published(4);
  // The longest goes: those that it overlaps stay.
  done(tiles.apply({ kind: 'fold', unit: 'week', start: 0, end: 96 * QUARTER }, true)).published(5);
  expect(seen(tiles, 5, 'overlapping')).toEqual(['day 0-100: 2', 'week 0-96: 5']);
  expect(seen(tiles, 4, 'overlapping')).toEqual(['day 0-92: 3', 'day 0-96: 2', 'day 0-100: 2']);
  // What is one already does not become it again.
  const { bytes } = tiles;
  done(tiles.apply({ kind: 'fold', unit: 'week', start: 0, end: 96 * QUARTER }, true)).undo();
  expect(tiles.bytes).toBe(bytes);
  tiles.expire(5);
  expect(tiles.count).toBe(2);
});

test('days that are added up once are those of the reader, whatever came later and whoever reads', () => {
  const tiles = new KeptTiles(new MemoryAccount('tiles'));
  done(tiles.apply(addition('15m', quarters(0, 200), 2), true)).published(1);
  // Whole days are one tile each, if many tiles are in them.
  expect(seen(tiles, 1, 'summed')).toEqual(['15m 0-96: 192', '15m 96-192: 192', '15m 192-288: 16']);
  done(tiles.apply(addition('15m', quarters(100, 101), 2), true)).published(2);
  const reads = (): number[] => [1, 2].map((position) => rowsIn(tiles, position, 0, 192 * QUARTER));
  // Before and after somebody has added up the second day at the newer position.
  for (let time = 0; time < 2; time += 1) expect(reads()).toEqual([384, 386]);
  expect([...tiles.summed(1, 96 * QUARTER, 192 * QUARTER)]).toHaveLength(96);
  expect(rowsIn(tiles, 1, 0, 95 * QUARTER)).toBe(190);
  // What is staged is nobody's yet; what is dropped is gone for those who come later.
  const drop = done(tiles.apply({ kind: 'drop', until: 96 * QUARTER }, true));
  expect(reads()).toEqual([384, 386]);
  drop.published(3);
  expect(reads()).toEqual([384, 386]);
  expect(rowsIn(tiles, 3, 0, 192 * QUARTER)).toBe(194);
});

test('a day of very many groups, or without room for its sum, is added up tile by tile', () => {
  const account = new MemoryAccount('tiles', undefined, 1_000_000);
  const tiles = new KeptTiles(account);
  done(tiles.apply(addition('15m', quarters(0, 10), 500), true)).published(1);
  done(tiles.apply(addition('15m', quarters(96, 106), 10), true)).published(2);
  expect([...tiles.summed(2, -Infinity, Infinity)]).toHaveLength(11);
  done(tiles.apply(addition('15m', quarters(96, 97), 10), true)).published(3);
  account.reserve(account.limitBytes - account.usedBytes);
  expect([...tiles.summed(3, -Infinity, Infinity)]).toHaveLength(20);
  expect(rowsIn(tiles, 3, -Infinity, Infinity)).toBe(5000 + 110);
});

test('a snapshot of many tiles has several pieces, which make the same tiles again', () => {
  // The last piece ends with the last tile, or before it.
  for (const stretchCount of [2, 5, 8]) {
    const tiles = new KeptTiles(new MemoryAccount('tiles'));
    done(tiles.apply(addition('15m', quarters(0, stretchCount), 4096), true)).published(7);
    const image = tiles.image(7);
    const again = new KeptTiles(new MemoryAccount('again'));
    let pieces = 0;
    for (const piece of image.pieces()) {
      done(again.apply(piece, false)).published(7);
      pieces += 1;
      // What happens meanwhile is not in it.
      if (pieces === 1) done(tiles.apply({ kind: 'drop', until: Infinity }, true)).published(8);
      tiles.expire(8);
    }
    image.release();
    expect(pieces).toBe(Math.ceil(stretchCount / 2));
    expect(seen(again, 7, 'overlapping')).toEqual(
      quarters(0, stretchCount).map((_, at) => `15m ${at}-${at + 1}: 4096`),
    );
    expect(tiles.count).toBe(stretchCount);
    tiles.expire(8);
    expect(tiles.count).toBe(0);
  }
});

test('more tiles than a step holds are dropped in several', () => {
  const tiles = new KeptTiles(new MemoryAccount('tiles'));
  done(tiles.apply(addition('15m', quarters(0, 5000), 1), true)).published(1);
  const steps = tiles.apply({ kind: 'drop', until: 4999 * QUARTER }, true);
  expect(steps.next().done).toBe(false);
  expect(rowsIn(tiles, 1, -Infinity, Infinity)).toBe(5000);
  done(steps).published(2);
  expect(seen(tiles, 2, 'overlapping')).toEqual(['15m 4999-5000: 1']);
});
