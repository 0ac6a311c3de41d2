import { DbError } from '../base/errors.ts';
import { isIntegerType, type SqlType } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import { bytesFromBase64 } from './base64.ts';
import { PeekedBytes, byteLengthOf } from './byte-sources.ts';
import {
  SAMPLE_ROW_COUNT_DEFAULT,
  type FormatSource,
  type OpenedReader,
  type ReaderOptions,
} from './contract.ts';
import { markless, withoutMark } from './csv-reader.ts';
import { PLAIN } from '../base/text-cells.ts';
import type { Records } from './csv-records.ts';
import { inferJsonType, type SampleCell } from './infer-types.ts';
import { JsonCutter, type ColumnOfKey } from './json-records.ts';
import { cellText, type CellColumn, type CellOptions } from '../columns/read-cells.ts';
import { openText } from './text-reader.ts';

/** What is looked at to find columns and their types, unless its first objects are longer. */
const SAMPLE_BYTES = 1 << 20;
const SAMPLE_BYTES_MAX = 1 << 26;
/** A table may not have more columns (PostgreSQL's bound). */
const COLUMN_COUNT_MAX = 1600;
const QUOTE = 34;

/** NDJSON, an object a line; or JSON, an array of objects. */
export async function openJson(
  source: FormatSource,
  format: 'ndjson' | 'json',
  options: ReaderOptions,
): Promise<OpenedReader> {
  const bytes = new PeekedBytes(source.bytes);
  try {
    const byLine = format === 'ndjson';
    const columns =
      options.targets?.map(({ name, type }, index): CellColumn => ({ name, type, index })) ??
      (await inferredColumns(bytes, byLine, options));
    // For the byte order mark.
    await bytes.head(4);
    return openText(
      {
        format,
        cutter: new JsonCutter({ byLine, width: columns.length, columnOf: finder(columns) }),
        bytes: markless(bytes),
        bytesTotal: byteLengthOf(source.bytes),
        columns,
        width: columns.length,
        header: false,
        cells: cellOptions(options),
      },
      options,
    );
  } catch (cause) {
    await bytes.close();
    throw cause;
  }
}

async function inferredColumns(
  bytes: PeekedBytes,
  byLine: boolean,
  options: ReaderOptions,
): Promise<CellColumn[]> {
  const rowCountMax = options.sampleRowCount ?? SAMPLE_ROW_COUNT_DEFAULT;
  const names: string[] = [];
  const indexOf = new Map<string, number>();
  let sample: Records | undefined;
  for (let size = SAMPLE_BYTES; size <= SAMPLE_BYTES_MAX; size *= 8) {
    const head = withoutMark(await bytes.head(size));
    const cutOf = (width: number, columnOf: ColumnOfKey): Records | undefined => {
      const cutter = new JsonCutter({ byLine, width, columnOf });
      cutter.push(head);
      return cutter.cut(rowCountMax, bytes.exhausted);
    };
    // Once for the keys, once for the values.
    const keys = cutOf(0, (key) => {
      if (!indexOf.has(key)) {
        indexOf.set(key, names.length);
        names.push(key);
      }
      return undefined;
    });
    if (names.length > COLUMN_COUNT_MAX) {
      throw new DbError('54011', `the objects have more than ${COLUMN_COUNT_MAX} keys`, {
        hint: 'Create the table first, with the columns that are wanted.',
      });
    }
    if (keys !== undefined) sample = cutOf(names.length, (key) => indexOf.get(key));
    if (sample !== undefined || bytes.exhausted) break;
  }
  const columns: CellColumn[] = [];
  for (const [index, name] of names.entries()) {
    const type =
      options.types?.[name] ?? inferJsonType(sampleCells(sample!, index), options.fromText);
    columns.push({ name, type, index });
    await options.pause?.();
  }
  return columns;
}

function sampleCells(sample: Records, index: number): SampleCell[] {
  const cells: SampleCell[] = [];
  const malformed = new Set(sample.malformed.map(({ row }) => row));
  for (let record = 0; record < sample.rowCount; record += 1) {
    const cell = sample.firstCell[record]! + index;
    const quoted = sample.flags[cell] !== PLAIN;
    if (malformed.has(record) || (!quoted && sample.starts[cell] === sample.ends[cell])) continue;
    cells.push({ text: cellText(sample, cell, QUOTE), quoted });
  }
  return cells;
}

/** Columns by name, exactly or else but for upper and lower case; 42703 for a key that no column has. */
function finder(columns: readonly CellColumn[]): ColumnOfKey {
  const exactly = new Map(columns.map(({ name, index }) => [name, index]));
  const alike = new Map<string, number | undefined>();
  for (const { name, index } of columns) {
    const lower = name.toLowerCase();
    alike.set(lower, alike.has(lower) ? undefined : index);
  }
  return (key) => {
    const index = exactly.get(key) ?? alike.get(key.toLowerCase());
    if (index !== undefined) return index;
    throw new DbError('42703', `column "${key}" of the file does not exist in the table`, {
      column: key,
      hint: `The table has ${columns.map(({ name }) => `"${name}"`).join(', ')}.`,
    });
  };
}

function cellOptions(options: ReaderOptions): CellOptions {
  return {
    fromText: (text, type, quoted) => fromJson(text, type, quoted, options),
    isUtc: options.zone === undefined || options.zone === 'UTC',
    nullText: new Uint8Array(0),
    quote: QUOTE,
  };
}

/** JSON has no bytes, no instants and no integers: base64, milliseconds and `1.0` stand for them. */
function fromJson(text: string, type: SqlType, quoted: boolean, options: ReaderOptions): Datum {
  if (quoted) {
    if (type.kind !== 'bytea' || text.startsWith('\\x')) return options.fromText(text, type);
    return bytesFromBase64(text);
  }
  if (isIntegerType(type) && /[.e]/i.test(text)) {
    const value = Number(text);
    if (Number.isSafeInteger(value)) return options.fromText(String(value), type);
  }
  if ((type.kind === 'timestamp' || type.kind === 'timestamptz') && /^[-\d]/.test(text)) {
    const micros = Math.round(Number(text) * 1000);
    if (Number.isSafeInteger(micros)) return micros;
  }
  return options.fromText(text, type);
}
