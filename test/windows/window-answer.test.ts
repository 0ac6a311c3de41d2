import { expect, test } from 'vitest';
import type { Batch } from '../../src/columns/batch.ts';
import { vectorFromData } from '../../src/columns/build.ts';
import { FLOAT8, INT4, NUMERIC, TEXT, TIMESTAMPTZ, type SqlType } from '../../src/columns/types.ts';
import { calendar } from '../../src/calendar/calendar.ts';
import { hashDatum } from '../../src/columns/compare.ts';
import { Decimal, type Datum } from '../../src/columns/values.ts';
import { planWindows } from '../../src/windows/window-spec.ts';
import {
  ANSWER_ROW_COUNT_MAX,
  askedWindows,
  WindowAnswer,
  type WindowRow,
} from '../../src/windows/window-answer.ts';
import { timesOf } from '../../src/windows/window-source.ts';
import type { WindowSeries } from '../../src/windows/window-spec.ts';

/** What answers are made of, where a database has no easy way to get there. */
const series = (count: number, fill: WindowSeries['fill']): WindowSeries => ({
  startMs: 0,
  endMs: count,
  windows: Array.from({ length: count }, (_, at) => ({
    startMs: at,
    endMs: at + 1,
    label: String(at),
    offsetSeconds: 0,
    partial: false,
    complete: true,
  })),
  compared: undefined,
  fill,
  gapMs: undefined,
  nextChangeMs: undefined,
  moves: false,
  along: { start: false, end: false },
  comparedMoves: 'none',
  shortestMs: 1,
  isOne: count === 1,
});

function answer(
  count: number,
  fill: WindowSeries['fill'],
  keys: readonly SqlType[],
  values: readonly SqlType[],
): WindowAnswer {
  return new WindowAnswer(
    series(count, fill),
    {
      bounds: { from: new Float64Array(count), to: new Float64Array(count) },
      owners: Int32Array.from({ length: count }, (_, at) => at),
    },
    { keyTypes: keys, valueTypes: values, empty: () => values.map(() => null) },
  );
}

const rowsOf = (made: WindowAnswer): WindowRow[] => [...made.rows()].flat();

test('a batch is read through its selection', () => {
  const made = answer(2, 'none', [], [INT4]);
  made.take({
    rowCount: 1,
    columns: [vectorFromData(INT4, [0, 1]), vectorFromData(INT4, [7, 8])],
    selection: Int32Array.of(1),
  });
  expect(rowsOf(made).map(({ window, values }) => [window.label, values])).toEqual([['1', [8]]]);
});

test('groups whose hashes are equal are two all the same, and equal numerics of other scales are one', () => {
  // Two pairs of numbers with one hash, as the answer makes it of its columns.
  const seen = new Map<number, readonly [number, number]>();
  let collision: (readonly [number, number])[] = [];
  for (let a = 0; a < 2000 && collision.length === 0; a += 1)
    for (let b = 0; b < 500 && collision.length === 0; b += 1) {
      const hash = (Math.imul(hashDatum(a, 'int4'), 31) + hashDatum(b, 'int4')) | 0;
      const before = seen.get(hash);
      if (before !== undefined) collision = [before, [a, b]];
      seen.set(hash, [a, b]);
    }
  expect(collision.length).toBe(2);
  const made = answer(2, 'null', [INT4, INT4], [INT4]);
  made.take({
    rowCount: 2,
    columns: [
      vectorFromData(INT4, [0, 0]),
      vectorFromData(
        INT4,
        collision.map(([a]) => a),
      ),
      vectorFromData(
        INT4,
        collision.map(([, b]) => b),
      ),
      vectorFromData(INT4, [7, 8]),
    ],
  });
  expect(
    rowsOf(made)
      .map(({ values }) => values[0])
      .sort(),
  ).toEqual([7, 8, null, null]);
  const scales = answer(2, 'null', [NUMERIC], [INT4]);
  const one = new Decimal(10n, 1);
  const same = new Decimal(100n, 2);
  scales.take({
    rowCount: 2,
    columns: [
      vectorFromData(INT4, [0, 1]),
      vectorFromData(NUMERIC, [one, same]),
      vectorFromData(INT4, [7, 70]),
    ],
  });
  expect(rowsOf(scales).map(({ values }) => values)).toEqual([[7], [70]]);
});

test('windows that go back by the wall across a repeated hour are asked for in the order of their starts', () => {
  const planned = planWindows(
    { range: ['2026-11-01T00:30', '2026-11-01T02:30'], every: '1 day', hop: '15min' },
    calendar({ zone: 'America/New_York' }),
    0,
  );
  const { bounds, owners } = askedWindows(planned);
  expect([...bounds.from]).toEqual([...bounds.from].sort((a, b) => a - b));
  expect([...owners!].sort((a, b) => a - b)).toEqual([...owners!.keys()]);
  expect([...owners!]).not.toEqual([...owners!.keys()]);
});

test('more rows than an answer may have are refused while they come', () => {
  const made = answer(1, 'none', [INT4], [INT4]);
  const zeros = vectorFromData(
    INT4,
    Array.from({ length: 2048 }, () => 0),
  );
  const batch = { rowCount: 2048, columns: [zeros, zeros, zeros] };
  expect(() => {
    for (let rows = 0; rows <= 2 * ANSWER_ROW_COUNT_MAX; rows += 2048) made.take(batch);
  }).toThrow(/more than 500000 rows/);
  const many = 2 * ANSWER_ROW_COUNT_MAX + 1;
  expect(() => answer(1, 'none', [INT4], [INT4]).takeTiles(many, [0], [zeros], () => [0])).toThrow(
    /more than 500000 rows/,
  );
});

// All windows were added up first, however many groups came with the first one.
test('an answer that is filled is refused with the group that makes it too large', () => {
  const windows = 1000;
  const groups = ANSWER_ROW_COUNT_MAX / windows;
  const made = answer(windows, 'zero', [INT4], [INT4]);
  const of = (group: number): Batch => {
    const [window, key] = [0, group].map((each) => vectorFromData(INT4, [each]));
    return { rowCount: 1, columns: [window!, key!, window!] };
  };
  for (let group = 0; group < groups; group += 1) made.take(of(group));
  expect(() => made.take(of(groups))).toThrow(/more than 500000 rows/);
});

test('nought has a form of its type, and lines need finite ends', () => {
  const types: SqlType[] = [
    { kind: 'int2' },
    INT4,
    { kind: 'int8' },
    { kind: 'float4' },
    FLOAT8,
    NUMERIC,
    TEXT,
  ];
  const zero = answer(2, 'zero', [], types);
  expect(rowsOf(zero)[0]!.values.map(String)).toEqual(['0', '0', '0', '0', '0', '0', 'null']);
  const linear = answer(3, 'linear', [], [FLOAT8]);
  linear.take({
    rowCount: 2,
    columns: [vectorFromData(INT4, [0, 2]), vectorFromData(FLOAT8, [1, Infinity])],
  });
  expect(rowsOf(linear).map(({ values }) => values[0])).toEqual([1, null, Infinity]);
});

test('times are microseconds; NULL is in no window, whatever the vector', () => {
  const times = (data: readonly Datum[]): number[] => [
    ...timesOf(vectorFromData(TIMESTAMPTZ, data), data.length),
  ];
  expect(times([5, null, 7])).toEqual([5, NaN, 7]);
  expect(times([5, null, 2n ** 60n])).toEqual([5, NaN, 2 ** 60]);
  expect([...timesOf({ rep: 'object', type: TIMESTAMPTZ, values: [5, null] }, 2)]).toEqual([
    5,
    NaN,
  ]);
});
