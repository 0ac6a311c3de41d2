import { assert, DbError } from '../../base/errors.ts';
import { datumAt, vectorFromData } from '../../columns/build.ts';
import type { SqlType } from '../../columns/types.ts';
import { Decimal, type Datum } from '../../columns/values.ts';
import { BATCH_ROW_COUNT_MAX } from '../../columns/batch.ts';
import type { NumberBounds, NumberVector, Vector } from '../../columns/vector.ts';
import { divide, DECIMAL_ZERO, multiply, subtract } from '../../expressions/decimal-arithmetic.ts';
import type { AggregateCall, AggregateFunction } from '../../plan/logical.ts';
import type { Budget } from '../operator.ts';
import { ExactSum, ratio, twoProduct } from './exact-sum.ts';
import { DecimalSum } from './integer-sum.ts';
import { Counts, type AggregateState, type RowCounts } from './state.ts';

/** The variance and regression families: exact sums of x, y, x², y², xy, finished in wide arithmetic and rounded once. */
export function createMomentState(
  call: AggregateCall,
  rows: RowCounts | undefined,
): AggregateState {
  if (call.type.kind === 'numeric') return new DecimalVarianceState(call.fn, call.type);
  // A pair counts where neither is NULL.
  return call.args.length === 2
    ? new MomentState(call.fn, call.type, true, undefined)
    : new MomentState(call.fn, call.type, false, rows);
}

/** Sums of squares are in units of 2^−1074, as everything an ExactSum holds. */
const UNIT = -1074;

class MomentState implements AggregateState {
  readonly #fn: AggregateFunction;
  readonly #type: SqlType;
  readonly #pairs: boolean;
  readonly #counts: Counts;
  readonly #x = new ExactSum();
  readonly #xx = new ProductSum();
  readonly #y = new ExactSum();
  readonly #yy = new ProductSum();
  readonly #xy = new ProductSum();

  constructor(fn: AggregateFunction, type: SqlType, pairs: boolean, rows: RowCounts | undefined) {
    this.#counts = new Counts(rows);
    this.#fn = fn;
    this.#type = type;
    this.#pairs = pairs;
  }

  get memoryBytes(): number {
    return this.#sums().reduce((bytes, sum) => bytes + sum.memoryBytes, this.#counts.byteLength);
  }

  ensure(groupCount: number, budget?: Budget): boolean {
    return (
      this.#counts.ensure(groupCount, budget) &&
      this.#sums().every((sum) => sum.ensure(groupCount, budget))
    );
  }

  add(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void {
    // Of two arguments the first is Y, the second X.
    const xs = args.at(-1)!;
    const ys = this.#pairs ? args[0]! : undefined;
    const plain = xs.rep === 'number' ? xs : undefined;
    if (plain !== undefined && ys === undefined) {
      const { values, factor, base, validity, bounds } = plain;
      this.#counts.addAll(groups, plain, weights, rowCount);
      this.#x.addAll(groups, values, factor, base, validity, weights, rowCount, bounds);
      this.#xx.addSquares(groups, plain, weights, rowCount);
      return;
    }
    if (ys === undefined) this.#counts.addAll(groups, xs, weights, rowCount);
    for (let row = 0; row < rowCount; row += 1) {
      let x: number;
      if (plain !== undefined) {
        if (plain.validity !== undefined && plain.validity[row] === 0) continue;
        x = plain.values[row]! * plain.factor + plain.base;
      } else {
        const datum = datumAt(xs, row);
        if (datum === null) continue;
        x = datum as number;
      }
      const y = ys === undefined ? null : datumAt(ys, row);
      if (ys !== undefined && y === null) continue;
      const group = groups[row]!;
      const weight = weights === undefined ? 1 : weights[row]!;
      this.#x.add(group, x, weight);
      this.#xx.add(group, x, x, weight);
      if (y === null) continue;
      this.#counts.add(group, weight);
      this.#y.add(group, y as number, weight);
      this.#yy.add(group, y as number, y as number, weight);
      this.#xy.add(group, x, y as number, weight);
    }
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof MomentState, 'states of one call are merged');
    this.#counts.add(group, from.#counts.of(fromGroup));
    this.#x.mergeGroup(group, from.#x, fromGroup);
    this.#xx.mergeGroup(group, from.#xx, fromGroup);
    this.#y.mergeGroup(group, from.#y, fromGroup);
    this.#yy.mergeGroup(group, from.#yy, fromGroup);
    this.#xy.mergeGroup(group, from.#xy, fromGroup);
  }

  finish(groups: Int32Array, count: number): Vector {
    return vectorFromData(
      this.#type,
      Array.from({ length: count }, (_, at) => this.#datum(groups[at]!)),
    );
  }

  #sums(): (ExactSum | ProductSum)[] {
    return this.#pairs ? [this.#x, this.#xx, this.#y, this.#yy, this.#xy] : [this.#x, this.#xx];
  }

  #datum(group: number): Datum {
    const n = this.#counts.of(group);
    const fn = this.#fn;
    if (fn === 'regr_count') return n;
    if (n === 0) return null;
    if (fn === 'regr_avgx') return this.#x.value(group) / n;
    if (fn === 'regr_avgy') return this.#y.value(group) / n;
    const sample = isOfSample(fn) || fn === 'covar_samp';
    if (sample && n < 2) return null;
    if (this.#sums().some((sum) => sum.isSpecial(group))) return Number.NaN;
    // Squares below 2^−1074 are lost, their sum's square is not: a spread is never less than nothing.
    const xx = (): bigint =>
      notNegative(spread(n, this.#xx.units(group), this.#x.units(group), this.#x.units(group)));
    const yy = (): bigint =>
      notNegative(spread(n, this.#yy.units(group), this.#y.units(group), this.#y.units(group)));
    const xy = (): bigint =>
      spread(n, this.#xy.units(group), this.#x.units(group), this.#y.units(group));
    const divisor = BigInt(n) * BigInt(sample ? n - 1 : n);
    // n·Σxy − Σx·Σy stands in units of 2^−2148.
    const over = (top: bigint, bottom: bigint): number => checked(ratio(top, bottom, UNIT * 2));
    switch (fn) {
      case 'var_pop':
      case 'var_samp':
      case 'stddev_pop':
      case 'stddev_samp':
        return varianceOf(fn, n, xx(), UNIT * 2);
      case 'covar_pop':
      case 'covar_samp':
        return over(xy(), divisor);
      case 'regr_sxx':
        return over(xx(), BigInt(n));
      case 'regr_syy':
        return over(yy(), BigInt(n));
      case 'regr_sxy':
        return over(xy(), BigInt(n));
      case 'regr_slope': {
        const sxx = xx();
        return sxx === 0n ? null : checked(ratio(xy(), sxx, 0));
      }
      case 'regr_intercept': {
        const sxx = xx();
        if (sxx === 0n) return null;
        // (Σy·Sxx − Σx·Sxy) / (n·Sxx)
        return checked(
          ratio(this.#y.units(group) * sxx - this.#x.units(group) * xy(), BigInt(n) * sxx, UNIT),
        );
      }
      case 'corr': {
        const sxx = xx();
        const syy = yy();
        if (sxx === 0n || syy === 0n) return null;
        const sxy = xy();
        const square = ratio(sxy * sxy, sxx * syy, 0);
        return sxy < 0n ? -Math.sqrt(square) : Math.sqrt(square);
      }
      case 'regr_r2': {
        const sxx = xx();
        if (sxx === 0n) return null;
        const syy = yy();
        if (syy === 0n) return 1;
        const sxy = xy();
        return ratio(sxy * sxy, sxx * syy, 0);
      }
      default:
        return null;
    }
  }
}

/** The aggregates that Σx and Σx² of the values are enough for. */
export function isVariance(fn: AggregateFunction): boolean {
  return fn === 'var_pop' || fn === 'stddev_pop' || isOfSample(fn);
}

/** Of one value they are NULL. */
export function isOfSample(fn: AggregateFunction): boolean {
  return fn === 'var_samp' || fn === 'stddev_samp';
}

/** The variance of n values, or its root: `top` is n·Σx² − (Σx)² in units of 2^exponent. */
export function varianceOf(
  fn: AggregateFunction,
  n: number,
  top: bigint,
  exponent: number,
): number {
  const divisor = BigInt(n) * BigInt(isOfSample(fn) ? n - 1 : n);
  const variance = checked(ratio(top, divisor, exponent));
  return fn === 'var_pop' || fn === 'var_samp' ? variance : Math.sqrt(variance);
}

function notNegative(value: bigint): bigint {
  return value < 0n ? 0n : value;
}

/**
 * Exact sums of products, each of them the two doubles of TwoProduct. The lower one lies some fifty binades below the upper: two
 * sums let either find its bins.
 */
class ProductSum {
  readonly #high = new ExactSum();
  readonly #low = new ExactSum();
  #highs = new Float64Array(0);
  #lows = new Float64Array(0);

  get memoryBytes(): number {
    return this.#high.memoryBytes + this.#low.memoryBytes;
  }

  ensure(groupCount: number, budget?: Budget): boolean {
    return this.#high.ensure(groupCount, budget) && this.#low.ensure(groupCount, budget);
  }

  add(group: number, x: number, y: number, weight: number): void {
    const [high, low] = twoProduct(x, y);
    this.#high.add(group, high, weight);
    if (low !== 0) this.#low.add(group, low, weight);
  }

  addSquares(
    groups: Int32Array,
    vector: NumberVector,
    weights: Int32Array | undefined,
    rowCount: number,
  ): void {
    if (this.#highs.length < rowCount) {
      this.#highs = new Float64Array(Math.max(rowCount, BATCH_ROW_COUNT_MAX));
      this.#lows = new Float64Array(this.#highs.length);
    }
    squares(vector, rowCount, this.#highs, this.#lows);
    const { validity } = vector;
    const [high, low] = boundsOfSquares(vector.bounds);
    this.#high.addAll(groups, this.#highs, 1, 0, validity, weights, rowCount, high);
    this.#low.addAll(groups, this.#lows, 1, 0, validity, weights, rowCount, low);
  }

  mergeGroup(group: number, from: ProductSum, fromGroup: number): void {
    this.#high.mergeGroup(group, from.#high, fromGroup);
    this.#low.mergeGroup(group, from.#low, fromGroup);
  }

  units(group: number): bigint {
    return this.#high.units(group) + this.#low.units(group);
  }

  isSpecial(group: number): boolean {
    return this.#high.isSpecial(group) || this.#low.isSpecial(group);
  }
}

/** `twoProduct(x, x)` of all values; where one is NULL, noise. */
export function squares(
  { values, factor, base }: Pick<NumberVector, 'values' | 'factor' | 'base'>,
  rowCount: number,
  highs: Float64Array,
  lows: Float64Array,
): void {
  for (let row = 0; row < rowCount; row += 1) {
    const x = values[row]! * factor + base;
    const square = x * x;
    const scaled = 134_217_729 * x;
    const high = scaled - (scaled - x);
    const low = x - high;
    const error = low * low - (square - high * high - low * high - high * low);
    highs[row] = square;
    lows[row] = error - error === 0 ? error : 0;
  }
}

/** What follows for the two doubles of x², unless they could underflow or overflow. */
function boundsOfSquares(
  bounds: NumberBounds | undefined,
): readonly [NumberBounds | undefined, NumberBounds | undefined] {
  if (bounds?.finite !== true || bounds.bitMin < -500 || bounds.bitEnd > 480)
    return [undefined, undefined];
  const bitMin = bounds.bitMin * 2;
  // Rounding may reach the power of two itself.
  const bitEnd = bounds.bitEnd * 2 + 1;
  const square = { min: 0, max: 2 ** bitEnd, bitMin, bitEnd, finite: true };
  return [square, { ...square, bitEnd: bitEnd - 53 }];
}

/** n·Σab − Σa·Σb, in units of 2^−2148. */
function spread(n: number, products: bigint, a: bigint, b: bigint): bigint {
  return ((BigInt(n) * products) << 1074n) - a * b;
}

function checked(value: number): number {
  if (!Number.isFinite(value))
    throw new DbError('22003', 'value out of range: overflow', {
      hint: 'Cast the argument to numeric.',
    });
  return value;
}

/** var and stddev of integers and numerics: exact decimals, with PostgreSQL's scale of the quotient. */
class DecimalVarianceState implements AggregateState {
  readonly #fn: AggregateFunction;
  readonly #type: SqlType;
  readonly #counts = new Counts();
  readonly #x = new DecimalSum();
  readonly #xx = new DecimalSum();

  constructor(fn: AggregateFunction, type: SqlType) {
    this.#fn = fn;
    this.#type = type;
  }

  get memoryBytes(): number {
    return this.#x.memoryBytes + this.#xx.memoryBytes + this.#counts.byteLength;
  }

  ensure(groupCount: number, budget?: Budget): boolean {
    return [this.#counts, this.#x, this.#xx].every((each) => each.ensure(groupCount, budget));
  }

  add(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void {
    for (let row = 0; row < rowCount; row += 1) {
      const datum = datumAt(args[0]!, row);
      if (datum === null) continue;
      const x = datum instanceof Decimal ? datum : new Decimal(BigInt(datum as number | bigint), 0);
      const group = groups[row]!;
      const weight = weights === undefined ? 1 : weights[row]!;
      this.#counts.add(group, weight);
      this.#x.add(group, x, weight);
      this.#xx.add(
        group,
        x.special === undefined
          ? new Decimal(x.coefficient * x.coefficient, x.scale * 2)
          : x.special === '-Infinity'
            ? Decimal.Infinity
            : x,
        weight,
      );
    }
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof DecimalVarianceState, 'states of one call are merged');
    this.#counts.add(group, from.#counts.of(fromGroup));
    this.#x.mergeGroup(group, from.#x, fromGroup);
    this.#xx.mergeGroup(group, from.#xx, fromGroup);
  }

  finish(groups: Int32Array, count: number): Vector {
    return vectorFromData(
      this.#type,
      Array.from({ length: count }, (_, at) => this.#datum(groups[at]!)),
    );
  }

  #datum(group: number): Datum {
    const n = this.#counts.of(group);
    if (n === 0 || (n < 2 && isOfSample(this.#fn))) return null;
    const x = this.#x.value(group);
    if (x.special !== undefined) return Decimal.NaN;
    return decimalVarianceOf(this.#fn, n, x, this.#xx.value(group));
  }
}

/** The variance of n exact values, or its root: `x` is their sum, `xx` that of their squares. */
export function decimalVarianceOf(
  fn: AggregateFunction,
  n: number,
  x: Decimal,
  xx: Decimal,
): Decimal {
  const top = subtract(multiply(new Decimal(BigInt(n), 0), xx), multiply(x, x));
  if (top.coefficient <= 0n) return DECIMAL_ZERO;
  const divisor = BigInt(n) * BigInt(isOfSample(fn) ? n - 1 : n);
  const variance = divide(top, new Decimal(divisor, 0));
  return fn === 'var_pop' || fn === 'var_samp' ? variance : squareRoot(variance);
}

/** At the scale of the variance, rounded. */
function squareRoot({ coefficient, scale }: Decimal): Decimal {
  const square = coefficient * 10n ** BigInt(scale);
  let root = BigInt(Math.floor(Math.sqrt(Number(square))));
  // Newton's steps from a double's estimate; the last one may be one off either way.
  for (let step = 0; step < 128; step += 1) {
    const next = root === 0n ? 1n : (root + square / root) / 2n;
    if (next === root || next === root + 1n || next === root - 1n) {
      root = next;
      break;
    }
    root = next;
  }
  while (root * root > square) root -= 1n;
  while ((root + 1n) * (root + 1n) <= square) root += 1n;
  if (square - root * root > root) root += 1n;
  return new Decimal(root, scale);
}
