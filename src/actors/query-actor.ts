import { DbError } from '../base/errors.ts';
import type { Batch } from '../columns/batch.ts';
import type { ActorContext, ActorSpec, Next } from '../mailbox/actor.ts';
import type { Priority } from '../mailbox/run-queue.ts';
import { Budget, type Operator } from '../operators/operator.ts';
import { closedError } from './deadline.ts';
import { nextState } from '../supervisor/lifecycle.ts';
import { QUERY_LIFECYCLE, type QueryEvent, type QueryState } from './lifecycles.ts';
import type { TenantId } from '../base/units.ts';

/**
 * A query as an actor: each step advances the operators by what the step may spend, charges what was spent and asks for
 * the next one. A cancel overtakes in the control lane and is taken before the next step; the ledger keeps what was
 * spent.
 */
export type QueryMessage =
  | { readonly kind: 'step' }
  /** The consumer wants more rows. */
  | { readonly kind: 'demand' }
  | { readonly kind: 'cancel'; readonly cause: DbError };

export type QueryTask = {
  readonly name: string;
  readonly tenant: TenantId;
  readonly priority: Priority;
  /** Builds the operators; called inside the first step. */
  open(): Operator;
  /** Takes rows; false: no more until `demand`. The batch is valid during the call only. */
  take(batch: Batch): boolean;
  /** Where it is in its lifecycle. */
  entered?(state: QueryState): void;
  /** Work units so far, after each step. */
  worked?(spent: number): void;
  done(spent: number): void;
  failed(cause: unknown, spent: number): void;
  /** Work units after which it is ended with 53400. */
  readonly workMax: number | undefined;
};

/**
 * Of a step, what a query's first one may spend; each following one so much more. Its kernels have just been made, and cold code
 * takes ten times as long for a unit as what the run loop has learned.
 */
export const FIRST_STEP_SHARE = 1 / 16;

/** What the step after one of `share` may spend. */
export function nextStepShare(share: number): number {
  return Math.min(1, share + FIRST_STEP_SHARE);
}

/** Batches handed over in one step at most: converting rows to JavaScript values costs more than reading them. */
const BATCHES_PER_STEP_MAX = 4;

export function queryActor(task: QueryTask): ActorSpec<QueryMessage> {
  let hasBegun = false;
  return {
    name: task.name,
    tenant: task.tenant,
    priority: task.priority,
    // Of one that has begun `stopped` tells the end.
    undelivered: () => {
      if (!hasBegun) task.failed(closedError(), 0);
    },
    start: () => {
      hasBegun = true;
      const budget = new Budget(0);
      let operator: Operator | undefined;
      let share = FIRST_STEP_SHARE;
      let state = QUERY_LIFECYCLE.initial;
      const happened = (event: QueryEvent): void => {
        const next = nextState(QUERY_LIFECYCLE, state, event);
        if (next === state) return;
        state = next;
        task.entered?.(state);
      };
      const hasEnded = (): boolean => QUERY_LIFECYCLE.states[state].type === 'final';
      const end = (event: QueryEvent, tell: () => void): Next<QueryMessage> => {
        happened(event);
        operator?.close();
        tell();
        return 'stop';
      };
      const step = (context: ActorContext<QueryMessage>): Next<QueryMessage> => {
        const before = budget.spent;
        budget.refill(Math.max(1, Math.floor(context.stepBudget * share)));
        share = nextStepShare(share);
        try {
          happened('step');
          operator ??= task.open();
          for (let batches = 0; batches < BATCHES_PER_STEP_MAX; batches += 1) {
            const outcome = operator.next(budget);
            if (outcome === 'done') {
              refuseWork(task.workMax, budget.spent);
              return end('finish', () => task.done(budget.spent));
            }
            if (outcome === 'more') break;
            if (!task.take(operator.batch)) {
              happened('full');
              return 'continue';
            }
            budget.charge(operator.batch.rowCount);
            if (budget.exhausted) break;
          }
          refuseWork(task.workMax, budget.spent);
          return 'again';
        } catch (cause) {
          if (hasEnded()) throw cause;
          return end('fail', () => task.failed(cause, budget.spent));
        } finally {
          context.charge(budget.spent - before);
          task.worked?.(budget.spent);
        }
      };
      return {
        receive: (message, context) => {
          switch (message.kind) {
            case 'cancel':
              return hasEnded()
                ? 'stop'
                : end('cancel', () => task.failed(message.cause, budget.spent));
            case 'demand':
              if (state !== 'paused') return 'continue';
              happened('demand');
              // Not stepped here: `again` would deliver the demand once more, which is then none.
              context.self.tell({ kind: 'step' });
              return 'continue';
            case 'step':
              return step(context);
          }
        },
        stopped: () => {
          if (hasEnded()) return;
          happened('cancel');
          operator?.close();
          task.failed(closedError(), budget.spent);
        },
      };
    },
  };
}

function refuseWork(limit: number | undefined, spent: number): void {
  if (limit === undefined || spent <= limit) return;
  throw new DbError('53400', `the query needs more than ${limit} work units`, {
    limit: 'work',
    hint: 'Narrow the query, read a materialized view instead, or raise maxWork.',
  });
}
