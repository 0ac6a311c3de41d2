import { ChunkedInt32 } from '../base/chunked.ts';
import { HashParts } from '../base/hash-parts.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import { ByteArena } from './byte-arena.ts';
import { compareBytes, decodeText, equalBytes, hashBytes, TextScratch } from './utf8.ts';

/** Decoded texts kept at hand, at most; a result page or an axis fits, ten million notes do not. */
const TEXT_CACHE_SIZE_MAX = 4096;
/** What a cached text is accounted as: its slot, its header and some forty characters. */
const TEXT_CACHE_ENTRY_BYTES = 80;

/**
 * Distinct byte strings (UTF-8 texts, or bytea) numbered 0, 1, 2, … in the order they came. Append-only: a code means the same
 * for ever, so a reader that knows `size` at some moment may go on reading that prefix whatever is added later.
 * Holds no JavaScript string per value; `text` decodes, through a bounded cache.
 */
export class Dictionary {
  readonly #lease: MemoryLease;
  readonly #arena: ByteArena;
  /** Address and length of each code's bytes. */
  readonly #addresses: ChunkedInt32;
  readonly #lengths: ChunkedInt32;
  readonly #hashes: HashParts;
  readonly #scratch = new TextScratch();
  /** Direct-mapped by the code's lower bits. */
  #cacheCodes = new Int32Array(0);
  #cacheTexts: string[] = [];
  #size = 0;
  #isClosed = false;
  /** Its table has another one by now, without the texts that no row has: who borrows its texts makes them his own. */
  isSuperseded = false;

  constructor(memory?: MemoryAccount) {
    this.#lease = new MemoryLease(memory);
    this.#arena = new ByteArena(this.#lease);
    this.#addresses = new ChunkedInt32(this.#lease);
    this.#lengths = new ChunkedInt32(this.#lease);
    this.#hashes = new HashParts(this.#lease);
  }

  /** Codes given so far. */
  get size(): number {
    return this.#size;
  }

  get memoryBytes(): number {
    return this.#lease.bytes;
  }

  /** False while a replay adds: memory is then never refused. */
  set limits(limits: boolean) {
    this.#lease.limits = limits;
  }

  text(code: number): string {
    if (code >= this.#cacheCodes.length && this.#cacheCodes.length < TEXT_CACHE_SIZE_MAX)
      this.#growCache();
    const slot = code & (this.#cacheCodes.length - 1);
    if (this.#cacheCodes[slot] === code + 1) return this.#cacheTexts[slot]!;
    const address = this.#addresses.get(code) >>> 0;
    const start = this.#arena.offsetOf(address);
    const text = decodeText(this.#arena.chunkOf(address), start, start + this.#lengths.get(code));
    this.#cacheCodes[slot] = code + 1;
    this.#cacheTexts[slot] = text;
    return text;
  }

  /** The arena's own bytes: not to be written. */
  bytes(code: number): Uint8Array {
    return this.#arena.view(this.#addresses.get(code) >>> 0, this.#lengths.get(code));
  }

  byteLength(code: number): number {
    return this.#lengths.get(code);
  }

  /** The chunk in which the bytes of `code` stand from `byteStart(code)` on: for kernels that must not make a view per value. */
  byteChunk(code: number): Uint8Array {
    return this.#arena.chunkOf(this.#addresses.get(code) >>> 0);
  }

  byteStart(code: number): number {
    return this.#arena.offsetOf(this.#addresses.get(code) >>> 0);
  }

  /** The code of `text`, or −1. */
  find(text: string): number {
    if (this.#size === 0) return -1;
    const length = this.#scratch.encode(text);
    return this.#lookup(this.#scratch.bytes, 0, length, hashBytes(this.#scratch.bytes, 0, length));
  }

  findBytes(bytes: Uint8Array, start = 0, end = bytes.length): number {
    return this.#size === 0 ? -1 : this.#lookup(bytes, start, end, hashBytes(bytes, start, end));
  }

  /** The code of `text`, a new one where it was not there. Throws 53200 with nothing changed. */
  add(text: string): number {
    const length = this.#scratch.encode(text);
    return this.addBytes(this.#scratch.bytes, 0, length);
  }

  addBytes(bytes: Uint8Array, start = 0, end = bytes.length): number {
    const hash = hashBytes(bytes, start, end);
    const found = this.#size === 0 ? -1 : this.#lookup(bytes, start, end, hash);
    if (found >= 0) return found;
    const code = this.#size;
    this.#addresses.reserve(code + 1);
    this.#lengths.reserve(code + 1);
    const address = this.#arena.append(bytes, start, end);
    this.#hashes.add(hash, code);
    this.#addresses.push(address | 0);
    this.#lengths.push(end - start);
    this.#size = code + 1;
    return code;
  }

  /** `hashBytes` of the value. */
  hash(code: number): number {
    const start = this.byteStart(code);
    return hashBytes(this.byteChunk(code), start, start + this.#lengths.get(code));
  }

  /** By UTF-8 bytes; negative, 0 or positive. */
  compare(a: number, b: number): number {
    return a === b ? 0 : compareBytes(this.bytes(a), this.bytes(b));
  }

  /** A batch that outlives its table may still be read: what that caches is nobody's. */
  close(): void {
    this.#isClosed = true;
    this.#lease.close();
  }

  #lookup(bytes: Uint8Array, start: number, end: number, hash: number): number {
    const length = end - start;
    for (let code = this.#hashes.first(hash); code >= 0; code = this.#hashes.next()) {
      if (this.#lengths.get(code) !== length) continue;
      const address = this.#addresses.get(code) >>> 0;
      if (
        equalBytes(
          this.#arena.chunkOf(address),
          this.#arena.offsetOf(address),
          bytes,
          start,
          length,
        )
      )
        return code;
    }
    return -1;
  }

  #growCache(): void {
    const size = Math.min(TEXT_CACHE_SIZE_MAX, Math.max(16, 1 << (32 - Math.clz32(this.#size))));
    const added = (size - this.#cacheCodes.length) * TEXT_CACHE_ENTRY_BYTES;
    if (!this.#isClosed) {
      // A read must not fail for want of a cache.
      const { limits } = this.#lease;
      this.#lease.limits = false;
      this.#lease.take(added);
      this.#lease.limits = limits;
    }
    this.#cacheCodes = new Int32Array(size);
    this.#cacheTexts = Array.from({ length: size }, () => '');
  }
}
