import { assert } from '../base/errors.ts';
import { HashParts } from '../base/hash-parts.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import type { Batch } from '../columns/batch.ts';
import { datumAt, denseBatch, gatherBatch, hashRow } from '../columns/build.ts';
import { equalCells, isNullAt } from '../columns/cells.ts';
import { compareDatums, equalDatums } from '../columns/compare.ts';
import type {
  IndexSchema,
  TableData,
  TableScan,
  TableSchema,
  TableSnapshot,
  TableWrite,
} from '../columns/table-contract.ts';
import type { Datum } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';
import { RowIdSet } from './row-id-set.ts';

/** Row ids from here on name rows that a transaction inserted and has not committed; row ids of tables stay below. */
export const OVERLAY_ROW_ID_BASE = 2 ** 52;

/**
 * A transaction's own uncommitted changes to one table: rows it inserted (in a private table) and row ids of the
 * shared table that it deleted or replaced. Everything is a log, so a savepoint is a pair of lengths.
 */
export class Overlay {
  readonly #inserted: TableData;
  /** Private row ordinal → row id of the shared row it replaces, or −1. */
  readonly #replaces: number[] = [];
  readonly #hidden = new RowIdSet();
  readonly #hiddenLog: number[] = [];
  #stages = 0;
  #truncated = false;
  #isLeft = false;

  /** `inserted`: an empty private table of the shared one's columns without unique indexes. */
  constructor(inserted: TableData) {
    this.#inserted = inserted;
  }

  get isEmpty(): boolean {
    return this.#stages === 0 && this.#hiddenLog.length === 0 && !this.#truncated;
  }

  /** Rows of the shared table are deleted or replaced. */
  get hidesSome(): boolean {
    return this.#truncated || this.#hiddenLog.length > 0;
  }

  get truncated(): boolean {
    return this.#truncated;
  }

  get memoryBytes(): number {
    return this.#inserted.memoryBytes + this.#hidden.bytes + this.#hiddenLog.length * 8;
  }

  insert(rows: Batch): void {
    this.#stage([{ kind: 'insert', rows }]);
    this.#noteReplaced(rows.rowCount, undefined);
  }

  /** Rows of the shared table and of the overlay, told apart by their ids. */
  delete(rowIds: Float64Array): void {
    const { shared, own } = splitRowIds(rowIds);
    for (const id of shared) this.#hide(id);
    if (own.length > 0) this.#stage([{ kind: 'delete', rowIds: own }]);
  }

  /** Row i of `rows` replaces `rowIds[i]`; a shared row's replacement remembers it, so that the commit is an update in place. */
  update(rowIds: Float64Array, rows: Batch): void {
    const replaced = new Float64Array(rowIds.length).fill(-1);
    const own: number[] = [];
    for (let row = 0; row < rowIds.length; row += 1) {
      const id = rowIds[row]!;
      if (id < OVERLAY_ROW_ID_BASE) {
        this.#hide(id);
        replaced[row] = id;
      } else {
        own.push(id - OVERLAY_ROW_ID_BASE);
        replaced[row] = this.#replaces[id - OVERLAY_ROW_ID_BASE]!;
      }
    }
    const writes: TableWrite[] = [];
    if (own.length > 0) writes.push({ kind: 'delete', rowIds: Float64Array.from(own) });
    writes.push({ kind: 'insert', rows });
    this.#stage(writes);
    this.#noteReplaced(rows.rowCount, replaced);
  }

  truncate(): void {
    this.#truncated = true;
    this.#stage([{ kind: 'truncate' }]);
  }

  mark(): OverlayMark {
    return {
      stages: this.#stages,
      hidden: this.#hiddenLog.length,
      rows: this.#replaces.length,
      truncated: this.#truncated,
    };
  }

  /** Everything is rolled back and it is closed next: nothing need be put back in its place before. */
  leave(): void {
    this.#isLeft = true;
  }

  rollbackTo(mark: OverlayMark): void {
    if (this.#isLeft) return;
    for (; this.#stages > mark.stages; this.#stages -= 1) this.#inserted.undo();
    if (mark.hidden === 0) this.#hidden.clear();
    else
      for (let at = mark.hidden; at < this.#hiddenLog.length; at += 1)
        this.#hidden.delete(this.#hiddenLog[at]!);
    this.#hiddenLog.length = mark.hidden;
    this.#replaces.length = mark.rows;
    this.#truncated = mark.truncated;
  }

  /** Rows of the shared table that are deleted or replaced. */
  get hidden(): Pick<RowIdSet, 'has' | 'size'> {
    return this.#hidden;
  }

  /** So many changes that they are read a batch at a time. */
  get isLarge(): boolean {
    return this.#replaces.length + this.#hiddenLog.length > LARGE_ROW_COUNT;
  }

  /**
   * What committing it does to the shared table: a write of each batch, read when it is asked for. Updates before inserts: a key that an update frees
   * may be inserted again.
   */
  *writes(): Generator<TableWrite> {
    if (this.#truncated) yield { kind: 'truncate' };
    else if (this.#hiddenLog.length > 0) {
      const rowIds = this.#deleted();
      if (rowIds.length > 0) yield { kind: 'delete', rowIds };
      yield* this.#rowsOf('update');
    }
    yield* this.#rowsOf('insert');
  }

  /** Rows of the shared table that no row of its own replaces, ascending. */
  #deleted(): Float64Array {
    const replaced = new RowIdSet();
    const snapshot = this.#inserted.staged();
    const scan = snapshot.scan({ columnIndexes: [], ordered: true, withRowIds: true });
    for (let batch = scan.next(); batch !== undefined; batch = scan.next())
      for (let row = 0; row < batch.rowCount; row += 1) {
        const id = this.#replacedBy(batch, row);
        if (id >= 0) replaced.add(id);
      }
    snapshot.release();
    return Float64Array.from(this.#hiddenLog.filter((id) => !replaced.has(id))).sort();
  }

  *#rowsOf(kind: 'update' | 'insert'): Generator<TableWrite> {
    const snapshot = this.#inserted.staged();
    try {
      const columnIndexes = this.#inserted.schema.columns.map((_, index) => index);
      const scan = snapshot.scan({ columnIndexes, ordered: true, withRowIds: true });
      for (let batch = scan.next(); batch !== undefined; batch = scan.next()) {
        const wanted: number[] = [];
        const ids: number[] = [];
        for (let row = 0; row < batch.rowCount; row += 1) {
          const id = this.#truncated ? -1 : this.#replacedBy(batch, row);
          if (id >= 0 !== (kind === 'update')) continue;
          wanted.push(row);
          ids.push(id);
        }
        if (wanted.length === 0) continue;
        const rows = rowsOf(batch, wanted);
        yield kind === 'update' ? { kind, rowIds: Float64Array.from(ids), rows } : { kind, rows };
      }
    } finally {
      snapshot.release();
    }
  }

  /** The shared row that a logical row of a batch of its own replaces, or −1. */
  #replacedBy(batch: Batch, row: number): number {
    return this.#replaces[batch.rowIds![batch.selection?.[row] ?? row]!]!;
  }

  /** `base` with these changes on top. */
  over(base: TableSnapshot): TableSnapshot {
    return this.isEmpty
      ? base
      : new OverlaySnapshot(base, this.#inserted.staged(), this.#hidden, this.#truncated);
  }

  isHidden(rowId: number): boolean {
    return this.#truncated || this.#hidden.has(rowId);
  }

  close(): void {
    this.#inserted.close();
  }

  #stage(writes: readonly TableWrite[]): void {
    this.#inserted.stage(writes, { limits: true });
    this.#stages += 1;
  }

  #hide(id: number): void {
    if (this.#hidden.add(id)) this.#hiddenLog.push(id);
  }

  #noteReplaced(rowCount: number, replaced: Float64Array | undefined): void {
    for (let row = 0; row < rowCount; row += 1) this.#replaces.push(replaced?.[row] ?? -1);
    assert(
      this.#replaces.length === this.#inserted.nextRowId,
      'every private row knows what it replaces',
    );
  }
}

const LARGE_ROW_COUNT = 16_384;

export type OverlayMark = {
  readonly stages: number;
  readonly hidden: number;
  readonly rows: number;
  readonly truncated: boolean;
};

class OverlaySnapshot implements TableSnapshot {
  readonly schema: TableSchema;
  readonly rowCount: number;
  readonly isTruncated: boolean;
  readonly #base: TableSnapshot;
  readonly #own: TableSnapshot;
  readonly #hidden: RowIdSet;
  readonly #truncated: boolean;

  constructor(base: TableSnapshot, own: TableSnapshot, hidden: RowIdSet, truncated: boolean) {
    this.schema = base.schema;
    this.#base = base;
    this.#own = own;
    this.#hidden = hidden;
    this.#truncated = truncated;
    this.isTruncated = truncated;
    this.rowCount = (truncated ? 0 : base.rowCount - hidden.size) + own.rowCount;
  }

  scan(options: Parameters<TableSnapshot['scan']>[0]): TableScan {
    const base = this.#truncated ? undefined : this.#base.scan({ ...options, withRowIds: true });
    const own = this.#own.scan({ ...options, withRowIds: true, prune: [] });
    let inBase = base !== undefined;
    return {
      next: () => {
        while (inBase) {
          const batch = base!.next();
          if (batch === undefined) {
            inBase = false;
            break;
          }
          const left = this.#visible(batch);
          if (left !== undefined) return left;
        }
        const batch = own.next();
        return batch === undefined ? undefined : withOverlayIds(batch);
      },
      get rowsRead() {
        return (base?.rowsRead ?? 0) + own.rowsRead;
      },
    };
  }

  findUnique(
    indexName: string,
    keys: readonly Vector[],
    rowCount: number,
    selection?: Int32Array,
  ): Float64Array {
    const found = this.#truncated
      ? new Float64Array(rowCount).fill(-1)
      : this.#base.findUnique(indexName, keys, rowCount, selection);
    if (this.#hidden.size > 0)
      for (let at = 0; at < rowCount; at += 1) if (this.#hidden.has(found[at]!)) found[at] = -1;
    if (this.#own.rowCount === 0) return found;
    // The private table has no unique indexes: its rows are read once, for all keys.
    const wanted = new HashParts(new MemoryLease(undefined));
    const rowAt = (at: number): number => (selection === undefined ? at : selection[at]!);
    for (let at = 0; at < rowCount; at += 1) wanted.add(hashRow(keys, rowAt(at)), at);
    const scan = this.#own.scan({
      columnIndexes: this.#indexOf(indexName).columnIndexes,
      ordered: true,
      withRowIds: true,
    });
    for (let batch = scan.next(); batch !== undefined; batch = scan.next()) {
      const { columns, rowIds, rowCount: count } = denseBatch(batch);
      for (let row = 0; row < count; row += 1) {
        const hash = hashRow(columns, row);
        for (let at = wanted.first(hash); at >= 0; at = wanted.next()) {
          if (sameKey(columns, row, keys, rowAt(at)))
            found[at] = rowIds![row]! + OVERLAY_ROW_ID_BASE;
        }
      }
    }
    return found;
  }

  lookup(indexName: string, key: readonly Datum[]): Float64Array {
    const found = this.#truncated
      ? []
      : [...this.#base.lookup(indexName, key)].filter((id) => !this.#hidden.has(id));
    const index = this.#indexOf(indexName);
    // The private table has no unique indexes (a transaction may hold a key twice between two statements' checks); it is small: scan it.
    const scan = this.#own.scan({
      columnIndexes: index.columnIndexes,
      ordered: true,
      withRowIds: true,
    });
    for (let batch = scan.next(); batch !== undefined; batch = scan.next()) {
      for (let row = 0; row < batch.rowCount; row += 1) {
        const physical = batch.selection === undefined ? row : batch.selection[row]!;
        const equal = index.columnIndexes.every((column, position) => {
          const datum = datumAt(batch.columns[position]!, physical);
          const wanted = key[position]!;
          return (
            datum !== null &&
            wanted !== null &&
            equalDatums(datum, wanted, this.schema.columns[column]!.type.kind)
          );
        });
        if (equal) found.push(batch.rowIds![physical]! + OVERLAY_ROW_ID_BASE);
      }
    }
    return Float64Array.from(found).sort((a, b) => a - b);
  }

  fetch(rowIds: Float64Array, columnIndexes: readonly number[]): Batch {
    const { shared, own } = splitRowIds(rowIds);
    const visible = this.#truncated
      ? new Float64Array(0)
      : Float64Array.from(shared.filter((id) => !this.#hidden.has(id)));
    if (own.length === 0) return this.#base.fetch(visible, columnIndexes);
    const mine = withOverlayIds(this.#own.fetch(own, columnIndexes));
    if (visible.length === 0) return mine;
    return mergeByOrder(rowIds, this.#base.fetch(visible, columnIndexes), mine);
  }

  release(): void {
    this.#base.release();
    this.#own.release();
  }

  #indexOf(name: string): IndexSchema {
    const index = this.schema.indexes.find((each) => each.name === name);
    assert(index !== undefined, 'a lookup names an index of the table');
    return index;
  }

  /** The batch without rows that the transaction deleted or replaced; undefined when none is left. */
  #visible(batch: Batch): Batch | undefined {
    if (this.#hidden.size === 0) return batch;
    const kept = new Int32Array(batch.rowCount);
    let count = 0;
    for (let row = 0; row < batch.rowCount; row += 1) {
      const physical = batch.selection === undefined ? row : batch.selection[row]!;
      if (this.#hidden.has(batch.rowIds![physical]!)) continue;
      kept[count] = physical;
      count += 1;
    }
    if (count === 0) return undefined;
    return count === batch.rowCount
      ? batch
      : { ...batch, rowCount: count, selection: kept.subarray(0, count) };
  }
}

/** Keys that are whole, and equal. */
function sameKey(a: readonly Vector[], aRow: number, b: readonly Vector[], bRow: number): boolean {
  return a.every(
    (column, position) =>
      !isNullAt(column, aRow) &&
      !isNullAt(b[position]!, bRow) &&
      equalCells(column, aRow, b[position]!, bRow),
  );
}

function withOverlayIds(batch: Batch): Batch {
  const ids = batch.rowIds!;
  const moved = new Float64Array(ids.length);
  for (let row = 0; row < ids.length; row += 1) moved[row] = ids[row]! + OVERLAY_ROW_ID_BASE;
  return { ...batch, rowIds: moved };
}

function splitRowIds(rowIds: Float64Array): { shared: Float64Array; own: Float64Array } {
  const shared = rowIds.filter((id) => id < OVERLAY_ROW_ID_BASE);
  if (shared.length === rowIds.length) return { shared, own: new Float64Array(0) };
  return {
    shared,
    own: rowIds.filter((id) => id >= OVERLAY_ROW_ID_BASE).map((id) => id - OVERLAY_ROW_ID_BASE),
  };
}

/** Rows of two fetched batches, in the order the ids were asked for. */
function mergeByOrder(asked: Float64Array, a: Batch, b: Batch): Batch {
  const place = new Map<number, number>();
  for (let row = 0; row < asked.length; row += 1) place.set(asked[row]!, row);
  const both = gatherBatch([a, b]);
  const order = Int32Array.from({ length: both.rowCount }, (_, row) => row).sort((x, y) =>
    compareDatums(place.get(both.rowIds![x]!)!, place.get(both.rowIds![y]!)!, 'float8'),
  );
  return { ...both, selection: order };
}

/** Logical rows of a batch, dense. */
function rowsOf(batch: Batch, rows: readonly number[]): Batch {
  const selection = Int32Array.from(rows);
  if (batch.selection !== undefined)
    for (let at = 0; at < selection.length; at += 1)
      selection[at] = batch.selection[selection[at]!]!;
  return gatherBatch([{ rowCount: selection.length, columns: batch.columns, selection }]);
}
