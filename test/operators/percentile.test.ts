import { expect, test } from 'vitest';
import { open } from '../../src/index.ts';

test('a percentile may be another one in each group, and NULL', async () => {
  const db = await open({ workers: 0 });
  const { rows } = await db.query(
    `SELECT p, percentile_cont(p) WITHIN GROUP (ORDER BY x::float8) AS c
     FROM generate_series(1, 5) x, (VALUES (0::float8), (0.1), (0.5), (1), (NULL)) v(p) GROUP BY p ORDER BY p`,
  );
  expect(rows).toEqual([
    { p: 0, c: 1 },
    { p: 0.1, c: 1.4 },
    { p: 0.5, c: 3 },
    { p: 1, c: 5 },
    { p: null, c: null },
  ]);
  await db.close();
});
