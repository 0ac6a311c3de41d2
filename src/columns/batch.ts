import type { Vector } from './vector.ts';

/**
 * A scan's output, a change and a sample are all batches. 16 KiB a vector: a few fit in L2, and one push costs
 * little per row.
 */
export const BATCH_ROW_COUNT_MAX = 2048;

/** A row of several batches, or vectors, as one number: that of the batch times this, and its place in it. */
export const PLACE_ROWS = 2 ** 24;

/**
 * Rows in columns. With a `selection`, logical row i is physical row `selection[i]` of every vector and of
 * `weights` and `rowIds`; without one, it is physical row i. Batches of operators hold at most
 * BATCH_ROW_COUNT_MAX rows; batches of changes on their way to a table may be larger.
 */
export type Batch = {
  readonly rowCount: number;
  readonly columns: readonly Vector[];
  readonly selection?: Int32Array | undefined;
  /** +n: the row arrives n times, −n: it leaves n times. Absent: all +1. Never 0. */
  readonly weights?: Int32Array | undefined;
  /** Row ids (arrival ordinals) in the table the rows come from, where somebody downstream asked for them. */
  readonly rowIds?: Float64Array | undefined;
};
