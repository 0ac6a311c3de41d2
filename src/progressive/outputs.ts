import { DbError } from '../base/errors.ts';
import type { Expression } from '../expressions/expression.ts';
import { mapColumns, referencedColumns } from '../expressions/fold.ts';
import type { AggregateNode, PlanNode } from '../plan/logical.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { rangeOf } from './ranges.ts';
import { scaled, type Estimate } from './estimate.ts';
import type { Guarantee } from './confidence.ts';

/** An output column in terms of the aggregation's columns (keys, then calls); undefined where it cannot be said so. */
export function outputsOf(plan: PlanNode, aggregate: AggregateNode): readonly Expression[] {
  if (plan.id === aggregate.id)
    return plan.columns.map(({ name, type, nullable }, index) => ({
      kind: 'column',
      index,
      name,
      type,
      nullable,
    }));
  switch (plan.kind) {
    case 'project': {
      const input = outputsOf(plan.input, aggregate);
      return plan.expressions.map((expression) =>
        mapColumns(expression, (column) => input[column.index]!),
      );
    }
    case 'filter':
    case 'sort':
    case 'limit':
      return outputsOf(plan.input, aggregate);
    default:
      throw new DbError(
        'XX000',
        'only projections, filters, sorts and limits lie above the aggregation',
      );
  }
}

/** The plan above the aggregation with the number of the group as one more column at the end, up to the top. */
export function withGroupColumn(plan: PlanNode, aggregate: AggregateNode): PlanNode {
  const group = { name: 'group', type: { kind: 'float8' } as const, nullable: false };
  const columns = [...plan.columns, group];
  if (plan.id === aggregate.id) return { ...aggregate, columns };
  switch (plan.kind) {
    case 'project': {
      const input = withGroupColumn(plan.input, aggregate);
      return {
        ...plan,
        input,
        columns,
        expressions: [
          ...plan.expressions,
          { kind: 'column', index: input.columns.length - 1, ...group },
        ],
      };
    }
    case 'filter':
    case 'sort':
    case 'limit':
      return { ...plan, input: withGroupColumn(plan.input, aggregate), columns };
    default:
      throw new DbError(
        'XX000',
        'only projections, filters, sorts and limits lie above the aggregation',
      );
  }
}

/** Whether a column shows an aggregate, be it in a formula. */
export function isEstimated(output: Expression, keyCount: number): boolean {
  return [...referencedColumns(output)].some((index) => index >= keyCount);
}

/** A call in a formula that is multiplied by a number alone. */
export type ScaledCall = {
  readonly call: number;
  readonly factor: number;
  /** How far rounding to a scale may have moved it. */
  readonly slack: number;
};

/** What a formula is, if it is a call times a number; of casts between numbers, only those to a scale change what matters here. */
export function scaledCallOf(
  expression: Expression,
  keyCount: number,
  context: EvaluationContext,
): ScaledCall | undefined {
  const of = (part: Expression): ScaledCall | undefined => scaledCallOf(part, keyCount, context);
  switch (expression.kind) {
    case 'column':
      return expression.index >= keyCount
        ? { call: expression.index - keyCount, factor: 1, slack: 0 }
        : undefined;
    case 'cast': {
      if (!isNumeric(expression) || isInteger(expression)) return undefined;
      const { type } = expression;
      const inner = of(expression.arg);
      return inner === undefined || type.kind !== 'numeric' || type.scale === undefined
        ? inner
        : { ...inner, slack: inner.slack + 10 ** -type.scale / 2 };
    }
    case 'case':
      return withoutNull(expression) === undefined ? undefined : of(withoutNull(expression)!);
    case 'call': {
      const [left, right] = expression.args;
      if (nameOf(expression) !== '*' || left === undefined || right === undefined) return undefined;
      const constantLeft = constantOf(left, context);
      const constantRight = constantOf(right, context);
      const scaled = constantLeft === undefined ? of(left) : of(right);
      const factor = constantLeft ?? constantRight;
      return scaled === undefined || factor === undefined
        ? undefined
        : {
            call: scaled.call,
            factor: scaled.factor * factor,
            slack: scaled.slack * Math.abs(factor),
          };
    }
    default:
      return undefined;
  }
}

/** A quotient of two such. Quotients of integers are cut off and are none. */
export function quotientOf(
  expression: Expression,
  keyCount: number,
  context: EvaluationContext,
): { readonly over: ScaledCall; readonly under: ScaledCall } | undefined {
  if (expression.kind !== 'call' || nameOf(expression) !== '/' || isInteger(expression))
    return undefined;
  const [left, right] = expression.args;
  if (left === undefined || right === undefined) return undefined;
  const over = scaledCallOf(left, keyCount, context);
  const under = scaledCallOf(right, keyCount, context);
  return over === undefined || under === undefined || over.call === under.call || under.factor === 0
    ? undefined
    : { over, under };
}

/** NULLIF(x, …): x, where it is not NULL. */
function withoutNull(expression: Extract<Expression, { kind: 'case' }>): Expression | undefined {
  const [branch] = expression.branches;
  return expression.branches.length === 1 &&
    branch!.then.kind === 'constant' &&
    branch!.then.value === null
    ? expression.otherwise
    : undefined;
}

const nameOf = ({ fn }: { readonly fn: string }): string => fn.slice(0, fn.indexOf('('));

const NUMERIC = new Set(['int2', 'int4', 'int8', 'float4', 'float8', 'numeric']);
const INTEGER = new Set(['int2', 'int4', 'int8']);

export function isNumeric({ type }: { readonly type: Expression['type'] }): boolean {
  return NUMERIC.has(type.kind);
}

function isInteger({ type }: Expression): boolean {
  return INTEGER.has(type.kind);
}

function constantOf(expression: Expression, context: EvaluationContext): number | undefined {
  if (referencedColumns(expression).size > 0) return undefined;
  const range = rangeOf(expression, [], context);
  return range !== undefined && range.min === range.max ? range.min : undefined;
}

/** What a formula over aggregates is worth: interval arithmetic, quotients by their own track. */
export type Formula = {
  readonly expression: Expression;
  readonly keyCount: number;
  readonly context: EvaluationContext;
  call(index: number): Estimate;
  quotient(over: number, under: number): Estimate | undefined;
  /** Whether a call is known to have a value that is not NULL. */
  isSeen(index: number): boolean;
};

/** Undefined where the formula is beyond interval arithmetic. */
export function evaluateFormula(formula: Formula): Estimate | undefined {
  const { expression, keyCount, context } = formula;
  const of = (part: Expression): Estimate | undefined =>
    evaluateFormula({ ...formula, expression: part });
  switch (expression.kind) {
    case 'column':
      return expression.index < keyCount ? undefined : formula.call(expression.index - keyCount);
    case 'constant':
    case 'parameter': {
      const value = constantOf(expression, context);
      return value === undefined
        ? undefined
        : { estimate: value, lower: value, upper: value, guarantee: 'exact' };
    }
    case 'case': {
      const kept = withoutNull(expression);
      return kept === undefined ? undefined : of(kept);
    }
    case 'coalesce':
      return firstOf(expression.args, formula, of);
    case 'cast': {
      if (!isNumeric(expression) || !isNumeric(expression.arg)) return undefined;
      const value = of(expression.arg);
      if (value === undefined) return undefined;
      return isInteger(expression) && !isInteger(expression.arg)
        ? rounded(value, 1)
        : expression.type.kind === 'numeric' && expression.type.scale !== undefined
          ? rounded(value, 10 ** -expression.type.scale)
          : value;
    }
    case 'call':
      return ofCall(expression, formula, of);
    default:
      return undefined;
  }
}

/** COALESCE: the first, once that is not NULL; until then it may be any up to the first that is not. */
function firstOf(
  [first, ...others]: readonly Expression[],
  formula: Formula,
  of: (part: Expression) => Estimate | undefined,
): Estimate | undefined {
  const a = of(first!);
  if (a === undefined || others.length === 0) return a;
  if ([...referencedColumns(first!)].every((index) => formula.isSeen(index - formula.keyCount)))
    return a;
  const b = firstOf(others, formula, of);
  if (b === undefined) return undefined;
  return {
    estimate: b.estimate,
    lower: Math.min(a.lower, b.lower),
    upper: Math.max(a.upper, b.upper),
    guarantee: weaker(a.guarantee, b.guarantee),
  };
}

function ofCall(
  expression: Extract<Expression, { kind: 'call' }>,
  formula: Formula,
  of: (part: Expression) => Estimate | undefined,
): Estimate | undefined {
  const { keyCount, context } = formula;
  const name = nameOf(expression);
  if (!isNumeric(expression)) return undefined;
  const quotient = quotientOf(expression, keyCount, context);
  if (quotient !== undefined) {
    const ratio = formula.quotient(quotient.over.call, quotient.under.call);
    if (ratio !== undefined) {
      const { over, under } = quotient;
      const value = scaled(ratio, over.factor / under.factor);
      return over.slack === 0 && under.slack === 0
        ? value
        : blurred(value, quotient, scaled(formula.call(under.call), under.factor));
    }
  }
  const [left, right] = expression.args;
  const a = left === undefined ? undefined : of(left);
  if (a === undefined) return undefined;
  if (right === undefined)
    switch (name) {
      case '-':
        return scaled(a, -1);
      case '+':
        return a;
      case 'round':
      case 'floor':
      case 'ceil':
      case 'ceiling':
      case 'trunc':
        return rounded(a, name === 'round' ? 1 : 2);
      case 'sqrt':
        return {
          ...a,
          estimate: Math.sqrt(Math.max(0, a.estimate)),
          lower: Math.sqrt(Math.max(0, a.lower)),
          upper: Math.sqrt(Math.max(0, a.upper)),
        };
      default:
        return undefined;
    }
  if (name === 'round') {
    const digits = constantOf(right, context);
    return digits === undefined ? undefined : rounded(a, 10 ** -digits);
  }
  const b = of(right);
  if (b === undefined || expression.args.length > 2) return undefined;
  const guarantee = weaker(a.guarantee, b.guarantee);
  switch (name) {
    case '+':
      return {
        estimate: a.estimate + b.estimate,
        lower: a.lower + b.lower,
        upper: a.upper + b.upper,
        guarantee,
      };
    case '-':
      return {
        estimate: a.estimate - b.estimate,
        lower: a.lower - b.upper,
        upper: a.upper - b.lower,
        guarantee,
      };
    case '*':
      return { estimate: a.estimate * b.estimate, ...corners(a, b, (x, y) => x * y), guarantee };
    case '/': {
      const estimate = a.estimate / b.estimate;
      if (b.lower <= 0 && b.upper >= 0)
        return { estimate, lower: -Infinity, upper: Infinity, guarantee: 'none' };
      const value = { estimate, ...corners(a, b, (x, y) => x / y), guarantee };
      return isInteger(expression) ? rounded(value, 2) : value;
    }
    default:
      return undefined;
  }
}

/** A quotient whose terms were rounded: each may have moved by its slack, beside a denominator that is so large at least. */
function blurred(
  a: Estimate,
  { over, under }: { readonly over: ScaledCall; readonly under: ScaledCall },
  denominator: Estimate,
): Estimate {
  const least = Math.max(0, denominator.lower, -denominator.upper);
  if (!(least > under.slack))
    return { estimate: a.estimate, lower: -Infinity, upper: Infinity, guarantee: 'none' };
  const lower = a.lower - over.slack / least;
  const upper = a.upper + over.slack / least;
  const share = under.slack / least;
  return {
    estimate: a.estimate,
    lower: Math.min(lower / (1 - share), lower / (1 + share)),
    upper: Math.max(upper / (1 - share), upper / (1 + share)),
    guarantee: weaker(a.guarantee, denominator.guarantee),
  };
}

function corners(
  a: Estimate,
  b: Estimate,
  of: (x: number, y: number) => number,
): { lower: number; upper: number } {
  const values = [
    of(a.lower, b.lower),
    of(a.lower, b.upper),
    of(a.upper, b.lower),
    of(a.upper, b.upper),
  ];
  if (values.some(Number.isNaN)) return { lower: -Infinity, upper: Infinity };
  return { lower: Math.min(...values), upper: Math.max(...values) };
}

/** Rounding moves each side by half a unit at most, both towards one another or apart. */
function rounded(a: Estimate, unit: number): Estimate {
  return { ...a, lower: a.lower - unit / 2, upper: a.upper + unit / 2 };
}

/** From nothing on. */
export const RANK: readonly Guarantee[] = ['none', 'asymptotic', 'rigorous', 'exact'];

function weaker(a: Guarantee, b: Guarantee): Guarantee {
  return RANK.indexOf(a) < RANK.indexOf(b) ? a : b;
}
