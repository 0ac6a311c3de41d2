/**
 * What a stored relation promises to the rooms above: the commit turn writes, scans read. `table.ts` implements it.
 * Tables and materialized views are stored alike.
 */
import type { Batch } from './batch.ts';
import type { InsertedRows } from './inserted-rows.ts';
import type { TableReading } from './table-image.ts';
import type { TableBase } from './table-base.ts';
import type { SqlType } from './types.ts';
import type { Datum } from './values.ts';
import type { Vector } from './vector.ts';

export type ColumnSchema = {
  readonly name: string;
  readonly type: SqlType;
  readonly nullable: boolean;
};

/** An index over columns; `unique` refuses equal keys (NULLs are distinct, as in PostgreSQL). */
export type IndexSchema = {
  readonly name: string;
  readonly columnIndexes: readonly number[];
  readonly unique: boolean;
  readonly primary: boolean;
};

export type TableSchema = {
  /** Shown in errors. */
  readonly name?: string;
  readonly columns: readonly ColumnSchema[];
  readonly indexes: readonly IndexSchema[];
  /** Seeds the permutation of sealed segments; given in the CREATE TABLE record. */
  readonly seed: number;
  /** WITH (time = …): the column whose order sealed segments keep; undefined: the first date or timestamp column. */
  readonly timeColumn?: number;
};

/**
 * What one commit did to one table: undo, version log, changefeeds and delta operators all work on it. Rows appear in `deleted`
 * and `inserted` in row-id order. A row changed in place is in both with the same row id.
 */
export type TableDelta = {
  /** Old rows, with row ids; all columns of the table. */
  readonly deleted: Batch | undefined;
  /** New rows, with row ids. */
  readonly inserted: Batch | undefined;
  /** What the version log holds of the inserted rows, where it shares that with the journal. */
  readonly kept?: InsertedRows | undefined;
  /** Known to have no row that both leaves and arrives; else that must be looked for. */
  readonly isMinimal?: boolean | undefined;
};

export type StageOptions = {
  /** Memory may be refused. */
  readonly limits: boolean;
  /** No row that leaves is identical to one that arrives: whoever tells the change need not look. */
  readonly isMinimal?: boolean | undefined;
};

/** One write to a table inside a commit. Batches hold all columns of the table, already of its types. */
export type TableWrite =
  | { readonly kind: 'insert'; readonly rows: Batch }
  | { readonly kind: 'delete'; readonly rowIds: Float64Array }
  /** Row i replaces the row `rowIds[i]`: in place where that row is in the open segment, else it moves to the end. */
  | {
      readonly kind: 'update';
      readonly rowIds: Float64Array;
      readonly rows: Batch;
      /** The unique index by which the rows were found: each has the key that it had, which need not be looked for once more. */
      readonly foundBy?: string | undefined;
    }
  | { readonly kind: 'truncate' };

export interface TableData {
  readonly schema: TableSchema;
  readonly rowCount: number;
  /** Row ids given so far: the next row's id. */
  readonly nextRowId: number;
  readonly memoryBytes: number;
  /** Commits that are staged and not published. */
  readonly stagedCount: number;

  /**
   * Stages writes in place, for the commit turn. Checks NOT NULL (23502) and unique keys (23505) and memory
   * (53200); when it throws, nothing has changed. `limits: false` is replay: memory is never refused.
   */
  stage(writes: readonly TableWrite[], options: StageOptions): TableDelta;
  /** Whether entry `row` of the columns is identical to the newest (staged) version of a living row: nobody could tell them apart. */
  shows(rowId: number, columns: readonly Vector[], row: number): boolean;
  /** Undoes the newest staged and unpublished commit. */
  undo(): void;
  /** The oldest staged commit is acknowledged: it becomes visible, its delta goes to the version log at `position`. */
  publish(position: number): void;

  /** Rows as of the newest published position; holds them until released, whatever is written meanwhile. */
  snapshot(): TableSnapshot;
  /** The same, to be kept elsewhere. */
  read(): TableReading;
  /** As of an earlier position still covered by the version log, else undefined. */
  snapshotAt(position: number): TableSnapshot | undefined;
  /** Rows with staged writes on top, for the commit turn's own reads (view deltas, validations). */
  staged(): TableSnapshot;
  /**
   * Published changes in (from, to], oldest first; undefined when the log no longer reaches back to `from`. With `atOnce` they are
   * good until the next write only, and cost no copy.
   */
  changes(
    from: number,
    to: number,
    reading?: 'atOnce',
  ): readonly { readonly position: number; readonly delta: TableDelta }[] | undefined;

  /** Whether something waits for `maintain`. */
  readonly needsUpkeep: boolean;
  /** Of the newest published commit that changed it. */
  readonly position: number;
  /** Positions before this one are told no more: `history` has passed. What open readers hold stays as long as they do. */
  expire(position: number): void;
  /** Segments of which less than half the rows live: what compaction records name. */
  segmentsToCompact(): readonly SparseSegment[];
  /** Positions before this one are not told any more: what is there was made then. */
  beginHistory(position: number): void;
  /** Whether `snapshotAt` and `changes` reach back to `position`. */
  covers(position: number): boolean;

  /** Work that waits (sealing, index building, compaction), done in bounded steps: true while there is more. */
  maintain(units: number): boolean;
  /** For choosing plans: distinct values of a column, and the share of rows whose segments pass the tests. */
  distinctEstimate?(column: number): number | undefined;
  zoneShare?(tests: readonly ZoneTest[]): number;
  /** Metadata only: segments may lack a column, `value` is what their rows show. The new column is the last one. */
  addColumn(column: ColumnSchema, value: Datum): void;
  /** Undoes `addColumn`: takes the column away. */
  dropColumn(index: number): void;
  /** Names and nullability of columns change, nothing else. */
  alterSchema(schema: TableSchema): void;
  /** Rewrites a segment without its dead rows; row ids stay. */
  compact(segment: number): void;
  /** Memory is short: history goes, and with it texts that no row has any more. Whether there is more room now. */
  freeMemory(): boolean;
  addIndex(index: IndexSchema): void;
  /** The same in steps: yields the rows indexed since the last one. Nobody may write meanwhile; 23505 leaves nothing behind. */
  addIndexInSteps(index: IndexSchema): Generator<number, void>;
  dropIndex(name: string): void;
  /**
   * In steps, what the table can be made anew from later: see `TableBase`. The newest published state must be that of `position`.
   * `isChanged`: whether rows of a chunk were overwritten or deleted since `previous` was taken.
   */
  checkpoint(
    position: number,
    previous: TableBase | undefined,
    isChanged: (chunk: number) => boolean,
  ): Generator<number, TableBase>;
  /** Gives back all memory, once the last open snapshot is released. */
  close(): void;
}

/** `generation`: how often it was rewritten. */
export type SparseSegment = { readonly number: number; readonly generation: number };

export interface TableSnapshot {
  readonly schema: TableSchema;
  /** Live rows. */
  readonly rowCount: number;
  /**
   * Reads in arrival order (`ordered: true`), or in whatever order is fastest. Row ids that are `'lent'` may be overwritten when the next
   * batch is asked for. `prune` lets the scan skip segments by their zone maps; rows it lets through may still fail the condition.
   */
  scan(options: {
    readonly columnIndexes: readonly number[];
    readonly ordered: boolean;
    readonly withRowIds: boolean | 'lent';
    readonly prune?: readonly ZoneTest[];
  }): TableScan;
  /**
   * The rows are those of every commit published up to here, and no others; undefined where some are staged or a transaction's
   * own. Commits that did not change the table may lie between.
   */
  readonly position?: number | undefined;
  /** A transaction has emptied the table: what there was besides rows is not there for it either. */
  readonly isTruncated?: boolean;
  /**
   * Rows whose time lies in one of some stretches that do not overlap, read by the order of time where the segments have it; `column` is a date or timestamp.
   */
  scanTimes?(options: {
    readonly column: number;
    readonly stretches: readonly TimeStretch[];
    readonly columnIndexes: readonly number[];
  }): TimedScan;
  /** Looks at what `scanTimes` will read first where a stretch begins or ends at `time`: a number that says nothing. */
  lookAtTime?(time: number): number;
  /** What times lie between, without a look at most rows; undefined where that is not known. `column` is a date or timestamp. */
  timeBounds?(column: number): TimeBounds | undefined;
  /**
   * For a unique index: by key (entry `selection[i]`, or i, of the vectors) the id of the row that has it, −1 where there is
   * none. NULL equals nothing.
   */
  findUnique(
    indexName: string,
    keys: readonly Vector[],
    rowCount: number,
    selection?: Int32Array,
  ): Float64Array;
  /** Row ids whose key equals `key` in the named index, in row-id order. */
  lookup(indexName: string, key: readonly Datum[]): Float64Array;
  /** How many those are at most, without looking at them: rows that are dead and kept for a reader may be counted too. */
  rowCountMaxOf?(indexName: string, key: readonly Datum[]): number;
  /** Rows by id, in the given order; ids that are not visible are left out (`rowIds` of the batch say which are there). */
  fetch(rowIds: Float64Array, columnIndexes: readonly number[]): Batch;
  /**
   * Joins entries [0, rowCount) of `keys` (logical rows of `selection`) with the rows under equal keys of the named index, in bounded
   * pieces. Keys with a NULL match nothing.
   */
  probe?(
    indexName: string,
    keys: readonly Vector[],
    rowCount: number,
    selection?: Int32Array,
  ): IndexProbe;
  /** The first segment whose rows are not sealed yet. */
  readonly sealedTo?: number;
  /** Reads in rounds, each a fair sample; absent where rows do not lie in random order. */
  sample?(options: SampleOptions): TableSample;
  release(): void;
}

export type TimeBounds = {
  /** No row has a time before or after, but for those of `rest`; Infinity and −Infinity where there is none. */
  readonly from: number;
  readonly to: number;
  /** Rows may have no time at all. */
  readonly hasNulls: boolean;
  /** Rows, of the one column, that are not told of. */
  readonly rest: TableScan;
};

export type SampleOptions = {
  readonly columnIndexes: readonly number[];
  readonly prune: readonly ZoneTest[];
  /** Columns whose extreme rows are read beforehand. */
  readonly tailColumns: readonly number[];
  /** Where the sample begins in each segment: another seed, another sample. */
  readonly seed: number;
  /** Rows of segments from this one on are read whole, sealed or not: that of a run to be repeated. */
  readonly wholeFrom?: number | undefined;
  /** A row passes the filter if and only if it passes all of these; undefined: they are not all there is to it. */
  readonly cover?: readonly ZoneTest[] | undefined;
  /** Rows are counted and nothing else: segments all of whose rows pass are read whole, which costs nothing. */
  readonly isCounting?: boolean | undefined;
  /** Batches of at most so many rows: what counts as one draw where rows meet many others. */
  readonly batchRowsMax?: number | undefined;
};

/**
 * Rows in the order of a sample, by phases: 'tails' (extreme rows, which come once more with the others), 'whole' (rows that are in no
 * random order: all of them), then rounds. The rows of the rounds so far are a sample without replacement of all rows of the rounds.
 */
export interface TableSample extends TableScan {
  readonly phase: 'tails' | 'whole' | 'round';
  /** The number of the round in hand, from 0; of a batch of tails, that of the round that draws its rows. */
  readonly round: number;
  /** Whether the batch just given is one to look at closely: of rounds that are watched all of the first ones, a share of each later one. */
  readonly isWatched: boolean;
  /** All rows of the batch just given are known to pass. */
  readonly isCovered: boolean;
  /**
   * `next` has said undefined: goes on to the next phase or round; false at the end of all. `watchedWanted`: how many rows are to be watched in all
   * rounds together, 0 if those that were are enough. Of large tables a round watches no more than is wanted; of others, as ever if any is.
   */
  advance(watchedWanted?: number): boolean;
  /** Rows that are drawn in rounds, dead ones included: a draw of one matches nothing. */
  readonly population: number;
  /** Of them, those of the rounds begun so far. */
  readonly drawn: number;
  /** Of `drawn`, those that are watched. */
  readonly watched: number;
  /** Of `drawn`, those of the first round. */
  readonly firstRound: number;
  /** Rows that are read whole, dead ones included; known once the phase is over. */
  readonly wholeRows: number;
  /** The first segment whose rows are read whole because they are not sealed. */
  readonly wholeFrom: number;
  /** Of what is sampled: another number, other rows or in another order. */
  readonly identity: number;
  /**
   * What bounds the present values of a column in the rows of the rounds, extreme ones aside (`rest`) or not (`all`), as numbers
   * (numeric: the value, not the coefficient); undefined where nothing is known. `certain`: the least and the greatest number that is sure to be
   * in a living row that passes.
   */
  bounds(
    columnIndex: number,
  ): { readonly rest: Range; readonly all: Range; readonly certain: Range } | undefined;
  /**
   * Rows of the values of a column that few rows have, all there are of each; with `wanted`, of these values, or none at all where one of them
   * is not rare. They are drawn like all others besides.
   */
  rareRows(columnIndex: number, wanted?: readonly Datum[]): RareRows;
}

export interface RareRows extends TableScan {
  /** Looks for them in some of the segments; 'more': to be called again. Only after 'some' there is something to read. */
  prepare(): 'more' | 'some' | 'none';
}

export type Range = { readonly min: number; readonly max: number };

/** Pairs of a probing row (logical) and a visible row id, by probing row, then row id. */
export interface IndexProbe {
  /** At most 2,048 pairs, or undefined at the end. */
  next(): { readonly rows: Int32Array; readonly rowIds: Float64Array } | undefined;
}

/** A necessary condition on one column, told by zone maps. */
export type ZoneTest =
  | { readonly column: number; readonly op: '<' | '<=' | '=' | '>=' | '>'; readonly value: Datum }
  /** `values`: in their order, without NULL. */
  | { readonly column: number; readonly op: 'in'; readonly values: readonly Datum[] }
  | { readonly column: number; readonly op: 'isNull' | 'isNotNull' };

export interface TableScan {
  /** The next batch of at most BATCH_ROW_COUNT_MAX rows (columns in the order asked for), or undefined at the end. */
  next(): Batch | undefined;
  /** Rows looked at so far, deleted ones included: what the scan is charged by. Pruned segments count 1 each. */
  readonly rowsRead: number;
}

/** [from, to) in microseconds since 1970; empty where there are no times. */
export type TimeStretch = { readonly from: number; readonly to: number };

/** Of stretches of time. */
export interface TimedScan extends TableScan {
  /** Rows read of stretch number `index`. */
  rowsReadOf(index: number): number;
}
