/**
 * PostgreSQL's lexical rules, as far as we must look into a text ourselves: to recognise our own statements before
 * the parser sees them, to cut a view's query out of its text, and to find what was misspelt.
 * The text is one that PostgreSQL's scanner accepts; on any other the tokens are merely plausible.
 */
export type Token = {
  /** `word`: an unquoted identifier or keyword. `symbol`: one of ( ) [ ] , ; : . */
  readonly kind:
    | 'word'
    | 'quoted'
    | 'string'
    | 'number'
    | 'parameter'
    | 'operator'
    | 'symbol'
    | 'end';
  readonly start: number;
  readonly end: number;
};

/** The first token at or after `from`, comments and white space being skipped. */
export function tokenAt(text: string, from: number): Token {
  const start = skipSpace(text, from);
  if (start >= text.length) return { kind: 'end', start: text.length, end: text.length };
  const code = text.charCodeAt(start);
  if (isWordStart(code)) return wordOrPrefixedString(text, start);
  if (isDigit(code) || (code === DOT && isDigit(text.charCodeAt(start + 1)))) {
    return { kind: 'number', start, end: endOfNumber(text, start) };
  }
  if (code === QUOTE) return { kind: 'string', start, end: endOfQuoted(text, start, QUOTE, false) };
  if (code === DOUBLE_QUOTE)
    return { kind: 'quoted', start, end: endOfQuoted(text, start, DOUBLE_QUOTE, false) };
  if (code === DOLLAR) return dollarQuotedOrParameter(text, start);
  if (SYMBOLS.includes(text[start]!)) return { kind: 'symbol', start, end: start + 1 };
  let end = start + 1;
  while (end < text.length && OPERATOR_CHARACTERS.includes(text[end]!) && !startsComment(text, end))
    end += 1;
  return { kind: 'operator', start, end };
}

/** Does the word at `token` spell this keyword (given in lower case)? */
export function isKeyword(text: string, token: Token, keyword: string): boolean {
  return (
    token.kind === 'word' &&
    token.end - token.start === keyword.length &&
    text.slice(token.start, token.end).toLowerCase() === keyword
  );
}

export function isSymbol(text: string, token: Token, symbol: string): boolean {
  return token.kind === 'symbol' && text[token.start] === symbol;
}

/** The first token outside all parentheses, from `from`, for which `wanted` holds; `end` if none. */
export function findToken(text: string, from: number, wanted: (token: Token) => boolean): Token {
  let depth = 0;
  for (let token = tokenAt(text, from); ; token = tokenAt(text, token.end)) {
    if (token.kind === 'end') return token;
    if (depth === 0 && wanted(token)) return token;
    if (isSymbol(text, token, '(') || isSymbol(text, token, '[')) depth += 1;
    else if (isSymbol(text, token, ')') || isSymbol(text, token, ']')) depth -= 1;
  }
}

/** First offset at or after `from` that is neither white space nor inside a comment. */
export function skipSpace(text: string, from: number): number {
  let at = from;
  for (;;) {
    const code = text.charCodeAt(at);
    if (isSpace(code)) at += 1;
    else if (code === DASH && text.charCodeAt(at + 1) === DASH) {
      while (
        at < text.length &&
        text.charCodeAt(at) !== NEW_LINE &&
        text.charCodeAt(at) !== CARRIAGE_RETURN
      )
        at += 1;
    } else if (code === SLASH && text.charCodeAt(at + 1) === STAR) at = endOfComment(text, at);
    else return at;
  }
}

/** Comments nest. */
function endOfComment(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length;) {
    if (text.startsWith('/*', at)) {
      depth += 1;
      at += 2;
    } else if (text.startsWith('*/', at)) {
      depth -= 1;
      at += 2;
      if (depth === 0) return at;
    } else at += 1;
  }
  return text.length;
}

function wordOrPrefixedString(text: string, start: number): Token {
  let end = start + 1;
  while (end < text.length && isWordPart(text.charCodeAt(end))) end += 1;
  const next = text.charCodeAt(end);
  if (next === QUOTE && end - start === 1) {
    const prefix = text[start]!.toLowerCase();
    if ('ebxn'.includes(prefix))
      return { kind: 'string', start, end: endOfQuoted(text, end, QUOTE, prefix === 'e') };
  }
  if (end - start === 1 && next === AMPERSAND && (text[start] === 'u' || text[start] === 'U')) {
    const quote = text.charCodeAt(end + 1);
    if (quote === QUOTE)
      return { kind: 'string', start, end: endOfQuoted(text, end + 1, QUOTE, false) };
    if (quote === DOUBLE_QUOTE)
      return { kind: 'quoted', start, end: endOfQuoted(text, end + 1, DOUBLE_QUOTE, false) };
  }
  return { kind: 'word', start, end };
}

function endOfQuoted(text: string, start: number, quote: number, backslashes: boolean): number {
  for (let at = start + 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (backslashes && code === BACKSLASH) at += 1;
    else if (code === quote) {
      if (text.charCodeAt(at + 1) !== quote) return at + 1;
      at += 1;
    }
  }
  return text.length;
}

function dollarQuotedOrParameter(text: string, start: number): Token {
  let end = start + 1;
  if (isDigit(text.charCodeAt(end))) {
    while (isDigit(text.charCodeAt(end))) end += 1;
    return { kind: 'parameter', start, end };
  }
  while (isWordPart(text.charCodeAt(end)) && text.charCodeAt(end) !== DOLLAR) end += 1;
  if (text.charCodeAt(end) !== DOLLAR) return { kind: 'operator', start, end: start + 1 };
  const delimiter = text.slice(start, end + 1);
  const close = text.indexOf(delimiter, end + 1);
  return { kind: 'string', start, end: close === -1 ? text.length : close + delimiter.length };
}

function endOfNumber(text: string, start: number): number {
  let at = start;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    const isExponentSign =
      (code === DASH || code === PLUS) &&
      (text.charCodeAt(at - 1) | 0x20) === LOWER_E &&
      isDigit(text.charCodeAt(at + 1));
    if (!isDigit(code) && code !== DOT && !isWordPart(code) && !isExponentSign) break;
    at += 1;
  }
  return at;
}

function startsComment(text: string, at: number): boolean {
  return text.startsWith('--', at) || text.startsWith('/*', at);
}

export function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

export function isSpace(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13);
}

function isWordStart(code: number): boolean {
  return (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || code === 95 || code >= 128;
}

/** May stand inside an unquoted identifier. */
export function isWordPart(code: number): boolean {
  return isWordStart(code) || isDigit(code) || code === DOLLAR;
}

const SYMBOLS = '()[],;:.';
const OPERATOR_CHARACTERS = '+-*/<>=~!@#%^&|`?';
const QUOTE = 39;
const DOUBLE_QUOTE = 34;
const DOLLAR = 36;
const DOT = 46;
const DASH = 45;
const PLUS = 43;
const SLASH = 47;
const STAR = 42;
const BACKSLASH = 92;
const AMPERSAND = 38;
const NEW_LINE = 10;
const CARRIAGE_RETURN = 13;
const LOWER_E = 101;
