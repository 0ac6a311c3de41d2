import { assert } from '../base/errors.ts';
import { ChunkedInt32, ChunkedUint53 } from '../base/chunked.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import { BATCH_ROW_COUNT_MAX } from '../columns/batch.ts';
import type { Batch } from '../columns/batch.ts';
import { denseBatch, hashRow } from '../columns/build.ts';
import type { Vector } from '../columns/vector.ts';
import type { Budget, Operator, Step } from '../operators/operator.ts';
import type { AggregateNode, OutputColumn } from '../plan/logical.ts';
import type { StatefulOperator } from './delta-operator.ts';
import { evaluators } from './evaluate.ts';
import type { Evaluator } from './evaluate.ts';
import { GroupAccumulators } from './group-accumulators.ts';
import { identicalCells } from './identical.ts';
import { mixVectors } from './mix-vectors.ts';
import { RowTable } from './row-store.ts';

/** Groups whose rows are finished in one piece: with both versions of each, a batch is full. */
const GROUPS_PER_BATCH = BATCH_ROW_COUNT_MAX / 2;
const WORK_PER_ROW_AND_CALL = 1;
const WORK_PER_GROUP = 4;

/**
 * GROUP BY of deltas. A group keeps the exact state of each aggregate and how many rows it has; when a commit's last change is in, the
 * groups it touched are finished anew, and those whose row looks different than before leave as −old, +new, next to each other. A
 * group without rows has no row; without keys there is always one.
 *
 * The batch's row ids number the groups: whoever stores the answer finds a group's row by it. DISTINCT is a GROUP BY without
 * aggregates.
 */
export class DeltaAggregate implements StatefulOperator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = { rowCount: 0, columns: [] };
  readonly #input: Operator;
  readonly #keys: readonly Evaluator[];
  readonly #lease: MemoryLease;
  readonly #groups: RowTable;
  readonly #accumulators: GroupAccumulators;
  /** By group. */
  readonly #rowCounts: ChunkedUint53;
  /** In which commit the group was touched last, and how many unpublished commits have it in their log. */
  readonly #touchedIn: ChunkedInt32;
  readonly #pending: ChunkedInt32;
  #commit = 0;
  /** Groups touched since the last row went out, in order, and what they looked like before. */
  #touched: number[] = [];
  #before: Before[] = [];
  /** The next touched group to finish; −1 while input is read. */
  #finishing = -1;
  /** By staged commit, oldest first: what was added, to take it back. */
  readonly #logs: Added[][] = [];
  #hasGlobalRow = false;

  constructor(node: AggregateNode, input: Operator, options: { readonly memory?: MemoryAccount | undefined; readonly refill?: (() => Operator) | undefined }) {
    this.id = node.id;
    this.columns = node.columns;
    this.#input = input;
    this.#lease = new MemoryLease(options.memory);
    this.#keys = evaluators(node.keys, input.columns);
    this.#groups = new RowTable(node.keys.map((key) => key.type), 'equal', this.#lease);
    this.#accumulators = new GroupAccumulators(node.calls, input.columns, { lease: this.#lease, bounded: options.refill !== undefined });
    this.#refill = options.refill;
    this.#rowCounts = new ChunkedUint53(this.#lease);
    this.#touchedIn = new ChunkedInt32(this.#lease);
    this.#pending = new ChunkedInt32(this.#lease);
  }

  next(budget: Budget): Step {
    if (this.#finishing < 0) {
      const step = this.#readInput(budget);
      if (step === 'more') return 'more';
      this.#accumulators.settle();
      this.#finishing = 0;
    }
    const step = this.#refillStale(budget);
    if (step === 'more') return 'more';
    while (this.#finishing < this.#touched.length) {
      if (budget.exhausted) return 'more';
      if (this.#finishSome(budget)) return 'batch';
    }
    this.#endCommit();
    return 'done';
  }
}
