import { assert, DbError } from '../../base/errors.ts';
import { datumAt, hashRows, vectorFromData } from '../../columns/build.ts';
import {
  estimateDistinct,
  rankOfHash,
  REGISTER_COUNT,
  registerOf,
} from '../../columns/distinct-sketch.ts';
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

/** By group, how often each whole number was counted; one that is counted down to 0 is forgotten. */
class GroupedCounts {
  readonly #groups: Map<number, number>[] = [];
  #entries = 0;

  get memoryBytes(): number {
    return this.#groups.length * 64 + this.#entries * 40;
  }

  ensure(groupCount: number): boolean {
    while (this.#groups.length < groupCount) this.#groups.push(new Map());
    return true;
  }

  of(group: number): ReadonlyMap<number, number> {
    return this.#groups[group]!;
  }

  add(group: number, key: number, more: number): void {
    const counts = this.#groups[group]!;
    const before = counts.get(key);
    const after = (before ?? 0) + more;
    if (after === 0) counts.delete(key);
    else counts.set(key, after);
    this.#entries += (after === 0 ? 0 : 1) - (before === undefined ? 0 : 1);
  }

  mergeGroup(group: number, from: GroupedCounts, fromGroup: number): void {
    for (const [key, count] of from.of(fromGroup)) this.add(group, key, count);
  }
}

/** approx_percentile(x, fraction): the middle of the bucket in which the value of that rank lies. */
export class ApproximatePercentileState implements AggregateState {
  readonly #counts = new GroupedCounts();
  #fraction: number | undefined;

  get memoryBytes(): number {
    return this.#counts.memoryBytes;
  }

  ensure(groupCount: number): boolean {
    return this.#counts.ensure(groupCount);
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
      this.#counts.add(
        groups[row]!,
        bucketOf(value as number),
        weights === undefined ? 1 : weights[row]!,
      );
    }
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof ApproximatePercentileState, 'states of one call are merged');
    if (from.#fraction !== undefined) this.#setFraction(from.#fraction);
    this.#counts.mergeGroup(group, from.#counts, fromGroup);
  }

  finish(groups: Int32Array, count: number): Vector {
    return vectorFromData(
      FLOAT8,
      Array.from({ length: count }, (_, at) => this.#datum(this.#counts.of(groups[at]!))),
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

/**
 * approx_count_distinct(x): HyperLogLog with 4,096 registers (a standard error of 1.6 %). Instead of each register's greatest rank it
 * counts all ranks, so that rows can be taken back.
 */
export class DistinctState implements AggregateState {
  /** By group: register × 32 + rank → values counted. */
  readonly #counts = new GroupedCounts();

  get memoryBytes(): number {
    return this.#counts.memoryBytes;
  }

  ensure(groupCount: number): boolean {
    return this.#counts.ensure(groupCount);
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
      this.#counts.add(
        groups[row]!,
        distinctEntry(hashes[row]!),
        weights === undefined ? 1 : weights[row]!,
      );
    }
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof DistinctState, 'states of one call are merged');
    this.#counts.mergeGroup(group, from.#counts, fromGroup);
  }

  finish(groups: Int32Array, count: number): Vector {
    return vectorFromData(
      INT8,
      Array.from({ length: count }, (_, at): Datum =>
        estimateOfEntries((visit) => {
          for (const entry of this.#counts.of(groups[at]!).keys()) visit(entry);
        }),
      ),
    );
  }
}

/** What approx_count_distinct counts of a value: the register of its hash and the rank there. */
export function distinctEntry(hash: number): number {
  return registerOf(hash) * 32 + rankOfHash(hash);
}

/** What approx_count_distinct shows of the entries that `each` visits. */
export function estimateOfEntries(each: (visit: (entry: number) => void) => void): number {
  const registers = new Uint8Array(REGISTER_COUNT);
  each((entry) => {
    const rank = entry & 31;
    if (rank > registers[entry >>> 5]!) registers[entry >>> 5] = rank;
  });
  return estimateDistinct(registers);
}
