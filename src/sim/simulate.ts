import { checkValueOptions, checkZone } from '../actors/check-options.ts';
import { Handle } from '../actors/database.ts';
import { loadParser } from '../actors/load-parser.ts';
import type { ValueOptions } from '../actors/rows-out.ts';
import { DbError } from '../base/errors.ts';
import { SeededRandom } from '../base/random.ts';
import { Model } from '../model/model.ts';
import type { Parser } from '../sql/parse.ts';
import { sizeBytes } from '../tenancy/tenant-settings.ts';
import { realMs, realTurn } from './ambient.ts';
import { buildId, callerFile, replayForced, replayLine, tokenToReplay } from './build-id.ts';
import {
  checkFaults,
  FAULT_KINDS,
  faultsWithout,
  needsDisk,
  type FaultKind,
  type Faults,
} from './faults.ts';
import type { LatencySummary } from './latency.ts';
import { checkLoad, type Load } from './load.ts';
import type { Oracle } from './oracle.ts';
import { standardOracles, type OracleName } from './oracles.ts';
import {
  checkPlan,
  decodeToken,
  encodeToken,
  hashOf,
  shrinkPlan,
  type Plan,
  type Token,
} from './plan.ts';
import { SCHEDULES, type ScheduleKind } from './schedule.ts';
import { durationMs, instantOf, type Duration } from './times.ts';
import {
  SimulatedWorld,
  type Invariant,
  type Machine,
  type World,
  type WorldFailure,
  type WorldJournal,
} from './world.ts';

export type SimulateOptions = {
  /** Everything that is chance follows from it. */
  readonly seed: number;
  /** When the world begins: epoch milliseconds, or a text with its offset. */
  readonly start: number | string;
  /** How long it runs: `'36h'`. */
  readonly run: Duration;
  /** Who goes next among those who could: `'random'` by default. `'any'`: a kind drawn by the seed. */
  readonly schedule?: ScheduleKind | 'any' | undefined;
  readonly faults?: Faults | undefined;
  readonly setup?: ((world: World) => unknown) | undefined;
  readonly load?: Readonly<Record<string, Load>> | undefined;
  /** What ambient time and chance do in your code: `'throw'` by default, since such a run could not be repeated. */
  readonly ambient?: 'throw' | 'allow' | undefined;
  /** As `open` has them. */
  readonly memory?: string | number | undefined;
  /** In memory, or in files of the simulated disk: so by default where a fault needs a disk. */
  readonly journal?:
    | { readonly kind: 'memory' }
    | {
        readonly kind: 'file';
        readonly fsync?: 'always' | 'interval' | undefined;
        /** Bytes of changes between two snapshots: `'16 kB'`. */
        readonly snapshotEvery?: string | number | undefined;
      }
    | undefined;
  readonly zone?: string | undefined;
  readonly values?: ValueOptions | undefined;
  /** `'any'`: drawn by the seed, so that many seeds are many machines. */
  readonly machine?: Partial<Machine> | 'any' | undefined;
  /** Which of the built-in oracles look on: all by default. */
  readonly oracles?: readonly OracleName[] | undefined;
  /** Oracles of your own, made anew for each run. */
  readonly watch?: (() => readonly Oracle[]) | undefined;
};

export type SimulationFailure = {
  /** The invariant that did not hold: yours, or one of the harness. */
  readonly invariant: string;
  readonly seed: number;
  /** When, in simulated time, ISO 8601. */
  readonly at: string;
  readonly message: string;
  /** One line that does it again, in a fresh process of this build. */
  readonly replay: string;
  /** The run as data; the smallest that was found where it was shrunk. */
  readonly plan: Plan;
};

export type SimulationReport = {
  readonly seeds: number;
  /** Of the last seed. */
  readonly traceHash: string;
  readonly failures: readonly SimulationFailure[];
  /** How long operations of a load took, in simulated time; of the last seed. */
  latency(load: string): LatencySummary;
  /** The database's own counters at the end of the last seed. */
  readonly metrics: Readonly<Record<string, number>>;
  readonly operations: {
    readonly done: number;
    /** By error code; `turned away`: more were under way than `inFlightMax`. */
    readonly refused: Readonly<Record<string, number>>;
  };
  /** Which `sometimes` held, and what the oracles saw happen. */
  readonly seen: readonly string[];
  readonly simulatedMs: number;
  readonly realMs: number;
};

export type ExploreOptions = {
  readonly seeds: number;
  /** Real milliseconds after which no seed begins. */
  readonly budgetMs?: number | undefined;
  /** Ends with the first failure: so by default. */
  readonly stopOnFirst?: boolean | undefined;
  /** Each seed leaves some kinds of faults out, since faults hide each other: so by default. */
  readonly swarm?: boolean | undefined;
  /** Real milliseconds to make each failure's plan small; 20,000 by default, 0 does not. */
  readonly shrinkMs?: number | undefined;
  /** Every seed runs twice, and the traces must agree: so by default. */
  readonly twice?: boolean | undefined;
};

/** A world that stands still at a moment: ask it, then close it. What you write is seen in it only. */
export type Moment = AsyncDisposable & {
  /** Its verbs run the world as far as it must to answer. */
  readonly db: Handle;
  readonly position: number;
  now(): number;
  /** Runs the function in the world. */
  within<Value>(task: (world: World) => Value | Promise<Value>): Promise<Value>;
  readonly traceHash: string;
  close(): Promise<void>;
};

const OPTION_NAMES = [
  'seed',
  'start',
  'run',
  'schedule',
  'faults',
  'setup',
  'load',
  'ambient',
  'memory',
  'journal',
  'zone',
  'values',
  'machine',
  'oracles',
  'watch',
];

/** A simulated world: loads, faults and invariants are declared, then it is run. */
export function simulate(options: SimulateOptions): Simulation {
  checkOptions(options);
  return new Simulation(options, callerFile(new Error().stack));
}

const MACHINE: Machine = {
  nanosecondsPerUnit: 10,
  stepBudgetUnits: 50_000,
  groupsInFlightMax: 4,
  laneMessagesMax: 1_024,
  workerCount: 0,
};
const MEMORY_BYTES = 1 << 30;
const HISTORY_MS = 600_000;
const SHRINK_MS = 20_000;

export class Simulation {
  readonly options: SimulateOptions;
  readonly #file: string | undefined;
  readonly #invariants: Invariant[] = [];
  /** A world that `runFor` goes on with, and the same once more. */
  #live: { readonly worlds: readonly SimulatedWorld[]; readonly startedMs: number } | undefined;

  constructor(options: SimulateOptions, file: string | undefined) {
    this.options = options;
    this.#file = file;
  }

  /** Must hold whenever it is asked: a thousand times a run, and at the end. It returns false, or throws, where it does not. */
  always(name: string, check: (world: World) => unknown): this {
    return this.#declare({ kind: 'always', name, withinMs: 0, check });
  }

  /** Whenever it does not hold, it must hold again within so long; once the faults have ended, too. */
  eventually(name: string, within: Duration, check: (world: World) => unknown): this {
    return this.#declare({
      kind: 'eventually',
      name,
      withinMs: durationMs('within', within),
      check,
    });
  }

  /** Must have held at least once: in a run, or in one of the seeds of `explore`. That it does is what makes a clean run worth something. */
  sometimes(name: string, check: (world: World) => unknown): this {
    return this.#declare({ kind: 'sometimes', name, withinMs: 0, check });
  }

  /** The whole run, twice; the traces must agree. */
  async run(): Promise<SimulationReport> {
    const replayed = await this.#replayAsked();
    if (replayed !== undefined) return replayed;
    return this.#report([await this.#runTwice(this.#plan(this.options.seed), true)], true);
  }

  /** Goes on by so much simulated time, from where the last call ended. The faults go on, too. */
  async runFor(duration: Duration): Promise<SimulationReport> {
    const ms = durationMs('duration', duration);
    const fromReal = realMs();
    if (this.#live === undefined) {
      const worlds = [await this.#begun(), await this.#begun()];
      this.#live = { worlds, startedMs: worlds[0]!.startedMs };
    }
    const [world, twin] = this.#live.worlds as [SimulatedWorld, SimulatedWorld];
    const toMs = Math.max(world.elapsedMs, this.#live.startedMs) + ms;
    for (const each of [world, twin]) await each.advance(toMs);
    const outcome = outcomeOf(world, realMs() - fromReal);
    if (world.failure === undefined && twin.trace.hash !== world.trace.hash)
      outcome.failure = differing(world, twin);
    return this.#report([outcome], false);
  }

  /** The world as it was at an instant, or when a position had become visible. */
  async at(moment: string | number): Promise<Moment> {
    const world = await this.#begun();
    const endMs = world.startedMs + world.options.plan.runMs;
    const isPosition = typeof moment === 'number' && moment < POSITION_MAX;
    if (isPosition) {
      if (
        !(await world.advanceUntil(
          () => world.isUp && world.engine.visiblePosition >= moment,
          endMs,
        ))
      )
        throw new DbError('ADB_POSITION_GONE', `position ${moment} is not reached in this run`, {
          position: moment,
          hint: `It ends at position ${world.isUp ? world.engine.visiblePosition : 0}.`,
        });
    } else {
      const atMs = instantOf('at', moment) - world.options.startMs;
      if (atMs < 0 || atMs > endMs)
        throw new DbError('22023', `${String(moment)} is not within the run`, {
          field: 'at',
          hint: `It goes from ${isoOf(world.options.startMs)} to ${isoOf(world.options.startMs + endMs)}.`,
        });
      await world.advance(atMs);
    }
    if (world.failure !== undefined)
      throw new DbError('22023', 'the run fails before that moment', {
        field: 'at',
        detail: world.failure.message,
      });
    return momentOf(world);
  }

  /** The same run up to `at`, with other faults from there on: a what-if. */
  fork(options: { readonly at: string | number; readonly faults: Faults }): Simulation {
    checkFaults(options.faults);
    const atMs = instantOf('at', options.at) - instantOf('start', this.options.start);
    if (atMs < 0 || atMs > durationMs('run', this.options.run))
      throw new DbError('22023', `${String(options.at)} is not within the run`, {
        field: 'at',
        hint: 'Give an instant between the start and the end of the run.',
      });
    const forked = new Simulation(this.options, this.#file);
    forked.#invariants.push(...this.#invariants);
    forked.#fork = { atMs, faults: options.faults };
    return forked;
  }

  #fork: { readonly atMs: number; readonly faults: Faults } | undefined;

  /** Many seeds, from the option's on. */
  async explore(options: ExploreOptions): Promise<SimulationReport> {
    const replayed = await this.#replayAsked();
    if (replayed !== undefined) return replayed;
    const { seeds, budgetMs = Infinity, stopOnFirst = true, swarm = true, twice = true } = options;
    if (!(Number.isSafeInteger(seeds) && seeds > 0))
      throw new DbError('22023', '"seeds" is not a number of seeds', {
        field: 'seeds',
        hint: 'Give a whole number such as 1000.',
      });
    const shrinkMs = options.shrinkMs ?? SHRINK_MS;
    const fromReal = realMs();
    const outcomes: Outcome[] = [];
    for (let index = 0; index < seeds; index += 1) {
      if (index > 0 && realMs() - fromReal > budgetMs) break;
      const seed = this.options.seed + index;
      const plan = { ...this.#plan(seed), ...(swarm ? { without: this.#swarm(seed) } : {}) };
      let outcome = await this.#runTwice(plan, false, twice);
      if (outcome.failure !== undefined && shrinkMs > 0)
        outcome = await this.#shrunk(plan, outcome, shrinkMs);
      outcomes.push(outcome);
      if (outcome.failure !== undefined && stopOnFirst) break;
      if (index % 16 === 15) await realTurn();
    }
    return this.#report(outcomes, true);
  }

  /** One plan, once; a property for fast-check, or what a shrunk failure left. */
  async runPlan(plan: Plan): Promise<SimulationReport> {
    checkPlan(plan, Object.keys(this.options.load ?? {}));
    return this.#report([await this.#runOnce(plan, false)], false);
  }

  /**
   * Does again what a token says. Refuses that of another build or of another simulation, since it would do something else; unless `force` is given, or
   * ANALYTICDB_REPLAY_FORCE is set.
   */
  async replay(
    token: string,
    { force = replayForced() }: { readonly force?: boolean | undefined } = {},
  ): Promise<SimulationReport> {
    const { plan, build, world } = decodeToken(token);
    if (!force && build !== buildId())
      throw new DbError('ADB_SIM_OTHER_BUILD', 'the token belongs to another build', {
        detail: `It was made by build ${build}, this is ${buildId()}.`,
        hint: 'Check out that build; or set ANALYTICDB_REPLAY_FORCE=1, and what runs may differ.',
      });
    if (!force && world !== this.#identity())
      throw new DbError('ADB_SIM_OTHER_BUILD', 'the token belongs to another simulation', {
        detail: 'Options, loads or invariants were changed since.',
        hint: 'Undo the change; or set ANALYTICDB_REPLAY_FORCE=1, and what runs may differ.',
      });
    return this.runPlan(plan);
  }

  /** The smallest plan that fails as this one does, within a budget of real milliseconds. */
  async shrink(
    plan: Plan,
    options: { readonly budgetMs?: number | undefined } = {},
  ): Promise<Plan> {
    const outcome = await this.#runOnce(plan, true);
    if (outcome.failure === undefined) return plan;
    return (await this.#shrunk(plan, outcome, options.budgetMs ?? SHRINK_MS)).plan;
  }

  /** The end of what happens in a run of a plan, for people. */
  async trace(plan: Plan, lines = 200): Promise<readonly string[]> {
    const world = await this.#world(plan, false, lines);
    await world.begin();
    await world.advance(world.startedMs + plan.runMs);
    await world.end();
    return world.trace.newest;
  }

  // ── Running ─────────────────────────────────────────────────────────────────────────────────────────────────

  #declare(invariant: Invariant): this {
    if (typeof invariant.name !== 'string' || typeof invariant.check !== 'function')
      throw new DbError('22023', 'an invariant has a name and a function', {
        field: invariant.kind,
        hint: `Write .${invariant.kind}('name', ${invariant.kind === 'eventually' ? "'1m', " : ''}async (world) => …).`,
      });
    this.#invariants.push(invariant);
    return this;
  }

  #plan(seed: number): Plan {
    return { seed, runMs: durationMs('run', this.options.run) };
  }

  /** What this simulation is, without its seed: a replay must find the same. */
  #identity(): string {
    const texts = (value: unknown): unknown =>
      typeof value === 'function'
        ? String(value)
        : typeof value === 'object' && value !== null
          ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key, texts(each)]))
          : value;
    const { seed: _seed, ...rest } = this.options;
    return hashOf([
      texts(rest),
      this.#invariants.map(({ kind, name, withinMs, check }) => [
        kind,
        name,
        withinMs,
        String(check),
      ]),
      this.#fork,
    ]);
  }

  /** What the world of a seed does without. */
  #swarm(seed: number): FaultKind[] {
    const random = new SeededRandom(seed, 'swarm');
    return FAULT_KINDS.filter(
      (kind) => this.options.faults?.[kind] !== undefined && random.below(3) === 0,
    );
  }

  async #world(plan: Plan, records: boolean, traceLines = 0): Promise<SimulatedWorld> {
    const { options } = this;
    return new SimulatedWorld({
      plan,
      startMs: instantOf('start', options.start),
      faults: faultsWithout(options.faults ?? {}, plan.without ?? []),
      ...(this.#fork === undefined ? {} : { fork: this.#fork }),
      schedule: scheduleOf(options.schedule, plan.seed),
      load: options.load ?? {},
      setup: options.setup,
      invariants: this.#invariants,
      ambient: options.ambient ?? 'throw',
      journal: journalOf(options, this.#fork?.faults),
      memoryBytes:
        options.memory === undefined ? MEMORY_BYTES : sizeBytes('memory', options.memory),
      zone: options.zone ?? 'UTC',
      values: options.values ?? {},
      historyMs: HISTORY_MS,
      machine: machineOf(options.machine, plan.seed),
      oracles: () => [...standardOracles(options.oracles), ...(options.watch?.() ?? [])],
      parser: await sharedParser(),
      records,
      traceLines,
    });
  }

  async #begun(): Promise<SimulatedWorld> {
    const world = await this.#world(this.#plan(this.options.seed), false);
    await world.begin();
    return world;
  }

  async #runOnce(plan: Plan, records: boolean, asked = true): Promise<Outcome> {
    const fromReal = realMs();
    const world = await this.#world(plan, records);
    await world.begin();
    await world.advance(world.startedMs + plan.runMs);
    await world.end(asked);
    return outcomeOf(world, realMs() - fromReal);
  }

  /** `wants`: every `sometimes` must have held in this one run. */
  async #runTwice(plan: Plan, wants: boolean, twice = true): Promise<Outcome> {
    const outcome = await this.#runOnce(plan, false);
    if (outcome.failure === undefined && twice) {
      const again = await this.#runOnce(plan, false, false);
      if (again.world.restHash !== outcome.world.restHash)
        outcome.failure = differing(outcome.world, again.world);
    }
    if (outcome.failure === undefined && wants)
      outcome.failure = this.#unseen(outcome.world.seen, outcome.world.clock.now());
    return outcome;
  }

  #unseen(seen: ReadonlySet<string>, atMs: number): WorldFailure | undefined {
    const missed = this.#invariants.find(
      ({ kind, name }) => kind === 'sometimes' && !seen.has(name),
    );
    if (missed === undefined) return undefined;
    return { invariant: missed.name, atMs, message: 'it never held' };
  }

  async #shrunk(plan: Plan, failed: Outcome, budgetMs: number): Promise<Outcome> {
    const { invariant } = failed.failure!;
    if (invariant === 'determinism') return failed;
    const recorded = await this.#runOnce(plan, true);
    if (recorded.failure?.invariant !== invariant) return failed;
    const { world } = recorded;
    const endMs = realMs() + budgetMs;
    let best: Outcome = recorded;
    const smallest = await shrinkPlan(
      {
        ...plan,
        operations: plan.operations ?? [...world.operations],
        faults: plan.faults ?? [...world.happenedFaults],
      },
      world.tape,
      async (next) => {
        const outcome = await this.#runOnce(next, false);
        const still = outcome.failure?.invariant === invariant;
        if (still) best = { ...outcome, plan: next };
        return still;
      },
      () => realMs() < endMs,
    );
    // What nobody has seen fail is not told: where nothing smaller does, the seed itself is the plan.
    const told = best === recorded ? plan : smallest;
    return { ...best, plan: told, simulatedMs: failed.simulatedMs, realMs: failed.realMs };
  }

  async #replayAsked(): Promise<SimulationReport | undefined> {
    const text = tokenToReplay();
    if (text === undefined) return undefined;
    const token = decodeToken(text);
    // Another simulation of the same file: it is not meant.
    if (token.world !== this.#identity() && !replayForced()) return undefined;
    const report = await this.replay(text);
    const [failure] = report.failures;
    process.stderr.write(
      failure === undefined
        ? 'replayed: nothing failed\n'
        : `replayed: ${failure.invariant} at ${failure.at}\n  ${failure.message}\n`,
    );
    return report;
  }

  #report(outcomes: readonly Outcome[], ended: boolean): SimulationReport {
    const last = outcomes.at(-1)!;
    const failures = outcomes.flatMap((outcome): SimulationFailure[] =>
      outcome.failure === undefined ? [] : [this.#failureOf(outcome, outcome.failure)],
    );
    const seen = new Set(outcomes.flatMap(({ world }) => [...world.seen]));
    if (ended && outcomes.length > 1 && failures.length === 0) {
      const missed = this.#unseen(seen, last.world.clock.now());
      if (missed !== undefined) failures.push(this.#failureOf(last, missed));
    }
    const refused: Record<string, number> = {};
    let done = 0;
    for (const { world } of outcomes) {
      done += world.done;
      for (const [code, count] of world.refused) refused[code] = (refused[code] ?? 0) + count;
    }
    return {
      seeds: outcomes.length,
      traceHash: last.world.trace.hash,
      failures,
      latency: (load) => {
        const { load: loads = {} } = this.options;
        if (loads[load] === undefined)
          throw new DbError('22023', `there is no load "${load}"`, {
            field: 'load',
            hint: `There are ${Object.keys(loads).join(', ') || 'none'}.`,
          });
        return last.world.latency(load);
      },
      metrics:
        last.world.isUp && !last.world.engine.closed
          ? last.world.engine.metrics.snapshot()
          : last.world.metrics,
      operations: { done, refused },
      seen: [...seen].toSorted(),
      simulatedMs: outcomes.reduce((total, outcome) => total + outcome.simulatedMs, 0),
      realMs: outcomes.reduce((total, outcome) => total + outcome.realMs, 0),
    };
  }

  #failureOf(
    { plan, world }: Outcome,
    { invariant, atMs, message }: WorldFailure,
  ): SimulationFailure {
    const token: Token = {
      plan,
      invariant,
      world: this.#identity(),
      build: buildId(),
      traceHash: world.trace.hash,
    };
    return {
      invariant,
      seed: plan.seed,
      at: isoOf(atMs),
      message,
      replay: replayLine(this.#file, encodeToken(token)),
      plan,
    };
  }
}

type Outcome = {
  readonly world: SimulatedWorld;
  readonly plan: Plan;
  failure: WorldFailure | undefined;
  readonly simulatedMs: number;
  readonly realMs: number;
};

function outcomeOf(world: SimulatedWorld, realMsSpent: number): Outcome {
  return {
    world,
    plan: world.options.plan,
    failure: world.failure,
    simulatedMs: world.elapsedMs,
    realMs: realMsSpent,
  };
}

function differing(one: SimulatedWorld, other: SimulatedWorld): WorldFailure {
  return {
    invariant: 'determinism',
    atMs: one.clock.now(),
    message: `the same seed gave another trace: ${one.restHash} after ${one.eventCount} events, then ${other.restHash} after ${other.eventCount}. Something in setup, a load or an invariant depends on more than the world.`,
  };
}

function momentOf(world: SimulatedWorld): Moment {
  const db = new Proxy(world.process.db, {
    get: (target, name) => {
      const value = Reflect.get(target, name, target) as unknown;
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        const call = (): unknown => (value as (...given: unknown[]) => unknown).apply(target, args);
        return DRIVEN.has(String(name)) ? world.within(call) : call();
      };
    },
  });
  return {
    db,
    position: world.engine.visiblePosition,
    now: () => world.clock.now(),
    within: (task) => world.within(task),
    traceHash: world.trace.hash,
    close: () => world.within(() => world.process.db.close()),
    [Symbol.asyncDispose]: () => world.within(() => world.process.db.close()),
  };
}

const DRIVEN = new Set(['exec', 'query', 'insert', 'upsert', 'delete', 'transaction', 'load']);

/** Numbers below are positions, others epoch milliseconds: a journal of so many records does not fit a simulation. */
const POSITION_MAX = 1e10;

const isoOf = (ms: number): string => new Date(ms).toISOString();

/** Small, as worlds are, so that there are several of each. */
const SEGMENT_BYTES = 16 * 1024;
const SNAPSHOT_BYTES = 64 * 1024;

function journalOf(options: SimulateOptions, later: Faults = {}): WorldJournal {
  const { journal, faults = {} } = options;
  const kind = journal?.kind ?? (needsDisk(faults) || needsDisk(later) ? 'file' : 'memory');
  if (kind === 'memory') return { kind };
  const fsync = (journal?.kind === 'file' ? journal.fsync : undefined) ?? 'always';
  const every = (journal?.kind === 'file' ? journal.snapshotEvery : undefined) ?? SNAPSHOT_BYTES;
  return {
    kind,
    fsync,
    segmentBytes: SEGMENT_BYTES,
    snapshotEveryBytes: sizeBytes('journal.snapshotEvery', every),
  };
}

function scheduleOf(given: SimulateOptions['schedule'], seed: number): ScheduleKind {
  if (given !== 'any') return given ?? 'random';
  return SCHEDULES[new SeededRandom(seed, 'schedule').below(SCHEDULES.length)]!;
}

function machineOf(given: SimulateOptions['machine'], seed: number): Machine {
  if (given !== 'any') return { ...MACHINE, ...given };
  const random = new SeededRandom(seed, 'machine');
  return {
    stepBudgetUnits: [48, 400, 20_000][random.below(3)]!,
    nanosecondsPerUnit: [10, 200, 5_000][random.below(3)]!,
    groupsInFlightMax: 1 + random.below(4),
    laneMessagesMax: [16, 64, 1_024][random.below(3)]!,
    workerCount: random.below(3),
  };
}

let parser: Parser | undefined;

/** Worlds say the same things again and again: what a text parses to is kept. */
async function sharedParser(): Promise<Parser> {
  if (parser !== undefined) return parser;
  await Model.load();
  const real = await loadParser();
  const known = new Map<string, ReturnType<Parser['parse']>>();
  parser = {
    ...real,
    parse: (text) => {
      const before = known.get(text);
      if (before !== undefined) return before;
      const parsed = real.parse(text);
      if (known.size < TEXTS_KEPT_MAX) known.set(text, parsed);
      return parsed;
    },
  };
  return parser;
}

const TEXTS_KEPT_MAX = 2_000;

function checkOptions(options: SimulateOptions): void {
  const wrong = (field: string, message: string, hint: string): DbError =>
    new DbError('22023', message, { field, hint });
  if (typeof options !== 'object' || options === null)
    throw wrong(
      'options',
      'simulate takes an object',
      "Give { seed: 1, start: '2026-03-07T12:00:00Z', run: '1h' }.",
    );
  for (const name of Object.keys(options))
    if (!OPTION_NAMES.includes(name))
      throw wrong(name, `unknown option "${name}"`, `The options are ${OPTION_NAMES.join(', ')}.`);
  if (!Number.isSafeInteger(options.seed) || options.seed < 0)
    throw wrong('seed', '"seed" is not a seed', 'Give a whole number from 0 on.');
  instantOf('start', options.start);
  durationMs('run', options.run);
  const { schedule, ambient, load = {} } = options;
  if (
    schedule !== undefined &&
    !['fifo', 'random', 'pct', 'any'].includes(schedule as string) &&
    typeof (schedule as { starve?: unknown }).starve !== 'string'
  )
    throw wrong(
      'schedule',
      '"schedule" is none',
      "Choose 'fifo', 'random', 'pct', 'any' or { starve: 'journal' }.",
    );
  if (ambient !== undefined && ambient !== 'throw' && ambient !== 'allow')
    throw wrong('ambient', '"ambient" is none', "Choose 'throw' or 'allow'.");
  const { journal } = options;
  if (journal !== undefined && journal.kind !== 'memory' && journal.kind !== 'file')
    throw wrong('journal', '"journal" is none', "Choose { kind: 'memory' } or { kind: 'file' }.");
  checkFaults(options.faults ?? {});
  if (journal?.kind === 'memory' && needsDisk(options.faults ?? {}))
    throw wrong(
      'journal',
      'these faults need a disk',
      "Leave journal out, or give { kind: 'file' }.",
    );
  checkZone(options.zone);
  checkValueOptions(options.values);
  standardOracles(options.oracles);
  for (const [name, spec] of Object.entries(load)) checkLoad(spec, `load.${name}`);
}
