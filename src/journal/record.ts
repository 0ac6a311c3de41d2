import type { InstantMs, Position } from '../base/units.ts';

/**
 * One commit, as the journal holds it. The payload is of the rooms above: the journal never looks inside. It is kept by
 * reference and encoded only where bytes are needed, so it must not change once it was appended.
 */
export type JournalRecord = {
  /** Dense: one more than the record before. */
  readonly position: Position;
  /** The commit's instant: never before the record before. */
  readonly instantMs: InstantMs;
  readonly kind: string;
  /** Of the payload; old versions are brought up to date by who applies them. 0 … 65,535. */
  readonly schemaVersion: number;
  readonly payload: unknown;
  /** What the payload holds in memory, in bytes. */
  readonly heapBytes: number;
};

/** A record to be: its position is given at the append. */
export type JournalEntry = {
  readonly instantMs: InstantMs;
  readonly kind: string;
  readonly schemaVersion: number;
  readonly payload: unknown;
  /** Given where the caller knows it; else measured. */
  readonly heapBytes?: number;
};

/** Payloads as bytes. */
export interface PayloadCodec {
  /** In pieces, made as they are asked for; they may share memory with the payload. */
  encodePieces(payload: unknown): Iterable<Uint8Array>;
  /**
   * What `encodePieces` was given, by this or an earlier version; old ones are brought up to date. ADB_JOURNAL_CORRUPT unless the
   * bytes are one payload. Nothing of the result shares memory with `bytes`.
   */
  decode(bytes: Uint8Array, schemaVersion: number): unknown;
  /** What a payload holds in memory. */
  heapBytes(payload: unknown): number;
}
