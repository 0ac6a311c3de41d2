import type { Batch } from '../columns/batch.ts';
import type { Budget, Operator, Step } from '../operators/operator.ts';
import type { UnionAllNode } from '../plan/logical.ts';

/** UNION ALL of deltas: one input after the other. */
export class DeltaUnion implements Operator {
  readonly id: number;
  readonly columns: UnionAllNode['columns'];
  readonly #inputs: readonly Operator[];
  #current = 0;

  constructor(node: UnionAllNode, inputs: readonly Operator[]) {
    this.id = node.id;
    this.columns = node.columns;
    this.#inputs = inputs;
  }

  get batch(): Batch {
    return this.#inputs[this.#current]!.batch;
  }

  next(budget: Budget): Step {
    // Every input is asked once more in each commit: `#current` starts over when all are done.
    for (; this.#current < this.#inputs.length; this.#current += 1) {
      const step = this.#inputs[this.#current]!.next(budget);
      if (step !== 'done') return step;
    }
    this.#current = 0;
    return 'done';
  }

  /** A commit was undone in the middle: the next one begins with the first input. */
  reset(): void {
    this.#current = 0;
  }

  close(): void {
    for (const input of this.#inputs) input.close();
  }
}
