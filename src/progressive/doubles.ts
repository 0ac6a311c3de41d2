import type { Vector } from '../columns/vector.ts';
import { datumAt } from '../columns/cells.ts';
import { numberOf } from './ranges.ts';

/** The values themselves where they are doubles already, all of them present and finite, so that nothing need be written. */
export function plainDoubles(
  vector: Vector,
  places: Int32Array | undefined,
): Float64Array | undefined {
  return places === undefined &&
    vector.rep === 'number' &&
    vector.values instanceof Float64Array &&
    vector.validity === undefined &&
    vector.factor === 1 &&
    vector.base === 0 &&
    vector.scale === 0 &&
    vector.bounds?.finite === true
    ? vector.values
    : undefined;
}

/**
 * The values of a vector as doubles, NaN for NULL. What is no number becomes ∞, beside which it sorts. `places`: where the rows belong in
 * `out` (undefined: in order).
 */
export function writeDoubles(
  vector: Vector,
  rowCount: number,
  places: Int32Array | undefined,
  out: Float64Array,
): void {
  if (vector.rep === 'number') {
    const { values, factor, base, validity, scale } = vector;
    const unit = 10 ** -scale;
    if (
      places === undefined &&
      validity === undefined &&
      factor === 1 &&
      base === 0 &&
      scale === 0
    ) {
      for (let row = 0; row < rowCount; row += 1) {
        const value = values[row]!;
        out[row] = numberIn(value);
      }
      return;
    }
    for (let row = 0; row < rowCount; row += 1) {
      const place = places === undefined ? row : places[row]!;
      if (validity !== undefined && validity[row] === 0) {
        out[place] = Number.NaN;
        continue;
      }
      const value = (values[row]! * factor + base) * unit;
      out[place] = numberIn(value);
    }
    return;
  }
  for (let row = 0; row < rowCount; row += 1) {
    const place = places === undefined ? row : places[row]!;
    const datum = datumAt(vector, row);
    if (datum === null) {
      out[place] = Number.NaN;
      continue;
    }
    const value = numberOf(datum) ?? Infinity;
    out[place] = numberIn(value);
  }
}

/** 1 for each row that is present, NaN for NULL. */
export function writePresence(
  vector: Vector | undefined,
  rowCount: number,
  places: Int32Array | undefined,
  out: Float64Array,
): void {
  const validity = vector?.validity;
  const nulls = vector?.rep === 'object' ? vector.values : undefined;
  for (let row = 0; row < rowCount; row += 1) {
    const isNull = validity?.[row] === 0 || nulls?.[row] === null;
    out[places === undefined ? row : places[row]!] = isNull ? Number.NaN : 1;
  }
}

function numberIn(value: number): number {
  return Number.isNaN(value) ? Infinity : value;
}
