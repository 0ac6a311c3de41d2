/**
 * A table made anew from a base, and from what was written since, is the table: the same rows under the same ids. What was
 * changed behind its back is told by a checksum, each time.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import { MemoryAccount } from '../../src/base/memory.ts';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
import { BASE_CHUNK_ROWS, verifyBase, type TableBase } from '../../src/columns/table-base.ts';
import { createTable, Table } from '../../src/columns/table.ts';
import type { TableDelta, TableSchema, TableWrite } from '../../src/columns/table-contract.ts';
import { Decimal, Interval, type Datum } from '../../src/columns/values.ts';
import { ALWAYS_RENEWED } from './arbitraries.ts';

const SEGMENT_ROWS = 65_536;
const SCHEMA: TableSchema = {
  columns: [
    { name: 'id', type: { kind: 'int8' }, nullable: false },
    { name: 'team', type: { kind: 'text' }, nullable: true },
    { name: 'amount', type: { kind: 'float8' }, nullable: true },
    { name: 'price', type: { kind: 'numeric' }, nullable: true },
    { name: 'tag', type: { kind: 'uuid' }, nullable: true },
    { name: 'span', type: { kind: 'interval' }, nullable: true },
    { name: 'ok', type: { kind: 'boolean' }, nullable: true },
  ],
  indexes: [
    { name: 'pk', columnIndexes: [0], unique: true, primary: true },
    { name: 'by_team', columnIndexes: [1], unique: false, primary: false },
  ],
  seed: 7,
};

type Row = readonly Datum[];

const rowOf = (id: number, noise: number): Row => [
  id,
  noise % 7 === 0 ? null : `team ${noise % 5}`,
  noise % 3 === 0 ? null : noise / 8,
  new Decimal(BigInt(noise), noise % 3),
  noise % 2 === 0 ? null : `00000000-0000-4000-8000-${String(noise % 1000).padStart(12, '0')}`,
  noise % 11 === 0 ? new Interval(0, noise % 30, 5) : null,
  noise % 4 === 0,
];

function batchOf(rows: readonly Row[]): Extract<TableWrite, { kind: 'insert' }>['rows'] {
  return {
    rowCount: rows.length,
    columns: SCHEMA.columns.map(({ type }, column) =>
      vectorFromData(
        type,
        rows.map((row) => row[column]!),
      ),
    ),
  };
}

/** Every row with its id, as text. */
function shown(table: Table): string[] {
  const snapshot = table.snapshot();
  const scan = snapshot.scan({
    columnIndexes: table.schema.columns.map((_, index) => index),
    ordered: true,
    withRowIds: true,
  });
  const rows: string[] = [];
  for (let batch = scan.next(); batch !== undefined; batch = scan.next()) {
    for (let row = 0; row < batch.rowCount; row += 1) {
      const at = batch.selection?.[row] ?? row;
      const data = batch.columns.map((column) => String(datumAt(column, at)));
      rows.push(`${batch.rowIds![at]} ${data.join(' ')}`);
    }
  }
  snapshot.release();
  return rows;
}

const whole = <Value>(steps: Generator<number, Value>): Value => {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
};

type Step =
  | { readonly kind: 'bulk'; readonly count: number }
  | { readonly kind: 'insert'; readonly count: number; readonly noise: number }
  | { readonly kind: 'update' | 'delete'; readonly picks: readonly number[] }
  | { readonly kind: 'maintain'; readonly units: number }
  | { readonly kind: 'truncate' | 'base' | 'compact' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('bulk' as const),
      count: fc.integer({ min: 20_000, max: 40_000 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('insert' as const),
      count: fc.integer({ min: 1, max: 9 }),
      noise: fc.nat(1000),
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constantFrom('update' as const, 'delete' as const),
      picks: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'truncate' as const }) },
  { weight: 4, arbitrary: fc.constant({ kind: 'base' as const }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('maintain' as const),
      units: fc.constantFrom(Infinity, 10_000, 200_000),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'compact' as const }) },
);

/** A table, its bases, and the writes since the newest one. */
class World {
  readonly table: Table;
  base: TableBase | undefined;
  readonly since: (readonly TableWrite[])[] = [];
  readonly #changed = new Set<number>();
  position = 0;
  #nextId = 0;

  constructor(renewsTexts = false) {
    const memory = new MemoryAccount('test');
    this.table = createTable(SCHEMA, renewsTexts ? { memory, texts: ALWAYS_RENEWED } : { memory });
  }

  take(): TableBase {
    this.base = whole(
      this.table.checkpoint(this.position, this.base, (chunk) => this.#changed.has(chunk)),
    );
    this.#changed.clear();
    this.since.length = 0;
    return this.base;
  }

  write(writes: readonly TableWrite[]): void {
    this.position += 1;
    const delta = apply(this.table, writes, this.position);
    this.since.push(writes);
    for (const rowId of delta.deleted?.rowIds ?? [])
      this.#changed.add(Math.floor(rowId / BASE_CHUNK_ROWS));
  }

  run(one: Step): void {
    switch (one.kind) {
      case 'bulk':
      case 'insert': {
        const noise = one.kind === 'bulk' ? 0 : one.noise;
        const rows = Array.from({ length: one.count }, (_, index) =>
          rowOf(this.#nextId + index, noise + index),
        );
        this.#nextId += one.count;
        this.write([{ kind: 'insert', rows: batchOf(rows) }]);
        break;
      }
      case 'update':
      case 'delete': {
        const rowIds = this.#living(one.picks);
        if (rowIds.length === 0) break;
        if (one.kind === 'delete') this.write([{ kind: 'delete', rowIds }]);
        else {
          const first = this.#nextId;
          this.#nextId += rowIds.length;
          const rows = batchOf(Array.from(rowIds, (rowId, index) => rowOf(first + index, rowId)));
          this.write([{ kind: 'update', rowIds, rows }]);
        }
        break;
      }
      case 'truncate':
        this.write([{ kind: 'truncate' }]);
        break;
      case 'base':
        this.take();
        break;
      case 'maintain':
        for (let left = one.units; left > 0 && this.table.maintain(10_000);) left -= 10_000;
        break;
      case 'compact':
        for (const { number } of this.table.segmentsToCompact()) this.table.compact(number);
        break;
    }
  }

  #living(picks: readonly number[]): Float64Array {
    const snapshot = this.table.snapshot();
    const wanted = picks.map((pick) => Math.floor(pick * this.table.nextRowId));
    const { rowIds, rowCount } = snapshot.fetch(Float64Array.from(new Set(wanted)).sort(), [0]);
    snapshot.release();
    return rowIds!.slice(0, rowCount);
  }
}

function apply(table: Table, writes: readonly TableWrite[], position: number): TableDelta {
  const delta = table.stage(writes, { limits: false });
  table.publish(position);
  return delta;
}

test('a base and what was written since give the table again, whatever was sealed, deleted or compacted', () => {
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 4, maxLength: 12 }),
      fc.boolean(),
      (steps, renewsTexts) => {
        const world = new World(renewsTexts);
        world.take();
        for (const one of steps) world.run(one);
        const account = new MemoryAccount('restored');
        const again = whole(Table.restore(world.base!, { memory: account }));
        for (const writes of world.since) apply(again, writes, world.position);
        expect(shown(again)).toEqual(shown(world.table));
        expect(again.nextRowId).toBe(world.table.nextRowId);
        expect(again.rowCount).toBe(world.table.rowCount);
        // It goes on as the table would have: sealed, written to, looked up.
        while (again.maintain(100_000));
        const more: TableWrite[] = [{ kind: 'insert', rows: batchOf([rowOf(10_000_000, 3)]) }];
        apply(again, more, world.position + 1);
        apply(world.table, more, world.position + 1);
        expect(shown(again)).toEqual(shown(world.table));
        const found = again.snapshot();
        expect([...found.lookup('pk', [10_000_000])]).toEqual([again.nextRowId - 1]);
        found.release();
        again.close();
        expect(account.usedBytes).toBe(0);
        world.table.close();
      },
    ),
    { numRuns: Number(process.env['RUNS'] ?? 6) },
  );
});

test('a base keeps what has not changed from the one before', () => {
  const world = new World();
  world.run({ kind: 'bulk', count: 10_000 });
  const first = world.take();
  world.run({ kind: 'insert', count: 3, noise: 1 });
  world.write([{ kind: 'delete', rowIds: Float64Array.of(5000) }]);
  const second = world.take();
  const same = second.pieces.map((piece) => first.pieces.includes(piece));
  // The chunk with the deleted row, and the last one.
  expect(same).toEqual([true, true, false, true, false]);
  world.table.close();
});

/** Every array of bytes that a base holds or shares. */
function arraysOf(value: unknown, seen = new Set<unknown>()): Uint8Array[] {
  if (typeof value !== 'object' || value === null || seen.has(value)) return [];
  seen.add(value);
  if (ArrayBuffer.isView(value))
    return value.byteLength === 0
      ? []
      : [new Uint8Array(value.buffer, value.byteOffset, value.byteLength)];
  return (
    Object.entries(value)
      // Told by identity only.
      .filter(([key]) => key !== 'deletesOf')
      .flatMap(([, each]) => arraysOf(each, seen))
  );
}

test('a bit that flips in a base, or in the sealed segments it shares, is found', () => {
  const world = new World();
  world.run({ kind: 'bulk', count: 40_000 });
  world.run({ kind: 'bulk', count: 27_000 });
  while (world.table.maintain(100_000));
  world.write([{ kind: 'delete', rowIds: Float64Array.of(7, 4096) }]);
  const base = world.take();
  expect(base.segments.filter((each) => each !== undefined)).toHaveLength(1);
  const arrays = arraysOf(base);
  expect(arrays.length).toBeGreaterThan(20);
  const restored = (): unknown => {
    try {
      // The first thing that restoring does, and all that these few megabytes want.
      whole(verifyBase(base));
      return 'nothing';
    } catch (cause) {
      return cause instanceof DbError ? cause.code : cause;
    }
  };
  expect(restored()).toBe('nothing');
  const found = arrays.map((bytes, index) => {
    const at = (index * 7919) % bytes.length;
    bytes[at]! ^= 1 << (index % 8);
    const what = restored();
    bytes[at]! ^= 1 << (index % 8);
    return what;
  });
  expect(new Set(found)).toEqual(new Set(['XX001']));
  // Texts stand in the dictionary's arena, out of reach of the walk.
  const texts = base.columns[1]!.texts[0]!;
  texts.dictionary.bytes(1)[0]! ^= 1;
  expect(restored()).toBe('XX001');
  expect(() => whole(Table.restore(base, { memory: new MemoryAccount('test') }))).toThrow(DbError);
  texts.dictionary.bytes(1)[0]! ^= 1;
  expect(restored()).toBe('nothing');
  expect(SEGMENT_ROWS).toBeLessThan(world.table.nextRowId);
  world.table.close();
});

test('deletes that were changed in place, since nobody else read them, are copied again', () => {
  const world = new World();
  world.run({ kind: 'bulk', count: 40_000 });
  world.run({ kind: 'bulk', count: 27_000 });
  while (world.table.maintain(100_000));
  world.write([{ kind: 'delete', rowIds: Float64Array.of(1, 2) }]);
  world.take();
  for (let row = 10; row < 200; row += 1)
    world.write([{ kind: 'delete', rowIds: Float64Array.of(row) }]);
  world.write([
    { kind: 'delete', rowIds: Float64Array.from({ length: 900 }, (_, row) => 1000 + row) },
  ]);
  const again = whole(Table.restore(world.take(), { memory: new MemoryAccount('test') }));
  expect(again.rowCount).toBe(world.table.rowCount);
  expect(shown(again)).toEqual(shown(world.table));
  again.close();
  world.table.close();
});
