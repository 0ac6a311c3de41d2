import { DbError, notSupported } from '../base/errors.ts';
import { FLOAT8 } from '../columns/types.ts';
import type { FromItem, Query } from '../sql/ast.ts';
import type { BindContext } from './bind-expression.ts';
import { viewCatalog } from './catalog.ts';
import type { OutputColumn, PlanNode, RowLocks } from './logical.ts';
import { column, node, visitScans } from './nodes.ts';

export const ROW_ID_COLUMN: OutputColumn = { name: '?row id?', type: FLOAT8, nullable: false };

/**
 * What FOR UPDATE and FOR SHARE claim; undefined where nothing is said. The rows of one table that stand in the answer as they are
 * claimed one by one: its plan then has their ids behind its columns. Where joins or subqueries stand between, the tables are
 * claimed whole: that holds up more than PostgreSQL does, and never less. FOR SHARE claims as FOR UPDATE does.
 */
export function rowLocksOf(
  plan: PlanNode,
  query: Query,
  context: BindContext,
): RowLocks | undefined {
  const { body, locking } = query;
  if (locking.length === 0) return undefined;
  const refused = (what: string): DbError =>
    new DbError('0A000', `FOR UPDATE is not allowed with ${what}`, {
      at: locking[0]!.at,
      hint: 'Claim the rows by a query of their own, then ask.',
    });
  if (body.kind === 'setOperation') throw refused('UNION/INTERSECT/EXCEPT');
  if (body.kind === 'values' || body.kind === 'literals') throw refused('VALUES');
  if (body.distinct !== 'no') throw refused('DISTINCT clause');
  if (body.groupBy.length > 0) throw refused('GROUP BY clause');
  if (body.having !== undefined) throw refused('HAVING clause');
  if (someAggregate(plan)) throw refused('aggregate functions');
  const tables = tablesOf(query, context);
  const relations = new Set<number>();
  for (const { of, at } of locking) {
    for (const name of of)
      if (!tables.some((table) => table.alias === name))
        throw new DbError('42P01', `relation "${name}" in FOR UPDATE clause not found in FROM`, {
          at,
          table: name,
          hint: 'Name a table of FROM, by its alias where it has one.',
        });
    for (const { alias, relation } of tables)
      if (of.length === 0 || of.includes(alias)) relations.add(relation);
  }
  const [only] = relations;
  const withIds = tables.length === 1 && only !== undefined ? withRowIds(plan, only) : undefined;
  const isSaid = (wait: RowLocks['wait']): boolean => locking.some((each) => each.wait === wait);
  // Of several clauses the strictest counts, as in PostgreSQL.
  const wait = isSaid('nowait') ? 'nowait' : isSaid('skip') ? 'skip' : 'wait';
  let scanCount = 0;
  visitScans(plan, () => void (scanCount += 1));
  if (wait === 'skip' && (withIds === undefined || scanCount > 1))
    throw notSupported(
      'SKIP LOCKED over more than the rows of one table',
      'Claim the rows of that table by a query of their own, then ask for the rest.',
      locking[0]!.at,
    );
  return { relations: [...relations], wait, plan: withIds };
}

function someAggregate(plan: PlanNode): boolean {
  switch (plan.kind) {
    case 'aggregate':
      return true;
    case 'project':
    case 'filter':
    case 'sort':
    case 'limit':
      return someAggregate(plan.input);
    default:
      return false;
  }
}

/** The tables that FROM names, through joins, subqueries and views. */
function tablesOf(
  query: Query,
  context: BindContext,
): { readonly alias: string; readonly relation: number }[] {
  const ctes = new Set(query.with?.ctes.map(({ name }) => name));
  const found: { alias: string; relation: number }[] = [];
  const visit = (item: FromItem): void => {
    if (item.kind === 'join') {
      visit(item.left);
      visit(item.right);
    } else if (item.kind === 'subquery') {
      for (const { relation } of tablesOf(item.query, context))
        found.push({ alias: item.alias?.name ?? '', relation });
    } else if (item.kind === 'relation') {
      if (item.name.schema === undefined && ctes.has(item.name.name)) return;
      const alias = item.alias?.name ?? item.name.name;
      const info = context.catalog.relation(item.name);
      if (info?.kind === 'view') {
        const inside = { ...context, catalog: viewCatalog(context.catalog, info.reads!) };
        for (const { relation } of tablesOf(info.query!, inside)) found.push({ alias, relation });
      } else if (info?.kind === 'materializedView')
        throw new DbError('42809', `cannot lock rows in materialized view "${info.name}"`, {
          at: item.name.at,
          table: info.name,
          hint: 'Claim the rows of the tables it reads.',
        });
      else if (info?.kind === 'catalog')
        throw new DbError('42809', `cannot lock rows in system relation "${info.name}"`, {
          at: item.name.at,
          table: info.name,
          hint: 'It is only read.',
        });
      else if (info?.kind === 'table') found.push({ alias, relation: info.id });
    }
  };
  if (query.body.kind === 'select') query.body.from.forEach(visit);
  return found;
}

/** The plan with the ids of the relation's rows as its last column; undefined where they are not the rows of the answer. */
function withRowIds(plan: PlanNode, relation: number): PlanNode | undefined {
  if (plan.kind === 'scan')
    return plan.relation === relation
      ? node({ ...plan, rowIdColumn: true, columns: [...plan.columns, ROW_ID_COLUMN] })
      : undefined;
  if (
    plan.kind !== 'filter' &&
    plan.kind !== 'project' &&
    plan.kind !== 'sort' &&
    plan.kind !== 'limit'
  )
    return undefined;
  const input = withRowIds(plan.input, relation);
  if (input === undefined) return undefined;
  const columns = [...plan.columns, ROW_ID_COLUMN];
  if (plan.kind !== 'project') return node({ ...plan, input, columns });
  const id = column(input.columns.length - 1, ROW_ID_COLUMN);
  return node({ ...plan, input, columns, expressions: [...plan.expressions, id] });
}
