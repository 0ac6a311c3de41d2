import type { Budget } from '../operator.ts';

/** So few are sorted at once. */
const SORTED_LENGTH = 4096;
/** Between two looks at the budget so many are looked at. */
const PIECE_LENGTH = 8192;
const DIGIT_BITS = 16;
const DIGITS = 64 / DIGIT_BITS;

/**
 * The doubles at two neighbouring ranks (or one) of many, in steps and without sorting them: counted by the first sixteen bits of what orders
 * them, then only those are looked at that begin as the wanted ones do. NaN is the greatest, −0 and 0 are one.
 */
export class Selection {
  #values: Float64Array;
  #count: number;
  #low: number;
  #high: number;
  #highValue: number | undefined;
  #digit = 0;
  #phase: 'count' | 'collect' = 'count';
  #at = 0;
  /** Made when values are counted: most groups are so small that they are not. */
  #counts: Int32Array | undefined;
  #lowBucket = 0;
  #highBucket = 0;
  #collected = new Float64Array(0);
  #collectedCount = 0;
  #found: readonly [number, number] | undefined;

  /** The first `count` of `values`, which stay as they are; `high` is `low` or the rank after it. */
  constructor(values: Float64Array, count: number, low: number, high: number) {
    this.#values = values;
    this.#count = count;
    this.#low = low;
    this.#high = high;
  }

  /** The values at both ranks; undefined: the budget is used up, and it goes on when called again. */
  step(budget: Budget): readonly [number, number] | undefined {
    while (this.#found === undefined) {
      if (this.#count <= SORTED_LENGTH || this.#digit === DIGITS) this.#pick(budget);
      else if (this.#phase === 'count' ? !this.#countOn(budget) : !this.#collectOn(budget))
        return undefined;
    }
    return this.#found;
  }

  #pick(budget: Budget): void {
    // Of values that are equal in all digits one is as good as another.
    const all = this.#digit === DIGITS ? 1 : this.#count;
    const sorted = this.#values.slice(0, all).sort();
    if (this.#digit === 0) budget.charge(2 * this.#count);
    const low = sorted[Math.min(this.#low, all - 1)]!;
    this.#found = [low, this.#highValue ?? sorted[Math.min(this.#high, all - 1)]!];
  }

  /** False: the budget is used up. What is counted again, because many values begin alike, takes time of the step, but is no work. */
  #countOn(budget: Budget): boolean {
    const words = new Uint32Array(this.#values.buffer, this.#values.byteOffset, this.#count * 2);
    const counts = (this.#counts ??= new Int32Array(2 ** DIGIT_BITS));
    if (this.#at === 0) counts.fill(0);
    while (this.#at < this.#count) {
      if (budget.exhausted) return false;
      const end = Math.min(this.#count, this.#at + PIECE_LENGTH);
      for (let at = this.#at; at < end; at += 1) counts[digitOf(words, at, this.#digit)]! += 1;
      if (this.#digit === 0) budget.charge(2 * (end - this.#at));
      else budget.remaining -= end - this.#at;
      this.#at = end;
    }
    let before = 0;
    let bucket = 0;
    while (before + counts[bucket]! <= this.#low) {
      before += counts[bucket]!;
      bucket += 1;
    }
    this.#lowBucket = this.#highBucket = bucket;
    this.#low -= before;
    if (this.#highValue === undefined) {
      this.#high -= before;
      if (this.#high >= counts[bucket]!) {
        // Its neighbour is the last there: the first of the next ones is wanted.
        do this.#highBucket += 1;
        while (counts[this.#highBucket] === 0);
      }
    }
    this.#collected = new Float64Array(counts[bucket]!);
    this.#collectedCount = 0;
    this.#phase = 'collect';
    this.#at = 0;
    return true;
  }

  #collectOn(budget: Budget): boolean {
    const values = this.#values;
    const words = new Uint32Array(values.buffer, values.byteOffset, this.#count * 2);
    const isApart = this.#highBucket !== this.#lowBucket;
    while (this.#at < this.#count) {
      if (budget.exhausted) return false;
      const end = Math.min(this.#count, this.#at + PIECE_LENGTH);
      for (let at = this.#at; at < end; at += 1) {
        const bucket = digitOf(words, at, this.#digit);
        if (bucket === this.#lowBucket) {
          this.#collected[this.#collectedCount] = values[at]!;
          this.#collectedCount += 1;
        } else if (isApart && bucket === this.#highBucket) {
          const value = values[at]!;
          const least = this.#highValue;
          if (least === undefined || value < least || least !== least) this.#highValue = value;
        }
      }
      budget.remaining -= end - this.#at;
      this.#at = end;
    }
    this.#values = this.#collected;
    this.#count = this.#collectedCount;
    this.#digit += 1;
    this.#phase = 'count';
    this.#at = 0;
    return true;
  }
}

/** A digit of the integer that orders doubles as they are ordered, the first one first. Typed arrays are little-endian wherever Node runs. */
function digitOf(words: Uint32Array, at: number, digit: number): number {
  const high = words[2 * at + 1]!;
  // All that is beyond the infinities is NaN.
  if ((high & 0x7fffffff) >= 0x7ff00000 && isBeyondInfinity(high, words[2 * at]!)) return 0xffff;
  const word = digit < 2 ? high : words[2 * at]!;
  const part = digit % 2 === 0 ? word >>> 16 : word & 0xffff;
  if (high >>> 31 === 1) return ~part & 0xffff;
  return digit === 0 ? part | 0x8000 : part;
}

function isBeyondInfinity(high: number, low: number): boolean {
  return (high & 0x000fffff) !== 0 || low !== 0;
}
