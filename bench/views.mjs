import { performance } from 'node:perf_hooks';
import { check, Orders } from './lib/changes.mjs';
import { median, percentile } from './lib/measure.mjs';
import { openOurs } from './views/ours.mjs';
import { peers } from './views/peers.mjs';

export const about =
  'a view of 50 groups with count, sum, avg, min, max over a million rows, kept while rows arrive, change and leave';

/** One measurement of a peer ends after so long, however few repetitions that was. */
const BUDGET_MS = 4000;

export async function run(report, { quick }) {
  // So that a segment fills up and is sealed, and the index grows, while single changes are measured.
  const rowCount = quick ? 130_000 : 1_040_000;
  await measureSingles(report, rowCount, quick);
  const ours = await measureBatches('ours', openOurs, rowCount, quick);
  for (const [size, bar] of [
    [100, 0.5],
    [10_000, 1.5],
  ])
    report.add({
      metric: `batches of ${size} from typed arrays`,
      unit: 'M changes/s',
      value: ours.get(size) / 1e6,
      bar: quick ? undefined : { valueMin: bar },
    });
  for (const [name, open] of Object.entries(peers)) {
    let theirs;
    try {
      theirs = await measureBatches(name, open, rowCount, quick);
    } catch (error) {
      console.log(`· ${name} is left out: ${error.message}`);
      continue;
    }
    for (const [size, changesPerSecond] of theirs)
      report.add({
        metric: size === 1 ? 'single changes' : `batches of ${size}`,
        unit: 'changes/s',
        value: ours.get(size),
        peer: name,
        peerValue: changesPerSecond,
        rate: true,
      });
  }
}

/**
 * Between two changes the process sleeps now and then: Linux stops one with real-time priority (`chrt -f 1`) for 50 ms in any second of which
 * it has used 950, whatever it is in the middle of.
 */
const BREATH_EVERY_MS = 400;
const BREATH_MS = 60;

/** From `await db.insert(…)` until the loop over the subscription has the change, collections included; the worst of three runs. */
async function measureSingles(report, rowCount, quick) {
  const count = quick ? 5_000 : 20_000;
  const warmUp = 2_000;
  const worst = { p50: 0, p99: 0, max: 0 };
  for (let round = 0; round < (quick ? 1 : 3); round += 1) {
    const orders = new Orders(rowCount, 12_345 + round);
    const ours = await openOurs(orders);
    const latencies = new Float64Array(count);
    let resumed = performance.now();
    for (let at = -warmUp; at < count; at += 1) {
      if (performance.now() - resumed > BREATH_EVERY_MS) {
        await new Promise((resolve) => {
          setTimeout(resolve, BREATH_MS);
        });
        resumed = performance.now();
      }
      const [change] = orders.changes(1);
      const from = performance.now();
      await ours.one(change);
      if (at >= 0) latencies[at] = performance.now() - from;
    }
    check('ours', orders, await ours.result());
    await ours.close();
    worst.p50 = Math.max(worst.p50, median(latencies));
    worst.p99 = Math.max(worst.p99, percentile(latencies, 0.99));
    worst.max = Math.max(worst.max, percentile(latencies, 1));
  }
  report.add({
    metric: 'one change until a subscriber has it, p50',
    unit: 'µs',
    value: worst.p50 * 1000,
    bar: { valueMax: 20 },
  });
  report.add({
    metric: 'the same, p99',
    unit: 'µs',
    value: worst.p99 * 1000,
    bar: { valueMax: 200 },
  });
  report.add({ metric: 'the same, max', unit: 'ms', value: worst.max, bar: { valueMax: 20 } });
}

/** By the size of batches: how many warm up, and how many are measured. */
const BATCHES = [
  [1, 2_000, 2_000],
  [100, 2_000, 4_000],
  [10_000, 100, 100],
];
/** Batches that are made ready before they are applied: they are many only where they are applied fast. */
const PORTION_MS = 100;
const PORTION_CHANGES_MAX = 200_000;

/**
 * Changes a second by the size of batches, in a process that has run for a while: all of the time from the first call until the subscriber has
 * the last batch, collections and upkeep included, only making the batches ready is not.
 */
async function measureBatches(name, open, rowCount, quick) {
  console.log(`· ${name}: loading ${rowCount} rows`);
  const orders = new Orders(rowCount);
  const engine = await open(orders);
  await engine.load?.(orders);
  check(name, orders, await engine.result());
  const rates = new Map();
  for (const [size, warmUpCount, count] of BATCHES) {
    await applyBatches(engine, orders, size, quick ? warmUpCount / 10 : warmUpCount, BUDGET_MS / 4);
    const { changeCount, ms } = await applyBatches(
      engine,
      orders,
      size,
      quick ? count / 10 : count,
      BUDGET_MS,
    );
    rates.set(size, (changeCount / ms) * 1000);
  }
  check(name, orders, await engine.result());
  await engine.close();
  globalThis.gc?.();
  return rates;
}

/** Applies so many batches, or as many as fit the budget; how many changes that were and how long they took. */
async function applyBatches(engine, orders, size, count, budgetMs) {
  let applied = 0;
  let ms = 0;
  for (let portion = 1; applied < count && ms < budgetMs;) {
    const batches = Array.from({ length: Math.min(portion, count - applied) }, () =>
      engine.prepare(orders.changes(size)),
    );
    const from = performance.now();
    for (const batch of batches) await engine.apply(batch);
    const took = performance.now() - from;
    ms += took;
    applied += batches.length;
    if (took < PORTION_MS && portion * size < PORTION_CHANGES_MAX) portion *= 2;
  }
  return { changeCount: applied * size, ms };
}
