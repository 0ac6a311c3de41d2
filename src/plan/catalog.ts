import { DbError, type TextPlace } from '../base/errors.ts';
import { didYouMean, nearestOf } from '../base/nearest.ts';
import type { SqlType } from '../columns/types.ts';
import type { ZoneTest } from '../columns/table-contract.ts';
import type { SqlExpression } from '../sql/ast.ts';
import type { Query } from '../sql/ast.ts';

/** What binding and optimising may know of the catalog: implemented in `actors`, faked in tests. */
export interface PlanCatalog {
  /** By the rules of API.md (tenant, then main as far as granted); undefined where there is none. */
  relation(name: {
    readonly catalog?: string | undefined;
    readonly schema?: string | undefined;
    readonly name: string;
  }): RelationInfo | undefined;
  relationById(id: number): RelationInfo | undefined;
  /** All names that `relation` would find: for "did you mean". */
  relationNames(): readonly string[];
  readonly statistics: PlanStatistics;
}

export type RelationInfo = {
  readonly id: number;
  readonly name: string;
  readonly kind: 'table' | 'materializedView' | 'view' | 'catalog';
  readonly columns: readonly RelationColumn[];
  readonly indexes: readonly {
    readonly name: string;
    readonly columnIndexes: readonly number[];
    readonly unique: boolean;
    readonly primary: boolean;
  }[];
  readonly checks: readonly {
    readonly name: string;
    readonly condition: SqlExpression;
    readonly text: string;
  }[];
  /** A plain view's query: bound where it is used. */
  readonly query?: Query | undefined;
  /** A view's: what the names in its query mean. */
  readonly reads?: readonly RelationRead[] | undefined;
  /** WITH (time = …). */
  readonly timeColumn?: string | undefined;
};

/**
 * A name in a view's query, and what it meant when the view was made: a relation, whatever it is called today, and its columns of
 * that day under their names of that day. So renaming and adding columns changes no view, and no search path matters.
 */
export type RelationRead = {
  readonly catalog?: string | undefined;
  readonly schema?: string | undefined;
  readonly name: string;
  readonly relation: number;
  readonly columns: readonly string[];
};

export type RelationColumn = {
  readonly name: string;
  readonly type: SqlType;
  readonly nullable: boolean;
  readonly default?: SqlExpression | undefined;
  readonly generated?: SqlExpression | undefined;
  readonly identity?: IdentityKind | undefined;
};

/** GENERATED ALWAYS | BY DEFAULT AS IDENTITY. */
export type IdentityKind = 'always' | 'byDefault';

/** For choosing plans; never visible in an answer. */
export interface PlanStatistics {
  rowCount(relation: number): number;
  /** The columns of which no two rows have the same values, one list for each such rule. */
  uniqueKeys(relation: number): readonly (readonly number[])[];
  /** Distinct values of a column, from sketches; undefined: unknown. */
  distinctCount(relation: number, column: number): number | undefined;
  /** Share of rows in segments that pass the test by their zone maps, 0 … 1. */
  zoneShare(relation: number, tests: readonly ZoneTest[]): number;
}

/** A catalog that remembers what it was asked for. */
export function recordingCatalog(catalog: PlanCatalog): {
  readonly catalog: PlanCatalog;
  /** In the order of asking, each name once. */
  reads(): readonly RelationRead[];
} {
  const reads = new Map<string, RelationRead>();
  return {
    reads: () => [...reads.values()],
    catalog: {
      ...catalog,
      relation: (written) => {
        const info = catalog.relation(written);
        if (info !== undefined) {
          reads.set(writtenKey(written), {
            ...(written.catalog === undefined ? {} : { catalog: written.catalog }),
            ...(written.schema === undefined ? {} : { schema: written.schema }),
            name: written.name,
            relation: info.id,
            columns: info.columns.map(({ name }) => name),
          });
        }
        return info;
      },
    },
  };
}

/** The catalog as a view's query sees it. */
export function viewCatalog(catalog: PlanCatalog, reads: readonly RelationRead[]): PlanCatalog {
  const byName = new Map(reads.map((read) => [writtenKey(read), read]));
  return {
    ...catalog,
    relation: (written) => {
      const read = byName.get(writtenKey(written));
      const info = read === undefined ? undefined : catalog.relationById(read.relation);
      return info === undefined ? undefined : asRead(info, read!.columns);
    },
    relationNames: () => reads.map(({ name }) => name),
  };
}

/** What a view reads when `relation` has lost a column that the view does not use. */
export function readsWithout(
  reads: readonly RelationRead[],
  relation: number,
  index: number,
): readonly RelationRead[] {
  return reads.map((read) =>
    read.relation === relation && index < read.columns.length
      ? { ...read, columns: read.columns.filter((_, place) => place !== index) }
      : read,
  );
}

/** The catalog as it is when `relation` has lost a column. */
export function catalogWithout(catalog: PlanCatalog, relation: number, index: number): PlanCatalog {
  return {
    ...catalog,
    relationById: (id) => {
      const info = catalog.relationById(id);
      if (info?.reads !== undefined)
        return { ...info, reads: readsWithout(info.reads, relation, index) };
      if (info === undefined || id !== relation) return info;
      return {
        ...info,
        columns: info.columns.filter((_, place) => place !== index),
        indexes: info.indexes
          .filter(({ columnIndexes }) => !columnIndexes.includes(index))
          .map((each) => ({
            ...each,
            columnIndexes: each.columnIndexes.map((place) => (place < index ? place : place - 1)),
          })),
      };
    },
  };
}

/** Columns that a view knows keep their places while it reads them: others are added behind, and what it does not use may go. */
function asRead(info: RelationInfo, names: readonly string[]): RelationInfo {
  if (
    names.length === info.columns.length &&
    names.every((name, index) => name === info.columns[index]!.name)
  )
    return info;
  return {
    ...info,
    columns: names.map((name, index) => ({ ...info.columns[index]!, name })),
    indexes: info.indexes.filter(({ columnIndexes }) =>
      columnIndexes.every((index) => index < names.length),
    ),
  };
}

function writtenKey({
  catalog,
  schema,
  name,
}: Pick<RelationRead, 'catalog' | 'schema' | 'name'>): string {
  return JSON.stringify([catalog ?? null, schema ?? null, name]);
}

/** 42P01, with the name as it was written and the one of those there are that was meant. */
export function relationDoesNotExist(
  written: {
    readonly schema?: string | undefined;
    readonly name: string;
    readonly at?: TextPlace | undefined;
  },
  names: readonly string[],
): DbError {
  const { schema, name, at } = written;
  const shown = schema === undefined ? name : `${schema}.${name}`;
  const isPostgres = schema === 'pg_catalog' || (schema === undefined && name.startsWith('pg_'));
  const hint =
    isPostgres && nearestOf(name, names) === undefined
      ? 'pg_catalog comes later: information_schema and the relations of adb, such as adb.tables, tell what there is.'
      : didYouMean(name, names);
  return new DbError('42P01', `relation "${shown}" does not exist`, { at, table: name, hint });
}
