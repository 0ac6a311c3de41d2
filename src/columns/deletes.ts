import { SEGMENT_ROWS } from './segment.ts';

/** Rows a page of a bitmap covers: a batch of a scan looks at one page. */
export const DELETES_PAGE_ROWS = 2048;
const PAGE_WORDS = DELETES_PAGE_ROWS / 32;
/** A word is an element of an array. */
const PAGE_BYTES = PAGE_WORDS * 8 + 32;
const PAGE_COUNT = SEGMENT_ROWS / DELETES_PAGE_ROWS;

/** A change of more rows than this copies the bitmap as a whole: cheaper than page by page, and one array instead of many. */
const ROWS_BY_PAGE_MAX = 16;
const BITMAP_BYTES = SEGMENT_ROWS / 8;

/** Bits of 2,048 rows, in words of 32. Plain arrays: a typed one of this size takes twenty times as long to copy. */
type Page = number[];

/**
 * Which rows of a segment are dead, by physical place. Versions share pages: a change of a few rows copies the pages it touches and the
 * list of pages, so a reader's version costs the writer some 800 bytes and never changes. A change of many rows has a whole
 * bitmap of its own.
 */
export class Deletes {
  /** Absent: no row of the page is dead. Empty while there is a `#whole`. */
  #pages: (Page | undefined)[];
  /** All pages behind one another. */
  #whole: Int32Array | undefined;
  /** Whether `#whole` belongs to this version alone. */
  #ownsWhole = false;
  /** Bit n: page n belongs to this version alone and may be written. */
  #owned = 0;
  #pageCount: number;
  count: number;
  /** Grows with every change: a version that only one may see is changed in place. */
  changes = 0;
  /** The operation that made this version: while somebody may hold it, only that one may still write it. */
  readonly epoch: number;

  /** With `from`, a copy: what it had to itself, both share from here on. */
  constructor(epoch: number, from?: Deletes) {
    this.epoch = epoch;
    if (from !== undefined) {
      from.#owned = 0;
      from.#ownsWhole = false;
    }
    this.#pages = from === undefined ? [] : from.#pages.slice();
    this.#whole = from === undefined ? undefined : from.#whole;
    this.#pageCount = from === undefined ? 0 : from.#pageCount;
    this.count = from === undefined ? 0 : from.count;
  }

  has(row: number): boolean {
    const whole = this.#whole;
    if (whole !== undefined) return ((whole[row >>> 5]! >>> (row & 31)) & 1) === 1;
    const page = this.#pages[row >>> 11];
    return page !== undefined && ((page[(row & 2047) >>> 5]! >>> (row & 31)) & 1) === 1;
  }

  /** −1 in the place of rows [start, end) of a list that are dead; whether none was. Those that are −1 are passed over. */
  leaveLiving(rows: Int32Array, start: number, end: number): boolean {
    const whole = this.#whole;
    let areLiving = true;
    for (let at = start; at < end; at += 1) {
      const row = rows[at]!;
      if (row < 0) continue;
      const isDead =
        whole === undefined ? this.has(row) : ((whole[row >>> 5]! >>> (row & 31)) & 1) === 1;
      if (!isDead) continue;
      rows[at] = -1;
      areLiving = false;
    }
    return areLiving;
  }

  /** The dead rows of a page as bits, in words of 32 rows, or undefined where there is none. */
  page(index: number): ArrayLike<number> | undefined {
    return this.#whole === undefined
      ? this.#pages[index]
      : this.#whole.subarray(index * PAGE_WORDS, (index + 1) * PAGE_WORDS);
  }

  /** Marks a living row as dead. */
  add(row: number): void {
    const bit = 1 << (row & 31);
    if (this.#ownsWhole) this.#whole![row >>> 5]! |= bit;
    else this.#own(row >>> 11)[(row & 2047) >>> 5]! |= bit;
    this.count += 1;
    this.changes += 1;
  }

  /** Marks rows [start, end) of `rows` as dead; false where one of them is dead already, and then some may be marked. */
  addAll(rows: Int32Array, start: number, end: number): boolean {
    if (end - start > ROWS_BY_PAGE_MAX) this.#ownWhole();
    if (!this.#ownsWhole) {
      for (let at = start; at < end; at += 1) {
        if (this.has(rows[at]!)) return false;
        this.add(rows[at]!);
      }
      return true;
    }
    const whole = this.#whole!;
    for (let at = start; at < end; at += 1) {
      const row = rows[at]!;
      const bit = 1 << (row & 31);
      const word = whole[row >>> 5]!;
      if ((word & bit) !== 0) return false;
      whole[row >>> 5] = word | bit;
      this.count += 1;
      this.changes += 1;
    }
    return true;
  }

  /** Brings a dead row back. */
  remove(row: number): void {
    const kept = ~(1 << (row & 31));
    if (this.#ownsWhole) this.#whole![row >>> 5]! &= kept;
    else this.#own(row >>> 11)[(row & 2047) >>> 5]! &= kept;
    this.count -= 1;
    this.changes += 1;
  }

  /** Bytes of all pages. */
  get byteLength(): number {
    return this.#whole === undefined ? this.#pageCount * PAGE_BYTES : BITMAP_BYTES;
  }

  /** The dead rows, ascending. */
  rows(): Int32Array {
    const rows = new Int32Array(this.count);
    let count = 0;
    for (let index = 0; index < PAGE_COUNT; index += 1) {
      const page = this.page(index);
      if (page === undefined) continue;
      for (let word = 0; word < PAGE_WORDS; word += 1) {
        for (let left = page[word]!; left !== 0; left &= left - 1) {
          rows[count] = index * DELETES_PAGE_ROWS + word * 32 + 31 - Math.clz32(left & -left);
          count += 1;
        }
      }
    }
    return rows;
  }

  /** All rows, a bit each in words of 32: a copy that nobody shares. */
  toBits(): Int32Array {
    const bits = new Int32Array(BITMAP_BYTES / 4);
    for (let index = 0; index < PAGE_COUNT; index += 1) {
      const page = this.page(index);
      if (page !== undefined) bits.set(page, index * PAGE_WORDS);
    }
    return bits;
  }

  static ofBits(epoch: number, bits: Int32Array): Deletes {
    const deletes = new Deletes(epoch);
    deletes.#whole = bits.slice();
    deletes.#ownsWhole = true;
    for (let index = 0; index < bits.length; index += 1)
      for (let left = bits[index]!; left !== 0; left &= left - 1) deletes.count += 1;
    return deletes;
  }

  /** A version of its own in which these rows live; undefined where no other is dead. */
  without(rows: readonly number[]): Deletes | undefined {
    const bits = this.toBits();
    for (const row of rows) bits[row >>> 5]! &= ~(1 << (row & 31));
    const left = Deletes.ofBits(this.epoch, bits);
    return left.count === 0 ? undefined : left;
  }

  #ownWhole(): void {
    if (this.#ownsWhole) return;
    const whole =
      this.#whole === undefined ? new Int32Array(BITMAP_BYTES / 4) : this.#whole.slice();
    for (let index = 0; index < this.#pages.length; index += 1) {
      const page = this.#pages[index];
      if (page === undefined) continue;
      for (let word = 0; word < PAGE_WORDS; word += 1)
        whole[index * PAGE_WORDS + word] = page[word]!;
    }
    this.#whole = whole;
    this.#ownsWhole = true;
    this.#pages = [];
    this.#pageCount = 0;
  }

  /** A page to write, of a version that has no whole bitmap of its own. */
  #own(index: number): Page {
    if (this.#whole !== undefined) this.#cutUp(this.#whole);
    const bit = 1 << index;
    let page = this.#pages[index];
    if (page !== undefined && (this.#owned & bit) !== 0) return page;
    if (page === undefined) this.#pageCount += 1;
    page = page === undefined ? newPage() : page.slice();
    while (this.#pages.length < index) this.#pages.push(undefined);
    this.#pages[index] = page;
    this.#owned |= bit;
    return page;
  }

  /** Pages of this version alone in the place of a bitmap that others may read. */
  #cutUp(whole: Int32Array): void {
    this.#whole = undefined;
    for (let index = 0; index < PAGE_COUNT; index += 1) {
      const page = newPage();
      for (let word = 0; word < PAGE_WORDS; word += 1)
        page[word] = whole[index * PAGE_WORDS + word]!;
      this.#pages.push(page);
    }
    this.#pageCount = PAGE_COUNT;
    this.#owned = -1;
  }
}

function newPage(): Page {
  const page: Page = [];
  for (let word = 0; word < PAGE_WORDS; word += 1) page.push(0);
  return page;
}

/**
 * Physical rows in [start, end) that live, counted from `start`, or undefined where all do. [start, end) lies within one page.
 */
export function livingRows(
  deletes: Deletes | undefined,
  start: number,
  end: number,
): Int32Array | undefined {
  const page = deletes?.page(start >>> 11);
  if (page === undefined) return undefined;
  const rows = new Int32Array(end - start);
  let count = 0;
  for (let row = start; row < end; row += 1) {
    rows[count] = row - start;
    count += 1 - ((page[(row & 2047) >>> 5]! >>> (row & 31)) & 1);
  }
  return count === end - start ? undefined : rows.subarray(0, count);
}
