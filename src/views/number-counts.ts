import { assert } from '../base/errors.ts';

/**
 * Changes that wait until they are put in order, at most: handing out as many takes half a millisecond, and a leaf gets enough of them at a
 * time that its cache lines are worth fetching (measured: 135 ns a change, 195 by the thousand, 115 by eight thousand).
 */
const BUFFER_MAX = 4096;
/** A small multiset keeps little waiting, so that a hundred thousand groups of a few rows stay small. */
const BUFFER_MIN = 16;
/** Values of one leaf: a flush writes at most so many anew. */
const LEAF_SIZE_MAX = 256;
/** Leaves that are made of one that is full leave room for what comes next. */
const LEAF_SIZE_SPLIT = 160;
/** Changes that wait in a leaf, at most. */
const WAITING_MAX = 64;
/** The least room of a leaf. */
const ROOM_MIN = 4;
const NONE = new Float64Array(0);
const NO_COUNTS = new Uint32Array(0);
const NO_CHANGES = new Int32Array(0);
/** Copies beyond this are counted, not listed. */
const LISTED_COPIES_MAX = 8;

/**
 * A multiset of doubles of which only the least and the greatest are ever asked for: any value may leave. Changes wait, unordered, in a
 * buffer; by the few thousand they are sorted and handed to the leaves that they belong to, where they wait once more and are merged
 * by the dozen. So a change costs an entry of an array, its share of a sort, and a few values written anew, and memory is walked
 * in order: several times cheaper than finding the place of each at once. What waits is looked at only when the extreme itself
 * may have left.
 *
 * NaN is greater than all numbers; −0 must be given as 0.
 */
export class NumberCounts {
  /** Ascending: all values of a leaf, waiting ones included, are at most its bound and above that of the leaf before. */
  readonly #leaves: Leaf[] = [];
  #arrivals: Float64Array = NONE;
  #arrivalCount = 0;
  #departures: Float64Array = NONE;
  #departureCount = 0;
  /** Greatest value that belongs to each leaf but the last, whose bound is none. */
  #bounds: Float64Array = NONE;
  /** Numbers, copies counted; without NaN. */
  #count = 0;
  #nanCount = 0;
  #least = Infinity;
  #greatest = -Infinity;
  /** Whether what is known of an end may have left. */
  #isLeastStale = false;
  #isGreatestStale = false;

  get count(): number {
    return this.#count + this.#nanCount;
  }

  get memoryBytes(): number {
    return (
      OBJECT_BYTES +
      this.#arrivals.byteLength +
      this.#departures.byteLength +
      this.#bounds.byteLength +
      this.#leaves.reduce(
        (bytes, { values, waiting }) =>
          bytes + values.length * 12 + waiting.length * 12 + LEAF_BYTES,
        0,
      )
    );
  }

  /** `weight` more copies, or fewer; only what is there may leave. */
  add(value: number, weight: number, scratch: MergeScratch): void {
    // Short enough to become part of its caller's loop: most changes are arrivals.
    if (weight === 1 && value === value && this.#arrivalCount < this.#arrivals.length) {
      this.#count += 1;
      if (value < this.#least) this.#least = value;
      if (value > this.#greatest) this.#greatest = value;
      this.#arrivals[this.#arrivalCount] = value;
      this.#arrivalCount += 1;
    } else this.#change(value, weight, scratch);
  }

  #change(value: number, weight: number, scratch: MergeScratch): void {
    if (value !== value) {
      this.#nanCount += weight;
      assert(this.#nanCount >= 0, 'a value leaves as often as it came');
      return;
    }
    this.#count += weight;
    assert(this.#count >= 0, 'a value leaves as often as it came');
    if (weight > 0) {
      if (value < this.#least) this.#least = value;
      if (value > this.#greatest) this.#greatest = value;
    } else {
      if (value <= this.#least) this.#isLeastStale = true;
      if (value >= this.#greatest) this.#isGreatestStale = true;
    }
    if (weight > LISTED_COPIES_MAX || weight < -LISTED_COPIES_MAX) {
      this.#spill(scratch);
      if (this.#leaves.length === 0) this.#leaves.push(newLeaf());
      scratch.values[0] = value;
      scratch.changes[0] = weight;
      const at = this.#leafFor(value, 0);
      this.#merge(at, takenWith(this.#leaves[at]!, 0, 1, scratch), scratch);
      return;
    }
    for (let copy = weight; copy > 0; copy -= 1) {
      if (this.#arrivalCount === this.#arrivals.length) this.#makeArrivalRoom(scratch);
      this.#arrivals[this.#arrivalCount] = value;
      this.#arrivalCount += 1;
    }
    for (let copy = weight; copy < 0; copy += 1) {
      if (this.#departureCount === this.#departures.length) this.#makeDepartureRoom(scratch);
      this.#departures[this.#departureCount] = value;
      this.#departureCount += 1;
    }
  }

  /** Undefined where there is none. */
  least(scratch: MergeScratch): number | undefined {
    if (this.#count === 0) return this.#nanCount > 0 ? NaN : undefined;
    if (this.#isLeastStale) {
      this.#least = this.#settled('first', scratch).values[0]!;
      this.#isLeastStale = false;
    }
    return this.#least;
  }

  greatest(scratch: MergeScratch): number | undefined {
    if (this.#nanCount > 0) return NaN;
    if (this.#count === 0) return undefined;
    if (this.#isGreatestStale) {
      const last = this.#settled('last', scratch);
      this.#greatest = last.values[last.size - 1]!;
      this.#isGreatestStale = false;
    }
    return this.#greatest;
  }

  /** The first or last leaf that holds something when nothing waits in it any more: there is one. */
  #settled(end: 'first' | 'last', scratch: MergeScratch): Leaf {
    this.#spill(scratch);
    for (;;) {
      const at = end === 'first' ? 0 : this.#leaves.length - 1;
      const leaf = this.#leaves[at]!;
      // Flushed, it may be gone, or have become several: the end is looked for anew.
      if (leaf.waitingCount > 0) this.#flush(at, scratch);
      else if (leaf.size > 0) return leaf;
      else {
        assert(this.#leaves.length > 1, 'what is counted is somewhere');
        this.#drop(at);
      }
    }
  }

  #makeArrivalRoom(scratch: MergeScratch): void {
    if (this.#arrivalCount >= this.#bufferMax) this.#spill(scratch);
    if (this.#arrivalCount === this.#arrivals.length) this.#arrivals = grown(this.#arrivals);
  }

  #makeDepartureRoom(scratch: MergeScratch): void {
    if (this.#departureCount >= this.#bufferMax) this.#spill(scratch);
    if (this.#departureCount === this.#departures.length)
      this.#departures = grown(this.#departures);
  }

  get #bufferMax(): number {
    return Math.min(BUFFER_MAX, Math.max(BUFFER_MIN, this.#count >> 2));
  }

  /** Hands what waits in the buffer to the leaves it belongs to, in order. */
  #spill(scratch: MergeScratch): void {
    scratch.makeRoom(Math.max(this.#arrivalCount, this.#departureCount));
    const count = sorted(
      inOrder(this.#arrivals, this.#arrivalCount, scratch),
      inOrder(this.#departures, this.#departureCount, scratch),
      scratch,
    );
    this.#arrivalCount = 0;
    this.#departureCount = 0;
    if (this.#leaves.length === 0) this.#leaves.push(newLeaf());
    const { values } = scratch;
    let at = 0;
    for (let start = 0; start < count;) {
      at = this.#leafFor(values[start]!, at);
      const bound = at === this.#leaves.length - 1 ? Infinity : this.#bounds[at]!;
      let end = start + 1;
      while (end < count && values[end]! <= bound) end += 1;
      const leaf = this.#leaves[at]!;
      if (leaf.waitingCount + end - start <= waitingMaxOf(leaf)) wait(leaf, start, end, scratch);
      else at = this.#merge(at, takenWith(leaf, start, end, scratch), scratch);
      start = end;
    }
  }

  /** The leaf that the value belongs to, from leaf `from` on. */
  #leafFor(value: number, from: number): number {
    const bounds = this.#bounds;
    let low = from;
    let high = this.#leaves.length - 1;
    // Mostly it is near.
    for (let step = 1; low + step < high; step *= 2) {
      if (bounds[low + step]! < value) low += step + 1;
      else {
        high = low + step;
        break;
      }
    }
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (bounds[middle]! < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Puts all that waits in a leaf in its place. */
  #flush(at: number, scratch: MergeScratch): void {
    this.#merge(at, takenWith(this.#leaves[at]!, 0, 0, scratch), scratch);
  }

  /** Applies the first `count` changes that were taken to the leaf they belong to; the last leaf that holds values of it now. */
  #merge(at: number, count: number, scratch: MergeScratch): number {
    const leaf = this.#leaves[at]!;
    const size = merged(leaf, count, scratch);
    if (size <= LEAF_SIZE_MAX) {
      fill(leaf, scratch, 0, size);
      if (size > 0 || this.#leaves.length === 1) return at;
      this.#drop(at);
      return Math.min(at, this.#leaves.length - 1);
    }
    // Several leaves, all of them with room for what comes next.
    const partCount = Math.ceil(size / LEAF_SIZE_SPLIT);
    const partSize = Math.ceil(size / partCount);
    const parts: Leaf[] = [];
    for (let from = 0; from < size; from += partSize) {
      const part = from === 0 ? leaf : newLeaf();
      fill(part, scratch, from, Math.min(size, from + partSize));
      if (from > 0) parts.push(part);
    }
    this.#leaves.splice(at + 1, 0, ...parts);
    this.#makeBoundRoom();
    const bounds = this.#bounds;
    bounds.copyWithin(at + parts.length, at, this.#leaves.length - 1 - parts.length);
    for (let part = 0; part < parts.length; part += 1)
      bounds[at + part] = scratch.outValues[(part + 1) * partSize - 1]!;
    return at + parts.length;
  }

  /** An empty leaf goes; what belonged to it belongs to the next one, or to the one before the last. */
  #drop(at: number): void {
    this.#leaves.splice(at, 1);
    const bounds = this.#bounds;
    // Without the last leaf, the bound of the one before it is none any more.
    if (at < this.#leaves.length) bounds.copyWithin(at, at + 1, this.#leaves.length);
  }

  /** Room for a bound of each leaf but the last. */
  #makeBoundRoom(): void {
    let room = Math.max(4, this.#bounds.length);
    while (room < this.#leaves.length - 1) room *= 2;
    if (room === this.#bounds.length) return;
    const larger = new Float64Array(room);
    larger.set(this.#bounds);
    this.#bounds = larger;
  }
}

/** What merging works in; one for all multisets of an owner. */
export class MergeScratch {
  #room = 0;
  /** Of one buffer that is being sorted. */
  bucketed = NONE;
  bucketOf = new Uint16Array(0);
  bucketEnds = NO_CHANGES;
  /** What leaves the buffer, in order. */
  values = NONE;
  changes = NO_CHANGES;
  /** The same of one leaf, with what waited there. */
  takenValues = NONE;
  takenChanges = NONE;
  outValues = NONE;
  outCounts = NONE;

  constructor() {
    this.makeRoom(BUFFER_MIN);
  }

  /** For buffers of so many changes. */
  makeRoom(count: number): void {
    if (count <= this.#room) return;
    let room = Math.max(BUFFER_MIN, this.#room);
    while (room < count) room *= 2;
    this.#room = room;
    this.bucketed = new Float64Array(room);
    this.bucketOf = new Uint16Array(room);
    this.bucketEnds = new Int32Array(room + 1);
    this.values = new Float64Array(2 * room);
    this.changes = new Int32Array(2 * room);
    const takenMax = 2 * room + WAITING_MAX;
    this.takenValues = new Float64Array(takenMax);
    this.takenChanges = new Float64Array(takenMax);
    this.outValues = new Float64Array(takenMax + LEAF_SIZE_MAX);
    this.outCounts = new Float64Array(takenMax + LEAF_SIZE_MAX);
  }
}

type Leaf = {
  /** The first `size` ascend. */
  values: Float64Array;
  counts: Uint32Array;
  size: number;
  /** The first `waitingCount` ascend. */
  waiting: Float64Array;
  waitingChanges: Int32Array;
  waitingCount: number;
};

/** The object with its fields and its array of leaves, by formula. */
const OBJECT_BYTES = 200;
const LEAF_BYTES = 400;

function newLeaf(): Leaf {
  return {
    values: NONE,
    counts: NO_COUNTS,
    size: 0,
    waiting: NONE,
    waitingChanges: NO_CHANGES,
    waitingCount: 0,
  };
}

function grown(array: Float64Array): Float64Array {
  const larger = new Float64Array(Math.max(4, array.length * 2));
  larger.set(array);
  return larger;
}

/** So few are sorted by comparing. */
const BUCKETED_MIN = 32;
/** A fuller bucket says that the values lie too unevenly for buckets of one width. */
const BUCKET_SIZE_MAX = 24;

/**
 * The first `count` values, sorted where they stand. Into as many buckets of one width as there are values, then each past the few before
 * it: a quarter of what comparing costs, where the values are spread at all evenly.
 */
function inOrder(
  values: Float64Array,
  count: number,
  { bucketed, bucketOf, bucketEnds }: MergeScratch,
): Float64Array {
  const all = values.subarray(0, count);
  if (count < BUCKETED_MIN) return all.sort();
  let least = Infinity;
  let greatest = -Infinity;
  for (let at = 0; at < count; at += 1) {
    const value = values[at]!;
    if (value < least) least = value;
    if (value > greatest) greatest = value;
  }
  const bucketsOfOne = (count - 1) / (greatest - least);
  // All equal, or some infinite, or farther apart than a double counts.
  if (!(bucketsOfOne > 0 && bucketsOfOne < Infinity)) return all.sort();
  bucketEnds.fill(0, 0, count + 1);
  let fullest = 0;
  for (let at = 0; at < count; at += 1) {
    const bucket = Math.min(count - 1, Math.floor((values[at]! - least) * bucketsOfOne));
    bucketOf[at] = bucket;
    const size = bucketEnds[bucket + 1]! + 1;
    bucketEnds[bucket + 1] = size;
    if (size > fullest) fullest = size;
  }
  if (fullest > BUCKET_SIZE_MAX) return all.sort();
  for (let bucket = 1; bucket < count; bucket += 1)
    bucketEnds[bucket + 1] = bucketEnds[bucket + 1]! + bucketEnds[bucket]!;
  for (let at = 0; at < count; at += 1) {
    const bucket = bucketOf[at]!;
    const to = bucketEnds[bucket]!;
    bucketed[to] = values[at]!;
    bucketEnds[bucket] = to + 1;
  }
  for (let at = 0; at < count; at += 1) {
    const value = bucketed[at]!;
    let to = at;
    for (; to > 0 && values[to - 1]! > value; to -= 1) values[to] = values[to - 1]!;
    values[to] = value;
  }
  return all;
}

/** Writes what both buffers, which ascend, amount to into the scratch; how many values that are. */
function sorted(
  arrivals: Float64Array,
  departures: Float64Array,
  { values, changes }: MergeScratch,
): number {
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
  return count;
}

/** A small leaf keeps little waiting. */
function waitingMaxOf(leaf: Leaf): number {
  return Math.min(WAITING_MAX, leaf.values.length >> 2);
}

/** Changes [start, end) of the scratch wait in the leaf, in order. */
function wait(leaf: Leaf, start: number, end: number, { values, changes }: MergeScratch): void {
  const total = leaf.waitingCount + end - start;
  if (total > leaf.waiting.length) {
    const room = Math.max(total, waitingMaxOf(leaf));
    const { waiting, waitingChanges } = leaf;
    leaf.waiting = new Float64Array(room);
    leaf.waiting.set(waiting);
    leaf.waitingChanges = new Int32Array(room);
    leaf.waitingChanges.set(waitingChanges);
  }
  const { waiting, waitingChanges } = leaf;
  let old = leaf.waitingCount - 1;
  let next = end - 1;
  // From the end back, so that nothing is written over before it is read.
  for (let to = total - 1; next >= start; to -= 1) {
    if (old >= 0 && waiting[old]! > values[next]!) {
      waiting[to] = waiting[old]!;
      waitingChanges[to] = waitingChanges[old]!;
      old -= 1;
    } else {
      waiting[to] = values[next]!;
      waitingChanges[to] = changes[next]!;
      next -= 1;
    }
  }
  leaf.waitingCount = total;
}

/** Takes what waits in a leaf, with changes [start, end) of the scratch; nothing waits any more. How many values that are. */
function takenWith(
  leaf: Leaf,
  start: number,
  end: number,
  { values, changes, takenValues, takenChanges }: MergeScratch,
): number {
  const { waiting, waitingChanges, waitingCount } = leaf;
  let count = 0;
  let old = 0;
  let next = start;
  while (old < waitingCount || next < end) {
    const value =
      next === end || (old < waitingCount && waiting[old]! < values[next]!)
        ? waiting[old]!
        : values[next]!;
    let change = 0;
    for (; old < waitingCount && waiting[old] === value; old += 1) change += waitingChanges[old]!;
    for (; next < end && values[next] === value; next += 1) change += changes[next]!;
    if (change === 0) continue;
    takenValues[count] = value;
    takenChanges[count] = change;
    count += 1;
  }
  leaf.waitingCount = 0;
  return count;
}

/** Merges the first `count` changes that were taken into the values of a leaf; the result is in the scratch, its size is returned. */
function merged(
  leaf: Leaf,
  count: number,
  { takenValues, takenChanges, outValues, outCounts }: MergeScratch,
): number {
  const { size: leafSize, values: leafValues, counts: leafCounts } = leaf;
  let size = 0;
  let at = 0;
  for (let change = 0; change < count; change += 1) {
    const value = takenValues[change]!;
    while (at < leafSize && leafValues[at]! < value) {
      outValues[size] = leafValues[at]!;
      outCounts[size] = leafCounts[at]!;
      size += 1;
      at += 1;
    }
    let copies = takenChanges[change]!;
    if (at < leafSize && leafValues[at] === value) {
      copies += leafCounts[at]!;
      at += 1;
    }
    assert(copies >= 0, 'a value leaves as often as it came');
    if (copies === 0) continue;
    outValues[size] = value;
    outCounts[size] = copies;
    size += 1;
  }
  for (; at < leafSize; at += 1) {
    outValues[size] = leafValues[at]!;
    outCounts[size] = leafCounts[at]!;
    size += 1;
  }
  return size;
}

function fill(leaf: Leaf, { outValues, outCounts }: MergeScratch, from: number, end: number): void {
  const size = end - from;
  if (size > leaf.values.length) {
    let room = Math.max(ROOM_MIN, leaf.values.length);
    while (room < size) room *= 2;
    leaf.values = new Float64Array(room);
    leaf.counts = new Uint32Array(room);
  }
  const { values, counts } = leaf;
  for (let at = from; at < end; at += 1) {
    values[at - from] = outValues[at]!;
    counts[at - from] = outCounts[at]!;
  }
  leaf.size = size;
}
