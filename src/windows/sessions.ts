import type { MemoryAccount } from '../base/memory.ts';
import type { Batch } from '../columns/batch.ts';
import { denseBatch } from '../columns/build.ts';
import { INT8, TIMESTAMPTZ } from '../columns/types.ts';
import { compileExpression, type CompiledExpression } from '../expressions/compile.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { buildAggregate, buildOperator } from '../operators/build.ts';
import type { ExecutionEnvironment } from '../operators/environment.ts';
import { GroupTable } from '../operators/group-table.ts';
import type { Budget, Operator, Step } from '../operators/operator.ts';
import { EMPTY_BATCH } from '../operators/row-operators.ts';
import type { AggregateCall, AggregateNode, OutputColumn, PlanNode } from '../plan/logical.ts';
import { column, node } from '../plan/nodes.ts';
import { between, timesOf, type WindowBounds, type WindowPlan } from './window-source.ts';

/**
 * Sessions: rows of a group of which none is further than `gapMicros` after the one before. The rows within `bounds` are sorted by
 * group and time, in steps, and each gets the number of its session, by which they are aggregated. Output: the session's
 * number (in the order of groups, then of time), the keys, the calls, the first and the last time.
 */
export function openSessions(
  plan: WindowPlan,
  bounds: WindowBounds,
  gapMicros: number,
  environment: ExecutionEnvironment,
): Operator & { readonly rowsScanned: number } {
  const { keys, calls, time } = plan;
  const input = between(plan, bounds);
  const sorted: PlanNode = node({
    kind: 'sort',
    input,
    keys: [...keys, time].map((expression) => ({
      expression,
      descending: false,
      nullsFirst: false,
    })),
    columns: input.columns,
  });
  const extremes = (['min', 'max'] as const).map((fn): AggregateCall => ({
    fn,
    args: [time],
    distinct: false,
    orderBy: [],
    type: TIMESTAMPTZ,
  }));
  const aggregate: AggregateNode = {
    kind: 'aggregate',
    id: 0,
    input: sorted,
    keys: [column(input.columns.length, SESSION_COLUMN), ...keys],
    calls: [...calls, ...extremes],
    columns: [
      SESSION_COLUMN,
      ...keys.map(({ type }, index) => ({ name: `key${index}`, type, nullable: true })),
      ...[...calls, ...extremes].map(({ type }, index) => ({
        name: `call${index}`,
        type,
        nullable: true,
      })),
    ],
  };
  let rows: NumberedSessions | undefined;
  const operator = buildAggregate(aggregate, environment, () => {
    rows = new NumberedSessions(buildOperator(sorted, environment), plan, gapMicros, environment);
    return rows;
  });
  return {
    id: 0,
    columns: operator.columns,
    get batch() {
      return operator.batch;
    },
    get rowsScanned() {
      return rows!.rowCount;
    },
    next: (budget) => operator.next(budget),
    close: () => operator.close(),
  };
}

const SESSION_COLUMN: OutputColumn = { name: 'session', type: INT8, nullable: false };

/** Rows in the order of groups and time, with the number of their session behind their columns. */
class NumberedSessions implements Operator {
  readonly id = 0;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  rowCount = 0;
  readonly #input: Operator;
  readonly #time: CompiledExpression;
  readonly #keys: readonly CompiledExpression[];
  readonly #groups: GroupTable;
  readonly #context: EvaluationContext;
  readonly #gapMicros: number;
  #session = -1;
  #group = -1;
  #lastTime = 0;

  constructor(
    input: Operator,
    plan: WindowPlan,
    gapMicros: number,
    { context, memory }: { readonly context: EvaluationContext; readonly memory: MemoryAccount },
  ) {
    this.#input = input;
    this.#time = compileExpression(plan.time);
    this.#keys = plan.keys.map(compileExpression);
    this.#groups = new GroupTable(
      plan.keys.map(({ type }) => type),
      memory,
    );
    this.#context = context;
    this.#gapMicros = gapMicros;
    this.columns = [...input.columns, SESSION_COLUMN];
  }

  next(budget: Budget): Step {
    const step = this.#input.next(budget);
    if (step !== 'batch') return step;
    const batch = denseBatch(this.#input.batch);
    const { rowCount } = batch;
    budget.charge(rowCount);
    this.rowCount += rowCount;
    const times = timesOf(this.#time.evaluate(batch, this.#context), rowCount);
    const groups = this.#groups.intern(
      this.#keys.map((key) => key.evaluate(batch, this.#context)),
      rowCount,
    );
    const sessions = new Float64Array(rowCount);
    for (let row = 0; row < rowCount; row += 1) {
      const time = times[row]!;
      const group = groups[row]!;
      if (group !== this.#group || time - this.#lastTime > this.#gapMicros) this.#session += 1;
      this.#group = group;
      this.#lastTime = time;
      sessions[row] = this.#session;
    }
    this.batch = {
      ...batch,
      columns: [
        ...batch.columns,
        { rep: 'number', type: INT8, values: sessions, factor: 1, base: 0, scale: 0 },
      ],
    };
    return 'batch';
  }

  close(): void {
    this.#input.close();
    this.#groups.close();
  }
}
