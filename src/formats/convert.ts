import { DbError } from '../base/errors.ts';
import { datumAt, isNullAt, vectorFromData } from '../columns/build.ts';
import { numberAt } from '../columns/cells.ts';
import {
  isIntegerType,
  isNumberType,
  isTextType,
  typeName,
  type SqlType,
} from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';
import type { ReaderOptions } from './contract.ts';

type Convert = (vector: Vector, rowCount: number) => Vector;

/**
 * A column of a file's own type as a column of a table's type. Numbers, dates and instants are converted as arrays; text is read
 * and written by PostgreSQL's functions, once for each distinct value where there is a dictionary. 42804 where the types have
 * nothing to do with each other; 22003 and 22P02 for values that do not fit.
 */
export function converterTo(
  from: SqlType,
  to: SqlType,
  column: string,
  options: ReaderOptions,
): Convert {
  if (keepsValues(from, to)) return (vector) => ({ ...vector, type: to });
  if (isIntegerType(from) && (to.kind === 'int2' || to.kind === 'int4'))
    return (vector, rowCount) => narrowed(vector, rowCount, to, column);
  const isFloat = to.kind === 'float8' || to.kind === 'float4';
  if (isFloat && (isIntegerType(from) || from.kind === 'float4' || from.kind === 'float8'))
    return (vector, rowCount) => toFloat(vector, rowCount, to, column);
  const isUtc = options.zone === undefined || options.zone === 'UTC';
  const toInstant = to.kind === 'timestamp' || (to.kind === 'timestamptz' && isUtc);
  if (from.kind === 'date' && toInstant)
    return (vector, rowCount) => mapNumbers(vector, rowCount, to, (days) => days * 86_400_000_000);
  if (
    isUtc &&
    ((from.kind === 'timestamp' && to.kind === 'timestamptz') ||
      (from.kind === 'timestamptz' && to.kind === 'timestamp'))
  ) {
    return (vector) => ({ ...vector, type: to });
  }
  const isRelated =
    isTextType(from) ||
    isTextType(to) ||
    (isNumberType(from) && isNumberType(to)) ||
    (isTime(from) && isTime(to));
  if (!isRelated) {
    throw new DbError(
      '42804',
      `column "${column}" is of type ${typeName(to)} but the file has ${typeName(from)}`,
      { column },
    );
  }
  return (vector, rowCount) => byText(vector, rowCount, from, to, column, options);
}

function isTime(type: SqlType): boolean {
  return type.kind === 'date' || type.kind === 'timestamp' || type.kind === 'timestamptz';
}

function keepsValues(from: SqlType, to: SqlType): boolean {
  if (
    from.kind === to.kind &&
    to.kind !== 'numeric' &&
    to.kind !== 'varchar' &&
    to.kind !== 'bpchar'
  )
    return true;
  if (
    isTextType(from) &&
    from.kind !== 'bpchar' &&
    (to.kind === 'text' || (to.kind === 'varchar' && to.length === undefined))
  )
    return true;
  if (isIntegerType(from))
    return (
      to.kind === 'int8' ||
      (to.kind === 'int4' && from.kind === 'int2') ||
      (to.kind === 'numeric' && to.precision === undefined)
    );
  if (from.kind !== 'numeric' || to.kind !== 'numeric') return false;
  // A numeric(p,s) fits into one of the same scale and no less precision, and into one without either.
  const fits =
    from.precision !== undefined &&
    from.scale === to.scale &&
    from.precision <= (to.precision ?? 0);
  return to.precision === undefined || fits;
}

function narrowed(vector: Vector, rowCount: number, to: SqlType, column: string): Vector {
  const limit = to.kind === 'int2' ? 32_768 : 2_147_483_648;
  const values = new Int32Array(rowCount);
  for (let row = 0; row < rowCount; row += 1) {
    if (isNullAt(vector, row)) continue;
    const value = Number(datumOfNumber(vector, row));
    if (value >= limit || value < -limit) throw outOfRange(to, column);
    values[row] = value;
  }
  return {
    rep: 'number',
    type: to,
    values,
    validity: vector.validity,
    factor: 1,
    base: 0,
    scale: 0,
  };
}

function toFloat(vector: Vector, rowCount: number, to: SqlType, column: string): Vector {
  const values = to.kind === 'float4' ? new Float32Array(rowCount) : new Float64Array(rowCount);
  for (let row = 0; row < rowCount; row += 1) {
    const value = Number(datumOfNumber(vector, row));
    values[row] = value;
    if (Number.isFinite(value) && !Number.isFinite(values[row]!) && !isNullAt(vector, row))
      throw outOfRange(to, column);
  }
  return {
    rep: 'number',
    type: to,
    values,
    validity: vector.validity,
    factor: 1,
    base: 0,
    scale: 0,
  };
}

function mapNumbers(
  vector: Vector,
  rowCount: number,
  to: SqlType,
  of: (value: number) => number,
): Vector {
  const values = new Float64Array(rowCount);
  for (let row = 0; row < rowCount; row += 1) values[row] = of(Number(datumOfNumber(vector, row)));
  const isSafe = values.every((value) => Number.isSafeInteger(value) || !Number.isFinite(value));
  if (isSafe)
    return {
      rep: 'number',
      type: to,
      values,
      validity: vector.validity,
      factor: 1,
      base: 0,
      scale: 0,
    };
  const data = Array.from(values, (value, row): Datum =>
    isNullAt(vector, row) ? null : Number.isFinite(value) ? BigInt(value) : value,
  );
  return vectorFromData(to, data);
}

function datumOfNumber(vector: Vector, row: number): number | bigint {
  // Without an encoding the value itself: −0 survives.
  if (vector.rep === 'number') return numberAt(vector.values[row]!, vector.factor, vector.base);
  if (vector.rep === 'bigint') return vector.values[row]!;
  const datum = datumAt(vector, row);
  return typeof datum === 'number' || typeof datum === 'bigint' ? datum : 0;
}

function byText(
  vector: Vector,
  rowCount: number,
  from: SqlType,
  to: SqlType,
  column: string,
  options: ReaderOptions,
): Vector {
  const convert = (datum: Datum): Datum => {
    if (datum === null) return null;
    const text = isTextType(from) ? String(datum) : options.toText(datum, from);
    try {
      // A text without a length takes what the output function says.
      return to.kind === 'text' ? text : options.fromText(text, to);
    } catch (cause) {
      if (!(cause instanceof DbError)) throw cause;
      throw new DbError(cause.code, cause.message, {
        detail: `while converting ${typeName(from)} to ${typeName(to)}`,
        column,
        cause,
      });
    }
  };
  if (vector.rep !== 'dictionary') {
    return vectorFromData(
      to,
      Array.from({ length: rowCount }, (_, row) => convert(datumAt(vector, row))),
    );
  }
  const known: Datum[] = [];
  const data: Datum[] = [];
  for (let row = 0; row < rowCount; row += 1) {
    if (isNullAt(vector, row)) data.push(null);
    else data.push((known[vector.codes[row]!] ??= convert(datumAt(vector, row))));
  }
  return vectorFromData(to, data);
}

function outOfRange(type: SqlType, column: string): DbError {
  const what = type.kind === 'float4' ? '"real"' : typeName(type);
  return new DbError('22003', `${what} out of range`, {
    column,
    detail: `a value of the file's column "${column}" does not fit`,
  });
}
