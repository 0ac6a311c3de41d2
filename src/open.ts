import { DbError } from './base/errors.ts';
import { defaultMemoryBytes, nodePorts } from './base/node-ports.ts';
import type { Clock, Disk, Network, Random, Workers } from './base/ports.ts';
import { checkValueOptions, checkZone } from './actors/check-options.ts';
import { Database } from './actors/database.ts';
import { Engine } from './actors/engine.ts';
import { loadParser } from './actors/load-parser.ts';
import type { ValueOptions } from './actors/rows-out.ts';
import { doors } from './server/doors.ts';
import { sizeBytes } from './tenancy/tenant-settings.ts';

/** Every option has a default. */
export type OpenOptions = {
  /** Limit of the whole database, the memory journal included: `'4 GB'` or bytes. Default: three quarters of what the process may use. */
  readonly memory?: string | number | undefined;
  readonly journal?:
    | { readonly kind: 'memory'; readonly keep?: string | number }
    | { readonly kind: 'file'; readonly dir: string; readonly fsync?: 'always' | 'interval' }
    | undefined;
  /** How far back asOf, `from: position` and cursors reach, as far as the version log's bytes do. */
  readonly history?: string | number | undefined;
  /** 'auto' or a number; 0 keeps everything on this thread. */
  readonly workers?: 'auto' | number | undefined;
  /** Default time zone of sessions; never the process's. */
  readonly zone?: string | undefined;
  readonly values?: ValueOptions | undefined;
  /** Ports; real by default. */
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly disk?: Disk | undefined;
  readonly network?: Network | undefined;
  readonly workerPool?: Workers | undefined;
};

/** Opens a database in this process. Close it with `close()`, or declare it with `await using`. */
export async function open(options: OpenOptions = {}): Promise<Database> {
  checkNames(options);
  const { journal } = options;
  if (journal !== undefined && journal.kind !== 'memory') {
    throw new DbError('0A000', `a journal of kind "${journal.kind}" is not supported yet`, {
      field: 'journal.kind',
      hint: "Use { kind: 'memory' }, the default.",
    });
  }
  checkZone(options.zone);
  checkValueOptions(options.values);
  checkWorkers(options.workers);
  const zone = options.zone ?? 'UTC';
  const ports = nodePorts();
  const engine = new Engine({
    ports: {
      clock: options.clock ?? ports.clock,
      random: options.random ?? ports.random,
      disk: options.disk ?? ports.disk,
      network: options.network ?? ports.network,
      workers: options.workerPool ?? ports.workers,
    },
    parser: await loadParser(),
    memoryBytes:
      options.memory === undefined ? defaultMemoryBytes() : sizeBytes('memory', options.memory),
    journal: { kind: 'memory', keepBytes: sizeBytes('journal.keep', journal?.keep ?? '64 MB') },
    historyMs: historyMs(options.history ?? '10 minutes'),
    zone,
    values: options.values ?? {},
    stepBudgetUnits: undefined,
  });
  return new Database(engine, doors);
}

const OPTION_NAMES = [
  'memory',
  'journal',
  'history',
  'workers',
  'zone',
  'values',
  'clock',
  'random',
  'disk',
  'network',
  'workerPool',
];

function checkWorkers(workers: OpenOptions['workers']): void {
  if (workers === undefined || workers === 'auto') return;
  if (typeof workers === 'number' && Number.isInteger(workers) && workers >= 0) return;
  throw new DbError('22023', '"workers" is not a number of threads', {
    field: 'workers',
    hint: "Give 'auto', or a whole number; 0 keeps everything on this thread.",
  });
}

function checkNames(options: OpenOptions): void {
  for (const name of Object.keys(options)) {
    if (!OPTION_NAMES.includes(name))
      throw new DbError('22023', `unknown option "${name}"`, {
        field: name,
        hint: `The options are ${OPTION_NAMES.join(', ')}.`,
      });
  }
}

const HISTORY_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  second: 1000,
  seconds: 1000,
  min: 60_000,
  minute: 60_000,
  minutes: 60_000,
  h: 3_600_000,
  hour: 3_600_000,
  hours: 3_600_000,
};

function historyMs(history: string | number): number {
  if (typeof history === 'number' && history >= 0) return history;
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/.exec(String(history).trim());
  const unit = match === null ? undefined : HISTORY_UNITS[match[2]!];
  if (match === null || unit === undefined)
    throw new DbError('22023', `"${history}" is not a length of time`, {
      field: 'history',
      hint: "Give milliseconds, or a text such as '10 minutes'.",
    });
  return Number(match[1]) * unit;
}
