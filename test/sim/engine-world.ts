/** The world that this project runs against itself: the mix of everything, all faults, any machine and any schedule. */
import { mix, simulate, type Simulation } from '../../src/sim.ts';

export function engineSimulation(seed: number): Simulation {
  return simulate({
    seed,
    start: '2026-03-08T06:58:30Z',
    run: '3min',
    schedule: 'any',
    machine: 'any',
    faults: {
      crash: '0.4/min',
      lostTail: 0.5,
      tornWrite: 0.5,
      bitFlip: 0.1,
      diskFull: '0.1/min',
      ioError: 0.002,
      lyingSync: 0.01,
      delay: '0ms..6ms',
      drop: 0.002,
      duplicate: 0.2,
      reorder: 0.02,
      partition: '0.1/min',
      journalDelay: '0ms..8ms',
      journalFull: 0.02,
      journalFailure: '0.03/min',
      memory: 0.04,
      viewError: 0.03,
      viewBreak: 0.02,
    },
    ...mix(),
  });
}
