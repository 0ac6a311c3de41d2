import { BOOLEAN, INT8, TEXT, type SqlType } from '../columns/types.ts';
import { resolveOperator } from '../expressions/catalog.ts';
import type { Expression } from '../expressions/expression.ts';
import { mapColumns } from '../expressions/fold.ts';
import type { AggregateCall, JoinNode, OutputColumn, PlanNode } from '../plan/logical.ts';
import {
  column,
  columnsAsExpressions,
  conjunction,
  constant,
  filtered,
  mapInputs,
  node,
  planIsVolatile,
  projected,
} from '../plan/nodes.ts';

/**
 * A plan said with what can be kept up to date: inner joins, unions, groups, and rows repeated as often as a count says.
 *
 * - A semi join is an inner join with the keys there are; an anti join counts a row beside its partners and keeps those without
 *   any; an outer join is the inner one, and the rows of the anti joins filled up with NULLs.
 * - INTERSECT and EXCEPT count each row on both sides.
 * - WITH is put in where it is read; the order of rows says nothing in a view.
 */
export function maintainable(plan: PlanNode): PlanNode {
  return rewritten(inlined(plan, new Map()));
}

function inlined(plan: PlanNode, ctes: ReadonlyMap<number, PlanNode>): PlanNode {
  if (plan.kind === 'cteScan') return ctes.get(plan.cte) ?? plan;
  if (plan.kind !== 'cte') return mapInputs(plan, (input) => inlined(input, ctes));
  // Read twice, a volatile query would be two.
  if (plan.ctes.some((cte) => planIsVolatile(cte.plan))) return plan;
  const known = new Map(ctes);
  for (const cte of plan.ctes) known.set(cte.cte, inlined(cte.plan, known));
  return inlined(plan.body, known);
}

function rewritten(plan: PlanNode): PlanNode {
  const inner = mapInputs(plan, rewritten);
  switch (inner.kind) {
    case 'sort':
      return inner.keep === undefined ? inner.input : inner;
    case 'join':
      return inner.type === 'inner' ? inner : expandedJoin(inner);
    case 'setOperation':
      return expandedSetOperation(inner);
    default:
      return inner;
  }
}

// ── Joins ──────────────────────────────────────────────────────────────────────────────────────────────────────

function expandedJoin(plan: JoinNode): PlanNode {
  switch (plan.type) {
    case 'semi':
      return plan.residual === undefined ? semi(plan) : partnered(plan, 'with');
    case 'anti':
      return partnered(plan.nullAware ? withoutNulls(plan) : plan, 'without');
    case 'left':
    case 'right':
    case 'full':
      return outer(plan);
    default:
      return plan;
  }
}

function innerJoin(
  left: PlanNode,
  right: PlanNode,
  keys: JoinNode['keys'],
  residual: Expression | undefined,
): PlanNode {
  return node({
    kind: 'join',
    type: 'inner',
    left,
    right,
    keys,
    residual,
    nullAware: false,
    build: 'right',
    columns: [...left.columns, ...right.columns],
  });
}

/** Each key of the right side once, so that a row of the left one finds at most one. */
function keysOfRight(plan: JoinNode): PlanNode {
  const columns = plan.keys.map(({ right }, index): OutputColumn => ({
    name: `key${index}`,
    type: right.type,
    nullable: true,
  }));
  const keys = projected(
    plan.right,
    plan.keys.map(({ right }) => right),
    columns,
  );
  return node({ kind: 'distinct', input: keys, columns });
}

/** Rows of the left side, each as often as there is a partner; without a residual condition, once. */
function matches(plan: JoinNode): PlanNode {
  const { left } = plan;
  const joined =
    plan.residual === undefined && plan.keys.length > 0
      ? innerJoin(
          left,
          keysOfRight(plan),
          plan.keys.map((key, index) => ({
            left: key.left,
            right: column(index, { name: '', type: key.right.type, nullable: true }),
          })),
          undefined,
        )
      : innerJoin(left, plan.right, plan.keys, plan.residual);
  return node({
    kind: 'project',
    input: joined,
    expressions: columnsAsExpressions(left.columns),
    columns: left.columns,
  });
}

function semi(plan: JoinNode): PlanNode {
  return plan.keys.length > 0 ? matches(plan) : partnered(plan, 'with');
}

/** Rows of the left side that have partners, or have none, as often as they come there. */
function partnered(plan: JoinNode, which: 'with' | 'without'): PlanNode {
  return counted(plan.left, matches(plan), plan.left.columns, 'identical', (own, partners) => ({
    keeps: compared(which === 'with' ? '>' : '=', partners, ZERO),
    times: own,
  }));
}

function outer(plan: JoinNode): PlanNode {
  const width = plan.left.columns.length;
  const { columns } = plan;
  const found = node({
    ...innerJoin(plan.left, plan.right, plan.keys, plan.residual),
    columns,
  } as PlanNode);
  const inputs = [found];
  const nulls = (from: number, to: number): Expression[] =>
    columns.slice(from, to).map(({ type }) => constant(null, type));
  if (plan.type !== 'right') {
    const alone = partnered(plan, 'without');
    inputs.push(
      node({
        kind: 'project',
        input: alone,
        expressions: [
          ...columnsAsExpressions(columns.slice(0, width)),
          ...nulls(width, columns.length),
        ],
        columns,
      }),
    );
  }
  if (plan.type !== 'left') {
    const alone = partnered(mirrored(plan), 'without');
    inputs.push(
      node({
        kind: 'project',
        input: alone,
        expressions: [...nulls(0, width), ...columnsAsExpressions(columns.slice(width))],
        columns,
      }),
    );
  }
  return node({ kind: 'unionAll', inputs, columns });
}

/** The same join seen from its right side. */
function mirrored(plan: JoinNode): JoinNode {
  const width = plan.left.columns.length;
  const move = (index: number): number =>
    index < width ? index + plan.right.columns.length : index - width;
  return {
    ...plan,
    left: plan.right,
    right: plan.left,
    keys: plan.keys.map(({ left, right }) => ({ left: right, right: left })),
    ...(plan.residual === undefined ? {} : { residual: movedColumns(plan.residual, move) }),
    columns: [...plan.right.columns, ...plan.left.columns],
  };
}

/** NOT IN: of a list with a NULL nothing is left; without any, and of an empty list, all. */
function withoutNulls(plan: JoinNode): JoinNode {
  const [key] = plan.keys;
  const { left } = plan;
  const width = left.columns.length;
  const counts = node({
    kind: 'aggregate',
    input: plan.right,
    keys: [],
    calls: [countOf(undefined), countOf({ kind: 'isNull', arg: key!.right, type: BOOLEAN })],
    columns: [COUNT, COUNT],
  });
  const joined = innerJoin(left, counts, [], undefined);
  const [all, nullCount] = [column(width, COUNT), column(width + 1, COUNT)];
  const kept = filtered(joined, [
    {
      kind: 'or',
      args: [
        compared('=', all, ZERO),
        {
          kind: 'and',
          args: [
            compared('=', nullCount, ZERO),
            { kind: 'isNotNull', arg: key!.left, type: BOOLEAN },
          ],
          type: BOOLEAN,
        },
      ],
      type: BOOLEAN,
    },
  ]);
  const rows = node({
    kind: 'project',
    input: kept,
    expressions: columnsAsExpressions(left.columns),
    columns: left.columns,
  });
  return { ...plan, left: rows, nullAware: false };
}

// ── Set operations ─────────────────────────────────────────────────────────────────────────────────────────────

function expandedSetOperation(plan: Extract<PlanNode, { kind: 'setOperation' }>): PlanNode {
  const isIntersect = plan.operation === 'intersect';
  return counted(plan.left, plan.right, plan.columns, 'equal', (left, right) => {
    if (!plan.all)
      return {
        keeps: conjunction([
          compared('>', left, ZERO),
          compared(isIntersect ? '>' : '=', right, ZERO),
        ])!,
        times: ONE,
      };
    const less = compared('<', left, right);
    return isIntersect
      ? {
          keeps: conjunction([compared('>', left, ZERO), compared('>', right, ZERO)])!,
          times: {
            kind: 'case',
            branches: [{ when: less, then: left }],
            otherwise: right,
            type: INT8,
          },
        }
      : { keeps: compared('>', left, right), times: resolveOperator('-', left, right) };
  });
}

// ── Counting ───────────────────────────────────────────────────────────────────────────────────────────────────

const COUNT: OutputColumn = { name: 'count', type: INT8, nullable: false };
const ZERO = constant(0, INT8);
const ONE = constant(1, INT8);

function compared(symbol: string, left: Expression, right: Expression): Expression {
  return resolveOperator(symbol, left, right);
}

function countOf(filter: Expression | undefined): AggregateCall {
  return {
    fn: 'count',
    args: [],
    distinct: false,
    ...(filter === undefined ? {} : { filter }),
    orderBy: [],
    type: INT8,
  };
}

/**
 * Counts each row in two inputs of the same columns; what of it is kept, and how often, is said of the counts. `identical`: rows
 * that are equal and look different (1.0 and 1.00) are two.
 */
function counted(
  left: PlanNode,
  right: PlanNode,
  columns: readonly OutputColumn[],
  sameness: 'identical' | 'equal',
  decide: (
    left: Expression,
    right: Expression,
  ) => { readonly keeps: Expression; readonly times: Expression },
): PlanNode {
  const width = columns.length;
  const different = columns.flatMap(({ type }, index) =>
    sameness === 'identical' && mayLookDifferent(type) ? [index] : [],
  );
  const looks = different.map((index): Expression => ({
    kind: 'cast',
    arg: column(index, columns[index]!),
    type: TEXT,
    explicit: true,
  }));
  const side = { name: 'side', type: BOOLEAN, nullable: false };
  const marked = (input: PlanNode, isLeft: boolean): PlanNode =>
    node({
      kind: 'project',
      input,
      expressions: [...columnsAsExpressions(input.columns), ...looks, constant(isLeft, BOOLEAN)],
      columns: [
        ...columns,
        ...looks.map(() => ({ name: 'look', type: TEXT, nullable: true })),
        side,
      ],
    });
  const inputs = [marked(left, true), marked(right, false)];
  const both = node({ kind: 'unionAll', inputs, columns: inputs[0]!.columns });
  const keyCount = width + looks.length;
  const keys = columnsAsExpressions(both.columns.slice(0, keyCount));
  const isLeft = column(keyCount, side);
  const groups = node({
    kind: 'aggregate',
    input: both,
    keys,
    calls: [countOf(isLeft), countOf({ kind: 'not', arg: isLeft, type: BOOLEAN })],
    columns: [...both.columns.slice(0, keyCount), COUNT, COUNT],
  });
  const { keeps, times } = decide(column(keyCount, COUNT), column(keyCount + 1, COUNT));
  return node({
    kind: 'project',
    input: node({
      kind: 'repeat',
      input: filtered(groups, [keeps]),
      times,
      columns: groups.columns,
    }),
    // A group shows one look of its equal keys; the text has the one that is meant.
    expressions: columns.map((each, index) => {
      const look = different.indexOf(index);
      if (look < 0) return column(index, each);
      const text = column(width + look, { name: 'look', type: TEXT, nullable: true });
      return { kind: 'cast', arg: text, type: each.type, explicit: true };
    }),
    columns,
  });
}

function mayLookDifferent({ kind }: SqlType): boolean {
  return kind === 'numeric' || kind === 'float4' || kind === 'float8';
}

function movedColumns(expression: Expression, move: (index: number) => number): Expression {
  return mapColumns(expression, (each) => ({ ...each, index: move(each.index) }));
}
