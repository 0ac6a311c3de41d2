import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

let known: string | undefined;

/**
 * Names the engine that runs: a hash of its own files and of the JavaScript engine's version. A seed means something for one build
 * only. Computed when a replay is asked for or told, never inside a world.
 */
export function buildId(): string {
  if (known !== undefined) return known;
  const root = join(dirname(fileURLToPath(import.meta.url)), '..');
  const hash = createHash('sha256').update(process.versions.v8);
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => /(?<!\.d)\.[jt]s$/.test(name))
    .map((name) => name.replaceAll('\\', '/'))
    .toSorted();
  for (const name of names) hash.update(name).update(readFileSync(join(root, name)));
  known = hash.digest('hex').slice(0, 16);
  return known;
}

/** The token that this process is to replay, if any. */
export function tokenToReplay(): string | undefined {
  const token = process.env['ANALYTICDB_REPLAY'];
  return token === undefined || token === '' ? undefined : token;
}

/** Whether the replay is wanted even where the build or the simulation is another. */
export function replayForced(): boolean {
  return (process.env['ANALYTICDB_REPLAY_FORCE'] ?? '') !== '';
}

/** What runs the file `path` again, in a shell, with `token`. */
export function replayLine(path: string | undefined, token: string): string {
  const file = path ?? process.argv[1] ?? '';
  const shown = file.startsWith(`${process.cwd()}/`) ? file.slice(process.cwd().length + 1) : file;
  const runner = process.env['VITEST'] === undefined ? 'node' : 'npx vitest run';
  return `ANALYTICDB_REPLAY=${token} ${runner} ${/\s/.test(shown) ? JSON.stringify(shown) : shown}`;
}

/** The file of whoever called into this room: the first of a stack that is not in it. */
export function callerFile(stack: string | undefined): string | undefined {
  const room = dirname(fileURLToPath(import.meta.url));
  for (const line of (stack ?? '').split('\n').slice(1)) {
    const place = /(?:file:\/\/)?(\/[^():]+|[a-zA-Z]:\\[^():]+):\d+:\d+/.exec(line)?.[1];
    if (place === undefined || place.startsWith(`${room}/`)) continue;
    return decodeURI(place);
  }
  return undefined;
}
