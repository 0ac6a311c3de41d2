import { assert, DbError } from '../base/errors.ts';

/**
 * How often each key was counted, by slice: what tiles keep beside their doubles where most keys are missing from most of them. A key is a
 * whole number below `KEY_COUNT`: the bucket of a value, a register and a rank, the number of a value.
 *
 * The entries of a slice lie behind one another in no order: adding and taking back put one more behind, and a slice that is full
 * is *settled* first: keys whose counts cancel out go, others are one entry (two or three, of many rows). An entry is 32 bits: the key,
 * and a digit of its count to the base 2,048.
 */
export const KEY_BITS = 18;
export const KEY_COUNT = 1 << KEY_BITS;
const DIGIT_BITS = 11;
const DIGIT_BASE = 1 << DIGIT_BITS;
const POWER_BITS = 3;
const KEY_SHIFT = DIGIT_BITS + POWER_BITS;
const POWERS = Float64Array.from({ length: 1 << POWER_BITS }, (_, power) => DIGIT_BASE ** power);
/** Numbers of a slice: where it begins, its entries, its room. */
const NUMBERS = 3;
/** Fewer entries are copied one by one. */
const COPY_MIN = 32;
/** Keys of a slice from its least to its greatest, whose counts are kept. */
const DENSE_KEYS_MAX = 4096;
/** What a pool is beside its entries. */
const POOL_BYTES = 256;

/** Where keys are added up; one is enough for all slices, since nothing is left in it. */
export class KeyScratch {
  #counts = new Float64Array(0);
  #entries = new Int32Array(0);

  /** All nought, and to be left so. */
  get counts(): Float64Array {
    if (this.#counts.length === 0) this.#counts = new Float64Array(KEY_COUNT);
    return this.#counts;
  }

  /** Room for entries, whatever they are. */
  entries(count: number): Int32Array {
    if (this.#entries.length < count) this.#entries = new Int32Array(count * 2);
    return this.#entries;
  }
}

/** What sets of slices have in common. */
export type KeySpace = {
  /** Slices of a tile. */
  readonly kinds: number;
  readonly scratch: KeyScratch;
};

/** The counts of a slice by key, from `least` on, and their sum: who asks for ranks again and again does not add them up each time. */
type DenseCounts = {
  readonly slice: number;
  readonly least: number;
  readonly counts: Float64Array;
  readonly sum: number;
};

export class KeyCounts {
  /** Counts of a slice are kept from the second time on that a rank in it is asked for. */
  isDense = false;
  #dense: DenseCounts | undefined;
  /** Nothing has come since: a late row changes only this, since where it would be counted is in no cache. */
  #isDenseTrue = false;
  #rankedSlice = -1;
  readonly #scratch: KeyScratch;
  readonly #take: (bytes: number) => void;
  #entries = new Int32Array(0);
  /** Behind the last slice's room. */
  #end = 0;
  #slices: Int32Array;

  /** `take` hears of bytes before they are allocated, and may refuse them; of fewer than nought, when they are given back. */
  constructor(slices: number, scratch: KeyScratch, take: (bytes: number) => void) {
    take(POOL_BYTES + slices * NUMBERS * 4);
    this.#scratch = scratch;
    this.#take = take;
    this.#slices = new Int32Array(slices * NUMBERS);
  }

  get slices(): number {
    return this.#slices.length / NUMBERS;
  }

  /** Entries of a slice. */
  size(slice: number): number {
    return this.#slices[slice * NUMBERS + 1]!;
  }

  /** A number that depends on what lies where a slice's next entry goes, and says nothing. */
  lookAt(slice: number): number {
    const at = slice * NUMBERS;
    const next = this.#slices[at]! + this.#slices[at + 1]!;
    return next < this.#entries.length ? this.#entries[next]! : 0;
  }

  /** Counts a key once more, or once less. */
  add(slice: number, key: number, sign: 1 | -1): void {
    this.#push(slice, (key << KEY_SHIFT) | ((sign & (DIGIT_BASE - 1)) << POWER_BITS));
  }

  /** Counts a key `count` times. */
  addMany(slice: number, key: number, count: number): void {
    let left = count;
    for (let power = 0; left !== 0; power += 1) {
      const digit = digitOf(left);
      left = (left - digit) / DIGIT_BASE;
      if (digit !== 0) this.#push(slice, entryOf(key, digit, power));
    }
  }

  #push(slice: number, entry: number): void {
    const at = slice * NUMBERS;
    if (this.#slices[at + 1] === this.#slices[at + 2]) this.#makeRoom(at, 1);
    const size = this.#slices[at + 1]!;
    this.#entries[this.#slices[at]! + size] = entry;
    this.#slices[at + 1] = size + 1;
    this.#isDenseTrue = false;
  }

  /** Adds a slice of another set. */
  addSlice(slice: number, from: KeyCounts, fromSlice: number): void {
    const fromAt = fromSlice * NUMBERS;
    const count = from.#slices[fromAt + 1]!;
    if (count === 0) return;
    this.#isDenseTrue = false;
    const at = slice * NUMBERS;
    if (this.#slices[at + 1]! + count > this.#slices[at + 2]!) this.#makeRoom(at, count);
    // They may be in one pool, which has just been laid anew.
    const start = from.#slices[fromAt]!;
    const to = this.#slices[at]! + this.#slices[at + 1]!;
    if (count < COPY_MIN)
      for (let each = 0; each < count; each += 1)
        this.#entries[to + each] = from.#entries[start + each]!;
    else this.#entries.set(from.#entries.subarray(start, start + count), to);
    this.#slices[at + 1] = this.#slices[at + 1]! + count;
  }

  clear(slice: number): void {
    this.#isDenseTrue = false;
    this.#slices[slice * NUMBERS + 1] = 0;
  }

  /** All slices are empty; the pool stays. */
  reset(): void {
    this.#isDenseTrue = false;
    this.#slices.fill(0);
    this.#end = 0;
  }

  /** Has at least `slices` slices, those that are there as they are. */
  grow(slices: number): void {
    if (slices <= this.slices) return;
    const grown = Math.max(slices, this.slices * 2);
    this.#take((grown - this.slices) * NUMBERS * 4);
    const before = this.#slices;
    this.#slices = new Int32Array(grown * NUMBERS);
    this.#slices.set(before);
  }

  /** Settles all slices, and keeps a little room behind each: rows come late. */
  trim(): void {
    for (let at = 0; at < this.#slices.length; at += NUMBERS) this.#settle(at);
    this.#layAnew((size) => (size === 0 ? 0 : size + (size >> 3) + 2), 0, 0);
  }

  /** Different keys of a slice that were counted more often than taken back. */
  distinct(slice: number): number {
    const at = slice * NUMBERS;
    const start = this.#slices[at]!;
    const end = start + this.#slices[at + 1]!;
    const { counts } = this.#scratch;
    const entries = this.#entries;
    this.#scatter(start, end);
    let found = 0;
    for (let each = start; each < end; each += 1) {
      const key = entries[each]! >>> KEY_SHIFT;
      if (counts[key] === 0) continue;
      counts[key] = 0;
      found += 1;
    }
    return found;
  }

  /** Calls once with each such key. */
  keys(slice: number, visit: (key: number) => void): void {
    const at = slice * NUMBERS;
    const start = this.#slices[at]!;
    const end = start + this.#slices[at + 1]!;
    const { counts } = this.#scratch;
    this.#scatter(start, end);
    for (let each = start; each < end; each += 1) {
      const key = this.#entries[each]! >>> KEY_SHIFT;
      if (counts[key] === 0) continue;
      counts[key] = 0;
      visit(key);
    }
  }

  /** The key in which the `rank`th of all counts lies, counted from 1, keys ascending. */
  keyOfRank(slice: number, rank: number): number {
    if (this.#isDenseTrue && this.#dense?.slice === slice) {
      const { counts, least, sum } = this.#dense;
      return least + placeOfRank(counts, 0, counts.length - 1, sum, rank);
    }
    const { counts } = this.#scratch;
    let least = KEY_COUNT;
    let most = 0;
    let sum = 0;
    const at = slice * NUMBERS;
    const end = this.#slices[at]! + this.#slices[at + 1]!;
    for (let each = this.#slices[at]!; each < end; each += 1) {
      const entry = this.#entries[each]!;
      const key = entry >>> KEY_SHIFT;
      const count = countOf(entry);
      if (key < least) least = key;
      if (key > most) most = key;
      counts[key] = counts[key]! + count;
      sum += count;
    }
    const key = placeOfRank(counts, least, most, sum, rank);
    if (this.isDense) this.#keepDense(slice, counts, least, most, sum);
    counts.fill(0, least, most + 1);
    return key;
  }

  #keepDense(slice: number, counts: Float64Array, least: number, most: number, sum: number): void {
    const isAgain = this.#rankedSlice === slice;
    this.#rankedSlice = slice;
    const length = most + 1 - least;
    if (!isAgain || length > DENSE_KEYS_MAX) return;
    this.#dropDense();
    try {
      this.#take(length * 8);
    } catch (cause) {
      // It is a help, no need.
      if (cause instanceof DbError && cause.code === '53200') return;
      throw cause;
    }
    this.#dense = { slice, least, counts: counts.slice(least, most + 1), sum };
    this.#isDenseTrue = true;
  }

  #dropDense(): void {
    this.#isDenseTrue = false;
    if (this.#dense === undefined) return;
    this.#take(-this.#dense.counts.length * 8);
    this.#dense = undefined;
  }

  /** Adds entries [start, end) up by key; whoever asks for it leaves nothing there. */
  #scatter(start: number, end: number): void {
    const { counts } = this.#scratch;
    const entries = this.#entries;
    for (let each = start; each < end; each += 1) {
      const entry = entries[each]!;
      const key = entry >>> KEY_SHIFT;
      counts[key] = counts[key]! + countOf(entry);
    }
  }

  /** Room for so many entries more in a slice that has none. */
  #makeRoom(at: number, more: number): void {
    this.#settle(at);
    const wanted = this.#slices[at + 1]! + more;
    const room = this.#slices[at + 2]!;
    // A slice that is nearly full again soon is not settled each time.
    if (wanted <= room - (room >> 2)) return;
    const grown = wanted + (wanted >> 1) + 2;
    const start = this.#slices[at]!;
    if (start + room === this.#end && start + grown <= this.#entries.length) {
      this.#slices[at + 2] = grown;
      this.#end = start + grown;
      return;
    }
    if (this.#end + grown > this.#entries.length) {
      this.#slices[at + 2] = grown;
      try {
        // A pool that grows does not shrink by the way.
        this.#layAnew((_, own) => own, grown >> 1, this.#entries.length);
      } catch (cause) {
        this.#slices[at + 2] = room;
        throw cause;
      }
      return;
    }
    this.#entries.copyWithin(this.#end, start, start + this.#slices[at + 1]!);
    this.#slices[at] = this.#end;
    this.#slices[at + 2] = grown;
    this.#end += grown;
  }

  /**
   * All slices one behind the other in another pool of at least `least` entries, each with the room that is said, and an eighth (and
   * `more`) behind the last.
   */
  #layAnew(roomOf: (size: number, room: number) => number, more: number, least: number): void {
    const slices = this.#slices;
    let total = 0;
    for (let at = 0; at < slices.length; at += NUMBERS)
      total += roomOf(slices[at + 1]!, slices[at + 2]!);
    const length = Math.max(least, total + (total >> 3) + more);
    this.#take((length - this.#entries.length) * 4);
    const entries = new Int32Array(length);
    let end = 0;
    for (let at = 0; at < slices.length; at += NUMBERS) {
      const start = slices[at]!;
      const size = slices[at + 1]!;
      const room = roomOf(size, slices[at + 2]!);
      if (size > 0) entries.set(this.#entries.subarray(start, start + size), end);
      slices[at] = end;
      slices[at + 2] = room;
      end += room;
    }
    this.#entries = entries;
    this.#end = end;
  }

  /** Every key of a slice becomes one number. */
  #settle(at: number): void {
    const size = this.#slices[at + 1]!;
    if (size < 2) return;
    const start = this.#slices[at]!;
    const entries = this.#entries;
    const { counts } = this.#scratch;
    this.#scatter(start, start + size);
    // Numbers of several digits may take more room before others take less.
    const settled = this.#scratch.entries(size * 2);
    let kept = 0;
    for (let each = start; each < start + size; each += 1) {
      const key = entries[each]! >>> KEY_SHIFT;
      let left = counts[key]!;
      counts[key] = 0;
      for (let power = 0; left !== 0; power += 1) {
        const digit = digitOf(left);
        left = (left - digit) / DIGIT_BASE;
        if (digit === 0) continue;
        settled[kept] = entryOf(key, digit, power);
        kept += 1;
      }
    }
    assert(kept <= size, 'a sum has no more digits than what was added up');
    entries.set(settled.subarray(0, kept), start);
    this.#slices[at + 1] = kept;
  }
}

/** Of counts at places [least, most], whose sum is given, where the `rank`th lies: found from the nearer end. */
function placeOfRank(
  counts: Float64Array,
  least: number,
  most: number,
  sum: number,
  rank: number,
): number {
  if (rank * 2 <= sum) {
    let place = least;
    for (let left = rank - counts[place]!; left > 0 && place < most; left -= counts[place]!)
      place += 1;
    return place;
  }
  let place = most;
  for (let left = sum - counts[place]!; left >= rank && place > least; left -= counts[place]!)
    place -= 1;
  return place;
}

function entryOf(key: number, digit: number, power: number): number {
  return (key << KEY_SHIFT) | ((digit & (DIGIT_BASE - 1)) << POWER_BITS) | power;
}

/** The lowest digit, from −1,024 to 1,023. */
function digitOf(count: number): number {
  const rest = count % DIGIT_BASE;
  return rest >= DIGIT_BASE / 2
    ? rest - DIGIT_BASE
    : rest < -DIGIT_BASE / 2
      ? rest + DIGIT_BASE
      : rest;
}

function countOf(entry: number): number {
  return (
    ((entry << KEY_BITS) >> (KEY_BITS + POWER_BITS)) * POWERS[entry & ((1 << POWER_BITS) - 1)]!
  );
}
