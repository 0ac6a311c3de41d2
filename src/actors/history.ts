import type { TimerHandle } from '../base/ports.ts';
import { isStored } from './catalog.ts';
import type { Engine } from './engine.ts';

/**
 * Lets the past go once `history` has passed: positions that old are told no more, and their bytes are given back. Sleeps
 * while there is nothing to forget.
 */
export class History {
  readonly #engine: Engine;
  readonly #sweepMs: number;
  /** Relations that have changed since they were swept clean. */
  readonly #changed = new Set<number>();
  #timer: TimerHandle | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#sweepMs = Math.max(SWEEP_MS_MIN, engine.options.historyMs / SWEEPS_A_HISTORY);
  }

  changed(relations: Iterable<number>): void {
    for (const relation of relations) this.#changed.add(relation);
    const { memory, state } = this.#engine;
    if (memory.usedBytes > memory.limitBytes * PRESSURE_SHARE) {
      // The past is the first to go when memory is short.
      for (const relation of this.#changed) {
        const entry = state.catalog.byId(relation);
        if (isStored(entry)) entry.data.expire(entry.data.position);
        // Versions of demoted rows go by the clock alone.
        if (state.findKept(relation) === undefined) this.#changed.delete(relation);
      }
    }
    if (this.#changed.size > 0) this.#timer ??= this.#sweepLater();
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #sweepLater(): TimerHandle {
    return this.#engine.ports.clock.after(this.#sweepMs, () => {
      this.#timer = undefined;
      if (this.#engine.closed) return;
      this.#sweep();
      if (this.#changed.size > 0) this.#timer = this.#sweepLater();
    });
  }

  #sweep(): void {
    const { state, positions, options, ports } = this.#engine;
    const horizon = positions.positionAt(ports.clock.now() - options.historyMs);
    if (horizon === undefined) return;
    let read = horizon;
    for (const { position } of this.#engine.transactions) read = Math.min(read, position ?? read);
    for (const relation of this.#changed) {
      const entry = state.catalog.byId(relation);
      const kept = state.findKept(relation);
      if (isStored(entry)) entry.data.expire(horizon);
      kept?.expire(read);
      const isClean = isStored(entry) ? entry.data.position <= horizon : true;
      if (isClean && (kept === undefined || kept.position <= read)) this.#changed.delete(relation);
    }
  }
}

/** A tenth more than `history` may be kept. */
const SWEEPS_A_HISTORY = 10;
const SWEEP_MS_MIN = 100;
/** Of the memory limit: below where new rows are refused. */
const PRESSURE_SHARE = 0.85;
