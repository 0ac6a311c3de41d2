import { notSupported, type DbError } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import type { Batch } from '../columns/batch.ts';
import type { TableDelta } from '../columns/table-contract.ts';
import { functionById } from '../expressions/catalog.ts';
import { isSettledByZone, someNode } from '../expressions/fold.ts';
import type { Expression } from '../expressions/expression.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { Budget, Operator, Step } from '../operators/operator.ts';
import { EMPTY_BATCH, FilterOperator, ProjectOperator } from '../operators/row-operators.ts';
import type { AggregateNode, OutputColumn, PlanNode } from '../plan/logical.ts';
import { shownPlaces, withShownKeys } from '../plan/shown-keys.ts';
import { conjunction, inputsOf, node, visitExpressions } from '../plan/nodes.ts';
import { Consolidator } from './consolidate.ts';
import { DeltaGroup } from './delta-group.ts';
import { DeltaJoin } from './delta-join.ts';
import type { StatefulOperator } from './delta-operator.ts';
import { DeltaRepeat } from './delta-repeat.ts';
import { DeltaScan, type FillRows } from './delta-scan.ts';
import { DeltaUnion } from './delta-union.ts';
import { maintainable } from './maintainable.ts';
import type { RowIdentity } from './view-writer.ts';

/** Of a relation, what a plan reads. */
export type FilledScan = { readonly relation: number; readonly columnIndexes: readonly number[] };

/** For each scan of a plan, where its rows come from. */
export type FillSource = (scan: FilledScan) => FillRows;

export type StandingPlanOptions = {
  readonly context: EvaluationContext;
  readonly memory: MemoryAccount | undefined;
};

/**
 * A plan that stands: changes of the relations it reads go in, changes of its answer come out, in bounded batches and
 * without pairs that cancel. Work goes with the change.
 */
export class StandingPlan {
  readonly columns: readonly OutputColumn[];
  /** How rows of the output are told apart: by the group they show, or by what stands in them. */
  readonly identity: RowIdentity;
  batch: Batch = EMPTY_BATCH;
  readonly #root: Operator;
  readonly #scans: readonly DeltaScan[];
  readonly #unions: readonly DeltaUnion[];
  readonly #stateful: readonly StatefulOperator[];
  /** Folds the rows of plans whose output has no identity of its own. */
  #consolidator: Consolidator | undefined;
  #folded: { at: number; readonly rows: Consolidator } | undefined;

  constructor(parts: {
    readonly root: Operator;
    readonly scans: readonly DeltaScan[];
    readonly unions: readonly DeltaUnion[];
    readonly stateful: readonly StatefulOperator[];
    readonly identity: RowIdentity;
  }) {
    this.columns = parts.root.columns;
    this.identity = parts.identity;
    this.#root = parts.root;
    this.#scans = parts.scans;
    this.#unions = parts.unions;
    this.#stateful = parts.stateful;
  }

  /** Opens a commit; `rollback` undoes the newest, `release` makes the oldest final. */
  checkpoint(): void {
    for (const operator of this.#stateful) operator.checkpoint();
  }

  rollback(): void {
    for (const scan of this.#scans) scan.reset();
    for (const union of this.#unions) union.reset();
    this.#consolidator = undefined;
    this.#folded = undefined;
    for (const operator of this.#stateful.toReversed()) operator.rollback();
  }

  release(): void {
    for (const operator of this.#stateful) operator.release();
  }

  push(relation: number, delta: TableDelta): void {
    for (const scan of this.#scans) if (scan.relation === relation) scan.push(delta);
  }

  /** A relation has lost a column that the plan does not use; gives what undoes it. */
  columnDropped(relation: number, index: number): () => void {
    const scans = this.#scans.filter((scan) => scan.relation === relation);
    for (const scan of scans) scan.columnDropped(index);
    return () => {
      for (const scan of scans) scan.columnBack(index);
    };
  }

  /** Its scan, where it has no other: one reading can then fill several plans. */
  get onlyScan(): FilledScan | undefined {
    return this.#scans.length === 1 ? this.#scans[0] : undefined;
  }

  /** Reads rows as if they had all just arrived, for good: without a checkpoint before it, nothing is kept to undo it. */
  fill(sourceOf: FillSource): void {
    for (const scan of this.#scans) scan.fillFrom(sourceOf(scan));
  }

  next(budget: Budget): Step {
    if (this.identity.kind === 'ordinal') {
      const step = this.#root.next(budget);
      this.batch = this.#root.batch;
      return step;
    }
    while (this.#folded === undefined) {
      const step = this.#root.next(budget);
      if (step === 'more') return 'more';
      if (step === 'batch') {
        this.#consolidator ??= new Consolidator();
        this.#consolidator.add(this.#root.batch);
        if (budget.exhausted) return 'more';
        continue;
      }
      if (this.#consolidator === undefined) return 'done';
      this.#folded = { at: 0, rows: this.#consolidator };
      this.#consolidator = undefined;
    }
    const { rows, at } = this.#folded;
    const taken = at < 0 ? undefined : rows.take(at, ROWS_OUT);
    if (taken?.batch === undefined) {
      this.#folded = undefined;
      return 'done';
    }
    this.#folded.at = taken.next;
    this.batch = taken.batch;
    budget.charge(taken.batch.rowCount);
    return 'batch';
  }

  close(): void {
    this.#root.close();
  }
}

const ROWS_OUT = 1024;

export function createStandingPlan(given: PlanNode, options: StandingPlanOptions): StandingPlan {
  const plan = maintainable(given);
  const unsupported = obstacle(plan);
  if (unsupported !== undefined) throw unsupported;
  const parts: Parts = { scans: [], unions: [], stateful: [] };
  const identity = identityOf(plan);
  const root = build(plan, options, parts, identity.kind === 'ordinal');
  return new StandingPlan({ root, ...parts, identity });
}

/** The operators that hear of the beginning and the end of a commit. */
type Parts = {
  readonly scans: DeltaScan[];
  readonly unions: DeltaUnion[];
  readonly stateful: StatefulOperator[];
};

/** `isOutput`: what the operator gives is stored by its number; else operators above must see what leaves. */
function build(
  plan: PlanNode,
  options: StandingPlanOptions,
  parts: Parts,
  isOutput = false,
): Operator {
  const input = (each: PlanNode): Operator => build(each, options, parts);
  const remember = <Each extends StatefulOperator>(operator: Each): Each => {
    parts.stateful.push(operator);
    return operator;
  };
  const group = (aggregate: AggregateNode): Operator => {
    const shown = withShownKeys(aggregate);
    const operator = remember(
      new DeltaGroup(shown, input(aggregate.input), options.context, options.memory, !isOutput),
    );
    if (shown === aggregate) return operator;
    const places = shownPlaces(aggregate);
    return new ProjectOperator(plan.id, plan.columns, operator, places, options.context);
  };
  switch (plan.kind) {
    case 'scan': {
      const scan = new DeltaScan(plan);
      parts.scans.push(scan);
      return plan.filter === undefined
        ? scan
        : new FilterOperator(plan.id, scan, plan.filter, options.context);
    }
    case 'filter':
      return new FilterOperator(plan.id, input(plan.input), plan.condition, options.context);
    case 'project':
      return new ProjectOperator(
        plan.id,
        plan.columns,
        build(plan.input, options, parts, isOutput),
        plan.expressions,
        options.context,
      );
    case 'aggregate':
      return group(plan);
    case 'distinct':
      return group(asAggregate(plan));
    case 'join': {
      const left = input(plan.left);
      const right = input(plan.right);
      const join = remember(new DeltaJoin(plan, left, right, options.context, options.memory));
      const residual = plan.residual === undefined ? undefined : conjunction([plan.residual]);
      return residual === undefined
        ? join
        : new FilterOperator(plan.id, join, residual, options.context);
    }
    case 'values':
      // No row ever comes.
      return new DeltaUnion({ ...plan, kind: 'unionAll', inputs: [] }, []);
    case 'repeat':
      return new DeltaRepeat(plan, input(plan.input), options.context);
    case 'unionAll': {
      const union = new DeltaUnion(plan, plan.inputs.map(input));
      parts.unions.push(union);
      return union;
    }
    default:
      throw notSupported(`${plan.kind} in a materialized view`);
  }
}

/** DISTINCT is a GROUP BY of all columns without aggregates. */
function asAggregate(
  plan: Extract<PlanNode, { kind: 'distinct' }>,
): Extract<PlanNode, { kind: 'aggregate' }> {
  const keys = plan.columns.map((each, index): Expression => ({
    kind: 'column',
    index,
    type: each.type,
    nullable: each.nullable,
    name: each.name,
  }));
  return {
    ...(node({
      kind: 'aggregate',
      input: plan.input,
      keys,
      calls: [],
      columns: plan.columns,
    }) as Extract<PlanNode, { kind: 'aggregate' }>),
    id: plan.id,
  };
}

/** Groups keep their number through projections and filters above; anything else is told apart by its content. */
function identityOf(plan: PlanNode): RowIdentity {
  switch (plan.kind) {
    case 'aggregate':
    case 'distinct':
      return { kind: 'ordinal' };
    case 'project':
      // A projection may show two versions of a group alike: such a pair must not leave.
      return identityOf(plan.input).kind === 'ordinal' &&
        plan.expressions.every((each) => each.kind === 'column') &&
        coversAll(plan)
        ? { kind: 'ordinal' }
        : { kind: 'row' };
    default:
      return { kind: 'row' };
  }
}

function coversAll(plan: Extract<PlanNode, { kind: 'project' }>): boolean {
  const used = new Set(plan.expressions.map((each) => (each as { index: number }).index));
  return plan.input.columns.every((_, index) => used.has(index));
}

/** 0A000 naming what keeps a plan from being maintained; undefined when nothing does. */
export function whyNotMaintained(plan: PlanNode): DbError | undefined {
  return obstacle(maintainable(plan));
}

function obstacle(plan: PlanNode): DbError | undefined {
  const hint =
    'Materialized views take filters, projections, joins, IN and EXISTS, GROUP BY, HAVING, DISTINCT and set operations over tables and views; use CREATE VIEW for others.';
  switch (plan.kind) {
    case 'scan':
    case 'filter':
    case 'project':
    case 'repeat':
    case 'unionAll':
      break;
    case 'values':
      if (plan.rows.length > 0)
        return notSupported('VALUES, or a SELECT without FROM, in a materialized view', hint);
      break;
    case 'aggregate': {
      const ordered = plan.calls.find(
        ({ fn }) =>
          fn === 'string_agg' ||
          fn === 'percentile_cont' ||
          fn === 'percentile_disc' ||
          fn === 'mode',
      );
      if (ordered !== undefined) return notSupported(`${ordered.fn} in a materialized view`, hint);
      const wide = plan.calls.find(({ distinct, args }) => distinct && args.length > 1);
      if (wide !== undefined)
        return notSupported(`DISTINCT over several arguments in a materialized view`, hint);
      break;
    }
    case 'distinct':
      if (plan.on !== undefined) return notSupported('DISTINCT ON in a materialized view', hint);
      break;
    case 'join':
      if (plan.type !== 'inner')
        return notSupported(`a ${plan.type} join in a materialized view`, hint);
      break;
    default:
      return notSupported(`${NAMES[plan.kind] ?? plan.kind} in a materialized view`, hint);
  }
  let volatileCall: DbError | undefined;
  visitExpressions(plan, (expression) => {
    if (isSettledByZone(expression)) return;
    const call = findCall(expression);
    volatileCall ??= notSupported(
      call === undefined
        ? 'an expression that depends on the session in a materialized view'
        : `${call}() in a materialized view`,
      'Its value changes while the rows do not; compute it where the view is read.',
    );
  });
  if (volatileCall !== undefined) return volatileCall;
  for (const input of inputsOf(plan)) {
    const why = obstacle(input);
    if (why !== undefined) return why;
  }
  return undefined;
}

function findCall(expression: Expression): string | undefined {
  let name: string | undefined;
  someNode(expression, (each) => {
    if (each.kind === 'call' && !isSettledByZone({ ...each, args: [] }))
      name = functionById(each.fn).name;
    return name !== undefined;
  });
  return name;
}

const NAMES: Readonly<Partial<Record<PlanNode['kind'], string>>> = {
  sort: 'ORDER BY',
  limit: 'LIMIT',
  setOperation: 'INTERSECT or EXCEPT',
  cte: 'WITH',
  cteScan: 'WITH',
  recursive: 'WITH RECURSIVE',
  apply: 'a subquery',
  values: 'VALUES',
  series: 'generate_series',
};
