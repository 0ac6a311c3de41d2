#!/usr/bin/env node
/**
 * Does the simulator find what it is there for? Plants one bug at a time into a copy of the built engine and runs seeds until
 * one fails, then looks for the smallest plan that still does. Exit code 1 where fewer are found than must be, or where a
 * patch no longer fits the source (then adapt the patch: the code it breaks has moved).
 *
 *   npm run sim:planted -- [--only NAME] [--quick] [--state FILE]
 *
 *   --quick: those that the first seeds find   --state: what was found so far, to go on from
 *   --seconds 120: for each bug                --shrink 30: seconds to make its plan small
 */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { BUGS, placesOf } from './planted-bugs/bugs.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values: args } = parseArgs({
  options: {
    seconds: { type: 'string', default: '120' },
    shrink: { type: 'string', default: '30' },
    only: { type: 'string' },
    state: { type: 'string' },
    quick: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
  },
});

/** Of the bugs that are planted so many must be found, and so many told in ten operations or fewer. */
const FOUND_SHARE_MIN = 38 / 40;
const SMALL_SHARE_MIN = 30 / 40;
const SMALL_OPERATIONS_MAX = 10;

const run = (...words) =>
  spawnSync(process.execPath, words, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 });
const folder = mkdtempSync(join(ensured(join(root, 'dist')), 'planted-'));
const built = run(
  join('node_modules', 'typescript', 'bin', 'tsc'),
  ...['-p', 'tsconfig.sim.json', '--outDir', join(folder, 'sound')],
);
if (built.status !== 0) {
  console.error(built.stdout + built.stderr);
  rmSync(folder, { recursive: true, force: true });
  process.exit(1);
}

const results =
  args.state !== undefined && existsSync(args.state)
    ? JSON.parse(readFileSync(args.state, 'utf8'))
    : {};
let misfits = 0;
const chosen = BUGS.filter(
  ({ name, quick }) =>
    (args.only === undefined || args.only === name) && (!args.quick || quick === true),
);
for (const bug of chosen) {
  if (results[bug.name]?.found === true && args.only === undefined) continue;
  const dir = join(folder, 'planted');
  rmSync(dir, { recursive: true, force: true });
  cpSync(join(folder, 'sound'), dir, { recursive: true });
  const path = join(dir, 'src', bug.file);
  let source = readFileSync(path, 'utf8');
  let fits = true;
  for (const { find, put } of [bug, ...(bug.also ?? [])]) {
    const places = placesOf({ find }, source);
    if (places !== 1) {
      console.log(
        `${bug.name}: the patch fits ${places} places of ${bug.file}: adapt it to the source`,
      );
      fits = false;
    }
    source = source.replace(find, put);
  }
  if (!fits) {
    misfits += 1;
    continue;
  }
  if (args.check) continue;
  writeFileSync(path, source);
  const { stdout, stderr } = run(
    join('scripts', 'sim.mjs'),
    ...['--dir', dir, '--short', '--seeds', '1000000', '--once', '--json', '--stuck', '20'],
    ...['--budget', args.seconds, '--shrink', args.shrink],
  );
  let report;
  try {
    report = JSON.parse(stdout.trim().split('\n').at(-1));
  } catch {
    // A bug may be such that the process itself ends: that is found, too, but says nothing of a plan.
    console.log(
      `${bug.name}: the simulator itself failed\n${stdout.slice(-500)}${stderr.slice(-1500)}`,
    );
    continue;
  }
  const [failure] = report.failures;
  if (failure === undefined) {
    results[bug.name] = { found: false, seeds: report.seeds };
    console.log(`${bug.name}: SURVIVED ${report.seeds} seeds (${bug.how})`);
  } else {
    const { seed, invariant, message, foundSeconds, operations, faults } = failure;
    results[bug.name] = { found: true, seed, invariant, foundSeconds, operations, faults };
    console.log(
      `${bug.name}: seed ${seed} after ${foundSeconds.toFixed(1)} s, ${operations} operations, ${faults} faults: ${invariant}: ${message.split('\n')[0].slice(0, 160)}`,
    );
  }
  if (args.state !== undefined) writeFileSync(args.state, JSON.stringify(results, undefined, 1));
}
rmSync(folder, { recursive: true, force: true });
if (args.check) process.exit(misfits === 0 ? 0 : 1);
const told = chosen.map(({ name }) => results[name]).filter((result) => result !== undefined);
const found = told.filter((result) => result.found);
const small = found.filter(({ operations }) => operations <= SMALL_OPERATIONS_MAX);
const times = found.map(({ foundSeconds }) => foundSeconds).sort((a, b) => a - b);
console.log(
  `${found.length} of ${chosen.length} planted bugs were found, ${small.length} of them in ${SMALL_OPERATIONS_MAX} operations or fewer; half of them within ${(times[times.length >> 1] ?? 0).toFixed(1)} s`,
);
process.exit(
  misfits === 0 &&
    found.length >= Math.floor(chosen.length * FOUND_SHARE_MIN) &&
    small.length >= Math.floor(chosen.length * SMALL_SHARE_MIN)
    ? 0
    : 1,
);

function ensured(path) {
  mkdirSync(path, { recursive: true });
  return path;
}
