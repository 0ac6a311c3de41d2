import type { Query, SqlExpression } from './ast.ts';

/** A query with an expression in the place of each parameter. */
export function withParameters(
  query: Query,
  value: (index: number, at: SqlExpression['at']) => SqlExpression,
): Query {
  return substituted(query, (node) =>
    node.kind === 'parameter' ? value(node.index, node.at) : undefined,
  ) as Query;
}

/** An expression over one table, with another name for one of its columns. */
export function withColumnRenamed(
  expression: SqlExpression,
  name: string,
  to: string,
): SqlExpression {
  return substituted(expression, (node) =>
    node.kind === 'column' && node.parts.at(-1) === name
      ? { ...node, parts: [...node.parts.slice(0, -1), to] }
      : undefined,
  ) as SqlExpression;
}

/** The tree is plain data: whatever is neither an array nor an object stays. */
function substituted(
  tree: unknown,
  instead: (node: SqlExpression) => SqlExpression | undefined,
): unknown {
  if (Array.isArray(tree)) return tree.map((each) => substituted(each, instead));
  if (tree === null || typeof tree !== 'object') return tree;
  return (
    instead(tree as SqlExpression) ??
    Object.fromEntries(
      Object.entries(tree).map(([name, child]) => [name, substituted(child, instead)]),
    )
  );
}
