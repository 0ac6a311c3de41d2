import { SegmentScan, zoneOf } from './scan.ts';
import { SEGMENT_ROWS } from './segment.ts';
import type { Snapshot } from './snapshot.ts';
import type { TimeBounds } from './table-contract.ts';

/** See `TableSnapshot.timeBounds`: zone maps tell of sealed segments, dead rows included; what is written to is left to be read. */
export function timeBoundsOf(snapshot: Snapshot, column: number): TimeBounds | undefined {
  const { view, overlay } = snapshot;
  const { list, rowIdEnd } = view;
  const stored = view.columns[column]!;
  const read = new Set<number>();
  let from = Infinity;
  let to = -Infinity;
  let hasNulls = false;
  const first = snapshot.isOfThePast ? 0 : list.first;
  for (let number = first; number < Math.ceil(rowIdEnd / SEGMENT_ROWS); number += 1) {
    const segment = list.states[number - list.first]?.segment;
    if (overlay?.touches(number) === true || segment?.kind === 'open') {
      read.add(number);
      continue;
    }
    if (segment === undefined) continue;
    const { rowCount, nullCount, min, max } = zoneOf(segment, stored);
    if (nullCount > 0) hasNulls = true;
    if (nullCount === rowCount) continue;
    if (min === undefined || max === undefined) return undefined;
    from = Math.min(from, Number(min));
    to = Math.max(to, Number(max));
  }
  return {
    from,
    to,
    hasNulls,
    rest: new SegmentScan(snapshot, {
      columnIndexes: [column],
      ordered: false,
      withRowIds: false,
      reads: (number) => read.has(number),
    }),
  };
}
