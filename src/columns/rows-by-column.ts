import type { Batch } from './batch.ts';
import type { Vector } from './vector.ts';

/** Rows whose columns are made when somebody looks, each once: a view reads two of a table's seven. */
export abstract class RowsByColumn implements Batch {
  readonly rowCount: number;
  readonly #columnCount: number;
  #columns: (Vector | undefined)[] | undefined;
  #all: readonly Vector[] | undefined;
  #rowIds: Float64Array | undefined;

  constructor(rowCount: number, columnCount: number) {
    this.rowCount = rowCount;
    this.#columnCount = columnCount;
  }

  column(index: number): Vector {
    this.#columns ??= [];
    let column = this.#columns[index];
    if (column === undefined) {
      column = this.makeColumn(index);
      while (this.#columns.length <= index) this.#columns.push(undefined);
      this.#columns[index] = column;
    }
    return column;
  }

  /** The column, where somebody has looked at it. */
  protected madeColumn(index: number): Vector | undefined {
    return this.#columns?.[index];
  }

  get columns(): readonly Vector[] {
    if (this.#all === undefined) {
      const columns: Vector[] = [];
      for (let index = 0; index < this.#columnCount; index += 1) columns.push(this.column(index));
      this.#all = columns;
    }
    return this.#all;
  }

  get rowIds(): Float64Array {
    return (this.#rowIds ??= this.makeRowIds());
  }

  protected abstract makeColumn(index: number): Vector;
  protected abstract makeRowIds(): Float64Array;
}

/** A column of a batch, the others of which may stay unread. */
export function columnOf(batch: Batch, index: number): Vector {
  return batch instanceof RowsByColumn ? batch.column(index) : batch.columns[index]!;
}
