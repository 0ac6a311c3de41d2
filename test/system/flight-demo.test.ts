import { expect, test } from 'vitest';
import { nodePorts } from '../../src/base/node-ports.ts';
import { startFlightDemo } from '../../src/flight-demo.ts';
import { open } from '../../src/open.ts';

test('the demo loads its past through the views and then replays', async () => {
  const db = await open({ memory: '1 GB' });
  const said: string[] = [];
  const demo = await startFlightDemo(db, nodePorts().clock, {
    flightCountMax: 40_000,
    say: (line) => said.push(line),
  });
  demo.setSpeed(86_400);
  // It has ended only when it broke: then what it said is why.
  while (demo.state().phase === 'loading' || demo.state().held > 700_000) {
    expect(demo.state().phase, said.at(-1)!).not.toBe('ended');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  demo.stop();
  expect(said.length).toBe(2);
  const { rows } = await db.query(
    `SELECT (SELECT count(*) FROM flights) AS table_rows, (SELECT flights FROM totals) AS totals,
       (SELECT sum(flights) FROM flights_by_hour)::int AS hours, (SELECT sum(flights) FROM flights_by_day)::int AS days,
       (SELECT sum(flights) FROM flights_by_origin)::int AS origins, (SELECT sum(flights) FROM delay_histogram)::int AS delays`,
  );
  const [{ table_rows: count, ...views }] = rows as [Record<string, number>];
  expect(count).toBeGreaterThan(40_000);
  expect(new Set(Object.values(views))).toEqual(new Set([count]));
  await db.close();
});
