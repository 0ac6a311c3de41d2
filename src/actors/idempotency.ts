import type { WriteResult } from './api-types.ts';

/** What the journal knows of a write that carries a key. */
export type KeyedWrite = WriteResult & {
  /** Commits it took, so far or in all. */
  readonly chunks: number;
  readonly done: boolean;
};

/**
 * Writes that carried a key, as the journal tells of them, in the order in which they were last heard of: the bound forgets the oldest.
 * Part of the state: whoever opens the journal again knows them too.
 */
export class KeyedWrites {
  readonly #writes = new Map<string, KeyedWrite>();

  get(key: string): KeyedWrite | undefined {
    return this.#writes.get(key);
  }

  set(key: string, write: KeyedWrite): void {
    this.#writes.delete(key);
    this.#writes.set(key, write);
    if (this.#writes.size > KEY_COUNT_MAX) this.#writes.delete(this.#writes.keys().next().value!);
  }

  entries(): (KeyedWrite & { readonly key: string })[] {
    return [...this.#writes].map(([key, write]) => ({ ...write, key }));
  }
}

/**
 * Feeds deliver again: a write that carries a key is done once, and told again what came of it. One that was cut short after some of
 * its commits is told how far it came.
 */
export class Idempotency {
  readonly #known: KeyedWrites;
  readonly #running = new Map<string, Promise<WriteResult>>();

  constructor(known: KeyedWrites) {
    this.#known = known;
  }

  once<Result extends WriteResult>(
    key: string,
    write: (before: KeyedWrite | undefined) => Promise<Result>,
    told: (done: WriteResult) => Result,
  ): Promise<Result> {
    const running = this.#running.get(key);
    if (running !== undefined) return running as Promise<Result>;
    const before = this.#known.get(key);
    if (before?.done === true)
      return Promise.resolve(told({ position: before.position, rows: before.rows }));
    const result = write(before);
    this.#running.set(key, result);
    const ended = (): void => void this.#running.delete(key);
    result.then(ended, ended);
    return result;
  }
}

const KEY_COUNT_MAX = 10_000;
