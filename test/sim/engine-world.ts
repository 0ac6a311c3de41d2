/** The world that this project runs against itself: the mix of everything, all faults, any machine and any schedule. */
import { mix, simulate, type Faults, type Simulation } from '../../src/sim.ts';

const FAULTS: Faults = {
  delay: '0ms..6ms',
  drop: 0.002,
  duplicate: 0.3,
  reorder: 0.02,
  partition: '0.1/min',
  journalDelay: '0ms..8ms',
  memory: 0.04,
  viewError: 0.03,
  viewBreak: 0.02,
  tableBreak: 0.02,
  journalFailure: '0.03/min',
};

const DISK_FAULTS: Faults = {
  crash: '0.5/min',
  lostTail: 0.5,
  tornWrite: 0.5,
  bitFlip: 0.15,
  diskFull: '0.1/min',
  ioError: 0.002,
  lyingSync: 0.01,
};

/** A third of the seeds keep the journal in memory, where a commit can be refused alone. */
export function engineSimulation(seed: number): Simulation {
  const inMemory = seed % 3 === 0;
  return simulate({
    seed,
    start: '2026-03-08T06:58:30Z',
    run: '3min',
    schedule: 'any',
    machine: 'any',
    journal: inMemory
      ? { kind: 'memory' }
      : { kind: 'file', snapshotEvery: [1_000, 8_000, 1_000_000][(seed % 4) % 3]! },
    faults: inMemory ? { ...FAULTS, journalFull: 0.03 } : { ...FAULTS, ...DISK_FAULTS },
    ...mix(),
  });
}
