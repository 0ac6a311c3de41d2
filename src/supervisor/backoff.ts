import type { Random } from '../base/ports.ts';

/**
 * How long a restart waits. The first comes at once, as most failures are of one message; then from `firstMs` on twice
 * as long each time, up to `mostMs`. Up to half of it is chance, so that what failed together does not return together.
 * After `stableMs` without a failure the next one is a first again.
 */
export type BackoffPolicy = {
  readonly firstMs: number;
  readonly mostMs: number;
  readonly stableMs: number;
};

export const DEFAULT_BACKOFF: BackoffPolicy = { firstMs: 50, mostMs: 10_000, stableMs: 30_000 };

/** The delay before the `attempt`-th restart in a row, counted from 1. */
export function backoffMs(policy: BackoffPolicy, attempt: number, random: Random): number {
  if (attempt <= 1) return 0;
  const fullMs = Math.min(policy.mostMs, policy.firstMs * 2 ** (attempt - 2));
  return fullMs / 2 + (random.unit() * fullMs) / 2;
}
