import { DbError, notSupported, type TextPlace } from '../base/errors.ts';
import { TEXT, type SqlType } from '../columns/types.ts';
import type { ParameterType } from '../expressions/arrays.ts';
import { coerce, withoutModifiers } from '../expressions/coercion.ts';
import type { Expression } from '../expressions/expression.ts';
import { foldConstants, referencedColumns, someNode } from '../expressions/fold.ts';
import { didYouMean } from '../base/nearest.ts';
import type {
  DeleteStatement,
  InsertStatement,
  Query,
  SelectItem,
  SetClause,
  SqlExpression,
  Statement,
  UpdateStatement,
} from '../sql/ast.ts';
import { bindArray, bothUses, settleArray, withoutCasts } from './bind-array.ts';
import {
  assigned,
  bindExpression as bindIn,
  condition,
  rowSubquery,
  settled,
  type BindContext,
  type BoundSubquery,
  type Place,
} from './bind-expression.ts';
import {
  bindFrom,
  bindQuery,
  filteredWithSubqueries,
  bindWith,
  nameOf,
  starColumns,
  withSubqueries,
} from './bind-query.ts';
import { relationDoesNotExist, type PlanCatalog, type RelationInfo } from './catalog.ts';
import type { BoundQuery, OutputColumn, PlanNode } from './logical.ts';
import {
  column,
  columnsAsExpressions,
  constant,
  isNullable,
  mapPlanExpressions,
  node,
  numberPlan,
  planIsVolatile,
  projected,
  relationsOf,
  rewrite,
} from './nodes.ts';
import { tooComplex } from '../sql/raw-tree.ts';
import { optimise } from './optimise.ts';
import { ROW_ID_COLUMN, rowLocksOf } from './row-locks.ts';
import { emptyScope, expressionOf, scopeOf, type Scope } from './scope.ts';

export type BoundStatement = BoundQuery | BoundInsert | BoundUpdate | BoundDelete;

type BoundWrite = {
  readonly relation: number;
  readonly parameterTypes: readonly ParameterType[];
  /** Relations it reads, the one it writes included where it reads that. */
  readonly relations: readonly number[];
  readonly volatile: boolean;
  /** Over the columns of the table (the new row, or the deleted one), the row id, and the columns of FROM or USING. */
  readonly returning:
    | { readonly expressions: readonly Expression[]; readonly columns: readonly OutputColumn[] }
    | undefined;
};

/** `plan` gives all columns of the table, defaults and conversions done; generated columns are NULL. */
export type BoundInsert = BoundWrite & {
  readonly kind: 'insert';
  readonly plan: PlanNode;
  readonly onConflict: BoundConflict | undefined;
};

export type BoundConflict = {
  /** The unique index a conflict is looked for in; undefined: all of them (DO NOTHING without target). */
  readonly index: string | undefined;
  /** undefined: DO NOTHING. Expressions over the old row's columns, then those of the row proposed (EXCLUDED). */
  readonly update:
    | { readonly expressions: readonly Expression[]; readonly where: Expression | undefined }
    | undefined;
};

/** `plan` gives all columns as they become, the row id (float8), what RETURNING needs of FROM. A row may come up several times: the first counts. */
export type BoundUpdate = BoundWrite & { readonly kind: 'update'; readonly plan: PlanNode };

/** `plan` gives the table's columns, the row id (float8), what RETURNING needs of USING. */
export type BoundDelete = BoundWrite & { readonly kind: 'delete'; readonly plan: PlanNode };

export type BindOptions = {
  /** Declared types of $1, $2, …; undefined ones are inferred. */
  readonly parameterTypes?: readonly (ParameterType | undefined)[];
};

/** Binds and optimises a statement. Throws DbError with a place; 0A000 for what is not supported. */
export function bindStatement(
  statement: Statement,
  catalog: PlanCatalog,
  options: BindOptions = {},
): BoundStatement {
  try {
    return bound(statement, contextOf(catalog, options));
  } catch (cause) {
    // Planning recurs; how deep it may depends on the caller's stack.
    if (cause instanceof RangeError) throw tooComplex();
    throw cause;
  }
}

function bound(statement: Statement, context: BindContext): BoundStatement {
  switch (statement.kind) {
    case 'query': {
      const plan = bindQuery(statement.query, context, undefined, new Map());
      return finishQuery(plan, statement.query, context);
    }
    case 'insert':
      return bindInsert(statement, context);
    case 'update':
      return bindUpdate(statement, context);
    case 'delete':
      return bindDelete(statement, context);
    default:
      throw notSupported(`planning ${statement.kind}`);
  }
}

/** An expression that names no columns: EXECUTE's arguments, a column's default. */
export function bindExpression(
  expression: SqlExpression,
  catalog: PlanCatalog,
  clause = 'DEFAULT',
): Expression {
  return foldConstants(
    bindIn(expression, {
      context: contextOf(catalog, {}),
      scope: emptyScope(undefined, new Map()),
      clause,
      aggregates: undefined,
      subqueries: undefined,
    }),
  );
}

/** An array without columns, each item to be of a type: EXECUTE's argument. Undefined: NULL. */
export function bindArrayArgument(
  expression: SqlExpression,
  element: SqlType,
  catalog: PlanCatalog,
): Expression[] | undefined {
  const array = withoutCasts(expression);
  if (array.kind === 'null') return undefined;
  const bind = (item: SqlExpression): Expression => bindExpression(item, catalog, 'EXECUTE');
  const bound = bindArray(expression, [], bind);
  if (bound.kind === 'parameter') return [bind(array)];
  return bound.items.map((item) => coerce(item, element, 'assignment', expression.at));
}

/** An expression over one row of a table: CHECK, generated columns, USING. */
export function bindRowExpression(expression: SqlExpression, info: RelationInfo): Expression {
  return foldConstants(bindIn(expression, rowPlace(info)));
}

/** What rows of a table need before they are stored. */
export function bindRowExpressions(info: RelationInfo): {
  readonly defaults: readonly (Expression | undefined)[];
  readonly generated: readonly (Expression | undefined)[];
  readonly checks: readonly { readonly name: string; readonly expression: Expression }[];
} {
  const place = rowPlace(info);
  const none: Place = {
    ...place,
    scope: emptyScope(undefined, new Map()),
    clause: 'DEFAULT expressions',
  };
  return {
    defaults: info.columns.map((each) =>
      each.default === undefined
        ? undefined
        : foldConstants(
            assigned(bindIn(each.default, none), each.type, each.name, each.default.at),
          ),
    ),
    generated: info.columns.map((each) => {
      if (each.generated === undefined) return undefined;
      const expression = bindIn(each.generated, place);
      for (const index of referencedColumns(expression))
        if (info.columns[index]?.generated !== undefined)
          throw new DbError(
            '42P17',
            `cannot use generated column "${info.columns[index].name}" in column generation expression`,
            {
              at: each.generated.at,
              column: each.name,
              hint: 'A generated column cannot refer to another, nor to itself: write out what it would give.',
            },
          );
      return foldConstants(assigned(expression, each.type, each.name, each.generated.at));
    }),
    checks: info.checks.map(({ name, condition: written }) => ({
      name,
      expression: foldConstants(condition(bindIn(written, place), 'CHECK', written.at)),
    })),
  };
}

function rowPlace(info: RelationInfo): Place {
  const scan = scanOf(info, false);
  const context = contextOf(NO_CATALOG, {});
  return {
    context,
    scope: scopeOf(info.name, scan, [], info.id, undefined, undefined, new Map()),
    clause: 'this expression',
    aggregates: undefined,
    subqueries: undefined,
  };
}

const NO_CATALOG: PlanCatalog = {
  relation: () => undefined,
  relationById: () => undefined,
  relationNames: () => [],
  statistics: {
    rowCount: () => 0,
    uniqueKeys: () => [],
    distinctCount: () => undefined,
    zoneShare: () => 1,
  },
};

function contextOf(catalog: PlanCatalog, options: BindOptions): BindContext {
  const context: BindContext = {
    catalog,
    parameterTypes: [...(options.parameterTypes ?? [])],
    nextCte: 0,
    subqueryPlaces: new WeakMap(),
    bindSubquery: (query: Query, outer: Scope) => bindQuery(query, context, outer, outer.ctes),
    expanding: [],
  };
  return context;
}

function finishQuery(plan: PlanNode, query: Query, context: BindContext): BoundQuery {
  const finished = (each: PlanNode): PlanNode =>
    numberPlan(optimise(settleParameters(each, context), context.catalog.statistics));
  const locks = rowLocksOf(plan, query, context);
  const optimised = finished(plan);
  return {
    kind: 'query',
    plan: optimised,
    parameterTypes: parameterTypes(context),
    locks: locks?.plan === undefined ? locks : { ...locks, plan: finished(locks.plan) },
    relations: [...relationsOf(optimised)],
    volatile: planIsVolatile(optimised),
  };
}

// ── Parameters ─────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * A parameter has one type: the declared one, or the one its first use gave it. Uses as another type are casts from that;
 * one that no use has typed is text.
 */
function settleParameters(plan: PlanNode, context: BindContext): PlanNode {
  const types = context.parameterTypes;
  const note = (expression: Expression): void => {
    someNode(expression, (each) => {
      if (
        each.kind === 'parameter' &&
        each.type.kind !== 'unknown' &&
        types[each.index] === undefined
      )
        types[each.index] = withoutModifiers(each.type);
      return false;
    });
  };
  mapPlanExpressions(plan, (expression) => {
    note(expression);
    return expression;
  });
  return mapPlanExpressions(plan, (expression) => settleExpression(expression, types));
}

function settleExpression(
  expression: Expression,
  types: (ParameterType | undefined)[],
): Expression {
  return rewrite(expression, (each) => {
    if ((each.kind === 'inList' || each.kind === 'anyArray') && each.array !== undefined)
      return { ...each, array: settleArray(each.array, types) };
    if (each.kind !== 'parameter') return each;
    const type =
      types[each.index] ?? (each.type.kind === 'unknown' ? TEXT : withoutModifiers(each.type));
    types[each.index] = type;
    if (type.kind === 'array') throw bothUses(each.index);
    if (each.type.kind === type.kind || each.type.kind === 'unknown') return { ...each, type };
    return coerce({ ...each, type }, each.type, 'explicit');
  });
}

function parameterTypes(context: BindContext): ParameterType[] {
  return Array.from(context.parameterTypes, (type) => type ?? TEXT);
}

// ── INSERT ─────────────────────────────────────────────────────────────────────────────────────────────────────

function bindInsert(statement: InsertStatement, context: BindContext): BoundInsert {
  const info = targetTable(statement.table, context, 'insert into');
  const targets = targetColumns(info, statement.columns);
  const { columns } = info;
  const { defaults } = bindRowExpressions(info);
  let source: PlanNode;
  let order: readonly number[];
  const { body } = statement.source ?? {};
  if (statement.source === undefined) {
    // What WITH says is looked at, though nothing can refer to it.
    if (statement.with !== undefined) bindWith(statement.with, context, undefined, new Map());
    source = node({ kind: 'values', rows: [[]], columns: [] });
    order = [];
  } else {
    if (body!.kind === 'values') refuseWrongCount(body!.rows, targets.length, statement);
    if (body!.kind === 'literals') {
      const { rows } = body!;
      refuseWrongCount([{ length: rows.width }], targets.length, statement);
      source = node({
        kind: 'literals',
        rows,
        columns: targets.slice(0, rows.width).map((index) => {
          const { name, type } = columns[index]!;
          return { name, type, nullable: true };
        }),
        defaults: targets
          .slice(0, rows.width)
          .map((index, at) => (rows.hasDefault(at) ? defaults[index] : undefined)),
      });
    } else {
      const query =
        statement.with === undefined
          ? statement.source
          : { ...statement.source, with: statement.with };
      source = bindQuery(
        withDefaults(query, info, targets),
        context,
        undefined,
        new Map(),
        targets.map((index) => ({ type: columns[index]!.type, column: columns[index]!.name })),
      );
    }
    if (source.columns.length > targets.length)
      throw new DbError('42601', 'INSERT has more expressions than target columns', {
        at: statement.source.at,
        table: info.name,
      });
    if (statement.columns.length > 0 && source.columns.length < targets.length)
      throw new DbError('42601', 'INSERT has more target columns than expressions', {
        at: statement.table.at,
        table: info.name,
      });
    order = targets.slice(0, source.columns.length);
  }
  const expressions = columns.map((target, index): Expression => {
    const at = order.indexOf(index);
    if (at < 0 || (target.identity !== undefined && statement.overriding === 'user'))
      return target.generated !== undefined
        ? constant(null, target.type)
        : (defaults[index] ?? constant(null, target.type));
    if (
      target.identity === 'always' &&
      statement.overriding !== 'system' &&
      !isWrittenDefault(body, at)
    )
      throw new DbError('428C9', `cannot insert a non-DEFAULT value into column "${target.name}"`, {
        table: info.name,
        column: target.name,
        detail: `Column "${target.name}" is an identity column defined as GENERATED ALWAYS.`,
        hint: 'Use OVERRIDING SYSTEM VALUE to override.',
      });
    if (target.generated !== undefined && !isDefault(source, at))
      throw new DbError('428C9', `cannot insert a non-DEFAULT value into column "${target.name}"`, {
        table: info.name,
        column: target.name,
        detail: `Column "${target.name}" is a generated column.`,
      });
    return assigned(column(at, source.columns[at]!), target.type, target.name, undefined);
  });
  let plan = projected(source, expressions.map(foldConstants), tableColumns(info));
  plan = settleParameters(plan, context);
  const onConflict =
    statement.onConflict === undefined
      ? undefined
      : bindConflict(statement.onConflict, info, statement.alias, context);
  const returning = bindReturning(
    statement.returning,
    scopeOf(
      statement.alias ?? info.name,
      scanOf(info, false),
      [],
      info.id,
      undefined,
      undefined,
      new Map(),
    ),
    context,
  );
  const optimised = numberPlan(optimise(plan, context.catalog.statistics));
  return {
    kind: 'insert',
    relation: info.id,
    plan: optimised,
    onConflict,
    returning,
    parameterTypes: parameterTypes(context),
    relations: [...relationsOf(optimised)],
    volatile: planIsVolatile(optimised),
  };
}

/** DEFAULT inside VALUES becomes the column's default. */
function withDefaults(query: Query, info: RelationInfo, targets: readonly number[]): Query {
  const { body } = query;
  if (
    body.kind !== 'values' ||
    !body.rows.some((row) => row.some(({ kind }) => kind === 'default'))
  )
    return query;
  const rows = body.rows.map((row) =>
    row.map((item, index): SqlExpression =>
      item.kind === 'default' ? (info.columns[targets[index]!]?.default ?? { kind: 'null' }) : item,
    ),
  );
  return { ...query, body: { ...body, rows } };
}

function isWrittenDefault(body: Query['body'] | undefined, index: number): boolean {
  if (body?.kind === 'literals') return body.rows.isAlways('isDefault', index);
  return body?.kind === 'values' && body.rows.every((row) => row[index]?.kind === 'default');
}

function isDefault(source: PlanNode, index: number): boolean {
  if (source.kind === 'literals') return source.rows.isAlways('isNull', index);
  return (
    source.kind === 'values' &&
    source.rows.every(
      (row) => row[index]?.kind === 'constant' && (row[index] as { value: unknown }).value === null,
    )
  );
}

function refuseWrongCount(
  rows: readonly { readonly length: number }[],
  count: number,
  statement: InsertStatement,
): void {
  for (const row of rows) {
    if (row.length > count)
      throw new DbError('42601', 'INSERT has more expressions than target columns', {
        at: statement.source?.at,
        table: statement.table.name,
      });
    if (statement.columns.length > 0 && row.length < count)
      throw new DbError('42601', 'INSERT has more target columns than expressions', {
        at: statement.table.at,
        table: statement.table.name,
      });
  }
}

function targetColumns(info: RelationInfo, written: InsertStatement['columns']): number[] {
  if (written.length === 0) return info.columns.map((_, index) => index);
  const seen = new Set<number>();
  return written.map(({ name, at }) => {
    const index = columnIndexOf(info, name, at);
    if (seen.has(index))
      throw new DbError('42701', `column "${name}" specified more than once`, {
        at,
        table: info.name,
        column: name,
      });
    seen.add(index);
    return index;
  });
}

function bindConflict(
  clause: NonNullable<InsertStatement['onConflict']>,
  info: RelationInfo,
  alias: string | undefined,
  context: BindContext,
): BoundConflict {
  let index: string | undefined;
  const { target } = clause;
  if (target.kind === 'constraint') {
    index = info.indexes.find((each) => each.unique && each.name === target.name)?.name;
    if (index === undefined)
      throw new DbError(
        '42704',
        `constraint "${target.name}" for table "${info.name}" does not exist`,
        {
          at: clause.at,
          table: info.name,
          constraint: target.name,
          hint: didYouMean(
            target.name,
            info.indexes.filter(({ unique }) => unique).map(({ name }) => name),
          ),
        },
      );
  } else if (target.kind === 'columns') {
    if (target.where !== undefined)
      throw notSupported('ON CONFLICT … WHERE on the target', undefined, clause.at);
    const wanted = target.columns.map((name) => columnIndexOf(info, name, clause.at));
    index = info.indexes.find(
      (each) =>
        each.unique &&
        each.columnIndexes.length === new Set(wanted).size &&
        each.columnIndexes.every((column) => wanted.includes(column)),
    )?.name;
    if (index === undefined) {
      throw new DbError(
        '42P10',
        'there is no unique or exclusion constraint matching the ON CONFLICT specification',
        {
          at: clause.at,
          table: info.name,
          hint: `Add one: CREATE UNIQUE INDEX ON ${info.name} (${target.columns.join(', ')}).`,
        },
      );
    }
  }
  if (clause.update === undefined) return { index, update: undefined };
  if (index === undefined)
    throw new DbError(
      '42601',
      'ON CONFLICT DO UPDATE requires inference specification or constraint name',
      { at: clause.at, hint: 'For example, ON CONFLICT (column_name).' },
    );
  const name = alias ?? info.name;
  const scan = scanOf(info, false);
  const width = info.columns.length;
  const both: Scope = {
    ...emptyScope(undefined, new Map()),
    columns: [...scan.columns, ...scan.columns],
    visible: info.columns.map((each, position) => ({ name: each.name, index: position })),
    tables: [
      {
        name,
        schema: undefined,
        relation: info.id,
        columns: info.columns.map((each, position) => ({ name: each.name, index: position })),
      },
      {
        name: 'excluded',
        schema: undefined,
        relation: undefined,
        columns: info.columns.map((each, position) => ({
          name: each.name,
          index: position + width,
        })),
      },
    ],
  };
  const place: Place = {
    context,
    scope: both,
    clause: 'ON CONFLICT',
    aggregates: undefined,
    subqueries: undefined,
  };
  const expressions = assignments(clause.update.set, info, place);
  const where =
    clause.update.where === undefined
      ? undefined
      : condition(bindIn(clause.update.where, place), 'WHERE', clause.update.where.at);
  const settle = (expression: Expression): Expression =>
    foldConstants(settleExpression(expression, context.parameterTypes));
  return {
    index,
    update: {
      expressions: expressions.map((each, position) =>
        settle(each ?? column(position, scan.columns[position]!)),
      ),
      where: where === undefined ? undefined : settle(where),
    },
  };
}

// ── UPDATE, DELETE ─────────────────────────────────────────────────────────────────────────────────────────────

function bindUpdate(statement: UpdateStatement, context: BindContext): BoundUpdate {
  const { names, ctes } = withOf(statement.with, context);
  const info = targetTable(statement.table, context, 'update');
  const { plan: from, scope } = targetWithFrom(
    info,
    statement.table.at,
    statement.alias,
    statement.from,
    context,
    names,
  );
  const subqueries: BoundSubquery[] = [];
  const place: Place = { context, scope, clause: 'WHERE', aggregates: undefined, subqueries };
  let plan = from;
  if (statement.where !== undefined) {
    const where = condition(bindIn(statement.where, place), 'WHERE', statement.where.at);
    plan = filteredWithSubqueries(plan, where, subqueries);
  }
  const setSubqueries: BoundSubquery[] = [];
  const set = assignments(statement.set, info, {
    ...place,
    clause: 'UPDATE',
    subqueries: setSubqueries,
  });
  const width = info.columns.length;
  const kept = info.columns.map((each, index): Expression =>
    each.generated !== undefined
      ? constant(null, each.type)
      : (set[index] ?? column(index, scope.columns[index]!)),
  );
  // Behind the row id stand the columns of FROM, for RETURNING.
  const others = columnsAsExpressions(scope.columns.slice(width), width);
  const applied = withSubqueries(plan, setSubqueries, [...kept, ...others]);
  plan = projected(applied.plan, applied.expressions.map(foldConstants), [
    ...tableColumns(info),
    ...scope.columns.slice(width),
  ]);
  return finishWrite('update', withCtes(plan, ctes), info, statement.returning, scope, context);
}

function bindDelete(statement: DeleteStatement, context: BindContext): BoundDelete {
  const { names, ctes } = withOf(statement.with, context);
  const info = targetTable(statement.table, context, 'delete from');
  const { plan: from, scope } = targetWithFrom(
    info,
    statement.table.at,
    statement.alias,
    statement.using,
    context,
    names,
  );
  let plan = from;
  if (statement.where !== undefined) {
    const subqueries: BoundSubquery[] = [];
    const where = condition(
      bindIn(statement.where, {
        context,
        scope,
        clause: 'WHERE',
        aggregates: undefined,
        subqueries,
      }),
      'WHERE',
      statement.where.at,
    );
    plan = filteredWithSubqueries(plan, where, subqueries);
  }
  return finishWrite('delete', withCtes(plan, ctes), info, statement.returning, scope, context);
}

function withOf(
  clause: UpdateStatement['with'],
  context: BindContext,
): ReturnType<typeof bindWith> {
  return clause === undefined
    ? { names: new Map(), ctes: [] }
    : bindWith(clause, context, undefined, new Map());
}

function withCtes(body: PlanNode, ctes: ReturnType<typeof bindWith>['ctes']): PlanNode {
  return ctes.length === 0 ? body : node({ kind: 'cte', ctes, body, columns: body.columns });
}

function finishWrite<Kind extends 'update' | 'delete'>(
  kind: Kind,
  plan: PlanNode,
  info: RelationInfo,
  returning: readonly SelectItem[],
  scope: Scope,
  context: BindContext,
): BoundWrite & { readonly kind: Kind; readonly plan: PlanNode } {
  const width = info.columns.length + 1;
  const bound = bindReturning(returning, scope, context);
  // Without RETURNING nobody reads what FROM brought along.
  const needed =
    bound === undefined
      ? projected(
          plan,
          columnsAsExpressions(plan.columns.slice(0, width)),
          plan.columns.slice(0, width),
        )
      : plan;
  const settledPlan = settleParameters(needed, context);
  const optimised = numberPlan(optimise(settledPlan, context.catalog.statistics));
  return {
    kind,
    relation: info.id,
    plan: optimised,
    returning: bound,
    parameterTypes: parameterTypes(context),
    relations: [...new Set([info.id, ...relationsOf(optimised)])],
    volatile: planIsVolatile(optimised),
  };
}

/**
 * The tables that RETURNING of a change with FROM or USING may name, the target first, each with its columns. Undefined where two of them share
 * columns (USING, NATURAL), or one has no name of its own.
 */
export function tablesReturned(
  statement: UpdateStatement | DeleteStatement,
  catalog: PlanCatalog,
): readonly { readonly name: string; readonly columns: readonly string[] }[] | undefined {
  const from = statement.kind === 'update' ? statement.from : statement.using;
  const context = contextOf(catalog, {});
  const info = targetTable(statement.table, context, statement.kind);
  const ctes =
    statement.with === undefined
      ? new Map()
      : bindWith(statement.with, context, undefined, new Map()).names;
  const { scope } = targetWithFrom(info, statement.table.at, statement.alias, from, context, ctes);
  const tables = scope.tables.map(({ name, columns }) => ({
    name,
    columns: columns.map((each) => each.name),
  }));
  const columnCount = tables.reduce((sum, { columns }) => sum + columns.length, 0);
  const isPlain =
    columnCount === scope.visible.length &&
    new Set(tables.map(({ name }) => name)).size === tables.length &&
    tables.every(({ columns }) => new Set(columns).size === columns.length);
  return isPlain ? tables : undefined;
}

/** The target's scan with its row id, crossed with FROM or USING: the columns of the table, the row id, the others. */
function targetWithFrom(
  info: RelationInfo,
  at: TextPlace | undefined,
  alias: string | undefined,
  from: UpdateStatement['from'],
  context: BindContext,
  ctes: Scope['ctes'],
): { plan: PlanNode; scope: Scope } {
  const scan = scanOf(info, true);
  const scope = scopeOf(
    alias ?? info.name,
    scan,
    [],
    info.id,
    undefined,
    undefined,
    ctes,
    info.columns.length,
  );
  if (from.length === 0) return { plan: scan, scope };
  const other = bindFrom(from, context, undefined, ctes);
  const columns = [...scan.columns, ...other.plan.columns];
  const offset = scan.columns.length;
  const plan = node({
    kind: 'join',
    type: 'inner',
    left: scan,
    right: other.plan,
    keys: [],
    nullAware: false,
    build: 'right',
    columns,
  });
  const move = <Each extends { readonly index: number }>(each: Each): Each => ({
    ...each,
    index: each.index + offset,
  });
  if (other.scope.tables.some(({ name }) => name === (alias ?? info.name)))
    throw new DbError('42712', `table name "${alias ?? info.name}" specified more than once`, {
      at,
    });
  return {
    plan,
    scope: {
      ...scope,
      columns,
      tables: [
        ...scope.tables,
        ...other.scope.tables.map((table) => ({ ...table, columns: table.columns.map(move) })),
      ],
      visible: [...scope.visible, ...other.scope.visible.map(move)],
    },
  };
}

function assignments(
  set: readonly SetClause[],
  info: RelationInfo,
  place: Place,
): (Expression | undefined)[] {
  const values: (Expression | undefined)[] = info.columns.map(() => undefined);
  const defaults = bindRowExpressions(info).defaults;
  const targetOf = (name: string, isDefault: boolean, at: TextPlace | undefined): number => {
    const index = columnIndexOf(info, name, at);
    if (values[index] !== undefined)
      throw new DbError('42601', `multiple assignments to same column "${name}"`, {
        at,
        column: name,
      });
    const { generated, identity } = info.columns[index]!;
    if ((generated !== undefined || identity === 'always') && !isDefault)
      throw new DbError('428C9', `column "${name}" can only be updated to DEFAULT`, {
        at,
        column: name,
        detail: `Column "${name}" is ${generated === undefined ? 'an identity column defined as GENERATED ALWAYS' : 'a generated column'}.`,
      });
    return index;
  };
  const assignBound = (name: string, value: Expression, at: TextPlace | undefined): void => {
    const index = targetOf(name, false, at);
    values[index] = assigned(value, info.columns[index]!.type, name, at);
  };
  const assign = (
    name: string,
    value: SqlExpression | { readonly kind: 'default' },
    at: TextPlace | undefined,
  ): void => {
    if (value.kind !== 'default') {
      assignBound(name, bindIn(value, place), value.at ?? at);
      return;
    }
    const index = targetOf(name, true, at);
    values[index] = defaults[index] ?? constant(null, info.columns[index]!.type);
  };
  for (const clause of set) {
    if (clause.kind === 'one') assign(clause.column, clause.value, clause.at);
    else {
      if (clause.value.kind === 'subquery' && clause.value.mode === 'scalar') {
        const found = rowSubquery(clause.value.query, clause.columns.length, place, clause.at);
        clause.columns.forEach((name, index) => assignBound(name, found[index]!, clause.at));
        continue;
      }
      if (clause.value.kind !== 'row')
        throw new DbError(
          '42601',
          'source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression',
          { at: clause.at },
        );
      const { items } = clause.value;
      const unsupported = items.find((item) => item.kind === 'unsupported');
      if (unsupported?.kind === 'unsupported')
        throw notSupported(unsupported.what, undefined, clause.at);
      if (items.length !== clause.columns.length)
        throw new DbError('42601', 'number of columns does not match number of values', {
          at: clause.at,
        });
      clause.columns.forEach((name, index) => assign(name, items[index]!, clause.at));
    }
  }
  return values;
}

function bindReturning(
  items: readonly SelectItem[],
  scope: Scope,
  context: BindContext,
): BoundWrite['returning'] {
  if (items.length === 0) return undefined;
  const place: Place = {
    context,
    scope,
    clause: 'RETURNING',
    aggregates: undefined,
    subqueries: undefined,
  };
  const expressions: Expression[] = [];
  const columns: OutputColumn[] = [];
  const add = (expression: Expression, name: string): void => {
    const value = foldConstants(settleExpression(settled(expression), context.parameterTypes));
    expressions.push(value);
    columns.push({ name, type: value.type, nullable: isNullable(value) });
  };
  for (const item of items) {
    if (item.kind === 'expression')
      add(bindIn(item.expression, place), item.alias ?? nameOf(item.expression));
    else for (const each of starColumns(item, scope)) add(expressionOf(scope, each), each.name);
  }
  return { expressions, columns };
}

// ── Tables ─────────────────────────────────────────────────────────────────────────────────────────────────────

function targetTable(
  written: InsertStatement['table'],
  context: BindContext,
  doing: string,
): RelationInfo {
  const info = context.catalog.relation(written);
  if (info === undefined) throw relationDoesNotExist(written, context.catalog.relationNames());
  if (info.kind === 'materializedView')
    throw new DbError('42809', `cannot change materialized view "${info.name}"`, {
      at: written.at,
      table: info.name,
      hint: 'Change the tables it reads; it follows by itself.',
    });
  if (info.kind === 'catalog')
    throw new DbError('42809', `cannot ${doing} system relation "${info.name}"`, {
      at: written.at,
      table: info.name,
      hint: 'It shows what the database says of itself, and is only read.',
    });
  if (info.kind !== 'table') {
    const hint = 'Change the table it reads.';
    // Such a view PostgreSQL writes through.
    if (isPlainView(info.query!)) throw notSupported('writing through a view', hint, written.at);
    throw new DbError('55000', `cannot ${doing} view "${info.name}"`, {
      at: written.at,
      table: info.name,
      hint,
    });
  }
  return info;
}

/** One relation, its rows as they are: no groups, no set operation, no limit. */
function isPlainView({ with: ctes, body, limit, offset }: Query): boolean {
  return (
    ctes === undefined &&
    limit === undefined &&
    offset === undefined &&
    body.kind === 'select' &&
    body.from.length === 1 &&
    body.from[0]!.kind === 'relation' &&
    body.groupBy.length === 0 &&
    body.having === undefined &&
    body.distinct === 'no'
  );
}

function scanOf(info: RelationInfo, rowIdColumn: boolean): PlanNode {
  const columns = tableColumns(info);
  return node({
    kind: 'scan',
    relation: info.id,
    name: info.name,
    alias: info.name,
    columnIndexes: columns.map((_, index) => index),
    withRowIds: false,
    rowIdColumn,
    columns: rowIdColumn ? [...columns, ROW_ID_COLUMN] : columns,
  });
}

function tableColumns(info: RelationInfo): OutputColumn[] {
  return info.columns.map(({ name, type, nullable }) => ({ name, type, nullable }));
}

function columnIndexOf(info: RelationInfo, name: string, at: TextPlace | undefined): number {
  const index = info.columns.findIndex((each) => each.name === name);
  if (index >= 0) return index;
  throw new DbError('42703', `column "${name}" of relation "${info.name}" does not exist`, {
    at,
    table: info.name,
    column: name,
    hint: didYouMean(
      name,
      info.columns.map((each) => each.name),
    ),
  });
}
