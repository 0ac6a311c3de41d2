import { assert } from '../base/errors.ts';
import { CountsScratch } from './counts-scratch.ts';
import { ValueCounts } from './value-counts.ts';
import { ValueList } from './value-list.ts';

/** Changes that wait until they are handed to the bags they belong to: one of so many values, but at least, and at most so many. */
const WAITING_SHARE = 64;
/** Arrays of so few doubles lie within the heap, and cost no buffer. */
const WAITING_MIN = 8;
const WAITING_MAX = 1024;
/** In a bag of so few values one that leaves is looked for at once, and so is the extreme; a larger one at an end is cut first. */
const SMALL_BAG = 64;
/** Values of a bag: to cut a full one in two, or to take out what has left it, takes about a millisecond. */
const BAG_SIZE_MAX = 131_072;
/** Of the values of a bag, one of so many may have left without being looked for. */
const GONE_SHARE = 8;
/** A bag that has doubled is looked at whether its values are the same few, from so many on. */
const REPEATS_FROM = 256;
/** Where there are so many copies of each value, on average, they are counted; where there are fewer than the other, listed again. */
const COPIES_COUNTED = 3;
const COPIES_LISTED = 2;
/** Different values that are counted in one bag. */
const COUNTED_MAX = 8192;
/** More copies that come at once are counted, and leave at once where they are. */
const LISTED_COPIES_MAX = 8;
/** Values by which it is judged where to cut. */
const SAMPLE_SIZE = 64;
/** Values by which it is judged whether it is worth while to count how many differ. */
const PAIRS_SAMPLE_SIZE = 256;
/** So few that wait are handed out one by one. */
const SINGLY_MAX = 8;
const NONE = new Float64Array(0);

/**
 * A multiset of doubles of which only the least and the greatest are ever asked for: any value may leave. Its bags divide the numbers
 * among them, and in none is any order: what comes is put at the end, and what leaves is listed beside it, until an eighth of
 * the bag has left and is looked for in one pass. Where the extreme itself may have left, the bag at that end is cut, and what is cut off again, until
 * a few values remain, which are looked through; so bags are larger towards the middle, and a value is moved once for every time
 * that what lies beyond it is a sixteenth of what it was. Where the same few values come again and again, a bag counts copies instead.
 *
 * NaN is greater than all numbers; −0 must be given as 0.
 */
export class NumberCounts {
  /** Ascending: all values of a bag are at most its bound and above that of the bag before. Empty only where there is no other. */
  readonly #bags: Bag[] = [];
  /** Greatest value that belongs to each bag but the last, whose bound is none. */
  #bounds: Float64Array = NONE;
  #arrivals: Float64Array = NONE;
  #arrivalCount = 0;
  #departures: Float64Array = NONE;
  #departureCount = 0;
  /** −1 where bags have changed since it was looked for. */
  #largestAt = -1;
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
    let bytes =
      OBJECT_BYTES +
      this.#arrivals.byteLength +
      this.#departures.byteLength +
      this.#bounds.byteLength;
    for (const { came, gone, counts } of this.#bags)
      bytes += BAG_BYTES + came.memoryBytes + gone.memoryBytes + (counts?.memoryBytes ?? 0);
    return bytes;
  }

  /** `weight` more copies, or fewer; only what is there may leave. */
  add(value: number, weight: number, scratch: CountsScratch): void {
    // Short enough to become part of its caller's loop: most changes are arrivals.
    if (weight === 1 && value === value && this.#arrivalCount < this.#arrivals.length) {
      this.#count += 1;
      if (value < this.#least) this.#least = value;
      if (value > this.#greatest) this.#greatest = value;
      this.#arrivals[this.#arrivalCount] = value;
      this.#arrivalCount += 1;
    } else this.#change(value, weight, scratch);
  }

  #change(value: number, weight: number, scratch: CountsScratch): void {
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
    if (weight > LISTED_COPIES_MAX) {
      this.#spill(scratch);
      this.#counted(value, scratch).add(value, weight, scratch);
      return;
    }
    if (weight < -LISTED_COPIES_MAX) {
      this.#spill(scratch);
      const at = this.#bagFor(value);
      const { counts } = this.#bags[at]!;
      if (counts !== undefined) {
        counts.add(value, weight, scratch);
        this.#hasLeft(at, scratch);
        return;
      }
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

  /** Nothing is left: whatever waits cancels out. */
  #clear(scratch: CountsScratch): void {
    if (this.#bags.length === 0 && this.#arrivalCount === 0) return;
    this.#spill(scratch);
    for (const bag of this.#bags) {
      takeOut(bag, scratch);
      assert(sizeOf(bag) === 0, 'a value leaves as often as it came');
    }
    this.#bags.length = 0;
    this.#largestAt = -1;
    this.#bounds = NONE;
    this.#least = Infinity;
    this.#greatest = -Infinity;
    this.#isLeastStale = false;
    this.#isGreatestStale = false;
  }

  /** Undefined where there is none. */
  least(scratch: CountsScratch): number | undefined {
    if (this.#count === 0) {
      this.#clear(scratch);
      return this.#nanCount > 0 ? NaN : undefined;
    }
    if (this.#isLeastStale) {
      const { counts, came } = this.#settled('first', scratch);
      this.#least = counts === undefined ? came.least() : leastOf(counts);
      this.#isLeastStale = false;
    }
    return this.#least;
  }

  greatest(scratch: CountsScratch): number | undefined {
    if (this.#count === 0) this.#clear(scratch);
    if (this.#nanCount > 0) return NaN;
    if (this.#count === 0) return undefined;
    if (this.#isGreatestStale) {
      const { counts, came } = this.#settled('last', scratch);
      this.#greatest = counts === undefined ? came.greatest() : greatestOf(counts);
      this.#isGreatestStale = false;
    }
    return this.#greatest;
  }

  /** The first or last bag when it has few values, and nothing waits. */
  #settled(end: 'first' | 'last', scratch: CountsScratch): Bag {
    this.#spill(scratch);
    for (;;) {
      const at = end === 'first' ? 0 : this.#bags.length - 1;
      const bag = this.#bags[at]!;
      if (bag.counts === undefined) takeOut(bag, scratch);
      if (sizeOf(bag) <= SMALL_BAG) {
        assert(sizeOf(bag) > 0, 'a bag is empty only where there is no other');
        return bag;
      }
      // Either side has something, or copies are counted from now on: there is an end to it.
      if (!this.#cut(at, end === 'first' ? 1 / 16 : 15 / 16, scratch)) continue;
      if (end === 'first') this.#gather(1, 1, scratch);
      else this.#gather(at, -1, scratch);
    }
  }

  #makeArrivalRoom(scratch: CountsScratch): void {
    const waitingMax = this.#waitingMax;
    if (this.#arrivalCount >= waitingMax) this.#spill(scratch);
    if (this.#arrivalCount === this.#arrivals.length)
      this.#arrivals = grown(this.#arrivals, waitingMax);
  }

  #makeDepartureRoom(scratch: CountsScratch): void {
    const waitingMax = this.#waitingMax;
    if (this.#departureCount >= waitingMax) this.#spill(scratch);
    if (this.#departureCount === this.#departures.length)
      this.#departures = grown(this.#departures, waitingMax);
  }

  /** A power of two, so that a buffer does not grow by every few values. */
  get #waitingMax(): number {
    const share = Math.floor(this.#count / WAITING_SHARE);
    return Math.min(WAITING_MAX, Math.max(WAITING_MIN, 2 ** (31 - Math.clz32(share))));
  }

  /** Hands what waits to the bags it belongs to: most to the largest, in one pass. */
  #spill(scratch: CountsScratch): void {
    if (this.#bags.length === 0) this.#bags.push(newBag());
    this.#spillArrivals(scratch);
    this.#spillDepartures(scratch);
    // After it has held much more.
    const roomMax = this.#waitingMax * 2;
    if (this.#arrivals.length > roomMax) this.#arrivals = NONE;
    if (this.#departures.length > roomMax) this.#departures = NONE;
  }

  #spillArrivals(scratch: CountsScratch): void {
    const arrivals = this.#arrivals;
    let count = this.#arrivalCount;
    this.#arrivalCount = 0;
    if (count > SINGLY_MAX) {
      const at = this.#largest();
      const bag = this.#bags[at]!;
      if (bag.counts === undefined) {
        count = bag.came.pushWithin(arrivals, count, this.#above(at), this.#most(at));
        if (bag.came.count >= bag.lookAt) this.#lookAt(at, scratch);
      }
    }
    for (let each = 0; each < count; each += 1) {
      const value = arrivals[each]!;
      const at = this.#bagFor(value);
      const bag = this.#bags[at]!;
      if (bag.counts === undefined) bag.came.push(value);
      else bag.counts.add(value, 1, scratch);
      if (sizeOf(bag) >= bag.lookAt) this.#lookAt(at, scratch);
    }
  }

  #spillDepartures(scratch: CountsScratch): void {
    const departures = this.#departures;
    let count = this.#departureCount;
    this.#departureCount = 0;
    if (count > SINGLY_MAX) {
      const at = this.#largest();
      const bag = this.#bags[at]!;
      if (bag.counts === undefined && bag.came.count > SMALL_BAG) {
        count = bag.gone.pushWithin(departures, count, this.#above(at), this.#most(at));
        this.#hasLeft(at, scratch);
      }
    }
    for (let each = 0; each < count; each += 1) {
      const value = departures[each]!;
      const at = this.#bagFor(value);
      const { came, gone, counts } = this.#bags[at]!;
      if (counts !== undefined) counts.add(value, -1, scratch);
      else if (came.count > SMALL_BAG) gone.push(value);
      else assert(came.remove(value), 'a value leaves as often as it came');
      this.#hasLeft(at, scratch);
    }
  }

  /** Looks for what is gone where that is much, and drops a bag that is empty. */
  #hasLeft(at: number, scratch: CountsScratch): void {
    const bag = this.#bags[at]!;
    if (bag.gone.count * GONE_SHARE > bag.came.count) takeOut(bag, scratch);
    if (sizeOf(bag) === 0) this.#drop(at);
  }

  /** The bag that had most when bags last changed. */
  #largest(): number {
    if (this.#largestAt >= 0) return this.#largestAt;
    let at = 0;
    for (let each = 1; each < this.#bags.length; each += 1)
      if (sizeOf(this.#bags[each]!) > sizeOf(this.#bags[at]!)) at = each;
    this.#largestAt = at;
    return at;
  }

  /** The numbers that belong to a bag: above the one, or what is none, and at most the other. */
  #above(at: number): number {
    return at > 0 ? this.#bounds[at - 1]! : NaN;
  }

  #most(at: number): number {
    return at < this.#bags.length - 1 ? this.#bounds[at]! : Infinity;
  }

  /** The bag that the value belongs to. */
  #bagFor(value: number): number {
    const bounds = this.#bounds;
    let low = 0;
    let high = this.#bags.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (bounds[middle]! < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** A bag has grown: it may be full, or its values may be the same few. */
  #lookAt(at: number, scratch: CountsScratch): void {
    const bag = this.#bags[at]!;
    if (bag.counts !== undefined) {
      const { distinct, total } = bag.counts;
      if (total < distinct * COPIES_LISTED) list(bag);
      else if (distinct >= COUNTED_MAX) this.#cut(at, 1 / 2, scratch);
      else bag.lookAt = countedLookAt(distinct);
      return;
    }
    takeOut(bag, scratch);
    const size = bag.came.count;
    const distinct = repeats(bag.came, scratch) ? scratch.distinctCount(bag.came) : size;
    const areFew = distinct * COPIES_COUNTED <= size;
    if (areFew && distinct * 4 <= COUNTED_MAX * 3) count(bag, scratch);
    else if (areFew && this.#cut(at, 1 / 2, scratch)) {
      // Each half is looked at again as soon as something comes to it.
      bag.lookAt = 0;
      this.#bags[at + 1]!.lookAt = 0;
    }
    // Where little had left, the next pass would soon find as little.
    else if (size * 8 >= BAG_SIZE_MAX * 7) this.#cut(at, 1 / 2, scratch);
    else bag.lookAt = Math.min(BAG_SIZE_MAX, Math.max(REPEATS_FROM, size * 2));
  }

  /**
   * Cuts a bag of several values in two, of which the first has about that share of them; where nearly all are the same value, copies are
   * counted instead, and it stays one.
   */
  #cut(at: number, share: number, scratch: CountsScratch): boolean {
    const bag = this.#bags[at]!;
    const next = newBag();
    let most: number | undefined;
    if (bag.counts === undefined) {
      takeOut(bag, scratch);
      most = valueAt(sampleOfList(bag.came, SAMPLE_SIZE, scratch), share);
      if (most === undefined) {
        count(bag, scratch);
        return false;
      }
      bag.came.moveGreater(most, next.came);
      for (const each of [bag, next])
        each.lookAt = Math.min(BAG_SIZE_MAX, Math.max(REPEATS_FROM, each.came.count * 2));
    } else {
      most = valueAt(sampleOfCounts(bag.counts, scratch), share);
      if (most === undefined) return false;
      next.counts = bag.counts.takeGreater(most, scratch);
      for (const each of [bag, next]) {
        each.lookAt = countedLookAt(each.counts!.distinct);
        if (each.counts!.total < each.counts!.distinct * COPIES_LISTED) list(each);
      }
    }
    this.#largestAt = -1;
    this.#bags.splice(at + 1, 0, next);
    this.#makeBoundRoom();
    this.#bounds.copyWithin(at + 1, at, this.#bags.length - 2);
    this.#bounds[at] = most;
    return true;
  }

  /**
   * What was cut off at an end is put into what lies further in while that is hardly larger: so however often an end grows and is cut, bags double
   * from each to the next, and there are few.
   */
  #gather(from: number, step: 1 | -1, scratch: CountsScratch): void {
    let at = from;
    for (;;) {
      const next = at + step;
      if (next <= 0 || next >= this.#bags.length - 1) return;
      const bag = this.#bags[at]!;
      const inner = this.#bags[next]!;
      if (sizeOf(inner) > sizeOf(bag) * 2) return;
      if (!put(bag, inner, scratch)) return;
      const lower = Math.min(at, next);
      this.#bags[lower + 1] = inner;
      this.#drop(lower);
      at = lower;
    }
  }

  /** Where copies of a value are counted from now on. */
  #counted(value: number, scratch: CountsScratch): ValueCounts {
    for (;;) {
      const at = this.#bagFor(value);
      const bag = this.#bags[at]!;
      if (bag.counts !== undefined) {
        if (bag.counts.distinct < COUNTED_MAX) return bag.counts;
        this.#cut(at, 1 / 2, scratch);
      } else if (bag.came.count <= REPEATS_FROM) count(bag, scratch);
      else this.#cut(at, 1 / 2, scratch);
    }
  }

  /** A bag goes; what belonged to it belongs to the next one, or to the one before the last. The only one stays. */
  #drop(at: number): void {
    this.#largestAt = -1;
    if (this.#bags.length === 1) {
      this.#bags[0] = newBag();
      return;
    }
    this.#bags.splice(at, 1);
    const bounds = this.#bounds;
    // Without the last bag, the bound of the one before it is none any more.
    if (at < this.#bags.length) bounds.copyWithin(at, at + 1, this.#bags.length);
  }

  /** Room for a bound of each bag but the last. */
  #makeBoundRoom(): void {
    let room = Math.max(8, this.#bounds.length);
    while (room < this.#bags.length - 1) room *= 2;
    if (room === this.#bounds.length) return;
    const larger = new Float64Array(room);
    larger.set(this.#bounds);
    this.#bounds = larger;
  }
}

type Bag = {
  /** Each copy of each value, those that are gone included. Empty where copies are counted. */
  came: ValueList;
  /** What has left and is not looked for yet; there is none while the bag is small. */
  gone: ValueList;
  counts: ValueCounts | undefined;
  /** Its size when it will be looked at. */
  lookAt: number;
};

/** The object with its fields and its array of bags, by formula. */
const OBJECT_BYTES = 200;
const BAG_BYTES = 240;

function newBag(): Bag {
  return { came: new ValueList(), gone: new ValueList(), counts: undefined, lookAt: REPEATS_FROM };
}

/** Values that are listed, or different ones that are counted. */
function sizeOf({ came, counts }: Bag): number {
  return counts === undefined ? came.count : counts.distinct;
}

/** Takes what is gone out of a bag. */
function takeOut({ came, gone }: Bag, scratch: CountsScratch): void {
  if (gone.count === 0) return;
  scratch.note(gone);
  came.removeNoted(scratch);
  gone.clear();
}

/** Counts copies of what was listed; nothing of it is gone. */
function count(bag: Bag, scratch: CountsScratch): void {
  takeOut(bag, scratch);
  const counts = new ValueCounts(0);
  for (const chunk of bag.came.chunks())
    for (let each = 0; each < chunk.length; each += 1) counts.add(chunk[each]!, 1, scratch);
  bag.came = new ValueList();
  bag.gone = new ValueList();
  bag.counts = counts;
  bag.lookAt = countedLookAt(counts.distinct);
}

function countedLookAt(distinct: number): number {
  return Math.max(Math.min(COUNTED_MAX, Math.max(REPEATS_FROM, distinct * 2)), distinct + 1);
}

/** Lists copies that were counted. */
function list(bag: Bag): void {
  bag.counts!.forEach((value, copies) => {
    for (let copy = 0; copy < copies; copy += 1) bag.came.push(value);
  });
  bag.counts = undefined;
  bag.lookAt = Math.max(REPEATS_FROM, bag.came.count * 2);
}

/** Puts what a bag holds into another, where both are of one kind and not too large together. */
function put(bag: Bag, into: Bag, scratch: CountsScratch): boolean {
  const size = sizeOf(bag) + sizeOf(into);
  if (bag.counts !== undefined && into.counts !== undefined && size * 2 <= COUNTED_MAX) {
    const { counts } = into;
    bag.counts.forEach((value, copies) => counts.add(value, copies, scratch));
    return true;
  }
  if (bag.counts !== undefined || into.counts !== undefined || size * 2 > BAG_SIZE_MAX)
    return false;
  into.came.pushAll(bag.came);
  into.gone.pushAll(bag.gone);
  into.lookAt = Math.max(into.lookAt, size + 1);
  return true;
}

function leastOf(counts: ValueCounts): number {
  let least = Infinity;
  counts.forEach((value) => {
    if (value < least) least = value;
  });
  return least;
}

function greatestOf(counts: ValueCounts): number {
  let greatest = -Infinity;
  counts.forEach((value) => {
    if (value > greatest) greatest = value;
  });
  return greatest;
}

/** Whether there may be copies: among a few values as many pairs would meet by chance as where each is there twice. False where one comes often says nothing. */
function repeats(values: ValueList, scratch: CountsScratch): boolean {
  const sample = sampleOfList(values, PAIRS_SAMPLE_SIZE, scratch);
  let pairCount = 0;
  for (let at = 1; at < sample.length; at += 1) if (sample[at] === sample[at - 1]) pairCount += 1;
  return pairCount * values.count > sample.length * sample.length;
}

function sampleOfList(values: ValueList, sizeMax: number, scratch: CountsScratch): Float64Array {
  const sample = scratch.sample.subarray(0, Math.min(values.count, sizeMax));
  for (let each = 0; each < sample.length; each += 1)
    sample[each] = values.at(Math.floor((each * values.count) / sample.length));
  return sample.sort();
}

function sampleOfCounts(counts: ValueCounts, scratch: CountsScratch): Float64Array {
  const sample = scratch.sample.subarray(0, Math.min(counts.distinct, SAMPLE_SIZE));
  let place = 0;
  let each = 0;
  counts.forEach((value) => {
    if (place === Math.floor((each * counts.distinct) / sample.length) && each < sample.length) {
      sample[each] = value;
      each += 1;
    }
    place += 1;
  });
  return sample.sort();
}

/** A value of a sample at most which about that share of it is, but not all; undefined where all are one value. */
function valueAt(sample: Float64Array, share: number): number | undefined {
  const greatest = sample[sample.length - 1]!;
  let at = Math.floor(sample.length * share);
  while (at > 0 && sample[at] === greatest) at -= 1;
  return sample[at] === greatest ? undefined : sample[at];
}

function grown(array: Float64Array, lengthMax: number): Float64Array {
  const larger = new Float64Array(
    Math.max(WAITING_MIN, Math.min(array.length * 2, lengthMax), array.length),
  );
  larger.set(array);
  return larger;
}
