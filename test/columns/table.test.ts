import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import { MemoryAccount } from '../../src/base/memory.ts';
import type { Batch } from '../../src/columns/batch.ts';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
import { createTable, type Table } from '../../src/columns/table.ts';
import type {
  TableDelta,
  TableSchema,
  TableSnapshot,
  TableWrite,
} from '../../src/columns/table-contract.ts';
import { Decimal, type Datum } from '../../src/columns/values.ts';
import { ALWAYS_RENEWED } from './arbitraries.ts';

const SEGMENT_ROWS = 65_536;

const SCHEMA: TableSchema = {
  columns: [
    { name: 'id', type: { kind: 'int4' }, nullable: false },
    { name: 'team', type: { kind: 'text' }, nullable: true },
    { name: 'amount', type: { kind: 'float8' }, nullable: true },
    { name: 'price', type: { kind: 'numeric', precision: 12, scale: 2 }, nullable: true },
    { name: 'at', type: { kind: 'timestamptz' }, nullable: true },
    { name: 'big', type: { kind: 'int8' }, nullable: true },
  ],
  indexes: [
    { name: 'pk', columnIndexes: [0], unique: true, primary: true },
    { name: 'by_team', columnIndexes: [1], unique: false, primary: false },
    { name: 'by_team_amount', columnIndexes: [1, 2], unique: true, primary: false },
  ],
  seed: 7,
};

type Row = readonly Datum[];
type State = ReadonlyMap<number, Row>;

const row = fc.tuple(
  fc.oneof(
    { weight: 1, arbitrary: fc.nat(60) },
    { weight: 3, arbitrary: fc.integer({ min: 100, max: 5000 }) },
  ),
  fc.option(
    fc.oneof(
      fc.constantFrom('red', 'green', 'blue', 'süd', ''),
      fc.nat(1000).map((nth) => `team ${nth}`),
    ),
    { nil: null },
  ),
  fc.option(
    fc.oneof(fc.constantFrom(0, -0, 1.5, NaN, Infinity, 1e300), fc.double({ noNaN: true })),
    { nil: null },
  ),
  fc.option(
    fc.integer({ min: -1000, max: 1000 }).map((value) => new Decimal(BigInt(value), 2)),
    { nil: null },
  ),
  fc.option(fc.integer({ min: 0, max: 2 ** 45 }), { nil: null }),
  fc.option(fc.oneof(fc.nat(9), fc.constant(2n ** 60n)), { nil: null, freq: 20 }),
);

type Step =
  | { readonly kind: 'stage'; readonly writes: readonly ModelWrite[] }
  | { readonly kind: 'undo' | 'publish' | 'open' | 'staged' | 'close' | 'reindex' }
  | { readonly kind: 'asOf'; readonly back: number }
  | { readonly kind: 'maintain'; readonly units: number }
  | { readonly kind: 'compact'; readonly segment: number };
type ModelWrite =
  | { readonly kind: 'sequence'; readonly count: number }
  | { readonly kind: 'insert'; readonly rows: readonly Row[] }
  | { readonly kind: 'delete'; readonly picks: readonly number[] }
  | { readonly kind: 'update'; readonly picks: readonly number[]; readonly rows: readonly Row[] }
  | { readonly kind: 'truncate' };

const write: fc.Arbitrary<ModelWrite> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('sequence' as const),
      // The log keeps more than 64 rows of a commit as they are, until they are sealed.
      count: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 65, max: 150 })),
    }),
  },
  {
    weight: 30,
    arbitrary: fc.record({
      kind: fc.constant('insert' as const),
      rows: fc.array(row, { minLength: 1, maxLength: 6 }),
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant('delete' as const),
      picks: fc.array(fc.nat(), { maxLength: 4 }),
    }),
  },
  {
    weight: 20,
    arbitrary: fc.record({
      kind: fc.constant('update' as const),
      picks: fc.array(fc.nat(), { maxLength: 4 }),
      rows: fc.array(row, { minLength: 4, maxLength: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'truncate' as const }) },
);

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.record({
      kind: fc.constant('stage' as const),
      writes: fc.array(write, { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('undo' as const) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('publish' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom('open' as const, 'staged' as const) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('close' as const, 'reindex' as const) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('asOf' as const), back: fc.nat(6) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('maintain' as const),
      units: fc.constantFrom(1, 500, 1_000_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('compact' as const), segment: fc.nat(1) }),
  },
);

test('a table equals a list of rows with all versions kept, whatever is written, undone, sealed, compacted and read meanwhile', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 100, max: 300 })),
      fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }),
      fc.boolean(),
      (gap, steps, renewsTexts) => {
        const memory = new MemoryAccount('test');
        const table = createTable(
          SCHEMA,
          renewsTexts ? { memory, texts: ALWAYS_RENEWED } : { memory },
        );
        const model = new Model();
        // Row ids begin shortly before a segment's end: what follows seals it.
        startAt(table, model, SEGMENT_ROWS - gap);
        for (const [index, each] of steps.entries()) {
          run(table, model, each);
          for (const { snapshot, state } of model.open)
            expectRows(snapshot, state, index % 4 === 0);
        }
        for (const { snapshot, state } of model.open) {
          expectRows(snapshot, state, true);
          snapshot.release();
        }
        while (table.maintain(1_000_000));
        const last = table.snapshot();
        expectRows(last, model.published, true);
        table.close();
        // Whoever reads a table that was dropped reads on.
        expectRows(last, model.published, true);
        last.release();
        expect(memory.usedBytes).toBe(0);
      },
    ),
    { numRuns: Number(process.env['RUNS'] ?? 45) },
  );
});

class Model {
  /** By position. */
  readonly history = new Map<number, State>([[0, new Map()]]);
  readonly staged: {
    readonly state: State;
    readonly nextRowId: number;
    readonly delta: TableDelta;
  }[] = [];
  readonly open: { readonly snapshot: TableSnapshot; readonly state: State }[] = [];
  readonly deltas: { readonly position: number; readonly delta: TableDelta }[] = [];
  position = 0;
  sequence = 0;
  publishedNext = 0;

  get published(): State {
    return this.history.get(this.position)!;
  }

  get newest(): State {
    return this.staged.at(-1)?.state ?? this.published;
  }

  get nextRowId(): number {
    return this.staged.at(-1)?.nextRowId ?? this.publishedNext;
  }
}

function startAt(table: Table, model: Model, nextRowId: number): void {
  const ids = Int32Array.from({ length: nextRowId }, (_, index) => index);
  const nulls = new Uint8Array(nextRowId);
  const columns = SCHEMA.columns.map(({ type }, index): Batch['columns'][number] => {
    if (index === 1) return { rep: 'object', type, values: Array.from(ids, () => null) };
    return {
      rep: 'number',
      type,
      values: index === 0 ? ids : new Float64Array(nextRowId),
      validity: index === 0 ? undefined : nulls,
      factor: 1,
      base: 0,
      scale: index === 3 ? 2 : 0,
    };
  });
  table.stage([{ kind: 'insert', rows: { rowCount: nextRowId, columns } }], { limits: true });
  table.publish(1);
  table.stage([{ kind: 'truncate' }], { limits: true });
  table.publish(2);
  model.position = 2;
  model.history.set(2, new Map());
  model.publishedNext = nextRowId;
}

function run(table: Table, model: Model, each: Step): void {
  switch (each.kind) {
    case 'stage':
      stage(table, model, each.writes);
      return;
    case 'undo':
      if (model.staged.length === 0) return;
      model.staged.pop();
      table.undo();
      expect(table.nextRowId).toBe(model.nextRowId);
      return;
    case 'publish': {
      const oldest = model.staged.shift();
      if (oldest === undefined) return;
      model.position += 1;
      model.history.set(model.position, oldest.state);
      model.publishedNext = oldest.nextRowId;
      if (oldest.delta.deleted !== undefined || oldest.delta.inserted !== undefined) {
        model.deltas.push({ position: model.position, delta: oldest.delta });
      }
      table.publish(model.position);
      expectChanges(table, model, Math.max(2, model.position - 3));
      return;
    }
    case 'open':
      model.open.push({ snapshot: table.snapshot(), state: model.published });
      return;
    case 'staged': {
      const snapshot = table.staged();
      expectRows(snapshot, model.newest, true);
      snapshot.release();
      return;
    }
    case 'asOf': {
      const position = Math.max(2, model.position - each.back);
      model.open.push({
        snapshot: table.snapshotAt(position)!,
        state: model.history.get(position)!,
      });
      return;
    }
    case 'close':
      model.open.shift()?.snapshot.release();
      return;
    case 'reindex': {
      const index = SCHEMA.indexes[1]!;
      if (model.staged.length > 0) return;
      table.dropIndex(index.name);
      table.addIndex(index);
      return;
    }
    case 'maintain':
      table.maintain(each.units);
      expectChanges(table, model, 2);
      return;
    case 'compact':
      table.compact(each.segment);
  }
}

function stage(table: Table, model: Model, writes: readonly ModelWrite[]): void {
  const before = model.newest;
  const after = new Map(before);
  let next = model.nextRowId;
  const tableWrites: TableWrite[] = [];
  for (const each of writes) {
    if (each.kind === 'sequence') {
      const rows = Array.from({ length: each.count }, (_, index): Row => [
        10_000 + model.sequence + index,
        'red',
        null,
        null,
        index,
        null,
      ]);
      model.sequence += each.count;
      for (const values of rows) after.set(next++, values);
      tableWrites.push({ kind: 'insert', rows: batchOf(rows) });
    } else if (each.kind === 'insert') {
      for (const values of each.rows) after.set(next++, values);
      tableWrites.push({ kind: 'insert', rows: batchOf(each.rows) });
    } else if (each.kind === 'truncate') {
      after.clear();
      tableWrites.push({ kind: 'truncate' });
    } else {
      const live = [...after.keys()];
      const rowIds =
        live.length === 0 ? [] : [...new Set(each.picks.map((pick) => live[pick % live.length]!))];
      if (rowIds.length === 0) continue;
      if (each.kind === 'delete') {
        for (const rowId of rowIds) after.delete(rowId);
        tableWrites.push({ kind: 'delete', rowIds: Float64Array.from(rowIds) });
      } else {
        const openFrom = Math.floor(next / SEGMENT_ROWS) * SEGMENT_ROWS;
        for (const [index, rowId] of rowIds.entries()) {
          if (rowId >= openFrom) after.set(rowId, each.rows[index]!);
          else {
            after.delete(rowId);
            after.set(next++, each.rows[index]!);
          }
        }
        tableWrites.push({
          kind: 'update',
          rowIds: Float64Array.from(rowIds),
          rows: batchOf(each.rows.slice(0, rowIds.length)),
        });
      }
    }
  }
  const violated = violates(after);
  let delta: TableDelta;
  try {
    delta = table.stage(tableWrites, { limits: true });
  } catch (cause) {
    expect(cause).toBeInstanceOf(DbError);
    expect((cause as DbError).code).toBe('23505');
    expect(violated).toBe(true);
    const snapshot = table.staged();
    expectRows(snapshot, before, false);
    snapshot.release();
    expect(table.nextRowId).toBe(model.nextRowId);
    return;
  }
  expect(violated).toBe(false);
  expect(table.nextRowId).toBe(next);
  const sorted = new Map([...after].sort(([a], [b]) => a - b));
  expectDelta(delta, before, sorted);
  model.staged.push({ state: sorted, nextRowId: next, delta });
}

function expectChanges(table: Table, model: Model, from: number): void {
  const shown = ({ position, delta }: { position: number; delta: TableDelta }): unknown => ({
    position,
    deleted: rowsOf(delta.deleted),
    inserted: rowsOf(delta.inserted),
  });
  expect(table.changes(from, model.position)!.map(shown)).toEqual(
    model.deltas.filter(({ position }) => position > from).map(shown),
  );
}

function violates(state: State): boolean {
  const ids = new Set<Datum>();
  const pairs = new Set<string>();
  for (const [id, team, amount] of state.values()) {
    if (ids.has(id!)) return true;
    ids.add(id!);
    if (team === null || amount === null) continue;
    const pair = `${String(team)}/${String((amount as number) + 0)}`;
    if (pairs.has(pair)) return true;
    pairs.add(pair);
  }
  return false;
}

function expectDelta(delta: TableDelta, before: State, after: State): void {
  const changed = new Map(before);
  for (const [rowId, values] of rowsOf(delta.deleted)) {
    expect(values).toEqual(before.get(rowId));
    changed.delete(rowId);
  }
  for (const [rowId, values] of rowsOf(delta.inserted)) {
    expect(changed.has(rowId)).toBe(false);
    changed.set(rowId, values);
  }
  expect([...changed].sort(([a], [b]) => a - b)).toEqual([...after]);
  for (const side of [delta.deleted, delta.inserted]) {
    const rowIds = [...(side?.rowIds ?? [])];
    expect(rowIds).toEqual(rowIds.toSorted((a, b) => a - b));
  }
}

function expectRows(snapshot: TableSnapshot, state: State, thorough: boolean): void {
  expect(snapshot.rowCount).toBe(state.size);
  const columnIndexes = SCHEMA.columns.map((_, index) => index);
  for (const ordered of thorough ? [true, false] : [true]) {
    const scan = snapshot.scan({ columnIndexes, ordered, withRowIds: true });
    const rows: [number, Row][] = [];
    for (let batch = scan.next(); batch !== undefined; batch = scan.next()) {
      expect(batch.rowCount).toBeGreaterThan(0);
      expect(batch.rowCount).toBeLessThanOrEqual(2048);
      rows.push(...rowsOf(batch));
    }
    if (!ordered) rows.sort(([a], [b]) => a - b);
    expect(rows).toEqual([...state]);
  }
  if (!thorough) return;
  const teams = new Set<Datum>(['red', 'green', 'blue', 'süd', 'none', null]);
  for (const team of teams) {
    const expected = [...state]
      .filter(([, values]) => team !== null && values[1] === team)
      .map(([rowId]) => rowId);
    expect([...snapshot.lookup('by_team', [team])]).toEqual(expected);
  }
  for (const id of [
    0,
    1,
    7,
    30,
    10_000,
    10_005,
    10_016,
    10_020,
    ...[...state.values()].slice(0, 5).map(([each]) => each as number),
  ]) {
    const expected = [...state].filter(([, values]) => values[0] === id).map(([rowId]) => rowId);
    expect([...snapshot.lookup('pk', [id])]).toEqual(expected);
  }
  const keys = vectorFromData(SCHEMA.columns[1]!.type, ['blue', null, 'red']);
  const pairs: [number, number][] = [];
  const probe = snapshot.probe!('by_team', [keys], 3);
  for (let found = probe.next(); found !== undefined; found = probe.next()) {
    for (let index = 0; index < found.rows.length; index += 1)
      pairs.push([found.rows[index]!, found.rowIds[index]!]);
  }
  const expected = [0, 2].flatMap((key) =>
    [...state]
      .filter(([, values]) => values[1] === (key === 0 ? 'blue' : 'red'))
      .map(([rowId]) => [key, rowId]),
  );
  expect(pairs).toEqual(expected);
  const wanted = [...state.keys()].toReversed();
  const fetched = snapshot.fetch(Float64Array.from([1e9, ...wanted, -1]), [0, 2]);
  expect(rowsOf(fetched)).toEqual(
    wanted.map((rowId) => [rowId, [state.get(rowId)![0], state.get(rowId)![2]]]),
  );
}

function batchOf(rows: readonly Row[]): Batch {
  return {
    rowCount: rows.length,
    columns: SCHEMA.columns.map(({ type }, column) =>
      vectorFromData(
        type,
        rows.map((values) => values[column]!),
      ),
    ),
  };
}

function rowsOf(batch: Batch | undefined): [number, Row][] {
  if (batch === undefined) return [];
  return Array.from({ length: batch.rowCount }, (_, index): [number, Row] => {
    const physical = batch.selection === undefined ? index : batch.selection[index]!;
    return [batch.rowIds![physical]!, batch.columns.map((column) => datumAt(column, physical))];
  });
}
