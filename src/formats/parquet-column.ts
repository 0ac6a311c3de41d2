import type { ColumnMetaData, SchemaElement } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { DbError } from '../base/errors.ts';
import { Dictionary } from '../columns/dictionary.ts';
import { Decimal, Interval, type Datum } from '../columns/values.ts';
import type { NumberArray, Vector } from '../columns/vector.ts';
import { openDictionary, openPage, type Page, type PageValues } from './parquet-pages.ts';
import type { LeafType, NumberUnit } from './parquet-types.ts';

/** A text column keeps one dictionary for a whole file until it holds this many values. */
const DICTIONARY_SIZE_MAX = 1 << 17;
/** A column chunk with more distinct values than this comes as bytes, not as codes. */
const CHUNK_DICTIONARY_SIZE_MAX = 1 << 16;

/** What a column keeps from one row group to the next. */
export class ParquetColumn {
  readonly name: string;
  readonly element: SchemaElement;
  readonly leaf: LeafType;
  #dictionary: Dictionary | undefined;

  constructor(name: string, element: SchemaElement, leaf: LeafType) {
    this.name = name;
    this.element = element;
    this.leaf = leaf;
  }

  get optional(): boolean {
    return this.element.repetition_type === 'OPTIONAL';
  }

  /** Append-only, and shared by the vectors of many row groups. */
  dictionary(): Dictionary {
    if (this.#dictionary === undefined || this.#dictionary.size >= DICTIONARY_SIZE_MAX)
      this.#dictionary = new Dictionary();
    return this.#dictionary;
  }
}

/** Reads one column of one row group, in pieces of any number of rows, whatever its pages are. */
export class ChunkReader {
  readonly #column: ParquetColumn;
  readonly #meta: ColumnMetaData;
  readonly #reader: { view: DataView; offset: number };
  readonly #bytes: Uint8Array;
  #dictionary: ChunkDictionary | undefined;
  #page: Page | undefined;
  #pageRowsLeft = 0;
  /** Values taken from the page so far, NULLs not counted. */
  #valueAt = 0;

  constructor(column: ParquetColumn, meta: ColumnMetaData, bytes: Uint8Array) {
    this.#column = column;
    this.#meta = meta;
    this.#bytes = bytes;
    this.#reader = {
      view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
      offset: 0,
    };
  }

  /** The next `rowCount` rows. */
  read(rowCount: number): Vector {
    const sink = openSink(this.#column, rowCount);
    let validity: Uint8Array | undefined;
    let done = 0;
    while (done < rowCount) {
      if (this.#pageRowsLeft === 0) this.#nextPage();
      const page = this.#page!;
      const take = Math.min(rowCount - done, this.#pageRowsLeft);
      let present = take;
      if (page.levels !== undefined) {
        validity ??= new Uint8Array(rowCount).fill(1, 0, done);
        page.levels.read(validity, done, take);
        present = 0;
        for (let row = done; row < done + take; row += 1) present += validity[row]!;
      } else validity?.fill(1, done, done + take);
      sink.take(page.values, this.#dictionary, this.#valueAt, present, done);
      if (present < take) sink.spread(validity!, done, take, present);
      this.#valueAt += present;
      this.#pageRowsLeft -= take;
      done += take;
    }
    return sink.finish(validity !== undefined && validity.includes(0) ? validity : undefined);
  }

  #nextPage(): void {
    for (;;) {
      const { view } = this.#reader;
      if (this.#reader.offset >= view.byteLength)
        throw new DbError(
          '22P04',
          `column "${this.#column.name}" has fewer rows than its row group`,
        );
      const header = parquetHeader(this.#reader);
      const start = this.#reader.offset;
      const end = start + Number(header.compressed_page_size);
      if (!(end >= start && end <= view.byteLength))
        throw new DbError('22P04', 'a Parquet page reaches beyond its column');
      const body = this.#bytes.subarray(start, end);
      this.#reader.offset = end;
      const { type, codec } = this.#meta;
      const layout = {
        type,
        codec,
        typeLength: this.#column.element.type_length,
        optional: this.#column.optional,
      };
      if (header.type === 'DICTIONARY_PAGE') {
        this.#dictionary = {
          values: openDictionary(header, body, layout),
          codes: undefined,
          numbers: undefined,
        };
      } else if (header.type === 'DATA_PAGE' || header.type === 'DATA_PAGE_V2') {
        this.#page = openPage(header, body, layout);
        this.#pageRowsLeft = this.#page.rowCount;
        this.#valueAt = 0;
        if (this.#pageRowsLeft > 0) return;
      }
    }
  }
}

/** The dictionary of a column chunk, with what was made of it once for all its pages. */
type ChunkDictionary = {
  readonly values: PageValues & { readonly count: number };
  /** Its entries' codes in the column's dictionary. */
  codes: { readonly of: Int32Array; readonly dictionary: Dictionary } | undefined;
  /** Its entries as numbers. */
  numbers: NumberArray | BigInt64Array | undefined;
};

/** Collects a vector from pieces of pages. */
interface Sink {
  /** `count` values from the page's value `valueAt` on, put densely at row `row`. */
  take(
    values: PageValues,
    dictionary: ChunkDictionary | undefined,
    valueAt: number,
    count: number,
    row: number,
  ): void;
  /** Moves the `present` values at `row` apart, to the rows of `validity` that are 1. */
  spread(validity: Uint8Array, row: number, rowCount: number, present: number): void;
  finish(validity: Uint8Array | undefined): Vector;
}

function openSink(column: ParquetColumn, rowCount: number): Sink {
  const { leaf } = column;
  switch (leaf.kind) {
    case 'boolean':
      return new BooleanSink(leaf, rowCount);
    case 'float':
      return new FloatSink(leaf, rowCount);
    case 'number':
      return new IntegerSink(leaf, rowCount);
    case 'bytes':
      return new BytesSink(column, rowCount);
    default:
      return new ObjectSink(leaf, rowCount);
  }
}

/** Codes of dictionary entries, which a damaged file may have wrong. */
function readCodes(
  values: Extract<PageValues, { kind: 'codes' }>,
  count: number,
  entryCount: number,
): Int32Array {
  const codes = new Int32Array(count);
  values.runs.read(codes, 0, count);
  for (let index = 0; index < count; index += 1) {
    if (codes[index]! >>> 0 >= entryCount)
      throw new DbError('22P04', 'a Parquet page names an entry that its dictionary lacks');
  }
  return codes;
}

function requireDictionary(dictionary: ChunkDictionary | undefined): ChunkDictionary {
  if (dictionary === undefined)
    throw new DbError('22P04', 'a Parquet page refers to a dictionary that is not there');
  return dictionary;
}

function unexpected(values: PageValues): DbError {
  return new DbError(
    '22P04',
    `a Parquet page holds values of another kind than its column (${values.kind})`,
  );
}

/** Backwards, so that nothing is overwritten before it has moved. */
function spreadArray<Value>(
  values: { [index: number]: Value },
  blank: Value,
  validity: Uint8Array,
  row: number,
  rowCount: number,
  present: number,
): void {
  let from = row + present - 1;
  for (let to = row + rowCount - 1; to >= row; to -= 1) {
    if (validity[to] === 1) {
      values[to] = values[from]!;
      from -= 1;
    } else values[to] = blank;
  }
}

class BooleanSink implements Sink {
  readonly #leaf: LeafType;
  readonly #values: Uint8Array;

  constructor(leaf: LeafType, rowCount: number) {
    this.#leaf = leaf;
    this.#values = new Uint8Array(rowCount);
  }

  take(
    values: PageValues,
    _dictionary: ChunkDictionary | undefined,
    valueAt: number,
    count: number,
    row: number,
  ): void {
    if (values.kind === 'booleans') {
      values.runs.read(this.#values, row, count);
      return;
    }
    if (values.kind !== 'bits') throw unexpected(values);
    for (let index = 0; index < count; index += 1) {
      const bit = valueAt + index;
      this.#values[row + index] = (values.bytes[bit >> 3]! >> (bit & 7)) & 1;
    }
  }

  spread(validity: Uint8Array, row: number, rowCount: number, present: number): void {
    spreadArray(this.#values, 0, validity, row, rowCount, present);
  }

  finish(validity: Uint8Array | undefined): Vector {
    return { rep: 'boolean', type: this.#leaf.type, values: this.#values, validity };
  }
}

class FloatSink implements Sink {
  readonly #leaf: LeafType;
  readonly #values: Float32Array | Float64Array;

  constructor(leaf: LeafType, rowCount: number) {
    this.#leaf = leaf;
    this.#values =
      leaf.type.kind === 'float4' ? new Float32Array(rowCount) : new Float64Array(rowCount);
  }

  take(
    values: PageValues,
    dictionary: ChunkDictionary | undefined,
    valueAt: number,
    count: number,
    row: number,
  ): void {
    if (values.kind === 'float32' || values.kind === 'float64') {
      this.#values.set(values.values.subarray(valueAt, valueAt + count), row);
      return;
    }
    if (values.kind !== 'codes') throw unexpected(values);
    const entries = requireDictionary(dictionary).values;
    if (entries.kind !== 'float32' && entries.kind !== 'float64') throw unexpected(entries);
    const codes = readCodes(values, count, entries.count);
    if (entries.kind === 'float32')
      gatherFloats(entries.values, codes, this.#values as Float32Array, row);
    else gatherDoubles(entries.values, codes, this.#values as Float64Array, row);
  }

  spread(validity: Uint8Array, row: number, rowCount: number, present: number): void {
    spreadArray(this.#values, 0, validity, row, rowCount, present);
  }

  finish(validity: Uint8Array | undefined): Vector {
    return {
      rep: 'number',
      type: this.#leaf.type,
      values: this.#values,
      validity,
      factor: 1,
      base: 0,
      scale: 0,
    };
  }
}

function gatherDoubles(
  entries: Float64Array,
  codes: Int32Array,
  out: Float64Array,
  row: number,
): void {
  for (let index = 0; index < codes.length; index += 1) out[row + index] = entries[codes[index]!]!;
}

function gatherFloats(
  entries: Float32Array,
  codes: Int32Array,
  out: Float32Array,
  row: number,
): void {
  for (let index = 0; index < codes.length; index += 1) out[row + index] = entries[codes[index]!]!;
}

// ── Integers, dates, times, decimals that are stored as integers ───────────────────────────────────────────────

/** Doubles while all values are safe, from then on 64-bit integers. */
class IntegerSink implements Sink {
  readonly #leaf: Extract<LeafType, { kind: 'number' }>;
  #values: Float64Array | BigInt64Array;
  /** Unsigned 64-bit numbers beyond 2^63 fit neither. */
  #objects: (bigint | null)[] | undefined;

  constructor(leaf: Extract<LeafType, { kind: 'number' }>, rowCount: number) {
    this.#leaf = leaf;
    this.#values = new Float64Array(rowCount);
  }

  take(
    values: PageValues,
    dictionary: ChunkDictionary | undefined,
    valueAt: number,
    count: number,
    row: number,
  ): void {
    const { unit } = this.#leaf;
    if (values.kind === 'int32') this.#put32(values.values.subarray(valueAt, valueAt + count), row);
    else if (values.kind === 'int64')
      this.#put64(values.words.subarray(valueAt * 2, (valueAt + count) * 2), row);
    else if (values.kind === 'codes') {
      const chunk = requireDictionary(dictionary);
      const codes = readCodes(values, count, chunk.values.count);
      chunk.numbers ??= integersOf(chunk.values, unit);
      this.#gather(chunk.numbers, codes, row);
    } else throw unexpected(values);
  }

  #put32(words: Int32Array, row: number): void {
    const numbers = numbersOf32(words, this.#leaf.unit);
    if (this.#values instanceof Float64Array) this.#values.set(numbers, row);
    else
      for (let index = 0; index < numbers.length; index += 1)
        this.#putBig(row + index, BigInt(numbers[index]!));
  }

  #put64(words: Int32Array, row: number): void {
    const { unit } = this.#leaf;
    if (this.#values instanceof Float64Array) {
      const isSafe =
        unit.kind === 'thousandth'
          ? thousandths(words, this.#values, row)
          : doublesOf64(words, unit, this.#values, row);
      if (isSafe) return;
    }
    this.#widen();
    const values = new BigInt64Array(words.slice().buffer);
    for (let index = 0; index < values.length; index += 1)
      this.#putBig(row + index, exactly(values[index]!, unit));
  }

  #gather(numbers: NumberArray | BigInt64Array, codes: Int32Array, row: number): void {
    if (numbers instanceof Float64Array && this.#values instanceof Float64Array) {
      gatherDoubles(numbers, codes, this.#values, row);
      return;
    }
    if (numbers instanceof BigInt64Array) this.#widen();
    for (let index = 0; index < codes.length; index += 1) {
      const value = numbers[codes[index]!]!;
      if (this.#values instanceof Float64Array) this.#values[row + index] = Number(value);
      else this.#putBig(row + index, BigInt(value));
    }
  }

  #widen(): void {
    if (this.#values instanceof BigInt64Array) return;
    const wide = new BigInt64Array(this.#values.length);
    for (let index = 0; index < wide.length; index += 1) wide[index] = BigInt(this.#values[index]!);
    this.#values = wide;
  }

  #putBig(row: number, value: bigint): void {
    const values = this.#values as BigInt64Array;
    if (value >= -(2n ** 63n) && value < 2n ** 63n) values[row] = value;
    else (this.#objects ??= Array.from({ length: values.length }, () => null))[row] = value;
  }

  spread(validity: Uint8Array, row: number, rowCount: number, present: number): void {
    if (this.#values instanceof Float64Array)
      spreadArray(this.#values, 0, validity, row, rowCount, present);
    else spreadArray(this.#values, 0n, validity, row, rowCount, present);
    if (this.#objects !== undefined)
      spreadArray(this.#objects, null, validity, row, rowCount, present);
  }

  finish(validity: Uint8Array | undefined): Vector {
    const { type, scale } = this.#leaf;
    const values = this.#values;
    if (this.#objects !== undefined) {
      const objects = this.#objects.map((value, row): Datum => {
        if (validity !== undefined && validity[row] === 0) return null;
        return new Decimal(value ?? (values as BigInt64Array)[row]!, scale);
      });
      return { rep: 'object', type, values: objects };
    }
    if (values instanceof BigInt64Array) return { rep: 'bigint', type, values, validity, scale };
    const narrow =
      type.kind === 'int2' || type.kind === 'int4' || type.kind === 'date'
        ? Int32Array.from(values)
        : values;
    return { rep: 'number', type, values: narrow, validity, factor: 1, base: 0, scale };
  }
}

/** A dictionary's entries in the leaf's own unit. */
function integersOf(entries: PageValues, unit: NumberUnit): Float64Array | BigInt64Array {
  if (entries.kind === 'int32') return numbersOf32(entries.values, unit);
  if (entries.kind !== 'int64') throw unexpected(entries);
  const numbers = new Float64Array(entries.words.length / 2);
  const isSafe =
    unit.kind === 'thousandth'
      ? thousandths(entries.words, numbers, 0)
      : doublesOf64(entries.words, unit, numbers, 0);
  if (isSafe) return numbers;
  return BigInt64Array.from(new BigInt64Array(entries.words.slice().buffer), (value) =>
    exactly(value, unit),
  );
}

function numbersOf32(words: Int32Array, unit: NumberUnit): Float64Array {
  const numbers = Float64Array.from(words);
  if (unit.kind === 'thousandfold')
    for (let index = 0; index < numbers.length; index += 1) numbers[index] = numbers[index]! * 1000;
  if (unit.kind === 'unsigned')
    for (let index = 0; index < numbers.length; index += 1) numbers[index] = words[index]! >>> 0;
  return numbers;
}

/** False where some value is not a safe integer; the numbers are then noise. */
function doublesOf64(words: Int32Array, unit: NumberUnit, out: Float64Array, row: number): boolean {
  const factor = unit.kind === 'thousandfold' ? 1000 : 1;
  // |high × 2^32 + low| stays safe for highs within ±2^21, and a thousandth of that where it is multiplied.
  const highMax = factor === 1 ? 0x1f_ffff : 0x800;
  const count = words.length / 2;
  let isSafe = true;
  for (let index = 0; index < count; index += 1) {
    const high = words[index * 2 + 1]!;
    if (high > highMax || high < -highMax) isSafe = false;
    out[row + index] = (high * 4_294_967_296 + (words[index * 2]! >>> 0)) * factor;
  }
  return isSafe;
}

/** Nanoseconds to microseconds, downwards and exactly: the high word is divided first, its rest carried. */
function thousandths(words: Int32Array, out: Float64Array, row: number): boolean {
  const count = words.length / 2;
  for (let index = 0; index < count; index += 1) {
    const high = words[index * 2 + 1]!;
    const quotient = Math.floor(high / 1000);
    const rest = (high - quotient * 1000) * 4_294_967_296 + (words[index * 2]! >>> 0);
    out[row + index] = quotient * 4_294_967_296 + Math.floor(rest / 1000);
  }
  // 2^63 nanoseconds are 2^53.03 microseconds.
  for (let index = row; index < row + count; index += 1)
    if (!Number.isSafeInteger(out[index]!)) return false;
  return true;
}

function exactly(value: bigint, unit: NumberUnit): bigint {
  if (unit.kind === 'thousandfold') {
    const micros = value * 1000n;
    if (BigInt.asIntN(64, micros) !== micros) throw new DbError('22008', 'timestamp out of range');
    return micros;
  }
  if (unit.kind === 'thousandth') return (value - (((value % 1000n) + 1000n) % 1000n)) / 1000n;
  return unit.kind === 'unsigned' ? BigInt.asUintN(64, value) : value;
}

// ── Texts and bytes ────────────────────────────────────────────────────────────────────────────────────────────

/** Codes while every page refers to a small dictionary; the bytes themselves otherwise. */
class BytesSink implements Sink {
  readonly #column: ParquetColumn;
  readonly #rowCount: number;
  #codes: Int32Array | undefined;
  #dictionary: Dictionary | undefined;
  /** Where each row's bytes are, once they come as bytes: in `#sources[source]`. */
  #starts: Uint32Array | undefined;
  #lengths: Uint32Array | undefined;
  #sourceOf: Int32Array | undefined;
  readonly #sources: Uint8Array[] = [];

  constructor(column: ParquetColumn, rowCount: number) {
    this.#column = column;
    this.#rowCount = rowCount;
  }

  take(
    values: PageValues,
    dictionary: ChunkDictionary | undefined,
    valueAt: number,
    count: number,
    row: number,
  ): void {
    if (values.kind === 'codes') {
      const chunk = requireDictionary(dictionary);
      const entries = chunk.values;
      if (entries.kind !== 'bytes') throw unexpected(entries);
      const codes = readCodes(values, count, entries.count);
      if (this.#starts === undefined && this.#takeCodes(chunk, entries, codes, row)) return;
      this.#toBytes(row);
      const source = this.#source(entries.bytes);
      for (let index = 0; index < count; index += 1) {
        const entry = codes[index]!;
        this.#place(row + index, source, entries.starts[entry]!, entries.lengths[entry]!);
      }
      return;
    }
    if (values.kind !== 'bytes') throw unexpected(values);
    this.#toBytes(row);
    const source = this.#source(values.bytes);
    for (let index = 0; index < count; index += 1) {
      this.#place(
        row + index,
        source,
        values.starts[valueAt + index]!,
        values.lengths[valueAt + index]!,
      );
    }
  }

  /** False where the chunk's dictionary is too large, or not the one that the rows so far refer to. */
  #takeCodes(
    chunk: ChunkDictionary,
    entries: Extract<PageValues, { kind: 'bytes' }>,
    codes: Int32Array,
    row: number,
  ): boolean {
    const entryCount = entries.starts.length;
    if (entryCount > CHUNK_DICTIONARY_SIZE_MAX) return false;
    if (chunk.codes === undefined) {
      const dictionary = this.#column.dictionary();
      const of = new Int32Array(entryCount);
      for (let entry = 0; entry < entryCount; entry += 1) {
        const start = entries.starts[entry]!;
        of[entry] = dictionary.addBytes(entries.bytes, start, start + entries.lengths[entry]!);
      }
      chunk.codes = { of, dictionary };
    }
    if (this.#dictionary !== undefined && this.#dictionary !== chunk.codes.dictionary) return false;
    this.#dictionary = chunk.codes.dictionary;
    this.#codes ??= new Int32Array(this.#rowCount);
    const { of } = chunk.codes;
    for (let index = 0; index < codes.length; index += 1)
      this.#codes[row + index] = of[codes[index]!]!;
    return true;
  }

  /** Rows before `row` that came as codes become bytes like the rest. */
  #toBytes(row: number): void {
    if (this.#starts !== undefined) return;
    this.#starts = new Uint32Array(this.#rowCount);
    this.#lengths = new Uint32Array(this.#rowCount);
    this.#sourceOf = new Int32Array(this.#rowCount);
    const codes = this.#codes;
    if (codes === undefined) return;
    const dictionary = this.#dictionary!;
    for (let index = 0; index < row; index += 1) {
      // NULLs have code 0, which is some entry, and are noise either way.
      this.#place(
        index,
        this.#source(dictionary.byteChunk(codes[index]!)),
        dictionary.byteStart(codes[index]!),
        dictionary.byteLength(codes[index]!),
      );
    }
    this.#codes = undefined;
  }

  #source(bytes: Uint8Array): number {
    if (this.#sources.at(-1) !== bytes) this.#sources.push(bytes);
    return this.#sources.length - 1;
  }

  #place(row: number, source: number, start: number, length: number): void {
    this.#sourceOf![row] = source;
    this.#starts![row] = start;
    this.#lengths![row] = length;
  }

  spread(validity: Uint8Array, row: number, rowCount: number, present: number): void {
    if (this.#codes !== undefined) spreadArray(this.#codes, 0, validity, row, rowCount, present);
    if (this.#starts === undefined) return;
    spreadArray(this.#starts, 0, validity, row, rowCount, present);
    spreadArray(this.#lengths!, 0, validity, row, rowCount, present);
    spreadArray(this.#sourceOf!, 0, validity, row, rowCount, present);
  }

  finish(validity: Uint8Array | undefined): Vector {
    const { type } = this.#column.leaf;
    const rowCount = this.#rowCount;
    if (this.#codes !== undefined) {
      return {
        rep: 'dictionary',
        type,
        codes: this.#codes,
        validity,
        dictionary: this.#dictionary!,
      };
    }
    const offsets = new Uint32Array(rowCount + 1);
    const starts = this.#starts ?? new Uint32Array(rowCount);
    const lengths = this.#lengths ?? new Uint32Array(rowCount);
    let total = 0;
    for (let row = 0; row < rowCount; row += 1) {
      total += lengths[row]!;
      offsets[row + 1] = total;
    }
    const bytes = new Uint8Array(total);
    for (let row = 0; row < rowCount; row += 1) {
      const length = lengths[row]!;
      if (length === 0) continue;
      const source = this.#sources[this.#sourceOf![row]!]!;
      const start = starts[row]!;
      const to = offsets[row]!;
      if (length > 32) bytes.set(source.subarray(start, start + length), to);
      else for (let at = 0; at < length; at += 1) bytes[to + at] = source[start + at]!;
    }
    return { rep: 'bytes', type, offsets, bytes, validity };
  }
}

// ── The rest: decimals in bytes, INT96, half floats, intervals ─────────────────────────────────────────────────

class ObjectSink implements Sink {
  readonly #leaf: LeafType;
  readonly #values: Datum[];

  constructor(leaf: LeafType, rowCount: number) {
    this.#leaf = leaf;
    this.#values = Array.from({ length: rowCount }, () => null);
  }

  take(
    values: PageValues,
    dictionary: ChunkDictionary | undefined,
    valueAt: number,
    count: number,
    row: number,
  ): void {
    if (values.kind === 'codes') {
      const entries = requireDictionary(dictionary).values;
      const codes = readCodes(values, count, entries.count);
      for (let index = 0; index < count; index += 1)
        this.#values[row + index] = datumOf(entries, codes[index]!, this.#leaf);
      return;
    }
    for (let index = 0; index < count; index += 1)
      this.#values[row + index] = datumOf(values, valueAt + index, this.#leaf);
  }

  spread(validity: Uint8Array, row: number, rowCount: number, present: number): void {
    spreadArray<Datum>(this.#values, null, validity, row, rowCount, present);
  }

  finish(): Vector {
    const { type } = this.#leaf;
    if (this.#leaf.kind === 'float16' || this.#leaf.kind === 'int96') {
      const values = Float64Array.from(this.#values, (value) => Number(value ?? 0));
      const validity = this.#values.includes(null)
        ? Uint8Array.from(this.#values, (value) => (value === null ? 0 : 1))
        : undefined;
      return { rep: 'number', type, values, validity, factor: 1, base: 0, scale: 0 };
    }
    return { rep: 'object', type, values: this.#values };
  }
}

/** Julian day number of 1970-01-01. */
const JULIAN_DAY_OF_EPOCH = 2_440_588;

function datumOf(values: PageValues, index: number, leaf: LeafType): Datum {
  if (values.kind === 'int96') {
    const low = values.words[index * 3]! >>> 0;
    const nanos = values.words[index * 3 + 1]! * 4_294_967_296 + low;
    return (
      (values.words[index * 3 + 2]! - JULIAN_DAY_OF_EPOCH) * 86_400_000_000 +
      Math.floor(nanos / 1000)
    );
  }
  if (values.kind !== 'bytes') throw unexpected(values);
  const start = values.starts[index]!;
  const bytes = values.bytes.subarray(start, start + values.lengths[index]!);
  if (leaf.kind === 'decimalBytes') return new Decimal(bigEndian(bytes), leaf.scale);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (leaf.kind === 'float16') return halfFloat(view.getUint16(0, true));
  return new Interval(
    view.getUint32(0, true),
    view.getUint32(4, true),
    view.getUint32(8, true) * 1000,
  );
}

/** Two's complement, most significant byte first. */
function bigEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  let at = 0;
  for (; at + 4 <= bytes.length; at += 4) {
    value =
      (value << 32n) |
      BigInt(
        ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>>
          0,
      );
  }
  for (; at < bytes.length; at += 1) value = (value << 8n) | BigInt(bytes[at]!);
  return bytes.length === 0 ? 0n : BigInt.asIntN(bytes.length * 8, value);
}

function halfFloat(bits: number): number {
  const sign = bits >> 15 === 0 ? 1 : -1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
