#!/usr/bin/env node
/**
 * Does the simulator find what it is there for? Plants one bug at a time into a copy of the built engine and runs seeds until
 * one fails. Exit code 1 where a bug survives, or where its patch no longer fits the source (then adapt the patch: the
 * code it breaks has moved).
 *
 *   npm run sim:planted -- [--seeds 400] [--only NAME] [--quick]     --quick: those that the first seeds find
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values: args } = parseArgs({
  options: {
    seeds: { type: 'string', default: '400' },
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
  },
});

/** Each replaces one piece of text, found exactly once, of one built file. */
const BUGS = [
  {
    name: 'a dropped delta',
    quick: true,
    how: 'a view whose tables changed in one commit takes in the changes of the first only',
    file: 'actors/maintained-view.js',
    find: /(const changed = this\.sources\.filter\([^;]*)\);/,
    put: '$1).slice(0, 1);',
  },
  {
    name: 'a view before its table',
    quick: true,
    how: 'views run before those they read',
    file: 'actors/database-state.js',
    find: 'a.height - b.height',
    put: 'b.height - a.height',
  },
  {
    name: 'publish before acknowledgement',
    how: 'a commit is visible, and told to its writer, when it was handed to the journal',
    file: 'actors/commit-log.js',
    find: 'this.#outcomes.push(outcome);',
    put: `this.told = (this.told ?? this.#acknowledged) + 1;
        outcome.acknowledged(this.told);
        outcome = { acknowledged() {}, failed() {}, refused() {} };
        this.#outcomes.push(outcome);`,
  },
  {
    name: 'a lost undo',
    quick: true,
    how: "a view's operators keep what was undone in its rows",
    file: 'actors/maintained-view.js',
    find: /(undo\(\) \{[^}]*?(?:\{[^}]*\}[^}]*?)*?)this\.#parts\.plan\.rollback\(\);/,
    put: '$1',
  },
  {
    name: 'a stale read',
    how: 'materialized views are read as they were one commit ago',
    file: 'actors/session.js',
    find: 'return entry.data.snapshot();',
    put: `return (
            (entry.kind === 'materializedView'
                ? entry.data.snapshotAt(this.engine.visiblePosition - 1)
                : undefined) ?? entry.data.snapshot()
        );`,
  },
  {
    name: 'an unbounded lane',
    how: 'a lane takes in whatever comes',
    file: 'mailbox/lane.js',
    find: /fits\(bytes, limits\) \{\s*return/,
    put: 'fits(bytes, limits) {\n        return true ||',
  },
];

const run = (...args) => spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
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

let survivors = 0;
for (const bug of BUGS) {
  if (args.only !== undefined && args.only !== bug.name) continue;
  if (args.quick && bug.quick !== true) continue;
  const dir = join(folder, 'planted');
  rmSync(dir, { recursive: true, force: true });
  cpSync(join(folder, 'sound'), dir, { recursive: true });
  const path = join(dir, 'src', bug.file);
  const source = readFileSync(path, 'utf8');
  const places =
    typeof bug.find === 'string'
      ? source.split(bug.find).length - 1
      : [...source.matchAll(new RegExp(bug.find, 'g'))].length;
  if (places !== 1) {
    console.log(
      `${bug.name}: the patch fits ${places} places of ${bug.file}: adapt it to the source`,
    );
    survivors += 1;
    continue;
  }
  writeFileSync(path, source.replace(bug.find, bug.put));
  const { stdout, stderr } = run(
    join('scripts', 'sim.mjs'),
    ...['--dir', dir, '--seeds', args.seeds, '--stop-on-first', '--json'],
  );
  let report;
  try {
    report = JSON.parse(stdout);
  } catch {
    console.log(`${bug.name}: the simulator itself failed\n${stdout}${stderr}`);
    survivors += 1;
    continue;
  }
  if (report.failures === 0) {
    survivors += 1;
    console.log(`${bug.name}: SURVIVED ${report.seeds} seeds (${bug.how})`);
    continue;
  }
  const { seed, message } = report.firstFailure;
  console.log(
    `${bug.name}: found by seed ${seed} in ${report.seconds.toFixed(1)} s: ${message.split('\n')[0]}`,
  );
}
rmSync(folder, { recursive: true, force: true });
console.log(survivors === 0 ? 'all planted bugs were found' : `${survivors} not found`);
process.exit(survivors === 0 ? 0 : 1);

function ensured(path) {
  mkdirSync(path, { recursive: true });
  return path;
}
