import { PRIORITIES, type Priority } from '../mailbox/run-queue.ts';
import type { SqlText } from './sql-tag.ts';
import type { InputColumns, InputRow } from './rows-in.ts';
import type { ResultColumn, ResultRow, ValueOptions } from './rows-out.ts';

/** The public shapes (docs/api.md). `index.ts` exports them. */

export { PRIORITIES };
export type { Priority };

export type Cancelable = {
  readonly signal?: AbortSignal | undefined;
  /** Ends the call with 57014. */
  readonly timeoutMs?: number | undefined;
};

export type Identity = {
  readonly tenant?: string | undefined;
  readonly user?: string | undefined;
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
};

export type QueryOptions = Cancelable &
  Identity & {
    readonly params?: readonly unknown[] | undefined;
    readonly values?: ValueOptions | undefined;
    /** Waits until this position is visible (read your writes of another connection). */
    readonly atLeast?: number | undefined;
    /** Reads as of an earlier position, as far as `history` reaches; else ADB_POSITION_GONE. */
    readonly asOf?: number | undefined;
    readonly priority?: Priority | undefined;
    /** Work units after which the query ends with 53400. */
    readonly maxWork?: number | undefined;
    readonly label?: string | undefined;
    /** IANA zone of this query: default the session's. */
    readonly zone?: string | undefined;
    /** Refuses whatever would write: 25006. */
    readonly readOnly?: boolean | undefined;
  };

export type AnswerSource = 'view' | 'windows' | 'scan' | 'sample' | 'catalog';

/** Every answer says what it is (law 6). */
export type QueryMeta = {
  readonly queryId: string;
  /** Journal position the answer is true at. */
  readonly position: number;
  /** Instant of that position, ISO 8601. */
  readonly asOf: string;
  /** How far the answer lies behind the newest position, in milliseconds: 0 unless asOf or an interval view was read. */
  readonly lagMs: number;
  readonly source: AnswerSource;
  readonly sources: readonly {
    readonly kind: 'table' | 'view' | 'catalog';
    readonly name: string;
    /** Rows before it were demoted by the table's policy: they are in windows and aggregates, and not among its rows. */
    readonly rowsFrom?: string;
    /** What is before it no answer has: the table's policy lets it go, or that of a table which the view reads has demoted it. */
    readonly keptFrom?: string;
  }[];
  readonly guarantee: 'exact';
  /** Work units. */
  readonly work: number;
  readonly elapsedMs: number;
  readonly queuedMs: number;
};

export type QueryResult<Row = ResultRow> = {
  readonly rows: Row[];
  readonly columns: readonly ResultColumn[];
  /** Rows returned, or changed by DML. */
  readonly rowCount: number;
  /** SELECT, INSERT, CREATE TABLE, … */
  readonly command: string;
  readonly meta: QueryMeta;
  /** The same rows as an Arrow IPC stream. */
  toArrow(): Uint8Array;
};

export type TextResult = {
  readonly rows: (string | null)[][];
  readonly columns: readonly ResultColumn[];
  readonly rowCount: number;
  readonly command: string;
  readonly meta: QueryMeta;
};

export type ExecResult = {
  readonly position: number;
  /** Rows changed by the last statement. */
  readonly rows: number;
  readonly command: string;
};

export type WriteResult = { readonly position: number; readonly rows: number };

export type WriteOptions = Cancelable & { readonly idempotencyKey?: string | undefined };

export type RowsInput =
  | readonly InputRow[]
  | InputRow
  | InputColumns
  | AsyncIterable<readonly InputRow[] | InputRow | InputColumns>;

export type StreamBatch<Row = ResultRow> = {
  readonly rows: Row[];
  readonly rowCount: number;
  /** One array a column, in the order of `columns`. */
  columnar(): unknown[][];
};

export type Statement<Row = ResultRow> = string | SqlText<Row> | QueryModelInput;
/** A query model (docs/query-model.md); `from` tells it from text. */
export type QueryModelInput = { readonly from: string } & Readonly<Record<string, unknown>>;

export type Change<Row = ResultRow> =
  | {
      readonly kind: 'snapshot';
      readonly position: number;
      readonly rows: Row[];
      readonly more: boolean;
    }
  | {
      readonly kind: 'delta';
      readonly position: number;
      readonly from: number;
      readonly inserted: Row[];
      readonly deleted: Row[];
    }
  | { readonly kind: 'progress'; readonly position: number; readonly asOf: string }
  | { readonly kind: 'reset'; readonly position: number; readonly reason: string };

export type SubscribeOptions = Cancelable &
  Identity & {
    readonly from?: 'snapshot' | 'now' | number | undefined;
    /** Changes a second at most; those in between are merged. */
    readonly maxRate?: number | undefined;
    readonly heartbeatMs?: number | undefined;
    readonly values?: ValueOptions | undefined;
    readonly params?: readonly unknown[] | undefined;
  };

export interface Subscription<Row = ResultRow> extends AsyncIterable<Change<Row>>, AsyncDisposable {
  readonly columns: Promise<readonly ResultColumn[]>;
  /** Names of the columns that identify a row; empty where rows may repeat. */
  readonly key: Promise<readonly string[]>;
  /** Whether what is read is known to be the same at both positions. */
  unchanged(from: number, to: number): boolean;
  close(): Promise<void>;
}

export type FileFormat = 'csv' | 'ndjson' | 'json' | 'parquet' | 'arrow';

/** A path, an http(s) or file URL, bytes, or a stream of bytes such as a Node Readable. */
export type LoadSource = string | URL | Uint8Array | ArrayBuffer | AsyncIterable<Uint8Array>;

export type CsvOptions = {
  /** One character; found out by looking at the first lines where not given, a comma when writing. */
  readonly delimiter?: string | undefined;
  /** Whether the first line has the names; found out where not given, yes when writing. */
  readonly header?: boolean | undefined;
  /** How NULL is written without quotes; the empty field unless given. */
  readonly null?: string | undefined;
};

export type LoadOptions = Cancelable & {
  /** Told by the name's ending or by the first bytes where it is not given. */
  readonly format?: FileFormat | undefined;
  /** Creates the table from the file's columns where it does not exist. */
  readonly create?: boolean | undefined;
  /** With `create`: types of single columns, in SQL, instead of those that are found out. */
  readonly types?: Readonly<Record<string, string>> | undefined;
  /** `skip` leaves out lines (CSV, NDJSON) that cannot be read, and counts them. */
  readonly onError?: 'abort' | 'skip' | undefined;
  /** `upsert` replaces rows by primary key, as db.upsert does. Default `insert`. */
  readonly mode?: 'insert' | 'upsert' | undefined;
  /** All or nothing: one commit instead of one a chunk. */
  readonly atomic?: boolean | undefined;
  /** Done once, as with insert. */
  readonly idempotencyKey?: string | undefined;
  readonly csv?: (CsvOptions & { readonly quote?: string | undefined }) | undefined;
  /** What it throws ends the load; a promise is waited for. */
  readonly onProgress?: ((progress: LoadProgress) => unknown) | undefined;
};

export type LoadProgress = {
  readonly rows: number;
  readonly skipped: number;
  readonly bytes: number;
  readonly bytesTotal: number | undefined;
  readonly rowsTotal: number | undefined;
};

export type LoadResult = {
  readonly position: number;
  readonly rows: number;
  readonly skipped: number;
  /** The first lines that were skipped. */
  readonly errors: readonly { readonly line: number; readonly message: string }[];
};

export type ExportProgress = { readonly rows: number; readonly bytes: number };

export type ExportOptions = Cancelable & {
  /** Told by the name's ending where it is not given, else CSV. */
  readonly format?: FileFormat | undefined;
  readonly csv?: CsvOptions | undefined;
  /** False: a Writable is not ended. */
  readonly end?: boolean | undefined;
  /** What it throws ends the export; a promise is waited for. */
  readonly onProgress?: ((progress: ExportProgress) => unknown) | undefined;
};
export type ExportResult = { readonly rows: number; readonly bytes: number };

export type TransactionOptions = Cancelable & {
  /** How often the function runs again after a conflict. */
  readonly retries?: number | undefined;
  readonly readOnly?: boolean | undefined;
};

/** One set of verbs on the database, on `as(…)`, on a session and (down to `delete`) on a transaction. */
export interface Verbs {
  exec(statement: string | SqlText, options?: QueryOptions): Promise<ExecResult>;
  query<Row = ResultRow>(
    statement: Statement<Row>,
    options: QueryOptions & { readonly format: 'text' },
  ): Promise<TextResult>;
  query<Row = ResultRow>(
    statement: Statement<Row>,
    options?: QueryOptions,
  ): Promise<QueryResult<Row>>;
  insert(table: string, rows: RowsInput, options?: WriteOptions): Promise<WriteResult>;
  upsert(table: string, rows: RowsInput, options?: WriteOptions): Promise<WriteResult>;
  /** By primary key: `{ id: 1 }`, `{ id: [1, 2] }`. */
  delete(
    table: string,
    key: Readonly<Record<string, unknown>>,
    options?: WriteOptions,
  ): Promise<WriteResult>;
  stream<Row = ResultRow>(
    statement: Statement<Row>,
    options: QueryOptions & { readonly batchRows?: number; readonly format: FileFormat },
  ): AsyncIterable<Uint8Array>;
  stream<Row = ResultRow>(
    statement: Statement<Row>,
    options?: QueryOptions & { readonly batchRows?: number },
  ): AsyncIterable<StreamBatch<Row>>;
  load(table: string, source: LoadSource, options?: LoadOptions): Promise<LoadResult>;
}

export interface WideVerbs extends Verbs {
  export(
    source: string | SqlText | QueryModelInput,
    target: string | URL | NodeJS.WritableStream,
    options?: ExportOptions,
  ): Promise<ExportResult>;
  subscribe<Row = ResultRow>(
    what: string | SqlText<Row> | QueryModelInput,
    options?: SubscribeOptions,
  ): Subscription<Row>;
  transaction<Value>(
    run: (tx: Verbs) => Promise<Value>,
    options?: TransactionOptions,
  ): Promise<{ readonly value: Value; readonly position: number }>;
}

// ── Doors ──────────────────────────────────────────────────────────────────────────────────────────────────────

type IncomingMessage = import('node:http').IncomingMessage;
type ServerResponse = import('node:http').ServerResponse;

export type ListenOptions = {
  /** A port, `'host:port'`; 0 takes any free port. Loopback unless a host is named. */
  readonly http: number | string;
  /** Names besides this machine's own under which the server may be asked. */
  readonly allowedHosts?: readonly string[] | undefined;
};

/** A server that listens; closing it says goodbye to streams and answers what is under way. */
export interface Server extends AsyncDisposable {
  /** Its address, such as `http://127.0.0.1:4200`. */
  readonly http: string;
  close(): Promise<void>;
}

export type HandlerOptions<Request extends IncomingMessage = IncomingMessage> = {
  /** Who asks; throws, or gives nothing, for who may not. Without it everybody is tenant `main`. */
  readonly as?:
    | ((request: Request) => Identity | undefined | Promise<Identity | undefined>)
    | undefined;
  /** What the path begins with, where the server does not cut it off as Express does. */
  readonly prefix?: string | undefined;
};

/** Answers a request of Express, of `node:http`, or the raw one of Fastify. */
export type RequestHandler<Request extends IncomingMessage = IncomingMessage> = (
  request: Request,
  response: ServerResponse,
  next?: (cause?: unknown) => void,
) => void;

/** When an answer is good enough: the first rule that is met. Errors are half the width of the widest interval shown. */
export type ProgressiveStop =
  | 'exact'
  | {
      readonly relativeError?: number | undefined;
      readonly absoluteError?: number | undefined;
      readonly ms?: number | undefined;
      readonly rows?: number | undefined;
      readonly work?: number | undefined;
    };

export type ProgressiveOptions = QueryOptions & {
  /** 0.5 … 1: how sure it is that no interval of a value is ever wrong, at any look. Default 0.95. */
  readonly confidence?: number | undefined;
  /** The confidence holds for all values of all groups at once, not for each by itself. */
  readonly simultaneous?: boolean | undefined;
  /** Default 'exact'. */
  readonly stop?: ProgressiveStop | undefined;
  /** Which sample: the same seed reads the same rows first. Default: one of its own. */
  readonly seed?: number | undefined;
  /** The `resume` of an earlier event: the same sample of the same position, so the same sequence. */
  readonly resume?: string | undefined;
};

/**
 * A value of a progressive answer. `rigorous`: the interval is proven; `asymptotic`: it rests on the central limit theorem; `none`: there is
 * an estimate at best. Numbers are null where nothing is known.
 */
export type EstimatedValue<Value = unknown> = {
  readonly estimate: number | null;
  readonly lower: number | null;
  readonly upper: number | null;
  readonly guarantee: 'exact' | 'rigorous' | 'asymptotic' | 'none';
  /** The value as the plain query has it, once it is exact. */
  readonly value?: Value;
};

export type ProgressiveRow<Keys, Values> = Keys & {
  readonly [Name in keyof Values]: EstimatedValue<Values[Name]>;
};

export type ProgressiveEvent<Keys = ResultRow, Values = object> = {
  readonly kind: 'estimate' | 'final';
  /** Of the final state: every row was read, the stop rule was met, or it was cancelled. */
  readonly reason?: 'exact' | 'stop' | 'cancelled' | undefined;
  readonly queryId: string;
  readonly position: number;
  readonly asOf: string;
  /** `sample`, however far it is; `windows` where tiles had the answer; what cannot be estimated comes from where the plain query has it. */
  readonly source: AnswerSource;
  readonly confidence: number;
  readonly rows: readonly ProgressiveRow<Keys, Values>[];
  readonly rowsSeen: number;
  readonly rowsTotal: number;
  readonly fraction: number;
  /** Work units so far. */
  readonly work: number;
  readonly elapsedMs: number;
  /** Until the stop rule is met, as far as can be told. */
  readonly etaMs: number | undefined;
  /** Why there are no estimates (yet). */
  readonly why?: string | undefined;
  /** For `{ resume }`. */
  readonly resume: string;
  /** Half the width of the widest interval, beside its estimate and as it is, round by round; null where one is unbounded. */
  readonly convergence: readonly {
    readonly rowsSeen: number;
    readonly relativeError: number | null;
    readonly absoluteError: number | null;
    readonly work: number;
    readonly elapsedMs: number;
  }[];
};
