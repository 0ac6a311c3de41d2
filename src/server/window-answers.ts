import type { FastifyReply } from 'fastify';
import type { Clock } from '../base/ports.ts';
import type { WindowQuery, WindowResult, WindowResultRow } from '../actors/window-query.ts';
import { vectorFromData } from '../columns/build.ts';
import { TEXT } from '../columns/types.ts';
import { CsvWriter } from '../formats/text-writers.ts';
import { describe, jsonText, ROWS_PER_PIECE, sendPieces, sendRows, untilIo } from './reply.ts';

/** The formats of windows: rows within rows have no columns of types. */
export const WINDOW_FORMATS = ['json', 'ndjson', 'csv'] as const;

/**
 * The rows of a window query. NDJSON has a row a line, as JSON has it. A line of CSV has what is in it, by the path there: `start`, `by.region`, `values.s`, so that
 * no two columns have one name.
 */
export async function sendWindows(
  reply: FastifyReply,
  query: WindowQuery,
  { rows, meta }: WindowResult,
  format: (typeof WINDOW_FORMATS)[number],
  clock: Clock,
): Promise<void> {
  if (format === 'json') {
    await sendRows(reply, rows, { meta }, meta, clock);
    return;
  }
  describe(reply, meta);
  const isCsv = format === 'csv';
  const pieces = isCsv ? csvOf(query, rows) : linesOf(rows);
  await sendPieces(reply, inPieces(pieces, clock), {
    type: isCsv ? 'text/csv; charset=utf-8; header=present' : 'application/x-ndjson; charset=utf-8',
    // All rows are there: nothing but the connection can fail.
    failed: () => undefined,
  });
}

/** Others are served between two pieces. */
async function* inPieces(
  pieces: Generator<Uint8Array | undefined>,
  clock: Clock,
): AsyncIterable<Uint8Array> {
  for (const piece of pieces) {
    if (piece !== undefined) yield piece;
    await untilIo(clock);
  }
}

function* linesOf(rows: readonly WindowResultRow[]): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  for (let start = 0; start < rows.length; start += ROWS_PER_PIECE) {
    let text = '';
    for (const row of rows.slice(start, start + ROWS_PER_PIECE)) text += `${jsonText(row)}\n`;
    yield encoder.encode(text);
  }
}

type Path = { readonly name: string; readonly of: (row: WindowResultRow) => unknown };

function* csvOf(
  query: WindowQuery,
  rows: readonly WindowResultRow[],
): Generator<Uint8Array | undefined> {
  const paths = pathsOf(query);
  const writer = new CsvWriter(
    paths.map(({ name }) => ({ name, type: TEXT })),
    { toText: String, toIso: String },
  );
  yield* writer.begin();
  for (let start = 0; start < rows.length; start += ROWS_PER_PIECE) {
    const piece = rows.slice(start, start + ROWS_PER_PIECE);
    yield* writer.write({
      rowCount: piece.length,
      columns: paths.map(({ of }) =>
        vectorFromData(
          TEXT,
          piece.map((row) => cellText(of(row))),
        ),
      ),
    });
  }
}

function pathsOf({ by, measures, compare }: WindowQuery): Path[] {
  const keys = by === undefined ? [] : typeof by === 'string' ? [by] : by;
  const names = Object.keys(measures);
  const under = <Part extends 'by' | 'values' | 'previous' | 'change' | 'changeShare'>(
    part: Part,
    fields: readonly string[],
  ): Path[] =>
    fields.map((field) => ({ name: `${part}.${field}`, of: (row) => row[part]?.[field] }));
  return [
    ...OWN.map((name): Path => ({ name, of: (row) => row[name] })),
    ...under('by', keys),
    ...under('values', names),
    ...(compare === undefined
      ? []
      : [
          ...under('previous', names),
          ...under('change', names),
          ...under('changeShare', names),
          ...(['startMs', 'endMs'] as const).map((name): Path => ({
            name: `compared.${name}`,
            of: ({ compared }) => compared?.[name],
          })),
        ]),
  ];
}

const OWN = [
  'start',
  'end',
  'startMs',
  'endMs',
  'label',
  'offsetSeconds',
  'partial',
  'complete',
] as const;

/** A value as /v1/query shows it in CSV. */
function cellText(value: unknown): string | null {
  switch (typeof value) {
    case 'string':
      return value;
    case 'boolean':
      return value ? 't' : 'f';
    case 'number':
    case 'bigint':
      return String(value);
    default:
      break;
  }
  if (value === undefined || value === null) return null;
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`;
  return value instanceof Date ? value.toISOString() : jsonText(value);
}
