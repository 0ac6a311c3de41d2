import { assert, DbError } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { instantMs, position } from '../base/units.ts';
import type { Position } from '../base/units.ts';
import type { JournalBackend, JournalChunk, JournalGroup, JournalReader } from './backend.ts';
import type { JournalRecord } from './record.ts';

/** A record's place in a block, beside its payload. */
const RECORD_BYTES = 40;

const BLOCK_RECORDS = 256;

/**
 * Keeps payloads by reference and acknowledges at once, from within `append`. Its promise is the process's life. What is known of records is
 * in blocks, by column: neither growing nor forgetting moves any, and of a hundred thousand records that are kept the collector has to
 * look at their payloads only. The account knows every byte.
 */
export class MemoryBackend implements JournalBackend {
  readonly name = 'memory';
  readonly groupsInFlightMax: number = 1;
  readonly #account: MemoryAccount | undefined;
  #blocks: Block[] = [];
  /** The position of the first place of the first block. */
  #basePosition: number;
  #firstPosition: number;
  #lastPosition: number;
  #heldBytes = 0;

  /** `lastPosition`: of the journal that this one continues. */
  constructor(account?: MemoryAccount, lastPosition = 0) {
    this.#account = account;
    this.#lastPosition = lastPosition;
    this.#firstPosition = lastPosition + 1;
    this.#basePosition = lastPosition + 1;
  }

  get firstPosition(): Position {
    return position(this.#firstPosition);
  }

  get lastPosition(): Position {
    return position(this.#lastPosition);
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  reserve(heapBytes: number): void {
    this.#account?.reserve(heapBytes + RECORD_BYTES);
  }

  append(group: JournalGroup, report: (failure: unknown) => void): void {
    const records = group.records;
    for (let index = 0; index < records.length; index += 1) this.#keep(records[index]!);
    report(undefined);
  }

  read(from: Position): JournalReader {
    let next: number = from;
    return {
      next: (): JournalChunk => {
        if (next < this.#firstPosition) throw goneError(next, this.#firstPosition);
        if (next > this.#lastPosition) return undefined;
        const place = next - this.#basePosition;
        const block = this.#blocks[Math.floor(place / BLOCK_RECORDS)]!;
        const chunk = block.records(next, place % BLOCK_RECORDS);
        next += chunk.length;
        return chunk;
      },
      close: () => undefined,
    };
  }

  forget(upTo: Position, keepBytes: number): void {
    const last = Math.min(upTo, this.#lastPosition);
    let released = 0;
    while (this.#firstPosition <= last && this.#heldBytes - released > keepBytes) {
      const place = this.#firstPosition - this.#basePosition;
      const block = this.#blocks[0]!;
      released += block.forget(place) + RECORD_BYTES;
      this.#firstPosition += 1;
      if (place + 1 < BLOCK_RECORDS) continue;
      this.#blocks.shift();
      this.#basePosition += BLOCK_RECORDS;
    }
    this.#heldBytes -= released;
    this.#account?.release(released);
  }

  close(): Promise<void> {
    this.#account?.release(this.#heldBytes);
    this.#heldBytes = 0;
    this.#blocks = [];
    this.#firstPosition = this.#lastPosition + 1;
    this.#basePosition = this.#firstPosition;
    return Promise.resolve();
  }

  #keep(record: JournalRecord): void {
    assert(record.position === this.#lastPosition + 1, 'records are appended in order');
    const place = record.position - this.#basePosition;
    if (place % BLOCK_RECORDS === 0) this.#blocks.push(new Block());
    this.#blocks.at(-1)!.push(record);
    this.#heldBytes += record.heapBytes + RECORD_BYTES;
    this.#lastPosition = record.position;
  }
}

/** Up to BLOCK_RECORDS records in a row. */
class Block {
  /** Filled with what is no integer, arrays have room for doubles from the start. */
  readonly #instantsMs: number[] = doubles();
  readonly #heapBytes: number[] = doubles();
  readonly #kinds: string[] = [];
  readonly #schemaVersions: number[] = [];
  /** Forgotten ones are undefined. */
  readonly #payloads: unknown[] = [];

  push({ instantMs, kind, schemaVersion, payload, heapBytes }: JournalRecord): void {
    const place = this.#payloads.length;
    this.#instantsMs[place] = instantMs;
    this.#heapBytes[place] = heapBytes;
    this.#kinds.push(kind);
    this.#schemaVersions.push(schemaVersion);
    this.#payloads.push(payload);
  }

  /** Those from `place` on; `from`: the position of the first. */
  records(from: number, place: number): JournalRecord[] {
    return Array.from({ length: this.#payloads.length - place }, (_, index) => ({
      position: position(from + index),
      instantMs: instantMs(this.#instantsMs[place + index]!),
      kind: this.#kinds[place + index]!,
      schemaVersion: this.#schemaVersions[place + index]!,
      payload: this.#payloads[place + index],
      heapBytes: this.#heapBytes[place + index]!,
    }));
  }

  /** Lets go of one; returns the bytes of its payload. */
  forget(place: number): number {
    this.#payloads[place] = undefined;
    return this.#heapBytes[place]!;
  }
}

function doubles(): number[] {
  // eslint-disable-next-line unicorn/no-new-array -- The argument is the length.
  return new Array<number>(BLOCK_RECORDS).fill(0.5);
}

export function goneError(wanted: number, first: number): DbError {
  return new DbError('ADB_POSITION_GONE', `position ${wanted} is no longer kept`, {
    position: wanted,
    hint: `The journal begins at position ${first}; start from a snapshot.`,
  });
}
