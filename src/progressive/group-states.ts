/** Numbers by group, so many a group, in one array: with room for more than `groupCount` where it has to grow. */
export function grownStates(
  states: Float64Array<ArrayBuffer>,
  groupCount: number,
  width: number,
): Float64Array<ArrayBuffer> {
  if (groupCount * width <= states.length) return states;
  const grown = new Float64Array(Math.max(4, groupCount + (groupCount >>> 1)) * width);
  grown.set(states);
  return grown;
}
