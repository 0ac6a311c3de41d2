import { DbError } from '../base/errors.ts';
import type { TimerHandle } from '../base/ports.ts';
import type { ReplyTo } from './actor.ts';

/** One ask under way: the reply's address, the deadline, and a link in its receiver's list of asks. */
export class PendingAsk<Reply> implements ReplyTo<Reply> {
  settled = false;
  /** What was sent, to find the ask of a message whose handling failed. */
  message: unknown = undefined;
  timer: TimerHandle | undefined = undefined;
  signal: AbortSignal | undefined = undefined;
  previous: PendingAsk<unknown> | undefined = undefined;
  next: PendingAsk<unknown> | undefined = undefined;
  readonly #resolve: (value: Reply) => void;
  readonly #reject: (error: unknown) => void;
  readonly #owner: AskOwner;

  constructor(owner: AskOwner, resolve: (value: Reply) => void, reject: (error: unknown) => void) {
    this.#owner = owner;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  reply(value: Reply): void {
    if (this.settled) return;
    this.#settle();
    this.#resolve(value);
  }

  fail(error: unknown): void {
    if (this.settled) return;
    this.#settle();
    this.#reject(error);
  }

  /** The listener of `signal`. */
  readonly abort = (): void => this.fail(abortedError(this.signal!));

  #settle(): void {
    this.settled = true;
    this.timer?.cancel();
    this.signal?.removeEventListener('abort', this.abort);
    const asks = this as PendingAsk<unknown>;
    if (asks.previous !== undefined) asks.previous.next = asks.next;
    else if (this.#owner.asks === asks) this.#owner.asks = asks.next;
    if (asks.next !== undefined) asks.next.previous = asks.previous;
    asks.previous = undefined;
    asks.next = undefined;
    this.message = undefined;
  }
}

export type AskOwner = { asks: PendingAsk<unknown> | undefined };

export function linkAsk(owner: AskOwner, ask: PendingAsk<unknown>): void {
  ask.next = owner.asks;
  if (ask.next !== undefined) ask.next.previous = ask;
  owner.asks = ask;
}

export function goneError(name: string): DbError {
  return new DbError('ADB_ACTOR_GONE', `${name} has ended`, {
    hint: 'Look it up again: it was dropped, closed, or failed.',
  });
}

export function laneFullError(name: string, retryAfterMs: number): DbError {
  return new DbError('53000', `too many requests wait for ${name}`, {
    limit: 'queue',
    retryAfterMs,
    hint: 'Send fewer requests at once, or try again later.',
  });
}

export function askTimeoutError(name: string, timeoutMs: number): DbError {
  return new DbError(
    '57014',
    `canceling statement due to timeout: no reply from ${name} within ${timeoutMs} ms`,
    {
      hint: 'Raise timeoutMs, or ask for less at once.',
    },
  );
}

export function abortedError(signal: AbortSignal): DbError {
  const error = new DbError('57014', 'canceling statement due to user request', {
    cause: signal.reason,
  });
  error.name = 'AbortError';
  return error;
}

/** A failure as the one who asked sees it: a DbError stays itself, anything else is ours. */
export function failureError(name: string, cause: unknown): DbError {
  if (cause instanceof DbError) return cause;
  return new DbError('XX000', `${name} failed`, {
    detail: cause instanceof Error ? cause.message : String(cause),
    hint: 'This is a defect of the database, not of the request; the part that failed is rebuilt.',
    cause,
  });
}
