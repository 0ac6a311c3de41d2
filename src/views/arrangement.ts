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
 * A row whose weight falls to 0 leaves its list at once, but keeps its slot until the commit that took it away is published. When most
 * slots are free again, rows move to others (`shrink`), and what is kept by slot takes the room of the rows that there are.
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
  /** Rows freed since the last look whether slots are needed. */
  #freed = 0;

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
      slot = this.#newRow(columns, keys, row, hash);
      this.#link(slot);
      this.#weights.set(slot, weight);
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

  /**
   * Moves some rows, and keys, out of the last slots where most are free: as many as rows have left. Nobody may hold a slot. Rows of commits
   * that may be undone stay where they are.
   */
  shrink(): void {
    let left = SHRUNK_AT_ONCE + 2 * this.#freed;
    this.#freed = 0;
    while (left > 0 && this.#rows.isSparse) {
      left -= 1 / DROPPED_FOR_ONE;
      if (this.#rows.dropLast()) this.#shortenRows();
      else if (this.#pending.get(this.#rows.slotEnd - 1) > 0) break;
      else {
        this.#moveLastRow();
        left -= 1;
      }
    }
    while (left > 0 && this.#keys.isSparse) {
      left -= 1 / DROPPED_FOR_ONE;
      if (this.#keys.dropLast()) this.#shortenKeys();
      else {
        const rows = this.#rowsOfLastKey();
        if (rows === undefined) break;
        left -= rows.length;
        this.#moveLastKey(rows);
      }
    }
  }

  #moveLastRow(): void {
    const from = this.#rows.slotEnd - 1;
    const to = this.#rows.moveLast();
    const next = this.#next.get(from);
    const previous = this.#previous.get(from);
    this.#weights.set(to, this.#weights.get(from));
    this.#pending.set(to, 0);
    this.#keyOf.set(to, this.#keyOf.get(from));
    this.#next.set(to, next);
    this.#previous.set(to, previous);
    if (next >= 0) this.#previous.set(next, to);
    if (previous >= 0) this.#next.set(previous, to);
    else this.#heads.set(this.#keyOf.get(to), to);
  }

  #shortenRows(): void {
    const end = this.#rows.slotEnd;
    if (end % SHORTENED_BY !== 0) return;
    for (const array of [this.#weights, this.#pending, this.#keyOf, this.#next, this.#previous])
      array.shorten(end);
  }

  /** Undefined where rows that have left, and may come back, name the key, too. */
  #rowsOfLastKey(): readonly number[] | undefined {
    const key = this.#keys.slotEnd - 1;
    const rows: number[] = [];
    for (let row = this.#heads.get(key); row >= 0; row = this.#next.get(row)) rows.push(row);
    return rows.length === this.#references.get(key) ? rows : undefined;
  }

  #moveLastKey(rows: readonly number[]): void {
    const from = this.#keys.slotEnd - 1;
    const to = this.#keys.moveLast();
    this.#heads.set(to, this.#heads.get(from));
    this.#references.set(to, rows.length);
    for (const row of rows) this.#keyOf.set(row, to);
  }

  #shortenKeys(): void {
    const end = this.#keys.slotEnd;
    if (end % SHORTENED_BY !== 0) return;
    for (const array of [this.#heads, this.#references]) array.shorten(end);
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

  /** A row that is in no list yet. Nothing has changed where there is no room for it (53200). */
  #newRow(columns: readonly Vector[], keys: readonly Vector[], row: number, hash: number): number {
    const key = this.#keySlot(keys, row);
    let slot = -1;
    let isHeld = false;
    try {
      slot = this.#rows.add(columns, row, hash);
      put(this.#weights, slot, 0);
      put(this.#pending, slot, 0);
      put(this.#keyOf, slot, key);
      put(this.#next, slot, -1);
      put(this.#previous, slot, -1);
      isHeld = true;
    } finally {
      if (!isHeld) {
        if (slot >= 0) {
          this.#rows.unlink(slot);
          this.#rows.free(slot);
        }
        if (this.#references.get(key) === 0) this.#freeKey(key);
      }
    }
    this.#references.set(key, this.#references.get(key) + 1);
    return slot;
  }

  #keySlot(keys: readonly Vector[], row: number): number {
    const hash = hashRow(keys, row);
    const found = this.#keys.find(keys, row, hash);
    if (found >= 0) return found;
    const slot = this.#keys.add(keys, row, hash);
    let isHeld = false;
    try {
      put(this.#heads, slot, -1);
      put(this.#references, slot, 0);
      isHeld = true;
    } finally {
      if (!isHeld) this.#freeKey(slot);
    }
    return slot;
  }

  #free(slot: number): void {
    const key = this.#keyOf.get(slot);
    this.#rows.free(slot);
    this.#freed += 1;
    const references = this.#references.get(key) - 1;
    this.#references.set(key, references);
    if (references === 0) this.#freeKey(key);
  }

  #freeKey(key: number): void {
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

/** Rows and keys that are moved at each look, beside twice as many as have left. */
const SHRUNK_AT_ONCE = 64;
/** Slots that are free take so little to give up. */
const DROPPED_FOR_ONE = 8;
/** Arrays are shortened once for so many slots that are given up. */
const SHORTENED_BY = 1024;

/** Sets an entry that may be the one after the last. */
function put(array: ChunkedInt32, index: number, value: number): void {
  if (index === array.length) array.push(value);
  else array.set(index, value);
}
