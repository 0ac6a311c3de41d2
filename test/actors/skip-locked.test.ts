/** FOR UPDATE SKIP LOCKED: a table is a queue of jobs. Nobody takes what another one has, and what is rolled back is there again. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/actors/engine.ts';
import type { Database } from '../../src/index.ts';
import { TestWorld } from '../sim/test-world.ts';
import { LateLog } from './late-log.ts';
import { openEngine } from './test-engine.ts';

type Session = ReturnType<Database['session']>;

let log: LateLog;
let db: Database;
let engine: Engine;
beforeEach(async () => {
  log = new LateLog();
  ({ db, engine } = await openEngine({ log: () => log, stepBudgetUnits: 2000 }));
  await db.exec(`CREATE TABLE jobs (id int PRIMARY KEY, state text NOT NULL, rank int, runs int NOT NULL DEFAULT 0);
    CREATE INDEX by_state ON jobs (state);
    INSERT INTO jobs SELECT n, 'ready', n % 3 FROM generate_series(1, 12) s(n)`);
});
afterEach(async () => {
  log.held = false;
  log.acknowledge();
  await db.close();
});

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

const NEXT = "SELECT id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";

const idsOf = async (asked: Session | Database, text = NEXT): Promise<number[]> =>
  (await asked.query<{ id: number }>(text)).rows.map(({ id }) => id);

async function begun(text = ''): Promise<Session> {
  const session = db.session();
  await session.exec(`BEGIN; ${text}`);
  return session;
}

test('rows that others have claimed are left out, and LIMIT counts those that are there', async () => {
  const [ann, bob, eve] = [await begun(), await begun(), await begun()];
  expect(await idsOf(ann)).toEqual([1]);
  expect(await idsOf(bob)).toEqual([2]);
  expect(await idsOf(eve, NEXT.replace('LIMIT 1', 'LIMIT 2 OFFSET 1'))).toEqual([4, 5]);
  // Its own it keeps.
  expect(await idsOf(ann)).toEqual([1]);
  expect(await idsOf(ann, 'SELECT id FROM jobs WHERE id = 2 FOR UPDATE SKIP LOCKED')).toEqual([]);
  expect(
    await idsOf(ann, "SELECT id FROM jobs WHERE state = 'ready' AND id < 6 FOR UPDATE SKIP LOCKED"),
  ).toEqual([1, 3]);
  // Outside of a transaction it claims nothing.
  expect(await idsOf(db)).toEqual([6]);
  expect(await idsOf(db)).toEqual([6]);
  await bob.exec('ROLLBACK');
  expect(await idsOf(db)).toEqual([2]);
  await expect(
    eve.query('SELECT id FROM jobs WHERE id = 1 FOR UPDATE NOWAIT'),
  ).rejects.toMatchObject({ code: '55P03' });
  await Promise.all([ann.close(), bob.close(), eve.close()]);
  expect(engine.claims.isEmpty).toBe(true);
});

test('a row whose change is on its way to the journal is left out', async () => {
  log.held = true;
  const taken = db.exec("UPDATE jobs SET state = 'taken' WHERE id = 1");
  while (log.waiting === 0) await turns();
  const ann = await begun();
  // What is only read is not of those.
  expect(await idsOf(ann)).toEqual([2]);
  log.held = false;
  log.acknowledge();
  await taken;
  await ann.close();
});

test('a row that is changed while the query runs is read again', async () => {
  await db.exec("INSERT INTO jobs SELECT n, 'done', 0 FROM generate_series(100, 30000) s(n)");
  const ann = await begun();
  const asked = idsOf(
    ann,
    "SELECT id FROM jobs WHERE state = 'ready' ORDER BY rank, id LIMIT 1 FOR UPDATE SKIP LOCKED",
  );
  const taken = [3, 6].map((id) => db.exec(`UPDATE jobs SET state = 'taken' WHERE id = ${id}`));
  const [id] = await asked;
  expect((await db.query(`SELECT state FROM jobs WHERE id = ${id}`)).rows).toEqual([
    { state: 'ready' },
  ]);
  await ann.exec('ROLLBACK');
  await Promise.all(taken);
  await ann.close();
});

test('a table that another one has whole is waited for: its rows are not just taken', async () => {
  const altering = await begun('ALTER TABLE jobs ADD COLUMN note text');
  const ann = await begun();
  let ids: number[] | undefined;
  const asked = idsOf(ann).then((are) => (ids = are));
  await turns();
  expect(ids).toBeUndefined();
  await altering.exec('COMMIT');
  await asked;
  expect(ids).toEqual([1]);
  await Promise.all([altering.close(), ann.close()]);
});

test('who was too late reads again when those before have: work does not grow with the square of workers', async () => {
  await db.exec("INSERT INTO jobs SELECT n, 'ready', 0 FROM generate_series(100, 3000) s(n)");
  let reads = 0;
  const { finished } = engine.metrics;
  engine.metrics.finished = (done) => {
    reads += 1;
    finished.call(engine.metrics, done);
  };
  const workers = await Promise.all(Array.from({ length: 30 }, () => begun()));
  const taken = await Promise.all(workers.map((worker) => idsOf(worker)));
  expect(new Set(taken.flat()).size).toBe(30);
  // The first of each, and one more: they had all read again for each that got on.
  expect(reads).toBeLessThan(100);
  await Promise.all(workers.map((worker) => worker.close()));
});

test('who stands in line and gives up holds up nobody', async () => {
  await db.exec("INSERT INTO jobs SELECT n, 'ready', 0 FROM generate_series(100, 3000) s(n)");
  const workers = await Promise.all(Array.from({ length: 12 }, () => begun()));
  const relation = engine.state.catalog.all().find(({ definition }) => definition.name === 'jobs')!
    .definition.id;
  const stop = new AbortController();
  const asked = workers.map((worker, who) =>
    worker.query<{ id: number }>(NEXT, who % 2 === 0 ? {} : { signal: stop.signal }),
  );
  while (engine.takers.isEmpty(relation)) await new Promise((resolve) => setImmediate(resolve));
  stop.abort();
  const answers = await Promise.allSettled(asked);
  expect(
    answers.filter((_, who) => who % 2 === 0).every(({ status }) => status === 'fulfilled'),
  ).toBe(true);
  for (const answer of answers)
    if (answer.status === 'rejected') expect(answer.reason).toMatchObject({ code: '57014' });
  await Promise.all(workers.map((worker) => worker.close()));
  expect(engine.claims.isEmpty).toBe(true);
});

test('a serializable transaction takes jobs beside others', async () => {
  const done: number[] = [];
  const one = async (): Promise<void> => {
    for (;;) {
      const { value } = await db.transaction(async (tx) => {
        const { rows } = await tx.query<{ id: number }>(NEXT);
        if (rows.length === 0) return undefined;
        await tx.exec(`UPDATE jobs SET state = 'done', runs = runs + 1 WHERE id = ${rows[0]!.id}`);
        return rows[0]!.id;
      });
      if (value === undefined) return;
      done.push(value);
    }
  };
  await Promise.all([one(), one(), one(), one()]);
  expect(done.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, n) => n + 1));
});

/** Of a position before the change: it had read it as it was. */
test('a serializable transaction leaves out what was changed since it began', async () => {
  await db.transaction(async (tx) => {
    await tx.query('SELECT 1');
    await db.exec("UPDATE jobs SET state = 'taken' WHERE id = 1");
    const { rows } = await tx.query(NEXT);
    expect(rows).toEqual([{ id: 2 }]);
    await tx.exec("UPDATE jobs SET state = 'done' WHERE id = 2");
  });
});

test('however many were changed since, they are not met one by one', async () => {
  await db.exec("INSERT INTO jobs SELECT n, 'ready', 0 FROM generate_series(100, 3000) s(n)");
  await db.transaction(async (tx) => {
    await tx.query('SELECT 1');
    await db.exec("UPDATE jobs SET state = 'taken' WHERE id < 2000");
    const before = engine.dispatcher.spentUnits;
    const { rows } = await tx.query(NEXT);
    expect(rows).toEqual([{ id: 2000 }]);
    // Two looks at three thousand rows.
    expect(engine.dispatcher.spentUnits - before).toBeLessThan(50_000);
  });
});

/** Workers that take, give up, fail and roll back, over a journal that takes its time, beside others who add jobs. */
test.each(Array.from({ length: 12 }, (_, index) => index + 1))(
  'no job is done twice, and none is lost, whatever becomes of workers (seed %i)',
  async (seed) => {
    const sim = await TestWorld.make({
      seed,
      schedule: seed % 2 === 0 ? 'fifo' : 'random',
      machine: {
        stepBudgetUnits: [500, 5000][seed % 2]!,
        nanosecondsPerUnit: 1000,
        groupsInFlightMax: 1 + (seed % 4),
      },
      faults: { journalDelay: seed % 5 },
    });
    let state = seed * 7919;
    const below = (n: number): number => {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((state / 2_147_483_648) * n);
    };
    await sim.run(async () => {
      const { db } = sim;
      await db.exec(`CREATE TABLE jobs (id int PRIMARY KEY, state text NOT NULL, runs int NOT NULL);
        INSERT INTO jobs SELECT n, 'ready', 0 FROM generate_series(1, 30) s(n)`);
      const inHand = new Set<number>();
      const done: number[] = [];
      let isAdding = true;
      const work = async (): Promise<void> => {
        const session = db.session();
        for (;;) {
          const isRepeatable = below(3) === 0;
          await session.exec(isRepeatable ? 'BEGIN ISOLATION LEVEL REPEATABLE READ' : 'BEGIN');
          let taken: number[] = [];
          try {
            const { rows } = await session.query<{ id: number }>(
              `SELECT id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT ${1 + below(3)} FOR UPDATE SKIP LOCKED`,
            );
            taken = rows.map(({ id }) => id);
            for (const id of taken) {
              expect(inHand.has(id), `job ${id} is in two hands`).toBe(false);
              inHand.add(id);
            }
            if (taken.length === 0 && !isAdding) {
              await session.close();
              return;
            }
            await sim.clock.pause(below(6), 'test');
            const fate = below(5);
            for (const id of fate === 0 ? [] : taken)
              await session.exec(
                `UPDATE jobs SET state = 'done', runs = runs + 1 WHERE id = ${id}`,
              );
            for (const id of taken) inHand.delete(id);
            if (fate <= 1) await session.exec('ROLLBACK');
            else {
              await session.exec('COMMIT');
              done.push(...taken);
            }
          } catch (cause) {
            for (const id of taken) inHand.delete(id);
            if (!(cause instanceof DbError) || cause.code !== '40001') throw cause;
            await session.exec('ROLLBACK');
          }
        }
      };
      const add = async (): Promise<void> => {
        for (let id = 31; id <= 50; id += 1) {
          await db.exec(`INSERT INTO jobs VALUES (${id}, 'ready', 0)`);
          if (below(3) === 0) await db.exec('UPDATE jobs SET runs = runs + 0');
        }
        isAdding = false;
      };
      await Promise.all([add(), ...Array.from({ length: 5 }, work)]);
      expect(done.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, n) => n + 1));
      const { rows } = await db.query(
        "SELECT count(*)::int AS n FROM jobs WHERE state = 'done' AND runs = 1",
      );
      expect(rows).toEqual([{ n: 50 }]);
      expect(sim.engine.claims.isEmpty).toBe(true);
    });
    await sim.run(() => sim.db.close());
  },
);
