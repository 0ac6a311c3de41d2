/** SET TRANSACTION began the transaction anew where it had written nothing: what FOR UPDATE had claimed was free, SET LOCAL and savepoints were gone. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { DbError } from '../../src/base/errors.ts';
import type { Database } from '../../src/index.ts';
import { open } from '../../src/open.ts';

type Session = ReturnType<Database['session']>;

let db: Database;
let session: Session;
beforeEach(async () => {
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0)');
  session = db.session();
});
afterEach(() => db.close());

const shown = async (name: string): Promise<unknown> =>
  Object.values((await session.query(`SHOW ${name}`)).rows[0]!)[0];

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (cause: DbError) => cause.code,
  );

test('the level is set before anything is asked, and keeps what was set until then', async () => {
  await session.exec("BEGIN; SET LOCAL lock_timeout = '3s'; SAVEPOINT s");
  await session.exec('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY');
  expect(await shown('transaction_isolation')).toBe('repeatable read');
  expect(await shown('transaction_read_only')).toBe('on');
  expect(await shown('lock_timeout')).toBe('3s');
  expect((await session.query('SELECT v FROM t')).rows).toEqual([{ v: 0 }]);
  await db.exec('UPDATE t SET v = 1');
  expect((await session.query('SELECT v FROM t')).rows).toEqual([{ v: 0 }]);
  await session.exec('ROLLBACK TO s; COMMIT');
});

test.each([
  ['SELECT 1', () => session.query('SELECT 1')],
  ['FOR UPDATE', () => session.query('SELECT * FROM t FOR UPDATE')],
  ['INSERT', () => session.exec('INSERT INTO t VALUES (2, 2)')],
  ['insert', () => session.insert('t', { id: 2, v: 2 })],
  ['CREATE TABLE', () => session.exec('CREATE TABLE u (i int)')],
])('after %s it is refused; to read only is taken, and to write again is not', async (_, ask) => {
  for (const text of [
    'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE',
    'SET TRANSACTION READ ONLY; SET TRANSACTION READ WRITE',
  ]) {
    await session.exec('BEGIN');
    await ask();
    await session.exec('SET TRANSACTION ISOLATION LEVEL READ COMMITTED');
    expect(await codeOf(session.exec(text))).toBe('25001');
    await session.exec('ROLLBACK');
  }
  await session.exec('BEGIN');
  await ask();
  await session.exec('SET TRANSACTION READ ONLY');
  expect(await codeOf(session.exec('DELETE FROM t'))).toBe('25006');
  await session.exec('ROLLBACK');
});

test('what was claimed stays claimed', async () => {
  await session.exec('BEGIN; SELECT * FROM t FOR UPDATE');
  await session.exec('SET TRANSACTION READ ONLY');
  const other = db.session();
  await other.exec("SET lock_timeout = '30ms'");
  expect(await codeOf(other.exec('UPDATE t SET v = 2'))).toBe('55P03');
  await session.exec('COMMIT');
  await other.exec('UPDATE t SET v = 2');
});

test('BEGIN goes on with what its text has begun', async () => {
  await session.exec("SET application_name = 'a'; BEGIN ISOLATION LEVEL SERIALIZABLE; SHOW ALL");
  expect(await shown('application_name')).toBe('a');
  expect(await shown('transaction_isolation')).toBe('serializable');
  await session.exec('COMMIT');
  await session.exec('SELECT * FROM t FOR UPDATE; BEGIN');
  const other = db.session();
  await other.exec("SET lock_timeout = '30ms'");
  expect(await codeOf(other.exec('UPDATE t SET v = 2'))).toBe('55P03');
  await session.exec('COMMIT');
  expect(await codeOf(session.exec('SELECT 1; BEGIN ISOLATION LEVEL SERIALIZABLE'))).toBe('25001');
  expect(session.status).toBe('idle');
});

test('a text of several statements is read only where the session says so', async () => {
  await session.exec('SET default_transaction_read_only = on');
  expect(await codeOf(session.exec('SELECT 1; INSERT INTO t VALUES (5, 5)'))).toBe('25006');
  await session.exec('BEGIN READ WRITE; INSERT INTO t VALUES (5, 5); COMMIT');
});

test('db.transaction whose level is set is rolled back and committed as one', async () => {
  await db.transaction(async (tx) => {
    await tx.exec('SET TRANSACTION ISOLATION LEVEL READ COMMITTED');
    await tx.exec('INSERT INTO t VALUES (3, 3)');
  });
  const failed = db.transaction(async (tx) => {
    await tx.exec('SET TRANSACTION READ ONLY');
    await tx.exec('INSERT INTO t VALUES (4, 4)').catch(() => undefined);
  });
  expect(await codeOf(failed)).toBe('25P02');
  expect((await db.query('SELECT id FROM t ORDER BY id')).rows).toEqual([{ id: 1 }, { id: 3 }]);
});

test('what is read after SET TRANSACTION READ ONLY counts where something was written before', async () => {
  await db.exec('CREATE TABLE ann (id int); CREATE TABLE bob (id int)');
  const [ann, bob] = [db.session(), db.session()];
  for (const each of [ann, bob]) await each.exec('BEGIN ISOLATION LEVEL SERIALIZABLE');
  await ann.exec('INSERT INTO ann VALUES (1); SET TRANSACTION READ ONLY');
  await bob.exec('INSERT INTO bob VALUES (1)');
  expect((await ann.query('SELECT * FROM bob')).rows).toEqual([]);
  expect((await bob.query('SELECT * FROM ann')).rows).toEqual([]);
  await bob.exec('COMMIT');
  await expect(ann.exec('COMMIT')).rejects.toMatchObject({ code: '40001' });
  await Promise.all([ann.close(), bob.close()]);
});
