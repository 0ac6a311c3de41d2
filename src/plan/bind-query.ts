import { DbError, notSupported, type TextPlace } from '../base/errors.ts';
import { BOOLEAN, INT8, typeName, type SqlType } from '../columns/types.ts';
import { resolveOperator } from '../expressions/catalog.ts';
import { coerce, commonType, withoutModifiers } from '../expressions/coercion.ts';
import type { Expression } from '../expressions/expression.ts';
import {
  expressionEquals,
  foldConstants,
  mapColumns,
  mapParts,
  referencedColumns,
  someNode,
} from '../expressions/fold.ts';
import { nearestOf } from '../base/nearest.ts';
import type {
  FromItem,
  GroupItem,
  OrderItem,
  Query,
  SelectBody,
  SelectItem,
  SqlExpression,
  WithClause,
} from '../sql/ast.ts';
import {
  AGGREGATE_INDEX_BASE,
  assigned,
  bindExpression,
  castColumns,
  condition,
  mapCall,
  settled,
  type BindContext,
  type BoundSubquery,
  type Place,
} from './bind-expression.ts';
import { relationDoesNotExist, viewCatalog } from './catalog.ts';
import { AggregateCalls } from './aggregate-calls.ts';
import type { AggregateCall, OutputColumn, PlanNode, SortKey } from './logical.ts';
import { SERIES_INDEX_BASE, seriesOf, type SeriesCall } from './series.ts';
import {
  column,
  columnsAsExpressions,
  conjunctsOf,
  filtered,
  inputsOf,
  isNullable,
  mapPlanExpressions,
  node,
  outerColumns,
  projected,
  rewrite,
  withoutOuter,
} from './nodes.ts';
import {
  emptyScope,
  expressionOf,
  joined,
  scopeOf,
  type CteBinding,
  type Scope,
  type ScopeColumn,
  NO_SCHEMA,
} from './scope.ts';

/**
 * What a query's columns are assigned to (INSERT): bare texts, NULLs and parameters take its type; of VALUES each row is converted for itself, as
 * PostgreSQL does. All else is converted by who assigns it, when it has been grouped, made distinct and limited. 'open': they take none, until the
 * other side of a set operation has given them one.
 */
export type Targets = readonly (Target | undefined)[] | 'open' | undefined;

/** `column`: the one that is written, where one is. */
export type Target = { readonly type: SqlType; readonly column?: string };

export function bindQuery(
  query: Query,
  context: BindContext,
  outer: Scope | undefined,
  ctes: ReadonlyMap<string, CteBinding>,
  targets?: Targets,
): PlanNode {
  const bound = query.with === undefined ? undefined : bindWith(query.with, context, outer, ctes);
  const names = bound?.names ?? ctes;
  const body = bindBody(query, context, outer, names, targets);
  if (bound === undefined || bound.ctes.length === 0) return body;
  return node({ kind: 'cte', ctes: bound.ctes, body, columns: body.columns });
}

export function bindWith(
  clause: WithClause,
  context: BindContext,
  outer: Scope | undefined,
  around: ReadonlyMap<string, CteBinding>,
): { names: Map<string, CteBinding>; ctes: { cte: number; name: string; plan: PlanNode }[] } {
  const names = new Map(around);
  const ctes: { cte: number; name: string; plan: PlanNode }[] = [];
  for (const cte of clause.ctes) {
    if (cte.statement.kind !== 'query')
      throw notSupported(
        'a WITH query that changes data',
        'Run it as a statement of its own.',
        cte.at,
      );
    if (ctes.some(({ name }) => name === cte.name))
      throw new DbError('42712', `WITH query name "${cte.name}" specified more than once`, {
        at: cte.at,
      });
    const bound =
      clause.recursive && mentions(cte.statement.query, cte.name)
        ? bindRecursive(cte, cte.statement.query, context, outer, names)
        : { plan: bindQuery(cte.statement.query, context, outer, names) };
    const plan = renamed(bound.plan, cte.columns, cte.name, cte.at);
    const id = (context.nextCte += 1);
    ctes.push({ cte: id, name: cte.name, plan });
    names.set(cte.name, { cte: id, name: cte.name, columns: plan.columns });
  }
  return { names, ctes };
}

/** base UNION [ALL] step, whose step reads the rows of the round before under the query's own name. */
function bindRecursive(
  cte: WithClause['ctes'][number],
  query: Query,
  context: BindContext,
  outer: Scope | undefined,
  names: ReadonlyMap<string, CteBinding>,
): { readonly plan: PlanNode } {
  const { body } = query;
  const { name, at } = cte;
  const wrong = (message: string, hint?: string): DbError =>
    new DbError('42P19', message, { at, hint });
  if (body.kind !== 'setOperation' || body.operation !== 'union')
    throw wrong(
      `recursive query "${name}" does not have the form non-recursive-term UNION [ALL] recursive-term`,
      'Begin with the rows that are known, then UNION ALL what follows from them.',
    );
  if (mentions(body.left, name))
    throw wrong(
      `recursive reference to query "${name}" must not appear within its non-recursive term`,
    );
  if (query.orderBy.length > 0 || query.limit !== undefined || query.offset !== undefined)
    throw notSupported(
      'ORDER BY or LIMIT in a recursive query',
      'Say it where the query is read.',
      at,
    );
  const around = query.with === undefined ? undefined : bindWith(query.with, context, outer, names);
  const known = around?.names ?? names;
  const base = bindQuery(body.left, context, outer, known);
  const id = (context.nextCte += 1);
  const columns = base.columns.map((each, index) => ({
    ...each,
    name: cte.columns[index] ?? each.name,
    nullable: true,
  }));
  const inside = new Map(known).set(name, { cte: id, name, columns });
  const step = bindQuery(body.right, context, outer, inside, 'open');
  if (step.columns.length !== base.columns.length)
    throw new DbError('42601', 'each UNION query must have the same number of columns', {
      at: body.right.at ?? at,
    });
  const settledStep = bindQuery(
    body.right,
    context,
    outer,
    inside,
    step.columns.map(({ type }, index) =>
      isOpen(type) ? { type: columns[index]!.type } : undefined,
    ),
  );
  settledStep.columns.forEach(({ type }, index) => {
    const overall = commonType([columns[index]!.type, type], 'UNION', at);
    if (overall.kind !== columns[index]!.type.kind)
      throw new DbError(
        '42804',
        `recursive query "${name}" column ${index + 1} has type ${typeName(columns[index]!.type)} in non-recursive term but type ${typeName(overall)} overall`,
        { at, hint: 'Cast the output of the non-recursive term to the correct type.' },
      );
  });
  assertRecursion(settledStep, id, name, at);
  const plan = node({
    kind: 'recursive',
    cte: id,
    name,
    base,
    step: castColumns(
      settledStep,
      columns.map(({ type }) => type),
    ),
    all: body.all,
    columns,
  });
  return {
    plan:
      around === undefined || around.ctes.length === 0
        ? plan
        : node({ kind: 'cte', ctes: around.ctes, body: plan, columns }),
  };
}

/** A step reads its rows once, and what it makes of one row depends on that row alone. */
function assertRecursion(
  step: PlanNode,
  id: number,
  name: string,
  at: TextPlace | undefined,
): void {
  const wrong = (where: string): DbError =>
    new DbError('42P19', `recursive reference to query "${name}" must not appear ${where}`, { at });
  let count = 0;
  const visit = (plan: PlanNode): boolean => {
    if (plan.kind === 'cteScan') {
      if (plan.cte !== id) return false;
      count += 1;
      return true;
    }
    if (plan.kind === 'apply') {
      if (plan.subqueries.some((subquery) => visit(subquery.plan)))
        throw wrong('within a subquery');
      return visit(plan.input);
    }
    if (
      plan.kind === 'join' &&
      (plan.type === 'left' || plan.type === 'right' || plan.type === 'full')
    ) {
      const [left, right] = [visit(plan.left), visit(plan.right)];
      if ((left && plan.type !== 'left') || (right && plan.type !== 'right'))
        throw wrong('within an outer join');
      return left || right;
    }
    const found = inputsOf(plan).map(visit).some(Boolean);
    if (found && plan.kind === 'setOperation')
      throw wrong(`within ${plan.operation.toUpperCase()}`);
    if (found && plan.kind === 'aggregate')
      throw new DbError(
        '42P19',
        "aggregate functions are not allowed in a recursive query's recursive term",
        { at },
      );
    return found;
  };
  visit(step);
  if (count > 1) throw wrong('more than once');
}

function mentions(query: Query, name: string): boolean {
  return JSON.stringify(query, (_, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value,
  ).includes(`"kind":"relation","name":{"name":${JSON.stringify(name)}`);
}

function renamed(
  plan: PlanNode,
  names: readonly string[],
  what: string,
  at: TextPlace | undefined,
): PlanNode {
  if (names.length === 0) return plan;
  if (names.length > plan.columns.length) {
    throw new DbError(
      '42P10',
      `table "${what}" has ${plan.columns.length} columns available but ${names.length} columns specified`,
      { at },
    );
  }
  const columns = plan.columns.map((each, index) => ({ ...each, name: names[index] ?? each.name }));
  return projected(plan, columnsAsExpressions(plan.columns), columns);
}

function bindBody(
  query: Query,
  context: BindContext,
  outer: Scope | undefined,
  ctes: ReadonlyMap<string, CteBinding>,
  targets: Targets,
): PlanNode {
  const { body } = query;
  if (query.withTies) throw notSupported('FETCH … WITH TIES', 'Use LIMIT.', query.at);
  switch (body.kind) {
    case 'select':
      return bindSelect(body, query, context, outer, ctes, targets);
    case 'values': {
      const types = targets === 'open' ? undefined : targets;
      const plan = bindValues(body.rows, context, outer, ctes, types, body.at);
      return limited(
        sortedByOutput(plan, query.orderBy, false, context, outer, ctes),
        query,
        context,
        outer,
        ctes,
      );
    }
    case 'literals':
      return bindBody(
        { ...query, body: { ...body, kind: 'values', rows: body.rows.values() } },
        context,
        outer,
        ctes,
        targets,
      );
    case 'setOperation': {
      const given = targets === 'open' ? undefined : targets;
      const arm = (side: Query, types: Targets): PlanNode =>
        bindQuery(side, context, outer, ctes, types);
      // What both sides leave open is the target's, and else each waits for the other.
      const outside = ({ body: { kind } }: Query): Targets =>
        kind === 'setOperation' && given !== undefined ? given : 'open';
      let left = arm(body.left, outside(body.left));
      let right = arm(body.right, outside(body.right));
      const what = body.operation.toUpperCase();
      if (left.columns.length !== right.columns.length) {
        throw new DbError('42601', `each ${what} query must have the same number of columns`, {
          at: body.right.at ?? query.at,
        });
      }
      const types = left.columns.map(({ type }, index) => {
        const other = right.columns[index]!.type;
        const target = given?.[index];
        return target !== undefined && isOpen(type) && isOpen(other)
          ? withoutModifiers(target.type)
          : commonType([type, other], what, body.right.at);
      });
      // Only now is it known what a bare text or NULL of one side is.
      const openTypes = ({ columns }: PlanNode): Targets =>
        columns.some(({ type }) => isOpen(type))
          ? columns.map(({ type }, index) => (isOpen(type) ? { type: types[index]! } : undefined))
          : undefined;
      const leftTypes = openTypes(left);
      if (leftTypes !== undefined) left = arm(body.left, leftTypes);
      const rightTypes = openTypes(right);
      if (rightTypes !== undefined) right = arm(body.right, rightTypes);
      const inputs = [castColumns(left, types), castColumns(right, types)] as const;
      const columns = left.columns.map((each, index) => ({
        name: each.name,
        type: types[index]!,
        nullable: each.nullable || right.columns[index]!.nullable,
      }));
      let plan: PlanNode;
      if (body.operation === 'union') {
        const all = inputs.flatMap((input) => unitedIn(input, body.all));
        plan = node({ kind: 'unionAll', inputs: all, columns });
        if (!body.all) plan = node({ kind: 'distinct', input: plan, columns });
      } else
        plan = node({
          kind: 'setOperation',
          operation: body.operation,
          all: body.all,
          left: inputs[0],
          right: inputs[1],
          columns,
        });
      return limited(
        sortedByOutput(plan, query.orderBy, true, context, outer, ctes),
        query,
        context,
        outer,
        ctes,
      );
    }
  }
}

/** What an arm of a UNION unites itself: hundreds of them are one node. Rows that are told apart in the end need not be before. */
function unitedIn(arm: PlanNode, keepsAll: boolean): readonly PlanNode[] {
  if (arm.kind === 'unionAll') return arm.inputs;
  return !keepsAll && arm.kind === 'distinct' && arm.on === undefined
    ? unitedIn(arm.input, false)
    : [arm];
}

function isOpen({ kind }: SqlType): boolean {
  return kind === 'unknown' || kind === 'null';
}

// ── VALUES ─────────────────────────────────────────────────────────────────────────────────────────────────────

function bindValues(
  rows: readonly (readonly (
    | SqlExpression
    | { readonly kind: 'default'; readonly at?: TextPlace | undefined }
  )[])[],
  context: BindContext,
  outer: Scope | undefined,
  ctes: ReadonlyMap<string, CteBinding>,
  targets: readonly (Target | undefined)[] | undefined,
  at: TextPlace | undefined,
): PlanNode {
  const width = rows[0]?.length ?? 0;
  const subqueries: BoundSubquery[] = [];
  const place: Place = {
    context,
    scope: emptyScope(outer, ctes),
    clause: 'VALUES',
    aggregates: undefined,
    subqueries,
  };
  const bound = rows.map((row) => {
    if (row.length !== width)
      throw new DbError('42601', 'VALUES lists must all be the same length', { at });
    return row.map((item) => {
      if (item.kind === 'default')
        throw new DbError('42601', 'DEFAULT is not allowed in this context', { at: item.at });
      return bindExpression(item, place);
    });
  });
  const types = Array.from({ length: width }, (_, index) => {
    return (
      targets?.[index]?.type ??
      commonType(
        bound.map((row) => row[index]!.type),
        'VALUES',
        at,
      )
    );
  });
  const converted = bound.map((row, rowIndex) =>
    row.map((each, index) => {
      const column = targets?.[index]?.column;
      return foldConstants(
        column === undefined
          ? coerce(each, types[index]!, 'implicit', at)
          : assigned(each, types[index]!, column, rows[rowIndex]![index]!.at ?? at),
      );
    }),
  );
  const columns = types.map((type, index) => ({
    name: `column${index + 1}`,
    type,
    nullable: true,
  }));
  if (subqueries.length === 0) return node({ kind: 'values', rows: converted, columns });
  // A row with subqueries is a SELECT without FROM.
  const inputs = converted.map((row) => {
    const applied = withSubqueries(oneRow(), subqueries, row);
    return projected(applied.plan, applied.expressions, columns);
  });
  return inputs.length === 1 ? inputs[0]! : node({ kind: 'unionAll', inputs, columns });
}

export function oneRow(): PlanNode {
  return node({ kind: 'values', rows: [[]], columns: [] });
}

// ── SELECT ─────────────────────────────────────────────────────────────────────────────────────────────────────

type Item = {
  readonly expression: Expression;
  readonly name: string;
  readonly source: SqlExpression | undefined;
};

function bindSelect(
  body: SelectBody,
  query: Query,
  context: BindContext,
  outer: Scope | undefined,
  ctes: ReadonlyMap<string, CteBinding>,
  targets: Targets,
): PlanNode {
  if (body.into !== undefined)
    throw notSupported('SELECT … INTO here', 'Use CREATE TABLE … AS.', body.into.at);
  if (body.windows.length > 0)
    throw notSupported(
      'a window function',
      'Group in a subquery and join it, or compute it in the client.',
    );
  let { plan, scope } = bindFrom(body.from, context, outer, ctes);
  if (body.where !== undefined) {
    const subqueries: BoundSubquery[] = [];
    const where = condition(
      bindExpression(body.where, {
        context,
        scope,
        clause: 'WHERE',
        aggregates: undefined,
        subqueries,
      }),
      'WHERE',
      body.where.at,
    );
    plan = filteredWithSubqueries(plan, where, subqueries);
  }

  const subqueries: BoundSubquery[] = [];
  const aggregates = new AggregateCalls();
  const place: Place = { context, scope, clause: 'SELECT', aggregates, subqueries };
  const series: SeriesCall[] = [];
  let items = bindItems(body.items, { ...place, series });
  if (series.length > 0) {
    if (body.groupBy.length > 0 || body.having !== undefined || aggregates.calls.length > 0)
      throw notSupported('generate_series() beside groups', 'Group in a subquery in FROM.');
    const applied = withSeries(plan, series, items);
    ({ plan, items } = applied);
  }
  const keys = bindGroupBy(body.groupBy, items, {
    ...place,
    aggregates: undefined,
    clause: 'GROUP BY',
  });
  const having =
    body.having === undefined
      ? undefined
      : condition(
          bindExpression(body.having, { ...place, clause: 'HAVING' }),
          'HAVING',
          body.having.at,
        );
  const orderBy = bindOrderBy(query.orderBy, items, { ...place, clause: 'ORDER BY' });
  const on =
    typeof body.distinct === 'string'
      ? []
      : body.distinct.map(
          (each) =>
            outputReference(each, items, { ...place, clause: 'DISTINCT ON' }) ??
            settled(bindExpression(each, { ...place, clause: 'DISTINCT ON' })),
        );

  const grouped = body.groupBy.length > 0 || aggregates.calls.length > 0 || having !== undefined;
  let expressions = items.map(({ expression }, index) => {
    if (targets === 'open') return expression;
    const target = targets?.[index];
    return target === undefined || !isOpen(expression.type)
      ? settled(expression)
      : coerce(expression, withoutModifiers(target.type), 'assignment', items[index]!.source?.at);
  });
  let sortKeys = orderBy;
  let onKeys = on;
  if (grouped) {
    // Subqueries in keys and in arguments of aggregates belong to the rows below the groups.
    const below = subqueriesBelow(plan, subqueries, keys, aggregates.calls);
    const group = groupOf(below.plan, scope, below.keys, below.calls, context);
    const regroup = (expression: Expression): Expression => group.rewrite(below.placed(expression));
    const above = [
      ...expressions,
      ...orderBy.map((key) => key.expression),
      ...on,
      ...(having === undefined ? [] : [having]),
    ];
    const mentioned = subqueriesIn(above.map((expression) => below.placed(expression)));
    const inner = subqueries.map((subquery, index) =>
      mentioned.has(index) ? group.rewriteSubquery(subquery) : subquery,
    );
    expressions = expressions.map(regroup);
    sortKeys = orderBy.map((key) => ({ ...key, expression: regroup(key.expression) }));
    onKeys = on.map(regroup);
    const conditionOnGroups = having === undefined ? undefined : regroup(having);
    plan = group.plan;
    scope = { ...scope, columns: plan.columns };
    subqueries.length = 0;
    subqueries.push(...inner);
    if (conditionOnGroups !== undefined) {
      const applied = withSubqueries(plan, subqueries, [conditionOnGroups]);
      plan = filtered(applied.plan, conjunctsOf(applied.expressions[0]!));
    }
  }
  const sorting = [...sortKeys.map(({ expression }) => expression), ...onKeys];
  const applied = withSubqueries(plan, subqueries, [...expressions, ...sorting]);
  plan = applied.plan;
  expressions = applied.expressions.slice(0, items.length).map(foldConstants);
  const sortExpressions = applied.expressions.slice(items.length).map(foldConstants);

  // Sort keys that are not selected travel along as hidden columns.
  const output = [...expressions];
  const columns: OutputColumn[] = items.map(({ name }, index) => ({
    name,
    type: expressions[index]!.type,
    nullable: isNullable(expressions[index]!),
  }));
  const placed = (expression: Expression): Expression => {
    let index = output.findIndex((each) => expressionEquals(each, expression));
    if (index < 0) {
      if (body.distinct === 'all')
        throw new DbError(
          '42P10',
          'for SELECT DISTINCT, ORDER BY expressions must appear in select list',
          { hint: 'Select the expression too.' },
        );
      index = output.push(expression) - 1;
      columns.push({ name: '?hidden?', type: expression.type, nullable: true });
    }
    return column(index, columns[index]!);
  };
  const keysInOutput = sortKeys.map((key, index): SortKey => ({
    ...key,
    expression: placed(sortExpressions[index]!),
  }));
  const onInOutput = onKeys.map((_, index) => placed(sortExpressions[sortKeys.length + index]!));
  plan = projected(plan, output, columns);
  if (body.distinct === 'all') plan = node({ kind: 'distinct', input: plan, columns });
  if (keysInOutput.length > 0) plan = sorted(plan, keysInOutput);
  if (onInOutput.length > 0) {
    assertDistinctOn(keysInOutput, onInOutput);
    plan = node({ kind: 'distinct', input: plan, on: onInOutput, columns });
  }
  plan = limited(plan, query, context, outer, ctes);
  return columns.length === items.length
    ? plan
    : projected(
        plan,
        columnsAsExpressions(columns.slice(0, items.length)),
        columns.slice(0, items.length),
      );
}

/** generate_series in the select list makes rows of each row, as a lateral join does. */
function withSeries(
  input: PlanNode,
  series: readonly SeriesCall[],
  items: readonly Item[],
): { readonly plan: PlanNode; readonly items: Item[] } {
  const [call, second] = series;
  if (second !== undefined)
    throw notSupported(
      'several generate_series() in one select list',
      'Use them in FROM.',
      second.at,
    );
  const { type, start, stop, step, at } = call!;
  const within = (expression: Expression): Expression =>
    rewrite(expression, (each): Expression => {
      if (each.kind === 'subquery')
        throw notSupported('a subquery in generate_series() here', 'Use it in FROM.', at);
      if (each.kind === 'outerColumn') return { ...each, depth: each.depth + 1 };
      if (each.kind !== 'column') return each;
      const { index, type: of, nullable, name } = each;
      return { kind: 'outerColumn', depth: 1, index, type: of, nullable, name };
    });
  const columns = [{ name: 'generate_series', type, nullable: false }];
  const right = node({
    kind: 'series',
    start: within(start),
    stop: within(stop),
    step: step && within(step),
    ordinality: false,
    columns,
  });
  const plan = node({
    kind: 'lateral',
    type: 'inner',
    left: input,
    right,
    columns: [...input.columns, ...columns],
  });
  return {
    plan,
    items: items.map((item) => ({
      ...item,
      expression: mapColumns(item.expression, (each) =>
        each.index >= SERIES_INDEX_BASE ? column(input.columns.length, columns[0]!) : each,
      ),
    })),
  };
}

function sorted(input: PlanNode, keys: readonly SortKey[]): PlanNode {
  return node({
    kind: 'sort',
    input,
    keys: keys.filter(({ expression }) => expression.kind !== 'constant'),
    columns: input.columns,
  });
}

function assertDistinctOn(keys: readonly SortKey[], on: readonly Expression[]): void {
  const leading = keys.slice(0, on.length);
  if (
    keys.length === 0 ||
    leading.every(({ expression }) => on.some((each) => expressionEquals(each, expression)))
  )
    return;
  throw new DbError(
    '42P10',
    'SELECT DISTINCT ON expressions must match initial ORDER BY expressions',
  );
}

function bindItems(items: readonly SelectItem[], place: Place): Item[] {
  return items.flatMap((item): Item[] => {
    if (item.kind === 'expression') {
      return [
        {
          expression: bindExpression(item.expression, place),
          name: item.alias ?? nameOf(item.expression),
          source: item.expression,
        },
      ];
    }
    return starColumns(item, place.scope).map((each) => ({
      expression: expressionOf(place.scope, each),
      name: each.name,
      source: undefined,
    }));
  });
}

export function starColumns(
  item: Extract<SelectItem, { kind: 'star' }>,
  scope: Scope,
): readonly ScopeColumn[] {
  if (item.qualifier.length === 0) {
    if (scope.tables.length === 0 && scope.visible.length === 0)
      throw new DbError('42601', 'SELECT * with no tables specified is not valid', { at: item.at });
    return scope.visible;
  }
  const name = item.qualifier.at(-1)!;
  const table = scope.tables.find((each) => each.name === name);
  if (table === undefined) {
    const nearest = nearestOf(
      name,
      scope.tables.map((each) => each.name),
    );
    throw new DbError('42P01', `missing FROM-clause entry for table "${name}"`, {
      at: item.at,
      table: name,
      hint: nearest === undefined ? undefined : `Did you mean "${nearest}"?`,
    });
  }
  return table.columns;
}

/** PostgreSQL's names for unnamed output columns. */
export function nameOf(expression: SqlExpression): string {
  switch (expression.kind) {
    case 'column':
      return expression.parts.at(-1)!;
    case 'call':
      return expression.name;
    case 'cast':
      return hasNameOfItsOwn(expression.arg) ? nameOf(expression.arg) : expression.type.name;
    case 'case':
      return expression.otherwise !== undefined && hasNameOfItsOwn(expression.otherwise)
        ? nameOf(expression.otherwise)
        : 'case';
    case 'boolean':
      return 'bool';
    case 'coalesce':
    case 'greatest':
    case 'least':
    case 'row':
    case 'array':
      return expression.kind;
    case 'nullIf':
      return 'nullif';
    case 'sqlValue':
      return expression.name;
    case 'atTimeZone':
      return 'timezone';
    case 'collate':
      return nameOf(expression.arg);
    case 'subquery':
      if (expression.mode === 'exists') return 'exists';
      if (expression.query.body.kind === 'select') {
        const item = expression.query.body.items[0];
        if (item?.kind === 'expression') return item.alias ?? nameOf(item.expression);
      }
      return '?column?';
    case 'field':
      return expression.name;
    default:
      return '?column?';
  }
}

/** Whether what an expression is called says more than its outermost cast or CASE would. */
function hasNameOfItsOwn(expression: SqlExpression): boolean {
  switch (expression.kind) {
    case 'cast':
    case 'collate':
      return hasNameOfItsOwn(expression.arg);
    case 'case':
      return expression.otherwise !== undefined && hasNameOfItsOwn(expression.otherwise);
    case 'boolean':
      return false;
    // Even where its column has none.
    case 'subquery':
      return true;
    default:
      return nameOf(expression) !== '?column?';
  }
}

// ── GROUP BY ───────────────────────────────────────────────────────────────────────────────────────────────────

function bindGroupBy(
  groupBy: readonly GroupItem[],
  items: readonly Item[],
  place: Place,
): Expression[] {
  return groupBy.map((item) => {
    if (item.kind === 'sets')
      throw notSupported(
        'a grouping set (ROLLUP, CUBE)',
        'Write one query for each grouping and join them with UNION ALL.',
        item.at,
      );
    const { expression } = item;
    const byOrdinal = ordinal(expression, items, 'GROUP BY');
    if (byOrdinal !== undefined) return checkedKey(byOrdinal.expression, expression);
    if (expression.kind === 'column' && expression.parts.length === 1) {
      // A column of the input wins over an output name here.
      const name = expression.parts[0]!;
      if (!place.scope.visible.some((each) => each.name === name)) {
        const named = items.filter((each) => each.name === name);
        if (named.length > 0) return checkedKey(named[0]!.expression, expression);
      }
    }
    return settled(bindExpression(expression, place));
  });
}

function checkedKey(key: Expression, source: SqlExpression): Expression {
  if (someNode(key, (each) => each.kind === 'column' && each.index >= AGGREGATE_INDEX_BASE)) {
    throw new DbError('42803', 'aggregate functions are not allowed in GROUP BY', {
      at: source.at,
    });
  }
  return settled(key);
}

function ordinal(
  expression: SqlExpression,
  items: readonly Item[],
  clause: string,
): Item | undefined {
  if (expression.kind !== 'number' || !/^\d+$/.test(expression.text)) return undefined;
  const item = items[Number(expression.text) - 1];
  if (item === undefined)
    throw new DbError('42P10', `${clause} position ${expression.text} is not in select list`, {
      at: expression.at,
    });
  return item;
}

/** Applies the subqueries that grouping itself needs; `placed` puts those of keys in where others mention them too. */
function subqueriesBelow(
  input: PlanNode,
  subqueries: readonly BoundSubquery[],
  keys: readonly Expression[],
  calls: readonly AggregateCall[],
): {
  readonly plan: PlanNode;
  readonly keys: readonly Expression[];
  readonly calls: readonly AggregateCall[];
  placed(expression: Expression): Expression;
} {
  const needed = [
    ...keys,
    ...calls.flatMap((call) => [
      ...call.args,
      ...(call.filter === undefined ? [] : [call.filter]),
      ...call.orderBy.map(({ expression }) => expression),
    ]),
  ];
  const { plan, at } = appliedSubqueries(input, subqueries, needed);
  const ofKeys = subqueriesIn(keys);
  const atOfKeys = new Map([...at].filter(([index]) => ofKeys.has(index)));
  const value = (expression: Expression): Expression => valuesOfSubqueries(expression, plan, at);
  return {
    plan,
    keys: keys.map(value),
    calls: calls.map((call) => mapCall(call, value)),
    placed: (expression) => valuesOfSubqueries(expression, plan, atOfKeys),
  };
}

/** The aggregate node, and how expressions over its input become expressions over its output. */
function groupOf(
  input: PlanNode,
  scope: Scope,
  keys: readonly Expression[],
  calls: readonly AggregateCall[],
  context: BindContext,
): {
  readonly plan: PlanNode;
  rewrite(expression: Expression): Expression;
  rewriteSubquery(subquery: BoundSubquery): BoundSubquery;
} {
  const unique: Expression[] = [];
  for (const key of keys)
    if (!unique.some((each) => expressionEquals(each, key))) unique.push(foldConstants(key));
  addDependent(unique, scope, context);
  const columns: OutputColumn[] = [
    ...unique.map((key): OutputColumn => ({
      name: key.kind === 'column' ? key.name : '?column?',
      type: key.type,
      nullable: isNullable(key),
    })),
    ...calls.map((call): OutputColumn => ({
      name: call.fn,
      type: call.type,
      nullable: call.fn !== 'count' && call.fn !== 'regr_count',
    })),
  ];
  const plan = node({ kind: 'aggregate', input, keys: unique, calls, columns });
  const regroup = (expression: Expression): Expression => {
    const folded = expression.kind === 'column' ? expression : foldConstants(expression);
    const key = unique.findIndex((each) => expressionEquals(each, folded));
    // What is known beforehand, such as a sum with NULL, needs no column.
    if (key >= 0) return folded.kind === 'constant' ? folded : column(key, columns[key]!);
    if (expression.kind === 'column') {
      if (expression.index >= AGGREGATE_INDEX_BASE)
        return column(
          unique.length + expression.index - AGGREGATE_INDEX_BASE,
          columns[unique.length + expression.index - AGGREGATE_INDEX_BASE]!,
        );
      throw ungrouped(expression, scope);
    }
    return mapParts(expression, regroup);
  };
  return {
    plan,
    rewrite: regroup,
    rewriteSubquery: (subquery) => ({
      ...subquery,
      args: subquery.args.map(regroup),
      // What the subquery says of this query's row is now said of the group.
      plan: mapPlanExpressions(subquery.plan, (expression, depth) =>
        rewrite(expression, (each) => {
          if (each.kind !== 'outerColumn' || each.depth !== depth + 1) return each;
          const own = regroup({
            kind: 'column',
            index: each.index,
            type: each.type,
            nullable: each.nullable,
            name: each.name,
          });
          if (own.kind === 'column') return { ...each, index: own.index };
          throw notSupported('this expression of the outer query in a subquery');
        }),
      ),
    }),
  };
}

/** Columns of a table whose primary key is grouped by depend on it: they are keys too, as SQL:1999 allows. */
function addDependent(keys: Expression[], scope: Scope, context: BindContext): void {
  const grouped = new Set(keys.flatMap((key) => (key.kind === 'column' ? [key.index] : [])));
  for (const table of scope.tables) {
    const info =
      table.relation === undefined ? undefined : context.catalog.relationById(table.relation);
    const primary = info?.indexes.find((index) => index.primary);
    if (info === undefined || primary === undefined) continue;
    const indexOf = (columnIndex: number): number | undefined =>
      table.columns.find((_, position) => position === columnIndex)?.index;
    if (!primary.columnIndexes.every((each) => grouped.has(indexOf(each) ?? -1))) continue;
    for (const { index } of table.columns) {
      if (!grouped.has(index)) keys.push(column(index, scope.columns[index]!));
    }
  }
}

function ungrouped(expression: Extract<Expression, { kind: 'column' }>, scope: Scope): DbError {
  const table = scope.tables.find(({ columns }) =>
    columns.some((each) => each.index === expression.index),
  );
  const shown = table === undefined ? expression.name : `${table.name}.${expression.name}`;
  return new DbError(
    '42803',
    `column "${shown}" must appear in the GROUP BY clause or be used in an aggregate function`,
    { column: expression.name, hint: `Add it: GROUP BY …, ${shown}.` },
  );
}

// ── ORDER BY, LIMIT ────────────────────────────────────────────────────────────────────────────────────────────

function bindOrderBy(
  orderBy: readonly OrderItem[],
  items: readonly Item[],
  place: Place,
): SortKey[] {
  return orderBy.map((item) => {
    if (item.using !== undefined && item.using !== '<' && item.using !== '>')
      throw notSupported(`ORDER BY … USING ${item.using}`, undefined, item.expression.at);
    const descending = item.descending || item.using === '>';
    const expression =
      outputReference(item.expression, items, place) ??
      settled(bindExpression(item.expression, place));
    return { expression, descending, nullsFirst: item.nullsFirst ?? descending };
  });
}

/** An ordinal or an output name; the latter wins over a column of the input. */
function outputReference(
  expression: SqlExpression,
  items: readonly Item[],
  place: Place,
): Expression | undefined {
  const byOrdinal = ordinal(expression, items, place.clause);
  if (byOrdinal !== undefined) return settled(byOrdinal.expression);
  if (expression.kind === 'collate') return outputReference(expression.arg, items, place);
  if (expression.kind !== 'column' || expression.parts.length !== 1) return undefined;
  const named = items.filter((item) => item.name === expression.parts[0]);
  if (named.length === 0) return undefined;
  if (named.some((item) => !expressionEquals(item.expression, named[0]!.expression))) {
    throw new DbError('42702', `${place.clause} "${expression.parts[0]}" is ambiguous`, {
      at: expression.at,
    });
  }
  return settled(named[0]!.expression);
}

/** ORDER BY of a set operation (output names and ordinals only) or of VALUES. */
function sortedByOutput(
  plan: PlanNode,
  orderBy: readonly OrderItem[],
  setOperation: boolean,
  context: BindContext,
  outer: Scope | undefined,
  ctes: ReadonlyMap<string, CteBinding>,
): PlanNode {
  if (orderBy.length === 0) return plan;
  const items = plan.columns.map((each, index): Item => ({
    expression: column(index, each),
    name: each.name,
    source: undefined,
  }));
  const place: Place = {
    context,
    scope: scopeOf('', plan, [], undefined, undefined, outer, ctes),
    clause: 'ORDER BY',
    aggregates: undefined,
    subqueries: undefined,
  };
  for (const { expression } of orderBy)
    if (setOperation && outputReference(expression, items, place) === undefined)
      throw new DbError('42P10', 'ORDER BY of a set operation names its output columns', {
        at: expression.at,
        hint: 'Put the set operation into a subquery in FROM to order by an expression.',
      });
  return sorted(plan, bindOrderBy(orderBy, items, place));
}

function limited(
  plan: PlanNode,
  query: Query,
  context: BindContext,
  outer: Scope | undefined,
  ctes: ReadonlyMap<string, CteBinding>,
): PlanNode {
  if (query.limit === undefined && query.offset === undefined) return plan;
  const subqueries: BoundSubquery[] = [];
  const count = (expression: SqlExpression | undefined, clause: string): Expression | undefined => {
    if (expression === undefined || expression.kind === 'null') return undefined;
    const bound = bindExpression(expression, {
      context,
      scope: emptyScope(outer, ctes),
      clause,
      aggregates: undefined,
      subqueries,
    });
    const value = foldConstants(coerce(bound, INT8, 'assignment', expression.at));
    if (value.kind === 'constant' && typeof value.value === 'number' && value.value < 0) {
      throw new DbError(clause === 'LIMIT' ? '2201W' : '2201X', `${clause} must not be negative`, {
        at: expression.at,
      });
    }
    return value;
  };
  const limit = count(query.limit, 'LIMIT');
  const offset = count(query.offset, 'OFFSET');
  if (limit === undefined && offset === undefined) return plan;
  const given = { ...(limit && { limit }), ...(offset && { offset }) };
  if (subqueries.length === 0)
    return node({ kind: 'limit', input: plan, ...given, columns: plan.columns });
  const applied = withSubqueries(oneRow(), subqueries, Object.values(given));
  const columns = applied.expressions.map((_, index): OutputColumn => ({
    name: Object.keys(given)[index]!,
    type: INT8,
    nullable: true,
  }));
  const numbers = columnsAsExpressions(columns);
  return node({
    kind: 'limit',
    input: plan,
    ...(limit && { limit: numbers[0]! }),
    ...(offset && { offset: numbers.at(-1)! }),
    counts: projected(applied.plan, applied.expressions, columns),
    columns: plan.columns,
  });
}

// ── FROM ───────────────────────────────────────────────────────────────────────────────────────────────────────

export type BoundFrom = {
  readonly plan: PlanNode;
  readonly scope: Scope;
  /** Its plan speaks of the row of what stands left of it. */
  readonly lateral?: boolean;
};

export function bindFrom(
  from: readonly FromItem[],
  context: BindContext,
  outer: Scope | undefined,
  ctes: ReadonlyMap<string, CteBinding>,
): BoundFrom {
  let bound: BoundFrom | undefined;
  for (const item of from)
    bound =
      bound === undefined
        ? bindFromItem(item, context, outer, ctes, 0)
        : cross(bound, bindBeside(bound.scope, item, context, ctes, 0), undefined);
  return bound ?? { plan: oneRow(), scope: emptyScope(outer, ctes) };
}

/** What stands right of `left` in FROM; its plan speaks of left's row where something in it is lateral. */
function bindBeside(
  left: Scope,
  item: FromItem,
  context: BindContext,
  ctes: ReadonlyMap<string, CteBinding>,
  hidden: number,
): BoundFrom {
  if (!maySpeakOfLeft(item)) return bindFromItem(item, context, left.outer, ctes, hidden);
  const bound = bindFromItem(item, context, left, ctes, hidden + 1);
  const scope = { ...bound.scope, outer: left.outer };
  const speaks: Set<number> = new Set();
  outerColumns(bound.plan, speaks);
  return speaks.size > 0
    ? { plan: bound.plan, scope, lateral: true }
    : { plan: withoutOuter(bound.plan), scope };
}

function maySpeakOfLeft(item: FromItem): boolean {
  switch (item.kind) {
    case 'subquery':
      return item.lateral;
    case 'function':
      return true;
    case 'join':
      return maySpeakOfLeft(item.left) || maySpeakOfLeft(item.right);
    default:
      return false;
  }
}

/** The scopes around, the nearest `count` of them without their names: only LATERAL may speak of those. */
function hiding(outer: Scope | undefined, count: number): Scope | undefined {
  if (count === 0 || outer === undefined) return outer;
  return { ...outer, tables: [], visible: [], outer: hiding(outer.outer, count - 1) };
}

function cross(left: BoundFrom, right: BoundFrom, at: TextPlace | undefined): BoundFrom {
  const columns = [...left.plan.columns, ...right.plan.columns];
  const plan = joinOf('inner', left.plan, right, undefined, columns, at);
  return { plan, scope: joined(left.scope, right.scope, columns, at) };
}

/** A join, or a lateral one where the right side speaks of the left one's row. */
function joinOf(
  type: 'inner' | 'left' | 'right' | 'full',
  left: PlanNode,
  { plan: right, lateral }: BoundFrom,
  condition: Expression | undefined,
  columns: readonly OutputColumn[],
  at: TextPlace | undefined,
): PlanNode {
  if (lateral !== true)
    return node({
      kind: 'join',
      type,
      left,
      right,
      keys: [],
      residual: condition === undefined ? undefined : foldConstants(condition),
      nullAware: false,
      build: 'right',
      columns,
    });
  if (type === 'right' || type === 'full')
    throw new DbError('42P10', 'invalid reference to FROM-clause entry', {
      at,
      detail: 'The combining JOIN type must be INNER or LEFT for a LATERAL reference.',
    });
  return node({ kind: 'lateral', type, left, right, condition, columns });
}

/** The nearest `hidden` scopes around are what stands left of it in FROM. */
function bindFromItem(
  item: FromItem,
  context: BindContext,
  outer: Scope | undefined,
  ctes: ReadonlyMap<string, CteBinding>,
  hidden: number,
): BoundFrom {
  switch (item.kind) {
    case 'relation':
      return bindRelation(item, context, outer, ctes);
    case 'subquery': {
      const seen = item.lateral ? outer : hiding(outer, hidden);
      const plan = bindQuery(item.query, context, seen, ctes);
      const name = item.alias?.name ?? '?subquery?';
      const aliased = renamed(plan, item.alias?.columns ?? [], name, item.at);
      return {
        plan: aliased,
        scope: scopeOf(name, aliased, [], undefined, undefined, outer, ctes),
      };
    }
    case 'function':
      return bindFunction(item, context, outer, ctes);
    case 'join':
      return bindJoin(item, context, outer, ctes, hidden);
  }
}

function bindRelation(
  item: Extract<FromItem, { kind: 'relation' }>,
  context: BindContext,
  outer: Scope | undefined,
  ctes: ReadonlyMap<string, CteBinding>,
): BoundFrom {
  const { name, at } = item.name;
  if (item.sample !== undefined)
    throw notSupported('TABLESAMPLE', 'Use db.progressive for estimates.', at);
  const cte = item.name.schema === undefined ? ctes.get(name) : undefined;
  const alias = item.alias?.name ?? name;
  if (cte !== undefined) {
    const plan = renamed(
      node({ kind: 'cteScan', cte: cte.cte, name: cte.name, columns: cte.columns }),
      item.alias?.columns ?? [],
      alias,
      at,
    );
    return { plan, scope: scopeOf(alias, plan, [], undefined, undefined, outer, ctes) };
  }
  const info = context.catalog.relation(item.name);
  if (info === undefined)
    throw relationDoesNotExist({ ...item.name, at }, context.catalog.relationNames());
  if (info.kind === 'view') {
    if (context.expanding.includes(info.id))
      throw new DbError('42P17', `infinite recursion detected in rules for relation "${name}"`, {
        at,
      });
    const inside: BindContext = {
      ...context,
      catalog: viewCatalog(context.catalog, info.reads!),
      expanding: [...context.expanding, info.id],
    };
    const whole = bindQuery(info.query!, inside, undefined, new Map());
    // A view that reads it knows the columns that were there when it was made.
    const bound =
      whole.columns.length === info.columns.length
        ? whole
        : node({
            kind: 'project',
            input: whole,
            expressions: whole.columns
              .slice(0, info.columns.length)
              .map(({ name: own, type, nullable }, index) => ({
                kind: 'column' as const,
                index,
                type,
                nullable,
                name: own,
              })),
            columns: whole.columns.slice(0, info.columns.length),
          });
    context.nextCte = Math.max(context.nextCte, inside.nextCte);
    const named = renamed(
      castColumns(
        bound,
        info.columns.map(({ type }) => type),
      ),
      info.columns.map((each) => each.name),
      name,
      at,
    );
    const plan = renamed(named, item.alias?.columns ?? [], alias, at);
    return { plan, scope: scopeOf(alias, plan, [], undefined, schemaShown(item), outer, ctes) };
  }
  const columns = info.columns.map((each) => ({
    name: each.name,
    type: each.type,
    nullable: each.nullable,
  }));
  const scan = node({
    kind: 'scan',
    relation: info.id,
    name: info.name,
    alias,
    columnIndexes: columns.map((_, index) => index),
    withRowIds: false,
    rowIdColumn: false,
    columns,
  });
  const names = item.alias?.columns ?? [];
  if (names.length > columns.length)
    throw new DbError(
      '42P10',
      `table "${alias}" has ${columns.length} columns available but ${names.length} columns specified`,
      { at },
    );
  return {
    plan: scan,
    scope: scopeOf(alias, scan, names, info.id, schemaShown(item), outer, ctes),
  };
}

/** The schema that may stand before a relation's name: none before an alias, which is never written so; undefined: any. */
function schemaShown({ alias, name }: Extract<FromItem, { kind: 'relation' }>): string | undefined {
  return alias === undefined ? name.schema : NO_SCHEMA;
}

function bindFunction(
  item: Extract<FromItem, { kind: 'function' }>,
  context: BindContext,
  outer: Scope | undefined,
  ctes: ReadonlyMap<string, CteBinding>,
): BoundFrom {
  const { call, at } = item;
  if (call.kind !== 'call' || call.name !== 'generate_series') {
    throw notSupported(
      call.kind === 'call' ? `function ${call.name}() in FROM` : 'this in FROM',
      'Only generate_series(start, stop, step) stands in FROM.',
      at,
    );
  }
  const place: Place = {
    context,
    scope: emptyScope(outer, ctes),
    clause: 'FROM',
    aggregates: undefined,
    subqueries: undefined,
  };
  const args = call.args.map(({ value }) => bindExpression(value, place));
  const { type, start, stop, step } = seriesOf(args, at);
  const name = item.alias?.name ?? 'generate_series';
  const plan = node({
    kind: 'series',
    start,
    stop,
    step,
    ordinality: item.ordinality,
    columns: [
      { name: item.alias?.columns[0] ?? name, type, nullable: false },
      ...(item.ordinality
        ? [{ name: item.alias?.columns[1] ?? 'ordinality', type: INT8, nullable: false }]
        : []),
    ],
  });
  return { plan, scope: scopeOf(name, plan, [], undefined, undefined, outer, ctes) };
}

function bindJoin(
  item: Extract<FromItem, { kind: 'join' }>,
  context: BindContext,
  outer: Scope | undefined,
  ctes: ReadonlyMap<string, CteBinding>,
  hidden: number,
): BoundFrom {
  const left = bindFromItem(item.left, context, outer, ctes, hidden);
  const right = bindBeside(left.scope, item.right, context, ctes, hidden);
  const type = item.type === 'cross' ? 'inner' : item.type;
  const nullLeft = type === 'right' || type === 'full';
  const nullRight = type === 'left' || type === 'full';
  const columns = [
    ...left.plan.columns.map((each) => ({ ...each, nullable: each.nullable || nullLeft })),
    ...right.plan.columns.map((each) => ({ ...each, nullable: each.nullable || nullRight })),
  ];
  let scope = joined(left.scope, right.scope, columns, item.at);
  const offset = left.plan.columns.length;
  const conditions: Expression[] = [];
  let plan: PlanNode;
  const using = item.natural
    ? left.scope.visible
        .map(({ name }) => name)
        .filter((name) => right.scope.visible.some((each) => each.name === name))
    : item.using;
  if (using !== undefined) {
    const merged: ScopeColumn[] = [];
    for (const name of using) {
      const one = onlyColumn(left.scope, name, 'left', item.at);
      const other = onlyColumn(right.scope, name, 'right', item.at);
      const a = shiftedExpression(scope, one, 0);
      const b = shiftedExpression(scope, other, offset);
      conditions.push(resolveOperator('=', a, b, item.at));
      const common = commonType([a.type, b.type], 'JOIN/USING', item.at);
      const value =
        type === 'full'
          ? ({
              kind: 'coalesce',
              args: [coerce(a, common, 'implicit'), coerce(b, common, 'implicit')],
              type: common,
            } as Expression)
          : type === 'right'
            ? b
            : a;
      merged.push({
        name,
        index: value.kind === 'column' ? value.index : one.index,
        ...(value.kind === 'column' ? {} : { expression: value }),
      });
    }
    const rest = (visible: readonly ScopeColumn[]): ScopeColumn[] =>
      visible.filter(({ name }) => !using.includes(name));
    scope = { ...scope, visible: [...merged, ...rest(scope.visible)] };
    const { usingAlias } = item;
    if (usingAlias !== undefined) {
      if (scope.tables.some(({ name }) => name === usingAlias))
        throw new DbError('42712', `table name "${usingAlias}" specified more than once`, {
          at: item.at,
          table: usingAlias,
        });
      const table = { name: usingAlias, schema: undefined, columns: merged, relation: undefined };
      scope = { ...scope, tables: [...scope.tables, table] };
    }
    const condition: Expression | undefined =
      conditions.length < 2 ? conditions[0] : { kind: 'and', args: conditions, type: BOOLEAN };
    plan = joinOf(type, left.plan, right, condition, columns, item.at);
  } else {
    let residual: Expression | undefined;
    const subqueries: BoundSubquery[] = [];
    if (item.on !== undefined) {
      residual = condition(
        bindExpression(item.on, {
          context,
          scope,
          clause: 'JOIN/ON',
          aggregates: undefined,
          subqueries,
        }),
        'JOIN/ON',
        item.on.at,
      );
    }
    if (subqueries.length > 0 && type !== 'inner') {
      if (right.lateral === true)
        throw notSupported('a subquery in the ON of a lateral outer join', undefined, item.at);
      plan = outerJoinWithSubqueries(left.plan, right.plan, type, residual!, subqueries, columns);
    } else if (subqueries.length > 0) {
      const product = joinOf('inner', left.plan, right, undefined, columns, item.at);
      plan = filteredWithSubqueries(product, residual!, subqueries);
    } else plan = joinOf(type, left.plan, right, residual, columns, item.at);
  }
  if (item.alias !== undefined) {
    const { alias } = item;
    const visible = scope.visible.map((each, index) => ({
      ...each,
      name: alias.columns[index] ?? each.name,
    }));
    scope = {
      ...scope,
      visible,
      tables: [{ name: alias.name, schema: undefined, columns: visible, relation: undefined }],
    };
  }
  return { plan, scope };
}

/** An outer join whose condition holds subqueries: each is applied to the side it speaks of, before they are joined. */
function outerJoinWithSubqueries(
  left: PlanNode,
  right: PlanNode,
  type: 'left' | 'right' | 'full',
  residual: Expression,
  subqueries: readonly BoundSubquery[],
  columns: readonly OutputColumn[],
): PlanNode {
  const width = left.columns.length;
  const mentioned: Extract<Expression, { kind: 'subquery' }>[] = [];
  someNode(residual, (each) => {
    if (each.kind === 'subquery') mentioned.push(each);
    return false;
  });
  const ofLeft = mentioned.filter(({ subquery }) =>
    speaksOf(subqueries[subquery]!).every((index) => index < width),
  );
  const ofRight = mentioned.filter((each) => !ofLeft.includes(each));
  if (
    ofRight.some(({ subquery }) => speaksOf(subqueries[subquery]!).some((index) => index < width))
  ) {
    if (type === 'full')
      throw notSupported(
        'a subquery in the ON of a FULL JOIN that speaks of both sides',
        'Join in a subquery in FROM first.',
      );
    return lateralOuterJoin(left, right, type, residual, subqueries, columns);
  }
  const leftApplied = appliedSubqueries(left, subqueries, ofLeft);
  const moved = subqueries.map((subquery) => movedSubquery(subquery, -width));
  const rightApplied = appliedSubqueries(right, moved, ofRight);
  const leftWidth = leftApplied.plan.columns.length;
  const both = [...leftApplied.plan.columns, ...rightApplied.plan.columns];
  const condition = rewrite(residual, (each) => {
    if (each.kind === 'column' && each.index >= width)
      return { ...each, index: each.index - width + leftWidth };
    if (each.kind !== 'subquery') return each;
    const index =
      leftApplied.at.get(each.subquery) ?? rightApplied.at.get(each.subquery)! + leftWidth;
    return column(index, both[index]!);
  });
  const join = node({
    kind: 'join',
    type,
    left: leftApplied.plan,
    right: rightApplied.plan,
    keys: [],
    residual: foldConstants(condition),
    nullAware: false,
    build: 'right',
    columns: both.map((each, index) => ({
      ...each,
      nullable: each.nullable || type === 'full' || (type === 'left') === index >= leftWidth,
    })),
  });
  return projected(
    join,
    columns.map((each, index) => column(index < width ? index : index - width + leftWidth, each)),
    columns,
  );
}

/** Each row of the side that is kept looks for its partners, of which the condition and its subqueries may say anything. */
function lateralOuterJoin(
  left: PlanNode,
  right: PlanNode,
  type: 'left' | 'right',
  condition: Expression,
  subqueries: readonly BoundSubquery[],
  columns: readonly OutputColumn[],
): PlanNode {
  const width = left.columns.length;
  const [kept, found] = type === 'left' ? [left, right] : [right, left];
  const ofFound = (index: number): boolean => index >= width === (type === 'left');
  const place = (index: number): number => (index >= width ? index - width : index);
  // What speaks of the join's row speaks of the found row, or of the kept one around it.
  const within = (expression: Expression): Expression =>
    rewrite(expression, (each): Expression => {
      if (each.kind === 'outerColumn') return { ...each, depth: each.depth + 1 };
      if (each.kind !== 'column') return each;
      if (ofFound(each.index)) return { ...each, index: place(each.index) };
      const { type: columnType, nullable, name } = each;
      const index = place(each.index);
      return { kind: 'outerColumn', depth: 1, index, type: columnType, nullable, name };
    });
  const moved = subqueries.map((subquery): BoundSubquery => ({
    ...subquery,
    args: subquery.args.map(within),
    plan: mapPlanExpressions(subquery.plan, (expression, depth) =>
      rewrite(expression, (each) => {
        if (each.kind !== 'outerColumn' || each.depth <= depth) return each;
        if (each.depth > depth + 1) return { ...each, depth: each.depth + 1 };
        return ofFound(each.index)
          ? { ...each, index: place(each.index) }
          : { ...each, index: place(each.index), depth: each.depth + 1 };
      }),
    ),
  }));
  const deeper = mapPlanExpressions(found, (expression, depth) =>
    rewrite(expression, (each) =>
      each.kind === 'outerColumn' && each.depth > depth ? { ...each, depth: each.depth + 1 } : each,
    ),
  );
  const partners = filteredWithSubqueries(deeper, within(condition), moved);
  const both = [...kept.columns, ...found.columns.map((each) => ({ ...each, nullable: true }))];
  const join = node({ kind: 'lateral', type: 'left', left: kept, right: partners, columns: both });
  if (type === 'left') return join;
  const order = columns.map((each, index) =>
    column(index < width ? index + kept.columns.length : index - width, each),
  );
  return projected(join, order, columns);
}

/** The columns of the row around it that a subquery speaks of. */
function speaksOf(subquery: BoundSubquery): number[] {
  const found = new Set<number>();
  for (const arg of subquery.args) referencedColumns(arg, found);
  outerColumns(subquery.plan, found);
  return [...found];
}

/** The subquery over a row whose columns stand `by` places further. */
function movedSubquery(subquery: BoundSubquery, by: number): BoundSubquery {
  return {
    ...subquery,
    args: subquery.args.map((arg) =>
      mapColumns(arg, (each) => ({ ...each, index: each.index + by })),
    ),
    plan: mapPlanExpressions(subquery.plan, (expression, depth) =>
      rewrite(expression, (each) =>
        each.kind === 'outerColumn' && each.depth === depth + 1
          ? { ...each, index: each.index + by }
          : each,
      ),
    ),
  };
}

function onlyColumn(
  scope: Scope,
  name: string,
  side: string,
  at: TextPlace | undefined,
): ScopeColumn {
  const found = scope.visible.filter((each) => each.name === name);
  if (found.length === 1) return found[0]!;
  if (found.length > 1)
    throw new DbError(
      '42702',
      `common column name "${name}" appears more than once in ${side} table`,
      { at, column: name },
    );
  throw new DbError(
    '42703',
    `column "${name}" specified in USING clause does not exist in ${side} table`,
    { at, column: name },
  );
}

function shiftedExpression(scope: Scope, each: ScopeColumn, offset: number): Expression {
  if (each.expression !== undefined)
    return mapColumns(each.expression, (inner) =>
      column(inner.index + offset, scope.columns[inner.index + offset]!),
    );
  return column(each.index + offset, scope.columns[each.index + offset]!);
}

// ── Subqueries in expressions ──────────────────────────────────────────────────────────────────────────────────

/** Puts an Apply under expressions that hold subqueries; those become columns behind the input's. */
export function withSubqueries(
  input: PlanNode,
  subqueries: readonly BoundSubquery[],
  expressions: readonly Expression[],
): { plan: PlanNode; expressions: Expression[] } {
  const { plan, at } = appliedSubqueries(input, subqueries, expressions);
  return {
    plan,
    expressions: expressions.map((expression) => valuesOfSubqueries(expression, plan, at)),
  };
}

/** Applies the subqueries that the expressions mention; `at`: the column of each. */
function appliedSubqueries(
  input: PlanNode,
  subqueries: readonly BoundSubquery[],
  expressions: readonly Expression[],
): { readonly plan: PlanNode; readonly at: ReadonlyMap<number, number> } {
  const at = new Map<number, number>();
  let waiting = [...subqueriesIn(expressions)].sort((a, b) => a - b);
  let plan = input;
  while (waiting.length > 0) {
    // The left side of IN may be a subquery of its own: it is applied before.
    const ready = waiting.filter((index) =>
      [...subqueriesIn(subqueries[index]!.args)].every((inner) => at.has(inner)),
    );
    const below = plan;
    plan = node({
      kind: 'apply',
      input: below,
      subqueries: ready.map((index) => ({
        ...subqueries[index]!,
        args: subqueries[index]!.args.map((arg) => valuesOfSubqueries(arg, below, at)),
      })),
      columns: [
        ...below.columns,
        ...ready.map((index): OutputColumn => ({
          name: '?subquery?',
          type: subqueries[index]!.type,
          nullable: subqueries[index]!.mode !== 'exists',
        })),
      ],
    });
    ready.forEach((index, position) => at.set(index, below.columns.length + position));
    waiting = waiting.filter((index) => !at.has(index));
  }
  return { plan, at };
}

function subqueriesIn(expressions: readonly Expression[]): Set<number> {
  const found = new Set<number>();
  for (const expression of expressions)
    someNode(expression, (each) => each.kind === 'subquery' && found.add(each.subquery) && false);
  return found;
}

function valuesOfSubqueries(
  expression: Expression,
  plan: PlanNode,
  at: ReadonlyMap<number, number>,
): Expression {
  if (at.size === 0) return expression;
  return rewrite(expression, (each) => {
    const index = each.kind === 'subquery' ? at.get(each.subquery) : undefined;
    return index === undefined ? each : column(index, plan.columns[index]!);
  });
}

/** A filter whose subqueries are applied first; the columns they add are taken away again. */
export function filteredWithSubqueries(
  input: PlanNode,
  where: Expression,
  subqueries: readonly BoundSubquery[],
): PlanNode {
  const applied = withSubqueries(input, subqueries, [where]);
  const plan = filtered(applied.plan, conjunctsOf(applied.expressions[0]!));
  return plan.columns.length === input.columns.length
    ? plan
    : projected(plan, columnsAsExpressions(input.columns), input.columns);
}
