/** A queue of jobs in one statement: what a subquery or a WITH claims is what the statement changes, and nobody else's. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/actors/engine.ts';
import type { Database } from '../../src/index.ts';
import { TestWorld } from '../sim/test-world.ts';
import { openEngine } from './test-engine.ts';

type Session = ReturnType<Database['session']>;

let db: Database;
let engine: Engine;
beforeEach(async () => {
  ({ db, engine } = await openEngine({ stepBudgetUnits: 2000 }));
  await db.exec(`CREATE TABLE jobs (id int PRIMARY KEY, state text NOT NULL, rank int, runs int NOT NULL DEFAULT 0);
    INSERT INTO jobs SELECT n, 'ready', n % 3 FROM generate_series(1, 12) s(n)`);
});
afterEach(() => db.close());

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

/** Each takes the jobs with the least ids that are to be had. */
const TAKES: Readonly<Record<string, (limit: number, how?: string) => string>> = {
  'an equality': (limit, how = 'SKIP LOCKED') =>
    `UPDATE jobs SET state = 'taken', runs = runs + 1
      WHERE id ${limit === 1 ? '=' : 'IN'} (SELECT id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT ${limit} FOR UPDATE ${how})
      RETURNING id`,
  ANY: (limit, how = 'SKIP LOCKED') =>
    `UPDATE jobs SET state = 'taken', runs = runs + 1
      WHERE id = ANY (ARRAY(SELECT id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT ${limit} FOR UPDATE ${how}))
      RETURNING id`,
  'WITH and FROM': (limit, how = 'SKIP LOCKED') =>
    `WITH next AS (SELECT id, rank FROM jobs WHERE state = 'ready' ORDER BY id LIMIT ${limit} FOR UPDATE ${how})
      UPDATE jobs SET state = 'taken', runs = runs + 1 FROM next WHERE jobs.id = next.id RETURNING jobs.id`,
  'a subquery of FROM': (limit, how = 'SKIP LOCKED') =>
    `UPDATE jobs j SET state = 'taken', runs = j.runs + 1
      FROM (SELECT id, id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT ${limit} FOR UPDATE ${how}) next (id, same)
      WHERE j.id = next.same RETURNING j.id`,
  'a change in WITH': (limit, how = 'SKIP LOCKED') =>
    `WITH taken AS (
        UPDATE jobs SET state = 'taken', runs = runs + 1
          WHERE id IN (SELECT id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT ${limit} FOR UPDATE ${how})
          RETURNING id)
      SELECT id FROM taken`,
  'WITH in a change in WITH': (limit, how = 'SKIP LOCKED') =>
    `WITH next AS (SELECT id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT ${limit} FOR UPDATE ${how}),
        taken AS (UPDATE jobs SET state = 'taken', runs = runs + 1 FROM next WHERE jobs.id = next.id RETURNING jobs.id)
      SELECT id FROM taken`,
  'WITH that reads another': (limit, how = 'SKIP LOCKED') =>
    `WITH states AS (SELECT 'ready' AS state),
        next AS (SELECT id FROM jobs WHERE state = 'ready' ORDER BY id LIMIT ${limit} FOR UPDATE ${how})
      UPDATE jobs SET state = 'taken', runs = runs + 1 WHERE id IN (SELECT id FROM next, states WHERE states.state = 'ready') RETURNING id`,
};
const FORMS = Object.keys(TAKES);

const idsOf = async (asked: Session | Database, text: string, params: unknown[] = []) =>
  (await asked.query<{ id: number }>(text, { params })).rows
    .map(({ id }) => id)
    .sort((a, b) => a - b);

test.each(FORMS)('by %s each takes what nobody has, in transactions and alone', async (form) => {
  const take = TAKES[form]!;
  const [ann, bob] = [db.session(), db.session()];
  await ann.exec('BEGIN');
  await bob.exec('BEGIN');
  expect(await idsOf(ann, take(2))).toEqual([1, 2]);
  expect(await idsOf(bob, take(1))).toEqual([3]);
  expect(await idsOf(db, take(2))).toEqual([4, 5]);
  await bob.exec('SAVEPOINT s');
  expect(await idsOf(bob, take(1))).toEqual([6]);
  expect(await idsOf(ann, take(1))).toEqual([7]);
  await bob.exec('ROLLBACK TO s');
  expect(await idsOf(db, take(1))).toEqual([6]);
  await expect(idsOf(db, take(1, 'NOWAIT'))).rejects.toMatchObject({ code: '55P03' });
  let waited: number[] | undefined;
  const waiting = idsOf(db, take(1, '')).then((ids) => (waited = ids));
  await turns();
  expect(waited).toBeUndefined();
  await ann.exec('ROLLBACK');
  await waiting;
  expect(waited).toEqual([1]);
  expect(await idsOf(db, take(1, 'NOWAIT'))).toEqual([2]);
  await bob.exec('COMMIT');
  expect(await idsOf(db, take(20))).toEqual([7, 8, 9, 10, 11, 12]);
  expect(await idsOf(db, take(20))).toEqual([]);
  expect((await db.query('SELECT DISTINCT state, runs FROM jobs')).rows).toEqual([
    { state: 'taken', runs: 1 },
  ]);
  await Promise.all([ann.close(), bob.close()]);
  expect(engine.claims.isEmpty).toBe(true);
});

test('a queue is emptied by DELETE, and goes into another table by INSERT', async () => {
  await db.exec('CREATE TABLE done (id int PRIMARY KEY, rank int)');
  const ann = db.session();
  await ann.exec('BEGIN');
  const next = 'SELECT id FROM jobs ORDER BY rank, id LIMIT 1 FOR UPDATE SKIP LOCKED';
  expect(await idsOf(ann, `DELETE FROM jobs WHERE id = (${next}) RETURNING id`)).toEqual([3]);
  expect(await idsOf(db, `DELETE FROM jobs WHERE id = (${next}) RETURNING *`)).toEqual([6]);
  expect(
    await idsOf(
      db,
      `INSERT INTO done SELECT id, rank FROM jobs ORDER BY rank, id LIMIT 2 FOR UPDATE SKIP LOCKED RETURNING id`,
    ),
  ).toEqual([9, 12]);
  expect(
    await idsOf(
      db,
      `WITH moved AS (DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE id IN (SELECT id FROM done) FOR UPDATE SKIP LOCKED) RETURNING id)
        SELECT id FROM moved`,
    ),
  ).toEqual([9, 12]);
  await ann.close();
});

test('parameters are those of the whole statement, prepared or not, planned for each number of jobs', async () => {
  const take = `UPDATE jobs SET state = $1, rank = $4 WHERE state = $2 AND id IN (SELECT id FROM jobs WHERE state = $2 AND rank = $5 ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING id, $1 AS state`;
  for (const [limit, ids] of [
    [2, [1, 4]],
    [1, [7]],
    [9, [10]],
    [9, []],
  ] as const)
    expect(await idsOf(db, take, ['taken', 'ready', limit, 99, 1])).toEqual(ids);
  await expect(db.query(take, { params: ['a'] })).rejects.toMatchObject({ code: '08P01' });
  const session = db.session();
  await session.exec(
    "PREPARE take (int, int[]) AS UPDATE jobs SET rank = $1 WHERE id = (SELECT id FROM jobs WHERE id = ANY ($2) AND state = 'ready' ORDER BY id DESC LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id",
  );
  await session.exec('BEGIN');
  expect(await idsOf(session, "EXECUTE take(5, '{2,3}')")).toEqual([3]);
  const other = db.session();
  await other.exec('BEGIN');
  expect(
    await idsOf(
      other,
      'UPDATE jobs SET rank = 1 WHERE id = (SELECT max(id) FROM (SELECT id FROM jobs WHERE id < 4 FOR UPDATE SKIP LOCKED) q) RETURNING id',
    ),
  ).toEqual([2]);
  await Promise.all([session.close(), other.close()]);
});

test('what is no part of its own claims nothing, and is what it was', async () => {
  const ann = db.session();
  await ann.exec('BEGIN; UPDATE jobs SET rank = 9 WHERE id = 1');
  // Of the row around it.
  expect(
    await idsOf(
      db,
      'SELECT id FROM jobs j WHERE id < 3 AND EXISTS (SELECT 1 FROM jobs i WHERE i.id = j.id FOR UPDATE SKIP LOCKED)',
    ),
  ).toEqual([1, 2]);
  // Nobody speaks of it.
  expect(
    await idsOf(
      db,
      'WITH unused AS (SELECT id FROM jobs WHERE id = 1 FOR UPDATE NOWAIT) SELECT id FROM jobs WHERE id = 2',
    ),
  ).toEqual([2]);
  // A name of WITH is not the table's.
  expect(
    await idsOf(
      db,
      'WITH jobs AS (DELETE FROM jobs WHERE id = 12 RETURNING id) SELECT id FROM (SELECT id FROM jobs FOR UPDATE SKIP LOCKED) q',
    ),
  ).toEqual([12]);
  await expect(
    db.query('SELECT (SELECT id FROM jobs WHERE id > 5 FOR UPDATE SKIP LOCKED)'),
  ).rejects.toMatchObject({ code: '21000' });
  await expect(
    db.query(
      'DELETE FROM jobs WHERE id = (SELECT nothing FROM jobs LIMIT 1 FOR UPDATE SKIP LOCKED)',
    ),
  ).rejects.toMatchObject({ code: '42703' });
  await expect(
    db.query('SELECT * FROM jobs WHERE id = (SELECT id FROM jobs LIMIT 1 FOR UPDATE)', {
      readOnly: true,
    }),
  ).rejects.toMatchObject({ code: '25006' });
  expect(
    (
      await db.query(
        'SELECT (SELECT id FROM jobs WHERE id = 3 FOR UPDATE SKIP LOCKED), (SELECT rank FROM jobs WHERE id = 99 FOR UPDATE)',
      )
    ).rows,
  ).toEqual([{ id: 3, rank: null }]);
  await ann.close();
  expect(engine.claims.isEmpty).toBe(true);
});

test('workers in a circle are told 40P01, and the others go on', async () => {
  const [ann, bob] = [db.session(), db.session()];
  const take = (id: number): string =>
    `UPDATE jobs SET runs = runs + 1 WHERE id = (SELECT id FROM jobs WHERE id = ${id} FOR UPDATE) RETURNING id`;
  await ann.exec('BEGIN');
  await bob.exec('BEGIN');
  await idsOf(ann, take(1));
  await idsOf(bob, take(2));
  const answers = await Promise.allSettled([
    idsOf(ann, take(2)),
    idsOf(bob, take(1)).catch(async (cause: unknown) => {
      await bob.exec('ROLLBACK');
      throw cause;
    }),
  ]);
  expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  expect((answers[1] as PromiseRejectedResult).reason).toMatchObject({ code: '40P01' });
  await ann.exec('COMMIT');
  expect((await db.query('SELECT id, runs FROM jobs WHERE runs > 0 ORDER BY id')).rows).toEqual([
    { id: 1, runs: 1 },
    { id: 2, runs: 1 },
  ]);
  await Promise.all([ann.close(), bob.close()]);
});

test.each([
  ['an equality', { workers: 50, jobs: 5000 }],
  ...FORMS.slice(1).map((form) => [form, { workers: 20, jobs: 600 }] as const),
] as const)(
  'many workers do thousands of jobs by %s, each once',
  async (form, { workers, jobs }) => {
    await db.exec(
      `DELETE FROM jobs; INSERT INTO jobs SELECT n, 'ready', 0, 0 FROM generate_series(1, ${jobs}) s(n)`,
    );
    const take = TAKES[form]!;
    const done: number[] = [];
    const work = async (who: number): Promise<void> => {
      const session = who % 3 === 0 ? undefined : db.session();
      for (let round = 0; ; round += 1) {
        if (session !== undefined) await session.exec('BEGIN');
        const ids = await idsOf(session ?? db, take(1 + ((who + round) % 20)));
        if (session !== undefined && ids.length > 0 && (who + round) % 7 === 0) {
          await session.exec('ROLLBACK');
          continue;
        }
        await session?.exec('COMMIT');
        done.push(...ids);
        if (ids.length > 0) continue;
        // What another one rolls back is there again.
        if (done.length >= jobs) break;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await session?.close();
    };
    await Promise.all(Array.from({ length: workers }, (_, who) => work(who)));
    expect(done.sort((a, b) => a - b)).toEqual(Array.from({ length: jobs }, (_, n) => n + 1));
    expect(
      (await db.query('SELECT state, runs, count(*)::int AS n FROM jobs GROUP BY 1, 2')).rows,
    ).toEqual([{ state: 'taken', runs: 1, n: jobs }]);
    expect(engine.claims.isEmpty).toBe(true);
  },
  120_000,
);

/** Over a journal that takes its time, beside others who add jobs and touch all of them. */
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
      const world = sim.db;
      await world.exec(`CREATE TABLE jobs (id int PRIMARY KEY, state text NOT NULL, rank int, runs int NOT NULL);
        INSERT INTO jobs SELECT n, 'ready', 0, 0 FROM generate_series(1, 30) s(n)`);
      const done: number[] = [];
      let isAdding = true;
      const work = async (): Promise<void> => {
        const session = world.session();
        for (;;) {
          const isAlone = below(2) === 0;
          if (!isAlone)
            await session.exec(below(4) === 0 ? 'BEGIN ISOLATION LEVEL SERIALIZABLE' : 'BEGIN');
          try {
            const how = ['SKIP LOCKED', 'SKIP LOCKED', 'SKIP LOCKED', '', 'NOWAIT'][below(5)]!;
            const take = TAKES[FORMS[below(FORMS.length)]!]!;
            const ids = await idsOf(session, take(1 + below(3), how));
            const fate = below(5);
            if (!isAlone) {
              await sim.clock.pause(below(6), 'test');
              await session.exec(fate <= 1 ? 'ROLLBACK' : 'COMMIT');
            }
            if (isAlone || fate > 1) done.push(...ids);
            if (ids.length === 0 && !isAdding && done.length >= 50) break;
            if (ids.length === 0) await sim.clock.pause(1 + below(4), 'test');
          } catch (cause) {
            if (!(cause instanceof DbError)) throw cause;
            expect(isAlone ? ['55P03'] : ['55P03', '40001']).toContain(cause.code);
            if (!isAlone) await session.exec('ROLLBACK');
            await sim.clock.pause(1 + below(4), 'test');
          }
        }
        await session.close();
      };
      const add = async (): Promise<void> => {
        for (let id = 31; id <= 50; id += 1) {
          await world.exec(`INSERT INTO jobs VALUES (${id}, 'ready', 0, 0)`);
          if (below(3) === 0) await world.exec('UPDATE jobs SET rank = rank + 1');
        }
        isAdding = false;
      };
      await Promise.all([add(), ...Array.from({ length: 5 }, work)]);
      expect(done.sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, n) => n + 1));
      const { rows } = await world.query(
        "SELECT count(*)::int AS n FROM jobs WHERE state = 'taken' AND runs = 1",
      );
      expect(rows).toEqual([{ n: 50 }]);
      expect(sim.engine.claims.isEmpty).toBe(true);
    });
    await sim.run(() => sim.db.close());
    expect(sim.engine.memory.usedBytes).toBe(0);
  },
);
