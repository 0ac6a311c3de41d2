import { assert } from '../base/errors.ts';

/** Values of one leaf: a flush writes at most so many anew. */
const LEAF_SIZE_MAX = 256;
/** Changes that wait in a leaf, at most. */
const WAITING_MAX = 64;
/** The least room of a leaf, so that a hundred thousand groups of a few rows stay small. */
const ROOM_MIN = 4;
/** Copies beyond this are counted, not listed. */
const LISTED_COPIES_MAX = 8;

/**
 * A multiset of doubles of which only the least and the greatest are ever asked for: any value may leave. Values lie in leaves in the order
 * of their values; changes wait, unordered, in the leaf that they belong to, and are merged into it by the dozen: several times
 * cheaper than keeping every value in its place at once, and no change ever waits for more than one leaf. What waits is
 * looked at only when the extreme itself may have left.
 *
 * NaN is greater than all numbers; −0 must be given as 0.
 */
export class NumberCounts {
  /** Ascending: all values of a leaf, waiting ones included, are at most its bound and above that of the leaf before. */
  readonly #leaves: Leaf[] = [];
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
      this.#bounds.byteLength +
      this.#leaves.reduce(
        (bytes, { values, waiting }) =>
          bytes + values.length * 12 + waiting.byteLength + LEAF_BYTES,
        0,
      )
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
    if (weight > 0) {
      if (value < this.#least) this.#least = value;
      if (value > this.#greatest) this.#greatest = value;
    } else {
      if (value <= this.#least) this.#isLeastStale = true;
      if (value >= this.#greatest) this.#isGreatestStale = true;
    }
    const at = this.#leafFor(value);
    if (weight > LISTED_COPIES_MAX || weight < -LISTED_COPIES_MAX) {
      this.#flush(at, scratch);
      const there = this.#leafFor(value);
      scratch.values[0] = value;
      scratch.changes[0] = weight;
      this.#merge(there, 1, scratch);
      return;
    }
    if (weight > 0) for (let copy = 0; copy < weight; copy += 1) this.#wait(value, true, scratch);
    else for (let copy = 0; copy > weight; copy -= 1) this.#wait(value, false, scratch);
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
    for (;;) {
      const at = end === 'first' ? 0 : this.#leaves.length - 1;
      const leaf = this.#leaves[at]!;
      this.#flush(at, scratch);
      // One that was emptied is gone, and what waits in the next one counts.
      if (this.#leaves[at] !== leaf) continue;
      if (leaf.size > 0) return leaf;
      assert(this.#leaves.length > 1, 'what is counted is somewhere');
      this.#drop(at);
    }
  }

  /** The leaf that the value belongs to. */
  #leafFor(value: number): number {
    const bounds = this.#bounds;
    let low = 0;
    let high = this.#leaves.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (bounds[middle]! < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #wait(value: number, arrives: boolean, scratch: MergeScratch): void {
    const at = this.#leafFor(value);
    let leaf = this.#leaves[at];
    if (leaf === undefined) {
      leaf = newLeaf(ROOM_MIN);
      this.#leaves.push(leaf);
      this.#setBounds();
    }
    if (leaf.arrivals + leaf.departures === leaf.waiting.length) {
      if (leaf.waiting.length >= waitingMaxOf(leaf)) {
        this.#flush(at, scratch);
        this.#wait(value, arrives, scratch);
        return;
      }
      growWaiting(leaf);
    }
    if (arrives) {
      leaf.waiting[leaf.arrivals] = value;
      leaf.arrivals += 1;
    } else {
      leaf.departures += 1;
      leaf.waiting[leaf.waiting.length - leaf.departures] = value;
    }
  }

  /** Puts all that waits in a leaf in its place. */
  #flush(at: number, scratch: MergeScratch): void {
    const leaf = this.#leaves[at];
    if (leaf === undefined || leaf.arrivals + leaf.departures === 0) return;
    const { waiting } = leaf;
    const departuresFrom = waiting.length - leaf.departures;
    sort(waiting, 0, leaf.arrivals);
    sort(waiting, departuresFrom, waiting.length);
    const { values, changes } = scratch;
    let count = 0;
    let arrival = 0;
    let departure = departuresFrom;
    while (arrival < leaf.arrivals || departure < waiting.length) {
      const value =
        departure === waiting.length ||
        (arrival < leaf.arrivals && waiting[arrival]! < waiting[departure]!)
          ? waiting[arrival]!
          : waiting[departure]!;
      let change = 0;
      for (; arrival < leaf.arrivals && waiting[arrival] === value; arrival += 1) change += 1;
      for (; departure < waiting.length && waiting[departure] === value; departure += 1)
        change -= 1;
      if (change === 0) continue;
      values[count] = value;
      changes[count] = change;
      count += 1;
    }
    leaf.arrivals = 0;
    leaf.departures = 0;
    this.#merge(at, count, scratch);
  }

  /** Applies the first `count` changes of the scratch, which stand in order of their values and belong to one leaf. */
  #merge(at: number, count: number, scratch: MergeScratch): void {
    if (count === 0) return;
    let leaf = this.#leaves[at];
    if (leaf === undefined) {
      leaf = newLeaf(ROOM_MIN);
      this.#leaves.push(leaf);
      this.#setBounds();
    }
    const size = merged(leaf, count, scratch);
    if (size <= LEAF_SIZE_MAX) {
      if (size > leaf.values.length) makeRoom(leaf, size);
      fill(leaf, scratch, 0, size);
      if (size === 0 && this.#leaves.length > 1) this.#drop(at);
      return;
    }
    // In halves: both have room for what comes next.
    const half = size >>> 1;
    const upper = newLeaf(LEAF_SIZE_MAX);
    makeRoom(leaf, LEAF_SIZE_MAX);
    fill(leaf, scratch, 0, half);
    fill(upper, scratch, half, size);
    this.#leaves.splice(at + 1, 0, upper);
    this.#insertBound(at, leaf.values[half - 1]!);
  }

  /** An empty leaf goes; what belonged to it belongs to the next one, or to the one before the last. */
  #drop(at: number): void {
    this.#leaves.splice(at, 1);
    const bounds = this.#bounds;
    // Without the last leaf, the bound of the one before it is none any more.
    if (at < this.#leaves.length) bounds.copyWithin(at, at + 1, this.#leaves.length);
  }

  #insertBound(at: number, bound: number): void {
    this.#setBounds();
    this.#bounds.copyWithin(at + 1, at, this.#leaves.length - 2);
    this.#bounds[at] = bound;
  }

  /** Room for a bound of each leaf but the last. */
  #setBounds(): void {
    if (this.#leaves.length - 1 <= this.#bounds.length) return;
    const grown = new Float64Array(Math.max(4, this.#bounds.length * 2));
    grown.set(this.#bounds);
    this.#bounds = grown;
  }
}

/** What merging works in; one for all multisets of an owner. */
export class MergeScratch {
  readonly values = new Float64Array(WAITING_MAX);
  readonly changes = new Float64Array(WAITING_MAX);
  readonly outValues = new Float64Array(LEAF_SIZE_MAX + WAITING_MAX);
  readonly outCounts = new Float64Array(LEAF_SIZE_MAX + WAITING_MAX);
}

type Leaf = {
  /** The first `size` ascend. */
  values: Float64Array;
  counts: Uint32Array;
  size: number;
  /** Arrivals from the start on, departures from the end back. */
  waiting: Float64Array;
  arrivals: number;
  departures: number;
};

const NONE = new Float64Array(0);
/** The object with its fields and its array of leaves, by formula. */
const OBJECT_BYTES = 200;
const LEAF_BYTES = 400;

function newLeaf(room: number): Leaf {
  return {
    values: new Float64Array(room),
    counts: new Uint32Array(room),
    size: 0,
    waiting: NONE,
    arrivals: 0,
    departures: 0,
  };
}

/** A small leaf keeps little waiting. */
function waitingMaxOf(leaf: Leaf): number {
  return Math.min(WAITING_MAX, Math.max(ROOM_MIN * 2, leaf.values.length >> 2));
}

function growWaiting(leaf: Leaf): void {
  const { waiting, arrivals, departures } = leaf;
  const grown = new Float64Array(
    Math.min(waitingMaxOf(leaf), Math.max(ROOM_MIN, waiting.length * 2)),
  );
  for (let at = 0; at < arrivals; at += 1) grown[at] = waiting[at]!;
  for (let at = 1; at <= departures; at += 1)
    grown[grown.length - at] = waiting[waiting.length - at]!;
  leaf.waiting = grown;
}

/** The values are written anew afterwards. */
function makeRoom(leaf: Leaf, size: number): void {
  if (size <= leaf.values.length) return;
  let room = Math.max(ROOM_MIN, leaf.values.length);
  while (room < size) room *= 2;
  leaf.values = new Float64Array(room);
  leaf.counts = new Uint32Array(room);
}

/** A few dozen numbers: cheaper in place than by a call that asks for a view of them. */
function sort(values: Float64Array, start: number, end: number): void {
  for (let at = start + 1; at < end; at += 1) {
    const value = values[at]!;
    let place = at;
    while (place > start && values[place - 1]! > value) {
      values[place] = values[place - 1]!;
      place -= 1;
    }
    values[place] = value;
  }
}

/** Merges the first `count` changes into the values of a leaf; the result is in the scratch, its size is returned. */
function merged(
  leaf: Leaf,
  count: number,
  { values, changes, outValues, outCounts }: MergeScratch,
): number {
  const { size: leafSize, values: leafValues, counts: leafCounts } = leaf;
  let size = 0;
  let at = 0;
  for (let change = 0; change < count; change += 1) {
    const value = values[change]!;
    while (at < leafSize && leafValues[at]! < value) {
      outValues[size] = leafValues[at]!;
      outCounts[size] = leafCounts[at]!;
      size += 1;
      at += 1;
    }
    let copies = changes[change]!;
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
  const { values, counts } = leaf;
  for (let at = from; at < end; at += 1) {
    values[at - from] = outValues[at]!;
    counts[at - from] = outCounts[at]!;
  }
  leaf.size = end - from;
}
