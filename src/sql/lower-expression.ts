import { DbError } from '../base/errors.ts';
import type {
  A_Const,
  A_Expr,
  A_Indirection,
  BoolExpr,
  ColumnRef,
  FuncCall,
  Node,
  SubLink,
  TypeName,
  WindowDef,
} from 'libpg-query';
import type { TextPlace } from '../base/errors.ts';
import type { FrameBound, OrderItem, SqlExpression, TypeNameNode, WindowSpec } from './ast.ts';
import { lowerQuery } from './lower-query.ts';
import {
  as,
  type AnyNode,
  kindOf,
  type Lowering,
  namesOf,
  UnsupportedSyntax,
  wordsOfKind,
} from './raw-tree.ts';

export function lowerExpression(low: Lowering, node: Node | undefined): SqlExpression {
  if (node === undefined) throw new UnsupportedSyntax('an expression of this form');
  low.enter();
  const lowered = lowerNode(low, node as AnyNode, kindOf(node));
  low.leave();
  return lowered;
}

export function lowerExpressions(
  low: Lowering,
  nodes: readonly Node[] | undefined,
): SqlExpression[] {
  const lowered: SqlExpression[] = [];
  if (nodes !== undefined) for (const node of nodes) lowered.push(lowerExpression(low, node));
  return lowered;
}

export function lowerOptional(low: Lowering, node: Node | undefined): SqlExpression | undefined {
  return node === undefined ? undefined : lowerExpression(low, node);
}

function lowerNode(low: Lowering, node: AnyNode, kind: string): SqlExpression {
  switch (kind) {
    case 'ColumnRef':
      return lowerColumn(low, node.ColumnRef);
    case 'A_Const':
      return lowerConstant(low, node.A_Const);
    case 'A_Expr':
      return lowerOperator(low, node.A_Expr);
    case 'BoolExpr':
      return lowerBoolean(low, node.BoolExpr);
    case 'FuncCall':
      return lowerCall(low, node.FuncCall);
    case 'TypeCast': {
      const arg = lowerExpression(low, node.TypeCast.arg);
      const type = lowerTypeName(low, node.TypeCast.typeName);
      // `date '2026-01-01'` has no place of its own; its type's name is where it begins.
      return { at: low.at(node.TypeCast.location) ?? type.at ?? arg.at, kind: 'cast', arg, type };
    }
    case 'ParamRef':
      return lowerParameter(low, node.ParamRef.number ?? 0, low.at(node.ParamRef.location));
    case 'NullTest': {
      const { arg, nulltesttype, location } = node.NullTest;
      const test = nulltesttype === 'IS_NOT_NULL' ? 'isNotNull' : 'isNull';
      return { at: low.at(location), kind: test, arg: lowerExpression(low, arg) };
    }
    case 'BooleanTest': {
      const { arg, booltesttype, location } = node.BooleanTest;
      const test = BOOLEAN_TESTS[booltesttype ?? 'IS_TRUE']!;
      return { at: low.at(location), kind: 'isBoolean', arg: lowerExpression(low, arg), test };
    }
    case 'CaseExpr': {
      const { arg, args, defresult, location } = node.CaseExpr;
      const branches = (args ?? []).map((branch) => {
        const when = as(branch, 'CaseWhen');
        // oxlint-disable-next-line unicorn/no-thenable -- WHEN … THEN; nothing awaits a syntax tree.
        return { when: lowerExpression(low, when?.expr), then: lowerExpression(low, when?.result) };
      });
      return {
        at: low.at(location),
        kind: 'case',
        arg: lowerOptional(low, arg),
        branches,
        otherwise: lowerOptional(low, defresult),
      };
    }
    case 'CoalesceExpr':
      return {
        at: low.at(node.CoalesceExpr.location),
        kind: 'coalesce',
        args: lowerExpressions(low, node.CoalesceExpr.args),
      };
    case 'MinMaxExpr': {
      const which = node.MinMaxExpr.op === 'IS_LEAST' ? 'least' : 'greatest';
      return {
        at: low.at(node.MinMaxExpr.location),
        kind: which,
        args: lowerExpressions(low, node.MinMaxExpr.args),
      };
    }
    case 'SQLValueFunction': {
      const { op, typmod, location } = node.SQLValueFunction;
      const name = (op ?? '')
        .replace(/^SVFOP_/, '')
        .replace(/_N$/, '')
        .toLowerCase();
      // The JSON leaves a precision of 0 out, but only the …_N forms have one.
      const precision = (op ?? '').endsWith('_N') ? (typmod ?? 0) : undefined;
      return {
        at: low.at(location),
        kind: 'sqlValue',
        name,
        ...(precision === undefined ? {} : { precision }),
      };
    }
    case 'SubLink':
      return lowerSubquery(low, node.SubLink, false);
    case 'RowExpr':
      return {
        at: low.at(node.RowExpr.location),
        kind: 'row',
        items: lowerExpressions(low, node.RowExpr.args),
      };
    case 'A_ArrayExpr':
      return {
        at: low.at(node.A_ArrayExpr.location),
        kind: 'array',
        items: lowerExpressions(low, node.A_ArrayExpr.elements),
      };
    case 'A_Indirection':
      return lowerIndirection(low, node.A_Indirection);
    case 'CollateClause': {
      const { arg, collname, location } = node.CollateClause;
      const names = namesOf(collname);
      return {
        at: low.at(location),
        kind: 'collate',
        arg: lowerExpression(low, arg),
        collation: names.at(-1) ?? '',
      };
    }
    case 'GroupingFunc':
      return {
        at: low.at(node.GroupingFunc.location),
        kind: 'grouping',
        args: lowerExpressions(low, node.GroupingFunc.args),
      };
    case 'SetToDefault':
      throw new UnsupportedSyntax('DEFAULT in this place', low.at(node.SetToDefault.location));
    default:
      return { kind: 'unsupported', what: EXPRESSION_NAMES[kind] ?? wordsOfKind(kind) };
  }
}

function lowerColumn(low: Lowering, column: ColumnRef): SqlExpression {
  const at = low.at(column.location);
  const fields = column.fields ?? [];
  const parts: string[] = [];
  for (const field of fields) {
    const name = as(field, 'String');
    if (name === undefined)
      return { at, kind: 'unsupported', what: 'a whole row (*) as an expression' };
    parts.push(name.sval ?? '');
  }
  return { at, kind: 'column', parts };
}

function lowerConstant(low: Lowering, constant: A_Const): SqlExpression {
  const at = low.at(constant.location);
  if (constant.ival !== undefined)
    return { at, kind: 'number', text: String(constant.ival.ival ?? 0) };
  if (constant.sval !== undefined) return { at, kind: 'string', value: constant.sval.sval ?? '' };
  if (constant.fval !== undefined)
    return { at, kind: 'number', text: plainNumber(constant.fval.fval ?? '0') };
  if (constant.boolval !== undefined)
    return { at, kind: 'boolean', value: constant.boolval.boolval === true };
  if (constant.bsval !== undefined)
    return { at, kind: 'bitString', value: constant.bsval.bsval ?? 'b' };
  return { at, kind: 'null' };
}

/** Without the digits' underscores, and hexadecimal, octal and binary integers in decimal. */
export function plainNumber(text: string): string {
  const plain = text.includes('_') ? text.replaceAll('_', '') : text;
  if (/^-?0[xob]/i.test(plain))
    return plain.startsWith('-') ? `-${BigInt(plain.slice(1))}` : BigInt(plain).toString();
  return /^-?0\d+$/.test(plain) ? BigInt(plain).toString() : plain;
}

/** PostgreSQL counts parameters from 1 in an int2 (and so does the wire). */
const PARAMETER_NUMBER_MAX = 65_535;

function lowerParameter(low: Lowering, number: number, at: TextPlace | undefined): SqlExpression {
  if (number < 1 || number > PARAMETER_NUMBER_MAX)
    throw new DbError('42P02', `there is no parameter $${number}`, {
      at,
      hint: `Parameters are $1 to $${PARAMETER_NUMBER_MAX}.`,
    });
  if (number > low.parameterCount) low.parameterCount = number;
  return { at, kind: 'parameter', index: number - 1 };
}

function lowerOperator(low: Lowering, expression: A_Expr): SqlExpression {
  const at = low.at(expression.location);
  const operator = operatorName(expression.name, at);
  switch (expression.kind) {
    case 'AEXPR_OP': {
      const right = expression.rexpr;
      // Postfix operators left PostgreSQL with version 14, so the right side is always there.
      if (expression.lexpr === undefined)
        return { at, kind: 'unary', operator, arg: lowerExpression(low, right) };
      const left = lowerExpression(low, expression.lexpr);
      return { at, kind: 'binary', operator, left, right: lowerExpression(low, right) };
    }
    case 'AEXPR_OP_ANY':
    case 'AEXPR_OP_ALL': {
      const arg = lowerExpression(low, expression.lexpr);
      const all = expression.kind === 'AEXPR_OP_ALL';
      return {
        at,
        kind: 'anyArray',
        arg,
        operator,
        all,
        array: lowerExpression(low, expression.rexpr),
      };
    }
    case 'AEXPR_DISTINCT':
    case 'AEXPR_NOT_DISTINCT': {
      const left = lowerExpression(low, expression.lexpr);
      const negated = expression.kind === 'AEXPR_NOT_DISTINCT';
      return {
        at,
        kind: 'isDistinct',
        left,
        right: lowerExpression(low, expression.rexpr),
        negated,
      };
    }
    case 'AEXPR_NULLIF':
      return {
        at,
        kind: 'nullIf',
        left: lowerExpression(low, expression.lexpr),
        right: lowerExpression(low, expression.rexpr),
      };
    case 'AEXPR_IN': {
      const arg = lowerExpression(low, expression.lexpr);
      const values = lowerExpressions(low, as(expression.rexpr, 'List')?.items);
      return { at, kind: 'inList', arg, values, negated: operator === '<>' };
    }
    case 'AEXPR_LIKE':
    case 'AEXPR_ILIKE':
    case 'AEXPR_SIMILAR':
      return lowerLike(low, expression, operator, at);
    default:
      return lowerBetween(low, expression, at);
  }
}

function operatorName(nodes: readonly Node[] | undefined, at: TextPlace | undefined): string {
  const names = namesOf(nodes);
  if (names.length > 1 && names[0] !== 'pg_catalog')
    throw new UnsupportedSyntax('an operator of another schema', at);
  return names.at(-1) ?? '';
}

function lowerBetween(low: Lowering, expression: A_Expr, at: TextPlace | undefined): SqlExpression {
  const kind = expression.kind ?? '';
  const arg = lowerExpression(low, expression.lexpr);
  const [low_, high] = lowerExpressions(low, as(expression.rexpr, 'List')?.items);
  if (low_ === undefined || high === undefined)
    return { at, kind: 'unsupported', what: wordsOfKind(kind) };
  return {
    at,
    kind: 'between',
    arg,
    low: low_,
    high,
    negated: kind.startsWith('AEXPR_NOT_'),
    symmetric: kind.endsWith('_SYM'),
  };
}

/** The grammar wraps a pattern that has an ESCAPE into a call of like_escape or similar_to_escape. */
function lowerLike(
  low: Lowering,
  expression: A_Expr,
  operator: string,
  at: TextPlace | undefined,
): SqlExpression {
  const arg = lowerExpression(low, expression.lexpr);
  const call = as(expression.rexpr, 'FuncCall');
  const name = namesOf(call?.funcname).join('.');
  const isWrapped = name === 'pg_catalog.like_escape' || name === 'pg_catalog.similar_to_escape';
  const [pattern, escape] = isWrapped
    ? lowerExpressions(low, call?.args)
    : [lowerExpression(low, expression.rexpr)];
  return {
    at,
    kind: 'like',
    arg,
    pattern: pattern!,
    escape,
    caseInsensitive: expression.kind === 'AEXPR_ILIKE',
    similar: expression.kind === 'AEXPR_SIMILAR',
    negated: operator.startsWith('!'),
  };
}

function lowerBoolean(low: Lowering, expression: BoolExpr): SqlExpression {
  const at = low.at(expression.location);
  if (expression.boolop !== 'NOT_EXPR') {
    return {
      at,
      kind: expression.boolop === 'OR_EXPR' ? 'or' : 'and',
      args: lowerExpressions(low, expression.args),
    };
  }
  const inner = expression.args?.[0];
  const subquery = as(inner, 'SubLink');
  // `x NOT IN (SELECT …)` is to the parser NOT (x IN (SELECT …)), and IN is = ANY.
  const isIn =
    subquery?.subLinkType === 'ANY_SUBLINK' && (namesOf(subquery.operName).at(-1) ?? '=') === '=';
  if (isIn) return lowerSubquery(low, subquery, true);
  return { at, kind: 'not', arg: lowerExpression(low, inner) };
}

function lowerSubquery(low: Lowering, link: SubLink, negated: boolean): SqlExpression {
  const at = low.at(link.location);
  const select = as(link.subselect, 'SelectStmt');
  if (select === undefined) return { at, kind: 'unsupported', what: 'a subquery of this form' };
  const query = lowerQuery(low, select, at);
  switch (link.subLinkType) {
    case 'EXISTS_SUBLINK':
      return { at, kind: 'subquery', mode: 'exists', query };
    case 'EXPR_SUBLINK':
      return { at, kind: 'subquery', mode: 'scalar', query };
    case 'ARRAY_SUBLINK':
      return { at, kind: 'subquery', mode: 'array', query };
    case 'ANY_SUBLINK':
    case 'ALL_SUBLINK': {
      const left = lowerExpression(low, link.testexpr);
      const operator = link.operName === undefined ? '=' : operatorName(link.operName, at);
      return {
        at,
        kind: 'quantified',
        mode: link.subLinkType === 'ALL_SUBLINK' ? 'all' : 'any',
        left,
        operator,
        query,
        negated,
      };
    }
    default:
      return { at, kind: 'unsupported', what: 'a subquery of this form' };
  }
}

function lowerIndirection(low: Lowering, indirection: A_Indirection): SqlExpression {
  let arg = lowerExpression(low, indirection.arg);
  let index: SqlExpression[] | undefined;
  for (const step of indirection.indirection ?? []) {
    const indices = as(step, 'A_Indices');
    if (indices !== undefined) {
      if (indices.is_slice === true)
        return { at: arg.at, kind: 'unsupported', what: 'an array slice' };
      const subscript = lowerExpression(low, indices.uidx);
      // a[1][2] is one subscript of two dimensions.
      if (index === undefined)
        arg = { at: arg.at, kind: 'subscript', arg, index: (index = [subscript]) };
      else index.push(subscript);
      continue;
    }
    const name = as(step, 'String');
    if (name === undefined)
      return { at: arg.at, kind: 'unsupported', what: 'a whole row (*) of an expression' };
    index = undefined;
    arg = { at: arg.at, kind: 'field', arg, name: name.sval ?? '' };
  }
  return arg;
}

// ── Calls ──────────────────────────────────────────────────────────────────────────────────────────────────────

export function lowerCall(low: Lowering, call: FuncCall): SqlExpression {
  const at = low.at(call.location);
  const names = namesOf(call.funcname);
  const name = names.at(-1) ?? '';
  if (names.length > 2) return { at, kind: 'unsupported', what: 'a function of another database' };
  const args: { readonly value: SqlExpression; readonly name?: string | undefined }[] = [];
  for (const arg of call.args ?? []) {
    const named = as(arg, 'NamedArgExpr');
    if (named === undefined) args.push({ value: lowerExpression(low, arg) });
    else args.push({ value: lowerExpression(low, named.arg), name: named.name ?? '' });
  }
  if (name === 'timezone' && call.funcformat === 'COERCE_SQL_SYNTAX' && args.length === 2) {
    return { at, kind: 'atTimeZone', arg: args[1]!.value, zone: args[0]!.value };
  }
  return {
    at,
    kind: 'call',
    name,
    schema: names.length === 2 && names[0] !== 'pg_catalog' ? names[0] : undefined,
    args,
    star: call.agg_star === true,
    distinct: call.agg_distinct === true,
    orderBy: lowerOrder(low, call.agg_order),
    withinGroup: call.agg_within_group === true,
    filter: lowerOptional(low, call.agg_filter),
    over: call.over === undefined ? undefined : lowerOver(low, call.over),
    variadic: call.func_variadic === true,
  };
}

function lowerOver(
  low: Lowering,
  window: WindowDef,
): Extract<SqlExpression, { kind: 'call' }>['over'] {
  return window.name === undefined
    ? { kind: 'spec', window: lowerWindow(low, window) }
    : { kind: 'name', name: window.name };
}

export function lowerOrder(low: Lowering, nodes: readonly Node[] | undefined): OrderItem[] {
  const items: OrderItem[] = [];
  for (const node of nodes ?? []) {
    const sort = as(node, 'SortBy');
    if (sort === undefined) throw new UnsupportedSyntax('ORDER BY of this form');
    const expression = lowerExpression(low, sort.node);
    const nulls = sort.sortby_nulls;
    items.push({
      expression,
      descending: sort.sortby_dir === 'SORTBY_DESC',
      nullsFirst:
        nulls === 'SORTBY_NULLS_FIRST' ? true : nulls === 'SORTBY_NULLS_LAST' ? false : undefined,
      using:
        sort.sortby_dir === 'SORTBY_USING' ? operatorName(sort.useOp, expression.at) : undefined,
    });
  }
  return items;
}

export function lowerWindow(low: Lowering, window: WindowDef): WindowSpec {
  return {
    name: window.refname,
    partitionBy: lowerExpressions(low, window.partitionClause),
    orderBy: lowerOrder(low, window.orderClause),
    frame: lowerFrame(low, window),
  };
}

/** Bits of `frameOptions`, from PostgreSQL's parsenodes.h. */
const FRAME = {
  nonDefault: 0x1,
  range: 0x2,
  rows: 0x4,
  startUnboundedPreceding: 0x20,
  endUnboundedPreceding: 0x40,
  startUnboundedFollowing: 0x80,
  endUnboundedFollowing: 0x100,
  startCurrentRow: 0x200,
  endCurrentRow: 0x400,
  startPreceding: 0x800,
  endPreceding: 0x1000,
  startFollowing: 0x2000,
  endFollowing: 0x4000,
  excludeCurrent: 0x8000,
  excludeGroup: 0x1_0000,
  excludeTies: 0x2_0000,
} as const;

function lowerFrame(low: Lowering, window: WindowDef): WindowSpec['frame'] {
  const bits = window.frameOptions ?? 0;
  if ((bits & FRAME.nonDefault) === 0) return undefined;
  return {
    mode: (bits & FRAME.rows) !== 0 ? 'rows' : (bits & FRAME.range) !== 0 ? 'range' : 'groups',
    start: lowerBound(low, bits, window.startOffset, {
      unboundedPreceding: FRAME.startUnboundedPreceding,
      currentRow: FRAME.startCurrentRow,
      preceding: FRAME.startPreceding,
      following: FRAME.startFollowing,
    }),
    end: lowerBound(low, bits, window.endOffset, {
      unboundedPreceding: FRAME.endUnboundedPreceding,
      currentRow: FRAME.endCurrentRow,
      preceding: FRAME.endPreceding,
      following: FRAME.endFollowing,
    }),
    exclude:
      (bits & FRAME.excludeCurrent) !== 0
        ? 'current'
        : (bits & FRAME.excludeGroup) !== 0
          ? 'group'
          : (bits & FRAME.excludeTies) !== 0
            ? 'ties'
            : 'none',
  };
}

function lowerBound(
  low: Lowering,
  bits: number,
  offset: Node | undefined,
  of: {
    readonly unboundedPreceding: number;
    readonly currentRow: number;
    readonly preceding: number;
    readonly following: number;
  },
): FrameBound {
  if ((bits & of.unboundedPreceding) !== 0) return { kind: 'unboundedPreceding' };
  if ((bits & of.currentRow) !== 0) return { kind: 'currentRow' };
  if ((bits & of.preceding) !== 0)
    return { kind: 'preceding', offset: lowerExpression(low, offset) };
  if ((bits & of.following) !== 0)
    return { kind: 'following', offset: lowerExpression(low, offset) };
  return { kind: 'unboundedFollowing' };
}

// ── Types ──────────────────────────────────────────────────────────────────────────────────────────────────────

export function lowerTypeName(low: Lowering, type: TypeName | undefined): TypeNameNode {
  const at = low.at(type?.location ?? -1);
  const names = namesOf(type?.names);
  if (type === undefined || names.length === 0 || names.length > 2 || type.pct_type === true) {
    throw new UnsupportedSyntax('a type of this form', at);
  }
  const modifiers = (type.typmods ?? []).map((node) => {
    const value = as(node, 'A_Const')?.ival;
    if (value === undefined)
      throw new UnsupportedSyntax('a type modifier that is not an integer', at);
    return value.ival ?? 0;
  });
  return {
    name: names.at(-1)!,
    schema: names.length === 2 && names[0] !== 'pg_catalog' ? names[0] : undefined,
    modifiers,
    arrayDimensions: type.arrayBounds?.length ?? 0,
    setOf: type.setof === true,
    at,
  };
}

const BOOLEAN_TESTS = {
  IS_TRUE: 'true',
  IS_NOT_TRUE: 'notTrue',
  IS_FALSE: 'false',
  IS_NOT_FALSE: 'notFalse',
  IS_UNKNOWN: 'unknown',
  IS_NOT_UNKNOWN: 'notUnknown',
} as const;

const EXPRESSION_NAMES: Readonly<Record<string, string>> = {
  CurrentOfExpr: 'WHERE CURRENT OF',
  MergeSupportFunc: 'MERGE_ACTION',
  XmlExpr: 'XML',
  XmlSerialize: 'XMLSERIALIZE',
  JsonFuncExpr: 'JSON_EXISTS, JSON_QUERY and JSON_VALUE',
  JsonObjectConstructor: 'JSON_OBJECT',
  JsonArrayConstructor: 'JSON_ARRAY',
  JsonArrayQueryConstructor: 'JSON_ARRAY',
  JsonObjectAgg: 'JSON_OBJECTAGG',
  JsonArrayAgg: 'JSON_ARRAYAGG',
  JsonIsPredicate: 'IS JSON',
  JsonParseExpr: 'JSON()',
  JsonScalarExpr: 'JSON_SCALAR',
  JsonSerializeExpr: 'JSON_SERIALIZE',
};
