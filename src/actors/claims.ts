import { DbError } from '../base/errors.ts';
import { canceled } from './deadline.ts';

/**
 * Who may write what until when. A transaction claims rows (by row id) and unique keys (by their text) of relations, or
 * a relation whole; others queue behind it. Beyond CLAIM_COUNT_MAX single claims on a relation a transaction claims it
 * whole. A transaction waits for one holder at a time, so the graph of waiting has one edge a node and a deadlock is a
 * walk that comes back: 40P01 at the one that closes the circle.
 */
export class Claims {
  readonly #relations = new Map<number, RelationClaims>();

  get isEmpty(): boolean {
    return this.#relations.size === 0;
  }

  /**
   * Claims all of `keys` (row ids as numbers, unique keys as `index:key` texts) for `owner`, or none: then the answer is who
   * holds one of them. 'whole' claims the relation.
   */
  take(
    owner: ClaimOwner,
    relation: number,
    keys: Iterable<number | string> | 'whole',
  ): ClaimOwner | undefined {
    const claims = this.#relations.get(relation) ?? newRelationClaims();
    if (claims.whole !== undefined && claims.whole !== owner) return claims.whole;
    if (keys === 'whole') {
      for (const holder of claims.counts.keys()) if (holder !== owner) return holder;
      claims.whole = owner;
    } else if (claims.whole === undefined) {
      const wanted = [...keys];
      for (const key of wanted) {
        const holder = claims.keys.get(key);
        if (holder !== undefined && holder !== owner) return holder;
      }
      const count = claims.counts.get(owner) ?? 0;
      if (count + wanted.length > CLAIM_COUNT_MAX) {
        const blocked = this.take(owner, relation, 'whole');
        if (blocked !== undefined) return blocked;
      } else {
        for (const key of wanted) claims.keys.set(key, owner);
        // Whoever has written rows is in the way of one who wants the relation whole, be they rows that nobody else could claim.
        claims.counts.set(owner, count + wanted.length);
      }
    }
    this.#relations.set(relation, claims);
    owner.relations.add(relation);
    return undefined;
  }

  /** Whether all of it is claimed by `owner` already. */
  holds(owner: ClaimOwner, relation: number, keys: Iterable<number | string> | 'whole'): boolean {
    const claims = this.#relations.get(relation);
    if (claims?.whole === owner) return true;
    if (keys === 'whole') return false;
    for (const key of keys) if (claims?.keys.get(key) !== owner) return false;
    return true;
  }

  /** Who, other than `owner`, would make `take` fail. */
  holderOf(
    owner: ClaimOwner | undefined,
    relation: number,
    keys: Iterable<number | string> | 'whole',
  ): ClaimOwner | undefined {
    const claims = this.#relations.get(relation);
    if (claims === undefined) return undefined;
    if (claims.whole !== undefined && claims.whole !== owner) return claims.whole;
    if (keys === 'whole') {
      for (const holder of claims.counts.keys()) if (holder !== owner) return holder;
      return undefined;
    }
    for (const key of keys) {
      const holder = claims.keys.get(key);
      if (holder !== undefined && holder !== owner) return holder;
    }
    return undefined;
  }

  /** Resolves when `holder` has ended; 40P01 at once where that would wait for itself. */
  wait(owner: ClaimOwner, holder: ClaimOwner, signal?: AbortSignal): Promise<void> {
    for (let next: ClaimOwner | undefined = holder; next !== undefined; next = next.waitsFor) {
      if (next === owner) return Promise.reject(deadlock());
    }
    // It ended between the look and the wait: nobody would wake who waits for it now.
    if (holder.relations.size === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(canceled(signal));
        return;
      }
      owner.waitsFor = holder;
      const abort = (): void => {
        owner.waitsFor = undefined;
        holder.waiters.delete(wake);
        reject(canceled(signal!));
      };
      const wake = (): void => {
        owner.waitsFor = undefined;
        signal?.removeEventListener('abort', abort);
        resolve();
      };
      signal?.addEventListener('abort', abort, { once: true });
      holder.waiters.add(wake);
    });
  }

  /** Gives everything back and wakes, in the order they came, those who wait. */
  release(owner: ClaimOwner): void {
    for (const relation of owner.relations) {
      const claims = this.#relations.get(relation);
      if (claims === undefined) continue;
      if (claims.whole === owner) claims.whole = undefined;
      if (claims.counts.delete(owner)) {
        for (const [key, holder] of claims.keys) if (holder === owner) claims.keys.delete(key);
      }
      if (claims.whole === undefined && claims.counts.size === 0) this.#relations.delete(relation);
    }
    owner.relations.clear();
    const waiters = [...owner.waiters];
    owner.waiters.clear();
    for (const wake of waiters) wake();
  }
}

/** Single claims of one transaction on one relation; beyond, it claims the relation whole. */
const CLAIM_COUNT_MAX = 10_000;

/** A transaction as far as claims go. */
export type ClaimOwner = {
  readonly relations: Set<number>;
  readonly waiters: Set<() => void>;
  waitsFor: ClaimOwner | undefined;
};

export function newClaimOwner(): ClaimOwner {
  return { relations: new Set(), waiters: new Set(), waitsFor: undefined };
}

type RelationClaims = {
  whole: ClaimOwner | undefined;
  readonly keys: Map<number | string, ClaimOwner>;
  readonly counts: Map<ClaimOwner, number>;
};

function newRelationClaims(): RelationClaims {
  return { whole: undefined, keys: new Map(), counts: new Map() };
}

function deadlock(): DbError {
  return new DbError('40P01', 'deadlock detected', {
    detail: 'This transaction waits for rows of another one that waits for rows of this one.',
    hint: 'Run the transaction again; touch rows in the same order everywhere to avoid it.',
  });
}
