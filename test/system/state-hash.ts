import { createHash } from 'node:crypto';
import type { Database } from '../../src/index.ts';

/** One hash of everything a user can see: the position, the catalog, and all rows of all tables and views in their order. */
export async function stateHash(db: Database): Promise<string> {
  const hash = createHash('sha256');
  const add = (value: unknown): void => void hash.update(JSON.stringify(value)).update('\n');
  add(db.position);
  // What a relation takes and has taken is not what is in it.
  for (const { bytes: _, upkeep: __, ...relation } of db.describe()) {
    add(relation);
    const name = `"${relation.name.replaceAll('"', '""')}"`;
    const { rows } = await db.query(`SELECT * FROM ${relation.schema}.${name}`, { format: 'text' });
    for (const row of rows) add(row);
  }
  return hash.digest('hex');
}
