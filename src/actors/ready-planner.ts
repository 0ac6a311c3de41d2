import { FLOAT8, TEXT } from '../columns/types.ts';
import { bindStatement } from '../plan/bind.ts';
import type { PlanCatalog, RelationInfo } from '../plan/catalog.ts';
import type { SqlExpression, Statement } from '../sql/ast.ts';
import { madeSelect } from '../sql/made-query.ts';

/**
 * Plans a query of the kind that dashboards ask, and forgets it. The engine compiles functions when they are first called: the first query of
 * a process would hold the thread for ten milliseconds, and whoever writes beside it would wait. Called while the parser's module is being
 * compiled, when this thread has nothing to do.
 */
export function readyPlanner(): void {
  bindStatement(STATEMENT, CATALOG);
}

const AT = { offset: 0, line: 1, column: 1 };

function column(name: string): SqlExpression {
  return { kind: 'column', parts: [name], at: AT };
}

function aggregate(name: string, args: readonly SqlExpression[]): SqlExpression {
  return {
    kind: 'call',
    name,
    args: args.map((value) => ({ value })),
    star: args.length === 0,
    distinct: false,
    orderBy: [],
    withinGroup: false,
    variadic: false,
    at: AT,
  };
}

/** SELECT g, count(*) AS n, sum(x) AS s FROM t WHERE x > 0 GROUP BY g ORDER BY s DESC LIMIT 10 */
const STATEMENT: Statement = {
  kind: 'query',
  query: {
    ...madeSelect(
      [
        { kind: 'expression', expression: column('g') },
        { kind: 'expression', expression: aggregate('count', []), alias: 'n' },
        { kind: 'expression', expression: aggregate('sum', [column('x')]), alias: 's' },
      ],
      [{ kind: 'relation', name: { name: 't', at: AT }, only: false }],
      {
        where: {
          kind: 'binary',
          operator: '>',
          left: column('x'),
          right: { kind: 'number', text: '0', at: AT },
          at: AT,
        },
        groupBy: [{ kind: 'expression', expression: column('g') }],
      },
    ),
    orderBy: [{ expression: column('s'), descending: true }],
    limit: { kind: 'number', text: '10', at: AT },
  },
};

const TABLE: RelationInfo = {
  id: 1,
  name: 't',
  kind: 'table',
  columns: [
    { name: 'g', type: TEXT, nullable: true },
    { name: 'x', type: FLOAT8, nullable: true },
  ],
  indexes: [],
  checks: [],
};

const CATALOG: PlanCatalog = {
  relation: () => TABLE,
  relationById: () => TABLE,
  relationNames: () => [],
  statistics: {
    rowCount: () => 0,
    uniqueKeys: () => [],
    distinctCount: () => undefined,
    zoneShare: () => 1,
  },
};
