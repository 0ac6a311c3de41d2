import { HashParts, TOUCHED_MAX } from '../base/hash-parts.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import { slabInts } from '../base/slab.ts';
import { hashRow, hashRows } from './build.ts';
import { entryAt, hashNumber, isNullAt, numberAt } from './cells.ts';
import { KeyRuns } from './key-runs.ts';
import type { IndexSchema } from './table-contract.ts';
import { mixHash } from './utf8.ts';
import type { Vector } from './vector.ts';

/** What an index asks of the table it belongs to, in its newest (staged) state. */
export interface KeyReader {
  /** Whether the row lives and its key equals entry `index` of `keys`. */
  hasKey(
    rowId: number,
    columnIndexes: readonly number[],
    keys: readonly Vector[],
    index: number,
  ): boolean;
}

/**
 * Keys → row ids. Holds pairs for every version of a row that some reader may still see: an entry proves nothing, readers
 * compare the row's columns. Keys with a NULL are not indexed.
 *
 * Invariants: (1) every visible row with a full key can be found under it; (2) pairs are a multiset: a row whose key
 * changes back and forth is added and removed as often; (3) of the newest state at most one living row has a key.
 *
 * One integer column whose keys grow with the row ids costs nothing a row (KeyRuns); other keys 10 to 16 bytes.
 */
export class UniqueIndex {
  /** Column positions follow the table's columns when one is dropped. */
  schema: IndexSchema;
  readonly #hashes: HashParts;
  readonly #lease: MemoryLease;
  readonly #isInteger: boolean;
  #madeRuns: KeyRuns | undefined;
  /** Largest integer key in `#hashes`: greater ones need no look there. */
  #hashedKeyMax = -Infinity;
  /** No row has got another key where it stands: what a run says of the key of a row is so. */
  #areRunsTrue = true;
  /** Where `next` goes on: by this hash, undefined where nothing is to be found by it. */
  #cursorHash: number | undefined;
  #isCursorInRuns = false;

  constructor(schema: IndexSchema, lease: MemoryLease, isInteger: boolean) {
    this.schema = schema;
    this.#hashes = new HashParts(lease);
    this.#lease = lease;
    this.#isInteger = isInteger;
  }

  /**
   * Adds rows [start, start + rowCount) with row ids from `firstRowId` on. Returns −1, or the first row whose key a living row has
   * already: then nothing was added. Throws 53200 likewise. Without a reader, no living row has any of the keys.
   */
  insertRange(
    keys: readonly Vector[],
    start: number,
    rowCount: number,
    firstRowId: number,
    reader: KeyReader | undefined,
  ): number {
    const runs = this.#runs;
    if (
      runs !== undefined &&
      rowCount > 1 &&
      start === 0 &&
      runs.isNewRun(keys[0]!, rowCount, this.#hashedKeyMax)
    ) {
      runs.addRun(numberOf(keys[0]!, 0), firstRowId, rowCount);
      return -1;
    }
    const end = start + rowCount;
    const hashes = hashesOf(keys, start, end);
    /** Of whole numbers that nobody else has. */
    const numbers =
      runs !== undefined && reader === undefined && keys[0]!.validity === undefined
        ? keys[0]!
        : undefined;
    let row = start;
    let isDone = false;
    try {
      for (; row < end; row += 1) {
        const at = row - start;
        if (at % TOUCHED_MAX === 0)
          this.#hashes.touch(hashes, at, Math.min(rowCount, at + TOUCHED_MAX));
        if (numbers?.rep === 'number') {
          const key = numberAt(entryAt(numbers.values, row), numbers.factor, numbers.base);
          this.#add(key, hashes[at]!, firstRowId + at);
        } else if (!this.#insert(keys, row, hashes[at]!, firstRowId + at, reader)) return row;
      }
      isDone = true;
      return -1;
    } finally {
      if (!isDone)
        for (let undo = row - 1; undo >= start; undo -= 1)
          this.remove(keys, undo, firstRowId + undo - start);
    }
  }

  /** The same for one row; false where a living row has the key. */
  insert(keys: readonly Vector[], row: number, rowId: number, reader: KeyReader): boolean {
    return this.#insert(keys, row, hashRow(keys, row), rowId, reader);
  }

  /** Undefined where keys are not single integers. */
  get #runs(): KeyRuns | undefined {
    if (this.#isInteger) this.#madeRuns ??= new KeyRuns(this.#lease);
    return this.#madeRuns;
  }

  #insert(
    keys: readonly Vector[],
    row: number,
    hash: number,
    rowId: number,
    reader: KeyReader | undefined,
  ): boolean {
    if (hasNull(keys, row)) return true;
    const { columnIndexes } = this.schema;
    const runs = this.#runs;
    const key = runs === undefined ? NaN : numberOf(keys[0]!, row);
    // Without a reader the row is new, and its key nobody's.
    if (runs !== undefined && reader !== undefined && key === key) {
      const other = runs.find(key);
      if (other === rowId) return true;
      if (other >= 0 && reader.hasKey(other, columnIndexes, keys, row)) return false;
    }
    if (reader !== undefined && !(key > this.#hashedKeyMax)) {
      for (let other = this.#hashes.first(hash); other >= 0; other = this.#hashes.next()) {
        if (other !== rowId && reader.hasKey(other, columnIndexes, keys, row)) return false;
      }
    }
    this.#add(key, hash, rowId);
    return true;
  }

  /** To a run or under its hash; `key`: the number, NaN where keys are no safe integers. */
  #add(key: number, hash: number, rowId: number): void {
    const runs = this.#madeRuns;
    if (runs !== undefined && key === key && runs.extend(key, rowId, this.#hashedKeyMax)) return;
    this.#hashes.add(hash, rowId);
    // A key that is no safe integer makes every later one look.
    if (runs !== undefined && !(key <= this.#hashedKeyMax))
      this.#hashedKeyMax = key === key ? key : Infinity;
  }

  remove(keys: readonly Vector[], row: number, rowId: number): void {
    if (hasNull(keys, row)) return;
    const key = this.#runs === undefined ? NaN : numberOf(keys[0]!, row);
    if (this.#runs !== undefined && key === key && this.#runs.find(key) === rowId) return;
    this.#hashes.remove(hashRow(keys, row), rowId);
  }

  /** Takes out what there is of rows that are in no run (`isRowInRuns`), by the hashes of their keys (`hashOfKey`). */
  removeHashed(hashes: Int32Array, rowIds: Float64Array, count: number): void {
    for (let row = 0; row < count; row += 1) {
      if (row % TOUCHED_MAX === 0)
        this.#hashes.touch(hashes, row, Math.min(count, row + TOUCHED_MAX));
      this.#hashes.remove(hashes[row]!, rowIds[row]!);
    }
  }

  /** Whether keys are single integers, and no row has got another one where it stands: what is in a run has no pair. */
  get areRunsWhole(): boolean {
    return this.#isInteger && this.#areRunsTrue;
  }

  /** Some row has got another key where it stands. */
  keyChanged(): void {
    this.#areRunsTrue = false;
  }

  /**
   * The row id that a run leads to, or −1. `areRunsTrue`: the row came with this key, and has it for as long as it lives; else that is to be
   * confirmed.
   */
  inRuns(key: number): number {
    return this.#madeRuns === undefined ? -1 : this.#madeRuns.find(key);
  }

  get areRunsTrue(): boolean {
    return this.#areRunsTrue;
  }

  /** See `HashParts`: before many of `firstHashed`. */
  touch(hashes: Int32Array, start: number, end: number): void {
    this.#hashes.touch(hashes, start, end);
  }

  /** Whether a row with the key may be in no run; else there is no need for `firstHashed`. */
  mayBeHashed(key: number): boolean {
    return this.#madeRuns === undefined || !(key > this.#hashedKeyMax);
  }

  /** The first row id under the hash that is in no run, to be confirmed, or −1. */
  firstHashed(hash: number): number {
    return this.#hashes.first(hash);
  }

  /** Whether the row's key is in a run, so that there is no pair of it to be removed. */
  isRowInRuns(rowId: number): boolean {
    return this.#areRunsTrue && this.#madeRuns?.hasRow(rowId) === true;
  }

  /** Row ids from `nextRowId` on were undone: they will be given again, with other keys. */
  forgetFrom(nextRowId: number): void {
    this.#madeRuns?.forgetFrom(nextRowId);
  }

  /** See `KeyRuns`. */
  forgetBefore(rowId: number): void {
    this.#madeRuns?.forgetBefore(rowId);
  }

  /** A row id that may have the key of entry `row`, to be confirmed, or −1. `next` gives the others, maybe one twice. */
  first(keys: readonly Vector[], row: number, hash: number): number {
    this.#cursorHash = hash;
    this.#isCursorInRuns = false;
    if (hasNull(keys, row)) {
      this.#cursorHash = undefined;
      return -1;
    }
    const runs = this.#runs;
    if (runs !== undefined) {
      const key = numberOf(keys[0]!, row);
      if (key === key) {
        const found = runs.find(key);
        if (key > this.#hashedKeyMax) this.#cursorHash = undefined;
        if (found >= 0) {
          this.#isCursorInRuns = true;
          return found;
        }
      }
    }
    return this.#cursorHash === undefined ? -1 : this.#hashes.first(hash);
  }

  next(): number {
    if (!this.#isCursorInRuns) return this.#hashes.next();
    this.#isCursorInRuns = false;
    return this.#cursorHash === undefined ? -1 : this.#hashes.first(this.#cursorHash);
  }

  /** Row ids that may have the key of entry `row`, to be confirmed: appended to `out`, which may get one twice. */
  candidates(keys: readonly Vector[], row: number, hash: number, out: number[]): void {
    if (hasNull(keys, row)) return;
    if (this.#runs !== undefined) {
      const key = numberOf(keys[0]!, row);
      const found = key === key ? this.#runs.find(key) : -1;
      if (found >= 0) out.push(found);
    }
    for (let other = this.#hashes.first(hash); other >= 0; other = this.#hashes.next())
      out.push(other);
  }

  close(): void {
    this.#hashes.clear();
    this.#madeRuns?.clear();
  }
}

/** Hashes of entries [start, end), soon to be forgotten: that of entry `start` comes first. */
export function hashesOf(keys: readonly Vector[], start: number, end: number): Int32Array {
  const key = keys[0]!;
  if (keys.length > 1 || key.rep !== 'number' || key.scale !== 0 || key.validity !== undefined) {
    if (start === 0) return hashRows(keys, end);
    const hashes = slabInts(end - start);
    for (let row = start; row < end; row += 1) hashes[row - start] = hashRow(keys, row);
    return hashes;
  }
  const hashes = slabInts(end - start);
  const { values, factor, base } = key;
  for (let row = start; row < end; row += 1)
    hashes[row - start] = hashOfKey(numberAt(entryAt(values, row), factor, base));
  return hashes;
}

/** The hash of a key that is one number. */
export function hashOfKey(key: number): number {
  return mixHash(hashNumber(key));
}

export function hasNull(keys: readonly Vector[], row: number): boolean {
  for (let index = 0; index < keys.length; index += 1) if (isNullAt(keys[index]!, row)) return true;
  return false;
}

/** An integer key as a number, or NaN where it is none (beyond 2^53). */
export function numberOf(vector: Vector, row: number): number {
  if (vector.rep === 'number') return numberAt(vector.values[row]!, vector.factor, vector.base);
  const value =
    vector.rep === 'bigint'
      ? Number(vector.values[row]!)
      : vector.rep === 'object'
        ? vector.values[row]
        : NaN;
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : NaN;
}
