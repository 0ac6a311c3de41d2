import type { CommitRecord, Operation, TableDefinition } from '../actors/records.ts';
import { textRows } from '../actors/rows-out.ts';
import type { Batch } from '../columns/batch.ts';
import type { TableWrite } from '../columns/table-contract.ts';
import { typeName } from '../columns/types.ts';
import { Model, ModelError } from '../model/model.ts';
import type { Row } from '../model/values.ts';

/** Row ids of one segment; an update moves a row of an earlier one to the end. */
const SEGMENT_ROWS = 65_536;

type Table = {
  readonly definition: TableDefinition;
  /** By row id, in their order. */
  rows: Map<number, Row>;
  nextRowId: number;
};

/**
 * The journal, read as plainly as it can be: tables are maps of rows, views are their queries over them in the naive interpreter.
 * Shares with the engine only how a record prints its values.
 */
export class Ledger {
  /** Each tenant's relations, in the naive interpreter. */
  readonly #models = new Map<string, Model>();
  readonly #tables = new Map<number, Table>();
  readonly #views = new Map<number, { readonly tenant: string; readonly name: string }>();
  /** Tables whose rows the interpreter has not been told yet. */
  readonly #stale = new Set<Table>();
  position = 0;
  /** What the interpreter does not know: relations that are left out, with the reason. */
  readonly unknown = new Map<string, string>();

  rowCount(): number {
    let count = 0;
    for (const { rows } of this.#tables.values()) count += rows.size;
    return count;
  }

  /** The naive database of a tenant, as it stands. */
  model(tenant: string): Model {
    for (const table of this.#stale) {
      const { tenant: owner, name } = table.definition;
      this.#model(owner).setRows(name, [...table.rows.values()]);
    }
    this.#stale.clear();
    return this.#model(tenant);
  }

  /** Tables of a tenant that a record writes rows of, by name. */
  written(record: CommitRecord, tenant: string): string[] {
    const names = record.operations.flatMap((operation) => {
      const table = operation.op === 'rows' ? this.#tables.get(operation.relation) : undefined;
      return table?.definition.tenant === tenant ? [table.definition.name] : [];
    });
    return [...new Set(names)];
  }

  /** Column names and the primary key of a table. `plain`: nothing fills in values but the statement itself. */
  describe(
    tenant: string,
    name: string,
  ):
    | {
        readonly columns: readonly string[];
        readonly key: readonly string[];
        readonly plain: boolean;
      }
    | undefined {
    for (const { definition } of this.#tables.values()) {
      if (definition.tenant !== tenant || definition.name !== name) continue;
      const columns = definition.columns.map((column) => column.name);
      const primary = definition.indexes.find((index) => index.primary);
      return {
        columns,
        key: primary?.columnIndexes.map((index) => columns[index]!) ?? [],
        plain: definition.columns.every(
          (column) =>
            column.default === undefined &&
            column.generated === undefined &&
            column.sequence === undefined,
        ),
      };
    }
    return undefined;
  }

  apply(record: CommitRecord, position: number): void {
    this.position = position;
    for (const operation of record.operations) this.#operate(operation);
  }

  #model(tenant: string): Model {
    let model = this.#models.get(tenant);
    if (model === undefined) this.#models.set(tenant, (model = new Model()));
    return model;
  }

  #operate(operation: Operation): void {
    switch (operation.op) {
      case 'rows': {
        const table = this.#tables.get(operation.relation);
        if (table === undefined) return;
        for (const write of operation.writes) this.#write(table, write);
        this.#stale.add(table);
        return;
      }
      case 'createTable':
        this.#createTable(operation.table, new Map(), 0);
        return;
      case 'createView':
      case 'createMaterializedView': {
        const { id, tenant, name, columnNames, text } = operation.view;
        this.model(tenant);
        const materialized = operation.op === 'createMaterializedView' ? 'MATERIALIZED ' : '';
        const names = columnNames.map(quoted).join(', ');
        this.#known(name, () =>
          this.#model(tenant).exec(
            `CREATE ${materialized}VIEW ${quoted(name)} (${names}) AS ${text}`,
          ),
        );
        this.#views.set(id, { tenant, name });
        return;
      }
      case 'dropRelation':
        this.#drop(operation.relation);
        return;
      case 'renameRelation': {
        const table = this.#tables.get(operation.relation);
        if (table === undefined) {
          const view = this.#views.get(operation.relation);
          if (view !== undefined) this.unknown.set(operation.name, 'a view was renamed');
          return;
        }
        this.#replace(table, { ...table.definition, name: operation.name });
        return;
      }
      case 'alterTable': {
        const table = this.#tables.get(operation.table.id)!;
        const { data } = operation;
        if (data.kind === 'addColumn') {
          const text = data.value === null ? null : undefined;
          if (text === undefined) this.unknown.set(operation.table.name, 'a column has a default');
          for (const [id, row] of table.rows) table.rows.set(id, [...row, null]);
        } else if (data.kind === 'dropColumn') {
          for (const [id, row] of table.rows) table.rows.set(id, row.toSpliced(data.index, 1));
        }
        this.#replace(table, operation.table);
        if (data.kind === 'rewrite') {
          const rewritten = this.#tables.get(operation.table.id)!;
          rewritten.rows.clear();
          this.#write(rewritten, data.rows);
        }
        return;
      }
      case 'createSchema':
      case 'dropSchema':
      case 'createSequence':
      case 'sequenceValue':
      case 'addIndex':
      case 'dropIndex':
      case 'alterMaterializedView':
      case 'compact':
      case 'setPolicy':
      case 'keepTiles':
        return;
    }
  }

  #write(table: Table, write: TableWrite): void {
    const { rows } = table;
    switch (write.kind) {
      case 'truncate':
        rows.clear();
        return;
      case 'delete':
        for (const id of write.rowIds) rows.delete(id);
        return;
      case 'insert':
        for (const row of this.#rowsOf(table, write.rows)) rows.set(table.nextRowId++, row);
        return;
      case 'update':
        for (const [index, row] of this.#rowsOf(table, write.rows).entries()) {
          const id = write.rowIds[index]!;
          const open = Math.floor(table.nextRowId / SEGMENT_ROWS) * SEGMENT_ROWS;
          if (id >= open) rows.set(id, row);
          else {
            rows.delete(id);
            rows.set(table.nextRowId++, row);
          }
        }
    }
  }

  #rowsOf({ definition }: Table, batch: Batch): Row[] {
    const { rowCount, selection, columns } = batch;
    const plain =
      selection === undefined ? { rowCount, columns } : { rowCount, columns, selection };
    const texts = textRows(definition.columns, plain, 'UTC');
    // Of a table that the interpreter does not know only the number of rows is followed.
    if (this.unknown.has(definition.name)) return texts.map(() => []);
    const model = this.#model(definition.tenant);
    return texts.map((row) => model.rowOf(definition.name, row));
  }

  #createTable(definition: TableDefinition, rows: Map<number, Row>, nextRowId: number): void {
    const { id, tenant, name, columns } = definition;
    const table: Table = { definition, rows, nextRowId };
    this.#tables.set(id, table);
    // Constraints are not told: what the journal holds was checked, and is compared as it stands.
    this.#known(name, () =>
      this.#model(tenant).exec(
        `CREATE TABLE ${quoted(name)} (${columns.map((column) => `${quoted(column.name)} ${typeName(column.type)}`).join(', ')}${keysOf(definition)})`,
      ),
    );
    if (!this.unknown.has(name)) this.#stale.add(table);
  }

  #replace(table: Table, definition: TableDefinition): void {
    const { tenant, name } = table.definition;
    this.#stale.delete(table);
    this.#known(name, () => this.#model(tenant).exec(`DROP TABLE IF EXISTS ${quoted(name)}`));
    this.#createTable(definition, table.rows, table.nextRowId);
  }

  #drop(relation: number): void {
    const table = this.#tables.get(relation);
    const { tenant, name } = table?.definition ?? this.#views.get(relation) ?? {};
    this.#tables.delete(relation);
    this.#views.delete(relation);
    if (table !== undefined) this.#stale.delete(table);
    if (tenant === undefined || name === undefined) return;
    this.unknown.delete(name);
    this.#model(tenant).exec(`DROP TABLE IF EXISTS ${quoted(name)}`);
  }

  #known(name: string, tell: () => void): void {
    try {
      tell();
    } catch (cause) {
      if (!(cause instanceof ModelError)) throw cause;
      this.unknown.set(name, cause.message);
    }
  }
}

function keysOf({ columns, indexes }: TableDefinition): string {
  return indexes
    .filter(({ unique }) => unique)
    .map(
      ({ primary, columnIndexes }) =>
        `, ${primary ? 'PRIMARY KEY' : 'UNIQUE'} (${columnIndexes.map((index) => quoted(columns[index]!.name)).join(', ')})`,
    )
    .join('');
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
