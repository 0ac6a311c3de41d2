import type { Expression } from '../expressions/expression.ts';
import { isVolatile, referencedColumns, someNode } from '../expressions/fold.ts';
import type { OutputColumn, PlanNode } from '../plan/logical.ts';
import {
  column,
  columnsAsExpressions,
  conjunction,
  conjunctsOf,
  hasOuterColumns,
  node,
  rewrite,
} from '../plan/nodes.ts';

/**
 * A subquery that asks `inner = outer` of its rows, asked once for all outer rows: its plan without the question, the inner sides
 * as columns behind its own.
 */
export type KeyedPlan = {
  readonly plan: PlanNode;
  /** By key column: what the row around gives, over that row's columns. */
  readonly outer: readonly Expression[];
  /** Under an aggregate without keys, a key that is not there still has an answer: that of no rows. */
  readonly answersEmpty: boolean;
};

/** undefined: the subquery speaks of the row around it in another way. */
export function keyedPlan(plan: PlanNode, mode: string): KeyedPlan | undefined {
  // EXISTS asks for one row of each key, whatever it shows.
  const asked =
    mode === 'exists' && plan.kind === 'limit' && plan.offset === undefined && asksForRows(plan)
      ? plan.input
      : plan;
  const keyed = withoutQuestions(asked);
  return keyed === undefined || keyed.keys.length === 0
    ? undefined
    : {
        plan: keyed.plan,
        outer: keyed.keys,
        answersEmpty: keyed.answersEmpty,
      };
}

function asksForRows({ limit }: Extract<PlanNode, { kind: 'limit' }>): boolean {
  return limit?.kind === 'constant' && Number(limit.value) > 0;
}

type Stripped = {
  /** Its last columns are the keys. */
  readonly plan: PlanNode;
  readonly keys: readonly Expression[];
  readonly answersEmpty: boolean;
};

function withoutQuestions(plan: PlanNode): Stripped | undefined {
  if (!hasOuterColumns(plan)) return { plan, keys: [], answersEmpty: false };
  switch (plan.kind) {
    case 'scan':
    case 'filter': {
      const condition = plan.kind === 'scan' ? plan.filter : plan.condition;
      if (plan.kind === 'filter' && hasOuterColumns(plan.input)) return undefined;
      const split = questionsOf(condition);
      if (split === undefined) return undefined;
      const rest = conjunction(split.others);
      const below: PlanNode =
        plan.kind === 'scan'
          ? { ...plan, filter: rest }
          : rest === undefined
            ? plan.input
            : { ...plan, condition: rest };
      return withKeys(below, split.inner, split.outer);
    }
    case 'project': {
      const below = withoutQuestions(plan.input);
      if (below === undefined || plan.expressions.some(speaksOfOuter)) return undefined;
      const from = below.plan.columns.length - below.keys.length;
      const keys = below.plan.columns.slice(from);
      return {
        ...below,
        plan: {
          ...plan,
          input: below.plan,
          expressions: [...plan.expressions, ...columnsAsExpressions(keys, from)],
          columns: [...plan.columns, ...keys],
        },
      };
    }
    case 'aggregate': {
      const below = withoutQuestions(plan.input);
      if (below === undefined || below.answersEmpty || plan.keys.length > 0) return undefined;
      if (
        plan.calls.some((call) =>
          [...call.args, ...(call.filter ? [call.filter] : [])].some(speaksOfOuter),
        )
      )
        return undefined;
      const from = below.plan.columns.length - below.keys.length;
      const keys = below.plan.columns.slice(from);
      const grouped = node({
        ...plan,
        input: below.plan,
        keys: columnsAsExpressions(keys, from),
        columns: [...keys, ...plan.columns],
      });
      const order = [
        ...plan.columns.map((each, index) => column(keys.length + index, each)),
        ...columnsAsExpressions(keys),
      ];
      return {
        plan: node({
          kind: 'project',
          input: { ...grouped, id: plan.id } as PlanNode,
          expressions: order,
          columns: [...plan.columns, ...keys],
        }),
        keys: below.keys,
        answersEmpty: true,
      };
    }
    default:
      return undefined;
  }
}

function withKeys(
  input: PlanNode,
  inner: readonly Expression[],
  outer: readonly Expression[],
): Stripped {
  const keys = inner.map((each): OutputColumn => ({
    name: 'key',
    type: each.type,
    nullable: true,
  }));
  return {
    plan: node({
      kind: 'project',
      input,
      expressions: [...columnsAsExpressions(input.columns), ...inner],
      columns: [...input.columns, ...keys],
    }),
    keys: outer,
    answersEmpty: false,
  };
}

/** The conjuncts `inner = outer`, and the others, which speak of the subquery's own rows only. */
function questionsOf(
  condition: Expression | undefined,
): { inner: Expression[]; outer: Expression[]; others: Expression[] } | undefined {
  const inner: Expression[] = [];
  const outer: Expression[] = [];
  const others: Expression[] = [];
  for (const conjunct of condition === undefined ? [] : conjunctsOf(condition)) {
    if (!speaksOfOuter(conjunct)) {
      others.push(conjunct);
      continue;
    }
    if (conjunct.kind !== 'call' || !conjunct.fn.startsWith('=(') || conjunct.args.length !== 2)
      return undefined;
    const [a, b] = conjunct.args as [Expression, Expression];
    const sides =
      onlyOuter(a) && !speaksOfOuter(b)
        ? [b, a]
        : onlyOuter(b) && !speaksOfOuter(a)
          ? [a, b]
          : undefined;
    if (sides === undefined || a.type.kind !== b.type.kind || isVolatile(conjunct))
      return undefined;
    inner.push(sides[0]!);
    outer.push(
      rewrite(sides[1]!, (each): Expression => {
        if (each.kind !== 'outerColumn') return each;
        const { index, type, nullable, name } = each;
        return { kind: 'column', index, type, nullable, name };
      }),
    );
  }
  return { inner, outer, others };
}

function speaksOfOuter(expression: Expression): boolean {
  return someNode(expression, (each) => each.kind === 'outerColumn');
}

function onlyOuter(expression: Expression): boolean {
  return (
    speaksOfOuter(expression) &&
    referencedColumns(expression).size === 0 &&
    !someNode(expression, (each) => each.kind === 'outerColumn' && each.depth > 1)
  );
}
