import { isUtf8 } from 'node:buffer';
import { DbError } from '../base/errors.ts';
import { decodeText } from '../columns/utf8.ts';
import { PLAIN, QUOTED } from '../base/text-cells.ts';
import { textError, type Cutter, type Records } from './csv-records.ts';

/** An object may not be longer: a bracket without its partner would else swallow the rest of the file. */
const OBJECT_BYTES_MAX = 1 << 26;

/** Cells of a record: one a column. */
export type ColumnOfKey = (key: string) => number | undefined;

/**
 * Cuts NDJSON (an object a line) or JSON (an array of objects, or objects one after the other) into records of cells. Numbers
 * are kept as they are written: `JSON.parse` would round those of more than fifteen digits. NULL, and what an object does
 * not say, is an empty cell without quotes; texts are QUOTED, and so are arrays and objects, which come as JSON.
 */
export class JsonCutter implements Cutter {
  readonly #byLine: boolean;
  readonly #width: number;
  readonly #columnOf: ColumnOfKey;
  #buffer: Uint8Array = new Uint8Array(1 << 16);
  #length = 0;
  #at = 0;
  #line = 1;
  #lengthNeeded = 0;
  /** Between the objects of a file that is not cut by lines. */
  #state: 'start' | 'first' | 'element' | 'comma' | 'end' | 'objects';
  /** The keys of an object in their order, as the last object had them: most objects of a file are alike. */
  readonly #keys: { readonly bytes: Uint8Array; readonly column: number }[] = [];
  #cells: Cells;

  constructor(options: {
    readonly byLine: boolean;
    readonly width: number;
    readonly columnOf: ColumnOfKey;
  }) {
    this.#byLine = options.byLine;
    this.#width = options.width;
    this.#columnOf = options.columnOf;
    this.#state = 'start';
    this.#cells = new Cells(0, 0);
  }

  push(piece: Uint8Array): void {
    if (this.#length + piece.length > this.#buffer.length) {
      const rest = this.#length - this.#at;
      const needed = rest + piece.length;
      // A new buffer each time: records handed out still point into the old one.
      const buffer = new Uint8Array(Math.max(needed * 2, 1 << 16));
      buffer.set(this.#buffer.subarray(this.#at, this.#length));
      this.#lengthNeeded = Math.max(0, this.#lengthNeeded - this.#at);
      this.#buffer = buffer;
      this.#length = rest;
      this.#at = 0;
    }
    this.#buffer.set(piece, this.#length);
    this.#length += piece.length;
  }

  cut(rowCountMax: number, final: boolean): Records | undefined {
    if (!final && this.#length < this.#lengthNeeded) return undefined;
    const cells = (this.#cells = new Cells(rowCountMax, this.#width));
    const start = this.#at;
    while (cells.rowCount < rowCountMax) {
      const isWhole = this.#byLine ? this.#nextLine(final) : this.#nextObject(final);
      if (!isWhole) break;
    }
    if (cells.rowCount === 0) {
      const rest = this.#length - this.#at;
      if (rest > OBJECT_BYTES_MAX) {
        throw new DbError('54000', `line ${this.#line}: an object is longer than 64 MB`, {
          hint: 'Is a closing bracket or quote missing?',
        });
      }
      this.#lengthNeeded = this.#at + rest * 2;
      return undefined;
    }
    this.#lengthNeeded = 0;
    return cells.finish(this.#buffer, start, this.#at);
  }

  #nextLine(final: boolean): boolean {
    for (;;) {
      if (this.#at >= this.#length) return false;
      let end = this.#buffer.indexOf(LF, this.#at);
      if (end === -1 || end >= this.#length) {
        if (!final) return false;
        end = this.#length;
      }
      const start = this.#blanks(this.#at, end);
      const line = this.#line;
      this.#at = Math.min(end + 1, this.#length);
      this.#line += 1;
      if (start < end) {
        this.#record(start, end, line);
        return true;
      }
    }
  }

  /** Goes on to the end of the next object; false: there is none yet, or no more. */
  #nextObject(final: boolean): boolean {
    for (;;) {
      const at = this.#skipBlanks();
      if (at >= this.#length) {
        if (final && !['end', 'objects', 'start'].includes(this.#state)) throw this.#unended();
        return false;
      }
      const byte = this.#buffer[at]!;
      switch (this.#state) {
        case 'start':
          if (byte === OPEN_BRACKET) this.#state = 'first';
          else if (byte === OPEN_BRACE) this.#state = 'objects';
          else throw this.#wrong('the file is not an array of objects');
          if (byte === OPEN_BRACKET) this.#at = at + 1;
          continue;
        case 'comma':
          if (byte === COMMA) this.#state = 'element';
          else if (byte === CLOSE_BRACKET) this.#state = 'end';
          else throw this.#wrong('a comma is missing between two objects');
          this.#at = at + 1;
          continue;
        case 'end':
          throw this.#wrong('something follows the end of the array');
        case 'first':
          if (byte === CLOSE_BRACKET) {
            this.#state = 'end';
            this.#at = at + 1;
            continue;
          }
          break;
        case 'objects':
        case 'element':
      }
      if (byte !== OPEN_BRACE) throw this.#wrong('an element of the file is not an object');
      const end = nestedEnd(this.#buffer, at, this.#length);
      if (end === -1) {
        if (final) throw this.#unended();
        return false;
      }
      const line = this.#line;
      this.#countLines(at, end);
      this.#at = end;
      if (this.#state !== 'objects') this.#state = 'comma';
      this.#record(at, end, line);
      return true;
    }
  }

  #skipBlanks(): number {
    const at = this.#blanks(this.#at, this.#length);
    this.#countLines(this.#at, at);
    this.#at = at;
    return at;
  }

  #countLines(start: number, end: number): void {
    for (
      let at = this.#buffer.indexOf(LF, start);
      at !== -1 && at < end;
      at = this.#buffer.indexOf(LF, at + 1)
    )
      this.#line += 1;
  }

  #wrong(what: string): DbError {
    return new DbError('22P02', `line ${this.#line}: ${what}`, {
      hint: 'Give [{ … }, { … }], or NDJSON with one object a line.',
    });
  }

  #unended(): DbError {
    return new DbError('22P02', `line ${this.#line}: the file ends in the middle of its JSON`, {
      hint: 'Is the file complete?',
    });
  }

  #record(start: number, end: number, line: number): void {
    const cells = this.#cells;
    cells.begin(line);
    let cause: DbError | undefined;
    try {
      if (!isUtf8(this.#buffer.subarray(start, end)))
        cause = textError(this.#buffer.subarray(start, end));
      else this.#object(start, end);
    } catch (error) {
      if (!(error instanceof DbError)) throw error;
      cause = error;
    }
    cells.end(cause);
  }

  // ── One object, all of it between `start` and `end` ────────────────────────────────────────────────────────────

  #object(start: number, end: number): void {
    const bytes = this.#buffer;
    let at = start;
    if (bytes[at] !== OPEN_BRACE) throw notJson('not a JSON object');
    at = this.#blanks(at + 1, end);
    if (at < end && bytes[at] === CLOSE_BRACE) return this.#nothingFollows(at + 1, end);
    for (let position = 0; ; position += 1) {
      if (at >= end || bytes[at] !== QUOTE) throw notJson('a key is not in double quotes');
      const keyEnd = stringEnd(bytes, at, end);
      const column = this.#columnAt(position, at, keyEnd);
      at = this.#blanks(keyEnd, end);
      if (at >= end || bytes[at] !== COLON) throw notJson('a colon is missing after a key');
      at = this.#value(this.#blanks(at + 1, end), end, column);
      at = this.#blanks(at, end);
      if (at < end && bytes[at] === COMMA) {
        at = this.#blanks(at + 1, end);
        continue;
      }
      if (at < end && bytes[at] === CLOSE_BRACE) return this.#nothingFollows(at + 1, end);
      throw notJson('a comma or a closing brace is missing');
    }
  }

  #nothingFollows(at: number, end: number): void {
    if (this.#blanks(at, end) < end) throw notJson('something follows the object');
  }

  #blanks(at: number, end: number): number {
    const bytes = this.#buffer;
    while (
      at < end &&
      (bytes[at] === SPACE || bytes[at] === LF || bytes[at] === CR || bytes[at] === TAB)
    )
      at += 1;
    return at;
  }

  /** The column of the key in quotes at `start`; −1 where nobody wants it. */
  #columnAt(position: number, start: number, end: number): number {
    const bytes = this.#buffer;
    const known = this.#keys[position];
    if (known !== undefined && known.bytes.length === end - start) {
      let index = 0;
      while (index < known.bytes.length && known.bytes[index] === bytes[start + index]) index += 1;
      if (index === known.bytes.length) return known.column;
    }
    const text = decodeText(bytes, start + 1, end - 1);
    const key = text.includes('\\') ? (JSON.parse(`"${text}"`) as string) : text;
    const column = this.#columnOf(key) ?? -1;
    this.#keys[position] = { bytes: bytes.slice(start, end), column };
    return column;
  }

  #value(start: number, end: number, column: number): number {
    const bytes = this.#buffer;
    const cells = this.#cells;
    const byte = start < end ? bytes[start]! : 0;
    if (byte === QUOTE) {
      const close = stringEnd(bytes, start, end);
      if (column >= 0) {
        cells.set(column, start + 1, unescape(bytes, start + 1, close - 1), QUOTED);
      }
      return close;
    }
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      const close = nestedEnd(bytes, start, end);
      if (close === -1) throw notJson('a closing bracket is missing');
      try {
        JSON.parse(decodeText(bytes, start, close));
      } catch {
        throw notJson('a nested value is not valid JSON');
      }
      if (column >= 0) cells.set(column, start, close, QUOTED);
      return close;
    }
    for (const literal of LITERALS) {
      if (byte !== literal[0]) continue;
      const close = start + literal.length;
      for (let index = 1; index < literal.length; index += 1)
        if (bytes[start + index] !== literal[index]) throw notJson('a value is not valid JSON');
      if (close > end) throw notJson('a value is not valid JSON');
      // NULL is an empty cell.
      if (column >= 0) cells.set(column, start, literal === NULL ? start : close, PLAIN);
      return close;
    }
    const close = numberEnd(bytes, start, end);
    if (close === -1) throw notJson('a value is not valid JSON');
    if (column >= 0) cells.set(column, start, close, PLAIN);
    return close;
  }
}

class Cells {
  rowCount = 0;
  readonly #width: number;
  readonly #starts: Int32Array;
  readonly #ends: Int32Array;
  readonly #flags: Uint8Array;
  readonly #missing: Uint8Array;
  readonly #lines: Int32Array;
  readonly #malformed: { readonly row: number; readonly cause: DbError }[] = [];

  constructor(rowCountMax: number, width: number) {
    const count = rowCountMax * width;
    this.#width = width;
    this.#starts = new Int32Array(count);
    this.#ends = new Int32Array(count);
    this.#flags = new Uint8Array(count);
    this.#missing = new Uint8Array(count).fill(1);
    this.#lines = new Int32Array(rowCountMax);
  }

  begin(line: number): void {
    this.#lines[this.rowCount] = line;
  }

  /** Of a key that is given twice the last value counts, as in JSON.parse. */
  set(column: number, start: number, end: number, flag: number): void {
    const cell = this.rowCount * this.#width + column;
    this.#starts[cell] = start;
    this.#ends[cell] = end;
    this.#flags[cell] = flag;
    this.#missing[cell] = 0;
  }

  end(cause: DbError | undefined): void {
    if (cause !== undefined) this.#malformed.push({ row: this.rowCount, cause });
    this.rowCount += 1;
  }

  finish(bytes: Uint8Array, start: number, end: number): Records {
    const { rowCount } = this;
    return {
      bytes,
      rowCount,
      firstCell: Int32Array.from({ length: rowCount + 1 }, (_, row) => row * this.#width),
      starts: this.#starts,
      ends: this.#ends,
      flags: this.#flags,
      lines: this.#lines,
      start,
      end,
      malformed: this.#malformed,
      missing: this.#missing,
    };
  }
}

/** Behind the closing quote of the string that opens at `start`. */
function stringEnd(bytes: Uint8Array, start: number, end: number): number {
  for (let at = start + 1; at < end; at += 1) {
    const byte = bytes[at]!;
    if (byte === QUOTE) return at + 1;
    if (byte === BACKSLASH) at += 1;
    else if (byte < SPACE) throw notJson('a text has a control character that is not escaped');
  }
  throw notJson('a text does not end');
}

/** Behind the bracket that closes the one at `start`; −1: not before `end`. */
function nestedEnd(bytes: Uint8Array, start: number, end: number): number {
  let depth = 0;
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at]!;
    if (byte === QUOTE) {
      for (at += 1; at < end && bytes[at] !== QUOTE; at += 1) if (bytes[at] === BACKSLASH) at += 1;
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return -1;
}

/** Behind the number at `start`, as JSON writes numbers; −1 where there is none. */
function numberEnd(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  const digits = (): number => {
    const first = at;
    while (at < end && bytes[at]! >= ZERO && bytes[at]! <= NINE) at += 1;
    return at - first;
  };
  if (bytes[at] === MINUS) at += 1;
  const whole = at;
  const count = digits();
  if (count === 0 || (count > 1 && bytes[whole] === ZERO)) return -1;
  if (at < end && bytes[at] === DOT) {
    at += 1;
    if (digits() === 0) return -1;
  }
  if (at < end && (bytes[at]! | 0x20) === LOWER_E) {
    at += 1;
    if (bytes[at] === PLUS || bytes[at] === MINUS) at += 1;
    if (digits() === 0) return -1;
  }
  return at;
}

/** Takes the escapes of a text apart where it stands: no escape is shorter than what it means. Returns its new end. */
function unescape(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  while (at < end && bytes[at] !== BACKSLASH) at += 1;
  let to = at;
  while (at < end) {
    const byte = bytes[at]!;
    if (byte !== BACKSLASH) {
      bytes[to] = byte;
      to += 1;
      at += 1;
      continue;
    }
    const letter = bytes[at + 1]!;
    if (letter !== LOWER_U) {
      const plain = ESCAPES.get(letter);
      if (plain === undefined) throw notJson('a text has an escape that JSON does not know');
      bytes[to] = plain;
      to += 1;
      at += 2;
      continue;
    }
    let unit = hexAt(bytes, at + 2, end);
    at += 6;
    if (unit >= 0xd800 && unit <= 0xdfff) {
      const low =
        unit < 0xdc00 && bytes[at] === BACKSLASH && bytes[at + 1] === LOWER_U
          ? hexAt(bytes, at + 2, end)
          : 0;
      if (low < 0xdc00 || low > 0xdfff) {
        throw new DbError('22021', 'a text has half of a surrogate pair', {
          hint: 'Repair what cut a surrogate pair in two.',
        });
      }
      unit = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
      at += 6;
    }
    if (unit === 0) {
      throw new DbError('22021', 'invalid byte sequence for encoding "UTF8": 0x00', {
        hint: 'Remove NUL characters from the file.',
      });
    }
    to = putCodePoint(bytes, to, unit);
  }
  return to;
}

function hexAt(bytes: Uint8Array, start: number, end: number): number {
  const text = start + 4 <= end ? String.fromCharCode(...bytes.subarray(start, start + 4)) : '';
  if (!/^[0-9a-f]{4}$/i.test(text)) throw notJson('a text has an escape that JSON does not know');
  return Number.parseInt(text, 16);
}

function putCodePoint(bytes: Uint8Array, to: number, point: number): number {
  if (point < 0x80) {
    bytes[to] = point;
    return to + 1;
  }
  const more = point < 0x800 ? 1 : point < 0x1_0000 ? 2 : 3;
  bytes[to] = (point >> (6 * more)) | [0, 0xc0, 0xe0, 0xf0][more]!;
  for (let index = 1; index <= more; index += 1)
    bytes[to + index] = ((point >> (6 * (more - index))) & 0x3f) | 0x80;
  return to + 1 + more;
}

function notJson(what: string): DbError {
  return new DbError('22P02', what, { hint: 'Each row is a JSON object such as {"id": 1}.' });
}

const TAB = 9;
const LF = 10;
const CR = 13;
const SPACE = 32;
const QUOTE = 34;
const PLUS = 43;
const COMMA = 44;
const MINUS = 45;
const DOT = 46;
const ZERO = 48;
const NINE = 57;
const COLON = 58;
const OPEN_BRACKET = 91;
const BACKSLASH = 92;
const CLOSE_BRACKET = 93;
const LOWER_E = 101;
const LOWER_U = 117;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;
const NULL = Uint8Array.from(Buffer.from('null'));
const LITERALS = [
  Uint8Array.from(Buffer.from('true')),
  Uint8Array.from(Buffer.from('false')),
  NULL,
];
const ESCAPES = new Map(
  Object.entries({
    '"': '"',
    '\\': '\\',
    '/': '/',
    b: '\b',
    f: '\f',
    n: '\n',
    r: '\r',
    t: '\t',
  }).map(([letter, meaning]) => [letter.charCodeAt(0), meaning.charCodeAt(0)]),
);
