import { datumAt, isNullAt, numberAt } from './cells.ts';
import { Decimal, Interval } from './values.ts';
import type { Datum } from './values.ts';
import type { Vector } from './vector.ts';

/**
 * Two rows are identical where no reader could tell them apart. It is finer than SQL's equality: −0 is not 0 and 1.0 is not 1.00
 * here. What cancels out, and which row a retraction takes away, goes by it.
 */
export function identicalRows(
  a: readonly Vector[],
  aRow: number,
  b: readonly Vector[],
  bRow: number,
): boolean {
  for (let column = 0; column < a.length; column += 1)
    if (!identicalCells(a[column]!, aRow, b[column]!, bRow)) return false;
  return true;
}

export function identicalCells(a: Vector, aRow: number, b: Vector, bRow: number): boolean {
  if (a.rep === 'number' && b.rep === 'number' && a.scale === b.scale) {
    const aNull = a.validity !== undefined && a.validity[aRow] === 0;
    const bNull = b.validity !== undefined && b.validity[bRow] === 0;
    if (aNull || bNull) return aNull && bNull;
    return Object.is(
      numberAt(a.values[aRow]!, a.factor, a.base),
      numberAt(b.values[bRow]!, b.factor, b.base),
    );
  }
  if (a.rep === 'dictionary' && b.rep === 'dictionary' && a.dictionary === b.dictionary) {
    const aNull = isNullAt(a, aRow);
    const bNull = isNullAt(b, bRow);
    return aNull || bNull ? aNull && bNull : a.codes[aRow] === b.codes[bRow];
  }
  return identicalDatums(datumAt(a, aRow), datumAt(b, bRow));
}

export function identicalDatums(a: Datum, b: Datum): boolean {
  if (Object.is(a, b)) return true;
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return false;
  if (a instanceof Decimal) {
    return (
      b instanceof Decimal &&
      a.coefficient === b.coefficient &&
      a.scale === b.scale &&
      a.special === b.special
    );
  }
  if (a instanceof Interval) {
    return (
      b instanceof Interval && a.months === b.months && a.days === b.days && a.micros === b.micros
    );
  }
  if (!(a instanceof Uint8Array) || !(b instanceof Uint8Array) || a.length !== b.length)
    return false;
  for (let index = 0; index < a.length; index += 1) if (a[index] !== b[index]) return false;
  return true;
}
