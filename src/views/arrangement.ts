import { assert } from '../base/errors.ts';
import { ChunkedInt32 } from '../base/chunked.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import type { SqlType } from '../columns/types.ts';
import type { Vector } from '../columns/vector.ts';
import { hashRow } from '../columns/build.ts';
import { RowTable } from './row-store.ts';

/**
 * One side of a join, remembered: weighted rows, found by join key. Rows of equal keys form a list; a row is kept once, with its
 * weight. Every change is logged until its commit is published, so that staged commits can be undone, newest first.
 *
 * A row whose weight falls to 0 leaves its list at once, but keeps its slot until the commit that took it away is published.
 */
export class Arrangement {
  readonly #rows: RowTable;
  readonly #keys: RowTable;
  /** By row slot. */
  readonly #weights: ChunkedInt32;
  /** In how many entries of the logs the slot stands. */
  readonly #pending: ChunkedInt32;
  readonly #keyOf: ChunkedInt32;
  readonly #next: ChunkedInt32;
  readonly #previous: ChunkedInt32;
  /** By key slot: the first row of its list (−1: none), and how many slots name the key. */
  readonly #heads: ChunkedInt32;
  readonly #references: ChunkedInt32;
  /** By staged commit, oldest first: pairs of slot and added weight. */
  readonly #logs: number[][] = [];

  constructor(rowTypes: readonly SqlType[], keyTypes: readonly SqlType[], lease: MemoryLease) {
    this.#rows = new RowTable(rowTypes, 'identical', lease);
    this.#keys = new RowTable(keyTypes, 'equal', lease);
    this.#weights = new ChunkedInt32(lease);
    this.#pending = new ChunkedInt32(lease);
    this.#keyOf = new ChunkedInt32(lease);
    this.#next = new ChunkedInt32(lease);
    this.#previous = new ChunkedInt32(lease);
    this.#heads = new ChunkedInt32(lease);
    this.#references = new ChunkedInt32(lease);
  }

  /** Rows held, each counted once. */
  get rowCount(): number {
    return this.#rows.liveCount;
  }

  /** Adds `weight` copies (or takes them away) of a row whose key has no NULL. */
  add(columns: readonly Vector[], keys: readonly Vector[], row: number, weight: number): void {
    const hash = hashRow(columns, row);
    let slot = this.#rows.find(columns, row, hash);
    if (slot < 0) {
      assert(weight > 0, 'a row that leaves a join has come before');
      slot = this.#rows.add(columns, row, hash);
      this.#hold(slot, this.#keySlot(keys, row));
      this.#link(slot);
      put(this.#weights, slot, weight);
      put(this.#pending, slot, 0);
    } else {
      this.#shift(slot, weight);
    }
    const log = this.#logs.at(-1);
    if (log === undefined) {
      if (this.#weights.get(slot) === 0 && this.#pending.get(slot) === 0) this.#free(slot);
      return;
    }
    log.push(slot, weight);
    this.#pending.set(slot, this.#pending.get(slot) + 1);
  }

  /** The first row with the key of `row`, −1 if none. The key has no NULL. */
  first(keys: readonly Vector[], row: number): number {
    const key = this.#keys.find(keys, row, hashRow(keys, row));
    return key < 0 ? -1 : this.#heads.get(key);
  }

  /** The next row with the same key, −1 at the end. */
  after(slot: number): number {
    return this.#next.get(slot);
  }

  weight(slot: number): number {
    return this.#weights.get(slot);
  }

  gather(slots: Int32Array, count: number): Vector[] {
    return this.#rows.store.gather(slots, count);
  }

  checkpoint(): void {
    this.#logs.push([]);
  }

  /** Undoes the newest commit that is not released. */
  rollback(): void {
    const log = this.#logs.pop();
    assert(log !== undefined, 'only a commit with a checkpoint is undone');
    for (let at = log.length - 2; at >= 0; at -= 2) {
      const slot = log[at]!;
      const weight = log[at + 1]!;
      if (this.#weights.get(slot) === 0) {
        this.#rows.relink(slot);
        this.#link(slot);
        this.#weights.set(slot, -weight);
      } else {
        this.#shift(slot, -weight);
      }
      this.#settle(slot);
    }
  }

  /** The oldest commit is published: what it took away is gone for good. */
  release(): void {
    const log = this.#logs.shift();
    assert(log !== undefined, 'only a commit with a checkpoint is released');
    for (let at = 0; at < log.length; at += 2) this.#settle(log[at]!);
  }

  /** One log entry less may bring the slot back; the last one frees a row that is gone. */
  #settle(slot: number): void {
    const pending = this.#pending.get(slot) - 1;
    this.#pending.set(slot, pending);
    if (pending === 0 && this.#weights.get(slot) === 0) this.#free(slot);
  }

  #shift(slot: number, weight: number): void {
    const after = this.#weights.get(slot) + weight;
    assert(after >= 0, 'a row leaves a join as often as it came');
    this.#weights.set(slot, after);
    if (after > 0) return;
    this.#rows.unlink(slot);
    this.#unlink(slot);
  }

  #keySlot(keys: readonly Vector[], row: number): number {
    const hash = hashRow(keys, row);
    const found = this.#keys.find(keys, row, hash);
    if (found >= 0) return found;
    const slot = this.#keys.add(keys, row, hash);
    put(this.#heads, slot, -1);
    put(this.#references, slot, 0);
    return slot;
  }

  #hold(slot: number, key: number): void {
    put(this.#keyOf, slot, key);
    put(this.#next, slot, -1);
    put(this.#previous, slot, -1);
    this.#references.set(key, this.#references.get(key) + 1);
  }

  #free(slot: number): void {
    const key = this.#keyOf.get(slot);
    this.#rows.free(slot);
    const references = this.#references.get(key) - 1;
    this.#references.set(key, references);
    if (references > 0) return;
    this.#keys.unlink(key);
    this.#keys.free(key);
  }

  #link(slot: number): void {
    const key = this.#keyOf.get(slot);
    const head = this.#heads.get(key);
    this.#next.set(slot, head);
    this.#previous.set(slot, -1);
    if (head >= 0) this.#previous.set(head, slot);
    this.#heads.set(key, slot);
  }

  #unlink(slot: number): void {
    const next = this.#next.get(slot);
    const previous = this.#previous.get(slot);
    if (next >= 0) this.#previous.set(next, previous);
    if (previous >= 0) this.#next.set(previous, next);
    else this.#heads.set(this.#keyOf.get(slot), next);
  }
}

/** Sets an entry that may be the one after the last. */
function put(array: ChunkedInt32, index: number, value: number): void {
  if (index === array.length) array.push(value);
  else array.set(index, value);
}
