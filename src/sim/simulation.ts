import { DbError } from '../base/errors.ts';
import { SeededRandom } from '../base/random.ts';
import type { Disk, Network, Random } from '../base/ports.ts';
import { Database } from '../actors/database.ts';
import { Engine } from '../actors/engine.ts';
import { JournalLog } from '../actors/commit-log.ts';
import type { CommitRecord } from '../actors/records.ts';
import type { Parser } from '../sql/parse.ts';
import { forbidAmbient, realTurn, settled } from './ambient.ts';
import { SimulatedBackend, type BackendFaults } from './backend.ts';
import { SimulatedClock } from './clock.ts';
import { ScheduledRunQueue } from './run-queue.ts';
import { createSchedule, type ScheduleKind } from './schedule.ts';
import { withStagingFaults, type StagingFaults } from './staging-faults.ts';
import { Trace } from './trace.ts';
import { SimulatedWorkers, type WorkerEntry } from './workers.ts';

export type SimulationOptions = {
  readonly seed: number;
  readonly parser: Parser;
  readonly schedule: ScheduleKind;
  /** Milliseconds since 1970 at which the world begins. */
  readonly startMs: number;
  readonly memoryBytes: number;
  /** Work units a step may spend: small ones cut work in many steps. */
  readonly stepBudgetUnits: number;
  /** How long a work unit takes: how fast the simulated machine is. */
  readonly nanosecondsPerUnit: number;
  readonly journal: BackendFaults;
  readonly staging: StagingFaults;
  readonly workers?: { readonly count: number; readonly entry: WorkerEntry } | undefined;
  /** Lines of the trace kept for people. */
  readonly traceLines?: number | undefined;
};

/** More events than this in one run is a world that does not come to rest. */
const EVENTS_MAX = 300_000;

/** Events between two turns of the real event loop. */
const EVENTS_PER_REAL_TURN = 5_000;

/** A run came to a state from which nothing follows, though somebody waits. */
export class StuckError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'StuckError';
  }
}

/**
 * One simulated world with one database in it: virtual time, seeded chance, a journal that acknowledges when it likes, and a
 * schedule that decides among everything that could happen next. The same options give the same trace.
 */
export class Simulation {
  readonly options: SimulationOptions;
  readonly clock: SimulatedClock;
  readonly random: Random;
  readonly backend: SimulatedBackend;
  readonly engine: Engine;
  readonly db: Database;
  readonly trace: Trace;
  /** Called after every event. What it throws ends the run. */
  afterEvent: (() => void) | undefined;
  /** Injected faults happen while this is set. */
  faultsActive = true;
  #unhandled: { readonly cause: unknown } | undefined;
  #events = 0;

  constructor(options: SimulationOptions) {
    this.options = options;
    this.trace = new Trace(options.traceLines ?? 0);
    this.random = new SeededRandom(options.seed);
    this.clock = new SimulatedClock(
      options.startMs,
      createSchedule(options.schedule, this.random.split('events')),
    );
    this.backend = new SimulatedBackend(
      this.clock,
      this.random.split('journal'),
      options.journal,
      () => new DbError('53000', 'the journal is behind', { limit: 'journal', retryAfterMs: 100 }),
    );
    this.engine = new Engine({
      ports: {
        clock: this.clock,
        random: this.random.split('engine'),
        disk: NO_DISK,
        network: NO_NETWORK,
        workers: new SimulatedWorkers({
          count: options.workers?.count ?? 0,
          clock: this.clock,
          random: this.random.split('workers'),
          entry: options.workers?.entry ?? (() => undefined),
          latencyMsMax: 2,
        }),
      },
      parser: options.parser,
      memoryBytes: options.memoryBytes,
      journal: { kind: 'memory', keepBytes: 1 << 20 },
      historyMs: 600_000,
      zone: 'UTC',
      values: {},
      stepBudgetUnits: options.stepBudgetUnits,
      log: () => new JournalLog({ backend: this.backend, keepBytes: Infinity, keepAll: true }),
      ...(options.schedule === 'fifo'
        ? {}
        : {
            runQueue: new ScheduledRunQueue(
              createSchedule(options.schedule, this.random.split('actors')),
              this.trace,
            ),
          }),
      staging: (state) =>
        withStagingFaults(
          state,
          options.staging,
          this.random.split('staging'),
          () => this.faultsActive,
        ),
    });
    this.db = new Database(this.engine);
  }

  /** Runs the world until `task` has settled. Ambient time and chance throw meanwhile. */
  async run<Value>(task: () => Promise<Value>): Promise<Value> {
    let outcome: { readonly value: Value } | { readonly cause: unknown } | undefined;
    const onUnhandled = (cause: unknown): void => void (this.#unhandled ??= { cause });
    process.on('unhandledRejection', onUnhandled);
    let lift = forbidAmbient();
    try {
      task().then(
        (value) => (outcome = { value }),
        (cause: unknown) => (outcome = { cause }),
      );
      await settled();
      while (outcome === undefined) {
        this.#step();
        await settled();
        if (this.#events % EVENTS_PER_REAL_TURN === 0) {
          lift();
          await realTurn();
          lift = forbidAmbient();
        }
      }
      if ('cause' in outcome) throw outcome.cause;
      return outcome.value;
    } finally {
      lift();
      // Rejections that nobody handled are told at the end of a real turn.
      await realTurn();
      process.off('unhandledRejection', onUnhandled);
      if (this.#unhandled !== undefined) {
        // oxlint-disable-next-line no-unsafe-finally -- an unhandled rejection outweighs what the task came to
        throw this.#unhandled.cause;
      }
    }
  }

  /** One event, and the time that its work takes. */
  #step(): void {
    const { dispatcher } = this.engine;
    const before = dispatcher.spentUnits;
    const source = this.clock.step();
    if (source === undefined)
      throw new StuckError('nothing will ever happen again, and the task has not ended');
    const spent = dispatcher.spentUnits - before;
    if (spent > 0) this.clock.spend((spent * this.options.nanosecondsPerUnit) / 1e6);
    this.#events += 1;
    this.trace.note(source);
    this.trace.numbers(
      this.clock.monotonicMs() * 1000,
      dispatcher.spentUnits,
      this.engine.visiblePosition,
    );
    this.afterEvent?.();
    if (this.#events > EVENTS_MAX)
      throw new StuckError(`the world does not come to rest in ${EVENTS_MAX} events`);
  }

  get eventCount(): number {
    return this.#events;
  }

  /** A second database whose state is the fold of what the journal has acknowledged. Close it. */
  async replayed(): Promise<Engine> {
    const { options } = this;
    const clock = new SimulatedClock(options.startMs, createSchedule('fifo', this.random));
    const engine = new Engine({
      ...this.engine.options,
      ports: { ...this.engine.ports, clock, random: new SeededRandom(options.seed, 'replay') },
      memoryBytes: Infinity,
      stepBudgetUnits: 1 << 20,
      log: () =>
        new JournalLog({
          backend: new SimulatedBackend(clock, this.random, NO_JOURNAL_FAULTS, () => new Error()),
          keepBytes: Infinity,
          keepAll: true,
        }),
      runQueue: undefined,
      staging: undefined,
    });
    const reader = this.backend.read(this.backend.firstPosition);
    for (;;) {
      const chunk = await reader.next();
      if (chunk === undefined) break;
      for (const record of chunk) {
        engine.turn.replay(record.payload as CommitRecord, record.position);
        engine.state.noteInstant(record.instantMs);
      }
    }
    reader.close();
    return engine;
  }
}

export const NO_JOURNAL_FAULTS: BackendFaults = {
  latencyMs: [0, 0],
  groupsInFlightMax: 1,
  failingGroup: 0,
  refusedAppends: new Set(),
};

const NO_DISK: Disk = new Proxy({} as Disk, {
  get: () => () => Promise.reject(new Error('this simulated world has no disk')),
});
const NO_NETWORK: Network = {
  fetch: () => Promise.reject(new Error('this simulated world has no network')),
};
