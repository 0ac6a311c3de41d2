import type { RelationRead } from '../plan/catalog.ts';
import type { FromItem, Query, SelectItem } from '../sql/ast.ts';
import { madeSelect } from '../sql/made-query.ts';
import { printQuery } from '../sql/print.ts';
import type { CatalogView, MaterializedViewEntry, ViewEntry } from './catalog.ts';

/**
 * The query of a view in the names of today. What was renamed since the view was made stands under the name that the query has for it: a table gets an
 * alias; of one whose columns have other names, or that has got some which the query's `*` does not mean, the columns are written out.
 */
export function definitionText(
  { definition, query }: ViewEntry | MaterializedViewEntry,
  catalog: CatalogView,
): string {
  const renamed = new Map<string, Renamed>();
  const takesAll = hasStar(query);
  for (const read of definition.reads) {
    const entry = catalog.byId(read.relation);
    if (entry === undefined || entry.kind === 'sequence') continue;
    const { name } = entry.definition;
    const now = entry.info.columns.map((column) => column.name);
    const asThen = read.columns.every((column, index) => column === now[index]);
    const columns = asThen && !(takesAll && now.length > read.columns.length) ? undefined : now;
    if (columns !== undefined || name !== read.name)
      renamed.set(keyOf(read), { read, name, columns });
  }
  return renamed.size === 0 ? definition.text : printQuery(ofToday(query, renamed, new Set()));
}

type Renamed = {
  readonly read: RelationRead;
  readonly name: string;
  /** Names of today of the columns; undefined: they need not be written out. */
  readonly columns: readonly string[] | undefined;
};

function keyOf({
  catalog,
  schema,
  name,
}: Pick<RelationRead, 'catalog' | 'schema' | 'name'>): string {
  return JSON.stringify([catalog ?? null, schema ?? null, name]);
}

/** Joins that are NATURAL take all columns, too. */
function hasStar(tree: unknown): boolean {
  if (typeof tree !== 'object' || tree === null) return false;
  const node = tree as { readonly kind?: string; readonly natural?: boolean };
  return node.kind === 'star' || node.natural === true || Object.values(tree).some(hasStar);
}

/** `hidden`: names that WITH gives to something else. */
function ofToday<Tree>(
  tree: Tree,
  renamed: ReadonlyMap<string, Renamed>,
  hidden: ReadonlySet<string>,
): Tree {
  if (Array.isArray(tree))
    return tree.map((each: unknown) => ofToday(each, renamed, hidden)) as Tree;
  if (typeof tree !== 'object' || tree === null) return tree;
  const inside = (child: unknown, names = hidden): unknown => ofToday(child, renamed, names);
  if ('body' in tree && 'with' in tree && tree.with !== undefined) {
    const clause = (tree as unknown as Query).with!;
    const names = new Set(hidden);
    if (clause.recursive) for (const { name } of clause.ctes) names.add(name);
    const ctes = clause.ctes.map((cte) => {
      const statement = inside(cte.statement, new Set(names));
      names.add(cte.name);
      return { ...cte, statement };
    });
    const { with: _, ...rest } = tree as unknown as Query;
    return { ...(inside(rest, names) as object), with: { ...clause, ctes } } as Tree;
  }
  const item = tree as unknown as FromItem;
  if (item.kind === 'relation') {
    const known =
      item.name.schema === undefined && hidden.has(item.name.name)
        ? undefined
        : renamed.get(keyOf(item.name));
    return (known === undefined ? tree : itemOfToday(item, known)) as Tree;
  }
  return Object.fromEntries(
    Object.entries(tree).map(([name, child]) => [name, inside(child)]),
  ) as Tree;
}

function itemOfToday(
  item: Extract<FromItem, { kind: 'relation' }>,
  { read, name, columns }: Renamed,
): FromItem {
  const alias = item.alias ?? { name: item.name.name, columns: [] };
  const now: FromItem = { ...item, name: { ...item.name, name } };
  if (columns === undefined) return { ...now, alias };
  const items = read.columns.map((then, index): SelectItem => ({
    kind: 'expression',
    expression: { kind: 'column', parts: [columns[index]!] },
    alias: then === columns[index] ? undefined : then,
  }));
  return {
    kind: 'subquery',
    lateral: false,
    alias,
    query: madeSelect(items, [{ ...now, alias: undefined }]),
  };
}
