import type { Expression, InListExpression } from '../expressions/expression.ts';
import { isWidening } from '../expressions/coercion.ts';
import { isSettled, mapColumns, referencedColumns } from '../expressions/fold.ts';
import type { PlanStatistics } from './catalog.ts';
import type { JoinNode, OutputColumn, PlanNode, ScanNode } from './logical.ts';
import {
  columnsAsExpressions,
  conjunction,
  conjunctsOf,
  filtered,
  mapInputs,
  node,
  projected,
} from './nodes.ts';

/**
 * The order of inner joins: begins with the smallest input and goes on with the connected one that keeps the result
 * smallest, by estimated rows. Greedy, so sixty-four tables take a millisecond. Also chooses the side a hash table is built of.
 */
export function orderJoins(plan: PlanNode, statistics: PlanStatistics): PlanNode {
  if (plan.kind === 'join' && plan.type === 'inner') {
    const graph = flatten(plan, 0);
    if (graph.leaves.length > 2) {
      const leaves = graph.leaves.map((leaf) => ({
        ...leaf,
        plan: orderJoins(leaf.plan, statistics),
      }));
      return arrange(leaves, graph.conditions, plan.columns, statistics);
    }
  }
  const inner = mapInputs(plan, (input) => orderJoins(input, statistics));
  if (inner.kind !== 'join' || inner.type !== 'inner') return inner;
  // The right side is built unless the left one is clearly smaller.
  const build =
    estimateRows(inner.left, statistics) * 2 < estimateRows(inner.right, statistics)
      ? 'left'
      : 'right';
  return build === inner.build ? inner : { ...inner, build };
}

type Leaf = { readonly plan: PlanNode; readonly offset: number };

/** Leaves of a tree of inner joins, and its conditions over the columns of the whole tree. */
function flatten(plan: PlanNode, offset: number): { leaves: Leaf[]; conditions: Expression[] } {
  if (plan.kind !== 'join' || plan.type !== 'inner')
    return { leaves: [{ plan, offset }], conditions: [] };
  const width = plan.left.columns.length;
  const left = flatten(plan.left, offset);
  const right = flatten(plan.right, offset + width);
  const shift = (expression: Expression, by: number): Expression =>
    by === 0 ? expression : mapColumns(expression, (each) => ({ ...each, index: each.index + by }));
  const own = plan.keys.map((key): Expression => ({
    kind: 'call',
    fn: KEY,
    args: [shift(key.left, offset), shift(key.right, offset + width)],
    type: { kind: 'boolean' },
  }));
  if (plan.residual !== undefined)
    own.push(...conjunctsOf(plan.residual).map((conjunct) => shift(conjunct, offset)));
  return {
    leaves: [...left.leaves, ...right.leaves],
    conditions: [...left.conditions, ...right.conditions, ...own],
  };
}

/** Marks an equality that was a key of a join, while the tree is taken apart. */
const KEY = 'join key';

function arrange(
  leaves: readonly Leaf[],
  conditions: readonly Expression[],
  columns: readonly OutputColumn[],
  statistics: PlanStatistics,
): PlanNode {
  const sizes = leaves.map((leaf) => Math.max(1, estimateRows(leaf.plan, statistics)));
  const leafOf = (index: number): number =>
    leaves.findIndex(({ plan, offset }) => index >= offset && index < offset + plan.columns.length);
  const uses = conditions.map(
    (condition) => new Set([...referencedColumns(condition)].map(leafOf)),
  );
  const left = new Set(leaves.map((_, index) => index));
  const applied = new Set<number>();

  let first = 0;
  for (const index of left) if (sizes[index]! < sizes[first]!) first = index;
  // A connected start is worth more than a small one.
  const connected = (index: number): boolean =>
    uses.some((each) => each.size > 1 && each.has(index));
  if (!connected(first))
    for (const index of left)
      if (connected(index) && (!connected(first) || sizes[index]! < sizes[first]!)) first = index;
  left.delete(first);
  const placed = new Map<number, number>();
  const place = (leaf: number, at: number): void => {
    leaves[leaf]!.plan.columns.forEach((_, index) =>
      placed.set(leaves[leaf]!.offset + index, at + index),
    );
  };
  place(first, 0);
  let plan = leaves[first]!.plan;
  let rows = sizes[first]!;
  const inPlace = new Set([first]);

  while (left.size > 0) {
    let best = -1;
    let bestRows = Infinity;
    for (const candidate of left) {
      const links = uses.filter(
        (each, index) =>
          !applied.has(index) &&
          each.has(candidate) &&
          [...each].every((leaf) => leaf === candidate || inPlace.has(leaf)),
      );
      const keyed = conditions.some(
        (condition, index) =>
          !applied.has(index) &&
          isKey(condition) &&
          uses[index]!.has(candidate) &&
          [...uses[index]!].every((leaf) => leaf === candidate || inPlace.has(leaf)),
      );
      // An equality is taken to leave the larger side's rows; each further condition a third.
      const result = keyed
        ? Math.max(rows, sizes[candidate]!) * 0.33 ** Math.max(0, links.length - 1)
        : rows * sizes[candidate]! * (links.length > 0 ? 0.33 : 1);
      if (result < bestRows || (result === bestRows && sizes[candidate]! < sizes[best]!)) {
        best = candidate;
        bestRows = result;
      }
    }
    left.delete(best);
    const width = plan.columns.length;
    place(best, width);
    inPlace.add(best);
    const keys: JoinNode['keys'][number][] = [];
    const residual: Expression[] = [];
    conditions.forEach((condition, index) => {
      if (applied.has(index) || ![...uses[index]!].every((leaf) => inPlace.has(leaf))) return;
      applied.add(index);
      if (isKey(condition)) {
        const [a, b] = condition.args as [Expression, Expression];
        const onRight = (expression: Expression): boolean =>
          [...referencedColumns(expression)].every((each) => leafOf(each) === best);
        const onLeft = (expression: Expression): boolean =>
          [...referencedColumns(expression)].every((each) => leafOf(each) !== best);
        const toRight = (expression: Expression): Expression =>
          mapColumns(expression, (each) => ({ ...each, index: placed.get(each.index)! - width }));
        const toLeft = (expression: Expression): Expression =>
          mapColumns(expression, (each) => ({ ...each, index: placed.get(each.index)! }));
        if (onLeft(a) && onRight(b)) {
          keys.push({ left: toLeft(a), right: toRight(b) });
          return;
        }
        if (onLeft(b) && onRight(a)) {
          keys.push({ left: toLeft(b), right: toRight(a) });
          return;
        }
        residual.push(
          mapColumns(equalityOf(condition), (each) => ({
            ...each,
            index: placed.get(each.index)!,
          })),
        );
        return;
      }
      residual.push(mapColumns(condition, (each) => ({ ...each, index: placed.get(each.index)! })));
    });
    const right = leaves[best]!.plan;
    const joinedColumns = [...plan.columns, ...right.columns];
    plan = node({
      kind: 'join',
      type: 'inner',
      left: plan,
      right,
      keys,
      residual: conjunction(residual),
      nullAware: false,
      build: rows * 2 < sizes[best]! ? 'left' : 'right',
      columns: joinedColumns,
    });
    rows = Math.max(1, bestRows);
  }
  const rest = conditions.filter((_, index) => !applied.has(index));
  plan = filtered(plan, rest);
  // Columns go back to the order they were written in.
  const expressions = columns.map(
    (each, index) => columnsAsExpressions([each], placed.get(index)!)[0]!,
  );
  return projected(plan, expressions, columns);
}

function isKey(condition: Expression): condition is Extract<Expression, { kind: 'call' }> {
  return condition.kind === 'call' && condition.fn === KEY;
}

function equalityOf(condition: Extract<Expression, { kind: 'call' }>): Expression {
  const { kind } = condition.args[0]!.type;
  return {
    ...condition,
    fn: `=(${kind === 'varchar' ? 'text' : kind},${kind === 'varchar' ? 'text' : kind})`,
  };
}

/** Rows a plan gives, roughly. */
export function estimateRows(plan: PlanNode, statistics: PlanStatistics): number {
  switch (plan.kind) {
    case 'scan': {
      const rows = statistics.rowCount(plan.relation);
      return plan.filter === undefined
        ? rows
        : Math.min(rows * selectivity(plan.filter), rowsByKey(plan, plan.filter, statistics));
    }
    case 'values':
      return plan.rows.length;
    case 'literals':
      return plan.rows.rowCount;
    case 'series':
      return 1000;
    case 'filter':
      return estimateRows(plan.input, statistics) * selectivity(plan.condition);
    case 'aggregate': {
      if (plan.keys.length === 0) return 1;
      return Math.max(1, estimateRows(plan.input, statistics) / 10);
    }
    case 'join': {
      const left = estimateRows(plan.left, statistics);
      const right = estimateRows(plan.right, statistics);
      if (plan.type === 'semi' || plan.type === 'anti') return left / 2;
      return plan.keys.length > 0 ? Math.max(left, right) : left * right;
    }
    case 'lateral':
      return estimateRows(plan.left, statistics) * estimateRows(plan.right, statistics);
    case 'limit': {
      const rows = estimateRows(plan.input, statistics);
      return plan.limit?.kind === 'constant' && typeof plan.limit.value === 'number'
        ? Math.min(rows, plan.limit.value)
        : rows;
    }
    case 'unionAll':
      return plan.inputs.reduce((sum, input) => sum + estimateRows(input, statistics), 0);
    case 'setOperation':
      return estimateRows(plan.left, statistics);
    case 'cte':
      return estimateRows(plan.body, statistics);
    case 'cteScan':
    case 'recursive':
      return 1000;
    default:
      return estimateRows(plan.input, statistics);
  }
}

/** Rows that a scan gives at most: one for each value that its filter lists of a unique key. */
function rowsByKey(
  { relation, columnIndexes }: ScanNode,
  filter: Expression,
  statistics: PlanStatistics,
): number {
  const lists = conjunctsOf(filter).flatMap((each) => {
    const { sides, count } = listedBy(each);
    const columns = sides.map((side) =>
      side.kind === 'cast' && isWidening(side) ? side.arg : side,
    );
    return columns.every((column) => column.kind === 'column')
      ? [{ columns: columns.map(({ index }) => columnIndexes[index]!), count }]
      : [];
  });
  let least = Infinity;
  for (const key of statistics.uniqueKeys(relation)) {
    const counts = key.map((column) =>
      lists.reduce(
        (fewest, list) => (list.columns.includes(column) ? Math.min(fewest, list.count) : fewest),
        Infinity,
      ),
    );
    // A list of rows has all of them.
    for (const { columns, count } of lists)
      if (key.every((column) => columns.includes(column))) least = Math.min(least, count);
    least = Math.min(
      least,
      counts.reduce((product, count) => product * count, 1),
    );
  }
  return least;
}

/** What a condition holds to so many values, which are the same for all rows. */
function listedBy(condition: Expression): {
  readonly sides: readonly Expression[];
  readonly count: number;
} {
  if (condition.kind === 'inList' && !condition.negated)
    return { sides: condition.args, count: listedCount(condition) };
  if (condition.kind === 'call' && condition.fn.startsWith('=(')) {
    const [left, right] = condition.args as [Expression, Expression];
    if (isSettled(right)) return { sides: [left], count: 1 };
    if (isSettled(left)) return { sides: [right], count: 1 };
  }
  return { sides: [], count: Infinity };
}

/** Rows that are listed; of an array nobody knows before it is given. */
function listedCount({ args, values, others, array }: InListExpression): number {
  return (
    (values.length + others.length) / args.length + (array === undefined ? 0 : ARRAY_ITEMS_GUESS)
  );
}

/** As PostgreSQL has it. */
const ARRAY_ITEMS_GUESS = 10;

function selectivity(condition: Expression): number {
  let share = 1;
  for (const conjunct of conjunctsOf(condition)) {
    if (conjunct.kind === 'call' && conjunct.fn.startsWith('=(')) share *= 0.05;
    else if (conjunct.kind === 'inList') {
      const listed = Math.min(0.5, 0.05 * listedCount(conjunct));
      share *= conjunct.negated ? 1 - listed : listed;
    } else share *= 0.33;
  }
  return share;
}
