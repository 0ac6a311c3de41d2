import { DbError } from '../base/errors.ts';
import { valueText } from '../base/value-text.ts';
import type { DiskFile } from '../base/ports.ts';
import type { Batch } from '../columns/batch.ts';
import { batchBytes } from '../columns/version-log.ts';
import { typeName, type SqlType } from '../columns/types.ts';
import { typeOfName } from '../expressions/type-names.ts';
import { datumFromText, datumToIso, datumToText } from '../expressions/text-io.ts';
import { ArrowWriter } from '../formats/arrow-writer.ts';
import type { Format, FormatSource, OpenedReader, RawBatch } from '../formats/contract.ts';
import { formatOfName } from '../formats/format-names.ts';
import type { FormatWriter, WriterOptions, Written } from '../formats/writer-contract.ts';
import type { OutputColumn } from '../plan/logical.ts';
import type {
  CsvOptions,
  ExportOptions,
  ExportResult,
  LoadOptions,
  LoadResult,
  LoadSource,
} from './api-types.ts';
import type { TableEntry } from './catalog.ts';
import { CANCELABLE, checkCallback, checkFlags, checkNames, namesOf } from './check-options.ts';
import { assertNotAborted, canceled, deadline, untilAborted, untilSettled } from './deadline.ts';
import { type Engine } from './engine.ts';
import type { HeldRows } from './held-rows.ts';
import { checkedText, RowReader, type InputBatch, type InputContext } from './rows-in.ts';
import type { ResultRow } from './rows-out.ts';
import { rowShapeOf } from './row-shape.ts';
import type { Session } from './session.ts';
import { quoteIdentifier } from './sql-tag.ts';
import {
  checkKey,
  InsertTarget,
  KeyedChunks,
  primaryKeyOf,
  whileHeld,
  type WriteKey,
} from './write-verbs.ts';
import { writePieces, type RowsToWrite } from './write-rows.ts';

/** Rows of one commit of a load: fits a step. */
const ROWS_PER_COMMIT = 4096;

/** Reads a file into a table: a commit a batch, or one commit with `atomic`. */
export async function loadRows(
  engine: Engine,
  session: Session,
  table: string,
  source: LoadSource,
  options: LoadOptions,
  key: WriteKey | undefined,
): Promise<LoadResult> {
  engine.assertOpen();
  const { signal, done } = deadline(engine.ports.clock, options, [engine.closing]);
  let close = async (): Promise<void> => undefined;
  try {
    signalCheck(signal);
    const existing =
      options.create === true ? find(session, table) : session.requireTable({ name: table });
    // Refused before a file is read, or a table made.
    if (options.mode === 'upsert') primaryKeyOf(table, existing);
    const opened = await openSource(engine, source, options.format, signal);
    close = opened.close;
    const context = session.evaluationContext([], {});
    const types = Object.entries(options.types ?? {}).map(
      ([name, text]) => [name, typeOfText(text, `types.${name}`)] as const,
    );
    // What reads files is loaded with the first one: it is larger than the engine's way to a first answer.
    const { openReader } = await import('../formats/open-reader.ts');
    const reader = await openReader(opened.file, {
      fromText: (text, type) => datumFromText(checkedText(text), type, context),
      toText: (datum, type) => (datum === null ? '' : datumToText(datum, type, context)),
      zone: context.zone,
      pause: () => engine.pause(),
      batchRowCount: ROWS_PER_COMMIT,
      onError: options.onError,
      csv: options.csv,
      types: Object.fromEntries(types),
      targets: existing?.definition.columns.map(({ name, type }) => ({ name, type })),
    });
    const write = (held?: HeldRows): Promise<LoadResult> =>
      writeBatches(engine, session, table, existing, reader, options, key, signal, held);
    return options.atomic === true ? await whileHeld(engine, write) : await write();
  } finally {
    await close();
    done();
  }
}

async function writeBatches(
  engine: Engine,
  session: Session,
  table: string,
  existing: TableEntry | undefined,
  reader: OpenedReader,
  options: LoadOptions,
  key: WriteKey | undefined,
  signal: AbortSignal | undefined,
  held: HeldRows | undefined,
): Promise<LoadResult> {
  const { progress } = reader;
  const mode = options.mode ?? 'insert';
  const chunks = new KeyedChunks(key);
  const kept: RawBatch[] = [];
  let entry = existing;
  let rows = 0;
  let position = engine.visiblePosition;
  const write = async (batches: readonly RawBatch[]): Promise<void> => {
    // One that was cut short has written these.
    const also = chunks.next(batches.reduce((sum, { rowCount }) => sum + rowCount, 0));
    if (also === undefined) return;
    // The first rows are there: only now is a table made for them.
    entry ??= await create(engine, session, table, reader);
    const into = entry;
    const target = new InsertTarget(session, table, into, mode);
    target.held = held;
    const pieces: RowsToWrite[] = [];
    for (const batch of batches) {
      pieces.push(target.writesOfRows(givenRows(into, reader, batch)));
      if (batches.length > 1) await engine.pause();
    }
    ({ position } = await writePieces(engine, session, into, pieces, signal, also));
  };
  for await (const batch of reader.batches) {
    signalCheck(signal);
    if (options.atomic === true) {
      held?.add(batchBytes(batch));
      kept.push(batch);
    } else await write([batch]);
    rows += batch.rowCount;
    const told = options.onProgress?.({
      rows,
      skipped: progress.rowsSkipped,
      bytes: progress.bytesRead,
      bytesTotal: reader.bytesTotal,
      rowsTotal: reader.rowCountTotal,
    });
    await untilSettled(Promise.resolve(told), signal);
  }
  if (kept.length > 0) await write(kept);
  if (entry === undefined) await create(engine, session, table, reader);
  position = await chunks.done(engine, session, position);
  return { position, rows, skipped: progress.rowsSkipped, errors: [...progress.skipped] };
}

/** What a batch of a file says of a table's columns. */
function givenRows(entry: TableEntry, reader: OpenedReader, batch: RawBatch): InputBatch {
  const at = rowShapeOf(entry).columns.map(({ name }) =>
    reader.columns.findIndex((column) => column.name === name),
  );
  return {
    rowCount: batch.rowCount,
    columns: at.map((index) =>
      // A key that no row of the batch has is a column that was not given.
      batch.missing?.[index]?.every((missing) => missing === 1) === true
        ? undefined
        : batch.columns[index],
    ),
    missing: at.map((index) => batch.missing?.[index]),
  };
}

export function checkLoadOptions(options: LoadOptions): void {
  checkNames(options, LOAD_OPTIONS);
  checkFlags(options, 'create', 'atomic');
  checkCallback(options, 'onProgress');
  const { types } = options;
  if (types !== undefined && types !== null && typeof types !== 'object')
    throw new DbError('22023', '"types" is not an object', {
      field: 'types',
      hint: "Give the types of columns by their names: { price: 'numeric(12,2)' }.",
    });
  if (options.csv !== undefined) checkNames(options.csv, CSV_IN_OPTIONS, 'csv.');
  checkKey(options.idempotencyKey);
  if (options.onError !== undefined && options.onError !== 'abort' && options.onError !== 'skip') {
    throw new DbError('22023', `"onError" is neither 'abort' nor 'skip'`, {
      field: 'onError',
      hint: "'abort' ends with the first line that cannot be read, 'skip' leaves such lines out and counts them.",
    });
  }
  if (options.mode !== undefined && options.mode !== 'insert' && options.mode !== 'upsert') {
    throw new DbError('22023', `"mode" is neither 'insert' nor 'upsert'`, {
      field: 'mode',
      hint: "'insert' adds rows, 'upsert' changes those whose primary key is there.",
    });
  }
}

export function checkExportOptions(options: ExportOptions): void {
  checkNames(options, EXPORT_OPTIONS);
  checkFlags(options, 'end');
  checkCallback(options, 'onProgress');
  if (options.csv !== undefined) checkNames(options.csv, CSV_OUT_OPTIONS, 'csv.');
}

const LOAD_OPTIONS = namesOf<LoadOptions>({
  format: true,
  create: true,
  types: true,
  onError: true,
  mode: true,
  atomic: true,
  idempotencyKey: true,
  csv: true,
  onProgress: true,
  ...CANCELABLE,
});
const EXPORT_OPTIONS = namesOf<ExportOptions>({
  format: true,
  csv: true,
  end: true,
  onProgress: true,
  ...CANCELABLE,
});
const CSV = { delimiter: true, header: true, null: true } as const;
const CSV_IN_OPTIONS = namesOf<NonNullable<LoadOptions['csv']>>({ ...CSV, quote: true });
const CSV_OUT_OPTIONS = namesOf<CsvOptions>(CSV);

const TYPE_LENGTH_MAX = 100;

/** `numeric(12,2)`, as in CREATE TABLE. */
function typeOfText(text: string, field: string): SqlType {
  // Blanks that may belong to each of several parts are tried in every one: a text of very many is no type.
  const match =
    text.length > TYPE_LENGTH_MAX
      ? null
      : /^\s*([a-z][a-z0-9 ]*?)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?\s*$/i.exec(text);
  if (match === null)
    throw new DbError('22023', `"${valueText(text)}" is not a type`, {
      field,
      hint: "Give one as in CREATE TABLE, such as 'bigint' or 'numeric(12,2)'.",
    });
  const modifiers = match.slice(2).flatMap((part) => (part === undefined ? [] : [Number(part)]));
  return typeOfName({ name: match[1]!.toLowerCase(), modifiers, arrayDimensions: 0 });
}

function signalCheck(signal: AbortSignal | undefined): void {
  assertNotAborted(signal);
}

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
    throw new DbError('22023', 'the file has no columns', {
      hint: 'An empty file does not tell them: give it a header line, if it is CSV, or make the table first.',
    });
  const columns = reader.columns.map(
    ({ name, type }) => `${quoteIdentifier(name)} ${typeName(type)}`,
  );
  const name = table.split('.').map(quoteIdentifier).join('.');
  const parsed = engine.statements.parse(`CREATE TABLE ${name} (${columns.join(', ')})`);
  await session.run(parsed, {}, () => ({ begin: () => undefined, take: () => true }));
  return session.requireTable({ name: table });
}

async function openSource(
  engine: Engine,
  source: LoadSource,
  format: Format | undefined,
  signal: AbortSignal | undefined,
): Promise<{ readonly file: FormatSource; readonly close: () => Promise<void> }> {
  const close = async (): Promise<void> => undefined;
  if (source instanceof Uint8Array) return { file: { bytes: source, format }, close };
  if (source instanceof ArrayBuffer)
    return { file: { bytes: new Uint8Array(source), format }, close };
  if (typeof source === 'object' && source !== null && Symbol.asyncIterator in source)
    return { file: { bytes: untilAborted(source, signal), format }, close };
  if (typeof source !== 'string' && !(source instanceof URL)) {
    throw new DbError('22023', 'the source is neither a path, a URL, bytes nor a stream of bytes', {
      field: 'source',
      hint: "Write db.load('orders', 'orders.csv').",
    });
  }
  const text = String(source);
  if (/^https?:/i.test(text)) {
    const bytes = untilAborted(await fetched(engine, text, signal), signal);
    return { file: { bytes, name: new URL(text).pathname, format }, close };
  }
  const path = pathOf(text);
  try {
    const file = await engine.ports.disk.open(path, 'read');
    const byteLength = await file.size();
    return {
      file: {
        bytes: { byteLength, slice: (start: number, end: number) => file.read(start, end - start) },
        name: path,
        format,
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

function pathOf(text: string): string {
  if (!text.startsWith('file:')) return text;
  const url = new URL(text);
  return decodeURIComponent(url.pathname);
}

async function fetched(
  engine: Engine,
  url: string,
  signal: AbortSignal | undefined,
): Promise<AsyncIterable<Uint8Array>> {
  const answer = await engine.ports.network
    .fetch(url, { method: 'GET', ...(signal === undefined ? {} : { signal }) })
    .catch((cause: unknown) => {
      signalCheck(signal);
      throw new DbError('58030', `could not reach ${url}`, { cause, hint: 'Check the address.' });
    });
  if (answer.status === 200) return answer.body;
  const isRedirect = answer.status >= 300 && answer.status < 400;
  throw new DbError('58030', `${url} answered ${answer.status}`, {
    hint: isRedirect
      ? 'It sends elsewhere: give the address it leads to.'
      : 'Check the address and that it may be read.',
  });
}

// ── Out ────────────────────────────────────────────────────────────────────────────────────────────────────────

type Batches = AsyncIterable<{ readonly batch: Batch; readonly columns: readonly OutputColumn[] }>;

/** Where bytes go; `finish` makes them stay, `abandon` leaves nothing behind. */
type Sink = {
  write(bytes: Uint8Array): Promise<void>;
  finish(): Promise<void>;
  abandon(cause: unknown): Promise<void>;
};

export async function exportRows(
  engine: Engine,
  batches: Batches,
  target: string | URL | NodeJS.WritableStream,
  options: ExportOptions,
): Promise<ExportResult> {
  const path =
    typeof target === 'string' || target instanceof URL ? pathOf(String(target)) : undefined;
  const format = options.format ?? formatOfName(path) ?? 'csv';
  const ending = /\.[^./\\]+$/.exec(path?.replace(/\.gz$/i, '') ?? '')?.[0];
  if (options.format === undefined && ending !== undefined && formatOfName(path) === undefined)
    throw new DbError('22023', `no format is known by "${ending}"`, {
      field: 'format',
      hint: "End the name with .csv, .ndjson, .json, .parquet or .arrow, or say which format: { format: 'csv' }.",
    });
  const counts = { rows: 0 };
  const writerOptions: WriterOptions = {
    ...writerOptionsOf('UTC', options.csv),
    // By custom .arrows is a stream, .arrow and .feather a file.
    arrow: path === undefined || path.endsWith('.arrows') ? 'stream' : 'file',
  };
  const { openWriter } = await import('../formats/open-writer.ts');
  let chunks = chunksOf(
    engine,
    batches,
    (columns) => openWriter(format, columns, writerOptions),
    counts,
  );
  if (path?.endsWith('.gz') === true)
    chunks = (await import('../formats/byte-sources.ts')).gzipped(chunks);
  const { signal, done } = deadline(engine.ports.clock, options, [engine.closing]);
  let bytes = 0;
  let sink: Sink | undefined;
  try {
    for await (const chunk of chunks) {
      // The first bytes are there: a statement that is wrong leaves no file.
      sink ??= await openSink(engine, path ?? (target as NodeJS.WritableStream), options, signal);
      await sink.write(chunk);
      bytes += chunk.length;
      await untilSettled(
        Promise.resolve(options.onProgress?.({ rows: counts.rows, bytes })),
        signal,
      );
    }
    sink ??= await openSink(engine, path ?? (target as NodeJS.WritableStream), options, signal);
    signalCheck(signal);
    await sink.finish();
  } catch (cause) {
    await sink?.abandon(cause);
    throw cause;
  } finally {
    done();
  }
  return { rows: counts.rows, bytes };
}

/** The rows of a query as the bytes of a format. */
export async function* formatted(
  engine: Engine,
  batches: Batches,
  format: Format,
  zone: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { openWriter } = await import('../formats/open-writer.ts');
  const options = writerOptionsOf(zone, undefined);
  yield* chunksOf(engine, batches, (columns) => openWriter(format, columns, options), { rows: 0 });
}

async function* chunksOf(
  engine: Engine,
  batches: Batches,
  writerOf: (columns: readonly OutputColumn[]) => FormatWriter,
  counts: { rows: number },
): AsyncGenerator<Uint8Array, void, undefined> {
  let writer: FormatWriter | undefined;
  async function* told(written: Written): AsyncGenerator<Uint8Array, void, undefined> {
    for (const bytes of written) {
      if (bytes === undefined) await engine.pause();
      else if (bytes.length > 0) yield bytes;
    }
  }
  for await (const { batch, columns } of batches) {
    if (writer === undefined) {
      writer = writerOf(columns);
      yield* told(writer.begin());
    }
    counts.rows += batch.rowCount;
    yield* told(writer.write(batch));
  }
  writer ??= writerOf([]);
  yield* told(writer.end());
}

function writerOptionsOf(zone: string, csv: CsvOptions | undefined): WriterOptions {
  return {
    toText: (datum, type) => datumToText(datum, type, { zone }),
    toIso: datumToIso,
    ...(csv === undefined ? {} : { csv }),
  };
}

async function openSink(
  engine: Engine,
  target: string | NodeJS.WritableStream,
  options: ExportOptions,
  signal: AbortSignal | undefined,
): Promise<Sink> {
  return typeof target === 'string'
    ? fileSink(engine, target)
    : streamSink(target, options.end !== false, signal);
}

/** A file of another name, which takes the wanted one when it is whole: nobody reads half of it, and no failure destroys the old one. */
async function fileSink(engine: Engine, path: string): Promise<Sink> {
  const { disk } = engine.ports;
  const partial = `${path}.${engine.newId()}.partial`;
  const file: DiskFile = await disk.open(partial, 'create').catch((cause: unknown) => {
    throw new DbError('58P01', `could not write file "${path}"`, {
      cause,
      hint: 'Check the path and that it may be written.',
    });
  });
  const failed = (cause: unknown): never => {
    throw new DbError('58030', `could not write file "${path}"`, {
      cause,
      detail: cause instanceof Error ? cause.message : String(cause),
      hint: 'Is the disk full?',
    });
  };
  let at = 0;
  let closed = false;
  return {
    write: async (bytes) => {
      await file.write(at, bytes).catch(failed);
      at += bytes.length;
    },
    finish: async () => {
      try {
        await file.sync();
        closed = true;
        await file.close();
        await disk.rename(partial, path);
      } catch (cause) {
        failed(cause);
      }
    },
    abandon: async () => {
      // What has led here is told, not what goes wrong while tidying up.
      if (!closed) await file.close().catch(() => undefined);
      await disk.remove(partial).catch(() => undefined);
    },
  };
}

function streamSink(
  stream: NodeJS.WritableStream,
  ends: boolean,
  signal: AbortSignal | undefined,
): Sink {
  if (typeof stream?.write !== 'function') {
    throw new DbError('22023', 'the target is neither a path nor a Writable', {
      field: 'target',
      hint: "Write db.export('orders', 'orders.csv').",
    });
  }
  let failure: unknown;
  const onError = (cause: unknown): void => {
    failure ??= cause ?? new Error('the stream has failed');
  };
  const onClose = (): void => {
    failure ??= new Error('the stream was closed');
  };
  stream.on('error', onError);
  stream.on('close', onClose);
  const release = (): void => {
    stream.off('error', onError);
    stream.off('close', onClose);
  };
  const check = (): void => {
    // What was closed before anybody listened tells it in no event.
    const { destroyed, errored } = stream as {
      readonly destroyed?: boolean;
      readonly errored?: unknown;
    };
    if (destroyed === true) failure ??= errored ?? new Error('the stream was closed');
    if (failure === undefined) return;
    throw new DbError('58030', 'the stream that is written to has failed', {
      cause: failure,
      detail: failure instanceof Error ? failure.message : String(failure),
    });
  };
  /** Until one of the stream's events, or a cancel. */
  const heard = (event: 'drain' | 'finish', after?: () => void): Promise<void> =>
    new Promise((resolve, reject) => {
      const names = [event, 'error', 'close'] as const;
      const settle = (): void => {
        for (const name of names) stream.off(name, settle);
        signal?.removeEventListener('abort', settle);
        if (signal?.aborted === true) reject(canceled(signal));
        else resolve();
      };
      // One that has been aborted tells it no more.
      if (signal?.aborted === true) {
        reject(canceled(signal));
        return;
      }
      for (const name of names) stream.on(name, settle);
      signal?.addEventListener('abort', settle, { once: true });
      after?.();
    });
  return {
    write: async (bytes) => {
      check();
      if (!stream.write(bytes)) await heard('drain');
      check();
    },
    finish: async () => {
      check();
      if (ends) {
        let finished = false;
        stream.once('finish', () => (finished = true));
        await heard('finish', () => void stream.end());
        if (!finished) check();
      }
      release();
    },
    abandon: async () => release(),
  };
}

/** The rows of a result as an Arrow IPC stream; of columns of one name the last one, as rows have it. */
export function arrowOf(
  columns: readonly OutputColumn[],
  rows: readonly ResultRow[],
  context: InputContext,
): Uint8Array {
  const shown = columns.filter(
    ({ name }, index) => !columns.some((other, at) => other.name === name && at > index),
  );
  const reader = new RowReader(shown);
  const writer = new ArrowWriter(shown, writerOptionsOf('UTC', undefined));
  const pieces: Uint8Array[] = [];
  const take = (written: Written): void => {
    for (const bytes of written) if (bytes !== undefined) pieces.push(bytes);
  };
  take(writer.begin());
  for (let first = 0; first < rows.length; first += ARROW_ROW_COUNT) {
    const part = rows.slice(first, first + ARROW_ROW_COUNT);
    const { columns: vectors } = reader.objects('result', part, context);
    take(writer.write({ rowCount: part.length, columns: vectors.map((vector) => vector!) }));
  }
  take(writer.end());
  return Buffer.concat(pieces);
}

const ARROW_ROW_COUNT = 8192;
