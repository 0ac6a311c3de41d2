import { DbError, notSupported } from '../base/errors.ts';
import { didYouMean } from '../base/nearest.ts';
import type { Batch } from '../columns/batch.ts';
import { concatInSteps, datumAt, denseBatch } from '../columns/build.ts';
import { isNullAt } from '../columns/cells.ts';
import type { TableWrite } from '../columns/table-contract.ts';
import type { Datum } from '../columns/values.ts';
import { coerce } from '../expressions/coercion.ts';
import { compileExpression } from '../expressions/compile.ts';
import { evaluateConstant, isImmutable, isSettledByZone, isVolatile } from '../expressions/fold.ts';
import { bindExpression, bindRowExpression, bindStatement } from '../plan/bind.ts';
import { recordingCatalog, relationDoesNotExist, type RelationInfo } from '../plan/catalog.ts';
import type { OutputColumn } from '../plan/logical.ts';
import type { AlterTableAction, RelationName, SqlExpression, Statement } from '../sql/ast.ts';
import { printQuery } from '../sql/print.ts';
import {
  declaredAs,
  findRelation,
  idOf,
  kindOf,
  newSequenceEntry,
  tableInfo,
  withoutColumnRead,
  wrongKind,
  type CatalogEntry,
  type MaterializedViewEntry,
  type TableEntry,
  type WrittenName,
} from './catalog.ts';
import { BatchCollector } from './batch-collector.ts';
import { newClaimOwner, type ClaimOwner } from './claims.ts';
import { assertNotAborted } from './deadline.ts';
import {
  columnsIn,
  createIndexOperation,
  createSequenceOperation,
  createTableOperations,
  generatedFrom,
  indexOwner,
  isNumbered,
  isTaken,
  namesOf,
  refuseDuplicates,
  tableChange,
  tableNamed,
  tableOfQuery,
  targetName,
  viewOptions,
  withIndexRenamed,
  type DefinitionContext,
  type TableChange,
} from './definition-statements.ts';
import { columnDropped, schemaOf, withPolicy } from './database-state.ts';
import type {
  MaterializedViewDefinition,
  Operation,
  TableDefinition,
  ViewDefinition,
} from './records.ts';
import {
  emptyOutcome,
  type ExecutionOptions,
  type Session,
  type StatementOutcome,
} from './session.ts';
import { dropsOf, readersNow } from './readers-now.ts';
import { executePlan } from './statements.ts';
import { createTable } from '../columns/table.ts';
import { typeName } from '../columns/types.ts';
import { writeRows } from './write-rows.ts';
import type { KeptTiles } from '../windows/kept-tiles.ts';
import { followsClock } from './view-builder.ts';

/** CREATE, ALTER, DROP, TRUNCATE and their like: as a commit of their own, or as part of the open transaction. */
export async function runDefinition(
  session: Session,
  statement: Statement,
  options: ExecutionOptions,
): Promise<StatementOutcome> {
  const { engine } = session;
  const context = definitionContext(session);
  session.definedAt = undefined;
  switch (statement.kind) {
    case 'createTable': {
      const operations = createTableOperations(statement, context);
      if (operations !== undefined) {
        for (const operation of operations)
          if (operation.op === 'createTable') checkExpressions(session, operation.table);
        await define(session, operations, options.signal);
      }
      if (statement.temporary) session.noteTemporary();
      return done(session, 'CREATE TABLE');
    }
    case 'createTableAs':
      return createTableAs(session, statement, context, options);
    case 'createIndex':
      await holding(session, [statement.table], options.signal, async () => {
        const operation = createIndexOperation(statement, definitionContext(session));
        if (operation !== undefined) await define(session, [operation], options.signal);
      });
      return done(session, 'CREATE INDEX');
    case 'createSequence': {
      const operation = createSequenceOperation(statement, context);
      if (operation !== undefined) await define(session, [operation], options.signal);
      return done(session, 'CREATE SEQUENCE');
    }
    case 'createSchema':
      if (context.view.hasSchema(session.identity.tenant, statement.name)) {
        if (statement.ifNotExists) return done(session, 'CREATE SCHEMA');
        throw new DbError('42P06', `schema "${statement.name}" already exists`, {
          hint: 'Use IF NOT EXISTS.',
        });
      }
      await define(
        session,
        [{ op: 'createSchema', tenant: session.identity.tenant, name: statement.name }],
        options.signal,
      );
      return done(session, 'CREATE SCHEMA');
    case 'createView': {
      const name = targetName(statement.name, statement.temporary, context);
      const before = context.view.byName(name);
      if (before !== undefined && (!statement.orReplace || before.kind !== 'view'))
        isTaken(name, false, context);
      // It stays what views on it read.
      const id = before === undefined ? context.takeId() : idOf(before);
      const definition = viewDefinition(session, name, statement.columns, statement.query, id);
      const operations = before === undefined ? [] : replacing(session, before, definition);
      await define(
        session,
        [...operations, { op: 'createView', view: definition }],
        options.signal,
      );
      if (statement.temporary) session.noteTemporary();
      return done(session, 'CREATE VIEW');
    }
    case 'createMaterializedView': {
      const name = targetName(statement.name, false, context);
      const before = context.view.byName(name);
      if (
        before !== undefined &&
        !(statement.orReplace && declaredAs(before) === 'materializedView')
      ) {
        if (isTaken(name, statement.ifNotExists, context))
          return done(session, 'CREATE MATERIALIZED VIEW');
      }
      const definition: MaterializedViewDefinition = {
        ...viewDefinition(session, name, statement.columns, statement.query, context.takeId()),
        options: viewOptions(statement.options),
        seed: context.random.uint32(),
        zone: session.zone,
        createdMicros: session.engine.ports.clock.now() * 1000,
      };
      await createMaterializedView(session, definition, before, options);
      return done(session, 'CREATE MATERIALIZED VIEW');
    }
    case 'alterView': {
      const entry = find(session, statement.name, statement.ifExists);
      if (entry === undefined) return done(session, 'ALTER VIEW');
      const wanted = statement.materialized ? 'materializedView' : 'view';
      if (declaredAs(entry) !== wanted)
        throw wrongKind(
          entry,
          wanted,
          statement.name,
          `It is a ${kindOf(entry)}: use ALTER ${kindOf(entry).toUpperCase()}.`,
        );
      if (statement.action.kind === 'rename') {
        await define(
          session,
          [{ op: 'renameRelation', relation: idOf(entry), name: statement.action.to }],
          options.signal,
        );
      } else {
        const { definition } = entry;
        if (!('options' in definition)) throw wrongKind(entry, 'materializedView', statement.name);
        const altered = {
          ...definition,
          options: viewOptions(statement.action.options, definition.options),
        };
        engine.views.check(altered, session.catalog);
        const above = session.catalog
          .dependantsOf(idOf(entry))
          .filter(
            (each) =>
              each.kind === 'materializedView' &&
              each.definition.options.refresh === 'commit' &&
              altered.options.refresh !== 'commit',
          ) as MaterializedViewEntry[];
        const kept = above.find((each) => !engine.liveQueries.owns(idOf(each)));
        if (kept !== undefined) throw followsClock(kept.definition, altered);
        await define(
          session,
          [{ op: 'alterMaterializedView', relation: idOf(entry), options: altered.options }],
          options.signal,
        );
        await engine.liveQueries.followClock(above);
      }
      return done(session, statement.materialized ? 'ALTER MATERIALIZED VIEW' : 'ALTER VIEW');
    }
    case 'alterTable':
      return alterTable(session, statement, options);
    case 'renameIndex': {
      const owner = indexOwner(session.catalog, session.identity.tenant, statement.name.name);
      if (owner === undefined) {
        // As in PostgreSQL, which takes either word for either.
        const other = find(session, statement.name, true);
        if (other === undefined && !statement.ifExists) throw noIndex(session, statement.name);
        if (other !== undefined)
          await define(
            session,
            [{ op: 'renameRelation', relation: idOf(other), name: statement.to }],
            options.signal,
          );
        return done(session, 'ALTER INDEX');
      }
      await holding(session, [nameOf(owner)], options.signal, async () => {
        const entry = tableNamed(nameOf(owner), definitionContext(session));
        const index = entry.definition.indexes.find(({ name }) => name === statement.name.name);
        if (index === undefined) throw noIndex(session, statement.name);
        const table = withIndexRenamed(
          entry,
          index,
          statement.to,
          definitionContext(session),
          statement.name.at,
        );
        await define(
          session,
          [{ op: 'alterTable', table, data: { kind: 'keep' } }],
          options.signal,
        );
      });
      return done(session, 'ALTER INDEX');
    }
    case 'drop':
      return holding(session, tablesDropped(session, statement), options.signal, () =>
        drop(session, statement, options),
      );
    case 'truncate': {
      const entries = statement.tables.map((written) =>
        tableNamed(written, { view: session.catalog, scope: session.scope }),
      );
      // Several tables are emptied together or not at all.
      await asOne(session, entries.length > 1, options.signal, async () => {
        for (const entry of new Set(entries))
          await writeRows(engine, session, entry, () => [{ kind: 'truncate' }], options.signal);
      });
      if (statement.restartIdentity)
        for (const { definition } of entries)
          for (const { sequence } of definition.columns)
            if (sequence !== undefined) session.sequences.restart(sequence);
      return done(session, 'TRUNCATE TABLE');
    }
    case 'refreshMaterializedView': {
      const entry = find(session, statement.name, false)!;
      if (declaredAs(entry) !== 'materializedView')
        throw wrongKind(
          entry,
          'materializedView',
          statement.name,
          `It is a ${kindOf(entry)}, and nothing to refresh: what is read of it is of now.`,
        );
      if (entry.kind === 'materializedView' && !entry.view.inCommit)
        await engine.views.refresh(engine, entry.view);
      return done(session, 'REFRESH MATERIALIZED VIEW');
    }
    case 'grant': {
      const operations = statement.relations.flatMap((written) => {
        const relation = idOf(find(session, written, false)!);
        return statement.to.map((to): Operation => ({
          op: 'grant',
          relation,
          to: to.toLowerCase() === 'public' ? undefined : to,
          granted: !statement.revoke,
        }));
      });
      await define(session, operations, options.signal);
      return done(session, statement.revoke ? 'REVOKE' : 'GRANT');
    }
    case 'database':
      throw notSupported(
        'CREATE DATABASE',
        `A tenant begins with its first table: db.as({ tenant: '${statement.name}' }).`,
      );
    default:
      throw notSupported(statement.kind);
  }
}

/** Operations become a commit, or part of the open transaction. */
async function define(
  session: Session,
  operations: readonly Operation[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const { engine, transaction } = session;
  if (transaction !== undefined) {
    for (const operation of operations) await defineInTransaction(session, operation, signal);
    return;
  }
  const takenOver = engine.views.takenOver(engine, operations);
  // Most of what they lack is taken in outside of the turn.
  for (const view of takenOver) await engine.views.refresh(engine, view);
  const { position } = await engine.commit(
    {
      tenant: session.identity.tenant,
      relations: operations.flatMap(relationOf),
      settled: takenOver.length > 0,
      prepare: () => {
        const followed = readersNow(engine, operations);
        for (const view of takenOver) engine.views.takeOver(engine, view);
        return [...dropsOf(followed), ...operations];
      },
    },
    signal,
  );
  session.definedAt = position;
  for (const view of takenOver) engine.housekeeping.viewRefreshed(view);
}

function relationOf(operation: Operation): number[] {
  if ('relation' in operation) return [operation.relation];
  if ('table' in operation) return [operation.table.id];
  return 'view' in operation ? [operation.view.id] : [];
}

/** The transaction sees its own definitions: they live in its catalog overlay and its private tables. */
async function defineInTransaction(
  session: Session,
  operation: Operation,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { engine } = session;
  const transaction = session.transaction!;
  const { state } = engine;
  const claim = (relation: number): Promise<void> =>
    session.untilClaimed(transaction.owner, relation, 'whole', signal);
  switch (operation.op) {
    case 'createTable': {
      const data = createTable(schemaOf(operation.table), { memory: engine.memory });
      transaction.define(operation, { entry: state.tableEntry(operation.table, data), data });
      return;
    }
    case 'createView':
      transaction.define(operation, {
        entry: state.viewEntry(operation.view, transaction.catalog),
      });
      return;
    case 'createMaterializedView': {
      // Until the commit it is read as its query.
      transaction.define(operation, {
        entry: engine.views.placeholder(operation.view, transaction.catalog),
      });
      return;
    }
    case 'createSequence':
      transaction.define(operation, { entry: newSequenceEntry(operation.sequence) });
      return;
    case 'createSchema':
    case 'dropSchema':
      transaction.define(operation, {
        schema: {
          tenant: operation.tenant,
          name: operation.name,
          present: operation.op === 'createSchema',
        },
      });
      return;
    case 'grant':
      // Others see it from the commit on; of this tenant's own names nothing changes.
      transaction.define(operation, {});
      return;
    case 'dropRelation':
      await claim(operation.relation);
      transaction.define(operation, { removed: operation.relation });
      return;
    case 'renameRelation': {
      await claim(operation.relation);
      const entry = transaction.catalog.byId(operation.relation)!;
      transaction.define(operation, { entry: state.renamed(entry, operation.name) });
      return;
    }
    case 'addIndex':
    case 'dropIndex': {
      await claim(operation.relation);
      const entry = transaction.catalog.byId(operation.relation);
      if (entry?.kind !== 'table') throw relationDoesNotExist({ name: '' }, []);
      const indexes =
        operation.op === 'addIndex'
          ? [...entry.definition.indexes, operation.index]
          : entry.definition.indexes.filter(({ name }) => name !== operation.name);
      await rewriteInTransaction(
        session,
        entry,
        { ...entry.definition, indexes },
        undefined,
        signal,
      );
      return;
    }
    case 'alterTable': {
      await claim(operation.table.id);
      const entry = transaction.catalog.byId(operation.table.id);
      if (entry?.kind !== 'table') throw relationDoesNotExist({ name: '' }, []);
      const rewritten = operation.data.kind === 'rewrite' ? operation.data.rows : undefined;
      await rewriteInTransaction(
        session,
        entry,
        operation.table,
        rewritten ?? (await rowsAfter(session, entry, operation, signal)),
        signal,
      );
      return;
    }
    case 'alterMaterializedView': {
      const entry = transaction.catalog.byId(operation.relation)!;
      const definition = { ...entry.definition, options: operation.options };
      transaction.define(operation, { entry: { ...entry, definition } as CatalogEntry });
      return;
    }
    case 'setPolicy': {
      await claim(operation.relation);
      const entry = transaction.catalog.byId(operation.relation);
      if (entry?.kind !== 'table') throw relationDoesNotExist({ name: '' }, []);
      transaction.define(operation, { entry: withPolicy(entry, operation.policy) });
      return;
    }
    default:
      throw notSupported(`${operation.op} inside a transaction`);
  }
}

/** Inside a transaction every change of a table writes it anew: the rows are its own from then on. */
async function rewriteInTransaction(
  session: Session,
  entry: TableEntry,
  table: TableDefinition,
  rows: TableWrite | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const transaction = session.transaction!;
  if (
    transaction.position !== undefined &&
    !transaction.isPrivate(table.id) &&
    entry.data.position > transaction.position
  ) {
    throw new DbError('40001', 'could not serialize access due to concurrent update', {
      table: table.name,
      detail: 'Rows that this transaction does not see would be lost.',
      hint: 'Run the transaction again.',
    });
  }
  const data = createTable(schemaOf(table), { memory: session.engine.memory });
  const write: TableWrite = rows ?? {
    kind: 'insert',
    rows: await visibleRows(session, entry, signal),
  };
  try {
    data.stage([write], { limits: true });
  } catch (cause) {
    data.close();
    throw cause;
  }
  transaction.define(
    { op: 'alterTable', table, data: { kind: 'rewrite', rows: write } },
    { entry: session.engine.state.tableEntry(table, data), data },
  );
  const dropped = columnDropped(entry.definition, table);
  if (dropped < 0) return;
  for (const view of transaction.catalog.dependantsOf(table.id))
    if (view.kind === 'view' || view.kind === 'materializedView')
      transaction.show(withoutColumnRead(view, table.id, dropped));
}

/** Rows of a table after ADD or DROP COLUMN, or unchanged. */
async function rowsAfter(
  session: Session,
  entry: TableEntry,
  operation: Extract<Operation, { op: 'alterTable' }>,
  signal: AbortSignal | undefined,
): Promise<TableWrite> {
  const rows = await visibleRows(session, entry, signal);
  switch (operation.data.kind) {
    case 'addColumn': {
      const { value } = operation.data;
      const type = operation.table.columns.at(-1)!.type;
      const added = compileExpression({ kind: 'constant', type, value }).evaluate(
        { rowCount: rows.rowCount, columns: [] },
        session.evaluationContext([], {}),
      );
      return { kind: 'insert', rows: { ...rows, columns: [...rows.columns, added] } };
    }
    case 'dropColumn': {
      const dropped = operation.data.index;
      return {
        kind: 'insert',
        rows: { ...rows, columns: rows.columns.filter((_, index) => index !== dropped) },
      };
    }
    default:
      return { kind: 'insert', rows };
  }
}

/** All rows that the session sees, in arrival order. */
async function visibleRows(
  session: Session,
  entry: TableEntry,
  signal: AbortSignal | undefined,
): Promise<Batch> {
  const batches: Batch[] = [];
  for await (const batch of batchesOf(session, entry, signal)) batches.push(batch);
  if (batches.length > 0) return concatenated(session, batches, signal);
  return {
    rowCount: 0,
    columns: entry.definition.columns.map(({ type }) => ({ rep: 'object', type, values: [] })),
  };
}

/** As one batch, others run in between. */
async function concatenated(
  { engine }: Session,
  batches: readonly Batch[],
  signal: AbortSignal | undefined,
): Promise<Batch> {
  const steps = concatInSteps(batches);
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
    await engine.pause();
    assertNotAborted(signal);
  }
}

/** The same in batches; others run in between. */
async function* batchesOf(
  session: Session,
  entry: TableEntry,
  signal: AbortSignal | undefined,
): AsyncGenerator<Batch> {
  const snapshot = session.snapshotOf(idOf(entry), undefined);
  try {
    const columnIndexes = entry.definition.columns.map((_, index) => index);
    const scan = snapshot.scan({ columnIndexes, ordered: true, withRowIds: false });
    let rowsOfStep = 0;
    for (let batch = scan.next(); batch !== undefined; batch = scan.next()) {
      yield batch;
      rowsOfStep += batch.rowCount;
      if (rowsOfStep < ROWS_A_STEP) continue;
      rowsOfStep = 0;
      await session.engine.pause();
      assertNotAborted(signal);
    }
  } finally {
    snapshot.release();
  }
}

const ROWS_A_STEP = 16_384;

/**
 * Holds tables still while their definitions change: waits for transactions that have written to them and for what is staged,
 * and lets nobody write until `action` is done. Inside a transaction the claim is the transaction's, to its end.
 */
async function holding<Value>(
  session: Session,
  tables: readonly WrittenName[],
  signal: AbortSignal | undefined,
  action: () => Promise<Value>,
): Promise<Value> {
  const { engine, transaction } = session;
  const owner = transaction?.owner ?? newClaimOwner();
  try {
    // After each wait the names may mean something else.
    while (await hasWaitedFor(session, owner, tables, signal));
    return await action();
  } finally {
    if (transaction === undefined) engine.claims.release(owner);
  }
}

async function hasWaitedFor(
  session: Session,
  owner: ClaimOwner,
  tables: readonly WrittenName[],
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { engine, transaction } = session;
  const entries = tables.flatMap((written) => {
    const entry = findRelation(session.catalog, session.scope, written);
    return entry?.kind === 'table' ? [entry] : [];
  });
  // In one order, whichever way they are written.
  for (const entry of entries.sort((a, b) => idOf(a) - idOf(b))) {
    if (engine.claims.take(owner, idOf(entry), 'whole') !== undefined) {
      await session.untilClaimed(owner, idOf(entry), 'whole', signal);
      if (transaction?.doomed !== undefined) throw transaction.doomed;
      return true;
    }
    if (engine.isUnpublished(entry) && transaction?.isPrivate(idOf(entry)) !== true) {
      await engine.untilPublished(entry, signal);
      return true;
    }
  }
  return false;
}

function nameOf({ definition }: CatalogEntry): RelationName {
  return { catalog: definition.tenant, schema: definition.schema, name: definition.name };
}

function noIndex({ catalog, identity }: Session, { name, at }: RelationName): DbError {
  const names = catalog
    .ofTenant(identity.tenant)
    .flatMap((entry) =>
      entry.kind === 'table' ? entry.definition.indexes.map((index) => index.name) : [],
    );
  return new DbError('42704', `index "${name}" does not exist`, {
    at,
    hint: didYouMean(name, names),
  });
}

/** Tables whose rows or indexes a DROP takes away. */
function tablesDropped(
  session: Session,
  statement: Extract<Statement, { kind: 'drop' }>,
): WrittenName[] {
  const { tenant } = session.identity;
  switch (statement.what) {
    case 'table':
      return [...statement.names];
    case 'schema':
      return session.catalog
        .ofTenant(tenant)
        .filter(({ definition }) => statement.names.some(({ name }) => name === definition.schema))
        .map(nameOf);
    case 'index':
      return statement.names.flatMap(({ name }) => {
        const owner = indexOwner(session.catalog, tenant, name);
        return owner === undefined ? [] : [nameOf(owner)];
      });
    default:
      return [];
  }
}

// ── Tables ─────────────────────────────────────────────────────────────────────────────────────────────────────

async function createTableAs(
  session: Session,
  statement: Extract<Statement, { kind: 'createTableAs' }>,
  context: DefinitionContext,
  options: ExecutionOptions,
): Promise<StatementOutcome> {
  const bound = bindStatement({ kind: 'query', query: statement.query }, session.planCatalog(), {});
  if (bound.kind !== 'query')
    throw notSupported('CREATE TABLE AS of a statement that changes data');
  const columns = bound.plan.columns.map(({ name, type }) => ({ name, type }));
  const table = tableOfQuery(statement, columns, context);
  if (table === undefined) return done(session, 'CREATE TABLE AS');
  const collector = new BatchCollector(session.engine.memory);
  try {
    if (statement.withData) await executePlan(session, bound, [], '', options, collector);
    return await defineTable(session, statement, table, collector.rows(), options);
  } finally {
    collector.release();
  }
}

/** A new table, and the rows that it begins with. */
async function defineTable(
  session: Session,
  statement: Extract<Statement, { kind: 'createTableAs' }>,
  table: TableDefinition,
  rows: Batch | undefined,
  options: ExecutionOptions,
): Promise<StatementOutcome> {
  const create: Operation = { op: 'createTable', table };
  if (statement.temporary) session.noteTemporary();
  if (session.transaction !== undefined) {
    await define(session, [create], options.signal);
    if (rows !== undefined)
      session.transaction.write(
        session.catalog.byId(table.id)!,
        [{ kind: 'insert', rows }],
        (data) => session.engine.privateTable(data),
      );
  } else {
    const fill: Operation[] =
      rows === undefined
        ? []
        : [{ op: 'rows', relation: table.id, writes: [{ kind: 'insert', rows }] }];
    await define(session, [create, ...fill], options.signal);
  }
  return { ...done(session, `SELECT ${rows?.rowCount ?? 0}`), rowCount: rows?.rowCount ?? 0 };
}

async function alterTable(
  session: Session,
  statement: Extract<Statement, { kind: 'alterTable' }>,
  options: ExecutionOptions,
): Promise<StatementOutcome> {
  const found = findRelation(session.catalog, session.scope, statement.table);
  const [first] = statement.actions;
  if (
    found === undefined &&
    first?.kind === 'renameTable' &&
    indexOwner(session.catalog, session.identity.tenant, statement.table.name) !== undefined
  )
    return runDefinition(
      session,
      { kind: 'renameIndex', name: statement.table, to: first.to, ifExists: false },
      options,
    );
  if (found === undefined && statement.ifExists) return done(session, 'ALTER TABLE');
  if (
    found !== undefined &&
    found.kind !== 'table' &&
    statement.actions.every(({ kind }) => kind === 'renameTable')
  ) {
    const action = statement.actions[0]!;
    if (action.kind === 'renameTable')
      await define(
        session,
        [{ op: 'renameRelation', relation: idOf(found), name: action.to }],
        options.signal,
      );
    return done(session, 'ALTER TABLE');
  }
  const actions =
    found?.kind === 'table' ? withGenerated(found, statement.actions) : statement.actions;
  // Several actions are one change: all or none.
  const several =
    actions.length > 1 ||
    actions.some((action) => action.kind === 'addColumn' && isNumbered(action.column));
  await asOne(session, several, options.signal, () =>
    holding(session, [statement.table], options.signal, async () => {
      for (const action of actions) {
        const entry = tableNamed(statement.table, { view: session.catalog, scope: session.scope });
        const { change, before } = tableChange(entry, action, definitionContext(session));
        refuseWhenDemoted(session, entry, change);
        const gone = await droppedWith(session, entry, change, action);
        // What a column's numbers come from is there before its rows are made.
        if (before.length > 0) await define(session, before, options.signal);
        const operations = await operationsOf(session, entry, change, options.signal);
        await define(session, [...gone, ...operations], options.signal);
      }
    }),
  );
  return done(session, 'ALTER TABLE');
}

/** DROP COLUMN … CASCADE takes along what is made from the column, first. */
function withGenerated(
  entry: TableEntry,
  actions: readonly AlterTableAction[],
): readonly AlterTableAction[] {
  return actions.flatMap((action) =>
    action.kind === 'dropColumn' && action.cascade
      ? [...generatedFrom(entry, action.name).map((name) => ({ ...action, name })), action]
      : [action],
  );
}

/** Runs `action` in the open transaction; where there is none and `several` is true, in one of its own. */
async function asOne(
  session: Session,
  several: boolean,
  signal: AbortSignal | undefined,
  action: () => Promise<void>,
): Promise<void> {
  const implicit = several && session.transaction === undefined;
  if (implicit) {
    session.begin({});
    session.explicit = false;
  }
  try {
    await action();
    if (implicit) await session.commit(signal);
  } catch (cause) {
    if (implicit) session.rollback();
    throw cause;
  }
}

async function operationsOf(
  session: Session,
  entry: TableEntry,
  change: TableChange,
  signal: AbortSignal | undefined,
): Promise<Operation[]> {
  const relation = idOf(entry);
  switch (change.kind) {
    case 'nothing':
      return [];
    case 'definition':
      checkExpressions(session, change.table);
      return [{ op: 'alterTable', table: change.table, data: { kind: 'keep' } }];
    case 'rename':
      return [{ op: 'renameRelation', relation, name: change.name }];
    case 'policy':
      return [{ op: 'setPolicy', relation, policy: change.policy }];
    case 'addColumn': {
      checkExpressions(session, change.table);
      const { column } = change;
      if (
        column.generated !== undefined ||
        (change.default !== undefined &&
          isVolatile(bindExpression(change.default, session.planCatalog()))) ||
        column.sequence !== undefined
      ) {
        return [
          await rewritten(session, entry, change.table, signal, (rows) =>
            withComputed(session, entry, change.table, rows),
          ),
        ];
      }
      const value =
        change.default === undefined ? null : constantOf(session, change.default, column.type);
      if (value === null && !column.nullable && entry.data.rowCount > 0) {
        throw new DbError(
          '23502',
          `column "${column.name}" of relation "${entry.definition.name}" contains null values`,
          { table: entry.definition.name, column: column.name, hint: 'Give it a DEFAULT.' },
        );
      }
      return [{ op: 'alterTable', table: change.table, data: { kind: 'addColumn', value } }];
    }
    case 'dropColumn': {
      const { sequence } = entry.definition.columns[change.index]!;
      return [
        {
          op: 'alterTable',
          table: change.table,
          data: { kind: 'dropColumn', index: change.index },
        },
        ...(sequence === undefined || session.catalog.byId(sequence) === undefined
          ? []
          : dropsOf([sequence])),
      ];
    }
    case 'alterType': {
      const type = change.table.columns[change.index]!.type;
      const expression = coerce(bindRowExpression(change.using, entry.info), type, 'assignment');
      const compiled = compileExpression(expression);
      checkExpressions(session, change.table);
      const checks = checksOn(session, change.table, change.index);
      return [
        await rewritten(session, entry, change.table, signal, (rows) => {
          const converted = {
            ...rows,
            columns: rows.columns.map((column, index) =>
              index === change.index
                ? compiled.evaluate(rows, session.evaluationContext([], {}))
                : column,
            ),
          };
          for (const check of checks) check(converted);
          return converted;
        }),
      ];
    }
    case 'addIndex': {
      const operations: Operation[] = [];
      if (change.notNull.length > 0) {
        await assertNoNulls(session, entry, change.notNull, signal);
        const columns = entry.definition.columns.map((column, index) =>
          change.notNull.includes(index) ? { ...column, nullable: false } : column,
        );
        operations.push({
          op: 'alterTable',
          table: { ...entry.definition, columns },
          data: { kind: 'keep' },
        });
      }
      return [...operations, { op: 'addIndex', relation, index: change.index }];
    }
    case 'dropIndex':
      return [{ op: 'dropIndex', relation, name: change.name }];
    case 'setNotNull':
      await assertNoNulls(session, entry, [change.index], signal);
      return [{ op: 'alterTable', table: change.table, data: { kind: 'keep' } }];
    case 'addCheck': {
      const check = checkOf(session, entry.info, change.check.name, change.condition);
      for await (const rows of batchesOf(session, entry, signal)) check(denseBatch(rows));
      return [{ op: 'alterTable', table: change.table, data: { kind: 'keep' } }];
    }
  }
}

/** Tests rows that are there: 23514. */
function checkOf(
  session: Session,
  info: RelationInfo,
  name: string,
  condition: SqlExpression,
): (rows: Batch) => void {
  const compiled = compileExpression(
    coerce(bindRowExpression(condition, info), { kind: 'boolean' }, 'implicit'),
  );
  const context = session.evaluationContext([], {});
  return (rows) => {
    const result = compiled.evaluate(rows, context);
    for (let row = 0; row < rows.rowCount; row += 1) {
      if (datumAt(result, row) !== false) continue;
      throw new DbError(
        '23514',
        `check constraint "${name}" of relation "${info.name}" is violated by some row`,
        { table: info.name, constraint: name, hint: 'Mend the rows first.' },
      );
    }
  };
}

/** What a table's constraints ask of a column. */
function checksOn(
  session: Session,
  table: TableDefinition,
  index: number,
): ((rows: Batch) => void)[] {
  const info = tableInfo(table, (text) => session.engine.state.parseExpression(text));
  const { name } = table.columns[index]!;
  return info.checks
    .filter(({ condition }) => columnsIn(condition).has(name))
    .map((each) => checkOf(session, info, each.name, each.condition));
}

async function rewritten(
  session: Session,
  entry: TableEntry,
  table: TableDefinition,
  signal: AbortSignal | undefined,
  convert: (rows: Batch) => Batch,
): Promise<Operation> {
  const batches: Batch[] = [];
  for await (const rows of batchesOf(session, entry, signal))
    batches.push(convert(denseBatch(rows)));
  if (batches.length === 0) batches.push(convert(await visibleRows(session, entry, signal)));
  const rows = await concatenated(session, batches, signal);
  return {
    op: 'alterTable',
    table,
    data: { kind: 'rewrite', rows: { kind: 'insert', rows } },
  };
}

/** A new column whose value differs by row: generated, volatile or serial. */
function withComputed(
  session: Session,
  entry: TableEntry,
  table: TableDefinition,
  rows: Batch,
): Batch {
  const column = table.columns.at(-1)!;
  const text = column.generated ?? column.default ?? 'NULL';
  const parsed = session.engine.state.parseExpression(text);
  const bound = coerce(
    column.generated === undefined
      ? bindExpression(parsed, session.planCatalog())
      : bindRowExpression(parsed, entry.info),
    column.type,
    'assignment',
  );
  return {
    ...rows,
    columns: [
      ...rows.columns,
      compileExpression(bound).evaluate(rows, session.evaluationContext([], {})),
    ],
  };
}

async function assertNoNulls(
  session: Session,
  entry: TableEntry,
  indexes: readonly number[],
  signal: AbortSignal | undefined,
): Promise<void> {
  for await (const batch of batchesOf(session, entry, signal)) {
    const rows = denseBatch(batch);
    for (const index of indexes) {
      for (let row = 0; row < rows.rowCount; row += 1) {
        if (!isNullAt(rows.columns[index]!, row)) continue;
        const { name } = entry.definition.columns[index]!;
        throw new DbError(
          '23502',
          `column "${name}" of relation "${entry.definition.name}" contains null values`,
          {
            table: entry.definition.name,
            column: name,
            hint: `Fill them first: UPDATE … SET ${name} = … WHERE ${name} IS NULL.`,
          },
        );
      }
    }
  }
}

/** Defaults, generated columns and checks must bind before they are stored. */
function checkExpressions(session: Session, table: TableDefinition): void {
  const { generated } = session.engine.state.checkTable(table);
  for (const [index, expression] of generated.entries()) {
    if (expression === undefined || isImmutable(expression)) continue;
    throw new DbError('42P17', 'generation expression is not immutable', {
      table: table.name,
      column: table.columns[index]!.name,
      hint: isSettledByZone(expression)
        ? "It depends on the session's time zone: name one, as in ts AT TIME ZONE 'UTC'."
        : 'What it gives differs from call to call: let it be the DEFAULT, which is computed when the row comes.',
    });
  }
}

function constantOf(
  session: Session,
  expression: Parameters<typeof bindExpression>[0],
  type: OutputColumn['type'],
): Datum {
  return evaluateConstant(
    coerce(bindExpression(expression, session.planCatalog()), type, 'assignment', expression.at),
    session.evaluationContext([], {}),
  );
}

// ── Views ──────────────────────────────────────────────────────────────────────────────────────────────────────

function viewDefinition(
  session: Session,
  name: { tenant: string; schema: string; name: string },
  columnNames: readonly string[],
  query: Parameters<typeof printQuery>[0],
  id: number,
): ViewDefinition {
  const recording = recordingCatalog(session.planCatalog());
  const bound = bindStatement({ kind: 'query', query }, recording.catalog, {});
  if (bound.kind !== 'query') throw notSupported('a view of a statement that changes data');
  if (bound.parameterTypes.length > 0)
    throw new DbError('42P02', 'a view cannot have parameters', {
      hint: 'Write the values into the query.',
    });
  const { columns } = bound.plan;
  if (columnNames.length > columns.length)
    throw new DbError('42601', 'CREATE VIEW specifies more column names than columns', {
      table: name.name,
    });
  const names = columns.map((column, index) => columnNames[index] ?? column.name);
  refuseDuplicates(names.map((each) => ({ name: each })));
  return {
    ...name,
    id,
    columnNames: names,
    text: printQuery(query),
    reads: recording.reads(),
  };
}

/** Builds the view aside while writes go on, then commits it; inside a transaction it is built at the commit. */
async function createMaterializedView(
  session: Session,
  definition: MaterializedViewDefinition,
  before: CatalogEntry | undefined,
  options: ExecutionOptions,
): Promise<void> {
  const { engine } = session;
  const create: Operation = { op: 'createMaterializedView', view: definition };
  engine.views.check(definition, session.catalog);
  const operations: Operation[] = [];
  if (before !== undefined) {
    refuseReadingItself(definition, new Set([idOf(before)]));
    const dropping = new Dropping(session, false);
    dropping.take(before);
    operations.push(...dropping.operations);
  }
  operations.push(create);
  if (session.transaction !== undefined) {
    await define(session, operations, options.signal);
    return;
  }
  const view = await engine.views.buildAside(engine, definition, options.signal);
  try {
    const { position } = await engine.commit(
      {
        tenant: session.identity.tenant,
        relations: [
          definition.id,
          ...view.sources,
          ...(before === undefined ? [] : [idOf(before)]),
        ],
        settled: true,
        prepare: () => {
          const followed = readersNow(engine, operations);
          engine.views.catchUpNow(engine, view);
          engine.state.prepareView(view);
          return [...dropsOf(followed), ...operations];
        },
      },
      options.signal,
    );
    session.definedAt = position;
  } catch (cause) {
    engine.state.forgetPrepared(definition.id);
    view.close();
    throw cause;
  }
}

// ── DROP ───────────────────────────────────────────────────────────────────────────────────────────────────────

async function drop(
  session: Session,
  statement: Extract<Statement, { kind: 'drop' }>,
  options: ExecutionOptions,
): Promise<StatementOutcome> {
  const command = `DROP ${({ table: 'TABLE', view: 'VIEW', materializedView: 'MATERIALIZED VIEW', index: 'INDEX', schema: 'SCHEMA', sequence: 'SEQUENCE', database: 'DATABASE' } as const)[statement.what]}`;
  const dropping = new Dropping(session, statement.cascade);
  const { operations } = dropping;
  for (const written of statement.names) {
    switch (statement.what) {
      case 'schema': {
        const { tenant } = session.identity;
        if (!session.catalog.hasSchema(tenant, written.name)) {
          if (statement.ifExists) continue;
          throw new DbError('3F000', `schema "${written.name}" does not exist`);
        }
        const inside = session.catalog
          .ofTenant(tenant)
          .filter((entry) => entry.definition.schema === written.name);
        if (inside.length > 0 && !statement.cascade) {
          throw new DbError(
            '2BP01',
            `cannot drop schema ${written.name} because other objects depend on it`,
            { hint: 'Use DROP … CASCADE to drop the dependent objects too.' },
          );
        }
        for (const entry of inside)
          if (session.catalog.byId(idOf(entry)) !== undefined) dropping.take(entry);
        operations.push({ op: 'dropSchema', tenant, name: written.name });
        break;
      }
      case 'index': {
        const owner = indexOwner(session.catalog, session.identity.tenant, written.name);
        if (owner === undefined) {
          if (statement.ifExists) continue;
          throw noIndex(session, written);
        }
        const index = owner.definition.indexes.find(({ name }) => name === written.name)!;
        if (index.constraint) {
          throw new DbError(
            '2BP01',
            `cannot drop index ${written.name} because constraint ${written.name} on table ${owner.definition.name} requires it`,
            {
              hint: `You can drop constraint ${written.name} on table ${owner.definition.name} instead.`,
            },
          );
        }
        operations.push({ op: 'dropIndex', relation: idOf(owner), name: written.name });
        break;
      }
      case 'database':
        throw notSupported('DROP DATABASE');
      default: {
        const entry = find(session, written, statement.ifExists);
        if (entry === undefined) continue;
        if (declaredAs(entry) !== statement.what) {
          throw wrongKind(
            entry,
            statement.what,
            written,
            `Use DROP ${kindOf(entry).toUpperCase()}.`,
          );
        }
        if (entry.kind === 'sequence') refuseOwned(session, entry);
        dropping.take(entry);
      }
    }
  }
  if (operations.length > 0) await define(session, operations, options.signal);
  return done(session, command);
}

/** The sequence of an identity or serial column goes with the column. */
function refuseOwned({ catalog, identity }: Session, entry: CatalogEntry): void {
  for (const { kind, definition } of catalog.ofTenant(identity.tenant)) {
    const column =
      kind === 'table'
        ? definition.columns.find(({ sequence }) => sequence === idOf(entry))
        : undefined;
    if (column !== undefined)
      throw new DbError(
        '2BP01',
        `cannot drop sequence ${entry.definition.name} because column ${column.name} of table ${definition.name} requires it`,
        {
          table: definition.name,
          column: column.name,
          hint: 'It goes with the column, or the table.',
        },
      );
  }
}

/** What a DROP takes away, each behind what depends on it. */
class Dropping {
  readonly operations: Operation[] = [];
  readonly #session: Session;
  readonly #isCascade: boolean;
  readonly #dropped = new Set<number>();

  constructor(session: Session, isCascade: boolean) {
    this.#session = session;
    this.#isCascade = isCascade;
  }

  take(entry: CatalogEntry): void {
    const { catalog, engine, transaction } = this.#session;
    const dropped = this.#dropped;
    if (dropped.has(idOf(entry))) return;
    for (const dependant of catalog.dependantsOf(idOf(entry))) {
      if (dropped.has(idOf(dependant))) continue;
      const isFollowed = engine.liveQueries.owns(idOf(dependant));
      // Whoever follows it when a transaction commits is seen then.
      if (isFollowed && transaction !== undefined) continue;
      if (!this.#isCascade && !isFollowed) throw dependency(entry, dependant);
      this.take(dependant);
    }
    dropped.add(idOf(entry));
    this.operations.push({ op: 'dropRelation', relation: idOf(entry) });
    if (entry.kind !== 'table') return;
    for (const { sequence } of entry.definition.columns)
      if (sequence !== undefined && catalog.byId(sequence) !== undefined)
        this.operations.push({ op: 'dropRelation', relation: sequence });
  }
}

/**
 * What goes with a plain view that is replaced: queries that somebody follows, to be begun anew. Refused where a materialized view keeps
 * what it was, or a view on it would miss a column.
 */
function replacing(
  session: Session,
  before: CatalogEntry,
  definition: ViewDefinition,
): Operation[] {
  const { state, liveQueries } = session.engine;
  const { name } = definition;
  const operations: Operation[] = [];
  const seen = new Set<number>([definition.id]);
  let isRead = false;
  const visit = (entry: CatalogEntry): void => {
    for (const dependant of session.catalog.dependantsOf(idOf(entry))) {
      const id = idOf(dependant);
      if (seen.has(id)) continue;
      seen.add(id);
      if (liveQueries.owns(id)) {
        // Whoever follows it when a transaction commits is seen then.
        if (session.transaction === undefined)
          operations.push({ op: 'dropRelation', relation: id });
      } else if (dependant.kind === 'materializedView')
        throw new DbError(
          '0A000',
          `cannot replace view "${name}": materialized view "${dependant.definition.name}" keeps its answer`,
          { table: name, hint: 'Drop the materialized view, and create it again afterwards.' },
        );
      else {
        isRead = true;
        visit(dependant);
      }
    }
  };
  visit(before);
  refuseReadingItself(definition, seen);
  if (!isRead || before.kind !== 'view') return operations;
  const after = state.viewEntry(definition, session.catalog);
  const columns = after.kind === 'view' ? after.info.columns : [];
  for (const [index, { name: column, type }] of before.info.columns.entries()) {
    const now = columns[index];
    if (now?.name === column && typeName(now.type) === typeName(type)) continue;
    throw new DbError(
      '42P16',
      now === undefined
        ? 'cannot drop columns from view'
        : `cannot change view column "${column}" to "${now.name}" of type ${typeName(now.type)}`,
      {
        table: name,
        column,
        hint: 'Other views read it: keep its columns, and add others behind.',
      },
    );
  }
  return operations;
}

/**
 * What goes with a column that is dropped, or becomes another type: queries that somebody follows, to be begun anew, and with CASCADE views.
 * Refused where a view uses it otherwise.
 */
async function droppedWith(
  session: Session,
  entry: TableEntry,
  change: TableChange,
  action: AlterTableAction,
): Promise<Operation[]> {
  if (change.kind !== 'dropColumn' && change.kind !== 'alterType') return [];
  const { engine } = session;
  const isCascade = action.kind === 'dropColumn' && action.cascade;
  const dropping = new Dropping(session, isCascade);
  for (const dependant of session.catalog.dependantsOf(idOf(entry))) {
    if (dependant.kind !== 'view' && dependant.kind !== 'materializedView') continue;
    if (!engine.views.usesColumn(dependant, idOf(entry), change.index, session.catalog)) continue;
    if (engine.liveQueries.owns(idOf(dependant))) {
      // Whoever follows it when a transaction commits is seen then.
      if (session.transaction === undefined) dropping.take(dependant);
    } else if (isCascade) dropping.take(dependant);
    else throw columnIsUsed(entry, change, dependant);
    await engine.pause();
  }
  return dropping.operations;
}

function columnIsUsed(
  { definition }: TableEntry,
  { kind, index }: Extract<TableChange, { kind: 'dropColumn' | 'alterType' }>,
  dependant: CatalogEntry,
): DbError {
  const column = definition.columns[index]!.name;
  const what = kindOf(dependant);
  const { name } = dependant.definition;
  const detail = `${what} ${name} depends on column ${column} of table ${definition.name}`;
  const place = { table: definition.name, column, detail };
  if (kind === 'alterType')
    return new DbError('0A000', `cannot alter type of a column used by ${what} "${name}"`, {
      ...place,
      hint: `Drop the ${what}, change the column, and create it again.`,
    });
  return new DbError(
    '2BP01',
    `cannot drop column ${column} of table ${definition.name} because other objects depend on it`,
    { ...place, hint: 'Use DROP COLUMN … CASCADE to drop the dependent objects too.' },
  );
}

function refuseReadingItself({ name, reads }: ViewDefinition, replaced: ReadonlySet<number>): void {
  if (reads.some(({ relation }) => replaced.has(relation)))
    throw new DbError('42P17', `view "${name}" would read itself`, {
      table: name,
      hint: 'Give the new view another name, or write out what the old one reads.',
    });
}

/** Of values that were demoted nothing is left that could become another type. */
function refuseWhenDemoted(session: Session, entry: TableEntry, change: TableChange): void {
  const { id, name, columns } = entry.definition;
  const kept = session.engine.state.findKept(id);
  if (kept === undefined || kept.isEmpty) return;
  refuseOtherTime(kept, change, entry);
  if (change.kind !== 'alterType' || !kept.keeps(change.index)) return;
  const column = columns[change.index]!.name;
  throw new DbError('2BP01', `rows of "${name}" were demoted, and "${column}" is kept of them`, {
    table: name,
    column,
    hint: 'Add a column of the other type, and let the policy measure it.',
  });
}

/** Demoted rows lie where one column of times said: the policy cannot go by another. */
function refuseOtherTime(kept: KeptTiles, change: TableChange, entry: TableEntry): void {
  const table =
    change.kind === 'definition'
      ? change.table
      : change.kind === 'policy'
        ? { ...entry.definition, policy: change.policy }
        : undefined;
  if (table?.policy === undefined) return;
  const { time } = table.policy;
  const index = table.columns.findIndex((column) => column.name === time);
  if (kept.time === index) return;
  throw new DbError(
    '2BP01',
    `rows of "${table.name}" were demoted by another time than "${time}"`,
    {
      table: table.name,
      column: time,
      hint: 'Make another table for the other time.',
    },
  );
}

function dependency(entry: CatalogEntry, dependant: CatalogEntry): DbError {
  return new DbError(
    '2BP01',
    `cannot drop ${kindOf(entry)} ${entry.definition.name} because other objects depend on it`,
    {
      table: entry.definition.name,
      detail: `${kindOf(dependant)} ${dependant.definition.name} depends on ${kindOf(entry)} ${entry.definition.name}`,
      hint: 'Use DROP … CASCADE to drop the dependent objects too.',
    },
  );
}

function find(
  session: Session,
  written: {
    readonly name: string;
    readonly schema?: string | undefined;
    readonly catalog?: string | undefined;
  },
  ifExists: boolean,
): CatalogEntry | undefined {
  const entry = findRelation(session.catalog, session.scope, written);
  if (entry === undefined && !ifExists)
    throw relationDoesNotExist(written, namesOf(session.catalog, session.identity.tenant));
  return entry;
}

function definitionContext(session: Session): DefinitionContext {
  const { state, ports } = session.engine;
  return {
    view: session.catalog,
    scope: session.scope,
    takeId: () => state.catalog.takeId(),
    random: ports.random,
    zone: session.zone,
  };
}

function done(session: Session, command: string): StatementOutcome {
  const outcome = emptyOutcome(session.engine, command);
  return session.definedAt === undefined ? outcome : { ...outcome, position: session.definedAt };
}
