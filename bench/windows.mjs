/**
 * Issue 4, bar 5: windows over a table with 1 % late rows, through `db.window`: aligned, rolling with millisecond edges, series, a
 * dashboard of 64 panels, percentiles of a year; what late rows and other zones cost, and what tiles take; beside the same
 * question to DuckDB and to our own engine without tiles.
 */
import { open } from '../dist/src/index.js';
import { openDuckdb } from './lib/duckdb.mjs';
import { median, percentile, randomOf, timed } from './lib/measure.mjs';

export const about = 'windows over time from tiles, after 1 % late rows';

const DAY_MS = 86_400_000;
const START_MS = Date.UTC(2025, 0, 1);
const CHUNK = 65_536;
const MEASURES = { n: 'count(*)', s: 'sum(amount)', least: 'min(amount)', most: 'max(amount)' };

export async function run(report, { quick }) {
  const sizes = quick ? [1_000_000] : [1_000_000, 10_000_000];
  let before;
  for (const size of sizes) {
    const measured = await measure(report, size, quick ? 400 : 2000);
    if (before !== undefined)
      for (const [metric, value] of Object.entries(measured))
        report.add({
          metric: `${metric}: growth from ${count(sizes[0])} to ${count(size)} rows`,
          unit: '×',
          value: value / before[metric],
          bar: { valueMax: 2 },
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

async function measure(report, size, rounds) {
  const db = await open({ workers: 0, memory: '16 GB' });
  await db.exec(
    `CREATE TABLE orders (ts timestamptz NOT NULL, region text NOT NULL, amount double precision NOT NULL) WITH (time = 'ts')`,
  );
  for (const chunk of rows(size)) await db.insert('orders', chunk);
  const duckdb = size <= 10_000_000 ? await loadDuckdb(size) : undefined;
  const random = randomOf(11);
  const label = count(size);
  const endMs = START_MS + 365 * DAY_MS;
  const now = new Date(endMs).toISOString();
  const ask = (spec) => db.window('orders', { zone: 'UTC', now, measures: MEASURES, ...spec });
  const first = await timed(() => ask({ range: [iso(START_MS), iso(endMs)] }));
  report.add({ metric: `${label}: tiles of a year made`, unit: 'ms', value: first.ms });
  const result = {};
  const time = async (metric, bar, specOf, peer) => {
    for (let round = 0; round < 50; round += 1) await ask(specOf(random));
    const ms = [];
    for (let round = 0; round < rounds; round += 1) {
      const spec = specOf(random);
      const { ms: took, value } = await timed(() => ask(spec));
      if (value.meta.source !== 'windows')
        throw new Error(`${metric} came from ${value.meta.source}`);
      ms.push(took);
    }
    const p99 = percentile(ms, 0.99) * 1000;
    result[metric] = median(ms) * 1000;
    report.add({ metric: `${label}: ${metric}, p50`, unit: 'µs', value: median(ms) * 1000 });
    report.add({
      metric: `${label}: ${metric}, p99`,
      unit: 'µs',
      value: p99,
      ...(peer === undefined || duckdb === undefined
        ? {}
        : { peer: 'DuckDB', peerValue: (await peerTime(duckdb, peer(random))) * 1000 }),
      bar: { valueMax: bar },
    });
  };
  const day = (draw) => START_MS + Math.floor(draw() * 360) * DAY_MS;
  await time(
    'aligned day',
    20,
    (draw) => {
      const from = day(draw);
      return { range: [iso(from), iso(from + DAY_MS)] };
    },
    (draw) => {
      const from = day(draw);
      return sqlOf(from, from + DAY_MS);
    },
  );
  const rolling = (draw) => START_MS + Math.floor((30 + draw() * 330) * DAY_MS);
  await time(
    'rolling 7 days, ms edges',
    60,
    (draw) => {
      const to = rolling(draw);
      return { range: [iso(to - 7 * DAY_MS), iso(to)] };
    },
    (draw) => {
      const to = rolling(draw);
      return sqlOf(to - 7 * DAY_MS, to);
    },
  );
  await time('30 days by day, Kathmandu', 100, (draw) => ({
    zone: 'Asia/Kathmandu',
    ...seriesOf(day(draw)),
  }));
  const bytes = tileBytes(db);
  for (const zone of ['America/St_Johns', 'Australia/Lord_Howe', 'Asia/Kolkata'])
    await ask({ zone, ...seriesOf(START_MS + 40 * DAY_MS) });
  report.add({
    metric: `${label}: tiles for three more zones`,
    unit: 'bytes',
    value: tileBytes(db) - bytes,
    bar: { valueMax: 0 },
  });
  report.add({
    metric: `${label}: tiles of a year, one group`,
    unit: 'MB',
    value: bytes / 2 ** 20,
  });

  const dashboards = [];
  for (let round = 0; round < 30; round += 1) {
    const { ms } = await timed(async () => {
      for (let panel = 0; panel < 64; panel += 1) await ask(seriesOf(day(random)));
    });
    dashboards.push(ms);
  }
  report.add({
    metric: `${label}: dashboard of 64 panels, median`,
    unit: 'ms',
    value: median(dashboards),
    bar: { valueMax: 5 },
  });

  const p99 = {
    measures: { p: 'approx_percentile(amount, 0.99)' },
    range: [iso(START_MS), iso(endMs)],
  };
  await ask(p99);
  await time('p99 of a year by its sketch', 100, () => p99);

  const { ms: scanned } = await timed(() =>
    db.query(sqlOf(START_MS + 100 * DAY_MS, START_MS + 101 * DAY_MS, "(ts + interval '0')")),
  );
  report.add({ metric: `${label}: a day without tiles`, unit: 'ms', value: scanned });

  const late = async () => {
    const all = [];
    for (let round = 0; round < 5; round += 1) {
      const { ms } = await timed(async () => {
        for (let row = 0; row < 2000; row += 1)
          await db.insert('orders', [
            {
              ts: new Date(START_MS + random() * 364 * DAY_MS),
              region: 'region 1',
              amount: random() * 1000,
            },
          ]);
      });
      all.push(ms / 2);
    }
    return median(all);
  };
  const withTiles = await late();
  await db.exec('ALTER TABLE orders RENAME COLUMN region TO area');
  await db.exec('ALTER TABLE orders RENAME COLUMN area TO region');
  const without = await late();
  report.add({
    metric: `${label}: a late row, by its tiles (two questions)`,
    unit: 'µs',
    value: withTiles - without,
    bar: { valueMax: 2 },
  });
  duckdb?.close();
  await db.close();
  return result;
}

function seriesOf(from) {
  return {
    range: [iso(from), iso(Math.min(from, START_MS + 330 * DAY_MS) + 30 * DAY_MS)],
    every: 'day',
  };
}

function sqlOf(from, to, time = 'ts') {
  return `SELECT count(*) AS n, sum(amount) AS s, min(amount) AS least, max(amount) AS most FROM orders WHERE ${time} >= '${iso(from)}' AND ${time} < '${iso(to)}'`;
}

async function loadDuckdb(size) {
  const duckdb = await openDuckdb();
  await duckdb.run(
    'CREATE TABLE orders (ts TIMESTAMP NOT NULL, region VARCHAR NOT NULL, amount DOUBLE NOT NULL)',
  );
  await duckdb.run(
    `INSERT INTO orders SELECT TIMESTAMP '2025-01-01' + to_milliseconds(CAST(i * ${(365 * DAY_MS) / size} AS BIGINT)), 'region ' || (i % 50), random() * 1000 FROM range(${size}) t(i)`,
  );
  return duckdb;
}

async function peerTime(duckdb, text) {
  const all = [];
  const plain = text.replaceAll(/'(\d{4}[^']*)Z'/g, "TIMESTAMP '$1'");
  for (let round = 0; round < 20; round += 1) all.push((await timed(() => duckdb.query(plain))).ms);
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
