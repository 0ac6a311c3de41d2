import { isUtf8 } from 'node:buffer';
import { DbError } from '../base/errors.ts';
import { ESCAPED, PLAIN, QUOTED, type TextCells } from '../base/text-cells.ts';

/** A record may not be longer: an opening quote without its partner would else swallow the rest of the file. */
const RECORD_BYTES_MAX = 1 << 26;

/**
 * Cells of whole records: record r has the cells firstCell[r] … firstCell[r + 1). This is not udsv, since no string is made for a cell.
 */
export type Records = TextCells & {
  readonly rowCount: number;
  /** Line of the file, from 1, on which a record begins. */
  readonly lines: Int32Array;
  /** Where the records begin and end in `bytes`. */
  readonly start: number;
  readonly end: number;
  /** Records that are not read, with what is wrong with them. Their cells are noise. */
  readonly malformed: readonly { readonly row: number; readonly cause: DbError }[];
  /** By cell, 1: the record does not say it (JSON). Absent: all are said. */
  readonly missing?: Uint8Array | undefined;
};

/** Cuts a stream of bytes into records of cells. */
export interface Cutter {
  push(piece: Uint8Array): void;
  /** Up to `rowCountMax` whole records; undefined if there is none. `final`: nothing will be pushed any more. */
  cut(rowCountMax: number, final: boolean): Records | undefined;
}

/** Cuts CSV into records (RFC 4180; lines may end in LF, CR LF or CR). */
export class RecordCutter implements Cutter {
  readonly #delimiter: number;
  readonly #quote: number;
  #buffer: Uint8Array = new Uint8Array(1 << 16);
  #length = 0;
  #at = 0;
  #line: number;
  /** An unfinished record is looked at again only when the buffer has grown to this. */
  #lengthNeeded = 0;

  constructor(options: {
    readonly delimiter: number;
    readonly quote: number;
    readonly line?: number;
  }) {
    this.#delimiter = options.delimiter;
    this.#quote = options.quote;
    this.#line = options.line ?? 1;
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

  /** What has not been cut yet. */
  rest(): Uint8Array {
    return this.#buffer.subarray(this.#at, this.#length);
  }

  /** Up to `rowCountMax` whole records; undefined if there is none. After `final` the last needs no line end. */
  cut(rowCountMax: number, final: boolean): Records | undefined {
    if (!final && this.#length < this.#lengthNeeded) return undefined;
    const cells = new CellList(rowCountMax);
    const start = this.#at;
    while (cells.rowCount < rowCountMax && this.#at < this.#length) {
      const end = this.#record(cells, final);
      if (end === -1) break;
      this.#at = end;
    }
    if (cells.rowCount === 0) {
      const rest = this.#length - this.#at;
      if (rest > RECORD_BYTES_MAX) {
        throw new DbError('54000', `line ${this.#line}: a record is longer than 64 MB`, {
          hint: 'Is a closing quote missing?',
        });
      }
      this.#lengthNeeded = this.#at + rest * 2;
      return undefined;
    }
    this.#lengthNeeded = 0;
    return cells.finish(this.#buffer, start, this.#at);
  }

  /** Adds the record at `#at` and returns where the next begins; −1, and nothing added, if it is not whole yet. */
  #record(cells: CellList, final: boolean): number {
    const buffer = this.#buffer;
    const length = this.#length;
    const delimiter = this.#delimiter;
    const quote = this.#quote;
    const firstCell = cells.cellCount;
    let lines = 1;
    let isMalformed: 'open' | 'followed' | undefined;
    let at = this.#at;
    for (;;) {
      let start = at;
      let end: number;
      let flag = PLAIN;
      if (at < length && buffer[at] === quote) {
        start = at + 1;
        flag = QUOTED;
        at = start;
        for (;;) {
          end = buffer.indexOf(quote, at);
          if (end === -1 || end >= length) {
            if (!final) return cells.dropTo(firstCell);
            // The quote that is missing is the last thing anybody asks for.
            end = length;
            at = length;
            isMalformed = 'open';
            break;
          }
          at = end + 1;
          if (at >= length && !final) return cells.dropTo(firstCell);
          if (at >= length || buffer[at] !== quote) break;
          flag = ESCAPED;
          at += 1;
        }
        for (
          let found = buffer.indexOf(LF, start);
          found !== -1 && found < end;
          found = buffer.indexOf(LF, found + 1)
        )
          lines += 1;
        if (at < length && buffer[at] !== delimiter && buffer[at] !== LF && buffer[at] !== CR) {
          isMalformed = 'followed';
          while (at < length && buffer[at] !== delimiter && buffer[at] !== LF && buffer[at] !== CR)
            at += 1;
        }
      } else {
        while (at < length) {
          const byte = buffer[at]!;
          if (byte === delimiter || byte === LF || byte === CR) break;
          at += 1;
        }
        end = at;
      }
      if (at >= length && !final) return cells.dropTo(firstCell);
      cells.add(start, end, flag);
      if (at >= length) break;
      const byte = buffer[at]!;
      at += 1;
      if (byte === delimiter) continue;
      if (byte === CR) {
        if (at >= length && !final) return cells.dropTo(firstCell);
        if (at < length && buffer[at] === LF) at += 1;
      }
      break;
    }
    cells.endRecord(this.#line, isMalformed === undefined ? undefined : badQuote(isMalformed));
    this.#line += lines;
    return at;
  }
}

class CellList {
  rowCount = 0;
  cellCount = 0;
  #firstCell: Int32Array;
  #lines: Int32Array;
  #starts: Int32Array;
  #ends: Int32Array;
  #flags: Uint8Array;
  readonly #malformed: { readonly row: number; readonly cause: DbError }[] = [];

  constructor(rowCountMax: number) {
    this.#firstCell = new Int32Array(rowCountMax + 1);
    this.#lines = new Int32Array(rowCountMax);
    this.#starts = new Int32Array(1 << 12);
    this.#ends = new Int32Array(1 << 12);
    this.#flags = new Uint8Array(1 << 12);
  }

  add(start: number, end: number, flag: number): void {
    const at = this.cellCount;
    if (at === this.#starts.length) this.#grow();
    this.#starts[at] = start;
    this.#ends[at] = end;
    this.#flags[at] = flag;
    this.cellCount = at + 1;
  }

  endRecord(line: number, cause: DbError | undefined): void {
    this.#lines[this.rowCount] = line;
    if (cause !== undefined) this.#malformed.push({ row: this.rowCount, cause });
    this.rowCount += 1;
    this.#firstCell[this.rowCount] = this.cellCount;
  }

  dropTo(cellCount: number): -1 {
    this.cellCount = cellCount;
    return -1;
  }

  finish(bytes: Uint8Array, start: number, end: number): Records {
    // One look at all of them; a closer one only where something is wrong.
    const whole = bytes.subarray(start, end);
    if (!isUtf8(whole) || whole.includes(0)) {
      for (let row = 0; row < this.rowCount; row += 1) {
        const from = this.#starts[this.#firstCell[row]!]!;
        const to = this.#ends[this.#firstCell[row + 1]! - 1]!;
        const cause = textError(bytes.subarray(from, to));
        if (cause !== undefined) this.#malformed.push({ row, cause });
      }
    }
    return {
      bytes,
      rowCount: this.rowCount,
      firstCell: this.#firstCell,
      starts: this.#starts,
      ends: this.#ends,
      flags: this.#flags,
      lines: this.#lines,
      start,
      end,
      malformed: this.#malformed,
    };
  }

  #grow(): void {
    const grow = (array: Int32Array): Int32Array => {
      const larger = new Int32Array(array.length * 2);
      larger.set(array);
      return larger;
    };
    this.#starts = grow(this.#starts);
    this.#ends = grow(this.#ends);
    const flags = new Uint8Array(this.#flags.length * 2);
    flags.set(this.#flags);
    this.#flags = flags;
  }
}

/** What keeps bytes from being a text of ours (22021); undefined: nothing. */
export function textError(bytes: Uint8Array): DbError | undefined {
  if (!isUtf8(bytes)) {
    return new DbError('22021', 'invalid byte sequence for encoding "UTF8"', {
      hint: 'Convert the file to UTF-8 first, with iconv for example.',
    });
  }
  if (!bytes.includes(0)) return undefined;
  return new DbError('22021', 'invalid byte sequence for encoding "UTF8": 0x00', {
    hint: 'Remove NUL characters from the file.',
  });
}

function badQuote(kind: 'open' | 'followed'): DbError {
  return kind === 'open'
    ? new DbError('22P04', 'a quoted field does not end', {
        hint: 'Close the quote, or double it inside the field.',
      })
    : new DbError('22P04', 'something follows the closing quote of a field', {
        hint: 'Double the quotes inside the field.',
      });
}

const LF = 10;
const CR = 13;
