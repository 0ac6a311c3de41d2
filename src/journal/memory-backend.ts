import { assert, DbError } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { position } from '../base/units.ts';
import type { Position } from '../base/units.ts';
import type { JournalBackend, JournalChunk, JournalGroup, JournalReader } from './backend.ts';
import type { JournalRecord } from './record.ts';

/** A record's own object and its place in a block, beside its payload. */
const RECORD_BYTES = 96;

const BLOCK_RECORDS = 256;

/**
 * Keeps records by reference and acknowledges at once, from within `append`. Its promise is the process's life. Records are in
 * blocks, so neither growing nor forgetting moves any; the account knows every byte.
 */
export class MemoryBackend implements JournalBackend {
  readonly name = 'memory';
  readonly groupsInFlightMax: number = 1;
  readonly #account: MemoryAccount | undefined;
  /** Each has room for BLOCK_RECORDS; forgotten places are undefined. */
  #blocks: (JournalRecord | undefined)[][] = [];
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
        const chunk = block.slice(place % BLOCK_RECORDS) as JournalRecord[];
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
      released += block[place]!.heapBytes + RECORD_BYTES;
      block[place] = undefined;
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
    if (place % BLOCK_RECORDS === 0) this.#blocks.push([]);
    this.#blocks.at(-1)!.push(record);
    this.#heldBytes += record.heapBytes + RECORD_BYTES;
    this.#lastPosition = record.position;
  }
}

export function goneError(wanted: number, first: number): DbError {
  return new DbError('ADB_POSITION_GONE', `position ${wanted} is no longer kept`, {
    position: wanted,
    hint: `The journal begins at position ${first}; start from a snapshot.`,
  });
}
