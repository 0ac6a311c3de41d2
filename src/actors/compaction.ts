import { tenantId } from '../base/units.ts';
import type { TableDelta } from '../columns/table-contract.ts';
import { isStored } from './catalog.ts';
import type { Engine } from './engine.ts';
import type { Operation } from './records.ts';

/**
 * Names segments of which less than half the rows live, in records of the journal: layout is state, so it changes at a position and
 * replay changes it there too. Upkeep then rewrites them in steps.
 */
export class Compaction {
  readonly #engine: Engine;
  /** Rows deleted since the relation was looked at. */
  readonly #deleted = new Map<number, number>();
  /** Segments named and perhaps not rewritten yet, with the generation of the form that was named. */
  readonly #named = new Map<number, Map<number, number>>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  published(deltas: ReadonlyMap<number, readonly TableDelta[]>): void {
    for (const [relation, changes] of deltas) {
      let deleted = 0;
      for (const delta of changes) deleted += delta.deleted?.rowCount ?? 0;
      if (deleted === 0) continue;
      const total = deleted + (this.#deleted.get(relation) ?? 0);
      // Looking costs a walk over the segments: once for many rows, or where none is left.
      if (total < LOOK_EVERY_ROWS && !this.#isEmpty(relation)) this.#deleted.set(relation, total);
      else {
        this.#deleted.delete(relation);
        this.#name(relation);
      }
    }
  }

  /** It is dropped, or made anew. */
  forget(relation: number): void {
    this.#deleted.delete(relation);
    this.#named.delete(relation);
  }

  #isEmpty(relation: number): boolean {
    const entry = this.#engine.state.catalog.byId(relation);
    return isStored(entry) && entry.data.rowCount === 0;
  }

  #name(relation: number): void {
    const entry = this.#engine.state.catalog.byId(relation);
    if (!isStored(entry)) return;
    const before = this.#named.get(relation);
    const named = new Map<number, number>();
    const fresh: number[] = [];
    // One that was rewritten may be sparse again by now: that is another form of it.
    for (const { number, generation } of entry.data.segmentsToCompact()) {
      named.set(number, generation);
      if (before?.get(number) !== generation) fresh.push(number);
    }
    if (named.size === 0) this.#named.delete(relation);
    else this.#named.set(relation, named);
    if (fresh.length === 0) return;
    if (entry.kind === 'materializedView') {
      // Views are made anew from the rows they read: their layout is nobody's but theirs.
      for (const segment of fresh) entry.data.compact(segment);
      this.#engine.housekeeping.maintain(relation);
      return;
    }
    void this.#engine
      .commit({
        tenant: tenantId('adb'),
        relations: [relation],
        prepare: () => {
          // Dropped meanwhile: nothing to say.
          const present = this.#engine.state.catalog.byId(relation);
          return isStored(present)
            ? fresh.map((segment): Operation => ({ op: 'compact', relation, segment }))
            : [];
        },
      })
      .then(
        () => this.#engine.housekeeping.maintain(relation),
        // Refused writes or a closed database: the segments stay as they are.
        () => this.#named.delete(relation),
      );
  }
}

const LOOK_EVERY_ROWS = 16_384;
