import { DbError } from '../base/errors.ts';
import type { Batch } from '../columns/batch.ts';
import { datumAt, gatherBatch } from '../columns/build.ts';
import { canonicalText } from '../columns/compare.ts';
import type { TableSnapshot, TableWrite } from '../columns/table-contract.ts';
import type { Datum } from '../columns/values.ts';
import type { RowsInput, WriteOptions, WriteResult } from './api-types.ts';
import type { TableEntry } from './catalog.ts';
import { deadline } from './deadline.ts';
import { canceled, type Engine } from './engine.ts';
import {
  batchOfColumns,
  batchOfObjects,
  converterOf,
  type InputBatch,
  type InputColumns,
  type InputContext,
  type InputRow,
} from './rows-in.ts';
import { assertChecks, chosen, completeRows, rowShapeOf, withGenerated } from './row-shape.ts';
import type { Session } from './session.ts';
import { writeRows } from './write-rows.ts';

/** insert and upsert of rows as users give them; each chunk of an async iterable is a commit of its own. */
export async function insertRows(
  engine: Engine,
  session: Session,
  table: string,
  rows: RowsInput,
  mode: 'insert' | 'upsert',
  options: WriteOptions,
): Promise<WriteResult> {
  engine.assertOpen();
  const { idempotencyKey } = options;
  if (idempotencyKey === undefined) return insertAll(engine, session, table, rows, mode, options);
  return engine.idempotency.once(`${session.identity.tenant}\0${table}\0${idempotencyKey}`, () =>
    insertAll(engine, session, table, rows, mode, options),
  );
}

async function insertAll(
  engine: Engine,
  session: Session,
  table: string,
  rows: RowsInput,
  mode: 'insert' | 'upsert',
  options: WriteOptions,
): Promise<WriteResult> {
  const { signal, done } = deadline(engine.ports.clock, options);
  try {
    if (signal?.aborted === true) throw canceled(signal);
    if (!isAsyncIterable(rows))
      return await insertChunk(engine, session, table, rows, mode, signal);
    let position = engine.visiblePosition;
    let count = 0;
    for await (const chunk of rows) {
      const result = await insertChunk(engine, session, table, chunk, mode, signal);
      position = result.position;
      count += result.rows;
    }
    return { position, rows: count };
  } finally {
    done();
  }
}

async function insertChunk(
  engine: Engine,
  session: Session,
  table: string,
  rows: readonly InputRow[] | InputRow | InputColumns,
  mode: 'insert' | 'upsert',
  signal: AbortSignal | undefined,
): Promise<WriteResult> {
  const entry = session.requireTable({ name: table });
  const shape = rowShapeOf(entry);
  const context = session.evaluationContext([], {});
  const given = inputBatch(table, shape.columns, rows, {
    zone: context.zone,
    nowMicros: context.nowMicros,
  });
  if (given.rowCount === 0) return { position: engine.visiblePosition, rows: 0 };
  const complete = completeRows(entry, shape, given, context);
  assertChecks(entry, shape, complete, context);
  if (mode === 'insert') {
    const { position } = await writeRows(
      engine,
      session,
      entry,
      () => [{ kind: 'insert', rows: complete }],
      signal,
    );
    return { position, rows: given.rowCount };
  }
  const primary = entry.definition.indexes.find((index) => index.primary);
  if (primary === undefined) {
    throw new DbError('42P10', `table "${table}" has no primary key`, {
      table,
      hint: 'Upsert needs one: ALTER TABLE … ADD PRIMARY KEY (…), or use insert.',
    });
  }
  const writes = (snapshot: TableSnapshot): TableWrite[] => {
    const merged = upsertWrites(entry, primary, given, complete, snapshot);
    if (merged.updated === undefined) return merged.writes;
    const updated = withGenerated(shape, merged.updated.rows, context);
    assertChecks(entry, shape, updated, context);
    return [{ kind: 'update', rowIds: merged.updated.rowIds, rows: updated }, ...merged.writes];
  };
  const { position } = await writeRows(engine, session, entry, writes, signal);
  return { position, rows: given.rowCount };
}

/** Rows whose key is there replace the columns that were given; the others are inserted. Of a key given twice the last row counts. */
function upsertWrites(
  entry: TableEntry,
  primary: { readonly name: string; readonly columnIndexes: readonly number[] },
  given: InputBatch,
  complete: Batch,
  snapshot: TableSnapshot,
): {
  readonly writes: TableWrite[];
  readonly updated: { readonly rowIds: Float64Array; readonly rows: Batch } | undefined;
} {
  const types = primary.columnIndexes.map((index) => entry.definition.columns[index]!.type);
  const lastOfKey = new Map<string, number>();
  const keys: Datum[][] = [];
  for (let row = 0; row < complete.rowCount; row += 1) {
    const key = primary.columnIndexes.map((index) => datumAt(complete.columns[index]!, row));
    keys.push(key);
    lastOfKey.set(
      key.map((datum, position) => canonicalText(datum, types[position]!.kind)).join(''),
      row,
    );
  }
  const updates: number[] = [];
  const ids: number[] = [];
  const inserts: number[] = [];
  for (const row of [...lastOfKey.values()].sort((a, b) => a - b)) {
    const found = keys[row]!.includes(null)
      ? undefined
      : snapshot.lookup(primary.name, keys[row]!)[0];
    if (found === undefined) inserts.push(row);
    else {
      updates.push(row);
      ids.push(found);
    }
  }
  const writes: TableWrite[] = [];
  if (inserts.length > 0) writes.push({ kind: 'insert', rows: rowsAt(complete, inserts) });
  if (updates.length === 0) return { writes, updated: undefined };
  const rowIds = Float64Array.from(ids);
  const kept = entry.definition.columns.flatMap((_, index) =>
    given.columns[index] === undefined || given.missing[index] !== undefined ? [index] : [],
  );
  const old = kept.length === 0 ? undefined : snapshot.fetch(rowIds, kept);
  const fresh = rowsAt(complete, updates);
  const dense = old === undefined ? undefined : gatherBatch([old]);
  const columns = fresh.columns.map((column, index) => {
    const at = kept.indexOf(index);
    if (at < 0 || dense === undefined) return column;
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
export async function deleteByKey(
  engine: Engine,
  session: Session,
  table: string,
  key: Readonly<Record<string, unknown>>,
  options: WriteOptions,
): Promise<WriteResult> {
  engine.assertOpen();
  const { signal, done } = deadline(engine.ports.clock, options);
  try {
    if (signal?.aborted === true) throw canceled(signal);
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
    const writes = (snapshot: TableSnapshot): TableWrite[] => {
      const ids = new Set<number>();
      for (const each of keys) for (const id of snapshot.lookup(primary.name, each)) ids.add(id);
      rows = ids.size;
      return rows === 0
        ? []
        : [{ kind: 'delete', rowIds: Float64Array.from(ids).sort((a, b) => a - b) }];
    };
    const { position } = await writeRows(engine, session, entry, writes, signal);
    return { position, rows };
  } finally {
    done();
  }
}

function keysOf(
  entry: TableEntry,
  columnIndexes: readonly number[],
  names: readonly string[],
  key: Readonly<Record<string, unknown>>,
  session: Session,
): Datum[][] {
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
  const converters = columnIndexes.map((index) =>
    converterOf(entry.definition.columns[index]!.type, {
      zone: context.zone,
      nowMicros: context.nowMicros,
    }),
  );
  return lists[0]!.map((_, row) =>
    lists.map((list, column) => {
      const value = list[row];
      if (value === null) return null;
      try {
        return converters[column]!(value);
      } catch (cause) {
        if (!(cause instanceof DbError)) throw cause;
        throw new DbError(cause.code, cause.message, {
          table,
          column: names[column],
          hint: cause.hint,
        });
      }
    }),
  );
}

/** Rows as objects, one object, or columns. Reading them may run a user's getters: what those throw is the user's. */
export function inputBatch(
  table: string,
  columns: Parameters<typeof batchOfObjects>[1],
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
    if (Array.isArray(rows))
      return batchOfObjects(table, columns, rows as readonly InputRow[], context);
    return isColumns(rows)
      ? batchOfColumns(table, columns, rows as InputColumns, context)
      : batchOfObjects(table, columns, [rows as InputRow], context);
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

/** An object of arrays is columns; an object of values is one row. (A bytea value is a Uint8Array: one row, unless all are arrays.) */
function isColumns(rows: object): boolean {
  const values = Object.values(rows);
  return (
    values.length > 0 &&
    values.every(
      (value) =>
        Array.isArray(value) ||
        (ArrayBuffer.isView(value) && !(value instanceof DataView)) ||
        (typeof value === 'object' && value !== null && 'values' in value && 'valid' in value),
    )
  );
}

function rowsAt(batch: Batch, rows: readonly number[]): Batch {
  if (rows.length === batch.rowCount) return batch;
  return gatherBatch([
    { rowCount: rows.length, columns: batch.columns, selection: Int32Array.from(rows) },
  ]);
}

function isAsyncIterable(
  rows: RowsInput,
): rows is AsyncIterable<readonly InputRow[] | InputRow | InputColumns> {
  return typeof rows === 'object' && rows !== null && Symbol.asyncIterator in rows;
}
