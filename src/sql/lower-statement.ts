import type {
  CreateTableAsStmt,
  DefElem,
  DropStmt,
  GrantStmt,
  InsertStmt,
  Node,
  OnConflictClause,
  RenameStmt,
  ReturningClause,
  TransactionStmt,
  VariableSetStmt,
} from 'libpg-query';
import type { TextPlace } from '../base/errors.ts';
import type {
  InsertStatement,
  IsolationLevel,
  Options,
  RelationName,
  SelectItem,
  SetClause,
  Statement,
} from './ast.ts';
import { lowerAlterTable, lowerCreateIndex, lowerCreateTable } from './lower-definition.ts';
import {
  lowerExpression,
  lowerExpressions,
  lowerOptional,
  lowerTypeName,
} from './lower-expression.ts';
import {
  lowerFrom,
  lowerItems,
  lowerQuery,
  lowerRelation,
  lowerValue,
  lowerWith,
} from './lower-query.ts';
import { textAfterAs } from './query-text.ts';
import {
  type AnyNode,
  as,
  kindOf,
  type Lowering,
  namesOf,
  UnsupportedSyntax,
  wordsOfKind,
} from './raw-tree.ts';

/** `at` is where the statement begins. Throws UnsupportedSyntax for what the grammar knows and we do not. */
export function lowerStatement(
  low: Lowering,
  raw: Node | undefined,
  at: TextPlace | undefined,
): Statement {
  const kind = kindOf(raw);
  const node = (raw ?? {}) as AnyNode;
  switch (kind) {
    case 'SelectStmt':
      return { kind: 'query', query: lowerQuery(low, node.SelectStmt, at) };
    case 'InsertStmt':
      return lowerInsert(low, node.InsertStmt);
    case 'UpdateStmt': {
      const { relation, targetList, whereClause, fromClause, returningClause, withClause } =
        node.UpdateStmt;
      return {
        kind: 'update',
        with: lowerWith(low, withClause),
        table: lowerRelation(low, relation ?? {}),
        alias: relation?.alias?.aliasname,
        set: lowerSetClauses(low, targetList),
        from: (fromClause ?? []).map((item) => lowerFrom(low, item)),
        where: lowerOptional(low, whereClause),
        returning: lowerReturning(low, returningClause),
      };
    }
    case 'DeleteStmt': {
      const { relation, usingClause, whereClause, returningClause, withClause } = node.DeleteStmt;
      return {
        kind: 'delete',
        with: lowerWith(low, withClause),
        table: lowerRelation(low, relation ?? {}),
        alias: relation?.alias?.aliasname,
        using: (usingClause ?? []).map((item) => lowerFrom(low, item)),
        where: lowerOptional(low, whereClause),
        returning: lowerReturning(low, returningClause),
      };
    }
    case 'TruncateStmt': {
      const { relations, restart_seqs } = node.TruncateStmt;
      return {
        kind: 'truncate',
        tables: lowerRelations(low, relations),
        restartIdentity: restart_seqs === true,
      };
    }
    case 'TransactionStmt':
      return lowerTransaction(node.TransactionStmt);
    case 'VariableSetStmt':
      return lowerSet(low, node.VariableSetStmt);
    case 'VariableShowStmt':
      return { kind: 'show', name: (node.VariableShowStmt.name ?? '').toLowerCase() };
    case 'ExplainStmt': {
      const { query, options } = node.ExplainStmt;
      return {
        kind: 'explain',
        options: lowerOptions(low, options),
        statement: lowerStatement(low, query, at),
      };
    }
    case 'PrepareStmt': {
      const { name, argtypes, query } = node.PrepareStmt;
      return {
        kind: 'prepare',
        name: name ?? '',
        types: (argtypes ?? []).map((type) => lowerTypeName(low, as(type, 'TypeName'))),
        statement: lowerStatement(low, query, at),
        text: textAfterAs(low.source.text, at?.offset ?? 0),
      };
    }
    case 'ExecuteStmt':
      return {
        kind: 'execute',
        name: node.ExecuteStmt.name ?? '',
        args: lowerExpressions(low, node.ExecuteStmt.params),
      };
    case 'DeallocateStmt':
      return {
        kind: 'deallocate',
        name: node.DeallocateStmt.isall === true ? undefined : node.DeallocateStmt.name,
      };
    case 'DiscardStmt': {
      const target = (node.DiscardStmt.target ?? 'DISCARD_ALL')
        .replace('DISCARD_', '')
        .toLowerCase();
      return { kind: 'discard', what: target as 'all' | 'plans' | 'sequences' | 'temp' };
    }
    case 'CommentStmt':
      return { kind: 'comment' };
    case 'GrantStmt':
      return lowerGrant(low, node.GrantStmt);
    case 'CreateStmt':
      return lowerCreateTable(low, node.CreateStmt, at);
    case 'CreateTableAsStmt':
      return lowerCreateAs(low, node.CreateTableAsStmt, at);
    case 'IndexStmt':
      return lowerCreateIndex(low, node.IndexStmt);
    case 'ViewStmt': {
      const { view, aliases, query, replace, options, withCheckOption } = node.ViewStmt;
      if (withCheckOption !== undefined && withCheckOption !== 'NO_CHECK_OPTION')
        throw new UnsupportedSyntax('WITH CHECK OPTION', at);
      if (options !== undefined) throw new UnsupportedSyntax('options of a view', at);
      return {
        kind: 'createView',
        name: lowerRelation(low, view ?? {}),
        columns: namesOf(aliases),
        query: lowerQuery(low, as(query, 'SelectStmt') ?? {}, at),
        orReplace: replace === true,
        temporary: view?.relpersistence === 't',
        text: textAfterAs(low.source.text, at?.offset ?? 0),
      };
    }
    case 'AlterTableStmt':
      return lowerAlterTable(low, node.AlterTableStmt, at);
    case 'RenameStmt':
      return lowerRename(low, node.RenameStmt, at);
    case 'DropStmt':
      return lowerDrop(node.DropStmt, at);
    case 'DropdbStmt': {
      const { dbname, missing_ok } = node.DropdbStmt;
      return {
        kind: 'drop',
        what: 'database',
        names: [{ name: dbname ?? '', at }],
        ifExists: missing_ok === true,
        cascade: false,
      };
    }
    case 'CreateSchemaStmt': {
      const { schemaname, authrole, schemaElts, if_not_exists } = node.CreateSchemaStmt;
      if (schemaElts !== undefined)
        throw new UnsupportedSyntax('CREATE SCHEMA with its objects', at);
      return {
        kind: 'createSchema',
        name: schemaname ?? authrole?.rolename ?? '',
        ifNotExists: if_not_exists === true,
      };
    }
    case 'CreateSeqStmt': {
      const { sequence, options, if_not_exists } = node.CreateSeqStmt;
      const name = lowerRelation(low, sequence ?? {});
      return {
        kind: 'createSequence',
        name,
        ifNotExists: if_not_exists === true,
        options: lowerOptions(low, options),
      };
    }
    case 'CreatedbStmt':
      return {
        kind: 'database',
        action: 'create',
        name: node.CreatedbStmt.dbname ?? '',
        options: lowerOptions(low, node.CreatedbStmt.options),
      };
    case 'AlterDatabaseStmt': {
      const { dbname, options } = node.AlterDatabaseStmt;
      return {
        kind: 'database',
        action: 'alter',
        name: dbname ?? '',
        options: lowerOptions(low, options),
      };
    }
    case 'RefreshMatViewStmt':
      if (node.RefreshMatViewStmt.skipData === true)
        throw new UnsupportedSyntax('REFRESH … WITH NO DATA', at);
      return {
        kind: 'refreshMaterializedView',
        name: lowerRelation(low, node.RefreshMatViewStmt.relation ?? {}),
      };
    case 'VacuumStmt':
      throw new UnsupportedSyntax(node.VacuumStmt.is_vacuumcmd === true ? 'VACUUM' : 'ANALYZE', at);
    default:
      throw new UnsupportedSyntax(STATEMENT_NAMES[kind] ?? wordsOfKind(kind), at);
  }
}

const STATEMENT_NAMES: Readonly<Record<string, string>> = {
  AlterDatabaseSetStmt: 'ALTER DATABASE … SET',
  AlterObjectSchemaStmt: 'ALTER … SET SCHEMA',
  AlterOwnerStmt: 'ALTER … OWNER TO',
  AlterSeqStmt: 'ALTER SEQUENCE',
  CheckPointStmt: 'CHECKPOINT',
  ClosePortalStmt: 'CLOSE',
  CreateEnumStmt: 'CREATE TYPE',
  CompositeTypeStmt: 'CREATE TYPE',
  CreateRangeStmt: 'CREATE TYPE',
  CreateTrigStmt: 'CREATE TRIGGER',
  CreateStatsStmt: 'CREATE STATISTICS',
  DeclareCursorStmt: 'DECLARE CURSOR',
  DefineStmt: 'CREATE of this kind of object',
  GrantRoleStmt: 'GRANT of a role',
  RuleStmt: 'CREATE RULE',
};

function lowerRelations(low: Lowering, nodes: readonly Node[] | undefined): RelationName[] {
  return (nodes ?? []).map((node) => lowerRelation(low, as(node, 'RangeVar') ?? {}));
}

// ── INSERT and UPDATE ──────────────────────────────────────────────────────────────────────────────────────────

function lowerInsert(low: Lowering, insert: InsertStmt): InsertStatement {
  const { relation, cols, selectStmt, onConflictClause, returningClause, withClause, override } =
    insert;
  const columns = (cols ?? []).map((node) => {
    const target = as(node, 'ResTarget') ?? {};
    const at = low.at(target.location);
    if (target.indirection !== undefined)
      throw new UnsupportedSyntax('INSERT into a part of a column', at);
    return { name: target.name ?? '', at };
  });
  const select = as(selectStmt, 'SelectStmt');
  const overriding =
    override === 'OVERRIDING_USER_VALUE'
      ? 'user'
      : override === 'OVERRIDING_SYSTEM_VALUE'
        ? 'system'
        : undefined;
  return {
    kind: 'insert',
    with: lowerWith(low, withClause),
    table: lowerRelation(low, relation ?? {}),
    alias: relation?.alias?.aliasname,
    columns,
    ...(overriding === undefined ? {} : { overriding }),
    source: select === undefined ? undefined : lowerQuery(low, select, undefined),
    onConflict: onConflictClause === undefined ? undefined : lowerConflict(low, onConflictClause),
    returning: lowerReturning(low, returningClause),
  };
}

type OnConflict = NonNullable<InsertStatement['onConflict']>;

function lowerConflict(low: Lowering, clause: OnConflictClause): OnConflict {
  const at = low.at(clause.location);
  const update =
    clause.action === 'ONCONFLICT_UPDATE'
      ? {
          set: lowerSetClauses(low, clause.targetList),
          where: lowerOptional(low, clause.whereClause),
        }
      : undefined;
  return { target: conflictTarget(low, clause, at), update, at };
}

function conflictTarget(
  low: Lowering,
  clause: OnConflictClause,
  at: TextPlace | undefined,
): OnConflict['target'] {
  const { infer } = clause;
  if (infer === undefined) return { kind: 'none' };
  if (infer.conname !== undefined) return { kind: 'constraint', name: infer.conname };
  const columns = (infer.indexElems ?? []).map((node) => {
    const element = as(node, 'IndexElem') ?? {};
    if (
      element.name === undefined ||
      element.collation !== undefined ||
      element.opclass !== undefined
    ) {
      throw new UnsupportedSyntax('ON CONFLICT on anything but columns', at);
    }
    return element.name;
  });
  return { kind: 'columns', columns, where: lowerOptional(low, infer.whereClause) };
}

function lowerSetClauses(low: Lowering, targets: readonly Node[] | undefined): SetClause[] {
  const clauses: SetClause[] = [];
  const list = targets ?? [];
  for (let index = 0; index < list.length; index += 1) {
    const target = as(list[index], 'ResTarget') ?? {};
    const at = low.at(target.location);
    if (target.indirection !== undefined)
      throw new UnsupportedSyntax('SET of a part of a column', at);
    const many = as(target.val, 'MultiAssignRef');
    if (many === undefined) {
      clauses.push({
        kind: 'one',
        column: target.name ?? '',
        value: lowerValue(low, target.val),
        at,
      });
      continue;
    }
    // (a, b) = … comes as one target a column, each with the whole source.
    const columnCount = many.ncolumns ?? 1;
    const columns = list
      .slice(index, index + columnCount)
      .map((node) => as(node, 'ResTarget')?.name ?? '');
    const values = as(many.source, 'RowExpr')?.args;
    if (values?.length === columnCount) {
      // A row of values, where DEFAULT may stand, means the same as one assignment each.
      columns.forEach((column, i) =>
        clauses.push({ kind: 'one', column, value: lowerValue(low, values[i]), at }),
      );
    } else clauses.push({ kind: 'many', columns, value: lowerExpression(low, many.source), at });
    index += columnCount - 1;
  }
  return clauses;
}

function lowerReturning(low: Lowering, clause: ReturningClause | undefined): SelectItem[] {
  if (clause?.options !== undefined) throw new UnsupportedSyntax('RETURNING WITH');
  return lowerItems(low, clause?.exprs);
}

// ── Transactions, settings, grants ─────────────────────────────────────────────────────────────────────────────

function lowerTransaction(transaction: TransactionStmt): Statement {
  const name = transaction.savepoint_name ?? '';
  switch (transaction.kind) {
    case 'TRANS_STMT_BEGIN':
    case 'TRANS_STMT_START':
      return { kind: 'begin', ...transactionModes(transaction.options) };
    case 'TRANS_STMT_COMMIT':
      return { kind: 'commit', chain: transaction.chain === true };
    case 'TRANS_STMT_ROLLBACK':
      return { kind: 'rollback', chain: transaction.chain === true };
    case 'TRANS_STMT_SAVEPOINT':
      return { kind: 'savepoint', name };
    case 'TRANS_STMT_RELEASE':
      return { kind: 'release', name };
    case 'TRANS_STMT_ROLLBACK_TO':
      return { kind: 'rollbackTo', name };
    default:
      throw new UnsupportedSyntax('two-phase commit');
  }
}

type TransactionModes = { isolation?: IsolationLevel; readOnly?: boolean };

/** DEFERRABLE says when to wait, never what is answered; it is taken and ignored. */
function transactionModes(nodes: readonly Node[] | undefined): Readonly<TransactionModes> {
  const modes: TransactionModes = {};
  for (const node of nodes ?? []) {
    const { defname, arg } = as(node, 'DefElem') ?? {};
    const constant = as(arg, 'A_Const');
    if (defname === 'transaction_isolation')
      modes.isolation = constant?.sval?.sval as IsolationLevel;
    if (defname === 'transaction_read_only') modes.readOnly = constant?.ival?.ival === 1;
  }
  return modes;
}

function lowerSet(low: Lowering, set: VariableSetStmt): Statement {
  const name = (set.name ?? '').toLowerCase();
  const at = low.at(set.location);
  switch (set.kind) {
    case 'VAR_SET_VALUE':
      return {
        kind: 'set',
        name,
        local: set.is_local === true,
        value: (set.args ?? []).map(settingText).join(', '),
        at,
      };
    case 'VAR_SET_DEFAULT':
    case 'VAR_RESET':
      return { kind: 'set', name, local: set.is_local === true, value: undefined, at };
    case 'VAR_RESET_ALL':
      return { kind: 'set', name: 'all', local: false, value: undefined, at };
    case 'VAR_SET_MULTI':
      if (name === 'transaction snapshot')
        throw new UnsupportedSyntax('SET TRANSACTION SNAPSHOT', at);
      return {
        kind: 'setTransaction',
        ...transactionModes(set.args),
        session: name === 'session characteristics',
      };
    default:
      throw new UnsupportedSyntax('SET … FROM CURRENT', at);
  }
}

function settingText(node: Node | undefined): string {
  const cast = as(node, 'TypeCast');
  // SET TIME ZONE INTERVAL '+02:30' HOUR TO MINUTE: hours, as SET TIME ZONE 2.5 has them.
  if (cast !== undefined) return hoursText(settingText(cast.arg));
  const constant = as(node, 'A_Const');
  if (constant?.ival !== undefined) return String(constant.ival.ival ?? 0);
  if (constant?.fval !== undefined) return constant.fval.fval ?? '';
  return constant?.sval?.sval ?? '';
}

function hoursText(text: string): string {
  const clock = /^([+-]?)(\d+):(\d{2})(?::(\d{2}))?$/.exec(text);
  if (clock === null) return text;
  const [, sign, hours, minutes, seconds = '0'] = clock;
  return `${sign}${Number(hours) + Number(minutes) / 60 + Number(seconds) / 3600}`;
}

export function lowerOptions(low: Lowering, nodes: readonly Node[] | undefined): Options {
  return (nodes ?? []).map((node) => {
    const option = as(node, 'DefElem') ?? {};
    const at = low.at(option.location);
    return { name: (option.defname ?? '').toLowerCase(), value: optionValue(option, at), at };
  });
}

function optionValue(option: DefElem, at: TextPlace | undefined): string | number | true {
  const { arg } = option;
  if (arg === undefined) return true;
  const node = arg as AnyNode;
  switch (kindOf(arg)) {
    case 'String':
      return node.String.sval ?? '';
    case 'Integer':
      return node.Integer.ival ?? 0;
    case 'Float':
      return Number(node.Float.fval ?? 0);
    case 'Boolean':
      return node.Boolean.boolval === true ? true : 'false';
    case 'TypeName':
      // A bare word, as in WITH (refresh = commit).
      return namesOf(node.TypeName.names).at(-1) ?? '';
    case 'A_Const':
      return settingText(arg);
    default:
      throw new UnsupportedSyntax(`option ${option.defname} of this form`, at);
  }
}

function lowerGrant(low: Lowering, grant: GrantStmt): Statement {
  if (grant.objtype !== 'OBJECT_TABLE' || grant.targtype !== 'ACL_TARGET_OBJECT') {
    throw new UnsupportedSyntax('GRANT on anything but tables');
  }
  const privileges = (grant.privileges ?? []).map((node) => {
    const privilege = as(node, 'AccessPriv');
    if (privilege?.cols !== undefined) throw new UnsupportedSyntax('GRANT on columns');
    return privilege?.priv_name ?? 'all';
  });
  const to = (grant.grantees ?? []).map((node) => {
    const role = as(node, 'RoleSpec');
    return role?.rolename ?? (role?.roletype ?? '').replace('ROLESPEC_', '').toLowerCase();
  });
  return {
    kind: 'grant',
    revoke: grant.is_grant !== true,
    privileges: privileges.length === 0 ? ['all'] : privileges,
    relations: lowerRelations(low, grant.objects),
    to,
  };
}

// ── CREATE … AS, RENAME, DROP ──────────────────────────────────────────────────────────────────────────────────

function lowerCreateAs(
  low: Lowering,
  create: CreateTableAsStmt,
  at: TextPlace | undefined,
): Statement {
  const { query, into, objtype, if_not_exists } = create;
  const select = as(query, 'SelectStmt');
  if (select === undefined) throw new UnsupportedSyntax('CREATE TABLE AS EXECUTE', at);
  if (into?.tableSpaceName !== undefined || into?.accessMethod !== undefined)
    throw new UnsupportedSyntax('TABLESPACE and USING', at);
  if (
    into?.onCommit !== undefined &&
    !['ONCOMMIT_NOOP', 'ONCOMMIT_PRESERVE_ROWS'].includes(into.onCommit)
  ) {
    throw new UnsupportedSyntax('ON COMMIT', at);
  }
  const shared = {
    name: lowerRelation(low, into?.rel ?? {}),
    ifNotExists: if_not_exists === true,
    columns: namesOf(into?.colNames),
    query: lowerQuery(low, select, at),
    withData: into?.skipData !== true,
    options: lowerOptions(low, into?.options),
  };
  if (objtype !== 'OBJECT_MATVIEW')
    return { kind: 'createTableAs', temporary: into?.rel?.relpersistence === 't', ...shared };
  return {
    kind: 'createMaterializedView',
    orReplace: false,
    text: textAfterAs(low.source.text, at?.offset ?? 0),
    ...shared,
  };
}

function lowerRename(low: Lowering, rename: RenameStmt, at: TextPlace | undefined): Statement {
  const { renameType, relationType, relation, subname = '', newname: to = '', missing_ok } = rename;
  const name = lowerRelation(low, relation ?? {});
  const ifExists = missing_ok === true;
  switch (renameType) {
    case 'OBJECT_TABLE':
      return {
        kind: 'alterTable',
        table: name,
        ifExists,
        actions: [{ kind: 'renameTable', to, at }],
      };
    case 'OBJECT_TABCONSTRAINT':
      return {
        kind: 'alterTable',
        table: name,
        ifExists,
        actions: [{ kind: 'renameConstraint', name: subname, to, at }],
      };
    case 'OBJECT_INDEX':
      return { kind: 'renameIndex', name, to, ifExists };
    case 'OBJECT_VIEW':
    case 'OBJECT_MATVIEW':
      return {
        kind: 'alterView',
        name,
        materialized: renameType === 'OBJECT_MATVIEW',
        ifExists,
        action: { kind: 'rename', to },
      };
    case 'OBJECT_COLUMN':
      if (relationType === 'OBJECT_TABLE') {
        return {
          kind: 'alterTable',
          table: name,
          ifExists,
          actions: [{ kind: 'renameColumn', name: subname, to, at }],
        };
      }
      throw new UnsupportedSyntax('RENAME COLUMN of a view', at);
    default:
      throw new UnsupportedSyntax(`RENAME of ${objectWords(renameType ?? '')}`, at);
  }
}

function lowerDrop(drop: DropStmt, at: TextPlace | undefined): Statement {
  const what = DROPPED[drop.removeType ?? ''];
  if (what === undefined)
    throw new UnsupportedSyntax(`DROP ${objectWords(drop.removeType ?? '').toUpperCase()}`, at);
  const names = (drop.objects ?? []).map((object): RelationName => {
    const schema = as(object, 'String');
    if (schema !== undefined) return { name: schema.sval ?? '', at };
    const parts = namesOf(as(object, 'List')?.items);
    return { catalog: parts.at(-3), schema: parts.at(-2), name: parts.at(-1) ?? '', at };
  });
  return {
    kind: 'drop',
    what,
    names,
    ifExists: drop.missing_ok === true,
    cascade: drop.behavior === 'DROP_CASCADE',
  };
}

const DROPPED: Readonly<Record<string, Extract<Statement, { kind: 'drop' }>['what']>> = {
  OBJECT_TABLE: 'table',
  OBJECT_VIEW: 'view',
  OBJECT_MATVIEW: 'materializedView',
  OBJECT_INDEX: 'index',
  OBJECT_SCHEMA: 'schema',
  OBJECT_SEQUENCE: 'sequence',
};

function objectWords(objectType: string): string {
  return objectType.replace('OBJECT_', '').replaceAll('_', ' ').toLowerCase();
}
