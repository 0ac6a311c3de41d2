import { assert } from '../base/errors.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import type { Batch } from './batch.ts';
import { Deletes } from './deletes.ts';
import { CHUNK_ROWS } from './chunk-pool.ts';
import { OpenSegment } from './open-segment.ts';
import type { LocatedRows } from './row-fetch.ts';
import {
  NO_SEGMENTS,
  placeOf,
  SEGMENT_ROWS,
  segmentOf,
  stateOf,
  type Segment,
  type SegmentList,
  type SegmentState,
} from './segment.ts';
import type { StoredColumn } from './stored-column.ts';

/**
 * The rows of a table in their newest (staged) state. Every operation begins with `beginOperation`; it then copies what it changes
 * of the segment list and, where a reader is open, of the delete bitmaps, so that lists taken before stay as they were. Appending and overwriting
 * happen in the open segment itself: readers know which rows are theirs.
 */
export class SegmentStore {
  readonly #lease: MemoryLease;
  #list: SegmentList = NO_SEGMENTS;
  #nextRowId = 0;
  rowCount = 0;
  /** Counts operations: what was made in this one may be written. */
  #epoch = 0;
  #listEpoch = -1;
  /** Nobody holds a list: bitmaps of deletes may be written where they are. */
  #isAlone = false;

  constructor(lease: MemoryLease) {
    this.#lease = lease;
  }

  /** Segments that were kept elsewhere, with what is dead in them; for a store without rows. */
  takeOver(list: SegmentList, nextRowId: number, rowCount: number): void {
    assert(this.#nextRowId === 0, 'a store takes over before it has rows of its own');
    this.#list = list;
    this.#nextRowId = nextRowId;
    this.rowCount = rowCount;
    for (const state of list.states) this.#account(state?.deletes?.byteLength ?? 0);
  }

  get list(): SegmentList {
    return this.#list;
  }

  get nextRowId(): number {
    return this.#nextRowId;
  }

  /** Where rows are changed in place: row ids from here on. A segment just filled is not open any more. */
  get openFrom(): number {
    return segmentOf(this.#nextRowId) * SEGMENT_ROWS;
  }

  /** `isAlone`: no reader is open. Then deletes are marked where they are, and whoever opens one later must know (`withoutMarks`). */
  beginOperation(isAlone = false): void {
    this.#epoch += 1;
    this.#isAlone = isAlone;
  }

  /** Appends the rows of a batch without a selection, from row `start` on, and returns the first one's id. Nothing has changed when it throws. */
  append(columns: readonly StoredColumn[], batch: Batch, start = 0): number {
    const first = this.#nextRowId;
    let done = start;
    try {
      while (done < batch.rowCount) {
        const segment = this.#openSegment();
        const count = Math.min(batch.rowCount - done, segment.room);
        segment.append(columns, batch, done, count);
        done += count;
        this.#nextRowId += count;
      }
    } catch (cause) {
      this.truncateTo(first);
      throw cause;
    }
    this.rowCount += batch.rowCount - start;
    return first;
  }

  /** Takes the newest rows back; their ids will be given again. Does not touch `rowCount`. */
  truncateTo(nextRowId: number): void {
    const number = segmentOf(nextRowId);
    const { first } = this.#list;
    for (
      let index = this.#list.states.length - 1;
      index >= 0 && first + index >= number;
      index -= 1
    ) {
      const state = this.#list.states[index];
      const segment = state?.segment;
      const rowCount =
        segment === undefined
          ? 0
          : Math.max(0, nextRowId - segment.firstRowId - segment.firstOrdinal);
      // A segment that was begun by what is undone goes; one that was there, if only empty, stays.
      if (rowCount > 0 || first + index === number) {
        if (segment?.kind === 'open') {
          if (state!.deletes !== undefined) this.#forgetDeletes(segment, rowCount);
          segment.truncate(rowCount);
        }
        continue;
      }
      if (segment?.kind === 'open') segment.close();
      if (state?.deletes !== undefined) this.#lease.give(state.deletes.byteLength);
      this.#ownList().pop();
    }
    this.#nextRowId = nextRowId;
  }

  /** The segment and place of a living row, or undefined. */
  find(rowId: number): { readonly segment: Segment; readonly place: number } | undefined {
    if (!(rowId < this.#nextRowId)) return undefined;
    const state = stateOf(this.#list, rowId);
    if (state === undefined) return undefined;
    const place = placeOf(state.segment, rowId);
    return place < 0 || state.deletes?.has(place) === true
      ? undefined
      : { segment: state.segment, place };
  }

  isLive(rowId: number): boolean {
    if (!(rowId < this.#nextRowId)) return false;
    const state = stateOf(this.#list, rowId);
    if (state === undefined) return false;
    const place = placeOf(state.segment, rowId);
    return place >= 0 && state.deletes?.has(place) !== true;
  }

  /** A living row dies. */
  remove(rowId: number): void {
    const deletes = this.#ownDeletes(rowId);
    const before = deletes.byteLength;
    const place = placeOf(stateOf(this.#list, rowId)!.segment, rowId);
    assert(place >= 0 && !deletes.has(place), 'a row that is deleted lives');
    deletes.add(place);
    this.#account(deletes.byteLength - before);
    this.rowCount -= 1;
  }

  /** The first `count` of living rows, each there once, die: a segment at a time. */
  removeAll({ runs, places }: LocatedRows, count: number): void {
    let absolute = places;
    for (let index = 0; index < runs.length; index += 1) {
      const { segment, chunk, start } = runs[index]!;
      if (start >= count) break;
      const end = Math.min(count, runs[index + 1]?.start ?? count);
      if (chunk > 0) {
        if (absolute === places) absolute = places.slice();
        for (let row = start; row < end; row += 1) absolute[row]! += chunk * CHUNK_ROWS;
      }
      const deletes = this.#ownDeletes(segment!.firstRowId);
      const before = deletes.byteLength;
      const areLiving = deletes.addAll(absolute, start, end);
      assert(areLiving, 'a row that is deleted lives');
      this.#account(deletes.byteLength - before);
      this.rowCount -= end - start;
    }
  }

  /** A dead row lives again. */
  restore(rowId: number): void {
    const deletes = this.#ownDeletes(rowId);
    const place = placeOf(stateOf(this.#list, rowId)!.segment, rowId);
    assert(place >= 0 && deletes.has(place), 'a row that is restored is there and dead');
    const before = deletes.byteLength;
    deletes.remove(place);
    this.#account(deletes.byteLength - before);
    this.rowCount += 1;
  }

  /** Row `index` of `batch` overwrites a row of the open segment. */
  overwrite(rowId: number, columns: readonly StoredColumn[], batch: Batch, index: number): void {
    const state = stateOf(this.#list, rowId);
    assert(
      state !== undefined && state.segment.kind === 'open',
      'rows are overwritten in the open segment only',
    );
    state.segment.set(placeOf(state.segment, rowId), columns, batch, index);
  }

  /**
   * The first `count` rows of `batch` overwrite the located rows from number `from` on, which lie in the open segment, each there once:
   * column by column.
   */
  overwriteAll(
    { runs, places }: LocatedRows,
    from: number,
    columns: readonly StoredColumn[],
    batch: Batch,
  ): void {
    for (let index = 0; index < runs.length; index += 1) {
      const { segment, chunk, start } = runs[index]!;
      const end = index + 1 < runs.length ? runs[index + 1]!.start : places.length;
      if (end <= from) continue;
      assert(segment?.kind === 'open', 'rows are overwritten in the open segment only');
      segment.setRows(chunk, places, Math.max(start, from), end, columns, batch, from);
    }
  }

  /** Puts another form of a segment in its place, with the deletes by its own places. */
  replace(number: number, state: SegmentState | undefined): void {
    const before = this.#list.states[number - this.#list.first];
    this.#account((state?.deletes?.byteLength ?? 0) - (before?.deletes?.byteLength ?? 0));
    this.#ownList()[number - this.#list.first] = state;
    if (state === undefined) this.#advanceFirst();
  }

  /** Segments at the beginning that are gone are not listed: row ids grow for as long as there is a table. */
  #advanceFirst(): void {
    const { first, states } = this.#list;
    let gone = 0;
    while (gone < states.length && states[gone] === undefined) gone += 1;
    if (gone > 0) this.#list = { first: first + gone, states: states.slice(gone) };
  }

  /** All rows go; the segments are the caller's from here on. */
  clear(): SegmentList {
    const before = this.#list;
    this.#list = { first: segmentOf(this.#nextRowId), states: [] };
    this.#listEpoch = this.#epoch;
    this.rowCount = 0;
    return before;
  }

  /** Undoes `clear`. */
  unclear(list: SegmentList, nextRowId: number, rowCount: number): void {
    for (const state of this.#list.states) {
      if (state?.segment.kind === 'open') state.segment.close();
      if (state?.deletes !== undefined) this.#lease.give(state.deletes.byteLength);
    }
    this.#list = list;
    this.#listEpoch = -1;
    this.#nextRowId = nextRowId;
    this.rowCount = rowCount;
  }

  /** An empty store takes whole segments in; rows to come have ids from `nextRowId` on. */
  adopt(list: SegmentList, nextRowId: number, rowCount: number): void {
    assert(this.#list.states.length === 0, 'an empty store is filled');
    this.#list = list;
    this.#listEpoch = this.#epoch;
    this.#nextRowId = nextRowId;
    this.rowCount = rowCount;
    for (const state of list.states) this.#account(state?.deletes?.byteLength ?? 0);
  }

  newDeletes(): Deletes {
    return new Deletes(this.#epoch);
  }

  /** Rows from `rowCount` on are about to be given again: alive. */
  #forgetDeletes(segment: OpenSegment, rowCount: number): void {
    const firstRowId = segment.firstRowId + segment.firstOrdinal;
    for (let row = rowCount; row < segment.rowCount; row += 1) {
      if (!stateOf(this.#list, firstRowId + row)!.deletes!.has(row)) continue;
      const deletes = this.#ownDeletes(firstRowId + row);
      const before = deletes.byteLength;
      deletes.remove(row);
      this.#account(deletes.byteLength - before);
    }
  }

  #openSegment(): OpenSegment {
    const { first, states } = this.#list;
    const last = states[states.length - 1]?.segment;
    const number = segmentOf(this.#nextRowId);
    if (last !== undefined && last.kind === 'open' && last.number === number) return last;
    assert(first + states.length <= number, 'segments follow one another');
    const segment = new OpenSegment(number, this.#nextRowId - number * SEGMENT_ROWS, this.#lease);
    const own = this.#ownList();
    while (first + own.length < number) own.push(undefined);
    own.push({ segment, deletes: undefined });
    return segment;
  }

  #ownList(): (SegmentState | undefined)[] {
    if (this.#listEpoch !== this.#epoch) {
      this.#list = { first: this.#list.first, states: this.#list.states.slice() };
      this.#listEpoch = this.#epoch;
    }
    return this.#list.states as (SegmentState | undefined)[];
  }

  #ownDeletes(rowId: number): Deletes {
    const state = stateOf(this.#list, rowId);
    assert(state !== undefined, 'a row that is deleted or restored has a segment');
    if (state.deletes !== undefined && (this.#isAlone || state.deletes.epoch === this.#epoch))
      return state.deletes;
    const deletes = new Deletes(this.#epoch, state.deletes);
    this.#ownList()[segmentOf(rowId) - this.#list.first] = { segment: state.segment, deletes };
    return deletes;
  }

  /** Bitmaps are small and must not fail an undo: they are counted beyond the limits. */
  #account(bytes: number): void {
    if (bytes < 0) return this.#lease.give(-bytes);
    const { limits } = this.#lease;
    this.#lease.limits = false;
    this.#lease.take(bytes);
    this.#lease.limits = limits;
  }
}

/** The list as it was before `rowIds` were marked as dead in bitmaps that it shares; the very same one where none is. */
export function withoutMarks(list: SegmentList, rowIds: Iterable<number>): SegmentList {
  let states: (SegmentState | undefined)[] | undefined;
  const copies = new Map<number, Deletes>();
  for (const rowId of rowIds) {
    const index = segmentOf(rowId) - list.first;
    const state = list.states[index];
    if (state?.deletes === undefined) continue;
    const { segment } = state;
    const place = placeOf(segment, rowId);
    if (place < 0 || !state.deletes.has(place)) continue;
    let deletes = copies.get(index);
    if (deletes === undefined) {
      deletes = new Deletes(-1, state.deletes);
      copies.set(index, deletes);
      states ??= list.states.slice();
      states[index] = { segment, deletes };
    }
    deletes.remove(place);
  }
  return states === undefined ? list : { first: list.first, states };
}
