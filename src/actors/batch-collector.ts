import type { MemoryAccount } from '../base/memory.ts';
import type { Batch } from '../columns/batch.ts';
import { concatBatches, denseBatch } from '../columns/build.ts';
import { batchBytes } from '../columns/version-log.ts';
import { HeldRows } from './held-rows.ts';
import type { RowSink } from './session.ts';

/** A sink that keeps the rows as they are: for rows that go into a table. `release` it, whatever has become of them. */
export class BatchCollector implements RowSink {
  readonly #batches: Batch[] = [];
  readonly #held: HeldRows;

  constructor(memory: MemoryAccount) {
    this.#held = new HeldRows(
      memory,
      'Change fewer rows at once, a range of keys after another, or raise the memory limit.',
    );
  }

  begin(): void {
    this.release();
  }

  take(batch: Batch): boolean {
    const dense = denseBatch(batch);
    this.#held.add(batchBytes(dense));
    this.#batches.push(dense);
    return true;
  }

  /** The rows as they came. */
  get batches(): readonly Batch[] {
    return this.#batches;
  }

  /** All rows as one batch; undefined when there were none. */
  rows(): Batch | undefined {
    return this.#batches.length === 0 ? undefined : concatBatches(this.#batches);
  }

  release(): void {
    this.#batches.length = 0;
    this.#held.release();
  }
}
