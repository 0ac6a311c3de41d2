import type { Operator } from '../operators/operator.ts';

/**
 * An operator of a standing plan that remembers something. Between two commits it is drained; what a commit changes in it can be
 * undone until the commit is published:
 *
 * 1. `checkpoint` opens a commit, before anything is pushed.
 * 2. `rollback` undoes the newest commit with a checkpoint, be it half done.
 * 3. `release` makes the oldest one final.
 */
export interface StatefulOperator extends Operator {
  checkpoint(): void;
  rollback(): void;
  release(): void;
}
