import { DbError } from '../base/errors.ts';
import { nearestOf } from '../base/nearest.ts';
import type { Calendar } from '../calendar/calendar.ts';
import { onlyKeys } from '../calendar/spec.ts';
import { parseAmount, type Amount } from '../calendar/units.ts';
import { findZone } from '../calendar/zones.ts';
import type { SqlType, TypeKind } from '../columns/types.ts';
import { hasDate, isNumberKind } from '../columns/types.ts';

/** What a table keeps, how finely and for how long, as it is written (docs/policies.md). `null` takes a part back. */
export type PolicySpec = {
  /** `'raw 90d, 15m 5y, day forever'`, or `{ raw: '90d', '15m': '5y', day: 'forever' }`. */
  readonly retention?: string | Readonly<Record<string, string>> | null | undefined;
  /** The columns by which demoted rows stay apart: `'region, product'`. */
  readonly by?: string | readonly string[] | null | undefined;
  /** What is kept of demoted rows: columns, `approx_percentile(column)` where percentiles are wanted; by default every number. */
  readonly measures?: string | readonly string[] | null | undefined;
  /** Whose hours, days and months are kept. */
  readonly zone?: string | null | undefined;
  /** How much later than its time a row may come and not count as late. */
  readonly lateness?: string | null | undefined;
  /** How often live windows are told anew: `'hour 1s, day 15s'`. */
  readonly refresh?: string | Readonly<Record<string, string>> | null | undefined;
};

export const POLICY_KEYS = [
  'retention',
  'by',
  'measures',
  'zone',
  'lateness',
  'refresh',
] as const satisfies readonly (keyof PolicySpec)[];

/** Lengths of windows that rows are demoted to, finest first. Of UTC up to `15m`, which serve all zones; of the policy's zone beyond. */
export const RESOLUTIONS = [
  '1m',
  '15m',
  'hour',
  'day',
  'week',
  'month',
  'quarter',
  'year',
] as const;
export type Resolution = (typeof RESOLUTIONS)[number];

/** A policy as it is journaled: checked, and nothing of it depends on who set it. */
export type Policy = {
  /** The column of times. */
  readonly time: string;
  readonly zone: string;
  /** Finest first; the first speaks of rows. None: rows stay. */
  readonly retention: readonly {
    readonly unit: 'raw' | Resolution;
    /** A length of time, or `forever`. */
    readonly keep: string;
  }[];
  readonly by: readonly string[];
  /** Undefined: every number but keys. */
  readonly measures: readonly PolicyMeasure[] | undefined;
  readonly lateness: string | undefined;
  readonly refresh: readonly { readonly unit: RefreshUnit; readonly everyMs: number }[];
};

export type PolicyMeasure = { readonly column: string; readonly percentiles: boolean };

/** Lengths of live windows that a refresh speaks of, shortest first: each of windows so long, and longer up to the next. */
export const REFRESH_UNITS = [
  'second',
  'minute',
  '15m',
  'hour',
  'day',
  'week',
  'month',
  'quarter',
  'year',
] as const;
export type RefreshUnit = (typeof REFRESH_UNITS)[number];

/** The table, as far as a policy must know it. */
export type PolicyTable = {
  readonly name: string;
  readonly columns: readonly { readonly name: string; readonly type: SqlType }[];
  /** WITH (time = …). */
  readonly timeColumn: string | undefined;
  /** Columns of its primary key. */
  readonly keys: readonly string[];
};

const FOREVER = 'forever';
const RETENTION_HINT = "Write retention = 'raw 90d, 15m 5y, day forever'.";

/** A policy's parts as SQL has them: texts, and `null` for what is taken back. */
export type WrittenPolicy = { readonly [Key in keyof PolicySpec]: string | null };

/** The policy that `given` makes of the one before: what it does not name stays. Undefined: nothing is left of it. */
export function policyOf(
  given: WrittenPolicy,
  before: Policy | undefined,
  table: PolicyTable,
  zone: string,
): Policy | undefined {
  onlyKeys(given, POLICY_KEYS, '');
  const retention =
    given.retention === undefined ? (before?.retention ?? []) : retentionOf(given.retention, table);
  const by = given.by === undefined ? (before?.by ?? []) : groupsOf(given.by, table);
  const measures =
    given.measures === undefined ? before?.measures : measuresOf(given.measures, table);
  const lateness =
    given.lateness === undefined ? before?.lateness : latenessOf(given.lateness, table);
  const refresh = given.refresh === undefined ? (before?.refresh ?? []) : refreshOf(given.refresh);
  const ownZone = zoneOf(given.zone === null ? zone : (given.zone ?? before?.zone ?? zone), table);
  if (
    retention.length === 0 &&
    by.length === 0 &&
    measures === undefined &&
    lateness === undefined &&
    refresh.length === 0
  )
    return undefined;
  const policy: Policy = {
    time: timeOf(table, before),
    zone: ownZone,
    retention,
    by,
    measures,
    lateness,
    refresh,
  };
  checkTogether(policy, table);
  return policy;
}

/** The time column: the table's, or its only one. */
function timeOf(table: PolicyTable, before: Policy | undefined): string {
  const times = table.columns.filter(({ type }) => hasDate(type));
  const own = before?.time ?? table.timeColumn ?? (times.length === 1 ? times[0]!.name : undefined);
  const names = times.map(({ name }) => name);
  if (own === undefined)
    throw new DbError(
      '22023',
      times.length === 0
        ? `table "${table.name}" has no column of times, by which a policy goes`
        : `table "${table.name}" has several columns of times: ${names.join(', ')}`,
      {
        field: 'time',
        table: table.name,
        hint:
          times.length === 0
            ? 'Add a timestamptz column.'
            : `Say which: ALTER TABLE ${table.name} SET (time = '${names[0]!}').`,
      },
    );
  const column = table.columns.find(({ name }) => name === own)!;
  if (column.type.kind !== 'timestamptz')
    throw new DbError(
      '42804',
      `a policy goes by instants, and "${own}" has walls' times of no zone`,
      {
        field: 'time',
        table: table.name,
        column: own,
        hint: 'Make the column a timestamptz: ALTER TABLE … ALTER COLUMN … TYPE timestamptz.',
      },
    );
  return own;
}

function retentionOf(given: string | null, table: PolicyTable): Policy['retention'] {
  const entries = entriesOf(given, 'retention', RETENTION_HINT);
  const levels = entries.map(([word, keep]) => ({
    unit: word.toLowerCase() === 'raw' ? ('raw' as const) : resolutionOf(word),
    keep: keep.toLowerCase() === FOREVER ? FOREVER : lengthText(keep, 'retention'),
  }));
  const refuse = (message: string, hint: string): never => {
    throw new DbError('22023', message, { field: 'retention', table: table.name, hint });
  };
  for (const [index, { unit, keep }] of levels.entries()) {
    const last = levels[index - 1];
    if (index === 0) {
      if (unit !== 'raw')
        refuse('a retention begins with how long rows stay', `Write 'raw 90d, ${unit} ${keep}'.`);
    } else if (unit === 'raw')
      refuse('"raw" stands first in a retention, and once', RETENTION_HINT);
    else {
      if (last!.unit !== 'raw' && RESOLUTIONS.indexOf(unit) <= RESOLUTIONS.indexOf(last!.unit))
        refuse(
          `resolutions grow coarser: "${unit}" is not coarser than "${last!.unit}"`,
          'Name each once, the finest first: raw, 1m, 15m, hour, day, week, month, quarter, year.',
        );
      if (last!.unit === 'week')
        refuse(
          `weeks do not add up to a ${unit}: some lie in two`,
          `Leave one of both out: 'day …, ${unit} …'.`,
        );
      if (last!.keep === FOREVER)
        refuse(
          `"${last!.unit}" is kept for ever: nothing is left for "${unit}"`,
          `Say how long "${last!.unit}" is kept.`,
        );
      if (keep !== FOREVER && roughMs(keep) <= roughMs(last!.keep))
        refuse(
          `ages grow: "${unit}" for ${keep} is not longer than "${last!.unit}" for ${last!.keep}`,
          'Ages count from the time of a row: each resolution is kept longer than the finer one before.',
        );
    }
    if (keep !== FOREVER && roughMs(keep) < MINIMUM_MS)
      refuse(`"${keep}" is too short an age`, 'The shortest is 15 minutes.');
    if (keep !== FOREVER && roughMs(keep) > MAXIMUM_MS)
      refuse(`"${keep}" is too long an age`, "Write 'forever'.");
  }
  return levels;
}

/** Rows younger than a tile cannot be demoted. */
const MINIMUM_MS = 15 * 60_000;

/** A thousand years: what is kept longer is kept for ever, and no calendar goes back much further. */
const MAXIMUM_MS = 1000 * 366 * 86_400_000;

function resolutionOf(word: string): Resolution {
  const found = findResolution(word);
  if (found !== undefined) return found;
  const nearest = nearestOf(word.toLowerCase(), [...RESOLUTIONS, ...ALIASES.keys()]);
  throw new DbError('22023', `"${word}" is no resolution that tiles have`, {
    field: 'retention',
    hint: `Resolutions are ${RESOLUTIONS.join(', ')}.${nearest === undefined ? '' : ` Did you mean "${nearest}"?`}`,
  });
}

function findResolution(word: string): Resolution | undefined {
  const own = word.toLowerCase();
  return ALIASES.get(own) ?? RESOLUTIONS.find((each) => each === own);
}

const ALIASES: ReadonlyMap<string, Resolution> = new Map([
  ['minute', '1m'],
  ['1min', '1m'],
  ['15min', '15m'],
  ['15minutes', '15m'],
  ['1h', 'hour'],
  ['60m', 'hour'],
  ['1d', 'day'],
  ['24h', 'day'],
  ['1w', 'week'],
  ['7d', 'week'],
  ['1mo', 'month'],
  ['3mo', 'quarter'],
  ['1y', 'year'],
]);

/** `'raw 90d, day forever'` as pairs of words. */
function entriesOf(
  given: string | null,
  field: 'retention' | 'refresh',
  hint: string,
): readonly (readonly [word: string, value: string])[] {
  if (given === null || given.trim() === '') return [];
  return given.split(',').map((part) => {
    const match = /^\s*(\S+)\s+(\S(?:.*\S)?)\s*$/.exec(part);
    if (match === null)
      throw new DbError('22023', `"${part.trim()}" is no part of a ${field}`, { field, hint });
    return [match[1]!, match[2]!] as const;
  });
}

/** Checked, as written. */
function lengthText(text: string, field: string): string {
  const amount = parseAmount(text, field);
  if (amount.kind === 'civil' && !LENGTHS.has(amount.unit))
    throw new DbError('22023', `"${text}" is no length of time, but depends on a calendar`, {
      field,
      hint: "Write days, weeks, months or years, such as '90d'.",
    });
  return text.trim();
}

const LENGTHS: ReadonlySet<string> = new Set(['day', 'week', 'month', 'quarter', 'year']);
const ROUGH_DAYS: Readonly<Record<string, number>> = {
  day: 1,
  week: 7,
  month: 30.4369,
  quarter: 91.3106,
  year: 365.2425,
};

/** To compare ages that were written in different units. */
function roughMs(text: string): number {
  const amount = parseAmount(text, 'retention');
  return amount.kind === 'clock'
    ? amount.count * amount.seconds * 1000
    : amount.count * ROUGH_DAYS[amount.unit]! * 86_400_000;
}

function groupsOf(given: string | null, table: PolicyTable): string[] {
  return entriesOfList(given, 'by', unquoted).map((name) => {
    const { type } = columnOf(name, 'by', table);
    if (!GROUP_KINDS.has(type.kind))
      throw new DbError(
        '42804',
        `rows cannot be kept apart by "${name}": its values have no tiles`,
        {
          field: 'by',
          table: table.name,
          column: name,
          hint: 'Columns of numbers, texts, booleans, times and uuids can.',
        },
      );
    return name;
  });
}

/** Types whose equal values look the same. */
const GROUP_KINDS: ReadonlySet<TypeKind> = new Set<TypeKind>([
  'boolean',
  'int2',
  'int4',
  'int8',
  'text',
  'varchar',
  'date',
  'uuid',
]);

function measuresOf(
  given: string | null,
  table: PolicyTable,
): readonly PolicyMeasure[] | undefined {
  if (given === null) return undefined;
  const measures: PolicyMeasure[] = [];
  const entries = entriesOfList(given, 'measures', (entry) => entry);
  for (const each of entries.map((text) => measureOf(text, table))) {
    const known = measures.findIndex(({ column }) => column === each.column);
    if (known < 0) measures.push(each);
    // 'amount, approx_percentile(amount)' is one column of which percentiles are kept, too.
    else if (each.percentiles) measures[known] = each;
  }
  return measures;
}

function measureOf(text: string, table: PolicyTable): PolicyMeasure {
  const match = /^approx_percentile\s*\((.+)\)$/is.exec(text);
  const column = unquoted(match === null ? text : match[1]!.trim());
  const { type } = columnOf(column, 'measures', table);
  if (match !== null && !PERCENTILE_KINDS.has(type.kind))
    throw new DbError('42804', `"${column}" is no number, whose percentiles could be kept`, {
      field: 'measures',
      table: table.name,
      column,
      hint: `Write measures = '${column}'.`,
    });
  if (!isMeasurable(type))
    throw new DbError('42804', `tiles cannot hold the values of "${column}"`, {
      field: 'measures',
      table: table.name,
      column,
      hint:
        type.kind === 'numeric'
          ? `Give it a scale: ALTER TABLE ${table.name} ALTER COLUMN ${column} TYPE numeric(18, 2).`
          : 'Numbers and times can be measured; of others rows are counted, by groups.',
    });
  return { column, percentiles: match !== null };
}

const PERCENTILE_KINDS: ReadonlySet<TypeKind> = new Set<TypeKind>([
  'int2',
  'int4',
  'int8',
  'float4',
  'float8',
  'numeric',
]);

/** Whether tiles hold sums and extremes of a type. */
export function isMeasurable(type: SqlType): boolean {
  if (type.kind === 'numeric') return type.scale !== undefined;
  return isNumberKind(type.kind);
}

/** Of a list with commas: a name in quotes, of which percentiles may be asked for, or what has no comma. */
const LIST_ENTRY =
  /(?<=^|,)(?:\s*(?:approx_percentile\s*\(\s*)?"(?:[^"]|"")*"[\s)]*(?=,|$)|[^,]*)/gi;

/** The entries of a list, none of them twice; a name in quotes may have any character in it. */
function entriesOfList(
  given: string | null,
  field: 'by' | 'measures',
  nameOf: (entry: string) => string,
): string[] {
  if (given === null || given.trim() === '') return [];
  const hint = field === 'by' ? "Write by = 'region, product'." : "Write measures = 'amount'.";
  const entries = given.match(LIST_ENTRY)!.map((entry) => {
    const name = nameOf(entry.trim());
    if (name === '')
      throw new DbError('22023', `"${field}" has an entry that is no column`, { field, hint });
    return name;
  });
  const twice = entries.find((entry, index) => entries.indexOf(entry) < index);
  if (twice !== undefined)
    throw new DbError('42701', `"${twice}" stands twice in "${field}"`, { field, hint });
  return entries;
}

function unquoted(name: string): string {
  return /^".*"$/s.test(name) ? name.slice(1, -1).replaceAll('""', '"') : name;
}

/** A name as a list of names has it: in quotes where it would be read as another. */
function quoted(name: string): string {
  return /^[^\s",()](?:[^,()]*[^\s,()])?$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

function columnOf(
  name: string,
  field: 'by' | 'measures',
  { name: table, columns }: PolicyTable,
): PolicyTable['columns'][number] {
  const column = columns.find((each) => each.name === name);
  if (column !== undefined) return column;
  const nearest = nearestOf(
    name,
    columns.map((each) => each.name),
  );
  throw new DbError('42703', `column "${name}" of relation "${table}" does not exist`, {
    field,
    table,
    column: name,
    hint: nearest === undefined ? undefined : `Did you mean "${nearest}"?`,
  });
}

function latenessOf(given: string | null, table: PolicyTable): string | undefined {
  if (given === null) return undefined;
  const text = lengthText(given, 'lateness');
  if (roughMs(text) > MINIMUM_MS * 4 * 24 * 366)
    throw new DbError('22023', `a lateness of ${text} is more than a year`, {
      field: 'lateness',
      table: table.name,
      hint: "Write lateness = '2d'.",
    });
  return text;
}

function refreshOf(given: string | null): Policy['refresh'] {
  const hint = "Write refresh = 'hour 1s, day 15s'.";
  const entries = entriesOf(given, 'refresh', hint).map(([word, value]) => {
    const unit = REFRESH_UNITS.find((each) => each === word.toLowerCase()) ?? findResolution(word);
    const named = unit === '1m' ? ('minute' as const) : unit;
    if (named === undefined)
      throw new DbError('22023', `"${word}" is no length of windows that are refreshed`, {
        field: 'refresh',
        hint: `Lengths are ${REFRESH_UNITS.join(', ')}.`,
      });
    const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)$/.exec(value);
    const everyMs =
      match === null
        ? Number.NaN
        : Number(match[1]) * REFRESH_MS[match[2] as keyof typeof REFRESH_MS];
    if (!(everyMs >= 0 && everyMs <= 86_400_000))
      throw new DbError('22023', `"${value}" is no time between two refreshes`, {
        field: 'refresh',
        hint: "Give a time from '0ms' to '24h', such as '250ms' or '15s'.",
      });
    return { unit: named, everyMs };
  });
  const sorted = entries.toSorted(
    (a, b) => REFRESH_UNITS.indexOf(a.unit) - REFRESH_UNITS.indexOf(b.unit),
  );
  const twice = sorted.find(({ unit }, index) => sorted[index - 1]?.unit === unit);
  if (twice !== undefined)
    throw new DbError('22023', `"${twice.unit}" stands twice in "refresh"`, {
      field: 'refresh',
      hint,
    });
  return sorted;
}

const REFRESH_MS = { ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000 };

function zoneOf(name: string, table: PolicyTable): string {
  const zone = findZone(name);
  if (zone !== undefined) return zone.name;
  throw new DbError('22023', `time zone "${name}" not recognized`, {
    field: 'zone',
    table: table.name,
    hint: "Use an IANA name such as 'Europe/Berlin'.",
  });
}

function checkTogether({ retention, by, measures, lateness }: Policy, table: PolicyTable): void {
  const raw = retention[0];
  if (lateness !== undefined && raw !== undefined && raw.keep !== FOREVER) {
    if (roughMs(lateness) > roughMs(raw.keep))
      throw new DbError(
        '22023',
        `rows may come ${lateness} late, and are demoted after ${raw.keep}`,
        {
          field: 'lateness',
          table: table.name,
          hint: 'Keep rows at least as long as they may be late.',
        },
      );
  }
  const measured = measures?.find(({ column }) => by.includes(column));
  if (measured !== undefined)
    throw new DbError('42701', `"${measured.column}" is in "by" and in "measures"`, {
      field: 'measures',
      table: table.name,
      hint: 'Rows are kept apart by its values: they need not be measured.',
    });
}

/** The policy as it is written. */
export function writtenPolicy({
  retention,
  by,
  measures,
  zone,
  lateness,
  refresh,
}: Policy): PolicySpec {
  return {
    ...(retention.length === 0
      ? {}
      : { retention: retention.map(({ unit, keep }) => `${unit} ${keep}`).join(', ') }),
    ...(by.length === 0 ? {} : { by: by.map(quoted) }),
    ...(measures === undefined
      ? {}
      : {
          measures: measures.map(({ column, percentiles }) =>
            percentiles ? `approx_percentile(${quoted(column)})` : quoted(column),
          ),
        }),
    zone,
    ...(lateness === undefined ? {} : { lateness }),
    ...(refresh.length === 0
      ? {}
      : {
          refresh: refresh
            .map(({ unit, everyMs }) => `${unit} ${durationText(everyMs)}`)
            .join(', '),
        }),
  };
}

function durationText(ms: number): string {
  if (ms % 1000 !== 0 || ms === 0) return `${ms}ms`;
  return ms % 60_000 === 0 ? `${ms / 60_000}m` : `${ms / 1000}s`;
}

/** `keep` before an instant; undefined: for ever. */
export function ageStart(keep: string, nowMs: number, calendar: Calendar): number | undefined {
  if (keep === FOREVER) return undefined;
  const amount: Amount = parseAmount(keep, 'retention');
  return amount.kind === 'clock'
    ? nowMs - amount.count * amount.seconds * 1000
    : calendar.add(nowMs, { [amount.unit]: -amount.count });
}

/** About how long an age or a lateness is; undefined: for ever. */
export function roughAgeMs(keep: string): number | undefined {
  return keep === FOREVER ? undefined : roughMs(keep);
}

/** The same policy where a column has another name. */
export function policyWithColumnRenamed(
  policy: Policy | undefined,
  from: string,
  to: string,
): Policy | undefined {
  if (policy === undefined) return undefined;
  const named = (name: string): string => (name === from ? to : name);
  return {
    ...policy,
    time: named(policy.time),
    by: policy.by.map(named),
    measures: policy.measures?.map((measure) => ({ ...measure, column: named(measure.column) })),
  };
}

/** What a policy says of a column: why it cannot go, or become another type. */
export function policyMentions({ time, by, measures }: Policy, column: string): boolean {
  return (
    time === column ||
    by.includes(column) ||
    measures?.some((each) => each.column === column) === true
  );
}
