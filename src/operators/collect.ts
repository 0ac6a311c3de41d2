import { MemoryLease } from '../base/memory-lease.ts';
import type { MemoryAccount } from '../base/memory.ts';
import type { Batch } from '../columns/batch.ts';
import { denseBatch } from '../columns/build.ts';
import { batchBytes } from '../columns/version-log.ts';
import type { Budget, Operator } from './operator.ts';

/** All rows of an input, kept as dense batches; read in steps. Addressed by batch and row. */
export class CollectedRows {
  readonly batches: Batch[] = [];
  rowCount = 0;
  readonly #lease: MemoryLease;

  constructor(memory: MemoryAccount | undefined) {
    this.#lease = new MemoryLease(memory);
  }

  /** Reads on; true when the input is drained, false where it is not, or `isFull` after a batch. Row ids may be lent: they are told, not kept. */
  fill(
    input: Operator,
    budget: Budget,
    each?: (batch: Batch, rowIds: Float64Array | undefined) => void,
    isFull?: () => boolean,
  ): boolean {
    for (;;) {
      const step = input.next(budget);
      if (step === 'done') return true;
      if (step === 'more') return false;
      // A scan's dictionary vectors and subarrays may be kept: vectors are never written once handed on.
      const { rowIds, ...batch } = denseBatch(input.batch);
      this.keep(batch);
      each?.(batch, rowIds);
      budget.charge(batch.rowCount);
      if (budget.exhausted || isFull?.() === true) return false;
    }
  }

  /** A dense batch that belongs to nobody else. */
  keep(batch: Batch): void {
    this.#lease.take(batchBytes(batch));
    this.batches.push(batch);
    this.rowCount += batch.rowCount;
  }

  close(): void {
    this.batches.length = 0;
    this.#lease.close();
  }
}
