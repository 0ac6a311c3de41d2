import { expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
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

test('rows that many changes move stand where slices of 1,024 rows put them, whatever slices they are staged in', async () => {
  const db = await open();
  await db.exec('CREATE TABLE numbers (id int PRIMARY KEY, v int NOT NULL)');
  const random = new SeededRandom(7, 'moved rows');
  /** Ids of rows by row id: what records of an old journal name. */
  const rows: (number | undefined)[] = [];
  const rowIdOf = new Map<number, number>();
  const arrive = (id: number): void => {
    const before = rowIdOf.get(id);
    if (before !== undefined) rows[before] = undefined;
    rowIdOf.set(id, rows.length);
    rows.push(id);
  };
  const first = Int32Array.from({ length: 130_900 }, (_, id) => id);
  await db.insert('numbers', { id: first, v: first });
  for (const id of first) arrive(id);
  for (let step = 0; step < 3; step += 1) {
    const ids = new Set<number>();
    // Half of them are new enough to be in the open segment, which is full in the middle of the first step.
    while (ids.size < 1_900)
      ids.add(rowIdOf.size - 1 - random.below(random.below(2) === 0 ? 4_000 : rowIdOf.size));
    const id = Int32Array.from(ids);
    await db.upsert('numbers', { id, v: Int32Array.from(id, (each) => each + step) });
    for (let start = 0; start < id.length; start += 1_024) {
      const openFrom = Math.floor(rows.length / 65_536) * 65_536;
      for (const each of id.subarray(start, start + 1_024))
        if (rowIdOf.get(each)! < openFrom) arrive(each);
    }
    const fresh = Int32Array.from({ length: 700 }, (_, at) => rowIdOf.size + at);
    await db.insert('numbers', { id: fresh, v: fresh });
    for (const each of fresh) arrive(each);
    const told = (await db.query('SELECT id FROM numbers')).rows.map((row) => row['id']);
    expect(told.join()).toBe(rows.filter((each) => each !== undefined).join());
  }
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

test('statements that change many rows are one commit, and others run between their pieces', async () => {
  const db = await opened();
  await db.exec('CREATE TABLE side (v int)');
  await db.query('INSERT INTO t SELECT n, n, NULL FROM generate_series(0, 19999) s(n)');
  const before = (await db.query('SELECT n FROM s')).meta.position;
  const beside = async (sql: string): Promise<number> => {
    let writes = 0;
    let isDone = false;
    const statement = db.query(sql).finally(() => (isDone = true));
    while (!isDone) {
      await db.insert('side', { v: 1 });
      if (!isDone) writes += 1;
    }
    await statement;
    return writes;
  };
  expect(await beside('UPDATE t SET v = v + 1')).toBeGreaterThan(2);
  expect((await db.query('SELECT n, v::int AS v FROM s')).rows).toEqual([
    { n: 20_000, v: 199_990_000 + 20_000 },
  ]);
  const wrong = 'UPDATE t SET v = CASE WHEN id = 19999 THEN NULL ELSE 0 END';
  await expect(db.query(wrong)).rejects.toMatchObject({ code: '23502', column: 'v' });
  const moved = await db.query('UPDATE t SET id = id + 20000 RETURNING id');
  expect(moved.rows.map(({ id }) => id)).toEqual(
    Array.from({ length: 20_000 }, (_, n) => n + 20_000),
  );
  expect(await beside('DELETE FROM t')).toBeGreaterThan(2);
  expect((await db.query('SELECT n FROM s')).rows).toEqual([{ n: 0 }]);
  expect((await db.query('SELECT n FROM s', { asOf: before })).rows).toEqual([{ n: 20_000 }]);
  await db.close();
});

test('what others change while a transaction writes its pieces is lost on neither side', async () => {
  const db = await opened();
  await db.query('INSERT INTO t SELECT n, 0, NULL FROM generate_series(0, 19999) s(n)');
  for (const isRolledBack of [true, false]) {
    const session = db.session();
    await session.query('BEGIN');
    const all = session.query('UPDATE t SET v = v + 1');
    let isDone = false;
    void all.finally(() => (isDone = true));
    const others: Promise<unknown>[] = [];
    while (!isDone) {
      others.push(db.query('UPDATE t SET v = v + 1000 WHERE id = 19999'));
      await db.query('SELECT 1');
    }
    await all;
    await session.query(isRolledBack ? 'ROLLBACK' : 'COMMIT');
    await Promise.all(others);
    const { rows } = await db.query('SELECT min(v) AS low, sum(v)::int AS sum FROM t');
    expect(rows).toEqual([
      isRolledBack
        ? { low: 0, sum: others.length * 1000 }
        : { low: 1, sum: others.length * 1000 + 20_000 },
    ]);
    await db.query('UPDATE t SET v = 0');
    await session.close();
  }
  await db.close();
});

test('a large transaction is committed in steps, between which others run, and is all there or not at all', async () => {
  const db = await opened();
  await db.exec('CREATE TABLE side (v int)');
  await db.query('INSERT INTO t SELECT n, 0, NULL FROM generate_series(0, 29999) s(n)');
  const work = async (end: string): Promise<number> => {
    const session = db.session();
    for (const sql of [
      'BEGIN',
      'DELETE FROM t WHERE id % 3 = 0',
      'UPDATE t SET v = v + 1 WHERE id % 3 = 1',
      'UPDATE t SET v = v + 10 WHERE id % 6 = 1',
      "INSERT INTO t SELECT n, 100, 'new' FROM generate_series(0, 29999, 3) s(n)",
      'DELETE FROM t WHERE id % 12 = 0',
      'DELETE FROM t WHERE id % 12 = 1',
      'SAVEPOINT a',
      'UPDATE t SET v = -1',
      'ROLLBACK TO SAVEPOINT a',
    ])
      await session.query(sql);
    let writes = 0;
    let isDone = false;
    const ended = session.query(end).finally(() => (isDone = true));
    while (!isDone) {
      await db.insert('side', { v: 1 });
      if (!isDone) writes += 1;
    }
    await ended;
    await session.close();
    return writes;
  };
  const rows = async () =>
    (await db.query('SELECT v, w, count(*)::int AS n FROM t GROUP BY v, w ORDER BY v')).rows;
  await work('ROLLBACK');
  expect(await rows()).toEqual([{ v: 0, w: null, n: 30_000 }]);
  expect(await work('COMMIT')).toBeGreaterThan(2);
  const expected = [
    { v: 0, w: null, n: 10_000 },
    { v: 1, w: null, n: 5_000 },
    { v: 11, w: null, n: 2_500 },
    { v: 100, w: 'new', n: 7_500 },
  ];
  expect(await rows()).toEqual(expected);
  const sum = expected.reduce((total, { v, n }) => total + v * n, 0);
  expect((await db.query('SELECT n, v::int AS v FROM s')).rows).toEqual([{ n: 25_000, v: sum }]);

  const late = db.session();
  await late.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
  await late.query('SELECT 1 FROM t LIMIT 1');
  await db.query('UPDATE t SET v = 7 WHERE id = 29999');
  await expect(
    late.query('UPDATE t SET v = v + 1').then(() => late.query('COMMIT')),
  ).rejects.toMatchObject({ code: '40001' });
  await late.close();
  await db.close();
});

test('a view of many rows is filled in steps that count the rows it keeps', async () => {
  const db = await open();
  await db.exec('CREATE TABLE t (id int, w text); CREATE TABLE side (v int)');
  await db.query("INSERT INTO t SELECT n, 'w' || n FROM generate_series(1, 100000) s(n)");
  let writes = 0;
  let isDone = false;
  const made = db
    .exec('CREATE MATERIALIZED VIEW m AS SELECT id, w FROM t WHERE id > 100')
    .finally(() => (isDone = true));
  while (!isDone) {
    await db.insert('side', { v: 1 });
    if (!isDone) writes += 1;
  }
  await made;
  // A batch of 2,048 rows is more than a step may do.
  expect(writes).toBeGreaterThan(40);
  expect((await db.query('SELECT count(*)::int AS n FROM m')).rows).toEqual([{ n: 99_900 }]);
  await db.close();
});

test('others run between the parts of a snapshot that a subscriber takes', async () => {
  const db = await open();
  await db.exec('CREATE TABLE t (id int); CREATE TABLE side (v int)');
  await db.query('INSERT INTO t SELECT n FROM generate_series(1, 50000) s(n)');
  let writes = 0;
  let isDone = false;
  const beside = (async () => {
    while (!isDone) {
      await db.insert('side', { v: 1 });
      writes += 1;
    }
  })();
  let rowCount = 0;
  for await (const change of db.subscribe('t')) {
    if (change.kind !== 'snapshot') continue;
    rowCount += change.rows.length;
    if (!change.more) break;
  }
  isDone = true;
  await beside;
  expect(rowCount).toBe(50_000);
  expect(writes).toBeGreaterThan(10);
  await db.close();
});
