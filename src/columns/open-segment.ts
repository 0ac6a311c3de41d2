import { assert, DbError } from '../base/errors.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import type { Batch } from './batch.ts';
import { CHUNK_ROWS } from './chunk-pool.ts';
import type { Dictionary } from './dictionary.ts';
import { equalBytes } from './utf8.ts';
import { bytesAt, datumAt, equalCells, equalValues, isNullAt } from './cells.ts';
import { SEGMENT_ROWS } from './segment.ts';
import type { StoredColumn } from './stored-column.ts';
import { TimeOrder } from './time-order.ts';
import type { Datum } from './values.ts';
import type { Vector } from './vector.ts';
import { VectorBuilder } from './vector-builder.ts';

const CHUNK_BITS = 13;
const CHUNK_MASK = CHUNK_ROWS - 1;

/**
 * The newest rows of a table in arrival order: they are appended, overwritten in place, and taken back by undo. A full one goes on
 * to serve readers until its sealed form is ready. What it hands out are copies, since it changes.
 */
export class OpenSegment {
  readonly kind = 'open';
  readonly number: number;
  /** Not 0 where a truncation happened in the middle of the segment's row ids. */
  readonly firstOrdinal: number;
  readonly #lease: MemoryLease;
  readonly #columns: (VectorBuilder[] | undefined)[] = [];
  #rowCount = 0;
  /** Between these, rows may have other values than they arrived with. */
  overwrittenFrom = Infinity;
  overwrittenEnd = 0;
  isClosed = false;
  /** Made when somebody reads rows by their time. */
  #timeOrder: TimeOrder | undefined;
  #timeOrderBytes = 0;

  constructor(number: number, firstOrdinal: number, lease: MemoryLease) {
    this.number = number;
    this.firstOrdinal = firstOrdinal;
    this.#lease = lease;
  }

  /** Rows appended, dead ones and unpublished ones included. */
  get rowCount(): number {
    return this.#rowCount;
  }

  get firstRowId(): number {
    return this.number * SEGMENT_ROWS;
  }

  /** Rows that still fit. */
  get room(): number {
    return SEGMENT_ROWS - this.firstOrdinal - this.#rowCount;
  }

  placeOf(ordinal: number): number {
    const row = ordinal - this.firstOrdinal;
    return row < 0 || row >= this.#rowCount ? -1 : row;
  }

  /** Places of rows [start, end) of a list of ids, which are of the segment: −1 where one is not there, and false. */
  placesOf(rowIds: Float64Array, start: number, end: number, places: Int32Array): boolean {
    const first = this.firstRowId + this.firstOrdinal;
    let areThere = true;
    for (let at = start; at < end; at += 1) {
      const row = rowIds[at]! - first;
      const isHere = row >= 0 && row < this.#rowCount;
      places[at] = isHere ? row : -1;
      if (!isHere) areThere = false;
    }
    return areThere;
  }

  /** Rows [start, start + count) of a batch without a selection; nothing has changed when it throws. */
  append(columns: readonly StoredColumn[], batch: Batch, start: number, count: number): void {
    assert(count <= this.room, 'rows fit into their segment');
    const rowCount = this.#rowCount;
    try {
      for (let index = 0; index < columns.length; index += 1)
        this.#appendColumn(columns[index]!, batch.columns[index]!, start, count);
    } catch (cause) {
      this.#rowCount = rowCount + count;
      this.truncate(rowCount);
      throw cause;
    }
    this.#rowCount = rowCount + count;
  }

  /** Row `row` takes the values of row `index` of the batch. */
  set(row: number, columns: readonly StoredColumn[], batch: Batch, index: number): void {
    if (row < this.overwrittenFrom) this.overwrittenFrom = row;
    if (row >= this.overwrittenEnd) this.overwrittenEnd = row + 1;
    const before = this.#timeOrder?.timeOf(row);
    for (let column = 0; column < columns.length; column += 1) {
      this.#chunk(columns[column]!, row).set(row & CHUNK_MASK, batch.columns[column]!, index);
    }
    if (this.#timeOrder?.changed([row], [before]) === false) this.#dropTimeOrder();
  }

  /**
   * Its rows in the order of a time column, unpublished ones included: to be read at once. Undefined where its times are no doubles, or
   * there is no memory for it.
   */
  timeOrder(column: StoredColumn): TimeOrder | undefined {
    if (this.#timeOrder !== undefined && this.#timeOrder.column !== column) this.#dropTimeOrder();
    const order = (this.#timeOrder ??= new TimeOrder(column, this));
    const room = order.extend(this.#rowCount) && this.#accountTimeOrder(order);
    if (!room) this.#dropTimeOrder();
    return this.#timeOrder;
  }

  #accountTimeOrder(order: TimeOrder): boolean {
    const more = order.byteLength - this.#timeOrderBytes;
    if (more === 0) return true;
    try {
      this.#lease.take(more);
    } catch (cause) {
      if (!(cause instanceof DbError)) throw cause;
      return false;
    }
    this.#timeOrderBytes += more;
    return true;
  }

  #dropTimeOrder(): void {
    this.#timeOrder = undefined;
    this.#lease.give(this.#timeOrderBytes);
    this.#timeOrderBytes = 0;
  }

  /** The rows at places [start, end) of a chunk take the values of logical rows start − from, … of the batch, column by column. */
  setRows(
    chunk: number,
    places: Int32Array,
    start: number,
    end: number,
    columns: readonly StoredColumn[],
    { columns: vectors, selection }: Batch,
    from: number,
  ): void {
    const first = chunk * CHUNK_ROWS;
    for (let at = start; at < end; at += 1) {
      const row = first + places[at]!;
      if (row < this.overwrittenFrom) this.overwrittenFrom = row;
      if (row >= this.overwrittenEnd) this.overwrittenEnd = row + 1;
    }
    const rows =
      this.#timeOrder === undefined
        ? []
        : Array.from(places.subarray(start, end), (place) => first + place);
    const before = rows.map((row) => this.#timeOrder!.timeOf(row));
    for (let column = 0; column < columns.length; column += 1) {
      const builder = this.#columns[columns[column]!.id]![chunk]!;
      const vector = vectors[column]!;
      for (let at = start; at < end; at += 1)
        builder.set(
          places[at]!,
          vector,
          selection === undefined ? at - from : selection[at - from]!,
        );
    }
    if (this.#timeOrder?.changed(rows, before) === false) this.#dropTimeOrder();
  }

  /** Forgets the rows from `rowCount` on. */
  truncate(rowCount: number): void {
    this.#rowCount = Math.min(this.#rowCount, rowCount);
    this.#timeOrder?.truncate(rowCount);
    for (const chunks of this.#columns) {
      if (chunks === undefined) continue;
      for (let index = chunks.length - 1; index >= 0; index -= 1) {
        const chunk = chunks[index]!;
        const keep = Math.max(0, rowCount - index * CHUNK_ROWS);
        if (chunk.length > keep) chunk.truncate(keep);
        if (keep === 0) {
          chunk.close();
          chunks.pop();
        }
      }
    }
  }

  /** A copy of rows [start, end) of a column; they lie in one chunk. */
  slice(column: StoredColumn, start: number, end: number): Vector {
    const first = start & ~CHUNK_MASK;
    return this.#chunk(column, start).slice(start - first, end - first);
  }

  /** Rows [start, end), which lie in one chunk, without a copy where the rep allows: to be read at once. */
  view(column: StoredColumn, start: number): { readonly vector: Vector; readonly offset: number } {
    const chunk = this.#chunk(column, start);
    const vector = chunk.peek();
    return vector === undefined
      ? { vector: chunk.slice(0, chunk.length), offset: 0 }
      : { vector, offset: 0 };
  }

  /** Chunk number `chunk` of a column, to be read at once; undefined where the rep has no such form (raw bytes). */
  chunkVector(column: StoredColumn, chunk: number): Vector | undefined {
    return this.#columns[column.id]![chunk]!.peek();
  }

  /** A vector that holds the cell of row `row`, and where: to be read at once. */
  cellVector(column: StoredColumn, row: number): Vector {
    const chunk = this.#chunk(column, row);
    return chunk.peek() ?? chunk.slice(row & CHUNK_MASK, (row & CHUNK_MASK) + 1);
  }

  cellIndex(column: StoredColumn, row: number): number {
    return this.#chunk(column, row).peek() === undefined ? 0 : row & CHUNK_MASK;
  }

  /** NaN for NULL; undefined where the column holds something else than doubles. */
  numberAt(column: StoredColumn, row: number): number | undefined {
    const vector = this.#chunk(column, row).peek();
    if (vector?.rep !== 'number') return undefined;
    const at = row & CHUNK_MASK;
    return vector.validity !== undefined && vector.validity[at] === 0 ? NaN : vector.values[at]!;
  }

  datumAt(column: StoredColumn, row: number): Datum {
    return this.#chunk(column, row).datumAt(row & CHUNK_MASK);
  }

  /** Whether the present cell `index` of `vector` equals the cell of row `row`. */
  equals(column: StoredColumn, row: number, vector: Vector, index: number): boolean {
    const chunk = this.#chunk(column, row);
    const at = row & CHUNK_MASK;
    const mine = chunk.peek();
    if (mine !== undefined) return !isNullAt(mine, at) && equalCells(mine, at, vector, index);
    if (column.type.kind === 'bpchar') {
      const datum = chunk.datumAt(at);
      return datum !== null && equalValues(datum, datumAt(vector, index), column.type);
    }
    if (chunk.isNullAt(at)) return false;
    const bytes = chunk.bytesAt(at);
    const other = bytesAt(vector, index);
    return bytes.length === other.length && equalBytes(bytes, 0, other, 0, bytes.length);
  }

  /** A column that the table has got since: existing rows take its default. */
  addColumn(column: StoredColumn): void {
    for (let row = 0; row < this.#rowCount; row += CHUNK_ROWS) {
      this.#newChunk(column).appendConstant(
        column.missing,
        Math.min(CHUNK_ROWS, this.#rowCount - row),
      );
    }
  }

  /** The chunks of a column that hold codes of another dictionary than its table's, by number. */
  *chunksToRecode(column: StoredColumn): Generator<number> {
    const chunks = this.#columns[column.id] ?? [];
    for (let chunk = 0; chunk < chunks.length; chunk += 1) {
      const { dictionary } = chunks[chunk]!;
      if (dictionary !== undefined && dictionary !== column.dictionaryIfAny) yield chunk;
    }
  }

  /** Their texts become codes of the table's dictionary; `codeOf` is told the dictionary they had, a code of it, and the row's place. */
  recode(
    column: StoredColumn,
    chunk: number,
    codeOf: (from: Dictionary, code: number, place: number) => number,
  ): void {
    const builder = this.#columns[column.id]![chunk]!;
    const from = builder.dictionary!;
    const first = chunk * CHUNK_ROWS;
    builder.recode(column.dictionary!, (code, row) => codeOf(from, code, first + row));
  }

  dropColumn(column: StoredColumn): void {
    if (this.#timeOrder?.column === column) this.#dropTimeOrder();
    for (const chunk of this.#columns[column.id] ?? []) chunk.close();
    this.#columns[column.id] = undefined;
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#dropTimeOrder();
    // The row count stays: whoever compares places with it, without reading, may still do so.
    for (const chunks of this.#columns) for (const chunk of chunks ?? []) chunk.close();
    this.#columns.length = 0;
  }

  #appendColumn(column: StoredColumn, vector: Vector, start: number, count: number): void {
    let chunks = this.#columns[column.id];
    let row = this.#rowCount;
    let from = start;
    const end = start + count;
    while (from < end) {
      const index = row >>> CHUNK_BITS;
      let chunk = chunks === undefined ? undefined : chunks[index];
      if (chunk === undefined) {
        chunk = this.#newChunk(column);
        chunks = this.#columns[column.id]!;
      }
      const part = Math.min(end - from, CHUNK_ROWS - (row & CHUNK_MASK));
      chunk.append(vector, undefined, from, part);
      from += part;
      row += part;
    }
  }

  #newChunk(column: StoredColumn): VectorBuilder {
    let chunks = this.#columns[column.id];
    if (chunks === undefined) {
      chunks = [];
      while (this.#columns.length <= column.id) this.#columns.push(undefined);
      this.#columns[column.id] = chunks;
    }
    const raw = column.isRaw;
    const chunk = new VectorBuilder(column.type, {
      lease: this.#lease,
      capacityMax: CHUNK_ROWS,
      raw,
      dictionary: raw ? undefined : column.dictionary,
      isPooled: true,
    });
    // Only the first chunk of a segment grows. Those behind it will be filled: what is small stays small, what is large does not grow by copying.
    if (chunks.length > 0) chunk.reserveExactly(CHUNK_ROWS);
    chunks.push(chunk);
    return chunk;
  }

  #chunk(column: StoredColumn, row: number): VectorBuilder {
    return this.#columns[column.id]![row >>> CHUNK_BITS]!;
  }
}
