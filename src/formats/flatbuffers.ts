/**
 * Reads tables of a flatbuffer. Every read is checked against the bytes: what is damaged throws a RangeError and cannot ask
 * for more entries than there are bytes.
 */
export class FlatTable {
  readonly #view: DataView;
  readonly #at: number;
  readonly #vtable: number;
  readonly #vtableSize: number;

  private constructor(view: DataView, at: number) {
    this.#view = view;
    this.#at = at;
    this.#vtable = at - view.getInt32(at, true);
    this.#vtableSize = view.getUint16(this.#vtable, true);
  }

  static root(bytes: Uint8Array): FlatTable {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return new FlatTable(view, view.getUint32(0, true));
  }

  uint8(field: number, byDefault: number): number {
    const at = this.#place(field);
    return at === 0 ? byDefault : this.#view.getUint8(at);
  }

  int16(field: number, byDefault: number): number {
    const at = this.#place(field);
    return at === 0 ? byDefault : this.#view.getInt16(at, true);
  }

  int32(field: number, byDefault: number): number {
    const at = this.#place(field);
    return at === 0 ? byDefault : this.#view.getInt32(at, true);
  }

  int64(field: number, byDefault: number): number {
    const at = this.#place(field);
    return at === 0 ? byDefault : int64(this.#view, at);
  }

  text(field: number): string | undefined {
    const at = this.#place(field);
    if (at === 0) return undefined;
    const start = at + this.#view.getUint32(at, true);
    const length = this.#view.getUint32(start, true);
    return new TextDecoder().decode(
      new Uint8Array(this.#view.buffer, this.#view.byteOffset + start + 4, length),
    );
  }

  table(field: number): FlatTable | undefined {
    const at = this.#place(field);
    return at === 0 ? undefined : new FlatTable(this.#view, at + this.#view.getUint32(at, true));
  }

  tables(field: number): FlatTable[] {
    return this.#vector(
      field,
      4,
      (at) => new FlatTable(this.#view, at + this.#view.getUint32(at, true)),
    );
  }

  /** Structs of two int64. */
  pairs(field: number): { readonly first: number; readonly second: number }[] {
    return this.#vector(field, 16, (at) => ({
      first: int64(this.#view, at),
      second: int64(this.#view, at + 8),
    }));
  }

  int64s(field: number): number[] {
    return this.#vector(field, 8, (at) => int64(this.#view, at));
  }

  #place(field: number): number {
    const entry = 4 + field * 2;
    if (entry >= this.#vtableSize) return 0;
    const offset = this.#view.getUint16(this.#vtable + entry, true);
    return offset === 0 ? 0 : this.#at + offset;
  }

  #vector<Entry>(field: number, stride: number, read: (at: number) => Entry): Entry[] {
    const at = this.#place(field);
    if (at === 0) return [];
    const start = at + this.#view.getUint32(at, true);
    const count = this.#view.getUint32(start, true);
    if (start + 4 + count * stride > this.#view.byteLength)
      throw new RangeError('a vector reaches beyond its message');
    return Array.from({ length: count }, (_, index) => read(start + 4 + index * stride));
  }
}

function int64(view: DataView, at: number): number {
  const value = Number(view.getBigInt64(at, true));
  if (!Number.isSafeInteger(value)) throw new RangeError('a length is beyond 2^53');
  return value;
}

/** A field of a table that is written; `ref` is what the builder returned for a text, a vector or a table. */
export type FlatField =
  | { readonly size: 1 | 2 | 4; readonly value: number }
  | { readonly size: 8; readonly value: bigint }
  | { readonly ref: number }
  | undefined;

/**
 * Writes a flatbuffer from its end to its beginning, as their format wants it: what is referred to is written before what
 * refers to it. Places are told as distances from the end.
 */
export class FlatBuilder {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(1024);
  #view: DataView = new DataView(this.#bytes.buffer);
  #head = 1024;
  #alignment = 4;

  text(text: string): number {
    const utf8 = new TextEncoder().encode(text);
    // A zero follows.
    this.#prepare(4, utf8.length + 1);
    this.#head -= utf8.length + 1;
    this.#bytes.set(utf8, this.#head);
    this.#put(4, utf8.length);
    return this.#offset;
  }

  /** A vector of tables, texts or vectors. */
  refs(refs: readonly number[]): number {
    this.#prepare(4, refs.length * 4);
    for (const ref of refs.toReversed()) this.#putRef(ref);
    this.#put(4, refs.length);
    return this.#offset;
  }

  /** A vector of structs, each of int64s. */
  structs(rows: readonly (readonly number[])[], width: number): number {
    this.#prepare(4, rows.length * width * 8);
    this.#prepare(8, rows.length * width * 8);
    for (const row of rows.toReversed())
      for (const value of row.toReversed()) this.#put(8, BigInt(value));
    this.#put(4, rows.length);
    return this.#offset;
  }

  table(fields: readonly FlatField[]): number {
    const end = this.#offset;
    const places = fields.map((field) => {
      if (field === undefined) return 0;
      if ('ref' in field) {
        this.#prepare(4, 0);
        this.#putRef(field.ref);
      } else {
        this.#prepare(field.size, 0);
        this.#put(field.size, field.value);
      }
      return this.#offset;
    });
    this.#prepare(4, 0);
    this.#put(4, 0);
    const table = this.#offset;
    this.#prepare(2, 4 + fields.length * 2);
    for (const place of places.toReversed()) this.#put(2, place === 0 ? 0 : table - place);
    this.#put(2, table - end);
    this.#put(2, 4 + fields.length * 2);
    this.#view.setInt32(this.#bytes.length - table, this.#offset - table, true);
    return table;
  }

  finish(root: number): Uint8Array {
    this.#prepare(this.#alignment, 4);
    this.#putRef(root);
    return this.#bytes.slice(this.#head);
  }

  get #offset(): number {
    return this.#bytes.length - this.#head;
  }

  /** Pads so that something of `size` bytes is aligned once `following` bytes have been put before it. */
  #prepare(size: number, following: number): void {
    this.#alignment = Math.max(this.#alignment, size);
    const padding = -(this.#offset + following) & (size - 1);
    // Room for the vector's length, too.
    const needed = padding + following + size + 8;
    if (needed > this.#head) {
      const bytes = new Uint8Array(Math.max(this.#bytes.length * 2, this.#offset + needed));
      const head = bytes.length - this.#offset;
      bytes.set(this.#bytes.subarray(this.#head), head);
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer);
      this.#head = head;
    }
    this.#head -= padding;
  }

  #put(size: 1 | 2 | 4 | 8, value: number | bigint): void {
    this.#head -= size;
    const at = this.#head;
    if (typeof value === 'bigint') this.#view.setBigInt64(at, value, true);
    else if (size === 1) this.#view.setUint8(at, value);
    else if (size === 2) this.#view.setInt16(at, value, true);
    else this.#view.setInt32(at, value, true);
  }

  #putRef(ref: number): void {
    this.#put(4, this.#offset + 4 - ref);
  }
}
