import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { tmpdir } from 'node:os';
import { brotliDecompressSync } from 'node:zlib';
import { execFileSync } from 'node:child_process';
import { chromium, type Browser } from 'playwright-core';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--headless',
];

/** A headless Chromium: the one CHROME_PATH names, the system's, or the one that ships inside an npm package. */
export async function launchBrowser(): Promise<Browser> {
  const system = [
    process.env['CHROME_PATH'],
    '/usr/bin/chromium',
    '/usr/bin/google-chrome',
    '/usr/bin/chromium-browser',
  ].find((path) => path !== undefined && existsSync(path));
  if (system !== undefined) return chromium.launch({ executablePath: system, args: FLAGS });
  const { default: packaged } = await import('@sparticuz/chromium');
  const executablePath = await packaged.executablePath();
  const libraries = unpackLibraries();
  return chromium.launch({
    executablePath,
    // Not the package's own arguments: they run everything in one process, which a second page takes down.
    args: FLAGS,
    env: {
      ...process.env,
      LD_LIBRARY_PATH: `${libraries}:${process.env['LD_LIBRARY_PATH'] ?? ''}`,
    } as Record<string, string>,
  });
}

/** The shared libraries that a bare machine lacks lie beside the packaged browser. */
function unpackLibraries(): string {
  const folder = join(tmpdir(), 'analyticdb-browser-libraries');
  const lib = join(folder, 'al2023', 'lib');
  if (existsSync(lib)) return lib;
  mkdirSync(folder, { recursive: true });
  const root = packageFolder('@sparticuz/chromium');
  const archive = join(root, 'bin', 'al2023.tar.br');
  const tar = join(folder, 'libraries.tar');
  writeFileSync(tar, brotliDecompressSync(readFileSync(archive)));
  mkdirSync(join(folder, 'al2023'), { recursive: true });
  execFileSync('tar', ['xf', tar, '-C', join(folder, 'al2023')]);
  return existsSync(lib) ? lib : join(folder, 'al2023');
}

function packageFolder(name: string): string {
  for (const folder of createRequire(import.meta.url).resolve.paths(name) ?? []) {
    const candidate = join(folder, name);
    if (existsSync(join(candidate, 'package.json'))) return candidate;
  }
  return dirname(name);
}
