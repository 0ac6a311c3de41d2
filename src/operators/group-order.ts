import type { MemoryAccount } from '../base/memory.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import { BATCH_ROW_COUNT_MAX } from '../columns/batch.ts';
import type { SqlType } from '../columns/types.ts';
import type { ColumnInterner } from './interner.ts';
import { KeyColumn, sortByKeys } from './key-column.ts';
import type { Budget } from './operator.ts';
import { StepwiseSort, type SortKeys } from './stepwise-sort.ts';

/** One key of the groups: its values by code, and each group's code. */
export type GroupKey = {
  readonly interner: ColumnInterner;
  readonly type: SqlType;
  codesOf(groups: Int32Array, count: number): Int32Array;
};

/** Groups looked at between two looks at the budget. */
const GROUPS_A_STEP = 8192;

/**
 * The groups of an aggregate that have rows, in the order of their keys or in none, found in steps. The values of each key are ranked
 * once, by code; tuples then compare as integers.
 */
export class GroupOrder {
  /** Its array may be another one after a step. */
  readonly #rowCounts: { readonly values: Float64Array };
  readonly #groupCount: number;
  readonly #keys: readonly GroupKey[];
  readonly #memory: MemoryAccount | undefined;
  readonly #lease: MemoryLease;
  readonly #groups: Int32Array;
  #looked = 0;
  #count = 0;
  /** The ranking of the key whose turn it is. */
  #ranking: Ranking | undefined;
  readonly #ranks: Int32Array[] = [];
  #sort: StepwiseSort | undefined;
  /** Of several keys: ranks by place in `#groups`, and how many places have all of theirs. */
  #placed: readonly Int32Array[] = [];
  #placedTo = 0;
  /** Of several keys: the groups in order, and how many are. */
  #ordered: Int32Array | undefined;
  #orderedTo = 0;

  constructor(
    rowCounts: { readonly values: Float64Array },
    groupCount: number,
    keys: readonly GroupKey[],
    memory: MemoryAccount | undefined,
  ) {
    this.#rowCounts = rowCounts;
    this.#groupCount = groupCount;
    this.#keys = keys;
    this.#memory = memory;
    this.#lease = new MemoryLease(memory);
    this.#lease.take(groupCount * 4);
    this.#groups = new Int32Array(groupCount);
  }

  /** Goes on as far as the budget reaches: the groups, once all are in their place. */
  step(budget: Budget): Int32Array | undefined {
    while (this.#looked < this.#groupCount) {
      if (budget.exhausted) return undefined;
      this.#look(budget);
    }
    if (this.#keys.length === 0) return this.#groups.subarray(0, this.#count);
    while (this.#ranks.length < this.#keys.length) {
      const key = this.#keys[this.#ranks.length]!;
      this.#ranking ??= new Ranking(key, this.#lease, this.#memory);
      const ranks = this.#ranking.step(budget);
      if (ranks === undefined) return undefined;
      this.#ranks.push(ranks);
      this.#ranking = undefined;
    }
    if (this.#keys.length > 1 && !this.#place(budget)) return undefined;
    this.#sort ??= this.#newSort();
    if (!this.#sort.step(budget)) return undefined;
    return this.#keys.length === 1 ? this.#sort.sorted : this.#groupsOf(this.#sort.sorted, budget);
  }

  close(): void {
    this.#sort?.close();
    this.#ranking?.close();
    this.#lease.close();
  }

  #look(budget: Budget): void {
    const end = Math.min(this.#groupCount, this.#looked + GROUPS_A_STEP);
    const counts = this.#rowCounts.values;
    for (let group = this.#looked; group < end; group += 1) {
      if (!(counts[group]! > 0)) continue;
      this.#groups[this.#count] = group;
      this.#count += 1;
    }
    budget.charge(end - this.#looked);
    this.#looked = end;
  }

  /** Looks up the ranks of each group's keys; true when all are there. */
  #place(budget: Budget): boolean {
    if (this.#placed.length === 0) {
      this.#lease.take(this.#count * 4 * this.#keys.length);
      this.#placed = this.#keys.map(() => new Int32Array(this.#count));
    }
    while (this.#placedTo < this.#count) {
      if (budget.exhausted) return false;
      const start = this.#placedTo;
      const end = Math.min(this.#count, start + BATCH_ROW_COUNT_MAX);
      const groups = this.#groups.subarray(start, end);
      for (const [column, key] of this.#keys.entries()) {
        const ranks = this.#ranks[column]!;
        const placed = this.#placed[column]!;
        const codes = key.codesOf(groups, end - start);
        for (let at = start; at < end; at += 1) placed[at] = ranks[codes[at - start]!]!;
      }
      budget.charge((end - start) * this.#keys.length);
      this.#placedTo = end;
    }
    return true;
  }

  #newSort(): StepwiseSort {
    const memory = this.#memory;
    if (this.#ranks.length === 1) {
      const ranks = this.#ranks[0]!;
      const groups = this.#groups.subarray(0, this.#count);
      const keys = rankKeys([ranks]);
      return new StepwiseSort(groups, (a, b) => ranks[a]! - ranks[b]!, { keys, memory });
    }
    const placed = this.#placed;
    return new StepwiseSort(
      this.#count,
      (a, b) => {
        for (const ranks of placed) {
          const difference = ranks[a]! - ranks[b]!;
          if (difference !== 0) return difference;
        }
        return 0;
      },
      { keys: rankKeys(placed), memory },
    );
  }

  /** The groups at the given places; undefined while some are left. */
  #groupsOf(places: Int32Array, budget: Budget): Int32Array | undefined {
    if (this.#ordered === undefined) {
      this.#lease.take(places.length * 4);
      this.#ordered = new Int32Array(places.length);
    }
    while (this.#orderedTo < places.length) {
      if (budget.exhausted) return undefined;
      const end = Math.min(places.length, this.#orderedTo + GROUPS_A_STEP);
      for (let at = this.#orderedTo; at < end; at += 1)
        this.#ordered[at] = this.#groups[places[at]!]!;
      budget.charge(end - this.#orderedTo);
      this.#orderedTo = end;
    }
    return this.#ordered;
  }
}

/** Ranks of the first two keys as doubles; of two keys they tell all. */
function rankKeys(ranks: readonly Int32Array[]): SortKeys {
  const [firsts, seconds] = ranks;
  return {
    hasSecond: seconds !== undefined,
    equal: ranks.length <= 2 ? 'finite' : 'never',
    fill: (places, first, second) => {
      for (let at = 0; at < places.length; at += 1) {
        first[at] = firsts![places[at]!]!;
        if (second !== undefined) second[at] = seconds![places[at]!]!;
      }
    },
  };
}

/** Ranks of one key's values by code, made in steps. */
class Ranking {
  readonly #interner: ColumnInterner;
  readonly #lease: MemoryLease;
  readonly #memory: MemoryAccount | undefined;
  readonly #keyLease: MemoryLease;
  readonly #column: KeyColumn;
  #read = 0;
  #sort: StepwiseSort | undefined;
  #ranks: Int32Array | undefined;
  #ranked = 0;
  readonly #codes = new Int32Array(BATCH_ROW_COUNT_MAX);

  constructor(key: GroupKey, lease: MemoryLease, memory: MemoryAccount | undefined) {
    this.#interner = key.interner;
    this.#lease = lease;
    this.#memory = memory;
    this.#keyLease = new MemoryLease(memory);
    this.#column = new KeyColumn(
      key.type,
      { descending: false, nullsFirst: false },
      this.#keyLease,
    );
  }

  step(budget: Budget): Int32Array | undefined {
    const { size } = this.#interner;
    while (this.#read < size) {
      if (budget.exhausted) return undefined;
      const count = Math.min(BATCH_ROW_COUNT_MAX, size - this.#read);
      for (let index = 0; index < count; index += 1) this.#codes[index] = this.#read + index;
      this.#column.append(this.#interner.vector(this.#codes, count), count);
      budget.charge(count);
      this.#read += count;
    }
    this.#sort ??= sortByKeys(size, [this.#column], { memory: this.#memory });
    if (!this.#sort.step(budget)) return undefined;
    if (this.#ranks === undefined) {
      this.#lease.take(size * 4);
      this.#ranks = new Int32Array(size);
    }
    const { sorted } = this.#sort;
    while (this.#ranked < size) {
      if (budget.exhausted) return undefined;
      const end = Math.min(size, this.#ranked + GROUPS_A_STEP);
      for (let rank = this.#ranked; rank < end; rank += 1) this.#ranks[sorted[rank]!] = rank;
      budget.charge(end - this.#ranked);
      this.#ranked = end;
    }
    this.close();
    return this.#ranks;
  }

  close(): void {
    this.#sort?.close();
    this.#keyLease.close();
  }
}
