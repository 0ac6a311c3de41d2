import { expect, test } from 'vitest';
import { open } from '../../src/index.ts';
import { untilSealed } from './until-sealed.ts';

const SEGMENT = 65_536;
const ROWS = 2 * SEGMENT;
const RUNS = 240;

/**
 * What only the place of rows decides: where blocks of rows are drawn, or a beginning is, its spread over the seeds is a hundred times that
 * of a simple random sample. The same share of each segment gives a smaller one where it grows from segment to segment.
 */
test('places of drawn rows spread over seeds as those of a simple random sample do, and are right in the mean', async () => {
  const db = await open({ workers: 0, memory: '256 MB' });
  await db.exec('CREATE TABLE t (id int NOT NULL)');
  await db.insert('t', { id: Int32Array.from({ length: ROWS }, (_, id) => id) });
  await untilSealed(db, 't');
  const probes = {
    // Of each: what is asked, its mean, and the deviation of one row.
    mean: ['avg(id)', (ROWS - 1) / 2, ROWS / Math.sqrt(12)],
    within: [`avg(id % ${SEGMENT})`, (SEGMENT - 1) / 2, SEGMENT / Math.sqrt(12)],
    first: [`count(*) FILTER (WHERE id < ${ROWS / 10})`, Math.ceil(ROWS / 10), ROWS * 0.3],
    day: [`count(*) FILTER (WHERE id / 1000 % 7 = 3)`, 0, ROWS * Math.sqrt((1 / 7) * (6 / 7))],
  } as const;
  const { rows: truths } = await db.query<{ day: number }>(`SELECT ${probes.day[0]} AS day FROM t`);
  const sql = `SELECT ${Object.entries(probes)
    .map(([name, [expression]]) => `${expression} AS ${name}`)
    .join(', ')} FROM t`;
  const seen: Record<string, number[]> = { mean: [], within: [], first: [], day: [] };
  let drawn = 0;
  for (let seed = 0; seed < RUNS; seed += 1) {
    const answer = db.progressive(sql, { seed, stop: { rows: 1 } });
    const { rows, rowsSeen } = await answer.result();
    drawn = rowsSeen;
    for (const [name, { estimate }] of Object.entries(
      rows[0] as Record<string, { readonly estimate: number }>,
    ))
      seen[name]!.push(estimate);
    await answer.cancel();
  }
  await db.close();
  expect(drawn).toBe(256);
  for (const [name, [, mean, deviation]] of Object.entries(probes)) {
    const estimates = seen[name]!;
    const truth = name === 'day' ? truths[0]!.day : mean;
    const found = estimates.reduce((sum, each) => sum + each, 0) / RUNS;
    const variance = estimates.reduce((sum, each) => sum + (each - found) ** 2, 0) / (RUNS - 1);
    const simple = ((deviation * deviation) / drawn) * (1 - drawn / ROWS);
    expect(Math.abs(found - truth) / Math.sqrt(simple / RUNS), name).toBeLessThan(4.5);
    expect(variance / simple, name).toBeGreaterThan(0.1);
    expect(variance / simple, name).toBeLessThan(1.6);
  }
});
