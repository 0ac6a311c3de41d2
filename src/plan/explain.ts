import { printBound } from '../expressions/fold.ts';
import type { PlanStatistics } from './catalog.ts';
import { estimateRows } from './join-order.ts';
import type { AggregateNode, PlanNode } from './logical.ts';
import { inputsOf } from './nodes.ts';

export type ExplainOptions = {
  readonly statistics: PlanStatistics;
  /** Where an aggregate comes from, if not from its input. */
  readonly sourceOf?: ((node: AggregateNode) => readonly [string, string][]) | undefined;
  /** What of a table's rows is told by tiles alone, and why. */
  readonly demotedOf?: ((relation: number) => string | undefined) | undefined;
};

/** A plan for people: one line a node as PostgreSQL prints them. Rows are estimates. */
export function explainPlan(plan: PlanNode, options: ExplainOptions): readonly string[] {
  const lines: string[] = [];
  text(plan, options, 0, lines);
  return lines;
}

function text(plan: PlanNode, options: ExplainOptions, depth: number, lines: string[]): void {
  const { statistics } = options;
  const indent = depth === 0 ? '' : `${'  '.repeat(depth * 3 - 2)}->  `;
  const detail = '  '.repeat(depth * 3 + 1);
  lines.push(
    `${indent}${title(plan)}  (id=${plan.id} rows=${Math.round(estimateRows(plan, statistics))})`,
  );
  for (const [name, value] of [...details(plan), ...sourceOf(plan, options)])
    lines.push(`${detail}${name}: ${value}`);
  for (const input of inputsOf(plan)) text(input, options, depth + 1, lines);
}

/** The same as an object. */
export function planAsJson(plan: PlanNode, options: ExplainOptions): Record<string, unknown> {
  const { statistics } = options;
  return {
    'Node Type': title(plan),
    Id: plan.id,
    'Plan Rows': Math.round(estimateRows(plan, statistics)),
    Output: plan.columns.map(({ name }) => name),
    ...Object.fromEntries([...details(plan), ...sourceOf(plan, options)]),
    ...(inputsOf(plan).length === 0
      ? {}
      : { Plans: inputsOf(plan).map((input) => planAsJson(input, options)) }),
  };
}

function sourceOf(plan: PlanNode, options: ExplainOptions): readonly [string, string][] {
  const demoted = plan.kind === 'scan' ? options.demotedOf?.(plan.relation) : undefined;
  if (demoted !== undefined) return [['Demoted', demoted]];
  return plan.kind === 'aggregate' ? (options.sourceOf?.(plan) ?? []) : [];
}

function title(plan: PlanNode): string {
  switch (plan.kind) {
    case 'scan':
      return `Scan on ${plan.name}${plan.alias === plan.name ? '' : ` ${plan.alias}`}`;
    case 'values':
      return plan.columns.length === 0 ? 'Result' : 'Values';
    case 'literals':
      return 'Values';
    case 'filter':
      return 'Filter';
    case 'project':
      return 'Project';
    case 'aggregate':
      return plan.keys.length === 0 ? 'Aggregate' : 'HashAggregate';
    case 'join':
      return plan.keys.length === 0
        ? `Nested Loop ${joinName(plan.type)}`
        : `Hash ${joinName(plan.type)}`;
    case 'sort':
      return plan.keep === undefined ? 'Sort' : 'Top-k Sort';
    case 'limit':
      return 'Limit';
    case 'distinct':
      return plan.on === undefined ? 'Distinct' : 'Distinct On';
    case 'unionAll':
      return 'Append';
    case 'setOperation':
      return `${plan.operation === 'intersect' ? 'Intersect' : 'Except'}${plan.all ? ' All' : ''}`;
    case 'cte':
      return 'With';
    case 'recursive':
      return plan.all ? 'Recursive Union All' : 'Recursive Union';
    case 'cteScan':
      return `CTE Scan on ${plan.name}`;
    case 'apply':
      return 'Subquery Apply';
    case 'repeat':
      return 'Repeat';
    case 'lateral':
      return plan.type === 'left' ? 'Lateral Left Join' : 'Lateral Join';
    case 'series':
      return 'Function Scan on generate_series';
  }
}

function joinName(type: string): string {
  return type === 'inner' ? 'Join' : `${type[0]!.toUpperCase()}${type.slice(1)} Join`;
}

function details(plan: PlanNode): [string, string][] {
  const over =
    (columns: readonly { readonly name: string }[]) =>
    (index: number): string =>
      columns[index]?.name ?? `#${index}`;
  switch (plan.kind) {
    case 'scan':
      return plan.filter === undefined
        ? []
        : [['Filter', printBound(plan.filter, over(plan.columns))]];
    case 'filter':
      return [['Filter', printBound(plan.condition, over(plan.input.columns))]];
    case 'aggregate': {
      const keys: [string, string][] =
        plan.keys.length === 0
          ? []
          : [
              [
                'Group Key',
                plan.keys.map((key) => printBound(key, over(plan.input.columns))).join(', '),
              ],
            ];
      const calls = plan.calls.map(
        (call) =>
          `${call.fn}(${call.distinct ? 'DISTINCT ' : ''}${call.args.length === 0 ? '*' : call.args.map((arg) => printBound(arg, over(plan.input.columns))).join(', ')})`,
      );
      return calls.length === 0 ? keys : [...keys, ['Aggregates', calls.join(', ')]];
    }
    case 'join': {
      const out: [string, string][] =
        plan.keys.length === 0
          ? []
          : [
              [
                'Hash Cond',
                plan.keys
                  .map(
                    (key) =>
                      `${printBound(key.left, over(plan.left.columns))} = ${printBound(key.right, over(plan.right.columns))}`,
                  )
                  .join(' AND '),
              ],
            ];
      if (plan.residual !== undefined)
        out.push([
          'Join Filter',
          printBound(plan.residual, over([...plan.left.columns, ...plan.right.columns])),
        ]);
      return plan.keys.length === 0 ? out : [...out, ['Build', plan.build]];
    }
    case 'sort':
      return [
        [
          'Sort Key',
          plan.keys
            .map(
              (key) =>
                `${printBound(key.expression, over(plan.input.columns))}${key.descending ? ' DESC' : ''}${key.nullsFirst === key.descending ? '' : key.nullsFirst ? ' NULLS FIRST' : ' NULLS LAST'}`,
            )
            .join(', '),
        ],
      ];
    case 'limit':
      return [
        ...(plan.limit === undefined
          ? []
          : [
              ['Limit', printBound(plan.limit, over(plan.counts?.columns ?? []))] as [
                string,
                string,
              ],
            ]),
        ...(plan.offset === undefined
          ? []
          : [
              ['Offset', printBound(plan.offset, over(plan.counts?.columns ?? []))] as [
                string,
                string,
              ],
            ]),
      ];
    case 'project':
      return [
        [
          'Output',
          plan.expressions
            .map((expression) => printBound(expression, over(plan.input.columns)))
            .join(', '),
        ],
      ];
    default:
      return [];
  }
}
