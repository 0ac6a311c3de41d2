/**
 * Bytes of resident memory that a table adds to a fresh process, its indexes and the journal included, after a full collection:
 * `node --expose-gc bench/lib/memory-of.mjs flights|orders <rows>`. Prints `{ rows, bytes }`.
 */
import { open } from '../../dist/src/index.js';
import { FLIGHTS_FILE } from './flights.mjs';
import { rssAfterCollection } from './measure.mjs';
import { columnsOf, orders, ORDERS_COLUMNS } from './orders.mjs';

const [, , what, rowCount] = process.argv;
const db = await open({ workers: 0, memory: '8 GB' });
// The first rows bring code that belongs to the process, not to the table; few, for what they leave behind is reused.
await load('warm', 10_000);
await db.query('SELECT count(*) FROM warm');
await db.exec('DROP TABLE warm');
const before = await settled();

const rows =
  what === 'flights'
    ? (await db.load('t', FLIGHTS_FILE, { create: true })).rows
    : await load('t', Number(rowCount));
const bytes = (await settled()) - before;
const { rows: counted } = await db.query('SELECT count(*) AS n FROM t');
if (counted[0].n !== rows) throw new Error(`${counted[0].n} rows are there, not ${rows}`);
console.log(JSON.stringify({ rows, bytes }));
await db.close();

async function load(table, count) {
  await db.exec(`CREATE TABLE ${table} (${ORDERS_COLUMNS}) WITH (time = 'ts')`);
  // Small chunks: the input that is made should die young, and not be measured.
  for (const chunk of orders(count, 8192)) await db.insert(table, columnsOf(chunk));
  return count;
}

/** Segments are sealed behind the last commit. */
async function settled() {
  await new Promise((resolve) => {
    setTimeout(resolve, 1500);
  });
  return rssAfterCollection();
}
