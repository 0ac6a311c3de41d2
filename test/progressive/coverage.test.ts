import { expect, test } from 'vitest';
import { open } from '../../src/index.ts';

/**
 * A small version of `npm run coverage`: with 120 runs a cell, a sound 5 % gives 17 misses or more with a chance of 1e-4; intervals of the
 * central limit theorem miss in 60 to 99 of 100 runs.
 */
const RUNS = 120;
const MISSES_MAX = 16;
const ROWS = 140_000;

const POPULATIONS: Readonly<Record<string, (random: () => number, row: number) => number>> = {
  lognormal: (random) =>
    Math.exp(Math.sqrt(-2 * Math.log(random() + 1e-12)) * Math.cos(2 * Math.PI * random())),
  pareto: (random) => (random() + 1e-9) ** (-1 / 1.1),
  trend: (random, row) => row / ROWS + 0.1 * random(),
};

for (const [name, draw] of Object.entries(POPULATIONS))
  test(`intervals over ${name} values hold at every look in 19 of 20 runs`, async () => {
    let state = 99;
    const random = (): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
      return state / 0x8000_0000;
    };
    const db = await open({ workers: 0 });
    await db.exec('CREATE TABLE t (x double precision, f boolean)');
    const x = Float64Array.from({ length: ROWS }, (_, row) => draw(random, row));
    await db.insert('t', { x, f: Array.from({ length: ROWS }, () => random() < 0.02) });
    const sql =
      'SELECT count(*) FILTER (WHERE f) AS n, sum(x) AS s, avg(x) FILTER (WHERE f) AS a FROM t';
    const truth = (await db.query<Record<string, number>>(sql)).rows[0]!;
    const missed: Record<string, number> = { n: 0, s: 0, a: 0 };
    for (let run = 0; run < RUNS; run += 1) {
      const missedHere = new Set<string>();
      for await (const { rows, fraction } of db.progressive(sql, { seed: 1000 + run })) {
        for (const row of rows as unknown as readonly Record<
          string,
          { lower: number | null; upper: number | null }
        >[])
          for (const [cell, { lower, upper }] of Object.entries(row))
            if ((lower ?? -Infinity) > truth[cell]! || (upper ?? Infinity) < truth[cell]!)
              missedHere.add(cell);
        if (fraction > 0.15) break;
      }
      for (const cell of missedHere) missed[cell]! += 1;
    }
    await db.close();
    for (const count of Object.values(missed)) expect(count).toBeLessThanOrEqual(MISSES_MAX);
  });
