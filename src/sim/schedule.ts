import { assert } from '../base/errors.ts';
import type { Random } from '../base/ports.ts';

/**
 * Who goes next among those who could. `fifo`: in order. `random`: uniformly. `pct`: by priorities drawn once for each
 * source, with a few points at which the highest falls to the lowest (Burckhardt et al., ASPLOS 2010): it finds a bug of
 * depth d with a known probability, and starves sources for long, which uniform choice never does. `{ starve }`: uniformly
 * among all others; a source of that name goes only where there is no other, or after a long wait.
 */
export type ScheduleKind = 'fifo' | 'random' | 'pct' | { readonly starve: string };

/** Those that need no name. */
export const SCHEDULES: readonly ('fifo' | 'random' | 'pct')[] = ['fifo', 'random', 'pct'];

/** Choices other than the first, by the number of the pick: what a plan holds of a schedule. Where it says nothing the first goes. */
export type Tape = readonly (readonly [pick: number, choice: number])[];

/** Anything that can be told apart by where it comes from. */
export type Candidate = { readonly source: string };

export interface Schedule {
  readonly kind: ScheduleKind | 'tape';
  /** An index into `candidates`, which stand in the order in which they became ready and are never none. */
  pick(candidates: readonly Candidate[]): number;
}

export function createSchedule(kind: ScheduleKind, random: Random): Schedule {
  if (typeof kind === 'object') return new StarvingSchedule(kind, random);
  switch (kind) {
    case 'fifo':
      return { kind, pick: () => 0 };
    case 'random':
      return { kind, pick: (candidates) => random.below(candidates.length) };
    case 'pct':
      return new PriorityChangeSchedule(random);
  }
}

/** Does again what a tape says. */
export function tapeSchedule(tape: Tape): Schedule {
  const choices = new Map(tape);
  let picks = 0;
  return {
    kind: 'tape',
    pick: (candidates) => {
      picks += 1;
      return (choices.get(picks) ?? 0) % candidates.length;
    },
  };
}

/** Keeps the choices of a schedule on a tape, as far as it reaches. */
export class RecordedSchedule implements Schedule {
  readonly kind: Schedule['kind'];
  readonly tape: (readonly [number, number])[] = [];
  readonly #schedule: Schedule;
  #picks = 0;

  constructor(schedule: Schedule) {
    this.kind = schedule.kind;
    this.#schedule = schedule;
  }

  pick(candidates: readonly Candidate[]): number {
    this.#picks += 1;
    const choice = this.#schedule.pick(candidates);
    if (choice !== 0 && this.tape.length < TAPE_MAX) this.tape.push([this.#picks, choice]);
    return choice;
  }
}

/** Choices on a tape: what is beyond goes in order. */
const TAPE_MAX = 50_000;

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

/** Picks after which even the starved one goes: nobody waits for ever in a machine that works. */
const STARVED_PICKS_MAX = 500;

class StarvingSchedule implements Schedule {
  readonly kind: { readonly starve: string };
  readonly #random: Random;
  #waited = 0;

  constructor(kind: { readonly starve: string }, random: Random) {
    this.kind = kind;
    this.#random = random;
  }

  pick(candidates: readonly Candidate[]): number {
    const { starve } = this.kind;
    const others: number[] = [];
    let starved = -1;
    for (const [index, { source }] of candidates.entries())
      if (source === starve) starved = starved < 0 ? index : starved;
      else others.push(index);
    if (starved < 0) return others[this.#random.below(others.length)]!;
    if (others.length === 0 || this.#waited >= STARVED_PICKS_MAX) {
      this.#waited = 0;
      return starved;
    }
    this.#waited += 1;
    return others[this.#random.below(others.length)]!;
  }
}
