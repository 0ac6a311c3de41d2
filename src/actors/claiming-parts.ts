import { DbError } from '../base/errors.ts';
import type { Batch } from '../columns/batch.ts';
import { datumAt } from '../columns/build.ts';
import { BOOLEAN } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import { ArrayValue, type ParameterType, type ParameterValue } from '../expressions/arrays.ts';
import type { OutputColumn } from '../plan/logical.ts';
import type {
  ParsedStatement,
  Query,
  SelectItem,
  SqlExpression,
  Statement,
  TypeNameNode,
  WithClause,
} from '../sql/ast.ts';
import { madeSelect } from '../sql/made-query.ts';
import { substituted } from '../sql/substitute.ts';
import type { ExecutionOptions, RowSink, Session, StatementOutcome } from './session.ts';
import { BoundDatum, boundOf, parametersOf } from './statements.ts';
import {
  changesIn,
  constants,
  isChange,
  Returned,
  withOf,
  type Change,
  type Cte,
} from './with-changes.ts';

/**
 * A statement with parts that are run before it, for themselves: `WHERE id = (SELECT … FOR UPDATE SKIP LOCKED)`, `WITH next AS (SELECT … FOR
 * UPDATE)`. One that is about the row around it, reads what the statement changes, or would claim whole tables is none: it claims nothing, and
 * what is written waits.
 */
export type Claiming = {
  readonly parts: readonly Part[];
  readonly types: ParsedStatement['parameterTypes'];
};

/** `parsed` may be run as long as nothing of it has been. */
type Part = ClaimingQuery & { readonly parsed: ParsedStatement };

/** Undefined: there are no such parts. */
export function claimingIn(session: Session, parsed: ParsedStatement): Claiming | undefined {
  const { statement } = parsed;
  if (statement.kind !== 'query' && !isChange(statement)) return undefined;
  const { found } = new ClaimingQueries(statement);
  if (found.length === 0) return undefined;
  // Parameters are what the whole statement takes them for; a WITH that changes data is bound part by part, each when those before it have run.
  const types =
    changesIn(statement) === undefined
      ? boundOf(session, parsed).parameterTypes.map(writtenType)
      : parsed.parameterTypes;
  const parts = found.flatMap((each, index): Part[] => {
    const part = {
      ...parsed,
      statement: queryOf(each.query, each.before),
      text: `claims ${index}\0${parsed.text}`,
      parameterTypes: types,
      claimsRows: undefined,
    };
    return claimsRowsOfOne(session, part) ? [{ ...each, parsed: part }] : [];
  });
  return parts.length === 0 ? undefined : { parts, types };
}

function claimsRowsOfOne(session: Session, parsed: ParsedStatement): boolean {
  try {
    const bound = boundOf(session, parsed);
    return bound.kind === 'query' && bound.locks?.plan !== undefined;
  } catch (cause) {
    // What is wrong with it the statement says as a whole.
    if (cause instanceof DbError) return false;
    throw cause;
  }
}

/** Runs the parts and then the statement, with what they gave in their places, all in one transaction. */
export async function runClaiming(
  session: Session,
  parsed: ParsedStatement,
  { parts, types }: Claiming,
  options: ExecutionOptions,
  run: (
    parsed: ParsedStatement,
    options: ExecutionOptions,
    sink?: RowSink,
  ) => Promise<StatementOutcome>,
): Promise<StatementOutcome> {
  const isOwn = session.transaction === undefined;
  if (isOwn) {
    // As a statement of its own does: it waits for others, and is never told 40001.
    session.begin({ isolation: 'read committed' });
    session.explicit = false;
  }
  try {
    const params =
      changesIn(parsed.statement) === undefined
        ? parametersOf(session, boundOf(session, parsed), options).map(
            (value) => new BoundDatum(value),
          )
        : options.params;
    const own = { ...options, params, sharedParams: true };
    const answers = new Map<Query, Answer>();
    const claimed: StatementOutcome[] = [];
    for (const part of parts) {
      const collector = new Returned(session.engine.memory);
      try {
        const statement = inPlace(part.parsed.statement, answers) as Statement;
        const again = statement === part.parsed.statement ? {} : { statement, once: true };
        claimed.push(await run({ ...part.parsed, ...again }, own, collector));
        const answer = answerOf(part.query, collector.columns, collector.rows());
        if (answer !== undefined) answers.set(part.query, answer);
      } finally {
        collector.release();
      }
    }
    // With values as parameters it is planned once; a WITH that changes data knows no types of them.
    const more =
      params === options.params ? undefined : new MoreParameters(params ?? [], types ?? []);
    const statement = inPlace(parsed.statement, answers, more) as Statement;
    const last = await run(
      {
        ...parsed,
        statement,
        text: `claimed\0${parsed.text}`,
        parameterTypes: more?.types ?? types,
        claimsRows: undefined,
        once: parsed.once === true || more?.isWhole !== true || answers.size < parts.length,
      },
      more === undefined ? own : { ...own, params: more.params },
    );
    const work = claimed.reduce((sum, each) => sum + each.work, last.work);
    const elapsedMs = claimed.reduce((sum, each) => sum + each.elapsedMs, last.elapsedMs);
    const outcome = { ...last, work, elapsedMs };
    return isOwn ? { ...outcome, position: await session.commit(options.signal) } : outcome;
  } catch (cause) {
    if (isOwn && session.transaction !== undefined) session.rollback();
    throw cause;
  }
}

function writtenType(type: ParameterType): TypeNameNode {
  const isArray = type.kind === 'array';
  const name = isArray ? type.element.kind : type.kind;
  return { name, modifiers: [], arrayDimensions: isArray ? 1 : 0, setOf: false };
}

function queryOf(query: Query, before: WithClause | undefined): Statement {
  if (before === undefined) return { kind: 'query', query };
  const ctes = [...before.ctes, ...(query.with?.ctes ?? [])];
  const recursive = before.recursive || query.with?.recursive === true;
  return { kind: 'query', query: { ...query, with: { recursive, ctes } } };
}

// ── Which they are ─────────────────────────────────────────────────────────────────────────────────────────────

/** A query within a statement that claims rows, and what of the statement's WITH it may speak of. */
type ClaimingQuery = { readonly query: Query; readonly before: WithClause | undefined };

/** In the order in which they are run: what stands in another one before it. */
class ClaimingQueries {
  readonly found: ClaimingQuery[] = [];
  readonly #recursive: boolean;
  /** Those of WITH that may be read by themselves, and the names of the others. */
  readonly #ctes: Cte[] = [];
  readonly #others = new Set<string>();

  constructor(whole: Extract<Statement, { kind: 'query' }> | Change) {
    const clause = withOf(whole);
    this.#recursive = clause?.recursive === true;
    for (const cte of clause?.ctes ?? []) {
      const { statement, name } = cte;
      if (statement.kind !== 'query') this.#visit({ ...statement, with: undefined });
      // As PostgreSQL has it: what nobody speaks of is not run.
      else if (mentions(whole, new Set([name]))) this.#visit(statement.query);
      if (statement.kind !== 'query' || mentions(statement, this.#others)) this.#others.add(name);
      else this.#ctes.push(cte);
    }
    if (whole.kind === 'query') this.#visit({ ...whole.query, with: undefined, locking: [] });
    else this.#visit({ ...whole, with: undefined });
  }

  #visit(tree: unknown): void {
    if (typeof tree !== 'object' || tree === null) return;
    const query = 'body' in tree && 'locking' in tree ? (tree as Query) : undefined;
    // Names within may be those of another WITH.
    if (query?.with === undefined) for (const child of Object.values(tree)) this.#visit(child);
    if (query === undefined || query.locking.length === 0 || mentions(query, this.#others)) return;
    // From the last one: what it speaks of is wanted, too.
    const ctes: Cte[] = [];
    for (const cte of this.#ctes.toReversed())
      if (mentions([query, ctes], new Set([cte.name]))) ctes.unshift(cte);
    const before = ctes.length === 0 ? undefined : { recursive: this.#recursive, ctes };
    this.found.push({ query, before });
  }
}

/** Whether a relation is named so anywhere in it. */
function mentions(tree: unknown, names: ReadonlySet<string>): boolean {
  if (names.size === 0 || typeof tree !== 'object' || tree === null) return false;
  if ('kind' in tree && tree.kind === 'relation' && 'name' in tree) {
    const { name } = tree as { readonly name: { readonly name: string } };
    if (names.has(name.name)) return true;
  }
  return Object.values(tree).some((child) => mentions(child, names));
}

// ── What stands in their places ────────────────────────────────────────────────────────────────────────────────

type Answer = { readonly columns: readonly OutputColumn[]; readonly rows: Batch | undefined };

/** So many rows stand in a statement as values of it. */
const CLAIMED_ROWS_MAX = 10_000;

/** Undefined: they are too many, and are asked for again: all that they can be now is those, and such that are waited for when they are written. */
function answerOf(
  { locking }: Query,
  columns: readonly OutputColumn[],
  rows: Batch | undefined,
): Answer | undefined {
  if ((rows?.rowCount ?? 0) <= CLAIMED_ROWS_MAX) return { columns, rows };
  if (locking.every(({ wait }) => wait !== 'skip')) return undefined;
  throw new DbError(
    '54000',
    `a subquery with SKIP LOCKED gives more than ${CLAIMED_ROWS_MAX} rows`,
    { limit: 'claimed rows', hint: 'Take fewer at once: LIMIT 100 FOR UPDATE SKIP LOCKED.' },
  );
}

/** Those of a statement, and behind them what its parts have given. */
class MoreParameters {
  readonly params: unknown[];
  readonly types: TypeNameNode[];
  /** Nothing of what was given stands in the statement itself. */
  isWhole = true;

  constructor(params: readonly unknown[], types: readonly TypeNameNode[]) {
    this.params = [...params];
    this.types = [...types];
  }

  add(value: ParameterValue, type: ParameterType): SqlExpression {
    this.params.push(new BoundDatum(value));
    this.types.push(writtenType(type));
    return { kind: 'parameter', index: this.params.length - 1 };
  }
}

/** The tree with what they gave in the place of queries that have been run. */
function inPlace(tree: object, answers: ReadonlyMap<Query, Answer>, more?: MoreParameters): object {
  if (answers.size === 0) return tree;
  return substituted(tree, (node) => {
    const each = node as SelectItem | SqlExpression | Query;
    if ('body' in each) {
      const answer = answers.get(each);
      if (answer !== undefined && more !== undefined) more.isWhole = false;
      return answer && named(answer);
    }
    if (each.kind === 'quantified' || (each.kind === 'subquery' && 'mode' in each)) {
      const answer = answers.get(each.query);
      return answer && comparedWith(each, answer, answers, more);
    }
    if (each.kind !== 'expression' || each.alias !== undefined) return undefined;
    // The column has the name that the subquery gives it.
    const asked = each.expression.kind === 'subquery' ? each.expression : undefined;
    const answer = asked && answers.get(asked.query);
    return answer && asked.mode === 'scalar'
      ? {
          ...each,
          alias: answer.columns[0]?.name,
          expression: comparedWith(asked, answer, answers, more) ?? asked,
        }
      : undefined;
  }) as object;
}

type Asking = Extract<SqlExpression, { kind: 'subquery' | 'quantified' }>;

/** Values, where the subquery is one, or what is compared with: an index finds those. */
function comparedWith(
  asking: Asking,
  answer: Answer,
  answers: ReadonlyMap<Query, Answer>,
  more: MoreParameters | undefined,
): SqlExpression | undefined {
  const { at } = asking;
  const { columns, rows } = answer;
  const count = rows?.rowCount ?? 0;
  if (asking.kind === 'subquery' && asking.mode === 'exists')
    return more?.add(count > 0, BOOLEAN) ?? { at, kind: 'boolean', value: count > 0 };
  if (columns.length !== 1 || (asking.kind === 'quantified' && asking.left.kind === 'row'))
    return undefined;
  const [{ type }] = columns as [OutputColumn];
  const { body } = constants(columns, more === undefined ? rows : undefined);
  const values = (body.kind === 'values' ? body.rows : []).map(([value]) => value as SqlExpression);
  const data = (): Datum[] =>
    Array.from({ length: count }, (_, row) => datumAt(rows!.columns[0]!, row));
  const array = (): SqlExpression =>
    more?.add(new ArrayValue(data()), { kind: 'array', element: type }) ?? {
      at,
      kind: 'array',
      items: values,
    };
  if (asking.kind === 'subquery') {
    if (asking.mode === 'array') return array();
    if (count > 1)
      throw new DbError('21000', 'more than one row returned by a subquery used as an expression', {
        at,
      });
    return (
      more?.add(data()[0] ?? null, type) ??
      values[0] ?? { at, kind: 'cast', arg: { kind: 'null' }, type: writtenType(columns[0]!.type) }
    );
  }
  const { operator, mode, negated } = asking;
  const left = inPlace(asking.left, answers, more) as SqlExpression;
  const all = mode === 'all';
  const any: SqlExpression = { at, kind: 'anyArray', arg: left, operator, all, array: array() };
  return negated ? { at, kind: 'not', arg: any } : any;
}

/** A query that gives those rows, its columns of the names that they had. */
function named({ columns, rows }: Answer): Query {
  const own = columns.map((_, index) => `c${index}`);
  return madeSelect(
    columns.map(({ name }, index) => ({
      kind: 'expression',
      expression: { kind: 'column', parts: [own[index]!] },
      alias: name,
    })),
    [
      {
        kind: 'subquery',
        query: constants(columns, rows),
        alias: { name: 'claimed', columns: own },
        lateral: false,
      },
    ],
  );
}
