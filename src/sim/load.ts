import type { Identity } from '../actors/api-types.ts';
import type { SessionHandle } from '../actors/database.ts';
import { DbError } from '../base/errors.ts';
import type { Random } from '../base/ports.ts';
import { durationMs, ratePerMs, type Duration } from './times.ts';
import type { World } from './world.ts';

/**
 * Operations that arrive whether or not earlier ones have ended: an open loop, as users are. Each has a session of its own at the
 * other end of the network.
 */
export type Load = Identity & {
  readonly arrivals: Arrivals;
  /** When the first may arrive, and after when none does; from the start of the run. */
  readonly from?: Duration | undefined;
  readonly until?: Duration | undefined;
  /** Of operations under way at once; beyond it they are turned away, and counted. 1,000 by default. */
  readonly inFlightMax?: number | undefined;
  readonly do: (session: SessionHandle, world: World) => unknown;
};

export type Arrivals = {
  readonly perSecond?: number | undefined;
  /** Another unit: `'3/min'`. */
  readonly rate?: string | undefined;
  /** `poisson`: each at any time. `even`: one after the other. `bursts`: as often, but several within a few milliseconds. */
  readonly shape?: 'poisson' | 'even' | 'bursts' | undefined;
};

const BURST_MAX = 8;
const BURST_MS = 4;

/** Times in milliseconds since the start, in order, without end or until `untilMs`. */
export function* arrivalTimes(
  load: Load,
  field: string,
  random: Random,
  runMs: number,
): Generator<number> {
  const perMs = arrivalsPerMs(load, field);
  const fromMs = durationMs(`${field}.from`, load.from ?? 0);
  const untilMs = Math.min(runMs, durationMs(`${field}.until`, load.until ?? runMs));
  if (perMs === 0) return;
  let nowMs = fromMs;
  const { shape = 'poisson' } = load.arrivals;
  for (;;) {
    if (shape === 'bursts') {
      const count = 1 + random.below(BURST_MAX);
      nowMs += (exponential(random) / perMs) * ((BURST_MAX + 1) / 2);
      const times = Array.from({ length: count }, () => nowMs + random.unit() * BURST_MS);
      for (const timeMs of times.sort((a, b) => a - b)) {
        if (timeMs >= untilMs) return;
        yield rounded(timeMs);
      }
      nowMs += BURST_MS;
    } else {
      nowMs += shape === 'even' ? 1 / perMs : exponential(random) / perMs;
      if (nowMs >= untilMs) return;
      yield rounded(nowMs);
    }
  }
}

export function checkLoad(load: Load, field: string): void {
  if (typeof load?.do !== 'function')
    throw new DbError('22023', `"${field}.do" is not a function`, {
      field: `${field}.do`,
      hint: 'Give what one operation does: do: (session, world) => session.query(…).',
    });
  const { shape } = load.arrivals ?? {};
  if (shape !== undefined && !['poisson', 'even', 'bursts'].includes(shape))
    throw new DbError('22023', `"${String(shape)}" is not a shape of arrivals`, {
      field: `${field}.arrivals.shape`,
      hint: "Choose 'poisson', 'even' or 'bursts'.",
    });
  arrivalsPerMs(load, field);
  durationMs(`${field}.from`, load.from ?? 0);
  durationMs(`${field}.until`, load.until ?? 0);
}

function arrivalsPerMs({ arrivals }: Load, field: string): number {
  const { perSecond, rate } = arrivals ?? {};
  if (rate !== undefined) return ratePerMs(`${field}.arrivals.rate`, rate);
  if (typeof perSecond === 'number' && perSecond >= 0 && Number.isFinite(perSecond))
    return perSecond / 1000;
  throw new DbError('22023', `"${field}.arrivals" says no rate`, {
    field: `${field}.arrivals`,
    hint: "Give { perSecond: 10 } or { rate: '3/min' }.",
  });
}

/** With mean 1. */
function exponential(random: Random): number {
  return -Math.log1p(-random.unit());
}

/** To a microsecond, so that a plan as text says the same. */
function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
