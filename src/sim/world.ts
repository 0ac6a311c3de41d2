import { JournalLog, openFileLog } from '../actors/commit-log.ts';
import type { CommitLog } from '../actors/commit-turn.ts';
import { recover } from '../actors/recovery.ts';
import { Snapshots } from '../actors/snapshots.ts';
import { runtimeVersions } from '../base/node-ports.ts';
import { Database, type SessionHandle } from '../actors/database.ts';
import { Engine } from '../actors/engine.ts';
import type { Identity } from '../actors/api-types.ts';
import type { CommitRecord } from '../actors/records.ts';
import type { ValueOptions } from '../actors/rows-out.ts';
import { SqlText } from '../actors/sql-tag.ts';
import { DbError, InvariantError } from '../base/errors.ts';
import type { Random, TimerHandle } from '../base/ports.ts';
import { SeededRandom } from '../base/random.ts';
import { position, type InstantMs } from '../base/units.ts';
import { mailboxLimits } from '../mailbox/lane.ts';
import type { Parser } from '../sql/parse.ts';
import { AmbientError, forbidAmbient, realTurn, settled } from './ambient.ts';
import { SimulatedBackend } from './backend.ts';
import { ProcessClock, SimulatedClock } from './clock.ts';
import { SimulatedDisk } from './disk.ts';
import { FaultSource, type Faults, type PlannedFault } from './faults.ts';
import { Latencies, type LatencySummary } from './latency.ts';
import { arrivalTimes, type Load } from './load.ts';
import { Connection, SimulatedNetwork } from './network.ts';
import type { Oracle } from './oracle.ts';
import type { Plan, PlannedOperation } from './plan.ts';
import {
  localDatabase,
  remoteSession,
  type Call,
  type CallEnd,
  type CallObserver,
} from './remote.ts';
import { ScheduledRunQueue } from './run-queue.ts';
import {
  createSchedule,
  RecordedSchedule,
  tapeSchedule,
  type Schedule,
  type ScheduleKind,
  type Tape,
} from './schedule.ts';
import { isInjected, withStagingFaults } from './staging-faults.ts';
import { stateHashes } from './state-hash.ts';
import { durationMs, durationRange, type Duration } from './times.ts';
import { Trace } from './trace.ts';
import { SimulatedWorkers } from './workers.ts';

/** What setup, loads and invariants see. */
export type World = {
  /** The database itself, on this side of the network. */
  readonly db: Database;
  readonly seed: number;
  /** Answers requests (`serve`), partitions. */
  readonly network: SimulatedNetwork;
  /** Simulated milliseconds since 1970. */
  now(): number;
  sleep(duration: Duration): Promise<void>;
  /** A stream of chance of its own: within a load, of this operation alone. */
  rng(name: string): Random;
  /** A session at the other end of the network, as loads have. */
  session(identity?: Identity): SessionHandle;
  /** Numbers the operations of a load, from 1; 0 elsewhere. */
  readonly nth: number;
  /** What operations of one run share; each run begins with nothing. */
  readonly shared: Map<string, unknown>;
  /** A crash may have taken what was acknowledged, since nothing was promised of it: the disk had lied, or damaged the end of what was on its way, or syncs are by interval. */
  readonly mayHaveLost: boolean;
  /** The database's process ends now, as a fault would end it, and comes again. */
  crash(): void;
  /** A line for the trace: whatever is noted must be the same in each run. */
  note(line: string): void;
};

/** An invariant as it was declared. */
export type Invariant = {
  readonly kind: 'always' | 'eventually' | 'sometimes';
  readonly name: string;
  readonly withinMs: number;
  readonly check: (world: World) => unknown;
};

export type WorldOptions = {
  readonly plan: Plan;
  readonly startMs: number;
  readonly faults: Faults;
  /** From so many milliseconds after the start on other faults happen. */
  readonly fork?: { readonly atMs: number; readonly faults: Faults } | undefined;
  readonly schedule: ScheduleKind;
  readonly load: Readonly<Record<string, Load>>;
  readonly setup: ((world: World) => unknown) | undefined;
  readonly invariants: readonly Invariant[];
  readonly ambient: 'throw' | 'allow';
  readonly journal: WorldJournal;
  readonly memoryBytes: number;
  readonly zone: string;
  readonly values: ValueOptions;
  readonly historyMs: number;
  /** How fast the simulated machine is, and how much it does in one step. */
  readonly machine: Machine;
  readonly oracles: () => readonly Oracle[];
  readonly parser: Parser;
  /** Keeps the schedule's choices and the operations, to be shrunk. */
  readonly records: boolean;
  readonly traceLines: number;
};

export type WorldJournal =
  | { readonly kind: 'memory' }
  | {
      readonly kind: 'file';
      readonly fsync: 'always' | 'interval';
      /** Files are small in a small world, so that there are several. */
      readonly segmentBytes: number;
      /** Bytes of changes between two snapshots. */
      readonly snapshotEveryBytes: number;
    };

export type ArchivedRecord = { readonly record: CommitRecord; readonly instantMs: InstantMs };

export type Machine = {
  readonly nanosecondsPerUnit: number;
  readonly stepBudgetUnits: number;
  /** Groups of commits on their way to the disk at once. */
  readonly groupsInFlightMax: number;
  /** What waits in the command and bulk lanes of an actor. */
  readonly laneMessagesMax: number;
  /** Threads beside the main one. */
  readonly workerCount: number;
};

export type WorldFailure = {
  readonly invariant: string;
  /** Simulated milliseconds since 1970. */
  readonly atMs: number;
  readonly message: string;
};

/** More events than this without time going on is a world that does not come to rest. */
const EVENTS_AT_ONCE_MAX = 300_000;
/** Events between two turns of the real event loop. */
const EVENTS_PER_REAL_TURN = 5_000;
/** After the faults have ended everything that was begun must end within this. */
const HEAL_MS_MAX = 120_000;
/** A machine whose disk fails has so long to live. */
const DYING_MS_MAX = 20;
/** Between two looks at whether that is so. */
const REST_MS_MAX = 1_000;
const IN_FLIGHT_MAX = 1_000;
const DATA_DIRECTORY = '/data';
const DOWN = '100ms..10s';
/** Invariants are asked so many times in a run, but not more than once a second. */
const ASKED_TIMES = 1_000;
const ASKED_MS_MIN = 1_000;

/** An invariant does not hold. */
export class InvariantFailure extends Error {
  readonly invariant: string;

  constructor(invariant: string, message: string) {
    super(message);
    this.name = 'InvariantFailure';
    this.invariant = invariant;
  }
}

/** A run came to a state from which nothing follows, though somebody waits. */
export class StuckError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'StuckError';
  }
}

/** What crashes did to the files, as far as the database's promises go. */
type Damage = {
  readonly power: boolean;
  /** The power was lost, and syncs before it had lied. */
  readonly lied: boolean;
  /** Nothing could be written any more. */
  readonly failed: boolean;
  /** A bit turned over in the journal. */
  readonly flipped: boolean;
  /** A bit turned over in what says up to where the journal was acknowledged. */
  readonly unmarked: boolean;
};

/** The end of the journal may look like a write that was cut short: it is damaged, and so is, or has never been written, what tells otherwise. */
const isTorn = ({ power, failed, flipped, unmarked }: Damage): boolean =>
  flipped && (power || failed || unmarked);

const isSegment = (path: string | undefined): boolean =>
  path !== undefined && /\/journal-\d+\.adb$/.test(path);

const isWatermark = (path: string | undefined): boolean => path?.endsWith('/acknowledged') === true;

/** One life of the database's process. */
export class DatabaseProcess {
  readonly clock: ProcessClock;
  readonly engine: Engine;
  readonly db: Database;
  /** The same, for whoever must not wait for ever once the process has ended. */
  readonly local: Database;
  readonly log: JournalLog;
  readonly connections = new Set<Connection>();

  constructor(clock: ProcessClock, engine: Engine, log: JournalLog) {
    this.clock = clock;
    this.engine = engine;
    this.log = log;
    this.db = new Database(engine);
    const connection = new Connection();
    this.connections.add(connection);
    this.local = localDatabase(this.db, connection);
  }
}

/**
 * One simulated world: virtual time, seeded chance, a network and a disk with faults, a database, and loads that ask it. The same
 * options give the same trace. The order of a life is `begin`, `advance` as often as one likes, `end`; whatever fails is kept in
 * `failure`, and nothing goes on after it.
 */
export class SimulatedWorld {
  readonly options: WorldOptions;
  readonly clock: SimulatedClock;
  readonly random: Random;
  readonly trace: Trace;
  readonly faults: FaultSource;
  readonly network: SimulatedNetwork;
  readonly disk: SimulatedDisk;
  readonly oracles: readonly Oracle[];
  readonly operations: PlannedOperation[] = [];
  /** Operations that the database refused, by code. */
  readonly refused = new Map<string, number>();
  /** What was seen at least once: `sometimes` invariants, and what oracles note. */
  readonly seen = new Set<string>();
  readonly shared = new Map<string, unknown>();
  failure: WorldFailure | undefined;
  done = 0;
  readonly #backend: SimulatedBackend;
  readonly #archive: ArchivedRecord[] = [];
  readonly #schedules: { readonly events: Schedule; readonly actors: Schedule };
  readonly #latencies = new Map<string, Latencies>();
  readonly #inFlight = new Set<string>();
  readonly #inFlightOf = new Map<string, number>();
  readonly #since = new Map<Invariant, number>();
  readonly #observers: readonly CallObserver[];
  #process: DatabaseProcess | undefined;
  #unhandled: { readonly cause: unknown } | undefined;
  #events = 0;
  #eventsAtOnce = 0;
  #lastMs = 0;
  #sessions = 0;
  #turnedAway = 0;

  constructor(options: WorldOptions) {
    this.options = options;
    const { plan, faults } = options;
    this.trace = new Trace(options.traceLines);
    this.random = new SeededRandom(plan.seed);
    const scheduleOf = (which: 'events' | 'actors'): Schedule => {
      const { schedule = options.schedule } = plan;
      const made =
        typeof schedule === 'object' && 'events' in schedule
          ? tapeSchedule(schedule[which])
          : createSchedule(schedule, this.random.split(which));
      return options.records ? new RecordedSchedule(made) : made;
    };
    this.#schedules = { events: scheduleOf('events'), actors: scheduleOf('actors') };
    this.clock = new SimulatedClock(options.startMs, this.#schedules.events);
    this.faults = new FaultSource(faults, plan.faults, this.random.split('faults'));
    this.network = new SimulatedNetwork({
      clock: this.clock,
      faults: this.faults,
      delayMs: durationRange('faults.delay', faults.delay ?? 0),
      random: this.random.split('network'),
    });
    this.disk = new SimulatedDisk({
      clock: this.clock,
      faults: this.faults,
      random: this.random.split('disk'),
      syncMs: durationRange('faults.journalDelay', faults.journalDelay ?? 0),
      dying: () =>
        void this.clock.at(
          this.random.split(`dying ${this.#boots}`).unit() * DYING_MS_MAX,
          'crash',
          () => {
            if (this.faults.active) this.#crash(true);
          },
        ),
    });
    this.#backend = new SimulatedBackend({
      clock: this.clock,
      random: this.random.split('journal'),
      latencyMs: durationRange('faults.journalDelay', faults.journalDelay ?? 0),
      groupsInFlightMax: options.machine.groupsInFlightMax,
      refusal: () =>
        this.faults.hits('journalFull')
          ? new DbError('53000', 'the journal is behind', { limit: 'journal', retryAfterMs: 100 })
          : undefined,
    });
    this.oracles = options.oracles();
    this.#observers = [
      { began: (call) => this.#noted(call) },
      ...this.oracles.flatMap(({ observer }) => observer ?? []),
    ];
  }

  // ── What oracles and invariants ask ─────────────────────────────────────────────────────────────────────────

  get process(): DatabaseProcess {
    if (this.#process === undefined)
      throw new DbError('57P03', 'the database is starting up', { retryAfterMs: 100 });
    return this.#process;
  }

  get isUp(): boolean {
    return this.#process !== undefined;
  }

  get engine(): Engine {
    return this.process.engine;
  }

  /** The journal under a database that keeps its records in memory. */
  get backend(): SimulatedBackend {
    return this.#backend;
  }

  get eventCount(): number {
    return this.#events;
  }

  /** Milliseconds since the start. */
  get elapsedMs(): number {
    return this.clock.monotonicMs();
  }

  get tape(): { readonly events: Tape; readonly actors: Tape } {
    const { events, actors } = this.#schedules;
    return {
      events: events instanceof RecordedSchedule ? events.tape : [],
      actors: actors instanceof RecordedSchedule ? actors.tape : [],
    };
  }

  get happenedFaults(): readonly PlannedFault[] {
    return this.faults.happened;
  }

  latency(load: string): LatencySummary {
    return (this.#latencies.get(load) ?? new Latencies()).summary;
  }

  /** Records that are acknowledged, by position from 1: kept here, since the journal forgets what snapshots cover. */
  get acknowledgedRecords(): readonly ArchivedRecord[] {
    return this.#archive;
  }

  /** As the journal itself has it. */
  get acknowledgedPosition(): number {
    return this.process.log.journal.acknowledged;
  }

  /** What setup, invariants, or one operation of a load see. */
  view(random: Random, who: string, nth = 0): World {
    const world = this;
    return {
      get db() {
        return world.process.local;
      },
      seed: this.options.plan.seed,
      network: this.network,
      now: () => this.clock.now(),
      sleep: (duration) => this.clock.pause(durationMs('sleep', duration), who),
      rng: (name) => random.split(name),
      session: (identity = {}) => this.#connect(identity, who),
      get mayHaveLost() {
        return world.mayHaveLost;
      },
      crash: () => this.crash(),
      nth,
      shared: this.shared,
      note: (line) => this.trace.note(`${who}: ${line}`),
    };
  }

  #noted({ who, verb, args }: Call): CallEnd {
    const [what] = args;
    const text = typeof what === 'string' ? what : what instanceof SqlText ? what.text : '';
    this.trace.note(`${who}: ${verb} ${text}`);
    return {
      answered: (result) => {
        const { position, meta } = (result ?? {}) as {
          readonly position?: number;
          readonly meta?: { readonly position: number };
        };
        this.trace.note(
          `${who}: ${verb} answered at ${position ?? meta?.position ?? 'no position'}`,
        );
      },
      failed: (cause) =>
        this.trace.note(
          `${who}: ${verb} failed: ${cause instanceof Error ? cause.message : 'strangely'}`,
        ),
    };
  }

  fail(invariant: string, cause: unknown): void {
    if (this.failure !== undefined) return;
    this.failure = {
      invariant: cause instanceof InvariantFailure ? cause.invariant : invariant,
      atMs: this.clock.now(),
      message: describe(cause),
    };
    this.trace.note(`failed: ${invariant}`);
  }

  // ── A life ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** The database is opened, and set up; no fault happens meanwhile. */
  async begin(): Promise<void> {
    await this.#guarded('setup', async () => {
      const { setup } = this.options;
      const world = this.view(this.random.split('setup'), 'setup');
      await this.drive(async () => {
        this.#process = await this.#boot();
        for (const oracle of this.oracles) await oracle.begin?.(this);
        await setup?.(world);
      });
      this.faults.active = true;
      this.#startFaults();
      this.#startLoads();
      this.#startInvariants();
    });
  }

  /** Everything happens that is due until then, in milliseconds since the start. */
  async advance(toMs: number): Promise<void> {
    await this.#guarded('the world', async () => {
      await this.drive(() => undefined, toMs);
    });
  }

  /** Runs until `reached` says so; false where the time was over before. */
  async advanceUntil(reached: () => boolean, toMs: number): Promise<boolean> {
    await this.#guarded('the world', async () => {
      await this.drive(() => undefined, toMs, reached);
    });
    return reached();
  }

  /**
   * The faults end, the world heals, and every promise is asked for; where not `asked`, which is for the twin of a world that was, only
   * the first two.
   */
  async end(asked = true): Promise<void> {
    if (this.failure !== undefined) return;
    await this.#guarded('the end', () =>
      this.drive(async () => {
        this.faults.active = false;
        this.#ending = true;
        this.network.heal();
        this.disk.heal();
        if (
          this.#process?.engine.turn.refusal !== undefined &&
          this.options.journal.kind === 'file'
        ) {
          // What has failed for good is mended as people mend it.
          await this.clock.pause(5_000, 'rest');
          if (this.#process?.engine.turn.refusal !== undefined) this.crash();
        }
        await this.#rest();
        if (!this.hopeless)
          for (const { name, hash } of stateHashes(this.engine.state))
            this.trace.note(`${name} ${hash}`);
        this.#restHash = this.trace.hash;
        if (this.hopeless || !asked) return;
        await this.#askAtEnd();
        for (const oracle of this.oracles) {
          this.#asking = oracle.name;
          await oracle.check?.(this);
        }
        this.#asking = 'memory';
        await this.#close();
      }),
    );
  }

  /** Runs `task` in the world, and whatever happens meanwhile. */
  async within<Value>(task: (world: World) => Value | Promise<Value>): Promise<Value> {
    return (await this.drive(async () =>
      task(this.view(this.random.split('within'), 'within')),
    )) as Value;
  }

  #asking = 'the end';
  #ending = false;
  #restHash: string | undefined;

  /** What happened until the world had come to rest, and what stood there then: what follows from that are the answers of oracles. */
  get restHash(): string {
    return this.#restHash ?? this.trace.hash;
  }

  async #guarded(what: string, action: () => Promise<unknown>): Promise<void> {
    if (this.failure !== undefined) return;
    try {
      await action();
    } catch (cause) {
      this.fail(what === 'the end' ? this.#asking : what, cause);
    }
  }

  /**
   * The loop. With a task it runs until the task has settled; without, until `untilMs`, or until `reached` says so. A failure of
   * an invariant ends it at once.
   */
  async drive<Value>(
    task: () => Promise<Value> | undefined,
    untilMs = Infinity,
    reached?: () => boolean,
  ): Promise<Value | undefined> {
    let outcome: { readonly value: Value } | { readonly cause: unknown } | undefined;
    const onUnhandled = (cause: unknown): void => void (this.#unhandled ??= { cause });
    process.on('unhandledRejection', onUnhandled);
    const forbid = this.options.ambient === 'throw' ? forbidAmbient : () => () => undefined;
    let lift = forbid();
    try {
      const started = task();
      started?.then(
        (value) => (outcome = { value }),
        (cause: unknown) => (outcome = { cause }),
      );
      await settled();
      while (outcome === undefined && this.failure === undefined && reached?.() !== true) {
        if (!this.#step(untilMs)) {
          if (started !== undefined)
            throw new StuckError(
              `nothing will ever happen again, and somebody waits: ${[...this.#inFlight].slice(0, 8).join(', ') || 'the task itself'}`,
            );
          this.clock.advanceTo(untilMs);
          break;
        }
        await settled();
        if (this.#events % EVENTS_PER_REAL_TURN === 0) {
          lift();
          await realTurn();
          lift = forbid();
        }
      }
      const result = outcome as { readonly value: Value } | { readonly cause: unknown } | undefined;
      if (result === undefined) return undefined;
      if ('cause' in result) throw result.cause;
      return result.value;
    } finally {
      lift();
      // Rejections that nobody handled are told at the end of a real turn.
      await realTurn();
      process.off('unhandledRejection', onUnhandled);
      if (this.#unhandled !== undefined) {
        this.fail('unhandled rejection', this.#unhandled.cause);
        this.#unhandled = undefined;
      }
    }
  }

  /** One event, and the time that its work takes. */
  #step(untilMs: number): boolean {
    const dispatcher = this.#process?.engine.dispatcher;
    const before = dispatcher?.spentUnits ?? 0;
    const source = this.clock.step(untilMs);
    if (source === undefined) return false;
    const spent = (dispatcher?.spentUnits ?? 0) - before;
    if (spent > 0) this.clock.spend((spent * this.options.machine.nanosecondsPerUnit) / 1e6);
    this.#events += 1;
    const nowMs = this.clock.monotonicMs();
    this.#eventsAtOnce = nowMs - this.#lastMs >= 1 ? 0 : this.#eventsAtOnce + 1;
    if (this.#eventsAtOnce === 0) this.#lastMs = nowMs;
    this.trace.note(source);
    this.trace.numbers(
      nowMs * 1000,
      dispatcher?.spentUnits ?? 0,
      this.#process?.engine.visiblePosition ?? 0,
    );
    for (const oracle of this.oracles) {
      if (oracle.watch === undefined) continue;
      try {
        oracle.watch(this);
      } catch (cause) {
        this.fail(oracle.name, cause);
      }
    }
    if (this.#eventsAtOnce > EVENTS_AT_ONCE_MAX)
      throw new StuckError(
        `time stands still: ${EVENTS_AT_ONCE_MAX} events within a simulated millisecond`,
      );
    return true;
  }

  // ── The database's process ──────────────────────────────────────────────────────────────────────────────────

  /** What becomes of a boot that a crash interrupts is never known: it must not be waited for but by its own process. */
  async #boot(): Promise<DatabaseProcess> {
    const clock = new ProcessClock(this.clock);
    this.#booting = clock;
    const { options } = this;
    const { schedule = options.schedule } = options.plan;
    this.#boots += 1;
    // What was done once can be done again: a replay is never refused.
    let recovering = true;
    const disk = this.disk.port(() => !clock.ended);
    const log =
      options.journal.kind === 'file'
        ? await openFileLog(
            { disk, clock },
            {
              directory: DATA_DIRECTORY,
              fsync: options.journal.fsync,
              segmentBytes: options.journal.segmentBytes,
            },
          )
        : undefined;
    const kept =
      log ?? new JournalLog({ backend: this.#backend, keepBytes: Infinity, keepAll: true });
    const engine = new Engine({
      ports: {
        clock,
        random: this.random.split(this.#boots === 1 ? 'engine' : `engine ${this.#boots}`),
        disk,
        network: this.network,
        workers: new SimulatedWorkers({
          count: options.machine.workerCount,
          clock: this.clock,
          random: this.random.split('workers'),
          entry: () => undefined,
          latencyMsMax: 2,
        }),
      },
      parser: options.parser,
      memoryBytes: options.memoryBytes,
      journal: { kind: 'memory', keepBytes: 1 << 20 },
      historyMs: options.historyMs,
      zone: options.zone,
      values: options.values,
      stepBudgetUnits: options.machine.stepBudgetUnits,
      mailbox: mailboxLimits({
        command: { messages: options.machine.laneMessagesMax },
        bulk: { messages: options.machine.laneMessagesMax },
      }),
      log: () => this.#archiving(kept),
      // In order means: as the fair queue has it, which is what runs outside of simulations.
      ...(schedule === 'fifo'
        ? {}
        : { runQueue: new ScheduledRunQueue(this.#schedules.actors, this.trace) }),
      staging: (state) =>
        withStagingFaults(
          state,
          { hits: (kind) => !recovering && this.faults.hits(kind) },
          this.random.split('staging'),
        ),
    });
    if (log !== undefined && options.journal.kind === 'file') {
      const snapshots = new Snapshots(engine, log, {
        disk,
        directory: DATA_DIRECTORY,
        everyBytes: options.journal.snapshotEveryBytes,
        versions: runtimeVersions(),
      });
      await recover(engine, log, snapshots, () => undefined);
      await this.#settleArchive(log);
    }
    recovering = false;
    const started = new DatabaseProcess(clock, engine, kept);
    started.db.on('view.failed', ({ view, position: at }) =>
      this.trace.note(`${view} broke after ${at}`),
    );
    started.db.on('view.rebuilt', ({ view, position: at }) => {
      this.seen.add('a view was made anew');
      this.trace.note(`${view} made anew at ${at}`);
    });
    return started;
  }

  #booting: ProcessClock | undefined;
  #boots = 0;

  /** The log, with every record that it acknowledges put by. */
  #archiving(log: JournalLog): CommitLog {
    return {
      append: (record, instantMs, outcome, kept) =>
        log.append(
          record,
          instantMs,
          {
            acknowledged: (at) => {
              this.#archive[at - 1] = { record, instantMs };
              outcome.acknowledged(at);
            },
            failed: (cause) => outcome.failed(cause),
            refused: (cause) => outcome.refused(cause),
          },
          kept,
        ),
      mend: () => log.mend(),
      close: () => log.close(),
      // Tables that break are made anew from it, and ready for that as if little were kept.
      read: (from) => log.read(from),
      get first() {
        return log.first;
      },
      get appendedBytes() {
        return log.appendedBytes;
      },
      keepBytes: 1 << 16,
      forgets: log.forgets,
    };
  }

  /** After a restart: what was acknowledged and is lost is taken out, what is there and nobody was told of is put in. */
  async #settleArchive(log: JournalLog): Promise<void> {
    const { acknowledged } = log.journal;
    // A boot before this one may have been cut short, after it had found out.
    if (this.#archive.length > acknowledged)
      this.#lostFrom = Math.min(this.#lostFrom ?? Infinity, acknowledged + 1);
    this.#archive.length = Math.min(this.#archive.length, acknowledged);
    const reader = log.journal.read(position(this.#archive.length + 1));
    for (;;) {
      const chunk = await reader.next();
      if (chunk === undefined) break;
      for (const { payload, instantMs } of chunk)
        this.#archive.push({ record: payload as CommitRecord, instantMs });
    }
    reader.close();
  }

  /** The first acknowledged position that a restart did not find; until the database is there. */
  #lostFrom: number | undefined;

  /** The process ends in the middle of whatever it does, and starts again after a while. */
  crash(): void {
    this.#crash(false);
  }

  #crash(isDead: boolean): void {
    if (this.options.journal.kind !== 'file')
      throw new DbError('22023', 'a crash needs a journal in files', {
        field: 'journal',
        hint: "Give simulate journal: { kind: 'file' }, or a fault that needs a disk.",
      });
    const process = this.#process;
    this.#booting?.end();
    this.#process = undefined;
    const before = this.#damage;
    const now = this.disk.crash(isDead);
    this.#damage = {
      power: now.power || before?.power === true,
      lied: (now.power && now.lied) || before?.lied === true,
      failed: now.failed || before?.failed === true,
      flipped: isSegment(now.flipped) || before?.flipped === true,
      unmarked: isWatermark(now.flipped) || before?.unmarked === true,
    };
    if (this.#damage.lied) this.#hasLied = true;
    this.#comingBack?.cancel();
    this.seen.add(now.power ? 'a power loss' : 'a crash');
    this.trace.note(now.power ? 'the power is lost' : 'the process ends');
    for (const connection of process?.connections ?? [])
      connection.break('The process of the database has ended.');
    const [least, most] = durationRange('faults.down', this.options.faults.down ?? DOWN);
    const downMs = least + this.random.split(`down ${this.#boots}`).unit() * (most - least);
    this.#comingBack = this.clock.at(downMs, 'restart', () => void this.#restart());
  }

  /** What crashes have done since the database was last there. */
  #damage: Damage | undefined;
  #comingBack: TimerHandle | undefined;
  /** Whatever a restart so far did not find was excused. */
  mayHaveLost = false;
  /** At some power loss the disk had lied before. */
  #hasLied = false;

  async #restart(): Promise<void> {
    const damage = this.#damage!;
    let asking = 'recovery';
    const booted = this.#boot();
    const clock = this.#booting!;
    try {
      const started = await booted;
      if (clock.ended) return;
      const { visiblePosition } = started.engine;
      const lostFrom = this.#lostFrom;
      this.#process = started;
      this.#damage = undefined;
      this.#lostFrom = undefined;
      this.trace.note(`started again at ${visiblePosition}`);
      this.seen.add('a restart');
      const { journal } = this.options;
      const excused =
        isTorn(damage) ||
        (damage.power &&
          (damage.lied || (journal.kind === 'file' && journal.fsync === 'interval')));
      this.mayHaveLost ||= excused;
      if (lostFrom !== undefined && !excused)
        throw new InvariantFailure(
          'durability',
          `position ${lostFrom} was acknowledged, after a crash the journal ends at ${visiblePosition}`,
        );
      for (const oracle of this.oracles) {
        asking = oracle.name;
        oracle.restarted?.(this, visiblePosition, excused);
      }
    } catch (cause) {
      if (clock.ended) return;
      if (cause instanceof DbError && cause.code === 'ADB_JOURNAL_CORRUPT') {
        const restored = this.disk.restore();
        if (restored.length > 0) {
          // Damage was found and said: a copy is restored.
          this.seen.add('damage was found');
          this.trace.note(`damage was found in ${restored.join(' and ')}`);
          this.#tryAgain();
          return;
        }
        if (this.#hasLied || isTorn(damage)) {
          this.seen.add('what cannot be mended was found');
          this.hopeless = true;
          return;
        }
      } else if (cause instanceof DbError && (this.faults.active || this.disk.isBroken)) {
        // The disk is full or fails: somebody tries again.
        this.trace.note(`not started: ${cause.code}`);
        this.#tryAgain();
        return;
      }
      this.fail(asking, cause);
    }
  }

  #tryAgain(): void {
    this.#booting?.end();
    this.disk.processEnded();
    this.#comingBack = this.clock.at(1_000, 'restart', () => void this.#restart());
  }

  /** A disk that lied, or a bit at its end that is not what it was, has destroyed the journal, and the database has said so: nothing more can be asked of it. */
  hopeless = false;

  /** A second database whose state is the fold of what the journal has acknowledged. Close it. */
  async replayed(): Promise<Engine> {
    const { options } = this;
    const clock = new SimulatedClock(options.startMs, createSchedule('fifo', this.random));
    const backend = new SimulatedBackend({
      clock,
      random: this.random,
      latencyMs: [0, 0],
      groupsInFlightMax: 1,
      refusal: () => undefined,
    });
    const engine = new Engine({
      ...this.engine.options,
      ports: {
        ...this.engine.ports,
        clock,
        random: new SeededRandom(options.plan.seed, 'replay'),
      },
      memoryBytes: Infinity,
      stepBudgetUnits: 1 << 20,
      log: () => new JournalLog({ backend, keepBytes: Infinity, keepAll: true }),
      runQueue: undefined,
      staging: undefined,
    });
    for (const [index, { record, instantMs }] of this.#archive.entries()) {
      engine.turn.replay(record, index + 1);
      engine.state.noteInstant(instantMs);
    }
    return engine;
  }

  // ── Faults, loads, invariants ───────────────────────────────────────────────────────────────────────────────

  #startFaults(): void {
    this.#startedMs = this.elapsedMs;
    const { fork, plan } = this.options;
    this.#scheduleFaults(
      this.faults,
      0,
      plan.faults === undefined ? Math.min(plan.runMs, fork?.atMs ?? Infinity) : plan.runMs,
    );
    if (fork === undefined) return;
    this.clock.at(Math.max(0, fork.atMs - this.elapsedMs), 'fork', () => {
      this.network.delayMs = durationRange('faults.delay', fork.faults.delay ?? 0);
      // A plan names its faults, those after the fork, too.
      if (plan.faults !== undefined) return;
      this.faults.become(fork.faults, this.random.split('fork'));
      this.#scheduleFaults(this.faults, this.elapsedMs - this.#startedMs, plan.runMs);
    });
  }

  /** Both since the start. */
  #scheduleFaults(faults: FaultSource, fromMs: number, untilMs: number): void {
    for (const { kind, atMs } of faults.timed(untilMs - fromMs)) {
      this.clock.at(atMs, kind, () => {
        if (!faults.active) return;
        faults.happened.push({ kind, atMs: fromMs + atMs });
        this.trace.note(kind);
        switch (kind) {
          case 'partition':
            this.network.partition();
            break;
          case 'journalFailure':
            this.#backend.fail();
            this.disk.break();
            break;
          case 'crash':
            this.crash();
            break;
          case 'diskFull':
            this.disk.fill();
            break;
        }
      });
    }
  }

  #startedMs = 0;

  /** When the setup had ended: the times of a plan count from here. */
  get startedMs(): number {
    return this.#startedMs;
  }

  #startLoads(): void {
    const { plan, load } = this.options;
    if (plan.operations !== undefined) {
      for (const operation of plan.operations)
        if (load[operation.load] !== undefined)
          this.clock.at(operation.atMs, operation.load, () => this.#arrive(operation));
      return;
    }
    for (const [name, spec] of Object.entries(load)) {
      const times = arrivalTimes(
        spec,
        `load.${name}`,
        this.random.split(`arrivals/${name}`),
        plan.runMs,
      );
      let nth = 0;
      const next = (): void => {
        const { value: atMs, done } = times.next();
        if (done === true) return;
        nth += 1;
        const operation = { load: name, nth, atMs };
        const fromNowMs = this.#startedMs + atMs - this.elapsedMs;
        this.clock.at(Math.max(0, fromNowMs), name, () => {
          next();
          this.#arrive(operation);
        });
      };
      next();
    }
  }

  #arrive(operation: PlannedOperation): void {
    if (this.#ending) return;
    const { load, nth } = operation;
    const spec = this.options.load[load]!;
    if (this.options.records && this.operations.length < OPERATIONS_KEPT_MAX)
      this.operations.push(operation);
    const who = `${load} ${nth}`;
    const underWay = this.#inFlightOf.get(load) ?? 0;
    if (underWay >= (spec.inFlightMax ?? IN_FLIGHT_MAX)) {
      this.#turnedAway += 1;
      this.#refuse('turned away');
      return;
    }
    if (!this.isUp) {
      this.#refuse('57P03');
      return;
    }
    const startedMs = this.elapsedMs;
    this.#inFlight.add(who);
    this.#inFlightOf.set(load, underWay + 1);
    const world = this.view(this.random.split(`load/${load}/${nth}`), who, nth);
    const session = this.#connect(spec, who);
    const operate = async (): Promise<unknown> => spec.do(session, world);
    void operate()
      .then(
        () => {
          this.done += 1;
          this.trace.note(`${who} done`);
          this.#latency(load).note(this.elapsedMs - startedMs);
        },
        (cause: unknown) => this.#operationFailed(load, who, cause),
      )
      .then(() => session.close())
      .then(undefined, () => undefined)
      .then(() => {
        this.#inFlight.delete(who);
        this.#inFlightOf.set(load, this.#inFlightOf.get(load)! - 1);
      });
  }

  #operationFailed(load: string, who: string, cause: unknown): void {
    if (cause instanceof DbError && (cause.code !== 'XX000' || isInjected(cause.cause))) {
      this.trace.note(`${who} refused: ${cause.code} ${cause.message}`);
      this.#refuse(cause.code);
      return;
    }
    this.fail(
      cause instanceof InvariantFailure
        ? cause.invariant
        : cause instanceof AmbientError
          ? 'ambient'
          : `load ${load}`,
      cause,
    );
  }

  #refuse(code: string): void {
    this.refused.set(code, (this.refused.get(code) ?? 0) + 1);
  }

  #latency(load: string): Latencies {
    let latencies = this.#latencies.get(load);
    if (latencies === undefined) this.#latencies.set(load, (latencies = new Latencies()));
    return latencies;
  }

  #connect(identity: Identity, who: string): SessionHandle {
    const { db, connections } = this.process;
    this.#sessions += 1;
    const connection = this.network.connect(who);
    connections.add(connection);
    connection.onOver(() => connections.delete(connection));
    const { tenant, user, claims } = identity;
    const session = db.session({
      ...(tenant === undefined ? {} : { tenant }),
      ...(user === undefined ? {} : { user }),
      ...(claims === undefined ? {} : { claims }),
    });
    return remoteSession(session, connection, {
      session: this.#sessions,
      who,
      tenant: tenant ?? 'main',
      observers: this.#observers,
    });
  }

  #startInvariants(): void {
    const { invariants, plan } = this.options;
    if (invariants.length === 0) return;
    const everyMs = Math.max(ASKED_MS_MIN, plan.runMs / ASKED_TIMES);
    const world = this.view(this.random.split('invariants'), 'invariants');
    const ask = async (): Promise<void> => {
      while (!this.#ending) {
        await this.clock.pause(everyMs, 'invariants');
        if (this.#ending) return;
        for (const invariant of invariants) await this.#ask(invariant, world);
      }
    };
    void ask().then(undefined, (cause: unknown) => this.fail('invariants', cause));
  }

  /** Whether it holds now; a database that is down, or went down meanwhile, cannot be asked. */
  async #holds(
    invariant: Invariant,
    world: World,
  ): Promise<{ readonly message?: string } | undefined> {
    const asked = this.#process;
    if (asked === undefined) return undefined;
    try {
      const result = await invariant.check(world);
      return result === false ? { message: 'it does not hold' } : {};
    } catch (cause) {
      if (this.#process !== asked) return undefined;
      if (cause instanceof AmbientError) throw cause;
      return { message: cause instanceof Error ? describe(cause) : String(cause) };
    }
  }

  async #ask(invariant: Invariant, world: World): Promise<void> {
    if (invariant.kind === 'sometimes' && this.seen.has(invariant.name)) return;
    const held = await this.#holds(invariant, world);
    if (held === undefined) return;
    const { message } = held;
    switch (invariant.kind) {
      case 'sometimes':
        if (message === undefined) this.seen.add(invariant.name);
        return;
      case 'always':
        if (message !== undefined)
          this.fail(invariant.name, new InvariantFailure(invariant.name, message));
        return;
      case 'eventually': {
        if (message === undefined) {
          this.#since.delete(invariant);
          return;
        }
        const sinceMs = this.#since.get(invariant) ?? this.elapsedMs;
        this.#since.set(invariant, sinceMs);
        if (this.elapsedMs - sinceMs > invariant.withinMs)
          this.fail(
            invariant.name,
            new InvariantFailure(
              invariant.name,
              `it has not held for ${Math.round(this.elapsedMs - sinceMs)} ms: ${message}`,
            ),
          );
      }
    }
  }

  /** After the faults: always and eventually must hold, the latter within their time. */
  async #askAtEnd(): Promise<void> {
    const world = this.view(this.random.split('invariants at the end'), 'invariants');
    for (const invariant of this.options.invariants) {
      this.#asking = invariant.name;
      const fromMs = this.elapsedMs;
      if (invariant.kind === 'eventually') this.#since.delete(invariant);
      for (;;) {
        await this.#ask(invariant, world);
        if (this.failure !== undefined || !this.#since.has(invariant)) break;
        await this.clock.pause(Math.min(1_000, Math.max(1, invariant.withinMs / 10)), 'invariants');
        if (this.elapsedMs - fromMs > 2 * invariant.withinMs + 10_000) break;
      }
    }
  }

  /** Everything that was begun has ended, views that broke are live again. */
  async #rest(): Promise<void> {
    this.#asking = 'rest';
    const startMs = this.elapsedMs;
    for (let round = 0; this.elapsedMs - startMs < HEAL_MS_MAX; round += 1) {
      await this.clock.pause(Math.min(REST_MS_MAX, 50 * 2 ** round), 'rest');
      if (this.hopeless && this.#inFlight.size === 0) return;
      const process = this.#process;
      if (process === undefined) continue;
      const { engine } = process;
      const views = engine.state.catalog
        .all()
        .flatMap((entry) => (entry.kind === 'materializedView' ? [entry.view] : []));
      if (
        this.#inFlight.size === 0 &&
        views.every(({ status }) => status === 'live') &&
        engine.turn.stagedUnacknowledged === 0 &&
        engine.queries.size === 0 &&
        round > 0
      )
        return;
    }
    throw new InvariantFailure(
      'rest',
      `${HEAL_MS_MAX / 1000} s after the faults the database has not come to rest: ${[...this.#inFlight].slice(0, 8).join(', ') || 'a view or a commit is under way'}`,
    );
  }

  async #close(): Promise<void> {
    const { engine, db } = this.process;
    for (const check of [
      () => (engine.transactions.size > 0 ? 'a transaction was left open' : undefined),
      () => (engine.claims.isEmpty ? undefined : 'claims were left behind'),
    ]) {
      const wrong = check();
      if (wrong !== undefined) throw new InvariantFailure('memory', wrong);
    }
    this.metrics = db.metrics.snapshot();
    await db.close();
    await this.clock.pause(1, 'rest');
    if (engine.memory.usedBytes !== 0)
      throw new InvariantFailure(
        'memory',
        `the closed database holds ${engine.memory.usedBytes} bytes`,
      );
    if (engine.dispatcher.actorCount !== 0)
      throw new InvariantFailure(
        'memory',
        `${engine.dispatcher.actorCount} actors outlive the database`,
      );
  }

  metrics: Readonly<Record<string, number>> = {};

  get turnedAway(): number {
    return this.#turnedAway;
  }
}

/** Operations kept for a plan: what came first explains a failure; a longer run is told by its seed. */
const OPERATIONS_KEPT_MAX = 20_000;

export function describe(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const why = cause.cause === undefined ? '' : `\n  because: ${describe(cause.cause)}`;
  if (cause instanceof InvariantFailure) return cause.message + why;
  const code = cause instanceof DbError ? ` ${cause.code}` : '';
  const stack =
    cause instanceof InvariantError || !(cause instanceof DbError)
      ? `\n${(cause.stack ?? '').split('\n').slice(1, 8).join('\n')}`
      : '';
  return `${cause.name}${code}: ${cause.message}${stack}${why}`;
}
