import { DbError } from '../base/errors.ts';
import { concatBatches } from '../columns/build.ts';
import {
  BatchBuffers,
  readDictionary,
  type ArrowCells,
  type ArrowDictionary,
} from './arrow-column.ts';
import { arrowMessages, type ArrowMessage } from './arrow-messages.ts';
import { arrowColumns, type ArrowColumn } from './arrow-types.ts';
import { byteLengthOf } from './byte-sources.ts';
import {
  BATCH_ROW_COUNT_DEFAULT,
  type FormatSource,
  type OpenedReader,
  type RawBatch,
  type ReaderOptions,
} from './contract.ts';

/**
 * Arrow IPC, as a stream or as a file (Feather 2), a message at a time: one record batch and the dictionaries in force are
 * held. Columns are read from their buffers, without a JavaScript value for each cell where the type has an array.
 */
export async function openArrow(
  source: FormatSource,
  options: ReaderOptions,
): Promise<OpenedReader> {
  const progress = { rowsRead: 0, bytesRead: 0, rowsSkipped: 0, skipped: [] };
  const messages = arrowMessages(source.bytes, progress);
  const { name } = source;
  try {
    const first = await guarded(name, () => messages.next());
    if (first.done === true || first.value.kind !== 'schema')
      throw damaged(name, new RangeError('the file does not begin with a schema'));
    const { schema } = first.value;
    const columns = await guarded(name, async () => arrowColumns(schema));
    return {
      format: 'arrow',
      columns: columns.map(({ name: column, type, nullable, declared }) => ({
        name: column,
        type,
        nullable,
        declared,
      })),
      batches: readBatches(messages, columns, options, progress, name),
      bytesTotal: byteLengthOf(source.bytes),
      progress,
    };
  } catch (cause) {
    await messages.return(undefined);
    throw cause;
  }
}

async function* readBatches(
  messages: AsyncGenerator<ArrowMessage, void, undefined>,
  columns: readonly ArrowColumn[],
  options: ReaderOptions,
  progress: { rowsRead: number },
  name: string | undefined,
): AsyncGenerator<RawBatch, void, undefined> {
  const batchRowCount = options.batchRowCount ?? BATCH_ROW_COUNT_DEFAULT;
  const dictionaries = new Map<number, ArrowDictionary>();
  try {
    for (;;) {
      const next = await guarded(name, () => messages.next());
      if (next.done === true) return;
      const message = next.value;
      if (message.kind === 'schema') continue;
      if (message.kind === 'dictionary') {
        await guarded(name, async () => takeDictionary(dictionaries, columns, message));
        continue;
      }
      const { batch } = message;
      const cells = await guarded(name, async (): Promise<ArrowCells[]> => {
        const buffers = new BatchBuffers(batch);
        return columns.map((column) => buffers.column(column, dictionaries));
      });
      for (let start = 0; start < batch.rowCount; start += batchRowCount) {
        const rowCount = Math.min(batchRowCount, batch.rowCount - start);
        const vectors: RawBatch['columns'][number][] = [];
        for (const read of cells) {
          vectors.push(await guarded(name, async () => read(start, rowCount)));
          if (options.pause !== undefined) await options.pause();
        }
        progress.rowsRead += rowCount;
        yield { rowCount, columns: vectors };
      }
    }
  } finally {
    await messages.return(undefined);
  }
}

/** A dictionary that comes again replaces the one before it, unless it only adds to it. */
function takeDictionary(
  dictionaries: Map<number, ArrowDictionary>,
  columns: readonly ArrowColumn[],
  message: Extract<ArrowMessage, { kind: 'dictionary' }>,
): void {
  const column = columns.find(({ dictionary }) => dictionary?.id === message.id);
  if (column === undefined) return;
  const { rowCount } = message.batch;
  const cells = new BatchBuffers(message.batch).values(column.layout, column.type);
  const known = message.isDelta ? dictionaries.get(message.id) : undefined;
  const added = readDictionary(cells, rowCount, column.type);
  if (known === undefined) {
    dictionaries.set(message.id, added);
    return;
  }
  const { columns: both } = concatBatches([
    { rowCount: known.rowCount, columns: [known.values] },
    { rowCount, columns: [added.values] },
  ]);
  dictionaries.set(message.id, { values: both[0]!, rowCount: known.rowCount + rowCount });
}

async function guarded<Value>(
  name: string | undefined,
  read: () => Promise<Value>,
): Promise<Value> {
  try {
    return await read();
  } catch (cause) {
    throw cause instanceof DbError ? cause : damaged(name, cause);
  }
}

function damaged(name: string | undefined, cause: unknown): DbError {
  return new DbError(
    '22P04',
    `${name === undefined ? 'the source' : `"${name}"`} is not an Arrow file that can be read`,
    { detail: cause instanceof Error ? cause.message : String(cause), cause },
  );
}
