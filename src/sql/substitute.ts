import type { Query, SqlExpression } from './ast.ts';

/** A query with an expression in the place of each parameter. */
export function withParameters(
  query: Query,
  value: (index: number, at: SqlExpression['at']) => SqlExpression,
): Query {
  return substituted(query, (node) => {
    const expression = node as SqlExpression;
    return expression.kind === 'parameter' ? value(expression.index, expression.at) : undefined;
  }) as Query;
}

/** An expression over one table, with another name for one of its columns. */
export function withColumnRenamed(
  expression: SqlExpression,
  name: string,
  to: string,
): SqlExpression {
  return substituted(expression, (each) => {
    const node = each as SqlExpression;
    return node.kind === 'column' && node.parts.at(-1) === name
      ? { ...node, parts: [...node.parts.slice(0, -1), to] }
      : undefined;
  }) as SqlExpression;
}

/** The tree is plain data: whatever is neither an array nor an object stays. */
export function substituted(tree: unknown, instead: (node: object) => object | undefined): unknown {
  if (Array.isArray(tree)) return tree.map((each) => substituted(each, instead));
  if (tree === null || typeof tree !== 'object') return tree;
  return (
    instead(tree) ??
    Object.fromEntries(
      Object.entries(tree).map(([name, child]) => [name, substituted(child, instead)]),
    )
  );
}
