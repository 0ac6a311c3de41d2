/** The world that this project runs against itself: the mix of everything, all faults, any machine and any schedule. */
import { mix, simulate, type Faults, type Simulation } from '../../src/sim.ts';

/** Shares; the rates are of a minute of the world. */
const SHARES: Faults = {
  delay: '0ms..6ms',
  drop: 0.002,
  duplicate: 0.3,
  reorder: 0.02,
  journalDelay: '0ms..8ms',
  memory: 0.04,
  viewError: 0.03,
  viewBreak: 0.02,
  tableBreak: 0.02,
};
const DISK_SHARES: Faults = {
  lostTail: 0.5,
  tornWrite: 0.5,
  bitFlip: 0.15,
  ioError: 0.002,
  dying: 0.3,
  lyingSync: 0.01,
};

/** Three minutes of everything. */
export function engineSimulation(seed: number): Simulation {
  return simulation(seed, {
    run: '3min',
    load: mix(),
    faults: { ...SHARES, partition: '0.1/min', journalFailure: '0.03/min' },
    diskFaults: { ...DISK_SHARES, crash: '0.5/min', diskFull: '0.1/min' },
  });
}

/** As many kinds of things in half a minute: some twenty operations, fewer views, and a crash in most worlds that have a disk. */
export function shortSimulation(seed: number): Simulation {
  return simulation(seed, {
    run: '30s',
    load: mix({}, { rate: '40/min', shape: 'bursts' }, 0.2),
    faults: { ...SHARES, partition: '0.6/min', journalFailure: '0.2/min' },
    diskFaults: {
      ...DISK_SHARES,
      bitFlip: 0.5,
      ioError: 0.005,
      crash: '3/min',
      down: '100ms..3s',
      diskFull: '0.6/min',
    },
  });
}

/** A third of the seeds keep the journal in memory, where a commit can be refused alone. */
function simulation(
  seed: number,
  world: {
    readonly run: string;
    readonly load: ReturnType<typeof mix>;
    readonly faults: Faults;
    readonly diskFaults: Faults;
  },
): Simulation {
  const inMemory = seed % 3 === 0;
  return simulate({
    seed,
    start: '2026-03-08T06:58:30Z',
    run: world.run,
    schedule: 'any',
    machine: 'any',
    journal: inMemory
      ? { kind: 'memory' }
      : { kind: 'file', snapshotEvery: [1_000, 8_000, 1_000_000][(seed % 4) % 3]! },
    faults: inMemory
      ? { ...world.faults, journalFull: 0.03 }
      : { ...world.faults, ...world.diskFaults },
    ...world.load,
  });
}
