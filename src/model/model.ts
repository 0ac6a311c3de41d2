/**
 * The naive database: what AnalyticDB should answer, told in the plainest way. Tables are arrays of rows, a view is its query
 * run again, a transaction is a copy. It shares no code with `src`; only the parser is the same (PostgreSQL's own).
 *
 * Where SQL leaves something open it says what AnalyticDB promises: sums of doubles are exact and rounded once, groups show 0
 * for −0. Unique keys are checked at the end of a statement (PostgreSQL checks each row), as a batch is one change here.
 */
import { loadModule, parseSync } from 'libpg-query';
import { assign, compile, coerce, typeOf } from './expressions.ts';
import type { Column, Compiled, Env, Node, Scope } from './expressions.ts';
import { QueryCompiler } from './queries.ts';
import type { Relation } from './queries.ts';
import { ModelError, parseValue, rowKey, textOf } from './values.ts';
import type { Row, Type } from './values.ts';

export { ModelError } from './values.ts';

export type ModelResult = {
  readonly columns: readonly { readonly name: string; readonly type: Type }[];
  /** As PostgreSQL prints them; NULL is null. */
  readonly rows: readonly (readonly (string | null)[])[];
  /** Rows of a query, or rows that a change touched. */
  readonly count: number;
};

type TableColumn = {
  readonly name: string;
  readonly type: Type;
  readonly modifiers: readonly number[];
  readonly notNull: boolean;
  readonly default: Node | undefined;
};
type Table = {
  readonly kind: 'table';
  readonly columns: readonly TableColumn[];
  readonly rows: readonly Row[];
  readonly uniques: readonly { readonly name: string; readonly columns: readonly number[] }[];
  readonly checks: readonly { readonly name: string; readonly condition: Node }[];
};
type View = { readonly kind: 'view'; readonly query: Node; readonly names: readonly string[] };

/** A parameter: a value and how it is typed, such as { type: 'int4', value: '7' } with the value as text. */
export type ModelParameter = { readonly type: Type; readonly value: string | null };

let loaded: Promise<void> | undefined;

export class Model {
  #relations: ReadonlyMap<string, Table | View> = new Map();
  /** What ROLLBACK goes back to; undefined outside a transaction. */
  #before: ReadonlyMap<string, Table | View> | undefined;
  #aborted = false;

  /** The parser is WebAssembly that loads once: await this before the first statement. */
  static async load(): Promise<void> {
    loaded ??= loadModule();
    await loaded;
  }

  /** Runs statements one after the other; gives back the last one's result. A statement that throws changes nothing. */
  exec(sql: string, parameters: readonly ModelParameter[] = []): ModelResult {
    let result: ModelResult = NOTHING;
    for (const { stmt } of (parse(sql).stmts ?? []) as Node[]) {
      const kind = Object.keys(stmt)[0]!;
      if (this.#aborted && kind !== 'TransactionStmt')
        throw new ModelError('25P02', 'current transaction is aborted');
      try {
        result = this.#run(kind, stmt[kind], stmt, parameters);
      } catch (cause) {
        if (this.#before !== undefined) this.#aborted = true;
        throw cause;
      }
    }
    return result;
  }

  /** Another database of the same contents; what is done to one is not seen in the other. */
  copy(): Model {
    const copy = new Model();
    copy.#relations = this.#relations;
    return copy;
  }

  /** A row of a table from what PostgreSQL prints of it. */
  rowOf(name: string, texts: readonly (string | null)[]): Row {
    const { columns } = this.#table(name);
    return texts.map((text, index) =>
      text === null ? null : parseValue(columns[index]!.type, text),
    );
  }

  /** Puts rows in the place of all rows of a table, unchecked. */
  setRows(name: string, rows: readonly Row[]): void {
    this.#set(name, { ...this.#table(name), rows });
  }

  /** The rows of a table themselves: those that a statement does not touch stay the same objects. */
  rowsOf(name: string): readonly Row[] {
    return this.#table(name).rows;
  }

  /** Rows of a table as PostgreSQL prints them. */
  textsOf(name: string, rows: readonly Row[]): (string | null)[][] {
    const { columns } = this.#table(name);
    return rows.map((row) => row.map((value, index) => textOf(columns[index]!.type, value)));
  }

  query(sql: string, parameters: readonly ModelParameter[] = []): ModelResult {
    return this.exec(sql, parameters);
  }

  #run(
    kind: string,
    body: Node,
    statement: Node,
    parameters: readonly ModelParameter[],
  ): ModelResult {
    const compiler = new QueryCompiler(
      { find: (name) => this.#relation(name) },
      parameters.map(({ type, value }) => ({
        type,
        value: value === null ? null : parseValue(type, value),
      })),
    );
    switch (kind) {
      case 'SelectStmt': {
        const query = compiler.compileQuery(statement);
        return resultOf(query.columns, query.run(undefined));
      }
      case 'InsertStmt':
        return this.#insert(body, compiler);
      case 'UpdateStmt':
        return this.#update(body, compiler);
      case 'DeleteStmt':
        return this.#delete(body, compiler);
      case 'TruncateStmt':
        for (const { RangeVar } of body.relations as Node[])
          this.#set(RangeVar.relname, { ...this.#table(RangeVar.relname), rows: [] });
        return NOTHING;
      case 'CreateStmt':
        this.#create(body.relation.relname, tableOf(body), body.if_not_exists === true);
        return NOTHING;
      case 'ViewStmt':
        this.#create(
          body.view.relname,
          { kind: 'view', query: body.query, names: namesOf(body.aliases) },
          false,
        );
        return NOTHING;
      case 'CreateTableAsStmt':
        this.#createAs(body, compiler);
        return NOTHING;
      case 'DropStmt':
        for (const object of body.objects as Node[])
          this.#drop((object.List.items as Node[]).at(-1).String.sval, body.missing_ok === true);
        return NOTHING;
      case 'IndexStmt':
        if (body.unique === true) {
          const table = this.#table(body.relation.relname);
          const columns = (body.indexParams as Node[]).map((param) =>
            columnIndex(table, param.IndexElem.name),
          );
          const next: Table = {
            ...table,
            uniques: [...table.uniques, { name: body.idxname ?? 'unique', columns }],
          };
          checkUniques(next, next.rows);
          this.#set(body.relation.relname, next);
        }
        return NOTHING;
      case 'RefreshMatViewStmt':
        return NOTHING;
      case 'TransactionStmt':
        this.#transaction(body.kind);
        return NOTHING;
      default:
        throw new ModelError('0A000', `the model does not know ${kind}`);
    }
  }

  #relation(name: string): Relation | undefined {
    const found = this.#relations.get(name);
    if (found === undefined) return undefined;
    if (found.kind === 'table') return { columns: found.columns, rows: () => found.rows };
    const query = new QueryCompiler({ find: (inner) => this.#relation(inner) }).compileQuery(
      found.query,
    );
    return {
      columns: query.columns.map((column, index) => ({
        ...column,
        name: found.names[index] ?? column.name,
      })),
      rows: () => query.run(undefined),
    };
  }

  #table(name: string): Table {
    const found = this.#relations.get(name);
    if (found?.kind !== 'table') throw new ModelError('42P01', `relation "${name}" does not exist`);
    return found;
  }

  #set(name: string, to: Table | View | undefined): void {
    const next = new Map(this.#relations);
    if (to === undefined) next.delete(name);
    else next.set(name, to);
    this.#relations = next;
  }

  #create(name: string, to: Table | View, ifNotExists: boolean): void {
    if (this.#relations.has(name)) {
      if (ifNotExists) return;
      throw new ModelError('42P07', `relation "${name}" already exists`);
    }
    this.#set(name, to);
  }

  #createAs(body: Node, compiler: QueryCompiler): void {
    const names = namesOf(body.into.colNames);
    if (body.objtype === 'OBJECT_MATVIEW') {
      compiler.compileQuery(body.query);
      this.#create(
        body.into.rel.relname,
        { kind: 'view', query: body.query, names },
        body.if_not_exists === true,
      );
      return;
    }
    const query = compiler.compileQuery(body.query);
    const columns = query.columns.map((column, index): TableColumn => ({
      name: names[index] ?? column.name,
      type: column.type,
      modifiers: [],
      notNull: false,
      default: undefined,
    }));
    this.#create(
      body.into.rel.relname,
      { kind: 'table', columns, rows: query.run(undefined), uniques: [], checks: [] },
      body.if_not_exists === true,
    );
  }

  #drop(name: string, ifExists: boolean): void {
    if (!this.#relations.has(name) && !ifExists)
      throw new ModelError('42P01', `relation "${name}" does not exist`);
    this.#set(name, undefined);
  }

  #transaction(kind: string): void {
    switch (kind) {
      case 'TRANS_STMT_BEGIN':
      case 'TRANS_STMT_START':
        this.#before ??= this.#relations;
        return;
      case 'TRANS_STMT_COMMIT':
      case 'TRANS_STMT_ROLLBACK':
        if (this.#before !== undefined && (kind === 'TRANS_STMT_ROLLBACK' || this.#aborted))
          this.#relations = this.#before;
        this.#before = undefined;
        this.#aborted = false;
        return;
      default:
        throw new ModelError('0A000', `the model does not know ${kind}`);
    }
  }

  #insert(body: Node, compiler: QueryCompiler): ModelResult {
    const name = body.relation.relname as string;
    const table = this.#table(name);
    const targets =
      body.cols === undefined
        ? table.columns.map((_, index) => index)
        : (body.cols as Node[]).map((column) => columnIndex(table, column.ResTarget.name));
    const scope: Scope = { columns: [], queries: compiler };
    const defaults = table.columns.map((column) => defaultOf(column, scope));
    const rows = [...table.rows];
    const touched: Row[] = [];
    for (const given of insertedRows(body, compiler, scope, table, targets, defaults)) {
      const row = table.columns.map((_, index) =>
        targets.includes(index) && targets.indexOf(index) < given.length
          ? given[targets.indexOf(index)]!
          : defaults[index]!.run({ row: [] }),
      );
      const conflict =
        body.onConflictClause === undefined
          ? -1
          : conflicting(table, rows, row, body.onConflictClause);
      if (conflict >= 0) {
        if (body.onConflictClause.action === 'ONCONFLICT_NOTHING') continue;
        if (touched.includes(rows[conflict]!))
          throw new ModelError(
            '21000',
            'ON CONFLICT DO UPDATE command cannot affect row a second time',
          );
        const alias = (body.relation.alias?.aliasname ?? name) as string;
        const both: Scope = {
          columns: [
            ...tableColumns(table, alias),
            ...tableColumns(table, 'excluded').map((column) => ({ ...column, hidden: true })),
          ],
          queries: compiler,
        };
        const env: Env = { row: [...rows[conflict]!, ...row] };
        const where = body.onConflictClause.whereClause;
        if (where !== undefined && coerce(compile(where, both), 'bool').run(env) !== true) continue;
        const updated = assignments(
          body.onConflictClause.targetList,
          table,
          both,
          defaults,
        )(rows[conflict]!, env);
        checkRow(table, updated, name, compiler);
        rows[conflict] = updated;
        touched.push(updated);
        continue;
      }
      checkRow(table, row, name, compiler);
      rows.push(row);
      touched.push(row);
    }
    checkUniques(table, rows);
    this.#set(name, { ...table, rows });
    return returning(
      body,
      table,
      (body.relation.alias?.aliasname ?? name) as string,
      compiler,
      touched.map((row) => ({ row })),
      touched.length,
    );
  }

  #update(body: Node, compiler: QueryCompiler): ModelResult {
    const name = body.relation.relname as string;
    const table = this.#table(name);
    const found = this.#matches(body, body.fromClause ?? [], table, name, compiler);
    const defaults = table.columns.map((column) =>
      defaultOf(column, { columns: [], queries: compiler }),
    );
    const assignAll = assignments(body.targetList, table, found.scope, defaults);
    const changed = new Map<number, { row: Row; env: Env }>();
    for (const [index, env] of found.rows) {
      const row = assignAll(table.rows[index]!, env);
      checkRow(table, row, name, compiler);
      changed.set(index, { row, env: { row: [...row, ...env.row.slice(table.columns.length)] } });
    }
    const rows = table.rows.map((row, index) => changed.get(index)?.row ?? row);
    checkUniques(table, rows);
    this.#set(name, { ...table, rows });
    return returning(
      body,
      table,
      found.alias,
      compiler,
      [...changed.values()].map(({ env }) => env),
      changed.size,
      found.scope,
    );
  }

  #delete(body: Node, compiler: QueryCompiler): ModelResult {
    const name = body.relation.relname as string;
    const table = this.#table(name);
    const found = this.#matches(body, body.usingClause ?? [], table, name, compiler);
    this.#set(name, { ...table, rows: table.rows.filter((_, index) => !found.rows.has(index)) });
    return returning(
      body,
      table,
      found.alias,
      compiler,
      [...found.rows.values()],
      found.rows.size,
      found.scope,
    );
  }

  /** Rows of the table that WHERE keeps, each with the first row of FROM or USING that it matches. */
  #matches(
    body: Node,
    others: readonly Node[],
    table: Table,
    name: string,
    compiler: QueryCompiler,
  ): { scope: Scope; alias: string; rows: Map<number, Env> } {
    const alias = (body.relation.alias?.aliasname ?? name) as string;
    let index = -1;
    const own = { columns: tableColumns(table, alias), run: () => [table.rows[index]!] };
    const source = compiler.compileFrom(others, undefined, own);
    const scope: Scope = { columns: source.columns, queries: compiler };
    const where =
      body.whereClause === undefined ? undefined : coerce(compile(body.whereClause, scope), 'bool');
    const rows = new Map<number, Env>();
    for (index = 0; index < table.rows.length; index += 1) {
      const match = source
        .run(undefined)
        .find((row) => where === undefined || where.run({ row }) === true);
      if (match !== undefined) rows.set(index, { row: match });
    }
    return { scope, alias, rows };
  }
}

const NOTHING: ModelResult = { columns: [], rows: [], count: 0 };

/** Trees of texts seen before; nothing changes a tree. */
const parsed = new Map<string, Node>();

function parse(sql: string): Node {
  try {
    const known = parsed.get(sql);
    if (known !== undefined) return known;
    const tree: Node = parseSync(sql);
    if (parsed.size < 2_000) parsed.set(sql, tree);
    return tree;
  } catch (cause) {
    throw new ModelError('42601', cause instanceof Error ? cause.message : String(cause));
  }
}

function resultOf(
  columns: readonly { readonly name: string; readonly type: Type }[],
  rows: readonly Row[],
  count = rows.length,
): ModelResult {
  return {
    columns,
    rows: rows.map((row) => row.map((value, index) => textOf(columns[index]!.type, value))),
    count,
  };
}

const namesOf = (list: Node): string[] =>
  ((list ?? []) as Node[]).map((each) => each.String.sval as string);
const tableColumns = (table: Table, alias: string): Column[] =>
  table.columns.map((column) => ({ table: alias, name: column.name, type: column.type }));

function columnIndex(table: Table, name: string): number {
  const index = table.columns.findIndex((column) => column.name === name);
  if (index < 0) throw new ModelError('42703', `column "${name}" does not exist`);
  return index;
}

function tableOf(body: Node): Table {
  const elements = (body.tableElts ?? []) as Node[];
  const definitions = elements
    .filter((element) => element.ColumnDef !== undefined)
    .map((element) => element.ColumnDef);
  const index = (name: string): number =>
    definitions.findIndex((definition) => definition.colname === name);
  const uniques: { name: string; columns: number[] }[] = [];
  const checks: { name: string; condition: Node }[] = [];
  const primary = new Set<number>();
  const constrain = (constraint: Node, own?: number): void => {
    const columns = own === undefined ? namesOf(constraint.keys).map(index) : [own];
    const table = body.relation.relname as string;
    const names = columns.map((each) => definitions[each].colname as string).join('_');
    if (constraint.contype === 'CONSTR_PRIMARY') {
      for (const column of columns) primary.add(column);
      uniques.push({ name: constraint.conname ?? `${table}_pkey`, columns });
    } else if (constraint.contype === 'CONSTR_UNIQUE')
      uniques.push({ name: constraint.conname ?? `${table}_${names}_key`, columns });
    else if (constraint.contype === 'CONSTR_CHECK')
      checks.push({ name: constraint.conname ?? `${table}_check`, condition: constraint.raw_expr });
  };
  for (const element of elements)
    if (element.Constraint !== undefined) constrain(element.Constraint);
  const raw = definitions.map((definition, at) => {
    const constraints = ((definition.constraints ?? []) as Node[]).map((each) => each.Constraint);
    for (const constraint of constraints) constrain(constraint, at);
    return {
      name: definition.colname as string,
      ...typeOf(definition.typeName),
      notNull: constraints.some((constraint) => constraint.contype === 'CONSTR_NOTNULL'),
      default: constraints.find((constraint) => constraint.contype === 'CONSTR_DEFAULT')
        ?.raw_expr as Node,
    };
  });
  const columns = raw.map((column, at) => ({
    ...column,
    notNull: column.notNull || primary.has(at),
  }));
  return { kind: 'table', columns, rows: [], uniques, checks };
}

function defaultOf(column: TableColumn, scope: Scope): Compiled {
  if (column.default === undefined) return { type: column.type, run: () => null };
  return assign(compile(column.default, scope), column.type, column.modifiers);
}

/** Values for the target columns, of their types. DEFAULT inside VALUES is the column's own. */
function insertedRows(
  body: Node,
  compiler: QueryCompiler,
  scope: Scope,
  table: Table,
  targets: readonly number[],
  defaults: readonly Compiled[],
): readonly Row[] {
  if (body.selectStmt === undefined)
    return [
      table.columns.length === 0 ? [] : targets.map((target) => defaults[target]!.run({ row: [] })),
    ];
  const lists = body.selectStmt.SelectStmt.valuesLists as Node[] | undefined;
  const to = (value: Compiled, at: number): Compiled => {
    const column = table.columns[targets[at] ?? -1];
    if (column === undefined)
      throw new ModelError('42601', 'INSERT has more expressions than target columns');
    return assign(value, column.type, column.modifiers);
  };
  if (
    lists !== undefined &&
    body.selectStmt.SelectStmt.sortClause === undefined &&
    body.selectStmt.SelectStmt.limitCount === undefined
  ) {
    return lists.map((list) =>
      (list.List.items as Node[]).map((item, at) =>
        (item.SetToDefault !== undefined
          ? defaults[targets[at]!]!
          : to(compile(item, scope), at)
        ).run({ row: [] }),
      ),
    );
  }
  const query = compiler.compileQuery(body.selectStmt);
  const casts = query.columns.map((column, at) =>
    to({ type: column.type, run: (env) => env.row[at]! }, at),
  );
  return query.run(undefined).map((row) => casts.map((each) => each.run({ row })));
}

/** SET a = …, b = DEFAULT, (c, d) = ROW(…). */
function assignments(
  list: readonly Node[],
  table: Table,
  scope: Scope,
  defaults: readonly Compiled[],
): (old: Row, env: Env) => Row {
  const set = list.map((item) => {
    const { name, val } = item.ResTarget;
    const index = columnIndex(table, name);
    const column = table.columns[index]!;
    if (val.SetToDefault !== undefined) return { index, value: defaults[index]! };
    const source =
      val.MultiAssignRef === undefined
        ? val
        : val.MultiAssignRef.source.RowExpr?.args[val.MultiAssignRef.colno - 1];
    if (source === undefined)
      throw new ModelError('0A000', 'the model does not know SET (…) = (SELECT …)');
    return { index, value: assign(compile(source, scope), column.type, column.modifiers) };
  });
  return (old, env) => {
    const row = [...old];
    for (const { index, value } of set) row[index] = value.run(env);
    return row;
  };
}

function checkRow(table: Table, row: Row, name: string, compiler: QueryCompiler): void {
  for (const [index, column] of table.columns.entries()) {
    if (column.notNull && row[index] === null)
      throw new ModelError(
        '23502',
        `null value in column "${column.name}" of relation "${name}" violates not-null constraint`,
      );
  }
  for (const check of table.checks) {
    const condition = coerce(
      compile(check.condition, { columns: tableColumns(table, name), queries: compiler }),
      'bool',
    );
    if (condition.run({ row }) === false)
      throw new ModelError(
        '23514',
        `new row for relation "${name}" violates check constraint "${check.name}"`,
      );
  }
}

function uniqueKey(table: Table, columns: readonly number[], row: Row): string | undefined {
  const key = columns.map((column) => row[column]!);
  return key.some((value) => value === null)
    ? undefined
    : rowKey(
        columns.map((column) => table.columns[column]!.type),
        key,
      );
}

function checkUniques(table: Table, rows: readonly Row[]): void {
  for (const unique of table.uniques) {
    const keys = rows
      .map((row) => uniqueKey(table, unique.columns, row))
      .filter((key) => key !== undefined);
    if (new Set(keys).size < keys.length)
      throw new ModelError(
        '23505',
        `duplicate key value violates unique constraint "${unique.name}"`,
      );
  }
}

/** The row that stands in the way of `row`, −1 if none. */
function conflicting(table: Table, rows: readonly Row[], row: Row, clause: Node): number {
  const names = ((clause.infer?.indexElems ?? []) as Node[]).map((element) =>
    columnIndex(table, element.IndexElem.name),
  );
  const wanted = names.toSorted().join();
  const uniques = table.uniques.filter(
    (unique) =>
      clause.infer === undefined ||
      clause.infer.conname === unique.name ||
      (clause.infer.conname === undefined && unique.columns.toSorted().join() === wanted),
  );
  if (uniques.length === 0 && clause.infer !== undefined)
    throw new ModelError(
      '42P10',
      'there is no unique or exclusion constraint matching the ON CONFLICT specification',
    );
  return rows.findIndex((other) =>
    uniques.some((unique) => {
      const key = uniqueKey(table, unique.columns, row);
      return key !== undefined && key === uniqueKey(table, unique.columns, other);
    }),
  );
}

function returning(
  body: Node,
  table: Table,
  alias: string,
  compiler: QueryCompiler,
  envs: readonly Env[],
  count: number,
  scope?: Scope,
): ModelResult {
  const list = body.returningClause?.exprs as Node[] | undefined;
  if (list === undefined) return { columns: [], rows: [], count };
  // RETURNING is a SELECT over the rows that were touched.
  const columns = scope?.columns ?? tableColumns(table, alias);
  const outputs = list.flatMap((item): { name: string; value: Compiled }[] => {
    const { name, val } = item.ResTarget;
    const fields = val.ColumnRef?.fields as Node[] | undefined;
    const here: Scope = { columns, queries: compiler };
    if (fields?.at(-1).A_Star !== undefined) {
      return columns.map((column, index) => ({
        name: column.name,
        value: { type: column.type, run: (env: Env) => env.row[index]! },
      }));
    }
    const value = compile(val, here);
    return [
      {
        name: name ?? fields?.at(-1).String.sval ?? '?column?',
        value: value.type === 'unknown' ? coerce(value, 'text') : value,
      },
    ];
  });
  return resultOf(
    outputs.map(({ name, value }) => ({ name, type: value.type })),
    envs.map((env) => outputs.map(({ value }) => value.run(env))),
    count,
  );
}
