/** How long operations of one load took, in simulated milliseconds; of percentiles the error is below one in a hundred. */
export type LatencySummary = {
  readonly count: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
};

const LEAST_MS = 0.001;
const LOG_GROWTH = Math.log(1.02);

/** Counts by size, in buckets that grow by two in a hundred: bounded, however long the run. */
export class Latencies {
  readonly #buckets: number[] = [];
  #count = 0;
  #totalMs = 0;
  #maxMs = 0;

  note(ms: number): void {
    const bucket = ms <= LEAST_MS ? 0 : 1 + Math.floor(Math.log(ms / LEAST_MS) / LOG_GROWTH);
    while (this.#buckets.length <= bucket) this.#buckets.push(0);
    this.#buckets[bucket]! += 1;
    this.#count += 1;
    this.#totalMs += ms;
    this.#maxMs = Math.max(this.#maxMs, ms);
  }

  get summary(): LatencySummary {
    return {
      count: this.#count,
      meanMs: this.#count === 0 ? 0 : this.#totalMs / this.#count,
      p50Ms: this.#percentile(0.5),
      p90Ms: this.#percentile(0.9),
      p99Ms: this.#percentile(0.99),
      maxMs: this.#maxMs,
    };
  }

  #percentile(share: number): number {
    let left = Math.ceil(this.#count * share);
    if (left === 0) return 0;
    for (const [bucket, count] of this.#buckets.entries()) {
      left -= count;
      if (left <= 0)
        return bucket === 0
          ? 0
          : Math.min(this.#maxMs, LEAST_MS * Math.exp((bucket - 0.5) * LOG_GROWTH));
    }
    return this.#maxMs;
  }
}
