import type { Expression } from '../expressions/expression.ts';
import { mapColumns, referencedColumns } from '../expressions/fold.ts';
import type { OutputColumn, PlanNode } from './logical.ts';
import {
  columnsAsExpressions,
  mapInputs,
  mapPlanExpressions,
  outerColumns,
  planIsVolatile,
  projected,
  rewrite,
} from './nodes.ts';

/** Columns that nobody reads are not read: scans give only what is used above them. */
export function prune(plan: PlanNode): PlanNode {
  const all = plan.columns.map((_, index) => index);
  const pruned = pruneTo(plan, new Set(all));
  return restore(pruned, plan.columns, all);
}

/** A plan with fewer columns, and where each of the old ones went. */
type Pruned = { readonly plan: PlanNode; readonly at: ReadonlyMap<number, number> };

function pruneTo(plan: PlanNode, needed: ReadonlySet<number>): Pruned {
  switch (plan.kind) {
    case 'scan': {
      const used = new Set(needed);
      if (plan.filter !== undefined)
        for (const index of referencedColumns(plan.filter)) used.add(index);
      const width = plan.columnIndexes.length;
      // A scan of no column still counts rows: keep one.
      const kept = plan.columnIndexes.map((_, index) => index).filter((index) => used.has(index));
      const countsOnly = kept.length === 0 && width > 0 && !plan.rowIdColumn;
      if (kept.length === 0 && width > 0) kept.push(0);
      const at = new Map(kept.map((index, position) => [index, position]));
      if (plan.rowIdColumn) at.set(width, kept.length);
      const columns = [
        ...kept.map((index) => plan.columns[index]!),
        ...(plan.rowIdColumn ? [plan.columns[width]!] : []),
      ];
      const filter = plan.filter === undefined ? {} : { filter: moved(plan.filter, at) };
      return {
        plan: {
          ...plan,
          ...filter,
          columnIndexes: kept.map((index) => plan.columnIndexes[index]!),
          columns,
          ...(countsOnly ? { countsOnly } : {}),
        },
        at,
      };
    }
    case 'filter': {
      const below = pruneTo(plan.input, union(needed, referencedColumns(plan.condition)));
      return {
        plan: {
          ...plan,
          input: below.plan,
          condition: moved(plan.condition, below.at),
          columns: below.plan.columns,
        },
        at: below.at,
      };
    }
    case 'project': {
      const kept = plan.expressions.map((_, index) => index).filter((index) => needed.has(index));
      if (kept.length === 0 && plan.expressions.length > 0) kept.push(0);
      const used = new Set<number>();
      for (const index of kept) referencedColumns(plan.expressions[index]!, used);
      const below = pruneTo(plan.input, used);
      const expressions = kept.map((index) => moved(plan.expressions[index]!, below.at));
      return {
        plan: projected(
          below.plan,
          expressions,
          kept.map((index) => plan.columns[index]!),
        ),
        at: positions(kept),
      };
    }
    case 'aggregate': {
      const used = new Set<number>();
      for (const key of plan.keys) referencedColumns(key, used);
      const keptCalls = plan.calls
        .map((_, index) => index)
        .filter((index) => needed.has(plan.keys.length + index));
      for (const index of keptCalls) {
        const call = plan.calls[index]!;
        for (const arg of call.args) referencedColumns(arg, used);
        if (call.filter !== undefined) referencedColumns(call.filter, used);
        for (const key of call.orderBy) referencedColumns(key.expression, used);
      }
      const below = pruneTo(plan.input, used);
      const move = (expression: Expression): Expression => moved(expression, below.at);
      const calls = keptCalls.map((index) => {
        const call = plan.calls[index]!;
        return {
          ...call,
          args: call.args.map(move),
          ...(call.filter === undefined ? {} : { filter: move(call.filter) }),
          orderBy: call.orderBy.map((key) => ({ ...key, expression: move(key.expression) })),
        };
      });
      const kept = [
        ...plan.keys.map((_, index) => index),
        ...keptCalls.map((index) => plan.keys.length + index),
      ];
      return {
        plan: {
          ...plan,
          input: below.plan,
          keys: plan.keys.map(move),
          calls,
          columns: kept.map((index) => plan.columns[index]!),
        },
        at: positions(kept),
      };
    }
    case 'join': {
      const width = plan.left.columns.length;
      const semi = plan.type === 'semi' || plan.type === 'anti';
      const left = new Set<number>();
      const right = new Set<number>();
      const use = (index: number): unknown =>
        index < width ? left.add(index) : right.add(index - width);
      for (const index of needed) use(index);
      if (plan.residual !== undefined)
        for (const index of referencedColumns(plan.residual)) use(index);
      for (const key of plan.keys) {
        referencedColumns(key.left, left);
        referencedColumns(key.right, right);
      }
      const a = pruneTo(plan.left, left);
      const b = pruneTo(plan.right, right);
      const leftWidth = a.plan.columns.length;
      const at = new Map<number, number>();
      for (const [from, to] of a.at) at.set(from, to);
      for (const [from, to] of b.at) at.set(from + width, to + leftWidth);
      const columns: OutputColumn[] = [];
      for (const [from, to] of at)
        if (from < plan.columns.length && (!semi || from < width))
          columns[to] = plan.columns[from]!;
      return {
        plan: {
          ...plan,
          left: a.plan,
          right: b.plan,
          keys: plan.keys.map((key) => ({
            left: moved(key.left, a.at),
            right: moved(key.right, b.at),
          })),
          residual: plan.residual === undefined ? undefined : moved(plan.residual, at),
          columns: semi ? a.plan.columns : columns,
        },
        at: semi ? a.at : at,
      };
    }
    case 'sort': {
      const used = new Set(needed);
      for (const key of plan.keys) referencedColumns(key.expression, used);
      const below = pruneTo(plan.input, used);
      return {
        plan: {
          ...plan,
          input: below.plan,
          keys: plan.keys.map((key) => ({ ...key, expression: moved(key.expression, below.at) })),
          columns: below.plan.columns,
        },
        at: below.at,
      };
    }
    case 'limit': {
      const below = pruneTo(plan.input, needed);
      return {
        plan: {
          ...plan,
          input: below.plan,
          ...(plan.counts === undefined ? {} : { counts: prune(plan.counts) }),
          columns: below.plan.columns,
        },
        at: below.at,
      };
    }
    case 'unionAll': {
      const kept = plan.columns.map((_, index) => index).filter((index) => needed.has(index));
      if (kept.length === 0 && plan.columns.length > 0) kept.push(0);
      const columns = kept.map((index) => plan.columns[index]!);
      const inputs = plan.inputs.map((input) =>
        restore(pruneTo(input, new Set(kept)), columns, kept),
      );
      return { plan: { ...plan, inputs, columns }, at: positions(kept) };
    }
    case 'apply': {
      const width = plan.input.columns.length;
      // What nobody looks at is not computed, unless computing it changes something.
      const kept = plan.subqueries.flatMap((subquery, index) =>
        needed.has(width + index) || planIsVolatile(subquery.plan) ? [index] : [],
      );
      const used = new Set([...needed].filter((index) => index < width));
      for (const index of kept) {
        const { args, plan: subplan } = plan.subqueries[index]!;
        for (const arg of args) referencedColumns(arg, used);
        outerColumns(subplan, used);
      }
      const below = pruneTo(plan.input, used);
      if (kept.length === 0) return below;
      const at = new Map(below.at);
      kept.forEach((index, position) =>
        at.set(width + index, below.plan.columns.length + position),
      );
      const subqueries = kept.map((index) => {
        const subquery = plan.subqueries[index]!;
        return {
          ...subquery,
          args: subquery.args.map((arg) => moved(arg, below.at)),
          plan: movedOuter(prune(subquery.plan), below.at),
        };
      });
      return {
        plan: {
          ...plan,
          input: below.plan,
          subqueries,
          columns: [...below.plan.columns, ...kept.map((index) => plan.columns[width + index]!)],
        },
        at,
      };
    }
    case 'lateral': {
      const width = plan.left.columns.length;
      const left = new Set<number>();
      const right = new Set<number>();
      const use = (index: number): unknown =>
        index < width ? left.add(index) : right.add(index - width);
      for (const index of needed) use(index);
      if (plan.condition !== undefined)
        for (const index of referencedColumns(plan.condition)) use(index);
      outerColumns(plan.right, left);
      const a = pruneTo(plan.left, left);
      const b = pruneTo(plan.right, right);
      const leftWidth = a.plan.columns.length;
      const at = new Map(a.at);
      for (const [from, to] of b.at) at.set(from + width, to + leftWidth);
      const columns: OutputColumn[] = [];
      for (const [from, to] of at) columns[to] = plan.columns[from]!;
      return {
        plan: {
          ...plan,
          left: a.plan,
          right: movedOuter(b.plan, a.at),
          ...(plan.condition === undefined ? {} : { condition: moved(plan.condition, at) }),
          columns,
        },
        at,
      };
    }
    case 'cte': {
      const body = pruneTo(plan.body, needed);
      return {
        plan: {
          ...plan,
          ctes: plan.ctes.map((cte) => ({ ...cte, plan: prune(cte.plan) })),
          body: body.plan,
          columns: body.plan.columns,
        },
        at: body.at,
      };
    }
    default:
      // Every column of distinct and set operations matters.
      return { plan: mapInputs(plan, prune), at: positions(plan.columns.map((_, index) => index)) };
  }
}

function restore(
  { plan, at }: Pruned,
  columns: readonly OutputColumn[],
  wanted: readonly number[],
): PlanNode {
  const expressions = wanted.map(
    (index) => columnsAsExpressions([plan.columns[at.get(index)!]!], at.get(index)!)[0]!,
  );
  return projected(plan, expressions, columns);
}

function moved(expression: Expression, at: ReadonlyMap<number, number>): Expression {
  return mapColumns(expression, (each) =>
    at.get(each.index) === each.index ? each : { ...each, index: at.get(each.index)! },
  );
}

function positions(kept: readonly number[]): Map<number, number> {
  return new Map(kept.map((index, position) => [index, position]));
}

function union(a: ReadonlySet<number>, b: ReadonlySet<number>): Set<number> {
  return new Set([...a, ...b]);
}

function movedOuter(plan: PlanNode, at: ReadonlyMap<number, number>): PlanNode {
  return mapPlanExpressions(plan, (expression, depth) =>
    rewrite(expression, (each) =>
      each.kind === 'outerColumn' && each.depth === depth + 1
        ? { ...each, index: at.get(each.index)! }
        : each,
    ),
  );
}
