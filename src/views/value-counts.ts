import { assert } from '../base/errors.ts';
import type { CountsScratch } from './counts-scratch.ts';

const SIZE_MIN = 16;
/** Where fewer than one of so many places are needed, there are made fewer of them: a half to a quarter is, afterwards. */
const SPARSE_SHARE = 8;
/** No key of which there is anything is NaN. */
const FREE = NaN;

/** How often each of some doubles is there, by hash; for values that come again and again. */
export class ValueCounts {
  distinct = 0;
  /** Copies of all. */
  total = 0;
  #keys: Float64Array;
  #counts: Uint32Array;
  #shift: number;
  /** Places with a key, of which there may be nothing any more. */
  #used = 0;

  /** With room for so many. */
  constructor(distinct: number) {
    const size = sizeFor(distinct);
    this.#keys = new Float64Array(size).fill(FREE);
    this.#counts = new Uint32Array(size);
    this.#shift = 32 - Math.log2(size);
  }

  get memoryBytes(): number {
    return this.#keys.byteLength + this.#counts.byteLength;
  }

  /** `weight` more copies, or fewer; only what is there may leave. */
  add(value: number, weight: number, scratch: CountsScratch): void {
    const at = this.#placeOf(value, scratch);
    const isNew = this.#keys[at] !== value;
    const before = isNew ? 0 : this.#counts[at]!;
    const after = before + weight;
    assert(after >= 0, 'a value leaves as often as it came');
    this.total += weight;
    this.#counts[at] = after;
    if (before === 0 && after > 0) this.distinct += 1;
    else if (before > 0 && after === 0) {
      this.distinct -= 1;
      // Its size is what it costs to look through it.
      if (this.distinct * SPARSE_SHARE < this.#keys.length && this.#keys.length > SIZE_MIN)
        this.#rehash(scratch);
    }
    if (!isNew) return;
    this.#keys[at] = value;
    this.#used += 1;
    if (this.#used * 4 > this.#keys.length * 3) this.#rehash(scratch);
  }

  /** Moves what is greater than `most` to other counts, which it returns. */
  takeGreater(most: number, scratch: CountsScratch): ValueCounts {
    const keys = this.#keys;
    const counts = this.#counts;
    let greater = 0;
    for (let at = 0; at < keys.length; at += 1)
      if (counts[at]! > 0 && keys[at]! > most) greater += 1;
    const other = new ValueCounts(greater);
    for (let at = 0; at < keys.length; at += 1) {
      const count = counts[at]!;
      if (count === 0 || !(keys[at]! > most)) continue;
      other.add(keys[at]!, count, scratch);
      counts[at] = 0;
      this.distinct -= 1;
      this.total -= count;
    }
    if (sizeFor(this.distinct) < keys.length) this.#rehash(scratch);
    return other;
  }

  forEach(take: (value: number, count: number) => void): void {
    for (let at = 0; at < this.#keys.length; at += 1)
      if (this.#counts[at]! > 0) take(this.#keys[at]!, this.#counts[at]!);
  }

  /** Where the value stands, or may. */
  #placeOf(value: number, scratch: CountsScratch): number {
    const keys = this.#keys;
    const mask = keys.length - 1;
    let at = scratch.hashOf(value) >>> this.#shift;
    for (; keys[at] !== value; at = (at + 1) & mask) {
      const key = keys[at]!;
      if (key !== key) break;
    }
    return at;
  }

  /** Leaves out what is not there any more; in place where the size stays. */
  #rehash(scratch: CountsScratch): void {
    const { distinct } = this;
    scratch.makeRoom(distinct);
    const { keys, copies } = scratch;
    let next = 0;
    this.forEach((value, count) => {
      keys[next] = value;
      copies[next] = count;
      next += 1;
    });
    const size = sizeFor(distinct);
    if (size === this.#keys.length) {
      this.#keys.fill(FREE);
      this.#counts.fill(0);
    } else {
      this.#keys = new Float64Array(size).fill(FREE);
      this.#counts = new Uint32Array(size);
      this.#shift = 32 - Math.log2(size);
    }
    this.#used = distinct;
    for (let each = 0; each < distinct; each += 1) {
      const at = this.#placeOf(keys[each]!, scratch);
      this.#keys[at] = keys[each]!;
      this.#counts[at] = copies[each]!;
    }
  }
}

function sizeFor(distinct: number): number {
  let size = SIZE_MIN;
  while (size < distinct * 2) size *= 2;
  return size;
}
