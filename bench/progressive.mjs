/**
 * Issue 5, bar 4: progressive answers over 10 M rows (`npm run bench -- progressive`) or 100 M of the three columns that are asked about (`BENCH_ROWS=100000000`). When the first sound answer of each of four queries that are asked at once is there, when an
 * average is known to one part in a hundred, what the exact end costs beside the plain query, and how soon a cancel is obeyed; beside DuckDB's
 * full answer and its sample of a percent (which has no interval). `BENCH_PEERS=0`: ours alone.
 */
import { open } from '../dist/src/index.js';
import { median, percentile, randomOf, timed } from './lib/measure.mjs';
import { columnsOf, orders, ORDERS_COLUMNS } from './lib/orders.mjs';

export const about =
  'progressive answers: first estimates of four queries at once, to 1 %, to the end, and cancelled';

const ROUND_COUNT = 9;
/** Of exact ends: the median of nine differs by a twentieth from one run to the next, as much as is measured. */
const EXACT_ROUND_COUNT = 31;
/** Code that has just been loaded takes several times as long: so many rounds are not counted. */
const WARM_ROUND_COUNT = 5;
/** Larger tables have the columns that are asked about, and are read to the end less often. */
const WIDE_ROWS_MAX = 20_000_000;

/** Averages and sums of every kind of argument: doubles, numerics, products, of few and many groups, of a twentieth of the rows. */
const QUERIES = [
  ['avg', 'SELECT avg(amount) AS v FROM orders'],
  ['by region', 'SELECT region, count(*) AS n, sum(amount) AS s FROM orders GROUP BY region'],
  ['filtered', 'SELECT count(*) AS n, avg(price) AS v FROM orders WHERE amount > 950'],
  ['product', 'SELECT sum(amount * price) AS v, stddev(amount) AS d FROM orders'],
];

export async function run(report, { quick }) {
  const rowCount = Number(process.env.BENCH_ROWS ?? (quick ? 1_000_000 : 10_000_000));
  const isNarrow = rowCount > WIDE_ROWS_MAX;
  const duckdb =
    process.env.BENCH_PEERS === '0'
      ? undefined
      : await (await import('./lib/duckdb.mjs')).openDuckdb();
  const db = await open({
    workers: 0,
    memory: '8 GB',
    history: '1 second',
    journal: { kind: 'memory', keep: '64 MB' },
  });
  try {
    if (isNarrow) await loadNarrow(db, duckdb, rowCount);
    else {
      await db.exec(`CREATE TABLE orders (${ORDERS_COLUMNS}) WITH (time = 'ts')`);
      for (const chunk of orders(rowCount)) await db.insert('orders', columnsOf(chunk));
      await duckdb?.loadOrders(orders(rowCount));
    }
    console.log(`${rowCount.toLocaleString('en-US')} rows made and loaded\n`);
    globalThis.gc();
    await firstAnswers(report, db, isNarrow ? 200 : 50);
    await toOnePercent(report, db, duckdb);
    await exactEnd(report, db, duckdb, isNarrow ? 5 : EXACT_ROUND_COUNT);
    await cancels(report, db);
  } finally {
    await db.close();
    duckdb?.close();
  }
}

/** The same kinds of values as the orders', without what is not asked about; DuckDB makes its own. */
async function loadNarrow(db, duckdb, rowCount) {
  await db.exec(
    'CREATE TABLE orders (region text NOT NULL, amount double precision NOT NULL, price numeric(12,2) NOT NULL)',
  );
  const random = randomOf(20_260_101);
  const regions = Array.from({ length: 50 }, (_, at) => `region-${String(at).padStart(2, '0')}`);
  const chunkRows = 65_536;
  for (let from = 0; from < rowCount; from += chunkRows) {
    const count = Math.min(chunkRows, rowCount - from);
    const region = Array.from({ length: count });
    const amount = new Float64Array(count);
    const price = new Float64Array(count);
    for (let row = 0; row < count; row += 1) {
      region[row] = regions[Math.floor(random() * 50)];
      amount[row] = Math.round(random() * 100_000) / 100;
      price[row] = (100 + Math.floor(random() * 99_900)) / 100;
    }
    await db.insert('orders', { region, amount, price });
  }
  await duckdb?.run(`CREATE TABLE orders AS SELECT format('region-{:02d}', CAST(floor(random() * 50) AS INTEGER)) AS region,
    round(random() * 100000) / 100 AS amount, CAST(1 + floor(random() * 99900) / 100 AS DECIMAL(12,2)) AS price FROM range(${rowCount})`);
}

/** An estimate is sound when each value of it has an interval. */
async function firstSound(db, text) {
  for await (const { rows } of db.progressive(text)) {
    const values = rows.flatMap((row) =>
      Object.values(row).filter((value) => value !== null && typeof value === 'object'),
    );
    if (values.length > 0 && values.every(({ lower, upper }) => lower !== null && upper !== null))
      return;
  }
}

async function firstAnswers(report, db, msMax) {
  const alone = [];
  const atOnce = [];
  for (let round = -WARM_ROUND_COUNT; round < ROUND_COUNT; round += 1) {
    for (const [, text] of QUERIES) {
      const { ms } = await timed(() => firstSound(db, text));
      if (round >= 0) alone.push(ms);
    }
    const times = await Promise.all(
      QUERIES.map(async ([, text]) => (await timed(() => firstSound(db, text))).ms),
    );
    if (round >= 0) atOnce.push(...times);
  }
  for (const [metric, times, bar] of [
    ['first sound answer alone, median', [median(alone)]],
    ['first sound answer, four at once, median', [median(atOnce)]],
    ['first sound answer, four at once, p95', [percentile(atOnce, 0.95)], { valueMax: msMax }],
  ])
    report.add({ metric, unit: 'ms', value: times[0], bar });
}

async function toOnePercent(report, db, duckdb) {
  const [, text] = QUERIES[0];
  const ours = [];
  const sampled = [];
  for (let round = -WARM_ROUND_COUNT; round < ROUND_COUNT; round += 1) {
    const own = await timed(() => db.progressive(text, { stop: { relativeError: 0.01 } }).result());
    if (own.value.reason !== 'stop' && own.value.reason !== 'exact')
      throw new Error(`ended by ${own.value.reason}`);
    const peer =
      duckdb === undefined
        ? undefined
        : await timed(() =>
            duckdb.query('SELECT avg(amount) AS v FROM orders TABLESAMPLE 1 PERCENT (bernoulli)'),
          );
    if (round < 0) continue;
    ours.push(own.ms);
    if (peer !== undefined) sampled.push(peer.ms);
  }
  report.add({
    metric: 'an average to ±1 %, p95; DuckDB: TABLESAMPLE 1 PERCENT, no interval',
    unit: 'ms',
    value: percentile(ours, 0.95),
    ...(duckdb === undefined ? {} : { peer: duckdb.name, peerValue: percentile(sampled, 0.95) }),
    bar: { valueMax: 100 },
  });
}

/** The plain query and the progressive one to its end take turns, so that a busy machine slows both. */
async function exactEnd(report, db, duckdb, roundCount) {
  for (const [name, text] of QUERIES) {
    const plain = [];
    const whole = [];
    const theirs = [];
    for (
      let round = roundCount === EXACT_ROUND_COUNT ? -WARM_ROUND_COUNT : -1;
      round < roundCount;
      round += 1
    ) {
      const own = await timed(() => db.query(text));
      const progressive = await timed(() => db.progressive(text).result());
      if (progressive.value.reason !== 'exact') throw new Error('it did not end exact');
      sameAnswer(name, progressive.value.rows, own.value.rows);
      const peer = duckdb === undefined ? undefined : await timed(() => duckdb.query(text));
      if (round < 0) continue;
      plain.push(own.ms);
      whole.push(progressive.ms);
      if (peer !== undefined) theirs.push(peer.ms);
    }
    report.add({
      metric: `exact end: ${name}`,
      unit: 'ms',
      value: median(whole),
      peer: 'our plain query',
      peerValue: median(plain),
      bar: { ratioMax: 1.1 },
    });
    if (duckdb !== undefined)
      report.add({
        metric: `exact end: ${name}`,
        unit: 'ms',
        value: median(whole),
        peer: duckdb.name,
        peerValue: median(theirs),
      });
  }
}

function sameAnswer(name, progressive, plain) {
  const values = (row) =>
    Object.values(row).map((value) =>
      value !== null && typeof value === 'object' && 'guarantee' in value ? value.value : value,
    );
  const shown = progressive.map(values);
  const wanted = plain.map(values);
  if (JSON.stringify(shown) !== JSON.stringify(wanted))
    throw new Error(`${name}: the exact end differs from the plain query`);
}

/** From the call until it is over, in the midst of the reading. */
async function cancels(report, db) {
  const times = [];
  for (let round = -2; round < ROUND_COUNT * 3; round += 1) {
    const answer = db.progressive(QUERIES[round % 2 === 0 ? 1 : 3][1]);
    for await (const { rows } of answer) {
      if (rows.length === 0) continue;
      const { ms } = await timed(() => answer.cancel());
      if (round >= 0) times.push(ms);
      break;
    }
  }
  report.add({
    metric: 'cancel until it is over, p95',
    unit: 'ms',
    value: percentile(times, 0.95),
    bar: { valueMax: 10 },
  });
}
