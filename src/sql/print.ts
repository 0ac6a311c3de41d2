import { unreachable } from '../base/errors.ts';
import type {
  Alias,
  DefaultMarker,
  FrameBound,
  FromItem,
  GroupItem,
  InsertStatement,
  OrderItem,
  Query,
  RelationName,
  SelectBody,
  SelectItem,
  SetClause,
  SqlExpression,
  Statement,
  TypeNameNode,
  WindowSpec,
  WithClause,
} from './ast.ts';
import { quoteName, quoteText } from '../base/keywords.ts';

/**
 * A tree as SQL, on one line. It parses to an equal tree, places aside; operands that are themselves operators
 * stand in parentheses, so no reader needs to know how strongly an operator binds. Names are quoted where needed.
 */
export function printExpression(expression: SqlExpression): string {
  const e = expression;
  switch (e.kind) {
    case 'column':
      return e.parts.map(quoteName).join('.');
    case 'null':
      return 'NULL';
    case 'boolean':
      return e.value ? 'true' : 'false';
    case 'number':
      return e.text;
    case 'string':
      return quoteText(e.value);
    case 'bitString':
      return `${e.value.slice(0, 1)}'${e.value.slice(1)}'`;
    case 'parameter':
      return `$${e.index + 1}`;
    case 'unary':
      // - 5 would be read as the number −5.
      if (e.operator === '-' && e.arg.kind === 'number')
        return `OPERATOR(pg_catalog.-) ${operand(e.arg)}`;
      return `${e.operator} ${operand(e.arg)}`;
    case 'binary':
      return `${operand(e.left)} ${e.operator} ${operand(e.right)}`;
    case 'and':
      return e.args.map(operand).join(' AND ');
    case 'or':
      return e.args.map(operand).join(' OR ');
    case 'not':
      return `NOT ${operand(e.arg)}`;
    case 'isNull':
      return `${operand(e.arg)} IS NULL`;
    case 'isNotNull':
      return `${operand(e.arg)} IS NOT NULL`;
    case 'isBoolean':
      return `${operand(e.arg)} IS ${BOOLEAN_TESTS[e.test]}`;
    case 'isDistinct':
      return `${operand(e.left)} IS ${not(e.negated)}DISTINCT FROM ${operand(e.right)}`;
    case 'between': {
      const symmetric = e.symmetric ? 'SYMMETRIC ' : '';
      return `${operand(e.arg)} ${not(e.negated)}BETWEEN ${symmetric}${operand(e.low)} AND ${operand(e.high)}`;
    }
    case 'like': {
      const operator = e.similar ? 'SIMILAR TO' : e.caseInsensitive ? 'ILIKE' : 'LIKE';
      const escape = e.escape === undefined ? '' : ` ESCAPE ${operand(e.escape)}`;
      return `${operand(e.arg)} ${not(e.negated)}${operator} ${operand(e.pattern)}${escape}`;
    }
    case 'inList':
      return `${operand(e.arg)} ${not(e.negated)}IN (${printList(e.values)})`;
    case 'anyArray':
      return `${operand(e.arg)} ${e.operator} ${e.all ? 'ALL' : 'ANY'} (${printExpression(e.array)})`;
    case 'case':
      return printCase(e);
    case 'coalesce':
    case 'greatest':
    case 'least':
      return `${e.kind.toUpperCase()}(${printList(e.args)})`;
    case 'nullIf':
      return `NULLIF(${printExpression(e.left)}, ${printExpression(e.right)})`;
    case 'cast':
      return `${operand(e.arg)}::${printTypeName(e.type)}`;
    case 'call':
      return printCall(e);
    case 'sqlValue':
      return `${e.name.toUpperCase()}${e.precision === undefined ? '' : `(${e.precision})`}`;
    case 'subquery':
      return `${e.mode === 'exists' ? 'EXISTS ' : e.mode === 'array' ? 'ARRAY' : ''}(${printQuery(e.query)})`;
    case 'quantified':
      return printQuantified(e);
    case 'row':
      return `ROW(${printList(e.items)})`;
    case 'array':
      return `ARRAY[${printList(e.items)}]`;
    case 'subscript':
      return `${subscripted(e.arg)}${e.index.map((index) => `[${printExpression(index)}]`).join('')}`;
    case 'field':
      return `(${printExpression(e.arg)}).${quoteName(e.name)}`;
    case 'collate':
      return `${operand(e.arg)} COLLATE ${quoteName(e.collation)}`;
    case 'atTimeZone':
      return `${operand(e.arg)} AT TIME ZONE ${operand(e.zone)}`;
    case 'grouping':
      return `GROUPING(${printList(e.args)})`;
    case 'unsupported':
      return `/* ${e.what} */ NULL`;
    default:
      return unreachable(e);
  }
}

type Of<K extends SqlExpression['kind']> = Extract<SqlExpression, { readonly kind: K }>;

/** Kinds that need no parentheses as an operand. */
const PRIMARY: ReadonlySet<SqlExpression['kind']> = new Set([
  'column',
  'null',
  'boolean',
  'string',
  'bitString',
  'parameter',
  'case',
  'coalesce',
  'greatest',
  'least',
  'nullIf',
  'cast',
  'call',
  'sqlValue',
  'subquery',
  'row',
  'array',
  'subscript',
  'field',
  'grouping',
]);

function operand(expression: SqlExpression): string {
  const text = printExpression(expression);
  if (expression.kind === 'number') return text.startsWith('-') ? `(${text})` : text;
  return PRIMARY.has(expression.kind) ? text : `(${text})`;
}

function subscripted(expression: SqlExpression): string {
  const isPlain = expression.kind === 'column' || expression.kind === 'parameter';
  return isPlain ? printExpression(expression) : `(${printExpression(expression)})`;
}

function printList(expressions: readonly SqlExpression[]): string {
  return expressions.map(printExpression).join(', ');
}

function not(negated: boolean): string {
  return negated ? 'NOT ' : '';
}

const BOOLEAN_TESTS = {
  true: 'TRUE',
  notTrue: 'NOT TRUE',
  false: 'FALSE',
  notFalse: 'NOT FALSE',
  unknown: 'UNKNOWN',
  notUnknown: 'NOT UNKNOWN',
} as const;

function printCase(e: Of<'case'>): string {
  const arg = e.arg === undefined ? '' : ` ${printExpression(e.arg)}`;
  const branches = e.branches
    .map(({ when, then }) => ` WHEN ${printExpression(when)} THEN ${printExpression(then)}`)
    .join('');
  const otherwise = e.otherwise === undefined ? '' : ` ELSE ${printExpression(e.otherwise)}`;
  return `CASE${arg}${branches}${otherwise} END`;
}

function printQuantified(e: Of<'quantified'>): string {
  const query = `(${printQuery(e.query)})`;
  if (e.mode === 'any' && e.operator === '=')
    return `${operand(e.left)} ${not(e.negated)}IN ${query}`;
  const comparison = `${operand(e.left)} ${e.operator} ${e.mode === 'any' ? 'ANY' : 'ALL'} ${query}`;
  return e.negated ? `NOT (${comparison})` : comparison;
}

function printCall(e: Of<'call'>): string {
  const name =
    e.schema === undefined ? quoteName(e.name) : `${quoteName(e.schema)}.${quoteName(e.name)}`;
  const field = e.args[0]?.value;
  const isPlain =
    e.schema === undefined &&
    !e.distinct &&
    e.orderBy.length === 0 &&
    !e.variadic &&
    e.args.length === 2;
  if (
    isPlain &&
    e.name === 'extract' &&
    field?.kind === 'string' &&
    /^[a-z_]+$/.test(field.value)
  ) {
    return `extract(${quoteName(field.value)} FROM ${printExpression(e.args[1]!.value)})${printCallTail(e)}`;
  }
  const args = e.args.map(({ value, name: argName }, index) => {
    const variadic = e.variadic && index === e.args.length - 1 ? 'VARIADIC ' : '';
    return `${variadic}${argName === undefined ? '' : `${quoteName(argName)} => `}${printExpression(value)}`;
  });
  const inner = e.star ? '*' : `${e.distinct ? 'DISTINCT ' : ''}${args.join(', ')}`;
  const order = e.orderBy.length === 0 ? '' : `ORDER BY ${printOrder(e.orderBy)}`;
  const call = e.withinGroup
    ? `${name}(${inner}) WITHIN GROUP (${order})`
    : `${name}(${inner}${order === '' ? '' : ` ${order}`})`;
  return call + printCallTail(e);
}

function printCallTail(e: Of<'call'>): string {
  const filter = e.filter === undefined ? '' : ` FILTER (WHERE ${printExpression(e.filter)})`;
  if (e.over === undefined) return filter;
  return `${filter} OVER ${e.over.kind === 'name' ? quoteName(e.over.name) : `(${printWindow(e.over.window)})`}`;
}

function printOrder(items: readonly OrderItem[]): string {
  return items
    .map(({ expression, descending, nullsFirst, using }) => {
      const direction = using === undefined ? (descending ? ' DESC' : '') : ` USING ${using}`;
      const nulls = nullsFirst === undefined ? '' : nullsFirst ? ' NULLS FIRST' : ' NULLS LAST';
      return `${printExpression(expression)}${direction}${nulls}`;
    })
    .join(', ');
}

function printWindow(window: WindowSpec): string {
  const parts: string[] = [];
  if (window.name !== undefined) parts.push(quoteName(window.name));
  if (window.partitionBy.length > 0) parts.push(`PARTITION BY ${printList(window.partitionBy)}`);
  if (window.orderBy.length > 0) parts.push(`ORDER BY ${printOrder(window.orderBy)}`);
  if (window.frame !== undefined) {
    const { mode, start, end, exclude } = window.frame;
    const excluded = exclude === 'none' ? '' : ` EXCLUDE ${EXCLUDED[exclude]}`;
    parts.push(
      `${mode.toUpperCase()} BETWEEN ${printBound(start)} AND ${printBound(end)}${excluded}`,
    );
  }
  return parts.join(' ');
}

const EXCLUDED = { current: 'CURRENT ROW', group: 'GROUP', ties: 'TIES' } as const;

function printBound(bound: FrameBound): string {
  switch (bound.kind) {
    case 'unboundedPreceding':
      return 'UNBOUNDED PRECEDING';
    case 'unboundedFollowing':
      return 'UNBOUNDED FOLLOWING';
    case 'currentRow':
      return 'CURRENT ROW';
    case 'preceding':
    case 'following':
      return `${operand(bound.offset)} ${bound.kind.toUpperCase()}`;
    default:
      return unreachable(bound);
  }
}

/** Which of year … second an interval's first modifier allows (PostgreSQL's INTERVAL_MASK bits). */
const INTERVAL_FIELDS: Readonly<Record<number, string>> = {
  4: ' year',
  2: ' month',
  8: ' day',
  1024: ' hour',
  2048: ' minute',
  4096: ' second',
  6: ' year to month',
  1032: ' day to hour',
  3080: ' day to minute',
  7176: ' day to second',
  3072: ' hour to minute',
  7168: ' hour to second',
  6144: ' minute to second',
};

/** Type names that are keywords and yet stand without quotes. */
const TYPE_KEYWORDS = new Set([
  'bit',
  'interval',
  'json',
  'numeric',
  'time',
  'timestamp',
  'varchar',
  'xml',
]);

export function printTypeName(type: TypeNameNode): string {
  const bare =
    type.schema === undefined && TYPE_KEYWORDS.has(type.name) ? type.name : quoteName(type.name);
  const name = type.schema === undefined ? bare : `${quoteName(type.schema)}.${bare}`;
  const dimensions = '[]'.repeat(type.arrayDimensions);
  const setOf = type.setOf ? 'SETOF ' : '';
  if (type.name === 'interval' && type.schema === undefined && type.modifiers.length > 0) {
    const [fields, precision] = type.modifiers;
    const named = INTERVAL_FIELDS[fields!] ?? '';
    return `${setOf}interval${named}${precision === undefined ? '' : `(${precision})`}${dimensions}`;
  }
  return `${setOf}${name}${type.modifiers.length === 0 ? '' : `(${type.modifiers.join(',')})`}${dimensions}`;
}

// ── Queries ────────────────────────────────────────────────────────────────────────────────────────────────────

export function printQuery(query: Query): string {
  const parts = [printWith(query.with) + printBody(query.body)];
  if (query.orderBy.length > 0) parts.push(`ORDER BY ${printOrder(query.orderBy)}`);
  if (query.offset !== undefined) parts.push(`OFFSET ${operand(query.offset)}`);
  if (query.limit !== undefined) {
    if (query.withTies) parts.push(`FETCH FIRST (${printExpression(query.limit)}) ROWS WITH TIES`);
    else parts.push(`LIMIT ${query.limit.kind === 'null' ? 'ALL' : operand(query.limit)}`);
  }
  for (const { strength, of, wait } of query.locking) {
    const tables = of.length === 0 ? '' : ` OF ${of.map(quoteName).join(', ')}`;
    const waiting = wait === 'wait' ? '' : wait === 'nowait' ? ' NOWAIT' : ' SKIP LOCKED';
    parts.push(`FOR ${strength.toUpperCase()}${tables}${waiting}`);
  }
  return parts.join(' ');
}

function printWith(clause: WithClause | undefined): string {
  if (clause === undefined) return '';
  const ctes = clause.ctes.map(({ name, columns, statement, materialized }) => {
    const hint =
      materialized === undefined ? '' : materialized ? 'MATERIALIZED ' : 'NOT MATERIALIZED ';
    return `${quoteName(name)}${printColumns(columns)} AS ${hint}(${printDml(statement)})`;
  });
  return `WITH ${clause.recursive ? 'RECURSIVE ' : ''}${ctes.join(', ')} `;
}

function printColumns(columns: readonly string[]): string {
  return columns.length === 0 ? '' : `(${columns.map(quoteName).join(', ')})`;
}

function printBody(body: Query['body']): string {
  switch (body.kind) {
    case 'select':
      return printSelect(body);
    case 'values':
      return `VALUES ${body.rows.map((row) => `(${row.map(printValue).join(', ')})`).join(', ')}`;
    case 'literals':
      return printBody({ kind: 'values', rows: body.rows.values() });
    case 'setOperation': {
      const operation = `${body.operation.toUpperCase()}${body.all ? ' ALL' : ''}`;
      // A chain of one operation groups to the left by itself.
      const { left } = body;
      const continues =
        left.body.kind === 'setOperation' && left.body.operation === body.operation && isBare(left);
      return `${continues ? printQuery(left) : printBranch(left)} ${operation} ${printBranch(body.right)}`;
    }
    default:
      return unreachable(body);
  }
}

function isBare(query: Query): boolean {
  return (
    query.with === undefined &&
    query.orderBy.length === 0 &&
    query.limit === undefined &&
    query.offset === undefined &&
    query.locking.length === 0
  );
}

function printBranch(query: Query): string {
  const text = printQuery(query);
  return isBare(query) && query.body.kind !== 'setOperation' ? text : `(${text})`;
}

function printValue(value: SqlExpression | DefaultMarker): string {
  return value.kind === 'default' ? 'DEFAULT' : printExpression(value);
}

function printSelect(body: SelectBody): string {
  const distinct =
    body.distinct === 'no'
      ? ''
      : body.distinct === 'all'
        ? ' DISTINCT'
        : ` DISTINCT ON (${printList(body.distinct)})`;
  const parts = [`SELECT${distinct}${body.items.length === 0 ? '' : ' '}${printItems(body.items)}`];
  if (body.into !== undefined) parts.push(`INTO ${printRelation(body.into)}`);
  if (body.from.length > 0) parts.push(`FROM ${body.from.map(printFrom).join(', ')}`);
  if (body.where !== undefined) parts.push(`WHERE ${printExpression(body.where)}`);
  if (body.groupBy.length > 0)
    parts.push(
      `GROUP BY ${body.groupDistinct ? 'DISTINCT ' : ''}${body.groupBy.map(printGroup).join(', ')}`,
    );
  if (body.having !== undefined) parts.push(`HAVING ${printExpression(body.having)}`);
  if (body.windows.length > 0) {
    parts.push(
      `WINDOW ${body.windows.map(({ name, window }) => `${quoteName(name)} AS (${printWindow(window)})`).join(', ')}`,
    );
  }
  return parts.join(' ');
}

function printItems(items: readonly SelectItem[]): string {
  return items
    .map((item) => {
      if (item.kind === 'star') return [...item.qualifier.map(quoteName), '*'].join('.');
      return `${printExpression(item.expression)}${item.alias === undefined ? '' : ` AS ${quoteName(item.alias)}`}`;
    })
    .join(', ');
}

type SetsItem = Extract<GroupItem, { kind: 'sets' }>['items'][number];

function printGroup(item: SetsItem): string {
  if (item.kind === 'expression') return printExpression(item.expression);
  if (item.kind === 'row') return `(${printList(item.expressions)})`;
  if (item.type === 'empty') return '()';
  const keyword = item.type === 'groupingSets' ? 'GROUPING SETS' : item.type.toUpperCase();
  return `${keyword} (${item.items.map(printGroup).join(', ')})`;
}

export function printRelation(relation: RelationName): string {
  const { catalog, schema, name } = relation;
  return [catalog, schema, name]
    .filter((part) => part !== undefined)
    .map(quoteName)
    .join('.');
}

function printAlias(alias: Alias | undefined): string {
  return alias === undefined ? '' : ` AS ${quoteName(alias.name)}${printColumns(alias.columns)}`;
}

function printFrom(item: FromItem): string {
  switch (item.kind) {
    case 'relation': {
      const sample =
        item.sample === undefined
          ? ''
          : ` TABLESAMPLE ${quoteName(item.sample.method)}(${printList(item.sample.args)})`;
      return `${item.only ? 'ONLY ' : ''}${printRelation(item.name)}${printAlias(item.alias)}${sample}`;
    }
    case 'subquery':
      return `${item.lateral ? 'LATERAL ' : ''}(${printQuery(item.query)})${printAlias(item.alias)}`;
    case 'function': {
      const { call } = item;
      const text =
        call.kind === 'cast'
          ? `CAST(${printExpression(call.arg)} AS ${printTypeName(call.type)})`
          : printExpression(call);
      return `${item.lateral ? 'LATERAL ' : ''}${text}${item.ordinality ? ' WITH ORDINALITY' : ''}${printAlias(item.alias)}`;
    }
    case 'join': {
      const right =
        item.right.kind === 'join' && item.right.alias === undefined
          ? `(${printFrom(item.right)})`
          : printFrom(item.right);
      const type = item.type === 'inner' ? '' : `${item.type.toUpperCase()} `;
      const on = item.on === undefined ? '' : ` ON ${printExpression(item.on)}`;
      const usingAlias = item.usingAlias === undefined ? '' : ` AS ${quoteName(item.usingAlias)}`;
      const using =
        item.using === undefined
          ? ''
          : ` USING (${item.using.map(quoteName).join(', ')})${usingAlias}`;
      const text = `${printFrom(item.left)} ${item.natural ? 'NATURAL ' : ''}${type}JOIN ${right}${on}${using}`;
      return item.alias === undefined ? text : `(${text})${printAlias(item.alias)}`;
    }
    default:
      return unreachable(item);
  }
}

// ── INSERT, UPDATE, DELETE: what may stand in WITH beside queries ──────────────────────────────────────────────

/** A query, INSERT, UPDATE or DELETE; other statements are never printed. */
export function printDml(statement: Statement): string {
  switch (statement.kind) {
    case 'query':
      return printQuery(statement.query);
    case 'insert':
      return printInsert(statement);
    case 'update': {
      const from =
        statement.from.length === 0 ? '' : ` FROM ${statement.from.map(printFrom).join(', ')}`;
      const target = `${printRelation(statement.table)}${printTargetAlias(statement.alias)}`;
      const tail = printWhere(statement.where) + printReturning(statement.returning);
      return `${printWith(statement.with)}UPDATE ${target} SET ${printSet(statement.set)}${from}${tail}`;
    }
    case 'delete': {
      const using =
        statement.using.length === 0 ? '' : ` USING ${statement.using.map(printFrom).join(', ')}`;
      const target = `${printRelation(statement.table)}${printTargetAlias(statement.alias)}`;
      return `${printWith(statement.with)}DELETE FROM ${target}${using}${printWhere(statement.where)}${printReturning(statement.returning)}`;
    }
    default:
      return `/* ${statement.kind} */`;
  }
}

function printInsert(insert: InsertStatement): string {
  const columns =
    insert.columns.length === 0
      ? ''
      : ` (${insert.columns.map(({ name }) => quoteName(name)).join(', ')})`;
  const overriding =
    insert.overriding === undefined ? '' : ` OVERRIDING ${insert.overriding.toUpperCase()} VALUE`;
  const source = insert.source === undefined ? ' DEFAULT VALUES' : ` ${printQuery(insert.source)}`;
  const target = `${printRelation(insert.table)}${printTargetAlias(insert.alias)}`;
  const tail = printConflict(insert.onConflict) + printReturning(insert.returning);
  return `${printWith(insert.with)}INSERT INTO ${target}${columns}${overriding}${source}${tail}`;
}

function printConflict(conflict: InsertStatement['onConflict']): string {
  if (conflict === undefined) return '';
  const { target, update } = conflict;
  const on =
    target.kind === 'none'
      ? ''
      : target.kind === 'constraint'
        ? ` ON CONSTRAINT ${quoteName(target.name)}`
        : ` (${target.columns.map(quoteName).join(', ')})${printWhere(target.where)}`;
  const action =
    update === undefined
      ? 'NOTHING'
      : `UPDATE SET ${printSet(update.set)}${printWhere(update.where)}`;
  return ` ON CONFLICT${on} DO ${action}`;
}

function printTargetAlias(alias: string | undefined): string {
  return alias === undefined ? '' : ` AS ${quoteName(alias)}`;
}

function printSet(clauses: readonly SetClause[]): string {
  return clauses
    .map((clause) => {
      if (clause.kind === 'one') return `${quoteName(clause.column)} = ${printValue(clause.value)}`;
      return `(${clause.columns.map(quoteName).join(', ')}) = ${printExpression(clause.value)}`;
    })
    .join(', ');
}

function printWhere(where: SqlExpression | undefined): string {
  return where === undefined ? '' : ` WHERE ${printExpression(where)}`;
}

function printReturning(items: readonly SelectItem[]): string {
  return items.length === 0 ? '' : ` RETURNING ${printItems(items)}`;
}
