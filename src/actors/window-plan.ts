import { DbError } from '../base/errors.ts';
import { nearestOf } from '../base/nearest.ts';
import { hasDate, typeName, type SqlType } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import { datumAt } from '../columns/build.ts';
import type { Expression } from '../expressions/expression.ts';
import { mapColumns } from '../expressions/fold.ts';
import { buildAggregate, buildOperator, runToEnd } from '../operators/build.ts';
import type { ExecutionEnvironment } from '../operators/environment.ts';
import { ProjectOperator } from '../operators/row-operators.ts';
import { bindStatement, type BoundStatement } from '../plan/bind.ts';
import type { RelationInfo } from '../plan/catalog.ts';
import { filterSql } from '../plan/filter-model.ts';
import type { AggregateNode, OutputColumn, PlanNode } from '../plan/logical.ts';
import { node } from '../plan/nodes.ts';
import type { FromItem, Query, SelectBody, SqlExpression } from '../sql/ast.ts';
import { madeSelect } from '../sql/made-query.ts';
import type { WindowPlan } from '../windows/window-source.ts';
import type { RecordMaker, ValueOptions } from './rows-out.ts';
import type { Session } from './session.ts';
import { quoteIdentifier, SqlText } from './sql-tag.ts';

/** What of a window query does not depend on its windows. */
export type WindowQuestion = {
  readonly time: string | undefined;
  readonly measures: Readonly<Record<string, Measure>>;
  readonly by: readonly string[];
  readonly where: string | undefined;
  /** Of a `timestamp` or `date` column: the zone whose wall it reads. Undefined: one with changes of its calendar's own, which SQL does not know. */
  readonly zone: string | undefined;
};

/** `'sum(amount)'`, or its parts. */
export type Measure =
  | string
  | {
      readonly fn: string;
      /** None: `count(*)`. */
      readonly column?: string | undefined;
      readonly distinct?: boolean | undefined;
      /** A condition: only rows that meet it. */
      readonly filter?: string | undefined;
    };

/** A window query bound to its table. */
export type BoundWindows = {
  readonly plan: WindowPlan;
  /** Over window number, keys, calls: window number, what `by` shows, the measures. */
  readonly shown: readonly Expression[];
  readonly columns: readonly OutputColumn[];
  readonly keyTypes: readonly SqlType[];
  readonly valueTypes: readonly SqlType[];
  /** By measure, the places behind the point that each of its values has: those of the column that is summed. 0 where they differ. */
  readonly valueScales: readonly number[];
  readonly bound: Extract<BoundStatement, { kind: 'query' }>;
  /** By measure, the call that it is; undefined where something is computed of calls, or of what rows are grouped by. */
  readonly plainCalls: readonly number[] | undefined;
  /** How often it is yet to be left to an actor: it was more than a step. */
  readonly sparing: { tries: number };
  /** What writes its rows, once some were written. */
  readonly writers: { last: RowWriters | undefined };
};

/** How the keys and measures of a question come out, by the options that say so. */
export type RowWriters = {
  readonly options: ValueOptions;
  readonly by: readonly ((datum: Datum) => unknown)[];
  readonly values: readonly ((datum: Datum) => unknown)[];
  /** Makes the measures of a row. */
  readonly records: RecordMaker;
  /** Values by measure, written anew for each answer; and the columns of an answer: these, or data as they are. */
  readonly scratch: readonly unknown[][];
  readonly columns: (readonly unknown[])[];
};

/** Binds a question; the same object for the same question while the catalog stays, so that what is made of it can be remembered. */
export function boundWindows(
  session: Session,
  table: string,
  question: WindowQuestion,
): BoundWindows {
  const { engine } = session;
  const { epoch } = session.catalog;
  if (epoch < 0 || session.transaction?.bindsForItself(engine.state.viewsMade) === true)
    return bindWindows(session, table, question);
  const { windowPlans } = engine;
  const { scopeKey } = session;
  windowPlans.keepFor(epoch, engine.housekeeping.statisticsEpoch);
  const again = windowPlans.findLast(scopeKey, table, question);
  if (again !== undefined) {
    engine.statements.hits += 1;
    return again;
  }
  const key = questionKey(scopeKey, table, question);
  const known = windowPlans.find(key);
  if (known === undefined) engine.statements.misses += 1;
  else engine.statements.hits += 1;
  const made = known ?? bindWindows(session, table, question);
  windowPlans.remember(key, made);
  windowPlans.noteLast(scopeKey, table, question, made);
  return made;
}

function bindWindows(session: Session, table: string, question: WindowQuestion): BoundWindows {
  const bound = bindStatement(
    { kind: 'query', query: queryOf(session, table, question) },
    session.planCatalog(),
  );
  if (bound.kind !== 'query') throw new DbError('22023', 'a window query reads a table');
  return takenApart(bound, question);
}

/** Two questions of one key are the same: every text in it is told by its length. */
function questionKey(scopeKey: string, table: string, question: WindowQuestion): string {
  const { time, measures, by, where, zone } = question;
  let key = `${scopeKey}\0${counted(table)}${counted(zone)}${counted(time)}${counted(where)}${by.length}`;
  for (let index = 0; index < by.length; index += 1) key += counted(by[index]);
  for (const name of Object.keys(measures)) {
    const measure = measures[name];
    key += counted(name);
    key += typeof measure === 'string' ? counted(measure) : `o${counted(JSON.stringify(measure))}`;
  }
  return key;
}

function counted(text: string | undefined): string {
  return text === undefined ? 'n' : `${text.length}:${text}`;
}

/** Questions that were bound, as long as the catalog and its statistics stay what they are. */
export class WindowPlans {
  #epoch = NaN;
  #statisticsEpoch = NaN;
  readonly #plans = new Map<string, BoundWindows>();
  /** Those that were asked last: compared with one, a question needs no key, which is longer than all that is compared. */
  readonly #last: AskedLast[] = [];
  #nextLast = 0;

  /** Forgets what was bound in another catalog. */
  keepFor(epoch: number, statisticsEpoch: number): void {
    if (epoch === this.#epoch && statisticsEpoch === this.#statisticsEpoch) return;
    this.#epoch = epoch;
    this.#statisticsEpoch = statisticsEpoch;
    this.#plans.clear();
    this.#last.length = 0;
    this.#nextLast = 0;
  }

  find(key: string): BoundWindows | undefined {
    return this.#plans.get(key);
  }

  /** Oldest out: a Map keeps the order of insertion. */
  remember(key: string, plan: BoundWindows): void {
    if (key.length > KEY_LENGTH_MAX || this.#plans.has(key)) return;
    this.#plans.set(key, plan);
    if (this.#plans.size > PLAN_COUNT_MAX) this.#plans.delete(this.#plans.keys().next().value!);
  }

  findLast(scopeKey: string, table: string, question: WindowQuestion): BoundWindows | undefined {
    const last = this.#last;
    for (let index = 0; index < last.length; index += 1)
      if (isAskedAgain(last[index]!, scopeKey, table, question)) return last[index]!.plan;
    return undefined;
  }

  noteLast(scopeKey: string, table: string, question: WindowQuestion, plan: BoundWindows): void {
    const { time, by, where, zone } = question;
    const names = Object.keys(question.measures);
    const measures: string[] = [];
    for (const name of names) {
      const measure = question.measures[name];
      if (typeof measure !== 'string') return;
      measures.push(measure);
    }
    // Copies: what the caller holds may be another question tomorrow.
    this.#last[this.#nextLast] = {
      scopeKey,
      table,
      time,
      by: [...by],
      where,
      zone,
      names,
      measures,
      plan,
    };
    this.#nextLast = (this.#nextLast + 1) % LAST_COUNT_MAX;
  }
}

type AskedLast = Omit<WindowQuestion, 'measures'> & {
  readonly scopeKey: string;
  readonly table: string;
  readonly names: readonly string[];
  readonly measures: readonly string[];
  readonly plan: BoundWindows;
};

function isAskedAgain(
  asked: AskedLast,
  scopeKey: string,
  table: string,
  { time, by, where, zone, measures }: WindowQuestion,
): boolean {
  if (
    asked.table !== table ||
    asked.zone !== zone ||
    asked.time !== time ||
    asked.where !== where ||
    asked.scopeKey !== scopeKey ||
    asked.by.length !== by.length
  )
    return false;
  for (let index = 0; index < by.length; index += 1)
    if (asked.by[index] !== by[index]) return false;
  const names = Object.keys(measures);
  if (names.length !== asked.names.length) return false;
  for (let index = 0; index < names.length; index += 1) {
    const name = names[index]!;
    if (asked.names[index] !== name || asked.measures[index] !== measures[name]) return false;
  }
  return true;
}

/** As many as are compared in less than what making a key takes. */
const LAST_COUNT_MAX = 8;
/** Questions that a dashboard repeats are short. */
const KEY_LENGTH_MAX = 16_384;
const PLAN_COUNT_MAX = 1024;

/** As many as a table may have columns: each is read and bound before anything is asked. */
const COLUMN_COUNT_MAX = 1600;

/** SELECT by, measures, max(time) FROM table WHERE … GROUP BY by: the last column only tells what the time is. */
function queryOf(session: Session, table: string, question: WindowQuestion): Query {
  const parse = (text: string, field: string): SelectBody => parsedSelect(session, text, field);
  const name = session.hasRelation(table)
    ? quoteIdentifier(table)
    : table.split('.').map(quoteIdentifier).join('.');
  const { from } = parse(`SELECT 1 FROM ${name}`, 'table');
  const written = (from[0] as Extract<FromItem, { kind: 'relation' }>).name;
  const info = session.planCatalog().relation(written);
  // Unknown tables are told by whoever knows the names.
  if (info === undefined) session.requireRelation(written);
  const time = timeText(info!, question);
  const by = question.by.map((text, index) => expressionOf(parse, text, `by.${index}`));
  const entries = Object.entries(question.measures);
  if (entries.length + question.by.length > COLUMN_COUNT_MAX)
    throw new DbError(
      '54011',
      `a window query has at most ${COLUMN_COUNT_MAX} measures and groups`,
      {
        field: 'measures',
        limit: 'columns',
        hint: 'Ask for some of them, and then for the others.',
      },
    );
  if (entries.length === 0)
    throw new DbError('22023', 'a window query has at least one measure', {
      field: 'measures',
      hint: "Write measures: { n: 'count(*)', s: 'sum(amount)' }.",
    });
  const measures = entries.map(([alias, measure]) =>
    expressionOf(parse, measureText(measure, `measures.${alias}`), `measures.${alias}`),
  );
  const where = question.where === undefined ? undefined : conditionOf(parse, question.where);
  const item = (expression: SqlExpression): SelectBody['items'][number] => ({
    kind: 'expression',
    expression,
  });
  return madeSelect(
    [...by, ...measures, expressionOf(parse, `max(${time})`, 'time')].map(item),
    from,
    { where, groupBy: by.map((expression) => ({ kind: 'expression', expression })) },
  );
}

function parsedSelect(session: Session, text: string, field: string): SelectBody {
  let parsed;
  try {
    parsed = session.engine.statements.parse(text);
  } catch (cause) {
    if (!(cause instanceof DbError)) throw cause;
    throw new DbError(cause.code, `${field}: ${cause.message}`, { field, hint: cause.hint });
  }
  const statement = parsed.length === 1 ? parsed[0]!.statement : undefined;
  if (
    statement?.kind !== 'query' ||
    statement.query.body.kind !== 'select' ||
    statement.query.with !== undefined ||
    statement.query.orderBy.length > 0 ||
    statement.query.limit !== undefined ||
    statement.query.offset !== undefined ||
    statement.query.locking.length > 0
  )
    throw notAnExpression(field);
  return statement.query.body;
}

type Parse = (text: string, field: string) => SelectBody;

function expressionOf(parse: Parse, text: string, field: string): SqlExpression {
  if (typeof text !== 'string' || text.trim() === '') throw notAnExpression(field);
  const body = parse(`SELECT ${text}`, field);
  const item = body.items[0];
  if (
    body.items.length !== 1 ||
    item?.kind !== 'expression' ||
    item.alias !== undefined ||
    body.from.length > 0 ||
    hasClauses(body) ||
    body.where !== undefined
  )
    throw notAnExpression(field);
  if (item.expression.kind === 'number' || item.expression.kind === 'string')
    throw notAnExpression(field);
  return item.expression;
}

function conditionOf(parse: Parse, text: string): SqlExpression {
  const body = parse(`SELECT 1 WHERE ${text}`, 'where');
  if (body.where === undefined || hasClauses(body)) throw notAnExpression('where');
  return body.where;
}

function hasClauses(body: SelectBody): boolean {
  return (
    body.groupBy.length > 0 ||
    body.having !== undefined ||
    body.into !== undefined ||
    body.windows.length > 0 ||
    body.distinct !== 'no'
  );
}

function notAnExpression(field: string): DbError {
  return new DbError('22023', `"${field}" is no SQL expression`, {
    field,
    hint:
      field === 'where'
        ? 'Write a condition such as "region = \'EU\'".'
        : "Write one expression, such as 'sum(amount)' or 'region', without a name.",
  });
}

function measureText(measure: Measure, field: string): string {
  if (typeof measure === 'string') return measure;
  const wrong = (): DbError =>
    new DbError('22023', `"${field}" is no measure`, {
      field,
      hint: "Write 'sum(amount)', or { fn: 'sum', column: 'amount' }.",
    });
  if (typeof measure !== 'object' || measure === null) throw wrong();
  const { fn, column, distinct, filter } = measure;
  if (typeof fn !== 'string' || !/^[a-z_]\w*$/i.test(fn)) throw wrong();
  if (![column, filter].every((each) => each === undefined || typeof each === 'string'))
    throw wrong();
  const argument = column === undefined ? '*' : quoteIdentifier(column);
  return `${fn}(${distinct === true ? 'DISTINCT ' : ''}${argument})${filter === undefined ? '' : ` FILTER (WHERE ${filter}\n)`}`;
}

/** The time column as a timestamptz: a wall's time is read in the query's zone. */
function timeText(info: RelationInfo, { time, zone }: WindowQuestion): string {
  const candidates = info.columns.filter(({ type }) => hasDate(type));
  const names = candidates.map(({ name }) => name);
  const chosen = time ?? info.timeColumn ?? (names.length === 1 ? names[0] : undefined);
  if (chosen === undefined)
    throw new DbError(
      '22023',
      names.length === 0
        ? `"${info.name}" has no column of times`
        : `"${info.name}" has several columns of times: ${names.join(', ')}`,
      {
        field: 'time',
        table: info.name,
        hint:
          names.length === 0
            ? 'Windows need a timestamptz, timestamp or date column.'
            : `Say which: { time: '${names[0]}' }, or CREATE TABLE … WITH (time = '${names[0]}').`,
      },
    );
  const column = info.columns.find(({ name }) => name === chosen);
  if (column === undefined) {
    const nearest = nearestOf(chosen, names);
    throw new DbError('42703', `column "${chosen}" does not exist`, {
      field: 'time',
      table: info.name,
      hint:
        nearest === undefined
          ? `Columns of times are ${names.join(', ') || 'none'}.`
          : `Did you mean "${nearest}"?`,
    });
  }
  if (!hasDate(column.type))
    throw new DbError(
      '42804',
      `column "${chosen}" is of type ${typeName(column.type)}, not a time`,
      {
        field: 'time',
        table: info.name,
        column: chosen,
        hint: 'Windows need a timestamptz, timestamp or date column.',
      },
    );
  const quoted = quoteIdentifier(chosen);
  if (column.type.kind === 'timestamptz') return quoted;
  if (zone === undefined)
    throw new DbError(
      '0A000',
      `column "${chosen}" has walls' times, which are not read by a calendar with changes of its own`,
      {
        field: 'calendar',
        table: info.name,
        column: chosen,
        hint: 'Make the column a timestamptz, or name a calendar whose zone is a name alone.',
      },
    );
  const literal = `'${zone.replaceAll("'", "''")}'`;
  return `${quoted}::timestamp AT TIME ZONE ${literal}`;
}

/** The aggregation of a bound query, with the time it was given to find. */
function takenApart(
  bound: Extract<BoundStatement, { kind: 'query' }>,
  question: WindowQuestion,
): BoundWindows {
  const projections: Extract<PlanNode, { kind: 'project' }>[] = [];
  let plan = bound.plan;
  while (plan.kind === 'project') {
    projections.push(plan);
    plan = plan.input;
  }
  if (plan.kind !== 'aggregate')
    throw new DbError(
      '0A000',
      'measures with subqueries or window functions are not supported in a window query',
      {
        field: 'measures',
        hint: 'Make a view with what they compute, and ask for its windows.',
      },
    );
  const aggregate = plan;
  // What the answer shows, in terms of the aggregation's own columns.
  let shown: Expression[] = aggregate.columns.map(({ name, type, nullable }, index) => ({
    kind: 'column',
    index,
    type,
    nullable,
    name,
  }));
  for (const { expressions } of projections.toReversed())
    shown = expressions.map((expression) => mapColumns(expression, ({ index }) => shown[index]!));
  const keyCount = aggregate.keys.length;
  const last = shown.pop()!;
  if (last.kind !== 'column') throw notAnExpression('time');
  const timeCall = last.index - keyCount;
  const time = aggregate.calls[timeCall]!.args[0]!;
  const isShown = shown.some((expression) => mentions(expression, last.index));
  const calls = isShown
    ? aggregate.calls
    : aggregate.calls.filter((_, index) => index !== timeCall);
  const windowColumn: Expression = {
    kind: 'column',
    index: 0,
    type: { kind: 'int4' },
    nullable: false,
    name: 'window',
  };
  const names = [...question.by, ...Object.keys(question.measures)];
  // The window's number comes first, and the call that only told the time has gone.
  const moved = shown.map((expression) =>
    mapColumns(expression, (each) => ({
      ...each,
      index: each.index + 1 - (!isShown && each.index > last.index ? 1 : 0),
    })),
  );
  const types = shown.map(({ type }) => type);
  return {
    plan: { input: aggregate.input, time, keys: aggregate.keys, calls },
    shown: [windowColumn, ...moved],
    columns: [
      { name: 'window', type: { kind: 'int4' }, nullable: false },
      ...types.map((type, index) => ({ name: names[index]!, type, nullable: true })),
    ],
    keyTypes: types.slice(0, question.by.length),
    valueTypes: types.slice(question.by.length),
    valueScales: moved.slice(question.by.length).map((value) => scaleOf(value, keyCount, calls)),
    bound,
    plainCalls: plainCallsOf([windowColumn, ...moved], question.by.length, keyCount),
    sparing: { tries: 0 },
    writers: { last: undefined },
  };
}

/** Sums, least and greatest values keep the scale of a column that has one. */
function scaleOf(value: Expression, keyCount: number, calls: AggregateNode['calls']): number {
  const call = value.kind === 'column' ? calls[value.index - 1 - keyCount] : undefined;
  if (call === undefined || !['sum', 'min', 'max'].includes(call.fn)) return 0;
  const type = call.args[0]!.type;
  return type.kind === 'numeric' ? (type.scale ?? 0) : 0;
}

function plainCallsOf(
  shown: readonly Expression[],
  byCount: number,
  keyCount: number,
): number[] | undefined {
  const columns = shown.map((each) => (each.kind === 'column' ? each.index : -1));
  if (byCount !== keyCount || columns.some((column, at) => at <= byCount && column !== at))
    return undefined;
  const calls = columns.slice(1 + byCount).map((column) => column - 1 - keyCount);
  return calls.some((call) => call < 0) ? undefined : calls;
}

function mentions(expression: Expression, column: number): boolean {
  let found = false;
  mapColumns(expression, (each) => {
    if (each.index === column) found = true;
    return each;
  });
  return found;
}

/** What the measures are of no rows. */
export function emptyValues(windows: BoundWindows, environment: ExecutionEnvironment): Datum[] {
  const { plan, shown, columns, keyTypes } = windows;
  const values = node({ kind: 'values', rows: [], columns: plan.input.columns });
  const aggregate: AggregateNode = {
    kind: 'aggregate',
    id: 0,
    input: values,
    keys: [],
    calls: plan.calls,
    columns: plan.calls.map(({ type }, index) => ({ name: `call${index}`, type, nullable: true })),
  };
  const offset = 1 + plan.keys.length;
  const own = shown
    .slice(1 + keyTypes.length)
    .map((expression) =>
      mapColumns(expression, (each) =>
        each.index < offset
          ? { kind: 'constant', type: each.type, value: null }
          : { ...each, index: each.index - offset },
      ),
    );
  const operator = new ProjectOperator(
    0,
    columns.slice(1 + keyTypes.length),
    buildAggregate(aggregate, environment, () => buildOperator(values, environment)),
    own,
    environment.context,
  );
  const [batch] = runToEnd(operator);
  return batch!.columns.map((column) => datumAt(column, 0));
}

const NO_WHERE = { text: undefined, params: [] };

/** The text of a condition and its parameters. */
export function whereOf(where: unknown): {
  readonly text: string | undefined;
  readonly params: readonly unknown[];
} {
  if (where === undefined) return NO_WHERE;
  if (where instanceof SqlText) return { text: where.text, params: where.values };
  if (typeof where === 'string') return { text: where, params: [] };
  if (typeof where === 'object' && where !== null) return filterSql(where, 'where');
  throw new DbError('22023', '"where" is no condition', {
    field: 'where',
    hint: "Write where: \"region = 'EU'\", sql`region = ${region}`, or { column: 'region', op: '=', value: 'EU' }.",
  });
}
