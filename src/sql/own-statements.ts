import type { ParsedStatement } from './ast.ts';
import { SourceText } from './source-text.ts';
import { findToken, isKeyword, isSymbol, tokenAt, type Token } from './tokens.ts';

/** What is ours and not in PostgreSQL's grammar, taken out of a text before the parser sees it. */
export type OwnStatements = {
  /** As long as the text, with blanks in place of what is ours. */
  readonly parsed: string;
  /** Where a CREATE OR REPLACE MATERIALIZED VIEW begins, whose OR REPLACE was blanked. */
  readonly replaces: ReadonlySet<number>;
  readonly statements: readonly PlacedStatement[];
  /** Both kinds in the order of the text. */
  merge(others: readonly PlacedStatement[]): ParsedStatement[];
};
type PlacedStatement = { readonly start: number; readonly parsed: ParsedStatement };

/** undefined: nothing in the text is ours, which one regular expression nearly always tells. */
export function recogniseOwn(text: string): OwnStatements | undefined {
  if (!/subscribe|replace\s.*materialized/is.test(text)) return undefined;
  const replaces = new Set<number>();
  const statements: PlacedStatement[] = [];
  const source = new SourceText(text);
  let parsed = text;
  for (let start = tokenAt(text, 0); start.kind !== 'end';) {
    const end = findToken(text, start.start, (token) => isSymbol(text, token, ';'));
    if (isKeyword(text, start, 'subscribe')) {
      parsed = blank(parsed, start.start, end.start);
      const statement = {
        kind: 'unsupported',
        what: 'SUBSCRIBE through exec or query',
        hint: 'Iterate over subscribe(name) here; over HTTP use GET /v1/live.',
        at: source.placeAt(start.start),
      } as const;
      statements.push({
        start: start.start,
        parsed: {
          statement,
          text: text.slice(start.start, end.start).trimEnd(),
          parameterCount: 0,
        },
      });
    }
    const or = orReplaceMaterialized(text, start);
    if (or !== undefined) {
      parsed = blank(parsed, or.start, or.end);
      replaces.add(start.start);
    }
    start = tokenAt(text, end.end);
  }
  const merge = (others: readonly PlacedStatement[]): ParsedStatement[] =>
    [...statements, ...others].sort((a, b) => a.start - b.start).map((placed) => placed.parsed);
  return replaces.size + statements.length === 0
    ? undefined
    : { parsed, replaces, statements, merge };
}

/** Where OR REPLACE stands in CREATE OR REPLACE MATERIALIZED VIEW. */
function orReplaceMaterialized(
  text: string,
  create: Token,
): { readonly start: number; readonly end: number } | undefined {
  const or = tokenAt(text, create.end);
  const replace = tokenAt(text, or.end);
  const materialized = tokenAt(text, replace.end);
  const isOurs =
    isKeyword(text, create, 'create') &&
    isKeyword(text, or, 'or') &&
    isKeyword(text, replace, 'replace') &&
    isKeyword(text, materialized, 'materialized');
  return isOurs ? { start: or.start, end: replace.end } : undefined;
}

/** Lines stay where they are, so that places in the rest stay right. */
function blank(text: string, start: number, end: number): string {
  return text.slice(0, start) + text.slice(start, end).replace(/[^\n]/g, ' ') + text.slice(end);
}
