/** How a cell was written. */
export const PLAIN = 0;
export const QUOTED = 1;
/** In quotes, some of them doubled. */
export const ESCAPED = 2;

/**
 * Cells of rows, as places in `bytes` (UTF-8): row r has the cells from firstCell[r] on. No string is made for a cell: columns of numbers,
 * dates and texts are all read from the bytes.
 */
export type TextCells = {
  readonly bytes: Uint8Array;
  readonly firstCell: Int32Array;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  readonly flags: Uint8Array;
};
