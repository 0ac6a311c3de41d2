import { datumAt, vectorFromData } from '../../columns/build.ts';
import { Decimal, type Datum } from '../../columns/values.ts';
import type { Vector } from '../../columns/vector.ts';

/**
 * Of equal numerics any may be the one that DISTINCT lets through, so none of them may lend its scale to the sum: what is
 * added is the value without the zeros at its end, and each row, let through or not, adds a zero of its scale. Then a
 * sum shows the longest scale that is present, whatever came first and whatever has left.
 */
export function withoutScale(vector: Vector, rowCount: number): Vector {
  return mapped(vector, rowCount, ({ coefficient, scale }) => {
    let digits = coefficient;
    let rest = scale;
    while (rest > 0 && digits % 10n === 0n) {
      digits /= 10n;
      rest -= 1;
    }
    return new Decimal(digits, rest);
  });
}

/** A zero of each value's scale; NULL where there is no scale. */
export function scalesAlone(vector: Vector, rowCount: number): Vector {
  return mapped(vector, rowCount, ({ scale }) => new Decimal(0n, scale), null);
}

function mapped(
  vector: Vector,
  rowCount: number,
  of: (value: Decimal) => Decimal,
  ofSpecial?: null,
): Vector {
  const data = Array.from({ length: rowCount }, (_, row): Datum => {
    const datum = datumAt(vector, row);
    if (!(datum instanceof Decimal)) return datum;
    if (datum.special !== undefined) return ofSpecial === null ? null : datum;
    return of(datum);
  });
  return vectorFromData(vector.type, data);
}
