import { DbError } from '../base/errors.ts';
import { nearestOf } from '../base/nearest.ts';
import type { Random } from '../base/ports.ts';
import { durationRange, probabilityOf, ratePerMs, type Duration } from './times.ts';

/** What goes wrong in a world. Shares are of the calls that could be hit, rates are of simulated time. */
export type Faults = {
  // ── The process and its disk
  /** The process ends in the middle of whatever it does, and starts again: `'1/h'`. */
  readonly crash?: string | undefined;
  /** How long it stays away: `'100ms..10s'` by default. */
  readonly down?: Duration | undefined;
  /** The power goes in the middle of a write, which is there in part only: a share of crashes. */
  readonly tornWrite?: number | undefined;
  /** The power goes with the process, and what was not synced may be lost: a share of crashes. */
  readonly lostTail?: number | undefined;
  /** A bit of a file turns over while the process is away: a share of crashes. */
  readonly bitFlip?: number | undefined;
  /** The disk is full for a while: a rate. */
  readonly diskFull?: string | undefined;
  /** A write or sync fails with EIO: a share. */
  readonly ioError?: number | undefined;
  /** Of syncs that fail: the machine goes down within moments, and its power with it: a share. */
  readonly dying?: number | undefined;
  /** A sync says that it is done and has done nothing: a share. */
  readonly lyingSync?: number | undefined;
  // ── The network between clients and the database
  /** Each message takes so long: `'1ms..20ms'`. */
  readonly delay?: Duration | undefined;
  /** A message is lost, and its connection with it: a share. */
  readonly drop?: number | undefined;
  /** A request that carries an idempotency key arrives twice: a share. */
  readonly duplicate?: number | undefined;
  /** A message takes ten times as long, so that others overtake it: a share. */
  readonly reorder?: number | undefined;
  /** Nothing gets through for a while, one way or both: a rate. */
  readonly partition?: string | undefined;
  // ── Within the database
  /** How long the journal takes to acknowledge: `'0ms..8ms'`. */
  readonly journalDelay?: Duration | undefined;
  /** The journal refuses room for a commit (53000): a share. */
  readonly journalFull?: number | undefined;
  /** The journal fails for good: a rate. Writes are refused from then on, reads go on. */
  readonly journalFailure?: string | undefined;
  /** A table refuses a write for want of memory (53200): a share. */
  readonly memory?: number | undefined;
  /** A view's expression fails (22012), so the commit is refused: a share. */
  readonly viewError?: number | undefined;
  /** A view breaks and is built anew: a share. */
  readonly viewBreak?: number | undefined;
  /** A table breaks at a write, or when it is published, and is made anew from the journal: a share. */
  readonly tableBreak?: number | undefined;
};

/** Hit or not at each call. */
export const SHARE_FAULTS = [
  'ioError',
  'lyingSync',
  'tornWrite',
  'lostTail',
  'bitFlip',
  'drop',
  'duplicate',
  'reorder',
  'dying',
  'journalFull',
  'memory',
  'viewError',
  'viewBreak',
  'tableBreak',
] as const;
/** Happen at some time. */
export const TIMED_FAULTS = ['crash', 'diskFull', 'partition', 'journalFailure'] as const;
const SPANS = ['down', 'delay', 'journalDelay'] as const;

export type ShareFault = (typeof SHARE_FAULTS)[number];
export type TimedFault = (typeof TIMED_FAULTS)[number];

/** One thing that goes wrong: at a time since the start, or at the nth call (counted from 1) that could be hit. */
export type PlannedFault =
  | { readonly kind: TimedFault; readonly atMs: number }
  | { readonly kind: ShareFault; readonly nth: number };

export function checkFaults(faults: Faults): void {
  for (const [name, value] of Object.entries(faults)) {
    if (value === undefined) continue;
    const field = `faults.${name}`;
    if ((SHARE_FAULTS as readonly string[]).includes(name)) probabilityOf(field, value as number);
    else if ((TIMED_FAULTS as readonly string[]).includes(name)) ratePerMs(field, value as string);
    else if ((SPANS as readonly string[]).includes(name)) durationRange(field, value as Duration);
    else {
      const names = [...SHARE_FAULTS, ...TIMED_FAULTS, ...SPANS];
      const nearest = nearestOf(name, names);
      throw new DbError('22023', `unknown fault "${name}"`, {
        field,
        hint:
          nearest === undefined
            ? `The faults are ${names.join(', ')}.`
            : `Did you mean "${nearest}"?`,
      });
    }
  }
}

/** Whether any of them needs a disk under the database. */
export function needsDisk(faults: Faults): boolean {
  return DISK_FAULTS.some((kind) => faults[kind] !== undefined);
}

const DISK_FAULTS = [
  'crash',
  'tornWrite',
  'lostTail',
  'bitFlip',
  'diskFull',
  'ioError',
  'lyingSync',
  'dying',
] as const satisfies readonly (keyof Faults)[];

/** Kinds that a world can do without, one by one: what a swarm of seeds switches off. */
export const FAULT_KINDS = [...SHARE_FAULTS, ...TIMED_FAULTS, 'delay', 'journalDelay'] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export function faultsWithout(faults: Faults, kinds: readonly FaultKind[]): Faults {
  const left = { ...faults };
  for (const kind of kinds) delete left[kind];
  return left;
}

/**
 * Decides what goes wrong, by shares and rates that chance fills in, or by a plan that names each fault. What was hit is kept, so
 * that a run can be told as a plan.
 */
export class FaultSource {
  /** Nothing goes wrong while this is not set: in the setup, and once the world is to heal. */
  active = false;
  readonly happened: PlannedFault[] = [];
  #faults: Faults;
  #random: Random;
  readonly #planned: readonly PlannedFault[] | undefined;
  readonly #hits = new Set<string>();
  readonly #streams = new Map<ShareFault, Random>();
  readonly #counts = new Map<ShareFault, number>();

  constructor(faults: Faults, planned: readonly PlannedFault[] | undefined, random: Random) {
    this.#faults = faults;
    this.#planned = planned;
    this.#random = random;
    for (const fault of planned ?? []) if ('nth' in fault) this.#hits.add(hitKey(fault));
  }

  /** Other faults from now on, by other chance. */
  become(faults: Faults, random: Random): void {
    this.#faults = faults;
    this.#random = random;
    this.#streams.clear();
  }

  hits(kind: ShareFault): boolean {
    if (!this.active) return false;
    const share = this.#faults[kind] ?? 0;
    if (share === 0 && this.#planned === undefined) return false;
    const nth = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, nth);
    const hit =
      this.#planned === undefined
        ? this.#stream(kind).unit() < share
        : this.#hits.has(hitKey({ kind, nth }));
    if (hit) this.happened.push({ kind, nth });
    return hit;
  }

  /** The times, since the start, at which timed faults happen before `untilMs`; in order. */
  timed(untilMs: number): { readonly kind: TimedFault; readonly atMs: number }[] {
    const faults =
      this.#planned?.flatMap((fault) => ('atMs' in fault ? [fault] : [])) ??
      TIMED_FAULTS.flatMap((kind) => {
        const rate = this.#faults[kind];
        if (rate === undefined) return [];
        const times: { kind: TimedFault; atMs: number }[] = [];
        const random = this.#random.split(kind);
        const perMs = ratePerMs(`faults.${kind}`, rate);
        for (let atMs = 0; perMs > 0 && times.length < TIMED_MAX;) {
          atMs += -Math.log1p(-random.unit()) / perMs;
          if (atMs >= untilMs) break;
          times.push({ kind, atMs: Math.round(atMs * 1000) / 1000 });
        }
        return times;
      });
    return faults.toSorted((a, b) => a.atMs - b.atMs);
  }

  #stream(kind: ShareFault): Random {
    let stream = this.#streams.get(kind);
    if (stream === undefined) this.#streams.set(kind, (stream = this.#random.split(kind)));
    return stream;
  }
}

/** Of one kind in one run: a rate that gives more is a mistake in a unit. */
const TIMED_MAX = 100_000;

const hitKey = ({ kind, nth }: { readonly kind: string; readonly nth: number }): string =>
  `${kind} ${nth}`;
