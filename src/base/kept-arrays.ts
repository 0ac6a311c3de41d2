/**
 * Arrays of numbers for rows that are kept, in memory of which V8 counts one byte in eight. What they hold is zero.
 *
 * V8 collects whenever its heap and what lies outside of it have grown by a tenth of the heap, or by 8 MB. A million rows are a hundred megabytes
 * outside, so it marked a heap that had hardly changed every tenth of a second, with as many threads as there are cores and more, and whoever awaited
 * a small commit waited for both. Shared buffers it does not count. Nor would it collect the dead ones if there were no others: so every eighth byte
 * lies in a buffer of the ordinary kind, and of dead arrays there are eight times as many at most, which is some 64 MB.
 *
 * Nobody can tell the two apart but by the class of `buffer`. To copy into a shared one takes twice as long: what soon dies is not made here.
 */

const COUNTED_ONE_IN = 8;

/** Smaller buffers are not worth the difference. */
const BYTES_MIN = 1024;

// A place where memory comes from, not a state: nobody can tell what came before.
let uncountedBytes = 0;

export function keptBuffer(byteLength: number): ArrayBufferLike {
  if (byteLength < BYTES_MIN) return new ArrayBuffer(byteLength);
  const owed = byteLength * (COUNTED_ONE_IN - 1);
  if (uncountedBytes >= owed) {
    uncountedBytes -= owed;
    return new ArrayBuffer(byteLength);
  }
  uncountedBytes += byteLength;
  return new SharedArrayBuffer(byteLength);
}

export function keptDoubles(count: number): Float64Array {
  const byteLength = count * 8;
  return byteLength < BYTES_MIN
    ? new Float64Array(count)
    : new Float64Array(keptBuffer(byteLength));
}

export function keptInts(count: number): Int32Array {
  const byteLength = count * 4;
  return byteLength < BYTES_MIN ? new Int32Array(count) : new Int32Array(keptBuffer(byteLength));
}

/** The first `count` values in an array that is kept. */
export function keptCopy<Values extends Copied<Values>>(values: Values, count: number): Values {
  const copy = keptArray(values.constructor as ArrayClass<Values>, count);
  copy.set(count === values.length ? values : values.subarray(0, count));
  return copy;
}

/** The same of any class of typed arrays. */
export function keptArray<Values>(made: ArrayClass<Values>, count: number): Values {
  return new made(keptBuffer(count * made.BYTES_PER_ELEMENT));
}

type Copied<Values> = {
  readonly length: number;
  set(values: Values): void;
  subarray(start: number, end: number): Values;
};

type ArrayClass<Values> = {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike): Values;
};
