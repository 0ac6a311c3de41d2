import { DbError, InvariantError, notSupported } from '../base/errors.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from '../columns/batch.ts';
import { vectorFromData } from '../columns/build.ts';
import type { TableScan, TableSchema, TableSnapshot } from '../columns/table-contract.ts';
import { bareTypeName, type SqlType } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import type { PlanCatalog, RelationInfo } from '../plan/catalog.ts';
import { ACTOR_COLUMNS, actorRows } from './actor-rows.ts';
import { isUnjournaled, type CatalogEntry, type TableEntry } from './catalog.ts';
import { definitionText } from './view-text.ts';
import { writtenPolicy } from '../windows/policy.ts';
import { queriesOf } from './queries.ts';
import type { ColumnDefinition } from './records.ts';
import type { Session } from './session.ts';

/**
 * What the database says of itself, as relations: `adb.*` and the beginnings of information_schema. Their rows are made when a statement
 * begins, and are of the asking tenant only, as SHOW's are. They have ids of their own, below zero, which views' records hold: an id
 * is never given twice.
 */
type SystemRelation = {
  readonly id: number;
  readonly schema: 'adb' | 'information_schema';
  readonly name: string;
  readonly columns: readonly (readonly [name: string, type: SqlType])[];
  rows(session: Session): Iterable<readonly Datum[]>;
};

const TEXT: SqlType = { kind: 'text' };
const INT8: SqlType = { kind: 'int8' };
const BOOLEAN: SqlType = { kind: 'boolean' };
const TIMESTAMPTZ: SqlType = { kind: 'timestamptz' };
const FLOAT8: SqlType = { kind: 'float8' };

const ACTOR_NUMBERS: ReadonlySet<string> = new Set(['restarts', 'mailbox_depth', 'position']);

const SYSTEM_RELATIONS: readonly SystemRelation[] = [
  {
    id: -1,
    schema: 'adb',
    name: 'tables',
    columns: [
      ['schema', TEXT],
      ['name', TEXT],
      ['rows', INT8],
      ['bytes', INT8],
    ],
    *rows(session) {
      for (const entry of entriesOf(session)) {
        if (entry.kind !== 'table') continue;
        const { definition, data } = entry;
        yield [definition.schema, definition.name, data.rowCount, data.memoryBytes];
      }
    },
  },
  {
    id: -2,
    schema: 'adb',
    name: 'views',
    columns: [
      ['schema', TEXT],
      ['name', TEXT],
      ['materialized', BOOLEAN],
      ['state', TEXT],
      ['refresh', TEXT],
      ['rows', INT8],
      ['bytes', INT8],
      ['position', INT8],
      ['definition', TEXT],
    ],
    *rows(session) {
      for (const entry of entriesOf(session)) {
        if (entry.kind === 'view') {
          const { schema, name } = entry.definition;
          const text = definitionText(entry, session.catalog);
          yield [schema, name, false, null, null, null, null, null, text];
        } else if (entry.kind === 'materializedView') {
          const { definition, data, view } = entry;
          yield [
            definition.schema,
            definition.name,
            true,
            view.status,
            String(definition.options.refresh),
            data.rowCount,
            data.memoryBytes,
            view.rowsPosition(session.engine.visiblePosition),
            definitionText(entry, session.catalog),
          ];
        }
      }
    },
  },
  {
    id: -3,
    schema: 'adb',
    name: 'indexes',
    columns: [
      ['schema', TEXT],
      ['table', TEXT],
      ['name', TEXT],
      ['columns', TEXT],
      ['unique', BOOLEAN],
      ['primary', BOOLEAN],
    ],
    *rows(session) {
      for (const entry of entriesOf(session)) {
        if (entry.kind !== 'table' && entry.kind !== 'materializedView') continue;
        const { definition, info } = entry;
        for (const { name, columnIndexes, unique, primary } of info.indexes)
          yield [
            definition.schema,
            definition.name,
            name,
            columnIndexes.map((index) => info.columns[index]!.name).join(', '),
            unique,
            primary,
          ];
      }
    },
  },
  {
    id: -4,
    schema: 'adb',
    name: 'queries',
    columns: [
      ['id', TEXT],
      ['user', TEXT],
      ['label', TEXT],
      ['priority', TEXT],
      ['state', TEXT],
      ['started', TIMESTAMPTZ],
      ['rows', INT8],
      ['work', INT8],
      ['query', TEXT],
      ['rows_total', INT8],
      ['relative_error', FLOAT8],
      ['eta_ms', FLOAT8],
    ],
    *rows({ engine, identity }) {
      for (const each of queriesOf(engine, identity.tenant))
        yield [
          each.id,
          each.user ?? null,
          each.label ?? null,
          each.priority,
          each.state,
          each.startedMs * 1000,
          each.rows,
          each.work,
          each.text,
          each.rowsTotal ?? null,
          each.relativeError ?? null,
          each.etaMs ?? null,
        ];
    },
  },
  {
    id: -15,
    schema: 'adb',
    name: 'query_history',
    columns: [
      ['id', TEXT],
      ['user', TEXT],
      ['label', TEXT],
      ['priority', TEXT],
      ['state', TEXT],
      ['started', TIMESTAMPTZ],
      ['ended', TIMESTAMPTZ],
      ['round', INT8],
      ['rows', INT8],
      ['rows_total', INT8],
      ['relative_error', FLOAT8],
      ['absolute_error', FLOAT8],
      ['work', INT8],
      ['elapsed_ms', FLOAT8],
      ['query', TEXT],
    ],
    *rows({ engine, identity }) {
      const running = [...engine.queries.values()].filter(
        ({ rowsTotal, tenant }) => rowsTotal !== undefined && tenant === identity.tenant,
      );
      for (const each of [...engine.ended.of(identity.tenant), ...running]) {
        const endedMs = 'endedMs' in each ? each.endedMs : undefined;
        for (const [round, look] of (each.convergence ?? []).entries())
          yield [
            each.id,
            each.user ?? null,
            each.label ?? null,
            each.priority,
            each.state,
            each.startedMs * 1000,
            endedMs === undefined ? null : endedMs * 1000,
            round + 1,
            look.rowsSeen,
            each.rowsTotal ?? null,
            look.relativeError,
            look.absoluteError,
            look.work,
            look.elapsedMs,
            each.text,
          ];
      }
    },
  },
  {
    id: -5,
    schema: 'adb',
    name: 'actors',
    columns: ACTOR_COLUMNS.map((name) => [name, ACTOR_NUMBERS.has(name) ? INT8 : TEXT] as const),
    *rows({ engine, identity }) {
      for (const row of actorRows(engine, identity.tenant))
        yield row.map((value, column) =>
          value !== null && ACTOR_NUMBERS.has(ACTOR_COLUMNS[column]!) ? Number(value) : value,
        );
    },
  },
  {
    id: -6,
    schema: 'adb',
    name: 'snapshots',
    columns: [
      ['isolation', TEXT],
      ['read_only', BOOLEAN],
      ['position', INT8],
      ['started', TIMESTAMPTZ],
      ['age_ms', FLOAT8],
      ['bytes', INT8],
      ['doomed', BOOLEAN],
    ],
    *rows({ engine, identity }) {
      for (const each of engine.transactions) {
        if (each.tenant !== identity.tenant) continue;
        yield [
          each.isolation,
          each.readOnly,
          each.position ?? null,
          each.nowMicros,
          engine.ports.clock.monotonicMs() - each.startedMonotonicMs,
          each.memoryBytes,
          each.doomed !== undefined,
        ];
      }
    },
  },
  {
    id: -7,
    schema: 'adb',
    name: 'settings',
    columns: [
      ['name', TEXT],
      ['setting', TEXT],
    ],
    *rows(session) {
      for (const name of session.settingNames) yield [name, session.setting(name) ?? null];
    },
  },
  {
    id: -8,
    schema: 'adb',
    name: 'tenants',
    columns: [['name', TEXT]],
    *rows({ engine, identity }) {
      for (const tenant of new Set(['main', ...engine.state.catalog.tenants()]))
        if ([tenant, 'main'].includes(identity.tenant)) yield [tenant];
    },
  },
  {
    id: -9,
    schema: 'information_schema',
    name: 'schemata',
    columns: [
      ['catalog_name', TEXT],
      ['schema_name', TEXT],
    ],
    *rows({ catalog, identity: { tenant } }) {
      const own = catalog.schemasOf(tenant);
      for (const schema of new Set(['public', ...own, 'adb', 'information_schema']))
        yield [tenant, schema];
    },
  },
  {
    id: -10,
    schema: 'information_schema',
    name: 'tables',
    columns: [
      ['table_catalog', TEXT],
      ['table_schema', TEXT],
      ['table_name', TEXT],
      ['table_type', TEXT],
      ['is_insertable_into', TEXT],
    ],
    *rows(session) {
      const { tenant } = session.identity;
      for (const { kind, definition } of entriesOf(session)) {
        // PostgreSQL's information_schema does not know materialized views either.
        if (kind !== 'table' && kind !== 'view') continue;
        const isTable = kind === 'table';
        yield [
          tenant,
          definition.schema,
          definition.name,
          isTable ? 'BASE TABLE' : 'VIEW',
          isTable ? 'YES' : 'NO',
        ];
      }
      for (const { schema, name } of SYSTEM_RELATIONS) yield [tenant, schema, name, 'VIEW', 'NO'];
    },
  },
  {
    id: -11,
    schema: 'information_schema',
    name: 'columns',
    columns: [
      ['table_catalog', TEXT],
      ['table_schema', TEXT],
      ['table_name', TEXT],
      ['column_name', TEXT],
      ['ordinal_position', INT8],
      ['column_default', TEXT],
      ['is_nullable', TEXT],
      ['data_type', TEXT],
      ['character_maximum_length', INT8],
      ['numeric_precision', INT8],
      ['numeric_precision_radix', INT8],
      ['numeric_scale', INT8],
      ['datetime_precision', INT8],
      ['udt_name', TEXT],
      ['is_identity', TEXT],
      ['is_generated', TEXT],
      ['generation_expression', TEXT],
    ],
    *rows(session) {
      const { tenant } = session.identity;
      for (const entry of entriesOf(session)) {
        if (entry.kind !== 'table' && entry.kind !== 'view') continue;
        const { schema, name } = entry.definition;
        for (const [at, { name: column, type, nullable }] of entry.info.columns.entries()) {
          const own = entry.kind === 'table' ? entry.definition.columns[at] : undefined;
          yield [tenant, schema, name, ...columnFacts(column, at, type, nullable, own)];
        }
      }
      for (const { schema, name, columns } of SYSTEM_RELATIONS)
        for (const [at, [column, type]] of columns.entries())
          yield [tenant, schema, name, ...columnFacts(column, at, type, true, undefined)];
    },
  },
  {
    id: -12,
    schema: 'information_schema',
    name: 'views',
    columns: [
      ['table_catalog', TEXT],
      ['table_schema', TEXT],
      ['table_name', TEXT],
      ['view_definition', TEXT],
    ],
    *rows(session) {
      for (const entry of entriesOf(session))
        if (entry.kind === 'view')
          yield [
            session.identity.tenant,
            entry.definition.schema,
            entry.definition.name,
            definitionText(entry, session.catalog),
          ];
    },
  },
  {
    id: -13,
    schema: 'adb',
    name: 'policies',
    columns: [
      ['schema', TEXT],
      ['table', TEXT],
      ['time', TEXT],
      ['zone', TEXT],
      ['retention', TEXT],
      ['by', TEXT],
      ['measures', TEXT],
      ['lateness', TEXT],
      ['refresh', TEXT],
      ['tiles', INT8],
      ['bytes', INT8],
      ['tiles_until', TIMESTAMPTZ],
      ['rows_held', INT8],
    ],
    *rows(session) {
      const { state, retention: upkeep, visiblePosition } = session.engine;
      for (const { definition } of tablesWithPolicy(session)) {
        const policy = definition.policy!;
        const kept = state.findKept(definition.id);
        const { retention, by, measures, lateness, refresh } = writtenPolicy(policy);
        const text = (value: unknown): Datum =>
          value === undefined ? null : Array.isArray(value) ? value.join(', ') : String(value);
        yield [
          definition.schema,
          definition.name,
          policy.time,
          policy.zone,
          ...[retention, by, measures, lateness, refresh].map(text),
          kept?.count ?? 0,
          kept?.bytes ?? 0,
          kept?.hull(visiblePosition)?.end ?? null,
          upkeep.heldRows(definition.id),
        ];
      }
    },
  },
  {
    id: -14,
    schema: 'adb',
    name: 'calendars',
    columns: [
      ['tenant', TEXT],
      ['name', TEXT],
      ['zone', TEXT],
      ['week_start', TEXT],
      ['fiscal_year_start', TEXT],
      ['definition', TEXT],
    ],
    *rows(session) {
      const { tenant } = session.identity;
      const { calendars } = session.engine.state;
      for (const name of calendars.names(tenant)) {
        const { spec } = calendars.require(tenant, name);
        const { zone = 'UTC', weekStart = 'monday', fiscalYearStart = 1 } = spec;
        yield [
          calendars.own(tenant, name) === undefined ? 'main' : tenant,
          name,
          typeof zone === 'string' ? zone : zone.name,
          String(weekStart),
          String(fiscalYearStart),
          JSON.stringify(spec),
        ];
      }
    },
  },
];

const BY_ID = new Map(SYSTEM_RELATIONS.map((each) => [each.id, each]));
const INFOS = new Map(SYSTEM_RELATIONS.map((each) => [each.id, infoOf(each)]));

export function isSystemRelation(relation: number): boolean {
  return relation < 0;
}

/** As it is written: `adb.queries`. */
export function systemName(relation: number): string {
  const { schema, name } = systemRelation(relation);
  return `${schema}.${name}`;
}

/** A catalog that knows the system's relations beside its own. */
export function withSystemRelations(catalog: PlanCatalog, tenant: string): PlanCatalog {
  return {
    ...catalog,
    relation: (written) => {
      if (written.catalog !== undefined && written.catalog !== tenant)
        return catalog.relation(written);
      const system = SYSTEM_RELATIONS.find(
        ({ schema, name }) => schema === written.schema && name === written.name,
      );
      return system === undefined ? catalog.relation(written) : INFOS.get(system.id);
    },
    relationById: (id) => INFOS.get(id) ?? catalog.relationById(id),
    relationNames: () => [
      ...catalog.relationNames(),
      ...SYSTEM_RELATIONS.map(({ schema, name }) => `${schema}.${name}`),
    ],
  };
}

/** The rows as they are now. */
export function systemSnapshot(
  session: Session,
  relation: number,
  asOf: number | undefined,
): TableSnapshot {
  if (asOf !== undefined)
    throw notSupported(`asOf of ${systemName(relation)}`, 'It only shows what is now.');
  const { columns, rows } = systemRelation(relation);
  return new RowsSnapshot(
    columns.map(([, type]) => type),
    [...rows(session)],
  );
}

/** What is derived from a system relation could not follow it: its changes are no commits. */
export function refuseSystemRelation(relation: number): void {
  if (isSystemRelation(relation))
    throw notSupported(
      `a materialized view or subscription over ${systemName(relation)}`,
      'Ask for its rows when they are wanted, or make a plain view.',
    );
}

function systemRelation(relation: number): SystemRelation {
  const system = BY_ID.get(relation);
  if (system === undefined)
    throw new DbError('42P01', 'the system relation is not there any more', {
      hint: 'A view made by another version reads it: drop the view.',
    });
  return system;
}

function infoOf({ id, name, columns }: SystemRelation): RelationInfo {
  return {
    id,
    name,
    kind: 'catalog',
    columns: columns.map(([column, type]) => ({ name: column, type, nullable: true })),
    indexes: [],
    checks: [],
  };
}

/** The tenant's own, without what sessions keep for themselves. */
function entriesOf(session: Session): readonly CatalogEntry[] {
  return session.catalog.ofTenant(session.identity.tenant).filter((entry) => !isUnjournaled(entry));
}

/** Tables of the session's tenant that have a policy, in order of id. */
export function tablesWithPolicy(session: Session): TableEntry[] {
  return entriesOf(session)
    .filter((entry): entry is TableEntry => entry.kind === 'table')
    .filter(({ definition }) => definition.policy !== undefined);
}

/** Rows that are all there, for one statement. */
class RowsSnapshot implements TableSnapshot {
  readonly schema: TableSchema = { columns: [], indexes: [], seed: 0 };
  readonly rowCount: number;
  readonly #types: readonly SqlType[];
  readonly #rows: readonly (readonly Datum[])[];

  constructor(types: readonly SqlType[], rows: readonly (readonly Datum[])[]) {
    this.#types = types;
    this.#rows = rows;
    this.rowCount = rows.length;
  }

  scan({ columnIndexes }: Parameters<TableSnapshot['scan']>[0]): TableScan {
    let at = 0;
    const next = (): Batch | undefined => {
      const rows = this.#rows.slice(at, at + BATCH_ROW_COUNT_MAX);
      if (rows.length === 0) return undefined;
      const first = at;
      at += rows.length;
      return {
        rowCount: rows.length,
        columns: columnIndexes.map((column) =>
          vectorFromData(
            this.#types[column]!,
            rows.map((row) => row[column]!),
          ),
        ),
        rowIds: Float64Array.from(rows, (_, row) => first + row),
      };
    };
    return {
      next,
      get rowsRead() {
        return at;
      },
    };
  }

  findUnique(): Float64Array {
    throw new InvariantError('a system relation has no indexes');
  }

  lookup(): Float64Array {
    throw new InvariantError('a system relation has no indexes');
  }

  fetch(): Batch {
    throw new InvariantError('rows of a system relation are read as they come');
  }

  release(): void {
    // Nothing is held.
  }
}

/** What information_schema.columns says of a column, from `column_name` on; `own`: of a table, what was written of it. */
function columnFacts(
  name: string,
  at: number,
  type: SqlType,
  nullable: boolean,
  own: ColumnDefinition | undefined,
): Datum[] {
  return [
    name,
    at + 1,
    // Of an identity it is not said, as there.
    own?.identity === undefined ? (own?.default ?? null) : null,
    nullable ? 'YES' : 'NO',
    ...typeFacts(type),
    own?.identity === undefined ? 'NO' : 'YES',
    own?.generated === undefined ? 'NEVER' : 'ALWAYS',
    own?.generated ?? null,
  ];
}

/** What information_schema.columns says of a type, from `data_type` to `udt_name`: bits of binary numbers, digits of decimal ones. */
function typeFacts(type: SqlType): Datum[] {
  const { precision, radix, scale } = numberFacts(type);
  return [
    // Its modifiers stand beside it.
    bareTypeName(type),
    type.kind === 'varchar' || type.kind === 'bpchar' ? (type.length ?? null) : null,
    precision ?? null,
    radix ?? null,
    scale ?? null,
    secondPlaces(type),
    type.kind === 'boolean' ? 'bool' : type.kind,
  ];
}

function numberFacts(type: SqlType): {
  readonly precision?: number | undefined;
  readonly radix?: number;
  readonly scale?: number | undefined;
} {
  switch (type.kind) {
    case 'int2':
      return { precision: 16, radix: 2, scale: 0 };
    case 'int4':
      return { precision: 32, radix: 2, scale: 0 };
    case 'int8':
      return { precision: 64, radix: 2, scale: 0 };
    case 'float4':
      return { precision: 24, radix: 2 };
    case 'float8':
      return { precision: 53, radix: 2 };
    case 'numeric':
      return { precision: type.precision, radix: 10, scale: type.scale };
    default:
      return {};
  }
}

function secondPlaces(type: SqlType): number | null {
  switch (type.kind) {
    case 'date':
      return 0;
    case 'time':
    case 'timestamp':
    case 'timestamptz':
    case 'interval':
      return type.precision ?? 6;
    default:
      return null;
  }
}
