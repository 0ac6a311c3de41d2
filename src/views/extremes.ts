import { assert } from '../base/errors.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import { vectorFromData } from '../columns/build.ts';
import { datumAt, numberAt } from '../columns/cells.ts';
import { compareDatums } from '../columns/compare.ts';
import type { SqlType } from '../columns/types.ts';
import { Decimal } from '../columns/values.ts';
import type { Datum } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';
import { OrderedCounts } from './ordered-counts.ts';
import type { Compare } from './ordered-counts.ts';

/** Best values a group begins with: with as many insertions as deletions they hardly ever run out. */
const CAPACITY_MIN = 64;
/** What a remembered value is accounted as: two slots of an array with their slack. */
const VALUE_BYTES = 24;
const GROUP_BYTES = 160;

/**
 * min or max by group, with retractions. A group remembers its best values and how many worse ones it has seen; only when all the
 * remembered ones are gone must the rest be looked at again (`isStale`), and from then on it remembers four times as many, so that
 * whoever always takes the best one away pays less and less. Without a source to look at again a group remembers all its values.
 */
export class Extremes {
  readonly #type: SqlType;
  readonly #compare: Compare;
  readonly #bounded: boolean;
  readonly #lease: MemoryLease;
  readonly #groups: (Group | undefined)[] = [];

  constructor(type: SqlType, which: 'min' | 'max', options: { readonly bounded: boolean; readonly lease: MemoryLease }) {
    this.#type = type;
    this.#compare = comparison(type, which);
    this.#bounded = options.bounded;
    this.#lease = options.lease;
  }

  /** NULLs count for nothing. */
  add(groups: Int32Array, rowCount: number, values: Vector, weights: Int32Array | undefined): void {
    for (let row = 0; row < rowCount; row += 1) {
      const value = plainAt(values, row);
      if (value !== null) this.#addOne(groups[row]!, value, weights === undefined ? 1 : weights[row]!);
    }
  }

  /** All the best values the group knew of are gone, but there are more. */
  isStale(group: number): boolean {
    const state = this.#groups[group];
    return state !== undefined && state.others > 0 && state.best.distinctCount === 0;
  }

  /** Forgets the group's values: all of them are given again by `add`. */
  beginRefill(group: number): void {
    const state = this.#groups[group]!;
    state.best.clear();
    state.others = 0;
    state.capacity *= 4;
  }

  /** The groups' extremes, NULL where a group has no value. */
  finish(groups: Int32Array, count: number): Vector {
    const data: Datum[] = [];
    for (let index = 0; index < count; index += 1) {
      assert(!this.isStale(groups[index]!), 'a group is refilled before it is read');
      data.push(this.#groups[groups[index]!]?.best.best ?? null);
    }
    return vectorFromData(this.#type, data);
  }

  #addOne(group: number, value: Datum, weight: number): void {
    let state = this.#groups[group];
    if (state === undefined) {
      this.#lease.take(GROUP_BYTES);
      state = { best: new OrderedCounts(), others: 0, capacity: this.#bounded ? CAPACITY_MIN : Infinity };
      while (this.#groups.length <= group) this.#groups.push(undefined);
      this.#groups[group] = state;
    }
    const { best } = state;
    // Behind the worst one that is remembered there may be others already; what is worse joins them.
    if (state.others > 0 && (best.distinctCount === 0 || this.#compare(value, best.worst!) > 0)) {
      state.others += weight;
      assert(state.others >= 0, 'a value leaves as often as it came');
      return;
    }
    const before = best.distinctCount;
    const known = best.add(value, weight, this.#compare);
    assert(known, 'a value leaves as often as it came');
    if (best.distinctCount > state.capacity) state.others += best.removeWorst();
    const grown = best.distinctCount - before;
    if (grown > 0) this.#lease.take(VALUE_BYTES * grown);
    else if (grown < 0) this.#lease.give(VALUE_BYTES * -grown);
    if (best.distinctCount === 0 && state.others === 0) {
      this.#lease.give(GROUP_BYTES);
      this.#groups[group] = undefined;
    }
  }
}

type Group = { readonly best: OrderedCounts; /** Values (with repeats) that are worse than all remembered ones. */ others: number; capacity: number };

/** As `datumAt`, with 0 for −0: what a group shows for them. */
function plainAt(vector: Vector, row: number): Datum {
  if (vector.rep === 'number' && vector.type.kind !== 'numeric') {
    if (vector.validity !== undefined && vector.validity[row] === 0) return null;
    return numberAt(vector.values[row]!, vector.factor, vector.base) + 0;
  }
  const value = datumAt(vector, row);
  return typeof value === 'number' ? value + 0 : value;
}

function comparison(type: SqlType, which: 'min' | 'max'): Compare {
  const { kind } = type;
  const sign = which === 'min' ? 1 : -1;
  if (kind === 'numeric') {
    // Of equal numerics the one that shows more digits goes first: 1.00 before 1.0.
    return (a, b) => sign * compareDatums(a, b, kind) || (b as Decimal).scale - (a as Decimal).scale;
  }
  return (a, b) => {
    if (typeof a === 'number' && typeof b === 'number') {
      if (a < b) return -sign;
      if (a > b) return sign;
      if (a === b) return 0;
    }
    return sign * compareDatums(a, b, kind);
  };
}
