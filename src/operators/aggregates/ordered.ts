import { ChunkedFloat64 } from '../../base/chunked.ts';
import { assert, DbError, notSupported } from '../../base/errors.ts';
import { MemoryLease } from '../../base/memory-lease.ts';
import type { MemoryAccount } from '../../base/memory.ts';
import { PLACE_ROWS } from '../../columns/batch.ts';
import { datumAt, gather, gatherInts, isNullAt, vectorFromData } from '../../columns/build.ts';
import type { SqlType } from '../../columns/types.ts';
import { Interval, type Datum } from '../../columns/values.ts';
import type { Vector } from '../../columns/vector.ts';
import { vectorBytes } from '../../columns/version-log.ts';
import type { AggregateCall } from '../../plan/logical.ts';
import { KeyColumn, sortByKeys } from '../key-column.ts';
import { Budget } from '../operator.ts';
import { Selection } from './selection.ts';
import type { AggregateState } from './state.ts';

/**
 * Aggregates that need a group's values themselves: string_agg in arrival order or by ORDER BY, percentiles and mode
 * by value. The values are kept as the columns that they came in.
 */
export function createOrderedState(
  call: AggregateCall,
  memory: MemoryAccount | undefined,
): AggregateState {
  return call.fn === 'percentile_cont' && call.type.kind === 'float8'
    ? new PercentileState(call, memory)
    : new OrderedState(call, memory);
}

/** What a group's answer is, once somebody has gone through its values; `settle` does so in steps. */
abstract class SettledState implements AggregateState {
  readonly memoryBytes = 0;
  protected readonly type: SqlType;
  protected readonly memory: MemoryAccount | undefined;
  protected readonly lease: MemoryLease;
  readonly #settled = new Map<number, Datum>();
  /** The group whose values are being gone through. */
  #open: { readonly group: number; readonly work: Generator<void, Datum> } | undefined;
  protected budget = new Budget(0);

  constructor(type: SqlType, memory: MemoryAccount | undefined) {
    this.type = type;
    this.memory = memory;
    this.lease = new MemoryLease(memory);
  }

  abstract ensure(groupCount: number): boolean;
  abstract mergeGroup(group: number, from: AggregateState, fromGroup: number): void;
  /** Goes through a group's values, pausing where the budget is used up. */
  protected abstract datumOf(group: number): Generator<void, Datum>;
  protected abstract take(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void;

  add(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void {
    this.#settled.clear();
    this.#leave();
    this.take(groups, rowCount, args, weights);
  }

  settle(groups: Int32Array, count: number, budget: Budget): boolean {
    this.budget = budget;
    for (let at = 0; at < count; at += 1) {
      const group = groups[at]!;
      if (this.#settled.has(group)) continue;
      // Few values are gone through at once, but groups are many.
      if (budget.exhausted) return false;
      if (this.#open?.group !== group) {
        this.#leave();
        this.#open = { group, work: this.datumOf(group) };
      }
      const step = this.#open.work.next();
      if (step.done !== true) return false;
      this.#settled.set(group, step.value);
      this.#open = undefined;
    }
    return true;
  }

  finish(groups: Int32Array, count: number): Vector {
    this.settle(groups, count, new Budget(Infinity));
    return vectorFromData(
      this.type,
      Array.from({ length: count }, (_, at) => this.#settled.get(groups[at]!)!),
    );
  }

  close(): void {
    this.#leave();
    this.lease.close();
  }

  /** What is half gone through is let go. */
  #leave(): void {
    this.#open?.work.return(null);
    this.#open = undefined;
  }
}

/** percentile_cont of numbers: 8 bytes a value. */
class PercentileState extends SettledState {
  readonly #descending: boolean;
  /** The fraction may be one of the group's keys: it is that of the group's first value. */
  readonly #groups: { values: Float64Array; count: number; fraction: Datum }[] = [];

  constructor(call: AggregateCall, memory: MemoryAccount | undefined) {
    super(call.type, memory);
    this.#descending = call.orderBy[0]?.descending === true;
  }

  ensure(groupCount: number): boolean {
    this.lease.take(Math.max(0, groupCount - this.#groups.length) * (32 + 96));
    while (this.#groups.length < groupCount)
      this.#groups.push({ values: new Float64Array(4), count: 0, fraction: null });
    return true;
  }

  protected take(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void {
    const vector = args[1]!;
    const plain = vector.rep === 'number' ? vector : undefined;
    for (let row = 0; row < rowCount; row += 1) {
      const copies = weights === undefined ? 1 : weights[row]!;
      if (copies < 0) throw notSupported('taking rows back from percentile_cont');
      let value: number;
      if (plain === undefined) {
        const datum = datumAt(vector, row);
        if (datum === null) continue;
        value = datum as number;
      } else {
        if (plain.validity !== undefined && plain.validity[row] === 0) continue;
        // A base of 0 would turn −0 into 0, which is what is shown of it.
        value = plain.values[row]! * plain.factor + plain.base;
      }
      const own = this.#groups[groups[row]!]!;
      if (own.count === 0) own.fraction = datumAt(args[0]!, row);
      for (let copy = 0; copy < copies; copy += 1) this.#push(groups[row]!, value);
    }
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof PercentileState, 'states of one call are merged');
    const { values, count, fraction } = from.#groups[fromGroup]!;
    const own = this.#groups[group]!;
    if (own.count === 0) own.fraction = fraction;
    for (let at = 0; at < count; at += 1) this.#push(group, values[at]!);
  }

  #push(group: number, value: number): void {
    const own = this.#groups[group]!;
    if (own.count === own.values.length) {
      this.lease.take(own.count * 8);
      const grown = new Float64Array(own.count * 2);
      grown.set(own.values);
      own.values = grown;
    }
    own.values[own.count] = value;
    own.count += 1;
  }

  protected *datumOf(group: number): Generator<void, Datum> {
    const { values, count, fraction } = this.#groups[group]!;
    if (count === 0 || fraction === null) return null;
    const place = shareOf(fraction) * (count - 1);
    const part = place - Math.floor(place);
    const [near, far] = [Math.floor(place), Math.ceil(place)];
    const selection = this.#descending
      ? new Selection(values, count, count - 1 - far, count - 1 - near)
      : new Selection(values, count, near, far);
    let found: readonly [number, number] | undefined;
    while ((found = selection.step(this.budget)) === undefined) yield;
    const [low, high] = this.#descending ? [found[1], found[0]] : found;
    const value = part === 0 ? low : low + (high - low) * part;
    return value === 0 ? 0 : value;
  }
}

function shareOf(fraction: Datum): number {
  const share = fraction as number;
  if (!(share >= 0 && share <= 1))
    throw new DbError('22003', `percentile value ${share} is not between 0 and 1`, {
      hint: 'Write percentile_cont(0.99) for the 99th percentile.',
    });
  return share;
}

/** Between two looks at the budget so many values are gone through. */
const PIECE_LENGTH = 1024;
/** What V8 makes of texts is shorter. */
const TEXT_LENGTH_MAX = 2 ** 29 - 25;

class OrderedState extends SettledState {
  readonly #call: AggregateCall;
  /** The argument that is looked at: those of percentiles stand behind the fraction. */
  readonly #value: number;
  /** Arguments as they came, NULL values left out; ORDER BY keys stand behind them. */
  readonly #batches: (readonly Vector[])[] = [];
  /** By entry: where it lies. */
  readonly #places: ChunkedFloat64;
  /** Entries by group, as they arrived. */
  readonly #groups: number[][] = [];
  /** What the entries of a group are sorted by; none: they stay as they arrived. */
  readonly #keys: readonly KeyColumn[];

  constructor(call: AggregateCall, memory: MemoryAccount | undefined) {
    super(call.type, memory);
    this.#call = call;
    this.#value = call.fn === 'percentile_cont' || call.fn === 'percentile_disc' ? 1 : 0;
    this.#places = new ChunkedFloat64(this.lease);
    const { orderBy, args, fn } = call;
    this.#keys =
      fn === 'string_agg'
        ? orderBy.map((key) => new KeyColumn(key.expression.type, key, this.lease))
        : [
            new KeyColumn(
              args[this.#value]!.type,
              // Of values that are equally frequent mode chooses itself.
              {
                descending: fn !== 'mode' && orderBy[0]?.descending === true,
                nullsFirst: false,
              },
              this.lease,
            ),
          ];
  }

  ensure(groupCount: number): boolean {
    this.lease.take(Math.max(0, groupCount - this.#groups.length) * 32);
    while (this.#groups.length < groupCount) this.#groups.push([]);
    return true;
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof OrderedState, 'states of one call are merged');
    const into = Int32Array.of(group);
    for (const entry of from.#groups[fromGroup]!) {
      const { batch, row } = from.#placeOf(entry);
      const one = Int32Array.of(row);
      this.add(
        into,
        1,
        batch.map((vector) => gather(vector, one, 1)),
        undefined,
      );
    }
  }

  protected take(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void {
    const value = args[this.#value]!;
    const rows = new Int32Array(rowCount);
    let count = 0;
    let isWhole = true;
    const place = this.#batches.length * PLACE_ROWS;
    for (let row = 0; row < rowCount; row += 1) {
      const copies = weights === undefined ? 1 : weights[row]!;
      if (copies < 0) throw notSupported(`taking rows back from ${this.#call.fn}`);
      if (copies === 0 || isNullAt(value, row)) {
        isWhole = false;
        continue;
      }
      const own = this.#groups[groups[row]!]!;
      for (let copy = 0; copy < copies; copy += 1) {
        own.push(this.#places.length);
        this.#places.push(place + count);
      }
      rows[count] = row;
      count += 1;
    }
    if (count === 0) return;
    const kept = isWhole ? args : args.map((vector) => gather(vector, rows, count));
    let bytes = count * 8;
    for (const vector of kept) bytes += vectorBytes(vector, count);
    this.lease.take(bytes);
    this.#batches.push(kept);
    const copies = weights && (isWhole ? weights : gatherInts(weights, rows, count));
    const keys =
      this.#call.fn === 'string_agg' ? kept.slice(this.#call.args.length) : [kept[this.#value]!];
    this.#keys.forEach((key, index) => key.append(keys[index]!, count, copies));
  }

  protected *datumOf(group: number): Generator<void, Datum> {
    const own = this.#groups[group]!;
    if (own.length === 0) return null;
    const entries = new Int32Array(own);
    switch (this.#call.fn) {
      case 'string_agg':
        return yield* this.#joined(yield* this.#sorted(entries));
      case 'mode':
        return yield* this.#mode(yield* this.#sorted(entries));
      default: {
        const fraction = this.#datumAt(own[0]!, 0);
        if (fraction === null) return null;
        const share = shareOf(fraction);
        return this.#percentile(yield* this.#sorted(entries), share);
      }
    }
  }

  /** Entries in the order of the keys; ties stay in arrival order. */
  *#sorted(entries: Int32Array): Generator<void, Int32Array> {
    if (this.#keys.length === 0) return entries;
    const sort = sortByKeys(entries, this.#keys, { memory: this.memory });
    try {
      while (!sort.step(this.budget)) yield;
      return sort.sorted;
    } finally {
      sort.close();
    }
  }

  *#joined(ordered: Int32Array): Generator<void, Datum> {
    const isBytes = this.type.kind === 'bytea';
    const pieces: (string | Uint8Array)[] = [];
    let length = 0;
    for (let start = 0; start < ordered.length; start += PIECE_LENGTH) {
      const end = Math.min(ordered.length, start + PIECE_LENGTH);
      const piece: (string | Uint8Array)[] = [];
      for (let at = start; at < end; at += 1) {
        const separator = at === 0 ? null : (this.#datumAt(ordered[at]!, 1) as string | null);
        if (separator !== null) piece.push(separator);
        piece.push(this.#datumAt(ordered[at]!, 0) as string | Uint8Array);
      }
      const whole = isBytes ? Buffer.concat(piece as Uint8Array[]) : piece.join('');
      length += whole.length;
      if (length > TEXT_LENGTH_MAX)
        throw new DbError('54000', 'the text that string_agg makes is too long', {
          hint: 'Aggregate fewer rows, or shorter texts.',
        });
      this.lease.take(whole.length);
      pieces.push(whole);
      this.budget.charge(end - start);
      if (this.budget.exhausted) yield;
    }
    return isBytes ? new Uint8Array(Buffer.concat(pieces as Uint8Array[])) : pieces.join('');
  }

  *#mode(ordered: Int32Array): Generator<void, Datum> {
    const key = this.#keys[0]!;
    let best = 0;
    let bestCount = 0;
    // Of values that are equally frequent the first in order wins: the largest one, from above.
    const lastWins = this.#call.orderBy[0]?.descending === true;
    let start = 0;
    for (let end = 1; end <= ordered.length; end += 1) {
      if (end % PIECE_LENGTH === 0) {
        this.budget.charge(PIECE_LENGTH);
        if (this.budget.exhausted) yield;
      }
      if (end < ordered.length && key.compare(ordered[end]!, ordered[start]!) === 0) continue;
      if (end - start > bestCount || (lastWins && end - start === bestCount)) {
        best = start;
        bestCount = end - start;
      }
      start = end;
    }
    return this.#datumAt(ordered[best]!, 0);
  }

  #percentile(ordered: Int32Array, share: number): Datum {
    if (this.#call.fn === 'percentile_disc') {
      const value = this.#datumAt(ordered[Math.max(0, Math.ceil(share * ordered.length) - 1)]!, 1);
      // One of −0 and 0 stands for both.
      return value === 0 ? 0 : value;
    }
    const place = share * (ordered.length - 1);
    const low = this.#datumAt(ordered[Math.floor(place)]!, 1);
    const high = this.#datumAt(ordered[Math.ceil(place)]!, 1);
    const part = place - Math.floor(place);
    if (part === 0) return low;
    if (low instanceof Interval && high instanceof Interval) {
      const days =
        low.days +
        (high.days - low.days) * part +
        (low.months +
          (high.months - low.months) * part -
          Math.trunc(low.months + (high.months - low.months) * part)) *
          30;
      return new Interval(
        Math.trunc(low.months + (high.months - low.months) * part),
        Math.trunc(days),
        Math.round(
          low.micros +
            (high.micros - low.micros) * part +
            (days - Math.trunc(days)) * 86_400_000_000,
        ),
      );
    }
    return (low as number) + ((high as number) - (low as number)) * part;
  }

  #datumAt(entry: number, argument: number): Datum {
    const { batch, row } = this.#placeOf(entry);
    return datumAt(batch[argument]!, row);
  }

  #placeOf(entry: number): { readonly batch: readonly Vector[]; readonly row: number } {
    const place = this.#places.get(entry);
    const row = place % PLACE_ROWS;
    return { batch: this.#batches[(place - row) / PLACE_ROWS]!, row };
  }
}
