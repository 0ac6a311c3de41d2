import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DbError } from '../../src/base/errors.ts';
import type { Database } from '../../src/index.ts';
import { open } from '../../src/open.ts';

let db: Database;
beforeAll(async () => {
  db = await open();
  await db.exec(`
    CREATE TABLE orders (id int PRIMARY KEY, customer text NOT NULL, amount numeric);
    CREATE TABLE customers (customer text PRIMARY KEY, region text);
    CREATE TABLE sides (i int, f4 real, n numeric, v varchar, c char(3), d date, t time, money numeric(10, 2));
    INSERT INTO sides VALUES (7, 0.1, 0.1, 'b ', 'b', '2024-02-29', '00:00', NULL);
    CREATE VIEW big AS SELECT * FROM orders WHERE amount > 100;
  `);
});
afterAll(() => db.close());

async function refused(sql: string): Promise<DbError> {
  return db.query(sql).then(
    () => {
      throw new Error(`accepted: ${sql}`);
    },
    (cause: unknown) => cause as DbError,
  );
}

test('where nothing is near, what there is is told, or how it begins', async () => {
  for (const [sql, code, hint] of [
    ['SELECT total FROM customers', '42703', 'Known are "customer", "region".'],
    ['SELECT c.total FROM customers c', '42703', 'Known are "customer", "region".'],
    [
      'SELECT sales.region FROM customers c JOIN orders o USING (customer)',
      '42P01',
      'Known are "c", "o".',
    ],
    ['INSERT INTO customers (total) VALUES (1)', '42703', 'Known are "customer", "region".'],
    ['UPDATE customers SET total = 1', '42703', 'Known are "customer", "region".'],
    ['ALTER TABLE customers DROP COLUMN total', '42703', 'Known are "customer", "region".'],
    ['DROP INDEX other', '42704', 'Known are "orders_pkey", "customers_pkey".'],
  ] as const)
    expect(await refused(sql)).toMatchObject({ code, hint });
  const many = Array.from({ length: 40 }, (_, index) => `c${index} int`).join(', ');
  await db.exec(`CREATE TABLE wide (${many})`);
  expect((await refused('SELECT total FROM wide')).hint).toBe(
    `Known are ${Array.from({ length: 12 }, (_, index) => `"c${index}"`).join(', ')} and 28 more.`,
  );
  await db.exec('DROP TABLE wide');
});

test('whatever has a name says which was meant', async () => {
  const session = db.session();
  await session.exec(`
    CREATE TABLE named (id int CONSTRAINT key PRIMARY KEY, n int CONSTRAINT positive CHECK (n > 0), ts timestamptz);
    CREATE INDEX by_number ON named (n); CREATE SCHEMA other`);
  await session.exec('PREPARE statement AS SELECT 1');
  for (const [sql, code, hint] of [
    ['DROP INDEX by_nubmer', '42704', 'Did you mean "by_number"?'],
    ['ALTER TABLE named DROP CONSTRAINT positve', '42704', 'Did you mean "positive"?'],
    [
      'INSERT INTO named VALUES (1, 1) ON CONFLICT ON CONSTRAINT kye DO NOTHING',
      '42704',
      'Did you mean "key"?',
    ],
    ["SET tmezone = 'UTC'", '42704', 'Did you mean "timezone"?'],
    ['SHOW statment_timeout', '42704', 'Did you mean "statement_timeout"?'],
    ['EXECUTE statment', '26000', 'Did you mean "statement"?'],
    ['DEALLOCATE statment', '26000', 'Did you mean "statement"?'],
    ["CREATE TABLE w (a timestamptz) WITH (tiem = 'a')", '22023', 'Did you mean "time"?'],
    ["CREATE TABLE w (at timestamptz) WITH (time = 'ta')", '42703', 'Did you mean "at"?'],
    [
      "CREATE MATERIALIZED VIEW w WITH (refrsh = 'commit') AS SELECT id FROM named",
      '22023',
      'Did you mean "refresh"?',
    ],
    ["SELECT date_trunc('mnth', ts) FROM named", '22023', 'Did you mean "month"?'],
    ['SELECT extract(yer FROM ts) FROM named', '22023', 'Did you mean "year"?'],
    ['INSERT INTO named VALUES (1, 0)', '23514', 'It asks for n > 0.'],
  ] as const) {
    await session.exec("INSERT INTO named VALUES (9, 9, '2026-01-01') ON CONFLICT DO NOTHING");
    const error = await session.query(sql).then(
      () => ({ sql }),
      (cause: DbError) => ({ code: cause.code, hint: cause.hint }),
    );
    expect([sql, error]).toEqual([sql, { code, hint }]);
  }
  await session.exec('BEGIN; SAVEPOINT before');
  await expect(session.exec('ROLLBACK TO befor')).rejects.toMatchObject({
    code: '3B001',
    hint: 'Did you mean "before"?',
  });
  await session.exec('ROLLBACK');
  // With its schema, where it was written.
  for (const sql of [
    'INSERT INTO other.named VALUES (1)',
    'ALTER TABLE other.named ADD x int',
    'DROP TABLE other.named',
  ])
    expect(await refused(sql)).toMatchObject({
      code: '42P01',
      message: 'relation "other.named" does not exist',
      hint: 'Did you mean "named"?',
    });
  await session.close();
});

test('a name that is nearly right is met with what was meant, at its place', async () => {
  expect(await refused('SELECT amout FROM orders')).toMatchObject({
    code: '42703',
    message: 'column "amout" does not exist',
    at: { offset: 7, line: 1, column: 8 },
    column: 'amout',
    hint: expect.stringContaining('orders.amount'),
  });
  expect(await refused('SELECT *\nFROM ordres')).toMatchObject({
    code: '42P01',
    at: { line: 2, column: 6 },
    table: 'ordres',
    hint: 'Did you mean "orders"?',
  });
  expect(await refused('SELECT o.amout FROM orders o')).toMatchObject({
    code: '42703',
    hint: expect.stringContaining('o.amount'),
  });
  expect(await refused('SELECT order.id FROM orders')).toMatchObject({ code: '42601' });
  expect(await refused('SELECT orderz.id FROM orders')).toMatchObject({
    code: '42P01',
    hint: 'Did you mean "orders"?',
  });
  expect(await refused('INSERT INTO orders (idd) VALUES (1)')).toMatchObject({
    code: '42703',
    table: 'orders',
    column: 'idd',
    hint: 'Did you mean "id"?',
  });
  expect(await refused('SELECT lenght(customer) FROM orders')).toMatchObject({
    code: '42883',
    hint: expect.stringContaining('length'),
  });
});

test('a name that may mean two things is refused with what to write', async () => {
  expect(await refused('SELECT customer FROM orders, customers')).toMatchObject({
    code: '42702',
    column: 'customer',
    hint: 'Write orders.customer or customers.customer.',
  });
  expect(await refused('SELECT 1 FROM orders, orders')).toMatchObject({ code: '42712' });
  expect(
    await refused('SELECT 1 FROM orders a JOIN customers c USING (customer) AS a'),
  ).toMatchObject({ code: '42712', table: 'a' });
});

test('columns that are not grouped, and aggregates where none may stand', async () => {
  expect(await refused('SELECT customer, amount FROM orders GROUP BY customer')).toMatchObject({
    code: '42803',
    column: 'amount',
  });
  expect(await refused('SELECT 1 FROM orders WHERE sum(amount) > 1')).toMatchObject({
    code: '42803',
    message: 'aggregate functions are not allowed in WHERE',
    hint: 'Use HAVING.',
  });
  expect(await refused('SELECT sum(max(amount)) FROM orders')).toMatchObject({ code: '42803' });
  expect(
    await refused(
      'SELECT 1 FROM orders o WHERE EXISTS (SELECT 1 FROM customers WHERE max(o.amount) > 1)',
    ),
  ).toMatchObject({ code: '42803', message: 'aggregate functions are not allowed in WHERE' });
});

test('set operations: as many columns, of types that meet, ordered by what comes out', async () => {
  expect(await refused('SELECT 1, 2 UNION SELECT 1')).toMatchObject({ code: '42601' });
  expect(await refused("SELECT 1 UNION SELECT 'a'::text")).toMatchObject({ code: '42804' });
  expect(await refused('SELECT 1 UNION SELECT 2 ORDER BY 3')).toMatchObject({ code: '42P10' });
  expect(await refused('SELECT 1 AS a UNION SELECT 2 ORDER BY -a')).toMatchObject({
    code: '42P10',
    hint: expect.stringContaining('subquery'),
  });
});

test('rows without a column are put together, and counted, as others are', async () => {
  const rows = async (sql: string): Promise<unknown[]> => (await db.query(sql)).rows;
  const two = 'SELECT FROM (VALUES (1), (2)) AS v';
  const none = 'SELECT WHERE false';
  expect(await rows(`${two} UNION ALL SELECT`)).toEqual([{}, {}, {}]);
  expect(await rows(`WITH q AS (${two}) SELECT * FROM q UNION ALL ${none}`)).toEqual([{}, {}]);
  for (const [operation, n] of [
    ['UNION ALL', 4],
    ['UNION', 1],
    ['INTERSECT ALL', 2],
    ['INTERSECT', 1],
    ['EXCEPT ALL', 0],
    ['EXCEPT', 0],
  ] as const)
    expect(
      await rows(`SELECT count(*) AS n FROM (${two} ${operation} (${two})) AS q`),
      operation,
    ).toEqual([{ n }]);
});

test('what a bare text or NULL is, the other side of a set operation says', async () => {
  const texts = async (sql: string): Promise<unknown[]> =>
    (await db.query<{ v: unknown }>(sql)).rows.map(({ v }) => v);
  expect(await texts('SELECT NULL AS v UNION ALL SELECT 1 ORDER BY v')).toEqual([1, null]);
  expect(await texts("SELECT 1 AS v UNION ALL SELECT '2' ORDER BY 1")).toEqual([1, 2]);
  expect(await texts('SELECT 1 AS v UNION ALL SELECT NULL UNION ALL SELECT 3 ORDER BY 1')).toEqual([
    1,
    3,
    null,
  ]);
  expect(await refused("SELECT 1 UNION SELECT 'x'")).toMatchObject({ code: '22P02' });
  // Both sides open: text, and too late for a third.
  expect(await refused('SELECT NULL UNION SELECT NULL UNION SELECT 1')).toMatchObject({
    code: '42804',
  });
});

test('two sides are compared, and values brought together, as of the types that PostgreSQL chooses', async () => {
  const wrong: string[] = [];
  for (const [expression, value] of [
    ['f4 = n', 'false boolean'],
    ['f4 IN (SELECT n FROM sides)', 'false boolean'],
    ['n NOT IN (SELECT f4 FROM sides)', 'true boolean'],
    ['(f4, 1) IN (SELECT n, 1 FROM sides)', 'false boolean'],
    ['n >= ALL (SELECT f4 FROM sides)', 'false boolean'],
    ['f4 IN (SELECT 1e300)', 'false boolean'],
    ['f4 IN (n, 7)', 'false boolean'],
    ['f4 IN (0.1, 7)', 'true boolean'],
    ['n IN (f4, 0.1)', 'true boolean'],
    ['9007199254740991::bigint IN (9007199254740991, 1.5::real)', 'false boolean'],
    ['v IN (SELECT c FROM sides)', 'true boolean'],
    ["NULLIF(d, timestamp with time zone '2000-01-01')", '2024-02-29 date'],
    ["coalesce(money, '0.123')", '0.123 numeric'],
    ["coalesce(c, 'longer')", 'b character'],
    ["greatest(c, 'longer')", 'longer character'],
    ['CASE WHEN d IS NULL THEN v ELSE c END', 'b character'],
    ['v || true', 'b true text'],
    ["interval '25 hours' + t", '01:00:00 time without time zone'],
    ['i IN (d, 1)', '42883'],
    ['i IN (true, 1)', '42883'],
    ['i IN (SELECT d FROM sides)', '42883'],
  ] as const) {
    const found = await db
      .query<{ v: string }>(
        `SELECT (${expression})::text || ' ' || pg_typeof(${expression}) AS v FROM sides`,
      )
      .then(
        ({ rows }) => rows[0]!.v,
        (cause: unknown) => (cause as DbError).code,
      );
    if (found !== value) wrong.push(`${expression}: ${found}, not ${value}`);
  }
  expect(wrong).toEqual([]);
});

test('what is not there yet is refused with 0A000 and a way around it', async () => {
  for (const sql of [
    'SELECT sum(amount) OVER () FROM orders',
    'SELECT customer, sum(amount) FROM orders GROUP BY ROLLUP (customer)',
    'SELECT orders FROM orders',
    'SELECT array_agg(id) FILTER (WHERE id > 1) FROM orders',
  ])
    expect(await refused(sql)).toMatchObject({ code: '0A000', hint: expect.any(String) });
  // No way round leads to what is not there either.
  for (const sql of [
    'SELECT row_number() WITHIN GROUP (ORDER BY id) FROM orders',
    'SELECT * FROM ROWS FROM (generate_series(1, 2), generate_series(1, 3)) AS pairs',
  ])
    expect(await refused(sql)).toMatchObject({
      code: '0A000',
      hint: expect.not.stringMatching(/OVER|row_number/),
    });
});

test('an aggregate inside one of the same query is refused, also where both belong to the query around', async () => {
  for (const sql of [
    'SELECT max(id) FILTER (WHERE sum(id) > 0) FROM orders',
    'SELECT (SELECT max(id) FILTER (WHERE sum(id) > 0) FROM customers) FROM orders',
    'SELECT (SELECT max(id + min(id)) FROM customers) FROM orders',
  ])
    expect(await refused(sql)).toMatchObject({
      code: '42803',
      message: 'aggregate function calls cannot be nested',
    });
  // One of the query around it is a value inside.
  const { rows } = await db.query(
    'SELECT (SELECT count(c.region || count(o.id)) AS n FROM customers c) FROM orders o',
  );
  expect(rows).toEqual([{ n: 0 }]);
});
