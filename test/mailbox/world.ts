/** A clock that stands still until a test moves it, and a dispatcher on it. */
import type { Clock, TimerHandle } from '../../src/base/ports.ts';
import { instantMs, tenantId } from '../../src/base/units.ts';
import type { InstantMs } from '../../src/base/units.ts';
import { Dispatcher } from '../../src/mailbox/dispatcher.ts';
import { FifoRunQueue } from '../../src/mailbox/run-queue.ts';
import type { RunQueue } from '../../src/mailbox/run-queue.ts';

export class StillClock implements Clock {
  #nowMs = 1_000;
  #timers: { readonly dueMs: number; readonly order: number; readonly callback: () => void }[] = [];
  #order = 0;
  readonly later: (() => void)[] = [];

  now(): InstantMs {
    return instantMs(this.#nowMs);
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): TimerHandle {
    const timer = { dueMs: this.#nowMs + delayMs, order: (this.#order += 1), callback };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  soon(callback: () => void): void {
    this.later.push(callback);
  }

  afterIo(callback: () => void): void {
    this.later.push(callback);
  }

  get timerCount(): number {
    return this.#timers.length;
  }

  /** Moves on and fires what has become due, in order of time. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const due = this.#timers
        .filter((timer) => timer.dueMs <= endMs)
        .sort((left, right) => left.dueMs - right.dueMs || left.order - right.order)[0];
      if (due === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.#nowMs = Math.max(this.#nowMs, due.dueMs);
      due.callback();
    }
    this.#nowMs = endMs;
  }
}

export const acme = tenantId('acme');

export function world(runQueue: RunQueue = new FifoRunQueue()): {
  clock: StillClock;
  dispatcher: Dispatcher;
  failures: unknown[];
} {
  const clock = new StillClock();
  const failures: unknown[] = [];
  const dispatcher = new Dispatcher({
    clock,
    runQueue,
    onUnsupervisedFailure: (_actor, exit) => failures.push(exit),
  });
  return { clock, dispatcher, failures };
}
