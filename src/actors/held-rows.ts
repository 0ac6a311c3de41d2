import { DbError } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import type { Batch } from '../columns/batch.ts';
import { objectBytes } from '../columns/vector-builder.ts';
import type { Vector } from '../columns/vector.ts';

/**
 * Rows that are held until the last of a query is there. Taken from an account before they are made, in pieces, so that few rows cost
 * nothing: a query whose rows do not fit ends with 53200, where JavaScript's heap would end the process.
 */
export class HeldRows {
  readonly #account: MemoryAccount;
  readonly #hint: string;
  readonly #pieceBytes: number;
  #bytes = 0;
  #reservedBytes = 0;

  /** `hint`: how to get along with fewer rows at a time. `pieceBytes`: fewer are not taken; 0 where many may hold a few each. */
  constructor(account: MemoryAccount, hint: string, pieceBytes: number = PIECE_BYTES) {
    this.#account = account;
    this.#hint = hint;
    this.#pieceBytes = pieceBytes;
  }

  /** So few that none were taken. */
  get isUncounted(): boolean {
    return this.#reservedBytes === 0;
  }

  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes - this.#reservedBytes < this.#pieceBytes) return;
    try {
      this.#account.reserve(this.#bytes - this.#reservedBytes);
    } catch (cause) {
      if (!(cause instanceof DbError)) throw cause;
      const { message, detail, limit, retryAfterMs } = cause;
      throw new DbError('53200', message, { detail, limit, retryAfterMs, hint: this.#hint });
    }
    this.#reservedBytes = this.#bytes;
  }

  /** They are somebody else's now, or nobody's. */
  release(): void {
    if (this.#reservedBytes > 0) this.#account.release(this.#reservedBytes);
    this.#bytes = this.#reservedBytes = 0;
  }
}

const PIECE_BYTES = 2 ** 20;

/** The rows of a batch as objects of V8, by formula: a header of three words, a slot in a list and one for each column, and what the slots refer to. */
export function rowObjectBytes(batch: Batch): number {
  let bytes = batch.rowCount * 32;
  for (const column of batch.columns) bytes += batch.rowCount * 8 + valueBytes(column, batch);
  return bytes;
}

/** What values take beside their slots: numbers beyond 31 bits are boxed, times and decimals are texts. */
function valueBytes(column: Vector, { rowCount, selection }: Batch): number {
  switch (column.rep) {
    case 'boolean':
    // Of a dictionary a value is one text, however often it comes.
    case 'dictionary':
      return 0;
    case 'number':
      return rowCount * (NUMBERS.has(column.type.kind) ? 16 : 40);
    case 'bigint':
      return rowCount * 40;
    case 'bytes': {
      const { offsets } = column;
      let bytes = rowCount * 24;
      for (let row = 0; row < rowCount; row += 1) {
        const at = selection === undefined ? row : selection[row]!;
        bytes += offsets[at + 1]! - offsets[at]!;
      }
      return bytes;
    }
    case 'object': {
      let bytes = 0;
      for (let row = 0; row < rowCount; row += 1)
        bytes += objectBytes(column.values[selection === undefined ? row : selection[row]!]!);
      return bytes;
    }
  }
}

const NUMBERS: ReadonlySet<string> = new Set(['int2', 'int4', 'int8', 'float4', 'float8']);
