import { DbError, notSupported, type TextPlace } from '../base/errors.ts';
import { didYouMean } from '../base/nearest.ts';
import type { Random } from '../base/ports.ts';
import { hasDate, INT8, isIntegerType, typeName, type SqlType } from '../columns/types.ts';
import { typeOfName } from '../expressions/type-names.ts';
import { relationDoesNotExist, type IdentityKind } from '../plan/catalog.ts';
import { printExpression } from '../sql/print.ts';
import { withColumnRenamed } from '../sql/substitute.ts';
import type * as Ast from '../sql/ast.ts';
import {
  POLICY_KEYS,
  policyMentions,
  policyOf,
  policyWithColumnRenamed,
  type Policy,
  type WrittenPolicy,
} from '../windows/policy.ts';
import {
  findRelation,
  kindOf,
  type CatalogEntry,
  type CatalogView,
  type NameScope,
  type TableEntry,
  wrongKind,
} from './catalog.ts';
import type {
  CheckDefinition,
  ColumnDefinition,
  IndexDefinition,
  Operation,
  RelationName,
  SequenceDefinition,
  TableDefinition,
  ViewOptions,
} from './records.ts';

/** What turning a definition statement into journal operations needs to know. */
export type DefinitionContext = {
  readonly view: CatalogView;
  readonly scope: NameScope;
  readonly takeId: () => number;
  readonly random: Random;
  /** The session's time zone. */
  readonly zone: string;
};

/** CREATE TABLE: the sequences of its serial columns, then the table. undefined: IF NOT EXISTS, and it does. */
export function createTableOperations(
  statement: Ast.CreateTableStatement,
  context: DefinitionContext,
): Operation[] | undefined {
  const name = targetName(statement.name, statement.temporary, context);
  if (isTaken(name, statement.ifNotExists, context)) return undefined;
  const columns: ColumnDefinition[] = [];
  const indexes: IndexDefinition[] = [];
  const checks: CheckDefinition[] = [];
  const sequences: Operation[] = [];
  for (const like of statement.like) copyLike(like, columns, checks, indexes, name.name, context);
  for (const [index, column] of columns.entries())
    if (columns.findIndex((each) => each.name === column.name) < index)
      throw new DbError('42701', `column "${column.name}" specified more than once`, {
        column: column.name,
        hint: 'Two tables that LIKE copies have a column of this name.',
      });
  for (const column of statement.columns) {
    if (columns.some((each) => each.name === column.name)) {
      throw new DbError('42701', `column "${column.name}" specified more than once`, {
        at: column.at,
        column: column.name,
      });
    }
    columns.push(columnOf(column, name, columns.length, indexes, checks, sequences, context));
  }
  for (const constraint of statement.constraints)
    addConstraint(constraint, name.name, columns, indexes, checks);
  return [
    ...sequences,
    {
      op: 'createTable',
      table: withOptions(
        {
          ...name,
          id: context.takeId(),
          columns: withPrimaryKeysNotNull(columns, indexes),
          indexes,
          checks,
          seed: context.random.uint32(),
          timeColumn: undefined,
        },
        statement.options,
        context.zone,
      ),
    },
  ];
}

/** The table of CREATE TABLE AS. */
export function tableOfQuery(
  statement: Ast.CreateTableAsStatement,
  columns: readonly Pick<ColumnDefinition, 'name' | 'type'>[],
  context: DefinitionContext,
): TableDefinition | undefined {
  const name = targetName(statement.name, statement.temporary, context);
  if (isTaken(name, statement.ifNotExists, context)) return undefined;
  if (statement.columns.length > columns.length) {
    throw new DbError('42601', 'too many column names were specified', { table: name.name });
  }
  const named = columns.map((column, index) => ({
    name: statement.columns[index] ?? column.name,
    type: column.type,
    nullable: true,
    default: undefined,
    generated: undefined,
    sequence: undefined,
  }));
  refuseDuplicates(named);
  return withOptions(
    {
      ...name,
      id: context.takeId(),
      columns: named,
      indexes: [],
      checks: [],
      seed: context.random.uint32(),
      timeColumn: undefined,
    },
    statement.options,
    context.zone,
  );
}

export function refuseDuplicates(columns: readonly { readonly name: string }[]): void {
  const seen = new Set<string>();
  for (const { name } of columns) {
    if (seen.has(name)) {
      throw new DbError('42701', `column "${name}" specified more than once`, {
        column: name,
        hint: 'Give the columns names of their own with AS.',
      });
    }
    seen.add(name);
  }
}

export function createIndexOperation(
  statement: Ast.CreateIndexStatement,
  context: DefinitionContext,
): Operation | undefined {
  const table = tableNamed(statement.table, context);
  const columnIndexes = statement.columns.map((column) => {
    if (column.kind === 'expression')
      throw notSupported(
        'an index on an expression',
        'Add a generated column and index that.',
        statement.at,
      );
    return columnIndex(table.definition.columns, column.name, table.definition.name, statement.at);
  });
  if (statement.where !== undefined)
    throw notSupported('a partial index', 'Leave out WHERE.', statement.at);
  const given = statement.name;
  if (given !== undefined && indexOwner(context.view, context.scope.tenant, given) !== undefined) {
    if (statement.ifNotExists) return undefined;
    throw new DbError('42P07', `relation "${given}" already exists`, { at: statement.at });
  }
  const suffix = `${statement.columns.map((column) => (column.kind === 'column' ? column.name : 'expr')).join('_')}_idx`;
  return {
    op: 'addIndex',
    relation: table.definition.id,
    index: {
      name:
        given ??
        freeName(
          `${table.definition.name}_${suffix}`,
          (name) => indexOwner(context.view, context.scope.tenant, name) !== undefined,
        ),
      columnIndexes,
      unique: statement.unique,
      primary: false,
      constraint: false,
    },
  };
}

/** The table that has an index of this name. */
export function indexOwner(
  view: CatalogView,
  tenant: string,
  index: string,
): TableEntry | undefined {
  for (const entry of view.ofTenant(tenant)) {
    if (entry.kind === 'table' && entry.definition.indexes.some(({ name }) => name === index))
      return entry;
  }
  return undefined;
}

export function createSequenceOperation(
  statement: Extract<Ast.Statement, { kind: 'createSequence' }>,
  context: DefinitionContext,
): Operation | undefined {
  const name = targetName(statement.name, false, context);
  if (isTaken(name, statement.ifNotExists, context)) return undefined;
  return {
    op: 'createSequence',
    sequence: sequenceDefinition(name, statement.options, INT8, context),
  };
}

/** `column`: the type that the values are of, where AS does not say it. */
function sequenceDefinition(
  name: RelationName,
  options: Ast.Options,
  column: SqlType,
  context: DefinitionContext,
): SequenceDefinition {
  const written = options.find((each) => each.name === 'as')?.value;
  const type = written === undefined ? column : ({ kind: written } as SqlType);
  if (!isIntegerType(type))
    throw new DbError('22023', 'sequence type must be smallint, integer, or bigint');
  const largest = type.kind === 'int2' ? 32_767 : type.kind === 'int4' ? 2_147_483_647 : undefined;
  const option = (key: string): number | undefined => {
    const value = options.find((each) => each.name === key)?.value;
    return value === undefined ? undefined : Number(value);
  };
  const increment = option('increment') ?? 1;
  const minimum =
    option('minvalue') ??
    (increment > 0 ? 1 : largest === undefined ? Number.MIN_SAFE_INTEGER : -largest - 1);
  const maximum = option('maxvalue') ?? (increment > 0 ? (largest ?? Number.MAX_SAFE_INTEGER) : -1);
  const start = option('start') ?? (increment > 0 ? minimum : maximum);
  const cache = option('cache');
  if (cache !== undefined && !(cache > 0))
    throw new DbError('22023', `CACHE (${cache}) must be greater than zero`);
  if (increment === 0) throw new DbError('22023', 'INCREMENT must not be zero');
  for (const [word, bound] of [
    ['MINVALUE', minimum],
    ['MAXVALUE', maximum],
  ] as const)
    if (largest !== undefined && (bound > largest || bound < -largest - 1))
      throw new DbError(
        '22023',
        `${word} (${bound}) is out of range for sequence data type ${typeName(type)}`,
      );
  if (minimum >= maximum)
    throw new DbError('22023', `MINVALUE (${minimum}) must be less than MAXVALUE (${maximum})`);
  if (start < minimum)
    throw new DbError('22023', `START value (${start}) cannot be less than MINVALUE (${minimum})`);
  if (start > maximum)
    throw new DbError(
      '22023',
      `START value (${start}) cannot be greater than MAXVALUE (${maximum})`,
    );
  const cycle = options.some((each) => each.name === 'cycle' && each.value !== 0);
  return { ...name, id: context.takeId(), start, increment, minimum, maximum, cycle };
}

function quotedName(name: string): string {
  return /^[a-z_][a-z0-9_$]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

/** WITH (refresh = 'commit' | '250ms'). */
export function viewOptions(
  options: Ast.Options,
  before: ViewOptions = { refresh: 'commit' },
): ViewOptions {
  let { refresh } = before;
  for (const { name, value, at } of options) {
    if (name !== 'refresh') {
      throw new DbError('22023', `unrecognized parameter "${name}"`, {
        at,
        hint:
          didYouMean(name, ['refresh']) ??
          "A materialized view takes refresh = 'commit' or refresh = '250ms'.",
      });
    }
    refresh = refreshOf(value, at);
  }
  return { refresh };
}

function refreshOf(value: string | number | true, at: TextPlace | undefined): 'commit' | number {
  if (value === 'commit') return 'commit';
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|min|m)$/.exec(String(value).trim());
  const ms =
    match === null
      ? Number.NaN
      : Number(match[1]) *
        { ms: 1, s: 1000, min: 60_000, m: 60_000 }[match[2] as 'ms' | 's' | 'min' | 'm'];
  if (!(ms >= 1 && ms <= 86_400_000)) {
    throw new DbError('22023', `invalid value for parameter "refresh": "${String(value)}"`, {
      at,
      hint: "Give 'commit', or a time from '1ms' to '1440min' such as '250ms'.",
    });
  }
  return ms;
}

// ── ALTER TABLE ────────────────────────────────────────────────────────────────────────────────────────────────

/** A table as one action of ALTER TABLE leaves it, and what becomes of its rows. */
export type TableChange =
  | { readonly kind: 'definition'; readonly table: TableDefinition }
  | { readonly kind: 'rename'; readonly name: string }
  | { readonly kind: 'policy'; readonly policy: Policy | undefined }
  | {
      readonly kind: 'addColumn';
      readonly table: TableDefinition;
      readonly column: ColumnDefinition;
      readonly default: Ast.SqlExpression | undefined;
    }
  | { readonly kind: 'dropColumn'; readonly table: TableDefinition; readonly index: number }
  | {
      readonly kind: 'alterType';
      readonly table: TableDefinition;
      readonly index: number;
      readonly using: Ast.SqlExpression;
    }
  | {
      readonly kind: 'addIndex';
      readonly index: IndexDefinition;
      readonly notNull: readonly number[];
    }
  | { readonly kind: 'dropIndex'; readonly name: string }
  /** Rows must be tested first: 23502 or 23514. */
  | { readonly kind: 'setNotNull'; readonly table: TableDefinition; readonly index: number }
  | {
      readonly kind: 'addCheck';
      readonly table: TableDefinition;
      readonly check: CheckDefinition;
      readonly condition: Ast.SqlExpression;
    }
  | { readonly kind: 'nothing' };

export function tableChange(
  entry: TableEntry,
  action: Ast.AlterTableAction,
  context: DefinitionContext,
): { readonly change: TableChange; readonly before: readonly Operation[] } {
  const { definition } = entry;
  const { columns } = definition;
  const at = action.at;
  const before: Operation[] = [];
  const withColumn = (index: number, change: Partial<ColumnDefinition>): TableDefinition => ({
    ...definition,
    columns: columns.map((column, position) =>
      position === index ? { ...column, ...change } : column,
    ),
  });
  const result = (change: TableChange): { change: TableChange; before: readonly Operation[] } => ({
    change,
    before,
  });
  switch (action.kind) {
    case 'addColumn': {
      if (columns.some(({ name }) => name === action.column.name)) {
        if (action.ifNotExists) return result({ kind: 'nothing' });
        throw new DbError(
          '42701',
          `column "${action.column.name}" of relation "${definition.name}" already exists`,
          { at, table: definition.name, column: action.column.name },
        );
      }
      const indexes: IndexDefinition[] = [];
      const checks: CheckDefinition[] = [];
      const column = columnOf(
        action.column,
        definition,
        columns.length,
        indexes,
        checks,
        before,
        context,
      );
      if (indexes.length > 0) {
        throw notSupported(
          'ADD COLUMN with PRIMARY KEY or UNIQUE',
          'Add the column first, then the constraint with ADD CONSTRAINT.',
          at,
        );
      }
      const value = action.column.constraints.find(
        (each) => each.kind === 'default' || each.kind === 'generated',
      );
      return result({
        kind: 'addColumn',
        table: {
          ...definition,
          columns: [...columns, column],
          checks: [...definition.checks, ...checks],
        },
        column,
        default: value !== undefined && 'value' in value ? value.value : undefined,
      });
    }
    case 'dropColumn': {
      const index = columns.findIndex(({ name }) => name === action.name);
      if (index < 0) {
        if (action.ifExists) return result({ kind: 'nothing' });
        throw noColumn(columns, action.name, definition.name, at);
      }
      refuseWherePolicyMentions(definition, action.name);
      const generated = generatedFrom(entry, action.name)[0];
      if (generated !== undefined)
        throw new DbError(
          '2BP01',
          `cannot drop column ${action.name} of table ${definition.name} because other objects depend on it`,
          {
            table: definition.name,
            column: action.name,
            detail: `column ${generated} of table ${definition.name} depends on column ${action.name} of table ${definition.name}`,
            hint: 'Use DROP COLUMN … CASCADE to drop the dependent objects too.',
          },
        );
      return result({ kind: 'dropColumn', index, table: withoutColumn(entry, index) });
    }
    case 'alterType': {
      const index = columnIndex(columns, action.name, definition.name, at);
      const type = typeOfName(action.type, action.type.at);
      refuseWherePolicyMentions(definition, action.name);
      const generated = generatedFrom(entry, action.name)[0];
      if (generated !== undefined)
        throw new DbError('0A000', 'cannot alter type of a column used by a generated column', {
          at,
          table: definition.name,
          column: action.name,
          detail: `column "${action.name}" is used by generated column "${generated}"`,
          hint: `Drop column "${generated}", change the type, and add it again.`,
        });
      const using: Ast.SqlExpression = action.using ?? { kind: 'column', parts: [action.name] };
      return result({ kind: 'alterType', index, using, table: withColumn(index, { type }) });
    }
    case 'setDefault': {
      const index = columnIndex(columns, action.name, definition.name, at);
      return result({
        kind: 'definition',
        table: withColumn(index, {
          default: action.value === undefined ? undefined : printExpression(action.value),
        }),
      });
    }
    case 'setNotNull': {
      const index = columnIndex(columns, action.name, definition.name, at);
      return result({ kind: 'setNotNull', index, table: withColumn(index, { nullable: false }) });
    }
    case 'dropNotNull': {
      const index = columnIndex(columns, action.name, definition.name, at);
      if (
        definition.indexes.some(
          ({ primary, columnIndexes }) => primary && columnIndexes.includes(index),
        )
      ) {
        throw new DbError('42P16', `column "${action.name}" is in a primary key`, {
          at,
          column: action.name,
        });
      }
      return result({ kind: 'definition', table: withColumn(index, { nullable: true }) });
    }
    case 'addConstraint': {
      const indexes: IndexDefinition[] = [...definition.indexes];
      const checks: CheckDefinition[] = [...definition.checks];
      addConstraint(action.constraint, definition.name, columns, indexes, checks);
      const index = indexes.at(definition.indexes.length);
      if (index !== undefined)
        return result({
          kind: 'addIndex',
          index,
          notNull: index.primary ? index.columnIndexes : [],
        });
      const check = checks.at(definition.checks.length);
      if (check !== undefined && action.constraint.kind === 'check') {
        return result({
          kind: 'addCheck',
          check,
          condition: action.constraint.condition,
          table: { ...definition, checks },
        });
      }
      return result({ kind: 'nothing' });
    }
    case 'dropConstraint': {
      if (definition.indexes.some(({ name, constraint }) => constraint && name === action.name))
        return result({ kind: 'dropIndex', name: action.name });
      if (definition.checks.some(({ name }) => name === action.name)) {
        return result({
          kind: 'definition',
          table: {
            ...definition,
            checks: definition.checks.filter(({ name }) => name !== action.name),
          },
        });
      }
      if (action.ifExists) return result({ kind: 'nothing' });
      throw noConstraint(definition, action.name, at);
    }
    case 'renameColumn': {
      const index = columnIndex(columns, action.name, definition.name, at);
      if (columns.some(({ name }) => name === action.to)) {
        throw new DbError(
          '42701',
          `column "${action.to}" of relation "${definition.name}" already exists`,
          { at, table: definition.name, column: action.to },
        );
      }
      const renamed = withColumn(index, { name: action.to });
      const { info } = entry;
      const rewritten = (expression: Ast.SqlExpression): string =>
        printExpression(withColumnRenamed(expression, action.name, action.to));
      return result({
        kind: 'definition',
        table: {
          ...renamed,
          columns: renamed.columns.map((column, position) => {
            const { generated } = info.columns[position]!;
            return generated === undefined
              ? column
              : { ...column, generated: rewritten(generated) };
          }),
          checks: definition.checks.map((check, position) => ({
            ...check,
            text: rewritten(info.checks[position]!.condition),
          })),
          timeColumn: definition.timeColumn === action.name ? action.to : definition.timeColumn,
          policy: policyWithColumnRenamed(definition.policy, action.name, action.to),
        },
      });
    }
    case 'renameTable':
      return result({ kind: 'rename', name: action.to });
    case 'renameConstraint': {
      const index = definition.indexes.find(
        ({ name, constraint }) => constraint && name === action.name,
      );
      if (index !== undefined)
        return result({
          kind: 'definition',
          table: withIndexRenamed(entry, index, action.to, context, at),
        });
      if (!definition.checks.some(({ name }) => name === action.name))
        throw noConstraint(definition, action.name, at);
      if (definition.checks.some(({ name }) => name === action.to))
        throw new DbError(
          '42710',
          `constraint "${action.to}" for relation "${definition.name}" already exists`,
          { at, table: definition.name, constraint: action.to },
        );
      const checks = definition.checks.map((check) =>
        check.name === action.name ? { ...check, name: action.to } : check,
      );
      return result({ kind: 'definition', table: { ...definition, checks } });
    }
    case 'setOptions':
    case 'resetOptions':
      return result(optionsChange(definition, action, context));
    case 'unsupported':
      throw notSupported(action.what, undefined, at);
  }
}

function noConstraint(
  definition: TableDefinition,
  name: string,
  at: TextPlace | undefined,
): DbError {
  const known = [
    ...definition.checks,
    ...definition.indexes.filter(({ constraint }) => constraint),
  ].map((each) => each.name);
  return new DbError(
    '42704',
    `constraint "${name}" of relation "${definition.name}" does not exist`,
    { at, table: definition.name, constraint: name, hint: didYouMean(name, known) },
  );
}

/** ALTER INDEX … RENAME, and that of a constraint which an index keeps: they have one name. */
export function withIndexRenamed(
  { definition }: TableEntry,
  index: IndexDefinition,
  to: string,
  { view, scope }: DefinitionContext,
  at: TextPlace | undefined,
): TableDefinition {
  const { tenant, schema } = definition;
  if (
    indexOwner(view, scope.tenant, to) !== undefined ||
    view.byName({ tenant, schema, name: to }) !== undefined
  )
    throw new DbError('42P07', `relation "${to}" already exists`, {
      at,
      table: definition.name,
      hint: 'Choose another name.',
    });
  return {
    ...definition,
    indexes: definition.indexes.map((each) => (each === index ? { ...each, name: to } : each)),
  };
}

function withoutColumn({ definition, info }: TableEntry, dropped: number): TableDefinition {
  const shift = (index: number): number => (index > dropped ? index - 1 : index);
  const name = definition.columns[dropped]!.name;
  return {
    ...definition,
    columns: definition.columns.filter((_, index) => index !== dropped),
    indexes: definition.indexes
      .filter(({ columnIndexes }) => !columnIndexes.includes(dropped))
      .map((index) => ({ ...index, columnIndexes: index.columnIndexes.map(shift) })),
    // A check that names the column goes with it, as in PostgreSQL.
    checks: definition.checks.filter(
      (_, index) => !columnsIn(info.checks[index]!.condition).has(name),
    ),
    timeColumn: definition.timeColumn === name ? undefined : definition.timeColumn,
  };
}

/** Columns that are made from this one. */
export function generatedFrom({ info }: TableEntry, column: string): string[] {
  return info.columns.flatMap(({ name, generated }) =>
    generated !== undefined && columnsIn(generated).has(column) ? [name] : [],
  );
}

// ── Columns and constraints ────────────────────────────────────────────────────────────────────────────────────

const SERIAL: Readonly<Record<string, 'int2' | 'int4' | 'int8'>> = {
  serial: 'int4',
  serial4: 'int4',
  bigserial: 'int8',
  serial8: 'int8',
  smallserial: 'int2',
  serial2: 'int2',
};

/** Whether a sequence is made with the column. */
export function isNumbered({ type, constraints }: Ast.ColumnDefinition): boolean {
  return SERIAL[type.name] !== undefined || constraints.some(({ kind }) => kind === 'identity');
}

function columnOf(
  column: Ast.ColumnDefinition,
  table: RelationName,
  index: number,
  indexes: IndexDefinition[],
  checks: CheckDefinition[],
  sequences: Operation[],
  context: DefinitionContext,
): ColumnDefinition {
  const serial = SERIAL[column.type.name];
  const type =
    serial === undefined ? typeOfName(column.type, column.type.at) : ({ kind: serial } as const);
  let nullable = true;
  let explicitNull = false;
  let defaultText: string | undefined;
  let generated: string | undefined;
  let sequence: number | undefined;
  let identity: IdentityKind | undefined;
  const own = (options: Ast.Options): void => {
    const name = freeName(
      `${table.name}_${column.name}_seq`,
      (each) =>
        context.view.byName({ ...table, name: each }) !== undefined ||
        sequences.some((other) => other.op === 'createSequence' && other.sequence.name === each),
    );
    const definition = sequenceDefinition(
      { tenant: table.tenant, schema: table.schema, name },
      options,
      type,
      context,
    );
    sequences.push({ op: 'createSequence', sequence: definition });
    sequence = definition.id;
    // With its schema: whoever inserts may have another search path.
    defaultText = `nextval('${[table.schema, name].map(quotedName).join('.').replaceAll("'", "''")}')`;
    nullable = false;
  };
  if (serial !== undefined) own([]);
  for (const constraint of column.constraints) {
    switch (constraint.kind) {
      case 'notNull':
        nullable = false;
        break;
      case 'null':
        explicitNull = true;
        break;
      case 'default':
        if (defaultText !== undefined)
          throw new DbError(
            '42601',
            `multiple default values specified for column "${column.name}" of table "${table.name}"`,
            { at: constraint.at, column: column.name },
          );
        defaultText = printExpression(constraint.value);
        break;
      case 'generated':
        generated = printExpression(constraint.value);
        break;
      case 'identity':
        if (defaultText !== undefined)
          throw new DbError(
            '42601',
            `both default and identity specified for column "${column.name}" of table "${table.name}"`,
            { at: constraint.at, column: column.name },
          );
        if (type.kind !== 'int2' && type.kind !== 'int4' && type.kind !== 'int8')
          throw new DbError('22023', 'identity column type must be smallint, integer, or bigint', {
            at: constraint.at,
            column: column.name,
          });
        own(constraint.options ?? []);
        identity = constraint.always ? 'always' : 'byDefault';
        break;
      case 'primaryKey':
      case 'unique':
        if (constraint.kind === 'primaryKey') nullable = false;
        addIndex(
          constraint.kind,
          constraint.name,
          table.name,
          [column.name],
          [index],
          indexes,
          constraint.at,
        );
        break;
      case 'check':
        checks.push({
          name:
            constraint.name ??
            freeName(`${table.name}_${column.name}_check`, (name) =>
              checks.some((each) => each.name === name),
            ),
          text: printExpression(constraint.condition),
        });
        break;
      case 'references':
        throw foreignKey(constraint.at);
    }
  }
  if (explicitNull && !nullable) {
    throw new DbError(
      '42601',
      `conflicting NULL/NOT NULL declarations for column "${column.name}" of table "${table.name}"`,
      { at: column.at, column: column.name },
    );
  }
  return {
    name: column.name,
    type,
    nullable,
    default: defaultText,
    generated,
    sequence,
    ...(identity === undefined ? {} : { identity }),
  };
}

function addConstraint(
  constraint: Ast.TableConstraint,
  table: string,
  columns: readonly ColumnDefinition[],
  indexes: IndexDefinition[],
  checks: CheckDefinition[],
): void {
  switch (constraint.kind) {
    case 'primaryKey':
    case 'unique': {
      const columnIndexes = constraint.columns.map((name) =>
        columnIndex(columns, name, undefined, constraint.at),
      );
      addIndex(
        constraint.kind,
        constraint.name,
        table,
        constraint.columns,
        columnIndexes,
        indexes,
        constraint.at,
      );
      return;
    }
    case 'check': {
      const taken = (name: string): boolean => checks.some((check) => check.name === name);
      if (constraint.name !== undefined && taken(constraint.name)) {
        throw new DbError(
          '42710',
          `constraint "${constraint.name}" for relation "${table}" already exists`,
          { at: constraint.at, table, constraint: constraint.name },
        );
      }
      checks.push({
        name: constraint.name ?? freeName(checkName(table, constraint.condition), taken),
        text: printExpression(constraint.condition),
      });
      return;
    }
    case 'foreignKey':
      throw foreignKey(constraint.at);
  }
}

/** As PostgreSQL names a CHECK: by its column, where it speaks of one. */
function checkName(table: string, condition: Ast.SqlExpression): string {
  const columns = columnsIn(condition);
  const [column] = columns;
  return columns.size === 1 ? `${table}_${column}_check` : `${table}_check`;
}

/** The columns that an expression over one table names. */
export function columnsIn(expression: Ast.SqlExpression): ReadonlySet<string> {
  const columns = new Set<string>();
  const visit = (part: unknown): void => {
    if (typeof part !== 'object' || part === null) return;
    if (!Array.isArray(part) && (part as Ast.SqlExpression).kind === 'column')
      columns.add((part as Extract<Ast.SqlExpression, { kind: 'column' }>).parts.at(-1)!);
    for (const inner of Object.values(part)) visit(inner);
  };
  visit(expression);
  return columns;
}

function addIndex(
  kind: 'primaryKey' | 'unique',
  given: string | undefined,
  table: string,
  names: readonly string[],
  columnIndexes: readonly number[],
  indexes: IndexDefinition[],
  at: TextPlace | undefined,
): void {
  const primary = kind === 'primaryKey';
  if (primary && indexes.some((index) => index.primary)) {
    throw new DbError('42P16', `multiple primary keys for table "${table}" are not allowed`, {
      at,
      table,
    });
  }
  const name =
    given ??
    freeName(primary ? `${table}_pkey` : `${table}_${names.join('_')}_key`, (each) =>
      indexes.some((index) => index.name === each),
    );
  indexes.push({ name, columnIndexes, unique: true, primary, constraint: true });
}

function withPrimaryKeysNotNull(
  columns: readonly ColumnDefinition[],
  indexes: readonly IndexDefinition[],
): ColumnDefinition[] {
  const primary = indexes.find((index) => index.primary);
  return columns.map((column, index) =>
    primary?.columnIndexes.includes(index) === true ? { ...column, nullable: false } : column,
  );
}

function copyLike(
  like: Ast.CreateTableStatement['like'][number],
  columns: ColumnDefinition[],
  checks: CheckDefinition[],
  indexes: IndexDefinition[],
  table: string,
  context: DefinitionContext,
): void {
  const source = findRelation(context.view, context.scope, like.table);
  if (source === undefined || source.kind === 'sequence')
    throw relationDoesNotExist(like.table, namesOf(context.view, context.scope.tenant));
  const including = (what: string): boolean =>
    like.including.includes(what) || like.including.includes('all');
  const offset = columns.length;
  if (source.kind !== 'table') {
    for (const { name, type } of source.info.columns)
      columns.push({
        name,
        type,
        nullable: true,
        default: undefined,
        generated: undefined,
        sequence: undefined,
      });
    return;
  }
  for (const column of source.definition.columns) {
    columns.push({
      ...column,
      sequence: undefined,
      identity: undefined,
      default: including('defaults') ? column.default : undefined,
      generated: including('generated') ? column.generated : undefined,
    });
  }
  if (including('constraints')) checks.push(...source.definition.checks);
  if (including('indexes')) {
    for (const index of source.definition.indexes) {
      indexes.push({
        ...index,
        name: index.name.replace(source.definition.name, table),
        columnIndexes: index.columnIndexes.map((each) => each + offset),
      });
    }
  }
}

/** The name of something that is created: schema chosen, reserved ones refused. */
export function targetName(
  written: Ast.RelationName,
  temporary: boolean,
  context: DefinitionContext,
): RelationName {
  const tenant = written.catalog ?? context.scope.tenant;
  if (tenant !== context.scope.tenant) {
    throw notSupported(
      'creating relations in another tenant',
      `Open a session with { tenant: '${tenant}' }.`,
      written.at,
    );
  }
  const schema =
    temporary || written.schema === 'pg_temp'
      ? context.scope.temporarySchema
      : (written.schema ?? context.scope.searchPath[0] ?? 'public');
  if (schema === 'pg_catalog' || schema === 'information_schema' || schema === 'adb') {
    throw new DbError('42501', `permission denied to create "${schema}.${written.name}"`, {
      at: written.at,
      hint: 'System schemas are read-only; use another schema.',
    });
  }
  if (schema !== context.scope.temporarySchema && !context.view.hasSchema(tenant, schema)) {
    throw new DbError('3F000', `schema "${schema}" does not exist`, {
      at: written.at,
      hint: `CREATE SCHEMA ${schema} makes it.`,
    });
  }
  return { tenant, schema, name: written.name };
}

export function isTaken(
  name: RelationName,
  ifNotExists: boolean,
  context: DefinitionContext,
): boolean {
  if (context.view.byName(name) === undefined) return false;
  if (ifNotExists) return true;
  throw new DbError('42P07', `relation "${name.name}" already exists`, {
    table: name.name,
    hint: 'Use IF NOT EXISTS, another name, or drop it first.',
  });
}

export function tableNamed(
  written: Ast.RelationName,
  context: Pick<DefinitionContext, 'view' | 'scope'>,
): TableEntry {
  const entry = findRelation(context.view, context.scope, written);
  if (entry === undefined)
    throw relationDoesNotExist(written, namesOf(context.view, context.scope.tenant));
  if (entry.kind !== 'table')
    throw wrongKind(
      entry,
      'table',
      written,
      `It is a ${kindOf(entry)}: name a table, of those that it reads for instance.`,
    );
  return entry;
}

export function namesOf(view: CatalogView, tenant: string): string[] {
  return view.ofTenant(tenant).map((entry: CatalogEntry) => entry.definition.name);
}

function columnIndex(
  columns: readonly ColumnDefinition[],
  name: string,
  table: string | undefined,
  at: TextPlace | undefined,
): number {
  const index = columns.findIndex((column) => column.name === name);
  if (index < 0) throw noColumn(columns, name, table, at);
  return index;
}

function noColumn(
  columns: readonly ColumnDefinition[],
  name: string,
  table: string | undefined,
  at: TextPlace | undefined,
): DbError {
  return new DbError(
    '42703',
    table === undefined
      ? `column "${name}" named in key does not exist`
      : `column "${name}" of relation "${table}" does not exist`,
    {
      at,
      table,
      column: name,
      hint: didYouMean(
        name,
        columns.map((column) => column.name),
      ),
    },
  );
}

/** WITH (time = …, retention = …, …). */
function withOptions(table: TableDefinition, options: Ast.Options, zone: string): TableDefinition {
  const timed = { ...table, timeColumn: timeColumnOf(options, table.columns) };
  const policy = policyGiven(options, 'set');
  if (policy === undefined) return timed;
  return { ...timed, policy: policyFor(timed, policy, zone) };
}

/** ALTER TABLE … SET and RESET. */
function optionsChange(
  definition: TableDefinition,
  { kind, options }: Extract<Ast.AlterTableAction, { kind: 'setOptions' | 'resetOptions' }>,
  context: Pick<DefinitionContext, 'zone'>,
): TableChange {
  const isSet = kind === 'setOptions';
  const time = timeColumnOf(options, isSet ? definition.columns : []);
  const timeColumn = isSet
    ? (time ?? definition.timeColumn)
    : options.some(({ name }) => name === 'time')
      ? undefined
      : definition.timeColumn;
  const given = policyGiven(options, isSet ? 'set' : 'reset');
  const isSameTime = timeColumn === definition.timeColumn;
  if (given === undefined && isSameTime) return { kind: 'definition', table: definition };
  if (
    !isSameTime &&
    definition.policy !== undefined &&
    definition.policy.retention.length > 0 &&
    definition.policy.time !== timeColumn
  )
    throw new DbError(
      '2BP01',
      `the retention of "${definition.name}" goes by "${definition.policy.time}"`,
      {
        table: definition.name,
        column: definition.policy.time,
        hint: `ALTER TABLE ${definition.name} RESET (retention) first.`,
      },
    );
  const policy =
    given === undefined
      ? definition.policy
      : policyFor({ ...definition, timeColumn }, given, context.zone);
  return isSameTime
    ? { kind: 'policy', policy }
    : { kind: 'definition', table: { ...definition, timeColumn, policy } };
}

function policyFor(
  definition: TableDefinition,
  given: WrittenPolicy,
  zone: string,
): Policy | undefined {
  const primary = definition.indexes.find((index) => index.primary);
  return policyOf(
    given,
    definition.policy,
    {
      name: definition.name,
      columns: definition.columns,
      timeColumn: definition.timeColumn,
      keys: primary?.columnIndexes.map((index) => definition.columns[index]!.name) ?? [],
    },
    zone,
  );
}

/** What options say of the policy; undefined where they say nothing. */
function policyGiven(options: Ast.Options, to: 'set' | 'reset'): WrittenPolicy | undefined {
  const named = options.filter(({ name }) => isPolicyKey(name));
  if (named.length === 0) return undefined;
  return Object.fromEntries(
    named.map(({ name, value, at }) => {
      if (to === 'reset') return [name, null];
      if (typeof value === 'string') return [name, value];
      throw new DbError('22023', `invalid value for parameter "${name}"`, {
        at,
        field: name,
        hint: `Write ${name} = '…'.`,
      });
    }),
  );
}

function isPolicyKey(name: string): boolean {
  return (POLICY_KEYS as readonly string[]).includes(name);
}

/** What keeps a column that a policy speaks of from going, or becoming something else. */
function refuseWherePolicyMentions(definition: TableDefinition, column: string): void {
  const { policy } = definition;
  if (policy === undefined || !policyMentions(policy, column)) return;
  throw new DbError('2BP01', `the policy of "${definition.name}" speaks of column "${column}"`, {
    table: definition.name,
    column,
    hint: `Change the policy first: ALTER TABLE ${definition.name} SET (by = …, measures = …), or RESET (retention).`,
  });
}

/** `columns`: of which one may be named; none where it is only taken back. */
function timeColumnOf(
  options: Ast.Options,
  columns: readonly ColumnDefinition[],
): string | undefined {
  let time: string | undefined;
  for (const { name, value, at } of options) {
    if (name === 'fillfactor' || name === 'autovacuum_enabled' || isPolicyKey(name)) continue;
    if (name !== 'time') {
      throw new DbError('22023', `unrecognized parameter "${name}"`, {
        at,
        hint:
          didYouMean(name, ['time', ...POLICY_KEYS]) ??
          `A table takes time = '<column>', and ${POLICY_KEYS.join(', ')}.`,
      });
    }
    if (columns.length === 0) continue;
    const column = columns.find((each) => each.name === value);
    if (column === undefined) {
      throw new DbError('42703', `column "${String(value)}" named in "time" does not exist`, {
        at,
        column: String(value),
        hint:
          didYouMean(
            String(value),
            columns.filter(({ type }) => hasDate(type)).map((each) => each.name),
          ) ?? 'Name a date or timestamp column of the table.',
      });
    }
    if (!hasDate(column.type))
      throw new DbError(
        '42804',
        `column "${column.name}" named in "time" is of type ${typeName(column.type)}, not a time`,
        {
          at,
          column: column.name,
          hint: 'Name a timestamptz, timestamp or date column of the table.',
        },
      );
    time = column.name;
  }
  return time;
}

/** `base`, or `base1`, `base2`, … as PostgreSQL does. */
function freeName(base: string, taken: (name: string) => boolean): string {
  if (!taken(base)) return base;
  for (let number = 1; ; number += 1) if (!taken(`${base}${number}`)) return `${base}${number}`;
}

function foreignKey(at: TextPlace | undefined): DbError {
  return notSupported('FOREIGN KEY', 'Leave the constraint out; joins do not need it.', at);
}
