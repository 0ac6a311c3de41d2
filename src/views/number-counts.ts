import { assert } from '../base/errors.ts';

/** Values of one chunk: a flush writes at most this many anew for a value it brings. */
const CHUNK_SIZE_MAX = 256;
/** A chunk that is split leaves room for what comes next. */
const CHUNK_SIZE_SPLIT = 192;
/** Changes that wait to be put in order: sorting and merging as many stays near a tenth of a millisecond. */
const WAITING_MAX = 1024;
/** Small multisets keep little waiting, so that a hundred thousand groups of a few rows stay small. */
const WAITING_MIN = 16;
/** Copies beyond this are counted, not listed. */
const LISTED_COPIES_MAX = 8;

/**
 * A multiset of doubles of which only the least and the greatest are ever asked for: any value may leave. Changes wait unordered and are
 * merged by the hundred, each chunk written once: several times cheaper than keeping every value in its place at once (a commit
 * of one row adds a number to an array). What waits is looked at only when the extreme itself may have left.
 *
 * NaN is greater than all numbers; −0 must be given as 0.
 */
export class NumberCounts {
  /** Ascending. */
  #chunks: Chunk[] = [];
  /** Distinct values in chunks. */
  #distinctCount = 0;
  #arrivals: Float64Array = NONE;
  #arrivalCount = 0;
  #departures: Float64Array = NONE;
  #departureCount = 0;
  #arrivalMin = Infinity;
  #arrivalMax = -Infinity;
  #departureMin = Infinity;
  #departureMax = -Infinity;
  /** Numbers, copies counted; without NaN. */
  #count = 0;
  #nanCount = 0;

  get count(): number {
    return this.#count + this.#nanCount;
  }

  get memoryBytes(): number {
    return (
      OBJECT_BYTES +
      this.#arrivals.byteLength +
      this.#departures.byteLength +
      this.#chunks.reduce((bytes, { values }) => bytes + values.length * 12 + CHUNK_BYTES, 0)
    );
  }

  /** `weight` more copies, or fewer; only what is there may leave. */
  add(value: number, weight: number, scratch: MergeScratch): void {
    if (value !== value) {
      this.#nanCount += weight;
      assert(this.#nanCount >= 0, 'a value leaves as often as it came');
      return;
    }
    this.#count += weight;
    assert(this.#count >= 0, 'a value leaves as often as it came');
    if (weight > LISTED_COPIES_MAX || weight < -LISTED_COPIES_MAX) {
      this.#flush(scratch);
      scratch.values[0] = value;
      scratch.changes[0] = weight;
      this.#merge(1, scratch);
      return;
    }
    for (let copy = weight; copy > 0; copy -= 1) this.#arrive(value, scratch);
    for (let copy = weight; copy < 0; copy += 1) this.#leave(value, scratch);
  }

  /** Undefined where there is none. */
  least(scratch: MergeScratch): number | undefined {
    if (this.#count === 0) return this.#nanCount > 0 ? NaN : undefined;
    const first = this.#chunks[0];
    const least = Math.min(first === undefined ? Infinity : first.values[0]!, this.#arrivalMin);
    if (this.#departureCount === 0 || this.#departureMin > least) return least;
    this.#flush(scratch);
    return this.#chunks[0]!.values[0]!;
  }

  greatest(scratch: MergeScratch): number | undefined {
    if (this.#nanCount > 0) return NaN;
    if (this.#count === 0) return undefined;
    const last = this.#chunks[this.#chunks.length - 1];
    const greatest = Math.max(
      last === undefined ? -Infinity : last.values[last.size - 1]!,
      this.#arrivalMax,
    );
    if (this.#departureCount === 0 || this.#departureMax < greatest) return greatest;
    this.#flush(scratch);
    const chunk = this.#chunks[this.#chunks.length - 1]!;
    return chunk.values[chunk.size - 1]!;
  }

  #arrive(value: number, scratch: MergeScratch): void {
    if (this.#arrivalCount === this.#arrivals.length) {
      if (this.#arrivalCount >= this.#waitingMax) this.#flush(scratch);
      if (this.#arrivalCount === this.#arrivals.length) this.#arrivals = grown(this.#arrivals);
    }
    this.#arrivals[this.#arrivalCount] = value;
    this.#arrivalCount += 1;
    if (value < this.#arrivalMin) this.#arrivalMin = value;
    if (value > this.#arrivalMax) this.#arrivalMax = value;
  }

  #leave(value: number, scratch: MergeScratch): void {
    if (this.#departureCount === this.#departures.length) {
      if (this.#departureCount >= this.#waitingMax) this.#flush(scratch);
      if (this.#departureCount === this.#departures.length)
        this.#departures = grown(this.#departures);
    }
    this.#departures[this.#departureCount] = value;
    this.#departureCount += 1;
    if (value < this.#departureMin) this.#departureMin = value;
    if (value > this.#departureMax) this.#departureMax = value;
  }

  get #waitingMax(): number {
    return Math.min(WAITING_MAX, Math.max(WAITING_MIN, this.#distinctCount >> 2));
  }

  /** Puts all that waits in its place. */
  #flush(scratch: MergeScratch): void {
    const arrivals = this.#arrivals.subarray(0, this.#arrivalCount).sort();
    const departures = this.#departures.subarray(0, this.#departureCount).sort();
    const { values, changes } = scratch;
    let count = 0;
    let arrival = 0;
    let departure = 0;
    while (arrival < arrivals.length || departure < departures.length) {
      const value =
        departure === departures.length || arrivals[arrival]! < departures[departure]!
          ? arrivals[arrival]!
          : departures[departure]!;
      let change = 0;
      for (; arrival < arrivals.length && arrivals[arrival] === value; arrival += 1) change += 1;
      for (; departure < departures.length && departures[departure] === value; departure += 1)
        change -= 1;
      if (change === 0) continue;
      values[count] = value;
      changes[count] = change;
      count += 1;
    }
    this.#arrivalCount = 0;
    this.#departureCount = 0;
    this.#arrivalMin = Infinity;
    this.#arrivalMax = -Infinity;
    this.#departureMin = Infinity;
    this.#departureMax = -Infinity;
    this.#merge(count, scratch);
  }

  /** Applies the first `count` changes of the scratch, which stand in order of their values. */
  #merge(count: number, scratch: MergeScratch): void {
    if (count === 0) return;
    const chunks = this.#chunks;
    /** Set where chunks come or go. */
    let list: Chunk[] | undefined;
    let copied = 0;
    let change = 0;
    let index = 0;
    while (change < count) {
      index = chunkFor(chunks, index, scratch.values[change]!);
      const chunk = chunks[index];
      const last = index >= chunks.length - 1 ? Infinity : chunk!.values[chunk!.size - 1]!;
      const start = change;
      while (change < count && scratch.values[change]! <= last) change += 1;
      const size = merged(chunk, start, change, scratch);
      this.#distinctCount += size - (chunk?.size ?? 0);
      if (chunk !== undefined && size > 0 && size <= chunk.values.length) {
        fill(chunk, scratch, 0, size);
      } else {
        list ??= [];
        for (; copied < index; copied += 1) list.push(chunks[copied]!);
        copied = Math.min(index + 1, chunks.length);
        const partSize = size <= CHUNK_SIZE_MAX ? CHUNK_SIZE_MAX : CHUNK_SIZE_SPLIT;
        for (let from = 0; from < size; from += partSize) {
          const end = Math.min(size, from + partSize);
          const part = newChunk(end - from);
          fill(part, scratch, from, end);
          list.push(part);
        }
      }
      index += 1;
    }
    if (list === undefined) return;
    for (; copied < chunks.length; copied += 1) list.push(chunks[copied]!);
    this.#chunks = list;
  }
}

/** What merging works in; one for all multisets of an owner. */
export class MergeScratch {
  readonly values = new Float64Array(2 * WAITING_MAX);
  readonly changes = new Float64Array(2 * WAITING_MAX);
  readonly outValues = new Float64Array(2 * WAITING_MAX + CHUNK_SIZE_MAX);
  readonly outCounts = new Float64Array(2 * WAITING_MAX + CHUNK_SIZE_MAX);
}

type Chunk = {
  readonly values: Float64Array;
  readonly counts: Uint32Array;
  size: number;
};

const NONE = new Float64Array(0);
/** The object with its fields and its array of chunks, by formula. */
const OBJECT_BYTES = 200;
const CHUNK_BYTES = 240;

/** With room for `size` values and some more. */
function newChunk(size: number): Chunk {
  let room = WAITING_MIN;
  while (room < size) room *= 2;
  return { values: new Float64Array(room), counts: new Uint32Array(room), size: 0 };
}

function grown(array: Float64Array): Float64Array {
  const larger = new Float64Array(Math.max(4, array.length * 2));
  larger.set(array);
  return larger;
}

/** From `from` on the first chunk whose last value is not less than `value`, else the last one. */
function chunkFor(chunks: readonly Chunk[], from: number, value: number): number {
  let low = Math.min(from, Math.max(0, chunks.length - 1));
  let high = Math.max(0, chunks.length - 1);
  while (low < high) {
    const middle = (low + high) >> 1;
    const { values, size } = chunks[middle]!;
    if (values[size - 1]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Merges changes [start, end) into the values of a chunk; the result is in the scratch, its size is returned. */
function merged(
  chunk: Chunk | undefined,
  start: number,
  end: number,
  { values, changes, outValues, outCounts }: MergeScratch,
): number {
  let size = 0;
  let at = 0;
  const chunkSize = chunk === undefined ? 0 : chunk.size;
  for (let change = start; change < end; change += 1) {
    const value = values[change]!;
    while (at < chunkSize && chunk!.values[at]! < value) {
      outValues[size] = chunk!.values[at]!;
      outCounts[size] = chunk!.counts[at]!;
      size += 1;
      at += 1;
    }
    let count = changes[change]!;
    if (at < chunkSize && chunk!.values[at] === value) {
      count += chunk!.counts[at]!;
      at += 1;
    }
    assert(count >= 0, 'a value leaves as often as it came');
    if (count === 0) continue;
    outValues[size] = value;
    outCounts[size] = count;
    size += 1;
  }
  for (; at < chunkSize; at += 1) {
    outValues[size] = chunk!.values[at]!;
    outCounts[size] = chunk!.counts[at]!;
    size += 1;
  }
  return size;
}

function fill(chunk: Chunk, scratch: MergeScratch, from: number, end: number): void {
  for (let at = from; at < end; at += 1) {
    chunk.values[at - from] = scratch.outValues[at]!;
    chunk.counts[at - from] = scratch.outCounts[at]!;
  }
  chunk.size = end - from;
}
