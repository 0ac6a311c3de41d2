import { assert } from '../base/errors.ts';
import type { Random } from '../base/ports.ts';

/**
 * Who goes next among those who could. `fifo`: in order. `random`: uniformly. `pct`: by priorities drawn once for each
 * source, with a few points at which the highest falls to the lowest (Burckhardt et al., ASPLOS 2010): it finds a bug of
 * depth d with a known probability, and starves sources for long, which uniform choice never does.
 */
export type ScheduleKind = 'fifo' | 'random' | 'pct';

export const SCHEDULES: readonly ScheduleKind[] = ['fifo', 'random', 'pct'];

/** Anything that can be told apart by where it comes from. */
export type Candidate = { readonly source: string };

export interface Schedule {
  readonly kind: ScheduleKind;
  /** An index into `candidates`, which stand in the order in which they became ready and are never none. */
  pick(candidates: readonly Candidate[]): number;
}

export function createSchedule(kind: ScheduleKind, random: Random): Schedule {
  switch (kind) {
    case 'fifo':
      return { kind, pick: () => 0 };
    case 'random':
      return { kind, pick: (candidates) => random.below(candidates.length) };
    case 'pct':
      return new PriorityChangeSchedule(random);
  }
}

/** How many picks a short run has, among which the change points are spread. */
const PICKS_EXPECTED = 600;
const CHANGE_POINTS = 3;

class PriorityChangeSchedule implements Schedule {
  readonly kind = 'pct';
  readonly #random: Random;
  readonly #priorities = new Map<string, number>();
  readonly #changePoints: Set<number>;
  #picks = 0;
  #lowest = 0;

  constructor(random: Random) {
    this.#random = random;
    this.#changePoints = new Set(
      Array.from({ length: CHANGE_POINTS }, () => random.below(PICKS_EXPECTED)),
    );
  }

  pick(candidates: readonly Candidate[]): number {
    assert(candidates.length > 0, 'a schedule picks among candidates');
    this.#picks += 1;
    let best = 0;
    let bestPriority = -Infinity;
    for (const [index, { source }] of candidates.entries()) {
      let priority = this.#priorities.get(source);
      if (priority === undefined) {
        priority = 1 + this.#random.unit();
        this.#priorities.set(source, priority);
      }
      if (priority > bestPriority) {
        best = index;
        bestPriority = priority;
      }
    }
    // Also where the highest has had its way for long: a source that is always ready must not starve all others for ever.
    if (this.#changePoints.has(this.#picks % PICKS_EXPECTED)) {
      this.#lowest -= 1;
      this.#priorities.set(candidates[best]!.source, this.#lowest);
    }
    return best;
  }
}
