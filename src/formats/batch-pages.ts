import type { Batch } from '../columns/batch.ts';
import { concatBatches } from '../columns/build.ts';

/** Rows and bytes that are encoded together, column by column: a column of them is a piece of work of about a millisecond. */
const PAGE_ROW_COUNT = 8192;
const PAGE_BYTES = 1 << 20;

/** Collects batches until they are worth a page. */
export class BatchPages {
  #batches: Batch[] = [];
  #rowCount = 0;
  #bytes = 0;

  /** The page that is full with this batch; undefined: not yet. */
  add(batch: Batch): Batch | undefined {
    if (batch.rowCount === 0) return undefined;
    this.#batches.push(batch);
    this.#rowCount += batch.rowCount;
    for (const column of batch.columns)
      if (column.rep === 'bytes') this.#bytes += column.offsets.at(-1)! - column.offsets[0]!;
    return this.#rowCount >= PAGE_ROW_COUNT || this.#bytes >= PAGE_BYTES ? this.rest() : undefined;
  }

  rest(): Batch | undefined {
    if (this.#batches.length === 0) return undefined;
    const whole = concatBatches(this.#batches);
    this.#batches = [];
    this.#rowCount = 0;
    this.#bytes = 0;
    return whole;
  }
}
