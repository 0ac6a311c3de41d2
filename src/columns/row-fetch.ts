import { assert } from '../base/errors.ts';
import { slabInts } from '../base/slab.ts';
import { kernelsOf } from './array-kernels.ts';
import type { Batch } from './batch.ts';
import { entryAt, numberAt } from './cells.ts';
import { constantVector, gather, gatherOne } from './build.ts';
import { CHUNK_ROWS } from './chunk-pool.ts';
import type { RowOverlay } from './row-overlay.ts';
import {
  SEGMENT_ROWS,
  stateOf,
  type SealedSegment,
  type Segment,
  type SegmentList,
} from './segment.ts';
import type { StoredColumn } from './stored-column.ts';
import type { Vector } from './vector.ts';
import { VectorBuilder } from './vector-builder.ts';
import type { LogEntry } from './version-log.ts';

/** Where one version of a row is: in a segment at `place`, or at index `place` of what a log entry deleted. */
export type RowPlace =
  | { readonly entry: undefined; readonly segment: Segment; readonly place: number }
  | { readonly entry: LogEntry; readonly segment: undefined; readonly place: number };

/** Rows by id, in the given order; those that `locate` does not find are left out. The batch has row ids. */
export function fetchRows(
  rowIds: Float64Array,
  columns: readonly StoredColumn[],
  locate: (rowId: number) => RowPlace | undefined,
): Batch {
  if (rowIds.length === 1) {
    const place = locate(rowIds[0]!);
    if (place !== undefined) return fetchRow(rowIds[0]!, columns, place);
  }
  const found = new Float64Array(rowIds.length);
  const places = new Int32Array(rowIds.length);
  const runs: Run[] = [];
  let count = 0;
  for (let index = 0; index < rowIds.length; index += 1) {
    const rowId = rowIds[index]!;
    const place = locate(rowId);
    if (place === undefined) continue;
    // Rows of an open segment lie in chunks: each is a source of its own.
    const isOpen = place.segment?.kind === 'open';
    const chunk = isOpen ? Math.floor(place.place / CHUNK_ROWS) : 0;
    const last = runs[runs.length - 1];
    if (
      last === undefined ||
      last.segment !== place.segment ||
      last.entry !== place.entry ||
      last.chunk !== chunk
    ) {
      runs.push({
        segment: place.segment,
        entry: place.entry,
        chunk,
        start: count,
        columns: undefined,
      });
    }
    found[count] = rowId;
    places[count] = isOpen ? place.place - chunk * CHUNK_ROWS : place.place;
    count += 1;
  }
  return fetchLocated(found.subarray(0, count), columns, { runs, places });
}

/** Where rows are: those of one segment (of one chunk of an open one) behind one another are a run. */
export type LocatedRows = {
  readonly runs: readonly Run[];
  /** Places in the run's segment or chunk. */
  readonly places: Int32Array;
};

/**
 * Where living rows of the newest state are. Few runs where the ids ascend. Loops over the rows of a segment do one thing each, so that reads of
 * memory far apart are waited for together.
 */
export function locateRows(rowIds: Float64Array, list: SegmentList): LocatedRows {
  const count = rowIds.length;
  const places = slabInts(count);
  const runs: Run[] = [];
  for (let start = 0, end = 0; start < count; start = end) {
    const state = stateOf(list, rowIds[start]!);
    assert(state !== undefined, 'a row that is changed lives');
    const { segment, deletes } = state;
    end = endOfSegment(rowIds, start, segment.firstRowId);
    const areThere = segment.placesOf(rowIds, start, end, places);
    assert(
      areThere && deletes?.leaveLiving(places, start, end) !== false,
      'a row that is changed lives',
    );
    addRuns(runs, segment, places, start, end);
  }
  return { runs, places };
}

/** The first row behind `start` that is not of the segment whose row ids begin with `first`. */
function endOfSegment(rowIds: Float64Array, start: number, first: number): number {
  let end = start + 1;
  while (end < rowIds.length && rowIds[end]! >= first && rowIds[end]! < first + SEGMENT_ROWS)
    end += 1;
  return end;
}

/** The runs of rows of one segment; of an open one the places become those in their chunks. */
function addRuns(
  runs: Run[],
  segment: Segment,
  places: Int32Array,
  start: number,
  end: number,
): void {
  if (segment.kind === 'sealed') {
    if (end > start)
      runs.push({ segment, entry: undefined, chunk: 0, start, columns: segment.columns });
    return;
  }
  let last = -1;
  for (let row = start; row < end; row += 1) {
    const place = places[row]!;
    const chunk = Math.floor(place / CHUNK_ROWS);
    if (chunk !== last)
      runs.push({ segment, entry: undefined, chunk, start: row, columns: undefined });
    last = chunk;
    places[row] = place - chunk * CHUNK_ROWS;
  }
}

/** The visible ones of the rows with ids in [from, to), which are of one segment; those in the overlay as they are there. */
export function fetchRange(
  from: number,
  to: number,
  columns: readonly StoredColumn[],
  list: SegmentList,
  overlay: RowOverlay | undefined,
): Batch {
  const state = stateOf(list, from);
  const segment = state?.segment;
  const rowIds = new Float64Array(Math.max(0, to - from));
  const places = new Int32Array(rowIds.length).fill(-1);
  for (let row = 0; row < rowIds.length; row += 1) rowIds[row] = from + row;
  segment?.placesOf(rowIds, 0, rowIds.length, places);
  state?.deletes?.leaveLiving(places, 0, rowIds.length);
  const runs: Run[] = [];
  let last: Run | undefined;
  let count = 0;
  for (let row = 0; row < rowIds.length; row += 1) {
    const old = overlay === undefined ? -1 : overlay.placeOf(from + row);
    const entry = old < 0 ? undefined : overlay!.entryAt(old);
    const place = entry === undefined ? places[row]! : entry.deletedIndex(overlay!.rowAt(old));
    if (place < 0) continue;
    // Rows of an open segment lie in chunks: each is a source of its own.
    const chunk =
      entry === undefined && segment!.kind === 'open' ? Math.floor(place / CHUNK_ROWS) : 0;
    if (last === undefined || last.entry !== entry || last.chunk !== chunk) {
      last = {
        segment: entry === undefined ? segment : undefined,
        entry,
        chunk,
        start: count,
        columns: undefined,
      };
      runs.push(last);
    }
    rowIds[count] = from + row;
    places[count] = place - chunk * CHUNK_ROWS;
    count += 1;
  }
  return fetchLocated(rowIds.subarray(0, count), columns, { runs, places });
}

/** Rows of which it is known where they are, column by column. */
export function fetchLocated(
  rowIds: Float64Array,
  columns: readonly StoredColumn[],
  { runs, places }: LocatedRows,
): Batch {
  const rowCount = rowIds.length;
  const vectors: Vector[] = [];
  for (const column of columns) vectors.push(fetchColumn(column, runs, places, rowCount));
  return { rowCount, columns: vectors, rowIds };
}

/** Rows whose numbers are read into one array first: runs of a few rows are not worth a call each. */
const GATHERED_ROWS_MAX = 512;
/** Scratch of `appendLocated`. */
const gathered = new Float64Array(GATHERED_ROWS_MAX);

/** Cells of one column of located rows, in order. */
export function appendLocated(
  builder: VectorBuilder,
  column: StoredColumn,
  { runs, places }: LocatedRows,
): void {
  const count = places.length;
  if (runs.length > 1 && count <= GATHERED_ROWS_MAX && builder.rep === 'number') {
    const numbers = fetchNumbers(column, runs, places, count, gathered);
    if (numbers !== undefined) {
      builder.append(numbers, undefined, 0, count);
      return;
    }
  }
  for (let index = 0; index < runs.length; index += 1) {
    const { segment, chunk, start } = runs[index]!;
    const end = index + 1 < runs.length ? runs[index + 1]!.start : places.length;
    const vector =
      segment!.kind === 'open'
        ? segment!.chunkVector(column, chunk)
        : segment!.columns[column.id]?.vector;
    if (vector !== undefined) builder.append(vector, places, start, end - start);
    else if (segment!.kind === 'sealed') builder.appendConstant(column.missing, end - start);
    // Raw bytes of an open segment have no vector: a copy of each cell, not of all of them.
    else
      for (let row = start; row < end; row += 1)
        builder.append(
          segment!.cellVector(column, chunk * CHUNK_ROWS + places[row]!),
          undefined,
          0,
          1,
        );
  }
}

/** One row, the size of most commits: without lists of places. */
function fetchRow(rowId: number, columns: readonly StoredColumn[], place: RowPlace): Batch {
  const { segment, entry } = place;
  const run: Run = { segment, entry, chunk: 0, start: 0, columns: undefined };
  const vectors: Vector[] = [];
  for (const column of columns) {
    if (segment?.kind === 'open') {
      const index = segment.cellIndex(column, place.place);
      vectors.push(gatherOne(segment.cellVector(column, place.place), index));
      continue;
    }
    const vector = vectorOf(column, run);
    vectors.push(
      vector === undefined
        ? constantVector(column.type, column.missing, 1)
        : gatherOne(vector, place.place),
    );
  }
  return { rowCount: 1, columns: vectors, rowIds: Float64Array.of(rowId) };
}

export type Run = {
  readonly segment: Segment | undefined;
  readonly entry: LogEntry | undefined;
  readonly chunk: number;
  readonly start: number;
  /** The columns of a sealed segment as they were, for who reads them later. */
  readonly columns: SealedSegment['columns'] | undefined;
};

function fetchColumn(
  column: StoredColumn,
  runs: readonly Run[],
  places: Int32Array,
  count: number,
): Vector {
  if (runs.length === 1) {
    const vector = vectorOf(column, runs[0]!);
    return vector === undefined
      ? constantVector(column.type, column.missing, count)
      : gather(vector, places, count);
  }
  const numbers = fetchNumbers(column, runs, places, count);
  if (numbers !== undefined) return numbers;
  const builder = new VectorBuilder(column.type, { capacityMax: count });
  for (let index = 0; index < runs.length; index += 1) {
    const run = runs[index]!;
    const end = runs[index + 1]?.start ?? count;
    const vector = vectorOf(column, run);
    if (vector === undefined) {
      builder.appendConstant(column.missing, end - run.start);
      continue;
    }
    if (builder.length === 0) builder.prepare(vector, places, run.start, end - run.start, count);
    builder.append(vector, places, run.start, end - run.start);
  }
  return builder.finish();
}

/** Runs of fewer rows are read row by row. */
const KERNEL_ROWS_MIN = 8;

/** The same for a column that is numbers of one scale in every run; undefined where it is not. `into`: where the values go. */
function fetchNumbers(
  column: StoredColumn,
  runs: readonly Run[],
  places: Int32Array,
  count: number,
  into?: Float64Array,
): Vector | undefined {
  let values: Float64Array | undefined;
  let validity: Uint8Array | undefined;
  let scale = 0;
  for (let index = 0; index < runs.length; index += 1) {
    const run = runs[index]!;
    const vector = vectorOf(column, run);
    if (vector === undefined || vector.rep !== 'number') return undefined;
    if (values === undefined) {
      values = into ?? new Float64Array(count);
      scale = vector.scale;
    } else if (vector.scale !== scale) return undefined;
    const { start } = run;
    const end = index + 1 < runs.length ? runs[index + 1]!.start : count;
    const { values: from, validity: present, factor, base } = vector;
    if (end - start < KERNEL_ROWS_MIN)
      for (let row = start; row < end; row += 1)
        values[row] = numberAt(entryAt(from, places[row]!), factor, base);
    else
      kernelsOf(from).decodeSelected(from, places, start, end - start, factor, base, values, start);
    if (present === undefined) continue;
    for (let row = start; row < end; row += 1) {
      if (present[places[row]!] === 1) continue;
      validity ??= new Uint8Array(count).fill(1);
      validity[row] = 0;
      values[row] = 0;
    }
  }
  if (values === undefined) return undefined;
  return { rep: 'number', type: column.type, values, validity, factor: 1, base: 0, scale };
}

/** Undefined: the source is older than the column, and all of it shows the default. */
function vectorOf(column: StoredColumn, run: Run): Vector | undefined {
  if (run.entry !== undefined) {
    const position = run.entry.columns.indexOf(column);
    return position < 0 ? undefined : run.entry.deletedVector(position);
  }
  const segment = run.segment!;
  return segment.kind === 'open'
    ? segment.view(column, run.chunk * CHUNK_ROWS).vector
    : (run.columns ?? segment.columns)[column.id]?.vector;
}
