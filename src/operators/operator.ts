import type { Batch } from '../columns/batch.ts';
import type { OutputColumn } from '../plan/logical.ts';

/**
 * How much an operator may do before it gives the thread back. Units are logical events (law 3): rows read, keys
 * looked up, groups touched, values compared by formula, bytes out; charged by formula from counts, so the same
 * plan at the same position and layout costs the same in every run.
 */
export class Budget {
  /** Units left in this step; an operator that finds it ≤ 0 returns 'more' at its next safe point. */
  remaining: number;
  /** Units spent since the query began. */
  spent = 0;

  constructor(remaining: number) {
    this.remaining = remaining;
  }

  charge(units: number): void {
    this.remaining -= units;
    this.spent += units;
  }

  get exhausted(): boolean {
    return this.remaining <= 0;
  }

  refill(units: number): void {
    this.remaining = units;
  }
}

/**
 * - 'batch': `operator.batch` holds the next rows, valid until the next call.
 * - 'more': the budget is used up; call again.
 * - 'done': drained. A source may be given more input afterwards (`DeltaSource.push`); then `next` goes on.
 */
export type Step = 'batch' | 'more' | 'done';

/**
 * A resumable operator (law 5): pulls from its inputs, never holds the thread longer than its budget plus one
 * batch, keeps its cursor inside. Contract:
 *
 * 1. After 'batch', `batch.rowCount` is 1 … BATCH_ROW_COUNT_MAX.
 * 2. When an input says 'more', so does the operator, with nothing lost.
 * 3. Weights: every operator treats a row of weight w as w copies (w < 0: retractions). Operators that cannot
 *    take retractions (sort, limit, …) assert that weights are positive; inside views only those run that can.
 * 4. After 'done' of all inputs the operator delivers what it owes, then says 'done'; it stays 'done' until an
 *    input delivers again. Stateless operators and delta operators then go on as if nothing happened.
 * 5. A DbError thrown by `next` ends the query; the operator is closed and never called again.
 */
export interface Operator {
  /** The plan node's id: names the operator in EXPLAIN ANALYZE, estimates and running queries. */
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  readonly batch: Batch;
  next(budget: Budget): Step;
  /** Gives back memory accounts and snapshots; idempotent; closes its inputs. */
  close(): void;
}
