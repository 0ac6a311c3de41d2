import type { SqlType } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';

/** What readers and writers of files have in common with those who call them. */
export type Format = 'csv' | 'ndjson' | 'json' | 'parquet' | 'arrow';

/** A file that can be read at any place, so that Parquet need not be held whole. */
export type RandomAccess = {
  readonly byteLength: number;
  /** Bytes [start, end); `end` is never beyond `byteLength`. */
  slice(start: number, end: number): Promise<Uint8Array>;
};

export type FormatSource = {
  readonly bytes: Uint8Array | AsyncIterable<Uint8Array> | RandomAccess;
  /** Told by `name`'s ending and by the first bytes where it is not given. */
  readonly format?: Format | undefined;
  /** For errors, and for its ending. */
  readonly name?: string | undefined;
};

export type CsvDialect = {
  /** Found out by looking at the first rows where not given. */
  readonly delimiter?: string | undefined;
  readonly quote?: string | undefined;
  readonly header?: boolean | undefined;
  /** How NULL is written without quotes; the empty field unless given. */
  readonly null?: string | undefined;
};

export type ReaderOptions = {
  /**
   * The columns that rows are read for: the file's columns are found among them by name (without a header by place), and
   * batches have exactly their types. Absent: types are inferred (CSV, JSON) or the file's own.
   */
  readonly targets?: readonly { readonly name: string; readonly type: SqlType }[] | undefined;
  /** Types of single columns, where they are to be inferred. */
  readonly types?: Readonly<Record<string, SqlType>> | undefined;
  /** PostgreSQL's input functions; throws DbError 22P02 and the like. */
  readonly fromText: (text: string, type: SqlType) => Datum;
  /** PostgreSQL's output functions, for what is read into a text column. */
  readonly toText: (datum: Datum, type: SqlType) => string;
  /** Where local times become instants; UTC unless given. */
  readonly zone?: string | undefined;
  /** `skip` leaves out the rows (CSV, NDJSON) that cannot be read and counts them; `abort` throws at the first. */
  readonly onError?: 'abort' | 'skip' | undefined;
  /** Rows a batch, at most; 8,192 unless given. */
  readonly batchRowCount?: number | undefined;
  /** Rows that types are inferred from; 20,480 unless given. */
  readonly sampleRowCount?: number | undefined;
  readonly csv?: CsvDialect | undefined;
  /** Awaited between pieces of a few milliseconds of work, for whoever shares the thread. */
  readonly pause?: (() => Promise<void>) | undefined;
};

export type FormatColumn = {
  readonly name: string;
  readonly type: SqlType;
  readonly nullable: boolean;
  /** What a file of ours says the column is in SQL, where the format's own type is wider. */
  readonly declared?: SqlType | undefined;
};

/** Rows read from a file, before defaults and constraints; arrays are the receiver's to keep. */
export type RawBatch = {
  readonly rowCount: number;
  readonly columns: readonly Vector[];
  /** By column: 1 for rows that do not say it, and are left to its default. */
  readonly missing?: readonly (Uint8Array | undefined)[] | undefined;
};

export type SkippedRow = { readonly line: number; readonly message: string };

/** Counts up while batches are taken. */
export type ReaderProgress = {
  readonly rowsRead: number;
  readonly bytesRead: number;
  readonly rowsSkipped: number;
  /** The first few, with their lines. */
  readonly skipped: readonly SkippedRow[];
};

export type OpenedReader = {
  readonly format: Format;
  readonly columns: readonly FormatColumn[];
  /** To be iterated once; leaving the loop closes the source. Throws DbError. */
  readonly batches: AsyncIterable<RawBatch>;
  readonly rowCountTotal?: number | undefined;
  readonly bytesTotal?: number | undefined;
  readonly progress: ReaderProgress;
};

export const BATCH_ROW_COUNT_DEFAULT = 8192;
export const SAMPLE_ROW_COUNT_DEFAULT = 20_480;
/** A reader remembers this many of the rows it skipped. */
export const SKIPPED_ROWS_KEPT_MAX = 20;
