import { expect, test } from 'vitest';
import { open } from '../../src/index.ts';

const ROWS = 5_000;

async function opened() {
  const db = await open();
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL, w text)');
  await db.exec('CREATE MATERIALIZED VIEW s AS SELECT count(*) AS n, sum(v) AS v FROM t');
  return db;
}

test('an insert of many rows is one commit, all or none, and its refusal names the row', async () => {
  const db = await opened();
  const rows = Array.from({ length: ROWS }, (_, id) => ({ id, v: 1, w: `w${id % 7}` }));
  const { position } = await db.insert('t', rows);
  expect((await db.query('SELECT n, v FROM s')).rows).toEqual([{ n: ROWS, v: ROWS }]);

  const more = rows.map((row) => ({ ...row, id: row.id + ROWS }));
  const wrong = more.map((row, at) => (at === 4_321 ? { ...row, v: 'many' } : row));
  await expect(db.insert('t', wrong as never)).rejects.toMatchObject({
    code: '22P02',
    column: 'v',
    detail: expect.stringContaining('Row 4322'),
  });
  const twice = more.map((row, at) => (at === 4_999 ? { ...row, id: ROWS + 7 } : row));
  await expect(db.insert('t', twice)).rejects.toMatchObject({ code: '23505' });
  expect((await db.query('SELECT n, v FROM s')).rows).toEqual([{ n: ROWS, v: ROWS }]);
  expect((await db.insert('t', more)).position).toBe(position + 1);
  await db.close();
});

test('of a key given in two pieces of an upsert the last row counts', async () => {
  const db = await opened();
  await db.insert('t', { id: 3, v: 100, w: 'old' });
  const id = Int32Array.from({ length: ROWS }, (_, at) => at % 4_000);
  const v = Int32Array.from({ length: ROWS }, (_, at) => at);
  expect(await db.upsert('t', { id, v })).toMatchObject({ rows: ROWS });
  // What was not given stays.
  expect((await db.query('SELECT * FROM t WHERE id = 3')).rows).toEqual([
    { id: 3, v: 4_003, w: 'old' },
  ]);
  const expected = Array.from({ length: 4_000 }, (_, key) => (key < 1_000 ? key + 4_000 : key));
  expect((await db.query('SELECT n, v FROM s')).rows).toEqual([
    { n: 4_000, v: expected.reduce((sum, value) => sum + value, 0) },
  ]);
  expect(await db.delete('t', { id: [...id] })).toMatchObject({ rows: 4_000 });
  expect((await db.query('SELECT n FROM s')).rows).toEqual([{ n: 0 }]);
  await db.close();
});

test('a statement of several pieces inside a transaction writes all its rows or none', async () => {
  const db = await opened();
  const rows = Array.from({ length: ROWS }, (_, id) => ({ id, v: 1 }));
  await db.transaction(async (tx) => {
    await tx.insert('t', { id: -1, v: 0 });
    await tx.exec('SAVEPOINT before');
    const twice = rows.map((row, at) => (at === 4_999 ? { ...row, id: 0 } : row));
    await expect(tx.insert('t', twice)).rejects.toMatchObject({ code: '23505' });
    await tx.exec('ROLLBACK TO before');
    expect((await tx.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: 1 }]);
    await tx.upsert('t', rows);
  });
  expect((await db.query('SELECT n, v FROM s')).rows).toEqual([{ n: ROWS + 1, v: ROWS }]);
  await db.close();
});

test('no rows are no commit, however they are given', async () => {
  const db = await opened();
  const { position } = await db.insert('t', { id: 1, v: 1 });
  const nothing = { position, rows: 0 };
  expect(await db.insert('t', [])).toEqual(nothing);
  expect(await db.upsert('t', { id: new Int32Array(0), v: new Int32Array(0) })).toEqual(nothing);
  expect(await db.delete('t', { id: [] })).toEqual(nothing);
  await db.close();
});

test('commits of other tables pass a large one', async () => {
  const db = await opened();
  await db.exec('CREATE TABLE other (id int PRIMARY KEY)');
  const id = Int32Array.from({ length: 60_000 }, (_, at) => at);
  const order: string[] = [];
  const large = db.insert('t', { id, v: id }).then(() => order.push('large'));
  await db.insert('other', { id: 1 });
  order.push('small');
  await large;
  expect(order).toEqual(['small', 'large']);
  await db.close();
});
