import { isPiece } from '../base/slab.ts';
import type { Dictionary } from './dictionary.ts';
import type { SqlType } from './types.ts';
import type { Datum } from './values.ts';

/**
 * A column of a batch. What a vector means follows from its SQL type; how it is laid out from `rep`. Invariants:
 *
 * 1. `values`/`codes` hold at least as many entries as the batch has physical rows.
 * 2. Where `validity` is given, 1 means present and 0 NULL; where it is 0 the value is noise. Absent: no NULLs.
 *    In rep `object` NULL entries are `null` as well, and `validity` may be absent.
 * 3. A vector's arrays are never written once it was handed on; operators may share them (scans hand out
 *    subarrays of segments without copying).
 */
export type Vector =
  | NumberVector
  | BigintVector
  | BooleanVector
  | DictionaryVector
  | BytesVector
  | ObjectVector;

export type NumberArray =
  | Float64Array
  | Float32Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

/**
 * int2, int4, int8 (all safe), float4, float8, date, time, timestamp(tz) (all safe), numeric of one `scale` with
 * coefficients up to 2^53. The datum is `values[i] * factor + base`; both are integers, and 1 and 0 unless the
 * encoding of a sealed segment says otherwise. For numeric that number is the coefficient.
 */
export type NumberVector = {
  readonly rep: 'number';
  readonly type: SqlType;
  readonly values: NumberArray;
  readonly validity?: Uint8Array | undefined;
  readonly factor: number;
  readonly base: number;
  /** Digits after the point that all values share; 0 for anything but numeric. */
  readonly scale: number;
  /** What the zone map of the segment proves of all present values; absent where nothing is known. */
  readonly bounds?: NumberBounds | undefined;
};

/** Bounds of a column of numbers in units of its data (numeric: coefficients); they hold for any selection of the rows. */
export type NumberBounds = {
  readonly min: number;
  readonly max: number;
  /** float4, float8: every value is finite, and a multiple of 2^`bitMin` below 2^`bitEnd` in magnitude: exact binned sums need no more. */
  readonly bitMin: number;
  readonly bitEnd: number;
  /** False where NaN or ±Infinity occur: then `bitMin` and `bitEnd` say nothing about those. */
  readonly finite: boolean;
};

/** int8 and timestamp(tz) where some value leaves ±2^53; numeric of one scale likewise. */
export type BigintVector = {
  readonly rep: 'bigint';
  readonly type: SqlType;
  readonly values: BigInt64Array;
  readonly validity?: Uint8Array | undefined;
  readonly scale: number;
};

export type BooleanVector = {
  readonly rep: 'boolean';
  readonly type: SqlType;
  readonly values: Uint8Array;
  readonly validity?: Uint8Array | undefined;
};

/** text, varchar, bpchar, uuid, bytea with few distinct values. Codes of one dictionary; equal codes ⇔ equal values. */
export type DictionaryVector = {
  readonly rep: 'dictionary';
  readonly type: SqlType;
  readonly codes: Uint8Array | Uint16Array | Int32Array;
  readonly validity?: Uint8Array | undefined;
  readonly dictionary: Dictionary;
};

/** text (UTF-8), bytea, uuid (16 bytes): value i is bytes[offsets[i] … offsets[i + 1]). */
export type BytesVector = {
  readonly rep: 'bytes';
  readonly type: SqlType;
  readonly offsets: Uint32Array;
  readonly bytes: Uint8Array;
  readonly validity?: Uint8Array | undefined;
};

/** Any type, one datum an entry: computed text, intervals, decimals of mixed scale. */
export type ObjectVector = {
  readonly rep: 'object';
  readonly type: SqlType;
  readonly values: readonly Datum[];
  readonly validity?: Uint8Array | undefined;
};

/** Entries [start, end) without copying (data of rep `object` are copied). */
export function sliceVector(vector: Vector, start: number, end: number): Vector {
  const validity = vector.validity?.subarray(start, end);
  switch (vector.rep) {
    case 'number': {
      const { rep, type, values, factor, base, scale, bounds } = vector;
      return {
        rep,
        type,
        values: values.subarray(start, end),
        validity,
        factor,
        base,
        scale,
        bounds,
      };
    }
    case 'bigint':
      return {
        rep: 'bigint',
        type: vector.type,
        values: vector.values.subarray(start, end),
        validity,
        scale: vector.scale,
      };
    case 'boolean':
      return {
        rep: 'boolean',
        type: vector.type,
        values: vector.values.subarray(start, end),
        validity,
      };
    case 'dictionary':
      return {
        rep: 'dictionary',
        type: vector.type,
        codes: vector.codes.subarray(start, end),
        validity,
        dictionary: vector.dictionary,
      };
    case 'bytes':
      // Offsets count from the start of `bytes`, which therefore stays whole.
      return {
        rep: 'bytes',
        type: vector.type,
        offsets: vector.offsets.subarray(start, end + 1),
        bytes: vector.bytes,
        validity,
      };
    case 'object':
      return {
        rep: 'object',
        type: vector.type,
        values: vector.values.slice(start, end),
        validity,
      };
  }
}

/** A column for who keeps it for long: a piece of a slab, which would keep all of the slab, is copied. */
export function keptColumn(column: Vector): Vector {
  if (column.rep === 'number' && isPiece(column.values))
    return { ...column, values: column.values.slice() as NumberArray };
  if (column.rep === 'dictionary' && isPiece(column.codes))
    return { ...column, codes: column.codes.slice() as typeof column.codes };
  return column;
}
