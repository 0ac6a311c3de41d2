import fc from 'fast-check';
import { expect, test } from 'vitest';
import { open, type Change } from '../../src/index.ts';

/** What is left of the rows of a relation when all changes are applied, as texts with their counts. */
function folded(changes: readonly Change[]): Map<string, number> {
  const rows = new Map<string, number>();
  const add = (row: unknown, copies: number): void => {
    const key = JSON.stringify(row);
    const count = (rows.get(key) ?? 0) + copies;
    if (count === 0) rows.delete(key);
    else rows.set(key, count);
  };
  for (const change of changes) {
    // Who was too slow for so short a history begins anew.
    if (change.kind === 'reset') rows.clear();
    if (change.kind === 'snapshot') for (const row of change.rows) add(row, 1);
    if (change.kind !== 'delta') continue;
    for (const row of change.deleted) add(row, -1);
    for (const row of change.inserted) add(row, 1);
  }
  return rows;
}

/** What a subscriber hears up to a position, not looked at. */
async function heard(changes: AsyncIterator<Change>, position: number): Promise<Change[]> {
  const all: Change[] = [];
  for (;;) {
    const { value, done } = await changes.next();
    if (done === true) return all;
    all.push(value as Change);
    const isWhole = value.kind !== 'reset' && (value.kind !== 'snapshot' || value.more === false);
    if (isWhole && value.position >= position) return all;
  }
}

test('rows of a change are the same whenever somebody looks at them', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.tuple(fc.nat(40), fc.nat(30), fc.boolean()), { maxLength: 120 }), {
        minLength: 4,
        maxLength: 40,
      }),
      async (commits) => {
        // History ends at once: chunks of old rows are given back while nobody has looked.
        const db = await open({ workers: 0, history: 0 });
        await db.exec(`CREATE TABLE t (id int PRIMARY KEY, g text, v float8, paid boolean, due numeric(9,2));
          CREATE MATERIALIZED VIEW s AS SELECT g, count(*) AS n, sum(v) AS v, max(due) AS due, bool_or(paid) AS paid FROM t GROUP BY g`);
        const readers = ['t', 's'].map((name) =>
          db.subscribe(name, { from: 'snapshot' })[Symbol.asyncIterator](),
        );
        const told: Change[][] = [[], []];
        for (const commit of commits) {
          const rows = new Map(
            commit.map(([id, v, paid]) => [
              id,
              {
                id,
                g: id % 3 === 0 ? null : `group ${v % 12}`,
                v: v === 7 ? null : v / 4,
                paid,
                due: v === 9 ? null : `${v}.50`,
              },
            ]),
          );
          if (rows.size === 0) continue;
          const { position } =
            rows.size % 5 === 4
              ? await db.delete('t', { id: [...rows.keys()] })
              : await db.upsert('t', [...rows.values()]);
          await db.upsert('t', { id: 1_000, g: 'all', v: position });
          for (const [index, reader] of readers.entries())
            told[index]!.push(...(await heard(reader, db.position)));
        }
        const wanted = await Promise.all(
          ['t', 's'].map(async (name) => (await db.query(`SELECT * FROM ${name}`)).rows),
        );
        for (const reader of readers) await reader.return!();
        await db.exec('DROP MATERIALIZED VIEW s; DROP TABLE t');
        await db.close();
        for (const [index, rows] of wanted.entries()) {
          const copies = new Map(rows.map((row) => [JSON.stringify(row), 1]));
          expect(folded(told[index]!)).toEqual(copies);
        }
      },
    ),
    { numRuns: 15 },
  );
});

test('a change is copied, compared and written out with its rows', async () => {
  const db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
  const reader = db.subscribe('t', { from: 'now' })[Symbol.asyncIterator]();
  const next = reader.next();
  const rows = Array.from({ length: 12 }, (_, id) => ({ id }));
  const { position } = await db.insert('t', rows);
  const change = (await next).value as Change;
  const plain = { kind: 'delta', from: position - 1, position, inserted: rows, deleted: [] };
  expect({ ...change }).toEqual(plain);
  expect(JSON.parse(JSON.stringify(change))).toEqual(plain);
  expect(structuredClone(change)).toEqual(plain);
  expect(change).toStrictEqual(plain);
  if (change.kind === 'delta') expect(change.inserted).toBe(change.inserted);
  await reader.return!();
  await db.close();
});
