import { assert, DbError, notSupported } from '../../base/errors.ts';
import { datumAt, vectorFromData } from '../../columns/build.ts';
import { compareDatums } from '../../columns/compare.ts';
import type { SqlType, TypeKind } from '../../columns/types.ts';
import { Decimal, Interval, normalInteger, type Datum } from '../../columns/values.ts';
import type { Vector } from '../../columns/vector.ts';
import { divide } from '../../expressions/decimal-arithmetic.ts';
import type { AggregateCall } from '../../plan/logical.ts';
import { DecimalSum, IntegerSum } from './integer-sum.ts';
import { ExactSum } from './exact-sum.ts';
import { createMomentState } from './moments.ts';
import { createOrderedState } from './ordered.ts';

/**
 * The aggregate algebra: one state for queries, views, tiles, samples and shards. A row's term is a pure function of the row,
 * the sum of terms is exact, `finish` is a pure function of the sums: so any order, any split and any retraction give the
 * same bits. Arrays are indexed by group id; a weight w adds w copies, a negative one takes them back.
 */
export interface AggregateState {
  readonly memoryBytes: number;
  /** Makes room for groups 0 … groupCount−1. */
  ensure(groupCount: number): void;
  /** Dense argument vectors (none for count(*)); `groups` and `weights` by row. */
  add(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void;
  /** Adds another state's group; both were made for the same call. */
  mergeGroup(group: number, from: AggregateState, fromGroup: number): void;
  finish(groups: Int32Array, count: number): Vector;
}

/** DISTINCT, FILTER and the order of arguments are the operator's business: a state sees the rows that count. */
export function createAggregateState(call: AggregateCall): AggregateState {
  const argument = call.args[0]?.type;
  switch (call.fn) {
    case 'count':
      return new CountState(call.args.length > 0);
    case 'sum':
      switch (argument!.kind) {
        case 'float4':
        case 'float8':
          return new FloatSumState(call.type, false);
        case 'numeric':
          return new NumericSumState(call.type, false);
        case 'interval':
          return new IntervalSumState(false);
        default:
          return new IntegerSumState(call.type, false);
      }
    case 'avg':
      switch (argument!.kind) {
        case 'float4':
        case 'float8':
          return new FloatSumState(call.type, true);
        case 'numeric':
          return new NumericSumState(call.type, true);
        case 'interval':
          return new IntervalSumState(true);
        default:
          return new IntegerSumState(call.type, true);
      }
    case 'min':
    case 'max':
      return new ExtremeState(call.type, call.fn === 'max');
    case 'bool_and':
    case 'bool_or':
      return new BooleanState(call.type, call.fn === 'bool_and');
    case 'bit_and':
    case 'bit_or':
    case 'bit_xor':
      return new BitState(call.type, call.fn);
    case 'var_pop':
    case 'var_samp':
    case 'stddev_pop':
    case 'stddev_samp':
    case 'covar_pop':
    case 'covar_samp':
    case 'corr':
    case 'regr_count':
    case 'regr_avgx':
    case 'regr_avgy':
    case 'regr_sxx':
    case 'regr_syy':
    case 'regr_sxy':
    case 'regr_slope':
    case 'regr_intercept':
    case 'regr_r2':
      return createMomentState(call);
    case 'string_agg':
    case 'percentile_cont':
    case 'percentile_disc':
    case 'mode':
      return createOrderedState(call);
  }
}

/** Counts of rows that are not NULL, by group. */
export class Counts {
  values: Float64Array = new Float64Array(16);

  ensure(groupCount: number): void {
    if (groupCount <= this.values.length) return;
    let next = this.values.length;
    while (next < groupCount) next *= 2;
    const grown = new Float64Array(next);
    grown.set(this.values);
    this.values = grown;
  }

  addAll(
    groups: Int32Array,
    vector: Vector | undefined,
    weights: Int32Array | undefined,
    rowCount: number,
  ): void {
    const { values } = this;
    const validity = vector?.validity;
    const nulls = vector?.rep === 'object' ? vector.values : undefined;
    if (validity === undefined && nulls === undefined && weights === undefined) {
      for (let row = 0; row < rowCount; row += 1) {
        const group = groups[row]!;
        values[group] = values[group]! + 1;
      }
      return;
    }
    for (let row = 0; row < rowCount; row += 1) {
      if (
        (validity !== undefined && validity[row] === 0) ||
        (nulls !== undefined && nulls[row] === null)
      )
        continue;
      const group = groups[row]!;
      values[group] = values[group]! + (weights === undefined ? 1 : weights[row]!);
    }
  }
}

class CountState implements AggregateState {
  readonly #counts = new Counts();
  readonly #ofArgument: boolean;

  constructor(ofArgument: boolean) {
    this.#ofArgument = ofArgument;
  }

  get memoryBytes(): number {
    return this.#counts.values.byteLength;
  }

  ensure(groupCount: number): void {
    this.#counts.ensure(groupCount);
  }

  add(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void {
    this.#counts.addAll(groups, this.#ofArgument ? args[0] : undefined, weights, rowCount);
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof CountState, 'states of one call are merged');
    this.#counts.values[group] = this.#counts.values[group]! + from.#counts.values[fromGroup]!;
  }

  finish(groups: Int32Array, count: number): Vector {
    const values = new Float64Array(count);
    for (let at = 0; at < count; at += 1) values[at] = this.#counts.values[groups[at]!]!;
    return { rep: 'number', type: { kind: 'int8' }, values, factor: 1, base: 0, scale: 0 };
  }
}

/** sum and avg of int2, int4, int8. */
class IntegerSumState implements AggregateState {
  readonly #sums = new IntegerSum();
  readonly #counts = new Counts();
  readonly #type: SqlType;
  readonly #average: boolean;

  constructor(type: SqlType, average: boolean) {
    this.#type = type;
    this.#average = average;
  }

  get memoryBytes(): number {
    return this.#sums.memoryBytes + this.#counts.values.byteLength;
  }

  ensure(groupCount: number): void {
    this.#sums.ensure(groupCount);
    this.#counts.ensure(groupCount);
  }

  add(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void {
    const vector = args[0]!;
    this.#counts.addAll(groups, vector, weights, rowCount);
    if (vector.rep === 'number') {
      this.#sums.addAll(
        groups,
        vector.values,
        vector.factor,
        vector.base,
        vector.validity,
        weights,
        rowCount,
      );
      return;
    }
    for (let row = 0; row < rowCount; row += 1) {
      const datum = datumAt(vector, row);
      if (datum !== null)
        this.#sums.addBig(
          groups[row]!,
          BigInt(datum as number | bigint) * BigInt(weights === undefined ? 1 : weights[row]!),
        );
    }
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof IntegerSumState, 'states of one call are merged');
    this.#sums.addBig(group, from.#sums.value(fromGroup));
    this.#counts.values[group] = this.#counts.values[group]! + from.#counts.values[fromGroup]!;
  }

  finish(groups: Int32Array, count: number): Vector {
    const counts = this.#counts.values;
    if (!this.#average && this.#type.kind === 'int8') {
      const values = new Float64Array(count);
      let validity: Uint8Array | undefined;
      for (let at = 0; at < count; at += 1) {
        const group = groups[at]!;
        if (counts[group] === 0) {
          validity ??= new Uint8Array(count).fill(1);
          validity[at] = 0;
          continue;
        }
        const small = this.#sums.small(group);
        if (small === undefined)
          return vectorFromData(
            this.#type,
            Array.from({ length: count }, (_, index) => this.#datum(groups[index]!)),
          );
        values[at] = small === 0 ? 0 : small;
      }
      return { rep: 'number', type: this.#type, values, validity, factor: 1, base: 0, scale: 0 };
    }
    return vectorFromData(
      this.#type,
      Array.from({ length: count }, (_, index) => this.#datum(groups[index]!)),
    );
  }

  #datum(group: number): Datum {
    const rows = this.#counts.values[group]!;
    if (rows === 0) return null;
    const sum = this.#sums.value(group);
    if (this.#average) return divide(new Decimal(sum, 0), new Decimal(BigInt(rows), 0));
    if (this.#type.kind === 'numeric') return new Decimal(sum, 0);
    if (sum >= 2n ** 63n || sum < -(2n ** 63n))
      throw new DbError('22003', 'bigint out of range', { hint: 'Cast the argument to numeric.' });
    return normalInteger(sum);
  }
}

class NumericSumState implements AggregateState {
  readonly #sums = new DecimalSum();
  readonly #counts = new Counts();
  readonly #type: SqlType;
  readonly #average: boolean;

  constructor(type: SqlType, average: boolean) {
    this.#type = type;
    this.#average = average;
  }

  get memoryBytes(): number {
    return this.#sums.memoryBytes + this.#counts.values.byteLength;
  }

  ensure(groupCount: number): void {
    this.#sums.ensure(groupCount);
    this.#counts.ensure(groupCount);
  }

  add(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void {
    this.#counts.addAll(groups, args[0], weights, rowCount);
    this.#sums.addVector(groups, args[0]!, weights, rowCount);
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof NumericSumState, 'states of one call are merged');
    this.#sums.mergeGroup(group, from.#sums, fromGroup);
    this.#counts.values[group] = this.#counts.values[group]! + from.#counts.values[fromGroup]!;
  }

  finish(groups: Int32Array, count: number): Vector {
    const data = Array.from({ length: count }, (_, at): Datum => {
      const group = groups[at]!;
      const rows = this.#counts.values[group]!;
      if (rows === 0) return null;
      const sum = this.#sums.value(group);
      return this.#average ? divide(sum, new Decimal(BigInt(rows), 0)) : sum;
    });
    return vectorFromData(this.#type, data);
  }
}

class FloatSumState implements AggregateState {
  readonly #sums = new ExactSum();
  readonly #counts = new Counts();
  readonly #type: SqlType;
  readonly #average: boolean;

  constructor(type: SqlType, average: boolean) {
    this.#type = type;
    this.#average = average;
  }

  get memoryBytes(): number {
    return this.#sums.memoryBytes + this.#counts.values.byteLength;
  }

  ensure(groupCount: number): void {
    this.#sums.ensure(groupCount);
    this.#counts.ensure(groupCount);
  }

  add(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void {
    const vector = args[0]!;
    this.#counts.addAll(groups, vector, weights, rowCount);
    if (vector.rep === 'number') {
      this.#sums.addAll(
        groups,
        vector.values,
        vector.factor,
        vector.base,
        vector.validity,
        weights,
        rowCount,
      );
      return;
    }
    for (let row = 0; row < rowCount; row += 1) {
      const datum = datumAt(vector, row);
      if (datum !== null)
        this.#sums.add(groups[row]!, datum as number, weights === undefined ? 1 : weights[row]!);
    }
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof FloatSumState, 'states of one call are merged');
    this.#sums.mergeGroup(group, from.#sums, fromGroup);
    this.#counts.values[group] = this.#counts.values[group]! + from.#counts.values[fromGroup]!;
  }

  finish(groups: Int32Array, count: number): Vector {
    const values = new Float64Array(count);
    let validity: Uint8Array | undefined;
    for (let at = 0; at < count; at += 1) {
      const group = groups[at]!;
      const rows = this.#counts.values[group]!;
      if (rows === 0) {
        validity ??= new Uint8Array(count).fill(1);
        validity[at] = 0;
        continue;
      }
      let value = this.#sums.value(group);
      if (!Number.isFinite(value) && !this.#sums.isSpecial(group))
        throw new DbError('22003', 'value out of range: overflow', {
          hint: 'Cast the argument to numeric.',
        });
      if (this.#average) value /= rows;
      values[at] = this.#type.kind === 'float4' ? Math.fround(value) : value;
    }
    return { rep: 'number', type: this.#type, values, validity, factor: 1, base: 0, scale: 0 };
  }
}

class IntervalSumState implements AggregateState {
  readonly #months = new IntegerSum();
  readonly #days = new IntegerSum();
  readonly #micros = new IntegerSum();
  readonly #counts = new Counts();
  readonly #average: boolean;

  constructor(average: boolean) {
    this.#average = average;
  }

  get memoryBytes(): number {
    return this.#months.memoryBytes * 3 + this.#counts.values.byteLength;
  }

  ensure(groupCount: number): void {
    for (const sums of [this.#months, this.#days, this.#micros]) sums.ensure(groupCount);
    this.#counts.ensure(groupCount);
  }

  add(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void {
    this.#counts.addAll(groups, args[0], weights, rowCount);
    for (let row = 0; row < rowCount; row += 1) {
      const datum = datumAt(args[0]!, row);
      if (datum === null) continue;
      const { months, days, micros } = datum as Interval;
      const weight = weights === undefined ? 1 : weights[row]!;
      this.#months.add(groups[row]!, months, weight);
      this.#days.add(groups[row]!, days, weight);
      this.#micros.add(groups[row]!, micros, weight);
    }
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof IntervalSumState, 'states of one call are merged');
    this.#months.addBig(group, from.#months.value(fromGroup));
    this.#days.addBig(group, from.#days.value(fromGroup));
    this.#micros.addBig(group, from.#micros.value(fromGroup));
    this.#counts.values[group] = this.#counts.values[group]! + from.#counts.values[fromGroup]!;
  }

  finish(groups: Int32Array, count: number): Vector {
    const data = Array.from({ length: count }, (_, at): Datum => {
      const group = groups[at]!;
      const rows = this.#counts.values[group]!;
      if (rows === 0) return null;
      let months = Number(this.#months.value(group));
      let days = Number(this.#days.value(group));
      let micros = Number(this.#micros.value(group));
      if (this.#average) {
        // What does not divide moves down: months to days of 30, days to 24 hours, as PostgreSQL divides intervals.
        const monthPart = months / rows;
        months = Math.trunc(monthPart);
        const dayPart = days / rows + (monthPart - months) * 30;
        days = Math.trunc(dayPart);
        micros = Math.round(micros / rows + (dayPart - days) * 86_400_000_000);
      }
      if (
        !Number.isSafeInteger(micros) ||
        Math.abs(months) > 2_147_483_647 ||
        Math.abs(days) > 2_147_483_647
      )
        throw new DbError('22008', 'interval out of range');
      return new Interval(months, days, micros);
    });
    return { rep: 'object', type: { kind: 'interval' }, values: data };
  }
}

/** min and max without retractions; views keep ordered state of their own. */
class ExtremeState implements AggregateState {
  readonly #type: SqlType;
  readonly #kind: TypeKind;
  readonly #max: boolean;
  readonly #sign: 1 | -1;
  #numbers = new Float64Array(16);
  #has = new Uint8Array(16);
  /** Where data are no doubles. */
  #data: Datum[] | undefined;

  constructor(type: SqlType, max: boolean) {
    this.#type = type;
    this.#kind = type.kind;
    this.#max = max;
    this.#sign = max ? 1 : -1;
    if (!NUMBER_KINDS.has(type.kind)) this.#data = [];
  }

  get memoryBytes(): number {
    return this.#numbers.byteLength + this.#has.byteLength + (this.#data?.length ?? 0) * 48;
  }

  ensure(groupCount: number): void {
    if (groupCount <= this.#has.length) return;
    let next = this.#has.length;
    while (next < groupCount) next *= 2;
    const has = new Uint8Array(next);
    has.set(this.#has);
    this.#has = has;
    const numbers = new Float64Array(next);
    numbers.set(this.#numbers);
    this.#numbers = numbers;
  }

  add(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void {
    const vector = args[0]!;
    if (weights !== undefined)
      for (let row = 0; row < rowCount; row += 1)
        if (weights[row]! < 0) throw notSupported('taking rows back from min and max here');
    if (this.#data === undefined && vector.rep === 'number') {
      const { values, validity, factor, base } = vector;
      if (
        factor === 1 &&
        base === 0 &&
        validity === undefined &&
        this.#kind !== 'float4' &&
        this.#kind !== 'float8'
      )
        this.#addPlain(groups, values, rowCount);
      else this.#addNumbers(groups, values, factor, base, validity, rowCount);
      return;
    }
    for (let row = 0; row < rowCount; row += 1) {
      const datum = datumAt(vector, row);
      if (datum !== null) this.#addDatum(groups[row]!, datum);
    }
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof ExtremeState, 'states of one call are merged');
    const datum = from.#datum(fromGroup);
    if (datum !== null) this.#addDatum(group, datum);
  }

  finish(groups: Int32Array, count: number): Vector {
    if (this.#data !== undefined)
      return vectorFromData(
        this.#type,
        Array.from({ length: count }, (_, at) => this.#datum(groups[at]!)),
      );
    const values = new Float64Array(count);
    let validity: Uint8Array | undefined;
    for (let at = 0; at < count; at += 1) {
      const group = groups[at]!;
      if (this.#has[group] === 1) {
        const value = this.#numbers[group]!;
        values[at] = value === 0 ? 0 : value;
      } else {
        validity ??= new Uint8Array(count).fill(1);
        validity[at] = 0;
      }
    }
    return { rep: 'number', type: this.#type, values, validity, factor: 1, base: 0, scale: 0 };
  }

  #addPlain(groups: Int32Array, values: ArrayLike<number>, rowCount: number): void {
    const numbers = this.#numbers;
    const has = this.#has;
    if (this.#max) {
      for (let row = 0; row < rowCount; row += 1) {
        const group = groups[row]!;
        const value = values[row]!;
        if (has[group] === 0 || value > numbers[group]!) {
          numbers[group] = value;
          has[group] = 1;
        }
      }
    } else {
      for (let row = 0; row < rowCount; row += 1) {
        const group = groups[row]!;
        const value = values[row]!;
        if (has[group] === 0 || value < numbers[group]!) {
          numbers[group] = value;
          has[group] = 1;
        }
      }
    }
  }

  #addNumbers(
    groups: Int32Array,
    values: ArrayLike<number>,
    factor: number,
    base: number,
    validity: Uint8Array | undefined,
    rowCount: number,
  ): void {
    const numbers = this.#numbers;
    const has = this.#has;
    const max = this.#max;
    for (let row = 0; row < rowCount; row += 1) {
      if (validity !== undefined && validity[row] === 0) continue;
      const group = groups[row]!;
      const value = values[row]! * factor + base;
      const known = numbers[group]!;
      // NaN is greater than any number.
      if (
        has[group] === 0 ||
        (max
          ? value > known || (value !== value && known === known)
          : value < known || (known !== known && value === value))
      ) {
        numbers[group] = value;
        has[group] = 1;
      }
    }
  }

  #addDatum(group: number, datum: Datum): void {
    if (this.#data === undefined && typeof datum === 'number') {
      SINGLE_GROUP[0] = group;
      SINGLE_VALUE[0] = datum;
      this.#addNumbers(SINGLE_GROUP, SINGLE_VALUE, 1, 0, undefined, 1);
      return;
    }
    if (this.#data === undefined) {
      this.#data = Array.from(this.#has, (has, index) =>
        has === 1 ? this.#numbers[index]! : null,
      );
    }
    const known = this.#data[group] ?? null;
    const order = known === null ? 1 : compareDatums(datum, known, this.#kind) * this.#sign;
    // Of equal numerics the one with the longest scale is shown.
    if (
      order > 0 ||
      (order === 0 && datum instanceof Decimal && datum.scale > (known as Decimal).scale)
    )
      this.#data[group] = datum;
  }

  #datum(group: number): Datum {
    if (this.#data !== undefined) return this.#data[group] ?? null;
    return this.#has[group] === 1 ? this.#numbers[group]! : null;
  }
}

const SINGLE_GROUP = new Int32Array(1);
const SINGLE_VALUE = new Float64Array(1);
const NUMBER_KINDS = new Set<TypeKind>([
  'int2',
  'int4',
  'int8',
  'float4',
  'float8',
  'date',
  'time',
  'timestamp',
  'timestamptz',
]);

class BooleanState implements AggregateState {
  readonly #type: SqlType;
  readonly #and: boolean;
  readonly #yes = new Counts();
  readonly #no = new Counts();

  constructor(type: SqlType, and: boolean) {
    this.#type = type;
    this.#and = and;
  }

  get memoryBytes(): number {
    return this.#yes.values.byteLength * 2;
  }

  ensure(groupCount: number): void {
    this.#yes.ensure(groupCount);
    this.#no.ensure(groupCount);
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
      const counts = (datum === true ? this.#yes : this.#no).values;
      const group = groups[row]!;
      counts[group] = counts[group]! + (weights === undefined ? 1 : weights[row]!);
    }
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof BooleanState, 'states of one call are merged');
    this.#yes.values[group] = this.#yes.values[group]! + from.#yes.values[fromGroup]!;
    this.#no.values[group] = this.#no.values[group]! + from.#no.values[fromGroup]!;
  }

  finish(groups: Int32Array, count: number): Vector {
    return vectorFromData(
      this.#type,
      Array.from({ length: count }, (_, at): Datum => {
        const yes = this.#yes.values[groups[at]!]!;
        const no = this.#no.values[groups[at]!]!;
        return yes + no === 0 ? null : this.#and ? no === 0 : yes > 0;
      }),
    );
  }
}

/** A counter for each bit, so that rows can be taken back. */
class BitState implements AggregateState {
  readonly #type: SqlType;
  readonly #fn: 'bit_and' | 'bit_or' | 'bit_xor';
  readonly #width: number;
  readonly #rows = new Counts();
  #bits: Float64Array;

  constructor(type: SqlType, fn: 'bit_and' | 'bit_or' | 'bit_xor') {
    this.#type = type;
    this.#fn = fn;
    this.#width = type.kind === 'int2' ? 16 : type.kind === 'int4' ? 32 : 64;
    this.#bits = new Float64Array(16 * this.#width);
  }

  get memoryBytes(): number {
    return this.#bits.byteLength + this.#rows.values.byteLength;
  }

  ensure(groupCount: number): void {
    this.#rows.ensure(groupCount);
    if (this.#rows.values.length * this.#width <= this.#bits.length) return;
    const grown = new Float64Array(this.#rows.values.length * this.#width);
    grown.set(this.#bits);
    this.#bits = grown;
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
      const group = groups[row]!;
      const weight = weights === undefined ? 1 : weights[row]!;
      this.#rows.values[group] = this.#rows.values[group]! + weight;
      const word = BigInt.asUintN(this.#width, BigInt(datum as number | bigint));
      for (let bit = 0; bit < this.#width; bit += 1) {
        if ((word >> BigInt(bit)) & 1n)
          this.#bits[group * this.#width + bit] = this.#bits[group * this.#width + bit]! + weight;
      }
    }
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof BitState, 'states of one call are merged');
    this.#rows.values[group] = this.#rows.values[group]! + from.#rows.values[fromGroup]!;
    for (let bit = 0; bit < this.#width; bit += 1) {
      this.#bits[group * this.#width + bit] =
        this.#bits[group * this.#width + bit]! + from.#bits[fromGroup * this.#width + bit]!;
    }
  }

  finish(groups: Int32Array, count: number): Vector {
    return vectorFromData(
      this.#type,
      Array.from({ length: count }, (_, at): Datum => {
        const group = groups[at]!;
        const rows = this.#rows.values[group]!;
        if (rows === 0) return null;
        let word = 0n;
        for (let bit = 0; bit < this.#width; bit += 1) {
          const set = this.#bits[group * this.#width + bit]!;
          const on =
            this.#fn === 'bit_and' ? set === rows : this.#fn === 'bit_or' ? set > 0 : set % 2 !== 0;
          if (on) word |= 1n << BigInt(bit);
        }
        return normalInteger(BigInt.asIntN(this.#width, word));
      }),
    );
  }
}
