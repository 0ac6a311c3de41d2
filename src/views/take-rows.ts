import { gather } from '../columns/build.ts';
import { VectorBuilder } from '../columns/vector-builder.ts';
import type { Vector } from '../columns/vector.ts';

/** Row i of the result is row `rows[i]` of the columns of batch `batches[i]`; all batches have columns of the same types. */
export function takeRows(
  columns: readonly (readonly Vector[])[],
  batches: readonly number[],
  rows: readonly number[],
): Vector[] {
  const first = batches[0]!;
  const isOne = batches.every((batch) => batch === first);
  const selection = Int32Array.from(rows);
  return columns[first]!.map((vector, column) => {
    if (isOne) return gather(vector, selection, rows.length);
    const builder = new VectorBuilder(vector.type);
    builder.reserveExactly(rows.length);
    for (let start = 0; start < rows.length;) {
      const batch = batches[start]!;
      let end = start + 1;
      while (end < rows.length && batches[end] === batch) end += 1;
      builder.append(columns[batch]![column]!, selection, start, end - start);
      start = end;
    }
    return builder.finish();
  });
}
