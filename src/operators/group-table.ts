import { assert } from '../base/errors.ts';
import type { DoublesMaker } from '../base/slab.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { BATCH_ROW_COUNT_MAX } from '../columns/batch.ts';
import type { SqlType } from '../columns/types.ts';
import type { Vector } from '../columns/vector.ts';
import { GroupOrder } from './group-order.ts';
import { createInterner, PairInterner, type ColumnInterner } from './interner.ts';
import type { Budget } from './operator.ts';

/**
 * Tuples of key values numbered densely: group ids. Each column is interned by itself, tuples as pairs of codes, so a key
 * of any width and any types costs integer look-ups. Two tuples are one group when SQL's IS NOT DISTINCT FROM says so.
 */
export class GroupTable {
  readonly #types: readonly SqlType[];
  readonly #columns: readonly ColumnInterner[];
  readonly #pairs: readonly PairInterner[];
  readonly #scratch: Int32Array[];
  #groups = new Int32Array(0);
  /** The column that is being numbered, and whether it has its codes: growth may interrupt it. */
  #column = 0;
  #isCoded = false;

  constructor(types: readonly SqlType[], memory: MemoryAccount | undefined) {
    this.#types = types;
    const made: { close(): void }[] = [];
    const kept = <Made extends { close(): void }>(each: Made): Made => {
      made.push(each);
      return each;
    };
    try {
      this.#columns = types.map((type) => kept(createInterner(type, memory)));
      this.#pairs = types.slice(1).map(() => kept(new PairInterner(memory)));
    } catch (cause) {
      // No room for one of them: the others give theirs back.
      for (const each of made) each.close();
      throw cause;
    }
    this.#scratch = types.map(() => new Int32Array(0));
  }

  /** Group ids given so far; without keys there is one group. */
  get groupCount(): number {
    if (this.#types.length === 0) return 1;
    return this.#pairs.at(-1)?.size ?? this.#columns[0]!.size;
  }

  /** The group id that is counted though its key has not come; undefined where there is none. */
  get absentGroup(): number | undefined {
    return this.#columns.length === 1 ? this.#columns[0]!.absentCode : undefined;
  }

  /** Group ids of dense key vectors; the array is good until the next call. `add` false: unknown tuples give −1. */
  intern(keys: readonly Vector[], rowCount: number, add = true): Int32Array {
    // One that met a want of memory was given up where it was.
    this.#column = 0;
    this.#isCoded = false;
    const groups = this.#codes(keys, rowCount, add, undefined);
    assert(groups !== undefined, 'without a budget all is done at once');
    return groups;
  }

  /** The same as far as the budget reaches: tables that grow are moved in steps. undefined: to be called again, with the same vectors. */
  internWithin(keys: readonly Vector[], rowCount: number, budget: Budget): Int32Array | undefined {
    return this.#codes(keys, rowCount, true, budget);
  }

  #codes(
    keys: readonly Vector[],
    rowCount: number,
    add: boolean,
    budget: Budget | undefined,
  ): Int32Array | undefined {
    if (this.#groups.length < rowCount) {
      this.#groups = new Int32Array(Math.max(rowCount, BATCH_ROW_COUNT_MAX));
      for (let column = 0; column < this.#scratch.length; column += 1)
        this.#scratch[column] = new Int32Array(this.#groups.length);
    }
    const groups = this.#groups;
    if (this.#types.length === 0) {
      groups.fill(0, 0, rowCount);
      return groups;
    }
    const isAlone = this.#columns.length === 1;
    while (this.#column < this.#columns.length) {
      const column = this.#column;
      const interner = this.#columns[column]!;
      const codes = isAlone ? groups : this.#scratch[column]!;
      if (!this.#isCoded) {
        const key = keys[column]!;
        if (budget !== undefined && interner.prepare?.(key, rowCount, budget) === false)
          return undefined;
        interner.codes(key, rowCount, codes, add);
        this.#isCoded = true;
      }
      if (column > 0) {
        const left = column === 1 ? this.#scratch[0]! : groups;
        const pairs = this.#pairs[column - 1]!;
        if (budget !== undefined && !pairs.prepare(left, codes, rowCount, budget)) return undefined;
        pairs.codes(left, codes, rowCount, groups, add);
      }
      this.#isCoded = false;
      this.#column += 1;
    }
    this.#column = 0;
    return groups;
  }

  /** Key vectors of the given groups. */
  keys(groups: Int32Array, count: number, doubles?: DoublesMaker): Vector[] {
    return this.#columns.map((_, column) => this.key(column, groups, count, doubles));
  }

  /** One key of the given groups. */
  key(column: number, groups: Int32Array, count: number, doubles?: DoublesMaker): Vector {
    return this.#columns[column]!.vector(this.#codesOf(groups, count, column), count, doubles);
  }

  /** The groups that have rows, found in steps; `ordered`: in the order of their keys (NULL last). */
  order(
    rowCounts: { readonly values: Float64Array },
    options: { readonly ordered: boolean; readonly memory: MemoryAccount | undefined },
  ): GroupOrder {
    return new GroupOrder(
      rowCounts,
      this.groupCount,
      options.ordered
        ? this.#columns.map((interner, column) => ({
            interner,
            type: this.#types[column]!,
            codesOf: (groups, count) => this.#codesOf(groups, count, column),
          }))
        : [],
      options.memory,
    );
  }

  close(): void {
    for (const interner of this.#columns) interner.close();
    for (const pairs of this.#pairs) pairs.close();
  }

  /** The codes that one column has in the given groups. */
  #codesOf(groups: Int32Array, count: number, column: number): Int32Array {
    const last = this.#pairs.length - 1;
    if (last < 0) return groups;
    const codes = new Int32Array(count);
    // A tuple's code is a pair of the tuple before it and the last column's code, and so on down to the first two.
    for (let at = 0; at < count; at += 1) {
      let code = groups[at]!;
      for (let pair = last; pair >= column; pair -= 1) code = this.#pairs[pair]!.first(code);
      codes[at] = column === 0 ? code : this.#pairs[column - 1]!.second(code);
    }
    return codes;
  }
}
