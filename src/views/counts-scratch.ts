import type { ValueList } from './value-list.ts';

/** Of so many values at most it is counted how many differ; of more, a share by hash. */
const COUNTED_SAMPLE = 512;
const SAMPLE_SIZE_MAX = 256;

/** What multisets work in while they change; one for all of an owner. */
export class CountsScratch {
  /** What leaves, by hash: 2 ** bits places. */
  keys = new Float64Array(0);
  /** 0 where there is nothing, or one more than how many copies leave. */
  copies = new Int32Array(0);
  /** Eight bits a place, of which each value sets one: in the first cache, and most of what stays is told by it. */
  marks = new Int32Array(0);
  shift = 0;
  markShift = 0;
  mask = 0;
  notedCount = 0;
  /** What is judged by a few values. */
  readonly sample = new Float64Array(SAMPLE_SIZE_MAX);
  readonly #double = new Float64Array(1);
  readonly #words = new Int32Array(this.#double.buffer);

  hashOf(value: number): number {
    this.#double[0] = value;
    return hashed(this.#words[0]!, this.#words[1]!);
  }

  /** Notes what is to be taken out of another list. */
  note(leaving: ValueList): void {
    this.#clear(leaving.count * 2);
    this.notedCount = leaving.count;
    const { keys, copies, marks, shift, markShift, mask } = this;
    for (const chunk of leaving.chunks())
      for (let each = 0; each < chunk.length; each += 1) {
        const value = chunk[each]!;
        const hash = this.hashOf(value);
        const bit = hash >>> markShift;
        marks[bit >>> 5] = marks[bit >>> 5]! | (1 << bit);
        let slot = hash >>> shift;
        while (copies[slot] !== 0 && keys[slot] !== value) slot = (slot + 1) & mask;
        keys[slot] = value;
        copies[slot] = copies[slot] === 0 ? 2 : copies[slot]! + 1;
      }
  }

  /** About how many different values a list has: whether one of them comes often makes no difference. */
  distinctCount(list: ValueList): number {
    this.#clear(COUNTED_SAMPLE * 8);
    let bits = 0;
    while (list.count >>> bits >= COUNTED_SAMPLE * 2) bits += 1;
    const shareMask = 2 ** bits - 1;
    const { keys, copies, shift, mask } = this;
    let distinct = 0;
    for (const chunk of list.chunks())
      for (let each = 0; each < chunk.length; each += 1) {
        const value = chunk[each]!;
        const hash = this.hashOf(value);
        if (((hash ^ (hash >>> 15)) & shareMask) !== 0 || distinct > COUNTED_SAMPLE * 4) continue;
        let slot = hash >>> shift;
        while (copies[slot] !== 0 && keys[slot] !== value) slot = (slot + 1) & mask;
        if (copies[slot] !== 0) continue;
        keys[slot] = value;
        copies[slot] = 1;
        distinct += 1;
      }
    return distinct * 2 ** bits;
  }

  /** So many keys and copies, whatever they are. */
  makeRoom(count: number): void {
    if (count <= this.keys.length) return;
    let size = 16;
    while (size < count) size *= 2;
    this.keys = new Float64Array(size);
    this.copies = new Int32Array(size);
    this.marks = new Int32Array(size / 4);
  }

  #clear(sizeMin: number): void {
    let bits = 4;
    while (2 ** bits < sizeMin) bits += 1;
    const size = 2 ** bits;
    this.makeRoom(size);
    this.copies.fill(0, 0, size);
    this.marks.fill(0, 0, size / 4);
    this.shift = 32 - bits;
    this.markShift = this.shift - 3;
    this.mask = size - 1;
  }
}

/** Of the two halves of a double; its first bits are spread best. */
export function hashed(low: number, high: number): number {
  return Math.imul(low ^ Math.imul(high, 0x85eb_ca6b), 0x9e37_79b1);
}
