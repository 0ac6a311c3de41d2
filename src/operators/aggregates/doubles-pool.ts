/** Shorter arrays cost less to make than to look for here. */
export const POOLED_DOUBLES_MIN = 8192;

/** What the states of two or three aggregates over a hundred thousand groups have grown through. */
const POOLED_BYTES_MAX = 16 * 1024 * 1024;

/**
 * Arrays that states of aggregates have grown out of, or have ended with: the next query's states grow through the same lengths. Each query of a
 * hundred thousand groups would else give up 12 MB outside of V8's heap, and for eight that are given up V8 collects all of its heap.
 */
// A place where memory comes from, not a state: who takes an array writes all of it. The ones that were left last are the last.
const pooled: Float64Array[] = [];
let pooledBytes = 0;

/** An array of this length, full of noise; undefined where none was left. */
export function takeDoubles(length: number): Float64Array | undefined {
  if (length < POOLED_DOUBLES_MIN) return undefined;
  const index = pooled.findLastIndex((array) => array.length === length);
  if (index < 0) return undefined;
  const [array] = pooled.splice(index, 1);
  pooledBytes -= array!.byteLength;
  return array;
}

/** Nobody may hold the array, nor a view of it. */
export function leaveDoubles(array: Float64Array): void {
  if (array.length < POOLED_DOUBLES_MIN || array.byteLength > POOLED_BYTES_MAX) return;
  pooled.push(array);
  pooledBytes += array.byteLength;
  while (pooledBytes > POOLED_BYTES_MAX) pooledBytes -= pooled.shift()!.byteLength;
}
