import { DbError, notSupported, type TextPlace } from '../base/errors.ts';
import {
  BOOLEAN,
  BYTEA,
  hasDate,
  INT4,
  INT8,
  isIntegerType,
  isTextType,
  NULL_TYPE,
  NUMERIC,
  TEXT,
  typeName,
  UNKNOWN,
  type SqlType,
} from '../columns/types.ts';
import { Decimal, normalInteger } from '../columns/values.ts';
import type { ParameterType } from '../expressions/arrays.ts';
import { isAggregateName, resolveAggregate } from '../expressions/aggregates.ts';
import {
  comparisonOf,
  hasFunction,
  resolveFunction,
  resolveOperator,
} from '../expressions/catalog.ts';
import { coerce, commonType, haveCommonType, isWidening } from '../expressions/coercion.ts';
import { decimal } from '../expressions/decimal-arithmetic.ts';
import type { ConstantExpression, Expression } from '../expressions/expression.ts';
import {
  expressionEquals,
  foldConstants,
  isSettled,
  isVolatile,
  referencedColumns,
  someNode,
} from '../expressions/fold.ts';
import { nearestOf } from '../base/nearest.ts';
import { decimalFromText } from '../expressions/text-io.ts';
import { hintOfAbsent, isKnownElsewhere } from '../expressions/known-elsewhere.ts';
import { typeCalledLike, typeOfName } from '../expressions/type-names.ts';
import type { Query, SqlExpression } from '../sql/ast.ts';
import {
  arrayThere,
  bindArray,
  compareWithParameter,
  comparedType,
  withoutCasts,
} from './bind-array.ts';
import type { PlanCatalog } from './catalog.ts';
import type { AggregateCalls } from './aggregate-calls.ts';
import type { AggregateCall, ApplyNode, PlanNode, SortKey } from './logical.ts';
import { constant, mapPlanExpressions, planIsVolatile, projected, rewrite } from './nodes.ts';
import { resolveColumn, type Scope } from './scope.ts';
import { SERIES_INDEX_BASE, seriesOf, type SeriesCall } from './series.ts';

/** What binding a statement gathers. */
export type BindContext = {
  readonly catalog: PlanCatalog;
  readonly parameterTypes: (ParameterType | undefined)[];
  nextCte: number;
  /** Of each list of subqueries, by what one looks like, its place in it: hundreds are not held against each other. */
  readonly subqueryPlaces: WeakMap<readonly BoundSubquery[], Map<string, number>>;
  /** Binds a subquery in the scope of the query around it. */
  readonly bindSubquery: (query: Query, outer: Scope) => PlanNode;
  /** Names of views being expanded: a view cannot read itself. */
  readonly expanding: readonly number[];
};

export type BoundSubquery = ApplyNode['subqueries'][number];

/** Where an expression stands. */
export type Place = {
  readonly context: BindContext;
  readonly scope: Scope;
  /** Says where in errors: WHERE, GROUP BY, … */
  readonly clause: string;
  /** Aggregate calls of this level are gathered here; undefined: they are refused. */
  readonly aggregates: AggregateCalls | undefined;
  /** Subqueries are gathered here; undefined: they are refused. */
  readonly subqueries: BoundSubquery[] | undefined;
  /** Calls of generate_series in the select list; undefined elsewhere: they are refused. */
  readonly series?: SeriesCall[] | undefined;
};

/** Column indexes from here on name aggregate calls, until grouping puts them behind the keys. */
export const AGGREGATE_INDEX_BASE = 1_000_000;

export function bindExpression(expression: SqlExpression, place: Place): Expression {
  const bind = (part: SqlExpression): Expression => bindExpression(part, place);
  const { at } = expression;
  switch (expression.kind) {
    case 'column':
      return resolveColumn(place.scope, expression.parts, at);
    case 'null':
      return constant(null, NULL_TYPE);
    case 'boolean':
      return constant(expression.value, BOOLEAN);
    case 'number':
      return numberLiteral(expression.text, at);
    case 'string':
      return constant(expression.value, UNKNOWN);
    case 'bitString':
      return bitString(expression.value, at);
    case 'parameter': {
      const type = place.context.parameterTypes[expression.index];
      if (type?.kind === 'array')
        throw notSupported(
          'an array here',
          `An array is compared with by ANY or ALL: x = ANY ($${expression.index + 1}).`,
          at,
        );
      place.context.parameterTypes[expression.index] = type;
      return { kind: 'parameter', index: expression.index, type: type ?? UNKNOWN };
    }
    case 'unary': {
      const arg = bind(expression.arg);
      if (expression.operator === '-' && arg.kind === 'constant') return negated(arg, at);
      if (expression.operator === '+') return arg;
      return resolveOperator(expression.operator, undefined, arg, at);
    }
    case 'binary':
      return binary(expression.operator, expression.left, expression.right, place, at);
    case 'and':
    case 'or':
      return {
        kind: expression.kind,
        args: expression.args.map((arg) =>
          condition(bind(arg), expression.kind.toUpperCase(), arg.at),
        ),
        type: BOOLEAN,
      };
    case 'not':
      return { kind: 'not', arg: condition(bind(expression.arg), 'NOT', at), type: BOOLEAN };
    case 'isNull':
    case 'isNotNull': {
      if (expression.arg.kind === 'row') {
        const tests = expression.arg.items.map((item): Expression => ({
          kind: expression.kind,
          arg: settled(bind(item)),
          type: BOOLEAN,
        }));
        return { kind: 'and', args: tests, type: BOOLEAN };
      }
      const arg = arrayTested(expression.arg, place) ?? settled(bind(expression.arg));
      return { kind: expression.kind, arg, type: BOOLEAN };
    }
    case 'isBoolean': {
      const arg = condition(bind(expression.arg), 'IS', at);
      switch (expression.test) {
        case 'unknown':
          return { kind: 'isNull', arg, type: BOOLEAN };
        case 'notUnknown':
          return { kind: 'isNotNull', arg, type: BOOLEAN };
        case 'true':
          return { kind: 'coalesce', args: [arg, constant(false, BOOLEAN)], type: BOOLEAN };
        case 'notFalse':
          return { kind: 'coalesce', args: [arg, constant(true, BOOLEAN)], type: BOOLEAN };
        case 'false':
          return {
            kind: 'not',
            arg: { kind: 'coalesce', args: [arg, constant(true, BOOLEAN)], type: BOOLEAN },
            type: BOOLEAN,
          };
        case 'notTrue':
          return {
            kind: 'not',
            arg: { kind: 'coalesce', args: [arg, constant(false, BOOLEAN)], type: BOOLEAN },
            type: BOOLEAN,
          };
      }
    }
    // eslint-disable-next-line no-fallthrough -- Every test above returns.
    case 'isDistinct':
      return distinctFrom(expression.left, expression.right, expression.negated, place, at);
    case 'between':
      return between(expression, place);
    case 'like':
      return like(expression, place);
    case 'inList':
      return inList(expression, place);
    case 'anyArray':
      return anyArray(expression, place);
    case 'case':
      return caseOf(expression, place);
    case 'coalesce': {
      const args = unify(expression.args.map(bind), 'COALESCE', at);
      return { kind: 'coalesce', args, type: args[0]!.type };
    }
    case 'greatest':
    case 'least':
      return extreme(
        expression.kind,
        unify(expression.args.map(bind), expression.kind.toUpperCase(), at),
        at,
      );
    case 'nullIf': {
      const left = bind(expression.left);
      const equal = resolveOperator('=', left, bind(expression.right), at);
      // As PostgreSQL: the value as the comparison takes it; it has comparisons of a date with a timestamp.
      const kept = hasDate(left.type) ? left : (equal.args[0] ?? settled(left));
      if (!mayBeRepeated(kept)) {
        const both = unify(equal.args, 'NULLIF', at);
        return coerce(resolveFunction('nullif', both, at), kept.type, 'explicit', at);
      }
      return {
        kind: 'case',
        branches: [{ when: equal, then: constant(null, kept.type) }],
        otherwise: kept,
        type: kept.type,
      };
    }
    case 'cast': {
      const type = typeOfName(expression.type, expression.type.at ?? at);
      return foldConstants(coerce(bind(expression.arg), type, 'explicit', at));
    }
    case 'call':
      return call(expression, place);
    case 'sqlValue':
      return sqlValue(expression.name, expression.precision, at);
    case 'subquery': {
      if (expression.mode === 'array') throw notSupported('ARRAY(subquery)', undefined, at);
      return subquery(place, expression.query, at, (plan) => {
        if (expression.mode === 'exists')
          return { mode: 'exists', plan, args: [], negated: false, type: BOOLEAN };
        assertColumns(plan, 1, at);
        return { mode: 'scalar', plan, args: [], negated: false, type: plan.columns[0]!.type };
      });
    }
    case 'quantified':
      return quantified(expression, place);
    case 'row':
      throw notSupported(
        'a row value here',
        'Compare rows with = or IN, or name the columns one by one.',
        at,
      );
    case 'array':
    case 'subscript':
      throw notSupported('an array', 'Keep the items as rows of a table.', at);
    case 'field':
      throw notSupported('a field of a composite value', undefined, at);
    case 'collate': {
      const collation = expression.collation.toLowerCase();
      if (
        collation !== 'c' &&
        collation !== 'posix' &&
        collation !== 'default' &&
        collation !== 'ucs_basic'
      ) {
        throw notSupported(
          `collation "${expression.collation}"`,
          'Text compares by UTF-8 bytes: COLLATE "C".',
          at,
        );
      }
      const arg = settled(bind(expression.arg));
      if (!isTextType(arg.type))
        throw new DbError('42804', `collations are not supported by type ${typeName(arg.type)}`, {
          at,
        });
      return arg;
    }
    case 'atTimeZone':
      return resolveFunction('timezone', [bind(expression.zone), bind(expression.arg)], at);
    case 'grouping':
      throw notSupported('GROUPING()', undefined, at);
    case 'unsupported':
      throw notSupported(expression.what, undefined, at);
  }
}

/** A boolean, or 42804 naming where it stands. */
export function condition(
  expression: Expression,
  clause: string,
  at: TextPlace | undefined,
): Expression {
  if (expression.type.kind === 'boolean') return expression;
  if (expression.type.kind === 'unknown' || expression.type.kind === 'null')
    return coerce(expression, BOOLEAN, 'implicit', at);
  throw new DbError(
    '42804',
    `argument of ${clause} must be type boolean, not type ${typeName(expression.type)}`,
    { at },
  );
}

/** Bare text and NULL become text where nothing else has decided. */
export function settled(expression: Expression): Expression {
  return expression.type.kind === 'unknown' || expression.type.kind === 'null'
    ? coerce(expression, TEXT, 'implicit')
    : expression;
}

/** As the value of a column: whatever assignment converts, else 42804 naming the column. */
export function assigned(
  expression: Expression,
  type: SqlType,
  name: string,
  at: TextPlace | undefined,
): Expression {
  try {
    return coerce(expression, type, 'assignment', at);
  } catch (cause) {
    if (!(cause instanceof DbError) || (cause.code !== '42804' && cause.code !== '42846'))
      throw cause;
    throw new DbError(
      '42804',
      `column "${name}" is of type ${typeName(type)} but expression is of type ${typeName(expression.type)}`,
      { at, column: name, hint: 'You will need to rewrite or cast the expression.' },
    );
  }
}

export function unify(
  expressions: readonly Expression[],
  what: string,
  at: TextPlace | undefined,
): Expression[] {
  const type = commonType(
    expressions.map((each) => each.type),
    what,
    at,
  );
  return expressions.map((each) => coerce(each, type, 'implicit', at));
}

// ── Literals ───────────────────────────────────────────────────────────────────────────────────────────────────

/** A literal as it stands in a row of an INSERT (LiteralRows); `quoted` was a text. */
export function literal(text: string, quoted: boolean): Expression {
  if (quoted) return constant(text, UNKNOWN);
  return /^[tf]/i.test(text) ? constant(/^t/i.test(text), BOOLEAN) : numberLiteral(text, undefined);
}

function numberLiteral(text: string, at: TextPlace | undefined): Expression {
  const plain = text.replaceAll('_', '');
  // The grammar has folded a sign into the literal already.
  if (/^-?(\d+|0[xob][\da-f]+)$/i.test(plain)) {
    const value = plain.startsWith('-') ? -BigInt(plain.slice(1)) : BigInt(plain);
    if (value >= -2_147_483_648n && value <= 2_147_483_647n) return constant(Number(value), INT4);
    if (value >= -9_223_372_036_854_775_808n && value <= 9_223_372_036_854_775_807n)
      return constant(normalInteger(value), INT8);
    return constant(decimal(value, 0), NUMERIC);
  }
  try {
    return constant(decimalFromText(plain), NUMERIC);
  } catch (cause) {
    throw cause instanceof DbError
      ? new DbError(cause.code, cause.message, { at, hint: cause.hint })
      : cause;
  }
}

/** −9223372036854775808 is an int8 although its digits alone are not. */
function negated(
  arg: Extract<Expression, { kind: 'constant' }>,
  at: TextPlace | undefined,
): Expression {
  const { value, type } = arg;
  if (value instanceof Decimal && value.special === undefined) {
    if (value.scale === 0 && value.coefficient === 9_223_372_036_854_775_808n)
      return constant(-9_223_372_036_854_775_808n, INT8);
    return constant(new Decimal(-value.coefficient, value.scale), NUMERIC);
  }
  if (type.kind === 'int4' && typeof value === 'number')
    return constant(value === 0 ? 0 : -value, INT4);
  if (type.kind === 'int8' && typeof value === 'number')
    return value === 2_147_483_648 ? constant(-2_147_483_648, INT4) : constant(-value, INT8);
  if (type.kind === 'int8' && typeof value === 'bigint')
    return constant(normalInteger(-value), INT8);
  return resolveOperator('-', undefined, arg, at);
}

/** X'1F' of an even number of digits is taken as bytea here, since there are no bit strings. */
function bitString(value: string, at: TextPlace | undefined): Expression {
  throw notSupported(
    `bit string ${value.startsWith('x') ? 'X' : 'B'}'…'`,
    `Write bytea as '\\x…'::${typeName(BYTEA)}.`,
    at,
  );
}

function sqlValue(
  name: string,
  precision: number | undefined,
  at: TextPlace | undefined,
): Expression {
  if (name === 'current_time')
    throw notSupported(name, 'Write localtime: there is no time of day with a zone.', at);
  if (precision !== undefined) {
    const value = resolveFunction(name, [], at);
    return coerce(value, { ...value.type, precision } as SqlType, 'implicit', at);
  }
  switch (name) {
    case 'current_user':
    case 'session_user':
    case 'user':
    case 'current_role':
      return resolveFunction(
        'current_setting',
        [constant('adb.user', TEXT), constant(true, BOOLEAN)],
        at,
      );
    case 'current_catalog':
      return resolveFunction('current_setting', [constant('adb.tenant', TEXT)], at);
    case 'current_schema':
      return constant('public', TEXT);
    default:
      return resolveFunction(name, [], at);
  }
}

// ── Operators ──────────────────────────────────────────────────────────────────────────────────────────────────

function binary(
  operator: string,
  left: SqlExpression,
  right: SqlExpression,
  place: Place,
  at: TextPlace | undefined,
): Expression {
  if (left.kind === 'row' || right.kind === 'row') return rows(operator, left, right, place, at);
  return resolveOperator(operator, bindExpression(left, place), bindExpression(right, place), at);
}

/** (a, b) = (c, d) and its kin; < and > compare from the left. */
function rows(
  operator: string,
  left: SqlExpression,
  right: SqlExpression,
  place: Place,
  at: TextPlace | undefined,
): Expression {
  if (left.kind !== 'row' || right.kind !== 'row')
    throw notSupported('comparing a row with a single value', undefined, at);
  if (left.items.length !== right.items.length)
    throw new DbError('42601', 'unequal number of entries in row expressions', { at });
  const pairs = left.items.map((item, index) => ({
    left: bindExpression(item, place),
    right: bindExpression(right.items[index]!, place),
  }));
  return compareRows(operator, pairs, at);
}

function compareRows(
  operator: string,
  pairs: readonly { readonly left: Expression; readonly right: Expression }[],
  at: TextPlace | undefined,
): Expression {
  const each = (symbol: string): Expression[] =>
    pairs.map(({ left, right }) => resolveOperator(symbol, left, right, at));
  switch (operator) {
    case '=':
      return { kind: 'and', args: each('='), type: BOOLEAN };
    case '<>':
    case '!=':
      return { kind: 'or', args: each('<>'), type: BOOLEAN };
    case '<':
    case '<=':
    case '>':
    case '>=': {
      const strict = operator[0]!;
      return pairs.reduceRight<Expression | undefined>((rest, { left, right }) => {
        if (rest === undefined) return resolveOperator(operator, left, right, at);
        return {
          kind: 'or',
          args: [
            resolveOperator(strict, left, right, at),
            { kind: 'and', args: [resolveOperator('=', left, right, at), rest], type: BOOLEAN },
          ],
          type: BOOLEAN,
        };
      }, undefined)!;
    }
    default:
      throw notSupported(`operator ${operator} between rows`, undefined, at);
  }
}

function distinctFrom(
  left: SqlExpression,
  right: SqlExpression,
  isNot: boolean,
  place: Place,
  at: TextPlace | undefined,
): Expression {
  if (left.kind === 'row' && right.kind === 'row' && left.items.length === right.items.length) {
    const args = left.items.map((item, index) =>
      distinctFrom(item, right.items[index]!, isNot, place, at),
    );
    return { kind: isNot ? 'and' : 'or', args, type: BOOLEAN };
  }
  const equal = resolveOperator('=', bindExpression(left, place), bindExpression(right, place), at);
  const [a, b] = equal.args as [Expression, Expression];
  const bothNull: Expression = {
    kind: 'and',
    args: [
      { kind: 'isNull', arg: a, type: BOOLEAN },
      { kind: 'isNull', arg: b, type: BOOLEAN },
    ],
    type: BOOLEAN,
  };
  const same: Expression = { kind: 'coalesce', args: [equal, bothNull], type: BOOLEAN };
  return isNot ? same : { kind: 'not', arg: same, type: BOOLEAN };
}

function between(
  expression: Extract<SqlExpression, { kind: 'between' }>,
  place: Place,
): Expression {
  const { at } = expression;
  const arg = bindExpression(expression.arg, place);
  const low = bindExpression(expression.low, place);
  const high = bindExpression(expression.high, place);
  const within = (from: Expression, to: Expression): Expression => ({
    kind: 'and',
    args: [resolveOperator('>=', arg, from, at), resolveOperator('<=', arg, to, at)],
    type: BOOLEAN,
  });
  const inside: Expression = expression.symmetric
    ? { kind: 'or', args: [within(low, high), within(high, low)], type: BOOLEAN }
    : within(low, high);
  return expression.negated ? { kind: 'not', arg: inside, type: BOOLEAN } : inside;
}

function like(expression: Extract<SqlExpression, { kind: 'like' }>, place: Place): Expression {
  const { at } = expression;
  const arg = bindExpression(expression.arg, place);
  let pattern = bindExpression(expression.pattern, place);
  const escape =
    expression.escape === undefined ? undefined : bindExpression(expression.escape, place);
  if (expression.similar) {
    const regex = resolveFunction(
      'similar_to_escape',
      escape === undefined ? [pattern] : [pattern, escape],
      at,
    );
    return resolveOperator(expression.negated ? '!~' : '~', arg, regex, at);
  }
  if (escape !== undefined) pattern = resolveFunction('like_escape', [pattern, escape], at);
  return resolveOperator(
    `${expression.negated ? '!' : ''}~~${expression.caseInsensitive ? '*' : ''}`,
    arg,
    pattern,
    at,
  );
}

function inList(expression: Extract<SqlExpression, { kind: 'inList' }>, place: Place): Expression {
  const { at, negated } = expression;
  if (expression.arg.kind === 'row') {
    const any = expression.values.map((value) => rows('=', expression.arg, value, place, at));
    const tests = any.length === 1 ? any : rowLists(any);
    const found: Expression =
      tests.length === 1 ? tests[0]! : { kind: 'or', args: tests, type: BOOLEAN };
    return negated ? { kind: 'not', arg: found, type: BOOLEAN } : found;
  }
  const arg = bindExpression(expression.arg, place);
  return inValues(
    arg,
    expression.values.map((value) => bindExpression(value, place)),
    negated,
    at,
  );
}

/**
 * Comparisons of one row with others: those others that are the same for all rows become lists, one for each way in which types are brought
 * together; the rest stays.
 */
function rowLists(comparisons: readonly Expression[]): Expression[] {
  const rest: Expression[] = [];
  const lists = new Map<
    string,
    {
      readonly first: Expression;
      readonly args: readonly Expression[];
      readonly rows: Expression[][];
    }
  >();
  for (const comparison of comparisons) {
    const pairs = comparison.kind === 'and' ? comparison.args.map(listedPair) : [undefined];
    if (pairs.includes(undefined)) {
      rest.push(comparison);
      continue;
    }
    const known = pairs as { readonly left: Expression; readonly right: Expression }[];
    const args = known.map(({ left }) => left);
    const row = known.map(({ right }) => right);
    const name = args.map(({ type }) => type.kind).join();
    const list = lists.get(name);
    if (list === undefined) lists.set(name, { first: comparison, args, rows: [row] });
    else list.rows.push(row);
  }
  const made = [...lists.values()].map(({ first, args, rows: listed }): Expression => {
    if (listed.length === 1) return first;
    const constants = listed.filter((row) => row.every(({ kind }) => kind === 'constant'));
    const others = listed.filter((row) => !row.every(({ kind }) => kind === 'constant'));
    return {
      kind: 'inList',
      args,
      values: constants.flat().map((each) => (each as ConstantExpression).value),
      others: others.flat(),
      negated: false,
      type: BOOLEAN,
    };
  });
  return [...made, ...rest];
}

/** The sides of an equality with what is the same for all rows, both of one type; undefined where they are no such. */
function listedPair(
  equality: Expression,
): { readonly left: Expression; readonly right: Expression } | undefined {
  if (equality.kind !== 'call') return undefined;
  let [left, right] = equality.args as [Expression, Expression];
  if (isIntegerType(left.type) && isIntegerType(right.type) && left.type.kind !== right.type.kind) {
    left = coerce(left, INT8, 'implicit');
    right = coerce(right, INT8, 'implicit');
  }
  // All of a row is computed for a list, where comparisons stop at the first pair that differs: nothing of it may fail.
  return left.type.kind === right.type.kind && neverFails(left) && isSettled(right)
    ? { left, right: foldConstants(right) }
    : undefined;
}

function neverFails(expression: Expression): boolean {
  return (
    expression.kind === 'column' ||
    (expression.kind === 'cast' && expression.arg.kind === 'column' && isWidening(expression))
  );
}

/** What is the same for all rows becomes one list; anything else is a row of comparisons. */
function inValues(
  arg: Expression,
  values: readonly Expression[],
  isNegated: boolean,
  at: TextPlace | undefined,
): Expression {
  if (values.length === 0) return constant(isNegated, BOOLEAN);
  // As PostgreSQL has it: values without a column decide one type with the left side; a column is compared as it would be alone.
  // So is all where no one type is found.
  const hasColumn = (value: Expression): boolean => referencedColumns(value).size > 0;
  let plain = values.filter((value) => !hasColumn(value));
  if (!haveCommonType([arg, ...plain].map(({ type }) => type))) plain = [];
  const alone = plain.length === 0 ? values : values.filter(hasColumn);
  const [left, ...listed] = unify([arg, ...plain], 'IN', at) as [Expression, ...Expression[]];
  // What a bigint and a real have in common is a real; they are compared as two doubles all the same.
  const type = comparedType('=', arg, left, at);
  const first = coerce(arg, type, 'implicit', at);
  const folded = listed.map((value) => foldConstants(coerce(value, type, 'implicit', at)));
  const constants = folded.filter((each) => each.kind === 'constant');
  let settledOnes = folded.filter((each) => each.kind !== 'constant' && isSettled(each));
  // x IN ($1) is x = $1.
  if (constants.length === 0 && settledOnes.length === 1) settledOnes = [];
  const isListed = new Set<Expression>([...constants, ...settledOnes]);
  const others = folded.filter((each) => !isListed.has(each));
  const compared = (left: Expression, value: Expression): Expression =>
    resolveOperator(isNegated ? '<>' : '=', left, value, at);
  const tests = [
    ...others.map((value) => compared(first, value)),
    ...alone.map((value) => compared(arg, value)),
  ];
  if (isListed.size > 0) {
    tests.unshift({
      kind: 'inList',
      args: [first],
      values: constants.map((each) => each.value),
      others: settledOnes,
      negated: isNegated,
      type: BOOLEAN,
    });
  }
  return tests.length === 1
    ? tests[0]!
    : { kind: isNegated ? 'and' : 'or', args: tests, type: BOOLEAN };
}

/** x op ANY (array). */
function anyArray(
  expression: Extract<SqlExpression, { kind: 'anyArray' }>,
  place: Place,
): Expression {
  const { at, operator, all } = expression;
  const bind = (part: SqlExpression): Expression => bindExpression(part, place);
  if (expression.arg.kind === 'row')
    throw notSupported('a row compared with an array', 'Write (a, b) IN ((1, 2), …).', at);
  if (expression.array.kind === 'subquery' && expression.array.mode === 'array') {
    const { query } = expression.array;
    const mode = all ? 'all' : 'any';
    return quantified(
      { at, kind: 'quantified', mode, left: expression.arg, operator, query, negated: false },
      place,
    );
  }
  const { parameterTypes } = place.context;
  const array = bindArray(expression.array, parameterTypes, bind);
  const arg = bind(expression.arg);
  if (array.kind === 'parameter')
    return compareWithParameter(settled(arg), operator, all, array, parameterTypes, at);
  const { items } = array;
  if (operator === '=' && !all) return inValues(arg, items, false, at);
  if ((operator === '<>' || operator === '!=') && all) return inValues(arg, items, true, at);
  const tests = items.map((value) =>
    condition(resolveOperator(operator, arg, value, at), 'ANY', at),
  );
  if (tests.length === 0) return constant(all, BOOLEAN);
  return tests.length === 1 ? tests[0]! : { kind: all ? 'and' : 'or', args: tests, type: BOOLEAN };
}

/** $1, or $1::int[], where that is an array: NULL as long as it is none, else true. */
function arrayTested(expression: SqlExpression, place: Place): Expression | undefined {
  const { parameterTypes } = place.context;
  const isArray =
    expression.kind === 'parameter'
      ? parameterTypes[expression.index]?.kind === 'array'
      : expression.kind === 'cast' && expression.type.arrayDimensions > 0;
  if (!isArray) return undefined;
  const array = bindArray(expression, parameterTypes, (part) => bindExpression(part, place));
  if (array.kind === 'items')
    return constant(withoutCasts(expression).kind === 'null' ? null : true, BOOLEAN);
  return arrayThere({ index: array.index, element: array.element! });
}

function caseOf(expression: Extract<SqlExpression, { kind: 'case' }>, place: Place): Expression {
  const { at } = expression;
  const arg = expression.arg === undefined ? undefined : bindExpression(expression.arg, place);
  const whens = expression.branches.map(({ when }) => {
    const bound = bindExpression(when, place);
    return arg === undefined
      ? condition(bound, 'CASE/WHEN', when.at)
      : resolveOperator('=', arg, bound, when.at);
  });
  const thens = expression.branches.map(({ then }) => bindExpression(then, place));
  const last =
    expression.otherwise === undefined
      ? constant(null, NULL_TYPE)
      : bindExpression(expression.otherwise, place);
  // ELSE is asked first, as in PostgreSQL: of varchar and text it decides.
  const [otherwise, ...unified] = unify([last, ...thens], 'CASE', at) as [
    Expression,
    ...Expression[],
  ];
  return {
    kind: 'case',
    branches: whens.map((when, index) => ({ when, then: unified[index]! })),
    otherwise,
    type: otherwise.type,
  };
}

/** So many values are chosen from by comparisons, which kernels do on numbers as they are. */
const CHOSEN_FROM_MAX = 3;

/** A part that may stand in several places: it is small, so that those nested in one another do not double each time, and the same in each. */
function mayBeRepeated(part: Expression): boolean {
  let count = 0;
  return !isVolatile(part) && !someNode(part, () => (count += 1) > REPEATED_NODES_MAX);
}

const REPEATED_NODES_MAX = 16;

function extreme(
  which: 'greatest' | 'least',
  args: readonly Expression[],
  at: TextPlace | undefined,
): Expression {
  // A choice mentions the best of those before it several times: of many it would be their power.
  if (args.length > CHOSEN_FROM_MAX || !args.every(mayBeRepeated)) {
    resolveOperator('>=', args[0], args[0]!, at);
    return resolveFunction(which, args, at);
  }
  return args.reduce((best, arg) => {
    const better = resolveOperator(which === 'greatest' ? '>=' : '<=', best, arg, at);
    const pick: Expression = {
      kind: 'case',
      branches: [
        { when: { kind: 'isNull', arg, type: BOOLEAN }, then: best },
        { when: { kind: 'isNull', arg: best, type: BOOLEAN }, then: arg },
        { when: better, then: best },
      ],
      otherwise: arg,
      type: best.type,
    };
    return pick;
  });
}

// ── Calls ──────────────────────────────────────────────────────────────────────────────────────────────────────

type CallNode = Extract<SqlExpression, { kind: 'call' }>;

function call(expression: CallNode, place: Place): Expression {
  const { at, name } = expression;
  if (expression.over !== undefined)
    throw notSupported(
      'a window function',
      'Group in a subquery and join it, or compute it in the client.',
      at,
    );
  if (expression.args.some((arg) => arg.name !== undefined))
    return call({ ...expression, args: argumentsInOrder(expression) }, place);
  if (expression.variadic) throw notSupported('VARIADIC', undefined, at);
  if (name === 'array_agg' || name === 'json_agg' || name === 'jsonb_agg')
    throw notSupported(`${name}()`, 'Use string_agg.', at);
  const aggregate = isAggregateName(name) || expression.withinGroup;
  if (aggregate) return aggregateCall(expression, place);
  if (
    expression.star ||
    expression.distinct ||
    expression.orderBy.length > 0 ||
    expression.filter !== undefined
  ) {
    if (!hasFunction(name))
      return resolveFunction(
        name,
        expression.args.map(({ value }) => bindExpression(value, place)),
        at,
      );
    throw new DbError(
      '42809',
      `${expression.filter === undefined ? (expression.distinct ? 'DISTINCT' : expression.star ? name : 'ORDER BY') : 'FILTER'} specified, but ${name} is not an aggregate function`,
      { at },
    );
  }
  if (name === 'generate_series' && place.series !== undefined) {
    const inside = { ...place, series: undefined };
    const args = expression.args.map(({ value }) => bindExpression(value, inside));
    const series = seriesOf(args, at);
    const index = SERIES_INDEX_BASE + place.series.push(series) - 1;
    return { kind: 'column', index, type: series.type, nullable: false, name };
  }
  if (name === 'generate_series') throw notSupported(`${name}() here`, 'Use it in FROM.', at);
  if (name === 'unnest')
    throw notSupported('unnest()', 'Write its values as rows: FROM (VALUES (1), (2)) v(x).', at);
  const args = expression.args.map(({ value }) => bindExpression(value, place));
  if (name === 'pg_typeof' && (args[0]?.type.kind === 'unknown' || args[0]?.type.kind === 'null'))
    return constant('unknown', TEXT);
  if (!hasFunction(name)) {
    if (args.length === 0 && name === 'current_schema') return sqlValue(name, undefined, at);
    if (args.length === 0 && name === 'current_database')
      return sqlValue('current_catalog', undefined, at);
    // float8(x) is a cast.
    const type = args.length === 1 ? typeCalledLike(name) : undefined;
    if (type !== undefined) return foldConstants(coerce(args[0]!, type, 'explicit', at));
    if (isKnownElsewhere(name)) throw notSupported(`${name}()`, hintOfAbsent(name), at);
  }
  return resolveFunction(name, args, at);
}

/** Functions whose arguments have names and defaults, as PostgreSQL's make_interval(days => 10). */
const ARGUMENT_NAMES: Readonly<Record<string, readonly string[]>> = {
  make_interval: ['years', 'months', 'weeks', 'days', 'hours', 'mins', 'secs'],
  make_date: ['year', 'month', 'day'],
  make_time: ['hour', 'min', 'sec'],
  make_timestamp: ['year', 'month', 'mday', 'hour', 'min', 'sec'],
  make_timestamptz: ['year', 'month', 'mday', 'hour', 'min', 'sec', 'timezone'],
};

function argumentsInOrder({ name, args, at }: CallNode): CallNode['args'] {
  const names = Object.hasOwn(ARGUMENT_NAMES, name) ? ARGUMENT_NAMES[name] : undefined;
  if (names === undefined)
    throw notSupported('named arguments', 'Give the arguments by position.', at);
  const given = new Map<number, SqlExpression>();
  args.forEach((arg, index) => {
    const position = arg.name === undefined ? index : names.indexOf(arg.name);
    if (position < 0) {
      const nearest = nearestOf(arg.name!, names);
      throw new DbError('42883', `function ${name} has no argument named "${arg.name}"`, {
        at,
        hint: nearest === undefined ? undefined : `Did you mean "${nearest}"?`,
      });
    }
    given.set(position, arg.value);
  });
  const count = Math.max(...given.keys()) + 1;
  return Array.from({ length: count }, (_, index) => ({
    value: given.get(index) ?? { kind: 'number', text: '0', at },
  }));
}

function aggregateCall(expression: CallNode, place: Place): Expression {
  const { at, name } = expression;
  const inside: Place = {
    ...place,
    aggregates: undefined,
    series: undefined,
    clause: 'an aggregate function call',
  };
  const nested = (part: SqlExpression): Expression => {
    try {
      return bindExpression(part, inside);
    } catch (cause) {
      if (cause instanceof DbError && cause.code === '42803' && place.aggregates !== undefined)
        throw new DbError('42803', 'aggregate function calls cannot be nested', { at });
      throw cause;
    }
  };
  const ordered = expression.orderBy.map((item): SortKey => ({
    expression: settled(nested(item.expression)),
    descending: item.descending,
    nullsFirst: item.nullsFirst ?? item.descending,
  }));
  let args = expression.star ? [] : expression.args.map(({ value }) => nested(value));
  if (expression.withinGroup) args = [...args, ...ordered.map((key) => key.expression)];
  if (expression.star && name !== 'count')
    throw new DbError('42809', `${name}(*) specified, but ${name} takes arguments`, { at });
  if (!expression.star && args.length === 0)
    throw new DbError(
      '42809',
      `${name}(*) must be used to call a parameterless aggregate function`,
      { at },
    );
  if (
    expression.distinct &&
    !expression.withinGroup &&
    ordered.some((key) => !args.some((arg) => expressionEquals(settled(arg), key.expression)))
  )
    throw new DbError(
      '42P10',
      'in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list',
      { at },
    );
  const resolved = resolveAggregate(name, args, at);
  if (resolved === undefined && isKnownElsewhere(name))
    throw notSupported(`${name}() as an aggregate`, undefined, at);
  if (resolved === undefined) throw new DbError('42883', `function ${name} does not exist`, { at });
  const call: AggregateCall = {
    fn: resolved.fn,
    args: resolved.args.map(foldConstants),
    distinct: expression.distinct && resolved.fn !== 'min' && resolved.fn !== 'max',
    ...(expression.filter === undefined
      ? {}
      : { filter: condition(nested(expression.filter), 'FILTER', at) }),
    orderBy: ordered,
    type: resolved.type,
  };
  const depth = depthOfAggregate(call, place.subqueries ?? []);
  if (holdsAggregateAt(call, depth))
    throw new DbError('42803', 'aggregate function calls cannot be nested', {
      at,
      hint: 'Aggregate in a subquery in FROM, then aggregate its rows.',
    });
  const level = levelAt(place, depth);
  if (level.aggregates === undefined) {
    throw new DbError('42803', `aggregate functions are not allowed in ${level.clause}`, {
      at,
      hint: level.clause === 'WHERE' ? 'Use HAVING.' : undefined,
    });
  }
  const moved = depth === 0 ? call : mapCall(call, (each) => raised(each, depth, place, level));
  const index = level.aggregates.placeOf(moved, JSON.stringify(moved, bigints));
  const shared = {
    index: AGGREGATE_INDEX_BASE + index,
    type: call.type,
    nullable: call.fn !== 'count' && call.fn !== 'regr_count',
    name,
  };
  return depth === 0 ? { kind: 'column', ...shared } : { kind: 'outerColumn', depth, ...shared };
}

/** An aggregate belongs to the innermost query whose columns it speaks of; with none, to the one it stands in. */
function depthOfAggregate(call: AggregateCall, subqueries: readonly BoundSubquery[]): number {
  let depth = Infinity;
  mapCall(call, (expression) => {
    someNode(expression, (each) => {
      if (each.kind === 'column') depth = 0;
      if (each.kind === 'outerColumn') depth = Math.min(depth, each.depth);
      if (each.kind === 'subquery')
        mapPlanExpressions(subqueries[each.subquery]!.plan, (inner, nested) => {
          someNode(inner, (part) => {
            if (part.kind === 'outerColumn' && part.depth > nested)
              depth = Math.min(depth, part.depth - nested - 1);
            return false;
          });
          return inner;
        });
      return false;
    });
    return expression;
  });
  return depth === Infinity ? 0 : depth;
}

/** Whether the call speaks of another aggregate of the query it belongs to itself; those of queries around it are values. */
function holdsAggregateAt(call: AggregateCall, depth: number): boolean {
  let found = false;
  mapCall(call, (expression) => {
    found ||= someNode(
      expression,
      (each) =>
        (each.kind === 'outerColumn' ? each.depth : each.kind === 'column' ? 0 : undefined) ===
          depth && (each as { readonly index: number }).index >= AGGREGATE_INDEX_BASE,
    );
    return expression;
  });
  return found;
}

type Level = Pick<Place, 'aggregates' | 'subqueries' | 'clause'>;

function levelAt(place: Place, depth: number): Level {
  if (depth === 0) return place;
  let scope: Scope | undefined = place.scope;
  for (let left = depth; left > 0; left -= 1) scope = scope?.outer;
  return (
    scope?.around ?? { aggregates: undefined, subqueries: undefined, clause: 'a subquery here' }
  );
}

/** The call with its expressions changed. */
export function mapCall(
  call: AggregateCall,
  change: (expression: Expression) => Expression,
): AggregateCall {
  return {
    ...call,
    args: call.args.map(change),
    ...(call.filter === undefined ? {} : { filter: change(call.filter) }),
    orderBy: call.orderBy.map((key) => ({ ...key, expression: change(key.expression) })),
  };
}

/** An expression as the query `levels` further out says it; its subqueries become that query's. */
function raised(expression: Expression, levels: number, place: Place, level: Level): Expression {
  return rewrite(expression, (each): Expression => {
    if (each.kind === 'subquery') {
      const bound = place.subqueries![each.subquery]!;
      if (level.subqueries === undefined)
        throw notSupported('a subquery in an aggregate of a query around', undefined, undefined);
      const plan = mapPlanExpressions(bound.plan, (inner, nested) =>
        rewrite(inner, (part) =>
          part.kind === 'outerColumn' && part.depth > nested
            ? { ...part, depth: part.depth - levels }
            : part,
        ),
      );
      // The arguments of the node were raised with it.
      const moved = { ...bound, args: each.args, plan };
      const subquery = placeOfSubquery(moved, level.subqueries, place.context);
      return { ...each, subquery };
    }
    if (each.kind !== 'outerColumn') return each;
    const { index, type, nullable, name } = each;
    return each.depth === levels
      ? { kind: 'column', index, type, nullable, name }
      : { ...each, depth: each.depth - levels };
  });
}

function bigints(key: string, value: unknown): unknown {
  if (key === 'at') return undefined;
  if (typeof value === 'bigint') return `${value}n`;
  // JSON has no infinities, no NaN and no −0; here they must stay apart.
  if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0)))
    return `number ${Object.is(value, -0) ? '-0' : value}`;
  return value;
}

// ── Subqueries ─────────────────────────────────────────────────────────────────────────────────────────────────

function subquery(
  place: Place,
  query: Query,
  at: TextPlace | undefined,
  make: (plan: PlanNode) => BoundSubquery,
): Expression {
  if (place.subqueries === undefined)
    throw notSupported(`a subquery in ${place.clause}`, undefined, at);
  const { aggregates, subqueries, clause } = place;
  const bound = make(
    place.context.bindSubquery(query, {
      ...place.scope,
      around: { aggregates, subqueries, clause },
    }),
  );
  const index = placeOfSubquery(bound, subqueries!, place.context);
  return {
    kind: 'subquery',
    mode: bound.mode,
    subquery: index,
    args: bound.args,
    compare: bound.compare,
    negated: bound.negated,
    type: bound.type,
  };
}

/** The place of a subquery among those of its list. GROUP BY and the select list may say the same: they mean one. */
function placeOfSubquery(
  bound: BoundSubquery,
  subqueries: BoundSubquery[],
  { subqueryPlaces }: BindContext,
): number {
  let places = subqueryPlaces.get(subqueries);
  if (places === undefined) subqueryPlaces.set(subqueries, (places = new Map()));
  const text = planIsVolatile(bound.plan) ? undefined : JSON.stringify(bound, bigints);
  const known = text === undefined ? undefined : places.get(text);
  if (known !== undefined) return known;
  const index = subqueries.push(bound) - 1;
  if (text !== undefined) places.set(text, index);
  return index;
}

/** x op ANY (SELECT …); [NOT] IN is = ANY. Both sides are brought to one type. */
function quantified(
  expression: Extract<SqlExpression, { kind: 'quantified' }>,
  place: Place,
): Expression {
  const { at, operator } = expression;
  const left = expression.left.kind === 'row' ? expression.left.items : [expression.left];
  const args = left.map((item) => bindExpression(item, place));
  const isIn = operator === '=' && expression.mode === 'any';
  if (args.length > 1 && !isIn) return quantifiedRows(expression, args, place);
  return subquery(place, expression.query, at, (plan) => {
    assertColumns(plan, args.length, at);
    const types = args.map((arg, index) => comparedType(operator, arg, columnOf(plan, index), at));
    const converted = castColumns(plan, types);
    return {
      mode: isIn ? 'in' : expression.mode,
      plan: converted,
      args: args.map((arg, index) => coerce(arg, types[index]!, 'implicit', at)),
      compare: comparisonOf(operator === '!=' ? '<>' : operator, types[0]!),
      negated: expression.negated,
      type: BOOLEAN,
    };
  });
}

/** (SELECT x, y) as the source of several columns: one scalar subquery for each. */
export function rowSubquery(
  query: Query,
  count: number,
  place: Place,
  at: TextPlace | undefined,
): Expression[] {
  return Array.from({ length: count }, (_, index) =>
    subquery(place, query, at, (plan) => {
      if (plan.columns.length !== count)
        throw new DbError('42601', 'number of columns does not match number of values', { at });
      const value = columnOf(plan, index);
      return {
        mode: 'scalar',
        plan: projected(plan, [value], [plan.columns[index]!]),
        args: [],
        negated: false,
        type: value.type,
      };
    }),
  );
}

/** (a, b) op ANY (SELECT x, y): the subquery gives how each of its rows compares, and TRUE is looked for among that. */
function quantifiedRows(
  expression: Extract<SqlExpression, { kind: 'quantified' }>,
  args: readonly Expression[],
  place: Place,
): Expression {
  const { at, operator, mode } = expression;
  return subquery(place, expression.query, at, (plan) => {
    assertColumns(plan, args.length, at);
    const pairs = args.map((arg, index) => ({
      left: lowered(arg, at),
      right: columnOf(plan, index),
    }));
    const outcome = compareRows(operator, pairs, at);
    const columns = [{ name: '?column?', type: BOOLEAN, nullable: true }];
    return {
      mode,
      plan: projected(plan, [outcome], columns),
      args: [constant(true, BOOLEAN)],
      compare: comparisonOf('=', BOOLEAN),
      negated: expression.negated,
      type: BOOLEAN,
    };
  });
}

/** An expression as a subquery says it. */
function lowered(expression: Expression, at: TextPlace | undefined): Expression {
  return rewrite(expression, (each): Expression => {
    if (each.kind === 'subquery')
      throw notSupported('a subquery in a row that is compared with a subquery', undefined, at);
    if (each.kind === 'outerColumn') return { ...each, depth: each.depth + 1 };
    if (each.kind !== 'column') return each;
    const { index, type, nullable, name } = each;
    return { kind: 'outerColumn', depth: 1, index, type, nullable, name };
  });
}

function columnOf(plan: PlanNode, index: number): Expression {
  const { type, nullable, name } = plan.columns[index]!;
  return { kind: 'column', index, type, nullable, name };
}

function assertColumns(plan: PlanNode, count: number, at: TextPlace | undefined): void {
  if (plan.columns.length === count) return;
  if (count === 1) throw new DbError('42601', 'subquery must return only one column', { at });
  throw new DbError(
    '42601',
    plan.columns.length < count ? 'subquery has too few columns' : 'subquery has too many columns',
    { at },
  );
}

/** The plan with its columns cast where their types differ. */
export function castColumns(
  plan: PlanNode,
  types: readonly SqlType[],
  context: 'implicit' | 'assignment' = 'implicit',
): PlanNode {
  if (
    plan.columns.every(
      (each, index) =>
        each.type.kind === types[index]!.kind && typeName(each.type) === typeName(types[index]!),
    )
  )
    return plan;
  const expressions = plan.columns.map((each, index) =>
    coerce(
      { kind: 'column', index, type: each.type, nullable: each.nullable, name: each.name },
      types[index]!,
      context,
    ),
  );
  const columns = plan.columns.map((each, index) => ({ ...each, type: expressions[index]!.type }));
  return { kind: 'project', id: 0, input: plan, expressions, columns };
}
