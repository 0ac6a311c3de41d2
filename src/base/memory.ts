import { assert, DbError } from './errors.ts';

/**
 * Counts bytes up a tree: what an account holds, its parents hold too. Byte-exact for typed arrays and
 * arenas, by formula for JavaScript objects. A limit refuses with 53200 before anything was allocated.
 */
export class MemoryAccount {
  readonly name: string;
  readonly parent: MemoryAccount | undefined;
  /** Bytes; Infinity where only the parents limit. */
  limitBytes: number;
  /** Of the limit, what is not for new rows: whoever is at the limit must still be able to delete. */
  headroomBytes = 0;
  /** What whoever takes from this account, and is refused, can do; by default what the parent says. */
  hint: string | undefined;
  #usedBytes = 0;
  #peakBytes = 0;

  constructor(name: string, parent?: MemoryAccount, limitBytes = Infinity) {
    this.name = name;
    this.parent = parent;
    this.limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** Takes `bytes`, or throws 53200 and takes nothing. */
  reserve(bytes: number): void {
    assert(bytes >= 0, 'an account reserves a non-negative number of bytes');
    for (
      let account: MemoryAccount | undefined = this;
      account !== undefined;
      account = account.parent
    ) {
      if (account.#usedBytes + bytes > account.limitBytes)
        throw account.#refusal(bytes, this.#hint());
    }
    this.force(bytes);
  }

  /** Throws 53200 where only the headroom is left. */
  assertRoomToGrow(): void {
    for (
      let account: MemoryAccount | undefined = this;
      account !== undefined;
      account = account.parent
    ) {
      if (account.#usedBytes > account.limitBytes - account.headroomBytes)
        throw account.#refusal(0, this.#hint());
    }
  }

  /** Whether `bytes` more leave the headroom as it is: for what may as well be done later. */
  hasRoomFor(bytes: number): boolean {
    for (
      let account: MemoryAccount | undefined = this;
      account !== undefined;
      account = account.parent
    ) {
      if (account.#usedBytes + bytes > account.limitBytes - account.headroomBytes) return false;
    }
    return true;
  }

  /** Takes `bytes` beyond every limit: for replay, which must not fail where the first run did not. */
  force(bytes: number): void {
    for (
      let account: MemoryAccount | undefined = this;
      account !== undefined;
      account = account.parent
    ) {
      account.#usedBytes += bytes;
      if (account.#usedBytes > account.#peakBytes) account.#peakBytes = account.#usedBytes;
    }
  }

  release(bytes: number): void {
    for (
      let account: MemoryAccount | undefined = this;
      account !== undefined;
      account = account.parent
    ) {
      account.#usedBytes -= bytes;
      assert(account.#usedBytes >= 0, `${account.name} releases only what it holds`);
    }
  }

  /** The nearest one: where there is no room more than one account may be full, and the one who asks is told. */
  #hint(): string {
    for (
      let account: MemoryAccount | undefined = this;
      account !== undefined;
      account = account.parent
    )
      if (account.hint !== undefined) return account.hint;
    return WRITERS_HINT;
  }

  #refusal(bytes: number, hint: string): DbError {
    const held = this.#usedBytes + bytes;
    const headroom =
      this.headroomBytes === 0 ? '' : ` ${this.headroomBytes} of them are kept for deleting.`;
    return new DbError('53200', `out of memory: ${this.name} would hold ${held} bytes`, {
      limit: 'memory',
      // Answers of others that are being made give back what they hold.
      retryAfterMs: RETRY_AFTER_MS,
      detail: `The limit of ${this.name} is ${this.limitBytes} bytes.${headroom}`,
      hint,
    });
  }

  child(name: string, limitBytes = Infinity): MemoryAccount {
    return new MemoryAccount(name, this, limitBytes);
  }
}

const RETRY_AFTER_MS = 1000;

const WRITERS_HINT =
  'Delete rows, a few thousand at once, or drop tables or views, or raise the memory limit.';
