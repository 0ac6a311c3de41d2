import { assert } from '../base/errors.ts';
import { withoutTrailingBlanks } from './compare.ts';
import type { SqlType } from './types.ts';
import { compareBytes, decodeText, encodeText, equalBytes, hashBytes } from './utf8.ts';
import { Decimal, Interval, normalInteger, type Datum } from './values.ts';
import type { NumberArray, Vector } from './vector.ts';

/**
 * Single cells of vectors: read, hash, compare. Equality is SQL's within one type: 1.0 = 1.00, 0 = −0, NaN = NaN, intervals
 * with 30-day months, blanks at the end of a bpchar. Equal cells have equal hashes whatever the reps of their vectors, and numbers of any integer or float
 * type hash alike where they are equal.
 */
export function datumAt(vector: Vector, index: number): Datum {
  if (vector.validity !== undefined && vector.validity[index] === 0) return null;
  switch (vector.rep) {
    case 'number': {
      const value = numberAt(vector.values[index]!, vector.factor, vector.base);
      return vector.type.kind === 'numeric' ? new Decimal(BigInt(value), vector.scale) : value;
    }
    case 'bigint': {
      const value = vector.values[index]!;
      return vector.type.kind === 'numeric'
        ? new Decimal(value, vector.scale)
        : normalInteger(value);
    }
    case 'boolean':
      return vector.values[index] === 1;
    case 'dictionary': {
      const code = vector.codes[index]!;
      if (isByteType(vector.type)) return datumOfBytes(vector.dictionary.bytes(code), vector.type);
      return vector.dictionary.text(code);
    }
    case 'bytes': {
      const start = vector.offsets[index]!;
      const end = vector.offsets[index + 1]!;
      if (isByteType(vector.type))
        return datumOfBytes(vector.bytes.subarray(start, end), vector.type);
      return decodeText(vector.bytes, start, end);
    }
    case 'object':
      return vector.values[index]!;
  }
}

/** NaN for NULL, and for what is no double. */
export function cellNumber(vector: Vector, row: number): number {
  if (vector.rep !== 'number') return NaN;
  const { values, validity, factor, base } = vector;
  return validity !== undefined && validity[row] === 0
    ? NaN
    : numberAt(entryAt(values, row), factor, base);
}

export function isNullAt(vector: Vector, index: number): boolean {
  return (
    (vector.validity !== undefined && vector.validity[index] === 0) ||
    (vector.rep === 'object' && vector.values[index] === null)
  );
}

/**
 * One entry of an array of any kind, each read where only its kind is: cells that lie far apart are read one by one, and a read that has met
 * several kinds costs more than the cell. So does a chain of `instanceof`, each of which walks prototypes: 14 ns where the tag takes 5.
 */
export function entryAt(values: NumberArray, index: number): number {
  switch (kindOf.call(values)) {
    case 'Float64Array':
      return values[index]!;
    case 'Int32Array':
      return values[index]!;
    case 'Uint16Array':
      return values[index]!;
    case 'Uint8Array':
      return values[index]!;
    case 'Int16Array':
      return values[index]!;
    case 'Int8Array':
      return values[index]!;
    case 'Uint32Array':
      return values[index]!;
    default:
      return values[index]!;
  }
}

/** The name of an array's kind. V8 compiles a call of this getter to a look at what kind of elements there are. */
const kindOf = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype) as object,
  Symbol.toStringTag,
)!.get as (this: NumberArray) => string;

/** −0 survives: a base is added only where the encoding has one. */
export function numberAt(value: number, factor: number, base: number): number {
  return factor === 1 && base === 0 ? value : value * factor + base;
}

/** A hash of one cell, the same as `hashRows` gives for a single column, before the finaliser. NULL hashes as 0. */
export function hashCell(vector: Vector, index: number): number {
  if (vector.validity !== undefined && vector.validity[index] === 0) return 0;
  switch (vector.rep) {
    case 'number': {
      const value = numberAt(vector.values[index]!, vector.factor, vector.base);
      return vector.scale === 0 ? hashNumber(value) : hashScaled(value, vector.scale);
    }
    case 'bigint':
      return vector.scale === 0
        ? hashBigint(vector.values[index]!)
        : hashDecimal(vector.values[index]!, vector.scale);
    case 'boolean':
      return hashNumber(vector.values[index]!);
    case 'dictionary':
      if (vector.type.kind === 'bpchar') return hashDatum(datumAt(vector, index), vector.type);
      return vector.dictionary.hash(vector.codes[index]!);
    case 'bytes':
      if (vector.type.kind === 'bpchar') return hashDatum(datumAt(vector, index), vector.type);
      return hashBytes(vector.bytes, vector.offsets[index]!, vector.offsets[index + 1]!);
    case 'object':
      return hashDatum(vector.values[index]!, vector.type);
  }
}

/** Whether two present cells of one type are equal. */
export function equalCells(a: Vector, aIndex: number, b: Vector, bIndex: number): boolean {
  if (a.rep === 'number' && b.rep === 'number' && a.scale === b.scale) {
    const x = numberAt(a.values[aIndex]!, a.factor, a.base);
    const y = numberAt(b.values[bIndex]!, b.factor, b.base);
    return x === y || (x !== x && y !== y);
  }
  if (a.rep === 'bigint' && b.rep === 'bigint' && a.scale === b.scale)
    return a.values[aIndex] === b.values[bIndex];
  if (a.rep === 'boolean' && b.rep === 'boolean') return a.values[aIndex] === b.values[bIndex];
  if (a.rep === 'dictionary' && b.rep === 'dictionary' && a.dictionary === b.dictionary) {
    return a.codes[aIndex] === b.codes[bIndex];
  }
  if (holdsBytes(a) && holdsBytes(b) && a.type.kind !== 'bpchar') {
    const x = bytesAt(a, aIndex);
    const y = bytesAt(b, bIndex);
    return x.length === y.length && equalBytes(x, 0, y, 0, x.length);
  }
  return equalValues(datumAt(a, aIndex), datumAt(b, bIndex), a.type);
}

/** Two data of one type, neither of them NULL. */
export function equalValues(a: Datum, b: Datum, type: SqlType): boolean {
  if (a === b) return true;
  if (typeof a === 'string') {
    return (
      type.kind === 'bpchar' &&
      typeof b === 'string' &&
      withoutTrailingBlanks(a) === withoutTrailingBlanks(b)
    );
  }
  if (typeof a === 'number') return a !== a && b !== b;
  if (a instanceof Decimal && b instanceof Decimal) {
    if (a.special !== undefined || b.special !== undefined) return a.special === b.special;
    if (a.scale === b.scale) return a.coefficient === b.coefficient;
    return a.scale < b.scale
      ? a.coefficient * 10n ** BigInt(b.scale - a.scale) === b.coefficient
      : b.coefficient * 10n ** BigInt(a.scale - b.scale) === a.coefficient;
  }
  if (a instanceof Interval && b instanceof Interval) {
    const [days, micros] = spanOf(a);
    const [otherDays, otherMicros] = spanOf(b);
    return days === otherDays && micros === otherMicros;
  }
  if (a instanceof Uint8Array && b instanceof Uint8Array) return compareBytes(a, b) === 0;
  return false;
}

export function hashDatum(datum: Datum, type: SqlType): number {
  switch (typeof datum) {
    case 'number':
      return hashNumber(datum);
    case 'bigint':
      return hashBigint(datum);
    case 'boolean':
      return hashNumber(datum ? 1 : 0);
    case 'string': {
      const bytes = bytesOfDatum(
        type.kind === 'bpchar' ? withoutTrailingBlanks(datum) : datum,
        type,
      );
      return hashBytes(bytes, 0, bytes.length);
    }
  }
  if (datum === null) return 0;
  if (datum instanceof Decimal) {
    if (datum.special !== undefined)
      return hashNumber(
        datum.special === 'NaN' ? NaN : datum.special === 'Infinity' ? Infinity : -Infinity,
      );
    return hashDecimal(datum.coefficient, datum.scale);
  }
  if (datum instanceof Interval) {
    const [days, micros] = spanOf(datum);
    return (Math.imul(hashNumber(days), 31) + hashNumber(micros)) | 0;
  }
  return hashBytes(datum, 0, datum.length);
}

/** Whole 32-bit numbers by one multiplication, others by their bits. 0 and −0 are equal, and so are all NaNs. */
export function hashNumber(value: number): number {
  const whole = value | 0;
  if (whole === value) return Math.imul(whole, -1640531535);
  double[0] = value === value ? value : NaN;
  return hashWords(words[0]!, words[1]!);
}

/** The same for who has the two halves of the double's bits at hand, the lower one first. Not of a NaN, of which there are many. */
export function hashDouble(value: number, low: number, high: number): number {
  const whole = value | 0;
  return whole === value ? Math.imul(whole, -1640531535) : hashWords(low, high);
}

function hashWords(low: number, high: number): number {
  return (Math.imul(low, 0x85eb_ca6b) ^ Math.imul(high, 0xc2b2_ae35)) | 0;
}

/** Scratch for the bits of one double; written and read within `hashNumber`. */
const double = new Float64Array(1);
const words = new Int32Array(double.buffer);

export function hashBigint(value: bigint): number {
  if (value >= -9007199254740991n && value <= 9007199254740991n) return hashNumber(Number(value));
  return (
    (Math.imul(Number(BigInt.asIntN(32, value)), 0x85eb_ca6b) ^
      Math.imul(Number(BigInt.asIntN(32, value >> 32n)), 0xc2b2_ae35)) |
    0
  );
}

/** coefficient / 10^scale, without trailing zeros: equal numerics of different scales hash alike. */
export function hashScaled(coefficient: number, scale: number): number {
  while (scale > 0 && coefficient % 10 === 0) {
    coefficient /= 10;
    scale -= 1;
  }
  return (hashNumber(coefficient) + scale) | 0;
}

function hashDecimal(coefficient: bigint, scale: number): number {
  while (scale > 0 && coefficient % 10n === 0n) {
    coefficient /= 10n;
    scale -= 1;
  }
  return (hashBigint(coefficient) + scale) | 0;
}

/** Days (months of 30) and microseconds within ±12 hours of a whole day. */
function spanOf(interval: Interval): [number, number] {
  const dayMicros = 86_400_000_000;
  const carry = Math.floor(interval.micros / dayMicros);
  return [interval.months * 30 + interval.days + carry, interval.micros - carry * dayMicros];
}

function isByteType(type: SqlType): boolean {
  return type.kind === 'uuid' || type.kind === 'bytea';
}

function holdsBytes(vector: Vector): boolean {
  return (
    vector.rep === 'dictionary' ||
    vector.rep === 'bytes' ||
    (vector.rep === 'object' && isTextual(vector.type))
  );
}

function isTextual(type: SqlType): boolean {
  return (
    type.kind === 'text' || type.kind === 'varchar' || type.kind === 'bpchar' || isByteType(type)
  );
}

/** UTF-8 of a text, the 16 bytes of a uuid, the bytes of a bytea. Views where there are bytes to view. */
export function bytesAt(vector: Vector, index: number): Uint8Array {
  switch (vector.rep) {
    case 'dictionary':
      return vector.dictionary.bytes(vector.codes[index]!);
    case 'bytes':
      return vector.bytes.subarray(vector.offsets[index]!, vector.offsets[index + 1]!);
    default:
      return bytesOfDatum(datumAt(vector, index), vector.type);
  }
}

export function bytesOfDatum(datum: Datum, type: SqlType): Uint8Array {
  if (datum instanceof Uint8Array) return datum;
  assert(typeof datum === 'string', 'a text, uuid or bytea is a string or bytes');
  return type.kind === 'uuid' ? uuidBytes(datum) : encodeText(datum);
}

function datumOfBytes(bytes: Uint8Array, type: SqlType): Datum {
  return type.kind === 'uuid' ? uuidText(bytes) : bytes.slice();
}

function uuidBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  let at = 0;
  for (let index = 0; index < 36;) {
    if (text.charCodeAt(index) === 0x2d) {
      index += 1;
      continue;
    }
    bytes[at] = parseInt(text.slice(index, index + 2), 16);
    at += 1;
    index += 2;
  }
  return bytes;
}

function uuidText(bytes: Uint8Array): string {
  let text = '';
  for (let index = 0; index < 16; index += 1) {
    if (index === 4 || index === 6 || index === 8 || index === 10) text += '-';
    text += (bytes[index]! + 0x100).toString(16).slice(1);
  }
  return text;
}
