import { slabDoubles, slabInts } from '../base/slab.ts';

/** So few row ids are put in order one by one. */
const SORTED_ALONE_MAX = 64;
const DIGIT_BITS = 11;
const DIGIT_MASK = (1 << DIGIT_BITS) - 1;
/** Scratch of `sortByDigits`: how many ids have each digit, then where the next of them goes. */
const starts = new Int32Array(1 << DIGIT_BITS);
/** So many ids are sorted in arrays that are there; they are what a statement looks for at once. */
const SCRATCH_IDS_MAX = 2048;
const scratchKeys = [new Int32Array(SCRATCH_IDS_MAX), new Int32Array(SCRATCH_IDS_MAX)] as const;
const scratchOrders = [new Int32Array(SCRATCH_IDS_MAX), new Int32Array(SCRATCH_IDS_MAX)] as const;

/** Sorts row ids; the indexes at which they stood, those of equal ids in their order. */
export function sortWithOrder(rowIds: Float64Array): Int32Array {
  const count = rowIds.length;
  if (count <= SORTED_ALONE_MAX) return sortOneByOne(rowIds);
  let least = Infinity;
  let greatest = -Infinity;
  for (let index = 0; index < count; index += 1) {
    const rowId = rowIds[index]!;
    if (rowId < least) least = rowId;
    if (rowId > greatest) greatest = rowId;
  }
  return greatest - least < 2 ** 31 ? sortByDigits(rowIds, least, greatest) : sortBySize(rowIds);
}

function sortOneByOne(rowIds: Float64Array): Int32Array {
  const count = rowIds.length;
  const order = slabInts(count);
  for (let index = 0; index < count; index += 1) {
    const rowId = rowIds[index]!;
    let to = index;
    for (; to > 0 && rowIds[to - 1]! > rowId; to -= 1) {
      rowIds[to] = rowIds[to - 1]!;
      order[to] = order[to - 1]!;
    }
    rowIds[to] = rowId;
    order[to] = index;
  }
  return order;
}

/** Least significant digit first: two passes over the ids of four million rows, in a third of the time that sorting them as numbers takes. */
function sortByDigits(rowIds: Float64Array, least: number, greatest: number): Int32Array {
  const count = rowIds.length;
  const isLong = count > SCRATCH_IDS_MAX;
  let [keys, otherKeys] = isLong ? [new Int32Array(count), new Int32Array(count)] : scratchKeys;
  let [order, other] = isLong ? [new Int32Array(count), new Int32Array(count)] : scratchOrders;
  for (let index = 0; index < count; index += 1) {
    keys[index] = rowIds[index]! - least;
    order[index] = index;
  }
  for (let shift = 0; greatest - least >= 2 ** shift; shift += DIGIT_BITS) {
    passBy(shift, count, keys, order, otherKeys, other);
    [keys, otherKeys] = [otherKeys, keys];
    [order, other] = [other, order];
  }
  const sorted = slabInts(count);
  for (let index = 0; index < count; index += 1) {
    rowIds[index] = keys[index]! + least;
    sorted[index] = order[index]!;
  }
  return sorted;
}

/** Keys, and what goes with them, in the order of one digit; those with the same one stay in their order. */
function passBy(
  shift: number,
  count: number,
  keys: Int32Array,
  order: Int32Array,
  toKeys: Int32Array,
  toOrder: Int32Array,
): void {
  starts.fill(0);
  for (let index = 0; index < count; index += 1)
    starts[(keys[index]! >>> shift) & DIGIT_MASK]! += 1;
  let start = 0;
  for (let digit = 0; digit <= DIGIT_MASK; digit += 1) {
    const end = start + starts[digit]!;
    starts[digit] = start;
    start = end;
  }
  for (let index = 0; index < count; index += 1) {
    const key = keys[index]!;
    const digit = (key >>> shift) & DIGIT_MASK;
    const to = starts[digit]!;
    starts[digit] = to + 1;
    toKeys[to] = key;
    toOrder[to] = order[index]!;
  }
}

function sortBySize(rowIds: Float64Array): Int32Array {
  const order = slabInts(rowIds.length);
  for (let index = 0; index < order.length; index += 1) order[index] = index;
  order.sort((a, b) => rowIds[a]! - rowIds[b]! || a - b);
  putInOrder(rowIds, order);
  return order;
}

function putInOrder(rowIds: Float64Array, order: Int32Array): void {
  const given = slabDoubles(rowIds.length);
  given.set(rowIds);
  for (let index = 0; index < order.length; index += 1) rowIds[index] = given[order[index]!]!;
}
