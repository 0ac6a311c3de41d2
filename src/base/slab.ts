/**
 * Arrays of numbers for what lives no longer than the commit, or the look, that makes it: pieces of shared buffers, all zero, never used
 * twice. A typed array of more than 64 bytes has a buffer of its own outside the heap of V8, which costs 1.8 µs with its collection; a piece
 * costs 0.06 µs, and a commit of a hundred rows makes dozens.
 *
 * A piece keeps its whole slab. So what is kept for long (history, journal, indexes, what a user is given) is never made here, or is
 * copied before it is kept: see `isPiece`.
 */

/** Holds what a commit of a hundred rows needs. */
const SLAB_BYTES = 32 * 1024;
/** Arrays beyond this have buffers of their own: there what the buffer costs is little beside what is written into it. */
const PIECE_BYTES_MAX = 4096;
/** V8 keeps typed arrays up to this within its heap. */
const HEAP_BYTES_MAX = 64;

// A place where memory comes from, not a state: what is cut from it is all zero, and nobody can tell which slab it was.
let slab = new ArrayBuffer(SLAB_BYTES);
let used = 0;

/** Who makes arrays of doubles: `ownDoubles` for what may be kept, `slabDoubles` for what is not. */
export type DoublesMaker = (count: number) => Float64Array;

export function ownDoubles(count: number): Float64Array {
  return new Float64Array(count);
}

export function slabDoubles(count: number): Float64Array {
  const byteLength = count * 8;
  if (byteLength <= HEAP_BYTES_MAX || byteLength > PIECE_BYTES_MAX) return new Float64Array(count);
  const offset = cut(byteLength);
  return new Float64Array(slab, offset, count);
}

export function slabInts(count: number): Int32Array {
  const byteLength = count * 4;
  if (byteLength <= HEAP_BYTES_MAX || byteLength > PIECE_BYTES_MAX) return new Int32Array(count);
  const offset = cut(byteLength);
  return new Int32Array(slab, offset, count);
}

export function slabBytes(count: number): Uint8Array {
  if (count <= HEAP_BYTES_MAX || count > PIECE_BYTES_MAX) return new Uint8Array(count);
  const offset = cut(count);
  return new Uint8Array(slab, offset, count);
}

/** Whether keeping this array would keep a slab. An array of somebody else's that looks the same is told to be one, too. */
export function isPiece(array: Sized): boolean {
  const { byteLength } = array;
  // To ask one of the heap for its buffer would give it one.
  return (
    byteLength > HEAP_BYTES_MAX &&
    byteLength <= PIECE_BYTES_MAX &&
    array.buffer.byteLength === SLAB_BYTES
  );
}

type Sized = { readonly byteLength: number; readonly buffer: { readonly byteLength: number } };

/** Where the next piece begins in `slab`, which is a new one where the old is full. Pieces begin at multiples of 8. */
function cut(byteLength: number): number {
  const size = (byteLength + 7) & ~7;
  if (used + size > SLAB_BYTES) {
    slab = new ArrayBuffer(SLAB_BYTES);
    used = 0;
  }
  const offset = used;
  used += size;
  return offset;
}
