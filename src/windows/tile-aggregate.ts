import { assert } from '../base/errors.ts';
import { findZone, nextChange } from '../calendar/zones.ts';
import type { Batch } from '../columns/batch.ts';
import { datumAt, vectorFromData } from '../columns/build.ts';
import type { ZoneTest } from '../columns/table-contract.ts';
import type { Datum } from '../columns/values.ts';
import { functionById } from '../expressions/catalog.ts';
import type { Expression } from '../expressions/expression.ts';
import { evaluateConstant, partsOf, referencedColumns } from '../expressions/fold.ts';
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
import { stretchOf, type TimeStretch } from './time-ends.ts';
import { MINUTE, QUARTER, SECOND } from './tile-time.ts';
import type { TiledWindows } from './tile-windows.ts';
import type { WindowBounds, WindowPlan } from './window-source.ts';

/** Buckets an answer from tiles may have. */
const BUCKETS_MAX = 65_536;
/** Work units of one look at a bucket. */
const LOOK_WORK = 8;
/** Looks that may be in vain, and rows of the table for each one more: looking for buckets must not take longer than reading the rows. */
const LOOKS_MIN = 1024;
const ROWS_A_LOOK = 4;

/** An aggregate over a stretch of time, as a window query. */
export type TimeAggregate = {
  readonly plan: WindowPlan;
  /** The filter's conditions on time: comparisons with constants. */
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
  return column < 0 || !isBounded ? undefined : timeAggregateBy(node, input, column);
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
  return timeAggregateBy(node, input, column);
}

function timeAggregateBy(
  node: AggregateNode,
  input: ScanNode,
  column: number,
): TimeAggregate | undefined {
  assert(!input.rowIdColumn, 'ids of rows are not aggregated');
  const conditions = input.filter === undefined ? [] : conjunctsOf(input.filter);
  const bounds = conditions.filter((each) => boundedTime(each) === column);
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

function isBucket(key: Expression, column: number): boolean {
  if (key.kind === 'cast')
    return key.type.kind === 'date' && (isWall(key.arg, column) || isDated(key.arg, column));
  return isCut(key, column) || isCutWall(key, column);
}

/** A function that cuts the time, or its wall, into buckets. */
function isCut(key: Expression, column: number): key is CallExpression {
  if (key.kind !== 'call' || !BUCKETS.has(functionById(key.fn).name)) return false;
  // Of a time as origin a bucket is no stretch: it comes again with every width.
  return key.args.every((arg, place) =>
    place === TIME_PLACE ? isWall(arg, column) : referencedColumns(arg).size === 0,
  );
}

/** The time itself, or what the clock on a wall shows then: in the session's zone, or in one that is named. */
function isWall(expression: Expression, column: number): boolean {
  if (expression.kind === 'column') return expression.index === column;
  const time = expression.kind === 'cast' ? expression.arg : atTimeZone(expression)?.time;
  return (
    expression.type.kind === 'timestamp' &&
    time?.kind === 'column' &&
    time.index === column &&
    time.type.kind === 'timestamptz'
  );
}

/** A date_trunc whose date is taken: of a wall's time, or in the session's zone, whose dates these are. */
function isDated(arg: Expression, column: number): boolean {
  return (
    isCut(arg, column) &&
    functionById(arg.fn).name === 'date_trunc' &&
    (arg.type.kind === 'timestamp' || arg.args.length === 2)
  );
}

/**
 * `date_trunc('day', ts AT TIME ZONE 'Europe/Berlin') AT TIME ZONE 'Europe/Berlin'`: the start as an instant. Of one zone alone, and of days and more, it never
 * goes back where the wall's does not: an hour may begin on a time that the clocks leave out, which is an instant after the hour's end.
 */
function isCutWall(key: Expression, column: number): boolean {
  const outer = atTimeZone(key);
  if (outer === undefined || key.type.kind !== 'timestamptz' || !isCut(outer.time, column))
    return false;
  const [unit, wall] = outer.time.args;
  const inner = atTimeZone(wall!);
  return (
    functionById(outer.time.fn).name === 'date_trunc' &&
    unit!.kind === 'constant' &&
    WHOLE_DAYS.has(String(unit!.value).toLowerCase()) &&
    inner !== undefined &&
    inner.zone.kind === 'constant' &&
    outer.zone.kind === 'constant' &&
    inner.zone.value === outer.zone.value
  );
}

const WHOLE_DAYS = new Set(['day', 'week', 'month', 'quarter', 'year']);

function atTimeZone(
  expression: Expression,
): { readonly zone: Expression; readonly time: Expression } | undefined {
  if (expression.kind !== 'call' || functionById(expression.fn).name !== 'timezone')
    return undefined;
  const [zone, time] = expression.args;
  return referencedColumns(zone!).size === 0 ? { zone: zone!, time: time! } : undefined;
}

type CallExpression = Extract<Expression, { kind: 'call' }>;

const BUCKETS = new Set(['date_trunc', 'time_bucket', 'date_bin']);
/** Of each of these, which argument is the time that is cut. */
const TIME_PLACE = 1;

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
    windows: WindowBounds,
    environment: ExecutionEnvironment,
  ) => TiledWindows | undefined;
  readonly #plain: () => Operator;
  readonly #answered: (answer: Omit<TiledAnswer, 'relation'>) => void;
  readonly #ends: TimeEnds;
  readonly #isKept: boolean;
  readonly #isReadyOnly: boolean;
  #looking: Generator<void, Buckets | undefined> | undefined;
  #tiles: TiledWindows | undefined;
  #bounds: WindowBounds | undefined;
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
      windows: WindowBounds,
      environment: ExecutionEnvironment,
    ) => TiledWindows | undefined;
    readonly plain: () => Operator;
    /** Tiles have given the answer. */
    readonly answered: (answer: Omit<TiledAnswer, 'relation'>) => void;
    /** Where conditions leave a side open: finds the first time and the last. */
    readonly ends: TimeEnds;
    /** Some rows were demoted: there is no plain answer, and one window may have no ends. */
    readonly isKept?: boolean;
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
    this.#isKept = options.isKept ?? false;
    this.#isReadyOnly = options.isReadyOnly ?? false;
  }

  next(budget: Budget): Step {
    this.#budget = budget;
    if (this.#other === undefined && this.#tiles === undefined) {
      this.#looking ??= bucketsOf(
        this.#question,
        this.#environment.context,
        () => this.#budget!,
        this.#ends,
        this.#isKept,
        this.#looksMax(),
      );
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
    if (this.#tiles!.isTiled) this.#answered(this.#told(this.#tiles!, this.#bounds!));
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
    { from, to }: WindowBounds,
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
  #inOrder(tiles: TiledWindows, { values }: Buckets): Operator {
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

  /** Where there are rows to be read instead. */
  #looksMax(): number {
    const { input } = this.#question.plan;
    if (this.#isKept || input.kind !== 'scan') return Infinity;
    return LOOKS_MIN + this.#environment.snapshotOf(input.relation).rowCount / ROWS_A_LOOK;
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

/** The first time there is, and just after the last; undefined where some rows have none. */
export type TimeEnds = (budget: () => Budget) => Generator<void, TimeStretch | undefined>;

type Buckets = WindowBounds & { readonly values: readonly Datum[] };

/**
 * The windows of an aggregate, found in steps: where its bucket changes. Between two changes of an offset a bucket never decreases,
 * so halving finds them; one that comes again later (a date that was entered twice) is no window. Undefined: not from tiles.
 */
function* bucketsOf(
  { bounds, bucket, columnIndexes, time }: TimeAggregate,
  context: EvaluationContext,
  budget: () => Budget,
  ends: TimeEnds,
  isEndless: boolean,
  looksMax: number,
): Generator<void, Buckets | undefined> {
  const tests = bounds.flatMap((each) => zoneTestsOf(each, columnIndexes, context));
  // Of what is NULL, infinite or cannot be computed nothing is told.
  if (tests.length < bounds.length || !tests.every(isTold)) return undefined;
  let { from, to } = stretchOf(tests, columnIndexes[time]!);
  const isOpen = isEndless && bucket === undefined && to - from === Infinity;
  if (!isOpen && to - from === Infinity) {
    const found = yield* ends(budget);
    if (found === undefined) return undefined;
    from = Math.max(from, found.from);
    to = Math.min(to, found.to);
  }
  if (!isOpen && !(Number.isSafeInteger(from) && Number.isSafeInteger(to) && from < to))
    return undefined;
  if (bucket === undefined)
    return { from: Float64Array.of(from), to: Float64Array.of(to), values: [] };
  let looks = 0;
  const valueAt = (instant: number): number => {
    looks += 1;
    budget().charge(LOOK_WORK);
    const value = interpret(bucket, () => instant, context);
    // A bucket of NULL is none that times lie in.
    return value === null ? NaN : Number(value);
  };
  const starts: number[] = [];
  const values: number[] = [];
  for (const piece of piecesOf(bucket, context, from, to)) {
    // Stretches whose bucket may change inside, the earliest last.
    const waiting: [number, number, number, number][] = [];
    const note = (start: number, value: number): void => {
      if (values.at(-1) === value) return;
      starts.push(start);
      values.push(value);
    };
    const first = valueAt(piece.from);
    if (!Number.isFinite(first) || first < (values.at(-1) ?? -Infinity)) return undefined;
    note(piece.from, first);
    if (piece.to - 1 > piece.from)
      waiting.push([piece.from, first, piece.to - 1, valueAt(piece.to - 1)]);
    while (waiting.length > 0) {
      if (looks > looksMax || values.length > BUCKETS_MAX) return undefined;
      if (budget().exhausted) yield;
      const [a, valueA, b, valueB] = waiting.pop()!;
      if (valueA === valueB) continue;
      if (b - a === 1) {
        note(b, valueB);
        continue;
      }
      const middle = middleOf(a, b);
      const value = valueAt(middle);
      waiting.push([middle, value, b, valueB]);
      // Buckets begin on round instants: the one before tells nearly always.
      if (value !== valueA && middle - a > 1) {
        const before = valueAt(middle - 1);
        waiting.push([middle - 1, before, middle, value]);
        waiting.push([a, valueA, middle - 1, before]);
      } else waiting.push([a, valueA, middle, value]);
    }
  }
  const last = [...starts.slice(1), to];
  return { from: Float64Array.from(starts), to: Float64Array.from(last), values };
}

function isTold(test: ZoneTest): boolean {
  return 'value' in test && Number.isSafeInteger(Number(test.value));
}

/** Between them, on a quarter of an hour, a minute or a second where there is one. */
function middleOf(a: number, b: number): number {
  const middle = Math.floor((a + b) / 2);
  for (const unit of ROUND) {
    const round = Math.round(middle / unit) * unit;
    if (round > a && round < b) return round;
  }
  return middle;
}

const ROUND = [QUARTER, MINUTE, SECOND];

/** [from, to) cut where an offset changes, of the session's zone or one that the bucket names. */
function piecesOf(
  bucket: Expression,
  context: EvaluationContext,
  from: number,
  to: number,
): { readonly from: number; readonly to: number }[] {
  const cuts = new Set<number>([from]);
  for (const name of [context.zone, ...textsOf(bucket, context)]) {
    const zone = findZone(name);
    if (zone === undefined) continue;
    let at = Math.floor(from / 1e6);
    const until = Math.ceil(to / 1e6);
    for (;;) {
      const change = nextChange(zone, at, until);
      if (change === undefined) break;
      at = change.at;
      if (at * 1e6 > from && at * 1e6 < to) cuts.add(at * 1e6);
    }
  }
  const ascending = [...cuts].sort((a, b) => a - b);
  return ascending.map((start, index) => ({ from: start, to: ascending[index + 1] ?? to }));
}

function textsOf(expression: Expression, context: EvaluationContext): string[] {
  const own =
    referencedColumns(expression).size === 0 &&
    ['text', 'unknown', 'varchar'].includes(expression.type.kind)
      ? evaluateConstant(expression, context)
      : null;
  return [
    ...(typeof own === 'string' ? [own] : []),
    ...partsOf(expression).flatMap((part) => textsOf(part, context)),
  ];
}
