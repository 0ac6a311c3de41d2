import { DbError } from '../base/errors.ts';
import { slabInts } from '../base/slab.ts';
import type { Batch } from '../columns/batch.ts';
import { denseBatch, gatherBatch, sliceBatch, vectorFromData } from '../columns/build.ts';
import { equalCells, isNullAt } from '../columns/cells.ts';
import { sortWithOrder } from '../columns/row-order.ts';
import type { TableSnapshot, TableWrite } from '../columns/table-contract.ts';
import { hashesOf } from '../columns/unique-index.ts';
import { batchBytes } from '../columns/version-log.ts';
import type { Datum } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { RowsInput, WriteOptions, WriteResult } from './api-types.ts';
import type { TableEntry } from './catalog.ts';
import { CANCELABLE, checkNames, namesOf } from './check-options.ts';
import { assertNotAborted, deadline, untilAborted } from './deadline.ts';
import { type Engine } from './engine.ts';
import { HeldRows } from './held-rows.ts';
import type { KeyedWrite } from './idempotency.ts';
import type { Operation } from './records.ts';
import {
  converterOf,
  InputTexts,
  type InputBatch,
  type InputColumns,
  type InputContext,
  type InputRow,
  type RowReader,
} from './rows-in.ts';
import {
  assertChecks,
  chosen,
  completeRows,
  rowShapeOf,
  withGenerated,
  type RowShape,
} from './row-shape.ts';
import type { Session } from './session.ts';
import { afterRedefinition, writePieces, writeRows, type RowsToWrite } from './write-rows.ts';

/** insert and upsert of rows as users give them; each chunk of an async iterable is a commit of its own. */
export function insertRows(
  engine: Engine,
  session: Session,
  table: string,
  rows: RowsInput,
  mode: 'insert' | 'upsert',
  options: WriteOptions,
): Promise<WriteResult> {
  return rejecting(() => {
    engine.assertOpen();
    checkWriteOptions(options);
    const { idempotencyKey } = options;
    if (idempotencyKey === undefined)
      return insertAll(engine, session, table, rows, mode, options, undefined);
    const key = keyOf(session, table, idempotencyKey);
    return engine.idempotency.once(
      key,
      (before) => insertAll(engine, session, table, rows, mode, options, { key, before }),
      (done) => done,
    );
  });
}

/** A key as the journal knows it: keys of tables and tenants do not meet. */
export function keyOf(session: Session, table: string, key: string): string {
  return `${session.identity.tenant}\0${table}\0${key}`;
}

/** The key of a write, and how far a write under it came before. */
export type WriteKey = { readonly key: string; readonly before: KeyedWrite | undefined };

/** Without promises of its own on the way of one chunk without a deadline: most commits are of one row. */
function insertAll(
  engine: Engine,
  session: Session,
  table: string,
  rows: RowsInput,
  mode: 'insert' | 'upsert',
  options: WriteOptions,
  key: WriteKey | undefined,
): Promise<WriteResult> {
  engine.assertOpen();
  if (isAsyncIterable(rows)) return insertChunks(engine, session, table, rows, mode, options, key);
  return withDeadline(engine, options, (signal) =>
    insertChunk(engine, session, table, rows, mode, signal, (count) => keyed(key, count, 1, true)),
  );
}

const WRITE_OPTIONS = namesOf<WriteOptions>({ idempotencyKey: true, ...CANCELABLE });

export function checkWriteOptions(options: WriteOptions): void {
  checkNames(options, WRITE_OPTIONS);
  checkKey(options.idempotencyKey);
}

export function checkKey(key: string | undefined): void {
  if (key === undefined || (typeof key === 'string' && key !== '')) return;
  throw new DbError('22023', '"idempotencyKey" is not a text', {
    field: 'idempotencyKey',
    hint: "Give one that names this write, such as 'delivery 17'.",
  });
}

/** What the journal is told of a write with a key, together with its rows. */
function keyed(
  key: WriteKey | undefined,
  rows: number,
  chunks: number,
  done: boolean,
): readonly Operation[] {
  return key === undefined ? NOTHING : [{ op: 'keyedWrite', key: key.key, rows, chunks, done }];
}

const NOTHING: readonly Operation[] = [];

/** Counts the commits of a write with a key, so that one that is cut short can go on where it was. */
export class KeyedChunks {
  readonly #key: WriteKey | undefined;
  readonly #skip: number;
  #chunks = 0;
  rows = 0;

  constructor(key: WriteKey | undefined) {
    this.#key = key;
    this.#skip = key?.before?.chunks ?? 0;
  }

  /** What goes with the next chunk; undefined: it is there already. */
  next(rowCount: number): readonly Operation[] | undefined {
    this.#chunks += 1;
    this.rows += rowCount;
    return this.#chunks <= this.#skip
      ? undefined
      : keyed(this.#key, this.rows, this.#chunks, false);
  }

  /** All of it is written. The position where that is known. */
  async done(engine: Engine, session: Session, at: number): Promise<number> {
    if (this.#key === undefined || this.#chunks === 0) return at;
    const operations = keyed(this.#key, this.rows, this.#chunks, true);
    const { position } = await engine.commit({
      tenant: session.identity.tenant,
      relations: [],
      prepare: () => operations,
    });
    return position;
  }
}

async function insertChunks(
  engine: Engine,
  session: Session,
  table: string,
  rows: AsyncIterable<readonly InputRow[] | InputRow | InputColumns>,
  mode: 'insert' | 'upsert',
  options: WriteOptions,
  key: WriteKey | undefined,
): Promise<WriteResult> {
  const { signal, done } = deadline(engine.ports.clock, options, [engine.closing]);
  try {
    assertNotAborted(signal);
    let position = engine.visiblePosition;
    const chunks = new KeyedChunks(key);
    const texts = new InputTexts();
    for await (const chunk of untilAborted(rows, signal)) {
      const result = await insertChunk(
        engine,
        session,
        table,
        chunk,
        mode,
        signal,
        (count) => chunks.next(count),
        texts,
      );
      position = result.position;
    }
    return { position: await chunks.done(engine, session, position), rows: chunks.rows };
  } finally {
    done();
  }
}

/** What `make` throws comes as a rejection. */
function rejecting<Value>(make: () => Promise<Value>): Promise<Value> {
  try {
    return make();
  } catch (cause) {
    // eslint-disable-next-line prefer-promise-reject-errors -- Whatever was thrown is passed on.
    return Promise.reject(cause);
  }
}

/** Runs an action under the caller's signal and time limit. */
function withDeadline<Value>(
  engine: Engine,
  options: WriteOptions,
  action: (signal: AbortSignal | undefined) => Promise<Value>,
): Promise<Value> {
  if (options.signal === undefined && options.timeoutMs === undefined) return action(undefined);
  const { signal, done } = deadline(engine.ports.clock, options);
  return rejecting(() => {
    assertNotAborted(signal);
    return action(signal);
  }).finally(done);
}

/** Rows that are read at once; more are read in pieces, between which others run, and still are one commit. */
const PIECE_ROW_COUNT_MAX = 2048;
/** So many rows are counted while they wait behind others; of fewer only where many writes wait, since looking at them costs as much as one is worth. */
const HELD_ROW_COUNT_MIN = 64;
/** As many small writes wait uncounted. Who awaits each before he sends the next never meets it. */
const UNCOUNTED_WRITES_MAX = 16;
/** A small write of short values is not counted either: it holds hardly more than its promise. */
const UNCOUNTED_BYTES_MAX = 4096;
/** Values read from typed arrays before others get their turn; one from an object is worth several. */
const VALUES_BETWEEN_PAUSES = 32_768;
const VALUES_OF_OBJECT = 4;

function insertChunk(
  engine: Engine,
  session: Session,
  table: string,
  rows: readonly InputRow[] | InputRow | InputColumns,
  mode: 'insert' | 'upsert',
  signal: AbortSignal | undefined,
  alsoOf: (rowCount: number) => readonly Operation[] | undefined,
  before?: InputTexts,
  attempt = 1,
): Promise<WriteResult> {
  const target = new InsertTarget(session, table, session.requireTable({ name: table }), mode);
  const source = inputSource(table, target.reader, rows, before);
  const { rowCount } = source;
  const also = alsoOf(rowCount);
  if (rowCount === 0 || also === undefined)
    return Promise.resolve({ position: engine.visiblePosition, rows: rowCount });
  const writeAtOnce = (held?: HeldRows): Promise<{ readonly position: number }> => {
    target.held = held;
    const writes = target.writesOf(source, 0, rowCount);
    return writeRows(engine, session, target.entry, writes, signal, also, rowCount);
  };
  const written =
    rowCount > PIECE_ROW_COUNT_MAX
      ? insertPieces(engine, session, target, source, signal, also)
      : rowCount < HELD_ROW_COUNT_MIN
        ? whileFewHeld(engine, writeAtOnce)
        : whileHeld(engine, writeAtOnce);
  return written.then(
    ({ position }) => ({ position, rows: rowCount }),
    (cause: unknown) =>
      afterRedefinition(
        cause,
        attempt,
        (next) => insertChunk(engine, session, table, rows, mode, signal, () => also, before, next),
        signal,
      ),
  );
}

async function insertPieces(
  engine: Engine,
  session: Session,
  target: InsertTarget,
  source: InputSource,
  signal: AbortSignal | undefined,
  also: readonly Operation[],
): Promise<{ readonly position: number }> {
  return whileHeld(engine, async (held) => {
    target.held = held;
    const pieces: RowsToWrite[] = [];
    let values = 0;
    for (let start = 0; start < source.rowCount; start += PIECE_ROW_COUNT_MAX) {
      const end = Math.min(source.rowCount, start + PIECE_ROW_COUNT_MAX);
      pieces.push(target.writesOf(source, start, end));
      values += (end - start) * target.reader.columns.length * source.valuesOfOne;
      if (values < VALUES_BETWEEN_PAUSES) continue;
      values = 0;
      await engine.pause();
      assertNotAborted(signal);
    }
    return writePieces(engine, session, target.entry, pieces, signal, also);
  });
}

const WAITING_HINT =
  'Write fewer rows at once, await a write before you send others, or raise the memory limit.';

/** The same of a write of few rows, which may hold long texts: counted where many wait. */
function whileFewHeld<Value>(
  engine: Engine,
  write: (held: HeldRows | undefined) => Promise<Value>,
): Promise<Value> {
  if (engine.waitingCommitCount < UNCOUNTED_WRITES_MAX) return write(undefined);
  const held = new HeldRows(engine.waitingMemory, WAITING_HINT, UNCOUNTED_BYTES_MAX);
  const ended = (): void => held.release();
  try {
    const written = write(held);
    if (!held.isUncounted) written.then(ended, ended);
    return written;
  } catch (cause) {
    ended();
    throw cause;
  }
}

/**
 * A write that holds many rows until they are written. Of many that come at once only those go on whose rows have room: one alone always does, as it
 * waits for nobody, and what it writes is counted by its table.
 */
export async function whileHeld<Value>(
  engine: Engine,
  write: (held: HeldRows | undefined) => Promise<Value>,
): Promise<Value> {
  const held =
    engine.largeWriteCount === 0 ? undefined : new HeldRows(engine.waitingMemory, WAITING_HINT, 0);
  engine.largeWriteCount += 1;
  try {
    return await write(held);
  } finally {
    engine.largeWriteCount -= 1;
    held?.release();
  }
}

/** The table that rows go to, and what they need on the way. */
export class InsertTarget {
  readonly entry: TableEntry;
  readonly reader: RowReader;
  /** Of `whileHeld`: where the rows that are read are counted. */
  held: HeldRows | undefined;
  readonly #table: string;
  readonly #shape: RowShape;
  readonly #context: EvaluationContext;
  /** The key that upsert goes by; undefined for insert. */
  readonly #primary: PrimaryKey | undefined;

  constructor(session: Session, table: string, entry: TableEntry, mode: 'insert' | 'upsert') {
    this.#table = table;
    this.entry = entry;
    this.#shape = rowShapeOf(entry);
    this.reader = this.#shape.reader;
    this.#context = session.evaluationContext([], {});
    if (mode === 'upsert') this.#primary = primaryKeyOf(table, entry);
  }

  /** Reads rows [start, end) of a source; what is written of them is decided when the table can be looked at. */
  writesOf(source: InputSource, start: number, end: number): RowsToWrite {
    return this.writesOfRows(reading(this.#table, () => source.read(start, end, this.#context)));
  }

  /** The same of rows that have been read. */
  writesOfRows(given: InputBatch): RowsToWrite {
    const entry = this.entry;
    const shape = this.#shape;
    const context = this.#context;
    const primary = this.#primary;
    const complete = completeRows(entry, shape, given, context);
    this.held?.add(batchBytes(complete));
    assertChecks(entry, shape, complete, context);
    if (primary === undefined) {
      const writes = given.rowCount < FEW_ROWS ? insertOfFew(complete) : insertOfMany(complete);
      return () => writes;
    }
    const distinct = lastOfEachKey(complete, primary.columnIndexes);
    return (snapshot) => {
      const merged = upsertWrites(entry, primary, given, complete, distinct, snapshot());
      if (merged.updated === undefined) return merged.writes;
      const updated = withGenerated(shape, merged.updated.rows, context);
      if (updated !== complete) assertChecks(entry, shape, updated, context);
      const { rowIds } = merged.updated;
      // What is generated from columns that the row keeps may be its key.
      const foundBy = shape.hasGenerated ? undefined : primary.name;
      return [{ kind: 'update', rowIds, rows: updated, foundBy }, ...merged.writes];
    };
  }
}

/** Rows that a large write makes at once at least: what is made for fewer has mostly been dropped when garbage is collected next. */
const FEW_ROWS = 64;

/**
 * Apart, since V8 takes down by the place in the code whether what is made there lives long. Large inserts do, and after them what is made for one row
 * would be put among the old objects, and hold what it refers to until these are collected.
 */
function insertOfFew(rows: Batch): readonly TableWrite[] {
  return [{ kind: 'insert', rows }];
}

function insertOfMany(rows: Batch): readonly TableWrite[] {
  return [{ kind: 'insert', rows }];
}

/** The key that upsert goes by. 42P10 where there is none, or no table yet. */
export function primaryKeyOf(table: string, entry: TableEntry | undefined): PrimaryKey {
  const primary = entry?.definition.indexes.find((index) => index.primary);
  if (primary !== undefined) return primary;
  throw new DbError('42P10', `table "${table}" has no primary key`, {
    table,
    hint: 'Upsert needs one: ALTER TABLE … ADD PRIMARY KEY (…), or use insert.',
  });
}

type PrimaryKey = TableEntry['definition']['indexes'][number];

/** Of the rows with one key the last; undefined where no key comes twice. */
function lastOfEachKey(rows: Batch, columnIndexes: readonly number[]): Int32Array | undefined {
  const { rowCount } = rows;
  if (rowCount === 1) return undefined;
  const keys = columnIndexes.map((index) => rows.columns[index]!);
  const hashes = hashesOf(keys, 0, rowCount);
  let slots = 4;
  while (slots < rowCount * 2) slots *= 2;
  /** Row + 1 by hash, with open addressing. */
  const table = slabInts(slots);
  /** Made when the first key comes twice. */
  let kept: number[] | undefined;
  for (let row = rowCount - 1; row >= 0; row -= 1) {
    let slot = hashes[row]! & (slots - 1);
    while (table[slot] !== 0 && !sameKey(keys, table[slot]! - 1, row))
      slot = (slot + 1) & (slots - 1);
    if (table[slot] === 0) {
      table[slot] = row + 1;
      kept?.push(row);
    } else if (kept === undefined) {
      kept = [];
      for (let later = rowCount - 1; later > row; later -= 1) kept.push(later);
    }
  }
  return kept === undefined ? undefined : Int32Array.from(kept.reverse());
}

function sameKey(keys: readonly Vector[], a: number, b: number): boolean {
  for (const key of keys)
    if (isNullAt(key, a) || isNullAt(key, b) || !equalCells(key, a, key, b)) return false;
  return true;
}

/** Rows whose key is there replace the columns that were given; the others are inserted. Of a key given twice the last row counts. */
function upsertWrites(
  entry: TableEntry,
  primary: { readonly name: string; readonly columnIndexes: readonly number[] },
  given: InputBatch,
  complete: Batch,
  distinct: Int32Array | undefined,
  snapshot: TableSnapshot,
): {
  readonly writes: TableWrite[];
  readonly updated: { readonly rowIds: Float64Array; readonly rows: Batch } | undefined;
} {
  const keys = primary.columnIndexes.map((index) => complete.columns[index]!);
  const rowCount = distinct === undefined ? complete.rowCount : distinct.length;
  const ids = snapshot.findUnique(primary.name, keys, rowCount, distinct);
  if (distinct === undefined && keptColumns(entry, given).length === 0 && areFound(ids))
    return { writes: [], updated: { rowIds: ids, rows: complete } };
  const updates: number[] = [];
  const updateIds: number[] = [];
  const inserts: number[] = [];
  for (let index = 0; index < rowCount; index += 1) {
    const row = distinct === undefined ? index : distinct[index]!;
    if (ids[index]! < 0) inserts.push(row);
    else {
      updates.push(row);
      updateIds.push(ids[index]!);
    }
  }
  const writes: TableWrite[] = [];
  if (inserts.length > 0) writes.push({ kind: 'insert', rows: rowsAt(complete, inserts) });
  if (updates.length === 0) return { writes, updated: undefined };
  const rowIds = Float64Array.from(updateIds);
  const kept = keptColumns(entry, given);
  const fresh = rowsAt(complete, updates);
  if (kept.length === 0) return { writes, updated: { rowIds, rows: fresh } };
  const dense = denseBatch(snapshot.fetch(rowIds, kept));
  const columns = fresh.columns.map((column, index) => {
    const at = kept.indexOf(index);
    if (at < 0) return column;
    const missing = given.missing[index];
    return missing === undefined
      ? dense.columns[at]!
      : chosen(
          column,
          dense.columns[at]!,
          Uint8Array.from(updates, (row) => missing[row]!),
        );
  });
  return { writes, updated: { rowIds, rows: { rowCount: updates.length, columns } } };
}

/** Columns of which some given row does not say anything: a row that is there keeps its value. */
function keptColumns(entry: TableEntry, given: InputBatch): readonly number[] {
  const kept: number[] = [];
  for (let index = 0; index < entry.definition.columns.length; index += 1)
    if (given.columns[index] === undefined || given.missing[index] !== undefined) kept.push(index);
  return kept;
}

function areFound(ids: Float64Array): boolean {
  for (let index = 0; index < ids.length; index += 1) if (ids[index]! < 0) return false;
  return true;
}

/**
 * Deletes by primary key: { id: 1 }, { id: [1, 2] }, { id: Int32Array.of(1, 2) }, or for a key of several columns { a: 1, b: 2 },
 * { a: [1, 1], b: [2, 3] }.
 */
export function deleteByKey(
  engine: Engine,
  session: Session,
  table: string,
  key: Readonly<Record<string, unknown>>,
  options: WriteOptions,
): Promise<WriteResult> {
  return rejecting(() => {
    engine.assertOpen();
    checkWriteOptions(options);
    return withDeadline(engine, options, (signal) =>
      deleteKeys(engine, session, table, key, signal),
    );
  });
}

function deleteKeys(
  engine: Engine,
  session: Session,
  table: string,
  key: Readonly<Record<string, unknown>>,
  signal: AbortSignal | undefined,
  attempt = 1,
): Promise<WriteResult> {
  const entry = session.requireTable({ name: table });
  const primary = entry.definition.indexes.find((index) => index.primary);
  if (primary === undefined) {
    throw new DbError('42P10', `table "${table}" has no primary key`, {
      table,
      hint: 'Use DELETE FROM … WHERE … instead.',
    });
  }
  const names = primary.columnIndexes.map((index) => entry.definition.columns[index]!.name);
  const keys = keysOf(entry, primary.columnIndexes, names, key, session);
  if (keys.rowCount === 0) return Promise.resolve({ position: engine.visiblePosition, rows: 0 });
  let rows = 0;
  const pieces: RowsToWrite[] = [];
  for (let start = 0; start < keys.rowCount; start += PIECE_ROW_COUNT_MAX) {
    const count = Math.min(PIECE_ROW_COUNT_MAX, keys.rowCount - start);
    const piece = keys.rowCount === count ? keys : sliceBatch(keys, start, start + count);
    pieces.push((snapshot) => {
      // One that waited for a claim begins anew.
      if (start === 0) rows = 0;
      const found = snapshot().findUnique(primary.name, piece.columns, count);
      const ids = distinctIds(found);
      rows += ids.length;
      return ids.length === 0 ? [] : [{ kind: 'delete', rowIds: ids }];
    });
  }
  return writePieces(engine, session, entry, pieces, signal, [], keys.rowCount).then(
    ({ position }) => ({ position, rows }),
    (cause: unknown) =>
      afterRedefinition(
        cause,
        attempt,
        (next) => deleteKeys(engine, session, table, key, signal, next),
        signal,
      ),
  );
}

/** Ascending, each once, without the −1 of keys that are not there. */
function distinctIds(found: Float64Array): Float64Array {
  if (found.length === 1) return found[0]! < 0 ? new Float64Array(0) : found;
  sortWithOrder(found);
  let count = 0;
  for (let index = 0; index < found.length; index += 1) {
    if (found[index]! < 0 || (count > 0 && found[count - 1] === found[index])) continue;
    found[count] = found[index]!;
    count += 1;
  }
  return count === found.length ? found : found.slice(0, count);
}

function keysOf(
  entry: TableEntry,
  columnIndexes: readonly number[],
  names: readonly string[],
  key: Readonly<Record<string, unknown>>,
  session: Session,
): Batch {
  const table = entry.definition.name;
  const wanted = (): string => `{ ${names.map((name) => `${name}: …`).join(', ')} }`;
  if (
    typeof key !== 'object' ||
    key === null ||
    names.some((name) => !Object.hasOwn(key, name)) ||
    Object.keys(key).length !== names.length
  ) {
    throw new DbError('22023', `a delete names the primary key of "${table}" and nothing else`, {
      table,
      hint: `Give ${wanted()}; TRUNCATE removes all rows.`,
    });
  }
  const context = session.evaluationContext([], {});
  const { reader } = rowShapeOf(entry);
  if (names.some((name) => isNumbers(key[name]) && !reader.areBytes([name]))) {
    const given = reader.given(table, key as InputColumns);
    const { rowCount } = given;
    const { columns } = reader.vectors(
      table,
      given,
      context,
      { start: 0, end: rowCount },
      new InputTexts(),
    );
    return { rowCount, columns: columnIndexes.map((index) => columns[index]!) };
  }
  const lists = names.map((name) =>
    Array.isArray(key[name]) ? (key[name] as unknown[]) : [key[name]],
  );
  if (lists.some((list) => list.length !== lists[0]!.length)) {
    throw new DbError('22023', 'the parts of the key have lists of different lengths', {
      table,
      hint: `Give ${wanted()} with lists of one length.`,
    });
  }
  const columns = columnIndexes.map((index, position): Vector => {
    const { type } = entry.definition.columns[index]!;
    const convert = converterOf(type);
    const values = lists[position]!.map((value): Datum => {
      if (value === null) return null;
      try {
        return convert(value, context);
      } catch (cause) {
        if (!(cause instanceof DbError)) throw cause;
        throw new DbError(cause.code, cause.message, {
          table,
          column: names[position],
          hint: cause.hint,
        });
      }
    });
    // Of many keys a column of numbers is made: it is hashed and compared as a whole.
    return values.length > KEYS_AS_DATA_MAX
      ? vectorFromData(type, values)
      : { rep: 'object', type, values, validity: undefined };
  });
  return { rowCount: lists[0]!.length, columns };
}

const KEYS_AS_DATA_MAX = 8;

/** Rows as users give them, to be read in pieces. */
type InputSource = {
  readonly rowCount: number;
  /** What reading one value costs, by one of a typed array. */
  readonly valuesOfOne: number;
  read(start: number, end: number, context: InputContext): InputBatch;
};

/** Rows as objects, one object, or columns. */
function inputSource(
  table: string,
  reader: RowReader,
  rows: readonly InputRow[] | InputRow | InputColumns,
  before?: InputTexts,
): InputSource {
  if (typeof rows !== 'object' || rows === null) {
    throw new DbError('22023', 'rows are neither objects nor columns', {
      table,
      hint: 'Give an array of objects, or an object of arrays.',
    });
  }
  return reading(table, () => {
    const texts = new InputTexts(before);
    if (!Array.isArray(rows) && isColumns(rows, reader)) {
      const given = reader.given(table, rows as InputColumns);
      return {
        rowCount: given.rowCount,
        valuesOfOne: 1,
        read: (start, end, context) => reader.vectors(table, given, context, { start, end }, texts),
      };
    }
    const objects = Array.isArray(rows) ? (rows as readonly InputRow[]) : [rows as InputRow];
    return {
      rowCount: objects.length,
      valuesOfOne: VALUES_OF_OBJECT,
      read: (start, end, context) =>
        reader.objects(
          table,
          start === 0 && end === objects.length ? objects : objects.slice(start, end),
          context,
          start,
          texts,
        ),
    };
  });
}

/** Reading rows may run a user's getters: what those throw is the user's. */
function reading<Value>(table: string, read: () => Value): Value {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof DbError) throw cause;
    throw new DbError('22023', 'the rows cannot be read', {
      table,
      detail: cause instanceof Error ? cause.message : 'Reading a value has thrown.',
      hint: 'The cause is what reading them has thrown.',
      cause,
    });
  }
}

/** An object of arrays is columns; an object of values is one row. Bytes of a bytea column are a value, not a column. */
function isColumns(rows: object, reader: RowReader): boolean {
  const values = Object.values(rows) as unknown[];
  if (values.length === 0) return false;
  for (const value of values) {
    if (typeof value !== 'object' || value === null) return false;
    if (Array.isArray(value) || isNumbers(value)) continue;
    const isPair = 'values' in value && 'valid' in value;
    if (!isPair && !('codes' in value && 'dictionary' in value)) return false;
  }
  return (
    !values.every((value) => value instanceof Uint8Array) || !reader.areBytes(Object.keys(rows))
  );
}

function isNumbers(value: unknown): boolean {
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}

function rowsAt(batch: Batch, rows: readonly number[]): Batch {
  if (rows.length === batch.rowCount) return batch;
  return gatherBatch([
    { rowCount: rows.length, columns: batch.columns, selection: Int32Array.from(rows) },
  ]);
}

export function isAsyncIterable(
  rows: RowsInput,
): rows is AsyncIterable<readonly InputRow[] | InputRow | InputColumns> {
  return typeof rows === 'object' && rows !== null && Symbol.asyncIterator in rows;
}
