import { DbError } from '../base/errors.ts';
import { longFormOf, nearestOf } from '../base/nearest.ts';
import { valueText } from '../base/value-text.ts';
import { findZone, nearestZone } from '../calendar/zones.ts';
import { PRIORITIES } from '../mailbox/run-queue.ts';
import type { Identity, QueryOptions } from './api-types.ts';
import type { ValueOptions } from './rows-out.ts';

/** What plain JavaScript may hand in, checked at the door: 22023, and `field` names the option. */

const VALUES: { readonly [Name in keyof Required<ValueOptions>]: readonly string[] } = {
  int8: ['number', 'bigint', 'string'],
  numeric: ['string', 'number'],
  timestamptz: ['iso', 'ms', 'date'],
};

export function checkValueOptions(values: ValueOptions | undefined): void {
  if (values === undefined) return;
  if (typeof values !== 'object' || values === null)
    throw wrong('values', 'is not an object', "Give { int8: 'bigint' }, for example.");
  checkNames(values, Object.keys(VALUES), 'values.');
  for (const [name, value] of Object.entries(values)) {
    const known = VALUES[name as keyof ValueOptions];
    if (value !== undefined && !known.includes(String(value)))
      throw wrong(`values.${name}`, 'has no such choice', `Choose '${known.join("' or '")}'.`);
  }
}

export function checkZone(zone: string | undefined): void {
  if (zone === undefined || (typeof zone === 'string' && findZone(zone) !== undefined)) return;
  const given = valueText(zone);
  const nearest = nearestZone(given);
  throw new DbError('22023', `"${given}" is not a time zone`, {
    field: 'zone',
    hint:
      nearest === undefined
        ? "Use an IANA name such as 'Europe/Berlin'."
        : `Did you mean "${nearest}"?`,
  });
}

/** Who asks, in whatever options that is said. */
export function checkIdentity({ tenant, user, claims }: Identity): void {
  if (tenant !== undefined && (typeof tenant !== 'string' || tenant === ''))
    throw wrong('tenant', 'is not a name', "Give one such as 'acme'; without it, it is 'main'.");
  if (user !== undefined && typeof user !== 'string')
    throw wrong('user', 'is not a text', "Give a name such as 'ann', or leave it out.");
  if (claims !== undefined && (typeof claims !== 'object' || claims === null))
    throw wrong('claims', 'is not an object', "Give { region: 'EU' }, for example.");
}

/** Signal and time limit are checked by `deadline`, positions where they are used. `known`: all that this call takes. */
export function checkQueryOptions(
  options: QueryOptions,
  known: readonly string[] = QUERY_OPTIONS,
): void {
  checkNames(options, known);
  checkFlags(options, 'readOnly');
  const { params, priority, maxWork, label } = options;
  if (params !== undefined && !Array.isArray(params))
    throw wrong('params', 'is not an array', 'Give a value for each $n: { params: [1, 2] }.');
  if (priority !== undefined && !PRIORITIES.includes(priority))
    throw wrong('priority', 'has no such choice', `Choose '${PRIORITIES.join("', '")}'.`);
  if (maxWork !== undefined && !(typeof maxWork === 'number' && maxWork > 0))
    throw wrong('maxWork', 'is not a positive number', 'Give work units, as in meta.work.');
  if (label !== undefined && typeof label !== 'string')
    throw wrong('label', 'is not a text', "Give one such as 'panel 7'.");
  checkIdentity(options);
  checkValueOptions(options.values);
  checkZone(options.zone);
}

/** Whether options are an object, and all of its names known. `within`: what it is an option of. */
export function checkNames(given: object, known: readonly string[], within = ''): void {
  // Other libraries take parameters as an array.
  if (Array.isArray(given) && known[0] === 'params')
    throw wrong('options', 'is an array', 'Give parameters as { params: [ … ] }.');
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw wrong(
      within === '' ? 'options' : within.slice(0, -1),
      'is not an object',
      `Give { ${known[0]!}: … }, for example; known are ${known.join(', ')}.`,
    );
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue;
    const nearest = nearestOf(name, known) ?? longFormOf(name, known);
    throw wrong(
      `${within}${name}`,
      'is not an option',
      nearest === undefined ? `Known are ${known.join(', ')}.` : `Did you mean "${nearest}"?`,
    );
  }
}

/** 'no' and 0 would be what somebody does not mean, whichever way they were read. */
export function checkFlags(given: object, ...names: readonly string[]): void {
  for (const name of names) {
    const value: unknown = (given as Readonly<Record<string, unknown>>)[name];
    if (value !== undefined && value !== null && typeof value !== 'boolean')
      throw wrong(name, 'is neither true nor false', 'Give true, or leave it out.');
  }
}

/** What is called later, when rows may have been written already. */
export function checkCallback(given: object, name: string, within = ''): void {
  const value: unknown = (given as Readonly<Record<string, unknown>>)[name];
  if (value !== undefined && value !== null && typeof value !== 'function')
    throw wrong(
      `${within}${name}`,
      'is not a function',
      'Give one that is called with how far it is.',
    );
}

/** The names of all fields of a type: one that is new there is missed here by the compiler. */
export function namesOf<Options>(
  names: Readonly<Record<keyof Required<Options>, true>>,
): readonly (keyof Options & string)[] {
  return Object.keys(names) as (keyof Options & string)[];
}

export const CANCELABLE = { signal: true, timeoutMs: true } as const;
export const IDENTITY = { tenant: true, user: true, claims: true } as const;
export const QUERY = {
  params: true,
  values: true,
  atLeast: true,
  asOf: true,
  priority: true,
  maxWork: true,
  label: true,
  zone: true,
  readOnly: true,
  ...CANCELABLE,
  ...IDENTITY,
} as const;

const QUERY_OPTIONS = namesOf<QueryOptions>(QUERY);

function wrong(field: string, what: string, hint: string): DbError {
  return new DbError('22023', `"${field}" ${what}`, { field, hint });
}
