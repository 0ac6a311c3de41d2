import { assert, DbError } from '../base/errors.ts';
import type { Clock, Random, TimerHandle } from '../base/ports.ts';
import type { TenantId } from '../base/units.ts';
import type { ActorControl, ActorRef, ActorSpec, ActorWatcher, Failure } from '../mailbox/actor.ts';
import { ActorCell } from '../mailbox/actor-cell.ts';
import type { Dispatcher } from '../mailbox/dispatcher.ts';
import type { Lane } from '../mailbox/lane.ts';
import { backoffMs, DEFAULT_BACKOFF, type BackoffPolicy } from './backoff.ts';
import { CHILD_LIFECYCLE, nextState, type ChildEvent, type ChildState } from './lifecycle.ts';
import { DEFAULT_INTENSITY, RestartBudget, type RestartIntensity } from './restart-budget.ts';

/**
 * Which children a failure takes along. `oneForOne`: the one that failed. `restForOne`: it and those started after it, which
 * may build on it. `oneForAll`: all.
 */
export type Strategy = 'oneForOne' | 'restForOne' | 'oneForAll';

/** Shared by all children of a kind: there may be a hundred thousand of them. */
export type ChildPolicy = {
  /** For people and for `adb.actors`: table, view, query, journal. */
  readonly kind: string;
  /** `transient`: comes back after failures; an actor that ends by itself has done its work. `temporary`: never. */
  readonly restart: 'transient' | 'temporary';
  /** After this it is killed. */
  readonly stopTimeoutMs: number;
  readonly backoff: BackoffPolicy;
  /**
   * What a failure means for which the supervisor has no restart left. `escalate`: the supervisor fails, as in OTP. `giveUp`: the
   * child has its own budget, ends, and nobody else is touched.
   */
  readonly exhausted: 'escalate' | 'giveUp';
  /** Failures by one message, after which it is set aside as poison. */
  readonly poisonAfter: number;
};

export function childPolicy(
  kind: string,
  given: Partial<Omit<ChildPolicy, 'kind'>> = {},
): ChildPolicy {
  return {
    kind,
    restart: 'transient',
    stopTimeoutMs: 5_000,
    backoff: DEFAULT_BACKOFF,
    exhausted: 'escalate',
    poisonAfter: 2,
    ...given,
  };
}

export type SupervisorSpec = {
  readonly name: string;
  readonly tenant: TenantId;
  readonly strategy: Strategy;
  readonly intensity?: RestartIntensity;
  readonly policy?: ChildPolicy;
};

/** What the tree tells whoever built it. Called from within a dispatcher's step: it must not throw. */
export type SupervisionEvents = {
  restarted?(child: ChildInfo, failure: Failure): void;
  /** A message killed its actor again after a restart, and is a dead letter now. */
  quarantined?(child: ChildInfo, failure: Failure): void;
  /** No restart is left, and nobody above takes it over: the root has failed, or a child was given up. */
  gaveUp?(child: ChildInfo, cause: unknown): void;
};

export type SupervisionContext = {
  readonly dispatcher: Dispatcher;
  readonly clock: Clock;
  /** Jitter only. */
  readonly random: Random;
  readonly events: SupervisionEvents;
};

/** What inspection shows. */
export type ChildInfo = {
  readonly id: number;
  readonly name: string;
  readonly kind: string;
  readonly tenant: TenantId;
  /** The supervisor's name; undefined for the root. */
  readonly parent: string | undefined;
  readonly state: ChildState;
  readonly restarts: number;
  /** What it failed with last, and when by the monotonic clock; undefined: it never has. */
  readonly lastError: string | undefined;
  readonly lastFailedMs: number | undefined;
  /** Waiting messages; 0 for supervisors. */
  readonly mailboxDepth: number;
};

/**
 * Keeps its children alive, by the rules of OTP. It is no actor: it has no mailbox, and acts from within the steps in which its
 * children fail, start and end.
 *
 * 1. Children start in the order given, each after the one before has started; they stop in reverse order.
 * 2. A failed child keeps its mailbox and is started anew, never repaired: state that surprised us is not to be trusted.
 * 3. More restarts than the intensity allows are the supervisor's own failure: its children end, newest first, and its
 *    parent decides. The cause keeps the whole chain.
 * 4. The message that failed is delivered once more; if it kills again, it is set aside and whoever asked is told.
 */
export class Supervisor {
  readonly spec: SupervisorSpec;
  readonly #context: SupervisionContext;
  readonly #parent: Supervisor | undefined;
  /** In order of start: intrusive, since children come and go in any order. */
  #first: Child | undefined;
  #last: Child | undefined;
  #count = 0;
  readonly #budget: RestartBudget;
  /** Policies are shared by all children of a kind. */
  readonly #kin = new Map<ChildPolicy, Kin>();
  readonly #self: Child | undefined;
  /** Children to be started one after the other; the first is being started. */
  #starting: Child[] = [];
  #state: 'running' | 'stopping' | 'ended' = 'running';
  #whenStopped: (() => void)[] = [];

  constructor(
    spec: SupervisorSpec,
    context: SupervisionContext,
    parent?: Supervisor,
    self?: Child,
  ) {
    this.spec = spec;
    this.#context = context;
    this.#parent = parent;
    this.#self = self;
    this.#budget = new RestartBudget(spec.intensity ?? DEFAULT_INTENSITY);
  }

  get name(): string {
    return this.spec.name;
  }

  get childCount(): number {
    return this.#count;
  }

  /** Starts an actor at the end of the order. It starts in a step of its own; messages told before that wait. */
  startChild<Message>(policy: ChildPolicy, actor: ActorSpec<Message>): ActorRef<Message> {
    assert(this.#state === 'running', 'a supervisor that stops takes no more children');
    const child = this.#add(policy);
    const control = this.#context.dispatcher.spawnSupervised(actor, child);
    child.subject = control as ActorControl<unknown>;
    return control.ref;
  }

  /** Starts actors that build on one another: each when the one before has started. */
  startInOrder(
    children: readonly { readonly policy: ChildPolicy; readonly actor: ActorSpec<never> }[],
  ): readonly ActorRef<never>[] {
    const refs = children.map(({ policy, actor }) => {
      const ref = this.startChild(policy, actor);
      const child = this.#last!;
      child.control!.suspend();
      this.#starting.push(child);
      return ref;
    });
    if (this.#starting.length === children.length) this.#startNext();
    return refs;
  }

  /** A supervisor as a child of this one. */
  startSupervisor(spec: SupervisorSpec): Supervisor {
    assert(this.#state === 'running', 'a supervisor that stops takes no more children');
    const child = this.#add(spec.policy ?? SUPERVISOR_POLICY);
    const supervisor = new Supervisor(spec, this.#context, this, child);
    child.subject = supervisor;
    child.happen('started');
    return supervisor;
  }

  /** Stops a child for good; `done` is called when it has ended. */
  stopChild(ref: ActorRef<never>, done?: () => void): void {
    for (let child = this.#first; child !== undefined; child = child.next) {
      if (child.control?.ref !== ref) continue;
      this.#stop(child, done);
      return;
    }
    done?.();
  }

  stopSupervisor(supervisor: Supervisor, done?: () => void): void {
    for (let child = this.#first; child !== undefined; child = child.next) {
      if (child.supervisor !== supervisor) continue;
      this.#stop(child, done);
      return;
    }
    done?.();
  }

  /** Stops all children, newest first, each when the one before has ended. */
  stop(done: () => void = () => undefined): void {
    if (this.#state === 'ended') {
      done();
      return;
    }
    this.#whenStopped.push(done);
    if (this.#state === 'stopping') return;
    this.#state = 'stopping';
    this.#starting = [];
    this.#stopNext();
  }

  /** This supervisor's tree, from the top, in order of start. */
  *infos(): Generator<ChildInfo> {
    if (this.#self === undefined) yield this.#rootInfo();
    for (let child = this.#first; child !== undefined; child = child.next) {
      yield child.info();
      if (child.supervisor !== undefined) yield* child.supervisor.infos();
    }
  }

  // What children tell: from within the dispatcher's steps.

  childStarted(child: Child): void {
    child.happen('started');
    if (this.#starting[0] === child) {
      this.#starting.shift();
      this.#startNext();
    }
  }

  childFailed(child: Child, failure: Failure): void {
    if (child.state === 'stopping' || this.#state !== 'running') {
      child.end(failure);
      return;
    }
    child.happen('failed');
    const { policy } = child;
    if (policy.restart === 'temporary') {
      child.end(failure);
      return;
    }
    const trouble = (child.trouble ??= new Trouble());
    const nowMs = this.#context.clock.monotonicMs();
    if (nowMs - trouble.failedMs > policy.backoff.stableMs) trouble.attempts = 0;
    trouble.failedMs = nowMs;
    trouble.lastError = textOf(failure.cause);
    trouble.attempts += 1;
    const own = policy.exhausted === 'giveUp';
    const budget = own
      ? (trouble.budget ??= new RestartBudget(this.spec.intensity ?? DEFAULT_INTENSITY))
      : this.#budget;
    if (!budget.take(nowMs)) {
      this.#exhausted(child, failure);
      return;
    }
    this.#noteMessage(child, trouble, failure);
    this.#restart(child, trouble, failure);
  }

  childEnded(child: Child): void {
    child.trouble?.timer?.cancel();
    child.happen('ended');
    this.#remove(child);
    this.#leaveStarting([child]);
    this.#releaseTogether(child);
    const done = child.trouble?.whenEnded;
    if (done !== undefined) child.trouble!.whenEnded = undefined;
    done?.();
    if (this.#state === 'stopping') this.#stopNext();
  }

  #exhausted(child: Child, failure: Failure): void {
    const cause = new Error(
      `${child.name} failed more often than its supervisor ${this.name} may restart it`,
      { cause: failure.cause },
    );
    this.#setAside(child, failure);
    if (child.policy.exhausted === 'escalate') {
      this.#fail(cause);
      return;
    }
    this.#context.events.gaveUp?.(child.info(), cause);
    child.end(failure);
  }

  /** This supervisor fails: its children stop where they are, newest first, and its parent decides. */
  #fail(cause: Error): void {
    this.suspendAll();
    if (this.#parent === undefined || this.#self === undefined) {
      this.#context.events.gaveUp?.(this.#rootInfo(), cause);
      this.stop();
      return;
    }
    this.#parent.childFailed(this.#self, {
      cause,
      during: 'start',
      message: undefined,
      lane: 'system',
    });
  }

  /** The message is delivered once more, or set aside when it has killed often enough. */
  #noteMessage(child: Child, trouble: Trouble, failure: Failure): void {
    if (failure.during !== 'message') return;
    const { message, lane } = failure;
    const { poison } = trouble;
    const kills = poison !== undefined && poison.message === message ? poison.kills + 1 : 1;
    trouble.redeliver = undefined;
    if (kills < child.policy.poisonAfter) {
      trouble.poison = { message, kills };
      trouble.redeliver = { message, lane };
      return;
    }
    trouble.poison = undefined;
    this.#setAside(child, failure);
    this.#context.events.quarantined?.(child.info(), failure);
  }

  #setAside(child: Child, failure: Failure): void {
    if (failure.during !== 'message') return;
    child.control?.refuse(
      failure.message,
      failure.lane,
      new DbError('XX000', `${child.name} failed at a message, which was set aside`, {
        cause: failure.cause,
        hint: 'This is an error of AnalyticDB: please report it. Everything else goes on.',
      }),
    );
  }

  #restart(child: Child, trouble: Trouble, failure: Failure): void {
    const together = this.#takenAlong(child);
    for (const sibling of together.toReversed()) if (sibling !== child) sibling.suspend();
    // Those behind it in an ordered start go on waiting for it.
    const holdsUp = together.length === 1 && this.#starting[0] === child;
    if (!holdsUp) this.#leaveStarting(together);
    const delayMs = backoffMs(child.policy.backoff, trouble.attempts, this.#context.random);
    const begin = (): void => {
      trouble.timer = undefined;
      if (this.#state !== 'running') return;
      this.#context.events.restarted?.(child.info(), failure);
      trouble.together = undefined;
      if (together.length === 1) child.begin();
      else this.#startTogether(together);
    };
    trouble.together = together;
    trouble.timer?.cancel();
    if (delayMs === 0) begin();
    else trouble.timer = this.#context.dispatcher.timers.after(delayMs, begin);
  }

  #startTogether(children: readonly Child[]): void {
    const isIdle = this.#starting.length === 0;
    for (const each of children)
      if (each.state === 'waiting' && !this.#starting.includes(each)) this.#starting.push(each);
    if (isIdle) this.#startNext();
  }

  /** Those who waited for the restart of a child that stops, or has ended, need not wait any more. */
  #releaseTogether({ trouble }: Child): void {
    const together = trouble?.together;
    if (together === undefined) return;
    trouble!.together = undefined;
    if (this.#state === 'running') this.#startTogether(together);
  }

  #takenAlong(child: Child): Child[] {
    if (this.spec.strategy === 'oneForOne') return [child];
    const together: Child[] = [];
    let each = this.spec.strategy === 'oneForAll' ? this.#first : child;
    for (; each !== undefined; each = each.next)
      if (each === child || each.policy.restart !== 'temporary') together.push(each);
    return together;
  }

  /** Takes children out of those that wait to be started; who comes next then, goes on. */
  #leaveStarting(children: readonly Child[]): void {
    const head = this.#starting[0];
    if (head === undefined) return;
    this.#starting = this.#starting.filter((each) => !children.includes(each));
    if (this.#starting[0] !== head) this.#startNext();
  }

  #startNext(): void {
    for (;;) {
      const child = this.#starting[0];
      if (child === undefined) return;
      if (child.state === 'waiting' || child.state === 'starting') {
        child.begin();
        // An actor says when it has started; a supervisor has when its children are on their way.
        if (child.supervisor === undefined) return;
      }
      this.#starting.shift();
    }
  }

  #stop(child: Child, done?: () => void): void {
    const trouble = (child.trouble ??= new Trouble());
    if (done !== undefined) {
      const before = trouble.whenEnded;
      trouble.whenEnded = (): void => {
        before?.();
        done();
      };
    }
    if (child.state === 'stopping') return;
    child.happen('stop');
    trouble.timer?.cancel();
    this.#releaseTogether(child);
    if (child.supervisor !== undefined) {
      child.supervisor.stop(() => this.childEnded(child));
      return;
    }
    trouble.timer = this.#context.dispatcher.timers.after(child.policy.stopTimeoutMs, () =>
      child.control?.kill(),
    );
    child.control?.ref.stop();
  }

  #stopNext(): void {
    const child = this.#last;
    if (child !== undefined) {
      this.#stop(child);
      return;
    }
    this.#state = 'ended';
    for (const done of this.#whenStopped.splice(0)) done();
  }

  /** Of a supervisor that was restarted: all children start anew, in order. */
  restartAll(): void {
    this.#budget.reset();
    this.#starting = [];
    for (let child = this.#first; child !== undefined; child = child.next)
      this.#starting.push(child);
    this.#startNext();
  }

  /** Takes the behaviours of all children away, newest first; temporary ones end. */
  suspendAll(): void {
    this.#starting = [];
    for (let child = this.#last; child !== undefined;) {
      const { previous } = child;
      if (child.policy.restart === 'temporary') child.end(undefined);
      else child.suspend();
      child = previous;
    }
  }

  #rootInfo(): ChildInfo {
    return {
      id: 0,
      name: this.name,
      kind: 'supervisor',
      tenant: this.spec.tenant,
      parent: undefined,
      state: this.#state,
      restarts: 0,
      lastError: undefined,
      lastFailedMs: undefined,
      mailboxDepth: 0,
    };
  }

  #add(policy: ChildPolicy): Child {
    let kin = this.#kin.get(policy);
    if (kin === undefined) {
      kin = { parent: this, policy };
      this.#kin.set(policy, kin);
    }
    const child = new Child(kin);
    child.previous = this.#last;
    if (this.#last === undefined) this.#first = child;
    else this.#last.next = child;
    this.#last = child;
    this.#count += 1;
    return child;
  }

  #remove(child: Child): void {
    const { previous, next } = child;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    this.#count -= 1;
  }
}

/** Errors may be long, and hold what a user wrote: a line of them is enough. */
function textOf(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

const SUPERVISOR_POLICY = childPolicy('supervisor');

/** What a child needs only once it has failed, or is being stopped. */
class Trouble {
  /** Failures in a row, and when the newest was. */
  attempts = 0;
  failedMs = -Infinity;
  /** Of all its life. */
  restarts = 0;
  lastError: string | undefined = undefined;
  /** Until the restart, or until it is killed. */
  timer: TimerHandle | undefined = undefined;
  poison: { readonly message: unknown; readonly kills: number } | undefined = undefined;
  redeliver: { readonly message: unknown; readonly lane: Lane } | undefined = undefined;
  budget: RestartBudget | undefined = undefined;
  /** While its restart waits: who is to be started with it. */
  together: readonly Child[] | undefined = undefined;
  whenEnded: (() => void) | undefined = undefined;
}

/** What the children of one kind have in common. */
type Kin = { readonly parent: Supervisor; readonly policy: ChildPolicy };

/** A child in its supervisor's order: small, since there is one for each table. */
class Child implements ActorWatcher {
  readonly #kin: Kin;
  previous: Child | undefined = undefined;
  next: Child | undefined = undefined;
  /** What it is; undefined while that is being made. */
  subject: ActorControl<unknown> | Supervisor | undefined = undefined;
  state: ChildState = CHILD_LIFECYCLE.initial;
  trouble: Trouble | undefined = undefined;

  constructor(kin: Kin) {
    this.#kin = kin;
  }

  get parent(): Supervisor {
    return this.#kin.parent;
  }

  get policy(): ChildPolicy {
    return this.#kin.policy;
  }

  get supervisor(): Supervisor | undefined {
    return this.subject instanceof Supervisor ? this.subject : undefined;
  }

  get control(): ActorControl<unknown> | undefined {
    return this.subject instanceof Supervisor ? undefined : this.subject;
  }

  get restarts(): number {
    return this.trouble?.restarts ?? 0;
  }

  get name(): string {
    return this.control?.ref.name ?? this.supervisor?.name ?? '';
  }

  happen(event: ChildEvent): void {
    this.state = nextState(CHILD_LIFECYCLE, this.state, event);
  }

  /** Starts, for the first time or anew. */
  begin(): void {
    if (this.state === 'waiting') {
      (this.trouble ??= new Trouble()).restarts += 1;
      this.happen('restart');
    }
    if (this.supervisor !== undefined) {
      this.happen('started');
      this.supervisor.restartAll();
      return;
    }
    const redeliver = this.trouble?.redeliver;
    if (redeliver !== undefined) this.trouble!.redeliver = undefined;
    this.control!.restart(redeliver);
  }

  suspend(): void {
    if (this.state === 'stopping' || this.state === 'ended') return;
    this.trouble?.timer?.cancel();
    this.happen('failed');
    if (this.supervisor !== undefined) this.supervisor.suspendAll();
    else this.control!.suspend();
  }

  /** Ends now; for a supervisor, with all it has. */
  end(because: Failure | undefined): void {
    if (this.supervisor !== undefined) {
      this.happen('stop');
      this.supervisor.stop(() => this.parent.childEnded(this));
    } else this.control!.kill(because);
  }

  info(): ChildInfo {
    const { control, trouble } = this;
    const lastError = trouble?.lastError;
    const waiting = control instanceof ActorCell ? control.info().waiting : [];
    return {
      id: control?.ref.id ?? 0,
      name: this.name,
      kind: this.policy.kind,
      tenant: control?.ref.tenant ?? this.supervisor!.spec.tenant,
      parent: this.parent.name,
      state: this.state,
      restarts: this.restarts,
      lastError,
      lastFailedMs: lastError === undefined ? undefined : trouble!.failedMs,
      mailboxDepth: waiting.reduce((sum, count) => sum + count, 0),
    };
  }

  // ActorWatcher.

  started(): void {
    this.parent.childStarted(this);
  }

  failed(failure: Failure): void {
    this.parent.childFailed(this, failure);
  }

  ended(): void {
    this.parent.childEnded(this);
  }
}
