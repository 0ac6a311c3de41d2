/** What `db.on` tells (docs/api.md). Listeners that throw are told of in a microtask of their own, like any stray error. */
export type DatabaseEvents = {
  'view.failed': { readonly view: string; readonly position: number; readonly cause: unknown };
  'view.rebuilt': { readonly view: string; readonly position: number; readonly elapsedMs: number };
  'query.slow': {
    readonly queryId: string;
    readonly text: string;
    readonly elapsedMs: number;
    readonly work: number;
  };
  'tenant.throttled': { readonly tenant: string; readonly limit: string };
  'memory.pressure': { readonly usedBytes: number; readonly limitBytes: number };
  'actor.restarted': { readonly actor: string; readonly cause: unknown };
  'journal.refused': { readonly cause: unknown };
};

export type DatabaseEventName = keyof DatabaseEvents;

export class EventHub {
  readonly #listeners = new Map<string, Set<(event: never) => void>>();

  on<Name extends DatabaseEventName>(
    name: Name,
    listener: (event: DatabaseEvents[Name]) => void,
  ): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  has(name: DatabaseEventName): boolean {
    return (this.#listeners.get(name)?.size ?? 0) > 0;
  }

  emit<Name extends DatabaseEventName>(name: Name, event: DatabaseEvents[Name]): void {
    for (const listener of this.#listeners.get(name) ?? [])
      (listener as (event: DatabaseEvents[Name]) => void)(event);
  }
}
