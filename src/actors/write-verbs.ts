import { DbError } from '../base/errors.ts';
import type { Batch } from '../columns/batch.ts';
import { denseBatch, gatherBatch, hashRows } from '../columns/build.ts';
import { equalCells, isNullAt } from '../columns/cells.ts';
import type { TableSnapshot, TableWrite } from '../columns/table-contract.ts';
import type { Datum } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';
import type { RowsInput, WriteOptions, WriteResult } from './api-types.ts';
import type { TableEntry } from './catalog.ts';
import { canceled, deadline, untilAborted } from './deadline.ts';
import { type Engine } from './engine.ts';
import {
  converterOf,
  type InputBatch,
  type InputColumns,
  type InputContext,
  type InputRow,
  type RowReader,
} from './rows-in.ts';
import { assertChecks, chosen, completeRows, rowShapeOf, withGenerated } from './row-shape.ts';
import type { Session } from './session.ts';
import { afterRedefinition, writeRows } from './write-rows.ts';

/** insert and upsert of rows as users give them; each chunk of an async iterable is a commit of its own. */
export function insertRows(
  engine: Engine,
  session: Session,
  table: string,
  rows: RowsInput,
  mode: 'insert' | 'upsert',
  options: WriteOptions,
): Promise<WriteResult> {
  const { idempotencyKey } = options;
  if (idempotencyKey === undefined) return insertAll(engine, session, table, rows, mode, options);
  return rejecting(() => {
    engine.assertOpen();
    return engine.idempotency.once(`${session.identity.tenant}\0${table}\0${idempotencyKey}`, () =>
      insertAll(engine, session, table, rows, mode, options),
    );
  });
}

/** Without promises of its own on the way of one chunk without a deadline: most commits are of one row. */
function insertAll(
  engine: Engine,
  session: Session,
  table: string,
  rows: RowsInput,
  mode: 'insert' | 'upsert',
  options: WriteOptions,
): Promise<WriteResult> {
  return rejecting(() => {
    engine.assertOpen();
    if (isAsyncIterable(rows)) return insertChunks(engine, session, table, rows, mode, options);
    return withDeadline(engine, options, (signal) =>
      insertChunk(engine, session, table, rows, mode, signal),
    );
  });
}

async function insertChunks(
  engine: Engine,
  session: Session,
  table: string,
  rows: AsyncIterable<readonly InputRow[] | InputRow | InputColumns>,
  mode: 'insert' | 'upsert',
  options: WriteOptions,
): Promise<WriteResult> {
  const { signal, done } = deadline(engine.ports.clock, options);
  try {
    if (signal?.aborted === true) throw canceled(signal);
    let position = engine.visiblePosition;
    let count = 0;
    for await (const chunk of untilAborted(rows, signal)) {
      const result = await insertChunk(engine, session, table, chunk, mode, signal);
      position = result.position;
      count += result.rows;
    }
    return { position, rows: count };
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
    if (signal?.aborted === true) throw canceled(signal);
    return action(signal);
  }).finally(done);
}

function insertChunk(
  engine: Engine,
  session: Session,
  table: string,
  rows: readonly InputRow[] | InputRow | InputColumns,
  mode: 'insert' | 'upsert',
  signal: AbortSignal | undefined,
  attempt = 1,
): Promise<WriteResult> {
  const entry = session.requireTable({ name: table });
  const shape = rowShapeOf(entry);
  const context = session.evaluationContext([], {});
  const given = inputBatch(table, shape.reader, rows, context);
  const { rowCount } = given;
  if (rowCount === 0) return Promise.resolve({ position: engine.visiblePosition, rows: 0 });
  const complete = completeRows(entry, shape, given, context);
  assertChecks(entry, shape, complete, context);
  const result = ({ position }: { readonly position: number }): WriteResult => ({
    position,
    rows: rowCount,
  });
  const again = (cause: unknown): Promise<WriteResult> =>
    afterRedefinition(cause, attempt, (next) =>
      insertChunk(engine, session, table, rows, mode, signal, next),
    );
  if (mode === 'insert') {
    const writes: readonly TableWrite[] = [{ kind: 'insert', rows: complete }];
    return writeRows(engine, session, entry, () => writes, signal).then(result, again);
  }
  const primary = entry.definition.indexes.find((index) => index.primary);
  if (primary === undefined) {
    throw new DbError('42P10', `table "${table}" has no primary key`, {
      table,
      hint: 'Upsert needs one: ALTER TABLE … ADD PRIMARY KEY (…), or use insert.',
    });
  }
  const distinct = lastOfEachKey(complete, primary.columnIndexes);
  const writes = (snapshot: () => TableSnapshot): TableWrite[] => {
    const merged = upsertWrites(entry, primary, given, complete, distinct, snapshot());
    if (merged.updated === undefined) return merged.writes;
    const updated = withGenerated(shape, merged.updated.rows, context);
    if (updated !== complete) assertChecks(entry, shape, updated, context);
    return [{ kind: 'update', rowIds: merged.updated.rowIds, rows: updated }, ...merged.writes];
  };
  return writeRows(engine, session, entry, writes, signal).then(result, again);
}

/** Of the rows with one key the last; undefined where no key comes twice. */
function lastOfEachKey(rows: Batch, columnIndexes: readonly number[]): Int32Array | undefined {
  const { rowCount } = rows;
  if (rowCount === 1) return undefined;
  const keys = columnIndexes.map((index) => rows.columns[index]!);
  const hashes = hashRows(keys, rowCount);
  let slots = 4;
  while (slots < rowCount * 2) slots *= 2;
  /** Row + 1 by hash, with open addressing. */
  const table = new Int32Array(slots);
  const kept: number[] = [];
  for (let row = rowCount - 1; row >= 0; row -= 1) {
    let slot = hashes[row]! & (slots - 1);
    while (table[slot] !== 0 && !sameKey(keys, table[slot]! - 1, row))
      slot = (slot + 1) & (slots - 1);
    if (table[slot] !== 0) continue;
    table[slot] = row + 1;
    kept.push(row);
  }
  return kept.length === rowCount ? undefined : Int32Array.from(kept.reverse());
}

function sameKey(keys: readonly Vector[], a: number, b: number): boolean {
  return keys.every((key) => !isNullAt(key, a) && !isNullAt(key, b) && equalCells(key, a, key, b));
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
  const kept = entry.definition.columns.flatMap((_, index) =>
    given.columns[index] === undefined || given.missing[index] !== undefined ? [index] : [],
  );
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

/** Deletes by primary key: { id: 1 }, { id: [1, 2] }, or for a key of several columns { a: 1, b: 2 }, { a: [1, 1], b: [2, 3] }. */
export function deleteByKey(
  engine: Engine,
  session: Session,
  table: string,
  key: Readonly<Record<string, unknown>>,
  options: WriteOptions,
): Promise<WriteResult> {
  return rejecting(() => {
    engine.assertOpen();
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
  let rows = 0;
  const writes = (snapshot: () => TableSnapshot): TableWrite[] => {
    const ids = distinctIds(snapshot().findUnique(primary.name, keys.columns, keys.rowCount));
    rows = ids.length;
    return rows === 0 ? [] : [{ kind: 'delete', rowIds: ids }];
  };
  return writeRows(engine, session, entry, writes, signal).then(
    ({ position }) => ({ position, rows }),
    (cause: unknown) =>
      afterRedefinition(cause, attempt, (next) =>
        deleteKeys(engine, session, table, key, signal, next),
      ),
  );
}

/** Ascending, each once, without the −1 of keys that are not there. */
function distinctIds(found: Float64Array): Float64Array {
  if (found.length === 1) return found[0]! < 0 ? new Float64Array(0) : found;
  found.sort();
  let count = 0;
  for (let index = 0; index < found.length; index += 1) {
    if (found[index]! < 0 || (count > 0 && found[count - 1] === found[index])) continue;
    found[count] = found[index]!;
    count += 1;
  }
  return found.slice(0, count);
}

function keysOf(
  entry: TableEntry,
  columnIndexes: readonly number[],
  names: readonly string[],
  key: Readonly<Record<string, unknown>>,
  session: Session,
): Batch {
  const table = entry.definition.name;
  const wanted = `{ ${names.map((name) => `${name}: …`).join(', ')} }`;
  if (
    typeof key !== 'object' ||
    key === null ||
    names.some((name) => !Object.hasOwn(key, name)) ||
    Object.keys(key).length !== names.length
  ) {
    throw new DbError('22023', `a delete names the primary key of "${table}" and nothing else`, {
      table,
      hint: `Give ${wanted}; TRUNCATE removes all rows.`,
    });
  }
  const lists = names.map((name) =>
    Array.isArray(key[name]) ? (key[name] as unknown[]) : [key[name]],
  );
  if (lists.some((list) => list.length !== lists[0]!.length)) {
    throw new DbError('22023', 'the parts of the key have lists of different lengths', {
      table,
      hint: `Give ${wanted} with lists of one length.`,
    });
  }
  const context = session.evaluationContext([], {});
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
    return { rep: 'object', type, values, validity: undefined };
  });
  return { rowCount: lists[0]!.length, columns };
}

/** Rows as objects, one object, or columns. Reading them may run a user's getters: what those throw is the user's. */
export function inputBatch(
  table: string,
  reader: RowReader,
  rows: readonly InputRow[] | InputRow | InputColumns,
  context: InputContext,
): InputBatch {
  if (typeof rows !== 'object' || rows === null) {
    throw new DbError('22023', 'rows are neither objects nor columns', {
      table,
      hint: 'Give an array of objects, or an object of arrays.',
    });
  }
  try {
    if (Array.isArray(rows)) return reader.objects(table, rows as readonly InputRow[], context);
    return isColumns(rows, reader)
      ? reader.vectors(table, rows as InputColumns, context)
      : reader.objects(table, [rows as InputRow], context);
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
    if (Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView)))
      continue;
    if (!('values' in value && 'valid' in value)) return false;
  }
  return (
    !values.every((value) => value instanceof Uint8Array) || !reader.areBytes(Object.keys(rows))
  );
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
