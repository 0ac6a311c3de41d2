import type { NumberArray, NumberBounds } from './vector.ts';

/**
 * The extreme rows of a column of a sealed segment, and what bounds the others. A sample that misses the few rows that make a sum says
 * nothing; taken whole beside it they cost one row in a hundred, and the rest is a column like any other (Chaudhuri, Das, Datar, Motwani &
 * Narasayya, Overcoming limitations of sampling for aggregation queries, ICDE 2001).
 */
export type Tails = {
  /** Slots of the extreme rows, ascending. */
  readonly slots: Uint16Array;
  /** Of all other rows that are present, in units of the column's data (numeric: coefficients). */
  readonly min: number;
  readonly max: number;
};

/** A sample as large as this finds the place of the last percent well enough: the list may be half as long or twice. */
const SAMPLE_ROWS = 512;
const SHARE = 0.01;
/** A range that is wider than the middle 99 % by this much has tails. Evenly or normally distributed values stay below. */
const HEAVY = 3;
const SLOTS_MAX = 4096;

/** Undefined where the column has no tails to speak of, or too many. `values` are by slot, in random order therefore. */
export function tailsOf(
  values: NumberArray,
  validity: Uint8Array | undefined,
  encoding: { readonly factor: number; readonly base: number; readonly bounds: NumberBounds },
): Tails | undefined {
  const { factor, base, bounds } = encoding;
  const rowCount = values.length;
  if (rowCount < SAMPLE_ROWS || bounds.min === bounds.max) return undefined;
  const sample = new Float64Array(SAMPLE_ROWS);
  let count = 0;
  for (let slot = 0; slot < rowCount && count < SAMPLE_ROWS; slot += 1) {
    if (validity !== undefined && validity[slot] === 0) continue;
    const value = values[slot]! * factor + base;
    if (!Number.isFinite(value)) continue;
    sample[count] = value;
    count += 1;
  }
  if (count < SAMPLE_ROWS) return undefined;
  sample.sort();
  const cut = Math.ceil((SAMPLE_ROWS * SHARE) / 2);
  const low = sample[cut]!;
  const high = sample[SAMPLE_ROWS - 1 - cut]!;
  if (bounds.finite && bounds.max - bounds.min <= HEAVY * (high - low)) return undefined;
  const slots = new Uint16Array(SLOTS_MAX);
  let found = 0;
  let min = Infinity;
  let max = -Infinity;
  for (let slot = 0; slot < rowCount; slot += 1) {
    if (validity !== undefined && validity[slot] === 0) continue;
    const value = values[slot]! * factor + base;
    if (value >= low && value <= high) {
      if (value < min) min = value;
      if (value > max) max = value;
      continue;
    }
    if (found === SLOTS_MAX) return undefined;
    slots[found] = slot;
    found += 1;
  }
  return found === 0 ? undefined : { slots: slots.slice(0, found), min, max };
}
