import { Database } from '../../src/actors/database.ts';
import { Engine, type EngineOptions } from '../../src/actors/engine.ts';
import { loadParser } from '../../src/actors/load-parser.ts';
import { nodePorts } from '../../src/base/node-ports.ts';

/** A database whose engine can be looked into. It is closed by its caller. */
export async function openEngine(
  options: Partial<EngineOptions> = {},
): Promise<{ readonly engine: Engine; readonly db: Database }> {
  const engine = new Engine({
    ports: nodePorts(),
    parser: await loadParser(),
    memoryBytes: 2 ** 30,
    journal: { kind: 'memory', keepBytes: 2 ** 20 },
    historyMs: 60_000,
    zone: 'UTC',
    values: {},
    stepBudgetUnits: undefined,
    ...options,
  });
  return { engine, db: new Database(engine) };
}
