#!/usr/bin/env node
/**
 * Runs the engine in simulated worlds, one a seed, with every oracle looking on (test/sim/engine-world.ts).
 *
 *   npm run sim -- --seeds 10000                many seeds, from --from (default 0)
 *   npm run sim -- --seeds 100000 --state FILE  the same, resumed where FILE says the last call had come
 *   npm run sim -- --replay ADB1:…              what a failure printed
 *
 * Options: --seeds N  --from N  --budget SECONDS  --once (each seed once; else twice, and the traces must agree)
 *          --shrink SECONDS (what a failure's plan may take; 20)  --dir DIR (a build other than dist/sim)  --json
 * Exit code 1 where a seed fails. Each failure prints its smallest plan and the line that replays it.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values: args } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '0' },
    state: { type: 'string' },
    budget: { type: 'string', default: 'Infinity' },
    all: { type: 'boolean', default: false },
    once: { type: 'boolean', default: false },
    shrink: { type: 'string', default: '20' },
    replay: { type: 'string' },
    dir: { type: 'string' },
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
const { engineSimulation } = await import(
  pathToFileURL(join(dir, 'test', 'sim', 'engine-world.js')).href
);

if (args.replay !== undefined) {
  const report = await engineSimulation(0).replay(
    args.replay.replace(/^ANALYTICDB_REPLAY=|\s.*$/g, ''),
  );
  for (const { invariant, at, message } of report.failures)
    console.log(`${invariant} at ${at}\n  ${message}`);
  if (report.failures.length === 0) console.log('nothing failed');
  console.log(`trace ${report.traceHash}`);
  process.exit(report.failures.length === 0 ? 0 : 1);
}

const before =
  args.state !== undefined && existsSync(args.state)
    ? JSON.parse(readFileSync(args.state, 'utf8'))
    : { next: Number(args.from), seeds: 0, failures: [], seconds: 0, simulatedMs: 0 };
const endSeed = Number(args.from) + Number(args.seeds);
// Ended from outside it says how far it has come.
let stopped = false;
process.once('SIGTERM', () => (stopped = true));
process.once('SIGINT', () => (stopped = true));
const startMs = performance.now();
const seconds = () => (performance.now() - startMs) / 1000;
const seen = new Map();
const hashes = [];
let { next } = before;
let ran = 0;
let done = 0;
let simulatedMs = 0;
const failures = [];
for (; next < endSeed && !stopped && seconds() < Number(args.budget); next += 1) {
  const simulation = engineSimulation(next);
  let report = await simulation.explore({ seeds: 1, twice: !args.once, shrinkMs: 0 });
  const foundSeconds = seconds();
  if (report.failures.length > 0 && Number(args.shrink) > 0)
    report = await simulation.explore({
      seeds: 1,
      twice: !args.once,
      shrinkMs: Number(args.shrink) * 1000,
    });
  ran += 1;
  done += report.operations.done;
  simulatedMs += report.simulatedMs;
  if (args.json) hashes.push(`${next} ${report.traceHash}`);
  for (const what of [...report.seen, ...Object.keys(report.operations.refused)])
    seen.set(what, (seen.get(what) ?? 0) + 1);
  for (const { invariant, seed, at, message, replay, plan } of report.failures) {
    const told = {
      seed,
      invariant,
      at,
      message,
      operations: plan.operations?.length,
      faults: plan.faults?.length,
      foundSeconds,
      replay: `node scripts/sim.mjs --replay ${/ADB1:\S+/.exec(replay)[0]}`,
    };
    failures.push(told);
    if (!args.json)
      console.log(
        `seed ${seed}: ${invariant} at ${at}: ${message.slice(0, 600)}\n  ${told.operations} operations, ${told.faults} faults; again: ${told.replay}`,
      );
  }
  if (failures.length > 0 && args.state === undefined && !args.all) break;
}
const total = {
  next,
  seeds: before.seeds + ran,
  failures: [...before.failures, ...failures],
  seconds: before.seconds + seconds(),
  simulatedMs: before.simulatedMs + simulatedMs,
};
if (args.state !== undefined) writeFileSync(args.state, JSON.stringify(total, undefined, 1));
if (args.json) {
  console.log(JSON.stringify({ seeds: ran, failures, seconds: seconds(), hashes }));
} else {
  console.log(
    `${ran} seeds, ${failures.length} failed, ${(ran / seconds()).toFixed(1)} seeds/s, ${Math.round(simulatedMs / seconds() / 1000)} simulated seconds a second, ${done} operations done`,
  );
  console.log(
    `seen: ${[...seen]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([what, times]) => `${what} in ${times}`)
      .join(', ')}`,
  );
  if (args.state !== undefined)
    console.log(
      `in all ${total.seeds} seeds, ${total.failures.length} failed, ${Math.round(total.seconds)} s`,
    );
}
process.exit(failures.length === 0 ? 0 : 1);
