import type { Vector } from '../columns/vector.ts';
import { MemoryAccount } from '../base/memory.ts';
import { position } from '../base/units.ts';
import { Journal } from '../journal/journal.ts';
import type { JournalBackend } from '../journal/backend.ts';
import { MemoryBackend } from '../journal/memory-backend.ts';
import { ValueCodec } from '../journal/value-codec.ts';
import type { AppendOutcome, CommitLog } from './commit-turn.ts';
import { compacted, CompactRows, expanded, SharedRows } from './compact-rows.ts';
import { RECORD_SCHEMA_VERSION, type CommitRecord } from './records.ts';
import { recordCodecEntries } from './record-codec.ts';

export type CommitLogOptions = {
  readonly backend: JournalBackend;
  /** Bytes of records kept. */
  readonly keepBytes: number;
  /** Keep all, whatever it costs: where somebody will replay from the start. */
  readonly keepAll: boolean;
  /** Records stay objects of this process: small rows are kept compactly, large ones are shared with the tables. */
  readonly compacts?: boolean;
};

/** The journal as the commit turn uses it: an outcome for each append, in order. */
export class JournalLog implements CommitLog {
  readonly journal: Journal;
  readonly #outcomes: AppendOutcome[] = [];
  readonly #compacts: boolean;
  #acknowledged: number;

  constructor(options: CommitLogOptions) {
    this.#compacts = options.compacts ?? false;
    this.#acknowledged = options.backend.lastPosition;
    this.journal = new Journal({
      backend: options.backend,
      codec: new ValueCodec(recordCodecEntries),
      keepBytes: options.keepAll ? Infinity : options.keepBytes,
      dropUncovered: !options.keepAll,
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
    const payload = this.#compacts ? compacted(record, kept) : record;
    try {
      this.journal.append({
        instantMs,
        kind: record.kind,
        schemaVersion: RECORD_SCHEMA_VERSION,
        payload,
        heapBytes: heapBytesOf(payload),
      });
    } catch (cause) {
      // Nothing was appended; what is on its way is not concerned.
      const index = this.#outcomes.indexOf(outcome);
      if (index < 0) throw cause;
      this.#outcomes.splice(index, 1);
      outcome.refused(cause);
    }
  }

  /** All records that are kept, oldest first. */
  async replay(
    apply: (record: CommitRecord, at: number, instantMs: number) => void,
  ): Promise<void> {
    await this.journal.replay(position(this.journal.first), (record) =>
      apply(expanded(record.payload as CommitRecord), record.position, record.instantMs),
    );
  }

  close(): void {
    void this.journal.close();
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
  const log = new JournalLog({
    backend: new MemoryBackend(new MemoryAccount('the journal')),
    keepBytes: room,
    keepAll: options.keepAll ?? false,
    compacts: true,
  });
  return Object.assign(log, {
    close: () => {
      options.memory.release(room);
      void log.journal.close();
    },
  });
}

/** What a record holds beside what its tables hold anyway; a formula, since measuring costs more than committing a row. */
function heapBytesOf(record: CommitRecord): number {
  let bytes = 64;
  for (const operation of record.operations) {
    bytes += 96;
    if (operation.op !== 'rows') {
      bytes += 512;
      continue;
    }
    for (const write of operation.writes) {
      bytes += 64;
      if (write.kind === 'delete' || write.kind === 'update') bytes += write.rowIds.byteLength;
      if (write.kind !== 'insert' && write.kind !== 'update') continue;
      if (write.rows instanceof CompactRows || write.rows instanceof SharedRows)
        bytes += write.rows.heapBytes;
      else
        for (const column of write.rows.columns) bytes += vectorBytes(column, write.rows.rowCount);
    }
  }
  return bytes;
}

function vectorBytes(column: Vector, rowCount: number): number {
  const validity = column.validity === undefined ? 0 : rowCount;
  switch (column.rep) {
    case 'number':
    case 'boolean':
    case 'bigint':
      return 80 + validity + rowCount * column.values.BYTES_PER_ELEMENT;
    case 'dictionary':
      return 80 + validity + rowCount * column.codes.BYTES_PER_ELEMENT;
    case 'bytes':
      return 80 + validity + column.offsets.byteLength + column.bytes.byteLength;
    case 'object':
      return 80 + validity + rowCount * 40;
  }
}
