import type { Clock } from '../base/ports.ts';
import type { ActorControl, ActorInfo, ActorRef, ActorSpec, ActorWatcher, Exit } from './actor.ts';
import { ActorCell, COUNTERS } from './actor-cell.ts';
import type { CellHost, CounterName } from './actor-cell.ts';
import { DeadLetters } from './dead-letters.ts';
import { DEFAULT_LIMITS } from './lane.ts';
import type { MailboxLimits } from './lane.ts';
import { MailboxPool } from './mailbox.ts';
import { MESSAGE_WORK_UNITS, RUNNING } from './run-queue.ts';
import type { Priority, RunEntry, RunQueue, StepCharge } from './run-queue.ts';
import type { TenantId } from '../base/units.ts';
import { TimerQueue } from './timer-queue.ts';

/** Before the run loop has learned what a step holds: an eighth of a millisecond, at ten nanoseconds a unit. */
export const STEP_BUDGET_UNITS_FIRST = 12_500;

export type DispatcherOptions = {
  readonly clock: Clock;
  readonly runQueue: RunQueue;
  /** Of actors that bring none of their own. */
  readonly limits?: MailboxLimits<never> | undefined;
  /** An actor without a supervisor has failed: to be logged. */
  readonly onUnsupervisedFailure?: (actor: ActorRef<never>, exit: Exit) => void;
};

/**
 * The flat registry of all actors, and the one that runs them: one step of one actor at a time. Who is next is the run
 * queue's decision, when is the run loop's (or, in a simulated world, whoever calls `runOne`).
 *
 * 1. A step runs to its end before another begins, whatever it tells, asks or spawns.
 * 2. What a step charged is settled with the run queue before the next is chosen; so the counters' sums equal the
 *    queue's meters.
 */
export class Dispatcher implements CellHost {
  readonly pool = new MailboxPool();
  readonly deadLetters = new DeadLetters();
  readonly limits: MailboxLimits<never>;
  readonly timers: TimerQueue;
  readonly counters = new Float64Array(COUNTERS.length);
  stepBudgetUnits = STEP_BUDGET_UNITS_FIRST;
  chargedUnits = 0;
  /** The last step was the first of its actor's life. */
  wasFirstStep = false;
  /** The run loop's: called when somebody is woken while the loop sleeps. */
  onReady: (() => void) | undefined = undefined;
  readonly #runQueue: RunQueue;
  /** The registry runs through the cells themselves. */
  #oldest: ActorCell<unknown> | undefined = undefined;
  #newest: ActorCell<unknown> | undefined = undefined;
  #actorCount = 0;
  readonly #onUnsupervisedFailure: DispatcherOptions['onUnsupervisedFailure'];
  readonly #charge: StepCharge = { workUnits: 0, messageCount: 0 };
  #lastId = 0;
  #isStepping = false;
  /** Who took the last step, where more waits for it. */
  #stepped: RunEntry | undefined = undefined;

  constructor({ clock, runQueue, limits, onUnsupervisedFailure }: DispatcherOptions) {
    this.timers = new TimerQueue(clock);
    this.limits = limits ?? DEFAULT_LIMITS;
    this.#runQueue = runQueue;
    this.#onUnsupervisedFailure = onUnsupervisedFailure;
  }

  get runQueue(): RunQueue {
    return this.#runQueue;
  }

  get actorCount(): number {
    return this.#actorCount;
  }

  /** The actor starts in a step of its own; messages told before that wait. */
  spawn<Message>(spec: ActorSpec<Message>): ActorRef<Message> {
    return this.#add(spec, undefined);
  }

  /** For supervisors: what becomes of the actor is told to `watcher`, and nothing restarts it but the caller. */
  spawnSupervised<Message>(spec: ActorSpec<Message>, watcher: ActorWatcher): ActorControl<Message> {
    return this.#add(spec, watcher);
  }

  /** Runs one step of one actor; false when nobody may run now. */
  runOne(): boolean {
    const entry = this.#runQueue.next();
    if (entry === undefined) return false;
    const cell = entry as ActorCell<unknown>;
    this.chargedUnits = 0;
    this.wasFirstStep = cell.state === 'starting';
    this.#isStepping = true;
    let messageCount = 0;
    try {
      messageCount = cell.step();
    } finally {
      this.#isStepping = false;
    }
    const charge = this.#charge;
    charge.workUnits = this.chargedUnits;
    charge.messageCount = messageCount;
    this.counters[STEPS]! += 1;
    this.counters[MESSAGES]! += messageCount;
    this.counters[WORK_UNITS]! += charge.workUnits;
    const more = cell.pending;
    this.#stepped = more === 'no' ? undefined : cell;
    this.#runQueue.settle(cell, charge, more);
    return true;
  }

  /** Who took the last step has more to do. */
  get goesOn(): boolean {
    return this.#stepped !== undefined;
  }

  /** The last step took far longer than its work tells: those beside its actor go first. */
  giveWay(): void {
    if (this.#stepped !== undefined) this.#runQueue.giveWay?.(this.#stepped);
  }

  /** Somebody is in the middle of a step. */
  get isStepping(): boolean {
    return this.#isStepping;
  }

  /** A short step that no actor took is over: counted and charged as one. */
  served(tenant: TenantId, priority: Priority, workUnits: number): void {
    this.counters[STEPS]! += 1;
    this.counters[WORK_UNITS]! += workUnits;
    this.#runQueue.served!(tenant, priority, workUnits);
  }

  /** Runs until nobody may run; returns the number of steps. Ends only if the actors come to rest. */
  runUntilIdle(stepsMax = Infinity): number {
    let steps = 0;
    while (steps < stepsMax && this.runOne()) steps += 1;
    return steps;
  }

  count(name: CounterName): number {
    return this.counters[COUNTERS.indexOf(name)]!;
  }

  /** Work units and messages so far, in one number: what the run loop measures speed by. */
  get spentUnits(): number {
    return this.counters[WORK_UNITS]! + this.counters[MESSAGES]! * MESSAGE_WORK_UNITS;
  }

  *actors(): Generator<ActorInfo> {
    // Whoever looks may end some of them.
    const cells: ActorCell<unknown>[] = [];
    for (let cell = this.#oldest; cell !== undefined; cell = cell.newer) cells.push(cell);
    for (const cell of cells) yield cell.info();
  }

  /** Ends all actors at once, newest first, and all timers. For the end of a process or a test. */
  close(): void {
    while (this.#newest !== undefined) this.#newest.kill();
    this.timers.close();
  }

  // What cells call.

  wake(cell: RunEntry, urgent: boolean): void {
    this.#runQueue.wake(cell, urgent);
    if (this.onReady !== undefined) this.onReady();
  }

  forget(cell: RunEntry): void {
    if ((cell.place & RUNNING) === 0) this.#runQueue.remove(cell);
    const ended = cell as ActorCell<unknown>;
    const { older, newer } = ended;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    // Who holds the address of one holds no others by it.
    ended.older = undefined;
    ended.newer = undefined;
    this.#actorCount -= 1;
    this.counters[ENDED]! += 1;
  }

  unsupervisedFailure(actor: ActorRef<never>, exit: Exit): void {
    this.#onUnsupervisedFailure?.(actor, exit);
  }

  #add<Message>(spec: ActorSpec<Message>, watcher: ActorWatcher | undefined): ActorCell<Message> {
    const cell = new ActorCell(this.#lastId + 1, spec, this, watcher);
    this.#lastId = cell.id;
    const known = cell as ActorCell<unknown>;
    known.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = known;
    else this.#newest.newer = known;
    this.#newest = known;
    this.#actorCount += 1;
    this.counters[SPAWNED]! += 1;
    this.wake(cell, true);
    return cell;
  }
}

const STEPS = COUNTERS.indexOf('steps');
const MESSAGES = COUNTERS.indexOf('messages');
const WORK_UNITS = COUNTERS.indexOf('workUnits');
const SPAWNED = COUNTERS.indexOf('spawned');
const ENDED = COUNTERS.indexOf('ended');
