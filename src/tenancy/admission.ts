import { assert, DbError } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import type { Clock, TimerHandle } from '../base/ports.ts';
import type { TenantId } from '../base/units.ts';
import type { TimerQueue } from '../mailbox/timer-queue.ts';
import { TenantMeter } from './meters.ts';
import { DEFAULT_TENANT_SETTINGS } from './tenant-settings.ts';
import type { TenantSettings } from './tenant-settings.ts';

/** What held a request up or kept it out: a name of the tenant's settings. */
export type AdmissionLimit =
  | 'concurrency'
  | 'perUser.concurrency'
  | 'perUser.work'
  | 'queue'
  | 'queueTimeoutMs'
  | 'memory.soft'
  | 'work.query'
  | 'work.minute'
  | 'work.day';

export type AdmissionRequest = {
  readonly tenant: TenantId;
  readonly user?: string | undefined;
  /** What the request will probably cost; reserved until it is settled. */
  readonly workUnits: number;
  readonly memoryBytes?: number | undefined;
  /** Called once, later, for a request that was queued. */
  readonly decided?: (later: Admitted | Rejected) => void;
};

export type Admission = Admitted | Queued | Rejected;

export type Admitted = { readonly kind: 'admitted'; readonly ticket: Ticket };

export type Queued = {
  readonly kind: 'queued';
  readonly limit: AdmissionLimit;
  /** From 1: who stands before it, and itself. */
  readonly place: number;
  /** Gives up the place. `decided` is not called. */
  readonly withdraw: () => void;
};

export type Rejected = {
  readonly kind: 'rejected';
  readonly limit: AdmissionLimit;
  /** Infinity where waiting does not help. */
  readonly retryAfterMs: number;
  readonly error: DbError;
};

/** The right to run. Whoever holds it settles it, once, whatever happened. */
export interface Ticket {
  readonly tenant: TenantId;
  readonly reservedUnits: number;
  /** Gives the slot and the reserved memory back, and corrects the budgets by what was really spent. */
  settle(spentUnits: number): void;
}

/**
 * Decides who may run now, who waits and who is sent away, one request at a time: check and reservation are one synchronous
 * act, so a thousand requests of the same instant get no more slots than there are.
 *
 * 1. A tenant's running requests never exceed its concurrency, its waiting ones its queue; a user's likewise.
 * 2. Who waits is let in first come, first served, except that a user at their own limit is passed by.
 * 3. A work budget is a bucket that fills evenly over its minute or day. Estimates are taken out on admission and
 *    corrected by `settle`, below zero if need be: what was spent is spent.
 */
export class AdmissionControl {
  readonly #clock: Clock;
  readonly #timers: TimerQueue;
  readonly #meterOf: (tenant: TenantId) => TenantMeter;
  readonly #tenants = new Map<TenantId, Desk>();

  constructor(options: {
    readonly clock: Clock;
    readonly timers: TimerQueue;
    /** The run queue's meters, so that a tenant's usage is in one place. */
    readonly meterOf: (tenant: TenantId) => TenantMeter;
  }) {
    this.#clock = options.clock;
    this.#timers = options.timers;
    this.#meterOf = options.meterOf;
  }

  /** Settings that hold from now on, for who waits as well; `memory` is the tenant's account. */
  configure(tenant: TenantId, settings: TenantSettings, memory?: MemoryAccount): void {
    const desk = this.#deskOf(tenant);
    const nowMs = this.#clock.monotonicMs();
    desk.settings = settings;
    desk.memory = memory ?? desk.memory;
    desk.minute.resize(settings.work.minute, nowMs);
    desk.day.resize(settings.work.day, nowMs);
    for (const user of desk.users.values()) user.work.resize(settings.perUser.work, nowMs);
    while (desk.waiting.length > settings.queue) this.#reject(desk, desk.waiting.pop()!, 'queue');
    this.#letIn(desk);
  }

  /** Sends away who waits; what runs settles as ever. */
  drop(tenant: TenantId): void {
    const desk = this.#tenants.get(tenant);
    if (desk === undefined) return;
    for (const waiting of desk.waiting.splice(0)) {
      waiting.timer?.cancel();
      waiting.request.decided?.(
        this.#rejection(
          desk,
          'queue',
          Infinity,
          new DbError('57P01', `tenant "${tenant}" was dropped`),
        ),
      );
    }
    this.#tenants.delete(tenant);
  }

  /** Decides, and reserves what an admitted request needs. */
  admit(request: AdmissionRequest): Admission {
    const desk = this.#deskOf(request.tenant);
    const verdict = this.#verdict(desk, request, desk.waiting.length > 0);
    if (verdict.kind === 'go') return { kind: 'admitted', ticket: this.#ticket(desk, request) };
    if (verdict.kind === 'away') return this.#rejection(desk, verdict.limit, verdict.retryAfterMs);
    if (desk.waiting.length >= desk.settings.queue || request.decided === undefined) {
      return this.#rejection(desk, 'queue', this.#waitMs(desk, desk.waiting.length + 1));
    }
    return this.#queue(desk, request, verdict.limit);
  }

  /** What `admit` would say, with nothing reserved: for estimates. */
  wouldAdmit(request: AdmissionRequest): {
    readonly kind: 'now' | 'queued' | 'rejected';
    readonly limit: AdmissionLimit | undefined;
    readonly waitMs: number;
  } {
    const desk = this.#deskOf(request.tenant);
    const verdict = this.#verdict(desk, request, desk.waiting.length > 0);
    if (verdict.kind === 'go') return { kind: 'now', limit: undefined, waitMs: 0 };
    if (verdict.kind === 'away') {
      return { kind: 'rejected', limit: verdict.limit, waitMs: verdict.retryAfterMs };
    }
    const waitMs = this.#waitMs(desk, desk.waiting.length + 1);
    const full = desk.waiting.length >= desk.settings.queue;
    return full
      ? { kind: 'rejected', limit: 'queue', waitMs }
      : { kind: 'queued', limit: verdict.limit, waitMs };
  }

  /** Memory was freed outside of admission: somebody may fit now. */
  memoryFreed(tenant: TenantId): void {
    const desk = this.#tenants.get(tenant);
    if (desk !== undefined) this.#letIn(desk);
  }

  stateOf(tenant: TenantId): {
    readonly running: number;
    readonly waiting: number;
    readonly reservedUnits: number;
  } {
    const desk = this.#deskOf(tenant);
    return {
      running: desk.running,
      waiting: desk.waiting.length,
      reservedUnits: desk.reservedUnits,
    };
  }

  #verdict(
    desk: Desk,
    request: AdmissionRequest,
    othersWait: boolean,
  ):
    | { readonly kind: 'go' }
    | { readonly kind: 'wait'; readonly limit: AdmissionLimit }
    | { readonly kind: 'away'; readonly limit: AdmissionLimit; readonly retryAfterMs: number } {
    const { settings } = desk;
    const nowMs = this.#clock.monotonicMs();
    if (request.workUnits > settings.work.query) {
      return { kind: 'away', limit: 'work.query', retryAfterMs: Infinity };
    }
    const user = desk.userOf(request.user, nowMs);
    const budgets = [
      ['work.minute', desk.minute],
      ['work.day', desk.day],
      ...(user === undefined ? [] : ([['perUser.work', user.work]] as const)),
    ] as const;
    for (const [limit, budget] of budgets) {
      const retryAfterMs = budget.msUntil(request.workUnits, nowMs);
      if (retryAfterMs > 0) return { kind: 'away', limit, retryAfterMs };
    }
    if (desk.running >= settings.concurrency) return { kind: 'wait', limit: 'concurrency' };
    if (user !== undefined && user.running >= settings.perUser.concurrency) {
      return { kind: 'wait', limit: 'perUser.concurrency' };
    }
    const bytes = request.memoryBytes ?? 0;
    const usedBytes = (desk.memory?.usedBytes ?? 0) + desk.reservedBytes;
    // With nothing running nothing will be freed by waiting: the hard limit decides then.
    if (usedBytes + bytes > settings.memory.soft && desk.running > 0) {
      return { kind: 'wait', limit: 'memory.soft' };
    }
    return othersWait ? { kind: 'wait', limit: 'concurrency' } : { kind: 'go' };
  }

  #ticket(desk: Desk, request: AdmissionRequest): Ticket {
    const startMs = this.#clock.monotonicMs();
    const user = desk.userOf(request.user, startMs);
    const reservedUnits = request.workUnits;
    const reservedBytes = request.memoryBytes ?? 0;
    const spend = (units: number): void => {
      desk.minute.spend(units);
      desk.day.spend(units);
      user?.work.spend(units);
    };
    desk.running += 1;
    desk.reservedUnits += reservedUnits;
    desk.reservedBytes += reservedBytes;
    if (user !== undefined) user.running += 1;
    spend(reservedUnits);
    this.#meterOf(desk.tenant).add('admitted');
    let settled = false;
    return {
      tenant: desk.tenant,
      reservedUnits,
      settle: (spentUnits) => {
        assert(!settled, 'a ticket is settled once');
        settled = true;
        desk.running -= 1;
        desk.reservedUnits -= reservedUnits;
        desk.reservedBytes -= reservedBytes;
        if (user !== undefined) user.running -= 1;
        spend(spentUnits - reservedUnits);
        desk.learnMs(this.#clock.monotonicMs() - startMs);
        this.#letIn(desk);
      },
    };
  }

  #queue(desk: Desk, request: AdmissionRequest, limit: AdmissionLimit): Queued {
    const waiting: Waiting = { request, timer: undefined };
    desk.waiting.push(waiting);
    this.#meterOf(desk.tenant).add('queued');
    const { queueTimeoutMs } = desk.settings;
    if (queueTimeoutMs !== Infinity) {
      waiting.timer = this.#timers.after(queueTimeoutMs, () => {
        remove(desk.waiting, waiting);
        this.#meterOf(desk.tenant).add('queueTimeouts');
        this.#reject(desk, waiting, 'queueTimeoutMs');
      });
    }
    return {
      kind: 'queued',
      limit,
      place: desk.waiting.length,
      withdraw: () => {
        waiting.timer?.cancel();
        remove(desk.waiting, waiting);
      },
    };
  }

  /** Lets in whoever may run now, in the order of their coming. */
  #letIn(desk: Desk): void {
    // A request let in may call back and change the queue, so each round looks anew.
    for (let index = 0; index < desk.waiting.length;) {
      if (desk.running >= desk.settings.concurrency) return;
      const waiting = desk.waiting[index]!;
      const verdict = this.#verdict(desk, waiting.request, false);
      if (verdict.kind === 'wait') {
        if (verdict.limit !== 'perUser.concurrency') return;
        index += 1;
        continue;
      }
      remove(desk.waiting, waiting);
      waiting.timer?.cancel();
      if (verdict.kind === 'go') {
        waiting.request.decided!({ kind: 'admitted', ticket: this.#ticket(desk, waiting.request) });
      } else {
        waiting.request.decided!(this.#rejection(desk, verdict.limit, verdict.retryAfterMs));
      }
      index = 0;
    }
  }

  #reject(desk: Desk, waiting: Waiting, limit: AdmissionLimit): void {
    waiting.timer?.cancel();
    waiting.request.decided?.(
      this.#rejection(desk, limit, this.#waitMs(desk, desk.waiting.length + 1)),
    );
  }

  #rejection(desk: Desk, limit: AdmissionLimit, retryAfterMs: number, error?: DbError): Rejected {
    this.#meterOf(desk.tenant).add('rejected');
    return {
      kind: 'rejected',
      limit,
      retryAfterMs,
      error: error ?? rejectionError(desk, limit, retryAfterMs),
    };
  }

  /** When the one at `place` in the queue may expect its turn. */
  #waitMs(desk: Desk, place: number): number {
    return Math.ceil((place * desk.meanMs) / desk.settings.concurrency);
  }

  #deskOf(tenant: TenantId): Desk {
    let desk = this.#tenants.get(tenant);
    if (desk === undefined) {
      desk = new Desk(tenant, this.#clock.monotonicMs());
      this.#tenants.set(tenant, desk);
    }
    return desk;
  }
}

type Waiting = { readonly request: AdmissionRequest; timer: TimerHandle | undefined };

type UserDesk = { running: number; readonly work: WorkBudget };

/** Users remembered beyond those who run something; the longest known are forgotten first. */
const USERS_IDLE_MAX = 1_024;

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** What admission knows about a tenant. */
class Desk {
  readonly tenant: TenantId;
  settings: TenantSettings = DEFAULT_TENANT_SETTINGS;
  memory: MemoryAccount | undefined = undefined;
  running = 0;
  reservedUnits = 0;
  reservedBytes = 0;
  /** How long requests run, smoothed. */
  meanMs = 10;
  readonly waiting: Waiting[] = [];
  readonly minute: WorkBudget;
  readonly day: WorkBudget;
  readonly users = new Map<string, UserDesk>();

  constructor(tenant: TenantId, nowMs: number) {
    this.tenant = tenant;
    this.minute = new WorkBudget(this.settings.work.minute, MINUTE_MS, nowMs);
    this.day = new WorkBudget(this.settings.work.day, DAY_MS, nowMs);
  }

  /** Undefined where no limit of users could apply. */
  userOf(name: string | undefined, nowMs: number): UserDesk | undefined {
    const { concurrency, work } = this.settings.perUser;
    if (name === undefined || (concurrency === Infinity && work === Infinity)) return undefined;
    let user = this.users.get(name);
    if (user === undefined) {
      this.#forgetIdleUsers();
      user = { running: 0, work: new WorkBudget(work, MINUTE_MS, nowMs) };
      this.users.set(name, user);
    }
    return user;
  }

  learnMs(ms: number): void {
    this.meanMs += (ms - this.meanMs) / 8;
  }

  #forgetIdleUsers(): void {
    if (this.users.size < USERS_IDLE_MAX) return;
    for (const [name, user] of this.users) {
      if (user.running > 0) continue;
      this.users.delete(name);
      return;
    }
  }
}

/** A bucket of work units that fills evenly over its period. */
class WorkBudget {
  #units: number;
  #leftUnits: number;
  readonly #periodMs: number;
  #filledMs: number;

  constructor(units: number, periodMs: number, nowMs: number) {
    this.#units = units;
    this.#leftUnits = units;
    this.#periodMs = periodMs;
    this.#filledMs = nowMs;
  }

  /** What was spent stays spent. */
  resize(units: number, nowMs: number): void {
    this.#fill(nowMs);
    const spent = this.#units === Infinity ? 0 : this.#units - this.#leftUnits;
    this.#units = units;
    this.#leftUnits = units === Infinity ? Infinity : units - spent;
  }

  spend(units: number): void {
    if (this.#units !== Infinity) this.#leftUnits -= units;
  }

  /** 0 when `units` are there now; Infinity when they never can be. */
  msUntil(units: number, nowMs: number): number {
    if (this.#units === Infinity) return 0;
    this.#fill(nowMs);
    if (units <= this.#leftUnits) return 0;
    if (units > this.#units) return Infinity;
    return Math.ceil(((units - this.#leftUnits) * this.#periodMs) / this.#units);
  }

  #fill(nowMs: number): void {
    const grown = ((nowMs - this.#filledMs) * this.#units) / this.#periodMs;
    this.#filledMs = nowMs;
    if (this.#units !== Infinity) this.#leftUnits = Math.min(this.#units, this.#leftUnits + grown);
  }
}

const CODES: Readonly<Record<AdmissionLimit, string>> = {
  concurrency: '53000',
  'perUser.concurrency': '53000',
  queue: '53000',
  queueTimeoutMs: '53000',
  'memory.soft': '53200',
  'work.query': '53400',
  'work.minute': '53400',
  'work.day': '53400',
  'perUser.work': '53400',
};

function rejectionError(desk: Desk, limit: AdmissionLimit, retryAfterMs: number): DbError {
  const helps = retryAfterMs !== Infinity;
  return new DbError(CODES[limit], `tenant "${desk.tenant}" is at its limit ${limit}`, {
    limit,
    retryAfterMs: helps ? retryAfterMs : undefined,
    detail: `${desk.running} of its requests run and ${desk.waiting.length} wait.`,
    hint: helps
      ? `Try again in ${retryAfterMs} ms, or have ${limit} raised.`
      : `Ask for less at once, or have ${limit} raised.`,
  });
}

function remove(list: Waiting[], item: Waiting): void {
  const index = list.indexOf(item);
  if (index >= 0) list.splice(index, 1);
}
