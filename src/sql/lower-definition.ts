import type {
  AlterTableCmd,
  AlterTableStmt,
  ColumnDef,
  Constraint,
  CreateStmt,
  IndexStmt,
  Node,
} from 'libpg-query';
import type { TextPlace } from '../base/errors.ts';
import type {
  AlterTableAction,
  ColumnConstraint,
  ColumnDefinition,
  CreateIndexStatement,
  CreateTableStatement,
  RelationName,
  Statement,
  TableConstraint,
} from './ast.ts';
import { lowerExpression, lowerOptional, lowerTypeName } from './lower-expression.ts';
import { lowerRelation } from './lower-query.ts';
import { lowerOptions } from './lower-statement.ts';
import { textInParentheses } from './query-text.ts';
import { as, type Lowering, namesOf, UnsupportedSyntax } from './raw-tree.ts';

export function lowerCreateTable(
  low: Lowering,
  create: CreateStmt,
  at: TextPlace | undefined,
): CreateTableStatement {
  const beyond =
    create.inhRelations !== undefined
      ? create.partbound === undefined
        ? 'INHERITS'
        : 'PARTITION OF'
      : create.partspec !== undefined
        ? 'PARTITION BY'
        : create.ofTypename !== undefined
          ? 'CREATE TABLE OF'
          : create.tablespacename !== undefined || create.accessMethod !== undefined
            ? 'TABLESPACE and USING'
            : create.oncommit === 'ONCOMMIT_DROP' || create.oncommit === 'ONCOMMIT_DELETE_ROWS'
              ? 'ON COMMIT'
              : undefined;
  if (beyond !== undefined) throw new UnsupportedSyntax(beyond, at);
  const columns: ColumnDefinition[] = [];
  const constraints: TableConstraint[] = [];
  const like: { readonly table: RelationName; readonly including: readonly string[] }[] = [];
  for (const element of create.tableElts ?? []) {
    const column = as(element, 'ColumnDef');
    const constraint = as(element, 'Constraint');
    const clause = as(element, 'TableLikeClause');
    if (column !== undefined) columns.push(lowerColumnDefinition(low, column));
    else if (constraint !== undefined) constraints.push(lowerTableConstraint(low, constraint));
    else if (clause !== undefined) {
      like.push({
        table: lowerRelation(low, clause.relation ?? {}),
        including: includedBy(clause.options ?? 0),
      });
    }
  }
  return {
    kind: 'createTable',
    name: lowerRelation(low, create.relation ?? {}),
    ifNotExists: create.if_not_exists === true,
    temporary: create.relation?.relpersistence === 't',
    columns,
    constraints,
    like,
    options: lowerOptions(low, create.options),
  };
}

/** Bits of TableLikeClause.options, lowest first (PostgreSQL's parsenodes.h); ALL sets every bit. */
const LIKE_OPTIONS = [
  'comments',
  'compression',
  'constraints',
  'defaults',
  'generated',
  'identity',
  'indexes',
  'statistics',
  'storage',
];

function includedBy(bits: number): string[] {
  return LIKE_OPTIONS.filter((_, bit) => (bits & (1 << bit)) !== 0);
}

function lowerColumnDefinition(low: Lowering, column: ColumnDef): ColumnDefinition {
  const at = low.at(column.location);
  if (
    column.fdwoptions !== undefined ||
    column.storage_name !== undefined ||
    column.compression !== undefined
  ) {
    throw new UnsupportedSyntax('STORAGE, COMPRESSION and OPTIONS of a column', at);
  }
  const constraints: ColumnConstraint[] = [];
  for (const node of column.constraints ?? []) {
    const constraint = lowerColumnConstraint(low, as(node, 'Constraint') ?? {});
    if (constraint !== undefined) constraints.push(constraint);
  }
  return {
    name: column.colname ?? '',
    type: lowerTypeName(low, column.typeName),
    collation:
      column.collClause === undefined ? undefined : namesOf(column.collClause.collname).at(-1),
    constraints,
    at,
  };
}

/** undefined: an attribute that asks for what is so anyway (NOT DEFERRABLE, INITIALLY IMMEDIATE, ENFORCED). */
function lowerColumnConstraint(
  low: Lowering,
  constraint: Constraint,
): ColumnConstraint | undefined {
  const at = low.at(constraint.location);
  const shared = { name: constraint.conname, at };
  refuseUncommon(constraint, at);
  switch (constraint.contype) {
    case 'CONSTR_NOTNULL':
      return { ...shared, kind: 'notNull' };
    case 'CONSTR_NULL':
      return { ...shared, kind: 'null' };
    case 'CONSTR_PRIMARY':
      return { ...shared, kind: 'primaryKey' };
    case 'CONSTR_UNIQUE':
      return { ...shared, kind: 'unique' };
    case 'CONSTR_DEFAULT':
      return { ...shared, kind: 'default', value: lowerExpression(low, constraint.raw_expr) };
    case 'CONSTR_CHECK':
      return {
        ...shared,
        kind: 'check',
        condition: lowerExpression(low, constraint.raw_expr),
        text: checkText(low, at),
      };
    case 'CONSTR_GENERATED':
      return { ...shared, kind: 'generated', value: lowerExpression(low, constraint.raw_expr) };
    case 'CONSTR_IDENTITY': {
      const identity = {
        ...shared,
        kind: 'identity',
        always: constraint.generated_when === 'a',
      } as const;
      return constraint.options === undefined
        ? identity
        : { ...identity, options: lowerOptions(low, constraint.options) };
    }
    case 'CONSTR_FOREIGN':
      return {
        ...shared,
        kind: 'references',
        table: lowerRelation(low, constraint.pktable ?? {}),
        columns: namesOf(constraint.pk_attrs),
        onDelete: foreignAction(constraint.fk_del_action),
        onUpdate: foreignAction(constraint.fk_upd_action),
      };
    case 'CONSTR_ATTR_NOT_DEFERRABLE':
    case 'CONSTR_ATTR_IMMEDIATE':
    case 'CONSTR_ATTR_ENFORCED':
      return undefined;
    default:
      throw new UnsupportedSyntax(
        CONSTRAINT_NAMES[constraint.contype ?? ''] ?? 'a constraint of this form',
        at,
      );
  }
}

function lowerTableConstraint(low: Lowering, constraint: Constraint): TableConstraint {
  const at = low.at(constraint.location);
  const shared = { name: constraint.conname, at };
  refuseUncommon(constraint, at);
  switch (constraint.contype) {
    case 'CONSTR_PRIMARY':
      return { ...shared, kind: 'primaryKey', columns: namesOf(constraint.keys) };
    case 'CONSTR_UNIQUE':
      return { ...shared, kind: 'unique', columns: namesOf(constraint.keys) };
    case 'CONSTR_CHECK':
      return {
        ...shared,
        kind: 'check',
        condition: lowerExpression(low, constraint.raw_expr),
        text: checkText(low, at),
      };
    case 'CONSTR_FOREIGN':
      return {
        ...shared,
        kind: 'foreignKey',
        columns: namesOf(constraint.fk_attrs),
        table: lowerRelation(low, constraint.pktable ?? {}),
        references: namesOf(constraint.pk_attrs),
        onDelete: foreignAction(constraint.fk_del_action),
        onUpdate: foreignAction(constraint.fk_upd_action),
      };
    default:
      throw new UnsupportedSyntax(
        CONSTRAINT_NAMES[constraint.contype ?? ''] ?? 'a constraint of this form',
        at,
      );
  }
}

/** Each of these would change what the constraint means. */
function refuseUncommon(constraint: Constraint, at: TextPlace | undefined): void {
  const what =
    constraint.deferrable === true || constraint.initdeferred === true
      ? 'a deferrable constraint'
      : constraint.nulls_not_distinct === true
        ? 'NULLS NOT DISTINCT'
        : constraint.skip_validation === true
          ? 'NOT VALID'
          : constraint.indexname !== undefined
            ? 'a constraint USING INDEX'
            : constraint.without_overlaps === true || constraint.fk_with_period === true
              ? 'a constraint over periods'
              : constraint.fk_matchtype === 'f'
                ? 'MATCH FULL'
                : undefined;
  if (what !== undefined) throw new UnsupportedSyntax(what, at);
}

const CONSTRAINT_NAMES: Readonly<Record<string, string>> = {
  CONSTR_EXCLUSION: 'an exclusion constraint',
  CONSTR_NOTNULL: 'NOT NULL as a constraint of the table',
  CONSTR_ATTR_DEFERRABLE: 'a deferrable constraint',
  CONSTR_ATTR_DEFERRED: 'a deferrable constraint',
  CONSTR_ATTR_NOT_ENFORCED: 'NOT ENFORCED',
};

/** As written, between the parentheses: `at` is where CHECK or CONSTRAINT stands. */
function checkText(low: Lowering, at: TextPlace | undefined): string {
  return at === undefined ? '' : textInParentheses(low.source.text, at.offset);
}

function foreignAction(code: string | undefined): string {
  return FOREIGN_ACTIONS[code ?? ''] ?? 'no action';
}

const FOREIGN_ACTIONS: Readonly<Record<string, string>> = {
  r: 'restrict',
  c: 'cascade',
  n: 'set null',
  d: 'set default',
};

// ── CREATE INDEX and ALTER ─────────────────────────────────────────────────────────────────────────────────────

export function lowerCreateIndex(low: Lowering, index: IndexStmt): CreateIndexStatement {
  const at = low.at(index.relation?.location ?? -1);
  if (index.nulls_not_distinct === true) throw new UnsupportedSyntax('NULLS NOT DISTINCT', at);
  const columns = (index.indexParams ?? []).map((node): CreateIndexStatement['columns'][number] => {
    const element = as(node, 'IndexElem') ?? {};
    if (element.name !== undefined) return { kind: 'column', name: element.name };
    return { kind: 'expression', expression: lowerExpression(low, element.expr) };
  });
  return {
    kind: 'createIndex',
    name: index.idxname,
    table: lowerRelation(low, index.relation ?? {}),
    unique: index.unique === true,
    ifNotExists: index.if_not_exists === true,
    method: index.accessMethod ?? 'btree',
    columns,
    where: lowerOptional(low, index.whereClause),
    at,
  };
}

export function lowerAlterTable(
  low: Lowering,
  alter: AlterTableStmt,
  at: TextPlace | undefined,
): Statement {
  const { relation, cmds = [], objtype, missing_ok } = alter;
  const name = lowerRelation(low, relation ?? {});
  const ifExists = missing_ok === true;
  if (objtype === 'OBJECT_TABLE') {
    const actions = cmds.map((node) => lowerAction(low, as(node, 'AlterTableCmd') ?? {}));
    return { kind: 'alterTable', table: name, ifExists, actions };
  }
  const command = cmds.length === 1 ? as(cmds[0], 'AlterTableCmd') : undefined;
  const materialized = objtype === 'OBJECT_MATVIEW';
  if ((!materialized && objtype !== 'OBJECT_VIEW') || command?.subtype !== 'AT_SetRelOptions') {
    throw new UnsupportedSyntax(
      materialized ? 'ALTER MATERIALIZED VIEW of this form' : 'ALTER of this form',
      at,
    );
  }
  const action = {
    kind: 'set',
    options: lowerOptions(low, as(command.def, 'List')?.items),
  } as const;
  return { kind: 'alterView', name, materialized, ifExists, action };
}

function lowerAction(low: Lowering, command: AlterTableCmd): AlterTableAction {
  const { subtype, name = '', def } = command;
  const cascade = command.behavior === 'DROP_CASCADE';
  const missingOk = command.missing_ok === true;
  switch (subtype) {
    case 'AT_AddColumn': {
      const column = lowerColumnDefinition(low, as(def, 'ColumnDef') ?? {});
      return { kind: 'addColumn', column, ifNotExists: missingOk, at: column.at };
    }
    case 'AT_DropColumn':
      return { kind: 'dropColumn', name, ifExists: missingOk, cascade };
    case 'AT_AlterColumnType': {
      const column = as(def, 'ColumnDef') ?? {};
      if (column.collClause !== undefined)
        throw new UnsupportedSyntax('COLLATE in ALTER COLUMN', low.at(column.location));
      const type = lowerTypeName(low, column.typeName);
      return {
        kind: 'alterType',
        name,
        type,
        using: lowerOptional(low, column.raw_default),
        at: low.at(column.location),
      };
    }
    case 'AT_ColumnDefault': {
      const value = lowerOptional(low, def);
      return { kind: 'setDefault', name, value, at: value?.at };
    }
    case 'AT_SetNotNull':
      return { kind: 'setNotNull', name };
    case 'AT_DropNotNull':
      return { kind: 'dropNotNull', name };
    case 'AT_AddConstraint': {
      const constraint = lowerTableConstraint(low, as(def, 'Constraint') ?? {});
      return { kind: 'addConstraint', constraint, at: constraint.at };
    }
    case 'AT_DropConstraint':
      return { kind: 'dropConstraint', name, ifExists: missingOk, cascade };
    case 'AT_SetRelOptions':
      return { kind: 'setOptions', options: lowerOptions(low, optionNodes(def)) };
    case 'AT_ResetRelOptions':
      return { kind: 'resetOptions', options: lowerOptions(low, optionNodes(def)) };
    default:
      return { kind: 'unsupported', what: `ALTER TABLE … ${actionWords(subtype ?? '')}` };
  }
}

function optionNodes(def: Node | undefined): readonly Node[] {
  return as(def, 'List')?.items ?? [];
}

function actionWords(subtype: string): string {
  if (subtype === 'AT_ChangeOwner') return 'OWNER TO';
  return subtype
    .replace('AT_', '')
    .replace(/([a-z])([A-Z])/g, '$1 $2')
    .toUpperCase();
}
