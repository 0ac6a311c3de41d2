import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
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
  ].filter((path): path is string => path !== undefined && existsSync(path));
  const ways = [
    ...system.map((executablePath) => () => chromium.launch({ executablePath, args: FLAGS })),
    launchPackaged,
    // What a run that was killed has unpacked in part is unpacked anew.
    () => {
      rmSync(join(tmpdir(), 'chromium'), { force: true });
      rmSync(LIBRARIES, { recursive: true, force: true });
      return launchPackaged();
    },
  ];
  const reasons: unknown[] = [];
  for (const launch of ways) {
    try {
      return await launch();
    } catch (cause) {
      reasons.push(cause);
    }
  }
  throw new AggregateError(
    reasons,
    'no browser can be started here: name one by CHROME_PATH, or set ALLOW_NO_BROWSER=1 to go without',
  );
}

async function launchPackaged(): Promise<Browser> {
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

const LIBRARIES = join(tmpdir(), 'analyticdb-browser-libraries');

/** The shared libraries that a bare machine lacks lie beside the packaged browser. They appear whole or not at all. */
function unpackLibraries(): string {
  if (!existsSync(LIBRARIES)) {
    const folder = mkdtempSync(`${LIBRARIES}-`);
    const archive = join(packageFolder('@sparticuz/chromium'), 'bin', 'al2023.tar.br');
    const tar = join(folder, 'libraries.tar');
    writeFileSync(tar, brotliDecompressSync(readFileSync(archive)));
    execFileSync('tar', ['xf', tar, '-C', folder]);
    rmSync(tar);
    try {
      renameSync(folder, LIBRARIES);
    } catch {
      // Another run was quicker.
      rmSync(folder, { recursive: true, force: true });
    }
  }
  return join(LIBRARIES, 'lib');
}

function packageFolder(name: string): string {
  for (const folder of createRequire(import.meta.url).resolve.paths(name) ?? []) {
    const candidate = join(folder, name);
    if (existsSync(join(candidate, 'package.json'))) return candidate;
  }
  return dirname(name);
}
