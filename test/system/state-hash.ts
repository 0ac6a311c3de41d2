import { createHash } from 'node:crypto';
import type { Database } from '../../src/index.ts';

/**
 * One hash of everything a user can see: the position, the catalog, and all rows of all tables and views in their order. `views` as bags:
 * one that was made anew has given out its row ids in another order.
 */
export async function stateHash(
  db: Database,
  views: 'in order' | 'as bags' = 'in order',
): Promise<string> {
  const hash = createHash('sha256');
  const add = (value: unknown): void => void hash.update(JSON.stringify(value)).update('\n');
  add(db.position);
  // What a relation takes and has taken is not what is in it.
  for (const { bytes: _, upkeep: __, ...relation } of db.describe()) {
    add(relation);
    const name = `"${relation.name.replaceAll('"', '""')}"`;
    const { rows } = await db.query(`SELECT * FROM ${relation.schema}.${name}`, { format: 'text' });
    const isBag = views === 'as bags' && relation.kind !== 'table';
    const texts = rows.map((row) => JSON.stringify(row));
    for (const row of isBag ? texts.sort() : texts) add(row);
  }
  return hash.digest('hex');
}
