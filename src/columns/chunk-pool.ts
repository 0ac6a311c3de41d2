import { keptDoubles } from '../base/kept-arrays.ts';

/** Rows a chunk of a column of an open segment holds: 64 KB of doubles. */
export const CHUNK_ROWS = 8192;

/** 4 MB: what the numbers of seven columns take until a segment is full. */
const POOLED_CHUNKS_MAX = 64;

/**
 * Chunks of doubles that nobody reads any more: those of a segment that was sealed are filled again by the next. A table into which ten thousand
 * rows stream at a time would else fetch a page of fresh memory from the system for every eighty of them, and have V8 collect because so much
 * outside its heap was given up.
 */
// A place where memory comes from, not a state: what a chunk held before is gone when it is given out.
const pooled: Float64Array[] = [];

/** A chunk of zeros: a column of numbers that becomes one of data reads the entry that is being written. */
export function pooledChunk(): Float64Array {
  return pooled.pop()?.fill(0) ?? keptDoubles(CHUNK_ROWS);
}

/** Nobody may hold the chunk, nor a view of it. */
export function leaveChunk(chunk: Float64Array): void {
  if (pooled.length < POOLED_CHUNKS_MAX) pooled.push(chunk);
}
