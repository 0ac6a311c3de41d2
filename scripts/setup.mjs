#!/usr/bin/env node
/**
 * Brings a fresh clone to where `npm start` and `npm test` can run: checks Node, installs from the lock file, builds. Uses
 * Node's own modules only, and does nothing where nothing has changed since the last time.
 *
 *     node scripts/setup.mjs [build] [browser]
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const wanted = new Set(process.argv.slice(2));

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(
    `AnalyticDB needs Node.js 20.19 or newer; this is ${process.versions.node}. See https://nodejs.org`,
  );
  process.exit(1);
}

const lock = createHash('sha256')
  .update(readFileSync(join(root, 'package.json')))
  .update(
    existsSync(join(root, 'package-lock.json'))
      ? readFileSync(join(root, 'package-lock.json'))
      : '',
  )
  .digest('hex');
const stamp = join(root, 'node_modules', '.analyticdb-setup');
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== lock) {
  say('installing packages (once)');
  npm(['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']);
  writeFileSync(stamp, lock);
}

if (wanted.has('build') && isStale()) {
  say('building');
  run(process.execPath, [
    join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
    '-p',
    'tsconfig.build.json',
  ]);
  run(process.execPath, [join(root, 'scripts', 'bundle.mjs')]);
  run(process.execPath, [join(root, 'scripts', 'build-page.mjs')]);
  mkdirSync(join(root, 'dist'), { recursive: true });
  writeFileSync(join(root, 'dist', '.built'), '');
}

function isStale() {
  const built = join(root, 'dist', '.built');
  if (!existsSync(built)) return true;
  const builtAt = statSync(built).mtimeMs;
  const newest = (folder) =>
    Math.max(
      0,
      ...readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => statSync(join(entry.parentPath ?? entry.path, entry.name)).mtimeMs),
    );
  return (
    Math.max(
      newest(join(root, 'src')),
      newest(join(root, 'clients')),
      statSync(join(root, 'package.json')).mtimeMs,
    ) > builtAt
  );
}

function npm(args) {
  const cli = process.env.npm_execpath;
  if (cli !== undefined && cli.endsWith('npm-cli.js')) run(process.execPath, [cli, ...args]);
  else run('npm', args);
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (status !== 0) {
    console.error(error?.message ?? `${command} ${args.join(' ')} ended with ${status}`);
    process.exit(status ?? 1);
  }
}

function say(what) {
  console.log(`· ${what}`);
}
