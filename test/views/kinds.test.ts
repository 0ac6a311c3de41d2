import fc from 'fast-check';
import { expect, test } from 'vitest';
import { open } from '../../src/open.ts';

/** What a view may be, beyond filters, inner joins and groups; each is compared with its own text, recomputed. */
const VIEWS: Readonly<Record<string, string>> = {
  semi: 'SELECT * FROM a WHERE k IN (SELECT k FROM b)',
  semi_residual: 'SELECT * FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.k = a.k AND b.w > a.v)',
  anti: 'SELECT * FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.k = a.k)',
  anti_residual: 'SELECT * FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.k = a.k AND b.w < a.v)',
  anti_nulls: 'SELECT v FROM a WHERE k NOT IN (SELECT k FROM b)',
  outer_left: 'SELECT a.k, a.v, b.w FROM a LEFT JOIN b ON a.k = b.k',
  outer_left_residual: 'SELECT a.k, a.v, b.w FROM a LEFT JOIN b ON a.k = b.k AND b.w > a.v',
  outer_right: 'SELECT a.v, b.k, b.w FROM a RIGHT JOIN b ON a.k = b.k',
  outer_full: 'SELECT a.k, a.v, b.k AS bk, b.w FROM a FULL JOIN b ON a.k = b.k AND b.w <> a.v',
  outer_without_keys: 'SELECT a.k, b.w FROM a LEFT JOIN b ON a.v < b.w',
  left_grouped:
    'SELECT a.k, count(*) AS n, count(b.w) AS m, sum(b.w) AS s FROM a LEFT JOIN b ON a.k = b.k GROUP BY a.k',
  common: 'SELECT k FROM a INTERSECT SELECT k FROM b',
  common_all: 'SELECT k FROM a INTERSECT ALL SELECT k FROM b',
  less: 'SELECT k FROM a EXCEPT SELECT k FROM b',
  less_all: 'SELECT k FROM a EXCEPT ALL SELECT k FROM b',
  named:
    'WITH x AS (SELECT k, sum(v) AS s FROM a GROUP BY k) SELECT x.k, y.s FROM x JOIN x y ON x.s = y.s',
  on_a_view: 'SELECT bk, count(*) AS n FROM outer_full WHERE k IS NULL GROUP BY bk',
};

const small = fc.option(fc.integer({ min: 0, max: 3 }), { nil: 'NULL', freq: 4 });
const change = fc.oneof(
  fc.tuple(small, small).map(([k, v]) => `INSERT INTO a VALUES (${k}, ${v})`),
  fc.tuple(small, small).map(([k, w]) => `INSERT INTO b VALUES (${k}, ${w}), (${w}, ${k})`),
  fc.tuple(small, small).map(([k, v]) => `UPDATE a SET v = ${v} WHERE k = ${k}`),
  fc.tuple(small, small).map(([k, w]) => `UPDATE b SET k = ${k} WHERE w = ${w}`),
  small.map((k) => `DELETE FROM a WHERE k = ${k}`),
  small.map((k) => `DELETE FROM b WHERE k IS NOT DISTINCT FROM ${k}`),
);
const transactions = fc.array(
  fc.record({ changes: fc.array(change, { minLength: 1, maxLength: 3 }), undone: fc.boolean() }),
  { minLength: 2, maxLength: 6 },
);

test('joins of every kind, set operations and WITH stay equal to their query', async () => {
  await fc.assert(
    fc.asyncProperty(transactions, async (steps) => {
      const db = await open();
      try {
        await db.exec('CREATE TABLE a (k int, v int); CREATE TABLE b (k int, w int)');
        await db.exec(
          'INSERT INTO a VALUES (1, 1), (1, 1), (NULL, 2); INSERT INTO b VALUES (1, 2)',
        );
        for (const [name, text] of Object.entries(VIEWS))
          await db.exec(`CREATE MATERIALIZED VIEW ${name} AS ${text}`);
        for (const { changes, undone } of steps) {
          await db.exec(`BEGIN; ${changes.join('; ')}; ${undone ? 'ROLLBACK' : 'COMMIT'}`);
          for (const [name, text] of Object.entries(VIEWS))
            expect(await rows(db, `SELECT * FROM ${name}`), name).toEqual(await rows(db, text));
        }
      } finally {
        await db.close();
      }
    }),
    { numRuns: 12 },
  );
}, 60_000);

async function rows(db: Awaited<ReturnType<typeof open>>, sql: string): Promise<string[]> {
  const result = await db.query(sql, { format: 'text' });
  return (result.rows as unknown as unknown[][]).map((row) => JSON.stringify(row)).toSorted();
}

test('equal numbers that look different stay apart where a row is kept, and are one in a set operation', async () => {
  const db = await open();
  await db.exec(`CREATE TABLE n (x numeric); CREATE TABLE m (x numeric);
    CREATE MATERIALIZED VIEW alone AS SELECT x FROM n WHERE NOT EXISTS (SELECT 1 FROM m WHERE m.x = n.x);
    CREATE MATERIALIZED VIEW rest AS SELECT x FROM n EXCEPT SELECT x FROM m;
    INSERT INTO n VALUES (1.0), (1.00), (2.0); INSERT INTO m VALUES (2)`);
  expect(await rows(db, 'SELECT * FROM alone')).toEqual(['["1.0"]', '["1.00"]']);
  expect((await rows(db, 'SELECT * FROM rest')).length).toBe(1);
  await db.exec('DELETE FROM m');
  expect((await rows(db, 'SELECT * FROM alone')).length).toBe(3);
  await db.close();
});

test('set operations show the same of equal values, kept or asked', async () => {
  // The query showed what came first on the left, the view what stands for both sides.
  await using db = await open();
  await db.exec(
    'CREATE TABLE a (id int PRIMARY KEY, n numeric, f float8); CREATE TABLE b (id int PRIMARY KEY, n numeric, f float8)',
  );
  const queries = ['INTERSECT', 'INTERSECT ALL', 'EXCEPT', 'EXCEPT ALL', 'UNION'].flatMap(
    (operation) => [
      `SELECT n FROM a ${operation} SELECT n FROM b`,
      `SELECT f FROM a ${operation} SELECT f FROM b`,
    ],
  );
  for (const [index, query] of queries.entries())
    await db.exec(`CREATE MATERIALIZED VIEW v${index} AS ${query}`);
  const look = async (text: string): Promise<unknown[]> =>
    (await db.query(text, { format: 'text' })).rows.map(([value]) => value).sort();
  const numbers = ['0', '0.00', '1.0', '1', '1.000', '-0.0', 'NaN'];
  for (let step = 0; step < 40; step += 1) {
    const table = step % 3 === 0 ? 'b' : 'a';
    const id = (step * 7) % 5;
    if (step % 4 === 3) await db.delete(table, { id });
    else
      await db.upsert(table, {
        id,
        n: numbers[(step * 5) % 7],
        f: ['0', '-0', '1', 'NaN'][(step * 3) % 4],
      });
    for (const [index, query] of queries.entries())
      expect([query, await look(`SELECT * FROM v${index}`)]).toEqual([query, await look(query)]);
  }
  await db.exec(
    "TRUNCATE a, b; INSERT INTO a VALUES (1, 1.0, '-0'); INSERT INTO b VALUES (1, 1.00, 0)",
  );
  expect([await look(queries[0]!), await look(queries[1]!)]).toEqual([['1.00'], ['0']]);
});
