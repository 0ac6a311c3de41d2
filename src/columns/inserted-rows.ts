import { assert } from '../base/errors.ts';
import type { Batch } from './batch.ts';
import { concatBatches, gather } from './build.ts';
import { RowsByColumn } from './rows-by-column.ts';
import type { SealedSegment } from './segment.ts';
import type { StoredColumn } from './stored-column.ts';
import type { Vector } from './vector.ts';

/**
 * The rows of a segment as they were when it was sealed: who holds it may read it whatever becomes of the segment. Compaction, truncation
 * and ALTER TABLE make or take away segments; they never write into the arrays of one.
 */
export class SegmentImage {
  /** Of the first row; the others follow without a gap. */
  readonly firstRowId: number;
  readonly rowCount: number;
  readonly #slotOf: Uint16Array;
  /** By the id of the stored column. */
  readonly #vectors: readonly (Vector | undefined)[];

  constructor(segment: SealedSegment) {
    assert(segment.ordinals === undefined, 'an image is of a segment that still has all its rows');
    this.firstRowId = segment.firstRowId + segment.firstOrdinal;
    this.rowCount = segment.rowCount;
    this.#slotOf = segment.slotOf;
    this.#vectors = segment.columns.map((column) => column?.vector);
  }

  get endRowId(): number {
    return this.firstRowId + this.rowCount;
  }

  has(column: StoredColumn): boolean {
    return this.#vectors[column.id] !== undefined;
  }

  /** Where rows [from, end), by row id, lie. */
  slots(from: number, end: number): Int32Array {
    return new Int32Array(this.#slotOf.subarray(from - this.firstRowId, end - this.firstRowId));
  }

  /** A column of some slots, in their order. */
  column(column: StoredColumn, slots: Int32Array): Vector {
    return gather(this.#vectors[column.id]!, slots, slots.length);
  }
}

/**
 * Rows that one commit inserted under consecutive row ids, for whoever tells the past: the version log and the memory journal. They have
 * arrays of their own until all of them lie in sealed segments; from then on the segments are read instead, and nothing is held twice.
 */
export class InsertedRows {
  readonly firstRowId: number;
  readonly rowCount: number;
  readonly #columns: readonly StoredColumn[];
  #own: readonly Vector[] | undefined;
  /** Of the segments sealed so far that hold some of the rows, in the order of row ids. */
  readonly #images: SegmentImage[] = [];

  constructor(firstRowId: number, rows: Batch, columns: readonly StoredColumn[]) {
    assert(rows.selection === undefined, 'rows that are kept have no selection');
    this.firstRowId = firstRowId;
    this.rowCount = rows.rowCount;
    this.#own = rows.columns;
    this.#columns = columns;
  }

  get endRowId(): number {
    return this.firstRowId + this.rowCount;
  }

  get isSealed(): boolean {
    return this.#own === undefined;
  }

  /** Made anew at each call: for who reads it and lets it go. */
  get batch(): Batch {
    const { rowCount } = this;
    if (this.#own === undefined)
      return new SealedRows(this.firstRowId, rowCount, this.#columns, this.#pieces());
    return { rowCount, columns: this.#own, rowIds: rowIdsFrom(this.firstRowId, rowCount) };
  }

  vector(position: number): Vector {
    return this.#own === undefined
      ? sealedColumn(this.#columns[position]!, this.#pieces())
      : this.#own[position]!;
  }

  /** Some of the rows lie in a segment now. True: all do, and their own arrays were let go. */
  seal(image: SegmentImage): boolean {
    // A column that was dropped before the segment was sealed is nowhere but here.
    if (!this.#columns.every((column) => image.has(column))) return false;
    const known = this.#images.at(-1)?.endRowId ?? this.firstRowId;
    if (image.firstRowId > known || image.endRowId <= known) return false;
    this.#images.push(image);
    if (image.endRowId < this.endRowId) return false;
    this.#own = undefined;
    return true;
  }

  #pieces(): SealedPiece[] {
    return this.#images.map((image) => {
      const from = Math.max(this.firstRowId, image.firstRowId);
      const end = Math.min(this.endRowId, image.endRowId);
      return { image, slots: image.slots(from, end) };
    });
  }
}

/** Rows of one segment. */
type SealedPiece = { readonly image: SegmentImage; readonly slots: Int32Array };

/** Rows that are read from the segments they lie in. */
class SealedRows extends RowsByColumn {
  readonly #firstRowId: number;
  readonly #storedColumns: readonly StoredColumn[];
  readonly #pieces: readonly SealedPiece[];

  constructor(
    firstRowId: number,
    rowCount: number,
    columns: readonly StoredColumn[],
    pieces: readonly SealedPiece[],
  ) {
    super(rowCount, columns.length);
    this.#firstRowId = firstRowId;
    this.#storedColumns = columns;
    this.#pieces = pieces;
  }

  protected makeColumn(index: number): Vector {
    return sealedColumn(this.#storedColumns[index]!, this.#pieces);
  }

  protected makeRowIds(): Float64Array {
    return rowIdsFrom(this.#firstRowId, this.rowCount);
  }
}

function sealedColumn(column: StoredColumn, pieces: readonly SealedPiece[]): Vector {
  const batches = pieces.map(({ image, slots }): Batch => ({
    rowCount: slots.length,
    columns: [image.column(column, slots)],
  }));
  return concatBatches(batches).columns[0]!;
}

function rowIdsFrom(first: number, count: number): Float64Array {
  const rowIds = new Float64Array(count);
  for (let row = 0; row < count; row += 1) rowIds[row] = first + row;
  return rowIds;
}
