import { shownPlaces, withShownKeys } from '../plan/shown-keys.ts';
import { assert, InvariantError } from '../base/errors.ts';
import type { Batch } from '../columns/batch.ts';
import { denseBatch } from '../columns/build.ts';
import { isTextType } from '../columns/types.ts';
import { functionById } from '../expressions/catalog.ts';
import { someNode } from '../expressions/fold.ts';
import { inputsOf, visitExpressions } from '../plan/nodes.ts';
import type { AggregateNode, JoinNode, PlanNode } from '../plan/logical.ts';
import { AggregateOperator, type AggregateObserver } from './aggregate.ts';
import { ApplyOperator } from './apply.ts';
import { CollectedRows } from './collect.ts';
import {
  aggregateDemand,
  EVERYTHING,
  filterDemand,
  isOrderFree,
  projectDemand,
  sortDemand,
  tiesOf,
  type Demand,
} from './demand.ts';
import { DistinctOperator, SetOperationOperator } from './distinct.ts';
import type { ExecutionEnvironment } from './environment.ts';
import { JoinOperator } from './join.ts';
import { LateralOperator } from './lateral.ts';
import { LiteralsOperator } from './literals.ts';
import { Budget, type Operator, type Step } from './operator.ts';
import {
  EMPTY_BATCH,
  FilterOperator,
  LimitOperator,
  ProjectOperator,
  UnionAllOperator,
} from './row-operators.ts';
import { RecursiveOperator } from './recursive.ts';
import { SortOperator } from './sort.ts';
import { ScanOperator, SeriesOperator, ValuesOperator } from './sources.ts';

/** The operators of a plan, ready to be pulled. */
export function buildOperator(
  plan: PlanNode,
  environment: ExecutionEnvironment,
  demand: Demand = EVERYTHING,
): Operator {
  let works: boolean | undefined;
  const worksOnTexts = (): boolean => (works ??= hasTextWork(plan));
  return build(plan, { ...environment, worksOnTexts }, new Map(), demand);
}

/** Calls whose time goes with the length of a text. */
function hasTextWork(plan: PlanNode): boolean {
  let found = false;
  visitExpressions(plan, (expression) => {
    found ||= someNode(
      expression,
      (each) =>
        each.kind === 'call' &&
        !AT_MEMORY_SPEED.has(functionById(each.fn).name) &&
        each.args.some(({ type }) => isTextType(type)),
    );
  });
  return found || inputsOf(plan).some(hasTextWork);
}

/** They compare or search bytes, which costs no more than reading them. */
const AT_MEMORY_SPEED: ReadonlySet<string> = new Set(
  '= <> < <= > >= ~~ !~~ ~~* !~~* length octet_length count'.split(' '),
);

/** The operators of an aggregation over whatever gives its input as demanded: `input` of the plan is not looked at. */
export function buildAggregate(
  plan: AggregateNode,
  { context, memory }: ExecutionEnvironment,
  input: (demand: Demand) => Operator,
  demand: Demand = EVERYTHING,
): Operator {
  const shown = shownAggregate(plan);
  const aggregate = new AggregateOperator(
    shown,
    input(aggregateDemand(shown)),
    context,
    memory,
    shown === plan ? demand : { ...demand, columns: undefined },
  );
  return withPlaces(plan, shown, aggregate, context);
}

type Ctes = ReadonlyMap<number, SharedRows>;

function build(
  plan: PlanNode,
  environment: ExecutionEnvironment,
  ctes: Ctes,
  demand: Demand,
): Operator {
  const input = (node: PlanNode, wanted: Demand = EVERYTHING): Operator =>
    build(node, environment, ctes, wanted);
  const { context, memory } = environment;
  const stand = environment.stands?.get(plan.id);
  if (stand !== undefined) return stand;
  switch (plan.kind) {
    case 'scan': {
      const inPieces =
        plan.columns.some(({ type }) => isTextType(type)) && environment.worksOnTexts?.() === true;
      const snapshot = environment.snapshotOf(plan.relation);
      const scan = new ScanOperator(plan, snapshot, context, { ...demand, inPieces });
      environment.scanned?.(scan);
      return scan;
    }
    case 'values':
      return new ValuesOperator(plan, context);
    case 'literals':
      return new LiteralsOperator(plan, context);
    case 'series':
      return new SeriesOperator(plan, context);
    case 'filter':
      return new FilterOperator(
        plan.id,
        input(plan.input, filterDemand(demand, plan.condition)),
        plan.condition,
        context,
      );
    case 'project':
      return new ProjectOperator(
        plan.id,
        plan.columns,
        input(plan.input, projectDemand(demand, plan.expressions)),
        plan.expressions,
        context,
      );
    case 'aggregate': {
      const plain = (): Operator =>
        buildAggregate(plan, environment, (wanted) => input(plan.input, wanted), demand);
      return environment.aggregate?.(plan, environment, plain) ?? plain();
    }
    case 'join':
      return new JoinOperator(
        plan,
        input(plan.left, { ...EVERYTHING, ordered: demand.ordered }),
        input(plan.right, { ...EVERYTHING, ordered: demand.ordered && !isExistence(plan) }),
        context,
        memory,
        demand,
      );
    case 'sort': {
      const ties = tiesOf(plan);
      const keys = typeof ties === 'string' ? plan.keys : [...plan.keys, ...ties];
      const sort = { ...plan, keys };
      return new SortOperator(
        sort,
        input(plan.input, sortDemand(demand, sort, ties)),
        context,
        memory,
      );
    }
    case 'limit':
      return new LimitOperator(
        plan,
        input(plan.input),
        plan.counts === undefined ? undefined : input(plan.counts),
        context,
      );
    case 'distinct':
      return new DistinctOperator(
        plan,
        input(plan.input, {
          ...EVERYTHING,
          ordered:
            demand.ordered ||
            plan.on !== undefined ||
            !plan.columns.every(({ type }) => isOrderFree(type) && type.kind !== 'numeric'),
        }),
        context,
        memory,
      );
    case 'unionAll':
      return new UnionAllOperator(
        plan.id,
        plan.columns,
        plan.inputs.map((each) => input(each, demand)),
      );
    case 'setOperation':
      return new SetOperationOperator(plan, input(plan.left), input(plan.right), memory);
    case 'cte': {
      const known = new Map(ctes);
      for (const { cte, plan: inner } of plan.ctes)
        known.set(
          cte,
          new SharedRows(build(inner, environment, known, EVERYTHING), new CollectedRows(memory)),
        );
      const body = build(plan.body, environment, known, demand);
      return new CteOperator(
        plan.id,
        body,
        plan.ctes.map(({ cte }) => known.get(cte)!),
      );
    }
    case 'recursive':
      return new RecursiveOperator(plan, input(plan.base), context, memory, (working) =>
        build(
          plan.step,
          environment,
          new Map(ctes).set(plan.cte, SharedRows.of(working)),
          EVERYTHING,
        ),
      );
    case 'cteScan': {
      const shared = ctes.get(plan.cte);
      assert(shared !== undefined, 'a CTE is scanned inside the query that defines it');
      return new CteScanOperator(plan, shared);
    }
    case 'lateral':
      return new LateralOperator(plan, input(plan.left), environment, (inner) =>
        build(inner, environment, ctes, EVERYTHING),
      );
    case 'repeat':
      throw new InvariantError('rows are repeated in views only');
    case 'apply':
      return new ApplyOperator(plan, input(plan.input), environment, (inner) =>
        build(inner, environment, ctes, EVERYTHING),
      );
  }
}

/** The aggregation that is run: keys of which equal ones may look different are shown by calls. One key alone is as the table of keys has it. */
function shownAggregate(plan: AggregateNode): AggregateNode {
  return plan.keys.length > 1 ? withShownKeys(plan) : plan;
}

function withPlaces(
  plan: AggregateNode,
  shown: AggregateNode,
  aggregate: Operator,
  context: ExecutionEnvironment['context'],
): Operator {
  return shown === plan
    ? aggregate
    : new ProjectOperator(plan.id, plan.columns, aggregate, shownPlaces(plan), context);
}

/**
 * An aggregation whose input is drained again and again while `observer` watches, and what it gives in the end. Its input is read in
 * whatever order is fastest.
 */
export function buildObserved(
  plan: AggregateNode,
  environment: ExecutionEnvironment,
  observer: AggregateObserver,
): { readonly aggregate: AggregateOperator; readonly output: Operator } {
  const shown = shownAggregate(plan);
  const input = build(plan.input, environment, new Map(), {
    ...aggregateDemand(shown),
    ordered: false,
  });
  const aggregate = new AggregateOperator(
    shown,
    input,
    environment.context,
    environment.memory,
    EVERYTHING,
    observer,
  );
  return { aggregate, output: withPlaces(plan, shown, aggregate, environment.context) };
}

/** Whether its answer does not depend on the order of its rows. */
export function isOrderFreeAggregate(plan: AggregateNode): boolean {
  return !aggregateDemand(shownAggregate(plan)).ordered;
}

/** Whether only the existence of right rows matters, not which comes first. */
function isExistence({ type, residual }: JoinNode): boolean {
  return (type === 'semi' || type === 'anti') && residual === undefined;
}

/** The rows of a CTE: computed as far as a scan asks, and once. */
class SharedRows {
  readonly rows: CollectedRows;
  readonly #operator: Operator | undefined;
  #done: boolean;

  constructor(operator: Operator | undefined, rows: CollectedRows) {
    this.#operator = operator;
    this.rows = rows;
    this.#done = operator === undefined;
  }

  /** Rows that are all there. */
  static of(rows: CollectedRows): SharedRows {
    return new SharedRows(undefined, rows);
  }

  /** Makes batch number `at`, where there is one. */
  step(at: number, budget: Budget): Step {
    while (at >= this.rows.batches.length) {
      if (this.#done) return 'done';
      const step = this.#operator!.next(budget);
      if (step === 'more') return 'more';
      if (step === 'done') this.#done = true;
      else {
        // A scan's dictionary vectors and subarrays may be kept: vectors are never written once handed on.
        const batch = denseBatch(this.#operator!.batch);
        this.rows.keep(batch);
        budget.charge(batch.rowCount);
      }
    }
    return 'batch';
  }

  close(): void {
    this.#operator?.close();
    this.rows.close();
  }
}

class CteScanOperator implements Operator {
  readonly id: number;
  readonly columns: Operator['columns'];
  batch: Batch = EMPTY_BATCH;
  readonly #shared: SharedRows;
  #at = 0;

  constructor(node: Extract<PlanNode, { kind: 'cteScan' }>, shared: SharedRows) {
    this.id = node.id;
    this.columns = node.columns;
    this.#shared = shared;
  }

  next(budget: Budget): Step {
    const step = this.#shared.step(this.#at, budget);
    if (step !== 'batch') return step;
    this.batch = this.#shared.rows.batches[this.#at]!;
    this.#at += 1;
    budget.charge(this.batch.rowCount);
    return 'batch';
  }

  close(): void {
    this.#at = Infinity;
  }
}

class CteOperator implements Operator {
  readonly id: number;
  readonly columns: Operator['columns'];
  readonly #body: Operator;
  readonly #shared: readonly SharedRows[];

  constructor(id: number, body: Operator, shared: readonly SharedRows[]) {
    this.id = id;
    this.columns = body.columns;
    this.#body = body;
    this.#shared = shared;
  }

  get batch(): Batch {
    return this.#body.batch;
  }

  next(budget: Budget): Step {
    return this.#body.next(budget);
  }

  close(): void {
    this.#body.close();
    for (const shared of this.#shared) shared.close();
  }
}

/** All batches of an operator at once: for tests and for plans that are known to be small. */
export function runToEnd(operator: Operator, budget: Budget = new Budget(Infinity)): Batch[] {
  const batches: Batch[] = [];
  for (;;) {
    const step = operator.next(budget);
    if (step === 'done') break;
    if (step === 'batch') batches.push(operator.batch);
    else budget.refill(10_000);
  }
  operator.close();
  return batches;
}
