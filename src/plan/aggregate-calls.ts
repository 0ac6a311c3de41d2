import type { AggregateCall } from './logical.ts';

/** The aggregate calls of one level of a query, each once. */
export class AggregateCalls {
  readonly calls: AggregateCall[] = [];
  /** By what a call looks like, its place: hundreds are not held against each other. */
  readonly #places = new Map<string, number>();

  /** The place of a call, which may be there already. `text` is the same for calls that are the same. */
  placeOf(call: AggregateCall, text: string): number {
    const known = this.#places.get(text);
    if (known !== undefined) return known;
    const place = this.calls.push(call) - 1;
    this.#places.set(text, place);
    return place;
  }
}
