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
  /** Segments named and perhaps not rewritten yet. */
  readonly #named = new Map<number, Set<number>>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  published(deltas: ReadonlyMap<number, readonly TableDelta[]>): void {
    for (const [relation, changes] of deltas) {
      let deleted = 0;
      for (const delta of changes) deleted += delta.deleted?.rowCount ?? 0;
      if (deleted === 0) continue;
      const total = deleted + (this.#deleted.get(relation) ?? 0);
      // Looking costs a walk over the segments: once for many rows.
      if (total < LOOK_EVERY_ROWS) this.#deleted.set(relation, total);
      else {
        this.#deleted.delete(relation);
        this.#name(relation);
      }
    }
  }

  #name(relation: number): void {
    const entry = this.#engine.state.catalog.byId(relation);
    if (!isStored(entry)) return;
    const named = this.#named.get(relation) ?? new Set<number>();
    const wanted = entry.data.segmentsToCompact();
    // What is wanted no more has been rewritten, or is gone.
    for (const segment of named) if (!wanted.includes(segment)) named.delete(segment);
    const fresh = wanted.filter((segment) => !named.has(segment));
    if (fresh.length === 0) return;
    for (const segment of fresh) named.add(segment);
    this.#named.set(relation, named);
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
