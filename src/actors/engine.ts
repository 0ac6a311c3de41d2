import { customRandom, urlAlphabet } from 'nanoid';
import { DbError } from '../base/errors.ts';
import { MemoryAccount } from '../base/memory.ts';
import type { Ports, TimerHandle } from '../base/ports.ts';
import { tenantId, type InstantMs } from '../base/units.ts';
import { InstantTexts } from '../calendar/instant-texts.ts';
import type { Batch } from '../columns/batch.ts';
import type { ActorRef, ActorSpec } from '../mailbox/actor.ts';
import { Dispatcher } from '../mailbox/dispatcher.ts';
import type { MailboxLimits } from '../mailbox/lane.ts';
import { RunLoop } from '../mailbox/run-loop.ts';
import type { Priority, RunQueue } from '../mailbox/run-queue.ts';
import type { Operator } from '../operators/operator.ts';
import type { Parser } from '../sql/parse.ts';
import { FairRunQueue } from '../tenancy/fair-run-queue.ts';
import { TileStore } from '../windows/tile-store.ts';
import { isStored, type StoredEntry } from './catalog.ts';
import { WindowPlans } from './window-plan.ts';
import { NamedCalendar } from './calendars.ts';
import { Claims } from './claims.ts';
import { WaitingLines } from './waiting-lines.ts';
import {
  CommitTurn,
  type CommitLog,
  type CommitRequest,
  type CommitState,
  type PublishedCommit,
} from './commit-turn.ts';
import type { TableData } from '../columns/table-contract.ts';
import { createTable } from '../columns/table.ts';
import {
  assertNotAborted,
  canceled,
  closedError,
  letManyListen,
  untilSettled,
} from './deadline.ts';
import { Idempotency } from './idempotency.ts';
import { LiveQueries } from './live-queries.ts';
import { DatabaseState } from './database-state.ts';
import { Compaction } from './compaction.ts';
import { Retention } from './retention.ts';
import { EndedQueries } from './ended-queries.ts';
import { EventHub } from './event-hub.ts';
import { History } from './history.ts';
import { Housekeeping } from './housekeeping.ts';
import { ActorTree } from './actor-tree.ts';
import type { JournalMessage } from './journal-actor.ts';
import type { ProgressiveEvent } from './api-types.ts';
import {
  PROGRESSIVE_LIFECYCLE,
  QUERY_LIFECYCLE,
  type ProgressiveState,
  type QueryState,
} from './lifecycles.ts';
import { FirstAnswers } from './first-answers.ts';
import type { ProgressiveQuery } from './progressive.ts';
import type { ProgressiveMessage } from './progressive-actor.ts';
import { CommitMessage } from './commit-group.ts';
import { createCommitLog } from './commit-log.ts';
import { TableRecovery } from './table-recovery.ts';
import { EngineMetrics } from './metrics.ts';
import { PositionLog } from './position-log.ts';
import { queryActor } from './query-actor.ts';
import type { ValueOptions } from './rows-out.ts';
import type { Snapshots } from './snapshots.ts';
import { StatementCache } from './statement-cache.ts';
import { SubscriptionHub } from './subscriptions.ts';
import type { Transaction } from './transaction.ts';
import { ViewBuilder } from './view-builder.ts';

export type EngineOptions = {
  readonly ports: Ports;
  readonly parser: Parser;
  readonly memoryBytes: number;
  /** What answers may take that are held as objects until they are whole. Default: what `memoryBytes` leaves. */
  readonly answerBytes?: number | undefined;
  readonly journal: { readonly kind: 'memory'; readonly keepBytes: number };
  readonly historyMs: number;
  readonly zone: string;
  readonly values: ValueOptions;
  /** Fixes what a step may spend: simulations, whose clock follows the work. */
  readonly stepBudgetUnits: number | undefined;
  /** How much actors let wait: simulations, where little must be much. */
  readonly mailbox?: MailboxLimits<never> | undefined;
  /** A log to put in the journal's place: simulations. */
  readonly log?: ((deliver: LogDelivery) => CommitLog) | undefined;
  /** Decides whose step is next, in place of the fair queue: simulations. */
  readonly runQueue?: RunQueue | undefined;
  /** Comes between the commit turn and the state: simulations, whose faults it is. */
  readonly staging?: ((state: CommitState) => CommitState) | undefined;
};

export type LogDelivery = { readonly clock: Ports['clock'] };

/** What a query that runs shows of itself (`adb.queries`). */
export type RunningQuery = {
  readonly id: string;
  readonly tenant: string;
  readonly user: string | undefined;
  readonly label: string | undefined;
  readonly text: string;
  readonly priority: Priority;
  readonly startedMs: number;
  /** Rows it has given, and work units it has spent, so far. */
  rows: number;
  work: number;
  state: QueryState | ProgressiveState;
  /** Of a progressive answer: half the width of its widest interval beside the estimate; null where one is unbounded. */
  relativeError?: number | null;
  /** Rows there are to be read, and milliseconds until it stops, as far as can be told. */
  rowsTotal?: number;
  etaMs?: number | null;
  convergence?: ProgressiveEvent['convergence'];
  /** Ends it; overtakes its steps. */
  readonly cancel: (cause: DbError) => void;
  /** The database closes. */
  readonly stop: () => void;
};

/** A progressive answer that is over: how it went. */
export type EndedQuery = Omit<RunningQuery, 'cancel' | 'stop'> & {
  readonly endedMs: number;
  readonly convergence: ProgressiveEvent['convergence'];
};

/** Of a longer text so much is kept. */
const ENDED_TEXT_LENGTH_MAX = 2000;
/** A dashboard has tens of charts, each of which may be refined. */
const STOPPED_ANSWERS_MAX = 200;

/**
 * The database without its doors: the run loop and its actors, the journal and the state it makes, open transactions,
 * running queries, subscriptions. Sessions work through it.
 */
export class Engine {
  readonly options: EngineOptions;
  readonly ports: Ports;
  readonly memory: MemoryAccount;
  /** What answers hold that are not whole yet, of `memory`. */
  readonly answerMemory: MemoryAccount;
  /** What rows hold that were read and wait behind others to be written, of `memory`. */
  readonly waitingMemory: MemoryAccount;
  /** Writes of more than a few rows that were begun and have not ended. */
  largeWriteCount = 0;
  /** Commits that were sent and have not ended. */
  waitingCommitCount = 0;
  readonly state: DatabaseState;
  readonly dispatcher: Dispatcher;
  readonly runQueue: FairRunQueue;
  readonly claims = new Claims();
  /** Of those who take rows that nobody has, where some were too late. */
  readonly takers = new WaitingLines();
  readonly subscriptions = new SubscriptionHub();
  readonly events = new EventHub();
  readonly statements: StatementCache;
  readonly metrics: EngineMetrics;
  readonly positions: PositionLog;
  readonly history: History;
  readonly compaction: Compaction;
  readonly retention: Retention;
  readonly idempotency: Idempotency;
  readonly liveQueries: LiveQueries;
  readonly transactions = new Set<Transaction>();
  readonly queries = new Map<string, RunningQuery>();
  /** Progressive answers that are not over, by id. */
  readonly answers = new Map<string, ProgressiveQuery>();
  readonly firstAnswers: FirstAnswers;
  /** Progressive answers that have ended: how they converged. */
  readonly ended = new EndedQueries<EndedQuery>();
  readonly turn: CommitTurn;
  readonly views: ViewBuilder;
  readonly housekeeping: Housekeeping;
  readonly recovery: TableRecovery;
  /** Where windows over time are computed. */
  readonly tiles: TileStore;
  /** Calendars of nothing but a zone. */
  readonly plainCalendars = new NamedCalendar({});
  readonly instantTexts = new InstantTexts();
  readonly windowPlans = new WindowPlans();
  readonly log: CommitLog;
  readonly #runLoop: RunLoop;
  readonly tree: ActorTree;
  readonly #nextId: () => string;
  readonly #positionWaiters: {
    readonly position: number;
    readonly wake: () => void;
    readonly fail: (cause: DbError) => void;
  }[] = [];
  readonly #settledWaiters: (() => void)[] = [];
  /** The newest commit that was told to the journal, where others may join it while it waits there. */
  #joinable: CommitMessage | undefined;
  readonly #whenClosed: (() => void | Promise<void>)[] = [];
  readonly #closing = new AbortController();
  #visiblePosition = 0;
  #visibleInstant: number;
  #asOf = { instant: NaN, text: '' };
  #closed = false;
  #whenClosing: Promise<void> | undefined;
  #mending: TimerHandle | undefined;
  /** Where the journal is in files. */
  snapshots: Snapshots | undefined;
  #sessionCount = 0;

  constructor(options: EngineOptions) {
    this.options = options;
    letManyListen(this.#closing.signal);
    this.ports = options.ports;
    this.firstAnswers = new FirstAnswers(options.ports.clock);
    const { clock, random } = options.ports;
    this.#visibleInstant = clock.now();
    this.positions = new PositionLog(options.historyMs);
    const idRandom = random.split('ids');
    this.#nextId = customRandom(urlAlphabet, 12, (count) => {
      const bytes = new Uint8Array(count);
      for (let index = 0; index < count; index += 1) bytes[index] = idRandom.below(256);
      return bytes;
    });
    this.memory = new MemoryAccount('the database', undefined, options.memoryBytes);
    this.answerMemory = this.memory.child('answers', options.answerBytes);
    this.waitingMemory = this.memory.child(
      'rows that wait to be written',
      Math.floor(options.memoryBytes * WAITING_SHARE),
    );
    this.memory.headroomBytes = Math.floor(options.memoryBytes * HEADROOM_SHARE);
    this.statements = new StatementCache(options.parser);
    this.views = new ViewBuilder({
      parse: (text) => this.statements.parse(text),
      memory: this.memory,
      zone: options.zone,
    });
    this.state = new DatabaseState({
      memory: this.memory,
      clock,
      parse: (text) => this.statements.parse(text),
      views: this.views,
      viewsFailed: (views, cause) => {
        for (const transaction of this.transactions)
          for (const { relation } of views)
            transaction.testReplaced(relation, this.#visiblePosition);
        this.housekeeping.viewsFailed(views, cause);
      },
      tableBroke: (entry, corpse, cause) => {
        for (const transaction of this.transactions)
          transaction.testReplaced(entry.definition.id, this.#visiblePosition);
        const refusal = this.recovery.broke(entry, corpse, cause);
        this.housekeeping.tableBroke(entry.definition.id, cause);
        return refusal;
      },
      relationMade: (entry, position) => {
        this.tree.relationMade(entry);
        this.recovery.made(entry, position);
      },
      policyChanged: (relation, policy) => this.retention.policyChanged(relation, policy),
      relationGone: (relation) => {
        this.tiles.forget(relation);
        this.compaction.forget(relation);
        this.housekeeping.forget(relation);
        this.tree.relationGone(relation);
        this.recovery.gone(relation);
      },
      rowsKnownUpTo: () => this.#visiblePosition + this.turn.stagedUnacknowledged,
    });
    this.idempotency = new Idempotency(this.state.keyedWrites);
    this.tiles = new TileStore({
      memory: this.memory,
      dataOf: (relation) => {
        const entry = this.state.catalog.byId(relation);
        // A view that is refreshed by time changes outside of commits.
        const isFollowed = isStored(entry) && (entry.kind === 'table' || entry.view.inCommit);
        return isFollowed ? entry.data : undefined;
      },
      keptOf: (relation) => this.state.keptTable(relation),
    });
    this.runQueue = new FairRunQueue();
    this.dispatcher = new Dispatcher({
      clock,
      runQueue: options.runQueue ?? this.runQueue,
      limits: options.mailbox,
    });
    this.#runLoop = new RunLoop({
      clock,
      dispatcher: this.dispatcher,
      ...(options.stepBudgetUnits === undefined
        ? {}
        : { stepBudgetUnits: options.stepBudgetUnits }),
    });
    this.log =
      options.log?.({ clock }) ??
      createCommitLog({ keepBytes: options.journal.keepBytes, memory: this.memory });
    this.turn = new CommitTurn(options.staging?.(this.state) ?? this.state, this.log, {
      visiblePosition: () => this.#visiblePosition,
      published: (position, instant, commit) => this.#published(position, instant, commit),
      refused: (cause) => {
        this.events.emit('journal.refused', { cause });
        this.#wakeSettled();
        if (cause.code === '53100') this.#mendLater();
      },
      unstaged: () => this.#wakeSettled(),
      resubmit: (request) => void this.#tellJournal(new CommitMessage(request)),
    });
    this.tree = new ActorTree(this, {
      dispatcher: this.dispatcher,
      clock,
      random: random.split('supervision'),
      events: {
        restarted: ({ name }, { cause }) =>
          this.events.emit('actor.restarted', { actor: name, cause }),
        quarantined: ({ id }, { cause }) => this.#quarantined(id, cause),
        gaveUp: ({ id, name }, cause) => this.#gaveUp(id, name, cause),
      },
    });
    this.recovery = new TableRecovery(this);
    this.housekeeping = new Housekeeping(this);
    this.history = new History(this);
    this.compaction = new Compaction(this);
    this.retention = new Retention(this);
    this.metrics = new EngineMetrics(this);
    this.liveQueries = new LiveQueries(this);
    this.#runLoop.start();
  }

  /** The newest position that readers see. */
  get visiblePosition(): number {
    return this.#visiblePosition;
  }

  /** Its instant, in milliseconds. */
  get visibleInstant(): number {
    return this.#visibleInstant;
  }

  /** Aborted when the database is closed, for what waits outside of it. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  get closed(): boolean {
    return this.#closed;
  }

  newId(): string {
    return this.#nextId();
  }

  nextSessionNumber(): number {
    this.#sessionCount += 1;
    return this.#sessionCount;
  }

  /** Sends a commit to the journal; resolves when it is visible. */
  commit(
    request: Pick<CommitRequest, 'tenant' | 'relations' | 'prepare'> & {
      readonly ephemeral?: boolean;
      readonly settled?: boolean;
      /** Of a small write that may share a commit with others of its table: how many rows it has. */
      readonly rowCount?: number | undefined;
    },
    signal?: AbortSignal,
  ): Promise<CommitOutcome> {
    this.assertOpen();
    return new Promise((resolve, reject) => {
      // A cancel overtakes a commit that waits in the mailbox: it is refused when its turn comes.
      let refusal: DbError | undefined;
      let isWaiting = true;
      const ended = (): void => {
        // Whoever is cancelled may be told twice.
        if (isWaiting) this.waitingCommitCount -= 1;
        isWaiting = false;
        signal?.removeEventListener('abort', abort);
      };
      const abort = (): void => {
        refusal = canceled(signal!);
        if (!this.#closed)
          this.tree.journal.tell({ kind: 'cancel', request: full, cause: refusal }, 'control');
      };
      const full: CommitRequest = {
        tenant: request.tenant,
        relations: request.relations,
        ephemeral: request.ephemeral ?? false,
        settled: request.settled ?? request.ephemeral ?? false,
        prepare: () => {
          if (refusal !== undefined) throw refusal;
          return request.prepare();
        },
        committed: (position, instant, work) => {
          ended();
          resolve({ position, instant, work });
        },
        failed: (cause) => {
          ended();
          reject(cause);
        },
      };
      if (signal !== undefined) {
        if (signal.aborted) {
          reject(canceled(signal));
          return;
        }
        signal.addEventListener('abort', abort, { once: true });
      }
      this.waitingCommitCount += 1;
      const { rowCount } = request;
      if (this.tree.journal.alive && this.#joinable?.join(full, rowCount) === true) return;
      const message = new CommitMessage(full, rowCount);
      this.#joinable = message.isJoinable ? message : undefined;
      this.#tellJournal(message);
    });
  }

  /** Runs operators as a query actor; batches go to `take` until it says false, then on `demand`. */
  run(task: {
    readonly text: string;
    readonly tenant: string;
    readonly user: string | undefined;
    readonly label: string | undefined;
    readonly priority: Priority;
    readonly workMax: number | undefined;
    readonly signal: AbortSignal | undefined;
    open(): Operator;
    take(batch: Batch): boolean;
  }): QueryRun {
    this.assertOpen();
    const id = this.newId();
    const started = this.ports.clock.monotonicMs();
    let queuedMs = 0;
    let settle: { resolve(outcome: RunOutcome): void; reject(cause: unknown): void };
    const finished = new Promise<RunOutcome>((resolve, reject) => (settle = { resolve, reject }));
    const { signal } = task;
    const cancel = (cause: DbError): void => void ref.tell({ kind: 'cancel', cause }, 'control');
    const abort = (): void => cancel(canceled(signal!));
    const end = (): void => {
      signal?.removeEventListener('abort', abort);
      this.queries.delete(id);
    };
    const ref = this.tree.startQuery(
      task.tenant,
      queryActor({
        name: `query ${id}`,
        tenant: tenantId(task.tenant),
        priority: task.priority,
        workMax: task.workMax,
        open: () => {
          queuedMs = this.ports.clock.monotonicMs() - started;
          return task.open();
        },
        take: (batch) => {
          query.rows += batch.rowCount;
          return task.take(batch);
        },
        entered: (state) => void (query.state = state),
        worked: (spent) => void (query.work = spent),
        done: (spent) => {
          end();
          settle.resolve({
            id,
            work: spent,
            queuedMs,
            elapsedMs: this.ports.clock.monotonicMs() - started,
          });
        },
        failed: (cause) => {
          end();
          settle.reject(cause);
        },
      }),
    );
    const query: RunningQuery = {
      id,
      tenant: task.tenant,
      user: task.user,
      label: task.label,
      text: task.text,
      priority: task.priority,
      startedMs: this.ports.clock.now(),
      rows: 0,
      work: 0,
      state: QUERY_LIFECYCLE.initial,
      cancel,
      stop: () => ref.stop(),
    };
    this.queries.set(id, query);
    if (signal?.aborted === true) abort();
    else signal?.addEventListener('abort', abort, { once: true });
    if (ref.tell({ kind: 'step' }) === 'dead') settle!.reject(closedError());
    return { id, finished, demand: () => void ref.tell({ kind: 'demand' }, 'control'), cancel };
  }

  /** Work units of an answer that is given in its caller's own turn; undefined where it has to be a query like others. */
  serviceUnits(tenant: string): number | undefined {
    this.assertOpen();
    return this.#runLoop.serviceUnits(tenantId(tenant));
  }

  /** Such an answer, or what was tried of it, has taken so much. */
  served(tenant: string, priority: Priority, workUnits: number): void {
    this.dispatcher.served(tenantId(tenant), priority, workUnits);
  }

  /** Resolves when I/O has had its chance; undefined where it has not waited for long. */
  untilTurn(): Promise<void> | undefined {
    return this.#runLoop.untilTurn();
  }

  /** Resolves when others have had the thread, which the caller has held since `sinceMs` of the monotonic clock; undefined where that is not long. */
  givesWay(sinceMs: number): Promise<void> | undefined {
    return this.#runLoop.givesWay(sinceMs);
  }

  /** A progressive answer is asked for: it is listed, and may be cancelled, from now on. */
  answerAsked(query: Omit<RunningQuery, 'startedMs' | 'rows' | 'work' | 'state'>): void {
    this.queries.set(query.id, {
      ...query,
      startedMs: this.ports.clock.now(),
      rows: 0,
      work: 0,
      state: PROGRESSIVE_LIFECYCLE.initial,
    });
  }

  /** It keeps its rows for whoever refines it: of a tenant's, the last ones to be asked for do. */
  answerStopped(id: string): void {
    const tenant = this.queries.get(id)?.tenant;
    const stopped = [...this.queries.values()].filter(
      (query) => query.tenant === tenant && query.state === 'stopped',
    );
    for (const query of stopped.slice(0, -STOPPED_ANSWERS_MAX))
      this.answers.get(query.id)?.giveUp();
  }

  startProgressive(
    tenant: string,
    actor: ActorSpec<ProgressiveMessage>,
  ): ActorRef<ProgressiveMessage> {
    this.assertOpen();
    const ref = this.tree.startQuery(tenant, actor);
    if (ref.tell({ kind: 'step' }) === 'dead') throw closedError();
    return ref;
  }

  /** A progressive answer is over. */
  queryEnded(id: string, convergence: ProgressiveEvent['convergence']): void {
    const query = this.queries.get(id);
    if (query === undefined) return;
    this.queries.delete(id);
    this.answers.delete(id);
    // Of one that ended before its first round there is nothing to look back on.
    if (convergence.length === 0) return;
    const { cancel: _cancel, stop: _stop, ...shown } = query;
    this.ended.add({
      ...shown,
      text: query.text.slice(0, ENDED_TEXT_LENGTH_MAX),
      endedMs: this.ports.clock.now(),
      convergence,
    });
  }

  /** Resolves once `position` is visible. */
  async untilVisible(position: number, signal: AbortSignal | undefined): Promise<void> {
    if (!Number.isSafeInteger(position) || position < 0)
      throw new DbError('22023', '"atLeast" is not a position', {
        field: 'atLeast',
        hint: 'Give the position of a write or of an answer.',
      });
    if (position <= this.#visiblePosition) return;
    assertNotAborted(signal);
    await new Promise<void>((resolve, reject) => {
      const waiter = {
        position,
        wake: () => {
          signal?.removeEventListener('abort', abort);
          resolve();
        },
        fail: (cause: DbError) => {
          signal?.removeEventListener('abort', abort);
          reject(cause);
        },
      };
      const abort = (): void => {
        this.#positionWaiters.splice(this.#positionWaiters.indexOf(waiter), 1);
        reject(canceled(signal!));
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#positionWaiters.push(waiter);
    });
  }

  /** Whether a commit is on its way that readers of a table do not see, be nothing of the table staged by it yet. */
  isUnpublished({ definition, data }: StoredEntry): boolean {
    return data.stagedCount > 0 || this.turn.steppingOn(definition.id) !== undefined;
  }

  /**
   * Resolves once what is on its way to a table now is published, or undone. More may be on its way by then, unless the caller holds
   * a claim of the table.
   */
  async untilPublished(
    { definition, data }: StoredEntry,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const stepping = this.turn.steppingOn(definition.id);
    while (stepping !== undefined && this.turn.steppingOn(definition.id) === stepping)
      await this.#untilSettled(signal);
    // Commits are published in the order of their staging: these are the next ones.
    const before = this.turn.acknowledgedCount;
    const waiting = this.turn.stagedUnacknowledged;
    while (
      data.stagedCount > 0 &&
      this.turn.acknowledgedCount - before < waiting &&
      this.turn.refusal === undefined
    )
      await this.#untilSettled(signal);
  }

  /** Resolves once no definitions are on their way to the journal: what the catalog shows is acknowledged then. */
  async untilDefined(signal: AbortSignal | undefined): Promise<void> {
    while (this.turn.definesUnacknowledged && this.turn.refusal === undefined)
      await this.#untilSettled(signal);
  }

  /** Resolves once no commit that alters or drops the relation is on its way, be it one of several steps. */
  async untilRedefined(relation: number, signal: AbortSignal | undefined): Promise<void> {
    while (this.turn.redefines(relation)) await this.#untilSettled(signal);
  }

  /** Resolves once the catalog shows what is in the journal at the visible position, and nothing else. */
  async untilNothingDefined(): Promise<void> {
    while (this.turn.definesStaged) await this.#untilSettled(undefined);
  }

  async #untilSettled(signal: AbortSignal | undefined): Promise<void> {
    this.assertOpen();
    await untilSettled(new Promise<void>((resolve) => this.#settledWaiters.push(resolve)), signal);
  }

  #wakeSettled(): void {
    for (const wake of this.#settledWaiters.splice(0)) wake();
  }

  /** A turn of the run loop: long work outside of actors gives way by it. */
  pause(): Promise<void> {
    return new Promise((resolve) => this.ports.clock.afterIo(resolve));
  }

  /** An empty table like another, without its unique indexes: where a transaction keeps the rows it has inserted. */
  privateTable(data: TableData): TableData {
    const { columns, seed } = data.schema;
    return createTable({ columns, indexes: [], seed }, { memory: this.memory });
  }

  instantAt(position: number): number {
    return position >= this.#visiblePosition
      ? this.#visibleInstant
      : (this.positions.instantOf(position) ?? this.#visibleInstant);
  }

  asOfText(position: number): string {
    const instant = this.instantAt(position);
    // Whole answers of a dashboard are of one position.
    if (instant !== this.#asOf.instant)
      this.#asOf = { instant, text: new Date(instant).toISOString() };
    return this.#asOf.text;
  }

  assertOpen(): void {
    if (this.#closed) throw closedError();
  }

  onClose(action: () => void | Promise<void>): void {
    this.#whenClosed.push(action);
  }

  /**
   * What is in the journal is acknowledged, and its writers are told; everything else that is under way ends with 57P01. Who closes it again waits for
   * the same.
   */
  close(): Promise<void> {
    this.#whenClosing ??= this.#close();
    return this.#whenClosing;
  }

  async #close(): Promise<void> {
    this.#closed = true;
    // Who is told of a failure may close it from within the step that failed, which ends first.
    if (this.dispatcher.isStepping) await Promise.resolve();
    this.#closing.abort(closedError());
    for (const action of this.#whenClosed.toReversed()) await action();
    this.turn.close(closedError());
    for (const waiter of this.#positionWaiters.splice(0)) waiter.fail(closedError());
    while (this.turn.stagedUnacknowledged > 0)
      await new Promise<void>((resolve) => this.#settledWaiters.push(resolve));
    this.#wakeSettled();
    await this.snapshots?.settled();
    this.#mending?.cancel();
    this.history.close();
    this.retention.close();
    this.subscriptions.wakeAll();
    this.#wakeSettled();
    for (const { stop } of [...this.queries.values()]) stop();
    this.tree.root.stop();
    this.dispatcher.runUntilIdle(100_000);
    // Of tables that were being made anew: nobody wants what is read of them any more.
    await this.snapshots?.settled();
    for (const transaction of this.transactions) {
      transaction.close();
      this.claims.release(transaction.owner, closedError());
    }
    this.transactions.clear();
    this.#runLoop.stop();
    this.dispatcher.close();
    this.recovery.close();
    this.tiles.close();
    this.state.close();
    await this.log.close?.();
    await this.ports.workers.close();
  }

  /** The disk was full: tries from time to time whether there is room again. */
  #mendLater(): void {
    this.#mending = this.ports.clock.after(MEND_MS, () => {
      if (this.#closed) return;
      void this.log.mend?.().then((mended) => {
        if (this.#closed) return;
        if (!mended) {
          this.#mendLater();
          return;
        }
        this.turn.resume();
        this.events.emit('journal.resumed', { position: this.#visiblePosition });
      });
    });
  }

  /** Recovery: what was read from the journal is there, and nobody has seen anything else. */
  recovered(position: number, instant: number): void {
    this.#visiblePosition = position;
    this.#visibleInstant = Math.max(this.#visibleInstant, instant);
    this.state.noteInstant(instant);
    this.recovery.replayed(position);
  }

  /** An actor that no restart could mend. */
  #gaveUp(id: number, name: string, cause: unknown): void {
    const relation = this.tree.relationOf(id);
    const entry = relation === undefined ? undefined : this.state.catalog.byId(relation);
    if (entry?.kind === 'materializedView') this.housekeeping.viewGivenUp(entry.view, cause);
    if (relation !== undefined && entry?.kind === 'table') this.recovery.giveUp(relation, cause);
    this.events.emit('actor.failed', { actor: name, cause });
    // Without its root nothing runs any more.
    if (id === 0) void this.close();
  }

  /** Upkeep that fails each time works on state that is not to be trusted. */
  #quarantined(id: number, cause: unknown): void {
    const relation = this.tree.relationOf(id);
    const entry = relation === undefined ? undefined : this.state.catalog.byId(relation);
    if (relation !== undefined && entry?.kind === 'table') this.state.broke(relation, cause);
  }

  #tellJournal(message: JournalMessage): void {
    if (this.tree.journal.tell(message) === 'ok') return;
    // The lane is full: the commit waits for credit, which is the backpressure that writers feel.
    void this.tree.journal.offer(message).then(
      (told) => {
        if (told === 'dead' && message.kind === 'commit') message.failed(closedError());
      },
      (cause: unknown) => {
        if (message.kind === 'commit') message.failed(cause);
      },
    );
  }

  #published(position: number, instant: InstantMs, commit: PublishedCommit): void {
    const { deltas, defined, redefined } = commit;
    this.#visiblePosition = position;
    this.#visibleInstant = instant;
    this.tiles.published(deltas, position);
    this.positions.note(position, instant);
    if (this.transactions.size > 0)
      for (const transaction of this.transactions) transaction.testAgainst(deltas, position);
    this.subscriptions.published(deltas.keys());
    this.subscriptions.published(redefined);
    if (this.#settledWaiters.length > 0) this.#wakeSettled();
    if (this.#positionWaiters.length > 0) {
      for (const waiter of this.#positionWaiters.filter((each) => each.position <= position)) {
        this.#positionWaiters.splice(this.#positionWaiters.indexOf(waiter), 1);
        waiter.wake();
      }
    }
    this.metrics.committed(deltas);
    this.housekeeping.published(position, deltas);
    this.housekeeping.defined(defined);
    this.history.changed(deltas.keys());
    this.compaction.published(deltas);
    this.snapshots?.published();
    this.recovery.published(position, commit);
  }
}

/** Between two looks whether a full disk has room again. */
const MEND_MS = 500;

/** Of the memory limit, what is left for deletes, queries and upkeep when there is no more room for rows. */
const HEADROOM_SHARE = 1 / 16;

/** Of the memory limit, what rows may hold that wait to be written: the rest is for tables, and for whoever writes a little meanwhile. */
const WAITING_SHARE = 1 / 4;

export type CommitOutcome = {
  readonly position: number;
  readonly instant: InstantMs;
  readonly work: number;
};
export type RunOutcome = {
  readonly id: string;
  readonly work: number;
  readonly queuedMs: number;
  readonly elapsedMs: number;
};
export type QueryRun = {
  readonly id: string;
  readonly finished: Promise<RunOutcome>;
  demand(): void;
  cancel(cause: DbError): void;
};
