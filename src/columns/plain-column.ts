import { Dictionary } from './dictionary.ts';
import type { SqlType, TypeKind } from './types.ts';
import type { Datum } from './values.ts';
import type { DictionaryVector, NumberArray, NumberVector, Vector } from './vector.ts';

/**
 * A vector as plain data for bytes: typed arrays, cut to the rows. Positions in the lists are in the bytes, so they never change their
 * meaning.
 */
export type PlainColumn = readonly [
  form: (typeof FORM)[keyof typeof FORM],
  type: PlainType,
  validity: Uint8Array | null,
  ...parts: unknown[],
];

/** The kind alone where there is nothing more to say. */
export type PlainType = TypeKind | SqlType;

const FORM = { number: 0, bigint: 1, boolean: 2, bytes: 3, dictionary: 4, object: 5 } as const;

/** Up to so many codes an array tells which have been seen. */
const DENSE_CODES_MAX = 65_536;
/** Texts are looked for repetitions from here on. */
const DICTIONARY_ROWS_MIN = 64;
/** Numbers are looked at for their range from here on. */
const NARROW_ROWS_MIN = 32;

export function plainType(type: SqlType): PlainType {
  return Object.keys(type).length === 1 ? type.kind : type;
}

export function revivedType(plain: PlainType): SqlType {
  return typeof plain === 'string' ? ({ kind: plain } as SqlType) : plain;
}

/** `codes`: texts of a dictionary stay codes, however seldom they repeat; there are at most 65,536 rows then. */
export function plainColumn(
  vector: Vector,
  rowCount: number,
  codes: 'where they pay' | 'always' = 'where they pay',
): PlainColumn {
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
      return dictionaryColumn(vector, type, validity, rowCount, codes);
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
  keeping: 'where they pay' | 'always',
): PlainColumn {
  const { codes, dictionary } = vector;
  if (rowCount >= DICTIONARY_ROWS_MIN || keeping === 'always') {
    const mine = new Uint16Array(rowCount);
    const distinct: number[] = [];
    // Place + 1 of a code; where there are many codes, in a map.
    const dense = dictionary.size <= DENSE_CODES_MAX ? new Int32Array(dictionary.size) : undefined;
    const sparse = new Map<number, number>();
    let row = 0;
    // Beyond, texts hardly repeat.
    const countMax = keeping === 'always' ? 65_536 : Math.min(65_536, rowCount >> 1);
    for (; row < rowCount; row += 1) {
      if (validity !== null && validity[row] === 0) continue;
      const code = codes[row]!;
      let place = dense === undefined ? sparse.get(code) : dense[code];
      if (place === undefined || place === 0) {
        if (distinct.length === countMax) break;
        place = distinct.push(code);
        if (dense === undefined) sparse.set(code, place);
        else dense[code] = place;
      }
      mine[row] = place - 1;
    }
    if (row === rowCount) {
      const { offsets, bytes } = textsOf(dictionary, distinct);
      const narrow = distinct.length <= 256 ? Uint8Array.from(mine) : mine;
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

/** `into`: a dictionary that texts are added to, in the place of one of their own. */
export function revivedColumn(plain: PlainColumn, into?: Dictionary): Vector {
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
      const dictionary = into ?? new Dictionary();
      const places = new Int32Array(offsets.length - 1);
      let isSame = true;
      for (let code = 0; code < places.length; code += 1) {
        places[code] = dictionary.addBytes(bytes, offsets[code]!, offsets[code + 1]!);
        isSame &&= places[code] === code;
      }
      return {
        rep: 'dictionary',
        type,
        codes: isSame ? codes : recoded(codes, places, dictionary.size),
        validity,
        dictionary,
      };
    }
    case FORM.object: {
      const [, , , values] = plain as unknown as Parts<[readonly Datum[]]>;
      return { rep: 'object', type, values, validity };
    }
  }
}

function recoded(
  codes: Uint8Array | Uint16Array,
  places: Int32Array,
  size: number,
): Uint8Array | Uint16Array | Int32Array {
  const result =
    size <= 256
      ? new Uint8Array(codes.length)
      : size <= 65_536
        ? new Uint16Array(codes.length)
        : new Int32Array(codes.length);
  // Where nothing is present there may be no texts at all.
  for (let row = 0; row < codes.length; row += 1) result[row] = places[codes[row]!] ?? 0;
  return result;
}

type Parts<Values extends readonly unknown[]> = [unknown, unknown, unknown, ...Values];
