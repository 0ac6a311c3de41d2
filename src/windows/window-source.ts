import { assert } from '../base/errors.ts';
import { countUpTo } from '../base/search.ts';
import type { Batch } from '../columns/batch.ts';
import { BATCH_ROW_COUNT_MAX } from '../columns/batch.ts';
import { datumAt, gather } from '../columns/build.ts';
import { columnOf } from '../columns/rows-by-column.ts';
import type { TableData } from '../columns/table-contract.ts';
import { INT4 } from '../columns/types.ts';
import type { Vector } from '../columns/vector.ts';
import { resolveOperator } from '../expressions/catalog.ts';
import { compileExpression, type CompiledExpression } from '../expressions/compile.ts';
import type { Expression } from '../expressions/expression.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { buildAggregate, buildOperator } from '../operators/build.ts';
import type { ExecutionEnvironment } from '../operators/environment.ts';
import type { Budget, Operator, Step } from '../operators/operator.ts';
import { EMPTY_BATCH } from '../operators/row-operators.ts';
import { ScanOperator } from '../operators/sources.ts';
import type { AggregateCall, AggregateNode, OutputColumn, PlanNode } from '../plan/logical.ts';
import { column, constant, node } from '../plan/nodes.ts';
import { pushFilters } from '../plan/optimise.ts';

/**
 * What a window query computes, whatever its windows are: plain data. Every expression speaks of the columns of `input`.
 *
 * 1. `input` is a scan of a table or materialized view, its filter being the query's WHERE; or any other plan (a plain
 *    view, a WHERE with a subquery), of which only the answer matters.
 * 2. `time` is a timestamptz, or the wall's: a timestamp. Rows where it is NULL or infinite lie in no window.
 */
export type WindowPlan = {
  readonly input: PlanNode;
  readonly time: Expression;
  readonly keys: readonly Expression[];
  readonly calls: readonly AggregateCall[];
};

/**
 * Half-open stretches of time, in microseconds since 1970, safe integers: window i is [from[i], to[i]), seldom empty. `from` never
 * decreases; windows may overlap (hopping ones do).
 */
export type WindowBounds = { readonly from: Float64Array; readonly to: Float64Array };

/**
 * The finished aggregates of windows. Output columns: the window's number (int4), the keys, the calls; in the order of
 * windows, then keys. A window, or a group in it, that has no row is not there. Batches have no selection.
 */
export interface WindowOperator extends Operator {
  /** Tiles merged so far. */
  readonly tiles: number;
  /** Rows read so far, those a filter refused included. */
  readonly rowsScanned: number;
}

/**
 * Where windows are computed: the seam between window queries and what makes them fast. Every source gives the same bits as
 * `scannedWindows` at the same position.
 */
export interface WindowSource {
  open(plan: WindowPlan, windows: WindowBounds, environment: ExecutionEnvironment): WindowOperator;
}

/** One plain scan through the ordinary operators: the definition of the answer. */
export const scannedWindows: WindowSource = {
  open: (plan, windows, environment) => new ScannedWindows(plan, windows, environment),
};

class ScannedWindows implements WindowOperator {
  readonly id = 0;
  readonly columns: readonly OutputColumn[];
  readonly tiles = 0;
  readonly #rows: AssignedRows;
  readonly #aggregate: Operator;

  constructor(plan: WindowPlan, windows: WindowBounds, environment: ExecutionEnvironment) {
    const { keys, calls } = plan;
    const input = between(plan, windows);
    const aggregate: AggregateNode = {
      kind: 'aggregate',
      id: 0,
      input,
      keys: [column(input.columns.length, WINDOW_COLUMN), ...keys],
      calls,
      columns: windowColumns(plan),
    };
    this.columns = aggregate.columns;
    let rows: AssignedRows | undefined;
    this.#aggregate = buildAggregate(aggregate, environment, (demand) => {
      rows = new AssignedRows(
        buildOperator(input, environment, { ...demand, columns: undefined }),
        compileExpression(plan.time),
        windows,
        environment.context,
      );
      return rows;
    });
    this.#rows = rows!;
  }

  get batch(): Batch {
    return this.#aggregate.batch;
  }

  get rowsScanned(): number {
    return this.#rows.rowsRead;
  }

  next(budget: Budget): Step {
    return this.#aggregate.next(budget);
  }

  close(): void {
    this.#aggregate.close();
  }
}

const WINDOW_COLUMN: OutputColumn = { name: 'window', type: INT4, nullable: false };

/** The output columns of every window operator. */
export function windowColumns({ keys, calls }: WindowPlan): OutputColumn[] {
  return [
    WINDOW_COLUMN,
    ...keys.map(({ type }, index) => ({ name: `key${index}`, type, nullable: true })),
    ...calls.map(({ type }, index) => ({ name: `call${index}`, type, nullable: true })),
  ];
}

/** The input without rows before the first window or after the last one: zone maps skip what lies elsewhere. */
export function between({ input, time }: WindowPlan, { from, to }: WindowBounds): PlanNode {
  let [first, last] = [Infinity, -Infinity];
  for (let index = 0; index < from.length; index += 1) {
    first = Math.min(first, from[index]!);
    last = Math.max(last, to[index]!);
  }
  if (first >= last) return node({ kind: 'values', rows: [], columns: input.columns });
  return pushFilters(input, [
    resolveOperator('>=', time, constant(first, time.type)),
    resolveOperator('<', time, constant(last, time.type)),
  ]);
}

/** Rows with the number of their window behind their columns: once for each window they lie in, not at all where they lie in none. */
class AssignedRows implements Operator {
  readonly id = 0;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #input: Operator;
  readonly #time: CompiledExpression;
  readonly #context: EvaluationContext;
  readonly #windows: WindowBounds;
  /** The latest end of the windows up to each one: how far back a row may still lie in one. */
  readonly #latest: Float64Array;
  readonly #overlap: boolean;
  #delivered = 0;
  /** Pairs of row and window that wait to be given. */
  #rows: number[] = [];
  #numbers: number[] = [];
  #at = 0;

  constructor(
    input: Operator,
    time: CompiledExpression,
    windows: WindowBounds,
    context: EvaluationContext,
  ) {
    this.#input = input;
    this.#time = time;
    this.#windows = windows;
    this.#context = context;
    this.columns = [...input.columns, WINDOW_COLUMN];
    const { from, to } = windows;
    this.#latest = new Float64Array(from.length);
    let latest = -Infinity;
    let overlap = false;
    for (let index = 0; index < from.length; index += 1) {
      if (from[index]! < latest) overlap = true;
      latest = Math.max(latest, to[index]!);
      this.#latest[index] = latest;
    }
    this.#overlap = overlap;
  }

  get rowsRead(): number {
    return this.#input instanceof ScanOperator ? this.#input.rowsRead : this.#delivered;
  }

  next(budget: Budget): Step {
    for (;;) {
      if (this.#at < this.#rows.length) {
        this.#give();
        budget.charge(this.batch.rowCount);
        return 'batch';
      }
      const step = this.#input.next(budget);
      if (step !== 'batch') return step;
      const { batch } = this.#input;
      this.#delivered += batch.rowCount;
      budget.charge(batch.rowCount);
      const times = timesOf(this.#time.evaluate(batch, this.#context), batch.rowCount);
      if (this.#overlap) this.#assignAll(times);
      else if (this.#assignOnce(batch, times)) return 'batch';
      if (budget.exhausted) return 'more';
    }
  }

  close(): void {
    this.#input.close();
    this.#rows = [];
    this.#at = 0;
  }

  /** Windows do not overlap: a row lies in one at most, and the vectors are kept as they are. */
  #assignOnce(batch: Batch, times: Float64Array): boolean {
    const { from, to } = this.#windows;
    const { selection, rowCount } = batch;
    const kept = new Int32Array(rowCount);
    const physicalEnd = selection === undefined ? rowCount : largest(selection, rowCount) + 1;
    const numbers = new Int32Array(physicalEnd);
    let count = 0;
    let window = -1;
    for (let row = 0; row < rowCount; row += 1) {
      const time = times[row]!;
      // Rows come nearly in the order of time: most lie where the one before did.
      if (!(window >= 0 && time >= from[window]! && time < to[window]!))
        window = lastAtOrBefore(from, time);
      if (window < 0 || !(time < to[window]!)) continue;
      const physical = selection === undefined ? row : selection[row]!;
      numbers[physical] = window;
      kept[count] = physical;
      count += 1;
    }
    if (count === 0) return false;
    this.batch = {
      ...batch,
      rowCount: count,
      columns: [...batch.columns, numberColumn(numbers)],
      selection: count === physicalEnd ? undefined : kept.subarray(0, count),
    };
    return true;
  }

  #assignAll(times: Float64Array): void {
    const { from, to } = this.#windows;
    this.#rows = [];
    this.#numbers = [];
    this.#at = 0;
    const { selection } = this.#input.batch;
    for (let row = 0; row < times.length; row += 1) {
      const time = times[row]!;
      for (
        let window = lastAtOrBefore(from, time);
        window >= 0 && this.#latest[window]! > time;
        window -= 1
      ) {
        if (!(time < to[window]!)) continue;
        this.#rows.push(selection === undefined ? row : selection[row]!);
        this.#numbers.push(window);
      }
    }
  }

  #give(): void {
    const { columns, weights } = this.#input.batch;
    assert(weights === undefined, 'a window query reads rows, not changes');
    const end = Math.min(this.#at + BATCH_ROW_COUNT_MAX, this.#rows.length);
    const rows = Int32Array.from(this.#rows.slice(this.#at, end));
    const numbers = Int32Array.from(this.#numbers.slice(this.#at, end));
    this.#at = end;
    this.batch = {
      rowCount: rows.length,
      columns: [...columns.map((each) => gather(each, rows, rows.length)), numberColumn(numbers)],
    };
  }
}

function numberColumn(values: Int32Array): Vector {
  return { rep: 'number', type: INT4, values, factor: 1, base: 0, scale: 0 };
}

function largest(selection: Int32Array, count: number): number {
  let most = 0;
  for (let row = 0; row < count; row += 1) most = Math.max(most, selection[row]!);
  return most;
}

/** The last index whose entry is at most `time`; −1 where there is none, and for NaN. */
export function lastAtOrBefore(ascending: Float64Array, time: number): number {
  return countUpTo(ascending, time) - 1;
}

/**
 * Times of the rows that have come to a table or gone between two positions, change by change; undefined where nobody knows any more, or they are
 * more than `rowCountMax`.
 */
export function changedTimes(
  data: TableData,
  column: number,
  { from, to }: { readonly from: number; readonly to: number },
  rowCountMax: number,
): readonly Float64Array[] | undefined {
  const changes = data.changes(from, to, 'atOnce');
  if (changes === undefined) return undefined;
  const times: Float64Array[] = [];
  let rows = 0;
  for (const { delta } of changes) {
    for (const batch of [delta.deleted, delta.inserted]) {
      if (batch === undefined) continue;
      rows += batch.rowCount;
      if (rows > rowCountMax) return undefined;
      times.push(timesOf(columnOf(batch, column), batch.rowCount, batch.selection));
    }
  }
  return times;
}

/** Microseconds by logical row; NaN, which lies in no window, for NULL. Beyond ±2^53 rounded: no bound lies there. */
export function timesOf(vector: Vector, rowCount: number, selection?: Int32Array): Float64Array {
  const times = new Float64Array(rowCount);
  timesInto(times, vector, rowCount, selection);
  return times;
}

/** The same into an array that is there. */
export function timesInto(
  times: Float64Array,
  vector: Vector,
  rowCount: number,
  selection: Int32Array | undefined,
): void {
  const { validity } = vector;
  if (vector.rep === 'number') {
    const { values, factor, base } = vector;
    for (let row = 0; row < rowCount; row += 1) {
      const at = selection === undefined ? row : selection[row]!;
      times[row] = validity !== undefined && validity[at] === 0 ? NaN : values[at]! * factor + base;
    }
    return;
  }
  for (let row = 0; row < rowCount; row += 1) {
    const datum = datumAt(vector, selection === undefined ? row : selection[row]!);
    times[row] = datum === null ? NaN : Number(datum);
  }
}
