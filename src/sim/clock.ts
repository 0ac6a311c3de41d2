import type { Clock, TimerHandle } from '../base/ports.ts';
import { popTimed, pushTimed } from '../base/timer-heap.ts';
import { instantMs, type InstantMs } from '../base/units.ts';
import type { Candidate, Schedule } from './schedule.ts';

/**
 * Virtual time. Nothing happens by itself: `step` runs one event, which the schedule picks among all that are due, and
 * time jumps to the next event when none is. Work takes time by `spend`.
 *
 * 1. `soon` goes before everything else, as the contract of the port says.
 * 2. Among events that are due the schedule decides; their order of making is not a promise.
 * 3. Time never goes back.
 */
export class SimulatedClock implements Clock {
  readonly #startMs: number;
  readonly #schedule: Schedule;
  #elapsedMs = 0;
  readonly #soon: Event[] = [];
  /** Due, in the order in which they became so. */
  readonly #ready: Event[] = [];
  /** A binary heap by (dueMs, order). */
  readonly #later: Event[] = [];
  #order = 0;

  constructor(startMs: number, schedule: Schedule) {
    this.#startMs = startMs;
    this.#schedule = schedule;
  }

  now(): InstantMs {
    return instantMs(this.#startMs + Math.floor(this.#elapsedMs));
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  after(delayMs: number, callback: () => void): TimerHandle {
    return this.at(delayMs, 'timer', callback);
  }

  soon(callback: () => void): void {
    this.#soon.push(new Event('soon', this.#elapsedMs, this.#next(), callback));
  }

  afterIo(callback: () => void): void {
    this.#ready.push(new Event('loop', this.#elapsedMs, this.#next(), callback));
  }

  /** Like `after`, from a source of its own: what the schedule tells apart. */
  at(delayMs: number, source: string, callback: () => void): TimerHandle {
    const event = new Event(source, this.#elapsedMs + Math.max(0, delayMs), this.#next(), callback);
    if (event.dueMs <= this.#elapsedMs) this.#ready.push(event);
    else pushTimed(this.#later, event);
    return event;
  }

  /** Resolves in an event of its own. */
  pause(delayMs: number, source: string): Promise<void> {
    return new Promise((resolve) => void this.at(delayMs, source, resolve));
  }

  /** Nothing happens until then: time goes on. */
  advanceTo(ms: number): void {
    this.#elapsedMs = Math.max(this.#elapsedMs, ms);
  }

  /** Work took so long: time goes on. */
  spend(ms: number): void {
    this.#elapsedMs += ms;
  }

  /** Events that will still happen. */
  get pendingCount(): number {
    let count = 0;
    for (const list of [this.#soon, this.#ready, this.#later])
      for (const event of list) if (!event.cancelled) count += 1;
    return count;
  }

  /** Runs one event; its source, or undefined when there is none left, or none before `untilMs`. */
  step(untilMs = Infinity): string | undefined {
    const event = this.#take(untilMs);
    if (event === undefined) return undefined;
    event.taken = true;
    event.callback();
    return event.source;
  }

  #take(untilMs: number): Event | undefined {
    for (;;) {
      sweep(this.#soon);
      if (this.#soon.length > 0) return this.#soon.splice(this.#schedule.pick(this.#soon), 1)[0];
      for (
        let first = this.#later[0];
        first !== undefined && (first.cancelled || first.dueMs <= this.#elapsedMs);
        first = this.#later[0]
      ) {
        popTimed(this.#later);
        if (!first.cancelled) this.#ready.push(first);
      }
      sweep(this.#ready);
      if (this.#ready.length > 0) return this.#ready.splice(this.#schedule.pick(this.#ready), 1)[0];
      const next = this.#later[0];
      if (next === undefined || next.dueMs > untilMs) return undefined;
      this.#elapsedMs = next.dueMs;
    }
  }

  #next(): number {
    this.#order += 1;
    return this.#order;
  }
}

/** The clock as one process has it: when the process has ended, nothing that waited for time happens any more. */
export class ProcessClock implements Clock {
  readonly #clock: SimulatedClock;
  #ended = false;

  constructor(clock: SimulatedClock) {
    this.#clock = clock;
  }

  end(): void {
    this.#ended = true;
  }

  get ended(): boolean {
    return this.#ended;
  }

  now(): InstantMs {
    return this.#clock.now();
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }

  after(delayMs: number, callback: () => void): TimerHandle {
    return this.#clock.after(delayMs, this.#whileAlive(callback));
  }

  soon(callback: () => void): void {
    this.#clock.soon(this.#whileAlive(callback));
  }

  afterIo(callback: () => void): void {
    this.#clock.afterIo(this.#whileAlive(callback));
  }

  #whileAlive(callback: () => void): () => void {
    return () => {
      if (!this.#ended) callback();
    };
  }
}

class Event implements TimerHandle, Candidate {
  readonly source: string;
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
  cancelled = false;
  taken = false;

  constructor(source: string, dueMs: number, order: number, callback: () => void) {
    this.source = source;
    this.dueMs = dueMs;
    this.order = order;
    this.callback = callback;
  }

  cancel(): void {
    this.cancelled = true;
  }
}

/** Takes out what was cancelled. */
function sweep(events: Event[]): void {
  for (let index = events.length - 1; index >= 0; index -= 1)
    if (events[index]!.cancelled) events.splice(index, 1);
}
