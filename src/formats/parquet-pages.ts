import type { CompressionCodec, PageHeader, ParquetType } from 'hyparquet';
import { snappyUncompress } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { deltaBinaryUnpack, deltaByteArray, deltaLengthByteArray } from 'hyparquet/src/delta.js';
import { byteStreamSplit } from 'hyparquet/src/encoding.js';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { DbError } from '../base/errors.ts';

/**
 * The values of one page, still encoded: numbers as they lie in the file, byte strings where they lie, or codes of the
 * column chunk's dictionary. hyparquet reads files, headers and the rarer encodings; the common ones are read here straight
 * into typed arrays, which is what makes the difference between an array of Dates and a column.
 */
export type PageValues =
  | { readonly kind: 'int32'; readonly values: Int32Array }
  /** Little-endian 64-bit integers as pairs of words, low word first. */
  | { readonly kind: 'int64'; readonly words: Int32Array }
  | { readonly kind: 'int96'; readonly words: Int32Array }
  | { readonly kind: 'float32'; readonly values: Float32Array }
  | { readonly kind: 'float64'; readonly values: Float64Array }
  /** One bit a value, lowest first. */
  | { readonly kind: 'bits'; readonly bytes: Uint8Array }
  | { readonly kind: 'booleans'; readonly runs: RunDecoder }
  | {
      readonly kind: 'bytes';
      readonly bytes: Uint8Array;
      readonly starts: Uint32Array;
      readonly lengths: Uint32Array;
    }
  | { readonly kind: 'codes'; readonly runs: RunDecoder };

export type Page = {
  readonly rowCount: number;
  /** 1 where a value is present; undefined where the column may hold no NULL. */
  readonly levels: RunDecoder | undefined;
  readonly values: PageValues;
};

/** A data page of a flat column, whose definition level is 0 or 1. */
export function openPage(
  header: PageHeader,
  body: Uint8Array,
  column: {
    readonly type: ParquetType;
    readonly typeLength: number | undefined;
    readonly codec: CompressionCodec;
    readonly optional: boolean;
  },
): Page {
  const v1 = header.data_page_header;
  const v2 = header.data_page_header_v2;
  if (v1 !== undefined) {
    const bytes = decompress(body, Number(header.uncompressed_page_size), column.codec);
    let at = 0;
    let levels: RunDecoder | undefined;
    if (column.optional) {
      const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
      levels = new RunDecoder(bytes, 4, 4 + length, 1);
      at = 4 + length;
    }
    const valueCountMax = v1.num_values;
    return {
      rowCount: v1.num_values,
      levels,
      values: readValues(v1.encoding, bytes.subarray(at), valueCountMax, column, levels),
    };
  }
  if (v2 === undefined) throw new DbError('22P04', 'a Parquet page of an unknown kind');
  const levelBytes = v2.repetition_levels_byte_length + v2.definition_levels_byte_length;
  const levels = column.optional
    ? new RunDecoder(body, v2.repetition_levels_byte_length, levelBytes, 1)
    : undefined;
  const rest = body.subarray(levelBytes);
  const bytes =
    v2.is_compressed === false
      ? rest
      : decompress(rest, Number(header.uncompressed_page_size) - levelBytes, column.codec);
  return {
    rowCount: v2.num_values,
    levels,
    values: readValues(v2.encoding, bytes, v2.num_values, column, levels),
  };
}

/** A dictionary page's values. */
export function openDictionary(
  header: PageHeader,
  body: Uint8Array,
  column: {
    readonly type: ParquetType;
    readonly typeLength: number | undefined;
    readonly codec: CompressionCodec;
  },
): PageValues & { readonly count: number } {
  const bytes = decompress(body, Number(header.uncompressed_page_size), column.codec);
  const count = header.dictionary_page_header?.num_values ?? 0;
  return { ...readPlain(bytes, count, column.type, column.typeLength), count };
}

function readValues(
  encoding: string,
  bytes: Uint8Array,
  rowCount: number,
  column: { readonly type: ParquetType; readonly typeLength: number | undefined },
  levels: RunDecoder | undefined,
): PageValues {
  // NULLs have no value in the page, so a page holds as many as there are levels of 1.
  const count = levels === undefined ? rowCount : levels.countOnes(rowCount);
  const { type, typeLength } = column;
  const reader = {
    view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    offset: 0,
  };
  switch (encoding) {
    case 'PLAIN':
      return readPlain(bytes, count, type, typeLength);
    case 'PLAIN_DICTIONARY':
    case 'RLE_DICTIONARY':
      return {
        kind: 'codes',
        runs: new RunDecoder(bytes, 1, bytes.length, count === 0 ? 0 : bytes[0]!),
      };
    case 'RLE':
      return { kind: 'booleans', runs: new RunDecoder(bytes, 4, bytes.length, 1) };
    case 'DELTA_BINARY_PACKED': {
      const values = type === 'INT32' ? new Int32Array(count) : new BigInt64Array(count);
      if (count > 0) deltaBinaryUnpack(reader, count, values);
      return values instanceof Int32Array
        ? { kind: 'int32', values }
        : { kind: 'int64', words: new Int32Array(values.buffer) };
    }
    case 'DELTA_LENGTH_BYTE_ARRAY':
    case 'DELTA_BYTE_ARRAY': {
      const values = Array.from({ length: count }, () => bytes);
      if (count > 0)
        (encoding === 'DELTA_BYTE_ARRAY' ? deltaByteArray : deltaLengthByteArray)(
          reader,
          count,
          values,
        );
      return joinBytes(values);
    }
    case 'BYTE_STREAM_SPLIT': {
      const values = byteStreamSplit(reader, count, type, typeLength);
      if (values instanceof Float32Array) return { kind: 'float32', values };
      if (values instanceof Float64Array) return { kind: 'float64', values };
      if (values instanceof Int32Array) return { kind: 'int32', values };
      if (values instanceof BigInt64Array)
        return { kind: 'int64', words: new Int32Array(values.buffer) };
      return joinBytes(values as Uint8Array[]);
    }
    default:
      throw new DbError('0A000', `Parquet encoding ${encoding} is not supported yet`, {
        hint: 'Write the file with plain or dictionary encoding.',
      });
  }
}

function readPlain(
  bytes: Uint8Array,
  count: number,
  type: ParquetType,
  typeLength: number | undefined,
): PageValues {
  switch (type) {
    case 'BOOLEAN':
      requireBytes(bytes, (count + 7) >> 3);
      return { kind: 'bits', bytes };
    case 'INT32':
      return { kind: 'int32', values: new Int32Array(aligned(bytes, count * 4), 0, count) };
    case 'INT64':
      return { kind: 'int64', words: new Int32Array(aligned(bytes, count * 8), 0, count * 2) };
    case 'INT96':
      return { kind: 'int96', words: new Int32Array(aligned(bytes, count * 12), 0, count * 3) };
    case 'FLOAT':
      return { kind: 'float32', values: new Float32Array(aligned(bytes, count * 4), 0, count) };
    case 'DOUBLE':
      return { kind: 'float64', values: new Float64Array(aligned(bytes, count * 8), 0, count) };
    case 'FIXED_LEN_BYTE_ARRAY': {
      const width = typeLength ?? 0;
      requireBytes(bytes, count * width);
      const starts = new Uint32Array(count);
      for (let index = 0; index < count; index += 1) starts[index] = index * width;
      return { kind: 'bytes', bytes, starts, lengths: new Uint32Array(count).fill(width) };
    }
    default: {
      const starts = new Uint32Array(count);
      const lengths = new Uint32Array(count);
      let at = 0;
      for (let index = 0; index < count; index += 1) {
        const length =
          (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>>
          0;
        starts[index] = at + 4;
        lengths[index] = length;
        at += 4 + length;
        if (at > bytes.length) throw tooShort();
      }
      return { kind: 'bytes', bytes, starts, lengths };
    }
  }
}

/** The first `length` bytes in a buffer of their own, where 4 and 8 byte numbers are aligned. */
function aligned(bytes: Uint8Array, length: number): ArrayBuffer {
  requireBytes(bytes, length);
  return bytes.slice(0, length).buffer;
}

function requireBytes(bytes: Uint8Array, length: number): void {
  if (bytes.length < length) throw tooShort();
}

function tooShort(): DbError {
  return new DbError('22P04', 'a Parquet page is shorter than its values');
}

function joinBytes(values: readonly Uint8Array[]): PageValues {
  let total = 0;
  for (const value of values) total += value.length;
  const bytes = new Uint8Array(total);
  const starts = new Uint32Array(values.length);
  const lengths = new Uint32Array(values.length);
  let at = 0;
  values.forEach((value, index) => {
    bytes.set(value, at);
    starts[index] = at;
    lengths[index] = value.length;
    at += value.length;
  });
  return { kind: 'bytes', bytes, starts, lengths };
}

/** A page is at most this long once it is decompressed; a file that says otherwise is not to be believed. */
const PAGE_BYTES_MAX = 1 << 30;

function decompress(bytes: Uint8Array, length: number, codec: CompressionCodec): Uint8Array {
  if (!(length >= 0 && length <= PAGE_BYTES_MAX))
    throw new DbError('22P04', 'a Parquet page of an impossible size');
  if (codec === 'UNCOMPRESSED' || length === 0) return bytes;
  let page: Uint8Array | undefined;
  if (codec === 'SNAPPY') {
    page = compressors.SNAPPY?.(bytes, length);
    if (page === undefined) snappyUncompress(bytes, (page = new Uint8Array(length)));
  } else if (codec === 'GZIP') page = gunzipSync(bytes, { maxOutputLength: PAGE_BYTES_MAX });
  else if (codec === 'BROTLI')
    page = brotliDecompressSync(bytes, { maxOutputLength: PAGE_BYTES_MAX });
  else page = compressors[codec]?.(bytes, length);
  if (page === undefined)
    throw new DbError('0A000', `Parquet compression ${codec} is not supported yet`, {
      hint: 'Write the file with Snappy, gzip, Brotli or Zstandard, or without compression.',
    });
  if (page.length !== length)
    throw new DbError('22P04', 'a Parquet page does not have the size its header says');
  return page;
}

/** Parquet's hybrid of run lengths and bit packing, read in pieces of any length. */
export class RunDecoder {
  readonly #bytes: Uint8Array;
  readonly #start: number;
  readonly #end: number;
  readonly #width: number;
  #at: number;
  #runLeft = 0;
  #runValue = 0;
  /** Values left of a bit-packed run, and the bit that the next begins at. */
  #packedLeft = 0;
  #bit = 0;

  constructor(bytes: Uint8Array, start: number, end: number, width: number) {
    if (width > 32 || end > bytes.length) throw tooShort();
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    this.#width = width;
    this.#at = start;
  }

  /** How many of the first `count` values are 1, for levels of width 1. Reading goes on from the start. */
  countOnes(count: number): number {
    let ones = 0;
    let left = count;
    const piece = new Int32Array(Math.min(count, 4096));
    while (left > 0) {
      this.#refill();
      if (this.#runLeft > 0) {
        const take = Math.min(left, this.#runLeft);
        if (this.#runValue === 1) ones += take;
        this.#runLeft -= take;
        left -= take;
        continue;
      }
      const take = Math.min(left, this.#packedLeft, piece.length);
      this.#unpack(piece, 0, take);
      for (let index = 0; index < take; index += 1) ones += piece[index]!;
      left -= take;
    }
    this.#at = this.#start;
    this.#runLeft = 0;
    this.#packedLeft = 0;
    return ones;
  }

  /** The next `count` values into out[from …). */
  read(out: Int32Array | Uint8Array, from: number, count: number): void {
    let at = from;
    let left = count;
    if (this.#width === 0) {
      out.fill(0, from, from + count);
      return;
    }
    while (left > 0) {
      this.#refill();
      let take: number;
      if (this.#runLeft > 0) {
        take = Math.min(left, this.#runLeft);
        out.fill(this.#runValue, at, at + take);
        this.#runLeft -= take;
      } else {
        take = Math.min(left, this.#packedLeft);
        this.#unpack(out, at, take);
      }
      at += take;
      left -= take;
    }
  }

  /** Afterwards there is a run or a packed value to take. */
  #refill(): void {
    while (this.#runLeft === 0 && this.#packedLeft === 0) {
      let header = 0;
      let factor = 1;
      for (;;) {
        if (this.#at >= this.#end) throw tooShort();
        const byte = this.#bytes[this.#at]!;
        this.#at += 1;
        header += (byte & 0x7f) * factor;
        factor *= 128;
        if (byte < 128) break;
      }
      if (header % 2 === 1) {
        const groups = (header - 1) / 2;
        this.#packedLeft = groups * 8;
        this.#bit = this.#at * 8;
        // The last group may be cut short by the end of the page.
        this.#at = Math.min(this.#at + groups * this.#width, this.#end);
      } else {
        this.#runLeft = header / 2;
        this.#runValue = 0;
        for (let byte = 0; byte < (this.#width + 7) >> 3; byte += 1) {
          this.#runValue |= this.#bytes[this.#at]! << (byte * 8);
          this.#at += 1;
        }
      }
    }
  }

  #unpack(out: Int32Array | Uint8Array, from: number, count: number): void {
    const width = this.#width;
    if (width <= 24) unpackNarrow(this.#bytes, this.#bit, width, out, from, count);
    else unpackWide(this.#bytes, this.#bit, width, out, from, count);
    this.#bit += width * count;
    this.#packedLeft -= count;
  }
}

/** Four bytes hold any value of up to 24 bits, wherever in the first byte it begins. */
function unpackNarrow(
  bytes: Uint8Array,
  bitStart: number,
  width: number,
  out: Int32Array | Uint8Array,
  from: number,
  count: number,
): void {
  const mask = (1 << width) - 1;
  const last = bytes.length - 4;
  // Bits are counted from here on: a page has more of them than an int32 can count.
  let at = Math.floor(bitStart / 8);
  let bit = bitStart - at * 8;
  for (let index = from; index < from + count; index += 1) {
    const word =
      at <= last
        ? bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
        : byteAt(bytes, at) |
          (byteAt(bytes, at + 1) << 8) |
          (byteAt(bytes, at + 2) << 16) |
          (byteAt(bytes, at + 3) << 24);
    out[index] = (word >>> bit) & mask;
    bit += width;
    at += bit >> 3;
    bit &= 7;
  }
}

function unpackWide(
  bytes: Uint8Array,
  bitStart: number,
  width: number,
  out: Int32Array | Uint8Array,
  from: number,
  count: number,
): void {
  let bit = bitStart;
  for (let index = from; index < from + count; index += 1) {
    let value = 0;
    for (let i = 0; i < width; i += 1) {
      const at = bit + i;
      if (((byteAt(bytes, Math.floor(at / 8)) >> (at & 7)) & 1) === 1) value |= 1 << i;
    }
    out[index] = value;
    bit += width;
  }
}

function byteAt(bytes: Uint8Array, at: number): number {
  return at < bytes.length ? bytes[at]! : 0;
}
