import { countBelow } from '../base/search.ts';
import type { SealedSegment } from './segment.ts';
import type { StoredColumn } from './stored-column.ts';
import type { NumberArray } from './vector.ts';

/**
 * Where the rows of a stretch of four hours stand, by cells of a quarter hour or a whole part of one: of each cell the segments that have rows in it, and
 * which places of their order of time. Rows that came late lie far apart in many segments: to ask each of these costs more than
 * reading the rows that are asked for. A cell tells of all of them at once.
 */
const QUARTERS = 16;
export const STRETCH = QUARTERS * 900_000_000;
/** Cells of a quarter hour: all that windows begin and end on when quarters are cut into pieces begin a cell, too. */
const CELLS_A_QUARTER: readonly number[] = [90, 45, 15, 9, 3];
/** Fewer rows are searched as quickly as a cell is found. */
const CELL_ROWS_MIN = 24;
/** Entries of a stretch, so that it is made within a step: of rows in no order each may be one. */
const ENTRIES_MAX = 131_072;
/** A stretch that more segments have rows in takes too long to be made at once. */
const SEGMENTS_MAX = 4096;
/** In a stretch of more rows it is not noted where in its cell each lies: to look at all of them takes too long, too. */
const NOTED_ROWS_MAX = 65_536;
/** As far as a byte tells where in its cell a row lies. */
const NOTES = 256;
/** More notes are halved before they are looked at one by one. */
const NOTES_IN_A_ROW = 32;
/** What cells are beside their numbers. */
const CELLS_BYTES = 512;

/** A segment's times in their order, where they are doubles. */
export type OrderedTimes = {
  /** By slot: what a time is, times `factor` and with `base`. */
  readonly values: NumberArray;
  readonly factor: number;
  readonly base: number;
  readonly order: Uint16Array;
  /** Rows that have a time. */
  readonly present: number;
};

/** Undefined where the order is of another column, or times are no doubles. */
export function orderedTimes(
  segment: SealedSegment,
  column: StoredColumn,
): OrderedTimes | undefined {
  const { timeOrder, timeColumn, rowCount } = segment;
  const stored = segment.columns[column.id];
  if (stored === undefined || timeOrder === undefined || timeColumn !== column.id) return undefined;
  const { vector, zone } = stored;
  if (vector.rep !== 'number') return undefined;
  const { values, factor, base } = vector;
  return { values, factor, base, order: timeOrder, present: rowCount - zone.nullCount };
}

/** Times looked at together: those of neighbours lie anywhere in memory, and to wait for one after the other is what a search takes. */
const LOOKS = 8;

/** Of places [from, end) of the order, the first whose time is at least `time`; `end` where there is none. */
export function placeOfTime(times: OrderedTimes, from: number, end: number, time: number): number {
  let low = from;
  let high = end;
  while (high - low >= LOOKS) {
    const step = Math.floor((high - low) / LOOKS);
    const before = countBefore(times, low + step, step, LOOKS - 1, time);
    if (before < LOOKS - 1) high = low + step * (before + 1);
    if (before > 0) low += step * before + 1;
  }
  return low + countBefore(times, low, 1, high - low, time);
}

/** How many of `count` places, `step` apart, have a time before `time`. */
function countBefore(
  { values, factor, base, order }: OrderedTimes,
  from: number,
  step: number,
  count: number,
  time: number,
): number {
  let before = 0;
  for (let look = 0; look < count; look += 1)
    if (values[order[from + look * step]!]! * factor + base < time) before += 1;
  return before;
}

/** Rows of segments by their number: those at places [from[i], to[i]) of the order of number[i]. */
export type FoundRows = {
  readonly numbers: number[];
  readonly from: number[];
  readonly to: number[];
  /** Segments that may have more. */
  readonly others: number[];
};

/** Bytes of an entry: the number of a segment, the first place of its order, and how many rows after the first. */
const ENTRY_BYTES = 8;

export class TimeCells {
  readonly #start: number;
  readonly #length: number;
  /**
   * By cell, where its record begins. A record: how many entries, the entries, and if they are noted, by row in the order of entries, in which 256th
   * of its cell its time lies. The rows themselves lie anywhere in memory, and to wait for some of them is what a search took. A cell that somebody asks for is
   * in no cache either: its record is waited for once, where arrays of entries, of notes and of where they begin were waited for one after the other.
   */
  readonly #records: DataView;
  readonly #isNoted: boolean;
  /** By segment. */
  readonly #numbers: readonly number[];
  readonly #times: readonly OrderedTimes[];
  /** By segment, while rows of several cells are found: its place among those that were, and one. */
  readonly #found: Int32Array;

  /** Every candidate has `orderedTimes`. Undefined where too many have rows in it. */
  static of(
    start: number,
    candidates: readonly SealedSegment[],
    column: StoredColumn,
  ): TimeCells | undefined {
    const segments: SealedSegment[] = [];
    const ordered: OrderedTimes[] = [];
    const ranges: number[] = [];
    let rows = 0;
    for (const segment of candidates) {
      const times = orderedTimes(segment, column)!;
      const from = placeOfTime(times, 0, times.present, start);
      const to = placeOfTime(times, from, times.present, start + STRETCH);
      if (from === to) continue;
      if (segments.length === SEGMENTS_MAX) return undefined;
      segments.push(segment);
      ordered.push(times);
      ranges.push(from, to);
      rows += to - from;
    }
    const most = rows / QUARTERS / CELL_ROWS_MIN;
    const isFew = (cells: number): boolean =>
      Math.min(rows, QUARTERS * cells * segments.length) <= ENTRIES_MAX;
    const cells = QUARTERS * (CELLS_A_QUARTER.find((each) => each <= most && isFew(each)) ?? 1);
    return new TimeCells(start, cells, segments, ordered, ranges, rows);
  }

  private constructor(
    start: number,
    cells: number,
    segments: readonly SealedSegment[],
    ordered: readonly OrderedTimes[],
    ranges: readonly number[],
    rows: number,
  ) {
    this.#start = start;
    this.#length = STRETCH / cells;
    this.#times = ordered;
    this.#numbers = segments.map(({ number }) => number);
    this.#found = new Int32Array(segments.length);
    this.#isNoted = rows <= NOTED_ROWS_MAX;
    // By segment: cell, segment, first place, and how many more; and the notes of all rows.
    const made: number[] = [];
    const notes = this.#isNoted ? new Uint8Array(rows) : undefined;
    let noted = 0;
    const lengths = new Uint32Array(cells).fill(2);
    for (const [owner, times] of ordered.entries()) {
      const end = ranges[owner * 2 + 1]!;
      for (let place = ranges[owner * 2]!; place < end;) {
        const cell = this.#cellOf(timeAt(times, place));
        const cellStart = start + cell * this.#length;
        let next = place;
        if (notes === undefined) next = endBefore(times, place, end, cellStart + this.#length);
        else {
          for (; next < end; next += 1) {
            const into = timeAt(times, next) - cellStart;
            if (into >= this.#length) break;
            notes[noted] = this.#noteOf(into);
            noted += 1;
          }
        }
        made.push(cell, owner, place, next - place - 1);
        lengths[cell] = lengths[cell]! + ENTRY_BYTES + (notes === undefined ? 0 : next - place);
        place = next;
      }
    }
    const byteLength = lengths.reduce((sum, each) => sum + each, cells * 4);
    const records = new DataView(new ArrayBuffer(byteLength));
    let begin = cells * 4;
    for (let cell = 0; cell < cells; cell += 1) {
      records.setUint32(cell * 4, begin);
      begin += lengths[cell]!;
    }
    for (let at = 0; at < made.length; at += 4) {
      const record = records.getUint32(made[at]! * 4);
      const count = records.getUint16(record);
      const entry = record + 2 + count * ENTRY_BYTES;
      records.setUint16(record, count + 1);
      records.setUint32(entry, this.#numbers[made[at + 1]!]!);
      records.setUint16(entry + 4, made[at + 2]!);
      records.setUint16(entry + 6, made[at + 3]!);
    }
    this.#records = records;
    if (notes === undefined) return;
    // Behind the entries, which all are there by now.
    const nextNotes = lengths.fill(0);
    noted = 0;
    for (let at = 0; at < made.length; at += 4) {
      const cell = made[at]!;
      const record = records.getUint32(cell * 4);
      const note = record + 2 + records.getUint16(record) * ENTRY_BYTES + nextNotes[cell]!;
      const count = made[at + 3]! + 1;
      nextNotes[cell] = nextNotes[cell]! + count;
      for (let row = 0; row < count; row += 1) records.setUint8(note + row, notes[noted + row]!);
      noted += count;
    }
  }

  get byteLength(): number {
    return CELLS_BYTES + this.#records.byteLength;
  }

  /** A number that depends on what is held of the cell of a time, which lies in the stretch, and says nothing. */
  lookAt(time: number): number {
    return this.#records.getUint16(this.#records.getUint32(this.#cellOf(time) * 4));
  }

  /** Adds the rows of [from, to), which lies within the stretch and is not empty. */
  find(from: number, to: number, found: FoundRows): void {
    const length = this.#length;
    const first = this.#cellOf(from);
    const last = Math.ceil((to - this.#start) / length) - 1;
    const records = this.#records;
    const before = found.numbers.length;
    for (let cell = first; cell <= last; cell += 1) {
      const start = this.#start + cell * length;
      const isCutFirst = start < from;
      const isCutLast = start + length > to;
      const record = records.getUint32(cell * 4);
      const end = record + 2 + records.getUint16(record) * ENTRY_BYTES;
      let note = end;
      for (let at = record + 2; at < end; at += ENTRY_BYTES) {
        const number = records.getUint32(at);
        let place = records.getUint16(at + 4);
        const count = records.getUint16(at + 6) + 1;
        let until = place + count;
        if (isCutLast) until = place + this.#countBefore(number, place, note, count, start, to);
        if (isCutFirst) place += this.#countBefore(number, place, note, count, start, from);
        note += count;
        if (place >= until) continue;
        if (first < last) {
          const owner = this.#ownerOf(number);
          const known = this.#found[owner]!;
          if (known > 0) {
            found.to[known - 1] = until;
            continue;
          }
          this.#found[owner] = found.numbers.length + 1;
        }
        found.numbers.push(number);
        found.from.push(place);
        found.to.push(until);
      }
    }
    if (first < last)
      for (let at = before; at < found.numbers.length; at += 1)
        this.#found[this.#ownerOf(found.numbers[at]!)] = 0;
  }

  /** How many of an entry's rows, which are in the order of time, lie before a time in their cell. */
  #countBefore(
    number: number,
    place: number,
    note: number,
    count: number,
    start: number,
    time: number,
  ): number {
    if (!this.#isNoted)
      return placeOfTime(this.#times[this.#ownerOf(number)]!, place, place + count, time) - place;
    const records = this.#records;
    const mark = this.#noteOf(time - start);
    const end = note + count;
    const low = firstNote(records, note, end, mark);
    // Of those that lie in the same part of the cell only the rows tell.
    if (low === end || records.getUint8(low) !== mark) return low - note;
    const high = firstNote(records, low + 1, end, mark + 1);
    const same = place + low - note;
    const times = this.#times[this.#ownerOf(number)]!;
    return placeOfTime(times, same, place + high - note, time) - place;
  }

  #ownerOf(number: number): number {
    return countBelow(this.#numbers, number);
  }

  #cellOf(time: number): number {
    return Math.floor((time - this.#start) / this.#length);
  }

  #noteOf(into: number): number {
    return Math.floor((into * NOTES) / this.#length);
  }
}

/** Of notes [from, end), which ascend, the first that is at least `mark`; `end` where there is none. */
function firstNote(records: DataView, from: number, end: number, mark: number): number {
  let low = from;
  let high = end;
  while (high - low > NOTES_IN_A_ROW) {
    const middle = (low + high) >>> 1;
    if (records.getUint8(middle) < mark) low = middle + 1;
    else high = middle;
  }
  while (low < high && records.getUint8(low) < mark) low += 1;
  return low;
}

function timeAt({ values, factor, base, order }: OrderedTimes, place: number): number {
  return values[order[place]!]! * factor + base;
}

/** Of places [from, end), whose first is before `time`, the first that is not: found in steps that double, since most cells have few rows. */
function endBefore(times: OrderedTimes, from: number, end: number, time: number): number {
  let step = 1;
  while (from + step < end && timeAt(times, from + step) < time) step *= 2;
  return placeOfTime(times, from + (step >> 1), Math.min(end, from + step), time);
}
