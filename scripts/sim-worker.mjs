/** The thread of scripts/sim.mjs that runs seeds: one at a time, each when it is told to. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';

const { dir, short, twice, shrinkMs } = workerData;
const { engineSimulation, shortSimulation } = await import(
  pathToFileURL(join(dir, 'test', 'sim', 'engine-world.js')).href
);
const simulation = short ? shortSimulation : engineSimulation;

parentPort.on('message', async (seed) => {
  const report = await simulation(seed).explore({ seeds: 1, twice, shrinkMs: 0 });
  let smallest;
  const [failure] = report.failures;
  if (failure !== undefined) {
    const { invariant, at, message } = failure;
    parentPort.postMessage({ kind: 'failed', seed, invariant, at, message });
    if (shrinkMs > 0) {
      const { failures } = await simulation(seed).explore({ seeds: 1, twice, shrinkMs });
      if (failures[0] !== undefined) {
        const { plan, replay } = failures[0];
        smallest = {
          operations: plan.operations?.length,
          faults: plan.faults?.length,
          token: /ADB1:\S+/.exec(replay)[0],
        };
      }
    }
  }
  parentPort.postMessage({
    kind: 'done',
    traceHash: report.traceHash,
    operations: report.operations.done,
    simulatedMs: report.simulatedMs,
    seen: [...report.seen, ...Object.keys(report.operations.refused)],
    smallest,
  });
});
parentPort.postMessage({ kind: 'ready' });
