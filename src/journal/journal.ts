import { assert, DbError } from '../base/errors.ts';
import { position } from '../base/units.ts';
import type { InstantMs, Position } from '../base/units.ts';
import type { JournalBackend, JournalGroup } from './backend.ts';
import type { JournalEntry, JournalRecord, PayloadCodec } from './record.ts';

/** Told in order of positions. With the memory backend that is from within `append`: stage and prepare undo before. */
export type JournalListener = {
  /** All records up to `upTo` are acknowledged: they may be published. */
  readonly acknowledged: (upTo: Position) => void;
  /** The records from `from` on are not in the journal and never will be; it refuses further ones. */
  readonly failed: (from: Position, cause: unknown) => void;
};

export type JournalOptions = {
  readonly backend: JournalBackend;
  readonly listener: JournalListener;
  /** Measures payloads whose size the caller does not give. */
  readonly codec: Pick<PayloadCodec, 'heapBytes'>;
  /** How much is kept behind what snapshots cover, for whoever is behind. */
  readonly keepBytes?: number;
  /** Forget the oldest beyond `keepBytes` even if no snapshot covers it: where nobody will replay from the start. */
  readonly dropUncovered?: boolean;
};

const KEEP_BYTES = 16 * 1_048_576;

/** Commits that wait while a group is on its way become the next group, up to these bounds. */
const GROUP_RECORDS_MAX = 4_096;
const GROUP_BYTES_MAX = 1_048_576;

/** With this much waiting for the backend, commits should wait; beyond the second bound an append is refused. */
const BEHIND_BYTES = 32 * 1_048_576;
const PENDING_BYTES_MAX = 64 * 1_048_576;

/**
 * The one order (law 1). `append` gives the next position at once; what it means comes through the listener. While the backend is
 * busy, appends gather into a group: the slower the backend, the larger the groups.
 *
 * 1. `acknowledged` ≤ `head`; both only grow.
 * 2. After a failure the journal refuses appends until it is mended, if it can be (53100 where there was no room, else 58030): state
 *    beyond `acknowledged` is to be undone, reading goes on.
 */
export class Journal {
  readonly #backend: JournalBackend;
  readonly #listener: JournalListener;
  readonly #codec: Pick<PayloadCodec, 'heapBytes'>;
  readonly #keepBytes: number;
  readonly #dropUncovered: boolean;
  #head: number;
  #acknowledged: number;
  #lastInstantMs = -Infinity;
  #pending: JournalRecord[] = [];
  #pendingBytes = 0;
  #appendedBytes = 0;
  #groupsInFlight = 0;
  /** Positions up to here can be had from snapshots. */
  #covered = 0;
  #state:
    | { readonly kind: 'open' | 'closed' }
    | { readonly kind: 'failed'; readonly cause: unknown } = { kind: 'open' };

  constructor(options: JournalOptions) {
    this.#backend = options.backend;
    this.#listener = options.listener;
    this.#codec = options.codec;
    this.#keepBytes = options.keepBytes ?? KEEP_BYTES;
    this.#dropUncovered = options.dropUncovered ?? false;
    this.#head = options.backend.lastPosition;
    this.#acknowledged = this.#head;
  }

  /** The newest position given. */
  get head(): Position {
    return position(this.#head);
  }

  get acknowledged(): Position {
    return position(this.#acknowledged);
  }

  /** The oldest position that can be replayed. */
  get first(): Position {
    return this.#backend.firstPosition;
  }

  get heldBytes(): number {
    return this.#backend.heldBytes;
  }

  /** What records held in memory that were appended since it was opened. */
  get appendedBytes(): number {
    return this.#appendedBytes;
  }

  /** More waits than should: append again once some of it is acknowledged. */
  get isBehind(): boolean {
    return this.#pendingBytes > BEHIND_BYTES;
  }

  get writable(): boolean {
    return this.#state.kind === 'open';
  }

  /**
   * Appends one commit and returns its position. Throws, with nothing appended: 58030 after a failure or when closed,
   * 53000 when too much waits for the backend, 53200 when memory for it is refused.
   */
  append(entry: JournalEntry): Position {
    if (this.#state.kind !== 'open') throw this.#refusal();
    if (this.#pendingBytes > PENDING_BYTES_MAX) {
      throw new DbError('53000', 'the journal is behind', {
        limit: 'journal',
        retryAfterMs: 100,
        hint: 'Write less at once, or use a faster disk.',
      });
    }
    assert(entry.instantMs >= this.#lastInstantMs, 'instants of commits never go back');
    const heapBytes = entry.heapBytes ?? this.#codec.heapBytes(entry.payload);
    this.#backend.reserve(heapBytes);
    const given = position(this.#head + 1);
    this.#head = given;
    this.#lastInstantMs = entry.instantMs;
    this.#pending.push({
      position: given,
      instantMs: entry.instantMs,
      kind: entry.kind,
      schemaVersion: entry.schemaVersion,
      payload: entry.payload,
      heapBytes,
    });
    this.#pendingBytes += heapBytes;
    this.#appendedBytes += heapBytes;
    this.#flush();
    return given;
  }

  /**
   * Calls `apply` with each acknowledged record from `from` on, in order; returns the last position applied, or `from` − 1.
   * `pause` is awaited between chunks, for others to run. What `apply` throws ends the replay.
   */
  async replay(
    from: Position,
    apply: (record: JournalRecord) => void,
    pause?: () => Promise<void>,
  ): Promise<Position> {
    const reader = this.#backend.read(from);
    let last = position(from - 1);
    try {
      for (;;) {
        const chunk = await reader.next();
        if (chunk === undefined) return last;
        for (const record of chunk) {
          assert(record.position === last + 1, 'a replay sees each position once, in order');
          apply(record);
          last = record.position;
        }
        await pause?.();
      }
    } finally {
      reader.close();
    }
  }

  /** The records from `from` on that are acknowledged now; the caller pulls. */
  read(from: Position): ReturnType<JournalBackend['read']> {
    return this.#backend.read(from);
  }

  /** After a replay: commits must not go back behind the instants of what was replayed. */
  continueAfter(lastInstantMs: InstantMs): void {
    this.#lastInstantMs = Math.max(this.#lastInstantMs, lastInstantMs);
  }

  /** Resolves when what is acknowledged up to `upTo` survives what the backend can make it survive. */
  async untilDurable(upTo: Position): Promise<void> {
    await this.#backend.untilDurable?.(upTo);
  }

  /** Snapshots or sealed segments hold everything up to `upTo`: the journal may forget it. */
  cover(upTo: Position): void {
    this.#covered = Math.max(this.#covered, Math.min(upTo, this.#acknowledged));
    this.#forget();
  }

  /** After a failure: whether it takes appends again, behind what was acknowledged. */
  async mend(): Promise<boolean> {
    if (this.#state.kind !== 'failed') return this.#state.kind === 'open';
    if ((await this.#backend.mend?.()) !== true || this.#state.kind !== 'failed') return false;
    assert(this.#groupsInFlight === 0, 'what has failed was reported before the journal is mended');
    this.#state = { kind: 'open' };
    return true;
  }

  async close(): Promise<void> {
    if (this.#state.kind === 'open') this.#state = { kind: 'closed' };
    await this.#backend.close();
  }

  #flush(): void {
    while (
      this.#pending.length > 0 &&
      this.#groupsInFlight < this.#backend.groupsInFlightMax &&
      this.#state.kind === 'open'
    ) {
      const group = this.#nextGroup();
      const upTo = group.records.at(-1)!.position;
      this.#groupsInFlight += 1;
      this.#backend.append(group, (failure) => this.#report(group, upTo, failure));
    }
  }

  #nextGroup(): JournalGroup {
    const pending = this.#pending;
    let count = 1;
    let bytes = pending[0]!.heapBytes;
    while (count < pending.length && count < GROUP_RECORDS_MAX) {
      const more = pending[count]!.heapBytes;
      if (bytes + more > GROUP_BYTES_MAX) break;
      bytes += more;
      count += 1;
    }
    this.#pendingBytes -= bytes;
    if (count === pending.length) {
      this.#pending = [];
      return { records: pending, heapBytes: bytes };
    }
    return { records: pending.splice(0, count), heapBytes: bytes };
  }

  #report(group: JournalGroup, upTo: Position, failure: unknown): void {
    this.#groupsInFlight -= 1;
    if (this.#state.kind === 'failed') return; // Those behind a failed group were given up with it.
    if (failure === undefined) {
      assert(
        group.records[0]!.position === this.#acknowledged + 1,
        'groups are acknowledged in order, each once',
      );
      this.#acknowledged = upTo;
      this.#listener.acknowledged(upTo);
      this.#forget();
      this.#flush();
      return;
    }
    this.#state = { kind: 'failed', cause: failure };
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#head = this.#acknowledged;
    this.#listener.failed(position(this.#acknowledged + 1), failure);
  }

  #forget(): void {
    if (this.#backend.heldBytes <= this.#keepBytes) return;
    const upTo = this.#dropUncovered ? this.#acknowledged : this.#covered;
    if (upTo >= this.#backend.firstPosition) this.#backend.forget(position(upTo), this.#keepBytes);
  }

  #refusal(): DbError {
    const cause = this.#state.kind === 'failed' ? this.#state.cause : undefined;
    if (cause instanceof DbError && cause.code === '53100') return cause;
    return new DbError('58030', 'the journal refuses writes', {
      detail:
        this.#state.kind === 'failed'
          ? 'An earlier append failed; what was acknowledged is safe.'
          : 'It is closed.',
      hint: 'Reading goes on. Restart the database once the cause is gone.',
      cause,
    });
  }
}
