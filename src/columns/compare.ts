import { Decimal, Interval } from './values.ts';
import { unreachable } from '../base/errors.ts';
import type { TypeKind } from './types.ts';
import type { Datum } from './values.ts';

/**
 * The one order of data, by type: a B-tree's in PostgreSQL with collation C. Laws, for any a, b of one kind:
 *
 * 1. It is total: NaN equals itself and is the greatest number, −0 equals 0, NULL equals itself and is the greatest.
 * 2. `equalDatums(a, b)` ⇔ `compareDatums(a, b) === 0`, and equal data hash equally.
 * 3. Text goes by code points, which is the order of its UTF-8 bytes; bpchar without its trailing blanks.
 * 4. Numeric goes by value (1.0 equals 1.00); an interval as 30-day months and 24-hour days.
 */
export function compareDatums(a: Datum, b: Datum, kind: TypeKind): -1 | 0 | 1 {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  switch (kind) {
    case 'boolean':
      return a === b ? 0 : a === false ? -1 : 1;
    case 'int2':
    case 'int4':
    case 'int8':
    case 'date':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return (a as number) < (b as number) ? -1 : (a as number) > (b as number) ? 1 : 0;
    case 'float4':
    case 'float8':
      return compareFloats(a as number, b as number);
    case 'numeric':
      return compareDecimals(a as Decimal, b as Decimal);
    case 'text':
    case 'varchar':
    case 'unknown':
    case 'uuid':
      return compareText(a as string, b as string);
    case 'bpchar':
      return compareText(withoutTrailingBlanks(a as string), withoutTrailingBlanks(b as string));
    case 'interval':
      return compareIntervals(a as Interval, b as Interval);
    case 'bytea':
      return compareBytes(a as Uint8Array, b as Uint8Array);
    case 'null':
      return 0;
    default:
      return unreachable(kind);
  }
}

export function equalDatums(a: Datum, b: Datum, kind: TypeKind): boolean {
  // Most kinds have one form a value; the others would say no here too early.
  if (a === b) return true;
  switch (kind) {
    case 'text':
    case 'varchar':
    case 'uuid':
    case 'boolean':
    case 'int2':
    case 'int4':
    case 'int8':
    case 'date':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return false;
    default:
      return compareDatums(a, b, kind) === 0;
  }
}

/** An int32 that equal data of one kind share. NULL's is a constant of its own. */
export function hashDatum(value: Datum, kind: TypeKind): number {
  if (value === null) return 0x3c6e_f372;
  switch (kind) {
    case 'boolean':
      return value === true ? mix(1) : mix(0);
    case 'int2':
    case 'int4':
    case 'int8':
    case 'float4':
    case 'float8':
    case 'date':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return typeof value === 'bigint' ? hashBigint(value) : hashNumber(value as number);
    case 'numeric':
      return hashDecimal(value as Decimal);
    case 'text':
    case 'varchar':
    case 'unknown':
    case 'uuid':
      return hashText(value as string, (value as string).length);
    case 'bpchar':
      return hashText(value as string, lengthWithoutTrailingBlanks(value as string));
    case 'interval': {
      const { days, micros } = spanOf(value as Interval);
      return mix(hashNumber(days) ^ Math.imul(hashNumber(micros), 0x9e37_79b1));
    }
    case 'bytea':
      return hashBytes(value as Uint8Array);
    case 'null':
      return 0;
    default:
      return unreachable(kind);
  }
}

/**
 * One text for all equal data of a kind, and another for each other: keys of maps. Texts carry their length, so that the
 * texts of several data may stand behind one another.
 */
export function canonicalText(value: Datum, kind: TypeKind): string {
  if (value === null) return '-';
  if (value instanceof Decimal) return decimalText(value);
  if (value instanceof Interval) {
    const { days, micros } = spanOf(value);
    return `${days}d${micros},`;
  }
  if (value instanceof Uint8Array) return `${value.length}:${value.join('.')}`;
  if (typeof value === 'string') {
    const text = kind === 'bpchar' ? withoutTrailingBlanks(value) : value;
    return `${text.length}:${text}`;
  }
  // 0 is also −0, and the text of each.
  return `${value},`;
}

function decimalText({ coefficient, scale, special }: Decimal): string {
  if (special !== undefined) return `${special},`;
  let digits = coefficient;
  let exponent = -scale;
  if (digits === 0n) return '0e0,';
  while (exponent < 0 && digits % 10n === 0n) {
    digits /= 10n;
    exponent += 1;
  }
  return `${digits}e${exponent},`;
}

/** NaN equals itself and is greater than anything else. */
export function compareFloats(a: number, b: number): -1 | 0 | 1 {
  if (a < b) return -1;
  if (a > b) return 1;
  if (a === b) return 0;
  const aIsNaN = Number.isNaN(a);
  return aIsNaN === Number.isNaN(b) ? 0 : aIsNaN ? 1 : -1;
}

/** NaN is the greatest, then Infinity. */
export function compareDecimals(a: Decimal, b: Decimal): -1 | 0 | 1 {
  if (a.special !== undefined || b.special !== undefined) {
    const rankA = specialRank(a);
    const rankB = specialRank(b);
    return rankA < rankB ? -1 : rankA > rankB ? 1 : 0;
  }
  let left = a.coefficient;
  let right = b.coefficient;
  if (a.scale !== b.scale) {
    // Signs settle most pairs without scaling up.
    if (left <= 0n && right > 0n) return -1;
    if (left >= 0n && right < 0n) return 1;
    if (a.scale < b.scale) left *= 10n ** BigInt(b.scale - a.scale);
    else right *= 10n ** BigInt(a.scale - b.scale);
  }
  return left < right ? -1 : left > right ? 1 : 0;
}

function specialRank(value: Decimal): number {
  switch (value.special) {
    case 'NaN':
      return 2;
    case 'Infinity':
      return 1;
    case '-Infinity':
      return -1;
    case undefined:
      return 0;
    default:
      return unreachable(value.special);
  }
}

/**
 * By code points, not by UTF-16 units: U+FF5E is below U+1F600, whose first unit is 0xD83D. Units only disagree
 * with code points where one of the first two that differ is a surrogate.
 */
export function compareText(a: string, b: string): -1 | 0 | 1 {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index += 1) {
    const unitA = a.charCodeAt(index);
    const unitB = b.charCodeAt(index);
    if (unitA !== unitB) return codePointRank(unitA) < codePointRank(unitB) ? -1 : 1;
  }
  return a.length < b.length ? -1 : 1;
}

/** Moves the surrogates behind U+FFFF, where the code points they stand for are. */
function codePointRank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x1_0000 : unit;
}

export function compareBytes(a: Uint8Array, b: Uint8Array): -1 | 0 | 1 {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index += 1) {
    const difference = a[index]! - b[index]!;
    if (difference !== 0) return difference < 0 ? -1 : 1;
  }
  return a.length === b.length ? 0 : a.length < b.length ? -1 : 1;
}

export function compareIntervals(a: Interval, b: Interval): -1 | 0 | 1 {
  const left = spanOf(a);
  const right = spanOf(b);
  if (left.days !== right.days) return left.days < right.days ? -1 : 1;
  return left.micros < right.micros ? -1 : left.micros > right.micros ? 1 : 0;
}

export function withoutTrailingBlanks(text: string): string {
  const length = lengthWithoutTrailingBlanks(text);
  return length === text.length ? text : text.slice(0, length);
}

function lengthWithoutTrailingBlanks(text: string): number {
  let length = text.length;
  while (length > 0 && text.charCodeAt(length - 1) === 0x20) length -= 1;
  return length;
}

const MICROS_A_DAY = 86_400_000_000;

/** Whole days and the rest of a day, 0 … 86,399,999,999: both safe integers, and one form for each length. */
function spanOf(interval: Interval): { readonly days: number; readonly micros: number } {
  const wholeDays = Math.floor(interval.micros / MICROS_A_DAY);
  return {
    days: interval.months * 30 + interval.days + wholeDays,
    micros: interval.micros - wholeDays * MICROS_A_DAY,
  };
}

/** MurmurHash3's finaliser (Austin Appleby). */
function mix(seed: number): number {
  let hash = seed | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return hash ^ (hash >>> 16);
}

const doubleBits = new Float64Array(1);
const doubleWords = new Int32Array(doubleBits.buffer);

/** Integers of 32 bits go by themselves; the rest by their bits. −0 is 0, and every NaN is one. */
function hashNumber(value: number): number {
  const small = value | 0;
  if (small === value) return mix(small);
  if (Number.isNaN(value)) return 0x7ff8_0001;
  doubleBits[0] = value;
  return mix(doubleWords[0]! ^ Math.imul(doubleWords[1]!, 0x9e37_79b1));
}

function hashBigint(value: bigint): number {
  let hash = value < 0n ? 0x1234_5677 : 0x7654_3211;
  let rest = value < 0n ? -value : value;
  while (rest > 0n) {
    hash = mix(hash ^ Number(BigInt.asIntN(32, rest)));
    rest >>= 32n;
  }
  return hash;
}

/** By the coefficient without the zeros that only the scale shows. */
function hashDecimal(value: Decimal): number {
  if (value.special !== undefined) return mix(specialRank(value) + 0x5bd1);
  let coefficient = value.coefficient;
  let scale = value.scale;
  while (scale >= 16 && coefficient % 10_000_000_000_000_000n === 0n && coefficient !== 0n) {
    coefficient /= 10_000_000_000_000_000n;
    scale -= 16;
  }
  if (coefficient === 0n) return mix(0);
  while (scale > 0 && coefficient % 10n === 0n) {
    coefficient /= 10n;
    scale -= 1;
  }
  return mix(hashBigint(coefficient) ^ Math.imul(scale, 0x9e37_79b1));
}

/** FNV-1a over the units, then mixed: its low bits alone are weak. */
function hashText(text: string, length: number): number {
  let hash = 0x811c_9dc5 | 0;
  for (let index = 0; index < length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x0100_0193);
  }
  return mix(hash);
}

function hashBytes(bytes: Uint8Array): number {
  let hash = 0x811c_9dc5 | 0;
  for (let index = 0; index < bytes.length; index += 1) {
    hash = Math.imul(hash ^ bytes[index]!, 0x0100_0193);
  }
  return mix(hash);
}
