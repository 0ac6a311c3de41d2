import { assert } from '../base/errors.ts';

/** At most `restartsMax` restarts in any span of `windowMs`; one more is a failure of the supervisor itself. */
export type RestartIntensity = { readonly restartsMax: number; readonly windowMs: number };

/** OTP's default is one in five seconds, for processes; these share a process and lose less by trying again. */
export const DEFAULT_INTENSITY: RestartIntensity = { restartsMax: 5, windowMs: 10_000 };

/** Remembers when restarts were, as far back as the window reaches. */
export class RestartBudget {
  readonly #intensity: RestartIntensity;
  #restartsMs: number[] = [];

  constructor(intensity: RestartIntensity = DEFAULT_INTENSITY) {
    assert(intensity.restartsMax >= 0, 'a restart budget is not negative');
    assert(intensity.windowMs > 0, 'a restart budget has a window');
    this.#intensity = intensity;
  }

  /** Takes one restart out of the budget; false when there is none left. */
  take(nowMs: number): boolean {
    const { restartsMax, windowMs } = this.#intensity;
    this.#restartsMs = this.#restartsMs.filter((atMs) => atMs > nowMs - windowMs);
    if (this.#restartsMs.length >= restartsMax) return false;
    this.#restartsMs.push(nowMs);
    return true;
  }

  /** A restarted supervisor begins with a full budget. */
  reset(): void {
    this.#restartsMs = [];
  }
}
