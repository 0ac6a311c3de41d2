import { hasDate, TEXT, type SqlType } from '../columns/types.ts';
import type { ReaderOptions } from './contract.ts';

/** A cell of the sample that is not NULL. */
export type SampleCell = { readonly text: string; readonly quoted: boolean };

const INTEGER = /^-?(0|[1-9]\d*)$/;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/**
 * The narrowest type that takes every value of a sample: whole numbers, numbers, booleans, dates, times, instants, else text.
 * A leading zero is a code, not a number; whole numbers beyond 64 bits are numeric, so that no digit is lost.
 */
export function inferType(
  cells: readonly SampleCell[],
  fromText: ReaderOptions['fromText'],
): SqlType {
  if (cells.length === 0) return TEXT;
  const all = (test: (text: string) => boolean): boolean => cells.every(({ text }) => test(text));
  const reads = (type: SqlType): boolean =>
    all((text) => {
      try {
        fromText(text, type);
        return true;
      } catch {
        return false;
      }
    });
  const first = cells[0]!.text;
  if (NUMBER.test(first)) {
    if (all((text) => INTEGER.test(text)))
      return reads({ kind: 'int8' }) ? { kind: 'int8' } : { kind: 'numeric' };
    if (all((text) => NUMBER.test(text) && !/^-?0\d/.test(text)) && reads({ kind: 'float8' }))
      return { kind: 'float8' };
    // 20260101 and the like are dates only where all are written as such.
    if (!/^\d{4}-/.test(first)) return TEXT;
  }
  if (all((text) => /^(true|false|t|f)$/i.test(text))) return { kind: 'boolean' };
  if (all((text) => /^\d{4}-\d{2}-\d{2}$/.test(text)) && reads({ kind: 'date' }))
    return { kind: 'date' };
  if (all((text) => /^\d{2}:\d{2}:\d{2}(\.\d+)?$/.test(text)) && reads({ kind: 'time' }))
    return { kind: 'time' };
  if (all((text) => /^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}|$)/.test(text))) {
    const zoned = all((text) => /(Z|[+-]\d{2}(:?\d{2})?)$/.test(text.slice(10)));
    const type: SqlType = zoned ? { kind: 'timestamptz' } : { kind: 'timestamp' };
    if (reads(type)) return type;
  }
  return TEXT;
}

/** JSON says by itself what is a number, a boolean and a text: only dates and instants are found in texts. */
export function inferJsonType(
  cells: readonly SampleCell[],
  fromText: ReaderOptions['fromText'],
): SqlType {
  if (cells.length === 0 || cells.some(({ quoted }) => quoted !== cells[0]!.quoted)) return TEXT;
  const type = inferType(cells, fromText);
  if (!cells[0]!.quoted) return type;
  return hasDate(type) ? type : TEXT;
}
