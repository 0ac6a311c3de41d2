import { DbError } from '../base/errors.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import { countBelow } from '../base/search.ts';
import { slabInts } from '../base/slab.ts';
import { slabOfKind } from './array-kernels.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from './batch.ts';
import { gather } from './build.ts';
import { datumAt } from './cells.ts';
import { livingRows, type Deletes } from './deletes.ts';
import { CHUNK_ROWS } from './chunk-pool.ts';
import type { OpenSegment } from './open-segment.ts';
import { gatheredSlots, SegmentScan, slotsOf } from './scan.ts';
import { SEGMENT_ROWS, type SealedSegment, type Segment, type SegmentList } from './segment.ts';
import type { Snapshot } from './snapshot.ts';
import type { StoredColumn } from './stored-column.ts';
import type { TableScan } from './table-contract.ts';
import { orderedTimes, placeOfTime, STRETCH, TimeCells, type FoundRows } from './time-cells.ts';

/**
 * Rows whose time lies in [from, to), in whatever order is fastest: of each segment those that its time order names, so that
 * what is read is what was asked for. Batches are read, and not kept: they lie in slabs. The work of finding them does not grow with the table but for a look at each segment's bounds.
 */
export class TimeScan implements TableScan {
  readonly #snapshot: Snapshot;
  readonly #columns: readonly StoredColumn[];
  readonly #time: StoredColumn;
  readonly #from: number;
  readonly #to: number;
  /** Numbers of the segments that may hold such rows; of the first of them it may be known which. */
  readonly #segments: readonly number[];
  readonly #found: FoundRows | undefined;
  #next = 0;
  #part: Part | undefined;
  #rowsRead = 0;

  constructor(
    snapshot: Snapshot,
    bounds: SegmentTimes,
    options: {
      readonly column: number;
      readonly from: number;
      readonly to: number;
      readonly columnIndexes: readonly number[];
    },
  ) {
    const { view } = snapshot;
    this.#snapshot = snapshot;
    this.#columns = options.columnIndexes.map((index) => view.columns[index]!);
    this.#time = view.columns[options.column]!;
    this.#from = options.from;
    this.#to = options.to;
    // A reader of the past may see rows of segments that are gone, or were compacted since.
    if (snapshot.isOfThePast) {
      const count = Math.ceil(view.rowIdEnd / SEGMENT_ROWS);
      this.#segments = Array.from({ length: count }, (_, number) => number);
      return;
    }
    this.#found = bounds.find(view.list, this.#time, options.from, options.to);
    this.#segments = this.#found.numbers;
  }

  get rowsRead(): number {
    return this.#rowsRead;
  }

  next(): Batch | undefined {
    for (;;) {
      if (this.#part === undefined) {
        if (this.#next >= this.#segments.length) return undefined;
        this.#part = this.#open(this.#next);
        this.#next += 1;
        if (this.#part === undefined) continue;
      }
      const batch = this.#part.next();
      this.#rowsRead += this.#part.takeRead();
      if (batch === 'end') this.#part = undefined;
      else if (batch !== undefined) return batch;
    }
  }

  /** Undefined where the order of time tells that no row of a segment is asked for. */
  #open(index: number): Part | undefined {
    const number = this.#segments[index]!;
    const { view } = this.#snapshot;
    const state = view.list.states[number - view.list.first];
    const isCut = view.rowIdEnd < (number + 1) * SEGMENT_ROWS;
    const isPlain =
      state !== undefined &&
      this.#snapshot.overlay?.touches(number) !== true &&
      !this.#snapshot.isOfThePast;
    if (isPlain && state.segment.kind === 'sealed' && !isCut) {
      const { segment, deletes } = state;
      const places =
        foundPlaces(segment, this.#found!, index) ??
        sealedPlaces(segment, this.#time, this.#from, this.#to);
      if (places !== undefined)
        return places.from < places.to
          ? new SealedPart(segment, deletes, places, this.#columns)
          : undefined;
    } else if (isPlain && state.segment.kind === 'open') {
      const { segment, deletes } = state;
      const rowEnd = view.rowIdEnd - segment.firstRowId - segment.firstOrdinal;
      const rows = openRows(segment, this.#time, this.#from, this.#to, rowEnd, deletes);
      if (rows !== undefined) return new OpenPart(segment, rows, this.#columns);
    }
    return new FilteredPart(
      this.#snapshot,
      number,
      this.#time,
      this.#from,
      this.#to,
      this.#columns,
    );
  }
}

/** A table that nobody reads by time holds nothing for it. */
const NO_TIMES = new Float64Array(0);
/** Stretches whose rows are remembered: two years; then all are forgotten, and those that are asked for again come back. */
const STRETCHES_MAX = 4380;
/** Segments that were sealed since the rows of a stretch were looked for: so many are asked one by one, then it is made anew. */
const NEWER_MAX = 3;

/** Where the rows of segments stand by the time in one column of a table: bounds of all, and cells of the stretches that were asked for. */
export class SegmentTimes {
  #column: StoredColumn | undefined;
  #first = 0;
  #known: (Segment | undefined)[] = [];
  #from = NO_TIMES;
  #to = NO_TIMES;
  /** The greatest time of all segments up to one, and the least from one on: both ascend. */
  #reached = NO_TIMES;
  #left = NO_TIMES;
  /** The list of which all this is known. */
  #states: SegmentList['states'] = [];
  /** By stretch; of too many segments there are none. */
  readonly #stretches = new Map<number, KnownStretch>();
  /** Segments that cells tell of, as they came. */
  #told: SealedSegment[] = [];
  /** The others, by index: those that are open, and such. */
  #others: number[] = [];
  readonly #lease: MemoryLease;
  /** What cells take of it. */
  #bytes = 0;

  constructor(lease: MemoryLease) {
    this.#lease = lease;
  }

  /** Rows whose time may lie in [from, to): those of the first segments are told, of all others at least their number. */
  find(list: SegmentList, column: StoredColumn, from: number, to: number): FoundRows {
    if (list.states !== this.#states || column !== this.#column || list.first !== this.#first)
      this.#lookAtAll(list, column);
    const stretch = Math.floor(from / STRETCH);
    // Beyond, times are no exact numbers of cells.
    if (!(from < to && to <= (stretch + 1) * STRETCH && Math.abs(from) < 2 ** 52))
      return { numbers: this.#meeting(from, to), from: [], to: [] };
    const { cells, toldCount } = this.#stretchAt(stretch, column);
    if (cells === undefined) return { numbers: this.#meeting(from, to), from: [], to: [] };
    const found = cells.find(from, to);
    for (let at = toldCount; at < this.#told.length; at += 1)
      this.#addMeeting(this.#told[at]!.number - this.#first, from, to, found.numbers);
    for (const index of this.#others) this.#addMeeting(index, from, to, found.numbers);
    return found;
  }

  #stretchAt(stretch: number, column: StoredColumn): KnownStretch {
    const known = this.#stretches.get(stretch);
    if (known !== undefined && this.#told.length - known.toldCount <= NEWER_MAX) return known;
    if (this.#stretches.size >= STRETCHES_MAX) this.#forgetStretches(this.#told);
    const start = stretch * STRETCH;
    const segments: SealedSegment[] = [];
    for (const number of this.#meeting(start, start + STRETCH)) {
      const segment = this.#known[number - this.#first]!;
      if (isTold(segment, column)) segments.push(segment);
    }
    // Perhaps it was forgotten with all others.
    this.#give(this.#stretches.get(stretch)?.bytes ?? 0);
    const cells = TimeCells.of(start, segments, column);
    const hasRoom = cells !== undefined && this.#takes(cells.byteLength);
    const made: KnownStretch = {
      cells: hasRoom ? cells : undefined,
      toldCount: this.#told.length,
      bytes: hasRoom ? cells.byteLength : 0,
    };
    this.#stretches.set(stretch, made);
    return made;
  }

  /** False where memory is short: rows are searched then. */
  #takes(bytes: number): boolean {
    try {
      this.#lease.take(bytes);
    } catch (cause) {
      if (cause instanceof DbError && cause.code === '53200') return false;
      throw cause;
    }
    this.#bytes += bytes;
    return true;
  }

  #give(bytes: number): void {
    this.#lease.give(bytes);
    this.#bytes -= bytes;
  }

  /** Numbers of the segments in which some row may lie in [from, to). */
  #meeting(from: number, to: number): number[] {
    const count = this.#states.length;
    const end = countBelow(this.#left, to, count);
    const found: number[] = [];
    for (let index = countBelow(this.#reached, from, count); index < end; index += 1)
      this.#addMeeting(index, from, to, found);
    return found;
  }

  #addMeeting(index: number, from: number, to: number, numbers: number[]): void {
    if (this.#to[index]! >= from && this.#from[index]! < to) numbers.push(this.#first + index);
  }

  #lookAtAll(list: SegmentList, column: StoredColumn): void {
    const { first, states } = list;
    let isSame = this.#states.length === states.length;
    if (column !== this.#column || first !== this.#first) {
      this.#column = column;
      this.#first = first;
      this.#known = [];
      this.#forgetStretches();
      isSame = false;
    }
    if (this.#from.length < states.length) {
      const room = Math.max(16, states.length * 2);
      this.#from = grown(this.#from, room);
      this.#to = grown(this.#to, room);
      this.#reached = grown(this.#reached, room);
      this.#left = grown(this.#left, room);
    }
    const known = this.#known;
    if (known.length > states.length) {
      // Rows were taken back, or a reader of before asks.
      known.length = states.length;
      this.#forgetStretches();
    }
    let isOther = false;
    for (let index = 0; index < states.length; index += 1) {
      const segment = states[index]?.segment;
      if (segment === known[index] && index < known.length) continue;
      // Cells tell of a segment that is no more.
      if (isTold(known[index], column)) isOther = true;
      known[index] = segment;
      const bounds = boundsOf(segment, column);
      this.#from[index] = bounds.least;
      this.#to[index] = bounds.greatest;
      if (!isOther && isTold(segment, column)) this.#told.push(segment);
      isSame = false;
    }
    this.#states = states;
    if (isSame) return;
    if (isOther) this.#forgetStretches();
    this.#others = [];
    for (let index = 0; index < states.length; index += 1) {
      const segment = known[index];
      if (segment !== undefined && !isTold(segment, column)) this.#others.push(index);
    }
    let reached = -Infinity;
    for (let index = 0; index < states.length; index += 1) {
      reached = Math.max(reached, this.#to[index]!);
      this.#reached[index] = reached;
    }
    let left = Infinity;
    for (let index = states.length - 1; index >= 0; index -= 1) {
      left = Math.min(left, this.#from[index]!);
      this.#left[index] = left;
    }
  }

  #forgetStretches(told: SealedSegment[] = []): void {
    this.#stretches.clear();
    this.#told = told;
    this.#give(this.#bytes);
  }
}

/** `toldCount`: how many of the segments that cells tell of there were; `bytes`: what is accounted for it. */
type KnownStretch = {
  readonly cells: TimeCells | undefined;
  readonly toldCount: number;
  readonly bytes: number;
};

function isTold(segment: Segment | undefined, column: StoredColumn): segment is SealedSegment {
  return segment?.kind === 'sealed' && orderedTimes(segment, column) !== undefined;
}

function grown(array: Float64Array, length: number): Float64Array<ArrayBuffer> {
  const next = new Float64Array(length);
  next.set(array);
  return next;
}

/** Infinite both ways where nothing is known; least > greatest where no row has a time. */
function boundsOf(
  segment: Segment | undefined,
  column: StoredColumn,
): { readonly least: number; readonly greatest: number } {
  if (segment === undefined) return { least: Infinity, greatest: -Infinity };
  if (segment.kind === 'open') return { least: -Infinity, greatest: Infinity };
  const zone = segment.columns[column.id]?.zone;
  if (zone === undefined) {
    const { missing } = column;
    return missing === null
      ? { least: Infinity, greatest: -Infinity }
      : { least: Number(missing), greatest: Number(missing) };
  }
  if (zone.nullCount === zone.rowCount) return { least: Infinity, greatest: -Infinity };
  return {
    least: zone.min === undefined ? -Infinity : Number(zone.min),
    greatest: zone.max === undefined ? Infinity : Number(zone.max),
  };
}

/** Rows of one segment. `next`: undefined where what was looked at gives nothing. */
interface Part {
  next(): Batch | 'end' | undefined;
  /** Rows looked at since the last call. */
  takeRead(): number;
}

/** All rows: undefined as order. */
type SealedPlaces = {
  readonly order: Uint16Array | undefined;
  readonly from: number;
  readonly to: number;
};

/** Of a segment of which cells have told. */
function foundPlaces(
  segment: SealedSegment,
  { from, to }: FoundRows,
  index: number,
): SealedPlaces | undefined {
  if (index >= from.length) return undefined;
  const isWhole = to[index]! - from[index]! === segment.rowCount;
  return { order: isWhole ? undefined : segment.timeOrder, from: from[index]!, to: to[index]! };
}

/** Where the rows of [from, to) stand in the time order; undefined where it is not of this column. */
function sealedPlaces(
  segment: SealedSegment,
  column: StoredColumn,
  from: number,
  to: number,
): SealedPlaces | undefined {
  const stored = segment.columns[column.id];
  if (stored === undefined) return undefined;
  const { zone } = stored;
  if (
    zone.nullCount === 0 &&
    zone.min !== undefined &&
    zone.max !== undefined &&
    Number(zone.min) >= from &&
    Number(zone.max) < to
  )
    return { order: undefined, from: 0, to: segment.rowCount };
  const times = orderedTimes(segment, column);
  if (times === undefined) return undefined;
  const first = placeOfTime(times, 0, times.present, from);
  return {
    order: times.order,
    from: first,
    to: placeOfTime(times, first, times.present, to),
  };
}

class SealedPart implements Part {
  readonly #segment: SealedSegment;
  readonly #deletes: Deletes | undefined;
  readonly #order: Uint16Array | undefined;
  readonly #columns: readonly StoredColumn[];
  readonly #end: number;
  #at: number;
  #read = 0;

  constructor(
    segment: SealedSegment,
    deletes: Deletes | undefined,
    places: SealedPlaces,
    columns: readonly StoredColumn[],
  ) {
    this.#segment = segment;
    this.#deletes = deletes;
    this.#order = places.order;
    this.#columns = columns;
    this.#at = places.from;
    this.#end = places.to;
  }

  takeRead(): number {
    const read = this.#read;
    this.#read = 0;
    return read;
  }

  next(): Batch | 'end' | undefined {
    const start = this.#at;
    if (start >= this.#end) return 'end';
    const end = Math.min(start + BATCH_ROW_COUNT_MAX, this.#end);
    this.#at = end;
    this.#read += end - start;
    const segment = this.#segment;
    if (this.#order === undefined) {
      const selection = livingRows(this.#deletes, start, end);
      if (selection?.length === 0) return undefined;
      return {
        rowCount: selection?.length ?? end - start,
        columns: this.#columns.map((column) => slotsOf(segment, column, start, end)),
        selection,
      };
    }
    const slots = slabInts(end - start);
    let count = 0;
    for (let index = start; index < end; index += 1) {
      const slot = this.#order[index]!;
      if (this.#deletes?.has(slot) === true) continue;
      slots[count] = slot;
      count += 1;
    }
    if (count === 0) return undefined;
    return {
      rowCount: count,
      columns: this.#columns.map((column) =>
        gatheredSlots(segment, column, slots, count, slabOfKind),
      ),
    };
  }
}

const NO_ROWS = new Int32Array(0);

/** Living rows before `rowEnd` with a time in [from, to), ascending; undefined where there is no time order. */
function openRows(
  segment: OpenSegment,
  column: StoredColumn,
  from: number,
  to: number,
  rowEnd: number,
  deletes: Deletes | undefined,
): Int32Array | undefined {
  const order = segment.timeOrder(column);
  if (order === undefined) return undefined;
  if (!order.meets(from, to)) return NO_ROWS;
  const first = order.lowerBound(from);
  const end = order.lowerBound(to);
  if (first >= end) return NO_ROWS;
  const rows = slabInts(end - first);
  let count = 0;
  for (let index = first; index < end; index += 1) {
    const row = order.rowAt(index);
    if (row >= rowEnd || deletes?.has(row) === true) continue;
    rows[count] = row;
    count += 1;
  }
  return rows.subarray(0, count).sort();
}

/** Copies: an open segment changes. */
class OpenPart implements Part {
  readonly #segment: OpenSegment;
  readonly #rows: Int32Array;
  readonly #columns: readonly StoredColumn[];
  #at = 0;
  #read = 0;

  constructor(segment: OpenSegment, rows: Int32Array, columns: readonly StoredColumn[]) {
    this.#segment = segment;
    this.#rows = rows;
    this.#columns = columns;
  }

  takeRead(): number {
    const read = this.#read;
    this.#read = 0;
    return read;
  }

  next(): Batch | 'end' | undefined {
    const start = this.#at;
    if (start >= this.#rows.length) return 'end';
    // The rows of one batch lie in one chunk.
    const chunk = Math.floor(this.#rows[start]! / CHUNK_ROWS);
    const chunkEnd = (chunk + 1) * CHUNK_ROWS;
    let end = start;
    const endMax = Math.min(start + BATCH_ROW_COUNT_MAX, this.#rows.length);
    while (end < endMax && this.#rows[end]! < chunkEnd) end += 1;
    this.#at = end;
    this.#read += end - start;
    const places = slabInts(end - start);
    for (let index = start; index < end; index += 1)
      places[index - start] = this.#rows[index]! - chunk * CHUNK_ROWS;
    return {
      rowCount: end - start,
      columns: this.#columns.map((column) =>
        gather(
          this.#segment.view(column, chunk * CHUNK_ROWS).vector,
          places,
          end - start,
          slabOfKind,
        ),
      ),
    };
  }
}

/** Every visible row of a segment, looked at one by one: where rows have old versions, or there is no order. */
class FilteredPart implements Part {
  readonly #scan: SegmentScan;
  readonly #from: number;
  readonly #to: number;
  #charged = 0;
  #read = 0;

  constructor(
    snapshot: Snapshot,
    number: number,
    time: StoredColumn,
    from: number,
    to: number,
    columns: readonly StoredColumn[],
  ) {
    this.#from = from;
    this.#to = to;
    this.#scan = new SegmentScan(snapshot, {
      columnIndexes: [...columns, time].map((column) => snapshot.view.columns.indexOf(column)),
      ordered: false,
      withRowIds: false,
      segment: number,
    });
  }

  takeRead(): number {
    const read = this.#read;
    this.#read = 0;
    return read;
  }

  next(): Batch | 'end' | undefined {
    const batch = this.#scan.next();
    this.#read += this.#scan.rowsRead - this.#charged;
    this.#charged = this.#scan.rowsRead;
    if (batch === undefined) return 'end';
    const times = batch.columns.at(-1)!;
    const kept = new Int32Array(batch.rowCount);
    let count = 0;
    for (let row = 0; row < batch.rowCount; row += 1) {
      const at = batch.selection === undefined ? row : batch.selection[row]!;
      const time = datumAt(times, at);
      if (time === null || !((time as number) >= this.#from && (time as number) < this.#to))
        continue;
      kept[count] = at;
      count += 1;
    }
    if (count === 0) return undefined;
    return {
      rowCount: count,
      columns: batch.columns.slice(0, -1),
      selection: kept.subarray(0, count),
    };
  }
}
