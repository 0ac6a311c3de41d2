import { assert, DbError, notSupported } from '../../base/errors.ts';
import { datumAt, vectorFromData } from '../../columns/build.ts';
import { compareDatums, equalDatums } from '../../columns/compare.ts';
import type { SqlType } from '../../columns/types.ts';
import { Interval, type Datum } from '../../columns/values.ts';
import type { Vector } from '../../columns/vector.ts';
import type { AggregateCall } from '../../plan/logical.ts';
import type { AggregateState } from './state.ts';

/**
 * Aggregates that need a group's values themselves: string_agg in arrival order or by ORDER BY, percentiles and mode
 * by value. The values are kept, with their ORDER BY keys behind the arguments.
 */
export function createOrderedState(call: AggregateCall): AggregateState {
  return call.fn === 'percentile_cont' && call.type.kind === 'float8'
    ? new PercentileState(call)
    : new OrderedState(call);
}

/** percentile_cont of numbers: 8 bytes a value. */
class PercentileState implements AggregateState {
  readonly #type: SqlType;
  readonly #descending: boolean;
  /** The fraction may be one of the group's keys: it is that of the group's first value. */
  readonly #groups: { values: Float64Array; count: number; fraction: Datum }[] = [];
  #bytes = 0;

  constructor(call: AggregateCall) {
    this.#type = call.type;
    this.#descending = call.orderBy[0]?.descending === true;
  }

  get memoryBytes(): number {
    return this.#bytes;
  }

  ensure(groupCount: number): boolean {
    while (this.#groups.length < groupCount) {
      this.#groups.push({ values: new Float64Array(4), count: 0, fraction: null });
      this.#bytes += 32 + 96;
    }
    return true;
  }

  add(
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

  finish(groups: Int32Array, count: number): Vector {
    return vectorFromData(
      this.#type,
      Array.from({ length: count }, (_, at) => this.#datum(groups[at]!)),
    );
  }

  #push(group: number, value: number): void {
    const own = this.#groups[group]!;
    if (own.count === own.values.length) {
      const grown = new Float64Array(own.count * 2);
      grown.set(own.values);
      this.#bytes += own.count * 8;
      own.values = grown;
    }
    own.values[own.count] = value;
    own.count += 1;
  }

  #datum(group: number): Datum {
    const { values, count, fraction } = this.#groups[group]!;
    if (count === 0 || fraction === null) return null;
    const share = shareOf(fraction);
    // NaN is the greatest, as a typed array sorts it.
    const sorted = values.slice(0, count).sort();
    if (this.#descending) sorted.reverse();
    const place = share * (count - 1);
    const low = sorted[Math.floor(place)]!;
    const part = place - Math.floor(place);
    const value = part === 0 ? low : low + (sorted[Math.ceil(place)]! - low) * part;
    return value === 0 ? 0 : value;
  }
}

function shareOf(fraction: Datum): number {
  const share = fraction as number;
  if (!(share >= 0 && share <= 1))
    throw new DbError('22003', `percentile value ${share} is not between 0 and 1`);
  return share;
}

type Entry = readonly Datum[];

class OrderedState implements AggregateState {
  readonly #call: AggregateCall;
  readonly #type: SqlType;
  readonly #groups: Entry[][] = [];
  #count = 0;

  constructor(call: AggregateCall) {
    this.#call = call;
    this.#type = call.type;
  }

  get memoryBytes(): number {
    return this.#count * 64;
  }

  ensure(groupCount: number): boolean {
    while (this.#groups.length < groupCount) this.#groups.push([]);
    return true;
  }

  add(
    groups: Int32Array,
    rowCount: number,
    args: readonly Vector[],
    weights: Int32Array | undefined,
  ): void {
    const value =
      this.#call.fn === 'percentile_cont' || this.#call.fn === 'percentile_disc' ? 1 : 0;
    for (let row = 0; row < rowCount; row += 1) {
      const copies = weights === undefined ? 1 : weights[row]!;
      if (copies < 0) throw notSupported(`taking rows back from ${this.#call.fn}`);
      const entry = args.map((vector) => datumAt(vector, row));
      if (entry[value] === null) continue;
      for (let copy = 0; copy < copies; copy += 1) this.#groups[groups[row]!]!.push(entry);
      this.#count += copies;
    }
  }

  mergeGroup(group: number, from: AggregateState, fromGroup: number): void {
    assert(from instanceof OrderedState, 'states of one call are merged');
    this.#groups[group]!.push(...from.#groups[fromGroup]!);
  }

  finish(groups: Int32Array, count: number): Vector {
    return vectorFromData(
      this.#type,
      Array.from({ length: count }, (_, at) => this.#datum(this.#groups[groups[at]!]!)),
    );
  }

  #datum(entries: readonly Entry[]): Datum {
    if (entries.length === 0) return null;
    switch (this.#call.fn) {
      case 'string_agg':
        return this.#joined(entries);
      case 'mode':
        return this.#mode(entries);
      default:
        return this.#percentile(entries);
    }
  }

  #joined(entries: readonly Entry[]): Datum {
    const { orderBy, args } = this.#call;
    const ordered =
      orderBy.length === 0
        ? entries
        : entries.toSorted((a, b) => compareKeys(a, b, args.length, orderBy));
    if (this.#type.kind === 'bytea') {
      const pieces = ordered.flatMap((entry, index) =>
        index === 0 || entry[1] === null
          ? [entry[0] as Uint8Array]
          : [entry[1] as Uint8Array, entry[0] as Uint8Array],
      );
      return new Uint8Array(Buffer.concat(pieces));
    }
    let text = '';
    ordered.forEach((entry, index) => {
      text +=
        index === 0 || entry[1] === null
          ? (entry[0] as string)
          : `${entry[1] as string}${entry[0] as string}`;
    });
    return text;
  }

  #mode(entries: readonly Entry[]): Datum {
    const { kind } = this.#type;
    const sorted = entries.map((entry) => entry[0]!).sort((a, b) => compareDatums(a, b, kind));
    let best = sorted[0]!;
    let bestCount = 0;
    // Of values that are equally frequent the first in order wins: the largest one, from above.
    const lastWins = this.#call.orderBy[0]?.descending === true;
    for (let start = 0; start < sorted.length;) {
      let end = start + 1;
      while (end < sorted.length && equalDatums(sorted[end]!, sorted[start]!, kind)) end += 1;
      if (end - start > bestCount || (lastWins && end - start === bestCount)) {
        best = sorted[start]!;
        bestCount = end - start;
      }
      start = end;
    }
    return best;
  }

  #percentile(entries: readonly Entry[]): Datum {
    const fraction = entries[0]![0];
    if (fraction === null || fraction === undefined) return null;
    const share = shareOf(fraction);
    const { kind } = this.#type;
    const descending = this.#call.orderBy[0]?.descending === true;
    const sorted = entries
      .map((entry) => entry[1]!)
      .sort((a, b) => (descending ? compareDatums(b, a, kind) : compareDatums(a, b, kind)));
    if (this.#call.fn === 'percentile_disc') {
      const value = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
      // One of −0 and 0 stands for both.
      return value === 0 ? 0 : value;
    }
    const place = share * (sorted.length - 1);
    const low = sorted[Math.floor(place)]!;
    const high = sorted[Math.ceil(place)]!;
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
}

/** By the keys that stand behind the arguments; ties stay in arrival order. */
function compareKeys(
  a: Entry,
  b: Entry,
  offset: number,
  orderBy: AggregateCall['orderBy'],
): number {
  for (const [index, key] of orderBy.entries()) {
    const x = a[offset + index]!;
    const y = b[offset + index]!;
    if (x === null || y === null) {
      if (x === y) continue;
      return (x === null) === key.nullsFirst ? -1 : 1;
    }
    const order = compareDatums(x, y, key.expression.type.kind);
    if (order !== 0) return key.descending ? -order : order;
  }
  return 0;
}
