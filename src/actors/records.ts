import type { CalendarSpec } from '../calendar/spec.ts';
import type { TableWrite } from '../columns/table-contract.ts';
import type { SqlType } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import type { IdentityKind, RelationRead } from '../plan/catalog.ts';
import type { KeptChange } from '../windows/kept-tiles.ts';
import type { Policy } from '../windows/policy.ts';

/**
 * What the journal holds: one record a commit, whose operations are applied in order, all or none. Everything an
 * operation needs is in it: ids, seeds, evaluated defaults and instants; applying reads no clock and rolls no dice.
 */
export type CommitRecord = {
  readonly kind: 'commit';
  readonly operations: readonly Operation[];
};

export const RECORD_SCHEMA_VERSION = 1;

/**
 * Operations as they come out of bytes, before rows are made of them. What a version has written is never changed: a new version has a new
 * number and says, in one pure function, how operations of the version before become its own.
 */
export type PlainOperation = { readonly op: string } & Readonly<Record<string, unknown>>;
export type Upcaster = (operations: readonly PlainOperation[]) => readonly PlainOperation[];

/** The first brings version 1 to version 2, and so on. Replay goes through all that a record lacks. */
export const RECORD_UPCASTERS: readonly Upcaster[] = [];

export type Operation =
  | { readonly op: 'rows'; readonly relation: number; readonly writes: readonly TableWrite[] }
  | { readonly op: 'createTable'; readonly table: TableDefinition }
  | { readonly op: 'createView'; readonly view: ViewDefinition }
  | { readonly op: 'createMaterializedView'; readonly view: MaterializedViewDefinition }
  | { readonly op: 'createSchema'; readonly tenant: string; readonly name: string }
  | { readonly op: 'dropSchema'; readonly tenant: string; readonly name: string }
  | { readonly op: 'createSequence'; readonly sequence: SequenceDefinition }
  /** The last value handed out; written with the rows that used it. Older changes than the newest known are passed over. */
  | {
      readonly op: 'sequenceValue';
      readonly sequence: number;
      readonly value: number;
      readonly called: boolean;
      readonly changeNumber: number;
    }
  | { readonly op: 'dropRelation'; readonly relation: number }
  | { readonly op: 'renameRelation'; readonly relation: number; readonly name: string }
  /** Replaces a table's definition; `data` says what happens to its rows. */
  | {
      readonly op: 'alterTable';
      readonly table: TableDefinition;
      readonly data:
        | { readonly kind: 'keep' }
        | { readonly kind: 'addColumn'; readonly value: Datum }
        | { readonly kind: 'dropColumn'; readonly index: number }
        /**
         * All rows are written anew, in arrival order: new column i is old column `from`, or `values` converted row
         * by row before the record was made (rows are then in the record).
         */
        | { readonly kind: 'rewrite'; readonly rows: TableWrite };
    }
  | { readonly op: 'addIndex'; readonly relation: number; readonly index: IndexDefinition }
  | { readonly op: 'dropIndex'; readonly relation: number; readonly name: string }
  | {
      readonly op: 'alterMaterializedView';
      readonly relation: number;
      readonly options: ViewOptions;
    }
  /** Who else may read a relation, from now on or no longer; `to` undefined: PUBLIC. */
  | {
      readonly op: 'grant';
      readonly relation: number;
      readonly to: string | undefined;
      readonly granted: boolean;
    }
  /** What was written under a key of the writer's: `chunks` commits of it so far, with `rows` in all. */
  | {
      readonly op: 'keyedWrite';
      readonly key: string;
      readonly rows: number;
      readonly chunks: number;
      readonly done: boolean;
    }
  /** Undefined: there is none of that name any more. */
  | {
      readonly op: 'setCalendar';
      readonly tenant: string;
      readonly name: string;
      readonly spec: CalendarSpec | undefined;
    }
  /** What a table keeps from now on; undefined: all of its rows. */
  | {
      readonly op: 'setPolicy';
      readonly relation: number;
      readonly policy: Policy | undefined;
    }
  /** Rows that the same record deletes become tiles, or tiles become coarser ones, or are no more. */
  | { readonly op: 'keepTiles'; readonly relation: number; readonly change: KeptChange }
  /** A segment of a table is rewritten without its dead rows. */
  | { readonly op: 'compact'; readonly relation: number; readonly segment: number }
  /** What the record at `position` did to a table is passed over when the table is made anew. */
  | {
      readonly op: 'skip';
      readonly relation: number;
      readonly position: number;
      readonly reason: string;
      readonly by: string;
    }
  /** What becomes of a table at a record that it cannot take in: `hold` waits for an operator, `skip` passes it over. */
  | { readonly op: 'recoveryPolicy'; readonly onPoison: OnPoison; readonly by: string };

export type OnPoison = 'hold' | 'skip';

export type RelationName = {
  readonly tenant: string;
  readonly schema: string;
  readonly name: string;
};

export type TableDefinition = RelationName & {
  readonly id: number;
  readonly columns: readonly ColumnDefinition[];
  readonly indexes: readonly IndexDefinition[];
  readonly checks: readonly CheckDefinition[];
  /** Seeds the permutation of sealed segments. */
  readonly seed: number;
  /** WITH (time = …). */
  readonly timeColumn: string | undefined;
  /** Retention, lateness, refresh (docs/policies.md). */
  readonly policy?: Policy | undefined;
};

export type ColumnDefinition = {
  readonly name: string;
  readonly type: SqlType;
  readonly nullable: boolean;
  /** SQL text of an expression. */
  readonly default: string | undefined;
  readonly generated: string | undefined;
  /** Id of the sequence that belongs to a serial or identity column. */
  readonly sequence: number | undefined;
  readonly identity?: IdentityKind | undefined;
};

export type IndexDefinition = {
  readonly name: string;
  readonly columnIndexes: readonly number[];
  readonly unique: boolean;
  readonly primary: boolean;
  /** Made by a UNIQUE or PRIMARY KEY constraint: dropped as a constraint, not as an index. */
  readonly constraint: boolean;
};

export type CheckDefinition = { readonly name: string; readonly text: string };

export type ViewDefinition = RelationName & {
  readonly id: number;
  readonly columnNames: readonly string[];
  /** The query's SQL. */
  readonly text: string;
  /** What the names in it mean. */
  readonly reads: readonly RelationRead[];
};

export type ViewOptions = {
  /** 'commit': kept inside the commit; else milliseconds between refreshes. */
  readonly refresh: 'commit' | number;
};

export type MaterializedViewDefinition = ViewDefinition & {
  readonly options: ViewOptions;
  readonly seed: number;
  /** The zone that days and hours in the query mean: that of the session which made the view. */
  readonly zone: string;
  /** What `today` and `now` mean as literals in the query: the view was made then. */
  readonly createdMicros: number;
};

export type SequenceDefinition = RelationName & {
  readonly id: number;
  readonly start: number;
  readonly increment: number;
  readonly minimum: number;
  readonly maximum: number;
  readonly cycle: boolean;
};
