import { afterEach, beforeEach, expect, test } from 'vitest';
import type { DbError } from '../../src/base/errors.ts';
import type { Database } from '../../src/index.ts';
import { open } from '../../src/open.ts';

let db: Database;
beforeEach(async () => {
  db = await open();
});
afterEach(() => db.close());

async function rows(sql: string): Promise<unknown[][]> {
  return (await db.query(sql, { format: 'text' })).rows as unknown as unknown[][];
}

async function refused(sql: string): Promise<DbError> {
  return db.query(sql).then(
    () => {
      throw new Error(`accepted: ${sql}`);
    },
    (cause: unknown) => cause as DbError,
  );
}

test('constraint errors say table, column or constraint, and the key', async () => {
  await db.exec(`CREATE TABLE t (
    id int PRIMARY KEY, code text UNIQUE, n int NOT NULL CHECK (n > 0), CONSTRAINT small CHECK (n < 100))`);
  await db.exec("INSERT INTO t VALUES (1, 'a', 5)");
  expect(await refused("INSERT INTO t VALUES (1, 'b', 5)")).toMatchObject({
    code: '23505',
    table: 't',
    constraint: 't_pkey',
    detail: 'Key (id)=(1) already exists.',
  });
  expect(await refused("INSERT INTO t VALUES (2, 'a', 5)")).toMatchObject({
    code: '23505',
    constraint: 't_code_key',
    detail: 'Key (code)=(a) already exists.',
  });
  expect(await refused("INSERT INTO t VALUES (2, 'b', NULL)")).toMatchObject({
    code: '23502',
    table: 't',
    column: 'n',
  });
  expect(await refused("INSERT INTO t VALUES (2, 'b', 0)")).toMatchObject({
    code: '23514',
    table: 't',
    constraint: 't_n_check',
  });
  expect(await refused('UPDATE t SET n = 100')).toMatchObject({
    code: '23514',
    constraint: 'small',
  });
  // Of several broken rules NOT NULL is told first; of a statement of several rows nothing stays.
  expect(await refused("INSERT INTO t VALUES (2, 'b', 7), (3, 'c', NULL)")).toMatchObject({
    code: '23502',
  });
  expect(await rows('SELECT * FROM t')).toEqual([['1', 'a', '5']]);
});

test('unique keys may be swapped by one statement; NULLs are never equal', async () => {
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, k int UNIQUE)');
  await db.exec('INSERT INTO t VALUES (1, 2), (2, 1), (3, NULL), (4, NULL)');
  await db.exec('UPDATE t SET k = 3 - k WHERE k IS NOT NULL');
  await db.exec('UPDATE t SET id = id + 1');
  expect(await rows('SELECT * FROM t ORDER BY id')).toEqual([
    ['2', '1'],
    ['3', '2'],
    ['4', null],
    ['5', null],
  ]);
});

test('ON CONFLICT: what is there is left or changed, by columns, by constraint, or whatever it is', async () => {
  await db.exec(
    'CREATE TABLE t (id int PRIMARY KEY, code text CONSTRAINT code_once UNIQUE, n int)',
  );
  await db.exec("INSERT INTO t VALUES (1, 'a', 10), (2, 'b', 20)");
  expect(
    await rows(
      "INSERT INTO t VALUES (1, 'x', 0), (3, 'c', 30) ON CONFLICT (id) DO NOTHING RETURNING id",
    ),
  ).toEqual([['3']]);
  // Without a target any unique index counts, and rows of the statement among themselves.
  expect(
    await rows(
      "INSERT INTO t VALUES (9, 'a', 0), (4, 'd', 0), (5, 'd', 1) ON CONFLICT DO NOTHING RETURNING id",
    ),
  ).toEqual([['4']]);
  expect(
    await rows(`INSERT INTO t AS old VALUES (1, 'a', 5), (6, 'f', 6)
      ON CONFLICT (id) DO UPDATE SET n = old.n + excluded.n WHERE old.n < 100 RETURNING id, n`),
  ).toEqual([
    ['1', '15'],
    ['6', '6'],
  ]);
  expect(
    await rows(`INSERT INTO t VALUES (7, 'b', 1) ON CONFLICT ON CONSTRAINT code_once
      DO UPDATE SET (n, id) = (t.n + 1, excluded.id) RETURNING *`),
  ).toEqual([['7', 'b', '21']]);
  // WHERE that is not true: the row stays, and is not returned.
  expect(
    await rows(
      "INSERT INTO t VALUES (1, 'a', 0) ON CONFLICT (id) DO UPDATE SET n = 0 WHERE false RETURNING *",
    ),
  ).toEqual([]);
  expect(
    await refused(
      "INSERT INTO t VALUES (1, 'a', 0), (1, 'a', 1) ON CONFLICT (id) DO UPDATE SET n = 9",
    ),
  ).toMatchObject({ code: '21000' });
  // Another unique index than the target's is still kept.
  expect(
    await refused("INSERT INTO t VALUES (8, 'a', 0) ON CONFLICT (id) DO UPDATE SET n = 0"),
  ).toMatchObject({ code: '23505', constraint: 'code_once' });
  expect(await refused('INSERT INTO t VALUES (1) ON CONFLICT (n) DO NOTHING')).toMatchObject({
    code: '42P10',
    hint: expect.stringContaining('CREATE UNIQUE INDEX'),
  });
  expect(
    await refused('INSERT INTO t VALUES (1) ON CONFLICT ON CONSTRAINT nope DO NOTHING'),
  ).toMatchObject({ code: '42704' });
});

test('a proposed row that is left out keeps no other row from its place', async () => {
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, code text UNIQUE)');
  await db.exec("INSERT INTO t VALUES (1, 'a')");
  await db.exec("INSERT INTO t VALUES (1, 'z'), (2, 'z') ON CONFLICT DO NOTHING");
  expect(await rows('SELECT * FROM t ORDER BY id')).toEqual([
    ['1', 'a'],
    ['2', 'z'],
  ]);
});

test('keys that are equal as values conflict, however they are written', async () => {
  await db.exec('CREATE TABLE t (k numeric PRIMARY KEY, n int)');
  await db.exec('INSERT INTO t VALUES (1.0, 1)');
  await db.exec('INSERT INTO t VALUES (1.00, 2) ON CONFLICT (k) DO UPDATE SET n = excluded.n');
  expect(await rows('SELECT n FROM t')).toEqual([['2']]);
  expect(
    await refused('INSERT INTO t VALUES (2, 1), (2.0, 2) ON CONFLICT (k) DO UPDATE SET n = 0'),
  ).toMatchObject({ code: '21000' });
});

test('UPDATE and DELETE with WITH and FROM; RETURNING names all of their columns', async () => {
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TABLE s (id int, d int)');
  await db.exec(
    'INSERT INTO t VALUES (1, 10), (2, 20), (3, 30); INSERT INTO s VALUES (1, 5), (2, 7)',
  );
  expect(
    await rows('UPDATE t SET n = n + s.d FROM s WHERE s.id = t.id RETURNING t.*, s.d, n - d'),
  ).toEqual([
    ['1', '15', '5', '10'],
    ['2', '27', '7', '20'],
  ]);
  expect(
    await rows(
      'WITH x AS (SELECT 3 AS id) UPDATE t SET n = 0 FROM x WHERE x.id = t.id RETURNING *',
    ),
  ).toEqual([['3', '0', '3']]);
  expect(
    await rows(
      'WITH x AS (SELECT max(id) AS id FROM s) DELETE FROM t USING s WHERE s.id = t.id AND t.id IN (SELECT id FROM x) RETURNING t.id, d',
    ),
  ).toEqual([['2', '7']]);
  // A row that a join brings up twice is changed once.
  await db.exec('INSERT INTO s VALUES (1, 100)');
  await db.exec('UPDATE t SET n = d FROM s WHERE s.id = t.id');
  expect(await rows('SELECT * FROM t ORDER BY id')).toEqual([
    ['1', '5'],
    ['3', '0'],
  ]);
});

test('several columns are set from one row of a subquery', async () => {
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, a int, b text)');
  await db.exec("INSERT INTO t VALUES (1, 10, 'x'), (2, 20, 'y')");
  await db.exec('UPDATE t SET (b, a) = (SELECT o.b, o.a + 1 FROM t o WHERE o.id = 3 - t.id)');
  expect(await rows('SELECT * FROM t ORDER BY id')).toEqual([
    ['1', '21', 'y'],
    ['2', '11', 'x'],
  ]);
  await db.exec('UPDATE t SET (a, b) = (SELECT a, b FROM t WHERE id = 99) WHERE id = 1');
  expect(await rows('SELECT * FROM t WHERE id = 1')).toEqual([['1', null, null]]);
  expect(await refused('UPDATE t SET (a, b) = (SELECT 1)')).toMatchObject({ code: '42601' });
  expect(await refused('UPDATE t SET (a, b) = (SELECT a, b FROM t)')).toMatchObject({
    code: '21000',
  });
});

test('what a view shows is written to its tables', async () => {
  await db.exec(`CREATE TABLE t (a int); CREATE VIEW v AS SELECT * FROM t WHERE a > 0;
    CREATE VIEW sums AS SELECT sum(a) AS s FROM t; CREATE MATERIALIZED VIEW m AS SELECT a FROM t`);
  expect(await refused('INSERT INTO v VALUES (1)')).toMatchObject({ code: '0A000' });
  expect(await refused('DELETE FROM sums')).toMatchObject({ code: '0A000' });
  expect(await refused('UPDATE m SET a = 1')).toMatchObject({ code: '42809', table: 'm' });
});

test('TRUNCATE of several tables empties all or none', async () => {
  await db.exec('CREATE TABLE a (i int); CREATE TABLE b (i int); INSERT INTO a VALUES (1)');
  expect(await refused('TRUNCATE a, nothing')).toMatchObject({ code: '42P01' });
  expect(await rows('SELECT * FROM a')).toEqual([['1']]);
  await db.exec('TRUNCATE a, b');
  expect(await rows('SELECT * FROM a')).toEqual([]);
});

test('a numeric that is written over a NULL keeps its value when others of a longer scale come', async () => {
  // It was written at scale 0 without deciding the scale of the column: the next value decided it, and 1000 became 10.00.
  await db.exec('CREATE TABLE t (id int, x numeric)');
  await db.exec('INSERT INTO t VALUES (1, NULL)');
  await db.exec('UPDATE t SET x = 1000');
  await db.exec('INSERT INTO t VALUES (2, 1.00)');
  expect(await rows('SELECT x FROM t ORDER BY id')).toEqual([['1000'], ['1.00']]);
});

test('what a statement returns may be asked of other tables, and of its own as it was', async () => {
  await db.exec(`CREATE TABLE t (id int PRIMARY KEY, g int); INSERT INTO t VALUES (1, 1);
    CREATE TABLE u (g int, name text); INSERT INTO u VALUES (1, 'a'), (2, 'b')`);
  const told = '(SELECT name FROM u WHERE u.g = t.g), (SELECT count(*) FROM t) AS n';
  expect(await rows(`INSERT INTO t VALUES (2, 2), (3, 9) RETURNING id, ${told}`)).toEqual([
    ['2', 'b', '1'],
    ['3', null, '1'],
  ]);
  expect(await rows(`UPDATE t SET g = 1 WHERE id = 3 RETURNING t.*, ${told}`)).toEqual([
    ['3', '1', 'a', '3'],
  ]);
  const { command, rowCount } = await db.query(
    `WITH x AS (SELECT 2 AS id) DELETE FROM t AS d USING x WHERE d.id = x.id RETURNING d.id`,
  );
  expect({ command, rowCount }).toEqual({ command: 'DELETE', rowCount: 1 });
  const deleted = await db.query(
    `WITH x AS (SELECT 'a' AS name) DELETE FROM t AS d WHERE d.id = $1 RETURNING d.id IN (SELECT id FROM t) AS was, (SELECT name FROM x)`,
    { params: [3] },
  );
  expect(deleted).toMatchObject({
    command: 'DELETE',
    rowCount: 1,
    rows: [{ was: true, name: 'a' }],
  });
  expect(
    await refused(
      'UPDATE t SET g = 2 FROM u JOIN u AS w USING (g) WHERE u.g = t.g RETURNING (SELECT w.name)',
    ),
  ).toMatchObject({ code: '0A000', hint: expect.stringContaining('WITH') });
  await db.exec(`PREPARE p(int) AS INSERT INTO t VALUES ($1, 2) RETURNING ${told}; EXECUTE p(7)`);
  await expect(db.query('SELECT id INTO z FROM t', { readOnly: true })).rejects.toMatchObject({
    code: '25006',
  });
});

test('what assignment does not convert is no value of a column, in VALUES either', async () => {
  await db.exec('CREATE TABLE t (id int, flag boolean, day date)');
  for (const [sql, column] of [
    ["INSERT INTO t VALUES ('x'::text)", 'id'],
    ['INSERT INTO t VALUES (true)', 'id'],
    ['INSERT INTO t VALUES (1), (now())', 'id'],
    ["INSERT INTO t VALUES (interval '1 day')", 'id'],
    ['INSERT INTO t VALUES (1, 1)', 'flag'],
    ['INSERT INTO t VALUES (1, true, 5)', 'day'],
    ['INSERT INTO t SELECT 1, true, 5', 'day'],
    ['INSERT INTO t SELECT 1 UNION ALL SELECT 2.5 UNION ALL SELECT 1e0, true', undefined],
  ] as const) {
    const error = await refused(sql);
    expect([sql, error.code, error.column]).toEqual([
      sql,
      column === undefined ? '42601' : '42804',
      column,
    ]);
  }
  expect(await rows('SELECT * FROM t')).toEqual([]);
});

test('rows are distinct and limited before they become values of the columns', async () => {
  await db.exec('CREATE TABLE t (id int, code varchar(3))');
  expect(await rows('INSERT INTO t SELECT 1.4 UNION SELECT 1.2 RETURNING id')).toHaveLength(2);
  expect(
    await rows('INSERT INTO t SELECT DISTINCT x FROM (VALUES (1.2), (1.4)) v(x) RETURNING id'),
  ).toEqual([['1'], ['1']]);
  expect(
    await rows('INSERT INTO t SELECT x FROM (VALUES (1.2), (1e30)) v(x) LIMIT 1 RETURNING id'),
  ).toEqual([['1']]);
  expect(
    await rows("INSERT INTO t (code) SELECT 'abc   ' UNION ALL SELECT 'abc' RETURNING code"),
  ).toEqual([['abc'], ['abc']]);
  expect(
    await rows(
      "INSERT INTO t SELECT '1', NULL UNION ALL SELECT '2', NULL UNION ALL SELECT '3', 'c' RETURNING *",
    ),
  ).toEqual([
    ['1', null],
    ['2', null],
    ['3', 'c'],
  ]);
});

test('a row that is proposed is one of the table, whatever ON CONFLICT makes of it', async () => {
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL CHECK (n > 0))');
  await db.exec('INSERT INTO t VALUES (1, 1)');
  for (const action of ['DO NOTHING', '(id) DO NOTHING', '(id) DO UPDATE SET n = t.n + 1']) {
    expect(await refused(`INSERT INTO t VALUES (1, 0) ON CONFLICT ${action}`)).toMatchObject({
      code: '23514',
    });
    expect(await refused(`INSERT INTO t VALUES (1, NULL) ON CONFLICT ${action}`)).toMatchObject({
      code: '23502',
    });
  }
});

test('a row that the WHERE of DO UPDATE leaves as it was may be met again', async () => {
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)');
  const insert = (values: string): string =>
    `INSERT INTO t VALUES ${values} ON CONFLICT (id) DO UPDATE SET n = excluded.n WHERE excluded.n > 5 RETURNING n`;
  expect(await rows(insert('(1, 2), (1, 3)'))).toEqual([]);
  expect(await rows(insert('(1, 2), (1, 7)'))).toEqual([['7']]);
  expect(await refused(insert('(1, 8), (1, 2)'))).toMatchObject({ code: '21000' });
  expect(await refused(insert('(2, 8), (2, 2)'))).toMatchObject({ code: '21000' });
});

test('what is returned beside FROM and USING may be asked of, too', async () => {
  await db.exec(`CREATE TABLE t (id int PRIMARY KEY, g int); INSERT INTO t VALUES (1, 1), (2, 2), (3, 1);
    CREATE TABLE u (g int, name text); INSERT INTO u VALUES (1, 'a'), (2, 'b')`);
  expect(
    await rows(`UPDATE t SET g = u.g + 10 FROM u WHERE u.g = t.g AND id < 3
      RETURNING *, (SELECT count(*) FROM t AS other WHERE other.g = u.g), (SELECT max(name) FROM u AS o WHERE o.g > t.g - 11), t.g + u.g`),
  ).toEqual([
    ['1', '11', '1', 'a', '2', 'b', '12'],
    ['2', '12', '2', 'b', '1', 'b', '14'],
  ]);
  // The rows of a FROM that is a query, a WITH and an alias; the name of an update's table is gone with it.
  const { rows: deleted, command } = await db.query(
    `WITH low AS (SELECT 11 AS g) DELETE FROM t AS d USING (SELECT g AS h, 'x' AS y FROM low) AS q, u AS v
      WHERE d.g = q.h AND v.g = $1 RETURNING d.id, q.*, v.name, EXISTS (SELECT 1 FROM u WHERE u.g = v.g) AS there`,
    { params: [2] },
  );
  expect([command, deleted]).toEqual([
    'DELETE',
    [{ id: 1, h: 11, y: 'x', name: 'b', there: true }],
  ]);
  expect(await refused('UPDATE t SET g = 0 FROM u RETURNING (SELECT nothing.name)')).toMatchObject({
    code: '42P01',
  });
  await db.exec(`PREPARE p(int) AS UPDATE t SET g = $1 FROM u WHERE u.g = 1 AND id = 3 RETURNING t.g, (SELECT u.name);
    EXECUTE p(7)`);
  expect(await rows('SELECT id, g FROM t ORDER BY id')).toEqual([
    ['2', '12'],
    ['3', '7'],
  ]);
});

test('RETURNING knows the parameters, the zone and the instant of its statement', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, at timestamptz)');
  const told = `RETURNING id + $1 AS more, id IN ($1, $2) AS is, at::text AS at, now() = at AS now`;
  const options = { params: [2, 3], zone: 'Asia/Kolkata' };
  const { rows } = await db.query(`INSERT INTO t VALUES (3, now()) ${told}`, options);
  expect(rows).toEqual([{ more: 5, is: true, at: expect.stringMatching(/\+05:30$/), now: true }]);
  for (const sql of [`UPDATE t SET id = 4 ${told}`, `DELETE FROM t ${told}`]) {
    const changed = await db.query(sql, options);
    expect(changed.rows).toMatchObject([{ more: 6, is: false, at: rows[0]!['at'] }]);
  }
});
