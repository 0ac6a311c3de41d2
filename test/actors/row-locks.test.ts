import { afterEach, beforeEach, expect, test } from 'vitest';
import type { DbError } from '../../src/base/errors.ts';
import type { Database } from '../../src/index.ts';
import { open } from '../../src/open.ts';

/**
 * FOR UPDATE was bound and then claimed nothing: two sessions read the same balance, and one of the two changes was lost. The
 * transfers that test isolation wrote by arithmetic (`bal = bal + 1`), which needs no claim on what was read.
 */

let db: Database;
beforeEach(async () => {
  db = await open({ workers: 0 });
  await db.exec(`CREATE TABLE acc (id int PRIMARY KEY, g int, bal bigint NOT NULL);
    INSERT INTO acc SELECT n, n % 2, 100 FROM generate_series(1, 6) s(n);
    CREATE TABLE owners (acc int, name text); INSERT INTO owners VALUES (1, 'ann'), (2, 'bob')`);
});
afterEach(() => db.close());

/** Whether it is done after everything else that can run has run. */
async function isHeldUp(work: Promise<unknown>): Promise<boolean> {
  let done = false;
  void work.then(
    () => (done = true),
    () => (done = true),
  );
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  return !done;
}

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'accepted',
    (cause: unknown) => (cause as DbError).code,
  );

test('rows that are selected FOR UPDATE are held until the transaction ends, and the next one reads them as they are then', async () => {
  const [ann, bob] = [db.session(), db.session()];
  await ann.exec('BEGIN');
  await bob.exec('BEGIN');
  const text = 'SELECT bal FROM acc WHERE id = 1 FOR UPDATE';
  expect((await ann.query(text)).rows).toEqual([{ bal: 100 }]);
  const waiting = bob.query(text);
  const autocommit = db.exec('UPDATE acc SET bal = bal + 1 WHERE id = 1');
  expect(await isHeldUp(waiting)).toBe(true);
  expect(await isHeldUp(autocommit)).toBe(true);
  await db.exec('UPDATE acc SET bal = bal + 1 WHERE id = 2');
  await ann.exec('UPDATE acc SET bal = 50 WHERE id = 1');
  await ann.exec('COMMIT');
  const { rows, columns } = await waiting;
  expect([50, 51]).toContain(rows[0]!['bal']);
  expect(columns.map(({ name }) => name)).toEqual(['bal']);
  await bob.exec('ROLLBACK');
  await autocommit;
  expect((await db.query('SELECT bal FROM acc WHERE id = 1')).rows).toEqual([{ bal: 51 }]);
});

test('amounts read FOR UPDATE and written back by many sessions are all there at the end', async () => {
  const rounds = 12;
  const teller = async (from: number): Promise<void> => {
    const session = db.session();
    for (let round = 0; round < rounds; round += 1) {
      const [a, b] = [1 + ((from + round) % 6), 1 + ((from * 3 + round * 5 + 1) % 6)];
      if (a === b) continue;
      await session.exec('BEGIN');
      const held = await session.query<{ id: number; bal: number }>(
        `SELECT id, bal FROM acc WHERE id IN (${a}, ${b}) ORDER BY bal DESC, id FOR UPDATE`,
      );
      for (const { id, bal } of held.rows)
        await session.exec(`UPDATE acc SET bal = ${bal + (id === a ? 7 : -7)} WHERE id = ${id}`);
      await session.exec(round % 4 === 3 ? 'ROLLBACK' : 'COMMIT');
    }
    await session.close();
  };
  await Promise.all([0, 1, 2, 3, 4, 5].map(teller));
  expect((await db.query('SELECT sum(bal) AS s FROM acc')).rows).toEqual([{ s: '600' }]);
});

test('a snapshot does not claim rows that have changed since: 40001', async () => {
  const session = db.session();
  await session.exec('BEGIN ISOLATION LEVEL REPEATABLE READ');
  await session.query('SELECT count(*) FROM owners');
  await db.exec('UPDATE acc SET bal = 1 WHERE id = 1');
  expect(await codeOf(session.query('SELECT bal FROM acc WHERE id = 1 FOR UPDATE'))).toBe('40001');
  await session.exec('ROLLBACK');
});

test('NOWAIT is 55P03, a circle of waiting 40P01, and a signal ends the waiting', async () => {
  const [ann, bob] = [db.session(), db.session()];
  await ann.exec('BEGIN');
  await bob.exec('BEGIN');
  await ann.query('SELECT * FROM acc WHERE id = 1 FOR UPDATE');
  await bob.query('SELECT * FROM acc WHERE id = 2 FOR NO KEY UPDATE');
  const impatient = db.session();
  await impatient.exec('BEGIN');
  expect(
    await codeOf(impatient.query('SELECT * FROM acc ORDER BY id LIMIT 1 FOR UPDATE NOWAIT')),
  ).toBe('55P03');
  await impatient.exec('ROLLBACK; BEGIN');
  expect(
    await codeOf(
      impatient.query('SELECT * FROM acc WHERE id = 1 FOR SHARE', {
        signal: AbortSignal.timeout(5),
      }),
    ),
  ).toBe('57014');
  await impatient.close();
  const waiting = ann.query('SELECT * FROM acc WHERE id = 2 FOR UPDATE');
  expect(await isHeldUp(waiting)).toBe(true);
  expect(await codeOf(bob.query('SELECT * FROM acc WHERE id = 1 FOR UPDATE'))).toBe('40P01');
  await bob.exec('ROLLBACK');
  expect((await waiting).rowCount).toBe(1);
  await ann.exec('ROLLBACK');
});

test('through a join the table that OF names is claimed, and no other', async () => {
  const session = db.session();
  await session.exec('BEGIN');
  const { rows } = await session.query(
    'SELECT name, bal FROM acc a JOIN owners o ON o.acc = a.id ORDER BY 1 FOR UPDATE OF a',
  );
  expect(rows).toEqual([
    { name: 'ann', bal: 100 },
    { name: 'bob', bal: 100 },
  ]);
  await db.exec("UPDATE owners SET name = 'eve' WHERE acc = 1");
  const held = db.exec('UPDATE acc SET bal = 0 WHERE id = 1');
  expect(await isHeldUp(held)).toBe(true);
  await session.exec('COMMIT');
  await held;
});

test('what cannot be claimed is refused as PostgreSQL does', async () => {
  await db.exec('CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS n FROM acc GROUP BY g');
  const session = db.session();
  const of = async (text: string): Promise<string> => {
    await session.exec('BEGIN');
    const code = await codeOf(session.query(text));
    await session.exec('ROLLBACK');
    return code;
  };
  expect(await of('SELECT g, count(*) FROM acc GROUP BY g FOR UPDATE')).toBe('0A000');
  expect(await of('SELECT count(*) FROM acc FOR UPDATE')).toBe('0A000');
  expect(await of('SELECT DISTINCT g FROM acc FOR UPDATE')).toBe('0A000');
  expect(await of('SELECT id FROM acc UNION SELECT acc FROM owners FOR UPDATE')).toBe('0A000');
  expect(await of('SELECT id FROM acc, owners FOR UPDATE SKIP LOCKED')).toBe('0A000');
  expect(
    await of('SELECT id FROM acc WHERE id IN (SELECT acc FROM owners) FOR UPDATE SKIP LOCKED'),
  ).toBe('0A000');
  expect(await of('SELECT * FROM v FOR UPDATE')).toBe('42809');
  expect(await of('SELECT * FROM acc FOR UPDATE OF nobody')).toBe('42P01');
  await session.exec('BEGIN READ ONLY');
  expect(await codeOf(session.query('SELECT * FROM acc FOR UPDATE'))).toBe('25006');
});
