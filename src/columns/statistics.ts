import { hashRows } from './build.ts';
import { isNullAt } from './cells.ts';
import { DistinctSketch } from './distinct-sketch.ts';
import { CHUNK_ROWS } from './chunk-pool.ts';
import type { SegmentList } from './segment.ts';
import type { StoredColumn } from './stored-column.ts';

/** Distinct values of a column among the rows that are not sealed yet. */
export function distinctOfOpenRows(list: SegmentList, column: StoredColumn): number {
  const sketch = new DistinctSketch();
  for (const state of list.states) {
    const segment = state?.segment;
    if (segment?.kind !== 'open') continue;
    for (let start = 0; start < segment.rowCount; start += CHUNK_ROWS) {
      const count = Math.min(CHUNK_ROWS, segment.rowCount - start);
      const { vector } = segment.view(column, start);
      const hashes = hashRows([vector], count);
      for (let row = 0; row < count; row += 1) if (!isNullAt(vector, row)) sketch.add(hashes[row]!);
    }
  }
  return sketch.estimate();
}
