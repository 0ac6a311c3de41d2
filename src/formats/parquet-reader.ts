import { parquetMetadataAsync, parquetSchema, type FileMetaData, type RowGroup } from 'hyparquet';
import { DbError } from '../base/errors.ts';
import { randomAccess } from './byte-sources.ts';
import {
  BATCH_ROW_COUNT_DEFAULT,
  type FormatSource,
  type OpenedReader,
  type RandomAccess,
  type RawBatch,
  type ReaderOptions,
} from './contract.ts';
import { ChunkReader, ParquetColumn } from './parquet-column.ts';
import { leafTypeOf, unreadable } from './parquet-types.ts';
import { typeFromName, TYPE_KEY } from './type-names.ts';

/**
 * Parquet, a row group at a time and within it a batch at a time: only the compressed bytes of one row group and one
 * page a column are held. Text columns that the file keeps as dictionaries stay dictionaries.
 */
export async function openParquet(
  source: FormatSource,
  options: ReaderOptions,
): Promise<OpenedReader> {
  const file = await randomAccess(source.bytes);
  const metadata = await readMetadata(file, source.name);
  const columns = guarded(source.name, () => columnsOf(metadata));
  const declared = declaredTypes(metadata);
  const progress = { rowsRead: 0, bytesRead: 0, rowsSkipped: 0, skipped: [] };
  return {
    format: 'parquet',
    columns: columns.map((column) => ({
      name: column.name,
      type: column.leaf.type,
      nullable: column.optional,
      declared: typeFromName(declared[column.name], column.leaf.type),
    })),
    batches: readBatches(file, metadata, columns, options, progress, source.name),
    rowCountTotal: Number(metadata.num_rows),
    bytesTotal: file.byteLength,
    progress,
  };
}

async function readMetadata(file: RandomAccess, name: string | undefined): Promise<FileMetaData> {
  const { byteLength } = file;
  try {
    return await parquetMetadataAsync({
      byteLength,
      async slice(start, end = byteLength) {
        const bytes = await file.slice(
          start < 0 ? Math.max(0, byteLength + start) : start,
          Math.min(end, byteLength),
        );
        return bytes.slice().buffer;
      },
    });
  } catch (cause) {
    throw damaged(name, cause);
  }
}

/** What a file of ours calls its columns in SQL. */
function declaredTypes(metadata: FileMetaData): Readonly<Record<string, string>> {
  const text = metadata.key_value_metadata?.find(({ key }) => key === TYPE_KEY)?.value;
  try {
    const names: unknown = text === undefined ? {} : JSON.parse(text);
    return typeof names === 'object' && names !== null ? (names as Record<string, string>) : {};
  } catch {
    return {};
  }
}

function columnsOf(metadata: FileMetaData): ParquetColumn[] {
  return parquetSchema(metadata).children.map(({ element, children }) => {
    if (typeof element.name !== 'string') throw new RangeError('a column has no name');
    if (children.length > 0 || element.repetition_type === 'REPEATED')
      throw unreadable(element.name, 'a list, a map or a struct');
    return new ParquetColumn(element.name, element, leafTypeOf(element, element.name));
  });
}

async function* readBatches(
  file: RandomAccess,
  metadata: FileMetaData,
  columns: readonly ParquetColumn[],
  options: ReaderOptions,
  progress: { rowsRead: number; bytesRead: number },
  name: string | undefined,
): AsyncGenerator<RawBatch, void, undefined> {
  const batchRowCount = options.batchRowCount ?? BATCH_ROW_COUNT_DEFAULT;
  for (const group of metadata.row_groups) {
    const readers: ChunkReader[] = [];
    for (const column of columns)
      readers.push(await openChunk(file, group, column, progress, name));
    const rowCountTotal = Number(group.num_rows);
    for (let row = 0; row < rowCountTotal; row += batchRowCount) {
      const rowCount = Math.min(batchRowCount, rowCountTotal - row);
      const vectors: RawBatch['columns'][number][] = [];
      for (const reader of readers) {
        vectors.push(guarded(name, () => reader.read(rowCount)));
        if (options.pause !== undefined) await options.pause();
      }
      progress.rowsRead += rowCount;
      yield { rowCount, columns: vectors };
    }
  }
}

async function openChunk(
  file: RandomAccess,
  group: RowGroup,
  column: ParquetColumn,
  progress: { bytesRead: number },
  name: string | undefined,
): Promise<ChunkReader> {
  const meta = group.columns.find(
    (chunk) => chunk.meta_data?.path_in_schema[0] === column.name,
  )?.meta_data;
  if (meta === undefined)
    throw damaged(name, new Error(`column "${column.name}" is missing in a row group`));
  // Some writers give a dictionary offset of 0 where there is none.
  const dictionaryAt = Number(meta.dictionary_page_offset ?? 0n);
  const start =
    dictionaryAt > 0
      ? Math.min(dictionaryAt, Number(meta.data_page_offset))
      : Number(meta.data_page_offset);
  const end = start + Number(meta.total_compressed_size);
  if (!(start >= 0 && end >= start && end <= file.byteLength))
    throw damaged(name, new Error(`column "${column.name}" lies outside the file`));
  progress.bytesRead += end - start;
  return new ChunkReader(column, meta, await file.slice(start, end));
}

/** hyparquet throws plain errors, and damaged bytes may break anything. */
function guarded<Value>(name: string | undefined, read: () => Value): Value {
  try {
    return read();
  } catch (cause) {
    throw cause instanceof DbError ? cause : damaged(name, cause);
  }
}

function damaged(name: string | undefined, cause: unknown): DbError {
  return new DbError(
    '22P04',
    `${name === undefined ? 'the source' : `"${name}"`} is not a Parquet file that can be read`,
    {
      detail: cause instanceof Error ? cause.message : String(cause),
      cause,
    },
  );
}
