#!/usr/bin/env node
/**
 * Every zone that Intl knows, every day from 1972 to 2037, all units: windows tile the line. Prints how many checks and how long
 * they took. The law is test/calendar/tiling.test.ts, of which `npm test` runs a sample.
 *
 *     npm run check:zones
 */
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { status } = spawnSync(
  process.execPath,
  [
    join(root, 'node_modules', 'vitest', 'vitest.mjs'),
    'run',
    'test/calendar/tiling.test.ts',
    '--silent=false',
  ],
  { cwd: root, stdio: 'inherit', env: { ...process.env, ADB_ZONES: 'all' } },
);
process.exitCode = status ?? 1;
