/**
 * Expressions of the naive interpreter: libpg-query's raw tree becomes a type and a function of the row. Three-valued logic is
 * spelled out; every value is computed by itself.
 */
import {
  representative,
  checkInteger,
  civilFromDays,
  compareValues,
  DAY_MICROS,
  daysFromCivil,
  doubleText,
  floorDivide,
  floorModulo,
  keyOf,
  ModelError,
  numericAdd,
  numericCompare,
  numericDivide,
  numericMultiply,
  numericNegate,
  numericRemainder,
  numericText,
  parseNumeric,
  parseValue,
  pow10,
  rescale,
  span,
  textOf,
  timestampPlus,
} from './values.ts';
import type { Numeric, Row, Span, Type, Value } from './values.ts';
import { aggregateCall, isAggregate } from './aggregates.ts';

/** A node of the raw tree; its one key is its kind. */
// oxlint-disable-next-line typescript/no-explicit-any
export type Node = any;

export type Column = {
  readonly table: string | undefined;
  readonly name: string;
  readonly type: Type;
  /** Merged away by USING: found with its table's name only. */ readonly hidden?: boolean;
};

/** Names an expression may use. */
export type Scope = {
  readonly columns: readonly Column[];
  readonly parent?: Scope | undefined;
  readonly queries: QueryScope;
  /** Set where aggregates may stand: GROUP BY's expressions, which then mean the group's key. */
  readonly grouped?:
    | { readonly keys: readonly { readonly text: string; readonly type: Type }[] }
    | undefined;
};
/** How subqueries and parameters reach the interpreter. */
export type QueryScope = {
  compileQuery(query: Node, parent: Scope): CompiledQuery;
  readonly parameters: readonly { readonly type: Type; readonly value: Value }[];
};
export type CompiledQuery = {
  readonly columns: readonly { readonly name: string; readonly type: Type }[];
  run(env: Env | undefined): readonly Row[];
};

/** What an expression is evaluated in. */
export type Env = {
  readonly row: Row;
  readonly parent?: Env | undefined;
  /** The rows of the group and its keys, where aggregates are evaluated. */
  readonly group?: readonly Row[] | undefined;
  readonly keys?: Row | undefined;
};

export type Compiled = {
  readonly type: Type;
  readonly run: (env: Env) => Value;
  /** A bare literal or NULL (undefined otherwise): takes the type that its context asks for. */
  readonly literal?: string | null | undefined;
};

const NUMBERS: readonly Type[] = ['int2', 'int4', 'int8', 'numeric', 'float4', 'float8'];
const isInteger = (type: Type): boolean => type === 'int2' || type === 'int4' || type === 'int8';
const isNumber = (type: Type): boolean => NUMBERS.includes(type);
const isFloat = (type: Type): boolean => type === 'float4' || type === 'float8';
const isInstant = (type: Type): boolean =>
  type === 'date' || type === 'timestamp' || type === 'timestamptz';

export const kindOf = (node: Node): string => Object.keys(node)[0]!;
/** A node's meaning without its place in the text: equal texts are equal expressions. */
export const nodeText = (node: Node): string =>
  JSON.stringify(node, (key, value: unknown) =>
    key === 'location' || key.startsWith('rexpr_list') ? undefined : value,
  );

const constant = (type: Type, value: Value): Compiled => ({ type, run: () => value });

export function compile(node: Node, scope: Scope): Compiled {
  const key = scope.grouped?.keys.findIndex((each) => each.text === groupText(node, scope)) ?? -1;
  if (key >= 0) return { type: scope.grouped!.keys[key]!.type, run: (env) => env.keys![key]! };
  const kind = kindOf(node);
  const body = node[kind];
  switch (kind) {
    case 'A_Const':
      return compileConstant(body);
    case 'ColumnRef':
      return compileColumn(body, scope);
    case 'ParamRef': {
      const parameter = scope.queries.parameters[body.number - 1];
      if (parameter === undefined)
        throw new ModelError('42P02', `there is no parameter $${body.number}`);
      return constant(parameter.type, parameter.value);
    }
    case 'TypeCast': {
      const { type, modifiers } = typeOf(body.typeName);
      return applyModifiers(cast(compile(body.arg, scope), type), modifiers, true);
    }
    case 'BoolExpr':
      return compileLogic(body, scope);
    case 'NullTest': {
      const arg = compile(body.arg, scope);
      const wanted = body.nulltesttype === 'IS_NULL';
      return { type: 'bool', run: (env) => (arg.run(env) === null) === wanted };
    }
    case 'BooleanTest': {
      const arg = coerce(compile(body.arg, scope), 'bool');
      const test = body.booltesttype as string;
      const negated = test.startsWith('IS_NOT_');
      const wanted = test.endsWith('TRUE') ? true : test.endsWith('FALSE') ? false : null;
      return { type: 'bool', run: (env) => (arg.run(env) === wanted) !== negated };
    }
    case 'A_Expr':
      return compileOperator(body, scope);
    case 'CaseExpr':
      return compileCase(body, scope);
    case 'CoalesceExpr': {
      const args = unified((body.args as Node[]).map((arg) => compile(arg, scope)));
      return {
        type: args[0]!.type,
        run: (env) => {
          for (const arg of args) {
            const value = arg.run(env);
            if (value !== null) return value;
          }
          return null;
        },
      };
    }
    case 'MinMaxExpr': {
      const args = unified((body.args as Node[]).map((arg) => compile(arg, scope)));
      const type = args[0]!.type;
      const sign = body.op === 'IS_GREATEST' ? 1 : -1;
      return {
        type,
        run: (env) => {
          let best: Value = null;
          for (const arg of args) {
            const value = arg.run(env);
            if (value !== null && (best === null || compareValues(type, value, best) * sign > 0))
              best = value;
          }
          return best;
        },
      };
    }
    case 'FuncCall':
      return compileCall(body, scope);
    case 'SubLink':
      return compileSublink(body, scope);
    default:
      throw new ModelError('0A000', `the model does not know ${kind}`);
  }
}

/** Columns are told by where they lead, whatever they are written as. */
function groupText(node: Node, scope: Scope): string {
  if (kindOf(node) !== 'ColumnRef') return nodeText(node);
  const found = findColumn(fieldsOf(node.ColumnRef), scope);
  return found !== undefined && found.depth === 0 ? `column ${found.index}` : nodeText(node);
}
export function groupKeyText(node: Node, scope: Scope): string {
  return groupText(node, { ...scope, grouped: undefined });
}

function compileConstant(body: Node): Compiled {
  if (body.isnull === true) return { type: 'unknown', run: () => null, literal: null };
  if (body.ival !== undefined) return constant('int4', BigInt(body.ival.ival ?? 0));
  if (body.boolval !== undefined) return constant('bool', body.boolval.boolval === true);
  if (body.fval !== undefined) {
    const text = body.fval.fval as string;
    if (/^-?\d+$/.test(text)) {
      const value = BigInt(text);
      if (value < 1n << 63n && value >= -(1n << 63n)) return constant('int8', value);
    }
    return constant('numeric', parseNumeric(text));
  }
  const text = (body.sval?.sval ?? '') as string;
  return { type: 'unknown', run: () => text, literal: text };
}

export function fieldsOf(body: Node): string[] {
  return (body.fields as Node[]).map((field) => field.String?.sval as string);
}

function findColumn(
  fields: readonly string[],
  scope: Scope,
): { depth: number; index: number; type: Type } | undefined {
  const name = fields.at(-1)!;
  const table = fields.length > 1 ? fields.at(-2) : undefined;
  let depth = 0;
  for (
    let level: Scope | undefined = scope;
    level !== undefined;
    level = level.parent, depth += 1
  ) {
    const found = level.columns.flatMap((column, index) =>
      column.name === name &&
      (table === undefined ? column.hidden !== true : column.table === table)
        ? [index]
        : [],
    );
    if (found.length > 1) throw new ModelError('42702', `column reference "${name}" is ambiguous`);
    if (found.length === 1)
      return { depth, index: found[0]!, type: level.columns[found[0]!]!.type };
  }
  return undefined;
}

function compileColumn(body: Node, scope: Scope): Compiled {
  const fields = fieldsOf(body);
  const found = findColumn(fields, scope);
  if (found === undefined)
    throw new ModelError('42703', `column "${fields.join('.')}" does not exist`);
  const { depth, index, type } = found;
  return {
    type,
    run: (env) => {
      let at: Env = env;
      for (let step = 0; step < depth; step += 1) at = at.parent!;
      return at.row[index]!;
    },
  };
}

function compileLogic(body: Node, scope: Scope): Compiled {
  const args = (body.args as Node[]).map((arg) => coerce(compile(arg, scope), 'bool'));
  if (body.boolop === 'NOT_EXPR') {
    const arg = args[0]!;
    return { type: 'bool', run: (env) => not(arg.run(env)) };
  }
  const stop = body.boolop === 'OR_EXPR';
  return {
    type: 'bool',
    run: (env) => {
      let unknown = false;
      for (const arg of args) {
        const value = arg.run(env);
        if (value === stop) return stop;
        if (value === null) unknown = true;
      }
      return unknown ? null : !stop;
    },
  };
}
const not = (value: Value): Value => (value === null ? null : value !== true);

function compileCase(body: Node, scope: Scope): Compiled {
  const branches = (body.args as Node[]).map((arg) => arg.CaseWhen);
  const whens = branches.map((branch) => {
    if (body.arg === undefined) return coerce(compile(branch.expr, scope), 'bool');
    return comparison('=', compile(body.arg, scope), compile(branch.expr, scope));
  });
  const results = unified([
    ...branches.map((branch) => compile(branch.result, scope)),
    body.defresult === undefined
      ? { type: 'unknown' as const, run: () => null, literal: null }
      : compile(body.defresult, scope),
  ]);
  return {
    type: results[0]!.type,
    run: (env) => {
      const taken = whens.findIndex((when) => when.run(env) === true);
      return results[taken < 0 ? results.length - 1 : taken]!.run(env);
    },
  };
}

function compileOperator(body: Node, scope: Scope): Compiled {
  const name = (body.name as Node[]).at(-1).String.sval as string;
  const left = body.lexpr === undefined ? undefined : compile(body.lexpr, scope);
  switch (body.kind as string) {
    case 'AEXPR_OP': {
      const right = compile(body.rexpr, scope);
      return left === undefined ? unaryOperator(name, right) : binaryOperator(name, left, right);
    }
    case 'AEXPR_DISTINCT':
    case 'AEXPR_NOT_DISTINCT': {
      const [a, b] = unified([left!, compile(body.rexpr, scope)]);
      const wanted = body.kind === 'AEXPR_NOT_DISTINCT';
      return {
        type: 'bool',
        run: (env) => (keyOf(a!.type, a!.run(env)) === keyOf(b!.type, b!.run(env))) === wanted,
      };
    }
    case 'AEXPR_NULLIF': {
      const right = compile(body.rexpr, scope);
      const equal = comparison('=', left!, right);
      const first =
        left!.type === 'unknown'
          ? coerce(left!, right.type === 'unknown' ? 'text' : right.type)
          : left!;
      return { type: first.type, run: (env) => (equal.run(env) === true ? null : first.run(env)) };
    }
    case 'AEXPR_IN': {
      const items = (body.rexpr.List.items as Node[]).map((item) =>
        comparison('=', left!, compile(item, scope)),
      );
      const negated = name === '<>';
      return {
        type: 'bool',
        run: (env) =>
          negated
            ? not(any(items.map((item) => item.run(env))))
            : any(items.map((item) => item.run(env))),
      };
    }
    case 'AEXPR_BETWEEN':
    case 'AEXPR_NOT_BETWEEN': {
      const [low, high] = (body.rexpr.List.items as Node[]).map((item) => compile(item, scope));
      const from = comparison('>=', left!, low!);
      const to = comparison('<=', left!, high!);
      const negated = body.kind === 'AEXPR_NOT_BETWEEN';
      return {
        type: 'bool',
        run: (env) => {
          const inside = all([from.run(env), to.run(env)]);
          return negated ? not(inside) : inside;
        },
      };
    }
    case 'AEXPR_LIKE':
    case 'AEXPR_ILIKE': {
      const subject = coerce(left!, 'text');
      const pattern = coerce(compile(body.rexpr, scope), 'text');
      const negated = name.startsWith('!');
      const ignoreCase = body.kind === 'AEXPR_ILIKE';
      return {
        type: 'bool',
        run: (env) => {
          const text = subject.run(env);
          const like = pattern.run(env);
          if (text === null || like === null) return null;
          return likeMatches(text as string, like as string, ignoreCase) !== negated;
        },
      };
    }
    default:
      throw new ModelError('0A000', `the model does not know ${body.kind}`);
  }
}

const any = (values: readonly Value[]): Value =>
  values.includes(true) ? true : values.includes(null) ? null : false;
const all = (values: readonly Value[]): Value =>
  values.includes(false) ? false : values.includes(null) ? null : true;

function likeMatches(text: string, pattern: string, ignoreCase: boolean): boolean {
  let expression = '';
  const points = [...pattern];
  for (let index = 0; index < points.length; index += 1) {
    let point = points[index]!;
    if (point === '%') expression += '[^]*';
    else if (point === '_') expression += '[^]';
    else {
      if (point === '\\') {
        index += 1;
        if (index === points.length)
          throw new ModelError('22025', 'LIKE pattern must not end with escape character');
        point = points[index]!;
      }
      expression += point.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
    }
  }
  return new RegExp(`^${expression}$`, ignoreCase ? 'ui' : 'u').test(text);
}

function unaryOperator(name: string, arg: Compiled): Compiled {
  if (name === '+') return arg;
  if (name !== '-') throw new ModelError('0A000', `the model does not know operator ${name}`);
  return {
    type: arg.type,
    run: (env) => {
      const value = arg.run(env);
      if (value === null) return null;
      if (isFloat(arg.type)) return -(value as number);
      if (arg.type === 'numeric') return numericNegate(value as Numeric);
      if (arg.type === 'interval') return negateSpan(value as Span);
      return checkInteger(arg.type, -(value as bigint));
    },
  };
}
const negateSpan = (value: Span): Span => span(-value.months, -value.days, -value.micros);

const COMPARISONS: Readonly<Record<string, (order: number) => boolean>> = {
  '=': (order) => order === 0,
  '<>': (order) => order !== 0,
  '<': (order) => order < 0,
  '<=': (order) => order <= 0,
  '>': (order) => order > 0,
  '>=': (order) => order >= 0,
};

function comparison(name: string, a: Compiled, b: Compiled): Compiled {
  const [left, right] = unified([a, b]);
  const type = left!.type;
  const test = COMPARISONS[name]!;
  return {
    type: 'bool',
    run: (env) => {
      const x = left!.run(env);
      const y = right!.run(env);
      return x === null || y === null ? null : test(compareValues(type, x, y));
    },
  };
}

function binaryOperator(name: string, left: Compiled, right: Compiled): Compiled {
  if (COMPARISONS[name] !== undefined) return comparison(name, left, right);
  if (name === '||') {
    const [a, b] = [coerceToText(left), coerceToText(right)];
    return strict('text', [a, b], (x, y) => `${x as string}${y as string}`);
  }
  if (name === '~~' || name === '!~~') {
    return strict(
      'bool',
      [coerce(left, 'text'), coerce(right, 'text')],
      (x, y) => likeMatches(x as string, y as string, false) === (name === '~~'),
    );
  }
  const instant = instantArithmetic(name, left, right);
  if (instant !== undefined) return instant;
  if (name === '^') {
    if (left.type === 'numeric' || right.type === 'numeric')
      throw new ModelError('0A000', 'the model does not know numeric powers');
    return strict('float8', [coerce(left, 'float8'), coerce(right, 'float8')], (x, y) =>
      finite((x as number) ** (y as number), x as number, y as number),
    );
  }
  const [a, b] = unified([left, right]);
  const type = a!.type;
  if (!isNumber(type))
    throw new ModelError('42883', `operator does not exist: ${left.type} ${name} ${right.type}`);
  return strict(type, [a!, b!], (x, y) => arithmetic(name, type, x!, y!));
}

export function arithmetic(name: string, type: Type, x: Value, y: Value): Value {
  if (isInteger(type)) {
    const [a, b] = [x as bigint, y as bigint];
    if ((name === '/' || name === '%') && b === 0n)
      throw new ModelError('22012', 'division by zero');
    return checkInteger(
      type,
      name === '+'
        ? a + b
        : name === '-'
          ? a - b
          : name === '*'
            ? a * b
            : name === '/'
              ? a / b
              : a % b,
    );
  }
  if (type === 'numeric') {
    const [a, b] = [x as Numeric, y as Numeric];
    switch (name) {
      case '+':
        return numericAdd(a, b);
      case '-':
        return numericAdd(a, numericNegate(b));
      case '*':
        return numericMultiply(a, b);
      case '/':
        return numericDivide(a, b);
      default:
        return numericRemainder(a, b);
    }
  }
  const [a, b] = [x as number, y as number];
  if (name === '/' && b === 0 && !Number.isNaN(a))
    throw new ModelError('22012', 'division by zero');
  if (name === '%')
    throw new ModelError('42883', 'operator does not exist: double precision % double precision');
  const exact = name === '+' ? a + b : name === '-' ? a - b : name === '*' ? a * b : a / b;
  const result = type === 'float4' ? Math.fround(exact) : exact;
  if (
    result === 0 &&
    (name === '*' || name === '/') &&
    a !== 0 &&
    (name === '/' ? Number.isFinite(b) : b !== 0)
  ) {
    throw new ModelError('22003', 'value out of range: underflow');
  }
  return finite(result, a, b);
}

function finite(result: number, ...from: readonly number[]): number {
  if (!Number.isFinite(result) && !Number.isNaN(result) && from.every(Number.isFinite))
    throw new ModelError('22003', 'value out of range: overflow');
  return result;
}

function instantArithmetic(name: string, left: Compiled, right: Compiled): Compiled | undefined {
  const types = `${left.type} ${name} ${right.type}`;
  const ofDate = (days: Value): bigint => (days as bigint) * DAY_MICROS;
  switch (types) {
    case 'date + int4':
    case 'date + int2':
      return strict('date', [left, right], (x, y) => (x as bigint) + (y as bigint));
    case 'int4 + date':
      return strict('date', [left, right], (x, y) => (x as bigint) + (y as bigint));
    case 'date - int4':
    case 'date - int2':
      return strict('date', [left, right], (x, y) => (x as bigint) - (y as bigint));
    case 'date - date':
      return strict('int4', [left, right], (x, y) => (x as bigint) - (y as bigint));
    case 'date + interval':
      return strict('timestamp', [left, right], (x, y) => timestampPlus(ofDate(x), y as Span));
    case 'date - interval':
      return strict('timestamp', [left, right], (x, y) =>
        timestampPlus(ofDate(x), negateSpan(y as Span)),
      );
    case 'timestamp + interval':
    case 'timestamptz + interval':
      return strict(left.type, [left, right], (x, y) => timestampPlus(x as bigint, y as Span));
    case 'interval + timestamp':
    case 'interval + timestamptz':
      return strict(right.type, [left, right], (x, y) => timestampPlus(y as bigint, x as Span));
    case 'timestamp - interval':
    case 'timestamptz - interval':
      return strict(left.type, [left, right], (x, y) =>
        timestampPlus(x as bigint, negateSpan(y as Span)),
      );
    case 'interval + interval':
      return strict('interval', [left, right], (x, y) => addSpans(x as Span, y as Span));
    case 'interval - interval':
      return strict('interval', [left, right], (x, y) =>
        addSpans(x as Span, negateSpan(y as Span)),
      );
    case 'timestamp - timestamp':
    case 'timestamptz - timestamptz':
      return strict('interval', [left, right], (x, y) => {
        const micros = (x as bigint) - (y as bigint);
        return span(0n, micros / DAY_MICROS, micros % DAY_MICROS);
      });
    default:
      return undefined;
  }
}
const addSpans = (a: Span, b: Span): Span =>
  span(a.months + b.months, a.days + b.days, a.micros + b.micros);

/** NULL in, NULL out. */
function strict(
  type: Type,
  args: readonly Compiled[],
  apply: (...values: Value[]) => Value,
): Compiled {
  return {
    type,
    run: (env) => {
      const values = args.map((arg) => arg.run(env));
      return values.includes(null) ? null : apply(...values);
    },
  };
}

// ── types ──────────────────────────────────────────────────────────────────────────────────────────────────────

const TYPE_NAMES: Readonly<Record<string, Type>> = {
  bool: 'bool',
  int2: 'int2',
  int4: 'int4',
  int8: 'int8',
  float4: 'float4',
  float8: 'float8',
  numeric: 'numeric',
  text: 'text',
  varchar: 'text',
  date: 'date',
  timestamp: 'timestamp',
  timestamptz: 'timestamptz',
  interval: 'interval',
};

export function typeOf(typeName: Node): { type: Type; modifiers: readonly number[] } {
  const name = (typeName.names as Node[]).at(-1).String.sval as string;
  const type = TYPE_NAMES[name];
  if (type === undefined || typeName.arrayBounds !== undefined)
    throw new ModelError('0A000', `the model does not know type ${name}`);
  const modifiers = ((typeName.typmods ?? []) as Node[]).map(
    (modifier) => (modifier.A_Const?.ival?.ival ?? 0) as number,
  );
  return {
    type: type,
    modifiers:
      name === 'varchar'
        ? modifiers.map((length) => -length)
        : type === 'interval'
          ? []
          : modifiers,
  };
}

/** numeric(p, s) rounds and checks; varchar(n), here a negative modifier, cuts when cast and refuses when stored. */
export function applyModifiers(
  value: Compiled,
  modifiers: readonly number[],
  explicit: boolean,
): Compiled {
  const first = modifiers[0];
  if (first === undefined) return value;
  if (value.type === 'numeric') {
    const scale = modifiers[1] ?? 0;
    return strict('numeric', [value], (x) => {
      const rounded = rescale(x as Numeric, scale);
      if (!rounded.nan && (rounded.c >= pow10(first) || rounded.c <= -pow10(first)))
        throw new ModelError('22003', 'numeric field overflow');
      return rounded;
    });
  }
  if (value.type === 'text' && first < 0) {
    return strict('text', [value], (x) => {
      const points = [...(x as string)];
      if (points.length <= -first) return x!;
      if (!explicit && points.slice(-first).some((point) => point !== ' '))
        throw new ModelError('22001', `value too long for type character varying(${-first})`);
      return points.slice(0, -first).join('');
    });
  }
  return value;
}

/** The one type that all take part in: PostgreSQL's number ladder, date below timestamp, literals last. */
export function commonType(types: readonly Type[]): Type {
  const known = types.filter((type) => type !== 'unknown');
  if (known.length === 0) return 'text';
  if (known.every((type) => type === known[0])) return known[0]!;
  if (known.every(isNumber))
    return NUMBERS[Math.max(...known.map((type) => NUMBERS.indexOf(type)))]!;
  if (known.every(isInstant)) return known.includes('timestamptz') ? 'timestamptz' : 'timestamp';
  throw new ModelError('42804', `types ${known.join(' and ')} cannot be matched`);
}
export function unified(values: readonly Compiled[]): Compiled[] {
  const type = commonType(values.map((value) => value.type));
  return values.map((value) => coerce(value, type));
}

/** What happens by itself. */
export function coerce(value: Compiled, to: Type): Compiled {
  if (value.type === to) return value;
  if (value.literal !== undefined)
    return constant(to, value.literal === null ? null : parseValue(to, value.literal));
  const up =
    isNumber(value.type) && isNumber(to) && NUMBERS.indexOf(value.type) < NUMBERS.indexOf(to);
  if (up || (isInstant(value.type) && isInstant(to)) || value.type === 'unknown')
    return cast(value, to);
  throw new ModelError('42804', `${value.type} is given where ${to} is expected`);
}
/** What an INSERT or UPDATE may convert: any number to any number, besides. */
export function assign(value: Compiled, to: Type, modifiers: readonly number[]): Compiled {
  const assignable =
    (isNumber(value.type) && isNumber(to)) ||
    (isInstant(value.type) && isInstant(to)) ||
    to === 'text';
  return applyModifiers(assignable ? cast(value, to) : coerce(value, to), modifiers, false);
}
const coerceToText = (value: Compiled): Compiled =>
  value.type === 'text' ? value : cast(value, 'text');

export function cast(value: Compiled, to: Type): Compiled {
  const from = value.type;
  if (from === to) return value;
  if (value.literal !== undefined) return coerce(value, to);
  return strict(to, [value], (x) => castValue(from, to, x!));
}

export function castValue(from: Type, to: Type, x: Value): Value {
  if (to === 'text') return from === 'bool' ? String(x) : textOf(from, x);
  if (from === 'text' || from === 'unknown') return parseValue(to, x as string);
  if (from === 'bool' && to === 'int4') return x === true ? 1n : 0n;
  if (isInteger(from) && to === 'bool') return x !== 0n;
  if (isInteger(from)) {
    if (isInteger(to)) return checkInteger(to, x as bigint);
    if (to === 'numeric') return { c: x as bigint, s: 0 };
    if (isFloat(to)) return to === 'float4' ? Math.fround(Number(x)) : Number(x);
  }
  if (from === 'numeric') {
    const a = x as Numeric;
    if (isInteger(to)) {
      if (a.nan) throw new ModelError('22003', 'cannot convert NaN to integer');
      return checkInteger(to, rescale(a, 0).c);
    }
    if (isFloat(to)) {
      const double = Number(numericText(a));
      if (!Number.isFinite(double) && !a.nan)
        throw new ModelError('22003', 'value out of range: overflow');
      return to === 'float4' ? Math.fround(double) : double;
    }
  }
  if (isFloat(from)) {
    const double = x as number;
    if (to === 'float8') return double;
    if (to === 'float4') return finite(Math.fround(double), double);
    if (isInteger(to)) {
      if (!Number.isFinite(double)) throw new ModelError('22003', `${to} out of range`);
      return checkInteger(to, BigInt(roundHalfEven(double)));
    }
    if (to === 'numeric') {
      if (!Number.isFinite(double)) return parseNumeric(doubleText(double));
      const digits = Number(double.toPrecision(from === 'float4' ? 6 : 15));
      return parseNumeric(digits.toString());
    }
  }
  if (from === 'date' && (to === 'timestamp' || to === 'timestamptz'))
    return (x as bigint) * DAY_MICROS;
  if (to === 'date' && isInstant(from)) return floorDivide(x as bigint, DAY_MICROS);
  if (isInstant(from) && isInstant(to)) return x;
  throw new ModelError('42846', `cannot cast type ${from} to ${to}`);
}

function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest < 0.5 ? floor : rest > 0.5 ? floor + 1 : floor % 2 === 0 ? floor : floor + 1;
}

// ── functions ──────────────────────────────────────────────────────────────────────────────────────────────────

function compileCall(body: Node, scope: Scope): Compiled {
  const name = (body.funcname as Node[]).at(-1).String.sval as string;
  const nodes = (body.args ?? []) as Node[];
  if (body.over !== undefined)
    throw new ModelError('0A000', 'the model does not know window functions');
  if (isAggregate(name)) return compileAggregate(name, body, nodes, scope);
  const args = nodes.map((arg) => compile(arg, scope));
  const a = args[0];
  switch (name) {
    case 'abs':
      return strict(a!.type, [a!], (x) => {
        if (isFloat(a!.type)) return Math.abs(x as number);
        if (a!.type === 'numeric')
          return {
            ...(x as Numeric),
            c: (x as Numeric).c < 0n ? -(x as Numeric).c : (x as Numeric).c,
          };
        return (x as bigint) < 0n ? checkInteger(a!.type, -(x as bigint)) : x!;
      });
    case 'sign':
      return isFloat(a!.type)
        ? strict('float8', [coerce(a!, 'float8')], (x) =>
            Number.isNaN(x) ? NaN : representative([Math.sign(x as number)]),
          )
        : strict('numeric', [coerce(a!, 'numeric')], (x) => ({
            c: BigInt(numericCompare(x as Numeric, { c: 0n, s: 0 })),
            s: 0,
          }));
    case 'round':
    case 'trunc':
    case 'floor':
    case 'ceil':
    case 'ceiling':
      return rounding(name, args);
    case 'mod': {
      const [x, y] = unified(args);
      return strict(x!.type, [x!, y!], (m, n) => arithmetic('%', x!.type, m!, n!));
    }
    case 'sqrt':
      if (a!.type === 'numeric')
        throw new ModelError('0A000', 'the model does not know numeric roots');
      return strict('float8', [coerce(a!, 'float8')], (x) => {
        if ((x as number) < 0)
          throw new ModelError('2201F', 'cannot take square root of a negative number');
        return Math.sqrt(x as number);
      });
    case 'length':
    case 'char_length':
    case 'character_length':
      return strict('int4', [coerce(a!, 'text')], (x) => BigInt([...(x as string)].length));
    case 'upper':
      return strict('text', [coerce(a!, 'text')], (x) => (x as string).toUpperCase());
    case 'lower':
      return strict('text', [coerce(a!, 'text')], (x) => (x as string).toLowerCase());
    case 'reverse':
      return strict('text', [coerce(a!, 'text')], (x) => [...(x as string)].toReversed().join(''));
    case 'btrim':
    case 'ltrim':
    case 'rtrim':
      return trimming(name, args);
    case 'substring':
    case 'substr':
      return strict(
        'text',
        [coerce(a!, 'text'), ...args.slice(1).map((arg) => coerce(arg, 'int4'))],
        (x, from, count) => {
          const points = [...(x as string)];
          const start = Number(from);
          const end = count === undefined ? points.length + 1 : start + Number(count);
          if (count !== undefined && Number(count) < 0)
            throw new ModelError('22011', 'negative substring length not allowed');
          return points.slice(Math.max(0, start - 1), Math.max(0, end - 1)).join('');
        },
      );
    case 'left':
    case 'right':
      return strict('text', [coerce(a!, 'text'), coerce(args[1]!, 'int4')], (x, count) => {
        const points = [...(x as string)];
        const n = Number(count);
        if (name === 'left')
          return points.slice(0, n >= 0 ? n : Math.max(0, points.length + n)).join('');
        return points.slice(n >= 0 ? Math.max(0, points.length - n) : -n).join('');
      });
    case 'replace':
      return strict(
        'text',
        args.map((arg) => coerce(arg, 'text')),
        (x, from, to) =>
          from === '' ? x! : (x as string).replaceAll(from as string, () => to as string),
      );
    case 'concat': {
      const texts = args.map(coerceToText);
      return {
        type: 'text',
        run: (env) => texts.map((text) => (text.run(env) ?? '') as string).join(''),
      };
    }
    case 'date_trunc':
      return strict(
        args[1]!.type === 'date' ? 'timestamptz' : args[1]!.type,
        [coerce(a!, 'text'), args[1]!.type === 'date' ? cast(args[1]!, 'timestamptz') : args[1]!],
        (unit, x) => truncateInstant(unit as string, x as bigint),
      );
    case 'extract':
    case 'date_part': {
      const instant = args[1]!.type === 'date' ? cast(args[1]!, 'timestamp') : args[1]!;
      const type: Type = name === 'extract' ? 'numeric' : 'float8';
      return strict(type, [coerce(a!, 'text'), instant], (unit, x) => {
        const field = extractField(unit as string, x as bigint, args[1]!.type);
        return type === 'numeric' ? field : Number(numericText(field));
      });
    }
    default:
      throw new ModelError('42883', `the model does not know function ${name}`);
  }
}

function rounding(name: string, args: readonly Compiled[]): Compiled {
  const [value, digits] = args;
  if (isFloat(value!.type) && digits === undefined) {
    return strict('float8', [coerce(value!, 'float8')], (x) => {
      const double = x as number;
      switch (name) {
        case 'floor':
          return Math.floor(double);
        case 'trunc':
          return Math.trunc(double);
        case 'round':
          return Number.isFinite(double) ? roundHalfEven(double) : double;
        default:
          return Math.ceil(double);
      }
    });
  }
  const toNumeric =
    value!.type === 'numeric'
      ? value!
      : coerce(value!, isInteger(value!.type) && digits === undefined ? 'float8' : 'numeric');
  if (toNumeric.type === 'float8') return rounding(name, [toNumeric]);
  return strict(
    'numeric',
    digits === undefined ? [toNumeric] : [toNumeric, coerce(digits, 'int4')],
    (x, n) => {
      const a = x as Numeric;
      if (a.nan) return a;
      const scale = Number(n ?? 0n);
      if (name === 'round') {
        const rounded = scale >= 0 ? rescale(a, scale) : rescale(rescale(a, 0), 0);
        if (scale >= 0) return rounded;
        const step = pow10(-scale);
        return { c: rescale({ c: a.c, s: a.s - scale }, 0).c * step, s: 0 };
      }
      const unit = pow10(Math.max(0, a.s - Math.max(0, scale)));
      if (name === 'trunc')
        return { c: a.s <= scale ? rescale(a, scale).c : a.c / unit, s: Math.max(0, scale) };
      const floor = floorDivide(a.c, unit);
      return { c: name === 'floor' ? floor : -floorDivide(-a.c, unit), s: 0 };
    },
  );
}

function trimming(name: string, args: readonly Compiled[]): Compiled {
  return strict(
    'text',
    args.map((arg) => coerce(arg, 'text')),
    (x, set) => {
      const points = [...(x as string)];
      const unwanted = new Set((set ?? ' ') as string);
      let start = 0;
      let end = points.length;
      if (name !== 'rtrim') while (start < end && unwanted.has(points[start]!)) start += 1;
      if (name !== 'ltrim') while (end > start && unwanted.has(points[end - 1]!)) end -= 1;
      return points.slice(start, end).join('');
    },
  );
}

function truncateInstant(unit: string, micros: bigint): bigint {
  const days = floorDivide(micros, DAY_MICROS);
  const { year, month, weekday } = civilFromDays(days);
  const size: Readonly<Record<string, bigint>> = {
    microseconds: 1n,
    milliseconds: 1000n,
    second: 1_000_000n,
    minute: 60_000_000n,
    hour: 3_600_000_000n,
    day: DAY_MICROS,
  };
  const name = unit.toLowerCase();
  if (size[name] !== undefined) return micros - floorModulo(micros, size[name]);
  switch (name) {
    case 'week':
      return (days - BigInt((weekday + 6) % 7)) * DAY_MICROS;
    case 'month':
      return daysFromCivil(year, month, 1) * DAY_MICROS;
    case 'quarter':
      return daysFromCivil(year, month - ((month - 1) % 3), 1) * DAY_MICROS;
    case 'year':
      return daysFromCivil(year, 1, 1) * DAY_MICROS;
    default:
      throw new ModelError(
        '22023',
        `unit "${unit}" not recognized for type timestamp without time zone`,
      );
  }
}

function extractField(unit: string, micros: bigint, type: Type): Numeric {
  const days = floorDivide(micros, DAY_MICROS);
  const time = floorModulo(micros, DAY_MICROS);
  const { year, month, day, weekday } = civilFromDays(days);
  const whole = (n: number | bigint): Numeric => ({ c: BigInt(n), s: 0 });
  switch (unit.toLowerCase()) {
    case 'year':
      return whole(year);
    case 'quarter':
      return whole(Math.ceil(month / 3));
    case 'month':
      return whole(month);
    case 'day':
      return whole(day);
    case 'dow':
      return whole(weekday);
    case 'isodow':
      return whole(weekday === 0 ? 7 : weekday);
    case 'doy':
      return whole(days - daysFromCivil(year, 1, 1) + 1n);
    case 'hour':
      return whole(time / 3_600_000_000n);
    case 'minute':
      return whole((time / 60_000_000n) % 60n);
    case 'second':
      return { c: time % 60_000_000n, s: 6 };
    case 'epoch':
      return type === 'date' ? whole(days * 86_400n) : { c: micros, s: 6 };
    default:
      throw new ModelError('22023', `unit "${unit}" not recognized`);
  }
}

function compileAggregate(
  name: string,
  body: Node,
  nodes: readonly Node[],
  scope: Scope,
): Compiled {
  if (scope.grouped === undefined)
    throw new ModelError('42803', `aggregate functions are not allowed here: ${name}`);
  const inner: Scope = { ...scope, grouped: undefined };
  const args = nodes.map((arg) => compile(arg, inner));
  const filter =
    body.agg_filter === undefined ? undefined : coerce(compile(body.agg_filter, inner), 'bool');
  const orderBy = ((body.agg_order ?? []) as Node[]).map((item) => ({
    value: compile(item.SortBy.node, inner),
    compare: sortCompare(item.SortBy),
  }));
  const call = aggregateCall(
    name,
    body,
    args.map((arg) => (arg.type === 'unknown' ? coerce(arg, 'text') : arg)),
  );
  return {
    type: call.type,
    run: (env) => {
      let rows = env.group!.map((row): Env => ({ row, parent: env.parent }));
      if (filter !== undefined) rows = rows.filter((row) => filter.run(row) === true);
      if (orderBy.length > 0) {
        rows = rows.toSorted((x, y) => {
          for (const { value, compare } of orderBy) {
            const order = compare(value.type, value.run(x), value.run(y));
            if (order !== 0) return order;
          }
          return 0;
        });
      }
      return call.over(rows);
    },
  };
}

/** ORDER BY's comparison: NULLs last when ascending, first when descending, unless it says otherwise. */
export function sortCompare(sortBy: Node): (type: Type, a: Value, b: Value) => number {
  const descending = sortBy.sortby_dir === 'SORTBY_DESC';
  const nullsFirst =
    sortBy.sortby_nulls === 'SORTBY_NULLS_FIRST' ||
    (sortBy.sortby_nulls !== 'SORTBY_NULLS_LAST' && descending);
  return (type, a, b) => {
    if (a === null || b === null) return a === b ? 0 : (a === null) === nullsFirst ? -1 : 1;
    return descending ? compareValues(type, b, a) : compareValues(type, a, b);
  };
}

// ── subqueries ─────────────────────────────────────────────────────────────────────────────────────────────────

function compileSublink(body: Node, scope: Scope): Compiled {
  const query = scope.queries.compileQuery(body.subselect, scope);
  switch (body.subLinkType as string) {
    case 'EXISTS_SUBLINK':
      return { type: 'bool', run: (env) => query.run(env).length > 0 };
    case 'EXPR_SUBLINK':
      return {
        type: query.columns[0]!.type,
        run: (env) => {
          const rows = query.run(env);
          if (rows.length > 1)
            throw new ModelError(
              '21000',
              'more than one row returned by a subquery used as an expression',
            );
          return rows.length === 0 ? null : rows[0]![0]!;
        },
      };
    case 'ANY_SUBLINK':
    case 'ALL_SUBLINK': {
      const operator =
        body.operName === undefined
          ? '='
          : ((body.operName as Node[]).at(-1).String.sval as string);
      const lefts =
        body.testexpr.RowExpr === undefined
          ? [body.testexpr]
          : (body.testexpr.RowExpr.args as Node[]);
      let current: Row = [];
      const tests = lefts.map((left: Node, index: number) =>
        comparison(operator, compile(left, scope), {
          type: query.columns[index]!.type,
          run: () => current[index]!,
        }),
      );
      const test = (env: Env, row: Row): Value => {
        current = row;
        return all(tests.map((each) => each.run(env)));
      };
      return {
        type: 'bool',
        run: (env) => {
          const answers = query.run(env).map((row) => test(env, row));
          return body.subLinkType === 'ANY_SUBLINK' ? any(answers) : all(answers);
        },
      };
    }
    default:
      throw new ModelError('0A000', `the model does not know ${body.subLinkType}`);
  }
}
