import { DbError } from '../base/errors.ts';
import type { Batch } from '../columns/batch.ts';
import { datumAt } from '../columns/build.ts';
import { typeName, type SqlType } from '../columns/types.ts';
import { Decimal, type Datum } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';
import { datumToIso, datumToText } from '../expressions/text-io.ts';
import type { OutputColumn } from '../plan/logical.ts';

/** How types come out (docs/api.md, "Values"): by column type, never by value. */
export type ValueOptions = {
  readonly int8?: 'number' | 'bigint' | 'string';
  readonly numeric?: 'string' | 'number';
  readonly timestamptz?: 'iso' | 'ms' | 'date';
};

export type ResultColumn = {
  readonly name: string;
  readonly type: string;
  readonly nullable: boolean;
};

export function resultColumns(columns: readonly OutputColumn[]): ResultColumn[] {
  return columns.map(({ name, type, nullable }) => ({ name, type: typeName(type), nullable }));
}

export type ResultRow = Record<string, unknown>;

/**
 * Turns batches into row objects. Of columns of one name the last one shows, as in node-postgres; `format: 'text'` and
 * `columnar()` keep them all.
 */
export class RowWriter {
  readonly #writers: readonly ValueWriter[];
  readonly #records: RecordMaker;
  /** Values by column, written anew for each batch. */
  readonly #scratch: unknown[][];

  constructor(columns: readonly OutputColumn[], options: ValueOptions) {
    this.#writers = columns.map(({ type, name }) => valueWriter(type, name, options));
    this.#records = new RecordMaker(columns.map(({ name }) => name));
    this.#scratch = columns.map(() => []);
  }

  append(batch: Batch, rows: ResultRow[]): void {
    const { rowCount, columns } = batch;
    for (let column = 0; column < columns.length; column += 1)
      this.#writers[column]!(columns[column]!, batch, this.#scratch[column]!);
    this.#records.append(this.#scratch, rowCount, rows);
    // What a large batch held is not kept alive.
    if (rowCount > SCRATCH_ROWS_MAX) for (const values of this.#scratch) values.length = 0;
  }

  /** One array a column. */
  columnar(batch: Batch): unknown[][] {
    return this.#writers.map((write, column) => {
      const values: unknown[] = [];
      write(batch.columns[column]!, batch, values);
      return values;
    });
  }
}

/** Makes objects with properties of these names, of which the last one of a name counts. */
export class RecordMaker {
  readonly #names: readonly string[];
  /** Made for the names, once so many are written that it pays. */
  #loop: RecordLoop | undefined;
  #count = 0;

  constructor(names: readonly string[]) {
    this.#names = names;
  }

  /** Appends `count` objects of the first values of each column. */
  append(columns: readonly (readonly unknown[])[], count: number, records: ResultRow[]): void {
    this.#count += count;
    if (this.#count > RECORDS_BEFORE_LOOP && this.#names.length <= LOOP_NAMES_MAX) {
      this.#loop ??= recordLoop(this.#names);
      this.#loop(columns, count, records);
      return;
    }
    const first = records.length;
    for (let each = 0; each < count; each += 1) records.push({});
    for (let column = 0; column < this.#names.length; column += 1) {
      const name = this.#names[column]!;
      const values = columns[column]!;
      if (name === '__proto__') {
        // Assigned, it would be the record's prototype.
        for (let each = 0; each < count; each += 1)
          Object.defineProperty(records[first + each], name, { ...PLAIN, value: values[each] });
        continue;
      }
      for (let each = 0; each < count; each += 1) records[first + each]![name] = values[each];
    }
  }
}

type RecordLoop = (
  columns: readonly (readonly unknown[])[],
  count: number,
  records: ResultRow[],
) => void;

/** Compiling costs as much as some hundred records one property after another. */
const RECORDS_BEFORE_LOOP = 512;
const LOOP_NAMES_MAX = 64;
const SCRATCH_ROWS_MAX = 256;

/** A loop that writes object literals of these names: a fifth of what setting one property after another takes. */
function recordLoop(names: readonly string[]): RecordLoop {
  const columns = names.map((_, index) => `c${index} = columns[${index}]`).join(', ');
  const properties = names.map((name, index) => {
    const text = JSON.stringify(name);
    // Computed, it is a property like others; as it stands it would be the record's prototype.
    return `${name === '__proto__' ? `[${text}]` : text}: c${index}[each]`;
  });
  return new Function(
    'columns',
    'count',
    'records',
    `'use strict'; ${names.length === 0 ? '' : `const ${columns};`}
    for (let each = 0; each < count; each += 1) records.push({ ${properties.join(', ')} });`,
  ) as RecordLoop;
}

const PLAIN = { enumerable: true, configurable: true, writable: true };

/** Rows as PostgreSQL prints them. */
export function textRows(
  columns: readonly OutputColumn[],
  batch: Batch,
  zone: string,
): (string | null)[][] {
  const rows: (string | null)[][] = [];
  for (let row = 0; row < batch.rowCount; row += 1) {
    const physical = batch.selection === undefined ? row : batch.selection[row]!;
    rows.push(
      columns.map(({ type }, column) => {
        const datum = datumAt(batch.columns[column]!, physical);
        return datum === null ? null : datumToText(datum, type, { zone });
      }),
    );
  }
  return rows;
}

/** A datum as JSON has it: bytea in base64, the numbers JSON does not know as texts. */
export function jsonValue(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (value instanceof Date) return value.toISOString();
  return value;
}

/** Writes the values of a batch into the first entries of an array. */
type ValueWriter = (vector: Vector, batch: Batch, out: unknown[]) => void;

function valueWriter(type: SqlType, name: string, options: ValueOptions): ValueWriter {
  const convert = datumWriter(type, name, options);
  const plainNumbers =
    type.kind === 'int2' ||
    type.kind === 'int4' ||
    type.kind === 'float4' ||
    type.kind === 'float8' ||
    (type.kind === 'int8' && (options.int8 ?? 'number') === 'number');
  return (vector, batch, out) => {
    const { rowCount, selection } = batch;
    if (plainNumbers && vector.rep === 'number') {
      const { values, validity, factor, base } = vector;
      // −0 survives only where nothing is added to it.
      const isPlain = factor === 1 && base === 0;
      for (let row = 0; row < rowCount; row += 1) {
        const at = selection === undefined ? row : selection[row]!;
        const value = values[at]!;
        if (validity !== undefined && validity[at] === 0) out[row] = null;
        else out[row] = isPlain ? value : value * factor + base;
      }
      return;
    }
    for (let row = 0; row < rowCount; row += 1) {
      const datum = datumAt(vector, selection === undefined ? row : selection[row]!);
      out[row] = datum === null ? null : convert(datum);
    }
  };
}

/** The converter of a datum, never null, to what users get. */
export function datumWriter(
  type: SqlType,
  name: string,
  options: ValueOptions,
): (datum: Datum) => unknown {
  switch (type.kind) {
    case 'int8':
      switch (options.int8 ?? 'number') {
        case 'number':
          return (datum) => {
            if (typeof datum !== 'bigint') return datum;
            throw new DbError(
              '22003',
              `value ${datum} of column "${name}" is beyond what a JavaScript number holds exactly`,
              {
                column: name,
                hint: "Ask for values: { int8: 'bigint' } or { int8: 'string' }.",
              },
            );
          };
        case 'bigint':
          return (datum) => BigInt(datum as number | bigint);
        case 'string':
          return (datum) => String(datum);
      }
    // eslint-disable-next-line no-fallthrough -- Every option above returns.
    case 'numeric':
      return options.numeric === 'number'
        ? (datum) => Number((datum as Decimal).toString())
        : (datum) => (datum as Decimal).toString();
    case 'timestamptz':
      switch (options.timestamptz ?? 'iso') {
        case 'ms':
          return (datum) => msOf(datum);
        case 'date':
          return (datum) => new Date(msOf(datum));
        case 'iso':
          return (datum) => datumToIso(datum!, type);
      }
    // eslint-disable-next-line no-fallthrough -- Every option above returns.
    case 'timestamp':
    case 'date':
    case 'time':
    case 'interval':
      return (datum) => datumToIso(datum!, type);
    default:
      return asItIs;
  }
}

/** What writes data that are shown as they are: there is nothing to do. */
export function asItIs(datum: Datum): unknown {
  return datum;
}

/** Microseconds to milliseconds, towards the past. */
function msOf(datum: Datum): number {
  return typeof datum === 'bigint' ? Number(datum / 1000n) : Math.floor((datum as number) / 1000);
}
