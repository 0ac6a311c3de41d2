import { idOf, type CatalogEntry } from './catalog.ts';

/** Who else may read a tenant's relations: GRANT SELECT ON … TO tenant | PUBLIC. */
export class Grants {
  readonly #readers = new Map<number, Set<string>>();

  /** `to` undefined: PUBLIC. */
  grant(entry: CatalogEntry, to: string | undefined): void {
    const readers = this.#readers.get(idOf(entry)) ?? new Set();
    this.#readers.set(idOf(entry), readers);
    readers.add(to ?? PUBLIC);
  }

  revoke(entry: CatalogEntry, from: string | undefined): void {
    this.#readers.get(idOf(entry))?.delete(from ?? PUBLIC);
  }

  allows(entry: CatalogEntry, tenant: string): boolean {
    if (entry.definition.tenant === tenant) return true;
    const readers = this.#readers.get(idOf(entry));
    return readers !== undefined && (readers.has(tenant) || readers.has(PUBLIC));
  }
}

const PUBLIC = '\0public';
