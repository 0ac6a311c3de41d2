import { DbError } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import type { Batch } from '../columns/batch.ts';
import { denseBatch } from '../columns/build.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { OutputColumn, RecursiveNode } from '../plan/logical.ts';
import { CollectedRows } from './collect.ts';
import { DistinctOperator } from './distinct.ts';
import type { Budget, Operator, Step } from './operator.ts';
import { EMPTY_BATCH } from './row-operators.ts';

/** Each round plans its operators anew: a query that needs more of them does not end. */
const ROUNDS_MAX = 100_000;

/**
 * WITH RECURSIVE: the base's rows, then those that the step makes of the rows of the round before, until a round brings none.
 * Rows leave as they are found. UNION keeps the first of equal ones, so that walks in circles end.
 */
export class RecursiveOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #memory: MemoryAccount;
  readonly #buildStep: (working: CollectedRows) => Operator;
  readonly #round: Round;
  readonly #source: Operator;
  /** What the round that runs has brought, and what it reads. */
  #found: CollectedRows;
  #working: CollectedRows | undefined;
  #rounds = 0;

  constructor(
    node: RecursiveNode,
    base: Operator,
    context: EvaluationContext,
    memory: MemoryAccount,
    buildStep: (working: CollectedRows) => Operator,
  ) {
    this.id = node.id;
    this.columns = node.columns;
    this.#memory = memory;
    this.#buildStep = buildStep;
    this.#round = new Round(base);
    const { columns } = node;
    this.#source = node.all
      ? this.#round
      : new DistinctOperator(
          { kind: 'distinct', id: node.id, input: node.base, columns },
          this.#round,
          context,
          memory,
        );
    this.#found = new CollectedRows(memory);
  }

  next(budget: Budget): Step {
    for (;;) {
      const step = this.#source.next(budget);
      if (step === 'more') return 'more';
      if (step === 'batch') {
        this.batch = denseBatch(this.#source.batch);
        this.#found.keep(this.batch);
        budget.charge(this.batch.rowCount);
        return 'batch';
      }
      if (this.#found.rowCount === 0) return 'done';
      this.#rounds += 1;
      if (this.#rounds > ROUNDS_MAX)
        throw new DbError('54001', `a recursive query goes on for more than ${ROUNDS_MAX} rounds`, {
          hint: 'Give its step a condition that ends it, or use UNION instead of UNION ALL.',
        });
      this.#working?.close();
      this.#working = this.#found;
      this.#found = new CollectedRows(this.#memory);
      this.#round.begin(this.#buildStep(this.#working));
      if (budget.exhausted) return 'more';
    }
  }

  close(): void {
    this.#source.close();
    this.#found.close();
    this.#working?.close();
  }
}

/** One plan after the other, as one input. */
class Round implements Operator {
  #operator: Operator;

  constructor(operator: Operator) {
    this.#operator = operator;
  }

  get id(): number {
    return this.#operator.id;
  }

  get columns(): readonly OutputColumn[] {
    return this.#operator.columns;
  }

  get batch(): Batch {
    return this.#operator.batch;
  }

  begin(operator: Operator): void {
    this.#operator.close();
    this.#operator = operator;
  }

  next(budget: Budget): Step {
    return this.#operator.next(budget);
  }

  close(): void {
    this.#operator.close();
  }
}
