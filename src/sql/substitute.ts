import type { Query, SqlExpression } from './ast.ts';

/** A query with an expression in the place of each parameter. */
export function withParameters(
  query: Query,
  value: (index: number, at: SqlExpression['at']) => SqlExpression,
): Query {
  return substituted(query, value) as Query;
}

/** The tree is plain data: whatever is neither an array nor an object stays. */
function substituted(
  tree: unknown,
  value: (index: number, at: SqlExpression['at']) => SqlExpression,
): unknown {
  if (Array.isArray(tree)) return tree.map((each) => substituted(each, value));
  if (tree === null || typeof tree !== 'object') return tree;
  const node = tree as SqlExpression;
  if (node.kind === 'parameter') return value(node.index, node.at);
  return Object.fromEntries(
    Object.entries(tree).map(([name, child]) => [name, substituted(child, value)]),
  );
}
