import { assert } from '../base/errors.ts';
import { slabDoubles } from '../base/slab.ts';
import { datumAt, vectorFromData } from '../columns/build.ts';
import { numberAt } from '../columns/cells.ts';
import { compareDatums } from '../columns/compare.ts';
import { isNumberKind, type SqlType } from '../columns/types.ts';
import { Decimal, type Datum } from '../columns/values.ts';
import type { NumberVector, Vector } from '../columns/vector.ts';
import type { AggregateState } from '../operators/aggregates/state.ts';
import type { AggregateCall } from '../plan/logical.ts';
import { CountsScratch } from './counts-scratch.ts';
import { NumberCounts } from './number-counts.ts';
import { OrderedCounts } from './ordered-counts.ts';

/** The values of one argument by group, of which the least and the greatest are asked for: any value may leave. */
export interface Extremes {
  readonly memoryBytes: number;
  ensure(groupCount: number): void;
  add(groups: Int32Array, rowCount: number, vector: Vector, weights: Int32Array | undefined): void;
  /** The numbers of the answer are soon forgotten. */
  finish(groups: Int32Array, count: number, fn: 'min' | 'max'): Vector;
}

/** What min and max of one argument can share; undefined where its values are no numbers. */
export function createExtremes(type: SqlType): Extremes | undefined {
  if (isNumberKind(type.kind)) return new NumberExtremes(type);
  return type.kind === 'numeric' ? new NumericExtremes(type) : undefined;
}

/** min and max of numbers, by group: any value may leave. */
class NumberExtremes implements Extremes {
  readonly #type: SqlType;
  readonly #scratch = new CountsScratch();
  readonly #groups: NumberCounts[] = [];
  /** Integers beyond 2^53, of the groups that have some. */
  readonly #large = new Map<number, OrderedCounts>();

  constructor(type: SqlType) {
    this.#type = type;
  }

  get memoryBytes(): number {
    return this.#groups.reduce((bytes, group) => bytes + group.memoryBytes, 0);
  }

  ensure(groupCount: number): void {
    while (this.#groups.length < groupCount) this.#groups.push(new NumberCounts());
  }

  add(groups: Int32Array, rowCount: number, vector: Vector, weights: Int32Array | undefined): void {
    if (vector.rep === 'number') {
      const { values, validity, factor, base } = vector;
      for (let row = 0; row < rowCount; row += 1) {
        if (validity !== undefined && validity[row] === 0) continue;
        const value = numberAt(values[row]!, factor, base);
        this.#groups[groups[row]!]!.add(
          // There is one zero.
          value === 0 ? 0 : value,
          weights === undefined ? 1 : weights[row]!,
          this.#scratch,
        );
      }
      return;
    }
    for (let row = 0; row < rowCount; row += 1) {
      const datum = datumAt(vector, row);
      if (datum === null) continue;
      const group = groups[row]!;
      const weight = weights === undefined ? 1 : weights[row]!;
      if (typeof datum === 'number')
        this.#groups[group]!.add(datum === 0 ? 0 : datum, weight, this.#scratch);
      else this.#addLarge(group, datum as bigint, weight);
    }
  }

  #addLarge(group: number, value: bigint, weight: number): void {
    const order = this.#large.get(group) ?? new OrderedCounts();
    this.#large.set(group, order);
    assert(order.add(value, weight, compareIntegers), 'a value leaves a group that it came to');
    if (order.distinctCount === 0) this.#large.delete(group);
  }

  finish(groups: Int32Array, count: number, fn: 'min' | 'max'): Vector {
    if (this.#large.size > 0)
      return vectorFromData(
        this.#type,
        Array.from({ length: count }, (_, at) => this.#extreme(groups[at]!, fn)),
      );
    return numbers(this.#type, 0, count, (at) => this.#numberOf(groups[at]!, fn));
  }

  #numberOf(group: number, fn: 'min' | 'max'): number | undefined {
    const counts = this.#groups[group]!;
    return fn === 'min' ? counts.least(this.#scratch) : counts.greatest(this.#scratch);
  }

  #extreme(group: number, fn: 'min' | 'max'): Datum {
    const number = this.#numberOf(group, fn) ?? null;
    const order = this.#large.get(group);
    if (order === undefined) return number;
    const large = (fn === 'min' ? order.best : order.worst) as bigint;
    return number === null || large < number === (fn === 'min') ? large : number;
  }
}

/** Undefined is NULL. */
function numbers(
  type: SqlType,
  scale: number,
  count: number,
  numberOf: (at: number) => number | undefined,
): NumberVector {
  const values = slabDoubles(count);
  let validity: Uint8Array | undefined;
  for (let at = 0; at < count; at += 1) {
    const value = numberOf(at);
    if (value === undefined) {
      validity ??= new Uint8Array(count).fill(1);
      validity[at] = 0;
    } else values[at] = value;
  }
  return { rep: 'number', type, values, validity, factor: 1, base: 0, scale, bounds: undefined };
}

function compareIntegers(a: Datum, b: Datum): number {
  return (a as bigint) < (b as bigint) ? -1 : (a as bigint) > (b as bigint) ? 1 : 0;
}

/** Scales whose coefficients are kept as doubles; a column has one, or few. */
const SCALES_MAX = 4;

/**
 * min and max of numerics, by group: coefficients of the first few scales as numbers, what else there is (coefficients beyond 2^53, NaN,
 * infinities, further scales) by comparing. Of equal values the longest scale is shown.
 */
class NumericExtremes implements Extremes {
  readonly #type: SqlType;
  readonly #scratch = new CountsScratch();
  /** Never fewer: where a value belongs must not depend on when it is asked. */
  readonly #scales: { readonly scale: number; readonly groups: (NumberCounts | undefined)[] }[] =
    [];
  /** From both ends. */
  readonly #others = new Map<
    number,
    { readonly min: OrderedCounts; readonly max: OrderedCounts }
  >();
  #groupCount = 0;

  constructor(type: SqlType) {
    this.#type = type;
  }

  get memoryBytes(): number {
    let bytes = 0;
    for (const { groups } of this.#scales)
      for (const group of groups) bytes += group?.memoryBytes ?? 0;
    return bytes;
  }

  ensure(groupCount: number): void {
    this.#groupCount = groupCount;
    for (const { groups } of this.#scales)
      while (groups.length < groupCount) groups.push(undefined);
  }

  add(groups: Int32Array, rowCount: number, vector: Vector, weights: Int32Array | undefined): void {
    if (vector.rep === 'number') {
      const counts = this.#groupsOf(vector.scale);
      if (counts !== undefined) {
        this.#addNumbers(counts, groups, rowCount, vector, weights);
        return;
      }
    }
    for (let row = 0; row < rowCount; row += 1) {
      const datum = datumAt(vector, row);
      if (datum !== null)
        this.#addDecimal(groups[row]!, datum as Decimal, weights === undefined ? 1 : weights[row]!);
    }
  }

  finish(groups: Int32Array, count: number, fn: 'min' | 'max'): Vector {
    const only = this.#scales.length === 1 && this.#others.size === 0 ? this.#scales[0] : undefined;
    if (only === undefined)
      return vectorFromData(
        this.#type,
        Array.from({ length: count }, (_, at) => this.#extreme(groups[at]!, fn)),
      );
    return numbers(this.#type, only.scale, count, (at) =>
      this.#numberOf(only.groups[groups[at]!], fn),
    );
  }

  #addNumbers(
    counts: (NumberCounts | undefined)[],
    groups: Int32Array,
    rowCount: number,
    { values, validity, factor, base, scale }: NumberVector,
    weights: Int32Array | undefined,
  ): void {
    for (let row = 0; row < rowCount; row += 1) {
      if (validity !== undefined && validity[row] === 0) continue;
      const group = groups[row]!;
      const weight = weights === undefined ? 1 : weights[row]!;
      const value = numberAt(values[row]!, factor, base);
      if (value >= -Number.MAX_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER)
        // There is one zero.
        (counts[group] ??= new NumberCounts()).add(value === 0 ? 0 : value, weight, this.#scratch);
      else this.#addOther(group, new Decimal(BigInt(value), scale), weight);
    }
  }

  #addDecimal(group: number, value: Decimal, weight: number): void {
    const coefficient = Number(value.coefficient);
    const counts =
      value.special === undefined && Number.isSafeInteger(coefficient)
        ? this.#groupsOf(value.scale)
        : undefined;
    if (counts === undefined) this.#addOther(group, value, weight);
    else (counts[group] ??= new NumberCounts()).add(coefficient, weight, this.#scratch);
  }

  #addOther(group: number, value: Decimal, weight: number): void {
    const orders = this.#others.get(group) ?? {
      min: new OrderedCounts(),
      max: new OrderedCounts(),
    };
    this.#others.set(group, orders);
    const done =
      orders.min.add(value, weight, bestLeast) && orders.max.add(value, weight, bestGreatest);
    assert(done, 'a value leaves a group that it came to');
    if (orders.min.distinctCount === 0) this.#others.delete(group);
  }

  /** Undefined for a scale that came after the first few. */
  #groupsOf(scale: number): (NumberCounts | undefined)[] | undefined {
    for (const each of this.#scales) if (each.scale === scale) return each.groups;
    if (this.#scales.length === SCALES_MAX) return undefined;
    const groups: (NumberCounts | undefined)[] = [];
    while (groups.length < this.#groupCount) groups.push(undefined);
    this.#scales.push({ scale, groups });
    return groups;
  }

  #numberOf(counts: NumberCounts | undefined, fn: 'min' | 'max'): number | undefined {
    return fn === 'min' ? counts?.least(this.#scratch) : counts?.greatest(this.#scratch);
  }

  #extreme(group: number, fn: 'min' | 'max'): Datum {
    const compare = fn === 'min' ? bestLeast : bestGreatest;
    let best: Datum | undefined = this.#others.get(group)?.[fn].best;
    for (const { scale, groups } of this.#scales) {
      const number = this.#numberOf(groups[group], fn);
      if (number === undefined) continue;
      const value = new Decimal(BigInt(number), scale);
      if (best === undefined || compare(value, best) < 0) best = value;
    }
    return best ?? null;
  }
}

function bestLeast(a: Datum, b: Datum): number {
  return compareDatums(a, b, 'numeric') || longestFirst(a, b);
}

function bestGreatest(a: Datum, b: Datum): number {
  return compareDatums(b, a, 'numeric') || longestFirst(a, b);
}

function longestFirst(a: Datum, b: Datum): number {
  return (b as Decimal).scale - (a as Decimal).scale;
}

/** One end of the values of a group. */
export class ExtremeEnd implements AggregateState {
  readonly #extremes: Extremes;
  readonly #fn: 'min' | 'max';

  constructor(extremes: Extremes, fn: 'min' | 'max') {
    this.#extremes = extremes;
    this.#fn = fn;
  }

  get memoryBytes(): number {
    return this.#extremes.memoryBytes;
  }

  ensure(groupCount: number): boolean {
    this.#extremes.ensure(groupCount);
    return true;
  }

  add(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void {
    this.#extremes.add(groups, rowCount, args[0]!, weights);
  }

  mergeGroup(): void {
    assert(false, 'extremes of a view are not merged');
  }

  finish(groups: Int32Array, count: number): Vector {
    return this.#extremes.finish(groups, count, this.#fn);
  }
}

/** min or max of what is no number (texts, intervals, …) by a counted order of all values: any value may leave. */
export class ExtremeCounts implements AggregateState {
  readonly #groups: OrderedCounts[] = [];
  readonly #compare: (a: Datum, b: Datum) => number;
  readonly #type: SqlType;

  constructor(call: AggregateCall) {
    this.#type = call.type;
    const { kind } = call.type;
    const sign = call.fn === 'max' ? -1 : 1;
    this.#compare = (a, b) => compareDatums(a, b, kind) * sign;
  }

  get memoryBytes(): number {
    return this.#groups.reduce((bytes, group) => bytes + group.distinctCount * 16 + 64, 0);
  }

  ensure(groupCount: number): boolean {
    while (this.#groups.length < groupCount) this.#groups.push(new OrderedCounts());
    return true;
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
      const done = this.#groups[groups[row]!]!.add(
        datum,
        weights === undefined ? 1 : weights[row]!,
        this.#compare,
      );
      assert(done, 'a value leaves a group that it came to');
    }
  }

  mergeGroup(): void {
    assert(false, 'extremes of a view are not merged');
  }

  finish(groups: Int32Array, count: number): Vector {
    return vectorFromData(
      this.#type,
      Array.from({ length: count }, (_, at) => this.#groups[groups[at]!]!.best ?? null),
    );
  }
}
