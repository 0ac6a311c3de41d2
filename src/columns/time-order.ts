import type { StoredColumn } from './stored-column.ts';

/** Rows that came out of order: up to here each is put in its place, more are sorted and merged. */
const LATE_ROWS_FEW = 32;
const ROOM_MIN = 1024;

/** The open segment. */
export interface TimeSource {
  /** NaN for NULL; undefined where the column holds something else than doubles. */
  numberAt(column: StoredColumn, row: number): number | undefined;
}

/**
 * The rows of an open segment in the order of a time column, made as somebody asks and kept while rows are appended, overwritten
 * and taken back. Rows whose time is NULL are not in it.
 */
export class TimeOrder {
  readonly column: StoredColumn;
  readonly #source: TimeSource;
  #order = new Uint16Array(ROOM_MIN);
  #count = 0;
  /** Rows before this one are in the order, unless their time is NULL. */
  #seen = 0;

  constructor(column: StoredColumn, source: TimeSource) {
    this.column = column;
    this.#source = source;
  }

  get count(): number {
    return this.#count;
  }

  get byteLength(): number {
    return this.#order.byteLength;
  }

  rowAt(index: number): number {
    return this.#order[index]!;
  }

  /** NaN for NULL; undefined where the column holds something else than doubles. */
  timeOf(row: number): number | undefined {
    return this.#source.numberAt(this.column, row);
  }

  /** Takes rows up to `rowCount` in; false where their times are no doubles. */
  extend(rowCount: number): boolean {
    // What was appended and taken back may have left the last rows in another form.
    if (this.#seen > 0 && this.timeOf(this.#seen - 1) === undefined) return false;
    if (rowCount === this.#seen) return true;
    this.#reserve(this.#count + rowCount - this.#seen);
    const late: number[] = [];
    let last = this.#count === 0 ? -Infinity : this.timeOf(this.#order[this.#count - 1]!)!;
    for (let row = this.#seen; row < rowCount; row += 1) {
      const time = this.timeOf(row);
      if (time === undefined) return false;
      if (time !== time) continue;
      if (time >= last) {
        this.#order[this.#count] = row;
        this.#count += 1;
        last = time;
      } else late.push(row);
    }
    this.#seen = rowCount;
    if (late.length <= LATE_ROWS_FEW) for (const row of late) this.#insert(row);
    else this.#merge(late);
    return true;
  }

  /** Rows were overwritten, whose times were `before`. False where the order is of no use any more. */
  changed(rows: readonly number[], before: readonly (number | undefined)[]): boolean {
    const moved: number[] = [];
    for (let index = 0; index < rows.length; index += 1) {
      const row = rows[index]!;
      if (row >= this.#seen) continue;
      const after = this.timeOf(row);
      if (after === undefined || before[index] === undefined) return false;
      if (Object.is(after, before[index])) continue;
      moved.push(row);
      if (moved.length > LATE_ROWS_FEW) return false;
    }
    // All leave before the first comes back: a search needs the others in order.
    for (const row of moved) {
      const at = this.#order.subarray(0, this.#count).indexOf(row);
      if (at < 0) continue;
      this.#order.copyWithin(at, at + 1, this.#count);
      this.#count -= 1;
    }
    for (const row of moved) if (!Number.isNaN(this.timeOf(row))) this.#insert(row);
    return true;
  }

  /** Rows from `rowCount` on are gone. */
  truncate(rowCount: number): void {
    if (rowCount >= this.#seen) return;
    let kept = 0;
    for (let index = 0; index < this.#count; index += 1) {
      const row = this.#order[index]!;
      if (row >= rowCount) continue;
      this.#order[kept] = row;
      kept += 1;
    }
    this.#count = kept;
    this.#seen = rowCount;
  }

  /** Whether some row's time may lie in [from, to): two looks, since most who ask want other times. */
  meets(from: number, to: number): boolean {
    if (this.#count === 0) return false;
    return (
      this.timeOf(this.#order[0]!)! < to && this.timeOf(this.#order[this.#count - 1]!)! >= from
    );
  }

  /** The first place whose row's time is at least `time`. */
  lowerBound(time: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.timeOf(this.#order[middle]!)! < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #insert(row: number): void {
    this.#reserve(this.#count + 1);
    const at = this.lowerBound(this.timeOf(row)!);
    this.#order.copyWithin(at + 1, at, this.#count);
    this.#order[at] = row;
    this.#count += 1;
  }

  #merge(late: number[]): void {
    const times = new Map(late.map((row) => [row, this.timeOf(row)!]));
    late.sort((a, b) => times.get(a)! - times.get(b)!);
    this.#reserve(this.#count + late.length);
    const order = this.#order;
    let from = this.#count - 1;
    let to = this.#count + late.length - 1;
    for (let at = late.length - 1; at >= 0; to -= 1) {
      if (from >= 0 && this.timeOf(order[from]!)! > times.get(late[at]!)!) {
        order[to] = order[from]!;
        from -= 1;
      } else {
        order[to] = late[at]!;
        at -= 1;
      }
    }
    this.#count += late.length;
  }

  #reserve(count: number): void {
    if (count <= this.#order.length) return;
    let room = this.#order.length;
    while (room < count) room *= 2;
    const grown = new Uint16Array(room);
    grown.set(this.#order.subarray(0, this.#count));
    this.#order = grown;
  }
}
