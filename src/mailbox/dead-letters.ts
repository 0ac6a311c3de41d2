import type { TenantId } from '../base/units.ts';
import { LANES } from './lane.ts';
import type { Lane, LaneIndex } from './lane.ts';

/** `dead`: sent to an ended actor. `ended`: waited when it ended. `dropped`: pushed out. `failed`: its handling failed. */
export type DeadLetterReason = 'dead' | 'ended' | 'dropped' | 'failed';

const REASONS: readonly DeadLetterReason[] = ['dead', 'ended', 'dropped', 'failed'];

/** Of the message only its kind is kept: a ring of messages would hold memory that no account knows. */
export type DeadLetter = {
  readonly actorName: string;
  readonly tenant: TenantId;
  readonly lane: Lane;
  readonly reason: DeadLetterReason;
  readonly messageKind: string;
};

/** The newest undelivered messages, and how many there were. */
export class DeadLetters {
  readonly #ring: DeadLetter[] = [];
  readonly #capacity: number;
  #next = 0;
  readonly #counts = new Float64Array(REASONS.length);

  constructor(capacity = 256) {
    this.#capacity = capacity;
  }

  add(
    actor: { readonly name: string; readonly tenant: TenantId },
    lane: LaneIndex,
    reason: DeadLetterReason,
    message: unknown,
  ): void {
    const index = REASONS.indexOf(reason);
    this.#counts[index] = this.#counts[index]! + 1;
    this.#ring[this.#next] = {
      actorName: actor.name,
      tenant: actor.tenant,
      lane: LANES[lane]!,
      reason,
      messageKind: kindOf(message),
    };
    this.#next = (this.#next + 1) % this.#capacity;
  }

  count(reason?: DeadLetterReason): number {
    if (reason !== undefined) return this.#counts[REASONS.indexOf(reason)]!;
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  /** Oldest first; at most the capacity. */
  newest(): readonly DeadLetter[] {
    return [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)];
  }
}

function kindOf(message: unknown): string {
  if (typeof message === 'object' && message !== null && 'kind' in message) {
    return String(message.kind);
  }
  return typeof message;
}
