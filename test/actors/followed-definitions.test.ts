import { afterEach, expect, test } from 'vitest';
import { open, sql, type Database } from '../../src/index.ts';

let db: Database;
afterEach(() => db.close());

type Told = { readonly kind: string; readonly [name: string]: unknown };

function follow(what: string): {
  readonly next: () => Promise<Told>;
  readonly columns: () => Promise<readonly string[]>;
} {
  const subscription = db.subscribe(what);
  const iterator = subscription[Symbol.asyncIterator]();
  return {
    next: async () => (await iterator.next()).value as Told,
    columns: async () => (await subscription.columns).map(({ name }) => name),
  };
}

test('who follows a table whose columns change is told its rows anew, with the columns they have', async () => {
  // The rows were written with the columns of before: an added one was a TypeError in whoever followed.
  db = await open();
  await db.exec("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'x')");
  const { next, columns } = follow('t');
  expect(await next()).toMatchObject({ kind: 'snapshot', rows: [{ id: 1, a: 'x' }] });
  for (const [change, row] of [
    ['ALTER TABLE t ADD COLUMN n int DEFAULT 5', { id: 1, a: 'x', n: 5 }],
    ['ALTER TABLE t RENAME COLUMN a TO b', { id: 1, b: 'x', n: 5 }],
    ['ALTER TABLE t ALTER COLUMN n TYPE text', { id: 1, b: 'x', n: '5' }],
    ['ALTER TABLE t RENAME TO renamed', undefined],
    ['ALTER TABLE renamed DROP COLUMN b', { id: 1, n: '5' }],
  ] as const) {
    await db.exec(change);
    if (row === undefined) continue;
    expect(await next()).toMatchObject({ kind: 'reset', position: db.position });
    expect(await columns()).toEqual(Object.keys(row));
    expect(await next()).toMatchObject({ kind: 'snapshot', rows: [row], more: false });
  }
  await db.insert('renamed', { id: 2, n: 'y' });
  expect(await next()).toMatchObject({ kind: 'delta', inserted: [{ id: 2, n: 'y' }] });
  await db.exec('DROP TABLE renamed');
  await expect(next()).rejects.toMatchObject({ code: '42P01' });
});

test('who follows a view that is replaced is told what it is now, and one that is dropped that it was', async () => {
  db = await open();
  await db.exec(`CREATE TABLE t (id int PRIMARY KEY, g text); INSERT INTO t VALUES (1, 'a'), (2, 'a');
    CREATE MATERIALIZED VIEW kept AS SELECT g, count(*) AS n FROM t GROUP BY g;
    CREATE VIEW plain AS SELECT id FROM t WHERE id > 1`);
  const kept = follow('kept');
  const plain = follow('plain');
  expect(await kept.next()).toMatchObject({ rows: [{ g: 'a', n: 2 }] });
  expect(await plain.next()).toMatchObject({ rows: [{ id: 2 }] });
  await db.exec(
    'CREATE OR REPLACE MATERIALIZED VIEW kept AS SELECT g, max(id) AS m FROM t GROUP BY g',
  );
  expect(await kept.next()).toMatchObject({ kind: 'reset' });
  expect(await kept.columns()).toEqual(['g', 'm']);
  expect(await kept.next()).toMatchObject({ kind: 'snapshot', rows: [{ g: 'a', m: 2 }] });
  await db.insert('t', { id: 3, g: 'b' });
  expect(await kept.next()).toMatchObject({ kind: 'delta', inserted: [{ g: 'b', m: 3 }] });
  expect(await plain.next()).toMatchObject({ kind: 'delta', inserted: [{ id: 3 }] });
  await db.exec('CREATE OR REPLACE VIEW plain AS SELECT id FROM t WHERE id > 2');
  expect(await plain.next()).toMatchObject({ kind: 'reset' });
  expect(await plain.next()).toMatchObject({ kind: 'snapshot', rows: [{ id: 3 }] });
  await db.exec('DROP MATERIALIZED VIEW kept; DROP VIEW plain');
  await db.insert('t', { id: 4, g: 'b' });
  for (const each of [kept, plain])
    await expect(each.next()).rejects.toMatchObject({ code: '42P01' });
  // A query that means something else by now is not the one that others still follow.
  const query = (): ReturnType<Database['subscribe']> => db.subscribe(sql`SELECT * FROM t`);
  const first = query()[Symbol.asyncIterator]();
  await first.next();
  await db.exec('ALTER TABLE t ADD COLUMN late int DEFAULT 7');
  const second = query()[Symbol.asyncIterator]();
  expect((await second.next()).value).toMatchObject({ rows: [{ late: 7 }, {}, {}, {}] });
  await expect(follow('adb.queries').next()).rejects.toMatchObject({ code: '0A000' });
});

test('a plain view that is replaced is the new one for whoever reads it', async () => {
  // It got another id, which views on it did not know: they were lost, and materialized ones kept what it was.
  db = await open();
  await db.exec(`CREATE TABLE t (id int PRIMARY KEY, g text); INSERT INTO t VALUES (1, 'a'), (2, 'b');
    CREATE VIEW low AS SELECT id, g FROM t; CREATE VIEW high AS SELECT g FROM low`);
  const named = follow('high');
  const asked = db.subscribe(sql`SELECT id FROM low`)[Symbol.asyncIterator]();
  expect(await named.next()).toMatchObject({ rows: [{ g: 'a' }, { g: 'b' }] });
  expect((await asked.next()).value).toMatchObject({ rows: [{ id: 1 }, { id: 2 }] });
  await db.exec('CREATE OR REPLACE VIEW low AS SELECT id, g, 1 AS n FROM t WHERE id > 1');
  expect((await db.query('SELECT * FROM high')).rows).toEqual([{ g: 'b' }]);
  expect(await named.next()).toMatchObject({ kind: 'reset' });
  expect(await named.next()).toMatchObject({ kind: 'snapshot', rows: [{ g: 'b' }] });
  expect((await asked.next()).value).toMatchObject({ kind: 'reset' });
  expect((await asked.next()).value).toMatchObject({ kind: 'snapshot', rows: [{ id: 2 }] });
  const session = db.session();
  await session.exec(
    'BEGIN; CREATE OR REPLACE VIEW low AS SELECT id, g, 2 AS n FROM t WHERE id < 2',
  );
  expect((await session.query('SELECT * FROM high')).rows).toEqual([{ g: 'a' }]);
  await session.exec('ROLLBACK');
  await session.close();
  expect((await db.query('SELECT * FROM high')).rows).toEqual([{ g: 'b' }]);
  for (const [text, code] of [
    ['CREATE OR REPLACE VIEW low AS SELECT id FROM t', '42P16'],
    ['CREATE OR REPLACE VIEW low AS SELECT g, id FROM t', '42P16'],
    ['CREATE OR REPLACE VIEW low AS SELECT id, g FROM low', '42P17'],
    ['CREATE OR REPLACE VIEW low AS SELECT 1 AS id, g FROM high', '42P17'],
    ['DROP VIEW low', '2BP01'],
  ] as const)
    await expect(db.exec(text)).rejects.toMatchObject({ code });
  await db.exec('CREATE MATERIALIZED VIEW kept AS SELECT g FROM high');
  await expect(db.exec('CREATE OR REPLACE VIEW low AS SELECT id, g FROM t')).rejects.toMatchObject({
    code: '0A000',
    hint: expect.stringContaining('Drop'),
  });
});

test('who follows a plain view that is replaced by one of the same columns is told it once', async () => {
  // The query that was shared until then was found again under its name, dropped: reset came after reset, and nobody else had the thread.
  db = await open();
  await db.exec(`CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);
    CREATE VIEW low AS SELECT id FROM t; CREATE VIEW high AS SELECT id FROM low`);
  const followers = [follow('high'), follow('high'), follow('low')];
  for (const { next } of followers) expect(await next()).toMatchObject({ kind: 'snapshot' });
  for (const least of [2, 1]) {
    await db.exec(`CREATE OR REPLACE VIEW low AS SELECT id FROM t WHERE id >= ${least}`);
    const rows = [{ id: 1 }, { id: 2 }].slice(least - 1);
    for (const { next } of followers) {
      expect(await next()).toMatchObject({ kind: 'reset' });
      expect(await next()).toMatchObject({ kind: 'snapshot', rows });
    }
  }
  await db.insert('t', { id: 3 });
  for (const { next } of followers)
    expect(await next()).toMatchObject({ kind: 'delta', inserted: [{ id: 3 }] });
});

test('who follows a view of the clock is told when it is refreshed by hand, or commits take it over', async () => {
  // Only its own timer told anybody: REFRESH, and a commit that took it over, left followers with what they had.
  db = await open();
  await db.exec(`CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);
    CREATE MATERIALIZED VIEW slow WITH (refresh = '60min') AS SELECT count(*) AS n FROM t`);
  const { next } = follow('slow');
  expect(await next()).toMatchObject({ rows: [{ n: 1 }] });
  for (const [id, statement] of [
    [2, 'REFRESH MATERIALIZED VIEW slow'],
    [3, "ALTER MATERIALIZED VIEW slow SET (refresh = 'commit')"],
    [4, 'SELECT 1'],
  ] as const) {
    await db.insert('t', { id });
    await db.query(statement);
    expect(await next()).toMatchObject({ kind: 'delta', inserted: [{ n: id }] });
  }
});

test('a materialized view is not replaced by one that reads it', async () => {
  // It would have read what the same commit dropped: the journal could not be applied again.
  db = await open();
  await db.exec('CREATE TABLE t (id int); CREATE MATERIALIZED VIEW v AS SELECT id FROM t');
  await expect(
    db.exec('CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT id FROM v'),
  ).rejects.toMatchObject({ code: '42P17' });
});

test('a table has no past before it was made, whatever had its name then', async () => {
  // It was read as empty there, and who went on from there was told its rows beside those of the other.
  db = await open();
  await db.exec('CREATE TABLE t (id int); INSERT INTO t VALUES (1)');
  const from = db.position;
  await db.exec('DROP TABLE t; CREATE TABLE t (id int)');
  const { position } = await db.insert('t', { id: 2 });
  await expect(db.query('SELECT * FROM t', { asOf: from })).rejects.toMatchObject({
    code: 'ADB_POSITION_GONE',
  });
  expect((await db.query('SELECT * FROM t', { asOf: position - 1 })).rows).toEqual([]);
  const changes = db.subscribe('t', { from })[Symbol.asyncIterator]();
  expect((await changes.next()).value).toMatchObject({ kind: 'reset' });
  expect((await changes.next()).value).toMatchObject({ kind: 'snapshot', rows: [{ id: 2 }] });
});
