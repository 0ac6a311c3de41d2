import { DbError } from '../base/errors.ts';
import type { TenantId } from '../base/units.ts';
import type { Batch } from '../columns/batch.ts';
import { denseBatch } from '../columns/build.ts';
import type { ActorContext, ActorSpec, Next } from '../mailbox/actor.ts';
import { PRIORITIES, type Priority } from '../mailbox/run-queue.ts';
import { Budget, type Operator } from '../operators/operator.ts';
import type { Look, ProgressiveRun } from '../progressive/run.ts';
import { closedError } from './deadline.ts';
import { knowsEvent, nextState } from '../supervisor/lifecycle.ts';
import {
  PROGRESSIVE_LIFECYCLE,
  type ProgressiveLifecycleEvent,
  type ProgressiveState,
} from './lifecycles.ts';
import { FIRST_STEP_SHARE, nextStepShare, type QueryMessage } from './query-actor.ts';

export type ProgressiveMessage =
  | QueryMessage
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' }
  /** A stop rule was changed: goes on unless it is met. */
  | { readonly kind: 'refine' }
  /** Ends with an error: a signal, a timeout. */
  | { readonly kind: 'abort'; readonly cause: DbError };

/** What is run: rounds of a sample, or the plain operators where nothing can be estimated. */
export type ProgressiveSource =
  | { readonly kind: 'sampled'; readonly run: ProgressiveRun }
  | { readonly kind: 'plain'; readonly operator: Operator }
  /** Operators that have the answer without reading the rows; where they turn out not to, they give nothing, and what is `otherwise`. */
  | {
      readonly kind: 'atOnce';
      readonly operator: Operator;
      isMissed(): boolean;
      otherwise(): ProgressiveSource;
    };

export type ProgressiveTask = {
  readonly name: string;
  readonly tenant: TenantId;
  readonly priority: Priority | undefined;
  /** Builds what is run; called inside the first step. */
  open(): ProgressiveSource;
  /** Makes rows of a look; false: call again. */
  show(look: Look, budget: Budget): boolean;
  /** A round is over and was looked at. True: good enough. */
  looked(look: Look, spent: number): boolean;
  /** Whether the last look is good enough by now. */
  isEnough(): boolean;
  /** A piece of the exact answer. */
  take(batch: Batch): void;
  /** Calls back when nobody else waits for a first answer: at once as a rule. */
  afterOthers(run: () => void): void;
  entered(state: ProgressiveState): void;
  /** Work units so far, after each step. */
  worked(spent: number): void;
  ended(end: ProgressiveEnd, spent: number): void;
  readonly workMax: number | undefined;
};

/** A value of a row made for JavaScript takes as long as so many rows that are read. */
export const SHOWN_WORK = 16;

/** A failure that is nobody's query's is tried again so often. */
const RESTARTS_MAX = 2;

export type ProgressiveEnd =
  | { readonly kind: 'exact' }
  | { readonly kind: 'enough' }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'failed'; readonly cause: unknown };

/**
 * A progressive answer as an actor: each step reads on in the sample, and after rounds that are worth it a look is taken and published. Before the
 * first look its steps are as any query's; afterwards they wait for the first looks of others, and are less urgent than those of queries that come:
 * of the next priority, which together, however many refine, has a fifth beside them. What it is told overtakes, and is obeyed before the next step.
 */
export function progressiveActor(task: ProgressiveTask): ActorSpec<ProgressiveMessage> {
  const { priority = 'normal' } = task;
  const refiningPriority = PRIORITIES[PRIORITIES.indexOf(priority) + 1] ?? priority;
  let hasBegun = false;
  return {
    name: task.name,
    tenant: task.tenant,
    priority,
    undelivered: () => {
      if (!hasBegun) task.ended({ kind: 'failed', cause: closedError() }, 0);
      hasBegun = true;
    },
    start: () => {
      hasBegun = true;
      const budget = new Budget(0);
      let source: ProgressiveSource | undefined;
      let share = FIRST_STEP_SHARE;
      let state = PROGRESSIVE_LIFECYCLE.initial;
      let isLooking = false;
      /** There was a first look. */
      let isRefining = false;
      /** A look whose rows are being made. */
      let shown: Look | undefined;
      /** A step is on its way: resuming must not send a second one. */
      let isStepping = true;
      let restartCount = 0;
      const happened = (event: ProgressiveLifecycleEvent): void => {
        const next = nextState(PROGRESSIVE_LIFECYCLE, state, event);
        if (next === state) return;
        state = next;
        task.entered(state);
      };
      const hasEnded = (): boolean => PROGRESSIVE_LIFECYCLE.states[state].type === 'final';
      const close = (): void => {
        if (source?.kind === 'sampled') source.run.close();
        else source?.operator.close();
      };
      const end = (
        event: 'finish' | 'cancel' | 'fail',
        outcome: ProgressiveEnd,
      ): Next<ProgressiveMessage> => {
        happened(event);
        close();
        task.ended(outcome, budget.spent);
        return 'stop';
      };
      const forget = (): void => {
        try {
          close();
        } catch {
          // What it held is given back with the query.
        }
        source = undefined;
        isLooking = false;
        shown = undefined;
      };
      const reads = (): boolean => state === 'sampling' || state === 'refining';

      /** Reads on until the step is used up; true: every row was read and given. */
      const readOn = (opened: ProgressiveSource): boolean => {
        if (opened.kind === 'plain') return drain(opened.operator);
        if (opened.kind === 'atOnce') {
          const isOver = drain(opened.operator);
          if (!opened.isMissed()) return isOver;
          opened.operator.close();
          source = opened.otherwise();
          return readOn(source);
        }
        const { run } = opened;
        for (;;) {
          if (isLooking) {
            shown ??= run.look(budget);
            if (shown === undefined || !task.show(shown, budget)) return false;
            const look = shown;
            shown = undefined;
            isLooking = false;
            happened('look');
            isRefining = true;
            if (task.looked(look, budget.spent)) {
              happened('enough');
              task.ended({ kind: 'enough' }, budget.spent);
            }
            // What was shown should be seen before more is read.
            return false;
          }
          switch (run.step(budget)) {
            case 'more':
              return false;
            case 'exact':
              return drain(run.output);
            case 'look':
              isLooking = true;
          }
        }
      };
      const drain = (operator: Operator): boolean => {
        for (;;) {
          const outcome = operator.next(budget);
          if (outcome === 'done') return true;
          if (outcome === 'more') return false;
          task.take(denseBatch(operator.batch));
          budget.charge(operator.batch.rowCount * operator.columns.length * SHOWN_WORK);
          if (budget.exhausted) return false;
        }
      };

      const step = (context: ActorContext<ProgressiveMessage>): Next<ProgressiveMessage> => {
        isStepping = false;
        if (state === 'admitted') happened('step');
        if (!reads()) return 'continue';
        const before = budget.spent;
        budget.refill(Math.max(1, Math.floor(context.stepBudget * share)));
        share = nextStepShare(share);
        try {
          source ??= task.open();
          if (readOn(source)) return end('finish', { kind: 'exact' });
          if (task.workMax !== undefined && budget.spent > task.workMax)
            throw new DbError('53400', `the query needs more than ${task.workMax} work units`, {
              limit: 'work',
              hint: 'Stop earlier, by { stop: { work } }, or raise maxWork.',
            });
          if (reads()) proceed(context);
          return 'continue';
        } catch (cause) {
          if (hasEnded()) throw cause;
          // State that surprised is thrown away: the same sample of the same rows is read again from its beginning.
          if (!(cause instanceof DbError) && reads() && restartCount < RESTARTS_MAX) {
            restartCount += 1;
            forget();
            proceed(context);
            return 'continue';
          }
          return end('fail', { kind: 'failed', cause });
        } finally {
          context.charge(budget.spent - before);
          task.worked(budget.spent);
        }
      };
      const proceed = (context: ActorContext<ProgressiveMessage>): void => {
        if (isStepping) return;
        isStepping = true;
        const { self } = context;
        context.priority = isRefining ? refiningPriority : priority;
        if (isRefining) task.afterOthers(() => void self.tell({ kind: 'step' }, 'bulk'));
        else self.tell({ kind: 'step' });
      };

      return {
        receive: (message, context) => {
          switch (message.kind) {
            case 'step':
              if (state === 'planned') happened('admit');
              return step(context);
            case 'demand':
              return 'continue';
            case 'cancel':
              return hasEnded() ? 'stop' : end('cancel', { kind: 'cancelled' });
            case 'abort':
              return hasEnded() ? 'stop' : end('fail', { kind: 'failed', cause: message.cause });
            case 'pause':
              if (state === 'planned') happened('admit');
              if (knowsEvent(PROGRESSIVE_LIFECYCLE, state, 'pause')) happened('pause');
              return 'continue';
            case 'resume':
              if (state !== 'paused') return 'continue';
              happened('resume');
              proceed(context);
              return 'continue';
            case 'refine':
              if (state === 'stopped' && !task.isEnough()) {
                happened('refine');
                proceed(context);
              } else if (state === 'stopped') task.ended({ kind: 'enough' }, budget.spent);
              return 'continue';
          }
        },
        stopped: () => {
          if (hasEnded()) return;
          happened('fail');
          close();
          task.ended({ kind: 'failed', cause: closedError() }, budget.spent);
        },
      };
    },
  };
}
