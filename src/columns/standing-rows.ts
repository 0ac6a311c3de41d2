import { assert } from '../base/errors.ts';
import { isPiece } from '../base/slab.ts';
import { concatBatches } from './build.ts';
import { cellNumber } from './cells.ts';
import { fetchLocated, type LocatedRows } from './row-fetch.ts';
import { RowsByColumn } from './rows-by-column.ts';
import type { SealedSegment } from './segment.ts';
import type { StoredColumn } from './stored-column.ts';
import { isNumberKind } from './types.ts';
import { keptColumn, type Vector } from './vector.ts';

/**
 * Old versions of rows that a commit takes out of sealed segments. Those do not change: a column of numbers is copied out of them when
 * somebody looks, which for most columns nobody ever does (a view reads two of a table's seven, the history is hardly read at all). Columns of other kinds
 * have dictionaries, which are closed with their segments: they are copied at once, and so are rows that lie in open segments, which are overwritten.
 *
 * Whoever keeps such rows pins the segments (`pin`, `unpin`).
 */
export class StandingRows extends RowsByColumn {
  readonly #rowIds: Float64Array;
  readonly #columns: readonly StoredColumn[];
  /** Of the first rows, which lie in sealed segments. */
  readonly #located: LocatedRows;
  /** By column, where it is not to be read later. */
  readonly #copied: (Vector | undefined)[];
  /** The rows behind those, by column; undefined where there are none. */
  readonly #open: readonly Vector[] | undefined;
  /** The run of the row whose cell was asked for last. */
  #runAsked = 0;

  private constructor(parts: {
    readonly rowIds: Float64Array;
    readonly columns: readonly StoredColumn[];
    readonly located: LocatedRows;
    readonly copied: (Vector | undefined)[];
    readonly open: readonly Vector[] | undefined;
  }) {
    super(parts.rowIds.length, parts.columns.length);
    this.#rowIds = parts.rowIds;
    this.#columns = parts.columns;
    this.#located = parts.located;
    this.#copied = parts.copied;
    this.#open = parts.open;
  }

  /** Undefined where all rows have to be copied at once. `rowIds` ascend. */
  static of(
    rowIds: Float64Array,
    columns: readonly StoredColumn[],
    { runs, places }: LocatedRows,
  ): StandingRows | undefined {
    const firstOpen = runs.findIndex(({ segment }) => segment?.kind === 'open');
    const sealedRuns = firstOpen < 0 ? runs.length : firstOpen;
    if (sealedRuns === 0) return undefined;
    const count = firstOpen < 0 ? rowIds.length : runs[firstOpen]!.start;
    const sealed = runs.slice(0, sealedRuns);
    for (const { segment, columns: own } of sealed)
      assert(
        segment?.kind === 'sealed' && own !== undefined,
        'open segments lie behind sealed ones',
      );
    const ownIds = isPiece(rowIds) ? rowIds.slice() : rowIds;
    const copied: (Vector | undefined)[] = columns.map(() => undefined);
    const others = columns.flatMap((column, index) => (isReadLater(column) ? [] : [index]));
    if (others.length > 0) {
      const batch = fetchLocated(
        ownIds,
        others.map((index) => columns[index]!),
        { runs, places },
      );
      for (const [at, index] of others.entries()) copied[index] = keptColumn(batch.columns[at]!);
    }
    let open: readonly Vector[] | undefined;
    if (firstOpen >= 0) {
      const behind = runs.slice(firstOpen).map((run) => ({ ...run, start: run.start - count }));
      open = fetchLocated(ownIds.subarray(count), columns, {
        runs: behind,
        places: places.subarray(count),
      }).columns.map(keptColumn);
    }
    // Places are a piece of a slab, or of an array that others have.
    const located = { runs: sealed, places: places.slice(0, count) };
    return new StandingRows({ rowIds: ownIds, columns, located, copied, open });
  }

  /** As if all of them were copied: more than they are while their segments stand. */
  get byteLength(): number {
    return 96 + this.rowCount * 8 + this.#columns.length * (160 + this.rowCount * 8);
  }

  pin(): void {
    for (const { segment } of this.#located.runs) (segment as SealedSegment).pin();
  }

  unpin(): void {
    for (const { segment } of this.#located.runs) (segment as SealedSegment).unpin();
  }

  /** One cell, without a look at the others; NaN for NULL, and for what is no double. Rows are best asked for in ascending order. */
  numberAt(index: number, row: number): number {
    const { runs, places } = this.#located;
    const made = this.madeColumn(index) ?? this.#copied[index];
    if (made !== undefined) return cellNumber(made, row);
    if (row >= places.length) return cellNumber(this.#open![index]!, row - places.length);
    let at = row < runs[this.#runAsked]!.start ? 0 : this.#runAsked;
    while (at + 1 < runs.length && runs[at + 1]!.start <= row) at += 1;
    this.#runAsked = at;
    const vector = runs[at]!.columns![this.#columns[index]!.id]?.vector;
    return vector === undefined ? NaN : cellNumber(vector, places[row]!);
  }

  protected makeColumn(index: number): Vector {
    const copied = this.#copied[index];
    if (copied !== undefined) return copied;
    const { places } = this.#located;
    const rowIds = this.#rowIds.subarray(0, places.length);
    const standing = fetchLocated(rowIds, [this.#columns[index]!], this.#located);
    if (this.#open === undefined) return keptColumn(standing.columns[0]!);
    const open = { rowCount: this.rowCount - places.length, columns: [this.#open[index]!] };
    return keptColumn(concatBatches([standing, open]).columns[0]!);
  }

  protected makeRowIds(): Float64Array {
    return this.#rowIds;
  }
}

function isReadLater({ type }: StoredColumn): boolean {
  return isNumberKind(type.kind) || type.kind === 'numeric';
}
