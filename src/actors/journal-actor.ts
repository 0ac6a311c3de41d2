import type { DbError } from '../base/errors.ts';
import type { ActorSpec } from '../mailbox/actor.ts';
import { Budget } from '../operators/operator.ts';
import type { TenantId } from '../base/units.ts';
import type { CommitMessage } from './commit-group.ts';
import type { CommitRequest, CommitTurn } from './commit-turn.ts';
import { closedError } from './deadline.ts';

/** The journal as an actor: commits come in as messages and leave in one order. */
export type JournalMessage =
  | CommitMessage
  /** Goes on with commits that did not fit a step. */
  | { readonly kind: 'step' }
  | { readonly kind: 'cancel'; readonly request: CommitRequest; readonly cause: DbError };

export function journalActor(turn: CommitTurn, tenant: TenantId): ActorSpec<JournalMessage> {
  return {
    name: 'journal',
    tenant,
    undelivered: (message) => {
      if (message.kind === 'commit') message.failed(closedError());
    },
    start: () => {
      const budget = new Budget(0);
      let stepping = false;
      return (message, context) => {
        const before = budget.spent;
        budget.refill(context.stepBudget);
        let more = false;
        try {
          switch (message.kind) {
            case 'commit':
              more = turn.submit(message.take(), budget);
              break;
            case 'step':
              stepping = false;
              more = turn.step(budget);
              break;
            case 'cancel':
              turn.cancel(message.request, message.cause);
              break;
          }
        } catch (cause) {
          // What can fail is handled inside: this is state that surprised us. Those who wait are told before the actor dies.
          turn.broke(cause);
          if (message.kind === 'commit') message.failed(turn.refusal);
          throw cause;
        }
        context.charge(budget.spent - before);
        // One step message at a time: commits of others come between two of them.
        if (more && !stepping) {
          stepping = true;
          context.self.tell({ kind: 'step' }, 'bulk');
        }
        return 'continue';
      };
    },
  };
}
