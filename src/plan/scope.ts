import { DbError, notSupported, type TextPlace } from '../base/errors.ts';
import type { Expression } from '../expressions/expression.ts';
import { didYouMean, knownNames, nearestOf } from '../base/nearest.ts';
import type { AggregateCalls } from './aggregate-calls.ts';
import type { ApplyNode, OutputColumn, PlanNode } from './logical.ts';
import { rewrite } from './nodes.ts';

/** An alias has none: no schema may be written before it. */
export const NO_SCHEMA = '';

/** A name that FROM brings into view. */
export type ScopeTable = {
  readonly name: string;
  /** undefined: found without one, so that any may be written. */
  readonly schema: string | undefined;
  readonly columns: readonly ScopeColumn[];
  /** Id of the relation, where it is one: for functional dependence on its primary key. */
  readonly relation: number | undefined;
};

export type ScopeColumn = {
  readonly name: string;
  /** Index in the input's output. */
  readonly index: number;
  /** What `name` stands for where it is not a column: the merged column of a FULL JOIN … USING. */
  readonly expression?: Expression | undefined;
};

/** What the expressions of one query level may name: its own FROM, then the queries around it. */
export type Scope = {
  readonly tables: readonly ScopeTable[];
  /** Columns that may be named without a table, in the order `*` lists them (USING merges two into one). */
  readonly visible: readonly ScopeColumn[];
  readonly columns: readonly OutputColumn[];
  readonly outer: Scope | undefined;
  readonly ctes: ReadonlyMap<string, CteBinding>;
  /** Where a subquery stands: what its aggregates over this level's columns are added to, and what the clause is called. */
  readonly around?:
    | {
        readonly aggregates: AggregateCalls | undefined;
        readonly subqueries: ApplyNode['subqueries'][number][] | undefined;
        readonly clause: string;
      }
    | undefined;
};

export type CteBinding = {
  readonly cte: number;
  readonly name: string;
  readonly columns: readonly OutputColumn[];
};

export function emptyScope(outer: Scope | undefined, ctes: ReadonlyMap<string, CteBinding>): Scope {
  return { tables: [], visible: [], columns: [], outer, ctes };
}

export function resolveColumn(
  scope: Scope,
  parts: readonly string[],
  at: TextPlace | undefined,
): Expression {
  let depth = 0;
  for (let each: Scope | undefined = scope; each !== undefined; each = each.outer) {
    const found = findColumn(each, parts, at);
    if (found !== undefined) return depth === 0 ? found : outer(found, depth);
    depth += 1;
  }
  throw unknownColumn(scope, parts, at);
}

function outer(expression: Expression, depth: number): Expression {
  return rewrite(expression, (each): Expression => {
    if (each.kind !== 'column') return each;
    const { index, type, nullable, name } = each;
    return { kind: 'outerColumn', depth, index, type, nullable, name };
  });
}

function findColumn(
  scope: Scope,
  parts: readonly string[],
  at: TextPlace | undefined,
): Expression | undefined {
  const name = parts.at(-1)!;
  if (parts.length === 1) {
    const found = scope.visible.filter((each) => each.name === name);
    if (found.length > 1)
      throw new DbError('42702', `column reference "${name}" is ambiguous`, {
        at,
        column: name,
        hint: `Write ${hintOfTables(scope, name)}.`,
      });
    return found.length === 0 ? undefined : expressionOf(scope, found[0]!);
  }
  const table = parts.at(-2)!;
  const tables = scope.tables.filter(
    (each) =>
      each.name === table &&
      (parts.length < 3 || each.schema === undefined || each.schema === parts.at(-3)),
  );
  if (tables.length > 1)
    throw new DbError('42P09', `table reference "${table}" is ambiguous`, { at });
  if (tables.length === 0) return undefined;
  const columns = tables[0]!.columns.filter((each) => each.name === name);
  if (columns.length > 1)
    throw new DbError('42702', `column reference "${name}" is ambiguous`, { at, column: name });
  if (columns.length === 0) {
    const names = tables[0]!.columns.map((each) => each.name);
    const nearest = nearestOf(name, names);
    throw new DbError('42703', `column ${parts.join('.')} does not exist`, {
      at,
      column: name,
      hint:
        nearest === undefined
          ? knownNames(names)
          : `Perhaps you meant to reference the column "${table}.${nearest}".`,
    });
  }
  return expressionOf(scope, columns[0]!);
}

export function expressionOf(scope: Scope, { index, expression }: ScopeColumn): Expression {
  if (expression !== undefined) return expression;
  const { type, nullable, name } = scope.columns[index]!;
  return { kind: 'column', index, type, nullable, name };
}

function hintOfTables(scope: Scope, name: string): string {
  return scope.tables
    .filter(({ columns }) => columns.some((each) => each.name === name))
    .map((table) => `${table.name}.${name}`)
    .join(' or ');
}

function unknownColumn(scope: Scope, parts: readonly string[], at: TextPlace | undefined): DbError {
  const name = parts.at(-1)!;
  for (let each: Scope | undefined = scope; each !== undefined; each = each.outer)
    if (parts.length === 1 && each.tables.some((table) => table.name === name))
      return notSupported(`a whole row ("${name}") as a value`, 'Name its columns one by one.', at);
  if (parts.length > 1) {
    const table = parts.at(-2)!;
    const names = scope.tables.map((each) => each.name);
    return new DbError('42P01', `missing FROM-clause entry for table "${table}"`, {
      at,
      table,
      hint: didYouMean(table, names),
    });
  }
  const candidates = new Map<string, string>();
  for (let each: Scope | undefined = scope; each !== undefined; each = each.outer) {
    for (const table of each.tables)
      for (const column of table.columns)
        if (!candidates.has(column.name))
          candidates.set(column.name, `${table.name}.${column.name}`);
  }
  const nearest = nearestOf(name, candidates.keys());
  const isQuoted = !/^[a-z_][a-z0-9_$]*$/.test(name);
  const isText = isQuoted && nearest?.toLowerCase() !== name.toLowerCase();
  return new DbError('42703', `column "${name}" does not exist`, {
    at,
    column: name,
    hint: isText
      ? `A text stands in single quotes: '${name.slice(0, 40)}'. Double quotes are for names.`
      : nearest === undefined
        ? knownNames(candidates.keys())
        : `Perhaps you meant to reference the column "${candidates.get(nearest)}".`,
  });
}

/** A scope over one relation-like input. */
export function scopeOf(
  name: string,
  plan: PlanNode,
  columnNames: readonly string[],
  relation: number | undefined,
  schema: string | undefined,
  outerScope: Scope | undefined,
  ctes: ReadonlyMap<string, CteBinding>,
  visibleCount = plan.columns.length,
): Scope {
  const columns = plan.columns
    .slice(0, visibleCount)
    .map((each, index): ScopeColumn => ({ name: columnNames[index] ?? each.name, index }));
  return {
    tables: [{ name, schema, columns, relation }],
    visible: columns,
    columns: plan.columns,
    outer: outerScope,
    ctes,
  };
}

/** Two inputs side by side: the right one's columns move behind the left one's. */
export function joined(
  left: Scope,
  right: Scope,
  columns: readonly OutputColumn[],
  at: TextPlace | undefined,
): Scope {
  const offset = left.columns.length;
  const move = (each: ScopeColumn): ScopeColumn => ({ ...each, index: each.index + offset });
  for (const table of right.tables) {
    const shown = ({ schema }: ScopeTable): string => schema ?? NO_SCHEMA;
    if (left.tables.some((each) => each.name === table.name && shown(each) === shown(table))) {
      throw new DbError('42712', `table name "${table.name}" specified more than once`, {
        at,
        table: table.name,
        hint: 'Give one of them an alias.',
      });
    }
  }
  return {
    tables: [
      ...left.tables,
      ...right.tables.map((table) => ({ ...table, columns: table.columns.map(move) })),
    ],
    visible: [...left.visible, ...right.visible.map(move)],
    columns,
    outer: left.outer,
    ctes: left.ctes,
  };
}
