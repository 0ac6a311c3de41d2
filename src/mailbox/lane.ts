import { assert } from '../base/errors.ts';

/**
 * The four ways into an actor. `system` always goes first; the others share the actor's attention by weight, so that
 * a cancel (`control`) overtakes writes (`command`), and rows in bulk never shut either out.
 */
export type Lane = 'system' | 'control' | 'command' | 'bulk';

export const LANES: readonly Lane[] = ['system', 'control', 'command', 'bulk'];
export const LANE_WEIGHTS: readonly number[] = [Infinity, 8, 4, 1];

export type LaneIndex = 0 | 1 | 2 | 3;

export function laneIndexOf(lane: Lane): LaneIndex {
  return lane === 'command' ? 2 : lane === 'control' ? 1 : lane === 'bulk' ? 3 : 0;
}

/** What becomes of a message that finds its lane full. */
export type Overflow<Message> =
  /** The sender is told `full`, and decides. */
  | { readonly kind: 'reject' }
  /** The oldest message of the lane goes to the dead letters, counted. For telemetry only. */
  | { readonly kind: 'dropOldest' }
  /**
   * A message takes the place of a waiting one with the same key, full or not. One with a new key (or none:
   * `undefined`) queues, and is rejected when the lane is full.
   */
  | { readonly kind: 'coalesce'; readonly keyOf: (message: Message) => unknown };

/** Both bounds hold at once, except that an empty lane takes one message of any size. */
export type LaneLimits<Message> = {
  readonly messages: number;
  readonly bytes: number;
  readonly overflow: Overflow<Message>;
};

export type MailboxLimits<Message> = {
  /** Indexed like LANES. */
  readonly lanes: readonly LaneLimits<Message>[];
  /** What a message holds, in bytes. Absent: MESSAGE_BYTES each. */
  readonly bytesOf: ((message: Message) => number) | undefined;
};

/** What a message counts for when its actor does not measure: an object of a few fields. */
export const MESSAGE_BYTES = 128;

/** Rings double by copying; beyond this one doubling would copy more than 64 KB. */
export const LANE_MESSAGES_MAX = 16_384;

/** Offers that may wait for credit at one lane: an offer beyond it is refused, so that nothing queues without bound. */
export const PARKED_OFFERS_MAX = 1_024;

const REJECT: { readonly kind: 'reject' } = { kind: 'reject' };

const LANE_DEFAULTS: Readonly<Record<Lane, LaneLimits<unknown>>> = {
  system: { messages: 64, bytes: 65_536, overflow: REJECT },
  control: { messages: 256, bytes: 1_048_576, overflow: REJECT },
  command: { messages: 1_024, bytes: 16_777_216, overflow: REJECT },
  bulk: { messages: 1_024, bytes: 67_108_864, overflow: REJECT },
};

/** Fills in defaults. Make one per kind of actor and share it. */
export function mailboxLimits<Message>(
  lanes: { readonly [Name in Lane]?: Partial<LaneLimits<Message>> } = {},
  bytesOf?: (message: Message) => number,
): MailboxLimits<Message> {
  return {
    bytesOf,
    lanes: LANES.map((lane) => {
      const defaults: LaneLimits<Message> = LANE_DEFAULTS[lane];
      const limits = Object.assign({}, defaults, lanes[lane]);
      assert(
        limits.messages >= 1 && limits.messages <= LANE_MESSAGES_MAX,
        `a lane holds 1 to ${LANE_MESSAGES_MAX} messages`,
      );
      return limits;
    }),
  };
}

export const DEFAULT_LIMITS: MailboxLimits<never> = mailboxLimits<never>();

const SLOTS_FIRST = 16;
/** An empty ring larger than this is not kept for the next actor. */
const SLOTS_KEPT_MAX = 64;
/** Places count up to here and start again; a multiple of every slot count. */
const PLACE_MASK = 0x3fff_ffff;

/** An offer that waits until its message fits. */
export type ParkedOffer = {
  readonly message: unknown;
  readonly bytes: number;
  readonly settle: (outcome: 'ok' | 'dead') => void;
};

/**
 * A queue in a power-of-two array. A slot is cleared when taken, so that a ring holds no message it does not own.
 * What only some lanes need (measured sizes, coalescing keys, parked offers) is allocated when first used.
 */
export class LaneRing {
  count = 0;
  bytes = 0;
  #items: unknown[] = Array.from({ length: SLOTS_FIRST });
  /** The place of the oldest message; place p is in slot `p & (slots − 1)`. */
  #head = 0;
  #sizes: Float64Array | undefined;
  /** Where the waiting message of a key is. */
  #places: Map<unknown, number> | undefined;
  #parked: ParkedOffer[] | undefined;

  get parkedCount(): number {
    return this.#parked === undefined ? 0 : this.#parked.length;
  }

  get mayBeKept(): boolean {
    return this.#items.length <= SLOTS_KEPT_MAX;
  }

  fits(bytes: number, limits: LaneLimits<never>): boolean {
    return this.count === 0 || (this.count < limits.messages && this.bytes + bytes <= limits.bytes);
  }

  /** Appends, whatever the limits: the caller has asked `fits`. */
  push(message: unknown, bytes: number): void {
    if (this.count === this.#items.length) this.#grow();
    const slot = (this.#head + this.count) & (this.#items.length - 1);
    this.#items[slot] = message;
    if (bytes !== MESSAGE_BYTES || this.#sizes !== undefined) this.#sizesOfSlots()[slot] = bytes;
    this.count += 1;
    this.bytes += bytes;
  }

  /** Appends a message that a later one with the same key may replace. */
  pushKeyed(message: unknown, bytes: number, key: unknown): void {
    this.#places ??= new Map();
    this.#places.set(key, (this.#head + this.count) & PLACE_MASK);
    this.push(message, bytes);
  }

  /** Puts `message` in the place of the waiting one with this key; false if there is none. */
  replace(message: unknown, bytes: number, key: unknown): boolean {
    const place = this.#places?.get(key);
    if (place === undefined) return false;
    const slot = place & (this.#items.length - 1);
    this.#items[slot] = message;
    const sizes = this.#sizesOfSlots();
    this.bytes += bytes - sizes[slot]!;
    sizes[slot] = bytes;
    return true;
  }

  /** Takes the oldest message; the ring is not empty. `keyOf` is the lane's, where it coalesces. */
  shift(keyOf: ((message: never) => unknown) | undefined): unknown {
    const slot = this.#head & (this.#items.length - 1);
    const message = this.#items[slot];
    this.#items[slot] = undefined;
    this.bytes -= this.#sizes === undefined ? MESSAGE_BYTES : this.#sizes[slot]!;
    if (keyOf !== undefined && this.#places !== undefined) {
      const key = keyOf(message as never);
      if (this.#places.get(key) === this.#head) this.#places.delete(key);
    }
    this.#head = (this.#head + 1) & PLACE_MASK;
    this.count -= 1;
    return message;
  }

  /** False when too many wait already. */
  park(offer: ParkedOffer): boolean {
    this.#parked ??= [];
    if (this.#parked.length >= PARKED_OFFERS_MAX) return false;
    this.#parked.push(offer);
    return true;
  }

  /** Takes an offer back that waits: who comes behind it may fit, and is let in with the next message that is taken. */
  withdraw(offer: ParkedOffer): void {
    const parked = this.#parked ?? [];
    const index = parked.indexOf(offer);
    if (index >= 0) parked.splice(index, 1);
    if (parked.length === 0) this.#parked = undefined;
  }

  /** Lets parked offers in as far as they fit, oldest first; returns how many messages that gave. */
  admitParked(limits: LaneLimits<never>): number {
    const parked = this.#parked!;
    const keyOf = limits.overflow.kind === 'coalesce' ? limits.overflow.keyOf : undefined;
    const countBefore = this.count;
    let done = 0;
    for (; done < parked.length; done += 1) {
      const offer = parked[done]!;
      const key = keyOf?.(offer.message as never);
      if (key === undefined || !this.replace(offer.message, offer.bytes, key)) {
        if (!this.fits(offer.bytes, limits)) break;
        if (key === undefined) this.push(offer.message, offer.bytes);
        else this.pushKeyed(offer.message, offer.bytes, key);
      }
      offer.settle('ok');
    }
    if (done === parked.length) this.#parked = undefined;
    else if (done > 0) parked.splice(0, done);
    return this.count - countBefore;
  }

  refuseParked(): void {
    const parked = this.#parked ?? [];
    this.#parked = undefined;
    for (const offer of parked) offer.settle('dead');
  }

  #sizesOfSlots(): Float64Array {
    this.#sizes ??= new Float64Array(this.#items.length).fill(MESSAGE_BYTES);
    return this.#sizes;
  }

  #grow(): void {
    const old = this.#items;
    const oldSizes = this.#sizes;
    const items = Array.from<unknown>({ length: old.length * 2 });
    const sizes = oldSizes === undefined ? undefined : new Float64Array(items.length);
    for (let offset = 0; offset < this.count; offset += 1) {
      const place = this.#head + offset;
      items[place & (items.length - 1)] = old[place & (old.length - 1)];
      if (sizes !== undefined) {
        sizes[place & (items.length - 1)] = oldSizes![place & (old.length - 1)]!;
      }
    }
    this.#items = items;
    this.#sizes = sizes;
  }
}
