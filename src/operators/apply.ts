import { DbError } from '../base/errors.ts';
import type { Batch } from '../columns/batch.ts';
import { datumAt, denseBatch, vectorFromData } from '../columns/build.ts';
import { canonicalText, equalDatums } from '../columns/compare.ts';
import type { Datum } from '../columns/values.ts';
import { compileExpression, type CompiledExpression } from '../expressions/compile.ts';
import { functionById } from '../expressions/catalog.ts';
import type { Expression } from '../expressions/expression.ts';
import { datumToText } from '../expressions/text-io.ts';
import type { ApplyNode, OutputColumn, PlanNode } from '../plan/logical.ts';
import { mapPlanExpressions, planIsVolatile, rewrite } from '../plan/nodes.ts';
import type { ExecutionEnvironment } from './environment.ts';
import type { Budget, Operator, Step } from './operator.ts';
import { keyedPlan, type KeyedPlan } from './keyed-subquery.ts';
import { EMPTY_BATCH } from './row-operators.ts';

export type BuildPlan = (plan: PlanNode, environment: ExecutionEnvironment) => Operator;

/**
 * Adds subqueries' values to each row. A subquery without outer columns runs once; others once for each distinct tuple of
 * the outer values they name, whose answer is remembered.
 */
export class ApplyOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #input: Operator;
  readonly #subqueries: readonly Subquery[];
  #pending: Batch | undefined;
  #row = 0;
  #subquery = 0;
  #values: Datum[][] = [];

  constructor(
    node: ApplyNode,
    input: Operator,
    environment: ExecutionEnvironment,
    build: BuildPlan,
  ) {
    this.id = node.id;
    this.columns = node.columns;
    this.#input = input;
    this.#subqueries = node.subqueries.map(
      (subquery) => new Subquery(subquery, environment, build),
    );
  }

  next(budget: Budget): Step {
    if (this.#pending === undefined) {
      const step = this.#input.next(budget);
      if (step !== 'batch') return step;
      this.#pending = denseBatch(this.#input.batch);
      this.#row = 0;
      this.#subquery = 0;
      this.#values = this.#subqueries.map(() => []);
      for (const subquery of this.#subqueries) subquery.begin(this.#pending);
    }
    const batch = this.#pending;
    for (; this.#row < batch.rowCount; this.#row += 1) {
      for (; this.#subquery < this.#subqueries.length; this.#subquery += 1) {
        const value = this.#subqueries[this.#subquery]!.valueFor(batch, this.#row, budget);
        if (value === undefined) return 'more';
        this.#values[this.#subquery]!.push(value);
      }
      this.#subquery = 0;
    }
    const width = batch.columns.length;
    const added = this.#values.map((data, index) =>
      vectorFromData(this.columns[width + index]!.type, data),
    );
    this.batch = { ...batch, columns: [...batch.columns, ...added] };
    this.#pending = undefined;
    return 'batch';
  }

  close(): void {
    this.#input.close();
    for (const subquery of this.#subqueries) subquery.close();
  }
}

/** What may be spent on asking a subquery row by row before it is asked once for all keys, where that can be done. */
const ASKED_SINGLY_UNITS = 50_000;
/** Rows that are kept by key; a subquery that gives more is asked row by row. */
const KEYED_ROWS_MAX = 200_000;

/** Answers remembered for one subquery; beyond, the oldest is forgotten. */
const REMEMBERED_MAX = 100_000;

class Subquery {
  readonly #node: ApplyNode['subqueries'][number];
  readonly #environment: ExecutionEnvironment;
  readonly #build: BuildPlan;
  readonly #outer: readonly { readonly index: number; readonly type: OutputColumn['type'] }[];
  readonly #args: readonly CompiledExpression[];
  #argVectors: ReturnType<CompiledExpression['evaluate']>[] = [];
  readonly #answers = new Map<string, Answer>();
  /** The subquery that is running, for the row that waits for it. */
  #running:
    | { readonly operator: Operator; readonly key: string; readonly rows: Datum[][] }
    | undefined;

  /** The subquery for all keys at once; undefined: there is no such plan, or its answer is too large. */
  #keyed: KeyedPlan | undefined;
  readonly #outerKeys: readonly CompiledExpression[];
  #outerKeyVectors: ReturnType<CompiledExpression['evaluate']>[] = [];
  #spentSingly = 0;
  #collecting: { readonly operator: Operator; count: number } | undefined;
  readonly #byKey = new Map<string, Datum[][]>();
  #isKeyed = false;
  #answerOfNoRows: Answer | undefined;

  constructor(
    node: ApplyNode['subqueries'][number],
    environment: ExecutionEnvironment,
    build: BuildPlan,
  ) {
    this.#keyed = planIsVolatile(node.plan) ? undefined : keyedPlan(node.plan, node.mode);
    this.#outerKeys = (this.#keyed?.outer ?? []).map(compileExpression);
    this.#node = node;
    this.#environment = environment;
    this.#build = build;
    this.#args = node.args.map(compileExpression);
    this.#outer = outerColumnsOf(node.plan);
  }

  begin(batch: Batch): void {
    const { context } = this.#environment;
    this.#argVectors = this.#args.map((arg) => arg.evaluate(batch, context));
    this.#outerKeyVectors = this.#outerKeys.map((key) => key.evaluate(batch, context));
  }

  /** undefined: the budget is used up, ask again. */
  valueFor(batch: Batch, row: number, budget: Budget): Datum | undefined {
    const key = this.#outer
      .map(({ index, type }) => exactText(datumAt(batch.columns[index]!, row), type))
      .join('');
    let answer = this.#answers.get(key);
    if (answer === undefined && this.#running === undefined) {
      if (this.#keyed !== undefined && this.#spentSingly > ASKED_SINGLY_UNITS && !this.#isKeyed) {
        if (!this.#collect(budget)) return undefined;
      }
      answer = this.#isKeyed ? this.#keyedAnswer(row) : undefined;
    }
    if (answer === undefined) {
      const before = budget.spent;
      if (this.#running === undefined || this.#running.key !== key) {
        this.#running = {
          operator: this.#build(boundToRow(this.#node.plan, batch, row), this.#environment),
          key,
          rows: [],
        };
      }
      const { operator, rows } = this.#running;
      const enough = this.#node.mode === 'exists' ? 1 : this.#node.mode === 'scalar' ? 2 : Infinity;
      for (;;) {
        const step = operator.next(budget);
        if (step === 'more') {
          this.#spentSingly += budget.spent - before;
          return undefined;
        }
        if (step === 'done') break;
        const { batch: found } = operator;
        for (let at = 0; at < found.rowCount && rows.length < enough; at += 1) {
          const physical = found.selection === undefined ? at : found.selection[at]!;
          rows.push(found.columns.map((vector) => datumAt(vector, physical)));
        }
        if (rows.length >= enough) break;
      }
      operator.close();
      this.#running = undefined;
      this.#spentSingly += budget.spent - before;
      answer = this.#answerOf(rows);
      if (this.#isKeyed) this.#answerOfNoRows = answer;
      this.#answers.set(key, answer);
      if (this.#answers.size > REMEMBERED_MAX)
        this.#answers.delete(this.#answers.keys().next().value!);
    }
    budget.charge(1);
    return this.#valueOf(answer, row, budget);
  }

  close(): void {
    this.#running?.operator.close();
    this.#collecting?.operator.close();
    this.#answers.clear();
    this.#byKey.clear();
  }

  /** Runs the subquery for all keys; false: the budget is used up, ask again. */
  #collect(budget: Budget): boolean {
    const { plan, outer } = this.#keyed!;
    const width = plan.columns.length - outer.length;
    this.#collecting ??= { operator: this.#build(plan, this.#environment), count: 0 };
    const { operator } = this.#collecting;
    try {
      for (;;) {
        const step = operator.next(budget);
        if (step === 'more') return false;
        if (step === 'done') break;
        const { batch: found } = operator;
        for (let at = 0; at < found.rowCount; at += 1) {
          const physical = found.selection === undefined ? at : found.selection[at]!;
          const row = found.columns.map((vector) => datumAt(vector, physical));
          const key = keyText(row.slice(width), outer);
          if (key === undefined) continue;
          const rows = this.#byKey.get(key);
          if (rows === undefined) this.#byKey.set(key, [row.slice(0, width)]);
          else rows.push(row.slice(0, width));
        }
        this.#collecting.count += found.rowCount;
        if (this.#collecting.count > KEYED_ROWS_MAX) return this.#giveUpKeys();
      }
    } catch (cause) {
      // A row that no outer row asks for may fail: asked singly it is not looked at.
      if (cause instanceof DbError && cause.code.startsWith('22')) return this.#giveUpKeys();
      throw cause;
    }
    operator.close();
    this.#collecting = undefined;
    this.#isKeyed = true;
    return true;
  }

  #giveUpKeys(): true {
    this.#collecting?.operator.close();
    this.#collecting = undefined;
    this.#byKey.clear();
    this.#keyed = undefined;
    return true;
  }

  /** undefined: what is true of no rows is not known yet; the row is asked singly. */
  #keyedAnswer(row: number): Answer | undefined {
    const { outer, answersEmpty } = this.#keyed!;
    const data = this.#outerKeyVectors.map((vector) => datumAt(vector, row));
    const key = keyText(data, outer);
    const rows = key === undefined ? undefined : this.#byKey.get(key);
    if (rows !== undefined) return this.#answerOf(rows);
    return answersEmpty ? this.#answerOfNoRows : this.#answerOf([]);
  }

  #answerOf(rows: Datum[][]): Answer {
    switch (this.#node.mode) {
      case 'exists':
        return { kind: 'value', value: rows.length > 0 !== this.#node.negated };
      case 'scalar':
        if (rows.length > 1)
          throw new DbError(
            '21000',
            'more than one row returned by a subquery used as an expression',
            { hint: 'Add LIMIT 1, or an aggregate.' },
          );
        return { kind: 'value', value: rows[0]?.[0] ?? null };
      default: {
        if (this.#node.mode !== 'in' || this.#args.length !== 1) return { kind: 'rows', rows };
        const { type } = this.#node.plan.columns[0]!;
        const values = new Set<string>();
        let hasNull = false;
        for (const [value] of rows) {
          if (value === null || value === undefined) hasNull = true;
          else values.add(canonicalText(value, type.kind));
        }
        return { kind: 'set', values, hasNull, type };
      }
    }
  }

  #valueOf(answer: Answer, row: number, budget: Budget): Datum {
    if (answer.kind === 'value') return answer.value;
    const args = this.#argVectors.map((vector) => datumAt(vector, row));
    if (answer.kind === 'set') {
      const [arg] = args;
      let found: boolean | null;
      if (answer.values.size === 0 && !answer.hasNull) found = false;
      else if (arg === null || arg === undefined) found = null;
      else
        found = answer.values.has(canonicalText(arg, answer.type.kind))
          ? true
          : answer.hasNull
            ? null
            : false;
      return found === null ? null : found !== this.#node.negated;
    }
    budget.charge(answer.rows.length);
    const any = this.#node.mode !== 'all';
    let result: boolean | null = !any;
    for (const values of answer.rows) {
      const outcome = this.#compareRow(args, values);
      if (outcome === any) {
        result = any;
        break;
      }
      if (outcome === null) result = null;
    }
    return result === null ? null : result !== this.#node.negated;
  }

  #compareRow(args: readonly Datum[], values: readonly Datum[]): boolean | null {
    const { columns } = this.#node.plan;
    if (args.length === 1) {
      if (args[0] === null || values[0] === null) return null;
      const def = functionById(this.#node.compare!);
      return def.evaluate([args[0]!, values[0]!], this.#environment.context, [
        columns[0]!.type,
        columns[0]!.type,
      ]) as boolean;
    }
    let result: boolean | null = true;
    for (const [index, arg] of args.entries()) {
      const value = values[index]!;
      if (arg === null || value === null) result = result === false ? false : null;
      else if (!equalDatums(arg, value, columns[index]!.type.kind)) result = false;
    }
    return result;
  }
}

/** Equal keys have one text; undefined: with a NULL nothing is equal. */
function keyText(data: readonly Datum[], outer: readonly Expression[]): string | undefined {
  let text = '';
  for (const [index, datum] of data.entries()) {
    if (datum === null) return undefined;
    const part = canonicalText(datum, outer[index]!.type.kind);
    text += `${part.length}:${part}`;
  }
  return text;
}

type Answer =
  | { readonly kind: 'value'; readonly value: Datum }
  | {
      readonly kind: 'set';
      readonly values: ReadonlySet<string>;
      readonly hasNull: boolean;
      readonly type: OutputColumn['type'];
    }
  | { readonly kind: 'rows'; readonly rows: readonly Datum[][] };

/** The columns of the row around it that a plan speaks of, in their order. */
export function outerColumnsOf(
  plan: PlanNode,
): { readonly index: number; readonly type: OutputColumn['type'] }[] {
  const outer = new Map<number, OutputColumn['type']>();
  mapPlanExpressions(plan, (expression, depth) => {
    rewrite(expression, (each) => {
      if (each.kind === 'outerColumn' && each.depth === depth + 1) outer.set(each.index, each.type);
      return each;
    });
    return expression;
  });
  return [...outer].sort(([a], [b]) => a - b).map(([index, type]) => ({ index, type }));
}

/** The plan with the outer row's values put in; rows further out were put in before. */
export function boundToRow(plan: PlanNode, batch: Batch, row: number): PlanNode {
  return mapPlanExpressions(plan, (expression, depth) =>
    rewrite(expression, (each): Expression => {
      if (each.kind !== 'outerColumn' || each.depth !== depth + 1) return each;
      const value = datumAt(batch.columns[each.index]!, row);
      return { kind: 'constant', type: each.type, value };
    }),
  );
}

/** Two rows share an answer only where their values look the same: a subquery may show the scale of a numeric. */
export function exactText(datum: Datum, type: OutputColumn['type']): string {
  if (datum === null) return '-';
  const text = datumToText(datum, type, { zone: 'UTC' });
  return `${text.length}:${text}`;
}
