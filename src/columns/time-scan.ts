import { countBelow } from '../base/search.ts';
import { slabInts } from '../base/slab.ts';
import { slabOfKind } from './array-kernels.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from './batch.ts';
import { gather } from './build.ts';
import { datumAt } from './cells.ts';
import { livingRows, type Deletes } from './deletes.ts';
import { CHUNK_ROWS, type OpenSegment } from './open-segment.ts';
import { gatheredSlots, SegmentScan, slotsOf } from './scan.ts';
import { SEGMENT_ROWS, type SealedSegment, type Segment, type SegmentList } from './segment.ts';
import type { Snapshot } from './snapshot.ts';
import type { StoredColumn } from './stored-column.ts';
import type { TableScan } from './table-contract.ts';
import type { Vector } from './vector.ts';

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
  /** Numbers of the segments that may hold such rows. */
  readonly #segments: readonly number[];
  readonly #times: SegmentTimes;
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
    this.#times = bounds;
    this.#columns = options.columnIndexes.map((index) => view.columns[index]!);
    this.#time = view.columns[options.column]!;
    this.#from = options.from;
    this.#to = options.to;
    // A reader of the past may see rows of segments that are gone, or were compacted since.
    this.#segments = snapshot.isOfThePast
      ? Array.from({ length: Math.ceil(view.rowIdEnd / SEGMENT_ROWS) }, (_, number) => number)
      : bounds.meeting(view.list, this.#time, options.from, options.to);
  }

  get rowsRead(): number {
    return this.#rowsRead;
  }

  next(): Batch | undefined {
    for (;;) {
      if (this.#part === undefined) {
        if (this.#next >= this.#segments.length) return undefined;
        const number = this.#segments[this.#next]!;
        this.#next += 1;
        this.#part = this.#open(number);
        if (this.#part === undefined) continue;
      }
      const batch = this.#part.next();
      this.#rowsRead += this.#part.takeRead();
      if (batch === 'end') this.#part = undefined;
      else if (batch !== undefined) return batch;
    }
  }

  /** Undefined where the order of time tells that no row of a segment is asked for. */
  #open(number: number): Part | undefined {
    const { view } = this.#snapshot;
    const state = view.list.states[number - view.list.first];
    const isCut = view.rowIdEnd < (number + 1) * SEGMENT_ROWS;
    const isPlain =
      state !== undefined &&
      this.#snapshot.overlay?.touches(number) !== true &&
      !this.#snapshot.isOfThePast;
    if (isPlain && state.segment.kind === 'sealed' && !isCut) {
      const { segment, deletes } = state;
      const places = sealedPlaces(segment, this.#time, this.#from, this.#to, this.#times);
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

type NumberVector = Extract<Vector, { rep: 'number' }>;

/**
 * Into so many spans of equal length the times of a segment are cut: eight kilobytes, beside a megabyte of rows. Of late rows, which are few and far apart,
 * a span tells mostly that there are none, and no row is looked at; of others a few dozen are left to be searched.
 */
const SPAN_COUNT = 4096;
/** A place that does not fit sixteen bits: the end of a full segment. */
const PLACE_MAX = 0xffff;

/** A table that nobody reads by time holds nothing for it. */
const NO_TIMES = new Float64Array(0);

/** The bounds of sealed segments by number, remembered for one column of a table. */
export class SegmentTimes {
  #column: StoredColumn | undefined;
  #first = 0;
  #known: (Segment | undefined)[] = [];
  /** Of those that were searched: by span, the first place of their order in it, and the end of the last. */
  #places: (Uint16Array | undefined)[] = [];
  /** When their first span begins, and how long each is: a power of two, so that times are divided by it exactly. */
  #spanFrom = NO_TIMES;
  #spanLength = NO_TIMES;
  #from = NO_TIMES;
  #to = NO_TIMES;
  /** The greatest time of all segments up to one, and the least from one on: both ascend. */
  #reached = NO_TIMES;
  #left = NO_TIMES;
  /** The list of which all this is known. */
  #states: SegmentList['states'] = [];

  /** Numbers of the segments in which some row may lie in [from, to). */
  meeting(list: SegmentList, column: StoredColumn, from: number, to: number): number[] {
    if (list.states !== this.#states || column !== this.#column || list.first !== this.#first)
      this.#lookAtAll(list, column);
    const count = list.states.length;
    const end = countBelow(this.#left, to, count);
    const found: number[] = [];
    for (let index = countBelow(this.#reached, from, count); index < end; index += 1)
      if (this.#to[index]! >= from && this.#from[index]! < to && !this.#isEmpty(index, from, to))
        found.push(list.first + index);
    return found;
  }

  /** No row of a segment lies in the spans that [from, to) meets, as far as they are known: one look, and none at the segment. */
  #isEmpty(index: number, from: number, to: number): boolean {
    const places = this.#places[index];
    if (places === undefined) return false;
    const start = this.#spanFrom[index]!;
    const length = this.#spanLength[index]!;
    const first = Math.max(0, Math.floor((from - start) / length));
    const last = Math.min(SPAN_COUNT - 1, Math.floor((to - start) / length));
    const place = places[first]!;
    return place < PLACE_MAX && place === places[last + 1];
  }

  #lookAtAll(list: SegmentList, column: StoredColumn): void {
    const { first, states } = list;
    if (column !== this.#column || first !== this.#first) {
      this.#column = column;
      this.#first = first;
      this.#known = [];
      this.#places = [];
    }
    if (this.#from.length < states.length) {
      const room = Math.max(16, states.length * 2);
      this.#from = grown(this.#from, room);
      this.#to = grown(this.#to, room);
      this.#reached = grown(this.#reached, room);
      this.#left = grown(this.#left, room);
      this.#spanFrom = grown(this.#spanFrom, room);
      this.#spanLength = grown(this.#spanLength, room);
    }
    const known = this.#known;
    let isSame = this.#states.length === states.length;
    for (let index = 0; index < states.length; index += 1) {
      const segment = states[index]?.segment;
      if (segment === known[index] && index < known.length) continue;
      this.#look(index, segment, column);
      isSame = false;
    }
    this.#states = states;
    if (isSame) return;
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

  /** The first place of a segment's order whose time is at least `time`; `present` where there is none. */
  placeOf(
    segment: SealedSegment,
    vector: NumberVector,
    order: Uint16Array,
    present: number,
    time: number,
  ): number {
    const index = segment.number - this.#first;
    if (this.#known[index] !== segment) return lowerBound(vector, order, 0, present, time);
    let places = this.#places[index];
    if (places === undefined) {
      const from = timeAt(vector, order, 0);
      const last = timeAt(vector, order, present - 1);
      // Times so far apart are no exact numbers of spans.
      if (!(Math.max(-from, last) < 2 ** 52)) return lowerBound(vector, order, 0, present, time);
      let length = 1;
      while (length * SPAN_COUNT <= last - from) length *= 2;
      places = spanPlaces(vector, order, present, from, length);
      this.#places[index] = places;
      this.#spanFrom[index] = from;
      this.#spanLength[index] = length;
    }
    const span = Math.floor((time - this.#spanFrom[index]!) / this.#spanLength[index]!);
    if (span < 0) return 0;
    if (span >= SPAN_COUNT) return present;
    const next = places[span + 1]!;
    return lowerBound(vector, order, places[span]!, next === PLACE_MAX ? present : next, time);
  }

  #look(index: number, segment: Segment | undefined, column: StoredColumn): void {
    this.#known[index] = segment;
    this.#places[index] = undefined;
    const bounds = boundsOf(segment, column);
    this.#from[index] = bounds.least;
    this.#to[index] = bounds.greatest;
  }
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

/** Where the rows of [from, to) stand in the time order; undefined where it is not of this column. */
function sealedPlaces(
  segment: SealedSegment,
  column: StoredColumn,
  from: number,
  to: number,
  times: SegmentTimes,
): SealedPlaces | undefined {
  const { timeOrder } = segment;
  const stored = segment.columns[column.id];
  if (stored === undefined) return undefined;
  const { vector, zone } = stored;
  if (
    zone.nullCount === 0 &&
    zone.min !== undefined &&
    zone.max !== undefined &&
    Number(zone.min) >= from &&
    Number(zone.max) < to
  )
    return { order: undefined, from: 0, to: segment.rowCount };
  if (timeOrder === undefined || segment.timeColumn !== column.id || vector.rep !== 'number')
    return undefined;
  const present = segment.rowCount - zone.nullCount;
  return {
    order: timeOrder,
    from: times.placeOf(segment, vector, timeOrder, present, from),
    to: times.placeOf(segment, vector, timeOrder, present, to),
  };
}

/** The places of an order by span of time: found in steps that double, since most spans are short or empty. */
function spanPlaces(
  vector: NumberVector,
  order: Uint16Array,
  present: number,
  from: number,
  length: number,
): Uint16Array {
  const places = new Uint16Array(SPAN_COUNT + 1);
  let place = 0;
  for (let span = 1; span <= SPAN_COUNT; span += 1) {
    const start = from + span * length;
    let step = 1;
    while (place + step < present && timeAt(vector, order, place + step) < start) step *= 2;
    place = lowerBound(
      vector,
      order,
      place + (step >> 1),
      Math.min(present, place + step + 1),
      start,
    );
    places[span] = Math.min(place, PLACE_MAX);
  }
  return places;
}

function timeAt({ values, factor, base }: NumberVector, order: Uint16Array, place: number): number {
  return values[order[place]!]! * factor + base;
}

/** Of places [from, end) of the order, the first whose time is at least `time`; `end` where there is none. */
function lowerBound(
  { values, factor, base }: NumberVector,
  order: Uint16Array,
  from: number,
  end: number,
  time: number,
): number {
  let low = from;
  let high = end;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[order[middle]!]! * factor + base < time) low = middle + 1;
    else high = middle;
  }
  return low;
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
