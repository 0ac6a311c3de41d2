import { execFileSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';

/** What the numbers depend on, in a line. */
export function machine() {
  const all = cpus();
  const gib = Math.round(totalmem() / 2 ** 30);
  return `${all[0]?.model.trim() ?? process.arch}, ${all.length} cores, ${gib} GiB, Node ${process.versions.node}`;
}

/** The commit that was measured, with a plus where the work tree differs from it. */
export function commit() {
  try {
    const git = (...args) =>
      execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain') === '' ? '' : '+');
  } catch {
    return 'unknown';
  }
}
