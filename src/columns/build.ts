import { assert } from '../base/errors.ts';
import { gatherSelection, kernelsOf, sameKindOfArray } from './array-kernels.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from './batch.ts';
import { datumAt, hashCell, hashNumber, isNullAt, numberAt } from './cells.ts';
import type { SqlType } from './types.ts';
import { mixHash } from './utf8.ts';
import type { Datum } from './values.ts';
import { sliceVector, type Vector } from './vector.ts';
import { VectorBuilder } from './vector-builder.ts';

export { datumAt, isNullAt };

/** A column from data of its type. The rep follows from the data: numbers, 64-bit integers, booleans, else the data themselves. */
export function vectorFromData(type: SqlType, data: readonly Datum[]): Vector {
  const builder = new VectorBuilder(type);
  builder.reserveExactly(data.length);
  for (const datum of data) builder.appendDatum(datum);
  return builder.finish();
}

/** A column of `count` entries of one value. */
export function constantVector(type: SqlType, datum: Datum, count: number): Vector {
  const builder = new VectorBuilder(type);
  builder.reserveExactly(count);
  builder.appendConstant(datum, count);
  return builder.finish();
}

/** Entries selection[0 … count) as a vector of their own, in the same rep and encoding. `arrayLike` makes the arrays of numbers. */
export function gather(
  vector: Vector,
  selection: Int32Array,
  count: number,
  arrayLike: typeof sameKindOfArray = sameKindOfArray,
): Vector {
  const { type } = vector;
  const validity =
    vector.validity === undefined ? undefined : gatherValidity(vector.validity, selection, count);
  switch (vector.rep) {
    case 'number': {
      const values = arrayLike(vector.values, count);
      if (count === 1) values[0] = vector.values[selection[0]!]!;
      else kernelsOf(vector.values).gather(vector.values, selection, 0, count, values, 0);
      const { factor, base, scale, bounds } = vector;
      return { rep: 'number', type, values, validity, factor, base, scale, bounds };
    }
    case 'bigint': {
      const values = new BigInt64Array(count);
      for (let row = 0; row < count; row += 1) values[row] = vector.values[selection[row]!]!;
      return { rep: 'bigint', type, values, validity, scale: vector.scale };
    }
    case 'boolean': {
      const values = new Uint8Array(count);
      gatherSelection(vector.values, selection, count, values);
      return { rep: 'boolean', type, values, validity };
    }
    case 'dictionary': {
      const codes = arrayLike(vector.codes, count) as Uint8Array | Uint16Array | Int32Array;
      kernelsOf(codes).gather(vector.codes, selection, 0, count, codes, 0);
      return { rep: 'dictionary', type, codes, validity, dictionary: vector.dictionary };
    }
    case 'bytes': {
      const offsets = new Uint32Array(count + 1);
      let total = 0;
      for (let row = 0; row < count; row += 1) {
        const index = selection[row]!;
        total += vector.offsets[index + 1]! - vector.offsets[index]!;
        offsets[row + 1] = total;
      }
      const bytes = new Uint8Array(total);
      for (let row = 0; row < count; row += 1) {
        const from = vector.offsets[selection[row]!]!;
        const to = offsets[row]!;
        const length = offsets[row + 1]! - to;
        if (length <= 32)
          for (let at = 0; at < length; at += 1) bytes[to + at] = vector.bytes[from + at]!;
        else bytes.set(vector.bytes.subarray(from, from + length), to);
      }
      return { rep: 'bytes', type, offsets, bytes, validity };
    }
    case 'object': {
      const values: Datum[] = [];
      for (let row = 0; row < count; row += 1) values.push(vector.values[selection[row]!]!);
      return { rep: 'object', type, values, validity };
    }
  }
}

/** Entry `index` as a vector of its own; numbers come as doubles whatever their encoding. */
export function gatherOne(vector: Vector, index: number): Vector {
  const { type } = vector;
  const isNull = vector.validity !== undefined && vector.validity[index] === 0;
  const validity = isNull ? Uint8Array.of(0) : undefined;
  switch (vector.rep) {
    case 'number': {
      const values = new Float64Array(1);
      if (!isNull) values[0] = numberAt(vector.values[index]!, vector.factor, vector.base);
      return {
        rep: 'number',
        type,
        values,
        validity,
        factor: 1,
        base: 0,
        scale: vector.scale,
        bounds: undefined,
      };
    }
    case 'dictionary': {
      const codes = new Int32Array(1);
      codes[0] = vector.codes[index]!;
      return { rep: 'dictionary', type, codes, validity, dictionary: vector.dictionary };
    }
    default:
      return gather(vector, Int32Array.of(index), 1);
  }
}

/** Logical rows [start, end) of a batch, without copying columns. */
export function sliceBatch(batch: Batch, start: number, end: number): Batch {
  assert(0 <= start && start <= end && end <= batch.rowCount, 'a slice lies within its batch');
  const { selection } = batch;
  if (selection !== undefined) {
    return { ...batch, rowCount: end - start, selection: selection.subarray(start, end) };
  }
  return {
    rowCount: end - start,
    columns: batch.columns.map((column) => sliceVector(column, start, end)),
    ...(batch.weights === undefined ? {} : { weights: batch.weights.subarray(start, end) }),
    ...(batch.rowIds === undefined ? {} : { rowIds: batch.rowIds.subarray(start, end) }),
  };
}

/** The batch without a selection: the very same one where it has none. */
export function denseBatch(
  batch: Batch,
  arrayLike: typeof sameKindOfArray = sameKindOfArray,
): Batch {
  const { selection, rowCount } = batch;
  if (selection === undefined) return batch;
  return {
    rowCount,
    columns: batch.columns.map((column) => gather(column, selection, rowCount, arrayLike)),
    ...(batch.weights === undefined
      ? {}
      : { weights: gatherInts(batch.weights, selection, rowCount) }),
    ...(batch.rowIds === undefined
      ? {}
      : { rowIds: gatherDoubles(batch.rowIds, selection, rowCount) }),
  };
}

/**
 * All logical rows of at least one batch as one batch without a selection. Weights and row ids are kept where any (weights: 1
 * elsewhere) or all (row ids) have them.
 */
export function concatBatches(batches: readonly Batch[]): Batch {
  const steps = concatInSteps(batches);
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

/** The same, which gives way every so many values. */
export function* concatInSteps(batches: readonly Batch[]): Generator<undefined, Batch> {
  assert(batches.length > 0, 'something is concatenated');
  if (batches.length === 1) return denseBatch(batches[0]!);
  let rowCount = 0;
  for (const batch of batches) rowCount += batch.rowCount;
  const columns: Vector[] = [];
  let valuesOfStep = 0;
  for (const [column, first] of batches[0]!.columns.entries()) {
    const builder = new VectorBuilder(first.type, { capacityMax: rowCount });
    for (const batch of batches) {
      const vector = batch.columns[column]!;
      // The first source with rows decides the rep; room for all follows at once.
      if (batch.rowCount > 0 && builder.length === 0)
        builder.prepare(vector, batch.selection, 0, batch.rowCount, rowCount);
      builder.append(vector, batch.selection, 0, batch.rowCount);
      valuesOfStep += batch.rowCount;
      if (valuesOfStep < VALUES_OF_STEP) continue;
      valuesOfStep = 0;
      yield;
    }
    columns.push(builder.finish());
  }
  return { rowCount, columns, ...concatMarks(batches, rowCount) };
}

/** Some 2 ms of texts, which take longest. */
const VALUES_OF_STEP = 16_384;

/** The same as `concatBatches`: the name says what it does to batches with selections. */
export function gatherBatch(batches: readonly Batch[]): Batch {
  return concatBatches(batches);
}

function concatMarks(
  batches: readonly Batch[],
  rowCount: number,
): { weights?: Int32Array; rowIds?: Float64Array } {
  const marks: { weights?: Int32Array; rowIds?: Float64Array } = {};
  if (batches.some((batch) => batch.weights !== undefined)) {
    const weights = new Int32Array(rowCount).fill(1);
    let at = 0;
    for (const batch of batches) {
      if (batch.weights !== undefined) {
        for (let row = 0; row < batch.rowCount; row += 1) {
          weights[at + row] =
            batch.weights[batch.selection === undefined ? row : batch.selection[row]!]!;
        }
      }
      at += batch.rowCount;
    }
    marks.weights = weights;
  }
  if (batches.every((batch) => batch.rowIds !== undefined)) {
    const rowIds = new Float64Array(rowCount);
    let at = 0;
    for (const batch of batches) {
      for (let row = 0; row < batch.rowCount; row += 1) {
        rowIds[at + row] =
          batch.rowIds![batch.selection === undefined ? row : batch.selection[row]!]!;
      }
      at += batch.rowCount;
    }
    marks.rowIds = rowIds;
  }
  return marks;
}

/** Collects rows, by datum or by ranges of vectors, into batches of at most `rowCountMax` rows (2,048 unless said otherwise). */
export class BatchBuilder {
  readonly #types: readonly SqlType[];
  readonly #rowCountMax: number;
  #columns: VectorBuilder[] = [];
  #weights: number[] | undefined;
  #rowIds: number[] | undefined;
  #rowCount = 0;

  constructor(types: readonly SqlType[], options: { readonly rowCountMax?: number } = {}) {
    this.#types = types;
    this.#rowCountMax = options.rowCountMax ?? BATCH_ROW_COUNT_MAX;
    this.#reset();
  }

  /** Rows collected and not yet taken. */
  get rowCount(): number {
    return this.#rowCount;
  }

  get isFull(): boolean {
    return this.#rowCount >= this.#rowCountMax;
  }

  /** Rows that still fit. */
  get room(): number {
    return this.#rowCountMax - this.#rowCount;
  }

  /** One row; the caller takes the batch when it is full. */
  appendRow(
    row: readonly Datum[],
    mark?: { readonly weight?: number; readonly rowId?: number },
  ): void {
    assert(!this.isFull, 'a full batch is taken before the next row');
    for (let column = 0; column < this.#columns.length; column += 1)
      this.#columns[column]!.appendDatum(row[column] ?? null);
    this.#mark(
      1,
      mark?.weight === undefined ? undefined : () => mark.weight!,
      mark?.rowId === undefined ? undefined : () => mark.rowId!,
    );
    this.#rowCount += 1;
  }

  /**
   * Logical rows [start, end) of `batch`, as many as fit; returns how many were taken. `columnIndexes` chooses among the batch's
   * columns; weights and row ids come along.
   */
  append(batch: Batch, start = 0, end = batch.rowCount, columnIndexes?: readonly number[]): number {
    const count = Math.min(end - start, this.room);
    for (let column = 0; column < this.#columns.length; column += 1) {
      this.#columns[column]!.append(
        batch.columns[columnIndexes?.[column] ?? column]!,
        batch.selection,
        start,
        count,
      );
    }
    const { selection, weights, rowIds } = batch;
    const physical = (row: number): number =>
      selection === undefined ? start + row : selection[start + row]!;
    this.#mark(
      count,
      weights === undefined ? undefined : (row) => weights[physical(row)]!,
      rowIds === undefined ? undefined : (row) => rowIds[physical(row)]!,
    );
    this.#rowCount += count;
    return count;
  }

  /** One row whose columns come from several places: entry `indexes[c]` of `vectors[c]`. */
  appendCells(vectors: readonly Vector[], indexes: readonly number[], weight?: number): void {
    assert(!this.isFull, 'a full batch is taken before the next row');
    for (let column = 0; column < this.#columns.length; column += 1) {
      this.#columns[column]!.append(vectors[column]!, undefined, indexes[column]!, 1);
    }
    this.#mark(1, weight === undefined ? undefined : () => weight, undefined);
    this.#rowCount += 1;
  }

  /** The rows collected so far, or undefined; the builder is empty afterwards. */
  take(): Batch | undefined {
    if (this.#rowCount === 0) return undefined;
    const batch: Batch = {
      rowCount: this.#rowCount,
      columns: this.#columns.map((column) => column.finish()),
      ...(this.#weights === undefined ? {} : { weights: Int32Array.from(this.#weights) }),
      ...(this.#rowIds === undefined ? {} : { rowIds: Float64Array.from(this.#rowIds) }),
    };
    this.#reset();
    return batch;
  }

  #reset(): void {
    this.#columns = this.#types.map((type) => new VectorBuilder(type));
    this.#weights = undefined;
    this.#rowIds = undefined;
    this.#rowCount = 0;
  }

  #mark(
    count: number,
    weightAt: ((row: number) => number) | undefined,
    rowIdAt: ((row: number) => number) | undefined,
  ): void {
    if (weightAt !== undefined && this.#weights === undefined)
      this.#weights = Array.from({ length: this.#rowCount }, () => 1);
    if (this.#weights !== undefined) {
      for (let row = 0; row < count; row += 1)
        this.#weights.push(weightAt === undefined ? 1 : weightAt(row));
    }
    if (rowIdAt !== undefined) {
      this.#rowIds ??= [];
      assert(
        this.#rowIds.length === this.#rowCount,
        'either all rows of a batch have row ids, or none',
      );
      for (let row = 0; row < count; row += 1) this.#rowIds.push(rowIdAt(row));
    }
  }
}

/**
 * A 32-bit hash of physical rows [0, rowCount) over the given columns, NULLs hashing alike. Equal rows have equal hashes
 * whatever the reps of their vectors (see cells.ts).
 */
export function hashRows(vectors: readonly Vector[], rowCount: number): Int32Array {
  const hashes = new Int32Array(rowCount);
  for (const vector of vectors) hashColumn(vector, rowCount, hashes);
  for (let row = 0; row < rowCount; row += 1) hashes[row] = mixHash(hashes[row]!);
  return hashes;
}

/** The same for one row. */
export function hashRow(vectors: readonly Vector[], index: number): number {
  let hash = 0;
  for (const vector of vectors) hash = (Math.imul(hash, 31) + hashCell(vector, index)) | 0;
  return mixHash(hash);
}

function hashColumn(vector: Vector, rowCount: number, hashes: Int32Array): void {
  if (vector.rep === 'number' && vector.scale === 0) {
    kernelsOf(vector.values).hash(
      vector.values,
      vector.validity,
      rowCount,
      vector.factor,
      vector.base,
      hashes,
      hashNumber,
    );
    return;
  }
  for (let row = 0; row < rowCount; row += 1)
    hashes[row] = (Math.imul(hashes[row]!, 31) + hashCell(vector, row)) | 0;
}

function gatherValidity(validity: Uint8Array, selection: Int32Array, count: number): Uint8Array {
  const out = new Uint8Array(count);
  gatherSelection(validity, selection, count, out);
  return out;
}

export function gatherInts(values: Int32Array, selection: Int32Array, count: number): Int32Array {
  const out = new Int32Array(count);
  for (let row = 0; row < count; row += 1) out[row] = values[selection[row]!]!;
  return out;
}

function gatherDoubles(values: Float64Array, selection: Int32Array, count: number): Float64Array {
  const out = new Float64Array(count);
  for (let row = 0; row < count; row += 1) out[row] = values[selection[row]!]!;
  return out;
}
