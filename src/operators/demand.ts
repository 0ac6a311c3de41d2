import { BATCH_ROW_COUNT_MAX } from '../columns/batch.ts';
import type { SqlType } from '../columns/types.ts';
import type { Vector } from '../columns/vector.ts';
import type { Expression } from '../expressions/expression.ts';
import { isVolatile, referencedColumns } from '../expressions/fold.ts';
import type { AggregateCall, AggregateNode, PlanNode, SortNode } from '../plan/logical.ts';

/**
 * What the reader of an operator makes of its rows. Where order does not count, scans hand out segments as they lie and groups
 * leave unsorted; columns that nobody looks at may hold anything of their type. Neither is ever visible in an answer (law 2).
 */
export type Demand = {
  readonly ordered: boolean;
  /** undefined: all. */
  readonly columns: ReadonlySet<number> | undefined;
};

/** What stands at a query's end. */
export const EVERYTHING: Demand = { ordered: true, columns: undefined };

export function isDemanded({ columns }: Demand, column: number): boolean {
  return columns === undefined || columns.has(column);
}

/** Stands for a column that nobody looks at, in a batch of any size. */
export function unseenVector(type: SqlType): Vector {
  return { rep: 'object', type, values: NULLS };
}

const NULLS: readonly null[] = Array.from({ length: BATCH_ROW_COUNT_MAX }, () => null);

/** What a filter asks of its input. */
export function filterDemand(demand: Demand, condition: Expression): Demand {
  return {
    ordered: demand.ordered || isVolatile(condition),
    columns: withColumns(demand.columns, [condition]),
  };
}

/** What a projection asks of its input. */
export function projectDemand(demand: Demand, expressions: readonly Expression[]): Demand {
  return {
    ordered: demand.ordered || expressions.some(isVolatile),
    columns: withColumns(new Set(), expressions),
  };
}

/** What an aggregation asks of its input: arrival order only where an aggregate or a key shows it. */
export function aggregateDemand(node: AggregateNode): Demand {
  const expressions = node.calls.flatMap((call) => [
    ...call.args,
    ...(call.filter === undefined ? [] : [call.filter]),
    ...call.orderBy.map((key) => key.expression),
  ]);
  return {
    ordered:
      !node.keys.every((key) => isOrderFree(key.type)) ||
      !node.calls.every(isOrderFreeCall) ||
      [...node.keys, ...expressions].some(isVolatile),
    columns: withColumns(new Set(), [...node.keys, ...expressions]),
  };
}

/** What a sort asks of its input: ties stay in arrival order, so order counts unless there can be none. */
export function sortDemand(demand: Demand, node: SortNode): Demand {
  return {
    ordered: !hasNoTies(node),
    columns: withColumns(
      demand.columns,
      node.keys.map((key) => key.expression),
    ),
  };
}

/** Whether rows of one type that count as equal are the same to look at. (numeric: the interner shows the longest scale.) */
export function isOrderFree({ kind }: SqlType): boolean {
  return kind !== 'interval' && kind !== 'bpchar';
}

function isOrderFreeCall(call: AggregateCall): boolean {
  switch (call.fn) {
    case 'string_agg':
    case 'mode':
      return false;
    case 'percentile_cont':
    case 'percentile_disc':
      // Which of equal values it is cannot be seen.
      return call.args.every(({ type }) => isOrderFree(type) && type.kind !== 'numeric');
    case 'count':
      return true;
    default:
      // The first of equal numerics, 1.0 or 1.00, is the one that DISTINCT adds.
      return call.args.every(
        ({ type }) => isOrderFree(type) && !(call.distinct && type.kind === 'numeric'),
      );
  }
}

/** Sort keys that hold every key of the groups they order. */
function hasNoTies({ input, keys }: SortNode): boolean {
  let plan: PlanNode = input;
  let sorted = new Set<number>();
  for (const { expression, collation } of keys)
    if (expression.kind === 'column' && collation === undefined) sorted.add(expression.index);
  for (;;) {
    if (plan.kind === 'filter') plan = plan.input;
    else if (plan.kind === 'project') {
      const below = new Set<number>();
      for (const index of sorted) {
        const expression = plan.expressions[index];
        if (expression?.kind === 'column') below.add(expression.index);
      }
      sorted = below;
      plan = plan.input;
    } else return plan.kind === 'aggregate' && plan.keys.every((_, index) => sorted.has(index));
  }
}

function withColumns(
  columns: ReadonlySet<number> | undefined,
  expressions: readonly Expression[],
): Set<number> | undefined {
  if (columns === undefined) return undefined;
  const all = new Set(columns);
  for (const expression of expressions) referencedColumns(expression, all);
  return all;
}
