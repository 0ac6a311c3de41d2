import { assert } from '../base/errors.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import type { SealedColumn } from './encode.ts';
import type { Deletes } from './deletes.ts';
import type { OpenSegment } from './open-segment.ts';
import type { StoredColumn } from './stored-column.ts';
import { constantVector } from './build.ts';
import type { Vector } from './vector.ts';

/** Row ids [k × 65,536, (k + 1) × 65,536) belong to segment k for ever, so a row id leads to its segment by a division. */
export const SEGMENT_ROWS = 65_536;

export const segmentOf = (rowId: number): number => Math.floor(rowId / SEGMENT_ROWS);

/**
 * Rows that do not change any more, in the order of a permutation that depends on the table's seed and the segment's number
 * only: any prefix of the slots is a fair sample. `slotOf` leads from arrival order to slots.
 */
export class SealedSegment {
  readonly kind = 'sealed';
  readonly number: number;
  readonly rowCount: number;
  /** The ordinal (row id − number × 65,536) of the first row, where rows are consecutive. */
  readonly firstOrdinal: number;
  /** The i-th row in arrival order is in slot slotOf[i]. */
  readonly slotOf: Uint16Array;
  /** Ordinals of the rows in arrival order, ascending; undefined: firstOrdinal, firstOrdinal + 1, … */
  readonly ordinals: Uint16Array | undefined;
  /** By the id of the stored column; undefined where the segment is older than the column. */
  columns: readonly (SealedColumn | undefined)[];
  /** Who reads its columns whatever becomes of the segment. */
  #pins = new Pins();
  /** Slots in the order of the time column (NULLs last, ties in arrival order); undefined without such a column. */
  readonly timeOrder: Uint16Array | undefined;
  /** The id of the column that `timeOrder` is of. */
  readonly timeColumn: number | undefined;
  byteLength: number;
  /** How often it was compacted: part of the permutation's seed. */
  readonly generation: number;
  /** Of all but the columns, which have their own: `checksumOfSegment`, taken when it was sealed. */
  readonly checksum: number;

  constructor(parts: SealedParts) {
    this.number = parts.number;
    this.rowCount = parts.rowCount;
    this.firstOrdinal = parts.firstOrdinal;
    this.slotOf = parts.slotOf;
    this.ordinals = parts.ordinals;
    this.columns = parts.columns;
    this.timeOrder = parts.timeOrder;
    this.timeColumn = parts.timeColumn;
    this.byteLength = parts.byteLength;
    this.generation = parts.generation;
    this.checksum = parts.checksum;
  }

  /** The same rows in other columns, one for each. */
  withColumns(columns: SealedParts['columns']): SealedSegment {
    return new SealedSegment({ ...this, columns });
  }

  /**
   * Stands in for this one, with which it shares all columns of the table but one: this one is not closed then, but left (`leave`). Columns
   * that were dropped stay here until their bytes are given back.
   */
  withColumn(id: number, column: SealedColumn, kept: readonly StoredColumn[]): SealedSegment {
    const columns: (SealedColumn | undefined)[] = this.columns.map(() => undefined);
    let { byteLength } = this;
    for (const each of this.columns) byteLength -= each?.byteLength ?? 0;
    for (const { id: own } of kept) {
      const shared = own === id ? column : this.columns[own];
      if (shared === undefined) continue;
      columns[own] = shared;
      byteLength += shared.byteLength;
    }
    const successor = new SealedSegment({ ...this, columns, byteLength });
    successor.#pins = this.#pins;
    return successor;
  }

  /** Another one stands in for it, but for a column of this many bytes, which nobody reads any more unless he has pinned it. */
  leave(lease: MemoryLease, byteLength: number): void {
    this.#pins.give(lease, byteLength);
  }

  get firstRowId(): number {
    return this.number * SEGMENT_ROWS;
  }

  /** Where the row is, or −1 where it is not (any more). */
  placeOf(ordinal: number): number {
    const index = this.indexOf(ordinal);
    return index < 0 ? -1 : this.slotOf[index]!;
  }

  /** Places of rows [start, end) of a list of ids, which are of the segment: −1 where one is not (any more), and false. */
  placesOf(rowIds: Float64Array, start: number, end: number, places: Int32Array): boolean {
    const { slotOf, rowCount, firstRowId } = this;
    let areThere = true;
    if (this.ordinals !== undefined) {
      for (let at = start; at < end; at += 1) {
        const place = this.placeOf(rowIds[at]! - firstRowId);
        places[at] = place;
        if (place < 0) areThere = false;
      }
      return areThere;
    }
    const first = firstRowId + this.firstOrdinal;
    for (let at = start; at < end; at += 1) {
      const index = rowIds[at]! - first;
      const isHere = index >= 0 && index < rowCount;
      places[at] = isHere ? slotOf[index]! : -1;
      if (!isHere) areThere = false;
    }
    return areThere;
  }

  /** The row's number in arrival order, or −1. */
  indexOf(ordinal: number): number {
    const { ordinals } = this;
    if (ordinals === undefined) {
      const index = ordinal - this.firstOrdinal;
      return index < 0 || index >= this.rowCount ? -1 : index;
    }
    let low = 0;
    let high = ordinals.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (ordinals[middle]! < ordinal) low = middle + 1;
      else high = middle;
    }
    return low < ordinals.length && ordinals[low] === ordinal ? low : -1;
  }

  /** The ordinal of the i-th row in arrival order. */
  ordinalAt(index: number): number {
    return this.ordinals === undefined ? this.firstOrdinal + index : this.ordinals[index]!;
  }

  /** The inverse of the permutation: ordinals by slot, written to `out`. */
  ordinalsBySlot(out: Uint16Array): void {
    const { slotOf, rowCount, ordinals, firstOrdinal } = this;
    if (ordinals === undefined)
      for (let index = 0; index < rowCount; index += 1) out[slotOf[index]!] = firstOrdinal + index;
    else for (let index = 0; index < rowCount; index += 1) out[slotOf[index]!] = ordinals[index]!;
  }

  /** The bytes that a dropped column gives back; nobody reads it any more. */
  dropColumn(column: StoredColumn): number {
    const dropped = this.columns[column.id];
    if (dropped === undefined) return 0;
    dropped.ownDictionary?.close();
    // A list of its own: whoever has the old one goes on reading there.
    this.columns = this.columns.with(column.id, undefined);
    this.byteLength -= dropped.byteLength;
    return dropped.byteLength;
  }

  close(lease: MemoryLease): void {
    this.#pins.give(lease, this.byteLength);
    this.closeDictionaries();
  }

  pin(): void {
    this.#pins.count += 1;
  }

  unpin(): void {
    this.#pins.unpin();
  }

  closeDictionaries(): void {
    for (const column of this.columns) column?.ownDictionary?.close();
  }

  /** The column by slot; made up where the segment is older than the column. */
  vectorOf(column: StoredColumn): Vector {
    return (
      this.columns[column.id]?.vector ?? constantVector(column.type, column.missing, this.rowCount)
    );
  }
}

/** Bytes that are given up while somebody has a segment pinned are his until the last such has gone. */
class Pins {
  count = 0;
  #owed = 0;
  #lease: MemoryLease | undefined;

  give(lease: MemoryLease, byteLength: number): void {
    if (this.count === 0) return lease.give(byteLength);
    this.#owed += byteLength;
    this.#lease = lease;
  }

  unpin(): void {
    assert(this.count > 0, 'a segment is unpinned as often as it was pinned');
    this.count -= 1;
    if (this.count > 0) return;
    this.#lease?.give(this.#owed);
    this.#owed = 0;
    this.#lease = undefined;
  }
}

export type SealedParts = Pick<
  SealedSegment,
  | 'number'
  | 'rowCount'
  | 'firstOrdinal'
  | 'slotOf'
  | 'ordinals'
  | 'columns'
  | 'timeOrder'
  | 'byteLength'
  | 'generation'
  | 'checksum'
> & { readonly timeColumn?: number | undefined };

export type Segment = OpenSegment | SealedSegment;

/** A segment with the version of its deletes: never changed once a reader may hold it. */
export type SegmentState = {
  readonly segment: Segment;
  readonly deletes: Deletes | undefined;
};

/** The segments of a table by number; versions of it are immutable and share the states. */
export type SegmentList = {
  /** Number of `states[0]`: what lies before was truncated away. */
  readonly first: number;
  /** Undefined: no row of the segment is left. */
  readonly states: readonly (SegmentState | undefined)[];
};

export const NO_SEGMENTS: SegmentList = { first: 0, states: [] };

export function stateOf(list: SegmentList, rowId: number): SegmentState | undefined {
  return list.states[segmentOf(rowId) - list.first];
}

/** Where a row is in its segment, or −1; says nothing about whether it lives. */
export function placeOf(segment: Segment, rowId: number): number {
  return segment.placeOf(rowId - segment.number * SEGMENT_ROWS);
}
