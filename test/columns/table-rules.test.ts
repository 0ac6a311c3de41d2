import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import { MemoryAccount } from '../../src/base/memory.ts';
import { isPiece, slabDoubles } from '../../src/base/slab.ts';
import type { Batch } from '../../src/columns/batch.ts';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
import { createTable, type Table } from '../../src/columns/table.ts';
import type {
  ColumnSchema,
  TableSchema,
  TableSnapshot,
  TableWrite,
} from '../../src/columns/table-contract.ts';
import type { Datum } from '../../src/columns/values.ts';
import type { Vector } from '../../src/columns/vector.ts';

const ID: ColumnSchema = { name: 'id', type: { kind: 'int8' }, nullable: false };
const NAME: ColumnSchema = { name: 'name', type: { kind: 'text' }, nullable: true };
const SCHEMA: TableSchema = {
  name: 'people',
  columns: [ID, NAME],
  indexes: [{ name: 'people_pkey', columnIndexes: [0], unique: true, primary: true }],
  seed: 1,
};

test('many keys that are looked for together are found as they are one by one, by readers of every position', () => {
  const table = createTable(SCHEMA, { memory: new MemoryAccount('test') });
  const write = (...writes: TableWrite[]): void => {
    table.stage(writes, { limits: true });
    table.publish(table.position + 1);
  };
  const keyOf = (row: number): number => row * (row < 100_000 ? 1 : 7);
  // Keys that grow with the rows, others that do not, and two sealed segments.
  const count = 140_000;
  for (let start = 0; start < count; start += 20_000)
    write({
      kind: 'insert',
      rows: numbered(start, 20_000, (row) => row * (row < 100_000 ? 1 : 7)),
    });
  while (table.maintain(1_000_000));
  const early = table.snapshot();
  const every260th = (from: number): Float64Array =>
    Float64Array.from({ length: 500 }, (_, at) => from + at * 260);
  write({ kind: 'delete', rowIds: every260th(3) });
  write({
    kind: 'update',
    rowIds: every260th(7),
    rows: numbered(0, 500, (row) => 2_000_000 + row),
  });
  // The same keys under other row ids, two that change places, and some that come back.
  write({
    kind: 'update',
    rowIds: every260th(11),
    rows: numbered(0, 500, (row) => keyOf(11 + row * 260)),
  });
  write({
    kind: 'update',
    rowIds: Float64Array.of(20, 21),
    rows: numbered(0, 2, (row) => 21 - row),
  });
  write({ kind: 'insert', rows: numbered(0, 100, (row) => keyOf(3 + row * 260)) });
  const keys = Float64Array.from({ length: 3_000 }, (_, at) =>
    at % 3 === 0 ? at * 47 : at % 3 === 1 ? 2_000_000 + (at % 600) : keyOf(3 + (at % 500) * 260),
  );
  const type = ID.type;
  const all: Vector = { rep: 'number', type, values: keys, factor: 1, base: 0, scale: 0 };
  const selection = Int32Array.from({ length: 1_000 }, (_, at) => (at * 7) % 3_000);
  const late = table.snapshot();
  const between = table.snapshotAt(table.position - 2)!;
  for (const snapshot of [early, between, late]) {
    const found = snapshot.findUnique('people_pkey', [all], keys.length);
    const alone = Array.from(
      keys,
      (key) => snapshot.findUnique('people_pkey', [{ ...all, values: Float64Array.of(key) }], 1)[0],
    );
    expect([...found]).toEqual(alone);
    const selected = snapshot.findUnique('people_pkey', [all], selection.length, selection);
    expect([...selected]).toEqual(Array.from(selection, (row) => alone[row]));
    expect(found.filter((rowId) => rowId >= 0).length).toBeGreaterThan(1_000);
    snapshot.release();
  }
  table.close();
});

/** `count` rows from number `from` on, named by their key. */
function numbered(from: number, count: number, keyOf: (row: number) => number): Batch {
  const ids = Array.from({ length: count }, (_, at) => keyOf(from + at));
  return {
    rowCount: count,
    columns: [vectorFromData(ID.type, ids), vectorFromData(NAME.type, ids.map(String))],
  };
}

test('a duplicate key is refused as PostgreSQL words it, and nothing has changed', () => {
  const table = createTable(SCHEMA, { memory: new MemoryAccount('test') });
  insert(table, [[1, 'a']]);
  table.publish(1);
  const before = stateOf(table);
  const error = refused(() =>
    insert(table, [
      [2, 'b'],
      [1, 'c'],
    ]),
  );
  expect(error.code).toBe('23505');
  expect(error.message).toBe('duplicate key value violates unique constraint "people_pkey"');
  expect(error.detail).toBe('Key (id)=(1) already exists.');
  expect(error.constraint).toBe('people_pkey');
  expect(
    refused(() =>
      insert(table, [
        [7, 'x'],
        [8, 'y'],
        [7, 'z'],
      ]),
    ).detail,
  ).toBe('Key (id)=(7) already exists.');
  expect(stateOf(table)).toEqual(before);
  table.close();
});

/**
 * Root cause: while nobody reads, a staged delete is marked in the bitmap that an earlier staged commit shares; with a reader there its undo
 * went on in a copy, and the earlier commit kept the mark. The model's law found it one run in some thousands.
 */
test('a staged delete that is undone while somebody reads leaves no mark in the commit before it', () => {
  const table = createTable(SCHEMA, { memory: new MemoryAccount('test') });
  insert(table, [
    [1, 'a'],
    [2, 'b'],
    [3, 'c'],
  ]);
  table.publish(1);
  table.stage([{ kind: 'delete', rowIds: Float64Array.of(0) }], { limits: true });
  table.stage([{ kind: 'delete', rowIds: Float64Array.of(1) }], { limits: true });
  const reader = table.snapshot();
  table.undo();
  insert(table, [[4, 'd']]);
  table.publish(2);
  expect(rowsOf(table.snapshot())).toEqual([
    [1, [2, 'b']],
    [2, [3, 'c']],
  ]);
  table.publish(3);
  reader.release();
  table.close();
});

test('keys may be swapped within one commit', () => {
  const table = createTable(SCHEMA, { memory: new MemoryAccount('test') });
  insert(table, [
    [1, 'a'],
    [2, 'b'],
  ]);
  table.stage(
    [
      {
        kind: 'update',
        rowIds: Float64Array.of(0, 1),
        rows: rows(table, [
          [2, 'a'],
          [1, 'b'],
        ]),
      },
    ],
    { limits: true },
  );
  table.publish(1);
  expect(stateOf(table)).toEqual([
    [0, [2, 'a']],
    [1, [1, 'b']],
  ]);
  table.stage(
    [
      { kind: 'delete', rowIds: Float64Array.of(0) },
      { kind: 'insert', rows: rows(table, [[2, 'again']]) },
    ],
    { limits: true },
  );
  expect(refused(() => insert(table, [[1, 'no']])).code).toBe('23505');
  table.close();
});

test('NULL is refused where it may not be, and is never a duplicate', () => {
  const unique = { name: 'people_name_key', columnIndexes: [1], unique: true, primary: false };
  const table = createTable(
    { ...SCHEMA, indexes: [...SCHEMA.indexes, unique] },
    { memory: new MemoryAccount('test') },
  );
  insert(table, [
    [1, null],
    [2, null],
  ]);
  const error = refused(() =>
    insert(table, [
      [3, 'x'],
      [null, 'y'],
    ]),
  );
  expect(error.code).toBe('23502');
  expect(error.message).toBe(
    'null value in column "id" of relation "people" violates not-null constraint',
  );
  expect(error.detail).toBe('Failing row contains (null, y).');
  expect(
    refused(() =>
      insert(table, [
        [4, 'x'],
        [5, 'x'],
      ]),
    ).detail,
  ).toBe('Key (name)=(x) already exists.');
  expect(table.rowCount).toBe(2);
  table.close();
});

test('an index made later refuses what is there twice, and finds what is there', () => {
  const table = createTable(SCHEMA, { memory: new MemoryAccount('test') });
  insert(table, [
    [1, 'a'],
    [2, 'b'],
    [3, 'a'],
    [4, null],
    [5, null],
  ]);
  table.publish(1);
  expect(stateOf(table).length).toBe(5);
  const used = table.memoryBytes;
  const error = refused(() =>
    table.addIndex({ name: 'u', columnIndexes: [1], unique: true, primary: false }),
  );
  expect(error.message).toBe('could not create unique index "u"');
  expect(error.detail).toBe('Key (name)=(a) is duplicated.');
  expect(table.memoryBytes).toBe(used);
  table.addIndex({ name: 'by_name', columnIndexes: [1], unique: false, primary: false });
  const snapshot = table.snapshot();
  expect([...snapshot.lookup('by_name', ['a'])]).toEqual([0, 2]);
  expect([...snapshot.lookup('by_name', [null])]).toEqual([]);
  snapshot.release();
  table.dropIndex('by_name');
  expect(table.schema.indexes.map(({ name }) => name)).toEqual(['people_pkey']);
  table.close();
});

test('a memory limit met at any place leaves the table as it was, and its account exact', () => {
  const value = fc.tuple(
    fc.nat(500),
    fc.option(
      fc.string({ maxLength: 60 }).map((text) => text.replaceAll('\0', '')),
      { nil: null },
    ),
  );
  const writes = fc.array(
    fc.tuple(fc.array(value, { minLength: 1, maxLength: 40 }), fc.nat(4000), fc.nat(2)),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(writes, (steps) => {
      const memory = new MemoryAccount('test');
      const by = { name: 'by_name', columnIndexes: [1], unique: false, primary: false };
      const table = createTable(
        { ...SCHEMA, indexes: [...SCHEMA.indexes, by] },
        { memory, historyBytes: 3000 },
      );
      let position = 0;
      for (const [data, slack, how] of steps) {
        memory.limitBytes = memory.usedBytes + slack;
        const before = stateOf(table);
        const live = before.map(([rowId]) => rowId).slice(0, data.length);
        try {
          if (how === 0 || live.length === 0) insert(table, data);
          else if (how === 1)
            table.stage(
              [
                {
                  kind: 'update',
                  rowIds: Float64Array.from(live),
                  rows: rows(table, data.slice(0, live.length)),
                },
              ],
              { limits: true },
            );
          else
            table.stage(
              [
                { kind: 'delete', rowIds: Float64Array.from(live.slice(0, 2)) },
                { kind: 'insert', rows: rows(table, data) },
              ],
              { limits: true },
            );
          position += 1;
          memory.limitBytes = Infinity;
          table.publish(position);
        } catch (cause) {
          if (!(cause instanceof DbError)) throw cause;
          expect(['53200', '23505']).toContain(cause.code);
          memory.limitBytes = Infinity;
          expect(stateOf(table)).toEqual(before);
          for (const [rowId, [id]] of before)
            expect(lookup(table, 'people_pkey', id!)).toEqual([rowId]);
        }
        expect(memory.usedBytes).toBe(table.memoryBytes);
      }
      table.close();
      expect(memory.usedBytes).toBe(0);
    }),
    { numRuns: 100 },
  );
});

test('replay is never refused for want of memory', () => {
  const memory = new MemoryAccount('test', undefined, 100);
  const table = createTable(SCHEMA, { memory });
  expect(refused(() => insert(table, [[1, 'a']])).code).toBe('53200');
  table.stage([{ kind: 'insert', rows: rows(table, [[1, 'a']]) }], { limits: false });
  table.publish(1);
  expect(table.rowCount).toBe(1);
  table.close();
  expect(memory.usedBytes).toBe(0);
});

test('a column added later shows its default in old rows, sealed ones too, and can be taken away', () => {
  const memory = new MemoryAccount('test');
  const table = createTable(SCHEMA, { memory });
  const count = 65_540;
  table.stage(
    [
      {
        kind: 'insert',
        rows: rows(
          table,
          Array.from({ length: count }, (_, index) => [index, null]),
        ),
      },
    ],
    { limits: true },
  );
  table.publish(1);
  while (table.maintain(1_000_000));
  const old = table.snapshot();
  const used = memory.usedBytes;
  table.addColumn({ name: 'team', type: { kind: 'text' }, nullable: false }, 'none');
  expect(memory.usedBytes - used).toBeLessThan(3000);
  table.stage(
    [
      {
        kind: 'update',
        rowIds: Float64Array.of(3, 65_537),
        rows: rows(table, [
          [3, 'x', 'red'],
          [65_537, 'y', 'blue'],
        ]),
      },
    ],
    { limits: true },
  );
  table.publish(2);
  const snapshot = table.snapshot();
  const wanted = Float64Array.of(2, 65_536, 65_537, count);
  expect(cells(snapshot, wanted, [0, 2])).toEqual([
    [2, 'none'],
    [65_536, 'none'],
    [65_537, 'blue'],
    [3, 'red'],
  ]);
  const scan = snapshot.scan({
    columnIndexes: [2],
    ordered: false,
    withRowIds: false,
    prune: [{ column: 2, op: '=', value: 'red' }],
  });
  let read = 0;
  for (let batch = scan.next(); batch !== undefined; batch = scan.next()) read += batch.rowCount;
  expect(read).toBe(5);
  expect(old.schema.columns.length).toBe(2);
  expect(cells(old, Float64Array.of(3, 65_537), [0, 1])).toEqual([
    [3, null],
    [65_537, null],
  ]);
  old.release();
  snapshot.release();
  table.renameColumn(2, 'club');
  expect(table.schema.columns[2]!.name).toBe('club');
  table.dropColumn(2);
  insert(table, [[70_000, 'after']]);
  table.publish(3);
  expect(table.schema.columns.map(({ name }) => name)).toEqual(['id', 'name']);
  expect(table.snapshotAt(1)).toBeUndefined();
  table.close();
  expect(memory.usedBytes).toBe(0);
});

test('history reaches back as far as its bytes, and says where it ends', () => {
  const memory = new MemoryAccount('test');
  const table = createTable(SCHEMA, { memory, historyBytes: 60_000 });
  for (let position = 1; position <= 1000; position += 1) {
    insert(table, [[position, `name ${position % 10}`]]);
    table.publish(position);
  }
  expect(table.changes(0, 1000)).toBeUndefined();
  expect(table.snapshotAt(1)).toBeUndefined();
  const latest = table.changes(900, 1000)!;
  expect(latest.map(({ position }) => position)).toEqual(
    Array.from({ length: 100 }, (_, index) => 901 + index),
  );
  const past = table.snapshotAt(950)!;
  expect(past.rowCount).toBe(950);
  expect([...past.lookup('people_pkey', [951])]).toEqual([]);
  expect([...past.lookup('people_pkey', [950])]).toEqual([949]);
  past.release();
  table.close();
  expect(memory.usedBytes).toBe(0);
});

test('what history keeps of a commit keeps no slab', () => {
  const table = createTable(
    { name: 'groups', columns: [ID], indexes: [], seed: 1 },
    { memory: new MemoryAccount('test') },
  );
  const soonForgotten = (count: number, first: number): Batch => {
    const values = slabDoubles(count);
    for (let row = 0; row < count; row += 1) values[row] = first + row;
    const column = { rep: 'number', type: ID.type, values, factor: 1, base: 0, scale: 0 } as const;
    return { rowCount: count, columns: [column] };
  };
  const writes: TableWrite[] = [
    { kind: 'insert', rows: soonForgotten(400, 0) },
    { kind: 'insert', rows: soonForgotten(70, 400) },
    {
      kind: 'update',
      rowIds: Float64Array.from({ length: 300 }, (_, row) => row),
      rows: soonForgotten(300, 1000),
    },
    { kind: 'delete', rowIds: Float64Array.from({ length: 200 }, (_, row) => 100 + row) },
  ];
  for (const write of writes) {
    table.stage([write], { limits: true });
    table.publish(table.position + 1);
  }
  const told = table.changes(0, 4)!;
  const ends = told.map(({ delta: { deleted, inserted } }) =>
    [deleted, inserted].map((rows) =>
      rows === undefined ? undefined : [rows.rowCount, datumAt(rows.columns[0]!, 0)],
    ),
  );
  expect(ends).toEqual([
    [undefined, [400, 0]],
    [undefined, [70, 400]],
    [
      [300, 0],
      [300, 1000],
    ],
    [[200, 1100], undefined],
  ]);
  for (const { delta } of told)
    for (const { columns } of [delta.deleted, delta.inserted].filter((rows) => rows !== undefined))
      for (const column of columns)
        expect(column.rep === 'number' && isPiece(column.values)).toBe(false);
  table.close();
});

test('what a load leaves in the history is where its rows lie, once they are sealed, and tells the same', () => {
  const memory = new MemoryAccount('test');
  const table = createTable(SCHEMA, { memory });
  const written: [number, string | null][][] = [];
  // 1,000 rows a commit: some lie in two segments.
  for (let position = 1; position <= 150; position += 1) {
    const rows = Array.from({ length: 1000 }, (_, index): [number, string | null] => {
      const id = (position - 1) * 1000 + index;
      return [id, id % 5 === 0 ? null : `name ${id % 90}`];
    });
    written.push(rows);
    insert(table, rows);
    table.publish(position);
  }
  const told = (): string =>
    JSON.stringify(table.changes(0, 150)!.map(({ delta }) => dataOf(delta.inserted!)));
  expect(told()).toBe(JSON.stringify(written));
  while (table.maintain(1_000_000));
  expect(told()).toBe(JSON.stringify(written));
  const bytes = table.memoryBytes;
  // Two segments are sealed: 19 commits of 1,000 rows, of some 24 bytes, are still told from arrays of their own.
  table.expire(131);
  table.maintain(1);
  expect(bytes - table.memoryBytes).toBeLessThan(131 * 400);
  table.close();
  expect(memory.usedBytes).toBe(0);
});

test('the history tells what was inserted, although it was overwritten, deleted, compacted, cut or truncated since', () => {
  const memory = new MemoryAccount('test');
  const table = createTable(SCHEMA, { memory });
  const people = (from: number, count: number): [number, string | null][] =>
    Array.from({ length: count }, (_, index) => [from + index, `name ${(from + index) % 90}`]);
  const written = [
    [0, 65_000],
    [65_000, 500],
    [65_500, 1000],
    [66_500, 60_000],
  ].map(([from, count]) => people(from!, count!));
  const told = (): string =>
    JSON.stringify(
      table
        .changes(0, 4)!
        .map(({ delta: { inserted } }) => [[...inserted!.rowIds!], dataOf(inserted!)]),
    );
  for (const [index, each] of written.entries()) {
    insert(table, each);
    table.publish(index + 1);
  }
  const first = told();
  const write = (writes: Parameters<Table['stage']>[0]): void => {
    table.stage(writes, { limits: true });
    table.publish(table.position + 1);
  };
  // In the open segment it is overwritten in place, before that is sealed.
  const openRow = 65_536 + 20_000;
  write([
    { kind: 'update', rowIds: Float64Array.of(openRow), rows: rows(table, [[openRow, 'new']]) },
  ]);
  write([{ kind: 'insert', rows: rows(table, people(200_000, 10_000)) }]);
  while (table.maintain(1_000_000));
  expect(told()).toBe(first);
  write([{ kind: 'delete', rowIds: Float64Array.from({ length: 60_000 }, (_, row) => row) }]);
  table.compact(0);
  while (table.maintain(1_000_000));
  expect(table.snapshot().rowCount).toBe(76_500);
  expect(told()).toBe(first);
  write([
    { kind: 'delete', rowIds: Float64Array.from({ length: 70_000 }, (_, row) => 60_000 + row) },
  ]);
  write([{ kind: 'truncate' }]);
  while (table.maintain(1_000_000));
  expect(told()).toBe(first);
  table.close();
});

test('sequential keys cost the primary key nothing a row, others a few bytes', () => {
  const keyed = (keys: (index: number) => number): number => {
    const bytes = [true, false].map((withIndex) => {
      const table = createTable(
        { ...SCHEMA, indexes: withIndex ? SCHEMA.indexes : [] },
        { memory: new MemoryAccount('test'), historyBytes: 0 },
      );
      for (let start = 0; start < 40_000; start += 4000) {
        insert(
          table,
          Array.from({ length: 4000 }, (_, index) => [keys(start + index), null]),
        );
        table.publish(start + 1);
      }
      for (let index = 40_000; index < 40_100; index += 1) {
        insert(table, [[keys(index), null]]);
        table.publish(index);
      }
      return table.memoryBytes;
    });
    return (bytes[0]! - bytes[1]!) / 40_100;
  };
  expect(keyed((index) => index)).toBeLessThan(0.1);
  expect(keyed((index) => index + (index >= 20_000 ? 1000 : 0))).toBeLessThan(0.1);
  expect(keyed((index) => (index * 7919) % 1_000_003)).toBeLessThan(20);
});

test('a snapshot sees a row overwritten ten thousand times as it was', () => {
  const memory = new MemoryAccount('test');
  const table = createTable(SCHEMA, { memory, historyBytes: 20_000 });
  insert(table, [
    [1, 'first'],
    [2, 'other'],
  ]);
  table.publish(1);
  const snapshot = table.snapshot();
  for (let position = 2; position < 10_000; position += 1) {
    table.stage(
      [
        {
          kind: 'update',
          rowIds: Float64Array.of(0),
          rows: rows(table, [[1, `name ${position % 7}`]]),
        },
      ],
      { limits: true },
    );
    table.publish(position);
  }
  expect(cells(snapshot, Float64Array.of(0, 1), [1])).toEqual([['first'], ['other']]);
  const held = memory.usedBytes;
  snapshot.release();
  while (table.maintain(1_000_000));
  expect(memory.usedBytes).toBeLessThan(held / 4);
  table.close();
});

test('who reads a segment that was sealed since is not told what its chunks were filled with afterwards', () => {
  const memory = new MemoryAccount('test');
  const numbers: TableSchema = {
    columns: [
      ID,
      { name: 'amount', type: { kind: 'float8' }, nullable: true },
      { name: 'qty', type: { kind: 'int4' }, nullable: false },
    ],
    indexes: [{ name: 'pkey', columnIndexes: [0], unique: true, primary: true }],
    seed: 5,
  };
  const table = createTable(numbers, { memory });
  const rowOf = (id: number): Datum[] => [id, id % 11 === 0 ? null : id / 4, -id];
  const arrive = (from: number, count: number): void => {
    const ids = Array.from({ length: count }, (_, at) => from + at);
    const columns = numbers.columns.map(({ type }, column) =>
      vectorFromData(
        type,
        ids.map((id) => rowOf(id)[column]!),
      ),
    );
    table.stage([{ kind: 'insert', rows: { rowCount: count, columns } }], { limits: true });
  };
  let position = 0;
  let next = 0;
  const open: { readonly snapshot: TableSnapshot; readonly end: number }[] = [];
  const check = ({ snapshot, end }: (typeof open)[number]): void => {
    const ids = Float64Array.from({ length: 400 }, (_, at) => Math.floor((at * (end - 1)) / 399));
    expect(cells(snapshot, ids, [0, 1, 2])).toEqual(Array.from(ids, rowOf));
  };
  for (let step = 0; step < 48; step += 1) {
    arrive(next, 7_000);
    // What was undone leaves chunks, too.
    if (step % 3 === 1) table.undo();
    else {
      table.publish((position += 1));
      next += 7_000;
    }
    if (step % 5 === 0) open.push({ snapshot: table.snapshot(), end: next });
    if (step % 4 === 3) while (table.maintain(1_000_000));
    for (const each of open) check(each);
    if (open.length > 3) open.shift()!.snapshot.release();
  }
  for (const { snapshot } of open) snapshot.release();
  while (table.maintain(1_000_000));
  const last = table.snapshot();
  check({ snapshot: last, end: next });
  last.release();
  table.close();
  expect(memory.usedBytes).toBe(0);
});

test('a truncation of many rows lists them for those who look within the commit, and frees them afterwards', () => {
  const memory = new MemoryAccount('test');
  const table = createTable(SCHEMA, { memory });
  const count = 70_000;
  insert(
    table,
    Array.from({ length: count }, (_, index) => [index, null]),
  );
  table.publish(1);
  while (table.maintain(1_000_000));
  const before = table.snapshot();
  table.stage([{ kind: 'truncate' }, { kind: 'insert', rows: rows(table, [[5, 'new']]) }], {
    limits: true,
  });
  expect(lookup(table, 'people_pkey', 5)).toEqual([count]);
  table.undo();
  expect(lookup(table, 'people_pkey', 5)).toEqual([5]);
  const delta = table.stage([{ kind: 'truncate' }], { limits: true });
  expect(delta.deleted!.rowCount).toBe(count);
  table.publish(2);
  expect(datumAt(delta.deleted!.columns[0]!, count - 1)).toBe(count - 1);
  while (table.maintain(1_000_000));
  expect(() => delta.deleted!.columns).toThrow('within its commit');
  expect(table.snapshotAt(1)).toBeUndefined();
  expect(table.changes(1, 2)).toBeUndefined();
  expect([...before.lookup('people_pkey', [7])]).toEqual([7]);
  expect(memory.usedBytes).toBeGreaterThan(65_536 * 6);
  before.release();
  while (table.maintain(1_000_000));
  expect(memory.usedBytes).toBeLessThan(10_000);
  insert(table, [[5, 'again']]);
  table.publish(3);
  expect(stateOf(table)).toEqual([[count, [5, 'again']]]);
  table.close();
  expect(memory.usedBytes).toBe(0);
});

// The truncation held a snapshot of its rows until the next upkeep, which never came.
test('a table that is closed before the upkeep after a truncation gives everything back', () => {
  const memory = new MemoryAccount('test');
  const table = createTable(SCHEMA, { memory });
  table.stage([{ kind: 'insert', rows: numbered(0, 70_000, (row) => row) }], { limits: true });
  table.publish(1);
  table.stage([{ kind: 'truncate' }], { limits: true });
  table.publish(2);
  table.close();
  expect(memory.usedBytes).toBe(0);
});

function insert(table: Table, data: readonly (readonly Datum[])[]): void {
  table.stage([{ kind: 'insert', rows: rows(table, data) }], { limits: true });
}

function dataOf({ columns, rowCount }: Batch): Datum[][] {
  return Array.from({ length: rowCount }, (_, row) =>
    columns.map((column) => datumAt(column, row)),
  );
}

function rows(table: Table, data: readonly (readonly Datum[])[]): Batch {
  return {
    rowCount: data.length,
    columns: table.schema.columns.map(({ type }, column) =>
      vectorFromData(
        type,
        data.map((row) => row[column] ?? null),
      ),
    ),
  };
}

function refused(write: () => void): DbError {
  try {
    write();
  } catch (cause) {
    if (cause instanceof DbError) return cause;
    throw cause;
  }
  throw new Error('nothing was refused');
}

/** Staged rows by id. */
function stateOf(table: Table): [number, Datum[]][] {
  return rowsOf(table.staged());
}

function rowsOf(snapshot: TableSnapshot): [number, Datum[]][] {
  const scan = snapshot.scan({
    columnIndexes: snapshot.schema.columns.map((_, index) => index),
    ordered: true,
    withRowIds: true,
  });
  const found: [number, Datum[]][] = [];
  for (let batch = scan.next(); batch !== undefined; batch = scan.next()) {
    for (let row = 0; row < batch.rowCount; row += 1) {
      const at = batch.selection?.[row] ?? row;
      found.push([batch.rowIds![at]!, batch.columns.map((column) => datumAt(column, at))]);
    }
  }
  snapshot.release();
  return found;
}

function cells(
  snapshot: TableSnapshot,
  rowIds: Float64Array,
  columnIndexes: readonly number[],
): Datum[][] {
  const batch = snapshot.fetch(rowIds, columnIndexes);
  return Array.from({ length: batch.rowCount }, (_, row) =>
    batch.columns.map((column) => datumAt(column, row)),
  );
}

function lookup(table: Table, index: string, key: Datum): number[] {
  const snapshot = table.staged();
  const found = [...snapshot.lookup(index, [key])];
  snapshot.release();
  return found;
}
