import type { DbError } from '../base/errors.ts';
import type { TimerHandle } from '../base/ports.ts';
import type { TenantId } from '../base/units.ts';
import type { Lane, MailboxLimits } from './lane.ts';
import type { Priority } from './run-queue.ts';

/** `full`: the lane's bound is reached and nothing was queued. `dead`: the actor has ended. */
export type Told = 'ok' | 'full' | 'dead';

/**
 * Where messages go. It stays good while its actor is restarted, and answers `dead` once the actor has ended. From one
 * sender and through one lane messages arrive in the order they were sent; nothing else is promised about order.
 */
export interface ActorRef<Message> {
  readonly id: number;
  readonly name: string;
  readonly tenant: TenantId;
  readonly alive: boolean;
  /** Queues a message, by default in the `command` lane. Never blocks, never throws. */
  tell(message: Message, lane?: Lane): Told;
  /**
   * Resolves once the message is queued, which a full lane delays until there is credit. Rejects with 53000 when too many
   * offers wait already, and with 57014 when `signal` aborts first.
   */
  offer(message: Message, lane?: Lane, signal?: AbortSignal): Promise<'ok' | 'dead'>;
  /**
   * Sends what `make` returns and resolves with the reply. Rejects with what the receiver fails it with; with 57014
   * after `timeoutMs`; with 53000 when the lane is full; with ADB_ACTOR_GONE when the actor has ended or ends first.
   */
  ask<Reply>(make: (replyTo: ReplyTo<Reply>) => Message, options: AskOptions): Promise<Reply>;
  /** Ends the actor after the message it is at; what waits in its mailbox becomes dead letters. */
  stop(): void;
}

export type AskOptions = {
  readonly timeoutMs: number;
  readonly lane?: Lane;
  readonly signal?: AbortSignal | undefined;
};

/** Travels in a message. The first call counts; later ones, and those after the deadline, do nothing. */
export interface ReplyTo<Reply> {
  /** Nobody waits any more: answered, timed out or aborted. Work for it may be left undone. */
  readonly settled: boolean;
  reply(value: Reply): void;
  fail(error: unknown): void;
}

/**
 * What a message led to. `again`: the same message is delivered once more in a later step, before others of its lane and
 * after control messages; so long work is many short steps, and cannot lose its place. `stop`: the actor ends.
 */
export type Next<Message> = 'continue' | 'again' | 'stop' | { readonly become: Behavior<Message> };

export type Receive<Message> = (message: Message, context: ActorContext<Message>) => Next<Message>;

/**
 * Takes one message, does a bounded piece of work, says what is next. It never awaits: a promise's outcome comes back as
 * a message (`context.pipe`). Whatever it throws is a failure of the actor, which its supervisor decides about.
 */
export type Behavior<Message> =
  | Receive<Message>
  | {
      receive: Receive<Message>;
      /**
       * Asked to stop: ends at once, or with `continue` when a later message returns `stop` (its supervisor kills it
       * after the deadline). Meanwhile command and bulk messages are refused.
       */
      stopping?(context: ActorContext<Message>): 'stop' | 'continue';
      /** The last call this behaviour gets, whatever ended it: gives back what it holds. */
      stopped?(why: Exit | { readonly kind: 'restarting' }): void;
    };

export interface ActorContext<Message> {
  readonly self: ActorRef<Message>;
  /** Work done for this message, in work units; decides whose step is next, and is metered. */
  charge(workUnits: number): void;
  /** How urgent what it does next is, from the end of this step on. */
  priority: Priority;
  /** Work units this step may still spend, at least 1: what a batch is cut by. */
  readonly stepBudget: number;
  /** Sends itself `message` after `delayMs`; past a full mailbox, since a timer is one message. Ends with the actor. */
  after(delayMs: number, message: Message, lane?: Lane): TimerHandle;
  /** Sends itself the outcome of a promise, in the control lane, past a full mailbox. */
  pipe<Value>(promise: Promise<Value>, toMessage: (outcome: Outcome<Value>) => Message): void;
  /** Sends itself `message` through the system lane when the other has ended; at once if it has. */
  watch(other: ActorRef<never>, message: Message): void;
}

export type Outcome<Value> =
  | { readonly kind: 'ok'; readonly value: Value }
  | { readonly kind: 'failed'; readonly cause: unknown };

export type Exit =
  /** Its behaviour returned `stop`. */
  | { readonly kind: 'finished' }
  /** `stop()` was called. */
  | { readonly kind: 'stopped' }
  /** It did not stop within its deadline. */
  | { readonly kind: 'killed' }
  | ({ readonly kind: 'failed' } & Failure);

export type Failure = {
  readonly cause: unknown;
  /** What was being done: starting, stopping, or a message. */
  readonly during: 'start' | 'message' | 'stop';
  /** The message and its lane, when `during` is `message`. */
  readonly message: unknown;
  readonly lane: Lane;
};

export type ActorSpec<Message> = {
  /** For people: `table orders`, `query 8h3k`. Need not be unique. */
  readonly name: string;
  readonly tenant: TenantId;
  /** `normal` unless given. */
  readonly priority?: Priority | undefined;
  /** Makes the behaviour, in the actor's first step and after each restart: state is rebuilt, never reused. */
  readonly start: (context: ActorContext<Message>) => Behavior<Message>;
  /** From `mailboxLimits`, one shared by all actors of a kind. */
  readonly mailbox?: MailboxLimits<Message>;
  /** Called for each message that still waited when the actor ended, started or not: whoever hopes for its outcome is told. */
  readonly undelivered?: ((message: Message) => void) | undefined;
};

/** Told what becomes of an actor: the supervisor's side. All calls come from within the dispatcher's step. */
export interface ActorWatcher {
  started(): void;
  /** The actor is suspended: it keeps its mailbox and does nothing until `restart` or `kill`. */
  failed(failure: Failure): void;
  ended(exit: Exit): void;
}

/** The hold a supervisor has on an actor. */
export interface ActorControl<Message> {
  readonly ref: ActorRef<Message>;
  readonly state: ActorState;
  /** Ends the present behaviour, if any, and starts anew; `redeliver` first gives the new one a message that failed. */
  restart(redeliver?: { readonly message: unknown; readonly lane: Lane }): void;
  /** Takes the actor's behaviour away until `restart`: for siblings that restart together. */
  suspend(): void;
  /** Ends now, without asking; `because` is what the actor failed with, if that is why. */
  kill(because?: Failure): void;
  /** Gives up on a message that failed: it becomes a dead letter, and who asked with it gets `error`. */
  refuse(message: unknown, lane: Lane, error: DbError): void;
}

export type ActorState = 'starting' | 'running' | 'suspended' | 'stopping' | 'ended';

/** What inspection shows; no message is in it. */
export type ActorInfo = {
  readonly id: number;
  readonly name: string;
  readonly tenant: TenantId;
  readonly state: ActorState;
  /** Waiting messages by lane, in the order of LANES. */
  readonly waiting: readonly number[];
  readonly waitingBytes: number;
  readonly parkedOffers: number;
  readonly timers: number;
};
