#!/usr/bin/env node
/**
 * Runs the engine in simulated worlds, one a seed, and asks every invariant (test/sim/run-seed.ts).
 *
 *   npm run sim -- --seeds 10000            many seeds, from --from (default 0)
 *   npm run sim -- --seed 123 --trace       one seed, with the end of its trace
 *
 * Options: --seeds N  --from N  --seed N  --schedule fifo|random|pct  --twice (every seed again, the traces compared)
 *          --trace  --dir DIR (a build of the engine other than dist/sim)  --stop-on-first  --json
 * Exit code 1 where a seed fails. Each failure prints the line that replays it.
 */
import { spawnSync } from 'node:child_process';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values: args } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '0' },
    seed: { type: 'string' },
    schedule: { type: 'string' },
    twice: { type: 'boolean', default: false },
    trace: { type: 'boolean', default: false },
    dir: { type: 'string' },
    'stop-on-first': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});

if (args.dir === undefined) {
  const built = spawnSync(
    process.execPath,
    [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.sim.json'],
    { cwd: root, stdio: ['ignore', 2, 2] },
  );
  if (built.status !== 0) process.exit(1);
}
const dir = args.dir === undefined ? join(root, 'dist', 'sim') : resolve(args.dir);
const { runSeed, loadSimulation } = await import(
  pathToFileURL(join(dir, 'test', 'sim', 'run-seed.js')).href
);
await loadSimulation();

const from = Number(args.seed ?? args.from);
const count = args.seed === undefined ? Number(args.seeds) : 1;
const options = { schedule: args.schedule, traceLines: args.trace ? 200 : 0 };
const startMs = performance.now();
const seen = new Map();
let events = 0;
let acknowledged = 0;
let failures = 0;
let firstFailure;
const hashes = [];
// Ended from outside it says how far it has come.
let stopped = false;
process.once('SIGTERM', () => (stopped = true));
process.once('SIGINT', () => (stopped = true));
let ran = 0;
for (let seed = from; seed < from + count && !stopped; seed += 1) {
  ran += 1;
  const report = await runSeed(seed, options);
  let { failure } = report;
  events += report.events;
  acknowledged += report.acknowledged;
  if (args.json || count === 1) hashes.push(`${seed} ${report.traceHash}`);
  for (const what of report.seen) seen.set(what, (seen.get(what) ?? 0) + 1);
  if (args.twice && failure === undefined) {
    const again = await runSeed(seed, options);
    if (again.traceHash !== report.traceHash)
      failure = {
        message: `the same seed gave another trace: ${report.traceHash}, then ${again.traceHash}`,
        replay: `node scripts/sim.mjs --seed ${seed} --twice`,
      };
  }
  if (failure !== undefined) {
    failures += 1;
    firstFailure ??= { seed, ...failure };
    if (args.trace) console.log(report.newest.join('\n'));
    if (!args.json) console.log(`seed ${seed}: ${failure.message}\n  again: ${failure.replay}`);
    if (args['stop-on-first']) break;
  }
}
const seconds = (performance.now() - startMs) / 1000;
if (args.json) {
  console.log(JSON.stringify({ seeds: ran, failures, firstFailure, seconds, events, hashes }));
} else {
  console.log(
    `${ran} seeds from ${from}, ${failures} failed, ${(ran / seconds).toFixed(1)} seeds/s, ${Math.round(events / seconds)} events/s, ${acknowledged} operations acknowledged`,
  );
  console.log(
    `seen: ${[...seen]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([what, times]) => `${what} in ${times}`)
      .join(', ')}`,
  );
  for (const line of count === 1 ? hashes : []) console.log(`trace ${line}`);
}
process.exit(failures === 0 ? 0 : 1);
