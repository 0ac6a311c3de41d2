import type { TextPlace } from '../base/errors.ts';
import type { SqlType } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';

/**
 * A bound expression: names resolved, overloads chosen, coercions explicit. Plain data (a plan is posted to
 * workers and printed), so a function is named by its id in the catalog.
 */
export type Expression =
  | ColumnExpression
  | ConstantExpression
  | ParameterExpression
  | CallExpression
  | LogicExpression
  | NotExpression
  | NullTestExpression
  | CaseExpression
  | CoalesceExpression
  | InListExpression
  | AnyArrayExpression
  | CastExpression
  | OuterColumnExpression
  | SubqueryExpression;

/** Column `index` of the input batch. */
export type ColumnExpression = {
  readonly kind: 'column';
  readonly index: number;
  readonly type: SqlType;
  readonly nullable: boolean;
  readonly name: string;
};
export type ConstantExpression = {
  readonly kind: 'constant';
  readonly type: SqlType;
  readonly value: Datum;
};
/** $1 is index 0. Its datum comes with the execution and is already of `type`. */
export type ParameterExpression = {
  readonly kind: 'parameter';
  readonly type: SqlType;
  readonly index: number;
};
/** A function or an operator. `fn` is the id of its definition, such as `add(int4,int4)`. */
export type CallExpression = {
  readonly kind: 'call';
  readonly fn: string;
  readonly args: readonly Expression[];
  readonly type: SqlType;
  readonly at?: TextPlace | undefined;
};
/** Three-valued AND/OR of two or more; evaluated left to right, and later arguments only where they can matter. */
export type LogicExpression = {
  readonly kind: 'and' | 'or';
  readonly args: readonly Expression[];
  readonly type: SqlType;
};
export type NotExpression = {
  readonly kind: 'not';
  readonly arg: Expression;
  readonly type: SqlType;
};
/** IS [NOT] NULL; never NULL itself. */
export type NullTestExpression = {
  readonly kind: 'isNull' | 'isNotNull';
  readonly arg: Expression;
  readonly type: SqlType;
};
/** Searched CASE; a simple CASE is bound to one. Branches that are not taken are not evaluated (1/0 in them is fine). */
export type CaseExpression = {
  readonly kind: 'case';
  readonly branches: readonly { readonly when: Expression; readonly then: Expression }[];
  readonly otherwise: Expression;
  readonly type: SqlType;
};
export type CoalesceExpression = {
  readonly kind: 'coalesce';
  readonly args: readonly Expression[];
  readonly type: SqlType;
};
/**
 * args [NOT] IN (what is the same for all rows): one set for an execution. `values` are the listed rows that are constants, one behind the
 * other, so many data a row as there are args, each of its arg's type; `others`, likewise, those with something that an execution has to
 * settle. There is one row at least, or an array; NULL among them is as SQL has it.
 */
export type InListExpression = {
  readonly kind: 'inList';
  readonly args: readonly Expression[];
  readonly values: readonly Datum[];
  readonly others: readonly Expression[];
  /** Of a list of single values: what this holds, too. `= ANY ($1)`, `<> ALL ($1)`; it may hold nothing. */
  readonly array?: ArrayParameter | undefined;
  readonly negated: boolean;
  readonly type: SqlType;
};
/** A parameter that is an array of `element`. `item` makes of each of its items, as column 0, what is compared. */
export type ArrayParameter = {
  readonly index: number;
  readonly element: SqlType;
  readonly item: Expression;
};
/**
 * Any other comparison with ANY or ALL of an array. `test` is over arg, as column 0, and an item, as column 1. NULL where the array is; where it is
 * empty ANY is false and ALL true.
 */
export type AnyArrayExpression = {
  readonly kind: 'anyArray';
  readonly arg: Expression;
  readonly array: ArrayParameter;
  readonly test: Expression;
  readonly all: boolean;
  readonly type: SqlType;
};
/** A cast from arg.type to type by the catalog's cast function; explicit casts may truncate (varchar(n)). */
export type CastExpression = {
  readonly kind: 'cast';
  readonly arg: Expression;
  readonly type: SqlType;
  readonly explicit: boolean;
  readonly at?: TextPlace | undefined;
};
/** Inside a correlated subquery: column `index` of the row `depth` queries further out (1: the next one). */
export type OuterColumnExpression = {
  readonly kind: 'outerColumn';
  readonly depth: number;
  readonly index: number;
  readonly type: SqlType;
  readonly nullable: boolean;
  readonly name: string;
};
/**
 * A subquery inside an expression, as binding leaves it; `subquery` is an index into the enclosing plan node's
 * `subqueries`. The optimiser turns those it can into joins; what is left is evaluated once (uncorrelated) or
 * once per distinct tuple of outer values.
 */
export type SubqueryExpression = {
  readonly kind: 'subquery';
  readonly mode: 'scalar' | 'exists' | 'in' | 'any' | 'all';
  readonly subquery: number;
  /** Left operands of IN/ANY/ALL. */
  readonly args: readonly Expression[];
  /** The comparison's function id for in/any/all. */
  readonly compare?: string | undefined;
  readonly negated: boolean;
  readonly type: SqlType;
};
