/** Rows a page of a bitmap covers: a batch of a scan looks at one page. */
export const DELETES_PAGE_ROWS = 2048;
const PAGE_BYTES = DELETES_PAGE_ROWS / 8;

/**
 * Which rows of a segment are dead, by physical place. Versions share pages: a change copies the page it touches and the list
 * of pages, so a reader's version costs the writer some 300 bytes and never changes.
 */
export class Deletes {
  /** Absent: no row of the page is dead. */
  readonly #pages: (Uint8Array | undefined)[];
  /** Bit n: page n belongs to this version alone and may be written. */
  #owned = 0;
  #pageCount: number;
  count: number;
  /** The operation that made this version: only that one may still write it. */
  readonly epoch: number;

  constructor(epoch: number, from?: Deletes) {
    this.epoch = epoch;
    this.#pages = from === undefined ? [] : from.#pages.slice();
    this.#pageCount = from === undefined ? 0 : from.#pageCount;
    this.count = from === undefined ? 0 : from.count;
  }

  has(row: number): boolean {
    const page = this.#pages[row >>> 11];
    return page !== undefined && (page[(row & 2047) >>> 3]! & (1 << (row & 7))) !== 0;
  }

  /** The dead rows of a page as bits, or undefined where there is none. */
  page(index: number): Uint8Array | undefined {
    return this.#pages[index];
  }

  /** Marks a living row as dead. */
  add(row: number): void {
    const page = this.#own(row >>> 11);
    page[(row & 2047) >>> 3]! |= 1 << (row & 7);
    this.count += 1;
  }

  /** Brings a dead row back. */
  remove(row: number): void {
    const page = this.#own(row >>> 11);
    page[(row & 2047) >>> 3]! &= ~(1 << (row & 7));
    this.count -= 1;
  }

  /** Bytes of all pages. */
  get byteLength(): number {
    return this.#pageCount * PAGE_BYTES;
  }

  #own(index: number): Uint8Array {
    const bit = 1 << index;
    let page = this.#pages[index];
    if (page !== undefined && (this.#owned & bit) !== 0) return page;
    if (page === undefined) this.#pageCount += 1;
    page = page === undefined ? new Uint8Array(PAGE_BYTES) : page.slice();
    while (this.#pages.length < index) this.#pages.push(undefined);
    this.#pages[index] = page;
    this.#owned |= bit;
    return page;
  }
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
    count += 1 - ((page[(row & 2047) >>> 3]! >>> (row & 7)) & 1);
  }
  return count === end - start ? undefined : rows.subarray(0, count);
}
