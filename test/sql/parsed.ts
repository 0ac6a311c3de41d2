import type { ParsedStatement, SqlExpression, Statement } from '../../src/sql/ast.ts';
import { LiteralRows } from '../../src/sql/literal-rows.ts';
import { loadParser } from '../../src/actors/load-parser.ts';

export const parser = await loadParser();

export function only(text: string): ParsedStatement {
  const statements = parser.parse(text);
  if (statements.length !== 1) throw new Error(`${statements.length} statements in ${text}`);
  return statements[0]!;
}

export function statementOf<K extends Statement['kind']>(
  text: string,
  kind: K,
): Extract<Statement, { kind: K }> {
  const { statement } = only(text);
  if (statement.kind !== kind) throw new Error(`${text} is of kind ${statement.kind}`);
  return statement as Extract<Statement, { kind: K }>;
}

/** A tree without places and without fields that are undefined, to be compared; rows of literals as the parser's tree has them. */
export function bare(tree: unknown): unknown {
  if (Array.isArray(tree)) return tree.map(bare);
  if (typeof tree !== 'object' || tree === null) return tree;
  if ('rows' in tree && tree.rows instanceof LiteralRows)
    return bare({ ...tree, kind: 'values', rows: tree.rows.values() });
  return Object.fromEntries(
    Object.entries(tree)
      .filter(([key, value]) => key !== 'at' && value !== undefined)
      .map(([key, value]) => [key, bare(value)]),
  );
}

export function expressionOf(text: string): SqlExpression {
  return parser.parseExpression(text);
}

/** The `what` of everything unsupported inside a tree. */
export function unsupportedIn(tree: unknown): string[] {
  if (typeof tree !== 'object' || tree === null) return [];
  const own =
    (tree as { kind?: unknown }).kind === 'unsupported' ? [(tree as { what: string }).what] : [];
  return [...own, ...Object.values(tree).flatMap(unsupportedIn)];
}
