import { assert, DbError } from '../base/errors.ts';
import { MemoryAccount } from '../base/memory.ts';
import type { TableData, TableDelta, TimeStretch } from '../columns/table-contract.ts';
import { hasDate, type TypeKind } from '../columns/types.ts';
import type { ExecutionEnvironment } from '../operators/environment.ts';
import { Budget, type Operator } from '../operators/operator.ts';
import type { AggregateNode, PlanNode, ScanNode } from '../plan/logical.ts';
import type { Expression } from '../expressions/expression.ts';
import {
  evaluateConstant,
  isOfParameters,
  mapParts,
  referencedColumns,
  someNode,
  volatilityOf,
} from '../expressions/fold.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { conjunction, conjunctsOf, constant, inputsOf, visitScans } from '../plan/nodes.ts';
import { drawnIn } from './drawn-ends.ts';
import {
  drawnNote,
  firstKept,
  keptPosition,
  KeptReading,
  resolutionError,
  timeEnds,
  type KeptTable,
} from './kept-reading.ts';
import type { TilePage } from './tile-page.ts';
import {
  openTimeAggregateOf,
  TiledAggregate,
  timeAggregateOf,
  type TiledAnswer,
  type TimeAggregate,
} from './tile-aggregate.ts';
import type { KeptTile } from './kept-tiles.ts';
import { isTileCall, settledIn, tilePlanOf, type TilePlan } from './tile-plan.ts';
import { KeyScratch } from './key-counts.ts';
import { whyNoTiles } from './no-tiles.ts';
import { TileSet } from './tile-set.ts';
import { metBetween, rowEnds } from './time-ends.ts';
import { isOfTime, timeReach, type TimeReach } from './time-reach.ts';
import { MINUTE } from './tile-time.ts';
import { TiledWindows } from './tile-windows.ts';
import {
  scannedWindows,
  type WindowBounds,
  type WindowOperator,
  type WindowPlan,
  type WindowSource,
} from './window-source.ts';
import type { WindowSeries } from './window-spec.ts';

/** Of the database's memory, what tiles may take. */
const MEMORY_SHARE = 0.25;
/** Of the database's memory: beyond it tiles go before anything else is refused. */
const PRESSURE_SHARE = 0.8;
/** Changed rows times sets that a commit applies itself; what is more waits for who reads next. */
const APPLY_AT_ONCE_MAX = 2048;
/** Pages that are looked at when memory is short: of these the least useful half goes. */
const LOOKED_AT_MAX = 256;
/** Questions of one table; the one that was asked longest ago goes. */
const SETS_MAX = 256;
/** Questions of one table that are known to have no tiles; who asked one that was forgotten is told so again, for the price of trying. */
const REFUSED_MAX = 256;
/** Many windows shorter than a minute are cheaper to fill row by row. */
const NARROW_WINDOWS_MAX = 512;

/**
 * All tiles of a database: made when a question is asked, kept by the commits that change its table, evicted when memory is short. They
 * are never visible in an answer: each has the same bits without them.
 */
export class TileStore implements WindowSource {
  readonly memory: MemoryAccount;
  readonly #dataOf: (relation: number) => TableData | undefined;
  readonly #keptOf: (relation: number) => KeptTable | undefined;
  readonly #relations = new Map<number, Relation>();
  /** Rows count as so many where it is decided how fine tiles are: tests cut few rows like millions. */
  density = 1;
  readonly #scratch = new KeyScratch();
  /** Questions so far: whose set was asked last has the greatest number. */
  #asked = 0;
  /** Plans that were looked at: dashboards ask the same again and again. */
  readonly #plans = new WeakMap<WindowPlan, { readonly zone: string; readonly plan: TilePlan }>();
  /** The sets that answer them. */
  readonly #found = new WeakMap<TilePlan, FoundSet>();
  readonly #aggregates = new WeakMap<
    AggregateNode,
    { readonly question: TimeAggregate | undefined }
  >();

  constructor(options: {
    readonly memory: MemoryAccount;
    readonly dataOf: (relation: number) => TableData | undefined;
    /** What policies have demoted of a table; undefined: nothing. */
    readonly keptOf?: (relation: number) => KeptTable | undefined;
  }) {
    this.memory = new MemoryAccount(
      'window tiles',
      options.memory,
      options.memory.limitBytes * MEMORY_SHARE,
    );
    this.#dataOf = options.dataOf;
    this.#keptOf = options.keptOf ?? (() => undefined);
  }

  open(plan: WindowPlan, windows: WindowBounds, environment: ExecutionEnvironment): WindowOperator {
    const tiles = this.openTiles(plan, windows, environment);
    if (tiles !== undefined) return tiles;
    this.refuseKept(plan, windows, environment);
    return scannedWindows.open(plan, windows, environment);
  }

  /** Throws ADB_RESOLUTION where windows that rows alone are to answer have some that were demoted. */
  refuseKept(
    plan: WindowPlan,
    windows: WindowBounds,
    environment: ExecutionEnvironment,
    what = whatIsNotKept(plan),
  ): void {
    visitScans(plan.input, ({ relation }) => {
      const kept = this.#keptOf(relation);
      if (kept === undefined) return;
      const isOther = plan.input.kind === 'scan' && !isTimeOf(kept, plan);
      const position = keptPosition(environment, relation);
      const tile = firstKept(kept, position, isOther ? ALL_TIME : windows);
      if (tile !== undefined) throw resolutionError(kept, what, tile);
    });
  }

  /** A series whose ends that go along with now lie where tiles of demoted rows do, and what is said of it; undefined where it is as it is. */
  drawnIn(
    plan: WindowPlan,
    series: WindowSeries,
    environment: ExecutionEnvironment,
  ): { readonly series: WindowSeries; readonly note: string } | undefined {
    if (plan.input.kind !== 'scan') return undefined;
    const kept = this.#keptOf(plan.input.relation);
    if (kept === undefined || !isTimeOf(kept, plan)) return undefined;
    const position = keptPosition(environment, plan.input.relation);
    const drawn = drawnIn(series, kept.tiles, position);
    return drawn && { series: drawn, note: drawnNote(kept, position) };
  }

  /** Whether rows later than an instant may have been demoted of what a plan reads. */
  keptSince({ input }: WindowPlan, time: number, environment: ExecutionEnvironment): boolean {
    if (input.kind !== 'scan') return false;
    const hull = this.#keptOf(input.relation)?.tiles.hull(
      keptPosition(environment, input.relation),
    );
    return hull !== undefined && hull.end > time;
  }

  /** Undefined where tiles cannot answer. */
  openTiles(
    plan: WindowPlan,
    windows: WindowBounds,
    environment: ExecutionEnvironment,
  ): TiledWindows | undefined {
    const kept = this.#keptFor(plan, environment, windows);
    if (kept !== undefined) return this.#openDemoted(kept, plan, windows, environment);
    const tiled = this.#planOf(plan, environment);
    if (tiled === undefined) return undefined;
    const data = this.#dataOf(tiled.relation);
    if (data === undefined || timeColumnOf(data) !== tiled.time) return undefined;
    const snapshot = environment.snapshotOf(tiled.relation);
    if (isNarrow(windows)) return undefined;
    // A transaction's own rows, or a table that was redefined since.
    if (
      snapshot.position === undefined ||
      snapshot.scanTimes === undefined ||
      snapshot.schema.columns !== data.schema.columns
    )
      return undefined;
    const relation = this.#relationOf(tiled.relation, data);
    if (relation.refused.size > 0 && relation.refused.has(tiled.whole)) return undefined;
    const found = this.#setFor(relation, tiled, data, environment);
    if (found === undefined) return undefined;
    return new TiledWindows({
      plan,
      windows,
      environment,
      ...found,
      snapshot,
      refused: (always) => this.#refused(relation, found.set, always),
    });
  }

  #refused(relation: Relation, set: TileSet, always: boolean): void {
    if (always) {
      // What the set computes, which may be more than was asked for: the rest may have tiles of its own.
      const { refused } = relation;
      // A Set keeps the order of insertion: the oldest goes.
      if (refused.size >= REFUSED_MAX) refused.delete(refused.values().next().value!);
      refused.add(set.plan.whole);
      this.#drop(relation, set);
    } else this.shed(this.memory.usedBytes / 4);
  }

  /** What was demoted of the table that a plan reads, where some of it lies in the windows. */
  #keptFor(
    { input }: WindowPlan,
    environment: ExecutionEnvironment,
    windows: WindowBounds,
  ): KeptTable | undefined {
    const kept = input.kind === 'scan' ? this.#keptOf(input.relation) : undefined;
    if (kept === undefined) return undefined;
    const position = keptPosition(environment, (input as ScanNode).relation);
    return firstKept(kept, position, windows) === undefined ? undefined : kept;
  }

  /** Windows of a table of which demoted rows lie in them: conditions on time are what lies in each. */
  #openDemoted(
    kept: KeptTable,
    plan: WindowPlan,
    windows: WindowBounds,
    environment: ExecutionEnvironment,
  ): TiledWindows | undefined {
    const data = this.#dataOf((plan.input as ScanNode).relation);
    if (data === undefined || timeColumnOf(data) !== kept.tiles.time) return undefined;
    const timed = withoutTime(plan, kept.tiles.time, windows, environment);
    return (
      (timed && this.#openKept(kept, timed.plan, windows, environment, data, timed.reaches)) ??
      this.#openKept(kept, plan, windows, environment, data)
    );
  }

  /**
   * Demoted rows beside those that are left: from the cache where it can answer, else from the rows one by one. Undefined where the question is of
   * more than tiles have.
   */
  #openKept(
    kept: KeptTable,
    asked: WindowPlan,
    windows: WindowBounds,
    environment: ExecutionEnvironment,
    data: TableData,
    reaches?: readonly TimeReach[],
  ): TiledWindows | undefined {
    const plan = withSettledFilters(asked, environment.context);
    const tiled = this.#planOf(plan, environment);
    if (tiled === undefined || tiled.time !== kept.tiles.time) return undefined;
    const { relation: number } = tiled;
    const snapshot = environment.snapshotOf(number);
    const { context } = environment;
    const reading = (): KeptReading =>
      new KeptReading(kept, keptPosition(environment, number), tiled, context);
    const plainly = (rest: WindowBounds, lying?: readonly TimeReach[]): TiledWindows =>
      new TiledWindows({
        plan,
        windows: rest,
        environment,
        set: new TileSet(tiled, data, context, environment.memory, 1, this.#scratch),
        calls: tiled.calls.map((_, index) => index),
        snapshot,
        kept: reading(),
        isPlain: true,
        reaches: lying,
      });
    if (
      snapshot.position === undefined ||
      snapshot.scanTimes === undefined ||
      snapshot.schema.columns !== data.schema.columns ||
      reaches !== undefined ||
      // What it means now nobody asks again.
      plan !== asked
    )
      return plainly(windows, reaches);
    const relation = this.#relationOf(number, data);
    const found = relation.refused.has(tiled.whole)
      ? undefined
      : this.#setFor(relation, tiled, data, environment);
    if (found === undefined) return plainly(windows);
    return new TiledWindows({
      plan,
      windows,
      environment,
      ...found,
      snapshot,
      kept: reading(),
      otherwise: plainly,
      refused: (always) => this.#refused(relation, found.set, always),
    });
  }

  /** Whether a plan's aggregate is one that tiles answer, as far as the plan tells. */
  fits(node: AggregateNode): boolean {
    return this.#timeAggregateOf(node) !== undefined;
  }

  /** For plans of plain SQL: an aggregate over a stretch of time comes from tiles, where it can. */
  aggregate(
    node: AggregateNode,
    environment: ExecutionEnvironment,
    plain: () => Operator,
    answered: (answer: TiledAnswer) => void,
    /** Whether rows that are there may be answered for from tiles, and whether tiles may be made for that. */
    usesCache: boolean | 'ready' = true,
  ): Operator | undefined {
    const met = node.input.kind === 'scan' ? this.#keptMet(node.input, environment) : undefined;
    if (met !== undefined) return this.#keptAggregate(met, node, environment, answered);
    const question = usesCache === false ? undefined : this.#timeAggregateOf(node);
    if (question === undefined) return undefined;
    const { relation } = node.input as ScanNode;
    const time = question.columnIndexes[question.time]!;
    return new TiledAggregate({
      node,
      question,
      environment,
      open: (plan, windows, inner) => this.openTiles(plan, windows, inner),
      plain,
      ends: {
        kind: 'rows',
        find: (budget, isBounded) =>
          rowEnds(environment.snapshotOf(relation), time, isBounded, budget),
      },
      answered: (answer) => answered({ relation, ...answer }),
      isReadyOnly: usesCache === 'ready',
    });
  }

  /**
   * Throws ADB_RESOLUTION where an aggregate of a plan would be taken for that of all rows, some of which were demoted: of a join, of
   * what WITH names, or by whoever does not know tiles (`isTiled` false). Rows themselves are those that are left.
   */
  assertWhole(
    plan: PlanNode,
    environment: Pick<ExecutionEnvironment, 'position' | 'snapshotOf' | 'context'>,
    isTiled: boolean,
  ): void {
    const named = new Map<number, PlanNode>();
    /** `use`: what the aggregate above would do with these rows; undefined where there is none. */
    const visit = (node: PlanNode, use: 'counted one by one' | 'joined' | undefined): void => {
      // Its rows are what tiles and rows add up to.
      if (node.kind === 'aggregate' && isTiled && node.input.kind === 'scan') return;
      if (node.kind === 'scan' && use !== undefined) {
        const met = this.#keptMet(node, environment);
        if (met !== undefined) throw resolutionError(met.kept, `rows to be ${use}`, met.tile);
      }
      const inputs = inputsOf(node);
      if (node.kind === 'cte') for (const each of node.ctes) named.set(each.cte, each.plan);
      const below =
        node.kind === 'aggregate'
          ? 'counted one by one'
          : use !== undefined && inputs.length > 1
            ? 'joined'
            : use;
      for (const input of inputs) visit(input, below);
      if (node.kind !== 'cteScan' || use === undefined) return;
      const rows = named.get(node.cte);
      // Once: WITH RECURSIVE reads itself.
      named.delete(node.cte);
      if (rows !== undefined) visit(rows, use);
    };
    visit(plan, undefined);
  }

  /** What was demoted of the table that a scan reads, where its conditions do not exclude it. */
  #keptMet(
    scan: ScanNode,
    environment: Pick<ExecutionEnvironment, 'position' | 'snapshotOf' | 'context'>,
  ): KeptMet | undefined {
    const kept = this.#keptOf(scan.relation);
    if (kept === undefined) return undefined;
    const position = keptPosition(environment, scan.relation);
    const hull = kept.tiles.hull(position);
    if (hull === undefined) return undefined;
    const all = { from: hull.start, to: hull.end };
    const stretches = reachedOf(scan, kept.tiles.time, environment.context, all) ?? [all];
    const tile = firstKept(kept, position, {
      from: Float64Array.from(stretches, ({ from }) => from),
      to: Float64Array.from(stretches, ({ to }) => to),
    });
    return tile === undefined ? undefined : { kept, tile, scan };
  }

  /** An aggregate over all that there was of a table, demoted rows included. */
  #keptAggregate(
    { kept, tile, scan }: KeptMet,
    node: AggregateNode,
    environment: ExecutionEnvironment,
    answered: (answer: TiledAnswer) => void,
  ): Operator {
    const { relation } = scan;
    const data = this.#dataOf(relation);
    const index = kept.tiles.time;
    const column = data?.schema.columns[index];
    const question =
      column === undefined
        ? undefined
        : openTimeAggregateOf(node, settledScan(scan, environment.context), column, index);
    const refusal = (): DbError =>
      resolutionError(
        kept,
        question === undefined
          ? 'rows to be counted one by one'
          : question.plan.calls.every(isTileCall)
            ? 'times that its conditions and buckets tell apart'
            : whatIsNotKept(question.plan),
        tile,
      );
    if (data === undefined || question === undefined || !question.plan.calls.every(isTileCall))
      throw refusal();
    return new TiledAggregate({
      node,
      question,
      environment,
      open: (plan, windows, inner) =>
        timeColumnOf(data) === index
          ? this.#openKept(kept, plan, windows, inner, data, windows.reaches)
          : undefined,
      plain: () => {
        throw refusal();
      },
      answered: (answer) => answered({ relation, ...answer }),
      ends: {
        kind: 'kept',
        find: (budget, isBounded) =>
          timeEnds(kept, environment, relation, index, isBounded, budget),
      },
    });
  }

  #timeAggregateOf(node: AggregateNode): TimeAggregate | undefined {
    const known = this.#aggregates.get(node);
    if (known !== undefined) return known.question;
    const data = node.input.kind === 'scan' ? this.#dataOf(node.input.relation) : undefined;
    const question = data === undefined ? undefined : timeAggregateOf(node, timeColumnOf(data));
    const isOurs = question?.plan.calls.every(isTileCall) === true;
    this.#aggregates.set(node, { question: isOurs ? question : undefined });
    return isOurs ? question : undefined;
  }

  /** A commit is visible: sets that are where it began follow it at once, in its own turn; others when they are read. */
  published(deltas: ReadonlyMap<number, readonly TableDelta[]>, position: number): void {
    if (this.#relations.size === 0) return;
    const { usedBytes, limitBytes } = this.memory.parent!;
    if (usedBytes > limitBytes * PRESSURE_SHARE) this.shed(usedBytes - limitBytes * PRESSURE_SHARE);
    for (const [number, changes] of deltas) {
      const relation = this.#relations.get(number);
      if (relation === undefined) continue;
      // Nobody asks the old tiles of a table that was redefined.
      if (relation.columns !== relation.data.schema.columns) {
        this.forget(number);
        continue;
      }
      const before = relation.position;
      relation.position = position;
      let rows = 0;
      for (const { deleted, inserted } of changes)
        rows += (deleted?.rowCount ?? 0) + (inserted?.rowCount ?? 0);
      if (rows * relation.sets.length > APPLY_AT_ONCE_MAX) continue;
      for (const set of relation.sets)
        if (set.position === before && !set.isBusy && !set.isEmpty) set.apply(changes, position);
    }
  }

  /** A relation is no more, or its rows were replaced as a whole. */
  forget(number: number): void {
    const relation = this.#relations.get(number);
    if (relation === undefined) return;
    for (const set of relation.sets.splice(0)) set.close();
    this.#relations.delete(number);
  }

  /** Gives back about `bytes`, the least useful first: what was read seldom, is large, and quickly made again. */
  shed(bytes: number): void {
    let left = bytes;
    for (const relation of this.#relations.values()) {
      for (const set of [...relation.sets]) {
        if (left <= 0) return;
        left -= shedFrom(set, left);
        if (set.isEmpty && !set.isBuilding && !set.isBusy) this.#drop(relation, set);
      }
    }
  }

  /** Those of all tables. */
  sets(): readonly TileSet[] {
    return [...this.#relations.values()].flatMap(({ sets }) => sets);
  }

  close(): void {
    for (const number of [...this.#relations.keys()]) this.forget(number);
  }

  #planOf(plan: WindowPlan, { context }: ExecutionEnvironment): TilePlan | undefined {
    const known = this.#plans.get(plan);
    if (known?.zone === context.zone) return known.plan;
    const made = tilePlanOf(plan, context);
    // Parameters, and words such as `today`, are this statement's own.
    if (made !== undefined && isTimeless(plan))
      this.#plans.set(plan, { zone: context.zone, plan: made });
    return made;
  }

  #relationOf(number: number, data: TableData): Relation {
    const known = this.#relations.get(number);
    if (known !== undefined && known.data === data && known.columns === data.schema.columns)
      return known;
    this.forget(number);
    const made: Relation = {
      data,
      columns: data.schema.columns,
      sets: [],
      refused: new Set(),
      position: data.position,
    };
    this.#relations.set(number, made);
    return made;
  }

  #setFor(
    relation: Relation,
    plan: TilePlan,
    data: TableData,
    { context }: ExecutionEnvironment,
  ): FoundSet | undefined {
    let found = this.#found.get(plan);
    if (found === undefined || found.set.isClosed || found.set.data !== data) {
      const make = (): TileSet =>
        new TileSet(plan, data, context, this.memory, this.density, this.#scratch);
      found = this.#setWithRoom(relation, plan, make);
      if (found === undefined) return undefined;
      this.#found.set(plan, found);
    }
    this.#asked += 1;
    found.set.askedAt = this.#asked;
    return found;
  }

  /** Undefined where there is no room for a new one: some is made for the next who asks. */
  #setWithRoom(relation: Relation, plan: TilePlan, make: () => TileSet): FoundSet | undefined {
    try {
      return this.#setOf(relation, plan, make);
    } catch (cause) {
      whyNoTiles(cause);
      this.shed(this.memory.usedBytes / 4);
      return undefined;
    }
  }

  /** The set that computes all that is asked for. */
  #setOf(relation: Relation, plan: TilePlan, make: () => TileSet): FoundSet {
    const { sets } = relation;
    for (let index = sets.length - 1; index >= 0; index -= 1) {
      const set = sets[index]!;
      if (set.plan.text !== plan.text) continue;
      const calls = plan.callTexts.map((text) => set.plan.callTexts.indexOf(text));
      if (!calls.includes(-1)) return { set, calls };
    }
    if (sets.length >= SETS_MAX)
      this.#drop(
        relation,
        sets.reduce((oldest, each) => (each.askedAt < oldest.askedAt ? each : oldest)),
      );
    const set = make();
    sets.push(set);
    return { set, calls: plan.calls.map((_, index) => index) };
  }

  #drop(relation: Relation, set: TileSet): void {
    const index = relation.sets.indexOf(set);
    assert(index >= 0, 'a set is dropped once: who reads it meanwhile looks whether it is closed');
    relation.sets.splice(index, 1);
    set.close();
  }
}

/** A set, and the place of each call of a question in it. */
type FoundSet = { readonly set: TileSet; readonly calls: readonly number[] };

type Relation = {
  readonly data: TableData;
  readonly columns: TableData['schema']['columns'];
  readonly sets: TileSet[];
  /** Questions that tiles cannot answer. */
  readonly refused: Set<string>;
  /** Of the newest commit that changed it. */
  position: number;
};

/** What was demoted, and the first of it that a scan meets. */
type KeptMet = { readonly kept: KeptTable; readonly tile: KeptTile; readonly scan: ScanNode };

const ALL_TIME: WindowBounds = { from: Float64Array.of(-Infinity), to: Float64Array.of(Infinity) };

/** Whether windows go by the time that rows were demoted by. */
function isTimeOf({ tiles }: KeptTable, { input, time }: WindowPlan): boolean {
  if (input.kind !== 'scan' || time.kind !== 'column') return false;
  return input.columnIndexes[time.index] === tiles.time;
}

/** With parameters as constants: an interval that is one is added to times as one that is written. */
function settledScan(scan: ScanNode, context: EvaluationContext): ScanNode {
  return scan.filter === undefined ? scan : { ...scan, filter: settledIn(scan.filter, context) };
}

/** Which times of a stretch a scan's conditions let through; undefined where they do not tell, or not soon. */
function reachedOf(
  { filter, columnIndexes }: ScanNode,
  time: number,
  context: EvaluationContext,
  all: TimeStretch,
): readonly TimeStretch[] | undefined {
  const column = columnIndexes.indexOf(time);
  if (filter === undefined || column < 0) return undefined;
  const conditions = conjunctsOf(settledIn(filter, context)).filter((each) =>
    isOfTime(each, column),
  );
  if (conditions.length === 0) return undefined;
  const budget = new Budget(Infinity);
  const reaching = timeReach(conditions, column, context, metBetween(all), {
    budget: () => budget,
    looksLeft: REACH_LOOKS_MAX,
    changesMax: REACH_LOOKS_MAX,
  });
  const { value } = reaching.next();
  return value === undefined ? undefined : value.stretches;
}

/** A question whose conditions on time have become what lies in its windows; undefined where it has none, or they do not tell. */
function withoutTime(
  plan: WindowPlan,
  time: number,
  windows: WindowBounds,
  { context }: ExecutionEnvironment,
): { readonly plan: WindowPlan; readonly reaches: readonly TimeReach[] } | undefined {
  const input = plan.input as ScanNode;
  const { from, to } = windows;
  const all = { from: from[0]!, to: to.reduce((last, each) => Math.max(last, each), -Infinity) };
  const stretches = reachedOf(input, time, context, all);
  if (stretches === undefined) return undefined;
  const column = input.columnIndexes.indexOf(time);
  const rest = conjunctsOf(settledIn(input.filter!, context)).filter(
    (each) => !isOfTime(each, column),
  );
  let first = 0;
  const reaches = Array.from(from, (start, window): TimeReach => {
    const end = to[window]!;
    // Windows begin one after the other.
    while (first < stretches.length && stretches[first]!.to <= start) first += 1;
    const own: TimeStretch[] = [];
    for (let at = first; at < stretches.length && stretches[at]!.from < end; at += 1)
      own.push({
        from: Math.max(start, stretches[at]!.from),
        to: Math.min(end, stretches[at]!.to),
      });
    return { stretches: own, isTimeless: false };
  });
  return { plan: { ...plan, input: { ...input, filter: conjunction(rest) } }, reaches };
}

/** The same where FILTERs speak of now: of this statement's. */
function withSettledFilters(plan: WindowPlan, context: EvaluationContext): WindowPlan {
  let isSame = true;
  const settled = (expression: Expression): Expression => {
    if (!someNode(expression, isOfNow) || someNode(expression, isOfOthers)) return expression;
    if (referencedColumns(expression).size > 0) return mapParts(expression, settled);
    isSame = false;
    return constant(evaluateConstant(expression, context), expression.type);
  };
  const calls = plan.calls.map((call) =>
    call.filter === undefined ? call : { ...call, filter: settled(call.filter) },
  );
  return isSame ? plan : { ...plan, calls };
}

/** A call that is the same for a statement, and another for the next. */
function isOfNow(node: Expression): boolean {
  return node.kind === 'call' && volatilityOf(node) === 'stable';
}

/** What each row asks anew, or who reads it. */
function isOfOthers(node: Expression): boolean {
  return (
    node.kind === 'subquery' || node.kind === 'outerColumn' || volatilityOf(node) === 'volatile'
  );
}

/** Looks until it is told which demoted rows a condition may meet: a fraction of a step. */
const REACH_LOOKS_MAX = 512;

/** Why a question does not come from tiles at all. */
function whatIsNotKept({ input, calls }: WindowPlan): string {
  const call = calls.find((each) => !isTileCall(each));
  if (call !== undefined) return `${call.distinct ? 'distinct values of ' : ''}${call.fn}`;
  return input.kind === 'scan' ? 'times other than the policy’s' : 'rows of joins and subqueries';
}

/** The column whose order segments keep. */
function timeColumnOf({ schema }: TableData): number {
  return schema.timeColumn ?? schema.columns.findIndex(({ type }) => hasDate(type));
}

function isTimeless({ input, calls, keys }: WindowPlan): boolean {
  const all = [
    ...(input.kind === 'scan' && input.filter !== undefined ? [input.filter] : []),
    ...keys,
    ...calls.flatMap(({ args, filter }) => (filter === undefined ? args : [...args, filter])),
  ];
  return !all.some((expression) =>
    someNode(
      expression,
      (each) =>
        isOfParameters(each) || (each.kind === 'cast' && TEXT_KINDS.has(each.arg.type.kind)),
    ),
  );
}

const TEXT_KINDS: ReadonlySet<TypeKind> = new Set<TypeKind>([
  'unknown',
  'text',
  'varchar',
  'bpchar',
]);

function isNarrow({ from, to }: WindowBounds): boolean {
  if (from.length <= NARROW_WINDOWS_MAX) return false;
  let length = 0;
  for (let index = 0; index < from.length; index += 1) length += to[index]! - from[index]!;
  return length < from.length * MINUTE;
}

/** Evicts the least useful pages of a set; gives the bytes it gave back. */
function shedFrom(set: TileSet, bytes: number): number {
  const before = set.bytes;
  const looked: { readonly day: number; readonly value: number }[] = [];
  for (const [day, page] of set.pages()) {
    looked.push({ day, value: valueOf(page) });
    page.uses /= 2;
    if (looked.length >= LOOKED_AT_MAX) break;
  }
  looked.sort((a, b) => a.value - b.value || a.day - b.day);
  for (const { day } of looked.slice(0, Math.ceil(looked.length / 2))) {
    if (before - set.bytes >= bytes) break;
    set.shedDay(day);
  }
  return before - set.bytes;
}

/** What making it again costs, times how likely that is, for a byte. */
function valueOf(page: TilePage): number {
  return ((page.rows + 1) * page.uses) / page.bytes;
}
