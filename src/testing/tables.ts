import type { Arbitrary } from 'fast-check';
import { DbError } from '../base/errors.ts';
import type { Handle, RelationDescription } from '../actors/database.ts';
import type { InputRow } from '../actors/rows-in.ts';
import { quoteIdentifier } from '../actors/sql-tag.ts';
import { fastCheck } from './fast-check.ts';
import { valueOf } from './values.ts';

export type RowOptions = {
  /** What columns hold, where the column's type says too little: a CHECK, a foreign key, a shape of text. */
  readonly columns?: Readonly<Record<string, Arbitrary<unknown>>> | undefined;
  /** Default 8. */
  readonly maxRows?: number | undefined;
};

/**
 * A change of one table. It fits whatever the table holds: `pick` names the row, from the first (0) to the last (below 1) in
 * the order of the primary key; rows whose key is taken already replace it.
 */
export type TableChange =
  | { readonly kind: 'insert'; readonly rows: readonly InputRow[] }
  | { readonly kind: 'update'; readonly pick: number; readonly set: InputRow }
  | { readonly kind: 'delete'; readonly pick: number }
  | { readonly kind: 'truncate' };

/** Rows for a table of yours, each with a primary key of its own; columns with a default or NULL are left out now and then. */
export function rows(
  db: Handle,
  table: string,
  options: RowOptions = {},
): Arbitrary<readonly InputRow[]> {
  const fc = fastCheck();
  const description = describe(db, table);
  const key = description.primaryKey;
  const row = rowOf(description, options);
  return fc.uniqueArray(row, {
    maxLength: options.maxRows ?? 8,
    selector: (each) =>
      key.length === 0 ? each : JSON.stringify(key.map((name) => String(each[name]))),
  });
}

/** Changes of a table of yours: most of them bring rows, the others change and delete what is there. */
export function changes(
  db: Handle,
  table: string,
  options: RowOptions = {},
): Arbitrary<TableChange> {
  const fc = fastCheck();
  const description = describe(db, table);
  const insert = rows(db, table, options).map((given) => ({
    kind: 'insert' as const,
    rows: given,
  }));
  const truncate = fc.constant({ kind: 'truncate' as const });
  // Without a key no row can be named.
  if (description.primaryKey.length === 0)
    return fc.oneof({ weight: 9, arbitrary: insert }, { weight: 1, arbitrary: truncate });
  const pick = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  const values = rowOf(description, options).map((row) =>
    Object.fromEntries(
      Object.entries(row).filter(([name]) => !description.primaryKey.includes(name)),
    ),
  );
  return fc.oneof(
    { weight: 5, arbitrary: insert },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('update' as const), pick, set: values }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete' as const), pick }) },
    { weight: 1, arbitrary: truncate },
  );
}

/** Changes of several tables, in their order: a stream as a dashboard sees it. */
export function changeStream(
  db: Handle,
  tables: readonly string[],
  options: RowOptions & { readonly maxChanges?: number | undefined } = {},
): Arbitrary<readonly { readonly table: string; readonly change: TableChange }[]> {
  const fc = fastCheck();
  const one = fc.oneof(
    ...tables.map((table) => changes(db, table, options).map((change) => ({ table, change }))),
  );
  return fc.array(one, { maxLength: options.maxChanges ?? 12 });
}

/** Makes a change; gives back its position, and how many rows it has touched. */
export async function apply(
  db: Handle,
  table: string,
  change: TableChange,
): Promise<{ readonly position: number; readonly rows: number }> {
  const { primaryKey } = describe(db, table);
  const name = table.split('.').map(quoteIdentifier).join('.');
  switch (change.kind) {
    case 'insert':
      return primaryKey.length === 0
        ? db.insert(table, change.rows)
        : db.upsert(table, change.rows);
    case 'truncate': {
      const { position, rows: count } = await db.exec(`TRUNCATE ${name}`);
      return { position, rows: count };
    }
    case 'update': {
      const key = await keyAt(db, name, primaryKey, change.pick);
      const columns = Object.keys(change.set);
      if (key === undefined || columns.length === 0) return db.insert(table, []);
      const set = columns.map((column, index) => `${quoteIdentifier(column)} = $${index + 1}`);
      const params = [...columns.map((column) => change.set[column]), ...key];
      const where = conditionOf(primaryKey, columns.length);
      const { position, rows: count } = await db.exec(
        `UPDATE ${name} SET ${set.join(', ')} WHERE ${where}`,
        { params },
      );
      return { position, rows: count };
    }
    case 'delete': {
      const key = await keyAt(db, name, primaryKey, change.pick);
      if (key === undefined) return db.insert(table, []);
      const where = conditionOf(primaryKey, 0);
      const { position, rows: count } = await db.exec(`DELETE FROM ${name} WHERE ${where}`, {
        params: key,
      });
      return { position, rows: count };
    }
  }
}

export function describe(db: Handle, table: string): RelationDescription {
  const parts = table.split('.');
  const found = db
    .describe()
    .find(
      ({ name, schema, kind }) =>
        kind === 'table' &&
        name === parts.at(-1) &&
        (parts.length === 1 ? schema === 'public' : schema === parts.at(-2)),
    );
  if (found !== undefined) return found;
  throw new DbError('42P01', `table "${table}" does not exist`, {
    table,
    hint: 'Create it before its arbitraries are made; a tenant’s tables are told by db.as({ tenant }).',
  });
}

function rowOf(description: RelationDescription, options: RowOptions): Arbitrary<InputRow> {
  const fc = fastCheck();
  const given = options.columns ?? {};
  for (const name of Object.keys(given)) {
    if (description.columns.some((column) => column.name === name)) continue;
    throw new DbError('42703', `table "${description.name}" has no column "${name}"`, {
      column: name,
      field: `columns.${name}`,
    });
  }
  const model: Record<string, Arbitrary<unknown>> = {};
  const required: string[] = [];
  for (const { name, type, nullable } of description.columns) {
    const own = given[name];
    const isKey = description.primaryKey.includes(name);
    model[name] =
      own ??
      (nullable && !isKey ? fc.option(valueOf(type), { freq: 5, nil: null }) : valueOf(type));
    if (!nullable || isKey || own !== undefined) required.push(name);
  }
  return fc.record(model, { requiredKeys: required }) as Arbitrary<InputRow>;
}

async function keyAt(
  db: Handle,
  name: string,
  primaryKey: readonly string[],
  pick: number,
): Promise<unknown[] | undefined> {
  const { rows: counted } = await db.query<{ n: number }>(`SELECT count(*) AS n FROM ${name}`);
  const count = counted[0]?.n ?? 0;
  if (count === 0) return undefined;
  const columns = primaryKey.map(quoteIdentifier).join(', ');
  const { rows: found } = await db.query(
    `SELECT ${columns} FROM ${name} ORDER BY ${columns} LIMIT 1 OFFSET ${Math.floor(pick * count)}`,
  );
  const row = found[0];
  return row === undefined ? undefined : primaryKey.map((column) => row[column]);
}

function conditionOf(primaryKey: readonly string[], parametersBefore: number): string {
  return primaryKey
    .map((column, index) => `${quoteIdentifier(column)} = $${parametersBefore + index + 1}`)
    .join(' AND ');
}
