import type {
  Alias as RawAlias,
  GroupingSet,
  JoinExpr,
  LockingClause,
  Node,
  RangeFunction,
  RangeVar,
  SelectStmt,
  WithClause as RawWithClause,
} from 'libpg-query';
import type { TextPlace } from '../base/errors.ts';
import type {
  Alias,
  DefaultMarker,
  FromItem,
  GroupItem,
  Query,
  RelationName,
  SelectBody,
  SelectItem,
  SetOperationBody,
  SqlExpression,
  ValuesBody,
  WithClause,
} from './ast.ts';
import {
  lowerExpression,
  lowerExpressions,
  lowerOptional,
  lowerOrder,
  lowerWindow,
} from './lower-expression.ts';
import { lowerStatement } from './lower-statement.ts';
import { as, kindOf, type Lowering, namesOf, UnsupportedSyntax, wordsOfKind } from './raw-tree.ts';

/** `at` is where the query begins, as far as it is known: SELECT has no place of its own in the raw tree. */
export function lowerQuery(low: Lowering, select: SelectStmt, at: TextPlace | undefined): Query {
  low.enter();
  const query: Query = {
    with: lowerWith(low, select.withClause),
    body: lowerBody(low, select, at),
    orderBy: lowerOrder(low, select.sortClause),
    limit: lowerOptional(low, select.limitCount),
    withTies: select.limitOption === 'LIMIT_OPTION_WITH_TIES',
    offset: lowerOptional(low, select.limitOffset),
    locking: (select.lockingClause ?? []).map((clause) =>
      lowerLocking(low, as(clause, 'LockingClause') ?? {}),
    ),
    at,
  };
  low.leave();
  return query;
}

function lowerBody(
  low: Lowering,
  select: SelectStmt,
  at: TextPlace | undefined,
): SelectBody | ValuesBody | SetOperationBody {
  if (select.op !== undefined && select.op !== 'SETOP_NONE') {
    return {
      kind: 'setOperation',
      operation:
        select.op === 'SETOP_UNION'
          ? 'union'
          : select.op === 'SETOP_INTERSECT'
            ? 'intersect'
            : 'except',
      all: select.all === true,
      left: lowerQuery(low, select.larg ?? {}, at),
      right: lowerQuery(low, select.rarg ?? {}, at),
    };
  }
  if (select.valuesLists !== undefined) {
    const rows = select.valuesLists.map((row) =>
      (as(row, 'List')?.items ?? []).map((value) => lowerValue(low, value)),
    );
    return { kind: 'values', rows, at };
  }
  return lowerSelect(low, select);
}

/** A value of VALUES or SET, which may be DEFAULT. */
export function lowerValue(low: Lowering, node: Node | undefined): SqlExpression | DefaultMarker {
  const marker = as(node, 'SetToDefault');
  return marker === undefined
    ? lowerExpression(low, node)
    : { kind: 'default', at: low.at(marker.location) };
}

function lowerSelect(low: Lowering, select: SelectStmt): SelectBody {
  const distinct = select.distinctClause;
  const into = select.intoClause;
  if (
    into !== undefined &&
    (into.options !== undefined ||
      into.tableSpaceName !== undefined ||
      into.accessMethod !== undefined)
  ) {
    throw new UnsupportedSyntax('SELECT INTO with options');
  }
  return {
    kind: 'select',
    // Plain DISTINCT is a list of one empty node.
    distinct:
      distinct === undefined
        ? 'no'
        : distinct.length === 1 && kindOf(distinct[0]!) === 'nothing'
          ? 'all'
          : lowerExpressions(low, distinct),
    items: lowerItems(low, select.targetList),
    from: (select.fromClause ?? []).map((item) => lowerFrom(low, item)),
    where: lowerOptional(low, select.whereClause),
    groupBy: (select.groupClause ?? []).flatMap((item) => lowerGroup(low, item)),
    groupDistinct: select.groupDistinct === true,
    having: lowerOptional(low, select.havingClause),
    windows: (select.windowClause ?? []).map((node) => {
      const window = as(node, 'WindowDef') ?? {};
      return { name: window.name ?? '', window: lowerWindow(low, window) };
    }),
    into: into?.rel === undefined ? undefined : lowerRelation(low, into.rel),
  };
}

export function lowerItems(low: Lowering, targets: readonly Node[] | undefined): SelectItem[] {
  const items: SelectItem[] = [];
  for (const node of targets ?? []) {
    const target = as(node, 'ResTarget');
    const fields = as(target?.val, 'ColumnRef')?.fields;
    if (fields !== undefined && as(fields.at(-1), 'A_Star') !== undefined) {
      items.push({
        kind: 'star',
        qualifier: namesOf(fields.slice(0, -1)),
        at: low.at(target?.location),
      });
    } else {
      const expression = lowerExpression(low, target?.val);
      items.push(
        target?.name === undefined
          ? { kind: 'expression', expression }
          : { kind: 'expression', expression, alias: target.name },
      );
    }
  }
  return items;
}

function lowerGroup(low: Lowering, node: Node): GroupItem[] {
  const sets = as(node, 'GroupingSet');
  if (sets !== undefined) return [lowerSets(low, sets)];
  const row = as(node, 'RowExpr');
  // GROUP BY (a, b) groups by a and b; GROUP BY ROW(a, b) by the row.
  if (row?.row_format === 'COERCE_IMPLICIT_CAST')
    return (row.args ?? []).flatMap((arg) => lowerGroup(low, arg));
  return [{ kind: 'expression', expression: lowerExpression(low, node) }];
}

type Sets = Extract<GroupItem, { kind: 'sets' }>;

function lowerSets(low: Lowering, sets: GroupingSet): Sets {
  const items: Sets['items'][number][] = [];
  low.enter();
  for (const node of sets.content ?? []) {
    const inner = as(node, 'GroupingSet');
    const row = as(node, 'RowExpr');
    if (inner !== undefined) items.push(lowerSets(low, inner));
    else if (row?.row_format === 'COERCE_IMPLICIT_CAST')
      items.push({ kind: 'row', expressions: lowerExpressions(low, row.args) });
    else items.push({ kind: 'expression', expression: lowerExpression(low, node) });
  }
  low.leave();
  return {
    kind: 'sets',
    type: SET_TYPES[sets.kind ?? ''] ?? 'groupingSets',
    items,
    at: low.at(sets.location),
  };
}

const SET_TYPES: Readonly<Record<string, Sets['type']>> = {
  GROUPING_SET_EMPTY: 'empty',
  GROUPING_SET_ROLLUP: 'rollup',
  GROUPING_SET_CUBE: 'cube',
  GROUPING_SET_SETS: 'groupingSets',
};

function lowerLocking(low: Lowering, clause: LockingClause): Query['locking'][number] {
  low.claimsRows = true;
  const share = clause.strength === 'LCS_FORSHARE' || clause.strength === 'LCS_FORKEYSHARE';
  const wait =
    clause.waitPolicy === 'LockWaitSkip'
      ? 'skip'
      : clause.waitPolicy === 'LockWaitError'
        ? 'nowait'
        : 'wait';
  return {
    strength: share ? 'share' : 'update',
    of: (clause.lockedRels ?? []).map((node) => as(node, 'RangeVar')?.relname ?? ''),
    wait,
    at: low.at(as(clause.lockedRels?.[0], 'RangeVar')?.location ?? -1),
  };
}

export function lowerWith(
  low: Lowering,
  clause: RawWithClause | undefined,
): WithClause | undefined {
  if (clause === undefined) return undefined;
  const ctes = (clause.ctes ?? []).map((node): WithClause['ctes'][number] => {
    const cte = as(node, 'CommonTableExpr') ?? {};
    const at = low.at(cte.location);
    if (cte.search_clause !== undefined || cte.cycle_clause !== undefined)
      throw new UnsupportedSyntax('SEARCH and CYCLE', at);
    const materialized = cte.ctematerialized;
    return {
      name: cte.ctename ?? '',
      columns: namesOf(cte.aliascolnames),
      statement: lowerStatement(low, cte.ctequery, at),
      materialized:
        materialized === 'CTEMaterializeAlways'
          ? true
          : materialized === 'CTEMaterializeNever'
            ? false
            : undefined,
      at,
    };
  });
  return { recursive: clause.recursive === true, ctes };
}

// ── FROM ───────────────────────────────────────────────────────────────────────────────────────────────────────

export function lowerFrom(low: Lowering, node: Node | undefined): FromItem {
  const relation = as(node, 'RangeVar');
  if (relation !== undefined) return lowerTable(low, relation);
  const join = as(node, 'JoinExpr');
  if (join !== undefined) return lowerJoin(low, join);
  const subquery = as(node, 'RangeSubselect');
  if (subquery !== undefined) {
    const select = as(subquery.subquery, 'SelectStmt') ?? {};
    const query = lowerQuery(low, select, undefined);
    return {
      kind: 'subquery',
      query,
      alias: lowerAlias(subquery.alias),
      lateral: subquery.lateral === true,
    };
  }
  const call = as(node, 'RangeFunction');
  if (call !== undefined) return lowerTableFunction(low, call);
  const sample = as(node, 'RangeTableSample');
  if (sample !== undefined) {
    const at = low.at(sample.location);
    const sampled = as(sample.relation, 'RangeVar');
    if (sampled === undefined || sample.repeatable !== undefined)
      throw new UnsupportedSyntax('TABLESAMPLE of this form', at);
    const method = namesOf(sample.method).at(-1) ?? '';
    return {
      ...lowerTable(low, sampled),
      sample: { method, args: lowerExpressions(low, sample.args) },
    };
  }
  throw new UnsupportedSyntax(FROM_NAMES[kindOf(node)] ?? wordsOfKind(kindOf(node)));
}

const FROM_NAMES: Readonly<Record<string, string>> = {
  RangeTableFunc: 'XMLTABLE',
  JsonTable: 'JSON_TABLE',
};

function lowerTable(low: Lowering, relation: RangeVar): Extract<FromItem, { kind: 'relation' }> {
  return {
    kind: 'relation',
    name: lowerRelation(low, relation),
    alias: lowerAlias(relation.alias),
    only: relation.inh !== true,
  };
}

export function lowerRelation(low: Lowering, relation: RangeVar): RelationName {
  return {
    catalog: relation.catalogname,
    schema: relation.schemaname,
    name: relation.relname ?? '',
    at: low.at(relation.location),
  };
}

export function lowerAlias(alias: RawAlias | undefined): Alias | undefined {
  return alias === undefined
    ? undefined
    : { name: alias.aliasname ?? '', columns: namesOf(alias.colnames) };
}

function lowerJoin(low: Lowering, join: JoinExpr): FromItem {
  low.enter();
  const left = lowerFrom(low, join.larg);
  const right = lowerFrom(low, join.rarg);
  const on = lowerOptional(low, join.quals);
  const using = join.usingClause === undefined ? undefined : namesOf(join.usingClause);
  const natural = join.isNatural === true;
  const type = JOIN_TYPES[join.jointype ?? ''] ?? 'inner';
  low.leave();
  return {
    kind: 'join',
    type: type === 'inner' && on === undefined && using === undefined && !natural ? 'cross' : type,
    natural,
    left,
    right,
    on,
    using,
    usingAlias: join.join_using_alias?.aliasname,
    alias: lowerAlias(join.alias),
    at: 'at' in right ? right.at : right.kind === 'relation' ? right.name.at : undefined,
  };
}

const JOIN_TYPES: Readonly<Record<string, 'inner' | 'left' | 'right' | 'full'>> = {
  JOIN_INNER: 'inner',
  JOIN_LEFT: 'left',
  JOIN_RIGHT: 'right',
  JOIN_FULL: 'full',
};

function lowerTableFunction(low: Lowering, item: RangeFunction): FromItem {
  const functions = item.functions ?? [];
  const [first] = as(functions[0], 'List')?.items ?? [];
  const call = lowerExpression(low, first);
  const definitions = as(functions[0], 'List')?.items?.[1];
  if (functions.length !== 1) throw new UnsupportedSyntax('ROWS FROM', call.at);
  if (
    item.coldeflist !== undefined ||
    (definitions !== undefined && kindOf(definitions) !== 'nothing')
  ) {
    throw new UnsupportedSyntax('a column definition list after a function', call.at);
  }
  return {
    kind: 'function',
    call,
    alias: lowerAlias(item.alias),
    lateral: item.lateral === true,
    ordinality: item.ordinality === true,
    at: call.at,
  };
}
