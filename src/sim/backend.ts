import type { Random } from '../base/ports.ts';
import type { Position } from '../base/units.ts';
import type { JournalBackend, JournalGroup, JournalReader } from '../journal/backend.ts';
import { MemoryBackend } from '../journal/memory-backend.ts';
import type { SimulatedClock } from './clock.ts';

export type BackendFaults = {
  /** Milliseconds until a group is acknowledged, at least and at most. 0 and 0: from within `append`. */
  readonly latencyMs: readonly [number, number];
  readonly groupsInFlightMax: number;
  /** The group, counted from 1, that fails, and all after it; 0: none. */
  readonly failingGroup: number;
  /** Appends, counted from 1, whose room is refused: nothing is appended, and the journal goes on. */
  readonly refusedAppends: ReadonlySet<number>;
};

/** A journal that acknowledges late and in order, refuses room now and then, and may fail for good. */
export class SimulatedBackend implements JournalBackend {
  readonly name = 'simulated';
  readonly groupsInFlightMax: number;
  readonly #clock: SimulatedClock;
  readonly #random: Random;
  readonly #faults: BackendFaults;
  readonly #refusal: () => Error;
  readonly #kept = new MemoryBackend();
  readonly #inFlight: {
    readonly group: JournalGroup;
    readonly report: (failure: unknown) => void;
  }[] = [];
  #groupCount = 0;
  #appendCount = 0;
  #lastDueMs = 0;
  #failure: Error | undefined;

  constructor(clock: SimulatedClock, random: Random, faults: BackendFaults, refusal: () => Error) {
    this.#clock = clock;
    this.#random = random;
    this.#faults = faults;
    this.#refusal = refusal;
    this.groupsInFlightMax = faults.groupsInFlightMax;
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
    this.#appendCount += 1;
    if (this.#faults.refusedAppends.has(this.#appendCount)) throw this.#refusal();
    this.#kept.reserve(heapBytes);
  }

  append(group: JournalGroup, report: (failure: unknown) => void): void {
    this.#groupCount += 1;
    if (this.#groupCount === this.#faults.failingGroup)
      this.#failure = new Error('the simulated journal has failed');
    const [least, most] = this.#faults.latencyMs;
    this.#inFlight.push({ group, report });
    if (most === 0) {
      this.#land();
      return;
    }
    const nowMs = this.#clock.monotonicMs();
    this.#lastDueMs = Math.max(
      this.#lastDueMs,
      nowMs + least + this.#random.unit() * (most - least),
    );
    this.#clock.at(this.#lastDueMs - nowMs, 'journal', () => this.#land());
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
