import type { Database } from '../../src/actors/database.ts';
import type { Engine } from '../../src/actors/engine.ts';
import { loadParser } from '../../src/actors/load-parser.ts';
import type { Parser } from '../../src/sql/parse.ts';
import type { Faults, PlannedFault } from '../../src/sim/faults.ts';
import type { ScheduleKind } from '../../src/sim/schedule.ts';
import { SimulatedWorld, type Machine } from '../../src/sim/world.ts';

/** A world for one test, which says itself what happens in it: no loads, and no fault until `faultsActive` is set. */
export class TestWorld {
  readonly world: SimulatedWorld;
  #begun = false;

  constructor(options: {
    readonly parser: Parser;
    readonly seed?: number;
    readonly startMs?: number;
    readonly schedule?: ScheduleKind;
    readonly machine?: Partial<Machine>;
    readonly faults?: Faults;
    /** In the place of what `faults` would choose. */
    readonly planned?: readonly PlannedFault[];
    readonly ambient?: 'throw' | 'allow';
  }) {
    this.world = new SimulatedWorld({
      plan: { seed: options.seed ?? 1, runMs: 0, faults: options.planned },
      startMs: options.startMs ?? 0,
      faults: options.faults ?? {},
      schedule: options.schedule ?? 'fifo',
      load: {},
      setup: undefined,
      invariants: [],
      ambient: options.ambient ?? 'throw',
      journal: { kind: 'memory' },
      memoryBytes: 1 << 28,
      zone: 'UTC',
      values: {},
      historyMs: 600_000,
      machine: {
        nanosecondsPerUnit: 10,
        stepBudgetUnits: 1_000,
        groupsInFlightMax: 1,
        laneMessagesMax: 1_024,
        workerCount: 0,
        ...options.machine,
      },
      oracles: () => [],
      parser: options.parser,
      records: false,
      traceLines: 0,
    });
  }

  static async make(
    options: Omit<ConstructorParameters<typeof TestWorld>[0], 'parser'> = {},
  ): Promise<TestWorld> {
    return new TestWorld({ ...options, parser: await loadParser() });
  }

  /** Runs the world until the task has settled. */
  async run<Value>(task: () => Value | Promise<Value>): Promise<Value> {
    if (!this.#begun) {
      this.#begun = true;
      await this.world.begin();
      this.world.faults.active = false;
    }
    const value = await this.world.within(task);
    if (this.world.failure !== undefined) throw new Error(this.world.failure.message);
    return value;
  }

  get db(): Database {
    return this.world.process.db;
  }

  get engine(): Engine {
    return this.world.engine;
  }

  get clock(): SimulatedWorld['clock'] {
    return this.world.clock;
  }

  set faultsActive(active: boolean) {
    this.world.faults.active = active;
  }
}
