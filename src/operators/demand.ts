import { BATCH_ROW_COUNT_MAX } from '../columns/batch.ts';
import type { SqlType } from '../columns/types.ts';
import type { Vector } from '../columns/vector.ts';
import type { Expression } from '../expressions/expression.ts';
import { isVolatile, referencedColumns } from '../expressions/fold.ts';
import type { AggregateCall, AggregateNode, PlanNode, SortKey, SortNode } from '../plan/logical.ts';

/**
 * What the reader of an operator makes of its rows. Where order does not count, scans hand out segments as they lie and groups
 * leave unsorted; columns that nobody looks at may hold anything of their type. Neither is ever visible in an answer (law 2).
 */
export type Demand = {
  /** Rows come in arrival order. */
  readonly ordered: boolean;
  /** Each batch says its row ids, good until the next one: whoever asks tells the order by them. Only of filtered, projected scans. */
  readonly marked: boolean;
  /** undefined: all. */
  readonly columns: ReadonlySet<number> | undefined;
};

/** What stands at a query's end. */
export const EVERYTHING: Demand = { ordered: true, marked: false, columns: undefined };

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
    marked: demand.marked,
    columns: withColumns(demand.columns, [condition]),
  };
}

/** What a projection asks of its input. */
export function projectDemand(demand: Demand, expressions: readonly Expression[]): Demand {
  return {
    ordered: demand.ordered || expressions.some(isVolatile),
    marked: demand.marked,
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
    marked: false,
    columns: withColumns(new Set(), [...node.keys, ...expressions]),
  };
}

/**
 * How rows that tie get into arrival order: as they come, by row id, or by further keys, because the arrival order of groups is that of
 * their keys. The last two spare the input the order, and a top-k looks at few rows anyway.
 */
export type Ties = 'as they come' | 'by row id' | readonly SortKey[];

export function tiesOf(node: SortNode): Ties {
  let plan: PlanNode = node.input;
  /** By column of `plan`: where it stands in the sort's input, and whether the sort goes by it already. */
  let places = new Map(plan.columns.map((_, index) => [index, index]));
  const sorted = new Set<number>();
  for (const { expression, collation } of node.keys)
    if (expression.kind === 'column' && collation === undefined) sorted.add(expression.index);
  for (;;) {
    if (plan.kind === 'filter') plan = plan.input;
    else if (plan.kind === 'project') {
      const below = new Map<number, number>();
      plan.expressions.forEach((expression, index) => {
        const place = places.get(index);
        if (place === undefined || expression.kind !== 'column') return;
        if (!below.has(expression.index) || sorted.has(place)) below.set(expression.index, place);
      });
      places = below;
      plan = plan.input;
    } else break;
  }
  if (plan.kind === 'scan') return node.keep === undefined ? 'as they come' : 'by row id';
  if (plan.kind !== 'aggregate') return 'as they come';
  const keys: SortKey[] = [];
  for (let key = 0; key < plan.keys.length; key += 1) {
    const index = places.get(key);
    if (index === undefined) return 'as they come';
    const { type, nullable, name } = node.input.columns[index]!;
    const expression = { kind: 'column', index, type, nullable, name } as const;
    if (!sorted.has(index)) keys.push({ expression, descending: false, nullsFirst: false });
  }
  return keys;
}

/** What a sort asks of its input. */
export function sortDemand(demand: Demand, { keys }: SortNode, ties: Ties): Demand {
  return {
    ordered: ties === 'as they come',
    marked: ties === 'by row id',
    columns: withColumns(
      demand.columns,
      keys.map((key) => key.expression),
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

function withColumns(
  columns: ReadonlySet<number> | undefined,
  expressions: readonly Expression[],
): Set<number> | undefined {
  if (columns === undefined) return undefined;
  const all = new Set(columns);
  for (const expression of expressions) referencedColumns(expression, all);
  return all;
}
