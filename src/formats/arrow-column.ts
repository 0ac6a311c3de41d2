import { DbError } from '../base/errors.ts';
import { gather, vectorFromData } from '../columns/build.ts';
import { Dictionary } from '../columns/dictionary.ts';
import { isTextType, type SqlType } from '../columns/types.ts';
import { Decimal, Interval, normalInteger, type Datum } from '../columns/values.ts';
import type { NumberArray, Vector } from '../columns/vector.ts';
import type { ArrowBatch } from './arrow-messages.ts';
import type { ArrowColumn, ArrowLayout, TimeUnit } from './arrow-types.ts';

/** Reads rows [start, start + count) of a column of one record batch. */
export type ArrowCells = (start: number, count: number) => Vector;

/** The values of a dictionary, read whole; texts have codes of ours. */
export type ArrowDictionary = { readonly values: Vector; readonly rowCount: number };

/** Takes the nodes and buffers of a record batch one after the other, as the columns stand in it. */
export class BatchBuffers {
  readonly #batch: ArrowBatch;
  #node = 0;
  #buffer = 0;
  #views = 0;

  constructor(batch: ArrowBatch) {
    this.#batch = batch;
  }

  /** Reads a column from here on. */
  column(column: ArrowColumn, dictionaries: ReadonlyMap<number, ArrowDictionary>): ArrowCells {
    const { dictionary } = column;
    if (dictionary === undefined) return this.values(column.layout, column.type);
    const values = dictionaries.get(dictionary.id);
    const codes = this.values(dictionary.index, { kind: 'int8' });
    return (start, count) => {
      const indices = codes(start, count);
      if (values === undefined) throw new RangeError('a dictionary is missing');
      return looked(indices, count, values, column.type);
    };
  }

  /** Reads plain values: of a column, or of a dictionary. */
  values(layout: ArrowLayout, type: SqlType): ArrowCells {
    const node = this.#batch.nodes[this.#node];
    if (node === undefined) throw new RangeError('a record batch has too few columns');
    this.#node += 1;
    const { length } = node;
    if (length < 0) throw new RangeError('a column has a negative length');
    if (layout.kind === 'null')
      return (_, count) =>
        vectorFromData(
          type,
          Array.from({ length: count }, () => null),
        );
    const bitmap = this.#take();
    const hasNulls = node.nullCount !== 0 && bitmap.length > 0;
    if (hasNulls && bitmap.length * 8 < length) throw new RangeError('a bitmap is too short');
    const validityOf = (start: number, count: number): Uint8Array | undefined =>
      hasNulls ? bits(bitmap, start, count) : undefined;
    const read = this.#layout(layout, type, length);
    return (start, count) => {
      if (start + count > length) throw new RangeError('a column is shorter than its record batch');
      return read(start, count, validityOf(start, count));
    };
  }

  #take(): Uint8Array {
    const bytes = this.#batch.buffers[this.#buffer];
    if (bytes === undefined) throw new RangeError('a record batch has too few buffers');
    this.#buffer += 1;
    return bytes;
  }

  #layout(layout: Exclude<ArrowLayout, { kind: 'null' }>, type: SqlType, length: number): Read {
    switch (layout.kind) {
      case 'bool': {
        const bytes = this.#take();
        if (bytes.length * 8 < length) throw new RangeError('a column is too short');
        return (start, count, validity) => ({
          rep: 'boolean',
          type,
          values: bits(bytes, start, count),
          validity,
        });
      }
      case 'int':
        return integers(this.#take(), layout, type, length);
      case 'float': {
        const values =
          layout.bits === 64
            ? array(this.#take(), Float64Array, length)
            : layout.bits === 32
              ? array(this.#take(), Float32Array, length)
              : Float32Array.from(array(this.#take(), Uint16Array, length), halfFloat);
        return (start, count, validity) =>
          numbers(type, values.slice(start, start + count), validity);
      }
      case 'bytes': {
        const offsets = layout.wide
          ? narrowOffsets(array(this.#take(), BigInt64Array, length === 0 ? 0 : length + 1))
          : array(this.#take(), Int32Array, length === 0 ? 0 : length + 1);
        return byteValues(offsets, this.#take(), type);
      }
      case 'fixed': {
        const { stride } = layout;
        const bytes = this.#take();
        if (!(stride >= 0) || bytes.length < stride * length)
          throw new RangeError('a column is too short');
        return (start, count, validity) => ({
          rep: 'bytes',
          type,
          offsets: Uint32Array.from({ length: count + 1 }, (_, row) => row * stride),
          bytes: bytes.slice(start * stride, (start + count) * stride),
          validity,
        });
      }
      case 'views':
        return this.#viewValues(type, length);
      case 'decimal':
        return decimals(this.#take(), layout, type, length);
      case 'count':
        return counts(this.#take(), layout, type, length);
      case 'duration': {
        const values = array(this.#take(), BigInt64Array, length);
        return objects(type, (row) => new Interval(0, 0, micros(values[row]!, layout.unit)));
      }
      case 'months': {
        const values = array(this.#take(), Int32Array, length);
        return objects(type, (row) => new Interval(values[row]!, 0, 0));
      }
      case 'daysAndMillis': {
        const values = array(this.#take(), Int32Array, length * 2);
        return objects(
          type,
          (row) => new Interval(0, values[row * 2]!, values[row * 2 + 1]! * 1000),
        );
      }
      case 'monthsDaysNanos': {
        const bytes = this.#take();
        const parts = array(bytes, Int32Array, length * 4);
        const nanos = array(bytes, BigInt64Array, length * 2);
        return objects(
          type,
          (row) =>
            new Interval(
              parts[row * 4]!,
              parts[row * 4 + 1]!,
              micros(nanos[row * 2 + 1]!, { multiply: 1, divide: 1000 }),
            ),
        );
      }
    }
  }

  /** Texts of up to twelve bytes stand in their view; of longer ones it says in which buffer they do. */
  #viewValues(type: SqlType, length: number): Read {
    const views = this.#take();
    if (views.length < length * 16) throw new RangeError('a column is too short');
    const count = this.#batch.viewBufferCounts[this.#views] ?? 0;
    this.#views += 1;
    const data = Array.from({ length: count }, () => this.#take());
    const view = new DataView(views.buffer, views.byteOffset, views.byteLength);
    return (start, rowCount, validity) => {
      const offsets = new Uint32Array(rowCount + 1);
      const pieces: Uint8Array[] = [];
      for (let row = 0; row < rowCount; row += 1) {
        const at = (start + row) * 16;
        const size = validity !== undefined && validity[row] === 0 ? 0 : view.getInt32(at, true);
        let piece = views.subarray(at + 4, at + 4 + size);
        if (size > 12) {
          const from = view.getInt32(at + 12, true);
          piece = data[view.getInt32(at + 8, true)]?.subarray(from, from + size) ?? NO_BYTES;
          if (from < 0) piece = NO_BYTES;
        }
        if (piece.length !== size) throw new RangeError('a view points outside its buffers');
        pieces.push(piece);
        offsets[row + 1] = offsets[row]! + size;
      }
      const bytes = new Uint8Array(offsets[rowCount]!);
      pieces.forEach((piece, row) => bytes.set(piece, offsets[row]!));
      return { rep: 'bytes', type, offsets, bytes, validity };
    };
  }
}

type Read = (start: number, count: number, validity: Uint8Array | undefined) => Vector;

const NO_BYTES = new Uint8Array(0);

/** Bits as bytes of 0 and 1. */
function bits(bitmap: Uint8Array, start: number, count: number): Uint8Array {
  const out = new Uint8Array(count);
  for (let index = 0; index < count; index += 1)
    out[index] = (bitmap[(start + index) >> 3]! >> ((start + index) & 7)) & 1;
  return out;
}

type ArrayConstructor<Values> = {
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): Values;
  readonly BYTES_PER_ELEMENT: number;
};

/** A buffer as an array of `length` entries. Some writers do not align buffers: those are copied. */
function array<Values>(bytes: Uint8Array, kind: ArrayConstructor<Values>, length: number): Values {
  if (bytes.length < length * kind.BYTES_PER_ELEMENT) throw new RangeError('a column is too short');
  const aligned = bytes.byteOffset % kind.BYTES_PER_ELEMENT === 0 ? bytes : bytes.slice();
  return new kind(aligned.buffer, aligned.byteOffset, length);
}

function numbers(
  type: SqlType,
  values: NumberArray,
  validity: Uint8Array | undefined,
  scale = 0,
): Vector {
  return { rep: 'number', type, values, validity, factor: 1, base: 0, scale };
}

function objects(type: SqlType, at: (row: number) => Datum): Read {
  return (start, count, validity) => ({
    rep: 'object',
    type,
    values: Array.from({ length: count }, (_, row) =>
      validity !== undefined && validity[row] === 0 ? null : at(start + row),
    ),
  });
}

const SIGNED = { 8: Int8Array, 16: Int16Array, 32: Int32Array };
const UNSIGNED = { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array };

function integers(
  bytes: Uint8Array,
  layout: Extract<ArrowLayout, { kind: 'int' }>,
  type: SqlType,
  length: number,
): Read {
  const { bits: width, signed } = layout;
  if (width === 64) {
    if (signed) return wide(array(bytes, BigInt64Array, length), type, 0);
    const values = array(bytes, BigUint64Array, length);
    return (start, count, validity) =>
      wholeDecimals(type, 0, count, validity, (row) => values[start + row]!);
  }
  const kind: ArrayConstructor<NumberArray> = signed ? SIGNED[width] : UNSIGNED[width];
  const values = array(bytes, kind, length);
  return (start, count, validity) => numbers(type, values.slice(start, start + count), validity);
}

/** 64-bit integers: doubles while all are safe. */
function wide(values: BigInt64Array, type: SqlType, scale: number): Read {
  return (start, count, validity) => {
    const doubles = new Float64Array(count);
    for (let row = 0; row < count; row += 1) {
      if (validity !== undefined && validity[row] === 0) continue;
      doubles[row] = Number(values[start + row]!);
      if (!Number.isSafeInteger(doubles[row]!)) {
        const exact = values.slice(start, start + count);
        return { rep: 'bigint', type, values: exact, validity, scale };
      }
    }
    return numbers(type, doubles, validity, scale);
  };
}

/** Decimals of one scale from their coefficients. */
function wholeDecimals(
  type: SqlType,
  scale: number,
  count: number,
  validity: Uint8Array | undefined,
  at: (row: number) => bigint,
): Vector {
  const doubles = new Float64Array(count);
  for (let row = 0; row < count; row += 1) {
    if (validity !== undefined && validity[row] === 0) continue;
    doubles[row] = Number(at(row));
    if (Number.isSafeInteger(doubles[row]!)) continue;
    return {
      rep: 'object',
      type,
      values: Array.from({ length: count }, (_, index) =>
        validity !== undefined && validity[index] === 0 ? null : new Decimal(at(index), scale),
      ),
    };
  }
  return numbers(type, doubles, validity, scale);
}

function decimals(
  bytes: Uint8Array,
  layout: Extract<ArrowLayout, { kind: 'decimal' }>,
  type: SqlType,
  length: number,
): Read {
  const { scale } = layout;
  if (layout.bits === 32) {
    const values = array(bytes, Int32Array, length);
    return (start, count, validity) =>
      numbers(type, Float64Array.from(values.subarray(start, start + count)), validity, scale);
  }
  const words = layout.bits / 64;
  const high = array(bytes, BigInt64Array, length * words);
  const low = array(bytes, BigUint64Array, length * words);
  return (start, count, validity) =>
    wholeDecimals(type, scale, count, validity, (row) => {
      const first = (start + row) * words;
      let value = high[first + words - 1]!;
      for (let word = words - 2; word >= 0; word -= 1) value = (value << 64n) | low[first + word]!;
      return value;
    });
}

function counts(
  bytes: Uint8Array,
  layout: Extract<ArrowLayout, { kind: 'count' }>,
  type: SqlType,
  length: number,
): Read {
  const { multiply, divide } = layout.unit;
  if (layout.bits === 32) {
    const values = array(bytes, Int32Array, length);
    if (multiply === 1)
      return (start, count, validity) =>
        numbers(type, values.slice(start, start + count), validity);
    return (start, count, validity) =>
      numbers(
        type,
        Float64Array.from(values.subarray(start, start + count), (value) => value * multiply),
        validity,
      );
  }
  const values = array(bytes, BigInt64Array, length);
  if (multiply === 1 && divide === 1) return wide(values, type, 0);
  return (start, count, validity) => {
    const data = Array.from({ length: count }, (_, row): Datum => {
      if (validity !== undefined && validity[row] === 0) return null;
      return normalInteger(scaled(values[start + row]!, layout.unit));
    });
    return vectorFromData(type, data);
  };
}

function scaled(value: bigint, { multiply, divide }: TimeUnit): bigint {
  const product = value * BigInt(multiply);
  const divisor = BigInt(divide);
  const quotient = product / divisor;
  return product < 0n && quotient * divisor !== product ? quotient - 1n : quotient;
}

function micros(value: bigint, unit: TimeUnit): number {
  const result = Number(scaled(value, unit));
  if (!Number.isSafeInteger(result))
    throw new DbError('22008', 'interval out of range', {
      hint: 'An interval holds up to 285 years of hours.',
    });
  return result;
}

function narrowOffsets(offsets: BigInt64Array): Int32Array {
  return Int32Array.from(offsets, (offset) => {
    if (offset < 0n || offset > 0x7fff_ffffn) throw new RangeError('an offset is out of range');
    return Number(offset);
  });
}

function byteValues(offsets: Int32Array, bytes: Uint8Array, type: SqlType): Read {
  return (start, count, validity) => {
    if (count === 0) return { rep: 'bytes', type, offsets: new Uint32Array(1), bytes: NO_BYTES };
    const first = offsets[start]!;
    const own = new Uint32Array(count + 1);
    for (let row = 0; row <= count; row += 1) {
      const offset = offsets[start + row]!;
      if (offset < first || (row > 0 && offset - first < own[row - 1]!) || offset > bytes.length)
        throw new RangeError('an offset is out of range');
      own[row] = offset - first;
    }
    return {
      rep: 'bytes',
      type,
      offsets: own,
      bytes: bytes.slice(first, offsets[start + count]!),
      validity,
    };
  };
}

/** What a dictionary's numbers stand for. */
function looked(
  indices: Vector,
  count: number,
  dictionary: ArrowDictionary,
  type: SqlType,
): Vector {
  if (indices.rep !== 'number') throw new RangeError('a dictionary is addressed beyond its end');
  const { validity } = indices;
  const selection = new Int32Array(count);
  for (let row = 0; row < count; row += 1) {
    if (validity !== undefined && validity[row] === 0) continue;
    const index = indices.values[row]!;
    if (!(index >= 0 && index < dictionary.rowCount))
      throw new RangeError('a dictionary is addressed beyond its end');
    selection[row] = index;
  }
  if (dictionary.rowCount === 0)
    return vectorFromData(
      type,
      Array.from({ length: count }, () => null),
    );
  const found = gather(dictionary.values, selection, count);
  if (validity === undefined) return found;
  const both =
    found.validity === undefined
      ? validity
      : validity.map((present, row) => present & found.validity![row]!);
  if (found.rep !== 'object') return { ...found, validity: both };
  return {
    ...found,
    validity: undefined,
    values: found.values.map((datum, row) => (both[row] === 0 ? null : datum)),
  };
}

/** Texts get codes of ours: equal texts the same one, whatever the file says. */
export function readDictionary(
  cells: ArrowCells,
  rowCount: number,
  type: SqlType,
): ArrowDictionary {
  const values = cells(0, rowCount);
  if (!isTextType(type) || values.rep !== 'bytes') return { values, rowCount };
  const dictionary = new Dictionary();
  const codes = new Int32Array(rowCount);
  for (let row = 0; row < rowCount; row += 1) {
    if (values.validity !== undefined && values.validity[row] === 0) continue;
    codes[row] = dictionary.addBytes(values.bytes, values.offsets[row]!, values.offsets[row + 1]!);
  }
  return {
    values: { rep: 'dictionary', type, codes, validity: values.validity, dictionary },
    rowCount,
  };
}

function halfFloat(half: number): number {
  const sign = half >> 15 === 0 ? 1 : -1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0
    ? sign * fraction * 2 ** -24
    : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
