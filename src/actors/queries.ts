import { DbError } from '../base/errors.ts';
import type { Priority } from '../mailbox/run-queue.ts';
import type { Cancelable, ProgressiveEvent, ProgressiveStop } from './api-types.ts';
import type { Engine, RunningQuery } from './engine.ts';
import type { ProgressiveQuery } from './progressive.ts';
import { untilSettled, within } from './deadline.ts';

/** What a query that runs shows of itself. */
export type QueryInfo = {
  readonly id: string;
  readonly tenant: string;
  readonly user: string | undefined;
  readonly label: string | undefined;
  readonly text: string;
  readonly priority: Priority;
  /** When it was asked, epoch milliseconds. */
  readonly startedMs: number;
  /** Rows it has given, and work units it has spent, so far. */
  readonly rows: number;
  readonly work: number;
  /** Of a progressive answer: half the width of its widest interval beside the estimate; null where one is unbounded. */
  readonly relativeError?: number | null | undefined;
  /** Rows there are to be read, and milliseconds until it stops, as far as can be told. */
  readonly rowsTotal?: number | undefined;
  readonly etaMs?: number | null | undefined;
  /** Round by round; of `get` only. */
  readonly convergence?: ProgressiveEvent['convergence'] | undefined;
  /** queued, running, or paused until its rows are taken; of a progressive answer, where it is in its lifecycle. */
  readonly state: string;
};

/** `db.queries`: what runs for one tenant, and the way to steer and to end it. */
export class Queries {
  readonly #engine: Engine;
  readonly #tenant: string;

  constructor(engine: Engine, tenant: string) {
    this.#engine = engine;
    this.#tenant = tenant;
  }

  /** What runs now, in the order of asking. */
  list(options?: Cancelable): Promise<QueryInfo[]> {
    return this.#within(options, () => {
      this.#engine.assertOpen();
      return queriesOf(this.#engine, this.#tenant);
    });
  }

  /** 42704 where none of that id runs. */
  get(id: string, options?: Cancelable): Promise<QueryInfo> {
    return this.#within(options, () => infoOf(this.#running(id)));
  }

  /** Ends a query: whoever waits for it gets 57014, and of a progressive answer what it had. 42704 where none of that id runs. */
  cancel(id: string, options?: Cancelable): Promise<void> {
    return this.#within(options, async (signal) => {
      const query = this.#running(id);
      const answer = this.#engine.answers.get(id);
      if (answer !== undefined) await untilSettled(answer.cancel(), signal);
      else query.cancel(new DbError('57014', 'canceling statement due to user request'));
    });
  }

  /** A progressive answer keeps what it has and reads no more until `resume`. 42704 where none of that id runs, 55000 for another query. */
  pause(id: string, options?: Cancelable): Promise<void> {
    return this.#within(options, (signal) => untilSettled(this.progressive(id).pause(), signal));
  }

  resume(id: string, options?: Cancelable): Promise<void> {
    return this.#within(options, (signal) => untilSettled(this.progressive(id).resume(), signal));
  }

  /** A progressive answer goes on, or on for longer, until the rule is met: for whoever iterates on it. */
  refine(id: string, stop: ProgressiveStop, options?: Cancelable): Promise<void> {
    return this.#within(options, (signal) =>
      untilSettled(this.progressive(id).refineTo(stop), signal),
    );
  }

  /** A progressive answer that is not over, to steer or to watch it. 42704 where none of that id runs, 55000 for another query. */
  progressive(id: string): ProgressiveQuery {
    this.#running(id);
    const answer = this.#engine.answers.get(id);
    if (answer !== undefined) return answer;
    throw new DbError('55000', `query "${id}" is not a progressive one`, {
      hint: 'Ask with db.progressive, or with "mode": "progressive"; any query can be cancelled.',
    });
  }

  #within<Value>(
    options: Cancelable | undefined,
    action: (signal: AbortSignal | undefined) => Value | Promise<Value>,
  ): Promise<Value> {
    return within(this.#engine.ports.clock, options, action);
  }

  /** Another tenant's queries are not there. */
  #running(id: string): RunningQuery {
    this.#engine.assertOpen();
    const query = this.#engine.queries.get(id);
    if (query?.tenant === this.#tenant) return query;
    throw new DbError('42704', `no query "${id}" is running`, {
      hint: 'It may have ended: db.queries.list(), GET /v1/queries and adb.queries show those that run.',
    });
  }
}

/** What runs for a tenant. */
export function queriesOf(engine: Engine, tenant: string): QueryInfo[] {
  return [...engine.queries.values()]
    .filter((query) => query.tenant === tenant)
    .map((query) => {
      const { convergence: _, ...shown } = infoOf(query);
      return shown;
    });
}

function infoOf({ cancel: _cancel, stop: _stop, ...shown }: RunningQuery): QueryInfo {
  return shown;
}
