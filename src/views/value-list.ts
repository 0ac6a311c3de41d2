import { assert } from '../base/errors.ts';
import { hashed, type CountsScratch } from './counts-scratch.ts';

/** A list grows by arrays of so many values, none of which is copied; only the first doubles until it is as large. */
const CHUNK_SIZE = 1024;
const CHUNK_SIZE_MIN = 8;
/** An array so small is kept when all of it leaves. */
const KEPT_SIZE_MAX = 256;
const NONE = new Float64Array(0);

/** Doubles in no order, by the eight bytes: what comes is put at the end, and passes over all of them walk through memory. */
export class ValueList {
  count = 0;
  /** Arrays before the last, all full. */
  readonly #full: Float64Array[] = [];
  #last: Float64Array = NONE;
  #lastCount = 0;

  get memoryBytes(): number {
    return this.#full.length * (CHUNK_SIZE * 8 + ARRAY_BYTES) + this.#last.byteLength;
  }

  push(value: number): void {
    if (this.#lastCount === this.#last.length) this.#grow();
    this.#last[this.#lastCount] = value;
    this.#lastCount += 1;
    this.count += 1;
  }

  /**
   * Pushes those of the first `count` values that are not at most the one bound, and at most the other; the others move to the front. How many others
   * there are.
   */
  pushWithin(values: Float64Array, count: number, above: number, most: number): number {
    let others = 0;
    for (let at = 0; at < count;) {
      if (this.#lastCount === this.#last.length) this.#grow();
      const last = this.#last;
      let to = this.#lastCount;
      for (; at < count && to < last.length; at += 1) {
        const value = values[at]!;
        if (value <= above || value > most) {
          values[others] = value;
          others += 1;
        } else {
          last[to] = value;
          to += 1;
        }
      }
      this.#lastCount = to;
    }
    this.count += count - others;
    return others;
  }

  pushAll(other: ValueList): void {
    for (const chunk of other.chunks())
      for (let each = 0; each < chunk.length; each += 1) this.push(chunk[each]!);
  }

  /** Takes one copy out, where there is one; looks at all of them. */
  remove(value: number): boolean {
    for (let at = 0; at <= this.#full.length; at += 1) {
      const chunk = this.#chunk(at);
      const size = this.#size(at);
      for (let each = 0; each < size; each += 1) {
        if (chunk[each] !== value) continue;
        chunk[each] = this.#pop();
        return true;
      }
    }
    return false;
  }

  /** Takes out what the scratch has noted as leaving; all of it must be here. */
  removeNoted(scratch: CountsScratch): void {
    let left = scratch.notedCount;
    const { keys, copies, marks, shift, markShift, mask } = scratch;
    for (let at = 0; at <= this.#full.length && left > 0; at += 1) {
      const chunk = this.#chunk(at);
      const words = new Int32Array(chunk.buffer, chunk.byteOffset, chunk.length * 2);
      let size = this.#size(at);
      for (let each = 0; each < size;) {
        const hash = hashed(words[2 * each]!, words[2 * each + 1]!);
        const bit = hash >>> markShift;
        if ((marks[bit >>> 5]! & (1 << bit)) !== 0) {
          const value = chunk[each]!;
          let slot = hash >>> shift;
          while (keys[slot] !== value && copies[slot] !== 0) slot = (slot + 1) & mask;
          const known = copies[slot]!;
          // One more than copies that are still looked for.
          if (known > 1) {
            copies[slot] = known - 1;
            left -= 1;
            // What takes its place is looked at next; it may be the value itself, which is gone with it.
            chunk[each] = this.#pop();
            size = left === 0 ? 0 : this.#size(at);
            continue;
          }
        }
        each += 1;
      }
    }
    assert(left === 0, 'a value leaves as often as it came');
    this.#trim();
  }

  /** Moves what is greater than `most` to another list. */
  moveGreater(most: number, other: ValueList): void {
    other.#reserve(this.count);
    let to = 0;
    let toChunk = this.#chunk(0);
    let toSize = 0;
    for (const chunk of this.chunks()) {
      for (let each = 0; each < chunk.length; each += 1) {
        const value = chunk[each]!;
        if (value > most) {
          other.push(value);
          continue;
        }
        if (toSize === CHUNK_SIZE) {
          to += 1;
          toChunk = this.#chunk(to);
          toSize = 0;
        }
        toChunk[toSize] = value;
        toSize += 1;
      }
    }
    this.#last = toChunk;
    this.#lastCount = toSize;
    this.#full.length = to;
    this.count = to * CHUNK_SIZE + toSize;
    this.#trim();
    other.#trim();
  }

  /** A small array is kept: what is listed for a while, again and again, makes none each time. */
  clear(): void {
    this.count = 0;
    this.#full.length = 0;
    if (this.#last.length > KEPT_SIZE_MAX) this.#last = NONE;
    this.#lastCount = 0;
  }

  least(): number {
    let least = Infinity;
    for (let at = 0; at <= this.#full.length; at += 1) {
      const chunk = this.#chunk(at);
      const size = this.#size(at);
      for (let each = 0; each < size; each += 1) if (chunk[each]! < least) least = chunk[each]!;
    }
    return least;
  }

  greatest(): number {
    let greatest = -Infinity;
    for (let at = 0; at <= this.#full.length; at += 1) {
      const chunk = this.#chunk(at);
      const size = this.#size(at);
      for (let each = 0; each < size; each += 1)
        if (chunk[each]! > greatest) greatest = chunk[each]!;
    }
    return greatest;
  }

  at(index: number): number {
    return this.#chunk(Math.floor(index / CHUNK_SIZE))[index % CHUNK_SIZE]!;
  }

  /** All arrays, each as far as it is filled. */
  chunks(): readonly Float64Array[] {
    return [...this.#full, this.#last.subarray(0, this.#lastCount)];
  }

  #chunk(at: number): Float64Array {
    return at < this.#full.length ? this.#full[at]! : this.#last;
  }

  /** 0 for one that is not there any more. */
  #size(at: number): number {
    if (at < this.#full.length) return CHUNK_SIZE;
    return at === this.#full.length ? this.#lastCount : 0;
  }

  #pop(): number {
    // The last one may be empty: room that was made and not used, or what has left.
    if (this.#lastCount === 0) {
      this.#last = this.#full.pop()!;
      this.#lastCount = CHUNK_SIZE;
    }
    this.#lastCount -= 1;
    this.count -= 1;
    return this.#last[this.#lastCount]!;
  }

  /** Room for the first so many, where nothing is yet. */
  #reserve(count: number): void {
    if (this.#last.length < Math.min(CHUNK_SIZE, count) && this.count === 0)
      this.#last = new Float64Array(Math.min(CHUNK_SIZE, Math.max(CHUNK_SIZE_MIN, count)));
  }

  /** A list that has become small does not keep a large array. */
  #trim(): void {
    if (this.#full.length > 0 || this.#lastCount * 4 > this.#last.length) return;
    this.#last = this.#last.slice(0, Math.max(CHUNK_SIZE_MIN, this.#lastCount));
  }

  #grow(): void {
    if (this.#last.length === CHUNK_SIZE) {
      this.#full.push(this.#last);
      this.#last = new Float64Array(CHUNK_SIZE);
      this.#lastCount = 0;
      return;
    }
    const size = Math.min(CHUNK_SIZE, Math.max(CHUNK_SIZE_MIN, this.#last.length * 2));
    const larger = new Float64Array(size);
    larger.set(this.#last);
    this.#last = larger;
  }
}

/** What an array costs beside its values, by formula. */
const ARRAY_BYTES = 200;
