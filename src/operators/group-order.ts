import type { MemoryAccount } from '../base/memory.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import { BATCH_ROW_COUNT_MAX } from '../columns/batch.ts';
import type { SqlType } from '../columns/types.ts';
import type { ColumnInterner } from './interner.ts';
import { KeyColumn } from './key-column.ts';
import type { Budget } from './operator.ts';
import { StepwiseSort } from './stepwise-sort.ts';

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
  readonly #rowCounts: Float64Array;
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
  #codes: readonly Int32Array[] = [];

  constructor(
    rowCounts: Float64Array,
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
    this.#sort ??= this.#newSort();
    if (!this.#sort.step(budget)) return undefined;
    const groups = this.#groups;
    return this.#keys.length === 1
      ? this.#sort.sorted
      : this.#sort.sorted.map((index) => groups[index]!);
  }

  close(): void {
    this.#sort?.close();
    this.#ranking?.close();
    this.#lease.close();
  }

  #look(budget: Budget): void {
    const end = Math.min(this.#groupCount, this.#looked + GROUPS_A_STEP);
    for (let group = this.#looked; group < end; group += 1) {
      if (!(this.#rowCounts[group]! > 0)) continue;
      this.#groups[this.#count] = group;
      this.#count += 1;
    }
    budget.charge(end - this.#looked);
    this.#looked = end;
  }

  #newSort(): StepwiseSort {
    const memory = this.#memory;
    const count = this.#count;
    if (this.#ranks.length === 1) {
      const ranks = this.#ranks[0]!;
      const groups = this.#groups.slice(0, count);
      return new StepwiseSort(groups, (a, b) => ranks[a]! - ranks[b]!, { memory });
    }
    this.#lease.take(count * 4 * this.#keys.length);
    // Ranks by place in `#groups`.
    this.#codes = this.#keys.map((key, column) => {
      const ranks = this.#ranks[column]!;
      return key.codesOf(this.#groups, count).map((code) => ranks[code]!);
    });
    const codes = this.#codes;
    return new StepwiseSort(
      count,
      (a, b) => {
        for (const ranked of codes) {
          const difference = ranked[a]! - ranked[b]!;
          if (difference !== 0) return difference;
        }
        return 0;
      },
      { memory },
    );
  }
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
      const start = this.#read;
      const codes = Int32Array.from({ length: count }, (_, index) => start + index);
      this.#column.append(this.#interner.vector(codes, count), count);
      budget.charge(count);
      this.#read += count;
    }
    this.#sort ??= new StepwiseSort(size, (a, b) => this.#column.compare(a, b), {
      memory: this.#memory,
    });
    if (!this.#sort.step(budget)) return undefined;
    this.#lease.take(size * 4);
    const ranks = new Int32Array(size);
    const { sorted } = this.#sort;
    for (let rank = 0; rank < size; rank += 1) ranks[sorted[rank]!] = rank;
    this.close();
    return ranks;
  }

  close(): void {
    this.#sort?.close();
    this.#keyLease.close();
  }
}
