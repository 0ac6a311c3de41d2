import type { Random, Workers } from '../base/ports.ts';
import type { SimulatedClock } from './clock.ts';

/** What a worker's entry does with a task of each kind. */
export type WorkerEntry = (task: { readonly kind: string; readonly payload: unknown }) => unknown;

/**
 * Threads that are none: a task is copied as `postMessage` copies it, done when its turn comes, and its result arrives
 * late and in any order, as results of real threads do.
 */
export class SimulatedWorkers implements Workers {
  readonly count: number;
  readonly #clock: SimulatedClock;
  readonly #random: Random;
  readonly #entry: WorkerEntry;
  readonly #latencyMsMax: number;
  #closed = false;

  constructor(options: {
    readonly count: number;
    readonly clock: SimulatedClock;
    readonly random: Random;
    readonly entry: WorkerEntry;
    readonly latencyMsMax: number;
  }) {
    this.count = options.count;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#entry = options.entry;
    this.#latencyMsMax = options.latencyMsMax;
  }

  async run(task: { readonly kind: string; readonly payload: unknown }): Promise<unknown> {
    const copy = structuredClone(task);
    await this.#clock.pause(this.#random.unit() * this.#latencyMsMax, 'worker');
    if (this.#closed) throw new Error('the simulated workers are closed');
    const result = structuredClone(this.#entry(copy));
    await this.#clock.pause(this.#random.unit() * this.#latencyMsMax, 'worker');
    return result;
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }
}
