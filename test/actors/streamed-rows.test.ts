import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { open } from '../../src/index.ts';

const CHUNKS = 64;
const CHUNK_ROWS = 256;

/** A full collection, and a turn of the event loop in which nothing holds what the turn before it had in hands. */
async function collected(): Promise<void> {
  setFlagsFromString('--expose-gc');
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  runInNewContext('gc')();
}

test.each([
  ['an insert', async (db, rows) => db.insert('t', rows())],
  [
    'an insert with a time limit',
    async (db, rows) => db.insert('t', rows(), { timeoutMs: 60_000 }),
  ],
  ['a transaction', async (db, rows) => db.transaction((tx) => tx.insert('t', rows()))],
] satisfies [
  string,
  (
    db: Awaited<ReturnType<typeof open>>,
    rows: () => AsyncIterable<readonly { id: number }[]>,
  ) => Promise<unknown>,
][])('%s lets go of the rows that it has read', async (_, insert) => {
  const db = await open();
  await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
  const given: WeakRef<object>[] = [];
  let held = Infinity;
  async function* rows() {
    for (let chunk = 0; chunk < CHUNKS; chunk += 1) {
      const made = Array.from({ length: CHUNK_ROWS }, (__, at) => ({
        id: chunk * CHUNK_ROWS + at,
      }));
      given.push(new WeakRef(made));
      yield made;
    }
    await collected();
    held = given.filter((chunk) => chunk.deref() !== undefined).length;
  }
  await insert(db, rows);
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([
    { n: CHUNKS * CHUNK_ROWS },
  ]);
  expect(held).toBeLessThanOrEqual(2);
  await db.close();
});
