import type { Clock, TimerHandle } from '../base/ports.ts';
import { isBefore, popTimed, pushTimed } from '../base/timer-heap.ts';

/**
 * Many timers on one timer of the Clock. Most are cancelled long before they are due (deadlines of asks), so a cancelled
 * one stays in the heap and is swept when such are the majority. Timers due at the same instant fire in the order in
 * which they were made.
 */
export class TimerQueue {
  readonly #clock: Clock;
  /** A binary heap by (dueMs, order). */
  #heap: Timer[] = [];
  #order = 0;
  #liveCount = 0;
  #armed: { readonly dueMs: number; readonly handle: TimerHandle } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Timers that will still fire. */
  get size(): number {
    return this.#liveCount;
  }

  /** Runs `callback` once, `delayMs` from now on the monotonic clock. */
  after(delayMs: number, callback: () => void): TimerHandle {
    const timer = new Timer(
      this.#clock.monotonicMs() + Math.max(0, delayMs),
      (this.#order += 1),
      callback,
      this,
    );
    this.#liveCount += 1;
    pushTimed(this.#heap, timer);
    this.#arm();
    return timer;
  }

  /** Cancels all, and the Clock's timer with them. */
  close(): void {
    for (const timer of this.#heap) timer.callback = undefined;
    this.#heap = [];
    this.#liveCount = 0;
    this.#armed?.handle.cancel();
    this.#armed = undefined;
  }

  /** Of Timer.cancel. */
  cancelled(): void {
    this.#liveCount -= 1;
    if (this.#liveCount === 0) this.close();
    else if (this.#heap.length > 64 && this.#heap.length > this.#liveCount * 2) this.#sweep();
  }

  #arm(): void {
    const first = this.#heap[0];
    if (first === undefined) return;
    if (this.#armed !== undefined) {
      if (this.#armed.dueMs <= first.dueMs) return;
      this.#armed.handle.cancel();
    }
    const delayMs = Math.max(0, first.dueMs - this.#clock.monotonicMs());
    this.#armed = { dueMs: first.dueMs, handle: this.#clock.after(delayMs, this.#fire) };
  }

  readonly #fire = (): void => {
    this.#armed = undefined;
    const nowMs = this.#clock.monotonicMs();
    // What a callback adds with no delay waits for the next firing, so that this loop ends.
    const orderMax = this.#order;
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || first.dueMs > nowMs || first.order > orderMax) break;
      popTimed(this.#heap);
      const callback = first.callback;
      if (callback === undefined) continue;
      first.callback = undefined;
      this.#liveCount -= 1;
      callback();
    }
    this.#arm();
  };

  #sweep(): void {
    const live = this.#heap.filter((timer) => timer.callback !== undefined);
    live.sort((left, right) => (isBefore(left, right) ? -1 : 1)); // A sorted array is a heap.
    this.#heap = live;
  }
}

class Timer implements TimerHandle {
  readonly dueMs: number;
  readonly order: number;
  /** Undefined once fired or cancelled. */
  callback: (() => void) | undefined;
  readonly #queue: TimerQueue;

  constructor(dueMs: number, order: number, callback: () => void, queue: TimerQueue) {
    this.dueMs = dueMs;
    this.order = order;
    this.callback = callback;
    this.#queue = queue;
  }

  cancel(): void {
    if (this.callback === undefined) return;
    this.callback = undefined;
    this.#queue.cancelled();
  }
}
