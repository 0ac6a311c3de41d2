import { afterEach, beforeEach, expect, test } from 'vitest';
import { open, type Database } from '../../src/index.ts';

let db: Database;
beforeEach(async () => {
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, at timestamptz, word text)');
  await db.insert('t', [
    { id: 1, at: '2026-03-28T22:30:00Z', word: '2026-01-01' },
    { id: 2, at: '2026-03-28T23:30:00Z', word: '2026-01-02' },
    { id: 3, at: '2026-03-29T21:30:00Z', word: '2026-01-03' },
  ]);
});
afterEach(() => db.close());

const DAYS = "SELECT date_trunc('day', at) AS day, count(*) AS c FROM t GROUP BY 1";

test('days of a view are those of the zone it was made in, for every reader and every later row', async () => {
  const berlin = db.session();
  await berlin.exec("SET timezone = 'Europe/Berlin'");
  await berlin.exec(`CREATE MATERIALIZED VIEW days AS ${DAYS}`);
  const expected = [
    { day: '2026-03-27T23:00:00Z', c: 1 },
    // The day that lost an hour.
    { day: '2026-03-28T23:00:00Z', c: 2 },
  ];
  expect((await db.query('SELECT * FROM days ORDER BY day')).rows).toEqual(expected);
  await db.insert('t', { id: 4, at: '2026-03-29T22:00:00Z' });
  expect((await berlin.query('SELECT * FROM days ORDER BY day')).rows).toEqual([
    ...expected,
    { day: '2026-03-29T22:00:00Z', c: 1 },
  ]);
  expect((await berlin.query('SELECT * FROM days ORDER BY day')).rows).toEqual(
    (await berlin.query(`${DAYS} ORDER BY 1`)).rows,
  );
  await berlin.close();
});

test('the two halves of a repeated hour are two hours, and no hour begins after what is in it', async () => {
  // Truncated in local time and read back, the first half fell into the second: no test had an hour that comes twice.
  const berlin = db.session();
  await berlin.exec("SET timezone = 'Europe/Berlin'");
  await berlin.exec(
    "INSERT INTO t VALUES (5, '2026-10-25T00:30:00Z'), (6, '2026-10-25T01:30:00Z')",
  );
  const query = "SELECT date_trunc('hour', at) AS h, count(*) AS c FROM t WHERE id > 4 GROUP BY 1";
  await berlin.exec(`CREATE MATERIALIZED VIEW hours AS ${query}`);
  const expected = [
    { h: '2026-10-25T00:00:00Z', c: 1 },
    { h: '2026-10-25T01:00:00Z', c: 1 },
  ];
  expect((await berlin.query(`${query} ORDER BY 1`)).rows).toEqual(expected);
  expect((await berlin.query('SELECT * FROM hours ORDER BY h')).rows).toEqual(expected);
  await berlin.close();
});

test('hours, dates, texts and spans of instants are kept by views', async () => {
  await db.exec(`CREATE MATERIALIZED VIEW v AS
    SELECT id, extract(hour FROM at) AS h, at::date AS d, at::text AS s, at + interval '1 day' AS next FROM t`);
  expect((await db.query('SELECT * FROM v WHERE id = 1')).rows).toEqual([
    {
      id: 1,
      h: '22',
      d: '2026-03-28',
      s: '2026-03-28 22:30:00+00',
      next: '2026-03-29T22:30:00Z',
    },
  ]);
});

test('literals of instants are what they were when the view was made', async () => {
  const berlin = db.session();
  await berlin.exec("SET timezone = 'Europe/Berlin'");
  await berlin.exec("CREATE MATERIALIZED VIEW v AS SELECT id FROM t WHERE at >= '2026-03-29'");
  expect((await db.query('SELECT * FROM v ORDER BY id')).rows).toEqual([{ id: 2 }, { id: 3 }]);
  await berlin.close();
  await db.exec(
    "CREATE MATERIALIZED VIEW w AS SELECT id FROM t WHERE at < 'tomorrow'::timestamptz",
  );
  expect((await db.query('SELECT count(*) AS c FROM w')).rows).toEqual([{ c: 3 }]);
});

test('dates in texts are read; a word that means the present is refused, and the writer is told', async () => {
  await db.exec(
    'CREATE MATERIALIZED VIEW v AS SELECT id, word::date AS d FROM t WHERE word IS NOT NULL',
  );
  await expect(db.insert('t', { id: 9, word: 'today' })).rejects.toMatchObject({ code: '0A000' });
  await db.insert('t', { id: 9, word: '2026-02-02' });
  expect((await db.query('SELECT d FROM v WHERE id = 9')).rows).toEqual([{ d: '2026-02-02' }]);
});

test('now() is no part of a view', async () => {
  await expect(
    db.exec('CREATE MATERIALIZED VIEW v AS SELECT id FROM t WHERE at > now()'),
  ).rejects.toMatchObject({ code: '0A000' });
});

test('a transaction in another zone that has changed the rows is told why it cannot read the view', async () => {
  await db.exec(`CREATE MATERIALIZED VIEW days AS ${DAYS}`);
  const session = db.session();
  await session.exec("SET timezone = 'Asia/Tokyo'");
  await session.exec('BEGIN');
  await session.exec('DELETE FROM t WHERE id = 1');
  await expect(session.query('SELECT * FROM days')).rejects.toMatchObject({
    code: '0A000',
    hint: expect.stringContaining("SET timezone = 'UTC'"),
  });
  await session.exec('ROLLBACK');
  await session.close();
});

test.each([
  ["'+07'", '19:00:00+07'],
  ['-3.5', '08:30:00-03:30'],
  ["INTERVAL '+02:30' HOUR TO MINUTE", '14:30:00+02:30'],
  // POSIX: west.
  ["'+07:00'", '05:00:00-07'],
])('SET TIME ZONE %s', async (zone, expected) => {
  const db = await open({ workers: 0 });
  const session = db.session();
  await session.exec(`SET TIME ZONE ${zone}`);
  const { rows } = await session.query("SELECT '2026-01-01 12:00+00'::timestamptz", {
    format: 'text',
  });
  expect(rows).toEqual([[`2026-01-01 ${expected}`]]);
  const shown = String((await session.query('SHOW timezone', { format: 'text' })).rows[0]![0]);
  await session.exec(`SET timezone = '${shown}'`);
  expect((await session.query('SHOW timezone', { format: 'text' })).rows).toEqual([[shown]]);
  await expect(session.exec("SET TIME ZONE '30'")).rejects.toMatchObject({ code: '22023' });
  await db.close();
});
