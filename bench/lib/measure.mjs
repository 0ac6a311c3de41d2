import { performance } from 'node:perf_hooks';

/** Milliseconds that `run` takes, its promise included. */
export async function timed(run) {
  const from = performance.now();
  const value = await run();
  return { ms: performance.now() - from, value };
}

export function median(values) {
  return percentile(values, 0.5);
}

/** The smallest value that at least `share` of all values do not exceed. */
export function percentile(values, share) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))];
}

/** Bytes of the process after a full collection: the second gives back what finalisers of the first released. */
export async function rssAfterCollection() {
  for (let round = 0; round < 3; round += 1) {
    globalThis.gc();
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
  return process.memoryUsage.rss();
}

/** xorshift32: the same numbers in [0, 1) for a seed, on every machine. */
export function randomOf(seed) {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
}
