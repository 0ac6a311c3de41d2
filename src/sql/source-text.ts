import type { TextPlace } from '../base/errors.ts';

/**
 * A statement's text as the user wrote it, beside the text that the parser saw, which may differ from it in two
 * ways: `prefix` characters stand before it (an expression is parsed behind `SELECT `), and `gap` is missing from
 * it (the rows of a long VALUES list are read by us, not by the parser). Turns the parser's places, which count
 * UTF-8 bytes or code points of what it saw, into places in what the user wrote, which count UTF-16 units.
 */
export class SourceText {
  readonly text: string;
  readonly parsed: string;
  readonly #prefixLength: number;
  readonly #gap: { readonly start: number; readonly end: number } | undefined;
  readonly #isAscii: boolean;
  /** UTF-16 offset of each UTF-8 byte of `parsed`; built on first use, and only if `parsed` is not ASCII. */
  #offsetOfByte: Uint32Array | undefined;
  #lineStarts: readonly number[] | undefined;

  constructor(
    text: string,
    options: {
      readonly prefix?: string;
      readonly gap?: { readonly start: number; readonly end: number };
      readonly parsed?: string;
    } = {},
  ) {
    const { prefix = '', gap } = options;
    this.text = text;
    this.parsed =
      options.parsed ??
      prefix + (gap === undefined ? text : text.slice(0, gap.start) + text.slice(gap.end));
    this.#prefixLength = prefix.length;
    this.#gap = gap;
    // eslint-disable-next-line no-control-regex -- the range is all of ASCII.
    this.#isAscii = /^[\x00-\x7f]*$/.test(this.parsed);
  }

  /** Of a `location` in the raw tree; the JSON omits it where it is 0, and −1 means that none is known. */
  placeOf(location: number | undefined): TextPlace | undefined {
    return location === -1 ? undefined : this.placeAt(this.offsetOf(location ?? 0));
  }

  /** UTF-16 offset in `text` of a byte of `parsed`. */
  offsetOf(byte: number): number {
    let offset = byte;
    if (!this.#isAscii) {
      this.#offsetOfByte ??= offsetsOfBytes(this.parsed);
      offset = this.#offsetOfByte[Math.min(byte, this.#offsetOfByte.length - 1)]!;
    }
    return this.#toText(offset);
  }

  /** UTF-16 offset in `text` of a code point of `parsed`. */
  offsetOfCodePoint(index: number): number {
    if (this.#isAscii) return this.#toText(Math.min(index, this.parsed.length));
    let offset = 0;
    for (let left = index; left > 0 && offset < this.parsed.length; left -= 1) {
      offset += this.parsed.codePointAt(offset)! > 0xffff ? 2 : 1;
    }
    return this.#toText(offset);
  }

  placeAt(offset: number): TextPlace {
    this.#lineStarts ??= lineStartsOf(this.text);
    const starts = this.#lineStarts;
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return { offset, line: low + 1, column: offset - starts[low]! + 1 };
  }

  #toText(offset: number): number {
    const inText = Math.max(0, offset - this.#prefixLength);
    const gap = this.#gap;
    return gap === undefined || inText < gap.start ? inText : inText + gap.end - gap.start;
  }
}

function lineStartsOf(text: string): readonly number[] {
  const starts = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return starts;
}

/** One entry more than there are bytes, so that the end has an offset too. */
function offsetsOfBytes(text: string): Uint32Array {
  const offsets = new Uint32Array(text.length * 3 + 1);
  let byte = 0;
  for (let offset = 0; offset < text.length; offset += 1) {
    const code = text.codePointAt(offset)!;
    const byteCount = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (let i = 0; i < byteCount; i += 1) offsets[byte + i] = offset;
    byte += byteCount;
    if (byteCount === 4) offset += 1;
  }
  offsets[byte] = text.length;
  return offsets.subarray(0, byte + 1);
}
