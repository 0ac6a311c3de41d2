import type { Position } from '../base/units.ts';
import type { JournalRecord } from './record.ts';

/**
 * Where records are kept. Memory keeps them as they are; others frame them (`FrameWriter`) and write, send or lose them.
 *
 * 1. `append` is given groups in order, at most `groupsInFlightMax` unacknowledged, and reports each group once: `undefined`
 *    when it will survive what the backend promises to survive, else what went wrong. Reports come in the order of the groups,
 *    from within `append` or later.
 * 2. After a group has failed, all after it fail: nothing is kept behind a gap. `mend`, where there is one, may end that.
 * 3. A reader sees the acknowledged records, each once, in order, from the moment it was made; later ones may appear.
 */
export interface JournalBackend {
  readonly name: string;
  readonly groupsInFlightMax: number;
  append(group: JournalGroup, report: (failure: unknown) => void): void;
  /**
   * Called before a record is given its position: takes the room it will need, or throws (53200) and leaves the journal as it
   * was.
   */
  reserve(heapBytes: number): void;
  /** Records from `from` on; ADB_POSITION_GONE (from `next`) when it is no longer kept. */
  read(from: Position): JournalReader;
  /** Forgets records up to `upTo`, oldest first, while more than `keepBytes` are held (as far as its files allow). */
  forget(upTo: Position, keepBytes: number): void;
  /** The oldest position kept, or the next to be written when there is none. */
  readonly firstPosition: Position;
  /** The newest acknowledged position; 0 when there was none. */
  readonly lastPosition: Position;
  /**
   * After a failure: whether it takes appends again, from the newest acknowledged position on. Then what has failed is not in the
   * journal and never will be.
   */
  mend?(): Promise<boolean>;
  /** Resolves when all that is acknowledged up to `upTo` survives a power loss, where the backend knows of such a thing. */
  untilDurable?(upTo: Position): Promise<void>;
  /** What the records hold, wherever they are. */
  readonly heldBytes: number;
  close(): Promise<void>;
}

/** Commits that become durable together. */
export type JournalGroup = {
  readonly records: readonly JournalRecord[];
  readonly heapBytes: number;
};

/** Ends with `undefined` where the newest acknowledged record was given out; asked again later it may go on. */
export interface JournalReader {
  next(): JournalChunk | Promise<JournalChunk>;
  close(): void;
}

/** At most a few hundred records, so that a replay is done in steps. */
export type JournalChunk = readonly JournalRecord[] | undefined;
