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

/** By code: how many rows have it. All codes are below `codeEnd`; NULLs are not counted. */
export function countsOf(
  codes: Uint8Array | Uint16Array,
  validity: Uint8Array | undefined,
  codeEnd: number,
): Uint32Array {
  const counts = new Uint32Array(codeEnd);
  const rowCount = codes.length;
  if (validity === undefined)
    for (let slot = 0; slot < rowCount; slot += 1) counts[codes[slot]!]! += 1;
  else for (let slot = 0; slot < rowCount; slot += 1) counts[codes[slot]!]! += validity[slot]!;
  return counts;
}

/** Undefined where there are too many of either. `codes` are by slot; of NULLs nothing is told. `counts` (`countsOf`) are used up. */
export function rareValuesOf(
  codes: Uint8Array | Uint16Array,
  validity: Uint8Array | undefined,
  counts = countsOf(codes, validity, codes instanceof Uint8Array ? 2 ** 8 : 2 ** 16),
): RareValues | undefined {
  const rowCount = codes.length;
  let frequentCount = 0;
  let rareCount = 0;
  let slotCount = 0;
  for (let code = 0; code < counts.length; code += 1) {
    const count = counts[code]!;
    if (count === 0) continue;
    if (count > RARE_ROWS_MAX) frequentCount += 1;
    else {
      rareCount += 1;
      slotCount += count;
    }
  }
  if (slotCount > SLOTS_MAX || frequentCount > FREQUENT_MAX) return undefined;
  const frequent = new Uint16Array(frequentCount);
  const rare = new Uint16Array(rareCount);
  const starts = new Uint16Array(rareCount + 1);
  frequentCount = 0;
  rareCount = 0;
  for (let code = 0; code < counts.length; code += 1) {
    const count = counts[code]!;
    if (count === 0) continue;
    if (count > RARE_ROWS_MAX) {
      frequent[frequentCount] = code;
      frequentCount += 1;
      counts[code] = FREQUENT;
      continue;
    }
    rare[rareCount] = code;
    starts[rareCount + 1] = starts[rareCount]! + count;
    // From here on where the next slot of the code goes.
    counts[code] = starts[rareCount]!;
    rareCount += 1;
  }
  const slots = new Uint16Array(slotCount);
  if (slotCount > 0)
    for (let slot = 0; slot < rowCount; slot += 1) {
      const code = codes[slot]!;
      const at = counts[code]!;
      if (at === FREQUENT || (validity !== undefined && validity[slot] === 0)) continue;
      slots[at] = slot;
      counts[code] = at + 1;
    }
  return { frequent, codes: rare, starts, slots };
}

const FREQUENT = 0xffff_ffff;

export function rareValuesBytes({ frequent, codes, starts, slots }: RareValues): number {
  return frequent.byteLength + codes.byteLength + starts.byteLength + slots.byteLength;
}
