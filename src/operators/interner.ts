import { ChunkedFloat64, ChunkedInt32 } from '../base/chunked.ts';
import { assert, DbError } from '../base/errors.ts';
import { ownDoubles, type DoublesMaker } from '../base/slab.ts';
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
import type { Budget } from './operator.ts';

/**
 * Values of one type numbered 0, 1, 2, … in the order they come; NULL is a value, −0 is 0, NaN is NaN, 1.0 is 1.00 (the
 * longest scale is shown). Dictionary codes and small integers index arrays; nothing is hashed where it need not be.
 */
export interface ColumnInterner {
  readonly size: number;
  /** The code that `size` counts though its value, NULL, has not come; undefined where there is none. */
  readonly absentCode?: number | undefined;
  /** Codes of logical rows 0 … rowCount−1 of a dense vector, into `out`. `add` false: values never met give −1. */
  codes(vector: Vector, rowCount: number, out: Int32Array, add: boolean): void;
  /**
   * Makes room for what a vector may bring, as far as the budget reaches; false: to be called again. `codes` then never moves more than
   * 64 KB; without this call it does all at once.
   */
  prepare?(vector: Vector, rowCount: number, budget: Budget): boolean;
  /** The value of each code. `doubles`: where numbers go that are soon forgotten. */
  vector(codes: Int32Array, count: number, doubles?: DoublesMaker): Vector;
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
  readonly #values: ChunkedFloat64;
  /** Values that are no double: int8 and timestamps beyond 2^53. By our code theirs, and ours by theirs. */
  #large: DatumInterner | undefined;
  #largeCodes: number[] = [];
  #codesOfLarge: number[] = [];
  #nullCode = -1;
  /** Code + 1 of `directBase + index × directFactor`; grows by doubling while the span stays small. */
  #direct = new Int32Array(0);
  /** Nothing is in the table from here on. */
  #directEnd = 0;
  #directBase = 0;
  #directFactor = 1;
  /** Values outside of the table are hashed: it stays as it is, and what it holds is not hashed again. */
  #isFrozen: boolean;
  /** The larger table that is being filled. */
  #laying:
    | { table: Int32Array<ArrayBuffer>; base: number; factor: number; moved: number }
    | undefined;

  constructor(type: SqlType, memory: MemoryAccount | undefined) {
    this.#type = type;
    this.#memory = memory;
    this.#lease = new MemoryLease(memory);
    this.#hashes = new HashParts(this.#lease);
    this.#values = new ChunkedFloat64(this.#lease);
    this.#isFrozen = type.kind === 'float4' || type.kind === 'float8';
  }

  get size(): number {
    return this.#values.length;
  }

  prepare(vector: Vector, rowCount: number, budget: Budget): boolean {
    return vector.rep !== 'number' || this.#coverage(vector, rowCount, budget) !== 'later';
  }

  codes(vector: Vector, rowCount: number, out: Int32Array, add: boolean): void {
    if (vector.rep === 'number') {
      if (this.#coverage(vector, rowCount, undefined) === 'direct')
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

  vector(codes: Int32Array, count: number, doubles: DoublesMaker = ownDoubles): Vector {
    const values = doubles(count);
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
      } else values[at] = this.#values.get(code);
    }
    return { rep: 'number', type: this.#type, values, validity, factor: 1, base: 0, scale: 0 };
  }

  datum(code: number): Datum {
    if (code === this.#nullCode) return null;
    const large = this.#largeCodes[code];
    return large === undefined ? this.#values.get(code) : this.#large!.datum(large);
  }

  close(): void {
    this.#lease.close();
    this.#large?.close();
  }

  /** Makes the direct table reach all values of the vector; `hashed` where they lie too far apart for that. */
  #coverage(
    { values, validity, factor, base, bounds }: NumberVector,
    rowCount: number,
    budget: Budget | undefined,
  ): Coverage {
    if (this.#laying !== undefined && !this.#layOut(budget)) return 'later';
    if (!(Number.isSafeInteger(factor) && Number.isSafeInteger(base) && factor > 0)) {
      this.#isFrozen = true;
      return 'hashed';
    }
    if (this.#direct.length === 0 && this.#isFrozen) return 'hashed';
    if (
      bounds !== undefined &&
      this.#direct.length > 0 &&
      this.#isOnGrid(factor, base) &&
      this.#reaches(bounds.min, bounds.max)
    )
      return 'direct';
    let low = Infinity;
    let high = -Infinity;
    for (let row = 0; row < rowCount; row += 1) {
      if (validity !== undefined && validity[row] === 0) continue;
      const value = values[row]!;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    // Nothing but NULLs: no value is looked up.
    if (low > high) return this.#direct.length > 0 || validity !== undefined ? 'direct' : 'hashed';
    low = low * factor + base;
    high = high * factor + base;
    const isOnGrid = this.#direct.length === 0 || this.#isOnGrid(factor, base);
    if (this.#direct.length > 0 && isOnGrid && this.#reaches(low, high)) return 'direct';
    if (this.#isFrozen) return 'hashed';
    if (this.#direct.length === 0) {
      this.#directBase = low;
      this.#directFactor = factor;
    }
    const shared = isOnGrid
      ? this.#directFactor
      : greatestCommonDivisor(
          greatestCommonDivisor(this.#directFactor, factor),
          Math.abs(base - this.#directBase),
        );
    if (!this.#beginLayOut(low, high, shared)) {
      this.#isFrozen = true;
      return 'hashed';
    }
    return this.#layOut(budget) ? 'direct' : 'later';
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

  /** A direct table that reaches from `low` to `high` besides what it has, in steps of `factor`; false: it would be too large. */
  #beginLayOut(low: number, high: number, factor: number): boolean {
    const size = this.#direct.length;
    const used = this.#directEnd;
    let from = used === 0 ? low : Math.min(low, this.#directBase);
    const to =
      used === 0 ? high : Math.max(high, this.#directBase + (used - 1) * this.#directFactor);
    const span = (to - from) / factor;
    if (!(span < DIRECT_SPAN_MAX)) return false;
    let next = Math.max(1024, size);
    while (next < span + 1) next *= 2;
    // Numbers that count from about zero: one that is less than all before needs no other table.
    const least = from % factor;
    if (from > 0 && (to - least) / factor < next) from = least;
    this.#lease.take((next - size) * 4);
    this.#laying = { table: new Int32Array(next), base: from, factor, moved: 0 };
    return true;
  }

  /** Moves what the old table has, in steps of 64 KB; true when the new one is in place. */
  #layOut(budget: Budget | undefined): boolean {
    const laying = this.#laying!;
    const { table, base, factor } = laying;
    const old = this.#direct;
    const offset = (this.#directBase - base) / factor;
    const stride = this.#directFactor / factor;
    while (laying.moved < this.#directEnd) {
      const start = laying.moved;
      if (start > 0 && budget?.exhausted === true) return false;
      const end = Math.min(this.#directEnd, start + MOVED_AT_ONCE);
      if (stride === 1) table.set(old.subarray(start, end), offset + start);
      else
        for (let index = start; index < end; index += 1)
          table[offset + index * stride] = old[index]!;
      if (this.#directEnd > MOVED_AT_ONCE) budget?.charge(Math.ceil((end - start) / MOVED_A_UNIT));
      laying.moved = end;
    }
    this.#direct = table;
    this.#directEnd = this.#directEnd === 0 ? 0 : offset + (this.#directEnd - 1) * stride + 1;
    this.#directBase = base;
    this.#directFactor = factor;
    this.#laying = undefined;
    return true;
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
        const index = values[row]! * step + shift;
        direct[index] = code + 1;
        if (index >= this.#directEnd) this.#directEnd = index + 1;
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
    if (this.#direct.length > 0) {
      const index = (value - this.#directBase) / this.#directFactor;
      if (index >= 0 && index < this.#direct.length && Number.isInteger(index)) {
        const known = this.#direct[index]!;
        if (known > 0 || !add) return known - 1;
        const code = this.#push(value);
        this.#direct[index] = code + 1;
        if (index >= this.#directEnd) this.#directEnd = index + 1;
        return code;
      }
    }
    this.#isFrozen = true;
    const hash = hashNumber(value);
    for (let code = this.#hashes.first(hash); code >= 0; code = this.#hashes.next()) {
      const known = this.#values.get(code);
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
    if (inner < before) return this.#codesOfLarge[inner]!;
    const code = this.#push(0);
    this.#largeCodes[code] = inner;
    this.#codesOfLarge.push(code);
    return code;
  }

  #nullOf(add: boolean): number {
    if (this.#nullCode < 0 && add) this.#nullCode = this.#push(0);
    return this.#nullCode;
  }

  #push(value: number): number {
    this.#values.push(value);
    return this.#values.length - 1;
  }
}

type Coverage = 'direct' | 'hashed' | 'later';

/** Entries of a table that are moved between two looks at the budget: 64 KB. */
const MOVED_AT_ONCE = 16_384;
/** A memo is made when one in so many of the texts of a dictionary, or as many as that again and again, have been looked up. */
const LOOK_UPS_A_MEMO = 16;
/** Texts of a lender that is left, copied in one call: a commit is not held up by all of them. */
const OWNED_AT_ONCE = 1024;
/** Moved entries that one work unit pays for. */
const MOVED_A_UNIT = 8;

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
  readonly #ownCodes: ChunkedInt32;
  /** By our code: the lender's code, or −1 − the code in `#own`. */
  readonly #origins: ChunkedInt32;
  /** Our code + 1 for each code of a dictionary; a scan meets one dictionary a segment at most. */
  readonly #memos = new Map<Dictionary, Int32Array>();
  #memoOf: Dictionary | undefined;
  #memo: Int32Array = new Int32Array(0);
  #hasNull = false;
  /** Rows whose texts were looked up one by one, for want of a memo. */
  #lookedUpIn: Dictionary | undefined;
  #lookedUp = 0;
  /** While a lender is left: below this code of ours no text is borrowed. */
  #ownedTo = 1;

  constructor(type: SqlType, memory: MemoryAccount | undefined) {
    this.#type = type;
    this.#memory = memory;
    this.#lease = new MemoryLease(memory);
    this.#ownCodes = new ChunkedInt32(this.#lease);
    this.#origins = new ChunkedInt32(this.#lease);
    this.#origins.push(0);
  }

  get size(): number {
    return this.#origins.length;
  }

  get absentCode(): number | undefined {
    return this.#hasNull ? undefined : 0;
  }

  codes(vector: Vector, rowCount: number, out: Int32Array, add: boolean): void {
    const { validity } = vector;
    if (this.#lender?.isSuperseded === true) this.#leaveLender();
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
    const found = new Int32Array(count);
    let validity: Uint8Array | undefined;
    let lentCount = 0;
    let ownCount = 0;
    for (let at = 0; at < count && (lentCount === 0 || ownCount === 0); at += 1) {
      const code = codes[at]!;
      if (code === 0) {
        validity ??= new Uint8Array(count).fill(1);
        validity[at] = 0;
        continue;
      }
      const origin = this.#origins.get(code);
      if (origin >= 0) lentCount += 1;
      else ownCount += 1;
      found[at] = origin >= 0 ? origin : -1 - origin;
    }
    const dictionary = ownCount === 0 ? this.#lender : lentCount === 0 ? this.#own : undefined;
    if (dictionary !== undefined)
      return { rep: 'dictionary', type: this.#type, codes: found, validity, dictionary };
    const values: Datum[] = [];
    for (let at = 0; at < count; at += 1) values.push(this.datum(codes[at]!));
    return { rep: 'object', type: this.#type, values };
  }

  datum(code: number): Datum {
    if (code === 0) return null;
    const origin = this.#origins.get(code);
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
    // One that its table has left would have to be left here, too, again and again.
    if (add && !dictionary.isSuperseded) this.#lender ??= dictionary;
    const memo =
      dictionary === this.#lender
        ? this.#memoFor(dictionary)
        : this.#memoWorthWhile(dictionary, rowCount);
    if (memo === undefined) {
      for (let row = 0; row < rowCount; row += 1)
        out[row] =
          validity !== undefined && validity[row] === 0
            ? this.#nullOf(add)
            : this.#codeOfEntry(dictionary, codes[row]!, add);
      return;
    }
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
    if (own >= 0) return this.#ownCodes.get(own);
    return add ? this.#push(entry) : -1;
  }

  #codeOf(bytes: Uint8Array, start: number, end: number, add: boolean): number {
    const own = this.#own === undefined ? -1 : this.#own.findBytes(bytes, start, end);
    if (own >= 0) return this.#ownCodes.get(own);
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
    // A text that met a want of memory is there with its code, or not at all.
    this.#ownCodes.reserve(this.#ownCodes.length + 1);
    this.#origins.reserve(this.#origins.length + 1);
    const added = this.#own.addBytes(bytes, start, end);
    const code = this.#push(-1 - added);
    assert(added === this.#ownCodes.length, 'texts of our own are numbered as they come');
    this.#ownCodes.push(code);
    return code;
  }

  #push(origin: number): number {
    this.#origins.push(origin);
    return this.#origins.length - 1;
  }

  /** The lender's table has another dictionary by now: what was borrowed becomes our own, some texts at each call, and then the lender goes. */
  #leaveLender(): void {
    const lender = this.#lender!;
    const end = Math.min(this.#origins.length, this.#ownedTo + OWNED_AT_ONCE);
    this.#own ??= new Dictionary(this.#memory);
    for (; this.#ownedTo < end; this.#ownedTo += 1) {
      const entry = this.#origins.get(this.#ownedTo);
      if (entry < 0) continue;
      this.#ownCodes.reserve(this.#ownCodes.length + 1);
      const start = lender.byteStart(entry);
      const added = this.#own.addBytes(
        lender.byteChunk(entry),
        start,
        start + lender.byteLength(entry),
      );
      assert(added === this.#ownCodes.length, 'a text is borrowed or our own');
      this.#ownCodes.push(this.#ownedTo);
      this.#origins.set(this.#ownedTo, -1 - added);
    }
    if (this.#ownedTo < this.#origins.length) return;
    this.#lender = undefined;
    this.#ownedTo = 1;
    for (const memo of this.#memos.values()) this.#lease.give(memo.byteLength);
    this.#memos.clear();
    this.#memoOf = undefined;
    this.#memo = new Int32Array(0);
  }

  /** Undefined where there is none yet, and looking texts up one by one takes less: of few rows, or where memory is short. */
  #memoWorthWhile(dictionary: Dictionary, rowCount: number): Int32Array | undefined {
    const { size } = dictionary;
    if (this.#memoOf === dictionary && this.#memo.length >= size) return this.#memo;
    if ((this.#memos.get(dictionary)?.length ?? 0) < size) {
      if (this.#lookedUpIn !== dictionary) {
        this.#lookedUpIn = dictionary;
        this.#lookedUp = 0;
      }
      this.#lookedUp += rowCount;
      if (this.#lookedUp * LOOK_UPS_A_MEMO < size) return undefined;
    }
    try {
      return this.#memoFor(dictionary);
    } catch (cause) {
      if (cause instanceof DbError && cause.code === '53200') return undefined;
      throw cause;
    }
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
 * a table, in chunks that come into being when a pair falls into them; beyond, or where they lie too far apart, they are hashed.
 */
export class PairInterner {
  readonly #lease: MemoryLease;
  /** Code + 1 of first × 2^bits + second; undefined: hashed. */
  #chunks: Chunks | undefined = [];
  /** Those that are there. */
  #chunkCount = 0;
  #bits = 4;
  readonly #hashes: HashParts;
  readonly #first: ChunkedInt32;
  readonly #second: ChunkedInt32;
  /** The wider table, or the hashes where there are no chunks, that the pairs are being moved to. */
  #moving:
    | { chunks: Chunks | undefined; readonly bits: number; moved: number; chunkCount: number }
    | undefined;

  constructor(memory: MemoryAccount | undefined) {
    this.#lease = new MemoryLease(memory);
    this.#hashes = new HashParts(this.#lease);
    this.#first = new ChunkedInt32(this.#lease);
    this.#second = new ChunkedInt32(this.#lease);
  }

  /** Whether pairs are looked up by hash: a table is several times as fast. */
  get isHashed(): boolean {
    return this.#chunks === undefined;
  }

  get size(): number {
    return this.#first.length;
  }

  /** Makes the table reach all pairs of these codes, as far as the budget reaches; false: to be called again. */
  prepare(a: Int32Array, b: Int32Array, rowCount: number, budget: Budget): boolean {
    if (this.#moving !== undefined) return this.#move(budget);
    if (this.#chunks === undefined) return true;
    let firstMax = 0;
    let secondMax = 0;
    for (let row = 0; row < rowCount; row += 1) {
      if (a[row]! > firstMax) firstMax = a[row]!;
      if (b[row]! > secondMax) secondMax = b[row]!;
    }
    if (this.#isOutside(firstMax, secondMax)) this.#widen(firstMax, secondMax);
    else {
      if (!this.#isTooSparse(this.#chunkCount + this.#newChunks(a, b, rowCount))) return true;
      this.#moving = { chunks: undefined, bits: this.#bits, moved: 0, chunkCount: 0 };
    }
    return this.#move(budget);
  }

  /** So many chunks would come into being for these pairs. */
  #newChunks(a: Int32Array, b: Int32Array, rowCount: number): number {
    const chunks = this.#chunks!;
    let added: Set<number> | undefined;
    for (let row = 0; row < rowCount; row += 1) {
      const index = ((a[row]! << this.#bits) | b[row]!) >>> CHUNK_BITS;
      if (chunks[index] === undefined) (added ??= new Set()).add(index);
    }
    return added?.size ?? 0;
  }

  /** Pairs that lie far apart are hashed: with a chunk for each few of them a table would take a hundred times their room. */
  #isTooSparse(chunkCount: number): boolean {
    return chunkCount > SPARSE_CHUNKS && chunkCount * CHUNK_PAIRS_MIN > this.size;
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
    if (this.#moving !== undefined) this.#move(undefined);
    if (this.#chunks === undefined) return this.#hashedCodeOf(a, b, add);
    if (this.#isOutside(a, b)) {
      if (!add) return -1;
      this.#widen(a, b);
      this.#move(undefined);
      return this.codeOf(a, b, true);
    }
    const index = (a << this.#bits) | b;
    let chunk = this.#chunks[index >>> CHUNK_BITS];
    if (chunk === undefined) {
      if (!add) return -1;
      if (this.#isTooSparse(this.#chunkCount + 1)) {
        this.#moving = { chunks: undefined, bits: this.#bits, moved: 0, chunkCount: 0 };
        this.#move(undefined);
        return this.#hashedCodeOf(a, b, true);
      }
      chunk = this.#newChunk(this.#chunks, index >>> CHUNK_BITS);
      this.#chunkCount += 1;
    }
    const known = chunk[index & CHUNK_MASK]!;
    if (known !== 0 || !add) return known - 1;
    const code = this.#push(a, b);
    chunk[index & CHUNK_MASK] = code + 1;
    return code;
  }

  first(code: number): number {
    return this.#first.get(code);
  }

  second(code: number): number {
    return this.#second.get(code);
  }

  close(): void {
    this.#lease.close();
  }

  /** Codes of pairs that have one, up to the first that has none. */
  #known(a: Int32Array, b: Int32Array, from: number, rowCount: number, out: Int32Array): number {
    const chunks = this.#moving === undefined ? this.#chunks : undefined;
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

  #isOutside(a: number, b: number): boolean {
    return b >>> this.#bits !== 0 || a >= PAIRS_MAX >>> this.#bits;
  }

  /** Begins a table that reaches a pair that lies outside, or gives tables up. */
  #widen(a: number, b: number): void {
    let bits = this.#bits;
    while (b >>> bits !== 0) bits += 1;
    // First codes come in order: chunks tell how far they go.
    const firstMax = Math.max(a, (this.#chunks!.length << CHUNK_BITS) >>> this.#bits);
    const isTable = bits < 24 && firstMax < PAIRS_MAX >>> bits;
    this.#moving = { chunks: isTable ? [] : undefined, bits, moved: 0, chunkCount: 0 };
  }

  #move(budget: Budget | undefined): boolean {
    const moving = this.#moving!;
    const { bits } = moving;
    const { size } = this;
    while (moving.moved < size) {
      const start = moving.moved;
      if (start > 0 && budget?.exhausted === true) return false;
      const end = Math.min(size, start + PAIRS_AT_ONCE);
      const isTable = moving.chunks !== undefined && this.#layOut(moving.chunks, bits, start, end);
      if (!isTable && moving.chunks !== undefined) {
        // Wider it would be too sparse.
        this.#giveUp(moving.chunks);
        moving.chunks = undefined;
        moving.moved = 0;
        continue;
      }
      if (!isTable)
        for (let code = start; code < end; code += 1)
          this.#hashes.add(hashPair(this.#first.get(code), this.#second.get(code)), code);
      if (size > PAIRS_AT_ONCE) budget?.charge(end - start);
      moving.moved = end;
    }
    this.#giveUp(this.#chunks!);
    this.#chunks = moving.chunks;
    this.#chunkCount = moving.chunkCount;
    this.#bits = bits;
    this.#moving = undefined;
    return true;
  }

  /** Puts pairs [start, end) into a wider table; false where it would be too sparse. */
  #layOut(chunks: Chunks, bits: number, start: number, end: number): boolean {
    const moving = this.#moving!;
    for (let code = start; code < end; code += 1) {
      const index = (this.#first.get(code) << bits) | this.#second.get(code);
      let chunk = chunks[index >>> CHUNK_BITS];
      if (chunk === undefined) {
        if (this.#isTooSparse(moving.chunkCount + 1)) return false;
        chunk = this.#newChunk(chunks, index >>> CHUNK_BITS);
        moving.chunkCount += 1;
      }
      chunk[index & CHUNK_MASK] = code + 1;
    }
    return true;
  }

  #giveUp(chunks: Chunks): void {
    for (const chunk of chunks) if (chunk !== undefined) this.#lease.give(chunk.byteLength);
  }

  #newChunk(chunks: Chunks, index: number): Int32Array {
    const chunk = new Int32Array(CHUNK_MASK + 1);
    this.#lease.take(chunk.byteLength);
    while (chunks.length <= index) chunks.push(undefined);
    chunks[index] = chunk;
    return chunk;
  }

  #hashedCodeOf(a: number, b: number, add: boolean): number {
    const hash = hashPair(a, b);
    for (let code = this.#hashes.first(hash); code >= 0; code = this.#hashes.next())
      if (this.#first.get(code) === a && this.#second.get(code) === b) return code;
    if (!add) return -1;
    const code = this.#push(a, b);
    this.#hashes.add(hash, code);
    return code;
  }

  #push(a: number, b: number): number {
    // Both or neither, where memory is short.
    this.#second.reserve(this.#second.length + 1);
    this.#first.push(a);
    this.#second.push(b);
    return this.#first.length - 1;
  }
}

type Chunks = (Int32Array | undefined)[];

/** Pairs that are moved between two looks at the budget. */
const PAIRS_AT_ONCE = 2048;
/** Pairs that a table is laid out for, at most: 64 MB. */
const PAIRS_MAX = 2 ** 24;
/** Chunks of 64 KB. */
const CHUNK_BITS = 14;
/**
 * More of them are there only for so many pairs each, on average: fewer take a tenth of the room under hashes, and three times as long. Where there
 * are few firsts, or nearly all pairs, it does not come to that, not even while the first of them come.
 */
const SPARSE_CHUNKS = 64;
const CHUNK_PAIRS_MIN = 2 ** 7;
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
