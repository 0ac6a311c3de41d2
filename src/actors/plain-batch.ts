import type { Batch } from '../columns/batch.ts';
import { denseBatch } from '../columns/build.ts';
import { Dictionary } from '../columns/dictionary.ts';
import type { SqlType, TypeKind } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import type { DictionaryVector, NumberArray, NumberVector, Vector } from '../columns/vector.ts';
import { COMPACT_ROWS_MAX, CompactRows } from './compact-rows.ts';

/**
 * Batches as the plain data that goes into bytes. A few rows are one list of data; more are columns of typed arrays, cut to the rows and
 * as narrow as their values allow. Positions in these lists are in the bytes, so they never change their meaning.
 */
export type PlainBatch =
  | readonly [rowCount: number, form: 0, types: readonly PlainType[], data: readonly Datum[]]
  | readonly [rowCount: number, form: 1, columns: readonly PlainColumn[], rowIds?: Float64Array];

export type PlainColumn = readonly [
  form: (typeof FORM)[keyof typeof FORM],
  type: PlainType,
  validity: Uint8Array | null,
  ...parts: unknown[],
];

/** The kind alone where there is nothing more to say. */
type PlainType = TypeKind | SqlType;

const FORM = { number: 0, bigint: 1, boolean: 2, bytes: 3, dictionary: 4, object: 5 } as const;

/** Texts are looked for repetitions from here on. */
const DICTIONARY_ROWS_MIN = 64;
/** Numbers are looked at for their range from here on. */
const NARROW_ROWS_MIN = 32;

export function plainBatch(batch: Batch): PlainBatch {
  const { rowCount } = batch;
  if (rowCount <= COMPACT_ROWS_MAX && batch.rowIds === undefined) {
    const { types, data } = batch instanceof CompactRows ? batch : CompactRows.of(batch);
    return [rowCount, 0, types.map(plainType), data];
  }
  const dense = denseBatch(batch);
  const columns = dense.columns.map((column) => plainColumn(column, rowCount));
  return dense.rowIds === undefined
    ? [rowCount, 1, columns]
    : [rowCount, 1, columns, dense.rowIds.subarray(0, rowCount)];
}

export function revivedBatch(plain: PlainBatch): Batch {
  if (plain[1] === 0) {
    const [rowCount, , types, data] = plain;
    return new CompactRows(rowCount, types.map(revivedType), data).expanded;
  }
  const [rowCount, , columns, rowIds] = plain;
  return {
    rowCount,
    columns: columns.map((column) => revivedColumn(column)),
    ...(rowIds === undefined ? {} : { rowIds }),
  };
}

function plainType(type: SqlType): PlainType {
  return Object.keys(type).length === 1 ? type.kind : type;
}

function revivedType(plain: PlainType): SqlType {
  return typeof plain === 'string' ? ({ kind: plain } as SqlType) : plain;
}

export function plainColumn(vector: Vector, rowCount: number): PlainColumn {
  const type = plainType(vector.type);
  const validity = vector.validity?.subarray(0, rowCount) ?? null;
  switch (vector.rep) {
    case 'number': {
      const { factor, base, scale } = vector;
      return [FORM.number, type, validity, narrowed(vector, rowCount), factor, base, scale];
    }
    case 'bigint':
      return [FORM.bigint, type, validity, vector.values.subarray(0, rowCount), vector.scale];
    case 'boolean':
      return [FORM.boolean, type, validity, vector.values.subarray(0, rowCount)];
    case 'bytes': {
      const first = vector.offsets[0]!;
      const offsets = vector.offsets.subarray(0, rowCount + 1);
      const bytes = vector.bytes.subarray(first, vector.offsets[rowCount]);
      return [
        FORM.bytes,
        type,
        validity,
        first === 0 ? offsets : offsets.map((at) => at - first),
        bytes,
      ];
    }
    case 'dictionary':
      return dictionaryColumn(vector, type, validity, rowCount);
    case 'object':
      return [FORM.object, type, validity, vector.values.slice(0, rowCount)];
  }
}

/** The texts that occur, each once where they repeat, else in the order of the rows. */
function dictionaryColumn(
  vector: DictionaryVector,
  type: PlainType,
  validity: Uint8Array | null,
  rowCount: number,
): PlainColumn {
  const { codes, dictionary } = vector;
  const local = new Map<number, number>();
  if (rowCount >= DICTIONARY_ROWS_MIN) {
    const mine = new Uint16Array(rowCount);
    let row = 0;
    // Beyond, texts hardly repeat.
    const countMax = Math.min(65_535, rowCount >> 1);
    for (; row < rowCount; row += 1) {
      if (validity !== null && validity[row] === 0) continue;
      const code = codes[row]!;
      let at = local.get(code);
      if (at === undefined) {
        if (local.size === countMax) break;
        at = local.size;
        local.set(code, at);
      }
      mine[row] = at;
    }
    if (row === rowCount) {
      const { offsets, bytes } = textsOf(dictionary, [...local.keys()]);
      const narrow = local.size <= 256 ? Uint8Array.from(mine) : mine;
      return [FORM.dictionary, type, validity, narrow, offsets, bytes];
    }
  }
  const all = Array.from({ length: rowCount }, (_, row) =>
    validity !== null && validity[row] === 0 ? -1 : codes[row]!,
  );
  const { offsets, bytes } = textsOf(dictionary, all);
  return [FORM.bytes, type, validity, offsets, bytes];
}

/** −1 is nothing. */
function textsOf(
  dictionary: Dictionary,
  codes: readonly number[],
): { readonly offsets: Uint32Array; readonly bytes: Uint8Array } {
  const offsets = new Uint32Array(codes.length + 1);
  for (let index = 0; index < codes.length; index += 1)
    offsets[index + 1] =
      offsets[index]! + (codes[index]! < 0 ? 0 : dictionary.byteLength(codes[index]!));
  const bytes = new Uint8Array(offsets[codes.length]!);
  for (let index = 0; index < codes.length; index += 1)
    if (codes[index]! >= 0) bytes.set(dictionary.bytes(codes[index]!), offsets[index]!);
  return { offsets, bytes };
}

/** Whole numbers in the narrowest array that holds them; what is NULL counts as 0. */
function narrowed(vector: NumberVector, rowCount: number): NumberArray {
  const { values, validity, type } = vector;
  if (
    rowCount < NARROW_ROWS_MIN ||
    !(values instanceof Float64Array) ||
    type.kind === 'float8' ||
    type.kind === 'float4'
  )
    return values.subarray(0, rowCount);
  let min = 0;
  let max = 0;
  for (let row = 0; row < rowCount; row += 1) {
    const value = values[row]!;
    if (validity !== undefined && validity[row] === 0) continue;
    if (value < min) min = value;
    else if (value > max) max = value;
    // Infinite dates.
    if (value - value !== 0) return values.subarray(0, rowCount);
  }
  const narrow =
    min >= -0x80 && max < 0x80
      ? new Int8Array(rowCount)
      : min >= -0x8000 && max < 0x8000
        ? new Int16Array(rowCount)
        : min >= -0x8000_0000 && max < 0x8000_0000
          ? new Int32Array(rowCount)
          : undefined;
  if (narrow === undefined) return values.subarray(0, rowCount);
  for (let row = 0; row < rowCount; row += 1)
    narrow[row] = validity !== undefined && validity[row] === 0 ? 0 : values[row]!;
  return narrow;
}

export function revivedColumn(plain: PlainColumn): Vector {
  const type = revivedType(plain[1]);
  const validity = plain[2] ?? undefined;
  switch (plain[0]) {
    case FORM.number: {
      const [, , , values, factor, base, scale] = plain as unknown as Parts<
        [NumberArray, number, number, number]
      >;
      return { rep: 'number', type, values, validity, factor, base, scale };
    }
    case FORM.bigint: {
      const [, , , values, scale] = plain as unknown as Parts<[BigInt64Array, number]>;
      return { rep: 'bigint', type, values, validity, scale };
    }
    case FORM.boolean: {
      const [, , , values] = plain as unknown as Parts<[Uint8Array]>;
      return { rep: 'boolean', type, values, validity };
    }
    case FORM.bytes: {
      const [, , , offsets, bytes] = plain as unknown as Parts<[Uint32Array, Uint8Array]>;
      return { rep: 'bytes', type, offsets, bytes, validity };
    }
    case FORM.dictionary: {
      const [, , , codes, offsets, bytes] = plain as unknown as Parts<
        [Uint8Array | Uint16Array, Uint32Array, Uint8Array]
      >;
      const dictionary = new Dictionary();
      for (let code = 0; code + 1 < offsets.length; code += 1)
        dictionary.addBytes(bytes, offsets[code]!, offsets[code + 1]!);
      return { rep: 'dictionary', type, codes, validity, dictionary };
    }
    case FORM.object: {
      const [, , , values] = plain as unknown as Parts<[readonly Datum[]]>;
      return { rep: 'object', type, values, validity };
    }
  }
}

type Parts<Values extends readonly unknown[]> = [unknown, unknown, unknown, ...Values];
