import type { Range } from '../columns/table-contract.ts';
import { grownStates } from './group-states.ts';

/**
 * What the rows at hand are: extreme ones, shown before all others with the round that will draw them; rows read whole; draws that are watched.
 * Most draws of later rounds are not shown at all: the aggregation itself tells their sums.
 */
export type Reading = { readonly kind: 'tails' | 'whole' | 'round'; readonly round: number };

/** The values of one argument of a batch, by row; NaN where the row brings none (NULL, or kept out by FILTER). */
export type Series = {
  values: Float64Array;
  /** False: no row of this batch brings one. */
  isGiven: boolean;
};

/** Sum and count of what a call has taken of a group: all rows, exactly. */
export type Tally = { readonly sum: number; readonly count: number };

/** Places in a group's state. */
const At = {
  newSum: 0,
  newSquares: 1,
  newCount: 2,
  sum: 3,
  squares: 4,
  count: 5,
  wholeSum: 6,
  wholeCount: 7,
  tailSum: 8,
  tailCount: 9,
  drawnTailSum: 10,
  drawnTailCount: 11,
  /** Of clusters: the sums of products of their sums and counts, new ones and all. */
  newProducts: 12,
  newCountSquares: 13,
  products: 14,
  countSquares: 15,
  clusterSum: 16,
  clusterCount: 17,
  /** All draws up to the last look. */
  settledSum: 18,
  settledCount: 19,
  width: 20,
} as const;

/**
 * Sums over the draws of one argument, by group. Values outside of `range` are never drawn: their rows are among the extreme ones, and known
 * beforehand. Of the watched draws it keeps sums, squares and counts; of all draws, what the aggregation has less what is not drawn.
 */
export class ValueSums {
  readonly series: Series;
  /** What draws lie within; ±∞ where nothing is known. */
  readonly range: Range;
  /** Rows of one draw belong together: squares are of their sums. */
  readonly #isClustered: boolean;
  readonly #tally: (group: number) => Tally;
  /** Of values that are known beforehand. */
  knownMin = Infinity;
  knownMax = -Infinity;
  #states = new Float64Array(0);
  #groupCount = 0;
  readonly #touched: number[] = [];
  /** Extreme values by the round that will draw them. */
  readonly #undrawn: (Drawable | undefined)[] = [];

  constructor(
    series: Series,
    range: Range,
    options: { readonly isClustered: boolean; readonly tally: (group: number) => Tally },
  ) {
    this.series = series;
    this.range = range;
    this.#isClustered = options.isClustered;
    this.#tally = options.tally;
  }

  get memoryBytes(): number {
    let bytes = this.#states.byteLength;
    for (const each of this.#undrawn) bytes += each === undefined ? 0 : each.values.length * 12;
    return bytes;
  }

  ensure(groupCount: number): void {
    this.#states = grownStates(this.#states, groupCount, At.width);
    this.#groupCount = groupCount;
  }

  add(reading: Reading, groups: Int32Array, rowCount: number): void {
    if (!this.series.isGiven) return;
    switch (reading.kind) {
      case 'round':
        if (this.#isClustered) this.#addToCluster(groups, rowCount);
        else this.#draw(groups, rowCount);
        break;
      case 'whole':
        this.#know(groups, rowCount);
        break;
      case 'tails':
        this.#knowTails(groups, rowCount, (this.#undrawn[reading.round] ??= new Drawable()));
        break;
    }
  }

  /** The rows of one draw are through. */
  endDraw(): void {
    const states = this.#states;
    for (const at of this.#touched) {
      const sum = states[at + At.clusterSum]!;
      const count = states[at + At.clusterCount]!;
      states[at + At.newSum]! += sum;
      states[at + At.newCount]! += count;
      states[at + At.newSquares]! += sum * sum;
      states[at + At.newProducts]! += sum * count;
      states[at + At.newCountSquares]! += count * count;
      states[at + At.clusterSum] = 0;
      states[at + At.clusterCount] = 0;
    }
    this.#touched.length = 0;
  }

  /** A round is read: the extreme rows it drew are in the aggregation's sums, and no draws of this sample. */
  drew(round: number): void {
    const drawn = this.#undrawn[round];
    if (drawn === undefined) return;
    const states = this.#states;
    for (let at = 0; at < drawn.count; at += 1) {
      const place = drawn.groups[at]! * At.width + At.drawnTailSum;
      states[place]! += drawn.values[at]!;
      states[place + 1]! += 1;
    }
    this.#undrawn[round] = undefined;
  }

  /** What is new of groups [from, to) joins the rest. */
  fold(from: number, to: number): void {
    const states = this.#states;
    for (let group = from; group < to; group += 1) {
      const at = group * At.width;
      states[at + At.sum]! += states[at + At.newSum]!;
      states[at + At.squares]! += states[at + At.newSquares]!;
      states[at + At.count]! += states[at + At.newCount]!;
      states[at + At.products]! += states[at + At.newProducts]!;
      states[at + At.countSquares]! += states[at + At.newCountSquares]!;
      states[at + At.newSum] = 0;
      states[at + At.newSquares] = 0;
      states[at + At.newCount] = 0;
      states[at + At.newProducts] = 0;
      states[at + At.newCountSquares] = 0;
      const { sum, count } = this.#tally(group);
      states[at + At.settledSum] = sum - states[at + At.wholeSum]! - states[at + At.drawnTailSum]!;
      states[at + At.settledCount] =
        count - states[at + At.wholeCount]! - states[at + At.drawnTailCount]!;
    }
  }

  // Of watched draws since the last look, and of all of them.
  newSum = (group: number): number => this.#states[group * At.width + At.newSum]!;
  newSquares = (group: number): number => this.#states[group * At.width + At.newSquares]!;
  newCount = (group: number): number => this.#states[group * At.width + At.newCount]!;
  newProducts = (group: number): number =>
    this.#isClustered ? this.#states[group * At.width + At.newProducts]! : this.newSum(group);
  newCountSquares = (group: number): number =>
    this.#isClustered ? this.#states[group * At.width + At.newCountSquares]! : this.newCount(group);
  watchedSum = (group: number): number => this.#states[group * At.width + At.sum]!;
  watchedCount = (group: number): number => this.#states[group * At.width + At.count]!;
  squares = (group: number): number => this.#states[group * At.width + At.squares]!;
  /** Σ of (sum of a draw × rows of it): the sum itself where a draw is a row. */
  products = (group: number): number =>
    this.#isClustered ? this.#states[group * At.width + At.products]! : this.watchedSum(group);
  countSquares = (group: number): number =>
    this.#isClustered
      ? this.#states[group * At.width + At.countSquares]!
      : this.watchedCount(group);
  // Of all draws up to the last look.
  sum = (group: number): number => this.#states[group * At.width + At.settledSum]!;
  count = (group: number): number => this.#states[group * At.width + At.settledCount]!;
  knownSum = (group: number): number =>
    this.#states[group * At.width + At.wholeSum]! + this.#states[group * At.width + At.tailSum]!;
  knownCount = (group: number): number =>
    this.#states[group * At.width + At.wholeCount]! +
    this.#states[group * At.width + At.tailCount]!;

  /** All draws by now, those since the last look included. */
  get allSum(): (group: number) => number {
    return (group) => {
      const at = group * At.width;
      return (
        this.#tally(group).sum -
        this.#states[at + At.wholeSum]! -
        this.#states[at + At.drawnTailSum]!
      );
    };
  }

  get allCount(): (group: number) => number {
    return (group) => {
      const at = group * At.width;
      return (
        this.#tally(group).count -
        this.#states[at + At.wholeCount]! -
        this.#states[at + At.drawnTailCount]!
      );
    };
  }

  #draw(groups: Int32Array, rowCount: number): void {
    if (this.#groupCount === 1) {
      this.#drawOne(rowCount);
      return;
    }
    const { values } = this.series;
    const { min, max } = this.range;
    const states = this.#states;
    for (let row = 0; row < rowCount; row += 1) {
      const value = values[row]!;
      // NaN is neither.
      if (!(value >= min && value <= max)) continue;
      const at = Math.imul(groups[row]!, At.width);
      states[at]! += value;
      states[at + 1]! += value * value;
      states[at + 2]! += 1;
    }
  }

  /** All rows are of group 0, as without keys: what is in registers costs nothing. */
  #drawOne(rowCount: number): void {
    const { values } = this.series;
    const { min, max } = this.range;
    let sum = 0;
    let squares = 0;
    let count = 0;
    for (let row = 0; row < rowCount; row += 1) {
      const value = values[row]!;
      if (!(value >= min && value <= max)) continue;
      sum += value;
      squares += value * value;
      count += 1;
    }
    this.#states[At.newSum]! += sum;
    this.#states[At.newSquares]! += squares;
    this.#states[At.newCount]! += count;
  }

  #addToCluster(groups: Int32Array, rowCount: number): void {
    const { values } = this.series;
    const { min, max } = this.range;
    const states = this.#states;
    for (let row = 0; row < rowCount; row += 1) {
      const value = values[row]!;
      if (!(value >= min && value <= max)) continue;
      const at = groups[row]! * At.width;
      if (states[at + At.clusterCount] === 0) this.#touched.push(at);
      states[at + At.clusterSum]! += value;
      states[at + At.clusterCount]! += 1;
    }
  }

  /** Rows that are read whole. */
  #know(groups: Int32Array, rowCount: number): void {
    if (this.#groupCount === 1) {
      this.#knowOne(rowCount);
      return;
    }
    const { values } = this.series;
    const states = this.#states;
    let { knownMin, knownMax } = this;
    for (let row = 0; row < rowCount; row += 1) {
      const value = values[row]!;
      // NaN is none.
      if (!(value >= -Infinity)) continue;
      const at = groups[row]! * At.width + At.wholeSum;
      states[at]! += value;
      states[at + 1]! += 1;
      if (value < knownMin) knownMin = value;
      if (value > knownMax) knownMax = value;
    }
    this.knownMin = knownMin;
    this.knownMax = knownMax;
  }

  #knowOne(rowCount: number): void {
    const { values } = this.series;
    let { knownMin, knownMax } = this;
    let sum = this.#states[At.wholeSum]!;
    let count = 0;
    for (let row = 0; row < rowCount; row += 1) {
      const value = values[row]!;
      if (!(value >= -Infinity)) continue;
      sum += value;
      count += 1;
      if (value < knownMin) knownMin = value;
      if (value > knownMax) knownMax = value;
    }
    this.#states[At.wholeSum] = sum;
    this.#states[At.wholeCount]! += count;
    this.knownMin = knownMin;
    this.knownMax = knownMax;
  }

  /** Extreme rows, of which those within the range are draws like others; the others wait for the round that will draw them. */
  #knowTails(groups: Int32Array, rowCount: number, undrawn: Drawable): void {
    const { values } = this.series;
    const { min, max } = this.range;
    const states = this.#states;
    for (let row = 0; row < rowCount; row += 1) {
      const value = values[row]!;
      if (Number.isNaN(value) || (value >= min && value <= max)) continue;
      undrawn.add(groups[row]!, value);
      const at = groups[row]! * At.width + At.tailSum;
      states[at]! += value;
      states[at + 1]! += 1;
      this.knownMin = Math.min(this.knownMin, value);
      this.knownMax = Math.max(this.knownMax, value);
    }
  }
}

/** Values of groups, to be drawn by one round. */
class Drawable {
  groups = new Int32Array(16);
  values = new Float64Array(16);
  count = 0;

  add(group: number, value: number): void {
    if (this.count === this.values.length) {
      const groups = new Int32Array(this.count * 2);
      groups.set(this.groups);
      this.groups = groups;
      const values = new Float64Array(this.count * 2);
      values.set(this.values);
      this.values = values;
    }
    this.groups[this.count] = group;
    this.values[this.count] = value;
    this.count += 1;
  }
}
