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
  /** A view's: ids of the relations its query reads directly. */
  readonly sources?: readonly number[];
  /** WITH (time = …). */
  readonly timeColumn?: string | undefined;
};

export type RelationColumn = {
  readonly name: string;
  readonly type: SqlType;
  readonly nullable: boolean;
  readonly default?: SqlExpression | undefined;
  readonly generated?: SqlExpression | undefined;
};

/** For choosing plans; never visible in an answer. */
export interface PlanStatistics {
  rowCount(relation: number): number;
  /** Distinct values of a column, from sketches; undefined: unknown. */
  distinctCount(relation: number, column: number): number | undefined;
  /** Share of rows in segments that pass the test by their zone maps, 0 … 1. */
  zoneShare(relation: number, tests: readonly ZoneTest[]): number;
}
