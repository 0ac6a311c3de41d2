import { DbError } from '../base/errors.ts';
import { datumAt, isNullAt } from '../columns/build.ts';
import { numberAt } from '../columns/cells.ts';
import { typeName } from '../columns/types.ts';
import { Decimal } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';

/** Numbers that stand for ±infinity in files, as DuckDB writes them. */
const DATE_INFINITY = 2_147_483_647;
const INSTANT_INFINITY = 2n ** 63n - 1n;

/** The number of an entry that is present, where the type is one whose datum is a number and fits a double. */
export function numberOf(vector: Vector, row: number): number {
  if (vector.rep === 'number') return numberAt(vector.values[row]!, vector.factor, vector.base);
  return datumAt(vector, row) as number;
}

/** Days since 1970. */
export function dateOf(vector: Vector, row: number): number {
  const days = numberOf(vector, row);
  return Number.isFinite(days) ? days : Math.sign(days) * DATE_INFINITY;
}

/** An int8, a time or an instant in 64 bits. */
export function int64Of(vector: Vector, row: number): bigint {
  if (vector.rep === 'bigint') return vector.values[row]!;
  const datum = datumAt(vector, row) as number | bigint;
  if (typeof datum === 'bigint') return datum;
  return Number.isFinite(datum) ? BigInt(datum) : datum > 0 ? INSTANT_INFINITY : -INSTANT_INFINITY;
}

/** The coefficient of a numeric(p,s) at its scale. */
export function coefficientOf(vector: Vector, row: number, scale: number): bigint {
  if (vector.rep === 'number' && vector.scale === scale) return BigInt(numberOf(vector, row));
  if (vector.rep === 'bigint' && vector.scale === scale) return vector.values[row]!;
  const datum = datumAt(vector, row);
  if (!(datum instanceof Decimal) || datum.special !== undefined) {
    throw new DbError(
      '22003',
      `${String(datum)} is not in the file's type ${typeName(vector.type)}`,
      {
        hint: 'Decimals of this format know no NaN: cast the column to double precision, numeric or text.',
      },
    );
  }
  if (datum.scale === scale) return datum.coefficient;
  return datum.scale < scale
    ? datum.coefficient * 10n ** BigInt(scale - datum.scale)
    : datum.coefficient / 10n ** BigInt(datum.scale - scale);
}

/** Rows that are present, and how many; every row where there are no NULLs. */
export function presentRows(
  vector: Vector,
  rowCount: number,
): { readonly rows: Int32Array; readonly count: number } {
  const rows = new Int32Array(rowCount);
  let count = 0;
  for (let row = 0; row < rowCount; row += 1) {
    if (isNullAt(vector, row)) continue;
    rows[count] = row;
    count += 1;
  }
  return { rows, count };
}

/** Bits in the order both formats have them: the first is the lowest of its byte. */
export function packedBits(count: number, isSet: (index: number) => boolean): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(count / 8));
  for (let index = 0; index < count; index += 1)
    if (isSet(index)) bytes[index >> 3]! |= 1 << (index & 7);
  return bytes;
}

export function bytesOf(values: {
  readonly buffer: ArrayBufferLike;
  readonly byteOffset: number;
  readonly byteLength: number;
}): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** Two's complement in `width` bytes, the lowest first. */
export function putWords(words: BigUint64Array, at: number, count: number, value: bigint): void {
  for (let word = 0; word < count; word += 1) {
    words[at + word] = BigInt.asUintN(64, value);
    value >>= 64n;
  }
}
