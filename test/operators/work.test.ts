import { expect, test } from 'vitest';
import { open } from '../../src/open.ts';

/** The dashboard queries of the benchmark (bench/queries.mjs), and what they cost over 6,000 rows of 5 regions and 40 customers. */
/* Work units are logical events: a change here is a change of a plan or of a price, and should be meant. */
const QUERIES: readonly (readonly [string, number])[] = [
  ['SELECT region, count(*), sum(amount) FROM t GROUP BY region', 24236],
  [
    "SELECT region, sum(amount * price) FROM t WHERE ts >= '2026-01-01 12:00:00Z' GROUP BY region",
    9591,
  ],
  [
    'SELECT customer, sum(amount) AS s FROM t GROUP BY customer ORDER BY s DESC, customer LIMIT 10',
    18980,
  ],
  ["SELECT region, date_trunc('day', ts), count(*), sum(amount) FROM t GROUP BY 1, 2", 30275],
  ['SELECT region, count(DISTINCT customer) FROM t GROUP BY region', 18231],
  [
    'SELECT region, min(amount), max(amount), avg(amount), stddev(amount) FROM t GROUP BY region',
    36246,
  ],
  ["SELECT count(*) FROM t WHERE note LIKE '%abc%'", 12002],
  ['SELECT note, count(*) AS n FROM t GROUP BY note ORDER BY n DESC, note LIMIT 10', 34841],
  [
    'SELECT count(*) FROM (SELECT region, customer FROM t GROUP BY region, customer HAVING count(*) > 5) AS p',
    24242,
  ],
  [
    'SELECT c.segment, count(*), sum(t.amount) FROM t JOIN customers c ON c.id = t.customer GROUP BY c.segment',
    42230,
  ],
];

test('dashboard queries cost what they did, in whatever order their rows came', async () => {
  for (const isReversed of [false, true]) {
    await using db = await open({ workers: 0 });
    await db.exec(
      'CREATE TABLE t (id int PRIMARY KEY, ts timestamptz, region text, customer int, note text, amount float8, price numeric(12,2))',
    );
    await db.exec('CREATE TABLE customers (id int PRIMARY KEY, segment text)');
    const ids = Array.from({ length: 6000 }, (_, at) => (isReversed ? 5999 - at : at));
    await db.insert('t', {
      id: Int32Array.from(ids),
      ts: Float64Array.from(ids, (id) => Date.UTC(2026, 0, 1) + id * 10_000),
      region: ids.map((id) => `region ${id % 5}`),
      customer: Int32Array.from(ids, (id) => (id * 7) % 40),
      note: ids.map((id) => `note ${(id * 31) % 700} abc`),
      amount: Float64Array.from(ids, (id) => (id % 1000) / 100),
      price: Float64Array.from(ids, (id) => (id % 77) / 4),
    });
    const customers = Array.from({ length: 40 }, (_, id) => id);
    await db.insert('customers', {
      id: Int32Array.from(customers),
      segment: customers.map((id) => `segment ${id % 3}`),
    });
    // What a scan of them costs: a stretch of time would come from tiles.
    const session = db.session();
    await session.exec('SET enable_window_tiles = off');
    const work: number[] = [];
    for (const [text] of QUERIES) work.push((await session.query(text)).meta.work);
    expect(work).toEqual(QUERIES.map(([, units]) => units));
  }
});
