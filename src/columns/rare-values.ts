import { keptArray } from '../base/kept-arrays.ts';

/**
 * The values of a column of a sealed segment that few of its rows have, and where those rows are. A sample meets a group of few rows
 * seldom and says little about it; read whole beside the sample it costs next to nothing (small group sampling: Babcock, Chaudhuri & Das,
 * Dynamic sample selection for approximate query processing, SIGMOD 2003).
 */
export type RareValues = {
  /** Codes that more rows have, ascending. */
  readonly frequent: Uint16Array;
  /** The others, ascending; the rows of `codes[i]` are in `slots` from `starts[i]` up to `starts[i + 1]`. */
  readonly codes: Uint16Array;
  readonly starts: Uint16Array;
  readonly slots: Uint16Array;
};

/** A value is rare that a thousandth of the rows have: in a hundred million rows, a group of a hundred thousand. */
const RARE_ROWS_MAX = 64;
/** Where more than a hundredth of all rows have rare values, nearly everything is rare, and nothing is gained. */
const SLOTS_MAX = 655;
const FREQUENT_MAX = 2048;

/** Rows, or codes, looked at between two yields. */
const STEP = 4096;

/** By code: how many rows have it. All codes are below `codeEnd`; NULLs are not counted. */
export function* countsOf(
  codes: Uint8Array | Uint16Array,
  validity: Uint8Array | undefined,
  codeEnd: number,
): Generator<number, Uint32Array> {
  const counts = keptArray(Uint32Array, codeEnd);
  for (let from = 0; from < codes.length; from += STEP) {
    const to = Math.min(codes.length, from + STEP);
    addCounts(counts, codes, validity, from, to);
    yield (to - from) / 4;
  }
  return counts;
}

function addCounts(
  counts: Uint32Array,
  codes: Uint8Array | Uint16Array,
  validity: Uint8Array | undefined,
  from: number,
  to: number,
): void {
  if (validity === undefined)
    for (let slot = from; slot < to; slot += 1) counts[codes[slot]!]! += 1;
  else for (let slot = from; slot < to; slot += 1) counts[codes[slot]!]! += validity[slot]!;
}

/**
 * Undefined where there are too many of either. `codes` are by slot; of NULLs nothing is told. `given` (`countsOf`) are used up. Yields the
 * number of values handled since the last yield, a quarter of it.
 */
export function* rareValuesOf(
  codes: Uint8Array | Uint16Array,
  validity: Uint8Array | undefined,
  given?: Uint32Array,
): Generator<number, RareValues | undefined> {
  const counts =
    given ?? (yield* countsOf(codes, validity, codes instanceof Uint8Array ? 2 ** 8 : 2 ** 16));
  const found: Found = { frequent: 0, rare: 0, slots: 0 };
  for (let from = 0; from < counts.length; from += STEP) {
    const to = Math.min(counts.length, from + STEP);
    tell(found, counts, from, to);
    if (found.slots > SLOTS_MAX || found.frequent > FREQUENT_MAX) return undefined;
    yield (to - from) / 4;
  }
  const values: RareValues = {
    frequent: new Uint16Array(found.frequent),
    codes: new Uint16Array(found.rare),
    starts: new Uint16Array(found.rare + 1),
    slots: new Uint16Array(found.slots),
  };
  const placed: Found = { frequent: 0, rare: 0, slots: 0 };
  for (let from = 0; from < counts.length; from += STEP) {
    const to = Math.min(counts.length, from + STEP);
    place(values, placed, counts, from, to);
    yield (to - from) / 4;
  }
  for (let from = 0; found.slots > 0 && from < codes.length; from += STEP) {
    const to = Math.min(codes.length, from + STEP);
    addSlots(values.slots, counts, codes, validity, from, to);
    yield (to - from) / 4;
  }
  return values;
}

/** How many codes are frequent, how many are rare, and how many rows those have. */
type Found = { frequent: number; rare: number; slots: number };

function tell(found: Found, counts: Uint32Array, from: number, to: number): void {
  for (let code = from; code < to; code += 1) {
    const count = counts[code]!;
    if (count === 0) continue;
    if (count > RARE_ROWS_MAX) found.frequent += 1;
    else {
      found.rare += 1;
      found.slots += count;
    }
  }
}

/** Lists the codes; the counts of those that are rare become the places where their next slots go. */
function place(
  { frequent, codes, starts }: RareValues,
  placed: Found,
  counts: Uint32Array,
  from: number,
  to: number,
): void {
  for (let code = from; code < to; code += 1) {
    const count = counts[code]!;
    if (count === 0) continue;
    if (count > RARE_ROWS_MAX) {
      frequent[placed.frequent] = code;
      placed.frequent += 1;
      counts[code] = FREQUENT;
      continue;
    }
    codes[placed.rare] = code;
    counts[code] = placed.slots;
    placed.slots += count;
    placed.rare += 1;
    starts[placed.rare] = placed.slots;
  }
}

function addSlots(
  slots: Uint16Array,
  places: Uint32Array,
  codes: Uint8Array | Uint16Array,
  validity: Uint8Array | undefined,
  from: number,
  to: number,
): void {
  for (let slot = from; slot < to; slot += 1) {
    const code = codes[slot]!;
    const at = places[code]!;
    if (at === FREQUENT || (validity !== undefined && validity[slot] === 0)) continue;
    slots[at] = slot;
    places[code] = at + 1;
  }
}

const FREQUENT = 0xffff_ffff;

export function rareValuesBytes({ frequent, codes, starts, slots }: RareValues): number {
  return frequent.byteLength + codes.byteLength + starts.byteLength + slots.byteLength;
}
