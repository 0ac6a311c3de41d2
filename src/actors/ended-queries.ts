/**
 * What has ended lately, by tenant: one that asks a lot forgets its own past sooner, and nobody else's. Beyond what all may have
 * together, the oldest goes of whoever has most.
 */
export class EndedQueries<Query extends { readonly tenant: string }> {
  readonly #byTenant = new Map<string, Query[]>();
  #count = 0;

  add(query: Query): void {
    const own = this.#byTenant.get(query.tenant) ?? [];
    this.#byTenant.set(query.tenant, own);
    own.push(query);
    this.#count += 1;
    if (own.length > TENANT_COUNT_MAX) this.#forget(own);
    if (this.#count > COUNT_MAX)
      this.#forget(
        [...this.#byTenant.values()].reduce((most, each) =>
          each.length > most.length ? each : most,
        ),
      );
  }

  /** The latest last. */
  of(tenant: string): readonly Query[] {
    return this.#byTenant.get(tenant) ?? [];
  }

  #forget(own: Query[]): void {
    const oldest = own.shift()!;
    this.#count -= 1;
    if (own.length === 0) this.#byTenant.delete(oldest.tenant);
  }
}

const TENANT_COUNT_MAX = 100;
const COUNT_MAX = 1000;
