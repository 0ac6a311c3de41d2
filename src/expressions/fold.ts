import { Decimal, Interval, type Datum } from '../columns/values.ts';
import { sameType, typeName } from '../columns/types.ts';
import { functionById } from './catalog.ts';
import { castOf } from './coercion.ts';
import type {
  AnyArrayExpression,
  ArrayParameter,
  ConstantExpression,
  Expression,
  InListExpression,
} from './expression.ts';
import type { EvaluationContext, Volatility } from './function-def.ts';
import { decidingIn, interpret, itemsIn } from './interpret.ts';
import { datumToText } from './text-io.ts';

/** The value of an expression without columns. */
export function evaluateConstant(expression: Expression, context: EvaluationContext): Datum {
  return interpret(expression, () => null, context);
}

/** Direct parts of an expression. */
export function partsOf(expression: Expression): readonly Expression[] {
  switch (expression.kind) {
    case 'column':
    case 'constant':
    case 'parameter':
    case 'outerColumn':
      return [];
    case 'call':
    case 'and':
    case 'or':
    case 'coalesce':
    case 'subquery':
      return expression.args;
    case 'not':
    case 'isNull':
    case 'isNotNull':
    case 'cast':
    case 'anyArray':
      return [expression.arg];
    case 'inList':
      return expression.others.length === 0
        ? expression.args
        : [...expression.args, ...expression.others];
    case 'case':
      return [
        ...expression.branches.flatMap(({ when, then }) => [when, then]),
        expression.otherwise,
      ];
  }
}

/** The expression with each direct part replaced; itself where none changed. */
export function mapParts(
  expression: Expression,
  change: (part: Expression) => Expression,
): Expression {
  const many = (parts: readonly Expression[]): readonly Expression[] | undefined => {
    const next = parts.map(change);
    return next.every((part, index) => part === parts[index]) ? undefined : next;
  };
  switch (expression.kind) {
    case 'column':
    case 'constant':
    case 'parameter':
    case 'outerColumn':
      return expression;
    case 'call':
    case 'and':
    case 'or':
    case 'coalesce':
    case 'subquery': {
      const args = many(expression.args);
      return args === undefined ? expression : { ...expression, args };
    }
    case 'not':
    case 'isNull':
    case 'isNotNull':
    case 'cast':
    case 'anyArray': {
      const arg = change(expression.arg);
      return arg === expression.arg ? expression : { ...expression, arg };
    }
    case 'inList': {
      const args = many(expression.args);
      const others = many(expression.others);
      return args === undefined && others === undefined
        ? expression
        : {
            ...expression,
            args: args ?? expression.args,
            others: others ?? expression.others,
          };
    }
    case 'case': {
      const branches = expression.branches.map(({ when, then }) => ({
        when: change(when),
        then: change(then),
      }));
      const otherwise = change(expression.otherwise);
      const same =
        otherwise === expression.otherwise &&
        branches.every(
          ({ when, then }, index) =>
            when === expression.branches[index]!.when && then === expression.branches[index]!.then,
        );
      return same ? expression : { ...expression, branches, otherwise };
    }
  }
}

/** Every node, parts after their whole. */
export function someNode(expression: Expression, test: (node: Expression) => boolean): boolean {
  return test(expression) || partsOf(expression).some((part) => someNode(part, test));
}

export function referencedColumns(
  expression: Expression,
  into: Set<number> = new Set(),
): Set<number> {
  if (expression.kind === 'column') into.add(expression.index);
  for (const part of partsOf(expression)) referencedColumns(part, into);
  return into;
}

/** Columns renumbered, or replaced by expressions. */
export function mapColumns(
  expression: Expression,
  change: (column: Extract<Expression, { kind: 'column' }>) => Expression,
): Expression {
  return expression.kind === 'column'
    ? change(expression)
    : mapParts(expression, (part) => mapColumns(part, change));
}

/** Differs from call to call: random(), nextval(), clock_timestamp(). */
export function isVolatile(expression: Expression): boolean {
  return someNode(
    expression,
    (node) => node.kind === 'call' && functionById(node.fn).volatility === 'volatile',
  );
}

/** The same for all rows of an execution: of constants, parameters, and what the zone, settings and the statement's instant make of them. */
export function isSettled(expression: Expression, butFor?: 'but for columns'): boolean {
  return !someNode(
    expression,
    (node) =>
      (node.kind === 'column' && butFor === undefined) ||
      node.kind === 'outerColumn' ||
      node.kind === 'subquery' ||
      volatilityOf(node) === 'volatile',
  );
}

/** The same for the same arguments, whoever asks and whenever. */
export function isImmutable(expression: Expression): boolean {
  return !someNode(expression, (node) => volatilityOf(node) !== 'immutable');
}

/** The same for the same arguments in one zone. Texts of dates count: words such as `today` are for the caller to mind. */
export function isSettledByZone(expression: Expression): boolean {
  return !someNode(expression, (node) => {
    const volatility = volatilityOf(node);
    return node.kind !== 'cast' && volatility !== 'immutable' && volatility !== 'zoned';
  });
}

/** Whether the node itself takes what an execution gives. */
export function isOfParameters(node: Expression): boolean {
  return (
    node.kind === 'parameter' ||
    node.kind === 'anyArray' ||
    (node.kind === 'inList' && node.array !== undefined)
  );
}

/** Of the node itself, its parts aside. */
export function volatilityOf(node: Expression): Volatility {
  switch (node.kind) {
    case 'call':
      return functionById(node.fn).volatility ?? 'immutable';
    case 'cast': {
      const from = node.arg.type.kind === 'unknown' ? 'text' : node.arg.type.kind;
      return castOf(from, node.type.kind)?.volatility ?? 'immutable';
    }
    case 'parameter':
    case 'subquery':
    case 'outerColumn':
    case 'anyArray':
      return 'stable';
    case 'inList':
      return node.array === undefined ? 'immutable' : 'stable';
    default:
      return 'immutable';
  }
}

const CONSTANT_CONTEXT: EvaluationContext = {
  nowMicros: 0,
  zone: 'UTC',
  parameters: [],
  random: { unit: () => 0, uint32: () => 0 },
  setting: () => undefined,
};

/**
 * Replaces what is constant by its value. What would throw is left for the run, where it may never be reached (1/0 in a
 * branch not taken).
 */
export function foldConstants(expression: Expression): Expression {
  return folded(expression, isImmutable, CONSTANT_CONTEXT);
}

/** The same where the zone, and what `today` and `now` mean as literals, are settled once and for all: for views. */
export function foldInContext(expression: Expression, context: EvaluationContext): Expression {
  return folded(expression, isSettledByZone, context);
}

function folded(
  expression: Expression,
  isSettled: (expression: Expression) => boolean,
  context: EvaluationContext,
): Expression {
  const whole = simplify(mapParts(expression, (part) => folded(part, isSettled, context)));
  if (whole.kind === 'constant' || partsOf(whole).length === 0) {
    if (whole.kind !== 'call') return whole;
  }
  if (!partsOf(whole).every((part) => part.kind === 'constant') || !isSettled(whole)) return whole;
  try {
    return { kind: 'constant', type: whole.type, value: evaluateConstant(whole, context) };
  } catch {
    return whole;
  }
}

/** A comparison with an array that an execution gives, as one with its items: no parameter is in it any more. */
export function withItems(
  expression: InListExpression | AnyArrayExpression,
  context: EvaluationContext,
): Expression {
  const { type } = expression;
  if (expression.kind === 'inList') {
    const { array, others, negated } = expression;
    if (array === undefined) return expression;
    const values = expression.values.concat(itemsIn(array, context) ?? [null]);
    return values.length + others.length === 0
      ? { kind: 'constant', type, value: negated }
      : { ...expression, values, array: undefined };
  }
  const { arg, array, test, all } = expression;
  const items = decidingIn(expression, context);
  if (items === null) return { kind: 'constant', type, value: null };
  const tests = items.map((value) =>
    mapColumns(test, ({ index }) =>
      index === 0 ? arg : { kind: 'constant', type: array.item.type, value },
    ),
  );
  if (tests.length === 0) return { kind: 'constant', type, value: all };
  return tests.length === 1 ? tests[0]! : { kind: all ? 'and' : 'or', args: tests, type };
}

/** The same for all comparisons in it whose left side is no more work for each item than for one. */
export function withItemsOfArrays(expression: Expression, context: EvaluationContext): Expression {
  const whole = mapParts(expression, (part) => withItemsOfArrays(part, context));
  return whole.kind === 'anyArray' && whole.arg.kind === 'column'
    ? withItems(whole, context)
    : whole;
}

/** AND and OR lose constant arguments, CASE branches that are decided, nested AND and OR are flattened. */
function simplify(expression: Expression): Expression {
  switch (expression.kind) {
    case 'and':
    case 'or': {
      const neutral = expression.kind === 'and';
      const flat = expression.args.flatMap((arg) =>
        arg.kind === expression.kind ? arg.args : [arg],
      );
      const args: Expression[] = [];
      for (const arg of flat) {
        if (arg.kind === 'constant' && arg.value === neutral) continue;
        args.push(arg);
        // Whatever follows cannot matter: it is not evaluated either.
        if (arg.kind === 'constant' && arg.value === !neutral) break;
      }
      if (args.length === 0) return { kind: 'constant', type: expression.type, value: neutral };
      if (args.length === 1) return args[0]!;
      return args.length === expression.args.length ? expression : { ...expression, args };
    }
    case 'case': {
      const branches = expression.branches.filter(
        ({ when }) => !(when.kind === 'constant' && when.value !== true),
      );
      const decided = branches.findIndex(({ when }) => when.kind === 'constant');
      if (decided === 0) return branches[0]!.then;
      if (branches.length === 0) return expression.otherwise;
      if (decided > 0)
        return {
          ...expression,
          branches: branches.slice(0, decided),
          otherwise: branches[decided]!.then,
        };
      return branches.length === expression.branches.length
        ? expression
        : { ...expression, branches };
    }
    case 'isNull':
    case 'isNotNull':
      if (expression.arg.kind === 'column' && !expression.arg.nullable)
        return { kind: 'constant', type: expression.type, value: expression.kind === 'isNotNull' };
      return expression;
    case 'call': {
      // As PostgreSQL: what is NULL whatever the rest is does not compute the rest.
      const isNull =
        functionById(expression.fn).strict !== false &&
        expression.args.some((arg) => arg.kind === 'constant' && arg.value === null);
      return isNull ? { kind: 'constant', type: expression.type, value: null } : expression;
    }
    case 'inList':
      return withConstantRows(expression);
    default:
      return expression;
  }
}

/** Listed rows that have become constants stand among the values. */
function withConstantRows(expression: InListExpression): Expression {
  const { args, others } = expression;
  if (!others.some(({ kind }) => kind === 'constant')) return expression;
  const values = [...expression.values];
  const left: Expression[] = [];
  for (let start = 0; start < others.length; start += args.length) {
    const row = others.slice(start, start + args.length);
    if (row.every(({ kind }) => kind === 'constant'))
      values.push(...row.map((each) => (each as ConstantExpression).value));
    else left.push(...row);
  }
  return left.length === others.length ? expression : { ...expression, values, others: left };
}

export function expressionEquals(a: Expression, b: Expression): boolean {
  if (a === b) return true;
  if (a.kind !== b.kind || !sameType(a.type, b.type)) return false;
  switch (a.kind) {
    case 'column':
      return b.kind === 'column' && a.index === b.index;
    case 'constant':
      return b.kind === 'constant' && identical(a.value, b.value);
    case 'parameter':
      return b.kind === 'parameter' && a.index === b.index;
    case 'outerColumn':
      return b.kind === 'outerColumn' && a.index === b.index && a.depth === b.depth;
    case 'call':
      if (b.kind !== 'call' || a.fn !== b.fn) return false;
      break;
    case 'inList':
      if (
        b.kind !== 'inList' ||
        a.negated !== b.negated ||
        a.args.length !== b.args.length ||
        !sameArray(a.array, b.array) ||
        a.values.length !== b.values.length ||
        !a.values.every((value, index) => identical(value, b.values[index]!))
      )
        return false;
      break;
    case 'anyArray':
      if (
        b.kind !== 'anyArray' ||
        a.all !== b.all ||
        !sameArray(a.array, b.array) ||
        !expressionEquals(a.test, b.test)
      )
        return false;
      break;
    case 'cast':
      if (b.kind !== 'cast' || a.explicit !== b.explicit) return false;
      break;
    case 'subquery':
      return false;
    default:
      break;
  }
  const left = partsOf(a);
  const right = partsOf(b);
  return (
    left.length === right.length &&
    left.every((part, index) => expressionEquals(part, right[index]!))
  );
}

function sameArray(a: ArrayParameter | undefined, b: ArrayParameter | undefined): boolean {
  return a === undefined || b === undefined
    ? a === b
    : a.index === b.index && expressionEquals(a.item, b.item);
}

/** The same to the letter, as no two data of different text are. */
function identical(a: Datum, b: Datum): boolean {
  if (Object.is(a, b)) return true;
  if (a instanceof Decimal && b instanceof Decimal) return a.toString() === b.toString();
  if (a instanceof Interval && b instanceof Interval)
    return a.months === b.months && a.days === b.days && a.micros === b.micros;
  if (a instanceof Uint8Array && b instanceof Uint8Array)
    return a.length === b.length && a.every((byte, index) => byte === b[index]);
  return false;
}

const SHOWN_OF_LIST_MAX = 8;

/** For people: EXPLAIN and messages. `names` gives a column's name. */
export function printBound(expression: Expression, names: (index: number) => string): string {
  const print = (part: Expression): string => printBound(part, names);
  switch (expression.kind) {
    case 'column':
      return names(expression.index);
    case 'outerColumn':
      return `outer.${expression.name}`;
    case 'constant':
      return constantText(expression.value, expression.type);
    case 'parameter':
      return `$${expression.index + 1}`;
    case 'call': {
      const name = expression.fn.slice(0, expression.fn.indexOf('('));
      if (/^[a-z_]/i.test(name)) return `${name}(${expression.args.map(print).join(', ')})`;
      return expression.args.length === 1
        ? `(${name} ${print(expression.args[0]!)})`
        : `(${print(expression.args[0]!)} ${name} ${print(expression.args[1]!)})`;
    }
    case 'and':
    case 'or':
      return `(${expression.args.map(print).join(expression.kind === 'and' ? ' AND ' : ' OR ')})`;
    case 'not':
      return `(NOT ${print(expression.arg)})`;
    case 'isNull':
      return `(${print(expression.arg)} IS NULL)`;
    case 'isNotNull':
      return `(${print(expression.arg)} IS NOT NULL)`;
    case 'case':
      return `CASE ${expression.branches.map(({ when, then }) => `WHEN ${print(when)} THEN ${print(then)}`).join(' ')} ELSE ${print(expression.otherwise)} END`;
    case 'coalesce':
      return `COALESCE(${expression.args.map(print).join(', ')})`;
    case 'inList': {
      const { args, values, others, array, negated } = expression;
      if (array !== undefined)
        return `(${print(args[0]!)} ${negated ? '<> ALL' : '= ANY'} ($${array.index + 1}))`;
      const tuple = (texts: readonly string[]): string =>
        texts.length === 1 ? texts[0]! : `(${texts.join(', ')})`;
      const width = args.length;
      const constantCount = values.length / width;
      const count = constantCount + others.length / width;
      const shown = Array.from({ length: Math.min(count, SHOWN_OF_LIST_MAX) }, (_, row) =>
        tuple(
          args.map(({ type }, at) =>
            row < constantCount
              ? constantText(values[row * width + at]!, type)
              : print(others[(row - constantCount) * width + at]!),
          ),
        ),
      );
      return `(${tuple(args.map(print))} ${negated ? 'NOT ' : ''}IN (${shown.join(', ')}${count > SHOWN_OF_LIST_MAX ? ', …' : ''}))`;
    }
    case 'anyArray': {
      const { arg, array, test, all } = expression;
      const items = `${all ? 'ALL' : 'ANY'} ($${array.index + 1})`;
      return printBound(test, (index) => (index === 0 ? print(arg) : items));
    }
    case 'cast':
      return `(${print(expression.arg)})::${typeName(expression.type)}`;
    case 'subquery':
      return `(subquery ${expression.subquery})`;
  }
}

function constantText(value: Datum, type: Expression['type']): string {
  if (value === null) return 'NULL';
  const text = datumToText(value, type.kind === 'unknown' ? { kind: 'text' } : type, {
    zone: 'UTC',
  });
  return typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean'
    ? text
    : `'${text.replaceAll("'", "''")}'`;
}
