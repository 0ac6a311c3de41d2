import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
import type { Batch } from '../../src/columns/batch.ts';
import { concatBatches, datumAt, vectorFromData } from '../../src/columns/build.ts';
import { compareDatums } from '../../src/columns/compare.ts';
import { openSource, seal, sealedSource } from '../../src/columns/seal.ts';
import { OpenSegment } from '../../src/columns/open-segment.ts';
import { MemoryLease } from '../../src/base/memory-lease.ts';
import type { SealedSegment } from '../../src/columns/segment.ts';
import { StoredColumn } from '../../src/columns/stored-column.ts';
import { createTable, type Table } from '../../src/columns/table.ts';
import type { SqlType } from '../../src/columns/types.ts';
import { Decimal, type Datum } from '../../src/columns/values.ts';
import { zonePasses } from '../../src/columns/zone-map.ts';
import { TYPES, nullable } from './arbitraries.ts';

test('sealing gives back every value of every type, by slot, with bounds that hold', () => {
  const columns = fc.nat(TYPES.length - 1).chain((index) => {
    const [type, datum] = TYPES[index]!;
    const data = fc.oneof(
      fc.array(nullable(datum), { minLength: 1, maxLength: 60 }),
      fc.array(datum, { minLength: 1, maxLength: 60 }),
      fc
        .tuple(datum, datum)
        .chain((few) => fc.array(fc.constantFrom(...few), { minLength: 1, maxLength: 60 })),
    );
    return data.map((values) => ({ type, values }));
  });
  fc.assert(
    fc.property(columns, fc.nat(), fc.boolean(), ({ type, values }, seed, again) => {
      const { sealed, column } = sealedOf(type, values, seed);
      expectValues(sealed, column, values);
      if (!again) return;
      // Every other row, sealed once more: what compaction does.
      const indexes = values.map((_, index) => index).filter((index) => index % 2 === 0);
      const slots = Int32Array.from(indexes, (index) => sealed.slotOf[index]!);
      const smaller = drain(
        seal({
          ...jobOf(column, seed),
          source: sealedSource(sealed, slots),
          ordinals: Uint16Array.from(indexes),
        }),
      );
      expectValues(
        smaller,
        column,
        indexes.map((index) => values[index]!),
      );
      expect(indexes.every((ordinal, index) => smaller.indexOf(ordinal) === index)).toBe(true);
      expect(smaller.indexOf(1)).toBe(-1);
    }),
    { numRuns: 400 },
  );
});

test('a segment is permuted by the seed and its number alone, and keeps an order by time', () => {
  const values = Array.from({ length: 5000 }, (_, index) =>
    index % 97 === 5 ? null : 1e15 + ((index * 7919) % 5003) * 1000,
  );
  const type: SqlType = { kind: 'timestamptz' };
  const { sealed } = sealedOf(type, values, 11);
  expect([...sealed.slotOf]).toEqual([
    ...sealedOf(
      { kind: 'int4' },
      values.map((_, index) => index),
      11,
    ).sealed.slotOf,
  ]);
  expect([...sealed.slotOf]).not.toEqual([...sealedOf(type, values, 12).sealed.slotOf]);
  expect(new Set(sealed.slotOf).size).toBe(5000);
  const inverse = new Map([...sealed.slotOf].map((slot, index) => [slot, index]));
  const byTime = [...sealed.timeOrder!].map((slot) => inverse.get(slot)!);
  const expected = values
    .map((_, index) => index)
    .sort(
      (a, b) =>
        (values[a] === null
          ? values[b] === null
            ? 0
            : 1
          : values[b] === null
            ? -1
            : values[a]! - values[b]!) || a - b,
    );
  expect(byTime).toEqual(expected);
});

test('rows that arrive in the order of time need no order of their own', () => {
  const { sealed } = sealedOf(
    { kind: 'date' },
    Array.from({ length: 1000 }, (_, index) => 18_000 + Math.floor(index / 3)),
    1,
  );
  expect(sealed.timeOrder).toBe(sealed.slotOf);
});

test('encodings take the bytes that the values need', () => {
  const ids = Array.from({ length: 4096 }, (_, index) => 9_000_000_000 + index);
  expect(bytesPerRow({ kind: 'int8' }, ids)).toBe(2);
  expect(
    bytesPerRow(
      { kind: 'timestamptz' },
      ids.map((id) => (id * 250_000) % 2 ** 50),
    ),
  ).toBeLessThanOrEqual(4);
  expect(
    bytesPerRow(
      { kind: 'int4' },
      ids.map((id) => id % 100),
    ),
  ).toBe(1);
  expect(
    bytesPerRow(
      { kind: 'int4' },
      ids.map((id) => (id % 100) - 50),
    ),
  ).toBe(1);
  expect(
    bytesPerRow(
      { kind: 'float8' },
      ids.map((id) => (id % 100) / 4),
    ),
  ).toBe(4);
  expect(
    bytesPerRow(
      { kind: 'float8' },
      ids.map((id) => (id % 100) / 10),
    ),
  ).toBe(8);
  expect(
    bytesPerRow(
      { kind: 'numeric', precision: 12, scale: 2 },
      ids.map((id) => new Decimal(BigInt(id % 30_000), 2)),
    ),
  ).toBe(2);
  expect(
    bytesPerRow(
      { kind: 'text' },
      ids.map((id) => `region ${id % 50}`),
    ),
  ).toBe(1);
  expect(
    bytesPerRow(
      { kind: 'boolean' },
      ids.map((id) => id % 3 === 0),
    ),
  ).toBe(1);
  expect(
    bytesPerRow(
      { kind: 'uuid' },
      ids.map((id) => `00000000-0000-4000-8000-${String(id).padStart(12, '0')}`),
    ),
  ).toBe(16);
});

test('sealing goes on in steps while rows are read, and no step exceeds its units by more than a piece', () => {
  const memory = new MemoryAccount('test');
  const table = filled(memory);
  const before = table.snapshot();
  const whole = rowsOf(table);
  let steps = 0;
  while (table.maintain(5000)) {
    steps += 1;
    if (steps % 16 === 0) expect(rowsOf(table)).toEqual(whole);
  }
  expect(steps).toBeGreaterThan(50);
  expect(table.segmentStates()[0]!.segment.kind).toBe('sealed');
  expect(rowsOf(table)).toEqual(whole);
  const held = memory.usedBytes;
  before.release();
  // The open form was kept for the reader that had it.
  expect(memory.usedBytes).toBeLessThan(held - 65_536 * 8);
  table.close();
  expect(memory.usedBytes).toBe(0);
});

test('compaction drops dead rows and keeps the ids of the others', () => {
  const memory = new MemoryAccount('test');
  const table = filled(memory);
  while (table.maintain(1_000_000));
  const rowIds = Float64Array.from({ length: 65_536 }, (_, index) => index).filter(
    (rowId) => rowId % 10 !== 3,
  );
  table.stage([{ kind: 'delete', rowIds }], { limits: true });
  table.publish(2);
  expect(table.segmentsToCompact()).toMatchObject([{ number: 0, generation: 0 }]);
  const before = rowsOf(table);
  table.compact(0);
  while (table.maintain(1_000_000));
  const { segment } = table.segmentStates()[0]!;
  expect(segment.rowCount).toBe(6554);
  expect(rowsOf(table)).toEqual(before);
  const snapshot = table.snapshot();
  expect([...snapshot.lookup('pk', [100_003])]).toEqual([3]);
  expect([...snapshot.lookup('pk', [100_004])]).toEqual([]);
  snapshot.release();
  table.close();
  expect(memory.usedBytes).toBe(0);
});

test('a truncation takes a segment away from under its sealing', () => {
  // Columns were read from a segment that was closed: no test had truncated between two steps of a job and published it.
  const memory = new MemoryAccount('test');
  const table = filled(memory);
  expect(table.maintain(100_000)).toBe(true);
  table.stage([{ kind: 'truncate' }], { limits: true });
  table.publish(2);
  while (table.maintain(100_000));
  expect(table.rowCount).toBe(0);
  // One that is undone leaves the segment to be sealed.
  const again = filled(memory);
  expect(again.maintain(100_000)).toBe(true);
  again.stage([{ kind: 'truncate' }], { limits: true });
  again.maintain(100_000);
  again.undo();
  while (again.maintain(1_000_000));
  expect(again.segmentStates()[0]!.segment.kind).toBe('sealed');
  table.close();
  again.close();
  expect(memory.usedBytes).toBe(0);
});

test('scans skip segments by their zone maps and charge one row for each', () => {
  const table = filled(new MemoryAccount('test'));
  while (table.maintain(1_000_000));
  const snapshot = table.snapshot();
  const read = (test: Parameters<Table['zoneShare']>[0][number]): number => {
    const scan = snapshot.scan({
      columnIndexes: [0],
      ordered: false,
      withRowIds: false,
      prune: [test],
    });
    while (scan.next() !== undefined);
    return scan.rowsRead;
  };
  expect(read({ column: 0, op: '>', value: 200_000 })).toBe(1);
  expect(read({ column: 0, op: '>', value: 150_000 })).toBe(65_536);
  expect(read({ column: 1, op: '=', value: 'team 33' })).toBe(65_536);
  expect(read({ column: 1, op: '=', value: 'zzz' })).toBe(1);
  expect(table.zoneShare([{ column: 0, op: '<', value: 5 }])).toBe(0);
  expect(table.zoneShare([{ column: 0, op: '>=', value: 5 }])).toBe(1);
  expect(table.distinctEstimate(0)).toBe(65_536);
  expect(table.distinctEstimate(1)).toBe(7);
  expect(table.distinctEstimate(2)! / 1000).toBeGreaterThan(0.9);
  expect(table.distinctEstimate(2)! / 1000).toBeLessThan(1.1);
  snapshot.release();
  table.close();
});

function sealedOf(
  type: SqlType,
  values: readonly Datum[],
  seed: number,
): { sealed: SealedSegment; column: StoredColumn } {
  const memory = new MemoryAccount('test');
  const lease = new MemoryLease(memory);
  const column = new StoredColumn(0, type, null, memory, lease);
  const segment = new OpenSegment(3, 0, lease);
  segment.append(
    [column],
    { rowCount: values.length, columns: [vectorFromData(type, values)] },
    0,
    values.length,
  );
  return { sealed: drain(seal({ ...jobOf(column, seed), source: openSource(segment) })), column };
}

function jobOf(column: StoredColumn, seed: number): Omit<Parameters<typeof seal>[0], 'source'> {
  const isTime = column.type.kind === 'timestamptz' || column.type.kind === 'date';
  return {
    number: 3,
    firstOrdinal: 0,
    ordinals: undefined,
    generation: 0,
    columns: [column],
    timeColumn: isTime ? column : undefined,
    seed,
    memory: undefined,
  };
}

function drain(steps: Generator<number, SealedSegment>): SealedSegment {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    expect(step.value).toBeLessThanOrEqual(131_072);
  }
}

function bytesPerRow(type: SqlType, values: readonly Datum[]): number {
  const { sealed } = sealedOf(type, values, 1);
  return Math.round(sealed.columns[0]!.byteLength / values.length);
}

function expectValues(sealed: SealedSegment, column: StoredColumn, values: readonly Datum[]): void {
  const { vector, zone } = sealed.columns[0]!;
  expect(values.map((_, index) => datumAt(vector, sealed.slotOf[index]!))).toEqual(values);
  expect(zone.rowCount).toBe(values.length);
  expect(zone.nullCount).toBe(values.filter((value) => value === null).length);
  for (const value of values) {
    if (value === null) {
      expect(zonePasses(zone, { column: 0, op: 'isNull' }, column.type.kind)).toBe(true);
      continue;
    }
    for (const op of ['=', '<=', '>='] as const)
      expect(zonePasses(zone, { column: 0, op, value }, column.type.kind)).toBe(true);
    if (zone.min === undefined || zone.max === undefined) continue;
    expect(compareDatums(zone.min, value, column.type.kind)).toBeLessThanOrEqual(0);
    expect(compareDatums(zone.max, value, column.type.kind)).toBeGreaterThanOrEqual(0);
  }
  if (vector.rep !== 'number' || vector.bounds === undefined) return;
  const { bounds } = vector;
  for (const value of values) {
    const number = value instanceof Decimal ? Number(value.coefficient) : value;
    if (typeof number !== 'number') continue;
    if (!Number.isFinite(number)) {
      expect(bounds.finite).toBe(false);
      continue;
    }
    expect(number >= bounds.min && number <= bounds.max).toBe(true);
    if (column.type.kind !== 'float8' && column.type.kind !== 'float4') continue;
    expect(Math.abs(number) / 2 < 2 ** (bounds.bitEnd - 1)).toBe(true);
    const units = bounds.bitMin > -1022 ? number / 2 ** bounds.bitMin : 0;
    if (Number.isFinite(units)) expect(Number.isInteger(units)).toBe(true);
  }
}

function filled(memory: MemoryAccount): Table {
  const rowCount = 65_536;
  const table = createTable(
    {
      columns: [
        { name: 'id', type: { kind: 'int4' }, nullable: false },
        { name: 'team', type: { kind: 'text' }, nullable: true },
        { name: 'customer', type: { kind: 'int4' }, nullable: false },
      ],
      indexes: [{ name: 'pk', columnIndexes: [0], unique: true, primary: true }],
      seed: 5,
    },
    { memory },
  );
  const number = (type: SqlType, values: Float64Array): Batch['columns'][number] => ({
    rep: 'number',
    type,
    values,
    factor: 1,
    base: 0,
    scale: 0,
  });
  const batch: Batch = {
    rowCount,
    columns: [
      number(
        { kind: 'int4' },
        Float64Array.from({ length: rowCount }, (_, index) => 100_000 + index),
      ),
      vectorFromData(
        { kind: 'text' },
        Array.from({ length: rowCount }, (_, index) =>
          index % 11 === 0 ? null : `team ${index % 7}`,
        ),
      ),
      number(
        { kind: 'int4' },
        Float64Array.from({ length: rowCount }, (_, index) => (index * 7919) % 1000),
      ),
    ],
  };
  table.stage([{ kind: 'insert', rows: batch }], { limits: true });
  table.publish(1);
  return table;
}

/** All rows in arrival order, as one text: cheap to compare. */
function rowsOf(table: Table): string {
  const snapshot = table.snapshot();
  const scan = snapshot.scan({ columnIndexes: [0, 1, 2], ordered: true, withRowIds: true });
  const batches: Batch[] = [];
  for (let batch = scan.next(); batch !== undefined; batch = scan.next()) batches.push(batch);
  snapshot.release();
  const all = concatBatches(batches);
  let text = '';
  for (let row = 0; row < all.rowCount; row += 101) {
    text += `${all.rowIds![row]}:${all.columns.map((column) => String(datumAt(column, row))).join()} `;
  }
  return `${all.rowCount} ${text}`;
}
