import { assert } from '../base/errors.ts';
import { HashParts } from '../base/hash-parts.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import { isNumberKind, type SqlType } from '../columns/types.ts';
import { mixHash } from '../columns/utf8.ts';
import type { Datum } from '../columns/values.ts';
import { datumAt, equalValues, hashDatum } from '../columns/cells.ts';
import type { Vector } from '../columns/vector.ts';
import { identicalDatums } from '../columns/identical.ts';

const CHUNK_BITS = 10;
const CHUNK_SIZE = 1 << CHUNK_BITS;
const CHUNK_MASK = CHUNK_SIZE - 1;

/** What a datum in an object chunk is accounted as: its slot and a small object or string. */
const OBJECT_DATUM_BYTES = 48;
/** A double, and whether it is there. */
const NUMBER_BYTES = 9;

/**
 * Rows by slot, in columns of small chunks: what an operator must remember of rows that no table holds for it. Numbers take eight
 * bytes, everything else is a datum. Slots are given out by the caller, who says when those at the end are not needed any more.
 */
export class RowStore {
  readonly types: readonly SqlType[];
  readonly #lanes: readonly Lane[];

  constructor(types: readonly SqlType[], lease: MemoryLease) {
    this.types = types;
    this.#lanes = types.map(
      (type) => new Lane(type.kind === 'boolean' || isNumberKind(type.kind), lease),
    );
  }

  get columnCount(): number {
    return this.#lanes.length;
  }

  get(slot: number, column: number): Datum {
    return this.#lanes[column]!.get(slot, this.types[column]!.kind === 'boolean');
  }

  set(slot: number, column: number, value: Datum): void {
    this.#lanes[column]!.set(slot, value);
  }

  /** Copies physical row `row` of the columns in. */
  setRow(slot: number, columns: readonly Vector[], row: number): void {
    for (let column = 0; column < columns.length; column += 1)
      this.#lanes[column]!.set(slot, datumAt(columns[column]!, row));
  }

  /** Lets go of what a dead slot holds on the heap. */
  clear(slot: number): void {
    for (const lane of this.#lanes) lane.clear(slot);
  }

  /** The row of one slot stands in another, too. */
  copy(from: number, to: number): void {
    for (let column = 0; column < this.types.length; column += 1)
      this.set(to, column, this.get(from, column));
  }

  /** Slots from `end` on are forgotten, and chunks that hold no others go. */
  truncate(end: number): void {
    for (const lane of this.#lanes) lane.truncate(end);
  }

  /** Whether the slot holds the very same row: same bits, same scale. */
  isIdentical(slot: number, columns: readonly Vector[], row: number): boolean {
    for (let column = 0; column < columns.length; column += 1) {
      if (!identicalDatums(this.get(slot, column), datumAt(columns[column]!, row))) return false;
    }
    return true;
  }

  isEqual(slot: number, columns: readonly Vector[], row: number): boolean {
    for (let column = 0; column < columns.length; column += 1) {
      const a = this.get(slot, column);
      const b = datumAt(columns[column]!, row);
      if (a === null || b === null ? a !== b : !equalValues(a, b, this.types[column]!))
        return false;
    }
    return true;
  }

  /** What `hashRow` says of the row. */
  hash(slot: number): number {
    let hash = 0;
    for (let column = 0; column < this.types.length; column += 1) {
      hash = (Math.imul(hash, 31) + hashDatum(this.get(slot, column), this.types[column]!)) | 0;
    }
    return mixHash(hash);
  }

  /** The rows of the slots as vectors, in the given order. */
  gather(slots: Int32Array, count: number): Vector[] {
    return this.types.map((type, column) => this.#lanes[column]!.gather(type, slots, count));
  }
}

type Chunk =
  | {
      readonly kind: 'number';
      readonly values: Float64Array;
      /** 1: present. */ readonly validity: Uint8Array;
    }
  | { readonly kind: 'object'; readonly values: Datum[] };

/** One column. A chunk of numbers turns into one of data where a value leaves the safe integers. */
class Lane {
  readonly #chunks: Chunk[] = [];
  readonly #isNumber: boolean;
  readonly #lease: MemoryLease;

  constructor(isNumber: boolean, lease: MemoryLease) {
    this.#isNumber = isNumber;
    this.#lease = lease;
  }

  get(slot: number, isBoolean: boolean): Datum {
    const chunk = this.#chunks[slot >>> CHUNK_BITS]!;
    const at = slot & CHUNK_MASK;
    if (chunk.kind === 'object') return chunk.values[at]!;
    if (chunk.validity[at] === 0) return null;
    return isBoolean ? chunk.values[at] === 1 : chunk.values[at]!;
  }

  set(slot: number, value: Datum): void {
    const index = slot >>> CHUNK_BITS;
    const at = slot & CHUNK_MASK;
    while (this.#chunks.length <= index) this.#chunks.push(this.#newChunk());
    let chunk = this.#chunks[index]!;
    if (chunk.kind === 'number') {
      if (typeof value === 'number') {
        chunk.values[at] = value;
        chunk.validity[at] = 1;
        return;
      }
      if (value === null) {
        chunk.validity[at] = 0;
        return;
      }
      if (typeof value === 'boolean') {
        chunk.values[at] = value ? 1 : 0;
        chunk.validity[at] = 1;
        return;
      }
      chunk = this.#toObjects(index, chunk);
    }
    chunk.values[at] = value;
  }

  clear(slot: number): void {
    const chunk = this.#chunks[slot >>> CHUNK_BITS]!;
    if (chunk.kind === 'object') chunk.values[slot & CHUNK_MASK] = null;
  }

  truncate(end: number): void {
    const count = Math.ceil(end / CHUNK_SIZE);
    while (this.#chunks.length > count)
      this.#lease.give(
        CHUNK_SIZE * (this.#chunks.pop()!.kind === 'number' ? NUMBER_BYTES : OBJECT_DATUM_BYTES),
      );
  }

  gather(type: SqlType, slots: Int32Array, count: number): Vector {
    if (this.#isNumber) {
      const values = type.kind === 'boolean' ? new Uint8Array(count) : new Float64Array(count);
      let validity: Uint8Array | undefined;
      let row = 0;
      for (; row < count; row += 1) {
        const slot = slots[row]!;
        const chunk = this.#chunks[slot >>> CHUNK_BITS]!;
        if (chunk.kind === 'object') break;
        const at = slot & CHUNK_MASK;
        if (chunk.validity[at] === 1) values[row] = chunk.values[at]!;
        else {
          validity ??= new Uint8Array(count).fill(1);
          validity[row] = 0;
        }
      }
      if (row === count) {
        if (type.kind === 'boolean')
          return { rep: 'boolean', type, values: values as Uint8Array, validity };
        return { rep: 'number', type, values, validity, factor: 1, base: 0, scale: 0 };
      }
    }
    const data: Datum[] = [];
    for (let row = 0; row < count; row += 1)
      data.push(this.get(slots[row]!, type.kind === 'boolean'));
    return { rep: 'object', type, values: data };
  }

  #newChunk(): Chunk {
    if (!this.#isNumber) {
      this.#lease.take(CHUNK_SIZE * OBJECT_DATUM_BYTES);
      return { kind: 'object', values: Array.from<Datum>({ length: CHUNK_SIZE }).fill(null) };
    }
    this.#lease.take(CHUNK_SIZE * NUMBER_BYTES);
    return {
      kind: 'number',
      values: new Float64Array(CHUNK_SIZE),
      validity: new Uint8Array(CHUNK_SIZE),
    };
  }

  #toObjects(index: number, chunk: Chunk & { kind: 'number' }): Chunk & { kind: 'object' } {
    const values: Datum[] = [];
    for (let at = 0; at < CHUNK_SIZE; at += 1)
      values.push(chunk.validity[at] === 1 ? chunk.values[at]! : null);
    const next = { kind: 'object', values } as const;
    this.#chunks[index] = next;
    this.#lease.take(CHUNK_SIZE * (OBJECT_DATUM_BYTES - NUMBER_BYTES));
    return next;
  }
}

/**
 * Rows that are found again by their content: each slot holds a row once. `sameness` says when two rows are one: 'equal' as GROUP BY
 * and joins have it (0 and −0, 1.0 and 1.00 are equal, NULL equals NULL), 'identical' where they cannot be told apart.
 */
export class RowTable {
  readonly store: RowStore;
  readonly #sameness: 'equal' | 'identical';
  readonly #hashes: HashParts;
  readonly #pool = new SlotPool();

  constructor(types: readonly SqlType[], sameness: 'equal' | 'identical', lease: MemoryLease) {
    this.store = new RowStore(types, lease);
    this.#sameness = sameness;
    this.#hashes = new HashParts(lease);
  }

  get liveCount(): number {
    return this.#pool.liveCount;
  }

  /** All slots are below. */
  get slotEnd(): number {
    return this.#pool.end;
  }

  /** The slot of the row, −1 if there is none. `hash` is the row's `hashRow`. */
  find(columns: readonly Vector[], row: number, hash: number): number {
    for (let slot = this.#hashes.first(hash); slot >= 0; slot = this.#hashes.next()) {
      if (
        this.#sameness === 'identical'
          ? this.store.isIdentical(slot, columns, row)
          : this.store.isEqual(slot, columns, row)
      )
        return slot;
    }
    return -1;
  }

  add(columns: readonly Vector[], row: number, hash: number): number {
    const slot = this.#pool.take();
    let isAdded = false;
    try {
      this.store.setRow(slot, columns, row);
      this.#hashes.add(hash, slot);
      isAdded = true;
      return slot;
    } finally {
      if (!isAdded) this.#pool.give(slot);
    }
  }

  /** Makes the row not to be found; its slot and content stay until `free`, or `relink` brings it back. */
  unlink(slot: number): void {
    this.#hashes.remove(this.store.hash(slot), slot);
  }

  relink(slot: number): void {
    this.#hashes.add(this.store.hash(slot), slot);
  }

  free(slot: number): void {
    this.store.clear(slot);
    this.#pool.give(slot);
  }

  /** See `SlotPool`: where most slots are free. */
  get isSparse(): boolean {
    return this.#pool.isSparse;
  }

  /** Whether the last slot is free; then it is given up. */
  dropLast(): boolean {
    if (!this.#pool.dropLast()) return false;
    if (this.#pool.end % CHUNK_SIZE === 0) this.store.truncate(this.#pool.end);
    return true;
  }

  /** The row of the last slot, which is in use and linked, moves to a free one before it, which is returned. */
  moveLast(): number {
    const from = this.#pool.end - 1;
    const to = this.#pool.takeLowest();
    assert(to < from, 'a row moves to a slot before it');
    const hash = this.store.hash(from);
    this.store.copy(from, to);
    this.#hashes.remove(hash, from);
    this.#hashes.add(hash, to);
    this.free(from);
    return to;
  }
}

/** So many slots, of which most are free, are worth it to move the others. */
const SPARSE_SLOTS_MIN = 2 * CHUNK_SIZE;
const SPARSE_SHARE = 4;

/**
 * Gives out dense integers, the freed ones first. Where most are free, whoever has them moves what is in the last ones to others, and then
 * gives those up: what is kept by slot takes the room of slots in use.
 */
export class SlotPool {
  /** As they were freed; those from `#end` on were given up since. */
  #free: number[] = [];
  /** By slot, 32 in a word: whether it is free. */
  #isFree = new Int32Array(8);
  #freeCount = 0;
  /** No slot of the words before is free. */
  #lowest = 0;
  #end = 0;

  /** All slots in use are below. */
  get end(): number {
    return this.#end;
  }

  get liveCount(): number {
    return this.#end - this.#freeCount;
  }

  get isSparse(): boolean {
    return this.#end > SPARSE_SLOTS_MIN && this.liveCount * SPARSE_SHARE < this.#end;
  }

  take(): number {
    for (let slot = this.#free.pop(); slot !== undefined; slot = this.#free.pop()) {
      if (slot >= this.#end || !this.#has(slot)) continue;
      this.#use(slot);
      return slot;
    }
    this.#end += 1;
    return this.#end - 1;
  }

  /** The first of those that are free; there is one. */
  takeLowest(): number {
    while (this.#isFree[this.#lowest] === 0) this.#lowest += 1;
    const word = this.#isFree[this.#lowest]!;
    const slot = this.#lowest * 32 + 31 - Math.clz32(word & -word);
    this.#use(slot);
    return slot;
  }

  #use(slot: number): void {
    this.#isFree[slot >>> 5]! &= ~(1 << (slot & 31));
    this.#freeCount -= 1;
  }

  give(slot: number): void {
    if (slot >>> 5 >= this.#isFree.length) {
      const longer = new Int32Array(Math.max(this.#isFree.length * 2, (slot >>> 5) + 1));
      longer.set(this.#isFree);
      this.#isFree = longer;
    }
    this.#isFree[slot >>> 5]! |= 1 << (slot & 31);
    this.#lowest = Math.min(this.#lowest, slot >>> 5);
    this.#free.push(slot);
    this.#freeCount += 1;
  }

  /** Gives the last slot up if it is free. */
  dropLast(): boolean {
    const last = this.#end - 1;
    if (last < 0 || !this.#has(last)) return false;
    this.#use(last);
    this.#end = last;
    // Most of what is noted was given up.
    if (this.#free.length > 4 * this.#freeCount + 64) this.#forgetGivenUp();
    return true;
  }

  #forgetGivenUp(): void {
    this.#free = this.#free.filter((slot) => slot < this.#end && this.#has(slot));
    if (this.#isFree.length > 64 && this.#isFree.length > this.#end / 8)
      this.#isFree = this.#isFree.slice(0, (this.#end >>> 5) + 1);
  }

  #has(slot: number): boolean {
    return (
      slot >>> 5 < this.#isFree.length && ((this.#isFree[slot >>> 5]! >>> (slot & 31)) & 1) === 1
    );
  }
}
