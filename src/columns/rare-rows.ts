import type { Batch } from './batch.ts';
import { BatchBuilder } from './build.ts';
import { datumAt } from './cells.ts';
import type { Deletes } from './deletes.ts';
import type { Dictionary } from './dictionary.ts';
import { gatheredSlots, SegmentScan } from './scan.ts';
import type { SealedSegment } from './segment.ts';
import type { Snapshot } from './snapshot.ts';
import type { StoredColumn } from './stored-column.ts';
import type { RareRows, ZoneTest } from './table-contract.ts';
import type { Datum } from './values.ts';
import type { Vector } from './vector.ts';

/** So many rows are read whole at most, those of the rarest values; and so many values. */
const ROWS_MAX = 131_072;
const VALUES_MAX = 16_384;
/** Values whose rows are counted, at most: beyond, the column is none that rows are grouped by. */
const COUNTED_MAX = 65_536;
/** Segments whose rare values are counted between two looks at the budget. */
const SEGMENTS_A_STEP = 16;

export type RareRowOptions = {
  readonly column: StoredColumn;
  readonly columnIndex: number;
  /** What is read of the rows. */
  readonly columns: readonly StoredColumn[];
  readonly columnIndexes: readonly number[];
  /** The sealed segments that may have such rows, sampled or counted whole; all that `isSampled` is false of are read through. */
  readonly segments: readonly {
    readonly segment: SealedSegment;
    readonly deletes: Deletes | undefined;
  }[];
  readonly isSampled: (segment: number) => boolean;
  readonly prune: readonly ZoneTest[];
  /** These values and no others: all of them, or none where one is not rare. The reader refuses all other rows by its filter. */
  readonly wanted: readonly Datum[] | undefined;
};

/**
 * All rows of the values of a column that are rare in every sealed segment that has them. Values are told apart by a number: texts by their
 * code in the table's dictionary, numbers by themselves.
 */
export class RareRowScan implements RareRows {
  readonly #snapshot: Snapshot;
  readonly #options: RareRowOptions;
  /** Rows of each value in the segments looked at; FREQUENT where one has more than are rare. */
  readonly #counts = new Map<number, number>();
  #isOver = false;
  /** Of the segments' texts. */
  #dictionary: Dictionary | undefined;
  #chosen: ReadonlySet<number> | undefined;
  #segmentAt = 0;
  /** Of the chosen values of the segment in hand: which one, and how many of its rows were read. */
  #valueAt = 0;
  #slotAt = 0;
  #rowsRead = 0;
  readonly #builder: BatchBuilder;
  #others: SegmentScan | undefined;

  constructor(snapshot: Snapshot, options: RareRowOptions) {
    this.#snapshot = snapshot;
    this.#options = options;
    this.#builder = new BatchBuilder(options.columns.map(({ type }) => type));
  }

  get rowsRead(): number {
    return this.#rowsRead + (this.#others?.rowsRead ?? 0);
  }

  prepare(): 'more' | 'some' | 'none' {
    if (this.#isOver) return this.#chosen === undefined ? 'none' : 'some';
    const { segments, column } = this.#options;
    const end = Math.min(segments.length, this.#segmentAt + SEGMENTS_A_STEP);
    for (; this.#segmentAt < end; this.#segmentAt += 1) {
      const { segment } = segments[this.#segmentAt]!;
      const sealed = segment.columns[column.id];
      // Of an older segment, or one that has too many values, nothing is known.
      if (sealed?.rare === undefined || this.#counts.size > COUNTED_MAX)
        return this.#choose(undefined);
      const { frequent, codes, starts } = sealed.rare;
      if (sealed.vector.rep === 'dictionary') {
        this.#dictionary ??= sealed.vector.dictionary;
        // The table is about to leave one dictionary for another: a code does not mean the same everywhere.
        if (this.#dictionary !== sealed.vector.dictionary) return this.#choose(undefined);
      }
      const valueOf = valueOfCode(sealed.vector);
      for (const code of frequent) this.#counts.set(valueOf(code), FREQUENT);
      for (let at = 0; at < codes.length; at += 1) {
        const value = valueOf(codes[at]!);
        this.#counts.set(value, (this.#counts.get(value) ?? 0) + starts[at + 1]! - starts[at]!);
      }
      this.#rowsRead += frequent.length + codes.length;
    }
    if (this.#segmentAt < segments.length) return 'more';
    const { wanted } = this.#options;
    return this.#choose(wanted === undefined ? this.#rarest() : this.#wanted(wanted));
  }

  next(): Batch | undefined {
    const { segments, columns, column } = this.#options;
    const builder = this.#builder;
    while (this.#segmentAt < segments.length) {
      const { segment, deletes } = segments[this.#segmentAt]!;
      const sealed = segment.columns[column.id]!;
      const { codes, starts, slots } = sealed.rare!;
      const valueOf = valueOfCode(sealed.vector);
      const found = new Int32Array(builder.room);
      let count = 0;
      while (this.#valueAt < codes.length && count < found.length) {
        const from = starts[this.#valueAt]! + this.#slotAt;
        if (
          from >= starts[this.#valueAt + 1]! ||
          !this.#chosen!.has(valueOf(codes[this.#valueAt]!))
        ) {
          this.#valueAt += 1;
          this.#slotAt = 0;
          continue;
        }
        this.#slotAt += 1;
        const slot = slots[from]!;
        if (deletes?.has(slot) === true) continue;
        found[count] = slot;
        count += 1;
      }
      if (count > 0) {
        this.#rowsRead += count;
        builder.append({
          rowCount: count,
          columns: columns.map((each) => gatheredSlots(segment, each, found, count)),
        });
      }
      if (this.#valueAt >= codes.length) {
        this.#segmentAt += 1;
        this.#valueAt = 0;
        this.#rowsRead += 1;
      }
      if (builder.isFull) return builder.take();
    }
    return builder.take() ?? this.#nextOfOthers();
  }

  /** Rows that are in no sealed segment, or not in the sample's order: all are looked at. */
  #nextOfOthers(): Batch | undefined {
    const { columnIndexes, columnIndex, isSampled, prune, wanted } = this.#options;
    this.#others ??= new SegmentScan(this.#snapshot, {
      columnIndexes: wanted === undefined ? [...columnIndexes, columnIndex] : columnIndexes,
      ordered: false,
      withRowIds: false,
      prune,
      reads: (segment) => !isSampled(segment),
    });
    for (;;) {
      const batch = this.#others.next();
      // Here values may have no number to be told by: of no dictionary, or padded with blanks.
      if (batch === undefined || wanted !== undefined) return batch;
      const values = batch.columns.at(-1)!;
      const selection = new Int32Array(batch.rowCount);
      let count = 0;
      for (let row = 0; row < batch.rowCount; row += 1) {
        const physical = batch.selection === undefined ? row : batch.selection[row]!;
        if (!this.#isChosen(datumAt(values, physical))) continue;
        selection[count] = physical;
        count += 1;
      }
      if (count > 0)
        return {
          rowCount: count,
          columns: batch.columns.slice(0, -1),
          selection: selection.subarray(0, count),
        };
    }
  }

  #choose(values: readonly number[] | undefined): 'some' | 'none' {
    this.#isOver = true;
    this.#chosen = values === undefined ? undefined : new Set(values);
    this.#segmentAt = 0;
    return values === undefined ? 'none' : 'some';
  }

  /** Of a row that is not in a segment of the sample: values that are in none of them are rare, too. */
  #isChosen(datum: Datum): boolean {
    if (datum === null) return false;
    const value = this.#valueOf(datum);
    return value === undefined || this.#chosen!.has(value) || !this.#counts.has(value);
  }

  /** Undefined: no value is rare. */
  #rarest(): number[] | undefined {
    const rare = [...this.#counts].filter(([, count]) => count < FREQUENT);
    rare.sort(([, a], [, b]) => a - b);
    let rows = 0;
    let end = 0;
    while (end < Math.min(rare.length, VALUES_MAX) && rows + rare[end]![1] <= ROWS_MAX) {
      rows += rare[end]![1];
      end += 1;
    }
    return end === 0 ? undefined : rare.slice(0, end).map(([value]) => value);
  }

  /** Undefined: one of them is not rare, or together they are not. */
  #wanted(wanted: readonly Datum[]): number[] | undefined {
    const values: number[] = [];
    let rows = 0;
    for (const datum of wanted) {
      const value = this.#valueOf(datum);
      // No row of a sealed segment has it.
      if (value === undefined) continue;
      rows += this.#counts.get(value) ?? 0;
      values.push(value);
    }
    return rows <= ROWS_MAX ? values : undefined;
  }

  #valueOf(datum: Datum): number | undefined {
    if (typeof datum === 'number') return datum;
    if (typeof datum !== 'string') return undefined;
    const code = this.#dictionary?.find(datum) ?? -1;
    return code < 0 ? undefined : code;
  }
}

const FREQUENT = Infinity;

/** Codes of the table's dictionary stand for themselves; those of numbers mean what the segment's encoding says. */
function valueOfCode(vector: Vector): (code: number) => number {
  if (vector.rep !== 'number') return (code) => code;
  const { values, factor, base } = vector;
  // Their signs were left aside.
  if (values instanceof Int8Array) return (code) => ((code << 24) >> 24) * factor + base;
  if (values instanceof Int16Array) return (code) => ((code << 16) >> 16) * factor + base;
  return (code) => code * factor + base;
}
