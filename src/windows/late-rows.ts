import { QUARTER } from './tile-time.ts';

/**
 * Which rows of a table came late: later after their time than its policy lets them. Counted when their commit is published, by the
 * quarter hour of their time, so that each window can say how many of its rows came when it had been looked at already.
 */
export class LateRows {
  /** By quarter, counted from 1970. */
  readonly #counts = new Map<number, number>();
  #newest = -Infinity;

  /** The latest time that has arrived, whether its row is there still or not; undefined: none has. */
  get newest(): number | undefined {
    return this.#newest === -Infinity ? undefined : this.#newest;
  }

  /** Rows have arrived; those of times before `since` are late. */
  note(times: Float64Array, since: number): void {
    for (const time of times) {
      if (!Number.isFinite(time)) continue;
      if (time > this.#newest) this.#newest = time;
      if (time >= since) continue;
      const quarter = Math.floor(time / QUARTER);
      this.#counts.set(quarter, (this.#counts.get(quarter) ?? 0) + 1);
      if (this.#counts.size > QUARTERS_MAX) this.#joinOldest();
    }
  }

  /** Late rows of times in [from, to), by whole quarters. */
  between(from: number, to: number): number {
    let rows = 0;
    for (const [quarter, count] of this.#counts)
      if ((quarter + 1) * QUARTER > from && quarter * QUARTER < to) rows += count;
    return rows;
  }

  /** There is room for so many quarters: the oldest become one, and many at once, so that each row that comes costs next to nothing. */
  #joinOldest(): void {
    const oldest = Float64Array.from(this.#counts.keys()).sort().subarray(0, JOINED_AT_ONCE);
    let rows = 0;
    for (const quarter of oldest) {
      rows += this.#counts.get(quarter)!;
      this.#counts.delete(quarter);
    }
    this.#counts.set(oldest.at(-1)!, rows);
  }

  /** For snapshots. */
  image(): LateImage {
    return {
      newest: this.#newest,
      quarters: Float64Array.from(this.#counts.keys()),
      counts: Float64Array.from(this.#counts.values()),
    };
  }

  static of({ newest, quarters, counts }: LateImage): LateRows {
    const made = new LateRows();
    made.#newest = newest;
    for (const [at, quarter] of quarters.entries()) made.#counts.set(quarter, counts[at]!);
    return made;
  }
}

export type LateImage = {
  readonly newest: number;
  readonly quarters: Float64Array;
  readonly counts: Float64Array;
};

const QUARTERS_MAX = 65_536;
const JOINED_AT_ONCE = QUARTERS_MAX / 8;
