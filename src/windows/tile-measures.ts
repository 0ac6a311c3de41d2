import { assert, DbError } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import type { Batch } from '../columns/batch.ts';
import { BATCH_ROW_COUNT_MAX } from '../columns/batch.ts';
import { hashRows } from '../columns/build.ts';
import { datumAt, isNullAt } from '../columns/cells.ts';
import { Decimal, normalInteger, type Datum } from '../columns/values.ts';
import type { SqlType, TypeKind } from '../columns/types.ts';
import type { Vector } from '../columns/vector.ts';
import { compileExpression, type CompiledExpression } from '../expressions/compile.ts';
import { divide } from '../expressions/decimal-arithmetic.ts';
import type { Expression } from '../expressions/expression.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import {
  assertFraction,
  bucketOf,
  bucketValue,
  distinctEntry,
  estimateOfEntries,
  rankOf,
} from '../operators/aggregates/sketches.ts';
import { fromUnits, roundedSum, toUnits } from '../operators/aggregates/exact-sum.ts';
import {
  decimalVarianceOf,
  isOfSample,
  isVariance,
  squares,
  varianceOf,
} from '../operators/aggregates/moments.ts';
import { GroupTable } from '../operators/group-table.ts';
import type { AggregateCall } from '../plan/logical.ts';
import { KEY_COUNT, type KeyCounts, type KeyScratch, type KeySpace } from './key-counts.ts';
import { NoTiles } from './no-tiles.ts';
import {
  addAllToSum,
  addToSum,
  BIN_BITS,
  BINS_MAX,
  bucketPlace,
  fitsBins,
  NO_BINS,
  partsOfSum,
  SQUARE_BIN_COUNT_MAX,
  TileLayout,
  unionOf,
  widened,
  withBucket,
  type BinRange,
  type BucketRange,
  type TermPlace,
  type TermShape,
} from './tile-layout.ts';
import { expressionText } from './tile-plan.ts';

/**
 * What the tiles of one question keep, and how it becomes the values of its aggregates. Calls of one argument and FILTER share a
 * *term*: sum(x), avg(x) and count(x) are one sum and one count; of a variance the squares of its values are a term of their own.
 */
export class TileMeasures {
  readonly #terms: readonly Term[];
  readonly #calls: readonly {
    readonly call: AggregateCall;
    readonly term: number;
    readonly squares: number;
    readonly keys: number;
  }[];
  readonly #keys: readonly TermKeys[];
  /** Undefined: no keys are counted. */
  readonly keySpace: KeySpace | undefined;
  readonly #context: EvaluationContext;
  readonly #change = new RowChange();
  readonly #rests = new Float64Array(BATCH_ROW_COUNT_MAX);
  layout: TileLayout;

  /** `keyed`: where keys are added up, and whose memory the values take that are told apart; without it buckets lie in the tiles themselves. */
  constructor(
    calls: readonly AggregateCall[],
    context: EvaluationContext,
    keyed?: { readonly scratch: KeyScratch; readonly memory: MemoryAccount },
  ) {
    this.#context = context;
    const keys: { readonly term: number; readonly kind: KeyKind; readonly type: SqlType }[] = [];
    const keysOf = ({ fn, distinct, args }: AggregateCall, term: number): number => {
      const kind = distinct ? 'values' : keyed === undefined ? undefined : KEY_KINDS[fn];
      if (kind === undefined) return -1;
      const known = keys.findIndex((each) => each.term === term && each.kind === kind);
      return known < 0 ? keys.push({ term, kind, type: args[0]!.type }) - 1 : known;
    };
    const terms: { readonly text: string; readonly of: number; readonly calls: AggregateCall[] }[] =
      [];
    const termOf = (call: AggregateCall, text: string, of: number): number => {
      const known = terms.findIndex((each) => each.text === text && each.of === of);
      const index = known < 0 ? terms.push({ text, of, calls: [] }) - 1 : known;
      terms[index]!.calls.push(call);
      return index;
    };
    this.#calls = calls.map((given) => {
      const call = withPlainArgument(given);
      if (call.args.length === 0 && call.filter === undefined)
        return { call, term: -1, squares: -1, keys: -1 };
      const text = termText(call);
      const term = termOf(call, text, -1);
      return {
        call,
        term,
        squares: isVariance(call.fn) ? termOf(call, text, term) : -1,
        keys: keysOf(call, term),
      };
    });
    // Squares stand behind what they are of.
    const made: Term[] = [];
    for (const { calls: own, of } of terms) made.push(new Term(own, made[of], keyed === undefined));
    this.#terms = made;
    this.#keys = keys.map(
      ({ term, kind, type }) => new TermKeys(made[term]!, kind, type, keyed!.memory),
    );
    this.keySpace = keys.length === 0 ? undefined : { kinds: keys.length, scratch: keyed!.scratch };
    this.layout = new TileLayout(
      this.#terms.map(({ shape }) => shape),
      this.#terms.map(() => NO_BINS),
    );
  }

  get callCount(): number {
    return this.#calls.length;
  }

  /** Work units of a row. */
  get work(): number {
    return 1 + this.#terms.length;
  }

  /**
   * Evaluates the terms of a batch, and widens the layout where its values ask for it. False: they hold something that no tile can. Throws
   * NoTiles where there are more values than can be told apart.
   */
  load(batch: Batch): boolean {
    this.#change.layout = undefined;
    let ranges: BinRange[] | undefined;
    for (let index = 0; index < this.#terms.length; index += 1) {
      const term = this.#terms[index]!;
      const range = term.load(batch, this.#context, this.layout.ranges[index]!);
      if (range === undefined) return false;
      if (range === this.layout.ranges[index]) continue;
      ranges ??= [...this.layout.ranges];
      ranges[index] = range;
    }
    if (ranges !== undefined) this.layout = new TileLayout(this.layout.shapes, ranges);
    for (let index = 0; index < this.#keys.length; index += 1)
      this.#keys[index]!.load(batch.rowCount);
    return true;
  }

  /** Gives back what it holds beside tiles. */
  close(): void {
    for (const keys of this.#keys) keys.close();
  }

  /** The keys that call `index` counts, by their number in a tile; −1: none. */
  keysOf(index: number): number {
    return this.#calls[index]!.keys;
  }

  /** Keys number `kind` of other values of the same column, good until the next call; throws NoTiles where there are too many. */
  otherKeys(kind: number, vector: Vector, rowCount: number): Int32Array {
    return this.#keys[kind]!.of(vector, rowCount);
  }

  /** Counts the keys of row `row` of the loaded batch from slice `slice` on, or takes them back. */
  addKeys(counts: KeyCounts, slice: number, row: number, sign: 1 | -1): void {
    const all = this.#keys;
    for (let kind = 0; kind < all.length; kind += 1) {
      const { present, keys } = all[kind]!;
      if (present[row] === 1) counts.add(slice + kind, keys[row]!, sign);
    }
  }

  /** Bytes of the keys that a tile of any number of rows counts; undefined where they grow with its rows. */
  get keyBytes(): number | undefined {
    return this.#keys.some(({ kind }) => kind !== 'buckets')
      ? undefined
      : this.#keys.length * BUCKET_BYTES;
  }

  /** The term of call `index`; −1: it counts rows, whatever they are. */
  termOf(index: number): number {
    return this.#calls[index]!.term;
  }

  /** The term of its values' squares; −1: it needs none. */
  squaresOf(index: number): number {
    return this.#calls[index]!.squares;
  }

  /** What call `index` is of, without casts that change no value. */
  plainArgument(index: number): Expression | undefined {
    return this.#calls[index]!.call.args[0];
  }

  /** What the calls of a term are of. */
  term(index: number): Pick<Term, 'argument' | 'filter' | 'shape'> {
    return this.#terms[index]!;
  }

  /** Makes room in a term for what tiles made elsewhere hold of the same column; `scale` is that of a numeric's values. */
  admit(index: number, range: BinRange, scale: number | undefined): void {
    const term = this.#terms[index]!;
    term.scale ??= scale;
    assert(term.scale === scale, 'values of one column have one scale');
    const ranges = this.layout.ranges.map((each, at) =>
      at === index ? unionOf(each, range) : each,
    );
    if (ranges[index] !== this.layout.ranges[index])
      this.layout = new TileLayout(this.layout.shapes, ranges);
  }

  /** Sums have come near the end of their last bins. */
  widenTops(): void {
    this.layout = this.layout.wider;
  }

  /** Adds row `row` of the loaded batch to a tile, or takes it back. False: an extreme may have left. */
  add(data: Float64Array, at: number, layout: TileLayout, row: number, sign: 1 | -1): boolean {
    data[at] = data[at]! + sign;
    const terms = this.#terms;
    let isSure = true;
    for (let index = 0; index < terms.length; index += 1) {
      const term = terms[index]!;
      if (term.present[row] === 0) continue;
      const place = layout.terms[index]!;
      if (place.count >= 0) data[at + place.count] = data[at + place.count]! + sign;
      const x = term.values[row]!;
      if (place.sum >= 0) {
        addToSum(data, at, place, x, sign);
        if (term.lows !== undefined) addToSum(data, at, place, term.lows[row]!, sign);
      } else if (place.special >= 0 && x !== x)
        data[at + place.special] = data[at + place.special]! + sign;
      if (place.buckets >= 0) {
        const bucket = at + place.buckets + bucketPlace(bucketOf(x), place.range);
        data[bucket] = data[bucket]! + sign;
      }
      if (place.extremes >= 0) {
        const least = at + place.extremes;
        if (sign > 0) {
          if (x < data[least]!) data[least] = x;
          if (x > data[least + 1]!) data[least + 1] = x;
        } else if (!(x > data[least]! && x < data[least + 1]!) && x === x) isSure = false;
      }
    }
    return isSure;
  }

  /** Adds all rows of the loaded batch to one tile: column by column, a third of what row by row takes. */
  addAll(data: Float64Array, at: number, layout: TileLayout, rowCount: number): void {
    data[at] = data[at]! + rowCount;
    const rests = this.#rests;
    for (let index = 0; index < this.#terms.length; index += 1) {
      const { present, values, lows } = this.#terms[index]!;
      const place = layout.terms[index]!;
      let count = taken(rests, values, present, rowCount);
      if (place.count >= 0) data[at + place.count] = data[at + place.count]! + count;
      if (place.extremes >= 0) {
        let least = data[at + place.extremes]!;
        let most = data[at + place.extremes + 1]!;
        for (let each = 0; each < count; each += 1) {
          const x = rests[each]!;
          if (x < least) least = x;
          if (x > most) most = x;
        }
        data[at + place.extremes] = least;
        data[at + place.extremes + 1] = most;
      }
      if (place.special >= 0) {
        // What is no finite number is counted by kind, and no part of the sum.
        let kept = 0;
        for (let each = 0; each < count; each += 1) {
          const x = rests[each]!;
          if (x - x === 0) {
            rests[kept] = x;
            kept += 1;
          } else if (place.sum >= 0 || x !== x) {
            const kind = at + place.special + (x !== x ? 0 : x > 0 ? 1 : 2);
            data[kind] = data[kind]! + 1;
          }
        }
        count = kept;
      }
      if (place.sum >= 0) addAllToSum(data, at, place, rests, count);
      if (lows !== undefined)
        addAllToSum(data, at, place, rests, taken(rests, lows, present, rowCount));
    }
  }

  /**
   * Finds out what row `row` of the loaded batch changes in every tile of a layout that it lies in: `addPrepared` does it. False: the
   * layout has no room for its values.
   */
  prepare(layout: TileLayout, row: number, sign: 1 | -1): boolean {
    const change = this.#change;
    if (change.layout === layout && change.row === row && change.sign === sign) return true;
    change.layout = undefined;
    change.sign = sign;
    change.count = 0;
    change.extremeCount = 0;
    if (change.offsets.length < layout.terms.length * CHANGES_A_TERM + 1) change.grow(layout);
    change.note(0, sign);
    const terms = this.#terms;
    for (let index = 0; index < terms.length; index += 1) {
      const term = terms[index]!;
      if (term.present[row] === 0) continue;
      const place = layout.terms[index]!;
      if (place.count >= 0) change.note(place.count, sign);
      const x = term.values[row]!;
      const isNumber = x - x === 0;
      if (place.sum >= 0 && isNumber) {
        if (!fitsBins(x, layout.ranges[index]!)) return false;
        change.noteSum(place, x);
        if (term.lows !== undefined) {
          if (!fitsBins(term.lows[row]!, layout.ranges[index]!)) return false;
          change.noteSum(place, term.lows[row]!);
        }
      } else if (place.sum >= 0 || x !== x) {
        // Of what has no sum only NaNs are counted, where they make a difference.
        if (place.special >= 0) change.note(place.special + (x !== x ? 0 : x > 0 ? 1 : 2), sign);
        else return false;
      }
      if (place.extremes >= 0) {
        change.extremeOffsets[change.extremeCount] = place.extremes;
        change.extremes[change.extremeCount] = x;
        change.extremeCount += 1;
      }
    }
    change.layout = layout;
    change.row = row;
    return true;
  }

  /** Adds the row that was prepared to a tile, or takes it back. False: an extreme may have left. */
  addPrepared(data: Float64Array, at: number): boolean {
    const { offsets, amounts, count, extremeOffsets, extremes, extremeCount, sign } = this.#change;
    for (let index = 0; index < count; index += 1) {
      const place = at + offsets[index]!;
      data[place] = data[place]! + amounts[index]!;
    }
    let isSure = true;
    for (let index = 0; index < extremeCount; index += 1) {
      const x = extremes[index]!;
      const least = at + extremeOffsets[index]!;
      if (sign > 0) {
        if (x < data[least]!) data[least] = x;
        if (x > data[least + 1]!) data[least + 1] = x;
      } else if (!(x > data[least]! && x < data[least + 1]!) && x === x) isSure = false;
    }
    return isSure;
  }

  /** Writes the value of call `index` in a tile to `out[row]`: a double that is returned would be an object on its way. The tile's keys are counted from slice `slice` on. */
  finish(
    out: Datum[],
    row: number,
    index: number,
    data: Float64Array,
    at: number,
    layout: TileLayout,
    keys?: KeyCounts,
    slice = 0,
  ): void {
    const { call, term: number, squares: squared, keys: kind } = this.#calls[index]!;
    const rows = data[at]!;
    if (number < 0) {
      out[row] = rows;
      return;
    }
    const place = layout.terms[number]!;
    const count = place.count < 0 ? rows : data[at + place.count]!;
    if (call.fn === 'count') out[row] = kind < 0 ? count : keys!.distinct(slice + kind);
    else if (call.fn === 'approx_count_distinct') out[row] = estimateOf(keys!, slice + kind);
    else if (count === 0) out[row] = null;
    else if (call.fn === 'min' || call.fn === 'max')
      writeExtreme(out, row, call, this.#terms[number]!, place, data, at, count);
    else if (call.fn === 'approx_percentile')
      out[row] = percentile(call, keys!, slice + kind, count);
    else if (squared >= 0) {
      const term = this.#terms[number]!;
      out[row] = variance(call, term, place, layout.terms[squared]!, data, at, count);
    } else writeSum(out, row, call, this.#terms[number]!, place, data, at, count);
  }
}

/** Doubles of a tile that a term of one row changes at most, its extremes apart: of squares all bins there are, twice. */
const CHANGES_A_TERM = 2 * BINS_MAX + 2;

/** What one row changes in a tile of one layout: by how much which of its doubles. */
class RowChange {
  layout: TileLayout | undefined;
  row = -1;
  sign: 1 | -1 = 1;
  count = 0;
  offsets = new Int32Array(0);
  amounts = new Float64Array(0);
  extremeCount = 0;
  extremeOffsets = new Int32Array(0);
  extremes = new Float64Array(0);
  readonly parts = new Float64Array(CHANGES_A_TERM);

  grow({ terms }: TileLayout): void {
    this.offsets = new Int32Array(terms.length * CHANGES_A_TERM + 1);
    this.amounts = new Float64Array(this.offsets.length);
    this.extremeOffsets = new Int32Array(terms.length);
    this.extremes = new Float64Array(terms.length);
  }

  note(offset: number, amount: number): void {
    this.offsets[this.count] = offset;
    this.amounts[this.count] = amount;
    this.count += 1;
  }

  /** A value that fits the bins; of none is noted where there are no bins, since only noughts fit these. */
  noteSum(place: TermPlace, x: number): void {
    partsOfSum(this.parts, place, x);
    for (let bin = 0; bin < place.bins; bin += 1)
      if (this.parts[bin] !== 0) this.note(place.sum + bin, this.parts[bin]! * this.sign);
  }
}

/** Values that are present, one behind the other; gives how many. */
function taken(
  into: Float64Array,
  values: Float64Array,
  present: Uint8Array,
  rowCount: number,
): number {
  let count = 0;
  for (let row = 0; row < rowCount; row += 1) {
    if (present[row] === 0) continue;
    into[count] = values[row]!;
    count += 1;
  }
  return count;
}

/**
 * Integers and float4 are cast for a variance, which changes no value of theirs: it shares the term of their sum, and policies
 * keep one.
 */
function withPlainArgument(call: AggregateCall): AggregateCall {
  const argument = call.args[0];
  if (!isVariance(call.fn) || argument?.kind !== 'cast') return call;
  const { arg, type } = argument;
  const isWidened =
    type.kind === 'float8'
      ? arg.type.kind === 'float4'
      : type.kind === 'numeric' && type.precision === undefined && INTEGERS.has(arg.type.kind);
  return isWidened ? { ...call, args: [arg] } : call;
}

const INTEGERS: ReadonlySet<TypeKind> = new Set<TypeKind>(['int2', 'int4', 'int8']);

/** What keys are: buckets of values, registers and ranks of their hashes, or numbers of the values themselves. */
type KeyKind = 'buckets' | 'ranks' | 'values';
const KEY_KINDS: Readonly<Record<string, KeyKind>> = {
  approx_percentile: 'buckets',
  approx_count_distinct: 'ranks',
};
/** A bucket's key, since those of negative values are negative. */
export const BUCKET_KEY = KEY_COUNT / 2;
/** Buckets of a tile that many rows are in, as bytes: a guess. */
const BUCKET_BYTES = 2048;

/** The keys of a term's values, by row of the loaded batch. */
class TermKeys {
  readonly kind: KeyKind;
  readonly keys = new Int32Array(BATCH_ROW_COUNT_MAX);
  readonly present: Uint8Array;
  readonly #of: Term;
  /** Values, numbered as they come. */
  #values: GroupTable | undefined;
  readonly #type: SqlType;
  readonly #memory: MemoryAccount;

  constructor(of: Term, kind: KeyKind, type: SqlType, memory: MemoryAccount) {
    this.kind = kind;
    this.present = of.present;
    this.#of = of;
    this.#type = type;
    this.#memory = memory;
  }

  close(): void {
    this.#values?.close();
  }

  load(rowCount: number): void {
    const { keys } = this;
    if (this.kind !== 'buckets') {
      keys.set(this.of(this.#of.vector!, rowCount).subarray(0, rowCount));
      return;
    }
    const { values } = this.#of;
    for (let row = 0; row < rowCount; row += 1) keys[row] = BUCKET_KEY + bucketOf(values[row]!);
  }

  of(vector: Vector, rowCount: number): Int32Array {
    if (this.kind === 'ranks') {
      const hashes = hashRows([vector], rowCount);
      for (let row = 0; row < rowCount; row += 1) hashes[row] = distinctEntry(hashes[row]!);
      return hashes;
    }
    this.#values ??= new GroupTable([this.#type], this.#memory);
    const numbers = this.#values.intern([vector], rowCount);
    if (this.#values.groupCount > KEY_COUNT) throw new NoTiles(true);
    return numbers;
  }
}

function termText(call: AggregateCall): string {
  const argument = call.args[0] === undefined ? '*' : expressionText(call.args[0]);
  return call.filter === undefined ? argument : `${argument} ${expressionText(call.filter)}`;
}

/** One argument with its FILTER: its values by row of the loaded batch. */
class Term {
  readonly shape: TermShape;
  readonly kind: 'integer' | 'float' | 'numeric' | 'other';
  /** numeric: digits after the point, once a value was met. */
  scale: number | undefined;
  /** NULL and filtered rows: 0. */
  readonly present = new Uint8Array(BATCH_ROW_COUNT_MAX);
  readonly values = new Float64Array(BATCH_ROW_COUNT_MAX);
  /** Of squares: what the doubles of `values` lack of them. */
  readonly lows: Float64Array | undefined;
  readonly #of: Term | undefined;
  /** Of the loaded batch. */
  vector: Vector | undefined;
  readonly argument: Expression | undefined;
  readonly filter: Expression | undefined;
  readonly #argument: CompiledExpression | undefined;
  readonly #filter: CompiledExpression | undefined;
  readonly #needsValues: boolean;

  /** `of`: it is of the squares of that term's values; `isBucketed`: buckets lie in the tiles. */
  constructor(calls: readonly AggregateCall[], of: Term | undefined, isBucketed: boolean) {
    const { args, filter } = calls[0]!;
    this.#of = of;
    this.lows = of === undefined ? undefined : new Float64Array(BATCH_ROW_COUNT_MAX);
    const argument = args[0];
    this.argument = argument;
    this.filter = filter;
    this.#argument = argument === undefined ? undefined : compileExpression(argument);
    this.#filter = filter === undefined ? undefined : compileExpression(filter);
    const has = (...names: readonly string[]): boolean =>
      calls.some(({ fn }) => names.includes(fn));
    this.shape =
      of !== undefined
        ? SQUARES
        : {
            counts: filter !== undefined || !(argument?.kind === 'column' && !argument.nullable),
            sums: has('sum', 'avg') || calls.some(({ fn }) => isVariance(fn)),
            extremes: has('min', 'max'),
            buckets: isBucketed && has('approx_percentile'),
          };
    this.#needsValues = this.shape.sums || this.shape.extremes || has('approx_percentile');
    switch (argument?.type.kind) {
      case 'int2':
      case 'int4':
      case 'int8':
        this.kind = 'integer';
        break;
      case 'float4':
      case 'float8':
        this.kind = 'float';
        break;
      case 'numeric':
        this.kind = 'numeric';
        break;
      default:
        this.kind = 'other';
    }
  }

  /** The range that has room for all of its values: the given one where it has; undefined: no tile can hold them. */
  load(batch: Batch, context: EvaluationContext, known: BinRange): BinRange | undefined {
    const { rowCount } = batch;
    if (this.#of !== undefined) return this.#square(this.#of, rowCount, known);
    const { present } = this;
    present.fill(1, 0, rowCount);
    if (this.#filter !== undefined) {
      const kept = this.#filter.evaluate(batch, context);
      for (let row = 0; row < rowCount; row += 1) if (datumAt(kept, row) !== true) present[row] = 0;
    }
    if (this.#argument === undefined) return known;
    const vector = this.#argument.evaluate(batch, context);
    this.vector = vector;
    if (!this.#needsValues) {
      for (let row = 0; row < rowCount; row += 1) if (isNullAt(vector, row)) present[row] = 0;
      return known;
    }
    if (!this.#read(vector, rowCount)) return undefined;
    const range = this.#ranged(known, vector, rowCount);
    return range === undefined || !this.shape.buckets ? range : this.#bucketed(range, rowCount);
  }

  /** Squares of a term that has its batch. */
  #square(of: Term, rowCount: number, known: BinRange): BinRange | undefined {
    const { present, values } = this;
    const lows = this.lows!;
    squares({ values: of.values, factor: 1, base: 0 }, rowCount, values, lows);
    let range: BinRange | undefined = known;
    for (let row = 0; row < rowCount; row += 1) {
      const x = of.values[row]!;
      // What is no finite number is counted beside the sum.
      const isNumber = of.present[row] === 1 && x - x === 0;
      present[row] = isNumber ? 1 : 0;
      if (!isNumber) continue;
      // One that has overflowed is no part of a sum.
      if (values[row] === Infinity) return undefined;
      range = withSquare(withSquare(range, values[row]!), lows[row]!);
      if (range === undefined) return undefined;
    }
    return range;
  }

  #bucketed(known: BinRange, rowCount: number): BinRange | undefined {
    let buckets: BucketRange | undefined = known.buckets;
    for (let row = 0; row < rowCount; row += 1) {
      if (this.present[row] === 0) continue;
      const bucket = bucketOf(this.values[row]!);
      if (bucketPlace(bucket, buckets) >= 0) continue;
      buckets = withBucket(buckets, bucket);
      if (buckets === undefined) return undefined;
    }
    return buckets === known.buckets ? known : { ...known, buckets };
  }

  #read(vector: Vector, rowCount: number): boolean {
    const { values, present } = this;
    if (vector.rep === 'number') {
      const { validity, factor, base } = vector;
      if (validity !== undefined)
        for (let row = 0; row < rowCount; row += 1) if (validity[row] === 0) present[row] = 0;
      const isScaled = factor !== 1 || base !== 0;
      for (let row = 0; row < rowCount; row += 1)
        values[row] = isScaled ? vector.values[row]! * factor + base : vector.values[row]!;
      return this.kind !== 'numeric' || this.#hasScale(vector.scale, rowCount);
    }
    for (let row = 0; row < rowCount; row += 1) {
      const datum = datumAt(vector, row);
      if (datum === null) present[row] = 0;
      if (present[row] === 0) continue;
      if (typeof datum === 'number') values[row] = datum;
      else if (datum instanceof Decimal) {
        const coefficient = Number(datum.coefficient);
        if (datum.special !== undefined || !Number.isSafeInteger(coefficient)) return false;
        this.scale ??= datum.scale;
        if (this.scale !== datum.scale) return false;
        values[row] = coefficient;
      } else return false;
    }
    return true;
  }

  #hasScale(scale: number, rowCount: number): boolean {
    if (this.scale === scale) return true;
    if (this.present.subarray(0, rowCount).indexOf(1) < 0) return true;
    this.scale ??= scale;
    return this.scale === scale;
  }

  #ranged(known: BinRange, vector: Vector, rowCount: number): BinRange | undefined {
    let range: BinRange | undefined = known;
    const { values, present } = this;
    const isFloat = this.kind === 'float';
    if (!this.shape.sums) {
      if (!isFloat || known.special) return known;
      for (let row = 0; row < rowCount; row += 1)
        if (present[row] === 1 && values[row] !== values[row]) return { ...known, special: true };
      return known;
    }
    const bounds = vector.rep === 'number' ? vector.bounds : undefined;
    if (bounds !== undefined && isProven(bounds, known, isFloat)) return known;
    for (let row = 0; row < rowCount; row += 1) {
      if (present[row] === 0 || fitsBins(values[row]!, range)) continue;
      range = widened(range, values[row]!);
      if (range === undefined) return undefined;
    }
    return range;
  }
}

function withSquare(range: BinRange | undefined, part: number): BinRange | undefined {
  return range === undefined || fitsBins(part, range)
    ? range
    : widened(range, part, SQUARE_BIN_COUNT_MAX);
}

/** What is kept of squares: what counts, and what is no number, is told by the term they are of. */
export const SQUARES: TermShape = { counts: false, sums: true, extremes: false, buckets: false };

/** Whether every value within the bounds falls on the bins. */
function isProven(
  bounds: { min: number; max: number; bitMin: number; bitEnd: number; finite: boolean },
  { from, to }: BinRange,
  isFloat: boolean,
): boolean {
  if (isFloat) return bounds.finite && bounds.bitMin >= from * 26 && bounds.bitEnd <= to * 26;
  const limit = 2 ** (to * 26);
  return from <= 0 && to > from && bounds.max < limit && bounds.min > -limit;
}

function writeExtreme(
  out: Datum[],
  row: number,
  call: AggregateCall,
  term: Term,
  place: TermPlace,
  data: Float64Array,
  at: number,
  count: number,
): void {
  // NaN is greater than all numbers.
  const nans = place.special < 0 ? 0 : data[at + place.special]!;
  const isNaN = call.fn === 'max' ? nans > 0 : nans === count;
  const value = isNaN ? NaN : data[at + place.extremes + (call.fn === 'min' ? 0 : 1)]!;
  if (term.kind === 'numeric') out[row] = new Decimal(BigInt(value), term.scale!);
  // Nought is shown without a sign.
  else out[row] = value + 0;
}

/** Of a sum, or an average. */
function writeSum(
  out: Datum[],
  row: number,
  call: AggregateCall,
  term: Term,
  place: TermPlace,
  data: Float64Array,
  at: number,
  count: number,
): void {
  if (term.kind === 'float') {
    const sum = specialSum(place, data, at) ?? roundedBins(place, data, at);
    const value = call.fn === 'avg' ? sum / count : sum;
    out[row] = call.type.kind === 'float4' ? Math.fround(value) : value;
    return;
  }
  const small = smallSum(place, data, at);
  if (call.type.kind === 'int8') {
    out[row] = small ?? int8(wholeSum(place, data, at));
    return;
  }
  const coefficient = small === undefined ? wholeSum(place, data, at) : BigInt(small);
  const sum = new Decimal(coefficient, term.kind === 'numeric' ? term.scale! : 0);
  out[row] = call.fn === 'avg' ? divide(sum, new Decimal(BigInt(count), 0)) : sum;
}

function variance(
  call: AggregateCall,
  term: Term,
  sum: TermPlace,
  ofSquares: TermPlace,
  data: Float64Array,
  at: number,
  count: number,
): Datum {
  if (count < 2 && isOfSample(call.fn)) return null;
  if (term.kind !== 'float') {
    const scale = term.kind === 'numeric' ? term.scale! : 0;
    const [x, xx] = [wholeSum(sum, data, at), wholeSum(ofSquares, data, at)];
    return decimalVarianceOf(call.fn, count, new Decimal(x, scale), new Decimal(xx, scale * 2));
  }
  if (specialSum(sum, data, at) !== undefined) return NaN;
  const x = unitsOf(sum, data, at);
  const xx = BigInt(count) * unitsOf(ofSquares, data, at);
  // Either is a whole number of units of its lowest bin.
  const squareExponent = BIN_BITS * 2 * sum.binFrom;
  const ownExponent = BIN_BITS * ofSquares.binFrom;
  const exponent = Math.min(squareExponent, ownExponent);
  const top =
    (xx << BigInt(ownExponent - exponent)) - ((x * x) << BigInt(squareExponent - exponent));
  return varianceOf(call.fn, count, top, exponent);
}

/** A sum in units of its lowest bin. */
function unitsOf({ sum, bins, binFrom }: TermPlace, data: Float64Array, at: number): bigint {
  let units = 0n;
  for (let bin = 0; bin < bins; bin += 1) {
    const own = data[at + sum + bin]! / 2 ** (BIN_BITS * (binFrom + bin));
    units += BigInt(own) << BigInt(BIN_BITS * bin);
  }
  return units;
}

/** Apart from who asks: a function that makes another has its variables in an object. */
function estimateOf(keys: KeyCounts, slice: number): number {
  return estimateOfEntries((visit) => keys.keys(slice, visit));
}

function percentile(call: AggregateCall, keys: KeyCounts, slice: number, count: number): Datum {
  // A plan of tiles has no parameters any more.
  const fraction = call.args[1] as Extract<Expression, { kind: 'constant' }>;
  const share = fraction.value as number;
  assertFraction(share);
  return bucketValue(keys.keyOfRank(slice, rankOf(share, count)) - BUCKET_KEY);
}

function specialSum(place: TermPlace, data: Float64Array, at: number): number | undefined {
  if (place.special < 0) return undefined;
  const nans = data[at + place.special]!;
  const plus = data[at + place.special + 1]!;
  const minus = data[at + place.special + 2]!;
  if (nans > 0 || (plus > 0 && minus > 0)) return NaN;
  return plus > 0 ? Infinity : minus > 0 ? -Infinity : undefined;
}

/** The double nearest to the exact sum. */
function roundedBins(place: TermPlace, data: Float64Array, at: number): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let count = 0;
  for (let bin = place.bins - 1; bin >= 0; bin -= 1) {
    const value = data[at + place.sum + bin]!;
    if (value === 0) continue;
    count += 1;
    if (count === 1) a = value;
    else if (count === 2) b = value;
    else if (count === 3) c = value;
    else d = value;
  }
  if (count <= 4) {
    const sum = roundedSum(a, b, c, d);
    if (sum !== undefined) return sum + 0;
  }
  let units = 0n;
  for (let bin = 0; bin < place.bins; bin += 1) units += toUnits(data[at + place.sum + bin]!);
  return fromUnits(units);
}

/** A sum of integers as a double where it is one exactly. */
function smallSum(place: TermPlace, data: Float64Array, at: number): number | undefined {
  let sum = 0;
  let size = 0;
  for (let bin = 0; bin < place.bins; bin += 1) {
    const value = data[at + place.sum + bin]!;
    sum += value;
    size += Math.abs(value);
  }
  return size < 2 ** 53 ? (sum === 0 ? 0 : sum) : undefined;
}

function int8(sum: bigint): Datum {
  if (sum >= 2n ** 63n || sum < -(2n ** 63n))
    throw new DbError('22003', 'bigint out of range', { hint: 'Cast the argument to numeric.' });
  return normalInteger(sum);
}

function wholeSum(place: TermPlace, data: Float64Array, at: number): bigint {
  let sum = 0n;
  for (let bin = 0; bin < place.bins; bin += 1) sum += BigInt(data[at + place.sum + bin]!);
  return sum;
}
