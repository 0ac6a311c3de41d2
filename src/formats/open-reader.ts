import { DbError } from '../base/errors.ts';
import { TEXT, type SqlType } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import { vectorFromData } from '../columns/build.ts';
import { allBytes } from './byte-sources.ts';
import {
  BATCH_ROW_COUNT_DEFAULT,
  SAMPLE_ROW_COUNT_DEFAULT,
  SKIPPED_ROWS_KEPT_MAX,
  type Format,
  type FormatSource,
  type OpenedReader,
  type RawBatch,
  type ReaderOptions,
  type SkippedRow,
} from './contract.ts';
import { openParquet } from './parquet-reader.ts';

/** Opens a file of any format that is read; told by `format`, by the name's ending, else by the first bytes. */
export async function openReader(
  source: FormatSource,
  options: ReaderOptions,
): Promise<OpenedReader> {
  const format = source.format ?? formatOfName(source.name) ?? 'csv';
  switch (format) {
    case 'parquet':
      return openParquet(source, options);
    case 'csv':
      return openTexts('csv', csvRows(decode(await allBytes(source.bytes)), options), options);
    case 'ndjson':
      return openTexts('ndjson', ndjsonRows(decode(await allBytes(source.bytes))), options);
    case 'json':
      return openTexts('json', jsonRows(decode(await allBytes(source.bytes))), options);
    case 'arrow':
      throw new DbError('0A000', 'reading Arrow files is not supported yet', {
        hint: 'Use Parquet, CSV or NDJSON.',
      });
  }
}

export function formatOfName(name: string | undefined): Format | undefined {
  const ending =
    name === undefined ? undefined : /\.([a-z]+)(?:\?.*)?$/i.exec(name)?.[1]?.toLowerCase();
  switch (ending) {
    case 'csv':
    case 'tsv':
      return 'csv';
    case 'ndjson':
    case 'jsonl':
      return 'ndjson';
    case 'json':
      return 'json';
    case 'parquet':
    case 'pq':
      return 'parquet';
    case 'arrow':
    case 'arrows':
    case 'feather':
      return 'arrow';
    default:
      return undefined;
  }
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new DbError('22021', 'invalid byte sequence for encoding "UTF8"', {
      hint: 'Convert the file to UTF-8 first, with iconv for example.',
      cause,
    });
  }
}

/** A row as texts or JSON values, with the line it began on. */
type LooseRow = { readonly line: number; readonly values: readonly unknown[] };
type LooseRows = {
  readonly names: readonly string[];
  readonly rows: Iterable<LooseRow>;
  readonly byteLength: number;
};

// ── CSV ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** RFC 4180: an empty field without quotes is NULL, an empty one in quotes the empty text. */
function csvRows(text: string, options: ReaderOptions): LooseRows {
  const plain = text.startsWith('\uFEFF') ? text.slice(1) : text;
  const quote = options.csv?.quote ?? '"';
  const delimiter = options.csv?.delimiter ?? likelyDelimiter(plain);
  const nullText = options.csv?.null ?? '';
  const iterator = cutCsv(plain, delimiter, quote, nullText)[Symbol.iterator]();
  const first = iterator.next();
  if (first.done === true) return { names: [], rows: [], byteLength: text.length };
  const hasHeader = options.csv?.header ?? true;
  const names = hasHeader
    ? first.value.values.map((name, index) =>
        name === null || name === '' ? `column${index + 1}` : String(name).trim(),
      )
    : first.value.values.map((_, index) => `column${index + 1}`);
  return {
    names,
    byteLength: text.length,
    rows: (function* rows(): Generator<LooseRow> {
      if (!hasHeader) yield first.value;
      for (let next = iterator.next(); next.done !== true; next = iterator.next()) yield next.value;
    })(),
  };
}

function likelyDelimiter(text: string): string {
  const line = text.slice(0, text.indexOf('\n') < 0 ? text.length : text.indexOf('\n'));
  let best = ',';
  for (const candidate of [',', '\t', ';', '|'])
    if (line.split(candidate).length > line.split(best).length) best = candidate;
  return best;
}

function* cutCsv(
  text: string,
  delimiter: string,
  quote: string,
  nullText: string,
): Generator<LooseRow> {
  let at = 0;
  let line = 1;
  while (at < text.length) {
    const values: (string | null)[] = [];
    const startLine = line;
    for (;;) {
      if (text[at] === quote) {
        let value = '';
        let from = at + 1;
        for (;;) {
          const end = text.indexOf(quote, from);
          if (end < 0)
            throw new DbError('22P04', `line ${startLine}: a quoted field does not end`, {
              hint: 'Close the quote, or double it inside the field.',
            });
          value += text.slice(from, end);
          if (text[end + 1] === quote) {
            value += quote;
            from = end + 2;
            continue;
          }
          at = end + 1;
          break;
        }
        for (const character of value) if (character === '\n') line += 1;
        values.push(value);
      } else {
        let end = at;
        while (
          end < text.length &&
          text[end] !== delimiter &&
          text[end] !== '\n' &&
          text[end] !== '\r'
        )
          end += 1;
        const value = text.slice(at, end);
        values.push(value === nullText ? null : value);
        at = end;
      }
      if (text[at] === delimiter) {
        at += 1;
        continue;
      }
      if (text[at] === '\r') at += 1;
      if (text[at] === '\n') at += 1;
      line += 1;
      break;
    }
    if (values.length === 1 && values[0] === null) continue;
    yield { line: startLine, values };
  }
}

// ── JSON ───────────────────────────────────────────────────────────────────────────────────────────────────────

function ndjsonRows(text: string): LooseRows {
  const objects: { readonly line: number; readonly value: Record<string, unknown> | undefined }[] =
    [];
  let line = 0;
  for (const piece of text.split('\n')) {
    line += 1;
    if (piece.trim() === '') continue;
    objects.push({ line, value: parsedObject(piece) });
  }
  return rowsOfObjects(objects, text.length);
}

function parsedObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

function jsonRows(text: string): LooseRows {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new DbError('22P02', 'the file is not valid JSON', {
      cause,
      hint: 'Give an array of objects.',
    });
  }
  if (!Array.isArray(value))
    throw new DbError('22023', 'the file is not an array of objects', {
      hint: 'Give [{ … }, { … }], or NDJSON with one object a line.',
    });
  return rowsOfObjects(
    value.map((each, index) => ({
      line: index + 1,
      value:
        typeof each === 'object' && each !== null ? (each as Record<string, unknown>) : undefined,
    })),
    text.length,
  );
}

function rowsOfObjects(
  objects: readonly {
    readonly line: number;
    readonly value: Record<string, unknown> | undefined;
  }[],
  byteLength: number,
): LooseRows {
  const names = [
    ...new Set(objects.flatMap(({ value }) => (value === undefined ? [] : Object.keys(value)))),
  ];
  return {
    names,
    byteLength,
    rows: objects.map(({ line, value }) => ({
      line,
      values: value === undefined ? [BAD_LINE] : names.map((name) => value[name] ?? null),
    })),
  };
}

/** Stands for a line that is no object. */
const BAD_LINE = Symbol('bad line');

// ── Types ──────────────────────────────────────────────────────────────────────────────────────────────────────

function openTexts(format: Format, loose: LooseRows, options: ReaderOptions): OpenedReader {
  const { names } = loose;
  const iterator = loose.rows[Symbol.iterator]();
  const sample: LooseRow[] = [];
  const targets = options.targets;
  if (targets === undefined) {
    for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
      sample.push(next.value);
      if (sample.length >= (options.sampleRowCount ?? SAMPLE_ROW_COUNT_DEFAULT)) break;
    }
  }
  const columns =
    targets === undefined
      ? names.map((name, index) => ({
          name,
          type:
            options.types?.[name] ??
            inferredType(
              sample.map(({ values }) => values[index]),
              options,
            ),
          nullable: true,
          from: index,
        }))
      : targets.flatMap(({ name, type }) => {
          const from = names.indexOf(name);
          return from < 0 ? [] : [{ name, type, nullable: true, from }];
        });
  const unknown =
    targets === undefined
      ? undefined
      : names.find((name) => !targets.some((target) => target.name === name));
  if (unknown !== undefined) {
    throw new DbError('42703', `the file has a column "${unknown}" that the table has not`, {
      column: unknown,
      hint: 'Take it out of the file, or add it to the table.',
    });
  }
  const skipped: SkippedRow[] = [];
  const progress = { rowsRead: 0, bytesRead: 0, rowsSkipped: 0, skipped };
  const skip = (line: number, cause: unknown): void => {
    const message = cause instanceof Error ? cause.message : String(cause);
    if (options.onError !== 'skip') {
      const code = cause instanceof DbError ? cause.code : '22P02';
      throw new DbError(code, `line ${line}: ${message}`, {
        hint: "Mend the line, or load with onError: 'skip'.",
      });
    }
    progress.rowsSkipped += 1;
    if (skipped.length < SKIPPED_ROWS_KEPT_MAX) skipped.push({ line, message });
  };
  const batchRowCount = options.batchRowCount ?? BATCH_ROW_COUNT_DEFAULT;
  async function* batches(): AsyncGenerator<RawBatch, void, undefined> {
    let data: Datum[][] = columns.map(() => []);
    const rows = (function* rows(): Generator<LooseRow> {
      yield* sample;
      for (let next = iterator.next(); next.done !== true; next = iterator.next()) yield next.value;
    })();
    for (const { line, values } of rows) {
      try {
        if (values[0] === BAD_LINE) throw new DbError('22P02', 'not a JSON object');
        if (format === 'csv' && values.length !== names.length)
          throw new DbError(
            '22P04',
            `${values.length} fields where the header has ${names.length}`,
          );
        const row = columns.map(({ type, from }) => datumOf(values[from], type, options));
        row.forEach((datum, index) => data[index]!.push(datum));
        progress.rowsRead += 1;
      } catch (cause) {
        skip(line, cause);
      }
      if ((data[0]?.length ?? 0) >= batchRowCount) {
        yield {
          rowCount: data[0]!.length,
          columns: columns.map(({ type }, index) => vectorFromData(type, data[index]!)),
        };
        data = columns.map(() => []);
        await options.pause?.();
      }
    }
    progress.bytesRead = loose.byteLength;
    if ((data[0]?.length ?? 0) > 0)
      yield {
        rowCount: data[0]!.length,
        columns: columns.map(({ type }, index) => vectorFromData(type, data[index]!)),
      };
  }
  return {
    format,
    columns: columns.map(({ name, type, nullable }) => ({ name, type, nullable })),
    batches: batches(),
    bytesTotal: loose.byteLength,
    progress,
  };
}

function datumOf(value: unknown, type: SqlType, options: ReaderOptions): Datum {
  if (value === null || value === undefined) return null;
  const text =
    typeof value === 'string'
      ? value
      : typeof value === 'object'
        ? JSON.stringify(value)
        : String(value);
  return options.fromText(text, type);
}

/** The narrowest type that takes every value of the sample: whole numbers, numbers, booleans, dates, instants, else text. */
function inferredType(values: readonly unknown[], options: ReaderOptions): SqlType {
  const present = values.filter((value) => value !== null && value !== undefined).map(String);
  if (present.length === 0) return TEXT;
  const all = (test: (text: string) => boolean): boolean => present.every(test);
  const reads =
    (type: SqlType) =>
    (text: string): boolean => {
      try {
        options.fromText(text, type);
        return true;
      } catch {
        return false;
      }
    };
  // A leading zero is a code, not a number.
  if (all((text) => /^-?(0|[1-9]\d*)$/.test(text)) && all(reads({ kind: 'int8' })))
    return { kind: 'int8' };
  if (all((text) => /^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) && !/^-?0\d/.test(text)))
    return { kind: 'float8' };
  if (all((text) => /^(true|false|t|f)$/i.test(text))) return { kind: 'boolean' };
  if (all((text) => /^\d{4}-\d{2}-\d{2}$/.test(text)) && all(reads({ kind: 'date' })))
    return { kind: 'date' };
  if (all((text) => /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}/.test(text))) {
    const type: SqlType = all((text) => /(Z|[+-]\d{2}(:?\d{2})?)$/.test(text))
      ? { kind: 'timestamptz' }
      : { kind: 'timestamp' };
    if (all(reads(type))) return type;
  }
  return TEXT;
}
