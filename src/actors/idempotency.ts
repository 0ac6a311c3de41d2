import type { WriteResult } from './api-types.ts';

/**
 * Feeds deliver again: a write that carries a key is done once, and told again what came of it. Keys are remembered in
 * order of arrival, so the bound forgets the oldest.
 */
export class Idempotency {
  readonly #results = new Map<string, Promise<WriteResult>>();

  once<Result extends WriteResult>(key: string, write: () => Promise<Result>): Promise<Result> {
    const known = this.#results.get(key);
    if (known !== undefined) return known as Promise<Result>;
    const result = write();
    this.#results.set(key, result);
    if (this.#results.size > KEY_COUNT_MAX)
      this.#results.delete(this.#results.keys().next().value!);
    // What failed may be tried again under the same key.
    result.catch(() => this.#results.delete(key));
    return result;
  }
}

const KEY_COUNT_MAX = 10_000;
