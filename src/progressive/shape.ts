import type { ScanNode, AggregateNode, JoinNode, PlanNode } from '../plan/logical.ts';
import type { TableSnapshot } from '../columns/table-contract.ts';
import type { Expression } from '../expressions/expression.ts';
import { mapColumns } from '../expressions/fold.ts';
import {
  columnsAsExpressions,
  inputsOf,
  mapInputs,
  node,
  numberPlan,
  planIsVolatile,
} from '../plan/nodes.ts';

/**
 * How a query is estimated: one aggregation over rows that are each a function of one row of one relation, the *driving* one, which is sampled.
 * Everything else is read whole.
 */
export type SampledShape = {
  readonly kind: 'sampled';
  /** Numbered anew: joins may have changed sides. */
  readonly plan: PlanNode;
  readonly aggregate: AggregateNode;
  readonly driving: ScanNode;
  /** A driving row gives at most one row. Where not, many rows of a draw belong together and intervals rest on the central limit theorem alone. */
  readonly isSingle: boolean;
  /** Every driving row gives a row: nothing is filtered, nothing joined. */
  readonly isWhole: boolean;
};

export type Shape = SampledShape | { readonly kind: 'exactOnly'; readonly why: string };

/** Above the aggregation. */
const ABOVE: ReadonlySet<PlanNode['kind']> = new Set(['project', 'filter', 'sort', 'limit']);

export function shapeOf(plan: PlanNode, snapshotOf: (relation: number) => TableSnapshot): Shape {
  let above = plan;
  for (; ABOVE.has(above.kind); above = inputsOf(above)[0]!)
    if (above.kind === 'limit' && above.counts !== undefined)
      return exactOnly('LIMIT is a subquery');
  const top = topOf(plan);
  if (top.kind !== 'aggregate')
    return exactOnly(
      top.kind === 'scan' || top.kind === 'join'
        ? 'the query lists rows and adds nothing up'
        : `${WORDS[top.kind] ?? top.kind} above the aggregation needs the whole answer`,
    );
  if (planIsVolatile(plan)) return exactOnly('a volatile function gives another answer each time');
  const choices = drivers(top.input, snapshotOf);
  if (choices.length === 0) return exactOnly(reasonBelow(top.input));
  const size = (choice: Choice): number => snapshotOf(choice.scan.relation).rowCount;
  const best = choices.reduce((a, b) =>
    a.isSingle === b.isSingle ? (size(b) > size(a) ? b : a) : a.isSingle ? a : b,
  );
  // Ids tell which nodes stand for what is put in their place.
  const changed = numberPlan(replaced(plan, top, { ...top, input: best.make(top.input) }));
  let aggregate = changed;
  while (aggregate.kind !== 'aggregate') aggregate = inputsOf(aggregate)[0]!;
  const driving = leftmost(aggregate.input);
  return {
    kind: 'sampled',
    plan: changed,
    aggregate,
    driving,
    isSingle: best.isSingle,
    isWhole: isWholeBelow(aggregate.input),
  };
}

/** The aggregation whose values an answer shows, whether or not it can be estimated. */
export function shownAggregation(plan: PlanNode): AggregateNode | undefined {
  const top = topOf(plan);
  return top.kind === 'aggregate' ? top : undefined;
}

function topOf(plan: PlanNode): PlanNode {
  return ABOVE.has(plan.kind) ? topOf(inputsOf(plan)[0]!) : plan;
}

const WORDS: Readonly<Partial<Record<PlanNode['kind'], string>>> = {
  distinct: 'DISTINCT',
  unionAll: 'UNION',
  setOperation: 'a set operation',
  cte: 'WITH',
  recursive: 'WITH RECURSIVE',
  apply: 'a subquery',
  lateral: 'LATERAL',
  values: 'VALUES',
  series: 'generate_series',
};

function exactOnly(why: string): Shape {
  return { kind: 'exactOnly', why };
}

type Choice = {
  readonly scan: ScanNode;
  readonly isSingle: boolean;
  /** The same rows with the scan leftmost: joins stream their left side. */
  make(plan: PlanNode): PlanNode;
};

function drivers(plan: PlanNode, snapshotOf: (relation: number) => TableSnapshot): Choice[] {
  switch (plan.kind) {
    case 'scan':
      return [{ scan: plan, isSingle: true, make: (same) => same }];
    case 'filter':
    case 'project':
      return drivers(plan.input, snapshotOf).map((choice) => ({
        ...choice,
        make: (same) => mapInputs(same, choice.make),
      }));
    case 'join': {
      const { type } = plan;
      const isExistence = type === 'semi' || type === 'anti';
      const choices: Choice[] = [];
      if (type === 'inner' || type === 'left' || isExistence)
        for (const choice of drivers(plan.left, snapshotOf))
          choices.push({
            scan: choice.scan,
            isSingle:
              choice.isSingle && (isExistence || isUnique(plan.right, rightKeys(plan), snapshotOf)),
            make: (same) => {
              const join = same as JoinNode;
              return { ...join, left: choice.make(join.left) };
            },
          });
      if (type === 'inner' || type === 'right')
        for (const choice of drivers(plan.right, snapshotOf))
          choices.push({
            scan: choice.scan,
            isSingle: choice.isSingle && isUnique(plan.left, leftKeys(plan), snapshotOf),
            make: (same) => {
              const join = same as JoinNode;
              return swapped({ ...join, right: choice.make(join.right) });
            },
          });
      return choices;
    }
    default:
      return [];
  }
}

const rightKeys = (join: JoinNode): Expression[] => join.keys.map((key) => key.right);
const leftKeys = (join: JoinNode): Expression[] => join.keys.map((key) => key.left);

/** Left and right change places; the columns come out where they were. */
function swapped(join: JoinNode): PlanNode {
  const leftWidth = join.left.columns.length;
  const rightWidth = join.right.columns.length;
  const columns = [...join.columns.slice(leftWidth), ...join.columns.slice(0, leftWidth)];
  const turned = node({
    kind: 'join',
    type: join.type === 'right' ? 'left' : join.type,
    left: join.right,
    right: join.left,
    keys: join.keys.map(({ left, right }) => ({ left: right, right: left })),
    residual:
      join.residual === undefined
        ? undefined
        : mapColumns(join.residual, (column) => ({
            ...column,
            index: column.index < leftWidth ? column.index + rightWidth : column.index - leftWidth,
          })),
    nullAware: join.nullAware,
    build: 'right',
    columns,
  });
  const back = columnsAsExpressions(columns);
  return node({
    kind: 'project',
    input: turned,
    expressions: [...back.slice(rightWidth), ...back.slice(0, rightWidth)],
    columns: join.columns,
  });
}

/** Whether no two rows agree in the given expressions. */
function isUnique(
  plan: PlanNode,
  keys: readonly Expression[],
  snapshotOf: (relation: number) => TableSnapshot,
): boolean {
  const columns = new Set<number>();
  for (const key of keys) if (key.kind === 'column') columns.add(key.index);
  for (let below = plan, at = columns; ;) {
    switch (below.kind) {
      case 'filter':
        below = below.input;
        break;
      case 'project': {
        const next = new Set<number>();
        for (const index of at) {
          const expression = below.expressions[index];
          if (expression?.kind === 'column') next.add(expression.index);
        }
        at = next;
        below = below.input;
        break;
      }
      case 'aggregate':
        return below.keys.every((_, index) => at.has(index));
      case 'distinct':
        return below.on === undefined && below.columns.every((_, index) => at.has(index));
      case 'scan': {
        const { columnIndexes, relation } = below;
        const stored = new Set([...at].map((index) => columnIndexes[index]));
        return snapshotOf(relation).schema.indexes.some(
          (index) => index.unique && index.columnIndexes.every((column) => stored.has(column)),
        );
      }
      default:
        return false;
    }
  }
}

function reasonBelow(plan: PlanNode): string {
  if (plan.kind === 'join' && plan.type === 'full')
    return 'a full join needs all rows of both sides';
  if (plan.kind === 'aggregate')
    return 'an aggregation of an aggregation needs the inner one whole';
  if (plan.kind === 'filter' || plan.kind === 'project') return reasonBelow(plan.input);
  if (plan.kind === 'join') return reasonBelow(plan.left);
  return `${WORDS[plan.kind] ?? plan.kind} below the aggregation has to be read whole`;
}

function replaced(plan: PlanNode, target: PlanNode, by: PlanNode): PlanNode {
  return plan === target ? by : mapInputs(plan, (input) => replaced(input, target, by));
}

function leftmost(plan: PlanNode): ScanNode {
  let below = plan;
  while (below.kind !== 'scan') below = inputsOf(below)[0]!;
  return below;
}

function isWholeBelow(plan: PlanNode): boolean {
  if (plan.kind === 'project') return isWholeBelow(plan.input);
  return plan.kind === 'scan' && plan.filter === undefined;
}

/** Whether no other relation than the driving one is read below. */
export function isOfOne(plan: PlanNode, driving: ScanNode): boolean {
  return plan.kind === 'filter' || plan.kind === 'project'
    ? isOfOne(plan.input, driving)
    : plan.id === driving.id;
}

/** The same, and no row is left out but by the scan's own filter. */
export function readsAlone(plan: PlanNode, driving: ScanNode): boolean {
  return plan.kind === 'project' ? readsAlone(plan.input, driving) : plan.id === driving.id;
}

/** Which column of the one scan below an output column is. */
export function sourceOf(plan: PlanNode, index: number): number | undefined {
  switch (plan.kind) {
    case 'scan':
      return index;
    case 'filter':
      return sourceOf(plan.input, index);
    case 'project': {
      const expression = plan.expressions[index];
      return expression?.kind === 'column' ? sourceOf(plan.input, expression.index) : undefined;
    }
    default:
      return undefined;
  }
}
