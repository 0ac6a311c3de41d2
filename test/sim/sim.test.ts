/** The database in simulated worlds (npm run sim runs as many as one likes). */
import { spawnSync } from 'node:child_process';
import { expect, test, vi } from 'vitest';
import { AmbientError } from '../../src/sim.ts';
import { engineSimulation, shortSimulation } from './engine-world.ts';
import { TestWorld } from './test-world.ts';

// Nothing here asserts time; a loaded machine may take long.
vi.setConfig({ testTimeout: 240_000 });

const SEEDS = 10;
const SHORT_SEEDS = 14;

test('every seed keeps all promises, and the same seed has the same trace', async () => {
  const seen = new Set<string>();
  const hashes = new Set<string>();
  for (let index = 0; index < SEEDS + SHORT_SEEDS; index += 1) {
    const isShort = index >= SEEDS;
    const seed = isShort ? index - SEEDS : index;
    const simulation = (isShort ? shortSimulation : engineSimulation)(seed);
    const report = await simulation.explore({ seeds: 1, twice: index % 4 === 0 });
    for (const { message, replay } of report.failures)
      expect.fail(`${isShort ? 'short ' : ''}seed ${seed}: ${message}\n  again: ${replay}`);
    hashes.add(report.traceHash);
    for (const what of [...report.seen, ...Object.keys(report.operations.refused)]) seen.add(what);
  }
  expect(hashes.size, 'another seed has another trace').toBe(SEEDS + SHORT_SEEDS);
  // Clean runs say something only if these things happened in them.
  for (const what of [
    '08006',
    '22012',
    '23505',
    '53200',
    'a delta',
    'a fold',
    'a history',
    'lists',
    'a view was made anew',
  ])
    expect(seen).toContain(what);
});

test('the same seed has the same trace in another process and thread, time zone and language, interpreted or optimised', async () => {
  const hashesOf = (options: readonly string[]): string[] => {
    const { stdout, stderr } = spawnSync(
      process.execPath,
      [...options, 'scripts/sim.mjs', ...'--from 20 --seeds 2 --jobs 2 --once --json'.split(' ')],
      { encoding: 'utf8', env: { ...process.env, TZ: 'Asia/Kathmandu', LANG: 'tr_TR.UTF-8' } },
    );
    expect(stderr).toBe('');
    return (JSON.parse(stdout) as { hashes: string[] }).hashes;
  };
  const own: string[] = [];
  for (const seed of [20, 21])
    own.push(
      `${seed} ${(await engineSimulation(seed).explore({ seeds: 1, twice: false })).traceHash}`,
    );
  expect(hashesOf(['--no-opt', '--no-sparkplug'])).toEqual(own);
});

test('reading real time or chance inside a simulation throws', async () => {
  const { randomBytes } = await import('node:crypto');
  const { readFileSync } = await import('node:fs');
  for (const read of [
    () => Date.now(),
    () => new Date(),
    () => Math.random(),
    () => performance.now(),
    () => setTimeout(() => undefined, 1),
    () => crypto.randomUUID(),
    () => randomBytes(4),
    () => readFileSync('package.json'),
  ]) {
    const sim = await TestWorld.make();
    await expect(
      sim.run(async () => {
        await sim.db.query('SELECT 1');
        return read();
      }),
    ).rejects.toThrow(AmbientError);
    await sim.run(() => sim.db.close());
  }
  expect(new Date().getTime()).toBeGreaterThan(0);
  expect(readFileSync('package.json').length).toBeGreaterThan(0);
});

test('the clock of a world stands at its start, and moves by what happens', async () => {
  const sim = await TestWorld.make({ startMs: Date.UTC(2026, 2, 7) });
  await sim.run(async () => {
    const { rows } = await sim.db.query('SELECT now()::date AS day');
    expect(rows).toEqual([{ day: '2026-03-07' }]);
    await sim.clock.pause(86_400_000, 'test');
    expect((await sim.db.query('SELECT now()::date AS day')).rows).toEqual([{ day: '2026-03-08' }]);
    await sim.db.close();
  });
});
