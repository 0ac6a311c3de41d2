import { kernelsOf } from '../columns/array-kernels.ts';
import { vectorFromData } from '../columns/build.ts';
import { datumAt } from '../columns/cells.ts';
import { compareDecimals } from '../columns/compare.ts';
import type { SqlType } from '../columns/types.ts';
import { Decimal, type Datum } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';
import { toDouble } from '../expressions/decimal-arithmetic.ts';
import { isFloatArray } from '../operators/aggregates/loops.ts';
import { numberOf } from './ranges.ts';

/**
 * The values themselves where they are doubles already, all of them present and none of them NaN, so that nothing need be written: a look at each
 * takes a third of what a copy does.
 */
export function plainDoubles(
  vector: Vector,
  rowCount: number,
  places: Int32Array | undefined,
): Float64Array | undefined {
  return places === undefined &&
    vector.rep === 'number' &&
    vector.values instanceof Float64Array &&
    vector.validity === undefined &&
    vector.factor === 1 &&
    vector.base === 0 &&
    vector.scale === 0 &&
    (vector.bounds?.finite === true || areNumbers(vector.values, rowCount))
    ? vector.values
    : undefined;
}

function areNumbers(values: Float64Array, rowCount: number): boolean {
  for (let row = 0; row < rowCount; row += 1) {
    const value = values[row]!;
    if (value !== value) return false;
  }
  return true;
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
    const isFloat = isFloatArray(values);
    const isPlain = !isFloat || (factor === 1 && base === 0);
    if (places === undefined && validity === undefined && isPlain) {
      kernelsOf(values).decode(values, 0, rowCount, factor, base, out, 0);
      if (scale !== 0) scaleAll(out, rowCount, unit);
      else if (isFloat) markAll(out, rowCount);
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

/** Values as `writeDoubles` has them, but decimals to the last bit: for answers, not for sums. */
export function nearestDoubles(vector: Vector, rowCount: number): Float64Array {
  const out = new Float64Array(rowCount);
  writeDoubles(vector, rowCount, undefined, out);
  if (vector.type.kind !== 'numeric') return out;
  for (let row = 0; row < rowCount; row += 1) {
    const datum = datumAt(vector, row);
    if (datum instanceof Decimal && datum.special === undefined) out[row] = toDouble(datum);
  }
  return out;
}

export function doubleOf(datum: Datum, type: SqlType): number {
  return nearestDoubles(vectorFromData(type, [datum]), 1)[0]!;
}

/** From here on doubles leave out whole numbers. */
const WHOLE_DOUBLES = 2 ** 53;

/**
 * The doubles that an exact value lies within. Beyond 2^53, where no double may be the value, they are those beside it; before, what is no double
 * is a decimal, and the nearest one stands for it.
 */
export function boundsOf(nearest: number, exact: () => Datum): { lower: number; upper: number } {
  if (Math.abs(nearest) >= WHOLE_DOUBLES) {
    const value = exact();
    if (typeof value === 'bigint' || (value instanceof Decimal && value.special === undefined)) {
      const side = Number.isFinite(nearest)
        ? compareDecimals(decimalOf(BigInt(nearest)), decimalOf(value))
        : Math.sign(nearest);
      return {
        lower: side > 0 ? below(nearest) : nearest,
        upper: side < 0 ? above(nearest) : nearest,
      };
    }
  }
  return { lower: nearest, upper: nearest };
}

/** Doubles of decimals are made in a few steps, each of which rounds. */
const ROUNDED = 1e-15;

/** Bounds that are doubles of values, as far apart as the values themselves. */
export function beforeRounding<Bounds extends { readonly lower: number; readonly upper: number }>(
  bounds: Bounds,
): Bounds {
  const widened = (bound: number, sign: -1 | 1): number =>
    Math.abs(bound) >= WHOLE_DOUBLES && Number.isFinite(bound)
      ? bound + sign * Math.abs(bound) * ROUNDED
      : bound;
  return { ...bounds, lower: widened(bounds.lower, -1), upper: widened(bounds.upper, 1) };
}

function decimalOf(value: bigint | Decimal): Decimal {
  return value instanceof Decimal ? value : new Decimal(value, 0);
}

/** The next double towards ∞, of one that is not 0. */
function above(value: number): number {
  if (value === Infinity) return value;
  if (value === -Infinity) return -Number.MAX_VALUE;
  const cell = new DataView(new ArrayBuffer(8));
  cell.setFloat64(0, value);
  cell.setBigInt64(0, cell.getBigInt64(0) + (value > 0 ? 1n : -1n));
  return cell.getFloat64(0);
}

function below(value: number): number {
  return -above(-value);
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

// One kind of array each: loops that have met several are many times slower, and make an object of every number.

function scaleAll(out: Float64Array, rowCount: number, unit: number): void {
  for (let row = 0; row < rowCount; row += 1) out[row] = numberIn((out[row]! + 0) * unit);
}

function markAll(out: Float64Array, rowCount: number): void {
  for (let row = 0; row < rowCount; row += 1) out[row] = numberIn(out[row]!);
}

function numberIn(value: number): number {
  return Number.isNaN(value) ? Infinity : value;
}
