#!/usr/bin/env node
/**
 * Runs the engine in simulated worlds, one a seed, with every oracle looking on (test/sim/engine-world.ts).
 *
 *   npm run sim -- --seeds 10000                        three simulated minutes each, from --from (default 0)
 *   npm run sim -- --short --seeds 100000 --state FILE  half a minute each; FILE keeps what is done, and is gone on from
 *   npm run sim -- --replay ADB1:…                      what a failure printed
 *
 * Options: --seeds N  --from N  --budget SECONDS  --short  --jobs N (threads; 1)
 *          --once (each seed once; else twice, and the traces must agree)
 *          --all (go on after a failure; so where there is a --state)
 *          --shrink SECONDS (what a failure's plan may take; 20)  --stuck SECONDS (beyond which a seed has hung; 300)
 *          --every SECONDS (between two lines of progress; 10)
 *          --dir DIR (a build other than dist/sim)  --json (at the end, in place of all else)
 *
 * A failure is told at once. SIGTERM and SIGINT end the run after the seeds that are under way; its state is kept, also every few
 * seconds, so that not even SIGKILL loses more. Exit code 1 where a seed failed.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';

/** Worlds are short-lived garbage: with a small nursery a quarter of the time goes into collecting it. */
const YOUNG_GENERATION_MB = 192;
const STATE_SECONDS = 5;
/** What seeds under way may still take once somebody wants the run to end. */
const GRACE_SECONDS = 10;

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values: args } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '0' },
    short: { type: 'boolean', default: false },
    jobs: { type: 'string', default: '1' },
    state: { type: 'string' },
    budget: { type: 'string', default: 'Infinity' },
    all: { type: 'boolean', default: false },
    once: { type: 'boolean', default: false },
    shrink: { type: 'string', default: '20' },
    stuck: { type: 'string', default: '300' },
    every: { type: 'string', default: '10' },
    replay: { type: 'string' },
    dir: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const number = (name, least) => {
  const value = Number(args[name]);
  if (value >= least && (Number.isInteger(value) || name === 'budget')) return value;
  console.error(`--${name} ${args[name]}: give a number from ${least} on`);
  process.exit(2);
};
const from = number('from', 0);
const endSeed = from + number('seeds', 1);
const jobs = number('jobs', 1);
const budget = number('budget', 0);
const [shrink, stuck, every] = [number('shrink', 0), number('stuck', 1), number('every', 1)];

if (args.dir === undefined) {
  const built = spawnSync(
    process.execPath,
    [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.sim.json'],
    { cwd: root, stdio: ['ignore', 2, 2] },
  );
  if (built.status !== 0) process.exit(1);
}
const dir = args.dir === undefined ? join(root, 'dist', 'sim') : resolve(args.dir);

if (args.replay !== undefined) {
  const load = (path) => import(pathToFileURL(join(dir, path)).href);
  const { decodeToken } = await load('src/sim/plan.js');
  const { engineSimulation, shortSimulation } = await load('test/sim/engine-world.js');
  const token = args.replay.replace(/^ANALYTICDB_REPLAY=|\s.*$/g, '');
  let seed;
  try {
    ({ seed } = decodeToken(token).plan);
  } catch ({ message, hint }) {
    console.error(`--replay ${args.replay.slice(0, 80)}: ${message}. ${hint}`);
    process.exit(2);
  }
  const report = await (args.short ? shortSimulation : engineSimulation)(seed).replay(token);
  for (const { invariant, at, message } of report.failures)
    console.log(`${invariant} at ${at}\n  ${message}`);
  if (report.failures.length === 0) console.log('nothing failed');
  console.log(`trace ${report.traceHash}`);
  process.exit(report.failures.length === 0 ? 0 : 1);
}

/** `next`: all seeds before it are done; `ahead`: those beyond it that are done, too. */
const before =
  args.state !== undefined && existsSync(args.state)
    ? JSON.parse(readFileSync(args.state, 'utf8'))
    : { next: from, ahead: [], seeds: 0, failures: [], seconds: 0, simulatedMs: 0 };
const startMs = performance.now();
const seconds = () => (performance.now() - startMs) / 1000;
const say = (line) => {
  if (!args.json) console.log(line);
};
const seen = new Map();
const hashes = [];
const failures = [];
const ahead = new Set(before.ahead ?? []);
let doneUpTo = before.next;
let nextSeed = before.next;
let ran = 0;
let operations = 0;
let simulatedMs = 0;
let stopped = false;

const replayLine = (token) =>
  `node scripts/sim.mjs ${args.short ? '--short ' : ''}--replay ${token}`;
const seedLine = (seed) =>
  `node scripts/sim.mjs ${args.short ? '--short ' : ''}--from ${seed} --seeds 1`;

function takeSeed() {
  if (stopped || seconds() >= budget) return undefined;
  while (ahead.has(nextSeed)) nextSeed += 1;
  if (nextSeed >= endSeed) return undefined;
  nextSeed += 1;
  return nextSeed - 1;
}

function seedDone(seed) {
  ran += 1;
  ahead.add(seed);
  while (ahead.delete(doneUpTo)) doneUpTo += 1;
}

function failed(failure) {
  failures.push(failure);
  if (args.state === undefined && !args.all) stopped = true;
}

/** A thread that runs seeds, one after the other, until there is none left. Resolves when it has ended. */
function job() {
  return new Promise((ended) => {
    let seed;
    let timer;
    let told;
    const worker = new Worker(new URL('sim-worker.mjs', import.meta.url), {
      workerData: { dir, short: args.short, twice: !args.once, shrinkMs: shrink * 1000 },
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    });
    const finish = () => {
      clearInterval(timer);
      workers.delete(worker);
      ended();
    };
    /** The seed ended its thread, or never ends: that is a failure, and another thread goes on. */
    const lost = (invariant, message) => {
      clearInterval(timer);
      worker.removeAllListeners();
      worker.on('error', () => undefined);
      void worker.terminate();
      workers.delete(worker);
      if (seed === undefined || (stopped && told === undefined && invariant === 'terminated'))
        return ended();
      say(`seed ${seed}: ${invariant}: ${message.slice(0, 600)}\n  again: ${seedLine(seed)}`);
      failed(told ?? { seed, invariant, message, foundSeconds: seconds(), replay: seedLine(seed) });
      seedDone(seed);
      void job().then(ended);
    };
    const next = () => {
      clearInterval(timer);
      seed = takeSeed();
      told = undefined;
      if (seed === undefined) return void worker.terminate().then(finish);
      // Ticks, not time: a process that was halted meanwhile has not hung.
      let ticks = 0;
      timer = setInterval(() => {
        ticks += 1;
        if (ticks > stuck + shrink * 2) lost('an end', `the seed was not over after ${stuck} s`);
      }, 1_000);
      worker.postMessage(seed);
    };
    worker.on('message', ({ kind, ...message }) => {
      switch (kind) {
        case 'ready':
          next();
          break;
        case 'failed':
          told = { ...message, foundSeconds: seconds(), replay: seedLine(seed) };
          say(
            `seed ${seed}: ${message.invariant} at ${message.at}: ${message.message.slice(0, 600)}\n  again: ${told.replay}`,
          );
          break;
        case 'done': {
          operations += message.operations;
          simulatedMs += message.simulatedMs;
          if (args.json) hashes.push(`${seed} ${message.traceHash}`);
          for (const what of message.seen) seen.set(what, (seen.get(what) ?? 0) + 1);
          const { smallest } = message;
          if (told !== undefined) {
            const { token, ...small } = smallest ?? {};
            const failure = { ...told, ...small, ...(token && { replay: replayLine(token) }) };
            if (smallest !== undefined)
              say(
                `seed ${seed}, made small: ${small.operations} operations, ${small.faults} faults: ${failure.replay}`,
              );
            failed(failure);
          }
          seedDone(seed);
          next();
          break;
        }
      }
    });
    worker.on('error', (cause) => lost('the simulator itself', cause.stack ?? String(cause)));
    worker.on('exit', (code) => lost('terminated', `the thread ended with code ${code}`));
    workers.add(worker);
  });
}
const workers = new Set();

const totals = () => ({
  next: doneUpTo,
  ahead: [...ahead],
  seeds: before.seeds + ran,
  failures: [...before.failures, ...failures],
  seconds: before.seconds + seconds(),
  simulatedMs: before.simulatedMs + simulatedMs,
});
function keepState() {
  if (args.state === undefined) return;
  writeFileSync(`${args.state}.new`, JSON.stringify(totals(), undefined, 1));
  renameSync(`${args.state}.new`, args.state);
}
const stateTimer = setInterval(keepState, STATE_SECONDS * 1000);
let toldAt = 0;
let toldRan = 0;
const progressTimer = setInterval(() => {
  const now = seconds();
  const { seeds, failures: all } = totals();
  say(
    `${Math.round(now)} s: ${seeds} seeds, ${all.length} failed, ${((ran - toldRan) / (now - toldAt)).toFixed(1)} seeds/s, next ${doneUpTo}`,
  );
  [toldAt, toldRan] = [now, ran];
}, every * 1000);

for (const signal of ['SIGTERM', 'SIGINT'])
  process.on(signal, () => {
    if (stopped) return;
    say(`${signal}: ends after the seeds that are under way`);
    stopped = true;
    setTimeout(() => {
      for (const worker of workers) void worker.terminate();
    }, GRACE_SECONDS * 1000).unref();
  });

await Promise.all(Array.from({ length: jobs }, job));
clearInterval(stateTimer);
clearInterval(progressTimer);
keepState();
if (args.json) {
  hashes.sort((a, b) => Number.parseInt(a) - Number.parseInt(b));
  console.log(JSON.stringify({ seeds: ran, failures, seconds: seconds(), hashes }));
} else {
  console.log(
    `${ran} seeds, ${failures.length} failed, ${(ran / seconds()).toFixed(1)} seeds/s, ${Math.round(simulatedMs / seconds() / 1000)} simulated seconds a second, ${operations} operations done`,
  );
  console.log(
    `seen: ${[...seen]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([what, times]) => `${what} in ${times}`)
      .join(', ')}`,
  );
  if (args.state !== undefined) {
    const { seeds, failures: all, seconds: spent } = totals();
    console.log(`in all ${seeds} seeds, ${all.length} failed, ${Math.round(spent)} s`);
  }
}
process.exit(failures.length === 0 ? 0 : 1);
