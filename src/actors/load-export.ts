import { DbError, notSupported } from '../base/errors.ts';
import type { Batch } from '../columns/batch.ts';
import { datumAt } from '../columns/build.ts';
import type { Vector } from '../columns/vector.ts';
import type { SqlType } from '../columns/types.ts';
import { datumFromText, datumToIso, datumToText } from '../expressions/text-io.ts';
import type { FormatSource, OpenedReader, RawBatch } from '../formats/contract.ts';
import { formatOfName, openReader } from '../formats/open-reader.ts';
import type { OutputColumn } from '../plan/logical.ts';
import type { ExportOptions, ExportResult, LoadOptions, LoadResult } from './api-types.ts';
import type { TableEntry } from './catalog.ts';
import { deadline } from './deadline.ts';
import { canceled, type Engine } from './engine.ts';
import type { TableDefinition } from './records.ts';
import { assertChecks, completeRows, rowShapeOf } from './row-shape.ts';
import { jsonValue, RowWriter, type ResultRow } from './rows-out.ts';
import type { Session } from './session.ts';
import { checkedText } from './rows-in.ts';
import { writeRows } from './write-rows.ts';

type Source = string | URL | Uint8Array | AsyncIterable<Uint8Array>;

/** Reads a file into a table: a commit a batch, or one commit with `atomic`. */
export async function loadRows(
  engine: Engine,
  session: Session,
  table: string,
  source: Source,
  options: LoadOptions,
): Promise<LoadResult> {
  engine.assertOpen();
  const { signal, done } = deadline(engine.ports.clock, options);
  let closeFile = async (): Promise<void> => undefined;
  try {
    signalCheck(signal);
    const { file, close } = await opened(engine, source, options.format);
    closeFile = close;
    const context = session.evaluationContext([], {});
    const fromText = (text: string, type: SqlType) =>
      datumFromText(checkedText(text), type, context);
    const toText = (datum: Parameters<typeof datumToText>[0] | null, type: SqlType) =>
      datum === null ? '' : datumToText(datum, type, context);
    const existing =
      options.create === true ? find(session, table) : session.requireTable({ name: table });
    const reader = await openReader(file, {
      fromText,
      toText,
      zone: context.zone,
      pause: () => engine.pause(),
      batchRowCount: ROWS_PER_COMMIT,
      ...(options.onError === undefined ? {} : { onError: options.onError }),
      ...(existing === undefined
        ? {}
        : { targets: existing.definition.columns.map(({ name, type }) => ({ name, type })) }),
    });
    const entry = existing ?? (await create(engine, session, table, reader));
    const shape = rowShapeOf(entry);
    const kept: RawBatch[] = [];
    let rows = 0;
    let position = engine.visiblePosition;
    const write = async (batch: RawBatch): Promise<void> => {
      const vectors = shape.columns.map(
        ({ name }) => batch.columns[reader.columns.findIndex((column) => column.name === name)],
      );
      const complete = completeRows(
        entry,
        shape,
        { rowCount: batch.rowCount, columns: vectors, missing: [] },
        context,
      );
      assertChecks(entry, shape, complete, context);
      ({ position } = await writeRows(
        engine,
        session,
        entry,
        () => [{ kind: 'insert', rows: complete }],
        signal,
      ));
    };
    for await (const batch of reader.batches) {
      signalCheck(signal);
      if (options.atomic === true) kept.push(batch);
      else await write(batch);
      rows += batch.rowCount;
      options.onProgress?.({
        rows,
        skipped: reader.progress.rowsSkipped,
        bytes: reader.progress.bytesRead,
        bytesTotal: reader.bytesTotal,
        rowsTotal: reader.rowCountTotal,
      });
    }
    if (kept.length > 0) {
      const whole: Batch[] = kept.map((batch) => {
        const vectors = shape.columns.map(
          ({ name }) => batch.columns[reader.columns.findIndex((column) => column.name === name)],
        );
        const complete = completeRows(
          entry,
          shape,
          { rowCount: batch.rowCount, columns: vectors, missing: [] },
          context,
        );
        assertChecks(entry, shape, complete, context);
        return complete;
      });
      ({ position } = await writeRows(
        engine,
        session,
        entry,
        () => whole.map((each) => ({ kind: 'insert', rows: each })),
        signal,
      ));
    }
    return { position, rows, skipped: reader.progress.rowsSkipped };
  } finally {
    await closeFile();
    done();
  }
}

function signalCheck(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw canceled(signal);
}

/** Rows of one commit of a load: fits a step. */
const ROWS_PER_COMMIT = 4096;

function find(session: Session, table: string): TableEntry | undefined {
  try {
    return session.requireTable({ name: table });
  } catch (cause) {
    if (cause instanceof DbError && cause.code === '42P01') return undefined;
    throw cause;
  }
}

async function create(
  engine: Engine,
  session: Session,
  table: string,
  reader: OpenedReader,
): Promise<TableEntry> {
  if (reader.columns.length === 0)
    throw new DbError('22023', 'the file has no columns', { hint: 'Give it a header line.' });
  const definition: TableDefinition = {
    tenant: session.identity.tenant,
    schema: session.searchPath[0] ?? 'public',
    name: table,
    id: engine.state.catalog.takeId(),
    columns: reader.columns.map(({ name, type }) => ({
      name,
      type,
      nullable: true,
      default: undefined,
      generated: undefined,
      sequence: undefined,
    })),
    indexes: [],
    checks: [],
    seed: engine.ports.random.uint32(),
    timeColumn: undefined,
  };
  await engine.commit({
    tenant: session.identity.tenant,
    relations: [definition.id],
    prepare: () => [{ op: 'createTable', table: definition }],
  });
  return session.requireTable({ name: table });
}

async function opened(
  engine: Engine,
  source: Source,
  format: LoadOptions['format'],
): Promise<{ readonly file: FormatSource; readonly close: () => Promise<void> }> {
  const nothing = async (): Promise<void> => undefined;
  const given = format === undefined ? {} : { format };
  if (source instanceof Uint8Array) return { file: { bytes: source, ...given }, close: nothing };
  if (typeof source === 'object' && Symbol.asyncIterator in source)
    return { file: { bytes: source, ...given }, close: nothing };
  const text = String(source);
  if (/^https?:/.test(text)) {
    const answer = await engine.ports.network.fetch(text, { method: 'GET' });
    if (answer.status !== 200)
      throw new DbError('58030', `${text} answered ${answer.status}`, {
        hint: 'Check the address.',
      });
    return { file: { bytes: answer.body, name: new URL(text).pathname, ...given }, close: nothing };
  }
  const path = text.startsWith('file:') ? decodeURIComponent(new URL(text).pathname) : text;
  try {
    const file = await engine.ports.disk.open(path, 'read');
    const byteLength = await file.size();
    return {
      file: {
        bytes: { byteLength, slice: (start: number, end: number) => file.read(start, end - start) },
        name: path,
        ...given,
      },
      close: () => file.close(),
    };
  } catch (cause) {
    throw new DbError('58P01', `could not open file "${path}"`, {
      cause,
      hint: 'Check the path and that the file may be read.',
    });
  }
}

// ── Out ────────────────────────────────────────────────────────────────────────────────────────────────────────

type Batches = AsyncIterable<{ readonly batch: Batch; readonly columns: readonly OutputColumn[] }>;

export async function exportRows(
  engine: Engine,
  batches: Batches,
  target: string | NodeJS.WritableStream,
  options: ExportOptions,
): Promise<ExportResult> {
  const format =
    options.format ?? (typeof target === 'string' ? formatOfName(target) : undefined) ?? 'csv';
  const chunks =
    format === 'csv'
      ? csvOf(batches, 'UTC')
      : format === 'ndjson'
        ? ndjsonOf(batches)
        : format === 'json'
          ? jsonOf(batches)
          : undefined;
  if (chunks === undefined) throw notSupported(`exporting ${format}`, 'Use csv, ndjson or json.');
  let bytes = 0;
  const rows = { count: 0 };
  const sink = await openSink(engine, target);
  try {
    for await (const chunk of counted(chunks, rows)) {
      await sink.write(chunk);
      bytes += chunk.length;
      options.onProgress?.({ rows: rows.count, bytes });
    }
  } finally {
    await sink.close();
  }
  return { rows: rows.count, bytes };
}

/** Chunks carry their row counts beside them. */
const rowCounts = new WeakMap<Uint8Array, number>();

async function* counted(
  chunks: AsyncIterable<Uint8Array>,
  rows: { count: number },
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    rows.count += rowCounts.get(chunk) ?? 0;
    yield chunk;
  }
}

async function openSink(
  engine: Engine,
  target: string | NodeJS.WritableStream,
): Promise<{ write(bytes: Uint8Array): Promise<void>; close(): Promise<void> }> {
  if (typeof target !== 'string') {
    return {
      write: (bytes) =>
        new Promise((resolve) =>
          target.write(bytes) ? resolve() : target.once('drain', () => resolve()),
        ),
      close: async () => undefined,
    };
  }
  const file = await engine.ports.disk.open(target, 'create').catch((cause: unknown) => {
    throw new DbError('58P01', `could not write file "${target}"`, {
      cause,
      hint: 'Check the path and that it may be written.',
    });
  });
  let at = 0;
  return {
    write: async (bytes) => {
      await file.write(at, bytes);
      at += bytes.length;
    },
    close: async () => {
      await file.truncate(at);
      await file.close();
    },
  };
}

/** RFC 4180 with a header line; NULL is the empty field, the empty text is in quotes. */
export async function* csvOf(batches: Batches, zone: string): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  let header = false;
  for await (const { batch, columns } of batches) {
    let text = '';
    if (!header) {
      header = true;
      text = `${columns.map(({ name }) => csvField(name)).join(',')}\r\n`;
    }
    for (let row = 0; row < batch.rowCount; row += 1) {
      const physical = batch.selection === undefined ? row : batch.selection[row]!;
      text += `${columns.map(({ type }, column) => cell(batch.columns[column]!, physical, type, zone)).join(',')}\r\n`;
    }
    const chunk = encoder.encode(text);
    rowCounts.set(chunk, batch.rowCount);
    yield chunk;
  }
}

function cell(vector: Vector, row: number, type: SqlType, zone: string): string {
  const datum = datumAt(vector, row);
  if (datum === null) return '';
  const text =
    type.kind === 'timestamptz' ? datumToIso(datum, type) : datumToText(datum, type, { zone });
  return text === '' ? '""' : csvField(text);
}

function csvField(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

async function* ndjsonOf(batches: Batches): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  for await (const { batch, columns } of batches) {
    const rows: ResultRow[] = [];
    new RowWriter(columns, { int8: 'string' }).append(batch, rows);
    const chunk = encoder.encode(
      rows
        .map((row) => `${JSON.stringify(row, (_, value: unknown) => jsonValue(value))}\n`)
        .join(''),
    );
    rowCounts.set(chunk, batch.rowCount);
    yield chunk;
  }
}

async function* jsonOf(batches: Batches): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  let first = true;
  for await (const chunk of ndjsonOf(batches)) {
    const text = new TextDecoder().decode(chunk).trimEnd().split('\n').join(',\n');
    const piece = encoder.encode(`${first ? '[' : ',\n'}${text}`);
    first = false;
    rowCounts.set(piece, rowCounts.get(chunk) ?? 0);
    yield piece;
  }
  yield encoder.encode(first ? '[]\n' : ']\n');
}

/** The result as an Arrow IPC stream. */
export function arrowOf(): Uint8Array {
  throw notSupported('Arrow output', "Use rows, or stream with { format: 'csv' }.");
}
