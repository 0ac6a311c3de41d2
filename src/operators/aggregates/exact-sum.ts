import { BATCH_ROW_COUNT_MAX } from '../../columns/batch.ts';
import type { NumberArray, NumberBounds } from '../../columns/vector.ts';
import type { Budget } from '../operator.ts';
import { GrowingDoubles } from './growing.ts';
import { isFloatArray, sumLoopsOf } from './loops.ts';

/**
 * Exact sums of doubles, by group: the sum shown is the correctly rounded exact sum, whatever the order, the batches, the
 * merges or the retractions. Binned (error-free) summation: with |x| < 2^E each x is split into parts on fixed grids, which are
 * added in doubles without rounding: three of them, and a fourth once a value needs it; what lies outside the grids goes
 * to a wide accumulator (a bigint in units of 2^−1074). Where the zone map proves that no value can lie outside, nothing is
 * tested. Sources: Demmel & Nguyen, "Parallel reproducible summation" (IEEE TC 2015); Rump, Ogita & Oishi, "Accurate
 * floating-point summation" (SISC 2008); final rounding after Boldo & Melquiond, "Emulation of FMA and correctly rounded
 * sums" (IEEE TC 2008).
 */
export class ExactSum {
  /** `#width` bins a group. */
  #growing: GrowingDoubles;
  #width: 3 | 4 = 3;
  /** Many of the values so far needed the fourth bin, beside their number. */
  #needsFourth = false;
  /** So many more may need it now until it is many. */
  #fourthsLeft = FOURTHS_FEW;
  /** Exponent of the grids; raised when a larger value comes. NaN before the first value. */
  #exponent = Number.NaN;
  /** What lies below the grids' reach, and what rounds to each of them when added and taken away again: the powers take longer than the sums of a few rows. */
  #grids: Float64Array = NO_GRIDS;
  /** The values of a batch of departures, negated. */
  #negated: Float64Array = NO_VALUES;
  /** Terms in the bins: beyond 2^26 they are emptied, so that no bin ever rounds. */
  #terms = 0;
  readonly #wide = new Map<number, bigint>();
  #special: Special | undefined;

  constructor(groupCount = 16) {
    this.#growing = new GrowingDoubles(groupCount * 3);
  }

  get memoryBytes(): number {
    return (
      this.#bins.byteLength +
      this.#negated.byteLength +
      this.#wide.size * 320 +
      (this.#special === undefined ? 0 : (this.#bins.length / this.#width) * 12)
    );
  }

  ensure(groupCount: number, budget?: Budget): boolean {
    return this.#growing.ensure(groupCount * this.#width, budget);
  }

  close(): void {
    this.#growing.close();
  }

  get #bins(): Float64Array {
    return this.#growing.values;
  }

  /**
   * Adds values[i] to groups[i], `weights[i]` times; rows whose validity is 0 are left out. `bounds` are what is proven of all
   * values.
   */
  addAll(
    groups: Int32Array,
    values: NumberArray,
    factor: number,
    base: number,
    validity: Uint8Array | undefined,
    weights: Int32Array | undefined,
    rowCount: number,
    bounds?: NumberBounds,
  ): void {
    if (this.#terms + rowCount > TERMS_MAX) this.#empty();
    this.#terms += rowCount;
    const isScaled = factor !== 1 || base !== 0;
    if (this.#exponent !== this.#exponent) {
      if (bounds?.finite === true && !isScaled) this.#raise(2 ** (bounds.bitEnd - 2));
      else this.#choose(values, factor, base, validity, rowCount);
    }
    if (weights !== undefined || (isScaled && isFloatArray(values)) || rowCount <= FEW_ROWS_MAX) {
      if (weights !== undefined && rowCount > FEW_ROWS_MAX && areDepartures(weights, rowCount)) {
        this.#takeAway(groups, values, factor, base, validity, rowCount);
        return;
      }
      for (let row = 0; row < rowCount; row += 1) {
        if (validity !== undefined && validity[row] === 0) continue;
        const value = isScaled ? values[row]! * factor + base : values[row]!;
        this.add(groups[row]!, value, weights === undefined ? 1 : weights[row]!);
      }
      return;
    }
    const loops = sumLoopsOf(values);
    if (bounds !== undefined && this.#isProven(bounds)) {
      const add = this.#width === 3 ? loops.proven3 : loops.proven4;
      add(groups, values, factor, base, validity, 0, rowCount, this.#bins, this.#grids);
      return;
    }
    this.#fourthsLeft = Math.min(FOURTHS_FEW, this.#fourthsLeft + rowCount * FOURTHS_SHARE);
    let row = 0;
    for (;;) {
      const isFew = this.#width === 4 && !this.#needsFourth;
      const add = this.#width === 3 ? loops.tested3 : isFew ? loops.tested3of4 : loops.tested4;
      row = add(groups, values, factor, base, validity, row, rowCount, this.#bins, this.#grids);
      if (row >= rowCount) return;
      const value = values[row]! * factor + base;
      if (isFew) {
        this.add(groups[row]!, value, 1);
        this.#fourthsLeft -= 1;
        if (this.#fourthsLeft <= 0) this.#needsFourth = true;
      } else this.#addOutside(groups[row]!, value, 1);
      row += 1;
    }
  }

  /** Takes values[i] from groups[i]: the parts of −x are those of x, negated. */
  #takeAway(
    groups: Int32Array,
    values: NumberArray,
    factor: number,
    base: number,
    validity: Uint8Array | undefined,
    rowCount: number,
  ): void {
    if (this.#negated.length < rowCount) this.#negated = new Float64Array(rowCount);
    const negated = this.#negated;
    for (let row = 0; row < rowCount; row += 1) negated[row] = -(values[row]! * factor + base);
    const loops = sumLoopsOf(negated);
    let row = 0;
    for (;;) {
      const add = this.#width === 3 ? loops.tested3 : loops.tested4;
      row = add(groups, negated, 1, 0, validity, row, rowCount, this.#bins, this.#grids);
      if (row >= rowCount) return;
      this.#addOutside(groups[row]!, -negated[row]!, -1);
      row += 1;
    }
  }

  add(group: number, x: number, weight: number): void {
    if (this.#exponent !== this.#exponent) this.#raise(x);
    const grids = this.#grids;
    const limit = grids[0]!;
    const m1 = grids[1]!;
    const m2 = grids[2]!;
    const m3 = grids[3]!;
    const m4 = grids[4]!;
    const q1 = x + m1 - m1;
    const r1 = x - q1;
    const q2 = r1 + m2 - m2;
    const r2 = r1 - q2;
    const q3 = r2 + m3 - m3;
    const r3 = r2 - q3;
    if (
      x < limit &&
      x > -limit &&
      (r3 === 0 || (this.#width === 4 && r3 + m4 - m4 === r3)) &&
      weight <= WEIGHT_MAX &&
      weight >= -WEIGHT_MAX
    ) {
      const copies = weight < 0 ? -weight : weight;
      if (this.#terms + copies > TERMS_MAX) this.#empty();
      this.#terms += copies;
      const at = group * this.#width;
      const bins = this.#bins;
      bins[at] = bins[at]! + q1 * weight;
      bins[at + 1] = bins[at + 1]! + q2 * weight;
      bins[at + 2] = bins[at + 2]! + q3 * weight;
      if (r3 !== 0) bins[at + 3] = bins[at + 3]! + r3 * weight;
    } else this.#addOutside(group, x, weight);
  }

  mergeGroup(group: number, from: ExactSum, fromGroup: number): void {
    const total = from.#exact(fromGroup);
    if (total !== 0n) this.#wide.set(group, (this.#wide.get(group) ?? 0n) + total);
    if (from.#special !== undefined) {
      this.#special ??= new Special();
      this.#special.merge(group, from.#special, fromGroup);
    }
  }

  /** The correctly rounded sum; an empty one is 0. */
  value(group: number): number {
    const special = this.#special?.valueOf(group);
    if (special !== undefined) return special;
    if (this.#wide.size === 0 || !this.#wide.has(group)) {
      const at = group * this.#width;
      const bins = this.#bins;
      const fourth = this.#width === 3 ? 0 : bins[at + 3]!;
      const sum = roundedSum(bins[at]!, bins[at + 1]!, bins[at + 2]!, fourth);
      if (sum !== undefined) return sum === 0 ? 0 : sum;
    }
    return fromUnits(this.#exact(group));
  }

  /** NaN or an infinity is among the terms: the exact sum says nothing. */
  isSpecial(group: number): boolean {
    return this.#special?.valueOf(group) !== undefined;
  }

  /** The exact sum in units of 2^−1074. */
  units(group: number): bigint {
    return this.#exact(group);
  }

  #exact(group: number): bigint {
    let units = this.#wide.get(group) ?? 0n;
    const start = group * this.#width;
    for (let at = start; at < start + this.#width; at += 1) units += toUnits(this.#bins[at]!);
    return units;
  }

  /** Whether every value that the bounds allow falls on the grids. */
  #isProven({ finite, bitMin, bitEnd }: NumberBounds): boolean {
    const exponent = this.#exponent;
    return finite && bitEnd <= exponent && bitMin >= exponent - (this.#width === 3 ? 77 : 103);
  }

  #addOutside(group: number, x: number, weight: number): void {
    if (!(x - x === 0)) {
      this.#special ??= new Special();
      this.#special.add(group, x, weight);
      return;
    }
    if (Math.abs(x) >= this.#grids[0]!) {
      if (Math.abs(x) < RAISE_MAX) {
        this.#raise(x);
        this.add(group, x, weight);
        return;
      }
    } else if (this.#width === 3 && Math.abs(weight) <= WEIGHT_MAX) {
      this.#addFourthBin();
      this.add(group, x, weight);
      return;
    }
    this.#wide.set(group, (this.#wide.get(group) ?? 0n) + toUnits(x) * BigInt(weight));
  }

  #choose(
    values: ArrayLike<number>,
    factor: number,
    base: number,
    validity: Uint8Array | undefined,
    rowCount: number,
  ): void {
    let most = 0;
    for (let row = 0; row < rowCount; row += 1) {
      if (validity !== undefined && validity[row] === 0) continue;
      const size = Math.abs(values[row]! * factor + base);
      if (size > most && size < RAISE_MAX) most = size;
    }
    this.#raise(most);
  }

  /** Grids that reach beyond |x|; the bins are emptied into the wide accumulators first. */
  #raise(x: number): void {
    this.#empty();
    const size = Math.abs(x);
    const exponent =
      size > 0 && size < RAISE_MAX
        ? Math.max(EXPONENT_MIN, Math.ceil(Math.log2(size)) + 4)
        : EXPONENT_MIN;
    this.#exponent = exponent;
    this.#grids = Float64Array.of(
      2 ** exponent,
      1.5 * 2 ** (exponent + 27),
      1.5 * 2 ** (exponent + 1),
      1.5 * 2 ** (exponent - 25),
      1.5 * 2 ** (exponent - 51),
    );
  }

  #addFourthBin(): void {
    const before = this.#growing;
    const three = before.values;
    const groupCount = three.length / 3;
    this.#growing = new GrowingDoubles(groupCount * 4);
    const four = this.#bins;
    for (let group = 0; group < groupCount; group += 1) {
      four[group * 4] = three[group * 3]!;
      four[group * 4 + 1] = three[group * 3 + 1]!;
      four[group * 4 + 2] = three[group * 3 + 2]!;
    }
    before.close();
    this.#width = 4;
  }

  #empty(): void {
    this.#terms = 0;
    const bins = this.#bins;
    const width = this.#width;
    for (let at = 0; at < bins.length; at += width) {
      let isEmpty = true;
      for (let bin = 0; bin < width; bin += 1) if (bins[at + bin] !== 0) isEmpty = false;
      if (isEmpty) continue;
      const group = at / width;
      this.#wide.set(group, this.#exact(group));
      bins.fill(0, at, at + width);
    }
  }
}

function areDepartures(weights: Int32Array, rowCount: number): boolean {
  for (let row = 0; row < rowCount; row += 1) if (weights[row] !== -1) return false;
  return true;
}

const NO_VALUES = new Float64Array(0);
/** Nothing lies below them: the first value makes some. */
const NO_GRIDS = new Float64Array(5);
/** Up to here rows are added one by one: to begin a loop over arrays takes as long. */
const FEW_ROWS_MAX = 4;
/**
 * So many values that need the fourth bin are added one by one, and such a share of the rows that follow; where more do, all go by the loop of
 * four. However short the batches are.
 */
const FOURTHS_FEW = 8;
const FOURTHS_SHARE = FOURTHS_FEW / BATCH_ROW_COUNT_MAX;
/** A term has at most 26 bits in each bin: with 2^26 of them a bin stays below 2^53. */
const TERMS_MAX = 2 ** 26;
const WEIGHT_MAX = 2 ** 20;
/** Values from here on go to the wide accumulators: their grids would overflow. */
const RAISE_MAX = 2 ** 900;
/** Grids never lie so low that their own constants lose bits. */
const EXPONENT_MIN = -800;

/** NaN and infinities, counted so that they can be taken back. */
class Special {
  readonly #counts = new Map<number, { nan: number; plus: number; minus: number }>();

  add(group: number, x: number, weight: number): void {
    const counts = this.#counts.get(group) ?? { nan: 0, plus: 0, minus: 0 };
    this.#counts.set(group, counts);
    if (x !== x) counts.nan += weight;
    else if (x > 0) counts.plus += weight;
    else counts.minus += weight;
    if (counts.nan === 0 && counts.plus === 0 && counts.minus === 0) this.#counts.delete(group);
  }

  merge(group: number, from: Special, fromGroup: number): void {
    const counts = from.#counts.get(fromGroup);
    if (counts === undefined) return;
    if (counts.nan !== 0) this.add(group, Number.NaN, counts.nan);
    if (counts.plus !== 0) this.add(group, Infinity, counts.plus);
    if (counts.minus !== 0) this.add(group, -Infinity, counts.minus);
  }

  valueOf(group: number): number | undefined {
    const counts = this.#counts.get(group);
    if (counts === undefined) return undefined;
    if (counts.nan > 0 || (counts.plus > 0 && counts.minus > 0)) return Number.NaN;
    return counts.plus > 0 ? Infinity : -Infinity;
  }
}

const bits = new Float64Array(1);
const words = new Uint32Array(bits.buffer);
const wideWord = new BigUint64Array(bits.buffer);

/** A finite double as a multiple of 2^−1074. */
export function toUnits(x: number): bigint {
  if (x === 0) return 0n;
  bits[0] = x;
  const word = wideWord[0]!;
  const exponent = Number((word >> 52n) & 0x7ffn);
  let mantissa = word & 0xf_ffff_ffff_ffffn;
  if (exponent > 0) mantissa |= 0x10_0000_0000_0000n;
  const units = mantissa << BigInt(exponent > 0 ? exponent - 1 : 0);
  return x < 0 ? -units : units;
}

/** The double nearest to units · 2^−1074, ties to even; ±Infinity beyond the largest. */
export function fromUnits(units: bigint): number {
  return ratio(units, 1n, -1074);
}

/** The double nearest to numerator / denominator · 2^exponent, ties to even. */
export function ratio(numerator: bigint, denominator: bigint, exponent: number): number {
  if (numerator === 0n) return 0;
  const negative = numerator < 0n !== denominator < 0n;
  let top = numerator < 0n ? -numerator : numerator;
  let bottom = denominator < 0n ? -denominator : denominator;
  // A quotient of 55 or 56 bits holds the mantissa and one bit for rounding; what is left only says whether it is exact.
  let shift = 55 - (bitLength(top) - bitLength(bottom));
  // Below the normal range fewer bits are shown.
  const lowest = -1074 - exponent;
  if (-shift < lowest - 2) shift = -(lowest - 2);
  if (shift > 0) top <<= BigInt(shift);
  else bottom <<= BigInt(-shift);
  let quotient = top / bottom;
  if (quotient * bottom !== top) quotient |= 1n;
  // The quotient, its last bit sticky, is rounded once by the conversion below.
  const value = scaled(quotient, exponent - shift);
  return negative ? -value : value;
}

/** quotient · 2^exponent with one rounding; quotient has at most 57 bits, or is small enough to be subnormal. */
function scaled(quotient: bigint, exponent: number): number {
  const length = bitLength(quotient);
  const drop = Math.max(length - 53, -1074 - exponent, 0);
  let kept = quotient;
  if (drop > 0) {
    const cut = BigInt(drop);
    kept = quotient >> cut;
    const rest = quotient - (kept << cut);
    const half = 1n << (cut - 1n);
    if (rest > half || (rest === half && (kept & 1n) === 1n)) kept += 1n;
  }
  let power = exponent + drop;
  let value = Number(kept);
  while (power > 900) {
    value *= 2 ** 900;
    power -= 900;
  }
  while (power < -900) {
    value *= 2 ** -900;
    power += 900;
  }
  return value * 2 ** power;
}

function bitLength(value: bigint): number {
  return (
    value.toString(16).length * 4 - LEADING_ZEROS[Number.parseInt(value.toString(16)[0]!, 16)]!
  );
}

const LEADING_ZEROS = [4, 3, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0];

/** The correctly rounded sum of four doubles, none of them overflowing; undefined where it takes more than doubles to tell. */
export function roundedSum(a: number, b: number, c: number, d: number): number | undefined {
  if (d === 0) return roundedSum3(a, b, c);
  // Exact sums from the smallest up: what is left of each has room in three doubles, nearly always.
  const s2 = c + d;
  const e2 = c - (s2 - (s2 - c)) + (d - (s2 - c));
  const s1 = b + s2;
  const e1 = b - (s1 - (s1 - b)) + (s2 - (s1 - b));
  const s0 = a + s1;
  const e0 = a - (s0 - (s0 - a)) + (s1 - (s0 - a));
  if (e2 === 0) return roundedSum3(s0, e0, e1);
  if (e1 === 0) return roundedSum3(s0, e0, e2);
  return e0 === 0 ? roundedSum3(s0, e1, e2) : undefined;
}

/** The correctly rounded sum of three doubles, none of them overflowing. */
export function roundedSum3(a: number, b: number, c: number): number {
  const uh = b + c;
  const ub = uh - b;
  const ul = b - (uh - ub) + (c - ub);
  const th = a + uh;
  const tb = th - a;
  const tl = a - (th - tb) + (uh - tb);
  return th + oddSum(tl, ul);
}

/** x + y rounded to odd: an inexact result takes the neighbour whose last bit is set. */
function oddSum(x: number, y: number): number {
  const sum = x + y;
  const back = sum - x;
  const error = x - (sum - back) + (y - back);
  if (error === 0) return sum;
  bits[0] = sum;
  if ((words[0]! & 1) === 1) return sum;
  // Towards the error: one unit in the last place, up or down in magnitude.
  if (error > 0 === sum > 0) words[0] = words[0]! + 1;
  else {
    // The last bit is not set: the upper word is touched only where the lower one is nought.
    if (words[0] === 0) words[1] = words[1]! - 1;
    words[0] = words[0]! - 1;
  }
  return bits[0];
}

/** x² as two doubles whose sum is exact (Veltkamp & Dekker), unless it over- or underflows. */
export function twoProduct(x: number, y: number): readonly [number, number] {
  const product = x * y;
  const cx = 134_217_729 * x;
  const cy = 134_217_729 * y;
  const xh = cx - (cx - x);
  const xl = x - xh;
  const yh = cy - (cy - y);
  const yl = y - yh;
  const error = xl * yl - (product - xh * yh - xl * yh - xh * yl);
  return Number.isFinite(error) ? [product, error] : [product, 0];
}
