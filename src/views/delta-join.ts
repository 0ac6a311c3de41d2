import { assert } from '../base/errors.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { BATCH_ROW_COUNT_MAX } from '../columns/batch.ts';
import type { Batch } from '../columns/batch.ts';
import { denseBatch, gather, isNullAt } from '../columns/build.ts';
import type { Vector } from '../columns/vector.ts';
import type { Budget, Operator, Step } from '../operators/operator.ts';
import type { JoinNode, OutputColumn } from '../plan/logical.ts';
import { Arrangement } from './arrangement.ts';
import type { StatefulOperator } from './delta-operator.ts';
import { evaluators } from './evaluate.ts';
import type { Evaluator } from './evaluate.ts';

/** Looking a key up, and bringing one row of the answer together: what a probe is charged. */
const WORK_PER_PROBE = 4;
const WORK_PER_ROW_OUT = 2;

/**
 * An inner join of deltas: Δ(L ⋈ R) = ΔL ⋈ R + L′ ⋈ ΔR, where L′ has ΔL in it already. Each side is remembered by its join key, so
 * the work goes with the rows that change and those they meet, never with the size of a table. The residual condition is a filter
 * above.
 */
export class DeltaJoin implements StatefulOperator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = { rowCount: 0, columns: [] };
  readonly #sides: readonly [Side, Side];
  readonly #lease: MemoryLease;
  /** Which side's delta is being read: 0 left, 1 right. */
  #reading: 0 | 1 = 0;
  /** The batch being probed, its keys, its next row, and the match to go on with (−1: none). */
  #input: Batch | undefined;
  #keys: readonly Vector[] = [];
  #row = 0;
  #match = -1;
  /** Rows to come out: physical row of the input, slot of the match, weight. */
  readonly #rows = new Int32Array(BATCH_ROW_COUNT_MAX);
  readonly #slots = new Int32Array(BATCH_ROW_COUNT_MAX);
  readonly #weights = new Int32Array(BATCH_ROW_COUNT_MAX);

  constructor(
    node: JoinNode,
    left: Operator,
    right: Operator,
    context: EvaluationContext,
    memory: MemoryAccount | undefined,
  ) {
    assert(node.type === 'inner', 'only inner joins are kept up to date');
    this.id = node.id;
    this.columns = node.columns;
    this.#lease = new MemoryLease(memory);
    const side = (input: Operator, keys: readonly JoinNode['keys'][number]['left'][]): Side => ({
      input,
      keys: evaluators(keys, context),
      arrangement: new Arrangement(
        input.columns.map((column) => column.type),
        keys.map((key) => key.type),
        this.#lease,
      ),
    });
    this.#sides = [
      side(
        left,
        node.keys.map((key) => key.left),
      ),
      side(
        right,
        node.keys.map((key) => key.right),
      ),
    ];
  }

  next(budget: Budget): Step {
    for (;;) {
      if (this.#input === undefined) {
        const step = this.#sides[this.#reading].input.next(budget);
        if (step === 'more') return 'more';
        if (step === 'done') {
          if (this.#reading === 1) {
            this.#reading = 0;
            return 'done';
          }
          this.#reading = 1;
          continue;
        }
        this.#take(this.#sides[this.#reading]);
      }
      const count = this.#probe(budget);
      if (count > 0) {
        this.batch = this.#joined(count);
        this.#finishInput();
        return 'batch';
      }
      if (!this.#finishInput() && budget.exhausted) return 'more';
    }
  }

  checkpoint(): void {
    for (const side of this.#sides) side.arrangement.checkpoint();
  }

  rollback(): void {
    this.#input = undefined;
    this.#reading = 0;
    // What has shrunk meanwhile takes its room again.
    this.#lease.limits = false;
    for (const side of this.#sides) side.arrangement.rollback();
    this.#lease.limits = true;
  }

  release(): void {
    for (const side of this.#sides) side.arrangement.release();
    // Rows of a commit that is half-way through may be looked at in their slots.
    if (this.#input !== undefined) return;
    this.#lease.limits = false;
    for (const side of this.#sides) side.arrangement.shrink();
    this.#lease.limits = true;
  }

  close(): void {
    for (const side of this.#sides) side.input.close();
    this.#lease.close();
  }

  #take(side: Side): void {
    this.#input = denseBatch(side.input.batch);
    this.#keys = side.keys.map((key) => key(this.#input!));
    this.#row = 0;
    this.#match = -1;
  }

  /** Matches of the input's rows, as many as fit a batch and the budget. */
  #probe(budget: Budget): number {
    const input = this.#input!;
    const other = this.#sides[1 - this.#reading]!.arrangement;
    let count = 0;
    let probes = 0;
    while (this.#row < input.rowCount) {
      if (this.#match < 0) {
        probes += 1;
        this.#match = hasNull(this.#keys, this.#row) ? -1 : other.first(this.#keys, this.#row);
      }
      while (this.#match >= 0 && count < BATCH_ROW_COUNT_MAX) {
        this.#rows[count] = this.#row;
        this.#slots[count] = this.#match;
        this.#weights[count] =
          (input.weights === undefined ? 1 : input.weights[this.#row]!) * other.weight(this.#match);
        this.#match = other.after(this.#match);
        count += 1;
      }
      if (this.#match >= 0) break;
      this.#row += 1;
      if (count === BATCH_ROW_COUNT_MAX) break;
    }
    budget.charge(probes * WORK_PER_PROBE + count * WORK_PER_ROW_OUT);
    return count;
  }

  #joined(count: number): Batch {
    const other = this.#sides[1 - this.#reading]!.arrangement;
    const rows = this.#rows.slice(0, count);
    const own = this.#input!.columns.map((vector) => gather(vector, rows, count));
    const theirs = other.gather(this.#slots, count);
    const columns = this.#reading === 0 ? [...own, ...theirs] : [...theirs, ...own];
    return { rowCount: count, columns, weights: this.#weights.slice(0, count) };
  }

  /** Once all its rows were probed, the input is remembered on its side. */
  #finishInput(): boolean {
    const input = this.#input!;
    if (this.#row < input.rowCount) return false;
    const { arrangement } = this.#sides[this.#reading];
    for (let row = 0; row < input.rowCount; row += 1) {
      if (hasNull(this.#keys, row)) continue;
      arrangement.add(
        input.columns,
        this.#keys,
        row,
        input.weights === undefined ? 1 : input.weights[row]!,
      );
    }
    this.#input = undefined;
    return true;
  }
}

type Side = {
  readonly input: Operator;
  readonly keys: readonly Evaluator[];
  readonly arrangement: Arrangement;
};

function hasNull(keys: readonly Vector[], row: number): boolean {
  for (let index = 0; index < keys.length; index += 1) if (isNullAt(keys[index]!, row)) return true;
  return false;
}
