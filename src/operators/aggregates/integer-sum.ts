import { datumAt } from '../../columns/build.ts';
import { Decimal } from '../../columns/values.ts';
import type { NumberArray, Vector } from '../../columns/vector.ts';
import type { Budget } from '../operator.ts';
import { GrowingDoubles } from './growing.ts';
import { integerLoopOf } from './loops.ts';

/**
 * Exact sums of integers, by group: in doubles while they are safe, beyond in bigints. The base of sums of integers,
 * numerics (as coefficients of one scale) and times.
 */
export class IntegerSum {
  readonly #totals: GrowingDoubles;
  readonly #large = new Map<number, bigint>();

  constructor(groupCount = 16) {
    this.#totals = new GrowingDoubles(groupCount);
  }

  get memoryBytes(): number {
    return this.#totals.byteLength + this.#large.size * 96;
  }

  ensure(groupCount: number, budget?: Budget): boolean {
    return this.#totals.ensure(groupCount, budget);
  }

  close(): void {
    this.#totals.close();
  }

  get #sums(): Float64Array {
    return this.#totals.values;
  }

  addAll(
    groups: Int32Array,
    values: NumberArray,
    factor: number,
    base: number,
    validity: Uint8Array | undefined,
    weights: Int32Array | undefined,
    rowCount: number,
  ): void {
    const sums = this.#sums;
    if (validity === undefined && weights === undefined) {
      // Both terms are at most 2^53 − 1 in size: a sum below 2^53 is exact.
      const add = integerLoopOf(values);
      let row = 0;
      for (;;) {
        row = add(groups, values, factor, base, row, rowCount, sums);
        if (row >= rowCount) return;
        this.#spill(groups[row]!, BigInt(values[row]! * factor + base));
        row += 1;
      }
    }
    for (let row = 0; row < rowCount; row += 1) {
      if (validity !== undefined && validity[row] === 0) continue;
      this.add(
        groups[row]!,
        values[row]! * factor + base,
        weights === undefined ? 1 : weights[row]!,
      );
    }
  }

  add(group: number, value: number, weight: number): void {
    const term = value * weight;
    const sum = this.#sums[group]! + term;
    if (sum < SAFE && sum > -SAFE && term < SAFE && term > -SAFE) this.#sums[group] = sum;
    else this.#spill(group, BigInt(value) * BigInt(weight));
  }

  addBig(group: number, value: bigint): void {
    this.#large.set(group, (this.#large.get(group) ?? 0n) + value);
  }

  value(group: number): bigint {
    return BigInt(this.#sums[group]!) + (this.#large.get(group) ?? 0n);
  }

  /** As a number where it is one exactly; undefined: ask `value`. */
  small(group: number): number | undefined {
    return this.#large.size === 0 || !this.#large.has(group) ? this.#sums[group]! : undefined;
  }

  #spill(group: number, term: bigint): void {
    this.addBig(group, BigInt(this.#sums[group]!) + term);
    this.#sums[group] = 0;
  }
}

const SAFE = 2 ** 53;

/**
 * Exact sums of numerics: a sum of coefficients for each scale that occurs, and how many terms have it, so that the longest
 * scale present is shown and a retraction can shrink it.
 */
export class DecimalSum {
  readonly #byScale = new Map<number, ScaleSum>();
  #groupCount = 16;
  readonly #special = new Map<number, { nan: number; plus: number; minus: number }>();

  get memoryBytes(): number {
    let bytes = this.#special.size * 64;
    for (const { sums, counts } of this.#byScale.values())
      bytes += sums.memoryBytes + counts.byteLength;
    return bytes;
  }

  ensure(groupCount: number, budget?: Budget): boolean {
    this.#groupCount = Math.max(this.#groupCount, groupCount);
    for (const { sums, counts } of this.#byScale.values())
      if (!sums.ensure(groupCount, budget) || !counts.ensure(groupCount, budget)) return false;
    return true;
  }

  addVector(
    groups: Int32Array,
    vector: Vector,
    weights: Int32Array | undefined,
    rowCount: number,
  ): void {
    if (vector.rep === 'number') {
      const { sums, counts: growing } = this.#of(vector.scale);
      const counts = growing.values;
      sums.addAll(
        groups,
        vector.values,
        vector.factor,
        vector.base,
        vector.validity,
        weights,
        rowCount,
      );
      for (let row = 0; row < rowCount; row += 1) {
        if (vector.validity !== undefined && vector.validity[row] === 0) continue;
        const group = groups[row]!;
        counts[group] = counts[group]! + (weights === undefined ? 1 : weights[row]!);
      }
      return;
    }
    for (let row = 0; row < rowCount; row += 1) {
      const datum = datumAt(vector, row);
      if (datum !== null)
        this.add(groups[row]!, datum as Decimal, weights === undefined ? 1 : weights[row]!);
    }
  }

  add(group: number, value: Decimal, weight: number): void {
    if (value.special !== undefined) {
      const counts = this.#special.get(group) ?? { nan: 0, plus: 0, minus: 0 };
      this.#special.set(group, counts);
      if (value.special === 'NaN') counts.nan += weight;
      else if (value.special === 'Infinity') counts.plus += weight;
      else counts.minus += weight;
      return;
    }
    const { sums, counts: growing } = this.#of(value.scale);
    const counts = growing.values;
    sums.addBig(group, value.coefficient * BigInt(weight));
    counts[group] = counts[group]! + weight;
  }

  mergeGroup(group: number, from: DecimalSum, fromGroup: number): void {
    for (const [scale, { sums, counts }] of from.#byScale) {
      const count = counts.values[fromGroup]!;
      if (count === 0) continue;
      const own = this.#of(scale);
      own.sums.addBig(group, sums.value(fromGroup));
      own.counts.values[group] = own.counts.values[group]! + count;
    }
    const special = from.#special.get(fromGroup);
    if (special === undefined) return;
    if (special.nan !== 0) this.add(group, Decimal.NaN, special.nan);
    if (special.plus !== 0) this.add(group, Decimal.Infinity, special.plus);
    if (special.minus !== 0) this.add(group, Decimal.NegativeInfinity, special.minus);
  }

  value(group: number): Decimal {
    const special = this.#special.get(group);
    if (special !== undefined) {
      if (special.nan > 0 || (special.plus > 0 && special.minus > 0)) return Decimal.NaN;
      if (special.plus > 0) return Decimal.Infinity;
      if (special.minus > 0) return Decimal.NegativeInfinity;
    }
    let scale = 0;
    for (const [each, { counts }] of this.#byScale)
      if (counts.values[group] !== 0 && each > scale) scale = each;
    let coefficient = 0n;
    for (const [each, { sums }] of this.#byScale) {
      const sum = sums.value(group);
      // Terms of a longer scale that are all gone have left nothing.
      if (sum !== 0n)
        coefficient +=
          each <= scale ? sum * 10n ** BigInt(scale - each) : sum / 10n ** BigInt(each - scale);
    }
    return new Decimal(coefficient, scale);
  }

  #of(scale: number): ScaleSum {
    let entry = this.#byScale.get(scale);
    if (entry === undefined) {
      entry = {
        sums: new IntegerSum(this.#groupCount),
        counts: new GrowingDoubles(this.#groupCount),
      };
      this.#byScale.set(scale, entry);
    }
    return entry;
  }
}

type ScaleSum = { readonly sums: IntegerSum; readonly counts: GrowingDoubles };
