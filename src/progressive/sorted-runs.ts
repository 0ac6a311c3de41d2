import { countUpTo } from '../base/search.ts';

/**
 * Numbers that arrive in bunches and are looked at in order now and then: sorted runs, each at least twice as long as the next, so that a
 * bunch costs a few merges and a look a few searches.
 */
export class SortedRuns {
  readonly #runs: Float64Array[] = [];
  #loose = new Float64Array(16);
  #looseCount = 0;
  size = 0;

  get memoryBytes(): number {
    let bytes = this.#loose.byteLength;
    for (const run of this.#runs) bytes += run.byteLength;
    return bytes;
  }

  add(value: number): void {
    if (this.#looseCount === this.#loose.length) {
      if (this.#loose.length >= LOOSE_MAX) this.#settle();
      else {
        const grown = new Float64Array(this.#loose.length * 2);
        grown.set(this.#loose);
        this.#loose = grown;
      }
    }
    this.#loose[this.#looseCount] = value;
    this.#looseCount += 1;
    this.size += 1;
  }

  /** How many are at most x. */
  countUpTo(x: number): number {
    this.#settle();
    let count = 0;
    for (const run of this.#runs) count += countUpTo(run, x);
    return count;
  }

  /** The value at a place in the order, from 0. */
  at(place: number): number {
    this.#settle();
    if (this.#runs.length === 1) return this.#runs[0]![place]!;
    this.#merge(0);
    return this.#runs[0]![place]!;
  }

  #settle(): void {
    if (this.#looseCount === 0) return;
    const run = this.#loose.slice(0, this.#looseCount).sort();
    this.#looseCount = 0;
    this.#runs.push(run);
    while (this.#runs.length > 1 && this.#runs.at(-2)!.length < 2 * this.#runs.at(-1)!.length)
      this.#mergeLast();
  }

  #merge(to: number): void {
    while (this.#runs.length > to + 1) this.#mergeLast();
  }

  #mergeLast(): void {
    const b = this.#runs.pop()!;
    const a = this.#runs.pop()!;
    const merged = new Float64Array(a.length + b.length);
    let left = 0;
    let right = 0;
    for (let at = 0; at < merged.length; at += 1) {
      if (right >= b.length || (left < a.length && a[left]! <= b[right]!)) {
        merged[at] = a[left]!;
        left += 1;
      } else {
        merged[at] = b[right]!;
        right += 1;
      }
    }
    this.#runs.push(merged);
  }
}

const LOOSE_MAX = 2048;
