import type { NumberArrayConstructor } from './array-kernels.ts';
import type { NumberBounds } from './vector.ts';

/** Smallest bits between these are looked for by a multiplication: see `#firstUnusualDouble`. */
const BIT_MIN_SCALED = -1000;
const BIT_MAX_SCALED = 52;

/**
 * What decides how numbers are stored, gathered over the chunks of a column. Most values tell nothing new beside the least and the
 * greatest, and one loop over them asks no more than whether that is so.
 */
export class NumberStats {
  nullCount = 0;
  /** Of finite values. */
  min = Infinity;
  max = -Infinity;
  isWhole = true;
  isFloat32 = true;
  hasNaN = false;
  hasPositiveInfinity = false;
  hasNegativeInfinity = false;
  /** A common divisor of all differences to the first value; 0: all are equal so far. */
  divisor = 0;
  /** NaN before there is one. */
  #first = NaN;
  /** The smallest set bit of doubles, and what it is multiplied with to become 1: a power that stands in a loop is made in each turn. */
  #bitMin = 1100;
  #bitScale = 0;

  get nonFinite(): boolean {
    return this.hasNaN || this.hasPositiveInfinity || this.hasNegativeInfinity;
  }

  get sqlMin(): number {
    if (this.hasNegativeInfinity) return -Infinity;
    return this.min <= this.max ? this.min : this.hasPositiveInfinity ? Infinity : NaN;
  }

  get sqlMax(): number {
    if (this.hasNaN) return NaN;
    if (this.hasPositiveInfinity) return Infinity;
    return this.min <= this.max ? this.max : -Infinity;
  }

  /** Values of a type that has fractions. */
  addDoubles(values: Float64Array, validity: Uint8Array | undefined, count: number): void {
    const words = new Int32Array(values.buffer, values.byteOffset, count * 2);
    for (
      let row = this.#firstUnusualDouble(values, validity, 0, count);
      row < count;
      row = this.#firstUnusualDouble(values, validity, row + 1, count)
    ) {
      this.#addBits(words[2 * row]!, words[2 * row + 1]!);
      this.#add(values[row]!);
    }
  }

  /** Values of a type that has no fractions: whole numbers, and for times the infinities. */
  addWhole(values: Float64Array, validity: Uint8Array | undefined, count: number): void {
    // Nobody looks for whole numbers of half the digits that are too far apart for four bytes.
    this.isFloat32 = false;
    for (
      let row = this.#firstUnusualWhole(values, validity, 0, count);
      row < count;
      row = this.#firstUnusualWhole(values, validity, row + 1, count)
    )
      this.#add(values[row]!);
  }

  addValue(value: number): void {
    this.#add(value);
  }

  /** The first present row from `start` on that tells more than whether it is the least or the greatest; `count` where none does. */
  #firstUnusualDouble(
    values: Float64Array,
    validity: Uint8Array | undefined,
    start: number,
    count: number,
  ): number {
    const { isWhole, isFloat32, divisor } = this;
    const first = this.#first;
    const bitMin = this.#bitMin;
    // A value is a multiple of the smallest bit where this product is whole. It is exact: whole numbers do not become so small that
    // bits are lost, others are scaled up, and what grows beyond all bounds has no bits as small as that.
    const isScaled = bitMin >= BIT_MIN_SCALED && bitMin <= (isWhole ? BIT_MAX_SCALED : 0);
    const scale = this.#bitScale;
    const isDivided = isWhole && divisor !== 1;
    let { min, max } = this;
    let row = start;
    for (; row < count; row += 1) {
      if (validity !== undefined && validity[row] === 0) continue;
      const value = values[row]!;
      if (!isScaled || !(value - value === 0)) break;
      const scaled = value * scale;
      if (Math.floor(scaled) !== scaled) break;
      // −0 is whole, but no integer: 1 / −0 tells it from 0.
      if (isWhole && (Math.floor(value) !== value || (value === 0 && 1 / value < 0))) break;
      if (isFloat32 && Math.fround(value) !== value) break;
      if (isDivided && !isMultiple(Math.abs(value - first), divisor)) break;
      if (value < min) min = value;
      if (value > max) max = value;
    }
    this.min = min;
    this.max = max;
    return row;
  }

  #firstUnusualWhole(
    values: Float64Array,
    validity: Uint8Array | undefined,
    start: number,
    count: number,
  ): number {
    const { divisor } = this;
    const first = this.#first;
    const isDivided = this.isWhole && divisor !== 1;
    let { min, max } = this;
    let row = start;
    for (; row < count; row += 1) {
      if (validity !== undefined && validity[row] === 0) continue;
      const value = values[row]!;
      if (!(value - value === 0)) break;
      if (isDivided && !isMultiple(Math.abs(value - first), divisor)) break;
      if (value < min) min = value;
      if (value > max) max = value;
    }
    this.min = min;
    this.max = max;
    return row;
  }

  #add(value: number): void {
    if (!(value - value === 0)) {
      if (value === Infinity) this.hasPositiveInfinity = true;
      else if (value === -Infinity) this.hasNegativeInfinity = true;
      else this.hasNaN = true;
      this.isWhole = false;
      return;
    }
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
    if (Math.floor(value) !== value || (value === 0 && 1 / value < 0)) this.isWhole = false;
    if (this.isFloat32 && Math.fround(value) !== value) this.isFloat32 = false;
    if (this.isWhole && this.divisor !== 1) this.#divide(value);
  }

  #divide(value: number): void {
    if (!(this.#first === this.#first)) this.#first = value;
    const difference = Math.abs(value - this.#first);
    if (difference === 0) return;
    // Differences beyond 2^53 are not exact; such a column gets no frame of reference anyway.
    if (difference > Number.MAX_SAFE_INTEGER) this.divisor = 1;
    else if (this.divisor === 0) this.divisor = difference;
    else if (!isMultiple(difference, this.divisor))
      this.divisor = greatestCommonDivisor(this.divisor, difference);
  }

  #addBits(low: number, high: number): void {
    const exponent = (high >>> 20) & 0x7ff;
    if (exponent === 0x7ff) return;
    const upper = (high & 0xf_ffff) | (exponent === 0 ? 0 : 0x10_0000);
    if (upper === 0 && low === 0) return;
    const unit = (exponent === 0 ? 1 : exponent) - 1075;
    const lowest =
      low !== 0 ? unit + 31 - Math.clz32(low & -low) : unit + 63 - Math.clz32(upper & -upper);
    if (lowest >= this.#bitMin) return;
    this.#bitMin = lowest;
    this.#bitScale = 2 ** -lowest;
  }

  /** With the smallest set bit and the largest exponent of doubles: what exact binned sums need. */
  bounds(isFloat: boolean): NumberBounds | undefined {
    const { min, max } = this;
    if (!(min <= max)) return undefined;
    const largest = Math.max(-min, max);
    const hasBits = isFloat && largest > 0;
    return {
      min,
      max,
      bitMin: hasBits ? this.#bitMin : 0,
      bitEnd: hasBits ? bitEndOf(largest) : 53,
      finite: !this.nonFinite,
    };
  }

  encoding(isFloat4: boolean): {
    readonly array: NumberArrayConstructor;
    readonly factor: number;
    readonly base: number;
  } {
    const { min, max } = this;
    // No value present: one byte a row of nothing.
    if (min > max && !this.nonFinite) return { array: Uint8Array, factor: 1, base: 0 };
    if (
      !this.isWhole ||
      max - min > Number.MAX_SAFE_INTEGER ||
      Math.max(-min, max) > Number.MAX_SAFE_INTEGER
    ) {
      return {
        array: isFloat4 || this.isFloat32 ? Float32Array : Float64Array,
        factor: 1,
        base: 0,
      };
    }
    const plain = plainArray(min, max);
    const factor = this.divisor === 0 ? 1 : this.divisor;
    const framed = unsignedArray((max - min) / factor);
    // At equal width no frame: kernels then read the values as they are.
    if (
      plain !== undefined &&
      (framed === undefined || plain.BYTES_PER_ELEMENT <= framed.BYTES_PER_ELEMENT)
    ) {
      return { array: plain, factor: 1, base: 0 };
    }
    if (framed === undefined || framed.BYTES_PER_ELEMENT === 8) {
      return { array: this.isFloat32 ? Float32Array : Float64Array, factor: 1, base: 0 };
    }
    return { array: framed, factor, base: min };
  }
}

function plainArray(min: number, max: number): NumberArrayConstructor | undefined {
  if (min >= 0)
    return max < 2 ** 8
      ? Uint8Array
      : max < 2 ** 16
        ? Uint16Array
        : max < 2 ** 31
          ? Int32Array
          : max < 2 ** 32
            ? Uint32Array
            : undefined;
  if (min >= -(2 ** 7) && max < 2 ** 7) return Int8Array;
  if (min >= -(2 ** 15) && max < 2 ** 15) return Int16Array;
  return min >= -(2 ** 31) && max < 2 ** 31 ? Int32Array : undefined;
}

function unsignedArray(range: number): NumberArrayConstructor | undefined {
  return range < 2 ** 8
    ? Uint8Array
    : range < 2 ** 16
      ? Uint16Array
      : range < 2 ** 32
        ? Uint32Array
        : undefined;
}

/** Exact where it matters: the product of two whole numbers below 2^53 is compared with one of them. A divisor of 0 divides 0 alone. */
function isMultiple(difference: number, divisor: number): boolean {
  return (
    difference === 0 ||
    (difference <= Number.MAX_SAFE_INTEGER &&
      Math.round(difference / divisor) * divisor === difference)
  );
}

/** Where the bits of a finite double that is not 0 end, as a power of two. */
function bitEndOf(value: number): number {
  const [, high] = new Int32Array(Float64Array.of(value).buffer);
  return Math.max(1, (high! >>> 20) & 0x7ff) - 1075 + 53;
}

function greatestCommonDivisor(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}
