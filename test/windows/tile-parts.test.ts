import { expect, test } from 'vitest';
import { vectorFromData } from '../../src/columns/build.ts';
import { FLOAT4, FLOAT8, INT4, INT8, type SqlType } from '../../src/columns/types.ts';
import type { Datum } from '../../src/columns/values.ts';
import { resolveAggregate } from '../../src/expressions/aggregates.ts';
import { MemoryAccount } from '../../src/base/memory.ts';
import { MemoryLease } from '../../src/base/memory-lease.ts';
import type { Engine } from '../../src/actors/engine.ts';
import { open } from '../../src/index.ts';
import { column } from '../../src/plan/nodes.ts';
import {
  addTile,
  addTiles,
  isNearTop,
  NO_BINS,
  TileLayout,
  TilePlaces,
} from '../../src/windows/tile-layout.ts';
import { TileMeasures } from '../../src/windows/tile-measures.ts';
import { TilePage } from '../../src/windows/tile-page.ts';
import {
  BEFORE_AT,
  DAY_PLACES,
  FOURS_AT,
  FROM_AT,
  HOURS_AT,
  QUARTERS,
  WHOLE_AT,
} from '../../src/windows/tile-time.ts';
import { CONTEXT } from './tile-program.ts';

/** Tiles of more rows than a test could insert: the sum of a tile with itself, again and again. */
function sumsOf(type: SqlType, value: number): { measures: TileMeasures; layout: TileLayout } {
  const x = column(0, { name: 'x', type, nullable: true });
  const sum = { ...resolveAggregate('sum', [x])!, distinct: false, orderBy: [] };
  const measures = new TileMeasures([sum], CONTEXT as never);
  measures.load({ rowCount: 1, columns: [vectorFromData(type, [value])] });
  return { measures, layout: measures.layout };
}

/** What the first call shows of a tile. */
function shown(measures: TileMeasures, data: Float64Array, layout: TileLayout): Datum {
  const out: Datum[] = [];
  measures.finish(out, 0, 0, data, 0, layout);
  return out[0]!;
}

/** `value` added up 2^doublings times: the tile's sum, and the exact one. */
function doubled(type: SqlType, value: number, doublings: number): { found: Datum; exact: bigint } {
  const { measures, layout } = sumsOf(type, value);
  const wide = layout.wider.wider.wider;
  let tile = wide.tiles(1);
  const one = layout.tiles(1);
  measures.add(one, 0, layout, 0, 1);
  addTile(tile, 0, wide, one, 0, layout);
  for (let time = 0; time < doublings; time += 1) {
    const next = wide.tiles(1);
    addTile(next, 0, wide, tile, 0, wide);
    addTile(next, 0, wide, tile, 0, wide);
    tile = next;
  }
  return {
    found: shown(measures, tile, wide),
    exact: BigInt(value) * 2n ** BigInt(doublings),
  };
}

test('sums of more rows than a double can count stay exact, and carry', () => {
  for (const doublings of [1, 20, 30, 45]) {
    const { found, exact } = doubled(FLOAT8, 67_108_863, doublings);
    expect(found).toBe(Number(exact));
  }
  // Of int8 as long as it holds them: integers beyond 2^53 are no doubles any more.
  for (const doublings of [3, 25, 31]) {
    const { found, exact } = doubled(INT4, 2_147_483_647, doublings);
    expect(BigInt(found as number | bigint)).toBe(exact);
  }
  for (const value of [2_147_483_647, -2_147_483_648])
    expect(() => doubled(INT4, value, 33)).toThrow(
      expect.objectContaining({ code: '22003', message: 'bigint out of range' }),
    );
});

test('a sum whose bins overlap more than doubles can round is exact', () => {
  const [x, y] = [6_004_799_503_160_661 * 2 ** 26, 5_404_319_552_844_595];
  for (const [first, second] of [
    [x, y],
    [-x, y],
    [-x, -y],
  ] as const) {
    const { measures } = sumsOf(FLOAT8, first);
    measures.load({ rowCount: 2, columns: [vectorFromData(FLOAT8, [first, second])] });
    const { layout } = measures;
    const tile = layout.tiles(1);
    let exact = 0n;
    const addBoth = (): void => {
      for (const row of [0, 1]) measures.add(tile, 0, layout, row, 1);
      exact += BigInt(first) + BigInt(second);
    };
    addBoth();
    for (let doublings = 0; doublings < 24; doublings += 1) {
      addTile(tile, 0, layout, tile.slice(), 0, layout);
      exact *= 2n;
    }
    addBoth();
    expect(shown(measures, tile, layout)).toBe(Number(exact));
  }
});

test('a layout that is added again and again adds the same by a loop of its own', () => {
  const shape = { counts: true, sums: true, extremes: true, buckets: false };
  const range = { ...NO_BINS, from: -1, to: 1 };
  const many = Array.from({ length: 16 }, () => shape);
  for (const layout of [
    new TileLayout([shape, { ...shape, counts: false }], [range, { ...range, special: true }]),
    new TileLayout([{ ...shape, sums: false, extremes: false }], [NO_BINS]),
    // Of so many doubles no loop is made.
    new TileLayout(
      many,
      many.map(() => range),
    ),
  ]) {
    const into = layout.wider;
    const count = 7;
    const tiles = layout.tiles(count);
    for (let at = 0; at < tiles.length; at += 1) {
      const place = at % layout.stride;
      const isExtreme = layout.terms.some(
        ({ extremes }) => extremes >= 0 && (place === extremes || place === extremes + 1),
      );
      // Bins are full after some hundred tiles.
      tiles[at] = isExtreme ? (at * 7919) % 1000 : at * 2 ** 15;
    }
    const [plain, looped] = [into.tiles(1), into.tiles(1)];
    for (let round = 0; round < 700; round += 1) {
      for (let tile = 0; tile < count; tile += 1)
        addTile(plain, 0, into, tiles, tile * layout.stride, new TilePlaces(layout.terms));
      addTiles(looped, 0, into, tiles, 0, layout, count);
      if (round % 50 === 49) expect(looped).toEqual(plain);
    }
  }
});

test('sums of float4 are rounded once, at the end', () => {
  const { found } = doubled(FLOAT4, 16_777_215, 3);
  expect(found).toBe(Math.fround(16_777_215 * 8));
});

test('a day is split at a quarter that is asked for three times in a row, until a row comes, and not if it has very many', () => {
  const { measures, layout } = sumsOf(FLOAT8, 3);
  const page = new TilePage(
    DAY_PLACES,
    { layout, keySpace: undefined },
    new MemoryLease(new MemoryAccount('test', undefined, 2 ** 20)),
  );
  const put = (quarter: number): void => {
    for (const place of [quarter, HOURS_AT + (quarter >> 2), FOURS_AT + (quarter >> 4), WHOLE_AT])
      measures.add(page.block(0), place * layout.stride, layout, 0, 1);
    page.noteAddition(measures, 2 ** 20);
  };
  const sides = (): number[] => [page.rowsAt(BEFORE_AT), page.rowsAt(FROM_AT)];
  for (let quarter = 0; quarter < QUARTERS; quarter += 1) put(quarter);
  for (const quarter of [0, 1, 73, 95, 96]) {
    expect([1, 2, 3, 4].map(() => page.isSplitAt(quarter))).toEqual([false, false, true, true]);
    expect(sides()).toEqual([quarter, QUARTERS - quarter]);
    const at = BEFORE_AT * layout.stride;
    const out: Datum[] = [];
    measures.finish(out, 0, 0, page.block(0), at, page.layout);
    expect(out[0]).toBe(quarter === 0 ? null : quarter * 3);
  }
  expect(page.isSplitAt(73)).toBe(false);
  expect(page.isSplitAt(72)).toBe(false);
  expect([1, 2].map(() => page.isSplitAt(73))).toEqual([false, false]);
  expect(page.isSplitAt(73)).toBe(true);
  put(80);
  // It is added up anew at once.
  expect(page.isSplitAt(73)).toBe(true);
  expect(sides()).toEqual([73, 24]);
  page.rows = 2 ** 24 + 1;
  put(80);
  expect([1, 2, 3].map(() => page.isSplitAt(73))).toEqual([false, false, false]);
});

test('a page whose sums come near the end of their bins takes a wider layout, and loses nothing', () => {
  const { measures, layout } = sumsOf(FLOAT8, 67_108_863);
  const account = new MemoryAccount('test', undefined, 2 ** 20);
  const page = new TilePage(1, { layout, keySpace: undefined }, new MemoryLease(account));
  const block = page.block(0);
  measures.add(block, 0, layout, 0, 1);
  let exact = 67_108_863n;
  for (let time = 0; time < 25; time += 1) {
    addTile(block, 0, layout, block.slice(), 0, layout);
    exact *= 2n;
  }
  expect(isNearTop(block, 0, layout)).toBe(true);
  page.settle(measures);
  expect(page.layout).not.toBe(layout);
  expect(page.layout).toBe(measures.layout);
  expect(shown(measures, page.block(0), page.layout)).toBe(Number(exact));
  // Another page of the old layout takes the one that there is by now.
  const other = new TilePage(1, { layout, keySpace: undefined }, new MemoryLease(account));
  measures.add(other.block(0), 0, layout, 0, 1);
  other.adopt(measures.layout);
  other.settle(measures);
  expect(other.layout).toBe(measures.layout);
  expect(shown(measures, other.block(0), other.layout)).toBe(67_108_863);
  page.close();
  other.close();
  expect(account.usedBytes).toBe(0);
});

/** One double, its sum near the end of its bins. */
function nearTop(): {
  readonly page: TilePage;
  readonly measures: TileMeasures;
  readonly exact: number;
} {
  const { measures, layout } = sumsOf(FLOAT8, 67_108_863);
  const page = new TilePage(
    1,
    { layout, keySpace: undefined },
    new MemoryLease(new MemoryAccount('test', undefined, 1e6)),
  );
  const block = page.block(0);
  measures.add(block, 0, layout, 0, 1);
  for (let time = 0; time < 25; time += 1) addTile(block, 0, layout, block.slice(), 0, layout);
  return { page, measures, exact: 67_108_863 * 2 ** 25 };
}

test('sums are carried after so many additions, by a layout that others have widened where it is there', () => {
  {
    const { page, measures, exact } = nearTop();
    const before = page.layout;
    page.noteAddition(measures, 2);
    expect(page.layout).toBe(before);
    page.noteAddition(measures, 2);
    expect(page.layout).toBe(before.wider);
    expect(shown(measures, page.block(0), page.layout)).toBe(exact);
  }
  {
    const { page, measures, exact } = nearTop();
    measures.widenTops();
    const { layout } = measures;
    page.settle(measures);
    expect([page.layout, measures.layout]).toEqual([layout, layout]);
    expect(shown(measures, page.block(0), page.layout)).toBe(exact);
  }
  {
    // Wider below, which is of no use to what is near the top.
    const { page, measures, exact } = nearTop();
    measures.load({ rowCount: 1, columns: [vectorFromData(FLOAT8, [2 ** -30])] });
    const { layout } = measures;
    expect(layout).not.toBe(page.layout);
    page.settle(measures);
    expect(page.layout).toBe(layout.wider);
    expect(shown(measures, page.block(0), page.layout)).toBe(exact);
  }
});

test('int8 beyond 2^53 has no tiles, and a percentile no more buckets than a tile holds', async () => {
  const measures = (type: SqlType, fn: 'sum' | 'approx_percentile'): TileMeasures => {
    const x = column(0, { name: 'x', type, nullable: true });
    const args = fn === 'sum' ? [x] : [x, { kind: 'constant' as const, type: FLOAT8, value: 0.5 }];
    return new TileMeasures(
      [{ ...resolveAggregate(fn, args)!, distinct: false, orderBy: [] }],
      CONTEXT as never,
    );
  };
  const load = (of: TileMeasures, type: SqlType, data: readonly Datum[]): boolean =>
    of.load({ rowCount: data.length, columns: [vectorFromData(type, data)] });
  expect(load(measures(INT8, 'sum'), INT8, [1, 2 ** 53 - 1])).toBe(true);
  expect(load(measures(INT8, 'sum'), INT8, [1, 2n ** 60n + 1n])).toBe(false);
  expect(load(measures(FLOAT8, 'sum'), FLOAT8, [1e-300, 1e300])).toBe(false);
  expect(load(measures(FLOAT8, 'approx_percentile'), FLOAT8, [1, null, 3])).toBe(true);
  expect(load(measures(FLOAT8, 'approx_percentile'), FLOAT8, [1e-30, 1e30])).toBe(false);
});

test('more questions than a table may have tiles for: the one asked longest ago is made again', async () => {
  const db = await open({ workers: 0 });
  try {
    await db.exec(`CREATE TABLE t (ts timestamptz, x int) WITH (time = 'ts')`);
    await db.insert('t', [{ ts: '2026-01-01T00:10:00Z', x: 7 }]);
    const ask = async (number: number): Promise<void> => {
      const { rows, meta } = await db.window('t', {
        range: ['2026-01-01', '2026-01-02'],
        measures: { n: 'count(*)' },
        where: `x > ${-number}`,
      });
      expect([rows[0]!.values['n'], meta.source]).toEqual([1, 'windows']);
    };
    for (let number = 0; number < 258; number += 1) {
      // The first is asked now and then: it stays.
      if (number % 100 === 99) await ask(0);
      await ask(number);
    }
    for (const number of [0, 150, 257]) await ask(number);
  } finally {
    await db.close();
  }
});

test('of questions that tiles cannot hold the newest are remembered: others are tried again, and answered alike', async () => {
  const db = await open({ workers: 0 });
  try {
    await db.exec(`CREATE TABLE t (ts timestamptz, x double precision) WITH (time = 'ts')`);
    for (const x of [1e290, 1e-290]) await db.insert('t', [{ ts: '2026-01-01T00:10:00Z', x }]);
    const { tiles } = (db as unknown as { readonly engine: Engine }).engine;
    let isTried = false;
    const openTiles = tiles.openTiles.bind(tiles);
    tiles.openTiles = (...question) => {
      const opened = openTiles(...question);
      isTried ||= opened !== undefined;
      return opened;
    };
    const triesToAnswer = async (number: number): Promise<boolean> => {
      isTried = false;
      const { rows, meta } = await db.window('t', {
        range: ['2026-01-01', '2026-01-02'],
        measures: { s: 'sum(x)' },
        where: `x > ${-number}`,
      });
      expect([rows[0]!.values['s'], meta.tiles]).toEqual([1e290, 0]);
      return isTried;
    };
    expect(await triesToAnswer(0)).toBe(true);
    expect(await triesToAnswer(0)).toBe(false);
    for (let number = 1; number <= 256; number += 1) await triesToAnswer(number);
    expect(await triesToAnswer(256)).toBe(false);
    expect(await triesToAnswer(0)).toBe(true);
  } finally {
    await db.close();
  }
});

test('what is no policy is refused, and says what one is', async () => {
  const db = await open({ workers: 0 });
  try {
    await db.exec(
      `CREATE TABLE t (id int PRIMARY KEY, ts timestamptz, "Odd ""name" text, x double precision, p numeric) WITH (time = 'ts')`,
    );
    const refused: readonly (readonly [Record<string, unknown>, RegExp])[] = [
      [{ retention: 3 }, /retention/],
      [{ retention: { raw: 3 } }, /retention/],
      [{ retention: 'raw 90d, fortnight 5y' }, /fortnight/],
      [{ retention: 'raw 90d, dya 5y' }, /dya/],
      [{ retention: 'raw 90d, day 5y', by: 3 }, /by/],
      [{ retention: 'raw 90d, day 5y', by: [''] }, /by/],
      [{ retention: 'raw 90d, day 5y', by: ['regoin'] }, /regoin/],
      [{ retention: 'raw 90d, day 5y', by: ['ts'] }, /ts/],
      [{ retention: 'raw 90d, day 5y', measures: ['p'] }, /p/],
      [{ zone: 3 }, /zone/],
      [{ zone: 'Nowhere/Here', lateness: '2d' }, /Nowhere/],
      [{ refresh: 'fortnight 1s' }, /fortnight/],
      [{ refresh: 'hour 1 fortnight' }, /1 fortnight/],
      [{ refresh: 'hour 1s, hour 2s' }, /twice/],
    ];
    for (const [policy, text] of refused)
      await expect(db.policies.set('t', policy as never), JSON.stringify(policy)).rejects.toThrow(
        text,
      );
    await db.policies.set('t', {
      retention: { raw: '36h', '15m': '90d', day: 'forever' },
      by: ['"Odd ""name"'],
      measures: ['x'],
      refresh: { minute: '500ms', hour: '0ms', day: '2m' },
    });
    expect(await db.policies.get('t')).toMatchObject({
      retention: 'raw 36h, 15m 90d, day forever',
      by: ['Odd "name'],
      refresh: 'minute 500ms, hour 0ms, day 2m',
    });
    await db.policies.set('t', { retention: '', refresh: null, by: null, measures: null });
    expect(await db.policies.get('t')).toBeUndefined();
  } finally {
    await db.close();
  }
});
