import { BOOLEAN, type SqlType } from '../columns/types.ts';
import { foldConstants, isVolatile, mapParts, partsOf } from '../expressions/fold.ts';
import type { Expression } from '../expressions/expression.ts';
import type { OutputColumn, PlanNode, ScanNode } from './logical.ts';

/** A node with its id left open: `numberPlan` gives ids when the plan is done. */
type Fresh<Node> = Node extends { id: number } ? Omit<Node, 'id'> : never;

export function node(fresh: Fresh<PlanNode>): PlanNode {
  return { ...fresh, id: 0 } as PlanNode;
}

/** Ids in depth-first order, from 1. */
export function numberPlan(plan: PlanNode): PlanNode {
  let next = 0;
  const visit = (each: PlanNode): PlanNode => {
    next += 1;
    const id = next;
    return { ...mapInputs(each, visit), id };
  };
  return visit(plan);
}

export function inputsOf(plan: PlanNode): readonly PlanNode[] {
  switch (plan.kind) {
    case 'scan':
    case 'values':
    case 'literals':
    case 'cteScan':
    case 'series':
      return [];
    case 'join':
    case 'lateral':
    case 'setOperation':
      return [plan.left, plan.right];
    case 'unionAll':
      return plan.inputs;
    case 'recursive':
      return [plan.base, plan.step];
    case 'limit':
      return plan.counts === undefined ? [plan.input] : [plan.input, plan.counts];
    case 'cte':
      return [...plan.ctes.map((cte) => cte.plan), plan.body];
    case 'apply':
      return [plan.input, ...plan.subqueries.map((subquery) => subquery.plan)];
    default:
      return [plan.input];
  }
}

/** Every scan of a plan, subqueries' included. */
export function visitScans(plan: PlanNode, visit: (scan: ScanNode) => void): void {
  if (plan.kind === 'scan') visit(plan);
  for (const input of inputsOf(plan)) visitScans(input, visit);
}

export function mapInputs(plan: PlanNode, change: (input: PlanNode) => PlanNode): PlanNode {
  switch (plan.kind) {
    case 'scan':
    case 'values':
    case 'literals':
    case 'cteScan':
    case 'series':
      return plan;
    case 'join':
    case 'lateral':
    case 'setOperation':
      return { ...plan, left: change(plan.left), right: change(plan.right) };
    case 'recursive':
      return { ...plan, base: change(plan.base), step: change(plan.step) };
    case 'unionAll':
      return { ...plan, inputs: plan.inputs.map(change) };
    case 'limit':
      return {
        ...plan,
        input: change(plan.input),
        ...(plan.counts === undefined ? {} : { counts: change(plan.counts) }),
      };
    case 'cte':
      return {
        ...plan,
        ctes: plan.ctes.map((cte) => ({ ...cte, plan: change(cte.plan) })),
        body: change(plan.body),
      };
    case 'apply':
      return {
        ...plan,
        input: change(plan.input),
        subqueries: plan.subqueries.map((subquery) => ({
          ...subquery,
          plan: change(subquery.plan),
        })),
      };
    default:
      return { ...plan, input: change(plan.input) };
  }
}

/** Every expression of a node (not of its inputs), changed. */
export function mapExpressions(
  plan: PlanNode,
  change: (expression: Expression) => Expression,
): PlanNode {
  switch (plan.kind) {
    case 'scan':
      return plan.filter === undefined ? plan : { ...plan, filter: change(plan.filter) };
    case 'values':
      return { ...plan, rows: plan.rows.map((row) => row.map(change)) };
    case 'literals':
      return { ...plan, defaults: plan.defaults.map((each) => each && change(each)) };
    case 'filter':
      return { ...plan, condition: change(plan.condition) };
    case 'project':
      return { ...plan, expressions: plan.expressions.map(change) };
    case 'aggregate':
      return {
        ...plan,
        keys: plan.keys.map(change),
        calls: plan.calls.map((call) => ({
          ...call,
          args: call.args.map(change),
          ...(call.filter === undefined ? {} : { filter: change(call.filter) }),
          orderBy: call.orderBy.map((key) => ({ ...key, expression: change(key.expression) })),
        })),
      };
    case 'join':
      return {
        ...plan,
        keys: plan.keys.map(({ left, right }) => ({ left: change(left), right: change(right) })),
        ...(plan.residual === undefined ? {} : { residual: change(plan.residual) }),
      };
    case 'repeat':
      return { ...plan, times: change(plan.times) };
    case 'lateral':
      return plan.condition === undefined ? plan : { ...plan, condition: change(plan.condition) };
    case 'sort':
      return {
        ...plan,
        keys: plan.keys.map((key) => ({ ...key, expression: change(key.expression) })),
        ...(plan.keep === undefined ? {} : { keep: change(plan.keep) }),
      };
    case 'limit':
      return {
        ...plan,
        ...(plan.limit === undefined ? {} : { limit: change(plan.limit) }),
        ...(plan.offset === undefined ? {} : { offset: change(plan.offset) }),
      };
    case 'distinct':
      return plan.on === undefined ? plan : { ...plan, on: plan.on.map(change) };
    case 'apply':
      return {
        ...plan,
        subqueries: plan.subqueries.map((subquery) => ({
          ...subquery,
          args: subquery.args.map(change),
        })),
      };
    case 'series':
      return {
        ...plan,
        start: change(plan.start),
        stop: change(plan.stop),
        ...(plan.step === undefined ? {} : { step: change(plan.step) }),
      };
    case 'unionAll':
    case 'setOperation':
    case 'recursive':
    case 'cte':
    case 'cteScan':
      return plan;
  }
}

/** Calls `visit` with each expression of a node. */
export function visitExpressions(plan: PlanNode, visit: (expression: Expression) => void): void {
  mapExpressions(plan, (expression) => {
    visit(expression);
    return expression;
  });
}

/** The whole plan, each node's expressions changed; `depth` counts the subqueries around the node. */
export function mapPlanExpressions(
  plan: PlanNode,
  change: (expression: Expression, depth: number) => Expression,
  depth = 0,
): PlanNode {
  const own = mapExpressions(plan, (expression) => change(expression, depth));
  if (own.kind === 'lateral')
    return {
      ...own,
      left: mapPlanExpressions(own.left, change, depth),
      right: mapPlanExpressions(own.right, change, depth + 1),
    };
  if (own.kind !== 'apply')
    return mapInputs(own, (input) => mapPlanExpressions(input, change, depth));
  return {
    ...own,
    input: mapPlanExpressions(own.input, change, depth),
    subqueries: own.subqueries.map((subquery) => ({
      ...subquery,
      plan: mapPlanExpressions(subquery.plan, change, depth + 1),
    })),
  };
}

/** Each node of an expression, changed from the leaves up. */
export function rewrite(
  expression: Expression,
  change: (node: Expression) => Expression,
): Expression {
  return change(mapParts(expression, (part) => rewrite(part, change)));
}

export function column(index: number, { type, nullable, name }: OutputColumn): Expression {
  return { kind: 'column', index, type, nullable, name };
}

export function columnsAsExpressions(columns: readonly OutputColumn[], offset = 0): Expression[] {
  return columns.map((each, index) => column(index + offset, each));
}

export function constant(
  value: Extract<Expression, { kind: 'constant' }>['value'],
  type: SqlType,
): Expression {
  return { kind: 'constant', type, value };
}

/** The arguments of an AND, or the condition itself. */
export function conjunctsOf(condition: Expression): readonly Expression[] {
  return condition.kind === 'and' ? condition.args.flatMap(conjunctsOf) : [condition];
}

export function conjunction(conjuncts: readonly Expression[]): Expression | undefined {
  const args = conjuncts.filter((each) => !(each.kind === 'constant' && each.value === true));
  if (args.length === 0) return undefined;
  return args.length === 1 ? args[0]! : { kind: 'and', args, type: BOOLEAN };
}

export function filtered(input: PlanNode, conjuncts: readonly Expression[]): PlanNode {
  const condition = conjunction(conjuncts.map(foldConstants));
  return condition === undefined
    ? input
    : node({ kind: 'filter', input, condition, columns: input.columns });
}

export function projected(
  input: PlanNode,
  expressions: readonly Expression[],
  columns: readonly OutputColumn[],
): PlanNode {
  const identity =
    expressions.length === input.columns.length &&
    expressions.every((each, index) => each.kind === 'column' && each.index === index) &&
    columns.every((each, index) => each.name === input.columns[index]!.name);
  return identity ? input : node({ kind: 'project', input, expressions, columns });
}

/** Whether a value may be NULL, as far as the expression tells. */
export function isNullable(expression: Expression): boolean {
  switch (expression.kind) {
    case 'column':
    case 'outerColumn':
      return expression.nullable;
    case 'constant':
      return expression.value === null;
    case 'isNull':
    case 'isNotNull':
      return false;
    case 'coalesce':
      return expression.args.every(isNullable);
    case 'case':
      return [...expression.branches.map(({ then }) => then), expression.otherwise].some(
        isNullable,
      );
    case 'and':
    case 'or':
    case 'not':
    case 'cast':
      return partsOf(expression).some(isNullable);
    default:
      return true;
  }
}

/** Whether a plan speaks of rows of the query around it, `depth` queries out. */
export function hasOuterColumns(plan: PlanNode, depthMin = 1): boolean {
  let found = false;
  mapPlanExpressions(plan, (expression, depth) => {
    rewrite(expression, (each) => {
      if (each.kind === 'outerColumn' && each.depth - depth >= depthMin) found = true;
      return each;
    });
    return expression;
  });
  return found;
}

/** Relations a plan reads. */
export function relationsOf(plan: PlanNode, into: Set<number> = new Set()): Set<number> {
  if (plan.kind === 'scan') into.add(plan.relation);
  for (const input of inputsOf(plan)) relationsOf(input, into);
  return into;
}

/** Whether it may answer differently each time. */
export function planIsVolatile(plan: PlanNode): boolean {
  let found = false;
  mapPlanExpressions(plan, (expression) => {
    if (isVolatile(expression)) found = true;
    return expression;
  });
  return found;
}

/** The plan as it reads without the query directly around it, of whose rows it does not speak. */
export function withoutOuter(plan: PlanNode): PlanNode {
  return mapPlanExpressions(plan, (expression, depth) =>
    rewrite(expression, (each) =>
      each.kind === 'outerColumn' && each.depth > depth + 1
        ? { ...each, depth: each.depth - 1 }
        : each,
    ),
  );
}

/** Columns of the row around it that a subquery's plan speaks of. */
export function outerColumns(plan: PlanNode, into: Set<number>): void {
  mapPlanExpressions(plan, (expression, depth) => {
    rewrite(expression, (each) => {
      if (each.kind === 'outerColumn' && each.depth === depth + 1) into.add(each.index);
      return each;
    });
    return expression;
  });
}
