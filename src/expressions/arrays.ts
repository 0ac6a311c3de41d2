import { DbError } from '../base/errors.ts';
import type { SqlType } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';

/** No column is one: a parameter that a value is compared with, item by item. */
export type ArrayType = { readonly kind: 'array'; readonly element: SqlType };
export type ParameterType = SqlType | ArrayType;

/** The value of such a parameter; its items are data of the element's type, or NULL. */
export class ArrayValue {
  readonly items: readonly Datum[];

  constructor(items: readonly Datum[]) {
    this.items = items;
  }
}

export type ParameterValue = Datum | ArrayValue;

/** One array, beyond which a table is the better place: what is made of it is made at once. */
export const ARRAY_ITEMS_MAX = 65_536;

/** What PostgreSQL reads as an array: `{1, NULL, "a, b"}`. 22P02 where it is none, 0A000 where there is one in another. */
export function arrayItemsOf(text: string): (string | null)[] {
  const malformed = (detail: string): DbError =>
    new DbError('22P02', `malformed array literal: "${text}"`, { detail });
  const start = /^\s*\{\s*/.exec(text);
  if (start === null) {
    if (/^\s*\[/.test(text)) throw severalDimensions();
    throw malformed('Array value must start with "{".');
  }
  const items: (string | null)[] = [];
  const endOf = (at: number): void => {
    if (/\S/.test(text.slice(at))) throw malformed('Junk after closing right brace.');
  };
  let at = start[0].length;
  if (text[at] === '}') {
    endOf(at + 1);
    return items;
  }
  // Each item, and what stands behind it.
  const item = /\s*(?:"((?:[^"\\]|\\[^])*)"|((?:[^\s"{},\\]|\\[^]|\s+(?=[^\s,}]))+))\s*([,}])/y;
  for (;;) {
    item.lastIndex = at;
    const found = item.exec(text);
    if (found === null) {
      if (/^\s*\{/.test(text.slice(at))) throw severalDimensions();
      throw malformed(
        /^\s*$/.test(text.slice(at)) ? 'Unexpected end of input.' : 'Unexpected array element.',
      );
    }
    const [whole, quoted, plain, next] = found;
    items.push(
      plain !== undefined && plain.toLowerCase() === 'null'
        ? null
        : (quoted ?? plain)!.replace(/\\([^])/g, '$1'),
    );
    at += whole.length;
    if (next === '}') break;
  }
  endOf(at);
  return items;
}

export function severalDimensions(): DbError {
  return new DbError('0A000', 'arrays of several dimensions are not supported', {
    hint: 'Give one list of values.',
  });
}
