import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
import { createTable } from '../../src/columns/table.ts';
import { TEXT } from '../../src/columns/types.ts';
import { open } from '../../src/open.ts';
import { Budget } from '../../src/operators/operator.ts';
import { ScanOperator } from '../../src/operators/sources.ts';

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

// Root cause: a step took 2,048 rows, whatever their texts weighed: a regular expression over a kilobyte each held the thread for half a second.
test('what is made of long texts is made piece by piece, a step each', async () => {
  const texts = Array.from({ length: 3000 }, (_, id) => `${'abc def '.repeat(128)}${id}`);
  const table = createTable(
    { columns: [{ name: 's', type: TEXT, nullable: true }], indexes: [], seed: 1 },
    { memory: new MemoryAccount('test') },
  );
  table.stage(
    [{ kind: 'insert', rows: { rowCount: 3000, columns: [vectorFromData(TEXT, texts)] } }],
    { limits: true },
  );
  table.publish(1);
  const node = {
    kind: 'scan',
    id: 1,
    relation: 1,
    name: 't',
    alias: 't',
    columnIndexes: [0],
    withRowIds: false,
    rowIdColumn: false,
    columns: [{ name: 's', type: TEXT, nullable: true }],
  } as const;
  for (const inPieces of [false, true]) {
    const scan = new ScanOperator(node, table.snapshot(), CONTEXT, {
      ordered: true,
      marked: false,
      inPieces,
    });
    const budget = new Budget(Infinity);
    const read: unknown[] = [];
    let steps = 1;
    let largest = 0;
    for (let step = scan.next(budget); step !== 'done'; step = scan.next(budget)) {
      if (step === 'more') steps += 1;
      else {
        const { rowCount, columns } = scan.batch;
        largest = Math.max(largest, rowCount);
        for (let row = 0; row < rowCount; row += 1) read.push(datumAt(columns[0]!, row));
      }
    }
    expect(read).toEqual(texts);
    expect(budget.spent).toBe(3000);
    expect([largest <= 32, steps > 90]).toEqual([inPieces, inPieces]);
  }
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (s text)');
  await db.insert('t', { s: texts });
  const { rows } = await db.query(
    "SELECT sum(length(upper(s))) AS n, count(*) FILTER (WHERE s ~ 'f 299.$') AS m FROM t",
  );
  expect(rows).toEqual([{ n: 3000 * 1024 + 10 + 180 + 2700 + 8000, m: 10 }]);
});

const CONTEXT = {
  nowMicros: 0,
  zone: 'UTC',
  parameters: [],
  random: { unit: () => 0, uint32: () => 0 },
  setting: () => undefined,
};
