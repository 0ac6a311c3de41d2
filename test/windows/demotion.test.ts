/** What policies demote: every window that tiles can answer is what it would be of all rows that were ever there and not deleted. */
import fc from 'fast-check';
import { afterEach, expect, test } from 'vitest';
import { Decimal } from '../../src/columns/values.ts';
import { open, type Database, type WindowQuery } from '../../src/index.ts';
import { manualClock } from '../../src/testing.ts';
import { MemoryDisk } from '../journal/memory-disk.ts';

const COLUMNS = `(id int PRIMARY KEY, ts timestamptz, region text, kind int2, amount numeric(12,2), price float8, weight float4, n int8)
  WITH (time = 'ts')`;
/** More for a long look: DEMOTION_RUNS=500 npx vitest run test/windows/demotion.test.ts. */
const RUNS = Number(process.env['DEMOTION_RUNS'] ?? 5);
const START = Date.parse('2026-03-06T12:00:00Z');
const MINUTE = 60_000;
const MEASURES = {
  n: 'count(*)',
  amounts: 'count(amount)',
  s: 'sum(amount)',
  a: 'avg(amount)',
  p: 'sum(price)',
  pa: 'avg(price)',
  lo: 'min(price)',
  hi: 'max(amount)',
  i: 'sum(n)',
  ids: 'count(n)',
  north: "sum(price) FILTER (WHERE region = 'north')",
  median: 'approx_percentile(weight, 0.5)',
  w: 'sum(weight)',
  first: 'min(ts)',
  spread: 'stddev(amount)',
  vp: 'var_pop(price)',
  vw: "variance(weight) FILTER (WHERE region = 'north')",
  vi: 'stddev_pop(n)',
  regions: 'count(DISTINCT region)',
  about: 'approx_count_distinct(region)',
};

const opened: Database[] = [];
afterEach(async () => {
  for (const db of opened.splice(0)) await db.close();
});

async function started(...args: Parameters<typeof open>): Promise<Database> {
  const db = await open(...args);
  opened.push(db);
  return db;
}

type Row = {
  readonly id: number;
  readonly ts: string | null;
  readonly region: string | null;
  readonly kind: number;
  readonly amount: string | null;
  readonly price: number | null;
  readonly weight: number | null;
  readonly n: number | null;
};

const row = (id: number, nowMs: number): fc.Arbitrary<Row> =>
  fc.record({
    id: fc.constant(id),
    // Mostly of today; some come late, and a few later than that.
    ts: fc
      .oneof(
        { weight: 6, arbitrary: fc.integer({ min: 0, max: 1440 }) },
        { weight: 3, arbitrary: fc.integer({ min: 0, max: 12 * 1440 }) },
        { weight: 1, arbitrary: fc.constantFrom(null, 100_000) },
      )
      .map((back) => (back === null ? null : new Date(nowMs - back * MINUTE).toISOString())),
    region: fc.constantFrom('north', 'south', null),
    kind: fc.integer({ min: 0, max: 2 }),
    amount: fc.option(
      fc
        .integer({ min: -99_999, max: 99_999 })
        .map((units) => String(new Decimal(BigInt(units), 2))),
    ),
    price: fc.option(
      fc.oneof(
        fc.integer({ min: -1e9, max: 1e9 }).map((each) => each / 997),
        fc.constantFrom(-0, 1e-20, 1e15, Infinity, NaN),
      ),
    ),
    weight: fc.option(fc.integer({ min: -800, max: 800 }).map((each) => each / 8)),
    n: fc.option(fc.maxSafeInteger().map((each) => Math.trunc(each / 1024))),
  });

type Step =
  | { readonly kind: 'insert'; readonly seed: number; readonly count: number }
  | { readonly kind: 'delete' | 'update'; readonly picks: readonly number[] }
  | { readonly kind: 'advance'; readonly minutes: number }
  | { readonly kind: 'policy'; readonly index: number }
  | { readonly kind: 'restart'; readonly snapshot: boolean; readonly crash: number }
  | { readonly kind: 'ask'; readonly question: number; readonly back: number }
  /** In a transaction with a row of its own. */
  | { readonly kind: 'inside'; readonly question: number }
  /** What was asked before, as of its position. */
  | { readonly kind: 'past' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('insert' as const),
      seed: fc.nat(),
      count: fc.integer({ min: 1, max: 40 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('delete' as const, 'update' as const),
      picks: fc.array(fc.nat(), { minLength: 1, maxLength: 5 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('advance' as const),
      minutes: fc.oneof(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 200, max: 4000 }),
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('policy' as const), index: fc.nat(4) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('restart' as const),
      snapshot: fc.boolean(),
      crash: fc.nat(30),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('ask' as const),
      question: fc.nat(5),
      back: fc.integer({ min: 0, max: 30 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('inside' as const), question: fc.nat(4) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('past' as const) }) },
);

const ZONE = 'America/New_York';
/** All keep what is asked, by the same groups; day, week and month are of New York, which changes its clocks on 8 March. */
const RETENTIONS = [
  'raw 2d, 15m 5d, day forever',
  'raw 1d, 15m forever',
  'raw 3d, day 20d, month forever',
  'raw 36h, 1m 2d, hour 4d, day forever',
  'raw forever',
];
const KEEP = {
  by: 'region, kind',
  measures: 'amount, price, approx_percentile(weight), n',
};

function question(kind: number, nowMs: number, back: number): WindowQuery {
  // Whole months of New York lie in them: whatever a policy has made of rows, they can be answered.
  const range = ['2025-12-01', '2026-07-01'] as const;
  const common = { zone: ZONE, measures: MEASURES, now: new Date(nowMs).toISOString() };
  switch (kind) {
    case 0:
      return { ...common, range };
    case 1:
      return { ...common, range, every: 'month', by: 'region' };
    case 2:
      return { ...common, range, every: 'month', where: 'kind = 1 AND region IS NOT NULL' };
    case 3:
      return { ...common, range: ['2025-12-01', '2026-06-01'], by: ['kind', 'region'] };
    case 4:
      return { ...common, range, every: 'quarter' };
    // Recent rows are rows, or an error says that they are not.
    default:
      return { ...common, last: `${back + 1} hours`, by: 'kind' };
  }
}

test(
  'windows over demoted rows are those of all rows, to the last bit, after crashes and restarts too',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 22 }), async (steps) => {
        const clock = manualClock(START);
        let disk = new MemoryDisk();
        const start = (): Promise<Database> =>
          started({ clock, disk, journal: { kind: 'file', dir: '/d' }, workers: 0 });
        let db = await start();
        // Without a policy, and without tiles: asked in a transaction that has written.
        const plain = await started({ workers: 0 });
        await db.exec(`CREATE TABLE o ${COLUMNS}`);
        await plain.exec(`CREATE TABLE o ${COLUMNS}`);
        await db.policies.set('o', { retention: RETENTIONS[0]!, zone: ZONE, ...KEEP });
        const failures: unknown[] = [];
        db.on('retention.failed', ({ cause }) => void failures.push(cause));
        let nextId = 1;
        const idsThere = async (picks: readonly number[]): Promise<number[]> => {
          const ids = picks.map((pick) => 1 + (pick % Math.max(1, nextId - 1)));
          const { rows } = await db.query<{ id: number }>(
            `SELECT id FROM o WHERE id IN (${ids.join()}) ORDER BY id`,
          );
          return rows.map(({ id }) => id);
        };
        let asked: { query: WindowQuery; rows: unknown; position: number; atMs: number }[] = [];
        const ask = async (kind: number, back: number): Promise<void> => {
          const query = question(kind, clock.now(), back);
          const expected = await plain.window('o', query);
          const { rows, meta } = await db.window('o', query);
          asked.push({ query, rows, position: meta.position, atMs: clock.now() });
          const [first] = rows;
          // Only recent hours may begin in a tile: they are those from where it ends.
          if (kind !== 5 || !meta.notes?.some((note) => note.includes('along with now'))) {
            expect(rows).toEqual(expected.rows);
          } else if (first !== undefined) {
            expect(first.startMs).toBeGreaterThan(clock.now() - (back + 1) * 60 * MINUTE);
            const { last: _, ...rest } = query;
            const { rows: drawn } = await plain.window('o', {
              ...rest,
              range: [first.startMs, clock.now()],
            });
            expect(rows).toEqual(
              drawn.map((each) => ({ ...each, partial: true, label: first.label })),
            );
          }
        };
        for (const each of steps) {
          switch (each.kind) {
            case 'insert': {
              const nowMs = clock.now();
              const rows = fc.sample(
                fc.tuple(...Array.from({ length: each.count }, (_, at) => row(nextId + at, nowMs))),
                { seed: each.seed, numRuns: 1 },
              )[0]!;
              nextId += each.count;
              await db.insert('o', rows);
              await plain.insert('o', rows);
              break;
            }
            case 'delete':
            case 'update': {
              // What has been demoted is not there to be changed.
              const ids = await idsThere(each.picks);
              if (ids.length === 0) break;
              const sql =
                each.kind === 'delete'
                  ? `DELETE FROM o WHERE id IN (${ids.join()})`
                  : `UPDATE o SET price = id, kind = 2, ts = ts - interval '7 hours' WHERE id IN (${ids.join()})`;
              await db.exec(sql);
              await plain.exec(sql);
              break;
            }
            case 'advance':
              await clock.advance(each.minutes * MINUTE);
              break;
            case 'policy':
              await db.policies.set('o', { retention: RETENTIONS[each.index]! });
              break;
            case 'restart': {
              if (each.snapshot) await db.checkpoint();
              // In the middle of whatever is going on.
              const moved = clock.advance('90min');
              for (let turn = 0; turn < each.crash; turn += 1)
                await new Promise((resolve) => setImmediate(resolve));
              const left = disk.copy();
              await moved;
              await db.close();
              asked = [];
              disk = left;
              db = await start();
              db.on('retention.failed', ({ cause }) => void failures.push(cause));
              break;
            }
            case 'ask':
              await ask(each.question, each.back);
              break;
            case 'inside': {
              const query = question(each.question, clock.now(), 0);
              const [own, other] = await Promise.all(
                [db, plain].map(async (one) => {
                  const session = one.session();
                  await session.exec('BEGIN');
                  await session.exec(
                    `INSERT INTO o (id, ts, region, kind, price) VALUES (-1, '2026-02-03', 'north', 1, 0.1)`,
                  );
                  const { rows } = await session.window('o', query);
                  await session.exec('ROLLBACK');
                  await session.close();
                  return rows;
                }),
              );
              expect(own).toEqual(other);
              break;
            }
            case 'past':
              for (const { query, rows, position, atMs } of asked) {
                if (clock.now() - atMs > 9 * MINUTE) continue;
                expect((await db.window('o', query, { asOf: position })).rows).toEqual(rows);
              }
          }
        }
        for (const kind of [0, 1, 2, 3, 4]) await ask(kind, 0);
        expect(failures).toEqual([]);
        for (const each of opened.splice(0)) await each.close();
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  },
  60_000 + RUNS * 10_000,
);
