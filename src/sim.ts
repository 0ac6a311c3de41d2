/** The simulation harness (docs/simulation.md): `import { simulate } from 'analyticdb/sim'`. */
export {
  simulate,
  type ExploreOptions,
  type Moment,
  type SimulateOptions,
  type Simulation,
  type SimulationFailure,
  type SimulationReport,
} from './sim/simulate.ts';
export type { Arrivals, Load } from './sim/load.ts';
export type { Faults, PlannedFault } from './sim/faults.ts';
export type { LatencySummary } from './sim/latency.ts';
export type { Plan, PlannedOperation } from './sim/plan.ts';
export type { ScheduleKind } from './sim/schedule.ts';
export type { Oracle } from './sim/oracle.ts';
export type { OracleName } from './sim/oracles.ts';
export type { Duration } from './sim/times.ts';
export type { Machine, World } from './sim/world.ts';
export type { RequestAnswerer, SimulatedNetwork } from './sim/network.ts';
export { mix, type MixWeights } from './sim/mix.ts';
export { AmbientError } from './sim/ambient.ts';
export { InvariantFailure } from './sim/world.ts';
