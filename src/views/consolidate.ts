import { HashParts } from '../base/hash-parts.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import type { Batch } from '../columns/batch.ts';
import type { Vector } from '../columns/vector.ts';
import { identicalRows } from '../columns/identical.ts';
import { hashRow } from '../columns/build.ts';
import { takeRows } from './take-rows.ts';

/** Up to here comparing with every earlier row is cheaper than hashing. */
const SMALL_COUNT = 8;

/**
 * Adds up the weights of identical rows, so that nothing leaves that comes back: what a view hands on is exactly the difference between
 * before and after. Rows are not copied but remembered where they stand: vectors are never written once they were handed on.
 */
export class Consolidator {
  /** By batch: its columns. */
  readonly #columns: (readonly Vector[])[] = [];
  /** By entry: where the row stands, and its weight (0: cancelled). */
  readonly #batches: number[] = [];
  readonly #rows: number[] = [];
  readonly #weights: number[] = [];
  #plus = false;
  #minus = false;
  #hashes: HashParts | undefined;
  #liveCount = 0;

  /** Distinct rows that have not cancelled. */
  get count(): number {
    return this.#liveCount;
  }

  /** Takes rows in; `sign` −1 turns arrivals into departures. */
  add(batch: Batch, sign: 1 | -1 = 1): void {
    const batchIndex = this.#columns.length;
    this.#columns.push(batch.columns);
    for (let index = 0; index < batch.rowCount; index += 1) {
      const row = batch.selection === undefined ? index : batch.selection[index]!;
      this.#addRow(batchIndex, row, (batch.weights === undefined ? 1 : batch.weights[row]!) * sign);
    }
  }

  #addRow(batch: number, row: number, weight: number): void {
    if (!this.#isMixed) {
      if (weight > 0) this.#plus = true;
      else this.#minus = true;
      if (this.#isMixed) this.#foldAll();
    }
    // While all rows have one sign nothing can cancel, and nobody looks.
    if (this.#isMixed) {
      const found = this.#find(batch, row);
      if (found >= 0) {
        const before = this.#weights[found]!;
        this.#weights[found] = before + weight;
        if (before === 0) this.#liveCount += 1;
        else if (before + weight === 0) this.#liveCount -= 1;
        return;
      }
    }
    const entry = this.#batches.length;
    this.#batches.push(batch);
    this.#rows.push(row);
    this.#weights.push(weight);
    this.#liveCount += 1;
    if (this.#hashes !== undefined) this.#hashes.add(hashRow(this.#columns[batch]!, row), entry);
  }

  get #isMixed(): boolean {
    return this.#plus && this.#minus;
  }

  /** The entry of the same row, −1 if none. */
  #find(batch: number, row: number): number {
    const columns = this.#columns[batch]!;
    if (this.#hashes === undefined) {
      if (this.#batches.length <= SMALL_COUNT) {
        for (let entry = 0; entry < this.#batches.length; entry += 1)
          if (this.#isSame(entry, columns, row)) return entry;
        return -1;
      }
      this.#foldAll();
    }
    const hashes = this.#hashes!;
    for (let entry = hashes.first(hashRow(columns, row)); entry >= 0; entry = hashes.next())
      if (this.#isSame(entry, columns, row)) return entry;
    return -1;
  }

  /** Makes one entry of all that are the same row, and has them looked up by hash where there are many. */
  #foldAll(): void {
    const hashes =
      this.#batches.length > SMALL_COUNT ? new HashParts(new MemoryLease(undefined)) : undefined;
    this.#hashes = hashes;
    for (let entry = 0; entry < this.#batches.length; entry += 1) {
      const columns = this.#columns[this.#batches[entry]!]!;
      const row = this.#rows[entry]!;
      let twin: number;
      if (hashes === undefined) {
        twin = 0;
        while (twin < entry && !this.#isSame(twin, columns, row)) twin += 1;
        if (twin === entry) twin = -1;
      } else {
        const hash = hashRow(columns, row);
        twin = hashes.first(hash);
        while (twin >= 0 && !this.#isSame(twin, columns, row)) twin = hashes.next();
        if (twin < 0) hashes.add(hash, entry);
      }
      if (twin >= 0) this.#fold(entry, twin);
    }
  }

  #isSame(entry: number, columns: readonly Vector[], row: number): boolean {
    return identicalRows(this.#columns[this.#batches[entry]!]!, this.#rows[entry]!, columns, row);
  }

  /** Adds entry `from` to `to`, which is the same row. */
  #fold(from: number, to: number): void {
    const weight = this.#weights[from]!;
    if (weight === 0) return;
    const before = this.#weights[to]!;
    this.#weights[to] = before + weight;
    this.#weights[from] = 0;
    this.#liveCount -= 1;
    if (before === 0) this.#liveCount += 1;
    else if (before + weight === 0) this.#liveCount -= 1;
  }

  /**
   * The rows that are left from entry `from` on, at most `rowCountMax` of them (of one sign only, where `sign` is not 0), in the order
   * they came; `next` is where the following batch begins, −1 at the end.
   */
  take(
    from: number,
    rowCountMax: number,
    sign: 1 | -1 | 0 = 0,
  ): { readonly batch: Batch | undefined; readonly next: number } {
    const batches: number[] = [];
    const rows: number[] = [];
    const weights: number[] = [];
    let entry = from;
    for (; entry < this.#batches.length && rows.length < rowCountMax; entry += 1) {
      const weight = this.#weights[entry]!;
      if (weight === 0 || (sign !== 0 && weight > 0 !== sign > 0)) continue;
      batches.push(this.#batches[entry]!);
      rows.push(this.#rows[entry]!);
      weights.push(weight);
    }
    if (rows.length === 0) return { batch: undefined, next: -1 };
    const columns = takeRows(this.#columns, batches, rows);
    return {
      batch: { rowCount: rows.length, columns, weights: Int32Array.from(weights) },
      next: entry < this.#batches.length ? entry : -1,
    };
  }
}
