import { DbError } from '../base/errors.ts';
import { COMMON_KEYWORDS, quoteName } from '../base/keywords.ts';
import type { SourceText } from './source-text.ts';
import { formOf, hintOfHabit } from './statement-forms.ts';
import { isSymbol, tokenAt, type Token } from './tokens.ts';

/** libpg-query's parse; it throws an Error with `sqlDetails` where the syntax is wrong. */
export type RawParse = (text: string) => unknown;

/** What is longer gets no hint. */
const HINT_TEXT_LENGTH_MAX = 1 << 16;
/** Correcting a text means parsing it again, some thirty times: of one that is longer only its form is told, since others wait. */
const REPAIR_TEXT_LENGTH_MAX = 1 << 14;
const REPAIR_ATTEMPTS_MAX = 16;
/** The parser quotes the token it stopped at, which may be a megabyte. */
const MESSAGE_LENGTH_MAX = 200;

/** What the parser threw, as a DbError with its place in the text, and a hint where one is worth giving. */
export function errorOfParser(parseRaw: RawParse, source: SourceText, cause: unknown): DbError {
  const error = cause as {
    readonly message?: unknown;
    readonly sqlDetails?: { readonly cursorPosition?: number };
  };
  const message = typeof error.message === 'string' ? error.message : 'the parser failed';
  if (error.sqlDetails === undefined) {
    // Not PostgreSQL's scanner or grammar: the WebAssembly module ran out of stack or memory.
    return new DbError('54001', 'statement is too complex for the parser', { cause });
  }
  if (/memory exhausted|stack depth/.test(message))
    return new DbError('54001', 'statement is too deeply nested', { detail: message });
  const position = error.sqlDetails.cursorPosition ?? 0;
  const offset = source.offsetOfCodePoint(position);
  const hint =
    source.parsed.length <= HINT_TEXT_LENGTH_MAX
      ? hintFor(parseRaw, source, message, position)
      : undefined;
  return new DbError(sqlStateOf(message), shortened(message), {
    at: source.placeAt(Math.min(offset, source.text.length)),
    hint,
  });
}

function shortened(message: string): string {
  return message.length <= MESSAGE_LENGTH_MAX
    ? message
    : `${message.slice(0, MESSAGE_LENGTH_MAX)}…"`;
}

/** Errors that the grammar reports under another code than syntax_error (PostgreSQL's gram.y and scan.l). */
const SQL_STATES: readonly (readonly [RegExp, string])[] = [
  [/^(invalid byte sequence|invalid Unicode character)/, '22021'],
  [/^(invalid Unicode (escape|surrogate)|unsafe use of)/, '22025'],
  [/^frame (start|end)ing? |^frame starting/, '42P20'],
  [/parameter number too large|^value .* out of range/, '22003'],
  [/^(precision for type|interval\(|invalid .* precision)/, '22023'],
  [/not (yet )?(supported|implemented)$|are not supported$/, '0A000'],
];

function sqlStateOf(message: string): string {
  if (message.startsWith('LIMIT #,#')) return '42601';
  return SQL_STATES.find(([pattern]) => pattern.test(message))?.[1] ?? '42601';
}

function hintFor(
  parseRaw: RawParse,
  source: SourceText,
  message: string,
  position: number,
): string | undefined {
  if (message.startsWith('LIMIT #,#')) return 'Use separate LIMIT and OFFSET clauses.';
  if (message.startsWith('unterminated quoted string'))
    return "Inside a text a quote is written twice: 'it''s'.";
  if (message.startsWith('unterminated quoted identifier'))
    return 'A name in double quotes ends with a double quote.';
  if (!message.startsWith('syntax error')) return undefined;
  const text = source.parsed;
  const errorAt = utf16Offset(text, position);
  const before = tokensUntil(text, errorAt);
  const at = tokenAt(text, errorAt);
  if (
    [...before, at].some(
      (token) => token.kind === 'operator' && text.slice(token.start, token.end).includes('`'),
    )
  ) {
    return 'Names are quoted with double quotes, not with backticks.';
  }
  const habit = hintOfHabit(text, before, at);
  if (habit !== undefined) return habit;
  if (text.length > REPAIR_TEXT_LENGTH_MAX) return formOf(text, before, at);
  const keyword = misspelt(parseRaw, text, at, before);
  if (keyword !== undefined) return `Did you mean "${keyword.toUpperCase()}"?`;
  const where = at.kind === 'end' ? 'at the end' : `before ${quotedWord(text, at)}`;
  const previous = before.at(-1);
  if (previous !== undefined && isSymbol(text, previous, ','))
    return `Remove the comma ${where}, or write what should follow it.`;
  const reserved = reservedName(parseRaw, text, previous === undefined ? [at] : [at, previous]);
  if (reserved !== undefined)
    return `"${reserved}" is a reserved word; as a name it is written in double quotes.`;
  if (at.kind === 'end' && openParentheses(text, before) > 0)
    return 'A closing parenthesis is missing.';
  if (at.kind === 'end' && previous !== undefined && SELDOM_NAMES.has(lowered(text, previous)))
    return `Write what should follow ${quotedWord(text, previous)}.`;
  for (const [missing, name] of MISSING)
    for (const token of previous === undefined ? [at] : [at, previous]) {
      const repaired = `${text.slice(0, token.start)} ${missing} ${text.slice(token.start)}`;
      if (failsAt(parseRaw, repaired) === undefined)
        return `${name} is missing ${token.kind === 'end' ? 'at the end' : `before ${quotedWord(text, token)}`}.`;
    }
  const isRemovable = at.kind === 'symbol' || at.kind === 'operator';
  if (isRemovable && failsAt(parseRaw, replaced(text, at, '')) === undefined)
    return `Remove ${quotedWord(text, at)}.`;
  if (at.kind === 'end' && previous !== undefined && isUnfinished(text, previous))
    return `Write what should follow ${quotedWord(text, previous)}.`;
  return formOf(text, before, at);
}

/**
 * What makes the text whole when it is put before the token at which parsing stopped, or before the one before it: reserved words, since all others
 * could be names.
 */
const MISSING = [
  [')', 'A closing parenthesis'],
  [',', 'A comma'],
  ['end', 'END of CASE'],
  ['into', 'INTO'],
  ['from', 'FROM'],
  ['as', 'AS'],
  ['table', 'TABLE'],
  ['on true', 'ON with a condition'],
  ['and 1', 'AND with the upper bound'],
] as const;

/** An operator, or a word of SQL that no statement ends with. */
function isUnfinished(text: string, token: Token): boolean {
  if (token.kind === 'operator') return true;
  const word = lowered(text, token);
  return token.kind === 'word' && quoteName(word).startsWith('"') && /^[a-z_]+$/.test(word);
}

function lowered(text: string, { start, end }: Token): string {
  return text.slice(start, end).toLowerCase();
}

function quotedWord(text: string, token: Token): string {
  const word = text.slice(token.start, token.end);
  return word.length <= MESSAGE_LENGTH_MAX ? `"${word}"` : 'this';
}

/** Reserved words, and names of types, that stand where they should not more often than they are meant as names. */
const SELDOM_NAMES = new Set(
  'select from where having using join on and or not in is as distinct union into values set all int integer bigint smallint'.split(
    ' ',
  ),
);

/** The first of these tokens that is a reserved word and with quotes makes a statement of the text. */
function reservedName(
  parseRaw: RawParse,
  text: string,
  tokens: readonly Token[],
): string | undefined {
  for (const token of tokens) {
    const word = text.slice(token.start, token.end);
    const isReserved =
      token.kind === 'word' &&
      !SELDOM_NAMES.has(word.toLowerCase()) &&
      quoteName(word.toLowerCase()).startsWith('"') &&
      /^[a-z_]+$/i.test(word);
    if (isReserved && failsAt(parseRaw, replaced(text, token, `"${word}"`)) === undefined)
      return word;
  }
  return undefined;
}

/**
 * The keyword that a word at or shortly before the error should have been: one that is spelt nearly the same and
 * with which the text parses, or at least parses further than to the next token.
 */
function misspelt(
  parseRaw: RawParse,
  text: string,
  at: Token,
  before: readonly Token[],
): string | undefined {
  let attempts = 0;
  let best: { readonly keyword: string; readonly failsAt: number } | undefined;
  for (const token of [at, ...before.slice(-3).reverse()]) {
    if (token.kind !== 'word') continue;
    const word = text.slice(token.start, token.end).toLowerCase();
    if (word.length < 3 || COMMON_KEYWORDS.includes(word)) continue;
    for (const keyword of nearest(word)) {
      attempts += 1;
      if (attempts > REPAIR_ATTEMPTS_MAX) return best?.keyword;
      const failure = failsAt(parseRaw, replaced(text, token, keyword));
      if (failure === undefined) return keyword;
      const reached = failure - (keyword.length - word.length);
      if (reached > at.end && reached > (best?.failsAt ?? 0)) best = { keyword, failsAt: reached };
    }
  }
  return best?.keyword;
}

function nearest(word: string): string[] {
  const distanceMax = word.length >= 6 ? 2 : 1;
  return COMMON_KEYWORDS.map((keyword) => ({
    keyword,
    distance: editDistance(word, keyword, distanceMax),
  }))
    .filter(({ distance }) => distance <= distanceMax)
    .sort((a, b) => a.distance - b.distance)
    .map(({ keyword }) => keyword);
}

/** UTF-16 offset where parsing stops; undefined if it does not. */
function failsAt(parseRaw: RawParse, text: string): number | undefined {
  try {
    parseRaw(text);
    return undefined;
  } catch (cause) {
    const position = (cause as { readonly sqlDetails?: { readonly cursorPosition?: number } })
      .sqlDetails?.cursorPosition;
    return utf16Offset(text, position ?? 0);
  }
}

function replaced(text: string, token: Token, by: string): string {
  return text.slice(0, token.start) + by + text.slice(token.end);
}

function utf16Offset(text: string, codePoints: number): number {
  let offset = 0;
  for (let left = codePoints; left > 0 && offset < text.length; left -= 1)
    offset += text.codePointAt(offset)! > 0xffff ? 2 : 1;
  return offset;
}

function tokensUntil(text: string, end: number): Token[] {
  const tokens: Token[] = [];
  for (
    let token = tokenAt(text, 0);
    token.kind !== 'end' && token.start < end;
    token = tokenAt(text, token.end)
  )
    tokens.push(token);
  return tokens;
}

function openParentheses(text: string, tokens: readonly Token[]): number {
  let depth = 0;
  for (const token of tokens) {
    if (isSymbol(text, token, '(')) depth += 1;
    else if (isSymbol(text, token, ')')) depth -= 1;
  }
  return depth;
}

/**
 * Optimal string alignment: insertions, deletions, replacements, and neighbours swapped. Anything above `max` may
 * come out as max + 1.
 */
export function editDistance(a: string, b: string, max: number): number {
  if (Math.abs(a.length - b.length) > max) return max + 1;
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, beforePrevious[j - 2]! + 1);
      row.push(best);
    }
    beforePrevious = previous;
    previous = row;
  }
  return previous[b.length]!;
}
