import { ChunkedFloat64 } from '../base/chunked.ts';
import type { MemoryAccount } from '../base/memory.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import { PLACE_ROWS } from '../columns/batch.ts';
import { datumAt, isNullAt, numberAt } from '../columns/cells.ts';
import { compareDatums, withoutTrailingBlanks } from '../columns/compare.ts';
import { isNumberKind, type SqlType } from '../columns/types.ts';
import { Decimal } from '../columns/values.ts';
import { compareBytes } from '../columns/utf8.ts';
import type { Vector } from '../columns/vector.ts';
import { StepwiseSort, type SortKeys } from './stepwise-sort.ts';

export type KeyOrder = { readonly descending: boolean; readonly nullsFirst: boolean };

/** What rows go by whose values are equal. */
type NextKey = { doubleAt(row: number): number; readonly isExact: boolean };

/** Bytes that one double orders exactly, with a bit to spare. */
const PREFIX_BYTES = 6;

/**
 * One column of what a sort goes by, told by row numbers 0, 1, 2, …. A value is one double where doubles order it exactly, and two for
 * texts: their first twelve bytes, and whether there are more. Only where those tie, and something is left untold, the values themselves are compared:
 * no JavaScript value is kept for a row.
 */
export class KeyColumn {
  readonly #type: SqlType;
  readonly #sign: 1 | -1;
  readonly #nullSign: 1 | -1;
  /**
   * `exact`: equal doubles are equal values, NaN aside; `near`: the double only never puts them the wrong way round. Numbers are exact
   * until one comes that is not.
   */
  #shape: 'exact' | 'bytes' | 'near';
  #scale: number | undefined;
  /** NaN is NULL; a value NaN is Infinity here, and told from it by the value. */
  readonly #first: ChunkedFloat64;
  readonly #second: ChunkedFloat64;
  /** Vectors that were appended, and where each row number's value lies: vector · PLACE_ROWS + index. */
  readonly #vectors: Vector[] = [];
  readonly #places: ChunkedFloat64;

  constructor(type: SqlType, order: KeyOrder, lease: MemoryLease) {
    this.#type = type;
    this.#sign = order.descending ? -1 : 1;
    this.#nullSign = order.nullsFirst ? -1 : 1;
    this.#shape = shapeOf(type);
    this.#first = new ChunkedFloat64(lease);
    this.#second = new ChunkedFloat64(lease);
    this.#places = new ChunkedFloat64(lease);
  }

  /** Values of a dense vector; of a row of weight n there are n. */
  append(vector: Vector, rowCount: number, weights?: Int32Array): void {
    const index = this.#vectors.length;
    this.#vectors.push(vector);
    for (let row = 0; row < rowCount; row += 1) {
      const copies = weights === undefined ? 1 : weights[row]!;
      if (copies === 0) continue;
      this.#places.push(index * PLACE_ROWS + row);
      if (isNullAt(vector, row)) {
        this.#first.push(NaN);
        if (this.#shape === 'bytes') this.#second.push(0);
      } else if (this.#shape === 'bytes') this.#pushBytes(vector, row);
      else {
        const value = doubleOf(vector, row);
        if (this.#shape === 'exact' && !this.#isExact(vector, row, value)) this.#shape = 'near';
        this.#first.push(value);
      }
      for (let copy = 1; copy < copies; copy += 1) this.#repeatLast();
    }
  }

  #repeatLast(): void {
    const last = this.#places.length - 1;
    this.#places.push(this.#places.get(last));
    this.#first.push(this.#first.get(last));
    if (this.#shape === 'bytes') this.#second.push(this.#second.get(last));
  }

  compare(a: number, b: number): number {
    const x = this.#first.get(a);
    const y = this.#first.get(b);
    if (x < y) return -this.#sign;
    if (x > y) return this.#sign;
    if (x !== x || y !== y) {
      if (x !== x && y !== y) return 0;
      return x !== x ? this.#nullSign : -this.#nullSign;
    }
    if (this.#shape === 'exact') return x === Infinity ? this.#compareValues(a, b) : 0;
    if (this.#shape === 'bytes') {
      const left = this.#second.get(a);
      const right = this.#second.get(b);
      if (left < right) return -this.#sign;
      if (left > right) return this.#sign;
      // Even: both have been told whole.
      if (left % 2 === 0) return 0;
    }
    return this.#compareValues(a, b);
  }

  /** The same order, as far as doubles tell it, and `next` where values are equal. */
  sortKeys(next: NextKey | undefined): SortKeys {
    const isBytes = this.#shape === 'bytes';
    const isExact = this.#shape === 'exact';
    return {
      hasSecond: isBytes || (isExact && next !== undefined),
      equal:
        isBytes && next === undefined
          ? 'even second'
          : isExact && next?.isExact !== false
            ? 'finite'
            : 'never',
      fill: (rows, first, second) => {
        for (let at = 0; at < rows.length; at += 1) {
          const row = rows[at]!;
          first[at] = this.doubleAt(row);
          if (second !== undefined)
            second[at] = isBytes ? this.#second.get(row) * this.#sign : next!.doubleAt(row);
        }
      },
    };
  }

  /** Ascending as the order is. NULLs are infinite: among infinite ones comparing tells. */
  doubleAt(row: number): number {
    const value = this.#first.get(row);
    return value === value ? value * this.#sign : this.#nullSign * Infinity;
  }

  /** Rows whose doubles are finite and equal have equal values. */
  get isExact(): boolean {
    return this.#shape === 'exact';
  }

  /** The number of a row's value; undefined: NULL, NaN, or no number. */
  numberAt(row: number): number | undefined {
    if (!isNumberKind(this.#type.kind)) return undefined;
    const value = this.#first.get(row);
    return Number.isFinite(value) ? value : undefined;
  }

  #pushBytes(vector: Vector, row: number): void {
    let bytes: Uint8Array;
    let start = 0;
    let end: number;
    if (vector.rep === 'dictionary') {
      const code = vector.codes[row]!;
      bytes = vector.dictionary.byteChunk(code);
      start = vector.dictionary.byteStart(code);
      end = start + vector.dictionary.byteLength(code);
    } else if (vector.rep === 'bytes') {
      bytes = vector.bytes;
      start = vector.offsets[row]!;
      end = vector.offsets[row + 1]!;
    } else {
      const text = String(datumAt(vector, row));
      const shown = this.#type.kind === 'bpchar' ? withoutTrailingBlanks(text) : text;
      const written = encoder.encodeInto(shown.slice(0, SCRATCH), scratch);
      bytes = scratch;
      end = written.written;
    }
    if (this.#type.kind === 'bpchar') while (end > start && bytes[end - 1] === 0x20) end -= 1;
    this.#first.push(prefix(bytes, start, end));
    const isLonger = end - start > 2 * PREFIX_BYTES;
    this.#second.push(prefix(bytes, start + PREFIX_BYTES, end) * 2 + (isLonger ? 1 : 0));
  }

  #isExact(vector: Vector, row: number, value: number): boolean {
    switch (this.#type.kind) {
      case 'int8':
      case 'timestamp':
      case 'timestamptz':
        return vector.rep === 'number' || Number.isSafeInteger(value);
      case 'numeric': {
        if (vector.rep !== 'number') return false;
        this.#scale ??= vector.scale;
        const coefficient = numberAt(vector.values[row]!, vector.factor, vector.base);
        // Then the quotients of two neighbours are two doubles.
        return vector.scale === this.#scale && Math.abs(coefficient) < 2 ** 50;
      }
      default:
        return true;
    }
  }

  #compareValues(a: number, b: number): number {
    const [left, leftRow] = this.#valueAt(a);
    const [right, rightRow] = this.#valueAt(b);
    if (left.rep === 'number' && right.rep === 'number' && left.scale === right.scale) {
      const x = numberAt(left.values[leftRow]!, left.factor, left.base);
      const y = numberAt(right.values[rightRow]!, right.factor, right.base);
      if (x === y) return 0;
      if (x < y) return -this.#sign;
      if (x > y) return this.#sign;
    }
    if (
      left.rep === 'dictionary' &&
      right.rep === 'dictionary' &&
      this.#type.kind !== 'bpchar' &&
      left.dictionary === right.dictionary
    )
      return left.dictionary.compare(left.codes[leftRow]!, right.codes[rightRow]!) * this.#sign;
    if (left.rep === 'bytes' && right.rep === 'bytes' && this.#type.kind !== 'bpchar')
      return (
        compareBytes(
          left.bytes.subarray(left.offsets[leftRow]!, left.offsets[leftRow + 1]!),
          right.bytes.subarray(right.offsets[rightRow]!, right.offsets[rightRow + 1]!),
        ) * this.#sign
      );
    return (
      compareDatums(datumAt(left, leftRow), datumAt(right, rightRow), this.#type.kind) * this.#sign
    );
  }

  #valueAt(row: number): readonly [Vector, number] {
    const place = this.#places.get(row);
    const index = place % PLACE_ROWS;
    return [this.#vectors[(place - index) / PLACE_ROWS]!, index];
  }
}

/** Sorts rows, or all row numbers below a count, by columns, the first one first; where all are equal by `arrivals`, else as they stand. */
export function sortByKeys(
  rows: Int32Array | number,
  columns: readonly KeyColumn[],
  options: {
    readonly arrivals?: ChunkedFloat64 | undefined;
    readonly keep?: number;
    readonly memory: MemoryAccount | undefined;
  },
): StepwiseSort {
  const { arrivals, ...rest } = options;
  const [first, second] = columns;
  const compare = (a: number, b: number): number => {
    for (const column of columns) {
      const order = column.compare(a, b);
      if (order !== 0) return order;
    }
    return arrivals === undefined ? 0 : arrivals.get(a) - arrivals.get(b);
  };
  const next =
    second !== undefined
      ? {
          doubleAt: (row: number): number => second.doubleAt(row),
          isExact: second.isExact && columns.length === 2 && arrivals === undefined,
        }
      : arrivals && { doubleAt: (row: number): number => arrivals.get(row), isExact: true };
  return new StepwiseSort(rows, compare, { ...rest, keys: first?.sortKeys(next) });
}

const SCRATCH = 16;
const scratch = new Uint8Array(SCRATCH * 3);
const encoder = new TextEncoder();

function shapeOf({ kind }: SqlType): 'exact' | 'bytes' | 'near' {
  switch (kind) {
    case 'text':
    case 'varchar':
    case 'bpchar':
      return 'bytes';
    case 'boolean':
    case 'numeric':
      return 'exact';
    default:
      return isNumberKind(kind) ? 'exact' : 'near';
  }
}

/** Rounded correctly, so that it keeps the order; 0 for what has no number. */
function doubleOf(vector: Vector, row: number): number {
  switch (vector.rep) {
    case 'number': {
      const value = numberAt(vector.values[row]!, vector.factor, vector.base);
      return value === value ? scaled(value, vector.scale) : Infinity;
    }
    case 'bigint':
      return scaled(vector.values[row]!, vector.scale);
    case 'boolean':
      return vector.values[row]!;
    case 'object': {
      const value = vector.values[row]!;
      if (typeof value === 'number') return value === value ? value : Infinity;
      if (typeof value === 'bigint') return Number(value);
      if (typeof value === 'boolean') return value ? 1 : 0;
      if (!(value instanceof Decimal)) return 0;
      if (value.special === undefined) return scaled(value.coefficient, value.scale);
      return value.special === '-Infinity' ? -Infinity : Infinity;
    }
    default:
      return 0;
  }
}

/** Powers of ten up to 10^22 are doubles; beyond them the text is what is rounded once. */
function scaled(coefficient: number | bigint, scale: number): number {
  if (scale === 0) return Number(coefficient);
  return typeof coefficient === 'number' && scale <= 22
    ? coefficient / 10 ** scale
    : Number(`${coefficient}e-${scale}`);
}

function prefix(bytes: Uint8Array, start: number, end: number): number {
  let value = 0;
  for (let at = start; at < start + PREFIX_BYTES; at += 1)
    value = value * 256 + (at < end ? bytes[at]! : 0);
  return value;
}
