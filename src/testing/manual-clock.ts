import { DbError } from '../base/errors.ts';
import { nodePorts } from '../base/node-ports.ts';
import type { Clock, TimerHandle } from '../base/ports.ts';
import { popTimed, pushTimed } from '../base/timer-heap.ts';
import { instantMs, type InstantMs } from '../base/units.ts';

/**
 * A clock that stands still until it is told to move: `await open({ clock })`. Only the database lives by it; your own code and your
 * test runner keep the real time.
 *
 * 1. Timers fire in the order of their instants, each when the clock shows its own; what one of them leads to has
 *    happened before the next fires.
 * 2. Work takes no time: a query that takes a second of yours takes none of the clock's.
 */
export class ManualClock implements Clock {
  readonly #real = nodePorts().clock;
  #nowMs: number;
  readonly #startMs: number;
  readonly #timers: ManualTimer[] = [];
  #order = 0;
  /** Turns that the database has asked for and not had yet. */
  #pendingTurns = 0;
  #moving: Promise<void> | undefined;

  constructor(startMs: number) {
    this.#nowMs = startMs;
    this.#startMs = startMs;
  }

  now(): InstantMs {
    return instantMs(Math.floor(this.#nowMs));
  }

  monotonicMs(): number {
    return this.#nowMs - this.#startMs;
  }

  after(delayMs: number, callback: () => void): TimerHandle {
    this.#order += 1;
    const timer = new ManualTimer(this.#nowMs + Math.max(0, delayMs), this.#order, callback);
    pushTimed(this.#timers, timer);
    // What is due at once does not wait for somebody to move the clock.
    if (delayMs <= 0) this.afterIo(() => this.#fireDue());
    return timer;
  }

  soon(callback: () => void): void {
    this.#pendingTurns += 1;
    this.#real.soon(() => this.#turn(callback));
  }

  afterIo(callback: () => void): void {
    this.#pendingTurns += 1;
    this.#real.afterIo(() => this.#turn(callback));
  }

  /** The instant it shows, as ISO text in UTC. */
  get iso(): string {
    return new Date(this.#nowMs).toISOString();
  }

  /** Moves on by `'24h'`, `'15min'`, `'1 day'` (24 hours), `'250ms'` or milliseconds; resolves when all that was due has happened. */
  advance(duration: string | number): Promise<void> {
    const ms = durationMs(duration);
    return this.#move(() => this.#nowMs + ms);
  }

  /** Moves on to an instant, such as `'2026-03-08T09:30:00-04:00'`; never back. */
  advanceTo(instant: string | number | Date): Promise<void> {
    const untilMs = instantOf(instant);
    return this.#move(() => {
      if (untilMs >= this.#nowMs) return untilMs;
      throw new DbError('22023', `the clock shows ${this.iso} already, and does not go back`, {
        field: 'instant',
        hint: 'Open another database with a clock that begins earlier.',
      });
    });
  }

  /** Resolves when the database has nothing to do at the present instant. */
  async settled(): Promise<void> {
    let quietTurns = 0;
    // One turn more than it takes: promises of promises go on between two of them.
    while (quietTurns < QUIET_TURNS) {
      await new Promise<void>((resolve) => this.#real.afterIo(resolve));
      quietTurns = this.#pendingTurns === 0 ? quietTurns + 1 : 0;
    }
  }

  /** One move after the other, in the order they were asked for. */
  #move(until: () => number): Promise<void> {
    const before = this.#moving ?? Promise.resolve();
    const moving = before.then(() => this.#moveTo(until()));
    this.#moving = moving.catch(() => undefined);
    return moving;
  }

  async #moveTo(untilMs: number): Promise<void> {
    await this.settled();
    for (;;) {
      const next = this.#timers[0];
      if (next === undefined || next.dueMs > untilMs) break;
      popTimed(this.#timers);
      if (next.isCancelled) continue;
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.callback();
      await this.settled();
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
    await this.settled();
  }

  #fireDue(): void {
    for (;;) {
      const next = this.#timers[0];
      if (next === undefined || next.dueMs > this.#nowMs) return;
      popTimed(this.#timers);
      if (!next.isCancelled) next.callback();
    }
  }

  #turn(callback: () => void): void {
    this.#pendingTurns -= 1;
    callback();
  }
}

const QUIET_TURNS = 3;

class ManualTimer implements TimerHandle {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
  isCancelled = false;

  constructor(dueMs: number, order: number, callback: () => void) {
    this.dueMs = dueMs;
    this.order = order;
    this.callback = callback;
  }

  cancel(): void {
    this.isCancelled = true;
  }
}

/** A clock that begins at an instant: ISO text with a zone, milliseconds since 1970, or a Date. */
export function manualClock(start: string | number | Date = '2026-01-01T00:00:00Z'): ManualClock {
  return new ManualClock(instantOf(start));
}

function instantOf(instant: string | number | Date): number {
  const ms =
    typeof instant === 'string'
      ? /(Z|[+-]\d\d:?\d\d)$/i.test(instant.trim())
        ? Date.parse(instant)
        : NaN
      : Number(instant);
  if (Number.isFinite(ms)) return ms;
  throw new DbError('22007', `"${String(instant)}" is no instant`, {
    field: 'instant',
    hint: "Give a text with its offset, such as '2026-03-08T00:00:00-05:00', milliseconds since 1970, or a Date.",
  });
}

const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  sec: 1000,
  second: 1000,
  m: 60_000,
  min: 60_000,
  minute: 60_000,
  h: 3_600_000,
  hour: 3_600_000,
  d: 86_400_000,
  day: 86_400_000,
  w: 604_800_000,
  week: 604_800_000,
};

function durationMs(duration: string | number): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*$/i.exec(String(duration));
  const name = match?.[2]?.toLowerCase() ?? '';
  const unit = UNITS_MS[name] ?? UNITS_MS[name.replace(/s$/, '')];
  const ms =
    typeof duration === 'number' ? duration : unit === undefined ? NaN : Number(match![1]) * unit;
  if (Number.isFinite(ms) && ms >= 0) return ms;
  throw new DbError('22023', `"${String(duration)}" is no length of time`, {
    field: 'duration',
    hint: "Give milliseconds, or a text such as '250ms', '15min', '24h', '7 days'. A day is 24 hours: advanceTo() goes to a wall-clock time.",
  });
}
