#!/usr/bin/env node
/**
 * Brings a fresh clone to where `npm start` and `npm test` can run: checks Node, installs from the lock file, builds. Uses
 * Node's own modules only, and does nothing where nothing has changed since the last time.
 *
 *     node scripts/setup.mjs [build] [browser]
 */
import { spawnSync } from 'node:child_process';
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

if (!isInstalled()) {
  say('installing packages (once)');
  npm(['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']);
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

/** npm's own list of what it has installed has all that the lock file wants: whoever ran `npm ci` before need not wait for another. */
function isInstalled() {
  const packagesIn = (...path) => {
    const file = join(root, ...path);
    return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).packages : undefined;
  };
  const wanted = packagesIn('package-lock.json');
  const installed = packagesIn('node_modules', '.package-lock.json');
  if (wanted === undefined || installed === undefined) return false;
  // Of optional packages there are those for this machine only.
  return Object.entries(wanted).every(
    ([place, { version, optional }]) =>
      place === '' || (installed[place]?.version ?? (optional && version)) === version,
  );
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
