import { DbError } from '../base/errors.ts';
import type { Priority } from '../mailbox/run-queue.ts';
import type { ProgressiveEvent, ProgressiveStop } from './api-types.ts';
import type { Engine, RunningQuery } from './engine.ts';
import type { ProgressiveQuery } from './progressive.ts';

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
  async list(): Promise<QueryInfo[]> {
    this.#engine.assertOpen();
    return queriesOf(this.#engine, this.#tenant);
  }

  /** 42704 where none of that id runs. */
  async get(id: string): Promise<QueryInfo> {
    return infoOf(this.#running(id));
  }

  /** Ends a query: whoever waits for it gets 57014, and of a progressive answer what it had. 42704 where none of that id runs. */
  async cancel(id: string): Promise<void> {
    const query = this.#running(id);
    const answer = this.#engine.answers.get(id);
    if (answer !== undefined) await answer.cancel();
    else query.cancel(new DbError('57014', 'canceling statement due to user request'));
  }

  /** A progressive answer keeps what it has and reads no more until `resume`. 42704 where none of that id runs, 55000 for another query. */
  async pause(id: string): Promise<void> {
    await this.progressive(id).pause();
  }

  async resume(id: string): Promise<void> {
    await this.progressive(id).resume();
  }

  /** A progressive answer goes on, or on for longer, until the rule is met: for whoever iterates on it. */
  async refine(id: string, stop: ProgressiveStop): Promise<void> {
    await this.progressive(id).refineTo(stop);
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
