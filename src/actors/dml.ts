import { DbError, InvariantError } from '../base/errors.ts';
import { isAscending } from '../base/search.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from '../columns/batch.ts';
import { BatchBuilder, concatBatches, datumAt, denseBatch, gatherBatch } from '../columns/build.ts';
import { canonicalText } from '../columns/compare.ts';
import type { TableSnapshot, TableWrite } from '../columns/table-contract.ts';
import type { Datum } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';
import { compileExpression } from '../expressions/compile.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { buildOperator } from '../operators/build.ts';
import { Budget, type Operator } from '../operators/operator.ts';
import type { BoundDelete, BoundInsert, BoundUpdate } from '../plan/bind.ts';
import type { ParsedStatement } from '../sql/ast.ts';
import { isStored, type TableEntry } from './catalog.ts';
import type { Engine } from './engine.ts';
import { assertChecks, rowShapeOf, withGenerated } from './row-shape.ts';
import { BatchCollector } from './batch-collector.ts';
import { assertNotAborted } from './deadline.ts';
import {
  emptyOutcome,
  type ExecutionOptions,
  type RowSink,
  type Session,
  type StatementOutcome,
} from './session.ts';
import { BoundTo, boundOf, executePlan, parametersOf } from './statements.ts';
import { writePieces, type RowsToWrite } from './write-rows.ts';

type BoundDml = BoundInsert | BoundUpdate | BoundDelete;

/**
 * INSERT, UPDATE, DELETE. The source plan runs in steps outside the commit turn; inside it the statement is tested against what was
 * committed meanwhile: if something it read has changed, it runs again (a statement never reports 40001), and after a few times it
 * runs inside the turn, where nothing can come between.
 */
export async function runDml(
  session: Session,
  parsed: ParsedStatement,
  options: ExecutionOptions,
  sink: RowSink,
): Promise<StatementOutcome> {
  const bound = boundOf(session, parsed);
  if (bound.kind === 'query') throw new DbError('XX000', 'a query is no change of rows');
  const { engine } = session;
  const entry = session.storedEntry(bound.relation);
  if (entry.kind !== 'table')
    throw new DbError('42809', `cannot change materialized view "${entry.definition.name}"`, {
      table: entry.definition.name,
      hint: 'Change the tables it reads; it follows by itself.',
    });
  const parameters = parametersOf(session, bound, options);
  const context = session.evaluationContext(parameters, options);
  const started = engine.ports.clock.monotonicMs();
  let work = 0;

  if (!readsRows(bound)) {
    // VALUES: nothing that is read can change.
    const batches = await valuesOf(session, bound, context, options.signal);
    // A conflict is looked for among all rows of the statement.
    const isWhole = bound.kind !== 'insert' || bound.onConflict !== undefined || batches.length < 2;
    const pieces = isWhole ? [batches.length === 0 ? undefined : concatBatches(batches)] : batches;
    const effects: Effect[] = [];
    const result = await writePieces(
      engine,
      session,
      entry,
      pieces.map((rows, index): RowsToWrite => (snapshot, restsOn) => {
        const done = effectOf(bound, entry, rows, { snapshot: snapshot(), restsOn }, context);
        effects[index] = told(bound, done);
        return done.writes;
      }),
      options.signal,
    );
    return finish(session, bound, entry, allOf(effects), context, result, started, sink);
  }

  const collector = new BatchCollector(engine.memory);
  const to = new BoundTo(session, bound.relations);
  try {
    for (let attempt = 0; ; attempt += 1) {
      const inTurn = attempt >= ATTEMPTS_OUTSIDE;
      if (attempt > 0 || engine.turn.definesUnacknowledged) await to.stands(options.signal);
      // A transaction that reads one position is tested by its read set; all others by what has changed meanwhile.
      const versions =
        session.transaction?.position === undefined ? versionsOf(session, bound) : undefined;
      let pieces: readonly (readonly Batch[])[] = [[]];
      if (!inTurn) {
        const query = {
          kind: 'query',
          plan: bound.plan,
          parameterTypes: bound.parameterTypes,
          relations: bound.relations,
          volatile: bound.volatile,
        } as const;
        const ran = await executePlan(session, query, parameters, parsed.text, options, collector);
        work += ran.work;
        pieces = await piecesOf(engine, bound, entry, collector.batches, options.signal);
      }
      try {
        const effects: Effect[] = [];
        const result = await writePieces(
          engine,
          session,
          entry,
          pieces.map((batches, index): RowsToWrite => (snapshot, restsOn) => {
            // A commit of several pieces has the table when the first one is staged; a transaction comes to each row when it writes it.
            const isLook =
              index === 0 || (session.transaction !== undefined && bound.kind !== 'insert');
            if (isLook && !inTurn && versions !== undefined && changed(session, versions))
              throw CHANGED;
            const rows = inTurn
              ? rowsOf(session, bound, context)
              : batches.length === 0
                ? undefined
                : concatBatches(batches);
            const done = effectOf(bound, entry, rows, { snapshot: snapshot(), restsOn }, context);
            effects[index] = told(bound, done);
            return done.writes;
          }),
          options.signal,
        );
        return finish(
          session,
          bound,
          entry,
          allOf(effects),
          context,
          { position: result.position, work: work + result.work },
          started,
          sink,
        );
      } catch (cause) {
        if (cause !== CHANGED) throw cause;
      }
    }
  } finally {
    collector.release();
  }
}

/** Rows that become changes at once; of more, each so many do, between which others run. */
const PIECE_ROW_COUNT_MIN = 4096;

/**
 * The rows of a statement in pieces, in their order. All in one where they are to be seen together: conflicts of an upsert, and rows that a join
 * brings up several times.
 */
async function piecesOf(
  engine: Engine,
  bound: BoundDml,
  entry: TableEntry,
  batches: readonly Batch[],
  signal: AbortSignal | undefined,
): Promise<readonly (readonly Batch[])[]> {
  const width = entry.definition.columns.length;
  if (bound.kind === 'insert' && bound.onConflict !== undefined) return [batches];
  const pieces: Batch[][] = [];
  let rowCount = PIECE_ROW_COUNT_MIN;
  let lastId = -1;
  for (const batch of batches) {
    if (batch.rowCount === 0) continue;
    if (rowCount >= PIECE_ROW_COUNT_MIN) {
      if (pieces.length > 0) {
        await engine.pause();
        assertNotAborted(signal);
      }
      pieces.push([]);
      rowCount = 0;
    }
    rowCount += batch.rowCount;
    pieces.at(-1)!.push(batch);
    if (bound.kind === 'insert') continue;
    const ids = numbersOf(batch.columns[width]!, batch.rowCount);
    if (ids[0]! <= lastId || !isAscending(ids)) return [batches];
    lastId = ids.at(-1)!;
  }
  return pieces.length === 0 ? [[]] : pieces;
}

/** Times a statement is run outside the turn before it runs inside. */
const ATTEMPTS_OUTSIDE = 3;

/** Says from inside the turn that the statement must run again. Never leaves this file. */
const CHANGED = new DbError('40001', 'rows that the statement has read were changed');

type Effect = {
  readonly writes: readonly TableWrite[];
  readonly count: number;
  /** New rows, or the deleted ones, and what stands behind them in the plan: what RETURNING shows. */
  readonly rows: Batch | undefined;
};

const NO_EFFECT: Effect = { writes: [], count: 0, rows: undefined };

/** What is left to be told of a piece that is written. */
function told({ returning }: BoundDml, { count, rows }: Effect): Effect {
  return { writes: [], count, rows: returning === undefined ? undefined : rows };
}

function allOf(effects: readonly Effect[]): Effect {
  const rows = effects.flatMap((effect) => effect.rows ?? []);
  return {
    writes: [],
    count: effects.reduce((sum, { count }) => sum + count, 0),
    rows: rows.length === 0 ? undefined : concatBatches(rows),
  };
}

function readsRows(bound: BoundDml): boolean {
  return bound.kind !== 'insert' || bound.relations.length > 0;
}

/** Rows changed since: a relation's next row id and row count move with every change; its data may have been replaced. */
export function versionsOf(
  session: Session,
  bound: { readonly relations: readonly number[] },
): Map<number, { readonly data: unknown; readonly version: number }> {
  return new Map(
    bound.relations.map((relation) => {
      const { data } = session.storedEntry(relation);
      return [relation, { data, version: session.engine.housekeeping.versionOf(relation) }];
    }),
  );
}

export function changed(
  session: Session,
  versions: ReadonlyMap<number, { readonly data: unknown; readonly version: number }>,
): boolean {
  for (const [relation, { data, version }] of versions) {
    const entry = session.engine.state.catalog.byId(relation);
    if (
      !isStored(entry) ||
      entry.data !== data ||
      // Readers do not see yet what is on its way, so the statement has not seen it.
      session.engine.isUnpublished(entry) ||
      session.engine.housekeeping.versionOf(relation) !== version
    )
      return true;
  }
  return false;
}

/** The rows of VALUES; others run between two batches. */
async function valuesOf(
  session: Session,
  { plan }: BoundDml,
  context: EvaluationContext,
  signal: AbortSignal | undefined,
): Promise<Batch[]> {
  const { engine } = session;
  const operator = buildOperator(plan, {
    context,
    position: engine.visiblePosition,
    memory: engine.memory,
    snapshotOf: () => {
      throw new InvariantError('VALUES reads no table');
    },
  });
  const budget = new Budget(Infinity);
  const batches: Batch[] = [];
  try {
    while (operator.next(budget) === 'batch') {
      const batch = denseBatch(operator.batch);
      batches.push(batch);
      // A full one: there may be more.
      if (batch.rowCount < BATCH_ROW_COUNT_MAX) continue;
      await engine.pause();
      assertNotAborted(signal);
    }
  } finally {
    operator.close();
  }
  return batches;
}

/** The source plan, run at once, inside the commit turn. */
function rowsOf(session: Session, bound: BoundDml, context: EvaluationContext): Batch | undefined {
  const snapshots = new Map(
    bound.relations.map((relation) => [
      relation,
      session.transaction === undefined
        ? session.storedEntry(relation).data.staged()
        : session.snapshotOf(relation, undefined),
    ]),
  );
  const environment = {
    context,
    // In the commit turn what is staged is read, and what is demoted by it too.
    position: session.transaction === undefined ? Infinity : session.engine.visiblePosition,
    memory: session.engine.memory,
    snapshotOf: (relation: number) => snapshots.get(relation)!,
  };
  const budget = new Budget(Infinity);
  const batches: Batch[] = [];
  let operator: Operator | undefined;
  try {
    session.engine.tiles.assertWhole(bound.plan, environment, false);
    operator = buildOperator(bound.plan, environment);
    while (operator.next(budget) === 'batch') batches.push(denseBatch(operator.batch));
  } finally {
    operator?.close();
    for (const snapshot of snapshots.values()) snapshot.release();
  }
  return batches.length === 0 ? undefined : concatBatches(batches);
}

/** What the table holds, and who is told of rows that stay as they are (`RowsToWrite`). */
type TableNow = {
  readonly snapshot: TableSnapshot;
  readonly restsOn: (rowId: number) => void;
};

function effectOf(
  bound: BoundDml,
  entry: TableEntry,
  rows: Batch | undefined,
  table: TableNow,
  context: EvaluationContext,
): Effect {
  if (rows === undefined || rows.rowCount === 0) return NO_EFFECT;
  const shape = rowShapeOf(entry);
  const width = entry.definition.columns.length;
  switch (bound.kind) {
    case 'insert': {
      const complete = withGenerated(
        shape,
        { rowCount: rows.rowCount, columns: rows.columns },
        context,
      );
      if (bound.onConflict !== undefined)
        return conflictEffect(bound, entry, complete, table, context);
      assertNotNull(entry, complete);
      assertChecks(entry, shape, complete, context);
      return {
        writes: [{ kind: 'insert', rows: complete }],
        count: complete.rowCount,
        rows: complete,
      };
    }
    case 'update': {
      const first = firstOfEach(rows, width);
      const next = withGenerated(
        shape,
        { rowCount: first.rowCount, columns: first.columns.slice(0, width) },
        context,
      );
      assertNotNull(entry, next);
      assertChecks(entry, shape, next, context);
      return {
        writes: [{ kind: 'update', rowIds: first.rowIds, rows: next }],
        count: next.rowCount,
        rows: { ...next, columns: [...next.columns, ...first.columns.slice(width)] },
      };
    }
    case 'delete': {
      const first = firstOfEach(rows, width);
      return {
        writes: [{ kind: 'delete', rowIds: first.rowIds.slice().sort() }],
        count: first.rowCount,
        rows: { rowCount: first.rowCount, columns: first.columns },
      };
    }
  }
}

/** A row that a join brings up several times is changed once, by the first. */
function firstOfEach(
  rows: Batch,
  width: number,
): {
  readonly rowCount: number;
  readonly columns: Batch['columns'];
  readonly rowIds: Float64Array;
} {
  const ids = numbersOf(rows.columns[width]!, rows.rowCount);
  if (isAscending(ids)) return { rowCount: rows.rowCount, columns: rows.columns, rowIds: ids };
  const seen = new Set<number>();
  const kept = new Int32Array(rows.rowCount);
  let count = 0;
  for (let row = 0; row < rows.rowCount; row += 1) {
    const id = ids[row]!;
    if (seen.has(id)) continue;
    seen.add(id);
    kept[count] = row;
    ids[count] = id;
    count += 1;
  }
  const rowIds = ids.subarray(0, count);
  if (count === rows.rowCount) return { rowCount: count, columns: rows.columns, rowIds };
  const selection = kept.subarray(0, count);
  const dense = gatherBatch([{ rowCount: count, columns: rows.columns, selection }]);
  return { rowCount: dense.rowCount, columns: dense.columns, rowIds };
}

function numbersOf(vector: Vector, rowCount: number): Float64Array {
  if (
    vector.rep === 'number' &&
    vector.values instanceof Float64Array &&
    vector.factor === 1 &&
    vector.base === 0 &&
    vector.validity === undefined
  )
    return vector.values.slice(0, rowCount);
  const numbers = new Float64Array(rowCount);
  for (let row = 0; row < rowCount; row += 1) numbers[row] = datumAt(vector, row) as number;
  return numbers;
}

/** 23502 before 23514, as PostgreSQL tests them. */
function assertNotNull(entry: TableEntry, rows: Batch): void {
  for (const [index, column] of entry.definition.columns.entries()) {
    if (column.nullable) continue;
    const vector = rows.columns[index]!;
    if (vector.validity === undefined && vector.rep !== 'object') continue;
    for (let row = 0; row < rows.rowCount; row += 1) {
      if (datumAt(vector, row) !== null) continue;
      throw new DbError(
        '23502',
        `null value in column "${column.name}" of relation "${entry.definition.name}" violates not-null constraint`,
        {
          table: entry.definition.name,
          column: column.name,
          hint: 'Give a value, or a DEFAULT for the column.',
        },
      );
    }
  }
}

// ── ON CONFLICT ────────────────────────────────────────────────────────────────────────────────────────────────

function conflictEffect(
  bound: BoundInsert,
  entry: TableEntry,
  proposed: Batch,
  { snapshot, restsOn }: TableNow,
  context: EvaluationContext,
): Effect {
  const { onConflict } = bound;
  const shape = rowShapeOf(entry);
  // Whatever becomes of a row, as in PostgreSQL: it has to be one of the table's.
  assertNotNull(entry, proposed);
  assertChecks(entry, shape, proposed, context);
  const unique = entry.definition.indexes.filter(
    (index) =>
      index.unique && (onConflict!.index === undefined || index.name === onConflict!.index),
  );
  const taken = unique.map(() => new Set<string>());
  const inserts: number[] = [];
  const conflicts: { readonly row: number; readonly id: number }[] = [];
  for (let row = 0; row < proposed.rowCount; row += 1) {
    let conflict: number | undefined;
    let again = false;
    const keys = unique.map((index) =>
      index.columnIndexes.map((column) => datumAt(proposed.columns[column]!, row)),
    );
    for (const [position, index] of unique.entries()) {
      const key = keys[position]!;
      if (key.includes(null)) continue;
      if (taken[position]!.has(keyOf(entry, index.columnIndexes, key))) again = true;
      conflict ??= snapshot.lookup(index.name, key)[0];
    }
    if (again) {
      if (onConflict!.update === undefined) continue;
      throw secondTime(entry);
    }
    if (conflict === undefined) {
      inserts.push(row);
      // A row that is left out keeps no other from its place.
      for (const [position, key] of keys.entries())
        if (!key.includes(null))
          taken[position]!.add(keyOf(entry, unique[position]!.columnIndexes, key));
    } else if (onConflict!.update !== undefined) conflicts.push({ row, id: conflict });
    else restsOn(conflict);
  }
  const writes: TableWrite[] = [];
  const shown: Batch[] = [];
  if (conflicts.length > 0) {
    const change = onConflict!.update!;
    const columnIndexes = entry.definition.columns.map((_, index) => index);
    const old = denseBatch(
      snapshot.fetch(
        Float64Array.from(conflicts, ({ id }) => id),
        columnIndexes,
      ),
    );
    const excluded = pick(
      proposed,
      conflicts.map(({ row }) => row),
    );
    const both: Batch = {
      rowCount: conflicts.length,
      columns: [...old.columns, ...excluded.columns],
    };
    const where =
      change.where === undefined
        ? undefined
        : compileExpression(change.where).evaluate(both, context);
    const changed = new Set<number>();
    const passing = conflicts.flatMap(({ id }, index) => {
      // One that WHERE has left as it was may come again.
      if (changed.has(id)) throw secondTime(entry);
      if (where !== undefined && datumAt(where, index) !== true) {
        restsOn(id);
        return [];
      }
      changed.add(id);
      return [index];
    });
    if (passing.length > 0) {
      const chosen = pick(both, passing);
      const next = withGenerated(
        shape,
        {
          rowCount: chosen.rowCount,
          columns: change.expressions.map((expression) =>
            compileExpression(expression).evaluate(chosen, context),
          ),
        },
        context,
      );
      assertNotNull(entry, next);
      assertChecks(entry, shape, next, context);
      writes.push({
        kind: 'update',
        rowIds: Float64Array.from(passing, (index) => conflicts[index]!.id),
        rows: next,
      });
      shown.push(next);
    }
  }
  if (inserts.length > 0) {
    const rows = pick(proposed, inserts);
    writes.push({ kind: 'insert', rows });
    shown.push(rows);
  }
  const rows = shown.length === 0 ? undefined : concatBatches(shown);
  return { writes, count: rows?.rowCount ?? 0, rows };
}

function secondTime(entry: TableEntry): DbError {
  return new DbError('21000', 'ON CONFLICT DO UPDATE command cannot affect row a second time', {
    table: entry.definition.name,
    hint: 'Ensure that no rows proposed for insertion within the same command have duplicate constrained values.',
  });
}

function pick(batch: Batch, rows: readonly number[]): Batch {
  if (rows.length === batch.rowCount) return batch;
  return gatherBatch([
    { rowCount: rows.length, columns: batch.columns, selection: Int32Array.from(rows) },
  ]);
}

function keyOf(entry: TableEntry, columnIndexes: readonly number[], key: readonly Datum[]): string {
  return key
    .map((datum, at) =>
      canonicalText(datum, entry.definition.columns[columnIndexes[at]!]!.type.kind),
    )
    .join('');
}

// ── What is told ───────────────────────────────────────────────────────────────────────────────────────────────

function finish(
  session: Session,
  bound: BoundDml,
  entry: TableEntry,
  effect: Effect,
  context: EvaluationContext,
  { position, work }: { readonly position: number; readonly work: number },
  started: number,
  sink: RowSink,
): StatementOutcome {
  const { engine } = session;
  const { returning } = bound;
  const columns = returning?.columns ?? [];
  if (returning !== undefined) {
    sink.begin(columns, () => undefined);
    if (effect.rows !== undefined && effect.rows.rowCount > 0) {
      const { rows } = effect;
      const vectors = returning.expressions.map((expression) =>
        compileExpression(expression).evaluate(rows, context),
      );
      const all: Batch = { rowCount: rows.rowCount, columns: vectors };
      const builder = new BatchBuilder(columns.map(({ type }) => type));
      for (let start = 0; start < all.rowCount;) {
        start += builder.append(all, start);
        const batch = builder.take();
        if (batch !== undefined) sink.take(batch);
      }
    }
  }
  const outcome: StatementOutcome = {
    ...emptyOutcome(engine, bound.kind.toUpperCase()),
    columns,
    rowCount: effect.count,
    position,
    source: 'scan',
    sources: [{ kind: 'table', name: entry.definition.name }],
    queryId: engine.newId(),
    work,
    elapsedMs: engine.ports.clock.monotonicMs() - started,
  };
  return outcome;
}
