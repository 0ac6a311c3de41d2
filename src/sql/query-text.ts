import { findToken, isKeyword, isSymbol, tokenAt, type Token } from './tokens.ts';

/**
 * The query inside a CREATE [MATERIALIZED] VIEW … AS or PREPARE … AS that begins at `start`, as written: what
 * follows the first AS outside parentheses, up to the end of the statement, without WITH [NO] DATA.
 */
export function textAfterAs(text: string, start: number): string {
  const as = findToken(text, start, (token) => isKeyword(text, token, 'as'));
  const begin = tokenAt(text, as.end).start;
  const outer: Token[] = [];
  const end = findToken(text, as.end, (token) => {
    outer.push(token);
    return isSymbol(text, token, ';');
  });
  if (outer.length > 0 && isSymbol(text, outer.at(-1)!, ';')) outer.pop();
  const last = outer.at(-1);
  let cut = last === undefined ? end.start : endOfLast(text, last, end);
  if (last !== undefined && isKeyword(text, last, 'data')) {
    const isNo = outer.length > 2 && isKeyword(text, outer.at(-2)!, 'no');
    const start = outer.at(isNo ? -3 : -2);
    if (start !== undefined && isKeyword(text, start, 'with')) cut = start.start;
  }
  return text.slice(begin, cut).trimEnd();
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
