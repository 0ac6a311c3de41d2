import { notSupported } from '../base/errors.ts';
import type { Batch } from '../columns/batch.ts';
import { datumAt } from '../columns/build.ts';
import type { TableSnapshot } from '../columns/table-contract.ts';
import { datumToText } from '../expressions/text-io.ts';
import { tablesReturned, type BoundStatement } from '../plan/bind.ts';
import type { PlanCatalog } from '../plan/catalog.ts';
import type { OutputColumn } from '../plan/logical.ts';
import type {
  DeleteStatement,
  FromItem,
  InsertStatement,
  ParsedStatement,
  Query,
  SelectItem,
  SqlExpression,
  Statement,
  TypeNameNode,
  UpdateStatement,
  WithClause,
} from '../sql/ast.ts';
import { madeSelect } from '../sql/made-query.ts';
import { BatchCollector } from './batch-collector.ts';
import { runDml } from './dml.ts';
import type { ExecutionOptions, RowSink, Session, StatementOutcome } from './session.ts';

/** A statement that changes rows. */
export type Change = InsertStatement | UpdateStatement | DeleteStatement;
export type Cte = WithClause['ctes'][number];

export function withOf(statement: Statement): WithClause | undefined {
  if (statement.kind === 'query') return statement.query.with;
  return isChange(statement) ? statement.with : undefined;
}

/** The WITH of a statement, where one of its queries changes data. */
export function changesIn(statement: Statement): WithClause | undefined {
  const clause = withOf(statement);
  return clause?.ctes.some((cte) => isChange(cte.statement)) === true ? clause : undefined;
}

/**
 * INSERT … RETURNING (SELECT …): the rows are returned by a WITH of its own, and the list is a query over them. Undefined where there is no
 * subquery in it, or where tables of FROM share columns.
 */
export function returningAsQuery(
  statement: Statement,
  catalog: () => PlanCatalog,
): Statement | undefined {
  if (!isChange(statement) || !statement.returning.some(hasQuery)) return undefined;
  const { with: clause, table } = statement;
  const found = returned(statement, catalog);
  if (found === undefined) return undefined;
  const { inner, items, from } = found;
  return {
    kind: 'query',
    query: {
      with: {
        recursive: clause?.recursive === true,
        ctes: [
          ...(clause?.ctes ?? []),
          {
            name: RETURNED,
            columns: [],
            statement: { ...statement, with: undefined, returning: inner },
            at: table.at,
          },
        ],
      },
      ...madeSelect(items, from),
    },
  };
}

/** What the change itself returns, and the list and the FROM of the query over that. */
function returned(
  statement: Change,
  catalog: () => PlanCatalog,
):
  | {
      readonly inner: readonly SelectItem[];
      readonly items: readonly SelectItem[];
      readonly from: readonly FromItem[];
    }
  | undefined {
  const { returning, table } = statement;
  const rows = (alias: string): FromItem => ({
    kind: 'relation',
    name: { name: RETURNED },
    alias: { name: alias, columns: [] },
    only: false,
  });
  const isOfOneTable =
    statement.kind === 'insert' ||
    (statement.kind === 'update' ? statement.from : statement.using).length === 0;
  if (isOfOneTable)
    return { inner: [star()], items: returning, from: [rows(statement.alias ?? table.name)] };
  const tables =
    changesIn(statement) === undefined ? tablesReturned(statement, catalog()) : undefined;
  if (tables === undefined) return undefined;
  const named = (at: number, column: number): string => `${RETURNED}${at}.${column}`;
  return {
    // Columns of several tables may have one name: each has its own until it is a column of its table again.
    inner: tables.flatMap(({ name, columns }, at) =>
      columns.map((column, index) => columnItem([name, column], named(at, index))),
    ),
    items: returning.flatMap((item) =>
      item.kind === 'star' && item.qualifier.length === 0
        ? tables.map(({ name }) => ({ ...item, qualifier: [name] }))
        : [item],
    ),
    from: [
      rows(RETURNED),
      ...tables.map(({ name, columns }, at): FromItem => ({
        kind: 'subquery',
        query: madeSelect(
          columns.map((column, index) => columnItem([RETURNED, named(at, index)], column)),
          [],
        ),
        alias: { name, columns: [] },
        lateral: true,
      })),
    ],
  };
}

function columnItem(parts: readonly string[], alias: string): SelectItem {
  return { kind: 'expression', expression: { kind: 'column', parts }, alias };
}

function star(): SelectItem {
  return { kind: 'star', qualifier: [] };
}

/** No user's name has such a character. */
export const RETURNED = '\u0001returned';

function hasQuery(tree: unknown): boolean {
  if (typeof tree !== 'object' || tree === null) return false;
  return 'body' in tree || Object.values(tree).some(hasQuery);
}

export function isChange(statement: Statement): statement is Change {
  return statement.kind === 'insert' || statement.kind === 'update' || statement.kind === 'delete';
}

/**
 * WITH … AS (INSERT | UPDATE | DELETE …): the changes run in their order, then the statement itself, all in one transaction. None
 * of them sees what another has changed, as PostgreSQL has it: they speak to each other by RETURNING alone.
 */
export async function runWithChanges(
  session: Session,
  parsed: ParsedStatement,
  clause: WithClause,
  options: ExecutionOptions,
  run: (parsed: ParsedStatement, options: ExecutionOptions) => Promise<StatementOutcome>,
): Promise<StatementOutcome> {
  const isOwn = session.transaction === undefined;
  if (isOwn) {
    session.begin({});
    session.explicit = false;
  }
  const frozen = new Map<number, TableSnapshot>();
  try {
    await session.engine.untilDefined(options.signal);
    for (const { statement, at } of clause.ctes) {
      if (!isChange(statement)) continue;
      const info = session.planCatalog().relation(statement.table);
      if (info === undefined || frozen.has(info.id)) continue;
      if (info.kind === 'view')
        throw notSupported('writing through a view', 'Write to the tables it reads.', at);
      frozen.set(info.id, session.snapshotOf(info.id, undefined));
    }
    session.frozen = frozen;
    const known: Cte[] = [];
    const changes: StatementOutcome[] = [];
    for (const cte of clause.ctes) {
      if (isChange(cte.statement)) {
        const before = { ...clause, ctes: known };
        const { answer, outcome } = await changed(session, parsed, before, cte, options);
        changes.push(outcome);
        if (answer !== undefined) known.push(answer);
      } else known.push(cte);
    }
    const rest = known.length === 0 ? undefined : { ...clause, ctes: known };
    const last = await run(
      { ...parsed, statement: withClause(parsed.statement, rest), once: true },
      { ...options, sharedParams: true },
    );
    const outcome = withAll(changes, last);
    if (!isOwn) return outcome;
    return { ...outcome, position: await session.commit(options.signal) };
  } catch (cause) {
    if (isOwn && session.transaction !== undefined) session.rollback();
    throw cause;
  } finally {
    session.frozen = undefined;
    for (const snapshot of frozen.values()) snapshot.release();
  }
}

/** The last part's answer, with what all of them have read and spent. */
function withAll(changes: readonly StatementOutcome[], last: StatementOutcome): StatementOutcome {
  const sources = new Map(
    [...changes, last]
      .flatMap((each) => each.sources)
      .map((source) => [`${source.kind} ${source.name}`, source]),
  );
  return {
    ...last,
    source: 'scan',
    sources: [...sources.values()],
    work: changes.reduce((sum, { work }) => sum + work, last.work),
    elapsedMs: changes.reduce((sum, { elapsedMs }) => sum + elapsedMs, last.elapsedMs),
    queuedMs: changes.reduce((sum, { queuedMs }) => sum + queuedMs, last.queuedMs),
  };
}

/**
 * What such a statement runs one after the other, bound, itself the last. What changes will return is not known: for the plans of those behind
 * them it is no row.
 */
export function boundParts(
  parsed: ParsedStatement,
  clause: WithClause,
  bound: (parsed: ParsedStatement) => BoundStatement,
): readonly BoundStatement[] {
  const known: Cte[] = [];
  const parts: BoundStatement[] = [];
  const bind = (statement: Statement): BoundStatement => {
    const part = bound({ ...parsed, statement, once: true });
    parts.push(part);
    return part;
  };
  for (const cte of clause.ctes) {
    if (!isChange(cte.statement)) {
      known.push(cte);
      continue;
    }
    const part = bind(withBefore(cte.statement, { ...clause, ctes: known }));
    if (part.kind !== 'query' && part.returning !== undefined)
      known.push(answerOf(cte, part.returning.columns, undefined));
  }
  bind(withClause(parsed.statement, known.length === 0 ? undefined : { ...clause, ctes: known }));
  return parts;
}

/** Runs one change; what it returns becomes a query of constants. No answer: it returns nothing. */
async function changed(
  session: Session,
  parsed: ParsedStatement,
  before: WithClause,
  cte: Cte,
  options: ExecutionOptions,
): Promise<{ readonly answer: Cte | undefined; readonly outcome: StatementOutcome }> {
  const change = cte.statement as Change;
  const statement = withBefore(change, before);
  const collector = new Returned(session.engine.memory);
  try {
    const outcome = await runDml(
      session,
      { ...parsed, statement, once: true },
      { ...options, sharedParams: true },
      collector,
    );
    if (change.returning.length === 0) return { answer: undefined, outcome };
    return { answer: answerOf(cte, collector.columns, collector.rows()), outcome };
  } finally {
    collector.release();
  }
}

/** A change that may speak of what stands before it. */
function withBefore(change: Change, before: WithClause): Change {
  const ctes = [...before.ctes, ...(change.with?.ctes ?? [])];
  const recursive = before.recursive || change.with?.recursive === true;
  return { ...change, with: ctes.length === 0 ? undefined : { recursive, ctes } };
}

function answerOf(cte: Cte, columns: readonly OutputColumn[], rows: Batch | undefined): Cte {
  return {
    ...cte,
    columns: columns.map(({ name }, index) => cte.columns[index] ?? name),
    statement: { kind: 'query', query: constants(columns, rows) },
  };
}

export class Returned extends BatchCollector implements RowSink {
  columns: readonly OutputColumn[] = [];

  override begin(columns: readonly OutputColumn[] = []): void {
    super.begin();
    this.columns = columns;
  }
}

function withClause(statement: Statement, clause: WithClause | undefined): Statement {
  if (statement.kind === 'query')
    return { ...statement, query: { ...statement.query, with: clause } };
  return { ...(statement as Change), with: clause };
}

export function constants(columns: readonly OutputColumn[], rows: Batch | undefined): Query {
  const typed = columns.map(({ type }) => ({
    type,
    written: { name: type.kind, modifiers: [], arrayDimensions: 0, setOf: false } as TypeNameNode,
  }));
  const cell = (column: number, row: number): SqlExpression => {
    const { type, written } = typed[column]!;
    const value = rows === undefined ? null : datumAt(rows.columns[column]!, row);
    return {
      kind: 'cast',
      type: written,
      arg:
        value === null
          ? { kind: 'null' }
          : { kind: 'string', value: datumToText(value, type, { zone: 'UTC' }) },
    };
  };
  const row = (at: number): SqlExpression[] => columns.map((_, column) => cell(column, at));
  const none = madeSelect(
    row(0).map((expression) => ({ kind: 'expression', expression })),
    [],
    { where: { kind: 'boolean', value: false } },
  );
  if (rows === undefined || rows.rowCount === 0) return none;
  return {
    ...none,
    body: { kind: 'values', rows: Array.from({ length: rows.rowCount }, (_, at) => row(at)) },
  };
}

/** A snapshot that somebody else gives back. */
export class BorrowedSnapshot implements TableSnapshot {
  readonly #snapshot: TableSnapshot;
  readonly probe?: NonNullable<TableSnapshot['probe']>;

  constructor(snapshot: TableSnapshot) {
    this.#snapshot = snapshot;
    if (snapshot.probe !== undefined) this.probe = snapshot.probe.bind(snapshot);
  }

  get schema(): TableSnapshot['schema'] {
    return this.#snapshot.schema;
  }

  get rowCount(): number {
    return this.#snapshot.rowCount;
  }

  scan(options: Parameters<TableSnapshot['scan']>[0]): ReturnType<TableSnapshot['scan']> {
    return this.#snapshot.scan(options);
  }

  findUnique(
    ...args: Parameters<TableSnapshot['findUnique']>
  ): ReturnType<TableSnapshot['findUnique']> {
    return this.#snapshot.findUnique(...args);
  }

  lookup(...args: Parameters<TableSnapshot['lookup']>): Float64Array {
    return this.#snapshot.lookup(...args);
  }

  fetch(...args: Parameters<TableSnapshot['fetch']>): Batch {
    return this.#snapshot.fetch(...args);
  }

  release(): void {
    // Its owner does.
  }
}
