import { assert } from './errors.ts';
import type { MemoryAccount } from './memory.ts';

/**
 * What one owner (a table, a dictionary, an operator) holds of an account, so that all of it can be given back at once. With
 * `limits` false nothing is refused: replay must not fail where the first run did not.
 */
export class MemoryLease {
  readonly #account: MemoryAccount | undefined;
  #bytes = 0;
  limits = true;

  constructor(account: MemoryAccount | undefined) {
    this.#account = account;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** To be called before the allocation; throws 53200 and takes nothing when a limit is met. */
  take(bytes: number): void {
    if (this.#account !== undefined) {
      if (this.limits) this.#account.reserve(bytes);
      else this.#account.force(bytes);
    }
    this.#bytes += bytes;
  }

  /** For what may as well be done later: see `MemoryAccount.hasRoomFor`. */
  hasRoomFor(bytes: number): boolean {
    return this.#account?.hasRoomFor(bytes) !== false;
  }

  give(bytes: number): void {
    assert(bytes <= this.#bytes, 'a lease gives back at most what it took');
    this.#account?.release(bytes);
    this.#bytes -= bytes;
  }

  close(): void {
    this.give(this.#bytes);
  }
}
