import { assert } from '../base/errors.ts';
import { isPiece, slabDoubles, slabInts } from '../base/slab.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import type { Batch } from './batch.ts';
import { datumAt } from './build.ts';
import { cellNumber } from './cells.ts';
import { CellSource, readFarCells } from './far-cells.ts';
import { InsertedRows, type SegmentImage } from './inserted-rows.ts';
import { LazyRows } from './lazy-rows.ts';
import { appendLocated, type LocatedRows, type Run } from './row-fetch.ts';
import { columnOf, RowsByColumn } from './rows-by-column.ts';
import { StandingRows } from './standing-rows.ts';
import type { SealedSegment } from './segment.ts';
import type { StoredColumn } from './stored-column.ts';
import type { TableDelta } from './table-contract.ts';
import { isNumberKind } from './types.ts';
import { keptColumn, sliceVector, type NumberVector, type Vector } from './vector.ts';
import { objectBytes, VectorBuilder } from './vector-builder.ts';

/** Rows a chunk of old and new rows holds. */
const CHUNK_ROWS = 2048;
/** And so many bytes of values that are bytes: a chunk goes as a whole, when all its entries have left. */
const CHUNK_RAW_BYTES_MAX = 2 ** 19;
/** Deltas up to this size are copied into chunks; larger ones are kept as they are. */
export const COPIED_ROWS_MAX = 64;
/** The same where old rows are copied from where they stand: then there is nothing yet that could be kept. */
export const COPIED_IN_PLACE_ROWS_MAX = 512;
/** So few rows are read from the whole columns of their chunk. */
const FEW_ROWS_MAX = 8;
/** What an entry is beside its rows. */
const ENTRY_BYTES = 160;
/** And where its rows lie in segments: what says in which. */
const SEALED_BYTES = 160;

/**
 * The latest deltas of a table in order: first those published, then those staged. It alone serves readers of the past,
 * changefeeds and undo. Published ones leave when they exceed the byte bound and nobody needs them.
 *
 * Small deltas are copied into shared columns: thousands of commits then keep a handful of arrays alive, not tens of
 * thousands of small ones for the collector to move (measured: 15 µs an update with them, 3 without). Of larger ones the rows that
 * arrived are let go once the segments that hold them are sealed, which do not change any more: what a load leaves behind is where
 * its rows lie.
 */
export class VersionLog {
  readonly #lease: MemoryLease;
  readonly byteLimit: number;
  readonly #entries: (LogEntry | undefined)[] = [];
  /** Index of the oldest entry in `#entries`; the room before it is taken back now and then. */
  #head = 0;
  #firstSequence = 0;
  /** Positions before this one cannot be told any more. */
  #coveredFrom = 0;
  #chunk: LogChunk | undefined;
  /** Entries whose inserted rows have arrays of their own, in the order of row ids, until they are sealed or leave the log. */
  #unsealed: LogEntry[] = [];

  constructor(memory: MemoryAccount | undefined, byteLimit: number) {
    this.#lease = new MemoryLease(memory);
    this.byteLimit = byteLimit;
  }

  get firstSequence(): number {
    return this.#firstSequence;
  }

  /** The sequence of the next entry. */
  get endSequence(): number {
    return this.#firstSequence + this.#entries.length - this.#head;
  }

  get byteLength(): number {
    return this.#lease.bytes;
  }

  set limits(limits: boolean) {
    this.#lease.limits = limits;
  }

  covers(position: number): boolean {
    return position >= this.#coveredFrom;
  }

  entry(sequence: number): LogEntry {
    const entry = this.#entries[this.#head + sequence - this.#firstSequence];
    assert(entry !== undefined, 'an entry that is asked for is in the log');
    return entry;
  }

  /**
   * Appends an entry. `isOverwritten[i]` is 1 where row i of `delta.deleted` was overwritten in place. Throws 53200 with nothing
   * changed.
   */
  push(delta: TableDelta, isOverwritten: Uint8Array | undefined, about: LogEntryFacts): LogEntry {
    const deletedCount = delta.deleted?.rowCount ?? 0;
    const insertedCount = delta.inserted?.rowCount ?? 0;
    const isCopied = deletedCount + insertedCount <= COPIED_ROWS_MAX;
    // A truncation's rows are still the segments': counted there, until the next upkeep.
    const oldBytes =
      isCopied || delta.deleted instanceof LazyRows ? 0 : batchBytes(delta.deleted) + deletedCount;
    const newBytes = isCopied ? 0 : batchBytes(delta.inserted);
    const byteLength = ENTRY_BYTES + oldBytes + newBytes;
    this.#lease.take(byteLength);
    const entry = new LogEntry(this.endSequence, about, byteLength);
    try {
      if (isCopied) this.#copy(entry, delta, isOverwritten, deletedCount, insertedCount);
      else entry.keep(delta, isOverwritten, newBytes);
    } catch (cause) {
      this.#lease.give(byteLength);
      throw cause;
    }
    entry.hasOverwritten = isOverwritten !== undefined;
    this.#entries.push(entry);
    if (entry.insertedRows !== undefined) this.#unsealed.push(entry);
    return entry;
  }

  /**
   * A segment was sealed. `overwritten`: row ids between which some of its rows had taken other values by then: who inserted those has the
   * first ones himself.
   */
  sealed(
    image: SegmentImage,
    overwritten: { readonly from: number; readonly end: number } | undefined,
  ): void {
    const unsealed: LogEntry[] = [];
    for (const entry of this.#unsealed) {
      const { firstRowId, endRowId } = entry.insertedRows!;
      if (firstRowId >= image.endRowId) {
        unsealed.push(entry);
        continue;
      }
      // Segments are sealed in the order of row ids: what lies before, and was not, never will be.
      if (endRowId <= image.firstRowId) continue;
      if (overwritten !== undefined && firstRowId < overwritten.end && endRowId > overwritten.from)
        continue;
      if (entry.insertedRows!.seal(image)) {
        const freed = entry.insertedBytes - SEALED_BYTES;
        if (freed > 0) this.#lease.give(freed);
        entry.byteLength -= Math.max(0, freed);
      } else if (endRowId > image.endRowId) unsealed.push(entry);
    }
    this.#unsealed = unsealed;
  }

  /**
   * The same for rows whose old versions are copied from where they stand, column by column: nothing is made for them but the entry.
   * `old` ascends by row id; from row `overwrittenFrom` on they are overwritten in place.
   */
  pushInPlace(
    old: {
      readonly rowIds: Float64Array;
      readonly located: LocatedRows;
      readonly overwrittenFrom: number;
    },
    inserted: Batch | undefined,
    insertedIds: Float64Array,
    about: LogEntryFacts,
  ): LogEntry {
    const deletedCount = old.rowIds.length;
    const insertedCount = inserted?.rowCount ?? 0;
    const count = deletedCount + insertedCount;
    assert(count <= COPIED_IN_PLACE_ROWS_MAX, 'only small deltas are copied');
    this.#lease.take(ENTRY_BYTES);
    const entry = new LogEntry(this.endSequence, about, ENTRY_BYTES);
    try {
      const chunk = this.#chunkFor(entry, count);
      const start = chunk.length;
      try {
        chunk.appendLocated(entry.columns, old.located, old.rowIds, old.overwrittenFrom);
        if (inserted !== undefined) chunk.append(inserted, undefined, insertedIds);
      } catch (cause) {
        chunk.truncate(start);
        throw cause;
      }
      entry.place(chunk, start, deletedCount, insertedCount);
    } catch (cause) {
      this.#lease.give(ENTRY_BYTES);
      throw cause;
    }
    entry.hasOverwritten = old.overwrittenFrom < deletedCount;
    this.#entries.push(entry);
    return entry;
  }

  /** The newest entry, undone. */
  pop(): LogEntry {
    const entry = this.#entries.pop();
    assert(entry !== undefined && entry.position < 0, 'only a staged commit is undone');
    this.#lease.give(entry.byteLength);
    if (this.#unsealed.at(-1) === entry) this.#unsealed.pop();
    return entry;
  }

  /** To be called when what was popped is not looked at any more. */
  popped(entry: LogEntry): void {
    entry.release();
    const { chunk } = entry;
    if (chunk === undefined) return;
    // The newest entry's rows are the chunk's last.
    if (chunk === this.#chunk) chunk.truncate(entry.deletedIndex(0));
  }

  /** Drops the oldest entries while the log is too long, but none from `keepFrom` on. */
  evict(keepFrom: number, byteLimit = this.byteLimit): void {
    while (this.#firstSequence < keepFrom) {
      const { position } = this.entry(this.#firstSequence);
      // Entries that no position reaches back over are of no use, however few they are.
      if (this.#lease.bytes <= byteLimit && !(position >= 0 && position <= this.#coveredFrom))
        return;
      this.#evictFirst();
    }
  }

  /** What lies before `position` is not told any more: it is older than anybody may ask for. */
  expire(position: number): void {
    this.#coveredFrom = Math.max(this.#coveredFrom, position);
  }

  /** What lies before `position` no longer fits the table's columns: it is not told any more. */
  forget(position: number): void {
    this.expire(position);
    // The chunk in use has the old columns.
    this.beginChunk();
  }

  /** What comes next is copied elsewhere: the chunk in use has columns, or names texts, that are no longer the table's. */
  beginChunk(): void {
    this.#chunk?.retire();
    this.#chunk = undefined;
  }

  /** Sequence of the first published entry after `position`, or of the first staged one. */
  firstAfter(position: number): number {
    let low = this.#firstSequence;
    let high = this.endSequence;
    // Who keeps up looks at the end: from there in steps that double, not half-way through entries that nobody has touched for long.
    for (let step = 1; high - step > low; step *= 2) {
      const at = this.entry(high - step).position;
      if (at >= 0 && at <= position) {
        low = high - step + 1;
        break;
      }
      high -= step;
    }
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const at = this.entry(middle).position;
      if (at >= 0 && at <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  close(): void {
    this.#lease.close();
    this.#entries.length = 0;
    this.#head = 0;
    this.#chunk = undefined;
    this.#unsealed = [];
  }

  #copy(
    entry: LogEntry,
    delta: TableDelta,
    isOverwritten: Uint8Array | undefined,
    deletedCount: number,
    insertedCount: number,
  ): void {
    const count = deletedCount + insertedCount;
    if (count === 0) return;
    const chunk = this.#chunkFor(entry, count);
    const start = chunk.length;
    if (delta.deleted !== undefined)
      chunk.append(delta.deleted, isOverwritten, delta.deleted.rowIds!);
    try {
      if (delta.inserted !== undefined)
        chunk.append(delta.inserted, undefined, delta.inserted.rowIds!);
    } catch (cause) {
      chunk.truncate(start);
      throw cause;
    }
    entry.place(chunk, start, deletedCount, insertedCount);
  }

  /** The chunk in use, or a new one where `count` rows do not fit. */
  #chunkFor(entry: LogEntry, count: number): LogChunk {
    if (
      this.#chunk === undefined ||
      this.#chunk.length + count > CHUNK_ROWS ||
      this.#chunk.rawBytes > CHUNK_RAW_BYTES_MAX
    ) {
      const before = this.#chunk;
      before?.retire();
      this.#chunk = undefined;
      this.#chunk = new LogChunk(this.#lease, entry.columns);
      // A table that filled a chunk fills another: it need not grow step by step.
      if (before !== undefined) this.#chunk.reserve();
    }
    return this.#chunk;
  }

  #evictFirst(): void {
    const entry = this.#entries[this.#head]!;
    this.#coveredFrom = Math.max(this.#coveredFrom, entry.position);
    this.#lease.give(entry.byteLength);
    entry.release();
    if (this.#unsealed[0] === entry) this.#unsealed.shift();
    // A hole instead of the entry, until the array is compacted.
    this.#entries[this.#head] = undefined;
    this.#head += 1;
    this.#firstSequence += 1;
    if (this.#head >= 4096 && this.#head * 2 >= this.#entries.length) {
      this.#entries.splice(0, this.#head);
      this.#head = 0;
    }
  }
}

export type LogEntryFacts = {
  /** The stored columns that the columns of the delta are. */
  readonly columns: readonly StoredColumn[];
  /** Of the table before this entry. */
  readonly nextRowIdBefore: number;
  readonly rowCountBefore: number;
  /** The table was truncated: what it deleted is in indexes of its own. */
  readonly isClear: boolean;
};

/** One staged commit's effect on a table: what undoes it, and once published a version of the past. */
export class LogEntry {
  /** Counts entries; the newest ones leave by undo, the oldest by eviction. */
  readonly sequence: number;
  readonly columns: readonly StoredColumn[];
  readonly nextRowIdBefore: number;
  readonly rowCountBefore: number;
  readonly isClear: boolean;
  /** Whether the indexes hold pairs that nobody needs once this is published. */
  leavesGarbage = false;
  /** Whether some deleted row was overwritten in place. */
  hasOverwritten = false;
  /** See `StageOptions`. */
  isMinimal = false;
  byteLength: number;
  /** The part of it that is the arrays of the inserted rows. */
  insertedBytes = 0;
  /** Rows of a large delta that arrived together. */
  insertedRows: InsertedRows | undefined;
  /** −1 until it is published. */
  position = -1;
  deletedCount = 0;
  insertedCount = 0;
  /** Where a small delta's rows are: first the deleted, then the inserted ones, from `#start` on. */
  chunk: LogChunk | undefined;
  #start = 0;
  #kept: TableDelta | undefined;
  #isOverwritten: Uint8Array | undefined;

  constructor(sequence: number, about: LogEntryFacts, byteLength: number) {
    this.sequence = sequence;
    this.columns = about.columns;
    this.nextRowIdBefore = about.nextRowIdBefore;
    this.rowCountBefore = about.rowCountBefore;
    this.isClear = about.isClear;
    this.byteLength = byteLength;
  }

  keep(delta: TableDelta, isOverwritten: Uint8Array | undefined, insertedBytes: number): void {
    const deleted = keptRows(delta.deleted);
    const { inserted } = delta;
    this.#isOverwritten = isOverwritten;
    this.deletedCount = deleted?.rowCount ?? 0;
    this.insertedCount = inserted?.rowCount ?? 0;
    this.insertedBytes = insertedBytes;
    if (inserted !== undefined && this.#isArrival(inserted)) {
      // The first of their ids says them all.
      const { rowCount, rowIds } = inserted;
      const columns = inserted.columns.map(keptColumn);
      this.insertedRows = new InsertedRows(rowIds![0]!, { rowCount, columns }, this.columns);
      this.#kept = { deleted, inserted: undefined };
    } else this.#kept = { deleted, inserted: keptRows(inserted) };
    if (deleted instanceof StandingRows) deleted.pin();
  }

  /** It is looked at no more. */
  release(): void {
    this.chunk?.release();
    const deleted = this.#kept?.deleted;
    if (deleted instanceof StandingRows) deleted.unpin();
  }

  /** Whether all the rows are new, under consecutive row ids. */
  #isArrival({ rowIds, rowCount, selection }: Batch): boolean {
    const first = rowIds![0]!;
    return (
      selection === undefined &&
      rowCount > 0 &&
      first >= this.nextRowIdBefore &&
      rowIds![rowCount - 1]! - first === rowCount - 1
    );
  }

  place(chunk: LogChunk, start: number, deletedCount: number, insertedCount: number): void {
    this.chunk = chunk;
    this.#start = start;
    this.deletedCount = deletedCount;
    this.insertedCount = insertedCount;
    chunk.entryCount += 1;
  }

  get isEmpty(): boolean {
    return this.deletedCount + this.insertedCount === 0;
  }

  /** Row ids of the deleted rows, ascending. */
  deletedRowId(row: number): number {
    return this.chunk === undefined
      ? this.#kept!.deleted!.rowIds![row]!
      : this.chunk.rowIds[this.#start + row]!;
  }

  insertedRowId(row: number): number {
    if (this.insertedRows !== undefined) return this.insertedRows.firstRowId + row;
    return this.chunk === undefined
      ? this.#kept!.inserted!.rowIds![row]!
      : this.chunk.rowIds[this.#start + this.deletedCount + row]!;
  }

  /** Whether deleted row `row` was overwritten in place (most of these are among the inserted rows too). */
  isOverwritten(row: number): boolean {
    if (!this.hasOverwritten) return false;
    const flag =
      this.chunk === undefined
        ? this.#isOverwritten![row]
        : this.chunk.isOverwritten[this.#start + row];
    return flag === 1;
  }

  /** Index of deleted row `row` in `deletedVector`. */
  deletedIndex(row: number): number {
    return this.chunk === undefined ? row : this.#start + row;
  }

  insertedIndex(row: number): number {
    return this.chunk === undefined ? row : this.#start + this.deletedCount + row;
  }

  /** Old values of a column, by `deletedIndex`; valid until the log changes. */
  deletedVector(position: number): Vector {
    return this.chunk === undefined
      ? columnOf(this.#kept!.deleted!, position)
      : this.chunk.vector(position);
  }

  /** The old value of a row in a column of doubles; NaN for NULL, and for what is no double. */
  deletedNumber(position: number, row: number): number {
    if (this.chunk !== undefined) return this.chunk.numberAt(position, this.#start + row);
    const deleted = this.#kept!.deleted!;
    return deleted instanceof StandingRows
      ? deleted.numberAt(position, row)
      : cellNumber(columnOf(deleted, position), row);
  }

  insertedVector(position: number): Vector {
    if (this.insertedRows !== undefined) return this.insertedRows.vector(position);
    return this.chunk === undefined
      ? this.#kept!.inserted!.columns[position]!
      : this.chunk.arrivedVector(position);
  }

  /** The number of the inserted row with this id, or −1. */
  insertedRow(rowId: number): number {
    const row = this.insertedRowsBelow(rowId);
    return row < this.insertedCount && this.insertedRowId(row) === rowId ? row : -1;
  }

  deletedRow(rowId: number): number {
    let low = 0;
    let high = this.deletedCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.deletedRowId(middle) < rowId) low = middle + 1;
      else high = middle;
    }
    return low < this.deletedCount && this.deletedRowId(low) === rowId ? low : -1;
  }

  /** How many of the inserted rows, which ascend, have an id below `end`. */
  insertedRowsBelow(end: number): number {
    let low = 0;
    let high = this.insertedCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.insertedRowId(middle) < end) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  get delta(): TableDelta {
    if (this.insertedRows !== undefined)
      return { deleted: this.#kept!.deleted, inserted: this.insertedRows.batch };
    if (this.#kept !== undefined) return this.#kept;
    if (this.chunk === undefined) return { deleted: undefined, inserted: undefined };
    const middle = this.#start + this.deletedCount;
    return {
      deleted: this.chunk.slice(this.#start, middle),
      inserted: this.chunk.slice(middle, middle + this.insertedCount),
    };
  }

  /** The same for who reads within the commit, or at once: where the rows stand, column by column when somebody looks. */
  get deltaNow(): TableDelta {
    if (this.#kept !== undefined || this.chunk === undefined) return this.delta;
    return { deleted: this.deletedNow, inserted: this.insertedNow };
  }

  /** The same for who reads it at once, before anything is written: of a few rows not even a column is made. */
  get deltaAtOnce(): TableDelta {
    const { chunk } = this;
    if (chunk === undefined || this.deletedCount + this.insertedCount > FEW_ROWS_MAX)
      return this.deltaNow;
    const columns = chunk.wholeColumns();
    if (columns === undefined) return this.deltaNow;
    const middle = this.#start + this.deletedCount;
    return {
      deleted: chunk.selected(columns, this.#start, middle),
      inserted: chunk.selected(columns, middle, middle + this.insertedCount),
    };
  }

  get deletedNow(): Batch | undefined {
    if (this.chunk === undefined) return this.delta.deleted;
    return this.deletedCount === 0
      ? undefined
      : new EntryRows(this.chunk, this.#start, this.deletedCount);
  }

  get insertedNow(): Batch | undefined {
    if (this.chunk === undefined) return this.delta.inserted;
    return this.insertedCount === 0
      ? undefined
      : new EntryRows(this.chunk, this.#start + this.deletedCount, this.insertedCount);
  }
}

/** Rows of a small delta where they stand in the log. To be read within the commit, or at once. */
export class EntryRows extends RowsByColumn {
  readonly #chunk: LogChunk;
  readonly #start: number;

  constructor(chunk: LogChunk, start: number, rowCount: number) {
    super(rowCount, chunk.columnCount);
    this.#chunk = chunk;
    this.#start = start;
  }

  /** The same to be read whenever somebody looks: published rows of a chunk are never written over. */
  lasting(): Batch {
    const end = this.#start + this.rowCount;
    return new LastingRows(
      this.#chunk.lastingColumns(this.#start, end),
      this.#start,
      this.rowCount,
    );
  }

  protected makeColumn(index: number): Vector {
    return this.#chunk.columnWindow(index, this.#start, this.#start + this.rowCount);
  }

  protected makeRowIds(): Float64Array {
    const rowIds = slabDoubles(this.rowCount);
    rowIds.set(this.#chunk.rowIds.subarray(this.#start, this.#start + this.rowCount));
    return rowIds;
  }
}

class LastingRows extends RowsByColumn {
  readonly #columns: readonly LastingColumn[];
  readonly #start: number;

  constructor(columns: readonly LastingColumn[], start: number, rowCount: number) {
    super(rowCount, columns.length);
    this.#columns = columns;
    this.#start = start;
  }

  protected makeColumn(index: number): Vector {
    const { vector, isWhole } = this.#columns[index]!;
    return isWhole ? sliceVector(vector, this.#start, this.#start + this.rowCount) : vector;
  }

  protected makeRowIds(): Float64Array {
    assert(false, 'rows that are told have no ids');
  }
}

/** Of a chunk, or of the rows alone. */
type LastingColumn = { readonly vector: Vector; readonly isWhole: boolean };

/** A sealed segment in which old rows stand, and its columns as they were. */
type Standing = {
  readonly segment: SealedSegment;
  readonly columns: SealedSegment['columns'];
  /** Whether every column of numbers can be read later: none holds a NULL, or anything else than doubles. */
  readonly isReadLater: boolean;
};

/** Of a row that stands nowhere else. */
const NOWHERE = -1;

/**
 * Rows of many small deltas, column by column. Numbers of old rows in sealed segments, which do not change, are read when somebody looks at
 * their column: most columns nobody ever looks at, and to read a row far away costs a wait for memory a column. The chunk pins those segments.
 */
class LogChunk {
  readonly #lease: MemoryLease;
  readonly #columns: readonly VectorBuilder[];
  /** Those of them that hold bytes. */
  readonly #raw: readonly VectorBuilder[];
  rowIds = new Float64Array(0);
  isOverwritten = new Uint8Array(0);
  length = 0;
  /** Entries in the log whose rows are here. */
  entryCount = 0;
  /** Of `readFarCells`: means nothing. */
  touched = 0;
  #isRetired = false;
  /** Copies of columns of raw bytes, with the length they were made at. */
  #copies: (Vector | undefined)[] = [];
  #copiedLength = -1;
  readonly #standing: Standing[] = [];
  /** By column, as far as somebody has looked at it: what it is in each of those. */
  readonly #sources: (CellSource[] | undefined)[];
  readonly #numberOf = new Map<SealedSegment, number>();
  /** By row: the number of what it stands in, and its place there. */
  #standsIn = new Int32Array(0);
  #places = new Int32Array(0);
  /** By column: rows below are not blank any more. */
  readonly #filledTo: number[];
  readonly #stored: readonly StoredColumn[];

  constructor(lease: MemoryLease, columns: readonly StoredColumn[]) {
    this.#lease = lease;
    this.#stored = columns;
    this.#filledTo = columns.map(() => 0);
    this.#sources = columns.map(() => undefined);
    this.#columns = columns.map((column) => {
      const raw = column.isRaw;
      return new VectorBuilder(column.type, {
        lease,
        capacityMax: CHUNK_ROWS,
        raw,
        dictionary: raw ? undefined : column.dictionary,
      });
    });
    this.#raw = this.#columns.filter((_, position) => columns[position]!.isRaw);
  }

  get rawBytes(): number {
    let bytes = 0;
    for (const column of this.#raw) bytes += column.rawBytes;
    return bytes;
  }

  get columnCount(): number {
    return this.#columns.length;
  }

  append(
    { columns, rowCount, selection }: Batch,
    isOverwritten: Uint8Array | undefined,
    rowIds: Float64Array,
  ): void {
    const { length } = this;
    if (length + rowCount > this.rowIds.length) this.#grow(length + rowCount);
    this.#standsIn.fill(NOWHERE, length, length + rowCount);
    try {
      for (let column = 0; column < this.#columns.length; column += 1) {
        // What is no double may turn the column into one of something else.
        if (columns[column]!.rep !== 'number') this.#fill(column);
        this.#columns[column]!.append(columns[column]!, selection, 0, rowCount);
      }
    } catch (cause) {
      this.truncate(length);
      throw cause;
    }
    for (let row = 0; row < rowCount; row += 1) {
      this.rowIds[length + row] = rowIds[row]!;
      this.isOverwritten[length + row] = isOverwritten === undefined ? 0 : isOverwritten[row]!;
    }
    this.length = length + rowCount;
  }

  /** Rows from where they stand. */
  appendLocated(
    columns: readonly StoredColumn[],
    located: LocatedRows,
    rowIds: Float64Array,
    overwrittenFrom: number,
  ): void {
    const { length } = this;
    const count = rowIds.length;
    if (length + count > this.rowIds.length) this.#grow(length + count);
    const later = this.#noteStanding(located, count);
    const rest = later === 0 || later === count ? located : behind(located, later);
    try {
      for (let position = 0; position < this.#columns.length; position += 1) {
        const column = columns[position]!;
        const builder = this.#columns[position]!;
        if (!isNumberKind(column.type.kind) || builder.rep !== 'number') {
          appendLocated(builder, column, located);
          continue;
        }
        if (later > 0) builder.appendBlank(later);
        if (later === count) continue;
        if (!areNumbers(column, rest)) this.#fill(position);
        appendLocated(builder, column, rest);
      }
    } catch (cause) {
      this.truncate(length);
      throw cause;
    }
    for (let row = 0; row < count; row += 1) {
      this.rowIds[length + row] = rowIds[row]!;
      this.isOverwritten[length + row] = row < overwrittenFrom ? 0 : 1;
    }
    this.length = length + count;
  }

  /** Takes down where the rows stand; how many of them, from the first on, need not be copied now. */
  #noteStanding({ runs, places }: LocatedRows, count: number): number {
    const { length } = this;
    let later = 0;
    for (let index = 0; index < runs.length; index += 1) {
      const { segment, start } = runs[index]!;
      if (segment?.kind !== 'sealed') break;
      const number = this.#standingOf(segment);
      if (!this.#standing[number]!.isReadLater) break;
      later = index + 1 < runs.length ? runs[index + 1]!.start : count;
      for (let row = start; row < later; row += 1) {
        this.#standsIn[length + row] = number;
        this.#places[length + row] = places[row]!;
      }
    }
    this.#standsIn.fill(NOWHERE, length + later, length + count);
    return later;
  }

  #standingOf(segment: SealedSegment): number {
    const known = this.#numberOf.get(segment);
    if (known !== undefined) return known;
    const { columns } = segment;
    segment.pin();
    this.#numberOf.set(segment, this.#standing.length);
    this.#standing.push({
      segment,
      columns,
      isReadLater: this.#stored.every(
        ({ id, type }) => !isNumberKind(type.kind) || isReadable(columns[id]?.vector),
      ),
    });
    return this.#standing.length - 1;
  }

  /** Writes the numbers of blank entries, of a column that somebody is about to look at. */
  #fill(position: number): void {
    const builder = this.#columns[position]!;
    const from = this.#filledTo[position]!;
    const end = builder.length;
    if (from >= end) return;
    this.#filledTo[position] = end;
    const { id, type } = this.#stored[position]!;
    if (this.#standing.length === 0 || builder.rep !== 'number' || !isNumberKind(type.kind)) return;
    const sources = (this.#sources[position] ??= []);
    while (sources.length < this.#standing.length)
      sources.push(
        new CellSource(this.#standing[sources.length]!.columns[id]!.vector as NumberVector),
      );
    this.touched = readFarCells(sources, this.#standsIn, this.#places, from, end, builder.numbers);
  }

  #fillAll(): void {
    for (let position = 0; position < this.#columns.length; position += 1) this.#fill(position);
  }

  /** Nobody looks at rows that stand elsewhere any more. */
  #leaveStanding(): void {
    if (this.#standing.length === 0) return;
    for (const { segment } of this.#standing) segment.unpin();
    this.#standing.length = 0;
    this.#sources.fill(undefined);
    this.#numberOf.clear();
    this.#standsIn.fill(NOWHERE);
  }

  /** The cell of one row, wherever it stands, without a look at the others; NaN for NULL, and for what is no double. */
  numberAt(position: number, row: number): number {
    const number = this.#standsIn[row]!;
    const { id, type } = this.#stored[position]!;
    const isBlank =
      number !== NOWHERE &&
      row >= this.#filledTo[position]! &&
      this.#columns[position]!.rep === 'number' &&
      isNumberKind(type.kind);
    if (isBlank) return cellNumber(this.#standing[number]!.columns[id]!.vector, this.#places[row]!);
    const vector = this.#columns[position]!.peek();
    return vector === undefined ? NaN : cellNumber(vector, row);
  }

  columnWindow(position: number, start: number, end: number): Vector {
    assert(end <= this.length && !this.#isClosed, 'rows of a delta are read within their commit');
    this.#fill(position);
    return this.#columns[position]!.window(start, end);
  }

  /** What can be read later: arrays of numbers as they are, of the rest a copy. */
  lastingColumns(start: number, end: number): readonly LastingColumn[] {
    this.#fillAll();
    const columns: LastingColumn[] = [];
    for (let position = 0; position < this.#columns.length; position += 1) {
      const column = this.#columns[position]!;
      const whole = column.peek();
      if (whole !== undefined && (whole.rep === 'number' || whole.rep === 'boolean'))
        columns.push({ vector: whole, isWhole: true });
      else
        columns.push({
          vector: withoutCodes(column.slice(start, end), end - start),
          isWhole: false,
        });
    }
    return columns;
  }

  reserve(): void {
    for (const column of this.#columns) column.reserveExactly(CHUNK_ROWS);
    this.#grow(CHUNK_ROWS);
  }

  truncate(length: number): void {
    for (let position = 0; position < this.#columns.length; position += 1) {
      const column = this.#columns[position]!;
      if (column.length > length) column.truncate(length);
      if (this.#filledTo[position]! > length) this.#filledTo[position] = length;
    }
    this.length = length;
  }

  /** An entry left the log. */
  release(): void {
    this.entryCount -= 1;
    if (this.entryCount > 0) return;
    if (this.#isRetired) this.#close();
    else this.#leaveStanding();
  }

  /** No more rows will come. */
  retire(): void {
    this.#isRetired = true;
    if (this.entryCount === 0) this.#close();
  }

  vector(position: number): Vector {
    this.#fill(position);
    return this.arrivedVector(position);
  }

  /** The same for who looks at rows that arrived, which stand here. */
  arrivedVector(position: number): Vector {
    const column = this.#columns[position]!;
    const vector = column.peek();
    if (vector !== undefined) return vector;
    if (this.#copiedLength !== this.length) {
      this.#copies = [];
      this.#copiedLength = this.length;
    }
    this.#copies[position] ??= column.slice(0, this.length);
    return this.#copies[position];
  }

  /** All columns where they stand; undefined where one has no such form. */
  wholeColumns(): readonly Vector[] | undefined {
    this.#fillAll();
    const columns: Vector[] = [];
    for (let position = 0; position < this.#columns.length; position += 1) {
      const vector = this.#columns[position]!.peek();
      if (vector === undefined) return undefined;
      columns.push(vector);
    }
    return columns;
  }

  /** Rows [start, end) of the whole columns. */
  selected(columns: readonly Vector[], start: number, end: number): Batch | undefined {
    if (start === end) return undefined;
    const rowCount = end - start;
    const selection = slabInts(rowCount);
    for (let row = 0; row < rowCount; row += 1) selection[row] = start + row;
    return { rowCount, columns, selection, rowIds: this.rowIds };
  }

  slice(start: number, end: number): Batch | undefined {
    if (start === end) return undefined;
    this.#fillAll();
    return {
      rowCount: end - start,
      columns: this.#columns.map((column) => column.slice(start, end)),
      rowIds: this.rowIds.slice(start, end),
    };
  }

  #grow(length: number): void {
    let size = Math.max(16, this.rowIds.length * 2);
    while (size < length) size *= 2;
    this.#lease.take((size - this.rowIds.length) * ROW_BYTES);
    const rowIds = new Float64Array(size);
    rowIds.set(this.rowIds);
    this.rowIds = rowIds;
    const isOverwritten = new Uint8Array(size);
    isOverwritten.set(this.isOverwritten);
    this.isOverwritten = isOverwritten;
    const standsIn = new Int32Array(size).fill(NOWHERE);
    standsIn.set(this.#standsIn);
    this.#standsIn = standsIn;
    const places = new Int32Array(size);
    places.set(this.#places);
    this.#places = places;
  }

  #isClosed = false;

  #close(): void {
    this.#isClosed = true;
    this.#leaveStanding();
    for (const column of this.#columns) column.close();
    this.#lease.give(this.rowIds.length * ROW_BYTES);
    this.rowIds = new Float64Array(0);
    this.isOverwritten = new Uint8Array(0);
  }
}

/** Of a row of a chunk: its id, whether it was overwritten, and where it stands. */
const ROW_BYTES = 17;

function isReadable(vector: Vector | undefined): boolean {
  return vector?.rep === 'number' && vector.validity === undefined;
}

/** The rows from number `first` on, with which a run begins. */
function behind({ runs, places }: LocatedRows, first: number): LocatedRows {
  const rest: Run[] = [];
  for (let index = 0; index < runs.length; index += 1) {
    const { segment, entry, chunk, start, columns } = runs[index]!;
    if (start >= first) rest.push({ segment, entry, chunk, start: start - first, columns });
  }
  return { runs: rest, places: places.subarray(first) };
}

/** Whether all cells of the rows are doubles where they stand. */
function areNumbers(column: StoredColumn, { runs }: LocatedRows): boolean {
  for (const { segment, chunk } of runs) {
    const vector =
      segment!.kind === 'open'
        ? segment!.chunkVector(column, chunk)
        : segment!.columns[column.id]?.vector;
    if (vector?.rep !== 'number') return false;
  }
  return true;
}

/** A dictionary goes with its table. */
function withoutCodes(vector: Vector, count: number): Vector {
  if (vector.rep !== 'dictionary') return vector;
  const values = Array.from({ length: count }, (_, row) => datumAt(vector, row));
  return { rep: 'object', type: vector.type, values, validity: vector.validity };
}

/** Rows that are not forgotten soon: pieces of slabs among their arrays are copied. */
function keptRows(batch: Batch | undefined): Batch | undefined {
  // Rows that are made when somebody looks are not looked at here.
  if (batch === undefined || batch instanceof RowsByColumn || batch instanceof LazyRows)
    return batch;
  const { rowIds } = batch;
  const columns = batch.columns.map(keptColumn);
  return rowIds !== undefined && isPiece(rowIds)
    ? { ...batch, columns, rowIds: rowIds.slice() }
    : { ...batch, columns };
}

/** A batch in memory: its arrays, and by formula the objects around them. */
export function batchBytes(batch: Batch | undefined): number {
  if (batch === undefined) return 0;
  if (batch instanceof StandingRows) return batch.byteLength;
  let bytes = 96 + (batch.rowIds?.byteLength ?? 0);
  for (const column of batch.columns) bytes += vectorBytes(column, batch.rowCount);
  return bytes;
}

/** The part of the arrays that `rowCount` rows use. */
export function vectorBytes(vector: Vector, rowCount: number): number {
  const validity = vector.validity === undefined ? 0 : rowCount;
  switch (vector.rep) {
    case 'number':
      return 160 + validity + rowCount * vector.values.BYTES_PER_ELEMENT;
    case 'bigint':
      return 160 + validity + rowCount * 8;
    case 'boolean':
      return 160 + validity + rowCount;
    case 'dictionary':
      return 160 + validity + rowCount * vector.codes.BYTES_PER_ELEMENT;
    case 'bytes':
      return (
        240 + validity + rowCount * 4 + (vector.offsets[rowCount] ?? 0) - (vector.offsets[0] ?? 0)
      );
    case 'object': {
      let bytes = 80 + validity + rowCount * 8;
      for (let row = 0; row < rowCount; row += 1) bytes += objectBytes(vector.values[row]!);
      return bytes;
    }
  }
}
