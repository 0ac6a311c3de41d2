#!/usr/bin/env node
/**
 * Compares random queries with the naive interpreter, for as many seeds as wanted:
 *
 *     node scripts/fuzz-sql.mjs [seeds, 200] [first seed, 1]
 *
 * What differs is printed with the line that replays it.
 */
import { spawnSync } from 'node:child_process';

const [count = '200', first = '1'] = process.argv.slice(2);
const { status } = spawnSync(
  'npx',
  ['vitest', 'run', '--testTimeout=3600000', 'test/plan/differential.test.ts'],
  { stdio: 'inherit', env: { ...process.env, FUZZ_SEED: first, FUZZ_COUNT: count } },
);
process.exit(status ?? 1);
