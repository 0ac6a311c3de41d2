/** A statement that is asked again with other values is not planned again, and never answered by a plan that is not its own. */
import { expect, test } from 'vitest';
import { open } from '../../src/open.ts';

type Answer = { readonly rows: unknown; readonly planned: number };

async function opened() {
  const db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id bigint PRIMARY KEY, a int, n numeric, s text)');
  await db.exec(
    "INSERT INTO t SELECT i, i % 10, i / 2.0, 's' || i FROM generate_series(1, 100) x(i)",
  );
  const ask = async (sql: string, params: unknown[]): Promise<Answer> => {
    const before = db.metrics.snapshot()['planCacheMisses']!;
    const rows = await db.query(sql, { params }).then(
      (result) => result.rows.map((row) => Object.values(row)),
      (cause: { readonly code: string }) => cause.code,
    );
    return { rows, planned: db.metrics.snapshot()['planCacheMisses']! - before };
  };
  return { db, ask };
}

const placed = (count: number): string =>
  Array.from({ length: count }, (_, at) => `$${at + 1}`).join(', ');

test('a thousand runs with other values are planned once', async () => {
  const { db, ask } = await opened();
  let planned = 0;
  for (let run = 0; run < 1000; run += 1) {
    const { rows, planned: more } = await ask(
      `SELECT count(*)::int FROM t WHERE a IN (${placed(5)}) AND id > $6`,
      [run % 10, (run + 1) % 10, null, 70, -1, run % 50],
    );
    planned += more;
    expect(rows).toHaveLength(1);
  }
  expect(planned).toBe(1);
  await db.close();
});

test('long statements are remembered where their values are parameters', async () => {
  const { db, ask } = await opened();
  const ids = Array.from({ length: 5000 }, (_, at) => at);
  const long = `SELECT count(*)::int FROM t WHERE id IN (${placed(5000)})`;
  expect(await ask(long, ids)).toEqual({ rows: [[100]], planned: 1 });
  expect(
    await ask(
      long,
      ids.map((id) => id + 51),
    ),
  ).toEqual({ rows: [[50]], planned: 0 });
  const literal = `SELECT count(*)::int FROM t WHERE id IN (${ids.join()})`;
  expect(await ask(literal, [])).toEqual({ rows: [[100]], planned: 1 });
  expect(await ask(literal, [])).toEqual({ rows: [[100]], planned: 1 });
  await db.exec('CREATE TABLE many (a int, b int)');
  const pairs = Array.from({ length: 3000 }, (_, at) => `($${2 * at + 1}, $${2 * at + 2})`).join();
  for (const planned of [1, 0, 0])
    expect(await ask(`INSERT INTO many VALUES ${pairs}`, [...ids, ...ids.slice(0, 1000)])).toEqual({
      rows: [],
      planned,
    });
  expect(await ask('SELECT count(*)::int FROM many', [])).toMatchObject({ rows: [[9000]] });
  // Others take their place: then they are planned again, and right.
  for (let other = 0; other < 30; other += 1)
    await ask(`SELECT ${other}, count(*) FROM t WHERE id IN (${placed(4000 + other)})`, [
      ...ids.slice(0, 4000),
      ...ids.slice(0, other),
    ]);
  expect(await ask(long, ids)).toEqual({ rows: [[100]], planned: 1 });
  await db.close();
});

test('the type of a parameter is that of the statement, whatever its value is', async () => {
  const { db, ask } = await opened();
  for (const [at, [value, rows]] of (
    [
      [1, [[10]]],
      [1.5, '22023'],
      ['1', [[10]]],
      [null, [[0]]],
      [2n, [[10]]],
      ['1.5', '22P02'],
    ] as const
  ).entries())
    expect(await ask('SELECT count(*)::int FROM t WHERE a IN ($1, 77)', [value])).toEqual({
      rows,
      planned: at === 0 ? 1 : 0,
    });
  for (const [value, rows] of [
    [1, [[1]]],
    [1.5, [[1]]],
    ['1.50', [[1]]],
    [null, [[0]]],
  ] as const)
    expect((await ask('SELECT count(*)::int FROM t WHERE n IN ($1, 77)', [value])).rows).toEqual(
      rows,
    );
  await db.close();
});

test('what has been altered, dropped or made anew is planned anew', async () => {
  const { db, ask } = await opened();
  const sql = 'SELECT count(*)::int FROM t WHERE a IN ($1, $2)';
  const answers = async (...values: unknown[]): Promise<unknown[]> => {
    const all: unknown[] = [];
    for (const value of values) all.push((await ask(sql, [value, 0])).rows);
    return all;
  };
  expect(await answers(1, 1.5)).toEqual([[[20]], '22023']);
  await db.exec('ALTER TABLE t ALTER COLUMN a TYPE numeric USING a / 2.0');
  expect(await answers(1, 1.5)).toEqual([[[20]], [[20]]]);
  await db.exec('ALTER TABLE t RENAME COLUMN a TO b');
  expect(await answers(1)).toEqual(['42703']);
  await db.exec('ALTER TABLE t ADD COLUMN a text DEFAULT 1');
  expect(await answers(1, '1', 2)).toEqual([[[100]], [[100]], [[0]]]);
  await db.exec('DROP TABLE t');
  expect(await answers(1)).toEqual(['42P01']);
  await db.exec('CREATE VIEW t AS SELECT 1.5 AS a');
  expect(await answers(1, 1.5)).toEqual([[[0]], [[1]]]);
  // In a transaction, its own; outside, what it was.
  const session = db.session();
  await session.exec('BEGIN; DROP VIEW t; CREATE TABLE t (a date)');
  const inside = await session.query(sql, { params: ['2026-01-01', '2026-01-01'] });
  expect(inside.rows).toEqual([{ count: 0 }]);
  await session.exec('ROLLBACK');
  expect(await answers(1, 1.5)).toEqual([[[0]], [[1]]]);
  await session.close();
  await db.close();
});
