import { unreachable } from '../base/errors.ts';

/**
 * The SQL types. `null` is the type of a bare NULL and `unknown` of a bare string literal: binding turns both
 * into a proper type, so no column ever has one of them (`text` where nothing else decides).
 */
export type SqlType =
  | { readonly kind: 'boolean' }
  | { readonly kind: 'int2' }
  | { readonly kind: 'int4' }
  | { readonly kind: 'int8' }
  | { readonly kind: 'float4' }
  | { readonly kind: 'float8' }
  /** `precision` and `scale` are given together, or neither: then every value has a scale of its own. */
  | { readonly kind: 'numeric'; readonly precision?: number; readonly scale?: number }
  | { readonly kind: 'text' }
  | { readonly kind: 'varchar'; readonly length?: number }
  | { readonly kind: 'bpchar'; readonly length?: number }
  | { readonly kind: 'date' }
  /** `precision`: places of a second that are kept, 0 … 6; without it all six. */
  | { readonly kind: 'time'; readonly precision?: number }
  | { readonly kind: 'timestamp'; readonly precision?: number }
  | { readonly kind: 'timestamptz'; readonly precision?: number }
  /** `fields`: what is smaller than the last of them is cut off. */
  | { readonly kind: 'interval'; readonly fields?: IntervalFields; readonly precision?: number }
  | { readonly kind: 'uuid' }
  | { readonly kind: 'bytea' }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'null' };

export type TypeKind = SqlType['kind'];

export type IntervalFields =
  | 'year'
  | 'month'
  | 'day'
  | 'hour'
  | 'minute'
  | 'second'
  | 'year to month'
  | 'day to hour'
  | 'day to minute'
  | 'day to second'
  | 'hour to minute'
  | 'hour to second'
  | 'minute to second';

export const BOOLEAN: SqlType = { kind: 'boolean' };
export const INT2: SqlType = { kind: 'int2' };
export const INT4: SqlType = { kind: 'int4' };
export const INT8: SqlType = { kind: 'int8' };
export const FLOAT4: SqlType = { kind: 'float4' };
export const FLOAT8: SqlType = { kind: 'float8' };
export const NUMERIC: SqlType = { kind: 'numeric' };
export const TEXT: SqlType = { kind: 'text' };
export const VARCHAR: SqlType = { kind: 'varchar' };
export const DATE: SqlType = { kind: 'date' };
export const TIME: SqlType = { kind: 'time' };
export const TIMESTAMP: SqlType = { kind: 'timestamp' };
export const TIMESTAMPTZ: SqlType = { kind: 'timestamptz' };
export const INTERVAL: SqlType = { kind: 'interval' };
export const UUID: SqlType = { kind: 'uuid' };
export const BYTEA: SqlType = { kind: 'bytea' };
export const UNKNOWN: SqlType = { kind: 'unknown' };
export const NULL_TYPE: SqlType = { kind: 'null' };

/** Types that say when: a table's time is of one of these. */
export function hasDate({ kind }: SqlType): boolean {
  return kind === 'timestamptz' || kind === 'timestamp' || kind === 'date';
}

/** As PostgreSQL's format_type prints it: what errors and `columns` show. */
export function typeName(type: SqlType): string {
  switch (type.kind) {
    case 'boolean':
    case 'text':
    case 'date':
    case 'uuid':
    case 'bytea':
    case 'unknown':
      return type.kind;
    case 'null':
      return 'unknown';
    case 'int2':
      return 'smallint';
    case 'int4':
      return 'integer';
    case 'int8':
      return 'bigint';
    case 'float4':
      return 'real';
    case 'float8':
      return 'double precision';
    case 'numeric':
      return type.precision === undefined
        ? 'numeric'
        : `numeric(${type.precision},${type.scale ?? 0})`;
    case 'varchar':
      return type.length === undefined ? 'character varying' : `character varying(${type.length})`;
    case 'bpchar':
      return type.length === undefined ? 'bpchar' : `character(${type.length})`;
    case 'time':
      return `time${places(type)} without time zone`;
    case 'timestamp':
      return `timestamp${places(type)} without time zone`;
    case 'timestamptz':
      return `timestamp${places(type)} with time zone`;
    case 'interval':
      return `interval${type.fields === undefined ? '' : ` ${type.fields}`}${places(type)}`;
    default:
      return unreachable(type);
  }
}

/** The same without length or precision: what pg_typeof() gives. */
export function bareTypeName({ kind }: SqlType): string {
  return kind === 'bpchar' ? 'character' : typeName({ kind } as SqlType);
}

function places({ precision }: { readonly precision?: number }): string {
  return precision === undefined ? '' : `(${precision})`;
}

export function sameType(a: SqlType, b: SqlType): boolean {
  return a.kind === b.kind && typeName(a) === typeName(b);
}

export function isIntegerType(type: SqlType): boolean {
  return type.kind === 'int2' || type.kind === 'int4' || type.kind === 'int8';
}

export function isTextType(type: SqlType): boolean {
  return type.kind === 'text' || type.kind === 'varchar' || type.kind === 'bpchar';
}

export function isNumberType(type: SqlType): boolean {
  return (
    isIntegerType(type) ||
    type.kind === 'float4' ||
    type.kind === 'float8' ||
    type.kind === 'numeric'
  );
}

/** Kinds whose data are numbers (bigints beyond 2^53), of which equal ones cannot be told apart: numeric and boolean are none. */
export function isNumberKind(kind: TypeKind): boolean {
  switch (kind) {
    case 'int2':
    case 'int4':
    case 'int8':
    case 'float4':
    case 'float8':
    case 'date':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return true;
    default:
      return false;
  }
}
