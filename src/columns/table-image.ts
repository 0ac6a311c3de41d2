import { assert } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import type { Batch } from './batch.ts';
import { constantVector, sliceBatch } from './build.ts';
import { checksumOfColumn, checksumOfSegment, drained } from './checksum.ts';
import { Deletes } from './deletes.ts';
import { Dictionary } from './dictionary.ts';
import { sampleNotesOf, type EncodedColumn, type SealedColumn } from './encode.ts';
import { OpenSegment } from './open-segment.ts';
import { plainColumn, revivedColumn, type PlainColumn } from './plain-column.ts';
import { SealedSegment, SEGMENT_ROWS, type SegmentState } from './segment.ts';
import { SegmentStore } from './segment-store.ts';
import type { Snapshot } from './snapshot.ts';
import { StoredColumn } from './stored-column.ts';
import type { RestoredRows } from './table.ts';
import type { TableSchema } from './table-contract.ts';
import type { Datum } from './values.ts';
import type { NumberBounds } from './vector.ts';

/**
 * A table as plain data for bytes: what there is to know of it (PlainTable), its sealed segments, each by itself since it never changes
 * again, and the rows that are not sealed. Indexes are not kept: they follow from the rows.
 */
export type PlainTable = {
  /** Of the newest commit that changed it. */
  readonly position: number;
  readonly nextRowId: number;
  readonly rowCount: number;
  readonly nextColumnId: number;
  /** In the order of the schema. */
  readonly columns: readonly {
    readonly id: number;
    readonly missing: Datum;
    readonly codedRowCount: number;
    readonly sketch?: Uint8Array | undefined;
  }[];
  /** Number of the first segment. */
  readonly first: number;
  /** null: no row of the segment is left. */
  readonly segments: readonly (PlainState | null)[];
};

export type PlainState =
  /** `deletes`: places of rows that are dead. */
  | { readonly kind: 'sealed'; readonly deletes?: Uint16Array | undefined }
  /** `rowCount`: living rows and dead ones. */
  | { readonly kind: 'open'; readonly firstOrdinal: number; readonly rowCount: number };

export type PlainSegment = {
  readonly number: number;
  readonly rowCount: number;
  readonly firstOrdinal: number;
  readonly generation: number;
  readonly slotOf: Uint16Array;
  readonly ordinals?: Uint16Array | undefined;
  /** true: the rows arrived in the order of time. */
  readonly timeOrder?: Uint16Array | true | undefined;
  /** The id of the column that it is of. */
  readonly timeColumn?: number | undefined;
  readonly columns: readonly {
    readonly id: number;
    readonly column: PlainColumn;
    readonly nullCount: number;
    readonly min?: Datum | undefined;
    readonly max?: Datum | undefined;
    readonly bounds?: NumberBounds | undefined;
    readonly byteLength: number;
    /** Its texts have a dictionary of their own. */
    readonly own: boolean;
  }[];
};

/** Rows a batch of those that are not sealed holds. */
const ROWS_A_BATCH = 2048;

/** The published rows of a table at one moment, whatever is written meanwhile; hold it no longer than needed. */
export class TableReading {
  readonly table: PlainTable;
  readonly #snapshot: Snapshot;

  constructor(
    snapshot: Snapshot,
    facts: { readonly position: number; readonly nextColumnId: number },
  ) {
    this.#snapshot = snapshot;
    const { view } = snapshot;
    this.table = {
      ...facts,
      nextRowId: view.rowIdEnd,
      rowCount: view.rowCount,
      columns: view.columns.map(({ id, missing, codedRowCount, sketch }) => ({
        id,
        missing,
        codedRowCount,
        sketch: sketch?.registers.slice(),
      })),
      first: view.list.first,
      segments: view.list.states.map((state) => this.#plainState(state)),
    };
  }

  /** By the index of `table.segments`. */
  sealed(index: number): SealedSegment {
    const segment = this.#snapshot.view.list.states[index]?.segment;
    assert(segment?.kind === 'sealed', 'a segment that is asked for is sealed');
    return segment;
  }

  /** Living rows of an unsealed segment, in the order of their ids, which the batches have. */
  *rows(index: number): Generator<Batch, void, undefined> {
    const { view } = this.#snapshot;
    const segment = view.list.states[index]!.segment;
    const state = this.table.segments[index];
    assert(state?.kind === 'open', 'rows are asked for of a segment that is not sealed');
    const first = segment.firstRowId + state.firstOrdinal;
    const columnIndexes = view.columns.map((_, at) => at);
    for (let done = 0; done < state.rowCount; done += ROWS_A_BATCH) {
      const count = Math.min(ROWS_A_BATCH, state.rowCount - done);
      const ids = Float64Array.from({ length: count }, (_, row) => first + done + row);
      const batch = this.#snapshot.fetch(ids, columnIndexes);
      if (batch.rowCount > 0) yield batch;
    }
  }

  release(): void {
    this.#snapshot.release();
  }

  #plainState(state: SegmentState | undefined): PlainState | null {
    if (state === undefined) return null;
    const { segment, deletes } = state;
    if (segment.kind === 'open') {
      const end = Math.min(this.#snapshot.view.rowIdEnd, segment.firstRowId + SEGMENT_ROWS);
      const rowCount = Math.max(0, end - segment.firstRowId - segment.firstOrdinal);
      return { kind: 'open', firstOrdinal: segment.firstOrdinal, rowCount };
    }
    if (deletes === undefined || deletes.count === 0) return { kind: 'sealed' };
    const places = new Uint16Array(deletes.count);
    let count = 0;
    for (let place = 0; place < segment.rowCount; place += 1) {
      if (!deletes.has(place)) continue;
      places[count] = place;
      count += 1;
    }
    return { kind: 'sealed', deletes: places };
  }
}

/** A sealed segment as plain data, a column at a time: yields in between. */
export function* plainSegment(segment: SealedSegment): Generator<void, PlainSegment> {
  const columns: PlainSegment['columns'][number][] = [];
  for (const [id, sealed] of segment.columns.entries()) {
    if (sealed === undefined) continue;
    const { vector, zone, byteLength, ownDictionary } = sealed;
    columns.push({
      id,
      column: plainColumn(vector, segment.rowCount, 'always'),
      nullCount: zone.nullCount,
      min: zone.min,
      max: zone.max,
      bounds: vector.rep === 'number' ? vector.bounds : undefined,
      byteLength,
      own: ownDictionary !== undefined,
    });
    yield;
  }
  const { number, rowCount, firstOrdinal, generation, slotOf, ordinals } = segment;
  const { timeOrder, timeColumn } = segment;
  return {
    number,
    rowCount,
    firstOrdinal,
    generation,
    slotOf,
    ordinals,
    timeOrder: timeOrder === slotOf ? true : timeOrder,
    timeColumn,
    columns,
  };
}

/** Makes a table's rows of plain data, segment by segment in their order. */
export class TableRestore {
  readonly #schema: TableSchema;
  readonly #plain: PlainTable;
  readonly #memory: MemoryAccount;
  readonly #lease: MemoryLease;
  readonly #columns: readonly StoredColumn[];
  readonly #store: SegmentStore;
  readonly #states: (SegmentState | undefined)[] = [];

  constructor(schema: TableSchema, memory: MemoryAccount, plain: PlainTable) {
    this.#schema = schema;
    this.#plain = plain;
    this.#memory = memory;
    this.#lease = new MemoryLease(memory);
    this.#lease.limits = false;
    this.#store = new SegmentStore(this.#lease);
    assert(plain.columns.length === schema.columns.length, 'what is restored has the columns');
    this.#columns = plain.columns.map((kept, index) => {
      const { type } = schema.columns[index]!;
      const column = new StoredColumn(kept.id, type, kept.missing, memory, this.#lease);
      column.limits = false;
      column.restore(kept);
      return column;
    });
  }

  /** The next segment has no rows any more. */
  addNothing(): void {
    this.#states.push(undefined);
  }

  /** The next segment is sealed; the arrays are taken over. */
  addSealed(plain: PlainSegment): SealedSegment {
    const state = this.#plain.segments[this.#states.length];
    assert(state?.kind === 'sealed', 'the next segment is sealed');
    const columns: (SealedColumn | undefined)[] = [];
    let byteLength = plain.slotOf.byteLength + (plain.ordinals?.byteLength ?? 0);
    if (plain.timeOrder instanceof Uint16Array) byteLength += plain.timeOrder.byteLength;
    for (const kept of plain.columns) {
      const stored = this.#columns.find(({ id }) => id === kept.id);
      // The column was dropped since.
      if (stored === undefined) continue;
      while (columns.length <= kept.id) columns.push(undefined);
      const ownDictionary = kept.own ? this.#dictionary() : undefined;
      const revived = revivedColumn(kept.column, ownDictionary ?? stored.dictionary);
      const vector =
        revived.rep === 'number' && kept.bounds !== undefined
          ? { ...revived, bounds: kept.bounds }
          : revived;
      const column: EncodedColumn = {
        vector,
        zone: {
          rowCount: plain.rowCount,
          nullCount: kept.nullCount,
          min: kept.min,
          max: kept.max,
        },
        byteLength: kept.byteLength,
        ownDictionary,
        ...drained(sampleNotesOf(vector, kept.own)),
      };
      columns[kept.id] = { ...column, checksum: drained(checksumOfColumn(column)) };
      byteLength += kept.byteLength;
    }
    const rows = {
      ...plain,
      ordinals: plain.ordinals,
      timeOrder: plain.timeOrder === true ? plain.slotOf : plain.timeOrder,
    };
    const checksum = checksumOfSegment(rows);
    const segment = new SealedSegment({ ...rows, columns, byteLength, checksum });
    this.#lease.take(byteLength);
    this.#states.push({ segment, deletes: deletesOf(state.deletes) });
    return segment;
  }

  /** The next segment is not sealed: its living rows, in the order of their ids. */
  addOpen(rows: Iterable<Batch>): void {
    const index = this.#states.length;
    const state = this.#plain.segments[index];
    assert(state?.kind === 'open', 'the next segment is not sealed');
    const number = this.#plain.first + index;
    const segment = new OpenSegment(number, state.firstOrdinal, this.#lease);
    const first = segment.firstRowId + state.firstOrdinal;
    const dead: number[] = [];
    const skipTo = (rowId: number): void => {
      // Rows that are dead take their places, without values.
      while (first + segment.rowCount < rowId) {
        const count = Math.min(ROWS_A_BATCH, rowId - first - segment.rowCount);
        for (let row = 0; row < count; row += 1) dead.push(segment.rowCount + row);
        const columns = this.#columns.map(({ type }) => constantVector(type, null, count));
        segment.append(this.#columns, { rowCount: count, columns }, 0, count);
      }
    };
    for (const batch of rows) {
      const rowIds = batch.rowIds!;
      for (let start = 0; start < batch.rowCount;) {
        let end = start + 1;
        while (end < batch.rowCount && rowIds[end] === rowIds[end - 1]! + 1) end += 1;
        skipTo(rowIds[start]!);
        segment.append(this.#columns, sliceBatch(batch, start, end), 0, end - start);
        start = end;
      }
    }
    skipTo(first + state.rowCount);
    this.#states.push({ segment, deletes: deletesOf(Uint16Array.from(dead)) });
  }

  /** All segments are there. */
  finish(historyFrom: number): RestoredRows {
    assert(this.#states.length === this.#plain.segments.length, 'all segments are restored');
    const { first, nextRowId, rowCount, nextColumnId, position } = this.#plain;
    this.#store.takeOver({ first, states: this.#states }, nextRowId, rowCount);
    return {
      lease: this.#lease,
      columns: this.#columns,
      nextColumnId,
      store: this.#store,
      position,
      historyFrom,
    };
  }

  get schema(): TableSchema {
    return this.#schema;
  }

  /** It is given up: gives the memory back. */
  close(): void {
    for (const state of this.#states)
      if (state?.segment.kind === 'sealed') state.segment.closeDictionaries();
    for (const column of this.#columns) column.close();
    this.#lease.close();
  }

  #dictionary(): Dictionary {
    const dictionary = new Dictionary(this.#memory);
    dictionary.limits = false;
    return dictionary;
  }
}

/** Belongs to no operation: whoever changes it makes a version of his own. */
function deletesOf(places: Uint16Array | undefined): Deletes | undefined {
  if (places === undefined || places.length === 0) return undefined;
  const deletes = new Deletes(-1);
  for (const place of places) deletes.add(place);
  return deletes;
}
