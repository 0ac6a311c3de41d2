import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Change } from '../../src/actors/api-types.ts';
import type { Database, WindowQuestionInput } from '../../src/actors/database.ts';
import type { Engine } from '../../src/actors/engine.ts';
import type { WindowQuery, WindowResultRow } from '../../src/actors/window-query.ts';
import { open } from '../../src/open.ts';
import { manualClock } from '../../src/testing/manual-clock.ts';

/** What a subscription has told, folded: rows as texts. */
function follow(db: Database, query: Partial<WindowQuery>) {
  const window = { table: 't', measures: MEASURES, ...query } as WindowQuestionInput;
  const subscription = db.subscribe({ window });
  const rows = new Map<string, WindowResultRow>();
  const kinds: string[] = [];
  const take = (change: Change<WindowResultRow>): void => {
    kinds.push(change.kind);
    if (change.kind === 'snapshot')
      for (const row of change.rows) rows.set(JSON.stringify(row), row);
    if (change.kind !== 'delta') return;
    for (const row of change.deleted) {
      if (!rows.delete(JSON.stringify(row)))
        throw new Error(`was never told: ${JSON.stringify(row)}`);
    }
    for (const row of change.inserted) rows.set(JSON.stringify(row), row);
  };
  let failure: unknown;
  const reading = (async () => {
    for await (const change of subscription) take(change);
  })().catch((cause: unknown) => (failure = cause));
  return { subscription, rows, kinds, reading, failure: () => failure };
}

const MEASURES = {
  n: 'count(*)',
  s: 'sum(x)',
  hi: 'max(x)',
  v: 'stddev(x)',
  d: 'count(DISTINCT x)',
  a: 'approx_count_distinct(x)',
};

/** How many windows each question to the tiles or the rows had. */
function askedBy(db: Database): number[] {
  const { tiles } = (db as unknown as { engine: Engine }).engine;
  const counts: number[] = [];
  const openTiles = tiles.openTiles.bind(tiles);
  tiles.openTiles = (plan, windows, environment) => {
    counts.push(windows.from.length);
    return openTiles(plan, windows, environment);
  };
  return counts;
}

const START = '2026-03-07T20:00:00Z';
const HOUR = 3_600_000;

test('a change is told by asking for the windows it lies in, be they a thousand', async () => {
  const clock = manualClock(START);
  await using db = await open({ workers: 0, clock });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, ts timestamptz, team text, x int)');
  const now = clock.now();
  await db.insert(
    't',
    Array.from({ length: 2000 }, (_, id) => ({
      id,
      ts: now - (id % 900) * HOUR,
      team: id % 2 === 0 ? 'a' : 'b',
      x: id,
    })),
  );
  const { rows, kinds, subscription } = follow(db, {
    lastComplete: '40 days',
    every: 'hour',
    by: ['team'],
  });
  await clock.advance('1s');
  const told = kinds.length;
  const counts = askedBy(db);
  await db.insert('t', [{ id: 5000, ts: now - 100 * HOUR, team: 'a', x: 1 }]);
  await clock.advance('2s');
  expect([...new Set(counts)]).toEqual([1]);
  await db.exec("UPDATE t SET x = x + 1, ts = ts - interval '3 hours' WHERE id = 5000");
  await clock.advance('2s');
  expect([...new Set(counts)]).toEqual([1, 2]);
  const asked = counts.length;
  // Of no window: nothing is read, nothing told.
  await db.insert('t', [{ id: 5001, ts: now - 100_000 * HOUR, team: 'a', x: 1 }]);
  await clock.advance('2s');
  expect(counts.length).toBe(asked);
  expect(kinds.slice(told)).toEqual(['delta', 'delta']);
  const { rows: whole } = await db.window('t', {
    lastComplete: '40 days',
    every: 'hour',
    by: ['team'],
    measures: MEASURES,
  });
  expect([...rows.values()].sort(inOrder)).toEqual(whole);
  await subscription.close();
});

test('a boundary is told by asking for the windows it moves', async () => {
  const clock = manualClock('2026-03-07T23:59:58Z');
  await using db = await open({ workers: 0, clock });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, ts timestamptz, team text, x int)');
  const now = clock.now();
  await db.insert(
    't',
    Array.from({ length: 100 }, (_, id) => ({ id, ts: now - id * 24 * HOUR, team: 'a', x: id })),
  );
  const query = { lastComplete: '30 days', every: 'day' } as const;
  const { rows, kinds, subscription } = follow(db, query);
  await clock.advance('1s');
  const counts = askedBy(db);
  await clock.advance('2s');
  // The day that is complete now is new, the first one has gone; the others were asked for yesterday.
  expect([...new Set(counts)]).toEqual([1]);
  expect(kinds).toEqual(['snapshot', 'delta']);
  const { rows: whole } = await db.window('t', { ...query, measures: MEASURES });
  expect([...rows.values()].sort(inOrder)).toEqual(whole);
  await subscription.close();
});

test('how often changes are told is what the policy of the table says of windows so long, now and when it is set anew', async () => {
  const clock = manualClock(START);
  await using db = await open({ workers: 0, clock });
  await db.exec(
    `CREATE TABLE t (id int PRIMARY KEY, ts timestamptz, team text, x int) WITH (refresh = 'minute 5s, hour 20s, week 2m')`,
  );
  const hours = follow(db, { current: 'day', every: 'hour' });
  const quarters = follow(db, { current: 'day', every: '15min' });
  const weeks = follow(db, { current: 'month', every: 'week' });
  await clock.advance('1s');
  let id = 0;
  const toldAfter = async (seconds: number): Promise<number[]> => {
    const before = [hours, quarters, weeks].map(({ kinds }) => kinds.length);
    id += 1;
    await db.insert('t', [{ id, ts: clock.now() - 60_000, team: 'a', x: id }]);
    await clock.advance(`${seconds}s`);
    return [hours, quarters, weeks].map(
      ({ kinds }, at) => kinds.slice(before[at]).filter((kind) => kind === 'delta').length,
    );
  };
  expect(await toldAfter(3)).toEqual([0, 0, 0]);
  expect(await toldAfter(4)).toEqual([0, 1, 0]);
  expect(await toldAfter(16)).toEqual([1, 1, 0]);
  expect(await toldAfter(100)).toEqual([1, 1, 1]);
  await db.exec(`ALTER TABLE t SET (refresh = 'minute 0ms')`);
  await toldAfter(130);
  expect(await toldAfter(1)).toEqual([1, 1, 1]);
  for (const { subscription } of [hours, quarters, weeks]) await subscription.close();
});

test('a row that is committed while the first answer is made is told', async () => {
  const clock = manualClock(START);
  await using db = await open({ workers: 0, clock });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, ts timestamptz, team text, x int)');
  const { rows, subscription } = follow(db, { current: 'day' });
  await db.insert('t', [{ id: 1, ts: clock.now(), team: 'a', x: 1 }]);
  await clock.advance('16s');
  expect([...rows.values()].map(({ values }) => values['n'])).toEqual([1]);
  await subscription.close();
});

test('what a policy keeps no more is told, though no row of what is read has changed', async () => {
  const clock = manualClock(START);
  await using db = await open({ workers: 0, clock });
  await db.exec(
    `CREATE TABLE t (id int PRIMARY KEY, ts timestamptz, team text, x int);
     CREATE MATERIALIZED VIEW big AS SELECT id, ts, x FROM t WHERE x > 10`,
  );
  const now = clock.now();
  await db.insert('t', [
    { id: 1, ts: now - 50 * HOUR, team: 'a', x: 1 },
    { id: 2, ts: now - HOUR, team: 'a', x: 20 },
  ]);
  const measures = { n: 'count(*)' };
  const week = { current: 'week', every: 'day', fill: 'zero', measures } as const;
  const lives = [
    { ...week, table: 't' },
    { ...week, table: 'big' },
    { table: 't', range: ['2026-02-01', '2026-04-01'] as const, measures },
  ].map((query) => ({ query, live: follow(db, query) }));
  const same = async (): Promise<WindowResultRow[][]> => {
    const told: WindowResultRow[][] = [];
    for (const { query, live } of lives) {
      const { table, ...rest } = query;
      const { rows } = await db.window(table, rest);
      expect([...live.rows.values()].sort(inOrder)).toEqual(rows);
      expect(live.failure()).toBeUndefined();
      told.push(rows);
    }
    return told;
  };
  const cut = (told: readonly WindowResultRow[][]): number[] =>
    told.map((rows) => rows.filter(({ partial }) => partial).length);
  await clock.advance('1min');
  expect(cut(await same())).toEqual([0, 0, 0]);
  await db.policies.set('t', { retention: 'raw 1d, day 2d', measures: ['x'] });
  await clock.advance('61min');
  // Of what is demoted a view has no rows, and the table's are still kept.
  expect(cut(await same())).toEqual([3, 4, 1]);
  await clock.advance('2d');
  const gone = await same();
  expect(gone.at(-1)![0]!.values).toMatchObject({ n: 1 });
  await db.policies.drop('t');
  await clock.advance('2min');
  expect((await same()).at(-1)![0]!.values).toMatchObject({ n: 1 });
  expect((await db.query('SELECT * FROM t')).rows).toEqual([]);
  await db.exec('TRUNCATE t');
  await clock.advance('2min');
  expect((await same()).at(-1)![0]!.values).toMatchObject({ n: 0 });
  for (const { live } of lives) await live.subscription.close();
});

const QUERIES: readonly Partial<WindowQuery>[] = [
  { current: 'day', every: 'hour', zone: 'America/New_York' },
  { current: 'week', every: 'day', by: ['team'], zone: 'Europe/Berlin' },
  { current: 'day', every: '3h', hop: 'hour', by: ['team'] },
  { lastComplete: '3 days', every: '6 hours', where: "team = 'a'" },
  { current: 'month', every: 'day', compare: 'previous' },
  { current: 'day', every: 'hour', fill: 'zero', zone: 'America/Havana' },
  { current: 'day', every: 'hour', fill: 'previous' },
  { current: 'day', every: 'hour', fill: 'zero', by: ['team'] },
  { current: 'week' },
  { current: 'week', by: ['team'] },
  { current: 'day', gap: '30min' },
  { range: ['2026-03-07', '2026-03-09'], every: 'hour' },
  { toDate: 'day', every: 'hour' },
  { last: '24h', every: 'hour', by: ['team'] },
  { last: '90min' },
  { last: '90min', every: '15min', now: 'watermark' },
  { toDate: 'day', now: 'watermark', zone: 'America/New_York' },
  { toDate: 'day', every: 'hour', now: '2026-03-07T22:30:00Z', by: ['team'] },
];

test('what is told, folded, is the answer to the question, whatever happens and whenever', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.oneof(
          fc.record({
            kind: fc.constant('insert' as const),
            minutes: fc.array(fc.integer({ min: -3000, max: 300 }), { minLength: 1, maxLength: 3 }),
            team: fc.constantFrom('a', 'b', null),
          }),
          fc.record({
            kind: fc.constant('update' as const),
            pick: fc.nat(),
            minutes: fc.integer({ min: -3000, max: 300 }),
          }),
          fc.record({ kind: fc.constant('delete' as const), pick: fc.nat() }),
          fc.record({
            kind: fc.constant('wait' as const),
            minutes: fc.constantFrom(0, 1, 20, 61, 300),
          }),
          fc.constant({ kind: 'alter' as const }),
        ),
        { minLength: 1, maxLength: 14 },
      ),
      async (steps) => {
        // Within an hour: the row at the end shows where those that move with time end, whenever within a second they are asked.
        const clock = manualClock(Date.parse(START) + 30_000);
        await using db = await open({ workers: 0, clock });
        await db.exec('CREATE TABLE t (id int PRIMARY KEY, ts timestamptz, team text, x int)');
        const followed = QUERIES.map((query) => follow(db, query));
        const ids: number[] = [];
        let [next, columns] = [0, 0];
        for (const step of steps) {
          if (step.kind === 'insert') {
            const rows = step.minutes.map((minutes) => {
              next += 1;
              ids.push(next);
              return { id: next, ts: clock.now() + minutes * 60_000, team: step.team, x: next };
            });
            await db.insert('t', rows);
          } else if (step.kind === 'wait') await clock.advance(step.minutes * 60_000 + 1);
          else if (step.kind === 'alter') {
            columns += 1;
            await db.exec(`ALTER TABLE t ADD COLUMN c${columns} int`);
          } else if (ids.length > 0) {
            const id = ids[step.pick % ids.length]!;
            if (step.kind === 'delete') {
              await db.delete('t', { id });
              ids.splice(ids.indexOf(id), 1);
            } else {
              const ts = new Date(clock.now() + step.minutes * 60_000).toISOString();
              await db.exec(`UPDATE t SET ts = '${ts}', x = x + 1 WHERE id = ${id}`);
            }
          }
        }
        // A row of the instant before this one, so that those that move with time have a row where they end.
        await db.insert('t', [{ id: 0, ts: clock.now() - 1, team: 'a', x: 0 }]);
        await clock.advance('61s');
        for (const [index, { rows, failure }] of followed.entries()) {
          expect(failure()).toBeUndefined();
          const query = QUERIES[index]!;
          const told = [...rows.values()].sort(inOrder);
          const moves = query.last !== undefined || query.toDate !== undefined;
          const now = moves ? Math.max(...told.map(({ endMs }) => endMs)) : clock.now();
          const { rows: whole } = await db.window('t', {
            now,
            ...query,
            measures: MEASURES,
          } as WindowQuery);
          expect({ query, told }).toEqual({ query, told: [...whole].sort(inOrder) });
        }
        for (const { subscription, reading } of followed) {
          await subscription.close();
          await reading;
        }
      },
    ),
    { numRuns: 6 },
  );
});

function inOrder(a: WindowResultRow, b: WindowResultRow): number {
  return a.startMs - b.startMs || a.endMs - b.endMs || teamOf(a) - teamOf(b);
}

/** NULLs last, as in an answer. */
function teamOf({ by }: WindowResultRow): number {
  return ['a', 'b', null].indexOf((by['team'] ?? null) as string | null);
}
