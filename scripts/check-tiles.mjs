#!/usr/bin/env node
/**
 * Random lives of a table (inserts, late ones, updates, deletes, truncations, undone commits, evictions, readers in steps and of the past): every
 * window from tiles has the bits of the same window from rows. A share of them runs in four processes under different TZ variables,
 * whose answers must be the same bytes.
 *
 *     npm run check:tiles [operations]
 */
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const operations = Number(process.argv[2] ?? 1_000_000);
const ZONES = ['America/Havana', 'Asia/Kathmandu', 'Pacific/Apia', 'UTC'];

const digests = ZONES.map((zone) => life(Math.ceil(operations / 20), 1, zone));
if (new Set(digests).size !== 1) {
  console.error('the answers depend on the zone of the process');
  process.exit(1);
}
console.log(`the same answers under TZ=${ZONES.join(', ')}`);
life(operations - 4 * Math.ceil(operations / 20), 2, 'UTC');

function life(count, seed, zone) {
  const { status, stdout } = spawnSync(
    process.execPath,
    [
      join(root, 'node_modules', 'vitest', 'vitest.mjs'),
      'run',
      'test/windows/tiles.test.ts',
      '-t',
      'long lives',
      '--silent=false',
    ],
    {
      cwd: root,
      encoding: 'utf8',
      env: {
        ...process.env,
        TZ: zone,
        ADB_TILE_OPERATIONS: String(count),
        ADB_TILE_SEED: String(seed),
      },
    },
  );
  const told = /tiles: .* digest ([0-9a-f]+)/.exec(stdout);
  if (status !== 0 || told === null) {
    console.error(stdout);
    process.exit(status ?? 1);
  }
  console.log(`TZ=${zone}: ${told[0]}`);
  return told[1];
}
