import { assert, DbError } from '../base/errors.ts';
import type { InstantMs } from '../base/units.ts';
import type { InsertedRows } from '../columns/inserted-rows.ts';
import type { Batch } from '../columns/batch.ts';
import { withoutColumn, type LazyRows } from '../columns/lazy-rows.ts';
import { SEGMENT_ROWS } from '../columns/segment.ts';
import type { TableData, TableDelta, TableSchema, TableWrite } from '../columns/table-contract.ts';
import { isNumberKind } from '../columns/types.ts';
import { batchBytes } from '../columns/version-log.ts';
import { Budget } from '../operators/operator.ts';
import { sliceBatch } from '../columns/build.ts';
import { expanded } from './compact-rows.ts';
import type { JournalReader } from '../journal/backend.ts';
import type { StoredEntry } from './catalog.ts';
import type { MaintainedView } from './maintained-view.ts';
import type { CommitRecord, Operation } from './records.ts';

/**
 * The commit turn: validate → stage (tables, then the views downstream in dependency order, in place, with undo) → one
 * append → publish when the backend acknowledges. Invariants:
 *
 * 1. What throws while staging is undone whole, and nothing was appended.
 * 2. Commits are published in the order of their positions; undo goes newest first.
 * 3. A commit that does not fit a step claims its relations and the views downstream; commits that touch neither
 *    pass it, others queue behind. Positions are given at the append.
 * 4. Readers see published state only.
 * 5. A group (`CommitGroup`) that does not succeed as a whole is undone as a whole, and its requests are made one by one, in their order and
 *    before all that came after them: what each of them gets does not depend on the others.
 */
export class CommitTurn {
  readonly #state: CommitState;
  readonly #log: CommitLog;
  readonly #events: CommitEvents;
  /** Commits that are being staged over several steps. */
  readonly #stepped: StagingCommit[] = [];
  /** Commits that wait for a claim, in order of arrival. */
  readonly #waiting: CommitRequest[] = [];
  /** Of those that wait, the ones that were told to come again: until they do, what overlaps queues behind them. */
  readonly #granted = new Set<CommitRequest>();
  /** Cancelled after they were told to come again. */
  readonly #withdrawn = new WeakSet<CommitRequest>();
  /** Staged and appended, not yet acknowledged: oldest first. */
  readonly #unacknowledged: StagedCommit[] = [];
  #acknowledgedCount = 0;
  /** Somebody waits until the log is not behind any more. */
  #waitsForLog = false;
  #refusal: DbError | undefined;
  /** Nothing is taken in any more. */
  #closed: DbError | undefined;
  /** Relations that an unfinished stepped commit or DDL claims. */
  readonly #claimed = new Set<number>();

  constructor(state: CommitState, log: CommitLog, events: CommitEvents) {
    this.#state = state;
    this.#log = log;
    this.#events = events;
  }

  get queued(): number {
    return this.#waiting.length;
  }

  get stagedUnacknowledged(): number {
    return this.#unacknowledged.length;
  }

  /** Commits that were acknowledged since the beginning. */
  get acknowledgedCount(): number {
    return this.#acknowledgedCount;
  }

  /** What is staged and not acknowledged has changed, oldest first. */
  unacknowledgedDeltas(): readonly ReadonlyMap<number, readonly TableDelta[]>[] {
    return this.#unacknowledged.map(({ deltas }) => deltas);
  }

  /** Whether definitions are staged and not acknowledged: the catalog shows them, and readers should not see them yet. */
  get definesUnacknowledged(): boolean {
    return this.#unacknowledged.some(({ defines }) => defines);
  }

  /** Whether a commit that is on its way has altered or dropped the relation: a table that was made anew has no rows for readers yet. */
  redefines(relation: number): boolean {
    return (
      this.#unacknowledged.some(({ redefined }) => redefined.includes(relation)) ||
      this.#stepped.some(({ staged }) => staged.redefined.includes(relation))
    );
  }

  /** Whether definitions are staged and not acknowledged, or in a commit that is being staged over several steps. */
  get definesStaged(): boolean {
    return this.definesUnacknowledged || this.#stepped.some(({ staged }) => staged.defines);
  }

  /** Why the database refuses writes, once an append has failed. */
  get refusal(): DbError | undefined {
    return this.#refusal;
  }

  /** Takes a commit in. It runs at once as far as `budget` reaches; true: `step` must be called until it says no more. */
  submit(request: CommitRequest, budget: Budget): boolean {
    if (this.#withdrawn.delete(request)) return false;
    if (this.#closed !== undefined) {
      request.failed(this.#closed);
      return false;
    }
    // What is not journaled goes on: views that broke are made anew, queries are subscribed to.
    if (this.#refusal !== undefined && !request.ephemeral) {
      request.failed(this.#refusal);
      return false;
    }
    if (this.#granted.delete(request)) {
      this.#waiting.splice(this.#waiting.indexOf(request), 1);
    } else if (this.#mustWait(request)) {
      this.#waiting.push(request);
      return false;
    }
    return this.#begin(request, budget);
  }

  /** The journal is written again: what was refused is undone, and others may come. */
  resume(): void {
    if (this.#refusal?.code !== 'XX000') this.#refusal = undefined;
  }

  /** Takes nothing in any more, and takes back what is not in the journal yet; what is there will be acknowledged. */
  close(cause: DbError): void {
    this.#closed = cause;
    this.#granted.clear();
    for (const request of this.#waiting.splice(0)) request.failed(cause);
    for (const staging of this.#stepped.toReversed()) this.#abandon(staging, cause);
  }

  /** Goes on with the stepped commits, oldest first; true while there is more to do. */
  step(budget: Budget): boolean {
    const staging = this.#stepped[0];
    if (staging === undefined) return false;
    this.#advance(staging, budget, budget.remaining);
    return this.#stepped.length > 0;
  }

  /** Takes a commit back that waits or is being staged; false where it is too late. */
  cancel(request: CommitRequest, cause: DbError): boolean {
    const waiting = this.#waiting.findIndex((each) => isPartOf(request, each));
    if (waiting >= 0) {
      const whole = this.#waiting[waiting]!;
      if (whole.leave?.(request) !== true) {
        this.#waiting.splice(waiting, 1);
        if (this.#granted.delete(whole)) this.#withdrawn.add(whole);
      }
      request.failed(cause);
      this.#retry();
      return true;
    }
    const staging = this.#stepped.find((each) => isPartOf(request, each.request));
    if (staging === undefined) return false;
    if (staging.request.leave?.(request) === true) request.failed(cause);
    this.#abandon(staging, cause);
    return true;
  }

  /**
   * Applies a record of the journal to the state: the same staging without limits, published at once. A table that cannot take
   * it breaks, and is made anew by its actor; the rest of the record, and of the journal, is applied.
   */
  replay(record: CommitRecord, position: number, instantMs?: number): void {
    for (;;) {
      const staged = new StagedCommit(undefined);
      const operations = this.#state.replayed(expanded(record).operations, position);
      const budget = new Budget(Infinity);
      try {
        for (const _ of stage(this.#state, staged, operations, { limits: false }, budget))
          budget.refill(Infinity);
      } catch (cause) {
        this.#undo(staged);
        if (!(cause instanceof TableBroke)) throw cause;
        this.#state.broke(cause.relation, cause.cause);
        continue;
      }
      this.#publish(staged, position);
      if (instantMs !== undefined) this.#state.arrived(staged.deltas, instantMs);
      return;
    }
  }

  /** The commit of several steps that has the relation in hand: what it changes was decided when it began. */
  steppingOn(relation: number): object | undefined {
    if (!this.#claimed.has(relation)) return undefined;
    return this.#stepped.find(({ claims }) => claims.includes(relation));
  }

  /** Whether something of the relation is staged and not published, or about to be. */
  isBusyWith(relation: number): boolean {
    return this.#claimed.has(relation) || this.#unacknowledged.length > 0;
  }

  #begin(request: CommitRequest, budget: Budget): boolean {
    let prepared: Iterable<Operation>;
    try {
      prepared = request.prepare();
    } catch (cause) {
      request.failed(cause);
      this.#retry();
      return false;
    }
    const staged = new StagedCommit(request);
    const own = new Budget(0);
    // Most commits are a list, which is the record as it stands.
    const operations = Array.isArray(prepared) ? (prepared as Operation[]) : [];
    const source = operations === prepared ? operations : taken(prepared, operations);
    const steps = stage(this.#state, staged, source, LIMITED, own);
    const staging = { request, operations, staged, budget: own, steps, claims: [] };
    return this.#advance(staging, budget, budget.remaining * STEPS_AT_ONCE);
  }

  /** One step of a commit, of so many units, charged to `budget`; true while there are commits to step. */
  #advance(staging: StagingCommit, budget: Budget, units: number): boolean {
    const spentBefore = staging.budget.spent;
    staging.budget.refill(units);
    let done: boolean;
    try {
      done = staging.steps.next().done === true;
    } catch (cause) {
      this.#abandon(staging, cause);
      return this.#stepped.length > 0;
    } finally {
      budget.charge(staging.budget.spent - spentBefore);
    }
    if (done) this.#finish(staging);
    else if (!this.#stepped.includes(staging)) this.#claim(staging);
    return this.#stepped.length > 0;
  }

  #claim(staging: StagingCommit): void {
    this.#stepped.push(staging);
    const written = [...staging.request.relations, ...staging.operations.flatMap(relationsOf)];
    for (const relation of this.#reachOf(written)) {
      if (this.#claimed.has(relation)) continue;
      this.#claimed.add(relation);
      staging.claims.push(relation);
    }
  }

  #finish(staging: StagingCommit): void {
    this.#leave(staging);
    const { staged } = staging;
    staged.work = staging.budget.spent;
    const instant = this.#state.nextInstant();
    const { operations } = staging;
    const record: CommitRecord = {
      kind: 'commit',
      operations:
        staged.unjournaled.size === 0
          ? operations
          : operations.filter((each) => !staged.unjournaled.has(each)),
    };
    if (staging.request.ephemeral) {
      const position = this.#events.visiblePosition();
      this.#publish(staged, position);
      staging.request.committed(position, this.#state.nextInstant(), staged.work);
      this.#events.unstaged();
      this.#retry();
      return;
    }
    this.#unacknowledged.push(staged);
    const outcome: AppendOutcome = {
      acknowledged: (position) => this.#guarded(() => this.#acknowledge(staged, position, instant)),
      failed: (cause) => this.#guarded(() => this.#refuse(cause)),
      refused: (cause) => this.#takeBack(staged, cause),
    };
    this.#log.append(record, instant, outcome, staged.kept);
    this.#retry();
  }

  /** The journal did not take a commit in: it is the newest that is staged, and the only one concerned. */
  #takeBack(staged: StagedCommit, cause: unknown): void {
    if (this.#refusal !== undefined) return;
    assert(this.#unacknowledged.at(-1) === staged, 'an append is refused while it is made');
    this.#unacknowledged.pop();
    this.#undo(staged);
    this.#failed(staged.request, cause);
    this.#events.unstaged();
  }

  /** A table or view that breaks at it is made anew, this commit included: it is in the journal. */
  #publish(staged: StagedCommit, position: number): void {
    for (const { owner, cause } of staged.publish(position)) this.#state.broke(owner, cause);
  }

  #undo(staged: StagedCommit): void {
    for (const { owner, cause } of staged.undo()) this.#state.broke(owner, cause);
    this.#state.undone();
  }

  #acknowledge(staged: StagedCommit, position: number, instant: InstantMs): void {
    if (this.#refusal !== undefined) return;
    assert(
      this.#unacknowledged[0] === staged,
      'commits are acknowledged in the order of their positions',
    );
    this.#publish(staged, position);
    this.#state.arrived(staged.deltas, instant);
    this.#unacknowledged.shift();
    this.#acknowledgedCount += 1;
    this.#events.published(position, instant, staged);
    staged.request?.committed(position, instant, staged.work);
    if (
      this.#waitsForLog ? this.#log.isBehind !== true : this.#waiting.some(({ settled }) => settled)
    )
      this.#retry();
  }

  /** An append failed: everything not acknowledged is undone newest first, and writes are refused from now on. */
  #refuse(cause: unknown): void {
    if (this.#refusal !== undefined) return;
    this.#refusal =
      cause instanceof DbError && cause.code === '53100'
        ? cause
        : new DbError('58030', 'the journal cannot be written: writes are refused', {
            cause,
            detail: cause instanceof DbError ? cause.message : undefined,
            hint: 'Reads go on. Mend the journal (permissions, hardware) and open the database again; commits that were on their way may be there then, or not.',
          });
    this.#granted.clear();
    for (const request of this.#waiting.splice(0)) request.failed(this.#refusal);
    // What is being staged stands on what was not acknowledged.
    for (const staging of this.#stepped.toReversed()) this.#abandon(staging, this.#refusal);
    for (const staged of this.#unacknowledged.toReversed()) {
      this.#undo(staged);
      staged.request?.failed(this.#refusal);
    }
    this.#unacknowledged.length = 0;
    this.#events.refused(this.#refusal);
  }

  /** Publishing and undoing do not fail; if they do, the state beside what is published is not to be trusted any more. */
  #guarded(action: () => void): void {
    try {
      action();
    } catch (cause) {
      this.broke(cause);
    }
  }

  /** Our fault: what is published is read on, nothing is written any more. */
  broke(cause: unknown): void {
    if (this.#refusal?.code === 'XX000') return;
    this.#refusal = new DbError('XX000', 'a commit broke half-way: writes are refused', {
      cause,
      hint: 'This is an error of AnalyticDB: please report it. Reads go on; open the database again to write.',
    });
    const requests = [
      ...this.#waiting.splice(0),
      ...this.#stepped.splice(0).map(({ request }) => request),
      ...this.#unacknowledged.splice(0).flatMap(({ request }) => request ?? []),
    ];
    this.#granted.clear();
    this.#claimed.clear();
    for (const request of requests) request.failed(this.#refusal);
    this.#events.refused(this.#refusal);
  }

  #abandon(staging: StagingCommit, cause: unknown): void {
    // What is half done undoes itself, then what was done whole is undone.
    staging.steps.return(undefined);
    this.#undo(staging.staged);
    this.#leave(staging);
    if (cause instanceof TableBroke) this.#state.broke(cause.relation, cause.cause);
    this.#failed(staging.request, cause instanceof TableBroke ? cause.told() : cause);
    this.#events.unstaged();
    this.#retry();
  }

  /** Those of a group come once more, each for itself, as soon as somebody calls `#retry`. Who is left of one alone has his answer. */
  #failed(request: CommitRequest | undefined, cause: unknown): void {
    const members = request?.members;
    const comesAgain = this.#refusal === undefined && this.#closed === undefined;
    if (members === undefined || members.length === 1 || !comesAgain) request?.failed(cause);
    else this.#waiting.unshift(...members);
  }

  #leave(staging: StagingCommit): void {
    const index = this.#stepped.indexOf(staging);
    if (index >= 0) this.#stepped.splice(index, 1);
    for (const relation of staging.claims) this.#claimed.delete(relation);
  }

  /** Tells those to come again that need not wait any more, in one pass over all that wait. */
  #retry(): void {
    this.#waitsForLog = false;
    if (this.#waiting.length === 0) return;
    const earlier = new Set<number>();
    // Those who wait for one claim mostly write one relation.
    const reaches = new Map<string, ReadonlySet<number>>();
    for (const request of this.#waiting) {
      const key = request.relations.join();
      const reach = reaches.get(key) ?? this.#reachOf(request.relations);
      reaches.set(key, reach);
      if (!this.#granted.has(request) && !this.#isBlocked(request, reach, earlier)) {
        this.#granted.add(request);
        this.#events.resubmit(request);
      }
      for (const relation of reach) earlier.add(relation);
    }
  }

  #mustWait(request: CommitRequest): boolean {
    const settles = request.settled && this.#unacknowledged.length > 0;
    const isBehind = this.#log.isBehind === true;
    if (this.#claimed.size === 0 && this.#waiting.length === 0 && !settles && !isBehind)
      return false;
    const earlier = new Set(this.#waiting.flatMap(({ relations }) => relations));
    for (const relation of earlier)
      for (const view of this.#state.viewsOn(relation)) earlier.add(view.relation);
    return this.#isBlocked(request, this.#reachOf(request.relations), earlier);
  }

  /**
   * Whether the request touches what is claimed, or what an earlier one waits for (so that nobody starves); or, for one
   * that is made of published rows, what is staged and not acknowledged; or the log is behind.
   */
  #isBlocked(
    request: CommitRequest,
    reach: ReadonlySet<number>,
    earlier: ReadonlySet<number>,
  ): boolean {
    if (this.#log.isBehind === true && !request.ephemeral) {
      this.#waitsForLog = true;
      return true;
    }
    for (const relation of reach)
      if (this.#claimed.has(relation) || earlier.has(relation)) return true;
    return request.settled && this.#unacknowledged.some((staged) => staged.touches(reach));
  }

  /** The relations and every view downstream of them. */
  #reachOf(relations: readonly number[]): Set<number> {
    const reach = new Set(relations);
    for (const relation of reach)
      for (const view of this.#state.viewsOn(relation)) reach.add(view.relation);
    return reach;
  }
}

/**
 * A commit that ends within so many steps runs in one, three quarters of what law 5 aims at: to put a commit of a hundred rows aside, and to
 * turn away whoever comes meanwhile, costs more than to end it.
 */
const STEPS_AT_ONCE = 3;

/** What the commit turn changes: implemented by the database state. */
export interface CommitState {
  stored(relation: number): StoredEntry;
  /** Whether nothing of the relation is in the journal. */
  isUnjournaled(relation: number): boolean;
  /** Live commit views that read the relation directly. */
  viewsOn(relation: number): readonly MaintainedView[];
  /** Of the views downstream of `changed`, directly or not, those to be run, each after all it reads. */
  viewsInOrder(changed: Iterable<number>): readonly MaintainedView[];
  /** Applies an operation that is no row change; returns what undoes it and, where the old state must be freed later, what does. */
  applyDefinition(
    operation: Exclude<Operation, { op: 'rows' }>,
    options: { readonly limits: boolean },
  ): Generator<void, AppliedDefinition>;
  /** Rows of a commit have been published at an instant. */
  arrived(deltas: ReadonlyMap<number, readonly TableDelta[]>, instantMs: number): void;
  /** TRUNCATE: what was demoted of the table's rows goes with those that are left. */
  truncated(relation: number): AppliedDefinition | undefined;
  /** Throws 53200 where the memory that is left is for deleting. */
  assertRoomToGrow(): void;
  /** The instant of the next commit: max(the one before, the clock). */
  nextInstant(): InstantMs;
  /** A commit view broke: it leaves the commit path and is rebuilt. */
  viewFailed(view: MaintainedView, cause: unknown): void;
  /** State of a table or view surprised us: it serves nothing (a view: what it had) until it was made anew. */
  broke(owner: PartOwner, cause: unknown): void;
  /** A commit, or a part of it, was undone: what has broken stays broken. */
  undone(): void;
  /** Of a record that is replayed, what is to be done. */
  replayed(operations: readonly Operation[], position: number): readonly Operation[];
}

/** Whose state a part of a commit is: a table by its id. */
export type PartOwner = number | MaintainedView;

export type AppliedDefinition = {
  readonly undo: () => void;
  /** The rows of a table that was written anew, old ones and new ones: for the views on it. To be closed. */
  readonly rewritten?: { readonly deleted: LazyRows; readonly inserted: LazyRows } | undefined;
  /** The place of a column that a table has lost. */
  readonly dropped?: number | undefined;
  /** Frees what the change left behind, once it cannot be undone any more. */
  readonly published?: (position: number) => void;
};

export interface CommitLog {
  /** Gives back what it holds; nothing is appended afterwards. */
  close?(): void | Promise<void>;
  /** Commits should wait until some of what was appended is acknowledged. */
  readonly isBehind?: boolean;
  /** After an append has failed: whether there can be others. What has failed is gone for good then. */
  mend?(): Promise<boolean>;
  /** `kept`: rows of large writes as the tables hold them anyway. */
  append(record: CommitRecord, instant: InstantMs, outcome: AppendOutcome, kept?: KeptRows): void;
  /** Acknowledged records from a position on; absent where they cannot be had again. */
  read?(from: number): JournalReader;
  /** The oldest position that can be read. */
  readonly first?: number;
  /** Of records appended since it was opened, and of those that are kept. */
  readonly appendedBytes?: number;
  readonly keepBytes?: number;
  /** Of the room that is set aside for it in the database's memory, what no record takes yet. */
  readonly emptyBytes?: () => number;
  /** The oldest records go whoever may still need them. */
  readonly forgets?: boolean;
}

/** By write, from its first row on. */
export type KeptRows = ReadonlyMap<TableWrite, KeptWrite>;

export type KeptWrite = {
  readonly rows: readonly InsertedRows[];
  /** Of what is written: counted while it is staged, a step at a time. */
  readonly heapBytes: number;
};

export type AppendOutcome = {
  acknowledged(position: number): void;
  /** It is not in the journal, nor is anything appended after it, and nothing will be. */
  failed(cause: unknown): void;
  /** From within `append`: there was no room for it. The journal is as it was. */
  refused(cause: unknown): void;
};

export interface CommitEvents {
  visiblePosition(): number;
  /** The visible position has moved. */
  published(position: number, instant: InstantMs, commit: PublishedCommit): void;
  refused(cause: DbError): void;
  /** Something that was on its way is so no more, and no position tells of it: it was undone, or is of derived state only. */
  unstaged(): void;
  /** A request that waited can begin: submit it again in a turn of its own. */
  resubmit(request: CommitRequest): void;
}

/** What a commit has changed. */
export type PublishedCommit = {
  /** By relation, views included. */
  readonly deltas: ReadonlyMap<number, readonly TableDelta[]>;
  /** Tables whose definition it changed. */
  readonly defined: readonly number[];
  /** Relations that were dropped, and tables that were altered: who follows them looks again. */
  readonly redefined: readonly number[];
};

export type CommitRequest = {
  readonly tenant: string;
  /** Nothing of it is journaled: it changes derived state only, at the position that is visible now. */
  readonly ephemeral: boolean;
  /** It is made of published rows: it waits until nothing of its relations is staged and not acknowledged. */
  readonly settled: boolean;
  /** Relations it writes. */
  readonly relations: readonly number[];
  /**
   * Validates against the newest staged state and gives the operations, each asked for when those before it are staged; throws
   * to refuse.
   */
  prepare(): Iterable<Operation>;
  committed(position: number, instant: InstantMs, work: number): void;
  failed(cause: unknown): void;
  /** The requests of a group: see `CommitGroup`. */
  readonly members?: readonly CommitRequest[] | undefined;
  /** Of a group: takes one of its requests out, unless that is its last. */
  leave?(member: CommitRequest): boolean;
};

function isPartOf(request: CommitRequest, whole: CommitRequest): boolean {
  return whole === request || whole.members?.includes(request) === true;
}

type StagingCommit = {
  readonly request: CommitRequest;
  readonly operations: readonly Operation[];
  readonly staged: StagedCommit;
  /** Its own ledger, refilled by each step with what the step may spend. */
  readonly budget: Budget;
  readonly steps: Generator<void>;
  readonly claims: number[];
};

/** What a commit has done so far: enough to undo it, to publish it, and to tell what changed. */
class StagedCommit implements PublishedCommit {
  readonly deltas = new Map<number, TableDelta[]>();
  readonly defined: number[] = [];
  readonly redefined: number[] = [];
  /** Operations on what the journal has never heard of: it would not find that when it is replayed. */
  readonly unjournaled = new Set<Operation>();
  readonly request: CommitRequest | undefined;
  work = 0;
  /** The catalog has changed. */
  defines = false;
  /** In the order of staging; a table staged n times is published n times. */
  readonly #parts: StagedPart[] = [];
  #kept: Map<TableWrite, KeptWrite & { readonly rows: InsertedRows[] }> | undefined;
  /** `deltas`, and tables that were written anew, if some were. */
  #forViews: Map<number, TableDelta[]> | undefined;
  /** Whose they are; undefined: definitions, which nothing can be made anew from. */
  readonly #owners: (PartOwner | undefined)[] = [];

  /** Replay has no request. */
  constructor(request: CommitRequest | undefined) {
    this.request = request;
  }

  note(part: StagedPart, owner: PartOwner | undefined): void {
    this.#parts.push(part);
    this.#owners.push(owner);
  }

  /** Whether it changed one of these relations. A table that was written anew has no delta. */
  touches(relations: ReadonlySet<number>): boolean {
    for (const relation of this.deltas.keys()) if (relations.has(relation)) return true;
    return [...this.defined, ...this.redefined].some((relation) => relations.has(relation));
  }

  get kept(): KeptRows | undefined {
    return this.#kept;
  }

  keeps(write: TableWrite, rows: InsertedRows): void {
    this.#kept ??= new Map();
    const kept = this.#kept.get(write);
    if (kept !== undefined) kept.rows.push(rows);
    else if (write.kind === 'insert')
      this.#kept.set(write, { rows: [rows], heapBytes: batchBytes(write.rows) });
  }

  addDelta(relation: number, delta: TableDelta): void {
    if (delta.deleted === undefined && delta.inserted === undefined) return;
    addTo(this.deltas, relation, delta);
    if (this.#forViews !== undefined) addTo(this.#forViews, relation, delta);
  }

  /** Changes that came before are told to views that know the table without the column. */
  columnDropped(relation: number, index: number): void {
    const before = this.changes.get(relation);
    if (before === undefined) return;
    const without = (batch: Batch | undefined): Batch | undefined =>
      batch === undefined ? undefined : withoutColumn(batch, index);
    this.#forViews ??= new Map([...this.deltas].map(([id, deltas]) => [id, [...deltas]]));
    this.#forViews.set(
      relation,
      before.map(({ deleted, inserted }) => ({
        deleted: without(deleted),
        inserted: without(inserted),
      })),
    );
  }

  /** All rows of a table have others in their place: its views follow; who follows the table begins anew, as with other definitions. */
  addRewrite(relation: number, rows: NonNullable<AppliedDefinition['rewritten']>): void {
    this.#forViews ??= new Map([...this.deltas].map(([id, deltas]) => [id, [...deltas]]));
    addTo(this.#forViews, relation, rows);
    const close = (): void => {
      rows.deleted.close();
      rows.inserted.close();
    };
    this.note({ undo: close, publish: close }, undefined);
  }

  /** What views are to follow. */
  get changes(): ReadonlyMap<number, readonly TableDelta[]> {
    return this.#forViews ?? this.deltas;
  }

  /** Those that broke at it: theirs is not undone, all else is. */
  undo(): readonly Breakage[] {
    let broken: Breakage[] | undefined;
    for (let part = this.#parts.pop(); part !== undefined; part = this.#parts.pop()) {
      const owner = this.#owners.pop();
      try {
        part.undo();
      } catch (cause) {
        if (owner === undefined) throw cause;
        (broken ??= []).push({ owner, cause });
      }
    }
    this.deltas.clear();
    return broken ?? NONE_BROKEN;
  }

  publish(position: number): readonly Breakage[] {
    let broken: Breakage[] | undefined;
    for (let index = 0; index < this.#parts.length; index += 1) {
      try {
        this.#parts[index]!.publish(position);
      } catch (cause) {
        const owner = this.#owners[index];
        if (owner === undefined) throw cause;
        (broken ??= []).push({ owner, cause });
      }
    }
    return broken ?? NONE_BROKEN;
  }
}

function addTo(deltas: Map<number, TableDelta[]>, relation: number, delta: TableDelta): void {
  const known = deltas.get(relation);
  if (known === undefined) deltas.set(relation, [delta]);
  else known.push(delta);
}

type Breakage = { readonly owner: PartOwner; readonly cause: unknown };
const NONE_BROKEN: readonly Breakage[] = [];

/** A table threw what is no refusal: the commit is undone, and the table made anew. */
class TableBroke extends Error {
  readonly relation: number;
  readonly table: string;

  constructor(relation: number, table: string, cause: unknown) {
    super(`table ${table} broke`, { cause });
    this.relation = relation;
    this.table = table;
  }

  told(): DbError {
    return new DbError('XX000', `table "${this.table}" broke at this change: nothing was written`, {
      table: this.table,
      cause: this.cause,
      hint: 'This is an error of AnalyticDB: please report it. The table is being made anew from the journal; everything else goes on.',
    });
  }
}

/** One table's share of a record, staged and published: how a table is made anew from the journal. */
export function* replayInto(
  state: CommitState,
  operations: readonly Operation[],
  position: number,
  budget: Budget,
): Generator<void, void> {
  const staged = new StagedCommit(undefined);
  yield* stage(state, staged, operations, { limits: false }, budget);
  for (const { cause } of staged.publish(position)) throw cause;
}

/** Something a commit has staged: a table, a view, a definition. */
/** Work units of rows that a table, or a view's, has taken and given. */
export function workOfStaged({ inserted, deleted }: TableDelta, columnCount: number): number {
  const rowCount = (inserted?.rowCount ?? 0) + (deleted?.rowCount ?? 0);
  return rowCount * (WORK_PER_STAGED_ROW + WORK_PER_STAGED_VALUE * columnCount);
}

type StagedPart = { undo(): void; publish(position: number): void };

/** Rows that a table takes in one slice of a stepped commit: of eight columns, two of them texts, that is half a millisecond. */
const STAGE_ROW_COUNT_MAX = 1024;
/**
 * The same where a row is so many numbers at most: of seven columns that is 0.2 ms of rows that arrive, and three quarters of one of rows that get new
 * values, of which most is spent once a slice and segment.
 */
const STAGE_NUMBERS_ROW_COUNT_MAX = 2048;
const STAGE_NUMBERS_COLUMNS_MAX = 8;
/** Work units of a staged row and of each of its values: what its indexes and columns cost, counted alike for every type. */
const WORK_PER_STAGED_ROW = 8;
const WORK_PER_STAGED_VALUE = 4;

/** What a definition does in one step, as thousands of rows that go into an index. */
const WORK_PER_DEFINITION_STEP = 16_384;

/** The same steps, each of which is work: without, as many were taken at once as there is room for messages. */
function* charged<Result>(steps: Generator<void, Result>, budget: Budget): Generator<void, Result> {
  try {
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
      budget.charge(WORK_PER_DEFINITION_STEP);
      yield;
    }
  } finally {
    steps.return(undefined as Result);
  }
}

/** Stages operations, then the views downstream; yields where the budget is used up. */
function* stage(
  state: CommitState,
  staged: StagedCommit,
  operations: Iterable<Operation>,
  options: { readonly limits: boolean },
  budget: Budget,
): Generator<void> {
  let areTold = false;
  for (const operation of operations) {
    if (operation.op !== 'rows') {
      // It is filled with everything staged before it, views included, and stands last.
      if (operation.op === 'createMaterializedView' && !areTold) {
        areTold = true;
        yield* stageViews(state, staged, budget);
      }
      if (operation.op === 'dropRelation' && state.isUnjournaled(operation.relation))
        staged.unjournaled.add(operation);
      const applied = yield* charged(state.applyDefinition(operation, options), budget);
      staged.note(
        { undo: applied.undo, publish: (position) => applied.published?.(position) },
        undefined,
      );
      if (applied.dropped !== undefined)
        for (const relation of relationsOf(operation))
          staged.columnDropped(relation, applied.dropped);
      if (applied.rewritten !== undefined)
        for (const relation of relationsOf(operation))
          staged.addRewrite(relation, applied.rewritten);
      staged.defines ||= !KEEPS_CATALOG.has(operation.op);
      if (operation.op === 'alterTable') staged.redefined.push(operation.table.id);
      if (operation.op === 'dropRelation') staged.redefined.push(operation.relation);
      else if (!KEEPS_ROWS.has(operation.op)) staged.defined.push(...relationsOf(operation));
      budget.charge(100);
      continue;
    }
    assert(!areTold, 'views are made behind the rows of their commit');
    const { data, definition } = state.stored(operation.relation);
    for (const { writes, whole } of slicesOf(operation.writes, data)) {
      if (budget.exhausted) yield;
      let delta: TableDelta;
      try {
        if (options.limits && grows(writes)) state.assertRoomToGrow();
        delta = data.stage(writes, options);
      } catch (cause) {
        if (!(cause instanceof DbError))
          throw new TableBroke(operation.relation, definition.name, cause);
        throw inTable(cause, definition.name);
      }
      staged.note(data, operation.relation);
      staged.addDelta(operation.relation, delta);
      if (writes.some(({ kind }) => kind === 'truncate')) {
        const emptied = state.truncated(operation.relation);
        if (emptied !== undefined)
          staged.note(
            { undo: emptied.undo, publish: (position) => emptied.published?.(position) },
            undefined,
          );
      }
      if (delta.kept !== undefined && whole !== undefined) staged.keeps(whole, delta.kept);
      budget.charge(1 + workOfStaged(delta, data.schema.columns.length));
    }
  }
  if (!areTold) yield* stageViews(state, staged, budget);
}

/** Tells the views downstream of what is staged, in dependency order. */
function* stageViews(state: CommitState, staged: StagedCommit, budget: Budget): Generator<void> {
  if (staged.changes.size === 0) return;
  for (const view of state.viewsInOrder(staged.changes.keys())) {
    // One that it reads has just broken, and took it along.
    if (!view.inCommit) continue;
    let whole = false;
    try {
      whole = !view.push(staged.changes);
      if (whole) continue;
      while (!view.run(budget)) yield;
      whole = true;
    } catch (cause) {
      if (cause instanceof DbError) throw cause;
      // Our fault, not the writer's: the commit goes on, the view serves what it had and is rebuilt aside.
      state.viewFailed(view, cause);
      continue;
    } finally {
      // Also where the commit is taken back between two steps.
      if (!whole) undoView(state, view);
    }
    staged.note(view, view);
    for (const delta of view.stagedDeltas) staged.addDelta(view.relation, delta);
  }
}

const KEEPS_CATALOG: ReadonlySet<Operation['op']> = new Set([
  'sequenceValue',
  'keyedWrite',
  'compact',
  'keepTiles',
]);

/** Of what is said of a table, what a table that is made anew need not know. */
const KEEPS_ROWS: ReadonlySet<Operation['op']> = new Set(['setPolicy', 'keepTiles']);

function undoView(state: CommitState, view: MaintainedView): void {
  try {
    view.undo();
  } catch (cause) {
    // It serves what is published, and is built anew aside.
    state.broke(view, cause);
  }
}

const LIMITED = { limits: true } as const;

/** The same operations, noted as they are taken: the record is made of them. */
function* taken(operations: Iterable<Operation>, notes: Operation[]): Generator<Operation> {
  for (const operation of operations) {
    notes.push(operation);
    yield operation;
  }
}

/** A table does not know its name, which may change: a refusal learns it here. */
function inTable(cause: unknown, table: string): unknown {
  if (!(cause instanceof DbError) || cause.table !== undefined) return cause;
  return new DbError(cause.code, cause.message, { ...cause, table, cause: cause.cause });
}

/** A table's writes in slices that fit a step; small writes stay together, so that swaps of unique keys work. */
function slicesOf(writes: readonly TableWrite[], data: TableData): Iterable<WriteSlice> {
  let total = 0;
  for (const write of writes) total += rowCountOf(write);
  return total <= STAGE_ROW_COUNT_MAX
    ? [{ writes, whole: writes.length === 1 ? writes[0] : undefined }]
    : cutUp(writes, data);
}

function* cutUp(writes: readonly TableWrite[], data: TableData): Generator<WriteSlice> {
  const ofFew = areFewNumbers(data.schema);
  for (const write of writes) {
    const rowCount = rowCountOf(write);
    for (let start = 0, size = 0; start < rowCount || start === 0; start += size) {
      size =
        ofFew && staysInSegment(write, data) ? STAGE_NUMBERS_ROW_COUNT_MAX : STAGE_ROW_COUNT_MAX;
      const end = Math.min(rowCount, start + size);
      const isWhole = start === 0 && end === rowCount;
      yield { writes: [isWhole ? write : sliceOf(write, start, end)], whole: write };
    }
  }
}

function areFewNumbers({ columns }: TableSchema): boolean {
  return (
    columns.length <= STAGE_NUMBERS_COLUMNS_MAX &&
    columns.every(({ type }) => isNumberKind(type.kind))
  );
}

/**
 * Whether it makes no difference to row ids, which later records name, in how many slices the next rows are staged: an update leaves rows of the
 * open segment where they are, and which segment that is changes when one is full.
 */
function staysInSegment(write: TableWrite, { nextRowId }: TableData): boolean {
  return (
    write.kind !== 'update' ||
    (nextRowId % SEGMENT_ROWS) + STAGE_NUMBERS_ROW_COUNT_MAX < SEGMENT_ROWS
  );
}

type WriteSlice = {
  readonly writes: readonly TableWrite[];
  /** The write that the slice is of, where it is of one. */
  readonly whole: TableWrite | undefined;
};

function sliceOf(write: TableWrite, start: number, end: number): TableWrite {
  switch (write.kind) {
    case 'insert':
      return { kind: 'insert', rows: sliceBatch(write.rows, start, end) };
    case 'delete':
      return { kind: 'delete', rowIds: write.rowIds.subarray(start, end) };
    case 'update':
      return {
        kind: 'update',
        rowIds: write.rowIds.subarray(start, end),
        rows: sliceBatch(write.rows, start, end),
        foundBy: write.foundBy,
      };
    case 'truncate':
      return write;
  }
}

function grows(writes: readonly TableWrite[]): boolean {
  return writes.some(({ kind }) => kind === 'insert' || kind === 'update');
}

function rowCountOf(write: TableWrite): number {
  switch (write.kind) {
    case 'insert':
    case 'update':
      return write.rows.rowCount;
    case 'delete':
      return write.rowIds.length;
    case 'truncate':
      return 1;
  }
}

/** What a table that is made anew does once more. */
export function isTableWork(operation: Operation): boolean {
  switch (operation.op) {
    case 'rows':
    case 'createTable':
    case 'alterTable':
    case 'addIndex':
    case 'dropIndex':
    case 'compact':
      return true;
    default:
      return false;
  }
}

export function relationsOf(operation: Operation): readonly number[] {
  switch (operation.op) {
    case 'rows':
    case 'dropRelation':
    case 'renameRelation':
    case 'addIndex':
    case 'dropIndex':
    case 'alterMaterializedView':
    case 'grant':
    case 'compact':
    case 'setPolicy':
    case 'keepTiles':
      return [operation.relation];
    case 'createTable':
    case 'alterTable':
      return [operation.table.id];
    case 'createView':
    case 'createMaterializedView':
      return [operation.view.id];
    default:
      return [];
  }
}
