import type { Clock, TimerHandle } from '../base/ports.ts';
import type { TenantId } from '../base/units.ts';
import { STEP_BUDGET_UNITS_FIRST } from './dispatcher.ts';
import type { Dispatcher } from './dispatcher.ts';

export type RunLoopOptions = {
  readonly clock: Clock;
  readonly dispatcher: Dispatcher;
  /** How long it holds the thread before I/O gets its chance. */
  readonly turnMs?: number;
  /** Fixes the step budget instead of learning it: for worlds whose clock follows the work. */
  readonly stepBudgetUnits?: number;
};

/** Law 5 aims at half a millisecond until whoever waits gets the thread. */
const TURN_MS = 0.5;

/**
 * What a step may spend, by what was learned. Four fit a turn, since a step cannot know that its code has just lost its
 * optimisation, or that its units cost more than those that the loop has learned from: ten times as long is then still about a millisecond.
 */
export const STEP_MS = TURN_MS / 4;

/** Between two readings of the clock there are at most so many steps, however small. */
const STEPS_PER_READING = 32;

/**
 * After a step of so much work the clock is looked at, and after one of an actor that goes on, whose work may be in no unit: ten microseconds as a rule, but a
 * hundred times as long where its code runs for the first time, and a slice has room for a dozen of them.
 */
const LOOK_UNITS_MIN = 1_000;

/**
 * How many turns I/O waits for whoever asks for one short answer after another: a millisecond and a half in all, within the two that law 5 allows. Giving it the
 * thread costs more than an answer does.
 */
const SERVED_TURNS = 3;

/** Shorter spans say more about the clock than about the work: they are put together. */
const LEARN_SPAN_MS_MIN = 0.1;

/** One span changes what was learned by at most an eighth of the way. */
const LEARN_RATE = 1 / 8;

/**
 * Work that turns out more than twice as slow is believed at once, down to this share: the next steps must be short. If the machine
 * had only halted, a few dozen spans forget it.
 */
const SLOWER_MIN = 1 / 8;

/** Slices of less work, by what a step may spend, are made of messages, whose price says nothing about work. */
const LEARN_SHARE_MIN = 1 / 2;

/**
 * A batch of rows is more, so that a smaller budget would cut nothing; and small commits are less: were they learned from, a budget that has
 * once become small would stay so.
 */
const BUDGET_UNITS_MIN = 2_000;
const LEARN_UNITS_MIN = BUDGET_UNITS_MIN;
const BUDGET_UNITS_MAX = 1_000_000;

/**
 * Gives the dispatcher the thread in turns. Within a turn it goes from slice to slice by microtasks, so promises that
 * a step settled continue before the next slice; after half a millisecond I/O and timers get their chance. It is the one
 * place that reads the Clock for the length of steps: it learns how many work units fit, and sets the step budget.
 */
export class RunLoop {
  readonly #clock: Clock;
  readonly #dispatcher: Dispatcher;
  readonly #turnMs: number;
  readonly #learns: boolean;
  #unitsPerMs: number;
  /** Work and time of slices that were too short to learn from alone. */
  #learnUnits = 0;
  #learnMs = 0;
  #running = false;
  /** A slice is scheduled, or the loop is in one: waking it again is not needed. */
  #awake = false;
  /** When I/O last had its chance, as far as the loop knows. */
  #ioMs = -Infinity;
  #readMs: number;
  #waiting: TimerHandle | undefined;
  /** Short steps out of turn, since I/O last had its chance: when they began, and who waits for that. */
  #served: { readonly sinceMs: number; readonly waiting: (() => void)[] } | undefined;

  constructor({ clock, dispatcher, turnMs = TURN_MS, stepBudgetUnits }: RunLoopOptions) {
    this.#clock = clock;
    this.#dispatcher = dispatcher;
    this.#turnMs = turnMs;
    this.#learns = stepBudgetUnits === undefined;
    dispatcher.stepBudgetUnits = stepBudgetUnits ?? STEP_BUDGET_UNITS_FIRST;
    this.#unitsPerMs = dispatcher.stepBudgetUnits / STEP_MS;
    this.#readMs = clock.monotonicMs();
  }

  /** Work units that fit a millisecond, as learned; the estimate of time is made of it. */
  get unitsPerMs(): number {
    return this.#unitsPerMs;
  }

  start(): void {
    this.#running = true;
    this.#dispatcher.onReady = this.#wake;
    if (this.#dispatcher.runQueue.readyCount > 0) this.#wake();
  }

  /**
   * A step's work units for who serves a tenant out of turn, by a short step that no actor takes; undefined where that must wait: inside
   * of somebody's step, for a tenant that is held up, in worlds where every step is decided on, and when I/O has waited for as long as a turn
   * (`untilTurn` says when it has had its chance).
   */
  serviceUnits(tenant: TenantId): number | undefined {
    const dispatcher = this.#dispatcher;
    const { runQueue } = dispatcher;
    if (!this.#running || !this.#learns || dispatcher.isStepping) return undefined;
    if (runQueue.mayServe?.(tenant) !== true) return undefined;
    const nowMs = this.#clock.monotonicMs();
    if (this.#served === undefined) {
      const served = { sinceMs: nowMs, waiting: [] as (() => void)[] };
      this.#served = served;
      this.#clock.afterIo(() => {
        this.#served = undefined;
        for (const wake of served.waiting) wake();
      });
    } else if (nowMs - this.#served.sinceMs >= this.#turnMs * SERVED_TURNS) return undefined;
    return dispatcher.stepBudgetUnits;
  }

  /** Resolves when I/O has had its chance; undefined where it has not waited for long. */
  untilTurn(): Promise<void> | undefined {
    const served = this.#served;
    if (
      served === undefined ||
      this.#clock.monotonicMs() - served.sinceMs < this.#turnMs * SERVED_TURNS
    )
      return undefined;
    return new Promise((resolve) => served.waiting.push(resolve));
  }

  /**
   * For what a caller does in one piece in his own turn, which began at `sinceMs` of the monotonic clock: resolves when I/O and whoever waits have had
   * their chance; undefined where it has not held the thread for as long as a turn, and in worlds where the clock follows the work.
   */
  givesWay(sinceMs: number): Promise<void> | undefined {
    if (!this.#learns || this.#clock.monotonicMs() - sinceMs < this.#turnMs) return undefined;
    return new Promise((resolve) => this.#clock.afterIo(resolve));
  }

  /** No step begins after this. */
  stop(): void {
    this.#running = false;
    this.#dispatcher.onReady = undefined;
    this.#waiting?.cancel();
    this.#waiting = undefined;
  }

  readonly #wake = (): void => {
    if (this.#awake) return;
    this.#awake = true;
    this.#waiting?.cancel();
    this.#waiting = undefined;
    // A program that awaits one small request after another never leaves its microtasks by itself.
    if (this.#clock.monotonicMs() - this.#ioMs < this.#turnMs) this.#clock.soon(this.#slice);
    else this.#clock.afterIo(this.#firstSlice);
  };

  readonly #firstSlice = (): void => {
    this.#ioMs = this.#clock.monotonicMs();
    this.#slice();
  };

  readonly #slice = (): void => {
    if (!this.#running) {
      this.#awake = false;
      return;
    }
    const dispatcher = this.#dispatcher;
    const startMs = this.#read();
    const startUnits = dispatcher.spentUnits;
    const endUnits = startUnits + dispatcher.stepBudgetUnits / 2;
    let steps = 0;
    let ran = true;
    let isFirst = false;
    let isLong = false;
    while (steps < STEPS_PER_READING && dispatcher.spentUnits < endUnits) {
      ran = dispatcher.runOne();
      if (!ran) break;
      steps += 1;
      // What an actor makes for itself in the beginning is in no unit, and made by code that may be cold: nothing is learned from it.
      isFirst = dispatcher.wasFirstStep;
      if (isFirst) break;
      isLong =
        this.#learns &&
        (dispatcher.goesOn || dispatcher.chargedUnits >= LOOK_UNITS_MIN) &&
        this.#clock.monotonicMs() - startMs >= this.#turnMs;
      if (!isLong) continue;
      dispatcher.giveWay();
      break;
    }
    const nowMs = this.#read();
    const units = dispatcher.spentUnits - startUnits;
    if (
      this.#learns &&
      !isFirst &&
      (this.#tellsSpeed(units) || (isLong && units >= LOOK_UNITS_MIN))
    )
      this.#learn(units, nowMs - startMs);
    if (!ran) {
      this.#awake = false;
      this.#sleepUntilAllowed();
    } else if (nowMs - this.#ioMs < this.#turnMs) {
      this.#clock.soon(this.#slice);
    } else {
      this.#clock.afterIo(this.#firstSlice);
    }
  };

  /** Reads the clock, and tells the queue how much could have been done since the last reading. */
  #read(): number {
    const nowMs = this.#clock.monotonicMs();
    const runQueue = this.#dispatcher.runQueue;
    runQueue.advance((nowMs - this.#readMs) * this.#unitsPerMs, nowMs);
    this.#readMs = nowMs;
    return nowMs;
  }

  /** Everybody who is ready has used up a limit: comes back when the first may run again. */
  #sleepUntilAllowed(): void {
    const units = this.#dispatcher.runQueue.waitUnits();
    if (units <= 0) return;
    this.#waiting = this.#clock.after(Math.max(1, units / this.#unitsPerMs), () => {
      this.#waiting = undefined;
      this.#wake();
    });
  }

  /** Whether a slice of so much is made of work. */
  #tellsSpeed(units: number): boolean {
    return units >= Math.max(LEARN_UNITS_MIN, this.#dispatcher.stepBudgetUnits * LEARN_SHARE_MIN);
  }

  #learn(units: number, spanMs: number): void {
    this.#learnUnits += units;
    this.#learnMs += spanMs;
    if (this.#learnMs < LEARN_SPAN_MS_MIN) return;
    const ratio = this.#learnUnits / this.#learnMs / this.#unitsPerMs;
    this.#learnUnits = 0;
    this.#learnMs = 0;
    this.#unitsPerMs *=
      ratio < 0.5 ? Math.max(SLOWER_MIN, ratio) : Math.min(2, ratio) ** LEARN_RATE;
    const budget = Math.round(this.#unitsPerMs * STEP_MS);
    this.#dispatcher.stepBudgetUnits = Math.min(
      BUDGET_UNITS_MAX,
      Math.max(BUDGET_UNITS_MIN, budget),
    );
  }
}
