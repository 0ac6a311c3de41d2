import { DbError } from '../base/errors.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import { countBelow } from '../base/search.ts';
import { slabDoubles, slabInts } from '../base/slab.ts';
import { kernelsOf, slabOfKind } from './array-kernels.ts';
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
import type { TimedScan, TimeStretch } from './table-contract.ts';
import type { Vector } from './vector.ts';
import { orderedTimes, placeOfTime, STRETCH, TimeCells, type FoundRows } from './time-cells.ts';

/**
 * Rows whose time lies in one of some stretches, in whatever order is fastest: of each segment those that its time order names, so that
 * what is read is what was asked for. Batches are read, and not kept: they lie in slabs. The work of finding them does not grow with the table but for a look at each segment's bounds.
 */
export class TimeScan implements TimedScan {
  readonly #snapshot: Snapshot;
  readonly #columns: readonly StoredColumn[];
  readonly #time: StoredColumn;
  readonly #stretches: readonly TimeStretch[];
  readonly #found: FoundRows = { numbers: [], from: [], to: [], others: [] };
  /** By stretch: where what was found of it ends, and the numbers of the others. */
  readonly #foundEnds: number[] = [];
  readonly #othersEnds: number[] = [];
  readonly #readOf: number[] = [];
  /** What comes next: all that was found, then the others, of `#stretch`. */
  #next = 0;
  #nextOther = 0;
  #stretch = 0;
  #isBegun = false;
  #part: Part | undefined;
  #rowsRead = 0;

  constructor(
    snapshot: Snapshot,
    bounds: SegmentTimes,
    options: {
      readonly column: number;
      readonly stretches: readonly TimeStretch[];
      readonly columnIndexes: readonly number[];
    },
  ) {
    const { view } = snapshot;
    const { stretches } = options;
    this.#snapshot = snapshot;
    this.#columns = options.columnIndexes.map((index) => view.columns[index]!);
    this.#time = view.columns[options.column]!;
    this.#stretches = stretches;
    const found = this.#found;
    for (let index = 0; index < stretches.length; index += 1) {
      const { from, to } = stretches[index]!;
      // A reader of the past may see rows of segments that are gone, or were compacted since.
      if (snapshot.isOfThePast) {
        const count = Math.ceil(view.rowIdEnd / SEGMENT_ROWS);
        for (let number = 0; number < count; number += 1) found.others.push(number);
      } else bounds.find(view.list, this.#time, from, to, found);
      this.#foundEnds.push(found.numbers.length);
      this.#othersEnds.push(found.others.length);
      this.#readOf.push(0);
    }
  }

  get rowsRead(): number {
    return this.#rowsRead;
  }

  /** Those of stretch number `index`. */
  rowsReadOf(index: number): number {
    return this.#readOf[index]!;
  }

  next(): Batch | undefined {
    if (!this.#isBegun) {
      this.#isBegun = true;
      const batch = this.#together();
      if (batch !== undefined) return batch;
    }
    for (;;) {
      if (this.#part === undefined) {
        if (this.#stretch === this.#stretches.length) return undefined;
        if (this.#next < this.#foundEnds[this.#stretch]!) {
          this.#part = this.#openFound(this.#next);
          this.#next += 1;
        } else if (this.#nextOther < this.#othersEnds[this.#stretch]!) {
          this.#part = this.#open(this.#found.others[this.#nextOther]!);
          this.#nextOther += 1;
        } else this.#stretch += 1;
        if (this.#part === undefined) continue;
      }
      const batch = this.#part.next();
      const read = this.#part.takeRead();
      this.#rowsRead += read;
      this.#readOf[this.#stretch]! += read;
      if (batch === 'end') this.#part = undefined;
      else if (batch !== undefined) return batch;
    }
  }

  /**
   * All that was found, as one batch, where it is few rows that are numbers. They lie in no cache, and neither do the ways to them: what is asked for one behind the
   * other is waited for together, so each look is made at all of them before the next.
   */
  #together(): Batch | undefined {
    const { numbers, from, to } = this.#found;
    const count = numbers.length;
    if (count < 2 || count > TOGETHER_PARTS_MAX || this.#columns.length === 0) return undefined;
    const parts: NumberParts = { states: [], vectors: [], ends: [] };
    let rowCount = 0;
    for (let part = 0; part < count; part += 1) {
      const state = this.#sealedAt(numbers[part]!);
      if (state === undefined) return undefined;
      rowCount += to[part]! - from[part]!;
      parts.states.push(state);
      for (const column of this.#columns) {
        const vector = state.segment.columns[column.id]?.vector;
        if (vector?.rep !== 'number') return undefined;
        parts.vectors.push(vector);
      }
    }
    if (rowCount > TOGETHER_ROWS_MAX) return undefined;
    const slots = slabInts(rowCount);
    let end = 0;
    for (let part = 0; part < count; part += 1) {
      const { segment, deletes } = parts.states[part]!;
      const order = segment.timeOrder!;
      const until = to[part]!;
      for (let place = from[part]!; place < until; place += 1) {
        const slot = order[place]!;
        if (deletes?.has(slot) === true) continue;
        slots[end] = slot;
        end += 1;
      }
      parts.ends.push(end);
    }
    const columns: Vector[] = [];
    for (let index = 0; index < this.#columns.length; index += 1) {
      const vector = numbersOf(parts, index, this.#columns.length, slots);
      if (vector === undefined) return undefined;
      columns.push(vector);
    }
    for (let part = 0, stretch = 0; part < count; part += 1) {
      while (part >= this.#foundEnds[stretch]!) stretch += 1;
      this.#readOf[stretch]! += to[part]! - from[part]!;
    }
    this.#rowsRead += rowCount;
    this.#next = count;
    return end === 0 ? undefined : { rowCount: end, columns };
  }

  /** A segment of which all rows that live are visible, as they are; undefined where it is no such. */
  #sealedAt(number: number): SealedState | undefined {
    const { view, overlay, isOfThePast } = this.#snapshot;
    const state = view.list.states[number - view.list.first];
    if (state?.segment.kind !== 'sealed' || isOfThePast) return undefined;
    if (overlay?.touches(number) === true || view.rowIdEnd < (number + 1) * SEGMENT_ROWS)
      return undefined;
    return state as SealedState;
  }

  #openFound(index: number): Part {
    const number = this.#found.numbers[index]!;
    const state = this.#sealedAt(number);
    if (state === undefined) return this.#filtered(number);
    const { segment, deletes } = state;
    const [from, to] = [this.#found.from[index]!, this.#found.to[index]!];
    const order = to - from === segment.rowCount ? undefined : segment.timeOrder;
    return new SealedPart(segment, deletes, { order, from, to }, this.#columns);
  }

  /** Undefined where the order of time tells that no row of a segment is asked for. */
  #open(number: number): Part | undefined {
    const { from, to } = this.#stretches[this.#stretch]!;
    const { view, overlay, isOfThePast } = this.#snapshot;
    const sealed = this.#sealedAt(number);
    if (sealed !== undefined) {
      const { segment, deletes } = sealed;
      const places = sealedPlaces(segment, this.#time, from, to);
      if (places !== undefined)
        return places.from < places.to
          ? new SealedPart(segment, deletes, places, this.#columns)
          : undefined;
    }
    const state = view.list.states[number - view.list.first];
    if (state?.segment.kind === 'open' && overlay?.touches(number) !== true && !isOfThePast) {
      const { segment, deletes } = state;
      const rowEnd = view.rowIdEnd - segment.firstRowId - segment.firstOrdinal;
      const rows = openRows(segment, this.#time, from, to, rowEnd, deletes);
      if (rows !== undefined) return new OpenPart(segment, rows, this.#columns);
    }
    return this.#filtered(number);
  }

  #filtered(number: number): Part {
    const { from, to } = this.#stretches[this.#stretch]!;
    return new FilteredPart(this.#snapshot, number, this.#time, from, to, this.#columns);
  }
}

/** Rows that are read together, and of how many segments: a few dozen are at the ends of a window. */
const TOGETHER_ROWS_MAX = 512;
const TOGETHER_PARTS_MAX = 64;

type SealedState = { readonly segment: SealedSegment; readonly deletes: Deletes | undefined };

/** Rows of several segments. */
type NumberParts = {
  readonly states: SealedState[];
  /** The columns of the first, those of the second, … */
  readonly vectors: Extract<Vector, { rep: 'number' }>[];
  /** Where the slots of each end. */
  readonly ends: number[];
};

/** Column number `index` of `columnCount`; undefined where it is not of one scale. */
function numbersOf(
  { vectors, ends }: NumberParts,
  index: number,
  columnCount: number,
  slots: Int32Array,
): Vector | undefined {
  const { type, scale } = vectors[index]!;
  const rowCount = ends.at(-1)!;
  const numbers = slabDoubles(rowCount);
  let validity: Uint8Array | undefined;
  let start = 0;
  for (let part = 0; part < ends.length; part += 1) {
    const vector = vectors[part * columnCount + index]!;
    if (vector.scale !== scale) return undefined;
    const { values, factor, base, validity: present } = vector;
    const end = ends[part]!;
    kernelsOf(values).decodeSelected(
      values,
      slots,
      start,
      end - start,
      factor,
      base,
      numbers,
      start,
    );
    if (present !== undefined) {
      validity ??= new Uint8Array(rowCount).fill(1);
      for (let row = start; row < end; row += 1) validity[row] = present[slots[row]!]!;
    }
    start = end;
  }
  return { rep: 'number', type, values: numbers, validity, factor: 1, base: 0, scale };
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

  /** Adds rows whose time may lie in [from, to). */
  find(list: SegmentList, column: StoredColumn, from: number, to: number, found: FoundRows): void {
    if (list.states !== this.#states || column !== this.#column || list.first !== this.#first)
      this.#lookAtAll(list, column);
    const stretch = Math.floor(from / STRETCH);
    // Beyond, times are no exact numbers of cells.
    const cells =
      from < to && to <= (stretch + 1) * STRETCH && Math.abs(from) < 2 ** 52
        ? this.#stretchAt(stretch, column)
        : undefined;
    if (cells?.cells === undefined) {
      this.#addAllMeeting(from, to, found.others);
      return;
    }
    cells.cells.find(from, to, found);
    for (let at = cells.toldCount; at < this.#told.length; at += 1)
      this.#addMeeting(this.#told[at]!.number - this.#first, from, to, found.others);
    for (const index of this.#others) this.#addMeeting(index, from, to, found.others);
  }

  /** Looks at where rows of a time will be looked for: a number that says nothing. */
  lookAt(time: number): number {
    return this.#stretches.get(Math.floor(time / STRETCH))?.cells?.lookAt(time) ?? 0;
  }

  #stretchAt(stretch: number, column: StoredColumn): KnownStretch {
    const known = this.#stretches.get(stretch);
    if (known !== undefined && this.#told.length - known.toldCount <= NEWER_MAX) return known;
    if (this.#stretches.size >= STRETCHES_MAX) this.#forgetStretches(this.#told);
    const start = stretch * STRETCH;
    const segments: SealedSegment[] = [];
    const numbers: number[] = [];
    this.#addAllMeeting(start, start + STRETCH, numbers);
    for (const number of numbers) {
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

  /** Adds the numbers of the segments in which some row may lie in [from, to). */
  #addAllMeeting(from: number, to: number, numbers: number[]): void {
    const count = this.#states.length;
    const end = countBelow(this.#left, to, count);
    for (let index = countBelow(this.#reached, from, count); index < end; index += 1)
      this.#addMeeting(index, from, to, numbers);
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
