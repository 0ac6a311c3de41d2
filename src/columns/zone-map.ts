import { compareDatums } from './compare.ts';
import type { ZoneTest } from './table-contract.ts';
import type { TypeKind } from './types.ts';
import type { Datum } from './values.ts';

/** What is proven of a column of a sealed segment, dead rows included. */
export type ZoneMap = {
  readonly rowCount: number;
  readonly nullCount: number;
  /** In SQL's order (NaN greatest, texts by bytes); undefined where nothing is known, or no value is present. */
  readonly min: Datum | undefined;
  readonly max: Datum | undefined;
};

/** False only where no row of the segment can satisfy the test. */
export function zonePasses(zone: ZoneMap, test: ZoneTest, kind: TypeKind): boolean {
  const present = zone.rowCount - zone.nullCount;
  const { min, max } = zone;
  switch (test.op) {
    case 'isNull':
      return zone.nullCount > 0;
    case 'isNotNull':
      return present > 0;
    case 'in':
      if (present === 0 || test.values.length === 0) return false;
      return (
        min === undefined ||
        max === undefined ||
        // Of many values only the first that is not below decides.
        mayContain(min, max, firstFrom(test.values, min, kind), kind)
      );
    default:
      if (present === 0 || test.value === null) return false;
      if (min === undefined || max === undefined || !comparable(min, test.value)) return true;
      return rangePasses(min, max, test.op, test.value, kind);
  }
}

/** True only where every row of the segment satisfies the test. */
export function zoneCovers(zone: ZoneMap, test: ZoneTest, kind: TypeKind): boolean {
  const { rowCount, nullCount, min, max } = zone;
  switch (test.op) {
    case 'isNull':
      return nullCount === rowCount;
    case 'isNotNull':
      return nullCount === 0;
    case 'in':
      return (
        nullCount === 0 &&
        min !== undefined &&
        isAlways(min, max, firstFrom(test.values, min, kind), kind)
      );
    case '=':
      return nullCount === 0 && isAlways(min, max, test.value, kind);
    default: {
      const { op, value } = test;
      if (nullCount > 0 || min === undefined || max === undefined) return false;
      if (value === null || !comparable(min, value)) return false;
      return op === '<' || op === '<='
        ? rangePasses(max, max, op, value, kind)
        : rangePasses(min, min, op, value, kind);
    }
  }
}

function isAlways(
  min: Datum | undefined,
  max: Datum | undefined,
  value: Datum,
  kind: TypeKind,
): boolean {
  return (
    min !== undefined &&
    max !== undefined &&
    value !== null &&
    comparable(min, value) &&
    compareDatums(min, value, kind) === 0 &&
    compareDatums(max, value, kind) === 0
  );
}

/** The first of ascending values that is not below `min`, else the last; where they are of another form, any. NULL: there is none. */
function firstFrom(values: readonly Datum[], min: Datum, kind: TypeKind): Datum {
  if (values.length === 0) return null;
  if (!comparable(min, values[0]!)) return values[0]!;
  let low = 0;
  let high = values.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareDatums(values[middle]!, min, kind) < 0) low = middle + 1;
    else high = middle;
  }
  return values[low]!;
}

function rangePasses(
  min: Datum,
  max: Datum,
  op: '<' | '<=' | '=' | '>=' | '>',
  value: Datum,
  kind: TypeKind,
): boolean {
  switch (op) {
    case '=':
      return mayContain(min, max, value, kind);
    case '<':
      return compareDatums(min, value, kind) < 0;
    case '<=':
      return compareDatums(min, value, kind) <= 0;
    case '>':
      return compareDatums(max, value, kind) > 0;
    case '>=':
      return compareDatums(max, value, kind) >= 0;
  }
}

function mayContain(min: Datum, max: Datum, value: Datum, kind: TypeKind): boolean {
  if (value === null) return false;
  if (!comparable(min, value)) return true;
  return compareDatums(min, value, kind) <= 0 && compareDatums(value, max, kind) <= 0;
}

/** A test whose value is of another form than the column's data is not decided here. */
function comparable(a: Datum, b: Datum): boolean {
  const isNumber = (datum: Datum): boolean =>
    typeof datum === 'number' || typeof datum === 'bigint';
  return isNumber(a) ? isNumber(b) : typeof a === typeof b && a?.constructor === b?.constructor;
}
