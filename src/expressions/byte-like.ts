import { equalBytes } from '../columns/utf8.ts';
import { functionById } from './catalog.ts';
import type { Expression } from './expression.ts';

/**
 * `column LIKE 'pattern'` on UTF-8 bytes, without a JavaScript string a value: patterns of literals and `%` only. No character's bytes
 * begin inside another's, so a literal is found as bytes exactly where it is found as text.
 */
export class ByteLike {
  readonly #pieces: readonly Uint8Array[];
  readonly #negated: boolean;

  private constructor(pattern: string, negated: boolean) {
    this.#pieces = pattern.split('%').map((piece) => new TextEncoder().encode(piece));
    this.#negated = negated;
  }

  /** undefined: no such expression, or a pattern with `_` or an escape. */
  static of(expression: Expression): ByteLike | undefined {
    if (expression.kind !== 'call' || expression.args.length !== 2) return undefined;
    const [value, pattern] = expression.args;
    const { name } = functionById(expression.fn);
    if (
      (name !== '~~' && name !== '!~~') ||
      value!.kind !== 'column' ||
      (value!.type.kind !== 'text' && value!.type.kind !== 'varchar') ||
      pattern!.kind !== 'constant' ||
      typeof pattern!.value !== 'string' ||
      /[_\\]/.test(pattern!.value)
    )
      return undefined;
    return new ByteLike(pattern!.value, name === '!~~');
  }

  /** Whether the text in [start, end) satisfies the expression. */
  test(bytes: Uint8Array, start: number, end: number): boolean {
    return this.#matches(bytes, start, end) !== this.#negated;
  }

  #matches(bytes: Uint8Array, start: number, end: number): boolean {
    const pieces = this.#pieces;
    const first = pieces[0]!;
    if (end - start < first.length || !equalBytes(bytes, start, first, 0, first.length))
      return false;
    if (pieces.length === 1) return end - start === first.length;
    const last = pieces[pieces.length - 1]!;
    let at = start + first.length;
    const lastAt = end - last.length;
    if (lastAt < at || !equalBytes(bytes, lastAt, last, 0, last.length)) return false;
    // The leftmost place of each piece leaves the most room to the next.
    for (let index = 1; index < pieces.length - 1; index += 1) {
      at = placeOf(pieces[index]!, bytes, at, lastAt);
      if (at < 0) return false;
    }
    return true;
  }
}

/** Behind the leftmost occurrence of `piece` in [start, end), or −1. */
function placeOf(piece: Uint8Array, bytes: Uint8Array, start: number, end: number): number {
  const { length } = piece;
  if (length === 0) return start;
  const head = piece[0]!;
  const stop = end - length;
  for (let at = start; at <= stop; at += 1) {
    if (bytes[at] !== head) continue;
    let matched = 1;
    while (matched < length && bytes[at + matched] === piece[matched]) matched += 1;
    if (matched === length) return at + length;
  }
  return -1;
}
