import { HashParts } from '../base/hash-parts.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { datumAt, vectorFromData } from '../columns/build.ts';
import { equalDatums, hashDatum } from '../columns/compare.ts';
import { Dictionary } from '../columns/dictionary.ts';
import type { SqlType } from '../columns/types.ts';
import { Decimal, type Datum } from '../columns/values.ts';
import type { DictionaryVector, NumberVector, Vector } from '../columns/vector.ts';

/**
 * Values of one type numbered 0, 1, 2, … in the order they come; NULL is a value, −0 is 0, NaN is NaN, 1.0 is 1.00 (the
 * longest scale is shown). Dictionary codes and small integers index arrays; nothing is hashed where it need not be.
 */
export interface ColumnInterner {
  readonly size: number;
  /** Codes of logical rows 0 … rowCount−1 of a dense vector, into `out`. `add` false: values never met give −1. */
  codes(vector: Vector, rowCount: number, out: Int32Array, add: boolean): void;
  /** The value of each code. */
  vector(codes: Int32Array, count: number): Vector;
  datum(code: number): Datum;
  close(): void;
}

export function createInterner(type: SqlType, memory: MemoryAccount | undefined): ColumnInterner {
  switch (type.kind) {
    case 'text':
    case 'varchar':
      return new TextInterner(type, memory);
    case 'int2':
    case 'int4':
    case 'int8':
    case 'date':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
    case 'float4':
    case 'float8':
      return new NumberInterner(type, memory);
    default:
      return new DatumInterner(type, memory);
  }
}

/** Integers from here on are hashed; below, they index a table. */
const DIRECT_SPAN_MAX = 1 << 22;

class NumberInterner implements ColumnInterner {
  readonly #type: SqlType;
  readonly #memory: MemoryAccount | undefined;
  readonly #lease: MemoryLease;
  readonly #hashes: HashParts;
  #values = new Float64Array(64);
  /** Values that are no double: int8 and timestamps beyond 2^53. */
  #large: DatumInterner | undefined;
  #largeCodes: number[] = [];
  #size = 0;
  #nullCode = -1;
  /** Code + 1 of `directBase + index`; grows by doubling while the span stays small. */
  #direct = new Int32Array(0);
  #directBase = 0;
  #useDirect: boolean;

  constructor(type: SqlType, memory: MemoryAccount | undefined) {
    this.#type = type;
    this.#memory = memory;
    this.#lease = new MemoryLease(memory);
    this.#hashes = new HashParts(this.#lease);
    this.#useDirect = type.kind !== 'float4' && type.kind !== 'float8';
  }

  get size(): number {
    return this.#size;
  }

  codes(vector: Vector, rowCount: number, out: Int32Array, add: boolean): void {
    if (vector.rep === 'number') {
      if (this.#useDirect && this.#coverSpan(vector, rowCount))
        this.#directCodes(vector, rowCount, out, add);
      else this.#hashedCodes(vector, rowCount, out, add);
      return;
    }
    for (let row = 0; row < rowCount; row += 1) {
      const datum = datumAt(vector, row);
      out[row] =
        datum === null
          ? this.#nullOf(add)
          : typeof datum === 'number'
            ? this.#codeOf(datum, add)
            : this.#largeOf(datum, add);
    }
  }

  vector(codes: Int32Array, count: number): Vector {
    const values = new Float64Array(count);
    let validity: Uint8Array | undefined;
    for (let at = 0; at < count; at += 1) {
      const code = codes[at]!;
      if (code === this.#nullCode) {
        validity ??= new Uint8Array(count).fill(1);
        validity[at] = 0;
      } else if (this.#largeCodes[code] !== undefined) {
        return vectorFromData(
          this.#type,
          Array.from({ length: count }, (_, index) => this.datum(codes[index]!)),
        );
      } else values[at] = this.#values[code]!;
    }
    return { rep: 'number', type: this.#type, values, validity, factor: 1, base: 0, scale: 0 };
  }

  datum(code: number): Datum {
    if (code === this.#nullCode) return null;
    const large = this.#largeCodes[code];
    return large === undefined ? this.#values[code]! : this.#large!.datum(large);
  }

  close(): void {
    this.#lease.close();
    this.#large?.close();
  }

  /** Makes the direct table reach all values of the vector; false where they lie too far apart. */
  #coverSpan(vector: NumberVector, rowCount: number): boolean {
    const { values, validity, factor, base } = vector;
    let low = Infinity;
    let high = -Infinity;
    for (let row = 0; row < rowCount; row += 1) {
      if (validity !== undefined && validity[row] === 0) continue;
      const value = values[row]!;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (low > high) return true;
    low = low * factor + base;
    high = high * factor + base;
    const size = this.#direct.length;
    if (size > 0 && low >= this.#directBase && high < this.#directBase + size) return true;
    const from = size === 0 ? low : Math.min(low, this.#directBase);
    const to = size === 0 ? high : Math.max(high, this.#directBase + size - 1);
    if (!(to - from < DIRECT_SPAN_MAX)) {
      this.#leaveDirect();
      return false;
    }
    let next = Math.max(1024, size);
    while (next < to - from + 1) next *= 2;
    const grown = new Int32Array(next);
    this.#lease.take((next - size) * 4);
    if (size > 0) grown.set(this.#direct, this.#directBase - from);
    this.#direct = grown;
    this.#directBase = from;
    return true;
  }

  #leaveDirect(): void {
    this.#useDirect = false;
    for (let code = 0; code < this.#size; code += 1)
      if (code !== this.#nullCode && this.#largeCodes[code] === undefined)
        this.#hashes.add(hashNumber(this.#values[code]!), code);
    this.#lease.give(this.#direct.byteLength);
    this.#direct = new Int32Array(0);
  }

  #directCodes(
    { values, validity, factor, base }: NumberVector,
    rowCount: number,
    out: Int32Array,
    add: boolean,
  ): void {
    const direct = this.#direct;
    const shift = base - this.#directBase;
    for (let row = 0; row < rowCount; row += 1) {
      if (validity !== undefined && validity[row] === 0) {
        out[row] = this.#nullOf(add);
        continue;
      }
      const index = values[row]! * factor + shift;
      let code = direct[index]!;
      if (code === 0) {
        if (!add) {
          out[row] = -1;
          continue;
        }
        code = this.#push(index + this.#directBase) + 1;
        direct[index] = code;
      }
      out[row] = code - 1;
    }
  }

  #hashedCodes(
    { values, validity, factor, base }: NumberVector,
    rowCount: number,
    out: Int32Array,
    add: boolean,
  ): void {
    for (let row = 0; row < rowCount; row += 1) {
      out[row] =
        validity !== undefined && validity[row] === 0
          ? this.#nullOf(add)
          : this.#codeOf(values[row]! * factor + base, add);
    }
  }

  #codeOf(given: number, add: boolean): number {
    const value = given === 0 ? 0 : given;
    if (this.#useDirect && this.#direct.length > 0) {
      const index = value - this.#directBase;
      if (index >= 0 && index < this.#direct.length) {
        const known = this.#direct[index]!;
        if (known > 0 || !add) return known - 1;
        const code = this.#push(value);
        this.#direct[index] = code + 1;
        return code;
      }
    }
    if (this.#useDirect) this.#leaveDirect();
    const hash = hashNumber(value);
    for (let code = this.#hashes.first(hash); code >= 0; code = this.#hashes.next()) {
      const known = this.#values[code]!;
      if (known === value || (known !== known && value !== value)) return code;
    }
    if (!add) return -1;
    const code = this.#push(value);
    this.#hashes.add(hash, code);
    return code;
  }

  #largeOf(datum: Datum, add: boolean): number {
    this.#large ??= new DatumInterner(this.#type, this.#memory);
    const before = this.#large.size;
    const inner = this.#large.codeOf(datum, add);
    if (inner < 0) return -1;
    if (inner < before) return this.#largeCodes.indexOf(inner);
    const code = this.#push(0);
    this.#largeCodes[code] = inner;
    return code;
  }

  #nullOf(add: boolean): number {
    if (this.#nullCode < 0 && add) this.#nullCode = this.#push(0);
    return this.#nullCode;
  }

  #push(value: number): number {
    if (this.#size === this.#values.length) {
      const grown = new Float64Array(this.#size * 2);
      this.#lease.take(this.#size * 8);
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values[this.#size] = value;
    this.#size += 1;
    return this.#size - 1;
  }
}

class TextInterner implements ColumnInterner {
  readonly #type: SqlType;
  readonly #dictionary: Dictionary;
  /** Code of this interner for each code of a vector's dictionary, by dictionary; a scan meets one dictionary a segment at most. */
  #memoOf: Dictionary | undefined;
  #memo: Int32Array = new Int32Array(0);
  readonly #memos = new Map<Dictionary, Int32Array>();
  #hasNull = false;

  constructor(type: SqlType, memory: MemoryAccount | undefined) {
    this.#type = type;
    this.#dictionary = new Dictionary(memory);
  }

  /** Code 0 is NULL, so that texts keep the dictionary's numbers, plus one. */
  get size(): number {
    return this.#dictionary.size + 1;
  }

  codes(vector: Vector, rowCount: number, out: Int32Array, add: boolean): void {
    const { validity } = vector;
    if (vector.rep === 'dictionary') {
      this.#dictionaryCodes(vector, rowCount, out, add);
      return;
    }
    for (let row = 0; row < rowCount; row += 1) {
      if (validity !== undefined && validity[row] === 0) {
        out[row] = this.#nullOf(add);
        continue;
      }
      if (vector.rep === 'bytes') {
        const bytes = vector.bytes.subarray(vector.offsets[row]!, vector.offsets[row + 1]!);
        out[row] =
          (add ? this.#dictionary.addBytes(bytes) : this.#dictionary.findBytes(bytes)) + 1 || -1;
        continue;
      }
      const datum = datumAt(vector, row);
      if (datum === null) out[row] = this.#nullOf(add);
      else
        out[row] =
          (add ? this.#dictionary.add(datum as string) : this.#dictionary.find(datum as string)) +
            1 || -1;
    }
  }

  vector(codes: Int32Array, count: number): Vector {
    const values: Datum[] = [];
    for (let at = 0; at < count; at += 1) values.push(this.datum(codes[at]!));
    return { rep: 'object', type: this.#type, values };
  }

  datum(code: number): Datum {
    return code === 0 ? null : this.#dictionary.text(code - 1);
  }

  close(): void {
    this.#dictionary.close();
  }

  #dictionaryCodes(
    { codes, validity, dictionary }: DictionaryVector,
    rowCount: number,
    out: Int32Array,
    add: boolean,
  ): void {
    const memo = this.#memoFor(dictionary);
    for (let row = 0; row < rowCount; row += 1) {
      if (validity !== undefined && validity[row] === 0) {
        out[row] = this.#nullOf(add);
        continue;
      }
      const code = codes[row]!;
      let own = memo[code]!;
      if (own === 0) {
        const bytes = dictionary.bytes(code);
        own = (add ? this.#dictionary.addBytes(bytes) : this.#dictionary.findBytes(bytes)) + 1;
        if (own === 0) {
          out[row] = -1;
          continue;
        }
        memo[code] = own;
      }
      out[row] = own;
    }
  }

  #memoFor(dictionary: Dictionary): Int32Array {
    if (this.#memoOf === dictionary && this.#memo.length >= dictionary.size) return this.#memo;
    let memo = this.#memos.get(dictionary);
    if (memo === undefined || memo.length < dictionary.size) {
      const grown = new Int32Array(Math.max(64, Math.ceil(dictionary.size * 1.25)));
      if (memo !== undefined) grown.set(memo);
      memo = grown;
      this.#memos.set(dictionary, memo);
      // Dictionaries of segments that were read are not met again.
      if (this.#memos.size > 8) this.#memos.delete(this.#memos.keys().next().value!);
    }
    this.#memoOf = dictionary;
    this.#memo = memo;
    return memo;
  }

  #nullOf(add: boolean): number {
    if (add) this.#hasNull = true;
    return this.#hasNull ? 0 : -1;
  }
}

/** Any type, by comparing data: booleans, numerics, intervals, uuids, bytea, blank-padded texts. */
class DatumInterner implements ColumnInterner {
  readonly #type: SqlType;
  readonly #lease: MemoryLease;
  readonly #hashes: HashParts;
  readonly #data: Datum[] = [];
  #nullCode = -1;

  constructor(type: SqlType, memory: MemoryAccount | undefined) {
    this.#type = type;
    this.#lease = new MemoryLease(memory);
    this.#hashes = new HashParts(this.#lease);
  }

  get size(): number {
    return this.#data.length;
  }

  codes(vector: Vector, rowCount: number, out: Int32Array, add: boolean): void {
    for (let row = 0; row < rowCount; row += 1) out[row] = this.codeOf(datumAt(vector, row), add);
  }

  codeOf(datum: Datum, add: boolean): number {
    if (datum === null) {
      if (this.#nullCode < 0 && add) this.#nullCode = this.#push(null);
      return this.#nullCode;
    }
    const { kind } = this.#type;
    const hash = hashDatum(datum, kind);
    for (let code = this.#hashes.first(hash); code >= 0; code = this.#hashes.next()) {
      const known = this.#data[code]!;
      if (known === null || !equalDatums(known, datum, kind)) continue;
      // Of equal numerics the one with the longest scale is shown.
      if (known instanceof Decimal && (datum as Decimal).scale > known.scale)
        this.#data[code] = datum;
      return code;
    }
    if (!add) return -1;
    const code = this.#push(datum);
    this.#hashes.add(hash, code);
    return code;
  }

  vector(codes: Int32Array, count: number): Vector {
    return vectorFromData(
      this.#type,
      Array.from({ length: count }, (_, at) => this.#data[codes[at]!]!),
    );
  }

  datum(code: number): Datum {
    return this.#data[code]!;
  }

  close(): void {
    this.#lease.close();
  }

  #push(datum: Datum): number {
    this.#lease.take(64);
    return this.#data.push(datum) - 1;
  }
}

const bits = new Float64Array(1);
const words = new Int32Array(bits.buffer);

/** Equal doubles hash alike; the caller has made −0 0. */
export function hashNumber(value: number): number {
  bits[0] = value !== value ? Number.NaN : value;
  let hash = Math.imul(words[0]! ^ Math.imul(words[1]!, 0x9e37_79b1), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0xc2b2_ae35);
  return hash ^ (hash >>> 16);
}

/** Pairs of codes numbered densely: how composite keys become one code. */
export class PairInterner {
  readonly #lease: MemoryLease;
  #slots = new Int32Array(1024);
  #first = new Int32Array(256);
  #second = new Int32Array(256);
  #size = 0;

  constructor(memory: MemoryAccount | undefined) {
    this.#lease = new MemoryLease(memory);
  }

  get size(): number {
    return this.#size;
  }

  codes(a: Int32Array, b: Int32Array, rowCount: number, out: Int32Array, add: boolean): void {
    for (let row = 0; row < rowCount; row += 1) out[row] = this.codeOf(a[row]!, b[row]!, add);
  }

  codeOf(a: number, b: number, add: boolean): number {
    if (a < 0 || b < 0) return -1;
    const mask = this.#slots.length - 1;
    let slot = hashPair(a, b) & mask;
    for (;;) {
      const code = this.#slots[slot]! - 1;
      if (code < 0) break;
      if (this.#first[code] === a && this.#second[code] === b) return code;
      slot = (slot + 1) & mask;
    }
    if (!add) return -1;
    const code = this.#size;
    if (code === this.#first.length) {
      this.#first = grownInt32(this.#first, this.#lease);
      this.#second = grownInt32(this.#second, this.#lease);
    }
    this.#first[code] = a;
    this.#second[code] = b;
    this.#size += 1;
    this.#slots[slot] = code + 1;
    if (this.#size * 2 > this.#slots.length) this.#rehash();
    return code;
  }

  first(code: number): number {
    return this.#first[code]!;
  }

  second(code: number): number {
    return this.#second[code]!;
  }

  close(): void {
    this.#lease.close();
  }

  #rehash(): void {
    const slots = new Int32Array(this.#slots.length * 4);
    this.#lease.take(slots.byteLength - this.#slots.byteLength);
    const mask = slots.length - 1;
    for (let code = 0; code < this.#size; code += 1) {
      let slot = hashPair(this.#first[code]!, this.#second[code]!) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = code + 1;
    }
    this.#slots = slots;
  }
}

function hashPair(a: number, b: number): number {
  let hash = Math.imul(a, 0x9e37_79b1) ^ Math.imul(b + 0x7f4a_7c15, 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0xc2b2_ae35);
  return hash ^ (hash >>> 13);
}

export function grownInt32(
  array: Int32Array<ArrayBuffer>,
  lease: MemoryLease,
): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(array.length * 2);
  lease.take(array.byteLength);
  grown.set(array);
  return grown;
}
