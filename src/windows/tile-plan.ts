import { isNumberKind, type SqlType, type TypeKind } from '../columns/types.ts';
import { functionById } from '../expressions/catalog.ts';
import type { Expression } from '../expressions/expression.ts';
import {
  evaluateConstant,
  foldInContext,
  isImmutable,
  isSettledByZone,
  mapColumns,
  mapParts,
  referencedColumns,
  someNode,
  volatilityOf,
  withItems,
} from '../expressions/fold.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { AggregateCall } from '../plan/logical.ts';
import type { WindowPlan } from './window-source.ts';

/**
 * A question that tiles can answer: everything in it depends on a row alone. Expressions speak of the table's columns by their
 * number; parameters, and what `today` means, are constants.
 */
export type TilePlan = {
  readonly relation: number;
  /** The column whose time decides. */
  readonly time: number;
  /** All columns that are read, ascending. */
  readonly columnIndexes: readonly number[];
  /** Those that are read of a row whose time is known. */
  readonly valueColumns: readonly number[];
  readonly filter: Expression | undefined;
  readonly keys: readonly Expression[];
  readonly calls: readonly AggregateCall[];
  readonly zone: string;
  /** The same for the same rows and groups, whatever is computed of them. */
  readonly text: string;
  readonly callTexts: readonly string[];
  /** The same for the same question. */
  readonly whole: string;
};

/** Undefined where the answer cannot come from tiles. */
export function tilePlanOf(plan: WindowPlan, context: EvaluationContext): TilePlan | undefined {
  const { input, keys, calls } = plan;
  const time = timeColumnOf(plan.time);
  if (input.kind !== 'scan' || time === undefined) return undefined;
  const settle = (expression: Expression): Expression =>
    mapColumns(settledIn(expression, context), (column) => ({
      ...column,
      index: input.columnIndexes[column.index]!,
    }));
  if (!calls.every(isTileCall) || !keys.every(({ type }) => KEY_KINDS.has(type.kind)))
    return undefined;
  const filter = input.filter === undefined ? undefined : settle(input.filter);
  const ownKeys = keys.map(settle);
  if (calls.some(({ fn, args }) => fn === 'approx_percentile' && hasNoFraction(args[1]!, context)))
    return undefined;
  const ownCalls = calls.map((call) => ({
    ...call,
    args: call.args.map(settle),
    filter: call.filter === undefined ? undefined : settle(call.filter),
  }));
  const all = [
    ...(filter === undefined ? [] : [filter]),
    ...ownKeys,
    ...ownCalls.flatMap(({ args, filter: own }) => (own === undefined ? args : [...args, own])),
  ];
  if (!all.every(isOfTheRow)) return undefined;
  const timeColumn = input.columnIndexes[time.index]!;
  const text = [
    timeColumn,
    filter === undefined ? '' : expressionText(filter),
    ...ownKeys.map(expressionText),
    all.every(isImmutable) ? '' : context.zone,
  ].join('\n');
  const callTexts = ownCalls.map(callText);
  const values = new Set<number>();
  for (const expression of all) referencedColumns(expression, values);
  const columns = new Set([timeColumn, ...values]);
  return {
    relation: input.relation,
    time: timeColumn,
    columnIndexes: [...columns].sort((a, b) => a - b),
    valueColumns: [...values].sort((a, b) => a - b),
    filter,
    keys: ownKeys,
    calls: ownCalls,
    zone: context.zone,
    text,
    callTexts,
    whole: [text, ...callTexts].join('\n'),
  };
}

/** The column of a time that is its own value: of the wall of UTC, too. */
function timeColumnOf(time: Expression): Extract<Expression, { kind: 'column' }> | undefined {
  if (time.kind === 'column') return time;
  if (time.kind !== 'call' || functionById(time.fn).name !== 'timezone') return undefined;
  const [zone, wall] = time.args;
  const isUtc = zone?.kind === 'constant' && zone.value === 'UTC';
  return isUtc && wall?.kind === 'column' && wall.type.kind === 'timestamp' ? wall : undefined;
}

/** Times that tiles go by: instants, or a wall's, which is cut as if it were UTC's. */
export function isTileTime({ kind }: SqlType): boolean {
  return kind === 'timestamptz' || kind === 'timestamp';
}

/** An aggregate whose state fits a tile. */
export function isTileCall(call: AggregateCall): boolean {
  if (call.orderBy.length > 0) return false;
  if (call.distinct) return call.fn === 'count';
  const kind = call.args[0]?.type.kind;
  switch (call.fn) {
    case 'count':
    case 'approx_count_distinct':
      return true;
    case 'sum':
    case 'avg':
      return kind !== 'interval';
    case 'var_pop':
    case 'var_samp':
    case 'stddev_pop':
    case 'stddev_samp':
      return true;
    case 'min':
    case 'max':
      return kind === 'numeric' || isNumberKind(kind!);
    case 'approx_percentile': {
      const fraction = call.args[1]!;
      return (
        fraction.kind === 'parameter' || (fraction.kind === 'constant' && fraction.value !== null)
      );
    }
    default:
      return false;
  }
}

/** Types whose equal values look the same. */
const KEY_KINDS: ReadonlySet<TypeKind> = new Set<TypeKind>([
  'boolean',
  'int2',
  'int4',
  'int8',
  'float4',
  'float8',
  'text',
  'varchar',
  'date',
  'time',
  'timestamp',
  'timestamptz',
  'uuid',
]);

function hasNoFraction(fraction: Expression, { parameters }: EvaluationContext): boolean {
  return fraction.kind === 'parameter' && (parameters[fraction.index] ?? null) === null;
}

/** Parameters are constants, and so is what is the same for a statement in its zone. */
export function settledIn(expression: Expression, context: EvaluationContext): Expression {
  return foldInContext(withParameters(expression, context), context);
}

function withParameters(expression: Expression, context: EvaluationContext): Expression {
  if (expression.kind === 'parameter')
    return {
      kind: 'constant',
      type: expression.type,
      value: evaluateConstant(expression, context),
    };
  const whole = mapParts(expression, (part) => withParameters(part, context));
  return whole.kind === 'inList' || whole.kind === 'anyArray' ? withItems(whole, context) : whole;
}

/** Its value is the row's, whoever asks and whenever. */
export function isOfTheRow(expression: Expression): boolean {
  return isSettledByZone(expression) && !someNode(expression, isStableCast);
}

/** A cast of a text that may be `today`. */
function isStableCast(node: Expression): boolean {
  return node.kind === 'cast' && volatilityOf(node) === 'stable';
}

function callText(call: AggregateCall): string {
  const { fn, distinct, args, filter } = call;
  return `${fn}(${distinct ? 'distinct ' : ''}${args.map(expressionText).join()})${filter === undefined ? '' : expressionText(filter)}`;
}

/** The same text for expressions that mean the same, as far as a glance tells; never for different ones. */
export function expressionText(expression: Expression): string {
  return JSON.stringify(expression, (key, value: unknown) => {
    if (key === 'at' || key === 'name') return undefined;
    if (typeof value === 'bigint') return `${value}n`;
    if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0)))
      return `number ${Object.is(value, -0) ? '-0' : String(value)}`;
    return value;
  });
}
