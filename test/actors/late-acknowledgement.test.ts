/**
 * What must hold between a commit's staging and its acknowledgement, when the journal takes its time. All of these were found
 * by the simulator.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { INJECTED_BREAK } from '../../src/sim/staging-faults.ts';
import { TestWorld } from '../sim/test-world.ts';

let sim: TestWorld;

beforeEach(async () => {
  sim = await worldWith({});
  await sim.run(() =>
    sim.db.exec(
      'CREATE TABLE t (id int PRIMARY KEY, g text, n int); CREATE TABLE u (id int PRIMARY KEY, n int)',
    ),
  );
});

afterEach(async () => {
  await sim.run(() => sim.db.close());
  expect(sim.engine.memory.usedBytes).toBe(0);
});

function worldWith(options: {
  readonly viewBreak?: number;
  readonly stepBudgetUnits?: number;
}): Promise<TestWorld> {
  return TestWorld.make({
    machine: {
      stepBudgetUnits: options.stepBudgetUnits ?? 20_000,
      nanosecondsPerUnit: 10_000,
      groupsInFlightMax: 4,
    },
    faults: { journalDelay: 5, viewBreak: options.viewBreak ?? 0 },
  });
}

const rowsOf = async (sql: string): Promise<unknown[]> => (await sim.db.query(sql)).rows;

test('a view that is made while commits are on their way has them all, before and after', async () => {
  await sim.run(async () => {
    const writes = [sim.db.insert('t', { id: 1, g: 'a', n: 1 })];
    await sim.clock.pause(1, 'test');
    const made = sim.db.exec(
      'CREATE MATERIALIZED VIEW v AS SELECT g, sum(n) AS s FROM t GROUP BY g',
    );
    for (let id = 2; id < 12; id += 1) {
      await sim.clock.pause(1, 'test');
      writes.push(sim.db.insert('t', { id, g: 'a', n: 1 }));
    }
    await made;
    await Promise.all(writes);
    expect(await rowsOf('SELECT s FROM v')).toEqual([{ s: 11 }]);
  });
});

test('an UPDATE does not undo one that is not acknowledged yet', async () => {
  await sim.run(async () => {
    await sim.db.insert('t', { id: 1, g: 'a', n: 0 });
    const adds = Array.from({ length: 6 }, () =>
      sim.db.exec('UPDATE t SET n = n + 1 WHERE id = 1'),
    );
    const session = sim.db.session();
    await session.exec('BEGIN');
    await session.exec('UPDATE t SET n = n + 1 WHERE id = 1');
    await session.exec('COMMIT');
    await session.close();
    await Promise.all(adds);
    expect(await rowsOf('SELECT n FROM t')).toEqual([{ n: 7 }]);
  });
});

/** It read the table that ALTER had put in the place of the old one, which has no rows for readers yet: no row was changed. */
test('what is changed while a table that was altered is on its way is changed in all of its rows', async () => {
  await sim.run(async () => {
    await sim.db.insert('t', { id: 1, g: 'a', n: 0 });
    const [one, two] = [sim.db.session(), sim.db.session()];
    let expected = 0;
    for (let round = 0; round < 24; round += 1) {
      await one.exec('BEGIN; ALTER TABLE t ADD CHECK (n >= 0)');
      const committed = one.exec('COMMIT');
      await two.exec('BEGIN');
      // Somewhere between the staging and the acknowledgement.
      await sim.clock.pause(round / 4, 'test');
      const { rowCount } = await two.query('UPDATE t SET n = n + 1 WHERE id = 1');
      await two.exec('COMMIT');
      await committed;
      expect(rowCount).toBe(1);
      expected += 1;
    }
    expect(await rowsOf('SELECT n FROM t')).toEqual([{ n: expected }]);
  });
});

/** It had the row while it waited for another one, so that it took what it saw of it for the newest: what came before the claim was still on its way. */
test('a row that is claimed while a change of it is on its way is not written before that is seen', async () => {
  await sim.run(async () => {
    await sim.db.insert('t', { id: [1, 2], g: ['a', 'a'], n: [0, 0] });
    for (let round = 0; round < 20; round += 1) {
      const [holder, writer] = [sim.db.session(), sim.db.session()];
      await holder.exec('BEGIN; UPDATE t SET n = 0 WHERE id = 2');
      await writer.exec('BEGIN; SAVEPOINT s');
      const add = sim.db.exec('UPDATE t SET n = n + 1 WHERE id = 1');
      await sim.clock.pause(round % 5, 'test');
      const text =
        "INSERT INTO t VALUES (1, 'a', 0), (2, 'a', 0) ON CONFLICT (id) DO UPDATE SET n = t.n + 1";
      const giveUp = new AbortController();
      const options = round % 2 === 0 ? {} : { signal: giveUp.signal };
      const wait = writer.query(text, options).catch(() => 'given up');
      await sim.clock.pause(1, 'test');
      giveUp.abort();
      await holder.exec('ROLLBACK');
      if ((await wait) === 'given up') {
        await writer.exec('ROLLBACK TO SAVEPOINT s');
        await writer.exec(text);
      }
      await writer.exec('COMMIT');
      await add;
      expect(await rowsOf('SELECT n FROM t WHERE id = 1')).toEqual([{ n: 2 * (round + 1) }]);
      await Promise.all([holder.close(), writer.close()]);
    }
  });
});

test('a serializable transaction cannot commit behind what it has not seen on its way', async () => {
  await sim.run(async () => {
    const { code } = (await sim.db
      .transaction(async (tx) => {
        await tx.query('SELECT sum(n) FROM t');
        void sim.db.insert('t', { id: 1, g: 'a', n: 5 });
        await sim.clock.pause(2, 'test');
        await tx.insert('u', { id: 1, n: 0 });
      })
      .catch((cause: { code: string }) => cause)) as { code: string };
    expect(code).toBe('40001');
  });
});

test('write skew is refused also where a transaction reads after the other has committed', async () => {
  await sim.run(async () => {
    await sim.db.insert('t', { id: 1, g: 'a', n: 1 });
    await sim.db.insert('u', { id: 1, n: 1 });
    const late = sim.db.transaction(async (tx) => {
      await sim.clock.pause(30, 'test');
      const { rows } = await tx.query<{ n: number }>('SELECT n FROM t WHERE id = 1');
      await tx.exec(`UPDATE u SET n = ${rows[0]!.n - 1} WHERE id = 1`);
    });
    await sim.db.transaction(async (tx) => {
      const { rows } = await tx.query<{ n: number }>('SELECT n FROM u WHERE id = 1');
      await tx.exec(`UPDATE t SET n = ${rows[0]!.n - 1} WHERE id = 1`);
    });
    await expect(late).rejects.toMatchObject({ code: '40001' });
  });
});

test('a commit for which the journal has no room is undone alone', async () => {
  await sim.run(() => sim.db.close());
  sim = await TestWorld.make({
    faults: { journalDelay: 5 },
    planned: [{ kind: 'journalFull', nth: 2 }],
  });
  await sim.run(async () => {
    await sim.db.exec('CREATE TABLE t (id int PRIMARY KEY, n int)');
    sim.faultsActive = true;
    const writes = [];
    for (const id of [1, 2, 3]) {
      writes.push(sim.db.insert('t', { id, n: 1 }));
      // Each is a commit of its own, and on its way when the next comes.
      await sim.clock.pause(1, 'test');
    }
    const outcomes = await Promise.allSettled(writes);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    await expect(writes[1]).rejects.toMatchObject({ code: '53000' });
    expect(await rowsOf('SELECT id FROM t ORDER BY id')).toEqual([{ id: 1 }, { id: 3 }]);
  });
});

test('a view above one that broke is made anew, too; meanwhile both say how old they are', async () => {
  await sim.run(() => sim.db.close());
  sim = await worldWith({ viewBreak: 1 });
  await sim.run(async () => {
    await sim.db.exec(
      `CREATE TABLE t (id int PRIMARY KEY, g text);
       CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS n FROM t GROUP BY g;
       CREATE MATERIALIZED VIEW w AS SELECT n, count(*) AS m FROM v GROUP BY n`,
    );
    const first = await sim.db.insert('t', { id: 1, g: 'a' });
    const failed: unknown[] = [];
    sim.db.on('view.failed', ({ view, cause }) => failed.push([view, (cause as Error).message]));
    const reader = sim.db.session();
    await reader.exec('BEGIN ISOLATION LEVEL REPEATABLE READ');
    sim.faultsActive = true;
    const second = sim.db.insert('t', { id: 2, g: 'a' });
    while (failed.length === 0) await sim.clock.pause(0, 'test');
    sim.faultsActive = false;
    await second;
    expect(failed).toEqual([
      ['v', INJECTED_BREAK],
      ['w', INJECTED_BREAK],
    ]);
    const old = await sim.db.query('SELECT * FROM w');
    expect([old.rows, old.meta.position]).toEqual([[{ n: 1, m: 1 }], first.position]);
    // A transaction must not be told what is old: the query is run instead.
    const { rows } = await sim.db
      .transaction(async (tx) => tx.query('SELECT * FROM w'))
      .then(({ value }) => value);
    expect(rows).toEqual([{ n: 2, m: 1 }]);
    await sim.clock.pause(1_000, 'test');
    expect(await rowsOf('SELECT * FROM w')).toEqual([{ n: 2, m: 1 }]);
    // It began before the views were made anew: they do not reach back to it.
    expect((await reader.query('SELECT * FROM v')).rows).toEqual([{ g: 'a', n: 1 }]);
    await reader.exec('COMMIT');
    await reader.close();
  });
});

test('a commit that is taken back between two steps leaves no trace in the views it was in', async () => {
  await sim.run(() => sim.db.close());
  sim = await worldWith({ stepBudgetUnits: 16 });
  await sim.run(async () => {
    await sim.db.exec(
      `CREATE TABLE t (id int PRIMARY KEY, g int);
       CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS n FROM t GROUP BY g;
       CREATE MATERIALIZED VIEW w AS SELECT n, count(*) AS m FROM v GROUP BY n`,
    );
    let cancelled = 0;
    for (let after = 0; after < 40; after += 1) {
      const abort = new AbortController();
      const id = Float64Array.from({ length: 20 }, (_, index) => after * 100 + index);
      const insert = sim.db.insert('t', { id, g: id }, { signal: abort.signal });
      sim.clock.at(after * 0.25, 'abort', () => abort.abort());
      await insert.catch((cause: { code: string }) => {
        expect(cause.code).toBe('57014');
        cancelled += 1;
      });
      expect(await rowsOf('SELECT * FROM w')).toEqual(
        await rowsOf(
          'SELECT n, count(*) AS m FROM (SELECT g, count(*) AS n FROM t GROUP BY g) AS v GROUP BY n',
        ),
      );
    }
    expect(cancelled).toBeGreaterThan(5);
    expect(cancelled).toBeLessThan(40);
  });
});

test('a reader goes on with a table that is dropped under it', async () => {
  await sim.run(async () => {
    await sim.db.insert('t', { id: [1, 2, 3], g: ['a', 'b', 'c'], n: [1, 2, 3] });
    const reader = sim.db.query('SELECT count(*) AS n FROM t');
    await sim.db.exec('DROP TABLE t');
    expect((await reader).rows).toEqual([{ n: 3 }]);
  });
});

test('a serializable transaction that writes by key what was deleted meanwhile is refused, not broken', async () => {
  await sim.run(async () => {
    await sim.db.insert('t', { id: 1, g: 'a', n: 1 });
    const late = sim.db.transaction(async (tx) => {
      await sim.clock.pause(30, 'test');
      await tx.upsert('t', { id: 1, g: 'b', n: 2 });
    });
    await sim.db.delete('t', { id: 1 });
    await expect(late).rejects.toMatchObject({ code: '40001' });
    expect(await rowsOf('SELECT * FROM t')).toEqual([]);
  });
});

test('nobody reads a table before its definition is acknowledged; rows behind it are on their way with it', async () => {
  await sim.run(async () => {
    const made = sim.db.exec('CREATE TABLE late (a int)');
    await sim.clock.pause(1, 'test');
    const written = sim.db.insert('late', { a: 1 });
    const read = sim.db.query('SELECT count(*) AS n FROM late');
    let acknowledged = false;
    void made.then(() => (acknowledged = true));
    await read;
    expect(acknowledged).toBe(true);
    await written;
    expect(await rowsOf('SELECT a FROM late')).toEqual([{ a: 1 }]);
  });
});

test('a grant is seen once it is acknowledged', async () => {
  await sim.run(async () => {
    const granted = sim.db.exec('GRANT SELECT ON t TO acme');
    await sim.clock.pause(1, 'test');
    let acknowledged = false;
    void granted.then(() => (acknowledged = true));
    await sim.db.as({ tenant: 'acme' }).query('SELECT * FROM t');
    expect(acknowledged).toBe(true);
  });
});

test('a transaction that writes is not kept waiting by others who never stop', async () => {
  await sim.run(async () => {
    await sim.db.insert('t', { id: 1, g: 'a', n: 0 });
    let stop = false;
    let others = 0;
    const busy = async (first: number): Promise<void> => {
      for (let id = first; !stop; id += 10) {
        await sim.db.insert('t', { id, g: 'b', n: 1 });
        others += 1;
      }
    };
    // At every moment some of their rows are staged and not acknowledged.
    const writers = Array.from({ length: 6 }, (_, index) => busy(100 + index));
    const session = sim.db.session();
    for (let turn = 0; turn < 5; turn += 1) {
      await session.exec('BEGIN');
      await session.exec('UPDATE t SET n = n + 1 WHERE id = 1');
      await session.exec('COMMIT');
    }
    stop = true;
    await Promise.all(writers);
    await session.close();
    expect(await rowsOf('SELECT n FROM t WHERE id = 1')).toEqual([{ n: 5 }]);
    expect(others).toBeLessThan(500);
  });
});

test('while the journal is behind, commits wait, and go on in their order', async () => {
  await sim.run(async () => {
    let behind = true;
    Object.defineProperty(sim.engine.log, 'isBehind', { get: () => behind, configurable: true });
    const done: number[] = [];
    const waiting = [1, 2, 3].map((id) =>
      sim.db.insert('t', { id, g: 'a', n: id }).then(() => done.push(id)),
    );
    await sim.clock.pause(50, 'test');
    expect(done).toEqual([]);
    behind = false;
    // The next acknowledgement lets them go on.
    await sim.db.insert('u', { id: 1, n: 1 });
    await Promise.all(waiting);
    expect(done).toEqual([1, 2, 3]);
  });
});
