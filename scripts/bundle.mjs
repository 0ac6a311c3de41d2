#!/usr/bin/env node
/**
 * Puts the modules of each public entry together, after `tsc` has written them one by one: a process that opens a database reads a
 * handful of files where it would look for two hundred and fifty. What an entry imports when it is needed (formats, the
 * server) stays a file of its own, and all entries share one copy of what they have in common.
 */
import { readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { bin, exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const BUILT = /^\.\/dist\/src\/(.+)\.js$/;
const entries = [...Object.values(bin), ...Object.values(exports).map((each) => each.default)]
  .map((path) => BUILT.exec(path ?? '')?.[1])
  .filter((name) => name !== undefined);

const dir = join(root, 'dist', 'src');
rmSync(join(dir, 'chunks'), { recursive: true, force: true });
const bundle = await rolldown({
  input: Object.fromEntries(entries.map((name) => [name, join(root, 'src', `${name}.ts`)])),
  platform: 'node',
  // Packages are the user's own copies.
  external: (id) => !id.startsWith('.') && !id.startsWith('/') && !/^[A-Za-z]:[\\/]/.test(id),
  tsconfig: join(root, 'tsconfig.json'),
  onLog(level, log) {
    if (level === 'warn') throw new Error(`the bundle is not what it should be: ${log.message}`);
  },
});
await bundle.write({
  dir,
  format: 'esm',
  sourcemap: true,
  entryFileNames: '[name].js',
  chunkFileNames: 'chunks/[name]-[hash].js',
});
await bundle.close();
