import { DbError, notSupported } from '../base/errors.ts';
import { tenantId } from '../base/units.ts';
import type { Batch } from '../columns/batch.ts';
import { datumAt, vectorFromData } from '../columns/build.ts';
import type { TableSnapshot } from '../columns/table-contract.ts';
import type { Clock, TimerHandle } from '../base/ports.ts';
import type { ActorRef } from '../mailbox/actor.ts';
import { buildOperator, isOrderFreeAggregate } from '../operators/build.ts';
import type { ExecutionEnvironment } from '../operators/environment.ts';
import type { Budget, Operator } from '../operators/operator.ts';
import { BatchesOperator } from '../operators/row-operators.ts';
import type { AggregateNode, OutputColumn, PlanNode } from '../plan/logical.ts';
import { inputsOf } from '../plan/nodes.ts';
import type { Look, LookCell, ProgressiveRun } from '../progressive/run.ts';
import { shapeOf, shownAggregation, type SampledShape, type Shape } from '../progressive/shape.ts';
import { boundsOf, nearestDoubles } from '../progressive/doubles.ts';
import { isEstimated, isNumeric, outputsOf } from '../progressive/outputs.ts';
import type {
  EstimatedValue,
  ProgressiveEvent,
  ProgressiveOptions,
  ProgressiveStop,
  AnswerSource,
  Cancelable,
} from './api-types.ts';
import { checkNames, checkQueryOptions, namesOf, QUERY } from './check-options.ts';
import { canceled, closedError, deadline } from './deadline.ts';
import type { Engine } from './engine.ts';
import type { ProgressiveState } from './lifecycles.ts';
import {
  progressiveActor,
  SHOWN_WORK,
  type ProgressiveEnd,
  type ProgressiveMessage,
  type ProgressiveSource,
} from './progressive-actor.ts';
import { RowWriter, type ResultRow, type ValueOptions } from './rows-out.ts';
import type { Session } from './session.ts';
import { isSystemRelation } from './system-relations.ts';
import { boundOf, parametersOf, provenance, QUERY_HINT, rowsPosition } from './statements.ts';

/** Somebody looks: what cannot be told yet is said by then. */
const FIRST_EVENT_MS = 200;
const NOT_READ = 'nothing was read yet: others are being answered, or what it joins is read first';
/** Rows made for JavaScript between two looks at the budget. */
const SHOWN_ROWS = 128;
/** What nobody goes on with is given up, with the rows it holds on to. */
const IDLE_MS = 60_000;
/** How long a mark waits for segments that are being sealed again. */
const SEAL_WAIT_MS = 20;
const SEAL_WAITS_MAX = 1500;
const CONFIDENCE = 0.95;

/**
 * A progressive answer: the newest state for whoever iterates, and what steers it. It runs whether or not it is read; leaving a loop before
 * its end cancels.
 */
export class ProgressiveQuery<Keys = ResultRow, Values = object>
  implements AsyncIterable<ProgressiveEvent<Keys, Values>>, AsyncDisposable
{
  readonly queryId: string;
  readonly #state: Answer;

  constructor(state: Answer) {
    this.#state = state;
    this.queryId = state.id;
  }

  /** Keeps what it has and reads no more until `resume`. */
  async pause(): Promise<void> {
    this.#state.tell({ kind: 'pause' });
  }

  async resume(): Promise<void> {
    this.#state.tell({ kind: 'resume' });
  }

  /** Goes on, or on for longer, until the rule is met. */
  async refineTo(stop: ProgressiveStop): Promise<void> {
    this.#state.refineTo(checkedStop(stop));
  }

  /** Ends it; what it had stays valid, and is told once more as the final state. */
  async cancel(): Promise<void> {
    this.#state.cancel();
    await this.#state.untilOver();
  }

  /** The final state, once there is one. */
  result(): Promise<ProgressiveEvent<Keys, Values>> {
    return this.#state.untilFinal() as Promise<ProgressiveEvent<Keys, Values>>;
  }

  [Symbol.asyncIterator](): AsyncIterator<ProgressiveEvent<Keys, Values>> {
    return this.#state.iterate({ leavingCancels: true }) as AsyncIterator<
      ProgressiveEvent<Keys, Values>
    >;
  }

  /** The same events, for somebody who only looks: leaving changes nothing. */
  watch(): AsyncIterable<ProgressiveEvent<Keys, Values>> {
    const iterate = (): AsyncIterator<ProgressiveEvent> =>
      this.#state.iterate({ leavingCancels: false });
    return { [Symbol.asyncIterator]: iterate } as AsyncIterable<ProgressiveEvent<Keys, Values>>;
  }

  /** @internal Others have stopped since, too many to keep the rows of all. */
  giveUp(): void {
    this.#state.giveUp('too many other answers have stopped since');
  }

  async close(): Promise<void> {
    if (this.#state.isOver) return;
    await this.cancel();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Begins to answer a query. Errors of the query itself are thrown where it is iterated or awaited. */
export function openProgressive(
  engine: Engine,
  session: Session,
  text: string,
  params: readonly unknown[],
  options: ProgressiveOptions,
  values: ValueOptions,
): ProgressiveQuery {
  const { confidence = CONFIDENCE, simultaneous = false, stop = 'exact', resume } = options;
  const answer = new Answer(engine, session, {
    text,
    params,
    options,
    values,
    confidence,
    simultaneous,
    stop: checkedStop(stop),
    resume: resume === undefined ? undefined : checkedToken(resume),
  });
  const query = new ProgressiveQuery(answer);
  engine.answers.set(query.queryId, query);
  return query;
}

/** 22023, and `field` names the option that makes no sense. */
export function checkProgressiveOptions(options: ProgressiveOptions): void {
  const misplaced = RULES.find((rule) => Object.hasOwn(options ?? {}, rule));
  if (misplaced !== undefined)
    throw wrong(misplaced, 'is a rule to stop by', `Give { stop: { ${misplaced}: … } }.`);
  checkQueryOptions(options, OPTIONS);
  const { confidence = CONFIDENCE, simultaneous = false } = options;
  if (!(typeof confidence === 'number' && confidence >= 0.5 && confidence < 1))
    throw wrong('confidence', 'is no share between 0.5 and 1', 'Give one such as 0.95.');
  if (typeof simultaneous !== 'boolean')
    throw wrong('simultaneous', 'is neither true nor false', 'true: all groups hold at once.');
  const { seed } = options;
  if (seed !== undefined && seed !== null && !(Number.isSafeInteger(seed) && seed >= 0))
    throw wrong('seed', 'is no whole number from 0 on', 'Give one such as 7, or none.');
  if (options.resume !== undefined) checkedToken(options.resume);
  if (options.stop !== undefined) checkedStop(options.stop);
}

function wrong(field: string, what: string, hint: string): DbError {
  return new DbError('22023', `"${field}" ${what}`, { field, hint });
}

type Rule = Exclude<ProgressiveStop, 'exact'>;

const RULES = ['relativeError', 'absoluteError', 'ms', 'rows', 'work'] as const;

const OPTIONS = namesOf<ProgressiveOptions>({
  confidence: true,
  simultaneous: true,
  stop: true,
  seed: true,
  resume: true,
  ...QUERY,
});

function checkedStop(stop: ProgressiveStop): Rule | undefined {
  if (stop === 'exact') return undefined;
  const hint = "Give 'exact', or { relativeError: 0.01 }; also absoluteError, ms, rows, work.";
  if (typeof stop !== 'object' || stop === null) throw wrong('stop', 'is no rule', hint);
  checkNames(stop, RULES, 'stop.');
  if (RULES.every((name) => stop[name] === undefined)) throw wrong('stop', 'has no rule', hint);
  for (const [name, value] of Object.entries(stop)) {
    if (value !== undefined && !(typeof value === 'number' && value > 0))
      throw wrong(`stop.${name}`, 'is not a positive number', hint);
  }
  return stop;
}

/** Which sample, of which rows: what gives the same sequence again. */
type Token = {
  readonly position: number;
  readonly seed: number;
  readonly wholeFrom: number;
  /** Of the sample; undefined before it is begun. */
  readonly identity: number | undefined;
};

function tokenText({ position, seed, wholeFrom, identity }: Token): string {
  return `${position}.${seed}.${Number.isFinite(wholeFrom) ? wholeFrom : ''}.${identity ?? ''}`;
}

function checkedToken(text: string): Token {
  const parts = typeof text === 'string' ? /^(\d+)\.(\d+)\.(\d*)\.(\d*)$/.exec(text) : null;
  if (parts === null)
    throw wrong('resume', 'is no mark of an answer', 'Give the `resume` of an event as it came.');
  return {
    position: Number(parts[1]),
    seed: Number(parts[2]),
    wholeFrom: parts[3] === '' ? Infinity : Number(parts[3]),
    identity: parts[4] === '' ? undefined : Number(parts[4]),
  };
}

type AnswerOptions = {
  readonly text: string;
  readonly params: readonly unknown[];
  readonly options: ProgressiveOptions;
  readonly values: ValueOptions;
  readonly confidence: number;
  readonly simultaneous: boolean;
  readonly stop: Rule | undefined;
  readonly resume: Token | undefined;
};

/** The state of one answer: the newest event, who waits for it, and its actor. */
class Answer {
  readonly id: string;
  readonly #engine: Engine;
  readonly #given: AnswerOptions;
  readonly #startedMs: number;
  #ref: ActorRef<ProgressiveMessage> | undefined;
  /** What it was told before it had begun. */
  readonly #early: ProgressiveMessage[] = [];
  #stop: Rule | undefined;
  #latest: ProgressiveEvent | undefined;
  /** Counts events: an iterator knows by it whether there is a newer one. */
  #version = 0;
  #failure: { readonly cause: unknown } | undefined;
  #isOver = false;
  readonly #waiting = new Set<() => void>();
  #columns: readonly OutputColumn[] = [];
  #estimated: readonly boolean[] = [];
  #why: string | undefined;
  #source: AnswerSource = 'sample';
  /** Undefined until it is known what is read. */
  #rowsTotal: number | undefined;
  #run: ProgressiveRun | undefined;
  #position: number;
  #asOf: string;
  #token: Token;
  /** Rows of the exact answer so far. */
  readonly #exact: ResultRow[] = [];
  /** Rows of the look that is being shown so far, and how wide its intervals are. */
  #shown: ResultRow[] = [];
  #width: Width = NO_WIDTH;
  #release = (): void => undefined;
  readonly #firstTimer: TimerHandle;
  /** Why there is no first event yet. */
  #waitsFor = NOT_READ;
  /** Of who waits for a position: nobody waits for the answer any more. */
  #left: AbortController | undefined;
  #idleTimer: TimerHandle | undefined;
  #progressTimer: TimerHandle | undefined;
  /** Of what is not sampled. */
  #scans: readonly { readonly rowsRead: number }[] = [];
  #work = 0;
  /** How long it was paused or had stopped, and since when it does. */
  #restedMs = 0;
  #restsSinceMs: number | undefined;
  #doneWithSignal = (): void => undefined;
  /** Undefined while no time limit runs: it is for the time to a stop, and for that to the next. */
  #doneWithTimeout: (() => void) | undefined;
  /** Nobody waits for the first answer any more. */
  #doneWithFirst = (): void => undefined;
  #widths: ProgressiveEvent['convergence'] = [];
  #lastLook: { readonly rowsSeen: number; readonly width: Width } | undefined;

  constructor(engine: Engine, session: Session, given: AnswerOptions) {
    engine.assertOpen();
    this.#engine = engine;
    this.#given = given;
    this.#stop = given.stop;
    this.id = engine.newId();
    this.#startedMs = engine.ports.clock.monotonicMs();
    const seed =
      given.resume?.seed ??
      given.options.seed ??
      engine.ports.random.split(`progressive/${this.id}`).uint32();
    // Until it is known which: a mark of it asks for no earlier one.
    this.#position =
      given.resume?.position ??
      given.options.asOf ??
      Math.max(engine.visiblePosition, given.options.atLeast ?? 0);
    this.#asOf = engine.asOfText(engine.visiblePosition);
    this.#token = given.resume ?? {
      position: this.#position,
      seed,
      wholeFrom: Infinity,
      identity: undefined,
    };
    const { tenant, user } = session.identity;
    engine.answerAsked({
      id: this.id,
      tenant,
      user,
      label: given.options.label,
      text: given.text,
      priority: given.options.priority ?? 'normal',
      cancel: () => this.cancel(),
      stop: () => {
        if (this.#ref === undefined) this.#fail(closedError());
        else this.#ref.stop();
      },
    });
    this.#firstTimer = engine.ports.clock.after(FIRST_EVENT_MS, () => {
      if (this.#version === 0 && !this.#isOver)
        this.#publish({
          ...this.#frame(this.#run?.rowsSeen ?? 0),
          kind: 'estimate',
          rows: [],
          why: this.#waitsFor,
        });
    });
    void this.#begin(session).catch((cause: unknown) => {
      if (!this.#isOver) this.#fail(cause);
    });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  tell(message: ProgressiveMessage): void {
    if (this.#ref === undefined) this.#early.push(message);
    else this.#ref.tell(message, 'control');
  }

  refineTo(stop: Rule | undefined): void {
    if (this.#failure !== undefined) throw this.#failure.cause;
    if (this.#latest?.kind === 'final' && this.#latest.reason === 'cancelled')
      throw new DbError('55000', 'a cancelled answer is not refined', {
        hint: 'Ask again, with { resume } to go on with the same sample.',
      });
    this.#stop = stop;
    this.#ref?.tell({ kind: 'refine' }, 'control');
    // Final no more: who iterates on waits for what comes.
    if (this.#latest?.kind === 'final' && this.#latest.reason === 'stop' && !this.isEnough()) {
      const { reason: _, ...rest } = this.#latest;
      this.#latest = { ...rest, kind: 'estimate' };
    }
  }

  cancel(): void {
    const cause = new DbError('57014', 'canceling statement due to user request');
    if (this.#ref === undefined && !this.#isOver) this.#ended({ kind: 'cancelled' }, 0);
    else this.#ref?.tell({ kind: 'cancel', cause }, 'control');
  }

  /** With the rows it keeps for whoever goes on. */
  giveUp(why: string): void {
    const hint = 'Ask again with { resume } of its last event: the sequence is the same.';
    this.#ref?.tell({ kind: 'abort', cause: new DbError('72000', why, { hint }) }, 'control');
  }

  async untilFinal(): Promise<ProgressiveEvent> {
    for (;;) {
      // What it had when it stopped stays what it was, though nobody may go on any more.
      if (this.#latest?.kind === 'final') return this.#latest;
      if (this.#failure !== undefined) throw this.#failure.cause;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** What has stopped is final, but not over. */
  async untilOver(): Promise<void> {
    while (!this.#isOver) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  iterate({
    leavingCancels,
  }: {
    readonly leavingCancels: boolean;
  }): AsyncIterator<ProgressiveEvent> {
    let seen = 0;
    let isDone = false;
    return {
      next: async () => {
        for (;;) {
          if (isDone) return { done: true, value: undefined };
          if (this.#latest !== undefined && this.#version > seen) {
            seen = this.#version;
            if (this.#latest.kind === 'final') isDone = true;
            return { done: false, value: this.#latest };
          }
          if (this.#failure !== undefined) {
            isDone = true;
            throw this.#failure.cause;
          }
          await new Promise<void>((resolve) => this.#waiting.add(resolve));
        }
      },
      return: async () => {
        if (!isDone) {
          isDone = true;
          if (leavingCancels) this.cancel();
          else this.#wake();
        }
        return { done: true, value: undefined };
      },
    };
  }

  isEnough(): boolean {
    return this.#stop !== undefined && this.#lastLook !== undefined && this.#meets(this.#stop);
  }

  // ── Beginning ──────────────────────────────────────────────────────────────────────────────────────────────

  async #begin(session: Session): Promise<void> {
    const { engine, given } = { engine: this.#engine, given: this.#given };
    const { options } = given;
    this.#doneWithSignal = this.#endedBy({ signal: options.signal });
    this.#startTimeout();
    // Statistics are loaded by whoever asks for them: a database opens without.
    const { ProgressiveRun: Run } = await (loading ??= import('../progressive/run.ts'));
    if (options.atLeast !== undefined && !this.#isOver) {
      this.#waitsFor = `position ${options.atLeast} is not visible yet`;
      this.#left = new AbortController();
      await engine.untilVisible(options.atLeast, this.#left.signal);
      this.#waitsFor = NOT_READ;
    }
    if (engine.turn.definesUnacknowledged && !this.#isOver) {
      this.#left ??= new AbortController();
      await engine.untilDefined(this.#left.signal);
    }
    if (this.#isOver) return;
    const parsed = engine.statements.parse(given.text);
    const [only, ...others] = parsed;
    if (only?.statement.kind === 'unsupported')
      throw notSupported(only.statement.what, undefined, only.statement.at);
    if (only?.statement.kind !== 'query' || others.length > 0)
      throw new DbError('42601', 'a progressive answer is that of one query', {
        hint: 'Give one SELECT.',
      });
    let bound = boundOf(session, only);
    this.#left ??= new AbortController();
    for (;;) {
      const redefined = session.whileRedefined(bound.relations, this.#left.signal);
      if (redefined === undefined) break;
      await redefined;
      if (this.#isOver) return;
      bound = boundOf(session, only);
    }
    if (bound.kind !== 'query' || bound.locks !== undefined)
      throw new DbError('0A000', 'a query that claims rows has no progressive answer', {
        hint: 'Ask without FOR UPDATE.',
      });
    const parameters = parametersOf(session, bound, { ...options, params: given.params });
    const context = session.evaluationContext(parameters, options);
    const asOf = given.resume?.position ?? options.asOf;
    if (asOf !== undefined && asOf > engine.visiblePosition)
      throw new DbError('ADB_POSITION_GONE', `position ${asOf} is not there yet`, {
        position: asOf,
        hint: 'Use atLeast to wait for a position.',
      });
    this.#position =
      asOf ?? session.transaction?.position ?? rowsPosition(session, bound.relations);
    this.#asOf = engine.asOfText(this.#position);
    this.#token = { ...this.#token, position: this.#position };
    const snapshots = new Map<number, TableSnapshot>();
    const memory = engine.memory.child(`a progressive query of tenant ${session.identity.tenant}`);
    memory.hint = QUERY_HINT;
    this.#release = () => {
      for (const snapshot of snapshots.values()) snapshot.release();
      if (memory.usedBytes > 0) memory.release(memory.usedBytes);
    };
    // What has not changed since the position of a mark is read as it is, however far history reaches back.
    const take = (relation: number): void => {
      snapshots.get(relation)?.release();
      snapshots.delete(relation);
      const isSame = given.resume !== undefined && isUnchangedSince(session, relation, asOf!);
      snapshots.set(relation, session.snapshotOf(relation, isSame ? undefined : asOf));
    };
    // One by one: where the history of one is gone, those before it are given back.
    for (const relation of bound.relations) take(relation);
    const environment = {
      snapshotOf: (relation: number) => snapshots.get(relation)!,
      position: this.#position,
      context,
      memory,
    };
    const tiled = new Set<number>();
    const tile = (
      node: AggregateNode,
      inner: ExecutionEnvironment,
      plain: () => Operator,
      uses: boolean | 'ready',
    ): Operator | undefined =>
      engine.tiles.aggregate(
        node,
        inner,
        plain,
        ({ relation }) => {
          tiled.add(relation);
          this.#source = provenance(session, bound.relations, tiled, this.#position).source;
        },
        session.usesTiles && uses,
      );
    engine.tiles.assertWhole(bound.plan, environment, true);
    let shape: Shape = shapeOf(bound.plan, environment.snapshotOf);
    if (shape.kind === 'sampled' && !isOrderFreeAggregate(shape.aggregate))
      shape = { kind: 'exactOnly', why: 'an aggregate shows the order of its rows' };
    if (
      shape.kind === 'sampled' &&
      environment.snapshotOf(shape.driving.relation).sample === undefined
    )
      shape = { kind: 'exactOnly', why: 'the rows are not stored in an order that can be sampled' };
    // A mark of before the sample was begun asks for no segments.
    const wholeFrom = given.resume?.wholeFrom ?? Infinity;
    if (shape.kind === 'sampled' && Number.isFinite(wholeFrom)) {
      const { relation } = shape.driving;
      for (let waits = 0; (snapshots.get(relation)!.sealedTo ?? Infinity) < wholeFrom; waits += 1) {
        // A database that has begun anew seals in the background what was sealed. Of another, smaller table there is nothing to wait for.
        if (waits === SEAL_WAITS_MAX || !session.storedEntry(relation).data.needsUpkeep) break;
        if (waits === 0)
          this.#publish({
            ...this.#frame(0),
            kind: 'estimate',
            rows: [],
            why: 'rows are being put in the order that the sample was drawn in',
          });
        await heldFor(SEAL_WAIT_MS, engine.ports.clock);
        if (this.#isOver) return;
        take(relation);
      }
    }
    this.#columns = bound.plan.columns;
    const rowCountOf = (relation: number): number => snapshots.get(relation)!.rowCount;
    this.#rowsTotal = bound.relations.reduce((rows, relation) => rows + rowCountOf(relation), 0);
    if (shape.kind === 'exactOnly') {
      this.#rowsTotal = scannedRows(bound.plan, rowCountOf);
      this.#source = provenance(session, bound.relations, undefined, this.#position).source;
      this.#why = shape.why;
      this.#waitsFor = shape.why;
    }
    // A value of an aggregate looks like one, be it exact from the beginning.
    const { plan, aggregate } =
      shape.kind === 'sampled'
        ? shape
        : { plan: bound.plan, aggregate: shownAggregation(bound.plan) };
    this.#estimated =
      aggregate === undefined
        ? this.#columns.map(() => false)
        : outputsOf(plan, aggregate).map((output) => isEstimated(output, aggregate.keys.length));
    const settled = shape;
    const sampled = (shape: SampledShape): ProgressiveSource => {
      const run = new Run(shape, environment, {
        confidence: given.confidence,
        simultaneous: given.simultaneous,
        seed: this.#token.seed,
        wholeFrom: this.#token.wholeFrom,
      });
      this.#run = run;
      const { wholeFrom, identity } = run.sample;
      const wanted = given.resume?.identity;
      if (wanted !== undefined && wanted !== identity) {
        run.close();
        throw new DbError('72000', 'the rows of the mark do not lie as they did any more', {
          position: this.#position,
          hint: 'Their segments were compacted, or are not sealed yet. Ask again without resume: another sample is as good.',
        });
      }
      this.#token = { ...this.#token, wholeFrom, identity };
      return { kind: 'sampled', run };
    };
    const ref = engine.startProgressive(
      session.identity.tenant,
      progressiveActor({
        name: `query ${this.id}`,
        tenant: tenantId(session.identity.tenant),
        priority: options.priority,
        workMax: options.maxWork,
        open: () => {
          this.#exact.length = 0;
          this.#shown = [];
          this.#width = NO_WIDTH;
          if (settled.kind === 'exactOnly') {
            const scans: { readonly rowsRead: number }[] = [];
            this.#scans = scans;
            // Subqueries may scan once for each row.
            const scanned = (scan: { readonly rowsRead: number }): void => {
              if (scans.length < SCANS_MAX) scans.push(scan);
            };
            const operator = buildOperator(bound.plan, {
              ...environment,
              scanned,
              aggregate: (node, inner, plain) => tile(node, inner, plain, true),
            });
            return { kind: 'plain', operator };
          }
          // What a mark asks for, or has begun, is a sample.
          if (given.resume?.identity !== undefined || this.#run !== undefined)
            return sampled(settled);
          let isMissed = false;
          const miss = (node: AggregateNode): Operator => {
            isMissed = true;
            return new BatchesOperator(node.id, node.columns, []);
          };
          const operator = buildOperator(bound.plan, {
            ...environment,
            aggregate: (node, inner) => tile(node, inner, () => miss(node), 'ready') ?? miss(node),
          });
          const otherwise = (): ProgressiveSource => sampled(settled);
          if (!isMissed) return { kind: 'atOnce', operator, isMissed: () => isMissed, otherwise };
          operator.close();
          return otherwise();
        },
        show: (look, budget) => this.#show(look, budget),
        looked: (look, spent) => this.#looked(look, spent),
        isEnough: () => this.isEnough(),
        take: (batch) => this.#takeExact(batch),
        afterOthers: (run) => engine.firstAnswers.afterwards(session.identity.tenant, run),
        entered: (state) => this.#entered(state),
        worked: (spent) => this.#worked(spent),
        ended: (end, spent) => {
          try {
            this.#ended(end, spent);
          } catch (cause) {
            // Whoever waits must hear of it.
            this.#fail(cause);
          }
        },
      }),
    );
    this.#ref = ref;
    if (settled.kind === 'sampled' && !this.#isOver)
      this.#doneWithFirst = engine.firstAnswers.begin(session.identity.tenant);
    for (const message of this.#early.splice(0)) ref.tell(message, 'control');
  }

  /** What has nothing to show tells again and again how far it is. */
  #tellProgress(): void {
    const frame = this.#frame(this.#rowsSeen);
    const running = this.#engine.queries.get(this.id);
    if (running !== undefined) {
      running.rows = frame.rowsSeen;
      running.rowsTotal = frame.rowsTotal;
      running.etaMs = frame.etaMs ?? null;
    }
    if (this.#latest === undefined || frame.work > this.#latest.work)
      this.#publish({ ...frame, kind: 'estimate', rows: [] });
    this.#progressTimer = this.#engine.ports.clock.after(FIRST_EVENT_MS, () => {
      this.#tellProgress();
    });
  }

  /** Up to the last look; where there are none, by now. Subqueries may scan more than once. */
  get #rowsSeen(): number {
    if (this.#lastLook !== undefined) return this.#lastLook.rowsSeen;
    const scanned = this.#scans.reduce((rows, { rowsRead }) => rows + rowsRead, 0);
    return Math.min(scanned, this.#rowsTotal ?? 0);
  }

  #worked(spent: number): void {
    this.#work = spent;
    const running = this.#engine.queries.get(this.id);
    if (running !== undefined) running.work = spent;
    // What is over with its first step shows its answer, and nothing else.
    if (this.#why !== undefined && this.#progressTimer === undefined && !this.#isOver)
      this.#tellProgress();
  }

  /** A signal, or a time limit, fails it with 57014. The function lets either go. */
  #endedBy(cancelable: Cancelable): () => void {
    const { signal, done } = deadline(this.#engine.ports.clock, cancelable);
    if (signal === undefined) return done;
    const abort = (): void => {
      const cause = canceled(signal);
      if (this.#ref === undefined) this.#fail(cause);
      else this.#ref.tell({ kind: 'abort', cause }, 'control');
    };
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    return () => {
      signal.removeEventListener('abort', abort);
      done();
    };
  }

  #startTimeout(): void {
    this.#doneWithTimeout ??= this.#endedBy({ timeoutMs: this.#given.options.timeoutMs });
  }

  #stopTimeout(): void {
    this.#doneWithTimeout?.();
    this.#doneWithTimeout = undefined;
  }

  #entered(state: ProgressiveState): void {
    const running = this.#engine.queries.get(this.id);
    if (running !== undefined) running.state = state;
    if (state === 'stopped') {
      this.#stopTimeout();
      this.#engine.answerStopped(this.id);
    } else if (state === 'sampling') this.#startTimeout();
    const reads = state === 'admitted' || state === 'sampling' || state === 'refining';
    if (reads === (this.#restsSinceMs !== undefined)) {
      const nowMs = this.#engine.ports.clock.monotonicMs();
      if (this.#restsSinceMs !== undefined) this.#restedMs += nowMs - this.#restsSinceMs;
      this.#restsSinceMs = reads ? undefined : nowMs;
    }
    // By its state, not by what it was told: resuming what has stopped, or refining what is paused, changes nothing.
    this.#armIdle(state === 'paused' || state === 'stopped');
    if (state === 'paused') this.#doneWithFirst();
  }

  // ── Looking ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Makes rows of a look, some at a time: there may be a hundred thousand. True: all are made. */
  #show(look: Look, budget: Budget): boolean {
    while (this.#shown.length < look.rows.length) {
      if (budget.exhausted) return false;
      const rows = look.rows.slice(this.#shown.length, this.#shown.length + SHOWN_ROWS);
      this.#rowsOf(rows, this.#shown);
      budget.charge(rows.length * this.#columns.length * SHOWN_WORK);
    }
    return true;
  }

  #looked(look: Look, spent: number): boolean {
    const rows = this.#shown;
    this.#shown = [];
    // Begun anew after a failure: what was shown is not shown again.
    if (this.#lastLook !== undefined && look.rowsSeen <= this.#lastLook.rowsSeen)
      return this.isEnough();
    // Where there is no row yet, nothing is known of those to come: no rule is met.
    const isUnknown = rows.length === 0 && look.rowsSeen < look.rowsTotal;
    const width = isUnknown ? UNKNOWN_WIDTH : this.#width;
    this.#lastLook = { rowsSeen: look.rowsSeen, width };
    this.#width = NO_WIDTH;
    this.#rowsTotal = look.rowsTotal;
    this.#note({
      rowsSeen: look.rowsSeen,
      relativeError: width.relative,
      absoluteError: width.absolute,
      work: spent,
    });
    const event: ProgressiveEvent = {
      ...this.#frame(look.rowsSeen, spent),
      kind: 'estimate',
      rows,
      ...(look.why === undefined ? {} : { why: look.why }),
    };
    const running = this.#engine.queries.get(this.id);
    if (running !== undefined) running.etaMs = event.etaMs ?? null;
    this.#publish(event);
    this.#doneWithFirst();
    return this.isEnough();
  }

  /** How far it is by now, for whoever looks on. */
  #note(look: Omit<ProgressiveEvent['convergence'][number], 'elapsedMs'>): void {
    this.#widths = [...this.#widths, { ...look, elapsedMs: this.#elapsedMs }].slice(
      -CONVERGENCE_MAX,
    );
    const running = this.#engine.queries.get(this.id);
    if (running === undefined) return;
    running.rows = look.rowsSeen;
    running.rowsTotal = this.#rowsTotal ?? 0;
    running.work = look.work;
    running.relativeError = look.relativeError;
    running.convergence = this.#widths;
  }

  #frame(rowsSeen: number, work = this.#work): Omit<ProgressiveEvent, 'kind' | 'rows'> {
    const isKnown = this.#rowsTotal !== undefined;
    const rowsTotal = Math.max(this.#rowsTotal ?? 0, rowsSeen);
    const fraction = rowsTotal > 0 ? rowsSeen / rowsTotal : isKnown ? 1 : 0;
    return {
      queryId: this.id,
      position: this.#position,
      asOf: this.#asOf,
      source: this.#source,
      confidence: this.#given.confidence,
      rowsSeen,
      rowsTotal,
      fraction,
      work,
      elapsedMs: this.#elapsedMs,
      etaMs: this.#etaMs(fraction),
      resume: tokenText(this.#token),
      convergence: this.#widths,
      ...(this.#why === undefined ? {} : { why: this.#why }),
    };
  }

  get #elapsedMs(): number {
    return this.#engine.ports.clock.monotonicMs() - this.#startedMs;
  }

  /** What a time limit is for: while it is paused, or has stopped, none runs. */
  get #activeMs(): number {
    const nowMs = this.#engine.ports.clock.monotonicMs();
    return (this.#restsSinceMs ?? nowMs) - this.#startedMs - this.#restedMs;
  }

  /** Time to the rule that is met first, by the time it took so far: widths shrink with the root of the rows, and faster where few are left. */
  #etaMs(fraction: number): number | undefined {
    if (!(fraction > 0)) return undefined;
    const toWidth = (wanted: number | undefined, have: number | null | undefined): number => {
      if (wanted === undefined || have === undefined || have === null) return 1;
      return have <= wanted ? fraction : 1 / (1 + (wanted / have) ** 2 * (1 / fraction - 1));
    };
    const { relativeError, absoluteError, rows, work, ms } = this.#stop ?? {};
    const width = this.#lastLook?.width;
    const spent = this.#widths.at(-1)?.work;
    const target = Math.min(
      toWidth(relativeError, width?.relative),
      toWidth(absoluteError, width?.absolute),
      rows === undefined ? 1 : rows / Math.max(1, this.#rowsTotal ?? 0),
      work === undefined || spent === undefined ? 1 : (work / spent) * fraction,
    );
    const activeMs = this.#activeMs;
    const left = Math.max(0, (activeMs * (target - fraction)) / fraction);
    return ms === undefined ? left : Math.max(0, Math.min(left, ms - activeMs));
  }

  #rowsOf(looked: Look['rows'], into: ResultRow[]): void {
    const values: ResultRow[] = [];
    this.#width = widest(looked, this.#width);
    this.#keyWriter.append(
      {
        rowCount: looked.length,
        columns: this.#columns.map(({ type }, column) =>
          vectorFromData(
            type,
            looked.map((cells) => {
              return cells[column]!.value ?? null;
            }),
          ),
        ),
      },
      values,
    );
    looked.forEach((cells, at) => {
      const row: ResultRow = {};
      cells.forEach((cell, column) => {
        const { name } = this.#columns[column]!;
        const value = values[at]![name];
        if (cell.kind === 'value') set(row, name, value);
        else if (cell.value === undefined) set(row, name, estimatedValue(cell));
        else set(row, name, { ...estimatedValue(cell), value });
      });
      into.push(row);
    });
  }

  #writer: RowWriter | undefined;

  get #keyWriter(): RowWriter {
    this.#writer ??= new RowWriter(this.#columns, this.#given.values);
    return this.#writer;
  }

  #meets(stop: Rule): boolean {
    const look = this.#lastLook!;
    if (stop.ms !== undefined && this.#activeMs >= stop.ms) return true;
    if (stop.rows !== undefined && look.rowsSeen >= stop.rows) return true;
    if (stop.work !== undefined && (this.#widths.at(-1)?.work ?? 0) >= stop.work) return true;
    const { relative, absolute } = look.width;
    if (stop.relativeError !== undefined && relative !== null && relative <= stop.relativeError)
      return true;
    return stop.absoluteError !== undefined && absolute !== null && absolute <= stop.absoluteError;
  }

  // ── Ending ─────────────────────────────────────────────────────────────────────────────────────────────────

  #ended(end: ProgressiveEnd, spent: number): void {
    switch (end.kind) {
      case 'enough':
        this.#final('stop', spent);
        return;
      case 'exact': {
        const rowsTotal = this.#run?.rowsTotal ?? this.#rowsTotal ?? 0;
        this.#rowsTotal = rowsTotal;
        this.#note({ rowsSeen: rowsTotal, relativeError: 0, absoluteError: 0, work: spent });
        const event = this.#frame(rowsTotal, spent);
        this.#over();
        this.#publish({ ...event, kind: 'final', reason: 'exact', rows: this.#exact });
        return;
      }
      case 'cancelled':
        this.#over();
        this.#final('cancelled', spent);
        return;
      case 'failed':
        this.#fail(end.cause);
    }
  }

  #final(reason: 'stop' | 'cancelled', spent: number): void {
    const rows = this.#latest?.rows ?? [];
    this.#publish({
      ...this.#frame(this.#rowsSeen, spent),
      kind: 'final',
      reason,
      rows,
    });
  }

  #takeExact(batch: Batch): void {
    const first = this.#exact.length;
    this.#keyWriter.append(batch, this.#exact);
    const values = this.#keyWriter.columnar(batch);
    this.#columns.forEach((column, index) => {
      // Of columns of one name a row shows the last, as every row does.
      const isShown = this.#columns.findLastIndex(({ name }) => name === column.name) === index;
      if (!this.#estimated[index] || !isShown) return;
      const numbers = isNumeric(column)
        ? nearestDoubles(batch.columns[index]!, batch.rowCount)
        : new Float64Array(batch.rowCount).fill(Number.NaN);
      for (let row = 0; row < batch.rowCount; row += 1) {
        const number = numbers[row]!;
        const { lower, upper } = boundsOf(number, () => datumAt(batch.columns[index]!, row));
        const exact: EstimatedValue = {
          estimate: finiteOrNull(number),
          lower: finiteOrNull(lower),
          upper: finiteOrNull(upper),
          guarantee: 'exact',
          value: values[index]![row],
        };
        set(this.#exact[first + row]!, column.name, exact);
      }
    });
  }

  #fail(cause: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { cause };
    this.#over();
    this.#wake();
  }

  /** Nothing is run any more. */
  #over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    // Whoever keeps the answer does not keep the rows it was made of.
    this.#scans = [{ rowsRead: this.#rowsSeen }];
    this.#run = undefined;
    this.#firstTimer.cancel();
    this.#idleTimer?.cancel();
    this.#progressTimer?.cancel();
    this.#left?.abort();
    this.#doneWithSignal();
    this.#stopTimeout();
    this.#doneWithFirst();
    this.#engine.answers.delete(this.id);
    this.#engine.queryEnded(this.id, this.#widths);
    this.#release();
  }

  /** While nobody goes on, the rows it reads are kept for it; not for ever. */
  #armIdle(isIdle: boolean): void {
    this.#idleTimer?.cancel();
    this.#idleTimer = undefined;
    if (!isIdle || this.#isOver) return;
    this.#idleTimer = this.#engine.ports.clock.after(IDLE_MS, () =>
      this.giveUp('the answer was left alone for a minute'),
    );
  }

  #publish(event: ProgressiveEvent): void {
    this.#latest = event;
    this.#version += 1;
    this.#wake();
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }
}

/** Once it was loaded: another import would look it up anew, which takes as long as a look does. */
let loading: Promise<{ readonly ProgressiveRun: typeof ProgressiveRun }> | undefined;

/** Turns of the event loop that a wait is held for: timers alone let a program end that waits for nothing else. */
const HELD_TURNS_MAX = 100_000;

function heldFor(ms: number, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    let turns = 0;
    const hold = (): void => {
      turns += 1;
      if (turns < HELD_TURNS_MAX) clock.afterIo(hold);
    };
    clock.after(ms, () => {
      turns = HELD_TURNS_MAX;
      resolve();
    });
    hold();
  });
}

/** No commit has changed a stored relation since: its newest rows are those of the position. */
function isUnchangedSince(session: Session, relation: number, position: number): boolean {
  return (
    !isSystemRelation(relation) &&
    session.transaction === undefined &&
    session.storedEntry(relation).data.position <= position
  );
}

/** Rows there are to be read by all scans of a plan. */
function scannedRows(plan: PlanNode, rowCountOf: (relation: number) => number): number {
  const own = plan.kind === 'scan' ? rowCountOf(plan.relation) : 0;
  return inputsOf(plan).reduce((rows, input) => rows + scannedRows(input, rowCountOf), own);
}

/** Rounds whose widths are kept. */
const CONVERGENCE_MAX = 64;

/** Scans whose progress is told. */
const SCANS_MAX = 64;

/** Half the width of the widest value, absolute and beside its estimate; null where one is unbounded. */
type Width = { readonly relative: number | null; readonly absolute: number | null };

const NO_WIDTH: Width = { relative: 0, absolute: 0 };
const UNKNOWN_WIDTH: Width = { relative: null, absolute: null };

/** Of these rows and those before. */
function widest(rows: Look['rows'], before: Width): Width {
  let { relative, absolute } = before;
  for (const cells of rows)
    for (const cell of cells) {
      if (relative === null && absolute === null) return before;
      if (cell.kind === 'value' || cell.guarantee === 'exact') continue;
      const half = (cell.upper - cell.lower) / 2;
      if (!Number.isFinite(half)) return { relative: null, absolute: null };
      if (absolute !== null) absolute = Math.max(absolute, half);
      const own = half === 0 ? 0 : half / Math.abs(cell.estimate);
      if (relative !== null) relative = Number.isFinite(own) ? Math.max(relative, own) : null;
    }
  return { relative, absolute };
}

function estimatedValue(cell: Extract<LookCell, { kind: 'estimate' }>): EstimatedValue {
  return {
    estimate: finiteOrNull(cell.estimate),
    lower: finiteOrNull(cell.lower),
    upper: finiteOrNull(cell.upper),
    guarantee: cell.guarantee,
  };
}

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

function set(row: ResultRow, name: string, value: unknown): void {
  if (name === '__proto__')
    Object.defineProperty(row, name, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  else row[name] = value;
}
