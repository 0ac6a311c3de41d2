import { DbError } from './base/errors.ts';
import { valueText } from './base/value-text.ts';
import {
  defaultAnswerBytes,
  defaultMemoryBytes,
  nodePorts,
  runtimeVersions,
} from './base/node-ports.ts';
import type { Clock, Disk, Network, Random, Workers } from './base/ports.ts';
import {
  CANCELABLE,
  checkCallback,
  checkNames,
  checkValueOptions,
  checkZone,
  namesOf,
} from './actors/check-options.ts';
import { Database } from './actors/database.ts';
import { assertNotAborted, deadline } from './actors/deadline.ts';
import { Engine } from './actors/engine.ts';
import { openFileLog } from './actors/commit-log.ts';
import { recover, type RecoveryProgress } from './actors/recovery.ts';
import { Snapshots } from './actors/snapshots.ts';
import { loadParser } from './actors/load-parser.ts';
import type { ValueOptions } from './actors/rows-out.ts';
import type { FsyncMode } from './journal/file-backend.ts';
import { doors } from './server/doors.ts';
import { sizeBytes } from './tenancy/tenant-settings.ts';

/** Every option has a default. */
export type OpenOptions = {
  /** Limit of the whole database, the memory journal included: `'4 GB'` or bytes. Default: three quarters of what the process may use. */
  readonly memory?: string | number | undefined;
  readonly journal?:
    | { readonly kind: 'memory'; readonly keep?: string | number }
    | {
        readonly kind: 'file';
        /** Made where it is not there. One process has it at a time. */
        readonly dir: string;
        /**
         * 'always' (default): what is acknowledged survives a power loss. 'interval': it survives the end of the process, and a
         * power loss once `fsyncMs` (200) have passed.
         */
        readonly fsync?: FsyncMode;
        readonly fsyncMs?: number;
        /** Bytes of changes between two snapshots (`'128 MB'`): what recovery reads at most is about twice as much. */
        readonly snapshotEvery?: string | number;
        /** Told while what is in the files is read, and once at the end. */
        readonly onProgress?: (progress: RecoveryProgress) => void;
      }
    | undefined;
  /** How far back asOf, `from: position` and cursors reach, as far as the version log's bytes do. */
  readonly history?: string | number | undefined;
  /** 'auto' or a number; 0 keeps everything on this thread. */
  readonly workers?: 'auto' | number | undefined;
  /** Default time zone of sessions; never the process's. */
  readonly zone?: string | undefined;
  readonly values?: ValueOptions | undefined;
  /** Gives up: reading what the journal has may take its time. Of no effect once the database is open. */
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
  /** Ports; real by default. */
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly disk?: Disk | undefined;
  readonly network?: Network | undefined;
  readonly workerPool?: Workers | undefined;
};

/** Opens a database in this process. Close it with `close()`, or declare it with `await using`. */
export async function open(options: OpenOptions = {}): Promise<Database> {
  checkNames(options, OPTIONS);
  checkZone(options.zone);
  checkValueOptions(options.values);
  checkWorkers(options.workers);
  checkPorts(options);
  const journal = journalOption(options.journal);
  const zone = options.zone ?? 'UTC';
  const real = nodePorts();
  const ports = {
    clock: options.clock ?? real.clock,
    random: options.random ?? real.random,
    disk: options.disk ?? real.disk,
    network: options.network ?? real.network,
    workers: options.workerPool ?? real.workers,
  };
  const memoryBytes =
    options.memory === undefined ? defaultMemoryBytes() : sizeBytes('memory', options.memory);
  const history = historyMs(options.history ?? '10 minutes');
  const { signal, done } = deadline(ports.clock, options);
  try {
    const parser = await loadParser();
    assertNotAborted(signal);
    const log =
      journal.kind === 'file'
        ? await openFileLog(ports, { ...journal, directory: journal.dir })
        : undefined;
    const engine = new Engine({
      ports,
      parser,
      memoryBytes,
      answerBytes: defaultAnswerBytes(),
      journal: {
        kind: 'memory',
        keepBytes: sizeBytes(
          'journal.keep',
          (journal.kind === 'memory' ? journal.keep : 0) ?? '64 MB',
        ),
      },
      historyMs: history,
      zone,
      values: options.values ?? {},
      stepBudgetUnits: undefined,
      log: log === undefined ? undefined : () => log,
    });
    if (log !== undefined && journal.kind === 'file') {
      try {
        const snapshots = new Snapshots(engine, log, {
          disk: ports.disk,
          directory: journal.dir,
          everyBytes: sizeBytes('journal.snapshotEvery', journal.snapshotEvery ?? '128 MB'),
          versions: runtimeVersions(),
        });
        assertNotAborted(signal);
        await recover(engine, log, snapshots, journal.onProgress ?? (() => undefined), signal);
        assertNotAborted(signal);
      } catch (cause) {
        await engine.close();
        throw cause;
      }
    }
    return new Database(engine, doors);
  } finally {
    done();
  }
}

function journalOption(
  journal: OpenOptions['journal'] = { kind: 'memory' },
): NonNullable<OpenOptions['journal']> {
  const names = journal?.kind === 'file' ? FILE_OPTIONS : MEMORY_OPTIONS;
  if (typeof journal !== 'object' || journal === null)
    throw new DbError('22023', '"journal" is not an object', {
      field: 'journal',
      hint: "Give { kind: 'memory' }, the default, or { kind: 'file', dir: './data' }.",
    });
  if (journal.kind !== 'memory' && journal.kind !== 'file')
    throw new DbError(
      '0A000',
      `a journal of kind "${valueText((journal as { kind: unknown }).kind)}" is not supported yet`,
      {
        field: 'journal.kind',
        hint: "Use { kind: 'memory' }, the default, or { kind: 'file', dir }.",
      },
    );
  checkNames(journal, names, 'journal.');
  if (journal.kind === 'memory') return journal;
  if (typeof journal.dir !== 'string' || journal.dir === '')
    throw new DbError('22023', 'a journal of files needs a directory', {
      field: 'journal.dir',
      hint: "Give { kind: 'file', dir: './data' }.",
    });
  if (journal.fsync !== undefined && journal.fsync !== 'always' && journal.fsync !== 'interval')
    throw new DbError('22023', `"${valueText(journal.fsync)}" is not a way to sync`, {
      field: 'journal.fsync',
      hint: "Give 'always' (survives a power loss) or 'interval' (faster; a power loss takes the last moments).",
    });
  checkCallback(journal, 'onProgress', 'journal.');
  const { fsyncMs } = journal;
  if (fsyncMs !== undefined && !(Number.isInteger(fsyncMs) && fsyncMs >= 1 && fsyncMs <= 60_000))
    throw new DbError('22023', '"fsyncMs" is not a number of milliseconds from 1 to 60000', {
      field: 'journal.fsyncMs',
      hint: 'Leave it out for 200: up to two syncs of what was acknowledged are lost with the power.',
    });
  return journal;
}

const MEMORY_OPTIONS = ['kind', 'keep'];
const FILE_OPTIONS = ['kind', 'dir', 'fsync', 'fsyncMs', 'snapshotEvery', 'onProgress'];

const OPTIONS = namesOf<OpenOptions>({
  memory: true,
  journal: true,
  history: true,
  workers: true,
  zone: true,
  values: true,
  clock: true,
  random: true,
  disk: true,
  network: true,
  workerPool: true,
  ...CANCELABLE,
});

function checkWorkers(workers: OpenOptions['workers']): void {
  if (workers === undefined || workers === 'auto') return;
  if (typeof workers === 'number' && Number.isInteger(workers) && workers >= 0) return;
  throw new DbError('22023', '"workers" is not a number of threads', {
    field: 'workers',
    hint: "Give 'auto', or a whole number; 0 keeps everything on this thread.",
  });
}

/** What of a port is called first: whoever gives one that lacks it is told here, and not by a TypeError from within. */
const PORTS = {
  clock: 'now',
  random: 'uint32',
  disk: 'open',
  network: 'fetch',
  workerPool: 'run',
} as const;

function checkPorts(options: OpenOptions): void {
  for (const [name, call] of Object.entries(PORTS)) {
    const port = (options as Readonly<Record<string, unknown>>)[name];
    if (port === undefined) continue;
    if (
      typeof port === 'object' &&
      port !== null &&
      typeof (port as Readonly<Record<string, unknown>>)[call] === 'function'
    )
      continue;
    throw new DbError('22023', `"${name}" is not such a port`, {
      field: name,
      hint: 'Leave it out for the real one; manualClock() of analyticdb/testing is a clock.',
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
  d: 86_400_000,
  day: 86_400_000,
  days: 86_400_000,
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
