import { assert, DbError, type TextPlace } from '../base/errors.ts';
import type { TableData, ZoneTest } from '../columns/table-contract.ts';
import {
  readsWithout,
  type PlanCatalog,
  type PlanStatistics,
  type RelationInfo,
} from '../plan/catalog.ts';
import type { Query, SqlExpression } from '../sql/ast.ts';
import type { OutputColumn } from '../plan/logical.ts';
import type {
  IndexDefinition,
  MaterializedViewDefinition,
  RelationName,
  SequenceDefinition,
  TableDefinition,
  ViewDefinition,
} from './records.ts';
import type { MaintainedView } from './maintained-view.ts';
import { withSystemRelations } from './system-relations.ts';

/**
 * The catalog: what exists, under which name. Entries are immutable but for the state they own (a table's rows, a
 * view's operators, a sequence's counter); a change puts a new entry in the place of the old one, which is also
 * what undo puts back.
 */
export type CatalogEntry = TableEntry | ViewEntry | MaterializedViewEntry | SequenceEntry;

export type TableEntry = {
  readonly kind: 'table';
  readonly definition: TableDefinition;
  readonly data: TableData;
  readonly info: RelationInfo;
};
export type ViewEntry = {
  readonly kind: 'view';
  /** Of a materialized view, in the transaction that has made it: until the commit it is read as its query. */
  readonly definition: ViewDefinition | MaterializedViewDefinition;
  readonly query: Query;
  readonly info: RelationInfo;
};
export type MaterializedViewEntry = {
  readonly kind: 'materializedView';
  readonly definition: MaterializedViewDefinition;
  readonly query: Query;
  readonly data: TableData;
  readonly view: MaintainedView;
  readonly info: RelationInfo;
};
export type SequenceEntry = {
  readonly kind: 'sequence';
  readonly definition: SequenceDefinition;
  /** Changed by nextval at once, outside transactions, as in PostgreSQL. */
  readonly state: SequenceState;
};
export type SequenceState = {
  value: number;
  /** `value` was handed out; else it comes next. */
  called: boolean;
  /** How many changes there have been. */
  changeNumber: number;
};

export function newSequenceEntry(definition: SequenceDefinition): SequenceEntry {
  return {
    kind: 'sequence',
    definition,
    state: { value: definition.start, called: false, changeNumber: 0 },
  };
}

/** Entries that rows can be read from. */
export type StoredEntry = TableEntry | MaterializedViewEntry;

/** What sessions read the catalog through: the catalog itself, or a transaction's changes laid over it. */
export interface CatalogView {
  readonly epoch: number;
  byId(id: number): CatalogEntry | undefined;
  byName(name: RelationName): CatalogEntry | undefined;
  hasSchema(tenant: string, schema: string): boolean;
  /** Everything a tenant owns, in order of id. */
  ofTenant(tenant: string): readonly CatalogEntry[];
  schemasOf(tenant: string): readonly string[];
  /** Views, plain and materialized, whose query reads `id` directly, in order of id. */
  dependantsOf(id: number): readonly CatalogEntry[];
}

const NO_ENTRIES: readonly CatalogEntry[] = [];

/** Schemas every tenant has. */
export const PUBLIC_SCHEMA = 'public';

export class Catalog implements CatalogView {
  readonly #byId = new Map<number, CatalogEntry>();
  readonly #byName = new Map<string, CatalogEntry>();
  readonly #byTenant = new Map<string, Map<number, CatalogEntry>>();
  readonly #schemas = new Map<string, Set<string>>();
  /** Direct dependants: views that read a relation. */
  readonly #dependants = new Map<number, Set<number>>();
  /** The same as entries in order, until the catalog changes: asked for at every commit. */
  readonly #dependantEntries = new Map<number, readonly CatalogEntry[]>();
  #nextId = 1;
  #epoch = 0;

  /** Grows with every change; plans are cached by it. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Ids below have been given; some perhaps to what is gone. */
  get nextId(): number {
    return this.#nextId;
  }

  set nextId(next: number) {
    this.#nextId = Math.max(this.#nextId, next);
  }

  /** Schemas that were created, in order. */
  schemas(): { readonly tenant: string; readonly name: string }[] {
    return [...this.#schemas].flatMap(([tenant, names]) =>
      [...names].map((name) => ({ tenant, name })),
    );
  }

  takeId(): number {
    const id = this.#nextId;
    this.#nextId += 1;
    return id;
  }

  byId(id: number): CatalogEntry | undefined {
    return this.#byId.get(id);
  }

  byName(name: RelationName): CatalogEntry | undefined {
    return this.#byName.get(nameKey(name));
  }

  hasSchema(tenant: string, schema: string): boolean {
    return schema === PUBLIC_SCHEMA || this.#schemas.get(tenant)?.has(schema) === true;
  }

  schemasOf(tenant: string): readonly string[] {
    return [PUBLIC_SCHEMA, ...(this.#schemas.get(tenant) ?? [])];
  }

  ofTenant(tenant: string): readonly CatalogEntry[] {
    return [...(this.#byTenant.get(tenant)?.values() ?? [])].sort((a, b) => idOf(a) - idOf(b));
  }

  all(): readonly CatalogEntry[] {
    return [...this.#byId.values()].sort((a, b) => idOf(a) - idOf(b));
  }

  tenants(): readonly string[] {
    return [...this.#byTenant.keys()].sort();
  }

  /** Adds an entry, or puts it in the place of the one with its id; returns what undoes it. */
  put(entry: CatalogEntry): () => void {
    const id = idOf(entry);
    const before = this.#byId.get(id);
    if (before !== undefined) this.#unlink(before);
    const taken = this.#byName.get(nameKey(entry.definition));
    assert(taken === undefined, 'a relation is put under a name that is free');
    this.#link(entry);
    if (id >= this.#nextId) this.#nextId = id + 1;
    this.#epoch += 1;
    return () => {
      this.#unlink(entry);
      if (before !== undefined) this.#link(before);
      this.#epoch += 1;
    };
  }

  /** Takes an entry out; returns what undoes it. The entry's state is left alone. */
  remove(id: number): () => void {
    const before = this.#byId.get(id);
    assert(before !== undefined, 'a relation that is removed exists');
    this.#unlink(before);
    this.#epoch += 1;
    return () => {
      this.#link(before);
      this.#epoch += 1;
    };
  }

  addSchema(tenant: string, name: string): () => void {
    const schemas = this.#schemas.get(tenant) ?? new Set();
    this.#schemas.set(tenant, schemas);
    schemas.add(name);
    this.#epoch += 1;
    return () => void this.removeSchema(tenant, name);
  }

  removeSchema(tenant: string, name: string): () => void {
    this.#schemas.get(tenant)?.delete(name);
    this.#epoch += 1;
    return () => void this.addSchema(tenant, name);
  }

  dependantsOf(id: number): readonly CatalogEntry[] {
    const known = this.#dependantEntries.get(id);
    if (known !== undefined) return known;
    const dependants = this.#dependants.get(id);
    if (dependants === undefined) return NO_ENTRIES;
    const entries = [...dependants]
      .sort((a, b) => a - b)
      .flatMap((each) => this.#byId.get(each) ?? []);
    this.#dependantEntries.set(id, entries);
    return entries;
  }

  #link(entry: CatalogEntry): void {
    const id = idOf(entry);
    this.#dependantEntries.clear();
    this.#byId.set(id, entry);
    this.#byName.set(nameKey(entry.definition), entry);
    const { tenant } = entry.definition;
    const owned = this.#byTenant.get(tenant) ?? new Map<number, CatalogEntry>();
    this.#byTenant.set(tenant, owned);
    owned.set(id, entry);
    for (const source of sourcesOf(entry)) {
      const dependants = this.#dependants.get(source) ?? new Set();
      this.#dependants.set(source, dependants);
      dependants.add(id);
    }
  }

  #unlink(entry: CatalogEntry): void {
    const id = idOf(entry);
    this.#dependantEntries.clear();
    this.#byId.delete(id);
    this.#byName.delete(nameKey(entry.definition));
    const { tenant } = entry.definition;
    const owned = this.#byTenant.get(tenant);
    owned?.delete(id);
    if (owned?.size === 0) this.#byTenant.delete(tenant);
    for (const source of sourcesOf(entry)) {
      const dependants = this.#dependants.get(source);
      dependants?.delete(id);
      if (dependants?.size === 0) this.#dependants.delete(source);
    }
  }
}

/**
 * A transaction's own changes to the catalog, seen by its statements only. Cheap when there are none: then it hands
 * every question on.
 */
export class CatalogOverlay implements CatalogView {
  readonly #base: Catalog;
  readonly #put = new Map<number, CatalogEntry>();
  readonly #removed = new Set<number>();
  readonly #schemas = new Map<string, boolean>();
  #changes = 0;

  constructor(base: Catalog) {
    this.#base = base;
  }

  get changed(): boolean {
    return this.#changes > 0;
  }

  /** Never equal to an epoch of the base once there are changes, so that no cached plan of others is taken. */
  get epoch(): number {
    return this.#changes === 0 ? this.#base.epoch : -this.#changes;
  }

  byId(id: number): CatalogEntry | undefined {
    return this.#put.get(id) ?? (this.#removed.has(id) ? undefined : this.#base.byId(id));
  }

  byName(name: RelationName): CatalogEntry | undefined {
    if (this.#changes > 0) {
      const key = nameKey(name);
      for (const entry of this.#put.values()) if (nameKey(entry.definition) === key) return entry;
    }
    const entry = this.#base.byName(name);
    if (entry === undefined || this.#removed.has(idOf(entry)) || this.#put.has(idOf(entry)))
      return undefined;
    return entry;
  }

  hasSchema(tenant: string, schema: string): boolean {
    return this.#schemas.get(`${tenant}\0${schema}`) ?? this.#base.hasSchema(tenant, schema);
  }

  schemasOf(tenant: string): readonly string[] {
    const names = new Set(this.#base.schemasOf(tenant));
    for (const [key, present] of this.#schemas) {
      const [owner, name] = key.split('\0');
      if (owner !== tenant || name === undefined) continue;
      if (present) names.add(name);
      else names.delete(name);
    }
    return [...names];
  }

  ofTenant(tenant: string): readonly CatalogEntry[] {
    const base = this.#base
      .ofTenant(tenant)
      .filter((entry) => !this.#removed.has(idOf(entry)) && !this.#put.has(idOf(entry)));
    const own = [...this.#put.values()].filter((entry) => entry.definition.tenant === tenant);
    return [...base, ...own].sort((a, b) => idOf(a) - idOf(b));
  }

  dependantsOf(id: number): readonly CatalogEntry[] {
    const base = this.#base.dependantsOf(id);
    if (this.#changes === 0) return base;
    const ids = new Set([...base.map(idOf), ...this.#put.keys()]);
    return [...ids]
      .sort((a, b) => a - b)
      .flatMap((each) => this.byId(each) ?? [])
      .filter((entry) => sourcesOf(entry).includes(id));
  }

  put(entry: CatalogEntry): () => void {
    const id = idOf(entry);
    const before = this.#put.get(id);
    const wasRemoved = this.#removed.delete(id);
    this.#put.set(id, entry);
    this.#changes += 1;
    return () => {
      if (before === undefined) this.#put.delete(id);
      else this.#put.set(id, before);
      if (wasRemoved) this.#removed.add(id);
      this.#changes += 1;
    };
  }

  remove(id: number): () => void {
    const before = this.#put.get(id);
    this.#put.delete(id);
    this.#removed.add(id);
    this.#changes += 1;
    return () => {
      if (before !== undefined) this.#put.set(id, before);
      this.#removed.delete(id);
      this.#changes += 1;
    };
  }

  setSchema(tenant: string, name: string, present: boolean): () => void {
    const key = `${tenant}\0${name}`;
    const before = this.#schemas.get(key);
    this.#schemas.set(key, present);
    this.#changes += 1;
    return () => {
      if (before === undefined) this.#schemas.delete(key);
      else this.#schemas.set(key, before);
      this.#changes += 1;
    };
  }
}

/** What it was declared as. */
export function declaredAs(entry: CatalogEntry): CatalogEntry['kind'] {
  return 'options' in entry.definition ? 'materializedView' : entry.kind;
}

const KIND_NAMES: Readonly<Record<CatalogEntry['kind'], string>> = {
  table: 'table',
  view: 'view',
  materializedView: 'materialized view',
  sequence: 'sequence',
};

/** As it is spoken of in messages. */
export function kindOf(entry: CatalogEntry): string {
  return KIND_NAMES[declaredAs(entry)];
}

/** 42809: something else has that name. */
export function wrongKind(
  entry: CatalogEntry,
  wanted: CatalogEntry['kind'],
  { name, at }: Pick<WrittenName, 'name'> & { readonly at?: TextPlace | undefined },
  hint = `It is a ${kindOf(entry)}.`,
): DbError {
  return new DbError('42809', `"${name}" is not a ${KIND_NAMES[wanted]}`, {
    at,
    table: name,
    hint,
  });
}

export function idOf(entry: CatalogEntry): number {
  return entry.definition.id;
}

export function isStored(entry: CatalogEntry | undefined): entry is StoredEntry {
  return entry !== undefined && (entry.kind === 'table' || entry.kind === 'materializedView');
}

function nameKey(name: RelationName): string {
  return `${name.tenant}\0${name.schema}\0${name.name}`;
}

/** A view that reads `relation`, as it is when that has lost a column which it does not use. */
export function withoutColumnRead<Entry extends ViewEntry | MaterializedViewEntry>(
  entry: Entry,
  relation: number,
  index: number,
): Entry {
  const reads = readsWithout(entry.definition.reads, relation, index);
  return {
    ...entry,
    definition: { ...entry.definition, reads },
    info: { ...entry.info, reads },
  };
}

/** Relations that an entry's query reads. */
function sourcesOf(entry: CatalogEntry): readonly number[] {
  if (entry.kind !== 'materializedView' && entry.kind !== 'view') return [];
  const read = entry.definition.reads.map(({ relation }) => relation);
  // A materialized view over a plain one depends on it, and on the tables that feed it.
  return entry.kind === 'view' ? read : [...new Set([...read, ...entry.view.sources])];
}

/** How a session finds names: its tenant, its search path, and main's relations as far as they are granted. */
export type NameScope = {
  readonly tenant: string;
  /** Schemas in order; the session's own temporary schema stands before them. */
  readonly searchPath: readonly string[];
  readonly temporarySchema: string;
  /** Whether a relation of another tenant may be read. */
  readonly granted: (entry: CatalogEntry) => boolean;
};

export type WrittenName = {
  readonly catalog?: string | undefined;
  readonly schema?: string | undefined;
  readonly name: string;
};

export function findRelation(
  view: CatalogView,
  scope: NameScope,
  written: WrittenName,
): CatalogEntry | undefined {
  if (written.catalog !== undefined && written.catalog !== scope.tenant) {
    const entry = view.byName({
      tenant: written.catalog,
      schema: written.schema ?? PUBLIC_SCHEMA,
      name: written.name,
    });
    return entry !== undefined && scope.granted(entry) ? entry : undefined;
  }
  const schemas =
    written.schema === undefined
      ? [scope.temporarySchema, ...scope.searchPath]
      : [written.schema === 'pg_temp' ? scope.temporarySchema : written.schema];
  for (const schema of schemas) {
    const entry = view.byName({ tenant: scope.tenant, schema, name: written.name });
    if (entry !== undefined) return entry;
  }
  if (scope.tenant === 'main' || written.catalog !== undefined) return undefined;
  for (const schema of schemas) {
    const entry = view.byName({ tenant: 'main', schema, name: written.name });
    if (entry !== undefined && scope.granted(entry)) return entry;
  }
  return undefined;
}

/** The catalog for binding what names relations by id only: queries of views. */
export function catalogOfIds(view: CatalogView): PlanCatalog {
  const own = planCatalog(view, {
    tenant: '',
    searchPath: [],
    temporarySchema: '',
    granted: () => false,
  });
  return withSystemRelations(own, '');
}

/** The catalog as binding sees it. `asPlainView`: materialized views that must be read as their query (see Transaction). */
export function planCatalog(
  view: CatalogView,
  scope: NameScope,
  asPlainView: (entry: MaterializedViewEntry) => boolean = () => false,
): PlanCatalog {
  const infoOf = (entry: CatalogEntry | undefined): RelationInfo | undefined => {
    if (entry === undefined || entry.kind === 'sequence') return undefined;
    if (entry.kind === 'materializedView' && asPlainView(entry)) {
      return { ...entry.info, kind: 'view', query: entry.query };
    }
    return entry.info;
  };
  return {
    relation: (name) => infoOf(findRelation(view, scope, name)),
    relationById: (id) => infoOf(view.byId(id)),
    relationNames: () =>
      view
        .ofTenant(scope.tenant)
        .flatMap((entry) =>
          entry.kind === 'sequence' || isUnjournaled(entry) ? [] : [entry.definition.name],
        ),
    statistics: statisticsOf(view),
  };
}

function statisticsOf(view: CatalogView): PlanStatistics {
  const dataOf = (id: number): TableData | undefined => {
    const entry = view.byId(id);
    return isStored(entry) ? entry.data : undefined;
  };
  return {
    rowCount: (relation) => dataOf(relation)?.rowCount ?? 0,
    uniqueKeys: (relation) =>
      dataOf(relation)?.schema.indexes.flatMap(({ unique, columnIndexes }) =>
        unique ? [columnIndexes] : [],
      ) ?? [],
    distinctCount: (relation, column) => dataOf(relation)?.distinctEstimate?.(column),
    zoneShare: (relation, tests: readonly ZoneTest[]) => dataOf(relation)?.zoneShare?.(tests) ?? 1,
  };
}

/** Makes the binder's description of a table; `parse` turns a default's text into its tree. */
export function tableInfo(
  definition: TableDefinition,
  parse: (text: string) => SqlExpression,
): RelationInfo {
  return {
    id: definition.id,
    name: definition.name,
    kind: 'table',
    columns: definition.columns.map((column) => ({
      name: column.name,
      type: column.type,
      nullable: column.nullable,
      ...(column.default === undefined ? {} : { default: parse(column.default) }),
      ...(column.generated === undefined ? {} : { generated: parse(column.generated) }),
      ...(column.identity === undefined ? {} : { identity: column.identity }),
    })),
    indexes: definition.indexes.map(indexInfo),
    checks: definition.checks.map(({ name, text }) => ({ name, text, condition: parse(text) })),
    timeColumn: definition.timeColumn,
  };
}

export function viewInfo(
  definition: ViewDefinition,
  kind: 'view' | 'materializedView',
  columns: readonly OutputColumn[],
  query: Query,
  indexes: readonly IndexDefinition[],
): RelationInfo {
  return {
    id: definition.id,
    name: definition.name,
    kind,
    columns: columns.map(({ type, nullable }, index) => ({
      name: definition.columnNames[index] ?? columns[index]?.name ?? '?column?',
      type,
      nullable,
    })),
    indexes: indexes.map(indexInfo),
    checks: [],
    query,
    reads: definition.reads,
  };
}

function indexInfo({
  name,
  columnIndexes,
  unique,
  primary,
}: IndexDefinition): RelationInfo['indexes'][number] {
  return { name, columnIndexes, unique, primary };
}

/** What queries that somebody follows are kept in. */
export const LIVE_SCHEMA = 'adb_live_';

/** They stand in the catalog, and in no record: neither that they are made nor that they go. Somebody else's schema may begin like theirs. */
export function isUnjournaled({ kind, definition }: CatalogEntry): boolean {
  return kind === 'materializedView' && definition.schema === `${LIVE_SCHEMA}${definition.id}`;
}

/** Whether what is kept of a relation is told with some of these: it is one, or what a materialized view of them reads. */
export function isKeptOf(
  catalog: Catalog,
  relation: number,
  relations: readonly number[],
): boolean {
  // A set may grow while it is gone through: what many views share is looked at once.
  const read = new Set(relations);
  for (const each of read) {
    if (each === relation) return true;
    const entry = catalog.byId(each);
    if (entry?.kind !== 'materializedView') continue;
    for (const source of entry.view.sources) read.add(source);
  }
  return false;
}
