/**
 * Issue 4, bar 5: windows over a table with 1 % late rows, through `db.window`: aligned, rolling with millisecond edges, series, a
 * dashboard of 64 panels, percentiles of a year; what late rows and other zones cost, and what tiles take; beside the same
 * question to DuckDB and to our own engine without tiles. `BENCH_ROWS=1,10,100` says how many millions of rows, the last at the end.
 * `BENCH_PEERS=0`: ours alone.
 */
import { open } from '../dist/src/index.js';
import { median, percentile, randomOf, timed } from './lib/measure.mjs';

export const about = 'windows over time from tiles, after 1 % late rows';

const DAY_MS = 86_400_000;
const START_MS = Date.UTC(2025, 0, 1);
const END_MS = START_MS + 365 * DAY_MS;
const CHUNK = 65_536;
const MEASURES = { n: 'count(*)', s: 'sum(amount)', least: 'min(amount)', most: 'max(amount)' };
const P99 = { p: 'approx_percentile(amount, 0.99)' };
/**
 * Answers before the first that is counted. What a server does all day is meant, and V8 compiles the way of an answer for the last time after ten thousand of
 * them (p50 of the aligned day by thousands: 35, 21, 15, 10, 7, 7, 6, 5 µs, and 4 from there on); days in which windows end are cut into pieces by then.
 */
const WARM_UP = 15_000;
/** Commits of either table before the first that is counted: it takes as many until V8 has compiled their way for the last time. */
const WARM_UP_COMMITS = 6000;
/** p99 is the median of those of blocks of so many: what others do on the machine is no part of most of them. */
const BLOCK = 1000;
/** What tiles of a year may take: a group's quarters and what is above them, and what the days are cut into, by rows. */
const TILE_MB = 16;
const PIECE_BYTES_A_ROW = 2;
/** DuckDB is asked up to here: beyond, two databases do not fit the memory of a laptop. */
const PEER_ROWS_MAX = 10_000_000;

export async function run(report, { quick }) {
  const given = process.env.BENCH_ROWS?.split(',').map((millions) => Number(millions) * 1e6);
  const sizes = given ?? (quick ? [1_000_000] : [1_000_000, 10_000_000]);
  let before;
  for (const size of sizes) {
    const measured = await measure(report, size, quick ? 2000 : 20_000);
    if (before !== undefined)
      for (const [metric, value] of Object.entries(measured))
        report.add({
          metric: `${metric}: growth from ${count(sizes[0])} to ${count(size)} rows`,
          unit: '×',
          value: value / before[metric],
          bar: { valueMax: 1.3 },
        });
    before ??= measured;
  }
}

/** Rows of a year, in the order of time but for one in a hundred, which is up to three days late. */
function* rows(size) {
  const random = randomOf(7);
  const stepMs = (365 * DAY_MS) / size;
  for (let first = 0; first < size; first += CHUNK) {
    const length = Math.min(CHUNK, size - first);
    const ts = new Float64Array(length);
    const amount = new Float64Array(length);
    const region = [];
    for (let row = 0; row < length; row += 1) {
      const at = START_MS + (first + row) * stepMs;
      ts[row] = Math.floor(
        random() < 0.01 ? at - random() * Math.min(3 * DAY_MS, at - START_MS) : at,
      );
      amount[row] = random() * 1000;
      region.push(`region ${Math.floor(random() * 50)}`);
    }
    yield { ts, region, amount };
  }
}

async function filled(db, table, size) {
  await db.exec(
    `CREATE TABLE ${table} (ts timestamptz NOT NULL, region text NOT NULL, amount double precision NOT NULL) WITH (time = 'ts')`,
  );
  for (const chunk of rows(size)) await db.insert(table, chunk);
}

async function measure(report, size, rounds) {
  const db = await open({ workers: 0, memory: '16 GB' });
  await filled(db, 'orders', size);
  const hasPeers = process.env.BENCH_PEERS !== '0' && size <= PEER_ROWS_MAX;
  const duckdb = hasPeers ? await loadDuckdb(size) : undefined;
  const random = randomOf(11);
  const label = count(size);
  const now = iso(END_MS);
  const ask = (spec) => db.window('orders', { zone: 'UTC', now, measures: MEASURES, ...spec });
  const year = { range: [iso(START_MS), now] };
  const built = await timed(() => ask(year));
  report.add({ metric: `${label}: tiles of a year made`, unit: 'ms', value: built.ms });
  report.add({
    metric: `${label}: tiles of a year, one group`,
    unit: 'MB',
    value: tileBytes(db) / 2 ** 20,
    bar: { valueMax: TILE_MB },
  });
  const result = {};

  /** One question after another; `sqlOf` is the same question to DuckDB. */
  const time = async (metric, bar, specOf, sqlOf) => {
    for (let round = 0; round < WARM_UP; round += 1) await ask(specOf(random));
    const took = [];
    const inside = [];
    for (let round = 0; round < rounds; round += 1) {
      const spec = specOf(random);
      const { ms, value } = await timed(() => ask(spec));
      if (value.meta.source !== 'windows')
        throw new Error(`${metric} came from ${value.meta.source}`);
      took.push(ms * 1000);
      inside.push(value.meta.elapsedMs * 1000);
    }
    result[metric] = median(took);
    report.add({
      metric: `${label}: ${metric}, inside, p50`,
      unit: 'µs',
      value: median(inside),
    });
    report.add({
      metric: `${label}: ${metric}, p50`,
      unit: 'µs',
      value: median(took),
      ...(duckdb === undefined
        ? {}
        : {
            peer: 'DuckDB',
            peerValue: (await peerMs(duckdb, () => sqlOf(random))) * 1000,
          }),
    });
    const blocks = [];
    for (let at = 0; at + BLOCK <= took.length; at += BLOCK)
      blocks.push(percentile(took.slice(at, at + BLOCK), 0.99));
    report.add({
      metric: `${label}: ${metric}, p99`,
      unit: 'µs',
      value: median(blocks),
      bar: { valueMax: bar },
    });
    const scans = [];
    for (let round = 0; round < 3; round += 1)
      scans.push((await timed(() => withoutTiles(db, () => ask(specOf(random))))).ms);
    report.add({ metric: `${label}: ${metric}, without tiles`, unit: 'ms', value: median(scans) });
  };

  const day = (draw) => START_MS + Math.floor(draw() * 330) * DAY_MS;
  await time(
    'aligned day',
    20,
    (draw) => spanOf(day(draw), DAY_MS),
    (draw) => totalSql(day(draw), DAY_MS),
  );
  const rolling = (draw) => START_MS + Math.floor((30 + draw() * 320) * DAY_MS);
  await time(
    'rolling 7 days, ms edges',
    60,
    (draw) => spanOf(rolling(draw) - 7 * DAY_MS, 7 * DAY_MS),
    (draw) => totalSql(rolling(draw) - 7 * DAY_MS, 7 * DAY_MS),
  );
  report.add({
    metric: `${label}: tiles of a year, days cut where windows end`,
    unit: 'MB',
    value: tileBytes(db) / 2 ** 20,
    bar: { valueMax: TILE_MB + (size * PIECE_BYTES_A_ROW) / 2 ** 20 },
  });
  await time(
    '30 days by day, Kathmandu',
    100,
    (draw) => ({ zone: 'Asia/Kathmandu', ...seriesOf(day(draw)) }),
    (draw) => seriesSql(day(draw)),
  );
  const bytes = tileBytes(db);
  for (const zone of ['America/St_Johns', 'Australia/Lord_Howe', 'Asia/Kolkata'])
    await ask({ zone, ...seriesOf(START_MS + 40 * DAY_MS) });
  report.add({
    metric: `${label}: tiles for three more zones`,
    unit: 'bytes',
    value: tileBytes(db) - bytes,
    bar: { valueMax: 0 },
  });

  const dashboards = [];
  for (let round = 0; round < 100; round += 1) {
    const { ms } = await timed(async () => {
      for (let panel = 0; panel < 64; panel += 1) await ask(seriesOf(day(random)));
    });
    dashboards.push(ms);
  }
  const atOnce = [];
  for (let round = 0; round < 100; round += 1) {
    const { ms } = await timed(() =>
      Promise.all(Array.from({ length: 64 }, () => ask(seriesOf(day(random))))),
    );
    atOnce.push(ms);
  }
  result['dashboard'] = median(dashboards);
  report.add({
    metric: `${label}: dashboard of 64 panels of 30 days, p50`,
    unit: 'ms',
    value: median(dashboards),
    bar: { valueMax: 5 },
    ...(duckdb === undefined
      ? {}
      : {
          peer: 'DuckDB',
          peerValue: (await peerMs(duckdb, () => seriesSql(day(random)))) * 64,
        }),
  });
  report.add({
    metric: `${label}: dashboard of 64 panels asked at once, p50`,
    unit: 'ms',
    value: median(atOnce),
    bar: { valueMax: 5 },
  });

  const measured = async (what, measures) => {
    const before = tileBytes(db);
    await ask({ ...year, measures });
    report.add({
      metric: `${label}: tiles of a year with ${what}`,
      unit: 'MB',
      value: (tileBytes(db) - before) / 2 ** 20,
    });
  };
  await measured('percentiles', P99);
  await time(
    'p99 of a year by its sketch',
    100,
    () => ({ ...year, measures: P99 }),
    () => `SELECT approx_quantile(amount, 0.99) AS p ${fromSql(START_MS, 365 * DAY_MS)}`,
  );

  await lateRows(report, db, { label, ask, random });

  await measured('a deviation', { d: 'stddev(amount)' });
  await time(
    'deviation of a year',
    100,
    () => ({ ...year, measures: { d: 'stddev(amount)' } }),
    () => `SELECT stddev(amount) AS d ${fromSql(START_MS, 365 * DAY_MS)}`,
  );
  await measured('distinct regions', { d: 'count(DISTINCT region)' });
  await time(
    'distinct regions of a year',
    100,
    () => ({ ...year, measures: { d: 'count(DISTINCT region)' } }),
    () => `SELECT count(DISTINCT region) AS d ${fromSql(START_MS, 365 * DAY_MS)}`,
  );
  duckdb?.close();
  await db.close();
  return result;
}

/** What tiles add to a commit of one late row: beside a table of its own that nobody asks. */
async function lateRows(report, db, { label, ask, random }) {
  await filled(db, 'plain', 100_000);
  const commit = async (table) => {
    const row = {
      ts: new Date(START_MS + random() * 364 * DAY_MS),
      region: 'region 1',
      amount: random() * 1000,
    };
    return (await timed(() => db.insert(table, [row]))).ms * 1000;
  };
  const extra = async () => {
    const took = { orders: [], plain: [] };
    for (let round = -WARM_UP_COMMITS; round < 6000; round += 1)
      for (const table of ['orders', 'plain']) {
        const us = await commit(table);
        if (round >= 0) took[table].push(us);
      }
    return median(took.orders) - median(took.plain);
  };
  // Both questions have tiles: that of four aggregates, and that of percentiles.
  const both = await extra();
  const before = (await ask({ range: [iso(START_MS), iso(END_MS)] })).rows[0].values.n;
  await commit('orders');
  const { rows: after, meta } = await ask({ range: [iso(START_MS), iso(END_MS)] });
  if (after[0].values.n !== before + 1 || meta.rowsScanned !== 0)
    throw new Error('a late row is in every window from its own commit on');
  report.add({
    metric: `${label}: a late row, for its tiles, a question`,
    unit: 'µs',
    value: both / 2,
    bar: { valueMax: 2 },
  });
}

function spanOf(from, length) {
  return { range: [iso(from), iso(from + length)] };
}

function seriesOf(from) {
  return { ...spanOf(from, 30 * DAY_MS), every: 'day' };
}

/** The same question to the same engine, which has no tiles for it. */
async function withoutTiles(db, ask) {
  const { tiles } = db.engine;
  tiles.openTiles = () => undefined;
  try {
    const answer = await ask();
    if (answer.meta.tiles !== 0) throw new Error('it came from tiles');
    return answer;
  } finally {
    delete tiles.openTiles;
  }
}

function fromSql(from, length) {
  const at = (ms) => `TIMESTAMP '${iso(ms).slice(0, -1)}'`;
  return `FROM orders WHERE ts >= ${at(from)} AND ts < ${at(from + length)}`;
}

const TOTALS = 'count(*) AS n, sum(amount) AS s, min(amount) AS least, max(amount) AS most';

function totalSql(from, length) {
  return `SELECT ${TOTALS} ${fromSql(from, length)}`;
}

function seriesSql(from) {
  const day = "date_trunc('day', ts + INTERVAL '5 hours 45 minutes')";
  return `SELECT ${day} AS day, ${TOTALS} ${fromSql(from, 30 * DAY_MS)} GROUP BY 1 ORDER BY 1`;
}

async function loadDuckdb(size) {
  const duckdb = await (await import('./lib/duckdb.mjs')).openDuckdb();
  await duckdb.run(
    'CREATE TABLE orders (ts TIMESTAMP NOT NULL, region VARCHAR NOT NULL, amount DOUBLE NOT NULL)',
  );
  await duckdb.run(
    `INSERT INTO orders SELECT TIMESTAMP '2025-01-01' + to_milliseconds(CAST(i * ${(365 * DAY_MS) / size} AS BIGINT)), 'region ' || (i % 50), random() * 1000 FROM range(${size}) t(i)`,
  );
  return duckdb;
}

async function peerMs(duckdb, sqlOf) {
  const all = [];
  for (let round = 0; round < 5; round += 1)
    all.push((await timed(() => duckdb.query(sqlOf()))).ms);
  return median(all);
}

function tileBytes(db) {
  return db.metrics.snapshot().tileBytes ?? 0;
}

function iso(ms) {
  return new Date(ms).toISOString();
}

function count(size) {
  return `${size / 1_000_000} M`;
}
