#!/usr/bin/env node
/**
 * Whether the intervals of progressive answers hold at every look: black box, through the public API, with fresh seeds.
 *
 *   npm run coverage -- [--runs 2000] [--tables 20] [--rows 1000000] [--only uniform,pareto1.1] [--upto 0.6] [--json FILE] [--seed 1]
 *
 * `--help` tells the rest.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { open } from '../dist/src/index.js';

const HELP = `npm run coverage -- [--runs 2000] [--tables 20] [--rows 1000000] [--only uniform,pareto1.1] [--upto 0.6] [--json FILE] [--seed 1]

A run is one query over one table, watched until \`upto\` of the rows; it misses if the truth is outside of the interval at any look with less than
all rows. So adversarial clients are included, whatever they see and remember: one that stops when the interval excludes a wrong value, when it is
narrow, when the estimate crosses a threshold, or at the worst look of all, ends with the interval of one of these looks, and misses in no run that is
not counted here (\`--upto 1\`: however long it waits). With 2,000 runs at most 138 may miss: P(Binomial(2000, 0.05) >= 139) = 1e-4. Also told: half the width beside the one that the
central limit theorem gives at one fixed look (with the population's own deviation), and the bias in standard errors (|z| < 4).`;

const { values: given } = parseArgs({
  options: {
    runs: { type: 'string', default: '2000' },
    tables: { type: 'string', default: '20' },
    rows: { type: 'string', default: '1000000' },
    only: { type: 'string' },
    upto: { type: 'string', default: '0.6' },
    json: { type: 'string' },
    seed: { type: 'string', default: '1' },
    help: { type: 'boolean', default: false },
  },
});
if (given.help) {
  console.log(HELP);
  process.exit(0);
}
const RUNS = Number(given.runs);
const TABLES = Math.min(Number(given.tables), RUNS);
const ROWS = Number(given.rows);
const UPTO = Number(given.upto);
/** Rounds of larger tables grow fourfold (src/columns/sample-rounds.ts): they have fewer looks before the exact end. */
const LOOKS_MIN = ROWS > 2 ** 23 ? 3 : 5;
const SEED = Number(given.seed);
const SEGMENT = 65_536;

/** sfc32. */
function chance(seed) {
  let a = seed | 0;
  let b = Math.imul(seed, 0x9e3779b9) | 0;
  let c = (seed ^ 0x85ebca6b) | 0;
  let d = 1;
  const next = () => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + t) | 0;
    return (t >>> 0) / 4294967296;
  };
  for (let round = 0; round < 20; round += 1) next();
  return next;
}
const normal = (random) =>
  Math.sqrt(-2 * Math.log(random() + 1e-12)) * Math.cos(2 * Math.PI * random());

/** x of row `row` of a table; `random` is the table's own. */
const POPULATIONS = {
  uniform: (random) => random(),
  lognormal1: (random) => Math.exp(normal(random)),
  lognormal2: (random) => Math.exp(2 * normal(random)),
  'pareto1.1': (random) => (random() + 1e-12) ** (-1 / 1.1),
  'pareto1.5': (random) => (random() + 1e-12) ** (-1 / 1.5),
  'rare0.1%': (random) => (random() < 0.001 ? 1 : 0),
  'rare0.01%': (random) => (random() < 0.0001 ? 1 : 0),
  constant: () => 5,
  zeroInflated: (random) => (random() < 0.01 ? Math.exp(normal(random)) : 0),
  trend: (random, row) => row / ROWS + 0.25 * normal(random),
  season: (random, row) => Math.sin((2 * Math.PI * row) / SEGMENT) + 0.25 * normal(random),
  bursts: (random, row) => (Math.floor(row / 5000) % 40 === 0 ? 50 : 1) * random(),
  zipfGroups: (random) => Math.exp(0.7 * normal(random)),
};
const GROUPS = 40;

const QUERY = `SELECT count(*) FILTER (WHERE f) AS count, sum(x) AS sum, avg(x) AS avg, sum(x) / sum(y) AS ratio,
  avg(x) FILTER (WHERE f) AS filtered, percentile_cont(0.5) WITHIN GROUP (ORDER BY x) AS median FROM t`;
const GROUPED = 'SELECT g, avg(x) AS a FROM t GROUP BY g';
const CELLS = ['count', 'sum', 'avg', 'ratio', 'filtered', 'median', 'groupAvg'];

async function tableOf(name, seed) {
  const random = chance(seed);
  const db = await open({
    memory: '3 GB',
    workers: 0,
    history: '1 second',
    journal: { kind: 'memory', keep: '1 MB' },
  });
  await db.exec(
    'CREATE TABLE t (x double precision, y double precision NOT NULL, f boolean, g integer)',
  );
  const draw = POPULATIONS[name];
  const all = new Float64Array(ROWS);
  for (let start = 0; start < ROWS; start += 100_000) {
    const count = Math.min(100_000, ROWS - start);
    const x = new Float64Array(count);
    const y = new Float64Array(count);
    const f = [];
    const g = new Int32Array(count);
    for (let row = 0; row < count; row += 1) {
      const value = draw(random, start + row);
      x[row] = value;
      all[start + row] = value;
      y[row] = 1 + random();
      // Of what is rare, how often it is; else one row in fifty.
      f.push(name.startsWith('rare') ? value === 1 : random() < 0.02);
      g[row] = Math.floor(GROUPS * random() ** 3);
    }
    await db.insert('t', { x, y, f, g });
  }
  return { db, all };
}

const wanted = given.only?.split(',') ?? Object.keys(POPULATIONS);
const perTable = Math.max(1, Math.floor(RUNS / TABLES));
const allowed = allowedMisses(TABLES * perTable);
const results = [];
console.log(
  `${TABLES * perTable} runs a cell (${TABLES} tables × ${perTable} queries), ${ROWS} rows, watched up to ${UPTO}; at most ${allowed} may miss`,
);
console.log(
  `${'population'.padEnd(14)}${CELLS.map((cell) => cell.padStart(10)).join('')}   looks   width of sum, avg ÷ CLT at 5–15 % (median)   bias z of sum, avg`,
);
let failed = 0;
for (const name of wanted) {
  const missed = Object.fromEntries(CELLS.map((cell) => [cell, 0]));
  let runs = 0;
  let looksFewest = Infinity;
  const widths = { sum: [], avg: [] };
  const errors = { sum: [], avg: [] };
  for (let table = 0; table < TABLES; table += 1) {
    const { db, all } = await tableOf(name, SEED * 1000 + table + 1);
    const mean = all.reduce((a, b) => a + b, 0) / ROWS;
    const deviation = Math.sqrt(all.reduce((a, b) => a + (b - mean) ** 2, 0) / ROWS);
    const truth = (await db.query(QUERY)).rows[0];
    const groups = new Map((await db.query(GROUPED)).rows.map(({ g, a }) => [g, a]));
    for (let run = 0; run < perTable; run += 1) {
      runs += 1;
      const seed = SEED * 1_000_003 + table * 10_007 + run * 17;
      const missedHere = new Set();
      let looks = 0;
      let probed = false;
      for await (const event of db.progressive(QUERY, { seed })) {
        if (event.fraction >= 1) break;
        if (event.rows.length === 0) continue;
        looks += 1;
        const row = event.rows[0];
        for (const cell of CELLS) {
          if (cell === 'groupAvg') continue;
          if (isOutside(row[cell], truth[cell])) missedHere.add(cell);
        }
        if (!probed && event.fraction >= 0.05 && event.fraction <= 0.15) {
          probed = true;
          // Rows of the last, open segment are read whole and are no sample.
          const N = ROWS - (ROWS % SEGMENT);
          const n = event.rowsSeen - (ROWS % SEGMENT);
          const clt = ((1.96 * N) / ROWS) * deviation * Math.sqrt((1 - n / N) / n);
          for (const [cell, scale] of [
            ['sum', ROWS],
            ['avg', 1],
          ]) {
            const value = row[cell];
            if (value.upper !== null && clt > 0)
              widths[cell].push((value.upper - value.lower) / 2 / (clt * scale));
            errors[cell].push(value.estimate - truth[cell]);
          }
        }
        if (event.fraction >= UPTO) break;
      }
      looksFewest = Math.min(looksFewest, looks);
      for await (const event of db.progressive(GROUPED, { seed: seed + 5, simultaneous: true })) {
        if (event.fraction >= 1) break;
        for (const { g, a } of event.rows)
          if (isOutside(a, groups.get(g))) missedHere.add('groupAvg');
        if (event.fraction >= UPTO) break;
      }
      for (const cell of missedHere) missed[cell] += 1;
    }
    await db.close();
  }
  const isFailed = CELLS.some((cell) => missed[cell] > allowed) || looksFewest < LOOKS_MIN;
  if (isFailed) failed += 1;
  const result = {
    population: name,
    runs,
    missed,
    looksFewest,
    widthOfSum: median(widths.sum),
    widthOfAvg: median(widths.avg),
    biasOfSum: zOf(errors.sum),
    biasOfAvg: zOf(errors.avg),
  };
  results.push(result);
  console.log(
    `${name.padEnd(14)}${CELLS.map((cell) => String(missed[cell]).padStart(10)).join('')}   ${String(looksFewest).padStart(5)}   ${shown(result.widthOfSum)} ${shown(result.widthOfAvg)}   ${shown(result.biasOfSum)} ${shown(result.biasOfAvg)}${isFailed ? '   FAILED' : ''}`,
  );
}
if (given.json !== undefined) writeFileSync(given.json, JSON.stringify(results, null, 2));
console.log(failed === 0 ? 'all populations hold' : `${failed} populations FAILED`);
process.exitCode = failed === 0 ? 0 : 1;

function isOutside(value, truth) {
  if (value === undefined) return false;
  const number = Number(truth);
  const slack = Math.abs(number) * 1e-9;
  return (
    (value.lower !== null && number < value.lower - slack) ||
    (value.upper !== null && number > value.upper + slack)
  );
}

function median(values) {
  if (values.length === 0) return undefined;
  return values.sort((a, b) => a - b)[values.length >> 1];
}

/** Mean error in its own standard errors. */
function zOf(errors) {
  const n = errors.length;
  const mean = errors.reduce((a, b) => a + b, 0) / n;
  const deviation = Math.sqrt(errors.reduce((a, b) => a + (b - mean) ** 2, 0) / Math.max(1, n - 1));
  return deviation === 0 ? 0 : mean / (deviation / Math.sqrt(n));
}

function shown(value) {
  return (value === undefined ? '-' : value.toFixed(2)).padStart(8);
}

/** The most misses that a sound 5 % passes with a chance of 1e-4. */
function allowedMisses(n) {
  let term = 0.95 ** n;
  if (term === 0) {
    const sd = Math.sqrt(n * 0.05 * 0.95);
    return Math.floor(n * 0.05 + 3.9 * sd);
  }
  let total = term;
  for (let k = 0; k < n; k += 1) {
    if (1 - total <= 1e-4) return k;
    term *= ((n - k) / (k + 1)) * (0.05 / 0.95);
    total += term;
  }
  return n;
}
