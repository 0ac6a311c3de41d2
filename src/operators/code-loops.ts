import type { NumberArray } from '../columns/vector.ts';
import { NUMBER_ARRAY_TYPES } from './aggregates/loops.ts';

/**
 * The inner loops of interning, one copy per array type (see aggregates/loops.ts). `table` holds codes + 1 by index, 0 where none is
 * known.
 */
type LookupLoop = (
  values: NumberArray,
  factor: number,
  shift: number,
  validity: Uint8Array | undefined,
  nullCode: number,
  from: number,
  rowCount: number,
  table: Int32Array,
  out: Int32Array,
) => number;

const LOOKUPS = new Map<unknown, LookupLoop>(
  NUMBER_ARRAY_TYPES.map((type) => [type, lookupLoop(type.name)]),
);

/**
 * out[row] = table[values[row] × factor + shift] − 1, `nullCode` where NULL. Gives the first row for which nothing is known (a code of
 * 0, or a NULL while `nullCode` is negative), or `rowCount`.
 */
export function lookupLoopOf(values: NumberArray): LookupLoop {
  return LOOKUPS.get(values.constructor)!;
}

function lookupLoop(name: string): LookupLoop {
  const look = `
      const code = table[values[row] * factor + shift];
      if (code === 0) return row;
      out[row] = code - 1;`;
  return new Function(
    ...'values, factor, shift, validity, nullCode, from, rowCount, table, out'.split(', '),
    `'use strict'; /* codes of ${name} */
    if (validity === undefined && factor === 1 && shift === 0) {
      for (let row = from; row < rowCount; row += 1) {
        const code = table[values[row]];
        if (code === 0) return row;
        out[row] = code - 1;
      }
    } else if (validity === undefined) {
      for (let row = from; row < rowCount; row += 1) {${look}
      }
    } else {
      for (let row = from; row < rowCount; row += 1) {
        if (validity[row] === 0) {
          if (nullCode < 0) return row;
          out[row] = nullCode;
          continue;
        }${look}
      }
    }
    return rowCount;`,
  ) as LookupLoop;
}
