import { assert } from '../base/errors.ts';
import type { Datum } from '../columns/values.ts';

/** Values of one chunk: inserting moves at most this many. */
const CHUNK_SIZE_MAX = 512;

/** A multiset of data in an order, best first: how often each distinct value is there. */
export class OrderedCounts {
  readonly #chunks: Chunk[] = [];
  #distinctCount = 0;

  get distinctCount(): number {
    return this.#distinctCount;
  }

  /** The best value; undefined where there is none. */
  get best(): Datum | undefined {
    return this.#chunks[0]?.values[0];
  }

  get worst(): Datum | undefined {
    const last = this.#chunks.at(-1);
    return last?.values[last.values.length - 1];
  }

  /** Adds to the count of a value; false where it is not there and `weight` is negative. */
  add(value: Datum, weight: number, compare: Compare): boolean {
    let chunkIndex = 0;
    if (this.#chunks.length > 1) {
      // The first chunk whose worst value is not better than `value`, else the last one.
      let high = this.#chunks.length - 1;
      while (chunkIndex < high) {
        const middle = (chunkIndex + high) >> 1;
        const { values } = this.#chunks[middle]!;
        if (compare(values[values.length - 1]!, value) < 0) chunkIndex = middle + 1;
        else high = middle;
      }
    }
    const chunk = this.#chunks[chunkIndex];
    if (chunk === undefined) {
      if (weight < 0) return false;
      this.#chunks.push({ values: [value], counts: [weight] });
      this.#distinctCount = 1;
      return true;
    }
    const { values, counts } = chunk;
    let low = 0;
    let high = values.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compare(values[middle]!, value) < 0) low = middle + 1;
      else high = middle;
    }
    if (low < values.length && compare(values[low]!, value) === 0) {
      const count = counts[low]! + weight;
      assert(count >= 0, 'a value leaves as often as it came');
      if (count > 0) counts[low] = count;
      else this.#remove(chunkIndex, low);
      return true;
    }
    if (weight < 0) return false;
    values.splice(low, 0, value);
    counts.splice(low, 0, weight);
    this.#distinctCount += 1;
    if (values.length > CHUNK_SIZE_MAX) {
      const half = CHUNK_SIZE_MAX >> 1;
      this.#chunks.splice(chunkIndex + 1, 0, {
        values: values.splice(half),
        counts: counts.splice(half),
      });
    }
    return true;
  }

  /** Takes the worst value out and says how often it was there. */
  removeWorst(): number {
    const last = this.#chunks.at(-1)!;
    const count = last.counts[last.counts.length - 1]!;
    this.#remove(this.#chunks.length - 1, last.values.length - 1);
    return count;
  }

  clear(): void {
    this.#chunks.length = 0;
    this.#distinctCount = 0;
  }

  #remove(chunkIndex: number, index: number): void {
    const chunk = this.#chunks[chunkIndex]!;
    chunk.values.splice(index, 1);
    chunk.counts.splice(index, 1);
    this.#distinctCount -= 1;
    if (chunk.values.length === 0) this.#chunks.splice(chunkIndex, 1);
  }
}

/** Negative where `a` is better than `b`; 0 only for values that are shown alike. */
export type Compare = (a: Datum, b: Datum) => number;

type Chunk = { readonly values: Datum[]; readonly counts: number[] };
