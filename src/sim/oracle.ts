import type { CallObserver } from './remote.ts';
import type { SimulatedWorld } from './world.ts';

/** Looks at a world from outside and says what the database must never do. Throws `InvariantFailure`. */
export interface Oracle {
  readonly name: string;
  /** Sees every request that comes over the network. */
  readonly observer?: CallObserver | undefined;
  /** Before the setup. */
  begin?(world: SimulatedWorld): void | Promise<void>;
  /** After every event: must be quick. */
  watch?(world: SimulatedWorld): void;
  /** The database is there again, with all up to `position`. `excused`: what was behind it could be lost, as nothing was promised. */
  restarted?(world: SimulatedWorld, position: number, excused: boolean): void;
  /** Once the world has healed. */
  check?(world: SimulatedWorld): void | Promise<void>;
}
