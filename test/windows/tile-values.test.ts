/**
 * Values that few tables have, read from rows at the ends of windows as well as from tiles. Every answer is compared with the same question by a
 * column that has no tiles.
 */
import { expect, test } from 'vitest';
import { open, type Database, type WindowQuery } from '../../src/index.ts';
import { Budget } from '../../src/operators/operator.ts';
import { rowEnds, scannedEnds } from '../../src/windows/time-ends.ts';
import { dataOf, untilSealed } from '../progressive/until-sealed.ts';

const START = Date.UTC(2026, 2, 8);
const MINUTE = 60_000;
const DAY = 1440 * MINUTE;

async function table(columns: string): Promise<Database> {
  const db = await open({ workers: 0 });
  await db.exec(
    `CREATE TABLE t (id int, ts timestamptz, at timestamptz, ${columns}) WITH (time = 'ts')`,
  );
  return db;
}

/** One row after another, a minute apart. */
async function insert(
  db: Database,
  rows: readonly Record<string, unknown>[],
  from = START,
): Promise<void> {
  await db.insert(
    't',
    rows.map((row, each) => ({
      ...row,
      id: each,
      ts: from + each * MINUTE,
      at: from + each * MINUTE,
    })),
  );
}

async function same(
  db: Database,
  query: Partial<WindowQuery>,
  options: Record<string, unknown> = {},
): Promise<string> {
  const whole = { range: [START, START + DAY], ...query } as WindowQuery;
  const tiles = await db.window('t', whole, options);
  const rows = await db.window('t', { ...whole, time: 'at' }, options);
  expect(tiles.rows, JSON.stringify(query)).toEqual(rows.rows);
  return tiles.meta.source;
}

/** Windows of tiles alone, and with rows at either end. */
const RANGES: readonly (readonly [number, number])[] = [
  [START, START + DAY],
  [START + 1, START + DAY - 1],
  [START + MINUTE, START + 9 * MINUTE],
];

test('what is no finite number is counted by kind, in tiles and in rows, alone and by group', async () => {
  for (const xs of [
    [NaN, 1, 2.5, Infinity],
    [-Infinity, 1, 3],
    [1, -Infinity, -Infinity, 5],
    [Infinity, 7, Infinity],
    [3, Infinity, -Infinity, 4],
    [NaN, NaN, NaN],
    [1, 2, NaN, 9],
    [0, 0, 0, 0, 0],
    [-0, -0],
  ]) {
    const db = await table('x float8, y real, team text');
    try {
      await insert(
        db,
        xs.map((x, each) => ({ x, y: x, team: each % 2 === 0 ? 'a' : 'b' })),
      );
      for (const range of RANGES)
        for (const by of range === RANGES[2] ? [[]] : [[], ['team']])
          for (const measures of [
            { s: 'sum(x)', a: 'avg(y)', lo: 'min(x)', hi: 'max(x)', n: 'count(x)' },
            { lo: 'min(x)', hi: 'max(y)', t: 'sum(y)' },
            { lo: 'min(x)', hi: 'max(x)' },
          ])
            await same(db, { range, by, measures });
      for (const range of RANGES)
        await same(db, { range, measures: { p: 'approx_percentile(x, 0.5)', hi: 'max(x)' } });
    } finally {
      await db.close();
    }
  }
});

test('numerics that are no whole number of one unit are read from rows', async () => {
  for (const xs of [
    ['1.5', 'NaN'],
    ['Infinity', '2.5'],
    ['12345678901234567.8', '1.5'],
    ['1.5', '2.25'],
  ]) {
    const db = await table('x numeric');
    try {
      await insert(
        db,
        xs.map((x) => ({ x })),
      );
      for (const range of RANGES.slice(0, 2))
        await same(db, { range, measures: { s: 'sum(x)', hi: 'max(x)' } });
    } finally {
      await db.close();
    }
  }
  const db = await table('x numeric');
  try {
    await insert(db, [{ x: '1.5' }, { x: null }, { x: '2.0' }]);
    expect(await same(db, { measures: { s: 'sum(x)', hi: 'max(x)' } })).toBe('windows');
  } finally {
    await db.close();
  }
});

test('late values are the first of a day whose values were all NULL: distinct ones and sketches, too', async () => {
  const db = await table('x int, team text');
  try {
    await insert(db, [{ team: 'a' }, { team: 'b' }, { team: 'a' }]);
    const asked = {
      measures: { d: 'count(distinct x)', a: 'approx_count_distinct(x)', s: 'sum(x)' },
    };
    const both = async (): Promise<void> => {
      expect(await same(db, asked)).toBe('windows');
      expect(await same(db, { ...asked, by: ['team'] })).toBe('windows');
    };
    await both();
    // Two of a group in whose tiles nothing was counted, then one of a group that is new.
    for (const row of [
      { team: 'b', x: 7 },
      { team: 'b', x: 7 },
      { team: 'c', x: 0 },
    ]) {
      await insert(db, [row], START + 5 * MINUTE);
      await both();
    }
  } finally {
    await db.close();
  }
});

test('a condition may be one of any kind', async () => {
  const db = await table('x int, b boolean');
  try {
    await insert(db, [
      { x: 1, b: true },
      { x: 2, b: null },
      { x: 3, b: false },
      { x: null, b: true },
    ]);
    for (const condition of [
      'b',
      'NULL',
      'true',
      'x > 1',
      'CASE WHEN x = 1 THEN NULL ELSE b END',
      '$1',
    ])
      for (const params of [[true], [false], [null]])
        await same(
          db,
          {
            measures: {
              n: `count(*) FILTER (WHERE ${condition})`,
              s: `sum(x) FILTER (WHERE ${condition})`,
            },
          },
          condition === '$1' ? { params } : {},
        );
  } finally {
    await db.close();
  }
});

test('sealed segments, whose numbers are packed and bounded, have the bits of their rows', async () => {
  const db = await table('i int4, big int8, f float8, w float8, p numeric(9,2), z int4');
  try {
    const count = 66_000;
    const of = (value: (row: number) => number): Float64Array =>
      Float64Array.from({ length: count }, (_, row) => value(row));
    const ts = of((row) => START + ((row * 7919) % count) * 1000);
    await db.insert('t', {
      id: Int32Array.from({ length: count }, (_, row) => row),
      ts,
      at: ts,
      i: Int32Array.from(of((row) => 1000 + (row % 200) * 4)),
      big: of((row) => (row % 50) * 2 ** 40 + 2 ** 45),
      f: of((row) => (row % 1000) / 8 - 40),
      w: of((row) => (row === 17 ? Infinity : row % 3 === 0 ? NaN : row)),
      p: of((row) => (row % 5000) / 100),
      z: new Int32Array(count),
    });
    await untilSealed(db, 't');
    for (const [range, by] of [
      [RANGES[0], []],
      [RANGES[2], ['i']],
      [[START + 60 * MINUTE + 7, START + 17 * 60 * MINUTE + 11], []],
    ] as const)
      expect(
        await same(db, {
          range,
          by,
          measures: {
            i: 'sum(i)',
            b: 'sum(big)',
            c: 'avg(big)',
            f: 'sum(f)',
            q: 'approx_percentile(f, 0.9)',
            w: 'sum(w)',
            m: 'max(w)',
            p: 'sum(p)',
            l: 'min(p)',
            z: 'sum(z)',
          },
        }),
      ).toBe('windows');
    // Columns that sealed segments lack: no row has a time, or all have one without end.
    await db.exec(
      `ALTER TABLE t ADD COLUMN late timestamptz, ADD COLUMN ever timestamptz DEFAULT 'infinity'`,
    );
    await untilSealed(db, 't');
    const snapshot = dataOf(db, 't').snapshot();
    const budget = new Budget(1e9);
    const [given, late, ever] = ['ts', 'late', 'ever'].map((name) =>
      snapshot.schema.columns.findIndex((each) => each.name === name),
    );
    const all = { from: START * 1000, to: (START + 65_999_000) * 1000 + 1 };
    const none = { from: Infinity, to: -Infinity };
    const finite = { hasNulls: false, hasPast: false, hasFuture: false };
    for (const [column, isBounded, told, scanned] of [
      [given!, false, { ...all, ...finite }, { ...all, ...finite }],
      [late!, true, { ...none, ...finite, hasNulls: true }, { ...none, ...finite, hasNulls: true }],
      [late!, false, undefined, { ...none, ...finite, hasNulls: true }],
      [ever!, true, undefined, { ...none, ...finite, hasFuture: true }],
    ] as const) {
      const steps = rowEnds(snapshot, column, isBounded, () => budget);
      expect(steps.next()).toEqual({ done: true, value: told });
      const looks = scannedEnds(snapshot, column, () => budget);
      expect(looks.next()).toEqual({ done: true, value: scanned });
    }
    snapshot.release();
  } finally {
    await db.close();
  }
});

test('squares that no tile holds are read from rows, and of those that a tile has no room for yet it makes some', async () => {
  for (const [first, x, source] of [
    // A square beyond all doubles, one beyond all bins, and one below them.
    [1e199, 1e200, 'scan'],
    [1e149, 1e150, 'scan'],
    [1e-149, 1e-150, 'scan'],
    // Room for the double nearest to the square, and none for the rest of it.
    [1 + 2 ** -27, 1 + 2 ** -40, 'windows'],
  ] as const) {
    const db = await table('x double precision');
    try {
      await insert(db, [{ x: first }, { x: first * 3 }, { x: null }]);
      const question: WindowQuery = {
        range: [new Date(START).toISOString(), new Date(START + DAY).toISOString()],
        measures: { v: 'var_pop(x)' },
      };
      if (source === 'windows') expect((await db.window('t', question)).meta.source).toBe(source);
      // The first is of a tile that is there, the second of one that is made.
      for (let time = 0; time < 2; time += 1) {
        await insert(db, [{ x }, { x: -x }], START + time * 20 * MINUTE);
        const scan = await db
          .window('t', { ...question, time: 'at' })
          .catch((cause: { code: string }) => cause.code);
        const found = await db.window('t', question).catch((cause: { code: string }) => cause.code);
        if (typeof found === 'string' || typeof scan === 'string') expect(found).toBe(scan);
        else {
          expect(found.rows).toEqual(scan.rows);
          expect(found.meta.source).toBe(source);
        }
      }
    } finally {
      await db.close();
    }
  }
});
