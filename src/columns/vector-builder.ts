import { keptArray, keptDoubles, keptInts } from '../base/kept-arrays.ts';
import { assert } from '../base/errors.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import { kernelsOf } from './array-kernels.ts';
import { ByteArena } from './byte-arena.ts';
import { bytesAt, bytesOfDatum, datumAt, isNullAt, numberAt } from './cells.ts';
import { CHUNK_ROWS, leaveChunk, pooledChunk } from './chunk-pool.ts';
import type { Dictionary } from './dictionary.ts';
import { isTextType, type SqlType } from './types.ts';
import { Decimal, Interval, normalInteger, type Datum } from './values.ts';
import { sliceVector, type Vector } from './vector.ts';

export type BuilderRep = Vector['rep'];

/**
 * One column that grows at its end, may be overwritten in place and cut short; `slice` gives immutable vectors. Chooses the
 * narrowest rep that holds everything exactly: numbers, else 64-bit integers, else data; codes of one dictionary, else bytes.
 *
 * With `dictionary`, texts become its codes. Without, codes are kept while all come from one dictionary.
 * Memory is taken from the lease before it is allocated; a 53200 leaves `length` as it was.
 */
export class VectorBuilder {
  readonly type: SqlType;
  readonly #lease: MemoryLease;
  readonly #capacityMax: number;
  readonly #isPooled: boolean;
  readonly #target: Dictionary | undefined;
  #rep: BuilderRep | undefined;
  #length = 0;
  #capacity = 0;
  #numbers: Float64Array = NO_NUMBERS;
  #bigints: BigInt64Array = NO_BIGINTS;
  #booleans: Uint8Array = NO_BYTES;
  /** Codes, or addresses in the arena. */
  #codes: Int32Array = NO_INTS;
  #lengths: Int32Array = NO_INTS;
  #arena: ByteArena | undefined;
  /** Of its bytes, those that no entry has any more. */
  #deadBytes = 0;
  #dictionary: Dictionary | undefined;
  #objects: Datum[] = [];
  /** What the data in `#objects` are accounted as. */
  #objectBytes = 0;
  #validity: Uint8Array | undefined;
  /** The answer of `peek`, until arrays or scale change. */
  #peeked: Vector | undefined;
  #scale: number;
  /** Whether a value has decided the scale. */
  #scaleDecided = false;
  /** Codes of the source dictionary seen last, translated: code + 1, or 0 where not yet. */
  #translation: { readonly source: Dictionary; codes: Int32Array } | undefined;

  constructor(type: SqlType, options: VectorBuilderOptions = {}) {
    this.type = type;
    this.#lease = options.lease ?? new MemoryLease(undefined);
    this.#capacityMax = options.capacityMax ?? Infinity;
    this.#isPooled = options.isPooled === true;
    this.#target = options.dictionary;
    this.#rep = options.raw === true ? 'bytes' : firstRep(type, options.dictionary);
    this.#scale = type.kind === 'numeric' ? (type.scale ?? 0) : 0;
    this.#dictionary = options.dictionary;
  }

  get length(): number {
    return this.#length;
  }

  get rep(): BuilderRep | undefined {
    return this.#rep;
  }

  get scale(): number {
    return this.#scale;
  }

  /** Room for `length` entries at once: where the number is known, nothing is copied while growing. */
  reserve(length: number): void {
    if (length <= this.#capacity) return;
    let capacity = Math.max(this.#capacity * 2, CAPACITY_MIN);
    while (capacity < length) capacity *= 2;
    this.#resize(Math.min(capacity, Math.max(length, this.#capacityMax)));
  }

  /** Exactly `length` entries. */
  reserveExactly(length: number): void {
    if (length > this.#capacity) this.#resize(length);
  }

  /** Decides the rep by the first source and makes room for `total` entries at once. */
  prepare(
    source: Vector,
    selection: Int32Array | undefined,
    start: number,
    count: number,
    total: number,
  ): void {
    this.#adopt(source, selection, start, count);
    this.reserveExactly(total);
  }

  /** Appends entries selection[start … start + count) of `source`, or [start, start + count) where there is no selection. */
  append(source: Vector, selection: Int32Array | undefined, start: number, count: number): void {
    if (
      count === 0 ||
      (count === 1 &&
        this.#appendNumber(source, selection === undefined ? start : selection[start]!))
    )
      return;
    const length = this.#length;
    assert(length + count <= this.#capacityMax, 'a column takes no more than its capacity');
    this.#adopt(source, selection, start, count);
    this.reserve(length + count);
    try {
      this.#copy(source, selection, start, count);
    } catch (cause) {
      this.#length = length;
      throw cause;
    }
    this.#length = length + count;
  }

  /** The short way for one number where there is room: most commits are a row. */
  #appendNumber(source: Vector, index: number): boolean {
    const row = this.#length;
    if (this.#rep !== 'number' || source.rep !== 'number' || row >= this.#capacity) return false;
    if (source.scale !== this.#scale || (!this.#scaleDecided && this.type.kind === 'numeric'))
      return false;
    const present = source.validity === undefined || source.validity[index] === 1;
    if (!present && this.#validity === undefined) return false;
    this.#numbers[row] = present ? numberAt(source.values[index]!, source.factor, source.base) : 0;
    if (this.#validity !== undefined) this.#validity[row] = present ? 1 : 0;
    this.#length = row + 1;
    return true;
  }

  appendDatum(datum: Datum): void {
    const row = this.#length;
    if (this.#rep === undefined) this.#rep = firstRepOfDatum(this.type);
    this.reserve(row + 1);
    this.#length = row + 1;
    try {
      this.#write(row, datum);
    } catch (cause) {
      this.#length = row;
      throw cause;
    }
  }

  /** `count` entries of one value. */
  appendConstant(datum: Datum, count: number): void {
    this.reserve(this.#length + count);
    for (let index = 0; index < count; index += 1) this.appendDatum(datum);
  }

  /** `count` entries that are there and whose numbers are written later (to `numbers`): only of a column of numbers. */
  appendBlank(count: number): void {
    assert(this.#rep === 'number', 'what is filled later are numbers');
    const length = this.#length;
    this.reserve(length + count);
    this.#validity?.fill(1, length, length + count);
    this.#length = length + count;
  }

  /** Where the numbers of blank entries are written; until the next append. */
  get numbers(): Float64Array {
    return this.#numbers;
  }

  /** Overwrites entry `row` with entry `index` of `source`. */
  set(row: number, source: Vector, index: number): void {
    if (
      this.#rep === 'number' &&
      source.rep === 'number' &&
      source.scale === this.#scale &&
      // The first value decides the scale, be it written over a NULL.
      (this.#scaleDecided || this.type.kind !== 'numeric')
    ) {
      const present = source.validity === undefined || source.validity[index] === 1;
      this.#numbers[row] = present
        ? numberAt(source.values[index]!, source.factor, source.base)
        : 0;
      this.#setValid(row, present);
      return;
    }
    if (this.#rep === 'dictionary' && source.rep === 'dictionary' && !isNullAt(source, index)) {
      const code =
        source.dictionary === this.#dictionary
          ? source.codes[index]!
          : this.#codeFor(source.dictionary, source.codes[index]!);
      if (code >= 0) {
        this.#codes[row] = code;
        this.#setValid(row, true);
        return;
      }
    }
    this.setDatum(row, datumAt(source, index));
  }

  setDatum(row: number, datum: Datum): void {
    const before = this.#rep === 'bytes' ? this.#lengths[row]! : 0;
    this.#write(row, datum);
    if (before > 0) this.#leaveBytes(before);
  }

  /** Forgets the entries from `length` on. */
  truncate(length: number): void {
    assert(length <= this.#length, 'truncating shortens');
    if (this.#rep === 'object')
      for (let row = length; row < this.#length; row += 1) this.#setObject(row, null);
    let left = 0;
    if (this.#rep === 'bytes')
      for (let row = length; row < this.#length; row += 1) left += this.#lengths[row]!;
    this.#length = length;
    if (left > 0) this.#leaveBytes(left);
    if (length === 0) this.#scaleDecided = false;
  }

  datumAt(row: number): Datum {
    if (this.#validity !== undefined && this.#validity[row] === 0) return null;
    switch (this.#rep) {
      case 'number': {
        const value = this.#numbers[row]!;
        return this.type.kind === 'numeric' ? new Decimal(BigInt(value), this.#scale) : value;
      }
      case 'bigint': {
        const value = this.#bigints[row]!;
        return this.type.kind === 'numeric'
          ? new Decimal(value, this.#scale)
          : normalInteger(value);
      }
      case 'boolean':
        return this.#booleans[row] === 1;
      case 'object':
        return this.#objects[row]!;
      default:
        return datumAt(this.slice(row, row + 1), 0);
    }
  }

  /**
   * The whole column as a vector over the builder's own arrays, for reading at once: valid until the next change. Columns
   * of raw bytes have no such form.
   */
  peek(): Vector | undefined {
    this.#peeked ??= this.#vectorOfAll();
    return this.#peeked;
  }

  #vectorOfAll(): Vector | undefined {
    const { type } = this;
    const validity = this.#validity;
    switch (this.#rep) {
      case 'number':
        return {
          rep: 'number',
          type,
          values: this.#numbers,
          validity,
          factor: 1,
          base: 0,
          scale: this.#scale,
          bounds: undefined,
        };
      case 'bigint':
        return { rep: 'bigint', type, values: this.#bigints, validity, scale: this.#scale };
      case 'boolean':
        return { rep: 'boolean', type, values: this.#booleans, validity };
      case 'dictionary':
        return {
          rep: 'dictionary',
          type,
          codes: this.#codes,
          validity,
          dictionary: this.#dictionary!,
        };
      case 'object':
        return { rep: 'object', type, values: this.#objects, validity };
      default:
        return undefined;
    }
  }

  isNullAt(row: number): boolean {
    return (
      (this.#validity !== undefined && this.#validity[row] === 0) ||
      (this.#rep === 'object' && this.#objects[row] === null)
    );
  }

  /** Where the bytes of entry `row` of a column of raw bytes stand. */
  bytesAt(row: number): Uint8Array {
    return this.#arena!.view(this.#codes[row]! >>> 0, this.#lengths[row]!);
  }

  /** A copy of entries [start, end): what is written later does not touch it. */
  slice(start: number, end: number): Vector {
    const { type } = this;
    const validity = this.#validityOf(start, end);
    switch (this.#rep) {
      case 'number':
        return {
          rep: 'number',
          type,
          values: this.#numbers.slice(start, end),
          validity,
          factor: 1,
          base: 0,
          scale: this.#scale,
        };
      case 'bigint':
        return {
          rep: 'bigint',
          type,
          values: this.#bigints.slice(start, end),
          validity,
          scale: this.#scale,
        };
      case 'boolean':
        return { rep: 'boolean', type, values: this.#booleans.slice(start, end), validity };
      case 'dictionary':
        return {
          rep: 'dictionary',
          type,
          codes: this.#codes.slice(start, end),
          validity,
          dictionary: this.#dictionary!,
        };
      case 'bytes':
        return { rep: 'bytes', type, ...this.#sliceBytes(start, end), validity };
      case 'object':
        return { rep: 'object', type, values: this.#objects.slice(start, end), validity };
      case undefined:
        return { rep: 'object', type, values: [] };
    }
  }

  /** Entries [start, end) where they stand, for as long as nothing is written over them (columns of raw bytes are copied). */
  window(start: number, end: number): Vector {
    const whole = this.peek();
    return whole === undefined ? this.slice(start, end) : sliceVector(whole, start, end);
  }

  /** All entries; the builder must not be used any more, since the vector may share its arrays. */
  finish(): Vector {
    const length = this.#length;
    const whole = this.peek();
    if (whole === undefined || (whole.rep === 'object' && whole.values.length !== length))
      return this.slice(0, length);
    const validity = this.#validityOf(0, length);
    switch (whole.rep) {
      case 'number':
        return { ...whole, values: whole.values.subarray(0, length), validity };
      case 'bigint':
        return { ...whole, values: whole.values.subarray(0, length), validity };
      case 'boolean':
        return { ...whole, values: whole.values.subarray(0, length), validity };
      case 'dictionary':
        return { ...whole, codes: whole.codes.subarray(0, length), validity };
      default:
        return { ...whole, validity } as Vector;
    }
  }

  /** Bytes it holds beside those of the entries themselves, of values that are bytes. */
  get rawBytes(): number {
    return this.#arena?.byteLength ?? 0;
  }

  /** Where its texts are; undefined where they are no codes. */
  get dictionary(): Dictionary | undefined {
    return this.#rep === 'dictionary' ? this.#dictionary : undefined;
  }

  /** The same texts as codes of another dictionary: `codeOf` is told a code and its row. */
  recode(dictionary: Dictionary, codeOf: (code: number, row: number) => number): void {
    assert(this.#rep === 'dictionary', 'codes are what is recoded');
    const codes = this.#codes;
    const validity = this.#validity;
    for (let row = 0; row < this.#length; row += 1)
      codes[row] = validity !== undefined && validity[row] === 0 ? 0 : codeOf(codes[row]!, row);
    this.#dictionary = dictionary;
    this.#translation = undefined;
    this.#peeked = undefined;
  }

  /** Gives back everything. */
  close(): void {
    this.#lease.give(this.#arraysBytes() + (this.#validity?.byteLength ?? 0) + this.#objectBytes);
    this.#arena?.clear();
    this.#deadBytes = 0;
    if (this.#isPooled && this.#numbers.length === CHUNK_ROWS) leaveChunk(this.#numbers);
    this.#numbers = NO_NUMBERS;
    this.#bigints = NO_BIGINTS;
    this.#booleans = NO_BYTES;
    this.#codes = NO_INTS;
    this.#lengths = NO_INTS;
    this.#objects = [];
    this.#objectBytes = 0;
    this.#validity = undefined;
    this.#capacity = 0;
    this.#length = 0;
    this.#peeked = undefined;
    this.#translation = undefined;
  }

  /** Decides the rep by the first source, and leaves a rep that cannot hold the next one. */
  #adopt(source: Vector, selection: Int32Array | undefined, start: number, count: number): void {
    if (this.#rep === undefined) {
      const rep =
        source.rep === 'dictionary' || source.rep === 'bytes'
          ? source.rep
          : firstRepOfDatum(this.type);
      if (source.rep === 'dictionary') this.#dictionary = source.dictionary;
      this.#rep = rep;
      if (rep === 'bytes') this.#arena = new ByteArena(this.#lease);
    }
    if (this.#rep === 'dictionary' && this.#target === undefined) {
      if (source.rep !== 'dictionary' || source.dictionary !== this.#dictionary)
        this.#promote('bytes');
    }
    if (
      this.#rep === 'object' &&
      isBytesType(this.type) &&
      (source.rep === 'bytes' || source.rep === 'dictionary')
    ) {
      this.#promote('bytes');
    }
    // The first value decides the scale of a numeric column; entries of another scale make it a column of data.
    if (
      this.type.kind === 'numeric' &&
      (source.rep === 'number' || source.rep === 'bigint') &&
      (source.scale !== this.#scale || !this.#scaleDecided)
    ) {
      if (
        hasPresent(source, selection, start, count) &&
        !this.#takesScale(source.scale) &&
        this.#rep !== 'object'
      ) {
        this.#promote('object');
      }
    }
    if (this.#rep === 'number' && source.rep === 'bigint') {
      // One look at the first value saves copying a column of large values twice.
      const first = selection === undefined ? start : selection[start]!;
      if (!Number.isSafeInteger(Number(source.values[first]!))) this.#promote('bigint');
    }
  }

  #copy(source: Vector, selection: Int32Array | undefined, start: number, count: number): void {
    const rep = this.#rep;
    const at = this.#length;
    if (
      source.rep === rep ||
      (rep === 'dictionary' && source.rep === 'bytes') ||
      (rep === 'bytes' && source.rep === 'dictionary')
    ) {
      const full = this.#copyValidity(source, selection, start, count);
      switch (source.rep) {
        case 'number': {
          const kernels = kernelsOf(source.values);
          const { values, factor, base } = source;
          if (selection === undefined) {
            if (values instanceof Float64Array)
              copyDoubles(values, start, count, this.#numbers, at);
            else kernels.decode(values, start, count, factor, base, this.#numbers, at);
          } else {
            kernels.decodeSelected(
              values,
              selection,
              start,
              count,
              factor,
              base,
              this.#numbers,
              at,
            );
          }
          // NULLs may hold noise, which would spoil the encoding of the segment.
          if (!full) this.#clearNulls(at, count);
          return;
        }
        case 'bigint':
          if (selection === undefined)
            this.#bigints.set(source.values.subarray(start, start + count), at);
          else
            for (let i = 0; i < count; i += 1)
              this.#bigints[at + i] = source.values[selection[start + i]!]!;
          if (!full)
            for (let i = at; i < at + count; i += 1)
              if (this.#validity![i] === 0) this.#bigints[i] = 0n;
          return;
        case 'boolean':
          if (selection === undefined)
            this.#booleans.set(source.values.subarray(start, start + count), at);
          else
            for (let i = 0; i < count; i += 1)
              this.#booleans[at + i] = source.values[selection[start + i]!]!;
          return;
        case 'dictionary':
          if (rep === 'bytes') this.#copyBytes(source, selection, start, count);
          else this.#copyCodes(source, selection, start, count, full);
          return;
        case 'bytes':
          if (rep === 'bytes') this.#copyBytes(source, selection, start, count);
          else this.#addBytes(source, selection, start, count);
          return;
        case 'object':
          break;
      }
    }
    for (let i = 0; i < count; i += 1) {
      const index = selection === undefined ? start + i : selection[start + i]!;
      // The length grows along: a promotion in the middle copies what is there.
      this.#length = at + i + 1;
      this.#write(at + i, datumAt(source, index));
    }
    this.#length = at;
  }

  #copyCodes(
    source: Vector & { rep: 'dictionary' },
    selection: Int32Array | undefined,
    start: number,
    count: number,
    full: boolean,
  ): void {
    const { codes, dictionary } = source;
    const at = this.#length;
    const out = this.#codes;
    const validity = this.#validity;
    if (dictionary === this.#dictionary) {
      if (selection === undefined) out.set(codes.subarray(start, start + count), at);
      else for (let i = 0; i < count; i += 1) out[at + i] = codes[selection[start + i]!]!;
      if (!full) for (let i = at; i < at + count; i += 1) if (validity![i] === 0) out[i] = 0;
      return;
    }
    for (let i = 0; i < count; i += 1) {
      if (!full && validity![at + i] === 0) {
        out[at + i] = 0;
        continue;
      }
      const code = codes[selection === undefined ? start + i : selection[start + i]!]!;
      const known = this.#codeFor(dictionary, code);
      out[at + i] = known >= 0 ? known : this.#addCode(dictionary, code);
    }
  }

  /** The code in this column's dictionary of a code of another one, or −1 where it was not asked for yet. */
  #codeFor(source: Dictionary, code: number): number {
    const translation = this.#translation;
    if (
      translation === undefined ||
      translation.source !== source ||
      code >= translation.codes.length
    )
      return -1;
    return translation.codes[code]! - 1;
  }

  #addCode(source: Dictionary, code: number): number {
    const start = source.byteStart(code);
    const added = this.#dictionary!.addBytes(
      source.byteChunk(code),
      start,
      start + source.byteLength(code),
    );
    if (this.#translation?.source !== source) this.#translation = { source, codes: NO_INTS };
    if (source.size <= TRANSLATION_SIZE_MAX) {
      if (code >= this.#translation.codes.length) {
        const longer = new Int32Array(
          Math.min(TRANSLATION_SIZE_MAX, Math.max(64, source.size, code + 1)),
        );
        longer.set(this.#translation.codes);
        this.#translation.codes = longer;
      }
      this.#translation.codes[code] = added + 1;
    }
    return added;
  }

  #addBytes(
    source: Vector & { rep: 'bytes' },
    selection: Int32Array | undefined,
    start: number,
    count: number,
  ): void {
    const { offsets, bytes, validity } = source;
    const at = this.#length;
    for (let i = 0; i < count; i += 1) {
      const index = selection === undefined ? start + i : selection[start + i]!;
      this.#codes[at + i] =
        validity !== undefined && validity[index] === 0
          ? 0
          : this.#dictionary!.addBytes(bytes, offsets[index]!, offsets[index + 1]!);
    }
  }

  #copyBytes(
    source: Vector,
    selection: Int32Array | undefined,
    start: number,
    count: number,
  ): void {
    const at = this.#length;
    for (let i = 0; i < count; i += 1) {
      const index = selection === undefined ? start + i : selection[start + i]!;
      if (source.validity !== undefined && source.validity[index] === 0) {
        this.#codes[at + i] = 0;
        this.#lengths[at + i] = 0;
      } else if (source.rep === 'bytes') {
        this.#putBytes(at + i, source.bytes, source.offsets[index]!, source.offsets[index + 1]!);
      } else {
        const bytes = bytesAt(source, index);
        this.#putBytes(at + i, bytes, 0, bytes.length);
      }
    }
  }

  #putBytes(row: number, bytes: Uint8Array, start: number, end: number): void {
    // An empty value needs no place: an arena without a chunk has none to give.
    this.#codes[row] = end === start ? 0 : this.#arena!.append(bytes, start, end) | 0;
    this.#lengths[row] = end - start;
  }

  /** Bytes that were overwritten stay in the arena, until they are most of it: then the others get another one. */
  #leaveBytes(count: number): void {
    this.#deadBytes += count;
    const before = this.#arena!;
    if (this.#deadBytes < DEAD_BYTES_MIN || this.#deadBytes * 2 < before.byteLength) return;
    const { limits } = this.#lease;
    this.#lease.limits = false;
    this.#arena = new ByteArena(this.#lease);
    for (let row = 0; row < this.#length; row += 1) {
      const length = this.#lengths[row]!;
      if (length === 0) continue;
      const address = this.#codes[row]! >>> 0;
      const start = before.offsetOf(address);
      this.#codes[row] = this.#arena.append(before.chunkOf(address), start, start + length) | 0;
    }
    this.#lease.limits = limits;
    before.clear();
    this.#deadBytes = 0;
  }

  #write(row: number, datum: Datum): void {
    if (datum === null) {
      this.#setValid(row, false);
      this.#clear(row);
      return;
    }
    switch (this.#rep) {
      case 'number':
        if (typeof datum === 'number') {
          this.#numbers[row] = datum;
        } else if (
          datum instanceof Decimal &&
          datum.special === undefined &&
          this.#takesScale(datum.scale)
        ) {
          const value = Number(datum.coefficient);
          if (!Number.isSafeInteger(value)) return this.#promoteAndWrite('bigint', row, datum);
          this.#numbers[row] = value;
        } else {
          return this.#promoteAndWrite(typeof datum === 'bigint' ? 'bigint' : 'object', row, datum);
        }
        break;
      case 'bigint': {
        const value = this.#wholeOf(datum);
        if (value === undefined) return this.#promoteAndWrite('object', row, datum);
        this.#bigints[row] = value;
        break;
      }
      case 'boolean':
        this.#booleans[row] = datum === true ? 1 : 0;
        break;
      case 'dictionary':
        if (this.#target === undefined) return this.#promoteAndWrite('bytes', row, datum);
        if (typeof datum === 'string' && this.type.kind !== 'uuid')
          this.#codes[row] = this.#dictionary!.add(datum);
        else this.#codes[row] = this.#dictionary!.addBytes(bytesOfDatum(datum, this.type));
        break;
      case 'bytes': {
        const bytes = bytesOfDatum(datum, this.type);
        this.#putBytes(row, bytes, 0, bytes.length);
        break;
      }
      case 'object':
        this.#setObject(row, datum);
        break;
      case undefined:
        assert(false, 'a column has a rep before it is written');
    }
    this.#setValid(row, true);
  }

  #takesScale(scale: number): boolean {
    if (!this.#scaleDecided) {
      this.#scaleDecided = true;
      this.#scale = scale;
      this.#peeked = undefined;
    }
    return scale === this.#scale;
  }

  #wholeOf(datum: Datum): bigint | undefined {
    let value: bigint;
    if (typeof datum === 'bigint') value = datum;
    else if (typeof datum === 'number') {
      if (!Number.isInteger(datum)) return undefined;
      value = BigInt(datum);
    } else if (
      datum instanceof Decimal &&
      datum.special === undefined &&
      this.#takesScale(datum.scale)
    ) {
      value = datum.coefficient;
    } else return undefined;
    return BigInt.asIntN(64, value) === value ? value : undefined;
  }

  #promoteAndWrite(rep: BuilderRep, row: number, datum: Datum): void {
    this.#promote(rep);
    this.#write(row, datum);
  }

  /** Rewrites what is there in a rep that holds more. The entry being written may be noise: it is written right after. */
  #promote(rep: BuilderRep): void {
    const length = this.#length;
    const oldBytes = this.#arraysBytes();
    const old = this.#rep;
    if (old === 'number' && rep === 'bigint') {
      const numbers = this.#numbers;
      for (let row = 0; row < length; row += 1)
        if (!Number.isInteger(numbers[row]!)) return this.#promote('object');
      this.#lease.take(this.#capacity * 8);
      const bigints = new BigInt64Array(this.#capacity);
      for (let row = 0; row < length; row += 1) bigints[row] = BigInt(numbers[row]!);
      this.#bigints = bigints;
      this.#numbers = NO_NUMBERS;
    } else if (rep === 'object') {
      this.#lease.take(this.#capacity * 8);
      const objects: Datum[] = [];
      for (let row = 0; row < length; row += 1) objects.push(this.datumAt(row));
      this.#objects = [];
      for (let row = 0; row < length; row += 1) this.#setObject(row, objects[row]!);
      this.#numbers = NO_NUMBERS;
      this.#bigints = NO_BIGINTS;
    } else {
      assert(rep === 'bytes', 'a column of codes or texts becomes one of bytes');
      const source = length === 0 ? undefined : this.peek();
      this.#lease.take(this.#capacity * 8);
      const codes = new Int32Array(this.#capacity);
      const lengths = new Int32Array(this.#capacity);
      this.#arena = new ByteArena(this.#lease);
      for (let row = 0; row < length; row += 1) {
        if (source === undefined || isNullAt(source, row)) continue;
        // The last entry of a column of data may not have been written yet.
        if (source.rep === 'object' && source.values[row] === undefined) continue;
        const bytes = bytesAt(source, row);
        codes[row] = bytes.length === 0 ? 0 : this.#arena.append(bytes, 0, bytes.length) | 0;
        lengths[row] = bytes.length;
      }
      this.#codes = codes;
      this.#lengths = lengths;
      this.#lease.give(this.#objectBytes);
      this.#objectBytes = 0;
      this.#objects = [];
      this.#dictionary = undefined;
    }
    this.#rep = rep;
    this.#peeked = undefined;
    this.#lease.give(oldBytes);
  }

  #clear(row: number): void {
    switch (this.#rep) {
      case 'number':
        this.#numbers[row] = 0;
        return;
      case 'bigint':
        this.#bigints[row] = 0n;
        return;
      case 'boolean':
        this.#booleans[row] = 0;
        return;
      case 'bytes':
        this.#lengths[row] = 0;
        this.#codes[row] = 0;
        return;
      case 'dictionary':
        this.#codes[row] = 0;
        return;
      case 'object':
        this.#setObject(row, null);
        return;
      case undefined:
        return;
    }
  }

  #clearNulls(at: number, count: number): void {
    const numbers = this.#numbers;
    const validity = this.#validity!;
    for (let row = at; row < at + count; row += 1) if (validity[row] === 0) numbers[row] = 0;
  }

  #setObject(row: number, datum: Datum): void {
    const bytes =
      objectBytes(datum) - (row < this.#objects.length ? objectBytes(this.#objects[row]!) : 0);
    if (bytes > 0) this.#lease.take(bytes);
    else this.#lease.give(-bytes);
    this.#objectBytes += bytes;
    this.#objects[row] = datum;
  }

  #setValid(row: number, valid: boolean): void {
    if (this.#validity === undefined) {
      if (valid) return;
      this.#makeValidity();
    }
    this.#validity![row] = valid ? 1 : 0;
  }

  #makeValidity(): void {
    this.#lease.take(this.#capacity);
    this.#validity = new Uint8Array(this.#capacity).fill(1);
    this.#peeked = undefined;
  }

  /** True: all of them are present. */
  #copyValidity(
    source: Vector,
    selection: Int32Array | undefined,
    start: number,
    count: number,
  ): boolean {
    const { validity } = source;
    const at = this.#length;
    if (validity === undefined) {
      this.#validity?.fill(1, at, at + count);
      return true;
    }
    let nulls = 0;
    for (let i = 0; i < count; i += 1)
      nulls += 1 - validity[selection === undefined ? start + i : selection[start + i]!]!;
    if (nulls === 0) {
      this.#validity?.fill(1, at, at + count);
      return true;
    }
    if (this.#validity === undefined) this.#makeValidity();
    const out = this.#validity!;
    for (let i = 0; i < count; i += 1)
      out[at + i] = validity[selection === undefined ? start + i : selection[start + i]!]!;
    return false;
  }

  #validityOf(start: number, end: number): Uint8Array | undefined {
    const validity = this.#validity;
    if (validity === undefined) return undefined;
    for (let row = start; row < end; row += 1)
      if (validity[row] === 0) return validity.slice(start, end);
    return undefined;
  }

  #sliceBytes(start: number, end: number): { offsets: Uint32Array; bytes: Uint8Array } {
    const offsets = new Uint32Array(end - start + 1);
    let total = 0;
    for (let row = start; row < end; row += 1) {
      total += this.#lengths[row]!;
      offsets[row - start + 1] = total;
    }
    const bytes = new Uint8Array(total);
    for (let row = start; row < end; row += 1) {
      const length = this.#lengths[row]!;
      if (length === 0) continue;
      const address = this.#codes[row]! >>> 0;
      const chunk = this.#arena!.chunkOf(address);
      const from = this.#arena!.offsetOf(address);
      const to = offsets[row - start]!;
      if (length <= 32)
        for (let index = 0; index < length; index += 1) bytes[to + index] = chunk[from + index]!;
      else bytes.set(chunk.subarray(from, from + length), to);
    }
    return { offsets, bytes };
  }

  #arraysBytes(): number {
    switch (this.#rep) {
      case 'number':
      case 'bigint':
      case 'object':
      case 'bytes':
        return this.#capacity * 8;
      case 'dictionary':
        return this.#capacity * 4;
      case 'boolean':
        return this.#capacity;
      case undefined:
        return 0;
    }
  }

  #resize(capacity: number): void {
    // Nothing is known about the entries yet: the first of them brings the arrays.
    if (this.#rep === undefined) return;
    const old = this.#capacity;
    const perRow = old === 0 ? 0 : this.#arraysBytes() / old;
    const bytes = rowBytes(this.#rep);
    const withValidity = this.#validity === undefined ? 0 : 1;
    this.#lease.take((bytes + withValidity) * capacity - (perRow + withValidity) * old);
    switch (this.#rep) {
      case 'number':
        this.#numbers = longer(
          this.#numbers,
          this.#isPooled && capacity === CHUNK_ROWS ? pooledChunk() : keptDoubles(capacity),
        );
        break;
      case 'bigint': {
        const bigints = keptArray(BigInt64Array, capacity);
        bigints.set(this.#bigints);
        this.#bigints = bigints;
        break;
      }
      case 'boolean':
        this.#booleans = longer(this.#booleans, keptArray(Uint8Array, capacity));
        break;
      case 'bytes':
        this.#arena ??= new ByteArena(this.#lease);
        this.#lengths = longer(this.#lengths, keptInts(capacity));
        this.#codes = longer(this.#codes, keptInts(capacity));
        break;
      case 'dictionary':
        this.#codes = longer(this.#codes, keptInts(capacity));
        break;
      default:
    }
    if (this.#validity !== undefined) {
      const validity = new Uint8Array(capacity).fill(1, this.#capacity);
      validity.set(this.#validity);
      this.#validity = validity;
    }
    this.#capacity = capacity;
    this.#peeked = undefined;
  }
}

export type VectorBuilderOptions = {
  readonly lease?: MemoryLease;
  /** Entries it will ever hold; unbounded by default. */
  readonly capacityMax?: number;
  /** Bytes from the start (uuid, bytea, texts of many distinct values). */
  readonly raw?: boolean;
  /** Where texts become codes. */
  readonly dictionary?: Dictionary | undefined;
  /** `CHUNK_ROWS` doubles come from the pool and go there when it is closed: nobody reads them afterwards. */
  readonly isPooled?: boolean;
};

const CAPACITY_MIN = 16;
/** Fewer bytes are not worth moving the others. */
const DEAD_BYTES_MIN = 64 * 2 ** 10;
/** Above this many codes a translation table costs more to make than it saves. */
const TRANSLATION_SIZE_MAX = 1 << 16;

const NO_NUMBERS = new Float64Array(0);
const NO_BIGINTS = new BigInt64Array(0);
const NO_BYTES = new Uint8Array(0);
const NO_INTS = new Int32Array(0);

function longer<A extends Float64Array | Int32Array | Uint8Array>(from: A, to: A): A {
  to.set(from);
  return to;
}

/** Doubles that are copied by hand. */
const SHORT_RUN_MAX = 64;

/** `set` between two views costs a call into the engine: short runs are faster by hand. */
function copyDoubles(
  values: Float64Array,
  start: number,
  count: number,
  out: Float64Array,
  at: number,
): void {
  if (count <= SHORT_RUN_MAX) for (let i = 0; i < count; i += 1) out[at + i] = values[start + i]!;
  else out.set(values.subarray(start, start + count), at);
}

function hasPresent(
  source: Vector,
  selection: Int32Array | undefined,
  start: number,
  count: number,
): boolean {
  const { validity } = source;
  if (validity === undefined) return true;
  for (let i = start; i < start + count; i += 1)
    if (validity[selection === undefined ? i : selection[i]!] === 1) return true;
  return false;
}

function rowBytes(rep: BuilderRep | undefined): number {
  if (rep === 'boolean') return 1;
  return rep === 'dictionary' ? 4 : rep === undefined ? 0 : 8;
}

function isBytesType(type: SqlType): boolean {
  return isTextType(type) || type.kind === 'uuid' || type.kind === 'bytea';
}

function firstRep(type: SqlType, dictionary: Dictionary | undefined): BuilderRep | undefined {
  if (isBytesType(type)) return dictionary === undefined ? undefined : 'dictionary';
  return firstRepOfDatum(type);
}

function firstRepOfDatum(type: SqlType): BuilderRep {
  if (type.kind === 'boolean') return 'boolean';
  if (
    type.kind === 'interval' ||
    type.kind === 'null' ||
    type.kind === 'unknown' ||
    isBytesType(type)
  )
    return 'object';
  return 'number';
}

/** A datum on the heap, by formula: header, fields, digits. Numbers, booleans and NULL fit their slot. */
export function objectBytes(datum: Datum): number {
  switch (typeof datum) {
    case 'string':
      return 16 + 2 * datum.length;
    case 'bigint':
      return 24;
    case 'object':
      if (datum === null) return 0;
      if (datum instanceof Decimal) return 64;
      return datum instanceof Interval ? 48 : 96 + datum.byteLength;
    default:
      return 0;
  }
}
