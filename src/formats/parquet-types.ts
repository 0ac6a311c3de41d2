import type { SchemaElement } from 'hyparquet';
import { notSupported } from '../base/errors.ts';
import {
  BOOLEAN,
  BYTEA,
  DATE,
  FLOAT4,
  FLOAT8,
  INT2,
  INT4,
  INT8,
  INTERVAL,
  NUMERIC,
  TEXT,
  TIME,
  TIMESTAMP,
  TIMESTAMPTZ,
  UUID,
  type SqlType,
} from '../columns/types.ts';

/** How a stored number becomes a datum's number. */
export type NumberUnit =
  | { readonly kind: 'as is' }
  /** Milliseconds to microseconds. */
  | { readonly kind: 'thousandfold' }
  /** Nanoseconds to microseconds, downwards. */
  | { readonly kind: 'thousandth' }
  | { readonly kind: 'unsigned' };

/** What a leaf of a Parquet schema is to us. */
export type LeafType =
  | { readonly kind: 'boolean'; readonly type: SqlType }
  | {
      readonly kind: 'number';
      readonly type: SqlType;
      readonly unit: NumberUnit;
      readonly scale: number;
    }
  | { readonly kind: 'int96'; readonly type: SqlType }
  | { readonly kind: 'float'; readonly type: SqlType }
  | { readonly kind: 'float16'; readonly type: SqlType }
  | { readonly kind: 'bytes'; readonly type: SqlType }
  | { readonly kind: 'decimalBytes'; readonly type: SqlType; readonly scale: number }
  | { readonly kind: 'interval'; readonly type: SqlType };

const AS_IS: NumberUnit = { kind: 'as is' };

/** Throws 0A000 for what has no type of ours: lists, maps, structs, geometries. */
export function leafTypeOf(element: SchemaElement, path: string): LeafType {
  const { type, converted_type: converted, logical_type: logical } = element;
  switch (type) {
    case 'BOOLEAN':
      return { kind: 'boolean', type: BOOLEAN };
    case 'FLOAT':
      return { kind: 'float', type: FLOAT4 };
    case 'DOUBLE':
      return { kind: 'float', type: FLOAT8 };
    case 'INT96':
      return { kind: 'int96', type: TIMESTAMP };
    case 'INT32':
    case 'INT64':
      return integerType(element, path);
    case 'BYTE_ARRAY':
      if (isDecimal(element))
        return { kind: 'decimalBytes', type: decimalType(element), scale: decimalScale(element) };
      if (
        converted === 'BSON' ||
        ['GEOMETRY', 'GEOGRAPHY', 'VARIANT'].includes(logical?.type ?? '')
      )
        throw unreadable(path, logical?.type ?? 'BSON');
      return { kind: 'bytes', type: isText(element) ? TEXT : BYTEA };
    case 'FIXED_LEN_BYTE_ARRAY':
      if (isDecimal(element))
        return { kind: 'decimalBytes', type: decimalType(element), scale: decimalScale(element) };
      if (logical?.type === 'UUID') return { kind: 'bytes', type: UUID };
      if (logical?.type === 'FLOAT16') return { kind: 'float16', type: FLOAT4 };
      if (converted === 'INTERVAL' || logical?.type === 'INTERVAL')
        return { kind: 'interval', type: INTERVAL };
      return { kind: 'bytes', type: BYTEA };
    default:
      throw unreadable(path, 'a group of columns');
  }
}

export function unreadable(path: string, what: string): Error {
  return notSupported(
    `column "${path}" of a Parquet file (${what})`,
    'Flatten the column, or turn it into text, before loading the file.',
  );
}

function integerType(element: SchemaElement, path: string): LeafType {
  const { type, converted_type: converted, logical_type: logical } = element;
  const number = (sql: SqlType, unit = AS_IS, scale = 0): LeafType => ({
    kind: 'number',
    type: sql,
    unit,
    scale,
  });
  if (isDecimal(element)) return number(decimalType(element), AS_IS, decimalScale(element));
  if (converted === 'DATE' || logical?.type === 'DATE') return number(DATE);
  if (logical?.type === 'TIME' || converted?.startsWith('TIME_') === true) {
    return number(
      TIME,
      unitOf(logical?.type === 'TIME' ? logical.unit : converted!.slice('TIME_'.length)),
    );
  }
  if (logical?.type === 'TIMESTAMP')
    return number(logical.isAdjustedToUTC ? TIMESTAMPTZ : TIMESTAMP, unitOf(logical.unit));
  // The older annotation always means UTC.
  if (converted?.startsWith('TIMESTAMP_') === true)
    return number(TIMESTAMPTZ, unitOf(converted.slice('TIMESTAMP_'.length)));
  const width =
    logical?.type === 'INTEGER'
      ? logical.bitWidth
      : Number(converted?.match(/^U?INT_(\d+)$/)?.[1] ?? 0);
  const isUnsigned =
    logical?.type === 'INTEGER' ? !logical.isSigned : converted?.startsWith('UINT_') === true;
  if (type === 'INT64') return isUnsigned ? number(NUMERIC, { kind: 'unsigned' }) : number(INT8);
  if (isUnsigned)
    return width === 32 ? number(INT8, { kind: 'unsigned' }) : number(width === 8 ? INT2 : INT4);
  if (width !== 0 && width !== 8 && width !== 16 && width !== 32)
    throw unreadable(path, `integers of ${width} bits`);
  return number(width === 8 || width === 16 ? INT2 : INT4);
}

function unitOf(unit: string): NumberUnit {
  return unit === 'MILLIS'
    ? { kind: 'thousandfold' }
    : unit === 'NANOS'
      ? { kind: 'thousandth' }
      : AS_IS;
}

function isDecimal(element: SchemaElement): boolean {
  return element.converted_type === 'DECIMAL' || element.logical_type?.type === 'DECIMAL';
}

function decimalScale(element: SchemaElement): number {
  return element.logical_type?.type === 'DECIMAL'
    ? element.logical_type.scale
    : (element.scale ?? 0);
}

function decimalType(element: SchemaElement): SqlType {
  const precision =
    element.logical_type?.type === 'DECIMAL' ? element.logical_type.precision : element.precision;
  return precision === undefined
    ? NUMERIC
    : { kind: 'numeric', precision, scale: decimalScale(element) };
}

function isText(element: SchemaElement): boolean {
  const { converted_type: converted, logical_type: logical } = element;
  return (
    ['UTF8', 'ENUM', 'JSON'].includes(converted ?? '') ||
    ['STRING', 'ENUM', 'JSON'].includes(logical?.type ?? '')
  );
}
