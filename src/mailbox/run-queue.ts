import type { TenantId } from '../base/units.ts';

/** How urgent work is among the work of its tenant. */
export type Priority = 'interactive' | 'normal' | 'batch' | 'background';

/** The most urgent first. */
export const PRIORITIES: readonly Priority[] = ['interactive', 'normal', 'batch', 'background'];

/**
 * Whoever can be given a step. The dispatcher makes them; the queue keeps its own notes in them, so that waking and
 * charging need no look-up.
 */
export class RunEntry {
  readonly tenant: TenantId;
  /** Changed by nobody but its actor, in a step of its own: the queue looks for a waiting entry where its priority says. */
  priority: Priority;
  /** Of the queue: RUNNING, QUEUED and URGENT say where the entry is. 0: nowhere, a message must wake it. */
  place = 0;
  /** Of the queue: work units this entry owes to its neighbours. */
  debtUnits = 0;
  /** Of the queue: what it knows about the entry's tenant. */
  share: unknown = undefined;
  /** Of the queue: when it became ready, in eighths of a millisecond modulo 2^30. */
  readySince = 0;
  /** Of the EntryList it is in. */
  previous: RunEntry | undefined = undefined;
  next: RunEntry | undefined = undefined;

  constructor(tenant: TenantId, priority: Priority = 'normal') {
    this.tenant = tenant;
    this.priority = priority;
  }
}

export const RUNNING = 1;
export const QUEUED = 2;
export const URGENT = 4;

/**
 * What a message itself costs, beside the work its receiver charges: a flood of messages that charge nothing is work,
 * too. About fifty nanoseconds, as sixteen rows read.
 */
export const MESSAGE_WORK_UNITS = 16;

/**
 * Decides whose step is next. Duties: an entry that was woken is given out once; between `next` and `settle` an entry is
 * RUNNING, and waking it then does nothing, since `settle` says whether more waits.
 */
export interface RunQueue {
  /** Entries that were woken and not yet given out. */
  readonly readyCount: number;
  /** Has work. `urgent`: some of it is a system or control message, which goes before its tenant's other work. */
  wake(entry: RunEntry, urgent: boolean): void;
  /** Whose step it is; undefined when nobody is ready, or all who are must wait (`waitUnits`). */
  next(): RunEntry | undefined;
  /** The step is over: charges it, and queues the entry again where more waits. */
  settle(entry: RunEntry, step: StepCharge, more: More): void;
  /** The entry, which was settled last, took far longer than its work tells: those beside it go first, if it is queued at all. */
  giveWay?(entry: RunEntry): void;
  /** Forgets an entry that ended; it may be queued. */
  remove(entry: RunEntry): void;
  /**
   * The machine could have done `capacityUnits` since the last call, and it is now `nowMs` on the monotonic clock:
   * what budgets refill by and waits are measured with. Only the run loop calls it.
   */
  advance(capacityUnits: number, nowMs: number): void;
  /** Capacity units until somebody who is ready may run again; 0 when somebody may now or nobody is ready. */
  waitUnits(): number;
  /**
   * Whether a tenant may be served out of turn now, by a short step that no actor takes. A queue without it decides about every step, and
   * nobody is served so.
   */
  mayServe?(tenant: TenantId): boolean;
  /** Such a step is over: charged as one of an actor's would be. */
  served?(tenant: TenantId, priority: Priority, workUnits: number): void;
}

/** What waits for an entry after its step. */
export type More = 'no' | 'more' | 'urgent';

export type StepCharge = { workUnits: number; messageCount: number };

/** A list that runs through the entries themselves: nothing to grow, and leaving from the middle is cheap. */
export class EntryList {
  first: RunEntry | undefined = undefined;
  #last: RunEntry | undefined = undefined;

  pushBack(entry: RunEntry): void {
    const last = this.#last;
    entry.previous = last;
    if (last === undefined) this.first = entry;
    else last.next = entry;
    this.#last = entry;
  }

  pushFront(entry: RunEntry): void {
    const first = this.first;
    entry.next = first;
    if (first === undefined) this.#last = entry;
    else first.previous = entry;
    this.first = entry;
  }

  /** Takes out an entry that is in this list. */
  remove(entry: RunEntry): void {
    const { previous, next } = entry;
    if (previous === undefined) this.first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    entry.previous = undefined;
    entry.next = undefined;
  }
}

/** First come, first served, whoever the tenant is: for tests and tools. */
export class FifoRunQueue implements RunQueue {
  readonly #ready = new EntryList();
  readyCount = 0;

  wake(entry: RunEntry): void {
    if (entry.place !== 0) return;
    entry.place = QUEUED;
    this.#ready.pushBack(entry);
    this.readyCount += 1;
  }

  next(): RunEntry | undefined {
    const entry = this.#ready.first;
    if (entry === undefined) return undefined;
    this.remove(entry);
    entry.place = RUNNING;
    return entry;
  }

  settle(entry: RunEntry, _step: StepCharge, more: More): void {
    entry.place = 0;
    if (more !== 'no') this.wake(entry);
  }

  remove(entry: RunEntry): void {
    if (entry.place !== QUEUED) return;
    this.#ready.remove(entry);
    this.readyCount -= 1;
    entry.place = 0;
  }

  advance(): void {}

  waitUnits(): number {
    return 0;
  }
}
