import { assert } from './errors.ts';
import type { MemoryLease } from './memory-lease.ts';

/** 64 KB of 4-byte or 128 KB of 8-byte entries: chunks are never copied, so their size bounds one allocation, not one copy. */
const CHUNK_BITS = 14;
const CHUNK_SIZE = 1 << CHUNK_BITS;
const CHUNK_MASK = CHUNK_SIZE - 1;
/** The first chunk starts this small and doubles: an empty or tiny structure costs next to nothing. */
const FIRST_SIZE = 16;

/** An array of signed 32-bit integers that grows at its end without ever copying more than 32 KB. */
export class ChunkedInt32 {
  readonly #lease: MemoryLease;
  readonly #chunks: Int32Array[] = [];
  #length = 0;

  constructor(lease: MemoryLease) {
    this.#lease = lease;
  }

  get length(): number {
    return this.#length;
  }

  get(index: number): number {
    return this.#chunks[index >>> CHUNK_BITS]![index & CHUNK_MASK]!;
  }

  set(index: number, value: number): void {
    this.#chunks[index >>> CHUNK_BITS]![index & CHUNK_MASK] = value;
  }

  push(value: number): void {
    const index = this.#length;
    const at = index & CHUNK_MASK;
    let chunk = this.#chunks[index >>> CHUNK_BITS];
    if (chunk === undefined || at >= chunk.length) {
      this.reserve(index + 1);
      chunk = this.#chunks[index >>> CHUNK_BITS]!;
    }
    chunk[at] = value;
    this.#length = index + 1;
  }

  /** Makes room for `length` entries; what follows up to there cannot fail. */
  reserve(length: number): void {
    const last = this.#chunks.length - 1;
    const room = last < 0 ? 0 : last * CHUNK_SIZE + this.#chunks[last]!.length;
    if (length <= room) return;
    if (last <= 0 && (last < 0 || this.#chunks[0]!.length < CHUNK_SIZE)) {
      const old = this.#chunks[0];
      let size = Math.max(FIRST_SIZE, (old?.length ?? 0) * 2);
      while (size < length && size < CHUNK_SIZE) size *= 2;
      this.#lease.take((size - (old?.length ?? 0)) * 4);
      const chunk = new Int32Array(size);
      if (old !== undefined) chunk.set(old);
      this.#chunks[0] = chunk;
    }
    while (this.#chunks.length * CHUNK_SIZE < length && this.#chunks[0]!.length === CHUNK_SIZE) {
      this.#lease.take(CHUNK_SIZE * 4);
      this.#chunks.push(new Int32Array(CHUNK_SIZE));
    }
  }

  /** Lengthens to `length`; what the new entries hold is noise. */
  extend(length: number): void {
    this.reserve(length);
    this.#length = length;
  }

  /** Forgets the entries from `length` on; keeps their room. */
  truncate(length: number): void {
    assert(length <= this.#length, 'truncating shortens');
    this.#length = length;
  }

  /** The same where there are any, and gives their room back. */
  shorten(length: number): void {
    if (length < this.#length) this.#length = length;
    while (this.#chunks.length > 1 && (this.#chunks.length - 1) * CHUNK_SIZE >= length)
      this.#lease.give(this.#chunks.pop()!.byteLength);
    const first = this.#chunks[0];
    if (first === undefined || this.#chunks.length > 1) return;
    let size = first.length;
    while (size > FIRST_SIZE && size >= length * 4) size /= 2;
    if (size === first.length) return;
    this.#chunks[0] = first.slice(0, size);
    this.#lease.give((first.length - size) * 4);
  }

  clear(): void {
    for (const chunk of this.#chunks) this.#lease.give(chunk.byteLength);
    this.#chunks.length = 0;
    this.#length = 0;
  }
}

/** The same for doubles; copies up to 64 KB. */
export class ChunkedFloat64 {
  readonly #lease: MemoryLease;
  readonly #chunks: Float64Array[] = [];
  #length = 0;

  constructor(lease: MemoryLease) {
    this.#lease = lease;
  }

  get length(): number {
    return this.#length;
  }

  get(index: number): number {
    return this.#chunks[index >>> CHUNK_BITS]![index & CHUNK_MASK]!;
  }

  set(index: number, value: number): void {
    this.#chunks[index >>> CHUNK_BITS]![index & CHUNK_MASK] = value;
  }

  push(value: number): void {
    const index = this.#length;
    const at = index & CHUNK_MASK;
    let chunk = this.#chunks[index >>> CHUNK_BITS];
    if (chunk === undefined || at >= chunk.length) {
      this.reserve(index + 1);
      chunk = this.#chunks[index >>> CHUNK_BITS]!;
    }
    chunk[at] = value;
    this.#length = index + 1;
  }

  /** Makes room for `length` entries; what follows up to there cannot fail. */
  reserve(length: number): void {
    const last = this.#chunks.length - 1;
    const room = last < 0 ? 0 : last * CHUNK_SIZE + this.#chunks[last]!.length;
    if (length <= room) return;
    if (last <= 0 && (last < 0 || this.#chunks[0]!.length < CHUNK_SIZE)) {
      const old = this.#chunks[0];
      let size = Math.max(FIRST_SIZE, (old?.length ?? 0) * 2);
      while (size < length && size < CHUNK_SIZE) size *= 2;
      this.#lease.take((size - (old?.length ?? 0)) * 8);
      const chunk = new Float64Array(size);
      if (old !== undefined) chunk.set(old);
      this.#chunks[0] = chunk;
    }
    while (this.#chunks.length * CHUNK_SIZE < length && this.#chunks[0]!.length === CHUNK_SIZE) {
      this.#lease.take(CHUNK_SIZE * 8);
      this.#chunks.push(new Float64Array(CHUNK_SIZE));
    }
  }

  /** Forgets the entries from `length` on; keeps their room. */
  truncate(length: number): void {
    assert(length <= this.#length, 'truncating shortens');
    this.#length = length;
  }

  /** The same where there are any, and gives their room back. */
  shorten(length: number): void {
    if (length < this.#length) this.#length = length;
    while (this.#chunks.length > 1 && (this.#chunks.length - 1) * CHUNK_SIZE >= length)
      this.#lease.give(this.#chunks.pop()!.byteLength);
  }

  clear(): void {
    for (const chunk of this.#chunks) this.#lease.give(chunk.byteLength);
    this.#chunks.length = 0;
    this.#length = 0;
  }
}

/** The same for non-negative integers below 2^53: 4 bytes an entry, and 4 more only in chunks that hold a large one. */
export class ChunkedUint53 {
  readonly #low: ChunkedInt32;
  readonly #lease: MemoryLease;
  readonly #high: (Uint32Array | undefined)[] = [];

  constructor(lease: MemoryLease) {
    this.#lease = lease;
    this.#low = new ChunkedInt32(lease);
  }

  get length(): number {
    return this.#low.length;
  }

  get(index: number): number {
    const low = this.#low.get(index) >>> 0;
    if (this.#high.length === 0) return low;
    const high = this.#high[index >>> CHUNK_BITS];
    return high === undefined ? low : high[index & CHUNK_MASK]! * 0x1_0000_0000 + low;
  }

  set(index: number, value: number): void {
    this.#setHigh(index, value);
    this.#low.set(index, value | 0);
  }

  push(value: number): void {
    this.#setHigh(this.#low.length, value);
    this.#low.push(value | 0);
  }

  /** Lengthens to `length`; what the new entries hold is noise. */
  extend(length: number): void {
    this.#low.extend(length);
  }

  truncate(length: number): void {
    this.#low.truncate(length);
  }

  clear(): void {
    this.#low.clear();
    for (const chunk of this.#high) if (chunk !== undefined) this.#lease.give(chunk.byteLength);
    this.#high.length = 0;
  }

  #setHigh(index: number, value: number): void {
    const high = Math.floor(value / 0x1_0000_0000);
    const chunkIndex = index >>> CHUNK_BITS;
    let chunk = this.#high[chunkIndex];
    if (chunk === undefined) {
      if (high === 0) return;
      this.#lease.take(CHUNK_SIZE * 4);
      chunk = new Uint32Array(CHUNK_SIZE);
      while (this.#high.length <= chunkIndex) this.#high.push(undefined);
      this.#high[chunkIndex] = chunk;
    }
    chunk[index & CHUNK_MASK] = high;
  }
}
