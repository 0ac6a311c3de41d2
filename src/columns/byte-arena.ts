import { DbError } from '../base/errors.ts';
import type { MemoryLease } from '../base/memory-lease.ts';

const PAGE_BITS = 20;
const PAGE_SIZE = 1 << PAGE_BITS;
const FIRST_CHUNK_SIZE = 256;

/**
 * Byte strings, appended and never moved: chunks of 256 bytes growing fourfold to 1 MiB (a longer value has a chunk of its own).
 * An address is a page number and an offset, below 2^32; a value never crosses a chunk.
 */
export class ByteArena {
  readonly #lease: MemoryLease;
  /** By page; a chunk of several pages stands at its first. */
  readonly #pages: (Uint8Array | undefined)[] = [];
  #chunk: Uint8Array | undefined;
  /** Address of the chunk in use, and bytes used in it. */
  #chunkAddress = 0;
  #used = 0;
  #byteLength = 0;

  constructor(lease: MemoryLease) {
    this.#lease = lease;
  }

  /** Bytes allocated. */
  get byteLength(): number {
    return this.#byteLength;
  }

  /** Copies bytes [start, end) in and returns their address. Throws 53200 before anything has changed. */
  append(bytes: Uint8Array, start: number, end: number): number {
    const length = end - start;
    if (this.#chunk === undefined || this.#used + length > this.#chunk.length) this.#grow(length);
    const address = this.#chunkAddress + this.#used;
    const chunk = this.#chunk!;
    if (length <= 32) {
      for (let index = 0; index < length; index += 1)
        chunk[this.#used + index] = bytes[start + index]!;
    } else {
      chunk.set(bytes.subarray(start, end), this.#used);
    }
    this.#used += length;
    return address;
  }

  /** The chunk that holds `address`: its value begins at `offsetOf(address)`. */
  chunkOf(address: number): Uint8Array {
    return this.#pages[address >>> PAGE_BITS]!;
  }

  offsetOf(address: number): number {
    return address & (PAGE_SIZE - 1);
  }

  view(address: number, length: number): Uint8Array {
    const offset = address & (PAGE_SIZE - 1);
    return this.#pages[address >>> PAGE_BITS]!.subarray(offset, offset + length);
  }

  clear(): void {
    this.#lease.give(this.#byteLength);
    this.#pages.length = 0;
    this.#chunk = undefined;
    this.#chunkAddress = 0;
    this.#used = 0;
    this.#byteLength = 0;
  }

  #grow(length: number): void {
    const usual =
      this.#chunk === undefined
        ? FIRST_CHUNK_SIZE
        : Math.min(PAGE_SIZE, nextSize(this.#chunk.length));
    let size = Math.max(usual, FIRST_CHUNK_SIZE);
    while (size < length && size < PAGE_SIZE) size *= 4;
    if (size < length) size = length;
    const pageCount = Math.ceil(size / PAGE_SIZE);
    if (this.#pages.length + pageCount > 4096) {
      throw new DbError('54000', 'a text arena cannot exceed 4 GB', {
        hint: 'Split the table, or store long texts elsewhere.',
      });
    }
    this.#lease.take(size);
    this.#byteLength += size;
    const chunk = new Uint8Array(size);
    this.#chunkAddress = this.#pages.length * PAGE_SIZE;
    this.#pages.push(chunk);
    for (let page = 1; page < pageCount; page += 1) this.#pages.push(undefined);
    this.#chunk = chunk;
    this.#used = 0;
  }
}

/** A chunk that was made large for one value does not set the size of the next. */
function nextSize(size: number): number {
  return size >= PAGE_SIZE ? PAGE_SIZE : size * 4;
}
