import type { Change, Verbs } from '../actors/api-types.ts';
import type { Database, SessionHandle } from '../actors/database.ts';
import type { Connection } from './network.ts';

/** One request as the database saw it, and what became of it there, whatever the client learned. */
export type Call = {
  /** Numbers the sessions of a world. */
  readonly session: number;
  readonly who: string;
  readonly tenant: string;
  /** A verb of the session; `attempt`: the function of a `transaction` begins, perhaps once more. */
  readonly verb: string;
  readonly args: readonly unknown[];
};

/** Sees all requests: oracles. */
export interface CallObserver {
  /** The request is in: returns who is told of its end. */
  began(call: Call): CallEnd | undefined;
}
export type CallEnd = {
  answered(result: unknown): void;
  failed(cause: unknown): void;
};

const ASKED: ReadonlySet<string> = new Set(['exec', 'query', 'insert', 'upsert', 'delete', 'load']);
const REPEATABLE: ReadonlySet<string> = new Set(['insert', 'upsert', 'load']);

/**
 * A session at the other end of a connection. Everything it is asked goes there as a message and comes back as one, so it
 * can be late, or lost: then the caller gets 08006 and does not know whether it was done.
 */
export function remoteSession(
  target: SessionHandle,
  connection: Connection,
  context: RemoteContext,
): SessionHandle {
  connection.onLost(() => void target.close().catch(() => undefined));
  return remote(target, connection, context);
}

/** The database within its own process: everything as it is, but that the end of the process ends what is under way. */
export function localDatabase(target: Database, connection: Connection): Database {
  return remote(target, connection, {
    session: 0,
    who: 'the database',
    tenant: 'main',
    observers: [],
  });
}

export type RemoteContext = {
  readonly session: number;
  readonly who: string;
  readonly tenant: string;
  readonly observers: readonly CallObserver[];
};

function remote<Target extends object>(
  target: Target,
  connection: Connection,
  context: RemoteContext,
): Target {
  const methods = new Map<string | symbol, unknown>();
  return new Proxy(target, {
    get: (_, name) => {
      const known = methods.get(name);
      if (known !== undefined) return known;
      const value = Reflect.get(target, name, target) as unknown;
      if (typeof value !== 'function') return value;
      const made = methodOf(target, name, value as Method, connection, context);
      methods.set(name, made);
      return made;
    },
  });
}

type Method = (...args: unknown[]) => unknown;

function methodOf(
  target: object,
  name: string | symbol,
  method: Method,
  connection: Connection,
  context: RemoteContext,
): Method {
  const call = (...args: unknown[]): unknown => method.apply(target, args);
  if (name === Symbol.asyncDispose) return () => connection.request(() => call() as Promise<void>);
  if (name === 'close') {
    return async () => {
      await connection.request(() => observed(context, name, [], () => call() as Promise<void>));
      connection.close();
    };
  }
  if (typeof name === 'string' && ASKED.has(name)) {
    return (...args) =>
      connection.request(
        () => observed(context, name, args, () => call(...args) as Promise<unknown>),
        REPEATABLE.has(name) && hasKey(args[2]),
      );
  }
  switch (name) {
    case 'stream':
      return (...args) => received(() => call(...args) as AsyncIterable<unknown>, connection);
    case 'subscribe':
      return (...args) =>
        remoteSubscription(call(...args) as AsyncIterable<Change>, connection, context, args);
    case 'transaction':
      return (run, options) =>
        connection.request(() =>
          observed(
            context,
            'transaction',
            [run, options],
            () =>
              call((tx: Verbs) => {
                for (const observer of context.observers)
                  observer.began({ ...calledBy(context), verb: 'attempt', args: [] });
                return (run as (tx: Verbs) => Promise<unknown>)(remote(tx, connection, context));
              }, options) as Promise<unknown>,
          ),
        );
    case 'as':
    case 'session':
      return (...args) => remote(call(...args) as object, connection, context);
    default:
      return call;
  }
}

function hasKey(options: unknown): boolean {
  return (
    typeof options === 'object' &&
    options !== null &&
    'idempotencyKey' in options &&
    options.idempotencyKey !== undefined
  );
}

const calledBy = ({ session, who, tenant }: RemoteContext): Omit<Call, 'verb' | 'args'> => ({
  session,
  who,
  tenant,
});

function observed<Value>(
  context: RemoteContext,
  verb: string,
  args: readonly unknown[],
  run: () => Promise<Value>,
): Promise<Value> {
  const { observers } = context;
  if (observers.length === 0) return run();
  const call = { ...calledBy(context), verb, args };
  const ends = observers.flatMap((observer) => observer.began(call) ?? []);
  const result = run();
  result.then(
    (value) => {
      for (const end of ends) end.answered(value);
    },
    (cause: unknown) => {
      for (const end of ends) end.failed(cause);
    },
  );
  return result;
}

/** Items arrive one by one, as they are pulled. */
async function* received<Item>(
  open: () => AsyncIterable<Item>,
  connection: Connection,
): AsyncGenerator<Item> {
  const iterator = await connection.request(async () => open()[Symbol.asyncIterator]());
  let ended = false;
  try {
    for (;;) {
      const next = await connection.receive(() => iterator.next());
      if (next.done === true) {
        ended = true;
        return;
      }
      yield next.value;
    }
  } finally {
    // The other end learns that nobody reads any more; that it does is not waited for.
    if (!ended) void iterator.return?.()?.then(undefined, () => undefined);
  }
}

function remoteSubscription(
  subscription: AsyncIterable<Change>,
  connection: Connection,
  context: RemoteContext,
  args: readonly unknown[],
): AsyncIterable<Change> {
  const ends = context.observers.flatMap(
    (observer) => observer.began({ ...calledBy(context), verb: 'subscribe', args }) ?? [],
  );
  return new Proxy(subscription, {
    get: (target, name) => {
      if (name === Symbol.asyncIterator)
        return () =>
          received(async function* observedChanges(): AsyncGenerator<Change> {
            for await (const change of target) {
              for (const end of ends) end.answered(change);
              yield change;
            }
          }, connection);
      const value = Reflect.get(target, name, target) as unknown;
      return typeof value === 'function' ? (value as Method).bind(target) : value;
    },
  });
}
