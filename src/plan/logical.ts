import type { SqlType } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import type { AggregateFunction } from '../expressions/aggregates.ts';
import type { ParameterType } from '../expressions/arrays.ts';
import type { Expression } from '../expressions/expression.ts';
import type { LiteralRows } from '../sql/literal-rows.ts';

export type { AggregateFunction };

/** A column of a plan node's output. */
export type OutputColumn = {
  readonly name: string;
  readonly type: SqlType;
  readonly nullable: boolean;
};

/**
 * A plan, as binding makes it and rewriting improves it: plain data. Every node says its output columns; the
 * expressions of a node speak of its input's columns by index (a join's: left columns, then right ones).
 * `id` is unique in a plan, given by `numberPlan` in depth-first order; EXPLAIN, estimates and running queries
 * name operators by it.
 */
export type PlanNode =
  | ScanNode
  | ValuesNode
  | LiteralsNode
  | FilterNode
  | ProjectNode
  | AggregateNode
  | JoinNode
  | SortNode
  | LimitNode
  | DistinctNode
  | UnionAllNode
  | SetOperationNode
  | CteNode
  | CteScanNode
  | RecursiveNode
  | ApplyNode
  | LateralNode
  | RepeatNode
  | SeriesNode;

type NodeBase = {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
};

/** Rows of a table, a materialized view or a catalog relation. */
export type ScanNode = NodeBase & {
  readonly kind: 'scan';
  /** RelationId. */
  readonly relation: number;
  readonly name: string;
  readonly alias: string;
  /** Which of the relation's columns, in output order (rewriting prunes). */
  readonly columnIndexes: readonly number[];
  /** A filter over the *output* columns, pushed down: zone maps, indexes and row tests. */
  readonly filter?: Expression | undefined;
  /** The batch carries row ids: for views. */
  readonly withRowIds: boolean;
  /** Row ids as one more column behind the others (float8): how UPDATE, DELETE and FOR UPDATE find their rows behind joins. */
  readonly rowIdColumn: boolean;
  /** Rows are only counted: nobody looks at the one column that it gives. */
  readonly countsOnly?: true;
};
/** Constant rows; one row without columns is SELECT without FROM. */
export type ValuesNode = NodeBase & {
  readonly kind: 'values';
  readonly rows: readonly (readonly Expression[])[];
};
/** Rows of literals as they stand in the text; each becomes a value of its column's type, as an INSERT assigns it, when it is read. */
export type LiteralsNode = NodeBase & {
  readonly kind: 'literals';
  readonly rows: LiteralRows;
  /** By column: what DEFAULT stands for where a row has it; undefined: NULL. */
  readonly defaults: readonly (Expression | undefined)[];
};
export type FilterNode = NodeBase & {
  readonly kind: 'filter';
  readonly input: PlanNode;
  readonly condition: Expression;
};
export type ProjectNode = NodeBase & {
  readonly kind: 'project';
  readonly input: PlanNode;
  readonly expressions: readonly Expression[];
};
export type AggregateCall = {
  /** `count(*)` has no args. */
  readonly fn: AggregateFunction;
  readonly args: readonly Expression[];
  readonly distinct: boolean;
  readonly filter?: Expression | undefined;
  /** string_agg, array_agg: within the group; arrival order breaks ties. */
  readonly orderBy: readonly SortKey[];
  readonly type: SqlType;
};
/** Output: the group keys, then the calls. Without keys: one row always. Groups leave in key order (law 2). */
export type AggregateNode = NodeBase & {
  readonly kind: 'aggregate';
  readonly input: PlanNode;
  readonly keys: readonly Expression[];
  readonly calls: readonly AggregateCall[];
};
/**
 * Output: left columns, then right ones (semi and anti: left only). Equi-keys are pairs compared by `equals`
 * (NULL matches nothing); `residual` speaks of left then right columns. `nullAware` anti: NOT IN.
 */
export type JoinNode = NodeBase & {
  readonly kind: 'join';
  readonly type: 'inner' | 'left' | 'right' | 'full' | 'semi' | 'anti';
  readonly left: PlanNode;
  readonly right: PlanNode;
  readonly keys: readonly { readonly left: Expression; readonly right: Expression }[];
  readonly residual?: Expression | undefined;
  readonly nullAware: boolean;
  /** Which side a hash table is built of: the optimiser's choice, never visible in the answer. */
  readonly build: 'left' | 'right';
};
export type SortKey = {
  readonly expression: Expression;
  readonly descending: boolean;
  readonly nullsFirst: boolean;
  /** An ICU collation, at a query's final sort only; undefined: UTF-8 bytes. */
  readonly collation?: string | undefined;
};
/** With `limit`, a top-k. Stable: ties stay in arrival order. */
export type SortNode = NodeBase & {
  readonly kind: 'sort';
  readonly input: PlanNode;
  readonly keys: readonly SortKey[];
  /** Rows to keep, offset included; a bound parameter's value is put in before execution. */
  readonly keep?: Expression | undefined;
};
/** Each row of the input `times` over (0: not at all). Only views have it: it is how they count rows of two inputs. */
export type RepeatNode = NodeBase & {
  readonly kind: 'repeat';
  readonly input: PlanNode;
  readonly times: Expression;
};
export type LimitNode = NodeBase & {
  readonly kind: 'limit';
  readonly input: PlanNode;
  readonly limit?: Expression | undefined;
  readonly offset?: Expression | undefined;
  /** One row that `limit` and `offset` speak of, where they hold subqueries. */
  readonly counts?: PlanNode | undefined;
};
/** All columns, or DISTINCT ON the first `on` of them (the first row of each in input order). */
export type DistinctNode = NodeBase & {
  readonly kind: 'distinct';
  readonly input: PlanNode;
  readonly on?: readonly Expression[] | undefined;
};
export type UnionAllNode = NodeBase & {
  readonly kind: 'unionAll';
  readonly inputs: readonly PlanNode[];
};
/** INTERSECT and EXCEPT; UNION is a distinct over unionAll. */
export type SetOperationNode = NodeBase & {
  readonly kind: 'setOperation';
  readonly operation: 'intersect' | 'except';
  readonly all: boolean;
  readonly left: PlanNode;
  readonly right: PlanNode;
};
/** `body` may scan each of `ctes` any number of times; each is evaluated once. */
export type CteNode = NodeBase & {
  readonly kind: 'cte';
  readonly ctes: readonly {
    readonly cte: number;
    readonly name: string;
    readonly plan: PlanNode;
  }[];
  readonly body: PlanNode;
};
export type CteScanNode = NodeBase & {
  readonly kind: 'cteScan';
  readonly cte: number;
  readonly name: string;
};
/**
 * WITH RECURSIVE `cte`: the rows of `base`, then again and again those of `step`, whose plan scans the rows of the round before
 * as `cte`. Without `all` equal rows come once.
 */
export type RecursiveNode = NodeBase & {
  readonly kind: 'recursive';
  readonly cte: number;
  readonly name: string;
  readonly base: PlanNode;
  readonly step: PlanNode;
  readonly all: boolean;
};
/**
 * Adds the value of subqueries to the input's rows: output is the input's columns, then one column a subquery.
 * A subquery whose plan holds `outerColumn` expressions (depth 1 = this node's input row; deeper ones = this
 * node's own outer rows) is evaluated once per distinct tuple of them, and remembered; others once.
 */
export type ApplyNode = NodeBase & {
  readonly kind: 'apply';
  readonly input: PlanNode;
  readonly subqueries: readonly {
    readonly mode: 'scalar' | 'exists' | 'in' | 'any' | 'all';
    readonly plan: PlanNode;
    /** in/any/all: over the input's columns. */
    readonly args: readonly Expression[];
    readonly compare?: string | undefined;
    readonly negated: boolean;
    readonly type: SqlType;
  }[];
};

/**
 * For each row of `left`, the rows of `right`, whose plan may speak of that row by `outerColumn` (depth 1); output: left columns,
 * then right ones. `condition` speaks of both; a left join keeps rows of `left` that nothing is found for.
 */
export type LateralNode = NodeBase & {
  readonly kind: 'lateral';
  readonly type: 'inner' | 'left';
  readonly left: PlanNode;
  readonly right: PlanNode;
  readonly condition?: Expression | undefined;
};

/**
 * generate_series(start, stop[, step]): one column, and the number of the row WITH ORDINALITY; its arguments are constants,
 * parameters and outer columns.
 */
export type SeriesNode = NodeBase & {
  readonly kind: 'series';
  readonly start: Expression;
  readonly stop: Expression;
  readonly step: Expression | undefined;
  readonly ordinality: boolean;
};

/** Whose rows a query claims. */
export type RowLocks = {
  readonly relations: readonly number[];
  /** Where single rows of one relation are claimed: the query's plan, with their ids behind its columns. */
  readonly plan: PlanNode | undefined;
  /** Where others hold them: they are waited for, 55P03 (NOWAIT), or left out (SKIP LOCKED, of single rows only). */
  readonly wait: 'wait' | 'nowait' | 'skip';
};

/** A whole statement, bound. */
export type BoundQuery = {
  readonly kind: 'query';
  readonly plan: PlanNode;
  /** Types inferred or declared for $1, $2, … */
  readonly parameterTypes: readonly ParameterType[];
  /** FOR UPDATE / FOR SHARE: what it claims. */
  readonly locks?: RowLocks | undefined;
  /** Ids of all relations it reads, views included: for grants, plan cache and read sets. */
  readonly relations: readonly number[];
  readonly volatile: boolean;
};

/** A row of constants: what VALUES and DEFAULT evaluate to. */
export type ConstantRow = readonly Datum[];
