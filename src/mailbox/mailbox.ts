import { assert } from '../base/errors.ts';
import { LANE_WEIGHTS, LaneRing, MESSAGE_BYTES } from './lane.ts';
import type { LaneIndex, MailboxLimits, ParkedOffer } from './lane.ts';

/** What `take` returns when nothing waits; a message may be anything else, `undefined` included. */
export const NOTHING: unique symbol = Symbol('nothing waits');

/**
 * What waits for one actor: four rings, made when first used. An actor has a mailbox only while something waits;
 * the empty one goes back to the pool.
 *
 * 1. First in, first out, per sender and lane. Parked offers come after what was let in before them, and before what
 *    is told later.
 * 2. `count` is what `take` can still give; parked offers are not in it.
 * 3. System messages go first; the other lanes take turns 8 : 4 : 1 while all have messages.
 */
export class Mailbox {
  count = 0;
  /** The lane of the message taken last. */
  takenLane: LaneIndex = 0;
  readonly #rings: (LaneRing | undefined)[] = [undefined, undefined, undefined, undefined];
  /** By lane: a message that is taken again before the others. */
  readonly #again: unknown[] = [NOTHING, NOTHING, NOTHING, NOTHING];
  #controlCredit = LANE_WEIGHTS[1]!;
  #commandCredit = LANE_WEIGHTS[2]!;
  #bulkCredit = LANE_WEIGHTS[3]!;

  /** In a lane that drops its oldest, `full` asks the caller to `dropOldest` and push again. */
  push(
    lane: LaneIndex,
    message: unknown,
    limits: MailboxLimits<never>,
  ): 'ok' | 'coalesced' | 'full' {
    const ring = this.#ringOf(lane);
    const laneLimits = limits.lanes[lane]!;
    const bytes = bytesOf(message, limits);
    const overflow = laneLimits.overflow;
    if (overflow.kind === 'coalesce') {
      const key = overflow.keyOf(message as never);
      if (key !== undefined) {
        if (ring.replace(message, bytes, key)) return 'coalesced';
        if (ring.parkedCount > 0 || !ring.fits(bytes, laneLimits)) return 'full';
        ring.pushKeyed(message, bytes, key);
        this.count += 1;
        return 'ok';
      }
    }
    // Whoever parked first comes first, so a lane with parked offers is full even when a slot is free.
    if (ring.parkedCount > 0 || !ring.fits(bytes, laneLimits)) return 'full';
    ring.push(message, bytes);
    this.count += 1;
    return 'ok';
  }

  /** Beyond every limit, and nothing takes its place: for what is bounded elsewhere, such as an actor's timers. */
  pushForced(lane: LaneIndex, message: unknown, limits: MailboxLimits<never>): void {
    this.#ringOf(lane).push(message, bytesOf(message, limits));
    this.count += 1;
  }

  dropOldest(lane: LaneIndex): unknown {
    this.count -= 1;
    return this.#ringOf(lane).shift(undefined);
  }

  /** False when too many offers wait already. */
  park(lane: LaneIndex, offer: ParkedOffer): boolean {
    return this.#ringOf(lane).park(offer);
  }

  withdraw(lane: LaneIndex, offer: ParkedOffer): void {
    this.#rings[lane]?.withdraw(offer);
  }

  /** The next message by invariants 1 and 3, or NOTHING. */
  take(limits: MailboxLimits<never>): unknown {
    if (this.count === 0) return NOTHING;
    const lane = this.#nextLane();
    this.takenLane = lane;
    this.count -= 1;
    const again = this.#again[lane];
    if (again !== NOTHING) {
      this.#again[lane] = NOTHING;
      return again;
    }
    const laneLimits = limits.lanes[lane]!;
    const ring = this.#rings[lane]!;
    const message = ring.shift(
      laneLimits.overflow.kind === 'coalesce' ? laneLimits.overflow.keyOf : undefined,
    );
    if (ring.parkedCount > 0) this.count += ring.admitParked(laneLimits);
    return message;
  }

  /** Makes `message` the next of its lane; it keeps the place it was taken from, so no limit applies. */
  putBack(lane: LaneIndex, message: unknown): void {
    assert(this.#again[lane] === NOTHING, 'one message of a lane is taken again');
    this.#again[lane] = message;
    this.count += 1;
  }

  countOf(lane: LaneIndex): number {
    return (this.#rings[lane]?.count ?? 0) + (this.#again[lane] === NOTHING ? 0 : 1);
  }

  bytesOf(lane: LaneIndex): number {
    return this.#rings[lane]?.bytes ?? 0;
  }

  parkedOf(lane: LaneIndex): number {
    return this.#rings[lane]?.parkedCount ?? 0;
  }

  /** A message of the system or control lane waits. */
  get urgent(): boolean {
    return this.#has(0) || this.#has(1);
  }

  refuseParked(): void {
    for (const ring of this.#rings) ring?.refuseParked();
  }

  /** Ready for another actor; the mailbox is empty. */
  reset(): void {
    for (let lane = 0; lane < this.#rings.length; lane += 1) {
      if (this.#rings[lane]?.mayBeKept === false) this.#rings[lane] = undefined;
    }
    this.#refillCredits();
  }

  #nextLane(): LaneIndex {
    if (this.#has(0)) return 0;
    for (;;) {
      if (this.#controlCredit > 0 && this.#has(1)) {
        this.#controlCredit -= 1;
        return 1;
      }
      if (this.#commandCredit > 0 && this.#has(2)) {
        this.#commandCredit -= 1;
        return 2;
      }
      if (this.#bulkCredit > 0 && this.#has(3)) {
        this.#bulkCredit -= 1;
        return 3;
      }
      this.#refillCredits();
    }
  }

  #refillCredits(): void {
    this.#controlCredit = LANE_WEIGHTS[1]!;
    this.#commandCredit = LANE_WEIGHTS[2]!;
    this.#bulkCredit = LANE_WEIGHTS[3]!;
  }

  #has(lane: LaneIndex): boolean {
    const ring = this.#rings[lane];
    if (ring !== undefined && ring.count > 0) return true;
    return this.#again[lane] !== NOTHING;
  }

  #ringOf(lane: LaneIndex): LaneRing {
    return (this.#rings[lane] ??= new LaneRing());
  }
}

function bytesOf(message: unknown, limits: MailboxLimits<never>): number {
  return limits.bytesOf === undefined ? MESSAGE_BYTES : limits.bytesOf(message as never);
}

/** Empty mailboxes beyond this many are left to the collector. */
const POOLED_MAX = 4_096;

/** An idle actor has no mailbox: it takes one from here with its first message. */
export class MailboxPool {
  readonly #free: Mailbox[] = [];

  take(): Mailbox {
    return this.#free.pop() ?? new Mailbox();
  }

  give(mailbox: Mailbox): void {
    if (this.#free.length >= POOLED_MAX) return;
    mailbox.reset();
    this.#free.push(mailbox);
  }
}
