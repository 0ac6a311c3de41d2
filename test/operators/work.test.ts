import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
import { createTable } from '../../src/columns/table.ts';
import { TEXT } from '../../src/columns/types.ts';
import { open } from '../../src/open.ts';
import { untilSealed } from '../progressive/until-sealed.ts';
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

test('keys that a list names are looked for by their index, of many rows and in changes, too', async () => {
  await using db = await open({ workers: 0 });
  await db.exec(`
    CREATE TABLE t (id bigint PRIMARY KEY, small smallint, code varchar(8) UNIQUE, g int, n int);
    CREATE UNIQUE INDEX ON t (g, n);
    CREATE INDEX ON t (small);
    INSERT INTO t SELECT i, i % 1000, 'c' || i, i % 1000, i FROM generate_series(1, 100000) s(i)`);
  const placed = (count: number, from = 1): string =>
    Array.from({ length: count }, (_, at) => `$${at + from}`).join(', ');
  const ids = Array.from({ length: 1000 }, (_, at) => at * 97 + 1);
  const told = async (sql: string, params: unknown[] = []): Promise<[number, number]> => {
    const { meta, rowCount } = await db.query(sql, { params });
    return [rowCount, meta.work];
  };
  // A look, then for each key itself, its row, and what is told of that.
  const looked = (keys: number, rows = keys, shown = rows): number => 16 + keys - 1 + rows + shown;
  const listed = placed(1000);
  expect(await told(`SELECT n FROM t WHERE id IN (${listed})`, ids)).toEqual([1000, looked(1000)]);
  expect(await told(`SELECT n FROM t WHERE id IN (${ids.join()})`)).toEqual([1000, looked(1000)]);
  const many = Array.from({ length: 10_000 }, (_, at) => at * 9 + 1);
  expect(await told(`SELECT n FROM t WHERE id IN (${placed(10_000)})`, many)).toEqual([
    10_000,
    looked(10_000),
  ]);
  // More keys than an eighth of the rows: each row is read.
  expect(
    (
      await told(`SELECT n FROM t WHERE id IN (${placed(13_000)})`, [
        ...many,
        ...many.slice(0, 3000).map((id) => id + 1),
      ])
    )[1],
  ).toBeGreaterThan(100_000);
  // Keys that are not there, twice there, NULL, or too large for the column.
  const odd = [1, 1, null, 200_000, -5, 70];
  expect(await told(`SELECT n FROM t WHERE id IN (${placed(6)})`, odd)).toEqual([2, looked(4, 2)]);
  expect(await told('SELECT n FROM t WHERE small IN (7, 70000, 8)')).toEqual([200, looked(3, 200)]);
  expect(await told('SELECT n FROM t WHERE id = 4 AND small IN (4, 5)')).toEqual([1, 18]);
  const codes = ids.map((id) => `c${id}`);
  expect(await told(`SELECT n FROM t WHERE code IN (${listed})`, codes)).toEqual([
    1000,
    looked(1000),
  ]);
  expect(await told(`SELECT n FROM t WHERE code IN ($1::text, 'c2')`, ['c9'])).toEqual([
    2,
    looked(2),
  ]);
  const pairs = ids.map((_, at) => `($${2 * at + 1}, $${2 * at + 2})`).join(', ');
  const both = ids.flatMap((id) => [id % 1000, id]);
  expect(await told(`SELECT id FROM t WHERE (g, n) IN (${pairs})`, both)).toEqual([
    1000,
    looked(1000),
  ]);
  expect(
    await told(`SELECT id FROM t WHERE (n, g) IN ((5, 5), (5, 6), (6, NULL), (5, 5))`),
  ).toEqual([1, looked(2, 1)]);
  // Finding the rows, and what it takes to write each: all rows were looked at otherwise.
  expect(await told(`UPDATE t SET n = -n WHERE id IN (${listed})`, ids)).toEqual([1000, 65_016]);
  expect(await told(`DELETE FROM t WHERE id IN (${listed})`, ids)).toEqual([1000, 31_016]);
  expect((await db.query('SELECT count(*)::int AS n FROM t')).rows).toEqual([{ n: 99_000 }]);
  await db.transaction(async (tx) => {
    await tx.exec("INSERT INTO t VALUES (1, 0, 'new', 0, 1), (98, 0, 'too', 0, 98)");
    const found = await tx.query(`SELECT id FROM t WHERE id IN (${listed})`, { params: ids });
    expect(found.rows).toEqual([{ id: 1 }, { id: 98 }]);
  });
});

test('segments that have no value of a list are not read', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (x int, s text)');
  await db.exec("INSERT INTO t SELECT i, 's' || i / 65536 FROM generate_series(0, 262143) s(i)");
  await untilSealed(db, 't');
  const read = async (condition: string, params: unknown[] = []): Promise<number> => {
    const { meta } = await db.query(`SELECT count(*) FROM t WHERE ${condition}`, { params });
    return Math.round(meta.work / 65_536);
  };
  expect(await read('x IN ($1, $2)', [70_000, 70_001])).toBe(1);
  expect(await read('x IN ($1, $2)', [70_000, 140_000])).toBe(2);
  expect(await read('x IN ($1, $2, 200000)', [-1, 300_000])).toBe(1);
  expect(await read('x IN ($1::bigint, $2)', [5_000_000_000, 3])).toBe(1);
  expect(await read('(x, s) IN (($1, $2), (70000, $2))', [70_001, 's1'])).toBe(1);
  expect(await read('x NOT IN ($1, $2)', [70_000, 70_001])).toBe(8);
});
