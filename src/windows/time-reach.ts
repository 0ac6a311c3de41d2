import type { TimeStretch } from '../columns/table-contract.ts';
import { functionById, resolveOperator } from '../expressions/catalog.ts';
import type { Expression } from '../expressions/expression.ts';
import {
  evaluateConstant,
  isVolatile,
  partsOf,
  referencedColumns,
  someNode,
} from '../expressions/fold.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { interpret } from '../expressions/interpret.ts';
import { zoneTestsOf } from '../operators/sources.ts';
import { constant } from '../plan/nodes.ts';
import { metBetween, stretchOf, type TimeEnds, type TimesMet } from './time-ends.ts';
import { changesOf, isMonotone, type Search } from './time-functions.ts';

/** Times that conditions let through. */
export type TimeReach = {
  /** Ascending, none of them empty; one that ends at ∞ has that, too. */
  readonly stretches: readonly TimeStretch[];
  /** Rows that have no time are in it. */
  readonly isTimeless: boolean;
};

export const ALL_ROWS: TimeReach = {
  stretches: [{ from: -Infinity, to: Infinity }],
  isTimeless: true,
};
export const NO_TIMES: TimeReach = { stretches: [], isTimeless: true };
/** −∞ alone, and ∞ alone. */
const PAST: TimeStretch = { from: -Infinity, to: -Number.MAX_VALUE };
const FUTURE: TimeStretch = { from: Number.MAX_VALUE, to: Infinity };

/**
 * Whether a condition is about a row's time alone, and holds for a few stretches of it: comparisons of monotone functions with what holds
 * no column, and what AND, OR and NOT make of them.
 */
export function isOfTime(condition: Expression, column: number): boolean {
  switch (condition.kind) {
    case 'and':
    case 'or':
    case 'not':
      return partsOf(condition).every((part) => isOfTime(part, column));
    case 'isNull':
    case 'isNotNull':
      return isMonotone(condition.arg, column) && isSettled(condition);
    case 'inList':
      return (
        condition.args.length === 1 &&
        condition.array === undefined &&
        isMonotone(condition.args[0]!, column) &&
        isSettled(condition)
      );
    case 'call':
      return (
        isSettled(condition) && (isFree(condition) || comparedOf(condition, column) !== undefined)
      );
    default:
      return isFree(condition) && isSettled(condition);
  }
}

function isFree(expression: Expression): boolean {
  return referencedColumns(expression).size === 0;
}

function isSettled(expression: Expression): boolean {
  return (
    !isVolatile(expression) &&
    !someNode(expression, ({ kind }) => kind === 'subquery' || kind === 'outerColumn')
  );
}

/** What a comparison compares: a function of time, and something that holds no column. */
function comparedOf(
  condition: Expression,
  column: number,
): { readonly own: Expression; readonly other: Expression } | undefined {
  if (condition.kind !== 'call' || condition.args.length !== 2) return undefined;
  if (!COMPARISONS.has(functionById(condition.fn).name)) return undefined;
  const [left, right] = condition.args as [Expression, Expression];
  if (isFree(right) && isMonotone(left, column)) return { own: left, other: right };
  return isFree(left) && isMonotone(right, column) ? { own: right, other: left } : undefined;
}

const COMPARISONS = new Set(['=', '<>', '<', '<=', '>', '>=']);

/**
 * What conditions, each `isOfTime`, let through of the times that there are, found in steps: what they compare is halved until it is known where it
 * changes. Undefined where the search would take more than it may, or times are beyond those that tiles have.
 */
export function* timeReach(
  conditions: readonly Expression[],
  column: number,
  context: EvaluationContext,
  met: TimesMet | TimeEnds,
  search: Search,
): Generator<void, TimeReach | undefined> {
  const own = Array.from({ length: column + 1 }, (_, index) => index);
  const bounds = stretchOf(
    conditions.flatMap((each) => zoneTestsOf(each, own, context)),
    column,
  );
  const isMet = (time: number | null): boolean =>
    conditions.every((each) => interpret(each, () => time, context) === true);
  const found = Number.isSafeInteger(bounds.to - bounds.from)
    ? metBetween(bounds)
    : typeof met === 'function'
      ? yield* met(search.budget, !isMet(null))
      : met;
  const { from, to } = found;
  const stretches: TimeStretch[] = [];
  if (found.hasPast && isMet(-Infinity)) stretches.push(PAST);
  if (from < to) {
    if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to)) return undefined;
    const cuts = yield* cutsOf(conditions, column, context, { from, to }, search);
    if (cuts === undefined) return undefined;
    for (const [index, start] of cuts.entries()) {
      if (!isMet(start)) continue;
      const end = cuts[index + 1] ?? to;
      const last = stretches.at(-1);
      if (last?.to === start) stretches[stretches.length - 1] = { from: last.from, to: end };
      else stretches.push({ from: start, to: end });
    }
  }
  if (found.hasFuture && isMet(Infinity)) stretches.push(FUTURE);
  return { stretches, isTimeless: found.hasNulls && isMet(null) };
}

/** Where some comparison may change, ascending; the first is `from`. */
function* cutsOf(
  conditions: readonly Expression[],
  column: number,
  context: EvaluationContext,
  { from, to }: TimeStretch,
  search: Search,
): Generator<void, number[] | undefined> {
  const cuts = new Set([from]);
  for (const { own, other } of conditions.flatMap((each) => comparisonsIn(each, column))) {
    const value = evaluateConstant(other, context);
    if (value === null) continue;
    if (own.kind === 'column' && own.type.kind === other.type.kind) {
      for (const cut of [Number(value), Number(value) + 1])
        if (cut > from && cut < to) cuts.add(cut);
      continue;
    }
    const against = constant(value, other.type);
    for (const name of ['<', '<=']) {
      const probe = resolveOperator(name, own, against);
      const changes = yield* changesOf(
        probe,
        (datum) => (datum === true ? 1 : 0),
        context,
        from,
        to,
        search,
      );
      if (changes === undefined) return undefined;
      for (const start of changes.starts) cuts.add(start);
    }
  }
  return [...cuts].sort((a, b) => a - b);
}

function comparisonsIn(
  condition: Expression,
  column: number,
): { readonly own: Expression; readonly other: Expression }[] {
  const compared = comparedOf(condition, column);
  if (compared !== undefined) return [compared];
  if (condition.kind === 'inList') {
    const [own] = condition.args as [Expression];
    return [...condition.values.map((value) => constant(value, own.type)), ...condition.others].map(
      (other) => ({ own, other }),
    );
  }
  return partsOf(condition).flatMap((part) => comparisonsIn(part, column));
}
