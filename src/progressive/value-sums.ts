import type { Range } from '../columns/table-contract.ts';

/** What the rows at hand are: extreme ones shown beforehand, rows read whole, or draws. */
export type Reading = 'tails' | 'whole' | 'round';

/** The values of one argument of a batch, by row; NaN where the row brings none (NULL, or kept out by FILTER). */
export type Series = {
  readonly values: Float64Array;
  /** False: no row of this batch brings one. */
  isGiven: boolean;
};

const At = {
  roundSum: 0,
  roundSquares: 1,
  roundCount: 2,
  sum: 3,
  squares: 4,
  count: 5,
  knownSum: 6,
  knownCount: 7,
  /** Of clusters: the sums of products of their sums and counts. */
  products: 8,
  countSquares: 9,
  clusterSum: 10,
  clusterCount: 11,
  width: 12,
} as const;

/**
 * Sums over the draws of one argument, by group: of values, of squares, of rows. Values outside of `range` are not drawn: they are known beforehand,
 * from the extreme rows and the rows read whole.
 */
export class ValueSums {
  readonly series: Series;
  /** What draws lie within; ±∞ where nothing is known. */
  readonly range: Range;
  /** Rows of one draw belong together: squares are of their sums. */
  readonly #isClustered: boolean;
  /** Of values that are known beforehand. */
  knownMin = Infinity;
  knownMax = -Infinity;
  #states = new Float64Array(0);
  readonly #touched: number[] = [];

  constructor(series: Series, range: Range, isClustered: boolean) {
    this.series = series;
    this.range = range;
    this.#isClustered = isClustered;
  }

  get memoryBytes(): number {
    return this.#states.byteLength;
  }

  ensure(groupCount: number): void {
    if (groupCount * At.width <= this.#states.length) return;
    const states = new Float64Array(Math.max(4, groupCount + (groupCount >>> 1)) * At.width);
    states.set(this.#states);
    this.#states = states;
  }

  add(reading: Reading, groups: Int32Array, rowCount: number): void {
    if (!this.series.isGiven) return;
    switch (reading) {
      case 'round':
        if (this.#isClustered) this.#addToCluster(groups, rowCount);
        else this.#draw(groups, rowCount);
        break;
      case 'whole':
        this.#know(groups, rowCount, true);
        break;
      case 'tails':
        this.#know(groups, rowCount, false);
        break;
    }
  }

  /** The rows of one draw are through. */
  endDraw(): void {
    const states = this.#states;
    for (const at of this.#touched) {
      const sum = states[at + At.clusterSum]!;
      const count = states[at + At.clusterCount]!;
      states[at + At.roundSum]! += sum;
      states[at + At.roundCount]! += count;
      states[at + At.roundSquares]! += sum * sum;
      states[at + At.products]! += sum * count;
      states[at + At.countSquares]! += count * count;
      states[at + At.clusterSum] = 0;
      states[at + At.clusterCount] = 0;
    }
    this.#touched.length = 0;
  }

  /** The round's sums of groups [from, to) join the others. */
  fold(from: number, to: number): void {
    const states = this.#states;
    for (let at = from * At.width; at < to * At.width; at += At.width) {
      states[at + At.sum]! += states[at + At.roundSum]!;
      states[at + At.squares]! += states[at + At.roundSquares]!;
      states[at + At.count]! += states[at + At.roundCount]!;
      states[at + At.roundSum] = 0;
      states[at + At.roundSquares] = 0;
      states[at + At.roundCount] = 0;
    }
  }

  roundSum = (group: number): number => this.#states[group * At.width + At.roundSum]!;
  roundSquares = (group: number): number => this.#states[group * At.width + At.roundSquares]!;
  roundCount = (group: number): number => this.#states[group * At.width + At.roundCount]!;
  sum = (group: number): number => this.#states[group * At.width + At.sum]!;
  squares = (group: number): number => this.#states[group * At.width + At.squares]!;
  count = (group: number): number => this.#states[group * At.width + At.count]!;
  knownSum = (group: number): number => this.#states[group * At.width + At.knownSum]!;
  knownCount = (group: number): number => this.#states[group * At.width + At.knownCount]!;
  /** Σ of (sum of a draw × rows of it): the sum itself where a draw is a row. */
  products = (group: number): number =>
    this.#isClustered ? this.#states[group * At.width + At.products]! : this.sum(group);
  countSquares = (group: number): number =>
    this.#isClustered ? this.#states[group * At.width + At.countSquares]! : this.count(group);

  #draw(groups: Int32Array, rowCount: number): void {
    const { values } = this.series;
    const { min, max } = this.range;
    const states = this.#states;
    for (let row = 0; row < rowCount; row += 1) {
      const value = values[row]!;
      // NaN is neither.
      if (value >= min && value <= max) {
        const at = groups[row]! * At.width;
        states[at] = states[at]! + value;
        states[at + 1] = states[at + 1]! + value * value;
        states[at + 2] = states[at + 2]! + 1;
      }
    }
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

  #know(groups: Int32Array, rowCount: number, isAll: boolean): void {
    const { values } = this.series;
    const { min, max } = this.range;
    const states = this.#states;
    for (let row = 0; row < rowCount; row += 1) {
      const value = values[row]!;
      if (Number.isNaN(value) || (!isAll && value >= min && value <= max)) continue;
      const at = groups[row]! * At.width;
      states[at + At.knownSum]! += value;
      states[at + At.knownCount]! += 1;
      if (value < this.knownMin) this.knownMin = value;
      if (value > this.knownMax) this.knownMax = value;
    }
  }
}
