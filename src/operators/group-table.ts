import type { MemoryAccount } from '../base/memory.ts';
import type { SqlType } from '../columns/types.ts';
import type { Vector } from '../columns/vector.ts';
import { GroupOrder } from './group-order.ts';
import { createInterner, PairInterner, type ColumnInterner } from './interner.ts';

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

  constructor(types: readonly SqlType[], memory: MemoryAccount | undefined) {
    this.#types = types;
    this.#columns = types.map((type) => createInterner(type, memory));
    this.#pairs = types.slice(1).map(() => new PairInterner(memory));
    this.#scratch = types.map(() => new Int32Array(0));
  }

  /** Group ids given so far; without keys there is one group. */
  get groupCount(): number {
    if (this.#types.length === 0) return 1;
    return this.#pairs.at(-1)?.size ?? this.#columns[0]!.size;
  }

  /** Group ids of dense key vectors; the array is good until the next call. `add` false: unknown tuples give −1. */
  intern(keys: readonly Vector[], rowCount: number, add = true): Int32Array {
    if (this.#groups.length < rowCount) {
      this.#groups = new Int32Array(Math.max(rowCount, 2048));
      for (let column = 0; column < this.#scratch.length; column += 1)
        this.#scratch[column] = new Int32Array(this.#groups.length);
    }
    const groups = this.#groups;
    if (this.#types.length === 0) {
      groups.fill(0, 0, rowCount);
      return groups;
    }
    if (this.#columns.length === 1) {
      this.#columns[0]!.codes(keys[0]!, rowCount, groups, add);
      return groups;
    }
    let left = this.#scratch[0]!;
    this.#columns[0]!.codes(keys[0]!, rowCount, left, add);
    for (let column = 1; column < this.#columns.length; column += 1) {
      const right = this.#scratch[column]!;
      this.#columns[column]!.codes(keys[column]!, rowCount, right, add);
      this.#pairs[column - 1]!.codes(left, right, rowCount, groups, add);
      left = groups;
    }
    return groups;
  }

  /** Key vectors of the given groups. */
  keys(groups: Int32Array, count: number): Vector[] {
    return this.#columns.map((_, column) => this.key(column, groups, count));
  }

  /** One key of the given groups. */
  key(column: number, groups: Int32Array, count: number): Vector {
    return this.#columns[column]!.vector(this.#codesOf(groups, count, column), count);
  }

  /** The groups that have rows, found in steps; `ordered`: in the order of their keys (NULL last). */
  order(
    rowCounts: Float64Array,
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
