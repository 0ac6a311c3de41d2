import type { Clock } from '../base/ports.ts';

/** A refinement is put off no longer than this at a time: many who arrive must not stop it for good. */
const PUT_OFF_MS = 100;

/**
 * Who waits for a first answer, by tenant: while somebody does, the answers that have shown one do not go on. Whoever looks at many charts sees
 * something in each of them before any of them is refined.
 */
export class FirstAnswers {
  readonly #clock: Clock;
  readonly #tenants = new Map<string, { waiting: number; readonly putOff: Set<() => void> }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Somebody waits from now on; the function ends that, once. */
  begin(tenant: string): () => void {
    let own = this.#tenants.get(tenant);
    if (own === undefined) {
      own = { waiting: 0, putOff: new Set() };
      this.#tenants.set(tenant, own);
    }
    own.waiting += 1;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      own.waiting -= 1;
      if (own.waiting > 0) return;
      this.#tenants.delete(tenant);
      for (const goOn of [...own.putOff]) goOn();
    };
  }

  /** Runs it at once where nobody waits; else when nobody does any more, or after a while. */
  afterwards(tenant: string, run: () => void): void {
    const own = this.#tenants.get(tenant);
    if (own === undefined) {
      run();
      return;
    }
    const goOn = (): void => {
      if (!own.putOff.delete(goOn)) return;
      timer.cancel();
      run();
    };
    own.putOff.add(goOn);
    const timer = this.#clock.after(PUT_OFF_MS, goOn);
  }
}
