/**
 * Issue 2, bar a: ten dashboard queries over 10 M rows, each a scan of the table on one thread with its rows handed out,
 * beside DuckDB in memory with one thread. Both answer in the same process and in turns, so that a busy machine slows
 * both; every answer is compared.
 */
import { open } from '../dist/src/index.js';
import { openDuckdb } from './lib/duckdb.mjs';
import { median, timed } from './lib/measure.mjs';
import { columnsOf, customers, orders, ORDERS_COLUMNS } from './lib/orders.mjs';

export const about =
  'ten dashboard queries as scans, through db.query with their rows, against DuckDB with one thread';

const ROUND_COUNT = 9;
/** The last tenth of the year that the orders are spread over. */
const LAST_TENTH = '2025-11-25 12:00:00';

const QUERIES = [
  [
    'Q1 count, sum by region',
    'SELECT region, count(*) AS n, sum(amount) AS s FROM orders GROUP BY region ORDER BY region',
  ],
  [
    'Q2 sum of products, last tenth, by region',
    `SELECT region, sum(amount * price) AS s FROM orders WHERE ts >= '${LAST_TENTH}' GROUP BY region ORDER BY region`,
  ],
  [
    'Q3 top ten customers by sum',
    'SELECT customer, sum(amount) AS s FROM orders GROUP BY customer ORDER BY s DESC, customer LIMIT 10',
  ],
  [
    'Q4 by region and day',
    `SELECT region, date_trunc('day', ts) AS day, count(*) AS n, sum(amount) AS s FROM orders GROUP BY 1, 2 ORDER BY 1, 2`,
  ],
  [
    'Q5 distinct customers by region',
    'SELECT region, count(DISTINCT customer) AS n FROM orders GROUP BY region ORDER BY region',
  ],
  [
    'Q6 min, max, avg, stddev by region',
    `SELECT region, min(amount) AS lo, max(amount) AS hi, avg(amount) AS mean, stddev(amount) AS dev
     FROM orders GROUP BY region ORDER BY region`,
  ],
  ['Q7 count of LIKE', `SELECT count(*) AS n FROM orders WHERE note LIKE '%abc%'`],
  [
    'Q8 top ten notes',
    'SELECT note, count(*) AS n FROM orders GROUP BY note ORDER BY n DESC, note LIMIT 10',
  ],
  [
    'Q9 frequent pairs of region and customer, counted',
    `SELECT count(*) AS n FROM
       (SELECT region, customer FROM orders GROUP BY region, customer HAVING count(*) > 5) AS pairs`,
  ],
  [
    'Q10 join with customers, by segment',
    `SELECT c.segment, count(*) AS n, sum(o.amount) AS s
     FROM orders o JOIN customers c ON c.id = o.customer GROUP BY c.segment ORDER BY c.segment`,
  ],
];

export async function run(report, { quick }) {
  const rowCount = quick ? 1_000_000 : 10_000_000;
  const duckdb = await openDuckdb();
  const db = await open({ workers: 0, memory: '8 GB' });
  try {
    await load(db, duckdb, rowCount);
    // Q2 is a stretch of time, which tiles would answer.
    const session = db.session();
    await session.exec(`SET enable_window_tiles = 'off'`);
    const only = process.env.BENCH_ONLY?.split(',');
    for (const [name, text] of QUERIES) {
      if (only !== undefined && !only.includes(name.split(' ')[0])) continue;
      await compare(report, session, duckdb, name, text);
    }
    report.addGeometricMean({ metric: 'geometric mean', peer: duckdb.name, bar: { ratioMax: 1 } });
  } finally {
    await db.close();
    duckdb.close();
  }
}

async function load(db, duckdb, rowCount) {
  await db.exec(`CREATE TABLE orders (${ORDERS_COLUMNS}) WITH (time = 'ts')`);
  await db.exec('CREATE TABLE customers (id int PRIMARY KEY, segment text NOT NULL)');
  const { id, segment } = customers();
  await db.insert('customers', { id, segment });
  const ours = await timed(async () => {
    for (const chunk of orders(rowCount)) await db.insert('orders', columnsOf(chunk));
  });
  const theirs = await timed(() => duckdb.loadOrders(orders(rowCount)));
  await duckdb.run('CREATE TABLE customers (id INTEGER NOT NULL, segment VARCHAR NOT NULL)');
  for (let from = 0; from < id.length; from += 10_000) {
    const values = segment
      .slice(from, from + 10_000)
      .map((text, at) => `(${id[from + at]},'${text}')`);
    await duckdb.run(`INSERT INTO customers VALUES ${values.join(',')}`);
  }
  console.log(
    `${rowCount.toLocaleString('en-US')} rows made and loaded: ours ${Math.round(ours.ms)} ms, DuckDB ${Math.round(theirs.ms)} ms\n`,
  );
  globalThis.gc();
}

async function compare(report, session, duckdb, name, text) {
  const ours = [];
  const theirs = [];
  const checked = new Set();
  for (let round = -1; round < ROUND_COUNT; round += 1) {
    const peer = await timed(() => duckdb.query(text));
    const own = await timed(() => session.query(text));
    const { rows, meta } = own.value;
    if (meta.source !== 'scan')
      throw new Error(`${name} was answered from ${meta.source}, not by a scan`);
    sameRows(name, rows, peer.value);
    checked.add(JSON.stringify(rows));
    if (round < 0) continue;
    ours.push(own.ms);
    theirs.push(peer.ms);
  }
  if (checked.size !== 1) throw new Error(`${name}: our own answers differ from run to run`);
  const { ratio } = report.add({
    metric: name,
    unit: 'ms',
    value: median(ours),
    peer: duckdb.name,
    peerValue: median(theirs),
    bar: { ratioMax: 3 },
  });
  console.log(
    `${name}: ${median(ours).toFixed(1)} ms, DuckDB ${median(theirs).toFixed(1)} ms, ${ratio.toFixed(2)}×`,
  );
}

/** Equal, with doubles within 1e-9: DuckDB adds them in the order it meets them. */
function sameRows(name, ours, theirs) {
  if (ours.length !== theirs.length)
    throw new Error(`${name}: ${ours.length} rows, DuckDB has ${theirs.length}`);
  for (const [at, row] of ours.entries()) {
    for (const [column, value] of Object.entries(row)) {
      const peer = theirs[at][column];
      if (isSame(value, peer)) continue;
      throw new Error(
        `${name}: row ${at + 1}, ${column} is ${String(value)}, DuckDB has ${String(peer)}`,
      );
    }
  }
}

function isSame(value, peer) {
  if (typeof peer === 'bigint') return value === Number(peer);
  if (typeof peer === 'number') return Math.abs(value - peer) <= Math.abs(peer) * 1e-9;
  if (peer instanceof Date) return Date.parse(value) === peer.getTime();
  return value === peer;
}
