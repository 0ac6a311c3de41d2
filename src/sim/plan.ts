import { createHash } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { DbError } from '../base/errors.ts';
import {
  FAULT_KINDS,
  SHARE_FAULTS,
  TIMED_FAULTS,
  type FaultKind,
  type PlannedFault,
} from './faults.ts';
import type { ScheduleKind, Tape } from './schedule.ts';

/** One arrival of a load: the nth of its kind, counted from 1, so many milliseconds after the start. */
export type PlannedOperation = {
  readonly load: string;
  readonly nth: number;
  readonly atMs: number;
};

/**
 * A run as data. What is left out is filled in by the seed; what is there is done as it stands, so taking one operation out
 * changes nothing about the others: each has a stream of chance of its own, by its load and number.
 */
export type Plan = {
  readonly seed: number;
  readonly runMs: number;
  readonly operations?: readonly PlannedOperation[] | undefined;
  readonly faults?: readonly PlannedFault[] | undefined;
  /** Kinds of faults, delays among them, that this run does without. */
  readonly without?: readonly FaultKind[] | undefined;
  /** A kind, or the choices themselves: of events, and of actors. */
  readonly schedule?: ScheduleKind | { readonly events: Tape; readonly actors: Tape } | undefined;
};

/** What a replay line carries. */
export type Token = {
  readonly plan: Plan;
  readonly invariant: string;
  /** Hash of the simulation it belongs to: its options and the text of its functions. */
  readonly world: string;
  /** Hash of the engine's own files. */
  readonly build: string;
  readonly traceHash: string;
};

/** Plans come from files, tokens and generators: 22023, and `field` names what is wrong. */
export function checkPlan(plan: Plan, loads: readonly string[]): void {
  const wrong = (field: string, message: string, hint: string): DbError =>
    new DbError('22023', message, { field, hint });
  const isTime = (ms: unknown): boolean => typeof ms === 'number' && Number.isFinite(ms) && ms >= 0;
  if (!Number.isSafeInteger(plan?.seed) || plan.seed < 0)
    throw wrong('plan.seed', 'a plan has a seed', 'Give a whole number from 0 on.');
  if (!isTime(plan.runMs))
    throw wrong('plan.runMs', 'a plan says how long it runs', 'Give milliseconds.');
  for (const [index, { load, nth, atMs }] of (plan.operations ?? []).entries()) {
    const field = `plan.operations.${index}`;
    if (!loads.includes(load))
      throw wrong(
        `${field}.load`,
        `there is no load "${load}"`,
        `There are ${loads.join(', ') || 'none'}.`,
      );
    if (!Number.isSafeInteger(nth) || nth < 1 || !isTime(atMs))
      throw wrong(field, 'an operation has a number and a time', 'Give nth, from 1 on, and atMs.');
  }
  for (const kind of plan.without ?? [])
    if (!FAULT_KINDS.includes(kind))
      throw wrong(
        'plan.without',
        `there is no fault "${kind}" to do without`,
        `There are ${FAULT_KINDS.join(', ')}.`,
      );
  for (const [index, fault] of (plan.faults ?? []).entries()) {
    const isShare = (SHARE_FAULTS as readonly string[]).includes(fault.kind);
    if (!isShare && !(TIMED_FAULTS as readonly string[]).includes(fault.kind))
      throw wrong(
        `plan.faults.${index}.kind`,
        `there is no fault "${fault.kind}" to plan`,
        `There are ${[...SHARE_FAULTS, ...TIMED_FAULTS].join(', ')}.`,
      );
    if (isShare ? !('nth' in fault) : !('atMs' in fault && isTime(fault.atMs)))
      throw wrong(
        `plan.faults.${index}`,
        `the fault "${fault.kind}" does not say when`,
        isShare ? 'Give nth: which call it hits, from 1 on.' : 'Give atMs.',
      );
  }
}

const PREFIX = 'ADB1:';

export function encodeToken(token: Token): string {
  return PREFIX + deflateRawSync(JSON.stringify(token)).toString('base64url');
}

export function decodeToken(text: string): Token {
  const wrong = (cause: unknown): DbError =>
    new DbError('22023', 'this is no token of a simulation', {
      field: 'token',
      hint: 'Copy the whole of it, from ADB1: on, as a report shows it.',
      cause,
    });
  if (!text.startsWith(PREFIX)) throw wrong(undefined);
  try {
    const bytes = Buffer.from(text.slice(PREFIX.length).trim(), 'base64url');
    const token = JSON.parse(
      inflateRawSync(bytes, { maxOutputLength: 64 * 1024 * 1024 }).toString(),
    ) as Token;
    if (typeof token.plan?.seed !== 'number' || typeof token.build !== 'string')
      throw new Error('a field is missing');
    return token;
  } catch (cause) {
    throw wrong(cause);
  }
}

/** Of whatever JSON can say. */
export function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16);
}

/**
 * The smallest plan that still fails, as far as `spend` lets it look: first the schedule goes in order, then faults
 * are left out, then operations (delta debugging, Zeller & Hildebrandt, TSE 2002), then the choices of a schedule that matters;
 * again until nothing more can go. `fails` runs a plan.
 */
export async function shrinkPlan(
  plan: Plan & {
    readonly operations: readonly PlannedOperation[];
    readonly faults: readonly PlannedFault[];
  },
  tape: { readonly events: Tape; readonly actors: Tape },
  fails: (plan: Plan) => Promise<boolean>,
  spend: () => boolean,
): Promise<Plan> {
  let best: Plan & {
    operations: readonly PlannedOperation[];
    faults: readonly PlannedFault[];
  } = { ...plan, operations: plan.operations, faults: plan.faults };
  const attempt = async (change: Partial<typeof best>): Promise<boolean> => {
    if (!spend()) return false;
    const next = { ...best, ...change };
    if (!(await fails(next))) return false;
    best = next;
    return true;
  };
  const bySeed = best.schedule;
  const inOrder = await attempt({ schedule: 'fifo' });
  if (!inOrder && (await attempt({ schedule: tape })) === false)
    best = { ...best, schedule: bySeed };
  if (best.faults.length > 0) await attempt({ faults: [] });
  for (let before = -1; before !== size(best) && spend();) {
    before = size(best);
    best = {
      ...best,
      operations: await least(best.operations, (operations) => attempt({ operations })),
    };
    best = { ...best, faults: await least(best.faults, (faults) => attempt({ faults })) };
    if (typeof best.schedule === 'object' && 'events' in best.schedule) {
      if (!(await attempt({ schedule: 'fifo' }))) {
        const { events, actors } = best.schedule;
        const fewer = await least(events, (kept) =>
          attempt({ schedule: { events: kept, actors } }),
        );
        await least(actors, (kept) => attempt({ schedule: { events: fewer, actors: kept } }));
      }
    }
  }
  const last = best.operations.at(-1)?.atMs ?? 0;
  const end = Math.max(last, ...best.faults.map((fault) => ('atMs' in fault ? fault.atMs : 0)));
  await attempt({ runMs: Math.ceil(end + 1_000) });
  return best;
}

function size({ operations, faults, schedule }: Plan): number {
  const choices =
    typeof schedule === 'object' && 'events' in schedule
      ? schedule.events.length + schedule.actors.length
      : 0;
  return (operations?.length ?? 0) + (faults?.length ?? 0) + choices;
}

/** The fewest items of which `still` says that it happens with them; what it agreed to last is what stands. */
async function least<Item>(
  items: readonly Item[],
  still: (items: readonly Item[]) => Promise<boolean>,
): Promise<readonly Item[]> {
  let kept = items;
  for (let parts = 2; kept.length > 0;) {
    const length = Math.ceil(kept.length / parts);
    let smaller: readonly Item[] | undefined;
    // The end first: what came after the failure's cause goes in few tries.
    for (let start = (parts - 1) * length; start >= 0 && smaller === undefined; start -= length) {
      if (start >= kept.length) continue;
      const without = [...kept.slice(0, start), ...kept.slice(start + length)];
      if (await still(without)) smaller = without;
    }
    if (smaller !== undefined) {
      kept = smaller;
      parts = Math.max(2, parts - 1);
    } else if (length === 1) break;
    else parts = Math.min(kept.length, parts * 2);
  }
  return kept;
}
