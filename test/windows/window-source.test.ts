import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
import { createTable } from '../../src/columns/table.ts';
import { FLOAT8, INT8, TEXT, TIMESTAMPTZ } from '../../src/columns/types.ts';
import type { Datum } from '../../src/columns/values.ts';
import { resolveOperator } from '../../src/expressions/catalog.ts';
import { Budget } from '../../src/operators/operator.ts';
import type { OutputColumn } from '../../src/plan/logical.ts';
import { column, constant, node } from '../../src/plan/nodes.ts';
import {
  scannedWindows,
  type WindowBounds,
  type WindowPlan,
} from '../../src/windows/window-source.ts';

const COLUMNS: readonly OutputColumn[] = [
  { name: 'ts', type: TIMESTAMPTZ, nullable: true },
  { name: 'team', type: TEXT, nullable: true },
  { name: 'amount', type: FLOAT8, nullable: true },
];

type Row = readonly [number | bigint | null, string | null, number | null];
type Window = readonly [from: number, to: number];

const rows = fc.array(
  fc.tuple(
    fc.oneof(
      { weight: 9, arbitrary: fc.integer({ min: -60, max: 60 }) },
      { weight: 1, arbitrary: fc.constantFrom(null, Infinity, -Infinity, 2n ** 60n, -(2n ** 60n)) },
    ),
    fc.constantFrom('red', 'blue', null),
    fc.constantFrom(1, 2.5, -3, null),
  ),
  { maxLength: 40 },
);

const windows = fc
  .array(fc.tuple(fc.integer({ min: -50, max: 50 }), fc.integer({ min: 1, max: 40 })), {
    maxLength: 12,
  })
  .map((all) =>
    all.map(([from, length]): Window => [from, from + length]).sort((a, b) => a[0] - b[0]),
  );

/** Windows that lie one behind the other, with gaps or without. */
const apart = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 1, max: 9 })), {
    maxLength: 12,
  })
  .map((all) => {
    let at = -40;
    return all.map(([gap, length]): Window => [(at += gap), (at += length)]);
  });

test('each window has the aggregates of the rows in it, by group, in the order of windows and groups', () => {
  fc.assert(
    fc.property(
      rows,
      fc.oneof(windows, apart),
      fc.boolean(),
      fc.boolean(),
      (data, bounds, grouped, filtered) => {
        expect(computed(data, bounds, grouped, filtered, 1)).toEqual(
          expected(data, bounds, grouped, filtered),
        );
      },
    ),
  );
});

test('a row that lies in many windows is given in pieces', () => {
  const data: Row[] = Array.from({ length: 3000 }, (_, at) => [at % 50, 'red', 1]);
  const bounds = Array.from({ length: 100 }, (_, at): Window => [at - 50, at]);
  expect(computed(data, bounds, false, false, Infinity)).toEqual(
    expected(data, bounds, false, false),
  );
});

function expected(
  data: readonly Row[],
  bounds: readonly Window[],
  grouped: boolean,
  filtered: boolean,
): Datum[][] {
  return bounds.flatMap(([from, to], window) => {
    const inside = data.filter(
      ([time, , amount]) =>
        time !== null &&
        time >= from &&
        time < to &&
        (!filtered || (amount !== null && amount > 0)),
    );
    const teams = grouped ? ['blue', 'red', null] : [undefined];
    return teams.flatMap((team) => {
      const group = inside.filter((row) => team === undefined || row[1] === team);
      if (group.length === 0) return [];
      const amounts = group.flatMap(([, , amount]) => (amount === null ? [] : [amount]));
      const sum = amounts.length === 0 ? null : amounts.reduce((total, each) => total + each, 0);
      return [[window, ...(team === undefined ? [] : [team]), group.length, sum]];
    });
  });
}

function computed(
  data: readonly Row[],
  bounds: readonly Window[],
  grouped: boolean,
  filtered: boolean,
  units: number,
): Datum[][] {
  const memory = new MemoryAccount('test');
  const table = createTable({ columns: COLUMNS, indexes: [], seed: 1 }, { memory });
  if (data.length > 0)
    table.stage(
      [
        {
          kind: 'insert',
          rows: {
            rowCount: data.length,
            columns: COLUMNS.map(({ type }, at) =>
              vectorFromData(
                type,
                data.map((row) => row[at]!),
              ),
            ),
          },
        },
      ],
      { limits: false },
    );
  if (data.length > 0) table.publish(1);
  const snapshot = table.snapshot();
  const amount = column(2, COLUMNS[2]!);
  const plan: WindowPlan = {
    input: node({
      kind: 'scan',
      relation: 1,
      name: 't',
      alias: 't',
      columnIndexes: [0, 1, 2],
      withRowIds: false,
      rowIdColumn: false,
      columns: COLUMNS,
      ...(filtered ? { filter: resolveOperator('>', amount, constant(0, FLOAT8)) } : {}),
    }),
    time: column(0, COLUMNS[0]!),
    keys: grouped ? [column(1, COLUMNS[1]!)] : [],
    calls: [
      { fn: 'count', args: [], distinct: false, orderBy: [], type: INT8 },
      { fn: 'sum', args: [amount], distinct: false, orderBy: [], type: FLOAT8 },
    ],
  };
  const bound: WindowBounds = {
    from: Float64Array.from(bounds, ([from]) => from),
    to: Float64Array.from(bounds, ([, to]) => to),
  };
  const operator = scannedWindows.open(plan, bound, {
    snapshotOf: () => snapshot,
    context: {
      nowMicros: 0,
      zone: 'UTC',
      parameters: [],
      random: { unit: () => 0, uint32: () => 0 },
      setting: () => undefined,
    },
    memory,
  });
  const budget = new Budget(units);
  const out: Datum[][] = [];
  for (;;) {
    const step = operator.next(budget);
    if (step === 'done') break;
    if (step === 'more') budget.refill(units);
    else
      for (let row = 0; row < operator.batch.rowCount; row += 1)
        out.push(
          operator.batch.columns.map((each) =>
            datumAt(each, operator.batch.selection?.[row] ?? row),
          ),
        );
  }
  if (bounds.length > 0 && !filtered) expect(operator.rowsScanned).toBe(data.length);
  operator.close();
  snapshot.release();
  table.close();
  return out;
}
