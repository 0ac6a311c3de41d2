/**
 * Issue 2, bars c and d: how fast rows come in (Parquet, columns, objects) and what a row costs in memory. Each measurement of
 * speed opens a database of its own; each of memory runs in a process of its own.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { open } from '../dist/src/index.js';
import { openDuckdb } from './lib/duckdb.mjs';
import { FLIGHTS_COUNT, FLIGHTS_FILE } from './lib/flights.mjs';
import { median, timed } from './lib/measure.mjs';
import { columnsOf, orders, ORDERS_COLUMNS } from './lib/orders.mjs';

export const about = 'rows in by Parquet, columns and objects, and the memory that they take';

const FLIGHTS_COLUMNS =
  'id bigint PRIMARY KEY, date timestamp NOT NULL, delay int, distance int, origin text, destination text';

export async function run(report, { quick }) {
  await parquet(report, quick ? 1 : 3);
  await columns(report, quick ? 1_000_000 : 3_000_000);
  await objects(report, quick ? 100_000 : 500_000);
  memory(report, 'flights', FLIGHTS_COUNT, 40);
  memory(report, 'orders', quick ? 2_000_000 : 10_000_000, 60);
}

async function parquet(report, roundCount) {
  const ours = [];
  const theirs = [];
  for (let round = 0; round < roundCount; round += 1) {
    const db = await open({ workers: 0 });
    const { ms, value } = await timed(() => db.load('flights', FLIGHTS_FILE, { create: true }));
    if (value.rows !== FLIGHTS_COUNT) throw new Error(`${value.rows} flights were loaded`);
    ours.push(ms);
    await db.close();
    const duckdb = await openDuckdb();
    const peer = await timed(() =>
      duckdb.run(`CREATE TABLE flights AS FROM read_parquet('${FLIGHTS_FILE}')`),
    );
    theirs.push(peer.ms);
    duckdb.close();
  }
  report.add({
    metric: '3 M flights from Parquet',
    unit: 'ms',
    value: median(ours),
    peer: 'DuckDB',
    peerValue: median(theirs),
    bar: { valueMax: 4000 },
  });
}

/** The flights' columns again, as a program has them: read back from a table. */
async function flightColumns(rowCount) {
  const db = await open({ workers: 0 });
  await db.load('flights', FLIGHTS_FILE, { create: true });
  const chunks = [];
  let from = 0;
  const query = `SELECT date, delay, distance, origin, destination FROM flights LIMIT ${rowCount}`;
  for await (const batch of db.stream(query, { batchRows: 65_536 })) {
    const [date, delay, distance, origin, destination] = batch.columnar();
    const count = batch.rowCount;
    chunks.push({
      id: Float64Array.from({ length: count }, (_, row) => from + row + 1),
      date: Float64Array.from(date, (text) => Date.parse(`${text}Z`)),
      delay: {
        values: Int32Array.from(delay, (value) => value ?? 0),
        valid: Uint8Array.from(delay, (value) => (value === null ? 0 : 1)),
      },
      distance: Int32Array.from(distance),
      origin,
      destination,
    });
    from += count;
  }
  await db.close();
  return chunks;
}

async function columns(report, rowCount) {
  const flights = await flightColumns(rowCount);
  await rate(report, 'flights as columns', FLIGHTS_COLUMNS, flights, rowCount, {
    valueMin: 2_000_000,
  });
  const made = Array.from(orders(Math.min(rowCount, 1_000_000)), columnsOf);
  const count = made.reduce((sum, { id }) => sum + id.length, 0);
  await rate(report, 'orders as columns', ORDERS_COLUMNS, made, count);
}

async function rate(report, metric, definition, chunks, rowCount, bar) {
  const db = await open({ workers: 0 });
  await db.exec(`CREATE TABLE t (${definition})`);
  const { ms } = await timed(async () => {
    for (const chunk of chunks) await db.insert('t', chunk);
  });
  const { rows } = await db.query('SELECT count(*) AS n FROM t');
  if (rows[0].n !== rowCount) throw new Error(`${rows[0].n} rows are there, not ${rowCount}`);
  report.add({ metric, unit: 'rows/s', value: (rowCount / ms) * 1000, rate: true, bar });
  await db.close();
}

async function objects(report, rowCount) {
  const rows = [];
  for (const { rowCount: count, id, tsMs, region, customer, amount } of orders(rowCount))
    for (let row = 0; row < count; row += 1)
      rows.push({
        id: id[row],
        ts: new Date(tsMs[row]),
        region: region[row],
        customer: customer[row],
        amount: amount[row],
      });
  const chunks = [];
  for (let from = 0; from < rows.length; from += 10_000)
    chunks.push(rows.slice(from, from + 10_000));
  const definition =
    'id bigint PRIMARY KEY, ts timestamptz NOT NULL, region text, customer int, amount double precision';
  const db = await open({ workers: 0 });
  await db.exec(`CREATE TABLE t (${definition})`);
  const ours = await timed(async () => {
    for (const chunk of chunks) await db.insert('t', chunk);
  });
  await db.close();

  const { default: Sqlite } = await import('better-sqlite3');
  const sqlite = new Sqlite(':memory:');
  sqlite.exec(
    'CREATE TABLE t (id INTEGER PRIMARY KEY, ts INTEGER NOT NULL, region TEXT, customer INTEGER, amount REAL)',
  );
  const insert = sqlite.prepare('INSERT INTO t VALUES (?, ?, ?, ?, ?)');
  const insertAll = sqlite.transaction((chunk) => {
    for (const row of chunk)
      insert.run(row.id, row.ts.getTime(), row.region, row.customer, row.amount);
  });
  const theirs = await timed(() => chunks.forEach((chunk) => insertAll(chunk)));
  sqlite.close();
  report.add({
    metric: 'objects, 10 k a commit',
    unit: 'rows/s',
    value: (rowCount / ours.ms) * 1000,
    peer: 'SQLite',
    peerValue: (rowCount / theirs.ms) * 1000,
    rate: true,
    bar: { valueMin: 300_000 },
  });
}

function memory(report, what, rowCount, bytesMax) {
  const script = fileURLToPath(new URL('./lib/memory-of.mjs', import.meta.url));
  const output = execFileSync(process.execPath, ['--expose-gc', script, what, String(rowCount)], {
    encoding: 'utf8',
  });
  const { rows, bytes } = JSON.parse(output);
  report.add({
    metric: `memory of ${what}`,
    unit: 'bytes/row',
    value: bytes / rows,
    bar: { valueMax: bytesMax },
  });
}
