import { afterEach, beforeEach, expect, test } from 'vitest';
import { open, sql, type Database } from '../../src/index.ts';

let db: Database;
beforeEach(async () => {
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, g text, n int)');
  await db.exec("INSERT INTO t VALUES (1, 'a', 10), (2, 'b', 20)");
});
afterEach(() => db.close());

const rowsOf = async (text: string): Promise<unknown[]> => (await db.query(text)).rows;

test('a materialized view goes on when its table gets another column', async () => {
  await db.exec('CREATE MATERIALIZED VIEW v AS SELECT * FROM t');
  await db.exec('ALTER TABLE t ADD COLUMN extra int DEFAULT 7');
  await db.exec("INSERT INTO t VALUES (3, 'c', 30, 8)");
  await db.exec("UPDATE t SET g = 'z' WHERE id = 1");
  expect(await rowsOf('SELECT * FROM v ORDER BY id')).toEqual([
    { id: 1, g: 'z', n: 10 },
    { id: 2, g: 'b', n: 20 },
    { id: 3, g: 'c', n: 30 },
  ]);
  expect(await rowsOf('SELECT extra FROM t ORDER BY id')).toEqual([
    { extra: 7 },
    { extra: 7 },
    { extra: 8 },
  ]);
});

test('a column whose value differs by row is added under a materialized view', async () => {
  await db.exec('CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS c FROM t GROUP BY g');
  await db.exec('ALTER TABLE t ADD COLUMN r float8 DEFAULT random()');
  await db.exec("UPDATE t SET g = 'b' WHERE id = 1");
  await db.insert('t', { id: 3, g: 'c', n: 1 });
  expect(await rowsOf('SELECT * FROM v ORDER BY g')).toEqual([
    { g: 'b', c: 2 },
    { g: 'c', c: 1 },
  ]);
});

test('views go on when tables, columns and views below them are renamed', async () => {
  await db.exec('CREATE VIEW plain AS SELECT id, n * 2 AS twice FROM t');
  await db.exec('CREATE MATERIALIZED VIEW kept AS SELECT g, sum(n) AS s FROM t GROUP BY g');
  await db.exec('CREATE MATERIALIZED VIEW above AS SELECT sum(twice) AS s FROM plain');
  await db.exec('ALTER TABLE t RENAME COLUMN n TO amount');
  await db.exec('ALTER TABLE t RENAME TO u');
  await db.exec('ALTER VIEW plain RENAME TO simple');
  await db.exec("INSERT INTO u VALUES (3, 'a', 5)");
  expect(await rowsOf('SELECT * FROM simple ORDER BY id')).toEqual([
    { id: 1, twice: 20 },
    { id: 2, twice: 40 },
    { id: 3, twice: 10 },
  ]);
  expect(await rowsOf('SELECT * FROM kept ORDER BY g')).toEqual([
    { g: 'a', s: 15 },
    { g: 'b', s: 20 },
  ]);
  expect(await rowsOf('SELECT * FROM above')).toEqual([{ s: 70 }]);
  // A new table under the old name is another one.
  await db.exec('CREATE TABLE t (id int, g text, n int)');
  expect(await rowsOf('SELECT count(*) AS c FROM simple')).toEqual([{ c: 3 }]);
});

test("a view means what it meant, whatever the reader's search path", async () => {
  await db.exec('CREATE SCHEMA other');
  await db.exec('CREATE TABLE other.t (id int, g text, n int)');
  await db.exec('CREATE VIEW plain AS SELECT count(*) AS c FROM t');
  const session = db.session();
  await session.exec('SET search_path = other');
  expect((await session.query('SELECT * FROM public.plain')).rows).toEqual([{ c: 2 }]);
  await session.close();
});

test('a plain view that a materialized one reads is not dropped from under it', async () => {
  await db.exec('CREATE VIEW plain AS SELECT id FROM t');
  await db.exec('CREATE MATERIALIZED VIEW kept AS SELECT count(*) AS c FROM plain');
  await expect(db.exec('DROP VIEW plain')).rejects.toMatchObject({ code: '2BP01' });
  await db.exec('DROP VIEW plain CASCADE');
  await expect(db.query('SELECT * FROM kept')).rejects.toMatchObject({ code: '42P01' });
});

test('columns that views may read are not dropped or converted', async () => {
  await db.exec('CREATE VIEW plain AS SELECT id FROM t');
  await expect(db.exec('ALTER TABLE t DROP COLUMN n')).rejects.toMatchObject({ code: '0A000' });
  await expect(db.exec('ALTER TABLE t ALTER COLUMN n TYPE text')).rejects.toMatchObject({
    code: '0A000',
  });
});

test('a transaction that adds a column sees it, and its view too, before and after the commit', async () => {
  await db.exec('CREATE MATERIALIZED VIEW v AS SELECT g, sum(n) AS s FROM t GROUP BY g');
  const session = db.session();
  await session.exec('BEGIN');
  await session.exec('ALTER TABLE t ADD COLUMN k int DEFAULT 1');
  await session.exec("INSERT INTO t VALUES (3, 'a', 1, 2)");
  expect((await session.query('SELECT * FROM v ORDER BY g')).rows).toEqual([
    { g: 'a', s: 11 },
    { g: 'b', s: 20 },
  ]);
  expect(await rowsOf('SELECT * FROM v ORDER BY g')).toEqual([
    { g: 'a', s: 10 },
    { g: 'b', s: 20 },
  ]);
  await session.exec('COMMIT');
  await session.close();
  expect(await rowsOf('SELECT * FROM v ORDER BY g')).toEqual([
    { g: 'a', s: 11 },
    { g: 'b', s: 20 },
  ]);
  expect(await rowsOf('SELECT k FROM t ORDER BY id')).toEqual([{ k: 1 }, { k: 1 }, { k: 2 }]);
});

test('a transaction may build on the views that it makes', async () => {
  await db.exec('CREATE TABLE u (g text, n int)');
  await db.exec(`BEGIN;
    CREATE MATERIALIZED VIEW v WITH (refresh = '60min') AS SELECT g, sum(n) AS s FROM u GROUP BY g;
    CREATE VIEW doubled AS SELECT g, 2 * s AS s FROM v;
    CREATE MATERIALIZED VIEW total WITH (refresh = '60min') AS SELECT sum(s) AS s FROM doubled;
    CREATE MATERIALIZED VIEW passing AS SELECT count(*) AS n FROM v;
    CREATE VIEW over_passing AS SELECT n FROM passing;
    INSERT INTO u VALUES ('a', 1), ('b', 2);
    ALTER MATERIALIZED VIEW v RENAME TO w;
    ALTER MATERIALIZED VIEW w SET (refresh = 'commit');
    ALTER MATERIALIZED VIEW total SET (refresh = 'commit');
    GRANT SELECT ON w TO PUBLIC;
    DROP VIEW over_passing;
    DROP MATERIALIZED VIEW passing;
    INSERT INTO u VALUES ('b', 3);
    COMMIT`);
  await db.exec("INSERT INTO u VALUES ('a', 10)");
  expect((await db.query('SELECT g, s FROM w ORDER BY g')).rows).toEqual([
    { g: 'a', s: 11 },
    { g: 'b', s: 5 },
  ]);
  expect((await db.query('SELECT s FROM total')).rows).toEqual([{ s: '32' }]);
  await expect(db.query('SELECT * FROM passing')).rejects.toMatchObject({ code: '42P01' });
});

test('a view that is made anew keeps its new name', async () => {
  await db.exec(`CREATE TABLE u (g text);
    CREATE MATERIALIZED VIEW v WITH (refresh = '60min') AS SELECT g, count(*) AS n FROM u GROUP BY g`);
  await db.exec('ALTER MATERIALIZED VIEW v RENAME TO w');
  // More than the history keeps: it is not caught up, but made anew.
  await db.exec('TRUNCATE u');
  for (let round = 0; round < 3; round += 1) await db.exec("INSERT INTO u VALUES ('a')");
  await db.exec('REFRESH MATERIALIZED VIEW w');
  expect((await db.query('SELECT n FROM w')).rows).toEqual([{ n: 3 }]);
});

/**
 * Inside a transaction a change of a table writes it anew, with the rows that the transaction has changed: the views were not told, and
 * showed the old ones for good. The replay of such a record made the same mistake, so comparing the two found nothing.
 */
test('views follow a transaction that changes rows and then their table, at each height, and back where it is refused', async () => {
  await db.exec(`CREATE TABLE u (g text, k int); INSERT INTO u VALUES ('a', 1), ('c', 3);
    CREATE MATERIALIZED VIEW v AS SELECT g, sum(n) AS s FROM t GROUP BY g;
    CREATE MATERIALIZED VIEW w AS SELECT t.id, u.k FROM t JOIN u ON t.g = u.g;
    CREATE MATERIALIZED VIEW top AS SELECT count(*) AS n, sum(s) AS s FROM v`);
  const agree = async (): Promise<void> => {
    expect(await rowsOf('SELECT * FROM v ORDER BY g')).toEqual(
      await rowsOf('SELECT g, sum(n) AS s FROM t GROUP BY g ORDER BY g'),
    );
    expect(await rowsOf('SELECT * FROM w ORDER BY id')).toEqual(
      await rowsOf('SELECT t.id, u.k FROM t JOIN u ON t.g = u.g ORDER BY id'),
    );
    expect(await rowsOf('SELECT * FROM top')).toEqual(
      await rowsOf('SELECT count(*) AS n, sum(s) AS s FROM v'),
    );
  };
  await db.exec(`BEGIN; UPDATE t SET n = n + 1, g = 'c' WHERE id = 1; DELETE FROM u WHERE k = 1;
    ALTER TABLE t ADD COLUMN more int DEFAULT 3; INSERT INTO t VALUES (3, 'c', 5, 6); CREATE INDEX ON u (g); COMMIT`);
  expect(await rowsOf('SELECT * FROM w ORDER BY id')).toEqual([
    { id: 1, k: 3 },
    { id: 3, k: 3 },
  ]);
  await agree();
  await db.exec('CREATE MATERIALIZED VIEW inverse AS SELECT 1 / n AS i FROM t');
  const refused = db.exec(
    `BEGIN; UPDATE t SET g = 'b', n = n - 5; ALTER TABLE t ADD COLUMN z int; COMMIT`,
  );
  await expect(refused).rejects.toMatchObject({ code: '22012' });
  await db.exec('ROLLBACK').catch(() => undefined);
  await agree();
  await db.exec("UPDATE t SET g = 'a' WHERE id = 1");
  await agree();
});

test('no commit keeps a view over one that the clock moves; a subscription to its rows follows the clock', async () => {
  await db.exec(`CREATE MATERIALIZED VIEW v WITH (refresh = '5ms') AS SELECT g, count(*) AS n FROM t GROUP BY g;
    CREATE MATERIALIZED VIEW kept AS SELECT count(*) AS n FROM t;
    CREATE MATERIALIZED VIEW over_kept AS SELECT n FROM kept;
    CREATE VIEW plain AS SELECT n FROM v`);
  const refused = { code: '55000', hint: expect.stringContaining('refresh =') };
  for (const text of [
    'CREATE MATERIALIZED VIEW above AS SELECT sum(n) AS s FROM plain',
    "ALTER MATERIALIZED VIEW kept SET (refresh = '5ms')",
    "BEGIN; CREATE MATERIALIZED VIEW w WITH (refresh = '5ms') AS SELECT n FROM t; CREATE MATERIALIZED VIEW x AS SELECT n FROM w; COMMIT",
  ])
    await expect(db.exec(text)).rejects.toMatchObject(refused);
  await db.exec(
    "CREATE MATERIALIZED VIEW above WITH (refresh = '5ms') AS SELECT sum(n) AS s FROM plain",
  );
  await expect(
    db.exec("ALTER MATERIALIZED VIEW above SET (refresh = 'commit')"),
  ).rejects.toMatchObject(refused);
  const changes = db.subscribe(sql`SELECT sum(n) AS s FROM v`, { from: 'now' });
  const kept = db.subscribe(sql`SELECT n + 1 AS n FROM over_kept`, { from: 'now' });
  const next = changes[Symbol.asyncIterator]().next();
  await changes.columns;
  await kept.columns;
  await db.exec("INSERT INTO t VALUES (3, 'c', 30)");
  expect((await next).value).toMatchObject({ kind: 'delta', inserted: [{ s: '3' }] });
  await db.exec(`ALTER MATERIALIZED VIEW over_kept SET (refresh = '5ms');
    ALTER MATERIALIZED VIEW kept SET (refresh = '5ms')`);
  const later = kept[Symbol.asyncIterator]();
  await db.exec("INSERT INTO t VALUES (4, 'd', 40)");
  let told: readonly object[] = [];
  while (!told.some((row) => 'n' in row && row.n === 5)) {
    const { value } = await later.next();
    if (value?.kind === 'delta') told = value.inserted;
  }
  await changes.close();
  await kept.close();
});

test('views that the clock moves, over one another, lack nothing in whatever order they are refreshed', async () => {
  await db.exec(`CREATE MATERIALIZED VIEW slow WITH (refresh = '60min') AS SELECT g, count(*) AS c FROM t GROUP BY g;
    CREATE MATERIALIZED VIEW over_slow WITH (refresh = '60min') AS SELECT sum(c) AS s FROM slow;
    CREATE MATERIALIZED VIEW joined WITH (refresh = '60min') AS SELECT t.id, c FROM t JOIN slow ON slow.g = t.g`);
  const refresh = async (...names: string[]): Promise<void> => {
    for (const name of names) await db.exec(`REFRESH MATERIALIZED VIEW ${name}`);
  };
  await db.exec("INSERT INTO t VALUES (3, 'a', 30)");
  await refresh('over_slow', 'joined', 'slow', 'joined', 'over_slow');
  expect(await rowsOf('SELECT s FROM over_slow')).toEqual([{ s: '3' }]);
  expect(await rowsOf('SELECT id, c FROM joined ORDER BY id')).toEqual([
    { id: 1, c: 2 },
    { id: 2, c: 1 },
    { id: 3, c: 2 },
  ]);
  await db.exec("INSERT INTO t VALUES (4, 'b', 40)");
  // Made inside a commit, over rows that are behind.
  await db.exec(`BEGIN;
    CREATE MATERIALIZED VIEW inside WITH (refresh = '60min') AS SELECT t.id, c FROM t JOIN slow ON slow.g = t.g;
    COMMIT`);
  await db.exec(
    "CREATE MATERIALIZED VIEW aside WITH (refresh = '60min') AS SELECT t.id, c FROM t JOIN slow ON slow.g = t.g",
  );
  await db.exec("INSERT INTO t VALUES (5, 'b', 50)");
  await refresh('aside', 'slow', 'inside', 'aside', 'joined');
  const expected = await rowsOf(
    'SELECT t.id, c FROM t JOIN (SELECT g, count(*) AS c FROM t GROUP BY g) AS s ON s.g = t.g ORDER BY id',
  );
  for (const view of ['inside', 'aside', 'joined'])
    expect(await rowsOf(`SELECT id, c FROM ${view} ORDER BY id`)).toEqual(expected);
});

// Root cause: aggregates took a batch one after the other, so that those before the one whose expression failed kept what nobody undid.
test('a row that an expression of an aggregate refuses leaves nothing in the aggregates beside it', async () => {
  await db.exec(`CREATE TABLE quotients (id int PRIMARY KEY, n int);
    CREATE MATERIALIZED VIEW refusing AS
      SELECT count(*) AS c, min(n) AS mi, max(n) AS ma, count(DISTINCT n) AS d, sum(6 / n) AS s FROM quotients`);
  await db.insert('quotients', { id: 1, n: 3 });
  for (const n of [0, 0, 7])
    await expect(
      db.insert('quotients', [
        { id: 2, n },
        { id: 3, n: 0 },
      ]),
    ).rejects.toMatchObject({ code: '22012' });
  expect((await db.query('SELECT * FROM refusing')).rows).toEqual([
    { c: 1, mi: 3, ma: 3, d: 1, s: 2 },
  ]);
});

test('a view that is filled while a plain view in its query is replaced is nowhere what it was before', async () => {
  // It went live as what it had been read as, and was another, or lost, when the journal was replayed.
  await db.exec('CREATE VIEW low AS SELECT id FROM t; CREATE VIEW high AS SELECT id FROM low');
  await db.insert('t', { id: Int32Array.from({ length: 40_000 }, (_, at) => at + 3) });
  const followed = db.subscribe(sql`SELECT count(*) AS n FROM high`)[Symbol.asyncIterator]();
  const create =
    'CREATE MATERIALIZED VIEW kept AS SELECT id % 9 AS g, count(*) AS n FROM high GROUP BY 1';
  const [refused, told] = await Promise.all([
    db.exec(create).catch((cause: unknown) => cause),
    followed.next(),
    db.exec('CREATE OR REPLACE VIEW low AS SELECT id FROM t WHERE id <= 100'),
  ]);
  expect(refused).toMatchObject({ code: '40001', table: 'low' });
  expect(told.value).toMatchObject({ rows: [{ n: 100 }] });
  await followed.return?.();
  await db.exec(create);
  expect(await rowsOf('SELECT sum(n) AS n FROM kept')).toEqual([{ n: '100' }]);
});
