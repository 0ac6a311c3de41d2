#!/usr/bin/env node
/** Puts the page and what it needs of uPlot into dist/console: no bundler, no request to anywhere else. */
import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const to = join(root, 'dist', 'console');
mkdirSync(to, { recursive: true });
for (const name of readdirSync(join(root, 'clients', 'console')))
  copyFileSync(join(root, 'clients', 'console', name), join(to, name));
copyFileSync(join(root, 'node_modules', 'uplot', 'dist', 'uPlot.esm.js'), join(to, 'uplot.js'));
copyFileSync(join(root, 'node_modules', 'uplot', 'dist', 'uPlot.min.css'), join(to, 'uplot.css'));
