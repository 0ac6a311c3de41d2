import type { sameKindOfArray } from './array-kernels.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from './batch.ts';
import { constantVector, gather } from './build.ts';
import { livingRows, type Deletes } from './deletes.ts';
import type { OpenSegment } from './open-segment.ts';
import { fetchRows } from './row-fetch.ts';
import { SEGMENT_ROWS, type SealedSegment, type SegmentState } from './segment.ts';
import type { Snapshot } from './snapshot.ts';
import type { StoredColumn } from './stored-column.ts';
import type { TableScan, ZoneTest } from './table-contract.ts';
import { sliceVector, type Vector } from './vector.ts';
import { zoneCovers, zonePasses, type ZoneMap } from './zone-map.ts';

/**
 * Reads a snapshot segment by segment in bounded batches. Sealed segments are handed out without copying, by slot, or
 * gathered where arrival order is asked for; of open ones copies are given, for they change.
 */
export class SegmentScan implements TableScan {
  readonly #snapshot: Snapshot;
  readonly #columns: readonly StoredColumn[];
  readonly #ordered: boolean;
  readonly #withRowIds: boolean;
  /** Row ids of the batch that was handed out, where they are lent only. */
  readonly #lentRowIds: Float64Array | undefined;
  readonly #prune: readonly ZoneTest[];
  readonly #reads: ((segment: number) => boolean) | undefined;
  #rowsRead = 0;
  /** Number of the segment in hand, and how far it was read: slots, rows in arrival order, or visible row ids. */
  #segment: number;
  readonly #segmentEnd: number;
  #at = 0;
  #isNew = true;
  /** Row ids of a segment that has old versions: read one by one. */
  #rowIds: Float64Array | undefined;
  /** Ordinals by slot of the segment in hand. */
  #ordinals: Uint16Array | undefined;
  #ordinalsOf = -1;

  constructor(
    snapshot: Snapshot,
    options: {
      readonly columnIndexes: readonly number[];
      readonly ordered: boolean;
      readonly withRowIds: boolean | 'lent';
      readonly prune?: readonly ZoneTest[];
      /** Only segments that it is true of. */
      readonly reads?: (segment: number) => boolean;
      /** Of this segment alone. */
      readonly segment?: number;
    },
  ) {
    const { view } = snapshot;
    this.#snapshot = snapshot;
    this.#reads = options.reads;
    this.#columns = options.columnIndexes.map((index) => view.columns[index]!);
    this.#ordered = options.ordered;
    this.#withRowIds = options.withRowIds !== false;
    if (options.withRowIds === 'lent') this.#lentRowIds = new Float64Array(BATCH_ROW_COUNT_MAX);
    this.#prune = options.prune ?? [];
    // A reader of the past may see rows of segments that are gone: it starts at the beginning.
    const { segment } = options;
    this.#segment = segment ?? (snapshot.isOfThePast ? 0 : view.list.first);
    this.#segmentEnd =
      segment === undefined ? Math.ceil(view.rowIdEnd / SEGMENT_ROWS) : segment + 1;
  }

  get rowsRead(): number {
    return this.#rowsRead;
  }

  next(): Batch | undefined {
    for (;;) {
      if (this.#segment >= this.#segmentEnd) return undefined;
      const batch = this.#isNew && this.#reads?.(this.#segment) === false ? 'end' : this.#read();
      if (batch === 'end') {
        this.#segment += 1;
        this.#at = 0;
        this.#isNew = true;
        this.#rowIds = undefined;
      } else if (batch !== undefined) {
        return batch;
      }
    }
  }

  /** The next batch of the segment in hand, undefined where the rows looked at are dead, 'end' behind the last. */
  #read(): Batch | 'end' | undefined {
    const { view } = this.#snapshot;
    const state = view.list.states[this.#segment - view.list.first];
    const { overlay } = this.#snapshot;
    if (this.#isNew) {
      this.#isNew = false;
      const isCut =
        state !== undefined &&
        state.segment.kind === 'sealed' &&
        view.rowIdEnd < (this.#segment + 1) * SEGMENT_ROWS;
      if ((overlay?.touches(this.#segment) === true && state?.segment.kind !== 'open') || isCut)
        this.#rowIds = this.#visibleRowIds(state);
      else if (state?.segment.kind === 'sealed' && this.#isPruned(state.segment)) {
        this.#rowsRead += 1;
        return 'end';
      }
    }
    if (this.#rowIds !== undefined) return this.#readByRowId(this.#rowIds);
    if (state === undefined) return 'end';
    const { segment, deletes } = state;
    if (segment.kind === 'open') return this.#readOpen(segment, deletes);
    return this.#ordered
      ? this.#readInArrivalOrder(segment, deletes)
      : this.#readBySlot(segment, deletes);
  }

  #readBySlot(segment: SealedSegment, deletes: Deletes | undefined): Batch | 'end' | undefined {
    const start = this.#at;
    if (start >= segment.rowCount) return 'end';
    const end = Math.min(start + BATCH_ROW_COUNT_MAX, segment.rowCount);
    this.#at = end;
    this.#rowsRead += end - start;
    const selection = livingRows(deletes, start, end);
    if (selection !== undefined && selection.length === 0) return undefined;
    return {
      rowCount: selection?.length ?? end - start,
      columns: this.#columns.map((column) => slotsOf(segment, column, start, end)),
      selection,
      rowIds: this.#withRowIds ? this.#rowIdsBySlot(segment, start, end) : undefined,
    };
  }

  #readInArrivalOrder(
    segment: SealedSegment,
    deletes: Deletes | undefined,
  ): Batch | 'end' | undefined {
    const start = this.#at;
    if (start >= segment.rowCount) return 'end';
    const end = Math.min(start + BATCH_ROW_COUNT_MAX, segment.rowCount);
    this.#at = end;
    this.#rowsRead += end - start;
    const slots = new Int32Array(end - start);
    const rowIds = this.#withRowIds ? new Float64Array(end - start) : undefined;
    const { firstRowId, slotOf } = segment;
    let count = 0;
    for (let index = start; index < end; index += 1) {
      const slot = slotOf[index]!;
      if (deletes !== undefined && deletes.has(slot)) continue;
      slots[count] = slot;
      if (rowIds !== undefined) rowIds[count] = firstRowId + segment.ordinalAt(index);
      count += 1;
    }
    if (count === 0) return undefined;
    return {
      rowCount: count,
      columns: this.#columns.map((column) => gatheredSlots(segment, column, slots, count)),
      rowIds: rowIds?.subarray(0, count),
    };
  }

  #readOpen(segment: OpenSegment, deletes: Deletes | undefined): Batch | 'end' | undefined {
    const start = this.#at;
    const firstRowId = segment.firstRowId + segment.firstOrdinal;
    const rowEnd = Math.min(segment.rowCount, this.#snapshot.view.rowIdEnd - firstRowId);
    const { overlay } = this.#snapshot;
    if (overlay?.touches(segment.number) === true) {
      // From here on by row id: what was read before was handed out as copies.
      const rowIds = this.#visibleRowIds({ segment, deletes });
      // A reader of the past may see rows from before the segment's first.
      this.#rowIds = start === 0 ? rowIds : rowIds.filter((rowId) => rowId >= firstRowId + start);
      this.#at = 0;
      return this.#readByRowId(this.#rowIds);
    }
    if (start >= rowEnd) return 'end';
    const end = Math.min(start + BATCH_ROW_COUNT_MAX, rowEnd);
    this.#at = end;
    this.#rowsRead += end - start;
    const selection = livingRows(deletes, start, end);
    if (selection !== undefined && selection.length === 0) return undefined;
    let rowIds: Float64Array | undefined;
    if (this.#withRowIds) {
      rowIds = new Float64Array(end - start);
      for (let row = start; row < end; row += 1) rowIds[row - start] = firstRowId + row;
    }
    return {
      rowCount: selection?.length ?? end - start,
      columns: this.#columns.map((column) => segment.slice(column, start, end)),
      selection,
      rowIds,
    };
  }

  #readByRowId(rowIds: Float64Array): Batch | 'end' | undefined {
    const start = this.#at;
    if (start >= rowIds.length) return 'end';
    const end = Math.min(start + BATCH_ROW_COUNT_MAX, rowIds.length);
    this.#at = end;
    this.#rowsRead += end - start;
    const batch = fetchRows(rowIds.subarray(start, end), this.#columns, (rowId) =>
      this.#snapshot.locate(rowId),
    );
    if (batch.rowCount === 0) return undefined;
    return this.#withRowIds ? batch : { rowCount: batch.rowCount, columns: batch.columns };
  }

  /** Row ids of the segment in hand that may be visible, ascending: what lives in the segment and what has an old version. */
  #visibleRowIds(state: SegmentState | undefined): Float64Array {
    if (state?.segment.kind === 'open' && !this.#snapshot.isOfThePast) {
      // Old versions are of rows that are there.
      const first = state.segment.firstRowId + state.segment.firstOrdinal;
      return Float64Array.from({ length: state.segment.rowCount }, (_, row) => first + row);
    }
    const rowIds = new Set<number>(this.#snapshot.overlay?.rowIdsIn(this.#segment));
    if (state !== undefined) {
      const { segment } = state;
      const first = segment.firstRowId;
      for (let index = 0; index < segment.rowCount; index += 1) {
        const rowId =
          first +
          (segment.kind === 'open' ? segment.firstOrdinal + index : segment.ordinalAt(index));
        if (rowId < this.#snapshot.view.rowIdEnd) rowIds.add(rowId);
      }
    }
    return Float64Array.from(rowIds).sort();
  }

  #rowIdsBySlot(segment: SealedSegment, start: number, end: number): Float64Array {
    this.#ordinals ??= new Uint16Array(SEGMENT_ROWS);
    if (this.#ordinalsOf !== segment.number) {
      segment.ordinalsBySlot(this.#ordinals);
      this.#ordinalsOf = segment.number;
    }
    const rowIds = this.#lentRowIds ?? new Float64Array(end - start);
    const { firstRowId } = segment;
    for (let slot = start; slot < end; slot += 1)
      rowIds[slot - start] = firstRowId + this.#ordinals[slot]!;
    return rowIds;
  }

  #isPruned(segment: SealedSegment): boolean {
    const { columns } = this.#snapshot.view;
    return this.#prune.some((test) => !segmentPasses(segment, columns[test.column]!, test));
  }
}

/** False only where no row of the segment can pass the test. */
export function segmentPasses(
  segment: SealedSegment,
  column: StoredColumn,
  test: ZoneTest,
): boolean {
  return zonePasses(zoneOf(segment, column), test, column.type.kind);
}

/** True only where every row of the segment passes the test. */
export function segmentCovers(
  segment: SealedSegment,
  column: StoredColumn,
  test: ZoneTest,
): boolean {
  return zoneCovers(zoneOf(segment, column), test, column.type.kind);
}

export function zoneOf(segment: SealedSegment, column: StoredColumn): ZoneMap {
  return (
    segment.columns[column.id]?.zone ?? {
      rowCount: segment.rowCount,
      nullCount: column.missing === null ? segment.rowCount : 0,
      min: column.missing ?? undefined,
      max: column.missing ?? undefined,
    }
  );
}

/** A column of a range of slots, without copying; made up where the segment is older than the column. */
export function slotsOf(
  segment: SealedSegment,
  column: StoredColumn,
  start: number,
  end: number,
): Vector {
  const vector = segment.columns[column.id]?.vector;
  return vector === undefined
    ? constantVector(column.type, column.missing, end - start)
    : lentSlice(vector, start, end);
}

/**
 * What `sliceVector` gives, of the kinds that scans are made of, made in a place of its own. Slices that loading makes live long; where V8 has seen
 * that, it gives birth to all that the place makes among the old, and a slice that is dead there keeps what it refers to from being
 * collected with the young: a third of what a scan leaves behind survived.
 */
export function lentSlice(vector: Vector, start: number, end: number): Vector {
  if (vector.rep === 'number') {
    const { rep, type, values, validity, factor, base, scale, bounds } = vector;
    return {
      rep,
      type,
      values: values.subarray(start, end),
      validity: validity?.subarray(start, end),
      factor,
      base,
      scale,
      bounds,
    };
  }
  if (vector.rep === 'dictionary') {
    const { rep, type, codes, validity, dictionary } = vector;
    return {
      rep,
      type,
      codes: codes.subarray(start, end),
      validity: validity?.subarray(start, end),
      dictionary,
    };
  }
  return sliceVector(vector, start, end);
}

/** A column of some slots, in the given order. */
export function gatheredSlots(
  segment: SealedSegment,
  column: StoredColumn,
  slots: Int32Array,
  count: number,
  arrayLike?: typeof sameKindOfArray,
): Vector {
  const vector = segment.columns[column.id]?.vector;
  return vector === undefined
    ? constantVector(column.type, column.missing, count)
    : gather(vector, slots, count, arrayLike);
}
