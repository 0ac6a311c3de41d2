import type { Expression } from '../expressions/expression.ts';
import type { LateralNode, OutputColumn, PlanNode } from './logical.ts';
import {
  column,
  columnsAsExpressions,
  conjunction,
  filtered,
  hasOuterColumns,
  mapInputs,
  node,
  rewrite,
  withoutOuter,
} from './nodes.ts';

/**
 * Lateral joins whose right side speaks of the left row only in projections and filters become plain joins: what they say of the
 * row moves above. Others are computed row by row.
 */
export function unnestLaterals(plan: PlanNode): PlanNode {
  const inner = mapInputs(plan, unnestLaterals);
  return inner.kind === 'lateral' ? (unnested(inner) ?? inner) : inner;
}

/** A right side taken apart: rows that speak of nobody, and what is said of them and the left row. */
type Apart = {
  readonly rows: PlanNode;
  /** Over left columns, then those of `rows`. */
  readonly conditions: readonly Expression[];
  readonly outputs: readonly Expression[];
};

function unnested(plan: LateralNode): PlanNode | undefined {
  const { left } = plan;
  const width = left.columns.length;
  const apart = takenApart(plan.right, left.columns);
  if (apart === undefined) return undefined;
  // A row without partners shows NULLs, whatever would be computed of them.
  if (
    plan.type === 'left' &&
    apart.outputs.some((each) => each.kind !== 'column' || each.index < width)
  )
    return undefined;
  const outputs = [...columnsAsExpressions(left.columns), ...apart.outputs];
  const condition =
    plan.condition === undefined
      ? []
      : [rewrite(plan.condition, (each) => (each.kind === 'column' ? outputs[each.index]! : each))];
  const all = [...apart.conditions, ...condition];
  // A select list without FROM: rows are made as they are asked for, and a LIMIT above ends them.
  if (plan.type === 'inner' && isOneRowOfNothing(left))
    return node({
      kind: 'project',
      input: filtered(apart.rows, all),
      expressions: outputs,
      columns: plan.columns,
    });
  const columns: OutputColumn[] = [
    ...left.columns,
    ...apart.rows.columns.map((each) => ({
      ...each,
      nullable: each.nullable || plan.type === 'left',
    })),
  ];
  const join = node({
    kind: 'join',
    type: plan.type,
    left,
    right: apart.rows,
    keys: [],
    residual: plan.type === 'left' ? conjunction(all) : undefined,
    nullAware: false,
    build: 'right',
    columns,
  });
  return node({
    kind: 'project',
    input: plan.type === 'left' ? join : filtered(join, all),
    expressions: outputs,
    columns: plan.columns,
  });
}

function isOneRowOfNothing(plan: PlanNode): boolean {
  return plan.kind === 'values' && plan.rows.length === 1 && plan.columns.length === 0;
}

function takenApart(plan: PlanNode, left: readonly OutputColumn[]): Apart | undefined {
  const width = left.length;
  if (!hasOuterColumns(plan, 1))
    return {
      // One level less is around it now.
      rows: withoutOuter(plan),
      conditions: [],
      outputs: plan.columns.map((each, index) => column(width + index, each)),
    };
  const over =
    (outputs: readonly Expression[]) =>
    (expression: Expression): Expression =>
      rewrite(expression, (each): Expression => {
        if (each.kind === 'column') return outputs[each.index]!;
        if (each.kind !== 'outerColumn') return each;
        return each.depth === 1
          ? column(each.index, left[each.index]!)
          : { ...each, depth: each.depth - 1 };
      });
  switch (plan.kind) {
    case 'values': {
      const [row, second] = plan.rows;
      if (row === undefined || second !== undefined) return undefined;
      const one = node({ kind: 'values', rows: [[]], columns: [] });
      return { rows: one, conditions: [], outputs: row.map(over([])) };
    }
    case 'project': {
      const below = takenApart(plan.input, left);
      return below && { ...below, outputs: plan.expressions.map(over(below.outputs)) };
    }
    case 'filter': {
      const below = takenApart(plan.input, left);
      return (
        below && {
          ...below,
          conditions: [...below.conditions, over(below.outputs)(plan.condition)],
        }
      );
    }
    case 'join': {
      if (plan.type !== 'inner' || plan.keys.length > 0) return undefined;
      const one = takenApart(plan.left, left);
      const other = takenApart(plan.right, left);
      if (one === undefined || other === undefined) return undefined;
      const before = one.rows.columns.length;
      const behind = (expression: Expression): Expression =>
        rewrite(expression, (each) =>
          each.kind === 'column' && each.index >= width
            ? { ...each, index: each.index + before }
            : each,
        );
      const outputs = [...one.outputs, ...other.outputs.map(behind)];
      const residual = plan.residual === undefined ? [] : [over(outputs)(plan.residual)];
      return {
        rows: node({
          ...plan,
          left: one.rows,
          right: other.rows,
          residual: undefined,
          columns: [...one.rows.columns, ...other.rows.columns],
        }),
        conditions: [...one.conditions, ...other.conditions.map(behind), ...residual],
        outputs,
      };
    }
    default:
      return undefined;
  }
}
