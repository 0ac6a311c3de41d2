import type { Engine } from '../../src/actors/engine.ts';
import type { TableData } from '../../src/columns/table-contract.ts';
import type { Database } from '../../src/index.ts';

/** Full segments are sealed in the background; only sealed ones are sampled. */
export async function untilSealed(db: Database, table: string): Promise<void> {
  const data = dataOf(db, table);
  while (data.needsUpkeep) await aWhile();
}

/** All is sealed and compacted that should be. */
export async function untilTidy(db: Database, table: string): Promise<void> {
  const data = dataOf(db, table);
  while (data.needsUpkeep || data.segmentsToCompact().length > 0) await aWhile();
}

export function dataOf(db: Database, name: string): TableData {
  const { engine } = db as unknown as { readonly engine: Engine };
  const entry = engine.state.catalog.byName({ tenant: 'main', schema: 'public', name });
  if (entry?.kind !== 'table') throw new Error(`there is no table "${name}"`);
  return entry.data;
}

function aWhile(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}
