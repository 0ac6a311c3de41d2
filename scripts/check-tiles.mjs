#!/usr/bin/env node
/**
 * Random lives of databases and of tables: every window from tiles has the bits of the same window recomputed from rows.
 *
 * - Databases (`lib/window-lives.mjs`): inserts, late ones, updates, deletes, transactions undone, evictions, questions asked while rows come and of
 *   the past, under a clock moved by hand across the changes of the clocks of twelve zones.
 * - Tables (`test/windows/tiles.test.ts`): readers that work in steps between commits staged, published and undone.
 *
 * A share of both runs in four processes under different TZ variables, whose answers must be the same bytes.
 *
 *     npm run check:tiles [operations] [seed]
 */
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const operations = Number(process.argv[2] ?? 1_000_000);
const firstSeed = Number(process.argv[3] ?? 1);
const ZONES = ['America/Havana', 'Asia/Kathmandu', 'Pacific/Apia', 'UTC'];
/** Of the operations, those that are done once in each zone of the process, and those on bare tables. */
const ZONED_SHARE = 1 / 20;
const TABLE_SHARE = 1 / 200;
const CHUNKS = 16;

const zoned = Math.ceil(operations * ZONED_SHARE);
const tabled = Math.ceil(operations * TABLE_SHARE);
const left = operations - ZONES.length * (zoned + tabled);
const jobs = [
  ...ZONES.map((zone) => () => databases(zoned, firstSeed, zone)),
  ...ZONES.map((zone) => () => tables(tabled, firstSeed, zone)),
  ...Array.from(
    { length: CHUNKS },
    (_, chunk) => () => databases(Math.ceil(left / CHUNKS), firstSeed + 1 + chunk, 'UTC'),
  ),
];
const startedMs = Date.now();
const results = [];
let next = 0;
await Promise.all(
  Array.from({ length: availableParallelism() }, async () => {
    while (next < jobs.length) {
      const index = next;
      next += 1;
      results[index] = await jobs[index]();
      console.log(JSON.stringify(results[index]));
    }
  }),
);
for (const [what, from] of [
  ['databases', 0],
  ['tables', ZONES.length],
]) {
  const digests = results.slice(from, from + ZONES.length).map(({ digest }) => digest);
  if (new Set(digests).size !== 1) {
    console.error(`the answers of ${what} depend on the zone of the process`);
    process.exit(1);
  }
}
const sum = (name) => results.reduce((total, each) => total + (each[name] ?? 0), 0);
console.log(
  `${sum('operations')} operations in ${sum('lives')} lives, ${sum('answers')} answers compared (${sum('windows')} windows), the same under TZ=${ZONES.join(', ')}; ${Math.round((Date.now() - startedMs) / 1000)} s`,
);

async function databases(count, seed, zone) {
  const out = await run(
    [
      join(root, 'scripts', 'lib', 'window-lives.mjs'),
      '--operations',
      String(count),
      '--seed',
      String(seed),
    ],
    { TZ: zone },
  );
  return { what: 'databases', TZ: zone, seed, ...JSON.parse(out) };
}

async function tables(count, seed, zone) {
  const out = await run(
    [
      join(root, 'node_modules', 'vitest', 'vitest.mjs'),
      'run',
      'test/windows/tiles.test.ts',
      '-t',
      'long lives',
      '--silent=false',
    ],
    { TZ: zone, ADB_TILE_OPERATIONS: String(count), ADB_TILE_SEED: String(seed) },
  );
  const told =
    /tiles: (\d+) operations, (\d+) lives, (\d+) answers, (\d+) windows, (\d+) tiles, digest ([0-9a-f]+)/.exec(
      out,
    );
  if (told === null) {
    console.error(out);
    process.exit(1);
  }
  const [operationCount, lives, answers, windows, tiles] = told.slice(1, 6).map(Number);
  return {
    what: 'tables',
    TZ: zone,
    seed,
    operations: operationCount,
    lives,
    answers,
    windows,
    tiles,
    digest: told[6],
  };
}

/** What a process printed; ends this one where it fails. */
function run(args, env) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text) => (out += text));
    child.on('close', (status) => {
      if (status === 0) return resolve(out);
      console.error(out);
      process.exit(1);
    });
  });
}
