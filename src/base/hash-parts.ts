import { keptInts } from './kept-arrays.ts';
import { assert } from './errors.ts';
import type { MemoryLease } from './memory-lease.ts';

/** Slots of a full-grown part: 32 KB. */
const PART_SLOTS_MAX = 4096;
const PART_SLOTS_MIN = 8;
/** Of a part, the share that is used where fewer slots would do; in fewer, at most twice as much is. */
const SPARSE_SHARE = 8;
/** Beyond this depth of the directory equal hashes are the likelier reason for a full part: it grows instead of splitting. */
const DEPTH_MAX = 18;

/** As many cells of different cache lines fit the nearest cache. */
export const TOUCHED_MAX = 256;

/**
 * Numbers below 2^53 under 32-bit hashes: a multiset of pairs, from which the caller confirms by comparing what the numbers
 * stand for (a hash alone proves nothing). Extendible hashing: a directory by the hash's upper bits leads to parts of at
 * most 4,096 slots with open addressing by the lower bits; a part that is full splits in two, so that no insertion copies more
 * than one part. Hashes are kept, so growth never asks for the keys again. Eight bytes a slot, 0.3 to 0.84 of them used.
 *
 * What removals leave mostly empty shrinks, too: a part becomes one with the other that it was split from, or has half the slots, so
 * pairs take the room of those that there are. Who adds again what he has removed may be refused the room.
 */
export class HashParts {
  readonly #lease: MemoryLease;
  /** By the upper `#depth` bits of a hash. Several entries share a part that is less deep. */
  #directory: Part[] = [];
  #depth = 0;
  /** Parts that are as deep as the directory. */
  #deepest = 0;
  #count = 0;
  #cursorPart: Part | undefined;
  #cursorSlot = 0;
  #cursorHash = 0;
  /** What `touch` has read. Means nothing, but what nobody keeps is not read. */
  touched = 0;

  constructor(lease: MemoryLease) {
    this.#lease = lease;
  }

  get count(): number {
    return this.#count;
  }

  /** The first number under `hash`, or −1. `next` gives the others; adding or removing ends the walk. */
  first(hash: number): number {
    if (this.#count === 0) {
      this.#cursorPart = undefined;
      return -1;
    }
    const part = this.#directory[(hash >>> 1) >>> (31 - this.#depth)]!;
    this.#cursorPart = part;
    this.#cursorHash = hash;
    this.#cursorSlot = hash & part.mask;
    return this.#seek();
  }

  /**
   * Reads where hashes [start, end) belong, to no other end: who looks for them next, or adds them, waits for memory far apart
   * once for many and not for one after the other. Worth it for `TOUCHED_MAX` at a time.
   */
  touch(hashes: Int32Array, start: number, end: number): void {
    if (this.#count === 0) return;
    const directory = this.#directory;
    const shift = 31 - this.#depth;
    let touched = 0;
    for (let at = start; at < end; at += 1) {
      const hash = hashes[at]!;
      const { cells, mask } = directory[(hash >>> 1) >>> shift]!;
      touched |= cells[2 * (hash & mask)]!;
    }
    this.touched = touched;
  }

  next(): number {
    const part = this.#cursorPart;
    if (part === undefined) return -1;
    this.#cursorSlot = (this.#cursorSlot + 1) & part.mask;
    return this.#seek();
  }

  #seek(): number {
    const part = this.#cursorPart!;
    const { cells, high, mask } = part;
    const hash = this.#cursorHash | 0;
    let slot = this.#cursorSlot;
    for (;;) {
      const low = cells[2 * slot + 1]!;
      if (low === 0 && (high === undefined || high[slot] === 0)) {
        this.#cursorPart = undefined;
        return -1;
      }
      if (cells[2 * slot] === hash) {
        this.#cursorSlot = slot;
        return (low >>> 0) + (high === undefined ? 0 : high[slot]! * 0x1_0000_0000) - 1;
      }
      slot = (slot + 1) & mask;
    }
  }

  /** Adds a pair; equal pairs are kept apart. Throws 53200 before anything has changed. */
  add(hash: number, value: number): void {
    let part = this.#partFor(hash);
    while (part.count >= part.limit) part = this.#makeRoom(part, hash);
    if (value >= 0xffff_ffff && part.high === undefined) {
      this.#lease.take((part.mask + 1) * 4);
      part.high = new Uint32Array(part.mask + 1);
    }
    part.put(hash, value + 1);
    this.#count += 1;
  }

  /** Removes one such pair; false where there is none. */
  remove(hash: number, value: number): boolean {
    if (this.#count === 0) return false;
    const part = this.#directory[(hash >>> 1) >>> (31 - this.#depth)]!;
    if (!part.take(hash | 0, value + 1)) return false;
    this.#count -= 1;
    if (part.count < part.floor) this.#shrink(part, hash);
    return true;
  }

  clear(): void {
    let before: Part | undefined;
    for (const part of this.#directory) {
      if (part !== before) this.#lease.give(part.byteLength);
      before = part;
    }
    this.#lease.give(this.#directory.length * 8);
    this.#directory = [];
    this.#depth = 0;
    this.#deepest = 0;
    this.#count = 0;
    this.#cursorPart = undefined;
  }

  #partFor(hash: number): Part {
    if (this.#directory.length === 0) {
      this.#lease.take(PART_SLOTS_MIN * 8 + 8);
      this.#directory.push(new Part(PART_SLOTS_MIN, 0, 0));
      this.#deepest = 1;
    }
    return this.#directory[(hash >>> 1) >>> (31 - this.#depth)]!;
  }

  #makeRoom(part: Part, hash: number): Part {
    const slots = part.mask + 1;
    if (slots < PART_SLOTS_MAX || part.depth >= DEPTH_MAX) {
      this.#lease.take(part.byteLength * 2);
      const larger = new Part(slots * 2, part.depth, hash >>> 20);
      if (part.high !== undefined) larger.high = new Uint32Array(slots * 2);
      part.moveTo(larger, larger, 0);
      this.#replace(part, larger, larger, hash);
      this.#lease.give(part.byteLength);
    } else {
      this.#split(part, hash);
    }
    return this.#directory[(hash >>> 1) >>> (31 - this.#depth)]!;
  }

  #split(part: Part, hash: number): void {
    const doubles = part.depth === this.#depth;
    this.#lease.take(part.byteLength + (doubles ? this.#directory.length * 8 : 0));
    if (doubles) {
      const directory: Part[] = [];
      for (const each of this.#directory) directory.push(each, each);
      this.#directory = directory;
      this.#depth += 1;
      this.#deepest = 0;
    }
    if (part.depth + 1 === this.#depth) this.#deepest += 2;
    const slots = part.mask + 1;
    const left = new Part(slots, part.depth + 1, (hash >>> 14) | 1);
    const right = new Part(slots, part.depth + 1, (hash >>> 14) & ~1);
    if (part.high !== undefined) {
      left.high = new Uint32Array(slots);
      right.high = new Uint32Array(slots);
    }
    part.moveTo(left, right, 31 - part.depth);
    this.#replace(part, left, right, hash);
  }

  /** Few of the slots of a part are used: `hash` belongs in it. */
  #shrink(sparse: Part, hash: number): void {
    this.#cursorPart = undefined;
    let part = sparse;
    for (let other = this.#otherOf(part, hash); other !== undefined;) {
      const merged = this.#merged(part, other, hash);
      if (merged === undefined) break;
      part = merged;
      other = this.#otherOf(part, hash);
    }
    if (part !== sparse || part.mask + 1 === PART_SLOTS_MIN) return;
    const smaller = new Part((part.mask + 1) / 2, part.depth, hash >>> 20);
    if (part.high !== undefined) smaller.high = new Uint32Array(smaller.mask + 1);
    part.moveTo(smaller, smaller, 0);
    this.#replace(part, smaller, smaller, hash);
    this.#lease.give(part.byteLength - smaller.byteLength);
  }

  /** What the part was split from, where that is still whole. */
  #otherOf(part: Part, hash: number): Part | undefined {
    if (part.depth === 0) return undefined;
    const other =
      this.#directory[((hash >>> 1) >>> (31 - this.#depth)) ^ (1 << (this.#depth - part.depth))]!;
    return other.depth === part.depth ? other : undefined;
  }

  /** One part in the place of two, where it is sparse, too, and no larger than they are; undefined where it would be. */
  #merged(part: Part, other: Part, hash: number): Part | undefined {
    let slots = PART_SLOTS_MIN;
    while (slots < ((part.count + other.count) * SPARSE_SHARE) / 2) slots *= 2;
    const hasHigh = part.high !== undefined || other.high !== undefined;
    const freed = part.byteLength + other.byteLength - slots * (hasHigh ? 12 : 8);
    if (slots > Math.max(part.mask, other.mask) + 1 || freed < 0) return undefined;
    const merged = new Part(slots, part.depth - 1, hash >>> 14);
    if (hasHigh) merged.high = new Uint32Array(slots);
    part.moveTo(merged, merged, 0);
    other.moveTo(merged, merged, 0);
    if (part.depth === this.#depth) this.#deepest -= 2;
    const width = 2 ** (this.#depth - merged.depth);
    const first = Math.floor(((hash >>> 1) >>> (31 - this.#depth)) / width) * width;
    this.#directory.fill(merged, first, first + width);
    this.#lease.give(freed);
    if (this.#deepest === 0) this.#halveDirectory();
    return merged;
  }

  /** No part is as deep as the directory. */
  #halveDirectory(): void {
    while (this.#deepest === 0) {
      const directory: Part[] = [];
      for (let index = 0; index < this.#directory.length; index += 2)
        directory.push(this.#directory[index]!);
      this.#lease.give(directory.length * 8);
      this.#directory = directory;
      this.#depth -= 1;
      for (const { depth } of directory) if (depth === this.#depth) this.#deepest += 1;
    }
  }

  /** The first half of the directory entries of `part`, in which `hash` belongs, lead to `left`, the second to `right`. */
  #replace(part: Part, left: Part, right: Part, hash: number): void {
    const shared = this.#depth - part.depth;
    const first = (((hash >>> 1) >>> (31 - this.#depth)) >>> shared) << shared;
    assert(this.#directory[first] === part, 'the directory leads to the part');
    const width = 1 << shared;
    for (let index = 0; index < width; index += 1)
      this.#directory[first + index] = 2 * index < width ? left : right;
  }
}

class Part {
  /** Hash and low word of the value + 1, in pairs: one cache line serves both. A value of 0 is an empty slot. */
  readonly cells: Int32Array;
  /** Upper words, once a value needs them. */
  high: Uint32Array | undefined;
  readonly mask: number;
  readonly depth: number;
  readonly limit: number;
  /** Of fewer, it is sparse. */
  readonly floor: number;
  count = 0;

  constructor(slots: number, depth: number, salt: number) {
    this.cells = keptInts(slots * 2);
    this.mask = slots - 1;
    this.depth = depth;
    // Parts fill evenly: with one limit for all they would all split within a few thousand insertions.
    this.limit = Math.floor(slots * (0.6 + (Math.imul(salt, 0x9e37_79b1) >>> 27) / 128));
    this.floor = slots > PART_SLOTS_MIN || depth > 0 ? slots / SPARSE_SHARE : 0;
  }

  get byteLength(): number {
    return this.cells.byteLength + (this.high === undefined ? 0 : this.high.byteLength);
  }

  put(hash: number, value: number): void {
    const { cells, high, mask } = this;
    let slot = hash & mask;
    while (!this.isEmpty(slot)) slot = (slot + 1) & mask;
    cells[2 * slot] = hash;
    cells[2 * slot + 1] = value | 0;
    if (high !== undefined) high[slot] = Math.floor(value / 0x1_0000_0000);
    this.count += 1;
  }

  isEmpty(slot: number): boolean {
    return this.cells[2 * slot + 1] === 0 && (this.high === undefined || this.high[slot] === 0);
  }

  /** Removes by shifting back what had been pushed past the gap: no tombstones, so probes never get longer with age. */
  take(hash: number, value: number): boolean {
    const { cells, high, mask } = this;
    let slot = hash & mask;
    for (;;) {
      if (this.isEmpty(slot)) return false;
      const stored =
        (cells[2 * slot + 1]! >>> 0) + (high === undefined ? 0 : high[slot]! * 0x1_0000_0000);
      if (cells[2 * slot] === hash && stored === value) break;
      slot = (slot + 1) & mask;
    }
    let gap = slot;
    for (;;) {
      slot = (slot + 1) & mask;
      if (this.isEmpty(slot)) break;
      const home = cells[2 * slot]! & mask;
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      cells[2 * gap] = cells[2 * slot]!;
      cells[2 * gap + 1] = cells[2 * slot + 1]!;
      if (high !== undefined) high[gap] = high[slot]!;
      gap = slot;
    }
    cells[2 * gap] = 0;
    cells[2 * gap + 1] = 0;
    if (high !== undefined) high[gap] = 0;
    this.count -= 1;
    return true;
  }

  /** Distributes by bit `bit` of the hash: 0 left, 1 right. */
  moveTo(left: Part, right: Part, bit: number): void {
    const { cells, high, mask } = this;
    for (let slot = 0; slot <= mask; slot += 1) {
      if (this.isEmpty(slot)) continue;
      const hash = cells[2 * slot]!;
      const value =
        (cells[2 * slot + 1]! >>> 0) + (high === undefined ? 0 : high[slot]! * 0x1_0000_0000);
      ((hash >>> bit) & 1 ? right : left).put(hash, value);
    }
  }
}
