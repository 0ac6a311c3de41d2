import { ChunkedFloat64 } from '../base/chunked.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import { numberAt } from './cells.ts';
import type { Vector } from './vector.ts';

/** Consecutive single inserts after which keys count as growing with the row ids. */
const RUN_LENGTH_MIN = 16;
/** Of so many runs, the first key of the first stands in an array by itself: a search looks there first, in memory that is at hand. */
const RUNS_A_BLOCK = 64;
/** Runs of rows that are gone are forgotten when they are so many, and half of all. */
const GONE_RUNS_MIN = 64;
/** Sums of keys and lengths stay exact below this. */
const KEY_END = 2 ** 52;

/**
 * Integer keys that grow with the row ids, as runs of (first key, first row id, length): the keys of a sequence cost nothing a
 * row. Runs are ascending in key and in row id and never shrink but by undo, and at the beginning, when no row that comes so early is left
 * (`forgetBefore`); whether the row still lives, and still has the key, is for the reader to confirm.
 */
export class KeyRuns {
  readonly #keys: ChunkedFloat64;
  readonly #rowIds: ChunkedFloat64;
  readonly #lengths: ChunkedFloat64;
  /** First keys of runs 0, 64, 128, …: as many as there are blocks. */
  readonly #blockKeys: number[] = [];
  /** Their first row ids. */
  readonly #blockRowIds: number[] = [];
  /** The run of the row that was asked for last: the next is often near. */
  #rowRun = 0;
  /** The last key of the last run. */
  #keyMax = -Infinity;
  /** A long run, where most keys are of a table that was loaded: a search asks it first. */
  #longKey = 0;
  #longRowId = 0;
  #longLength = 0;
  /** How the latest single inserts went on: the key and row id that would continue them, and how many there were. */
  #streakKey = NaN;
  #streakRowId = -1;
  #streakLength = 0;

  constructor(lease: MemoryLease) {
    this.#keys = new ChunkedFloat64(lease);
    this.#rowIds = new ChunkedFloat64(lease);
    this.#lengths = new ChunkedFloat64(lease);
  }

  /** The row id that the run through `key` leads to, or −1. */
  find(key: number): number {
    const along = key - this.#longKey;
    if (along >= 0 && along < this.#longLength) return this.#longRowId + along;
    if (!(key <= this.#keyMax)) return -1;
    const run = runBefore(this.#blockKeys, this.#keys, key);
    if (run < 0) return -1;
    const step = key - this.#keys.get(run);
    return step < this.#lengths.get(run) ? this.#rowIds.get(run) + step : -1;
  }

  /** Whether a run leads to the row; only while all rows have the keys that they came with. Rows near the one before are found at once. */
  hasRow(rowId: number): boolean {
    const along = rowId - this.#longRowId;
    if (along >= 0 && along < this.#longLength) return true;
    if (!this.#isAtRun(this.#rowRun, rowId)) {
      const run = runBefore(this.#blockRowIds, this.#rowIds, rowId);
      if (run < 0) return false;
      this.#rowRun = run;
    }
    return rowId - this.#rowIds.get(this.#rowRun) < this.#lengths.get(this.#rowRun);
  }

  /** Whether the run is the last that begins at the row or before it. */
  #isAtRun(run: number, rowId: number): boolean {
    const { length } = this.#rowIds;
    return (
      run < length &&
      this.#rowIds.get(run) <= rowId &&
      (run + 1 === length || this.#rowIds.get(run + 1) > rowId)
    );
  }

  /** Whether entries [0, rowCount) are present, consecutive, and beyond every key there is. */
  isNewRun(keys: Vector, rowCount: number, hashedKeyMax: number): boolean {
    if (keys.rep !== 'number' || (rowCount < RUN_LENGTH_MIN && this.#keys.length === 0))
      return false;
    const { values, validity, factor, base } = keys;
    const first = numberAt(values[0]!, factor, base);
    if (
      !(
        first > this.#keyMax &&
        first > hashedKeyMax &&
        first > -KEY_END &&
        first + rowCount < KEY_END
      )
    )
      return false;
    if (rowCount < RUN_LENGTH_MIN && first !== this.#keyMax + 1) return false;
    for (let row = 0; row < rowCount; row += 1) {
      if (validity !== undefined && validity[row] === 0) return false;
      if (numberAt(values[row]!, factor, base) !== first + row) return false;
    }
    return true;
  }

  addRun(key: number, rowId: number, length: number): void {
    const last = this.#keys.length - 1;
    if (last >= 0) {
      const lastLength = this.#lengths.get(last);
      if (key === this.#keyMax + 1 && rowId === this.#rowIds.get(last) + lastLength) {
        this.#lengths.set(last, lastLength + length);
        this.#keyMax += length;
        this.#noteLong(this.#keys.get(last), this.#rowIds.get(last), lastLength + length);
        return;
      }
    }
    const count = this.#keys.length + 1;
    this.#keys.reserve(count);
    this.#rowIds.reserve(count);
    this.#lengths.reserve(count);
    if ((count - 1) % RUNS_A_BLOCK === 0) {
      this.#blockKeys.push(key);
      this.#blockRowIds.push(rowId);
    }
    this.#keys.push(key);
    this.#rowIds.push(rowId);
    this.#lengths.push(length);
    this.#keyMax = key + length - 1;
    this.#noteLong(key, rowId, length);
  }

  #noteLong(key: number, rowId: number, length: number): void {
    if (length <= this.#longLength) return;
    this.#longKey = key;
    this.#longRowId = rowId;
    this.#longLength = length;
  }

  /** Takes the pair in where it continues the last run, or where enough singles before it have shown a run. */
  extend(key: number, rowId: number, hashedKeyMax: number): boolean {
    const last = this.#keys.length - 1;
    if (key === this.#keyMax + 1 && key > hashedKeyMax && last >= 0) {
      const length = this.#lengths.get(last);
      if (rowId === this.#rowIds.get(last) + length && key + 1 < KEY_END) {
        this.#lengths.set(last, length + 1);
        this.#keyMax = key;
        this.#noteLong(this.#keys.get(last), this.#rowIds.get(last), length + 1);
        return true;
      }
    }
    if (key === this.#streakKey && rowId === this.#streakRowId) {
      this.#streakLength += 1;
    } else {
      this.#streakLength = 1;
    }
    this.#streakKey = key + 1;
    this.#streakRowId = rowId + 1;
    if (this.#streakLength < RUN_LENGTH_MIN || !(key > this.#keyMax && key > hashedKeyMax))
      return false;
    if (!(key > -KEY_END && key + 1 < KEY_END)) return false;
    this.addRun(key, rowId, 1);
    return true;
  }

  /** Cuts off row ids from `nextRowId` on. */
  forgetFrom(nextRowId: number): void {
    this.#longLength = Math.max(0, Math.min(this.#longLength, nextRowId - this.#longRowId));
    for (let last = this.#keys.length - 1; last >= 0; last -= 1) {
      const rowId = this.#rowIds.get(last);
      const length = this.#lengths.get(last);
      if (rowId + length <= nextRowId) break;
      if (rowId < nextRowId) {
        this.#lengths.set(last, nextRowId - rowId);
        break;
      }
      this.#keys.truncate(last);
      this.#rowIds.truncate(last);
      this.#lengths.truncate(last);
    }
    this.#blockKeys.length = Math.ceil(this.#keys.length / RUNS_A_BLOCK);
    this.#blockRowIds.length = this.#blockKeys.length;
    const last = this.#keys.length - 1;
    this.#keyMax = last < 0 ? -Infinity : this.#keys.get(last) + this.#lengths.get(last) - 1;
    this.#streakLength = 0;
    this.#streakKey = NaN;
  }

  /** Nobody asks for rows with ids below `rowId`, or their keys: most of their runs are forgotten now and then. */
  forgetBefore(rowId: number): void {
    // The last that begins there or before may lead to others.
    const gone = runBefore(this.#blockRowIds, this.#rowIds, rowId);
    const left = this.#keys.length - gone;
    if (gone < GONE_RUNS_MIN || gone < left) return;
    this.#blockKeys.length = 0;
    this.#blockRowIds.length = 0;
    for (let run = 0; run < left; run += 1) {
      const key = this.#keys.get(gone + run);
      const first = this.#rowIds.get(gone + run);
      this.#keys.set(run, key);
      this.#rowIds.set(run, first);
      this.#lengths.set(run, this.#lengths.get(gone + run));
      if (run % RUNS_A_BLOCK !== 0) continue;
      this.#blockKeys.push(key);
      this.#blockRowIds.push(first);
    }
    for (const array of [this.#keys, this.#rowIds, this.#lengths]) array.shorten(left);
    this.#rowRun = 0;
    if (this.#longRowId < this.#rowIds.get(0)) this.#longLength = 0;
  }

  clear(): void {
    this.#keys.clear();
    this.#rowIds.clear();
    this.#lengths.clear();
    this.#blockKeys.length = 0;
    this.#blockRowIds.length = 0;
    this.#keyMax = -Infinity;
    this.#longLength = 0;
  }
}

/** The last run whose first key, or row id, is at most `value`; −1 where there is none. */
function runBefore(blocks: readonly number[], firsts: ChunkedFloat64, value: number): number {
  let low = 0;
  let high = blocks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (blocks[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  if (low === 0) return -1;
  // In the block before: its first is not beyond it.
  high = Math.min(firsts.length, low * RUNS_A_BLOCK);
  low = (low - 1) * RUNS_A_BLOCK + 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (firsts.get(middle) <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
