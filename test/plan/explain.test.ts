import { expect, test } from 'vitest';
import { open } from '../../src/open.ts';

async function opened() {
  const db = await open({ workers: 0 });
  await db.exec(`CREATE TABLE t (id int PRIMARY KEY, g int, h int, s text);
    CREATE UNIQUE INDEX pairs ON t (g, h);
    INSERT INTO t SELECT n, n % 10, n, E'a\\n"' || n FROM generate_series(1, 10000) s(n)`);
  return db;
}

test('EXPLAIN (ANALYZE, FORMAT JSON) is one JSON document', async () => {
  await using db = await opened();
  for (const [sql, parts, rows] of [
    ["SELECT g, count(*) FROM t WHERE s <> E'x\\n\"y\\\\' GROUP BY g", 1, 10],
    ['UPDATE t SET h = h WHERE id IN (1, 2)', 1, 2],
    ['DELETE FROM t WHERE id = -1 RETURNING (SELECT max(id) FROM t)', 2, 0],
    ['WITH x AS (UPDATE t SET h = h WHERE id < 4 RETURNING id) SELECT * FROM x', 2, 3],
    [
      'UPDATE t SET s = s WHERE id = (SELECT id FROM t ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)',
      1,
      1,
    ],
  ] as const) {
    for (const analyze of ['', 'ANALYZE, ']) {
      const answer = await db.query(`EXPLAIN (${analyze}FORMAT JSON) ${sql}`);
      expect(answer.rows).toHaveLength(1);
      const plans = JSON.parse(answer.rows[0]!['QUERY PLAN'] as string) as Record<
        string,
        unknown
      >[];
      expect(plans).toHaveLength(parts);
      expect(JSON.stringify(plans)).not.toContain('\\u0001');
      for (const plan of plans) expect(plan).toHaveProperty('Plan');
      if (analyze === '') expect(plans.at(-1)).toEqual({ Plan: expect.anything() });
      else
        expect(plans.at(-1)).toMatchObject({
          Work: expect.any(Number),
          Rows: rows,
          'Execution Time': expect.any(Number),
        });
    }
  }
});

test('of a unique key a scan gives one row for each value that is listed at most', async () => {
  await using db = await opened();
  const rowsOf = async (condition: string): Promise<number> => {
    const { rows } = await db.query(`EXPLAIN (FORMAT JSON) SELECT s FROM t WHERE ${condition}`);
    const [{ Plan: plan }] = JSON.parse(rows[0]!['QUERY PLAN'] as string);
    return plan['Plan Rows'] as number;
  };
  const estimates = {
    'id = 5': 1,
    '5 = id AND s <> id::text': 1,
    'id = 5::bigint': 1,
    'id IN (1, 2, 3)': 3,
    'id = ANY (ARRAY[1, 2])': 2,
    "id = 1 + (now() - now() < interval '1 s')::int": 1,
    'g = 1 AND h IN (4, 5)': 2,
    'g IN (1, 2, 3) AND h IN (4, 5)': 6,
    '(g, h) IN ((1, 1), (2, 2), (3, 3))': 3,
    "(s, g, h) IN (('x', 1, 1), ('y', 2, 2))": 2,
    // These are no keys, or not the same for all rows.
    'g = 1': 500,
    'id = g': 500,
    'id = floor(random())::int': 500,
    'id NOT IN (1, 2)': 9000,
    'id > 5': 3300,
  };
  const told: Record<string, number> = {};
  for (const condition of Object.keys(estimates)) told[condition] = await rowsOf(condition);
  expect(told).toEqual(estimates);
});
