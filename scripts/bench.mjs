#!/usr/bin/env node
/**
 * Runs one benchmark of `bench/` in a process of its own: builds ours, installs the peers under `bench/` only (pinned by
 * its own lock file, so that users of the library and `npm test` never get them), and hands over the arguments.
 *
 *     npm run bench -- <name> [--quick] [--json FILE] [--compare FILE]
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const bench = join(root, 'bench');

run(process.execPath, [join(root, 'scripts', 'setup.mjs'), 'build'], root);
installPeers();

/**
 * `--expose-gc`: memory is measured after a collection, and garbage of a load is no part of the query that follows it.
 * The heap limit is that of a machine with room for 10 M rows in two databases.
 */
const child = spawn(
  process.execPath,
  [
    '--expose-gc',
    '--max-old-space-size=8192',
    ...(process.env.BENCH_NODE_OPTIONS ?? '').split(' ').filter((option) => option !== ''),
    join(bench, 'lib', 'main.mjs'),
    ...process.argv.slice(2),
  ],
  { cwd: process.cwd(), stdio: 'inherit' },
);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => process.exit(code ?? (signal === null ? 1 : 130)));

function installPeers() {
  const lock = createHash('sha256')
    .update(readFileSync(join(bench, 'package.json')))
    .update(readFileSync(join(bench, 'package-lock.json')))
    .update(process.versions.modules)
    .digest('hex');
  const stamp = join(bench, 'node_modules', '.analyticdb-bench');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  console.log('· installing the peers under bench/ (once)');
  const cli = process.env.npm_execpath;
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
  if (cli !== undefined && cli.endsWith('npm-cli.js')) run(process.execPath, [cli, ...args], bench);
  else run('npm', args, bench);
  writeFileSync(stamp, lock);
}

function run(command, args, cwd) {
  const { status, error } = spawnSync(command, args, {
    cwd,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (status === 0) return;
  console.error(error?.message ?? `${command} ${args.join(' ')} ended with ${status}`);
  process.exit(status ?? 1);
}
