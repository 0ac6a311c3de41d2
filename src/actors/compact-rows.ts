import type { Batch } from '../columns/batch.ts';
import { concatBatches, datumAt, sliceBatch, vectorFromData } from '../columns/build.ts';
import type { InsertedRows } from '../columns/inserted-rows.ts';
import type { TableWrite } from '../columns/table-contract.ts';
import type { SqlType } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import { entryAt, numberAt } from '../columns/cells.ts';
import type { NumberVector, Vector } from '../columns/vector.ts';
import { COPIED_ROWS_MAX } from '../columns/version-log.ts';
import type { KeptRows, KeptWrite } from './commit-turn.ts';
import type { CommitRecord, Operation } from './records.ts';

/** Writes of more rows than this are kept as they are, unless all that they hold are doubles. */
export const COMPACT_ROWS_MAX = 8;
/** Then as many as this are kept compactly: larger inserts share what the history holds of them. */
const COMPACT_DOUBLES_MAX = COPIED_ROWS_MAX;

/**
 * A few rows as one array of data, where vectors would be two objects a column. The memory journal keeps a hundred thousand records of
 * one row: what it keeps is what the collector moves.
 */
export class CompactRows implements Batch {
  readonly rowCount: number;
  readonly types: readonly SqlType[];
  /** Row after row. */
  readonly data: readonly Datum[];

  constructor(rowCount: number, types: readonly SqlType[], data: readonly Datum[]) {
    this.rowCount = rowCount;
    this.types = types;
    this.data = data;
  }

  static of(batch: Batch, types = new TypeLists()): CompactRows {
    const { columns, rowCount, selection } = batch;
    // Of its length from the start: one that grows is given room for seventeen.
    // eslint-disable-next-line unicorn/no-new-array -- The argument is the length.
    const data = new Array<Datum>(rowCount * columns.length);
    let next = 0;
    for (let row = 0; row < rowCount; row += 1) {
      const at = selection === undefined ? row : selection[row]!;
      for (let column = 0; column < columns.length; column += 1) {
        data[next] = datumAt(columns[column]!, at);
        next += 1;
      }
    }
    return new CompactRows(rowCount, types.of(columns), data);
  }

  /** The same of rows that hold nothing but doubles, which their array then holds as such; undefined of others. */
  static ofDoubles(batch: Batch, types: TypeLists): CompactRows | undefined {
    const { columns, rowCount, selection } = batch;
    if (rowCount > COMPACT_DOUBLES_MAX || !columns.every(isDoubles)) return undefined;
    const width = columns.length;
    // Filled with what is no integer, it has room for doubles from the start.
    // eslint-disable-next-line unicorn/no-new-array -- The argument is the length.
    const data = new Array<number>(rowCount * width).fill(0.5);
    for (let column = 0; column < width; column += 1) {
      const { values, factor, base } = columns[column] as NumberVector;
      for (let row = 0; row < rowCount; row += 1) {
        const at = selection === undefined ? row : selection[row]!;
        data[row * width + column] = numberAt(entryAt(values, at), factor, base);
      }
    }
    return new CompactRows(rowCount, types.of(columns), data);
  }

  get columns(): readonly Vector[] {
    const width = this.types.length;
    return this.types.map((type, column) =>
      vectorFromData(
        type,
        Array.from({ length: this.rowCount }, (_, row) => this.data[row * width + column]!),
      ),
    );
  }

  /** The same rows as vectors, for who reads them more than once. */
  get expanded(): Batch {
    return { rowCount: this.rowCount, columns: this.columns };
  }

  /** By formula: the object, its array, and a datum, or a double, an entry. */
  get heapBytes(): number {
    const entryBytes = this.rowCount > COMPACT_ROWS_MAX ? 8 : 16;
    return 96 + this.data.length * entryBytes + this.types.length * 8;
  }
}

/**
 * A commit that does nothing but insert a few rows into one table, which most small ones are, as one object: its operations are made when
 * somebody reads it. Written out it would be eight.
 */
export class InsertRecord extends CompactRows implements CommitRecord {
  readonly relation: number;

  constructor(relation: number, { rowCount, types, data }: CompactRows) {
    super(rowCount, types, data);
    this.relation = relation;
  }

  get kind(): 'commit' {
    return 'commit';
  }

  get operations(): readonly Operation[] {
    return [{ op: 'rows', relation: this.relation, writes: [{ kind: 'insert', rows: this }] }];
  }
}

/** The types of columns as lists that many records share: those of the tables that were written last. */
export class TypeLists {
  readonly #lists: (readonly SqlType[])[] = [];
  #oldest = 0;

  of(columns: readonly Vector[]): readonly SqlType[] {
    for (let index = 0; index < this.#lists.length; index += 1) {
      const list = this.#lists[index]!;
      let same = list.length === columns.length;
      for (let column = 0; same && column < list.length; column += 1)
        same = list[column] === columns[column]!.type;
      if (same) return list;
    }
    const types = columns.map(({ type }) => type);
    this.#lists[this.#oldest] = types;
    this.#oldest = (this.#oldest + 1) % TYPE_LISTS_MAX;
    return types;
  }
}

/** Looking through more would cost what it saves. */
const TYPE_LISTS_MAX = 8;

/**
 * The rows of a large write, of which its table's history holds all but a few itself: until they are sealed its arrays, from then on nothing
 * but where they lie.
 */
export class SharedRows implements Batch {
  readonly rowCount: number;
  /** Of the arrays: what would have to be kept if the table let go of its rows. */
  readonly heapBytes: number;
  readonly #kept: readonly InsertedRows[];
  /** Those at the end that the table has copied elsewhere. */
  readonly #rest: CompactRows | undefined;

  constructor(rows: Batch, kept: KeptWrite, keptCount: number) {
    this.rowCount = rows.rowCount;
    this.#kept = kept.rows;
    this.#rest =
      keptCount < rows.rowCount
        ? CompactRows.of(sliceBatch(rows, keptCount, rows.rowCount))
        : undefined;
    this.heapBytes = kept.heapBytes;
  }

  /** All rows with arrays of their own, made anew at each call. */
  get columns(): readonly Vector[] {
    return concatBatches(this.pieces).columns;
  }

  /** The same in the pieces in which the table has taken them: nothing is copied to bring them together. */
  get pieces(): readonly Batch[] {
    const pieces: Batch[] = this.#kept.map(({ batch: { rowCount, columns } }) => ({
      rowCount,
      columns,
    }));
    if (this.#rest !== undefined) pieces.push(this.#rest.expanded);
    return pieces;
  }
}

/**
 * The same record with small writes made compact, and large ones sharing what the tables hold of their rows; the very same one where there
 * are none.
 */
export function compacted(
  record: CommitRecord,
  kept: KeptRows | undefined,
  types: TypeLists,
): CommitRecord {
  if (kept === undefined && !record.operations.some(isSmall)) return record;
  const [operation, next] = record.operations;
  if (operation?.op === 'rows' && next === undefined && operation.writes.length === 1) {
    const [write] = operation.writes;
    const rows = write?.kind === 'insert' ? compactRows(write.rows, types) : undefined;
    if (rows !== undefined) return new InsertRecord(operation.relation, rows);
  }
  return {
    ...record,
    operations: record.operations.map((operation) =>
      operation.op === 'rows' && (kept !== undefined || isSmall(operation))
        ? {
            ...operation,
            writes: operation.writes.map((write) => compactedWrite(write, kept?.get(write), types)),
          }
        : operation,
    ),
  };
}

/**
 * What `compacted` made, with plain batches: for who reads their columns again and again. An insert that the table took in pieces is
 * several inserts.
 */
export function expanded(record: CommitRecord): CommitRecord {
  const isPlain = !record.operations.some(
    (operation) => operation.op === 'rows' && operation.writes.some(isKeptCompactly),
  );
  if (isPlain) return record;
  return {
    kind: record.kind,
    operations: record.operations.map((operation) =>
      operation.op === 'rows'
        ? { ...operation, writes: operation.writes.flatMap(expandedWrites) }
        : operation,
    ),
  };
}

function compactedWrite(
  write: TableWrite,
  kept: KeptWrite | undefined,
  types: TypeLists,
): TableWrite {
  if (write.kind !== 'insert' && write.kind !== 'update') return write;
  const { rows } = write;
  const compact = compactRows(rows, types);
  if (compact !== undefined) return { ...write, rows: compact };
  if (kept === undefined || write.kind === 'update') return write;
  const keptCount = kept.rows.reduce((sum, { rowCount }) => sum + rowCount, 0);
  return rows.rowCount - keptCount <= COPIED_ROWS_MAX
    ? { ...write, rows: new SharedRows(rows, kept, keptCount) }
    : write;
}

function compactRows(rows: Batch, types: TypeLists): CompactRows | undefined {
  return rows.rowCount <= COMPACT_ROWS_MAX
    ? CompactRows.of(rows, types)
    : CompactRows.ofDoubles(rows, types);
}

/** Large writes in pieces: as they were staged, they are staged again. */
function expandedWrites(write: TableWrite): TableWrite | readonly TableWrite[] {
  if (!isKeptCompactly(write)) return write;
  const { rows } = write;
  if (rows instanceof SharedRows && write.kind === 'insert')
    return rows.pieces.map((piece) => ({ kind: 'insert', rows: piece }));
  return { ...write, rows: { rowCount: rows.rowCount, columns: rows.columns } };
}

function isKeptCompactly(
  write: TableWrite,
): write is Extract<TableWrite, { readonly rows: Batch }> {
  return (
    (write.kind === 'insert' || write.kind === 'update') &&
    (write.rows instanceof SharedRows || write.rows instanceof CompactRows)
  );
}

function isSmall(operation: Operation): boolean {
  return (
    operation.op === 'rows' &&
    operation.writes.some(
      (write) =>
        (write.kind === 'insert' || write.kind === 'update') &&
        write.rows.rowCount <= COMPACT_DOUBLES_MAX,
    )
  );
}

/** Present doubles, each the datum itself. */
function isDoubles({ rep, type, validity }: Vector): boolean {
  return rep === 'number' && type.kind !== 'numeric' && validity === undefined;
}
