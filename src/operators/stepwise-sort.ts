import type { MemoryAccount } from '../base/memory.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import type { Budget } from './operator.ts';

/** A run is sorted at once: with costly comparisons still within a step. */
const RUN_LENGTH = 512;
/** Between two looks at the budget so many numbers are merged. */
const MERGE_LENGTH = 512;
/** Work units of one comparison; n numbers take n · ⌈log2 n⌉ of them. */
const COMPARISON_UNITS = 2;

/**
 * Sorts numbers by a comparison, in steps (law 5): runs first, then neighbouring runs merged, level by level. Stable, and the same work
 * for the same count whatever the order was. With `keep` only the first so many of each run are looked at any further.
 */
export class StepwiseSort {
  readonly #compare: (a: number, b: number) => number;
  readonly #keep: number;
  readonly #lease: MemoryLease;
  /** Runs are filled with their numbers when they are sorted. */
  readonly #isCount: boolean;
  #from: Int32Array;
  #to: Int32Array;
  /** Ends of the runs in `#from`; run i begins where run i − 1 ends. */
  #ends: number[] = [];
  #endsTo: number[] = [];
  #sortedTo = 0;
  /** The pair of runs that is being merged, and how far. */
  #pair = 0;
  #left = 0;
  #right = 0;
  #written = 0;
  /** How many numbers the merge of this pair gives. */
  #pairLeft = -1;

  /** Sorts `numbers`, which it takes over, or all numbers below a count. Throws 53200 where there is no memory for that. */
  constructor(
    numbers: Int32Array | number,
    compare: (a: number, b: number) => number,
    options: { readonly keep?: number; readonly memory: MemoryAccount | undefined },
  ) {
    this.#compare = compare;
    this.#keep = options.keep ?? Infinity;
    this.#lease = new MemoryLease(options.memory);
    const count = typeof numbers === 'number' ? numbers : numbers.length;
    this.#lease.take(count * 8);
    this.#isCount = typeof numbers === 'number';
    this.#from = typeof numbers === 'number' ? new Int32Array(count) : numbers;
    this.#to = new Int32Array(count);
  }

  /** Goes on as far as the budget reaches; true when all is sorted. */
  step(budget: Budget): boolean {
    while (this.#sortedTo < this.#from.length) {
      if (budget.exhausted) return false;
      this.#sortRun(budget);
    }
    while (this.#ends.length > 1) {
      if (budget.exhausted) return false;
      this.#mergeSome(budget);
    }
    return true;
  }

  /** The numbers in order, once `step` has said so. */
  get sorted(): Int32Array {
    return this.#from.subarray(0, this.#ends[0] ?? 0);
  }

  close(): void {
    this.#lease.close();
    this.#to = new Int32Array(0);
  }

  #sortRun(budget: Budget): void {
    const start = this.#sortedTo;
    const end = Math.min(this.#from.length, start + RUN_LENGTH);
    const compare = this.#compare;
    const run = this.#from.subarray(start, end);
    if (this.#isCount) for (let at = start; at < end; at += 1) run[at - start] = at;
    run.sort((a, b) => compare(a, b) || a - b);
    this.#sortedTo = end;
    // Numbers beyond `keep` are left behind: runs need not lie side by side.
    const kept = Math.min(run.length, this.#keep);
    const at = this.#ends.at(-1) ?? 0;
    if (at < start) this.#from.copyWithin(at, start, start + kept);
    this.#ends.push(at + kept);
    budget.charge(run.length * levelsOf(RUN_LENGTH) * COMPARISON_UNITS);
  }

  #mergeSome(budget: Budget): void {
    const from = this.#from;
    const to = this.#to;
    const ends = this.#ends;
    const first = this.#pair * 2;
    const start = first === 0 ? 0 : ends[first - 1]!;
    const middle = ends[first]!;
    const end = ends[first + 1] ?? middle;
    if (this.#pairLeft < 0) {
      this.#left = start;
      this.#right = middle;
      this.#pairLeft = Math.min(end - start, this.#keep);
    }
    const count = Math.min(MERGE_LENGTH, this.#pairLeft);
    const stop = this.#written + count;
    let left = this.#left;
    let right = this.#right;
    const compare = this.#compare;
    for (let at = this.#written; at < stop; at += 1) {
      if (right >= end || (left < middle && compare(from[left]!, from[right]!) <= 0)) {
        to[at] = from[left]!;
        left += 1;
      } else {
        to[at] = from[right]!;
        right += 1;
      }
    }
    this.#left = left;
    this.#right = right;
    this.#written = stop;
    this.#pairLeft -= count;
    budget.charge(count * COMPARISON_UNITS);
    if (this.#pairLeft > 0) return;
    this.#pairLeft = -1;
    this.#endsTo.push(stop);
    this.#pair += 1;
    if (this.#pair * 2 < ends.length) return;
    this.#from = to;
    this.#to = from;
    this.#ends = this.#endsTo;
    this.#endsTo = [];
    this.#pair = 0;
    this.#written = 0;
  }
}

function levelsOf(count: number): number {
  return Math.ceil(Math.log2(Math.max(2, count)));
}
