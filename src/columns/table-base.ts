import { keptCopy } from '../base/kept-arrays.ts';
import { assert, DbError } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from './batch.ts';
import { gather, hashRows } from './build.ts';
import {
  checksumOfArray,
  checksumOfCodes,
  checksumOfColumn,
  checksumOfSegment,
  checksumOfVector,
} from './checksum.ts';
import { Deletes } from './deletes.ts';
import { Dictionary } from './dictionary.ts';
import { recodedColumn, type SealedColumn } from './encode.ts';
import {
  SEGMENT_ROWS,
  type SealedSegment,
  type SegmentList,
  type SegmentState,
} from './segment.ts';
import type { SegmentStore } from './segment-store.ts';
import type { Snapshot } from './snapshot.ts';
import { StoredColumn } from './stored-column.ts';
import type { TableSchema } from './table-contract.ts';
import type { SqlType } from './types.ts';
import type { Datum } from './values.ts';
import { sliceVector, type NumberArray, type Vector } from './vector.ts';

/**
 * A table as of a position, to build it anew from when its own state is not to be trusted any more; the journal has what came
 * after. Sealed segments are shared with the table, since nobody changes them, and their checksums tell if somebody did; all
 * else (open rows, deletes) is a copy that the table does not know. Whoever restores verifies every checksum.
 */
export type TableBase = {
  /** Of the table it was taken of: another one's rows have other ids. */
  readonly identity: object;
  readonly position: number;
  readonly schema: TableSchema;
  readonly columns: readonly BaseColumn[];
  readonly nextColumnId: number;
  readonly rowCount: number;
  readonly nextRowId: number;
  /** Number of `segments[0]`. */
  readonly first: number;
  /** Undefined: no row of the segment is left, or it is among the open ones. */
  readonly segments: readonly (BaseSegment | undefined)[];
  /** Living rows of segments that are not sealed, in row-id order. */
  readonly pieces: readonly BasePiece[];
  /** What it holds beside the segments. */
  readonly byteLength: number;
};

type BaseColumn = {
  readonly id: number;
  readonly type: SqlType;
  readonly missing: Datum;
  readonly codedRowCount: number;
  /** Of each dictionary that sealed segments name, the texts they may name: this many, and no more, were there. */
  readonly texts: readonly BaseTexts[];
};

type BaseTexts = {
  readonly dictionary: Dictionary;
  readonly size: number;
  readonly checksum: number;
};

type BaseSegment = {
  readonly segment: SealedSegment;
  /** What the copy was made of, and how often that had changed: whether it is still good. Never read. */
  readonly deletesOf: Deletes | undefined;
  readonly deletesChanges: number;
  readonly deletes: Int32Array | undefined;
  readonly deletesChecksum: number;
};

type BasePiece = {
  /** Row ids [chunk × 2,048, (chunk + 1) × 2,048). */
  readonly chunk: number;
  /** Row ids up to here were given when it was taken. */
  readonly rowIdEnd: number;
  readonly rowIds: Float64Array;
  readonly columns: readonly Vector[];
  readonly checksum: number;
  readonly byteLength: number;
};

export const BASE_CHUNK_ROWS = BATCH_ROW_COUNT_MAX;

/** Rows copied cost about what sealing them does. */
const UNITS_PER_VALUE = 2;

/**
 * Takes a base in steps, yielding values handled. What has not changed since `before` is taken over from it: `isChanged` says
 * whether rows of a chunk were overwritten or deleted since. `snapshot` is published state, and stays open meanwhile.
 */
export function* takeBase(
  source: {
    readonly identity: object;
    readonly snapshot: Snapshot;
    readonly position: number;
    readonly nextColumnId: number;
  },
  before: TableBase | undefined,
  isChanged: (chunk: number) => boolean,
): Generator<number, TableBase> {
  const previous = before?.identity === source.identity ? before : undefined;
  const { schema, columns, list, rowIdEnd, rowCount } = source.snapshot.view;
  // Copies of other columns are of no use.
  const isSameShape =
    previous !== undefined &&
    previous.columns.length === columns.length &&
    columns.every(({ id }, index) => previous.columns[index]!.id === id);
  const alike = isSameShape ? previous : undefined;
  let byteLength = 1024;

  const baseColumns: BaseColumn[] = [];
  for (const [index, column] of columns.entries()) {
    const { id, type, missing, codedRowCount } = column;
    const texts: BaseTexts[] = [];
    for (const dictionary of sealedDictionaries(list, id)) {
      const { size } = dictionary;
      const known = alike?.columns[index]!.texts.find((each) => each.dictionary === dictionary);
      const from = known ?? { size: 0, checksum: 0 };
      const checksum = yield* checksumOfCodes(dictionary, from.size, size, from.checksum);
      texts.push({ dictionary, size, checksum });
    }
    baseColumns.push({ id, type, missing, codedRowCount, texts });
  }

  const segments: (BaseSegment | undefined)[] = [];
  const open: number[] = [];
  for (const [index, state] of list.states.entries()) {
    segments.push(undefined);
    if (state === undefined) continue;
    if (state.segment.kind === 'open') {
      open.push(state.segment.number);
      continue;
    }
    const number = list.first + index;
    const known = previous?.segments[number - previous.first];
    if (
      known?.segment === state.segment &&
      known.deletesOf === state.deletes &&
      known.deletesChanges === (state.deletes?.changes ?? 0)
    )
      segments[index] = known;
    else {
      const deletes = state.deletes?.toBits();
      const deletesChecksum = checksumOfArray(deletes);
      segments[index] = {
        segment: state.segment,
        deletesOf: state.deletes,
        deletesChanges: state.deletes?.changes ?? 0,
        deletes,
        deletesChecksum,
      };
      yield 64;
    }
    byteLength += 96 + (segments[index]!.deletes?.byteLength ?? 0);
  }

  const pieces: BasePiece[] = [];
  const known = new Map(alike?.pieces.map((piece) => [piece.chunk, piece]));
  const all = columns.map((_, index) => index);
  for (const number of open) {
    const firstChunk = (number * SEGMENT_ROWS) / BASE_CHUNK_ROWS;
    for (let chunk = firstChunk; chunk < firstChunk + CHUNKS_A_SEGMENT; chunk += 1) {
      const from = chunk * BASE_CHUNK_ROWS;
      const to = Math.min(from + BASE_CHUNK_ROWS, rowIdEnd);
      if (from >= to) break;
      const kept = known.get(chunk);
      let piece: BasePiece;
      if (kept !== undefined && kept.rowIdEnd === to && !isChanged(chunk)) piece = kept;
      else {
        piece = yield* copiedPiece(chunk, to, source.snapshot.fetchRange(from, to, all));
        yield (to - from) * (columns.length + 1) * UNITS_PER_VALUE;
      }
      if (piece.rowIds.length > 0) pieces.push(piece);
      byteLength += piece.byteLength;
    }
  }
  return {
    identity: source.identity,
    position: source.position,
    schema,
    columns: baseColumns,
    nextColumnId: source.nextColumnId,
    rowCount,
    nextRowId: rowIdEnd,
    first: list.first,
    segments,
    pieces,
    byteLength,
  };
}

/** The table's own, that is: more than one while rows move from one to another. */
function sealedDictionaries({ states }: SegmentList, columnId: number): Set<Dictionary> {
  const dictionaries = new Set<Dictionary>();
  for (const state of states) {
    if (state?.segment.kind !== 'sealed') continue;
    const column = state.segment.columns[columnId];
    if (column?.vector.rep === 'dictionary' && column.ownDictionary === undefined)
      dictionaries.add(column.vector.dictionary);
  }
  return dictionaries;
}

const CHUNKS_A_SEGMENT = SEGMENT_ROWS / BASE_CHUNK_ROWS;

function* copiedPiece(chunk: number, rowIdEnd: number, rows: Batch): Generator<number, BasePiece> {
  assert(rows.selection === undefined, 'rows that are fetched by id have no selection');
  const rowIds = keptCopy(rows.rowIds!, rows.rowCount);
  const columns = rows.columns.map((column) => copied(column, rows.rowCount));
  let byteLength = 128 + rowIds.byteLength;
  for (const column of columns) byteLength += bytesOf(column);
  const checksum = yield* checksumOfPiece(rowIds, columns);
  return { chunk, rowIdEnd, rowIds, columns, checksum, byteLength };
}

function* checksumOfPiece(
  rowIds: Float64Array,
  columns: readonly Vector[],
): Generator<number, number> {
  let sum = checksumOfArray(rowIds);
  for (const column of columns) sum = yield* checksumOfVector(column, sum);
  return sum;
}

/** The first `count` entries in arrays of their own; texts as bytes, since a dictionary is the table's. */
function copied(vector: Vector, count: number): Vector {
  const validity = vector.validity?.slice(0, count);
  switch (vector.rep) {
    case 'number':
    case 'boolean':
      return { ...vector, values: keptCopy<NumberArray>(vector.values, count) as never, validity };
    case 'bigint':
      return { ...vector, values: keptCopy(vector.values, count), validity };
    case 'object':
      return { ...vector, values: vector.values.slice(0, count), validity };
    case 'bytes': {
      const start = vector.offsets[0]!;
      const offsets = vector.offsets.slice(0, count + 1);
      const bytes = vector.bytes.slice(start, offsets[count]!);
      for (let row = 0; row <= count; row += 1) offsets[row] = offsets[row]! - start;
      return { ...vector, offsets, bytes, validity };
    }
    case 'dictionary': {
      const { dictionary, codes, type } = vector;
      const isNull = (row: number): boolean => validity !== undefined && validity[row] === 0;
      const offsets = new Uint32Array(count + 1);
      for (let row = 0; row < count; row += 1)
        offsets[row + 1] = offsets[row]! + (isNull(row) ? 0 : dictionary.byteLength(codes[row]!));
      const bytes = new Uint8Array(offsets[count]!);
      for (let row = 0; row < count; row += 1)
        if (!isNull(row)) bytes.set(dictionary.bytes(codes[row]!), offsets[row]);
      return { rep: 'bytes', type, offsets, bytes, validity };
    }
  }
}

function bytesOf(vector: Vector): number {
  const validity = 96 + (vector.validity?.byteLength ?? 0);
  switch (vector.rep) {
    case 'number':
    case 'boolean':
    case 'bigint':
      return validity + vector.values.byteLength;
    case 'bytes':
      return validity + vector.offsets.byteLength + vector.bytes.byteLength;
    case 'dictionary':
      return validity + vector.codes.byteLength;
    case 'object':
      return validity + vector.values.length * 40;
  }
}

/** What `restoreRows` gives the table that is made anew. */
export type RestoredColumns = {
  readonly columns: readonly StoredColumn[];
  readonly codes: RestoredCodes;
  readonly memory: MemoryAccount;
  readonly lease: MemoryLease;
  readonly store: SegmentStore;
};

/** By the code it had there, the code of a text in its column's dictionary; undefined where all are as they were. */
type RestoredCodes = ReadonlyMap<Dictionary, Int32Array | undefined>;

/** Throws XX001 where a checksum differs: nothing may be made of such a base. */
export function* verifyBase(base: TableBase): Generator<number, void> {
  for (const [index, { texts }] of base.columns.entries()) {
    for (const { dictionary, size, checksum } of texts)
      if (dictionary.size < size || (yield* checksumOfCodes(dictionary, 0, size)) !== checksum)
        throw damaged(`the texts of column "${base.schema.columns[index]!.name}"`);
  }
  for (const part of base.segments) {
    if (part === undefined) continue;
    const { segment, deletes, deletesChecksum } = part;
    let isWhole =
      checksumOfSegment(segment) === segment.checksum &&
      checksumOfArray(deletes) === deletesChecksum;
    for (const column of segment.columns) {
      if (column === undefined) continue;
      isWhole &&= (yield* checksumOfColumn(column)) === column.checksum;
      yield 4096;
    }
    if (!isWhole) throw damaged(`segment ${segment.number}`);
  }
  for (const { rowIds, columns, checksum } of base.pieces) {
    if ((yield* checksumOfPiece(rowIds, columns)) !== checksum)
      throw damaged(`the copy of rows ${rowIds[0]} to ${rowIds.at(-1)}`);
    yield rowIds.length;
  }
}

/** The columns of a verified base, their dictionaries filled with what sealed segments name; and of each dictionary the codes its texts have now. */
export function* restoredColumns(
  base: TableBase,
  memory: MemoryAccount,
  lease: MemoryLease,
): Generator<number, { readonly columns: StoredColumn[]; readonly codes: RestoredCodes }> {
  const columns: StoredColumn[] = [];
  const codes = new Map<Dictionary, Int32Array | undefined>();
  let isDone = false;
  try {
    for (const { id, type, missing, codedRowCount, texts } of base.columns) {
      const column = new StoredColumn(id, type, missing, memory, lease);
      columns.push(column);
      column.limits = false;
      column.codedRowCount = codedRowCount;
      for (const { dictionary, size } of texts)
        codes.set(dictionary, yield* copyTexts(dictionary, size, column.dictionary!));
    }
    isDone = true;
    return { columns, codes };
  } finally {
    if (!isDone) for (const column of columns) column.close();
  }
}

/** Texts of the codes below `size`, and the codes they get; undefined where those are the same, as they are where there were none before. */
function* copyTexts(
  from: Dictionary,
  size: number,
  to: Dictionary,
): Generator<number, Int32Array | undefined> {
  const codes = new Int32Array(size);
  let areSame = true;
  for (let code = 0; code < size; code += 1) {
    const start = from.byteStart(code);
    const end = start + from.byteLength(code);
    const copy = to.addBytes(from.byteChunk(code), start, end);
    codes[code] = copy;
    if (copy !== code) areSame = false;
    if (code % 256 === 255) yield 2048;
  }
  return areSame ? undefined : codes;
}

/** Puts the rows of a verified base into an empty store. */
export function* restoreRows(base: TableBase, into: RestoredColumns): Generator<number, void> {
  const { store, lease, memory, columns, codes } = into;
  const byId: StoredColumn[] = [];
  for (const column of columns) byId[column.id] = column;
  store.beginOperation();
  const states: (SealedState | undefined)[] = [];
  let living = 0;
  let isAdopted = false;
  try {
    for (const part of base.segments) {
      const state = part === undefined ? undefined : yield* renewedState(part, byId, codes, memory);
      states.push(state);
      if (state === undefined) continue;
      living += state.segment.rowCount - (state.deletes?.count ?? 0);
    }
    for (const state of states) lease.take(state?.segment.byteLength ?? 0);
    isAdopted = true;
  } finally {
    if (!isAdopted) for (const state of states) state?.segment.closeDictionaries();
  }
  while (states.length > 0 && states.at(-1) === undefined) states.pop();
  const firstOpen = base.pieces[0]?.rowIds[0] ?? base.nextRowId;
  store.adopt({ first: base.first, states }, firstOpen, living);
  for (const piece of base.pieces) {
    appendPiece(store, columns, piece);
    yield piece.rowIds.length * (columns.length + 1) * UNITS_PER_VALUE;
  }
  const last = base.pieces.at(-1);
  if (last !== undefined) {
    while (store.nextRowId < base.nextRowId) {
      const count = Math.min(BASE_CHUNK_ROWS, base.nextRowId - store.nextRowId);
      appendDead(store, columns, last, count);
      yield count * (columns.length + 1);
    }
  }
  if (store.rowCount !== base.rowCount)
    throw damaged(`the table: it has ${store.rowCount} rows instead of ${base.rowCount}`);
}

type SealedState = SegmentState & { readonly segment: SealedSegment };

function* renewedState(
  part: BaseSegment,
  columns: readonly (StoredColumn | undefined)[],
  codes: RestoredCodes,
  memory: MemoryAccount,
): Generator<number, SealedState> {
  const { segment } = part;
  const renewed: (SealedColumn | undefined)[] = [];
  let isDone = false;
  try {
    for (const [id, sealed] of segment.columns.entries()) {
      const column = columns[id];
      renewed.push(
        sealed === undefined || column === undefined
          ? undefined
          : yield* renewedColumn(sealed, column, codes, memory),
      );
    }
    isDone = true;
  } finally {
    if (!isDone) for (const column of renewed) column?.ownDictionary?.close();
  }
  const deletes = part.deletes === undefined ? undefined : Deletes.ofBits(0, part.deletes);
  return { segment: segment.withColumns(renewed), deletes };
}

function* renewedColumn(
  sealed: SealedColumn,
  column: StoredColumn,
  codes: RestoredCodes,
  memory: MemoryAccount,
): Generator<number, SealedColumn> {
  let { vector, ownDictionary } = sealed;
  if (ownDictionary !== undefined) {
    const own = new Dictionary(memory);
    own.limits = false;
    yield* copyTexts(ownDictionary, ownDictionary.size, own);
    ownDictionary = own;
  }
  if (vector.rep === 'dictionary') {
    const now = ownDictionary === undefined ? codes.get(vector.dictionary) : undefined;
    if (now !== undefined) {
      const encoded = yield* recodedColumn(sealed, column.dictionary!, (code) => now[code]!);
      return { ...encoded, checksum: yield* checksumOfColumn(encoded) };
    }
    vector = { ...vector, dictionary: ownDictionary ?? column.dictionary! };
  } else if (vector.type.kind !== 'boolean' && vector.type.kind !== 'interval')
    yield* sketched(vector, sealed.zone.rowCount, column);
  return { ...sealed, vector, ownDictionary };
}

/** As sealing does: plans go by how many values differ. */
function* sketched(vector: Vector, rowCount: number, column: StoredColumn): Generator<number> {
  const sketch = column.sketchForSealing();
  for (let start = 0; start < rowCount; start += BASE_CHUNK_ROWS) {
    const count = Math.min(BASE_CHUNK_ROWS, rowCount - start);
    const part = sliceVector(vector, start, start + count);
    const hashes = hashRows([part], count);
    for (let row = 0; row < count; row += 1)
      if (part.validity === undefined || part.validity[row] === 1) sketch.add(hashes[row]!);
    yield count;
  }
}

/** Rows of a piece under their row ids; ids between them were given to rows that are dead. */
function appendPiece(
  store: SegmentStore,
  columns: readonly StoredColumn[],
  piece: BasePiece,
): void {
  const { rowIds } = piece;
  const first = store.nextRowId;
  const end = rowIds[rowIds.length - 1]! + 1;
  const selection = new Int32Array(end - first);
  const dead: number[] = [];
  let row = 0;
  for (let rowId = first; rowId < end; rowId += 1) {
    selection[rowId - first] = row;
    if (rowIds[row] === rowId) row += 1;
    else dead.push(rowId);
  }
  appendSelected(store, columns, piece, selection, dead);
}

function appendDead(
  store: SegmentStore,
  columns: readonly StoredColumn[],
  piece: BasePiece,
  count: number,
): void {
  const first = store.nextRowId;
  const dead = Array.from({ length: count }, (_, index) => first + index);
  appendSelected(store, columns, piece, new Int32Array(count), dead);
}

function appendSelected(
  store: SegmentStore,
  columns: readonly StoredColumn[],
  piece: BasePiece,
  selection: Int32Array,
  dead: readonly number[],
): void {
  store.append(columns, {
    rowCount: selection.length,
    columns: piece.columns.map((column) => gather(column, selection, selection.length)),
  });
  for (const rowId of dead) store.remove(rowId);
}

function damaged(what: string): DbError {
  return new DbError('XX001', `${what} is damaged: its checksum differs`, {
    hint: 'The memory of this machine, or a library in this process, has changed what nobody may change.',
  });
}
