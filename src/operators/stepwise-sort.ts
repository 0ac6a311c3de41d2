import type { MemoryAccount } from '../base/memory.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import type { Budget } from './operator.ts';

/** A run is sorted at once: with costly comparisons still within a step. */
const RUN_LENGTH = 512;
/** So many are put in their places one by one, before runs of them are merged. */
const INSERTED_LENGTH = 16;
/** Between two looks at the budget so many numbers are merged. */
const MERGE_LENGTH = 512;
/** Work units of one comparison; n numbers take n · ⌈log2 n⌉ of them. */
const COMPARISON_UNITS = 2;

/** Doubles that numbers are sorted by. They are moved with the numbers, so that a merge reads memory in its order. */
export type SortKeys = {
  /** Writes the doubles of `numbers`; none is NaN, and none puts two numbers the wrong way round. */
  fill(numbers: Int32Array, first: Float64Array, second: Float64Array | undefined): void;
  /** Where first doubles tie and are finite, second ones tell. */
  readonly hasSecond: boolean;
  /** When numbers are equal whose doubles tie; else they are compared. Those that are not finite always are. */
  readonly equal: 'never' | 'finite' | 'even second';
};

/** Numbers and the doubles they are sorted by, as far as they are sorted. */
class Run {
  readonly numbers: Int32Array;
  readonly first: Float64Array;
  readonly second: Float64Array | undefined;

  constructor(numbers: Int32Array, hasSecond: boolean) {
    this.numbers = numbers;
    this.first = new Float64Array(numbers.length);
    this.second = hasSecond ? new Float64Array(numbers.length) : undefined;
  }

  move(at: number, to: Run, toAt: number): void {
    to.numbers[toAt] = this.numbers[at]!;
    to.first[toAt] = this.first[at]!;
    if (this.second !== undefined && to.second !== undefined) to.second[toAt] = this.second[at]!;
  }

  moveAll(from: number, end: number, to: Run, toAt: number): void {
    to.numbers.set(this.numbers.subarray(from, end), toAt);
    to.first.set(this.first.subarray(from, end), toAt);
    to.second?.set(this.second!.subarray(from, end), toAt);
  }
}

/**
 * Sorts numbers in steps (law 5), by a comparison, and by doubles before it where they are given: runs first, then neighbouring runs
 * merged, level by level. Stable, and the same work for the same count whatever the order was. With `keep` only the first so many of each
 * run are looked at any further.
 */
export class StepwiseSort {
  readonly #compare: (a: number, b: number) => number;
  readonly #keys: SortKeys;
  readonly #keep: number;
  readonly #lease: MemoryLease;
  /** Runs are filled with their numbers when they are sorted. */
  readonly #isCount: boolean;
  #from: Run;
  #to: Run;
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
    options: {
      readonly keep?: number;
      readonly keys?: SortKeys | undefined;
      readonly memory: MemoryAccount | undefined;
    },
  ) {
    this.#compare = compare;
    this.#keys = options.keys ?? NO_KEYS;
    this.#keep = options.keep ?? Infinity;
    this.#lease = new MemoryLease(options.memory);
    const { hasSecond } = this.#keys;
    const count = typeof numbers === 'number' ? numbers : numbers.length;
    this.#lease.take(count * 2 * (hasSecond ? 20 : 12));
    this.#isCount = typeof numbers === 'number';
    this.#from = new Run(typeof numbers === 'number' ? new Int32Array(count) : numbers, hasSecond);
    this.#to = new Run(new Int32Array(count), hasSecond);
  }

  /** Goes on as far as the budget reaches; true when all is sorted. */
  step(budget: Budget): boolean {
    while (this.#sortedTo < this.#from.numbers.length) {
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
    return this.#from.numbers.subarray(0, this.#ends[0] ?? 0);
  }

  close(): void {
    this.#lease.close();
    this.#to = new Run(new Int32Array(0), false);
  }

  /** Whether the number at one place stays before that at another, which comes after it. */
  #isInOrder(left: Run, at: number, right: Run, other: number): boolean {
    const x = left.first[at]!;
    const y = right.first[other]!;
    if (x !== y) return x < y;
    if (Number.isFinite(x)) {
      const { equal } = this.#keys;
      if (left.second === undefined) {
        if (equal === 'finite') return true;
      } else {
        const second = left.second[at]!;
        const otherSecond = right.second![other]!;
        if (second !== otherSecond) return second < otherSecond;
        if (equal === 'finite' ? Number.isFinite(second) : equal !== 'never' && second % 2 === 0)
          return true;
      }
    }
    return this.#compare(left.numbers[at]!, right.numbers[other]!) <= 0;
  }

  #sortRun(budget: Budget): void {
    const start = this.#sortedTo;
    const end = Math.min(this.#from.numbers.length, start + RUN_LENGTH);
    const run = this.#from;
    const { numbers, first, second } = run;
    if (this.#isCount) for (let at = start; at < end; at += 1) numbers[at] = at;
    this.#keys.fill(
      numbers.subarray(start, end),
      first.subarray(start, end),
      second?.subarray(start, end),
    );
    for (let from = start; from < end; from += INSERTED_LENGTH)
      this.#insertEach(run, from, Math.min(end, from + INSERTED_LENGTH));
    let [sorted, other] = [run, this.#to];
    for (let length = INSERTED_LENGTH; length < end - start; length *= 2) {
      for (let from = start; from < end; from += 2 * length) {
        const middle = Math.min(end, from + length);
        const stop = Math.min(end, middle + length);
        this.#merge(sorted, from, middle, middle, stop, other, from, stop);
      }
      [sorted, other] = [other, sorted];
    }
    this.#sortedTo = end;
    // Numbers beyond `keep` are left behind: runs need not lie side by side.
    const kept = Math.min(end - start, this.#keep);
    const at = this.#ends.at(-1) ?? 0;
    if (at < start || sorted !== run) sorted.moveAll(start, start + kept, run, at);
    this.#ends.push(at + kept);
    budget.charge((end - start) * levelsOf(RUN_LENGTH) * COMPARISON_UNITS);
  }

  /** Sorts a few numbers where they are. */
  #insertEach(run: Run, start: number, end: number): void {
    for (let at = start + 1; at < end; at += 1) {
      if (this.#isInOrder(run, at - 1, run, at)) continue;
      run.move(at, HAND, 0);
      let place = at;
      do {
        run.move(place - 1, run, place);
        place -= 1;
      } while (place > start && !this.#isInOrder(run, place - 1, HAND, 0));
      HAND.move(0, run, place);
    }
  }

  /**
   * Merges [left, middle) and [right, end) of one run into another from `at` until `stop`. Where it has come to on the left; the
   * rest is on the right.
   */
  #merge(
    from: Run,
    left: number,
    middle: number,
    right: number,
    end: number,
    to: Run,
    start: number,
    stop: number,
  ): number {
    let at = start;
    while (at < stop && left < middle && right < end) {
      if (this.#isInOrder(from, left, from, right)) {
        from.move(left, to, at);
        left += 1;
      } else {
        from.move(right, to, at);
        right += 1;
      }
      at += 1;
    }
    const fromLeft = Math.min(stop - at, middle - left);
    if (fromLeft > 0) from.moveAll(left, left + fromLeft, to, at);
    at += fromLeft;
    if (at < stop) from.moveAll(right, right + stop - at, to, at);
    return left + fromLeft;
  }

  #mergeSome(budget: Budget): void {
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
    const left = this.#merge(
      this.#from,
      this.#left,
      middle,
      this.#right,
      end,
      this.#to,
      this.#written,
      stop,
    );
    this.#right += count - (left - this.#left);
    this.#left = left;
    this.#written = stop;
    this.#pairLeft -= count;
    budget.charge(count * COMPARISON_UNITS);
    if (this.#pairLeft > 0) return;
    this.#pairLeft = -1;
    this.#endsTo.push(stop);
    this.#pair += 1;
    if (this.#pair * 2 < ends.length) return;
    [this.#from, this.#to] = [this.#to, this.#from];
    this.#ends = this.#endsTo;
    this.#endsTo = [];
    this.#pair = 0;
    this.#written = 0;
  }
}

/** All doubles are zero: the comparison tells. */
const NO_KEYS: SortKeys = { fill: () => undefined, hasSecond: false, equal: 'never' };

/** What is out of its place while others make room. */
const HAND = new Run(new Int32Array(1), true);

function levelsOf(count: number): number {
  return Math.ceil(Math.log2(Math.max(2, count)));
}
