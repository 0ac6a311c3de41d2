import { expect, test } from 'vitest';
import { vectorFromData } from '../../src/columns/build.ts';
import { FLOAT8, INT4, NUMERIC, TEXT, TIMESTAMPTZ, type SqlType } from '../../src/columns/types.ts';
import { Decimal, type Datum } from '../../src/columns/values.ts';
import {
  ANSWER_ROW_COUNT_MAX,
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
    { keyTypes: keys, valueTypes: values, empty: values.map(() => null) },
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
  const made = answer(2, 'null', [NUMERIC, TEXT], [INT4]);
  const key = (value: string): Datum =>
    new Decimal(
      BigInt(value.replace('.', '')),
      value.includes('.') ? value.length - value.indexOf('.') - 1 : 0,
    );
  // Texts with one hash are hard to find; enough of them meet in 32 bits.
  const texts = Array.from({ length: 40_000 }, (_, at) => `t${at}`);
  made.take({
    rowCount: texts.length,
    columns: [
      vectorFromData(
        INT4,
        texts.map(() => 0),
      ),
      vectorFromData(
        NUMERIC,
        texts.map(() => key('1.0')),
      ),
      vectorFromData(TEXT, texts),
      vectorFromData(
        INT4,
        texts.map((_, at) => at),
      ),
    ],
  });
  made.take({
    rowCount: 1,
    columns: [
      vectorFromData(INT4, [1]),
      vectorFromData(NUMERIC, [key('1.00')]),
      vectorFromData(TEXT, ['t7']),
      vectorFromData(INT4, [70]),
    ],
  });
  const rows = rowsOf(made);
  expect(rows.length).toBe(80_000);
  expect(rows.filter(({ by }) => by[1] === 't7').map(({ values }) => values)).toEqual([[7], [70]]);
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
