import type { TextPlace } from '../base/errors.ts';
import type { LiteralRows } from './literal-rows.ts';

/**
 * The typed syntax tree: what `parse` makes of libpg-query's raw tree, and what binding reads. Identifiers are as
 * PostgreSQL folds them; `at` is where a node begins in the text.
 */

export type Statement =
  | { readonly kind: 'query'; readonly query: Query }
  | InsertStatement
  | UpdateStatement
  | DeleteStatement
  | {
      readonly kind: 'truncate';
      readonly tables: readonly RelationName[];
      readonly restartIdentity: boolean;
    }
  | CreateTableStatement
  | CreateTableAsStatement
  | CreateIndexStatement
  | CreateMaterializedViewStatement
  | {
      readonly kind: 'createView';
      readonly name: RelationName;
      readonly columns: readonly string[];
      readonly query: Query;
      readonly orReplace: boolean;
      readonly temporary: boolean;
      readonly text: string;
    }
  | AlterTableStatement
  | {
      readonly kind: 'alterView';
      readonly name: RelationName;
      readonly materialized: boolean;
      readonly ifExists: boolean;
      readonly action:
        | { readonly kind: 'set'; readonly options: Options }
        | { readonly kind: 'rename'; readonly to: string };
    }
  | {
      readonly kind: 'renameIndex';
      readonly name: RelationName;
      readonly to: string;
      readonly ifExists: boolean;
    }
  | {
      readonly kind: 'drop';
      readonly what:
        | 'table'
        | 'view'
        | 'materializedView'
        | 'index'
        | 'schema'
        | 'sequence'
        | 'database';
      readonly names: readonly RelationName[];
      readonly ifExists: boolean;
      readonly cascade: boolean;
    }
  | { readonly kind: 'createSchema'; readonly name: string; readonly ifNotExists: boolean }
  | {
      readonly kind: 'createSequence';
      readonly name: RelationName;
      readonly ifNotExists: boolean;
      readonly options: Options;
    }
  | {
      readonly kind: 'database';
      readonly action: 'create' | 'alter';
      readonly name: string;
      readonly options: Options;
    }
  | { readonly kind: 'refreshMaterializedView'; readonly name: RelationName }
  | {
      readonly kind: 'begin';
      readonly isolation?: IsolationLevel | undefined;
      readonly readOnly?: boolean | undefined;
    }
  | { readonly kind: 'commit'; readonly chain: boolean }
  | { readonly kind: 'rollback'; readonly chain: boolean }
  | { readonly kind: 'savepoint' | 'release' | 'rollbackTo'; readonly name: string }
  | {
      readonly kind: 'setTransaction';
      readonly isolation?: IsolationLevel | undefined;
      readonly readOnly?: boolean | undefined;
      readonly session: boolean;
    }
  | {
      readonly kind: 'set';
      readonly name: string;
      readonly local: boolean;
      /** undefined: to the default. */ readonly value: string | undefined;
      readonly at?: TextPlace | undefined;
    }
  | { readonly kind: 'show'; readonly name: string }
  | { readonly kind: 'explain'; readonly options: Options; readonly statement: Statement }
  | {
      readonly kind: 'prepare';
      readonly name: string;
      readonly types: readonly TypeNameNode[];
      readonly statement: Statement;
      readonly text: string;
    }
  | { readonly kind: 'execute'; readonly name: string; readonly args: readonly SqlExpression[] }
  | { readonly kind: 'deallocate'; /** undefined: all. */ readonly name: string | undefined }
  | { readonly kind: 'discard'; readonly what: 'all' | 'plans' | 'sequences' | 'temp' }
  | { readonly kind: 'comment' }
  | {
      readonly kind: 'grant';
      readonly revoke: boolean;
      readonly privileges: readonly string[];
      readonly relations: readonly RelationName[];
      readonly to: readonly string[];
    }
  /** Parsed by PostgreSQL's grammar, not by us: executing it is 0A000 with this name. */
  | {
      readonly kind: 'unsupported';
      readonly what: string;
      readonly hint?: string | undefined;
      readonly at?: TextPlace | undefined;
    };

export type IsolationLevel =
  | 'read uncommitted'
  | 'read committed'
  | 'repeatable read'
  | 'serializable';

/** WITH (…) and the like; `true` where an option stands without value. Names in lower case. */
export type Options = readonly {
  readonly name: string;
  readonly value: string | number | true;
  readonly at?: TextPlace | undefined;
}[];

/** catalog.schema.name as written. */
export type RelationName = {
  readonly catalog?: string | undefined;
  readonly schema?: string | undefined;
  readonly name: string;
  readonly at?: TextPlace | undefined;
};

/** One statement of a text: its tree, and the piece of the text it was made from. */
export type ParsedStatement = {
  readonly statement: Statement;
  readonly text: string;
  /** Number of the highest $n in it, 0 if none. */
  readonly parameterCount: number;
  /** Their types as PREPARE gives them, `unknown` where it leaves one to the statement; none otherwise. */
  readonly parameterTypes?: readonly TypeNameNode[] | undefined;
  /** Some query in it has FOR UPDATE or FOR SHARE. */
  readonly claimsRows?: boolean | undefined;
  /** The statement is not what the text says: nothing about it may be remembered by the text. */
  readonly once?: boolean | undefined;
};

// ── Queries ────────────────────────────────────────────────────────────────────────────────────────────────────

export type Query = {
  readonly with?: WithClause | undefined;
  readonly body: SelectBody | ValuesBody | LiteralsBody | SetOperationBody;
  readonly orderBy: readonly OrderItem[];
  readonly limit?: SqlExpression | undefined;
  /** FETCH FIRST … WITH TIES. */
  readonly withTies: boolean;
  readonly offset?: SqlExpression | undefined;
  readonly locking: readonly {
    readonly strength: 'update' | 'share';
    readonly of: readonly string[];
    readonly wait: 'wait' | 'nowait' | 'skip';
    readonly at?: TextPlace | undefined;
  }[];
  readonly at?: TextPlace | undefined;
};

export type WithClause = {
  readonly recursive: boolean;
  readonly ctes: readonly {
    readonly name: string;
    readonly columns: readonly string[];
    /** A data-modifying WITH has a statement that is no query. */
    readonly statement: Statement;
    readonly materialized?: boolean | undefined;
    readonly at?: TextPlace | undefined;
  }[];
};

export type SelectBody = {
  readonly kind: 'select';
  readonly distinct: 'no' | 'all' | readonly SqlExpression[];
  readonly items: readonly SelectItem[];
  readonly from: readonly FromItem[];
  readonly where?: SqlExpression | undefined;
  readonly groupBy: readonly GroupItem[];
  readonly groupDistinct: boolean;
  readonly having?: SqlExpression | undefined;
  readonly windows: readonly { readonly name: string; readonly window: WindowSpec }[];
  readonly into?: RelationName | undefined;
};
export type ValuesBody = {
  readonly kind: 'values';
  readonly rows: readonly (readonly (SqlExpression | DefaultMarker)[])[];
  readonly at?: TextPlace | undefined;
};
/** The rows of an INSERT of many rows whose values are all literals. */
export type LiteralsBody = {
  readonly kind: 'literals';
  readonly rows: LiteralRows;
  readonly at?: TextPlace | undefined;
};
export type SetOperationBody = {
  readonly kind: 'setOperation';
  readonly operation: 'union' | 'intersect' | 'except';
  readonly all: boolean;
  readonly left: Query;
  readonly right: Query;
};
export type SelectItem =
  | {
      readonly kind: 'expression';
      readonly expression: SqlExpression;
      readonly alias?: string | undefined;
    }
  /** `*` or `t.*`, `s.t.*`. */
  | {
      readonly kind: 'star';
      readonly qualifier: readonly string[];
      readonly at?: TextPlace | undefined;
    };
export type GroupItem =
  | { readonly kind: 'expression'; readonly expression: SqlExpression }
  | {
      readonly kind: 'sets';
      readonly type: 'groupingSets' | 'rollup' | 'cube' | 'empty';
      readonly items: readonly (
        | GroupItem
        | { readonly kind: 'row'; readonly expressions: readonly SqlExpression[] }
      )[];
      readonly at?: TextPlace | undefined;
    };
export type OrderItem = {
  readonly expression: SqlExpression;
  readonly descending: boolean;
  /** As written; undefined: last when ascending, first when descending. */
  readonly nullsFirst?: boolean | undefined;
  /** ORDER BY … USING <operator>. */
  readonly using?: string | undefined;
};

export type FromItem =
  | {
      readonly kind: 'relation';
      readonly name: RelationName;
      readonly alias?: Alias | undefined;
      readonly only: boolean;
      readonly sample?:
        | { readonly method: string; readonly args: readonly SqlExpression[] }
        | undefined;
    }
  | {
      readonly kind: 'subquery';
      readonly query: Query;
      readonly alias?: Alias | undefined;
      readonly lateral: boolean;
      readonly at?: TextPlace | undefined;
    }
  | {
      readonly kind: 'function';
      readonly call: SqlExpression;
      readonly alias?: Alias | undefined;
      readonly lateral: boolean;
      readonly ordinality: boolean;
      readonly at?: TextPlace | undefined;
    }
  | {
      readonly kind: 'join';
      readonly type: 'inner' | 'left' | 'right' | 'full' | 'cross';
      readonly natural: boolean;
      readonly left: FromItem;
      readonly right: FromItem;
      readonly on?: SqlExpression | undefined;
      readonly using?: readonly string[] | undefined;
      /** JOIN … USING (…) AS alias. */
      readonly usingAlias?: string | undefined;
      readonly alias?: Alias | undefined;
      readonly at?: TextPlace | undefined;
    };
export type Alias = { readonly name: string; readonly columns: readonly string[] };

// ── Expressions ────────────────────────────────────────────────────────────────────────────────────────────────

export type SqlExpression = { readonly at?: TextPlace | undefined } &
  /** Parts of a possibly qualified name: a, t.a, s.t.a. */
  (
    | { readonly kind: 'column'; readonly parts: readonly string[] }
    | { readonly kind: 'null' }
    | { readonly kind: 'boolean'; readonly value: boolean }
    /** As written: 1, 1.50, 1e10, 0x1F; the binder chooses int4, int8 or numeric. */
    | { readonly kind: 'number'; readonly text: string }
    | { readonly kind: 'string'; readonly value: string }
    /** With its base in front: b101, x1f. */
    | { readonly kind: 'bitString'; readonly value: string }
    | { readonly kind: 'parameter'; /** $1 is 0. */ readonly index: number }
    | { readonly kind: 'unary'; readonly operator: string; readonly arg: SqlExpression }
    | {
        readonly kind: 'binary';
        readonly operator: string;
        readonly left: SqlExpression;
        readonly right: SqlExpression;
      }
    | { readonly kind: 'and' | 'or'; readonly args: readonly SqlExpression[] }
    | { readonly kind: 'not'; readonly arg: SqlExpression }
    | { readonly kind: 'isNull' | 'isNotNull'; readonly arg: SqlExpression }
    | {
        readonly kind: 'isBoolean';
        readonly arg: SqlExpression;
        readonly test: 'true' | 'notTrue' | 'false' | 'notFalse' | 'unknown' | 'notUnknown';
      }
    | {
        readonly kind: 'isDistinct';
        readonly left: SqlExpression;
        readonly right: SqlExpression;
        readonly negated: boolean;
      }
    | {
        readonly kind: 'between';
        readonly arg: SqlExpression;
        readonly low: SqlExpression;
        readonly high: SqlExpression;
        readonly negated: boolean;
        readonly symmetric: boolean;
      }
    | {
        readonly kind: 'like';
        readonly arg: SqlExpression;
        readonly pattern: SqlExpression;
        readonly escape?: SqlExpression | undefined;
        readonly caseInsensitive: boolean;
        readonly similar: boolean;
        readonly negated: boolean;
      }
    | {
        readonly kind: 'inList';
        readonly arg: SqlExpression;
        readonly values: readonly SqlExpression[];
        readonly negated: boolean;
      }
    /** `arg op ANY/ALL (array)`. */
    | {
        readonly kind: 'anyArray';
        readonly arg: SqlExpression;
        readonly operator: string;
        readonly all: boolean;
        readonly array: SqlExpression;
      }
    | {
        readonly kind: 'case';
        readonly arg?: SqlExpression | undefined;
        readonly branches: readonly {
          readonly when: SqlExpression;
          readonly then: SqlExpression;
        }[];
        readonly otherwise?: SqlExpression | undefined;
      }
    | { readonly kind: 'coalesce' | 'greatest' | 'least'; readonly args: readonly SqlExpression[] }
    | { readonly kind: 'nullIf'; readonly left: SqlExpression; readonly right: SqlExpression }
    | { readonly kind: 'cast'; readonly arg: SqlExpression; readonly type: TypeNameNode }
    | {
        readonly kind: 'call';
        /** Qualified by parts; `pg_catalog.` taken off. extract(f FROM x) is `extract` with a string first, as PostgreSQL has it. */
        readonly name: string;
        readonly schema?: string | undefined;
        readonly args: readonly {
          readonly value: SqlExpression;
          readonly name?: string | undefined;
        }[];
        /** count(*). */
        readonly star: boolean;
        readonly distinct: boolean;
        readonly orderBy: readonly OrderItem[];
        readonly withinGroup: boolean;
        readonly filter?: SqlExpression | undefined;
        readonly over?:
          | { readonly kind: 'name'; readonly name: string }
          | { readonly kind: 'spec'; readonly window: WindowSpec }
          | undefined;
        readonly variadic: boolean;
      }
    /** current_date, current_timestamp(3), localtime, current_user, … */
    | { readonly kind: 'sqlValue'; readonly name: string; readonly precision?: number | undefined }
    | {
        readonly kind: 'subquery';
        readonly mode: 'scalar' | 'exists' | 'array';
        readonly query: Query;
      }
    /** [NOT] IN is `any` with `=`, negated or not. `left` is a row for (a, b) IN (…). */
    | {
        readonly kind: 'quantified';
        readonly mode: 'any' | 'all';
        readonly left: SqlExpression;
        readonly operator: string;
        readonly query: Query;
        readonly negated: boolean;
      }
    | { readonly kind: 'row'; readonly items: readonly SqlExpression[] }
    | { readonly kind: 'array'; readonly items: readonly SqlExpression[] }
    | {
        readonly kind: 'subscript';
        readonly arg: SqlExpression;
        readonly index: readonly SqlExpression[];
      }
    | { readonly kind: 'field'; readonly arg: SqlExpression; readonly name: string }
    | { readonly kind: 'collate'; readonly arg: SqlExpression; readonly collation: string }
    | { readonly kind: 'atTimeZone'; readonly arg: SqlExpression; readonly zone: SqlExpression }
    | { readonly kind: 'grouping'; readonly args: readonly SqlExpression[] }
    | { readonly kind: 'unsupported'; readonly what: string }
  );

export type DefaultMarker = { readonly kind: 'default'; readonly at?: TextPlace | undefined };

export type TypeNameNode = {
  /** PostgreSQL's internal or written name, in lower case: int4, varchar, timestamptz, … */
  readonly name: string;
  readonly schema?: string | undefined;
  /** numeric(10, 2), varchar(30), timestamp(3), interval day to second … */
  readonly modifiers: readonly number[];
  readonly arrayDimensions: number;
  readonly setOf: boolean;
  readonly at?: TextPlace | undefined;
};

export type WindowSpec = {
  readonly name?: string | undefined;
  readonly partitionBy: readonly SqlExpression[];
  readonly orderBy: readonly OrderItem[];
  readonly frame?:
    | {
        readonly mode: 'rows' | 'range' | 'groups';
        readonly start: FrameBound;
        readonly end: FrameBound;
        readonly exclude: 'none' | 'current' | 'group' | 'ties';
      }
    | undefined;
};
export type FrameBound =
  | { readonly kind: 'unboundedPreceding' | 'unboundedFollowing' | 'currentRow' }
  | { readonly kind: 'preceding' | 'following'; readonly offset: SqlExpression };

// ── Data and definitions ───────────────────────────────────────────────────────────────────────────────────────

export type InsertStatement = {
  readonly kind: 'insert';
  readonly with?: WithClause | undefined;
  readonly table: RelationName;
  readonly alias?: string | undefined;
  readonly columns: readonly { readonly name: string; readonly at?: TextPlace | undefined }[];
  /** OVERRIDING USER | SYSTEM VALUE. */
  readonly overriding?: 'user' | 'system' | undefined;
  /** undefined: DEFAULT VALUES. */
  readonly source?: Query | undefined;
  readonly onConflict?:
    | {
        readonly target:
          | { readonly kind: 'none' }
          | {
              readonly kind: 'columns';
              readonly columns: readonly string[];
              readonly where?: SqlExpression | undefined;
            }
          | { readonly kind: 'constraint'; readonly name: string };
        /** undefined: DO NOTHING. */
        readonly update?:
          | { readonly set: readonly SetClause[]; readonly where?: SqlExpression | undefined }
          | undefined;
        readonly at?: TextPlace | undefined;
      }
    | undefined;
  readonly returning: readonly SelectItem[];
};
export type SetClause =
  | {
      readonly kind: 'one';
      readonly column: string;
      readonly value: SqlExpression | DefaultMarker;
      readonly at?: TextPlace | undefined;
    }
  /** (a, b) = (…) or = (SELECT …). */
  | {
      readonly kind: 'many';
      readonly columns: readonly string[];
      readonly value: SqlExpression;
      readonly at?: TextPlace | undefined;
    };
export type UpdateStatement = {
  readonly kind: 'update';
  readonly with?: WithClause | undefined;
  readonly table: RelationName;
  readonly alias?: string | undefined;
  readonly set: readonly SetClause[];
  readonly from: readonly FromItem[];
  readonly where?: SqlExpression | undefined;
  readonly returning: readonly SelectItem[];
};
export type DeleteStatement = {
  readonly kind: 'delete';
  readonly with?: WithClause | undefined;
  readonly table: RelationName;
  readonly alias?: string | undefined;
  readonly using: readonly FromItem[];
  readonly where?: SqlExpression | undefined;
  readonly returning: readonly SelectItem[];
};

export type ColumnDefinition = {
  readonly name: string;
  readonly type: TypeNameNode;
  readonly collation?: string | undefined;
  readonly constraints: readonly ColumnConstraint[];
  readonly at?: TextPlace | undefined;
};
export type ColumnConstraint = {
  readonly name?: string | undefined;
  readonly at?: TextPlace | undefined;
} & (
  | { readonly kind: 'notNull' | 'null' | 'primaryKey' | 'unique' }
  | { readonly kind: 'default'; readonly value: SqlExpression }
  /** `text` is the condition as written, for messages and the catalog. */
  | { readonly kind: 'check'; readonly condition: SqlExpression; readonly text: string }
  | { readonly kind: 'generated'; readonly value: SqlExpression }
  | {
      readonly kind: 'identity';
      readonly always: boolean;
      /** Of its sequence, as in CREATE SEQUENCE. */ readonly options?: Options | undefined;
    }
  | {
      readonly kind: 'references';
      readonly table: RelationName;
      readonly columns: readonly string[];
      readonly onDelete: string;
      readonly onUpdate: string;
    }
);
export type TableConstraint = {
  readonly name?: string | undefined;
  readonly at?: TextPlace | undefined;
} & (
  | { readonly kind: 'primaryKey' | 'unique'; readonly columns: readonly string[] }
  | { readonly kind: 'check'; readonly condition: SqlExpression; readonly text: string }
  | {
      readonly kind: 'foreignKey';
      readonly columns: readonly string[];
      readonly table: RelationName;
      readonly references: readonly string[];
      readonly onDelete: string;
      readonly onUpdate: string;
    }
);
export type CreateTableStatement = {
  readonly kind: 'createTable';
  readonly name: RelationName;
  readonly ifNotExists: boolean;
  readonly temporary: boolean;
  readonly columns: readonly ColumnDefinition[];
  readonly constraints: readonly TableConstraint[];
  /** CREATE TABLE x (LIKE y INCLUDING …). */
  readonly like: readonly { readonly table: RelationName; readonly including: readonly string[] }[];
  readonly options: Options;
};
export type CreateTableAsStatement = {
  readonly kind: 'createTableAs';
  readonly name: RelationName;
  readonly ifNotExists: boolean;
  readonly temporary: boolean;
  readonly columns: readonly string[];
  readonly query: Query;
  readonly withData: boolean;
  readonly options: Options;
};
export type CreateIndexStatement = {
  readonly kind: 'createIndex';
  readonly name?: string | undefined;
  readonly table: RelationName;
  readonly unique: boolean;
  readonly ifNotExists: boolean;
  readonly method: string;
  readonly columns: readonly (
    | { readonly kind: 'column'; readonly name: string }
    | { readonly kind: 'expression'; readonly expression: SqlExpression }
  )[];
  readonly where?: SqlExpression | undefined;
  readonly at?: TextPlace | undefined;
};
export type CreateMaterializedViewStatement = {
  readonly kind: 'createMaterializedView';
  readonly name: RelationName;
  readonly orReplace: boolean;
  readonly ifNotExists: boolean;
  readonly columns: readonly string[];
  readonly query: Query;
  /** The text of the query alone, as written: what the journal keeps. */
  readonly text: string;
  readonly options: Options;
  readonly withData: boolean;
};
export type AlterTableStatement = {
  readonly kind: 'alterTable';
  readonly table: RelationName;
  readonly ifExists: boolean;
  readonly actions: readonly AlterTableAction[];
};
export type AlterTableAction = { readonly at?: TextPlace | undefined } & (
  | { readonly kind: 'addColumn'; readonly column: ColumnDefinition; readonly ifNotExists: boolean }
  | {
      readonly kind: 'dropColumn';
      readonly name: string;
      readonly ifExists: boolean;
      readonly cascade: boolean;
    }
  | {
      readonly kind: 'alterType';
      readonly name: string;
      readonly type: TypeNameNode;
      readonly using?: SqlExpression | undefined;
    }
  | {
      readonly kind: 'setDefault';
      readonly name: string;
      readonly value: SqlExpression | undefined;
    }
  | { readonly kind: 'setNotNull' | 'dropNotNull'; readonly name: string }
  | { readonly kind: 'addConstraint'; readonly constraint: TableConstraint }
  | {
      readonly kind: 'dropConstraint';
      readonly name: string;
      readonly ifExists: boolean;
      readonly cascade: boolean;
    }
  | { readonly kind: 'renameColumn'; readonly name: string; readonly to: string }
  | { readonly kind: 'renameTable'; readonly to: string }
  | { readonly kind: 'renameConstraint'; readonly name: string; readonly to: string }
  | { readonly kind: 'setOptions'; readonly options: Options }
  | { readonly kind: 'resetOptions'; readonly options: Options }
  | { readonly kind: 'unsupported'; readonly what: string }
);
