import type { Random } from '../base/ports.ts';
import type { Position } from '../base/units.ts';
import type { JournalBackend, JournalGroup, JournalReader } from '../journal/backend.ts';
import { MemoryBackend } from '../journal/memory-backend.ts';
import type { SimulatedClock } from './clock.ts';

export type BackendOptions = {
  readonly clock: SimulatedClock;
  readonly random: Random;
  /** Milliseconds until a group is acknowledged, at least and at most. 0 and 0: from within `append`. */
  readonly latencyMs: readonly [number, number];
  readonly groupsInFlightMax: number;
  /** Whether room is refused for the next append: then nothing is appended, and the journal goes on. */
  readonly refusal: () => Error | undefined;
};

/** A journal that acknowledges late and in order, refuses room now and then, and may fail for good. */
export class SimulatedBackend implements JournalBackend {
  readonly name = 'simulated';
  readonly groupsInFlightMax: number;
  readonly #options: BackendOptions;
  readonly #kept = new MemoryBackend();
  readonly #inFlight: {
    readonly group: JournalGroup;
    readonly report: (failure: unknown) => void;
  }[] = [];
  #lastDueMs = 0;
  #failure: Error | undefined;

  constructor(options: BackendOptions) {
    this.#options = options;
    this.groupsInFlightMax = options.groupsInFlightMax;
  }

  /** From the next acknowledgement on nothing is written any more: groups in flight are lost. */
  fail(): void {
    this.#failure ??= new Error('the simulated journal has failed');
  }

  get failed(): boolean {
    return this.#failure !== undefined;
  }

  get firstPosition(): Position {
    return this.#kept.firstPosition;
  }

  get lastPosition(): Position {
    return this.#kept.lastPosition;
  }

  get heldBytes(): number {
    return this.#kept.heldBytes;
  }

  reserve(heapBytes: number): void {
    const refusal = this.#options.refusal();
    if (refusal !== undefined) throw refusal;
    this.#kept.reserve(heapBytes);
  }

  append(group: JournalGroup, report: (failure: unknown) => void): void {
    const { clock, random, latencyMs } = this.#options;
    const [least, most] = latencyMs;
    this.#inFlight.push({ group, report });
    if (most === 0) {
      this.#land();
      return;
    }
    const nowMs = clock.monotonicMs();
    this.#lastDueMs = Math.max(this.#lastDueMs, nowMs + least + random.unit() * (most - least));
    clock.at(this.#lastDueMs - nowMs, 'journal', () => this.#land());
  }

  read(from: Position): JournalReader {
    return this.#kept.read(from);
  }

  forget(upTo: Position, keepBytes: number): void {
    this.#kept.forget(upTo, keepBytes);
  }

  close(): Promise<void> {
    this.#inFlight.length = 0;
    return Promise.resolve();
  }

  /** The oldest group in flight is acknowledged, or everything is lost. */
  #land(): void {
    const oldest = this.#inFlight.shift();
    if (oldest === undefined) return;
    const { group, report } = oldest;
    if (this.#failure !== undefined) report(this.#failure);
    else this.#kept.append(group, report);
  }
}
