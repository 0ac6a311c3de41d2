import { HashParts } from '../base/hash-parts.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { datumAt, vectorFromData } from '../columns/build.ts';
import { equalDatums, hashDatum } from '../columns/compare.ts';
import { Dictionary } from '../columns/dictionary.ts';
import type { SqlType } from '../columns/types.ts';
import { TextScratch } from '../columns/utf8.ts';
import { Decimal, type Datum } from '../columns/values.ts';
import type { DictionaryVector, NumberVector, Vector } from '../columns/vector.ts';
import { lookupLoopOf } from './code-loops.ts';

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
  /** Code + 1 of `directBase + index × directFactor`; grows by doubling while the span stays small. */
  #direct = new Int32Array(0);
  #directBase = 0;
  #directFactor = 1;
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
    const { values, validity, factor, base, bounds } = vector;
    if (!(Number.isSafeInteger(factor) && Number.isSafeInteger(base) && factor > 0)) {
      this.#leaveDirect();
      return false;
    }
    if (
      bounds !== undefined &&
      this.#direct.length > 0 &&
      this.#isOnGrid(factor, base) &&
      this.#reaches(bounds.min, bounds.max)
    )
      return true;
    let low = Infinity;
    let high = -Infinity;
    for (let row = 0; row < rowCount; row += 1) {
      if (validity !== undefined && validity[row] === 0) continue;
      const value = values[row]!;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    // Nothing but NULLs: no value is looked up.
    if (low > high) return this.#direct.length > 0 || validity !== undefined;
    low = low * factor + base;
    high = high * factor + base;
    if (this.#direct.length === 0) {
      this.#directBase = low;
      this.#directFactor = factor;
    } else if (!this.#isOnGrid(factor, base)) {
      const shared = greatestCommonDivisor(
        greatestCommonDivisor(this.#directFactor, factor),
        Math.abs(base - this.#directBase),
      );
      if (!this.#layOut(low, high, shared)) return false;
    }
    return this.#reaches(low, high) || this.#layOut(low, high, this.#directFactor);
  }

  #isOnGrid(factor: number, base: number): boolean {
    return (
      factor % this.#directFactor === 0 && (base - this.#directBase) % this.#directFactor === 0
    );
  }

  #reaches(low: number, high: number): boolean {
    return (
      low >= this.#directBase && high < this.#directBase + this.#direct.length * this.#directFactor
    );
  }

  /** A direct table that reaches from `low` to `high` besides what it has, in steps of `factor`. */
  #layOut(low: number, high: number, factor: number): boolean {
    const size = this.#direct.length;
    const before = this.#directFactor;
    const from = size === 0 ? low : Math.min(low, this.#directBase);
    const to = size === 0 ? high : Math.max(high, this.#directBase + (size - 1) * before);
    const span = (to - from) / factor;
    if (!(span < DIRECT_SPAN_MAX)) {
      this.#leaveDirect();
      return false;
    }
    let next = Math.max(1024, size);
    while (next < span + 1) next *= 2;
    const grown = new Int32Array(next);
    this.#lease.take((next - size) * 4);
    if (before === factor) grown.set(this.#direct, (this.#directBase - from) / factor);
    else
      for (let index = 0; index < size; index += 1)
        grown[(this.#directBase + index * before - from) / factor] = this.#direct[index]!;
    this.#direct = grown;
    this.#directBase = from;
    this.#directFactor = factor;
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
    const step = factor / this.#directFactor;
    const shift = (base - this.#directBase) / this.#directFactor;
    const look = lookupLoopOf(values);
    let row = 0;
    for (;;) {
      row = look(values, step, shift, validity, this.#nullCode, row, rowCount, direct, out);
      if (row >= rowCount) return;
      if (validity !== undefined && validity[row] === 0) out[row] = this.#nullOf(add);
      else if (!add) out[row] = -1;
      else {
        const code = this.#push(values[row]! * factor + base);
        direct[values[row]! * step + shift] = code + 1;
        out[row] = code;
      }
      row += 1;
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
      const index = (value - this.#directBase) / this.#directFactor;
      if (index >= 0 && index < this.#direct.length && Number.isInteger(index)) {
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

/**
 * Texts, numbered from 1 on; 0 is NULL. The first dictionary that is met lends its texts: its codes lead to ours by an array, and no text
 * is hashed or copied while no other source has any.
 */
class TextInterner implements ColumnInterner {
  readonly #type: SqlType;
  readonly #memory: MemoryAccount | undefined;
  readonly #lease: MemoryLease;
  #lender: Dictionary | undefined;
  /** Texts that the lender did not have when they came, and our code of each. */
  #own: Dictionary | undefined;
  #ownCodes = new Int32Array(0);
  /** By our code: the lender's code, or −1 − the code in `#own`. */
  #origins = new Int32Array(64);
  #size = 1;
  /** Our code + 1 for each code of a dictionary; a scan meets one dictionary a segment at most. */
  readonly #memos = new Map<Dictionary, Int32Array>();
  #memoOf: Dictionary | undefined;
  #memo: Int32Array = new Int32Array(0);
  #hasNull = false;

  constructor(type: SqlType, memory: MemoryAccount | undefined) {
    this.#type = type;
    this.#memory = memory;
    this.#lease = new MemoryLease(memory);
  }

  get size(): number {
    return this.#size;
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
        out[row] = this.#codeOf(vector.bytes, vector.offsets[row]!, vector.offsets[row + 1]!, add);
        continue;
      }
      const datum = datumAt(vector, row);
      if (datum === null) out[row] = this.#nullOf(add);
      else {
        const length = this.#scratch.encode(datum as string);
        out[row] = this.#codeOf(this.#scratch.bytes, 0, length, add);
      }
    }
  }

  vector(codes: Int32Array, count: number): Vector {
    const lender = this.#lender;
    const lent = new Int32Array(count);
    let validity: Uint8Array | undefined;
    let isLent = lender !== undefined;
    for (let at = 0; at < count && isLent; at += 1) {
      const code = codes[at]!;
      const origin = code === 0 ? 0 : this.#origins[code]!;
      if (code === 0) {
        validity ??= new Uint8Array(count).fill(1);
        validity[at] = 0;
      } else if (origin < 0) isLent = false;
      lent[at] = origin;
    }
    if (isLent)
      return { rep: 'dictionary', type: this.#type, codes: lent, validity, dictionary: lender! };
    const values: Datum[] = [];
    for (let at = 0; at < count; at += 1) values.push(this.datum(codes[at]!));
    return { rep: 'object', type: this.#type, values };
  }

  datum(code: number): Datum {
    if (code === 0) return null;
    const origin = this.#origins[code]!;
    return origin >= 0 ? this.#lender!.text(origin) : this.#own!.text(-1 - origin);
  }

  close(): void {
    this.#lease.close();
    this.#own?.close();
  }

  readonly #scratch = new TextScratch();

  #dictionaryCodes(
    { codes, validity, dictionary }: DictionaryVector,
    rowCount: number,
    out: Int32Array,
    add: boolean,
  ): void {
    if (add) this.#lender ??= dictionary;
    const memo = this.#memoFor(dictionary);
    const look = lookupLoopOf(codes);
    let row = 0;
    for (;;) {
      const nullCode = this.#hasNull ? 0 : -1;
      row = look(codes, 1, 0, validity, nullCode, row, rowCount, memo, out);
      if (row >= rowCount) return;
      if (validity !== undefined && validity[row] === 0) out[row] = this.#nullOf(add);
      else {
        const code = this.#codeOfEntry(dictionary, codes[row]!, add);
        if (code >= 0) memo[codes[row]!] = code + 1;
        out[row] = code;
      }
      row += 1;
    }
  }

  /** Our code of a dictionary's entry that no memo knows. */
  #codeOfEntry(dictionary: Dictionary, entry: number, add: boolean): number {
    if (dictionary === this.#lender && this.#own === undefined) return add ? this.#push(entry) : -1;
    const start = dictionary.byteStart(entry);
    const end = start + dictionary.byteLength(entry);
    const bytes = dictionary.byteChunk(entry);
    if (dictionary !== this.#lender) return this.#codeOf(bytes, start, end, add);
    // The text may have come from elsewhere before the lender had it.
    const own = this.#own!.findBytes(bytes, start, end);
    if (own >= 0) return this.#ownCodes[own]!;
    return add ? this.#push(entry) : -1;
  }

  #codeOf(bytes: Uint8Array, start: number, end: number, add: boolean): number {
    const own = this.#own === undefined ? -1 : this.#own.findBytes(bytes, start, end);
    if (own >= 0) return this.#ownCodes[own]!;
    const lent = this.#lender === undefined ? -1 : this.#lender.findBytes(bytes, start, end);
    if (lent >= 0) {
      const memo = this.#memoFor(this.#lender!);
      if (memo[lent] !== 0) return memo[lent]! - 1;
      if (!add) return -1;
      const code = this.#push(lent);
      memo[lent] = code + 1;
      return code;
    }
    if (!add) return -1;
    this.#own ??= new Dictionary(this.#memory);
    const added = this.#own.addBytes(bytes, start, end);
    const code = this.#push(-1 - added);
    if (added >= this.#ownCodes.length) {
      const grown = new Int32Array(Math.max(64, this.#ownCodes.length * 2));
      this.#lease.take(grown.byteLength - this.#ownCodes.byteLength);
      grown.set(this.#ownCodes);
      this.#ownCodes = grown;
    }
    this.#ownCodes[added] = code;
    return code;
  }

  #push(origin: number): number {
    if (this.#size === this.#origins.length) this.#origins = grownInt32(this.#origins, this.#lease);
    this.#origins[this.#size] = origin;
    this.#size += 1;
    return this.#size - 1;
  }

  #memoFor(dictionary: Dictionary): Int32Array {
    if (this.#memoOf === dictionary && this.#memo.length >= dictionary.size) return this.#memo;
    let memo = this.#memos.get(dictionary);
    if (memo === undefined || memo.length < dictionary.size) {
      const grown = new Int32Array(Math.max(64, Math.ceil(dictionary.size * 1.25)));
      this.#lease.take(grown.byteLength - (memo?.byteLength ?? 0));
      if (memo !== undefined) grown.set(memo);
      memo = grown;
      this.#memos.set(dictionary, memo);
      // Dictionaries of segments that were read are not met again; the lender's says which of its texts are known.
      if (this.#memos.size > 8) {
        for (const [oldest, bytes] of this.#memos) {
          if (oldest === this.#lender) continue;
          this.#memos.delete(oldest);
          this.#lease.give(bytes.byteLength);
          break;
        }
      }
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

/**
 * Pairs of codes numbered densely: how composite keys become one code. While the pairs that there could be are few enough they index
 * a table, in chunks that come into being when a pair falls into them; beyond, they are hashed.
 */
export class PairInterner {
  readonly #lease: MemoryLease;
  /** Code + 1 of first × 2^bits + second; undefined: hashed. */
  #chunks: (Int32Array | undefined)[] | undefined = [];
  #bits = 4;
  #slots = new Int32Array(0);
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
    let row = 0;
    while (row < rowCount) {
      row = this.#known(a, b, row, rowCount, out);
      if (row >= rowCount) return;
      out[row] = this.codeOf(a[row]!, b[row]!, add);
      row += 1;
    }
  }

  codeOf(a: number, b: number, add: boolean): number {
    if (a < 0 || b < 0) return -1;
    if (this.#chunks === undefined) return this.#hashedCodeOf(a, b, add);
    if (b >>> this.#bits !== 0 || a >= PAIRS_MAX >>> this.#bits) {
      if (!add) return -1;
      this.#reach(a, b);
      return this.codeOf(a, b, true);
    }
    const index = (a << this.#bits) | b;
    let chunk = this.#chunks[index >>> CHUNK_BITS];
    if (chunk === undefined) {
      if (!add) return -1;
      chunk = this.#newChunk(index >>> CHUNK_BITS);
    }
    const known = chunk[index & CHUNK_MASK]!;
    if (known !== 0 || !add) return known - 1;
    const code = this.#push(a, b);
    chunk[index & CHUNK_MASK] = code + 1;
    return code;
  }

  /** Codes of pairs that have one, up to the first that has none. */
  #known(a: Int32Array, b: Int32Array, from: number, rowCount: number, out: Int32Array): number {
    const chunks = this.#chunks;
    if (chunks === undefined) return from;
    const bits = this.#bits;
    const firstEnd = PAIRS_MAX >>> bits;
    const chunkCount = chunks.length;
    for (let row = from; row < rowCount; row += 1) {
      const first = a[row]!;
      const second = b[row]!;
      // Negative codes, and pairs beyond the table, are left to `codeOf`.
      if (second >>> bits !== 0 || first >>> 0 >= firstEnd) return row;
      const index = (first << bits) | second;
      if (index >>> CHUNK_BITS >= chunkCount) return row;
      const chunk = chunks[index >>> CHUNK_BITS];
      if (chunk === undefined) return row;
      const code = chunk[index & CHUNK_MASK]!;
      if (code === 0) return row;
      out[row] = code - 1;
    }
    return rowCount;
  }

  /** Widens the table for a pair that lies outside, or gives it up. */
  #reach(a: number, b: number): void {
    while (b >>> this.#bits !== 0) this.#bits += 1;
    const chunks = this.#chunks!;
    this.#chunks = undefined;
    for (const chunk of chunks) if (chunk !== undefined) this.#lease.give(chunk.byteLength);
    let firstMax = a;
    for (let code = 0; code < this.#size; code += 1)
      if (this.#first[code]! > firstMax) firstMax = this.#first[code]!;
    if (firstMax < PAIRS_MAX >>> this.#bits) {
      this.#chunks = [];
      for (let code = 0; code < this.#size; code += 1) {
        const index = (this.#first[code]! << this.#bits) | this.#second[code]!;
        const chunk = this.#chunks[index >>> CHUNK_BITS] ?? this.#newChunk(index >>> CHUNK_BITS);
        chunk[index & CHUNK_MASK] = code + 1;
      }
      return;
    }
    let slotCount = 1024;
    while (slotCount < this.#size * 4) slotCount *= 2;
    this.#rehash(slotCount);
  }

  #newChunk(index: number): Int32Array {
    const chunk = new Int32Array(CHUNK_MASK + 1);
    this.#lease.take(chunk.byteLength);
    const chunks = this.#chunks!;
    while (chunks.length <= index) chunks.push(undefined);
    chunks[index] = chunk;
    return chunk;
  }

  #hashedCodeOf(a: number, b: number, add: boolean): number {
    const mask = this.#slots.length - 1;
    let slot = hashPair(a, b) & mask;
    for (;;) {
      const code = this.#slots[slot]! - 1;
      if (code < 0) break;
      if (this.#first[code] === a && this.#second[code] === b) return code;
      slot = (slot + 1) & mask;
    }
    if (!add) return -1;
    const code = this.#push(a, b);
    this.#slots[slot] = code + 1;
    if (this.#size * 2 > this.#slots.length) this.#rehash(this.#slots.length * 4);
    return code;
  }

  #push(a: number, b: number): number {
    const code = this.#size;
    if (code === this.#first.length) {
      this.#first = grownInt32(this.#first, this.#lease);
      this.#second = grownInt32(this.#second, this.#lease);
    }
    this.#first[code] = a;
    this.#second[code] = b;
    this.#size += 1;
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

  #rehash(slotCount: number): void {
    const slots = new Int32Array(slotCount);
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

/** Pairs that a table is laid out for, at most: 64 MB. */
const PAIRS_MAX = 2 ** 24;
/** Chunks of 64 KB. */
const CHUNK_BITS = 14;
const CHUNK_MASK = 2 ** CHUNK_BITS - 1;

function greatestCommonDivisor(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
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
