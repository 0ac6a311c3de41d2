import { DbError, notSupported, type TextPlace } from '../base/errors.ts';
import type { IntervalFields, SqlType } from '../columns/types.ts';
import { nearestOf } from '../base/nearest.ts';
import { hintOfForeignType } from './foreign-names.ts';

/** A type as written: what the parser hands over, structurally. */
export type WrittenType = {
  readonly name: string;
  readonly modifiers: readonly number[];
  readonly arrayDimensions: number;
};

const BY_NAME: Readonly<Record<string, SqlType['kind']>> = {
  bool: 'boolean',
  boolean: 'boolean',
  int2: 'int2',
  smallint: 'int2',
  int4: 'int4',
  int: 'int4',
  integer: 'int4',
  int8: 'int8',
  bigint: 'int8',
  float4: 'float4',
  real: 'float4',
  float8: 'float8',
  float: 'float8',
  'double precision': 'float8',
  numeric: 'numeric',
  decimal: 'numeric',
  dec: 'numeric',
  text: 'text',
  name: 'text',
  varchar: 'varchar',
  'character varying': 'varchar',
  bpchar: 'bpchar',
  char: 'bpchar',
  character: 'bpchar',
  date: 'date',
  time: 'time',
  'time without time zone': 'time',
  timestamp: 'timestamp',
  'timestamp without time zone': 'timestamp',
  timestamptz: 'timestamptz',
  'timestamp with time zone': 'timestamptz',
  interval: 'interval',
  uuid: 'uuid',
  bytea: 'bytea',
  unknown: 'unknown',
};

/** Names such as `constructor` are every object's. */
function kindNamed(name: string): SqlType['kind'] | undefined {
  return Object.hasOwn(BY_NAME, name) ? BY_NAME[name] : undefined;
}

/** The type whose plain name this is: PostgreSQL takes `float8(x)` for a cast. */
export function typeCalledLike(name: string): SqlType | undefined {
  const kind = /^[a-z0-9]+$/.test(name) && name !== 'unknown' ? kindNamed(name) : undefined;
  return kind === undefined ? undefined : ({ kind } as SqlType);
}

/** PostgreSQL's own types that are not here yet: told apart from misspelt ones. */
const KNOWN_ELSEWHERE = new Set([
  'json',
  'jsonb',
  'xml',
  'money',
  'timetz',
  'time with time zone',
  'bit',
  'varbit',
  'bit varying',
  'inet',
  'cidr',
  'macaddr',
  'point',
  'line',
  'lseg',
  'box',
  'path',
  'polygon',
  'circle',
  'tsvector',
  'tsquery',
  'oid',
  'regclass',
  'regtype',
  'regproc',
  'xid',
  'cid',
  'tid',
  'pg_lsn',
  'int4range',
  'int8range',
  'numrange',
  'tsrange',
  'tstzrange',
  'daterange',
  'record',
  'hstore',
  'void',
]);

const NUMERIC_PRECISION_MAX = 1000;
const TEXT_LENGTH_MAX = 10_485_760;

/** The type of any spelling PostgreSQL takes. 42704 with "did you mean" for unknown names, 22023 for bad modifiers. */
export function typeOfName(written: WrittenType, at?: TextPlace): SqlType {
  const name = written.name.toLowerCase();
  if (written.arrayDimensions > 0)
    throw notSupported(`type ${name}[]`, 'Arrays come later; use a table of its own, or text.', at);
  const kind = kindNamed(name);
  if (kind === undefined) {
    if (KNOWN_ELSEWHERE.has(name)) throw notSupported(`type ${name}`, undefined, at);
    const nearest = nearestOf(name, Object.keys(BY_NAME));
    throw new DbError('42704', `type "${written.name}" does not exist`, {
      at,
      hint:
        hintOfForeignType(name) ??
        (nearest === undefined ? undefined : `Did you mean "${nearest}"?`),
    });
  }
  const [first, second] = written.modifiers;
  switch (kind) {
    case 'numeric': {
      if (first === undefined) return { kind };
      if (first < 1 || first > NUMERIC_PRECISION_MAX)
        throw new DbError(
          '22023',
          `NUMERIC precision ${first} must be between 1 and ${NUMERIC_PRECISION_MAX}`,
          { at },
        );
      const scale = second ?? 0;
      if (scale < -NUMERIC_PRECISION_MAX || scale > NUMERIC_PRECISION_MAX)
        throw new DbError(
          '22023',
          `NUMERIC scale ${scale} must be between -${NUMERIC_PRECISION_MAX} and ${NUMERIC_PRECISION_MAX}`,
          { at },
        );
      return { kind, precision: first, scale };
    }
    case 'varchar':
    case 'bpchar': {
      // `character` without a length is one character; `bpchar` is as long as it is.
      const length = first ?? (name === 'char' || name === 'character' ? 1 : undefined);
      if (length === undefined) return { kind };
      if (length < 1)
        throw new DbError(
          '22023',
          `length for type ${kind === 'varchar' ? 'varchar' : 'char'} must be at least 1`,
          { at },
        );
      if (length > TEXT_LENGTH_MAX)
        throw new DbError(
          '22023',
          `length for type ${kind === 'varchar' ? 'varchar' : 'char'} cannot exceed ${TEXT_LENGTH_MAX}`,
          { at },
        );
      return { kind, length };
    }
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return first === undefined ? { kind } : { kind, precision: placesOf(first, name, at) };
    case 'interval': {
      const fields = first === undefined ? undefined : INTERVAL_FIELDS[first];
      return {
        kind,
        ...(fields === undefined ? {} : { fields }),
        ...(second === undefined ? {} : { precision: placesOf(second, name, at) }),
      };
    }
    default:
      return { kind } as SqlType;
  }
}

/** PostgreSQL takes more than six places for six. */
function placesOf(given: number, name: string, at: TextPlace | undefined): number {
  if (given < 0)
    throw new DbError('22023', `${name.toUpperCase()}(${given}) precision must not be negative`, {
      at,
    });
  return Math.min(given, 6);
}

/** By the mask the parser gives (PostgreSQL's INTERVAL_MASK); the full range means all fields. */
const INTERVAL_FIELDS: Readonly<Record<number, IntervalFields>> = {
  [1 << 2]: 'year',
  [1 << 1]: 'month',
  [1 << 3]: 'day',
  [1 << 10]: 'hour',
  [1 << 11]: 'minute',
  [1 << 12]: 'second',
  [(1 << 2) | (1 << 1)]: 'year to month',
  [(1 << 3) | (1 << 10)]: 'day to hour',
  [(1 << 3) | (1 << 10) | (1 << 11)]: 'day to minute',
  [(1 << 3) | (1 << 10) | (1 << 11) | (1 << 12)]: 'day to second',
  [(1 << 10) | (1 << 11)]: 'hour to minute',
  [(1 << 10) | (1 << 11) | (1 << 12)]: 'hour to second',
  [(1 << 11) | (1 << 12)]: 'minute to second',
};
