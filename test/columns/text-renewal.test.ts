/**
 * Texts that no row has any more give their memory back, whoever still reads them and whatever history tells of them meanwhile; so
 * do bytes that were overwritten. That rows, readers, undo and history keep what is theirs is asked of random tables in table.test.ts.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
import { MemoryLease } from '../../src/base/memory-lease.ts';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
import { createTable, type Table } from '../../src/columns/table.ts';
import type { TableSchema, TableSnapshot, TableWrite } from '../../src/columns/table-contract.ts';
import type { TextBounds } from '../../src/columns/text-renewal.ts';
import type { SqlType } from '../../src/columns/types.ts';
import type { Datum } from '../../src/columns/values.ts';
import { VectorBuilder } from '../../src/columns/vector-builder.ts';
import { ALWAYS_RENEWED } from './arbitraries.ts';

const MIB = 2 ** 20;
const SEGMENT_ROWS = 65_536;

const schemaOf = (type: SqlType): TableSchema => ({
  columns: [
    { name: 'id', type: { kind: 'int8' }, nullable: false },
    { name: 'note', type, nullable: true },
  ],
  indexes: [{ name: 'by_note', columnIndexes: [1], unique: false, primary: false }],
  seed: 7,
});

/** A table of ids and notes whose commits are published at once. */
class Notes {
  readonly memory: MemoryAccount;
  readonly table: Table;
  #position = 0;

  constructor(
    limit: number,
    type: SqlType = { kind: 'text' },
    historyBytes = MIB,
    bounds: { readonly texts?: TextBounds } = {},
  ) {
    this.memory = new MemoryAccount('test', undefined, limit);
    const { memory } = this;
    this.table = createTable(schemaOf(type), { memory, historyBytes, ...bounds });
  }

  write(write: TableWrite): void {
    this.table.stage([write], { limits: true });
    this.#position += 1;
    this.table.publish(this.#position);
  }

  insert(notes: readonly Datum[]): void {
    this.write({ kind: 'insert', rows: this.#batch(notes) });
  }

  update(rowId: number, note: Datum): void {
    this.write({ kind: 'update', rowIds: Float64Array.of(rowId), rows: this.#batch([note]) });
  }

  delete(from: number, end: number): void {
    const rowIds = Float64Array.from({ length: end - from }, (_, row) => from + row);
    this.write({ kind: 'delete', rowIds });
  }

  maintain(): void {
    while (this.table.maintain(10_000));
  }

  #batch(notes: readonly Datum[]) {
    const [id, note] = this.table.schema.columns;
    return {
      rowCount: notes.length,
      columns: [
        vectorFromData(
          id!.type,
          notes.map((_, index) => index),
        ),
        vectorFromData(note!.type, notes),
      ],
    };
  }
}

function notesOf(snapshot: TableSnapshot): Datum[] {
  const scan = snapshot.scan({ columnIndexes: [1], ordered: true, withRowIds: true });
  const notes: Datum[] = [];
  for (let batch = scan.next(); batch !== undefined; batch = scan.next())
    for (let row = 0; row < batch.rowCount; row += 1)
      notes.push(datumAt(batch.columns[0]!, batch.selection?.[row] ?? row));
  return notes;
}

const longText = (nth: number): string => `${nth} `.padEnd(20_000, 'x');

test.each([
  ['with upkeep', true],
  ['without', false],
])('one row that is given another long text again and again fits where a few fit, %s', (_, has) => {
  const notes = new Notes(4 * MIB);
  notes.insert(['first']);
  for (let nth = 0; nth < 2000; nth += 1) {
    notes.update(0, longText(nth));
    if (has && notes.table.needsUpkeep) notes.maintain();
  }
  const snapshot = notes.table.snapshot();
  expect(notesOf(snapshot)).toEqual([longText(1999)]);
  expect([...snapshot.lookup('by_note', [longText(1999)])]).toEqual([0]);
  expect([...snapshot.lookup('by_note', [longText(1998)])]).toEqual([]);
  snapshot.release();
  notes.table.close();
  expect(notes.memory.usedBytes).toBe(0);
});

test('bytes that are overwritten where they stand, too', () => {
  const notes = new Notes(4 * MIB, { kind: 'bytea' });
  notes.insert([new Uint8Array(3)]);
  for (let nth = 0; nth < 2000; nth += 1) notes.update(0, new Uint8Array(20_000).fill(nth));
  const snapshot = notes.table.snapshot();
  expect(notesOf(snapshot)).toEqual([new Uint8Array(20_000).fill(1999)]);
  snapshot.release();
  notes.table.close();
  expect(notes.memory.usedBytes).toBe(0);
});

test('rows that come with texts of their own and go again leave nothing', () => {
  const notes = new Notes(64 * MIB);
  let next = 0;
  let most = 0;
  for (let round = 0; round < 12; round += 1) {
    const from = next;
    // Sealed segments, and open rows behind them.
    const count = round % 3 === 0 ? 70_000 : 20_000;
    notes.insert(Array.from({ length: count }, (_, row) => `note ${next + row} of many`));
    next += count;
    notes.maintain();
    notes.delete(from, next - 10);
    for (const { number } of notes.table.segmentsToCompact()) notes.table.compact(number);
    notes.maintain();
    if (round > 2) most = Math.max(most, notes.memory.usedBytes);
  }
  // 440,000 notes were there, of 45 bytes and more each; at most 70,000 at a time, and history holds a megabyte.
  expect(next).toBe(440_000);
  expect(most).toBeLessThan(8 * MIB);
  const snapshot = notes.table.snapshot();
  expect(notesOf(snapshot).length).toBe(120);
  expect(notesOf(snapshot).at(-1)).toBe(`note ${next - 1} of many`);
  snapshot.release();
  notes.table.close();
  expect(notes.memory.usedBytes).toBe(0);
});

test('a truncated table forgets its texts', () => {
  const notes = new Notes(64 * MIB);
  notes.insert(Array.from({ length: 100 }, (_, nth) => longText(nth)));
  notes.write({ kind: 'truncate' });
  for (let nth = 0; nth < 40; nth += 1) notes.insert([`short ${nth}`]);
  for (let nth = 0; nth < 20; nth += 1) notes.delete(100 + nth, 101 + nth);
  notes.table.expire(Infinity);
  notes.maintain();
  expect(notes.memory.usedBytes).toBeLessThan(MIB);
  notes.table.close();
  expect(notes.memory.usedBytes).toBe(0);
});

test('a reader keeps the texts he sees, and they are counted until he has gone', () => {
  const notes = new Notes(64 * MIB);
  const first = Array.from({ length: 100 }, (_, nth) => longText(nth));
  notes.insert(first);
  const reader = notes.table.snapshot();
  notes.delete(0, 100);
  for (let nth = 0; nth < 20; nth += 1) notes.insert([`short ${nth}`]);
  for (let nth = 0; nth < 20; nth += 1) notes.update(100 + nth, `other ${nth}`);
  notes.table.expire(Infinity);
  notes.maintain();
  expect(notes.memory.usedBytes).toBeGreaterThan(100 * 20_000);
  expect(notesOf(reader)).toEqual(first);
  reader.release();
  for (let nth = 0; nth < 20; nth += 1) notes.update(100 + nth, longText(nth % 3));
  notes.table.expire(Infinity);
  notes.maintain();
  expect(notes.memory.usedBytes).toBeLessThan(MIB);
  notes.table.close();
  expect(notes.memory.usedBytes).toBe(0);
});

test('what an undone truncation brings back moves, too, before its texts are given up', () => {
  const notes = new Notes(64 * MIB);
  notes.insert(Array.from({ length: 100 }, (_, nth) => longText(nth)));
  notes.delete(0, 90);
  for (let nth = 0; nth < 20; nth += 1) notes.update(99, `other ${nth}`);
  notes.table.stage([{ kind: 'truncate' }], { limits: true });
  notes.table.expire(Infinity);
  notes.maintain();
  notes.table.undo();
  const living = [...Array.from({ length: 9 }, (_, nth) => longText(90 + nth)), 'other 19'];
  const shown = notes.table.snapshot();
  expect(notesOf(shown)).toEqual(living);
  shown.release();
  for (let nth = 0; nth < 20; nth += 1) notes.update(99, `other ${nth}`);
  notes.table.expire(Infinity);
  notes.maintain();
  expect(notes.memory.usedBytes).toBeLessThan(MIB);
  // Its index, and the open rows, take new texts where the others are.
  notes.insert(Array.from({ length: 20 }, (_, nth) => longText(200 + nth)));
  const snapshot = notes.table.snapshot();
  expect(notesOf(snapshot).slice(0, 10)).toEqual(living);
  expect([...snapshot.lookup('by_note', [longText(98)])]).toEqual([98]);
  expect([...snapshot.lookup('by_note', [longText(219)])]).toEqual([119]);
  snapshot.release();
  notes.table.close();
  expect(notes.memory.usedBytes).toBe(0);
});

test('texts that history alone names count against its bound', () => {
  const notes = new Notes(64 * MIB, { kind: 'text' }, 2 * MIB);
  notes.insert(['first']);
  for (let nth = 0; nth < 400; nth += 1) {
    notes.update(0, longText(nth));
    if (notes.table.needsUpkeep) notes.maintain();
  }
  // 8 MB of texts.
  expect(notes.memory.usedBytes).toBeLessThan(5 * MIB);
  expect(notes.table.covers(399)).toBe(true);
  expect(notes.table.covers(100)).toBe(false);
  const before = notes.table.snapshotAt(399)!;
  expect(notesOf(before)).toEqual([longText(397)]);
  before.release();
  notes.table.close();
  expect(notes.memory.usedBytes).toBe(0);
});

test('a column that is dropped gives its bytes back once, though segments have other texts by then', () => {
  const notes = new Notes(64 * MIB, { kind: 'text' }, MIB, { texts: ALWAYS_RENEWED });
  const { table, memory } = notes;
  notes.insert(Array.from({ length: 70_000 }, (_, nth) => `note ${nth % 1000}`));
  notes.maintain();
  table.addColumn({ name: 'more', type: { kind: 'int8' }, nullable: true }, null);
  const reader = table.snapshot();
  table.dropColumn(0);
  notes.delete(0, 1000);
  notes.maintain();
  reader.release();
  notes.delete(1000, 40_000);
  table.compact(0);
  notes.maintain();
  notes.write({ kind: 'truncate' });
  notes.maintain();
  table.expire(Infinity);
  table.close();
  expect(memory.usedBytes).toBe(0);
});

test('an index that is being built moves along, and is not there where it is given up', () => {
  const count = 20_000;
  for (let stop = 1, isBuilt = false; !isBuilt; stop += 1) {
    const notes = new Notes(64 * MIB, { kind: 'text' }, MIB, { texts: ALWAYS_RENEWED });
    const { table, memory } = notes;
    notes.insert(Array.from({ length: count }, (_, nth) => `note ${nth}`));
    table.dropIndex('by_note');
    const index = { name: 'built', columnIndexes: [1], unique: false, primary: false };
    const steps = table.addIndexInSteps(index);
    // What was staged before it began is published meanwhile.
    for (let nth = 0; nth < 30; nth += 1)
      table.stage([{ kind: 'delete', rowIds: Float64Array.of(nth) }], { limits: true });
    for (let step = 0; step < stop && !isBuilt; step += 1) {
      isBuilt = steps.next().done === true;
      table.publish(2 + step);
      notes.maintain();
    }
    if (isBuilt) {
      const snapshot = table.snapshot();
      for (let nth = 30; nth < count; nth += 7)
        expect(snapshot.lookup('built', [`note ${nth}`])).toEqual(Float64Array.of(nth));
      snapshot.release();
    } else {
      steps.return();
      expect(table.schema.indexes).toEqual([]);
    }
    table.close();
    expect(memory.usedBytes).toBe(0);
  }
});

test('a column of bytes is a list that is written to, cut and extended, in twice its bytes', () => {
  const bytes = fc.oneof(
    { weight: 4, arbitrary: fc.nat(40_000) },
    { weight: 1, arbitrary: fc.constantFrom(0, null) },
  );
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('set'), at: fc.nat(), bytes }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('append'), at: fc.nat(), bytes }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut'), at: fc.nat(), bytes }) },
  );
  fc.assert(
    fc.property(fc.array(step, { minLength: 50, maxLength: 200 }), (steps) => {
      const memory = new MemoryAccount('test');
      const column = new VectorBuilder(
        { kind: 'bytea' },
        { lease: new MemoryLease(memory), raw: true },
      );
      const list: (Uint8Array | null)[] = [];
      steps.forEach(({ kind, at, bytes: length }, nth) => {
        const value = length === null ? null : new Uint8Array(length).fill(nth);
        if (kind === 'append' || list.length === 0) {
          list.push(value);
          column.appendDatum(value);
        } else if (kind === 'set') {
          list[at % list.length] = value;
          column.setDatum(at % list.length, value);
        } else {
          list.length = at % (list.length + 1);
          column.truncate(list.length);
        }
      });
      const vector = column.slice(0, list.length);
      list.forEach((value, row) => {
        const datum = datumAt(vector, row) as Uint8Array | null;
        // Told byte by byte, they take seconds.
        expect(datum === null).toBe(value === null);
        if (value !== null) expect(Buffer.compare(datum!, value)).toBe(0);
      });
      const living = list.reduce((sum, value) => sum + (value?.length ?? 0), 0);
      expect(memory.usedBytes).toBeLessThan(2 * living + 2.5 * MIB);
      column.close();
      expect(memory.usedBytes).toBe(0);
    }),
    { numRuns: 40 },
  );
});

test('segments are as many rows as this test takes them for', () => {
  expect(SEGMENT_ROWS).toBeLessThan(70_000);
});
