import { DbError } from '../base/errors.ts';
import { longFormOf, nearestOf } from '../base/nearest.ts';
import { findZone } from '../calendar/zones.ts';
import { PRIORITIES } from '../mailbox/run-queue.ts';
import type { QueryOptions } from './api-types.ts';
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
  throw new DbError('22023', `"${String(zone)}" is not a time zone`, {
    field: 'zone',
    hint: "Use an IANA name such as 'Europe/Berlin'.",
  });
}

/** Signal and time limit are checked by `deadline`, positions where they are used. */
export function checkQueryOptions(options: QueryOptions): void {
  if (typeof options !== 'object' || options === null)
    throw wrong('options', 'is not an object', 'Give { params: […] }, for example.');
  const { params, priority, maxWork, label } = options;
  if (params !== undefined && !Array.isArray(params))
    throw wrong('params', 'is not an array', 'Give a value for each $n: { params: [1, 2] }.');
  if (priority !== undefined && !PRIORITIES.includes(priority))
    throw wrong('priority', 'has no such choice', `Choose '${PRIORITIES.join("', '")}'.`);
  if (maxWork !== undefined && !(typeof maxWork === 'number' && maxWork > 0))
    throw wrong('maxWork', 'is not a positive number', 'Give work units, as in meta.work.');
  if (label !== undefined && typeof label !== 'string')
    throw wrong('label', 'is not a text', "Give one such as 'panel 7'.");
  checkValueOptions(options.values);
  checkZone(options.zone);
}

/** Whether all names of an object are known. `within`: what it is an option of. */
export function checkNames(given: object, known: readonly string[], within = ''): void {
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

function wrong(field: string, what: string, hint: string): DbError {
  return new DbError('22023', `"${field}" ${what}`, { field, hint });
}
