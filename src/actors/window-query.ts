import { DbError } from '../base/errors.ts';
import { calendar, type Calendar } from '../calendar/calendar.ts';
import { instantText } from '../calendar/civil.ts';
import type { InstantTexts } from '../calendar/instant-texts.ts';
import { parseInstantMs, type InstantInput } from '../calendar/instants.ts';
import { onlyKeys, type CalendarSpec } from '../calendar/spec.ts';
import { TZ_VERSION } from '../calendar/zones.ts';
import type { Batch } from '../columns/batch.ts';
import { datumAt } from '../columns/build.ts';
import type { SqlType } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import { functionById, resolveOperator } from '../expressions/catalog.ts';
import type { Expression } from '../expressions/expression.ts';
import { evaluateConstant, someNode, volatilityOf } from '../expressions/fold.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { buildAggregate, buildOperator } from '../operators/build.ts';
import type { ExecutionEnvironment } from '../operators/environment.ts';
import { Budget, type Operator } from '../operators/operator.ts';
import { ProjectOperator } from '../operators/row-operators.ts';
import { StepwiseSort } from '../operators/stepwise-sort.ts';
import type { AggregateNode } from '../plan/logical.ts';
import { mapPlanExpressions } from '../plan/nodes.ts';
import type { LateRows } from '../windows/late-rows.ts';
import { openSessions } from '../windows/sessions.ts';
import type { TiledWindows } from '../windows/tile-windows.ts';
import {
  askedWindows,
  Interpolated,
  isInterpolable,
  tooManyRows,
  WindowAnswer,
  type AskedWindows,
  type WindowRow,
} from '../windows/window-answer.ts';
import {
  instantLabel,
  planFewWindows,
  planningWindows,
  type ComparedSpan,
  type PlannedWindow,
  type WindowSeries,
  WINDOW_SPEC_KEYS,
  type WindowSpec,
} from '../windows/window-spec.ts';
import type { QueryMeta } from './api-types.ts';
import type { Engine } from './engine.ts';
import { HeldRows } from './held-rows.ts';
import {
  asItIs,
  datumWriter,
  RecordMaker,
  resultColumns,
  type ResultColumn,
  type ValueOptions,
} from './rows-out.ts';
import type { ExecutionOptions, Session, StatementOutcome } from './session.ts';
import {
  answeredWindows,
  areStill,
  changedWindows,
  partOf,
  type AnsweredWindows,
  type ChangedWindows,
} from './window-changes.ts';
import {
  allKeptFromMs,
  answerPosition,
  openRelations,
  parametersOf,
  provenance,
  QUERY_HINT,
} from './statements.ts';
import type { SqlText } from './sql-tag.ts';
import type { Filter } from '../plan/filter-model.ts';
import {
  boundWindows,
  emptyValues,
  whereOf,
  type BoundWindows,
  type Measure,
  type RowWriters,
} from './window-plan.ts';

/** A window query (docs/windows.md): which windows, and what of them. */
export type WindowQuery = WindowSpec & {
  /** The column of times: by default the table's WITH (time = …), else its only one. */
  readonly time?: string | undefined;
  readonly zone?: string | undefined;
  /** The name of a calendar of `db.calendars`, or a calendar's spec. */
  readonly calendar?: string | CalendarSpec | undefined;
  /** `clock` (default), `watermark` (the newest time in the table), or an instant. */
  readonly now?: 'clock' | 'watermark' | InstantInput | undefined;
  readonly measures: Readonly<Record<string, Measure>>;
  readonly by?: string | readonly string[] | undefined;
  /** A condition: as text, as sql`…`, or as a visual builder makes it. */
  readonly where?: string | SqlText | Filter | undefined;
};

export type WindowResultRow = {
  readonly start: string;
  readonly end: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly label: string;
  readonly offsetSeconds: number;
  readonly partial: boolean;
  readonly complete: boolean;
  readonly by: Record<string, unknown>;
  readonly values: Record<string, unknown>;
  /** What the measures were where the window is compared with; null where there is nothing to compare with. */
  readonly previous?: Record<string, unknown> | null;
  /** `values` less `previous`, exactly; null where one of them is NULL or has no difference. */
  readonly change?: Record<string, unknown> | null;
  /** `change` as a share of `previous`. */
  readonly changeShare?: Record<string, number | null> | null;
  /** The window it is compared with. */
  readonly compared?: {
    readonly startMs: number;
    readonly endMs: number;
    /** Rows of it are no more, by a policy. */
    readonly partial?: boolean;
  } | null;
};

export type WindowMeta = QueryMeta & {
  readonly zone: string;
  readonly tzVersion: string;
  /** The instant all windows are relative to. */
  readonly now: string;
  /** The newest time among the rows, where it was asked for; else the newest that has arrived, where a policy speaks of late rows. */
  readonly watermark: string | null;
  /** Rows of these windows that came later than the table's policy lets them; null where no policy says what is late. */
  readonly lateRows: number | null;
  /** Tiles merged. */
  readonly tiles: number;
  /** Rows read. */
  readonly rowsScanned: number;
  /**
   * Where windows, or what they are compared with, begin before all is kept: whose rows are no more. Where an end that goes along with now lies inside a tile of
   * demoted rows: that it lies where the tile does.
   */
  readonly notes?: readonly string[];
};

export type WindowResult = { readonly rows: WindowResultRow[]; readonly meta: WindowMeta };

const QUERY_KEYS = [
  ...WINDOW_SPEC_KEYS,
  'time',
  'zone',
  'calendar',
  'now',
  'measures',
  'by',
  'where',
];

/** What a run came to, before it becomes the user's rows. */
export type WindowRun = {
  readonly result: WindowResult;
  readonly series: WindowSeries;
  readonly calendar: Calendar;
  readonly relations: readonly number[];
  /** Where it is followed: what the next run may take from this one. */
  readonly answered?: AnsweredWindows | undefined;
  /** Where it is followed: the windows that were asked again; undefined: all. */
  readonly changed?: ChangedWindows | undefined;
  /** Where it is followed: expressions of it name a calendar, which may be set anew. */
  readonly namesCalendars?: boolean;
};

/** A run of a question that is asked again and again. */
export type Following = { readonly before: AnsweredWindows | undefined };

/** A window query as it stands when it is asked: checked, bound to its table, in its calendar. */
type Question = {
  readonly own: Calendar;
  readonly names: readonly string[];
  readonly windows: BoundWindows;
  readonly context: EvaluationContext;
};

type RunOptions = ExecutionOptions & {
  readonly values: ValueOptions;
  readonly follows?: Following | undefined;
};

function questionOf(
  session: Session,
  table: string,
  query: WindowQuery,
  options: RunOptions,
): Question {
  onlyKeys(query, QUERY_KEYS, '');
  if (typeof table !== 'string' || table === '')
    throw new DbError('22023', 'the name of the table is not a text', {
      field: 'table',
      hint: "Write db.window('orders', { … }).",
    });
  if (query.time !== undefined && typeof query.time !== 'string')
    throw new DbError('22023', '"time" is no name of a column', {
      field: 'time',
      hint: "Write time: 'ts', or leave it out where the table has one column of times.",
    });
  const own = calendarOf(session, query, options);
  const where = whereOf(query.where);
  const names = by(query.by);
  const windows = boundWindows(session, table, {
    time: query.time,
    measures: measuresOf(query),
    by: names,
    where: where.text,
    zone: own.timeZone.override === undefined ? own.zone : undefined,
  });
  if (query.fill === 'linear') refuseLinear(windows, Object.keys(query.measures));
  const parameters = parametersOf(
    session,
    windows.bound,
    where.params.length > 0 ? { ...options, params: where.params } : options,
  );
  const context = session.evaluationContext(parameters, { zone: own.zone });
  return { own, names, windows, context };
}

/** What a question's rows have: `by`, then the measures. */
export function windowColumns(
  session: Session,
  table: string,
  query: WindowQuery,
  options: RunOptions,
): ResultColumn[] {
  return resultColumns(questionOf(session, table, query, options).windows.columns.slice(1));
}

/** Runs a window query in its session: one instant, one position, one pass. */
export async function runWindowQuery(
  session: Session,
  table: string,
  query: WindowQuery,
  options: RunOptions,
): Promise<WindowRun> {
  const { engine } = session;
  if (engine.turn.definesUnacknowledged) await engine.untilDefined(options.signal);
  let question = questionOf(session, table, query, options);
  for (;;) {
    const redefined = session.whileRedefined(question.windows.bound.relations, options.signal);
    // At once where there is nothing to wait for: what an actor asks for in the middle of its step is begun there.
    if (redefined === undefined) break;
    await redefined;
    question = questionOf(session, table, query, options);
  }
  const { own, windows, context } = question;
  session.transaction?.noteReads(windows.bound.plan, context, (relation, since) =>
    session.storedEntry(relation).data.changes(since, engine.visiblePosition),
  );
  const { relations } = windows.bound;
  const position = answerPosition(session, relations, options);
  const { environment, release } = openRelations(session, relations, context, options.asOf);
  const runner = new WindowRunner(session, environment, `window of ${table}`, options);
  try {
    const isWatermark = query.now === 'watermark';
    const watermark = isWatermark ? await runner.watermark(windows) : undefined;
    const nowMs = nowOf(session, query.now, watermark, own, options);
    let series = stillOf(options, own, nowMs);
    if (series === undefined) {
      const planning = planningWindows(query, own, nowMs);
      const few = planning.next();
      // Few windows are planned in the turn that asks for them.
      series = few.done === true ? few.value : await inSteps(engine, planning);
    }
    const drawn = engine.tiles.drawnIn(windows.plan, series, environment);
    if (drawn !== undefined) ({ series } = drawn);
    const keptFromMs = allKeptFromMs(session, relations, position);
    const changed = changedOf(session, options, series, position, keptFromMs);
    const asked = changed === undefined ? series : partOf(series, changed.asked);
    const make = rowMaker(engine, question, query, options, keptFromMs);
    const rows =
      series.gapMs === undefined
        ? await runner.windows(windows, asked, make)
        : await runner.sessions(windows, series, series.gapMs, own, nowMs, make);
    const run = finished(session, question, series, {
      ...runner.spent,
      position,
      nowMs,
      watermark,
      rows,
      note: drawn?.note,
    });
    return followed(run, session, question, options, {
      changed,
      keptFromMs,
      environment,
      now: query.now,
    });
  } finally {
    runner.release();
    release();
  }
}

/** The windows of the run before, where the question still has the same. */
function stillOf({ follows }: RunOptions, own: Calendar, nowMs: number): WindowSeries | undefined {
  const before = follows?.before;
  return before !== undefined && areStill(before, own, nowMs) ? before.series : undefined;
}

function changedOf(
  session: Session,
  { follows }: RunOptions,
  series: WindowSeries,
  position: number,
  keptFromMs: number,
): ChangedWindows | undefined {
  const before = follows?.before;
  return before === undefined
    ? undefined
    : changedWindows(before, series, session, position, keptFromMs);
}

function followed(
  run: WindowRun,
  session: Session,
  { windows, own }: Question,
  { follows }: RunOptions,
  {
    changed,
    keptFromMs,
    environment,
    now,
  }: {
    readonly changed: ChangedWindows | undefined;
    readonly keptFromMs: number;
    readonly environment: ExecutionEnvironment;
    readonly now: WindowQuery['now'];
  },
): WindowRun {
  if (follows === undefined) return run;
  const namesCalendars = hasNode(windows, isOfNamedCalendar);
  // Of another now than the clock's no window changes with time.
  const series =
    now === undefined || now === 'clock'
      ? run.series
      : { ...run.series, moves: false, nextChangeMs: undefined };
  // Which rows it is of changes with every instant.
  if (hasNode(windows, isOfNow))
    return { ...run, namesCalendars, series: { ...series, moves: true } };
  // Its windows move with its rows.
  if (now === 'watermark') return { ...run, namesCalendars, series };
  const { position } = run.result.meta;
  const { before } = follows;
  const answered =
    before !== undefined && changed !== undefined && before.series === run.series
      ? { ...before, position }
      : answeredWindows(
          session,
          windows,
          series,
          { position, calendar: own, keptFromMs },
          environment,
        );
  return { ...run, series, answered, changed, namesCalendars };
}

/** A call that is another at every instant. */
function isOfNow(node: Expression): boolean {
  return (
    node.kind === 'call' &&
    ['stable', 'volatile'].includes(volatilityOf(node)) &&
    !isOfNamedCalendar(node)
  );
}

/** `time_bucket` by a calendar's name: the same until one is set anew. */
function isOfNamedCalendar(node: Expression): boolean {
  return (
    node.kind === 'call' &&
    functionById(node.fn).name === 'time_bucket' &&
    volatilityOf(node) === 'stable'
  );
}

/** Whether there is such a node in a condition, a key or a measure, be it in a view. */
function hasNode(
  { plan: { input, keys, calls } }: BoundWindows,
  isMeant: (node: Expression) => boolean,
): boolean {
  let isFound = false;
  const look = (expression: Expression): void => {
    isFound ||= someNode(expression, isMeant);
  };
  mapPlanExpressions(input, (expression) => {
    look(expression);
    return expression;
  });
  keys.forEach(look);
  for (const { args, filter } of calls) {
    args.forEach(look);
    if (filter !== undefined) look(filter);
  }
  return isFound;
}

/** Runs what is done in steps to its end, with a pause after each. */
export async function inSteps<Result>(
  engine: Engine,
  steps: Generator<unknown, Result>,
): Promise<Result> {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    await engine.pause();
  }
}

/** Rows of an answer that is made in its caller's own turn: more take a step and longer. */
const ROWS_AT_ONCE_MAX = 256;
/** Times that a question which was more than a step is not tried again. */
const TRIES_SPARED = 16;

/**
 * The same answer in the caller's own turn, without an actor: where its tiles are there, and it is no more than a step. Undefined
 * where it is to be run as a query. What is spent is the tenant's, whatever it came to.
 */
export function windowsAtOnce(
  session: Session,
  table: string,
  query: WindowQuery,
  options: RunOptions,
): WindowRun | undefined {
  const { engine, identity } = session;
  if (session.transaction !== undefined || options.asOf !== undefined) return undefined;
  // What is ended by its work is ended by whoever counts its steps.
  if (options.maxWork !== undefined || options.atLeast !== undefined) return undefined;
  if (engine.turn.definesUnacknowledged || engine.recovery.brokenCount > 0) return undefined;
  const units = engine.serviceUnits(identity.tenant);
  if (units === undefined) return undefined;
  const startedMs = engine.ports.clock.monotonicMs();
  const question = questionOf(session, table, query, options);
  const { own, windows, context } = question;
  if (query.now === 'watermark' || query.gap !== undefined) return undefined;
  if (windows.sparing.tries > 0) {
    windows.sparing.tries -= 1;
    return undefined;
  }
  const nowMs = nowOf(session, query.now, undefined, own, options);
  const series =
    stillOf(options, own, nowMs) ?? planFewWindows(query, own, nowMs, ROWS_AT_ONCE_MAX);
  if (series === undefined) return undefined;
  const { relations } = windows.bound;
  if (relations.some((relation) => engine.turn.redefines(relation))) return undefined;
  const position = answerPosition(session, relations, options);
  const keptFromMs = allKeptFromMs(session, relations, position);
  const changed = changedOf(session, options, series, position, keptFromMs);
  const part = changed === undefined ? series : partOf(series, changed.asked);
  const asked = askedWindows(part);
  if (asked.bounds.from.length > ROWS_AT_ONCE_MAX) return undefined;
  const { environment, release } = openRelations(session, relations, context, undefined);
  const budget = new Budget(units);
  let tiles: TiledWindows | undefined;
  try {
    const { along } = series;
    if (
      (along.start || along.end) &&
      engine.tiles.drawnIn(windows.plan, series, environment) !== undefined
    )
      return undefined;
    const isAsked = asked.bounds.from.length > 0;
    if (isAsked) {
      tiles = engine.tiles.openTiles(windows.plan, asked.bounds, environment);
      if (tiles === undefined || !tiles.isReady) return undefined;
    }
    const make = rowMaker(engine, question, query, options, keptFromMs);
    const rows = rowsAtOnce({ tiles, windows, series: part, asked, environment, budget, make });
    if (rows === undefined) {
      windows.sparing.tries = TRIES_SPARED;
      return undefined;
    }
    const run = finished(session, question, series, {
      queryId: isAsked ? engine.newId() : '',
      work: budget.spent,
      elapsedMs: isAsked ? engine.ports.clock.monotonicMs() - startedMs : 0,
      queuedMs: 0,
      tiles: tiles?.tiles ?? 0,
      rowsScanned: tiles?.rowsScanned ?? 0,
      position,
      nowMs,
      watermark: undefined,
      rows,
      note: undefined,
    });
    return followed(run, session, question, options, {
      changed,
      keptFromMs,
      environment,
      now: query.now,
    });
  } finally {
    tiles?.close();
    release();
    if (budget.spent > 0)
      engine.served(identity.tenant, options.priority ?? 'normal', budget.spent);
  }
}

type AtOnce = {
  readonly tiles: TiledWindows | undefined;
  readonly windows: BoundWindows;
  readonly series: WindowSeries;
  readonly asked: AskedWindows;
  readonly environment: ExecutionEnvironment;
  readonly budget: Budget;
  readonly make: RowMaker;
};

/** Undefined: it is more than the budget holds, or an answer of this kind. */
function rowsAtOnce(question: AtOnce): WindowResultRow[] | undefined {
  const { tiles, windows, series, asked, environment, budget, make } = question;
  const { plainCalls } = windows;
  let answer: WindowAnswer | undefined;
  if (plainCalls !== undefined && tiles !== undefined) {
    const rowCount = tiles.nextAtOnce(budget);
    if (rowCount === undefined) return undefined;
    budget.charge(rowCount);
    const { rowKeys } = tiles;
    // Most questions of a dashboard: what the tiles gave is the answer, row by row.
    if (
      asked.owners === undefined &&
      rowKeys.length === 0 &&
      series.fill === 'none' &&
      (!series.isOne || rowCount > 0)
    )
      return make.tileRows(series.windows, tiles, rowCount, plainCalls);
    answer = windowAnswer(windows, series, asked, environment);
    answer.takeTiles(rowCount, tiles.rowWindows, rowKeys, (column) =>
      tiles.rowValues(plainCalls[column]!),
    );
  } else {
    answer = windowAnswer(windows, series, asked, environment);
    if (tiles !== undefined && !takeAtOnce(tiles, windows, environment.context, answer, budget))
      return undefined;
  }
  if (answer.rowCountMax > ROWS_AT_ONCE_MAX) return undefined;
  const rows: WindowResultRow[] = [];
  for (const piece of answer.rows()) for (const row of piece) rows.push(make.row(row));
  return rows;
}

/** False: it is more than the budget holds. */
function takeAtOnce(
  tiles: TiledWindows,
  windows: BoundWindows,
  context: EvaluationContext,
  answer: WindowAnswer,
  budget: Budget,
): boolean {
  const shown = shownWindows(windows, tiles, [], context);
  for (let step = shown.next(budget); step !== 'done'; step = shown.next(budget)) {
    if (step === 'more' || !tiles.isTiled) return false;
    answer.take(shown.batch);
    budget.charge(shown.batch.rowCount);
  }
  return tiles.isTiled;
}

function finished(
  session: Session,
  { own, windows }: Question,
  series: WindowSeries,
  run: Pick<StatementOutcome, 'queryId' | 'work' | 'elapsedMs' | 'queuedMs' | 'position'> & {
    readonly tiles: number;
    readonly rowsScanned: number;
    readonly nowMs: number;
    readonly watermark: number | undefined;
    readonly rows: WindowResultRow[];
    /** What is to be told of its windows. */
    readonly note: string | undefined;
  },
): WindowRun {
  const { engine } = session;
  const { relations } = windows.bound;
  const { rows } = run;
  const late = lateRowsOf(session, relations);
  const newest = run.watermark ?? late?.newest;
  const { source, sources } = provenance(session, relations, undefined, run.position);
  const { position, queryId, work, elapsedMs, queuedMs } = run;
  const shownSource = run.tiles > 0 ? 'windows' : source;
  engine.metrics.finished({
    command: 'SELECT',
    columns: windows.columns,
    rowCount: rows.length,
    position,
    source: shownSource,
    sources,
    queryId,
    work,
    elapsedMs,
    queuedMs,
  });
  const asOf = engine.asOfText(position);
  const gone = goneNotes(sources, series);
  const notes = run.note === undefined ? gone : [...gone, run.note];
  return {
    series,
    calendar: own,
    relations,
    result: {
      rows,
      meta: {
        queryId,
        position,
        asOf,
        lagMs: lagOf(engine, position, asOf),
        source: shownSource,
        sources,
        guarantee: 'exact',
        work,
        elapsedMs,
        queuedMs,
        zone: own.zone,
        tzVersion: TZ_VERSION,
        now: instantText(run.nowMs),
        watermark: newest === undefined ? null : new Date(newest / 1000).toISOString(),
        lateRows:
          late === undefined ? null : late.between(series.startMs * 1000, series.endMs * 1000),
        tiles: run.tiles,
        rowsScanned: run.rowsScanned,
        ...(notes.length === 0 ? {} : { notes }),
      },
    },
  };
}

/** What policies have let go of that windows would have. */
function goneNotes(
  sources: WindowMeta['sources'],
  { startMs, compared }: WindowSeries,
): readonly string[] {
  const kept = sources.filter(({ keptFrom }) => keptFrom !== undefined);
  if (kept.length === 0) return NO_NAMES;
  const firstMs = (compared ?? []).reduce(
    (first, span) => Math.min(first, span?.startMs ?? Infinity),
    startMs,
  );
  return kept
    .filter(({ keptFrom }) => firstMs < Date.parse(keptFrom!))
    .map(
      ({ kind, name, keptFrom }) =>
        `rows of "${name}" before ${keptFrom!} are no more: ${kind === 'view' ? 'a policy of what it reads' : 'its policy'} lets them go`,
    );
}

/** Of the table that windows are of, if its policy says what is late. */
function lateRowsOf(session: Session, relations: readonly number[]): LateRows | undefined {
  for (const relation of relations) {
    const late = session.engine.state.lateOf(relation);
    if (late !== undefined) return late;
  }
  return undefined;
}

export function metaOf(engine: Engine, outcome: StatementOutcome): QueryMeta {
  const asOf = engine.asOfText(outcome.position);
  return {
    queryId: outcome.queryId,
    position: outcome.position,
    asOf,
    lagMs: lagOf(engine, outcome.position, asOf),
    source: outcome.source,
    sources: outcome.sources,
    guarantee: 'exact',
    work: outcome.work,
    elapsedMs: outcome.elapsedMs,
    queuedMs: outcome.queuedMs,
  };
}

function lagOf(engine: Engine, position: number, asOf: string): number {
  return position >= engine.visiblePosition ? 0 : engine.visibleInstant - Date.parse(asOf);
}

/** The calendar a query names, in the zone it names: else in the calendar's own, else in the session's. */
export function calendarOf(
  session: Session,
  { calendar: given, zone }: Pick<WindowQuery, 'calendar' | 'zone'>,
  options: { readonly zone?: string | undefined },
): Calendar {
  const asked = zone ?? options.zone;
  if (asked !== undefined && typeof asked !== 'string')
    throw new DbError('22023', '"zone" is no text', {
      field: 'zone',
      hint: "Use an IANA name such as 'Europe/Berlin'.",
    });
  const { calendars } = session.engine.state;
  if (typeof given === 'string') return calendars.require(session.identity.tenant, given).in(asked);
  if (given !== undefined) return calendar(asked === undefined ? given : { ...given, zone: asked });
  const { plainCalendars } = session.engine;
  return asked === undefined ? plainCalendars.inZoneOfSql(session.zone) : plainCalendars.in(asked);
}

function measuresOf({ measures }: WindowQuery): Readonly<Record<string, Measure>> {
  if (typeof measures === 'object' && measures !== null && !Array.isArray(measures))
    return measures;
  throw new DbError('22023', '"measures" is no object', {
    field: 'measures',
    hint: "Write measures: { n: 'count(*)', s: 'sum(amount)' }.",
  });
}

const NO_NAMES: readonly string[] = [];

function by(given: WindowQuery['by']): readonly string[] {
  if (given === undefined) return NO_NAMES;
  const names = typeof given === 'string' ? [given] : given;
  if (Array.isArray(names) && names.every((name) => typeof name === 'string')) return names;
  throw new DbError('22023', '"by" is no list of columns', {
    field: 'by',
    hint: "Write by: ['region'].",
  });
}

function refuseLinear({ valueTypes }: BoundWindows, names: readonly string[]): void {
  const at = valueTypes.findIndex((type) => !isInterpolable(type));
  if (at >= 0)
    throw new DbError('42804', `measure "${names[at]!}" is no number, which fill "linear" needs`, {
      field: 'fill',
      hint: "Use fill 'previous' or 'null'.",
    });
}

/** One snapshot of now for the whole query. */
function nowOf(
  session: Session,
  now: WindowQuery['now'],
  watermark: number | undefined,
  own: Calendar,
  { asOf }: ExecutionOptions,
): number {
  // The first instant after the newest row: that row lies before now.
  if (watermark !== undefined) return Math.floor(watermark / 1000) + 1;
  if (now === undefined || now === 'clock' || now === 'watermark') {
    if (asOf !== undefined) return Date.parse(session.engine.asOfText(asOf));
    const { transaction, engine } = session;
    return transaction === undefined ? engine.ports.clock.now() : transaction.nowMicros / 1000;
  }
  return parseInstantMs(now, own.timeZone, 'now');
}

/** Runs the operators of one query, and adds up what they took. */
class WindowRunner {
  readonly spent = {
    queryId: '',
    work: 0,
    elapsedMs: 0,
    queuedMs: 0,
    tiles: 0,
    rowsScanned: 0,
  };
  readonly #session: Session;
  readonly #environment: ExecutionEnvironment;
  readonly #text: string;
  readonly #options: ExecutionOptions;
  readonly #held: HeldRows;

  constructor(
    session: Session,
    environment: ExecutionEnvironment,
    text: string,
    options: ExecutionOptions,
  ) {
    this.#held = new HeldRows(session.engine.answerMemory, QUERY_HINT);
    this.#session = session;
    this.#environment = environment;
    this.#text = text;
    this.#options = options;
  }

  /** The rows that were made are somebody else's now. */
  release(): void {
    this.#held.release();
  }

  /** The newest time among the rows in microseconds; undefined where there is none. */
  async watermark({ plan }: BoundWindows): Promise<number | undefined> {
    const aggregate: AggregateNode = {
      kind: 'aggregate',
      id: 0,
      input: plan.input,
      keys: [],
      calls: [{ fn: 'max', args: [plan.time], distinct: false, orderBy: [], type: plan.time.type }],
      columns: [{ name: 'watermark', type: plan.time.type, nullable: true }],
    };
    const environment = this.#environment;
    let newest: number | undefined;
    const take = (batch: Batch): void => {
      const datum = datumAt(batch.columns[0]!, 0);
      const micros = datum === null ? NaN : Number(datum);
      if (Number.isFinite(micros)) newest = Math.max(newest ?? micros, micros);
    };
    const plain = (): Operator =>
      buildAggregate(aggregate, environment, (demand) =>
        buildOperator(plan.input, environment, demand),
      );
    await this.#run(plain, take);
    // Where rows later than any that is left were demoted, they tell.
    const { tiles } = this.#session.engine;
    if (tiles.keptSince(plan, newest ?? -Infinity, environment))
      await this.#run(
        () => tiles.aggregate(aggregate, environment, plain, () => undefined) ?? plain(),
        take,
      );
    return newest;
  }

  async windows(
    windows: BoundWindows,
    series: WindowSeries,
    make: RowMaker,
  ): Promise<WindowResultRow[]> {
    const asked = askedWindows(series);
    const answer = windowAnswer(windows, series, asked, this.#environment);
    const { tiles: windowSource } = this.#session.engine;
    if (asked.bounds.from.length > 0) {
      let opened: ReturnType<typeof windowSource.open> | undefined;
      await this.#run(
        () => {
          opened = windowSource.open(windows.plan, asked.bounds, this.#environment);
          return shownWindows(windows, opened, [], this.#environment.context);
        },
        (batch) => answer.take(batch),
      );
      this.spent.tiles = opened?.tiles ?? 0;
      this.spent.rowsScanned += opened?.rowsScanned ?? 0;
    }
    return this.#made(answer.rows(), make);
  }

  /** A large answer is made in pieces, between which others may run. */
  async #made(pieces: Iterable<readonly WindowRow[]>, make: RowMaker): Promise<WindowResultRow[]> {
    const rows: WindowResultRow[] = [];
    let isFirst = true;
    for (const piece of pieces) {
      if (!isFirst) await this.#session.engine.pause();
      isFirst = false;
      this.#held.add(piece.length * make.rowBytes);
      for (const row of piece) rows.push(make.row(row));
    }
    return rows;
  }

  async sessions(
    windows: BoundWindows,
    series: WindowSeries,
    gapMs: number,
    own: Calendar,
    nowMs: number,
    make: RowMaker,
  ): Promise<WindowResultRow[]> {
    const rows: WindowRow[] = [];
    const { keyTypes } = windows;
    const [span] = series.windows;
    if (span === undefined) return [];
    const bounds = {
      from: Float64Array.of(span.startMs * 1000),
      to: Float64Array.of(span.endMs * 1000),
    };
    let opened: ReturnType<typeof openSessions> | undefined;
    await this.#run(
      () => {
        this.#session.engine.tiles.refuseKept(
          windows.plan,
          bounds,
          this.#environment,
          'rows to find sessions in',
        );
        opened = openSessions(windows.plan, bounds, gapMs * 1000, this.#environment);
        return shownWindows(windows, opened, opened.columns.slice(-2), this.#environment.context);
      },
      (batch) => {
        if (rows.length + batch.rowCount > SESSION_COUNT_MAX) throw tooManyRows();
        for (let row = 0; row < batch.rowCount; row += 1) {
          const at = batch.selection === undefined ? row : batch.selection[row]!;
          const data = batch.columns.map((column) => datumAt(column, at));
          const [first, last] = data.slice(-2).map((micros) => Number(micros) / 1000);
          rows.push({
            window: sessionWindow(first!, last!, gapMs, own, nowMs),
            by: data.slice(1, 1 + keyTypes.length),
            values: data.slice(1 + keyTypes.length, -2),
            isFilled: false,
            previous: undefined,
          });
        }
      },
    );
    this.spent.rowsScanned += opened?.rowsScanned ?? 0;
    return this.#made(inOrder(rows), make);
  }

  async #run(open: () => Operator, take: (batch: Batch) => void): Promise<void> {
    const { engine, identity } = this.#session;
    const run = engine.run({
      text: this.#text,
      tenant: identity.tenant,
      user: identity.user,
      label: this.#options.label,
      priority: this.#options.priority ?? 'normal',
      workMax: this.#options.maxWork,
      signal: this.#options.signal,
      open,
      take: (batch) => {
        take(batch);
        return true;
      },
    });
    const { id, work, elapsedMs, queuedMs } = await run.finished;
    const { spent } = this;
    spent.queryId = id;
    spent.work += work;
    spent.elapsedMs += elapsedMs;
    spent.queuedMs += queuedMs;
  }
}

function windowAnswer(
  windows: BoundWindows,
  series: WindowSeries,
  asked: AskedWindows,
  environment: ExecutionEnvironment,
): WindowAnswer {
  return new WindowAnswer(series, asked, {
    keyTypes: windows.keyTypes,
    valueTypes: windows.valueTypes,
    valueScales: windows.valueScales,
    empty: () => emptyValues(windows, environment),
  });
}

/** The columns an answer is made of: window, keys, measures, and what is given besides. */
function shownWindows(
  { shown, columns, plan }: BoundWindows,
  input: Operator,
  more: Operator['columns'],
  context: EvaluationContext,
): Operator {
  const first = 1 + plan.keys.length + plan.calls.length;
  const besides = more.map(({ type, name, nullable }, index): Expression => ({
    kind: 'column',
    index: first + index,
    type,
    nullable,
    name,
  }));
  return new ProjectOperator(0, [...columns, ...more], input, [...shown, ...besides], context);
}

const PIECE_LENGTH = 1024;

/** Sessions come by group and are told by their starts; sorted and given in pieces. */
function* inOrder(rows: readonly WindowRow[]): Generator<readonly WindowRow[]> {
  const sort = new StepwiseSort(
    rows.length,
    (a, b) => rows[a]!.window.startMs - rows[b]!.window.startMs,
    { memory: undefined },
  );
  const budget = new Budget(SORT_UNITS);
  while (!sort.step(budget)) {
    yield [];
    budget.refill(SORT_UNITS);
  }
  const { sorted } = sort;
  for (let at = 0; at < sorted.length; at += PIECE_LENGTH)
    yield Array.from(sorted.subarray(at, at + PIECE_LENGTH), (index) => rows[index]!);
}

/** Work units of sorting between two pauses. */
const SORT_UNITS = 20_000;

/** Sessions are as many as people: an answer has so many rows at most. */
const SESSION_COUNT_MAX = 100_000;

function sessionWindow(
  firstMs: number,
  lastMs: number,
  gapMs: number,
  own: Calendar,
  nowMs: number,
): PlannedWindow {
  const startMs = Math.floor(firstMs);
  const endMs = lastMs + gapMs;
  return {
    startMs,
    endMs,
    label: instantLabel(own, startMs),
    offsetSeconds: own.offsetAt(Math.floor(startMs / 1000)),
    partial: false,
    complete: endMs <= nowMs,
  };
}

function rowMaker(
  { instantTexts }: Engine,
  { windows, names, context }: Question,
  query: WindowQuery,
  options: RunOptions,
  keptFromMs: number,
): RowMaker {
  const measures = Object.keys(query.measures);
  return new RowMaker(windows, names, measures, options.values, context, {
    texts: instantTexts,
    keptFromMs,
  });
}

/** Made once for a question that is asked again. */
function writersOf(
  { keyTypes, valueTypes, writers }: BoundWindows,
  by: readonly string[],
  names: readonly string[],
  options: ValueOptions,
): RowWriters {
  const { last } = writers;
  if (last?.options === options) return last;
  writers.last = {
    options,
    by: keyTypes.map((type, index) => datumWriter(type, by[index]!, options)),
    values: valueTypes.map((type, index) => datumWriter(type, names[index]!, options)),
    records: new RecordMaker(names),
    scratch: names.map(() => []),
    columns: names.map(() => []),
  };
  return writers.last;
}

/** Of rows that are not grouped: one for all, so that nobody's change of it is another's. */
const NO_BY: Record<string, unknown> = Object.freeze({});

/** Makes the rows that users get. */
class RowMaker {
  readonly #by: readonly string[];
  readonly #names: readonly string[];
  readonly #writers: RowWriters;
  /** What `change` takes, made when there is something to compare. */
  #differences:
    | readonly { readonly minus: Expression | undefined; write(datum: Datum): unknown }[]
    | undefined;
  readonly #texts: InstantTexts;
  #endMs = NaN;
  #end = '';
  readonly #valueTypes: readonly SqlType[];
  readonly #context: EvaluationContext;
  readonly #keptFromMs: number;

  constructor(
    windows: BoundWindows,
    by: readonly string[],
    names: readonly string[],
    options: ValueOptions,
    context: EvaluationContext,
    { texts, keptFromMs }: { readonly texts: InstantTexts; readonly keptFromMs: number },
  ) {
    this.#texts = texts;
    this.#by = by;
    this.#names = names;
    this.#writers = writersOf(windows, by, names, options);
    this.#valueTypes = windows.valueTypes;
    this.#context = context;
    this.#keptFromMs = keptFromMs;
  }

  /** A row without what it is compared with, by formula: three objects, two texts, and what is in them. */
  get rowBytes(): number {
    return 200 + 24 * (this.#by.length + this.#names.length);
  }

  #differenceOf(index: number): {
    readonly minus: Expression | undefined;
    write(datum: Datum): unknown;
  } {
    this.#differences ??= this.#valueTypes.map((type, each) => {
      const minus = differenceOf(type);
      const { options } = this.#writers;
      return { minus, write: datumWriter(minus?.type ?? type, this.#names[each]!, options) };
    });
    return this.#differences[index]!;
  }

  /** Rows without keys, of what tiles hold of windows: of measure i the values of call `calls[i]`. */
  tileRows(
    windows: readonly PlannedWindow[],
    tiles: Pick<TiledWindows, 'rowWindows' | 'rowValues'>,
    rowCount: number,
    calls: readonly number[],
  ): WindowResultRow[] {
    const { values: writers, records, scratch, columns } = this.#writers;
    for (let index = 0; index < writers.length; index += 1) {
      const write = writers[index]!;
      const data = tiles.rowValues(calls[index]!);
      if (write === asItIs) {
        columns[index] = data;
        continue;
      }
      const written = scratch[index]!;
      for (let at = 0; at < rowCount; at += 1) {
        const datum = data[at]!;
        written[at] = datum === null ? null : write(datum);
      }
      columns[index] = written;
    }
    // At first the values alone: each gives its place to the row that has them.
    const rows: unknown[] = [];
    records.append(columns, rowCount, rows as Record<string, unknown>[]);
    const { rowWindows } = tiles;
    for (let at = 0; at < rowCount; at += 1)
      rows[at] = this.#rowOf(windows[rowWindows[at]!]!, NO_BY, rows[at] as Record<string, unknown>);
    return rows as WindowResultRow[];
  }

  #rowOf(
    { startMs, endMs, label, offsetSeconds, partial, complete }: PlannedWindow,
    by: Record<string, unknown>,
    values: Record<string, unknown>,
  ): WindowResultRow {
    // Most windows begin where the one before ended.
    const start = startMs === this.#endMs ? this.#end : this.#texts.of(startMs);
    const end = endMs === this.#endMs ? this.#end : this.#texts.of(endMs);
    this.#endMs = endMs;
    this.#end = end;
    // Rows of it are no more, or will be none: it is a part, and will be a smaller one.
    const isCut = startMs < this.#keptFromMs;
    return {
      start,
      end,
      startMs,
      endMs,
      label,
      offsetSeconds,
      partial: partial || isCut,
      complete: complete && !isCut,
      by,
      values,
    };
  }

  row({ window, by, values, previous }: WindowRow): WindowResultRow {
    const { by: writeBy, values: writeValue } = this.#writers;
    const row = this.#rowOf(
      window,
      record(this.#by, (index) => written(by[index]!, writeBy[index]!)),
      record(this.#names, (index) => written(values[index]!, writeValue[index]!)),
    );
    if (previous === undefined) return row;
    if (previous === null)
      return { ...row, previous: null, change: null, changeShare: null, compared: null };
    const changes = values.map((value, index) =>
      this.#change(value, previous.values[index]!, index),
    );
    return {
      ...row,
      previous: record(this.#names, (index) =>
        written(previous.values[index]!, writeValue[index]!),
      ),
      change: record(this.#names, (index) =>
        written(changes[index]!, this.#differenceOf(index).write),
      ),
      changeShare: record(this.#names, (index) =>
        shareOf(changes[index]!, previous.values[index]!),
      ) as Record<string, number | null>,
      compared: {
        ...spanOf(previous),
        ...(previous.partial === true || previous.startMs < this.#keptFromMs
          ? { partial: true }
          : {}),
      },
    };
  }

  #change(value: Datum | Interpolated, previous: Datum, index: number): Datum | Interpolated {
    if (value === null || previous === null) return null;
    if (value instanceof Interpolated)
      return new Interpolated(value.value - Number(String(previous)));
    const { minus } = this.#differenceOf(index);
    if (minus === undefined) return null;
    return evaluateConstant(minus, { ...this.#context, parameters: [value, previous] });
  }
}

function spanOf({ startMs, endMs }: ComparedSpan): ComparedSpan {
  return { startMs, endMs };
}

/** `$1 - $2` for a type that has differences. */
function differenceOf(type: SqlType): Expression | undefined {
  try {
    return resolveOperator(
      '-',
      { kind: 'parameter', index: 0, type },
      { kind: 'parameter', index: 1, type },
    );
  } catch (cause) {
    if (cause instanceof DbError) return undefined;
    throw cause;
  }
}

function shareOf(change: Datum | Interpolated, previous: Datum): number | null {
  if (change === null || previous === null) return null;
  const [part, whole] = [
    change instanceof Interpolated ? change.value : Number(String(change)),
    Number(String(previous)),
  ];
  const share = part / Math.abs(whole);
  return Number.isFinite(share) ? share : null;
}

function written(datum: Datum | Interpolated, write: (datum: Datum) => unknown): unknown {
  if (datum instanceof Interpolated) return datum.value;
  return datum === null ? null : write(datum);
}

function record(
  names: readonly string[],
  value: (index: number) => unknown,
): Record<string, unknown> {
  const made: Record<string, unknown> = {};
  for (let index = 0; index < names.length; index += 1) setField(made, names[index]!, value(index));
  return made;
}

function setField(made: Record<string, unknown>, name: string, value: unknown): void {
  if (name !== '__proto__') made[name] = value;
  // Assigned, it would be the record's prototype.
  else
    Object.defineProperty(made, name, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
}
