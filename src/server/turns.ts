import type { Clock } from '../base/ports.ts';

/**
 * Who sends what many are told takes turns: after a commit each of a thousand readers has something to be sent, and the next commit waits for none
 * but the few that fit in a millisecond. Others wait in the order they came, one after each look at I/O.
 */
export class Turns {
  readonly #clock: Clock;
  readonly #waiting: (() => void)[] = [];
  #isUnderWay = false;
  #startMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Undefined: it is his turn. */
  take(): Promise<void> | undefined {
    const nowMs = this.#clock.monotonicMs();
    if (!this.#isUnderWay) {
      this.#isUnderWay = true;
      this.#startMs = nowMs;
      this.#clock.afterIo(this.#next);
    }
    if (this.#waiting.length === 0 && nowMs - this.#startMs < TURN_MS) return undefined;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  readonly #next = (): void => {
    const next = this.#waiting.shift();
    if (next === undefined) {
      this.#isUnderWay = false;
      return;
    }
    this.#clock.afterIo(this.#next);
    next();
  };
}

const TURN_MS = 1;
