import type { MemoryAccount } from '../base/memory.ts';
import type { Batch } from '../columns/batch.ts';
import { compileExpression, type CompiledExpression } from '../expressions/compile.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { DistinctNode, OutputColumn, SetOperationNode } from '../plan/logical.ts';
import { GroupTable } from './group-table.ts';
import type { Budget, Operator, Step } from './operator.ts';
import { EMPTY_BATCH } from './row-operators.ts';
import { gather } from '../columns/build.ts';

/** The first row of each tuple, in arrival order. */
export class DistinctOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #input: Operator;
  readonly #keys: readonly CompiledExpression[];
  readonly #groups: GroupTable;
  readonly #context: EvaluationContext;
  #seen = new Uint8Array(1024);

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
    this.#keys = keys.map(compileExpression);
    this.#groups = new GroupTable(
      keys.map((key) => key.type),
      memory,
    );
  }

  next(budget: Budget): Step {
    for (;;) {
      const step = this.#input.next(budget);
      if (step !== 'batch') return step;
      const { batch } = this.#input;
      budget.charge(batch.rowCount * this.#keys.length);
      const groups = this.#groups.intern(
        this.#keys.map((key) => key.evaluate(batch, this.#context)),
        batch.rowCount,
      );
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

  close(): void {
    this.#input.close();
    this.#groups.close();
  }
}

/** INTERSECT and EXCEPT, with ALL by counting copies: the left side's rows in its order. */
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
  }

  next(budget: Budget): Step {
    while (!this.#built) {
      const step = this.#right.next(budget);
      if (step === 'more') return 'more';
      if (step === 'done') {
        this.#built = true;
        break;
      }
      const groups = this.#intern(this.#right.batch);
      budget.charge(this.#right.batch.rowCount * this.columns.length);
      for (let row = 0; row < this.#right.batch.rowCount; row += 1)
        this.#copies[groups[row]!] = this.#copies[groups[row]!]! + 1;
      if (budget.exhausted) return 'more';
    }
    const { all, operation } = this.#node;
    for (;;) {
      const step = this.#left.next(budget);
      if (step !== 'batch') return step;
      const { batch } = this.#left;
      const groups = this.#intern(batch);
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

  close(): void {
    this.#left.close();
    this.#right.close();
    this.#groups.close();
  }

  #intern(batch: Batch): Int32Array {
    const columns =
      batch.selection === undefined
        ? batch.columns
        : batch.columns.map((vector) => gather(vector, batch.selection!, batch.rowCount));
    const groups = this.#groups.intern(columns, batch.rowCount);
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
