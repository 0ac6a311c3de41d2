/**
 * The five ports (law 4): nothing else in the house touches time, chance, files, sockets or threads.
 * `node-ports.ts` has the real ones, `src/sim` the simulated ones.
 */

import type { InstantMs } from './units.ts';

export type TimerHandle = {
  cancel(): void;
  /** Whether it keeps the process alive from now on (`holds` of `after`); a clock of one's own need not know of it. */
  hold?(holds: boolean): void;
};

export interface Clock {
  /** Milliseconds since 1970; may jump. */
  now(): InstantMs;
  /** Milliseconds since an arbitrary start; never goes back. Has fractions. */
  monotonicMs(): number;
  /**
   * Runs `callback` once, not before `delayMs` from now. The real one does not keep the process alive, unless it `holds` it: somebody
   * waits for what the callback will tell him, and nothing else may come.
   */
  after(delayMs: number, callback: () => void, holds?: boolean): TimerHandle;
  /** Runs `callback` once the present turn is over, before any I/O is looked at (a microtask). */
  soon(callback: () => void): void;
  /** Runs `callback` after I/O and timers had their chance. What the run loop yields with. */
  afterIo(callback: () => void): void;
}

/** A tree of independent streams: a new caller in one place does not shift the numbers of another. */
export interface Random {
  /** A uniform integer in 0 … 2^32−1. */
  uint32(): number;
  /** A uniform number in [0, 1) with 53 random bits. */
  unit(): number;
  /** A uniform integer in 0 … n−1, without bias. */
  below(n: number): number;
  /** An independent stream that depends on this tree's seed and on `label` only. */
  split(label: string): Random;
}

/**
 * One open file. A call begins when it is made, and overlapping calls may take effect in any order: whoever cares awaits. What is
 * given to `write` must not change until it is done. Failures are errors with the operating system's `code`: ENOSPC and
 * EDQUOT where there is no room, EIO where the device fails, …
 */
export interface DiskFile {
  /** Bytes that are in the file now, synced or not. */
  size(): Promise<number>;
  /** Fewer bytes than asked for only at the end of the file. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** All of the bytes, or a failure after which any part of them may be there. */
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /**
   * Resolves when everything written before the call survives a power loss. After a failure nobody knows what of it does, and
   * a second call that succeeds says nothing about it.
   */
  sync(): Promise<void>;
  truncate(size: number): Promise<void>;
  close(): Promise<void>;
}

/** Files. A name that was made, renamed or removed survives a power loss once its directory is synced. */
export interface Disk {
  /** 'read' and 'write' want a file that is there (ENOENT); 'create' makes an empty one, also of one that is there. */
  open(path: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile>;
  /** Names, sorted; none where there is no such directory. */
  list(directory: string): Promise<readonly string[]>;
  makeDirectory(path: string): Promise<void>;
  /** Takes the place of what is called `to`, at once. */
  rename(from: string, to: string): Promise<void>;
  /** What is not there is removed already. */
  remove(path: string): Promise<void>;
  /** Makes the names in a directory survive a power loss. */
  syncDirectory(path: string): Promise<void>;
  /**
   * A directory for one holder at a time, whatever process: 55006 while another one lives. Given back by `release`, and by the end
   * of the holder's process, however it ends.
   */
  lock(directory: string): Promise<DiskLock>;
}

export type DiskLock = { release(): Promise<void> };

export interface Network {
  fetch(
    url: string,
    init: {
      method: string;
      headers?: Record<string, string>;
      body?: Uint8Array;
      signal?: AbortSignal;
    },
  ): Promise<{
    readonly status: number;
    readonly body: AsyncIterable<Uint8Array>;
  }>;
}

/** Threads. `run` posts plain data to a worker's entry and resolves with plain data. */
export interface Workers {
  readonly count: number;
  run(task: { readonly kind: string; readonly payload: unknown }): Promise<unknown>;
  close(): Promise<void>;
}

export type Ports = {
  readonly clock: Clock;
  readonly random: Random;
  readonly disk: Disk;
  readonly network: Network;
  readonly workers: Workers;
};
