import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Batch } from '../../src/columns/batch.ts';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
import type { SqlType } from '../../src/columns/types.ts';
import { Decimal, type Datum } from '../../src/columns/values.ts';
import { mergeDeltas } from '../../src/views/merge-deltas.ts';

const TYPES: readonly SqlType[] = [
  { kind: 'int4' },
  { kind: 'float8' },
  { kind: 'numeric' },
  { kind: 'text' },
];

/** Few values of each type, so that rows meet; numerics of one batch may be numbers, of the other data. */
const row = fc.tuple(
  fc.option(fc.integer({ min: 0, max: 2 })),
  fc.constantFrom(0, -0, NaN, 1.5, Infinity, -Infinity),
  fc.constantFrom(new Decimal(1n, 0), new Decimal(10n, 1), new Decimal(2n, 0)),
  fc.constantFrom('a', 'b'),
);

function batchOf(rows: readonly (readonly Datum[])[]): Batch | undefined {
  if (rows.length === 0) return undefined;
  return {
    rowCount: rows.length,
    columns: TYPES.map((type, column) =>
      vectorFromData(
        type,
        rows.map((each) => each[column]!),
      ),
    ),
    rowIds: Float64Array.from(rows, (_, at) => at),
  };
}

/** Rows as texts that tell apart what a reader can tell apart. */
function textsOf(batch: Batch | undefined): string[] {
  if (batch === undefined) return [];
  return Array.from({ length: batch.rowCount }, (_, at) => {
    const physical = batch.selection === undefined ? at : batch.selection[at]!;
    return batch.columns
      .map((column) => {
        const datum = datumAt(column, physical);
        return Object.is(datum, -0)
          ? '-0'
          : datum instanceof Decimal
            ? datum.toString()
            : String(datum);
      })
      .join('|');
  }).toSorted();
}

test('the change of one commit is its difference as a multiset, however many rows leave and arrive', () => {
  fc.assert(
    fc.property(
      fc.array(row, { maxLength: 12 }),
      fc.array(row, { maxLength: 12 }),
      (leaving, arriving) => {
        const merged = mergeDeltas([{ deleted: batchOf(leaving), inserted: batchOf(arriving) }]);
        const left = textsOf(batchOf(leaving));
        const arrived: string[] = [];
        for (const text of textsOf(batchOf(arriving))) {
          const at = left.indexOf(text);
          if (at < 0) arrived.push(text);
          else left.splice(at, 1);
        }
        expect(textsOf(merged?.deleted)).toEqual(left);
        expect(textsOf(merged?.inserted)).toEqual(arrived);
      },
    ),
    { numRuns: 300 },
  );
});
