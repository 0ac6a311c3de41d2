import type { CatalogEntry } from '../actors/catalog.ts';
import type { DatabaseState } from '../actors/database-state.ts';
import { textRows } from '../actors/rows-out.ts';
import type { TableData } from '../columns/table-contract.ts';
import { Trace } from './trace.ts';

/** One relation, as text: what it is, and the hash of what it holds. */
export type RelationHash = { readonly id: number; readonly name: string; readonly hash: string };

/**
 * A hash for each relation of what is published: definitions, and the rows of tables with their row ids, in their order.
 * Rows of views count as a bag, since a view that was built anew has given out other row ids.
 */
export function stateHashes(state: DatabaseState): RelationHash[] {
  return state.catalog
    .all()
    .filter((entry) => !entry.definition.schema.startsWith('adb_live_'))
    .map((entry) => ({
      id: entry.definition.id,
      name: `${entry.definition.tenant}.${entry.definition.schema}.${entry.definition.name}`,
      hash: hashOf(entry),
    }));
}

function hashOf(entry: CatalogEntry): string {
  const trace = new Trace();
  trace.note(canonical(entry.definition));
  switch (entry.kind) {
    case 'table':
      for (const row of publishedRows(entry.data, true)) trace.note(row);
      break;
    case 'materializedView':
      trace.note(entry.view.status);
      for (const row of publishedRows(entry.data, false).sort()) trace.note(row);
      break;
    case 'sequence':
      trace.note(JSON.stringify(entry.state));
      break;
    case 'view':
      break;
  }
  return trace.hash;
}

/** As JSON with the keys in order: a definition that was read from a file has them in another. */
function canonical(definition: unknown): string {
  return JSON.stringify(definition, (_, value: unknown) =>
    typeof value === 'bigint'
      ? String(value)
      : typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
        : value,
  );
}

/** Published rows as texts, in arrival order. */
export function publishedRows(data: TableData, withRowIds: boolean): string[] {
  const snapshot = data.snapshot();
  const columns = data.schema.columns;
  const scan = snapshot.scan({
    columnIndexes: columns.map((_, index) => index),
    ordered: true,
    withRowIds,
  });
  const rows: string[] = [];
  for (let batch = scan.next(); batch !== undefined; batch = scan.next()) {
    const { rowIds, selection } = batch;
    for (const [index, row] of textRows(columns, batch, 'UTC').entries())
      rows.push(JSON.stringify(withRowIds ? [rowIds![selection?.[index] ?? index], ...row] : row));
  }
  snapshot.release();
  return rows;
}
