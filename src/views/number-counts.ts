import { assert } from '../base/errors.ts';

/** Changes that wait until they are handed to the leaves they belong to, at most: to hand out as many takes a tenth of a millisecond. */
const BUFFER_MAX = 4096;
/** A small multiset keeps little waiting, so that a hundred thousand groups of a few rows stay small. */
const BUFFER_MIN = 16;
/** Values of a leaf at either end, which are put in order whenever an extreme may have left; what is further in only waits. */
const END_SIZE_MAX = 256;
/** Values of a leaf that is kept in order. To put a full one in order takes a fifth of a millisecond. */
const LEAF_SIZE_MAX = 8192;
/** Leaves that are made of one that is full leave room for what comes next; towards the middle they are larger. */
const END_SIZE_SPLIT = 160;
const LEAF_SIZE_SPLIT = 5120;
const SPLIT_GROWTH = 8;
/** A larger bag at an end is cut until it is as small. */
const SORTED_BAG_MAX = 1024;
/** Changes that wait in a leaf: as many as its values, a little more or less so that neighbours are not full at once, and at least so many. */
const WAITING_MIN = 8;
/** In a multiset of some ten thousand copies, so many wait even where there are few values. */
const WAITING_OF_FEW = 1024;
/** The least room of a leaf. */
const ROOM_MIN = 4;
/** Values of a bag: to cut a full one in two, or to take out what has left it, takes a third of a millisecond. */
const BAG_SIZE_MAX = 131_072;
/** A bag grows by arrays of so many values, none of which is copied. */
const CHUNK_SIZE = 8192;
/** Of the values of a bag, as many may have left without being looked for: three of eight, or a few more or less, and at most so many. */
const DEPARTED_SHARE = 3 / 8;
const DEPARTED_MAX = 65_536;
/** A bag that grows is looked at from so many values on whether they are the same few. */
const REPEATS_FROM = 512;
const NONE = new Float64Array(0);
const NO_COUNTS = new Uint32Array(0);
const NO_CHANGES = new Int32Array(0);
const NO_CHUNKS: readonly Float64Array[] = [];
/** Copies beyond this are counted, not listed. */
const LISTED_COPIES_MAX = 8;

/**
 * A multiset of doubles of which only the least and the greatest are ever asked for: any value may leave. Its leaves divide the numbers
 * among them. Those at the ends are in order, and small; between them lie bags, in which nothing is: what comes is put at the end, and
 * what leaves is listed beside it, until a third of the bag has left and is looked for in one pass. A bag is cut at a value about half-way
 * where it is full, and becomes smaller ones, of which the last is put in order, where the leaf before it has run empty. So most changes cost an
 * entry of an array.
 *
 * Where the same few values come again and again, a leaf counts copies instead: changes wait in a buffer, and by the few thousand are handed to the
 * leaves, where they wait once more until as many wait as the leaf holds; then they are sorted and merged with it.
 *
 * NaN is greater than all numbers; −0 must be given as 0.
 */
export class NumberCounts {
  /** Ascending: all values of a leaf, waiting ones included, are at most its bound and above that of the leaf before. */
  readonly #leaves: Leaf[] = [];
  /** Greatest value that belongs to each leaf but the last, whose bound is none. */
  #bounds: Float64Array = NONE;
  /**
   * Where most values come to and leave from: the last array of the largest bag, and what has left that. Without a bag, a buffer for
   * all leaves.
   */
  #arrivals: Float64Array = NONE;
  #arrivalCount = 0;
  #departures: Float64Array = NONE;
  #departureCount = 0;
  /** The bag that these belong to, −1 without one, and the numbers that do: above the one (NaN: no bound), and at most the other. */
  #hotAt = -1;
  #hotAbove = NaN;
  #hotMost = Infinity;
  #leavesMade: number;
  /** Numbers, copies counted; without NaN. */
  #count = 0;
  #nanCount = 0;
  #least = Infinity;
  #greatest = -Infinity;
  /** Whether what is known of an end may have left. */
  #isLeastStale = false;
  #isGreatestStale = false;

  /** `which`: of several that fill up alike, so that they are not full at once. */
  constructor(which = 0) {
    this.#leavesMade = which;
  }

  get count(): number {
    return this.#count + this.#nanCount;
  }

  get memoryBytes(): number {
    let bytes =
      OBJECT_BYTES +
      this.#arrivals.byteLength +
      this.#departures.byteLength +
      this.#bounds.byteLength;
    for (const { values, full, gone, arrivals, departures } of this.#leaves)
      bytes +=
        LEAF_BYTES +
        values.length * 12 +
        (full.length + gone.length) * CHUNK_SIZE * 8 +
        arrivals.byteLength +
        departures.byteLength;
    return bytes;
  }

  /** `weight` more copies, or fewer; only what is there may leave. */
  add(value: number, weight: number, scratch: MergeScratch): void {
    // Short enough to become part of its caller's loop: most changes are arrivals.
    if (
      weight === 1 &&
      !(value <= this.#hotAbove) &&
      value <= this.#hotMost &&
      this.#arrivalCount < this.#arrivals.length
    ) {
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
      this.#changeCounted(value, weight, scratch);
      return;
    }
    for (let copy = weight; copy > 0; copy -= 1) this.#arrive(value, scratch);
    for (let copy = weight; copy < 0; copy += 1) this.#depart(value, scratch);
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

  #arrive(value: number, scratch: MergeScratch): void {
    for (;;) {
      if (value <= this.#hotAbove || value > this.#hotMost) {
        this.#arriveAt(this.#leafFor(value), value, scratch);
        return;
      }
      if (this.#arrivalCount < this.#arrivals.length) {
        this.#arrivals[this.#arrivalCount] = value;
        this.#arrivalCount += 1;
        return;
      }
      if (this.#hotAt >= 0) {
        const at = this.#hotAt;
        this.#restructured(() => this.#makeArrivalRoom(at, scratch));
      } else if (this.#arrivalCount >= this.#bufferMax) this.#spill(scratch);
      else this.#arrivals = grown(this.#arrivals, this.#arrivals.length * 4, BUFFER_MAX);
    }
  }

  #depart(value: number, scratch: MergeScratch): void {
    for (;;) {
      if (value <= this.#hotAbove || value > this.#hotMost) {
        this.#departAt(this.#leafFor(value), value, scratch);
        return;
      }
      if (this.#departureCount < this.#departures.length) {
        this.#departures[this.#departureCount] = value;
        this.#departureCount += 1;
        return;
      }
      if (this.#hotAt >= 0) {
        const at = this.#hotAt;
        this.#restructured(() => this.#makeDepartureRoom(at, scratch));
      } else if (this.#departureCount >= this.#bufferMax) this.#spill(scratch);
      else this.#departures = grown(this.#departures, this.#departures.length * 4, BUFFER_MAX);
    }
  }

  get #bufferMax(): number {
    return Math.min(BUFFER_MAX, Math.max(BUFFER_MIN, this.#count >> 2));
  }

  /** Hands what waits in the buffer to the leaves it belongs to. */
  #spill(scratch: MergeScratch): void {
    assert(this.#hotAt < 0, 'there is a buffer only without a bag');
    if (this.#leaves.length === 0) this.#leaves.push(this.#newLeaf());
    const arrivals = this.#arrivals;
    const departures = this.#departures;
    const arrivalCount = this.#arrivalCount;
    const departureCount = this.#departureCount;
    this.#arrivalCount = 0;
    this.#departureCount = 0;
    for (let each = 0; each < arrivalCount; each += 1) {
      const value = arrivals[each]!;
      this.#arriveAt(this.#leafFor(value), value, scratch);
    }
    for (let each = 0; each < departureCount; each += 1) {
      const value = departures[each]!;
      this.#departAt(this.#leafFor(value), value, scratch);
    }
    this.#heat();
  }

  /** Puts a value in a leaf that is not the hot one. */
  #arriveAt(at: number, value: number, scratch: MergeScratch): void {
    const leaf = this.#leaves[at]!;
    if (leaf.arrivalCount < leaf.arrivals.length) {
      leaf.arrivals[leaf.arrivalCount] = value;
      leaf.arrivalCount += 1;
      return;
    }
    this.#restructured(() => this.#makeArrivalRoom(at, scratch));
    if (this.#hotAt >= 0) this.#arrive(value, scratch);
    else this.#arriveAt(this.#leafFor(value), value, scratch);
  }

  #departAt(at: number, value: number, scratch: MergeScratch): void {
    const leaf = this.#leaves[at]!;
    if (leaf.departureCount < leaf.departures.length) {
      leaf.departures[leaf.departureCount] = value;
      leaf.departureCount += 1;
      return;
    }
    this.#restructured(() => this.#makeDepartureRoom(at, scratch));
    if (this.#hotAt >= 0) this.#depart(value, scratch);
    else this.#departAt(this.#leafFor(value), value, scratch);
  }

  /** Many copies at once are not listed. */
  #changeCounted(value: number, weight: number, scratch: MergeScratch): void {
    if (this.#hotAt < 0) this.#spill(scratch);
    this.#restructured(() => {
      let at = this.#leafFor(value);
      for (; this.#isLargeBag(at, LEAF_SIZE_MAX); at = this.#leafFor(value))
        this.#cutOrPour(at, 1 / 2, scratch);
      let count = this.#sortWaiting(at, scratch);
      const { values, changes } = scratch;
      let to = count;
      for (; to > 0 && values[to - 1]! >= value; to -= 1) {
        values[to] = values[to - 1]!;
        changes[to] = changes[to - 1]!;
      }
      // Where the value waited, too, it now stands twice: the second is the sum of both.
      if (to < count && values[to + 1] === value) {
        changes[to + 1] = changes[to + 1]! + weight;
        values.copyWithin(to, to + 1, count + 1);
        changes.copyWithin(to, to + 1, count + 1);
      } else {
        values[to] = value;
        changes[to] = weight;
        count += 1;
      }
      this.#merge(at, count, scratch, 'inward');
    });
  }

  /** The first or last leaf that holds something when nothing waits in it any more: there is one. */
  #settled(end: 'first' | 'last', scratch: MergeScratch): Leaf {
    if (this.#hotAt < 0) this.#spill(scratch);
    return this.#restructured(() => {
      for (;;) {
        const at = end === 'first' ? 0 : this.#leaves.length - 1;
        const leaf = this.#leaves[at]!;
        // Flushed or cut, it may be gone, or have become several: the end is looked for anew.
        if (this.#isLargeBag(at, SORTED_BAG_MAX))
          this.#cutOrPour(at, end === 'first' ? 1 / 4 : 3 / 4, scratch);
        else if (leaf.isBag || leaf.arrivalCount + leaf.departureCount > 0)
          // What comes next stays beside it, and in order: who takes from an end soon takes that, too.
          this.#merge(at, this.#sortWaiting(at, scratch), scratch, 'beside');
        else if (leaf.size > 0) return leaf;
        else {
          assert(this.#leaves.length > 1, 'what is counted is somewhere');
          this.#drop(at);
        }
      }
    });
  }

  /** Changes leaves while none is the hot one; of those that there are then one is. */
  #restructured<Result>(change: () => Result): Result {
    if (this.#hotAt < 0) return change();
    this.#cool();
    const result = change();
    this.#heat();
    return result;
  }

  /** Gives the hot bag its own back. */
  #cool(): void {
    const leaf = this.#leaves[this.#hotAt]!;
    leaf.arrivals = this.#arrivals;
    leaf.arrivalCount = this.#arrivalCount;
    leaf.departures = this.#departures;
    leaf.departureCount = this.#departureCount;
    this.#hotAt = -1;
    this.#hotAbove = NaN;
    this.#hotMost = Infinity;
    this.#arrivals = NONE;
    this.#arrivalCount = 0;
    this.#departures = NONE;
    this.#departureCount = 0;
  }

  /** Makes the largest bag the hot one; nothing waits in the buffer. */
  #heat(): void {
    let largest = 0;
    for (let at = 0; at < this.#leaves.length; at += 1) {
      const leaf = this.#leaves[at]!;
      if (!leaf.isBag || bagSize(leaf) <= largest) continue;
      largest = bagSize(leaf);
      this.#hotAt = at;
    }
    if (this.#hotAt < 0) return;
    const leaf = this.#leaves[this.#hotAt]!;
    this.#arrivals = leaf.arrivals;
    this.#arrivalCount = leaf.arrivalCount;
    this.#departures = leaf.departures;
    this.#departureCount = leaf.departureCount;
    leaf.arrivals = NONE;
    leaf.departures = NONE;
    if (this.#hotAt > 0) this.#hotAbove = this.#bounds[this.#hotAt - 1]!;
    if (this.#hotAt < this.#leaves.length - 1) this.#hotMost = this.#bounds[this.#hotAt]!;
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

  /** Room for arrivals of a leaf that has none; other leaves may be there then. */
  #makeArrivalRoom(at: number, scratch: MergeScratch): void {
    const leaf = this.#leaves[at]!;
    if (!leaf.isBag) {
      if (leaf.arrivals.length < leaf.waitingMax)
        leaf.arrivals = grown(leaf.arrivals, leaf.arrivals.length * 4, leaf.waitingMax);
      else this.#flush(at, scratch);
      return;
    }
    if (bagSize(leaf) >= BAG_SIZE_MAX) cancel(leaf, scratch);
    const size = bagSize(leaf);
    // Where little had left, the next pass would soon find as little.
    if (size * 8 >= BAG_SIZE_MAX * 7) this.#cutOrPour(at, 1 / 2, scratch);
    else if (size >= REPEATS_FROM && repeats(leaf)) {
      cancel(leaf, scratch);
      // In order, once it is small: copies are counted then.
      if (bagSize(leaf) <= LEAF_SIZE_MAX) this.#flush(at, scratch);
      else this.#cutOrPour(at, 1 / 2, scratch);
    } else if (leaf.arrivalCount === leaf.arrivals.length) growBag(leaf);
  }

  #makeDepartureRoom(at: number, scratch: MergeScratch): void {
    const leaf = this.#leaves[at]!;
    if (!leaf.isBag) {
      if (leaf.departures.length < leaf.waitingMax)
        leaf.departures = grown(leaf.departures, leaf.departures.length * 4, leaf.waitingMax);
      else this.#flush(at, scratch);
      return;
    }
    const departedMax = Math.max(
      WAITING_MIN,
      Math.min(DEPARTED_MAX, Math.floor(bagSize(leaf) * DEPARTED_SHARE * leaf.share)),
    );
    if (goneCount(leaf) < departedMax) growGone(leaf, departedMax);
    else {
      cancel(leaf, scratch);
      if (bagSize(leaf) === 0) this.#flush(at, scratch);
    }
  }

  /** Whether it is a bag in which there is more. */
  #isLargeBag(at: number, sizeMax: number): boolean {
    const leaf = this.#leaves[at]!;
    return leaf.isBag && bagSize(leaf) > sizeMax;
  }

  /** Makes two bags of one, of which the first has about that share of the values. */
  #cutOrPour(at: number, share: number, scratch: MergeScratch): void {
    const leaf = this.#leaves[at]!;
    const most = valueAt(leaf, share);
    if (most === undefined) {
      this.#pour(at, scratch);
      return;
    }
    const next = this.#newLeaf();
    next.isBag = true;
    divide(leaf, most, next);
    this.#insert(at, [next]);
    this.#bounds[at] = most;
  }

  /** Puts the values of a bag into leaves that are kept in order: hardly any differs from the others. */
  #pour(at: number, scratch: MergeScratch): void {
    const leaf = this.#leaves[at]!;
    cancel(leaf, scratch);
    const chunks = chunksOf(leaf);
    leaf.isBag = false;
    leaf.full = NO_CHUNKS;
    leaf.arrivals = NONE;
    leaf.arrivalCount = 0;
    leaf.waitingMax = LEAF_SIZE_MAX;
    for (const chunk of chunks)
      for (let each = 0; each < chunk.length; each += 1)
        this.#arriveAt(this.#leafFor(chunk[each]!), chunk[each]!, scratch);
  }

  /** Puts all that waits in a leaf in its place. */
  #flush(at: number, scratch: MergeScratch): void {
    this.#merge(at, this.#sortWaiting(at, scratch), scratch, 'inward');
  }

  /** Puts into the scratch, in order, what waits in a leaf, where nothing does then; how many values that are. */
  #sortWaiting(at: number, scratch: MergeScratch): number {
    const leaf = this.#leaves[at]!;
    if (leaf.gone.length > 0) cancel(leaf, scratch);
    if (leaf.full.length > 0) {
      assert(leaf.full.length === 1 && leaf.arrivalCount === 0, 'only a small bag is put in order');
      [leaf.arrivals] = leaf.full as [Float64Array];
      leaf.arrivalCount = leaf.arrivals.length;
      leaf.full = NO_CHUNKS;
    }
    // And for one more.
    scratch.makeRoom(Math.max(leaf.arrivalCount, leaf.departureCount) + 1);
    const count = sorted(
      inOrder(leaf.arrivals, leaf.arrivalCount, scratch),
      inOrder(leaf.departures, leaf.departureCount, scratch),
      scratch,
    );
    leaf.isBag = false;
    leaf.arrivalCount = 0;
    leaf.departureCount = 0;
    return count;
  }

  /**
   * Applies the first `count` changes of the scratch to the leaf they belong to, in which nothing waits. What it has no room for becomes leaves
   * beside it, or at an end goes into the bag that is there.
   */
  #merge(at: number, count: number, scratch: MergeScratch, excessGoes: 'inward' | 'beside'): void {
    const leaf = this.#leaves[at]!;
    const size = merged(leaf, count, scratch);
    const isFirst = at === 0;
    const isLast = at === this.#leaves.length - 1;
    if (size <= (isFirst || isLast ? END_SIZE_MAX : LEAF_SIZE_MAX)) {
      this.#fill(leaf, scratch, 0, size, isFirst || isLast);
      if (size === 0 && this.#leaves.length > 1) this.#drop(at);
      return;
    }
    if (excessGoes === 'inward' && isFirst !== isLast && this.#shedEnd(at, size, scratch)) return;
    const sizes = partSizes(size, isFirst, isLast);
    const parts: Leaf[] = [];
    let from = 0;
    for (let part = 0; part < sizes.length; part += 1) {
      const end = from + sizes[part]!;
      const target = part === 0 ? leaf : this.#newLeaf();
      const isEnd =
        excessGoes === 'beside' || (isFirst && part === 0) || (isLast && part === sizes.length - 1);
      this.#fill(target, scratch, from, end, isEnd);
      if (part > 0) parts.push(target);
      from = end;
    }
    this.#insert(at, parts);
    let last = -1;
    for (let part = 0; part < parts.length; part += 1) {
      last += sizes[part]!;
      this.#bounds[at + part] = scratch.outValues[last]!;
    }
  }

  /** Of what was merged, hands all but what stays at the end to the bag beside it; false where that is none, or full, or there are many copies. */
  #shedEnd(at: number, size: number, scratch: MergeScratch): boolean {
    const isFirst = at === 0;
    const inner = this.#leaves[isFirst ? 1 : at - 1]!;
    // Values that ascend, or descend, all come this way: a bag that is full is left, and another one begun beside it.
    if (!inner.isBag || bagSize(inner) >= BAG_SIZE_MAX) return false;
    const from = isFirst ? END_SIZE_SPLIT : 0;
    const end = isFirst ? size : size - END_SIZE_SPLIT;
    if (!areFew(scratch.outCounts, from, end)) return false;
    putCopies(inner, scratch, from, end);
    this.#bounds[isFirst ? 0 : at - 1] = scratch.outValues[isFirst ? from - 1 : end - 1]!;
    const leaf = this.#leaves[at]!;
    if (isFirst) this.#fill(leaf, scratch, 0, END_SIZE_SPLIT, true);
    else this.#fill(leaf, scratch, end, size, true);
    return true;
  }

  /** Between the ends, values of which there are hardly any copies become a bag. */
  #fill(leaf: Leaf, scratch: MergeScratch, from: number, end: number, isEnd: boolean): void {
    const size = end - from;
    if (!isEnd && size > 0 && areFew(scratch.outCounts, from, end)) {
      leaf.isBag = true;
      leaf.size = 0;
      leaf.values = NONE;
      leaf.counts = NO_COUNTS;
      putCopies(leaf, scratch, from, end);
      return;
    }
    if (size > leaf.values.length) {
      let room = Math.max(ROOM_MIN, leaf.values.length);
      while (room < size) room *= 2;
      leaf.values = new Float64Array(room);
      leaf.counts = new Uint32Array(room);
    }
    const { values, counts } = leaf;
    const { outValues, outCounts } = scratch;
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
      isBag: false,
      full: NO_CHUNKS,
      gone: NO_CHUNKS,
      arrivals: NONE,
      arrivalCount: 0,
      departures: NONE,
      departureCount: 0,
      waitingMax: WAITING_MIN,
      // By golden ratio: neighbours are far apart.
      share: 3 / 4 + ((this.#leavesMade * 0.618_033_988_75) % 1) / 2,
    };
  }

  /** Puts leaves behind another; the bounds before each of them are set next. */
  #insert(at: number, parts: readonly Leaf[]): void {
    this.#leaves.splice(at + 1, 0, ...parts);
    this.#makeBoundRoom();
    this.#bounds.copyWithin(at + parts.length, at, this.#leaves.length - 1 - parts.length);
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
  #departures = NONE;
  /** Of what is being sorted. */
  bucketed = NONE;
  bucketOf = new Uint16Array(0);
  bucketEnds = NO_CHANGES;
  /** What is merged, in order. */
  values = NONE;
  changes = NONE;
  outValues = NONE;
  outCounts = NONE;
  /** Of what leaves a bag, by hash: the number of its first copy + 1, and how many copies. */
  slots = NO_CHANGES;
  copies = NO_CHANGES;
  /** Eight bits a slot, of which a value sets one. */
  marks = NO_CHANGES;

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

  /** What is gone from a bag, in one array. */
  departuresOf(full: readonly Float64Array[], last: Float64Array, lastCount: number): Float64Array {
    if (full.length === 0) return last;
    const count = full.length * CHUNK_SIZE + lastCount;
    if (count > this.#departures.length)
      this.#departures = new Float64Array((full.length + 1) * CHUNK_SIZE);
    for (let at = 0; at < full.length; at += 1) this.#departures.set(full[at]!, at * CHUNK_SIZE);
    this.#departures.set(last.subarray(0, lastCount), full.length * CHUNK_SIZE);
    return this.#departures;
  }

  /** All slots are empty. */
  makeSlots(count: number): void {
    if (count > this.slots.length) {
      this.slots = new Int32Array(count);
      this.copies = new Int32Array(count);
      this.marks = new Int32Array(count / 4);
    } else {
      this.slots.fill(0, 0, count);
      this.marks.fill(0, 0, count / 4);
    }
  }
}

type Leaf = {
  /** In order: the first `size` ascend. */
  values: Float64Array;
  counts: Uint32Array;
  size: number;
  /** Nothing is in order: all that is there has arrived, and what has left is not looked for yet. */
  isBag: boolean;
  /** Arrays of a bag before `arrivals`, and before `departures`, of `CHUNK_SIZE` each. */
  full: readonly Float64Array[];
  gone: readonly Float64Array[];
  /** What waits, in any order, and how many of either at most where the leaf is in order. */
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
    for (; part < LEAF_SIZE_SPLIT && rest > part * 2; part *= SPLIT_GROWTH) {
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

function grown(array: Float64Array, length: number, lengthMax: number): Float64Array {
  const larger = new Float64Array(Math.min(Math.max(16, length), lengthMax));
  larger.set(array);
  return larger;
}

/** What has come to a bag, gone or not. */
function bagSize({ full, arrivalCount }: Leaf): number {
  return full.length * CHUNK_SIZE + arrivalCount;
}

/** What of it is gone, and not looked for. */
function goneCount({ gone, departureCount }: Leaf): number {
  return gone.length * CHUNK_SIZE + departureCount;
}

function growGone(leaf: Leaf, countMax: number): void {
  const { departures } = leaf;
  if (departures.length < CHUNK_SIZE) {
    leaf.departures = grown(departures, departures.length * 2, Math.min(CHUNK_SIZE, countMax));
    return;
  }
  leaf.gone = [...leaf.gone, departures];
  leaf.departures = new Float64Array(CHUNK_SIZE);
  leaf.departureCount = 0;
}

function growBag(leaf: Leaf): void {
  const { arrivals } = leaf;
  if (arrivals.length < CHUNK_SIZE) {
    leaf.arrivals = grown(arrivals, Math.ceil(arrivals.length * 1.5), CHUNK_SIZE);
    return;
  }
  leaf.full = [...leaf.full, arrivals];
  leaf.arrivals = new Float64Array(CHUNK_SIZE);
  leaf.arrivalCount = 0;
}

/** Whether there are so few copies that to count them takes more room than to list them. */
function areFew(counts: Float64Array, from: number, end: number): boolean {
  let copyCount = 0;
  for (let at = from; at < end; at += 1) copyCount += counts[at]!;
  return copyCount * 2 < (end - from) * 3;
}

/** Puts what was merged into a bag. */
function putCopies(
  leaf: Leaf,
  { outValues, outCounts }: MergeScratch,
  from: number,
  end: number,
): void {
  for (let at = from; at < end; at += 1)
    for (let copy = outCounts[at]!; copy > 0; copy -= 1) {
      if (leaf.arrivalCount === leaf.arrivals.length) growBag(leaf);
      leaf.arrivals[leaf.arrivalCount] = outValues[at]!;
      leaf.arrivalCount += 1;
    }
}

/** The arrays of a bag, as far as they are filled. */
function chunksOf({ full, arrivals, arrivalCount }: Leaf): readonly Float64Array[] {
  return [...full, arrivals.subarray(0, arrivalCount)];
}

type Filled = { readonly full: readonly Float64Array[]; readonly count: number };

/** Values of a bag have moved up in its arrays. */
function keep(leaf: Leaf, { full, count }: Filled): void {
  const next = full.length;
  if (next < leaf.full.length) leaf.arrivals = leaf.full[next]!;
  leaf.full = full;
  leaf.arrivalCount = count;
}

/** Moves what is more than `most` from one bag to another; what is gone, too. */
function divide(leaf: Leaf, most: number, other: Leaf): void {
  const came = partition(chunksOf(leaf), most, (value) => {
    if (other.arrivalCount === other.arrivals.length) growBag(other);
    other.arrivals[other.arrivalCount] = value;
    other.arrivalCount += 1;
  });
  keep(leaf, came);
  if (goneCount(leaf) === 0) return;
  const { gone, departures, departureCount } = leaf;
  const left = partition([...gone, departures.subarray(0, departureCount)], most, (value) => {
    if (other.departureCount === other.departures.length) growGone(other, CHUNK_SIZE);
    other.departures[other.departureCount] = value;
    other.departureCount += 1;
  });
  leaf.gone = left.full;
  leaf.departures = left.full.length < gone.length ? gone[left.full.length]! : departures;
  leaf.departureCount = left.count;
}

/** Moves what is more than `most` out of arrays, in which the others move up: those these fill, and how many are in the next. */
function partition(
  chunks: readonly Float64Array[],
  most: number,
  move: (value: number) => void,
): Filled {
  let last = 0;
  let to = chunks[0]!;
  let count = 0;
  for (const chunk of chunks) {
    for (let each = 0; each < chunk.length; each += 1) {
      const value = chunk[each]!;
      if (value > most) {
        move(value);
        continue;
      }
      if (count === CHUNK_SIZE) {
        last += 1;
        to = chunks[last]!;
        count = 0;
      }
      to[count] = value;
      count += 1;
    }
  }
  return { full: chunks.slice(0, last), count };
}

/** Takes what is gone out of a bag. */
function cancel(leaf: Leaf, scratch: MergeScratch): void {
  const departureCount = goneCount(leaf);
  if (departureCount === 0) return;
  const departures = scratch.departuresOf(leaf.gone, leaf.departures, leaf.departureCount);
  leaf.gone = NO_CHUNKS;
  leaf.departureCount = 0;
  const sizeBefore = bagSize(leaf);
  let bits = 4;
  while (2 ** bits < departureCount * 2) bits += 1;
  scratch.makeSlots(2 ** bits);
  const { slots, copies, marks } = scratch;
  const shift = 32 - bits;
  const mask = 2 ** bits - 1;
  // A bit of sixteen a value, in the first cache: most of what stays is told by it.
  const markShift = shift - 3;
  const words = wordsOf(departures);
  for (let at = 0; at < departureCount; at += 1) {
    const value = departures[at]!;
    const hash = hashed(words[2 * at]!, words[2 * at + 1]!);
    const mark = hash >>> markShift;
    marks[mark >>> 5] = marks[mark >>> 5]! | (1 << mark);
    let slot = hash >>> shift;
    while (slots[slot] !== 0 && departures[slots[slot]! - 1] !== value) slot = (slot + 1) & mask;
    if (slots[slot] === 0) {
      slots[slot] = at + 1;
      copies[slot] = 1;
    } else copies[slot] = copies[slot]! + 1;
  }
  const chunks = chunksOf(leaf);
  let last = 0;
  let to = chunks[0]!;
  let count = 0;
  for (const chunk of chunks) {
    const chunkWords = wordsOf(chunk);
    for (let each = 0; each < chunk.length; each += 1) {
      const value = chunk[each]!;
      const hash = hashed(chunkWords[2 * each]!, chunkWords[2 * each + 1]!);
      const mark = hash >>> markShift;
      if ((marks[mark >>> 5]! & (1 << mark)) !== 0) {
        let slot = hash >>> shift;
        let known = slots[slot]!;
        while (known !== 0 && departures[known - 1] !== value) {
          slot = (slot + 1) & mask;
          known = slots[slot]!;
        }
        if (known !== 0 && copies[slot]! > 0) {
          copies[slot] = copies[slot]! - 1;
          continue;
        }
      }
      if (count === CHUNK_SIZE) {
        last += 1;
        to = chunks[last]!;
        count = 0;
      }
      to[count] = value;
      count += 1;
    }
  }
  keep(leaf, { full: chunks.slice(0, last), count });
  assert(bagSize(leaf) === sizeBefore - departureCount, 'a value leaves as often as it came');
}

/** The two halves of each double, which it is hashed by. */
function wordsOf({ buffer, byteOffset, length }: Float64Array): Int32Array {
  return new Int32Array(buffer, byteOffset, length * 2);
}

function hashed(low: number, high: number): number {
  const mixed = Math.imul(low ^ Math.imul(high, 0x85eb_ca6b), 0x9e37_79b1);
  return mixed ^ (mixed >>> 15);
}

/** Values by which it is judged whether the others are the same few, and those by which a bag is cut. */
const SAMPLE_SIZE = 256;
const SAMPLE_SIZE_OF_CUT = 64;

function sampleOf(leaf: Leaf, sizeMax: number): Float64Array {
  const size = bagSize(leaf);
  const sample = new Float64Array(Math.min(size, sizeMax));
  for (let each = 0; each < sample.length; each += 1) {
    const at = Math.floor((each * size) / sample.length);
    const chunk = leaf.full[Math.floor(at / CHUNK_SIZE)] ?? leaf.arrivals;
    sample[each] = chunk[at % CHUNK_SIZE]!;
  }
  return sample.sort();
}

/** Whether values of a bag are there twice, or more often, on average: as many pairs would meet in a sample by chance. */
function repeats(leaf: Leaf): boolean {
  const sample = sampleOf(leaf, SAMPLE_SIZE);
  let pairCount = 0;
  for (let at = 1; at < sample.length; at += 1) if (sample[at] === sample[at - 1]) pairCount += 1;
  return pairCount * bagSize(leaf) > SAMPLE_SIZE * SAMPLE_SIZE;
}

/** A value of the bag at most which about that share of it is, but not all; undefined where a sample is all of one value. */
function valueAt(leaf: Leaf, share: number): number | undefined {
  const sample = sampleOf(leaf, SAMPLE_SIZE_OF_CUT);
  const greatest = sample[sample.length - 1]!;
  let at = Math.floor(sample.length * share);
  while (at > 0 && sample[at] === greatest) at -= 1;
  return sample[at] === greatest ? undefined : sample[at];
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
