import { DbError, type TextPlace } from '../base/errors.ts';
import type { DefaultMarker, SqlExpression } from './ast.ts';
import {
  findToken,
  isDigit,
  isKeyword,
  isSymbol,
  isWordPart,
  skipSpace,
  tokenAt,
} from './tokens.ts';

type Value = SqlExpression | DefaultMarker;
export type LongValues = {
  readonly rows: readonly (readonly Value[])[];
  /** All rows but the first: what the parser need not see. */
  readonly gap: { readonly start: number; readonly end: number };
};

/**
 * Reads the rows of `INSERT … VALUES (…), …` where all values are literals: numbers with or without a minus, plain
 * '…' texts, NULL, TRUE, FALSE, DEFAULT. undefined if the text is anything else, or if what would be left for the
 * parser (the head with the first row, and what follows the rows) is longer than `restLengthMax`. The values are
 * those that the parser gives, places included.
 */
export function readLongValues(text: string, restLengthMax: number): LongValues | undefined {
  const first = tokenAt(text, 0);
  if (!isKeyword(text, first, 'insert')) return undefined;
  const head = text.length > restLengthMax ? text.slice(0, restLengthMax) : text;
  const values = findToken(
    head,
    first.end,
    (token) =>
      isKeyword(head, token, 'values') ||
      isKeyword(head, token, 'select') ||
      isSymbol(head, token, ';'),
  );
  if (!isKeyword(text, values, 'values')) return undefined;
  const reader = new RowReader(text, values.end);
  const rows: Value[][] = [];
  let firstEnd = 0;
  let rowsEnd = 0;
  for (;;) {
    const row = reader.row();
    if (row === undefined) return undefined;
    if (rows.length > 0 && row.length !== rows[0]!.length) {
      throw new DbError('42601', 'VALUES lists must all be the same length', { at: row[0]?.at });
    }
    rows.push(row);
    rowsEnd = reader.offset;
    if (rows.length === 1) firstEnd = rowsEnd;
    if (!reader.comma()) break;
  }
  return firstEnd + text.length - rowsEnd > restLengthMax
    ? undefined
    : { rows, gap: { start: firstEnd, end: rowsEnd } };
}

class RowReader {
  readonly #text: string;
  offset: number;
  #line = 1;
  #lineStart = 0;
  #nextNewLine: number;

  constructor(text: string, offset: number) {
    this.#text = text;
    this.offset = offset;
    this.#nextNewLine = text.indexOf('\n');
  }

  /** A parenthesised list of literals. */
  row(): Value[] | undefined {
    if (!this.#take(OPEN)) return undefined;
    const row: Value[] = [];
    do {
      const value = this.#value();
      if (value === undefined) return undefined;
      row.push(value);
    } while (this.#take(COMMA));
    return this.#take(CLOSE) ? row : undefined;
  }

  comma(): boolean {
    return this.#take(COMMA);
  }

  #take(code: number): boolean {
    this.#skip();
    if (this.#text.charCodeAt(this.offset) !== code) return false;
    this.offset += 1;
    return true;
  }

  #skip(): void {
    const code = this.#text.charCodeAt(this.offset);
    if (code > 47 || (code > 32 && code < 45)) return;
    this.offset = skipSpace(this.#text, this.offset);
  }

  #value(): Value | undefined {
    this.#skip();
    const text = this.#text;
    const start = this.offset;
    const code = text.charCodeAt(start);
    if (code === QUOTE) return this.#string(start);
    if (isDigit(code) || code === DOT) return this.#number(start, start);
    if (code === MINUS) {
      const digits = skipSpace(text, start + 1);
      // Between a minus and a number only blanks: `--` is a comment, `-(1)` the parser's.
      return isDigit(text.charCodeAt(digits)) || text.charCodeAt(digits) === DOT
        ? this.#number(start, digits)
        : undefined;
    }
    return this.#word(start);
  }

  #string(start: number): Value | undefined {
    const text = this.#text;
    let end = text.indexOf("'", start + 1);
    let isDoubled = false;
    while (end !== -1 && text.charCodeAt(end + 1) === QUOTE) {
      isDoubled = true;
      end = text.indexOf("'", end + 2);
    }
    if (end === -1) return undefined;
    const at = this.#place(start);
    this.offset = end + 1;
    // Anything else (a cast, an operator, a literal continued on the next line) is left to the parser.
    if (!this.#isFollowed()) return undefined;
    const value = text.slice(start + 1, end);
    return { at, kind: 'string', value: isDoubled ? value.replaceAll("''", "'") : value };
  }

  #number(start: number, digitsStart: number): Value | undefined {
    const text = this.#text;
    let end = digitsStart;
    while (isDigit(text.charCodeAt(end))) end += 1;
    const isInteger = text.charCodeAt(end) !== DOT && (text.charCodeAt(end) | 0x20) !== LOWER_E;
    if (!isInteger) {
      if (text.charCodeAt(end) === DOT) {
        end += 1;
        while (isDigit(text.charCodeAt(end))) end += 1;
        if (end === digitsStart + 1) return undefined;
      }
      if ((text.charCodeAt(end) | 0x20) === LOWER_E) {
        end += 1;
        const sign = text.charCodeAt(end);
        if (sign === PLUS || sign === MINUS) end += 1;
        if (!isDigit(text.charCodeAt(end))) return undefined;
        while (isDigit(text.charCodeAt(end))) end += 1;
      }
    }
    if (isWordPart(text.charCodeAt(end)) || text.charCodeAt(end) === DOT) return undefined;
    const at = this.#place(start);
    this.offset = end;
    if (!this.#isFollowed()) return undefined;
    let digits = text.slice(digitsStart, end);
    if (isInteger && digits.length > 1 && digits.startsWith('0'))
      digits = digits.replace(/^0+(?=\d)/, '');
    // The parser folds −0 to 0 for integers that fit int4 and keeps the sign of all others.
    const isZero = isInteger && digits === '0';
    return { at, kind: 'number', text: start === digitsStart || isZero ? digits : `-${digits}` };
  }

  #word(start: number): Value | undefined {
    const text = this.#text;
    let end = start;
    while (isWordPart(text.charCodeAt(end))) end += 1;
    const length = end - start;
    if (length < 4 || length > 7) return undefined;
    const word = text.slice(start, end).toLowerCase();
    const at = this.#place(start);
    this.offset = end;
    if (!this.#isFollowed()) return undefined;
    if (word === 'null') return { at, kind: 'null' };
    if (word === 'true') return { at, kind: 'boolean', value: true };
    if (word === 'false') return { at, kind: 'boolean', value: false };
    return word === 'default' ? { kind: 'default', at } : undefined;
  }

  /** By a comma or the end of the row, which it does not take. */
  #isFollowed(): boolean {
    this.#skip();
    const code = this.#text.charCodeAt(this.offset);
    return code === COMMA || code === CLOSE;
  }

  /** Offsets only ever ascend, so the lines are counted on the way. */
  #place(offset: number): TextPlace {
    while (this.#nextNewLine !== -1 && this.#nextNewLine < offset) {
      this.#line += 1;
      this.#lineStart = this.#nextNewLine + 1;
      this.#nextNewLine = this.#text.indexOf('\n', this.#lineStart);
    }
    return { offset, line: this.#line, column: offset - this.#lineStart + 1 };
  }
}

const QUOTE = 39;
const OPEN = 40;
const CLOSE = 41;
const PLUS = 43;
const COMMA = 44;
const MINUS = 45;
const DOT = 46;
const LOWER_E = 101;
