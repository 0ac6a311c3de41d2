import { assert } from '../base/errors.ts';
import { findZone } from '../calendar/zones.ts';
import type { Batch } from '../columns/batch.ts';
import { datumAt, vectorFromData } from '../columns/build.ts';
import type { TimeStretch, ZoneTest } from '../columns/table-contract.ts';
import type { Datum } from '../columns/values.ts';
import { functionById } from '../expressions/catalog.ts';
import type { Expression } from '../expressions/expression.ts';
import { referencedColumns } from '../expressions/fold.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { interpret } from '../expressions/interpret.ts';
import { createAggregateState } from '../operators/aggregates/state.ts';
import type { ExecutionEnvironment } from '../operators/environment.ts';
import type { Budget, Operator, Step } from '../operators/operator.ts';
import { EMPTY_BATCH } from '../operators/row-operators.ts';
import { SortOperator } from '../operators/sort.ts';
import { wallOf, zoneTestsOf } from '../operators/sources.ts';
import type { AggregateNode, OutputColumn, ScanNode, SortNode } from '../plan/logical.ts';
import { column as columnAt, conjunction, conjunctsOf } from '../plan/nodes.ts';
import { isTileTime } from './tile-plan.ts';
import { stretchOf, type TimeEnds, type TimesMet } from './time-ends.ts';
import { changesOf, isBucket, textsOf, type Search } from './time-functions.ts';
import { ALL_ROWS, isOfTime, NO_TIMES, timeReach, type TimeReach } from './time-reach.ts';
import type { TiledWindows } from './tile-windows.ts';
import type { WindowBounds, WindowPlan } from './window-source.ts';

/** Buckets an answer from tiles may have. */
const BUCKETS_MAX = 65_536;
/** Looks that may be in vain, and rows of the table for each one more: looking for buckets must not take longer than reading the rows. */
const LOOKS_MIN = 1024;
const ROWS_A_LOOK = 4;

/** An aggregate over a stretch of time, as a window query. */
export type TimeAggregate = {
  readonly plan: WindowPlan;
  /** The filter's conditions on time: comparisons with constants; where rows were demoted, all of which a few stretches tell. */
  readonly bounds: readonly Expression[];
  /** The key that is a bucket of time, and its place among the keys; undefined: none is. */
  readonly bucket: Expression | undefined;
  readonly bucketAt: number;
  /** By the scan's columns. */
  readonly columnIndexes: readonly number[];
  readonly time: number;
};

/**
 * Plain SQL that tiles may answer: an aggregate over a scan whose filter bounds the table's column of time, without keys of time or with one
 * bucket of it (`date_trunc`, `time_bucket`, `date_bin`, `::date`), or of its wall (`AT TIME ZONE`). `time` is a column of the table.
 */
export function timeAggregateOf(node: AggregateNode, time: number): TimeAggregate | undefined {
  const { input } = node;
  if (input.kind !== 'scan' || input.filter === undefined) return undefined;
  const column = input.columnIndexes.indexOf(time);
  const isBounded = conjunctsOf(input.filter).some((each) => boundedTime(each) === column);
  return column < 0 || !isBounded
    ? undefined
    : timeAggregateBy(node, input, column, (each) => boundedTime(each) === column);
}

/** The same of a time that need not be bounded, over the scan that is the aggregate's input; `time` is a column of the table. */
export function openTimeAggregateOf(
  node: AggregateNode,
  scan: ScanNode,
  time: OutputColumn,
  index: number,
): TimeAggregate | undefined {
  let input = scan;
  let column = input.columnIndexes.indexOf(index);
  if (column < 0) {
    column = input.columns.length;
    input = {
      ...input,
      columns: [...input.columns, time],
      columnIndexes: [...input.columnIndexes, index],
    };
  }
  return timeAggregateBy(node, input, column, (each) => isOfTime(each, column));
}

function timeAggregateBy(
  node: AggregateNode,
  input: ScanNode,
  column: number,
  isBound: (condition: Expression) => boolean,
): TimeAggregate | undefined {
  assert(!input.rowIdColumn, 'ids of rows are not aggregated');
  const conditions = input.filter === undefined ? [] : conjunctsOf(input.filter);
  const bounds = conditions.filter((each) => isBound(each));
  const rest = conditions.filter((each) => !bounds.includes(each));
  const bucketAt = node.keys.findIndex((key) => isBucket(key, column));
  const bucket = node.keys[bucketAt];
  const keys = node.keys.filter((_, index) => index !== bucketAt);
  const time = input.columns[column]!;
  if (keys.some((key) => referencedColumns(key).has(column))) return undefined;
  return {
    plan: {
      input: { ...input, filter: conjunction(rest) },
      time: { kind: 'column', index: column, ...time },
      keys,
      calls: node.calls,
    },
    bounds,
    bucket,
    bucketAt,
    columnIndexes: input.columnIndexes,
    time: column,
  };
}

/** The column of time that a condition compares with something of its type that holds no column. */
function boundedTime(condition: Expression): number | undefined {
  if (condition.kind !== 'call' || condition.args.length !== 2) return undefined;
  const { name } = functionById(condition.fn);
  if (!COMPARISONS.has(name)) return undefined;
  for (const [side, other] of [condition.args, condition.args.toReversed()]) {
    const column = side!.kind === 'column' ? side : wallOf(side!);
    if (
      column !== undefined &&
      isTileTime(column.type) &&
      other!.type.kind === side!.type.kind &&
      referencedColumns(other!).size === 0
    )
      return column.index;
  }
  return undefined;
}

const COMPARISONS = new Set(['<', '<=', '>', '>=']);

/** What an aggregate took from tiles, for who explains it. */
export type TiledAnswer = {
  readonly relation: number;
  readonly windows: number;
  readonly tiles: number;
  readonly rowsScanned: number;
  /** In microseconds; infinite where nothing bounds them. */
  readonly from: number;
  readonly to: number;
  /** Whose days its buckets are: one that the bucket names, else the session's. */
  readonly zone: string;
};

/**
 * Where conditions leave a side open, what finds the first time and the last: of rows, where that may not be known, or with those that were demoted,
 * where there is no plain answer.
 */
export type AggregateEnds =
  | { readonly kind: 'rows'; readonly find: TimeEnds<TimesMet | undefined> }
  | { readonly kind: 'kept'; readonly find: TimeEnds };

/** Answers from tiles; what they cannot, `plain` does. */
export class TiledAggregate implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #node: AggregateNode;
  readonly #question: TimeAggregate;
  readonly #environment: ExecutionEnvironment;
  readonly #open: (
    plan: WindowPlan,
    windows: TimeWindows,
    environment: ExecutionEnvironment,
  ) => TiledWindows | undefined;
  readonly #plain: () => Operator;
  readonly #answered: (answer: Omit<TiledAnswer, 'relation'>) => void;
  readonly #ends: AggregateEnds;
  readonly #isReadyOnly: boolean;
  #looking: Generator<void, TimeWindows | undefined> | undefined;
  #tiles: TiledWindows | undefined;
  #bounds: TimeWindows | undefined;
  #shown: Operator | undefined;
  #other: Operator | undefined;
  #budget: Budget | undefined;
  #gave = false;

  constructor(options: {
    readonly node: AggregateNode;
    readonly question: TimeAggregate;
    readonly environment: ExecutionEnvironment;
    /** Undefined where tiles cannot answer. */
    readonly open: (
      plan: WindowPlan,
      windows: TimeWindows,
      environment: ExecutionEnvironment,
    ) => TiledWindows | undefined;
    readonly plain: () => Operator;
    /** Tiles have given the answer. */
    readonly answered: (answer: Omit<TiledAnswer, 'relation'>) => void;
    readonly ends: AggregateEnds;
    /** Tiles that would have to be made first cannot answer. */
    readonly isReadyOnly?: boolean;
  }) {
    this.id = options.node.id;
    this.columns = options.node.columns;
    this.#node = options.node;
    this.#question = options.question;
    this.#environment = options.environment;
    this.#open = options.open;
    this.#plain = options.plain;
    this.#answered = options.answered;
    this.#ends = options.ends;
    this.#isReadyOnly = options.isReadyOnly ?? false;
  }

  next(budget: Budget): Step {
    this.#budget = budget;
    if (this.#other === undefined && this.#tiles === undefined) {
      this.#looking ??= this.#lookedFor();
      const look = this.#looking.next();
      if (look.done !== true) return 'more';
      this.#tiles =
        look.value === undefined
          ? undefined
          : this.#open(this.#question.plan, look.value, this.#environment);
      if (this.#isReadyOnly && this.#tiles?.isReady === false) {
        this.#tiles.close();
        this.#tiles = undefined;
      }
      this.#bounds = look.value;
      if (this.#tiles === undefined) this.#other = this.#plain();
      else this.#shown = this.#inOrder(this.#tiles, look.value!);
    }
    if (this.#other !== undefined) {
      const step = this.#other.next(budget);
      this.batch = this.#other.batch;
      return step;
    }
    const step = this.#shown!.next(budget);
    if (step === 'batch') {
      this.#gave = true;
      this.batch = this.#shown!.batch;
      return step;
    }
    if (step === 'more') return step;
    if (this.#tiles!.isTiled && this.#bounds!.from.length > 0)
      this.#answered(this.#told(this.#tiles!, this.#bounds!));
    // Without keys there is one row, be it of no rows.
    if (this.#gave || this.#node.keys.length > 0) return 'done';
    this.#gave = true;
    this.batch = { rowCount: 1, columns: this.#node.calls.map(emptyValue) };
    return 'batch';
  }

  close(): void {
    (this.#shown ?? this.#tiles)?.close();
    this.#other?.close();
  }

  #told(
    { tiles, rowsScanned }: TiledWindows,
    { from, to }: TimeWindows,
  ): Omit<TiledAnswer, 'relation'> {
    const { bucket } = this.#question;
    const { context } = this.#environment;
    const named = bucket && textsOf(bucket, context).find((text) => findZone(text) !== undefined);
    return {
      windows: from.length,
      tiles,
      rowsScanned,
      from: from[0]!,
      to: to.at(-1)!,
      zone: named ?? context.zone,
    };
  }

  /** Groups in the order of their keys, as a scan has them. */
  #inOrder(tiles: TiledWindows, { values }: TimeWindows): Operator {
    const { bucket, bucketAt } = this.#question;
    const { id, columns, keys } = this.#node;
    const shown = new ShownWindows(id, columns, tiles, bucket && { bucket, bucketAt, values });
    if (bucketAt <= 0) return shown;
    const { context, memory } = this.#environment;
    const ascending = keys.map((_, index) => ({
      expression: columnAt(index, columns[index]!),
      descending: false,
      nullsFirst: false,
    }));
    const order: SortNode = { kind: 'sort', id, input: this.#node, keys: ascending, columns };
    return new SortOperator(order, shown, context, memory);
  }

  #lookedFor(): Generator<void, TimeWindows | undefined> {
    const { context, snapshotOf } = this.#environment;
    const budget = (): Budget => this.#budget!;
    const changesMax = BUCKETS_MAX;
    const ends = this.#ends;
    if (ends.kind === 'kept')
      return keptWindowsOf(this.#question, context, ends.find, {
        budget,
        looksLeft: Infinity,
        changesMax,
      });
    // There are rows to be read instead.
    const { relation } = this.#question.plan.input as ScanNode;
    const looksLeft = LOOKS_MIN + snapshotOf(relation).rowCount / ROWS_A_LOOK;
    return windowsOf(this.#question, context, ends.find, { budget, looksLeft, changesMax });
  }
}

/** A bucket, its place among the keys, and its values by window. */
type ShownBucket = {
  readonly bucket: Expression;
  readonly bucketAt: number;
  readonly values: readonly Datum[];
};

/** The windows' numbers become the values of the bucket, at its place among the keys. */
class ShownWindows implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #tiles: TiledWindows;
  readonly #bucket: ShownBucket | undefined;

  constructor(
    id: number,
    columns: readonly OutputColumn[],
    tiles: TiledWindows,
    bucket: ShownBucket | undefined,
  ) {
    this.id = id;
    this.columns = columns;
    this.#tiles = tiles;
    this.#bucket = bucket;
  }

  next(budget: Budget): Step {
    const step = this.#tiles.next(budget);
    if (step === 'batch') this.batch = this.#shown(this.#tiles.batch);
    return step;
  }

  close(): void {
    this.#tiles.close();
  }

  #shown(batch: Batch): Batch {
    const [numbers, ...rest] = batch.columns;
    if (this.#bucket === undefined) return { ...batch, columns: rest };
    const { bucket, bucketAt, values } = this.#bucket;
    const data: Datum[] = [];
    for (let row = 0; row < batch.rowCount; row += 1)
      data.push(values[datumAt(numbers!, row) as number]!);
    return { ...batch, columns: rest.toSpliced(bucketAt, 0, vectorFromData(bucket.type, data)) };
  }
}

function emptyValue(call: AggregateNode['calls'][number]): Batch['columns'][number] {
  const state = createAggregateState(call);
  state.ensure(1);
  return state.finish(new Int32Array(1), 1);
}

/** Windows of a question, and the values of its bucket. */
export type TimeWindows = WindowBounds & {
  readonly values: readonly Datum[];
  /** By window, what lies in it, where that is not all between its ends and nothing else. */
  readonly reaches?: readonly TimeReach[] | undefined;
};

const NO_VALUES: readonly Datum[] = [];

/**
 * The windows of an aggregate, found in steps: where its bucket changes. A bucket that comes again later (a date that was entered twice) is no
 * window. Undefined: not from tiles.
 */
function* windowsOf(
  { bounds, bucket, columnIndexes, time }: TimeAggregate,
  context: EvaluationContext,
  ends: TimeEnds<TimesMet | undefined>,
  search: Search,
): Generator<void, TimeWindows | undefined> {
  const tests = bounds.flatMap((each) => zoneTestsOf(each, columnIndexes, context));
  // Of what is NULL, infinite or cannot be computed nothing is told.
  if (tests.length < bounds.length || !tests.every(isTold)) return undefined;
  let { from, to } = stretchOf(tests, columnIndexes[time]!);
  if (to - from === Infinity) {
    const found = yield* ends(search.budget, true);
    if (found === undefined) return undefined;
    from = Math.max(from, found.from);
    to = Math.min(to, found.to);
  }
  if (!(Number.isSafeInteger(from) && Number.isSafeInteger(to) && from < to)) return undefined;
  if (bucket === undefined)
    return { from: Float64Array.of(from), to: Float64Array.of(to), values: NO_VALUES };
  const changes = yield* changesOf(bucket, numberOfBucket, context, from, to, search);
  if (changes === undefined) return undefined;
  const { starts, values } = changes;
  if (values.some((value, index) => index > 0 && value < values[index - 1]!)) return undefined;
  const last = [...starts.slice(1), to];
  return { from: Float64Array.from(starts), to: Float64Array.from(last), values };
}

/** A bucket of NULL is none that times lie in. */
function numberOfBucket(datum: Datum): number {
  return datum === null ? NaN : Number(datum);
}

function isTold(test: ZoneTest): boolean {
  return 'value' in test && Number.isSafeInteger(Number(test.value));
}

/** The same where rows were demoted: whatever the conditions say of time, and rows that have none, too. */
function* keptWindowsOf(
  { bounds, bucket, time }: TimeAggregate,
  context: EvaluationContext,
  ends: TimeEnds,
  search: Search,
): Generator<void, TimeWindows | undefined> {
  if (bucket === undefined && bounds.length === 0) return windowsBy([[null, ALL_ROWS]], bucket);
  const reach = yield* timeReach(bounds, time, context, ends, search);
  if (reach === undefined) return undefined;
  const { stretches, isTimeless } = reach;
  if (bucket === undefined)
    return windowsBy(stretches.length > 0 || isTimeless ? [[null, reach]] : [], bucket);
  const found = new Map<number, TimeStretch[]>();
  for (const stretch of stretches) {
    const { from, to } = stretch;
    const note = (value: number, piece: TimeStretch): void => {
      const known = found.get(value);
      if (known === undefined) found.set(value, [piece]);
      else known.push(piece);
    };
    if (to - from === Infinity) {
      note(Number(interpret(bucket, () => (from < 0 ? -Infinity : Infinity), context)), stretch);
      continue;
    }
    const changes = yield* changesOf(bucket, numberOfBucket, context, from, to, search);
    if (changes === undefined) return undefined;
    const { starts, values } = changes;
    for (const [index, value] of values.entries())
      note(value, { from: starts[index]!, to: starts[index + 1] ?? to });
  }
  const windows = [...found]
    .sort(([a], [b]) => a - b)
    .map(([value, own]): [Datum, TimeReach] => [value, { stretches: own, isTimeless: false }]);
  if (isTimeless) windows.push([interpret(bucket, () => null, context), NO_TIMES]);
  return windowsBy(windows, bucket);
}

function windowsBy(
  windows: readonly (readonly [Datum, TimeReach])[],
  bucket: Expression | undefined,
): TimeWindows {
  const reaches = windows.map(([, reach]) => reach);
  const isPlain = reaches.every(
    ({ stretches: [first, second], isTimeless }) =>
      first !== undefined &&
      second === undefined &&
      !isTimeless &&
      Number.isFinite(first.to - first.from),
  );
  return {
    from: Float64Array.from(reaches, ({ stretches }) => stretches[0]?.from ?? -Infinity),
    to: Float64Array.from(reaches, ({ stretches }) => stretches.at(-1)?.to ?? Infinity),
    values: bucket === undefined ? NO_VALUES : windows.map(([value]) => value),
    reaches: isPlain && reaches.length > 0 ? undefined : reaches,
  };
}
