import { DbError, type TextPlace } from '../base/errors.ts';
import { ESCAPED, PLAIN, QUOTED, type TextCells } from '../base/text-cells.ts';
import type { DefaultMarker, SqlExpression } from './ast.ts';
import { findToken, isDigit, isKeyword, isSpace, isSymbol, isWordPart, tokenAt } from './tokens.ts';

type Value = SqlExpression | DefaultMarker;

/**
 * The rows of `INSERT … VALUES (…), …` where all values are literals: numbers with or without a minus, plain '…' texts, NULL, TRUE, FALSE,
 * DEFAULT. They stay what they are, places in the text's bytes: as a tree they would be some fifty times as large. NULL is an empty cell without quotes,
 * and so is DEFAULT, which `missing` tells from it.
 */
export class LiteralRows implements TextCells {
  readonly bytes: Uint8Array;
  readonly firstCell: Int32Array;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  readonly flags: Uint8Array;
  /** By cell, 1: DEFAULT. */
  readonly missing: Uint8Array;
  readonly width: number;
  readonly rowCount: number;
  readonly #places: BytePlaces;

  constructor(
    cells: Omit<TextCells, 'firstCell'> & { readonly missing: Uint8Array },
    width: number,
    places: BytePlaces,
  ) {
    this.bytes = cells.bytes;
    this.starts = cells.starts;
    this.ends = cells.ends;
    this.flags = cells.flags;
    this.missing = cells.missing;
    this.width = width;
    this.rowCount = cells.starts.length / width;
    this.firstCell = new Int32Array(this.rowCount);
    for (let row = 0; row < this.rowCount; row += 1) this.firstCell[row] = row * width;
    this.#places = places;
  }

  placeOf(row: number, column: number): TextPlace {
    const cell = row * this.width + column;
    // A text's place is that of its quote.
    return this.#places.placeOf(this.starts[cell]! - (this.flags[cell] === PLAIN ? 0 : 1));
  }

  isDefault(row: number, column: number): boolean {
    return this.missing[row * this.width + column] === 1;
  }

  isNull(row: number, column: number): boolean {
    const cell = row * this.width + column;
    return this.starts[cell] === this.ends[cell] && this.flags[cell] === PLAIN;
  }

  /** In each row. */
  isAlways(test: 'isDefault' | 'isNull', column: number): boolean {
    for (let row = 0; row < this.rowCount; row += 1) if (!this[test](row, column)) return false;
    return true;
  }

  hasDefault(column: number): boolean {
    for (let row = 0; row < this.rowCount; row += 1) if (this.isDefault(row, column)) return true;
    return false;
  }

  /** As the parser gives them, for whoever wants a tree. */
  values(): Value[][] {
    return Array.from({ length: this.rowCount }, (_, row) =>
      Array.from({ length: this.width }, (__, column) => this.#value(row, column)),
    );
  }

  #value(row: number, column: number): Value {
    const at = this.placeOf(row, column);
    if (this.isDefault(row, column)) return { kind: 'default', at };
    if (this.isNull(row, column)) return { at, kind: 'null' };
    const cell = row * this.width + column;
    const text = decoder.decode(this.bytes.subarray(this.starts[cell], this.ends[cell]));
    if (this.flags[cell] !== PLAIN)
      return { at, kind: 'string', value: text.replaceAll("''", "'") };
    if (/^[tf]/i.test(text)) return { at, kind: 'boolean', value: /^t/i.test(text) };
    return { at, kind: 'number', text: text.replace(/^(-?)0+(?=\d+$)/, '$1') };
  }
}

export type LongValues = {
  readonly rows: LiteralRows;
  /** All rows but the first: what the parser need not see. */
  readonly gap: { readonly start: number; readonly end: number };
};

/**
 * Reads the rows of an INSERT of literals; undefined if the text is anything else, or if what would be left for the parser (the head with the first
 * row, and what follows the rows) is longer than `restLengthMax`. It gives way when it has read some, a few milliseconds apart. The values are those
 * that the parser gives, places included.
 */
export function* readLongValues(
  text: string,
  restLengthMax: number,
): Generator<undefined, LongValues | undefined> {
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
  const reader = new LiteralReader(text, values.end);
  for (;;) {
    const step = reader.read(STEP_BYTES);
    if (step === 'other') return undefined;
    if (step === 'done') break;
    yield;
  }
  const { gap } = reader;
  return gap.start + text.length - gap.end > restLengthMax
    ? undefined
    : { rows: reader.rows(), gap };
}

/** Some 2 ms. */
const STEP_BYTES = 1 << 18;

class LiteralReader {
  readonly #text: string;
  /** Where the bytes begin in the text. */
  readonly #offset: number;
  readonly #bytes: Uint8Array;
  #at = 0;
  #firstEnd = 0;
  #rowsEnd = 0;
  #width = 0;
  #cellCount = 0;
  #starts: Int32Array = new Int32Array(0);
  #ends: Int32Array = new Int32Array(0);
  #flags: Uint8Array = new Uint8Array(0);
  #missing: Uint8Array = new Uint8Array(0);

  constructor(text: string, offset: number) {
    this.#text = text;
    this.#offset = offset;
    this.#bytes = encoder.encode(text.slice(offset));
  }

  /** Reads on for so many bytes, to the end of a row. */
  read(byteCount: number): 'more' | 'done' | 'other' {
    const stop = this.#at + byteCount;
    do {
      if (!this.#row()) return 'other';
      this.#rowsEnd = this.#at;
      if (!this.#take(COMMA)) return 'done';
    } while (this.#at < stop);
    return 'more';
  }

  rows(): LiteralRows {
    const cells = {
      bytes: this.#bytes,
      starts: this.#starts.subarray(0, this.#cellCount),
      ends: this.#ends.subarray(0, this.#cellCount),
      flags: this.#flags.subarray(0, this.#cellCount),
      missing: this.#missing.subarray(0, this.#cellCount),
    };
    return new LiteralRows(cells, this.#width, this.#places());
  }

  /** A parenthesised list of literals. */
  #row(): boolean {
    if (!this.#take(OPEN)) return false;
    const from = this.#cellCount;
    do {
      if (this.#cellCount === this.#starts.length) this.#grow();
      if (!this.#value()) return false;
      this.#cellCount += 1;
    } while (this.#take(COMMA));
    if (!this.#take(CLOSE)) return false;
    const width = this.#cellCount - from;
    if (from === 0) {
      this.#width = width;
      this.#firstEnd = this.#at;
    } else if (width !== this.#width) {
      throw new DbError('42601', 'VALUES lists must all be the same length', {
        at: this.rows().placeOf(from / this.#width, 0),
      });
    }
    return true;
  }

  /** As much as the text will need if it goes on as it has begun, and a little more. */
  #grow(): void {
    const share = this.#bytes.length / Math.max(1, this.#at);
    const room = Math.min(
      this.#bytes.length,
      Math.max(this.#cellCount * 2, Math.ceil(this.#cellCount * share * 1.1), 64),
    );
    const longer = <Numbers extends Int32Array | Uint8Array>(
      to: Numbers,
      from: Numbers,
    ): Numbers => {
      to.set(from);
      return to;
    };
    this.#starts = longer(new Int32Array(room), this.#starts);
    this.#ends = longer(new Int32Array(room), this.#ends);
    this.#flags = longer(new Uint8Array(room), this.#flags);
    this.#missing = longer(new Uint8Array(room), this.#missing);
  }

  #take(code: number): boolean {
    this.#skip();
    if (this.#bytes[this.#at] !== code) return false;
    this.#at += 1;
    return true;
  }

  /** White space and comments, which nest. */
  #skip(): void {
    const bytes = this.#bytes;
    for (;;) {
      const code = bytes[this.#at]!;
      if (isSpace(code)) this.#at += 1;
      else if (code === MINUS && bytes[this.#at + 1] === MINUS) {
        while (
          this.#at < bytes.length &&
          bytes[this.#at] !== NEW_LINE &&
          bytes[this.#at] !== CARRIAGE_RETURN
        )
          this.#at += 1;
      } else if (code === SLASH && bytes[this.#at + 1] === STAR) this.#skipComment();
      else return;
    }
  }

  #skipComment(): void {
    const bytes = this.#bytes;
    let depth = 0;
    while (this.#at < bytes.length) {
      const code = bytes[this.#at];
      const next = bytes[this.#at + 1];
      if (code === SLASH && next === STAR) depth += 1;
      else if (code === STAR && next === SLASH) depth -= 1;
      else {
        this.#at += 1;
        continue;
      }
      this.#at += 2;
      if (depth === 0) return;
    }
  }

  #value(): boolean {
    this.#skip();
    const bytes = this.#bytes;
    const start = this.#at;
    const code = bytes[start]!;
    if (code === QUOTE) return this.#string(start);
    if (isDigit(code) || code === DOT) return this.#number(start, start);
    if (code !== MINUS) return this.#word(start);
    let digits = start + 1;
    // Between a minus and a number only blanks: `--` is a comment, `-(1)` the parser's.
    while (isSpace(bytes[digits]!)) digits += 1;
    return (isDigit(bytes[digits]!) || bytes[digits] === DOT) && this.#number(start, digits);
  }

  #string(start: number): boolean {
    const bytes = this.#bytes;
    let flag = QUOTED;
    let end = start + 1;
    for (;;) {
      while (end < bytes.length && bytes[end] !== QUOTE) end += 1;
      if (bytes[end + 1] !== QUOTE) break;
      flag = ESCAPED;
      end += 2;
    }
    if (end >= bytes.length) return false;
    this.#at = end + 1;
    // Anything else (a cast, an operator, a literal continued on the next line) is left to the parser.
    return this.#put(start + 1, end, flag);
  }

  #number(start: number, digits: number): boolean {
    const bytes = this.#bytes;
    let end = digits;
    while (isDigit(bytes[end]!)) end += 1;
    const isInteger = bytes[end] !== DOT && (bytes[end]! | 0x20) !== LOWER_E;
    if (!isInteger) {
      if (bytes[end] === DOT) {
        end += 1;
        while (isDigit(bytes[end]!)) end += 1;
        if (end === digits + 1) return false;
      }
      if ((bytes[end]! | 0x20) === LOWER_E) {
        end += 1;
        if (bytes[end] === PLUS || bytes[end] === MINUS) end += 1;
        if (!isDigit(bytes[end]!)) return false;
        while (isDigit(bytes[end]!)) end += 1;
      }
    }
    if (isWordPart(bytes[end]!) || bytes[end] === DOT) return false;
    this.#at = end;
    // The parser folds −0 to 0 for integers that fit int4 and keeps the sign of all others.
    const keepsSign = digits > start && !(isInteger && isZero(bytes, digits, end));
    const from = keepsSign ? start + 1 : start;
    if (from === digits) return this.#put(start, end, PLAIN);
    // The bytes are ours: the digits move next to their minus, or in its place.
    bytes.copyWithin(from, digits, end);
    return this.#put(start, from + end - digits, PLAIN);
  }

  #word(start: number): boolean {
    const isDefault = spells(this.#bytes, start, DEFAULT);
    const isNull = isDefault || spells(this.#bytes, start, NULL);
    if (isDefault) this.#at = start + DEFAULT.length;
    else if (isNull) this.#at = start + NULL.length;
    else if (spells(this.#bytes, start, TRUE)) this.#at = start + TRUE.length;
    else if (spells(this.#bytes, start, FALSE)) this.#at = start + FALSE.length;
    else return false;
    this.#missing[this.#cellCount] = isDefault ? 1 : 0;
    return this.#put(start, isNull ? start : this.#at, PLAIN);
  }

  /** A value is followed by a comma or the end of the row, which it does not take. */
  #put(start: number, end: number, flag: number): boolean {
    this.#skip();
    const code = this.#bytes[this.#at];
    this.#starts[this.#cellCount] = start;
    this.#ends[this.#cellCount] = end;
    this.#flags[this.#cellCount] = flag;
    return code === COMMA || code === CLOSE;
  }

  #places(): BytePlaces {
    return new BytePlaces(this.#text, this.#offset, this.#bytes);
  }

  get gap(): { readonly start: number; readonly end: number } {
    const places = this.#places();
    return { start: places.offsetOf(this.#firstEnd), end: places.offsetOf(this.#rowsEnd) };
  }
}

/** Of bytes, in the text. Who asks in their order is answered at once; who goes back is counted for from the beginning. */
class BytePlaces {
  readonly #text: string;
  readonly #start: number;
  readonly #bytes: Uint8Array;
  #byte = 0;
  #offset: number;
  #line = 1;
  #lineStart = 0;

  constructor(text: string, start: number, bytes: Uint8Array) {
    this.#text = text;
    this.#start = start;
    this.#bytes = bytes;
    this.#offset = start;
  }

  /** In UTF-16 units. */
  offsetOf(byte: number): number {
    const bytes = this.#bytes;
    if (bytes.length === this.#text.length - this.#start) return this.#start + byte;
    if (byte < this.#byte) {
      this.#byte = 0;
      this.#offset = this.#start;
    }
    for (; this.#byte < byte; this.#byte += 1) {
      const code = bytes[this.#byte]!;
      if ((code & 0xc0) !== 0x80) this.#offset += code >= 0xf0 ? 2 : 1;
    }
    return this.#offset;
  }

  placeOf(byte: number): TextPlace {
    const offset = this.offsetOf(byte);
    if (offset < this.#lineStart) {
      this.#line = 1;
      this.#lineStart = 0;
    }
    for (;;) {
      const end = this.#text.indexOf('\n', this.#lineStart);
      if (end === -1 || end >= offset) break;
      this.#line += 1;
      this.#lineStart = end + 1;
    }
    return { offset, line: this.#line, column: offset - this.#lineStart + 1 };
  }
}

/** A whole word in upper or lower case. */
function spells(bytes: Uint8Array, start: number, word: Uint8Array): boolean {
  for (let at = 0; at < word.length; at += 1)
    if ((bytes[start + at]! | 0x20) !== word[at]) return false;
  return !isWordPart(bytes[start + word.length]!);
}

function isZero(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) if (bytes[at] !== ZERO) return false;
  return true;
}

const encoder = new TextEncoder();
const DEFAULT = encoder.encode('default');
const NULL = encoder.encode('null');
const TRUE = encoder.encode('true');
const FALSE = encoder.encode('false');
/** `ignoreBOM` keeps a leading U+FEFF, which is an ordinary character inside a value. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

const NEW_LINE = 10;
const CARRIAGE_RETURN = 13;
const QUOTE = 39;
const OPEN = 40;
const CLOSE = 41;
const STAR = 42;
const PLUS = 43;
const COMMA = 44;
const MINUS = 45;
const DOT = 46;
const SLASH = 47;
const ZERO = 48;
const LOWER_E = 101;
