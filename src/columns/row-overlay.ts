import type { LogEntry } from './version-log.ts';
import { segmentOf } from './segment.ts';

/**
 * Old versions of rows for one reader: for each row changed since, the oldest version behind its position. Versions are
 * references into the version log's deltas, which stay while the reader is open.
 */
export class RowOverlay {
  /** Row id → index in `#entries` and `#rows`. Bounded by the rows of unsealed segments, or by what the version log holds. */
  readonly #places = new Map<number, number>();
  readonly #entries: LogEntry[] = [];
  readonly #rows: number[] = [];
  readonly #rowIds: number[] = [];
  readonly #segments = new Set<number>();

  get size(): number {
    return this.#places.size;
  }

  touches(segmentNumber: number): boolean {
    return this.#segments.has(segmentNumber);
  }

  /** The place of the row's old version, or −1. */
  placeOf(rowId: number): number {
    return this.#places.get(rowId) ?? -1;
  }

  entryAt(place: number): LogEntry {
    return this.#entries[place]!;
  }

  rowAt(place: number): number {
    return this.#rows[place]!;
  }

  rowIds(): IterableIterator<number> {
    return this.#places.keys();
  }

  /** Rows of `entry` that were overwritten in place (or all it deleted), of those that the reader sees. */
  add(entry: LogEntry, rowIdEnd: number, all: boolean): void {
    for (let row = 0; row < entry.deletedCount; row += 1) {
      if (!all && !entry.isOverwritten(row)) continue;
      const rowId = entry.deletedRowId(row);
      if (rowId >= rowIdEnd || this.#places.has(rowId)) continue;
      this.#places.set(rowId, this.#rows.length);
      this.#entries.push(entry);
      this.#rows.push(row);
      this.#rowIds.push(rowId);
      this.#segments.add(segmentOf(rowId));
    }
  }

  /** Entries from `endSequence` on were undone: the rows are again what they were. */
  rewind(endSequence: number): void {
    for (let place = this.#entries.length - 1; place >= 0; place -= 1) {
      if (this.#entries[place]!.sequence < endSequence) return;
      this.#places.delete(this.#rowIds[place]!);
      this.#entries.pop();
      this.#rows.pop();
      this.#rowIds.pop();
    }
  }

  /** Row ids of one segment, ascending. */
  rowIdsIn(segmentNumber: number): number[] {
    const rowIds: number[] = [];
    for (const rowId of this.#places.keys())
      if (segmentOf(rowId) === segmentNumber) rowIds.push(rowId);
    return rowIds.sort((a, b) => a - b);
  }
}
