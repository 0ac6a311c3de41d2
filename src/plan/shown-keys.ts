import type { SqlType } from '../columns/types.ts';
import type { Expression } from '../expressions/expression.ts';
import type { AggregateCall, AggregateNode } from './logical.ts';

/**
 * Equal numerics of different scales are one group, and the one with the longest scale stands for all (law 2). A table of
 * keys knows the longest it has ever seen, in whatever group; of one group, and after rows have left it, that is min() of
 * the key: all its values are equal. So it is computed behind the other columns, and shown in the place of the key.
 */
export function withShownKeys(plan: AggregateNode): AggregateNode {
  const keys = manifoldKeys(plan);
  if (keys.length === 0) return plan;
  return {
    ...plan,
    columns: [...plan.columns, ...keys.map((index) => plan.columns[index]!)],
    calls: [
      ...plan.calls,
      ...keys.map((index): AggregateCall => ({
        fn: 'min',
        args: [plan.keys[index]!],
        distinct: false,
        orderBy: [],
        type: plan.keys[index]!.type,
      })),
    ],
  };
}

/** The columns of `plan`, as they stand in what `withShownKeys` makes of it. */
export function shownPlaces(plan: AggregateNode): Expression[] {
  const keys = manifoldKeys(plan);
  return plan.columns.map(({ name, type, nullable }, column) => {
    const hidden = keys.indexOf(column);
    const index = hidden < 0 ? column : plan.columns.length + hidden;
    return { kind: 'column', index, type, nullable, name };
  });
}

/** Whether equal values may have different scales. */
export function isScaleFree(type: SqlType): boolean {
  return type.kind === 'numeric' && type.scale === undefined;
}

function manifoldKeys(plan: AggregateNode): readonly number[] {
  return plan.keys.flatMap(({ type }, index) => (isScaleFree(type) ? [index] : []));
}
