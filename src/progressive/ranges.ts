import type { Range } from '../columns/table-contract.ts';
import { Decimal, type Datum } from '../columns/values.ts';
import { toDouble } from '../expressions/decimal-arithmetic.ts';
import type { Expression } from '../expressions/expression.ts';
import { evaluateConstant } from '../expressions/fold.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { PlanNode, ScanNode } from '../plan/logical.ts';

/** What bounds a column of a plan's output; undefined: nothing does. An empty range (min > max): no value is present. */
export type ColumnRanges = readonly (Range | undefined)[];

export const NO_RANGE: Range = { min: Infinity, max: -Infinity };

/** Bounds of a plan's output columns, from those of the relations it scans. */
export function rangesOf(
  plan: PlanNode,
  scanRanges: (scan: ScanNode) => ColumnRanges,
  context: EvaluationContext,
): ColumnRanges {
  const below = (input: PlanNode): ColumnRanges => rangesOf(input, scanRanges, context);
  switch (plan.kind) {
    case 'scan':
      return scanRanges(plan);
    case 'filter':
      return below(plan.input);
    case 'project': {
      const input = below(plan.input);
      return plan.expressions.map((expression) => rangeOf(expression, input, context));
    }
    case 'join': {
      const left = below(plan.left);
      return plan.type === 'semi' || plan.type === 'anti' ? left : [...left, ...below(plan.right)];
    }
    default:
      return plan.columns.map(() => undefined);
  }
}

/** Bounds of the present values of an expression: interval arithmetic, widened where values are rounded. */
export function rangeOf(
  expression: Expression,
  columns: ColumnRanges,
  context: EvaluationContext,
): Range | undefined {
  const of = (part: Expression): Range | undefined => rangeOf(part, columns, context);
  switch (expression.kind) {
    case 'column':
      return columns[expression.index];
    case 'constant':
      return rangeOfDatum(expression.value);
    case 'parameter':
      return rangeOfDatum(evaluateConstant(expression, context));
    case 'case':
      return union([...expression.branches.map(({ then }) => of(then)), of(expression.otherwise)]);
    case 'coalesce':
      return union(expression.args.map(of));
    case 'cast': {
      const range = of(expression.arg);
      return range === undefined ? undefined : roundedTo(range, expression);
    }
    case 'call': {
      const args = expression.args.map(of);
      if (args.some((each) => each === undefined)) return undefined;
      if (args.some((each) => each!.min > each!.max)) return NO_RANGE;
      const isWhole = WHOLE.has(expression.type.kind);
      return ofCall(expression.fn.slice(0, expression.fn.indexOf('(')), args as Range[], isWhole);
    }
    default:
      return undefined;
  }
}

const WHOLE = new Set(['int2', 'int4', 'int8']);

function ofCall(name: string, args: readonly Range[], isWhole: boolean): Range | undefined {
  const [a, b] = args;
  if (a === undefined) return undefined;
  if (b === undefined)
    switch (name) {
      case '-':
        return { min: -a.max, max: -a.min };
      case '+':
        return a;
      case 'abs':
      case '@':
        return {
          min: a.min > 0 ? a.min : a.max < 0 ? -a.max : 0,
          max: Math.max(Math.abs(a.min), Math.abs(a.max)),
        };
      case 'sqrt':
        return a.min < 0 ? undefined : { min: Math.sqrt(a.min), max: Math.sqrt(a.max) };
      case 'floor':
      case 'ceil':
      case 'ceiling':
      case 'round':
      case 'trunc':
        return { min: a.min - 1, max: a.max + 1 };
      default:
        return undefined;
    }
  if (args.length > 2 && name !== 'greatest' && name !== 'least') return undefined;
  switch (name) {
    case '+':
      return { min: a.min + b.min, max: a.max + b.max };
    case '-':
      return { min: a.min - b.max, max: a.max - b.min };
    case '*':
      return hull([a.min * b.min, a.min * b.max, a.max * b.min, a.max * b.max]);
    case '/': {
      if (b.min <= 0 && b.max >= 0) return undefined;
      const range = hull([a.min / b.min, a.min / b.max, a.max / b.min, a.max / b.max]);
      return isWhole && range !== undefined ? { min: range.min - 1, max: range.max + 1 } : range;
    }
    case 'round':
    case 'trunc':
      return { min: a.min - 1, max: a.max + 1 };
    default:
      return undefined;
  }
}

function hull(values: readonly number[]): Range | undefined {
  // 0 times infinity.
  if (values.some(Number.isNaN)) return undefined;
  return { min: Math.min(...values), max: Math.max(...values) };
}

function union(ranges: readonly (Range | undefined)[]): Range | undefined {
  let min = Infinity;
  let max = -Infinity;
  for (const range of ranges) {
    if (range === undefined) return undefined;
    min = Math.min(min, range.min);
    max = Math.max(max, range.max);
  }
  return { min, max };
}

function roundedTo(
  range: Range,
  { type }: Extract<Expression, { kind: 'cast' }>,
): Range | undefined {
  switch (type.kind) {
    case 'int2':
    case 'int4':
    case 'int8':
      return { min: range.min - 0.5, max: range.max + 0.5 };
    case 'float8':
      return range;
    case 'float4':
      return widenedBy(range, 1e-6, 0);
    case 'numeric':
      return widenedBy(range, 1e-12, type.scale === undefined ? 0 : 10 ** -type.scale);
    default:
      return undefined;
  }
}

function widenedBy(range: Range, relative: number, absolute: number): Range {
  const by = Math.max(Math.abs(range.min), Math.abs(range.max)) * relative + absolute;
  return { min: range.min - by, max: range.max + by };
}

function rangeOfDatum(value: Datum): Range | undefined {
  if (value === null) return NO_RANGE;
  const number = numberOf(value);
  return number === undefined || Number.isNaN(number) ? undefined : { min: number, max: number };
}

export function numberOf(value: Datum): number | undefined {
  if (typeof value === 'number') return value;
  if (typeof value === 'bigint') return Number(value);
  return value instanceof Decimal ? toDouble(value) : undefined;
}
