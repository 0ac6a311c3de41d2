import { DbError } from '../base/errors.ts';
import { PRIORITIES, type Priority } from '../mailbox/run-queue.ts';

/** Shares are of the whole machine, 0 … 1. `Infinity` means no bound. */
export type TenantSettings = {
  /** The share the tenant gets whenever it wants it, whatever others do. */
  readonly reservation: number;
  /** What is left is divided by weight. */
  readonly weight: number;
  /** The share it may not exceed, even on an idle machine; 1 is none. */
  readonly limit: number;
  /** So much work may come at once: saved up while below the reservation, or before the limit holds. */
  readonly burstMs: number;
  /** Bytes. Beyond soft nothing new is admitted; beyond hard a write or query fails with 53200. */
  readonly memory: { readonly soft: number; readonly hard: number };
  /** Queries that run at once, and that wait. */
  readonly concurrency: number;
  readonly queue: number;
  readonly queueTimeoutMs: number;
  readonly priority: Priority;
  /** Work units that one query, one minute and one day may take. */
  readonly work: { readonly query: number; readonly minute: number; readonly day: number };
  /** Of each user: queries at once, and work units a minute. */
  readonly perUser: { readonly concurrency: number; readonly work: number };
};

/** As users write them: any part; sizes as `'512 MB'` or bytes; `null` takes a setting back to its default. */
export type TenantSettingsInput = {
  readonly reservation?: number | null | undefined;
  readonly weight?: number | null | undefined;
  readonly limit?: number | null | undefined;
  readonly burstMs?: number | null | undefined;
  readonly memory?:
    | {
        readonly soft?: number | string | null | undefined;
        readonly hard?: number | string | null | undefined;
      }
    | null
    | undefined;
  readonly concurrency?: number | null | undefined;
  readonly queue?: number | null | undefined;
  readonly queueTimeoutMs?: number | null | undefined;
  readonly priority?: Priority | null | undefined;
  readonly work?:
    | {
        readonly query?: number | null | undefined;
        readonly minute?: number | null | undefined;
        readonly day?: number | null | undefined;
      }
    | null
    | undefined;
  readonly perUser?:
    | {
        readonly concurrency?: number | null | undefined;
        readonly work?: number | null | undefined;
      }
    | null
    | undefined;
};

export const DEFAULT_TENANT_SETTINGS: TenantSettings = {
  reservation: 0,
  weight: 1,
  limit: 1,
  burstMs: 100,
  memory: { soft: Infinity, hard: Infinity },
  concurrency: 16,
  queue: 1_000,
  queueTimeoutMs: 30_000,
  priority: 'normal',
  work: { query: Infinity, minute: Infinity, day: Infinity },
  perUser: { concurrency: Infinity, work: Infinity },
};

/** Reservations beyond this would leave nothing for the rest, nor for the engine itself. */
export const RESERVATION_SUM_MAX = 0.9;

/** `base` with `input` merged over it. Throws 22023 with the field's name where a value makes no sense. */
export function mergeTenantSettings(
  base: TenantSettings,
  input: TenantSettingsInput,
): TenantSettings {
  const defaults = DEFAULT_TENANT_SETTINGS;
  refuseUnknown(input, Object.keys(defaults), '');
  const memory = part(input.memory, 'memory', ['soft', 'hard']);
  const work = part(input.work, 'work', ['query', 'minute', 'day']);
  const perUser = part(input.perUser, 'perUser', ['concurrency', 'work']);
  const memoryBase = input.memory === null ? defaults.memory : base.memory;
  const workBase = input.work === null ? defaults.work : base.work;
  const perUserBase = input.perUser === null ? defaults.perUser : base.perUser;
  const merged: TenantSettings = {
    reservation: numberIn(
      'reservation',
      input.reservation,
      base.reservation,
      defaults.reservation,
      0,
      RESERVATION_SUM_MAX,
    ),
    weight: numberIn('weight', input.weight, base.weight, defaults.weight, 0.001, 1_000),
    limit: numberIn('limit', input.limit, base.limit, defaults.limit, 0.001, 1),
    burstMs: numberIn('burstMs', input.burstMs, base.burstMs, defaults.burstMs, 1, 60_000),
    memory: {
      soft: bytesIn('memory.soft', memory['soft'], memoryBase.soft, defaults.memory.soft),
      hard: bytesIn('memory.hard', memory['hard'], memoryBase.hard, defaults.memory.hard),
    },
    concurrency: integerIn(
      'concurrency',
      input.concurrency,
      base.concurrency,
      defaults.concurrency,
      1,
    ),
    queue: integerIn('queue', input.queue, base.queue, defaults.queue, 0),
    queueTimeoutMs: numberIn(
      'queueTimeoutMs',
      input.queueTimeoutMs,
      base.queueTimeoutMs,
      defaults.queueTimeoutMs,
      0,
      Infinity,
    ),
    priority: priorityIn(input.priority, base.priority),
    work: {
      query: integerIn('work.query', work['query'], workBase.query, Infinity, 1),
      minute: integerIn('work.minute', work['minute'], workBase.minute, Infinity, 1),
      day: integerIn('work.day', work['day'], workBase.day, Infinity, 1),
    },
    perUser: {
      concurrency: integerIn(
        'perUser.concurrency',
        perUser['concurrency'],
        perUserBase.concurrency,
        Infinity,
        1,
      ),
      work: integerIn('perUser.work', perUser['work'], perUserBase.work, Infinity, 1),
    },
  };
  if (merged.reservation > merged.limit) {
    throw invalid(
      'reservation',
      'reservation must not exceed limit',
      'Raise limit, or lower reservation.',
    );
  }
  if (merged.memory.soft > merged.memory.hard && merged.memory.soft !== Infinity) {
    throw invalid('memory.soft', 'memory.soft must not exceed memory.hard', 'Lower memory.soft.');
  }
  return merged;
}

const SIZE = /^\s*(\d+(?:\.\d+)?)\s*(b|[kmgt]i?b)?\s*$/i;

/** PostgreSQL's units are powers of 1024, so ours are. */
const SIZE_UNITS: Readonly<Record<string, number>> = {
  b: 1,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  t: 1024 ** 4,
};

/** `'512 MB'` or a number of bytes → bytes. */
export function sizeBytes(field: string, size: number | string): number {
  if (typeof size === 'number') {
    if (size >= 0) return size;
    throw invalid(
      field,
      `${field} must not be negative`,
      "Give bytes, or a size such as '512 MB'.",
    );
  }
  const match = SIZE.exec(size);
  if (match === null) {
    throw invalid(
      field,
      `invalid size for ${field}: "${size}"`,
      "Give bytes, or a size such as '512 MB'.",
    );
  }
  return Math.floor(Number(match[1]) * SIZE_UNITS[(match[2] ?? 'b')[0]!.toLowerCase()]!);
}

function part(
  value: object | null | undefined,
  field: string,
  names: readonly string[],
): Record<string, number | string | null | undefined> {
  if (value === null || value === undefined) return {};
  if (typeof value !== 'object')
    throw invalid(field, `${field} must be an object`, `It has the fields ${names.join(', ')}.`);
  refuseUnknown(value, names, `${field}.`);
  return value as Record<string, number | string | null | undefined>;
}

function refuseUnknown(value: object, names: readonly string[], prefix: string): void {
  for (const name of Object.keys(value)) {
    if (!names.includes(name)) {
      throw invalid(
        `${prefix}${name}`,
        `unrecognized setting "${prefix}${name}"`,
        `Known are ${names.map((known) => prefix + known).join(', ')}.`,
      );
    }
  }
}

function numberIn(
  field: string,
  value: number | string | null | undefined,
  base: number,
  initial: number,
  min: number,
  max: number,
): number {
  if (value === undefined) return base;
  if (value === null) return initial;
  if (typeof value === 'number' && value >= min && value <= max) return value;
  throw invalid(
    field,
    `${field} must be a number between ${min} and ${max}`,
    `It is ${String(value)}.`,
  );
}

function integerIn(
  field: string,
  value: number | string | null | undefined,
  base: number,
  initial: number,
  min: number,
): number {
  const number = numberIn(field, value, base, initial, min, Infinity);
  if (Number.isInteger(number) || number === Infinity) return number;
  throw invalid(field, `${field} must be a whole number`, `It is ${number}.`);
}

function bytesIn(
  field: string,
  value: number | string | null | undefined,
  base: number,
  initial: number,
): number {
  if (value === undefined) return base;
  return value === null ? initial : sizeBytes(field, value);
}

function priorityIn(value: Priority | null | undefined, base: Priority): Priority {
  if (value === undefined) return base;
  if (value === null) return DEFAULT_TENANT_SETTINGS.priority;
  if (PRIORITIES.includes(value)) return value;
  throw invalid(
    'priority',
    `unrecognized priority "${String(value)}"`,
    `Known are ${PRIORITIES.join(', ')}.`,
  );
}

function invalid(field: string, message: string, hint: string): DbError {
  return new DbError('22023', message, { field, hint });
}
