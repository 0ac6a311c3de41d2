import { assert } from '../base/errors.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import type { Batch } from './batch.ts';
import { slabDoubles, slabInts } from '../base/slab.ts';
import { denseBatch } from './build.ts';
import { equalCells, isNullAt } from './cells.ts';
import { duplicateInTable, duplicateRefused } from './constraint-errors.ts';
import { PostingIndex } from './posting-index.ts';
import { placeOf, stateOf } from './segment.ts';
import type { SegmentStore } from './segment-store.ts';
import { cellEquals, type Snapshot, type TableIndex } from './snapshot.ts';
import type { StoredColumn } from './stored-column.ts';
import type { IndexSchema, TableSchema } from './table-contract.ts';
import { isIntegerType } from './types.ts';
import { hashOfKey, UniqueIndex, type KeyReader } from './unique-index.ts';
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
  readonly #building = new Set<TableIndex>();
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

  /** Those that hold their keys, be they complete or not. */
  get postings(): readonly PostingIndex[] {
    return [...this.#indexes, ...this.#building].filter((index) => index instanceof PostingIndex);
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
  *build(schema: IndexSchema, snapshot: Snapshot, logFrom: number): Generator<number, void> {
    const index = this.#make(schema);
    this.#building.add(index);
    let isDone = false;
    try {
      const scan = snapshot.scan({
        columnIndexes: schema.columnIndexes,
        ordered: true,
        withRowIds: true,
      });
      for (let batch = scan.next(); batch !== undefined; batch = scan.next()) {
        const { columns, rowIds, rowCount } = denseBatch(batch);
        if (rowIds![rowCount - 1]! - rowIds![0]! === rowCount - 1) {
          const refused = this.#insertAll(index, columns, 0, rowCount, rowIds![0]!);
          if (refused >= 0) throw duplicateInTable(this.#schema(), schema, columns, refused);
          yield rowCount;
          continue;
        }
        for (let row = 0; row < rowCount; row += 1) {
          if (!this.#insert(index, columns, row, rowIds![row]!))
            throw duplicateInTable(this.#schema(), schema, columns, row);
        }
        yield rowCount;
      }
      isDone = true;
    } finally {
      this.#building.delete(index);
      // Refused, or given up at a yield.
      if (!isDone) index.close();
    }
    this.#set([...this.#current, { index, logFrom }]);
  }

  drop(name: string, retire: (close: () => void) => void): void {
    const entry = this.#current.find(({ index }) => index.schema.name === name);
    assert(entry !== undefined, 'an index that is dropped is there');
    this.#set(this.#current.filter((each) => each !== entry));
    retire(() => entry.index.close());
  }

  /** The same indexes, one of which may have another name. */
  rename(schemas: readonly IndexSchema[]): void {
    assert(schemas.length === this.#current.length, 'renaming keeps the number of indexes');
    const isHere = new Set(this.schemas.map(({ name }) => name));
    const [other] = schemas.filter(({ name }) => !isHere.has(name));
    if (other === undefined) return;
    const [index] = this.#indexes.filter(({ schema }) =>
      schemas.every(({ name }) => name !== schema.name),
    );
    index!.schema = { ...index!.schema, name: other.name };
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
        refused = this.#insertAll(index, keys, 0, rows.rowCount, firstRowId);
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

  /** Takes back what `insertRange` added. */
  removeRange(rows: Batch, firstRowId: number): void {
    for (const index of this.#indexes) this.#removeAll(index, rows, firstRowId);
  }

  /**
   * Adds what a staged entry brings: new rows, and new keys of rows overwritten in place. Throws 23505 with nothing added. True:
   * some row has got another key, and the pair of the old one is left behind. `unchanged`: the unique index in which each row keeps its key.
   */
  apply(entry: LogEntry, unchanged?: string): boolean {
    let isKeyChanged = false;
    const { insertedCount } = entry;
    if (insertedCount === 0) return false;
    const singles = singlesOf(entry);
    for (let position = 0; position < this.#indexes.length; position += 1) {
      const index = this.#indexes[position]!;
      const keys = insertedKeys(index, entry);
      const isUnchanged = index.schema.name === unchanged;
      for (let row = 0; row < singles; row += 1) {
        const isKept = entry.insertedRowId(row) < entry.nextRowIdBefore;
        if ((isKept && isUnchanged) || !bringsKey(index, entry, row)) continue;
        if (isKept) {
          isKeyChanged = true;
          if (index instanceof UniqueIndex) index.keyChanged();
        }
        let isAdded = false;
        try {
          isAdded = this.#insert(index, keys, entry.insertedIndex(row), entry.insertedRowId(row));
        } finally {
          if (!isAdded) this.#takeBack(entry, position, row);
        }
        if (!isAdded)
          throw duplicateRefused(this.#schema(), index.schema, keys, entry.insertedIndex(row));
      }
      if (singles === insertedCount) continue;
      const start = entry.insertedIndex(singles);
      let refused = start;
      let isDone = false;
      try {
        refused = this.#insertAll(
          index,
          keys,
          start,
          insertedCount - singles,
          entry.insertedRowId(singles),
          isUnchanged,
        );
        isDone = refused < 0;
      } finally {
        if (!isDone) this.#takeBack(entry, position, singles);
      }
      if (!isDone) throw duplicateRefused(this.#schema(), index.schema, keys, refused);
    }
    return isKeyChanged;
  }

  /** Takes back what `insertRange` or `apply` added for this entry. */
  undo(entry: LogEntry): void {
    this.#takeBack(entry, this.#indexes.length, 0);
  }

  /** From all indexes before `end`, and from that one for the rows before `endRow`. */
  #takeBack(entry: LogEntry, end: number, endRow: number): void {
    if (entry.insertedCount === 0) return;
    for (let position = 0; position <= end && position < this.#indexes.length; position += 1) {
      const index = this.#indexes[position]!;
      const keys = insertedKeys(index, entry);
      const count = position === end ? endRow : entry.insertedCount;
      for (let row = 0; row < count; row += 1) {
        if (bringsKey(index, entry, row))
          index.remove(keys, entry.insertedIndex(row), entry.insertedRowId(row));
      }
    }
  }

  forgetFrom(nextRowId: number): void {
    for (const index of this.#indexes)
      if (index instanceof UniqueIndex) index.forgetFrom(nextRowId);
  }

  /** Of the rows with ids below none is there, for anybody. */
  forgetBefore(rowId: number): void {
    for (const index of this.#indexes) if (index instanceof UniqueIndex) index.forgetBefore(rowId);
  }

  /** The pairs of old rows [start, end) of an entry: of rows that are gone, and of keys that were overwritten. */
  reclaim(entry: LogEntry, start: number, end: number): void {
    for (const { index, logFrom } of this.#current) {
      if (entry.sequence < logFrom) continue;
      if (index instanceof UniqueIndex && index.areRunsWhole) {
        reclaimKeys(index, entry, start, end);
        continue;
      }
      let keys: readonly Vector[] | undefined;
      for (let row = start; row < end; row += 1) {
        const rowId = entry.deletedRowId(row);
        keys ??= deletedKeys(index, entry);
        // Only what was overwritten is among the inserted rows too.
        const now = entry.hasOverwritten ? entry.insertedRow(rowId) : -1;
        const at = entry.deletedIndex(row);
        if (now >= 0 && sameKey(keys, at, insertedKeys(index, entry), entry.insertedIndex(now)))
          continue;
        index.remove(keys, at, rowId);
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
    if (!this.#store.isLive(rowId)) return false;
    const { segment } = stateOf(this.#store.list, rowId)!;
    const place = placeOf(segment, rowId);
    const columns = this.#columns();
    for (let position = 0; position < columnIndexes.length; position += 1) {
      const column = columns[columnIndexes[position]!]!;
      if (!cellEquals(segment, column, place, keys[position]!, row)) return false;
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

  /** Entries [start, start + rowCount) of the keys: −1, or the entry that is refused, and then none was added. */
  #insertAll(
    index: TableIndex,
    keys: readonly Vector[],
    start: number,
    rowCount: number,
    firstRowId: number,
    isUnchanged = false,
  ): number {
    if (index instanceof UniqueIndex)
      return index.insertRange(keys, start, rowCount, firstRowId, isUnchanged ? undefined : this);
    index.insertRange(keys, start, rowCount, firstRowId);
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

function insertedKeys(index: TableIndex, entry: LogEntry): readonly Vector[] {
  return index.schema.columnIndexes.map((column) => entry.insertedVector(column));
}

function deletedKeys(index: TableIndex, entry: LogEntry): readonly Vector[] {
  return index.schema.columnIndexes.map((column) => entry.deletedVector(column));
}

/** How many of an entry's inserted rows are indexed one by one: the rows behind them are new, with consecutive ids. */
function singlesOf(entry: LogEntry): number {
  const { insertedCount } = entry;
  const kept = entry.insertedRowsBelow(entry.nextRowIdBefore);
  if (kept === insertedCount) return kept;
  // New rows that died in the same commit leave gaps.
  const span = entry.insertedRowId(insertedCount - 1) - entry.insertedRowId(kept) + 1;
  return span === insertedCount - kept ? kept : insertedCount;
}

/** Whether the entry's inserted row `row` brings a key that the index does not have for it yet. */
function bringsKey(index: TableIndex, entry: LogEntry, row: number): boolean {
  const rowId = entry.insertedRowId(row);
  if (rowId >= entry.nextRowIdBefore) return true;
  // Where rows are overwritten and nothing else happens they are the last to be deleted, in the same order.
  const guess = entry.deletedCount - entry.insertedCount + row;
  const old = guess >= 0 && entry.deletedRowId(guess) === rowId ? guess : entry.deletedRow(rowId);
  assert(old >= 0, 'a row that was there before is in both halves of its delta');
  for (const column of index.schema.columnIndexes) {
    const isSame = sameCell(
      entry.deletedVector(column),
      entry.deletedIndex(old),
      entry.insertedVector(column),
      entry.insertedIndex(row),
    );
    if (!isSame) return true;
  }
  return false;
}

function sameKey(a: readonly Vector[], aRow: number, b: readonly Vector[], bRow: number): boolean {
  for (let position = 0; position < a.length; position += 1) {
    if (!sameCell(a[position]!, aRow, b[position]!, bRow)) return false;
  }
  return true;
}

/** `IndexSet.reclaim` for keys that are single integers and have never changed where they stand. */
function reclaimKeys(index: UniqueIndex, entry: LogEntry, start: number, end: number): void {
  const column = index.schema.columnIndexes[0]!;
  const hashes = slabInts(end - start);
  const rowIds = slabDoubles(end - start);
  let count = 0;
  for (let row = start; row < end; row += 1) {
    const rowId = entry.deletedRowId(row);
    if (index.isRowInRuns(rowId)) continue;
    // Rows that were overwritten and live have the key that they had.
    if (entry.isOverwritten(row) && entry.insertedRow(rowId) >= 0) continue;
    const key = entry.deletedNumber(column, row);
    if (key !== key) {
      // No double, or NULL.
      index.remove([entry.deletedVector(column)], entry.deletedIndex(row), rowId);
      continue;
    }
    hashes[count] = hashOfKey(key);
    rowIds[count] = rowId;
    count += 1;
  }
  index.removeHashed(hashes, rowIds, count);
}

/** Equal, or both NULL. */
function sameCell(a: Vector, aRow: number, b: Vector, bRow: number): boolean {
  const aNull = isNullAt(a, aRow);
  if (aNull !== isNullAt(b, bRow)) return false;
  return aNull || equalCells(a, aRow, b, bRow);
}
