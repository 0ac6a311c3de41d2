import { MemoryLease } from '../base/memory-lease.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from '../columns/batch.ts';
import type { SqlType } from '../columns/types.ts';
import { compileExpression, type CompiledExpression } from '../expressions/compile.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { DistinctNode, OutputColumn, SetOperationNode } from '../plan/logical.ts';
import { GroupTable } from './group-table.ts';
import type { Budget, Operator, Step } from './operator.ts';
import { EMPTY_BATCH } from './row-operators.ts';
import { datumAt, gather, vectorFromData } from '../columns/build.ts';
import { Decimal, type Datum } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';
import { isScaleFree } from '../plan/shown-keys.ts';

/**
 * The first row of each tuple, in arrival order. Where equal values may be shown in several ways (0 and −0, 1.0 and 1.00) one
 * stands for all, and which is known at the end: such tuples leave when all rows have come, in the same order.
 */
export class DistinctOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #input: Operator;
  readonly #keys: readonly CompiledExpression[];
  readonly #groups: GroupTable;
  readonly #context: EvaluationContext;
  #seen = new Uint8Array(1024);
  readonly #isLate: boolean;
  /** The keys of a batch of the input whose groups wait for room. */
  #waiting: readonly Vector[] | undefined;
  /** Tuples that have left; −1 while rows come. */
  #left = -1;
  readonly #shown: ShownTuples;

  constructor(
    node: DistinctNode,
    input: Operator,
    context: EvaluationContext,
    memory: MemoryAccount,
  ) {
    this.id = node.id;
    this.columns = node.columns;
    this.#input = input;
    this.#context = context;
    const keys =
      node.on ??
      node.columns.map((each, index) => ({
        kind: 'column' as const,
        index,
        type: each.type,
        nullable: each.nullable,
        name: each.name,
      }));
    this.#isLate = node.on === undefined && node.columns.some(({ type }) => isManifold(type));
    this.#keys = keys.map(compileExpression);
    this.#groups = new GroupTable(
      keys.map((key) => key.type),
      memory,
    );
    this.#shown = new ShownTuples(this.#isLate ? node.columns : [], this.#groups);
  }

  next(budget: Budget): Step {
    if (this.#left >= 0) return this.#leave(budget);
    for (;;) {
      const step = this.#waiting === undefined ? this.#input.next(budget) : 'batch';
      if (step === 'done' && this.#isLate) {
        this.#left = 0;
        return this.#leave(budget);
      }
      if (step !== 'batch') return step;
      const { batch } = this.#input;
      if (this.#waiting === undefined) budget.charge(batch.rowCount * this.#keys.length);
      const keys = (this.#waiting ??= this.#keys.map((key) => key.evaluate(batch, this.#context)));
      const groups = this.#groups.internWithin(keys, batch.rowCount, budget);
      if (groups === undefined) return 'more';
      this.#waiting = undefined;
      if (this.#isLate) {
        this.#shown.note(keys, groups, batch.rowCount);
        if (budget.exhausted) return 'more';
        continue;
      }
      this.#seen = grownBytes(this.#seen, this.#groups.groupCount);
      const kept = new Int32Array(batch.rowCount);
      let count = 0;
      for (let row = 0; row < batch.rowCount; row += 1) {
        const group = groups[row]!;
        if (this.#seen[group] === 1) continue;
        this.#seen[group] = 1;
        kept[count] = batch.selection === undefined ? row : batch.selection[row]!;
        count += 1;
      }
      if (count > 0) {
        this.batch = {
          rowCount: count,
          columns: batch.columns,
          selection: kept.subarray(0, count),
        };
        return 'batch';
      }
      if (budget.exhausted) return 'more';
    }
  }

  #leave(budget: Budget): Step {
    const count = Math.min(BATCH_ROW_COUNT_MAX, this.#groups.groupCount - this.#left);
    if (count === 0) return 'done';
    const groups = Int32Array.from({ length: count }, (_, at) => this.#left + at);
    this.#left += count;
    budget.charge(count * this.#keys.length);
    this.batch = { rowCount: count, columns: this.#shown.columns(groups, count) };
    return 'batch';
  }

  close(): void {
    this.#input.close();
    this.#groups.close();
  }
}

/** What tuples of equal values look like: 0 and not −0, a numeric with the longest scale that it has come with. */
class ShownTuples {
  readonly #columns: readonly OutputColumn[];
  readonly #groups: GroupTable;
  /** For columns of numerics of no fixed scale: the longest of each tuple. */
  readonly #scales: Map<number, Int32Array>;

  constructor(columns: readonly OutputColumn[], groups: GroupTable) {
    this.#columns = columns;
    this.#groups = groups;
    this.#scales = new Map(
      columns.flatMap(({ type }, index) =>
        isScaleFree(type) ? [[index, new Int32Array(1024)] as const] : [],
      ),
    );
  }

  /** Rows come; a selection is applied already. */
  note(keys: readonly Vector[], groups: Int32Array, rowCount: number): void {
    for (const [column, known] of this.#scales) {
      let scales = known;
      if (scales.length < this.#groups.groupCount) {
        scales = new Int32Array(Math.max(this.#groups.groupCount, known.length * 2));
        scales.set(known);
        this.#scales.set(column, scales);
      }
      for (let row = 0; row < rowCount; row += 1) {
        const datum = datumAt(keys[column]!, row);
        if (datum instanceof Decimal && datum.scale > scales[groups[row]!]!)
          scales[groups[row]!] = datum.scale;
      }
    }
  }

  columns(groups: Int32Array, count: number): Vector[] {
    const columns = this.#groups.keys(groups, count);
    for (const [column, scales] of this.#scales)
      columns[column] = vectorFromData(
        this.#columns[column]!.type,
        Array.from(groups, (group, at) => cutTo(datumAt(columns[column]!, at), scales[group]!)),
      );
    return columns;
  }
}

function isManifold(type: SqlType): boolean {
  return type.kind === 'float4' || type.kind === 'float8' || isScaleFree(type);
}

/** An equal numeric came with `scale` at most: digits behind it are zeros. */
function cutTo(datum: Datum, scale: number): Datum {
  if (!(datum instanceof Decimal) || datum.special !== undefined || datum.scale <= scale)
    return datum;
  return new Decimal(datum.coefficient / 10n ** BigInt(datum.scale - scale), scale);
}

/**
 * INTERSECT and EXCEPT, with ALL by counting copies: the left side's rows in its order. Where equal values may be shown in several ways
 * one stands for all of both sides, as a view over them shows it: such rows leave when all have come.
 */
export class SetOperationOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #node: SetOperationNode;
  readonly #left: Operator;
  readonly #right: Operator;
  readonly #groups: GroupTable;
  /** Copies on the right that are left to be matched. */
  #copies = new Float64Array(1024);
  #given = new Uint8Array(1024);
  #built = false;
  /** Where equal values may look different: what they are shown as, and the groups of rows that leave at the end. */
  readonly #shown: ShownTuples | undefined;
  readonly #kept: Int32Array[] = [];
  readonly #keptBytes: MemoryLease;
  /** Parts of them that have left; −1 while rows come. */
  #leftCount = -1;
  /** The columns of a batch of either side whose groups wait for room. */
  #waiting: readonly Vector[] | undefined;
  /** The columns whose groups were given last, without the rows that are not selected. */
  #interned: readonly Vector[] = [];

  constructor(node: SetOperationNode, left: Operator, right: Operator, memory: MemoryAccount) {
    this.id = node.id;
    this.columns = node.columns;
    this.#node = node;
    this.#left = left;
    this.#right = right;
    this.#groups = new GroupTable(
      node.columns.map(({ type }) => type),
      memory,
    );
    this.#keptBytes = new MemoryLease(memory);
    this.#shown = node.columns.some(({ type }) => isManifold(type))
      ? new ShownTuples(node.columns, this.#groups)
      : undefined;
  }

  next(budget: Budget): Step {
    if (this.#leftCount >= 0) return this.#leave(budget);
    while (!this.#built) {
      const step = this.#waiting === undefined ? this.#right.next(budget) : 'batch';
      if (step === 'more') return 'more';
      if (step === 'done') {
        this.#built = true;
        break;
      }
      const groups = this.#intern(this.#right.batch, budget);
      if (groups === undefined) return 'more';
      this.#shown?.note(this.#interned, groups, this.#right.batch.rowCount);
      budget.charge(this.#right.batch.rowCount * this.columns.length);
      for (let row = 0; row < this.#right.batch.rowCount; row += 1)
        this.#copies[groups[row]!] = this.#copies[groups[row]!]! + 1;
      if (budget.exhausted) return 'more';
    }
    const { all, operation } = this.#node;
    for (;;) {
      const step = this.#waiting === undefined ? this.#left.next(budget) : 'batch';
      if (step === 'done' && this.#shown !== undefined) {
        this.#leftCount = 0;
        return this.#leave(budget);
      }
      if (step !== 'batch') return step;
      const { batch } = this.#left;
      const groups = this.#intern(batch, budget);
      if (groups === undefined) return 'more';
      this.#shown?.note(this.#interned, groups, batch.rowCount);
      budget.charge(batch.rowCount * this.columns.length);
      const kept = new Int32Array(batch.rowCount);
      let count = 0;
      for (let row = 0; row < batch.rowCount; row += 1) {
        const group = groups[row]!;
        const right = this.#copies[group]!;
        let passes: boolean;
        if (all) {
          if (right > 0) this.#copies[group] = right - 1;
          passes = operation === 'intersect' ? right > 0 : right <= 0;
        } else {
          passes = (operation === 'intersect') === right > 0 && this.#given[group] === 0;
          if (passes) this.#given[group] = 1;
        }
        if (!passes) continue;
        kept[count] =
          this.#shown !== undefined
            ? group
            : batch.selection === undefined
              ? row
              : batch.selection[row]!;
        count += 1;
      }
      if (this.#shown !== undefined) {
        if (count > 0) this.#keep(kept.slice(0, count));
      } else if (count > 0) {
        this.batch = {
          rowCount: count,
          columns: batch.columns,
          selection: kept.subarray(0, count),
        };
        return 'batch';
      }
      if (budget.exhausted) return 'more';
    }
  }

  #keep(groups: Int32Array): void {
    this.#keptBytes.take(groups.byteLength);
    this.#kept.push(groups);
  }

  #leave(budget: Budget): Step {
    const groups = this.#kept[this.#leftCount];
    if (groups === undefined) return 'done';
    this.#leftCount += 1;
    budget.charge(groups.length * this.columns.length);
    this.batch = {
      rowCount: groups.length,
      columns: this.#shown!.columns(groups, groups.length),
    };
    return 'batch';
  }

  close(): void {
    this.#left.close();
    this.#right.close();
    this.#groups.close();
    this.#keptBytes.close();
  }

  /** undefined: there is no room yet for the batch's groups; it is to be given again. */
  #intern(batch: Batch, budget: Budget): Int32Array | undefined {
    const columns = (this.#waiting ??=
      batch.selection === undefined
        ? batch.columns
        : batch.columns.map((vector) => gather(vector, batch.selection!, batch.rowCount)));
    const groups = this.#groups.internWithin(columns, batch.rowCount, budget);
    if (groups === undefined) return undefined;
    this.#interned = columns;
    this.#waiting = undefined;
    const { groupCount } = this.#groups;
    this.#given = grownBytes(this.#given, groupCount);
    if (this.#copies.length < groupCount) {
      const next = new Float64Array(Math.max(groupCount, this.#copies.length * 2));
      next.set(this.#copies);
      this.#copies = next;
    }
    return groups;
  }
}

function grownBytes(bytes: Uint8Array<ArrayBuffer>, length: number): Uint8Array<ArrayBuffer> {
  if (bytes.length >= length) return bytes;
  const next = new Uint8Array(Math.max(length, bytes.length * 2));
  next.set(bytes);
  return next;
}
