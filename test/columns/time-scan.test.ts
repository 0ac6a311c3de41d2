import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
import { createTable, type Table } from '../../src/columns/table.ts';
import type { Datum } from '../../src/columns/values.ts';

/** Rows by time, through the order that sealed segments keep: `TimeScan` and `SegmentTimes`. */
const SEGMENT = 65_536;
const START = 1_772_920_800_000_000;
const SECOND = 1_000_000;

function tableOf(
  times: readonly Datum[],
  memory = new MemoryAccount('test', undefined, 2 ** 30),
): Table {
  const table = createTable(
    {
      columns: [
        { name: 'ts', type: { kind: 'timestamptz' }, nullable: true },
        { name: 'n', type: { kind: 'int4' }, nullable: false },
      ],
      indexes: [],
      seed: 7,
      timeColumn: 0,
    },
    { memory },
  );
  for (let at = 0; at < times.length; at += 20_000) {
    const part = times.slice(at, at + 20_000);
    write(table, {
      kind: 'insert',
      rows: {
        rowCount: part.length,
        columns: [
          vectorFromData({ kind: 'timestamptz' }, part),
          vectorFromData(
            { kind: 'int4' },
            part.map((_, index) => at + index),
          ),
        ],
      },
    });
  }
  return table;
}

let position = 0;
function write(table: Table, change: Parameters<Table['stage']>[0][number]): void {
  table.stage([change], { limits: true });
  position += 1;
  table.publish(position);
}

/** The numbers of the rows in [from, to). */
function read(table: Table, from: number, to: number): number[] {
  const snapshot = table.snapshot();
  const scan = snapshot.scanTimes!({ column: 0, stretches: [{ from, to }], columnIndexes: [1] });
  const found: number[] = [];
  for (let batch = scan.next(); batch !== undefined; batch = scan.next())
    for (let row = 0; row < batch.rowCount; row += 1)
      found.push(datumAt(batch.columns[0]!, batch.selection?.[row] ?? row) as number);
  snapshot.release();
  return found.sort((a, b) => a - b);
}

/** What a table of so many rows may hold: in order, late ones, all at once, outliers, and times that are none. */
const PATTERNS: Readonly<Record<string, (row: number) => Datum>> = {
  'in order': (row) => START + row * SECOND,
  'one in a hundred late': (row) =>
    START + row * SECOND - (row % 100 === 7 ? ((row * 7919) % 5000) * 10 * SECOND : 0),
  'in no order': (row) => START + ((row * 7919) % 100_003) * 777,
  'at few instants': (row) => START + (row % 3) * 86_400 * SECOND,
  'at one instant': () => START,
  'with outliers': (row) =>
    row % 30_000 === 11 ? row - 6_000_000_000_000_000 : START + (row % 977) * SECOND,
  'with infinite and missing times': (row) =>
    row % 50 === 3
      ? null
      : row % 1000 === 5
        ? Infinity
        : row % 70_000 === 9
          ? -Infinity
          : START + row,
};

test.each(Object.entries(PATTERNS))('rows are found by time: %s', (_, timeOf) => {
  const count = SEGMENT + 500;
  const times = Array.from({ length: count }, (_each, row) => timeOf(row));
  const table = tableOf(times);
  const instant = fc.oneof(
    fc.nat(count - 1).map((row) => (times[row] ?? START) as number),
    fc.nat(count - 1).map((row) => ((times[row] ?? START) as number) + 1),
    fc.integer({ min: -5, max: 150_000 }).map((second) => START + second * SECOND),
    fc.constantFrom(-Infinity, Infinity, -6_000_000_000_000_000, 8e15),
  );
  const instants = Float64Array.from(times, (time) => (time === null ? NaN : (time as number)));
  const check = (a: number, b: number): void => {
    const [from, to] = [Math.min(a, b), Math.max(a, b)];
    const expected: number[] = [];
    for (let row = 0; row < count; row += 1)
      if (instants[row]! >= from && instants[row]! < to) expected.push(row);
    const found = read(table, from, to);
    // Once all of them are too many to be told one by one.
    expect(found.length).toBe(expected.length);
    expect(found.every((row, index) => row === expected[index])).toBe(true);
  };
  const ranges = fc.sample(fc.tuple(instant, instant), { seed: 5, numRuns: 10 });
  const short = fc.sample(fc.tuple(instant, fc.nat(40 * SECOND)), { seed: 6, numRuns: 16 });
  for (const [a, b] of ranges.slice(0, 3)) check(a, b);
  while (table.maintain(1_000_000));
  for (const [a, b] of ranges) check(a, b);
  for (const [a, length] of short) check(a, a + length);
  const gone = Array.from({ length: 300 }, (_each, row) => row * 211);
  write(table, { kind: 'delete', rowIds: Float64Array.from(gone) });
  for (const row of gone) instants[row] = NaN;
  for (const [a, length] of short) check(a, a + length);
  table.close();
});

test('rows are found by time where there is no room to remember where they stand', () => {
  const memory = new MemoryAccount('test', undefined, 2 ** 30);
  const count = SEGMENT + 500;
  const table = tableOf(
    Array.from({ length: count }, (_, row) => START + row * 10_000),
    memory,
  );
  while (table.maintain(1_000_000));
  const expected = Array.from({ length: 1000 }, (_, row) => 5000 + row);
  const look = (): void =>
    expect(read(table, START + 5000 * 10_000, START + 6000 * 10_000)).toEqual(expected);
  const left = memory.limitBytes - memory.usedBytes;
  memory.reserve(left);
  look();
  look();
  memory.release(left);
  look();
  table.close();
  expect(memory.usedBytes).toBe(0);
});

test('rows are found by time while segments come, are compacted and go', () => {
  const timeOf = (row: number): number =>
    START + row * 4096 - (row % 50 === 7 ? ((row * 7919) % 5000) * 60_000 : 0);
  const times: number[] = [];
  const isGone = new Set<number>();
  const table = tableOf([]);
  const starts = fc.sample(fc.integer({ min: -300, max: 1700 }), { seed: 3, numRuns: 12 });
  const check = (): void => {
    for (const [index, second] of starts.entries()) {
      // Parts of a cell, whole ones, several.
      const from = START + second * SECOND + (index % 3 === 0 ? 0 : 777);
      const to = from + [1, 10 * SECOND, 61 * SECOND + 5, 100 * SECOND][index % 4]!;
      const expected: number[] = [];
      for (let row = 0; row < times.length; row += 1)
        if (times[row]! >= from && times[row]! < to && !isGone.has(row)) expected.push(row);
      const found = read(table, from, to);
      expect(found.length).toBe(expected.length);
      expect(found.every((row, at) => row === expected[at])).toBe(true);
    }
  };
  const insert = (count: number): void => {
    const first = times.length;
    for (let row = first; row < first + count; row += 1) times.push(timeOf(row));
    write(table, {
      kind: 'insert',
      rows: {
        rowCount: count,
        columns: [
          vectorFromData({ kind: 'timestamptz' }, times.slice(first)),
          vectorFromData(
            { kind: 'int4' },
            Array.from({ length: count }, (_, each) => first + each),
          ),
        ],
      },
    });
  };
  check();
  for (let segment = 0; segment < 5; segment += 1) {
    insert(SEGMENT - (segment === 0 ? 100 : 0));
    while (table.maintain(1_000_000));
    check();
  }
  // Nearly all of one segment, and all of another.
  const gone: number[] = [];
  for (let row = SEGMENT; row < 3 * SEGMENT; row += 1)
    if (row >= 2 * SEGMENT || row % 10 > 0) gone.push(row);
  write(table, { kind: 'delete', rowIds: Float64Array.from(gone) });
  for (const row of gone) isGone.add(row);
  check();
  for (const { number } of table.segmentsToCompact()) table.compact(number);
  while (table.maintain(1_000_000));
  check();
  insert(10);
  check();
  table.close();
});

test('rows of several stretches are read together, and each is told how many were read of it', () => {
  const count = 3 * SEGMENT + 700;
  // Late rows: the rows of a stretch are those of three segments.
  const times = Array.from(
    { length: count },
    (_, row) => START + row * 40_000 - (row % 20 === 7 ? ((row * 7919) % 90_000) * 40_000 : 0),
  );
  const special: readonly Datum[] = [-0, 0, NaN, Infinity, -Infinity, null, 1e300, 5e-324];
  // Whole numbers in one segment, halves in the next, values of all kinds behind.
  const values = Array.from({ length: count }, (_, row): Datum => {
    if (row < SEGMENT) return row % 7;
    return row < 2 * SEGMENT ? row / 2 : row % 3 === 0 ? special[row % 8]! : -row / 3;
  });
  const table = createTable(
    {
      columns: [
        { name: 'ts', type: { kind: 'timestamptz' }, nullable: true },
        { name: 'x', type: { kind: 'float8' }, nullable: true },
        { name: 'n', type: { kind: 'int4' }, nullable: false },
      ],
      indexes: [],
      seed: 7,
      timeColumn: 0,
    },
    { memory: new MemoryAccount('test', undefined, 2 ** 30) },
  );
  for (let at = 0; at < count; at += 20_000) {
    const end = Math.min(count, at + 20_000);
    const numbers = Array.from({ length: end - at }, (_, each) => at + each);
    write(table, {
      kind: 'insert',
      rows: {
        rowCount: end - at,
        columns: [
          vectorFromData({ kind: 'timestamptz' }, times.slice(at, end)),
          vectorFromData({ kind: 'float8' }, values.slice(at, end)),
          vectorFromData({ kind: 'int4' }, numbers),
        ],
      },
    });
  }
  const isGone = new Set<number>();
  const check = (stretches: readonly (readonly [number, number])[]): void => {
    const given = stretches.map(([from, length]) => ({ from, to: from + length }));
    const snapshot = table.snapshot();
    const scan = snapshot.scanTimes!({ column: 0, stretches: given, columnIndexes: [1, 2] });
    const found: number[] = [];
    for (let batch = scan.next(); batch !== undefined; batch = scan.next())
      for (let index = 0; index < batch.rowCount; index += 1) {
        const at = batch.selection?.[index] ?? index;
        const row = datumAt(batch.columns[1]!, at) as number;
        expect(Object.is(datumAt(batch.columns[0]!, at), values[row])).toBe(true);
        found.push(row);
      }
    snapshot.release();
    const expected: number[] = [];
    for (const [index, { from, to }] of given.entries()) {
      let ofStretch = 0;
      for (let row = 0; row < count; row += 1) {
        if (!(times[row]! >= from && times[row]! < to)) continue;
        ofStretch += 1;
        if (!isGone.has(row)) expected.push(row);
      }
      // Deleted rows are looked at, and those of a segment without an order, whatever their time.
      expect(scan.rowsReadOf(index)).toBeGreaterThanOrEqual(isGone.size > 0 ? 0 : ofStretch);
    }
    expect(given.reduce((sum, _, index) => sum + scan.rowsReadOf(index), 0)).toBe(scan.rowsRead);
    expect(found.sort((a, b) => a - b)).toEqual(expected.sort((a, b) => a - b));
  };
  const length = fc.oneof(fc.nat(2 * SECOND), fc.nat(60 * SECOND));
  const pairs = fc.sample(fc.tuple(fc.nat(7000 * SECOND), length, fc.nat(800 * SECOND), length), {
    seed: 8,
    numRuns: 12,
  });
  const checkAll = (): void => {
    for (const [from, first, gap, second] of pairs) {
      const next = START + from + first + gap;
      check([
        [START + from, first],
        [next, second],
      ]);
      check([
        [START + from, first],
        [next, 0],
        [next + 1, second],
        [START + 9e9, 7],
      ]);
    }
  };
  checkAll();
  while (table.maintain(1_000_000));
  checkAll();
  const gone = Array.from({ length: 900 }, (_, index) => index * 211);
  write(table, { kind: 'delete', rowIds: Float64Array.from(gone) });
  for (const row of gone) isGone.add(row);
  checkAll();
  table.close();
});
