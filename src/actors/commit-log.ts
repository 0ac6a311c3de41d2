import { MemoryAccount } from '../base/memory.ts';
import type { Clock, Disk } from '../base/ports.ts';
import { position } from '../base/units.ts';
import { FileBackend, type FsyncMode } from '../journal/file-backend.ts';
import { Journal } from '../journal/journal.ts';
import type { JournalBackend, JournalReader } from '../journal/backend.ts';
import { MemoryBackend } from '../journal/memory-backend.ts';
import type { AppendOutcome, CommitLog } from './commit-turn.ts';
import { compacted, expanded, TypeLists } from './compact-rows.ts';
import { recordBytes } from './record-bytes.ts';
import { RECORD_SCHEMA_VERSION, type CommitRecord } from './records.ts';
import { CommitCodec } from './record-codec.ts';

export type CommitLogOptions = {
  readonly backend: JournalBackend;
  /** Bytes of records kept. */
  readonly keepBytes: number;
  /** Keep all, whatever it costs: where somebody will replay from the start. */
  readonly keepAll: boolean;
  /** Keep what snapshots do not cover, and nothing else. */
  readonly keepUncovered?: boolean;
  /** Records stay objects of this process: small rows are kept compactly, large ones are shared with the tables. */
  readonly compacts?: boolean;
  /** Of the room that is set aside for it in the database's memory, what no record takes yet. */
  readonly emptyBytes?: () => number;
};

/** The journal as the commit turn uses it: an outcome for each append, in order. */
export class JournalLog implements CommitLog {
  readonly journal: Journal;
  readonly #outcomes: AppendOutcome[] = [];
  readonly #compacts: boolean;
  readonly #types = new TypeLists();
  readonly keepBytes: number;
  readonly forgets: boolean;
  readonly emptyBytes: () => number;
  #acknowledged: number;

  constructor(options: CommitLogOptions) {
    this.#compacts = options.compacts ?? false;
    this.keepBytes = options.keepBytes;
    this.forgets = !options.keepAll;
    this.emptyBytes = options.emptyBytes ?? (() => 0);
    this.#acknowledged = options.backend.lastPosition;
    this.journal = new Journal({
      backend: options.backend,
      codec: new CommitCodec(),
      keepBytes: options.keepAll ? Infinity : options.keepBytes,
      dropUncovered: !options.keepAll && options.keepUncovered !== true,
      listener: {
        acknowledged: (upTo) => {
          while (this.#acknowledged < upTo) {
            this.#acknowledged += 1;
            this.#outcomes.shift()!.acknowledged(this.#acknowledged);
          }
        },
        failed: (_from, cause) => {
          for (const outcome of this.#outcomes.splice(0)) outcome.failed(cause);
        },
      },
    });
  }

  append(
    record: CommitRecord,
    instantMs: Parameters<CommitLog['append']>[1],
    outcome: Parameters<CommitLog['append']>[2],
    kept?: Parameters<CommitLog['append']>[3],
  ): void {
    this.#outcomes.push(outcome);
    const payload = this.#compacts ? compacted(record, kept, this.#types) : record;
    const heapBytes = recordBytes(payload);
    try {
      this.journal.append({
        instantMs,
        kind: record.kind,
        schemaVersion: RECORD_SCHEMA_VERSION,
        payload,
        heapBytes,
      });
    } catch (cause) {
      // Nothing was appended; what is on its way is not concerned.
      const index = this.#outcomes.indexOf(outcome);
      if (index < 0) throw cause;
      this.#outcomes.splice(index, 1);
      outcome.refused(cause);
    }
  }

  get first(): number {
    return this.journal.first;
  }

  get appendedBytes(): number {
    return this.journal.appendedBytes;
  }

  read(from: number): JournalReader {
    return this.journal.read(position(from));
  }

  /** All records that are kept, oldest first. */
  async replay(
    apply: (record: CommitRecord, at: number, instantMs: number) => void,
  ): Promise<void> {
    await this.journal.replay(position(this.journal.first), (record) =>
      apply(expanded(record.payload as CommitRecord), record.position, record.instantMs),
    );
  }

  get isBehind(): boolean {
    return this.journal.isBehind;
  }

  mend(): Promise<boolean> {
    return this.journal.mend();
  }

  close(): Promise<void> {
    return this.journal.close();
  }
}

/**
 * The default: records in memory. Its room is set aside once, when the database opens, so that an append can never fail
 * for want of memory after the rows were staged.
 */
export function createCommitLog(options: {
  readonly keepBytes: number;
  readonly memory: MemoryAccount;
  readonly keepAll?: boolean;
}): JournalLog {
  const room = Math.min(options.keepBytes, Math.floor(options.memory.limitBytes / 8));
  options.memory.force(room);
  const backend = new MemoryBackend(new MemoryAccount('the journal'));
  const log = new JournalLog({
    backend,
    keepBytes: room,
    keepAll: options.keepAll ?? false,
    compacts: true,
    emptyBytes: () => Math.max(0, room - backend.heldBytes),
  });
  return Object.assign(log, {
    close: () => {
      options.memory.release(room);
      return log.journal.close();
    },
  });
}

/** Records in files of a directory; 55006 where another process has it, ADB_JOURNAL_CORRUPT where its end is damaged. */
export async function openFileLog(
  ports: { readonly disk: Disk; readonly clock: Clock },
  options: {
    readonly directory: string;
    readonly fsync?: FsyncMode | undefined;
    readonly fsyncMs?: number | undefined;
    readonly segmentBytes?: number | undefined;
  },
): Promise<JournalLog> {
  const backend = await FileBackend.open({
    ...ports,
    directory: options.directory,
    codec: new CommitCodec(),
    fsync: options.fsync ?? 'always',
    fsyncMs: options.fsyncMs,
    segmentBytes: options.segmentBytes,
  });
  return new JournalLog({ backend, keepBytes: 0, keepAll: false, keepUncovered: true });
}
