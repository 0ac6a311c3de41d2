import { assert } from '../base/errors.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import type { Batch } from './batch.ts';
import { denseBatch } from './build.ts';
import { equalCells, isNullAt } from './cells.ts';
import { duplicateInTable, duplicateRefused } from './constraint-errors.ts';
import { PostingIndex } from './posting-index.ts';
import type { SegmentStore } from './segment-store.ts';
import { cellEquals, type Snapshot, type TableIndex } from './snapshot.ts';
import type { StoredColumn } from './stored-column.ts';
import type { IndexSchema, TableDelta, TableSchema } from './table-contract.ts';
import { isIntegerType } from './types.ts';
import { UniqueIndex, type KeyReader } from './unique-index.ts';
import type { Vector } from './vector.ts';
import type { LogEntry } from './version-log.ts';

/**
 * The indexes of a table, kept with its newest (staged) state. A row that arrives or gets another key is added at once; the pairs of
 * what is gone stay until no reader can need them (`reclaim`), so a look-up in an older snapshot finds them.
 */
export class IndexSet implements KeyReader {
  readonly #lease: MemoryLease;
  readonly #store: SegmentStore;
  readonly #columns: () => readonly StoredColumn[];
  readonly #schema: () => TableSchema;
  #current: readonly Entry[] = [];
  #indexes: readonly TableIndex[] = [];
  /** What staged truncations replaced, oldest first. */
  readonly #replaced: (readonly Entry[])[] = [];

  constructor(
    lease: MemoryLease,
    store: SegmentStore,
    columns: () => readonly StoredColumn[],
    schema: () => TableSchema,
  ) {
    this.#lease = lease;
    this.#store = store;
    this.#columns = columns;
    this.#schema = schema;
  }

  get all(): readonly TableIndex[] {
    return this.#indexes;
  }

  /** For readers of published state: a truncation that is only staged has not taken place for them. */
  get published(): readonly TableIndex[] {
    return this.#replaced.length === 0
      ? this.#indexes
      : this.#replaced[0]!.map(({ index }) => index);
  }

  get schemas(): readonly IndexSchema[] {
    return this.#indexes.map(({ schema }) => schema);
  }

  get isEmpty(): boolean {
    return this.#current.length === 0;
  }

  /** Whether the column alone is unique. */
  isUniqueAlone(column: number): boolean {
    return this.#indexes.some(
      ({ schema }) =>
        schema.unique && schema.columnIndexes.length === 1 && schema.columnIndexes[0] === column,
    );
  }

  /** An empty index; `logFrom`: log entries before it are none of its business. */
  add(schema: IndexSchema, logFrom: number): TableIndex {
    const index = this.#make(schema);
    this.#set([...this.#current, { index, logFrom }]);
    return index;
  }

  /** Adds an index over the rows that a snapshot of the newest state shows, or throws 23505 and adds none. */
  build(schema: IndexSchema, snapshot: Snapshot, logFrom: number): void {
    const index = this.#make(schema);
    try {
      const scan = snapshot.scan({
        columnIndexes: schema.columnIndexes,
        ordered: true,
        withRowIds: true,
      });
      for (let batch = scan.next(); batch !== undefined; batch = scan.next()) {
        const { columns, rowIds, rowCount } = denseBatch(batch);
        if (rowIds![rowCount - 1]! - rowIds![0]! === rowCount - 1) {
          const refused = this.#insertAll(index, columns, rowCount, rowIds![0]!);
          if (refused >= 0) throw duplicateInTable(this.#schema(), schema, columns, refused);
          continue;
        }
        for (let row = 0; row < rowCount; row += 1) {
          if (!this.#insert(index, columns, row, rowIds![row]!))
            throw duplicateInTable(this.#schema(), schema, columns, row);
        }
      }
    } catch (cause) {
      index.close();
      throw cause;
    }
    this.#set([...this.#current, { index, logFrom }]);
  }

  drop(name: string, retire: (close: () => void) => void): void {
    const entry = this.#current.find(({ index }) => index.schema.name === name);
    assert(entry !== undefined, 'an index that is dropped is there');
    this.#set(this.#current.filter((each) => each !== entry));
    retire(() => entry.index.close());
  }

  columnDropped(column: number): void {
    for (const { index } of this.#current) {
      const columnIndexes = index.schema.columnIndexes.map((each) =>
        each > column ? each - 1 : each,
      );
      index.schema = { ...index.schema, columnIndexes };
    }
  }

  /** Rows of a batch under consecutive row ids. Throws 23505 (or 53200) with nothing added. */
  insertRange(rows: Batch, firstRowId: number): void {
    for (let done = 0; done < this.#indexes.length; done += 1) {
      const index = this.#indexes[done]!;
      const keys = keysOf(index, rows);
      let refused = 0;
      let isDone = false;
      try {
        refused = this.#insertAll(index, keys, rows.rowCount, firstRowId);
        isDone = refused < 0;
      } finally {
        if (!isDone) {
          for (let before = 0; before < done; before += 1)
            this.#removeAll(this.#indexes[before]!, rows, firstRowId);
        }
      }
      if (!isDone) throw duplicateRefused(this.#schema(), index.schema, keys, refused);
    }
  }

  /** Adds what a delta brings: new rows, and new keys of rows overwritten in place. Throws 23505 with nothing added. */
  apply(delta: TableDelta, nextRowIdBefore: number): void {
    const { inserted } = delta;
    if (inserted === undefined) return;
    const added: {
      readonly index: TableIndex;
      readonly keys: readonly Vector[];
      readonly row: number;
    }[] = [];
    let refused:
      | { readonly index: TableIndex; readonly keys: readonly Vector[]; readonly row: number }
      | undefined;
    let isDone = false;
    try {
      all: for (const index of this.#indexes) {
        const keys = keysOf(index, inserted);
        for (let row = 0; row < inserted.rowCount; row += 1) {
          if (!bringsKey(index, delta, row, nextRowIdBefore)) continue;
          if (!this.#insert(index, keys, row, inserted.rowIds![row]!)) {
            refused = { index, keys, row };
            break all;
          }
          added.push({ index, keys, row });
        }
      }
      isDone = refused === undefined;
    } finally {
      if (!isDone)
        for (const { index, keys, row } of added) index.remove(keys, row, inserted.rowIds![row]!);
    }
    if (refused !== undefined)
      throw duplicateRefused(this.#schema(), refused.index.schema, refused.keys, refused.row);
  }

  /** Takes back what `insertRange` or `apply` added for this entry. */
  undo(entry: LogEntry): void {
    const { inserted } = entry.delta;
    if (inserted === undefined) return;
    for (const index of this.#indexes) {
      const keys = keysOf(index, inserted);
      for (let row = 0; row < inserted.rowCount; row += 1) {
        if (bringsKey(index, entry.delta, row, entry.nextRowIdBefore))
          index.remove(keys, row, inserted.rowIds![row]!);
      }
    }
  }

  forgetFrom(nextRowId: number): void {
    for (const index of this.#indexes)
      if (index instanceof UniqueIndex) index.forgetFrom(nextRowId);
  }

  /** The pairs of old rows [start, end) of an entry: of rows that are gone, and of keys that were overwritten. */
  reclaim(entry: LogEntry, start: number, end: number): void {
    const { deleted, inserted } = entry.delta;
    if (deleted === undefined) return;
    for (const { index, logFrom } of this.#current) {
      if (entry.sequence < logFrom) continue;
      const keys = keysOf(index, deleted);
      for (let row = start; row < end; row += 1) {
        const rowId = deleted.rowIds![row]!;
        const now = rowNumberOf(inserted, rowId);
        if (now >= 0 && sameKey(keys, row, keysOf(index, inserted!), now)) continue;
        index.remove(keys, row, rowId);
      }
    }
  }

  /** All rows go: new indexes take the place of these, which stay for readers and for undo. */
  clear(logFrom: number): void {
    this.#replaced.push(this.#current);
    this.#set(this.#current.map(({ index }) => ({ index: this.#make(index.schema), logFrom })));
  }

  /** Undoes the newest `clear`. */
  unclear(): void {
    const before = this.#replaced.pop();
    assert(before !== undefined, 'only a truncation is taken back');
    for (const { index } of this.#current) index.close();
    this.#set(before);
  }

  /** The oldest `clear` is published. */
  cleared(retire: (close: () => void) => void): void {
    const before = this.#replaced.shift();
    assert(before !== undefined, 'a truncation was staged before');
    retire(() => {
      for (const { index } of before) index.close();
    });
  }

  hasKey(
    rowId: number,
    columnIndexes: readonly number[],
    keys: readonly Vector[],
    row: number,
  ): boolean {
    const found = this.#store.find(rowId);
    if (found === undefined) return false;
    const columns = this.#columns();
    for (let position = 0; position < columnIndexes.length; position += 1) {
      if (
        !cellEquals(
          found.segment,
          columns[columnIndexes[position]!]!,
          found.place,
          keys[position]!,
          row,
        )
      )
        return false;
    }
    return true;
  }

  #make(schema: IndexSchema): TableIndex {
    const columns = this.#columns();
    const types = schema.columnIndexes.map((column) => columns[column]!.type);
    if (schema.unique)
      return new UniqueIndex(schema, this.#lease, types.length === 1 && isIntegerType(types[0]!));
    return new PostingIndex(
      schema,
      this.#lease,
      schema.columnIndexes.map((column) => columns[column]!),
    );
  }

  #set(entries: readonly Entry[]): void {
    this.#current = entries;
    this.#indexes = entries.map(({ index }) => index);
  }

  /** −1, or the row that is refused. */
  #insertAll(
    index: TableIndex,
    keys: readonly Vector[],
    rowCount: number,
    firstRowId: number,
  ): number {
    if (index instanceof UniqueIndex) return index.insertRange(keys, rowCount, firstRowId, this);
    index.insertRange(keys, rowCount, firstRowId);
    return -1;
  }

  #insert(index: TableIndex, keys: readonly Vector[], row: number, rowId: number): boolean {
    if (index instanceof UniqueIndex) return index.insert(keys, row, rowId, this);
    index.insert(keys, row, rowId);
    return true;
  }

  #removeAll(index: TableIndex, rows: Batch, firstRowId: number): void {
    const keys = keysOf(index, rows);
    for (let row = 0; row < rows.rowCount; row += 1) index.remove(keys, row, firstRowId + row);
  }
}

type Entry = { readonly index: TableIndex; readonly logFrom: number };

function keysOf(index: TableIndex, rows: Batch): readonly Vector[] {
  return index.schema.columnIndexes.map((column) => rows.columns[column]!);
}

/** Whether row `row` of the delta's new rows brings a key that the index does not have for it yet. */
function bringsKey(
  index: TableIndex,
  delta: TableDelta,
  row: number,
  nextRowIdBefore: number,
): boolean {
  const rowId = delta.inserted!.rowIds![row]!;
  if (rowId >= nextRowIdBefore) return true;
  const old = rowNumberOf(delta.deleted, rowId);
  assert(old >= 0, 'a row that was there before is in both halves of its delta');
  return !sameKey(keysOf(index, delta.deleted!), old, keysOf(index, delta.inserted!), row);
}

function sameKey(a: readonly Vector[], aRow: number, b: readonly Vector[], bRow: number): boolean {
  for (let position = 0; position < a.length; position += 1) {
    const aNull = isNullAt(a[position]!, aRow);
    if (aNull !== isNullAt(b[position]!, bRow)) return false;
    if (!aNull && !equalCells(a[position]!, aRow, b[position]!, bRow)) return false;
  }
  return true;
}

/** The number of the row with this id in a batch in row-id order, or −1. */
export function rowNumberOf(batch: Batch | undefined, rowId: number): number {
  if (batch === undefined) return -1;
  const rowIds = batch.rowIds!;
  let low = 0;
  let high = batch.rowCount;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (rowIds[middle]! < rowId) low = middle + 1;
    else high = middle;
  }
  return low < batch.rowCount && rowIds[low] === rowId ? low : -1;
}
