import { idOf, type CatalogEntry } from './catalog.ts';

/** Who else may read a tenant's relations: GRANT SELECT ON … TO tenant | PUBLIC. Changed by records only. */
export class Grants {
  readonly #readers = new Map<number, Set<string>>();

  /** `to` undefined: PUBLIC. Returns what undoes it. */
  set(relation: number, to: string | undefined, granted: boolean): () => void {
    const reader = to ?? PUBLIC;
    const readers = this.#readers.get(relation) ?? new Set<string>();
    const before = readers.has(reader);
    if (granted) {
      this.#readers.set(relation, readers);
      readers.add(reader);
    } else readers.delete(reader);
    return () => {
      if (before !== granted) this.set(relation, to, before);
    };
  }

  allows(entry: CatalogEntry, tenant: string): boolean {
    if (entry.definition.tenant === tenant) return true;
    const readers = this.#readers.get(idOf(entry));
    return readers !== undefined && (readers.has(tenant) || readers.has(PUBLIC));
  }

  /** The relation is gone for good. */
  forget(relation: number): void {
    this.#readers.delete(relation);
  }

  /** For snapshots: relation by relation, each reader; undefined is PUBLIC. */
  list(): { readonly relation: number; readonly to: string | undefined }[] {
    return [...this.#readers]
      .sort(([a], [b]) => a - b)
      .flatMap(([relation, readers]) =>
        [...readers].sort().map((reader) => ({
          relation,
          to: reader === PUBLIC ? undefined : reader,
        })),
      );
  }
}

const PUBLIC = '\0public';
