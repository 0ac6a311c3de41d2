/** A statement of a transaction that fails and that nobody awaits: the transaction says so, and no rejection is left over, which would end the process. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { DbError } from '../../src/base/errors.ts';
import type { Database } from '../../src/index.ts';
import type { Verbs } from '../../src/actors/api-types.ts';
import { open } from '../../src/open.ts';

let db: Database;
const unhandled: unknown[] = [];
const note = (cause: unknown): void => void unhandled.push(cause);
beforeEach(async () => {
  unhandled.length = 0;
  process.on('unhandledRejection', note);
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 0)');
});
afterEach(async () => {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', note);
  await db.close();
  expect(unhandled).toEqual([]);
});

async function* failing(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('{"id":2}\n');
  throw new Error('the source is gone');
}

const mistakes: readonly (readonly [string, (tx: Verbs) => unknown])[] = [
  ['exec', (tx) => tx.exec('SELECT 1 / 0')],
  ['query', (tx) => tx.query('SELECT nothing FROM t')],
  ['query as text', (tx) => tx.query('SELECT nothing FROM t', { format: 'text' })],
  ['insert', (tx) => tx.insert('t', { id: 1, v: 1 })],
  ['upsert', (tx) => tx.upsert('nowhere', { id: 1, v: 1 })],
  ['delete', (tx) => tx.delete('t', { v: 1 })],
  ['an option that is none', (tx) => tx.query('SELECT 1', { timeOut: 5 } as never)],
];

test.each(mistakes)('%s that is not awaited fails its transaction', async (_, ask) => {
  for (const isAwaitedBefore of [true, false]) {
    const done = db.transaction(async (tx) => {
      if (isAwaitedBefore) await tx.insert('t', { id: 7, v: 7 });
      void ask(tx);
      if (!isAwaitedBefore) await tx.insert('t', { id: 7, v: 7 }).catch(() => undefined);
      await new Promise((resolve) => setImmediate(resolve));
    });
    const { code, cause } = await done.then(
      () => ({ code: 'done', cause: undefined }),
      (cause: DbError) => cause,
    );
    expect(code).toBe('25P02');
    expect(cause).toBeDefined();
    expect((await db.query('SELECT id FROM t')).rows).toEqual([{ id: 1 }]);
  }
});

test('what is under way when the function throws is told by what it throws', async () => {
  const done = db.transaction(async (tx) => {
    void tx.insert('t', { id: 2, v: 2 });
    void tx.query('SELECT * FROM t');
    void tx.load('t', failing(), { format: 'ndjson' });
    throw new Error('mine');
  });
  await expect(done).rejects.toThrow('mine');
  expect((await db.query('SELECT id FROM t')).rows).toEqual([{ id: 1 }]);
});

test('what has failed and is gone back behind is forgotten', async () => {
  await db.transaction(async (tx) => {
    await tx.exec('SAVEPOINT s');
    await tx.exec('SELECT 1 / 0').catch(() => undefined);
    await tx.exec('ROLLBACK TO s');
    await tx.insert('t', { id: 2, v: 2 });
  });
  expect((await db.query('SELECT id FROM t ORDER BY id')).rows).toEqual([{ id: 1 }, { id: 2 }]);
});

test('so is what was not awaited in between', async () => {
  await db.transaction(async (tx) => {
    const asked = [
      tx.exec('SAVEPOINT s'),
      tx.exec('SELECT 1 / 0'),
      tx.insert('t', { id: 3, v: 3 }),
      tx.exec('ROLLBACK TO s'),
      tx.insert('t', { id: 2, v: 2 }),
    ];
    const outcomes = await Promise.allSettled(asked);
    expect(outcomes.map(({ status }) => status === 'fulfilled')).toEqual([
      true,
      false,
      false,
      true,
      true,
    ]);
  });
  expect((await db.query('SELECT id FROM t ORDER BY id')).rows).toEqual([{ id: 1 }, { id: 2 }]);
});

test('streams and loads are verbs of a transaction; a key is none that would outlive it', async () => {
  const { value } = await db.transaction(async (tx) => {
    await tx.load('t', Buffer.from('{"id":2,"v":5}'), { format: 'ndjson' });
    let sum = 0;
    for await (const { rows } of tx.stream<{ v: number }>('SELECT v FROM t'))
      for (const { v } of rows) sum += v;
    return sum;
  });
  expect(value).toBe(5);
  const keyed = db.transaction((tx) =>
    tx.load('t', Buffer.from('{"id":3}'), { format: 'ndjson', idempotencyKey: 'k' }),
  );
  await expect(keyed).rejects.toMatchObject({ code: '0A000' });
});
