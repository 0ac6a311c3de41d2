import { afterEach, expect, test } from 'vitest';
import { open, type Database } from '../../src/index.ts';

let db: Database;
afterEach(() => db.close());

async function fill(): Promise<number> {
  for (let from = 0; ; from += 5000) {
    const id = Int32Array.from({ length: 5000 }, (_, index) => from + index);
    const note = Array.from(id, (each) => `note number ${each}`);
    try {
      await db.insert('t', { id, g: Array.from(id, (each) => `g${each % 100}`), note });
    } catch (cause) {
      expect(cause).toMatchObject({ code: '53200', limit: 'memory' });
      return from;
    }
  }
}

test('a database that is full refuses rows, still reads and deletes, and takes rows again afterwards', async () => {
  db = await open({ memory: '8 MB', workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, g text, note text)');
  await db.exec('CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS c FROM t GROUP BY g');
  const count = await fill();
  expect((await db.query('SELECT count(*) AS c FROM t')).rows).toEqual([{ c: count }]);
  expect((await db.query('SELECT sum(c) AS c FROM v')).rows).toEqual([{ c: String(count) }]);
  for (let from = 0; from < count; from += 2000)
    await db.exec(`DELETE FROM t WHERE id >= ${from} AND id < ${from + 2000}`);
  expect((await db.query('SELECT count(*) AS c FROM t')).rows).toEqual([{ c: 0 }]);
  expect((await db.query('SELECT * FROM v')).rows).toEqual([]);
  for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  await db.insert('t', { id: 1, g: 'again', note: 'x' });
  expect((await db.query('SELECT * FROM v')).rows).toEqual([{ g: 'again', c: 1 }]);
});
