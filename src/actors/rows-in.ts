import { DbError } from '../base/errors.ts';
import { typeName, type SqlType } from '../columns/types.ts';
import { Decimal, Interval, normalInteger, type Datum } from '../columns/values.ts';
import type { NumberArray, Vector } from '../columns/vector.ts';
import { datumFromText } from '../expressions/text-io.ts';
import { nearestName } from './catalog.ts';

/** What users may hand in for rows (docs/api.md, "Values"). */
export type InputRow = Readonly<Record<string, unknown>>;
export type InputColumn =
  | readonly unknown[]
  | NumberArray
  | Uint8ClampedArray
  | BigInt64Array
  | {
      readonly values: readonly unknown[] | NumberArray | BigInt64Array;
      readonly valid: Uint8Array;
    };
export type InputColumns = Readonly<Record<string, InputColumn>>;

/** A column that rows are read for. */
export type TargetColumn = { readonly name: string; readonly type: SqlType };

/** How texts without a zone are read; the statement's instant, for 'now'. */
export type InputContext = { readonly zone: string; readonly nowMicros: number };

/** Columns that the input names, as vectors; `undefined` for those that it leaves to their defaults. */
export type InputBatch = {
  readonly rowCount: number;
  readonly columns: readonly (Vector | undefined)[];
  /** By column: 1 for rows that leave it out while others give it. */
  readonly missing: readonly (Uint8Array | undefined)[];
};

/**
 * Rows given as objects. A key that is missing leaves the column to its default; a key of no column is 42703, a value
 * that does not fit is 22P02/22003/22023 with table, column and row number.
 */
export function batchOfObjects(
  table: string,
  columns: readonly TargetColumn[],
  rows: readonly InputRow[],
  context: InputContext,
): InputBatch {
  const present = new Uint8Array(columns.length);
  const indexOf = new Map(columns.map(({ name }, index) => [name, index]));
  for (let row = 0; row < rows.length; row += 1) {
    const given = rows[row];
    if (typeof given !== 'object' || given === null || Array.isArray(given)) {
      throw new DbError('22023', `row ${row + 1} is not an object`, {
        table,
        hint: 'Give an array of objects such as { id: 1, … }, or an object of columns such as { id: [1, 2] }.',
      });
    }
    for (const key in given) {
      if (!Object.hasOwn(given, key)) continue;
      const index = indexOf.get(key);
      if (index === undefined) throw unknownColumn(table, key, columns);
      present[index] = 1;
    }
  }
  const gives = columns.map(({ name }) => giver(name));
  return {
    rowCount: rows.length,
    missing: columns.map((_, index) => {
      const given = gives[index]!;
      return present[index] === 0 || rows.every(given)
        ? undefined
        : Uint8Array.from(rows, (row) => (given(row) ? 0 : 1));
    }),
    columns: columns.map((column, index) => {
      if (present[index] === 0) return undefined;
      const given = gives[index]!;
      return buildVector(
        table,
        column,
        rows.length,
        (row) => (given(rows[row]!) ? rows[row]![column.name] : undefined),
        context,
        (row) => !given(rows[row]!),
      );
    }),
  };
}

/** Whether a row gives a column. Names that every object inherits, such as "constructor", must be its own. */
function giver(name: string): (row: InputRow) => boolean {
  return name in Object.prototype ? (row) => Object.hasOwn(row, name) : (row) => name in row;
}

/** Rows given as columns of equal length. Typed arrays are copied once, never read again. */
export function batchOfColumns(
  table: string,
  columns: readonly TargetColumn[],
  given: InputColumns,
  context: InputContext,
): InputBatch {
  const names = new Set(columns.map(({ name }) => name));
  let rowCount = -1;
  for (const key of Object.keys(given)) {
    if (!names.has(key)) throw unknownColumn(table, key, columns);
    const length = valuesOf(table, key, given[key]!).values.length;
    if (rowCount >= 0 && length !== rowCount) {
      throw new DbError(
        '22023',
        `column "${key}" has ${length} values, the columns before it ${rowCount}`,
        {
          table,
          column: key,
          hint: 'Give every column the same number of values.',
        },
      );
    }
    rowCount = length;
  }
  if (rowCount < 0) rowCount = 0;
  return {
    rowCount,
    missing: columns.map(() => undefined),
    columns: columns.map((column) => {
      if (!Object.hasOwn(given, column.name)) return undefined;
      const input = given[column.name]!;
      const { values, valid } = valuesOf(table, column.name, input);
      if (valid !== undefined && valid.length < rowCount) {
        throw new DbError(
          '22023',
          `"valid" of column "${column.name}" is shorter than its values`,
          { table, column: column.name },
        );
      }
      const direct = directVector(column.type, values, valid);
      if (direct !== undefined) return direct;
      const get = (row: number): unknown =>
        valid !== undefined && valid[row] === 0 ? null : values[row];
      return buildVector(table, column, rowCount, get, context, () => false);
    }),
  };
}

function valuesOf(
  table: string,
  name: string,
  input: InputColumn,
): { values: readonly unknown[] | NumberArray | BigInt64Array; valid: Uint8Array | undefined } {
  if (Array.isArray(input)) return { values: input as readonly unknown[], valid: undefined };
  if (ArrayBuffer.isView(input) && !(input instanceof DataView))
    return { values: attached(table, name, input as NumberArray), valid: undefined };
  const pair = input as { readonly values?: unknown; readonly valid?: unknown };
  if (
    typeof input === 'object' &&
    input !== null &&
    pair.valid instanceof Uint8Array &&
    (Array.isArray(pair.values) || ArrayBuffer.isView(pair.values))
  ) {
    const values = pair.values as readonly unknown[] | NumberArray;
    return {
      values: ArrayBuffer.isView(values) ? attached(table, name, values) : values,
      valid: pair.valid,
    };
  }
  throw new DbError('22023', `column "${name}" is not an array`, {
    table,
    column: name,
    hint: 'Give an array, a typed array, or { values, valid: Uint8Array }.',
  });
}

/** A typed array whose memory was given away is empty: that is no column of no rows. */
function attached(table: string, name: string, values: NumberArray): NumberArray {
  if (values.length > 0) return values;
  try {
    // Refuses a detached buffer.
    new Uint8Array(values.buffer);
    return values;
  } catch (cause) {
    throw new DbError('22023', `the array of column "${name}" is detached`, {
      table,
      column: name,
      hint: 'It was transferred, to a worker perhaps: give a copy.',
      cause,
    });
  }
}

const INT_LIMITS = { int2: 32_768, int4: 2_147_483_648, int8: 2 ** 53 } as const;

/** Typed arrays whose values are the type's own: one copy, one check. */
function directVector(
  type: SqlType,
  values: readonly unknown[] | NumberArray | BigInt64Array,
  valid: Uint8Array | undefined,
): Vector | undefined {
  if (!ArrayBuffer.isView(values)) return undefined;
  const validity = valid === undefined ? {} : { validity: valid.slice() };
  if (type.kind === 'float8' && values instanceof Float64Array) {
    return {
      rep: 'number',
      type,
      values: values.slice(),
      factor: 1,
      base: 0,
      scale: 0,
      ...validity,
    };
  }
  if (type.kind === 'float4' && values instanceof Float32Array) {
    return {
      rep: 'number',
      type,
      values: values.slice(),
      factor: 1,
      base: 0,
      scale: 0,
      ...validity,
    };
  }
  if (type.kind === 'int2' || type.kind === 'int4' || type.kind === 'int8') {
    if (
      values instanceof BigInt64Array ||
      values instanceof BigUint64Array ||
      values instanceof Float32Array
    )
      return undefined;
    const limit = INT_LIMITS[type.kind];
    if (
      values instanceof Float64Array ||
      values instanceof Uint32Array ||
      (values instanceof Int32Array && type.kind === 'int2')
    ) {
      for (let row = 0; row < values.length; row += 1) {
        const value = values[row]!;
        if (
          (valid === undefined || valid[row] === 1) &&
          !(Math.floor(value) === value && value >= -limit && value < limit)
        )
          return undefined;
      }
    } else if (type.kind === 'int2' && values instanceof Uint16Array) {
      return undefined;
    }
    return {
      rep: 'number',
      type,
      values: values.slice() as NumberArray,
      factor: 1,
      base: 0,
      scale: 0,
      ...validity,
    };
  }
  if (
    (type.kind === 'timestamptz' || type.kind === 'timestamp') &&
    values instanceof Float64Array
  ) {
    // Epoch milliseconds, fractions included.
    const micros = new Float64Array(values.length);
    for (let row = 0; row < values.length; row += 1) {
      const value = Math.round(values[row]! * 1000);
      if ((valid === undefined || valid[row] === 1) && !Number.isSafeInteger(value))
        return undefined;
      micros[row] = value;
    }
    return { rep: 'number', type, values: micros, factor: 1, base: 0, scale: 0, ...validity };
  }
  return undefined;
}

/** One value after the other, by the type's converter. */
function buildVector(
  table: string,
  column: TargetColumn,
  rowCount: number,
  get: (row: number) => unknown,
  context: InputContext,
  isMissing: (row: number) => boolean,
): Vector {
  const { type } = column;
  const convert = converterOf(type, context);
  const fail = (row: number, cause: unknown): DbError => {
    const reason = cause instanceof DbError ? cause : new DbError('22023', String(cause));
    return new DbError(reason.code, reason.message, {
      table,
      column: column.name,
      detail: `Row ${row + 1}, column "${column.name}" of type ${typeName(type)}.`,
      hint: reason.hint,
    });
  };
  const data: Datum[] = Array.from({ length: rowCount });
  let validity: Uint8Array | undefined;
  let allNumbers = true;
  for (let row = 0; row < rowCount; row += 1) {
    const value = get(row);
    if (value === null || (value === undefined && isMissing(row))) {
      validity ??= new Uint8Array(rowCount).fill(1);
      validity[row] = 0;
      data[row] = null;
      continue;
    }
    try {
      const datum = convert(value);
      data[row] = datum;
      if (typeof datum !== 'number') allNumbers = false;
    } catch (cause) {
      throw fail(row, cause);
    }
  }
  return vectorOf(type, data, validity, allNumbers);
}

function vectorOf(
  type: SqlType,
  data: Datum[],
  validity: Uint8Array | undefined,
  allNumbers: boolean,
): Vector {
  const present = validity === undefined ? {} : { validity };
  switch (type.kind) {
    case 'boolean': {
      const values = new Uint8Array(data.length);
      for (let row = 0; row < data.length; row += 1) values[row] = data[row] === true ? 1 : 0;
      return { rep: 'boolean', type, values, ...present };
    }
    case 'int2':
    case 'int4':
    case 'int8':
    case 'float4':
    case 'float8':
    case 'date':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      if (allNumbers) {
        const values = new Float64Array(data.length);
        for (let row = 0; row < data.length; row += 1)
          values[row] = (data[row] as number | null) ?? 0;
        return { rep: 'number', type, values, factor: 1, base: 0, scale: 0, ...present };
      }
      return { rep: 'object', type, values: data, ...present };
    case 'numeric': {
      const scale = type.scale;
      if (
        scale !== undefined &&
        data.every(
          (datum) =>
            datum === null ||
            ((datum as Decimal).special === undefined &&
              (datum as Decimal).scale === scale &&
              isSafe((datum as Decimal).coefficient)),
        )
      ) {
        const values = new Float64Array(data.length);
        for (let row = 0; row < data.length; row += 1)
          values[row] = data[row] === null ? 0 : Number((data[row] as Decimal).coefficient);
        return { rep: 'number', type, values, factor: 1, base: 0, scale, ...present };
      }
      return { rep: 'object', type, values: data, ...present };
    }
    default:
      return { rep: 'object', type, values: data, ...present };
  }
}

function isSafe(coefficient: bigint): boolean {
  return coefficient >= -9007199254740991n && coefficient <= 9007199254740991n;
}

/** The converter of a JavaScript value, never null, to a type's datum. */
export function converterOf(type: SqlType, context: InputContext): (value: unknown) => Datum {
  const fromText = (text: string): Datum => datumFromText(checkedText(text), type, context);
  switch (type.kind) {
    case 'boolean':
      return (value) => {
        if (typeof value === 'boolean') return value;
        if (typeof value === 'string') return fromText(value);
        throw mismatch(value, type, 'true or false');
      };
    case 'int2':
    case 'int4': {
      const limit = INT_LIMITS[type.kind];
      return (value) => {
        if (typeof value === 'number') {
          if (!Number.isInteger(value)) throw mismatch(value, type, 'a whole number');
          if (value < -limit || value >= limit) throw outOfRange(type, value);
          return value === 0 ? 0 : value;
        }
        if (typeof value === 'bigint') {
          if (value < BigInt(-limit) || value >= BigInt(limit)) throw outOfRange(type, value);
          return Number(value);
        }
        if (typeof value === 'string') return fromText(value);
        throw mismatch(value, type, 'a whole number');
      };
    }
    case 'int8':
      return (value) => {
        if (typeof value === 'number') {
          if (!Number.isInteger(value)) throw mismatch(value, type, 'a whole number');
          if (Number.isSafeInteger(value)) return value === 0 ? 0 : value;
          return int8(BigInt(value));
        }
        if (typeof value === 'bigint') return int8(value);
        if (typeof value === 'string') return fromText(value);
        throw mismatch(value, type, 'a whole number, a bigint or a text');
      };
    case 'float4':
    case 'float8':
      return (value) => {
        if (typeof value === 'number') return type.kind === 'float4' ? float4(value) : value;
        if (typeof value === 'bigint')
          return type.kind === 'float4' ? float4(Number(value)) : Number(value);
        if (typeof value === 'string') return fromText(value);
        throw mismatch(value, type, 'a number');
      };
    case 'numeric':
      return (value) => {
        if (typeof value === 'number' || typeof value === 'bigint') return fromText(String(value));
        if (typeof value === 'string') return fromText(value);
        if (value instanceof Decimal) return fromText(value.toString());
        throw mismatch(value, type, 'a number, a bigint or a text');
      };
    case 'text':
    case 'varchar':
    case 'bpchar':
      return (value) => {
        if (typeof value === 'string') {
          const text = checkedText(value);
          return type.kind === 'text' ? text : fromText(text);
        }
        if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean')
          return fromText(String(value));
        throw mismatch(value, type, 'a text');
      };
    case 'timestamp':
    case 'timestamptz':
      return (value) => {
        if (typeof value === 'number') return microsOfMs(value, type);
        if (value instanceof Date) return microsOfMs(value.getTime(), type);
        if (typeof value === 'bigint') return micros(value, type);
        if (typeof value === 'string') return fromText(value);
        throw mismatch(
          value,
          type,
          'a text, a Date, milliseconds as a number or microseconds as a bigint',
        );
      };
    case 'date':
      return (value) => {
        if (value instanceof Date) {
          const days = Math.floor(value.getTime() / 86_400_000);
          if (!Number.isFinite(days)) throw mismatch(value, type, 'a valid Date');
          return days;
        }
        if (typeof value === 'string') return fromText(value);
        throw mismatch(value, type, "a text such as '2026-11-22'");
      };
    case 'interval':
      return (value) => {
        if (value instanceof Interval) return value;
        if (typeof value === 'string') return fromText(value);
        throw mismatch(value, type, "a text such as 'P1DT2H' or '1 day 02:00'");
      };
    case 'bytea':
      return (value) => {
        if (value instanceof Uint8Array) return value.slice();
        if (typeof value === 'string') return fromText(value);
        throw mismatch(value, type, 'a Uint8Array');
      };
    case 'time':
    case 'uuid':
      return (value) => {
        if (typeof value === 'string') return fromText(value);
        throw mismatch(value, type, 'a text');
      };
    case 'unknown':
    case 'null':
      return (value) => {
        if (typeof value === 'string') return checkedText(value);
        throw mismatch(value, type, 'a text');
      };
  }
}

/** Text that can be stored: no NUL, no lone surrogate (22021). */
export function checkedText(text: string): string {
  if (text.includes('\0')) {
    throw new DbError('22021', 'invalid byte sequence for encoding "UTF8": 0x00', {
      hint: 'Remove NUL characters from the text.',
    });
  }
  if (!text.isWellFormed()) {
    throw new DbError('22021', 'invalid byte sequence for encoding "UTF8": a lone surrogate', {
      hint: 'Call toWellFormed() on the text, or repair what cut a surrogate pair in two.',
    });
  }
  return text;
}

function int8(value: bigint): number | bigint {
  if (value < -(2n ** 63n) || value >= 2n ** 63n) throw outOfRange({ kind: 'int8' }, value);
  return normalInteger(value);
}

function float4(value: number): number {
  const rounded = Math.fround(value);
  if (!Number.isFinite(rounded) && Number.isFinite(value))
    throw outOfRange({ kind: 'float4' }, value);
  return rounded;
}

function microsOfMs(ms: number, type: SqlType): number {
  const micros = Math.round(ms * 1000);
  if (!Number.isSafeInteger(micros))
    throw mismatch(ms, type, 'a valid Date, or milliseconds since 1970');
  return micros;
}

/** From 4713 BC, as in PostgreSQL, to what 64 bits hold. */
const MICROS_MIN = -210_866_803_200_000_000n;
const MICROS_END = 2n ** 63n;

function micros(value: bigint, type: SqlType): number | bigint {
  if (value >= MICROS_MIN && value < MICROS_END) return normalInteger(value);
  throw new DbError('22008', `${type.kind} out of range: ${value} microseconds since 1970`, {
    hint: 'Give microseconds as a bigint, milliseconds as a number.',
  });
}

function outOfRange(type: SqlType, value: number | bigint): DbError {
  return new DbError('22003', `value "${value}" is out of range for type ${typeName(type)}`, {
    hint:
      type.kind === 'int8'
        ? 'Use numeric for larger numbers.'
        : 'Use a wider type: bigint, double precision or numeric.',
  });
}

function mismatch(value: unknown, type: SqlType, wanted: string): DbError {
  return new DbError('22023', `${describe(value)} is not a value of type ${typeName(type)}`, {
    hint: `Give ${wanted}, or null.`,
  });
}

function describe(value: unknown): string {
  if (value === undefined) return 'undefined';
  if (typeof value === 'number') return `the number ${value}`;
  if (typeof value === 'string') return 'a text';
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'an invalid Date' : 'a Date';
  if (Array.isArray(value)) return 'an array';
  return `a value of JavaScript type ${typeof value}`;
}

function unknownColumn(table: string, key: string, columns: readonly TargetColumn[]): DbError {
  const nearest = nearestName(
    key,
    columns.map(({ name }) => name),
  );
  return new DbError('42703', `column "${key}" of relation "${table}" does not exist`, {
    table,
    column: key,
    hint:
      nearest === undefined
        ? `The columns are ${columns.map(({ name }) => name).join(', ')}.`
        : `Did you mean "${nearest}"?`,
  });
}
