import type { Batch } from '../columns/batch.ts';
import { concatBatches, denseBatch } from '../columns/build.ts';
import type { RowSink } from './session.ts';

/** A sink that keeps the rows as they are: for rows that go into a table. */
export class BatchCollector implements RowSink {
  readonly #batches: Batch[] = [];

  begin(): void {
    this.#batches.length = 0;
  }

  take(batch: Batch): boolean {
    this.#batches.push(denseBatch(batch));
    return true;
  }

  /** All rows as one batch; undefined when there were none. */
  rows(): Batch | undefined {
    return this.#batches.length === 0 ? undefined : concatBatches(this.#batches);
  }
}
