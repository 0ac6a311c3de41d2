/** The kit that users test with: against the engine, against planted mistakes, and against their misuse. */
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { calendar } from '../../src/calendar/calendar.ts';
import { open } from '../../src/index.ts';
import type { Database } from '../../src/index.ts';
import {
  apply,
  calendars,
  changes,
  changeStream,
  DisagreementError,
  manualClock,
  model,
  queries,
  rows,
  schemas,
} from '../../src/testing.ts';

const small = { memory: '256 MB', workers: 0 } as const;
let warm: Database;
beforeAll(async () => {
  warm = await open(small);
  return () => warm.close();
});

test('whatever the schema, the changes and the question: the database answers as the model does, views too', async () => {
  await fc.assert(
    fc.asyncProperty(schemas(), fc.gen(), async (tables, g) => {
      await using db = await open({ ...small, clock: manualClock() });
      for (const { sql } of tables) await db.exec(sql);
      const names = tables.map(({ name }) => name);
      const view = g(() => queries(db, names, { forViews: true }));
      await db.exec(`CREATE MATERIALIZED VIEW v AS ${view}`);
      const stream = g(() => changeStream(db, names));
      const naive = model(db);
      for (const { table, change } of stream) {
        try {
          await apply(db, table, change);
        } catch (cause) {
          // A sum that is larger than its type: the change is undone, and the answers agree again.
          expect(cause).toMatchObject({ code: '22003' });
        }
        await naive.checkViews();
      }
      for (let asked = 0; asked < 3; asked += 1) await naive.check(g(() => queries(db, names)));
    }),
    { numRuns: 25 },
  );
});

test('a planted mistake is found, and shrunk to a change or two', async () => {
  await using db = await open(small);
  await db.exec('CREATE TABLE orders (id int PRIMARY KEY, region text, amount numeric(8, 2))');
  await db.exec(
    'CREATE MATERIALIZED VIEW sales AS SELECT region, sum(amount) AS s FROM orders GROUP BY region',
  );
  // A door that forgets to tell of what is deleted: deletes of the table do not arrive.
  const exec = db.exec.bind(db);
  db.exec = (statement, options) =>
    String(statement).startsWith('DELETE')
      ? exec('SELECT 1')
      : (exec(statement as string, options ?? {}) as ReturnType<Database['exec']>);
  const outcome = await fc.check(
    fc.asyncProperty(fc.array(changes(db, 'orders'), { maxLength: 6 }), async (given) => {
      await exec('TRUNCATE orders');
      const counts = new Map<string, number>();
      for (const change of given) {
        const { rows: before } = await db.query<{ n: number }>('SELECT count(*) AS n FROM orders');
        await apply(db, 'orders', change);
        const { rows: after } = await db.query<{ n: number }>('SELECT count(*) AS n FROM orders');
        counts.set(change.kind, after[0]!.n - before[0]!.n);
        if (change.kind === 'delete' && before[0]!.n > 0) expect(counts.get('delete')).toBe(-1);
      }
    }),
    { seed: 7, numRuns: 200 },
  );
  expect(outcome.failed).toBe(true);
  const [shrunk] = outcome.counterexample!;
  expect(shrunk.map(({ kind }) => kind)).toEqual(['insert', 'delete']);
  expect(shrunk[0]).toMatchObject({ kind: 'insert', rows: [{ id: 0 }] });
});

test('a view that has gone wrong is told of with the rows that differ', async () => {
  await using db = await open(small);
  await db.exec('CREATE TABLE orders (id int PRIMARY KEY, region text)');
  await db.exec(
    'CREATE MATERIALIZED VIEW v AS SELECT region, count(*) AS n FROM orders GROUP BY region',
  );
  await db.insert('orders', [
    { id: 1, region: 'EU' },
    { id: 2, region: 'US' },
  ]);
  const naive = model(db);
  await naive.checkViews();
  expect((await naive.query('SELECT region, n FROM v ORDER BY region')).rows).toEqual([
    ['EU', '1'],
    ['US', '1'],
  ]);
  const query = db.query.bind(db);
  db.query = (async (...given: Parameters<typeof query>) => {
    const result = await query(...given);
    return String(given[0]).includes('"v"') ? { ...result, rows: [['EU', '2']] } : result;
  }) as typeof db.query;
  await expect(naive.checkViews()).rejects.toThrow(DisagreementError);
  await expect(naive.checkViews()).rejects.toThrow(
    /missing \["EU","1"\]\n  missing \["US","1"\]\n  instead \["EU","2"\]/,
  );
});

test('rows fit their table: keys differ, NOT NULL is kept, lengths and scales too; columns may be told', async () => {
  const db = warm;
  await db.exec(`CREATE TABLE fits (a int, b varchar(3), c numeric(4, 1) NOT NULL, d timestamptz NOT NULL, e uuid, f bytea,
    g interval, h time, i real, j timestamp(3), k char(2), l boolean DEFAULT true, PRIMARY KEY (a, b))`);
  const level = fc.constantFrom(1, 2);
  await fc.assert(
    fc.asyncProperty(rows(db, 'fits', { columns: { c: level } }), async (given) => {
      const { position } = await db.insert('fits', given);
      expect(position).toBeGreaterThan(0);
      for (const row of given) expect([1, 2]).toContain(row['c']);
      await db.exec('TRUNCATE fits');
    }),
    { numRuns: 40 },
  );
  expect(() => rows(db, 'nothing')).toThrow(expect.objectContaining({ code: '42P01' }));
  expect(() => rows(db, 'fits', { columns: { z: level } })).toThrow(
    expect.objectContaining({ code: '42703' }),
  );
});

test('every calendar is one', () => {
  fc.assert(
    fc.property(calendars(), fc.integer({ min: 0, max: 2 ** 40 }), (spec, instant) => {
      const { startMs, endMs } = calendar(spec).window(instant, 'week');
      expect(startMs).toBeLessThanOrEqual(instant);
      expect(endMs).toBeGreaterThan(instant);
    }),
    { numRuns: 100 },
  );
});

test('time stands still until it is moved; what is due happens at its own instant and is over when advance resolves', async () => {
  const clock = manualClock('2026-03-08T00:00:00-05:00');
  await using db = await open({ ...small, clock });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, at timestamptz DEFAULT now())');
  await db.exec(
    "CREATE MATERIALIZED VIEW slow WITH (refresh = '10min') AS SELECT count(*) AS n FROM t",
  );
  await db.insert('t', [{ id: 1 }]);
  expect((await db.query('SELECT at FROM t')).rows).toEqual([{ at: '2026-03-08T05:00:00Z' }]);
  expect((await db.query('SELECT n FROM slow')).rows).toEqual([{ n: 0 }]);
  await clock.advance('9min');
  expect((await db.query('SELECT n FROM slow')).rows).toEqual([{ n: 0 }]);
  await clock.advance('1min');
  expect((await db.query('SELECT n FROM slow')).rows).toEqual([{ n: 1 }]);
  const instants: string[] = [];
  clock.after(90_000, () => instants.push(clock.iso));
  clock.after(30_000, () => instants.push(clock.iso));
  clock.after(60_000, () => instants.push(clock.iso)).cancel();
  await Promise.all([clock.advance('1 minute'), clock.advance(60_000)]);
  expect(instants).toEqual(['2026-03-08T05:10:30.000Z', '2026-03-08T05:11:30.000Z']);
  await clock.advanceTo('2026-03-09T00:00:00-04:00');
  expect(clock.iso).toBe('2026-03-09T04:00:00.000Z');
  await expect(clock.advanceTo('2026-03-08T00:00:00Z')).rejects.toMatchObject({
    field: 'instant',
  });
  for (const wrong of ['soon', '5 parsecs', '-1h', NaN])
    expect(() => clock.advance(wrong)).toThrow(expect.objectContaining({ field: 'duration' }));
  expect(() => manualClock('2026-03-08 00:00')).toThrow(expect.objectContaining({ code: '22007' }));
});

test('what the model does not know it refuses by name', async () => {
  const naive = model(warm);
  await expect(naive.query('SELECT row_number() OVER (ORDER BY 1)')).rejects.toMatchObject({
    code: '0A000',
  });
  await expect(naive.query('SELECT * FROM nowhere')).rejects.toMatchObject({ code: '42P01' });
});
