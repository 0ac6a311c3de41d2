/** The database in simulated worlds (npm run sim runs as many as one likes). */
import { spawnSync } from 'node:child_process';
import { beforeAll, expect, test, vi } from 'vitest';
import { AmbientError } from '../../src/sim/ambient.ts';
import { NO_JOURNAL_FAULTS, Simulation } from '../../src/sim/simulation.ts';
import { loadParser } from '../../src/actors/load-parser.ts';
import { loadSimulation, runSeed } from './run-seed.ts';

// Nothing here asserts time; a loaded machine may take long.
vi.setConfig({ testTimeout: 240_000 });

beforeAll(() => loadSimulation());

const SEEDS = 30;

test('every seed keeps all promises, and the same seed has the same trace', async () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < SEEDS; seed += 1) {
    const report = await runSeed(seed);
    if (report.failure !== undefined)
      expect.fail(`seed ${seed}: ${report.failure.message}\n  again: ${report.failure.replay}`);
    for (const what of report.seen) seen.add(what);
    if (seed % 6 !== 0) continue;
    const again = await runSeed(seed);
    expect(again.traceHash, `the trace of seed ${seed}`).toBe(report.traceHash);
  }
  // Clean runs say something only if these things happened in them.
  for (const what of [
    '22012',
    '23505',
    '53200',
    'a delta',
    'a fold',
    'a flood',
    'broken by the simulation',
  ])
    expect(seen).toContain(what);
});

test('another seed has another trace', async () => {
  const [one, other] = [await runSeed(1), await runSeed(2)];
  expect(one.traceHash).not.toBe(other.traceHash);
});

test('the same seed has the same trace in another process, in another time zone', async () => {
  const { stdout } = spawnSync(
    process.execPath,
    ['scripts/sim.mjs', '--from', '20', '--seeds', '3', '--json'],
    { encoding: 'utf8', env: { ...process.env, TZ: 'Asia/Kathmandu', LANG: 'tr_TR.UTF-8' } },
  );
  const { hashes } = JSON.parse(stdout) as { hashes: string[] };
  const own: string[] = [];
  for (const seed of [20, 21, 22]) own.push(`${seed} ${(await runSeed(seed)).traceHash}`);
  expect(hashes).toEqual(own);
});

test('reading real time or chance inside a simulation throws', async () => {
  const parser = await loadParser();
  for (const read of [
    () => Date.now(),
    () => new Date(),
    () => Math.random(),
    () => performance.now(),
    () => setTimeout(() => undefined, 1),
    () => crypto.randomUUID(),
  ]) {
    const sim = new Simulation({
      seed: 1,
      parser,
      schedule: 'fifo',
      startMs: 0,
      memoryBytes: 1 << 28,
      stepBudgetUnits: 1000,
      nanosecondsPerUnit: 10,
      journal: NO_JOURNAL_FAULTS,
      staging: { table: 0, viewRefuses: 0, viewBreaks: 0 },
    });
    await expect(
      sim.run(async () => {
        await sim.db.query('SELECT 1');
        return read();
      }),
    ).rejects.toThrow(AmbientError);
    await sim.run(() => sim.db.close());
  }
  expect(new Date().getTime()).toBeGreaterThan(0);
});

test('the clock of a world stands at its start, and moves by what happens', async () => {
  const sim = new Simulation({
    seed: 1,
    parser: await loadParser(),
    schedule: 'fifo',
    startMs: Date.UTC(2026, 2, 7),
    memoryBytes: 1 << 28,
    stepBudgetUnits: 1000,
    nanosecondsPerUnit: 10,
    journal: NO_JOURNAL_FAULTS,
    staging: { table: 0, viewRefuses: 0, viewBreaks: 0 },
  });
  await sim.run(async () => {
    const { rows } = await sim.db.query('SELECT now()::date AS day');
    expect(rows).toEqual([{ day: '2026-03-07' }]);
    await sim.clock.pause(86_400_000, 'test');
    expect((await sim.db.query('SELECT now()::date AS day')).rows).toEqual([{ day: '2026-03-08' }]);
    await sim.db.close();
  });
});
