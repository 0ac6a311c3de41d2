/** How many of the first `count` ascending values are below `value`: the place of the first that is not. */
export function countBelow(
  ascending: Float64Array | readonly number[],
  value: number,
  count = ascending.length,
): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ascending[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** How many ascending values are `value` at most: the place of the first that is greater. None is, where `value` is NaN. */
export function countUpTo(ascending: Float64Array | readonly number[], value: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ascending[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Each is greater than the one before. */
export function isAscending(values: Float64Array): boolean {
  for (let index = 1; index < values.length; index += 1)
    if (!(values[index]! > values[index - 1]!)) return false;
  return true;
}
