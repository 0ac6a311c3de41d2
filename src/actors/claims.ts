import { DbError } from '../base/errors.ts';
import { canceled } from './deadline.ts';

/**
 * Who may write what until when. A transaction claims rows (by row id) and unique keys (by their text) of relations, or
 * a relation whole; others queue behind it. Beyond CLAIM_COUNT_MAX single claims on a relation a transaction claims it
 * whole, and whoever has no claim on the relation yet comes after it. A transaction waits for one holder at a time, so
 * the graph of waiting has one edge a node and a deadlock is a walk that comes back: 40P01 at the one that closes the
 * circle.
 */
export class Claims {
  readonly #relations = new Map<number, RelationClaims>();

  get isEmpty(): boolean {
    return this.#relations.size === 0;
  }

  /**
   * Claims `keys` (row ids as numbers, unique keys as `index:key` texts) for `owner` one after the other up to the first that
   * somebody else has, and answers who has it; what is claimed stays, so that every wait brings the owner on however many
   * want the same. Keys are claimed in one order, so that two statements never wait for each other; a statement that finds
   * it wants others gives back what it has and begins anew. 'whole' claims the relation.
   */
  take(
    owner: ClaimOwner,
    relation: number,
    keys: readonly (number | string)[] | 'whole',
  ): ClaimOwner | undefined {
    const claims = this.#relations.get(relation) ?? newRelationClaims();
    const own = claims.byOwner.get(owner);
    // Who has a claim here already may be what the next one waits for.
    if (own === undefined && claims.next !== undefined && claims.next !== owner) return claims.next;
    if (claims.whole !== undefined) return claims.whole === owner ? undefined : claims.whole;
    const wanted =
      keys === 'whole' ? [] : inOrder(keys.filter((key) => claims.keys.get(key) !== owner));
    const isWhole = keys === 'whole' || (own?.keys.length ?? 0) + wanted.length > CLAIM_COUNT_MAX;
    const holder = isWhole
      ? takeWhole(claims, owner, relation)
      : takeKeys(claims, owner, wanted, own);
    if (holder === undefined || !isWhole) {
      this.#relations.set(relation, claims);
      owner.relations.add(relation);
    }
    return holder;
  }

  /** What it has claimed of the relation is for good now, until it ends. */
  keep(owner: ClaimOwner, relation: number): void {
    const own = this.#relations.get(relation)?.byOwner.get(owner);
    if (own !== undefined) own.keptCount = own.keys.length;
  }

  /** Gives back the rows and keys that are not kept. */
  giveBack(owner: ClaimOwner, relation: number): void {
    const claims = this.#relations.get(relation);
    const own = claims?.byOwner.get(owner);
    if (claims === undefined || own === undefined || own.keys.length === own.keptCount) return;
    for (const key of own.keys.splice(own.keptCount)) claims.keys.delete(key);
    wakeAll(owner);
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
      for (const holder of claims.byOwner.keys()) if (holder !== owner) return holder;
      return undefined;
    }
    for (const key of keys) {
      const holder = claims.keys.get(key);
      if (holder !== undefined && holder !== owner) return holder;
    }
    return undefined;
  }

  /**
   * Resolves when `holder` has ended, or when there may be something to claim although it has not; 40P01 at once where that
   * would wait for itself.
   */
  async wait(owner: ClaimOwner, holder: ClaimOwner, signal?: AbortSignal): Promise<void> {
    try {
      await this.#untilWoken(owner, holder, signal);
    } catch (cause) {
      this.#wantNothing(owner);
      throw cause;
    }
  }

  #untilWoken(owner: ClaimOwner, holder: ClaimOwner, signal?: AbortSignal): Promise<void> {
    for (let next: ClaimOwner | undefined = holder; next !== undefined; next = next.waitsFor) {
      if (next === owner) return Promise.reject(deadlock());
    }
    // It ended between the look and the wait: nobody would wake who waits for it now.
    if (holder.relations.size === 0 && holder.wanted === undefined) return Promise.resolve();
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(canceled(signal));
        return;
      }
      owner.waitsFor = holder;
      const wanted = owner.wanted === undefined ? undefined : this.#relations.get(owner.wanted);
      if (wanted !== undefined) wanted.next ??= owner;
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

  /** Who wanted a relation whole and has given up holds nobody up any more who came after it. */
  #wantNothing(owner: ClaimOwner): void {
    const { wanted: relation } = owner;
    if (relation === undefined) return;
    owner.wanted = undefined;
    const claims = this.#relations.get(relation);
    if (claims?.next === owner) {
      claims.next = undefined;
      this.#tidy(relation, claims);
    }
    wakeAll(owner);
  }

  /** Gives everything back and wakes, in the order they came, those who wait. */
  release(owner: ClaimOwner): void {
    this.#wantNothing(owner);
    for (const relation of owner.relations) {
      const claims = this.#relations.get(relation);
      if (claims === undefined) continue;
      if (claims.whole === owner) claims.whole = undefined;
      for (const key of claims.byOwner.get(owner)?.keys ?? []) claims.keys.delete(key);
      claims.byOwner.delete(owner);
      this.#tidy(relation, claims);
    }
    owner.relations.clear();
    wakeAll(owner);
  }

  #tidy(relation: number, claims: RelationClaims): void {
    if (claims.whole === undefined && claims.next === undefined && claims.byOwner.size === 0)
      this.#relations.delete(relation);
  }
}

function takeWhole(
  claims: RelationClaims,
  owner: ClaimOwner,
  relation: number,
): ClaimOwner | undefined {
  for (const holder of claims.byOwner.keys()) {
    if (holder === owner) continue;
    owner.wanted = relation;
    return holder;
  }
  // Whoever came after it waits on.
  claims.whole = owner;
  claims.next = undefined;
  owner.wanted = undefined;
  return undefined;
}

function takeKeys(
  claims: RelationClaims,
  owner: ClaimOwner,
  wanted: readonly (number | string)[],
  own: OwnClaims | undefined,
): ClaimOwner | undefined {
  const claimed = own ?? { keys: [], keptCount: 0 };
  // Whoever has written rows is in the way of one who wants the relation whole, be they rows that nobody else could claim.
  if (own === undefined) claims.byOwner.set(owner, claimed);
  for (const key of wanted) {
    const holder = claims.keys.get(key);
    if (holder === owner) continue;
    if (holder !== undefined) return holder;
    claims.keys.set(key, owner);
    claimed.keys.push(key);
  }
  return undefined;
}

/** Row ids before texts, each ascending. */
function inOrder(keys: (number | string)[]): (number | string)[] {
  return keys.sort((a, b) => {
    if (typeof a !== typeof b) return typeof a === 'number' ? -1 : 1;
    return a < b ? -1 : a > b ? 1 : 0;
  });
}

function wakeAll(owner: ClaimOwner): void {
  const waiters = [...owner.waiters];
  owner.waiters.clear();
  for (const wake of waiters) wake();
}

/** Single claims of one transaction on one relation; beyond, it claims the relation whole. */
const CLAIM_COUNT_MAX = 10_000;

/** A transaction as far as claims go. */
export type ClaimOwner = {
  readonly relations: Set<number>;
  readonly waiters: Set<() => void>;
  waitsFor: ClaimOwner | undefined;
  /** The relation that it was refused whole: it comes next there while it waits, or tries again. */
  wanted: number | undefined;
};

export function newClaimOwner(): ClaimOwner {
  return { relations: new Set(), waiters: new Set(), waitsFor: undefined, wanted: undefined };
}

type RelationClaims = {
  whole: ClaimOwner | undefined;
  /** Waits for the relation whole: nobody else begins to claim of it. */
  next: ClaimOwner | undefined;
  readonly keys: Map<number | string, ClaimOwner>;
  readonly byOwner: Map<ClaimOwner, OwnClaims>;
};

/** In the order they were claimed; those from `keptCount` on are of a statement that may want others yet. */
type OwnClaims = { readonly keys: (number | string)[]; keptCount: number };

function newRelationClaims(): RelationClaims {
  return { whole: undefined, next: undefined, keys: new Map(), byOwner: new Map() };
}

function deadlock(): DbError {
  return new DbError('40P01', 'deadlock detected', {
    detail: 'This transaction waits for rows of another one that waits for rows of this one.',
    hint: 'Run the transaction again; touch rows in the same order everywhere to avoid it.',
  });
}
