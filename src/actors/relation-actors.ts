import type { TimerHandle } from '../base/ports.ts';
import type { TenantId } from '../base/units.ts';
import type { ActorContext, ActorSpec, Behavior, Next, Outcome } from '../mailbox/actor.ts';
import { mailboxLimits } from '../mailbox/lane.ts';
import { Budget } from '../operators/operator.ts';
import { isStored } from './catalog.ts';
import type { Engine } from './engine.ts';
import type { MaintainedView } from './maintained-view.ts';
import { TableRebuild, type Arrival, type PoisonRecord } from './table-rebuild.ts';
import { isInCatalog, type Shadow } from './view-builder.ts';

/**
 * A table as an actor: what is to be done some time, in short steps between everything else (sealing, index building,
 * compaction, giving history back, taking what it could be made anew from), and making it anew when it broke. Rows are written
 * by the commit turn, not by messages.
 */
export type TableMessage =
  | { readonly kind: 'upkeep' }
  | { readonly kind: 'checkpoint' }
  /** Its rows are not to be trusted: the actor dies of it, and what starts in its place makes them anew. */
  | { readonly kind: 'broke'; readonly cause: unknown }
  | { readonly kind: 'rebuild' }
  | { readonly kind: 'settled'; readonly outcome: Outcome<unknown> }
  | { readonly kind: 'step' }
  | { readonly kind: 'arrived'; readonly outcome: Outcome<Arrival> }
  | { readonly kind: 'skipped'; readonly outcome: Outcome<unknown> }
  | { readonly kind: 'swapped'; readonly outcome: Outcome<unknown> };

const TABLE_LIMITS = mailboxLimits<TableMessage>({
  // There is something to do or there is not: one message of a kind says so.
  command: { messages: 4, overflow: { kind: 'coalesce', keyOf: ({ kind }) => kind } },
  bulk: { messages: 4, overflow: { kind: 'coalesce', keyOf: ({ kind }) => kind } },
});

/** Half a step of sealing: rows move at a few nanoseconds a value. */
const UPKEEP_UNITS_MAX = 8_000;
/** A commit is half-way through the table: its base is taken between two commits. */
const BASE_RETRY_MS = 5;

export function tableActor(
  engine: Engine,
  relation: number,
  name: string,
  tenant: TenantId,
): ActorSpec<TableMessage> {
  return {
    name,
    tenant,
    mailbox: TABLE_LIMITS,
    start: (context) => {
      if (engine.recovery.isBroken(relation)) context.self.tell({ kind: 'rebuild' });
      return new TableBehavior(engine, relation);
    },
  };
}

class TableBehavior {
  readonly #engine: Engine;
  readonly #relation: number;
  #taking: Generator<number, void> | undefined;
  #isRebuilding = false;
  #rebuild: TableRebuild | undefined;

  constructor(engine: Engine, relation: number) {
    this.#engine = engine;
    this.#relation = relation;
  }

  receive(message: TableMessage, context: ActorContext<TableMessage>): Next<TableMessage> {
    const { recovery } = this.#engine;
    switch (message.kind) {
      case 'upkeep':
        return upkeep(this.#engine, this.#relation, context as ActorContext<never>);
      case 'checkpoint':
        return this.#takeBase(context);
      case 'broke':
        // Delivered once more to the actor that starts in its place: that one lives.
        if (recovery.isMourned(this.#relation)) return 'continue';
        throw message.cause;
      case 'rebuild':
        if (this.#isRebuilding || !recovery.wantsRebuild(this.#relation)) return 'continue';
        this.#isRebuilding = true;
        // Once nothing is staged on it any more: it refuses what is new. A snapshot that is under way may take an older one's place, and
        // the journal behind that.
        context.pipe(
          this.#commit().then(() => this.#engine.snapshots?.settled()),
          (outcome) => ({ kind: 'settled', outcome }),
        );
        return 'continue';
      case 'settled':
        if (message.outcome.kind === 'failed') throw message.outcome.cause;
        try {
          this.#rebuild = new TableRebuild(
            this.#engine,
            this.#relation,
            recovery.source(this.#relation),
          );
        } catch (cause) {
          return this.#failed(cause, context);
        }
        context.self.tell({ kind: 'step' }, 'bulk');
        return 'continue';
      case 'arrived':
        if (this.#rebuild === undefined) return 'continue';
        if (message.outcome.kind === 'failed') return this.#failed(message.outcome.cause, context);
        this.#rebuild.arrive(message.outcome.value);
        context.self.tell({ kind: 'step' }, 'bulk');
        return 'continue';
      case 'step':
        return this.#step(context);
      case 'skipped':
        this.#isRebuilding = false;
        // The journal refuses: the table waits for better times.
        if (message.outcome.kind === 'failed')
          recovery.giveUp(this.#relation, message.outcome.cause);
        else context.self.tell({ kind: 'rebuild' });
        return 'continue';
      case 'swapped':
        this.#isRebuilding = false;
        this.#rebuild?.close();
        this.#rebuild = undefined;
        if (message.outcome.kind === 'failed') throw message.outcome.cause;
        this.#engine.housekeeping.tableMended(this.#relation);
        return 'continue';
    }
  }

  stopped(): void {
    this.#taking?.return();
    this.#rebuild?.close();
  }

  #takeBase(context: ActorContext<TableMessage>): Next<TableMessage> {
    const { recovery } = this.#engine;
    if (this.#taking === undefined) {
      if (!recovery.mayTake(this.#relation)) {
        context.after(BASE_RETRY_MS, { kind: 'checkpoint' }, 'bulk');
        return 'continue';
      }
      this.#taking = recovery.take(this.#relation);
    }
    const units = Math.min(context.stepBudget, UPKEEP_UNITS_MAX);
    let spent = 0;
    while (spent < units) {
      const step = this.#taking.next();
      if (step.done === true) {
        this.#taking = undefined;
        context.charge(spent);
        // Asked for once more meanwhile: that message was one with this one.
        return recovery.wantsBase(this.#relation) ? 'again' : 'continue';
      }
      spent += step.value;
    }
    context.charge(spent);
    return 'again';
  }

  #step(context: ActorContext<TableMessage>): Next<TableMessage> {
    const rebuild = this.#rebuild;
    if (rebuild === undefined) return 'continue';
    const before = rebuild.spent;
    try {
      const outcome = rebuild.advance(Math.min(context.stepBudget, UPKEEP_UNITS_MAX));
      if (outcome === 'more') return 'again';
      if (outcome === 'done') this.#swap(rebuild, context);
      else context.pipe(outcome, (arrived) => ({ kind: 'arrived', outcome: arrived }));
      return 'continue';
    } catch (cause) {
      return this.#failed(cause, context);
    } finally {
      context.charge(rebuild.spent - before);
    }
  }

  #swap(rebuild: TableRebuild, context: ActorContext<TableMessage>): void {
    const { recovery, state } = this.#engine;
    const swap = this.#commit(() => {
      const { data } = rebuild.take();
      if (state.revive(this.#relation, data, this.#engine.visiblePosition))
        recovery.mended(this.#relation, data);
      else data.close();
    });
    context.pipe(swap, (outcome) => ({ kind: 'swapped', outcome }));
  }

  #failed(cause: unknown, context: ActorContext<TableMessage>): Next<TableMessage> {
    this.#rebuild?.close();
    this.#rebuild = undefined;
    const { recovery } = this.#engine;
    switch (recovery.attemptFailed(this.#relation, cause)) {
      case 'again':
        throw cause;
      case 'failed':
        this.#isRebuilding = false;
        return 'continue';
      case 'skip': {
        const { position, message } = cause as PoisonRecord;
        const decision = { position, reason: message, by: 'policy' };
        context.pipe(recovery.skip(this.#relation, decision), (outcome) => ({
          kind: 'skipped',
          outcome,
        }));
        return 'continue';
      }
    }
  }

  #commit(action: () => void = () => undefined): Promise<unknown> {
    return this.#engine.commit({
      tenant: 'adb',
      relations: [this.#relation],
      ephemeral: true,
      prepare: () => {
        action();
        return [];
      },
    });
  }
}

function upkeep(
  engine: Engine,
  relation: number,
  context: ActorContext<never>,
): 'again' | 'continue' {
  const entry = engine.state.catalog.byId(relation);
  if (!isStored(entry)) return 'continue';
  const units = Math.min(context.stepBudget, UPKEEP_UNITS_MAX);
  const more = entry.data.maintain(units);
  context.charge(units);
  if (!more) engine.recovery.maintained(relation, entry.data);
  return more ? 'again' : 'continue';
}

/** A view as an actor: upkeep like a table, and its lifecycle: refreshed by time, made anew when it broke. */
export type ViewMessage =
  | { readonly kind: 'upkeep' }
  /** It has failed, or what it reads is live again: make it anew if it lags. */
  | { readonly kind: 'remake' }
  /** Goes on with making it anew. */
  | { readonly kind: 'step' }
  | { readonly kind: 'remade'; readonly outcome: Outcome<void> }
  /** What it reads has changed, and it is refreshed by time. */
  | { readonly kind: 'changed' }
  | { readonly kind: 'due' }
  | { readonly kind: 'refreshed'; readonly outcome: Outcome<void> };

const VIEW_LIMITS = mailboxLimits<ViewMessage>({
  command: { messages: 16, overflow: { kind: 'coalesce', keyOf: ({ kind }) => kind } },
  bulk: { messages: 4, overflow: { kind: 'coalesce', keyOf: ({ kind }) => kind } },
});

export function viewActor(
  engine: Engine,
  view: MaintainedView,
  name: string,
  tenant: TenantId,
): ActorSpec<ViewMessage> {
  return {
    name,
    tenant,
    mailbox: VIEW_LIMITS,
    start: (context) => {
      // It failed at being made anew, and this is the next attempt.
      if (view.lags) context.self.tell({ kind: 'remake' });
      return viewBehavior(engine, view);
    },
  };
}

function viewBehavior(engine: Engine, view: MaintainedView): Behavior<ViewMessage> {
  let making: Generator<void, Shadow> | undefined;
  let shadow: Shadow | undefined;
  let startedMs = 0;
  let isRemaking = false;
  let due: { readonly timer: TimerHandle; readonly afterMs: number } | undefined;
  const budget = new Budget(0);

  /** Another attempt, by an actor that starts anew; unless it is gone, or broken below meanwhile: then it is told when that is mended. */
  const failed = (cause: unknown): 'continue' => {
    isRemaking = false;
    making = undefined;
    if (!isInCatalog(engine, view) || engine.housekeeping.sourcesLag(view)) return 'continue';
    throw cause;
  };
  const step = (context: ActorContext<ViewMessage>): Next<ViewMessage> => {
    if (making === undefined) return 'continue';
    const before = budget.spent;
    budget.refill(Math.min(context.stepBudget, UPKEEP_UNITS_MAX));
    try {
      const next = making.next();
      if (next.done !== true) return 'again';
      making = undefined;
      shadow = next.value;
      context.pipe(engine.views.putInPlace(engine, view, shadow), (outcome) => ({
        kind: 'remade',
        outcome,
      }));
      return 'continue';
    } catch (cause) {
      return failed(cause);
    } finally {
      context.charge(Math.max(1, budget.spent - before));
    }
  };
  const receive = (message: ViewMessage, context: ActorContext<ViewMessage>): Next<ViewMessage> => {
    switch (message.kind) {
      case 'upkeep':
        return upkeep(engine, view.relation, context as ActorContext<never>);
      case 'remake':
        if (isRemaking || !view.lags || !isInCatalog(engine, view)) return 'continue';
        // What it reads comes first; the last of that says when.
        if (engine.housekeeping.sourcesLag(view)) return 'continue';
        isRemaking = true;
        startedMs = engine.ports.clock.monotonicMs();
        making = engine.views.shadow(engine, view, budget);
        context.self.tell({ kind: 'step' }, 'bulk');
        return 'continue';
      case 'step':
        return step(context);
      case 'remade':
        isRemaking = false;
        if (!isInCatalog(engine, view)) return 'continue';
        if (message.outcome.kind === 'failed') return failed(message.outcome.cause);
        // It may have broken again in the commit that came right after.
        if (view.lags) context.self.tell({ kind: 'remake' });
        else engine.housekeeping.viewRemade(view, startedMs, shadow!);
        return 'continue';
      case 'changed': {
        const { refresh } = view.options;
        if (typeof refresh !== 'number' || (due !== undefined && due.afterMs <= refresh))
          return 'continue';
        due?.timer.cancel();
        due = { timer: context.after(refresh, { kind: 'due' }, 'command'), afterMs: refresh };
        return 'continue';
      }
      case 'due':
        context.pipe(engine.views.refresh(engine, view), (outcome) => ({
          kind: 'refreshed',
          outcome,
        }));
        due = undefined;
        return 'continue';
      case 'refreshed':
        return 'continue';
    }
  };
  return { receive, stopped: () => void making?.return(undefined as never) };
}
