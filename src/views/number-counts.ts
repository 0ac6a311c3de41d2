import { assert } from '../base/errors.ts';

/** Changes that wait until they are handed to the leaves they belong to, at most: to hand out as many takes a tenth of a millisecond. */
const BUFFER_MAX = 4096;
/** A small multiset keeps little waiting, so that a hundred thousand groups of a few rows stay small. */
const BUFFER_MIN = 16;
/** Among so few leaves the one of a value is found at once; among more, changes are sorted first, and memory is walked in order. */
const LEAVES_AT_ONCE = 64;
/**
 * Values of a leaf at either end, which are put in order whenever an extreme may have left. Towards the middle leaves are four times as large
 * each, up to `LEAF_SIZE_MAX`: what is there only waits, and the more waits, the less is written anew for each change, and the fewer leaves
 * there are to choose from. To put a full one in order takes a fifth of a millisecond.
 */
const END_SIZE_MAX = 256;
const SIZE_GROWTH = 4;
const LEAF_SIZE_MAX = 8192;
/** Leaves that are made of one that is full leave room for what comes next. */
const END_SIZE_SPLIT = 160;
const LEAF_SIZE_SPLIT = 5120;
/** Changes that wait in a leaf: as many as its values, a little more or less so that neighbours are not full at once, and at least so many. */
const WAITING_MIN = 8;
/** In a multiset of some ten thousand copies, so many wait even where there are few values. */
const WAITING_OF_FEW = 256;
/** The least room of a leaf. */
const ROOM_MIN = 4;
const NONE = new Float64Array(0);
const NO_COUNTS = new Uint32Array(0);
const NO_CHANGES = new Int32Array(0);
/** Copies beyond this are counted, not listed. */
const LISTED_COPIES_MAX = 8;

/**
 * A multiset of doubles of which only the least and the greatest are ever asked for: any value may leave. Changes wait, unordered, in a
 * buffer; by the few thousand they are handed to the leaves that they belong to, where they wait once more, until as many wait as the leaf
 * holds: then they are sorted and merged with it. So a change costs an entry of two arrays, its share of a sort in the first cache, and a few values
 * written anew: several times cheaper than finding the place of each at once. What waits is looked at only when the extreme itself
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
  #leavesMade = 0;
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
        (bytes, { values, arrivals, departures }) =>
          bytes + values.length * 12 + arrivals.byteLength + departures.byteLength + LEAF_BYTES,
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
      this.#flush(this.#leafFor(value, 0), scratch);
      scratch.values[0] = value;
      scratch.changes[0] = weight;
      this.#merge(this.#leafFor(value, 0), 1, scratch);
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
      if (leaf.arrivalCount + leaf.departureCount > 0) this.#flush(at, scratch);
      else if (leaf.size > 0) return leaf;
      else {
        assert(this.#leaves.length > 1, 'what is counted is somewhere');
        this.#drop(at);
      }
    }
  }

  #makeArrivalRoom(scratch: MergeScratch): void {
    if (this.#arrivalCount >= this.#bufferMax) this.#spill(scratch);
    if (this.#arrivalCount === this.#arrivals.length)
      this.#arrivals = grown(this.#arrivals, BUFFER_MAX);
  }

  #makeDepartureRoom(scratch: MergeScratch): void {
    if (this.#departureCount >= this.#bufferMax) this.#spill(scratch);
    if (this.#departureCount === this.#departures.length)
      this.#departures = grown(this.#departures, BUFFER_MAX);
  }

  get #bufferMax(): number {
    return Math.min(BUFFER_MAX, Math.max(BUFFER_MIN, this.#count >> 2));
  }

  /** Hands what waits in the buffer to the leaves it belongs to. */
  #spill(scratch: MergeScratch): void {
    if (this.#leaves.length === 0) this.#leaves.push(this.#newLeaf());
    let arrivals = this.#arrivals.subarray(0, this.#arrivalCount);
    let departures = this.#departures.subarray(0, this.#departureCount);
    const isSorted = this.#leaves.length > LEAVES_AT_ONCE;
    if (isSorted) {
      scratch.makeRoom(Math.max(arrivals.length, departures.length));
      arrivals = inOrder(arrivals, arrivals.length, scratch);
      departures = inOrder(departures, departures.length, scratch);
    }
    this.#arrivalCount = 0;
    this.#departureCount = 0;
    let at = 0;
    for (let each = 0; each < arrivals.length; each += 1) {
      const value = arrivals[each]!;
      at = this.#leafFor(value, isSorted ? at : 0);
      const leaf = this.#leaves[at]!;
      if (leaf.arrivalCount === leaf.arrivals.length)
        leaf.arrivals = grown(leaf.arrivals, leaf.waitingMax);
      leaf.arrivals[leaf.arrivalCount] = value;
      leaf.arrivalCount += 1;
      if (leaf.arrivalCount + leaf.departureCount >= leaf.waitingMax) {
        this.#flush(at, scratch);
        at = 0;
      }
    }
    at = 0;
    for (let each = 0; each < departures.length; each += 1) {
      const value = departures[each]!;
      at = this.#leafFor(value, isSorted ? at : 0);
      const leaf = this.#leaves[at]!;
      if (leaf.departureCount === leaf.departures.length)
        leaf.departures = grown(leaf.departures, leaf.waitingMax);
      leaf.departures[leaf.departureCount] = value;
      leaf.departureCount += 1;
      if (leaf.arrivalCount + leaf.departureCount >= leaf.waitingMax) {
        this.#flush(at, scratch);
        at = 0;
      }
    }
  }

  /** The leaf that the value belongs to, from leaf `from` on. */
  #leafFor(value: number, from: number): number {
    const bounds = this.#bounds;
    let low = from;
    let high = this.#leaves.length - 1;
    // Behind another one it is near, mostly.
    if (from > 0)
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
    const leaf = this.#leaves[at]!;
    scratch.makeRoom(Math.max(leaf.arrivalCount, leaf.departureCount));
    const count = sorted(
      inOrder(leaf.arrivals, leaf.arrivalCount, scratch),
      inOrder(leaf.departures, leaf.departureCount, scratch),
      scratch,
    );
    leaf.arrivalCount = 0;
    leaf.departureCount = 0;
    this.#merge(at, count, scratch);
  }

  /** Applies the first `count` changes of the scratch to the leaf they belong to, in which nothing waits. */
  #merge(at: number, count: number, scratch: MergeScratch): void {
    const leaf = this.#leaves[at]!;
    const size = merged(leaf, count, scratch);
    const fromEnd = Math.min(at, this.#leaves.length - 1 - at);
    if (size <= Math.min(LEAF_SIZE_MAX, END_SIZE_MAX * SIZE_GROWTH ** fromEnd)) {
      this.#fill(leaf, scratch, 0, size);
      if (size === 0 && this.#leaves.length > 1) this.#drop(at);
      return;
    }
    const sizes = partSizes(size, at === 0, at === this.#leaves.length - 1);
    const parts: Leaf[] = [];
    let from = 0;
    for (let part = 0; part < sizes.length; part += 1) {
      const end = from + sizes[part]!;
      const target = part === 0 ? leaf : this.#newLeaf();
      this.#fill(target, scratch, from, end);
      if (part > 0) parts.push(target);
      from = end;
    }
    this.#leaves.splice(at + 1, 0, ...parts);
    this.#makeBoundRoom();
    const bounds = this.#bounds;
    bounds.copyWithin(at + parts.length, at, this.#leaves.length - 1 - parts.length);
    let last = -1;
    for (let part = 0; part < parts.length; part += 1) {
      last += sizes[part]!;
      bounds[at + part] = scratch.outValues[last]!;
    }
  }

  #fill(leaf: Leaf, { outValues, outCounts }: MergeScratch, from: number, end: number): void {
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
    leaf.waitingMax = Math.max(
      WAITING_MIN,
      Math.min(WAITING_OF_FEW, this.#count >> 6),
      Math.floor(size * leaf.share),
    );
  }

  #newLeaf(): Leaf {
    this.#leavesMade += 1;
    return {
      values: NONE,
      counts: NO_COUNTS,
      size: 0,
      arrivals: NONE,
      arrivalCount: 0,
      departures: NONE,
      departureCount: 0,
      waitingMax: WAITING_MIN,
      // By golden ratio: neighbours are far apart.
      share: 3 / 4 + ((this.#leavesMade * 0.618_033_988_75) % 1) / 2,
    };
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
  /** Of what is being sorted. */
  bucketed = NONE;
  bucketOf = new Uint16Array(0);
  bucketEnds = NO_CHANGES;
  /** What is merged, in order. */
  values = NONE;
  changes = NONE;
  outValues = NONE;
  outCounts = NONE;

  constructor() {
    this.makeRoom(BUFFER_MIN);
  }

  /** For so many arrivals, and as many departures. */
  makeRoom(count: number): void {
    if (count <= this.#room) return;
    let room = Math.max(BUFFER_MIN, this.#room);
    while (room < count) room *= 2;
    this.#room = room;
    this.bucketed = new Float64Array(room);
    this.bucketOf = new Uint16Array(room);
    this.bucketEnds = new Int32Array(room + 1);
    this.values = new Float64Array(2 * room);
    this.changes = new Float64Array(2 * room);
    this.outValues = new Float64Array(2 * room + LEAF_SIZE_MAX);
    this.outCounts = new Float64Array(2 * room + LEAF_SIZE_MAX);
  }
}

type Leaf = {
  /** The first `size` ascend. */
  values: Float64Array;
  counts: Uint32Array;
  size: number;
  /** What waits, in any order, and how many of both at most. */
  arrivals: Float64Array;
  arrivalCount: number;
  departures: Float64Array;
  departureCount: number;
  waitingMax: number;
  /** Of its size, how many may wait. */
  readonly share: number;
};

/** The object with its fields and its array of leaves, by formula. */
const OBJECT_BYTES = 200;
const LEAF_BYTES = 400;

/** The leaves that so many values are cut into: small at the ends of all values, where these are ends. */
function partSizes(size: number, isFirst: boolean, isLast: boolean): number[] {
  const front: number[] = [];
  const back: number[] = [];
  let rest = size;
  let part = END_SIZE_SPLIT;
  if (isFirst || isLast)
    for (; part < LEAF_SIZE_SPLIT && rest > part * 2; part *= SIZE_GROWTH) {
      if (isFirst) {
        front.push(part);
        rest -= part;
      }
      if (isLast && rest > part) {
        back.push(part);
        rest -= part;
      }
    }
  else part = LEAF_SIZE_SPLIT;
  part = Math.min(part, LEAF_SIZE_SPLIT);
  const count = Math.ceil(rest / part);
  for (let left = count; left > 0; left -= 1) {
    const next = Math.ceil(rest / left);
    front.push(next);
    rest -= next;
  }
  return [...front, ...back.reverse()];
}

function grown(array: Float64Array, lengthMax: number): Float64Array {
  const larger = new Float64Array(Math.min(Math.max(16, array.length * 4), lengthMax));
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

/** Merges the first `count` changes into the values of a leaf; the result is in the scratch, its size is returned. */
function merged(
  leaf: Leaf,
  count: number,
  { values: takenValues, changes: takenChanges, outValues, outCounts }: MergeScratch,
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
