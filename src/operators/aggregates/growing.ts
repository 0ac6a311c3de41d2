import type { Budget } from '../operator.ts';
import { leaveDoubles, takeDoubles } from './doubles-pool.ts';

/** Up to 64 KB are copied at once. */
const AT_ONCE = 8192;
/** Doubles copied between two looks at the budget. */
const PIECE = 8192;
/** New places that one work unit pays for. */
const PLACES_A_UNIT = 4;

/**
 * Doubles in one flat array, which is what the inner loops want, that grows by doubling: what is there is copied in steps (law 5). The room
 * costs the same however often it was asked for, and whether the array is a new one or was left by another: work does not depend on what
 * others have done. Nobody may hold `values` when it grows or is closed.
 */
export class GrowingDoubles {
  /** Nothing is written here while `ensure` says that the room is not there yet. */
  values: Float64Array;
  readonly #blank: number;
  #next: Float64Array | undefined;
  /** `#next` has held something else before. */
  #isUsed = false;
  #filled = 0;

  /** `blank`: what a new place holds. */
  constructor(length: number, blank = 0) {
    this.#blank = blank;
    this.values = new Float64Array(length);
    if (blank !== 0) this.values.fill(blank);
  }

  get byteLength(): number {
    return this.values.byteLength;
  }

  /** Makes room for `length` doubles. False: not all is copied, and the budget is used up; without a budget it is done at once. */
  ensure(length: number, budget?: Budget): boolean {
    if (length <= this.values.length) return true;
    if (this.#next === undefined) {
      let places = Math.max(16, this.values.length);
      while (places < length) places *= 2;
      const used = takeDoubles(places);
      this.#isUsed = used !== undefined;
      this.#next = used ?? new Float64Array(places);
      this.#filled = 0;
    }
    const { values } = this;
    const next = this.#next;
    const end = next.length;
    const units = Math.max(0, next.length - Math.max(AT_ONCE, values.length)) / PLACES_A_UNIT;
    while (this.#filled < end) {
      if (budget?.exhausted === true && units > 0) return false;
      const start = this.#filled;
      const stop = Math.min(end, start + PIECE);
      if (start < values.length) next.set(values.subarray(start, stop), start);
      // Beyond the copy a new array is zero already.
      if ((this.#blank !== 0 || this.#isUsed) && stop > values.length)
        next.fill(this.#blank, Math.max(start, values.length), stop);
      this.#filled = stop;
      // Whole units, which add up to what all the new places cost.
      budget?.charge(Math.floor((units * stop) / end) - Math.floor((units * start) / end));
    }
    leaveDoubles(values);
    this.values = next;
    this.#next = undefined;
    return true;
  }

  /** There are none any more: the room is left to others. */
  close(): void {
    leaveDoubles(this.values);
    if (this.#next !== undefined) leaveDoubles(this.#next);
    this.values = NONE;
    this.#next = undefined;
  }
}

const NONE = new Float64Array(0);
