import { expect, test } from 'vitest';
import { assert } from '../../src/base/errors.ts';
import { MemoryAccount } from '../../src/base/memory.ts';
import { SeededRandom } from '../../src/base/random.ts';
import type { Batch } from '../../src/columns/batch.ts';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
import { Snapshot } from '../../src/columns/snapshot.ts';
import { StandingRows } from '../../src/columns/standing-rows.ts';
import { createTable } from '../../src/columns/table.ts';
import type {
  TableDelta,
  TableSchema,
  TableSnapshot,
  TableWrite,
} from '../../src/columns/table-contract.ts';
import type { Datum } from '../../src/columns/values.ts';

const SCHEMA: TableSchema = {
  columns: [
    { name: 'id', type: { kind: 'int4' }, nullable: false },
    { name: 'amount', type: { kind: 'float8' }, nullable: true },
    { name: 'big', type: { kind: 'int8' }, nullable: true },
    { name: 'label', type: { kind: 'text' }, nullable: true },
  ],
  indexes: [{ name: 'pk', columnIndexes: [0], unique: true, primary: true }],
  seed: 11,
};

type Row = readonly [id: number, amount: number | null, big: number | bigint | null, label: string];
type Told = {
  readonly deleted: (readonly [number, Row])[];
  readonly inserted: (readonly [number, Row])[];
};

/**
 * Old rows of small changes are not copied while they stand in a sealed segment. One of the three segments here has NULLs, another integers
 * beyond 2^53, so that some rows are copied and others are not; what is read is read at once, later, or never.
 */
test('old rows of small changes are told as they were, whenever somebody looks and whatever becomes of their segments', () => {
  const memory = new MemoryAccount('test');
  const table = createTable(SCHEMA, { memory });
  const random = new SeededRandom(6, 'old rows');
  const below = (end: number): number => random.below(end);
  const rows = new Map<number, Row>();
  const told: Told[] = [];
  let nextKey = 0;
  const fresh = (segment: number): Row => [
    nextKey++,
    segment === 1 && nextKey % 50 === 0 ? null : nextKey / 4,
    segment === 2 && nextKey % 70 === 0 ? 2n ** 60n + BigInt(nextKey) : nextKey * 3,
    `label ${nextKey % 7}`,
  ];
  const batchOf = (given: readonly Row[]): Batch => ({
    rowCount: given.length,
    columns: SCHEMA.columns.map(({ type }, column) =>
      vectorFromData(
        type,
        given.map((row) => row[column] as Datum),
      ),
    ),
  });
  /** Stages, looks at the change at once or not at all, and undoes or publishes it. */
  const write = (write: TableWrite, change: Told, isKept: boolean, isRead: boolean): void => {
    const delta = table.stage([write], { limits: true });
    if (isRead) expect(toldOf(delta)).toEqual(change);
    if (!isKept) {
      table.undo();
      return;
    }
    table.publish(table.position + 1);
    told.push(change);
    for (const [id] of change.deleted) rows.delete(id);
    for (const [id, row] of change.inserted) rows.set(id, row);
  };
  const insert = (given: readonly Row[], isKept = true, isRead = false): void => {
    const first = table.nextRowId;
    const inserted = given.map((row, at): [number, Row] => [first + at, row]);
    write({ kind: 'insert', rows: batchOf(given) }, { deleted: [], inserted }, isKept, isRead);
  };
  for (const segment of [0, 1, 2])
    for (let piece = 0; piece < 4; piece += 1)
      insert(Array.from({ length: 16_384 }, () => fresh(segment)));
  insert(Array.from({ length: 3_000 }, () => fresh(0)));
  while (table.maintain(1_000_000));
  const base = table.position;
  told.length = 0;
  for (let step = 0; step < 600; step += 1) {
    const isKept = below(5) > 0;
    const isRead = below(12) === 0;
    const openFrom = Math.floor(table.nextRowId / 65_536) * 65_536;
    const ids = new Set<number>();
    const count = 1 + below(12);
    const isOfFirst = below(8) > 0;
    while (ids.size < count) {
      const id =
        below(isOfFirst ? 20 : 4) === 0 && table.nextRowId > openFrom + 20
          ? openFrom + below(table.nextRowId - openFrom)
          : below(isOfFirst ? 65_536 : table.nextRowId);
      if (rows.has(id)) ids.add(id);
    }
    const ascending = [...ids].toSorted((a, b) => a - b);
    const deleted = ascending.map((id): [number, Row] => [id, rows.get(id)!]);
    const rowIds = Float64Array.from(ascending);
    const kind = below(3);
    if (kind === 0)
      insert(
        Array.from(ids, () => fresh(below(3))),
        isKept,
        isRead,
      );
    else if (kind === 1)
      write({ kind: 'delete', rowIds }, { deleted, inserted: [] }, isKept, isRead);
    else {
      // Some get other keys, where they stand or behind all others.
      const next = deleted.map(([, [id, , big, label]]): Row => {
        const key = below(20) === 0 ? nextKey++ : id;
        return [key, below(9) === 0 ? null : step, step % 40 === 39 ? 2n ** 61n : big, label];
      });
      const stays = ascending.flatMap((id, at): [number, Row][] =>
        id >= openFrom ? [[id, next[at]!]] : [],
      );
      const first = table.nextRowId;
      const moved = next.slice(0, next.length - stays.length);
      const inserted = [...stays, ...moved.map((row, at): [number, Row] => [first + at, row])];
      write({ kind: 'update', rowIds, rows: batchOf(next) }, { deleted, inserted }, isKept, isRead);
    }
    if (step === 300) {
      table.compact(1);
      while (table.maintain(1_000_000));
    }
  }
  const changes = table.changes(base, table.position)!;
  expect(changes.map(({ delta }) => toldOf(delta))).toEqual(told);
  // Every key leads to its row, and keys that nobody has any more to none.
  const keys = Array.from({ length: nextKey }, (_, key) => key);
  const idOf = new Map(Array.from(rows, ([id, [key]]) => [key, id]));
  const snapshot = table.snapshot();
  const [key] = batchOf(keys.map((each): Row => [each, 0, 0, ''])).columns;
  const found = snapshot.findUnique('pk', [key!], keys.length);
  expect(Array.from(found)).toEqual(keys.map((each) => idOf.get(each) ?? -1));
  snapshot.release();
  table.close();
  expect(memory.usedBytes).toBe(0);
});

test('single cells of old rows are what their columns say, of sealed segments and of open ones', () => {
  const memory = new MemoryAccount('test');
  const table = createTable(SCHEMA, { memory });
  const rowsFrom = (first: number, count: number): Batch => {
    const keys = Array.from({ length: count }, (_, at) => first + at);
    return {
      rowCount: count,
      columns: [
        vectorFromData({ kind: 'int4' }, keys),
        vectorFromData(
          { kind: 'float8' },
          keys.map((key) => (key < 70_000 && key % 3 === 0 ? null : key / 8)),
        ),
        vectorFromData(
          { kind: 'int8' },
          keys.map((key) => (key === 70_037 ? 2n ** 60n : key * 5)),
        ),
        vectorFromData(
          { kind: 'text' },
          keys.map((key) => `label ${key % 5}`),
        ),
      ],
    };
  };
  for (let first = 0; first < 135_000; first += 15_000) {
    table.stage([{ kind: 'insert', rows: rowsFrom(first, 15_000) }], { limits: true });
    table.publish(table.position + 1);
  }
  while (table.maintain(1_000_000));
  const rowIds = Float64Array.from({ length: 900 }, (_, at) => at * 149 + 7);
  const { deleted } = table.stage([{ kind: 'delete', rowIds }], { limits: true });
  assert(deleted instanceof StandingRows, 'most of the rows stand in sealed segments');
  const rows = Array.from(rowIds.keys());
  const cells = (column: number, order: readonly number[]): number[] =>
    order.map((row) => deleted.numberAt(column, row));
  /** As columns, before somebody looks at them and afterwards. */
  for (const look of ['before', 'after']) {
    const amounts = Array.from(rowIds, (id) => (id < 70_000 && id % 3 === 0 ? NaN : id / 8));
    expect(cells(0, rows), look).toEqual(Array.from(rowIds));
    expect(cells(1, rows), look).toEqual(amounts);
    expect(cells(1, rows.toReversed()), look).toEqual(amounts.toReversed());
    // A segment with an integer beyond 2^53 holds no doubles.
    for (const [row, cell] of cells(2, rows).entries())
      expect(cell, look).toBe(Number.isNaN(cell) ? NaN : rowIds[row]! * 5);
    expect(deleted.columns[2]!.rep).toBe('bigint');
  }
  table.undo();
  table.close();
  expect(memory.usedBytes).toBe(0);
});

test('a range of rows is for a reader what its rows are one by one, and stays it while rows change and leave', () => {
  const memory = new MemoryAccount('test');
  const table = createTable(SCHEMA, { memory });
  const random = new SeededRandom(9, 'ranges');
  const rowsFrom = (first: number, count: number): Batch => {
    const keys = Array.from({ length: count }, (_, at) => first + at);
    const cells = [keys, keys.map((key) => key / 8), keys.map((key) => key * 3), keys.map(String)];
    return {
      rowCount: count,
      columns: SCHEMA.columns.map(({ type }, column) => vectorFromData(type, cells[column]!)),
    };
  };
  const write = (writes: readonly TableWrite[]): void => {
    table.stage(writes, { limits: true });
    table.publish(table.position + 1);
  };
  for (let first = 0; first < 80_000; first += 16_000)
    write([{ kind: 'insert', rows: rowsFrom(first, 16_000) }]);
  while (table.maintain(1_000_000));
  // Of a sealed segment, of two chunks of the open one, and beyond the last row.
  const starts = [4_096, 65_536, 73_000, 79_500];
  const columns = SCHEMA.columns.map((_, index) => index);
  const live = new Set(
    starts.flatMap((start) => Array.from({ length: 900 }, (_, at) => start + at)),
  );
  for (const id of live) if (id >= 80_000) live.delete(id);
  const rangesOf = (snapshot: Snapshot): unknown[] =>
    starts.map((start) => rowsOf(snapshot.fetchRange(start, start + 900, columns)));
  const readers: { readonly snapshot: Snapshot; readonly ranges: unknown[] }[] = [];
  const open = (snapshot: TableSnapshot): void => {
    assert(snapshot instanceof Snapshot, 'a table has snapshots of its own');
    readers.push({ snapshot, ranges: rangesOf(snapshot) });
  };
  const first = table.position;
  for (let step = 0; step < 60; step += 1) {
    if (step % 20 === 0) open(table.snapshot());
    const ids = new Set(
      Array.from({ length: 1 + random.below(40) }, () => random.below(live.size)),
    );
    const all = [...live].toSorted((a, b) => a - b);
    const rowIds = Float64Array.from(
      [...ids].toSorted((a, b) => a - b),
      (at) => all[at]!,
    );
    if (random.below(3) === 0) {
      write([{ kind: 'delete', rowIds }]);
      for (const id of rowIds) live.delete(id);
    } else {
      write([{ kind: 'update', rowIds, rows: rowsFrom(100_000 + step * 50, rowIds.length) }]);
      // What was sealed has moved behind all others.
      for (const id of rowIds) if (id < 65_536) live.delete(id);
    }
  }
  open(table.snapshotAt(first)!);
  open(table.snapshotAt(first + 30)!);
  for (const { snapshot, ranges } of readers) {
    expect(rangesOf(snapshot)).toEqual(ranges);
    const oneByOne = starts.map((start) =>
      rowsOf(
        snapshot.fetch(
          Float64Array.from({ length: 900 }, (_, at) => start + at),
          columns,
        ),
      ),
    );
    expect(oneByOne).toEqual(ranges);
    snapshot.release();
  }
  expect(readers[3]!.ranges).toEqual(readers[0]!.ranges);
  table.close();
  expect(memory.usedBytes).toBe(0);
});

function toldOf({ deleted, inserted }: TableDelta): Told {
  return { deleted: rowsOf(deleted), inserted: rowsOf(inserted) };
}

function rowsOf(batch: Batch | undefined): (readonly [number, Row])[] {
  if (batch === undefined) return [];
  return Array.from({ length: batch.rowCount }, (_, at): [number, Row] => {
    const row = batch.selection === undefined ? at : batch.selection[at]!;
    return [batch.rowIds![row]!, batch.columns.map((column) => datumAt(column, row)) as never];
  });
}
