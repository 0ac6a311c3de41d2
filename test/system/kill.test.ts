/** A process that writes is killed, and what it had been told is there: the small form of `npm run durability:kill`. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';

type Seen = { readonly kills: number };
const script = pathToFileURL(resolve('scripts/kill-journal.mjs')).href;
const { killRounds } = (await import(script)) as { killRounds(options: object): Promise<Seen> };

test.each(['always', 'interval'])(
  'with fsync %s a killed process leaves what it acknowledged, and nothing else',
  { timeout: 60_000 },
  async (fsync) => {
    const dir = mkdtempSync(join(tmpdir(), 'adb-kill-'));
    try {
      const engine = pathToFileURL(resolve('dist/src/index.js')).href;
      const seen = await killRounds({ rounds: 1, fsync, seed: 3, dir, engine });
      expect(seen.kills).toBe(2);
    } finally {
      rmSync(dir, { recursive: true });
    }
  },
);
