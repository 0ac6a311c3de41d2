import type { TenantId } from '../base/units.ts';
import type { ActorContext, ActorSpec, Behavior, Outcome } from '../mailbox/actor.ts';
import { mailboxLimits } from '../mailbox/lane.ts';
import { isStored } from './catalog.ts';
import type { Engine } from './engine.ts';
import type { MaintainedView } from './maintained-view.ts';
import { isInCatalog } from './view-builder.ts';

/**
 * A table as an actor: what is to be done some time, in short steps between everything else (sealing, index building,
 * compaction, giving history back). Rows are written by the commit turn, not by messages.
 */
export type TableMessage = { readonly kind: 'upkeep' };

const TABLE_LIMITS = mailboxLimits<TableMessage>({
  // There is upkeep to do or there is not: one message says so.
  bulk: { messages: 4, overflow: { kind: 'coalesce', keyOf: () => 'upkeep' } },
});

/** Half a step of sealing: rows move at a few nanoseconds a value. */
const UPKEEP_UNITS_MAX = 8_000;

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
    start: () => (_message, context) => upkeep(engine, relation, context),
  };
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
  return more ? 'again' : 'continue';
}

/** A view as an actor: upkeep like a table, and its lifecycle: refreshed by time, made anew when it broke. */
export type ViewMessage =
  | { readonly kind: 'upkeep' }
  /** It has failed, or what it reads is live again: make it anew if it lags. */
  | { readonly kind: 'remake' }
  | { readonly kind: 'remade'; readonly outcome: Outcome<void>; readonly startedMs: number }
  /** What it reads has changed, and it is refreshed by time. */
  | { readonly kind: 'changed' }
  | { readonly kind: 'due' }
  | { readonly kind: 'refreshed'; readonly outcome: Outcome<boolean> };

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
  let remaking = false;
  let armed = false;
  return (message, context) => {
    switch (message.kind) {
      case 'upkeep':
        return upkeep(engine, view.relation, context as ActorContext<never>);
      case 'remake': {
        if (remaking || !view.lags || !isInCatalog(engine, view)) return 'continue';
        // Views below it come first; the last of them says when.
        if (engine.housekeeping.sourcesLag(view)) return 'continue';
        remaking = true;
        const startedMs = engine.ports.clock.monotonicMs();
        context.pipe(engine.views.rebuild(engine, view), (outcome) => ({
          kind: 'remade',
          outcome,
          startedMs,
        }));
        return 'continue';
      }
      case 'remade': {
        remaking = false;
        if (!isInCatalog(engine, view)) return 'continue';
        if (message.outcome.kind === 'failed') {
          // Broken below meanwhile: it will be told when that is mended.
          if (engine.housekeeping.sourcesLag(view)) return 'continue';
          throw message.outcome.cause;
        }
        // It may have broken again in the commit that came right after.
        if (view.lags) context.self.tell({ kind: 'remake' });
        else engine.housekeeping.viewRemade(view, message.startedMs);
        return 'continue';
      }
      case 'changed': {
        const { refresh } = view.options;
        if (armed || typeof refresh !== 'number') return 'continue';
        armed = true;
        context.after(refresh, { kind: 'due' }, 'command');
        return 'continue';
      }
      case 'due':
        context.pipe(engine.views.refresh(engine, view), (outcome) => ({
          kind: 'refreshed',
          outcome,
        }));
        armed = false;
        return 'continue';
      case 'refreshed':
        if (message.outcome.kind === 'failed')
          engine.housekeeping.refreshFailed(view, message.outcome.cause);
        else if (message.outcome.value) engine.housekeeping.viewRefreshed(view);
        return 'continue';
    }
  };
}
