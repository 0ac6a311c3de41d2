import { assert, DbError } from '../base/errors.ts';
import { canceled } from './deadline.ts';

/**
 * Who may write what until when. A transaction claims rows (by row id) and unique keys (by their text) of relations, or
 * a relation whole; others queue behind it. Invariants:
 *
 * 1. What somebody waits for is handed over when it is given back, in the order they came: nobody comes in between.
 * 2. An owner waits for one holder at a time, so the graph of waiting has one edge a node and a deadlock is a walk that comes
 *    back: 40P01 at the one that closes the circle, unless one of it waits for what another one's statement has not written yet.
 * 3. Nobody begins to claim of a relation that somebody waits to have whole, but for those whom that one waits for.
 * 4. Who ends waiting, in whatever way, holds nobody up any more by what it waited for.
 */
export class Claims {
  readonly #relations = new Map<number, RelationClaims>();
  /** Who waits in a circle that is to be broken yet. */
  readonly #circles: ClaimOwner[] = [];
  #isBreaking = false;

  get isEmpty(): boolean {
    return this.#relations.size === 0;
  }

  /** Whether somebody has claims of the relation. */
  areOn(relation: number): boolean {
    return this.#relations.has(relation);
  }

  /**
   * Claims `keys` (row ids as numbers, unique keys as `index:key` texts) for `owner` one after the other up to the first that
   * somebody else has, and answers who has it; what is claimed stays, so that every wait brings the owner on however many
   * want the same. Keys are claimed in one order, so that two statements never wait for each other; a statement that finds
   * it wants others gives back what it has and begins anew. 'whole' claims the relation.
   */
  take(owner: ClaimOwner, relation: number, keys: ClaimKeys): ClaimOwner | undefined {
    return this.#take(owner, relation, keys)?.holder;
  }

  #take(owner: ClaimOwner, relation: number, keys: ClaimKeys): Refusal | undefined {
    if (owner.ended !== undefined) throw owner.ended;
    const claims = this.#relations.get(relation) ?? newRelationClaims();
    const { whole, next } = claims;
    const own = claims.byOwner.get(owner);
    if (whole !== undefined && whole !== owner)
      return { holder: whole, isWhole: keys === 'whole', isInLine: false };
    // Who has a claim here already may be what the next one waits for, and so may whoever waits for it elsewhere.
    if (own === undefined && next !== undefined && next !== owner && !waitsFor(next, owner))
      return { holder: next, isWhole: keys === 'whole', isInLine: true };
    if (whole === owner) return undefined;
    const { fresh, isTaken } =
      keys === 'whole' ? { fresh: 0, isTaken: false } : countOf(claims, owner, keys);
    const count = (own?.keys.length ?? 0) + fresh;
    const isMany = count > CLAIM_COUNT_MAX;
    const other = keys === 'whole' || isMany ? otherOn(claims, owner) : undefined;
    const isWhole =
      keys === 'whole' || (isMany && (other === undefined || count > CLAIM_COUNT_LIMIT));
    if (isWhole) {
      if (other !== undefined) return { holder: other, isWhole, isInLine: false };
      claims.whole = owner;
      if (own === undefined) claims.byOwner.set(owner, newOwnClaims());
    }
    this.#relations.set(relation, claims);
    owner.relations.add(relation);
    if (isWhole) return undefined;
    const key = takeKeys(claims, owner, isTaken ? inOrder(keys) : keys);
    if (key === undefined) return undefined;
    return { holder: claims.keys.get(key)!, key, isWhole, isInLine: false };
  }

  /** What it has claimed of the relation is for good now, until it ends or goes back to where it was before. */
  keep(owner: ClaimOwner, relation: number): void {
    const own = this.#relations.get(relation)?.byOwner.get(owner);
    if (own === undefined) return;
    own.keptCount = own.keys.length;
    own.isKept = true;
  }

  /** Gives back the rows and keys that are not kept. */
  giveBack(owner: ClaimOwner, relation: number): void {
    const claims = this.#relations.get(relation);
    const own = claims?.byOwner.get(owner);
    if (claims === undefined || own === undefined || own.keys.length === own.keptCount) return;
    for (const key of own.keys.splice(own.keptCount)) claims.keys.delete(key);
    this.#wake(owner);
  }

  /** Whether all of it is claimed by `owner` already. */
  holds(owner: ClaimOwner, relation: number, keys: ClaimKeys): boolean {
    const claims = this.#relations.get(relation);
    if (claims?.whole === owner) return true;
    if (keys === 'whole') return false;
    for (const key of keys) if (claims?.keys.get(key) !== owner) return false;
    return true;
  }

  /** Who, other than `owner`, has some of it. */
  holderOf(
    owner: ClaimOwner | undefined,
    relation: number,
    keys: ClaimKeys,
  ): ClaimOwner | undefined {
    const claims = this.#relations.get(relation);
    if (claims === undefined) return undefined;
    if (claims.whole !== undefined && claims.whole !== owner) return claims.whole;
    if (keys === 'whole') return otherOn(claims, owner);
    for (const key of keys) {
      const holder = claims.keys.get(key);
      if (holder !== undefined && holder !== owner) return holder;
    }
    return undefined;
  }

  /** Whether somebody other than `owner` has a key of the relation. */
  isHeld(owner: ClaimOwner | undefined, relation: number, key: number | string): boolean {
    const claims = this.#relations.get(relation);
    if (claims === undefined) return false;
    if (claims.whole !== undefined) return claims.whole !== owner;
    const holder = claims.keys.get(key);
    return holder !== undefined && holder !== owner;
  }

  /** What others have of the relation; none of it where that is very much. */
  heldByOthers(owner: ClaimOwner, relation: number): ReadonlySet<number | string> {
    const held = new Set<number | string>();
    const claims = this.#relations.get(relation);
    if (claims === undefined || claims.keys.size > CLAIM_COUNT_MAX) return held;
    for (const [key, holder] of claims.keys) if (holder !== owner) held.add(key);
    return held;
  }

  /** Resolves when all of it is claimed; 40P01 where that would wait for itself. What was claimed until it fails stays. */
  wait(owner: ClaimOwner, relation: number, keys: ClaimKeys, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(canceled(signal));
        return;
      }
      const abort = (): void => this.#endWaiting(owner, canceled(signal!));
      const ended = (cause: DbError | undefined): void => {
        signal?.removeEventListener('abort', abort);
        if (cause === undefined) resolve();
        else reject(cause);
      };
      const ordered = keys === 'whole' ? keys : inOrder(keys);
      const refusal = this.#take(owner, relation, ordered);
      if (refusal === undefined) {
        resolve();
        return;
      }
      signal?.addEventListener('abort', abort, { once: true });
      owner.waiting = { relation, keys: ordered, refusal, ended };
      this.#queue(owner, refusal);
    });
  }

  #queue(owner: ClaimOwner, refusal: Refusal): void {
    const waiting = owner.waiting!;
    waiting.refusal = refusal;
    refusal.holder.waiters.add(owner);
    if (refusal.isWhole) this.#relations.get(waiting.relation)!.next ??= owner;
    if (!waitsFor(refusal.holder, owner)) return;
    this.#circles.push(owner);
    if (this.#isBreaking) return;
    this.#isBreaking = true;
    let breaksLeft = BREAKS_MAX;
    // Who goes on meets another circle at times.
    for (let each = this.#circles.shift(); each !== undefined; each = this.#circles.shift()) {
      this.#break(each, breaksLeft > 0);
      breaksLeft -= 1;
    }
    this.#isBreaking = false;
  }

  /** Of those who wait in a circle those go on, or give way, who may; 40P01 to `owner` where nobody does. */
  #break(owner: ClaimOwner, mayGiveWay: boolean): void {
    const { waiting } = owner;
    if (waiting === undefined || !waitsFor(waiting.refusal.holder, owner)) return;
    let isMoved = false;
    for (const each of mayGiveWay ? circleOf(owner) : []) {
      if (each.waiting === undefined) continue;
      const { relation, refusal: of } = each.waiting;
      // Who only lets one go first that wants a relation whole, and is waited for by that one, need not wait.
      if (of.isInLine) this.#goOn(each);
      // A statement that waits has not written yet: it gives way, and claims that again.
      else if (this.#givesWay(of, relation)) this.giveBack(of.holder, relation);
      else continue;
      isMoved = true;
    }
    if (owner.waiting !== waiting || !waitsFor(waiting.refusal.holder, owner)) return;
    if (isMoved) this.#circles.push(owner);
    else this.#endWaiting(owner, deadlock());
  }

  /** Whether what was refused is of a statement that waits itself. */
  #givesWay({ holder, key }: Refusal, relation: number): boolean {
    const claims = this.#relations.get(relation)!;
    const own = claims.byOwner.get(holder);
    if (holder.waiting === undefined || claims.whole === holder || own === undefined) return false;
    return key === undefined ? !own.isKept : own.keys.includes(key, own.keptCount);
  }

  /** Who waits tries again. */
  #goOn(owner: ClaimOwner): void {
    const waiting = owner.waiting!;
    waiting.refusal.holder.waiters.delete(owner);
    const refusal = this.#take(owner, waiting.relation, waiting.keys);
    if (refusal === undefined) this.#endWaiting(owner, undefined);
    else this.#queue(owner, refusal);
  }

  #endWaiting(owner: ClaimOwner, cause: DbError | undefined): void {
    const { waiting } = owner;
    if (waiting === undefined) return;
    owner.waiting = undefined;
    waiting.refusal.holder.waiters.delete(owner);
    const claims = this.#relations.get(waiting.relation);
    if (claims?.next === owner) {
      claims.next = undefined;
      this.#tidy(waiting.relation, claims);
      // They came after it: after those who claimed before it, now, or for what it has claimed.
      this.#wake(owner);
    }
    waiting.ended(cause);
  }

  /** What an owner has now, for `giveBackTo`. */
  mark(owner: ClaimOwner): ClaimMark {
    const mark = new Map<number, { readonly keyCount: number; readonly isWhole: boolean }>();
    for (const relation of owner.relations) {
      const claims = this.#relations.get(relation)!;
      const keyCount = claims.byOwner.get(owner)!.keys.length;
      mark.set(relation, { keyCount, isWhole: claims.whole === owner });
    }
    return mark;
  }

  /** Gives back what was claimed since. */
  giveBackTo(owner: ClaimOwner, mark: ClaimMark): void {
    for (const relation of owner.relations) {
      const before = mark.get(relation);
      if (before === undefined) {
        this.#leave(owner, relation);
        continue;
      }
      const claims = this.#relations.get(relation)!;
      if (claims.whole === owner && !before.isWhole) claims.whole = undefined;
      const own = claims.byOwner.get(owner)!;
      for (const key of own.keys.splice(before.keyCount)) claims.keys.delete(key);
      own.keptCount = own.keys.length;
    }
    this.#wake(owner);
  }

  /**
   * Gives everything back. `ended`: why the owner claims nothing any more, whatever is still under way for it; what it waits for
   * ends with that.
   */
  release(owner: ClaimOwner, ended?: DbError): void {
    assert(
      owner.waiting === undefined || ended !== undefined,
      'who still waits is told why not any more',
    );
    owner.ended ??= ended;
    this.#endWaiting(owner, ended);
    for (const relation of owner.relations) this.#leave(owner, relation);
    this.#wake(owner);
  }

  #leave(owner: ClaimOwner, relation: number): void {
    owner.relations.delete(relation);
    const claims = this.#relations.get(relation)!;
    if (claims.whole === owner) claims.whole = undefined;
    for (const key of claims.byOwner.get(owner)!.keys) claims.keys.delete(key);
    claims.byOwner.delete(owner);
    this.#tidy(relation, claims);
  }

  #wake(owner: ClaimOwner): void {
    for (const waiter of [...owner.waiters])
      if (waiter.waiting?.refusal.holder === owner) this.#goOn(waiter);
  }

  #tidy(relation: number, claims: RelationClaims): void {
    if (claims.next === undefined && claims.byOwner.size === 0) this.#relations.delete(relation);
  }
}

/** Who, other than `owner`, is in the way of one who wants the relation whole: not those who still wait for their first claim. */
function otherOn(claims: RelationClaims, owner: ClaimOwner | undefined): ClaimOwner | undefined {
  for (const [other, { keys, isKept }] of claims.byOwner)
    if (other !== owner && (isKept || keys.length > 0 || claims.whole === other)) return other;
  return undefined;
}

/** How many of the keys `owner` does not have yet, and whether somebody else has one of them. */
function countOf(
  { keys: claimed }: RelationClaims,
  owner: ClaimOwner,
  keys: readonly (number | string)[],
): { readonly fresh: number; readonly isTaken: boolean } {
  let fresh = 0;
  let isTaken = false;
  for (const key of keys) {
    const holder = claimed.get(key);
    if (holder === owner) continue;
    fresh += 1;
    if (holder !== undefined) isTaken = true;
  }
  return { fresh, isTaken };
}

/** The first of them that somebody else has. */
function takeKeys(
  claims: RelationClaims,
  owner: ClaimOwner,
  keys: readonly (number | string)[],
): number | string | undefined {
  let own = claims.byOwner.get(owner);
  // Whoever has written rows is in the way of one who wants the relation whole, be they rows that nobody else could claim.
  if (own === undefined) claims.byOwner.set(owner, (own = newOwnClaims()));
  for (const key of keys) {
    const holder = claims.keys.get(key);
    if (holder === owner) continue;
    if (holder !== undefined) return key;
    claims.keys.set(key, owner);
    own.keys.push(key);
  }
  return undefined;
}

/** Row ids before texts, each ascending. */
function inOrder(keys: readonly (number | string)[]): readonly (number | string)[] {
  const ids: number[] = [];
  const texts: string[] = [];
  for (const key of keys) {
    if (typeof key === 'number') ids.push(key);
    else texts.push(key);
  }
  const ordered: (number | string)[] = ids.sort((a, b) => a - b);
  return ordered.concat(texts.sort());
}

/** Whether `owner` is `waiter`, or one that it waits for. A circle of others, which is being broken, is walked once or twice. */
function waitsFor(waiter: ClaimOwner, owner: ClaimOwner): boolean {
  let passed: ClaimOwner | undefined;
  let steps = 0;
  let stepsMax = 2;
  let next: ClaimOwner | undefined = waiter;
  while (next !== undefined) {
    if (next === owner) return true;
    if (next === passed) return false;
    steps += 1;
    if (steps === stepsMax) {
      passed = next;
      steps = 0;
      stepsMax *= 2;
    }
    next = next.waiting?.refusal.holder;
  }
  return false;
}

/** Those who wait in a circle, from one of them on. */
function circleOf(owner: ClaimOwner): ClaimOwner[] {
  const circle = [owner];
  for (
    let next = owner.waiting?.refusal.holder;
    next !== undefined && next !== owner;
    next = next.waiting?.refusal.holder
  )
    circle.push(next);
  return circle;
}

/** Circles that are broken at one go; who gives way may close another one, and that is to have an end. */
const BREAKS_MAX = 64;
/** Single claims of one transaction on one relation; beyond, it claims the relation whole where nobody else has a claim of it. */
const CLAIM_COUNT_MAX = 10_000;
/** The same where somebody has: it waits for those then. Two that load rows side by side would wait for each other. */
const CLAIM_COUNT_LIMIT = 100_000;

export type ClaimKeys = readonly (number | string)[] | 'whole';

/** A transaction as far as claims go. */
export type ClaimOwner = {
  readonly relations: Set<number>;
  /** Those who wait for it, in the order they came. */
  readonly waiters: Set<ClaimOwner>;
  waiting: Waiting | undefined;
  /** Why it claims nothing any more. */
  ended: DbError | undefined;
};

export function newClaimOwner(): ClaimOwner {
  return { relations: new Set(), waiters: new Set(), waiting: undefined, ended: undefined };
}

/** How many keys of each relation an owner had, in the order they were claimed. */
export type ClaimMark = ReadonlyMap<
  number,
  { readonly keyCount: number; readonly isWhole: boolean }
>;

type Waiting = {
  readonly relation: number;
  /** In order. */
  readonly keys: ClaimKeys;
  refusal: Refusal;
  readonly ended: (cause: DbError | undefined) => void;
};

type Refusal = {
  readonly holder: ClaimOwner;
  /** What `holder` has; undefined: something of the relation. */
  readonly key?: number | string;
  /** It was refused the relation whole. */
  readonly isWhole: boolean;
  /** `holder` has nothing of it, and is to have it first. */
  readonly isInLine: boolean;
};

type RelationClaims = {
  whole: ClaimOwner | undefined;
  /** Waits for the relation whole: nobody else begins to claim of it. */
  next: ClaimOwner | undefined;
  readonly keys: Map<number | string, ClaimOwner>;
  readonly byOwner: Map<ClaimOwner, OwnClaims>;
};

/** In the order they were claimed; those from `keptCount` on are of a statement that may want others yet. */
type OwnClaims = {
  readonly keys: (number | string)[];
  keptCount: number;
  /** A statement has come to its end here, be it that it has claimed nothing: it may have inserted rows. */
  isKept: boolean;
};

function newOwnClaims(): OwnClaims {
  return { keys: [], keptCount: 0, isKept: false };
}

function newRelationClaims(): RelationClaims {
  return { whole: undefined, next: undefined, keys: new Map(), byOwner: new Map() };
}

function deadlock(): DbError {
  return new DbError('40P01', 'deadlock detected', {
    detail: 'This transaction waits for rows of another one that waits for rows of this one.',
    hint: 'Run the transaction again; touch rows in the same order everywhere to avoid it.',
  });
}
