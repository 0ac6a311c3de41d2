import { assert } from '../base/errors.ts';
import type { DbError } from '../base/errors.ts';
import type { TimerHandle } from '../base/ports.ts';
import type {
  ActorContext,
  ActorControl,
  ActorInfo,
  ActorRef,
  ActorSpec,
  ActorState,
  ActorWatcher,
  AskOptions,
  Behavior,
  Exit,
  Failure,
  Next,
  Outcome,
  ReplyTo,
  Told,
} from './actor.ts';
import {
  abortedError,
  askTimeoutError,
  failureError,
  goneError,
  laneFullError,
  linkAsk,
  PendingAsk,
} from './ask.ts';
import type { DeadLetters } from './dead-letters.ts';
import { laneIndexOf, LANES, MESSAGE_BYTES } from './lane.ts';
import type { Lane, LaneIndex, MailboxLimits, ParkedOffer } from './lane.ts';
import { NOTHING } from './mailbox.ts';
import type { Mailbox, MailboxPool } from './mailbox.ts';
import { MESSAGE_WORK_UNITS, RunEntry, RUNNING, URGENT } from './run-queue.ts';
import type { More } from './run-queue.ts';
import type { TimerQueue } from './timer-queue.ts';

/** What the dispatcher counts, by index in its Float64Array. */
export const COUNTERS = [
  'steps',
  'messages',
  'workUnits',
  'rejected',
  'coalesced',
  'dropped',
  'asks',
  'askTimeouts',
  'spawned',
  'ended',
  'failed',
  'restarted',
] as const;
export type CounterName = (typeof COUNTERS)[number];
const REJECTED = COUNTERS.indexOf('rejected');
const COALESCED = COUNTERS.indexOf('coalesced');
const DROPPED = COUNTERS.indexOf('dropped');
const ASKS = COUNTERS.indexOf('asks');
const ASK_TIMEOUTS = COUNTERS.indexOf('askTimeouts');
const FAILED = COUNTERS.indexOf('failed');
const RESTARTED = COUNTERS.indexOf('restarted');

/** What an actor's cell needs of its dispatcher. */
export interface CellHost {
  readonly pool: MailboxPool;
  readonly deadLetters: DeadLetters;
  readonly timers: TimerQueue;
  readonly counters: Float64Array;
  /** Of actors that bring none of their own. */
  readonly limits: MailboxLimits<never>;
  /** Work units one step may spend. */
  stepBudgetUnits: number;
  /** Work units charged in the present step. */
  chargedUnits: number;
  wake(cell: RunEntry, urgent: boolean): void;
  /** The cell has ended. */
  forget(cell: RunEntry): void;
  /** A cell that nobody watches has ended by a failure. */
  unsupervisedFailure(actor: ActorRef<never>, exit: Exit): void;
}

/** A step ends after this many messages even if they charged nothing. */
export const STEP_MESSAGES_MAX = 64;

/** More timers than this in one actor are a leak. */
const ACTOR_TIMERS_MAX = 256;

/** Bits of `signals`: what is to be done before the next message. Bits cannot be lost to a full lane. */
const START = 1;
const STOP = 2;

/** What only some actors have: timers of the present life, and who wants to know of the end. */
class Ties {
  readonly timers = new Set<TimerHandle>();
  readonly watchers: { readonly cell: ActorCell<unknown>; readonly message: unknown }[] = [];
}

/**
 * One actor: its address, its context, and what the dispatcher runs, in one object, since there may be a hundred
 * thousand idle ones. Fields that only some actors need stay undefined until used.
 */
export class ActorCell<Message>
  extends RunEntry
  implements ActorRef<Message>, ActorContext<Message>, ActorControl<Message>
{
  readonly id: number;
  readonly name: string;
  state: ActorState = 'starting';
  asks: PendingAsk<unknown> | undefined = undefined;
  /** Of the dispatcher's registry. */
  older: ActorCell<unknown> | undefined = undefined;
  newer: ActorCell<unknown> | undefined = undefined;
  readonly #host: CellHost;
  readonly #spec: ActorSpec<Message>;
  readonly #limits: MailboxLimits<never>;
  readonly #watcher: ActorWatcher | undefined;
  #behavior: Behavior<Message> | undefined = undefined;
  #mailbox: Mailbox | undefined = undefined;
  #signals = START;
  /** Counts starts, so that outcomes and timers of an earlier life are not delivered to a later one. */
  #life = 0;
  #ties: Ties | undefined = undefined;

  constructor(
    id: number,
    spec: ActorSpec<Message>,
    host: CellHost,
    watcher: ActorWatcher | undefined,
  ) {
    super(spec.tenant, spec.priority);
    this.id = id;
    this.name = spec.name;
    this.#host = host;
    this.#spec = spec;
    this.#limits = (spec.mailbox as MailboxLimits<never> | undefined) ?? host.limits;
    this.#watcher = watcher;
  }

  // The address.

  get alive(): boolean {
    return this.state !== 'ended';
  }

  get ref(): ActorRef<Message> {
    return this;
  }

  tell(message: Message, lane: Lane = 'command'): Told {
    const index = laneIndexOf(lane);
    if (this.state === 'ended' || (this.state === 'stopping' && index > 1)) {
      this.#host.deadLetters.add(this, index, 'dead', message);
      return 'dead';
    }
    if (this.#push(index, message)) return 'ok';
    this.#host.counters[REJECTED]! += 1;
    return 'full';
  }

  offer(message: Message, lane: Lane = 'command', signal?: AbortSignal): Promise<'ok' | 'dead'> {
    const index = laneIndexOf(lane);
    if (signal?.aborted === true) return Promise.reject(abortedError(signal));
    if (this.state === 'ended' || (this.state === 'stopping' && index > 1)) {
      this.#host.deadLetters.add(this, index, 'dead', message);
      return Promise.resolve('dead');
    }
    if (this.#push(index, message)) return Promise.resolve('ok');
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#mailbox?.withdraw(index, offer);
        reject(abortedError(signal!));
      };
      const offer: ParkedOffer = {
        message,
        bytes: this.#limits.bytesOf?.(message as never) ?? MESSAGE_BYTES,
        settle: (outcome) => {
          signal?.removeEventListener('abort', abort);
          resolve(outcome);
        },
      };
      if (!this.#mailbox!.park(index, offer)) {
        this.#host.counters[REJECTED]! += 1;
        reject(laneFullError(this.name, 100));
        return;
      }
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  ask<Reply>(
    make: (replyTo: ReplyTo<Reply>) => Message,
    { timeoutMs, lane = 'command', signal }: AskOptions,
  ): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(abortedError(signal));
        return;
      }
      this.#host.counters[ASKS]! += 1;
      const ask = new PendingAsk<Reply>(this, resolve, reject);
      const message = make(ask);
      const told = this.tell(message, lane);
      if (told !== 'ok') {
        ask.fail(told === 'dead' ? goneError(this.name) : laneFullError(this.name, 100));
        return;
      }
      ask.message = message;
      linkAsk(this, ask as PendingAsk<unknown>);
      if (signal !== undefined) {
        ask.signal = signal;
        signal.addEventListener('abort', ask.abort, { once: true });
      }
      if (timeoutMs === Infinity) return;
      ask.timer = this.#host.timers.after(timeoutMs, () => {
        this.#host.counters[ASK_TIMEOUTS]! += 1;
        ask.fail(askTimeoutError(this.name, timeoutMs));
      });
    });
  }

  stop(): void {
    this.#signal(STOP);
  }

  // The context, which only the running behaviour has.

  get self(): ActorRef<Message> {
    return this;
  }

  charge(workUnits: number): void {
    this.#host.chargedUnits += workUnits;
  }

  get stepBudget(): number {
    return Math.max(1, this.#host.stepBudgetUnits - this.#host.chargedUnits);
  }

  after(delayMs: number, message: Message, lane: Lane = 'control'): TimerHandle {
    const { timers } = (this.#ties ??= new Ties());
    assert(timers.size < ACTOR_TIMERS_MAX, `an actor has at most ${ACTOR_TIMERS_MAX} timers`);
    const timer = this.#host.timers.after(delayMs, () => {
      timers.delete(handle);
      this.#pushForced(laneIndexOf(lane), message);
    });
    const handle: TimerHandle = {
      cancel: () => {
        timers.delete(handle);
        timer.cancel();
      },
    };
    timers.add(handle);
    return handle;
  }

  pipe<Value>(promise: Promise<Value>, toMessage: (outcome: Outcome<Value>) => Message): void {
    const life = this.#life;
    const deliver = (outcome: Outcome<Value>): void => {
      if (this.#life === life && this.state !== 'ended') this.#pushForced(1, toMessage(outcome));
    };
    promise.then(
      (value) => deliver({ kind: 'ok', value }),
      (cause: unknown) => deliver({ kind: 'failed', cause }),
    );
  }

  watch(other: ActorRef<never>, message: Message): void {
    assert(other instanceof ActorCell, 'an actor watches actors of its own dispatcher');
    if (other.state === 'ended') this.#pushForced(0, message);
    else (other.#ties ??= new Ties()).watchers.push({ cell: this as ActorCell<unknown>, message });
  }

  // The hold of a supervisor.

  restart(redeliver?: { readonly message: unknown; readonly lane: Lane }): void {
    assert(this.state !== 'ended', 'an actor that ended is not restarted');
    this.#dispose({ kind: 'restarting' });
    this.#host.counters[RESTARTED]! += 1;
    if (redeliver !== undefined) {
      this.#mailbox ??= this.#host.pool.take();
      this.#mailbox.putBack(laneIndexOf(redeliver.lane), redeliver.message);
    }
    this.state = 'starting';
    this.#signal(START);
  }

  suspend(): void {
    assert(this.state !== 'ended', 'an actor that ended is not suspended');
    this.#dispose({ kind: 'restarting' });
    this.#signals &= ~START;
    this.state = 'suspended';
  }

  kill(because?: Failure): void {
    if (this.state === 'ended') return;
    const exit: Exit = because === undefined ? { kind: 'killed' } : { kind: 'failed', ...because };
    this.#end(exit);
  }

  refuse(message: unknown, lane: Lane, error: DbError): void {
    this.#host.deadLetters.add(this, laneIndexOf(lane), 'failed', message);
    this.#failAskOf(message, error);
  }

  info(): ActorInfo {
    const mailbox = this.#mailbox;
    const lanes = [0, 1, 2, 3] as const;
    return {
      id: this.id,
      name: this.name,
      tenant: this.tenant,
      state: this.state,
      waiting: lanes.map((lane) => mailbox?.countOf(lane) ?? 0),
      waitingBytes: lanes.reduce<number>((sum, lane) => sum + (mailbox?.bytesOf(lane) ?? 0), 0),
      parkedOffers: lanes.reduce<number>((sum, lane) => sum + (mailbox?.parkedOf(lane) ?? 0), 0),
      timers: this.#ties?.timers.size ?? 0,
    };
  }

  // The step, which only the dispatcher calls.

  /** Handles messages until the step's budget is spent; returns how many. */
  step(): number {
    const host = this.#host;
    if (this.#signals !== 0) this.#handleSignals();
    let handled = 0;
    while (this.#takesMessages()) {
      const mailbox = this.#mailbox;
      if (mailbox === undefined) break;
      const message = mailbox.take(this.#limits);
      if (message === NOTHING) break;
      handled += 1;
      const goesOn = this.#deliver(message as Message, mailbox.takenLane);
      if (this.#signals !== 0) this.#handleSignals();
      if (!goesOn || handled === STEP_MESSAGES_MAX) break;
      if (host.chargedUnits + handled * MESSAGE_WORK_UNITS >= host.stepBudgetUnits) break;
    }
    if (this.#mailbox !== undefined && this.#mailbox.count === 0) {
      host.pool.give(this.#mailbox);
      this.#mailbox = undefined;
    }
    return handled;
  }

  /** Whether it must be queued again after a step. */
  get pending(): More {
    if (this.#signals !== 0) return 'urgent';
    const mailbox = this.#mailbox;
    if (mailbox === undefined || mailbox.count === 0 || !this.#takesMessages()) return 'no';
    return mailbox.urgent ? 'urgent' : 'more';
  }

  #takesMessages(): boolean {
    return this.state === 'running' || this.state === 'stopping';
  }

  /** False when the step is over. */
  #deliver(message: Message, lane: LaneIndex): boolean {
    const behavior = this.#behavior!;
    let next: Next<Message>;
    try {
      next =
        typeof behavior === 'function' ? behavior(message, this) : behavior.receive(message, this);
    } catch (cause) {
      this.#fail({ cause, during: 'message', message, lane: LANES[lane]! });
      return false;
    }
    if (next === 'continue') return true;
    if (!this.#takesMessages()) return false;
    if (next === 'again') {
      this.#mailbox!.putBack(lane, message);
      return false;
    }
    if (next === 'stop') {
      this.#end({ kind: this.state === 'stopping' ? 'stopped' : 'finished' });
      return false;
    }
    this.#behavior = next.become;
    return true;
  }

  #handleSignals(): void {
    const signals = this.#signals;
    this.#signals = 0;
    if ((signals & STOP) !== 0) {
      this.#beginStop();
      return;
    }
    if ((signals & START) !== 0) this.#begin();
  }

  #begin(): void {
    this.#life += 1;
    try {
      this.#behavior = this.#spec.start(this);
    } catch (cause) {
      this.#fail({ cause, during: 'start', message: undefined, lane: 'system' });
      return;
    }
    this.state = 'running';
    this.#watcher?.started();
  }

  #beginStop(): void {
    const behavior = this.#behavior;
    if (
      behavior === undefined ||
      typeof behavior === 'function' ||
      behavior.stopping === undefined
    ) {
      this.#end({ kind: 'stopped' });
      return;
    }
    if (this.state === 'stopping') return;
    let answer: 'stop' | 'continue';
    try {
      answer = behavior.stopping(this);
    } catch (cause) {
      this.#host.counters[FAILED]! += 1;
      this.#end({ kind: 'failed', cause, during: 'stop', message: undefined, lane: 'system' });
      return;
    }
    if (answer === 'stop') {
      this.#end({ kind: 'stopped' });
      return;
    }
    this.state = 'stopping';
    this.#mailbox?.refuseParked();
  }

  #fail(failure: Failure): void {
    this.#host.counters[FAILED]! += 1;
    if (this.#watcher === undefined || this.state === 'stopping') {
      if (failure.during === 'message') {
        this.#failAskOf(failure.message, failureError(this.name, failure.cause));
      }
      this.#end({ kind: 'failed', ...failure });
      return;
    }
    this.#dispose({ kind: 'failed', ...failure });
    this.state = 'suspended';
    this.#watcher.failed(failure);
  }

  #end(exit: Exit): void {
    this.#dispose(exit);
    this.state = 'ended';
    this.#signals = 0;
    this.#emptyMailbox();
    while (this.asks !== undefined) this.asks.fail(goneError(this.name));
    this.#host.forget(this);
    if (this.#watcher !== undefined) this.#watcher.ended(exit);
    else if (exit.kind === 'failed') this.#host.unsupervisedFailure(this, exit);
    const watchers = this.#ties?.watchers ?? [];
    this.#ties = undefined;
    for (const { cell, message } of watchers) cell.#pushForced(0, message);
  }

  /** Ends this life: the behaviour's last call, its timers. What fails in the last call is counted, and no more. */
  #dispose(why: Exit | { readonly kind: 'restarting' }): void {
    const behavior = this.#behavior;
    this.#behavior = undefined;
    this.#life += 1;
    if (this.#ties !== undefined) for (const timer of this.#ties.timers) timer.cancel();
    if (behavior === undefined || typeof behavior === 'function') return;
    try {
      behavior.stopped?.(why);
    } catch {
      this.#host.counters[FAILED]! += 1;
    }
  }

  #emptyMailbox(): void {
    const mailbox = this.#mailbox;
    if (mailbox === undefined) return;
    mailbox.refuseParked();
    for (;;) {
      const message = mailbox.take(this.#limits);
      if (message === NOTHING) break;
      this.#host.deadLetters.add(this, mailbox.takenLane, 'ended', message);
      this.#spec.undelivered?.(message as Message);
    }
    // During its own step the step gives the mailbox back.
    if ((this.place & RUNNING) === 0) {
      this.#host.pool.give(mailbox);
      this.#mailbox = undefined;
    }
  }

  #failAskOf(message: unknown, error: DbError): void {
    for (let ask = this.asks; ask !== undefined; ask = ask.next) {
      if (ask.message === message) {
        ask.fail(error);
        return;
      }
    }
  }

  #signal(bit: number): void {
    if (this.state === 'ended') return;
    this.#signals |= bit;
    this.#ready(true);
  }

  #push(lane: LaneIndex, message: unknown): boolean {
    const mailbox = (this.#mailbox ??= this.#host.pool.take());
    let outcome = mailbox.push(lane, message, this.#limits);
    if (outcome === 'full') {
      if (this.#limits.lanes[lane]!.overflow.kind !== 'dropOldest') return false;
      do {
        this.#host.counters[DROPPED]! += 1;
        this.#host.deadLetters.add(this, lane, 'dropped', mailbox.dropOldest(lane));
        outcome = mailbox.push(lane, message, this.#limits);
      } while (outcome === 'full');
    }
    if (outcome === 'coalesced') this.#host.counters[COALESCED]! += 1;
    if (this.#takesMessages()) this.#ready(lane < 2);
    return true;
  }

  #pushForced(lane: LaneIndex, message: unknown): void {
    if (this.state === 'ended') {
      this.#host.deadLetters.add(this, lane, 'dead', message);
      return;
    }
    this.#mailbox ??= this.#host.pool.take();
    this.#mailbox.pushForced(lane, message, this.#limits);
    if (this.#takesMessages()) this.#ready(lane < 2);
  }

  #ready(urgent: boolean): void {
    if (this.place === 0 || (urgent && (this.place & (RUNNING | URGENT)) === 0)) {
      this.#host.wake(this, urgent);
    }
  }
}
