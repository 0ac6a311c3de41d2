import { DbError } from '../base/errors.ts';

/** What `db.on` tells (docs/api.md). */
export type DatabaseEvents = {
  'view.failed': { readonly view: string; readonly position: number; readonly cause: unknown };
  'view.rebuilt': {
    readonly view: string;
    readonly position: number;
    readonly elapsedMs: number;
    /** What the new rows were compared with: those they replace, at their position, or the answer of the view's query. */
    readonly checked: 'rows' | 'query';
    /** The rows that were replaced were wrong. */
    readonly differed: boolean;
  };
  /** It broke and is being made anew; a second time with what keeps it from that (ADB_TABLE_FAILED). */
  'table.failed': { readonly table: string; readonly position: number; readonly cause: unknown };
  'table.rebuilt': {
    readonly table: string;
    readonly position: number;
    readonly rows: number;
    readonly elapsedMs: number;
  };
  'query.slow': {
    readonly queryId: string;
    readonly text: string;
    readonly elapsedMs: number;
    readonly work: number;
  };
  'tenant.throttled': { readonly tenant: string; readonly limit: string };
  'memory.pressure': { readonly usedBytes: number; readonly limitBytes: number };
  'actor.restarted': { readonly actor: string; readonly cause: unknown };
  /** It failed more often than it may be started anew. */
  'actor.failed': { readonly actor: string; readonly cause: unknown };
  'journal.refused': { readonly cause: unknown };
  /** The disk has room again: writes are taken. */
  'journal.resumed': { readonly position: number };
  /** What recovery needs of the journal begins two snapshots back. */
  'snapshot.taken': { readonly position: number };
  'snapshot.failed': { readonly cause: unknown };
  /** Rows that a policy has no room for any more are still there; it is tried again. */
  'retention.failed': { readonly table: string; readonly cause: unknown };
  /** A listener of `event` has thrown, or the promise it gave was rejected. */
  'listener.failed': { readonly event: string; readonly cause: unknown };
};

export type DatabaseEventName = keyof DatabaseEvents;

const NAMES: { readonly [Name in DatabaseEventName]: true } = {
  'view.failed': true,
  'view.rebuilt': true,
  'table.failed': true,
  'table.rebuilt': true,
  'query.slow': true,
  'tenant.throttled': true,
  'memory.pressure': true,
  'actor.restarted': true,
  'actor.failed': true,
  'journal.refused': true,
  'journal.resumed': true,
  'snapshot.taken': true,
  'snapshot.failed': true,
  'retention.failed': true,
  'listener.failed': true,
};

export class EventHub {
  readonly #listeners = new Map<string, Set<(event: never) => void>>();

  on<Name extends DatabaseEventName>(
    name: Name,
    listener: (event: DatabaseEvents[Name]) => void,
  ): () => void {
    // A listener that is never called is found late.
    if (!Object.hasOwn(NAMES, name)) {
      throw new DbError('22023', `there is no event "${String(name)}"`, {
        field: 'name',
        hint: `Known are ${Object.keys(NAMES).join(', ')}.`,
      });
    }
    if (typeof listener !== 'function')
      throw new DbError('22023', 'a listener is a function', {
        field: 'listener',
        hint: `Write db.on('${name}', (event) => console.log(event)).`,
      });
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  has(name: DatabaseEventName): boolean {
    return (this.#listeners.get(name)?.size ?? 0) > 0;
  }

  /** Its own mistake is no reason for a commit or a query to fail: whatever a listener does, this comes back. */
  emit<Name extends DatabaseEventName>(name: Name, event: DatabaseEvents[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        const given: unknown = (listener as (event: DatabaseEvents[Name]) => unknown)(event);
        if (given instanceof Promise) given.catch((cause: unknown) => this.#failed(name, cause));
      } catch (cause) {
        this.#failed(name, cause);
      }
    }
  }

  /** Where nobody asks for it, it ends as whatever nobody catches does: Node tells `unhandledRejection`, and exits where nobody hears that. */
  #failed(event: DatabaseEventName, cause: unknown): void {
    if (event !== 'listener.failed' && this.has('listener.failed'))
      this.emit('listener.failed', { event, cause });
    else void Promise.reject(cause as Error);
  }
}
