/** The harness as its users have it. */
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { decodeToken } from '../../src/sim/plan.ts';
import { simulate, type SimulateOptions, type Simulation, type World } from '../../src/sim.ts';

vi.setConfig({ testTimeout: 240_000 });

const setup = async ({ db }: World): Promise<void> => {
  await db.exec(`
    CREATE TABLE orders (id int PRIMARY KEY, region text, amount numeric(10,2), at timestamptz);
    CREATE MATERIALIZED VIEW sales AS SELECT region, count(*) AS n, sum(amount) AS total FROM orders GROUP BY region`);
};

function shop(options: Partial<SimulateOptions> = {}): Simulation {
  return simulate({
    seed: 42,
    start: '2026-03-07T12:00:00-05:00',
    run: '2min',
    setup,
    load: {
      orders: {
        arrivals: { perSecond: 0.5 },
        do: async (session, world) => {
          const random = world.rng('order');
          await session.insert('orders', {
            id: world.nth,
            region: ['EU', 'US'][random.below(2)]!,
            amount: `${random.below(100)}.50`,
            at: new Date(world.now()),
          });
        },
      },
      panels: {
        arrivals: { rate: '12/min', shape: 'even' },
        from: '30s',
        do: (session) => session.query('SELECT * FROM sales'),
      },
    },
    ...options,
  });
}

test('a run says what was done, how long it took, and is the same each time', async () => {
  const sim = shop({ faults: { delay: '10ms..20ms' } })
    .always('the view counts all orders', async ({ db }) => {
      const { rows } = await db.query<{ same: boolean }>(
        'SELECT (SELECT count(*) FROM orders) = (SELECT coalesce(sum(n), 0) FROM sales) AS same',
      );
      return rows[0]!.same;
    })
    .sometimes(
      'both regions buy',
      async ({ db }) => (await db.query('SELECT 1 FROM sales')).rowCount === 2,
    );
  const report = await sim.run();
  expect(report.failures).toEqual([]);
  expect(report.seeds).toBe(1);
  expect(report.seen).toContain('both regions buy');
  const { count, p50Ms, maxMs } = report.latency('panels');
  expect(count).toBeGreaterThanOrEqual(16);
  expect(p50Ms).toBeGreaterThan(20);
  expect(maxMs).toBeLessThan(60);
  expect(report.metrics['commits']).toBeGreaterThan(30);
  expect((await sim.run()).traceHash).toBe(report.traceHash);
  expect((await shop().run()).traceHash).not.toBe(report.traceHash);
  for (const schedule of ['fifo', 'pct', { starve: 'journal' }] as const)
    expect((await shop({ schedule, run: '20s' }).run()).failures).toEqual([]);
  expect(() => report.latency('panel')).toThrow(/there is no load/);
});

test('what fails is told with a plan that is small, a moment, and a line that does it again', async () => {
  const broken = (): Simulation =>
    shop({ run: '5min' }).always('no order of 77.50 in the EU', async ({ db }) => {
      const { rowCount } = await db.query(
        "SELECT 1 FROM orders WHERE amount = 77.50 AND region = 'EU'",
      );
      return rowCount === 0;
    });
  const report = await broken().explore({ seeds: 20, shrinkMs: 60_000 });
  const [failure] = report.failures;
  expect(failure).toMatchObject({
    invariant: 'no order of 77.50 in the EU',
    message: 'it does not hold',
  });
  expect(failure!.plan.operations).toHaveLength(1);
  expect(failure!.plan.faults).toEqual([]);
  expect(failure!.plan.schedule).toBe('fifo');
  expect(failure!.replay).toMatch(
    /^ANALYTICDB_REPLAY=ADB1:\S+ npx vitest run test\/sim\/simulate\.test\.ts$/,
  );
  const token = /ADB1:\S+/.exec(failure!.replay)![0];
  const again = await broken().replay(token);
  expect(again.failures).toMatchObject([
    { invariant: failure!.invariant, at: failure!.at, seed: failure!.seed },
  ]);
  expect(again.traceHash).toBe(decodeToken(token).traceHash);
  // Another simulation, another build: the token would mean something else.
  await expect(shop({ run: '5min' }).replay(token)).rejects.toMatchObject({
    code: 'ADB_SIM_OTHER_BUILD',
  });
  await expect(broken().replay(`${token}x`.replace('ADB1', 'ADB0'))).rejects.toMatchObject({
    code: '22023',
  });
  vi.stubEnv('ANALYTICDB_REPLAY_FORCE', '1');
  expect((await shop({ run: '5min' }).replay(token)).failures).toEqual([]);
  vi.stubEnv('ANALYTICDB_REPLAY_FORCE', '');
  // The environment variable of the line makes run and explore replay.
  vi.stubEnv('ANALYTICDB_REPLAY', token);
  const told = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  expect((await broken().explore({ seeds: 1000 })).failures).toHaveLength(1);
  expect(told).toHaveBeenCalledWith(
    expect.stringContaining('replayed: no order of 77.50 in the EU'),
  );
  told.mockRestore();
  vi.unstubAllEnvs();
});

test('a plan is data: fast-check makes plans, and shrinks operations, faults and the schedule alike', async () => {
  const sim = shop({ faults: { journalDelay: '1ms..9ms', crash: '1/h' }, oracles: [] }).always(
    'fewer than two orders',
    async ({ db }) => (await db.query('SELECT 1 FROM orders')).rowCount < 2,
  );
  const tape = fc.array(fc.tuple(fc.integer({ min: 1, max: 40 }), fc.nat(3)), { maxLength: 4 });
  const plans = fc.record({
    seed: fc.constant(1),
    runMs: fc.constant(30_000),
    operations: fc.array(
      fc.record({
        load: fc.constantFrom('orders', 'panels'),
        nth: fc.integer({ min: 1, max: 99 }),
        atMs: fc.nat(20_000),
      }),
      { maxLength: 8 },
    ),
    faults: fc.array(fc.record({ kind: fc.constant('crash' as const), atMs: fc.nat(20_000) }), {
      maxLength: 1,
    }),
    schedule: fc.record({ events: tape, actors: tape }),
  });
  const details = await fc.check(
    fc.asyncProperty(plans, async (plan) => (await sim.runPlan(plan)).failures.length === 0),
    { numRuns: 20, seed: 3 },
  );
  expect(details.failed).toBe(true);
  const [{ operations, faults, schedule }] = details.counterexample!;
  expect(operations.map(({ load }) => load)).toEqual(['orders', 'orders']);
  expect(faults).toEqual([]);
  expect(schedule).toEqual({ events: [], actors: [] });
  const wrong = { seed: 1, runMs: 1, operations: [{ load: 'order', nth: 1, atMs: 0 }] };
  await expect(sim.runPlan(wrong)).rejects.toMatchObject({
    code: '22023',
    field: 'plan.operations.0.load',
  });
});

test('ambient time in a load, an error that is no DbError, and a run that differs from itself are failures', async () => {
  const clock = shop({
    load: { now: { arrivals: { perSecond: 1 }, do: () => Date.now() } },
  });
  expect((await clock.run()).failures).toMatchObject([{ invariant: 'ambient' }]);
  const allowed = shop({
    ambient: 'allow',
    load: { now: { arrivals: { perSecond: 1 }, do: () => Date.now() } },
  });
  expect((await allowed.run()).failures).toEqual([]);
  const typo = shop({
    load: { typo: { arrivals: { perSecond: 1 }, do: () => (undefined as unknown as World).db } },
  });
  expect((await typo.run()).failures).toMatchObject([{ invariant: 'load typo' }]);
  let runs = 0;
  const other = shop({
    setup: async (world) => {
      await setup(world);
      runs += 1;
      await world.db.exec(`CREATE TABLE t${runs} (id int)`);
    },
  });
  expect((await other.run()).failures).toMatchObject([{ invariant: 'determinism' }]);
});

test('the same seed has the same trace with one worker or two', async () => {
  const hashes = [];
  for (const workerCount of [0, 1, 2])
    hashes.push((await shop({ machine: { workerCount } }).run()).traceHash);
  expect(new Set(hashes).size).toBe(1);
});

test('eventually and sometimes: too late, and never', async () => {
  const late = shop().eventually('ten orders', '1s', async ({ db }) => {
    return (await db.query('SELECT 1 FROM orders LIMIT 10')).rowCount === 10;
  });
  expect((await late.run()).failures).toMatchObject([
    {
      invariant: 'ten orders',
      message: expect.stringMatching(/has not held for \d+ ms/) as string,
    },
  ]);
  const soon = shop().eventually('ten orders', '1min', async ({ db }) => {
    return (await db.query('SELECT 1 FROM orders LIMIT 10')).rowCount === 10;
  });
  expect((await soon.run()).failures).toEqual([]);
  const never = shop().sometimes('an order from Mars', async ({ db }) => {
    return (await db.query("SELECT 1 FROM orders WHERE region = 'Mars'")).rowCount > 0;
  });
  expect((await never.run()).failures).toMatchObject([
    { invariant: 'an order from Mars', message: 'it never held' },
  ]);
});

test('what was acknowledged is there after crashes and power losses; whoever was connected learns that nobody is there', async () => {
  const acknowledged = async ({ db, shared }: World): Promise<boolean> => {
    const ids = (shared.get('ids') ?? []) as readonly number[];
    const { rows } = await db.query<{ id: number }>('SELECT id FROM orders');
    const there = new Set(rows.map(({ id }) => id));
    return ids.every((id) => there.has(id));
  };
  const sim = shop({
    faults: {
      crash: '3/min',
      down: '200ms..2s',
      lostTail: 0.5,
      tornWrite: 0.5,
      journalDelay: '1ms..9ms',
    },
    load: {
      orders: {
        arrivals: { perSecond: 2, shape: 'bursts' },
        do: async (session, { nth, shared }) => {
          await session.insert('orders', { id: nth, region: 'EU', amount: '1.50' });
          const ids = (shared.get('ids') ?? []) as number[];
          shared.set('ids', [...ids, nth]);
        },
      },
    },
  }).always('acknowledged orders are there', acknowledged);
  const report = await sim.run();
  expect(report.failures).toEqual([]);
  for (const what of ['a power loss', 'a restart']) expect(report.seen).toContain(what);
  expect(report.operations.done).toBeGreaterThan(50);
  expect(() => shop({ journal: { kind: 'memory' }, faults: { crash: '1/h' } })).toThrow(
    /need a disk/,
  );
});

test('the world at a moment, further, and forked from there', async () => {
  const sim = shop();
  const noon = await sim.at('2026-03-07T12:01:00-05:00');
  const { rows } = await noon.db.query<{ n: number }>('SELECT count(*) AS n FROM orders');
  expect(rows[0]!.n).toBeGreaterThan(10);
  expect(noon.now()).toBeGreaterThanOrEqual(Date.parse('2026-03-07T17:01:00Z'));
  const { position } = noon;
  await noon.close();
  const early = await sim.at(position - 5);
  expect(early.position).toBe(position - 5);
  const count = (await early.db.query<{ n: number }>('SELECT count(*) AS n FROM orders')).rows[0]!
    .n;
  expect(count).toBeLessThan(rows[0]!.n);
  await early.close();
  await expect(sim.at('2026-03-07T12:30:00-05:00')).rejects.toMatchObject({
    code: '22023',
    field: 'at',
  });
  await expect(sim.at('2026-03-07T12:30:00')).rejects.toMatchObject({ code: '22023', field: 'at' });

  const first = await shop().runFor('1min');
  const live = shop();
  await live.runFor('30s');
  expect((await live.runFor('30s')).traceHash).toBe(first.traceHash);

  const at = '2026-03-07T12:01:00-05:00';
  const forked = sim.fork({ at, faults: { partition: '10/min' } });
  const [before, after] = [await sim.at(at), await forked.at('2026-03-07T12:00:59-05:00')];
  expect(after.position).toBeLessThanOrEqual(before.position);
  const [calm, stormy] = [await sim.run(), await forked.run()];
  expect(calm.operations.refused).toEqual({});
  expect(stormy.operations.refused['08006']).toBeGreaterThan(0);
});

test('a day with a change of the clock is walked through in its zone', async () => {
  const sim = shop({ start: '2026-03-08T01:59:00-05:00', zone: 'America/New_York' });
  for (const hour of ['01 -05', '03 -04'])
    sim.sometimes(`it is ${hour}`, async ({ db }) => {
      const { rows } = await db.query<{ h: string }>("SELECT to_char(now(), 'HH24 TZH') AS h");
      return rows[0]!.h === hour;
    });
  sim.always('there is no second hour of that night', async ({ db }) => {
    const { rows } = await db.query("SELECT 1 WHERE to_char(now(), 'HH24') = '02'");
    return rows.length === 0;
  });
  expect((await sim.run()).failures).toEqual([]);
});

test('mistakes are told with the field and what to write', () => {
  const wrong: [Partial<Record<keyof SimulateOptions, unknown>>, string][] = [
    [{ seed: -1 }, 'seed'],
    [{ start: '2026-03-07' }, 'start'],
    [{ run: 'a while' }, 'run'],
    [{ schedule: 'lifo' }, 'schedule'],
    [{ faults: { crsh: '1/h' } }, 'faults.crsh'],
    [{ faults: { drop: 2 } }, 'faults.drop'],
    [{ faults: { partition: 1 } }, 'faults.partition'],
    [{ load: { a: { arrivals: {}, do: () => 1 } } }, 'load.a.arrivals'],
    [{ load: { a: { arrivals: { perSecond: 1 } } } }, 'load.a.do'],
    [{ oracles: ['all'] }, 'oracles'],
    [{ sed: 1 } as never, 'sed'],
  ];
  for (const [options, field] of wrong) {
    let thrown: unknown;
    try {
      shop(options as Partial<SimulateOptions>);
    } catch (cause) {
      thrown = cause;
    }
    expect(thrown, field).toMatchObject({ code: '22023', field });
    expect((thrown as { hint: string }).hint, field).toMatch(/\w/);
  }
});
