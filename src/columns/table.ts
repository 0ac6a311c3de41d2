import { countBelow, isAscending } from '../base/search.ts';
import { assert, DbError } from '../base/errors.ts';
import { slabDoubles, slabInts } from '../base/slab.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import { slabOfKind } from './array-kernels.ts';
import type { Batch } from './batch.ts';
import { concatBatches, denseBatch, gather } from './build.ts';
import { isNullAt } from './cells.ts';
import { identicalCells } from './identical.ts';
import { IndexSet } from './index-set.ts';
import { SegmentImage } from './inserted-rows.ts';
import { allRows, LazyRows } from './lazy-rows.ts';
import { Maintenance } from './maintenance.ts';
import { fetchLocated, fetchRows, locateRows, type LocatedRows } from './row-fetch.ts';
import type { Dictionary } from './dictionary.ts';
import { nullRefused } from './constraint-errors.ts';
import type { OpenSegment } from './open-segment.ts';
import { SegmentStore, withoutMarks } from './segment-store.ts';
import {
  placeOf,
  SEGMENT_ROWS,
  stateOf,
  type SealedSegment,
  type SegmentList,
  type SegmentState,
} from './segment.ts';
import { segmentPasses } from './scan.ts';
import { Snapshot, type TableIndex } from './snapshot.ts';
import { SegmentTimes } from './time-scan.ts';
import { sortWithOrder } from './row-order.ts';
import type { SealedColumn } from './encode.ts';
import { StandingRows } from './standing-rows.ts';
import { distinctOfOpenRows } from './statistics.ts';
import { StoredColumn } from './stored-column.ts';
import { TableReading } from './table-image.ts';
import { TextRenewal, type TextBounds } from './text-renewal.ts';
import {
  restoredColumns,
  restoreRows,
  takeBase,
  verifyBase,
  type TableBase,
} from './table-base.ts';
import type {
  ColumnSchema,
  IndexSchema,
  SparseSegment,
  StageOptions,
  TableData,
  TableDelta,
  TableSchema,
  TableSnapshot,
  TableWrite,
  ZoneTest,
} from './table-contract.ts';
import { sameType } from './types.ts';
import type { Datum } from './values.ts';
import type { Vector } from './vector.ts';
import {
  COPIED_IN_PLACE_ROWS_MAX,
  VersionLog,
  type LogEntry,
  type LogEntryFacts,
} from './version-log.ts';

/** Changes kept for readers of the past, subscribers that resume, and `asOf`. */
const HISTORY_BYTES_DEFAULT = 64 * 2 ** 20;

/** A truncation of more rows than this lists them only when asked to. */
const LAZY_ROWS_MIN = 65_536;
/** Deleted rows whose index entries are taken away at once when a commit is published; more wait for `maintain`. */
const RECLAIM_ROWS_AT_ONCE = 64;

export function createTable(schema: TableSchema, options: TableOptions): Table {
  return new Table(schema, options);
}

/** What TableRestore has made; nothing of it is refused for want of memory yet. */
export type RestoredRows = {
  readonly lease: MemoryLease;
  readonly columns: readonly StoredColumn[];
  readonly nextColumnId: number;
  readonly store: SegmentStore;
  readonly position: number;
  /** Positions before this one are not told. */
  readonly historyFrom: number;
};

export type TableOptions = {
  readonly memory: MemoryAccount;
  /** Bound of the version log; 64 MiB unless said otherwise. */
  readonly historyBytes?: number;
  readonly texts?: TextBounds;
};

/**
 * A stored relation: rows in segments, indexes over row ids, and the log of its latest changes. Invariants:
 *
 * 1. `stage` changes everything or nothing. Staged commits are undone newest first and published oldest first.
 * 2. A row id is given once, in arrival order; what was undone was never given.
 * 3. A snapshot shows its position whatever happens meanwhile, until it is released.
 * 4. The order of rows, and their ids, depend on the writes alone: never on when segments were sealed.
 */
export class Table implements TableData {
  readonly #identity = {};
  readonly #lease: MemoryLease;
  readonly #memory: MemoryAccount;
  readonly #store: SegmentStore;
  readonly #indexes: IndexSet;
  readonly #times: SegmentTimes;
  readonly #log: VersionLog;
  /** Made when there is something to seal. */
  #maintenance: Maintenance | undefined;
  #schema: TableSchema;
  /** With the indexes there are now; undefined after a change. */
  #wholeSchema: TableSchema | undefined;
  #columns: readonly StoredColumn[];
  #nextColumnId: number;
  #published: PublishedView;
  /** What becomes visible when the staged commits are published, oldest first. */
  readonly #stagedViews: PublishedView[] = [];
  /** Sequence of the oldest staged entry. */
  #stagedFrom = 0;
  /** Staged entries up to here have left no marks in the bitmaps of `#published`. */
  #unmarkedTo = 0;
  #position = 0;
  /** Rows of published truncations, until the next upkeep. */
  readonly #lazyRows: LazyRows[] = [];
  readonly #snapshots = new Set<Snapshot>();
  #pinnedFrom = Infinity;
  /** What readers may still hold after it was replaced. */
  readonly #retired: Retired[] = [];
  /** Counts retirements. */
  #epoch = 0;
  /** Log entries before this one have left no stale entries in the indexes; in it, rows before `#reclaimRow`. */
  #reclaimedTo = 0;
  #reclaimRow = 0;
  /** Segments before are gone, and nobody looks for their keys. */
  #forgottenTo = 0;
  #distinctCache = new Map<number, { readonly at: number; readonly estimate: number }>();

  readonly #texts: TextRenewal;
  /** Dictionaries that readers or history may still name. */
  readonly #left: Left[] = [];

  #isClosing = false;
  #isClosed = false;

  /** `restored`: see `over`. */
  constructor(schema: TableSchema, options: TableOptions, restored?: RestoredRows) {
    assert(
      restored === undefined || schema.indexes.length === 0,
      'indexes over restored rows are built afterwards',
    );
    this.#memory = options.memory;
    this.#lease = restored?.lease ?? new MemoryLease(options.memory);
    this.#times = new SegmentTimes(this.#lease);
    this.#wholeSchema = undefined;
    this.#schema = schema;
    this.#columns =
      restored?.columns ??
      schema.columns.map(
        (column, id) => new StoredColumn(id, column.type, null, options.memory, this.#lease),
      );
    this.#nextColumnId = restored?.nextColumnId ?? schema.columns.length;
    this.#store = restored?.store ?? new SegmentStore(this.#lease);
    this.#log = new VersionLog(options.memory, options.historyBytes ?? HISTORY_BYTES_DEFAULT);
    this.#indexes = new IndexSet(
      this.#lease,
      this.#store,
      () => this.#columns,
      () => this.#schema,
    );
    this.#texts = new TextRenewal(
      {
        store: this.#store,
        memory: this.#memory,
        columns: () => this.#columns,
        postings: () => this.#indexes.postings,
        seen: () => [
          this.#forReaders().list,
          ...Array.from(this.#snapshots, ({ view }) => view.list),
        ],
        isTruncating: () => this.#stagedViews.some(({ cleared }) => cleared !== undefined),
        left: (dictionary) => this.#leave(dictionary),
        replace: (...moved) => this.#replaceSealed(...moved),
      },
      options.texts,
    );
    for (const index of schema.indexes) this.#indexes.add(index, 0);
    this.#published = this.#stagedView();
    if (restored === undefined) return;
    this.#position = restored.position;
    this.#log.forget(restored.historyFrom);
  }

  /** Its published rows as they are now, to be kept elsewhere: see TableReading. */
  read(): TableReading {
    const snapshot = this.snapshot() as Snapshot;
    return new TableReading(snapshot, {
      position: this.#position,
      nextColumnId: this.#nextColumnId,
    });
  }

  /**
   * A table of rows that were kept elsewhere, which are its own from now on, and its indexes over them: yields the number of rows indexed
   * since the last yield. Memory is never refused.
   */
  static *over(
    rows: RestoredRows,
    schema: TableSchema,
    options: TableOptions,
  ): Generator<number, Table> {
    const table = new Table({ ...schema, indexes: [] }, options, rows);
    let isDone = false;
    try {
      for (const index of schema.indexes) yield* table.addIndexInSteps(index);
      table.#setLimits(true);
      isDone = true;
      return table;
    } finally {
      if (!isDone) table.close();
    }
  }

  /**
   * The table that a base tells of, in steps: the same rows under the same ids, in objects of its own but for the arrays of sealed
   * segments. Throws XX001 where a checksum differs. Memory is never refused.
   */
  static *restore(base: TableBase, options: TableOptions): Generator<number, Table> {
    yield* verifyBase(base);
    const table = new Table({ ...base.schema, indexes: [] }, options);
    let isDone = false;
    try {
      table.#setLimits(false);
      const { columns, codes } = yield* restoredColumns(base, table.#memory, table.#lease);
      table.#columns = columns;
      table.#nextColumnId = base.nextColumnId;
      yield* restoreRows(base, {
        columns,
        codes,
        memory: table.#memory,
        lease: table.#lease,
        store: table.#store,
      });
      table.#position = base.position;
      table.#log.forget(base.position);
      for (const index of base.schema.indexes) yield* table.addIndexInSteps(index);
      table.#refreshPublished();
      table.#setLimits(true);
      isDone = true;
      return table;
    } finally {
      if (!isDone) table.close();
    }
  }

  /** See `TableBase`: of the newest published state, which is that of `position`. */
  *checkpoint(
    position: number,
    previous: TableBase | undefined,
    isChanged: (chunk: number) => boolean,
  ): Generator<number, TableBase> {
    const snapshot = this.#open(
      this.#published,
      this.#indexes.published,
      this.#stagedFrom,
      this.#stagedFrom,
      position,
    );
    try {
      const source = {
        identity: this.#identity,
        snapshot,
        position,
        nextColumnId: this.#nextColumnId,
      };
      return yield* takeBase(source, previous, isChanged);
    } finally {
      snapshot.release();
    }
  }

  get schema(): TableSchema {
    this.#wholeSchema ??= { ...this.#schema, indexes: this.#indexes.schemas };
    return this.#wholeSchema;
  }

  get rowCount(): number {
    return this.#store.rowCount;
  }

  get nextRowId(): number {
    return this.#store.nextRowId;
  }

  get memoryBytes(): number {
    let bytes = this.#lease.bytes + this.#log.byteLength + this.#leftBytes;
    for (const column of this.#columns) bytes += column.memoryBytes;
    return bytes;
  }

  /** Position of the newest published commit. */
  get position(): number {
    return this.#position;
  }

  get stagedCount(): number {
    return this.#stagedViews.length;
  }

  // ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────

  stage(writes: readonly TableWrite[], options: StageOptions): TableDelta {
    this.#setLimits(options.limits);
    try {
      try {
        return this.#stage(writes, options.isMinimal);
      } catch (cause) {
        // History is the first to go when memory is short.
        if (!(cause instanceof DbError && cause.code === '53200') || !this.freeMemory())
          throw cause;
        // What took the first attempt back did so without limits.
        this.#setLimits(options.limits);
        return this.#stage(writes, options.isMinimal);
      }
    } finally {
      this.#setLimits(true);
    }
  }

  undo(): void {
    const view = this.#stagedViews.pop();
    assert(view !== undefined, 'only a staged commit is undone');
    this.#setLimits(false);
    const entry = this.#log.pop();
    for (const snapshot of this.#snapshots) snapshot.rewind(this.#log.endSequence);
    this.#unmarkedTo = Math.min(this.#unmarkedTo, this.#log.endSequence);
    this.#store.beginOperation(this.#snapshots.size === 0);
    const { cleared } = view;
    if (cleared !== undefined) {
      view.lazy?.close();
      this.#indexes.unclear();
      this.#store.unclear(cleared, entry.nextRowIdBefore, entry.rowCountBefore);
    } else {
      this.#indexes.undo(entry);
      this.#takeBack(entry);
      this.#store.truncateTo(entry.nextRowIdBefore);
      this.#store.rowCount = entry.rowCountBefore;
      this.#indexes.forgetFrom(entry.nextRowIdBefore);
      this.#takeMarksOff(entry);
    }
    this.#log.popped(entry);
    this.#setLimits(true);
  }

  publish(position: number): void {
    const view = this.#stagedViews.shift();
    assert(view !== undefined, 'a staged commit is published');
    assert(position >= this.#position, 'positions do not go back');
    const entry = this.#log.entry(this.#stagedFrom);
    entry.position = position;
    this.#stagedFrom += 1;
    this.#position = position;
    const { cleared } = view;
    if (cleared !== undefined) {
      this.#indexes.cleared(this.#retire.bind(this));
      this.#retire(() => closeSegments(cleared, this.#lease));
      if (view.lazy !== undefined) {
        // Who has not read the rows by the next upkeep does not get them any more, and history begins anew.
        this.#lazyRows.push(view.lazy);
        this.#log.forget(position);
      }
    }
    this.#published =
      cleared === undefined ? view : { ...view, cleared: undefined, lazy: undefined };
    this.#unmarkedTo = this.#stagedFrom;
    this.#refreshPublished();
    if (entry.deletedCount > 0) this.#texts.died(entry.deletedCount);
    // Upkeep that lags behind far enough to hold up eviction is done here and now.
    this.#reclaim(this.#log.byteLength > 2 * this.#log.byteLimit ? Infinity : RECLAIM_ROWS_AT_ONCE);
    this.#evict();
    if (this.#retired.length > 0) this.#closeRetired();
  }

  shows(rowId: number, columns: readonly Vector[], row: number): boolean {
    assert(this.#store.isLive(rowId), 'a row that is looked at lives');
    const { segment } = stateOf(this.#store.list, rowId)!;
    const place = placeOf(segment, rowId);
    for (let position = 0; position < this.#columns.length; position += 1) {
      const column = this.#columns[position]!;
      const isSame =
        segment.kind === 'open'
          ? identicalCells(
              segment.cellVector(column, place),
              segment.cellIndex(column, place),
              columns[position]!,
              row,
            )
          : identicalCells(segment.vectorOf(column), place, columns[position]!, row);
      if (!isSame) return false;
    }
    return true;
  }

  #stage(writes: readonly TableWrite[], isMinimal = false): TableDelta {
    const delta = this.#write(writes);
    if (isMinimal) this.#log.entry(this.#log.endSequence - 1).isMinimal = true;
    return delta;
  }

  #write(writes: readonly TableWrite[]): TableDelta {
    const before = { nextRowId: this.#store.nextRowId, rowCount: this.#store.rowCount };
    this.#store.beginOperation(this.#snapshots.size === 0);
    const only = writes.length === 1 ? writes[0]! : undefined;
    switch (only?.kind) {
      case 'insert':
        return this.#stageInsert(only.rows, before);
      case 'update':
        return (
          this.#stageUpdate(only.rowIds, only.rows, before, only.foundBy) ??
          this.#stageWrites(writes, before)
        );
      case 'delete':
        return this.#stageDelete(only.rowIds, before);
      default:
        return this.#stageWrites(writes, before);
    }
  }

  /** Rows arrive, nothing else happens. */
  #stageInsert(batch: Batch, before: Before): TableDelta {
    const rows = this.#checked(batch);
    const { rowCount } = rows;
    if (rowCount === 0) {
      this.#push(NO_CHANGE, undefined, before, undefined);
      this.#staged();
      return NO_CHANGE;
    }
    const first = this.#store.append(this.#columns, rows);
    for (const column of this.#columns) column.codedRowCount += rowCount;
    try {
      this.#indexes.insertRange(rows, first);
      const rowIds = slabDoubles(rowCount);
      for (let row = 0; row < rowCount; row += 1) rowIds[row] = first + row;
      const delta: TableDelta = {
        deleted: undefined,
        inserted: { rowCount, columns: rows.columns, rowIds },
      };
      try {
        const entry = this.#push(delta, undefined, before, undefined);
        this.#staged();
        return entry.insertedRows === undefined ? delta : { ...delta, kept: entry.insertedRows };
      } catch (cause) {
        this.#indexes.removeRange(rows, first);
        throw cause;
      }
    } catch (cause) {
      this.#store.truncateTo(before.nextRowId);
      this.#store.rowCount = before.rowCount;
      this.#indexes.forgetFrom(before.nextRowId);
      throw cause;
    }
  }

  /**
   * Rows get new values, each once, and nothing else happens: in place where they are in the open segment, else they die where they are
   * and arrive at the end. Undefined where a row is named twice.
   */
  #stageUpdate(
    rowIds: Float64Array,
    batch: Batch,
    before: Before,
    foundBy: string | undefined,
  ): TableDelta | undefined {
    assert(rowIds.length === batch.rowCount, 'each row of an update has a row id');
    const { openFrom } = this.#store;
    const count = rowIds.length;
    if (count === 0) return undefined;
    const oldIds = copyOf(rowIds);
    const order = isAscending(rowIds) ? undefined : sortWithOrder(oldIds);
    if (order !== undefined && !isAscending(oldIds)) return undefined;
    this.#check(batch);
    const located = locateRows(oldIds, this.#store.list);
    const isCopied = count * 2 <= COPIED_IN_PLACE_ROWS_MAX;
    const old = isCopied ? undefined : this.#oldRows(oldIds, located);
    const moved = countBelow(oldIds, openFrom);
    const stays = count - moved;
    const rows = newRows(batch, rowIds, order, moved, openFrom);
    const first = this.#store.append(this.#columns, rows, stays);
    const newIds = slabDoubles(count);
    for (let row = 0; row < stays; row += 1) newIds[row] = oldIds[moved + row]!;
    for (let row = 0; row < moved; row += 1) newIds[stays + row] = first + row;
    let entry: LogEntry | undefined;
    try {
      for (const column of this.#columns) column.codedRowCount += moved;
      const facts = this.#facts(before, undefined);
      let delta: TableDelta;
      if (old === undefined) {
        const standing = { rowIds: oldIds, located, overwrittenFrom: moved };
        entry = this.#log.pushInPlace(standing, rows, newIds, facts);
        delta = entry.deltaNow;
      } else {
        const inserted = denseBatch(rows);
        delta = {
          deleted: old,
          inserted: { rowCount: count, columns: inserted.columns, rowIds: newIds },
        };
        const isOverwritten = stays === 0 ? undefined : new Uint8Array(count).fill(1, moved);
        entry = this.#log.push(delta, isOverwritten, facts);
      }
      if (stays > 0) this.#store.overwriteAll(located, moved, this.#columns, rows);
      this.#store.removeAll(located, moved);
      const isKeyChanged = this.#indexes.apply(entry, foundBy);
      entry.leavesGarbage = isKeyChanged || moved > 0;
      this.#staged();
      return delta;
    } catch (cause) {
      this.#setLimits(false);
      if (entry !== undefined) this.#takeBack(entry);
      this.#store.truncateTo(before.nextRowId);
      this.#store.rowCount = before.rowCount;
      this.#indexes.forgetFrom(before.nextRowId);
      if (entry !== undefined) this.#log.popped(this.#log.pop());
      throw cause;
    }
  }

  /** Rows die, nothing else happens. */
  #stageDelete(given: Float64Array, before: Before): TableDelta {
    const rowIds = copyOf(given);
    if (!isAscending(rowIds)) rowIds.sort();
    // A row that is named twice is refused there.
    if (!isAscending(rowIds)) return this.#stageWrites([{ kind: 'delete', rowIds: given }], before);
    const count = rowIds.length;
    const located = locateRows(rowIds, this.#store.list);
    const facts = this.#facts(before, undefined);
    let entry: LogEntry;
    let delta: TableDelta;
    if (count <= COPIED_IN_PLACE_ROWS_MAX) {
      const standing = { rowIds, located, overwrittenFrom: count };
      entry = this.#log.pushInPlace(standing, undefined, rowIds, facts);
      delta = entry.deltaNow;
    } else {
      const deleted = this.#oldRows(rowIds, located);
      delta = { deleted, inserted: undefined };
      entry = this.#log.push(delta, undefined, facts);
    }
    this.#store.removeAll(located, count);
    entry.leavesGarbage = true;
    this.#staged();
    return delta;
  }

  #oldRows(rowIds: Float64Array, located: LocatedRows): Batch {
    return (
      StandingRows.of(rowIds, this.#columns, located) ??
      fetchLocated(rowIds, this.#columns, located)
    );
  }

  #stageWrites(writes: readonly TableWrite[], before: Before): TableDelta {
    const run = new StageRun(before.nextRowId);
    try {
      for (const write of writes) this.#apply(write, run);
      const delta: TableDelta = { deleted: run.deletedRows(), inserted: this.#insertedRows(run) };
      const entry = this.#push(delta, run.overwrittenOf(delta.deleted), before, run.cleared);
      try {
        const isKeyChanged = this.#indexes.apply(entry);
        entry.leavesGarbage = isKeyChanged || run.removed.length > 0;
      } catch (cause) {
        this.#log.popped(this.#log.pop());
        throw cause;
      }
      this.#staged(run.cleared, run.lazy);
      return delta;
    } catch (cause) {
      this.#rollBack(run, before);
      throw cause;
    }
  }

  #apply(write: TableWrite, run: StageRun): void {
    switch (write.kind) {
      case 'insert':
        this.#append(this.#checked(write.rows));
        return;
      case 'delete':
        this.#remove(write.rowIds, run);
        return;
      case 'update':
        this.#update(write.rowIds, this.#checked(write.rows), run);
        return;
      case 'truncate':
        this.#truncate(run);
    }
  }

  #append(rows: Batch): void {
    if (rows.rowCount === 0) return;
    this.#store.append(this.#columns, rows);
    for (const column of this.#columns) column.codedRowCount += rows.rowCount;
  }

  #remove(rowIds: Float64Array, run: StageRun): void {
    this.#keepOld(rowIds, run);
    for (let index = 0; index < rowIds.length; index += 1) {
      const rowId = rowIds[index]!;
      this.#store.remove(rowId);
      if (rowId < run.nextRowIdBefore) run.removed.push(rowId);
    }
  }

  #update(rowIds: Float64Array, rows: Batch, run: StageRun): void {
    assert(rowIds.length === rows.rowCount, 'each row of an update has a row id');
    const { openFrom } = this.#store;
    let moved = 0;
    for (let index = 0; index < rowIds.length; index += 1)
      if (rowIds[index]! < openFrom) moved += 1;
    this.#keepOld(rowIds, run);
    if (moved < rowIds.length) {
      for (let index = 0; index < rowIds.length; index += 1) {
        const rowId = rowIds[index]!;
        if (rowId < openFrom) continue;
        // Before the write: one that fails in the middle is rolled back too.
        if (rowId < run.nextRowIdBefore) run.overwritten.add(rowId);
        this.#store.overwrite(rowId, this.#columns, rows, index);
      }
    }
    if (moved === 0) return;
    const selection = new Int32Array(moved);
    let count = 0;
    for (let index = 0; index < rowIds.length; index += 1) {
      const rowId = rowIds[index]!;
      if (rowId >= openFrom) continue;
      this.#store.remove(rowId);
      if (rowId < run.nextRowIdBefore) run.removed.push(rowId);
      selection[count] = index;
      count += 1;
    }
    const whole = moved === rowIds.length;
    this.#append(
      whole
        ? rows
        : {
            rowCount: moved,
            columns: rows.columns.map((column) => gather(column, selection, moved)),
          },
    );
  }

  #truncate(run: StageRun): void {
    const store = this.#store;
    if (store.rowCount === 0) return;
    const snapshot = this.#openStaged();
    const isFirst = run.isEmpty && store.nextRowId === run.nextRowIdBefore;
    if (isFirst && store.rowCount > LAZY_ROWS_MIN) {
      run.lazy = new LazyRows(snapshot);
    } else {
      const all = allRows(snapshot);
      snapshot.release();
      if (!isFirst) {
        this.#remove(all.rowIds!, run);
        return;
      }
      run.pieces.push(all);
    }
    run.cleared = store.clear();
    this.#indexes.clear(this.#log.endSequence);
  }

  /** Remembers the rows as they were before this commit. Asserts that they live. */
  #keepOld(rowIds: Float64Array, run: StageRun): void {
    let count = 0;
    const wanted = new Float64Array(rowIds.length);
    for (let index = 0; index < rowIds.length; index += 1) {
      const rowId = rowIds[index]!;
      assert(this.#store.isLive(rowId), 'a row that is changed lives');
      if (rowId >= run.nextRowIdBefore || run.overwritten.has(rowId)) continue;
      wanted[count] = rowId;
      count += 1;
    }
    if (count === 0) return;
    run.pieces.push(this.#fetchStaged(wanted.subarray(0, count)));
  }

  /** The rows of the delta's new side: those overwritten and those appended, as far as they live. */
  #insertedRows(run: StageRun): Batch | undefined {
    const rowIds: number[] = [];
    for (const rowId of run.overwritten) if (this.#store.isLive(rowId)) rowIds.push(rowId);
    rowIds.sort((a, b) => a - b);
    for (let rowId = run.nextRowIdBefore; rowId < this.#store.nextRowId; rowId += 1) {
      if (this.#store.isLive(rowId)) rowIds.push(rowId);
    }
    return rowIds.length === 0 ? undefined : this.#fetchStaged(Float64Array.from(rowIds));
  }

  #rollBack(run: StageRun, before: Before): void {
    this.#setLimits(false);
    if (run.cleared !== undefined) {
      run.lazy?.close();
      this.#indexes.unclear();
      this.#store.unclear(run.cleared, before.nextRowId, before.rowCount);
      return;
    }
    for (const piece of run.pieces) {
      for (let row = 0; row < piece.rowCount; row += 1) {
        const rowId = piece.rowIds![row]!;
        if (run.overwritten.has(rowId)) this.#store.overwrite(rowId, this.#columns, piece, row);
      }
    }
    for (const rowId of run.removed) this.#store.restore(rowId);
    this.#store.truncateTo(before.nextRowId);
    this.#store.rowCount = before.rowCount;
    this.#indexes.forgetFrom(before.nextRowId);
  }

  /** Old rows take their place again: overwritten ones by value, dead ones come back to life. */
  #takeBack(entry: LogEntry): void {
    if (entry.deletedCount === 0) return;
    const old: Batch = {
      rowCount: entry.deletedCount,
      columns: entry.columns.map((_, position) => entry.deletedVector(position)),
    };
    for (let row = 0; row < entry.deletedCount; row += 1) {
      const rowId = entry.deletedRowId(row);
      if (entry.isOverwritten(row))
        this.#store.overwrite(rowId, entry.columns, old, entry.deletedIndex(row));
      if (!this.#store.isLive(rowId)) this.#store.restore(rowId);
    }
  }

  #push(
    delta: TableDelta,
    isOverwritten: Uint8Array | undefined,
    before: Before,
    cleared: SegmentList | undefined,
  ): LogEntry {
    return this.#log.push(delta, isOverwritten, this.#facts(before, cleared));
  }

  #facts(before: Before, cleared: SegmentList | undefined): LogEntryFacts {
    return {
      columns: this.#columns,
      nextRowIdBefore: before.nextRowId,
      rowCountBefore: before.rowCount,
      isClear: cleared !== undefined,
    };
  }

  #staged(cleared?: SegmentList, lazy?: LazyRows): void {
    this.#stagedViews.push(this.#stagedView(cleared, lazy));
  }

  /** A batch without a selection whose values are allowed where they go. */
  #checked(batch: Batch): Batch {
    const rows = denseBatch(batch);
    this.#check(rows);
    return rows;
  }

  #check(rows: Batch): void {
    assert(
      rows.columns.length === this.#columns.length,
      'a written batch has all columns of the table',
    );
    if (rows.weights !== undefined) {
      for (let row = 0; row < rows.rowCount; row += 1)
        assert(rows.weights[physical(rows, row)] === 1, 'rows are stored one by one');
    }
    for (let column = 0; column < rows.columns.length; column += 1) {
      const schema = this.#schema.columns[column]!;
      if (schema.nullable) continue;
      const vector = rows.columns[column]!;
      if (vector.validity === undefined && vector.rep !== 'object') continue;
      for (let row = 0; row < rows.rowCount; row += 1) {
        const at = physical(rows, row);
        if (isNullAt(vector, at)) throw nullRefused(this.#schema, schema, rows, at);
      }
    }
  }

  // ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

  snapshot(): TableSnapshot {
    return this.#open(
      this.#forReaders(),
      this.#indexes.published,
      this.#stagedFrom,
      this.#stagedFrom,
      this.#position,
    );
  }

  staged(): TableSnapshot {
    return this.#openStaged();
  }

  snapshotAt(position: number): TableSnapshot | undefined {
    if (!this.#log.covers(position)) return undefined;
    const after = this.#log.firstAfter(position);
    if (after >= this.#stagedFrom) return this.snapshot();
    const { nextRowIdBefore, rowCountBefore } = this.#log.entry(after);
    const view = { ...this.#forReaders(), rowIdEnd: nextRowIdBefore, rowCount: rowCountBefore };
    return this.#open(view, this.#indexes.published, after, this.#stagedFrom, position);
  }

  changes(
    from: number,
    to: number,
    reading?: 'atOnce',
  ): { readonly position: number; readonly delta: TableDelta }[] | undefined {
    if (!this.#log.covers(from)) return undefined;
    const found: { readonly position: number; readonly delta: TableDelta }[] = [];
    for (let sequence = this.#log.firstAfter(from); sequence < this.#stagedFrom; sequence += 1) {
      const entry = this.#log.entry(sequence);
      if (entry.position > to) break;
      if (entry.isEmpty) continue;
      const delta = reading === 'atOnce' ? entry.deltaAtOnce : entry.delta;
      found.push({
        position: entry.position,
        delta: entry.isMinimal
          ? { deleted: delta.deleted, inserted: delta.inserted, isMinimal: true }
          : delta,
      });
    }
    return found;
  }

  beginHistory(position: number): void {
    this.#log.forget(position);
    this.#evict();
  }

  covers(position: number): boolean {
    return this.#log.covers(position);
  }

  /** What is published, without the deletes that are only staged: those may be marked in bitmaps that it shares with the newest state. */
  #forReaders(): PublishedView {
    const end = this.#log.endSequence;
    if (this.#unmarkedTo < end) {
      this.#published = {
        ...this.#published,
        list: withoutMarks(this.#published.list, this.#stagedDeletes(this.#unmarkedTo, end)),
      };
      this.#unmarkedTo = end;
    }
    return this.#published;
  }

  /**
   * Deletes that are undone leave earlier lists, too: they may be marked in bitmaps that those share, where a reader that came since
   * made the undoing go on in a copy.
   */
  #takeMarksOff(entry: LogEntry): void {
    const unmarked = (view: PublishedView): PublishedView => {
      const list = withoutMarks(view.list, deletedRowIds(entry));
      return list === view.list ? view : { ...view, list };
    };
    this.#published = unmarked(this.#published);
    for (let index = 0; index < this.#stagedViews.length; index += 1)
      this.#stagedViews[index] = unmarked(this.#stagedViews[index]!);
  }

  /** Row ids that entries [from, end) deleted, up to a truncation: that one has a list of its own. */
  *#stagedDeletes(from: number, end: number): Generator<number> {
    for (let sequence = from; sequence < end; sequence += 1) {
      const entry = this.#log.entry(sequence);
      if (entry.isClear) return;
      yield* deletedRowIds(entry);
    }
  }

  #openStaged(): Snapshot {
    const { endSequence } = this.#log;
    return this.#open(this.#stagedView(), this.#indexes.all, endSequence, endSequence, undefined);
  }

  #open(
    view: PublishedView,
    indexes: readonly TableIndex[],
    logFrom: number,
    logPresent: number,
    position: number | undefined,
  ): Snapshot {
    const snapshot = new Snapshot(
      {
        schema: this.schema,
        columns: this.#columns,
        list: view.list,
        rowIdEnd: view.rowIdEnd,
        rowCount: view.rowCount,
        indexes,
        logFrom,
        logPresent,
        position,
        times: this.#times,
      },
      this.#log,
      view.epoch,
      (released) => this.#released(released),
    );
    this.#snapshots.add(snapshot);
    if (logPresent < this.#pinnedFrom) this.#pinnedFrom = logPresent;
    return snapshot;
  }

  #released(snapshot: Snapshot): void {
    this.#snapshots.delete(snapshot);
    if (this.#isClosing) {
      if (this.#snapshots.size === 0) this.#closeNow();
      return;
    }
    if (snapshot.pinnedFrom === this.#pinnedFrom) {
      this.#pinnedFrom = Infinity;
      for (const { pinnedFrom } of this.#snapshots)
        if (pinnedFrom < this.#pinnedFrom) this.#pinnedFrom = pinnedFrom;
      this.#reclaim(RECLAIM_ROWS_AT_ONCE);
      this.#evict();
    }
    if (this.#retired.length > 0) this.#closeRetired();
  }

  // ── definitions ──────────────────────────────────────────────────────────────────────────────────────────────

  addColumn(column: ColumnSchema, value: Datum): void {
    this.#wholeSchema = undefined;
    this.#schema = { ...this.#schema, columns: [...this.#schema.columns, column] };
    const stored = new StoredColumn(
      this.#nextColumnId,
      column.type,
      value,
      this.#memory,
      this.#lease,
    );
    this.#nextColumnId += 1;
    this.#abandonUpkeep();
    this.#setLimits(false);
    for (const state of this.#store.list.states)
      if (state?.segment.kind === 'open') state.segment.addColumn(stored);
    this.#setLimits(true);
    this.#columns = [...this.#columns, stored];
    this.#log.forget(this.#position);
  }

  dropColumn(index: number): void {
    const column = this.#columns[index];
    assert(column !== undefined, 'a column that is dropped is there');
    assert(
      !this.#indexes.schemas.some(({ columnIndexes }) => columnIndexes.includes(index)),
      'no index is over a dropped column',
    );
    this.#abandonUpkeep();
    this.#wholeSchema = undefined;
    this.#schema = {
      ...this.#schema,
      columns: this.#schema.columns.filter((_, position) => position !== index),
    };
    this.#columns = this.#columns.filter((_, position) => position !== index);
    this.#indexes.columnDropped(index);
    this.#log.forget(this.#position);
    const { list } = this.#store;
    this.#retire(() => {
      for (const state of list.states) {
        const segment = state?.segment;
        if (segment?.kind === 'open') segment.dropColumn(column);
        else if (segment !== undefined) this.#lease.give(segment.dropColumn(column));
      }
      column.close();
    });
    this.#refreshPublished();
    this.#closeRetired();
  }

  renameColumn(index: number, name: string): void {
    const columns = this.#schema.columns.map((column, position) =>
      position === index ? { ...column, name } : column,
    );
    this.#wholeSchema = undefined;
    this.#schema = { ...this.#schema, columns };
  }

  alterSchema(schema: TableSchema): void {
    assert(schema.columns.length === this.#columns.length, 'altering keeps the number of columns');
    for (const [index, column] of schema.columns.entries()) {
      assert(
        sameType(column.type, this.#schema.columns[index]!.type),
        'altering keeps the types of columns',
      );
    }
    this.#wholeSchema = undefined;
    this.#schema = { ...schema, seed: this.#schema.seed };
    this.#indexes.rename(schema.indexes);
  }

  addIndex(index: IndexSchema): void {
    for (const _ of this.addIndexInSteps(index));
  }

  /**
   * The same, yielding the number of rows indexed since the last yield; nobody may write to the table until it is done. Throws 23505
   * with nothing changed.
   */
  *addIndexInSteps(index: IndexSchema): Generator<number, void> {
    const snapshot = this.#openStaged();
    try {
      yield* this.#indexes.build(index, snapshot, this.#log.endSequence);
      this.#wholeSchema = undefined;
    } finally {
      snapshot.release();
    }
  }

  dropIndex(name: string): void {
    this.#wholeSchema = undefined;
    this.#indexes.drop(name, this.#retire.bind(this));
    this.#refreshPublished();
    this.#closeRetired();
  }

  compact(segment: number): void {
    this.#upkeep().compact(segment, this.#forReaders().list);
  }

  /** Who still reads it may read on: memory is given back when the last snapshot is. */
  close(): void {
    this.#isClosing = true;
    this.#closeLazyRows();
    if (this.#snapshots.size === 0) this.#closeNow();
  }

  #closeLazyRows(): void {
    for (const lazy of this.#lazyRows.splice(0)) lazy.close();
  }

  #closeNow(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#abandonUpkeep();
    for (const retired of this.#retired.splice(0)) retired.close();
    for (const { dictionary } of this.#left.splice(0)) dictionary.close();
    for (const column of this.#columns) column.close();
    closeDictionaries(this.#store.list);
    this.#log.close();
    this.#lease.close();
  }

  #abandonUpkeep(): void {
    this.#maintenance?.abandon();
    this.#texts.abandon();
  }

  // ── upkeep and statistics ────────────────────────────────────────────────────────────────────────────────────

  get needsUpkeep(): boolean {
    return (
      this.#lazyRows.length > 0 ||
      this.#texts.isWanted ||
      this.#reclaimedTo < Math.min(this.#stagedFrom, this.#pinnedFrom) ||
      (this.#maintenance !== undefined
        ? this.#maintenance.isWanted
        : this.#store.nextRowId >= SEGMENT_ROWS)
    );
  }

  maintain(units: number): boolean {
    this.#closeLazyRows();
    let left = this.#reclaim(units);
    this.#evict();
    if (left > 0 && (this.#maintenance !== undefined || this.#store.nextRowId >= SEGMENT_ROWS)) {
      left = this.#upkeep().run(left);
    }
    if (left > 0 && this.#texts.isWanted) {
      this.#setLimits(false);
      left = this.#texts.run(left);
      this.#setLimits(true);
    }
    return left <= 0;
  }

  distinctEstimate(column: number): number | undefined {
    const stored = this.#columns[column];
    if (stored === undefined) return undefined;
    const rows = this.#store.rowCount;
    if (this.#indexes.isUniqueAlone(column)) return rows;
    if (stored.dictionary !== undefined && !stored.isRaw)
      return Math.min(rows, stored.dictionary.size);
    // Asked for at every planning, worth computing once in a few thousand rows.
    const at = Math.floor(this.#store.nextRowId / 4096);
    const cached = this.#distinctCache.get(stored.id);
    if (cached?.at === at && at > 0) return Math.min(rows, cached.estimate);
    const estimate = stored.sketch?.estimate() ?? distinctOfOpenRows(this.#store.list, stored);
    this.#distinctCache.set(stored.id, { at, estimate });
    return Math.min(rows, estimate);
  }

  zoneShare(tests: readonly ZoneTest[]): number {
    let passing = 0;
    let total = 0;
    for (const state of this.#store.list.states) {
      if (state === undefined) continue;
      const { segment, deletes } = state;
      const rows = segment.rowCount - (deletes?.count ?? 0);
      total += rows;
      const passes =
        segment.kind === 'open' ||
        tests.every((test) => segmentPasses(segment, this.#columns[test.column]!, test));
      if (passes) passing += rows;
    }
    return total === 0 ? 1 : passing / total;
  }

  segmentsToCompact(): SparseSegment[] {
    const sparse: SparseSegment[] = [];
    for (const state of this.#published.list.states) {
      if (state === undefined || state.segment.kind === 'open') continue;
      if ((state.deletes?.count ?? 0) * 2 > state.segment.rowCount) sparse.push(state.segment);
    }
    return sparse;
  }

  /** The segments of the newest state, for scans that plan their own reading (progressive, workers). */
  segmentStates(): readonly (SegmentState | undefined)[] {
    return this.#store.list.states;
  }

  #upkeep(): Maintenance {
    this.#maintenance ??= new Maintenance({
      store: this.#store,
      memory: this.#memory,
      lease: this.#lease,
      seed: this.#schema.seed,
      columns: () => this.#columns,
      timeColumn: () => this.#timeColumn(),
      stableTo: () => this.#stableTo(),
      retire: (close) => this.#retire(close),
      sealed: (segment, source) => this.#sealed(segment, source),
      installed: () => {
        this.#refreshPublished();
        this.#closeRetired();
      },
    });
    return this.#maintenance;
  }

  /** A segment with `moved` in the place of one of its columns, whose bytes are given back when nobody reads it, stands in for it. */
  #replaceSealed(
    segment: SealedSegment,
    id: number,
    before: SealedColumn,
    moved: SealedColumn,
  ): void {
    this.#lease.take(moved.byteLength);
    this.#store.beginOperation();
    const { deletes } = stateOf(this.#store.list, segment.firstRowId)!;
    const successor = segment.withColumn(id, moved, this.#columns);
    this.#store.replace(segment.number, { segment: successor, deletes });
    this.#retire(() => segment.leave(this.#lease, before.byteLength));
    this.#refreshPublished();
    this.#closeRetired();
  }

  /** The rows lie in their segment for good: the log need not hold them as well. */
  #sealed(segment: SealedSegment, source: OpenSegment): void {
    const first = source.firstRowId + source.firstOrdinal;
    const { overwrittenFrom, overwrittenEnd } = source;
    this.#log.sealed(
      new SegmentImage(segment),
      overwrittenFrom < overwrittenEnd
        ? { from: first + overwrittenFrom, end: first + overwrittenEnd }
        : undefined,
    );
  }

  #timeColumn(): StoredColumn | undefined {
    const chosen = this.#schema.timeColumn;
    if (chosen !== undefined) return this.#columns[chosen];
    return this.#columns.find(
      ({ type }) =>
        type.kind === 'timestamp' || type.kind === 'timestamptz' || type.kind === 'date',
    );
  }

  /** Rows with ids below neither change nor are undone: what may be sealed. */
  #stableTo(): number {
    const nextRowId =
      this.#stagedViews.length === 0
        ? this.#store.nextRowId
        : this.#log.entry(this.#stagedFrom).nextRowIdBefore;
    return Math.floor(nextRowId / SEGMENT_ROWS) * SEGMENT_ROWS;
  }

  #fetchStaged(rowIds: Float64Array): Batch {
    return fetchRows(rowIds, this.#columns, (rowId) => {
      const found = this.#store.find(rowId);
      return found === undefined
        ? undefined
        : { entry: undefined, segment: found.segment, place: found.place };
    });
  }

  #stagedView(cleared?: SegmentList, lazy?: LazyRows): PublishedView {
    const { list, nextRowId, rowCount } = this.#store;
    return { list, rowIdEnd: nextRowId, rowCount, epoch: this.#epoch, cleared, lazy };
  }

  /** Without staged commits, readers may have what maintenance has made meanwhile. */
  #refreshPublished(): void {
    if (this.#stagedViews.length === 0) this.#published = this.#stagedView();
  }

  #retire(close: () => void): void {
    this.#retired.push({ close, epoch: this.#epoch });
    this.#epoch += 1;
  }

  /** Frees what no reader can hold any more: everything retired before the oldest list in use was taken. */
  #closeRetired(): void {
    let oldest = this.#published.epoch;
    for (const { epoch } of this.#snapshots) if (epoch < oldest) oldest = epoch;
    while (this.#retired.length > 0 && this.#retired[0]!.epoch < oldest)
      this.#retired.shift()!.close();
  }

  /** Takes stale pairs out of the indexes that no reader can need; returns the units left of `rows`. */
  #reclaim(rows: number): number {
    const end = Math.min(this.#stagedFrom, this.#pinnedFrom);
    let left = rows;
    while (this.#reclaimedTo < end && left > 0) {
      const entry = this.#log.entry(this.#reclaimedTo);
      const count =
        entry.leavesGarbage && !entry.isClear && !this.#indexes.isEmpty ? entry.deletedCount : 0;
      const stop = Math.min(count, this.#reclaimRow + left);
      if (stop > this.#reclaimRow) this.#indexes.reclaim(entry, this.#reclaimRow, stop);
      left -= Math.max(1, stop - this.#reclaimRow);
      this.#reclaimRow = stop;
      if (stop === count) {
        this.#reclaimedTo += 1;
        this.#reclaimRow = 0;
      }
    }
    const { first } = this.#store.list;
    const isAlone = this.#snapshots.size === 0 && this.#stagedViews.length === 0;
    if (first > this.#forgottenTo && isAlone && this.#reclaimedTo === this.#stagedFrom) {
      this.#forgottenTo = first;
      this.#indexes.forgetBefore(first * SEGMENT_ROWS);
    }
    return left;
  }

  /** The texts that history alone names are part of it. */
  #evict(byteLimit = Math.max(0, this.#log.byteLimit - this.#leftBytes)): void {
    this.#log.evict(Math.min(this.#reclaimedTo, this.#pinnedFrom), byteLimit);
    if (this.#left.length > 0) this.#closeLeft();
  }

  expire(position: number): void {
    this.#log.expire(Math.min(position, this.#position));
    this.#evict();
  }

  freeMemory(): boolean {
    const before = this.memoryBytes;
    this.#reclaim(Infinity);
    this.#evict(0);
    // Where somebody still reads, or may undo, the texts that are left would be held beside the new ones.
    if (this.#snapshots.size === 0 && this.#log.firstSequence === this.#log.endSequence) {
      this.#setLimits(false);
      this.#maintenance?.abandon();
      this.#texts.force();
      this.#setLimits(true);
      this.#closeRetired();
    }
    return this.memoryBytes < before;
  }

  /** Rows and indexes have left a dictionary: readers and history may still name its texts. */
  #leave(dictionary: Dictionary): void {
    this.#log.beginChunk();
    const left: Left = { dictionary, until: this.#log.endSequence, isRead: true };
    this.#left.push(left);
    this.#retire(() => {
      left.isRead = false;
      this.#closeLeft();
    });
    this.#refreshPublished();
    this.#closeRetired();
  }

  get #leftBytes(): number {
    let bytes = 0;
    for (const { dictionary } of this.#left) bytes += dictionary.memoryBytes;
    return bytes;
  }

  #closeLeft(): void {
    for (let index = this.#left.length - 1; index >= 0; index -= 1) {
      const { dictionary, until, isRead } = this.#left[index]!;
      if (isRead || this.#log.firstSequence < until) continue;
      dictionary.close();
      this.#left.splice(index, 1);
    }
  }

  #setLimits(limits: boolean): void {
    if (this.#lease.limits === limits) return;
    this.#lease.limits = limits;
    this.#log.limits = limits;
    for (const column of this.#columns) column.limits = limits;
  }
}

type Before = { readonly nextRowId: number; readonly rowCount: number };

type PublishedView = {
  readonly list: SegmentList;
  readonly rowIdEnd: number;
  readonly rowCount: number;
  /** Retirements before the list was taken. */
  readonly epoch: number;
  /** The list that a truncation replaced. */
  readonly cleared: SegmentList | undefined;
  readonly lazy: LazyRows | undefined;
};

/** A dictionary that no row is in any more; entries of the log before `until` may name its texts. */
type Left = { readonly dictionary: Dictionary; readonly until: number; isRead: boolean };

type Retired = { readonly close: () => void; readonly epoch: number };

const NO_CHANGE: TableDelta = { deleted: undefined, inserted: undefined };

/** What one call of `stage` has done so far. */
class StageRun {
  readonly nextRowIdBefore: number;
  /** Rows as they were before, each once, with row ids. */
  readonly pieces: Batch[] = [];
  /** Rows from before that were overwritten, whether or not they were deleted later. */
  readonly overwritten = new Set<number>();
  /** Rows from before that died. */
  readonly removed: number[] = [];
  cleared: SegmentList | undefined;
  /** The rows of a large truncation. */
  lazy: LazyRows | undefined;

  constructor(nextRowIdBefore: number) {
    this.nextRowIdBefore = nextRowIdBefore;
  }

  get isEmpty(): boolean {
    return this.pieces.length === 0;
  }

  /** 1 where the row was overwritten. */
  overwrittenOf(deleted: Batch | undefined): Uint8Array | undefined {
    if (deleted === undefined || this.overwritten.size === 0) return undefined;
    return Uint8Array.from(deleted.rowIds!.subarray(0, deleted.rowCount), (rowId) =>
      this.overwritten.has(rowId) ? 1 : 0,
    );
  }

  /** All old rows in row-id order. */
  deletedRows(): Batch | undefined {
    if (this.lazy !== undefined) return this.lazy;
    if (this.pieces.length === 0) return undefined;
    const all = concatBatches(this.pieces);
    if (isAscending(all.rowIds!)) return all;
    const order = Int32Array.from({ length: all.rowCount }, (_, row) => row).sort(
      (a, b) => all.rowIds![a]! - all.rowIds![b]!,
    );
    return denseBatch({ ...all, selection: order });
  }
}

function copyOf(rowIds: Float64Array): Float64Array {
  const copy = slabDoubles(rowIds.length);
  copy.set(rowIds);
  return copy;
}

/**
 * The rows of an update by new row id: those that stay in the open segment by their ids, then those that move, in the order of the write.
 * Without a selection where some move.
 */
function newRows(
  rows: Batch,
  rowIds: Float64Array,
  order: Int32Array | undefined,
  moved: number,
  openFrom: number,
): Batch {
  const count = rowIds.length;
  if (moved === count) return denseBatch(rows, slabOfKind);
  if (moved === 0 && order === undefined) return rows;
  const selection = slabInts(count);
  const stays = count - moved;
  for (let row = 0; row < stays; row += 1)
    selection[row] = physical(rows, order === undefined ? moved + row : order[moved + row]!);
  let next = stays;
  for (let index = 0; moved > 0 && index < count; index += 1) {
    if (rowIds[index]! >= openFrom) continue;
    selection[next] = physical(rows, index);
    next += 1;
  }
  const sorted = { rowCount: count, columns: rows.columns, selection };
  return moved === 0 ? sorted : denseBatch(sorted, slabOfKind);
}

function* deletedRowIds(entry: LogEntry): Generator<number> {
  for (let row = 0; row < entry.deletedCount; row += 1) yield entry.deletedRowId(row);
}

/** The physical row of a batch's logical one. */
function physical(batch: Batch, row: number): number {
  return batch.selection === undefined ? row : batch.selection[row]!;
}

function closeSegments(list: SegmentList, lease: MemoryLease): void {
  for (const state of list.states) {
    if (state === undefined) continue;
    const { segment, deletes } = state;
    if (deletes !== undefined) lease.give(deletes.byteLength);
    if (segment.kind === 'open') segment.close();
    else segment.close(lease);
  }
}

/** Dictionaries of single segments account for themselves. */
function closeDictionaries(list: SegmentList): void {
  for (const state of list.states) {
    if (state?.segment.kind === 'sealed') state.segment.closeDictionaries();
  }
}
