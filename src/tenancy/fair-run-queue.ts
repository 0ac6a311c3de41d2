import { assert } from '../base/errors.ts';
import type { TenantId } from '../base/units.ts';
import { EntryList, MESSAGE_WORK_UNITS, QUEUED, RUNNING, URGENT } from '../mailbox/run-queue.ts';
import type { More, Priority, RunEntry, RunQueue, StepCharge } from '../mailbox/run-queue.ts';
import { TenantMeter } from './meters.ts';
import { DEFAULT_TENANT_SETTINGS } from './tenant-settings.ts';
import type { TenantSettings } from './tenant-settings.ts';

/**
 * An actor's turn within its tenant, in work units: it goes on until it has had so much, then to the back of the line.
 * About a sixth of a millisecond; longer steps pay by sitting out rounds.
 */
export const ACTOR_QUANTUM_UNITS = 16_384;

/** How much a tenant's work of each priority weighs beside the others: each four times as much as the next. */
const PRIORITY_WEIGHTS: Readonly<Record<Priority, number>> = {
  interactive: 64,
  normal: 16,
  batch: 4,
  background: 1,
};

/** An actor that owes more than this waits its turn even with a cancel in hand. */
const URGENT_DEBT_UNITS_MAX = 4 * ACTOR_QUANTUM_UNITS;

/** What a millisecond holds until the run loop has told. */
const UNITS_PER_MS_FIRST = 100_000;

/** `readySince` counts eighths of a millisecond up to here. */
const EIGHTHS_MASK = 0x3fff_ffff;

/**
 * Whose step is next: first which tenant, then which of its actors, so that ten thousand actors of one tenant weigh as much
 * as one actor of another. Everything is counted in work units and charged when a step has ended, by what it did.
 *
 * Among tenants, in this order (research: mClock's reservations, stride scheduling for the rest):
 * 1. A tenant with a reservation and credit left, the one with the least reserved work by its reservation. Credit grows by
 *    the reservation's share of what the machine can do, up to `burstMs` of work: a tenant below its share is served at
 *    once, which no weight can give.
 * 2. Else the one with the least work by its weight (virtual time). Who slept starts at the present virtual time.
 * 3. A tenant over its limit waits until its bucket refills: the only case in which the machine may idle.
 *
 * Within a tenant: system and control messages first; then the priority with the least work by its weight, so that the most urgent gets
 * most and none is starved; among actors of one priority, rounds with debt (surplus round robin).
 * Ties go to the tenant known longer, so the order is a function of the calls.
 */
export class FairRunQueue implements RunQueue {
  readyCount = 0;
  readonly #shares = new Map<TenantId, TenantShare>();
  /** A binary heap by virtual time of the tenants that have somebody ready and are not over their limit. */
  readonly #heap: TenantShare[] = [];
  /** Those of the ready that have a reservation: few, since reservations sum to at most nine tenths. */
  readonly #reserved: TenantShare[] = [];
  readonly #throttled: TenantShare[] = [];
  /** Virtual times of the last choice in phase 2 and in phase 1. */
  #virtualTime = 0;
  #reservedTime = 0;
  /** What the machine could have done since the start, in work units: the clock that buckets refill by. */
  #capacityUnits = 0;
  #unitsPerMs = UNITS_PER_MS_FIRST;
  #nowMs = 0;
  #nowEighths = 0;

  /** New settings of a tenant; they hold from the next step on. What it is owed or owes is kept, in work. */
  configure(tenant: TenantId, settings: TenantSettings): void {
    const share = this.#shareOf(tenant);
    this.#refill(share);
    // The same lead over the others in work is another one in virtual time.
    const leadUnits = (share.virtualTime - this.#virtualTime) * share.weight;
    share.weight = settings.weight;
    share.virtualTime = this.#virtualTime + leadUnits / settings.weight;
    share.reservation = settings.reservation;
    share.limit = settings.limit;
    share.burstMs = settings.burstMs;
    this.#refill(share);
    if (share.readyCount > 0) {
      this.#leave(share);
      this.#enter(share);
    }
  }

  /** Forgets a tenant of which nobody is ready, with its meter. */
  drop(tenant: TenantId): void {
    const share = this.#shares.get(tenant);
    if (share === undefined) return;
    assert(share.readyCount === 0, 'a tenant whose actors have ended is dropped');
    share.dropped = true;
    this.#shares.delete(tenant);
  }

  meterOf(tenant: TenantId): TenantMeter {
    return this.#shareOf(tenant).meter;
  }

  *meters(): Generator<readonly [TenantId, TenantMeter]> {
    for (const share of this.#shares.values()) yield [share.tenant, share.meter];
  }

  wake(entry: RunEntry, urgent: boolean): void {
    const place = entry.place;
    if ((place & RUNNING) !== 0) return;
    const share = this.#shareOfEntry(entry);
    if (place === 0) {
      entry.readySince = this.#nowEighths;
      this.#queue(share, entry, urgent, false);
    } else if (urgent && place === QUEUED && entry.debtUnits < URGENT_DEBT_UNITS_MAX) {
      share.lineOf(entry.priority).entries.remove(entry);
      share.urgent.pushBack(entry);
      entry.place = URGENT;
    }
  }

  next(): RunEntry | undefined {
    if (this.readyCount === 0) return undefined;
    const share = this.#nextShare();
    if (share === undefined) return undefined;
    const entry = this.#nextEntry(share);
    entry.place = RUNNING;
    this.#unready(share);
    share.meter.addWait(((this.#nowEighths - entry.readySince) & EIGHTHS_MASK) / 8);
    return entry;
  }

  settle(entry: RunEntry, step: StepCharge, more: More): void {
    assert(entry.place === RUNNING, 'a step that was given out is settled, once');
    const share = entry.share as TenantShare;
    const units = Math.max(1, step.workUnits + step.messageCount * MESSAGE_WORK_UNITS);
    share.virtualTime += units / share.weight;
    share.lineOf(entry.priority).virtualTime += units / PRIORITY_WEIGHTS[entry.priority];
    if (share.servedFromReservation) {
      share.creditUnits -= units;
      share.reservedTime += units / share.reservation;
    }
    if (share.limit < 1) share.limitUnits -= units;
    share.meter.addStep(step.workUnits, step.messageCount, share.servedFromReservation ? units : 0);
    entry.debtUnits = Math.min(entry.debtUnits + units, 0x3fff_ffff);
    entry.place = 0;
    if (more === 'no') {
      if (share.heapIndex >= 0) siftDown(this.#heap, share);
      return;
    }
    entry.readySince = this.#nowEighths;
    this.#queue(share, entry, more === 'urgent', true);
    if (share.heapIndex >= 0) siftDown(this.#heap, share);
  }

  /** Its turn is over, whatever is left of its quantum: that is in work, and what it took is time. */
  giveWay(entry: RunEntry): void {
    if (entry.place !== QUEUED) return;
    const { entries } = this.#shareOfEntry(entry).lineOf(entry.priority);
    entries.remove(entry);
    entries.pushBack(entry);
  }

  /** All but those who have used up their limit: what is short goes first, and is paid for in what comes next. */
  mayServe(tenant: TenantId): boolean {
    const share = this.#shareOf(tenant);
    if (share.limit === 1) return true;
    this.#refill(share);
    return share.limitUnits > 0;
  }

  served(tenant: TenantId, priority: Priority, workUnits: number): void {
    const share = this.#shareOf(tenant);
    const units = Math.max(1, workUnits);
    const line = share.lineOf(priority);
    // Who slept starts at the present.
    if (share.readyCount === 0) share.virtualTime = Math.max(share.virtualTime, this.#virtualTime);
    if (line.entries.first === undefined)
      line.virtualTime = Math.max(line.virtualTime, share.lineTime);
    share.virtualTime += units / share.weight;
    line.virtualTime += units / PRIORITY_WEIGHTS[priority];
    if (share.limit < 1) share.limitUnits -= units;
    share.meter.addStep(workUnits, 0, 0);
    if (share.heapIndex >= 0) siftDown(this.#heap, share);
  }

  remove(entry: RunEntry): void {
    if (entry.place !== QUEUED && entry.place !== URGENT) return;
    const share = entry.share as TenantShare;
    (entry.place === QUEUED ? share.lineOf(entry.priority).entries : share.urgent).remove(entry);
    entry.place = 0;
    this.#unready(share);
  }

  advance(capacityUnits: number, nowMs: number): void {
    const spanMs = nowMs - this.#nowMs;
    if (spanMs > 0 && capacityUnits > 0) this.#unitsPerMs = capacityUnits / spanMs;
    this.#capacityUnits += capacityUnits;
    this.#nowMs = nowMs;
    this.#nowEighths = Math.floor(nowMs * 8) & EIGHTHS_MASK;
    for (let index = this.#throttled.length - 1; index >= 0; index -= 1) {
      const share = this.#throttled[index]!;
      this.#refill(share);
      if (share.limitUnits <= 0) continue;
      this.#leave(share);
      this.#enter(share);
    }
  }

  waitUnits(): number {
    if (this.#heap.length > 0 || this.#throttled.length === 0) return 0;
    let least = Infinity;
    for (const share of this.#throttled) {
      least = Math.min(least, (1 - share.limitUnits) / share.limit);
    }
    return least;
  }

  #nextShare(): TenantShare | undefined {
    const reserved = this.#leastReserved();
    if (reserved !== undefined) {
      reserved.servedFromReservation = true;
      this.#reservedTime = Math.max(this.#reservedTime, reserved.reservedTime);
      return reserved;
    }
    for (;;) {
      const share = this.#heap[0];
      if (share === undefined) return undefined;
      if (share.limit < 1) {
        this.#refill(share);
        if (share.limitUnits <= 0) {
          this.#leave(share);
          share.throttledIndex = this.#throttled.push(share) - 1;
          share.meter.addThrottle();
          continue;
        }
      }
      share.servedFromReservation = false;
      this.#virtualTime = Math.max(this.#virtualTime, share.virtualTime);
      return share;
    }
  }

  #leastReserved(): TenantShare | undefined {
    let least: TenantShare | undefined;
    for (const share of this.#reserved) {
      this.#refill(share);
      if (share.creditUnits <= 0 || (share.limit < 1 && share.limitUnits <= 0)) continue;
      if (
        least === undefined ||
        share.reservedTime < least.reservedTime ||
        (share.reservedTime === least.reservedTime && share.ordinal < least.ordinal)
      ) {
        least = share;
      }
    }
    return least;
  }

  #nextEntry(share: TenantShare): RunEntry {
    const urgent = share.urgent.first;
    if (urgent !== undefined) {
      share.urgent.remove(urgent);
      return urgent;
    }
    const { entries } = share.nextLine();
    for (;;) {
      const entry = entries.first!;
      entries.remove(entry);
      if (entry.debtUnits < ACTOR_QUANTUM_UNITS) return entry;
      // Alone it owes nobody; among others it sits out this round.
      if (entries.first === undefined) {
        entry.debtUnits = 0;
        return entry;
      }
      entry.debtUnits -= ACTOR_QUANTUM_UNITS;
      entries.pushBack(entry);
    }
  }

  /** `goesOn`: it just ran and keeps its turn while its quantum lasts. */
  #queue(share: TenantShare, entry: RunEntry, urgent: boolean, goesOn: boolean): void {
    if (urgent && entry.debtUnits < URGENT_DEBT_UNITS_MAX) {
      share.urgent.pushBack(entry);
      entry.place = URGENT;
    } else {
      const line = share.lineOf(entry.priority);
      // Who slept starts at the present.
      if (line.entries.first === undefined)
        line.virtualTime = Math.max(line.virtualTime, share.lineTime);
      if (goesOn && entry.debtUnits < ACTOR_QUANTUM_UNITS) {
        line.entries.pushFront(entry);
      } else {
        // Going to the back begins its next round, which brings a new quantum.
        if (goesOn) entry.debtUnits -= ACTOR_QUANTUM_UNITS;
        line.entries.pushBack(entry);
      }
      entry.place = QUEUED;
    }
    this.readyCount += 1;
    share.readyCount += 1;
    if (share.readyCount === 1) {
      share.virtualTime = Math.max(share.virtualTime, this.#virtualTime);
      share.reservedTime = Math.max(share.reservedTime, this.#reservedTime);
      this.#enter(share);
    }
  }

  #unready(share: TenantShare): void {
    this.readyCount -= 1;
    share.readyCount -= 1;
    if (share.readyCount === 0) this.#leave(share);
  }

  #enter(share: TenantShare): void {
    pushShare(this.#heap, share);
    if (share.reservation > 0) share.reservedIndex = this.#reserved.push(share) - 1;
  }

  #leave(share: TenantShare): void {
    if (share.heapIndex >= 0) removeShare(this.#heap, share);
    if (share.reservedIndex >= 0) {
      const last = this.#reserved.pop()!;
      if (last !== share) {
        this.#reserved[share.reservedIndex] = last;
        last.reservedIndex = share.reservedIndex;
      }
      share.reservedIndex = -1;
    }
    if (share.throttledIndex >= 0) {
      const last = this.#throttled.pop()!;
      if (last !== share) {
        this.#throttled[share.throttledIndex] = last;
        last.throttledIndex = share.throttledIndex;
      }
      share.throttledIndex = -1;
    }
  }

  #refill(share: TenantShare): void {
    const grown = this.#capacityUnits - share.refilledAt;
    share.refilledAt = this.#capacityUnits;
    const burstUnits = share.burstMs * this.#unitsPerMs;
    share.creditUnits = Math.min(burstUnits, share.creditUnits + grown * share.reservation);
    share.limitUnits = Math.min(burstUnits, share.limitUnits + grown * share.limit);
  }

  #shareOfEntry(entry: RunEntry): TenantShare {
    const known = entry.share as TenantShare | undefined;
    if (known !== undefined && !known.dropped) return known;
    const share = this.#shareOf(entry.tenant);
    entry.share = share;
    return share;
  }

  #shareOf(tenant: TenantId): TenantShare {
    let share = this.#shares.get(tenant);
    if (share === undefined) {
      share = new TenantShare(tenant, (this.#lastOrdinal += 1));
      share.refilledAt = this.#capacityUnits;
      share.creditUnits = share.burstMs * this.#unitsPerMs;
      share.limitUnits = share.creditUnits;
      share.virtualTime = this.#virtualTime;
      this.#shares.set(tenant, share);
    }
    return share;
  }

  #lastOrdinal = 0;
}

/** What the queue knows about a tenant. */
class TenantShare {
  readonly tenant: TenantId;
  /** Breaks ties: tenants known earlier go first. */
  readonly ordinal: number;
  readonly meter = new TenantMeter();
  /** Actors that wait, by priority: those that have been met, the most urgent first. */
  readonly lines: Line[] = [];
  /** Virtual time of the line that was chosen last. */
  lineTime = 0;
  readonly urgent = new EntryList();
  readyCount = 0;
  heapIndex = -1;
  reservedIndex = -1;
  throttledIndex = -1;
  dropped = false;
  weight = DEFAULT_TENANT_SETTINGS.weight;
  reservation = DEFAULT_TENANT_SETTINGS.reservation;
  limit = DEFAULT_TENANT_SETTINGS.limit;
  burstMs = DEFAULT_TENANT_SETTINGS.burstMs;
  /** Work by weight, and reserved work by reservation. */
  virtualTime = 0;
  reservedTime = 0;
  /** What the reservation still grants at once, and the limit still allows. May be below zero by one step. */
  creditUnits = 0;
  limitUnits = 0;
  refilledAt = 0;
  /** The step that runs was given in phase 1. */
  servedFromReservation = false;

  constructor(tenant: TenantId, ordinal: number) {
    this.tenant = tenant;
    this.ordinal = ordinal;
  }

  lineOf(priority: Priority): Line {
    for (const line of this.lines) if (line.priority === priority) return line;
    const line = new Line(priority);
    line.virtualTime = this.lineTime;
    this.lines.push(line);
    this.lines.sort((a, b) => PRIORITY_WEIGHTS[b.priority] - PRIORITY_WEIGHTS[a.priority]);
    return line;
  }

  /** Of the lines in which somebody waits, the one with the least work by its weight; of equals the most urgent. */
  nextLine(): Line {
    let least: Line | undefined;
    for (const line of this.lines)
      if (
        line.entries.first !== undefined &&
        !(line.virtualTime >= (least?.virtualTime ?? Infinity))
      )
        least = line;
    assert(least !== undefined, 'a tenant that is chosen has somebody who waits');
    this.lineTime = Math.max(this.lineTime, least.virtualTime);
    return least;
  }
}

/** A tenant's work of one priority. */
class Line {
  readonly priority: Priority;
  readonly entries = new EntryList();
  virtualTime = 0;

  constructor(priority: Priority) {
    this.priority = priority;
  }
}

function isBefore(left: TenantShare, right: TenantShare): boolean {
  return (
    left.virtualTime < right.virtualTime ||
    (left.virtualTime === right.virtualTime && left.ordinal < right.ordinal)
  );
}

function pushShare(heap: TenantShare[], share: TenantShare): void {
  share.heapIndex = heap.push(share) - 1;
  siftUp(heap, share);
}

function removeShare(heap: TenantShare[], share: TenantShare): void {
  const last = heap.pop()!;
  if (last !== share) {
    heap[share.heapIndex] = last;
    last.heapIndex = share.heapIndex;
    siftUp(heap, last);
    siftDown(heap, last);
  }
  share.heapIndex = -1;
}

function siftUp(heap: TenantShare[], share: TenantShare): void {
  let index = share.heapIndex;
  while (index > 0) {
    const parent = heap[(index - 1) >> 1]!;
    if (!isBefore(share, parent)) break;
    heap[index] = parent;
    parent.heapIndex = index;
    index = (index - 1) >> 1;
  }
  heap[index] = share;
  share.heapIndex = index;
}

/** After the share's virtual time has grown. */
function siftDown(heap: TenantShare[], share: TenantShare): void {
  const count = heap.length;
  let index = share.heapIndex;
  for (;;) {
    let childIndex = 2 * index + 1;
    if (childIndex >= count) break;
    if (childIndex + 1 < count && isBefore(heap[childIndex + 1]!, heap[childIndex]!)) {
      childIndex += 1;
    }
    const child = heap[childIndex]!;
    if (!isBefore(child, share)) break;
    heap[index] = child;
    child.heapIndex = index;
    index = childIndex;
  }
  heap[index] = share;
  share.heapIndex = index;
}
