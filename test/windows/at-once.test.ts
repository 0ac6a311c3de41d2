import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Database } from '../../src/actors/database.ts';
import type { Engine } from '../../src/actors/engine.ts';
import type { WindowMeta, WindowQuery, WindowResult } from '../../src/actors/window-query.ts';
import { DbError } from '../../src/base/errors.ts';
import { tenantId } from '../../src/base/units.ts';
import { sql } from '../../src/actors/sql-tag.ts';
import { open } from '../../src/open.ts';
import { DEFAULT_TENANT_SETTINGS } from '../../src/tenancy/tenant-settings.ts';
import { HandClock } from '../actors/hand-clock.ts';

const engineOf = (db: Database): Engine => (db as unknown as { engine: Engine }).engine;
const spawned = (db: Database): number => engineOf(db).dispatcher.count('spawned');

const DAY_MS = 86_400_000;
const START_MS = Date.UTC(2026, 9, 29);
const NOW = '2026-11-05T12:34:56.789Z';

/** A clock that stands still, so that a turn never ends. */
async function orders(clock = new HandClock()): Promise<Database> {
  const db = await open({ workers: 0, clock });
  await db.exec(
    `CREATE TABLE orders (id int PRIMARY KEY, ts timestamptz, region text, amount numeric(12,2), price float8) WITH (time = 'ts')`,
  );
  return db;
}

/** Without what tells one run from another. */
type Told =
  | { readonly rows: unknown; readonly meta: Partial<WindowMeta> }
  | { readonly error: unknown };

async function told(action: Promise<WindowResult>): Promise<Told> {
  try {
    const { rows, meta } = await action;
    const { queryId: _, elapsedMs: __, queuedMs: ___, ...rest } = meta;
    return { rows, meta: rest };
  } catch (cause) {
    if (!(cause instanceof DbError)) throw cause;
    const { code, message, field, hint, limit } = cause;
    return { error: { code, message, field, hint, limit } };
  }
}

/** Who says how much it may cost is answered by an actor. */
const BY_ACTOR = { maxWork: 1e12 };

const query: fc.Arbitrary<WindowQuery> = fc
  .record({
    when: fc.oneof(
      fc.constantFrom<Partial<WindowQuery>>(
        { last: '24h' },
        { last: '7d' },
        { lastComplete: '7 days' },
        { toDate: 'month' },
        { current: 'week' },
        { previous: 'day' },
        { text: 'now-3d/d to now/d' },
        { range: ['2026-11-01', '2026-11-03'] },
        { range: ['2026-11-03', '2026-11-01'] },
        { last: '5 bananas' },
      ),
      fc.tuple(fc.nat(7 * DAY_MS), fc.nat(7 * DAY_MS)).map(([a, b]) => ({
        range: [START_MS + Math.min(a, b), START_MS + Math.max(a, b)] as const,
      })),
    ),
    cut: fc.constantFrom<Partial<WindowQuery>>(
      {},
      {},
      { every: 'day' },
      { every: 'hour' },
      { every: '6 hours', fill: 'zero' },
      { every: 'day', fill: 'previous' },
      { every: 'day', fill: 'linear' },
      { every: 'day', hop: 'hour' },
      { every: 'day', compare: 'previous' },
      { compare: { weeksAgo: 1 } },
      { gap: '30min' },
    ),
    zone: fc.constantFrom('UTC', 'America/New_York', 'Asia/Kathmandu', undefined, 'Mars/Olympus'),
    by: fc.constantFrom(undefined, undefined, 'region', ['region']),
    where: fc.constantFrom(undefined, undefined, "region = 'EU'", sql`region = ${'US'}`),
    now: fc.constantFrom<WindowQuery['now']>(NOW, NOW, 'clock', 'watermark'),
    measures: fc.constantFrom<WindowQuery['measures']>(
      { n: 'count(*)', s: 'sum(amount)', least: 'min(price)', most: 'max(price)' },
      { n: 'count(*)', mean: 'avg(price)', __proto: 'sum(price)' },
      { share: 'sum(amount) / count(*)', n: 'count(price)' },
      {
        p: 'approx_percentile(price, 0.9)',
        m: { fn: 'sum', column: 'amount', filter: 'price > 1' },
      },
      { d: 'count(distinct region)' },
      JSON.parse('{"__proto__":"count(*)","constructor":"sum(price)"}') as WindowQuery['measures'],
      { x: 'sum(nothing)' },
      {},
    ),
  })
  .map(({ when, cut, ...rest }) => ({ ...when, ...cut, ...rest }));

const change = fc.oneof(
  fc.record({
    kind: fc.constant('insert' as const),
    rows: fc.array(
      fc.record({
        ms: fc.option(fc.nat(8 * DAY_MS)),
        region: fc.constantFrom('EU', 'US', null),
        amount: fc.integer({ min: -9999, max: 9999 }).map((cents) => (cents / 100).toFixed(2)),
        price: fc.constantFrom(null, 0.1, 2.5, -0, 1e300, -1e300, NaN, Infinity, 7),
      }),
      { maxLength: 30 },
    ),
  }),
  fc.record({ kind: fc.constant('delete' as const), below: fc.nat(40) }),
  fc.record({ kind: fc.constant('update' as const), below: fc.nat(40) }),
);

test('an answer given at once is the answer of an actor: rows, meta, work and errors', async () => {
  let atOnce = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(change, fc.array(query, { minLength: 1, maxLength: 4 })), {
        minLength: 1,
        maxLength: 5,
      }),
      async (program) => {
        await using db = await orders();
        let id = 0;
        for (const [step, queries] of program) {
          if (step.kind === 'insert' && step.rows.length > 0)
            await db.insert(
              'orders',
              step.rows.map(({ ms, ...row }) => ({
                id: (id += 1),
                ts: ms === null ? null : new Date(START_MS + ms),
                ...row,
              })),
            );
          if (step.kind === 'delete')
            await db.exec(`DELETE FROM orders WHERE id % 41 = ${step.below}`);
          if (step.kind === 'update')
            await db.exec(
              `UPDATE orders SET price = 3, ts = ts + interval '1 hour' WHERE id % 41 < ${step.below}`,
            );
          for (const each of queries) {
            // The first makes the tiles.
            const first = await told(db.window('orders', each, BY_ACTOR));
            const byActor = await told(db.window('orders', each, BY_ACTOR));
            const before = spawned(db);
            const quick = await told(db.window('orders', each));
            if (spawned(db) === before && 'rows' in quick) atOnce += 1;
            expect(quick).toEqual(byActor);
            if ('rows' in first && 'rows' in quick) expect(quick.rows).toEqual(first.rows);
          }
        }
      },
    ),
    { numRuns: 25 },
  );
  expect(atOnce).toBeGreaterThan(10);
});

const TODAY = {
  range: ['2026-10-30', '2026-11-01'],
  every: 'hour',
  measures: { n: 'count(*)' },
} as const satisfies WindowQuery;

async function withRows(clock?: HandClock): Promise<Database> {
  const db = await orders(clock);
  await db.insert(
    'orders',
    Array.from({ length: 48 }, (_, hour) => ({
      id: hour,
      ts: new Date(Date.UTC(2026, 9, 30, hour)),
      region: 'EU',
      amount: 1,
      price: 1,
    })),
  );
  await db.window('orders', TODAY);
  return db;
}

test('what is answered at once is no actor, and is counted and charged as what an actor does', async () => {
  await using db = await withRows();
  const { runQueue, metrics } = engineOf(db);
  const meter = runQueue.meterOf(tenantId('main'));
  const [actors, units, counts] = [spawned(db), meter.workUnits, metrics.snapshot()];
  const { rows, meta } = await db.window('orders', TODAY);
  expect(rows).toHaveLength(48);
  expect(spawned(db)).toBe(actors);
  expect(meta.work).toBeGreaterThan(48);
  expect(meter.workUnits - units).toBe(meta.work);
  expect(metrics.snapshot()['queries']! - counts['queries']!).toBe(1);
  expect(metrics.snapshot()['work']! - counts['work']!).toBe(meta.work);
  expect(metrics.snapshot()['rowsReturned']! - counts['rowsReturned']!).toBe(48);
  await expect(db.window('orders', { ...TODAY, every: 'blue moon' })).rejects.toMatchObject({
    code: '22023',
  });
  expect(metrics.snapshot()['errors']! - counts['errors']!).toBe(1);
  expect(spawned(db)).toBe(actors);
});

test('a definition, a calendar, a right and a zone hold from the next answer on', async () => {
  await using db = await withRows();
  const at = async (handle: Pick<Database, 'window'>, more: Partial<WindowQuery> = {}) =>
    (await handle.window('orders', { ...TODAY, every: 'day', ...more })).rows.map(
      ({ label, values }) => `${label} ${String(values['n'])}`,
    );
  expect(await at(db)).toEqual(['2026-10-30 24', '2026-10-31 24']);
  await db.calendars.set('acme', { zone: 'Asia/Tokyo' });
  expect(await at(db, { calendar: 'acme' })).toEqual(['2026-10-30 15', '2026-10-31 24']);
  await db.calendars.set('acme', { zone: 'Pacific/Kiritimati' });
  expect(await at(db, { calendar: 'acme' })).toEqual(['2026-10-30 10', '2026-10-31 24']);
  await db.calendars.drop('acme');
  await expect(at(db, { calendar: 'acme' })).rejects.toMatchObject({ code: '42704' });
  const other = db.as({ tenant: 'acme' });
  await expect(at(other)).rejects.toMatchObject({ code: '42P01' });
  await db.exec('GRANT SELECT ON orders TO acme');
  expect(await at(other)).toEqual(['2026-10-30 24', '2026-10-31 24']);
  expect(await at(other)).toEqual(['2026-10-30 24', '2026-10-31 24']);
  await db.exec('ALTER TABLE orders RENAME COLUMN ts TO at');
  expect(await at(db)).toEqual(['2026-10-30 24', '2026-10-31 24']);
  await db.exec('TRUNCATE orders');
  expect(await at(db)).toEqual([]);
  await db.exec('DROP TABLE orders');
  await expect(at(db)).rejects.toMatchObject({ code: '42P01' });
});

test('a question whose object was changed since it was asked is another question', async () => {
  const db = await orders();
  await db.insert('orders', [
    { id: 1, ts: START_MS, region: 'EU', amount: '1.50', price: 2 },
    { id: 2, ts: START_MS + 1000, region: 'US', amount: '2.50', price: 3 },
  ]);
  const span = { range: [START_MS, START_MS + DAY_MS] as const, now: NOW };
  const measures: Record<string, string> = { n: 'count(*)', s: 'sum(amount)' };
  const by: string[] = [];
  const ask = async (more: Partial<WindowQuery> = {}): Promise<unknown> =>
    (await db.window('orders', { ...span, measures, by, ...more })).rows.map(
      ({ by: group, values }) => ({ ...group, ...values }),
    );
  for (let times = 0; times < 3; times += 1) expect(await ask()).toEqual([{ n: 2, s: '4.00' }]);
  measures['s'] = 'sum(price)';
  expect(await ask()).toEqual([{ n: 2, s: 5 }]);
  delete measures['n'];
  expect(await ask()).toEqual([{ s: 5 }]);
  measures['__proto_'] = 'max(price)';
  expect(await ask()).toEqual([{ s: 5, __proto_: 3 }]);
  delete measures['__proto_'];
  by.push('region');
  expect(await ask()).toEqual([
    { region: 'EU', s: 2 },
    { region: 'US', s: 3 },
  ]);
  expect(await ask({ where: 'price > 2' })).toEqual([{ region: 'US', s: 3 }]);
  expect(await ask({ by: 'id' })).toEqual([
    { id: 1, s: 2 },
    { id: 2, s: 3 },
  ]);
  // More questions than are compared with one another, and all of them again.
  for (let round = 0; round < 2; round += 1)
    for (let least = 0; least < 20; least += 1)
      expect(await ask({ by: [], where: `price > ${least}` })).toEqual(
        least < 2 ? [{ s: 5 }] : least < 3 ? [{ s: 3 }] : [{ s: null }],
      );
  expect(
    await ask({ by: [], measures: Object.create({ n: 'count(*)' }) as never }).catch(
      ({ code }: DbError) => code,
    ),
  ).toBe('22023');
  await db.close();
});

test('a tenant that has used up its limit waits for its turn like everybody', async () => {
  await using db = await withRows();
  const { runQueue } = engineOf(db);
  runQueue.configure(tenantId('main'), { ...DEFAULT_TENANT_SETTINGS, limit: 0.5, burstMs: 1 });
  let actors = spawned(db);
  let answers = 0;
  // The clock stands still: nothing comes back of what is spent.
  while (spawned(db) === actors && answers < 10_000) {
    await Promise.race([
      db.window('orders', TODAY),
      new Promise((resolve) => setTimeout(resolve, 50)),
    ]);
    answers += 1;
  }
  expect(answers).toBeGreaterThan(1);
  expect(answers).toBeLessThan(10_000);
  runQueue.configure(tenantId('main'), DEFAULT_TENANT_SETTINGS);
  actors = spawned(db);
  await db.window('orders', TODAY);
  expect(spawned(db)).toBe(actors);
});

test('who asks one after another lets I/O have the thread when a turn is over', async () => {
  const clock = new HandClock();
  await using db = await withRows(clock);
  const actors = spawned(db);
  let turns = 0;
  let asking = true;
  const count = (): void => {
    turns += 1;
    if (asking) setImmediate(count);
  };
  setImmediate(count);
  await db.window('orders', TODAY);
  const before = turns;
  for (let round = 0; round < 20; round += 1) {
    await db.window('orders', TODAY);
    clock.advance(2);
  }
  asking = false;
  expect(turns - before).toBeGreaterThanOrEqual(15);
  expect(spawned(db)).toBe(actors);
});

test('what is asked for in the middle of a step is answered after it', async () => {
  await using db = await withRows();
  const { dispatcher } = engineOf(db);
  const answers: Promise<WindowResult>[] = [];
  const asked = new Promise<void>((resolve) => {
    const actor = dispatcher.spawn<'ask'>({
      name: 'asks',
      tenant: tenantId('main'),
      start: () => () => {
        const actors = spawned(db);
        answers.push(db.window('orders', TODAY));
        expect(spawned(db)).toBe(actors + 1);
        resolve();
        return 'stop';
      },
    });
    actor.tell('ask');
  });
  await asked;
  expect((await answers[0]!).rows).toHaveLength(48);
});
