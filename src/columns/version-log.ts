import { assert } from '../base/errors.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import type { Batch } from './batch.ts';
import type { StoredColumn } from './stored-column.ts';
import type { TableDelta } from './table-contract.ts';
import type { Vector } from './vector.ts';
import { objectBytes } from './vector-builder.ts';

/** One staged commit's effect on a table: what undoes it, and once published a version of the past. */
export type LogEntry = {
  /** Counts entries; the newest ones leave by undo, the oldest by eviction. */
  readonly sequence: number;
  readonly delta: TableDelta;
  /** Rows of `delta.deleted` (by number there) that were overwritten in place; most of them are in `inserted` as well. */
  readonly overwritten: Int32Array;
  /** The stored columns that the columns of the delta are. */
  readonly columns: readonly StoredColumn[];
  /** Of the table before this entry. */
  readonly nextRowIdBefore: number;
  readonly rowCountBefore: number;
  readonly byteLength: number;
  /** The table was truncated: what it deleted is in indexes of its own. */
  readonly isClear: boolean;
  /** −1 until it is published. */
  position: number;
};

/**
 * The latest deltas of a table in order: first those published, then those staged. It alone serves readers of the past,
 * changefeeds and undo. Published ones leave when they exceed the byte bound and nobody needs them.
 */
export class VersionLog {
  readonly #lease: MemoryLease;
  readonly byteLimit: number;
  readonly #entries: LogEntry[] = [];
  /** Index of the oldest entry in `#entries`; the room before it is taken back now and then. */
  #head = 0;
  #firstSequence = 0;
  #byteLength = 0;
  /** Positions before this one cannot be told any more. */
  #coveredFrom = 0;

  constructor(lease: MemoryLease, byteLimit: number) {
    this.#lease = lease;
    this.byteLimit = byteLimit;
  }

  get firstSequence(): number {
    return this.#firstSequence;
  }

  /** The sequence of the next entry. */
  get endSequence(): number {
    return this.#firstSequence + this.#entries.length - this.#head;
  }

  get byteLength(): number {
    return this.#byteLength;
  }

  covers(position: number): boolean {
    return position >= this.#coveredFrom;
  }

  entry(sequence: number): LogEntry {
    const entry = this.#entries[this.#head + sequence - this.#firstSequence];
    assert(entry !== undefined, 'an entry that is asked for is in the log');
    return entry;
  }

  /** Its bytes were taken from the lease already. */
  push(entry: LogEntry): void {
    assert(entry.sequence === this.endSequence, 'entries are numbered without gaps');
    this.#entries.push(entry);
    this.#byteLength += entry.byteLength;
  }

  /** The newest entry, undone. */
  pop(): LogEntry {
    const entry = this.#entries.pop();
    assert(entry !== undefined && entry.position < 0, 'only a staged commit is undone');
    this.#forget(entry);
    return entry;
  }

  /** Drops the oldest entries while the log is too long, but none from `keepFrom` on. */
  evict(keepFrom: number, byteLimit = this.byteLimit): void {
    while (this.#byteLength > byteLimit && this.#firstSequence < keepFrom) this.#evictFirst();
  }

  /** What lies before `position` no longer fits the table's columns: it is not told any more. */
  forget(position: number): void {
    this.#coveredFrom = Math.max(this.#coveredFrom, position);
  }

  /** Sequence of the first published entry after `position`, or of the first staged one. */
  firstAfter(position: number): number {
    let low = this.#firstSequence;
    let high = this.endSequence;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const at = this.entry(middle).position;
      if (at >= 0 && at <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  close(): void {
    this.#lease.give(this.#byteLength);
    this.#byteLength = 0;
    this.#entries.length = 0;
    this.#head = 0;
  }

  #evictFirst(): void {
    const entry = this.#entries[this.#head]!;
    this.#coveredFrom = Math.max(this.#coveredFrom, entry.position);
    this.#forget(entry);
    // A hole would keep the entry alive until the array is compacted.
    (this.#entries as (LogEntry | undefined)[])[this.#head] = undefined;
    this.#head += 1;
    this.#firstSequence += 1;
    if (this.#head >= 4096 && this.#head * 2 >= this.#entries.length) {
      this.#entries.splice(0, this.#head);
      this.#head = 0;
    }
  }

  #forget(entry: LogEntry): void {
    this.#byteLength -= entry.byteLength;
    this.#lease.give(entry.byteLength);
  }
}

/** A batch in memory: its arrays, and by formula the objects around them. */
export function batchBytes(batch: Batch | undefined): number {
  if (batch === undefined) return 0;
  let bytes = 96 + (batch.rowIds?.byteLength ?? 0);
  for (const column of batch.columns) bytes += vectorBytes(column, batch.rowCount);
  return bytes;
}

/** The part of the arrays that `rowCount` rows use. */
export function vectorBytes(vector: Vector, rowCount: number): number {
  const validity = vector.validity === undefined ? 0 : rowCount;
  switch (vector.rep) {
    case 'number':
      return 160 + validity + rowCount * vector.values.BYTES_PER_ELEMENT;
    case 'bigint':
      return 160 + validity + rowCount * 8;
    case 'boolean':
      return 160 + validity + rowCount;
    case 'dictionary':
      return 160 + validity + rowCount * vector.codes.BYTES_PER_ELEMENT;
    case 'bytes':
      return (
        240 + validity + rowCount * 4 + (vector.offsets[rowCount] ?? 0) - (vector.offsets[0] ?? 0)
      );
    case 'object': {
      let bytes = 80 + validity + rowCount * 8;
      for (let row = 0; row < rowCount; row += 1) bytes += objectBytes(vector.values[row]!);
      return bytes;
    }
  }
}
