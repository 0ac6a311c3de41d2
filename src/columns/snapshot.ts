import { assert } from '../base/errors.ts';
import { TOUCHED_MAX } from '../base/hash-parts.ts';
import { countBelow } from '../base/search.ts';
import { slabBytes, slabInts } from '../base/slab.ts';
import type { Batch } from './batch.ts';
import { hashRow } from './build.ts';
import { entryAt, equalCells, isNullAt, numberAt } from './cells.ts';
import { PostingIndex } from './posting-index.ts';
import { sortWithOrder } from './row-order.ts';
import { RowOverlay } from './row-overlay.ts';
import { fetchRange, fetchRows, type RowPlace } from './row-fetch.ts';
import {
  placeOf,
  SEGMENT_ROWS,
  segmentOf,
  stateOf,
  type Segment,
  type SegmentList,
  type SegmentState,
} from './segment.ts';
import { SampledScan } from './sampled-scan.ts';
import { SegmentScan } from './scan.ts';
import { timeBoundsOf } from './time-bounds.ts';
import { TimeScan, type SegmentTimes } from './time-scan.ts';
import type { StoredColumn } from './stored-column.ts';
import type {
  IndexProbe,
  SampleOptions,
  TableSample,
  TableScan,
  TableSchema,
  TableSnapshot,
  TimeBounds,
  ZoneTest,
  TimedScan,
  TimeStretch,
} from './table-contract.ts';
import { hashesOf, hashOfKey, UniqueIndex } from './unique-index.ts';
import type { Datum } from './values.ts';
import type { Vector } from './vector.ts';
import type { LogEntry, VersionLog } from './version-log.ts';

/** Fewer keys are looked for one by one. */
const TESTED_TOGETHER_MIN = 4;
/** Of a key whose row is known. */
const HELD = 1;

export type TableIndex = UniqueIndex | PostingIndex;

/** What a reader sees: fixed when it was opened. */
export type SnapshotView = {
  readonly schema: TableSchema;
  /** The stored columns in the order of the schema. */
  readonly columns: readonly StoredColumn[];
  readonly list: SegmentList;
  /** Row ids from here on are not visible. */
  readonly rowIdEnd: number;
  readonly rowCount: number;
  readonly indexes: readonly TableIndex[];
  /** First log entry that is not part of the view. */
  readonly logFrom: number;
  /** The view lies before the segment list: rows that entries up to here deleted are put back. `logFrom` for readers of the present. */
  readonly logPresent: number;
  /** Every published commit up to here is in it, and nothing else; undefined where staged rows are. */
  readonly position: number | undefined;
  /** The table's, for whoever reads by time. */
  readonly times: SegmentTimes;
};

/**
 * Rows at one position. What may be overwritten in place (rows of the open segment) comes from the version log where it was;
 * deletes come from the segment list's own bitmaps; appended rows lie behind `rowIdEnd`. So a reader costs the writer
 * nothing until a row it sees changes, and then a reference.
 */
export class Snapshot implements TableSnapshot {
  readonly schema: TableSchema;
  readonly rowCount: number;
  readonly view: SnapshotView;
  readonly #log: VersionLog;
  readonly #release: (snapshot: Snapshot) => void;
  #overlay: RowOverlay | undefined;
  /** Log entries up to here are in the overlay. */
  #caughtUpTo: number;
  #isOpen = true;
  /** What `#look` has read beforehand. Means nothing. */
  touched = 0;
  /** Counts the retirements of segments and indexes before it was opened: see Table. */
  readonly epoch: number;

  constructor(
    view: SnapshotView,
    log: VersionLog,
    epoch: number,
    release: (snapshot: Snapshot) => void,
  ) {
    this.schema = view.schema;
    this.rowCount = view.rowCount;
    this.view = view;
    this.#log = log;
    this.epoch = epoch;
    this.#release = release;
    for (let sequence = view.logFrom; sequence < view.logPresent; sequence += 1) {
      this.#ownOverlay().add(log.entry(sequence), view.rowIdEnd, true);
    }
    this.#caughtUpTo = view.logPresent;
  }

  /** Old versions of rows, as of now. */
  get overlay(): RowOverlay | undefined {
    const end = this.#log.endSequence;
    for (; this.#caughtUpTo < end; this.#caughtUpTo += 1) {
      const entry = this.#log.entry(this.#caughtUpTo);
      if (entry.hasOverwritten) this.#ownOverlay().add(entry, this.view.rowIdEnd, false);
    }
    return this.#overlay;
  }

  /** Log entries from here on are needed: their old rows, and the index entries of what they deleted. */
  get pinnedFrom(): number {
    return this.view.logFrom;
  }

  /** The newest entry was undone: what comes in its place has not been looked at. */
  rewind(endSequence: number): void {
    if (this.#caughtUpTo <= endSequence) return;
    this.#caughtUpTo = endSequence;
    this.#overlay?.rewind(endSequence);
  }

  get isOfThePast(): boolean {
    return this.view.logFrom < this.view.logPresent;
  }

  scan(options: {
    readonly columnIndexes: readonly number[];
    readonly ordered: boolean;
    readonly withRowIds: boolean | 'lent';
    readonly prune?: readonly ZoneTest[];
  }): TableScan {
    this.#assertOpen();
    return new SegmentScan(this, options);
  }

  sample(options: SampleOptions): TableSample {
    this.#assertOpen();
    return new SampledScan(this, options);
  }

  get sealedTo(): number {
    const { first, states } = this.view.list;
    const at = states.findIndex((state) => state?.segment.kind === 'open');
    return first + (at < 0 ? states.length : at);
  }

  get position(): number | undefined {
    return this.view.position;
  }

  scanTimes(options: {
    readonly column: number;
    readonly stretches: readonly TimeStretch[];
    readonly columnIndexes: readonly number[];
  }): TimedScan {
    this.#assertOpen();
    return new TimeScan(this, this.view.times, options);
  }

  lookAtTime(time: number): number {
    return this.view.times.lookAt(time);
  }

  timeBounds(column: number): TimeBounds | undefined {
    this.#assertOpen();
    return timeBoundsOf(this, column);
  }

  findUnique(
    indexName: string,
    keys: readonly Vector[],
    rowCount: number,
    selection?: Int32Array,
  ): Float64Array {
    this.#assertOpen();
    const index = this.#index(indexName);
    assert(index instanceof UniqueIndex, 'one row at most is looked for by a unique index');
    const { columnIndexes } = index.schema;
    const found = new Float64Array(rowCount);
    const { isOfThePast } = this;
    const held =
      rowCount < TESTED_TOGETHER_MIN || keys.length > 1
        ? undefined
        : this.#foundTogether(index, keys, found, selection);
    const hashes =
      held === undefined && selection === undefined ? hashesOf(keys, 0, rowCount) : undefined;
    for (let at = 0; at < rowCount; at += 1) {
      if (held !== undefined && held[at] === HELD) continue;
      const row = selection === undefined ? at : selection[at]!;
      const hash = hashes === undefined ? hashRow(keys, row) : hashes[row]!;
      let rowId = index.first(keys, row, hash);
      while (rowId >= 0 && !this.#hasKey(rowId, columnIndexes, keys, row)) rowId = index.next();
      if (rowId < 0 && isOfThePast) rowId = this.#findGone(columnIndexes, keys, row);
      found[at] = rowId;
    }
    return found;
  }

  /**
   * Looks for keys of one number each: HELD where a candidate, written to `rowIds`, is visible and has the key; of the others nothing is said.
   * First where all of them are, then what stands there: rows far apart are waited for together, and not one after the other.
   */
  #foundTogether(
    index: UniqueIndex,
    keys: readonly Vector[],
    rowIds: Float64Array,
    selection: Int32Array | undefined,
  ): Uint8Array | undefined {
    const key = keys[0]!;
    if (key.rep !== 'number' || key.validity !== undefined || this.overlay !== undefined)
      return undefined;
    const { view } = this;
    const column = view.columns[index.schema.columnIndexes[0]!]!;
    const { values, factor, base, scale } = key;
    const count = rowIds.length;
    const isLong = count > LOOK_ROWS;
    const numbers = isLong ? new Float64Array(count) : lookNumbers;
    const held = slabBytes(count);
    /** Those that are looked for at a time, and the rows that they may lead to. */
    const asked = isLong ? new Int32Array(count) : lookAsked;
    const rows = isLong ? new Float64Array(count) : lookRows;
    let askedCount = 0;
    for (let at = 0; at < count; at += 1) {
      const row = selection === undefined ? at : selection[at]!;
      const number = numberAt(entryAt(values, row), factor, base);
      numbers[at] = number;
      const rowId = index.inRuns(number);
      if (rowId < 0) continue;
      asked[askedCount] = at;
      rows[askedCount] = rowId;
      askedCount += 1;
    }
    const look: Looking = { column, scale, numbers, asked, held, rowIds };
    this.#look(look, rows.subarray(0, askedCount), index.areRunsTrue);
    // Keys in no run, and those of rows that have died where a run leads, and may stand elsewhere since.
    const hashes = isLong ? new Int32Array(count) : lookHashes;
    askedCount = 0;
    for (let at = 0; at < count; at += 1) {
      if (held[at] === HELD || !index.mayBeHashed(numbers[at]!)) continue;
      asked[askedCount] = at;
      hashes[askedCount] =
        scale === 0
          ? hashOfKey(numbers[at]!)
          : hashRow(keys, selection === undefined ? at : selection[at]!);
      askedCount += 1;
    }
    for (let each = 0; each < askedCount; each += 1) {
      if (each % TOUCHED_MAX === 0)
        index.touch(hashes, each, Math.min(askedCount, each + TOUCHED_MAX));
      rows[each] = index.firstHashed(hashes[each]!);
    }
    this.#look(look, rows.subarray(0, askedCount), false);
    return held;
  }

  /**
   * HELD, and its row id, for each of the keys that were asked for whose row is visible and has it; `isSure`: a row that is visible has it. One
   * step is made for the rows of all segments before the next, so that what one step reads is waited for together.
   */
  #look(look: Looking, rows: Float64Array, isSure: boolean): void {
    const { list, rowIdEnd } = this.view;
    const order = sortWithOrder(rows);
    const places = rows.length <= LOOK_ROWS ? lookPlaces : slabInts(rows.length);
    const runs: SegmentRun[] = [];
    const first = countBelow(rows, 0);
    // Of many, those of one segment are many already: they are waited for together by what follows.
    if (rows.length <= TOUCHED_MAX) this.touched = touchPlaces(list, rows, first);
    for (let start = first, end = first; start < rows.length; start = end) {
      const state = rows[start]! < rowIdEnd ? stateOf(list, rows[start]!) : undefined;
      end = start + 1;
      if (state === undefined) continue;
      const { firstRowId } = state.segment;
      const rowsEnd = Math.min(rowIdEnd, firstRowId + SEGMENT_ROWS);
      while (end < rows.length && rows[end]! < rowsEnd) end += 1;
      state.segment.placesOf(rows, start, end, places);
      runs.push({ state, start, end });
    }
    for (let index = 0; index < runs.length; index += 1) {
      const { state, start, end } = runs[index]!;
      state.deletes?.leaveLiving(places, start, end);
    }
    for (let index = 0; index < runs.length; index += 1) {
      const { state, start, end } = runs[index]!;
      if (!isSure) confirmKeys(look, state.segment, order, places, start, end);
      for (let each = start; each < end; each += 1) {
        if (places[each]! < 0) continue;
        const at = look.asked[order[each]!]!;
        look.held[at] = HELD;
        look.rowIds[at] = rows[each]!;
      }
    }
  }

  /** Rows that were deleted since are in no index any more, only in the overlay. */
  #findGone(columnIndexes: readonly number[], keys: readonly Vector[], row: number): number {
    for (const rowId of this.overlay?.rowIds() ?? [])
      if (this.#hasKey(rowId, columnIndexes, keys, row)) return rowId;
    return -1;
  }

  lookup(indexName: string, key: readonly Datum[]): Float64Array {
    const index = this.#index(indexName);
    const found: number[] = [];
    this.#find(index, this.#keyOf(index, key), 0, found);
    return Float64Array.from(found);
  }

  rowCountMaxOf(indexName: string, key: readonly Datum[]): number {
    const index = this.#index(indexName);
    if (!(index instanceof PostingIndex)) return 1;
    const keys = this.#keyOf(index, key);
    const group = index.find(keys, 0, hashRow(keys, 0));
    const gone = this.isOfThePast ? (this.overlay?.size ?? 0) : 0;
    return gone + (group < 0 ? 0 : index.countOf(group));
  }

  probe(
    indexName: string,
    keys: readonly Vector[],
    rowCount: number,
    selection?: Int32Array,
  ): IndexProbe {
    return new Probe(this, this.#index(indexName), keys, rowCount, selection);
  }

  fetch(rowIds: Float64Array, columnIndexes: readonly number[]): Batch {
    this.#assertOpen();
    const columns = columnIndexes.map((index) => this.view.columns[index]!);
    return fetchRows(rowIds, columns, (rowId) => this.locate(rowId));
  }

  /** The visible ones of the rows with ids in [from, to), which are of one segment. */
  fetchRange(from: number, to: number, columnIndexes: readonly number[]): Batch {
    this.#assertOpen();
    const columns = columnIndexes.map((index) => this.view.columns[index]!);
    const end = Math.min(to, this.view.rowIdEnd);
    return fetchRange(from, end, columns, this.view.list, this.overlay);
  }

  /** Where the row's version of this position is, or undefined where it is not visible. */
  locate(rowId: number): RowPlace | undefined {
    if (!(rowId < this.view.rowIdEnd)) return undefined;
    const overlay = this.overlay;
    if (overlay !== undefined) {
      const place = overlay.placeOf(rowId);
      if (place >= 0) {
        const entry = overlay.entryAt(place);
        return { entry, place: entry.deletedIndex(overlay.rowAt(place)), segment: undefined };
      }
    }
    const state = stateOf(this.view.list, rowId);
    if (state === undefined) return undefined;
    const place = placeOf(state.segment, rowId);
    return place < 0 || state.deletes?.has(place) === true
      ? undefined
      : { entry: undefined, place, segment: state.segment };
  }

  /** Visible row ids under the key of entry `row`, ascending, appended to `out`. */
  findKey(index: TableIndex, keys: readonly Vector[], row: number, out: number[]): void {
    this.#find(index, keys, row, out);
  }

  release(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#release(this);
  }

  #ownOverlay(): RowOverlay {
    this.#overlay ??= new RowOverlay();
    return this.#overlay;
  }

  #find(index: TableIndex, keys: readonly Vector[], row: number, out: number[]): void {
    this.#assertOpen();
    const from = out.length;
    const candidates: number[] = [];
    this.#candidates(index, keys, row, candidates);
    let isAscending = true;
    for (const rowId of candidates) {
      if (!this.#hasKey(rowId, index.schema.columnIndexes, keys, row)) continue;
      if (out.length > from && out[out.length - 1]! >= rowId) isAscending = false;
      out.push(rowId);
    }
    if (!isAscending) sortDistinct(out, from);
  }

  #candidates(index: TableIndex, keys: readonly Vector[], row: number, out: number[]): void {
    index.candidates(keys, row, hashRow(keys, row), out);
    // Rows that were deleted since are in no index any more, only in the overlay.
    if (this.isOfThePast) for (const rowId of this.overlay?.rowIds() ?? []) out.push(rowId);
  }

  #hasKey(
    rowId: number,
    columnIndexes: readonly number[],
    keys: readonly Vector[],
    row: number,
  ): boolean {
    if (!(rowId < this.view.rowIdEnd)) return false;
    const overlay = this.overlay;
    const version = overlay === undefined ? -1 : overlay.placeOf(rowId);
    if (version >= 0)
      return hadKey(
        overlay!.entryAt(version),
        overlay!.rowAt(version),
        columnIndexes,
        this.view,
        keys,
        row,
      );
    const state = stateOf(this.view.list, rowId);
    if (state === undefined) return false;
    const { segment, deletes } = state;
    const place = placeOf(segment, rowId);
    if (place < 0 || (deletes !== undefined && deletes.has(place))) return false;
    for (let position = 0; position < columnIndexes.length; position += 1) {
      const column = this.view.columns[columnIndexes[position]!]!;
      const key = keys[position]!;
      if (isNullAt(key, row) || !cellEquals(segment, column, place, key, row)) return false;
    }
    return true;
  }

  #index(name: string): TableIndex {
    const index = this.view.indexes.find(({ schema }) => schema.name === name);
    assert(index !== undefined, 'a look-up names an index of the table');
    return index;
  }

  /** A key as vectors of one entry. */
  #keyOf({ schema }: TableIndex, key: readonly Datum[]): Vector[] {
    return schema.columnIndexes.map((column, position): Vector => ({
      rep: 'object',
      type: this.schema.columns[column]!.type,
      values: [key[position] ?? null],
    }));
  }

  #assertOpen(): void {
    assert(this.#isOpen, 'a snapshot is read before it is released');
  }
}

/** Whether the old version of a row that an entry deleted has the key of entry `row`. */
function hadKey(
  entry: LogEntry,
  deleted: number,
  columnIndexes: readonly number[],
  { columns }: SnapshotView,
  keys: readonly Vector[],
  row: number,
): boolean {
  const at = entry.deletedIndex(deleted);
  for (let position = 0; position < columnIndexes.length; position += 1) {
    const key = keys[position]!;
    const vector = entry.deletedVector(entry.columns.indexOf(columns[columnIndexes[position]!]!));
    if (isNullAt(key, row) || isNullAt(vector, at) || !equalCells(vector, at, key, row))
      return false;
  }
  return true;
}

/** Whether the cell of a segment is present and equals the present cell `row` of `key`. */
export function cellEquals(
  segment: NonNullable<RowPlace['segment']>,
  column: StoredColumn,
  place: number,
  key: Vector,
  row: number,
): boolean {
  if (segment.kind === 'open') return segment.equals(column, place, key, row);
  const vector = segment.columns[column.id]?.vector;
  if (vector !== undefined) return !isNullAt(vector, place) && equalCells(vector, place, key, row);
  if (column.missing === null) return false;
  return equalCells({ rep: 'object', type: column.type, values: [column.missing] }, 0, key, row);
}

/** Row ids sorted and without repetitions from index `from` on. */
function sortDistinct(rowIds: number[], from: number): void {
  const sorted = rowIds.splice(from).sort((a, b) => a - b);
  for (let index = 0; index < sorted.length; index += 1) {
    if (index === 0 || sorted[index] !== sorted[index - 1]) rowIds.push(sorted[index]!);
  }
}

/** Scratch of `findUnique`, for so many keys as a statement looks for at once: fresh arrays would be cold, and V8 would have them to collect. */
const LOOK_ROWS = 2048;
const lookNumbers = new Float64Array(LOOK_ROWS);
const lookAsked = new Int32Array(LOOK_ROWS);
const lookRows = new Float64Array(LOOK_ROWS);
const lookHashes = new Int32Array(LOOK_ROWS);
const lookPlaces = new Int32Array(LOOK_ROWS);

/** Keys of one number each that are looked for together. */
type Looking = {
  /** The column of the key, and the scale of the numbers. */
  readonly column: StoredColumn;
  readonly scale: number;
  readonly numbers: Float64Array;
  /** Which of them are looked for now. */
  readonly asked: Int32Array;
  readonly held: Uint8Array;
  readonly rowIds: Float64Array;
};

/** Reads where the places of rows, from number `start` on, are said, to no other end: see `readFarCells`. */
function touchPlaces({ states, first }: SegmentList, rows: Float64Array, start: number): number {
  let touched = 0;
  for (let each = start; each < rows.length; each += 1) {
    const rowId = rows[each]!;
    const at = segmentOf(rowId);
    const segment = at < first ? undefined : states[at - first]?.segment;
    if (segment?.kind !== 'sealed') continue;
    const { slotOf } = segment;
    const index = rowId - at * SEGMENT_ROWS;
    // Where rows are missing, the place is not that of this row.
    if (index < slotOf.length) touched |= slotOf[index]!;
  }
  return touched;
}

/** Rows [start, end) of those that are looked for, which are of one segment. */
type SegmentRun = { readonly state: SegmentState; readonly start: number; readonly end: number };

/** −1 in the place of a row that has not its key. So in open segments: they are near, and looked at one by one. */
function confirmKeys(
  { column, scale, numbers, asked }: Looking,
  segment: Segment,
  order: Int32Array,
  places: Int32Array,
  start: number,
  end: number,
): void {
  const cells = segment.kind === 'sealed' ? segment.columns[column.id]?.vector : undefined;
  if (cells?.rep !== 'number' || cells.scale !== scale) {
    places.fill(-1, start, end);
    return;
  }
  const { values, validity, factor, base } = cells;
  for (let each = start; each < end; each += 1) {
    const place = places[each]!;
    if (place < 0) continue;
    const isHeld =
      (validity === undefined || validity[place] === 1) &&
      numberAt(entryAt(values, place), factor, base) === numbers[asked[order[each]!]!];
    if (!isHeld) places[each] = -1;
  }
}

/** Pairs a call of `next` returns at most, but for the last key's. */
const PROBE_PAIRS_MAX = 2048;

class Probe implements IndexProbe {
  readonly #snapshot: Snapshot;
  readonly #index: TableIndex;
  readonly #keys: readonly Vector[];
  readonly #rowCount: number;
  readonly #selection: Int32Array | undefined;
  #row = 0;
  /** Matches of the key in hand that did not fit. */
  #waiting: number[] = [];
  #given = 0;

  constructor(
    snapshot: Snapshot,
    index: TableIndex,
    keys: readonly Vector[],
    rowCount: number,
    selection: Int32Array | undefined,
  ) {
    this.#snapshot = snapshot;
    this.#index = index;
    this.#keys = keys;
    this.#rowCount = rowCount;
    this.#selection = selection;
  }

  next(): { readonly rows: Int32Array; readonly rowIds: Float64Array } | undefined {
    const rows = new Int32Array(PROBE_PAIRS_MAX);
    const rowIds = new Float64Array(PROBE_PAIRS_MAX);
    let count = 0;
    while (count < PROBE_PAIRS_MAX) {
      if (this.#given < this.#waiting.length) {
        rows[count] = this.#row - 1;
        rowIds[count] = this.#waiting[this.#given]!;
        this.#given += 1;
        count += 1;
        continue;
      }
      if (this.#row >= this.#rowCount) break;
      this.#waiting = [];
      this.#given = 0;
      const physical = this.#selection === undefined ? this.#row : this.#selection[this.#row]!;
      this.#snapshot.findKey(this.#index, this.#keys, physical, this.#waiting);
      this.#row += 1;
    }
    return count === 0
      ? undefined
      : { rows: rows.subarray(0, count), rowIds: rowIds.subarray(0, count) };
  }
}
