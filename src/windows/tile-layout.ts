import { NAN_BUCKET } from '../operators/aggregates/sketches.ts';

/**
 * How the states of aggregates lie in a tile: a few doubles. A sum is kept in bins of 26 bits on fixed grids, each the exact sum of what
 * every row has on its grid, so that rows are added, taken back and tiles merged without ever rounding; bins grow at both ends
 * as values need them. Bin k holds multiples of 2^26k.
 */
export const BIN_BITS = 26;
/** Values from 2^−884 to 2^910 in magnitude; what lies beyond has no tiles. */
const BIN_MIN = -34;
const BIN_MAX = 34;
/** Bins that a sum can come to have: what policies have demoted knows no other limit, and may need one on top. */
export const BINS_MAX = BIN_MAX - BIN_MIN + 2;
/** More bins than this are no tile any more, but a bignum. */
const BIN_COUNT_MAX = 12;
/** Of squares: room for those of all values whose sum has a tile. */
export const SQUARE_BIN_COUNT_MAX = 2 * BIN_COUNT_MAX + 1;

/** Adding and subtracting it rounds to the grid of bin k: MAGIC[k − BIN_MIN]. */
const MAGIC = new Float64Array(BIN_MAX - BIN_MIN + 2);
/** Beyond this a bin gives its upper part to the next. */
const FULL = new Float64Array(MAGIC.length);
/** Values of bin k are smaller. */
const LIMIT = new Float64Array(MAGIC.length);
for (let index = 0; index < MAGIC.length; index += 1) {
  const bit = (BIN_MIN + index) * BIN_BITS;
  MAGIC[index] = 1.5 * 2 ** (bit + 52);
  FULL[index] = 2 ** (bit + 51);
  LIMIT[index] = 2 ** (bit + BIN_BITS);
}

/** Rows and tiles that may be added to a bin before its upper part must move on: each brings less than 2^27 of its units. */
export const ADDITIONS_MAX = 2 ** 23;

/** What one term of an aggregate keeps in every tile. */
export type TermShape = {
  /** Rows that count, where those are not all. */
  readonly counts: boolean;
  readonly sums: boolean;
  readonly extremes: boolean;
  /** Values by bucket, for percentiles. */
  readonly buckets: boolean;
};

export type TermPlace = {
  /** −1: all rows count. */
  readonly count: number;
  /** First bin; −1: there is no sum. */
  readonly sum: number;
  readonly binFrom: number;
  readonly bins: number;
  /** Least and greatest value; −1: they are not kept. */
  readonly extremes: number;
  /** NaN, ∞ and −∞ are counted here, once one was met; else −1. */
  readonly special: number;
  /** Zeros, NaNs, then the buckets of positive values, then those of negative ones; −1: they are not kept. */
  readonly buckets: number;
  readonly range: BucketRange;
};

/** The buckets with room, by size: [from, to) of positive values, and of negative ones. */
export type BucketRange = {
  readonly from: number;
  readonly to: number;
  readonly negativeFrom: number;
  readonly negativeTo: number;
};

export const NO_BUCKETS: BucketRange = { from: 0, to: 0, negativeFrom: 0, negativeTo: 0 };
/** More buckets than this are no tile any more. */
const BUCKET_COUNT_MAX = 2048;
/** Buckets that come into a range at once, so that tiles are seldom relaid. */
const BUCKETS_AT_ONCE = 32;

/** Where a bucket is counted, from the first double of the term's buckets on; −1 where it has no room. */
export function bucketPlace(bucket: number, range: BucketRange): number {
  const { from, to, negativeFrom, negativeTo } = range;
  if (bucket === 0) return 0;
  if (bucket === NAN_BUCKET) return 1;
  if (bucket > 0) return bucket >= from && bucket < to ? 2 + bucket - from : -1;
  return -bucket >= negativeFrom && -bucket < negativeTo
    ? 2 + to - from - bucket - negativeFrom
    : -1;
}

/** The range with room for a bucket; undefined where no tile can have it. */
export function withBucket(range: BucketRange, bucket: number): BucketRange | undefined {
  const size = Math.abs(bucket);
  const least = Math.floor(size / BUCKETS_AT_ONCE) * BUCKETS_AT_ONCE;
  const end = least + BUCKETS_AT_ONCE;
  const stretched = (from: number, to: number): [number, number] =>
    from === to ? [least, end] : [Math.min(from, least), Math.max(to, end)];
  let { from, to, negativeFrom, negativeTo } = range;
  if (bucket > 0) [from, to] = stretched(from, to);
  else [negativeFrom, negativeTo] = stretched(negativeFrom, negativeTo);
  if (to - from + negativeTo - negativeFrom > BUCKET_COUNT_MAX) return undefined;
  return { from, to, negativeFrom, negativeTo };
}

/** What the values met so far ask of a sum. */
export type BinRange = {
  readonly from: number;
  readonly to: number;
  readonly special: boolean;
  readonly buckets: BucketRange;
};

/** Where the terms of a tile lie; never changed. The first double counts the rows. */
export class TilePlaces {
  readonly terms: readonly TermPlace[];
  #addition: Addition | undefined;

  constructor(terms: readonly TermPlace[]) {
    this.terms = terms;
  }

  /** How such tiles are added to those of a layout that has all that theirs has. */
  additionTo(layout: TileLayout): Addition {
    if (this.#addition?.into !== layout) this.#addition = new Addition(this.terms, layout);
    return this.#addition;
  }
}

/** Where everything lies in a tile of all its terms. */
export class TileLayout extends TilePlaces {
  readonly shapes: readonly TermShape[];
  readonly ranges: readonly BinRange[];
  /** Doubles of a tile. */
  readonly stride: number;
  /** A tile without rows. */
  readonly empty: Float64Array;
  #wider: TileLayout | undefined;

  constructor(shapes: readonly TermShape[], ranges: readonly BinRange[]) {
    let at = 1;
    const terms = shapes.map((shape, index) => {
      const range = ranges[index]!;
      const take = (doubles: number): number => {
        at += doubles;
        return at - doubles;
      };
      const count = shape.counts ? take(1) : -1;
      const bins = shape.sums ? range.to - range.from : 0;
      const sum = shape.sums ? take(bins) : -1;
      const extremes = shape.extremes ? take(2) : -1;
      const special = range.special ? take(3) : -1;
      const { from, to, negativeFrom, negativeTo } = range.buckets;
      const buckets = shape.buckets ? take(2 + to - from + negativeTo - negativeFrom) : -1;
      return {
        count,
        sum,
        binFrom: range.from,
        bins,
        extremes,
        special,
        buckets,
        range: range.buckets,
      };
    });
    super(terms);
    this.shapes = shapes;
    this.ranges = ranges;
    this.stride = at;
    this.empty = new Float64Array(at);
    for (const { extremes } of this.terms) {
      if (extremes < 0) continue;
      this.empty[extremes] = Infinity;
      this.empty[extremes + 1] = -Infinity;
    }
  }

  /** The same with one more bin on top of each sum: where many tiles are added. */
  get wider(): TileLayout {
    this.#wider ??= new TileLayout(
      this.shapes,
      this.ranges.map((range) => ({ ...range, to: range.to + 1 })),
    );
    return this.#wider;
  }

  /** Room for `count` tiles without rows. */
  tiles(count: number): Float64Array {
    const data = new Float64Array(count * this.stride);
    if (this.shapes.some(({ extremes }) => extremes))
      for (let tile = 0; tile < count; tile += 1) data.set(this.empty, tile * this.stride);
    return data;
  }
}

/** Whether `x` falls on the bins. */
export function fitsBins(x: number, { from, to, special }: BinRange): boolean {
  if (x === 0) return true;
  if (!(x - x === 0)) return special;
  if (to <= from) return false;
  const limit = LIMIT[to - 1 - BIN_MIN]!;
  if (!(x < limit && x > -limit)) return false;
  let rest = x;
  for (let bin = to - 1; bin >= from; bin -= 1) {
    const magic = MAGIC[bin - BIN_MIN]!;
    rest -= rest + magic - magic;
    if (rest === 0) return true;
  }
  return false;
}

const word = new Float64Array(1);
const halves = new Uint32Array(word.buffer);

/** The range with room for `x`; undefined where no tile can have it. */
export function widened(
  range: BinRange,
  x: number,
  binCountMax = BIN_COUNT_MAX,
): BinRange | undefined {
  if (!(x - x === 0)) return { ...range, special: true };
  word[0] = x;
  const exponent = ((halves[1]! >>> 20) & 0x7ff) - 1023;
  const high = halves[1]! & 0xf_ffff;
  const trailing =
    halves[0] !== 0
      ? 31 - Math.clz32(halves[0]! & -halves[0]!)
      : high !== 0
        ? 63 - Math.clz32(high & -high)
        : 52;
  const least = Math.floor((exponent - 52 + trailing) / BIN_BITS);
  const most = Math.floor(exponent / BIN_BITS);
  const isFresh = range.to <= range.from;
  const from = isFresh ? least : Math.min(range.from, least);
  const to = isFresh ? most + 1 : Math.max(range.to, most + 1);
  if (from < BIN_MIN || to > BIN_MAX || to - from > binCountMax) return undefined;
  return { ...range, from, to };
}

export const NO_BINS: BinRange = { from: 0, to: 0, special: false, buckets: NO_BUCKETS };

/** Adds or takes back a value that fits the bins. */
export function addToSum(
  data: Float64Array,
  at: number,
  place: TermPlace,
  x: number,
  sign: number,
): void {
  const start = at + place.sum;
  if (!(x - x === 0)) {
    const special = at + place.special + (x !== x ? 0 : x > 0 ? 1 : 2);
    data[special] = data[special]! + sign;
    return;
  }
  let rest = x;
  for (let bin = place.bins - 1; bin > 0; bin -= 1) {
    const magic = MAGIC[place.binFrom + bin - BIN_MIN]!;
    const part = rest + magic - magic;
    data[start + bin] = data[start + bin]! + part * sign;
    rest -= part;
    if (rest === 0) return;
  }
  if (place.bins > 0) data[start] = data[start]! + rest * sign;
}

/** Adds the values of rows [0, count) that are present, all of which fit, to a sum that has a bin, as `wider` ones do; `rests` is written over. */
export function addAllToSum(
  data: Float64Array,
  at: number,
  place: TermPlace,
  rests: Float64Array,
  count: number,
): void {
  const start = at + place.sum;
  for (let bin = place.bins - 1; bin > 0; bin -= 1) {
    const magic = MAGIC[place.binFrom + bin - BIN_MIN]!;
    let sum = 0;
    for (let row = 0; row < count; row += 1) {
      const part = rests[row]! + magic - magic;
      sum += part;
      rests[row] = rests[row]! - part;
    }
    data[start + bin] = data[start + bin]! + sum;
  }
  let sum = 0;
  for (let row = 0; row < count; row += 1) sum += rests[row]!;
  data[start] = data[start]! + sum;
}

/** The parts of a value that fits the bins, lowest bin first, into `parts`. */
export function partsOfSum(parts: Float64Array, { binFrom, bins }: TermPlace, x: number): void {
  let rest = x;
  for (let bin = bins - 1; bin > 0; bin -= 1) {
    const magic = MAGIC[binFrom + bin - BIN_MIN]!;
    const part = rest + magic - magic;
    parts[bin] = part;
    rest -= part;
  }
  parts[0] = rest;
}

/** Moves the upper parts of bins on, so that as many additions fit again; the last bin has room for what a table can hold. */
export function carry(data: Float64Array, at: number, layout: TileLayout): void {
  for (const { sum, bins, binFrom } of layout.terms) {
    for (let bin = 0; bin + 1 < bins; bin += 1) {
      const value = data[at + sum + bin]!;
      if (value === 0) continue;
      const magic = MAGIC[binFrom + bin + 1 - BIN_MIN]!;
      const up = value + magic - magic;
      data[at + sum + bin] = value - up;
      data[at + sum + bin + 1] = data[at + sum + bin + 1]! + up;
    }
  }
}

/** Additions before a loop of their own is worth being compiled. */
const LOOP_AFTER = 1024;
/** Doubles of a tile that such a loop is made for. */
const LOOP_DOUBLES_MAX = 64;

/**
 * How tiles of one layout are added to those of another: most of the time goes into finding out what a tile has, so that is done once. A layout that
 * is added again and again has a loop of its own, whose text holds its places: it takes a quarter of the time.
 */
class Addition {
  readonly into: TileLayout;
  /** Doubles that are added: where they lie, where they go to, and beyond what they are to be carried. */
  readonly #sums: readonly { readonly from: number; readonly to: number; readonly full: number }[];
  /** Pairs of a least and a greatest value. */
  readonly #extremes: readonly { readonly from: number; readonly to: number }[];
  readonly #buckets: readonly { readonly source: TermPlace; readonly target: TermPlace }[];
  #uses = 0;
  #loop: Addition['add'] | undefined;

  constructor(terms: readonly TermPlace[], into: TileLayout) {
    // The rows.
    const sums = [{ from: 0, to: 0, full: Infinity }];
    const extremes: { readonly from: number; readonly to: number }[] = [];
    const buckets: { readonly source: TermPlace; readonly target: TermPlace }[] = [];
    for (let index = 0; index < terms.length; index += 1) {
      const source = terms[index]!;
      const target = into.terms[index]!;
      if (source.count >= 0) sums.push({ from: source.count, to: target.count, full: Infinity });
      const first = target.sum + source.binFrom - target.binFrom;
      for (let bin = 0; bin < source.bins; bin += 1)
        sums.push({
          from: source.sum + bin,
          to: first + bin,
          full: FULL[source.binFrom - BIN_MIN + bin]!,
        });
      if (source.extremes >= 0) extremes.push({ from: source.extremes, to: target.extremes });
      if (source.buckets >= 0) buckets.push({ source, target });
      if (source.special >= 0)
        for (let kind = 0; kind < 3; kind += 1)
          sums.push({ from: source.special + kind, to: target.special + kind, full: Infinity });
    }
    this.into = into;
    this.#sums = sums;
    this.#extremes = extremes;
    this.#buckets = buckets;
  }

  /** Adds `count` tiles of `stride` doubles each, and carries what comes to be full. */
  add(
    into: Float64Array,
    intoAt: number,
    from: Float64Array,
    fromAt: number,
    stride: number,
    count: number,
  ): void {
    if (this.#loop !== undefined) {
      this.#loop(into, intoAt, from, fromAt, stride, count);
      return;
    }
    this.#uses += count;
    if (this.#uses > LOOP_AFTER) this.#loop = this.#made();
    for (let tile = 0; tile < count; tile += 1)
      this.#addOne(into, intoAt, from, fromAt + tile * stride);
  }

  #addOne(into: Float64Array, intoAt: number, from: Float64Array, fromAt: number): void {
    let isFull = false;
    for (const { from: place, to, full } of this.#sums) {
      const value = into[intoAt + to]! + from[fromAt + place]!;
      into[intoAt + to] = value;
      if (value > full || value < -full) isFull = true;
    }
    for (const { from: place, to } of this.#extremes) {
      const at = intoAt + to;
      const sourceAt = fromAt + place;
      if (from[sourceAt]! < into[at]!) into[at] = from[sourceAt]!;
      if (from[sourceAt + 1]! > into[at + 1]!) into[at + 1] = from[sourceAt + 1]!;
    }
    for (const { source, target } of this.#buckets)
      addBuckets(
        into,
        intoAt + target.buckets,
        target.range,
        from,
        fromAt + source.buckets,
        source.range,
      );
    if (isFull) carry(into, intoAt, this.into);
  }

  /** Undefined where its text would be long, or there are buckets. */
  #made(): Addition['add'] | undefined {
    const sums = this.#sums;
    const extremes = this.#extremes;
    if (this.#buckets.length > 0 || sums.length + 2 * extremes.length > LOOP_DOUBLES_MAX)
      return undefined;
    const lines = sums.map(({ from, to, full }, index) => {
      const sum = `const s${index} = into[at + ${to}] + from[fromAt + ${from}]; into[at + ${to}] = s${index};`;
      return full === Infinity
        ? sum
        : `${sum} if (s${index} > ${full} || s${index} < ${-full}) isFull = true;`;
    });
    for (const { from, to } of extremes)
      lines.push(
        `if (from[fromAt + ${from}] < into[at + ${to}]) into[at + ${to}] = from[fromAt + ${from}];`,
        `if (from[fromAt + ${from + 1}] > into[at + ${to + 1}]) into[at + ${to + 1}] = from[fromAt + ${from + 1}];`,
      );
    return new Function(
      'carry',
      'layout',
      `'use strict';
      return (into, at, from, fromAt, stride, count) => {
        for (let tile = 0; tile < count; tile += 1, fromAt += stride) {
          let isFull = false;
          ${lines.join('\n          ')}
          if (isFull) carry(into, at, layout);
        }
      };`,
    )(carry, this.into) as Addition['add'];
  }
}

/**
 * Adds a tile to another, whose layout has all that the first one's has. Sums are carried where they come near the end of a double's
 * precision, so any number of tiles can be added to one of a `wider` layout.
 */
export function addTile(
  into: Float64Array,
  intoAt: number,
  intoLayout: TileLayout,
  from: Float64Array,
  fromAt: number,
  fromPlaces: TilePlaces,
): void {
  fromPlaces.additionTo(intoLayout).add(into, intoAt, from, fromAt, 0, 1);
}

/** Adds `count` tiles that lie one behind the other. */
export function addTiles(
  into: Float64Array,
  intoAt: number,
  intoLayout: TileLayout,
  from: Float64Array,
  fromAt: number,
  fromLayout: TileLayout,
  count: number,
): void {
  fromLayout.additionTo(intoLayout).add(into, intoAt, from, fromAt, fromLayout.stride, count);
}

function addBuckets(
  into: Float64Array,
  intoAt: number,
  target: BucketRange,
  from: Float64Array,
  fromAt: number,
  source: BucketRange,
): void {
  into[intoAt] = into[intoAt]! + from[fromAt]!;
  into[intoAt + 1] = into[intoAt + 1]! + from[fromAt + 1]!;
  const count = source.to - source.from;
  let at = intoAt + 2 + source.from - target.from;
  let sourceAt = fromAt + 2;
  for (let bucket = 0; bucket < count; bucket += 1, at += 1, sourceAt += 1)
    into[at] = into[at]! + from[sourceAt]!;
  at = intoAt + 2 + target.to - target.from + source.negativeFrom - target.negativeFrom;
  const end = sourceAt + source.negativeTo - source.negativeFrom;
  for (; sourceAt < end; at += 1, sourceAt += 1) into[at] = into[at]! + from[sourceAt]!;
}

/** Calls with each bucket in which values were counted, `at` being the first double of the term's buckets. */
export function visitBuckets(
  data: Float64Array,
  at: number,
  { from, to, negativeFrom, negativeTo }: BucketRange,
  visit: (bucket: number, count: number) => void,
): void {
  const told = (bucket: number, place: number): void => {
    if (data[place] !== 0) visit(bucket, data[place]!);
  };
  told(0, at);
  told(NAN_BUCKET, at + 1);
  for (let bucket = from; bucket < to; bucket += 1) told(bucket, at + 2 + bucket - from);
  const negatives = at + 2 + to - from;
  for (let size = negativeFrom; size < negativeTo; size += 1)
    told(-size, negatives + size - negativeFrom);
}

/** A sum has come so far that additions may no longer be exact: its layout needs another bin. */
export function isNearTop(data: Float64Array, at: number, layout: TileLayout): boolean {
  for (const { sum, bins, binFrom } of layout.terms) {
    if (bins === 0) continue;
    const value = data[at + sum + bins - 1]!;
    const near = FULL[binFrom + bins - 1 - BIN_MIN]! / 2;
    if (value > near || value < -near) return true;
  }
  return false;
}

/** The same tiles in a layout that has all that theirs has. */
export function relaid(data: Float64Array, before: TileLayout, after: TileLayout): Float64Array {
  const count = data.length / before.stride;
  const moved = after.tiles(count);
  for (let tile = 0; tile < count; tile += 1)
    addTile(moved, tile * after.stride, after, data, tile * before.stride, before);
  return moved;
}

/** Bins and buckets that have all that two have. */
export function unionOf(a: BinRange, b: BinRange): BinRange {
  const span = (from: number, to: number, otherFrom: number, otherTo: number): [number, number] =>
    to <= from
      ? [otherFrom, otherTo]
      : otherTo <= otherFrom
        ? [from, to]
        : [Math.min(from, otherFrom), Math.max(to, otherTo)];
  const [from, to] = span(a.from, a.to, b.from, b.to);
  const [positiveFrom, positiveTo] = span(
    a.buckets.from,
    a.buckets.to,
    b.buckets.from,
    b.buckets.to,
  );
  const [negativeFrom, negativeTo] = span(
    a.buckets.negativeFrom,
    a.buckets.negativeTo,
    b.buckets.negativeFrom,
    b.buckets.negativeTo,
  );
  const union: BinRange = {
    from,
    to,
    special: a.special || b.special,
    buckets: { from: positiveFrom, to: positiveTo, negativeFrom, negativeTo },
  };
  return isSameRange(union, a) ? a : isSameRange(union, b) ? b : union;
}

/** Whether two have room for the same. */
export function isSameRange(a: BinRange, b: BinRange): boolean {
  return (
    a === b ||
    (a.from === b.from &&
      a.to === b.to &&
      a.special === b.special &&
      a.buckets.from === b.buckets.from &&
      a.buckets.to === b.buckets.to &&
      a.buckets.negativeFrom === b.buckets.negativeFrom &&
      a.buckets.negativeTo === b.buckets.negativeTo)
  );
}
