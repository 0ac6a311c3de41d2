/**
 * Queries of the naive interpreter: nested loops, lists of rows, one clause after the other.
 */
import {
  cast,
  coerce,
  commonType,
  compile,
  fieldsOf,
  groupKeyText,
  kindOf,
  sortCompare,
} from './expressions.ts';
import type {
  Column,
  Compiled,
  CompiledQuery,
  Env,
  Node,
  QueryScope,
  Scope,
} from './expressions.ts';
import { isAggregate } from './aggregates.ts';
import { ModelError, representative, rowKey } from './values.ts';
import type { Row, Type, Value } from './values.ts';

export type Relation = {
  readonly columns: readonly { readonly name: string; readonly type: Type }[];
  rows(): readonly Row[];
};
export type Relations = { find(name: string): Relation | undefined };

/** Rows of FROM: `run` takes the environment of the query around. */
type Source = { readonly columns: readonly Column[]; run(env: Env | undefined): readonly Row[] };

export class QueryCompiler implements QueryScope {
  readonly #relations: Relations;
  readonly parameters: readonly { readonly type: Type; readonly value: Value }[];

  constructor(
    relations: Relations,
    parameters: readonly { readonly type: Type; readonly value: Value }[] = [],
  ) {
    this.#relations = relations;
    this.parameters = parameters;
  }

  /** `query` is a node with the key SelectStmt; `parent` is the scope around a subquery. */
  compileQuery(query: Node, parent?: Scope): CompiledQuery {
    const body = query.SelectStmt;
    if (body === undefined)
      throw new ModelError('0A000', `the model does not know ${kindOf(query)} as a query`);
    if (body.withClause !== undefined)
      return this.#withCtes(body.withClause, parent).compileBody(body, parent);
    return this.compileBody(body, parent);
  }

  compileBody(body: Node, parent?: Scope): CompiledQuery {
    if (body.valuesLists !== undefined) return this.#values(body, parent);
    if (body.op !== undefined && body.op !== 'SETOP_NONE') return this.#setOperation(body, parent);
    return this.#select(body, parent);
  }

  /** Rows of a FROM list (an UPDATE's and a DELETE's too) joined to `first`. */
  compileFrom(items: readonly Node[], parent: Scope | undefined, first?: Source): Source {
    let left: Source = first ?? { columns: [], run: () => [[]] };
    for (const item of items)
      left = this.#join(left, this.#source(item, parent, left), 'JOIN_INNER', undefined, parent);
    return left;
  }

  #withCtes(clause: Node, parent: Scope | undefined): QueryCompiler {
    if (clause.recursive === true)
      throw new ModelError('0A000', 'the model does not know WITH RECURSIVE');
    let compiler = new QueryCompiler(this.#relations, this.parameters);
    for (const cte of clause.ctes as Node[]) {
      const { ctename, ctequery, aliascolnames } = cte.CommonTableExpr;
      const outer = compiler;
      const compiled = outer.compileQuery(
        ctequery,
        parent === undefined ? undefined : { ...parent, queries: outer },
      );
      const names = ((aliascolnames ?? []) as Node[]).map((name) => name.String.sval as string);
      const relation: Relation = {
        columns: compiled.columns.map((column, index) => ({
          ...column,
          name: names[index] ?? column.name,
        })),
        rows: () => compiled.run(undefined),
      };
      compiler = new QueryCompiler(
        { find: (name) => (name === ctename ? relation : outer.#relations.find(name)) },
        this.parameters,
      );
    }
    return compiler;
  }

  #source(item: Node, parent: Scope | undefined, left: Source): Source {
    const body = item[kindOf(item)];
    switch (kindOf(item)) {
      case 'RangeVar': {
        const relation = this.#relations.find(body.relname);
        if (relation === undefined)
          throw new ModelError('42P01', `relation "${body.relname}" does not exist`);
        return {
          columns: aliased(relation.columns, body.alias, body.relname),
          run: () => relation.rows(),
        };
      }
      case 'RangeSubselect': {
        const lateral = body.lateral === true;
        const scope: Scope | undefined = lateral
          ? { columns: left.columns, parent, queries: this }
          : parent;
        const query = this.compileQuery(body.subquery, scope);
        const columns = aliased(query.columns, body.alias, undefined);
        return lateral
          ? Object.assign({ columns, run: query.run }, { lateral })
          : { columns, run: query.run };
      }
      case 'RangeFunction': {
        const call = body.functions[0].List.items[0];
        const name = call.FuncCall?.funcname.at(-1).String.sval;
        if (name !== 'generate_series')
          throw new ModelError('0A000', `the model does not know ${name} in FROM`);
        const scope: Scope = { columns: [], parent, queries: this };
        const [from, to, step] = (call.FuncCall.args as Node[]).map((arg) => compile(arg, scope));
        const type = commonType([from!.type, to!.type]);
        return {
          columns: aliased([{ name: body.alias?.aliasname ?? name, type }], body.alias, name),
          run: (env) => {
            const here: Env = { row: [], parent: env };
            const rows: Row[] = [];
            const by = step === undefined ? 1n : (step.run(here) as bigint);
            const end = to!.run(here) as bigint;
            for (let at = from!.run(here) as bigint; by > 0n ? at <= end : at >= end; at += by)
              rows.push([at]);
            return rows;
          },
        };
      }
      case 'JoinExpr':
        return this.#joinExpression(body, parent, left);
      default:
        throw new ModelError('0A000', `the model does not know ${kindOf(item)} in FROM`);
    }
  }

  #joinExpression(body: Node, parent: Scope | undefined, outside: Source): Source {
    if (body.alias !== undefined)
      throw new ModelError('0A000', 'the model does not know aliases of joins');
    const left = this.#source(body.larg, parent, outside);
    const right = this.#source(body.rarg, parent, left);
    let using = ((body.usingClause ?? []) as Node[]).map((name) => name.String.sval as string);
    if (body.isNatural === true) {
      const visible = (source: Source): string[] =>
        source.columns.filter((column) => column.hidden !== true).map((column) => column.name);
      const others = new Set(visible(right));
      using = visible(left).filter((name) => others.has(name));
    }
    if (using.length === 0) return this.#join(left, right, body.jointype, body.quals, parent);
    return this.#joinUsing(left, right, body.jointype, using);
  }

  #join(left: Source, right: Source, type: string, quals: Node, parent: Scope | undefined): Source {
    const columns = [...left.columns, ...right.columns];
    const condition =
      quals === undefined
        ? undefined
        : coerce(compile(quals, { columns, parent, queries: this }), 'bool');
    return joined(left, right, columns, type, condition);
  }

  #joinUsing(left: Source, right: Source, type: string, names: readonly string[]): Source {
    const hide = (source: Source): Column[] =>
      source.columns.map((column) =>
        names.includes(column.name) ? { ...column, hidden: true } : column,
      );
    const columns = [...hide(left), ...hide(right)];
    const pairs = names.map((name) => {
      const at = (source: Source): number =>
        source.columns.findIndex((column) => column.name === name && column.hidden !== true);
      const [l, r] = [at(left), at(right)];
      if (l < 0 || r < 0)
        throw new ModelError('42703', `column "${name}" specified in USING clause does not exist`);
      const common = commonType([left.columns[l]!.type, right.columns[r]!.type]);
      const read = (index: number, from: Type): Compiled =>
        coerce({ type: from, run: (env) => env.row[index]! }, common);
      return {
        name,
        common,
        left: read(l, left.columns[l]!.type),
        right: read(left.columns.length + r, right.columns[r]!.type),
      };
    });
    const condition: Compiled = {
      type: 'bool',
      run: (env) =>
        pairs.every((pair) => {
          const [x, y] = [pair.left.run(env), pair.right.run(env)];
          return (
            x !== null && y !== null && rowKey([pair.common], [x]) === rowKey([pair.common], [y])
          );
        }),
    };
    const plain = joined(left, right, columns, type, condition);
    return {
      columns: [
        ...pairs.map((pair): Column => ({ table: undefined, name: pair.name, type: pair.common })),
        ...columns,
      ],
      run: (env) =>
        plain
          .run(env)
          .map((row) => [
            ...pairs.map((pair) => pair.left.run({ row }) ?? pair.right.run({ row })),
            ...row,
          ]),
    };
  }

  #values(body: Node, parent: Scope | undefined): CompiledQuery {
    const scope: Scope = { columns: [], parent, queries: this };
    const lists = (body.valuesLists as Node[]).map((list) =>
      (list.List.items as Node[]).map((item) => compile(item, scope)),
    );
    const width = lists[0]!.length;
    if (lists.some((list) => list.length !== width))
      throw new ModelError('42601', 'VALUES lists must all be the same length');
    const types = Array.from({ length: width }, (_, index) =>
      commonType(lists.map((list) => list[index]!.type)),
    );
    const rows = lists.map((list) => list.map((value, index) => coerce(value, types[index]!)));
    const columns = types.map((type, index) => ({ name: `column${index + 1}`, type }));
    const run = (env: Env | undefined): Row[] =>
      rows.map((row) => row.map((value) => value.run({ row: [], parent: env })));
    return this.#ordered({ columns, run }, body, parent);
  }

  #setOperation(body: Node, parent: Scope | undefined): CompiledQuery {
    const left = this.compileBody(body.larg.SelectStmt ?? body.larg, parent);
    const right = this.compileBody(body.rarg.SelectStmt ?? body.rarg, parent);
    if (left.columns.length !== right.columns.length)
      throw new ModelError(
        '42601',
        'each set operation query must have the same number of columns',
      );
    const columns = left.columns.map((column, index) => ({
      name: column.name,
      type: commonType([column.type, right.columns[index]!.type]),
    }));
    const types = columns.map((column) => column.type);
    const rowsOf = (query: CompiledQuery, env: Env | undefined): Row[] => {
      const casts = query.columns.map((column, index) =>
        cast({ type: column.type, run: (here) => here.row[index]! }, types[index]!),
      );
      return query.run(env).map((row) => casts.map((each) => each.run({ row })));
    };
    const run = (env: Env | undefined): readonly Row[] => {
      const [a, b] = [rowsOf(left, env), rowsOf(right, env)];
      if (body.op === 'SETOP_UNION')
        return body.all === true ? [...a, ...b] : distinct(types, [...a, ...b]);
      // How often each row of the right side may still be taken.
      const counts = new Map<string, number>();
      for (const row of b)
        counts.set(rowKey(types, row), (counts.get(rowKey(types, row)) ?? 0) + 1);
      const intersect = body.op === 'SETOP_INTERSECT';
      const kept = a.filter((row) => {
        const key = rowKey(types, row);
        const count = counts.get(key) ?? 0;
        if (body.all === true && count > 0) counts.set(key, count - 1);
        return count > 0 === intersect;
      });
      return body.all === true ? kept : distinct(types, kept);
    };
    return this.#ordered({ columns, run }, body, parent);
  }

  /** ORDER BY and LIMIT over output columns alone. */
  #ordered(query: CompiledQuery, body: Node, parent: Scope | undefined): CompiledQuery {
    const scope: Scope = {
      columns: query.columns.map((column) => ({ table: undefined, ...column })),
      parent,
      queries: this,
    };
    const items = ((body.sortClause ?? []) as Node[]).map((item) => {
      const ordinal = item.SortBy.node.A_Const?.ival?.ival as number | undefined;
      const value: Compiled =
        ordinal === undefined
          ? compile(item.SortBy.node, scope)
          : { type: query.columns[ordinal - 1]!.type, run: (env) => env.row[ordinal - 1]! };
      return { value, compare: sortCompare(item.SortBy) };
    });
    const limit = this.#limit(body, parent);
    return {
      columns: query.columns,
      run: (env) => {
        const rows = query
          .run(env)
          .map((row) => ({ row, keys: items.map(({ value }) => value.run({ row, parent: env })) }));
        return limit(sorted(rows, items), env, items).map((each) => each.row);
      },
    };
  }

  #limit(
    body: Node,
    parent: Scope | undefined,
  ): <T extends Sortable>(
    rows: readonly T[],
    env: Env | undefined,
    items: readonly SortItem[],
  ) => readonly T[] {
    const scope: Scope = { columns: [], parent, queries: this };
    const count =
      body.limitCount === undefined ? undefined : coerce(compile(body.limitCount, scope), 'int8');
    const offset =
      body.limitOffset === undefined ? undefined : coerce(compile(body.limitOffset, scope), 'int8');
    return (rows, env, items) => {
      const here: Env = { row: [], parent: env };
      const start = Number(offset?.run(here) ?? 0n);
      const kept = count?.run(here) ?? null;
      if (start < 0) throw new ModelError('2201X', 'OFFSET must not be negative');
      if (kept !== null && (kept as bigint) < 0n)
        throw new ModelError('2201W', 'LIMIT must not be negative');
      let end = kept === null ? rows.length : start + Number(kept);
      if (body.limitOption === 'LIMIT_OPTION_WITH_TIES' && end > start) {
        while (end < rows.length && compareBy(items, rows[end - 1]!, rows[end]!) === 0) end += 1;
      }
      return rows.slice(start, end);
    };
  }

  #select(body: Node, parent: Scope | undefined): CompiledQuery {
    if (body.windowClause !== undefined)
      throw new ModelError('0A000', 'the model does not know window functions');
    const source = this.compileFrom((body.fromClause ?? []) as Node[], parent);
    const scope: Scope = { columns: source.columns, parent, queries: this };
    const where =
      body.whereClause === undefined ? undefined : coerce(compile(body.whereClause, scope), 'bool');
    const targets = expandTargets((body.targetList ?? []) as Node[], source.columns);

    const groupNodes = ((body.groupClause ?? []) as Node[]).map((node) =>
      groupNode(node, targets, scope),
    );
    const isGrouped =
      groupNodes.length > 0 ||
      body.havingClause !== undefined ||
      aggregatesIn([body.targetList, body.sortClause]).length > 0;
    const keys = groupNodes.map((node) => {
      const key = compile(node, scope);
      return {
        key: key.type === 'unknown' ? coerce(key, 'text') : key,
        text: groupKeyText(node, scope),
        node,
      };
    });
    const outputScope: Scope = isGrouped
      ? { ...scope, grouped: { keys: keys.map(({ key, text }) => ({ text, type: key.type })) } }
      : scope;

    const outputs = targets.map((target) => {
      const value =
        target.index === undefined
          ? compile(target.node, outputScope)
          : compile({ ColumnRef: target.reference }, outputScope);
      return { name: target.name, value: value.type === 'unknown' ? coerce(value, 'text') : value };
    });
    const having =
      body.havingClause === undefined
        ? undefined
        : coerce(compile(body.havingClause, outputScope), 'bool');
    const aggregates =
      having === undefined
        ? []
        : aggregatesIn([body.targetList, body.sortClause]).map((node) =>
            compile(node, outputScope),
          );
    const types = outputs.map(({ value }) => value.type);
    const items = ((body.sortClause ?? []) as Node[]).map(
      (item): SortItem & { value: Compiled } => ({
        value: sortValue(item.SortBy.node, outputs, outputScope),
        compare: sortCompare(item.SortBy),
      }),
    );
    const distinctOn = (body.distinctClause ?? []) as Node[];
    const isDistinct =
      body.distinctClause !== undefined && Object.keys(distinctOn[0] ?? {}).length === 0;
    const onKeys = isDistinct
      ? []
      : distinctOn.map((node) => sortValue(node, outputs, outputScope));
    const limit = this.#limit(body, parent);

    const run = (env: Env | undefined): readonly Row[] => {
      let rows: readonly Row[] = source.run(env);
      if (where !== undefined)
        rows = rows.filter((row) => where.run({ row, parent: env }) === true);
      let environments = isGrouped
        ? groupsOf(
            rows,
            env,
            keys.map(({ key }) => key),
            body.groupClause !== undefined,
          )
        : rows.map((row): Env => ({ row, parent: env }));
      // As in PostgreSQL, HAVING hides no overflow: a group has all its aggregates before it is looked at.
      for (const each of environments) for (const aggregate of aggregates) aggregate.run(each);
      if (having !== undefined)
        environments = environments.filter((each) => having.run(each) === true);
      let answers: (Sortable & { readonly on: Row; readonly row: Row })[] = environments.map(
        (each) => ({
          row: outputs.map(({ value }) => value.run(each)),
          keys: items.map(({ value }) => value.run(each)),
          on: onKeys.map((key) => key.run(each)),
        }),
      );
      if (isDistinct)
        answers = classesOf(answers, (answer) => rowKey(types, answer.row)).map((equal) => ({
          ...equal[0]!,
          row: representativeRow(equal.map(({ row }) => row)),
        }));
      answers = sorted(answers, items);
      if (onKeys.length > 0)
        answers = firstOf(answers, (answer) =>
          rowKey(
            onKeys.map((key) => key.type),
            answer.on,
          ),
        );
      return limit(answers, env, items).map((answer) => answer.row);
    };
    return { columns: outputs.map(({ name, value }) => ({ name, type: value.type })), run };
  }
}

type SortItem = {
  readonly value: { readonly type: Type };
  readonly compare: ReturnType<typeof sortCompare>;
};
type Sortable = { readonly keys: Row };

function compareBy(items: readonly SortItem[], a: Sortable, b: Sortable): number {
  for (const [index, item] of items.entries()) {
    const order = item.compare(item.value.type, a.keys[index]!, b.keys[index]!);
    if (order !== 0) return order;
  }
  return 0;
}
const sorted = <T extends Sortable>(rows: readonly T[], items: readonly SortItem[]): T[] =>
  rows.toSorted((a, b) => compareBy(items, a, b));

function firstOf<T>(rows: readonly T[], key: (row: T) => string): T[] {
  const seen = new Set<string>();
  return rows.filter((row) => {
    const text = key(row);
    return !seen.has(text) && seen.add(text) !== undefined;
  });
}
/** Equal ones together, in order of the first. */
function classesOf<T>(rows: readonly T[], key: (row: T) => string): T[][] {
  const classes = new Map<string, T[]>();
  for (const row of rows) {
    const equal = classes.get(key(row));
    if (equal === undefined) classes.set(key(row), [row]);
    else equal.push(row);
  }
  return [...classes.values()];
}
const representativeRow = (equal: readonly Row[]): Row =>
  equal[0]!.map((_, column) => representative(equal.map((row) => row[column]!)));
const distinct = (types: readonly Type[], rows: readonly Row[]): Row[] =>
  classesOf(rows, (row) => rowKey(types, row)).map(representativeRow);

function aliased(
  columns: readonly { readonly name: string; readonly type: Type }[],
  alias: Node,
  name: string | undefined,
): Column[] {
  const names = ((alias?.colnames ?? []) as Node[]).map((each) => each.String.sval as string);
  return columns.map((column, index) => ({
    table: (alias?.aliasname ?? name) as string | undefined,
    name: names[index] ?? column.name,
    type: column.type,
  }));
}

function joined(
  left: Source,
  right: Source,
  columns: readonly Column[],
  type: string,
  condition: Compiled | undefined,
): Source {
  const lateral = (right as { readonly lateral?: boolean }).lateral === true;
  const nulls = (source: Source): Row => source.columns.map(() => null);
  return {
    columns,
    run: (env) => {
      const rows: Row[] = [];
      const matched = new Set<Row>();
      const fixed = lateral ? [] : right.run(env);
      for (const l of left.run(env)) {
        let found = false;
        for (const r of lateral ? right.run({ row: l, parent: env }) : fixed) {
          const row = [...l, ...r];
          if (condition !== undefined && condition.run({ row, parent: env }) !== true) continue;
          found = true;
          matched.add(r);
          rows.push(row);
        }
        if (!found && (type === 'JOIN_LEFT' || type === 'JOIN_FULL'))
          rows.push([...l, ...nulls(right)]);
      }
      if (type === 'JOIN_RIGHT' || type === 'JOIN_FULL')
        for (const r of fixed) if (!matched.has(r)) rows.push([...nulls(left), ...r]);
      return rows;
    },
  };
}

/** Groups in order of their first row. Without GROUP BY there is one, be it empty. */
function groupsOf(
  rows: readonly Row[],
  parent: Env | undefined,
  keys: readonly Compiled[],
  hasGroupBy: boolean,
): Env[] {
  const types = keys.map((key) => key.type);
  const groups = new Map<string, { readonly keys: Row[]; readonly group: Row[] }>();
  if (!hasGroupBy) groups.set('[]', { keys: [], group: [] });
  for (const row of rows) {
    const key = keys.map((each) => each.run({ row, parent }));
    const text = rowKey(types, key);
    const group = groups.get(text) ?? { keys: [], group: [] };
    groups.set(text, group);
    group.keys.push(key);
    group.group.push(row);
  }
  return [...groups.values()].map(({ keys: values, group }) => ({
    row: group[0] ?? [],
    parent,
    group,
    keys: values.length === 0 ? [] : representativeRow(values),
  }));
}

type Target = {
  readonly name: string;
  readonly node: Node;
  readonly index?: number;
  readonly reference?: Node;
};

function expandTargets(targets: readonly Node[], columns: readonly Column[]): Target[] {
  return targets.flatMap((target): Target[] => {
    const { name, val } = target.ResTarget;
    const fields = val.ColumnRef?.fields as Node[] | undefined;
    if (fields?.at(-1).A_Star === undefined) return [{ name: name ?? nameOf(val), node: val }];
    const table = fields.length > 1 ? (fields.at(-2).String.sval as string) : undefined;
    const found = columns.flatMap((column, index) =>
      (table === undefined ? column.hidden !== true : column.table === table)
        ? [{ column, index }]
        : [],
    );
    if (found.length === 0)
      throw new ModelError(table === undefined ? '42601' : '42P01', `nothing for ${table ?? ''}.*`);
    return found.map(({ column, index }) => ({
      name: column.name,
      node: undefined,
      index,
      reference: {
        fields: [
          ...(column.table === undefined ? [] : [{ String: { sval: column.table } }]),
          { String: { sval: column.name } },
        ],
      },
    }));
  });
}

/** What PostgreSQL calls a column without alias. */
function nameOf(node: Node): string {
  switch (kindOf(node)) {
    case 'ColumnRef':
      return fieldsOf(node.ColumnRef).at(-1)!;
    case 'FuncCall':
      return (node.FuncCall.funcname as Node[]).at(-1).String.sval as string;
    case 'CoalesceExpr':
      return 'coalesce';
    case 'CaseExpr': {
      const otherwise = node.CaseExpr.defresult;
      return otherwise === undefined || isNamedByItsType(otherwise) ? 'case' : nameOf(otherwise);
    }
    case 'MinMaxExpr':
      return node.MinMaxExpr.op === 'IS_GREATEST' ? 'greatest' : 'least';
    case 'TypeCast':
      return isNamedByItsType(node.TypeCast.arg)
        ? ((node.TypeCast.typeName.names as Node[]).at(-1).String.sval as string)
        : nameOf(node.TypeCast.arg);
    case 'A_Expr':
      return node.A_Expr.kind === 'AEXPR_NULLIF' ? 'nullif' : '?column?';
    case 'SubLink':
      if (node.SubLink.subLinkType === 'EXISTS_SUBLINK') return 'exists';
      if (node.SubLink.subLinkType === 'EXPR_SUBLINK') {
        const first = node.SubLink.subselect.SelectStmt.targetList?.[0]?.ResTarget;
        return first === undefined ? '?column?' : (first.name ?? nameOf(first.val));
      }
      return '?column?';
    default:
      return '?column?';
  }
}

/** What is called by a cast or a CASE around it. */
function isNamedByItsType(node: Node): boolean {
  if (node.TypeCast !== undefined) return isNamedByItsType(node.TypeCast.arg);
  if (node.CaseExpr !== undefined)
    return node.CaseExpr.defresult === undefined || isNamedByItsType(node.CaseExpr.defresult);
  return node.SubLink === undefined && nameOf(node) === '?column?';
}

/** GROUP BY: an ordinal, an input column, an output's alias, or an expression. */
function groupNode(node: Node, targets: readonly Target[], scope: Scope): Node {
  if (node.GroupingSet !== undefined)
    throw new ModelError('0A000', 'the model does not know grouping sets');
  const ordinal = node.A_Const?.ival?.ival as number | undefined;
  const byTarget = (target: Target | undefined): Node => {
    if (target === undefined)
      throw new ModelError('42P10', `GROUP BY position ${ordinal} is not in select list`);
    return target.node ?? { ColumnRef: target.reference };
  };
  if (ordinal !== undefined) return byTarget(targets[ordinal - 1]);
  if (node.ColumnRef !== undefined && node.ColumnRef.fields.length === 1) {
    const [name] = fieldsOf(node.ColumnRef);
    if (!scope.columns.some((column) => column.name === name && column.hidden !== true)) {
      const target = targets.find((each) => each.name === name);
      if (target !== undefined) return byTarget(target);
    }
  }
  return node;
}

/** ORDER BY: an ordinal, an output's name, or an expression over the input. */
function sortValue(
  node: Node,
  outputs: readonly { readonly name: string; readonly value: Compiled }[],
  scope: Scope,
): Compiled {
  const ordinal = node.A_Const?.ival?.ival as number | undefined;
  if (ordinal !== undefined) {
    const output = outputs[ordinal - 1];
    if (output === undefined)
      throw new ModelError('42P10', `ORDER BY position ${ordinal} is not in select list`);
    return output.value;
  }
  if (node.ColumnRef !== undefined && node.ColumnRef.fields.length === 1) {
    const [name] = fieldsOf(node.ColumnRef);
    const output = outputs.find((each) => each.name === name);
    if (output !== undefined) return output.value;
  }
  return compile(node, scope);
}

function aggregatesIn(node: Node): Node[] {
  if (node === null || typeof node !== 'object') return [];
  if (Array.isArray(node)) return node.flatMap(aggregatesIn);
  if (node.SubLink !== undefined) return aggregatesIn(node.SubLink.testexpr);
  if (
    node.FuncCall !== undefined &&
    isAggregate(node.FuncCall.funcname.at(-1).String.sval) &&
    node.FuncCall.over === undefined
  )
    return [node];
  return Object.values(node).flatMap(aggregatesIn);
}
