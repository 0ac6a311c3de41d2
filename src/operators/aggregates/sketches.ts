import { assert, DbError } from '../../base/errors.ts';
import { datumAt, hashRows, vectorFromData } from '../../columns/build.ts';
import { FLOAT8, INT8 } from '../../columns/types.ts';
import type { Datum } from '../../columns/values.ts';
import type { Vector } from '../../columns/vector.ts';
import type { AggregateState } from './state.ts';

/**
 * Aggregates that are defined by a sketch: what they show is a pure function of counts that are exact, so that a scan, a view, a tile and
 * a shard agree, and rows can be taken back.
 */

/** Of a double, the sign, the exponent and six bits of the mantissa: 64 buckets between two powers of two. */
const BUCKET_SHIFT = 14;
export const NAN_BUCKET = 0x1ffff;
const INFINITY_BUCKET = 0x7ff00000 >>> BUCKET_SHIFT;

const double = new Float64Array(1);
const words = new Uint32Array(double.buffer);

/** The bucket of a value: buckets ascend with the values, NaN is the last. */
export function bucketOf(x: number): number {
  if (x !== x) return NAN_BUCKET;
  double[0] = x;
  const high = words[1]!;
  const size = (high & 0x7fff_ffff) >>> BUCKET_SHIFT;
  return high >>> 31 === 1 ? -size : size;
}

/** What a bucket shows: its middle, at most 1/128 away from any value in it. */
export function bucketValue(bucket: number): number {
  if (bucket === NAN_BUCKET) return NaN;
  const size = Math.abs(bucket);
  if (size === 0) return 0;
  words[0] = 0;
  words[1] = size << BUCKET_SHIFT;
  if (size < INFINITY_BUCKET) words[1] |= 1 << (BUCKET_SHIFT - 1);
  return bucket < 0 ? -double[0]! : double[0]!;
}

/** Of `total` values, the number, from 1, of the one that `fraction` of them do not exceed. */
export function rankOf(fraction: number, total: number): number {
  return Math.max(1, Math.ceil(fraction * total));
}

export function assertFraction(fraction: number): void {
  if (fraction >= 0 && fraction <= 1) return;
  throw new DbError('22003', `percentile value ${fraction} is not between 0 and 1`, {
    hint: 'Write approx_percentile(x, 0.99) for the 99th percentile.',
  });
}

/** approx_percentile(x, fraction): the middle of the bucket in which the value of that rank lies. */
export class PercentileState implements AggregateState {
  readonly #groups: Map<number, number>[] = [];
  #fraction: number | undefined;
  #buckets = 0;

  get memoryBytes(): number {
    return this.#groups.length * 64 + this.#buckets * 40;
  }

  ensure(groupCount: number): boolean {
    while (this.#groups.length < groupCount) this.#groups.push(new Map());
    return true;
  }

  add(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void {
    const [values, fractions] = args;
    for (let row = 0; row < rowCount; row += 1) {
      const value = datumAt(values!, row);
      const fraction = datumAt(fractions!, row);
      if (value === null || fraction === null) continue;
      this.#setFraction(fraction as number);
      this.#count(
        this.#groups[groups[row]!]!,
        bucketOf(value as number),
        weights === undefined ? 1 : weights[row]!,
      );
    }
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof PercentileState, 'states of one call are merged');
    if (from.#fraction !== undefined) this.#setFraction(from.#fraction);
    for (const [bucket, count] of from.#groups[fromGroup]!)
      this.#count(this.#groups[group]!, bucket, count);
  }

  finish(groups: Int32Array, count: number): Vector {
    return vectorFromData(
      FLOAT8,
      Array.from({ length: count }, (_, at) => this.#datum(this.#groups[groups[at]!]!)),
    );
  }

  #datum(counts: ReadonlyMap<number, number>): Datum {
    if (counts.size === 0) return null;
    let total = 0;
    for (const count of counts.values()) total += count;
    let left = rankOf(this.#fraction!, total);
    for (const bucket of [...counts.keys()].sort((a, b) => a - b)) {
      left -= counts.get(bucket)!;
      if (left <= 0) return bucketValue(bucket);
    }
    return null;
  }

  #count(counts: Map<number, number>, bucket: number, more: number): void {
    const before = counts.get(bucket);
    const after = (before ?? 0) + more;
    if (after === 0) counts.delete(bucket);
    else counts.set(bucket, after);
    this.#buckets += (after === 0 ? 0 : 1) - (before === undefined ? 0 : 1);
  }

  #setFraction(fraction: number): void {
    if (fraction === this.#fraction) return;
    assertFraction(fraction);
    if (this.#fraction !== undefined)
      throw new DbError('22023', 'the fraction of approx_percentile differs from row to row', {
        hint: 'Give a constant: approx_percentile(x, 0.99).',
      });
    this.#fraction = fraction;
  }
}

const REGISTER_BITS = 12;
const REGISTER_COUNT = 1 << REGISTER_BITS;

/**
 * approx_count_distinct(x): HyperLogLog with 4,096 registers (a standard error of 1.6 %). Instead of each register's greatest rank it
 * counts all ranks, so that rows can be taken back.
 */
export class DistinctState implements AggregateState {
  /** By group: register × 32 + rank → values counted. */
  readonly #groups: Map<number, number>[] = [];
  #entries = 0;

  get memoryBytes(): number {
    return this.#groups.length * 64 + this.#entries * 40;
  }

  ensure(groupCount: number): boolean {
    while (this.#groups.length < groupCount) this.#groups.push(new Map());
    return true;
  }

  add(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void {
    const vector = args[0]!;
    const hashes = hashRows([vector], rowCount);
    for (let row = 0; row < rowCount; row += 1) {
      if (datumAt(vector, row) === null) continue;
      const hash = hashes[row]!;
      const register = hash >>> (32 - REGISTER_BITS);
      const rank = Math.clz32((hash << REGISTER_BITS) | (1 << (REGISTER_BITS - 1))) + 1;
      this.#count(groups[row]!, register * 32 + rank, weights === undefined ? 1 : weights[row]!);
    }
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof DistinctState, 'states of one call are merged');
    for (const [entry, count] of from.#groups[fromGroup]!) this.#count(group, entry, count);
  }

  finish(groups: Int32Array, count: number): Vector {
    const registers = new Uint8Array(REGISTER_COUNT);
    return vectorFromData(
      INT8,
      Array.from({ length: count }, (_, at): Datum => {
        registers.fill(0);
        for (const entry of this.#groups[groups[at]!]!.keys()) {
          const rank = entry & 31;
          if (rank > registers[entry >>> 5]!) registers[entry >>> 5] = rank;
        }
        return estimateDistinct(registers);
      }),
    );
  }

  #count(group: number, entry: number, more: number): void {
    const counts = this.#groups[group]!;
    const before = counts.get(entry);
    const after = (before ?? 0) + more;
    if (after === 0) counts.delete(entry);
    else counts.set(entry, after);
    this.#entries += (after === 0 ? 0 : 1) - (before === undefined ? 0 : 1);
  }
}

/** Flajolet et al. 2007, with linear counting below 2.5 registers' worth and the correction near 2^32. */
function estimateDistinct(registers: Uint8Array): number {
  let sum = 0;
  let zeros = 0;
  for (const register of registers) {
    sum += 2 ** -register;
    if (register === 0) zeros += 1;
  }
  const alpha = 0.7213 / (1 + 1.079 / REGISTER_COUNT);
  const raw = (alpha * REGISTER_COUNT * REGISTER_COUNT) / sum;
  if (raw <= 2.5 * REGISTER_COUNT && zeros > 0)
    return Math.round(REGISTER_COUNT * Math.log(REGISTER_COUNT / zeros));
  const range = 2 ** 32;
  return Math.round(raw <= range / 30 ? raw : -range * Math.log(1 - raw / range));
}
