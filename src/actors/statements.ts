import { DbError, notSupported } from '../base/errors.ts';
import { didYouMean } from '../base/nearest.ts';
import { instantText } from '../calendar/civil.ts';
import type { Batch } from '../columns/batch.ts';
import { vectorFromData } from '../columns/build.ts';
import type { TableSnapshot } from '../columns/table-contract.ts';
import { TEXT } from '../columns/types.ts';
import { ArrayValue, type ParameterType, type ParameterValue } from '../expressions/arrays.ts';
import { coerce } from '../expressions/coercion.ts';
import { evaluateConstant } from '../expressions/fold.ts';
import { typeOfName } from '../expressions/type-names.ts';
import { buildOperator } from '../operators/build.ts';
import type { ExecutionEnvironment } from '../operators/environment.ts';
import type { Operator } from '../operators/operator.ts';
import {
  bindArrayArgument,
  bindExpression,
  bindStatement,
  type BoundStatement,
} from '../plan/bind.ts';
import { explainPlan, planAsJson, type ExplainOptions } from '../plan/explain.ts';
import type { AggregateNode, BoundQuery, OutputColumn, PlanNode } from '../plan/logical.ts';
import { inputsOf } from '../plan/nodes.ts';
import type { ParsedStatement, Statement } from '../sql/ast.ts';
import { demotedNote } from '../windows/kept-reading.ts';
import type { TiledAnswer } from '../windows/tile-aggregate.ts';
import { roughAgeMs, type Policy } from '../windows/policy.ts';
import { RetentionPlan } from '../windows/retention-plan.ts';
import { instantLabel } from '../windows/window-spec.ts';
import { ACTOR_COLUMNS, actorRows } from './actor-rows.ts';
import type { AnswerSource } from './api-types.ts';
import type { CatalogEntry } from './catalog.ts';
import { DefinitionChanged } from './definition-changed.ts';
import { runDefinition } from './definitions.ts';
import { runDml } from './dml.ts';
import { offsetNotes } from './offset-notes.ts';
import { queriesOf } from './queries.ts';
import { isSystemRelation, systemName } from './system-relations.ts';
import {
  boundParts,
  changesIn,
  RETURNED,
  returningAsQuery,
  runWithChanges,
} from './with-changes.ts';
import { runLocking } from './row-locks.ts';
import { arrayFrom } from './array-input.ts';
import { claimingIn, runClaiming } from './claiming-parts.ts';
import { converterOf } from './rows-in.ts';
import {
  emptyOutcome,
  textColumns,
  type ExecutionOptions,
  type RowSink,
  type Session,
  type StatementOutcome,
} from './session.ts';

/** Runs one statement in its session; rows go to the sink, what it did is the result. */
export async function runStatement(
  session: Session,
  parsed: ParsedStatement,
  options: ExecutionOptions,
  sink: RowSink,
): Promise<StatementOutcome> {
  const { statement } = parsed;
  const { engine } = session;
  const claiming = parsed.claimsRows === true ? claimingIn(session, parsed) : undefined;
  if (claiming !== undefined) {
    refuseWrite(session, options, 'select for update');
    return runClaiming(session, parsed, claiming, options, (inner, own, to = sink) =>
      runStatement(session, inner, own, to),
    );
  }
  const told = returningAsQuery(statement, () => session.planCatalog());
  if (told !== undefined) {
    const answer = await runStatement(session, { ...parsed, statement: told }, options, sink);
    return { ...answer, command: statement.kind.toUpperCase() };
  }
  const changes = changesIn(statement);
  if (changes !== undefined) {
    refuseWrite(
      session,
      options,
      changes.ctes.find((cte) => cte.statement.kind !== 'query')!.statement.kind,
    );
    return runWithChanges(session, parsed, changes, options, (inner, own) =>
      runStatement(session, inner, own, sink),
    );
  }
  switch (statement.kind) {
    case 'query': {
      if (statement.query.body.kind === 'select' && statement.query.body.into !== undefined) {
        refuseWrite(session, options, 'SELECT INTO');
        const { into, ...body } = statement.query.body;
        const query = { ...statement.query, body };
        return runDefinition(
          session,
          {
            kind: 'createTableAs',
            name: into,
            ifNotExists: false,
            temporary: false,
            columns: [],
            query,
            withData: true,
            options: [],
          },
          options,
        );
      }
      return runQuery(session, parsed, options, sink);
    }
    case 'insert':
    case 'update':
    case 'delete':
      refuseWrite(session, options, statement.kind);
      return runDml(session, parsed, options, sink);
    case 'begin': {
      if (session.transaction !== undefined && session.explicit) return outcome(session, 'BEGIN');
      const modes = { isolation: statement.isolation, readOnly: statement.readOnly };
      // Inside a text of several statements BEGIN turns the implicit transaction into an explicit one.
      if (session.transaction === undefined) session.begin(modes);
      else session.transaction.setModes(modes, engine.visiblePosition);
      session.explicit = true;
      return outcome(session, 'BEGIN');
    }
    case 'commit': {
      refuseEnd(session, 'COMMIT');
      const failed = session.transaction?.failed === true;
      const position = failed
        ? (session.rollback(), engine.visiblePosition)
        : await session.commit(options.signal);
      if (statement.chain) session.begin({});
      return { ...outcome(session, failed ? 'ROLLBACK' : 'COMMIT'), position };
    }
    case 'rollback':
      refuseEnd(session, 'ROLLBACK');
      session.rollback();
      if (statement.chain) session.begin({});
      return outcome(session, 'ROLLBACK');
    case 'savepoint':
    case 'release':
    case 'rollbackTo': {
      const { transaction } = session;
      if (transaction === undefined)
        throw new DbError(
          '25P01',
          `${statement.kind === 'savepoint' ? 'SAVEPOINT' : statement.kind === 'release' ? 'RELEASE SAVEPOINT' : 'ROLLBACK TO SAVEPOINT'} can only be used in transaction blocks`,
          { hint: 'Send BEGIN first.' },
        );
      if (statement.kind === 'savepoint') transaction.savepoint(statement.name, engine.claims);
      else if (statement.kind === 'release') transaction.releaseSavepoint(statement.name);
      else transaction.rollbackTo(statement.name, engine.claims);
      return outcome(
        session,
        statement.kind === 'savepoint'
          ? 'SAVEPOINT'
          : statement.kind === 'release'
            ? 'RELEASE'
            : 'ROLLBACK',
      );
    }
    case 'setTransaction': {
      if (statement.session) {
        if (statement.isolation !== undefined)
          session.set('default_transaction_isolation', statement.isolation, false);
        if (statement.readOnly !== undefined)
          session.set('default_transaction_read_only', statement.readOnly ? 'on' : 'off', false);
        return outcome(session, 'SET');
      }
      const modes = { isolation: statement.isolation, readOnly: statement.readOnly };
      session.transaction?.setModes(modes, engine.visiblePosition);
      return outcome(session, 'SET');
    }
    case 'set':
      session.set(statement.name, statement.value, statement.local);
      return outcome(session, 'SET');
    case 'show':
      return show(session, statement.name, sink);
    case 'explain':
      return explain(session, parsed, statement, options, sink);
    case 'prepare': {
      if (session.prepared.has(statement.name))
        throw new DbError('42P05', `prepared statement "${statement.name}" already exists`, {
          hint: `DEALLOCATE ${statement.name} removes it.`,
        });
      const prepared = {
        statement: statement.statement,
        text: statement.text,
        parameterCount: parsed.parameterCount,
        parameterTypes: statement.types,
        claimsRows: parsed.claimsRows,
      };
      preparedTypes(session, prepared);
      session.prepared.set(statement.name, prepared);
      return outcome(session, 'PREPARE');
    }
    case 'execute': {
      const { prepared, params } = executed(session, statement, options);
      return runStatement(session, prepared, { ...options, params }, sink);
    }
    case 'deallocate':
      if (statement.name === undefined) session.prepared.clear();
      else if (!session.prepared.delete(statement.name))
        throw new DbError('26000', `prepared statement "${statement.name}" does not exist`, {
          hint: didYouMean(statement.name, session.prepared.keys()),
        });
      return outcome(session, 'DEALLOCATE');
    case 'discard':
      if (session.transaction !== undefined && statement.what === 'all')
        throw new DbError('25001', 'DISCARD ALL cannot run inside a transaction block');
      if (statement.what === 'all' || statement.what === 'plans') session.prepared.clear();
      if (statement.what === 'all') session.resetSettings();
      return outcome(session, statement.what === 'all' ? 'DISCARD ALL' : 'DISCARD');
    case 'comment':
      return outcome(session, 'COMMENT');
    case 'unsupported':
      throw notSupported(statement.what, undefined, statement.at);
    default:
      refuseWrite(session, options, statement.kind.replace(/[A-Z]/g, ' $&'));
      return runDefinition(session, statement, options);
  }
}

/** What EXECUTE names, and the values that it gives. */
function executed(
  session: Session,
  { name, args }: Extract<Statement, { kind: 'execute' }>,
  options: ExecutionOptions,
): { readonly prepared: ParsedStatement; readonly params: readonly unknown[] } {
  const prepared = session.prepared.get(name);
  if (prepared === undefined)
    throw new DbError('26000', `prepared statement "${name}" does not exist`, {
      hint: didYouMean(name, session.prepared.keys()) ?? 'PREPARE it first.',
    });
  const types = preparedTypes(session, prepared);
  if (types.length !== args.length)
    throw new DbError('42601', `wrong number of parameters for prepared statement "${name}"`, {
      detail: `Expected ${types.length} parameters but got ${args.length}.`,
    });
  const context = session.evaluationContext([], options);
  const params = args.map((arg, index) => {
    const type = types[index];
    if (type?.kind === 'array') {
      const items = bindArrayArgument(arg, type.element, session.planCatalog());
      return new BoundDatum(
        items === undefined
          ? null
          : new ArrayValue(items.map((item) => evaluateConstant(item, context))),
      );
    }
    const value = bindExpression(arg, session.planCatalog(), 'EXECUTE');
    // As text it is taken for whatever each part of the statement needs.
    const coerced = coerce(
      value,
      type ?? TEXT,
      type === undefined ? 'explicit' : 'assignment',
      arg.at,
    );
    const datum = evaluateConstant(coerced, context);
    return type === undefined ? datum : new BoundDatum(datum);
  });
  return { prepared, params };
}

/**
 * The types of a prepared statement's parameters; what is wrong with it is told. A WITH that changes data is bound part by part, each
 * when those before it have run: until then a type that PREPARE leaves open is undefined.
 */
function preparedTypes(
  session: Session,
  prepared: ParsedStatement,
): readonly (ParameterType | undefined)[] {
  if (
    changesIn(prepared.statement) === undefined &&
    returningAsQuery(prepared.statement, () => session.planCatalog()) === undefined
  )
    return boundOf(session, prepared).parameterTypes;
  const types = writtenTypes(prepared);
  while (types.length < prepared.parameterCount) types.push(undefined);
  return types;
}

/** As PREPARE gives them; a type's length is no part of a parameter. */
function writtenTypes({ parameterTypes = [] }: ParsedStatement): (ParameterType | undefined)[] {
  return parameterTypes.map((type) => {
    if (type.name === 'unknown') return undefined;
    const element = typeOfName({ ...type, modifiers: [], arrayDimensions: 0 }, type.at);
    return type.arrayDimensions === 0 ? element : { kind: 'array', element };
  });
}

/** A parameter that is a datum already: EXECUTE's. */
export class BoundDatum {
  readonly datum: ParameterValue;

  constructor(datum: ParameterValue) {
    this.datum = datum;
  }
}

// ── Queries ────────────────────────────────────────────────────────────────────────────────────────────────────

async function runQuery(
  session: Session,
  parsed: ParsedStatement,
  options: ExecutionOptions,
  sink: RowSink,
): Promise<StatementOutcome> {
  const { engine } = session;
  const sinceMs = engine.ports.clock.monotonicMs();
  const key = planKeyOf(session, parsed);
  let bound = boundOf(session, parsed, key);
  const turn = engine.givesWay(sinceMs);
  if (turn !== undefined) {
    await turn;
    engine.assertOpen();
    if (engine.turn.definesUnacknowledged) await engine.untilDefined(options.signal);
    // What it reads may have been defined anew meanwhile; else it is good, though it may be too long to be remembered.
    if (key === undefined || planKeyOf(session, parsed) !== key) bound = boundOf(session, parsed);
  }
  if (bound.kind !== 'query') throw notSupported('a query that changes data');
  const parameters = parametersOf(session, bound, options);
  const { locks } = bound;
  if (locks !== undefined) {
    refuseWrite(session, options, 'select for update');
    if (session.transaction !== undefined || locks.wait === 'skip')
      return runLocking(session, bound, locks, parameters, parsed.text, options, sink);
  }
  return executePlan(session, bound, parameters, parsed.text, options, sink);
}

/**
 * What a statement was bound to. After a wait a relation may be another, its columns in other places, or on its way to be one, with no rows for
 * readers yet.
 */
export class BoundTo {
  readonly #session: Session;
  readonly #entries: ReadonlyMap<number, CatalogEntry | undefined>;

  constructor(session: Session, relations: readonly number[]) {
    this.#session = session;
    this.#entries = new Map(relations.map((each) => [each, session.catalog.byId(each)]));
  }

  /** After a wait, and before anything is read: 40001 where the statement is to be bound anew, by whoever runs it. */
  async stands(signal: AbortSignal | undefined): Promise<void> {
    const { engine, catalog } = this.#session;
    if (engine.turn.definesUnacknowledged) await engine.untilDefined(signal);
    for (const [relation, entry] of this.#entries)
      if (catalog.byId(relation) !== entry) throw new DefinitionChanged(entry?.definition.name);
  }
}

/** Runs a bound query; snapshots are taken now, all at one position. */
export async function executePlan(
  session: Session,
  bound: BoundQuery,
  parameters: readonly ParameterValue[],
  text: string,
  options: ExecutionOptions,
  sink: RowSink,
): Promise<StatementOutcome> {
  const { engine } = session;
  if (engine.recovery.brokenCount > 0) {
    const to = new BoundTo(session, bound.relations);
    await engine.recovery.untilServed(bound.relations, options.signal);
    await to.stands(options.signal);
  }
  const context = session.evaluationContext(parameters, options);
  if (options.isUnnoted !== true)
    session.transaction?.noteReads(bound.plan, context, (relation, since) =>
      session.storedEntry(relation).data.changes(since, engine.visiblePosition),
    );
  const position = answerPosition(session, bound.relations, options);
  const tiled = new Map<PlanNode, TiledAnswer>();
  const opened = openPlan(session, bound.plan, bound.relations, context, options.asOf, tiled);
  let rowCount = 0;
  const run = engine.run({
    text,
    tenant: session.identity.tenant,
    user: session.identity.user,
    label: options.label,
    priority: options.priority ?? 'normal',
    workMax: options.maxWork,
    signal: options.signal,
    open: opened.open,
    take: (batch) => {
      rowCount += batch.rowCount;
      return sink.take(batch);
    },
  });
  sink.begin(bound.plan.columns, run.demand);
  try {
    const { id, work, elapsedMs, queuedMs } = await run.finished;
    const { source, sources } = provenance(
      session,
      bound.relations,
      scansOf(bound.plan) === tiled.size
        ? new Set([...tiled.values()].map(({ relation }) => relation))
        : undefined,
      options.asOf,
    );
    const done: StatementOutcome = {
      command: 'SELECT',
      columns: bound.plan.columns,
      rowCount,
      position,
      source,
      sources,
      queryId: id,
      work,
      elapsedMs,
      queuedMs,
      tiled,
    };
    engine.metrics.finished(done);
    return done;
  } finally {
    opened.release();
  }
}

/** The position a query's answer is true at. */
export function answerPosition(
  session: Session,
  relations: readonly number[],
  { asOf }: Pick<ExecutionOptions, 'asOf'>,
): number {
  const position = asOf ?? session.transaction?.position ?? rowsPosition(session, relations);
  if (!Number.isSafeInteger(position) || position < 0)
    throw new DbError('22023', '"asOf" is not a position', {
      field: 'asOf',
      hint: 'Give the position of a write or of an answer.',
    });
  if (asOf !== undefined && asOf > session.engine.visiblePosition) {
    throw new DbError('ADB_POSITION_GONE', `position ${asOf} is not there yet`, {
      position: asOf,
      hint: 'Use atLeast to wait for a position.',
    });
  }
  return position;
}

/** The position whose rows a statement sees: the visible one, but for views that lag. */
export function rowsPosition(session: Session, relations: readonly number[]): number {
  const { visiblePosition } = session.engine;
  let position = visiblePosition;
  for (const relation of relations) {
    const entry = session.catalog.byId(relation);
    if (entry?.kind === 'materializedView')
      position = Math.min(position, entry.view.rowsPosition(visiblePosition));
  }
  return position;
}

/** Snapshots of all relations now, operators when the query's first step comes. */
export function openPlan(
  session: Session,
  plan: PlanNode,
  relations: readonly number[],
  context: ReturnType<Session['evaluationContext']>,
  asOf: number | undefined,
  /** The aggregates that tiles have answered. */
  tiled?: Map<PlanNode, TiledAnswer>,
): { open(): Operator; release(): void } {
  const { environment, release } = openRelations(session, relations, context, asOf);
  const whole: ExecutionEnvironment =
    tiled === undefined
      ? environment
      : {
          ...environment,
          aggregate: (node, inner, plain) =>
            session.engine.tiles.aggregate(
              node,
              inner,
              plain,
              (answer) => void tiled.set(node, answer),
              session.usesTiles,
            ),
        };
  return {
    open: () => {
      session.engine.tiles.assertWhole(plan, whole, tiled !== undefined);
      return buildOperator(plan, whole);
    },
    release,
  };
}

/** Snapshots of relations, all taken now, and an account for what is made of them; to be released. */
export function openRelations(
  session: Session,
  relations: readonly number[],
  context: ReturnType<Session['evaluationContext']>,
  asOf: number | undefined,
): { readonly environment: ExecutionEnvironment; release(): void } {
  const snapshots = new Map<number, TableSnapshot>();
  try {
    for (const relation of relations) snapshots.set(relation, session.snapshotOf(relation, asOf));
  } catch (cause) {
    for (const snapshot of snapshots.values()) snapshot.release();
    throw cause;
  }
  const memory = session.engine.memory.child(`a query of tenant ${session.identity.tenant}`);
  memory.hint = QUERY_HINT;
  let released = false;
  return {
    environment: {
      snapshotOf: (relation) => snapshots.get(relation)!,
      position: asOf ?? session.transaction?.position ?? session.engine.visiblePosition,
      context,
      memory,
    },
    release: () => {
      if (released) return;
      released = true;
      for (const snapshot of snapshots.values()) snapshot.release();
      if (memory.usedBytes > 0) memory.release(memory.usedBytes);
    },
  };
}

/** What a query can do that does not fit. */
export const QUERY_HINT =
  'Ask for less at once: fewer groups, fewer columns, a shorter time; or raise the memory limit.';

/** The bound statement, from the cache where its text, names and types are the same. */
export function boundOf(
  session: Session,
  parsed: ParsedStatement,
  key = planKeyOf(session, parsed),
): BoundStatement {
  const bind = (): BoundStatement =>
    bindStatement(parsed.statement, session.planCatalog(), {
      parameterTypes: writtenTypes(parsed),
    });
  return key === undefined ? bind() : session.engine.statements.bound(key, bind);
}

/** Plans of one key are one. Undefined: a transaction's own definitions, or materialized views it must read as queries, are nobody else's. */
function planKeyOf(session: Session, parsed: ParsedStatement): string | undefined {
  const { engine } = session;
  const { epoch } = session.catalog;
  if (
    parsed.once === true ||
    epoch < 0 ||
    session.transaction?.bindsForItself(engine.state.viewsMade) === true
  )
    return undefined;
  const typeKey = writtenTypes(parsed)
    .map((type) => (type?.kind === 'array' ? `${type.element.kind}[]` : (type?.kind ?? '')))
    .join();
  return `${epoch}.${engine.housekeeping.statisticsEpoch}\0${session.scopeKey}\0${typeKey}\0${parsed.text}`;
}

const NO_PARAMETERS: readonly unknown[] = [];

/** Parameters as data of the types the statement gave them. */
export function parametersOf(
  session: Session,
  bound: BoundStatement,
  options: ExecutionOptions,
): ParameterValue[] {
  const given = options.params ?? NO_PARAMETERS;
  const types = bound.parameterTypes;
  if (given.length < types.length || (given.length > types.length && !options.sharedParams)) {
    throw new DbError(
      '08P01',
      `the statement needs ${types.length} ${types.length === 1 ? 'parameter' : 'parameters'}, but ${given.length} were given`,
      { hint: 'Give one value for each $n in { params: […] }.' },
    );
  }
  if (types.length === 0) return [];
  const context = {
    zone: options.zone ?? session.zone,
    nowMicros: session.engine.ports.clock.now() * 1000,
    bytes: session.bytes,
  };
  return types.map((type, index) => {
    const value = given[index];
    if (value instanceof BoundDatum) return value.datum;
    if (value === null) return null;
    if (value === undefined)
      throw new DbError('22023', `parameter $${index + 1} is undefined`, {
        field: `params.${index}`,
        hint: 'Give null for NULL.',
      });
    if (type.kind === 'array')
      return arrayFrom(value, type.element, context, {
        named: `parameter $${index + 1}`,
        field: `params.${index}`,
      });
    try {
      return converterOf(type)(value, context);
    } catch (cause) {
      if (!(cause instanceof DbError)) throw cause;
      throw new DbError(cause.code, `parameter $${index + 1}: ${cause.message}`, {
        field: `params.${index}`,
        hint: Array.isArray(value)
          ? `x = ANY ($${index + 1}) compares with what an array holds.`
          : cause.hint,
      });
    }
  });
}

function scansOf(plan: PlanNode): number {
  return inputsOf(plan).reduce(
    (count, each) => count + scansOf(each),
    plan.kind === 'scan' ? 1 : 0,
  );
}

const NO_RELATIONS: ReadonlySet<number> = new Set();

/** `tiled`: the relations that were read as tiles alone. */
export function provenance(
  session: Session,
  relations: readonly number[],
  tiled: ReadonlySet<number> = NO_RELATIONS,
  asOf: number = session.engine.visiblePosition,
): Pick<StatementOutcome, 'source' | 'sources'> {
  const sources: StatementOutcome['sources'][number][] = [];
  for (const relation of relations) {
    const entry = isSystemRelation(relation) ? undefined : session.catalog.byId(relation);
    if (isSystemRelation(relation)) sources.push({ kind: 'catalog', name: systemName(relation) });
    else if (entry !== undefined) {
      const { name } = entry.definition;
      const keptFromMs = allKeptFromMs(session, [relation], asOf);
      const keptFrom = keptFromMs === -Infinity ? {} : { keptFrom: instantText(keptFromMs) };
      const kept = session.engine.state.findKept(relation)?.hull(asOf);
      const rowsFrom = kept === undefined ? {} : { rowsFrom: instantText(kept.end / 1000) };
      const kind = entry.kind === 'materializedView' ? 'view' : 'table';
      sources.push({ kind, name, ...rowsFrom, ...keptFrom });
    }
  }
  const source: AnswerSource = sources.every(({ kind }) => kind === 'catalog')
    ? 'catalog'
    : relations.every((relation) => tiled.has(relation))
      ? 'windows'
      : sources.every(({ kind }) => kind === 'view')
        ? 'view'
        : 'scan';
  return { source, sources };
}

/** From when on a policy has kept anything, as of a position; −∞: it lets nothing go. */
function keptFromMsOf(session: Session, policy: Policy | undefined, position: number): number {
  const last = policy?.retention.at(-1);
  if (policy === undefined || last === undefined || roughAgeMs(last.keep) === undefined)
    return -Infinity;
  const { engine } = session;
  const calendar = engine.plainCalendars.inZoneOfSql(policy.zone);
  const { goneBefore } = new RetentionPlan(policy, calendar, engine.instantAt(position));
  return goneBefore / 1000;
}

/** From when on everything is kept that relations ever had, as of a position; −∞: nothing was let go. */
export function allKeptFromMs(
  session: Session,
  relations: readonly number[],
  position: number,
): number {
  let fromMs = -Infinity;
  for (const relation of relations) {
    const entry = isSystemRelation(relation) ? undefined : session.catalog.byId(relation);
    if (entry?.kind === 'table')
      fromMs = Math.max(fromMs, keptFromMsOf(session, entry.definition.policy, position));
    if (entry?.kind !== 'materializedView') continue;
    // A view is of the rows that are left: those that were demoted are no more for it.
    const { sources } = entry.view;
    fromMs = Math.max(fromMs, allKeptFromMs(session, sources, position));
    for (const source of sources) {
      const kept = session.engine.state.findKept(source)?.hull(position);
      if (kept !== undefined) fromMs = Math.max(fromMs, kept.end / 1000);
    }
  }
  return fromMs;
}

// ── Rows the engine makes itself ───────────────────────────────────────────────────────────────────────────────

export function sendTexts(
  session: Session,
  columns: readonly OutputColumn[],
  rows: readonly (readonly (string | null)[])[],
  command: string,
  sink: RowSink,
): StatementOutcome {
  sink.begin(columns, () => undefined);
  if (rows.length > 0) {
    const batch: Batch = {
      rowCount: rows.length,
      columns: columns.map((_, index) =>
        vectorFromData(
          TEXT,
          rows.map((row) => row[index] ?? null),
        ),
      ),
    };
    sink.take(batch);
  }
  return { ...emptyOutcome(session.engine, command), columns, rowCount: rows.length };
}

function show(session: Session, name: string, sink: RowSink): StatementOutcome {
  const { engine } = session;
  switch (name.toLowerCase()) {
    case 'all':
      return sendTexts(
        session,
        textColumns('name', 'setting', 'description'),
        session.settingNames.map((each) => [each, session.setting(each) ?? '', '']),
        'SHOW',
        sink,
      );
    case 'tables':
    case 'views': {
      const entries = session.catalog
        .ofTenant(session.identity.tenant)
        .filter((entry) =>
          name.toLowerCase() === 'tables'
            ? entry.kind === 'table'
            : entry.kind === 'view' || entry.kind === 'materializedView',
        );
      return sendTexts(
        session,
        textColumns('schema', 'name', 'kind', 'rows'),
        entries.map((entry) => [
          entry.definition.schema,
          entry.definition.name,
          entry.kind === 'materializedView' ? 'materialized view' : entry.kind,
          entry.kind === 'table' || entry.kind === 'materializedView'
            ? String(entry.data.rowCount)
            : null,
        ]),
        'SHOW',
        sink,
      );
    }
    case 'tenants':
      return sendTexts(
        session,
        textColumns('name'),
        [...new Set(['main', ...engine.state.catalog.tenants()])].map((tenant) => [tenant]),
        'SHOW',
        sink,
      );
    case 'actors':
      return sendTexts(
        session,
        textColumns(...ACTOR_COLUMNS),
        actorRows(engine, session.identity.tenant),
        'SHOW',
        sink,
      );
    case 'queries':
      return sendTexts(
        session,
        textColumns('id', 'tenant', 'state', 'query'),
        queriesOf(engine, session.identity.tenant).map(({ id, tenant, state, text }) => [
          id,
          tenant,
          state,
          text,
        ]),
        'SHOW',
        sink,
      );
    default: {
      const value = session.setting(name);
      if (value === undefined)
        throw new DbError('42704', `unrecognized configuration parameter "${name}"`, {
          hint: session.settingMeant(name) ?? 'SHOW ALL lists the parameters.',
        });
      return sendTexts(
        session,
        textColumns(name.toLowerCase() === 'timezone' ? 'TimeZone' : name.toLowerCase()),
        [[value]],
        'SHOW',
        sink,
      );
    }
  }
}

/** PostgreSQL's; those of what there is not here are taken and say nothing. */
const EXPLAIN_OPTIONS = [
  'analyze',
  'format',
  'verbose',
  'costs',
  'settings',
  'generic_plan',
  'buffers',
  'wal',
  'timing',
  'summary',
];

async function explain(
  session: Session,
  parsed: ParsedStatement,
  statement: Extract<Statement, { kind: 'explain' }>,
  options: ExecutionOptions,
  sink: RowSink,
): Promise<StatementOutcome> {
  const option = (name: string): boolean =>
    statement.options.some(
      (each) =>
        each.name === name && each.value !== 'off' && each.value !== 'false' && each.value !== 0,
    );
  for (const { name, at } of statement.options)
    if (!EXPLAIN_OPTIONS.includes(name))
      throw new DbError('42601', `unrecognized EXPLAIN option "${name}"`, {
        at,
        hint: didYouMean(name, EXPLAIN_OPTIONS),
      });
  const format = String(
    statement.options.find(({ name }) => name === 'format')?.value ?? 'text',
  ).toLowerCase();
  if (format !== 'text' && format !== 'json')
    throw notSupported(
      `EXPLAIN (FORMAT ${format.toUpperCase()})`,
      'Use FORMAT TEXT or FORMAT JSON.',
    );
  const { prepared, params } =
    statement.statement.kind === 'execute'
      ? executed(session, statement.statement, options)
      : { prepared: { ...parsed, statement: statement.statement }, params: options.params };
  const told = returningAsQuery(prepared.statement, () => session.planCatalog());
  const inner: ParsedStatement = {
    ...prepared,
    statement: told ?? prepared.statement,
    text: `explain\0${prepared.text}`,
  };
  const changes = changesIn(inner.statement);
  const parts =
    changes === undefined
      ? [boundOf(session, inner)]
      : boundParts(inner, changes, (part) => boundOf(session, part));
  const bound = parts.at(-1)!;
  const { tiles } = session.engine;
  const shown = {
    statistics: session.planCatalog().statistics,
    sourceOf: (node: AggregateNode): readonly [string, string][] =>
      bound.kind === 'query' && session.usesTiles && tiles.fits(node) ? [FROM_TILES] : [],
    demotedOf: (relation: number) => {
      const kept = session.engine.state.keptTable(relation);
      return kept && demotedNote(kept, session.engine.visiblePosition, -Infinity, Infinity);
    },
  };
  const done = option('analyze')
    ? await analyzed(session, parsed, prepared, { inner, bound }, { ...options, params })
    : undefined;
  const asked =
    done === undefined
      ? shown
      : {
          ...shown,
          sourceOf: (node: AggregateNode): readonly [string, string][] => {
            const answer = done.tiled?.get(node);
            return answer === undefined ? [] : [FROM_TILES, ...tiledLines(session, answer)];
          },
        };
  return sendTexts(
    session,
    textColumns('QUERY PLAN'),
    format === 'json'
      ? [[planDocument(parts, asked, done)]]
      : planLines(session, parts, asked, done).map((line) => [line]),
    'EXPLAIN',
    sink,
  );
}

/** EXPLAIN ANALYZE runs it, and tells of it instead of its answer. */
async function analyzed(
  session: Session,
  parsed: ParsedStatement,
  prepared: ParsedStatement,
  { inner, bound }: { readonly inner: ParsedStatement; readonly bound: BoundStatement },
  options: ExecutionOptions,
): Promise<StatementOutcome> {
  const silent: RowSink = { begin: () => undefined, take: () => true };
  if (bound.kind !== 'query') refuseWrite(session, options, inner.statement.kind);
  if (
    changesIn(inner.statement) !== undefined ||
    // What it claims before is a part of it.
    (bound.kind !== 'query' && prepared.claimsRows === true)
  )
    return runStatement(session, prepared, options, silent);
  if (bound.kind !== 'query') return runDml(session, inner, options, silent);
  const parameters = parametersOf(session, bound, options);
  return executePlan(session, bound, parameters, parsed.text, options, silent);
}

/** The changes of a WITH stand before the plan that reads what they return. */
function planLines(
  session: Session,
  parts: readonly BoundStatement[],
  options: ExplainOptions,
  done: StatementOutcome | undefined,
): string[] {
  const plans = parts.map(({ plan }) =>
    explainPlan(plan, options).flatMap((line) => line.replaceAll(RETURNED, 'returned').split('\n')),
  );
  const last = plans.pop()!;
  const changes = plans.flatMap((plan, index) => {
    const part = parts[index]!;
    const verb = `${part.kind[0]!.toUpperCase()}${part.kind.slice(1)}`;
    const table = part.kind === 'query' ? '' : session.storedEntry(part.relation).definition.name;
    const indented = plan.map((line, at) => `${at === 0 ? '  ->  ' : '      '}${line}`);
    return [`${verb} on ${table}`, ...indented];
  });
  const facts =
    done === undefined
      ? []
      : [
          `Work: ${done.work} units`,
          `Rows: ${done.rowCount}`,
          `Execution Time: ${done.elapsedMs.toFixed(3)} ms`,
        ];
  return [...changes, ...last, ...facts];
}

/** The same as JSON: a list of plans, the statement's own the last, with what it took. */
function planDocument(
  parts: readonly BoundStatement[],
  options: ExplainOptions,
  done: StatementOutcome | undefined,
): string {
  const plans: Record<string, unknown>[] = parts.map(({ plan }) => ({
    Plan: planAsJson(plan, options),
  }));
  if (done !== undefined)
    Object.assign(plans.at(-1)!, {
      Work: done.work,
      Rows: done.rowCount,
      'Execution Time': Number(done.elapsedMs.toFixed(3)),
    });
  const named = (_: string, value: unknown): unknown =>
    typeof value === 'string' ? value.replaceAll(RETURNED, 'returned') : value;
  return JSON.stringify(plans, named, 2);
}

const FROM_TILES: [string, string] = ['Source', 'window tiles'];

/** What EXPLAIN ANALYZE tells of an aggregate that came from tiles, as `explainWindow` tells it of a window query. */
function tiledLines(session: Session, answer: TiledAnswer): [string, string][] {
  const { windows, tiles, rowsScanned, from, to, zone } = answer;
  const calendar = session.engine.plainCalendars.inZoneOfSql(zone);
  const span = { startMs: Math.floor(from / 1000), endMs: Math.ceil(to / 1000) };
  const isBounded = Number.isFinite(span.startMs) && Number.isFinite(span.endMs);
  const notes = isBounded ? offsetNotes(span, calendar) : [];
  const bounds = isBounded
    ? `${windows}, ${instantLabel(calendar, span.startMs)} → ${instantLabel(calendar, span.endMs)}`
    : String(windows);
  return [
    ['Windows', bounds],
    ['Tiles Merged', String(tiles)],
    ['Rows Scanned', String(rowsScanned)],
    ...(notes.length === 0 ? [] : [['Note', notes.join('; ')] satisfies [string, string]]),
  ];
}

function refuseEnd(session: Session, command: string): void {
  if (!session.endsElsewhere) return;
  throw new DbError('2D000', `${command} cannot end the transaction of db.transaction`, {
    hint: 'Return from its function to commit, throw to roll back; a session of its own takes BEGIN and COMMIT.',
  });
}

function refuseWrite(session: Session, options: ExecutionOptions, kind: string): void {
  if (options.asOf !== undefined)
    throw new DbError('25006', `cannot execute ${kind.toUpperCase()} as of an earlier position`, {
      field: 'asOf',
      hint: 'The past is only read: leave asOf out.',
    });
  if (
    session.transaction?.readOnly === true ||
    options.readOnly === true ||
    (session.transaction === undefined && session.setting('default_transaction_read_only') === 'on')
  ) {
    throw new DbError('25006', `cannot execute ${kind.toUpperCase()} in a read-only transaction`, {
      hint: 'Begin without READ ONLY; over HTTP use POST.',
    });
  }
}

function outcome(session: Session, command: string): StatementOutcome {
  return emptyOutcome(session.engine, command);
}
