#!/usr/bin/env node
/**
 * Kills a process that writes (kill -9) at random moments, opens what it has left, and compares with what it had been told: every
 * acknowledged write is there, nothing else is but what was on its way, whole or not at all, views are what their queries say,
 * and a write that is sent again under its key is there once.
 *
 *   npm run durability:kill -- --rounds 200 --fsync always      (or interval)
 *
 * Options: --rounds N  --fsync always|interval  --seed N  --dir DIR (kept)  --engine FILE. Exit code 1 where something is missing or too much.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { after, emptyWriter, seeded, textOf } from './lib/kill-load.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const WRITERS = 6;
/** Longest life of a process after it has begun to write, and of one that is killed while it starts. */
const LIFE_MS_MAX = 900;
const START_MS_MAX = 600;

/** Resolves with what was seen; throws with the first thing that is wrong. */
export async function killRounds({ rounds, fsync, seed, dir, engine, say = () => undefined }) {
  const random = seeded(seed);
  const writers = Array.from({ length: WRITERS }, (_, index) => ({
    index,
    /** As acknowledged. */
    state: emptyWriter(),
    number: 0,
    /** Sent, and no answer. */
    open: undefined,
    again: undefined,
  }));
  const seen = { rounds, kills: 0, acknowledged: 0, openApplied: 0, openLost: 0, whileStarting: 0 };
  for (let round = 0; round <= rounds; round += 1) {
    const isLast = round === rounds;
    const early = !isLast && random(8) === 0;
    const lifeMs = early ? 50 + random(START_MS_MAX) : random(LIFE_MS_MAX);
    const child = spawn(
      process.execPath,
      [
        join(here, 'lib', 'kill-child.mjs'),
        JSON.stringify({
          engine,
          dir,
          fsync,
          seed: seed + round * 7919,
        }),
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    let text = '';
    let found;
    let killed = false;
    const kill = () => {
      killed = true;
      child.kill('SIGKILL');
    };
    let timer = early ? setTimeout(kill, lifeMs) : undefined;
    const ended = new Promise((resolve) => child.on('close', resolve));
    let failure;
    child.stdin.on('error', () => undefined);
    const take = (bytes) => {
      text += bytes;
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const line = JSON.parse(text.slice(0, end));
        text = text.slice(end + 1);
        if (line.broken !== undefined) throw new Error(`round ${round}: ${line.broken}`);
        if (line.orders !== undefined) {
          found = line;
          compare(writers, line, round, seen);
          const going = writers.map(({ index, number, state, again }) => ({
            index,
            number,
            again,
            next: state.next,
            rows: [...state.rows],
          }));
          child.stdin.write(`${JSON.stringify(going)}\n`);
          timer ??= setTimeout(kill, isLast ? 0 : lifeMs);
        } else if (line.begin !== undefined) {
          writers[line.writer].open = line.begin;
        } else {
          const writer = writers[line.writer];
          writer.state = after(writer.state, writer.open);
          writer.number = line.done + 1;
          writer.open = undefined;
          writer.again = undefined;
          seen.acknowledged += 1;
        }
      }
    };
    child.stdout.on('data', (bytes) => {
      if (failure !== undefined) return;
      try {
        take(bytes);
      } catch (cause) {
        failure = cause;
        kill();
      }
    });
    await ended;
    clearTimeout(timer);
    if (failure !== undefined) throw failure;
    if (!killed) throw new Error(`round ${round}: the process ended by itself`);
    seen.kills += 1;
    if (found === undefined) seen.whileStarting += 1;
    if (round % 20 === 19) say(`${round + 1} kills, ${seen.acknowledged} acknowledged writes`);
  }
  return seen;
}

/** Of each writer the rows are as acknowledged, or as they are with what was on its way. */
function compare(writers, { orders, sales, large }, round, seen) {
  const byWriter = writers.map(() => []);
  for (const [id, region, amount] of orders) {
    const writer = byWriter[Math.floor(Number(id) / 10_000_000)];
    if (writer === undefined)
      throw new Error(`round ${round}: a row ${id} that nobody has written`);
    writer.push([Number(id), region, Number(amount)]);
  }
  for (const writer of writers) {
    const text = JSON.stringify(byWriter[writer.index]);
    const open = writer.open;
    writer.open = undefined;
    writer.again = undefined;
    if (text === textOf(writer.state)) {
      if (open === undefined) continue;
      seen.openLost += 1;
      writer.number = open.number;
      // With its key it may be sent again whatever became of it.
      if (writer.index === 0 && open.kind === 'insert') writer.again = open;
      continue;
    }
    const with_ = open === undefined ? undefined : after(writer.state, open);
    if (with_ === undefined || text !== textOf(with_))
      throw new Error(
        `round ${round}, writer ${writer.index}: rows are neither as acknowledged nor with what was on its way\nfound ${text}\nacknowledged ${textOf(writer.state)}\non its way ${JSON.stringify(open)}`,
      );
    seen.openApplied += 1;
    if (writer.index === 0 && open.kind === 'insert') {
      writer.again = open;
      writer.number = open.number;
    } else {
      writer.state = with_;
      writer.number = open.number + 1;
    }
  }
  const regions = new Map();
  for (const [, region, amount] of orders) {
    const sums = regions.get(region) ?? [0, 0];
    regions.set(region, [sums[0] + 1, sums[1] + Number(amount)]);
  }
  const expected = [...regions].map(([region, [n, total]]) => `${region} ${n} ${total}`).sort();
  const got = sales.map((row) => row.join(' ')).sort();
  if (JSON.stringify(got) !== JSON.stringify(expected))
    throw new Error(`round ${round}: the view of sums is ${got}, its query gives ${expected}`);
  const above = orders
    .filter(([, , amount]) => Number(amount) > 500)
    .map(([id, , amount]) => `${id} ${amount}`);
  if (JSON.stringify(large.map((row) => row.join(' '))) !== JSON.stringify(above))
    throw new Error(`round ${round}: the view of large orders is not what its query gives`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values: args } = parseArgs({
    options: {
      rounds: { type: 'string', default: '200' },
      fsync: { type: 'string', default: 'always' },
      seed: { type: 'string', default: '1' },
      dir: { type: 'string' },
      engine: { type: 'string' },
    },
  });
  const dir = args.dir ?? mkdtempSync(join(tmpdir(), 'adb-kill-'));
  const engine = args.engine ?? pathToFileURL(join(here, '..', 'dist', 'src', 'index.js')).href;
  try {
    const seen = await killRounds({
      rounds: Number(args.rounds),
      fsync: args.fsync,
      seed: Number(args.seed),
      dir,
      engine,
      say: (line) => console.log(`· ${line}`),
    });
    console.log(JSON.stringify({ fsync: args.fsync, seed: args.seed, ...seen }));
    if (args.dir === undefined) rmSync(dir, { recursive: true });
  } catch (cause) {
    console.error(cause.message);
    console.error(`The directory is left as it is: ${dir}`);
    process.exit(1);
  }
}
