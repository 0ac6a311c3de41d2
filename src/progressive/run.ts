import { assert, DbError } from '../base/errors.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from '../columns/batch.ts';
import { datumAt, vectorFromData } from '../columns/build.ts';
import type { Range, TableSample } from '../columns/table-contract.ts';
import type { SqlType } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';
import { fromFloat } from '../expressions/decimal-arithmetic.ts';
import type { Expression } from '../expressions/expression.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { referencedColumns } from '../expressions/fold.ts';
import type { AggregateOperator } from '../operators/aggregate.ts';
import { buildObserved, buildOperator } from '../operators/build.ts';
import type { ExecutionEnvironment } from '../operators/environment.ts';
import type { GroupOrder } from '../operators/group-order.ts';
import type { Budget, Operator, Step } from '../operators/operator.ts';
import { unseenVector } from '../operators/demand.ts';
import { EMPTY_BATCH } from '../operators/row-operators.ts';
import { equivalentZoneTests, zoneTestsOf } from '../operators/sources.ts';
import type { AggregateNode, OutputColumn, PlanNode, ScanNode } from '../plan/logical.ts';
import { inputsOf, isNullable } from '../plan/nodes.ts';
import { tunedDraws } from './confidence.ts';
import { beforeRounding, boundsOf, doubleOf, writeDoubles } from './doubles.ts';
import {
  evaluateFormula,
  isEstimated,
  isNumeric,
  outputsOf,
  RANK,
  withGroupColumn,
} from './outputs.ts';
import { CLUSTER_ROWS, planTracks, type CallTrack, type Tracks } from './plan-tracks.ts';
import { NO_RANGE, type ColumnRanges } from './ranges.ts';
import { SampleSource } from './sample-source.ts';
import { SelectedRows, SmallGroups } from './small-groups.ts';
import { readsAlone, type SampledShape } from './shape.ts';
import { NOTHING, type Estimate } from './estimate.ts';
import type { Draws } from './tracks.ts';
import { Watcher } from './watcher.ts';

export type RunOptions = {
  /** 0 … 1: how sure an interval is, at all looks together. */
  readonly confidence: number;
  /** All values of all groups at once, or each by itself. */
  readonly simultaneous: boolean;
  /** Which sample. */
  readonly seed: number;
  readonly wholeFrom?: number | undefined;
};

/** A value of a look: the group's own, or an estimate. */
export type LookCell =
  | { readonly kind: 'value'; readonly value: Datum }
  /** `value`: where it is exact. */
  | ({ readonly kind: 'estimate'; readonly value?: Datum } & Estimate);

export type Look = {
  /** Rows read so far of all rows that are to be read. */
  readonly rowsSeen: number;
  readonly rowsTotal: number;
  readonly rows: readonly (readonly LookCell[])[];
  /** Why there are none, where what lies above the aggregation fails for the estimates of now. */
  readonly why?: string;
};

/**
 * One run of a query over a sample that grows to the whole: the rounds of the sample go through the ordinary operators, a watcher adds up what
 * the aggregation takes, and after any round there is an estimate of every value. After the last round the aggregation has had every row once, and
 * `output` is the plain query's answer to the bit, since its states do not depend on the order of rows.
 */
export class ProgressiveRun {
  readonly columns: readonly OutputColumn[];
  /** Which columns of the answer are estimated. */
  readonly estimated: readonly boolean[];
  readonly sample: TableSample;
  readonly #shape: SampledShape;
  readonly #environment: ExecutionEnvironment;
  readonly #options: RunOptions;
  readonly #watcher: Watcher;
  readonly #aggregate: AggregateOperator;
  readonly #output: Operator;
  /** What is looked for before the sample is read. */
  readonly #selected: SelectedRows | undefined;
  readonly #small: SmallGroups | undefined;
  readonly #outputs: readonly Expression[];
  readonly #others: OtherRanges;
  #tracks: Tracks | undefined;
  /** Of each call: what of its chance to miss one formula may use. */
  readonly #shares: number[];
  readonly #estimatedCount: number;
  #phase: 'selected' | 'ranges' | 'small' | 'absorb' | 'settle' | 'exact' = 'selected';
  /** Draws, and watched ones, up to the last look. */
  #settled = { draws: 0, watched: 0 };
  #isFirstLook = true;
  #isLookDue = false;
  #lookedAtSpent = 0;
  /** What was spent when it began: by a run that failed before it. */
  #spentBefore: number | undefined;
  /** Of what was spent, what showing took. */
  #shownWork = 0;
  /** Work that looks took so far. */
  #lookWork = 0;
  #wholeCounts: Float64Array = new Float64Array(0);
  /** By output column, then group: the narrowest interval shown so far. */
  readonly #shown: Bounded[];
  /** Where the answer shows columns of the aggregation as they are: which ones. Most do, and a look need not run a plan then. */
  readonly #shownColumns: readonly number[] | undefined;
  #looking: Looking | undefined;
  #ordering: GroupOrder | undefined;
  #rowsSettled = 0;

  constructor(shape: SampledShape, environment: ExecutionEnvironment, options: RunOptions) {
    this.#shape = shape;
    this.#environment = environment;
    this.#options = options;
    const { driving, aggregate, plan } = shape;
    const { context, memory } = environment;
    this.columns = plan.columns;
    const snapshot = environment.snapshotOf(driving.relation);
    assert(snapshot.sample !== undefined, 'what is sampled is a stored relation');
    const outputs = outputsOf(plan, aggregate);
    this.#outputs = outputs;
    const keyCount = aggregate.keys.length;
    this.estimated = outputs.map((output) => isEstimated(output, keyCount));
    this.#estimatedCount = Math.max(1, this.estimated.filter(Boolean).length);
    this.#shares = aggregate.calls.map(() => 1);
    for (const output of outputs) {
      const calls = callsOf(output, keyCount, context);
      for (const call of calls) this.#shares[call] = Math.min(this.#shares[call]!, 1 / calls.size);
    }
    this.#shown = outputs.map(() => new Bounded());
    // Behind them, the group.
    if (isProjected(plan, aggregate) && outputs.every(({ kind }) => kind === 'column'))
      this.#shownColumns = [
        ...outputs.map((output) => (output as Extract<Expression, { kind: 'column' }>).index),
        -1,
      ];
    this.sample = snapshot.sample({
      columnIndexes: driving.columnIndexes,
      prune:
        driving.filter === undefined
          ? []
          : zoneTestsOf(driving.filter, driving.columnIndexes, context),
      tailColumns: shape.isSingle ? tailColumnsOf(shape) : [],
      seed: options.seed,
      wholeFrom: options.wholeFrom,
      cover: readsAlone(aggregate.input, driving)
        ? equivalentZoneTests(driving.filter, driving.columnIndexes, context)
        : undefined,
      isCounting: countsOnly(aggregate),
      batchRowsMax: shape.isSingle ? undefined : CLUSTER_ROWS,
    });
    this.#watcher = new Watcher(aggregate.calls, new MemoryLease(memory));
    const source = new SampleSource(driving, this.sample, context, {
      watch: () => this.#watch(),
      endDraw: shape.isSingle ? undefined : () => this.#watcher.endDraw(),
    });
    const stands = new Map<number, Operator>([[driving.id, source]]);
    const observed = buildObserved(aggregate, { ...environment, stands }, this.#watcher);
    this.#aggregate = observed.aggregate;
    this.#output = buildOperator(plan, {
      ...environment,
      stands: new Map([[aggregate.id, observed.output]]),
    });
    this.#others = new OtherRanges(shape, environment);
    this.#selected = SelectedRows.of(shape, this.sample, environment);
    this.#small = SmallGroups.of(shape, this.sample, environment);
  }

  /** 'look': a round is over and there is something to look at; 'exact': every row was read, `output` has the answer. */
  step(budget: Budget): 'more' | 'look' | 'exact' {
    this.#spentBefore ??= budget.spent;
    for (;;) {
      switch (this.#phase) {
        case 'selected': {
          const found = this.#selected?.step(budget) ?? 'none';
          if (found === 'more') return 'more';
          this.#phase = found === 'some' ? 'exact' : 'ranges';
          break;
        }
        case 'ranges':
          if (!this.#others.step(budget)) return 'more';
          this.#plan();
          this.#phase = 'small';
          break;
        case 'small':
          if (this.#small?.step(budget, this.#aggregate) === false) return 'more';
          this.#phase = 'absorb';
          break;
        case 'absorb': {
          const { phase } = this.sample;
          const isCounted = phase !== 'tails';
          if (this.#aggregate.absorb(budget, isCounted) === 'more') return 'more';
          if (phase === 'whole')
            this.#wholeCounts = this.#aggregate.rowCounts.slice(0, this.#aggregate.groupCount);
          if (phase !== 'round') {
            if (!this.sample.advance()) this.#phase = 'exact';
            break;
          }
          this.#watcher.endDraw();
          this.#watcher.drew(this.sample.round);
          if (this.sample.drawn >= this.sample.population) this.#phase = 'exact';
          else if ((this.#isLookDue = this.#isWorthALook(budget)) || this.#isWorthSettling()) {
            this.#phase = 'settle';
            // Some may have come with draws that nobody watched.
            this.#watcher.ensure(this.#aggregate.groupCount);
          } else this.sample.advance(this.#watchedWanted);
          break;
        }
        case 'settle': {
          const byNow = this.#drawsByNow;
          const { n, watched } = byNow;
          const isOver = this.#watcher.settle(
            {
              draws: { draws: n - this.#settled.draws, watched: watched - this.#settled.watched },
              byNow,
            },
            {
              riskOf: (group) => this.#riskOf(group),
              riskOfUnmet: this.#riskOf(this.#watcher.groupCount),
              isEstimated: (group) =>
                this.#aggregate.rowCounts[group]! > 0 && this.#small?.has(group) !== true,
            },
            budget,
          );
          if (!isOver) return 'more';
          this.#settled = { draws: n, watched };
          this.#rowsSettled = this.sample.drawn;
          this.#phase = 'absorb';
          this.sample.advance(this.#watchedWanted);
          if (!this.#isLookDue) break;
          this.#isFirstLook = false;
          return 'look';
        }
        case 'exact':
          return 'exact';
      }
    }
  }

  /** The plain query's answer, once all rows are read. */
  get output(): Operator {
    assert(this.#phase === 'exact', 'the answer is exact when every row was read');
    return this.#selected?.output ?? this.#output;
  }

  /**
   * A look may cost a share of the reading since the one before; early on, when rounds are short and somebody waits, a share of the whole. The answer
   * is for people, and its end for all.
   */
  #isWorthALook(budget: Budget): boolean {
    const { groupCount } = this.#aggregate;
    const work =
      groupCount *
      (2 + this.#shape.aggregate.calls.length * 2 + this.#estimatedCount * INTERVAL_WORK);
    const { drawn, population } = this.sample;
    const spent = budget.spent - this.#spentBefore! - this.#shownWork;
    const whole = (spent * population) / Math.max(1, drawn);
    const isWorth =
      this.#isFirstLook ||
      work <= (spent - this.#lookedAtSpent) * LOOK_SHARE ||
      this.#lookWork + work <= whole * EARLY_LOOKS_SHARE;
    if (!isWorth) return false;
    this.#lookWork += work;
    this.#lookedAtSpent = spent;
    return true;
  }

  /** Draws that nobody looks at yet are settled where that is cheap: bets are for few draws at a time, and it shows when nothing more need be watched. */
  #isWorthSettling(): boolean {
    const fresh = this.sample.drawn - this.#rowsSettled;
    return this.#watcher.drawsWanted > 0 && this.#aggregate.groupCount * SETTLED_ROWS <= fresh;
  }

  /** Rows that are to be watched in all, some more than the deviations of now ask for. */
  get #watchedWanted(): number {
    const unit = this.#shape.isSingle ? 1 : CLUSTER_ROWS;
    return this.#watcher.drawsWanted * unit * WATCHED_SPARE;
  }

  /** Rows that count as read when a round is over, and all. */
  get rowsTotal(): number {
    return this.sample.wholeRows + this.sample.population;
  }

  get rowsSeen(): number {
    return this.sample.wholeRows + this.#rowsSettled;
  }

  /** Estimates after the last round that is over, in steps; undefined: call again. */
  look(budget: Budget): Look | undefined {
    if (this.#looking === undefined) {
      this.#ordering ??= this.#aggregate.orderSoFar(this.#small?.groups);
      const groups = this.#ordering.step(budget);
      if (groups === undefined) return undefined;
      this.#ordering.close();
      this.#ordering = undefined;
      this.#looking = this.#beginLook(groups);
    }
    const looking = this.#looking;
    for (;;) {
      if (!this.#show(looking, budget)) return undefined;
      if (budget.exhausted) return undefined;
      let step: Step;
      try {
        step = looking.top.next(budget);
      } catch (cause) {
        // Estimates may lie where a formula has no value, and the truth where it has one: only the end can tell.
        if (!(cause instanceof DbError && cause.code.startsWith(DATA_EXCEPTION))) throw cause;
        this.#endLook(looking);
        return { ...this.#seen, rows: [], why: `of the estimates of now: ${cause.message}` };
      }
      if (step === 'more') return undefined;
      if (step === 'done') break;
      looking.batch = looking.top.batch;
      looking.at = 0;
    }
    this.#endLook(looking);
    return { ...this.#seen, rows: looking.rows };
  }

  #endLook(looking: Looking): void {
    looking.top.close();
    this.#looking = undefined;
  }

  get #seen(): Pick<Look, 'rowsSeen' | 'rowsTotal'> {
    return { rowsSeen: this.rowsSeen, rowsTotal: this.rowsTotal };
  }

  close(): void {
    this.#looking?.top.close();
    this.#ordering?.close();
    this.#output.close();
    this.#selected?.close();
    this.#small?.close();
    this.#aggregate.close();
    this.#watcher.close();
    this.#others.close();
  }

  /** A batch of the sample comes. */
  #watch(): void {
    const { phase, round, isWatched } = this.sample;
    const watcher = this.#watcher;
    watcher.isWatching = isWatched;
    if (watcher.reading.kind !== phase || watcher.reading.round !== round)
      watcher.reading = { kind: phase, round };
  }

  // ── Planning ───────────────────────────────────────────────────────────────────────────────────────────────

  #plan(): void {
    const { driving } = this.#shape;
    this.#tracks = planTracks({
      shape: this.#shape,
      sample: this.sample,
      snapshot: this.#environment.snapshotOf(driving.relation),
      watcher: this.#watcher,
      context: this.#environment.context,
      otherRanges: (scan) => this.#others.of(scan),
      tally: (call, group) => this.#aggregate.tally(call, group),
      rowCounts: () => this.#aggregate.rowCounts,
      wholeCounts: () => this.#wholeCounts,
      outputs: this.#outputs,
    });
    this.#watcher.account();
  }

  /** A draw is a row, or the rows of a cluster. */
  get #drawsByNow(): Draws {
    const unit = this.#shape.isSingle ? 1 : CLUSTER_ROWS;
    const { sample } = this;
    return {
      N: sample.population / unit,
      n: sample.drawn / unit,
      watched: sample.watched / unit,
      tuned: tunedDraws(sample.firstRound / unit),
    };
  }

  /** The chance that a value of a group is ever missed: of all groups together, a share that shrinks with the square of the group's number. */
  #riskOf(group: number): number {
    const risk = 1 - this.#options.confidence;
    return this.#options.simultaneous
      ? (6 * risk) / (Math.PI * Math.PI * (group + 1) ** 2) / this.#estimatedCount
      : risk;
  }

  // ── Looking ────────────────────────────────────────────────────────────────────────────────────────────────

  #beginLook(groups: Int32Array): Looking {
    const { aggregate, plan } = this.#shape;
    const shown = this.#shownColumns;
    const rows = new GroupRows(
      { ...aggregate, columns: withGroupColumn(aggregate, aggregate).columns },
      groups,
      (some) => {
        const points = this.#pointsOf(some);
        return shown === undefined ? points : shown.map((column) => points.at(column)!);
      },
    );
    if (shown !== undefined) return { top: rows, rows: [], batch: EMPTY_BATCH, at: 0 };
    const top = buildOperator(withGroupColumn(plan, aggregate), {
      ...this.#environment,
      stands: new Map<number, Operator>([[aggregate.id, rows]]),
    });
    return { top, rows: [], batch: EMPTY_BATCH, at: 0 };
  }

  /** Keys, then estimates as values of the calls' types, then the group. */
  #pointsOf(groups: Int32Array): Vector[] {
    const { aggregate } = this.#shape;
    const draws = this.#lookDraws;
    const seen = this.#aggregate.peek(groups, groups.length, (call) => {
      const track = this.#tracks!.calls[call];
      return (
        this.#shownColumns === undefined &&
        (track === undefined || track.kind === 'extreme' || track.kind === 'distinct')
      );
    });
    const keyCount = aggregate.keys.length;
    const small = this.#small;
    const isSmall = (group: number): boolean => small?.has(group) === true;
    const hasSmall = groups.some(isSmall);
    const calls = aggregate.calls.map(({ type }, call): Vector => {
      const track = this.#tracks!.calls[call]!;
      const points =
        // An estimate that is shown as it stands is looked at as such: nothing above sees it as a value.
        this.#shownColumns !== undefined
          ? unseenVector(type)
          : track.kind === 'track'
            ? valuesOf(
                type,
                Array.from(groups, (group) =>
                  isSmall(group) ? Number.NaN : track.track.point(group, draws),
                ),
              )
            : seen[keyCount + call]!;
      if (!hasSmall) return points;
      return vectorFromData(
        type,
        Array.from(groups, (group, at) =>
          isSmall(group) ? small!.valueOf(call, group) : datumAt(points, at),
        ),
      );
    });
    return [
      ...seen.slice(0, keyCount),
      ...calls,
      {
        rep: 'number',
        type: { kind: 'float8' },
        values: Float64Array.from(groups),
        factor: 1,
        base: 0,
        scale: 0,
      },
    ];
  }

  /** Draws up to the last look: the next round may have begun. */
  get #lookDraws(): Draws {
    return { ...this.#drawsByNow, n: this.#settled.draws, watched: this.#settled.watched };
  }

  /** Shows rows of the batch in hand until the budget is used up; true: all of them. */
  #show(looking: Looking, budget: Budget): boolean {
    const draws = this.#lookDraws;
    const { batch, rows } = looking;
    const groupColumn = batch.columns.at(-1)!;
    while (looking.at < batch.rowCount) {
      if (budget.exhausted) return false;
      const row = looking.at;
      looking.at += 1;
      const physical = batch.selection === undefined ? row : batch.selection[row]!;
      const group = datumAt(groupColumn, physical) as number;
      const isSmall = this.#small?.has(group) === true;
      rows.push(
        this.#outputs.map((output, column): LookCell => {
          const datum = datumAt(batch.columns[column]!, physical);
          if (!this.estimated[column]) return { kind: 'value', value: datum };
          return isSmall
            ? exactly(datum, output)
            : { kind: 'estimate', ...this.#estimate(output, column, group, draws, datum) };
        }),
      );
      const work = isSmall ? this.#estimatedCount : this.#estimatedCount * INTERVAL_WORK;
      this.#shownWork += work;
      budget.charge(work);
    }
    return true;
  }

  #estimate(
    output: Expression,
    column: number,
    group: number,
    draws: Draws,
    datum: Datum,
  ): Estimate & { readonly value?: Datum } {
    const risk = this.#riskOf(group);
    const found = evaluateFormula({
      expression: output,
      keyCount: this.#shape.aggregate.keys.length,
      context: this.#environment.context,
      call: (index) => {
        const { fn, type } = this.#shape.aggregate.calls[index]!;
        const own = this.#callEstimate(
          this.#tracks!.calls[index]!,
          index,
          group,
          draws,
          risk * this.#shares[index]!,
        );
        return CHOOSING.has(fn) && ROUNDED_KINDS.has(type.kind) ? beforeRounding(own) : own;
      },
      quotient: (over, under) => this.#tracks!.quotient(over, under)?.estimate(group, draws, risk),
      isSeen: (index) => this.#hasValue(index, group, draws),
    });
    if (found !== undefined) {
      const shown = this.#shown[column]!.narrowed(
        group,
        output.type.kind === 'float4' ? asFloat4(found) : found,
      );
      if (shown.guarantee !== 'exact') return shown;
      return isWholly(shown, output)
        ? { ...shown, value: shown.estimate }
        : { ...shown, guarantee: 'rigorous' };
    }
    // What interval arithmetic cannot follow is told as it stands, and promises nothing.
    return isNumeric({ type: output.type }) && datum !== null
      ? { ...NOTHING, estimate: doubleOf(datum, output.type) }
      : NOTHING;
  }

  /** A call that has a value has one for good: rows to come do not make it NULL. */
  #hasValue(call: number, group: number, draws: Draws): boolean {
    const { fn } = this.#shape.aggregate.calls[call]!;
    const track = this.#tracks!.calls[call]!;
    if (fn === 'count') return true;
    return track.kind === 'track' && fn.startsWith('percentile')
      ? Number.isFinite(track.track.point(group, draws))
      : this.#datumOf(call, group) !== null;
  }

  #callEstimate(
    call: CallTrack,
    index: number,
    group: number,
    draws: Draws,
    risk: number,
  ): Estimate {
    switch (call.kind) {
      case 'track':
        return call.track.estimate(group, draws, risk);
      case 'none':
        return NOTHING;
      case 'extreme': {
        const seen = this.#seenOf(index, group);
        if (Number.isNaN(seen) && call.certain.min > call.certain.max)
          return { ...NOTHING, lower: call.all.min, upper: call.all.max };
        // What some segment is sure to have is as good as seen.
        const best = call.isMax
          ? Math.max(Number.isNaN(seen) ? -Infinity : seen, call.certain.max)
          : Math.min(Number.isNaN(seen) ? Infinity : seen, call.certain.min);
        const lower = call.isMax ? best : Math.min(best, call.all.min);
        const upper = call.isMax ? Math.max(best, call.all.max) : best;
        return {
          estimate: best,
          lower,
          upper,
          guarantee: lower === upper ? 'exact' : 'rigorous',
        };
      }
      case 'distinct': {
        const seen = this.#seenOf(index, group);
        return {
          estimate: seen,
          lower: seen,
          upper: seen + (draws.N - draws.n),
          guarantee: 'rigorous',
        };
      }
    }
  }

  /** What the aggregation itself would say now. */
  #seenOf(call: number, group: number): number {
    const datum = this.#datumOf(call, group);
    return datum === null ? Number.NaN : doubleOf(datum, this.#shape.aggregate.calls[call]!.type);
  }

  #datumOf(call: number, group: number): Datum {
    const values = this.#aggregate.peek(Int32Array.of(group), 1, (each) => each === call);
    return datumAt(values[this.#shape.aggregate.keys.length + call]!, 0);
  }
}

/** Aggregates that show one of the values, as it is. */
const CHOOSING: ReadonlySet<string> = new Set(['min', 'max', 'percentile_disc']);
/** Of these not every value is a double. */
const ROUNDED_KINDS: ReadonlySet<SqlType['kind']> = new Set(['int8', 'numeric']);
/** The class of errors of values: a division by zero, a root of a negative number, what is out of range. */
const DATA_EXCEPTION = '22';
/** An interval takes some hundred logarithms: as long as some thousand rows. */
const INTERVAL_WORK = 4000;
/** Deviations are known well when draws are few short of what is wanted: by then it moves by a hundredth or so. */
const WATCHED_SPARE = 17 / 16;
/** Settling a group is to cost a tenth of the reading at most, since the time before. */
const SETTLED_ROWS = 512;
/** Groups whose estimates are taken together; their intervals are made one by one. */
const LOOK_GROUPS = 256;
const LOOK_SHARE = 0.05;
const EARLY_LOOKS_SHARE = 0.02;

function exactly(value: Datum, output: Expression): LookCell {
  const number = value === null || !isNumeric(output) ? Number.NaN : doubleOf(value, output.type);
  return {
    kind: 'estimate',
    estimate: number,
    ...boundsOf(number, () => value),
    guarantee: 'exact',
    value,
  };
}

/** Rounding keeps the order, so that what lies between two numbers does so when all are rounded. */
function asFloat4(found: Estimate): Estimate {
  return {
    ...found,
    lower: Math.min(found.lower, Math.fround(found.lower)),
    upper: Math.max(found.upper, Math.fround(found.upper)),
  };
}

/** Whether the double of a value that is exact is the value: of a column itself, whose type has no more digits. NaN and ∞ are one in estimates. */
function isWholly({ estimate }: Estimate, { kind, type }: Expression): boolean {
  if (kind !== 'column' || !Number.isFinite(estimate)) return false;
  return type.kind === 'int8' ? Number.isSafeInteger(estimate) : OWN_DOUBLES.has(type.kind);
}

const OWN_DOUBLES: ReadonlySet<SqlType['kind']> = new Set(['int2', 'int4', 'float4', 'float8']);

type Looking = {
  readonly top: Operator;
  readonly rows: LookCell[][];
  /** Rows that are to be shown, and how many of them were. */
  batch: Batch;
  at: number;
};

/** Estimates as values of a type, for what lies above the aggregation. */
function valuesOf(type: SqlType, points: readonly number[]): Vector {
  return vectorFromData(
    type,
    points.map((point): Datum => {
      if (!Number.isFinite(point)) return null;
      switch (type.kind) {
        case 'int2':
        case 'int4':
        case 'int8': {
          const whole = Math.round(point);
          return Number.isSafeInteger(whole) ? whole : BigInt(whole);
        }
        case 'numeric':
          return fromFloat(point, 15);
        default:
          return point;
      }
    }),
  );
}

/** The narrowest bounds so far, by group: what was once excluded stays so. Each promises what the look promised that it is of. */
class Bounded {
  #bounds = new Float64Array(0);
  #ranks = new Uint8Array(0);

  narrowed(group: number, found: Estimate): Estimate {
    const at = group * 2;
    if (at + 2 > this.#bounds.length) {
      const bounds = new Float64Array(Math.max(8, (at + 2) * 2));
      for (let index = 0; index < bounds.length; index += 2) {
        bounds[index] = -Infinity;
        bounds[index + 1] = Infinity;
      }
      bounds.set(this.#bounds);
      this.#bounds = bounds;
      const ranks = new Uint8Array(bounds.length);
      ranks.set(this.#ranks);
      this.#ranks = ranks;
    }
    const known = this.#bounds;
    const ranks = this.#ranks;
    const rank = RANK.indexOf(found.guarantee);
    // Two looks that exclude one another are one of the few that miss: the newer one is as good as any.
    const isMissed = Math.max(known[at]!, found.lower) > Math.min(known[at + 1]!, found.upper);
    if (isMissed || found.lower > known[at]! || (found.lower === known[at]! && rank > ranks[at]!)) {
      known[at] = found.lower;
      ranks[at] = rank;
    }
    if (
      isMissed ||
      found.upper < known[at + 1]! ||
      (found.upper === known[at + 1]! && rank > ranks[at + 1]!)
    ) {
      known[at + 1] = found.upper;
      ranks[at + 1] = rank;
    }
    const lower = known[at]!;
    const upper = known[at + 1]!;
    return {
      estimate: Number.isNaN(found.estimate)
        ? found.estimate
        : Math.min(upper, Math.max(lower, found.estimate)),
      lower,
      upper,
      guarantee: RANK[Math.min(ranks[at]!, ranks[at + 1]!)]!,
    };
  }
}

/** The calls whose own intervals a formula is made of; quotients have theirs. */
function callsOf(output: Expression, keyCount: number, context: EvaluationContext): Set<number> {
  const calls = new Set<number>();
  evaluateFormula({
    expression: output,
    keyCount,
    context,
    call: (index) => {
      calls.add(index);
      return NOTHING;
    },
    quotient: () => NOTHING,
    isSeen: () => false,
  });
  return calls;
}

/** Groups as rows, in batches. */
class GroupRows implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #groups: Int32Array;
  readonly #valuesOf: (groups: Int32Array) => Vector[];
  #at = 0;

  constructor(
    node: Extract<PlanNode, { kind: 'aggregate' }>,
    groups: Int32Array,
    values: (groups: Int32Array) => Vector[],
  ) {
    this.id = node.id;
    this.columns = node.columns;
    this.#groups = groups;
    this.#valuesOf = values;
  }

  next(budget: Budget): Step {
    if (this.#at >= this.#groups.length) return 'done';
    const groups = this.#groups.subarray(this.#at, this.#at + LOOK_GROUPS);
    this.#at += groups.length;
    budget.charge(groups.length * this.columns.length);
    this.batch = { rowCount: groups.length, columns: this.#valuesOf(groups) };
    return 'batch';
  }

  close(): void {
    this.#at = this.#groups.length;
  }
}

/** Whether only projections lie above the aggregation. */
function isProjected(plan: PlanNode, aggregate: AggregateNode): boolean {
  return plan.kind === 'project' ? isProjected(plan.input, aggregate) : plan.id === aggregate.id;
}

/** Rows are counted, all in one, and nothing else. */
function countsOnly({ keys, calls }: AggregateNode): boolean {
  return (
    keys.length === 0 &&
    calls.every(
      ({ fn, args, distinct, filter }) =>
        fn === 'count' && !distinct && filter === undefined && !args.some(isNullable),
    )
  );
}

/** Columns of the driving relation that a sum is taken of: their extreme rows are read beforehand. */
function tailColumnsOf({ aggregate, driving }: SampledShape): number[] {
  const columns = new Set<number>();
  for (const call of aggregate.calls) {
    if (!SUMMED.has(call.fn) || call.distinct) continue;
    for (const arg of call.args)
      for (const index of referencedColumns(arg))
        sourcesOf(aggregate.input, index, driving, columns);
  }
  return [...columns].sort((a, b) => a - b);
}

const SUMMED = new Set(['sum', 'avg', 'var_pop', 'var_samp', 'stddev_pop', 'stddev_samp']);

function sourcesOf(plan: PlanNode, index: number, driving: ScanNode, into: Set<number>): void {
  switch (plan.kind) {
    case 'scan':
      if (plan.id === driving.id && isNumeric(plan.columns[index]!))
        into.add(plan.columnIndexes[index]!);
      break;
    case 'project':
      for (const each of referencedColumns(plan.expressions[index]!))
        sourcesOf(plan.input, each, driving, into);
      break;
    case 'join':
      if (index < plan.left.columns.length) sourcesOf(plan.left, index, driving, into);
      break;
    default:
      for (const input of inputsOf(plan)) sourcesOf(input, index, driving, into);
  }
}

/** Bounds of the numbers of the relations that are read whole: found by reading them, where a value that is added up comes from one. */
class OtherRanges {
  readonly #scans: {
    readonly scan: ScanNode;
    readonly operator: Operator;
    readonly ranges: Range[];
  }[] = [];
  #scratch: Float64Array | undefined;
  #at = 0;

  constructor(shape: SampledShape, environment: ExecutionEnvironment) {
    const { aggregate, driving } = shape;
    const visit = (plan: PlanNode): void => {
      if (plan.kind === 'scan' && plan.id !== driving.id && plan.columns.some(isNumeric))
        this.#scans.push({
          scan: plan,
          operator: buildOperator(plan, environment),
          ranges: plan.columns.map(() => NO_RANGE),
        });
      for (const input of inputsOf(plan)) visit(input);
    };
    // Only where a sum reaches past the driving relation.
    if (
      aggregate.calls.some((call) =>
        call.args.some((arg) => reachesOthers(aggregate.input, arg, driving)),
      )
    )
      visit(aggregate.input);
  }

  step(budget: Budget): boolean {
    while (this.#at < this.#scans.length) {
      const { operator, ranges, scan } = this.#scans[this.#at]!;
      const step = operator.next(budget);
      if (step === 'more') return false;
      if (step === 'done') {
        this.#at += 1;
        continue;
      }
      const { batch } = operator;
      const scratch = (this.#scratch ??= new Float64Array(BATCH_ROW_COUNT_MAX));
      scan.columns.forEach((column, index) => {
        if (!isNumeric(column)) return;
        writeDoubles(batch.columns[index]!, physicalCount(batch), undefined, scratch);
        let { min, max } = ranges[index]!;
        for (let row = 0; row < batch.rowCount; row += 1) {
          const value = scratch[batch.selection === undefined ? row : batch.selection[row]!]!;
          if (Number.isNaN(value)) continue;
          if (value < min) min = value;
          if (value > max) max = value;
          if (value === Infinity) min = -Infinity;
        }
        ranges[index] = { min, max };
      });
      budget.charge(batch.rowCount * scan.columns.length);
    }
    return true;
  }

  of(scan: ScanNode): ColumnRanges {
    const known = this.#scans.find((each) => each.scan.id === scan.id);
    return scan.columns.map((column, index) =>
      known !== undefined && isNumeric(column) ? known.ranges[index] : undefined,
    );
  }

  close(): void {
    for (const { operator } of this.#scans) operator.close();
  }
}

function physicalCount({ rowCount, selection }: Batch): number {
  return selection === undefined ? rowCount : selection[rowCount - 1]! + 1;
}

function reachesOthers(plan: PlanNode, expression: Expression, driving: ScanNode): boolean {
  return [...referencedColumns(expression)].some((index) => isOfOthers(plan, index, driving));
}

function isOfOthers(plan: PlanNode, index: number, driving: ScanNode): boolean {
  switch (plan.kind) {
    case 'scan':
      return plan.id !== driving.id;
    case 'project':
      return reachesOthers(plan.input, plan.expressions[index]!, driving);
    case 'join':
      return index < plan.left.columns.length
        ? isOfOthers(plan.left, index, driving)
        : isOfOthers(plan.right, index - plan.left.columns.length, driving);
    case 'filter':
      return isOfOthers(plan.input, index, driving);
    default:
      return true;
  }
}
