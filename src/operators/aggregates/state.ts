import { assert, DbError, notSupported } from '../../base/errors.ts';
import { divideInterval } from '../../expressions/datetime.ts';
import type { MemoryAccount } from '../../base/memory.ts';
import { ownDoubles, type DoublesMaker } from '../../base/slab.ts';
import { datumAt, vectorFromData } from '../../columns/build.ts';
import { compareDatums } from '../../columns/compare.ts';
import type { SqlType, TypeKind } from '../../columns/types.ts';
import { Decimal, Interval, normalInteger, type Datum } from '../../columns/values.ts';
import type { NumberArray, Vector } from '../../columns/vector.ts';
import { divide, toDouble } from '../../expressions/decimal-arithmetic.ts';
import type { AggregateCall } from '../../plan/logical.ts';
import { DecimalSum, IntegerSum } from './integer-sum.ts';
import type { Budget } from '../operator.ts';
import { ExactSum } from './exact-sum.ts';
import { GrowingDoubles } from './growing.ts';
import { extremeLoopsOf, isFloatArray } from './loops.ts';
import { createMomentState } from './moments.ts';
import { createOrderedState } from './ordered.ts';
import { ApproximatePercentileState, DistinctState } from './sketches.ts';

/**
 * The aggregate algebra: one state for queries, views, tiles, samples and shards. A row's term is a pure function of the row,
 * the sum of terms is exact, `finish` is a pure function of the sums: so any order, any split and any retraction give the
 * same bits. Arrays are indexed by group id; a weight w adds w copies, a negative one takes them back.
 */
export interface AggregateState {
  readonly memoryBytes: number;
  /** Makes room for groups 0 … groupCount−1. False: it goes on when called again; nothing may be added until then. Without a budget: at once. */
  ensure(groupCount: number, budget?: Budget): boolean;
  /** Dense argument vectors (none for count(*)); `groups` and `weights` by row. */
  add(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void;
  /** Adds another state's group; both were made for the same call. */
  mergeGroup(group: number, from: AggregateState, fromGroup: number): void;
  /** `doubles`: where the numbers of an answer go that is soon forgotten. */
  finish(groups: Int32Array, count: number, doubles?: DoublesMaker): Vector;
  /**
   * Of aggregates that go through a group's values again: does so for these groups, that `finish` has it. False: the budget is used up, and it
   * goes on when called again. What was not settled is by `finish`, at once.
   */
  settle?(groups: Int32Array, count: number, budget: Budget): boolean;
  /** Gives back what it holds: it is looked at no more. */
  close?(): void;
  /** Of counts, sums and averages: what a group has so far, as doubles. */
  tally?(group: number): { readonly sum: number; readonly count: number };
}

/**
 * DISTINCT, FILTER and the order of arguments are the operator's business: a state sees the rows that count. Where those are all
 * rows of its groups, `rows` counts them for every state at once. States that keep values account for them in `memory`, until they are closed.
 */
export function createAggregateState(
  call: AggregateCall,
  rows?: RowCounts,
  memory?: MemoryAccount,
): AggregateState {
  const argument = call.args[0]?.type;
  switch (call.fn) {
    case 'count':
      return new CountState(call.args.length > 0, rows);
    case 'sum':
      switch (argument!.kind) {
        case 'float4':
        case 'float8':
          return new FloatSumState(call.type, false, rows);
        case 'numeric':
          return new NumericSumState(call.type, false, rows);
        case 'interval':
          return new IntervalSumState(false, rows);
        default:
          return new IntegerSumState(call.type, false, rows);
      }
    case 'avg':
      switch (argument!.kind) {
        case 'float4':
        case 'float8':
          return new FloatSumState(call.type, true, rows);
        case 'numeric':
          return new NumericSumState(call.type, true, rows);
        case 'interval':
          return new IntervalSumState(true, rows);
        default:
          return new IntegerSumState(call.type, true, rows);
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
      return createMomentState(call, rows);
    case 'string_agg':
    case 'percentile_cont':
    case 'percentile_disc':
    case 'mode':
      return createOrderedState(call, memory);
    case 'approx_percentile':
      return new ApproximatePercentileState();
    case 'approx_count_distinct':
      return new DistinctState();
  }
}

/** Rows by group, all of them. */
export class RowCounts {
  readonly #counts = new GrowingDoubles(16);

  get values(): Float64Array {
    return this.#counts.values;
  }

  ensure(groupCount: number, budget?: Budget): boolean {
    return this.#counts.ensure(groupCount, budget);
  }

  close(): void {
    this.#counts.close();
  }

  addAll(groups: Int32Array, weights: Int32Array | undefined, rowCount: number): void {
    const { values } = this;
    if (weights === undefined) {
      for (let row = 0; row < rowCount; row += 1) {
        const group = groups[row]!;
        values[group] = values[group]! + 1;
      }
    } else {
      for (let row = 0; row < rowCount; row += 1) {
        const group = groups[row]!;
        values[group] = values[group]! + weights[row]!;
      }
    }
  }
}

/** Rows that are not NULL, by group: counted one by one, or as those of `rows` that are not NULL, which costs nothing where none is. */
export class Counts {
  /** Rows that are not NULL; with `rows`, those that are. */
  readonly #own = new RowCounts();
  readonly #rows: RowCounts | undefined;

  constructor(rows?: RowCounts) {
    this.#rows = rows;
  }

  get byteLength(): number {
    return this.#own.values.byteLength;
  }

  of(group: number): number {
    const own = this.#own.values[group]!;
    return this.#rows === undefined ? own : this.#rows.values[group]! - own;
  }

  ensure(groupCount: number, budget?: Budget): boolean {
    return this.#own.ensure(groupCount, budget);
  }

  close(): void {
    this.#own.close();
  }

  /** Rows counted by the owner of `rows` may not be added here. */
  add(group: number, count: number): void {
    assert(this.#rows === undefined, 'rows are counted once');
    this.#own.values[group] = this.#own.values[group]! + count;
  }

  addAll(
    groups: Int32Array,
    vector: Vector | undefined,
    weights: Int32Array | undefined,
    rowCount: number,
  ): void {
    const validity = vector?.validity;
    const nulls = vector?.rep === 'object' ? vector.values : undefined;
    const isShared = this.#rows !== undefined;
    if (validity === undefined && nulls === undefined) {
      if (!isShared) this.#own.addAll(groups, weights, rowCount);
      return;
    }
    const { values } = this.#own;
    for (let row = 0; row < rowCount; row += 1) {
      const isNull =
        (validity !== undefined && validity[row] === 0) ||
        (nulls !== undefined && nulls[row] === null);
      if (isNull !== isShared) continue;
      const group = groups[row]!;
      values[group] = values[group]! + (weights === undefined ? 1 : weights[row]!);
    }
  }
}

class CountState implements AggregateState {
  readonly #counts: Counts;
  readonly #ofArgument: boolean;

  constructor(ofArgument: boolean, rows: RowCounts | undefined) {
    this.#counts = new Counts(rows);
    this.#ofArgument = ofArgument;
  }

  get memoryBytes(): number {
    return this.#counts.byteLength;
  }

  ensure(groupCount: number, budget?: Budget): boolean {
    return this.#counts.ensure(groupCount, budget);
  }

  close(): void {
    this.#counts.close();
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
    this.#counts.add(group, from.#counts.of(fromGroup));
  }

  tally(group: number): { readonly sum: number; readonly count: number } {
    const count = this.#counts.of(group);
    return { sum: count, count };
  }

  finish(groups: Int32Array, count: number, doubles: DoublesMaker = ownDoubles): Vector {
    const values = doubles(count);
    for (let at = 0; at < count; at += 1) values[at] = this.#counts.of(groups[at]!);
    return { rep: 'number', type: { kind: 'int8' }, values, factor: 1, base: 0, scale: 0 };
  }
}

/** sum and avg of int2, int4, int8. */
class IntegerSumState implements AggregateState {
  readonly #sums = new IntegerSum();
  readonly #counts: Counts;
  readonly #type: SqlType;
  readonly #average: boolean;

  constructor(type: SqlType, average: boolean, rows: RowCounts | undefined) {
    this.#counts = new Counts(rows);
    this.#type = type;
    this.#average = average;
  }

  get memoryBytes(): number {
    return this.#sums.memoryBytes + this.#counts.byteLength;
  }

  ensure(groupCount: number, budget?: Budget): boolean {
    return this.#sums.ensure(groupCount, budget) && this.#counts.ensure(groupCount, budget);
  }

  close(): void {
    this.#sums.close();
    this.#counts.close();
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
    this.#counts.add(group, from.#counts.of(fromGroup));
  }

  tally(group: number): { readonly sum: number; readonly count: number } {
    return {
      sum: this.#sums.small(group) ?? Number(this.#sums.value(group)),
      count: this.#counts.of(group),
    };
  }

  finish(groups: Int32Array, count: number, doubles: DoublesMaker = ownDoubles): Vector {
    if (!this.#average && this.#type.kind === 'int8') {
      const values = doubles(count);
      let validity: Uint8Array | undefined;
      for (let at = 0; at < count; at += 1) {
        const group = groups[at]!;
        if (this.#counts.of(group) === 0) {
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
    const rows = this.#counts.of(group);
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
  readonly #counts: Counts;
  readonly #type: SqlType;
  readonly #average: boolean;

  constructor(type: SqlType, average: boolean, rows: RowCounts | undefined) {
    this.#counts = new Counts(rows);
    this.#type = type;
    this.#average = average;
  }

  get memoryBytes(): number {
    return this.#sums.memoryBytes + this.#counts.byteLength;
  }

  ensure(groupCount: number, budget?: Budget): boolean {
    return this.#sums.ensure(groupCount, budget) && this.#counts.ensure(groupCount, budget);
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
    this.#counts.add(group, from.#counts.of(fromGroup));
  }

  tally(group: number): { readonly sum: number; readonly count: number } {
    return { sum: toDouble(this.#sums.value(group)), count: this.#counts.of(group) };
  }

  finish(groups: Int32Array, count: number): Vector {
    const data = Array.from({ length: count }, (_, at): Datum => {
      const group = groups[at]!;
      const rows = this.#counts.of(group);
      if (rows === 0) return null;
      const sum = this.#sums.value(group);
      return this.#average ? divide(sum, new Decimal(BigInt(rows), 0)) : sum;
    });
    return vectorFromData(this.#type, data);
  }
}

export class FloatSumState implements AggregateState {
  readonly #sums: ExactSum;
  readonly #counts: Counts;
  readonly #type: SqlType;
  readonly #average: boolean;

  constructor(
    type: SqlType,
    average: boolean,
    rows: RowCounts | undefined,
    shared?: FloatSumState,
  ) {
    this.#sums = shared === undefined ? new ExactSum() : shared.#sums;
    this.#counts = shared === undefined ? new Counts(rows) : shared.#counts;
    this.#type = type;
    this.#average = average;
  }

  /** The sum or average of the same rows, which are to be added to one of both. */
  other(type: SqlType, average: boolean): FloatSumState {
    return new FloatSumState(type, average, undefined, this);
  }

  get memoryBytes(): number {
    return this.#sums.memoryBytes + this.#counts.byteLength;
  }

  ensure(groupCount: number, budget?: Budget): boolean {
    return this.#sums.ensure(groupCount, budget) && this.#counts.ensure(groupCount, budget);
  }

  close(): void {
    this.#sums.close();
    this.#counts.close();
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
        vector.bounds,
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
    this.#counts.add(group, from.#counts.of(fromGroup));
  }

  tally(group: number): { readonly sum: number; readonly count: number } {
    return { sum: this.#sums.value(group), count: this.#counts.of(group) };
  }

  finish(groups: Int32Array, count: number, doubles: DoublesMaker = ownDoubles): Vector {
    const values = doubles(count);
    let validity: Uint8Array | undefined;
    for (let at = 0; at < count; at += 1) {
      const group = groups[at]!;
      const rows = this.#counts.of(group);
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
  readonly #counts: Counts;
  readonly #average: boolean;

  constructor(average: boolean, rows: RowCounts | undefined) {
    this.#counts = new Counts(rows);
    this.#average = average;
  }

  get memoryBytes(): number {
    return this.#months.memoryBytes * 3 + this.#counts.byteLength;
  }

  ensure(groupCount: number, budget?: Budget): boolean {
    return [this.#months, this.#days, this.#micros, this.#counts].every((each) =>
      each.ensure(groupCount, budget),
    );
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
    this.#counts.add(group, from.#counts.of(fromGroup));
  }

  finish(groups: Int32Array, count: number): Vector {
    const data = Array.from({ length: count }, (_, at): Datum => {
      const group = groups[at]!;
      const rows = this.#counts.of(group);
      if (rows === 0) return null;
      const sum = new Interval(
        Number(this.#months.value(group)),
        Number(this.#days.value(group)),
        Number(this.#micros.value(group)),
      );
      const result = this.#average ? divideInterval(sum, rows) : sum;
      const { months, days, micros } = result;
      if (
        !Number.isSafeInteger(micros) ||
        Math.abs(months) > 2_147_483_647 ||
        Math.abs(days) > 2_147_483_647
      )
        throw new DbError('22008', 'interval out of range');
      return result;
    });
    return { rep: 'object', type: { kind: 'interval' }, values: data };
  }
}

/**
 * min and max without retractions; views keep ordered state of their own. Numbers of which none is a NaN go through `#best`; the
 * rest, through data.
 */
class ExtremeState implements AggregateState {
  readonly #type: SqlType;
  readonly #kind: TypeKind;
  readonly #max: boolean;
  readonly #sign: 1 | -1;
  /** NaN: none yet. numeric: coefficients of `#scale`. */
  readonly #best = new GrowingDoubles(16, Number.NaN);
  #scale: number | undefined;
  #data: (Datum | undefined)[] | undefined;

  constructor(type: SqlType, max: boolean) {
    this.#type = type;
    this.#kind = type.kind;
    this.#max = max;
    this.#sign = max ? 1 : -1;
  }

  get memoryBytes(): number {
    return this.#best.byteLength + (this.#data?.length ?? 0) * 48;
  }

  ensure(groupCount: number, budget?: Budget): boolean {
    return this.#best.ensure(groupCount, budget);
  }

  close(): void {
    this.#best.close();
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
    if (vector.rep === 'number' && (this.#scale ?? vector.scale) === vector.scale) {
      const { values, validity, factor, base, bounds } = vector;
      if (!isFloatArray(values) || bounds?.finite === true || !hasNaN(values, rowCount)) {
        this.#scale = vector.scale;
        const loops = extremeLoopsOf(values);
        const loop = this.#max ? loops.max : loops.min;
        loop(groups, values, factor, base, validity, rowCount, this.#best.values);
        return;
      }
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
    if (this.#data !== undefined || this.#scale === undefined)
      return vectorFromData(
        this.#type,
        Array.from({ length: count }, (_, at) => this.#datum(groups[at]!)),
      );
    const values = new Float64Array(count);
    const best = this.#best.values;
    let validity: Uint8Array | undefined;
    for (let at = 0; at < count; at += 1) {
      const value = best[groups[at]!]!;
      if (value === value) {
        values[at] = value === 0 ? 0 : value;
      } else {
        validity ??= new Uint8Array(count).fill(1);
        validity[at] = 0;
      }
    }
    const scale = this.#scale;
    return { rep: 'number', type: this.#type, values, validity, factor: 1, base: 0, scale };
  }

  #addDatum(group: number, datum: Datum): void {
    this.#data ??= [];
    this.#data[group] = this.#better(this.#data[group] ?? null, datum);
  }

  #better(known: Datum, datum: Datum): Datum {
    if (known === null || datum === null) return known ?? datum;
    const order = compareDatums(datum, known, this.#kind) * this.#sign;
    // Of equal numerics the one with the longest scale is shown.
    return order > 0 ||
      (order === 0 && datum instanceof Decimal && datum.scale > (known as Decimal).scale)
      ? datum
      : known;
  }

  #datum(group: number): Datum {
    const best = this.#best.values[group]!;
    const number =
      best !== best
        ? null
        : this.#kind === 'numeric'
          ? new Decimal(BigInt(best), this.#scale!)
          : best;
    const datum = this.#better(number, this.#data?.[group] ?? null);
    return datum === 0 ? 0 : datum;
  }
}

/** Where the value is NULL it is noise, maybe NaN: then the data tell. */
function hasNaN(values: NumberArray, rowCount: number): boolean {
  for (let row = 0; row < rowCount; row += 1) if (values[row] !== values[row]) return true;
  return false;
}

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
    return this.#yes.byteLength * 2;
  }

  ensure(groupCount: number, budget?: Budget): boolean {
    return this.#yes.ensure(groupCount, budget) && this.#no.ensure(groupCount, budget);
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
      const counts = datum === true ? this.#yes : this.#no;
      counts.add(groups[row]!, weights === undefined ? 1 : weights[row]!);
    }
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof BooleanState, 'states of one call are merged');
    this.#yes.add(group, from.#yes.of(fromGroup));
    this.#no.add(group, from.#no.of(fromGroup));
  }

  finish(groups: Int32Array, count: number): Vector {
    return vectorFromData(
      this.#type,
      Array.from({ length: count }, (_, at): Datum => {
        const yes = this.#yes.of(groups[at]!);
        const no = this.#no.of(groups[at]!);
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
  readonly #rows = new RowCounts();
  readonly #bits: GrowingDoubles;

  constructor(type: SqlType, fn: 'bit_and' | 'bit_or' | 'bit_xor') {
    this.#type = type;
    this.#fn = fn;
    this.#width = type.kind === 'int2' ? 16 : type.kind === 'int4' ? 32 : 64;
    this.#bits = new GrowingDoubles(16 * this.#width);
  }

  get memoryBytes(): number {
    return this.#bits.byteLength + this.#rows.values.byteLength;
  }

  ensure(groupCount: number, budget?: Budget): boolean {
    return (
      this.#rows.ensure(groupCount, budget) && this.#bits.ensure(groupCount * this.#width, budget)
    );
  }

  add(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void {
    const bits = this.#bits.values;
    for (let row = 0; row < rowCount; row += 1) {
      const datum = datumAt(args[0]!, row);
      if (datum === null) continue;
      const group = groups[row]!;
      const weight = weights === undefined ? 1 : weights[row]!;
      this.#rows.values[group] = this.#rows.values[group]! + weight;
      const word = BigInt.asUintN(this.#width, BigInt(datum as number | bigint));
      for (let bit = 0; bit < this.#width; bit += 1) {
        if ((word >> BigInt(bit)) & 1n)
          bits[group * this.#width + bit] = bits[group * this.#width + bit]! + weight;
      }
    }
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof BitState, 'states of one call are merged');
    this.#rows.values[group] = this.#rows.values[group]! + from.#rows.values[fromGroup]!;
    const bits = this.#bits.values;
    for (let bit = 0; bit < this.#width; bit += 1) {
      bits[group * this.#width + bit] =
        bits[group * this.#width + bit]! + from.#bits.values[fromGroup * this.#width + bit]!;
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
          const set = this.#bits.values[group * this.#width + bit]!;
          const on =
            this.#fn === 'bit_and' ? set === rows : this.#fn === 'bit_or' ? set > 0 : set % 2 !== 0;
          if (on) word |= 1n << BigInt(bit);
        }
        return normalInteger(BigInt.asIntN(this.#width, word));
      }),
    );
  }
}
