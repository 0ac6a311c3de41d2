import { assert, DbError } from '../base/errors.ts';

/**
 * Plain data ⇄ bytes: null, undefined, booleans, numbers (every bit pattern but NaN's payload), bigints, strings (lone
 * surrogates included), typed arrays, arrays, plain objects, and instances of registered classes. Equal values give equal
 * bytes: an object's keys are written in the order of their code units, and a key whose value is undefined is left out.
 *
 * Layout: a tag byte, then what the tag says; lengths are varints; numbers are little-endian. The tags below are for ever.
 */
export class ValueCodec {
  readonly #byType = new Map<unknown, RegisteredType<never>>();
  readonly #byName = new Map<string, RegisteredType<never>>();

  constructor(types: readonly RegisteredType<never>[] = []) {
    for (const type of types) {
      assert(!this.#byName.has(type.name), `the name ${type.name} is registered once`);
      this.#byType.set(type.type, type);
      this.#byName.set(type.name, type);
    }
  }

  /** The bytes in pieces; a big typed array is a piece by itself and shares its memory. */
  encodePieces(value: unknown): readonly Uint8Array[] {
    const writer = new ByteWriter();
    this.#write(writer, value, 0);
    return writer.finish();
  }

  encode(value: unknown): Uint8Array {
    return joined(this.encodePieces(value));
  }

  /** Throws ADB_JOURNAL_CORRUPT unless `bytes` are exactly one value. Nothing of the result shares memory with `bytes`. */
  decode(bytes: Uint8Array): unknown {
    const reader = new ByteReader(bytes);
    const value = this.#read(reader, 0);
    if (reader.offset !== bytes.length) throw corrupt('bytes follow the value');
    return value;
  }

  /** What a value holds in memory: exact for typed arrays, by formula for objects (64-bit V8). */
  heapBytes(value: unknown): number {
    return this.#heapBytes(value, 0);
  }

  #write(writer: ByteWriter, value: unknown, depth: number): void {
    assert(depth < DEPTH_MAX, `a value that is encoded is nested less than ${DEPTH_MAX} deep`);
    switch (typeof value) {
      case 'undefined':
        writer.byte(TAG.undefined);
        return;
      case 'boolean':
        writer.byte(value ? TAG.true : TAG.false);
        return;
      case 'number':
        writeNumber(writer, value);
        return;
      case 'bigint':
        writeBigint(writer, value);
        return;
      case 'string':
        writeString(writer, value);
        return;
      case 'object':
        if (value === null) writer.byte(TAG.null);
        else if (ArrayBuffer.isView(value)) writeTypedArray(writer, value);
        else if (Array.isArray(value)) this.#writeArray(writer, value, depth);
        else this.#writeObject(writer, value, depth);
        return;
      default:
        assert(false, `a ${typeof value} is not encoded`);
    }
  }

  #writeArray(writer: ByteWriter, array: readonly unknown[], depth: number): void {
    writer.byte(TAG.array);
    writer.varint(array.length);
    for (let index = 0; index < array.length; index += 1) {
      this.#write(writer, array[index], depth + 1);
    }
  }

  #writeObject(writer: ByteWriter, object: object, depth: number): void {
    const prototype: unknown = Object.getPrototypeOf(object);
    if (prototype !== Object.prototype && prototype !== null) {
      const type = this.#byType.get(object.constructor);
      assert(
        type !== undefined,
        `the class ${object.constructor.name} is registered to be encoded`,
      );
      writer.byte(TAG.registered);
      writeText(writer, type.name);
      this.#write(writer, type.toPlain(object as never), depth + 1);
      return;
    }
    const fields = object as Readonly<Record<string, unknown>>;
    const keys = Object.keys(fields)
      .filter((key) => fields[key] !== undefined)
      .sort(); // By code units, whatever the locale.
    writer.byte(TAG.object);
    writer.varint(keys.length);
    for (const key of keys) {
      writeString(writer, key);
      this.#write(writer, fields[key], depth + 1);
    }
  }

  #read(reader: ByteReader, depth: number): unknown {
    if (depth >= DEPTH_MAX) throw corrupt('a value is nested too deep');
    const tag = reader.byte();
    switch (tag) {
      case TAG.null:
        return null;
      case TAG.undefined:
        return undefined;
      case TAG.false:
        return false;
      case TAG.true:
        return true;
      case TAG.naturalNumber:
        return reader.varint();
      case TAG.negativeNumber:
        return -reader.varint();
      case TAG.double:
        return reader.double();
      case TAG.naturalBigint:
        return readBigint(reader);
      case TAG.negativeBigint:
        return -readBigint(reader);
      case TAG.utf8:
        return readText(reader);
      case TAG.utf16:
        return readUtf16(reader);
      case TAG.array: {
        const count = reader.count();
        const array: unknown[] = [];
        for (let index = 0; index < count; index += 1) array.push(this.#read(reader, depth + 1));
        return array;
      }
      case TAG.object:
        return this.#readObject(reader, depth);
      case TAG.registered: {
        const name = readText(reader);
        const type = this.#byName.get(name);
        if (type === undefined) throw corrupt(`the type "${name}" is not known`);
        return type.fromPlain(this.#read(reader, depth + 1));
      }
      case TAG.typedArray:
        return readTypedArray(reader);
      default:
        throw corrupt(`a value has the tag ${tag}`);
    }
  }

  #readObject(reader: ByteReader, depth: number): Record<string, unknown> {
    const count = reader.count();
    const object: Record<string, unknown> = {};
    for (let index = 0; index < count; index += 1) {
      const key = this.#read(reader, depth + 1);
      if (typeof key !== 'string') throw corrupt('a key is a string');
      const value = this.#read(reader, depth + 1);
      // Assigning to this one name would set the prototype.
      if (key === '__proto__') {
        Object.defineProperty(object, key, {
          value,
          enumerable: true,
          writable: true,
          configurable: true,
        });
      } else object[key] = value;
    }
    return object;
  }

  #heapBytes(value: unknown, depth: number): number {
    if (typeof value === 'string') return 16 + ((value.length + 7) & ~7);
    if (typeof value === 'bigint') return 24;
    if (typeof value !== 'object' || value === null) return 8;
    assert(depth < DEPTH_MAX, `a value that is measured is nested less than ${DEPTH_MAX} deep`);
    if (ArrayBuffer.isView(value)) return 112 + value.byteLength;
    if (Array.isArray(value)) {
      let bytes = 32 + 8 * value.length;
      for (let index = 0; index < value.length; index += 1) {
        const item: unknown = value[index];
        if (typeof item !== 'number') bytes += this.#heapBytes(item, depth + 1);
      }
      return bytes;
    }
    const type = this.#byType.get(value.constructor);
    if (type !== undefined) {
      return type.heapBytes === undefined
        ? 32 + this.#heapBytes(type.toPlain(value as never), depth + 1)
        : type.heapBytes(value as never);
    }
    let bytes = 24;
    for (const key in value) {
      bytes += 8 + this.#heapBytes((value as Record<string, unknown>)[key], depth + 1);
    }
    return bytes;
  }
}

/**
 * A class whose instances are encoded: `toPlain` gives plain data (registered instances inside are fine), `fromPlain`
 * takes it back. `name` is in the bytes, so it never changes.
 */
export type RegisteredType<Instance> = {
  readonly name: string;
  readonly type: abstract new (...parts: never) => Instance;
  readonly toPlain: (instance: Instance) => unknown;
  readonly fromPlain: (plain: unknown) => Instance;
  /** Where the formula over `toPlain` would be wrong or slow, as for what is shared with others. */
  readonly heapBytes?: (instance: Instance) => number;
};

/** For the list that ValueCodec takes: a registered type of any class. */
export function registeredType<Instance>(type: RegisteredType<Instance>): RegisteredType<never> {
  return type as unknown as RegisteredType<never>;
}

const DEPTH_MAX = 64;

const TAG = {
  null: 0,
  undefined: 1,
  false: 2,
  true: 3,
  naturalNumber: 4,
  negativeNumber: 5,
  double: 6,
  naturalBigint: 7,
  negativeBigint: 8,
  utf8: 9,
  utf16: 10,
  array: 11,
  object: 12,
  registered: 13,
  typedArray: 14,
} as const;

/** The place in this list is in the bytes. */
const TYPED_ARRAYS = [
  Uint8Array,
  Int8Array,
  Uint16Array,
  Int16Array,
  Uint32Array,
  Int32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
] as const;

function writeNumber(writer: ByteWriter, value: number): void {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
    writer.byte(value < 0 ? TAG.negativeNumber : TAG.naturalNumber);
    writer.varint(Math.abs(value));
  } else {
    writer.byte(TAG.double);
    writer.double(value);
  }
}

function writeBigint(writer: ByteWriter, value: bigint): void {
  writer.byte(value < 0n ? TAG.negativeBigint : TAG.naturalBigint);
  const digits = (value < 0n ? -value : value).toString(16);
  const bytes = Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex');
  writer.varint(bytes.length);
  writer.bytes(bytes);
}

function readBigint(reader: ByteReader): bigint {
  const bytes = reader.bytes(reader.count());
  return BigInt(`0x${Buffer.from(bytes).toString('hex') || '0'}`);
}

function writeString(writer: ByteWriter, value: string): void {
  if (value.isWellFormed()) {
    writer.byte(TAG.utf8);
    writeText(writer, value);
    return;
  }
  const bytes = Buffer.from(value, 'utf16le');
  writer.byte(TAG.utf16);
  writer.varint(bytes.length);
  writer.bytes(bytes);
}

/** Texts up to here are tried as ASCII, unit by unit: faster than a call into the runtime. */
const SHORT_TEXT_LENGTH = 48;

function writeText(writer: ByteWriter, value: string): void {
  if (value.length <= SHORT_TEXT_LENGTH && writer.shortAscii(value)) return;
  const bytes = Buffer.from(value, 'utf8');
  writer.varint(bytes.length);
  writer.bytes(bytes);
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function readText(reader: ByteReader): string {
  const bytes = reader.bytes(reader.count());
  if (bytes.length <= SHORT_TEXT_LENGTH) {
    let text = '';
    let index = 0;
    while (index < bytes.length && bytes[index]! < 0x80) {
      text += String.fromCharCode(bytes[index]!);
      index += 1;
    }
    if (index === bytes.length) return text;
  }
  try {
    return UTF8.decode(bytes);
  } catch (cause) {
    throw corrupt('a text is not UTF-8', cause);
  }
}

function readUtf16(reader: ByteReader): string {
  const bytes = reader.bytes(reader.count());
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf16le');
}

function writeTypedArray(writer: ByteWriter, view: ArrayBufferView): void {
  // A Buffer is taken as the Uint8Array it is.
  const index = TYPED_ARRAYS.findIndex((type) => view instanceof type);
  assert(index >= 0, 'a view that is encoded is a typed array');
  writer.byte(TAG.typedArray);
  writer.byte(index);
  writer.varint(view.byteLength);
  writer.bytes(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
}

function readTypedArray(reader: ByteReader): unknown {
  const type = TYPED_ARRAYS[reader.byte()];
  if (type === undefined) throw corrupt('a typed array is of a known type');
  const bytes = reader.bytes(reader.count());
  if (bytes.length % type.BYTES_PER_ELEMENT !== 0)
    throw corrupt('a typed array ends within an element');
  // A copy: aligned, and free of the journal's buffer.
  return new type(bytes.slice().buffer);
}

export function corrupt(message: string, cause?: unknown): DbError {
  return new DbError('ADB_JOURNAL_CORRUPT', `corrupt journal: ${message}`, {
    hint: 'Restore the file from a copy; nothing after this place can be trusted.',
    cause,
  });
}

const PIECE_BYTES = 16_384;
/** A run of bytes this long becomes a piece of its own instead of being copied. */
const SHARED_BYTES_MIN = 4_096;

class ByteWriter {
  readonly #pieces: Uint8Array[] = [];
  #piece = new Uint8Array(256);
  #view = new DataView(this.#piece.buffer);
  /** Where the piece under way begins in #piece, and where the next byte goes. */
  #start = 0;
  #end = 0;

  byte(value: number): void {
    this.#room(1);
    this.#piece[this.#end] = value;
    this.#end += 1;
  }

  double(value: number): void {
    this.#room(8);
    // One NaN of the many, whatever the machine left in its bits.
    if (Number.isNaN(value)) this.#view.setBigUint64(this.#end, 0x7ff8_0000_0000_0000n, true);
    else this.#view.setFloat64(this.#end, value, true);
    this.#end += 8;
  }

  /** LEB128 of a safe natural number. */
  varint(value: number): void {
    this.#room(8);
    let rest = value;
    while (rest >= 0x80) {
      this.#piece[this.#end] = (rest % 0x80) | 0x80;
      this.#end += 1;
      rest = Math.floor(rest / 0x80);
    }
    this.#piece[this.#end] = rest;
    this.#end += 1;
  }

  /** Writes the length and the text if it is ASCII and at most 127 long; else nothing, and false. */
  shortAscii(text: string): boolean {
    const length = text.length;
    this.#room(length + 1);
    const piece = this.#piece;
    const start = this.#end + 1;
    for (let index = 0; index < length; index += 1) {
      const unit = text.charCodeAt(index);
      if (unit >= 0x80) return false;
      piece[start + index] = unit;
    }
    piece[this.#end] = length;
    this.#end = start + length;
    return true;
  }

  bytes(bytes: Uint8Array): void {
    if (bytes.length >= SHARED_BYTES_MIN) {
      this.#cut();
      this.#pieces.push(bytes);
      return;
    }
    this.#room(bytes.length);
    this.#piece.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  finish(): readonly Uint8Array[] {
    this.#cut();
    return this.#pieces;
  }

  #room(count: number): void {
    if (this.#end + count <= this.#piece.length) return;
    this.#cut();
    this.#piece = new Uint8Array(PIECE_BYTES);
    this.#view = new DataView(this.#piece.buffer);
    this.#start = 0;
    this.#end = 0;
  }

  #cut(): void {
    if (this.#end > this.#start) this.#pieces.push(this.#piece.subarray(this.#start, this.#end));
    this.#start = this.#end;
  }
}

class ByteReader {
  offset = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  byte(): number {
    this.#need(1);
    const value = this.#bytes[this.offset]!;
    this.offset += 1;
    return value;
  }

  double(): number {
    this.#need(8);
    const value = this.#view.getFloat64(this.offset, true);
    this.offset += 8;
    return value;
  }

  varint(): number {
    let value = 0;
    let factor = 1;
    for (;;) {
      const byte = this.byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) break;
      factor *= 0x80;
    }
    if (!Number.isSafeInteger(value)) throw corrupt('a number is a safe integer');
    return value;
  }

  /** A count of things that take at least a byte each: never more than there are bytes left. */
  count(): number {
    const count = this.varint();
    this.#need(count);
    return count;
  }

  bytes(count: number): Uint8Array {
    this.#need(count);
    const bytes = this.#bytes.subarray(this.offset, this.offset + count);
    this.offset += count;
    return bytes;
  }

  #need(count: number): void {
    if (this.offset + count > this.#bytes.length) throw corrupt('a value ends before its end');
  }
}

/** One array of all pieces. */
export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let offset = 0;
  for (const piece of pieces) {
    bytes.set(piece, offset);
    offset += piece.length;
  }
  return bytes;
}
