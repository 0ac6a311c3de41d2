import type { Clock, TimerHandle } from '../../src/index.ts';
import { nodePorts } from '../../src/base/node-ports.ts';

/** Time that moves when it is told to; turns of the loop are the process's own. */
export class HandClock implements Clock {
  #ms = Date.UTC(2026, 0, 1);
  readonly #real = nodePorts().clock;
  #timers: { readonly due: number; readonly callback: () => void }[] = [];

  now = () => this.#ms as ReturnType<Clock['now']>;
  monotonicMs = () => this.#ms;
  soon = (callback: () => void) => this.#real.soon(callback);
  afterIo = (callback: () => void) => this.#real.afterIo(callback);

  after(delayMs: number, callback: () => void): TimerHandle {
    const timer = { due: this.#ms + delayMs, callback };
    this.#timers.push(timer);
    return { cancel: () => void (this.#timers = this.#timers.filter((each) => each !== timer)) };
  }

  /** Fires what becomes due on the way, each at its own instant. */
  advance(ms: number): void {
    const end = this.#ms + ms;
    for (;;) {
      const next = this.#timers.toSorted((a, b) => a.due - b.due)[0];
      if (next === undefined || next.due > end) break;
      this.#timers = this.#timers.filter((each) => each !== next);
      this.#ms = next.due;
      next.callback();
    }
    this.#ms = end;
  }
}
