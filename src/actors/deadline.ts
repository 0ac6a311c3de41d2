import { setMaxListeners } from 'node:events';
import { DbError } from '../base/errors.ts';
import type { Clock } from '../base/ports.ts';
import type { Cancelable } from './api-types.ts';
import { CANCELABLE, checkNames, namesOf } from './check-options.ts';

/**
 * One signal for a caller's own signal and its time limit; either ends the call with 57014. `closing`: for a call that waits for
 * what would not hear that the database, or its session, is closed. `done` lets all of them go.
 */
export function deadline(
  clock: Clock,
  options: Cancelable,
  closing: readonly AbortSignal[] = [],
  timedOut: () => DbError = statementTimedOut,
): { readonly signal: AbortSignal | undefined; readonly done: () => void } {
  const { signal, timeoutMs } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new DbError('22023', '"signal" is not an AbortSignal', {
      field: 'signal',
      hint: 'Give the signal of an AbortController.',
    });
  }
  if (signal !== undefined) letManyListen(signal);
  if (timeoutMs !== undefined && !(typeof timeoutMs === 'number' && timeoutMs >= 0)) {
    throw new DbError('22023', '"timeoutMs" is not a positive number', {
      field: 'timeoutMs',
      hint: 'Give milliseconds; 0 is no limit.',
    });
  }
  const isLimited = timeoutMs !== undefined && timeoutMs > 0;
  if (!isLimited && closing.length === 0) return { signal, done: () => undefined };
  const controller = new AbortController();
  const timer = isLimited
    ? clock.after(
        timeoutMs,
        () => controller.abort(timedOut()),
        // Whoever awaits the call is told, though there may be nothing else for the process to do.
        true,
      )
    : undefined;
  const sources = signal === undefined ? closing : [signal, ...closing];
  const forward = ({ target }: { readonly target: EventTarget | null }): void =>
    controller.abort((target as AbortSignal).reason);
  for (const source of sources) {
    if (source.aborted) forward({ target: source });
    source.addEventListener('abort', forward, { once: true });
  }
  return {
    signal: controller.signal,
    done: () => {
      timer?.cancel();
      for (const source of sources) source.removeEventListener('abort', forward);
    },
  };
}

/** A dashboard ends all its calls by one signal: a listener for each is no leak, and Node is not to warn of one. */
export function letManyListen(signal: AbortSignal): void {
  try {
    setMaxListeners(0, signal);
  } catch (cause) {
    // Where tests have a DOM of their own (jsdom, happy-dom), AbortController is of that: Node does not know it, and warns of none.
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_INVALID_ARG_TYPE') throw cause;
  }
}

export const STATEMENT_TIMED_OUT = 'canceling statement due to statement timeout';

function statementTimedOut(): DbError {
  return new DbError('57014', STATEMENT_TIMED_OUT, {
    hint: 'Narrow the query, or give it a longer timeoutMs or statement_timeout.',
  });
}

/** Throws 57014 where the call was given up already. */
export function assertNotAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw canceled(signal);
}

/**
 * A call of one of the verbs that set, get, list and drop: refused where it is given up before it begins. `action` hands the signal on to what it waits for.
 */
export async function within<Value>(
  clock: Clock,
  options: Cancelable | undefined,
  action: (signal: AbortSignal | undefined) => Value | Promise<Value>,
): Promise<Value> {
  if (options === undefined) return action(undefined);
  checkNames(options, CALL_OPTIONS);
  const { signal, done } = deadline(clock, options);
  try {
    assertNotAborted(signal);
    return await action(signal);
  } finally {
    done();
  }
}

const CALL_OPTIONS = namesOf<Cancelable>(CANCELABLE);

/** A source that does not answer must not hold up a cancel. */
export async function* untilAborted<Item>(
  items: AsyncIterable<Item>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Item, void, undefined> {
  if (signal === undefined) {
    yield* items;
    return;
  }
  const iterator = items[Symbol.asyncIterator]();
  try {
    for (;;) {
      // A promise for each: one that lasts would hold all that ever came before it.
      const next = await untilSettled(iterator.next(), signal);
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    // A source that hangs does not hear this either.
    void Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
}

/** What a call ends with whose signal was aborted. */
export function canceled(signal: AbortSignal): DbError {
  const { reason } = signal;
  if (reason instanceof DbError) return reason;
  const error = new DbError('57014', 'canceling statement due to user request', { cause: reason });
  error.name = 'AbortError';
  return error;
}

/** A promise of a user's, which knows nothing of the signal. */
export async function untilSettled<Value>(
  promise: Promise<Value>,
  signal: AbortSignal | undefined,
): Promise<Value> {
  if (signal === undefined) return promise;
  let abort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(canceled(signal));
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** What a call meets whose database is closed, or closes under it. */
export function closedError(): DbError {
  return new DbError('57P01', 'the database is closed', { hint: 'Open it again with open().' });
}
