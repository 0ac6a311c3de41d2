import { findToken, isKeyword, isSymbol, tokenAt, type Token } from './tokens.ts';

/**
 * The query inside a CREATE [MATERIALIZED] VIEW … AS or PREPARE … AS that begins at `start`, as written: what
 * follows the first AS outside parentheses, up to the end of the statement, without WITH [NO] DATA.
 */
export function textAfterAs(text: string, start: number): string {
  const as = findToken(text, start, (token) => isKeyword(text, token, 'as'));
  const begin = tokenAt(text, as.end).start;
  const outer: Token[] = [];
  let end = findToken(text, as.end, (token) => {
    outer.push(token);
    return isSymbol(text, token, ';');
  });
  if (outer.length > 0 && isSymbol(text, outer.at(-1)!, ';')) outer.pop();
  if (outer.length > 2 && isKeyword(text, outer.at(-1)!, 'data')) {
    const withAt = outer.length - (isKeyword(text, outer.at(-2)!, 'no') ? 3 : 2);
    if (isKeyword(text, outer[withAt]!, 'with')) {
      end = outer[withAt]!;
      outer.length = withAt;
    }
  }
  const last = outer.at(-1);
  // Up to the last token, so that no comment at the end swallows what a reader puts behind the query.
  return last === undefined ? '' : text.slice(begin, endOfLast(text, last, end));
}

/** The text between the parentheses that open at or after `start`, without its outer white space. */
export function textInParentheses(text: string, start: number): string {
  const open = findToken(text, start, (token) => isSymbol(text, token, '('));
  let depth = 0;
  for (let token = open; token.kind !== 'end'; token = tokenAt(text, token.end)) {
    if (isSymbol(text, token, '(')) depth += 1;
    else if (isSymbol(text, token, ')')) depth -= 1;
    if (depth === 0) return text.slice(open.end, token.start).trim();
  }
  return text.slice(open.end).trim();
}

/** `last` is the last token seen outside parentheses; what follows it inside parentheses belongs to it. */
function endOfLast(text: string, last: Token, end: Token): number {
  let token = last;
  for (
    let next = tokenAt(text, token.end);
    next.kind !== 'end' && next.start < end.start;
    next = tokenAt(text, token.end)
  )
    token = next;
  return token.end;
}
