import fc from 'fast-check';
import { expect, test } from 'vitest';
import { open } from '../../src/index.ts';
import { bucketOf, bucketValue } from '../../src/operators/aggregates/sketches.ts';

test('a bucket shows a value at most 1/128 away from any it holds, and buckets ascend with values', () => {
  fc.assert(
    fc.property(fc.double(), fc.double(), (a, b) => {
      const shown = bucketValue(bucketOf(a));
      if (Number.isNaN(a) || !Number.isFinite(a)) expect(shown).toBe(a);
      else if (Math.abs(a) >= 2 ** -1016)
        expect(Math.abs(shown - a)).toBeLessThanOrEqual(Math.abs(a) / 128);
      if (a < b) expect(bucketOf(a)).toBeLessThanOrEqual(bucketOf(b));
    }),
  );
});

test('approx_percentile and approx_count_distinct are the same in a query and in a view from which rows have left', async () => {
  const db = await open({ workers: 0 });
  try {
    await db.exec(
      `CREATE TABLE t (id int PRIMARY KEY, team text, x double precision, customer int)`,
    );
    await db.exec(
      `CREATE MATERIALIZED VIEW v AS SELECT team, approx_percentile(x, 0.9) AS p, approx_count_distinct(customer) AS d FROM t GROUP BY team`,
    );
    await db.insert(
      't',
      Array.from({ length: 3000 }, (_, id) => ({
        id,
        team: ['red', 'blue', null][id % 3]!,
        x: id % 50 === 0 ? null : (id * 7919) % 1009,
        customer: (id * 31) % 700,
      })),
    );
    await db.exec(`DELETE FROM t WHERE id % 4 = 0`);
    await db.exec(`UPDATE t SET x = -x WHERE id % 5 = 0`);
    const query = await db.query<{ team: string; p: number; d: number }>(
      `SELECT team, approx_percentile(x, 0.9) AS p, approx_count_distinct(customer) AS d FROM t GROUP BY team ORDER BY team`,
    );
    const view = await db.query(`SELECT team, p, d FROM v ORDER BY team`);
    expect(view.rows).toEqual(query.rows);
    const exact = await db.query<{ p: number; d: number }>(
      `SELECT percentile_disc(0.9) WITHIN GROUP (ORDER BY x) AS p, count(DISTINCT customer) AS d FROM t GROUP BY team ORDER BY team`,
    );
    for (const [at, { p, d }] of exact.rows.entries()) {
      expect(Math.abs(query.rows[at]!.p - p)).toBeLessThanOrEqual(Math.abs(p) / 64);
      expect(Math.abs(query.rows[at]!.d - d)).toBeLessThanOrEqual(d * 0.08);
    }
    expect(
      (await db.query(`SELECT approx_percentile(x, 0.5) AS p FROM t WHERE false`)).rows,
    ).toEqual([{ p: null }]);
    await expect(db.query(`SELECT approx_percentile(x, 1.5) FROM t`)).rejects.toMatchObject({
      code: '22003',
    });
    await expect(
      db.query(`SELECT approx_percentile(x, x / 2000) FROM t WHERE x > 0`),
    ).rejects.toMatchObject({ code: '22023' });
  } finally {
    await db.close();
  }
});
